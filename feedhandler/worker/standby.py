"""One line carries a topic, another one stands by: for what has no count and no ids. Pure.

The owner's records are published as they come. The other lines keep their last records, and the state that these make;
when the owner is lost, or falls silent alone, another line goes on: with the very next record where its records and the
published ones are seen to be the same, else with a snapshot composed from its state, or, for events, by saying from when
to when some may be missing.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from feedhandler.bybit.products import Nature
from feedhandler.image import Image, new_image
from feedhandler.wire import DELTA, LIVE, RESYNCING, SNAPSHOT, STALE
from feedhandler.worker.paired import Frame, Ids, PairedLane
from feedhandler.worker.race import DEAD_QUIET_RECORDS, DEAD_S, HOLD_NS, Copy, Race
from feedhandler.worker.route import JOURNAL_LIMIT, UNBASED, Hole, Route

if TYPE_CHECKING:
    from feedhandler.worker.lines import Lines

RECENT_RECORDS: Final = JOURNAL_LIMIT
"""At least so many records are kept of a line that stands by, and at most twice as many."""
RECENT_EVENTS: Final = 500
"""The same for events, which nothing replaces: enough for the time until an owner's silence is noticed."""
BEHIND_NS: Final = 10_000_000_000
"""How long a line that goes on may take to come to where the former one was. What it brings until then is old."""


class StandbyCopy(Copy):
    """What one line knows of a topic. It has joined when its records make the topic's state, or need none."""

    __slots__ = ("image", "recent", "update_id")

    race: "Standby"

    def __init__(self, lane: PairedLane, race: "Standby") -> None:
        super().__init__(lane, race)
        self.recent: list[bytes] = []
        """Its last records, oldest first."""
        self.image: Image | None = None
        """What the records before those make."""
        self.update_id = UNBASED

    def follow(self, old: Copy) -> None:
        """Take over from another kind of copy."""
        self.asked, self.arrived, self.refused = old.asked, old.arrived, old.refused
        self.records, self.acknowledged_ns = old.records, old.acknowledged_ns

    def forget(self) -> None:
        """Its subscription is gone, and what it knew by it."""
        super().forget()
        self.recent, self.image, self.update_id = [], None, UNBASED

    def take(self, frame: Frame, payload: bytes, received_ns: int) -> None:
        """Publish a record of the line that owns the topic; keep it where the line stands by."""
        self.records += 1
        race = self.race
        route = self.route
        kind = DELTA if frame.type == "delta" else route.kind
        if race.merges and kind != DELTA and frame.type != "snapshot":
            self.untyped(frame.type, payload)
            if self.joined:
                race.broken(self, f"a message of the type {frame.type!r} came", received_ns)
            return
        if not self.joined or not route.live or race.chained:
            race.odd(self, kind, frame, payload, received_ns)
        elif race.owner is not self:
            self.absorb(kind, payload)
        elif race.behind:
            race.odd(self, kind, frame, payload, received_ns)
        else:
            race.last = payload
            race.last_ns = received_ns
            self.deliver(kind, payload, received_ns)

    def absorb(self, kind: int, payload: bytes) -> None:
        """Keep a record."""
        if kind == SNAPSHOT and self.race.merges:
            self.recent, self.image = [], None
        self.recent.append(payload)
        enough = self.race.enough
        if len(self.recent) > 2 * enough:
            older, self.recent = self.recent[:enough], self.recent[enough:]
            if self.race.merges:
                self._fold(older)

    def _fold(self, payloads: list[bytes]) -> None:
        if self.image is None:
            self.image = new_image(self.route.topic)
        try:
            for payload in payloads:
                self.image.fold(payload)
        except ValueError as error:
            self.lane.strange("unparsed", f"{self.route.topic}: {error}", payload)
            self.forget_state()

    def compose(self) -> bytes:
        """Return the state that its records make, as a snapshot message; raise `ValueError` where they make none."""
        image = self.image or new_image(self.route.topic)
        for payload in self.recent:
            image.fold(payload)
        return image.compose()

    def forget_state(self) -> None:
        """Its records make no state: it stands by no more until it has a new snapshot."""
        self.recent, self.image, self.update_id = [], None, UNBASED
        self.joined = False
        self.due_s = self.lane.clock_s()


class Standby(Race):
    """What the copies of such a topic share."""

    __slots__ = ("_behind_ns", "_told", "behind", "chained", "enough", "last", "last_ns", "merges", "owner")

    copies: tuple[StandbyCopy, ...]

    def __init__(self, lines: "Lines", route: Route, reason: str = "") -> None:
        super().__init__(lines, route)
        self.reason = reason
        self.merges = route.nature in (Nature.BOOK, Nature.MERGED)
        """Deltas need the snapshot before them."""
        self.chained = route.nature is Nature.BOOK
        """A book whose lines were seen to differ."""
        self.enough = RECENT_EVENTS if route.nature is Nature.EVENT else RECENT_RECORDS
        self.owner: StandbyCopy | None = None
        """Whose records are published."""
        self.behind = False
        """The owner, new, has not come to where the former one was."""
        self._behind_ns = 0
        self._told = False
        """That records may be missing before what comes now, or there is nothing to tell."""
        self.last = b""
        """The last record published, as the venue sent it."""
        self.last_ns = 0
        self.copies = tuple(StandbyCopy(lane, self) for lane in lines.lanes)

    # Records.

    def odd(self, copy: StandbyCopy, kind: int, frame: Frame, payload: bytes, received_ns: int) -> None:
        """Take a record that is not simply the owner's next."""
        route = self.route
        if not copy.asked:
            # On its way before the unsubscription, or the refusal, took effect.
            self.feed.counters["held_back" if route.state == RESYNCING else "unexpected"] += 1
            return
        if self.chained and not self._in_chain(copy, kind, frame, payload, received_ns):
            return
        lives = route.live or route.state == STALE
        needs_more = kind == DELTA and self.merges
        if needs_more and not (copy.joined and (lives or self.owner is not copy)):
            self.feed.counters["held_back"] += 1  # nothing to merge it into
            return
        if not copy.arrived:
            copy.lane.came(route.topic, received_ns)
        copy.joined = copy.arrived = True
        if self.owner is None or not (lives or needs_more):
            self._own(copy)
        if self.owner is not copy:
            copy.absorb(kind, payload)
            if route.state == STALE:
                self.switch(copy, received_ns)  # the owner is silent, and this line speaks
            return
        if not route.live and not self.behind:
            self.come_alive(received_ns)
        if self.behind:
            copy.absorb(kind, payload)
            self._take_over(copy, received_ns)
        else:
            self._publish(copy, kind, payload, received_ns)

    def come_alive(self, now_ns: int) -> None:
        """Bring the topic to ``live``."""
        if self.route.state != STALE and self.route.nature is Nature.EVENT and self.last:
            # The line may be later than the one before the outage was: its first events may be old ones.
            self.behind, self._behind_ns, self._told = True, now_ns, True
        super().come_alive(now_ns)

    def _in_chain(self, copy: StandbyCopy, kind: int, frame: Frame, payload: bytes, received_ns: int) -> bool:
        """Say whether a record of a book continues its line's; a gap on one line is mended on that line."""
        if type(frame.data) is not Ids:
            copy.lane.strange("unparsed", "a book without update ids", payload)
            return False
        update_id, last = frame.data.u, copy.update_id
        if kind != DELTA or update_id == last + 1:
            copy.update_id = update_id
            return True
        if last < 0:
            self.feed.counters["held_back"] += 1
        elif update_id <= last and not (update_id == 1 and last > 1):
            self.feed.counters["duplicates"] += 1
        else:
            self.feed.counters["gaps"] += 1
            self.broken(copy, f"gap: u {last} was followed by u {update_id}", received_ns)
        return False

    def broken(self, copy: StandbyCopy, reason: str, now_ns: int) -> None:
        """A line's records make no state any more."""
        copy.forget_state()
        if self.owner is not copy:
            return
        other = self._other(copy)
        if other is not None:
            self.switch(other, now_ns)
        else:
            copy.due_s = None
            self.owner, self.behind = None, False
            self.asking, self.tried = copy, None
            hole = Hole(self.feed.known_ns(self.route))
            self.feed.resync(self.route, reason, now_ns, copy.lane.clock_s(), hole)

    def _publish(self, copy: StandbyCopy, kind: int, payload: bytes, received_ns: int) -> None:
        self.last, self.last_ns = payload, received_ns
        copy.deliver(kind, payload, received_ns)

    # Who owns the topic.

    def _own(self, copy: StandbyCopy) -> None:
        former, self.owner = self.owner, copy
        if former is not None and former is not copy and former.joined and self.merges:
            former.forget_state()  # an owner keeps no state: its records made the published one
        if self.route.state not in (LIVE, STALE):
            copy.recent, copy.image = [], None

    def _other(self, copy: Copy) -> StandbyCopy | None:
        return next((other for other in self.copies if other is not copy and other.carries), None)

    def switch(self, copy: StandbyCopy, now_ns: int) -> None:
        """Have another line go on."""
        self.feed.counters["switches"] += 1
        lost = self.owner
        self._own(copy)
        self.behind, self._behind_ns = False, now_ns
        self._told = lost is not None and self._nothing_between(copy, lost)
        self._take_over(copy, now_ns)

    def _take_over(self, copy: StandbyCopy, now_ns: int) -> None:
        """Publish what a line has had since the last record published, or, where that is not seen, its state."""
        missed = self._since_last(copy)
        is_event = self.route.nature is Nature.EVENT
        if missed is None and not self.merges:
            last_ms, last = _head(self.last).ts, _state(self.last)
            newer = [payload for payload in copy.recent if _head(payload).ts > last_ms and _state(payload) != last]
            is_behind = bool(self.last) and (
                is_event or (bool(copy.recent) and not self._is_level(copy, last_ms, last))
            )
            if not newer and self._waits(now_ns, is_behind=is_behind):
                return  # what it has is old
            if is_event:
                self._tell_hole(copy, now_ns)
            missed = newer
        elif missed is None and self._waits(
            now_ns, is_behind=bool(copy.recent) and _head(copy.recent[-1]).ts < _head(self.last).ts
        ):
            return
        self.behind = self._told = False
        if not self.route.live:
            self.come_alive(now_ns)
        if missed is None:
            self._publish_state(copy, now_ns)
        else:
            copy.recent, copy.image = [], None
            for payload in missed:
                self._publish(copy, DELTA if _head(payload).type == "delta" else self.route.kind, payload, now_ns)

    @staticmethod
    def _is_level(copy: StandbyCopy, last_ms: int, last: object) -> bool:
        """Say whether a line's newest record says what the last one published says: a level 1 sent again, for one."""
        return _head(copy.recent[-1]).ts >= last_ms and _state(copy.recent[-1]) == last

    def _tell_hole(self, copy: StandbyCopy, now_ns: int) -> None:
        """Say that events may be missing before what this line brings, unless that is said or cannot be."""
        if not self._told:
            reason = f"records may be missing: line {copy.lane.line} goes on"
            self.feed.remark(self.route, reason, now_ns, Hole(min(self.feed.known_ns(self.route), now_ns), now_ns))
        self._told = True

    def expire(self, now_ns: int) -> None:
        """Tell of a hole in time, also where no event comes."""
        waits = self.behind and not self._told and self.owner is not None
        if waits and self.owner is not None and abs(now_ns - self._behind_ns) > HOLD_NS:
            self._tell_hole(self.owner, now_ns)
        elif not waits:
            self.lines.pending.discard(self)

    def _waits(self, now_ns: int, *, is_behind: bool) -> bool:
        """Say whether the owner is to come first to where the former one was."""
        self.behind = is_behind and abs(now_ns - self._behind_ns) < BEHIND_NS
        if self.behind and self.route.nature is Nature.EVENT:
            self.lines.pending.add(self)
        return self.behind

    def _since_last(self, copy: StandbyCopy) -> list[bytes] | None:
        """Return a line's records since the last one published; None where it does not have that one."""
        recent = copy.recent
        for index in range(len(recent) - 1, -1, -1):
            if recent[index] == self.last:
                return recent[index + 1 :]
        return None

    def _nothing_between(self, copy: StandbyCopy, lost: StandbyCopy) -> bool:
        """Say whether both lines were subscribed for a time, and this one since after the last record."""
        since_ns = copy.acknowledged_ns
        return (
            since_ns > 0
            and lost.lane.last_ns - since_ns > HOLD_NS
            and (not self.last or since_ns - self.last_ns > HOLD_NS)
        )

    def _publish_state(self, copy: StandbyCopy, now_ns: int) -> None:
        try:
            state = copy.compose()
            published = self.route.compose()
        except ValueError as error:
            self.broken(copy, f"records make no image: {error}", now_ns)
            return
        update_id = copy.update_id
        copy.recent, copy.image = [], None
        if published is None or _state(published) != _state(state):
            copy.deliver(SNAPSHOT, state, now_ns, composed=True)
        copy.update_id = update_id

    def left(self, copy: Copy, now_ns: int) -> None:
        """A line carries the topic no more: if it owned it, another one goes on."""
        if self.owner is not copy:
            return
        other = self._other(copy)
        if other is not None:
            self.switch(other, now_ns)
        else:
            self.owner, self.behind = None, False

    def acknowledged(self, copy: Copy, now_ns: int) -> None:
        """A line has subscribed: it stands by from here, where no state is needed."""
        super().acknowledged(copy, now_ns)
        if not self.merges and self.route.state == LIVE:
            copy.joined = True
            self.owner = self.owner or next(other for other in self.copies if other is copy)

    def silent(self, copy: Copy, missed: int, silent_s: float, now_ns: int, now_s: float) -> None:
        """An owner that brings nothing while another line does owns nothing any more."""
        if copy is self.owner and missed >= DEAD_QUIET_RECORDS and silent_s >= DEAD_S:
            other = self._other(copy)
            if other is not None:
                self.lines.news.append(
                    f"{self.route.topic} is silent on line {copy.lane.line}: line {other.lane.line} goes on"
                )
                copy.due_s = now_s
                self.switch(other, now_ns)
        super().silent(copy, missed, silent_s, now_ns, now_s)


class _Head(msgspec.Struct, gc=False):
    type: str = ""
    ts: int = 0


class _Data(msgspec.Struct):
    data: object = None


_decode_head: Final = msgspec.json.Decoder(_Head).decode
_decode_data: Final = msgspec.json.Decoder(_Data).decode


def _head(payload: bytes) -> _Head:
    """Return type and time of a message; empty where it has none."""
    try:
        return _decode_head(payload)
    except ValueError:
        return _Head()


def _state(payload: bytes) -> object:
    """Return what a message says, whenever it says it; None where it says nothing."""
    try:
        return _decode_data(payload).data
    except ValueError:
        return None
