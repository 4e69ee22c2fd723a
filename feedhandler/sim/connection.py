"""One client's socket: frames in, frames out in one write a tick, and the playing of recordings."""

import asyncio
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from feedhandler.sim.frames import CLOSE, frame
from feedhandler.sim.replay import Cursor
from feedhandler.sim.session import Outcome, Session
from feedhandler.sim.tampering import Wire

if TYPE_CHECKING:
    from feedhandler.sim.server import Server

_BLOBS_PER_TURN: Final = 16
"""Blobs of a fast replay written before other connections get their turn."""
_LINGER_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with time 0: closing sends RST instead of FIN."""


def reset(transport: WSTransport) -> None:
    """End a socket with RST."""
    raw = transport.underlying_transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    transport.disconnect(graceful=False)


class Connection(WSListener):
    """A client of one product's socket."""

    def __init__(self, server: "Server", number: int, session: Session) -> None:
        self.number = number
        self.session = session
        self.product = session.product
        self.frames_sent = 0
        self.last_ping_s = 0.0
        """Loop time of the last ping; of the handshake until then."""
        self.last_message_s = 0.0
        self.last_data_s = 0.0
        self.pings = 0
        self.active_s = 0.0
        """How long a private connection may be idle (``max_active_time``, dossier 1.3)."""
        self.is_open = False
        self.is_paused = False
        """True while the client does not keep up with reading."""
        self.cursors: list[Cursor] = []
        self.unsettled: list[str] = []
        """Recorded topics subscribed since the last cursor began."""
        self.settling: asyncio.TimerHandle | None = None
        self.answers: deque[Outcome] = deque()
        """What waits for its acknowledgement, in the order of the requests."""
        self.answer_due_s = 0.0
        self.slipping: dict[str, int] = {}
        """Topics unsubscribed of which some more frames will slip out, and how many."""
        self._server = server
        self._loop = server.loop
        self._transport: WSTransport | None = None
        self._outbox: list[bytes] = []
        self._message = bytearray()
        self._began_ns: dict[Cursor, int] = {}
        self._turns: set[Cursor] = set()
        self._delayed: deque[tuple[float, bytes]] = deque()
        self._is_cut = False
        """True after half a frame: nothing may follow it."""

    @property
    def is_tampered_with(self) -> bool:
        """Say whether a fault's after-effects still touch this client's frames."""
        return bool(self.slipping or self._delayed)

    # -- what picows calls --------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take note of the open socket."""
        self._transport = transport
        self.is_open = True
        self.last_ping_s = self.last_message_s = self.last_data_s = self._loop.time()
        self._server.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Hand a whole message to the server; control frames are no messages (dossier 2.2)."""
        del transport
        kind = frame.msg_type
        if kind is WSMsgType.CLOSE:
            self._answer_close(frame.get_payload_as_bytes())
            return
        if kind in (WSMsgType.PING, WSMsgType.PONG):
            return
        payload = frame.get_payload_as_bytes()
        if not frame.fin or self._message:
            self._message += payload
            if not frame.fin:
                return
            payload = bytes(self._message)
            self._message.clear()
        self.last_message_s = self._loop.time()
        self._server.received(self, payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Take note of the end."""
        del transport
        self.is_open = False
        self._server.closed(self)

    def pause_writing(self) -> None:
        """The socket's buffer is full: recordings wait; live data queue up to the limit."""
        self.is_paused = True

    def resume_writing(self) -> None:
        """The client reads again."""
        self.is_paused = False
        for cursor in self.cursors:
            self._turn(cursor, 0.0)

    # -- sending ------------------------------------------------------------------------------------------------------

    def queue(self, framed: bytes) -> None:
        """Add a data frame to the next write."""
        self._outbox.append(framed)
        self.frames_sent += 1
        self._note(framed)

    def _note(self, framed: bytes) -> None:
        if self._server.transcript is not None:
            self._server.transcript.write(self.number, self.product, framed, self._server.now_ns)

    def put(self, wire: Wire) -> None:
        """Send a frame that a fault has had its hands on."""
        if wire.delay_ms or self._delayed:
            # What comes after a delayed frame waits behind it: a line that is slow, not one that loses order.
            due_s = max(self._loop.time() + wire.delay_ms / 1000, self._delayed[-1][0] if self._delayed else 0.0)
            if not self._delayed:
                self._loop.call_at(due_s, self._let_go)
            self._delayed.append((due_s, wire.framed))
            return
        if wire.segment_bytes:
            self._write_segments(wire.framed, wire.segment_bytes)
        else:
            self._outbox.append(wire.framed)
        self.frames_sent += 1
        self._note(wire.framed)
        if wire.is_last:
            self.flush()
            self._is_cut = True
            # The half frame must be on its way before the reset, or it would be thrown away with the buffers.
            self._loop.call_later(0.02, self.reset)

    def _let_go(self) -> None:
        # Half a millisecond of grace: the loop's timers may fire early.
        now_s = self._loop.time() + 0.0005
        while self._delayed and self._delayed[0][0] <= now_s:
            self.queue(self._delayed.popleft()[1])
        self.flush()
        if self._delayed and self.is_open:
            self._loop.call_at(self._delayed[0][0], self._let_go)

    def send(self, payload: bytes) -> None:
        """Send one text message now, after what is queued."""
        self.queue(frame(payload))
        self.flush()

    def flush(self) -> None:
        """Write everything queued, in one piece; cut the client off if it has left too much unread."""
        outbox, self._outbox = self._outbox, []
        if not self.is_open or self._is_cut or self._transport is None or not outbox:
            return
        transport = self._transport.underlying_transport
        transport.write(outbox[0] if len(outbox) == 1 else b"".join(outbox))
        if self.is_paused and transport.get_write_buffer_size() > self._server.settings.write_limit_bytes:
            self._server.counts["slow_consumers_cut"] += 1
            self.abort()

    def _write_segments(self, framed: bytes, segment_bytes: int) -> None:
        """Write in TCP segments of this size, after what is queued (picows sets TCP_NODELAY: each write is one)."""
        self.flush()
        if self._transport is None or not self.is_open:
            return
        for begin in range(0, len(framed), segment_bytes):
            self._transport.underlying_transport.write(framed[begin : begin + segment_bytes])

    # -- ending -------------------------------------------------------------------------------------------------------

    def abort(self) -> None:
        """End without close frame, as the venue does (dossier 9.1)."""
        if self._transport is not None and self.is_open:
            self._transport.disconnect(graceful=False)

    def reset(self) -> None:
        """End with RST: the peer sees "connection reset"."""
        if self._transport is not None and self.is_open:
            reset(self._transport)

    def close(self, code: int, reason: str) -> None:
        """End with a close frame, whatever its code."""
        self._answer_close(code.to_bytes(2, "big") + reason.encode())

    def _answer_close(self, payload: bytes) -> None:
        if self._transport is not None and self.is_open:
            self._outbox.append(frame(payload, CLOSE))
            self.flush()
            self._transport.disconnect()

    # -- playing recordings -------------------------------------------------------------------------------------------

    def play(self, cursor: Cursor) -> None:
        """Begin playing to this client."""
        self.cursors.append(cursor)
        self._began_ns[cursor] = time.monotonic_ns()
        self._turn(cursor, 0.0)

    def _turn(self, cursor: Cursor, wait_s: float) -> None:
        """Ask for the cursor's next turn, unless one is asked for already."""
        if cursor in self._turns or cursor.is_done:
            return
        self._turns.add(cursor)
        if wait_s > 0:
            self._loop.call_later(wait_s, self._play, cursor)
        else:
            self._loop.call_soon(self._play, cursor)

    def _play(self, cursor: Cursor) -> None:
        self._turns.discard(cursor)
        began_ns = self._began_ns[cursor]
        for _ in range(_BLOBS_PER_TURN):
            if self.is_paused or not self.is_open or self._transport is None:
                return
            if cursor.is_paced or self._server.alters(self):
                chosen = cursor.take(time.monotonic_ns() - began_ns if cursor.is_paced else 1 << 62)
                for topic, framed in chosen:
                    self._server.pass_on(self, topic, framed)
                self.flush()
            else:
                blob, count = cursor.blob()
                self.flush()
                self._transport.underlying_transport.write(blob)
                self.frames_sent += count
            self.last_data_s = self._loop.time()
            if cursor.is_done:
                return
            wait_ns = began_ns + cursor.next_offset_ns - time.monotonic_ns() if cursor.is_paced else 0
            if wait_ns > 0:
                # The loop's timers have a grain of 1 ms; asking for less would spin.
                self._turn(cursor, max(wait_ns / 1e9, 0.001))
                return
        self._turn(cursor, 0.0)
