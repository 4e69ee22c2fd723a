"""Faults that happen at once: sockets that end, books that jump, a venue that goes away (dossier 9.5)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from feedhandler.bybit.products import STATUS_TOPIC
from feedhandler.sim.books import Book
from feedhandler.sim.faults import BOOK, KINDS, SOCKET, VENUE, Fault, FaultError
from feedhandler.sim.publication import MS
from feedhandler.sim.tickers import PlatformStatus
from feedhandler.sim.venue import STATUS

if TYPE_CHECKING:
    from feedhandler.sim.connection import Connection
    from feedhandler.sim.server import Server


def strike(server: "Server", fault: Fault) -> dict[str, Any]:
    """Let a fault happen now, or switch it on; return what was done."""
    where = KINDS[fault.kind].where
    if where == SOCKET:
        return _sockets(server, fault)
    if where == BOOK:
        return _books(server, fault)
    if where == VENUE:
        return _VENUE[fault.kind](server, fault)
    server.faults.switch_on(fault)
    return {"on": describe(fault)}


def describe(fault: Fault) -> dict[str, Any]:
    """Return a fault as its page shows it."""
    return {
        "id": fault.id,
        "kind": fault.kind,
        "product": fault.product,
        "connection": fault.connection,
        "topic": fault.topic,
        "probability": fault.probability,
        "count": fault.count,
        "each": fault.each,
        "seconds": fault.seconds,
        "hits": fault.hits,
    } | fault.parameters


def _sockets(server: "Server", fault: Fault) -> dict[str, Any]:
    hit = []
    for connection in list(server.connections.values()):
        is_concerned = fault.matches(connection.product, connection.number, "") and (
            fault.topic is None
            or any(fault.matches(connection.product, connection.number, topic) for topic in connection.session.topics)
        )
        if is_concerned:
            hit.append(connection.number)
            _end(connection, fault)
    return {"hit": hit}


def _end(connection: "Connection", fault: Fault) -> None:
    if fault.kind == "reset":
        connection.reset()
    elif fault.kind == "eof":
        connection.abort()
    else:
        connection.close(int(fault.number("code")), fault.parameters["reason"])


def _books(server: "Server", fault: Fault) -> dict[str, Any]:
    """Change books as published: every subscriber sees it, for the update ids are common to all."""
    now_ns = server.now_ns
    hit = []
    for publication in server.subscribed():
        if isinstance(publication, Book) and fault.matches(
            publication.product, fault.connection or 0, publication.topic
        ):
            hit.append(f"{publication.product}.{publication.topic}")
            for payload in _jump(publication, fault, now_ns):
                server.broadcast(publication, payload)
    return {"hit": hit}


def _jump(book: Book, fault: Fault, now_ns: int) -> list[bytes]:
    if fault.kind == "restart":
        return book.restart(now_ns)
    if fault.kind == "restart_delta":
        book.recount()
        return []
    if fault.kind == "lower":
        return book.restart(now_ns, max(2, book.update_id - int(fault.number("by"))))
    if fault.kind == "empty":
        return book.blank(now_ns, keeps_asks=False)
    if fault.kind == "one_sided":
        return book.blank(now_ns, keeps_asks=True)
    return book.renew(now_ns)


def _delist(server: "Server", fault: Fault) -> dict[str, Any]:
    symbol = fault.parameters["symbol"]
    if not symbol or fault.product is None:
        raise FaultError("delist needs product and symbol")
    server.exchange.delisted.add((fault.product, symbol))
    quiet = [
        publication
        for publication in server.subscribed()
        if publication.product == fault.product and publication.topic.endswith(f".{symbol}")
    ]
    for publication in quiet:
        server.exchange.deactivate(publication, server.now_ns)
    return {"quiet": [publication.topic for publication in quiet]}


def _relist(server: "Server", fault: Fault) -> dict[str, Any]:
    symbol = fault.parameters["symbol"]
    server.exchange.delisted -= {key for key in server.exchange.delisted if symbol in ("", key[1])}
    return {"delisted": sorted(".".join(key) for key in server.exchange.delisted)}


def _maintenance(server: "Server", fault: Fault) -> dict[str, Any]:
    now_ns = server.now_ns
    status = server.exchange.activate(STATUS, STATUS_TOPIC, now_ns)
    if isinstance(status, PlatformStatus):
        begin_ms = now_ns // MS + int(fault.number("after_s") * 1000)
        server.broadcast(status, status.announce(now_ns, "ongoing", begin_ms, begin_ms + 10_000))
    hit = [connection for connection in server.connections.values() if connection.product != STATUS]
    for connection in hit:
        server.loop.call_later(fault.number("after_s"), connection.reset)
    return {"hit": [connection.number for connection in hit]}


_VENUE: Final[dict[str, Callable[["Server", Fault], dict[str, Any]]]] = {
    "delist": _delist,
    "relist": _relist,
    "maintenance": _maintenance,
}
