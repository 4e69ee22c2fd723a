"""A worker's word with the supervisor, over ZeroMQ. Not on the data path: a supervisor that does not read is let be."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import zmq

from feedhandler import control

_UNREAD_BEATS: Final = 100
"""Messages kept for a supervisor that does not read; beyond, beats are dropped: the data loop never waits for it."""
PERMIT_PATIENCE_S: Final = 2.0
"""How long a dial waits for a supervisor that does not answer at all: one that is paused must not keep us blind."""


class Link:
    """Tells the supervisor, hears it, and asks it before each dial."""

    def __init__(self, runtime_directory: Path, worker: str, handle: Callable[[control.ToWorker], None]) -> None:
        self._worker = worker
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context(io_threads=1)
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 100)
        self._socket.setsockopt(zmq.SNDHWM, _UNREAD_BEATS)
        self._socket.connect(f"ipc://{runtime_directory}/{control.SOCKET_NAME}")
        self._permits: dict[str, asyncio.Future[None]] = {}
        """Dials that wait for the supervisor, by connection."""
        self._queued: set[str] = set()
        """Connections whose permit will come when the venue's budget allows."""
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self.hear)

    def tell(self, message: msgspec.Struct) -> bool:
        """Send a message; return False where nobody reads: the supervisor is paused, and we go on without it."""
        # A send may swallow the signal of what has arrived meanwhile.
        self._loop.call_soon(self.hear)
        try:
            self._socket.send(control.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def hear(self) -> None:
        """Handle every message that has come."""
        while not self._socket.closed:
            try:
                raw = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            message = control.decode_to_worker(raw)
            match message:
                case control.Wait(connection=name):
                    self._queued.add(name)
                case control.Permit(connection=name):
                    if (permit := self._permits.pop(name, None)) is not None and not permit.done():
                        permit.set_result(None)
                case _:
                    self._handle(message)

    async def permit(self, connection: str) -> str:
        """Wait until a connection may dial: the venue's budget is shared by all workers. Return what is remarkable."""
        permit = self._permits[connection] = self._loop.create_future()
        self.tell(control.Dial(worker=self._worker, pid=os.getpid(), connection=connection))
        await asyncio.wait([permit], timeout=PERMIT_PATIENCE_S)
        if connection in self._queued:
            await permit
            self._queued.discard(connection)
            return "waited: the venue's connection budget was spent"
        return "" if permit.done() else "dials without permit: the supervisor does not answer"

    def close(self) -> None:
        """Let the last words leave, and close."""
        self._loop.remove_reader(self._descriptor)
        self._socket.close()
        self._context.term()
