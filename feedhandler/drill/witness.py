"""A connection of our own to the simulated Bybit. What it receives stands in the simulator's transcript: it only listens."""

import socket
import time
from collections.abc import Sequence
from typing import Final

from feedhandler.bybit import authentication, operations
from feedhandler.errors import FeedError

_PATIENCE_S: Final = 10.0
_READ_BYTES: Final = 1 << 18
_TEXT: Final = 0x81
_MASKED: Final = 0x80
_NO_MASK: Final = bytes(4)
"""A mask of zeros: legal, and the payload stays as it is (RFC 6455, 5.3)."""


class WitnessError(FeedError):
    """The drill's own connection failed; the text says why."""


class Witness:
    """One WebSocket, on a plain socket: independent of everything that it bears witness of."""

    def __init__(self, port: int, path: str, topics: Sequence[str], *, is_private: bool = False) -> None:
        """Connect and ask for ``topics``, each by itself: one that is refused takes no other with it.

        ``is_private``: sign in with the simulator's test key before.
        """
        self.topics = list(topics)
        self.requests = len(self.topics) + is_private
        """Sent so far, without pings."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        try:
            self._shake_hands(port, path)
            if is_private:
                self._sign_in()
            for number, topic in enumerate(topics):
                self._send(operations.Request(str(number), operations.SUBSCRIBE, [topic]).encode())
                self.drain()
        except BaseException:
            self._socket.close()
            raise

    def _shake_hands(self, port: int, path: str) -> None:
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            received = self._socket.recv(_READ_BYTES)
            if not received:
                raise WitnessError("the simulated Bybit closed the drill's own connection")
            head += received
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise WitnessError(f"the simulated Bybit refuses the drill's own connection: {head[:80]!r}")

    def _sign_in(self) -> None:
        expires_ms = time.time_ns() // 1_000_000 + authentication.EXPIRES_AFTER_MS
        self._send(authentication.request(authentication.TEST_KEY, authentication.TEST_SECRET, expires_ms, "auth"))
        answer = b""
        while operations.AUTH.encode() not in answer:
            received = self._socket.recv(_READ_BYTES)
            if not received:
                raise WitnessError("the simulated Bybit closed the drill's own connection")
            answer += received

    def _send(self, payload: bytes) -> None:
        size = len(payload)
        length = bytes((_MASKED | size,)) if size < 126 else bytes((_MASKED | 126,)) + size.to_bytes(2, "big")
        self._socket.settimeout(_PATIENCE_S)
        try:
            self._socket.sendall(bytes((_TEXT,)) + length + _NO_MASK + payload)
        except OSError as error:
            raise WitnessError(f"the drill's own connection to the simulated Bybit was lost: {error}") from None

    def ping(self) -> None:
        """Send a ping; its answer shows in the transcript."""
        self._send(operations.PING)

    def drain(self) -> None:
        """Read what has come, and throw it away."""
        self._socket.settimeout(0)
        try:
            while self._socket.recv(_READ_BYTES):
                pass
        except BlockingIOError:
            return
        except OSError as error:
            raise WitnessError(f"the drill's own connection to the simulated Bybit was lost: {error}") from None
        raise WitnessError("the simulated Bybit closed the drill's own connection")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
