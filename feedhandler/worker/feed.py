"""The hot path: from a frame's payload to a numbered record. Pure.

`Lane.on_payload` is a message's way through here and fits on one screen. Everything else in this module is what
happens rarely: the first record of a topic, a chain that breaks, an answer of the venue's, a connection that opens or
closes. What the state of a topic is then, and who is told, is `state`'s.
"""

from collections.abc import Callable
from math import inf
from typing import Final

import msgspec

from feedhandler.bybit.products import STATUS_TOPIC, Nature
from feedhandler.wire import DELTA, DOWN, LIVE, REJECTED, RESYNCING, SNAPSHOT, STALE, SUBSCRIBING
from feedhandler.worker.route import JOURNAL_LIMIT, OLD_DELTAS, UNBASED, Cadence, Hole, Route
from feedhandler.worker.state import Feed

PROVEN_NS: Final = 3_000_000_000
"""A connection on which something came within this time is alive."""
MUTE_NS: Final = 6_500_000_000
"""Silence of a connection that owes a message every 3 s. Pauses of 5.1 s are on record (dossier 2.5); a mute
connection is promised to be noticed within 8 s."""


class _Ids(msgspec.Struct, gc=False):
    u: int = 0


class _Frame(msgspec.Struct, gc=False):
    """What the hot path reads of a message. The rest is checked to be JSON, and skipped."""

    topic: str
    data: _Ids | list[msgspec.Raw]
    type: str = ""


class _Row(msgspec.Struct, gc=False):
    category: str = ""


class _Rows(msgspec.Struct, gc=False):
    """What tells the category of a private message."""

    data: list[_Row]


_LEVEL_1: Final = "orderbook.1."
_decode: Final = msgspec.json.Decoder(_Frame).decode
_decode_rows: Final = msgspec.json.Decoder(_Rows).decode


class Lane:
    """What one connection carries."""

    __slots__ = (
        "_barred",
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
        """Since when the venue owes a message every 3 s: the canary, or another level-1 book, has come. 0 = it owes none."""
        self._canary_seen = False
        """The canary has come on some connection of this lane: the venue serves it."""
        self.up = False
        self._barred: set[str] = set()
        """Topics that are rejected for the connection's sake, not for their own."""
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
        elif route.typed or not route.live:
            return self._rare(route, kind, update_id, payload, received_ns, frame.type)
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
        self._barred.discard(topic)

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

    def _rare(self, route: Route, kind: int, update_id: int, payload: bytes, received_ns: int, type_: str = "") -> bool:
        """A snapshot of a topic that has deltas, too, or any record of a topic that is not live."""
        if kind == SNAPSHOT and route.typed and type_ != "snapshot":
            return self._untyped(route, type_, payload, received_ns)
        if not route.live:
            if not route.asked:
                # On its way before the unsubscription, or the refusal, took effect.
                return self._drop("held_back" if route.state == RESYNCING else "unexpected", received_ns)
            if kind == DELTA and route.journal is not None and route.state != STALE:
                return self._drop("held_back", received_ns)  # nothing to merge it into
            self._feed.come_alive(route, received_ns)
            self.came(route.topic, received_ns)
        route.update_id = update_id
        self._deliver(route, kind, payload, received_ns)
        return True

    def _untyped(self, route: Route, type_: str, payload: bytes, received_ns: int) -> bool:
        """Neither snapshot nor delta, of a topic that has both: whatever it changes, we do not know the state after it."""
        self.strange("unparsed", f"{route.topic}: a message of the type {type_!r}", payload)
        if route.live:
            reason = f"a message of the type {type_!r} came"
            self._feed.resync(route, reason, received_ns, self.clock_s(), Hole(self._feed.known_ns(route)))
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
            if self.canary and error.args[0] == self.canary:
                self.frames += 1
                self.last_ns = received_ns
                self._canary_seen = True
                self._promised(self.canary, received_ns)
                return True
            if routes := self._categorised(error.args[0], payload):
                for route in routes:
                    if route.live:
                        self._deliver(route, route.kind, payload, received_ns)
                    else:
                        self._rare(route, route.kind, UNBASED, payload, received_ns)
                return True
            self.strange("unexpected", f"data of {error.args[0]}, which is not subscribed here", payload)
            return True
        if isinstance(error, AttributeError):
            self.strange("unparsed", "a book without update ids", payload)
            return True
        return False

    def _categorised(self, topic: str, payload: bytes) -> list[Route]:
        """Return the topics by category that a message by the plain name is for (``order`` for ``order.linear``).

        Which of the two names the venue uses for those, no recording shows (dossier 6); the rows say their category.
        """
        if not any(carried.startswith(f"{topic}.") for carried in self.routes):
            return []
        try:
            categories = {row.category for row in _decode_rows(payload).data}
        except ValueError:
            return []
        return [route for category in sorted(categories) if (route := self.routes.get(f"{topic}.{category}"))]

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

    def answered(self, now_ns: int) -> None:
        """A pong came, and everything that the venue sent before it: an account's hole begins no earlier, however quiet it is.

        Elsewhere pongs prove nothing: a connection that answers may be mute.
        """
        if not self._feed.has_rhythm:
            self.last_ns = now_ns

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

    def came(self, topic: str, now_ns: int) -> None:
        """The first record of a topic came: of a level-1 book, wanted in its own right, the venue owes the next ones, too."""
        if topic.startswith(_LEVEL_1):
            self.promised_ns = self.promised_ns or now_ns

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
            self._barred.discard(topic)
            self._feed.enter(route, REJECTED, text, now_ns)

    def barred(self, topic: str, text: str, now_ns: int) -> None:
        """A topic cannot be had, and not for its own sake: the venue refuses the key, or there is none."""
        self.refused(topic, text, now_ns)
        if topic in self.routes:
            self._barred.add(topic)

    def unbar(self, reason: str, now_ns: int) -> None:
        """What is said of the key is not the latest any more: topics barred for it are down as all the others are."""
        for topic in self._barred:
            route = self.routes[topic]
            if route.state == REJECTED:
                self._feed.enter(route, DOWN, reason, now_ns)
        self._barred.clear()

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
