"""The race of a symbol's trades over several lines: each trade once, by its id. Pure.

Trades carry no count, so a line that joins may be ahead of the one that is published: its trades wait until one of them
turns up on both. From there on it continues what was published, and nothing is missing between.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from feedhandler.wire import DOWN, RESYNCING, STALE, UPDATE
from feedhandler.worker.race import HELD_LIMIT, HOLD_NS, Copy, Frame, PairedLane, Race
from feedhandler.worker.route import Hole, Route

if TYPE_CHECKING:
    from feedhandler.worker.lines import Lines

RECENT_IDS: Final = 10_000
"""At least so many ids are remembered, and at most twice as many."""


class Held(NamedTuple):
    """A message that waits."""

    ids: list[str]
    payload: bytes
    received_ns: int


class TradeCopy(Copy):
    """What one line knows of a symbol's trades. It has joined when its trades continue those published."""

    __slots__ = ("held",)

    race: "TradeRace"

    def __init__(self, lane: PairedLane, race: "TradeRace") -> None:
        super().__init__(lane, race)
        self.held: list[Held] = []
        """Messages of a line that may be ahead."""

    def forget(self) -> None:
        """Its subscription is gone, and what it knew by it."""
        super().forget()
        self.race.feed.counters["held_back"] += len(self.held)
        self.held = []

    def take(self, frame: Frame, payload: bytes, received_ns: int) -> None:
        """Publish the trades that are new."""
        self.records += 1
        try:
            ids = [item.i for item in frame.data]  # type: ignore[union-attr]  # an object has none: see below
        except (AttributeError, TypeError):
            ids = [""]
        if not ids or "" in ids:
            self.lane.strange("unparsed", "trades without ids", payload)
            ids = [payload.decode(errors="replace")]  # known by its whole text
        if self.joined and self.route.live:
            self.race.publish_new(self, ids, payload, received_ns)
        else:
            self.race.join(self, ids, payload, received_ns)


class TradeRace(Race):
    """What the copies of a symbol's trades share."""

    __slots__ = ("_first", "_joining", "_older", "_recent")

    copies: tuple[TradeCopy, ...]

    def __init__(self, lines: "Lines", route: Route) -> None:
        super().__init__(lines, route)
        self._recent: dict[str, int] = {}
        """Ids published, and when they came."""
        self._older: dict[str, int] = {}
        self._first = b""
        """The first message since the stream began, or went on after a hole: what was before it is lost."""
        self._joining = False
        """Some line's messages wait."""
        self.copies = tuple(TradeCopy(lane, self) for lane in lines.lanes)

    # Records.

    def publish_new(self, copy: TradeCopy, ids: list[str], payload: bytes, received_ns: int) -> None:
        """Publish the trades of a message that were not published before."""
        recent, older = self._recent, self._older
        unseen = [trade_id for trade_id in ids if trade_id not in recent and trade_id not in older]
        if len(unseen) == len(ids):
            copy.deliver(UPDATE, payload, received_ns)
        elif unseen:
            self.feed.counters["rebuilt"] += 1
            copy.deliver_composed(UPDATE, _only(payload, ids, set(unseen)), received_ns)
        else:
            copy.lane.second_copies += 1
            first_ns = recent.get(ids[0])
            if first_ns:
                copy.lane.lagged(received_ns - first_ns)
            return
        for trade_id in unseen:
            recent[trade_id] = received_ns
        if len(recent) >= RECENT_IDS:
            self._recent, self._older = {}, recent
        if not self._first:
            self._first = payload
        if self._joining:
            self._look_for_joints()

    def _seen(self, ids: list[str]) -> bool:
        return any(trade_id in self._recent or trade_id in self._older for trade_id in ids)

    def join(self, copy: TradeCopy, ids: list[str], payload: bytes, received_ns: int) -> None:
        """Take a message of a line that has not joined, or of a topic that is not live."""
        route = self.route
        if not copy.asked:
            # On its way before the unsubscription, or the refusal, took effect.
            self.feed.counters["unexpected"] += 1
            return
        copy.arrived = True
        if route.live or (route.state == STALE and self.carried and not copy.joined):
            if self.carried and not self._seen(ids):
                self._hold(copy, Held(ids, payload, received_ns))
                return
            # One of its trades was published: it is in step. Or there is no other line any more.
            copy.held.append(Held(ids, payload, received_ns))
            self._release(copy, received_ns)
        else:
            self.come_alive(received_ns)
            copy.joined = True
            self.publish_new(copy, ids, payload, received_ns)

    def come_alive(self, now_ns: int) -> None:
        """Bring the topic to ``live``."""
        if self.route.state in (DOWN, RESYNCING) or not self.carried:
            self._first = b""
        super().come_alive(now_ns)

    # Lines that join.

    def _hold(self, copy: TradeCopy, held: Held) -> None:
        if self._first and _time_ms(held.payload, -1) < _time_ms(self._first, 0):
            # From before the stream began: within a hole that was told.
            self.feed.counters["held_back"] += 1
            return
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
        copy.joined = True
        if not self.route.live:
            self.come_alive(now_ns)
        for ids, payload, received_ns in held:
            if self._first and _time_ms(payload, 0) < (first_ms := _time_ms(self._first, 0)):
                # From before the stream began: within a hole that was told.
                early = [one for one, time_ms in zip(ids, _times_ms(payload), strict=False) if time_ms < first_ms]
                self._recent.update(dict.fromkeys((one for one in early if not self._seen([one])), 0))
            self.publish_new(copy, ids, payload, received_ns)

    def _go_on_without_proof(self, copy: TradeCopy) -> None:
        """A line's trades turn up on no other in time."""
        since_ns = copy.held[0].received_ns
        self._go_on_alone(
            copy, Hole(min(self.feed.known_ns(self.route), since_ns), since_ns), copy.held[-1].received_ns
        )

    def _go_on_alone(self, copy: TradeCopy, hole: Hole, now_ns: int) -> None:
        """Publish a line's trades from here on, and say that some may be missing before them."""
        self.feed.counters["unproven"] += 1
        for other in self.copies:
            # Should another line still bring what is missing: it comes too late to be told in order.
            other.joined = other is copy
        self._first = copy.held[0].payload if copy.held else b""
        if not self.route.live:
            self.come_alive(now_ns)
        reason = f"trades may be missing: line {copy.lane.line} goes on alone"
        self.feed.remark(self.route, reason, now_ns, hole)
        self._release(copy, now_ns)

    def acknowledged(self, copy: Copy, now_ns: int) -> None:
        """A line has subscribed. It has joined if no other has."""
        carried = self.carried
        super().acknowledged(copy, now_ns)
        copy.joined = not carried

    def replace(self, lost: Copy, now_ns: int) -> bool:
        """Go on with a line that has subscribed and was not yet in step."""
        copy = next((copy for copy in self.copies if copy.lane.up and (copy.acknowledged_ns or copy.held)), None)
        if copy is None or not self.route.live:
            return False
        # Both lines were subscribed for a time, or none was; how late each of them is nobody knows.
        since_ns = copy.acknowledged_ns or copy.held[0].received_ns
        last_ns = lost.lane.last_ns
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
    T: int = 0


class _Times(msgspec.Struct, gc=False):
    data: list[_Time]


_decode_times: Final = msgspec.json.Decoder(_Times).decode


def _times_ms(payload: bytes) -> list[int]:
    """Return the match times of a message's trades; empty where it has none."""
    try:
        return [row.T for row in _decode_times(payload).data]
    except ValueError:
        return []


def _time_ms(payload: bytes, index: int) -> int:
    times_ms = _times_ms(payload)
    return times_ms[index] if times_ms else 0


_decode_message: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_rows: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _only(payload: bytes, ids: list[str], wanted: set[str]) -> bytes:
    """Return a message with those of its trades that are wanted, everything else as it was."""
    message = _decode_message(payload)
    rows = zip(ids, _decode_rows(message["data"]), strict=True)
    message["data"] = msgspec.Raw(msgspec.json.encode([row for trade_id, row in rows if trade_id in wanted]))
    return msgspec.json.encode(message)
