"""How a connection is let in: the key that a private one signs in with, and what is said while that is of no use.

Pure but for ``sign``, which reads the key wherever it is.
"""

from collections.abc import Callable

from feedhandler.credentials import CredentialsError
from feedhandler.worker.backoff import KEY_LOOK_S, auth_pause_s
from feedhandler.worker.feed import Lane
from feedhandler.worker.session import Phase, Session


class Admission:
    """Whether the venue lets a connection, and the one after it, in. A public one needs no leave."""

    def __init__(self, sign: Callable[[int], bytes] | None, session: Session, lane: Lane) -> None:
        """``sign`` makes an ``auth`` request as of Unix ms, or raises `CredentialsError`; None = a public connection."""
        self.objection = ""
        """Why nothing may be subscribed until the next attempt."""
        self.missing = ""
        """Why there is no key, when it was last looked for; ``""`` = there is one, or none is needed."""
        self._sign = sign
        self._session = session
        self._lane = lane
        self._failures = 0
        """In a row."""
        self._told: set[str] = set()
        """Topics that were told so."""

    def begin(self, now_ns: int) -> bool:
        """Begin an attempt: what was said against the last one is past. Say whether it is worth a dial.

        Without a key it is none: then every topic is told, as for a key that the venue refuses.
        """
        self.objection = ""
        return self.request(now_ns) is not None

    def request(self, now_ns: int) -> bytes | None:
        """Return the ``auth`` request of a connection that is up, ``b""`` of a public one; None without a key.

        The key may have been taken away since the attempt began: it is read for each connection, when it is up.
        """
        missing, self.missing = self.missing, ""
        if self._sign is None:
            return b""
        try:
            return self._sign(now_ns // 1_000_000)
        except CredentialsError as error:
            self.missing = str(error)
        self._object(self.missing, now_ns)
        if self.missing != missing:  # what is found again, every few seconds, is one failure
            self._lane.count("auth_failures")
        return None

    def end(self) -> None:
        """There is no further attempt, and so no objection to one."""
        self.objection = ""

    def granted(self) -> None:
        """Note that topics were subscribed."""
        self._failures = 0

    def denied(self, text: str, now_ns: int) -> None:
        """Say on every topic why the venue does not let us in."""
        self._lane.count("auth_failures")
        self._failures += 1
        self._object(text, now_ns)

    def _object(self, text: str, now_ns: int) -> None:
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
        """Return how long nothing is tried after an objection; ``jitter`` is chance, 0 to 1.

        The venue is left in peace for long; a key that is not there is looked for every few seconds.
        """
        return KEY_LOOK_S if self.missing else auth_pause_s(self._failures, jitter)
