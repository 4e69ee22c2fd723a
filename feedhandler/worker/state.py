"""Every topic of a worker: which there are, the state of each, and what is said of it. Pure.

Nothing here runs for each message: `feed` takes those, and calls when a topic comes alive, a chain breaks, a connection
opens or closes. Time is looked at in ticks: what is silent, what is to be asked for again, which book is wrong.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from feedhandler import wire
from feedhandler.bybit import topics
from feedhandler.bybit.products import Nature
from feedhandler.wire import ENDED, LIVE, REJECTED, RESYNCING, SNAPSHOT, STALE, SUBSCRIBING
from feedhandler.worker.route import (
    NO_SNAPSHOT_CAP_S,
    RESYNC_BACKOFF_CAP_S,
    RESYNC_BACKOFF_S,
    RESYNC_CALM_S,
    Hole,
    Retained,
    Route,
)

if TYPE_CHECKING:
    from feedhandler.worker.feed import Lane

CLOCK_SET_NS: Final = 500_000_000
"""The Unix clock was set when it goes off the loop's by more than this; less is drift, or a long round of the loop."""
INSPECTION_ROUNDS: Final = 20
"""Calls of `Feed.inspect` until every book has been looked into: 1 s at the ticks of a worker."""
FIRST_QUIET_STATUS_NS: Final = 1_000_000_000
"""A subject quiet this long repeats its status for the first time."""
REPEATS_A_TICK: Final = 250
"""At most so many quiet subjects repeat their status at once, for data wait meanwhile; the others do at the next tick."""

Publish = Callable[[bytes, int, int, bytes], None]
"""head, sequence, received_ns, payload."""


def _wait() -> None:
    """Let the next tick do it."""


class Feed:
    """All topics of a worker."""

    def __init__(
        self,
        *,
        worker: str,
        endpoint: str,
        product: str,
        network: str,
        simulated: bool,
        quiet_status_s: float,
        publish: Publish,
        retain: int = 0,
    ) -> None:
        """``retain``: how many of its last records an event topic keeps for newcomers."""
        self.worker = worker
        self.endpoint = endpoint
        self.product = product
        self.network = network
        self.flags = wire.SIMULATED if simulated else 0
        self.routes: dict[str, Route] = {}
        self.lanes: list[Lane] = []
        self.counters: Counter[str] = Counter()
        """What happens rarely, by the words of `wire.Heartbeat`."""
        self.changes: list[tuple[str, str, str]] = []
        """Topic, state and reason of each change since the last look: for the log and the supervisor."""
        self.malformed: list[tuple[str, bytes]] = []
        """Why, and the raw bytes, of frames that broke the venue's contract, since the last look."""
        self.publish = publish
        self.urge: Callable[[], None] = _wait
        """Told when a topic is to be asked for again at once: the next tick may be 50 ms away."""
        self._retain = retain
        self._quiet_status_ns = int(quiet_status_s * 1e9)
        self.has_rhythm = product != "private"
        """An account may be silent for days: silence there says nothing, and a connection is judged by its pongs."""
        self._ticked_ns = 0
        """When `tick` was last called."""
        self._ahead_ns: int | None = None
        """How far the Unix clock is ahead of the loop's."""
        self._released = 0
        """Records of topics no longer carried."""
        self._uninspected: list[Route] = []
        """Books not looked into yet, and in how many calls they shall be."""
        self._rounds = 0
        self._filters: list[bytes] | None = None
        self._by_prefix: list[Route] = []

    # Topics come and go.

    def carry(
        self, lane: "Lane", names: Iterable[str], epoch: int, now_ns: int, blind_from_ns: int | None = None
    ) -> None:
        """Take topics up on ``lane``, under ``epoch``. ``blind_from_ns``: since when nobody carried them."""
        for topic in names:
            route = Route(
                f"{self.endpoint}.{topic}",
                topic,
                topics.nature(self.product, topic),
                epoch=epoch,
                flags=self.flags,
                line=lane.line,
                now_ns=now_ns,
                retain=self._retain,
            )
            if blind_from_ns is not None:
                route.hole = Hole(blind_from_ns)
            self.routes[topic] = route
            lane.add(route)
            self._announce(route)
        self._filters = None

    def release(self, lane: "Lane", names: Iterable[str], reason: str, now_ns: int) -> None:
        """Carry topics no more."""
        for topic in names:
            route = self.routes.pop(topic)
            self.enter(route, ENDED, reason, now_ns)
            lane.remove(topic)
            self._released += route.sequence
        self._filters = None

    # State.

    def enter(self, route: Route, state: str, reason: str, now_ns: int) -> None:
        """Bring a topic to a state and say so, unless it is there already for the same reason."""
        if route.state == state and route.reason == reason:
            return
        if state in (ENDED, REJECTED) and route.hole is not None and route.hole.to_ns is not None:
            route.hole = None  # of an outage that is over, and told
        route.enter(state, reason, now_ns)
        self._announce(route)

    def _announce(self, route: Route) -> None:
        """Publish a new status, under the next number."""
        self.changes.append((route.topic, route.state, route.reason))
        self.restate(route)
        route.sequence += 1
        self._send(route, wire.STATUS, 0, route.since_ns, route.status)

    def restate(self, route: Route) -> None:
        """Compose a topic's status anew, as its next repeat will say it."""
        lines = [lane.up for lane in self.lanes if route.topic in lane.routes]
        status = wire.Status(
            state=route.state,
            reason=route.reason,
            since_ns=route.since_ns,
            worker=self.worker,
            network=self.network,
            lines_up=sum(lines),
            lines=len(lines),
        )
        if route.hole is not None:
            status.blind_from_ns = route.hole.from_ns
            if route.hole.to_ns is not None:
                status.blind_to_ns = route.hole.to_ns
            status.lost = route.hole.lost
            # The next snapshot makes good a state; events are gone, and so is a state without snapshots.
            status.recoverable = route.nature not in (Nature.EVENT, Nature.DELTAS)
        route.status = msgspec.json.encode(status)

    def _send(self, route: Route, kind: int, flags: int, now_ns: int, payload: bytes) -> None:
        head = wire.head(route.prefix, kind, self.flags | flags, wire.NO_LINE, route.epoch)
        self.publish(head, route.sequence, now_ns, payload)

    def come_alive(self, route: Route, now_ns: int, reason: str = "") -> None:
        """Bring a topic to ``live``; a hole that was open ends here."""
        if route.state == REJECTED:
            self.enter(route, SUBSCRIBING, "accepted at last", now_ns)
        if route.hole is not None and route.hole.to_ns is None:
            route.hole = msgspec.structs.replace(route.hole, to_ns=now_ns)
        route.due_s = None
        route.heard_ns = now_ns
        self.enter(route, LIVE, reason, now_ns)

    def remark(self, route: Route, reason: str, now_ns: int, hole: Hole) -> None:
        """Say again that a topic is live, and what it may have missed."""
        route.reason, route.since_ns, route.hole = reason, now_ns, hole
        self._announce(route)

    def resync(
        self, route: Route, reason: str, now_ns: int, now_s: float, hole: Hole, cap_s: float = RESYNC_BACKOFF_CAP_S
    ) -> None:
        """Give a topic's chain up and ask for a new snapshot; the first at once, repeated ones ever later."""
        self.counters["resyncs"] += 1
        if route.state == LIVE and now_s - route.resync_s > RESYNC_CALM_S:
            route.resyncs = 0
        doublings = min(route.resyncs - 1, 20)
        pause_s = min(RESYNC_BACKOFF_S * 2**doublings, cap_s) if route.resyncs else 0.0
        route.resyncs += 1
        route.resync_s = now_s
        route.due_s = now_s + pause_s
        # A hole that was open stays open from where it began.
        route.hole = hole if route.hole is None or route.hole.to_ns is not None else route.hole
        self.enter(route, RESYNCING, reason, now_ns)
        if not pause_s:
            self.urge()

    def known_ns(self, route: Route) -> int:
        """Return up to when nothing of a live topic is missing: its last record, or a tick earlier, never later."""
        return route.heard_ns if route.sequence == route.quiet_sequence else max(route.heard_ns, self._ticked_ns)

    # Newcomers.

    def matching(self, subscription: bytes) -> list[Route]:
        """Return the routes whose records a SUB with this subscription receives."""
        if self._filters is None:
            self._by_prefix = sorted(self.routes.values(), key=lambda route: route.prefix)
            self._filters = [route.prefix for route in self._by_prefix]
        first = bisect_left(self._filters, subscription)
        last = first
        while last < len(self._filters) and self._filters[last].startswith(subscription):
            last += 1
        return self._by_prefix[first:last]

    def answer(self, route: Route, now_ns: int, now_s: float) -> None:
        """Tell a newcomer the state of a subject, and give it the image. Published to all; those in step skip it.

        The records kept for it are repeated by `repeat`.
        """
        if route.state == ENDED:
            return
        self._send(route, wire.STATUS, wire.REPEATED, now_ns, route.status)
        try:
            image = route.compose()
        except ValueError as error:
            self.unfoldable(route, error, now_ns, now_s)
            return
        if image is not None:
            self.counters["images"] += 1
            self._send(route, SNAPSHOT, wire.IMAGE, now_ns, image)

    def repeat(self, route: Route, kept: Retained) -> None:
        """Publish a kept record again, under its own number and time."""
        sequence, received_ns, payload = kept
        head = wire.head(route.prefix, route.kind, self.flags | wire.REPEATED, wire.NO_LINE, route.epoch)
        self.counters["repeated"] += 1
        self.publish(head, sequence, received_ns, payload)

    def inspect(self, now_ns: int, now_s: float) -> None:
        """Look into a few of the books, so that every one has been looked at after `INSPECTION_ROUNDS` calls.

        A book whose ids are all in order may be wrong all the same (dossier 5.4): crossed, or deeper than it can be.
        """
        if not self._rounds:
            self._rounds = INSPECTION_ROUNDS
            self._uninspected = [route for route in self.routes.values() if route.nature is Nature.BOOK]
        for _ in range(-(-len(self._uninspected) // self._rounds)):
            route = self._uninspected.pop()
            if not route.live:
                continue
            try:
                fault, unknown_deletes = route.inspect()
            except ValueError as error:
                self.unfoldable(route, error, now_ns, now_s)
                continue
            if unknown_deletes:
                self.counters["unknown_deletes"] += unknown_deletes
                self.malformed.append((f"{route.topic}: {unknown_deletes} deletes of levels that are not there", b""))
            if fault:
                self.counters["crossed"] += 1
                # How long it has been wrong nobody knows; it was right when it was last looked at.
                self.resync(route, fault, now_ns, now_s, Hole(route.inspected_ns), NO_SNAPSHOT_CAP_S)
            route.inspected_ns = now_ns
        self._rounds -= 1

    def unfoldable(self, route: Route, error: ValueError, now_ns: int, now_s: float) -> None:
        """The venue's records make no state (its contract broken, whatever the ids say): ask for a new snapshot."""
        self.malformed.append((f"{route.topic}: {error}", b"\n".join(route.journal or [])))
        self.counters["unparsed"] += 1
        self.resync(route, f"records make no image: {error}", now_ns, now_s, Hole(now_ns))

    # Time.

    def tick(self, now_ns: int, now_s: float, *, judge: bool = True) -> None:
        """Repeat the status of quiet subjects, suspect silent ones, ask again for snapshots that do not come.

        ``judge`` is False where the silence may be our own: this process did not run for a while.
        """
        self._follow_the_clock(now_ns, now_s)
        judge = judge and self.has_rhythm
        alive = (
            {topic for lane in self.lanes if lane.proven(now_ns) for topic in lane.routes}
            if judge
            else frozenset[str]()
        )
        for lane in self.lanes:
            if judge and lane.up:
                lane.look(now_ns)
        repeats = REPEATS_A_TICK
        for route in self.routes.values():
            if route.sequence != route.quiet_sequence:
                # A pause that the topic was not live all through is an outage's, not its own.
                if judge and route.live and route.since_ns <= route.quiet_since_ns:
                    route.cadence.paused(now_ns - route.quiet_since_ns)
                route.quiet_sequence = route.sequence
                route.heard_ns = max(route.heard_ns, self._ticked_ns)
                route.quiet_since_ns = now_ns
                route.repeated_ns = 0
                continue
            silent_ns = now_ns - route.quiet_since_ns
            if repeats and now_ns - max(route.quiet_since_ns, route.repeated_ns) >= (
                self._quiet_status_ns if route.repeated_ns else FIRST_QUIET_STATUS_NS
            ):
                repeats -= 1
                route.repeated_ns = now_ns
                self._send(route, wire.STATUS, wire.REPEATED, now_ns, route.status)
            if route.live and route.topic in alive:
                stale_after_ns = route.cadence.stale_after_ns()
                if stale_after_ns is not None and silent_ns > stale_after_ns:
                    self._suspect(route, silent_ns, now_ns, now_s)
            elif (
                route.due_s is None
                and now_s - route.asked_s > route.first_frame_s
                and (
                    route.state == RESYNCING
                    or (route.state in (STALE, SUBSCRIBING) and route.nature not in (Nature.EVENT, Nature.DELTAS))
                )
            ):
                self.resync(route, "no snapshot came", now_ns, now_s, route.hole or Hole(now_ns), NO_SNAPSHOT_CAP_S)
        self._ticked_ns = now_ns

    def _follow_the_clock(self, now_ns: int, now_s: float) -> None:
        """When the Unix clock is set, begin anew with every silence: nobody has been silent because of that."""
        ahead_ns = now_ns - int(now_s * 1e9)
        by_ns = 0 if self._ahead_ns is None else ahead_ns - self._ahead_ns
        if self._ahead_ns is not None and abs(by_ns) <= CLOCK_SET_NS:
            return
        self._ahead_ns = ahead_ns
        # What is known of the past may become older by this, never newer: the machine may only have slept.
        back_ns = min(by_ns, 0)
        self._ticked_ns += back_ns
        for route in self.routes.values():
            route.heard_ns += back_ns
            route.inspected_ns += back_ns
            route.quiet_since_ns = now_ns
            route.repeated_ns = now_ns if route.repeated_ns else 0
        for lane in self.lanes:
            lane.clock_set(now_ns, back_ns)

    def _suspect(self, route: Route, silent_ns: int, now_ns: int, now_s: float) -> None:
        """A topic is silent while its connection is alive: say so, and subscribe it anew, alone."""
        self.counters["stale"] += 1
        route.cadence.suspected()
        route.hole = Hole(self.known_ns(route))
        self.enter(route, STALE, f"silent for {silent_ns / 1e9:.1f} s while its connection is alive", now_ns)
        route.due_s = now_s

    def resyncs_due(self, lane: "Lane", now_s: float) -> list[str]:
        """Return the topics of ``lane`` to unsubscribe and subscribe now; each is returned once."""
        return lane.resyncs_due(now_s)

    def heartbeat(self, **facts: object) -> wire.Heartbeat:
        """Return the counters as they stand; ``facts`` are those that only the process knows."""
        states = Counter(route.state for route in self.routes.values())
        up = sum(lane.up for lane in self.lanes)
        settled = states[LIVE] + states[REJECTED]
        if not up:
            state = "starting" if states[SUBSCRIBING] == len(self.routes) else "down"
        else:
            state = "live" if settled == len(self.routes) else "starting" if states[SUBSCRIBING] else "degraded"
        return msgspec.convert(
            {
                **self.counters,
                "worker": self.worker,
                "network": self.network,
                "state": state,
                "topics": dict(states),
                "rejected": states[REJECTED],
                "connections": len(self.lanes),
                "connections_up": up,
                "published": self._released + sum(route.sequence for route in self.routes.values()),
                "frames": sum(lane.frames for lane in self.lanes),
                **facts,
            },
            wire.Heartbeat,
        )
