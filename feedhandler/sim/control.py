"""The simulator's own HTTP pages, on the same port: ``GET /sim/stats`` and the switches tests use.

=====================  ==================================================================================
``/sim/stats``         what clients did: connections, requests, refusals, limits broken
``/sim/settings``      how the venue behaves where the dossier leaves it open; ``?name=value`` changes it
``/sim/faults``        every fault there is, and those switched on
``/sim/fault``         switch one on or off: ``?kind=skip&topic=orderbook.50.BTCUSDT&count=1``
``/sim/book``          the ground truth: ``?product=linear&topic=orderbook.50.BTCUSDT&u=123`` (with ``--truth``)
``/sim/close``         the same as ``/sim/fault?kind=close``
``/sim/account``       the account's state; ``?do=fill&symbol=BTCUSDT`` (place, amend, fill, cancel) has it act now
=====================  ==================================================================================
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import msgspec

from feedhandler.sim import strikes
from feedhandler.sim.account import AccountError
from feedhandler.sim.books import Book
from feedhandler.sim.faults import KINDS, FaultError
from feedhandler.sim.session import Settings
from feedhandler.sim.strikes import describe

if TYPE_CHECKING:
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
                "is_authorized": connection.session.is_authorized,
                "replays": [
                    {"topics": len(cursor.topics), "frames": len(cursor), "sent": cursor.sent, "done": cursor.is_done}
                    for cursor in connection.cursors
                ],
            }
            for connection in server.connections.values()
        ],
        "connection_attempts": server.counts["connection_attempts"],
        "most_attempts_in_5_min": server.door.most_attempts,
        "faults": len(server.faults.active),
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
    return fault(server, query | {"kind": "close"})


def fault(server: "Server", query: Query) -> dict[str, Any]:
    """Switch a fault on; ``kind=off`` switches all off, or one by its ``id``."""
    faults = server.faults
    if query.get("kind") == "off":
        _known(query, "kind", "id")
        chosen = query.get("id")
        if chosen is not None and not chosen.isdecimal():
            raise ControlError(f'id is a number, not "{chosen}"')
        return {"off": [ended.id for ended in faults.switch_off(None if chosen is None else int(chosen))]}
    try:
        return strikes.strike(server, faults.build(query, server.loop.time()))
    except FaultError as error:
        raise ControlError(str(error)) from None


def book(server: "Server", query: Query) -> dict[str, Any]:
    """Return the exact book of a topic at one update id: what every client should have arrived at."""
    _known(query, "product", "topic", "u")
    found = server.exchange.find(query.get("product", ""), query.get("topic", ""))
    if not isinstance(found, Book):
        raise ControlError("no such book was ever subscribed; say product and topic")
    if not found.histories:
        raise ControlError("the truth is remembered only with --truth")
    update_id = query.get("u", str(found.update_id))
    truth = found.truth(int(update_id)) if update_id.isdecimal() else None
    if truth is None:
        known = ", ".join(f"{low} to {high}" for low, high in (history.known for history in found.histories))
        raise ControlError(f"the book at u={update_id} is not known; known are {known}")
    decoded: dict[str, Any] = msgspec.json.decode(truth)
    return decoded


def account(server: "Server", query: Query) -> dict[str, Any]:
    """Return what the account has and where its orders are; with ``do``, have it act and return what it led to.

    ``symbol`` (BTCUSDT) and ``category`` (linear or spot) say where; see `Trader.told` for the rest.
    """
    _known(query, "do", "symbol", "category", "side", "order", "part", "maker")
    if "do" not in query:
        return server.exchange.account.state()
    category, symbol = query.get("category", "linear"), query.get("symbol", "BTCUSDT")
    if category not in ("linear", "spot") or server.exchange.instrument(category, symbol) is None:
        raise ControlError(f'the account trades on linear and spot; there is no "{symbol}" on "{category}"')
    try:
        acted = server.act(query["do"], category, symbol, query)
    except AccountError as error:
        raise ControlError(str(error)) from None
    return {
        "order": acted.order.id,
        "news": [{"topic": news.family, "category": news.category, "data": news.items} for news in acted.news],
    }


def list_faults(server: "Server", query: Query) -> dict[str, Any]:
    """Describe every kind of fault, and those that are switched on."""
    _known(query)
    server.faults.expire(server.loop.time())
    return {
        "switch_on": "/sim/fault?kind=NAME with any of product, connection (its id in /sim/stats), topic (exact, or a "
        "prefix ending in *), probability, count (0 = until off), seconds, each=1 (the count for every connection), "
        "and the kind's own parameters",
        "switch_off": "/sim/fault?kind=off, with id=N for one",
        "kinds": {
            kind.name: {"hits": kind.where, "does": kind.text, "count": kind.count, "parameters": dict(kind.parameters)}
            for kind in KINDS.values()
        },
        "active": [describe(active) for active in server.faults.active.values()],
    }


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
    "/sim/fault": fault,
    "/sim/faults": list_faults,
    "/sim/book": book,
    "/sim/account": account,
}
