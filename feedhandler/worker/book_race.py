"""The race of an order book over several lines: first copy by update id. Pure.

The venue counts a book's updates once for all connections (dossier 5.2), so what continues what is told by ``u`` alone,
whichever line brings it: the next one is published, an earlier one is the other line's copy, a later one waits until a
line has brought what is between. Where the count begins anew, after a restart of the venue's, ``seq`` tells before from
after: it only grows.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from feedhandler.bybit.products import Nature
from feedhandler.wire import DELTA, RESYNCING, SNAPSHOT, STALE
from feedhandler.worker.comparison import Outcome, Trial, compare
from feedhandler.worker.paired import Frame, Ids, PairedLane
from feedhandler.worker.race import HELD_LIMIT, HOLD_NS, REORDER_NS, Copy, Race
from feedhandler.worker.route import JOURNAL_LIMIT, UNBASED, Hole, Route

if TYPE_CHECKING:
    from feedhandler.worker.lines import Lines

NEVER: Final = 1 << 63
"""Later than any ``seq``."""
NO_IDS: Final = Ids(UNBASED, 0)
REMEMBERED: Final = 64
"""Arrival times kept, for the lag of second copies; a power of two."""


class Held(NamedTuple):
    """A record that waits."""

    copy: "BookCopy"
    kind: int
    ids: Ids
    payload: bytes
    received_ns: int
    since: int
    """The ``seq`` with which its line began: it continues nothing published before that."""
    joins: bool = False
    """A line's first snapshot: a copy of the state, not the venue's next record."""


class BookCopy(Copy):
    """What one line knows of a book."""

    __slots__ = ("last", "since", "trial")

    race: "BookRace"

    def __init__(self, lane: PairedLane, race: "BookRace") -> None:
        super().__init__(lane, race)
        self.last = NO_IDS
        """Where the line is: the ids of its last record."""
        self.since = self._unknown
        """The ``seq`` with which it began. Once that is published, what it brings afterwards follows what is published:
        it has passed there itself. Before, the same ``u`` may be of another count of the venue's."""
        self.trial: Trial | None = None

    def forget(self) -> None:
        """Its subscription is gone, and what it knew by it."""
        super().forget()
        self.last = NO_IDS
        self.since = self._unknown
        if self.trial is not None:
            self.trial = None
            self.race.feed.counters[Outcome.NONE.value] += 1

    @property
    def _unknown(self) -> int:
        """A line of a book with snapshots begins with one; what comes before it is of the subscription before."""
        return 0 if self.route.nature is Nature.BOOK else NEVER

    def take(self, frame: Frame, payload: bytes, received_ns: int) -> None:
        """Publish a record that comes next; drop the second copy of one."""
        ids = frame.data
        if type(ids) is not Ids:
            self.lane.strange("unparsed", "a book without update ids", payload)
            return
        self.records += 1
        race = self.race
        route = self.route
        before, self.last = self.last, ids
        update_id = ids.u
        if frame.type != "delta" and route.nature is Nature.BOOK:
            if frame.type == "snapshot":
                race.snapshot(self, ids, payload, received_ns)
            else:
                # The chain shows whether it was an update: then another line has it, or there is a gap.
                self.last = before
                self.untyped(frame.type, payload)
        elif update_id == route.update_id + 1 and self.since <= race.seq <= ids.seq < race.horizon:
            route.update_id = update_id
            race.seq = ids.seq
            race.first_ns[update_id % REMEMBERED] = received_ns
            self.lane.wins += 1
            route.sequence = sequence = route.sequence + 1
            self.publish(self.heads[DELTA], sequence, received_ns, payload)
            # Only now what a late joiner will need.
            if route.journal is not None:
                route.journal.append(payload)
                if len(route.journal) > JOURNAL_LIMIT:
                    self.lane.fold(route, received_ns)
            if race.waiting:
                race.drain()
        elif update_id <= route.update_id and 0 < ids.seq <= race.seq:
            race.second(self, before, ids, payload, received_ns)
        else:
            race.odd(self, before, ids, payload, received_ns)


class BookRace(Race):
    """What the copies of a book share."""

    __slots__ = ("first_ns", "held", "horizon", "offer", "seq", "snapshot_payload", "waiting")

    copies: tuple[BookCopy, ...]

    def __init__(self, lines: "Lines", route: Route) -> None:
        super().__init__(lines, route)
        self.seq = 0
        """Of the last record published: nothing that is not above it can come after it."""
        self.horizon = NEVER
        """From this ``seq`` on the venue counts anew, and we have not seen the beginning: nothing continues past it."""
        self.held: dict[int, Held] = {}
        """Records that wait for those before them, by update id."""
        self.offer: Held | None = None
        """The newest snapshot from a line that is ahead: the way on, should what is between not come."""
        self.waiting = False
        """Something is held or offered."""
        self.first_ns = [0] * REMEMBERED
        """When the last records came, by update id modulo their number."""
        self.snapshot_payload = b""
        """The last snapshot published."""
        self.copies = tuple(BookCopy(lane, self) for lane in lines.lanes)

    # Records.

    def second(self, copy: BookCopy, before: Ids, ids: Ids, payload: bytes, received_ns: int) -> None:
        """Drop a delta that was published before."""
        if copy.since == NEVER:
            self._begin(copy, ids)
        if (ids.seq or ids.u) <= (before.seq or before.u):
            self.feed.counters["duplicates"] += 1  # on the same line
            return
        copy.lane.second_copies += 1
        if 0 <= self.route.update_id - ids.u < REMEMBERED:
            copy.lane.lagged(received_ns - self.first_ns[ids.u % REMEMBERED])
        if copy.trial is not None:
            trial = copy.trial
            self._conclude(copy, payload, received_ns, lambda: trial.follow(ids.u, payload))

    def _begin(self, copy: BookCopy, ids: Ids) -> None:
        """A line of a book without snapshots begins with its first delta."""
        if copy.asked:
            copy.joined = copy.arrived = True
            copy.since = ids.seq

    def odd(self, copy: BookCopy, before: Ids, ids: Ids, payload: bytes, received_ns: int) -> None:
        """Take a delta that neither continues the published book nor is known to be old."""
        route = self.route
        update_id = ids.u
        base = route.update_id
        if copy.since == NEVER:
            self._begin(copy, ids)
        held = Held(copy, DELTA, ids, payload, received_ns, copy.since)
        if route.state == STALE and route.nature is Nature.BOOK:
            base = route.stale_update_id
        # Two updates in a row may have the same ``seq``: then ``u`` says which was first.
        is_old = 0 < ids.seq < self.seq or (ids.seq == self.seq > 0 and update_id <= base)
        if is_old or (not ids.seq and 1 < update_id <= base) or (not ids.seq and update_id == base):
            self.second(copy, before, ids, payload, received_ns)
        elif base >= 0 and update_id == base + 1 and self._continues(held):
            if route.state == STALE:
                self.feed.come_alive(route, received_ns, "it speaks again")
            self._publish(held)
            self.drain()
        elif route.nature is Nature.DELTAS and (base < 0 or update_id == 1):
            # No snapshot on this socket: the first delta is the base, and so is a restart (dossier 4.3).
            self._begin_anew(held)
        elif update_id == 1 and base >= 1:
            # The service restarted (dossier 5.1), and said so by a delta: its base is not ours.
            self.feed.counters["held_back"] += 1
            self._resync(copy, f"restarted: delta with u 1 after u {base}", None, received_ns)
        else:
            if ids.seq and update_id <= base:
                # After all that was published, and counted lower: the venue counts anew since before this.
                self.horizon = min(self.horizon, ids.seq)
            self._hold(held)

    def snapshot(self, copy: BookCopy, ids: Ids, payload: bytes, received_ns: int) -> None:
        """Take a snapshot: a line's first one, or one that the venue sent by itself."""
        route = self.route
        if not copy.joined:
            copy.since = ids.seq
        found = Held(copy, SNAPSHOT, ids, payload, received_ns, copy.since, joins=not copy.joined)
        if not route.live:
            self._begin_anew(found)
            return
        copy.joined = copy.arrived = True
        if ids.seq:
            behind = ids.seq < self.seq or (ids.seq == self.seq and ids.u == route.update_id)
            anew = not behind and ids.u <= route.update_id
        else:
            anew = ids.u == 1 and payload != self.snapshot_payload
            behind = not anew and ids.u <= route.update_id
        if behind:
            copy.lane.second_copies += 1
            if found.joins:
                self._compare_later(copy, ids, payload, received_ns)
        elif anew and not (found.joins and ids.seq):
            # The count fell back, or the venue mended the book in place (dossier 5.1): as sent.
            self._rebase(found)
        elif not found.joins and ids.u == route.update_id + 1 and self._continues(found):
            self._publish(found)
            self.drain()
        else:
            # A line that joins ahead of the others: they are still to bring what is between, a restart maybe.
            if not found.joins:
                self.held[ids.u] = found
            if self.offer is None or self.offer.ids.seq < ids.seq or self.offer.ids.u < ids.u:
                self.offer = found
            self._wait()
            self.expire(received_ns)

    def _continues(self, held: Held) -> bool:
        return not held.ids.seq or held.since <= self.seq <= held.ids.seq < self.horizon

    def _is_known(self, ids: Ids) -> bool:
        """Say whether the published book is as new as that."""
        if not ids.seq or ids.seq == self.seq:
            return ids.u <= self.route.update_id
        return ids.seq < self.seq

    def _begin_anew(self, found: Held) -> None:
        """Take what may be the first record of a topic that is not live, or of one that has no snapshots."""
        route, copy = self.route, found.copy
        if not copy.asked:
            # On its way before the unsubscription, or the refusal, took effect.
            self.feed.counters["held_back" if route.state == RESYNCING else "unexpected"] += 1
            return
        copy.joined = copy.arrived = True
        is_older = 0 < found.ids.seq < self.seq
        if is_older and route.state in (RESYNCING, STALE) and copy is not self.asking:
            copy.lane.second_copies += 1  # older than what strategies have: the line asked will do better
            return
        if not route.live:
            self.come_alive(found.received_ns)
        self._rebase(found)

    def _publish(self, held: Held) -> None:
        ids = held.ids
        self.route.update_id = ids.u
        self.seq = ids.seq or self.seq
        self.first_ns[ids.u % REMEMBERED] = held.received_ns
        if held.kind == SNAPSHOT:
            self.snapshot_payload = held.payload
        held.copy.deliver(held.kind, held.payload, held.received_ns)

    def _rebase(self, found: Held) -> None:
        """Publish a record that needs none before it, and what was held for after it."""
        self.horizon = NEVER
        self.seq = found.ids.seq
        self._publish(found)
        restarted = found.ids.u == 1
        old = [
            held.ids.u
            for held in self.held.values()
            if (self._is_known(held.ids) if held.ids.seq else restarted or held.ids.u <= found.ids.u)
        ]
        for update_id in old:
            del self.held[update_id]
        self.feed.counters["held_back"] += len(old)
        offer = self.offer
        if offer is not None and (self._is_known(offer.ids) if offer.ids.seq else offer.ids.u <= found.ids.u):
            self.offer = None
        self.drain()

    # Records that wait.

    def _hold(self, held: Held) -> None:
        there = self.held.get(held.ids.u)
        if there is not None and there.ids.seq >= held.ids.seq:
            held.copy.lane.second_copies += 1
            return
        self.held[held.ids.u] = held
        self._wait()
        if len(self.held) > HELD_LIMIT:
            self._give_up(held.received_ns)

    def _wait(self) -> None:
        self.waiting = True
        self.lines.pending.add(self)

    def drain(self) -> None:
        """Publish what was held for now."""
        route = self.route
        while route.live:
            offer = self.offer
            if offer is not None and self._is_known(offer.ids):
                self.offer = None
                if offer.joins and offer.ids.u == route.update_id:
                    self._compare_now(offer)
                continue
            held = self.held.get(route.update_id + 1)
            if held is None or not self._continues(held):
                break
            del self.held[held.ids.u]
            self._publish(held)
        self.waiting = bool(self.held) or self.offer is not None

    def may_come(self) -> bool:
        """Say whether a line is on its way to what is missing."""
        waiting = [*self.held.values(), self.offer] if self.offer is not None else list(self.held.values())
        first = min(waiting, key=lambda held: held.ids.seq or held.ids.u).ids
        return any(
            copy.carries and (copy.last.seq < first.seq if first.seq else copy.last.u < first.u) for copy in self.copies
        )

    def expire(self, now_ns: int) -> None:
        """Give up waiting where nothing can come, or nothing has come in time."""
        route = self.route
        if route.live:
            known = [held.ids.u for held in self.held.values() if self._is_known(held.ids)]
        else:
            self.offer = None
            known = []
            if route.state != STALE:
                known = [held.ids.u for held in self.held.values() if abs(now_ns - held.received_ns) > HOLD_NS]
                self.feed.counters["held_back"] += len(known)
        for update_id in known:
            del self.held[update_id]
        self.waiting = bool(self.held) or self.offer is not None
        if not self.waiting:
            self.lines.pending.discard(self)
        elif route.live or route.state == STALE:
            may_come = self.may_come()
            since_ns = min(held.received_ns for held in (*self.held.values(), self.offer) if held is not None)
            patience_ns = HOLD_NS if may_come else 0 if self.offer is not None else REORDER_NS
            if abs(now_ns - since_ns) >= patience_ns:
                self._give_up(now_ns)

    def _give_up(self, now_ns: int) -> None:
        """What is missing does not come: go on from a snapshot, the one at hand or a new one."""
        route, offer = self.route, self.offer
        last = route.stale_update_id if route.state == STALE else route.update_id
        if last < 0:
            # Too much for want of a snapshot that was asked for: what comes before it is of no use.
            self.feed.counters["held_back"] += len(self.held)
            self.held.clear()
        elif offer is not None:
            self.offer = None
            self.held.pop(offer.ids.u, None)
            self.feed.counters["gaps"] += 1
            reason = f"gap on every line: u {last} was followed by a snapshot with u {offer.ids.u}"
            hole = Hole(self.feed.known_ns(route), now_ns, max(offer.ids.u - last - 1, 0) or None)
            self.feed.remark(route, reason, now_ns, hole)
            self._rebase(offer)
        else:
            first = min(self.held.values(), key=lambda held: held.ids.seq or held.ids.u)
            if first.ids.u > last + 1:
                self.feed.counters["gaps"] += 1
                reason, lost = f"gap: u {last} was followed by u {first.ids.u}", first.ids.u - last - 1
            else:
                reason, lost = f"restarted: u {first.ids.u} of another count came after u {last}", None
            self._resync(first.copy, reason, lost, now_ns)

    def _resync(self, copy: BookCopy, reason: str, lost: int | None, now_ns: int) -> None:
        """Ask for a new snapshot on the line that is ahead."""
        self.asking, self.tried = copy, None
        hole = Hole(self.feed.known_ns(self.route), lost=lost)
        self.feed.resync(self.route, reason, now_ns, copy.lane.clock_s(), hole)

    # Do the lines carry the same book?

    def _published(self, now_ns: int) -> bytes | None:
        """Return the published book as a snapshot message."""
        try:
            return self.route.compose()
        except ValueError as error:
            self.feed.unfoldable(self.route, error, now_ns, self.copies[0].lane.clock_s())
            return None

    def _compare_now(self, offer: Held) -> None:
        """The published book has come to where another line began."""
        reference = self._published(offer.received_ns)
        if reference is not None:
            self._conclude(offer.copy, offer.payload, offer.received_ns, lambda: compare(offer.payload, reference))

    def _compare_later(self, copy: BookCopy, ids: Ids, payload: bytes, now_ns: int) -> None:
        """A line joins behind the published book: it is compared when it has come to where that is now."""
        reference = self._published(now_ns)
        if reference is not None:
            goal = self.route.update_id

            def begin() -> Outcome | None:
                copy.trial = Trial(self.route.topic, ids.u, payload, goal, reference)
                return copy.trial.outcome()

            self._conclude(copy, payload, now_ns, begin)

    def _conclude(self, copy: BookCopy, payload: bytes, now_ns: int, outcome_of: Callable[[], Outcome | None]) -> None:
        """Draw the consequence of a comparison; ``payload`` is what was folded for it."""
        try:
            outcome = outcome_of()
        except ValueError as error:
            copy.lane.strange("unparsed", f"{self.route.topic}: {error}", payload)
            outcome = Outcome.NONE
        if outcome is None:
            return
        copy.trial = None
        self.feed.counters[outcome.value] += 1
        if outcome is Outcome.DIFFERENT:
            reason = f"line {copy.lane.line} has another book at u {self.route.update_id}"
            self.feed.malformed.append((f"{self.route.topic}: {reason}", payload))
            self.lines.stand_by(self, copy, reason, now_ns)
