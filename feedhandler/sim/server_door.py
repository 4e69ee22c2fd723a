"""Handshakes of the simulated Bybit: who is let in, who is refused, and what was asked of the control pages."""

import random
import uuid
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from picows import WSListener, WSTransport, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener

from feedhandler.sim import control
from feedhandler.sim.connection import Connection, reset
from feedhandler.sim.session import Session
from feedhandler.sim.signed import PrivateSession, TradeSession, active_time_s
from feedhandler.sim.venue import PATHS, PRIVATE, TRADE

if TYPE_CHECKING:
    from feedhandler.sim.server import Server

ATTEMPTS_WINDOW_S: Final = 300.0
ATTEMPTS_LIMIT: Final = 500
"""New connections in 5 minutes (dossier 2.4)."""

_ID_FIRST: Final = "0123456789abcdefghijklmnopqrstuv"
_ID_LAST: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class Unanswered(WSUpgradeResponse):
    """The answer to a handshake that gets none: picows hands us the socket without having sent a byte."""

    @classmethod
    def make(cls) -> "Unanswered":
        """Return one."""
        usual = WSUpgradeResponse.create_101_response()
        response = cls()
        response.version, response.status = usual.version, usual.status
        response.headers, response.body = usual.headers, usual.body
        return response

    def to_bytes(self) -> bytearray:
        """Return nothing."""
        return bytearray()


class Stranger(WSListener):
    """A client that connected and is not let in: reset at once, or left without an answer."""

    def __init__(self, *, is_reset: bool) -> None:
        self._is_reset = is_reset

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Reset it, or leave it waiting."""
        if self._is_reset:
            reset(transport)


class Door:
    """Answers every HTTP request that reaches the port."""

    def __init__(self, server: "Server", seed: int) -> None:
        self._server = server
        self._chance = random.Random(f"{seed} door")  # noqa: S311 - lifelike, not secret
        self._numbers = 0
        self._attempts_s: deque[float] = deque()
        self.most_attempts = 0
        """Handshakes within 5 minutes, at most."""

    def answer(self, request: WSUpgradeRequest) -> Connection | WSUpgradeResponseWithListener | None:
        """Return the listener of a client that is let in, another answer, or None for 404."""
        path, _, query = request.path.decode("latin-1").partition("?")
        if path.startswith("/sim/"):
            status, body = control.answer(self._server, path, query)
            headers = {"Content-Type": "application/json"}
            if status == HTTPStatus.OK:
                return _without_listener(WSUpgradeResponse.create_ok_response(body, headers))
            return _without_listener(WSUpgradeResponse.create_error_response(status, body, headers))
        product = PATHS.get(path)
        self._count_attempt()
        if product is None:
            self._server.counts["unknown_paths"] += 1
            return None
        self._numbers += 1
        if refusal := self._refusal(product):
            self._server.counts["handshakes_refused"] += 1
            if refusal in ("reset", "hang"):
                return WSUpgradeResponseWithListener(Unanswered.make(), Stranger(is_reset=refusal == "reset"))
            return _without_listener(WSUpgradeResponse.create_error_response(int(refusal), b"refused"))
        connection = Connection(self._server, self._numbers, self._session(product, self._numbers))
        connection.active_s = active_time_s(query)
        return connection

    def _session(self, product: str, number: int) -> Session:
        server = self._server
        exchange, settings, recorded = server.exchange, server.settings, server.recording.known

        def words_of(kind: str) -> str:
            fault = server.faults.request(kind, product, number, server.loop.time())
            return fault.parameters["text"] if fault is not None else ""

        def veto() -> str:
            return words_of("reject")

        def auth_veto() -> str:
            return words_of("reject_auth")

        if product == PRIVATE:
            return PrivateSession(
                self._conn_id(), exchange, settings, recorded, veto, keys=server.keys, auth_veto=auth_veto
            )
        if product == TRADE:
            return TradeSession(self._conn_id(), exchange, settings, keys=server.keys, auth_veto=auth_veto)
        return Session(product, self._conn_id(), exchange, settings, recorded, veto)

    def _refusal(self, product: str) -> str:
        """Return the HTTP status that this handshake is refused with, ``reset`` or ``hang``; ``""`` = let in."""
        faults, now_s = self._server.faults, self._server.loop.time()
        for fault in faults.handshakes:
            if not fault.matches(product, self._numbers, ""):
                continue
            if fault.kind == "limit":
                since_s = now_s - fault.number("window_s")
                if sum(1 for attempt_s in self._attempts_s if attempt_s >= since_s) <= fault.number("attempts"):
                    continue
            if faults.hits(fault, self._numbers, now_s):
                return fault.parameters["status"]
        return ""

    def _count_attempt(self) -> None:
        server, attempts_s = self._server, self._attempts_s
        now_s = server.loop.time()
        server.counts["connection_attempts"] += 1
        attempts_s.append(now_s)
        while attempts_s[0] < now_s - ATTEMPTS_WINDOW_S:
            attempts_s.popleft()
        self.most_attempts = max(self.most_attempts, len(attempts_s))
        if len(attempts_s) > ATTEMPTS_LIMIT:
            server.violations["connection_attempts"] += 1

    def _conn_id(self) -> str:
        return _CONN_IDS[self._server.settings.conn_id_form](self._chance)


def _xid(chance: random.Random) -> str:
    first = "".join(chance.choices(_ID_FIRST, k=20))
    return f"{first}-{''.join(chance.choices(_ID_LAST, k=chance.randint(1, 5)))}"


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _hex(chance: random.Random) -> str:
    return "-".join(f"{chance.getrandbits(4 * digits):0{digits}x}" for digits in _HEX_DIGITS)


_HEX_DIGITS: Final = (16, 8, 8, 16, 8)
"""Digits of each part. The recorded id breaks off after the third."""
_CONN_IDS: Final = {"xid": _xid, "uuid": _uuid, "hex": _hex}


def _without_listener(response: WSUpgradeResponse) -> WSUpgradeResponseWithListener:
    return WSUpgradeResponseWithListener(response, None)
