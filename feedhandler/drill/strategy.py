"""A plain strategy: ZeroMQ SUB sockets, as any program in any language may have them, and nothing of our client."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from feedhandler import wire

RECORDS_A_ROUND: Final = 2000
RECONNECT_MS: Final = 10


class Strategy:
    """Hears every worker, each on a socket of its own with a monitor: so it knows which one is gone."""

    def __init__(self, addresses: Mapping[str, Sequence[str]], filters: Iterable[bytes] = (b"",)) -> None:
        """Connect to the ``addresses`` of each worker and subscribe to ``filters``."""
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._monitors: dict[str, zmq.Socket[bytes]] = {}
        self.gone_ns: dict[str, int] = {}
        """When the connection to a worker ended last, Unix ns."""
        chosen = list(filters)
        for worker, places in addresses.items():
            sub = self._context.socket(zmq.SUB)
            # Without limits: what is lost is lost before it comes to us.
            for option, value in (
                (zmq.SNDHWM, 0),
                (zmq.RCVHWM, 0),
                (zmq.LINGER, 0),
                (zmq.RECONNECT_IVL, RECONNECT_MS),
            ):
                sub.setsockopt(option, value)
            monitor = sub.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            for text in chosen:
                sub.setsockopt(zmq.SUBSCRIBE, text)
            for address in places:
                sub.connect(address)
            self._sockets[worker], self._monitors[worker] = sub, monitor
            self._poller.register(sub, zmq.POLLIN)
            self._poller.register(monitor, zmq.POLLIN)

    def receive(self, timeout_s: float) -> Iterator[tuple[str, wire.Record]]:
        """Yield what comes, with the worker it comes from; wait ``timeout_s`` for the first of it."""
        ready = dict(self._poller.poll(int(timeout_s * 1000)))
        for worker, monitor in self._monitors.items():
            if monitor in ready:
                self._hear(worker, monitor)
        for worker, sub in self._sockets.items():
            if sub not in ready:
                continue
            try:
                for _ in range(RECORDS_A_ROUND):
                    yield worker, wire.parse(sub.recv(zmq.NOBLOCK))
            except zmq.Again:
                continue

    def _hear(self, worker: str, monitor: "zmq.Socket[bytes]") -> None:
        try:
            while True:
                if recv_monitor_message(monitor, zmq.NOBLOCK)["event"] == zmq.EVENT_DISCONNECTED:
                    self.gone_ns[worker] = time.time_ns()
        except zmq.Again:
            return

    def close(self) -> None:
        """Leave."""
        for worker, sub in self._sockets.items():
            sub.disable_monitor()
            self._monitors[worker].close(0)
            sub.close()
        self._context.term()
