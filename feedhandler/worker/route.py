"""One topic as the worker carries it: its place in the stream, its state, and what a late joiner will need. Pure.

The legal transitions between states are a table; anything else is a bug of ours and raises.
"""

from collections import deque
from math import inf
from typing import Final

import msgspec

from feedhandler import wire
from feedhandler.bybit.products import Nature
from feedhandler.image import BookImage, Image, new_image
from feedhandler.wire import DOWN, ENDED, LIVE, REJECTED, RESYNCING, STALE, SUBSCRIBING

TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    SUBSCRIBING: frozenset({LIVE, RESYNCING, DOWN, REJECTED, ENDED}),
    LIVE: frozenset({STALE, RESYNCING, DOWN, REJECTED, ENDED}),
    STALE: frozenset({LIVE, RESYNCING, DOWN, REJECTED, ENDED}),
    RESYNCING: frozenset({LIVE, RESYNCING, DOWN, REJECTED, ENDED}),
    DOWN: frozenset({SUBSCRIBING, DOWN, REJECTED, ENDED}),
    REJECTED: frozenset({SUBSCRIBING, DOWN, REJECTED, ENDED}),
    ENDED: frozenset(),
}
"""From each state, the states that may follow. A state that follows itself has a new reason."""

UNBASED: Final = -(2**62)
"""The update id of a book without a base: no delta continues it, for ids are not negative, and none is so by far."""

JOURNAL_LIMIT: Final = 32
"""Payloads kept before they are folded. A fold of this many holds the data up for less than 1 ms, even at depth 1000."""

OLD_DELTAS: Final = 20
"""So many deltas older than the book, with no newer one between, and the venue's count has fallen back (a copy of what
was sent comes once). The dossier would ask anew at the first (5.4); a duplicate alone harms nobody."""

RESYNC_BACKOFF_S: Final = 0.1
"""Pause before the second resync in a row; doubled each time up to the cap (dossier 5.4)."""
RESYNC_BACKOFF_CAP_S: Final = 10.0
NO_SNAPSHOT_CAP_S: Final = 300.0
"""The same cap where no snapshot comes at all: a contract may not be trading yet (dossier 4.1)."""
RESYNC_CALM_S: Final = 30.0
"""A topic whole for this long starts again without a pause."""
SNAPSHOT_TIMEOUT_S: Final = 5.0
"""How long a snapshot may take after its subscription (dossier 5.4)."""
SLOW_SNAPSHOT_TIMEOUT_S: Final = 70.0
"""The same for topics pushed up to 60 s apart (candles, dossier 4.6) or without a promised rhythm."""
_PROMPT: Final = ("orderbook.", "tickers.", "priceLimit.")

SAMPLES: Final = 20
"""Pauses a topic must have shown before its own cadence is believed; events come in bursts and need more."""
EVENT_SAMPLES: Final = 50
PATIENCE: Final = 4
"""A state is suspicious after this many times its longest pause so far."""
EVENT_PATIENCE: Final = 10
FORGIVEN_AFTER: Final = 64
"""Pauses after which one suspicion is forgotten again."""
LEAST_STALE_NS: Final = 10_000_000_000
LEAST_STALE_EVENT_NS: Final = 60_000_000_000
"""Nothing is suspicious sooner than this, however lively it was."""
LEVEL_1_STALE_NS: Final = 8_000_000_000
"""Level 1 is sent again after 3 s without change; pauses of 5.1 s are on record (dossier 2.5, 5.1)."""


Retained = tuple[int, int, bytes]
"""A record kept for newcomers: its sequence, received_ns, payload."""


class TransitionError(RuntimeError):
    """A transition that the table does not have: a bug of ours."""


class Hole(msgspec.Struct, frozen=True):
    """What is known of records that were missed."""

    from_ns: int
    to_ns: int | None = None
    """None while it lasts."""
    lost: int | None = None
    """None where they cannot be counted."""


class Cadence:
    """How long a topic's pauses are, and so from when on its silence is suspicious.

    A quiet market is not a dead subscription: what counts is the topic's own longest pause, slowly forgotten. Every
    suspicion that proves wrong doubles the patience.
    """

    __slots__ = ("_event", "_level_1", "_longest_ns", "_pauses", "_suspicions")

    def __init__(self, topic: str = "", nature: Nature = Nature.LATEST) -> None:
        self._event = nature in (Nature.EVENT, Nature.DELTAS)
        self._level_1 = topic.startswith("orderbook.1.")
        self._longest_ns = 0
        self._pauses = 0
        self._suspicions = 0

    def paused(self, pause_ns: int) -> None:
        """Take a pause that has ended."""
        self._pauses += 1
        if self._pauses % FORGIVEN_AFTER == 0 and self._suspicions:
            self._suspicions -= 1
        self._longest_ns = max(pause_ns, self._longest_ns - (self._longest_ns >> 10))

    def suspected(self) -> None:
        """Note that the topic was silent for too long, and is asked for again."""
        self._suspicions += 1

    def stale_after_ns(self) -> int | None:
        """Return how long it may be silent; None while too little is known of it."""
        if self._level_1:
            least_ns = LEVEL_1_STALE_NS
        elif self._pauses < (EVENT_SAMPLES if self._event else SAMPLES):
            return None
        elif self._event:
            least_ns = max(LEAST_STALE_EVENT_NS, EVENT_PATIENCE * self._longest_ns)
        else:
            least_ns = max(LEAST_STALE_NS, PATIENCE * self._longest_ns)
        return least_ns << min(self._suspicions, 10)


class Route:
    """A topic's place in the stream."""

    __slots__ = (
        "asked",
        "asked_s",
        "cadence",
        "chained",
        "due_s",
        "epoch",
        "first_frame_s",
        "heads",
        "heard_ns",
        "hole",
        "image",
        "inspected_ns",
        "inspected_sequence",
        "journal",
        "kind",
        "live",
        "nature",
        "old",
        "old_sequence",
        "prefix",
        "quiet_sequence",
        "quiet_since_ns",
        "reason",
        "repeated_ns",
        "resync_s",
        "resyncs",
        "retained",
        "sequence",
        "since_ns",
        "stale_update_id",
        "state",
        "status",
        "subject",
        "topic",
        "typed",
        "update_id",
    )

    def __init__(
        self,
        subject: str,
        topic: str,
        nature: Nature,
        *,
        epoch: int,
        flags: int,
        line: int,
        now_ns: int,
        retain: int = 0,
    ) -> None:
        self.subject = subject
        self.topic = topic
        self.nature = nature
        self.prefix = wire.prefix(subject)
        self.epoch = epoch
        self.sequence = 0
        self.kind = wire.UPDATE if nature is Nature.EVENT else wire.DELTA if nature is Nature.DELTAS else wire.SNAPSHOT
        """The kind of its records, but for the deltas among them."""
        self.heads = tuple(
            wire.head(self.prefix, self.kind if nature is Nature.EVENT else kind, flags, line, epoch)
            for kind in range(wire.UPDATE + 1)
        )
        """What a message begins with, by kind. An event is an update, also where the venue calls it a delta."""
        self.chained = nature in (Nature.BOOK, Nature.DELTAS)
        """Deltas continue each other by update id."""
        self.typed = nature in (Nature.BOOK, Nature.DELTAS, Nature.MERGED)
        """Its records are snapshots or deltas, and the venue's ``type`` says which."""
        self.update_id = UNBASED
        self.live = False
        self.asked = False
        """A subscribe request is out or answered on the present connection: records that come are meant."""
        self.asked_s = inf
        """When it went out, by the loop's clock; infinity while a resync is on its way."""
        self.journal: list[bytes] | None = None if nature in (Nature.EVENT, Nature.DELTAS) else []
        """Payloads since the image; None where newcomers get none."""
        self.retained: deque[Retained] | None = deque(maxlen=retain) if retain and nature is Nature.EVENT else None
        """The last records of an event topic; None where newcomers get none."""
        self.first_frame_s = SNAPSHOT_TIMEOUT_S if topic.startswith(_PROMPT) else SLOW_SNAPSHOT_TIMEOUT_S
        """How long the first record may take after the subscription, where there has to be one."""
        self.image: Image | None = None
        self.inspected_ns = now_ns
        """When a book was last looked into and found right."""
        self.inspected_sequence = -1
        self.state = SUBSCRIBING
        self.reason = ""
        self.since_ns = now_ns
        self.status = b""
        """The present status's payload."""
        self.hole: Hole | None = None
        self.resyncs = 0
        self.resync_s = 0.0
        """When the last resync was decided, by the loop's clock."""
        self.due_s: float | None = None
        """When the next resync may be asked for; None = none wanted."""
        self.cadence = Cadence(topic, nature)
        self.stale_update_id = UNBASED
        """Where the book stood when it fell silent: a delta that continues it brings it back."""
        self.quiet_sequence = -1
        self.quiet_since_ns = now_ns
        self.heard_ns = now_ns
        """Not later than its last record: the tick before the one that saw it, or when it came alive."""
        self.repeated_ns = 0
        self.old = 0
        """Old deltas in a row."""
        self.old_sequence = -1
        """After which record they came."""

    def enter(self, state: str, reason: str, now_ns: int) -> None:
        """Go to ``state``; raise `TransitionError` where the table does not allow it."""
        if state not in TRANSITIONS[self.state]:
            raise TransitionError(f"{self.subject}: {self.state} cannot become {state} ({reason})")
        again = state == self.state
        self.state, self.reason, self.since_ns = state, reason, now_ns
        if again:
            return
        self.live = state == LIVE
        if state == STALE:
            # Off the hot path: the next record must bring the status ``live`` with it.
            self.stale_update_id, self.update_id = self.update_id, UNBASED
        if state == DOWN:
            self.resyncs = 0  # what broke on this connection says nothing of the next
        if state in (DOWN, RESYNCING, REJECTED, ENDED):
            # Nothing that comes now continues what came before.
            self.update_id = UNBASED
            self.asked, self.asked_s = False, inf
            self.image = None
            if self.journal is not None:
                self.journal = []

    def fold(self) -> None:
        """Fold the journal into the image; raise `ValueError` where the records do not make one."""
        if self.journal:
            if self.image is None:
                self.image = new_image(self.topic)
            for payload in self.journal:
                self.image.fold(payload)
            self.journal = []

    def inspect(self) -> tuple[str, int]:
        """Return what is wrong with a book, ``""`` for nothing, and how many deletes had no level since the last look.

        Raises `ValueError` where the records make no book.
        """
        if self.sequence == self.inspected_sequence:
            return "", 0
        self.inspected_sequence = self.sequence
        self.fold()
        if not isinstance(self.image, BookImage):
            return "", 0
        unknown_deletes, self.image.unknown_deletes = self.image.unknown_deletes, 0
        return self.image.fault(), unknown_deletes

    def compose(self) -> bytes | None:
        """Return what a newcomer gets, None where there is nothing; raise `ValueError` where the records make none."""
        if self.journal is None or self.state not in (LIVE, STALE):
            return None
        if self.image is None and len(self.journal) == 1:
            return self.journal[0]  # the venue's own snapshot, nothing since
        self.fold()
        # A topic may be live before its first record: the venue's announcements are.
        return self.image.compose() if self.image is not None else None
