"""What a worker writes into the log: state changes by group, strange frames at a limited rate."""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Final

from feedhandler import wire

LOGGED_RAW_BYTES: Final = 2000
STRANGE_LOGGED_PER_S: Final = 5
NAMED_TOPICS: Final = 3
"""Log lines name this many topics; of more they say how many."""


class Diary:
    """Turns what happened since the last look into few lines: a lost connection is one, not one a topic."""

    def __init__(self, logger: logging.Logger, *, raw: bool = True) -> None:
        """``raw``: strange frames are logged as they came; not those of an account, for they say what is in it."""
        self._logger = logger
        self._raw = raw
        self._strange_logged: Counter[int] = Counter()
        """Strange frames by second."""

    def news(self, connection: str, lines: Iterable[str]) -> None:
        """Log what happened to a connection."""
        for line in lines:
            self._logger.info("connection %s %s", connection, line)

    def changes(self, changes: Iterable[tuple[str, str, str]]) -> None:
        """Log topics, states and reasons, those alike together."""
        groups: dict[tuple[str, str], list[str]] = {}
        for topic, state, reason in changes:
            groups.setdefault((state, reason), []).append(topic)
        for (state, reason), topics in groups.items():
            named = ", ".join(topics) if len(topics) <= NAMED_TOPICS else f"{len(topics)} topics"
            level = logging.INFO if state in (wire.SUBSCRIBING, wire.LIVE, wire.ENDED) else logging.WARNING
            facts = {"state": state, "reason": reason, "topics": len(topics)}
            self._logger.log(level, "%s %s%s", named, state, f": {reason}" if reason else "", extra={"facts": facts})

    def strange(self, frames: Iterable[tuple[str, bytes]], now_s: float) -> None:
        """Log frames that broke the venue's contract; beyond a few in a second only their number."""
        second = int(now_s)
        for what, raw in frames:
            self._strange_logged[second] += 1
            if self._strange_logged[second] <= STRANGE_LOGGED_PER_S:
                if self._raw:
                    self._logger.warning("%s: %r", what, raw[:LOGGED_RAW_BYTES])
                else:
                    self._logger.warning("%s (%d bytes, not logged)", what, len(raw))
        for past in [past for past in self._strange_logged if past < second]:
            more = self._strange_logged.pop(past) - STRANGE_LOGGED_PER_S
            if more > 0:
                self._logger.warning("%d more frames like these in that second, not logged", more)
