"""How a connection is let in: the key that a private one signs in with, and what is said while that is of no use.

Pure but for ``sign``, which reads the key wherever it is.
"""

from collections.abc import Callable

from feedhandler.worker.backoff import auth_pause_s
from feedhandler.worker.feed import Lane
from feedhandler.worker.session import Phase, Session


class Admission:
    """Whether the venue lets a connection, and the one after it, in. A public one needs no leave."""

    def __init__(self, sign: Callable[[int], bytes] | None, session: Session, lane: Lane) -> None:
        """``sign`` makes an ``auth`` request as of Unix ms, or raises `CredentialsError`; None = a public connection."""
        self.objection = ""
        """Why nothing may be subscribed until the next attempt."""
        self._sign = sign
        self._session = session
        self._lane = lane
        self._failures = 0
        """In a row."""
        self._told: set[str] = set()
        """Topics that were told so."""

    def begin(self) -> None:
        """Begin an attempt: what was said against the last one is past."""
        self.objection = ""

    def request(self, now_ns: int) -> bytes:
        """Return the ``auth`` request of a connection that is up, ``b""`` of a public one; raise `CredentialsError`."""
        return b"" if self._sign is None else self._sign(now_ns // 1_000_000)

    def granted(self) -> None:
        """Note that topics were subscribed."""
        self._failures = 0

    def denied(self, text: str, now_ns: int) -> None:
        """Say on every topic why it cannot be had."""
        self._lane.count("auth_failures")
        self._failures += 1
        self.objection, self._told = text, set()
        self.tell(now_ns)

    def tell(self, now_ns: int) -> None:
        """Topics wanted meanwhile are no better off. What is subscribed, or refused for itself, stays so."""
        if not self.objection:
            return
        for topic in [topic for topic in self._session.topics if topic not in self._told]:
            self._told.add(topic)
            if self._session.phase(topic) not in (Phase.SUBSCRIBED, Phase.REFUSED):
                self._lane.barred(topic, self.objection, now_ns)

    def pause_s(self, jitter: float) -> float:
        """Return how long the venue is left in peace after an objection; ``jitter`` is chance, 0 to 1."""
        return auth_pause_s(self._failures, jitter)
