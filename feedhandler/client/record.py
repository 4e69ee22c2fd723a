"""One record as a strategy sees it, and the status records that the client itself makes. Pure: no I/O, no clock."""

from typing import Any, Final

import msgspec

from feedhandler import wire
from feedhandler.bybit import messages

UNASSIGNED: Final = "unassigned"
"""State of a subject that no worker carries; only the client says it."""
UNKNOWN: Final = "unknown"
"""State of a subject of which nothing has been heard yet, or whose feed is gone; only the client says it."""


class Record(msgspec.Struct, gc=False):
    """One record: the fields of `feedhandler.wire.Record`, and where it comes from.

    A Struct without garbage collection: it costs 60 ns to make where a NamedTuple costs 300 ns.
    """

    subject: str
    kind: int
    """1 snapshot, 2 delta, 3 update, 4 status, 5 heartbeat, 6 notice."""
    flags: int
    """Bit 0 image, bit 1 repeated, bit 2 composed, bit 3 simulated or replayed."""
    line: int
    """Line that delivered it first; 255 where none did."""
    epoch: int
    sequence: int
    """Per subject and epoch. A status made by the client carries the last number that was seen."""
    received_ns: int
    """Unix ns, when the worker was handed the frame; for a status made by the client: when it was made."""
    published_ns: int
    """Unix ns, just before the worker sent it."""
    payload: bytes
    """JSON: the venue's own text for kinds 1 to 3, ours for 4 to 6."""
    product: str = ""
    """The venue's product (``linear``, ``spot`` …) behind the endpoint; ``""`` where the client was not told."""
    local: bool = False
    """True for a status that the client made itself: it did not come from a worker."""

    @property
    def topic(self) -> str:
        """The venue's topic: the subject without its endpoint."""
        return self.subject.partition(".")[2]

    @property
    def is_image(self) -> bool:
        """True for a snapshot composed for a newcomer."""
        return bool(self.flags & wire.IMAGE)

    @property
    def is_repeated(self) -> bool:
        """True where the record was published before."""
        return bool(self.flags & wire.REPEATED)

    @property
    def is_simulated(self) -> bool:
        """True for simulated or replayed data."""
        return bool(self.flags & wire.SIMULATED)

    def decode(self, numbers: type = float) -> Any:
        """Return the payload as a typed Struct, chosen by kind, topic and product.

        ``numbers`` is what prices, sizes and rates become: ``float``, ``decimal.Decimal`` or ``str`` (the venue's own
        text). Kinds 4 to 6 give `wire.Status`, `wire.Heartbeat` and `wire.Notice`. Raises ``msgspec.DecodeError`` where
        the payload is not what the venue promises.
        """
        if self.kind >= wire.STATUS:
            return _DECODERS[self.kind](self.payload)
        return messages.decoder(self.product, self.subject.partition(".")[2], numbers)(self.payload)


_DECODERS: Final = {
    wire.STATUS: msgspec.json.Decoder(wire.Status).decode,
    wire.HEARTBEAT: msgspec.json.Decoder(wire.Heartbeat).decode,
    wire.NOTICE: msgspec.json.Decoder(wire.Notice).decode,
}

decode_status: Final = msgspec.json.Decoder(wire.Status).decode
_encode: Final = msgspec.json.encode


def local_status(
    subject: str, product: str, flags: int, epoch: int, sequence: int, status: wire.Status, now_ns: int
) -> Record:
    """Return a status record made by the client: in a worker's form, with `Record.local` set."""
    return Record(
        subject, wire.STATUS, flags, wire.NO_LINE, epoch, sequence, now_ns, now_ns, _encode(status), product, local=True
    )
