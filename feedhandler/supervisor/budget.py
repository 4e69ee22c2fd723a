"""The venue's budget of new connections, shared by all workers (dossier 2.4). Pure.

500 connection attempts in 5 minutes for all stream hosts together; beyond, handshakes are refused and the address may
be shut out for minutes. So every attempt of every worker is granted here, the more important ones first.
"""

from collections import deque
from collections.abc import Container
from typing import Final

import msgspec

ATTEMPTS: Final = 480
"""Attempts granted in a window: a little less than the venue's 500, for other programs on this address."""
WINDOW_S: Final = 300.0


class Request(msgspec.Struct, frozen=True):
    """A worker's wish to dial."""

    pid: int
    """Of its process: a worker may have two for a while."""
    connection: str
    priority: int
    number: int
    """Running number: equal priorities go in the order of their requests."""


class Budget:
    """Grants attempts to connect. Time is the loop's clock, in seconds."""

    def __init__(self, attempts: int = ATTEMPTS, window_s: float = WINDOW_S) -> None:
        self._attempts = attempts
        self._window_s = window_s
        self._granted_s: deque[float] = deque()
        self._waiting: list[Request] = []
        self._number = 0

    @property
    def waiting(self) -> int:
        """How many attempts wait."""
        return len(self._waiting)

    def spent(self, now_s: float) -> int:
        """Return how many attempts the window counts."""
        while self._granted_s and self._granted_s[0] <= now_s - self._window_s:
            self._granted_s.popleft()
        return len(self._granted_s)

    def request(self, pid: int, connection: str, priority: int) -> None:
        """Note that a connection wants to dial."""
        self._number += 1
        self._waiting.append(Request(pid, connection, priority, self._number))

    def keep(self, living: Container[int]) -> None:
        """Drop what others wanted than these processes: they are gone."""
        self._waiting = [request for request in self._waiting if request.pid in living]

    def grant(self, now_s: float) -> list[Request]:
        """Return who may dial now, the highest priority first."""
        room = self._attempts - self.spent(now_s)
        self._waiting.sort(key=lambda request: (-request.priority, request.number))
        granted, self._waiting = self._waiting[: max(room, 0)], self._waiting[max(room, 0) :]
        self._granted_s.extend(now_s for _ in granted)
        return granted
