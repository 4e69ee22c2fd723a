"""A simulated Bybit as a process of its own, on a free port, and a client that hides nothing of what it sends."""

import http.client
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from feedhandler.bybit.authentication import TEST_KEY, TEST_SECRET, signature

START_S = 20.0
SIGNED = ("private", "trade")
ROOT = Path(__file__).resolve().parents[2]


class Frame(NamedTuple):
    """One WebSocket frame as it stood on the wire."""

    opcode: int
    is_final: bool
    payload: bytes


class HandshakeError(Exception):
    """The server answered the handshake with something else than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class RawClient:
    """A WebSocket client on a plain socket: every frame as it came, errors of the socket included."""

    def __init__(self, port: int, product: str = "linear", path: str = "", timeout_s: float = 10.0) -> None:
        """Connect; `HandshakeError` where the server refuses, `OSError` where the socket fails."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        # What is sent arrives when it is sent, not with the next acknowledgement.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        try:
            self._shake_hands(port, path or path_of(product))
        except BaseException:
            self.socket.close()
            raise

    def _shake_hands(self, port: int, path: str) -> None:
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        status = int(head.split(b" ", 2)[1])
        if status != 101:
            raise HandshakeError(status)

    def send(self, payload: bytes, opcode: int = 1) -> None:
        """Send one masked frame."""
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else bytes((0x80 | 126,)) + size.to_bytes(2, "big")
        # The mask is all zeros: legal, and the payload stays readable.
        self.socket.sendall(bytes((0x80 | opcode,)) + length + bytes(4) + payload)

    def request(self, op: str, *args: str, **more: object) -> None:
        """Send an operation."""
        fields = {"op": op} | ({"args": list(args)} if args else {}) | more
        self.send(json.dumps(fields).encode())

    def frame(self) -> Frame:
        """Return the next frame; `ConnectionError` or `EOFError` where there is none."""
        while True:
            parsed = self._parse()
            if parsed is not None:
                return parsed
            self._receive()

    def text(self) -> bytes:
        """Return the next message, its fragments joined."""
        found = self.frame()
        payload = found.payload
        while not found.is_final:
            found = self.frame()
            payload += found.payload
        return payload

    def message(self) -> dict[str, Any]:
        """Return the next message, decoded."""
        decoded: dict[str, Any] = json.loads(self.text())
        return decoded

    def until(self, condition: Callable[[dict[str, Any]], object], deadline_s: float = 10.0) -> list[dict[str, Any]]:
        """Read until ``condition(message)``; return all messages read, that one last."""
        end_s = time.monotonic() + deadline_s
        found: list[dict[str, Any]] = []
        while time.monotonic() < end_s:
            found.append(self.message())
            if condition(found[-1]):
                return found
        raise AssertionError(f"never came: {len(found)} messages, the last {found[-1:]}")

    def collect(self, seconds: float) -> list[dict[str, Any]]:
        """Return every message of the next ``seconds``."""
        found: list[dict[str, Any]] = []
        end_s = time.monotonic() + seconds
        while (remaining_s := end_s - time.monotonic()) > 0:
            self.socket.settimeout(remaining_s)
            try:
                found.append(self.message())
            except TimeoutError:
                break
        self.socket.settimeout(10.0)
        return found

    def drain(self, found: list[Frame] | None = None) -> None:
        """Read until the socket ends, which raises; what came before goes into ``found``."""
        while True:
            frame = self.frame()
            if found is not None:
                found.append(frame)

    def subscribe(self, *topics: str) -> list[dict[str, Any]]:
        """Subscribe; return all messages up to the acknowledgement."""
        self.request("subscribe", *topics)
        return self.until(is_acknowledgement)

    def ask_authorization(
        self, key: str = TEST_KEY, secret: str = TEST_SECRET, expires_in_s: float = 10.0, **more: object
    ) -> None:
        """Send an ``auth`` request."""
        expires_ms = int((time.time() + expires_in_s) * 1000)
        self.send(json.dumps({"op": "auth", "args": [key, expires_ms, signature(secret, expires_ms)]} | more).encode())

    def authenticate(
        self, key: str = TEST_KEY, secret: str = TEST_SECRET, expires_in_s: float = 10.0, **more: object
    ) -> dict[str, Any]:
        """Ask for authorization; return the answer."""
        self.ask_authorization(key, secret, expires_in_s, **more)
        return self.message()

    def close(self) -> None:
        """Drop the socket."""
        self.socket.close()

    def _parse(self) -> Frame | None:
        data = self._buffer
        if len(data) < 2:
            return None
        assert not data[1] & 0x80, "server frames are not masked"
        size, begin = data[1] & 0x7F, 2
        if size > 125:
            begin = 4 if size == 126 else 10
            if len(data) < begin:
                return None
            size = int.from_bytes(data[2:begin], "big")
        if len(data) < begin + size:
            return None
        found = Frame(data[0] & 0x0F, bool(data[0] & 0x80), bytes(data[begin : begin + size]))
        assert not data[0] & 0x70, "no extension was negotiated"
        del data[: begin + size]
        return found

    def _receive(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError("the server closed the socket")
        self._buffer += data


def path_of(product: str) -> str:
    """Where ``product`` is served."""
    return f"/v5/{product}" if product in SIGNED else f"/v5/public/{product}"


def is_acknowledgement(message: dict[str, Any]) -> bool:
    """Say whether a message answers a request."""
    return "success" in message


class Simulator:
    """Runs ``python -m feedhandler.sim``; use as a context manager, or `stop` it."""

    def __init__(self, *options: str, ends_with_us: bool = True) -> None:
        """Start it with further ``options`` and wait until it listens.

        It ends when the tests do, however they do; then it leaves Ctrl-C to us.
        """
        bound = ("--parent-pid", str(os.getpid())) if ends_with_us else ()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "feedhandler.sim", "--port", "0", *bound, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        try:
            self.announcement = self._first_line()
            self.port = int(self.announcement.partition("ws://127.0.0.1:")[2].partition("/")[0])
        except BaseException:
            self.process.kill()
            with self.process:  # closes its pipes and waits
                raise
        self.url = f"ws://127.0.0.1:{self.port}"
        """Without path; `url_of` has one."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def url_of(self, product: str) -> str:
        """The socket of ``product``."""
        return f"{self.url}{path_of(product)}"

    @contextmanager
    def client(self, product: str = "linear", path: str = "") -> Iterator[RawClient]:
        """A client of ``product``, closed at the end."""
        client = RawClient(self.port, product, path)
        try:
            yield client
        finally:
            client.close()

    def get(self, path: str, **query: object) -> Any:
        """Ask one of its pages; `AssertionError` with its words where it says no."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", f"{path}?{urlencode(query)}" if query else path)
            response = connection.getresponse()
            body = json.loads(response.read())
        finally:
            connection.close()
        assert response.status == 200, body
        return body

    def stats(self) -> dict[str, Any]:
        """What clients did so far."""
        found: dict[str, Any] = self.get("/sim/stats")
        return found

    def fault(self, kind: str, **where: object) -> dict[str, Any]:
        """Switch a fault on (``kind="off"``: all off)."""
        found: dict[str, Any] = self.get("/sim/fault", kind=kind, **where)
        return found

    def account(self, do: str = "", **where: object) -> dict[str, Any]:
        """Have the account behind the private streams act now; without ``do``, return its state."""
        found: dict[str, Any] = self.get("/sim/account", **({"do": do} if do else {}), **where)
        return found

    def settings(self, **changed: object) -> dict[str, Any]:
        """Change how the venue behaves."""
        found: dict[str, Any] = self.get("/sim/settings", **changed)
        return found

    def wait_for(self, condition: Callable[[dict[str, Any]], object], deadline_s: float = 10.0) -> dict[str, Any]:
        """Wait until ``condition(stats)`` is true; return those statistics."""
        end_s = time.monotonic() + deadline_s
        while True:
            stats = self.stats()
            if condition(stats):
                return stats
            assert time.monotonic() < end_s, f"the simulator never got there: {stats}"
            time.sleep(0.02)

    def stop(self, signal_number: int = 15) -> tuple[int, str]:
        """End it; return its exit code and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            _, errors = self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, errors

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        code, errors = self.stop()
        if kind is None:
            assert not errors, errors
            assert code == 0, code

    def _first_line(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            errors = self.process.stderr.read() if self.process.stderr is not None else ""
            raise AssertionError(f"the simulator did not start: {errors}")
        return line
