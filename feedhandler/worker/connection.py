"""One WebSocket to the venue, dialled again whenever it is lost. The only import of picows in the data plane.

Every attempt has a generation. picows keeps a cancelled dial's socket and may call back much later; a callback of
another generation than the present one is turned away at the door, so a cancelled dial never comes back to life.
"""

import asyncio
import datetime as dt
import functools
import logging
import os
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Final

import picows
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from feedhandler.bybit import authentication, operations
from feedhandler.bybit.operations import Pong
from feedhandler.bybit.products import MAX_MESSAGE_BYTES
from feedhandler.config.model import Connection as Settings
from feedhandler.worker.admission import Admission
from feedhandler.worker.backoff import Backoff
from feedhandler.worker.feed import Lane
from feedhandler.worker.session import (
    Acknowledged,
    Asked,
    Authorized,
    Disconnect,
    Refused,
    Send,
    Session,
    Unauthorized,
)

READ_BUFFER_BYTES: Final = 65_536
"""picows doubles a buffer that is nearly full and never shrinks it; this holds a burst of ordinary frames."""
REFUSED_LEAST_S: Final = 5.0
"""Pause after HTTP 403 and 429: too many connections, or shut out for a while; hammering makes it worse (dossier 2.4).
Other refusals (502, 504 from the load balancer) are backed off like a lost connection."""
TOO_MANY: Final = (403, 429)
WISH_CAP_S: Final = 600.0
"""The longest wish (Retry-After) that is granted."""
STEADY_S: Final = 30.0
"""A connection that was subscribed for so long has worked, also without data: an account may be silent for days."""
_TCP_CLOSE: Final = 7
"""The state of a connection that is no more, in Linux' tcp_info."""
CLOSE_PATIENCE_S: Final = 0.5
"""How long a closing handshake may take before the socket is dropped."""


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """Return the one TLS context of the process: reading the certificates takes milliseconds that data would wait."""
    return ssl.create_default_context()


class Connection:
    """Keeps one WebSocket open and its topics subscribed."""

    def __init__(
        self,
        name: str,
        url: str,
        settings: Settings,
        session: Session,
        lane: Lane,
        permit: Callable[[str], Awaitable[str]] | None = None,
        sign: Callable[[int], bytes] | None = None,
    ) -> None:
        """Begin to dial.

        ``sign`` makes the ``auth`` request that a private connection begins with, as of Unix ms; it raises
        `CredentialsError` where there is no key to sign with. It is asked before each dial, too: without a key none is
        spent.
        """
        self.name = name
        self.url = url
        self.session = session
        self.lane = lane
        self.opened_s = 0.0
        """When the present WebSocket came up, by the loop's clock."""
        self.explain: Callable[[str], str] = str
        """Puts the reason of a loss into context (an announced maintenance)."""
        self.generation = 0
        self.news: list[str] = []
        """What to tell a person, since the last look."""
        self.gave_up = ""
        """Why it is not dialled any more; ``""`` while it is."""
        self._settings = settings
        self._permit = permit
        """Waited for before each dial, for the venue's connection budget is shared; says what was remarkable."""
        self._admission = Admission(sign, session, lane)
        self._least_s = 0.0
        self._backoff = Backoff(settings.reconnect_base_s, settings.reconnect_cap_s, random.random)
        self._loop = asyncio.get_running_loop()
        self._transport: WSTransport | None = None
        self._listener: _Listener | None = None
        self._socket: socket.socket | None = None
        self._reason = ""
        self._failures = 0
        self._wake: asyncio.TimerHandle | None = None
        self._closing = False
        self.task = asyncio.create_task(self._keep_open(), name=f"connection {name}")

    # The life of a connection.

    async def _keep_open(self) -> None:
        while not self._closing:
            self._flowed = self._subscribed = False
            if dialled := self._admission.begin(time.time_ns()):
                await self._attempt()
            elif self._reason != self._admission.missing:
                self._reason = self._admission.missing
                self.news.append(f"is not dialled: {self._reason}")
            self._failures = 0 if self._flowed else self._failures + 1
            if self._settings.max_attempts and self._failures >= self._settings.max_attempts:
                self.gave_up = f"gave up after {self._failures} attempts: {self._reason}"
                self._admission.end()
                self._down(self.gave_up)
                return
            if not self._closing:
                if dialled:
                    self.lane.count("reconnects")
                await asyncio.sleep(self._pause_s())

    async def _attempt(self) -> None:
        """Dial, and wait for the end of what that brings up."""
        if self._permit is not None and (remark := await self._permit(self.name)):
            self.news.append(remark)
        transport = await self._dial()
        if transport is None:
            self.news.append(f"attempt failed: {self._reason}")
            self._down(self._reason)
            return
        try:
            # Returns at the end of the connection; raises what a callback raised: a bug of ours.
            await transport.wait_disconnected()
        except picows.WSError as error:
            # Raised by picows alone: a frame that is none, which is the venue's doing.
            self.lane.count("unparsed")
            self._reason = self._reason or f"broke the WebSocket protocol: {error}"
        except asyncio.CancelledError:
            transport.disconnect(False)  # the loop ends, and nobody else will
            raise
        finally:
            self._ended()

    def _pause_s(self) -> float:
        """Return the pause before the next attempt."""
        if not self._admission.objection:
            return self._backoff.next_s(self._least_s)
        pause_s = self._admission.pause_s(random.random())  # noqa: S311 - no secret
        if not self._admission.missing:
            self.news.append(f"authenticates again in {pause_s:.0f} s")
        return pause_s

    async def _dial(self) -> WSTransport | None:
        """Open the WebSocket within the deadline, TCP, TLS and upgrade together; None and a reason where it fails."""
        self.generation += 1
        generation = self.generation
        self._reason, self._least_s = "", 0.0
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                transport, _ = await picows.ws_connect(
                    lambda _request, _response: _Listener(self, generation),
                    self.url,
                    ssl_context=_ssl_context() if self.url.startswith("wss:") else None,
                    websocket_handshake_timeout=self._settings.connect_timeout_s,
                    max_frame_size=MAX_MESSAGE_BYTES,
                    max_redirects=0,  # the venue has none, and a key is shown to nobody else
                    read_buffer_init_size=READ_BUFFER_BYTES,
                    logger_name=logging.getLogger("picows.client"),
                )
        except TimeoutError:
            self._reason = f"no connection within {self._settings.connect_timeout_s:g} s"
        except picows.WSHandshakeError as error:
            self._refused(error)
        except OSError as error:
            # asyncio words its own texts around the number; a certificate's refusal has no number.
            words = os.strerror(error.errno) if error.errno and not isinstance(error, ssl.SSLError) else error
            self._reason = f"cannot connect: {words}"
        except (picows.WSError, ValueError) as error:  # a host name that cannot be one is a ValueError
            self._reason = f"cannot connect: {error}"
        else:
            return transport
        finally:
            if self._reason or self._closing:
                # Whatever that dial still brings up is not ours.
                self.generation += 1
                self._abandon()
        return None

    def _refused(self, error: picows.WSHandshakeError) -> None:
        """Tell why the handshake failed, and how long the venue wants to be left alone."""
        response = getattr(error, "response", None)
        if response is None:
            self._reason = f"handshake failed: {error}"
            return
        status = int(response.status)
        self._reason = f"refused: HTTP {status}"
        if status in TOO_MANY:
            wish = (response.headers or {}).get("Retry-After", "")
            wish_s = float(wish[:9]) if wish.isdecimal() else 0.0
            self._least_s = min(max(wish_s, REFUSED_LEAST_S), WISH_CAP_S)

    def _abandon(self) -> None:
        """Drop a connection that came up within a dial that failed all the same."""
        if self._transport is not None:
            self._transport.disconnect(False)
            self._transport = None
            self.session.closed()

    def _ended(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        transport, self._transport = self._transport, None
        self._socket = self._listener = None
        self.generation += 1
        self.session.closed()
        if self._subscribed and self._loop.time() - self.opened_s >= STEADY_S:
            self.data_flows()
        self._reason = self._reason or _why(transport)
        if not self._closing:
            self.news.append(f"lost: {self._reason}")
            self._down(self._reason)

    def _down(self, reason: str) -> None:
        reason, now_ns = self.explain(reason), time.time_ns()
        self.lane.closed(reason, now_ns)
        if not self._admission.objection:
            self.lane.unbar(reason, now_ns)

    def give_up(self, reason: str) -> None:
        """Drop the connection at once; it is dialled again."""
        if self._transport is not None and not self._reason:
            self._reason = reason
            self._transport.disconnect(False)

    def stop_listening(self) -> None:
        """Be about to `close`: whatever the venue still sends is ignored, but the end of the connection."""
        self._closing = True
        if self._listener is not None:
            self._listener.stop_listening()

    async def close(self, patience_s: float = CLOSE_PATIENCE_S) -> None:
        """Close in order, as far as the venue answers in time, and stay closed. Without patience: at once."""
        self.stop_listening()
        transport = self._transport
        if transport is None:
            self.task.cancel()
        elif not patience_s:
            transport.disconnect(False)
        else:
            transport.send_close(WSCloseCode.OK)
            try:
                await asyncio.wait_for(asyncio.shield(self.task), patience_s)
            except TimeoutError:
                transport.disconnect(False)
        await asyncio.gather(self.task, return_exceptions=True)

    def look(self) -> None:
        """Notice a reset that nobody told us of; call it at every tick.

        After a reset uvloop runs a socket's reader once more, and never again. Where that one call finds data in front
        of the reset it reads those, and waits for a next time: the connection would be dead without a word.
        """
        if self._socket is not None and not self._reason and _is_closed(self._socket):
            self.give_up("connection lost")

    # Called by the listener.

    def opened(self, transport: WSTransport, listener: "_Listener") -> None:
        """The WebSocket is up."""
        self._transport, self._listener = transport, listener
        if self._closing:
            listener.stop_listening()
        self.opened_s = self._loop.time()
        self._socket = transport.underlying_transport.get_extra_info("socket")
        self.news.append("connected")
        self.lane.opened(time.time_ns())
        auth = self._admission.request(time.time_ns())
        if auth is None:
            self.give_up(self._admission.missing)
            return
        self.session.opened(self._loop.time(), auth)
        self.step()

    def _locked_out(self, text: str, reason: str) -> None:
        """Leave the venue in peace for a while."""
        self._admission.denied(text, time.time_ns())
        self.give_up(reason)

    def data_flows(self) -> None:
        """It worked: the next loss is a new one."""
        self._flowed = True
        self._backoff.reset()

    def replied(self, payload: bytes) -> None:
        """Take a text frame that is no data."""
        reply = operations.parse_reply(payload)
        if reply is None:
            self.lane.strange("unparsed", "a frame that is neither data nor an answer we know", payload)
            return
        if isinstance(reply, Pong):
            self.lane.answered(time.time_ns())
            self.session.pong()
        else:
            self.session.acknowledged(reply, self._loop.time())
        self.step()

    def step(self) -> None:
        """Do what the session wants done now, and sleep until it wants something again."""
        self._admission.tell(time.time_ns())
        if self._transport is None:
            return
        for action in self.session.step(self._loop.time()):
            match action:
                case Send(payload):
                    self._transport.send(WSMsgType.TEXT, payload)
                case Asked(topics):
                    self.lane.asked(topics)
                case Acknowledged(topics):
                    self._subscribed = True
                    self._admission.granted()
                    self.lane.acknowledged(topics, time.time_ns())
                case Refused(topic, text):
                    self.news.append(f"refused {topic}: {text}")
                    self.lane.refused(topic, text, time.time_ns())
                case Disconnect(reason):
                    self.give_up(reason)
                    return
                case Authorized():
                    self.news.append("authenticated")
                case Unauthorized(text):
                    self._locked_out(text, f"authentication refused: {text}")
                    if authentication.may_be_late(text):
                        self.news.append(f"may be late: this machine's clock says {_clock()}")
                    return
        if self._wake is not None:
            self._wake.cancel()
        wake_s = self.session.wake_s()
        self._wake = self._loop.call_at(wake_s, self.step) if wake_s != float("inf") else None


def _clock() -> str:
    """Return the time as this machine has it, for who compares it with the right one."""
    return dt.datetime.now(dt.UTC).isoformat(sep=" ", timespec="milliseconds")


def _is_closed(sock: socket.socket) -> bool:
    """Say whether the kernel has given a TCP connection up."""
    try:
        return hasattr(socket, "TCP_INFO") and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
    except OSError:
        return False  # closed by us: picows knows


def _why(transport: WSTransport | None) -> str:
    """Say why picows' transport ended; it keeps the close handshake only, a reset and an end of file look alike."""
    handshake = transport.close_handshake if transport is not None else None
    if handshake is not None and handshake.recv is not None:
        code, text = handshake.recv.code, handshake.recv.reason
        return f"closed by the venue: {code:d}{f' {text}' if text else ''}"
    if handshake is not None and handshake.sent is not None:
        return f"closed by us: {handshake.sent.code:d} {handshake.sent.reason or ''}".rstrip()
    return "connection lost"


_time_ns: Final = time.time_ns  # one look-up less on every message


class _Listener(WSListener):
    """What picows calls. Dead from the first exception on: picows would deliver the rest of the read all the same."""

    __slots__ = (
        "_connection",
        "_dead",
        "_fragment_type",
        "_fragments",
        "_generation",
        "_lane",
        "_leaving",
        "_on_payload",
    )

    def __init__(self, connection: Connection, generation: int) -> None:
        super().__init__()
        self._connection = connection
        self._generation = generation
        self._lane = connection.lane
        self._on_payload: Callable[[bytes, int], bool] = self._first_payload
        self._fragments: bytearray | None = None
        self._fragment_type = WSMsgType.TEXT
        self._dead = self._leaving = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        if self._generation != self._connection.generation:
            self._dead = True
            transport.disconnect(False)
            return
        self._connection.opened(transport, self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame: the first of the three files on a message's way."""
        received_ns = _time_ns()
        try:
            # Decode first and look at the type only of what is no data: reading the type is dear.
            if (
                self._fragments is not None
                or not frame.fin
                or not self._on_payload(frame.get_payload_as_bytes(), received_ns)
            ):
                self._no_data(transport, frame, received_ns)
        except BaseException:
            # A bug of ours: `Connection` raises it and the worker ends. Until then nothing more goes out.
            self.on_ws_disconnected(transport)
            raise

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' signature
        self._dead = True
        self._on_payload = _ignore

    def stop_listening(self) -> None:
        """Take no data and no answers any more, but the venue's closing frame: without it no handshake ends in time."""
        self._on_payload = _leave
        self._leaving = True

    # What happens rarely.

    def _first_payload(self, payload: bytes, received_ns: int) -> bool:
        if self._dead or self._generation != self._connection.generation:
            return True
        if not self._lane.on_payload(payload, received_ns):
            return False
        self._on_payload = self._lane.on_payload
        self._connection.data_flows()
        return True

    def _no_data(self, transport: WSTransport, frame: WSFrame, received_ns: int) -> None:
        if self._dead or self._generation != self._connection.generation:
            return
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            # picows only delivers it: answering and hanging up is ours to do.
            code = frame.get_close_code()
            transport.send_close(code if code in _ECHOED else WSCloseCode.OK)
            transport.disconnect()
        elif self._leaving or kind in (WSMsgType.PING, WSMsgType.PONG):
            pass  # picows has answered the ping
        elif frame.fin and self._fragments is None:
            self._whole(kind, frame.get_payload_as_bytes())
        else:
            self._fragment(kind, frame, received_ns)

    def _whole(self, kind: WSMsgType, payload: bytes) -> None:
        if kind == WSMsgType.TEXT:
            self._connection.replied(payload)
        else:
            self._lane.strange("binary", "a binary frame", payload)

    def _fragment(self, kind: WSMsgType, frame: WSFrame, received_ns: int) -> None:
        """Put a message together; control frames may stand between its parts."""
        if self._fragments is None:
            self._fragments, self._fragment_type = bytearray(), kind
        self._fragments += frame.get_payload_as_memoryview()
        if len(self._fragments) > MAX_MESSAGE_BYTES:
            self._connection.give_up(f"a fragmented message longer than {MAX_MESSAGE_BYTES} bytes")
            self._fragments = None
        elif frame.fin:
            payload, self._fragments = bytes(self._fragments), None
            if self._fragment_type != WSMsgType.TEXT or not self._on_payload(payload, received_ns):
                self._whole(self._fragment_type, payload)


_ECHOED: Final = (WSCloseCode.OK, WSCloseCode.GOING_AWAY, WSCloseCode.PROTOCOL_ERROR, WSCloseCode.INTERNAL_ERROR)


def _ignore(_payload: bytes, _received_ns: int) -> bool:
    return True


def _leave(_payload: bytes, _received_ns: int) -> bool:
    return False
