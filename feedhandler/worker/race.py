"""Several lines carry the same topics, and the first copy of each record wins: what all such races share. Pure.

A lane's copy of a topic is what one line knows of it; the topic's race is what the copies share, and it publishes under
the one route that strategies follow. A line that is lost, late or gapped is nobody's business but the race's, as long
as another one carries the topic. What "first" means, and what may follow what, depends on the topic's nature:
`book_race`, `trade_race` and `standby` say so.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final

from feedhandler import wire
from feedhandler.bybit.products import STATUS_TOPIC
from feedhandler.wire import DOWN, LIVE, REJECTED, RESYNCING, STALE, SUBSCRIBING
from feedhandler.worker.paired import PairedLane
from feedhandler.worker.route import JOURNAL_LIMIT, Hole, Route

if TYPE_CHECKING:
    from feedhandler.worker.lines import Lines

HOLD_NS: Final = 1_000_000_000
"""How long records wait for what another line may still bring."""
REORDER_NS: Final = 50_000_000
"""How long they wait where no line is known to bring it: only a frame that was overtaken would still come."""
HELD_LIMIT: Final = 1000
"""Records that wait at once, by topic."""
DEAD_RECORDS: Final = 20
"""A copy is dead when the topic's other copies brought more than this in `DEAD_S` while its line was lively …"""
DEAD_S: Final = 2.0
DEAD_QUIET_RECORDS: Final = 2
DEAD_QUIET_S: Final = 10.0
"""… or at least two within this time, and it brought none."""
LIVELY_NS: Final = 500_000_000
"""A line that is silent for longer is not lively."""


class Copy(ABC):
    """What one line knows of one topic."""

    __slots__ = (
        "_latest",
        "_others",
        "_patience",
        "_seen",
        "_settles",
        "_silent_since_s",
        "acknowledged_ns",
        "arrived",
        "asked",
        "composed_head",
        "due_s",
        "heads",
        "joined",
        "lane",
        "publish",
        "race",
        "records",
        "refused",
        "route",
    )

    race: "Race"

    def __init__(self, lane: PairedLane, race: "Race") -> None:
        self.lane = lane
        self.race = race
        self.route = route = race.route
        feed = race.feed
        self.publish = feed.publish
        kinds = [route.kind if route.journal is None else kind for kind in range(wire.UPDATE + 1)]
        self.heads = tuple(wire.head(route.prefix, kind, feed.flags, lane.line, route.epoch) for kind in kinds)
        """What a message begins with, by kind; see `Route.heads`."""
        kind = wire.UPDATE if route.journal is None else wire.SNAPSHOT
        self.composed_head = wire.head(route.prefix, kind, feed.flags | wire.COMPOSED, lane.line, route.epoch)
        """The same for what we rebuilt: some trades of a message, or a whole state."""
        self.asked = False
        """A subscribe request is out or answered on the present connection: records that come are meant."""
        self.acknowledged_ns = 0
        self.arrived = False
        """Data came on the present connection."""
        self.joined = False
        """It carries the topic: what comes now continues what came before."""
        self.refused = ""
        """The venue's text while it refuses the topic on this line."""
        self.records = 0
        """Records that came, whatever became of them."""
        self.due_s: float | None = None
        """When this line alone is to subscribe anew."""
        self._seen = 0
        self._settles = False
        """The last look saw a record of its own."""
        self._others = 0
        """How many the other copies had had by the first look after that."""
        self._latest = 0
        """How many they had had by the last look."""
        self._silent_since_s = 0.0
        self._patience = 0

    @abstractmethod
    def take(self, frame: Any, payload: bytes, received_ns: int) -> None:
        """Take a record of this line."""

    @property
    def usable(self) -> bool:
        """The venue can be asked for the topic on this line."""
        return self.lane.up and not self.refused

    @property
    def carries(self) -> bool:
        """Nothing would be missed if this were the only line."""
        return self.joined and self.lane.up

    def forget(self) -> None:
        """Its subscription is gone, and what it knew by it."""
        self.asked = self.joined = self.arrived = False
        self.acknowledged_ns = 0
        self.due_s = None

    def deliver(self, kind: int, payload: bytes, received_ns: int, *, composed: bool = False) -> None:
        """Publish a record of this line, or what we rebuilt of its records, under the topic's next number."""
        route, lane = self.route, self.lane
        lane.wins += 1
        route.sequence = sequence = route.sequence + 1
        self.publish(self.composed_head if composed else self.heads[kind], sequence, received_ns, payload)
        # Only now what a late joiner will need.
        journal = route.journal
        if journal is not None:
            if kind == wire.DELTA:
                journal.append(payload)
                if len(journal) > JOURNAL_LIMIT:
                    lane.fold(route, received_ns)
            else:
                route.journal = [payload]
                route.image = None

    def untyped(self, type_: str, payload: bytes) -> None:
        """Count a message that is neither snapshot nor delta, of a topic that has both."""
        self.lane.strange("unparsed", f"{self.route.topic}: a message of the type {type_!r}", payload)

    def silence(self, others: int, now_s: float) -> tuple[int, float]:
        """Return how many records the other copies have had since this one's last, and for how long.

        ``others`` is how many they have had so far. Lines are not equally quick: what came since the last look may still
        come here, and so may, after this one's own last record, the other copies of that.
        """
        known, self._latest = self._latest, others
        if self.records != self._seen or self._settles or not (self.asked and self.lane.up):
            self._settles = self.records != self._seen
            self._seen, self._others, self._silent_since_s = self.records, others, now_s
        elif known == self._others:
            self._silent_since_s = now_s
        return max(known - self._others, 0), now_s - self._silent_since_s

    def is_dead(self, missed: int, silent_s: float, now_s: float) -> bool:
        """Judge by `silence` whether the subscription brings nothing any more; a doubt that proves wrong costs patience."""
        lively_s = now_s - self.lane.lively_since_s
        patience_s = silent_s / (1 << self._patience)
        if not (missed >= DEAD_QUIET_RECORDS and patience_s >= DEAD_QUIET_S) and not (
            missed > DEAD_RECORDS and min(patience_s, lively_s) >= DEAD_S
        ):
            return False
        self._patience = min(self._patience + 1, 6)
        return True

    def begin_anew(self, now_s: float) -> None:
        """Take no silence so far for the venue's: it may be our own."""
        self._silent_since_s = now_s


class Race:
    """What the copies of one topic share. Subclasses say what may follow what."""

    __slots__ = ("asking", "copies", "feed", "lines", "reason", "route", "tried")

    copies: Sequence[Copy]

    def __init__(self, lines: "Lines", route: Route) -> None:
        self.lines = lines
        self.feed = lines.feed
        self.route = route
        self.reason = ""
        """What is to be said of the topic while it is live."""
        self.asking: Copy | None = None
        """Whose line a new snapshot is, or was last, asked for on."""
        self.tried: Copy | None = None
        """Whose line was asked since the topic was last alive."""

    def copy(self, lane: PairedLane) -> Copy:
        """Return the copy of a lane."""
        return next(copy for copy in self.copies if copy.lane is lane)

    @property
    def carried(self) -> bool:
        """Some line carries the topic."""
        return any(copy.carries for copy in self.copies)

    def _carried_beside(self, copy: Copy) -> bool:
        return any(other.carries for other in self.copies if other is not copy)

    # What happens to the connections.

    def opened(self, now_ns: int) -> None:
        """A line's connection is open."""
        if self.route.state == DOWN:
            self.feed.enter(self.route, SUBSCRIBING, "connected", now_ns)
            self._refused_everywhere(now_ns)
        self.feed.restate(self.route)

    def _refused_everywhere(self, now_ns: int) -> bool:
        """Where the venue refuses the topic on every line that is up, say so."""
        texts = [copy.refused for copy in self.copies if copy.lane.up]
        if not texts or not all(texts):
            return False
        self.route.due_s = None
        self.feed.enter(self.route, REJECTED, texts[0], now_ns)
        return True

    def acknowledged(self, copy: Copy, now_ns: int) -> None:
        """A line has subscribed to the topic."""
        if self.route.state == REJECTED:
            self.feed.enter(self.route, SUBSCRIBING, "accepted at last", now_ns)
        if self.live_when_acknowledged:
            copy.joined = True
            if self.route.state in (SUBSCRIBING, RESYNCING, STALE):
                self.come_alive(now_ns)

    @property
    def live_when_acknowledged(self) -> bool:
        """No first record is waited for: the topic has no state, or may not be heard of for months."""
        return self.route.journal is None or self.route.topic == STATUS_TOPIC

    def come_alive(self, now_ns: int) -> None:
        """Bring the topic to ``live``; the next record is published."""
        self.tried = None
        self.feed.come_alive(self.route, now_ns, self.reason)

    def without(self, copy: Copy, reason: str, now_ns: int) -> None:
        """A line carries the topic no more (``copy`` has forgotten it). Nobody need know while another one does."""
        route = self.route
        if self.carried or self.replace(copy, now_ns):
            if route.state == RESYNCING and self.asking is copy:
                route.due_s = copy.lane.clock_s()  # on another line
            self.left(copy, now_ns)
            self.feed.restate(route)
            return
        self.left(copy, now_ns)
        if route.state in (LIVE, STALE) and (route.hole is None or route.hole.to_ns is not None):
            # Everything up to the last message of the connection is known to have been delivered.
            route.hole = Hole(max(copy.lane.last_ns, route.heard_ns))
        if route.state != REJECTED and not self._refused_everywhere(now_ns):
            other = next((other for other in self.copies if other.usable), None)
            if other is None or route.state != SUBSCRIBING:
                route.due_s = None
                self.feed.enter(route, DOWN, reason, now_ns)
            if other is not None and route.state == DOWN:
                route.asked_s = other.lane.clock_s() if other.asked else inf
                self.feed.enter(route, SUBSCRIBING, f"line {other.lane.line} is subscribing", now_ns)
        self.feed.restate(route)

    def muted(self, copy: Copy, reason: str, now_ns: int) -> None:
        """A line's connection is open and brings nothing."""
        copy.forget()
        route = self.route
        if self.carried or self.replace(copy, now_ns):
            self.left(copy, now_ns)
        elif route.live:
            route.hole = Hole(max(copy.lane.last_ns, route.heard_ns))
            self.feed.enter(route, STALE, reason, now_ns)

    def replace(self, lost: Copy, now_ns: int) -> bool:  # noqa: ARG002 - for subclasses
        """Have a copy that has not joined carry the topic from now on; return False where there is none that could."""
        return False

    def left(self, copy: Copy, now_ns: int) -> None:
        """A copy does not carry the topic any more; say in a subclass what follows from it."""

    # Resyncs.

    def takes_due(self, copy: Copy, now_s: float) -> bool:
        """Say whether this copy's line is to subscribe anew now; said once."""
        route = self.route
        if route.due_s is not None and now_s >= route.due_s and self._chosen() is copy:
            # The venue owes a snapshot from when it is asked: the unsubscription before that may take its time.
            route.due_s, route.asked_s = None, inf
            self.asking = self.tried = copy
        elif copy.due_s is None or now_s < copy.due_s or not self._carried_beside(copy):
            return False  # it may be dead, but not while it is the only one
        else:
            self.feed.counters["line_resyncs"] += 1
        asked = copy.asked
        copy.forget()
        # A topic that is only suspected may still speak.
        copy.asked = asked and route.state == STALE
        return True

    def _chosen(self) -> Copy | None:
        """The line to ask for a new snapshot: the one that is ahead; another one when it was asked in vain."""
        usable = [copy for copy in self.copies if copy.usable]
        if self.asking in usable and self.asking is not self.tried:
            return self.asking
        return next((copy for copy in usable if copy is not self.tried), usable[0] if usable else None)

    # Time.

    def expire(self, now_ns: int) -> None:
        """Look after records that wait."""

    def judge(self, now_ns: int, now_s: float) -> None:
        """Subscribe a copy anew that brings nothing while the others do."""
        if not self.route.live:
            return
        total = sum(copy.records for copy in self.copies)
        for copy in self.copies:
            missed, silent_s = copy.silence(total - copy.records, now_s)
            if missed:
                self.silent(copy, missed, silent_s, now_ns, now_s)

    def silent(self, copy: Copy, missed: int, silent_s: float, now_ns: int, now_s: float) -> None:  # noqa: ARG002 - for subclasses
        """Others have brought ``missed`` records since this copy's last, for ``silent_s``."""
        if copy.due_s is None and copy.is_dead(missed, silent_s, now_s):
            copy.due_s = now_s
            self.lines.news.append(f"{self.route.topic} is dead on line {copy.lane.line}: subscribed anew there")
