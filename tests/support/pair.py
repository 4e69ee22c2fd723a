"""A feed with several lines and nobody at their ends: frames go in by hand, records come out as a list."""

from typing import Any, Final

import msgspec

from feedhandler import wire
from feedhandler.worker.lines import Lines
from feedhandler.worker.race import Copy, Race
from feedhandler.worker.state import Feed
from support.lane import START_NS, S, first, message, status

BOOK: Final = "orderbook.50.BTCUSDT"
FULL: Final = "orderbook.full.BTCUSDT"
LEVEL_1: Final = "orderbook.1.BTCUSDT"
TRADES: Final = "publicTrade.BTCUSDT"
TICKER: Final = "tickers.BTCUSDT"
KLINE: Final = "kline.1.BTCUSDT"
EVENTS: Final = "allLiquidation.BTCUSDT"


class Pair:
    """Time stands still unless it is moved; both clocks move together."""

    def __init__(self, *topics: str, lines: int = 2, canary: str = "", product: str = "linear") -> None:
        self.now_ns = START_NS
        self.now_s = 1000.0
        self.records: list[wire.Record] = []
        self.feed = Feed(
            worker="linear",
            endpoint="linear",
            product=product,
            network="mainnet",
            simulated=False,
            quiet_status_s=10,
            publish=self._publish,
        )
        self.lines = Lines(self.feed, lines, lambda: self.now_s, canary)
        self.lanes = self.lines.lanes
        self.topics = topics
        self.feed.carry(self.lanes[0], topics, 7, self.now_ns)

    def _publish(self, head: bytes, sequence: int, received_ns: int, payload: bytes) -> None:
        self.records.append(wire.parse(head + wire.TAIL.pack(sequence, received_ns, self.now_ns) + payload))

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)
        self.now_s += seconds

    def tick(self, seconds: float = 0.05, *, judge: bool = True) -> None:
        """Let time pass, with the ticks that a worker makes."""
        for _ in range(max(round(seconds / 0.05), 1)):
            self.wait(0.05)
            self.lines.tick(self.now_ns, self.now_s, judge=judge)

    # The venue.

    def open(self, line: int) -> None:
        """Connect, and ask for every topic."""
        self.lanes[line].opened(self.now_ns)
        self.lanes[line].asked(list(self.topics))

    def acknowledge(self, line: int) -> None:
        self.lanes[line].acknowledged(list(self.topics), self.now_ns)

    def join(self, line: int, *payloads: bytes) -> None:
        """Connect a line, and have it bring these first."""
        self.open(line)
        self.acknowledge(line)
        for payload in payloads:
            self.come(line, payload)

    def start(self) -> "Pair":
        """Have every line carry every topic, and forget the records of that. Books begin with u 100 and seq 1000."""
        for line in range(len(self.lanes)):
            self.join(line, *(_first(topic) for topic in self.topics if topic != FULL))
        for topic in self.topics:
            assert self.state(topic) == wire.LIVE
        self.take()
        return self

    def close(self, line: int, reason: str = "connection lost") -> None:
        self.lanes[line].closed(reason, self.now_ns)

    def come(self, line: int, payload: bytes) -> bool:
        return self.lanes[line].on_payload(payload, self.now_ns)

    def due(self, line: int) -> list[str]:
        return self.feed.resyncs_due(self.lanes[line], self.now_s)

    # What became of it.

    def race(self, topic: str) -> Race:
        return self.lines.races[topic]

    def copy(self, line: int, topic: str) -> Copy:
        return self.lanes[line].copies[topic]

    def state(self, topic: str) -> str:
        return self.feed.routes[topic].state

    def take(self) -> list[wire.Record]:
        """Return the records since the last look."""
        records, self.records = self.records, []
        return records

    def data(self) -> list[bytes]:
        """Return the payloads of the data since the last look."""
        return [record.payload for record in self.take() if record.kind <= wire.UPDATE]

    def states(self) -> list[tuple[str, str]]:
        """Return state and reason of each new status since the last look."""
        told = [record for record in self.take() if record.kind == wire.STATUS and not record.flags & wire.REPEATED]
        return [(one.state, one.reason) for one in map(status, told)]


def _first(topic: str) -> bytes:
    """What proves that a line is in step: a snapshot, or an event that every line brings."""
    if topic == TRADES:
        return trades("first")
    return at(1, EVENTS, [{"v": "first"}]) if topic == EVENTS else first(topic)


def update(
    update_id: int, seq: int, *, topic: str = BOOK, type_: str = "delta", bids: list[tuple[str, str]] | None = None
) -> bytes:
    """Return an update of a book; a snapshot has one level on each side. Without ``seq`` where that is 0."""
    data: dict[str, Any] = {"s": "BTCUSDT", "b": bids or [("100.0", "1")], "a": [("100.5", "2")], "u": update_id}
    return message(topic, type_, data | ({"seq": seq} if seq else {}), cts=1)


def snap(update_id: int, seq: int, bids: list[tuple[str, str]] | None = None) -> bytes:
    return update(update_id, seq, type_="snapshot", bids=bids)


def trades(*ids: str, time_ms: int = 1) -> bytes:
    rows = [{"T": time_ms, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "100.0", "i": one} for one in ids]
    return message(TRADES, "snapshot", rows)


def ids(payloads: list[bytes]) -> list[str]:
    """Return the trades of these messages."""
    return [row["i"] for payload in payloads for row in msgspec.json.decode(payload)["data"]]


def at(ts: int, topic: str, data: Any, type_: str = "snapshot") -> bytes:
    """Return a message of the venue's time ``ts``."""
    return msgspec.json.encode({"topic": topic, "type": type_, "ts": ts, "data": data})
