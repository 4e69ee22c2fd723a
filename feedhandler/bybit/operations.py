"""Bybit's operations: the requests we send, and what the venue answers (dossier 2.2 and 3)."""

import re
from typing import Final

import msgspec

PING: Final = b'{"op":"ping"}'

SUBSCRIBE: Final = "subscribe"
UNSUBSCRIBE: Final = "unsubscribe"
AUTH: Final = "auth"


class Request(msgspec.Struct, frozen=True):
    """A request as it goes out."""

    req_id: str
    op: str
    args: list[str]

    def encode(self) -> bytes:
        """Return the text frame's payload."""
        return msgspec.json.encode(self)


class Pong(msgspec.Struct, frozen=True):
    """The answer to a ping, whichever of the five shapes it had (dossier 2.2)."""

    venue_time_ms: int | None = None
    """The venue's clock, where the shape carries it."""


class Acknowledgement(msgspec.Struct, frozen=True):
    """The answer to a request, whichever of the four shapes it had (dossier 3.2 to 3.4)."""

    op: str
    """``""`` where the shape carries none (option, spread)."""
    success: bool
    req_id: str
    """``""`` where none was echoed."""
    text: str
    """The venue's words, the JSON encoder's escapes (``\\u003e``) undone."""
    succeeded: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    """Topics by outcome, where the shape carries them (option, spread)."""


Reply = Pong | Acknowledgement


class _Lists(msgspec.Struct, rename="camel"):
    # Go writes an empty list that nobody made as null; the recordings show [] only.
    success_topics: tuple[str, ...] | None = None
    fail_topics: tuple[str, ...] | None = None


class _Reply(msgspec.Struct):
    """The union of every shape: each key optional, so that one decoder reads all."""

    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    req_id: str | int = ""
    type: str = ""
    args: list[str | int] = []
    data: _Lists | list[str | int] | None = None
    retCode: int | None = None  # noqa: N815 - the venue's name
    retMsg: str = ""  # noqa: N815 - the venue's name
    reqId: str = ""  # noqa: N815 - the venue's name


_decode: Final = msgspec.json.Decoder(_Reply).decode
_MAX_TIME_DIGITS: Final = 18
"""More digits are no time in ms (today's have 13), and Python refuses to read numbers of thousands of digits."""
_NAMED: Final = re.compile(r"topic:\s*(?P<after>\S+)|\[(?P<bracket>[^\]]+)\]")


def parse_reply(payload: bytes) -> Reply | None:
    """Read a control message; None where it is neither JSON nor any answer we know."""
    try:
        reply = _decode(payload)
    except (ValueError, RecursionError):  # DecodeError, ValidationError and UnicodeDecodeError; nesting without end
        return None
    if reply.op == "pong" or (reply.op == "ping" and reply.ret_msg == "pong"):
        stamps = reply.args or (reply.data if isinstance(reply.data, list) else [])
        return Pong(_time_ms(stamps[0]) if stamps else None)
    req_id = str(reply.req_id)
    if reply.type == "COMMAND_RESP" and isinstance(reply.data, _Lists):
        return Acknowledgement(
            reply.op,
            reply.success is not False,
            req_id,
            reply.ret_msg,
            reply.data.success_topics or (),
            reply.data.fail_topics or (),
        )
    if reply.success is not None:
        return Acknowledgement(reply.op, reply.success, req_id, reply.ret_msg)
    if reply.retCode is not None:
        return Acknowledgement(reply.op, reply.retCode == 0, reply.reqId or req_id, reply.retMsg)
    return None


def _time_ms(stamp: str | int) -> int | None:
    text = str(stamp)
    return int(text) if text.isdecimal() and len(text) <= _MAX_TIME_DIGITS else None


def named_topic(text: str) -> str:
    """Return the topic that a refusal names, or ``""``.

    ``error:handler not found,topic:orderbook.50.NOPEUSDT`` on futures, ``Invalid symbol :[orderbook.50.NOPEUSDT]``
    on spot (dossier 3.4).
    """
    match = _NAMED.search(text)
    return (match["after"] or match["bracket"]).strip() if match else ""


def already_subscribed(text: str) -> bool:
    """Say whether a refusal only means that the topic is subscribed already: the state is as wanted."""
    return "already subscribed" in text.lower()
