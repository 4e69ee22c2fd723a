"""The simulated Bybit's socket side: handshakes, requests, and the exchange's messages to their subscribers."""

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec
from picows import ws_create_server

from feedhandler.bybit.authentication import TEST_KEY, TEST_SECRET
from feedhandler.sim.connection import Connection
from feedhandler.sim.exchange import Acted, Exchange, Message
from feedhandler.sim.faults import Faults
from feedhandler.sim.frames import frame, payload_of
from feedhandler.sim.operations import AUTH
from feedhandler.sim.publication import Publication
from feedhandler.sim.replay import Cursor, Recording, Transcript
from feedhandler.sim.server_door import Door
from feedhandler.sim.session import Settings
from feedhandler.sim.signed import SWEEP_S as SIGNED_SWEEP_S
from feedhandler.sim.tampering import Aim, Wire, alter, applies, is_last_word, release
from feedhandler.sim.venue import SIGNED

TICK_S: Final = 0.002
"""Pauses between looks at what is due: what falls due within one is written together."""
SWEEP_S: Final = 0.25
CONNECTIONS_LIMIT: Final = 1000
"""Connections at one time per product (dossier 2.4)."""


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
        transcript: Transcript | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        """Serve ``exchange``, and ``recording`` at ``pace`` to whoever subscribes its topics.

        ``transcript``, if there is one, is given every frame sent. ``keys`` are further API keys and their secrets,
        beside the simulator's own.
        """
        self.loop = asyncio.get_running_loop()
        self.exchange = exchange
        self.settings = settings or Settings()
        exchange.is_plain = lambda: self.settings.plain_private_topics
        self.recording = recording or Recording()
        self.connections: dict[int, Connection] = {}
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """Refused requests by the venue's words."""
        self.violations: Counter[str] = Counter()
        """Limits broken by clients, by name."""
        self.transcript = transcript
        self.keys = {TEST_KEY: TEST_SECRET, **(keys or {})}
        self.faults = Faults(seed)
        self.door = Door(self, seed)
        self._clock_offset_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._pace = pace
        self._settle_s = settle_s
        self._chance = random.Random(f"{seed} server")  # noqa: S311 - lifelike, not secret
        self._subscribers: dict[Publication, dict[Connection, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ns = 0
        self._swept_signed_s = self.loop.time()
        self._acceptor: asyncio.AbstractServer | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def listen(self, listening: socket.socket) -> None:
        """Begin to accept clients."""
        self._acceptor = await ws_create_server(
            self.door.answer, sock=listening, websocket_handshake_timeout=10, max_frame_size=4 * 1024 * 1024
        )
        self.loop.call_later(SWEEP_S, self._sweep)

    def stop(self) -> None:
        """Drop every client at once and listen no more."""
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self.connections.values()):
            connection.abort()
        if self.transcript is not None:
            self.transcript.flush()

    @property
    def now_ns(self) -> int:
        """The venue's clock: Unix ns that never go back, whatever is done to the machine's clock meanwhile."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) + self._clock_offset_ns

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
        if self.transcript is not None:
            self.transcript.end(connection.number)
        if connection.settling is not None:
            connection.settling.cancel()
        for topic in [*connection.session.topics, *connection.slipping]:
            self._leave(connection, topic)

    def received(self, connection: Connection, payload: bytes) -> None:
        """Answer a request."""
        session, now_s = connection.session, self.loop.time()
        outcome = session.handle(payload, self.now_ns)
        self.counts["requests"] += 1
        for limit in outcome.violations:
            self.violations[limit] += 1
        if "args_characters" in outcome.violations and self.settings.cuts_on_characters:
            self._cut(connection, "characters_cuts")
            return
        if outcome.refused:
            self.refused[outcome.refused] += 1
        self._unsubscribe(connection, outcome.removed)
        if outcome.op == "ping":
            connection.pings += 1
            connection.last_ping_s = now_s
            if not self._hits_request("nopong", connection) and not self._is_stalled(connection):
                connection.send(outcome.reply)
            return
        if outcome.op == "subscribe":
            self._collect_recorded(connection, outcome.added)
        if outcome.added and self._comes_first(connection):
            self._join(connection, outcome.added)
            outcome.added = []
        delay_s = self.settings.ack_delay_ms / 1000 * (0.5 + self._chance.random())
        late = self.faults.request("lateack", connection.product, connection.number, now_s)
        if late is not None:
            delay_s += late.number("ms") / 1000
        # Answers leave in the order of the requests, however their delays were drawn.
        connection.answer_due_s = max(connection.answer_due_s, now_s + delay_s)
        connection.answers.append(outcome)
        self.loop.call_at(connection.answer_due_s, self._acknowledge, connection)

    def _acknowledge(self, connection: Connection) -> None:
        outcome = connection.answers.popleft()
        if not connection.is_open:
            return
        if self._hits_request("abort_before_ack", connection):
            connection.abort()
            return
        if not self._is_stalled(connection) and not self._stays_unanswered(connection, outcome.op):
            connection.send(outcome.reply)
            # Not before the answer: a client that subscribes in a hurry is refused (dossier 8).
            connection.session.is_authorized |= outcome.authorizes
        if outcome.ends and self.settings.auth_close_s >= 0:
            self.loop.call_later(self.settings.auth_close_s, self._cut, connection, "auth_cuts")
        if self._hits_request("abort_after_ack", connection):
            connection.abort()
            return
        self._join(connection, outcome.added)

    def _stays_unanswered(self, connection: Connection, op: str) -> bool:
        if op == AUTH:
            return self._hits_request("noauth", connection)
        return self._hits_request("noack", connection, op)

    def _comes_first(self, connection: Connection) -> bool:
        """Draw whether the first data come before the acknowledgement (dossier 3.5)."""
        if self._hits_request("snapshot_first", connection):
            return True
        if self._hits_request("ack_first", connection):
            return False
        return self._chance.random() < self.settings.snapshot_first

    def _hits_request(self, kind: str, connection: Connection, op: str = "") -> bool:
        now_s = self.loop.time()
        return self.faults.request(kind, connection.product, connection.number, now_s, op=op) is not None

    def _is_stalled(self, connection: Connection) -> bool:
        return self.faults.is_stalled(connection.product, connection.number, self.loop.time())

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def _join(self, connection: Connection, topics: list[str]) -> None:
        """Splice a client into the running publications; each begins with its snapshot (dossier 3.5)."""
        now_ns = self.now_ns
        for topic in topics:
            if topic not in connection.session.topics or topic in self.recording.known:
                continue
            if not self.exchange.serves(connection.product, topic):
                continue  # accepted and silent (dossier 3.2, option)
            connection.slipping.pop(topic, None)
            self.faults.heal(connection.product, connection.number, topic)
            publication = self.exchange.activate(connection.product, topic, now_ns)
            self._subscribers.setdefault(publication, {})[connection] = None
            payload = publication.first(now_ns)
            if payload is not None:
                self.pass_on(connection, topic, frame(payload))
        connection.flush()
        self._arm()

    def _unsubscribe(self, connection: Connection, topics: list[str]) -> None:
        if not topics:
            return
        slip = self.faults.request("slip", connection.product, connection.number, self.loop.time())
        for topic in topics:
            if slip is not None:
                connection.slipping[topic] = int(slip.number("frames"))
            else:
                self._leave(connection, topic)

    def _leave(self, connection: Connection, topic: str) -> None:
        connection.slipping.pop(topic, None)
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
            self.exchange.deactivate(publication, self.now_ns)

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
        return bool(self.faults.data or connection.is_tampered_with or self.transcript)

    def pass_on(self, connection: Connection, topic: str, framed: bytes) -> None:
        """Queue one data frame for a client, after the faults that hit it."""
        connection.last_data_s = self.loop.time()
        if not self.alters(connection):
            connection.queue(framed)
            return
        if topic in connection.slipping:
            connection.slipping[topic] -= 1
            if connection.slipping[topic] < 0:
                self._leave(connection, topic)
                return
        publication = self.exchange.find(connection.product, topic)
        aim = Aim(connection.number, connection.product, topic, payload_of(framed), publication)
        for wire in self._through_faults(aim, framed):
            connection.put(wire)

    def _through_faults(self, aim: Aim, framed: bytes) -> list[Wire]:
        now_s = self.loop.time()
        wires, overtaken = [Wire(framed)], []
        for fault in self.faults.data:
            if not fault.matches(aim.product, aim.connection, aim.topic):
                continue
            if (aim.connection, aim.topic) in fault.held:
                overtaken += release(fault, aim)
            elif wires and applies(fault, aim) and self.faults.hits(fault, aim.connection, now_s):
                delay_ms = wires[0].delay_ms
                wires = alter(fault, aim)
                for wire in wires:
                    wire.delay_ms = max(wire.delay_ms, delay_ms)
                if len(wires) == 1 and not is_last_word(wires[0]):
                    # The next fault finds the frame as this one left it.
                    aim = msgspec.structs.replace(aim, payload=payload_of(wires[0].framed))
                elif wires:
                    break
        return wires + overtaken

    def broadcast(self, publication: Publication, payload: bytes) -> None:
        """Send a message to every subscriber now."""
        for connection in list(self._subscribers.get(publication, ())):
            self.pass_on(connection, publication.topic, frame(payload))
            connection.flush()

    def subscribed(self) -> list[Publication]:
        """Return the publications that somebody receives."""
        return [publication for publication, subscribers in self._subscribers.items() if subscribers]

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
        self._timer = self.loop.call_later(max(TICK_S, (due_ns - self.now_ns) / 1e9), self._tick)

    def act(self, do: str, product: str, symbol: str, query: Mapping[str, str]) -> Acted:
        """Have the account do something now, and send what follows from it (`Exchange.act`)."""
        acted = self.exchange.act(do, product, symbol, query, self.now_ns)
        self._deliver(acted.messages)
        self._arm()
        return acted

    def _tick(self) -> None:
        self._timer = None
        self._deliver(self.exchange.advance(self.now_ns))
        self._arm()

    def _deliver(self, messages: list[Message]) -> None:
        touched: dict[Connection, None] = {}
        now_s = self.loop.time()
        for publication, payload in messages:
            subscribers = self._subscribers.get(publication)
            if not subscribers:
                continue
            framed = frame(payload)
            for connection in list(subscribers):
                if self.alters(connection):
                    self.pass_on(connection, publication.topic, framed)
                else:
                    connection.queue(framed)
                    connection.last_data_s = now_s
                touched[connection] = None
        for connection in touched:
            connection.flush()

    # -- time-outs ----------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Cut connections that the venue would cut (dossier 2.3, 9.2)."""
        settings, now_s = self.settings, self.loop.time()
        self.faults.expire(now_s)
        if self.transcript is not None:
            self.transcript.flush()
        idle_s = settings.idle_cut_s * settings.time_factor
        silence_s = settings.silence_cut_s * settings.time_factor
        option_s = settings.option_ping_s * settings.time_factor
        sweeps_signed = now_s - self._swept_signed_s >= SIGNED_SWEEP_S * settings.time_factor
        if sweeps_signed:
            self._swept_signed_s = now_s
        for connection in list(self.connections.values()):
            unpinged_s = now_s - connection.last_ping_s
            if settings.cut_without_ping == "quiet":
                silent_s = now_s - max(connection.last_ping_s, connection.last_data_s)
            else:
                silent_s = unpinged_s
            if connection.product in SIGNED:
                if sweeps_signed and silent_s > connection.active_s * settings.time_factor:
                    self._cut(connection, "inactive_cuts")
            elif not connection.session.topics and now_s - connection.last_message_s > idle_s:
                self._cut(connection, "idle_cuts")
            elif silent_s > silence_s or (option_s and connection.product == "option" and unpinged_s > option_s):
                self._cut(connection, "unpinged_cuts")
        self.loop.call_later(SWEEP_S, self._sweep)

    def _cut(self, connection: Connection, reason: str) -> None:
        self.counts[reason] += 1
        connection.abort()
