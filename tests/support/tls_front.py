"""TLS in front of a port of this machine, as the venue has it: a certificate of our own, and handshakes that can hang."""

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_PATIENCE_S = 10.0


class TlsFront:
    """Decrypts what comes and passes it on; a context manager. Whoever shall trust it needs its `certificate`."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "front.pem"
        key = directory / "front.key"
        made_for = ["-subj", "/CN=front", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        written = ["-keyout", str(key), "-out", str(self.certificate)]
        subprocess.run(
            [
                shutil.which("openssl") or "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                *made_for,
                *written,
            ],
            check=True,
            capture_output=True,
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, key)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.target = 0
        """The port that is passed on to."""
        self.slow = threading.Event()
        """While set, those who connect wait for their TLS handshake."""
        self.waited = 0
        """So many have waited, and gone."""
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def url(self, port: int) -> str:
        """Pass on to ``port`` from now on; return where."""
        self.target = port
        return f"wss://127.0.0.1:{self.port}/v5/public/linear"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._open.append(client)
                self._start(self._serve, client)

    def _start(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]  # callables of ours
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        if self.slow.is_set():
            with client, suppress(OSError):
                while client.recv(1 << 16):  # its hello, which nobody answers; then its end
                    pass
            self.waited += 1
            return
        try:
            client.settimeout(_PATIENCE_S)
            inside = self._context.wrap_socket(client, server_side=True)
            inside.settimeout(None)
            venue = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        self._open += [inside, venue]
        self._start(_relay, inside, venue)
        _relay(venue, inside)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in [self._listening, *self._open]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(_PATIENCE_S)


def _relay(source: socket.socket, sink: socket.socket) -> None:
    """Copy until either side ends; then end both."""
    with suppress(OSError):
        while read := source.recv(1 << 16):
            sink.sendall(read)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
