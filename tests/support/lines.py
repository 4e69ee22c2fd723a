"""A model of the venue and of several lines to it, each with faults of its own, in made-up time."""

import functools
import heapq
import itertools
import json
import random
from collections.abc import Callable
from typing import Any, Final

from feedhandler import wire
from feedhandler.worker.lines import Lines
from feedhandler.worker.paired import PairedLane
from feedhandler.worker.state import Feed

MS: Final = 1_000_000
S: Final = 1000 * MS
START_NS: Final = 1_700_000_000 * S
EPOCH: Final = 7
TICK_NS: Final = 50 * MS
SLOWEST_NS: Final = 400 * MS
"""A line that is whole brings everything within this time."""

BOOK: Final = "orderbook.50.BTCUSDT"
FULL_BOOK: Final = "orderbook.full.BTCUSDT"
TRADES: Final = "publicTrade.BTCUSDT"
TICKER: Final = "tickers.BTCUSDT"
LEVEL_1: Final = "orderbook.1.BTCUSDT"
LIQUIDATIONS: Final = "allLiquidation.BTCUSDT"


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


class Venue:
    """One topic, the same for every line. ``truth`` says by seq (or ts) what is true after each record."""

    def __init__(self, topic: str, chance: random.Random) -> None:
        self.topic = topic
        self.chance = chance
        self.seq = 1000
        self.update_id = chance.choice((1, 5, 100))
        self.now_ms = START_NS // MS
        self.truth: dict[int, Any] = {}
        self.order: list[int] = []
        """The seqs of all records, in order."""
        self.trades: list[str] = []
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.fields: dict[str, str] = {}
        self._anew()
        self._remember()

    def _anew(self) -> None:
        number = self.chance.randrange(1000)
        self.bids = {f"{99 - i}.5": str(number + i + 1) for i in range(4)}
        self.asks = {f"{101 + i}.5": str(number + i + 1) for i in range(4)}
        self.fields = {"symbol": "BTCUSDT", "lastPrice": str(number), "markPrice": str(number), "bid1Price": "1"}

    def _remember(self) -> None:
        self.order.append(self.seq)
        self.truth[self.seq] = (self.update_id, dict(self.bids), dict(self.asks), dict(self.fields))

    def _book(self, kind: str, bids: dict[str, str], asks: dict[str, str]) -> bytes:
        data = {
            "s": "BTCUSDT",
            "b": sorted(bids.items(), key=lambda level: -float(level[0])),
            "a": sorted(asks.items(), key=lambda level: float(level[0])),
            "u": self.update_id,
            "seq": self.seq,
        }
        return encode({"topic": self.topic, "type": kind, "ts": self.now_ms, "data": data, "cts": self.now_ms})

    def snapshot(self, now_ns: int = 0) -> bytes | None:
        """What a subscriber gets first, made when it is served (dossier 5.5); None where the topic has none."""
        self.now_ms = max(now_ns // MS, self.now_ms)
        if self.topic == BOOK:
            return self._book("snapshot", self.bids, self.asks)
        if self.topic == LEVEL_1:
            return self._book("snapshot", {"99.5": self.bids["99.5"]}, {"101.5": self.asks["101.5"]})
        if self.topic == TICKER:
            message = {"topic": TICKER, "type": "snapshot", "data": self.fields, "cs": self.seq, "ts": self.now_ms}
            return encode(message)
        return None

    def emit(self, now_ns: int, event: str = "") -> bytes:
        """The next record: a change, or ``restart``, ``snapshot``, ``fall back``."""
        chance = self.chance
        self.now_ms = now_ns // MS
        self.seq += chance.randrange(1, 60)
        if self.topic == TRADES:
            return self._trades()
        if self.topic == LIQUIDATIONS:
            self._remember()
            row = {"T": self.now_ms, "s": "BTCUSDT", "S": "Buy", "v": str(self.seq), "p": "1"}
            return encode({"topic": LIQUIDATIONS, "type": "snapshot", "ts": self.now_ms, "data": [row]})
        if self.topic == TICKER:
            changed = {
                name: str(chance.randrange(10_000))
                for name in chance.sample(["lastPrice", "markPrice", "bid1Price"], 2)
            }
            self.fields.update(changed)
            self._remember()
            data = {"symbol": "BTCUSDT", **changed}
            return encode({"topic": TICKER, "type": "delta", "data": data, "cs": self.seq, "ts": self.now_ms})
        if event in ("restart", "fall back"):
            self.update_id = 1 if event == "restart" else chance.randrange(1, self.update_id + 1)
            self._anew()
            self._remember()
            return self._book("delta" if self.topic == FULL_BOOK else "snapshot", self.bids, self.asks)
        self.update_id += 1
        bids, asks = self._change(self.bids), self._change(self.asks)
        self._remember()
        if event == "snapshot" and self.topic == BOOK:
            return self._book("snapshot", self.bids, self.asks)
        if self.topic == LEVEL_1:
            first = self.snapshot()
            assert first is not None
            return first
        return self._book("delta", bids, asks)

    def _change(self, side: dict[str, str]) -> dict[str, str]:
        """Change some levels of a side, and return them; a size of zero removes one."""
        best, step = (99, -1) if side is self.bids else (101, 1)
        changed = {}
        for level in self.chance.sample(range(8), self.chance.randrange(1, 3)):
            price = f"{best + step * level}.5"
            if level and price in side and self.chance.random() < 0.4:
                changed[price] = "0"
                del side[price]
            else:
                changed[price] = side[price] = str(self.chance.randrange(1, 10_000))
        return changed

    def _trades(self) -> bytes:
        rows = []
        for _ in range(self.chance.choice((1, 1, 1, 2, 4))):
            trade_id = f"t{len(self.trades)}"
            self.trades.append(trade_id)
            rows.append(
                {"T": self.now_ms, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "2", "i": trade_id, "seq": self.seq}
            )
        self._remember()
        return encode({"topic": TRADES, "type": "snapshot", "ts": self.now_ms, "data": rows})


class World:
    """Time, one venue, one feed, its lines, and what was published."""

    def __init__(self, topic: str, seed: int, lines: int = 2) -> None:
        self.chance = random.Random(seed)
        self.now_ns = START_NS
        self.venue = Venue(topic, self.chance)
        self.topic = topic
        self.published: list[wire.Record] = []
        self.feed = Feed(
            worker="linear",
            endpoint="linear",
            product="linear",
            network="sim",
            simulated=False,
            quiet_status_s=10,
            publish=self._publish,
        )
        self.lines = Lines(self.feed, lines, lambda: (self.now_ns - START_NS) / S + 1000)
        self.feed.carry(self.lines.lanes[0], [topic], EPOCH, self.now_ns)
        self.wires = [Wire(self, lane) for lane in self.lines.lanes]
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ticks = 0
        self.at(TICK_NS, self._tick)

    def _publish(self, head: bytes, sequence: int, received_ns: int, payload: bytes) -> None:
        self.published.append(wire.parse(head + wire.TAIL.pack(sequence, received_ns, self.now_ns) + payload))

    def at(self, delay_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now_ns + delay_ns, next(self._order), action))

    def run(self, for_ns: int) -> None:
        """Let this much time pass."""
        end_ns = self.now_ns + for_ns
        while self._agenda[0][0] <= end_ns:
            self.now_ns, _, action = heapq.heappop(self._agenda)
            action()
        self.now_ns = end_ns

    def _tick(self) -> None:
        self.at(TICK_NS, self._tick)
        now_s = self.lines.lanes[0].clock_s()
        self._ticks += 1
        if self._ticks % 5 == 0:
            self.feed.tick(self.now_ns, now_s)
        self.lines.tick(self.now_ns, now_s)
        for one in self.wires:
            for topic in self.feed.resyncs_due(one.lane, now_s):
                assert topic == self.topic
                one.resubscribe()

    def emit(self, event: str = "") -> None:
        """Have the venue push its next record to every line that is subscribed."""
        payload = self.venue.emit(self.now_ns, event)
        for one in self.wires:
            if one.subscribed:
                # A line that loses the beginning of a new count cannot be told from one that goes on.
                fragile = event != "restart" and (b'"delta"' in payload or self.topic == TRADES)
                one.push(payload, fragile=fragile)

    @property
    def route(self) -> Any:
        return self.feed.routes[self.topic]

    @property
    def data(self) -> list[wire.Record]:
        return [record for record in self.published if record.kind <= wire.UPDATE and not record.flags & wire.IMAGE]

    @property
    def statuses(self) -> list[dict[str, Any]]:
        found = [record for record in self.published if record.kind == wire.STATUS and not record.flags & wire.REPEATED]
        return [json.loads(record.payload) for record in found]


class Wire:
    """One line's connection: everything arrives later, in order, unless a fault says otherwise."""

    def __init__(self, world: World, lane: PairedLane) -> None:
        self.world = world
        self.lane = lane
        self.delay_ns = world.chance.randrange(1, 60) * MS
        self.open = False
        self.subscribed = False
        self.generation = 0
        self.mute_topic = False
        """The venue has forgotten the subscription."""
        self.skip = 0
        """So many records are left out."""
        self.repeat = False
        self.swap = False
        self._swapped: bytes | None = None
        self._last_ns = 0

    def _later(self, action: Callable[[], None]) -> None:
        """Do something when what is sent now arrives, if the connection still exists."""
        generation = self.generation
        arrives_ns = max(self.world.now_ns + self.delay_ns + self.world.chance.randrange(3 * MS), self._last_ns + 1)
        self._last_ns = arrives_ns

        def arrive() -> None:
            if self.generation == generation:
                action()

        self.world.at(arrives_ns - self.world.now_ns, arrive)

    def connect(self) -> None:
        """Open, and subscribe."""
        self.generation += 1
        self.open = True
        self._last_ns = 0
        self._swapped = None
        self.mute_topic = False
        self.lane.opened(self.world.now_ns)
        self._subscribe()

    def _subscribe(self) -> None:
        self.lane.asked([self.world.topic])
        generation = self.generation

        def reach() -> None:
            if self.generation != generation:
                return
            self.subscribed = True
            self.mute_topic = False
            self.skip, self.repeat, self.swap = 0, False, False
            snapshot = self.world.venue.snapshot(self.world.now_ns)
            first_data = self.world.chance.random() < 0.5
            if not first_data:
                self._later(self._acknowledge)
            if snapshot is not None:
                self._later(lambda: self._deliver(snapshot))
            if first_data:
                self._later(self._acknowledge)

        self.world.at(self.delay_ns, reach)

    def _acknowledge(self) -> None:
        self.lane.acknowledged([self.world.topic], self.world.now_ns)

    def _deliver(self, payload: bytes) -> None:
        assert self.lane.on_payload(payload, self.world.now_ns)

    def resubscribe(self) -> None:
        """Unsubscribe, wait for the answer, subscribe."""
        generation = self.generation
        if not self.open:
            return

        def left() -> None:
            if self.generation == generation:
                self.subscribed = False
                self._later(self._subscribe)

        self.world.at(self.delay_ns, left)

    def cut(self, reason: str = "connection lost") -> None:
        """Lose the connection, and all that is under way."""
        self.generation += 1
        self.open = self.subscribed = False
        self.lane.closed(reason, self.world.now_ns)

    def push(self, payload: bytes, *, fragile: bool) -> None:
        """Send a record, with the faults that are due; only a ``fragile`` one is left out or overtaken."""
        if self.mute_topic:
            return
        if self.skip and fragile:
            self.skip -= 1
            return
        if self.swap and fragile and self._swapped is None:
            self.swap, self._swapped = False, payload
            return
        batch = [payload]
        if self._swapped is not None:
            batch.append(self._swapped)
            self._swapped = None
        if self.repeat:
            self.repeat = False
            batch.append(payload)
        for one in batch:
            self._later(functools.partial(self._deliver, one))
