"""Answers for strategies that join late: status, image, kept records; without holding live data up."""

import asyncio
import time
from collections import deque
from typing import Final

from feedhandler.worker.publisher import Publisher
from feedhandler.worker.route import Retained, Route
from feedhandler.worker.state import Feed

SLICE_S: Final = 0.0005
"""Work for newcomers is cut into slices of about this long, so that live data waits less than 1 ms for them."""
AGAIN_S: Final = 0.1
"""Answers on one subject are at least this far apart; all who come meanwhile share the next."""


class Newcomers:
    """Looks for new subscriptions and answers them."""

    def __init__(self, feed: Feed, publisher: Publisher) -> None:
        self._feed = feed
        self._publisher = publisher
        self._loop = asyncio.get_running_loop()
        self._unanswered: dict[bytes, Route] = {}
        """Routes whose newcomers wait, by prefix."""
        self._answered_s: dict[bytes, float] = {}
        self._repeating: deque[tuple[Route, deque[Retained]]] = deque()
        """Kept records still to be repeated, as they were when their newcomer came."""
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
        # perf_counter, for the loop's own clock stands still within a turn.
        started_s = time.perf_counter()
        self._answering = False
        while self._repeating:
            route, kept = self._repeating[0]
            while kept:
                if self._is_over(started_s):
                    return
                self._feed.repeat(route, kept.popleft())
            self._repeating.popleft()
        for prefix in list(self._unanswered):
            now_s = time.perf_counter()
            if now_s - self._answered_s.get(prefix, -AGAIN_S) < AGAIN_S:
                continue
            if self._is_over(started_s):
                return
            self._answered_s[prefix] = now_s
            route = self._unanswered.pop(prefix)
            self._feed.answer(route, time.time_ns(), self._loop.time())
            if route.retained:
                self._repeating.append((route, route.retained.copy()))
        if self._repeating:
            self._go_on()

    def _is_over(self, started_s: float) -> bool:
        """Say whether the slice is over; the rest is done in the next, then."""
        if time.perf_counter() - started_s <= SLICE_S:
            return False
        self._go_on()
        return True

    def _go_on(self) -> None:
        self._answering = True
        self._loop.call_soon(self._answer)
