"""The simulator's own HTTP pages, on the same port: ``GET /sim/stats`` and the switches tests use.

=====================  ==================================================================================
``/sim/stats``         what clients did: connections, requests, refusals, limits broken
``/sim/settings``      how the venue behaves where the dossier leaves it open; ``?name=value`` changes it
``/sim/close``         close sockets with a close frame; see ``/sim/faults`` for the choice of whose
=====================  ==================================================================================
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec

from feedhandler.sim.session import Settings

if TYPE_CHECKING:
    from feedhandler.sim.connection import Connection
    from feedhandler.sim.server import Server

Query = dict[str, str]


class ControlError(ValueError):
    """A query that makes no sense; the text says why."""


def answer(server: "Server", path: str, query: str) -> tuple[HTTPStatus, bytes]:
    """Return the status and JSON body of one request."""
    page = _PAGES.get(path)
    if page is None:
        return HTTPStatus.NOT_FOUND, _encode({"error": f"no such page; there are {', '.join(_PAGES)}"})
    try:
        return HTTPStatus.OK, _encode(page(server, dict(parse_qsl(query, keep_blank_values=True))))
    except ControlError as error:
        return HTTPStatus.BAD_REQUEST, _encode({"error": str(error)})


def stats(server: "Server", query: Query) -> dict[str, Any]:
    """Describe every open connection, and totals since the start."""
    _known(query)
    now_s = server.loop.time()
    return {
        "connections": [
            {
                "id": connection.number,
                "conn_id": connection.session.conn_id,
                "product": connection.product,
                "topics": list(connection.session.topics),
                "args_characters": connection.session.args_characters,
                "requests": connection.session.requests,
                "requests_by_op": dict(connection.session.counts),
                "largest_request_args": connection.session.largest_request_args,
                "frames_sent": connection.frames_sent,
                "pings": connection.pings,
                "last_ping_s": round(now_s - connection.last_ping_s, 3) if connection.pings else None,
                "is_paused": connection.is_paused,
                "replays": [
                    {"topics": len(cursor.topics), "frames": len(cursor), "sent": cursor.sent, "done": cursor.is_done}
                    for cursor in connection.cursors
                ],
            }
            for connection in server.connections.values()
        ],
        "connection_attempts": server.counts["connection_attempts"],
        "most_attempts_in_5_min": server.most_attempts,
        "sockets_accepted": server.gate.accepted if server.gate is not None else 0,
        "refused_requests": dict(server.refused),
        "violations": dict(server.violations),
        "totals": dict(server.counts),
        "replay": {
            "frames": len(server.recording.frames),
            "topics": len(server.recording.known),
            "skipped_lines": server.recording.skipped_lines,
        },
    }


def settings(server: "Server", query: Query) -> dict[str, Any]:
    """Show the settings; change those that the query names."""
    try:
        changed = msgspec.convert(msgspec.structs.asdict(server.settings) | query, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise ControlError(str(error)) from None
    _known(query, *Settings.__struct_fields__)
    for name in query:
        setattr(server.settings, name, getattr(changed, name))
    return msgspec.structs.asdict(server.settings)


def close(server: "Server", query: Query) -> dict[str, Any]:
    """Close sockets with a close frame: all, one product's, or one."""
    _known(query, "connection", "product", "code", "reason")
    chosen = choose(server, query)
    code = number(query, "code", 1000)
    for connection in chosen:
        connection.close(int(code), query.get("reason", ""))
    return {"closed": [connection.number for connection in chosen]}


def choose(server: "Server", query: Query) -> "list[Connection]":
    """Return the connections that ``connection`` (its id) and ``product`` of a query leave."""
    wanted = query.get("connection")
    return [
        connection
        for connection in server.connections.values()
        if wanted in (None, str(connection.number)) and query.get("product") in (None, connection.product)
    ]


def number(query: Query, name: str, default: float) -> float:
    """Return a number of a query."""
    try:
        return float(query.get(name, default))
    except ValueError:
        raise ControlError(f'{name} is not a number: "{query[name]}"') from None


def _known(query: Query, *names: str) -> None:
    for name in query:
        if name not in names:
            raise ControlError(f'"{name}" means nothing here; known are {", ".join(names) or "no parameters"}')


def _encode(body: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(body), indent=1) + b"\n"


_PAGES: Final[dict[str, Callable[["Server", Query], dict[str, Any]]]] = {
    "/sim/stats": stats,
    "/sim/settings": settings,
    "/sim/close": close,
}
