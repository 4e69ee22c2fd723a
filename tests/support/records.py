"""Records as a worker publishes them, for tests of what reads them."""

from typing import Any

import msgspec

from feedhandler import wire
from feedhandler.client.record import Record

BOOK = "linear.orderbook.50.BTCUSDT"
TRADES = "linear.publicTrade.BTCUSDT"
START_NS = 1_780_000_000_000_000_000


def status(
    subject: str,
    sequence: int,
    state: str = wire.LIVE,
    *,
    epoch: int = 1,
    repeated: bool = False,
    flags: int = 0,
    network: str = "sim",
    **rest: Any,
) -> Record:
    """A status; ``repeated`` ones carry the number of the last record."""
    content = {"since_ns": START_NS, "worker": "linear", "network": network, "lines_up": 1, "lines": 1, **rest}
    payload = msgspec.json.encode(wire.Status(state=state, **content))
    return record(
        subject, sequence, wire.STATUS, epoch=epoch, flags=flags | (wire.REPEATED if repeated else 0), payload=payload
    )


def record(
    subject: str,
    sequence: int,
    kind: int,
    *,
    epoch: int = 1,
    flags: int = 0,
    payload: bytes = b"{}",
    published_ns: int | None = None,
) -> Record:
    """Any record; without ``published_ns`` record n of an epoch was published n ns after its start."""
    sent_ns = START_NS + 1000 * epoch + sequence if published_ns is None else published_ns
    return Record(subject, kind, flags, 0, epoch, sequence, sent_ns, sent_ns, payload)


def message(record: Record) -> bytes:
    """The same on the wire."""
    return wire.pack(
        wire.prefix(record.subject),
        record.kind,
        record.flags,
        record.line,
        record.epoch,
        record.sequence,
        record.received_ns,
        record.published_ns,
        record.payload,
    )


def snapshot(sequence: int, **rest: Any) -> Record:
    return record(BOOK, sequence, wire.SNAPSHOT, **rest)


def delta(sequence: int, **rest: Any) -> Record:
    return record(BOOK, sequence, wire.DELTA, **rest)


def image(sequence: int, **rest: Any) -> Record:
    return record(BOOK, sequence, wire.SNAPSHOT, flags=wire.IMAGE, **rest)


def event(sequence: int, **rest: Any) -> Record:
    return record(TRADES, sequence, wire.UPDATE, **rest)


def said(record: Record) -> tuple[Any, ...]:
    """What a record is, in short: its kind and number; of a status also who made it, the state and what was lost."""
    if record.kind != wire.STATUS:
        return (wire.KIND_NAMES[record.kind], record.sequence)
    content: wire.Status = record.decode()
    told = ("said here" if record.local else "status", record.sequence, content.state)
    return told if content.lost is msgspec.UNSET else (*told, content.lost)
