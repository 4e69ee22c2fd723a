"""Records leave here: one ZeroMQ XPUB socket per worker. The only import of zmq on the data path."""

import errno
import time
from collections.abc import Callable, Sequence
from typing import Final

import zmq

from feedhandler import runtime, wire

_NOBLOCK: Final = int(zmq.NOBLOCK)  # a plain integer: OR-ing enum flags per message costs a microsecond
_LINGER_MS: Final = 300
"""How long the last records may take to leave when the worker ends."""
_ROUND: Final = 1000
"""Subscriptions read in one go, so that a strategy with thousands of them does not hold the data up."""


class BindError(Exception):
    """An address cannot be bound; the text says why, in one line."""


class AddressInUseError(BindError):
    """Somebody else has it, and may give it back."""


class Publisher:
    """Binds the worker's addresses, sends records, and reads who subscribes to what."""

    def __init__(
        self, addresses: Sequence[str], *, send_high_water_mark: int, cpu: Sequence[int] = (), bind: bool = True
    ) -> None:
        """Bind every address, or raise `BindError`; without ``bind``, none until `bind_free`."""
        self._context = zmq.Context()
        for core in cpu:
            self._context.set(zmq.THREAD_AFFINITY_CPU_ADD, core)
        # VERBOSE: every new subscription is reported, also of a filter that another strategy already has.
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._socket.setsockopt(zmq.SNDHWM, send_high_water_mark)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 30)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 10)
        self._socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
        self.unbound = list(addresses)
        """Addresses that are still to be bound."""
        self._paths: list[runtime.SocketPath] = []
        try:
            while bind and self.unbound:
                self._bind(self.unbound[0])
                del self.unbound[0]
        except BaseException:
            self.close()
            raise
        self.publish: Callable[[bytes, int, int, bytes], None] = self._publisher()
        """``publish(head, sequence, received_ns, payload)``: send a record, never wait for anybody.

        ``head`` is `wire.head`. A strategy that is too slow loses its own records beyond the high-water mark.
        """

    def _publisher(self) -> Callable[[bytes, int, int, bytes], None]:
        # Built once, names bound as locals of the closure: this runs for every message.
        # The backend's own send skips a Python wrapper; one joined part is several times cheaper than a multipart.
        send = zmq.backend.Socket.send.__get__(self._socket)
        pack_tail = wire.TAIL.pack
        time_ns = time.time_ns

        def publish(head: bytes, sequence: int, received_ns: int, payload: bytes) -> None:
            send(head + pack_tail(sequence, received_ns, time_ns()) + payload, _NOBLOCK)

        return publish

    def bind_free(self) -> None:
        """Bind those addresses that nobody has; raise `BindError` for one that cannot be bound for any other reason."""
        for address in list(self.unbound):
            try:
                self._bind(address)
            except AddressInUseError:
                continue
            self.unbound.remove(address)

    def _bind(self, address: str) -> None:
        path = runtime.ipc_path(address)
        if path is not None:
            self._bind_path(address, runtime.SocketPath(path))
            return
        self._bind_socket(address)

    def _bind_socket(self, address: str) -> None:
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            # pyzmq's own text repeats the address; libzmq's numbers beyond the system's have texts of their own.
            text = f"cannot bind {address}: {zmq.strerror(error.errno or 0)}"
            raise AddressInUseError(text) if error.errno == errno.EADDRINUSE else BindError(text) from None

    def _bind_path(self, address: str, path: runtime.SocketPath) -> None:
        """Lock first: a second bind of a live path would steal it without an error."""
        try:
            holder = path.take()
            if holder is not None:
                who = f"process {holder}" if holder else "another process"
                raise AddressInUseError(f"cannot bind {address}: {who} publishes there")
            self._paths.append(path)
            listener = path.listen()
            try:
                # A socket that libzmq is given it does not unlink, neither before it binds nor when it closes: another
                # process can put its own in our place, while we go on with those who are connected to us.
                self._socket.setsockopt(zmq.USE_FD, listener.fileno())
                self._bind_socket(address)
                listener.detach()
            finally:
                self._socket.setsockopt(zmq.USE_FD, -1)
                listener.close()
            path.show()
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise BindError(f"cannot bind {address}: {where}{error.strerror}") from None

    def give_back(self) -> None:
        """Let another process take our paths. Who is connected to us stays so, and gets everything as before."""
        for path in self._paths:
            path.give_back()

    @property
    def descriptor(self) -> int:
        """What the loop watches for subscriptions. Not enough by itself: a send may swallow its signal."""
        return int(self._socket.getsockopt(zmq.FD))

    def subscriptions(self) -> list[bytes]:
        """Return what was newly subscribed to since the last call, at most a round of it; empty when there is none."""
        found: list[bytes] = []
        try:
            for _ in range(_ROUND):
                event: bytes = self._socket.recv(_NOBLOCK)
                if event[:1] == b"\1":
                    found.append(event[1:])
        except zmq.Again:
            pass
        return found

    def close(self) -> None:
        """Let the last records leave, then close and remove what was bound."""
        self._socket.close()
        self._context.term()
        for path in self._paths:
            path.remove()
        self._paths.clear()
