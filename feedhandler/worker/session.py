"""What one connection has asked of the venue and what was answered (dossier 2.2 and 3). Pure.

Events and the time go in as method calls; `Session.step` returns what to do next, and `Session.wake_s` says when to
call it again at the latest. A session outlives its connections: topics are remembered while there is none, and asked
for again, in batches, on the next.

A subscribe request on spot, linear and inverse is all or nothing, and only the first offender is named (dossier 3.4).
So each refusal either takes the named topic out of its request or halves the request: every round is strictly smaller
than the one before, and nothing loops.

A private connection begins with ``auth``. Until that is answered nothing else is asked for, for it would be refused; and
a refusal is final for the connection (dossier 3.1).
"""

import enum
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from feedhandler.bybit import authentication, operations
from feedhandler.bybit.operations import Acknowledgement
from feedhandler.bybit.products import Product

REQUESTS_IN_FLIGHT: Final = 4
"""Requests sent and not yet answered. It paces a connection's start: 18 at once were fine in a recording (dossier 2.4),
larger bursts got connections closed."""
ACKNOWLEDGEMENT_TIMEOUT_S: Final = 5.0
"""How long an answer may take (dossier 5.4)."""
AUTH_TIMEOUT_S: Final = 10.0
"""The same for ``auth``: the venue looks a key up before it answers, and a connection given up costs one more."""
REFUSED_RETRY_S: Final = 60.0
"""When a refused topic is asked for again; doubled each time."""
REFUSED_RETRY_CAP_S: Final = 3600.0


class Phase(enum.Enum):
    """How far a wanted topic has got on the present connection."""

    QUEUED = "queued"
    ASKED = "asked"
    SUBSCRIBED = "subscribed"
    REFUSED = "refused"
    LEAVING = "leaving"
    """Unsubscribed to be subscribed again: a resync, or wanted again before it was gone."""


class Send(msgspec.Struct, frozen=True):
    """Send this text frame."""

    payload: bytes


class Disconnect(msgspec.Struct, frozen=True):
    """Give the connection up."""

    reason: str


class Asked(msgspec.Struct, frozen=True):
    """The subscribe request of these topics goes out: data that comes now is meant for it (dossier 3.5)."""

    topics: list[str]


class Acknowledged(msgspec.Struct, frozen=True):
    """These topics are subscribed."""

    topics: list[str]


class Refused(msgspec.Struct, frozen=True):
    """The venue refuses this topic; the text is its own."""

    topic: str
    text: str


class Authorized(msgspec.Struct, frozen=True):
    """The venue knows whose this private connection is: topics may be asked for."""


class Unauthorized(msgspec.Struct, frozen=True):
    """The venue does not let us in; the text is its own. Give the connection up, and leave the venue in peace."""

    text: str


Action = Send | Disconnect | Asked | Acknowledged | Refused | Authorized | Unauthorized


class _Pending(msgspec.Struct):
    req_id: str
    op: str
    topics: list[str]
    sent_s: float


class _Wanted(msgspec.Struct):
    phase: Phase = Phase.QUEUED
    req_id: str = ""
    """The subscribe request that asked for it last: what is answered to an older one says nothing any more."""
    refusals: int = 0
    retry_s: float = 0.0
    unanswered: int = 0
    """Requests in a row that were not answered. The venue may have subscribed it all the same."""


class Session:
    """The operations of one connection, and of the one after it."""

    def __init__(
        self,
        product: Product,
        *,
        ping_interval_s: float,
        pong_timeout_s: float,
        has_data: Callable[[str], bool],
    ) -> None:
        self._product = product
        self._has_data = has_data
        self._ping_interval_s = ping_interval_s
        self._pong_timeout_s = pong_timeout_s
        self._wanted: dict[str, _Wanted] = {}
        self._actions: list[Action] = []
        self._joining: deque[list[str]] = deque()
        self._leaving: deque[list[str]] = deque()
        self._pending: dict[str, _Pending] = {}
        self._requests = 0
        self._open = False
        self._is_private = False
        self._auth_due_s: float | None = None
        """When the answer to ``auth`` is late; None while none is awaited."""
        self._ping_s = 0.0
        self._pong_due_s: float | None = None
        self.strange_replies = 0
        """Answers that belong to no request of ours."""
        self.timeouts = 0
        """Requests that were never answered."""

    @property
    def topics(self) -> list[str]:
        """Every topic wanted, refused ones included."""
        return list(self._wanted)

    def phase(self, topic: str) -> Phase | None:
        """How far a topic has got; None where it is not wanted."""
        wanted = self._wanted.get(topic)
        return wanted.phase if wanted else None

    # What we want.

    def want(self, topics: Iterable[str]) -> None:
        """Subscribe to these, now and on every connection to come."""
        new = [topic for topic in topics if topic not in self._wanted]
        self._wanted.update((topic, _Wanted()) for topic in new)
        if self._open:
            # What still comes for a topic on its way out would pass for the new subscription's: it has to be gone.
            batches = [
                *self._leaving,
                *(other.topics for other in self._pending.values() if other.op == operations.UNSUBSCRIBE),
            ]
            for topic in set(new).intersection(itertools.chain(*batches)):
                self._wanted[topic].phase = Phase.LEAVING
            self._queue([topic for topic in new if self.phase(topic) is Phase.QUEUED])

    def unwant(self, topics: Iterable[str]) -> None:
        """Unsubscribe from these and forget them."""
        gone = {topic: self._wanted.pop(topic) for topic in topics if topic in self._wanted}
        for batch in self._joining:
            batch[:] = [topic for topic in batch if topic not in gone]
        if self._open:
            # A topic still asked for is left as well, and so is one asked for in vain: its answer may be on the way.
            held = (Phase.ASKED, Phase.SUBSCRIBED)
            self._leave([topic for topic, wanted in gone.items() if wanted.phase in held or wanted.unanswered])

    def resync(self, topic: str) -> None:
        """Unsubscribe, wait for the acknowledgement, subscribe: the venue answers with a new snapshot (dossier 5.4)."""
        wanted = self._wanted.get(topic)
        if wanted is None or not self._open or wanted.phase not in (Phase.SUBSCRIBED, Phase.ASKED):
            return
        self._leave_and_return([topic])

    # What happens to the connection.

    def opened(self, now_s: float, auth: bytes = b"") -> None:
        """Note that the connection is open: ask for everything, and ping at once (dossier 2.3).

        ``auth`` is the request that a private connection begins with, signed for this connection alone.
        """
        self._open = True
        self._is_private = bool(auth)
        self._ping_s = now_s
        self._pong_due_s = None
        if auth:
            self._actions.append(Send(auth))
            self._auth_due_s = now_s + AUTH_TIMEOUT_S
        self._queue([topic for topic, wanted in self._wanted.items() if wanted.phase is Phase.QUEUED])

    def closed(self) -> None:
        """Note that the connection is gone, and with it every request."""
        self._open = False
        self._pending.clear()
        self._joining.clear()
        self._leaving.clear()
        self._actions.clear()
        self._pong_due_s = self._auth_due_s = None
        for wanted in self._wanted.values():
            # A refusal holds on every connection; silence may have been this one's own.
            if wanted.phase is not Phase.REFUSED or wanted.unanswered:
                wanted.phase = Phase.QUEUED
            wanted.unanswered = 0

    def pong(self) -> None:
        """Note the answer to our ping."""
        self._pong_due_s = None

    def acknowledged(self, reply: Acknowledgement, now_s: float) -> None:
        """Take the venue's answer to a request."""
        if self._auth_due_s is not None and reply.op in ("", operations.AUTH):
            self._auth_due_s = None
            if reply.success or authentication.is_repeated(reply.text):
                self._actions.append(Authorized())
            else:
                self._end(Unauthorized(reply.text or "authentication refused"))
            return
        pending = self._match(reply)
        if pending is None:
            self.strange_replies += 1
            return
        if self._is_private and not reply.success and authentication.is_needed(reply.text):
            # Asking again would be refused again: only another connection can be authorized anew.
            self._end(Unauthorized(reply.text))
            return
        doubtful = {
            topic for topic in pending.topics if self._awaits(topic, pending) and self._wanted[topic].unanswered
        }
        for topic in doubtful:
            self._wanted[topic].unanswered = 0
        if pending.op == operations.UNSUBSCRIBE:
            # Refused or not, the topic is not subscribed any more; the venue has no other reason to refuse.
            self._left(pending.topics)
        elif self._product.acknowledges_by_topic and (reply.succeeded or reply.failed):
            failed = set(reply.failed)
            self._subscribed(pending, [topic for topic in pending.topics if topic not in failed])
            # What was asked for before, in vain, may be subscribed all the same, and fails for that: begin with it anew.
            self._leave_and_return([topic for topic in pending.topics if topic in failed & doubtful])
            for topic in pending.topics:
                if topic in failed - doubtful:
                    self._refused(pending, topic, reply.text or "refused (failTopics)", now_s)
        elif reply.success:
            self._subscribed(pending, pending.topics)
        else:
            self._whole_request_refused(pending, reply.text, now_s)

    def step(self, now_s: float) -> list[Action]:
        """Return what to do now, in order."""
        if self._auth_due_s is not None and now_s >= self._auth_due_s:
            self._end(Disconnect(f"no answer to auth within {AUTH_TIMEOUT_S:g} s"))
        if self._open:
            if self._auth_due_s is None:
                self._time_out(now_s)
                self._retry_refused(now_s)
                self._send_requests(now_s)
            self._keep_alive(now_s)
        actions, self._actions = self._actions, []
        return actions

    def wake_s(self) -> float:
        """Return when `step` must be called again even if nothing happens; infinity while closed."""
        if not self._open:
            return float("inf")
        due = [self._ping_s]
        if self._pong_due_s is not None:
            due.append(self._pong_due_s)
        if self._auth_due_s is not None:
            return min(*due, self._auth_due_s)
        due += [pending.sent_s + ACKNOWLEDGEMENT_TIMEOUT_S for pending in self._pending.values()]
        due += [wanted.retry_s for wanted in self._wanted.values() if wanted.phase is Phase.REFUSED]
        return min(due)

    # Inside.

    def _end(self, action: Disconnect | Unauthorized) -> None:
        """Ask for nothing more on this connection."""
        self._actions.append(action)
        self._open, self._auth_due_s = False, None

    def _queue(self, topics: list[str]) -> None:
        size = self._product.max_args_per_request
        self._joining.extend(topics[start : start + size] for start in range(0, len(topics), size))

    def _leave(self, topics: list[str]) -> None:
        size = self._product.max_args_per_request
        self._leaving.extend(topics[start : start + size] for start in range(0, len(topics), size))

    def _leave_and_return(self, topics: list[str]) -> None:
        """Unsubscribe from these and subscribe to them again."""
        for topic in topics:
            self._wanted[topic].phase = Phase.LEAVING
        self._leave(topics)

    def _send_requests(self, now_s: float) -> None:
        while len(self._pending) < REQUESTS_IN_FLIGHT:
            # Leaving goes first: it makes room under the venue's limits, and a resync waits for it.
            if self._leaving:
                self._request(operations.UNSUBSCRIBE, self._leaving.popleft(), now_s)
            elif self._joining:
                topics = [topic for topic in self._joining.popleft() if topic in self._wanted]
                if topics:
                    self._actions.append(Asked(topics))
                    req_id = self._request(operations.SUBSCRIBE, topics, now_s)
                    for topic in topics:
                        wanted = self._wanted[topic]
                        wanted.phase, wanted.req_id = Phase.ASKED, req_id
            else:
                return

    def _request(self, op: str, topics: list[str], now_s: float) -> str:
        self._requests += 1
        req_id = str(self._requests)
        self._pending[req_id] = _Pending(req_id, op, topics, now_s)
        self._actions.append(Send(operations.Request(req_id, op, topics).encode()))
        return req_id

    def _keep_alive(self, now_s: float) -> None:
        if self._pong_due_s is not None and now_s >= self._pong_due_s:
            self._actions.append(Disconnect(f"no pong within {self._pong_timeout_s:g} s"))
            self._pong_due_s = None
        elif now_s >= self._ping_s:
            self._actions.append(Send(operations.PING))
            self._ping_s = now_s + self._ping_interval_s
            if self._pong_due_s is None:
                self._pong_due_s = now_s + self._pong_timeout_s

    def _match(self, reply: Acknowledgement) -> _Pending | None:
        """Find what an answer is about: by ``req_id`` where echoed, else by topics, else the oldest of its kind."""
        if reply.req_id:
            return self._pending.pop(reply.req_id, None)
        named = {*reply.succeeded, *reply.failed}
        fitting = [
            pending
            for pending in self._pending.values()
            if (not named or not named.isdisjoint(pending.topics)) and reply.op in ("", pending.op)
        ]
        # Requests may share topics; an answer names all of its own.
        pending = min(fitting, key=lambda other: named != set(other.topics), default=None)
        if pending is None:
            return None
        if named and (rest := [topic for topic in pending.topics if topic not in named]):
            answered = [topic for topic in pending.topics if topic in named]
            pending.topics = rest  # not answered yet
            return _Pending(pending.req_id, pending.op, answered, pending.sent_s)
        return self._pending.pop(pending.req_id)

    def _awaits(self, topic: str, pending: _Pending) -> bool:
        """Say whether it is this request's answer that decides about a topic."""
        wanted = self._wanted.get(topic)
        return wanted is not None and wanted.phase is Phase.ASKED and wanted.req_id == pending.req_id

    def _subscribed(self, pending: _Pending, topics: list[str]) -> None:
        held = [topic for topic in topics if self._awaits(topic, pending)]
        for topic in held:
            wanted = self._wanted[topic]
            wanted.phase = Phase.SUBSCRIBED
            wanted.refusals = wanted.unanswered = 0
        if held:
            self._actions.append(Acknowledged(held))

    def _left(self, topics: list[str]) -> None:
        again = [topic for topic in topics if self.phase(topic) is Phase.LEAVING]
        for topic in again:
            self._wanted[topic].phase = Phase.QUEUED
        self._queue(again)

    def _refused(self, pending: _Pending, topic: str, text: str, now_s: float) -> None:
        if not self._awaits(topic, pending):
            return
        wanted = self._wanted[topic]
        wanted.phase = Phase.REFUSED
        wanted.retry_s = now_s + min(REFUSED_RETRY_S * 2 ** min(wanted.refusals, 10), REFUSED_RETRY_CAP_S)
        wanted.refusals += 1
        self._actions.append(Refused(topic, text))

    def _whole_request_refused(self, pending: _Pending, text: str, now_s: float) -> None:
        topics = pending.topics
        named = operations.named_topic(text)
        rest = [topic for topic in topics if topic != named]
        if operations.already_subscribed(text) and (len(rest) < len(topics) or len(topics) == 1):
            self._subscribed(pending, [topic for topic in topics if topic not in rest] or topics)
            rest = rest if len(topics) > 1 else []
        elif len(rest) < len(topics):
            self._refused(pending, named, text, now_s)
        elif len(topics) == 1:
            self._refused(pending, topics[0], text, now_s)
            rest = []
        self._ask_again(pending, rest, halve=len(rest) == len(topics))

    def _ask_again(self, pending: _Pending, topics: list[str], *, halve: bool) -> None:
        rest = [topic for topic in topics if self._awaits(topic, pending)]
        for topic in rest:
            self._wanted[topic].phase = Phase.QUEUED
        middle = len(rest) // 2 if halve else 0
        # In front of the queue, so that the order of first data stays the order of the configuration.
        self._joining.extendleft(part for part in (rest[middle:], rest[:middle]) if part)

    def _time_out(self, now_s: float) -> None:
        late = [req for req, pending in self._pending.items() if now_s >= pending.sent_s + ACKNOWLEDGEMENT_TIMEOUT_S]
        for req_id in late:
            pending = self._pending.pop(req_id)
            self.timeouts += 1
            if pending.op == operations.UNSUBSCRIBE:
                self._left(pending.topics)  # confirmations go missing on options (dossier 3.3)
                continue
            self._subscribed(pending, [topic for topic in pending.topics if self._has_data(topic)])
            for topic in pending.topics:
                if not self._awaits(topic, pending):
                    continue
                wanted = self._wanted[topic]
                wanted.unanswered += 1
                if wanted.unanswered > 1:
                    text = f"no answer from the venue within {ACKNOWLEDGEMENT_TIMEOUT_S:g} s, twice"
                    self._refused(pending, topic, text, now_s)
                    self._leave([topic])  # the venue may have it all the same
                else:
                    wanted.phase = Phase.QUEUED
                    self._joining.append([topic])  # alone: whatever kept its request from being answered

    def _retry_refused(self, now_s: float) -> None:
        for topic, wanted in self._wanted.items():
            if wanted.phase is Phase.REFUSED and now_s >= wanted.retry_s:
                wanted.phase = Phase.QUEUED
                self._joining.append([topic])  # alone: a refusal costs nobody else a round
