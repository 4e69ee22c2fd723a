"""What the venue sent on one topic: the ground truth a strategy's stream is held against. Pure.

Two things are known of it. A witness, a connection of our own that no fault touches, has everything the venue
published, in order. And of each connection of the feed we know every byte that went out on it, faults included.
"""

from bisect import bisect_right
from collections import Counter
from itertools import pairwise
from typing import Any

from feedhandler.bybit.products import Nature
from feedhandler.drill.messages import TRADES, Unit, digest, fields, says, units


class Truth:
    """One topic of one product."""

    def __init__(self, topic: str, nature: Nature) -> None:
        self.topic = topic
        self.nature = nature
        self.units: list[Unit] = []
        """Everything published, in order."""
        self.times_ns: list[int] = []
        """When the venue sent it, Unix ns."""
        self.places: dict[Unit, int] = {}
        """Where in ``units`` each stands."""
        self.genuine: dict[bytes, int] = {}
        """Digests of what went out to the feed, and how often on the connection that had it most often."""
        self.trade_frames: dict[Unit, bytes] = {}
        """The frame of each trade, for records that were rebuilt."""
        self._payloads: list[bytes] = []
        """The messages of states that are told by more than their bytes."""
        self._folded: dict[str, Any] = {}
        self._folded_until = 0
        self._sent: Counter[tuple[bytes, int]] = Counter()

    def publish(self, payload: bytes, time_ns: int) -> None:
        """Take the witness's copy of a message."""
        for unit in units(self.topic, self.nature, payload):
            if unit in self.places:
                continue  # a snapshot served again
            self.places[unit] = len(self.units)
            self.units.append(unit)
            self.times_ns.append(time_ns)
            if self.nature in (Nature.MERGED, Nature.LATEST):
                self._payloads.append(payload)
            elif self.topic.startswith(TRADES):
                self.trade_frames[unit] = payload

    def deliver(self, payload: bytes, connection: int) -> None:
        """Take note of a message that was sent to the feed, on a connection."""
        fingerprint = digest(payload)
        self._sent[fingerprint, connection] += 1
        self.genuine[fingerprint] = max(self.genuine.get(fingerprint, 0), self._sent[fingerprint, connection])

    def after(self, time_ns: int) -> int:
        """Return the place of the first unit sent after ``time_ns``."""
        return bisect_right(self.times_ns, time_ns)

    def fields_before(self, place: int) -> dict[str, Any]:
        """Return a merged state as the venue had it before the message at ``place``."""
        if place < self._folded_until:
            self._folded, self._folded_until = {}, 0
        for payload in self._payloads[self._folded_until : place]:
            self._folded = self._folded | fields(payload)
        self._folded_until = place
        return self._folded

    def says(self, place: int) -> Any:
        """Return what the message at ``place`` says; of a state that is replaced as a whole."""
        return says(self._payloads[place])

    def longest_pause_ns(self, since_ns: int, until_ns: int) -> int:
        """Return the longest time without a message between two times, Unix ns."""
        times_ns = [since_ns, *self.times_ns[self.after(since_ns) : self.after(until_ns)], until_ns]
        return max((late - early for early, late in pairwise(times_ns)), default=0)
