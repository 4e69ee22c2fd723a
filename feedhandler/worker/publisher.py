"""Records leave here: one ZeroMQ XPUB socket per worker. The only import of zmq on the data path."""

import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
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


class Publisher:
    """Binds the worker's addresses, sends records, and reads who subscribes to what."""

    def __init__(self, addresses: Sequence[str], *, send_high_water_mark: int, cpu: Sequence[int] = ()) -> None:
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
        self._locks: list[tuple[runtime.Lock, Path]] = []
        try:
            for address in addresses:
                self._bind(address)
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

    def _bind(self, address: str) -> None:
        path = runtime.ipc_path(address)
        if path is not None:
            self._take(path)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            # pyzmq's own text repeats the address; libzmq's numbers beyond the system's have texts of their own.
            raise BindError(f"cannot bind {address}: {zmq.strerror(error.errno or 0)}") from None
        if path is not None:
            # Connecting needs write permission on the socket; the directory's mode decides who gets that far.
            directory = path.parent.stat()
            group_may_enter = directory.st_mode & stat.S_IXGRP
            if group_may_enter and path.stat().st_gid != directory.st_gid:
                # `runtime.group` need not be our own first group, which a new socket has.
                os.chown(path, -1, directory.st_gid)
            path.chmod(0o770 if group_may_enter else 0o700)

    def _take(self, path: Path) -> None:
        """Lock first: a second bind of a live path would steal it without an error."""
        lock = runtime.Lock(path.with_name(f"{path.name}.lock"))
        try:
            holder = lock.acquire()
        except OSError as error:
            raise BindError(f"cannot bind ipc://{path}: {lock.path}: {os.strerror(error.errno or 0)}") from None
        if holder is not None:
            who = f"process {holder}" if holder else "another process"
            raise BindError(f"cannot bind ipc://{path}: {who} publishes there")
        self._locks.append((lock, path))

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
        for lock, path in self._locks:
            if path.is_socket():
                path.unlink(missing_ok=True)
            lock.release()
        self._locks.clear()
