"""How one process of a worker takes another's place: what is done when. Pure.

The successor gets its topics live first, then the addresses, and the one before goes on until everybody has had the
time to connect to the successor. Until the addresses change hands the restart can be given up, and nobody knows of it.
From then on there is no way back, for somebody may have seen the successor's epoch, and would ignore the one before:
whatever becomes of the successor, it or the next one is brought up, and the one before goes on until that is done.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

from feedhandler.wire import LIVE, SUBSCRIBING

READY_S: Final = 30.0
"""How long a successor may take to get every topic live that is live."""
OVERLAP_S: Final = 2.0
"""How long both publish: subscribers look into the feed's directory every 0.1 s."""
RETIRE_S: Final = 3.0
"""How long the one before may take to end in order."""
_NAMED: Final = 3


class Facts(NamedTuple):
    """What is known of a process."""

    lives: bool = False
    is_assigned: bool = False
    """It has said hello."""
    has_paths: bool = False
    """It has the addresses that may change hands while the other one lives."""
    has_all: bool = False
    """It has every address."""
    is_given_up: bool = False
    """It ended, and is not started again by itself."""
    states: Mapping[str, str] = {}
    """Of each topic that it has spoken of."""


class Step(Enum):
    """How far it is."""

    PREPARING = auto()
    """The successor starts, and gets its topics live."""
    BINDING = auto()
    """The addresses change hands."""
    OVERLAPPING = auto()
    """Both publish."""
    RETIRING = auto()
    """The one before ends."""
    ALONE = auto()
    """The one before has ended; the successor may still have to start."""
    DONE = auto()
    GIVEN_UP = auto()


class Act(Enum):
    """What is to be done now."""

    ABANDON = auto()
    """End the successor."""
    HAND_OVER = auto()
    """The successor is the worker from now on. Have the addresses change hands."""
    SHOW = auto()
    """Tell clients that there is a successor."""
    RETIRE = auto()
    """End the one before, in order."""
    KILL = auto()
    """End the one before at once."""
    GO_ON_ALONE = auto()
    """The successor is the worker from now on, if it was not yet. Tell it that the one before has ended."""


class Succession:
    """One restart. Time is the loop's clock, in seconds."""

    def __init__(self, topics: Sequence[str], now_s: float, *, meets: bool, alone: bool = False) -> None:
        """Begin one.

        ``meets``: whether clients can be connected to both; else there is nothing to wait for. ``alone``: there is
        nobody to be succeeded, and nothing that could be done but to wait.
        """
        self.step = Step.ALONE if alone else Step.PREPARING
        self.reason = ""
        """Why it was given up."""
        self._topics = topics
        self._meets = meets
        self._since_s = now_s
        """When this step began."""
        self._ready_s: float | None = None
        """Since when, of late, the successor has been as good as the one before."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.step in (Step.DONE, Step.GIVEN_UP)

    @property
    def needs_successor(self) -> bool:
        """Whether the one before goes on until its successor is there, however long that takes."""
        return self.step in (Step.BINDING, Step.OVERLAPPING)

    def look(self, now_s: float, old: Facts, new: Facts) -> Act | None:
        """Return what is to be done now, None when there is nothing; call again until then."""
        if self.step is Step.PREPARING:
            return self._prepare(now_s, old, new)
        if self.step is Step.ALONE:
            return self._go_on(now_s, new)
        if not old.lives and not self.is_over:
            return self._enter(Step.ALONE, now_s, Act.GO_ON_ALONE)
        if self.step is Step.BINDING and new.has_paths:
            if self._meets:
                return self._enter(Step.OVERLAPPING, now_s, Act.SHOW)
            return self._enter(Step.RETIRING, now_s, Act.RETIRE)
        if self.step is Step.OVERLAPPING and self._has_overlapped(now_s, old, new):
            return self._enter(Step.RETIRING, now_s, Act.RETIRE)
        if self.step is Step.RETIRING and now_s - self._since_s > RETIRE_S:
            return self._enter(Step.RETIRING, now_s, Act.KILL)
        return None

    def _enter(self, step: Step, now_s: float, act: Act | None = None) -> Act | None:
        self.step, self._since_s = step, now_s
        return act

    def _give_up(self, reason: str, now_s: float) -> Act | None:
        self.reason = reason
        return self._enter(Step.GIVEN_UP, now_s, Act.ABANDON)

    def _prepare(self, now_s: float, old: Facts, new: Facts) -> Act | None:
        if not new.lives:
            return self._give_up("its successor ended", now_s)
        if not old.lives:
            if new.is_assigned:
                return self._enter(Step.ALONE, now_s, Act.GO_ON_ALONE)
            return self._give_up("it ended by itself before its successor was there", now_s)
        behind, untried = self.behind(old, new), self._untried(old, new)
        if new.is_assigned and not behind and not untried:
            return self._enter(Step.BINDING, now_s, Act.HAND_OVER)
        if now_s - self._since_s <= READY_S:
            return None
        if not new.is_assigned:
            return self._give_up(f"its successor did not start within {READY_S:g} s", now_s)
        if not behind:  # the rest is not live anywhere: there is nothing to lose
            return self._enter(Step.BINDING, now_s, Act.HAND_OVER)
        named = ", ".join(f"{topic} ({new.states.get(topic, 'never heard of')})" for topic in behind[:_NAMED])
        more = f" and {len(behind) - _NAMED} more" if len(behind) > _NAMED else ""
        return self._give_up(f"not live at its successor within {READY_S:g} s: {named}{more}", now_s)

    def _has_overlapped(self, now_s: float, old: Facts, new: Facts) -> bool:
        """Say whether both have published for long enough, the successor as well as the one before."""
        if not new.has_paths or self.behind(old, new):
            self._ready_s = None
            # A topic that fails at the successor alone is told there; it cannot hold the others up for ever.
            return new.has_paths and now_s - self._since_s > READY_S
        if self._ready_s is None:
            self._ready_s = now_s
        return now_s - self._ready_s >= OVERLAP_S

    def _go_on(self, now_s: float, new: Facts) -> Act | None:
        late = now_s - self._since_s > READY_S
        if new.is_given_up:
            self.reason = "it could not start"
            return self._enter(Step.GIVEN_UP, now_s)
        if new.has_all and (late or not self._untried(Facts(), new)):
            return self._enter(Step.DONE, now_s)
        if late:
            self.reason = f"it did not start within {READY_S:g} s, and is tried again and again"
            return self._enter(Step.GIVEN_UP, now_s)
        return None

    def behind(self, old: Facts, new: Facts) -> list[str]:
        """Return the topics that are live, and not at the successor."""
        return [topic for topic in self._topics if old.states.get(topic) == LIVE and new.states.get(topic) != LIVE]

    def _untried(self, old: Facts, new: Facts) -> list[str]:
        """Return the topics of which nobody knows yet what becomes of them."""
        return [
            topic
            for topic in self._topics
            if new.states.get(topic, SUBSCRIBING) == SUBSCRIBING or (old.lives and topic not in old.states)
        ]

    def words(self, new: Facts) -> str:
        """Say how far it is."""
        live = sum(new.states.get(topic) == LIVE for topic in self._topics)
        counted = f"{live} of {len(self._topics)} topics live"
        match self.step:
            case Step.PREPARING:
                return f"{counted} at its successor" if new.is_assigned else "starting its successor"
            case Step.BINDING | Step.OVERLAPPING if new.is_given_up:
                return "its successor could not start; the old process goes on"
            case Step.BINDING | Step.OVERLAPPING if not new.is_assigned:
                return "its successor ended, and is started again; the old process goes on"
            case Step.BINDING | Step.OVERLAPPING:
                return "handing over"
            case Step.RETIRING:
                return "ending the old process"
            case _:
                return counted if new.is_assigned else "starting"
