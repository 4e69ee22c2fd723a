"""Which of the events that a worker keeps and repeats for newcomers are new to us. Pure: no I/O, no clock.

For each newcomer they are repeated from the oldest on, behind a repeated status, and everybody hears them. Whoever joins
amid another one's repeats therefore waits for a repeated status, as its own are still to come; from there on each number
that it missed is new once, whoever it is repeated for.
"""

from collections import deque
from typing import Final

from feedhandler.bybit import topics
from feedhandler.bybit.products import PRODUCTS

HOLES_LIMIT: Final = 64
"""Holes of one epoch that repeats may still fill; what was lost in older ones stays lost, as it was told."""


def may_be_kept(topic: str) -> bool:
    """Guess from its name whether a worker keeps a topic's events: it does for accounts."""
    return PRODUCTS["private"].stream(topics.split(topic)[0]) is not None


class Repeats:
    """Of one subject, in one epoch."""

    __slots__ = ("_before", "_begun", "_had", "_holes", "_may_be_kept", "incomplete")

    def __init__(self, topic: str) -> None:
        self._may_be_kept = may_be_kept(topic)
        self._begun = False
        """A repeated status was heard: what is repeated before it is the rest of another newcomer's."""
        self._before = 0
        """Numbers up to this one came before us."""
        self._holes: deque[range] = deque(maxlen=HOLES_LIMIT)
        """Numbers lost on our way."""
        self._had: set[int] = set()
        """Those of both that were repeated to us."""
        self.incomplete = False
        """Events were lost that the worker may still have, and it has not answered since."""

    def enter_epoch(self) -> None:
        """Begin anew: numbers of different epochs do not compare."""
        self._begun = False
        self.want(0)

    def want(self, up_to: int) -> None:
        """Take every number up to this one for missed, and no other."""
        self._before = up_to
        self._holes.clear()
        self._had.clear()
        self.incomplete = False

    def lose(self, numbers: range) -> None:
        """Note numbers that were lost on our way."""
        if len(self._holes) == self._holes.maxlen:
            self._had.difference_update(self._holes[0])
        self._holes.append(numbers)
        self.incomplete = self._may_be_kept

    def answered(self) -> None:
        """Note a repeated status: from here on the repeats may be those meant for us."""
        self._begun = True
        self.incomplete = False

    def take(self, number: int) -> bool:
        """Say whether a repeated event is new to us; it is not the next time."""
        if not self._begun or number in self._had:
            return False
        if number > self._before and not any(number in hole for hole in self._holes):
            return False
        self._had.add(number)
        return True
