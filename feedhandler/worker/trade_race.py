"""The race of a symbol's trades over several lines: each trade once, by its id. Pure.

Trades carry no count, so a line that joins may be ahead of the one that is published: its trades wait until one of them
turns up on both. From there on it continues what was published, and nothing is missing between.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from feedhandler.image import only_rows
from feedhandler.wire import UPDATE
from feedhandler.worker.paired import Frame, PairedLane
from feedhandler.worker.race import HELD_LIMIT, HOLD_NS, Copy, Race
from feedhandler.worker.route import Hole, Route

if TYPE_CHECKING:
    from feedhandler.worker.lines import Lines

RECENT_IDS: Final = 10_000
"""At least so many ids are remembered, and at most twice as many …"""
RECENT_S: Final = 60.0
"""… but none for longer than twice this: a line so late was given up as mute long before."""


class Held(NamedTuple):
    """A message that waits."""

    ids: list[str]
    payload: bytes
    received_ns: int


class TradeCopy(Copy):
    """What one line knows of a symbol's trades."""

    __slots__ = ("held", "in_step")

    race: "TradeRace"

    def __init__(self, lane: PairedLane, race: "TradeRace") -> None:
        super().__init__(lane, race)
        self.held: list[Held] = []
        """Messages of a line that may be ahead."""
        self.in_step = False
        """Its trades continue those published, or are those published."""

    def forget(self) -> None:
        """Its subscription is gone, and what it knew by it."""
        super().forget()
        self.race.feed.counters["held_back"] += len(self.held)
        self.held = []
        self.in_step = False

    def take(self, frame: Frame, payload: bytes, received_ns: int) -> None:
        """Publish the trades that are new."""
        self.records += 1
        rows = frame.data
        try:
            # Most messages have one trade, and a comprehension is a call.
            ids = [rows[0].i] if len(rows) == 1 else [row.i for row in rows]  # type: ignore[index, union-attr, arg-type]  # an object has none: see below
        except (AttributeError, TypeError):
            ids = [""]
        if not ids or "" in ids:
            self.lane.strange("unparsed", "trades without ids", payload)
            ids = [payload.decode(errors="replace")]  # known by its whole text
        if self.in_step and self.route.live:
            self.race.publish_new(self, ids, payload, received_ns)
        else:
            self.race.join(self, ids, payload, received_ns)


class TradeRace(Race):
    """What the copies of a symbol's trades share."""

    __slots__ = ("_first", "_joining", "_last", "_older", "_recent", "_turned_s")

    copies: tuple[TradeCopy, ...]

    def __init__(self, lines: "Lines", route: Route) -> None:
        super().__init__(lines, route)
        self._recent: dict[str, int] = {}
        """Ids published, and when they came."""
        self._older: dict[str, int] = {}
        self._turned_s = 0.0
        self._first = b""
        """The first message since the stream began, or went on after a hole: what was before it is lost."""
        self._last = b""
        """The last message published."""
        self._joining = False
        """Some line's messages wait."""
        self.copies = tuple(TradeCopy(lane, self) for lane in lines.lanes)

    # Records.

    def publish_new(self, copy: TradeCopy, ids: list[str], payload: bytes, received_ns: int) -> None:
        """Publish the trades of a message that were not published before."""
        recent = self._recent
        first = ids[0]
        if len(ids) == 1:
            unseen = ids if first not in recent and first not in self._older else []
        else:
            unseen = [trade_id for trade_id in ids if trade_id not in recent and trade_id not in self._older]
        if not unseen:
            lane = copy.lane
            lane.second_copies += 1
            if first_ns := recent.get(first):
                lane.lagged(received_ns - first_ns)
            return
        if len(unseen) == len(ids):
            copy.deliver(UPDATE, payload, received_ns)
        else:
            self.feed.counters["rebuilt"] += 1
            new = set(unseen)
            rows = [place for place, trade_id in enumerate(ids) if trade_id in new]
            copy.deliver(UPDATE, only_rows(payload, rows), received_ns, composed=True)
        for trade_id in unseen:
            recent[trade_id] = received_ns
        if len(recent) >= RECENT_IDS:
            self._turn_over()
        self._last = payload
        if not self._first:
            self._first = payload
        if self._joining:
            self._look_for_joints()

    def judge(self, now_ns: int, now_s: float) -> None:
        """Forget old ids, too: of hundreds of quiet symbols they would fill the memory."""
        if now_s - self._turned_s >= RECENT_S:
            self._turned_s = now_s
            self._turn_over()
        super().judge(now_ns, now_s)

    def _turn_over(self) -> None:
        self._recent, self._older = {}, self._recent

    def remembers(self, trade_id: str) -> bool:
        """Say whether a trade was published, as far as that is known."""
        return trade_id in self._recent or trade_id in self._older

    def _seen(self, ids: list[str]) -> bool:
        return any(map(self.remembers, ids))

    def join(self, copy: TradeCopy, ids: list[str], payload: bytes, received_ns: int) -> None:
        """Take a message of a line that is not in step, or of a topic that is not live."""
        if not copy.asked:
            # On its way before the unsubscription, or the refusal, took effect.
            self.feed.counters["unexpected"] += 1
            return
        copy.arrived = True
        if not self.carried:
            self._first = b""
        if self._is_early(payload):
            # From before the stream began: published then, or within a hole that was told.
            self.feed.counters["held_back"] += 1
        elif copy.joined or not self.carried or self._seen(ids):
            copy.held.append(Held(ids, payload, received_ns))
            self._release(copy, received_ns)
        else:
            self._hold(copy, Held(ids, payload, received_ns))

    @property
    def _begins_ms(self) -> int:
        """The venue's time before which nothing is told any more."""
        times_ms = _times_ms(self._first)[:1] if self._first else _times_ms(self._last)[-1:]
        return times_ms[0] if times_ms else 0

    def _is_early(self, payload: bytes) -> bool:
        times_ms = _times_ms(payload)
        return bool(times_ms) and times_ms[-1] < self._begins_ms

    # Lines that join.

    def _hold(self, copy: TradeCopy, held: Held) -> None:
        copy.held.append(held)
        self._joining = True
        self.lines.pending.add(self)
        if len(copy.held) > HELD_LIMIT:
            self._go_on_without_proof(copy)

    def _look_for_joints(self) -> None:
        for copy in self.copies:
            if any(self._seen(held.ids) for held in copy.held):
                self._release(copy, copy.held[-1].received_ns)
        self._joining = any(copy.held for copy in self.copies)

    def _release(self, copy: TradeCopy, now_ns: int) -> None:
        """Publish what a line's messages have that is new, in their order; it has joined."""
        held, copy.held = copy.held, []
        copy.joined = copy.in_step = True
        if not self.route.live:
            self.come_alive(now_ns)
        for ids, payload, received_ns in held:
            # Trades from before the stream began, within a hole that was told, are as good as published.
            times_ms, begins_ms = _times_ms(payload), self._begins_ms
            early = [one for one, time_ms in zip(ids, times_ms, strict=False) if time_ms < begins_ms]
            self._recent.update((one, 0) for one in early if not self._seen([one]))
            self.publish_new(copy, ids, payload, received_ns)

    def _go_on_without_proof(self, copy: TradeCopy) -> None:
        """A line's trades turn up on no other in time."""
        since_ns, now_ns = copy.held[0].received_ns, copy.held[-1].received_ns
        if copy.acknowledged_ns and since_ns - copy.acknowledged_ns > HOLD_NS:
            self._release(copy, now_ns)  # it had been subscribed long before: it is the others that are late
        else:
            self._go_on_alone(copy, Hole(min(self.feed.known_ns(self.route), since_ns), since_ns), now_ns)

    def _go_on_alone(self, copy: TradeCopy, hole: Hole, now_ns: int) -> None:
        """Publish a line's trades from here on, and say that some may be missing before them."""
        self.feed.counters["unproven"] += 1
        for other in self.copies:
            # Should another line still bring what is missing: it comes too late to be told in order.
            other.joined = other is copy
            other.in_step = False
        self._first = b""
        held, copy.held = copy.held, []
        if not self.route.live:
            self.come_alive(now_ns)
        reason = f"trades may be missing: line {copy.lane.line} goes on alone"
        self.feed.remark(self.route, reason, now_ns, hole)
        for ids, payload, received_ns in held:
            publish = self.publish_new if copy.in_step else self.join
            publish(copy, ids, payload, received_ns)

    def acknowledged(self, copy: Copy, now_ns: int) -> None:
        """A line has subscribed. It has joined if no other has."""
        carried = self.carried
        if not carried:
            self._first = b""
        super().acknowledged(copy, now_ns)
        copy.joined = not carried

    def replace(self, lost: Copy, now_ns: int) -> bool:
        """Go on with a line that has subscribed and was not yet in step."""
        copy = next((copy for copy in self.copies if copy.lane.up and (copy.acknowledged_ns or copy.held)), None)
        if copy is None or not self.route.live:
            return False
        since_ns = copy.acknowledged_ns or copy.held[0].received_ns
        last_ns = lost.lane.last_ns
        if copy.acknowledged_ns and last_ns - since_ns > HOLD_NS:
            # Both were subscribed for a time: whatever came in it came on both, or on this one alone.
            copy.joined = True
            self._release(copy, now_ns)
        else:
            # How late each of them is nobody knows.
            self._go_on_alone(copy, Hole(min(since_ns, last_ns), max(since_ns, last_ns)), now_ns)
        return True

    def expire(self, now_ns: int) -> None:
        """Go on with a line that nothing proves to be in step."""
        for copy in self.copies:
            if copy.held and abs(now_ns - copy.held[0].received_ns) > HOLD_NS:
                self._go_on_without_proof(copy)
        if not any(copy.held for copy in self.copies):
            self._joining = False
            self.lines.pending.discard(self)


class _Time(msgspec.Struct, gc=False):
    T: int


class _Times(msgspec.Struct, gc=False):
    data: list[_Time]


_decode_times: Final = msgspec.json.Decoder(_Times).decode


def _times_ms(payload: bytes) -> list[int]:
    """Return the match times of a message's trades; empty where one has none."""
    try:
        return [row.T for row in _decode_times(payload).data]
    except ValueError:
        return []
