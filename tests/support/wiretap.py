"""A wire between a client and the simulated venue, and everything that the client says on it."""

import contextlib
import json
import socket
import threading
from types import TracebackType
from typing import Any, Self


class Wiretap:
    """Passes every byte on, both ways, and keeps the client's requests; use as a context manager."""

    def __init__(self, port: int) -> None:
        """Listen for clients of the venue at ``port``."""
        self.raw: list[bytearray] = []
        """What each connection's client said, as it stood on the wire."""
        self._to_port = port
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._run(self._accept)

    def requests(self, op: str) -> list[list[dict[str, Any]]]:
        """Return the requests of one kind, connection by connection."""
        return [[one for one in _messages(bytes(raw)) if one["op"] == op] for raw in list(self.raw)]

    def cut(self) -> None:
        """End every connection at once; new ones are taken as before."""
        for sock in list(self._sockets):  # those that come meanwhile are new ones
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _run(self, what: Any, *args: Any) -> None:
        thread = threading.Thread(target=what, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            venue = socket.create_connection(("127.0.0.1", self._to_port))
            for sock in (client, venue):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [client, venue]
            said = bytearray()
            self.raw.append(said)
            self._run(_pass_on, client, venue, said)
            self._run(_pass_on, venue, client, bytearray())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for sock in self._sockets:
            sock.close()


def _pass_on(source: socket.socket, target: socket.socket, said: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            said += data
            target.sendall(data)
    for sock in (source, target):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _messages(raw: bytes) -> list[dict[str, Any]]:
    """Return the JSON messages that a client's bytes hold, behind its handshake. None is longer than 64 KiB."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    found = []
    while head and len(rest) >= 6:
        opcode, size, begin = rest[0] & 0x0F, rest[1] & 0x7F, 2
        if size == 126:
            size, begin = int.from_bytes(rest[2:4], "big"), 4
        mask, payload = rest[begin : begin + 4], rest[begin + 4 : begin + 4 + size]
        if len(payload) < size:
            break
        if opcode == 1:
            found.append(json.loads(bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))))
        rest = rest[begin + 4 + size :]
    return found
