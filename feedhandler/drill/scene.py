"""Everything that runs in a drill, seen by one plain strategy: venue, feed, and a ledger for each subject."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from feedhandler import wire
from feedhandler.bybit.products import Nature
from feedhandler.config.model import WorkerPlan
from feedhandler.drill import promises
from feedhandler.drill.ledger import Ledger
from feedhandler.drill.process import FeedProcess
from feedhandler.drill.promises import Finding
from feedhandler.drill.strategy import Strategy
from feedhandler.drill.targets import Link
from feedhandler.drill.venue import DrillError, Venue

ROUND_S: Final = 0.02
LOOK_S: Final = 0.1
"""How often the venue is asked for its connections while we wait for them."""
SAMPLE_S: Final = 0.5
"""How often one book is held against the venue's."""
START_PATIENCE_S: Final = 30.0
BEATS_MISSED_NS: Final = 3_000_000_000
PATIENCE: Final = 2.0
PATIENCE_MORE_S: Final = 10.0
"""What is promised within T is waited for 2 T + 10 s: that it comes late is to be seen, too."""

_decode_beat: Final = msgspec.json.Decoder(wire.Heartbeat).decode
Profile = Counter[tuple[str, frozenset[str]]]
"""Connections by product and topics."""


class Scene:
    """The running drill."""

    def __init__(
        self, plans: Sequence[WorkerPlan], venue: Venue, feed: FeedProcess, strategy: Strategy, tick: Callable[[], None]
    ) -> None:
        """``tick`` is called in every round of waiting."""
        self.plans = {plan.worker: plan for plan in plans}
        self.venue = venue
        self.feed = feed
        self.strategy = strategy
        self.ledgers: dict[str, Ledger] = {}
        self.worker_of: dict[str, str] = {}
        for plan in plans:
            for topic in plan.topics:
                subject = f"{plan.endpoint}.{topic}"
                self.ledgers[subject] = Ledger(subject, plan.product, venue.truths[plan.product, topic])
                self.worker_of[subject] = plan.worker
        self.beats: dict[str, wire.Heartbeat] = {}
        self.beat_ns: dict[str, int] = {}
        """When the last heartbeat of each worker was published, Unix ns."""
        self.findings: list[Finding] = []
        """What concerns no single subject."""
        self.resting: set[str] = set()
        """Subjects that are not expected to be live at present."""
        self.refused: set[str] = set()
        """Subjects that the simulated Bybit does not serve."""
        self._tick = tick
        self._profile: Profile = Counter()
        self._sample_s = 0.0
        self._sampled = 0

    # Time.

    def go_on(self) -> None:
        """Live through one short round."""
        for worker, record in self.strategy.receive(ROUND_S):
            self._take(worker, record)
        self.venue.listen()
        if time.monotonic() >= self._sample_s:
            self._sample_s = time.monotonic() + SAMPLE_S
            self._sample()
        self._tick()

    def wait(self, condition: Callable[[], bool], patience_s: float) -> bool:
        """Go on until ``condition`` holds; return whether it did within ``patience_s``."""
        deadline_s = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline_s:
                return False
            self.go_on()
        return True

    def rest(self, seconds: float) -> None:
        """Go on for some time."""
        self.wait(lambda: False, seconds)

    def wait_until_quiet(self, patience_s: float) -> bool:
        """Wait until the venue has done everything that it was told to do; return whether it has."""
        return self.wait(_seldom(self.venue.is_quiet), patience_s)

    def _take(self, worker: str, record: wire.Record) -> None:
        ledger = self.ledgers.get(record.subject)
        if ledger is not None:
            ledger.take(record)
        elif record.kind == wire.HEARTBEAT:
            self._take_beat(worker, record)
        elif record.kind != wire.NOTICE:
            self.findings.append(Finding(promises.INVENTED, f"a record of {record.subject}, which nobody configured"))

    def _take_beat(self, worker: str, record: wire.Record) -> None:
        beat = _decode_beat(record.payload)
        before = self.beats.get(worker)
        pause_ns = record.published_ns - self.beat_ns.get(worker, record.published_ns)
        if before is not None and before.pid == beat.pid and pause_ns > BEATS_MISSED_NS:
            self.findings.append(Finding(promises.BEATS, f"{worker} was silent for {pause_ns / 1e9:.1f} s"))
        self.beats[worker], self.beat_ns[worker] = beat, record.published_ns

    # States.

    def start(self) -> None:
        """Start the feed and wait until everything that the venue serves is live; raise `DrillError` where it is not."""
        self.beats.clear()  # those of an earlier start prove nothing
        self.feed.start()
        waited_s = START_PATIENCE_S + len(self.ledgers) / 100
        if not self.wait(lambda: self.feed.exit_code is not None or self._is_settled(), waited_s):
            waiting = [subject for subject, ledger in self.ledgers.items() if ledger.state != wire.LIVE]
            raise DrillError(
                f"not live within {waited_s:.0f} s: {', '.join(waiting[:5])}{' …' if len(waiting) > 5 else ''}\n"
                f"{self.feed.last_words()}"
            )
        if self.feed.exit_code is not None:
            raise DrillError(f"the feed ended with exit code {self.feed.exit_code}\n{self.feed.last_words()}")
        self.refused = {subject for subject, ledger in self.ledgers.items() if ledger.state == wire.REJECTED}
        self.resting |= self.refused
        if len(self.refused) == len(self.ledgers):
            raise DrillError("the simulated Bybit serves no topic of this configuration")
        self.rest(LOOK_S)
        self._profile = self._profile_now()

    def _is_settled(self) -> bool:
        states = {ledger.state for ledger in self.ledgers.values()}
        return states <= {wire.LIVE, wire.REJECTED} and len(self.beats) == len(self.plans)

    def _profile_now(self) -> Profile:
        resting: dict[str, set[str]] = {}
        for subject in self.resting:
            ledger = self.ledgers[subject]
            resting.setdefault(ledger.product, set()).add(ledger.topic)
        return Counter((link.product, link.topics - resting.get(link.product, set())) for link in self.venue.links())

    def expect_without(self, subjects: Iterable[str]) -> None:
        """Stop expecting that these are live."""
        self.resting |= set(subjects)
        gone = {(self.ledgers[subject].product, self.ledgers[subject].topic) for subject in self.resting}
        before, self._profile = self._profile, Counter()
        for (product, topics), count in before.items():
            left = frozenset(topic for topic in topics if (product, topic) not in gone)
            self._profile[product, left] += count

    def expect_again(self, subjects: Iterable[str]) -> None:
        """Expect these to be live again, as they are by now."""
        self.resting -= set(subjects)
        self._profile = self._profile_now()

    def are_live(self) -> bool:
        """Say whether every subject is live that should be."""
        return all(ledger.state == wire.LIVE for subject, ledger in self.ledgers.items() if subject not in self.resting)

    def is_whole(self) -> Callable[[], bool]:
        """Return a condition: all is live, on connections as they were at first."""
        as_before = _seldom(lambda: self._profile_now() == self._profile)
        return lambda: self.are_live() and as_before()

    def links(self) -> list[Link]:
        """Return the feed's connections."""
        return self.venue.links()

    # The truth.

    def settle(self) -> None:
        """Hear everything that was sent until now, and hold every ledger against it."""
        now_ns = time.time_ns()
        if not self.wait(lambda: self.venue.known_until_ns > now_ns, START_PATIENCE_S):
            raise DrillError("the simulated Bybit sends nothing any more, not even to the drill")
        self.rest(2 * LOOK_S)
        known_ns = self.venue.known_until_ns
        for subject, ledger in self.ledgers.items():
            ledger.settle(known_ns, None if subject in self.resting else now_ns)

    def _sample(self) -> None:
        """Hold the next of all books against the venue's own."""
        books = [ledger for ledger in self.ledgers.values() if ledger.book is not None and ledger.state == wire.LIVE]
        if books:
            self._sampled += 1
            self.compare(books[self._sampled % len(books)])

    def compare(self, ledger: Ledger) -> None:
        """Hold a book against the venue's own at the same update id."""
        if ledger.nature is not Nature.BOOK or ledger.book is None or ledger.state != wire.LIVE:
            return
        venue = self.venue.book(ledger.product, ledger.topic, ledger.book.update_id)
        if venue is not None:
            ledger.compare_book(venue)


def patience_s(promised_s: float) -> float:
    """Return how long to wait for what is promised within ``promised_s``."""
    return PATIENCE * promised_s + PATIENCE_MORE_S


def _seldom(condition: Callable[[], bool]) -> Callable[[], bool]:
    """Ask only every `LOOK_S`; in between the answer is no."""
    next_s = 0.0

    def asked() -> bool:
        nonlocal next_s
        if time.monotonic() < next_s:
            return False
        next_s = time.monotonic() + LOOK_S
        return condition()

    return asked
