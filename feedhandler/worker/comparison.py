"""Do two lines carry the same book? Pure.

Lines are trusted to count a book's updates alike. Whenever one joins, its own book is compared, level by level, with the
published one at the same update.
"""

import enum
from typing import Final

import msgspec

from feedhandler.image import new_image

COMPARED_FRAMES: Final = 200
"""So many records may pass until two books can be compared."""


class Outcome(enum.Enum):
    """What a comparison says."""

    SAME = "compared"
    DIFFERENT = "diverged"
    NONE = "uncompared"
    """The books are not of the same update of the same count."""


class _Data(msgspec.Struct, gc=False):
    u: int
    b: list[tuple[float, ...]]
    a: list[tuple[float, ...]]
    seq: int = 0


class _Book(msgspec.Struct, gc=False):
    data: _Data


_decode: Final = msgspec.json.Decoder(_Book, strict=False).decode
"""Levels by number, however they are spelt."""


def compare(book: bytes, reference: bytes) -> Outcome:
    """Compare two snapshot messages; raise `ValueError` where one is none."""
    ours, theirs = _decode(book).data, _decode(reference).data
    if (ours.u, ours.seq) != (theirs.u, theirs.seq):
        return Outcome.NONE
    same = set(ours.b) == set(theirs.b) and set(ours.a) == set(theirs.a)
    return Outcome.SAME if same else Outcome.DIFFERENT


class Trial:
    """A line's own book, from its first snapshot on, until it comes to where the published one was."""

    def __init__(self, topic: str, update_id: int, snapshot: bytes, goal: int, reference: bytes) -> None:
        """``reference`` is the published book at update ``goal``. Raises `ValueError` where the snapshot is none."""
        self._image = new_image(topic)
        self._image.fold(snapshot)
        self._update_id = update_id
        self._goal = goal
        self._reference = reference
        self._frames = 0

    def outcome(self) -> Outcome | None:
        """Compare where it can be compared; None where it is still on its way."""
        return compare(self._image.compose(), self._reference) if self._update_id == self._goal else None

    def follow(self, update_id: int, payload: bytes) -> Outcome | None:
        """Take the line's next delta; return as `outcome` does. Raises `ValueError` where it is none."""
        self._frames += 1
        if update_id != self._update_id + 1 or self._frames > COMPARED_FRAMES:
            return Outcome.NONE
        self._update_id = update_id
        self._image.fold(payload)
        return self.outcome()
