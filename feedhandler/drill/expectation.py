"""What a strategy is promised of each fault, by the number of lines: the guarantees of the README as data. Pure.

Where the guarantees say "at once" or name no time, the time here is what the machinery takes on loopback, with room
for a busy machine.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from feedhandler.drill import faults
from feedhandler.drill.faults import Fault
from feedhandler.wire import DOWN, REJECTED, RESYNCING, STALE

AT_ONCE_S: Final = 1.0
"""What is told at once is told within this."""
AGAIN_S: Final = 3.0
"""From the first attempt that the venue answers to all topics live."""
TOPICS_A_SECOND: Final = 500
"""Many topics take longer: so many can be asked for, and their snapshots read, in a second."""
MUTE_S: Final = 8.0
"""The venue sends a level 1 again after 3 s without change, and pauses of 5.1 s are on record (dossier 2.5)."""
STALE_S: Final = 10.0
STALE_PAUSES: Final = 4
"""A silent topic is suspicious after this many times its longest pause, and no sooner than `STALE_S`."""
TOO_MANY_PAUSE_S: Final = 11.0
"""Left alone after HTTP 429: 5 s, doubled for the second attempt in a row, and up to 1 s of jitter."""
UNANSWERED_S: Final = 5.0
"""How long an acknowledgement is waited for, and a snapshot after it (dossier 5.4)."""
LATE_ACK_S: Final = 2.0
AUTH_TIMEOUT_S: Final = 10.0
"""How long the answer to a sign-in is waited for."""
REFUSED_AGAIN_S: Final = 60.0
"""When a refused topic is asked for again."""
KILLED_S: Final = 0.2
"""A plain socket's monitor tells that the worker is gone."""
HUNG_S: Final = 3.0
"""Three heartbeats missed."""
WATCH_S: Final = 0.5
"""How much later than it happens this drill may see it."""
RESTART_S: Final = 6.0
"""A worker's start, after another that ended soon: half a second's pause, the interpreter, connecting."""
HUNG_RESTART_S: Final = 8.0
"""From the hang to the kill: 5 s without a beat, 2 s for a stack dump, and the looks in between."""
JOIN_S: Final = 1.0


_ON_ANY_LINE: Final = ("reconnects", "mutes", "unparsed", "unexpected", "duplicates")
"""What is counted of a line, and not of what strategies see."""


class Timing(msgspec.Struct, frozen=True):
    """What the times depend on: settings of the endpoint, and the target's own rhythm."""

    ping_interval_s: float = 20.0
    pong_timeout_s: float = 10.0
    connect_timeout_s: float = 10.0
    reconnect_base_s: float = 0.5
    reconnect_cap_s: float = 30.0
    topics: int = 1
    """Of the worker."""
    pause_s: float = 0.0
    """The longest that the target's topic was silent lately."""

    def retry_s(self, number: int) -> float:
        """Return the longest pause before a retry: the first is immediate."""
        return min(self.reconnect_base_s * 2 ** (number - 2), self.reconnect_cap_s) if number > 1 else 0.0

    @property
    def again_s(self) -> float:
        """How long it takes from a connection to all topics live."""
        return AGAIN_S + self.topics / TOPICS_A_SECOND


class Expectation(msgspec.Struct, frozen=True):
    """What is promised of a fault."""

    told: tuple[str, ...] = ()
    """States that those concerned are told in this order; () = nothing is seen of it."""
    reason: str = ""
    """Words that one of these states gives as its reason."""
    told_within_s: float = AT_ONCE_S
    whole_within_s: float = AGAIN_S
    ends_connection: bool = False
    """The connection is given up, or ends by itself, and is opened anew."""
    new_epoch: bool = False
    """Another worker takes over."""
    counter: str = ""
    """What the heartbeat counts of it."""
    passed: str = ""
    """What reaches the strategy as the venue sent it: ``snapshot`` or ``fields``."""


def expect(fault: Fault, lines: int, timing: Timing) -> Expectation:
    """Return what is promised of ``fault`` to the topics of a worker with so many lines."""
    promised = _SINGLE[fault.name](timing)
    if lines > 1 and fault.hits == faults.LINE:
        counter = promised.counter if promised.counter in _ON_ANY_LINE else ""
        return msgspec.structs.replace(promised, told=(), reason="", counter=counter)
    return promised


def _lost(*, retries: int = 1, more_s: float = 0.0, reason: str = "") -> Callable[[Timing], Expectation]:
    """Promise what a lost connection is promised: down at once, whole after so many retries."""

    def promise(timing: Timing) -> Expectation:
        waits_s = sum(timing.retry_s(number) for number in range(1, retries + 1))
        return Expectation(
            (DOWN,),
            reason=reason,
            whole_within_s=AT_ONCE_S + waits_s + more_s + timing.again_s,
            ends_connection=True,
            counter="reconnects",
        )

    return promise


def _hanging(timing: Timing) -> Expectation:
    return _lost(
        retries=2, more_s=timing.connect_timeout_s, reason=f"no connection within {timing.connect_timeout_s:g} s"
    )(timing)


def _mute(timing: Timing) -> Expectation:
    return Expectation(
        (STALE, DOWN),
        told_within_s=MUTE_S,
        whole_within_s=MUTE_S + timing.again_s,
        ends_connection=True,
        counter="mutes",
    )


def _stall(timing: Timing) -> Expectation:
    if timing.pong_timeout_s > MUTE_S:
        return _mute(timing)
    # The pong that does not come is noticed first.
    return msgspec.structs.replace(_mute(timing), told=(DOWN,), counter="reconnects")


def _no_pong(timing: Timing) -> Expectation:
    told_s = timing.ping_interval_s + timing.pong_timeout_s
    return Expectation(
        (DOWN,),
        reason=f"no pong within {timing.pong_timeout_s:g} s",
        told_within_s=told_s + WATCH_S,
        whole_within_s=told_s + timing.again_s,
        ends_connection=True,
        counter="reconnects",
    )


def _topic_mute(timing: Timing) -> Expectation:
    told_s = max(STALE_S, STALE_PAUSES * timing.pause_s) + AT_ONCE_S
    return Expectation((STALE,), told_within_s=told_s, whole_within_s=told_s + UNANSWERED_S + AGAIN_S, counter="stale")


def _gap(counter: str, reason: str) -> Callable[[Timing], Expectation]:
    """Promise what a book that proves broken is promised; it takes further updates to prove it."""

    def promise(timing: Timing) -> Expectation:
        told_s = AT_ONCE_S + 3 * timing.pause_s
        return Expectation(
            (RESYNCING,), reason=reason, told_within_s=told_s, whole_within_s=told_s + AGAIN_S, counter=counter
        )

    return promise


def _unseen(counter: str = "", passed: str = "") -> Callable[[Timing], Expectation]:
    return lambda _timing: Expectation(counter=counter, passed=passed)


def _delisted(timing: Timing) -> Expectation:
    told_s = AT_ONCE_S + timing.again_s
    return Expectation(
        (REJECTED,), told_within_s=told_s, whole_within_s=told_s + REFUSED_AGAIN_S + AGAIN_S, ends_connection=True
    )


def _killed(timing: Timing) -> Expectation:
    return Expectation(
        told_within_s=KILLED_S, whole_within_s=RESTART_S + timing.again_s, ends_connection=True, new_epoch=True
    )


def _hung(timing: Timing) -> Expectation:
    return Expectation(
        told_within_s=HUNG_S + WATCH_S,
        whole_within_s=HUNG_RESTART_S + RESTART_S + timing.again_s,
        ends_connection=True,
        new_epoch=True,
    )


_SINGLE: Final[dict[str, Callable[[Timing], Expectation]]] = {
    "reset": _lost(),
    "eof": _lost(),
    "close": _lost(reason="closed by the venue: 1001"),
    "delisted": _delisted,
    "refuse-502": _lost(retries=3, reason="HTTP 502"),
    "refuse-429": _lost(more_s=TOO_MANY_PAUSE_S, reason="HTTP 429"),
    "hang": _hanging,
    "mute": _mute,
    "stall": _stall,
    "no-pong": _no_pong,
    "topic-mute": _topic_mute,
    "skip": _gap("gaps", "gap: u "),
    "duplicate": _unseen("duplicates"),
    "reorder": _gap("gaps", "gap: u "),
    "restart": _unseen(passed="snapshot"),
    "restart-delta": _gap("resyncs", "u 1"),
    "renew": _unseen(passed="snapshot"),
    "lower": _unseen(passed="snapshot"),
    "empty": _unseen(passed="snapshot"),
    "one-sided": _unseen(passed="snapshot"),
    "unknown-delete": _unseen(),
    "garbage": _unseen("unparsed"),
    "unknown-topic": _unseen("unexpected"),
    "extra-fields": _unseen(passed="fields"),
    "fragment": _unseen(),
    "split": _unseen(),
    "slow-line": _unseen(),
    "no-ack": _lost(more_s=UNANSWERED_S),
    "late-ack": _lost(more_s=1.5 * LATE_ACK_S),
    "abort-before-ack": _lost(retries=2),
    "abort-after-ack": _lost(retries=2),
    "no-auth-answer": _lost(retries=2, more_s=AUTH_TIMEOUT_S, reason="no answer to auth"),
    "abort-mid-frame": _lost(),
    "worker-killed": _killed,
    "worker-hung": _hung,
    "late-joiner": lambda _timing: Expectation(told_within_s=JOIN_S),
}
"""With one line."""
