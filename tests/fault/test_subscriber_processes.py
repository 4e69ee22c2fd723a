"""Processes are killed, stopped and replaced: what a strategy that does nothing about it sees, and how soon.

Each strategy is a process of its own, on a real feed and a simulated Bybit that remembers the truth. Times are taken
just before the signal is sent and when the record is in the strategy's hand. What is promised in milliseconds holds on a
machine that has time for us: of up to three attempts the best counts.
"""

import functools
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
from support.feed import Feed, kill, wait_until
from support.simulator import Simulator
from support.strategy import Shown, Strategy, unsaid

from feedhandler import wire
from feedhandler.wire import DOWN, ENDED, LIVE

BOOK: Final = "linear.orderbook.50.BTCUSDT"
TRADES: Final = "linear.publicTrade.BTCUSDT"
TICKER: Final = "linear.tickers.BTCUSDT"
OTHER: Final = "spot.orderbook.50.BTCUSDT"
SUBJECTS: Final = (BOOK, TRADES, TICKER, OTHER)
ATTEMPTS: Final = 3
DOWN_MS: Final = 200
HUNG_MS: Final = 3000
CONFIG: Final = """
network = "sim"
[endpoints.linear]
product = "linear"
url = "{linear}"
symbols = ["BTCUSDT"]
streams = ["orderbook.50", "publicTrade", "tickers"]
[endpoints.spot]
product = "spot"
url = "{spot}"
symbols = ["BTCUSDT"]
streams = ["orderbook.50"]
"""


class Scene:
    """A feed with two workers, and a strategy that keeps a book of each."""

    def __init__(self, venue: Simulator, feed: Feed, strategy: Strategy) -> None:
        self.venue = venue
        self.feed = feed
        self.strategy = strategy

    def wait_data(self, start: int, subjects: tuple[str, ...] = SUBJECTS) -> None:
        """Wait until every subject is live, and delivers, after the first ``start`` records of all."""
        for subject in subjects:
            kind = "update" if subject == TRADES else "delta"
            self.strategy.wait_for(subject, LIVE, kind, start=start)

    def wait_more(self, start: int, count: int = 20) -> None:
        """Wait for some more records of every subject."""
        for subject in SUBJECTS:
            least = count if "orderbook" in subject else 1
            self.strategy.wait_count(subject, least, start)

    def assert_books_right(self) -> None:
        """Hold both books, level for level, against the venue's own at the same `u`."""
        for subject, product in ((BOOK, "linear"), (OTHER, "spot")):
            shown = self.strategy.book(subject)
            truth = self.venue.get("/sim/book", product=product, topic="orderbook.50.BTCUSDT", u=shown.update_id)
            assert shown == Shown(LIVE, shown.update_id, _levels(truth["b"]), _levels(truth["a"]))

    def words(self, subject: str, start: int) -> list[str]:
        """Return what the strategy saw from its first change of state on; data alone are data."""
        words = self.strategy.words(subject, start)
        return words[1:] if len(words) > 1 and words[0] in ("delta", "update") else words

    def assert_nothing_unsaid(self) -> None:
        """Nothing came twice, and what did not come is spoken of."""
        assert unsaid(self.strategy.seen) == []


def _levels(rows: list[list[str]]) -> list[tuple[float, float]]:
    return [(float(price), float(size)) for price, size in rows]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Everything live, in the strategy's hands."""
    with Simulator("--rate", "3", "--truth") as venue:
        feed = Feed(tmp_path, CONFIG.format(linear=venue.url_of("linear"), spot=venue.url_of("spot")))
        with feed, Strategy(*SUBJECTS, books=(BOOK, OTHER), runtime=feed.runtime) as strategy:
            found = Scene(venue, feed, strategy)
            found.wait_data(0)
            yield found


def told_within_ms(scene: Scene, word: str, inject: Callable[[], None]) -> float:
    """Return the time (ms) from what ``inject`` does to the last of the linear subjects being told."""
    start = len(scene.strategy.seen)
    begun_ns = time.time_ns()
    inject()
    told = [scene.strategy.wait_for(subject, word, start=start)[0].at_ns for subject in (BOOK, TRADES, TICKER)]
    return (max(told) - begun_ns) / 1e6


def assert_trades_whole_outside_their_hole(strategy: Strategy, start: int) -> None:
    """Up to the hole that is told everything came, and from its end on everything does."""
    seen = strategy.of(TRADES)
    told = [one for one in strategy.of(TRADES, start) if one.record.kind == wire.STATUS]
    holes = [one.status for one in told if one.status.blind_to_ns is not msgspec.UNSET]
    before = [one.record for one in seen[: seen.index(told[0])] if one.record.kind == wire.UPDATE]
    after = [one.record for one in seen[seen.index(told[-1]) :] if one.record.kind == wire.UPDATE]
    assert min(hole.blind_from_ns for hole in holes) <= before[-1].published_ns  # type: ignore[type-var,operator]  # set
    assert max(hole.blind_to_ns for hole in holes) <= after[0].published_ns  # type: ignore[type-var,operator]  # set
    assert after[0].sequence == told[-1].record.sequence + 1


def test_killed_worker(scene: Scene) -> None:
    """kill -9 → `down` within 200 ms → live again with a snapshot, trades with their hole; the other worker's book goes on."""
    start, took_ms = 0, []
    for _ in range(ATTEMPTS):
        start = len(scene.strategy.seen)
        pid = scene.feed.wait_live("linear")["pid"]
        took_ms.append(told_within_ms(scene, DOWN, functools.partial(kill, pid)))
        scene.wait_data(start, (BOOK, TRADES, TICKER))
        if min(took_ms) <= DOWN_MS:
            break
    assert min(took_ms) <= DOWN_MS, took_ms
    assert scene.words(BOOK, start) == [DOWN, LIVE, "snapshot", "delta"]
    assert scene.words(TICKER, start) == [DOWN, LIVE, "snapshot", "delta"]
    assert [word for word in scene.words(TRADES, start) if word != "update"] == [DOWN, LIVE]
    assert scene.words(OTHER, start) == ["delta"]
    down = scene.strategy.first(BOOK, DOWN, start)
    assert down is not None
    assert (down.record.local, down.status.reason) == (
        True,
        f"connection to worker linear at ipc://{scene.feed.runtime}/linear.pub lost",
    )
    assert_trades_whole_outside_their_hole(scene.strategy, start)
    scene.assert_books_right()
    scene.assert_nothing_unsaid()


def test_hung_worker(scene: Scene) -> None:
    """SIGSTOP → `down` within 3 s → the supervisor replaces it: live with a snapshot; the other worker's book goes on."""
    start, took_ms = 0, []
    for _ in range(ATTEMPTS):
        start = len(scene.strategy.seen)
        pid = scene.feed.wait_live("linear")["pid"]
        took_ms.append(told_within_ms(scene, DOWN, functools.partial(kill, pid, signal.SIGSTOP)))
        scene.wait_data(start, (BOOK, TRADES, TICKER))
        if min(took_ms) <= HUNG_MS:
            break
    assert min(took_ms) <= HUNG_MS, took_ms
    # Silence first, and when the worker is killed at last, its connection.
    reasons = [one.status.reason for one in scene.strategy.of(BOOK, start) if one.word == DOWN]
    assert [reason.partition(" worker")[0] for reason in reasons] == ["no heartbeat from", "connection to"]
    assert scene.words(BOOK, start) == [DOWN, LIVE, "snapshot", "delta"]
    assert scene.words(OTHER, start) == ["delta"]
    assert_trades_whole_outside_their_hole(scene.strategy, start)
    scene.assert_books_right()
    scene.assert_nothing_unsaid()


def test_worker_that_was_paused_goes_on_where_it_was(scene: Scene) -> None:
    """SIGSTOP for 4 s, SIGCONT → `down`, `live`, the next delta: no snapshot is needed, and nothing is lost."""
    pid = scene.feed.worker("linear")["pid"]
    start = len(scene.strategy.seen)
    kill(pid, signal.SIGSTOP)
    scene.strategy.wait_for(BOOK, DOWN, start=start)
    time.sleep(1.0)
    kill(pid, signal.SIGCONT)
    scene.wait_data(start, (BOOK, TRADES, TICKER))
    assert scene.words(BOOK, start) == [DOWN, LIVE, "delta"]
    assert scene.words(OTHER, start) == ["delta"]
    assert scene.feed.worker("linear")["pid"] == pid
    assert scene.strategy.counters()["lost"] == 0
    scene.assert_books_right()
    scene.assert_nothing_unsaid()


def test_feed_stopped_and_run_again(scene: Scene) -> None:
    """`stop` → `ended`, and `unknown` for want of a feed within 3 s; `run` on the same directory → live with a snapshot."""
    start = len(scene.strategy.seen)
    stopped_ns = time.time_ns()
    assert scene.feed.command("stop").returncode == 0
    assert scene.feed.process is not None
    scene.feed.process.wait()
    unknown = scene.strategy.wait_for(BOOK, ENDED, "unknown", start=start)[-1]
    assert unknown.status.reason == f"no feed at {scene.feed.runtime}/feed.json"
    ended = scene.strategy.first(BOOK, ENDED, start)
    assert ended is not None
    assert (unknown.at_ns - max(ended.at_ns, stopped_ns)) / 1e6 < HUNG_MS
    scene.feed.start()
    scene.wait_data(start)
    for subject in (BOOK, OTHER):
        assert scene.words(subject, start) == [ENDED, "unknown", LIVE, "snapshot", "delta"]
    assert_trades_whole_outside_their_hole(scene.strategy, start)
    scene.assert_books_right()
    scene.assert_nothing_unsaid()


def test_killed_supervisor(scene: Scene) -> None:
    """kill -9 → its workers end: `ended` or `down`, `unknown` within 3 s → `run` again: live with a snapshot."""
    start = len(scene.strategy.seen)
    killed_ns = time.time_ns()
    kill(scene.feed.pid)
    (unknown,) = scene.strategy.wait_for(BOOK, "unknown", start=start)
    assert (unknown.at_ns - killed_ns) / 1e6 < HUNG_MS
    assert scene.feed.process is not None
    scene.feed.process.wait()
    scene.feed.start()
    scene.wait_data(start)
    for subject in (BOOK, OTHER):
        last_word, *words = scene.words(subject, start)
        assert last_word in (ENDED, DOWN), "a worker may have the time to say so, or not"
        assert words == ["unknown", LIVE, "snapshot", "delta"]
    assert_trades_whole_outside_their_hole(scene.strategy, start)
    scene.assert_books_right()
    scene.assert_nothing_unsaid()


def test_paused_supervisor_is_no_news(scene: Scene) -> None:
    """SIGSTOP and SIGCONT of who never touches data → nothing but data."""
    start = len(scene.strategy.seen)
    kill(scene.feed.pid, signal.SIGSTOP)
    time.sleep(3.5)
    kill(scene.feed.pid, signal.SIGCONT)
    scene.wait_more(len(scene.strategy.seen))
    assert [scene.words(subject, start) for subject in (BOOK, TICKER, OTHER)] == [["delta"]] * 3
    assert scene.words(TRADES, start) == ["update"]
    scene.assert_books_right()
    scene.assert_nothing_unsaid()


def test_paused_strategy_blames_nobody(scene: Scene) -> None:
    """SIGSTOP for 4 s, SIGCONT → everything that came meanwhile, and no word of a worker that was silent."""
    start = len(scene.strategy.seen)
    scene.strategy.pause()
    time.sleep(4.0)
    scene.strategy.go_on()
    scene.wait_more(start, count=200)
    assert [scene.words(subject, start) for subject in (BOOK, TICKER, OTHER)] == [["delta"]] * 3
    assert scene.strategy.counters()["lost"] == 0
    scene.assert_books_right()
    scene.assert_nothing_unsaid()


@pytest.mark.parametrize("how", ["stopped", "busy"])
def test_worker_replaced_while_the_strategy_was_away(scene: Scene, how: str) -> None:
    """Its old worker's last records, `down`, then the new one: in this order, and trades with the whole of their hole."""
    start = len(scene.strategy.seen)
    if how == "stopped":
        scene.strategy.pause()
    else:
        scene.strategy.sleep(3.0)
        time.sleep(0.5)
    first = scene.feed.worker("linear")
    kill(first["pid"])
    wait_until(lambda: scene.feed.worker("linear").get("pid") not in (None, first["pid"]), "another worker")
    scene.feed.wait_live("linear")
    if how == "stopped":
        scene.strategy.go_on()
    scene.wait_data(start, (BOOK, TRADES, TICKER))
    assert scene.words(BOOK, start) == [DOWN, LIVE, "snapshot", "delta"]
    assert [word for word in scene.words(TRADES, start) if word != "update"] == [DOWN, LIVE]
    assert scene.words(OTHER, start) == ["delta"]
    assert_trades_whole_outside_their_hole(scene.strategy, start)
    scene.assert_books_right()
    scene.assert_nothing_unsaid()
