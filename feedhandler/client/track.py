"""What one subject's records say, in order: sequence, epoch, in step or not, state. Pure: no I/O, no clock.

The rule for every client (section "late joiner" of the wire format): hold deltas until a snapshot or image; take an
image only when not in step; apply what follows its sequence. A worker sends the image number n after record n and
before record n + 1, but nothing here relies on that: records may be lost, repeated and late.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

from feedhandler import wire
from feedhandler.bybit import topics
from feedhandler.bybit.products import PRODUCTS, Nature
from feedhandler.client.counters import Counters
from feedhandler.client.links import worker_of
from feedhandler.client.record import UNKNOWN, Record, decode_status, local_status
from feedhandler.client.repeats import Repeats
from feedhandler.wire import (
    DELTA,
    DOWN,
    ENDED,
    IMAGE,
    LIVE,
    REPEATED,
    RESYNCING,
    SIMULATED,
    SNAPSHOT,
    STALE,
    STATUS,
    UPDATE,
)

HELD_LIMIT: Final = 4096
"""Deltas held for a snapshot or image; beyond them the oldest are of no use to anybody."""

_GOES_ON: Final = (
    *("epoch", "sequence", "joined", "in_step", "keeps_state", "link", "outside"),
    *("_fallen", "_held", "_latest", "_live_ns", "_repeats", "_simulated", "_status", "_undelivered", "_whole_from"),
)
"""What a track takes over from the one of another worker."""


class View(Protocol):
    """A state kept from a subject's records: a book or a ticker."""

    loaded: bool
    """It has had its snapshot."""

    def take(self, record: Record) -> None:
        """Take the next data record, in order."""

    def tell(self, state: str, reason: str) -> None:
        """Take the subject's state."""


def keeps_state(topic: str) -> bool:
    """Guess from its name whether a topic's records are a state (snapshot, deltas) rather than events.

    Only used until the first record shows it by its kind.
    """
    name, _ = topics.split(topic)
    stream = next((found for product in PRODUCTS.values() if (found := product.stream(name)) is not None), None)
    if stream is None:
        return name.startswith("orderbook.")
    return stream.nature in (Nature.BOOK, Nature.MERGED, Nature.LATEST)


class Track:
    """One subject.

    ``next_sequence`` is the number of the record that may be delivered without a second look, 0 while there is none.
    Everything else goes through `on_record`.
    """

    __slots__ = (
        "_counters",
        "_fallen",
        "_held",
        "_latest",
        "_left_ns",
        "_live_ns",
        "_outbox",
        "_repeats",
        "_simulated",
        "_status",
        "_undelivered",
        "_where_lost",
        "_whole_from",
        "epoch",
        "in_step",
        "joined",
        "keeps_state",
        "last",
        "link",
        "next_sequence",
        "noted",
        "outside",
        "product",
        "reason",
        "sequence",
        "state",
        "subject",
        "view",
    )

    def __init__(
        self,
        subject: str,
        outbox: deque[Record],
        counters: Counters,
        where_lost: str = "between the worker and this program",
    ) -> None:
        self.subject = subject
        self.product = ""
        self.link: str | None = None
        """The worker link that its records come from."""
        self.state = UNKNOWN
        """As the strategy was last told."""
        self.reason = ""
        self.epoch = 0
        self.sequence = 0
        """Highest number known to have been published in this epoch."""
        self.next_sequence = 0
        self.last: Record | None = None
        """The last data record that was delivered."""
        self.noted: list[Record] | None = None
        """While it goes to another worker: the last record before, and those delivered since."""
        self.joined = False
        """A record of this epoch was seen: what is missing from here on is lost."""
        self.in_step = False
        """The strategy's state of this subject is the one at ``sequence``."""
        topic = subject.partition(".")[2]
        self.keeps_state = keeps_state(topic)
        self.outside: tuple[str, str] | None = None
        """State and reason that the way to the worker imposes, whatever the worker last said."""
        self.view: View | None = None
        self._where_lost = where_lost
        self._outbox = outbox
        self._counters = counters
        self._simulated = 0
        self._live_ns = 0
        """When the worker last said that it is live, or anything for the first time."""
        self._status: wire.Status | None = None
        """The worker's own, in this epoch."""
        self._latest: Record | None = None
        self._undelivered = False
        self._fallen = False
        """Out of step by a loss on our way, which an image mends."""
        self._held: deque[Record] = deque(maxlen=HELD_LIMIT)
        self._whole_from = 0
        """From this number on nothing is missing of what is held: an image just below it can be continued."""
        self._left_ns = 0
        """Until when an earlier epoch was followed; 0 = there was none."""
        self._repeats = Repeats(topic)

    @property
    def topic(self) -> str:
        """The venue's topic: the subject without its endpoint."""
        return self.subject.partition(".")[2]

    @property
    def last_ns(self) -> int:
        """Unix ns up to when nothing is missing: when the last record that was in order was published; 0 = never."""
        return max(self._live_ns, 0 if self.last is None else self.last.published_ns)

    @property
    def is_live(self) -> bool:
        """The subject is live, and so is the view of it, if one is kept."""
        return self.state == LIVE and (self.view is None or self.view.loaded)

    @property
    def is_answered(self) -> bool:
        """The worker has said in which state the subject is."""
        return self._status is not None

    @property
    def is_followed(self) -> bool:
        """The worker speaks of the subject, and nothing is known that would end that."""
        return self._status is not None and self.outside is None and self._status.state != ENDED

    @property
    def needs_recovery(self) -> bool:
        """Records were lost on our way, and the worker's answer mends it: an image, or the events that it has kept."""
        return (self._repeats.incomplete and self.is_followed) or (self._fallen and self.wants_image)

    @property
    def wants_image(self) -> bool:
        """Only an image brings this subject, or the view of it, in step: the worker will not send one by itself."""
        if not self.keeps_state or self._status is None or self._status.state not in (LIVE, STALE):
            return False
        return not self.in_step or (self.view is not None and not self.view.loaded)

    # Records.

    def on_record(self, record: Record, now_ns: int) -> None:
        """Take a record of kinds 1 to 4 that is not simply the next one."""
        if record.epoch != self.epoch:
            if record.epoch < self.epoch:
                self._counters.old_epoch += 1
                return
            self._enter_epoch(record.epoch)
        self.outside = None  # the record is here: so is the way to its worker
        self.next_sequence = 0
        self._simulated = record.flags & SIMULATED
        if record.kind == STATUS:
            self._on_status(record, now_ns)
        elif record.kind == SNAPSHOT and record.flags & (IMAGE | REPEATED):
            self._on_image(record, now_ns)
        elif record.flags & REPEATED:
            self._on_repeated(record)
        else:
            self._on_data(record, now_ns)
        self._settle(now_ns)

    def _on_data(self, record: Record, now_ns: int) -> None:
        if record.kind == UPDATE:
            self.keeps_state = False
        elif record.kind == SNAPSHOT:
            self.keeps_state = True
        if self.joined and record.sequence <= self.sequence:
            self._counters.duplicates += 1
            return
        if not self.joined:
            self._join(record.sequence - 1)
        self._miss(record.sequence - 1, record, now_ns)
        self.sequence = record.sequence
        if record.kind == DELTA and self.keeps_state and not self.in_step:
            self._hold(record)
            return
        if self.keeps_state:
            self._come_in_step()
        self._settle(now_ns)
        self._deliver(record)

    def _on_image(self, record: Record, now_ns: int) -> None:
        self.keeps_state = True
        if self.in_step and record.sequence <= self.sequence:
            if self.view is not None and not self.view.loaded and record.sequence == self.sequence:
                self.view.take(record)
            self._counters.images += 1
            return
        if not self.joined:
            self._join(record.sequence)
        if self.in_step:
            self._miss(record.sequence, record, now_ns)
        # An image older than what is known to exist helps only where everything after it is held.
        if record.sequence + 1 < self._whole_from:
            self._counters.images += 1
            return
        held = [delta for delta in self._held if delta.sequence > record.sequence]
        self._counters.overtaken += len(self._held) - len(held)
        self.sequence = max(self.sequence, record.sequence)
        self._come_in_step()
        self._settle(now_ns)
        self._deliver(record)
        for delta in held:
            self._deliver(delta)

    def _on_repeated(self, record: Record) -> None:
        """Events kept for a newcomer: each that we have not had is delivered, once."""
        if self.keeps_state or not self._repeats.take(record.sequence):
            self._counters.duplicates += 1
            return
        self._outbox.append(record)

    def _on_status(self, record: Record, now_ns: int) -> None:
        status = decode_status(record.payload)
        repeated = bool(record.flags & REPEATED)
        if repeated:
            self._repeats.answered()
        if self.joined and (record.sequence < self.sequence or (record.sequence == self.sequence and not repeated)):
            self._counters.duplicates += 1
            return
        # A new status takes a number of its own; a repeated one carries the number of the last record.
        before = record.sequence if repeated else record.sequence - 1
        if not self.joined:
            self._join(before)
        self._miss(before, record, now_ns)
        self.sequence = record.sequence
        told, self._status = self._status, status
        if status.state not in (LIVE, STALE):
            # The next data record of a state is a snapshot: nothing that is held will be continued.
            self._fall_out()
            self._fallen = False
        self._latest = record
        # Of an epoch the first is news, even where the state is the same: it may tell of a hole. A repeated one is where
        # the one that it repeats was lost, or something else has been said since.
        self._undelivered = (
            told is None
            or not repeated
            or (status.state, status.reason, status.since_ns) != (told.state, told.reason, told.since_ns)
            or status.state != self.state
        )
        if status.state == LIVE or not self.last_ns:
            self._live_ns = record.published_ns

    # Steps.

    def _enter_epoch(self, epoch: int) -> None:
        # Several epochs may pass before one is live.
        self._left_ns = self._left_ns or self.last_ns
        self.epoch = epoch
        self.joined = False
        self.sequence = 0
        self._status = None
        self._latest = None
        self._undelivered = False
        self._repeats.enter_epoch()
        self._fall_out()

    def _join(self, sequence: int) -> None:
        """Begin after record ``sequence``: what came before was not ours to lose."""
        self.joined = True
        self.sequence = sequence
        self._repeats.want(sequence)
        self._whole_from = sequence + 1

    def _miss(self, up_to: int, record: Record, now_ns: int) -> None:
        """``record`` proves that the numbers up to ``up_to`` were published; say what is missing."""
        lost = up_to - self.sequence
        if lost <= 0:
            return
        self._counters.gaps += 1
        self._counters.lost += lost
        # What is held leads nowhere now, and events kept by the worker may fill the hole.
        self._fall_out()
        self._repeats.lose(range(self.sequence + 1, up_to + 1))
        self.sequence = up_to
        self._whole_from = up_to + 1
        # A snapshot that shows a hole also fills it.
        self._fallen = self.keeps_state and record.kind != SNAPSHOT
        state = RESYNCING if self._fallen and self.state in (LIVE, STALE) else self.state
        self._tell(
            state,
            f"{lost} record{'s' if lost > 1 else ''} lost {self._where_lost}",
            now_ns,
            blind_from_ns=self.last_ns,
            blind_to_ns=record.published_ns,
            lost=lost,
            recoverable=self.keeps_state,
        )

    def _hold(self, delta: Record) -> None:
        if len(self._held) == HELD_LIMIT:
            self._counters.overtaken += 1
            self._whole_from = self._held[0].sequence + 1
        self._held.append(delta)

    def _fall_out(self) -> None:
        self.in_step = False
        self._counters.overtaken += len(self._held)
        self._held.clear()
        self._whole_from = self.sequence + 1

    def _come_in_step(self) -> None:
        if self._fallen:
            self._counters.recovered += 1
            self._fallen = False
        self.in_step = True
        self._held.clear()

    def _deliver(self, record: Record) -> None:
        self.last = record
        if self.noted is not None:
            self.noted.append(record)
        if self.view is not None:
            self.view.take(record)
        self._outbox.append(record)

    def stay(self) -> None:
        """End its way to another worker, wherever it has led: the next record takes the long way, and opens the short."""
        self.noted = None

    def go_on_as(
        self, successor: "Track", records: Iterable[Record], hole: tuple[int, int] | None, now_ns: int
    ) -> None:
        """Go on where another track of the same subject is: that of the worker which carries it from now on.

        ``records`` of it are to be delivered first. ``hole``: from when to when events may be missing between the two.
        """
        for name in _GOES_ON:
            setattr(self, name, getattr(successor, name))
        self.noted = None
        self._left_ns = 0
        if hole is not None and hole[0] and successor.state != LIVE:
            self._left_ns, hole = hole[0], None  # told when it is live
        for record in records:
            if record.kind == STATUS:
                self._say(record)
            if hole is not None and hole[0]:
                self._tell_other_epoch(*hole, now_ns)
                hole = None
            if record.kind != STATUS:
                self._deliver(record)
        self._settle(now_ns)

    def _say(self, record: Record) -> None:
        status = decode_status(record.payload)
        self.state, self.reason = status.state, status.reason
        self._outbox.append(record)
        self._tell_view()

    # State.

    def attach(self, view: View) -> None:
        """Keep a view from now on; it is loaded by the next snapshot or image."""
        self.view = view
        self._tell_view()

    def detach(self) -> None:
        """The subject is followed no more: the view that was kept of it stands still."""
        if self.view is not None:
            self.view.tell(UNKNOWN, "unsubscribed")

    def impose(self, state: str, reason: str, now_ns: int) -> None:
        """The way to the worker decides: down, unassigned, unknown, rejected."""
        if self.outside == (state, reason):
            return
        self.outside = (state, reason)
        self.next_sequence = 0
        self._tell(state, reason, now_ns)

    def release(self, now_ns: int) -> None:
        """The way to the worker is open again, and was never broken."""
        self.outside = None
        self._settle(now_ns)

    def skip(self, record: Record) -> int:
        """Note a record of a stale backlog, thrown away unread; return how many records the strategy misses by it.

        Those before it that never came are counted, too.
        """
        if record.epoch > self.epoch:
            self._enter_epoch(record.epoch)
        if record.epoch < self.epoch:
            return 0
        self.next_sequence = 0
        numbered = not record.flags & (IMAGE | REPEATED)
        if not self.joined:
            self._join(record.sequence - numbered)
        missed = max(record.sequence - self.sequence, 0)
        self.sequence += missed
        if lost := max(missed - numbered, 0):
            self._counters.gaps += 1
            self._counters.lost += lost
        return missed

    def end_skipping(self, missed: int, reason: str, now_ns: int) -> None:
        """Say what was missed, and begin anew with the worker's next answer."""
        self._status = None
        self._latest = None
        self._undelivered = False
        self._fall_out()
        self._repeats.want(0)
        self.next_sequence = 0
        self._tell(
            RESYNCING,
            reason,
            now_ns,
            blind_from_ns=self.last_ns,
            blind_to_ns=now_ns,
            lost=missed,
            recoverable=self.keeps_state,
        )

    def _settle(self, now_ns: int) -> None:
        """Tell the strategy if its state is another one now, and open the short way for the next record."""
        state = self._effective()
        if self._latest is not None and self._undelivered and self._status is not None and state == self._status.state:
            self._undelivered = False
            self.state, self.reason = state, self._status.reason
            self._outbox.append(self._latest)
            self._tell_view()
            self._tell_hole_between_epochs(self._latest, now_ns)
        elif state != self.state:
            reason = "delivery goes on" if state in (LIVE, STALE) else f"epoch {self.epoch} began"
            self._tell(state, reason, now_ns)
        whole = self.joined and (self.in_step or not self.keeps_state) and self.noted is None
        self.next_sequence = self.sequence + 1 if whole and self._status is not None else 0

    def _effective(self) -> str:
        """Return the state while nothing is imposed from outside."""
        told = RESYNCING if self.state in (LIVE, STALE) else self.state
        if self._status is None:
            return told
        state = self._status.state
        # A state is live for the strategy when it has it, not when the worker does.
        return told if self.keeps_state and not self.in_step and state in (LIVE, STALE) else state

    def _tell_hole_between_epochs(self, latest: Record, now_ns: int) -> None:
        """Sequences of two epochs do not compare: where the worker's word does not, say from when to when we were blind."""
        status = self._status
        if self.keeps_state or not self._left_ns or status is None or status.state != LIVE:
            return
        left_ns, self._left_ns = self._left_ns, 0
        # The hole that a worker knows may begin later than ours (there was a worker in between), and it ends when that is
        # live: of a worker that we hear only later, we missed more.
        known = isinstance(status.blind_from_ns, int) and status.blind_from_ns <= left_ns
        if latest.is_repeated or not known:
            self._tell_other_epoch(left_ns, latest.published_ns if latest.is_repeated else status.since_ns, now_ns)

    def _tell_other_epoch(self, left_ns: int, until_ns: int, now_ns: int) -> None:
        self._tell(
            LIVE,
            "another epoch began: what happened in between was not seen",
            now_ns,
            blind_from_ns=left_ns,
            blind_to_ns=until_ns,
            lost=None,
            recoverable=False,
        )

    def _tell(self, state: str, reason: str, now_ns: int, **hole: int | bool | None) -> None:
        """Make a status of our own, in the worker's form; ``hole`` as the last fields of `wire.Status`."""
        last = self._status
        status = wire.Status(
            state=state,
            reason=reason,
            since_ns=now_ns,
            worker=worker_of(self.link) if self.link else (last.worker if last is not None else ""),
            network=last.network if last is not None else "",
            lines_up=0 if state == DOWN or last is None else last.lines_up,
            lines=last.lines if last is not None else 0,
            **hole,  # type: ignore[arg-type]  # each has a type of its own
        )
        self.state, self.reason = state, reason
        self._outbox.append(
            local_status(self.subject, self.product, self._simulated, self.epoch, self.sequence, status, now_ns)
        )
        self._tell_view()

    def _tell_view(self) -> None:
        if self.view is not None:
            self.view.tell(self.state, self.reason)
