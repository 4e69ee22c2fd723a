"""Many subjects, many subscribers, and subscribers that come and go: nothing is missing, and nothing is left behind.

``-rP`` shows the figures.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import psutil
import pytest
from support.crowd import Churn, Crowd, Member, Usage, results, start
from support.feed import Feed, kill, wait_until
from support.simulator import Simulator
from support.strategy import Seen, Shown, Strategy, unsaid

from feedhandler import Subscriber, wire

STREAMS: Final = ("orderbook.50", "orderbook.1", "publicTrade", "tickers", "kline.1")
CONFIG: Final = """
network = "sim"
[endpoints.linear]
product = "linear"
url = "{url}"
symbols = {symbols}
streams = {streams}
"""
BOOK_TOPIC: Final = "orderbook.50.COIN0USDT"
BOOK: Final = f"linear.{BOOK_TOPIC}"
SUBSCRIBERS: Final = 50
ROUNDS: Final = 5
JOINS: Final = 200
"""In each round."""
THREADS: Final = 20
LEFT_BYTES: Final = 4 * 2**20
"""Memory that may grow from the second round on: 800 joins that left one image of a book each, or one thread, would
leave more. The allocator keeps a little of its own after each."""


class Scene:
    """A feed of some symbols with all streams, on a simulated Bybit that knows the truth."""

    def __init__(self, venue: Simulator, feed: Feed, symbols: int) -> None:
        self.venue = venue
        self.feed = feed
        self.subjects = [f"linear.{stream}.COIN{number}USDT" for number in range(symbols) for stream in STREAMS]

    def assert_true(self, shown: Shown) -> None:
        """Hold a book against the venue's own, level for level."""
        truth = self.venue.get("/sim/book", product="linear", topic=BOOK_TOPIC, u=shown.update_id)
        sides = [[(float(price), float(size)) for price, size in truth[side]] for side in "ba"]
        assert (shown.state, shown.bids, shown.asks) == (wire.LIVE, *sides)


def running(directory: Path, symbols: int) -> Iterator[Scene]:
    """Run a feed of so many symbols."""
    with Simulator("--rate", "3", "--truth") as venue:
        names = json.dumps([f"COIN{number}USDT" for number in range(symbols)])
        config = CONFIG.format(url=venue.url_of("linear"), symbols=names, streams=json.dumps(STREAMS))
        with Feed(directory, config) as feed:
            yield Scene(venue, feed, symbols)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """100 subjects, live."""
    for found in running(tmp_path, 20):
        found.feed.wait_live("linear")
        yield found


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Scene]:
    """5,000 subjects."""
    yield from running(tmp_path, 1000)


def test_5000_subjects_in_one_subscriber(large: Scene) -> None:
    """Each is live and delivers, nothing is lost; when their worker is killed each is told, and each comes back."""
    assert len(large.subjects) == 5000
    seen: list[Seen] = []

    def read_until_all(found: set[str], what: str, *words: str) -> None:
        """Read until each subject has had one of these words."""
        end_s = time.monotonic() + 60
        while len(found) < len(large.subjects):
            assert time.monotonic() < end_s, f"{what}: {len(found)} of {len(large.subjects)}"
            record = feed.receive(1)
            if record is not None:
                seen.append(Seen(time.time_ns(), record))
                if seen[-1].word in words and not record.is_image:
                    found.add(record.subject)

    with Subscriber(runtime=large.feed.runtime) as feed:
        feed.subscribe(*large.subjects)
        feed.wait_live(60)
        read_until_all(set(), "with data", "snapshot", "delta", "update")
        assert feed.counters.lost == 0
        large.feed.wait_live("linear")
        kill(large.feed.worker("linear")["pid"])
        read_until_all(set(), "down", wire.DOWN)
        feed.wait_live(60)
        read_until_all(set(), "live again", wire.LIVE)
    assert unsaid(seen) == []


def test_50_subscribers_at_once(scene: Scene) -> None:
    """50 processes that join at the same moment: each has everything, complete, and the venue's own book."""
    crowd = Crowd(str(scene.feed.runtime), SUBSCRIBERS, scene.subjects, BOOK, seconds=5.0)
    members: list[Member] = results(start(crowd), Member, 100)
    assert len(members) == SUBSCRIBERS
    for member in members:
        assert member.unsaid == []
        assert member.counters["lost"] == 0
        assert member.states == {wire.LIVE: len(scene.subjects)}
        scene.assert_true(member.book)
    # All were there at the same time, and each had the whole stream: about as much as any other.
    delivered = sorted(sum(member.delivered.values()) for member in members)
    assert delivered[0] > 0.8 * delivered[-1]
    beat = scene.feed.counters("linear")
    assert beat["resyncs"] == 0


def stream(strategy: Strategy, start: int) -> dict[tuple[str, int], bytes]:
    """Return what a strategy was handed from its record ``start`` on, by subject and number; all of it must be data."""
    records = [one.record for one in strategy.seen[start:] if not one.record.subject.startswith("linear.heartbeat.")]
    assert {wire.KIND_NAMES[record.kind] for record in records} <= {"snapshot", "delta", "update"}, "and no status"
    return {(record.subject, record.sequence): record.payload for record in records}


@pytest.mark.parametrize("stay", [False, True], ids=["come and go", "change their minds"])
def test_1000_joins_leave_nothing_behind(scene: Scene, stay: bool) -> None:
    """Who stays has a complete and true stream all the while; memory, descriptors and threads stay what they were."""
    worker = psutil.Process(scene.feed.worker("linear")["pid"])
    with (
        Strategy(*scene.subjects, books=(BOOK,), runtime=scene.feed.runtime) as first,
        Strategy("linear.", books=(BOOK,), runtime=scene.feed.runtime) as second,
    ):
        begun = [strategy.wait_live(*scene.subjects) for strategy in (first, second)]
        serving, staying = [Usage.of(worker)], [Usage.of(first.usage)]
        churn = Churn(str(scene.feed.runtime), scene.subjects, ROUNDS, JOINS, threads=THREADS, stay=stay)
        joining: list[Usage] = []
        with start(churn) as process:
            assert process.stdout is not None
            for line in process.stdout:
                joining.append(msgspec.json.decode(line, type=Usage))
                serving.append(Usage.of(worker))
                staying.append(Usage.of(first.usage))
        assert process.returncode == 0
        assert len(joining) == ROUNDS
        for name, usages in (("joins and leaves", joining), ("worker", serving), ("stays", staying)):
            sys.stdout.write(f"{name}: {'; '.join(map(str, usages))}\n")
        # In the client's process, round by round.
        assert len({(usage.descriptors, usage.threads) for usage in joining}) == 1
        assert joining[-1].rss_bytes - joining[1].rss_bytes < LEFT_BYTES
        # In the worker, once it has heard of those who left.
        wait_until(lambda: Usage.of(worker).descriptors == serving[0].descriptors, "the worker lets go of who left")
        assert Usage.of(worker).threads == serving[0].threads
        assert serving[-1].rss_bytes - serving[2].rss_bytes < LEFT_BYTES
        # And in who stayed.
        assert {(usage.descriptors, usage.threads) for usage in staying} == {
            (staying[0].descriptors, staying[0].threads)
        }
        assert staying[-1].rss_bytes - staying[2].rss_bytes < LEFT_BYTES
        for strategy, start_of_it in zip((first, second), begun, strict=True):
            strategy.wait_count(BOOK, 20, len(strategy.seen))
            assert unsaid(strategy.seen) == []
            assert strategy.counters()["lost"] == 0
            scene.assert_true(strategy.book(BOOK))
            assert len(stream(strategy, start_of_it)) > 1000
        one, other = (
            stream(strategy, start_of_it) for strategy, start_of_it in zip((first, second), begun, strict=True)
        )
        assert all(other[key] == payload for key, payload in one.items() if key in other)
        assert len(one.keys() & other.keys()) > 0.9 * len(one)
