"""What a late joiner needs: the state of a topic, composed from the records since its last snapshot. Pure.

Keeping a book costs more than publishing its deltas, and most topics are joined rarely. So the feed only keeps the
payloads (its journal); they are folded into one of these when the journal is long, or when somebody asks.
"""

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec


class ImageError(ValueError):
    """The records do not make a state; the text says why."""


class Image(Protocol):
    """A state that folds records, oldest first, and composes itself in the venue's own shape."""

    def fold(self, payload: bytes) -> None:
        """Take one record, a snapshot or a delta."""

    def compose(self) -> bytes:
        """Return the state as a snapshot message; raise `ImageError` where there is none."""


_Level = tuple[str, str]
_RpiLevel = tuple[str, str, str]


class _BookData(msgspec.Struct, gc=False):
    s: str
    b: list[_Level]
    a: list[_Level]
    u: int
    seq: int | msgspec.UnsetType = msgspec.UNSET


class _RpiBookData(msgspec.Struct, gc=False):
    s: str
    b: list[_RpiLevel]
    a: list[_RpiLevel]
    u: int
    seq: int | msgspec.UnsetType = msgspec.UNSET


class _Book(msgspec.Struct, gc=False):
    topic: str
    type: str
    ts: int
    data: _BookData
    cts: int | msgspec.UnsetType = msgspec.UNSET


class _Levels(msgspec.Struct, gc=False):
    b: list[_Level]
    a: list[_Level]


class _BookLevels(msgspec.Struct, gc=False):
    """What a fold needs of a book message: the rest is read of the last one only, when somebody asks."""

    type: str
    data: _Levels


class _RpiBook(msgspec.Struct, gc=False):
    topic: str
    type: str
    ts: int
    data: _RpiBookData
    cts: int | msgspec.UnsetType = msgspec.UNSET


_decode_book: Final = msgspec.json.Decoder(_Book).decode
_decode_levels: Final = msgspec.json.Decoder(_BookLevels).decode
_decode_rpi_book: Final = msgspec.json.Decoder(_RpiBook).decode


def _is_zero(size: str) -> bool:
    """Deleted levels are ``"0"`` in every recording; other spellings are compared numerically (dossier 4)."""
    return size == "0" or float(size) == 0.0


class BookImage:
    """An order book. Prices and sizes stay the venue's own text. ``depth``: levels a side at most, None = unknown."""

    def __init__(self, depth: int | None = None) -> None:
        self._depth = depth
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self.unknown_deletes = 0
        """Levels that were removed and were not there. The book is the same without them, and clients have met them on
        the real venue (dossier 5.4): they are told, and the book stays."""
        self._last = b""

    def fold(self, payload: bytes) -> None:
        """Take a snapshot or the next delta. Sizes are absolute; ``"0"`` removes a level (dossier 5.1)."""
        message = _decode_levels(payload)
        if message.type == "snapshot":
            self._bids, self._asks = {}, {}
        # This runs for every delta: a loop is quicker than dict.update for these few pairs.
        bids, asks = self._bids, self._asks
        for price, size in message.data.b:
            if size != "0":
                bids[price] = size
            elif bids.pop(price, None) is None:
                self.unknown_deletes += 1
        for price, size in message.data.a:
            if size != "0":
                asks[price] = size
            elif asks.pop(price, None) is None:
                self.unknown_deletes += 1
        self._last = payload

    def compact(self) -> None:
        """Remove zeros of another spelling, and make sure that no price has two, which would leave a ghost level."""
        for side in (self._bids, self._asks):
            if len({float(price) for price in side}) != len(side):
                raise ImageError("a price is spelt in two ways")
            for price in [price for price, size in side.items() if float(size) == 0.0]:
                del side[price]

    def compose(self) -> bytes:
        """Return the book as a snapshot message."""
        if not self._last:
            raise ImageError("no snapshot yet")
        self.compact()
        last = _decode_book(self._last)
        data = _BookData(
            last.data.s,
            [(price, self._bids[price]) for price in sorted(self._bids, key=float, reverse=True)],
            [(price, self._asks[price]) for price in sorted(self._asks, key=float)],
            last.data.u,
            last.data.seq,
        )
        return msgspec.json.encode(_Book(last.topic, "snapshot", last.ts, data, last.cts))

    def fault(self) -> str:
        """Say that the book is crossed, or deeper than what is subscribed: neither occurs in a right one (dossier 5.4)."""
        bids, asks, depth = self._bids, self._asks, self._depth
        # Every book is looked into often: what is dear is only done where something seems to be wrong.
        may_be_crossed = bids and asks and max(map(float, bids)) >= min(map(float, asks))
        if not may_be_crossed and (depth is None or max(len(bids), len(asks)) <= depth):
            return ""
        self.compact()
        if bids and asks:
            bid, ask = max(bids, key=float), min(asks, key=float)
            if float(bid) >= float(ask):
                return f"crossed: best bid {bid}, best ask {ask}"
        deepest = max(len(bids), len(asks))
        return f"too deep: {deepest} levels on a side of {depth}" if depth is not None and deepest > depth else ""


class RpiBookImage:
    """An order book with retail price improvement: levels are price, size without RPI, RPI size (dossier 4.2).

    Its best prices may look crossed while all is well.
    """

    def __init__(self) -> None:
        self._bids: dict[float, _RpiLevel] = {}
        self._asks: dict[float, _RpiLevel] = {}
        self._last: _RpiBook | None = None

    def fold(self, payload: bytes) -> None:
        """Take a snapshot or the next delta. A level is gone only when both its sizes are zero."""
        message = _decode_rpi_book(payload)
        if message.type == "snapshot":
            self._bids, self._asks = {}, {}
        for side, levels in ((self._bids, message.data.b), (self._asks, message.data.a)):
            for level in levels:
                if _is_zero(level[1]) and _is_zero(level[2]):
                    side.pop(float(level[0]), None)
                else:
                    side[float(level[0])] = level
        self._last = message

    def compose(self) -> bytes:
        """Return the book as a snapshot message."""
        if self._last is None:
            raise ImageError("no snapshot yet")
        last = self._last
        data = _RpiBookData(
            last.data.s,
            [self._bids[price] for price in sorted(self._bids, reverse=True)],
            [self._asks[price] for price in sorted(self._asks)],
            last.data.u,
            last.data.seq,
        )
        return msgspec.json.encode(_RpiBook(last.topic, "snapshot", last.ts, data, last.cts))


class _Fields(msgspec.Struct, gc=False):
    topic: str
    ts: int
    data: dict[str, msgspec.Raw] | list[dict[str, msgspec.Raw]]
    type: str | msgspec.UnsetType = msgspec.UNSET
    cs: int | msgspec.UnsetType = msgspec.UNSET


_decode_fields: Final = msgspec.json.Decoder(_Fields).decode


class FieldsImage:
    """A ticker: absent fields of a delta keep their value (dossier 4.5). Values stay the venue's own text.

    Insurance pools send a list of rows instead of one; a row is known by its coin and symbols (dossier 4.9).
    """

    def __init__(self) -> None:
        self._rows: dict[bytes, dict[str, msgspec.Raw]] = {}
        self._last: _Fields | None = None

    def fold(self, payload: bytes) -> None:
        """Take a snapshot or the next delta."""
        message = _decode_fields(payload)
        if message.type == "snapshot":
            self._rows = {}
        for row in message.data if isinstance(message.data, list) else [message.data]:
            key = (
                bytes(row.get("coin", b"")) + bytes(row.get("symbols", b"")) if isinstance(message.data, list) else b""
            )
            self._rows.setdefault(key, {}).update(row)
        self._last = message

    def compose(self) -> bytes:
        """Return the merged fields as a snapshot message."""
        if self._last is None:
            raise ImageError("no snapshot yet")
        rows = list(self._rows.values())
        data = rows if isinstance(self._last.data, list) else rows[0]
        return msgspec.json.encode(msgspec.structs.replace(self._last, type="snapshot", data=data))


_decode_message: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_rows: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def only_rows(payload: bytes, wanted: Iterable[int]) -> bytes:
    """Return a message of events with those of its rows, by their places, that are wanted; everything else as it was."""
    message = _decode_message(payload)
    rows = _decode_rows(message["data"])
    message["data"] = msgspec.Raw(msgspec.json.encode([rows[place] for place in wanted]))
    return msgspec.json.encode(message)


def new_image(topic: str) -> Image:
    """Return an image that has folded nothing yet."""
    if topic.startswith("orderbook.rpi."):
        return RpiBookImage()
    if not topic.startswith("orderbook."):
        return FieldsImage()
    depth = topic.split(".", 2)[1]
    return BookImage(int(depth) if depth.isascii() and depth.isdecimal() else None)
