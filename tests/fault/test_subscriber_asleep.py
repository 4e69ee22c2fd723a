"""A strategy sleeps while 2,000 messages a second come: what it is told when it wakes, and how soon it is current.

The strategy is this process: its one thread does something else, as a strategy that computes does. By default it sleeps
for seconds; ``-m soak`` has the full minute, and with ``-rP`` the figures.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest
from support.feed import Feed, wait_until
from support.simulator import Simulator
from support.strategy import Seen, unsaid
from support.traffic import BOOK_TOPIC, Traffic

from feedhandler import Subscriber, wire
from feedhandler.client.views import BookView

PER_S: Final = 2000
SYMBOLS: Final = 20
BOOK: Final = f"linear.{BOOK_TOPIC}"
CURRENT_S: Final = 1.0
"""Promised: awake for this long, a strategy with ``max_age_s`` is current."""
FRESH_S: Final = 0.1
ATTEMPTS: Final = 3
"""A busy machine may be slow: the best attempt counts."""
MARGIN_S: Final = 5.0
"""Of traffic beyond a sleep: to get live before it, and to be current after it."""
HIGH_WATER_MARK: Final = 1000
IN_THE_KERNEL: Final = 2500
"""At most so many records are in the Unix socket between the two high-water marks: 208 KiB of some 300 bytes, twice."""
CONFIG: Final = """
network = "sim"
[connection]
canary = ""
[publish]
send_high_water_mark = {high_water_mark}
[endpoints.linear]
product = "linear"
url = "{url}"
topics = {topics}
"""


class Sleeper:
    """A subscriber of everything, and all that it has seen."""

    def __init__(self, feed: Subscriber, traffic: Traffic) -> None:
        self.feed = feed
        self.traffic = traffic
        self.seen: list[Seen] = []
        self.subjects = [f"linear.{topic}" for topic in traffic.topics]
        self.book: BookView = feed.book(BOOK)
        feed.subscribe("linear.publicTrade.")

    def read(self, seconds: float) -> None:
        """Read for a while."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            record = self.feed.receive(left_s)
            if record is not None:
                self.seen.append(Seen(time.time_ns(), record))

    def sleep(self, seconds: float) -> int:
        """Do something else; return how many records had been seen by then."""
        # Not with a record in hand: what is there was read.
        self.read(0.5)
        time.sleep(seconds)
        return len(self.seen)

    def wait_whole(self) -> None:
        """Read until everything is live, and nothing old comes any more."""

        def whole() -> bool:
            self.read(0.1)
            last = self.seen[-1]
            return (
                last.at_ns - last.record.published_ns < FRESH_S * 1e9
                and self.book.is_live
                and all(self.feed.state(subject) == wire.LIVE for subject in self.subjects)
            )

        wait_until(whole, "everything live, and a record that is fresh")

    def lost(self, start: int) -> dict[str, int]:
        """Return how many records of each subject the statuses say were missed, from record ``start`` on."""
        found: dict[str, int] = {}
        for one in self.seen[start:]:
            if one.record.kind == wire.STATUS and isinstance(lost := one.status.lost, int):
                found[one.record.subject] = found.get(one.record.subject, 0) + lost
        return found

    def assert_right(self) -> None:
        """Everything that was sent is delivered or spoken of, and the book is what the venue sent."""
        assert unsaid(self.seen) == []
        assert (self.book.bids(), self.book.asks()) == self.traffic.book_at(self.book.update_id)


@contextmanager
def asleep(directory: Path, seconds: float, *, max_age_s: float | None, high_water_mark: int) -> Iterator[Sleeper]:
    """A live strategy before its sleep, with traffic for long enough."""
    traffic = Traffic(per_s=PER_S, seconds=ATTEMPTS * (seconds + MARGIN_S), symbols=SYMBOLS)
    with Simulator("--replay", str(traffic.write(directory / "traffic"))) as venue:
        config = CONFIG.format(
            url=venue.url_of("linear"),
            topics=msgspec.json.encode(traffic.topics).decode(),
            high_water_mark=high_water_mark,
        )
        feed = Feed(directory, config)
        with (
            feed,
            Subscriber(
                runtime=feed.runtime, max_age_s=max_age_s, receive_high_water_mark=high_water_mark
            ) as subscriber,
        ):
            sleeper = Sleeper(subscriber, traffic)
            subscriber.wait_live(20)
            yield sleeper


def say(figures: str) -> None:
    """Show figures to who asks pytest for them."""
    sys.stdout.write(f"{figures}\n")


def wakes_current(directory: Path, seconds: float) -> None:
    """Sleep, wake, and hold what is seen against what is promised with ``max_age_s``."""
    took_s = []
    with asleep(directory, seconds, max_age_s=1.0, high_water_mark=100_000) as sleeper:
        for _ in range(ATTEMPTS):
            start = sleeper.sleep(seconds)
            woke_ns = time.time_ns()
            sleeper.wait_whole()
            woke = sleeper.seen[start:]
            told = {one.record.subject for one in woke if one.word == wire.RESYNCING}
            live = {one.record.subject: one for one in woke if one.word == wire.LIVE}
            assert sorted(told) == sorted(live) == sorted(sleeper.subjects), "each subject is told, and live again"
            took_s.append((max(one.at_ns for one in live.values()) - woke_ns) / 1e9)
            if min(took_s) <= CURRENT_S:
                break
        assert min(took_s) <= CURRENT_S, took_s
        missed, current_s = sleeper.lost(start), min(took_s)
        say(f"asleep for {seconds:g} s: told of {sum(missed.values())} missed, current {current_s:.3f} s after waking")
        # Nothing old was handed out; and what was missed is what was sent meanwhile, not much more and not much less.
        data = [one for one in woke if one.record.kind <= wire.UPDATE]
        assert max(one.at_ns - one.record.published_ns for one in data) < 1e9
        assert 0.8 < sum(missed.values()) / (PER_S * seconds) < 1.2
        assert sleeper.feed.counters.lost == 0
        sleeper.assert_right()


def wakes_to_a_backlog(directory: Path, seconds: float) -> None:
    """Sleep, wake, and hold what is seen against what is promised without ``max_age_s``."""
    with asleep(directory, seconds, max_age_s=None, high_water_mark=HIGH_WATER_MARK) as sleeper:
        start = sleeper.sleep(seconds)
        sleeper.wait_whole()
        woke = sleeper.seen[start:]
        gap = next(
            index
            for index, one in enumerate(woke)
            if one.record.kind == wire.STATUS and one.status.lost is not msgspec.UNSET
        )
        # What was kept comes first: up to the high-water marks of worker and subscriber, of which ZeroMQ counts up to half
        # as taken by what was read before, and what the kernel holds.
        assert HIGH_WATER_MARK <= gap <= 2 * HIGH_WATER_MARK + IN_THE_KERNEL
        assert all(one.record.kind <= wire.UPDATE for one in woke[:gap] if one.record.subject != BOOK)
        lost = sleeper.lost(start)
        say(
            f"asleep for {seconds:g} s: {gap} records of the backlog, then told of {sum(lost.values())} that were dropped"
        )
        assert sorted(lost) == sorted(sleeper.subjects), "each subject is told"
        assert sum(lost.values()) == sleeper.feed.counters.lost
        assert sum(lost.values()) >= PER_S * seconds - gap
        sleeper.assert_right()


def test_with_max_age_a_strategy_is_current_within_1_s_of_waking(tmp_path: Path) -> None:
    """Asleep for 5 s: told how many records of each subject it missed, live, with a right book, nothing old handed out."""
    wakes_current(tmp_path, 5.0)


def test_without_max_age_a_strategy_gets_its_backlog_and_the_count_of_the_rest(tmp_path: Path) -> None:
    """Asleep for 5 s with small high-water marks: first what was kept, then what was dropped, to the record; a right book."""
    wakes_to_a_backlog(tmp_path, 5.0)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_minute_asleep_with_max_age(tmp_path: Path) -> None:
    """The same after 60 s, with the high-water marks that are the default: 120,000 records wait."""
    wakes_current(tmp_path, 60.0)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_minute_asleep_without_max_age(tmp_path: Path) -> None:
    """The same after 60 s."""
    wakes_to_a_backlog(tmp_path, 60.0)
