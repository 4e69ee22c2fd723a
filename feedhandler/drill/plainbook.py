"""The plainest order book there is, to hold other books against. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

Levels = dict[float, tuple[float, ...]]
"""Sizes by price; RPI books have two sizes a level."""


class BookData(msgspec.Struct, gc=False):
    """The data of a book's message, or of the venue's own word on it."""

    u: int
    b: list[tuple[str, ...]]
    a: list[tuple[str, ...]]


class BookMessage(msgspec.Struct, gc=False):
    """A book's snapshot or delta."""

    data: BookData


class PlainBook:
    """Levels by price, and the update id they stand at."""

    def __init__(self, snapshot: BookData) -> None:
        self.update_id = snapshot.u
        self.bids: Levels = {}
        self.asks: Levels = {}
        self.apply(snapshot)

    def apply(self, delta: BookData) -> None:
        """Change the levels that the delta names. A level whose sizes are all 0 is gone."""
        self.update_id = delta.u
        for side, levels in ((self.bids, delta.b), (self.asks, delta.a)):
            _change(side, levels)

    def difference(self, other: "PlainBook") -> str:
        """Say where two books differ; ``""`` where they are equal."""
        if self.update_id != other.update_id:
            return f"u {self.update_id} instead of {other.update_id}"
        for name, ours, theirs in (("bid", self.bids, other.bids), ("ask", self.asks, other.asks)):
            for price in sorted({*ours, *theirs}):
                if ours.get(price) != theirs.get(price):
                    return f"{name} {price:g} at u {self.update_id} is {_said(ours.get(price))} instead of {_said(theirs.get(price))}"
        return ""


def _change(side: Levels, levels: Iterable[Sequence[str]]) -> None:
    for price, *sizes in levels:
        numbers = tuple(map(float, sizes))
        if any(numbers):
            side[float(price)] = numbers
        else:
            side.pop(float(price), None)


def _said(sizes: tuple[float, ...] | None) -> str:
    return "absent" if sizes is None else "/".join(f"{size:g}" for size in sizes)
