"""What a message of the venue is known by, whoever received it. Pure.

Trades are known by their ids, the states of a book by ``u`` and ``seq`` (``u`` alone begins anew when the service
restarts, dossier 5.1), everything else by its bytes.
"""

import hashlib
from typing import Any, Final

import msgspec

from feedhandler.bybit.products import Nature

Unit = str | tuple[int, int] | bytes
"""What one trade, one state of a book, or one message of anything else is known by."""


class _Named(msgspec.Struct, gc=False):
    topic: str = ""


class _Trade(msgspec.Struct, gc=False):
    i: str


class _Trades(msgspec.Struct, gc=False):
    data: list[_Trade]


class _Ids(msgspec.Struct, gc=False):
    u: int
    seq: int = 0


class _Book(msgspec.Struct, gc=False):
    data: _Ids


_decode_topic: Final = msgspec.json.Decoder(_Named).decode
_decode_trades: Final = msgspec.json.Decoder(_Trades).decode
_decode_book: Final = msgspec.json.Decoder(_Book).decode

TRADES: Final = "publicTrade."


def topic_of(payload: bytes) -> str:
    """Return the topic of a text frame; ``""`` where it is no data message."""
    try:
        return _decode_topic(payload).topic
    except ValueError:
        return ""


def digest(payload: bytes) -> bytes:
    """Return what stands for the exact bytes."""
    return hashlib.blake2b(payload, digest_size=16).digest()


def units(topic: str, nature: Nature, payload: bytes) -> list[Unit]:
    """Return what the message is known by: a frame of trades by each of them."""
    try:
        if topic.startswith(TRADES):
            return [trade.i for trade in _decode_trades(payload).data]
        if nature in (Nature.BOOK, Nature.DELTAS):
            ids = _decode_book(payload).data
            return [(ids.u, ids.seq)]
    except ValueError:
        pass  # not what it should be: then it is known by its bytes, like anything else
    return [digest(payload)]


def trades(payload: bytes) -> dict[str, dict[str, Any]]:
    """Return the trades of a frame by id, every field."""
    message: dict[str, Any] = msgspec.json.decode(payload)
    return {trade["i"]: trade for trade in message["data"]}


def fields(payload: bytes) -> dict[str, Any]:
    """Return the fields of a merged state; of lists, as insurance has them, the rows by their coin and symbols."""
    data = msgspec.json.decode(payload)["data"]
    if isinstance(data, list):
        return {f"{row.get('coin', '')} {row.get('symbols', '')}": row for row in data}
    found: dict[str, Any] = data
    return found


def says(payload: bytes) -> Any:
    """Return what a message says, whenever it says it."""
    return msgspec.json.decode(payload).get("data")


def shown(unit: Unit) -> str:
    """Return what a person reads of a unit."""
    if isinstance(unit, tuple):
        return f"u {unit[0]}"
    return f"trade {unit}" if isinstance(unit, str) else f"message {unit.hex()[:8]}"
