"""What a strategy saw, held against what the venue published: nothing wrong, nothing lost unsaid, nothing twice.

Each record that a strategy gets has its place in what was published. Places grow by one from record to record. Where
they grow by more, a status must have said so before, with a blind time that covers what is missing.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from feedhandler import wire
from support.ground_truth import BookTruth, Topic, TradesTruth
from support.onlooker import Sight

TRANSIT_NS = 500_000_000
"""A blind time is told by when the worker received; the venue sent, and wrote down, so much before or after."""
TAIL_NS = 1_000_000_000
"""What was sent this long ago does not come any more by itself."""


class Wrong(NamedTuple):
    """A state that was called live, and was not the venue's."""

    subject: str
    sent_ns: int
    """When the venue sent the state that it should have been."""
    text: str


class Window(NamedTuple):
    """A blind time, as told."""

    from_ns: int
    to_ns: int


class Judge:
    """Of one subject."""

    def __init__(self, subject: str, truth: Topic) -> None:
        self.subject = subject
        self.truth: Any = truth
        self.findings: list[str] = []
        self.wrong: list[Wrong] = []
        self.live = False
        self.windows: list[Window] = []
        self.transit_ns = TRANSIT_NS
        self.checked = 0
        """States and events that were found as the venue sent them."""
        self._place: int | None = None
        self._told = False
        """Something was said since the last place: what is missing may be missing."""
        self._fields: dict[str, Any] = {}

    def take(self, sight: Sight) -> None:
        """Judge the next record."""
        if sight.record.kind == wire.STATUS:
            self._take_status(sight)
        if isinstance(self.truth, BookTruth):
            if sight.book is not None and sight.book.state == wire.LIVE:
                self._take_book(sight)
        elif isinstance(self.truth, TradesTruth):
            if sight.record.kind == wire.UPDATE and not sight.record.is_repeated:
                self._take_trades(sight)
        elif sight.record.kind in (wire.SNAPSHOT, wire.DELTA):
            self._take_ticker(sight)

    def _take_status(self, sight: Sight) -> None:
        status = sight.status
        self.live = status.state == wire.LIVE
        hole_ns = status.blind_from_ns
        if isinstance(hole_ns, msgspec.UnsetType):
            self._told |= not self.live
            return
        end_ns = status.blind_to_ns
        # An open hole lasts at least until it was told, and is told again with its end.
        window = Window(hole_ns, sight.record.published_ns if isinstance(end_ns, msgspec.UnsetType) else end_ns)
        if window not in self.windows:
            self.windows.append(window)
            self._told = True

    def _take_book(self, sight: Sight) -> None:
        assert sight.book is not None
        place = self.truth.places.get((sight.book_sequence, sight.book.update_id))
        if place is None:
            self.findings.append(
                f"a book at seq {sight.book_sequence}, u {sight.book.update_id}, which was never published"
            )
            return
        # What is lost just before a snapshot out of turn shows nowhere, and is made good by it (dossier 5.1).
        is_made_good = sight.record.kind == wire.SNAPSHOT and self.truth.is_snapshot(place)
        if self._advance(place, may_stay=True, is_made_good=is_made_good):
            bids, asks = self.truth.at(place)
            self.checked += 1
            if (bids, asks) != (sight.book.bids, sight.book.asks):
                ours = {*sight.book.bids, *sight.book.asks}
                extra = sorted(ours - {*bids, *asks})[:3]
                missing = sorted({*bids, *asks} - ours)[:3]
                text = f"book at u {sight.book.update_id} has {extra}, has not {missing}"
                self.wrong.append(Wrong(self.subject, self.truth.times_ns[place], text))

    def _take_trades(self, sight: Sight) -> None:
        for row in json.loads(sight.record.payload)["data"]:
            known = self.truth.rows.get(row["i"])
            if known is None or not known.items() <= row.items():
                self.findings.append(f"trade {row}, which was never published")
            elif self._advance(self.truth.places[row["i"]], may_stay=False):
                self.checked += 1

    def _take_ticker(self, sight: Sight) -> None:
        message = json.loads(sight.record.payload)
        known = {} if message["type"] == "snapshot" else self._fields
        self._fields = known | message["data"]
        place = self.truth.places.get(sight.record.payload.decode())
        if place is None:
            if message["type"] == "delta":
                self.findings.append(f"{sight.record.payload!r}, which was never published")
            return  # a snapshot made for us: right or wrong with what continues it
        if self._advance(place, may_stay=False):
            self.checked += 1
            if self._fields != self.truth.at(place):
                self.wrong.append(Wrong(self.subject, self.truth.times_ns[place], f"ticker is {self._fields}"))

    def _advance(self, place: int, *, may_stay: bool, is_made_good: bool = False) -> bool:
        """Go to a place; False where nothing is new there."""
        if self._place is not None:
            if place == self._place and may_stay:
                return False
            if place <= self._place:
                self.findings.append(f"place {place} came again, or late, after {self._place}")
                return False
            if not is_made_good:
                self._miss(self._place + 1, place)
        self._place, self._told = place, False
        return True

    def _miss(self, begin: int, end: int) -> None:
        """Judge that nothing came of what stands from ``begin`` up to ``end``."""
        if begin >= end:
            return
        if not self._told:
            self.findings.append(f"{end - begin} records were lost, and nobody said so")
            return
        outside = [at_ns for at_ns in self.truth.times_ns[begin:end] if not self.is_told(at_ns)]
        if outside:
            self.findings.append(
                f"{len(outside)} of {end - begin} lost records, sent at {outside[0]} to {outside[-1]}, "
                f"are outside of the blind times told: {self.windows[-3:]}"
            )

    def is_told(self, at_ns: int) -> bool:
        """Say whether a moment is in a blind time that was told."""
        return any(
            window.from_ns - self.transit_ns <= at_ns <= window.to_ns + self.transit_ns for window in self.windows
        )

    def check_tail(self, now_ns: int) -> None:
        """Judge what was published some time ago and did not come, though the topic is live."""
        if self.live and self._place is not None:
            self._miss(self._place + 1, bisect_left(self.truth.times_ns, now_ns - TAIL_NS))


class Court:
    """Judges of many subjects."""

    def __init__(self, truths: Mapping[str, Topic]) -> None:
        """``truths`` by subject."""
        self.judges = {subject: Judge(subject, truth) for subject, truth in truths.items()}
        self._heard = 0

    def hear(self, seen: list[Sight], until_ns: int) -> None:
        """Judge everything that was published until then, of which the whole truth must be known."""
        while self._heard < len(seen) and seen[self._heard].record.published_ns <= until_ns:
            sight = seen[self._heard]
            self._heard += 1
            judge = self.judges.get(sight.record.subject)
            if judge is not None:
                judge.take(sight)
        for judge in self.judges.values():
            judge.check_tail(until_ns)

    def taken_findings(self) -> list[str]:
        """Return, once, everything that is not as promised."""
        found = [f"{judge.subject}: {text}" for judge in self.judges.values() for text in judge.findings]
        for judge in self.judges.values():
            judge.findings.clear()
        return found

    def taken_wrong(self) -> list[Wrong]:
        """Return, once, the states that were not the venue's."""
        found = [wrong for judge in self.judges.values() for wrong in judge.wrong]
        for judge in self.judges.values():
            judge.wrong.clear()
        return found

    @property
    def checked(self) -> int:
        """How much was found as the venue sent it."""
        return sum(judge.checked for judge in self.judges.values())
