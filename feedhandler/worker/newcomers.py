"""Answers for strategies that join late: status and image, without holding live data up."""

import asyncio
import time
from typing import Final

from feedhandler.worker.feed import Feed
from feedhandler.worker.publisher import Publisher
from feedhandler.worker.route import Route

SLICE_NS: Final = 500_000
"""Work for newcomers is cut into slices of about this long, so that live data waits less than 1 ms for them."""
AGAIN_NS: Final = 100_000_000
"""Answers on one subject are at least this far apart; all who come meanwhile share the next."""


class Newcomers:
    """Looks for new subscriptions and answers them."""

    def __init__(self, feed: Feed, publisher: Publisher) -> None:
        self._feed = feed
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._unanswered: dict[bytes, Route] = {}
        """Routes whose newcomers wait, by prefix."""
        self._answered_ns: dict[bytes, int] = {}
        self._answering = False

    def look(self) -> None:
        """Read new subscriptions and begin to answer them. Call often: their own signal is lost in a burst of sends."""
        for subscription in self._publisher.subscriptions():
            for route in self._feed.matching(subscription):
                self._unanswered[route.prefix] = route
        if self._unanswered and not self._answering:
            self._answer()

    def _answer(self) -> None:
        """Answer for one slice of time; the loop reads live data before the next."""
        started_ns = time.time_ns()
        self._answering = False
        for prefix in list(self._unanswered):
            now_ns = time.time_ns()
            if now_ns - started_ns > SLICE_NS:
                self._answering = True
                self._loop.call_soon(self._answer)
                return
            if now_ns - self._answered_ns.get(prefix, 0) >= AGAIN_NS:
                self._answered_ns[prefix] = now_ns
                self._feed.answer(self._unanswered.pop(prefix), now_ns, self._loop.time())
