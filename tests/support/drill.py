"""A venue's messages and a feed's records of them, for tests of the drill's judges."""

from typing import Any

import msgspec

from feedhandler import wire
from feedhandler.bybit import topics
from feedhandler.drill.ledger import Ledger
from feedhandler.drill.truth import Truth

START_NS = 1_780_000_000_000_000_000
S = 1_000_000_000

BOOK = "orderbook.50.BTCUSDT"
TRADES = "publicTrade.BTCUSDT"
TICKERS = "tickers.BTCUSDT"
LEVEL_1 = "orderbook.1.BTCUSDT"
FULL = "orderbook.full.BTCUSDT"


def book(u: int, kind: str = "delta", bids: Any = (), asks: Any = (), seq: int = 0) -> bytes:
    """A book's message; ``seq`` is ten times ``u`` unless said."""
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": u, "seq": seq or 10 * u}
    return msgspec.json.encode({"topic": BOOK, "type": kind, "ts": 1, "data": data})


def trade(*ids: str, **more: Any) -> bytes:
    """A frame of trades."""
    return msgspec.json.encode(
        {"topic": TRADES, "type": "snapshot", "data": [{"i": one, "p": "1", **more} for one in ids]}
    )


def ticker(kind: str = "delta", **fields: str) -> bytes:
    """A ticker's message."""
    return msgspec.json.encode({"topic": TICKERS, "type": kind, "data": fields})


def level_1(ts: int, price: str = "1") -> bytes:
    """A level 1, sent again with another ``ts`` where nothing changed."""
    return msgspec.json.encode(
        {"topic": LEVEL_1, "type": "snapshot", "ts": ts, "data": {"b": [[price, "1"]], "a": [], "u": 5}}
    )


class Stream:
    """A venue, a feed that passes on what it is told to, and the ledger that judges it."""

    def __init__(self, topic: str, product: str = "linear") -> None:
        self.truth = Truth(topic, topics.nature(product, topic))
        self.ledger = Ledger(f"linear.{topic}", product, self.truth)
        self.now_ns = START_NS
        self.epoch = 7
        self.sequence = 0

    @property
    def broken(self) -> list[str]:
        """The promises that were found broken, in order."""
        return [finding.promise for finding in self.ledger.findings]

    def later(self, seconds: float = 0.1) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * S)

    def status(self, state: str, *, flags: int = 0, sequence: int | None = None, **more: Any) -> None:
        """Tell a state."""
        status = wire.Status(
            state=state, since_ns=self.now_ns, worker="linear", network="sim", lines_up=1, lines=1, **more
        )
        if sequence is None and not flags & wire.REPEATED:
            self.sequence += 1
        self.record(wire.STATUS, msgspec.json.encode(status), flags=flags, sequence=sequence or self.sequence)

    def live(self, payload: bytes = b"") -> None:
        """Subscribe, and be live; ``payload`` is the snapshot that comes first, from the venue as well."""
        self.status(wire.SUBSCRIBING)
        self.status(wire.LIVE)
        if payload:
            self.truth.publish(payload, self.now_ns)
            self.pass_on(payload, wire.SNAPSHOT)

    def send(self, *payloads: bytes, kind: int = wire.DELTA, dropped: bool = False) -> None:
        """Publish messages, and pass them on unless they get lost."""
        for payload in payloads:
            self.later()
            self.truth.publish(payload, self.now_ns)
            self.truth.deliver(payload, 1)
            if not dropped:
                self.pass_on(payload, kind, sent=False)

    def lose(self, *payloads: bytes) -> None:
        """Publish messages that never come."""
        self.send(*payloads, dropped=True)

    def pass_on(self, payload: bytes, kind: int = wire.DELTA, *, flags: int = 0, sent: bool = True) -> None:
        """Publish a record of a message, which was sent to the feed unless it is said not to have been."""
        if sent:
            self.truth.deliver(payload, 1)
        self.sequence += 1
        self.record(kind, payload, flags=flags)

    def image(self, payload: bytes, **more: Any) -> None:
        """Publish an image."""
        self.record(wire.SNAPSHOT, payload, flags=wire.IMAGE, **more)

    def record(self, kind: int, payload: bytes, *, flags: int = 0, sequence: int | None = None) -> None:
        """Hand a record to the ledger."""
        self.ledger.take(
            wire.Record(
                self.ledger.subject,
                kind,
                flags | wire.SIMULATED,
                0,
                self.epoch,
                self.sequence if sequence is None else sequence,
                self.now_ns,
                self.now_ns,
                payload,
            )
        )

    def settle(self, *, tail: bool = False) -> None:
        """Compare with everything sent so far."""
        self.ledger.settle(self.now_ns + S, self.now_ns if tail else None)
