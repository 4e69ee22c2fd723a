"""One ZeroMQ SUB socket to one worker, and the monitor that says when the connection breaks. The client's only zmq."""

import struct
from collections.abc import Callable
from functools import partial
from typing import Final

import zmq

_NOBLOCK: Final = int(zmq.NOBLOCK)  # a plain integer: OR-ing enum flags per message costs a microsecond
_EVENTS: Final = int(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
_CONNECTED: Final = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_EVENT: Final = struct.Struct("=H")

RECONNECT_MS: Final = 10
"""Pause before connecting again; doubled up to the cap. At ZeroMQ's own 100 ms a restart is noticed 60 to 160 ms late."""
RECONNECT_CAP_MS: Final = 50
"""A worker that is started again binds its socket before it connects to the venue: who is there by the time its topics
are live misses nothing that it publishes."""


def _descriptor(socket: "zmq.Socket[bytes]") -> int:
    descriptor: int = socket.getsockopt(zmq.FD)  # type: ignore[assignment]  # typed for every option at once
    return descriptor


class Channel:
    """Connected to ``address``; connects again by itself, and tells the worker all its filters again.

    ``receive`` returns the next message or raises ``zmq.Again``. Of ``descriptors`` each becomes readable once when there
    is something new (they are edge-triggered): read until there is no more, then wait.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", address: str, high_water_mark: int) -> None:
        self._socket = context.socket(zmq.SUB)
        # Also the limit of subscriptions told to a worker: beyond it they vanish in silence (libzmq #2258).
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, high_water_mark)
        self._socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_CAP_MS)
        self._socket.setsockopt(zmq.LINGER, 0)
        if address.startswith("tcp://"):
            self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
            self._socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 30)
            self._socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 10)
            self._socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
        self._monitor = self._socket.get_monitor_socket(_EVENTS)
        self._socket.connect(address)
        # The backend's own method skips a Python wrapper; a partial of it costs half of what a method of ours would.
        self.receive: Callable[[], bytes] = partial(zmq.backend.Socket.recv.__get__(self._socket), _NOBLOCK)
        """Return the next message; raise ``zmq.Again`` where there is none."""
        self.descriptors = (_descriptor(self._socket), _descriptor(self._monitor))

    def events(self) -> list[bool]:
        """Return what happened to the connection since the last call: True connected, False disconnected."""
        happened = []
        try:
            while True:
                (event,) = _EVENT.unpack_from(self._monitor.recv_multipart(_NOBLOCK)[0])
                happened.append(event == _CONNECTED)
        except zmq.Again:
            return happened

    def subscribe(self, zmq_filter: bytes) -> None:
        """Tell the worker of a filter."""
        self._socket.setsockopt(zmq.SUBSCRIBE, zmq_filter)

    def unsubscribe(self, zmq_filter: bytes) -> None:
        """Take a filter back."""
        self._socket.setsockopt(zmq.UNSUBSCRIBE, zmq_filter)

    def close(self) -> None:
        """Close at once; what was not read is lost."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
