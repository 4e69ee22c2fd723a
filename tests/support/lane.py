"""A feed with one lane and nobody at its ends: frames go in by hand, records come out as a list."""

from typing import Any, Final

import msgspec

from feedhandler import wire
from feedhandler.worker.feed import Lane
from feedhandler.worker.route import Route
from feedhandler.worker.state import Feed

S: Final = 1_000_000_000
"""Nanoseconds in a second."""
START_NS: Final = 1_700_000_000 * S

Levels = list[tuple[str, ...]]


class Rig:
    """Time stands still unless it is moved; both clocks move together."""

    def __init__(
        self, product: str = "linear", *, quiet_status_s: float = 10, canary: str = "", retain: int = 0
    ) -> None:
        self.now_ns = START_NS
        self.now_s = 1000.0
        self.records: list[wire.Record] = []
        self.feed = Feed(
            worker=product,
            endpoint=product,
            product=product,
            network="mainnet",
            simulated=False,
            quiet_status_s=quiet_status_s,
            publish=self._publish,
            retain=retain,
        )
        self.lane = Lane(self.feed, 0, lambda: self.now_s, canary)

    def _publish(self, head: bytes, sequence: int, received_ns: int, payload: bytes) -> None:
        self.records.append(wire.parse(head + wire.TAIL.pack(sequence, received_ns, self.now_ns) + payload))

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)
        self.now_s += seconds

    def tick(self, seconds: float = 0.0, *, every_s: float = 0.25) -> None:
        """Let time pass with the feed's ticks in it, as the worker makes them."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.wait(every_s)
            self.feed.tick(self.now_ns, self.now_s)
        if not seconds:
            self.feed.tick(self.now_ns, self.now_s)

    def route(self, topic: str) -> Route:
        return self.feed.routes[topic]

    def state(self, topic: str) -> str:
        return self.route(topic).state

    def take(self) -> list[wire.Record]:
        """Return the records since the last look."""
        records, self.records = self.records, []
        return records

    def statuses(self, topic: str) -> list[wire.Status]:
        """Return the statuses of a topic since the last look; everything else is dropped."""
        return [
            status(record)
            for record in self.take()
            if record.kind == wire.STATUS and record.subject == subject(self, topic)
        ]

    # The venue.

    def carry(self, *topics: str, epoch: int = 7, blind_from_ns: int | None = None) -> None:
        self.feed.carry(self.lane, topics, epoch, self.now_ns, blind_from_ns)

    def subscribe(self, *topics: str) -> None:
        """The request goes out and is acknowledged."""
        self.lane.asked(list(topics))
        self.lane.acknowledged(list(topics), self.now_ns)

    def come(self, payload: bytes) -> bool:
        return self.lane.on_payload(payload, self.now_ns)

    def start(self, *topics: str) -> None:
        """Carry, connect, subscribe, and send a first snapshot of each state; forget the records of all that."""
        self.carry(*topics)
        self.lane.opened(self.now_ns)
        self.subscribe(*topics)
        for topic in topics:
            if not self.route(topic).live:
                self.come(first(topic))
        self.take()


def subject(rig: Rig, topic: str) -> str:
    return f"{rig.feed.endpoint}.{topic}"


def status(record: wire.Record) -> wire.Status:
    return msgspec.json.decode(record.payload, type=wire.Status)


def message(topic: str, type_: str, data: Any, **more: Any) -> bytes:
    """Return a data message; ``type_`` is left out where empty, as on priceLimit."""
    return msgspec.json.encode(
        {"topic": topic} | ({"type": type_} if type_ else {}) | {"ts": 1_700_000_000_000} | {"data": data} | more
    )


def book(topic: str, type_: str, update_id: int, bids: Levels | None = None, asks: Levels | None = None) -> bytes:
    """Return a book message, of level 1 as of any other."""
    levels = {"b": bids or [], "a": asks or []}
    return message(
        topic, type_, {"s": topic.rpartition(".")[2], **levels, "u": update_id, "seq": 10 * update_id}, cts=1
    )


def snapshot(topic: str, update_id: int) -> bytes:
    return book(topic, "snapshot", update_id, [("100.0", "1")], [("100.5", "2")])


def delta(topic: str, update_id: int) -> bytes:
    return book(topic, "delta", update_id, [("100.0", str(update_id))])


def trade(topic: str, number: int = 1) -> bytes:
    return message(topic, "snapshot", [{"T": 1, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "100.0", "i": str(number)}])


def ticker(topic: str, type_: str, **fields: str) -> bytes:
    return message(topic, type_, {"symbol": topic.rpartition(".")[2], **fields}, cs=5)


def first(topic: str) -> bytes:
    """Return what the venue sends first on a topic."""
    family = topic.partition(".")[0]
    if family == "orderbook":
        return snapshot(topic, 100)
    if family == "insurance":
        return message(topic, "snapshot", [{"coin": "USDT", "symbols": "BTCUSDT", "balance": "1", "updateTime": "1"}])
    if family == "tickers":
        return ticker(topic, "snapshot", lastPrice="100.0")
    if family == "priceLimit":
        return message(topic, "", {"symbol": "BTCUSDT", "buyLmt": "101", "sellLmt": "99"})
    return message(topic, "snapshot", [{"start": 1}])


def check_sequences(records: list[wire.Record]) -> None:
    """Hold the numbers against the contract: one up for each new record, the last one's for images and repeats."""
    last: dict[tuple[str, int], int] = {}
    for record in records:
        key = (record.subject, record.epoch)
        old = record.flags & (wire.IMAGE | wire.REPEATED)
        assert record.sequence == last.get(key, 0) + (0 if old else 1), record
        last[key] = record.sequence


def kinds(rig: Rig) -> list[int]:
    """Kinds of the records since the last look."""
    return [record.kind for record in rig.take()]


def states(rig: Rig) -> list[tuple[str, str]]:
    """State and reason of each new status since the last look."""
    told = [status(one) for one in rig.take() if one.kind == wire.STATUS and not one.flags & wire.REPEATED]
    return [(one.state, one.reason) for one in told]
