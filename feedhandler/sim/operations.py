"""What the simulated Bybit answers to requests: texts, key orders and rules per product (dossier 2.2, 3.2 to 3.4). Pure."""

import re
from typing import Any, Final

import msgspec

from feedhandler.sim import authentication
from feedhandler.sim.publication import MS
from feedhandler.sim.venue import PRIVATE, TRADE

CHARACTERS_LIMIT: Final = 21_000
"""Characters of the args arrays of one connection (dossier 2.4)."""
SPOT_ARGS_LIMIT: Final = 10
"""Topics in one request on spot."""
OPTION_TOPICS_LIMIT: Final = 2_000
"""Topics of one option connection."""

BY_TOPIC: Final = ("option", "spread")
"""Products whose acknowledgements list topics and carry no ``op``."""

AUTH: Final = "auth"
ARGS_SIZE: Final = "args size >10"
INVALID_OP: Final = "error:invalid op"
DEFAULT_CHARACTERS_TEXT: Final = "error:args characters exceed 21000"
"""Nobody has recorded the venue's words for this breach (dossier 12, open question 1)."""
ALREADY_AUTHORIZED: Final = "Repeat auth"
NO_SUCH_OP: Final = "op type is not found"


class Request(msgspec.Struct):
    """A request as it came in."""

    op: str
    req_id: str | None
    """None = none was sent. A number is echoed as a string (dossier 2.2)."""
    args: list[str] | None
    """None = absent, or not a list of strings."""


class Undecodable(ValueError):  # noqa: N818 - a finding about the client, not an error of ours
    """A frame that is no JSON object; the text is the venue's."""


def parse(payload: bytes, id_key: str = "req_id") -> Request:
    """Read a request; raise `Undecodable` where it is no JSON object. ``id_key`` is what its own id is called."""
    try:
        fields: Any = msgspec.json.decode(payload)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise Undecodable(undecodable_text(payload))
    op, req_id, args = fields.get("op"), fields.get(id_key), fields.get("args")
    if isinstance(req_id, int | float) and not isinstance(req_id, bool):
        req_id = str(req_id)
    return Request(
        op if isinstance(op, str) else "",
        req_id if isinstance(req_id, str) else None,
        args if isinstance(args, list) and all(isinstance(arg, str) for arg in args) else None,
    )


def undecodable_text(payload: bytes) -> str:
    """Return the venue's words for a frame that is not JSON: those of its decoder, with the text around the fault."""
    text = payload.decode("utf-8", "replace")
    around = text[:100]
    found = text.lstrip()[:1]
    position = len(text) - len(text.lstrip()) + 1 if found else 0
    if not found:
        return f"Failed to decode incoming data:readObjectStart: expect {{ or n, but found \0, error found in #0 byte of ...|{around}|..., bigger context ...|{around}|..."
    if found == "{":
        return f"Failed to decode incoming data:readObjectEnd: unexpected end or value, error found in #{len(text.encode())} byte of ...|{text[-10:]}|..., bigger context ...|{around}|..."
    return (
        f"Failed to decode incoming data:readObjectStart: expect {{ or n, but found {found}, error found in "
        f"#{position} byte of ...|{text[:20]}|..., bigger context ...|{around}|..."
    )


def pong(product: str, conn_id: str, req_id: str | None, now_ns: int) -> bytes:
    """Answer a ping (dossier 2.2): every product has its own shape."""
    if product in BY_TOPIC:
        return f'{{"args":["{now_ns // MS}"],"conn_id":"{conn_id}","op":"pong"}}'.encode()
    if product == PRIVATE:
        return f'{{{_own_id("req_id", req_id)}"op":"pong","args":["{now_ns // MS}"],"conn_id":"{conn_id}"}}'.encode()
    if product == TRADE:
        return (
            f'{{{_own_id("reqId", req_id)}"retCode":0,"retMsg":"OK","op":"pong","data":["{now_ns // MS}"],'
            f'"connId":"{conn_id}"}}'
        ).encode()
    return _reply(product, is_success=True, text="pong", conn_id=conn_id, req_id=req_id, op="ping")


def acknowledge(product: str, op: str, conn_id: str, req_id: str | None) -> bytes:
    """Answer a request that was done, on products that acknowledge as a whole (dossier 3.2, 3.3)."""
    return _reply(product, is_success=True, text=op if product == "spot" else "", conn_id=conn_id, req_id=req_id, op=op)


def refuse(product: str, op: str, text: str, conn_id: str, req_id: str | None) -> bytes:
    """Answer a request that was not done (dossier 3.4)."""
    return _reply(product, is_success=False, text=text, conn_id=conn_id, req_id=req_id, op=op)


def command_response(conn_id: str, succeeded: list[str], failed: list[str]) -> bytes:
    """Answer a request on products that acknowledge by topic (dossier 3.2)."""
    return (
        f'{{"success":true,"conn_id":"{conn_id}","data":{{"failTopics":[{_strings(failed)}],'
        f'"successTopics":[{_strings(succeeded)}]}},"type":"COMMAND_RESP"}}'
    ).encode()


def handler_not_found(topic: str) -> str:
    """Return the words for a topic that the futures sockets do not serve."""
    return f"error:handler not found,topic:{topic}"


def invalid_symbol(topic: str) -> str:
    """Return the words for a symbol that spot does not list."""
    return f"Invalid symbol :[{topic}]"


def already_subscribed(topic: str) -> str:
    """Return the words for a topic that this connection has already."""
    return f"error:already subscribed,topic:{topic}"


def mixed_topics(topic: str) -> str:
    """Return words for a topic of one category beside the same for all: refused (dossier 6), in words of our own."""
    return f"error:all in one and categorised topics together,topic:{topic}"


def _reply(product: str, *, is_success: bool, text: str, conn_id: str, req_id: str | None, op: str) -> bytes:
    if product == PRIVATE:
        return (
            f'{{{_own_id("req_id", req_id)}"success":{"true" if is_success else "false"},"ret_msg":{go_string(text)},'
            f'"op":{go_string(op)},"conn_id":"{conn_id}"}}'
        ).encode()
    if product == TRADE:
        return _trade_reply(is_success=is_success, text=text, conn_id=conn_id, req_id=req_id, op=op)
    # Spot leaves the key out if none was sent, the others say "".
    echoed = "" if req_id is None and product != "spot" else req_id
    middle = "" if echoed is None else f'"req_id":{go_string(echoed)},'
    return (
        f'{{"success":{"true" if is_success else "false"},"ret_msg":{go_string(text)},"conn_id":"{conn_id}",'
        f'{middle}"op":{go_string(op)}}}'
    ).encode()


_TRADE_CODES: Final = {
    INVALID_OP: (10404, NO_SUCH_OP),
    authentication.UNKNOWN_KEY: (10004, "Invalid sign"),
    authentication.NOT_AUTHORIZED: (10004, authentication.NOT_AUTHORIZED),
    ALREADY_AUTHORIZED: (20001, ALREADY_AUTHORIZED),
}
"""Codes of the order socket by the texts of the private one (dossier 3.1, 7); all others are 10001."""


def _trade_reply(*, is_success: bool, text: str, conn_id: str, req_id: str | None, op: str) -> bytes:
    code, words = (0, "OK") if is_success else _TRADE_CODES.get(text, (10001, text))
    # Orders' answers have data, and so do those to orders that are refused (dossier 7).
    data = '"data":{},"retExtInfo":{},' if op.startswith("order.") else ""
    return (
        f'{{{_own_id("reqId", req_id)}"retCode":{code},"retMsg":{go_string(words)},"op":{go_string(op)},'
        f'{data}"connId":"{conn_id}"}}'
    ).encode()


def _own_id(name: str, req_id: str | None) -> str:
    """Return a request's own id as it is echoed in front; nothing if none was sent."""
    return "" if req_id is None else f'"{name}":{go_string(req_id)},'


def _strings(texts: list[str]) -> str:
    return ",".join(go_string(text) for text in texts)


_GO_ESCAPED: Final = re.compile("[<>&\u2028\u2029]")


def go_string(text: str) -> str:
    r"""Return a JSON string as the venue's encoder writes it: ``<``, ``>`` and ``&`` as ``\u003c`` and so on."""
    return _GO_ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", msgspec.json.encode(text).decode())
