"""The hot path: from a frame's payload to a numbered record, and the state of every topic. Pure.

`Lane.on_payload` is a message's way through here and fits on one screen. Everything else in this module is what
happens rarely: a topic comes alive, a chain breaks, a connection opens or closes, a strategy joins.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

import msgspec

from feedhandler import wire
from feedhandler.bybit import topics
from feedhandler.bybit.products import STATUS_TOPIC, Nature
from feedhandler.wire import DELTA, DOWN, ENDED, LIVE, REJECTED, RESYNCING, SNAPSHOT, STALE, SUBSCRIBING
from feedhandler.worker.route import (
    JOURNAL_LIMIT,
    NO_SNAPSHOT_CAP_S,
    OLD_DELTAS,
    RESYNC_BACKOFF_CAP_S,
    RESYNC_BACKOFF_S,
    RESYNC_CALM_S,
    UNBASED,
    Cadence,
    Hole,
    Retained,
    Route,
)

PROVEN_NS: Final = 3_000_000_000
"""A connection on which something came within this time is alive."""
MUTE_NS: Final = 6_500_000_000
"""Silence of a connection that owes a message every 3 s. Pauses of 5.1 s are on record (dossier 2.5); a mute
connection is promised to be noticed within 8 s."""
CLOCK_SET_NS: Final = 500_000_000
"""The Unix clock was set when it goes off the loop's by more than this; less is drift, or a long round of the loop."""
INSPECTION_ROUNDS: Final = 100
"""Calls of `Feed.inspect` until every book has been looked into: 5 s at the ticks of a worker."""
FIRST_QUIET_STATUS_NS: Final = 1_000_000_000
"""A subject quiet this long repeats its status for the first time."""

Publish = Callable[[bytes, int, int, bytes], None]
"""head, sequence, received_ns, payload."""


class _Ids(msgspec.Struct, gc=False):
    u: int = 0


class _Frame(msgspec.Struct, gc=False):
    """What the hot path reads of a message. The rest is checked to be JSON, and skipped."""

    topic: str
    data: _Ids | list[msgspec.Raw]
    type: str = ""


_LEVEL_1: Final = "orderbook.1."
_decode: Final = msgspec.json.Decoder(_Frame).decode


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
        self._has_rhythm = product != "private"
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
                fault = route.inspect()
            except ValueError as error:
                self.unfoldable(route, error, now_ns, now_s)
                continue
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
        judge = judge and self._has_rhythm
        alive = (
            {topic for lane in self.lanes if lane.proven(now_ns) for topic in lane.routes}
            if judge
            else frozenset[str]()
        )
        for lane in self.lanes:
            if judge and lane.up:
                lane.look(now_ns)
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
            if now_ns - max(route.quiet_since_ns, route.repeated_ns) >= (
                self._quiet_status_ns if route.repeated_ns else FIRST_QUIET_STATUS_NS
            ):
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


class Lane:
    """What one connection carries."""

    __slots__ = (
        "_cadence",
        "_canary_seen",
        "_feed",
        "_publish",
        "_quiet_frames",
        "_quiet_since_ns",
        "canary",
        "clock_s",
        "frames",
        "last_ns",
        "line",
        "promised_ns",
        "routes",
        "up",
    )

    def __init__(self, feed: Feed, line: int, clock_s: Callable[[], float], canary: str = "") -> None:
        self._feed = feed
        self._publish = feed.publish
        self.line = line
        self.clock_s = clock_s
        self.routes: dict[str, Route] = {}
        self.frames = 0
        self.last_ns = 0
        """When the last data message came; before the first one, when the connection opened."""
        self.canary = canary
        """A lively topic, not published, that proves the connection alive; ``""`` = none."""
        self.promised_ns = 0
        """Since when the venue owes a message every 3 s: the canary, a level-1 book, has come. 0 = it owes none."""
        self._canary_seen = False
        """The canary has come on some connection of this lane: the venue serves it."""
        self.up = False
        self._cadence = Cadence()
        self._quiet_frames = 0
        self._quiet_since_ns = 0
        feed.lanes.append(self)

    def on_payload(self, payload: bytes, received_ns: int) -> bool:
        """Publish a data message; return False where it is none (control reply, close, garbage)."""
        try:
            frame = _decode(payload)
            route = self.routes[frame.topic]
            update_id = frame.data.u if route.chained else UNBASED  # type: ignore[union-attr]  # a list has none: see below
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            return self._not_ours(payload, received_ns, error)
        kind = route.kind
        if frame.type == "delta":
            kind = DELTA
            if route.chained:
                if update_id != route.update_id + 1:
                    return self._unchained(route, update_id, payload, received_ns)
                route.update_id = update_id
            elif not route.live:
                return self._rare(route, kind, update_id, payload, received_ns)
        elif route.chained or not route.live:
            return self._rare(route, kind, update_id, payload, received_ns)
        self.frames += 1
        self.last_ns = received_ns
        route.sequence = sequence = route.sequence + 1
        self._publish(route.heads[kind], sequence, received_ns, payload)
        # Only now what a late joiner will need.
        if route.journal is not None:
            if kind == DELTA:
                route.journal.append(payload)
                if len(route.journal) > JOURNAL_LIMIT:
                    self._fold(route, received_ns)
            else:
                route.journal = [payload]
                route.image = None
        elif route.retained is not None:
            route.retained.append((sequence, received_ns, payload))
        return True

    # What happens rarely.

    def add(self, route: Route) -> None:
        """Take a topic up."""
        self.routes[route.topic] = route

    def remove(self, topic: str) -> None:
        """Carry a topic no more."""
        del self.routes[topic]

    def resyncs_due(self, now_s: float) -> list[str]:
        """Return the topics to unsubscribe and subscribe now; each is returned once."""
        due = [route for route in self.routes.values() if route.due_s is not None and now_s >= route.due_s]
        for route in due:
            # The venue owes a snapshot from when it is asked: the unsubscription before that may take its time.
            route.due_s, route.asked_s = None, inf
        return [route.topic for route in due]

    def _deliver(self, route: Route, kind: int, payload: bytes, received_ns: int) -> None:
        self.frames += 1
        self.last_ns = received_ns
        route.sequence += 1
        self._publish(route.heads[kind], route.sequence, received_ns, payload)
        self._keep(route, kind, payload, received_ns)

    def _keep(self, route: Route, kind: int, payload: bytes, received_ns: int) -> None:
        """Keep what a late joiner will need."""
        if route.journal is None:
            if route.retained is not None:
                route.retained.append((route.sequence, received_ns, payload))
        elif kind == DELTA:
            route.journal.append(payload)
            if len(route.journal) > JOURNAL_LIMIT:
                self._fold(route, received_ns)
        else:
            route.journal = [payload]
            route.image = None

    def _drop(self, counter: str, received_ns: int) -> bool:
        self._feed.counters[counter] += 1
        self.frames += 1
        self.last_ns = received_ns
        return True

    def _rare(self, route: Route, kind: int, update_id: int, payload: bytes, received_ns: int) -> bool:
        """A snapshot of a chained topic, or any record of a topic that is not live."""
        if not route.live:
            if not route.asked:
                # On its way before the unsubscription, or the refusal, took effect.
                return self._drop("held_back" if route.state == RESYNCING else "unexpected", received_ns)
            if kind == DELTA and route.journal is not None and route.state != STALE:
                return self._drop("held_back", received_ns)  # nothing to merge it into
            if route.state == REJECTED:
                self._feed.enter(route, SUBSCRIBING, "accepted at last", received_ns)
            self._feed.come_alive(route, received_ns)
        route.update_id = update_id
        self._deliver(route, kind, payload, received_ns)
        return True

    def _unchained(self, route: Route, update_id: int, payload: bytes, received_ns: int) -> bool:
        """A delta that does not continue its book."""
        feed = self._feed
        if route.state == STALE and route.nature is Nature.BOOK and update_id == route.stale_update_id + 1:
            route.update_id = update_id
            feed.come_alive(route, received_ns, "it speaks again")
            self._deliver(route, DELTA, payload, received_ns)
            return True
        last = route.update_id
        if route.nature is Nature.DELTAS and (last < 0 or update_id == 1):
            # No snapshot on this socket: the first delta is the base, and so is a restart (dossier 4.3).
            if not route.asked:
                return self._drop("unexpected", received_ns)
            if not route.live:
                feed.come_alive(route, received_ns)
            route.update_id = update_id
            self._deliver(route, DELTA, payload, received_ns)
            return True
        if last < 0:
            return self._drop("held_back", received_ns)
        restarted = update_id == 1 and last > 1
        if update_id <= last and not restarted:
            self._drop("duplicates", received_ns)
            # One that comes again is nothing; a run of them, and nothing new between, is a count that fell back.
            route.old = route.old + 1 if route.sequence == route.old_sequence else 1
            route.old_sequence = route.sequence
            if route.old > OLD_DELTAS:
                reason = f"fell back: u {last} was followed by {route.old} older updates, the last with u {update_id}"
                feed.resync(route, reason, received_ns, self.clock_s(), Hole(feed.known_ns(route)))
            return True
        now_s = self.clock_s()
        if restarted:
            # The service restarted (dossier 5.1), and said so by a delta: its base is not ours.
            reason, lost = f"restarted: delta with u 1 after u {last}", None
        else:
            feed.counters["gaps"] += 1
            reason, lost = f"gap: u {last} was followed by u {update_id}", update_id - last - 1
        self._drop("held_back", received_ns)
        feed.resync(route, reason, received_ns, now_s, Hole(feed.known_ns(route), lost=lost))
        return True

    def _fold(self, route: Route, now_ns: int) -> None:
        try:
            route.fold()
        except ValueError as error:
            self._feed.unfoldable(route, error, now_ns, self.clock_s())

    def _not_ours(self, payload: bytes, received_ns: int, error: Exception) -> bool:
        """A message of no topic of ours: the canary, a control reply, garbage, or data nobody asked for."""
        if isinstance(error, KeyError):
            if error.args[0] == self.canary:
                self.frames += 1
                self.last_ns = received_ns
                self._canary_seen = True
                self._promised(self.canary, received_ns)
                return True
            self.strange("unexpected", f"data of {error.args[0]}, which is not subscribed here", payload)
            return True
        if isinstance(error, AttributeError):
            self.strange("unparsed", "a book without update ids", payload)
            return True
        return False

    def count(self, counter: str) -> None:
        """Count something that happened to the connection, by the words of `wire.Heartbeat`."""
        self._feed.counters[counter] += 1

    def strange(self, counter: str, what: str, payload: bytes) -> None:
        """Count a frame that breaks the venue's contract, and keep it for the log."""
        self._feed.counters[counter] += 1
        self._feed.malformed.append((what, payload))

    def has_data(self, topic: str) -> bool:
        """Say whether data of a topic came on the present connection, acknowledged or not."""
        route = self.routes.get(topic)
        return route is not None and route.live

    def proven(self, now_ns: int) -> bool:
        """Say whether the connection is proven alive: data of any of its topics came just now."""
        return self.up and now_ns - self.last_ns < PROVEN_NS

    def look(self, now_ns: int) -> None:
        """Learn how long the connection's pauses are; for those on which the venue promises no rhythm."""
        if self.frames != self._quiet_frames:
            self._quiet_frames = self.frames
            self._cadence.paused(now_ns - self._quiet_since_ns)
            self._quiet_since_ns = now_ns

    def is_mute(self, now_ns: int) -> bool:
        """Say whether the connection is silent beyond what the venue promises, or what it used to be."""
        if not self.up:
            return False
        if self.promised_ns:
            return now_ns - max(self.last_ns, self.promised_ns) > MUTE_NS
        learned_ns = self._cadence.stale_after_ns()
        return learned_ns is not None and now_ns - max(self.last_ns, self._quiet_since_ns) > learned_ns

    def mute(self, now_ns: int) -> str:
        """Say that nobody may take this connection's silence for a quiet market; return the reason."""
        reason = f"mute: nothing came on its connection for {(now_ns - self.last_ns) / 1e9:.1f} s"
        self._cadence.suspected()
        for route in self.routes.values():
            if route.live:
                route.hole = Hole(max(self.last_ns, route.heard_ns))
                self._feed.enter(route, STALE, reason, now_ns)
        return reason

    def clock_set(self, now_ns: int, back_ns: int) -> None:
        """Begin anew with the silence of this connection; the past moves back by ``back_ns``, which is not positive."""
        self.last_ns += back_ns
        self._quiet_since_ns = now_ns
        if self.promised_ns:
            self.promised_ns = now_ns

    def _promised(self, topic: str, now_ns: int) -> None:
        """The venue owes the canary from its acknowledgement on, once it has proved that it serves it."""
        if topic == self.canary and self._canary_seen and topic.startswith(_LEVEL_1):
            self.promised_ns = self.promised_ns or now_ns

    # What happens to the connection.

    def opened(self, now_ns: int) -> None:
        """The connection is open; every topic will be asked for."""
        self.up = True
        self.last_ns = self._quiet_since_ns = now_ns
        self.promised_ns = 0
        for route in self.routes.values():
            if route.state == DOWN:
                self._feed.enter(route, SUBSCRIBING, "connected", now_ns)

    def asked(self, names: list[str]) -> None:
        """The subscribe request of these topics is out."""
        for topic in names:
            if route := self.routes.get(topic):
                route.asked, route.asked_s = True, self.clock_s()

    def acknowledged(self, names: list[str], now_ns: int) -> None:
        """These topics are subscribed. An event topic is live from here, a state from its first snapshot."""
        for topic in names:
            self._promised(topic, now_ns)
            route = self.routes.get(topic)
            if route is None or route.live:
                continue
            if route.state == REJECTED:
                self._feed.enter(route, SUBSCRIBING, "accepted at last", now_ns)
            # The venue announces maintenance a few times a year: that topic is live without a first record, too.
            is_event = route.nature in (Nature.EVENT, Nature.DELTAS) or topic == STATUS_TOPIC
            if is_event and route.state in (SUBSCRIBING, RESYNCING, STALE):
                self._feed.come_alive(route, now_ns)

    def refused(self, topic: str, text: str, now_ns: int) -> None:
        """The venue refuses a topic; the text is its own."""
        if topic == self.canary and topic not in self.routes:
            # It is asked for again, as any refused topic: from its next data on it counts again.
            self.promised_ns, self._canary_seen = 0, False
            self.strange("unexpected", f"the canary {topic} is refused; its connection has none for now", text.encode())
        if route := self.routes.get(topic):
            self._feed.enter(route, REJECTED, text, now_ns)

    def closed(self, reason: str, now_ns: int) -> None:
        """The connection is gone, or could not be opened. What the venue refused stays refused."""
        self.up = False
        for route in self.routes.values():
            if route.state == REJECTED:
                continue
            route.due_s = None
            if route.state in (LIVE, STALE) and (route.hole is None or route.hole.to_ns is not None):
                # Everything up to the last message of the connection is known to have been delivered.
                route.hole = Hole(max(self.last_ns, route.heard_ns))
            self._feed.enter(route, DOWN, reason, now_ns)
