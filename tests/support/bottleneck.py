"""A way to the venue on which nothing may get through for a while: what is sent meanwhile stays with the venue."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_PATIENCE_S = 10.0
_BUFFER_BYTES = 1 << 16
"""The systems' own buffers may grow to tens of MB, in which a venue's patience would be lost."""


class Bottleneck:
    """Passes on everything, both ways; a context manager. Closed, it takes nothing from the venue."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self._target = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listening]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def url(self, port: int) -> str:
        """Lead to ``port`` from now on; return where."""
        self._target = port
        return f"ws://127.0.0.1:{self._listening.getsockname()[1]}/v5/public/linear"

    def close(self) -> None:
        """Let nothing through from the venue."""
        self._open.clear()

    def open(self) -> None:
        """Let everything through."""
        self._open.set()

    def _start(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]  # callables of ours
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                venue = socket.socket()
                venue.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
                self._sockets += [client, venue]
                venue.connect(("127.0.0.1", self._target))
                self._start(self._relay, client, venue)
                self._start(self._relay_when_open, venue, client)

    def _relay_when_open(self, venue: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while self._open.wait() and (read := venue.recv(_BUFFER_BYTES)):
                client.sendall(read)
        _end(venue, client)

    def _relay(self, client: socket.socket, venue: socket.socket) -> None:
        with suppress(OSError):
            while read := client.recv(_BUFFER_BYTES):
                venue.sendall(read)
        _end(venue, client)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open()
        _end(*self._sockets)
        for thread in self._threads:
            thread.join(_PATIENCE_S)
        for one in self._sockets:
            one.close()


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
