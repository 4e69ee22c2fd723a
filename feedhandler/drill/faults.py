"""Every fault of the drill, as data: what is done to whom, and how the venue is asked for it. Pure.

A strike is one query of the simulated Bybit's ``/sim/fault``; ``aim`` names which of ``product``, ``connection`` and
``topic`` of the target it is given.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

# What a fault needs of the configuration.
CONNECTION: Final = "connection"
LEVEL_1: Final = "level 1"
"""A connection that carries a level-1 book, subscribed or as a canary: the venue owes it a message every 3 s."""
ACCOUNT: Final = "account"
"""A connection that has to sign in."""
BOOK: Final = "book"
SYMBOL: Final = "symbol"
WORKER: Final = "worker"
EVERYTHING: Final = "everything"

# Whom it concerns.
LINE: Final = "line"
"""One connection: of two lines only one."""
VENUE: Final = "venue"
"""What the venue publishes, on every connection."""
PROCESS: Final = "process"
"""A worker itself, or a newcomer."""

# When it is switched off.
SPENT: Final = "spent"
SEEN: Final = "seen"
WHOLE: Final = "whole"


class Strike(msgspec.Struct, frozen=True):
    """One query."""

    kind: str
    aim: tuple[str, ...] = ("connection",)
    parameters: Mapping[str, str] = {}


class Fault(msgspec.Struct, frozen=True):
    """One fault."""

    name: str
    text: str
    needs: str
    strikes: tuple[Strike, ...] = ()
    hits: str = LINE
    until: str = SPENT
    """When what is switched on is switched off: by itself, when it was seen, or when all is whole again."""
    lasts_s: float = 0.0
    """How long it is left on at least where it is not to be seen."""


_RESET: Final = Strike("reset")
_ON_BOOK: Final = ("product", "topic")
_GARBAGE: Final = ("invalid", "truncated", "binary", "empty", "list", "latin1")


def _request(name: str, text: str, kind: str, parameters: Mapping[str, str], until: str = SPENT) -> Fault:
    """Make a fault of the requests that follow a new connection."""
    return Fault(name, text, CONNECTION, (Strike(kind, ("product",), parameters), _RESET), until=until)


def _book(name: str, text: str, kind: str, parameters: Mapping[str, str]) -> Fault:
    """Make a fault of one topic on one connection."""
    return Fault(name, text, BOOK, (Strike(kind, ("connection", "topic"), parameters),))


def _venue(name: str, text: str, kind: str) -> Fault:
    """Make a fault of a book as it is published."""
    return Fault(name, text, BOOK, (Strike(kind, _ON_BOOK),), hits=VENUE)


_ALL: Final = (
    Fault("reset", "the connection is reset", CONNECTION, (_RESET,)),
    Fault("eof", "the connection ends without a word", CONNECTION, (Strike("eof"),)),
    Fault(
        "close",
        "the venue closes the connection",
        CONNECTION,
        (Strike("close", parameters={"code": "1001", "reason": "going away"}),),
    ),
    Fault(
        "delisted",
        "a symbol is taken off the list, then listed again",
        SYMBOL,
        (Strike("delist", ("product", "symbol")), _RESET),
        hits=VENUE,
        until=SEEN,
    ),
    _request("refuse-502", "a reset, and two handshakes are refused", "refuse", {"status": "502", "count": "2"}),
    _request("refuse-429", "a reset, and a handshake is one too many", "refuse", {"status": "429", "count": "1"}),
    _request("hang", "a reset, and a handshake is never answered", "refuse", {"status": "hang", "count": "1"}),
    Fault("mute", "no data, but pongs", LEVEL_1, (Strike("mute"),), until=SEEN),
    Fault("stall", "no data, no pongs, nothing", LEVEL_1, (Strike("stall"),), until=SEEN),
    Fault("no-pong", "data, but no pongs", CONNECTION, (Strike("nopong"),), until=SEEN),
    Fault(
        "topic-mute",
        "one topic falls silent until it is subscribed anew",
        BOOK,
        (Strike("mute", ("connection", "topic"), {"heals": "resubscribe"}),),
        until=WHOLE,
        lasts_s=4.0,
    ),
    _book("skip", "two updates of a book are lost", "skip", {"count": "2"}),
    _book("duplicate", "updates of a book come twice", "duplicate", {"count": "3"}),
    _book("reorder", "an update of a book comes after the next", "reorder", {"count": "1"}),
    _venue("restart", "a book begins again with a snapshot, u = 1", "restart"),
    _venue("restart-delta", "a book begins again with a delta, u = 1", "restart_delta"),
    _venue("renew", "a snapshot out of turn", "renew"),
    _venue("lower", "a snapshot with a lower u", "lower"),
    _venue("empty", "an empty snapshot", "empty"),
    _venue("one-sided", "a snapshot without bids", "one_sided"),
    Fault(
        "unknown-delete",
        "a level is removed that was never there",
        BOOK,
        (Strike("unknown_delete", ("connection", "topic"), {"count": "2"}),),
    ),
    Fault(
        "garbage",
        "frames without sense: invalid, cut, binary, empty, a list, Latin-1",
        BOOK,
        tuple(Strike("garbage", ("connection", "topic"), {"what": what}) for what in _GARBAGE),
    ),
    Fault(
        "unknown-topic",
        "data of a topic that nobody asked for",
        CONNECTION,
        (Strike("unknown_topic", parameters={"count": "3"}),),
    ),
    Fault(
        "extra-fields",
        "fields that the venue never had",
        BOOK,
        (Strike("extra_fields", ("connection", "topic"), {"count": "5"}),),
    ),
    Fault("fragment", "messages in several frames", CONNECTION, (Strike("fragment", parameters={"count": "20"}),)),
    Fault("split", "frames in TCP segments of 1 byte", CONNECTION, (Strike("split", parameters={"count": "5"}),)),
    Fault(
        "slow-line",
        "data 200 ms late",
        CONNECTION,
        (Strike("delay", parameters={"ms": "200"}),),
        until=SEEN,
        lasts_s=2.0,
    ),
    _request("no-ack", "a reset, and a subscription is not acknowledged", "noack", {"op": "subscribe", "count": "1"}),
    _request(
        "late-ack", "a reset, and acknowledgements come 2 s late", "lateack", {"ms": "2000", "count": "4"}, until=WHOLE
    ),
    _request("abort-before-ack", "a reset, and an end instead of an acknowledgement", "abort_before_ack", {}),
    _request("abort-after-ack", "a reset, and an end after an acknowledgement", "abort_after_ack", {}),
    Fault(
        "no-auth-answer",
        "a reset, and an account's sign-in is never answered",
        ACCOUNT,
        (Strike("noauth", ("product",), {"count": "1"}), _RESET),
    ),
    Fault("abort-mid-frame", "the connection ends inside a frame", CONNECTION, (Strike("abort_mid_frame"),)),
    Fault("worker-killed", "a worker is killed (SIGKILL)", WORKER, hits=PROCESS),
    Fault("worker-hung", "a worker hangs (SIGSTOP)", WORKER, hits=PROCESS),
    Fault("late-joiner", "a strategy joins late", EVERYTHING, hits=PROCESS),
)

FAULTS: Final = {fault.name: fault for fault in _ALL}
"""In the order in which they are drilled."""
