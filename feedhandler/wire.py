"""The wire format, version 1: what a strategy reads from a worker's ZeroMQ PUB socket.

One message of one part::

    subject  0x00  header (32 bytes, little-endian "<BBBBIQqq")  payload

Pure: no I/O, no clock.
"""

import struct
from typing import Final, NamedTuple

import msgspec

VERSION: Final = 1

HEADER: Final = struct.Struct("<BBBBIQqq")
"""version, kind, flags, line, epoch, sequence, received_ns, published_ns."""

_FIXED: Final = struct.Struct("<BBBBI")
TAIL: Final = struct.Struct("<Qqq")
"""The header's second part: sequence, received_ns, published_ns."""

# Kinds. Plain integers: an enum member costs a lookup on every message.
SNAPSHOT: Final = 1
DELTA: Final = 2
UPDATE: Final = 3
STATUS: Final = 4
HEARTBEAT: Final = 5
NOTICE: Final = 6
KIND_NAMES: Final = ("", "snapshot", "delta", "update", "status", "heartbeat", "notice")
"""The word for each kind, indexed by its number."""

# Flags.
IMAGE: Final = 1
"""Composed by us for a newcomer; carries the number of the last record."""
REPEATED: Final = 2
"""Sent before; carries the number of the last, or its own original, record."""
COMPOSED: Final = 4
"""JSON rebuilt by us: not the venue's own bytes."""
SIMULATED: Final = 8
"""Simulated or replayed data."""

NO_LINE: Final = 255
"""The header's line where none delivered the record (image, status, heartbeat, notice)."""

# States of a subject.
SUBSCRIBING: Final = "subscribing"
LIVE: Final = "live"
STALE: Final = "stale"
RESYNCING: Final = "resyncing"
DOWN: Final = "down"
REJECTED: Final = "rejected"
ENDED: Final = "ended"
STATES: Final = (SUBSCRIBING, LIVE, STALE, RESYNCING, DOWN, REJECTED, ENDED)


class WireError(ValueError):
    """A message that is not of this format."""


class Record(NamedTuple):
    """One message taken apart."""

    subject: str
    kind: int
    flags: int
    line: int
    epoch: int
    sequence: int
    received_ns: int
    published_ns: int
    payload: bytes


class Status(msgspec.Struct, kw_only=True):
    """Payload of kind 4, on the subject it speaks of. The last four fields stand only where a hole is known."""

    state: str
    reason: str = ""
    since_ns: int
    worker: str
    network: str
    lines_up: int
    lines: int
    blind_from_ns: int | msgspec.UnsetType = msgspec.UNSET
    """Unix ns: nothing that happened at the venue after this is known to have been delivered."""
    blind_to_ns: int | msgspec.UnsetType = msgspec.UNSET
    """Unix ns: from here on delivery is whole again."""
    lost: int | msgspec.UnsetType | None = msgspec.UNSET
    """How many records were lost; null when they cannot be counted."""
    recoverable: bool | msgspec.UnsetType = msgspec.UNSET
    """True where the next snapshot makes good what was lost; false where events are gone for good."""


class LineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How one line of one set of topics does in the race, since the worker's start."""

    line: int
    up: bool
    wins: int
    """Records that it brought first, and that were published."""
    second_copies: int
    """Records that another line had brought before."""
    lag_us_mean: float
    """By how much (µs) its second copies came later; with two lines, the other one's lead."""
    lag_us_max: float


class Heartbeat(msgspec.Struct, kw_only=True):
    """Payload of kind 5, once a second on ``<endpoint>.heartbeat.<worker>``. Counters run from the worker's start."""

    worker: str
    pid: int
    time_ns: int
    uptime_s: float
    network: str
    state: str
    """The worker in one word: ``live`` (every topic live), ``starting``, ``degraded`` or ``down``."""
    topics: dict[str, int]
    """How many topics are in each state; states with none are left out."""
    connections_up: int
    connections: int
    frames: int
    """Data messages received."""
    rejected: int
    """Topics that the venue refuses at present."""
    published: int
    """Records sent under a number of their own: data and new statuses; images and repeats are not counted here."""
    cpu_s: float
    """CPU time of the worker's process so far."""
    rss_bytes: int
    images: int = 0
    """Images sent to newcomers."""
    repeated: int = 0
    """Records kept for newcomers and sent again to them."""
    reconnects: int = 0
    """Attempts to connect again."""
    rotations: int = 0
    """Connections opened anew because of their age, as planned."""
    auth_failures: int = 0
    """Times that the venue refused the account's key, or that there was none to show."""
    mutes: int = 0
    """Connections given up because nothing came although the venue owed something."""
    gaps: int = 0
    """Jumps in a book's update ids."""
    duplicates: int = 0
    """Deltas that came again, or too late."""
    crossed: int = 0
    """Books found crossed or too deep although their update ids were in order."""
    unknown_deletes: int = 0
    """Deletes of levels that were not in their book."""
    resyncs: int = 0
    """Snapshots asked for again after a gap or a contradiction."""
    stale: int = 0
    """Topics found silent while their connection was alive."""
    unparsed: int = 0
    """Text frames that are not what the venue promises."""
    binary: int = 0
    """Binary frames."""
    unexpected: int = 0
    """Data frames of topics that nobody asked for on that connection."""
    held_back: int = 0
    """Deltas without a snapshot to continue, not published."""
    timeouts: int = 0
    """Requests that the venue never answered."""
    strange_replies: int = 0
    """Answers to no request of ours."""
    line_resyncs: int = 0
    """Topics asked for again on one line alone, unseen by strategies."""
    switches: int = 0
    """Topics that went on from another line."""
    rebuilt: int = 0
    """Trade messages published in part, for the rest had come over another line."""
    unproven: int = 0
    """Holes told because nothing proved that there was none."""
    compared: int = 0
    """Books of two lines found alike, level for level."""
    uncompared: int = 0
    """Books of two lines that never stood at the same update."""
    diverged: int = 0
    """Books of two lines found different: from then on one line is believed at a time."""
    lines: list[LineFacts] = []
    """With ``lines = 2``: how each line of each set of topics does."""


class Notice(msgspec.Struct, kw_only=True):
    """Payload of kind 6, on ``<endpoint>.notice``."""

    notice: str
    """One of ``maintenance`` (announced by the venue), ``restarting`` (the worker, by command) and ``moved``."""
    text: str
    worker: str
    time_ns: int
    begin_ms: int | msgspec.UnsetType = msgspec.UNSET
    """Unix ms: when a maintenance begins, as announced."""
    end_ms: int | msgspec.UnsetType = msgspec.UNSET
    """Unix ms: when it is expected to end."""


def prefix(subject: str) -> bytes:
    """Return what a record of ``subject`` begins with; also the SUB filter for exactly that subject."""
    return subject.encode() + b"\0"


def head(subject_prefix: bytes, kind: int, flags: int, line: int, epoch: int) -> bytes:
    """Return the part of a message that does not change from record to record; `TAIL` and the payload follow."""
    return subject_prefix + _FIXED.pack(VERSION, kind, flags, line, epoch)


def pack(
    subject_prefix: bytes,
    kind: int,
    flags: int,
    line: int,
    epoch: int,
    sequence: int,
    received_ns: int,
    published_ns: int,
    payload: bytes,
) -> bytes:
    """Return a whole message. ``subject_prefix`` is `prefix` of the subject."""
    return head(subject_prefix, kind, flags, line, epoch) + TAIL.pack(sequence, received_ns, published_ns) + payload


def parse(message: bytes) -> Record:
    """Take a message apart; raise `WireError` where it is not of this format."""
    zero = message.find(b"\0")
    start = zero + 1 + HEADER.size
    if zero < 0 or len(message) < start:
        raise WireError(f"not a feedhandler message: {message[:80]!r}")
    version, kind, flags, line, epoch, sequence, received_ns, published_ns = HEADER.unpack_from(message, zero + 1)
    if version != VERSION:
        raise WireError(f"wire format version {version}, this program reads version {VERSION}")
    try:
        subject = message[:zero].decode()
    except UnicodeDecodeError as error:
        raise WireError(f"subject is not UTF-8: {message[:zero][:80]!r}") from error
    return Record(subject, kind, flags, line, epoch, sequence, received_ns, published_ns, message[start:])
