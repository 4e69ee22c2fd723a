"""Answers that are waited for: of whom a status, an image or kept events are asked, and when again. Pure."""

from collections.abc import Container, Iterable
from typing import Final

import msgspec

from feedhandler import wire
from feedhandler.client.interest import Interest, endpoint_of
from feedhandler.client.links import UP, Link, Links
from feedhandler.client.record import UNKNOWN
from feedhandler.client.track import Track
from feedhandler.wire import DOWN

ANSWER_S: Final = 1.0
"""A worker answers a subscription within its pacing of 100 ms or so; asked again after this, doubled each time."""
RECONNECTED_S: Final = 0.2
"""The same where the loss of a connection is only seen when there is a new one: its answers may have come before."""
ANSWER_CAP_S: Final = 10.0
_UNANSWERED_ATTEMPTS: Final = 1
"""Unanswered for this many requests, a subject is not known to the worker."""


class _Request(msgspec.Struct):
    attempts: int = 0
    due_s: float = 0.0


class Asking:
    """Every answer that is waited for, by its subject."""

    def __init__(self, links: Links, interest: Interest) -> None:
        self._links = links
        self._interest = interest
        self._requests: dict[Track, _Request] = {}

    def __contains__(self, track: Track) -> bool:
        return track in self._requests

    def expect(self, track: Track, now_s: float) -> None:
        """Wait for an answer that should come by itself, where none is waited for."""
        if track not in self._requests:
            self._requests[track] = _Request(0, now_s + ANSWER_S)

    def expect_anew(self, track: Track, now_s: float) -> None:
        """Wait for one from now on, whatever was asked for before."""
        self._requests[track] = _Request(0, now_s + ANSWER_S)

    def expect_soon(self, link: Link, now_s: float) -> None:
        """The connection to a worker stands, and ZeroMQ has told it all filters again: answers are on their way."""
        due_s = now_s + (RECONNECTED_S if link.lost_s == now_s else ANSWER_S)
        for track, request in self._requests.items():
            if track.link == link.name:
                request.due_s = due_s

    def ask(self, track: Track, now_s: float) -> None:
        """Ask the worker anew for one subject: its status, and its image or kept events."""
        self._ask(track, _Request(), now_s)

    def _ask(self, track: Track, request: _Request, now_s: float) -> None:
        self._requests[track] = request
        request.due_s = now_s + min(ANSWER_S * 2**request.attempts, ANSWER_CAP_S)
        request.attempts += 1
        exact = wire.prefix(track.subject)
        for link in self._links_of(track):
            self._links.ask(link, exact)

    def end(self, track: Track) -> None:
        """Wait no more."""
        self._requests.pop(track, None)
        # The filter that was only there to ask for a subject which a prefix matches is taken back.
        if track.subject not in self._interest.filters:
            for link in self._links:
                self._links.untell(link, wire.prefix(track.subject))

    def pursue(self, busy: Container[str], now_s: float) -> list[Track]:
        """Ask again where it is time to; return the subjects of which a worker that is there says nothing.

        ``busy`` are the workers of whom not everything was read yet: the answer may be among that.
        """
        unanswered = []
        for track, request in list(self._requests.items()):
            if track.outside is None and track.is_answered and not track.wants_image and not track.needs_recovery:
                self.end(track)
                continue
            links = [link for link in self._links_of(track) if link.state == UP]
            if now_s < request.due_s or not links:
                continue
            if track.outside is not None and track.outside[0] not in (DOWN, UNKNOWN):
                continue
            if not track.is_answered and request.attempts >= _UNANSWERED_ATTEMPTS:
                if any(link.name in busy for link in links):
                    continue
                unanswered.append(track)
            self._ask(track, request, now_s)
        return unanswered

    def _links_of(self, track: Track) -> Iterable[Link]:
        return self._links.of(track.link, endpoint_of(track.subject))
