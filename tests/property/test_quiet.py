"""Half an hour of quiet symbols, at the venue's own rhythms and in made-up time: nothing is taken for a fault."""

import functools
import heapq
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lane import S, book, first, message, ticker, trade

from feedhandler import wire
from feedhandler.bybit import operations
from feedhandler.bybit.products import PRODUCTS
from feedhandler.worker.feed import Lane
from feedhandler.worker.lines import Lines
from feedhandler.worker.session import Acknowledged, Asked, Refused, Send, Session
from feedhandler.worker.state import Feed

START_NS: Final = 1_700_000_000 * S
TICK_S: Final = 0.05
FEED_TICKS: Final = 5
WARM_S: Final = 90.0
"""Until everything is live: a candle may take a minute."""
QUIET_S: Final = 1800.0
CANARY: Final = "orderbook.1.BTCUSDT"
BOOK, RARE_BOOK, TICKER = "orderbook.50.AUSDT", "orderbook.50.BUSDT", "tickers.AUSDT"
LEVEL_1, TRADES, CANDLE, LIQUIDATIONS = (
    "orderbook.1.BUSDT",
    "publicTrade.AUSDT",
    "kline.1.AUSDT",
    "allLiquidation.AUSDT",
)
PAUSES_S: Final = {
    BOOK: (40.0, 80.0),
    RARE_BOOK: (60.0, 300.0),
    TICKER: (50.0, 70.0),
    TRADES: (20.0, 400.0),
    CANDLE: (59.0, 61.0),
    LEVEL_1: (3.0, 5.1),
    CANARY: (3.0, 5.1),
}
"""Between two pushes; level 1 comes again after 3 s without change, and pauses of 5.1 s are on record (dossier 2.5).
A liquidation comes never."""
TOPICS: Final = (*(topic for topic in PAUSES_S if topic != CANARY), LIQUIDATIONS)
IMMEDIATE: Final = (BOOK, RARE_BOOK, TICKER, LEVEL_1, CANARY)
"""Sent when they are subscribed."""


class Link:
    """One connection: what the session wants is done, what the venue sends arrives a little later, in order."""

    def __init__(self, world: "World", lane: Lane) -> None:
        self.world = world
        self.lane = lane
        self.subscribed: set[str] = set()
        self.sent: Counter[str] = Counter()
        """Requests by op."""
        self.lost = ""
        self._arrives_s = 0.0
        self.session = Session(PRODUCTS["linear"], ping_interval_s=20, pong_timeout_s=10, has_data=lane.has_data)
        self.session.want([*TOPICS, CANARY])

    def open(self) -> None:
        self.lane.opened(self.world.now_ns)
        self.session.opened(self.world.now_s)
        self.step()

    def step(self) -> None:
        for action in self.session.step(self.world.now_s):
            match action:
                case Send(payload):
                    self._answer(json.loads(payload))
                case Asked(topics):
                    self.lane.asked(topics)
                case Acknowledged(topics):
                    self.lane.acknowledged(topics, self.world.now_ns)
                case Refused(topic, text):
                    self.lane.refused(topic, text, self.world.now_ns)
                case _:
                    self.lost = self.lost or str(action)

    def _answer(self, request: dict[str, Any]) -> None:
        op = request["op"]
        self.sent[op] += 1
        reply = {"success": True, "ret_msg": "pong" if op == "ping" else "", "conn_id": "c", "op": op}
        if "req_id" in request:
            reply["req_id"] = request["req_id"]
        # A pong may take its time; what was asked for is answered soon.
        self._later(self.world.chance.uniform(0.001, 5.0 if op == "ping" else 0.05), lambda: self._reply(reply))
        if op == "unsubscribe":
            self.subscribed.difference_update(request["args"])
        if op == "subscribe":
            self.subscribed.update(request["args"])
            for topic in request["args"]:
                if topic in IMMEDIATE:
                    self.push(self.world.state(topic))

    def _reply(self, reply: dict[str, Any]) -> None:
        parsed = operations.parse_reply(json.dumps(reply).encode())
        if isinstance(parsed, operations.Pong):
            self.session.pong()
        else:
            assert parsed is not None
            self.session.acknowledged(parsed, self.world.now_s)
        self.step()

    def push(self, payload: bytes) -> None:
        """Send a data message."""
        delay_s = self.world.chance.uniform(0.001, 0.08)
        self._arrives_s = max(self._arrives_s + 1e-5, self.world.now_s + delay_s)
        self._later(self._arrives_s - self.world.now_s, lambda: self._deliver(payload))

    def _deliver(self, payload: bytes) -> None:
        assert self.lane.on_payload(payload, self.world.now_ns)

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        self.world.at(delay_s, action)


class World:
    """Time, a venue whose symbols hardly move, and a worker's pure parts with one or two lines."""

    def __init__(self, seed: int, lines: int) -> None:
        self.chance = random.Random(seed)
        self.now_s = 1000.0
        self.numbers: Counter[str] = Counter()
        self.pushed: Counter[str] = Counter()
        self.records: list[wire.Record] = []
        self.feed = Feed(
            worker="linear",
            endpoint="linear",
            product="linear",
            network="mainnet",
            simulated=False,
            quiet_status_s=10,
            publish=self._publish,
        )
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._ticks = 0
        self.lines = Lines(self.feed, lines, lambda: self.now_s, CANARY) if lines > 1 else None
        lanes: list[Lane] = list(self.lines.lanes) if self.lines else [Lane(self.feed, 0, lambda: self.now_s, CANARY)]
        self.feed.carry(lanes[0], TOPICS, 7, self.now_ns)
        self.links = [Link(self, lane) for lane in lanes]
        for link in self.links:
            link.open()
        for topic in PAUSES_S:
            self.at(self.chance.uniform(0, PAUSES_S[topic][0]), functools.partial(self._move, topic))
        self.at(TICK_S, self._tick)

    @property
    def now_ns(self) -> int:
        return START_NS + round((self.now_s - 1000) * S)

    def _publish(self, head: bytes, sequence: int, received_ns: int, payload: bytes) -> None:
        self.records.append(wire.parse(head + wire.TAIL.pack(sequence, received_ns, self.now_ns) + payload))

    def at(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now_s + delay_s, next(self._order), action))

    def run(self, for_s: float) -> None:
        end_s = self.now_s + for_s
        while self._agenda[0][0] <= end_s:
            self.now_s, _, action = heapq.heappop(self._agenda)
            action()
        self.now_s = end_s

    def _tick(self) -> None:
        """As a worker does."""
        self.at(TICK_S, self._tick)
        self._ticks += 1
        if self._ticks % FEED_TICKS == 0:
            self.feed.tick(self.now_ns, self.now_s)
        self.feed.inspect(self.now_ns, self.now_s)
        if self.lines is not None:
            self.lines.tick(self.now_ns, self.now_s)
        for link in self.links:
            if link.lane.is_mute(self.now_ns):
                link.lost = link.lost or link.lane.mute(self.now_ns)
            for topic in self.feed.resyncs_due(link.lane, self.now_s):
                link.session.resync(topic)
            if self.now_s >= link.session.wake_s():
                link.step()

    def state(self, topic: str) -> bytes:
        """What a subscriber is served first."""
        if topic in (BOOK, RARE_BOOK):
            number = self.numbers[topic]
            return book(topic, "snapshot", 100 + number, [("100.0", str(number or 1))], [("100.5", "2")])
        return self.stamped(first(topic))

    def stamped(self, payload: bytes) -> bytes:
        """Give a message the time of its sending."""
        return payload.replace(b'"ts":1700000000000', b'"ts":%d' % (self.now_ns // 1_000_000))

    def _move(self, topic: str) -> None:
        """Push once, or a few times within a second; then be quiet again."""
        self.at(self.chance.uniform(*PAUSES_S[topic]), lambda: self._move(topic))
        again = self.chance.randrange(1, 4) if topic in (BOOK, TICKER, TRADES) else 1
        for number in range(again):
            self.at(number * self.chance.uniform(0.02, 0.3), lambda: self._push(topic))

    def _push(self, topic: str) -> None:
        self.numbers[topic] += 1
        number = self.numbers[topic]
        if topic in (BOOK, RARE_BOOK):
            payload = book(topic, "delta", 100 + number, [("100.0", str(number))])
        elif topic == TICKER:
            payload = ticker(topic, "delta", lastPrice=str(number))
        elif topic == TRADES:
            payload = trade(topic, number)
        elif topic == CANDLE:
            payload = message(topic, "snapshot", [{"start": number}])
        else:
            payload = book(topic, "snapshot", 100, [("100.0", "1")], [("100.5", "2")])
        self.pushed[topic] += 1
        for link in self.links:
            if topic in link.subscribed:
                link.push(self.stamped(payload))


@pytest.mark.parametrize("lines", [1, 2])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=5)
def test_half_an_hour_of_quiet_symbols_raises_no_alarm(lines: int, seed: int) -> None:
    """One push a minute or less, a canary each 3 to 5.1 s: no new status, no request but pings, nothing lost or opened."""
    world = World(seed, lines)
    world.run(WARM_S)
    assert {route.state for route in world.feed.routes.values()} == {wire.LIVE}
    world.records.clear()
    world.pushed.clear()
    for link in world.links:
        link.sent.clear()
    world.run(QUIET_S)
    world.run(1)  # what is on its way arrives
    new = [one for one in world.records if not one.flags & wire.REPEATED]
    assert [one.payload for one in new if one.kind == wire.STATUS] == []
    assert [link.lost for link in world.links] == [""] * lines
    assert [set(link.sent) for link in world.links] == [{"ping"}] * lines
    counters = world.feed.counters
    assert [
        counters[word] for word in ("stale", "mutes", "gaps", "resyncs", "line_resyncs", "switches", "crossed")
    ] == [0] * 7
    came = Counter(one.subject.removeprefix("linear.") for one in new)
    assert abs(came[BOOK] - world.pushed[BOOK]) <= 6  # those of the first and the last second
    assert came[RARE_BOOK] > 3
    # Each of them says every 10 s that it is live all the same.
    repeated = Counter(one.subject.removeprefix("linear.") for one in world.records if one.kind == wire.STATUS)
    assert min(repeated[topic] for topic in (BOOK, RARE_BOOK, TICKER, TRADES, LIQUIDATIONS)) > 100
