"""The simulated Bybit's socket side: handshakes, requests, and the exchange's messages to their subscribers."""

import asyncio
import random
import socket
import time
from collections import Counter, deque
from http import HTTPStatus
from typing import Final

from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server

from feedhandler.bybit.products import PRODUCTS
from feedhandler.sim import control
from feedhandler.sim.connection import Connection
from feedhandler.sim.exchange import Exchange
from feedhandler.sim.frames import frame
from feedhandler.sim.publication import Publication
from feedhandler.sim.replay import Cursor, Recording
from feedhandler.sim.session import Session, Settings

PATHS: Final = {product.path: product.name for product in PRODUCTS.values()}
"""Product by path; spread, status, private and trade would be further rows."""

TICK_S: Final = 0.002
"""Pauses between looks at what is due: what falls due within one is written together."""
SWEEP_S: Final = 0.25
ATTEMPTS_WINDOW_S: Final = 300.0
ATTEMPTS_LIMIT: Final = 500
"""New connections in 5 minutes (dossier 2.4)."""
CONNECTIONS_LIMIT: Final = 1000
"""Connections at one time per product (dossier 2.4)."""

_ID_FIRST: Final = "0123456789abcdefghijklmnopqrstuv"
_ID_LAST: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class Gate(socket.socket):
    """The listening socket; it counts who comes and may turn them away before any byte is exchanged."""

    accepted = 0

    def accept(self) -> tuple[socket.socket, object]:
        """Accept a connection."""
        connection, address = super().accept()
        self.accepted += 1
        return connection, address


class Server:
    """All clients of the simulated venue."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        seed: int = 1,
        settings: Settings | None = None,
        recording: Recording | None = None,
        pace: float = 1.0,
        settle_s: float = 1.0,
    ) -> None:
        """Serve ``exchange``, and ``recording`` at ``pace`` to whoever subscribes its topics."""
        self.loop = asyncio.get_running_loop()
        self.exchange = exchange
        self.settings = settings or Settings()
        self.recording = recording or Recording()
        self.connections: dict[int, Connection] = {}
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """Refused requests by the venue's words."""
        self.violations: Counter[str] = Counter()
        """Limits broken by clients, by name."""
        self.attempts: deque[float] = deque()
        """Loop times of the handshakes of the last 5 minutes."""
        self.most_attempts = 0
        self.gate: Gate | None = None
        self._pace = pace
        self._settle_s = settle_s
        self._chance = random.Random(f"{seed} server")  # noqa: S311 - lifelike, not secret
        self._numbers = 0
        self._subscribers: dict[Publication, dict[Connection, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ns = 0
        self._acceptor: asyncio.AbstractServer | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def listen(self, gate: Gate) -> None:
        """Begin to accept clients."""
        self.gate = gate
        self._acceptor = await ws_create_server(
            self._handshake, sock=gate, websocket_handshake_timeout=10, max_frame_size=4 * 1024 * 1024
        )
        self.loop.call_later(SWEEP_S, self._sweep)

    def stop(self) -> None:
        """Drop every client at once and listen no more."""
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self.connections.values()):
            connection.abort()

    # -- handshakes ---------------------------------------------------------------------------------------------------

    def _handshake(self, request: WSUpgradeRequest) -> Connection | WSUpgradeResponseWithListener | None:
        path, _, query = request.path.decode("latin-1").partition("?")
        if path.startswith("/sim/"):
            status, body = control.answer(self, path, query)
            headers = {"Content-Type": "application/json"}
            if status == HTTPStatus.OK:
                response = WSUpgradeResponse.create_ok_response(body, headers)
            else:
                response = WSUpgradeResponse.create_error_response(status, body, headers)
            return WSUpgradeResponseWithListener(response, None)
        product = PATHS.get(path)
        self._count_attempt()
        if product is None:
            self.counts["unknown_paths"] += 1
            return None
        self._numbers += 1
        session = Session(product, self._connection_id(), self.exchange, self.settings, self.recording.known)
        return Connection(self, self._numbers, session)

    def _count_attempt(self) -> None:
        now_s = self.loop.time()
        self.counts["connection_attempts"] += 1
        attempts = self.attempts
        attempts.append(now_s)
        while attempts[0] < now_s - ATTEMPTS_WINDOW_S:
            attempts.popleft()
        self.most_attempts = max(self.most_attempts, len(attempts))
        if len(attempts) > ATTEMPTS_LIMIT:
            self.violations["connection_attempts"] += 1

    def _connection_id(self) -> str:
        first = "".join(self._chance.choices(_ID_FIRST, k=20))
        return f"{first}-{''.join(self._chance.choices(_ID_LAST, k=self._chance.randint(1, 5)))}"

    # -- what connections report --------------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """Take a client in."""
        self.connections[connection.number] = connection
        self.counts["connections"] += 1
        same = sum(1 for other in self.connections.values() if other.product == connection.product)
        if same > CONNECTIONS_LIMIT:
            self.violations["connections"] += 1

    def closed(self, connection: Connection) -> None:
        """Forget a client and its subscriptions."""
        self.connections.pop(connection.number, None)
        if connection.settling is not None:
            connection.settling.cancel()
        for topic in connection.session.topics:
            self._leave(connection, topic)

    def received(self, connection: Connection, payload: bytes) -> None:
        """Answer a request."""
        session = connection.session
        outcome = session.handle(payload, time.time_ns())
        self.counts["requests"] += 1
        for limit in outcome.violations:
            self.violations[limit] += 1
        if outcome.refused:
            self.refused[outcome.refused] += 1
        for topic in outcome.removed:
            self._leave(connection, topic)
        if outcome.op == "ping":
            connection.pings += 1
            connection.last_ping_s = self.loop.time()
            connection.send(outcome.reply)
            return
        if outcome.op == "subscribe":
            self._collect_recorded(connection, outcome.added)
        if outcome.added and self._chance.random() < self.settings.snapshot_first:
            self._join(connection, outcome.added)
            outcome.added = []
        connection.answers.append(outcome)
        delay_s = self.settings.ack_delay_ms / 1000 * (0.5 + self._chance.random())
        self.loop.call_later(delay_s, self._acknowledge, connection)

    def _acknowledge(self, connection: Connection) -> None:
        # Timers may fire out of order; answers leave in the order of the requests.
        outcome = connection.answers.popleft()
        if not connection.is_open:
            return
        connection.send(outcome.reply)
        self._join(connection, outcome.added)

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def _join(self, connection: Connection, topics: list[str]) -> None:
        """Splice a client into the running publications; each begins with its snapshot (dossier 3.5)."""
        now_ns = time.time_ns()
        for topic in topics:
            if topic not in connection.session.topics or topic in self.recording.known:
                continue
            if not self.exchange.serves(connection.product, topic):
                continue  # accepted and silent (dossier 3.2, option)
            publication = self.exchange.activate(connection.product, topic, now_ns)
            self._subscribers.setdefault(publication, {})[connection] = None
            payload = publication.first(now_ns)
            if payload is not None:
                self.pass_on(connection, topic, frame(payload))
        connection.flush()
        self._arm()

    def _leave(self, connection: Connection, topic: str) -> None:
        for cursor in connection.cursors:
            cursor.drop(topic)
        if topic in connection.unsettled:
            connection.unsettled.remove(topic)
        publication = self.exchange.find(connection.product, topic)
        if publication is None or publication not in self._subscribers:
            return
        subscribers = self._subscribers[publication]
        subscribers.pop(connection, None)
        if not subscribers:
            self.exchange.deactivate(publication, time.time_ns())

    def _collect_recorded(self, connection: Connection, topics: list[str]) -> None:
        connection.unsettled.extend(topic for topic in topics if topic in self.recording.known)
        if connection.settling is not None:
            connection.settling.cancel()
        if connection.unsettled:
            connection.settling = self.loop.call_later(self._settle_s, self._begin_cursor, connection)

    def _begin_cursor(self, connection: Connection) -> None:
        wanted, connection.unsettled = set(connection.unsettled), []
        if wanted and connection.is_open:
            connection.play(Cursor(self.recording, wanted, self._pace))

    # -- data ---------------------------------------------------------------------------------------------------------

    def alters(self, connection: Connection) -> bool:
        """Say whether frames to this client must pass one by one because some fault may change them."""
        del connection
        return False

    def pass_on(self, connection: Connection, topic: str, framed: bytes) -> None:
        """Queue one data frame for a client."""
        del topic
        connection.queue(framed)
        connection.frames_sent += 1
        connection.last_data_s = self.loop.time()

    def _arm(self) -> None:
        """Look at the exchange again when something is due, though never sooner than the next tick."""
        due_ns = self.exchange.next_due_ns
        if due_ns is None:
            return
        if self._timer is not None:
            if self._timer_due_ns <= due_ns:
                return
            self._timer.cancel()
        self._timer_due_ns = due_ns
        self._timer = self.loop.call_later(max(TICK_S, (due_ns - time.time_ns()) / 1e9), self._tick)

    def _tick(self) -> None:
        self._timer = None
        touched: dict[Connection, None] = {}
        now_s = self.loop.time()
        for publication, payload in self.exchange.advance(time.time_ns()):
            subscribers = self._subscribers.get(publication)
            if not subscribers:
                continue
            framed = frame(payload)
            for connection in subscribers:
                if self.alters(connection):
                    self.pass_on(connection, publication.topic, framed)
                else:
                    connection.queue(framed)
                    connection.frames_sent += 1
                    connection.last_data_s = now_s
                touched[connection] = None
        for connection in touched:
            connection.flush()
        self._arm()

    # -- time-outs ----------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Cut connections that the venue would cut (dossier 2.3, 9.2)."""
        settings, now_s = self.settings, self.loop.time()
        idle_s = settings.idle_cut_s * settings.time_factor
        silence_s = settings.silence_cut_s * settings.time_factor
        option_s = settings.option_ping_s * settings.time_factor
        for connection in list(self.connections.values()):
            unpinged_s = now_s - connection.last_ping_s
            if settings.cut_without_ping == "quiet":
                silent_s = now_s - max(connection.last_ping_s, connection.last_data_s)
            else:
                silent_s = unpinged_s
            if not connection.session.topics and now_s - connection.last_message_s > idle_s:
                self._cut(connection, "idle_cuts")
            elif silent_s > silence_s or (option_s and connection.product == "option" and unpinged_s > option_s):
                self._cut(connection, "unpinged_cuts")
        self.loop.call_later(SWEEP_S, self._sweep)

    def _cut(self, connection: Connection, reason: str) -> None:
        self.counts[reason] += 1
        connection.abort()
