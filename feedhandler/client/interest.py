"""What a strategy subscribed to: subjects and prefixes, and what ZeroMQ is told for them. Pure: no I/O, no clock.

The rule: text that ends with ``.`` or ``*`` is a prefix (``linear.publicTrade.``, ``linear.orderbook.50.BTC*``, ``*``
for everything); any other text is exactly one subject (``linear.orderbook.50.BTCUSDT``), and is sent with the zero byte
that ends a subject, because ``BTCUSDT`` alone would also match ``BTCUSDT-26SEP25``.
"""

import difflib
from collections.abc import Iterable
from typing import Final

from feedhandler import wire
from feedhandler.errors import SubjectError

_CONTROL: Final = ("heartbeat", "notice")
_MOST_COMPARED: Final = 2000
"""Subjects compared with a misspelt one: each comparison costs some 30 µs."""


def is_prefix(text: str) -> bool:
    """Say whether a subscription means every subject that begins with it."""
    return text.endswith((".", "*"))


def zmq_filter(text: str) -> bytes:
    """Return what ZeroMQ is told for a subject or prefix; raise `SubjectError` where it cannot be meant."""
    if is_prefix(text):
        return text.removesuffix("*").encode()
    if "." not in text or text.startswith("."):
        raise SubjectError(
            f'"{text}" is no subject: write ENDPOINT.TOPIC, or "{text.strip(".") or "linear"}." for all of an endpoint'
        )
    if "*" in text or "\0" in text or text != text.strip():
        raise SubjectError(f'"{text}" is no subject: a star may only stand at its end')
    return wire.prefix(text)


def endpoint_of(text: str) -> str:
    """Return the endpoint that a subject or prefix names; ``""`` where the prefix leaves it open."""
    endpoint, dot, _ = text.partition(".")
    return endpoint if dot else ""


def is_control(subject: str) -> bool:
    """Say whether a subject carries heartbeats or notices: it has no state of its own."""
    return subject.partition(".")[2].partition(".")[0] in _CONTROL


class Interest:
    """The subscriptions of one subscriber."""

    def __init__(self) -> None:
        self.filters: dict[str, bytes] = {}
        """By the text that the strategy gave."""
        self._prefixes: tuple[str, ...] = ()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes, without their star."""
        return self._prefixes

    def add(self, text: str) -> bytes | None:
        """Take a subscription up; return its ZeroMQ filter, None where it was there already."""
        found = zmq_filter(text)
        if text in self.filters:
            return None
        self.filters[text] = found
        if is_prefix(text):
            self._prefixes = (*self._prefixes, text.removesuffix("*"))
        return found

    def remove(self, text: str) -> bytes | None:
        """Give a subscription up; return its ZeroMQ filter, None where there was none, or another one needs it."""
        found = self.filters.pop(text, None)
        if found is None or not is_prefix(text):
            return found
        self._prefixes = tuple(other.removesuffix("*") for other in self.filters if is_prefix(other))
        return None if found in self.filters.values() else found

    def matches(self, subject: str) -> bool:
        """Say whether the strategy asked for this subject."""
        return subject in self.filters or subject.startswith(self._prefixes)

    def concerns(self, endpoint: str) -> bool:
        """Say whether any subscription may match a subject of this endpoint."""
        return any(concerns(found, endpoint) for found in self.filters.values())


def concerns(zmq_filter: bytes, endpoint: str) -> bool:
    """Say whether a ZeroMQ filter may match subjects of an endpoint; ``""`` stands for an endpoint not known."""
    start = f"{endpoint}.".encode()
    return not endpoint or zmq_filter.startswith(start) or start.startswith(zmq_filter)


def nearest(subject: str, carried: Iterable[str]) -> str:
    """Return the carried subject that a misspelt one probably means, ``""`` where none is near."""
    wanted = subject.lower()
    every = {other.lower(): other for other in carried}
    # One of the two halves is usually right; only where neither is, all are compared.
    halves = set(wanted.rpartition(".")[::2])
    likely = [other for other in every if not halves.isdisjoint(other.rpartition(".")[::2])]
    for candidates in (likely, every):
        if found := difflib.get_close_matches(wanted, [*candidates][:_MOST_COMPARED], n=1):
            return every[found[0]]
    return ""
