"""What a strategy sees when more comes at once than ever: bursts, a venue that we read too slowly, a replay at full speed.

Each test reads: inject, the strategy sees, recovered within, nothing lost unreported and nothing repeated.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bottleneck import Bottleneck
from support.feed import Feed, wait_until
from support.onlooker import Onlooker
from support.simulator import Simulator
from support.stage import SUBJECTS, Act, Stage, acting, data
from support.strategy import unsaid

from feedhandler import wire
from feedhandler.wire import DOWN, LIVE, SUBSCRIBING

CROWD = tuple(f"linear.orderbook.1000.COIN{number}USDT" for number in range(300))
KEPT = (*SUBJECTS, *CROWD[:3])
FRAMES = 20_000
STUCK_S = 10
"""What lies on a way on which nothing gets through may be so old."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """300 books of 1000 levels, of which the strategy keeps a few, beside the usual topics."""
    directory = tmp_path_factory.mktemp("crowd")
    symbols = directory / "symbols"
    symbols.write_text("\n".join(subject.rpartition(".")[2] for subject in CROWD))
    options = ("--rate", "0.5", "--symbols", str(symbols))
    with Stage(directory, *options, subjects=KEPT, unkept=CROWD[len(KEPT) - len(SUBJECTS) :]) as running:
        yield running


@pytest.fixture
def act(stage: Stage) -> Iterator[Act]:
    """A fault to be tried on it."""
    yield from acting(stage)


def snapshots_since(act: Act) -> dict[str, int]:
    """Return the size (bytes) of the last snapshot of each of the many books since the fault."""
    seen = [one.record for one in act.stage.strategy.seen[act.start :]]
    return {one.subject: len(one.payload) for one in seen if one.kind == wire.SNAPSHOT and one.subject in CROWD}


def test_a_burst_of_snapshots_of_all_books_at_once_costs_nothing(act: Act) -> None:
    """Inject 300 spontaneous snapshots of 1000 levels, more than 10 MB → all are there within 5 s; no state changes."""
    act.inject("renew", product="linear")
    wait_until(lambda: len(snapshots_since(act)) == len(CROWD), "every book's snapshot", 5)
    assert sum(snapshots_since(act).values()) > 10_000_000
    act.await_flow(3)
    act.assert_kept()
    act.assert_untouched(*KEPT, *CROWD)


def test_a_reset_of_hundreds_of_books_is_healed_at_once(act: Act) -> None:
    """Inject a reset, after which 300 snapshots of 1000 levels come in one burst → every book `live` within 5 s."""
    act.inject("reset")
    for subject in (*KEPT, *CROWD):
        act.await_told(subject, DOWN, SUBSCRIBING, LIVE, within_s=5)
    wait_until(lambda: len(snapshots_since(act)) == len(CROWD), "every book's snapshot", 5)
    act.await_flow(3)
    act.assert_kept()


def test_a_connection_that_is_read_too_slowly_is_cut_and_told(tmp_path: Path) -> None:
    """Inject a way on which nothing gets through, and bursts → the venue cuts it, skipping nothing → `down`, `live`."""
    symbols = tmp_path / "symbols"
    symbols.write_text("\n".join(subject.rpartition(".")[2] for subject in CROWD))
    with (
        Bottleneck() as way,
        Stage(tmp_path, "--rate", "3", "--symbols", str(symbols), url=way.url, unkept=CROWD[:100]) as stage,
    ):
        stage.wait_whole()
        act = Act(stage)
        for judge in stage.court.judges.values():
            judge.transit_ns = STUCK_S * 1_000_000_000  # blind times are told by when we received, not the venue sent
        stage.venue.settings(write_limit_bytes=1_000_000_000)
        way.close()
        for _ in range(3):
            act.inject("renew", topic="orderbook.1000.*")  # more than sockets hold, and the venue is patient
        # Its patience ends between two messages.
        stage.venue.settings(write_limit_bytes=100_000)
        stage.venue.wait_for(lambda stats: stats["totals"].get("slow_consumers_cut") == 1)
        stage.venue.settings(write_limit_bytes=16 * 1024 * 1024)
        way.open()
        act.await_each_told(DOWN, SUBSCRIBING, LIVE, within_s=10)
        stage.wait_whole()
        act.assert_kept()
        assert act.counted("reconnects") == 1


def test_a_replay_at_full_speed_comes_whole(tmp_path: Path) -> None:
    """Inject a recording of an hour, played as fast as it is read → every frame comes once, in order, as it was."""
    trades, book = "publicTrade.BTCUSDT", "orderbook.50.BTCUSDT"
    frames: dict[str, list[str]] = {trades: [], book: []}
    for number in range(FRAMES):
        ts = 1_700_000_000_000 + 180 * number
        row = {"T": ts, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "50000.00", "i": f"t{number}", "seq": number + 1}
        frames[trades].append(json.dumps({"topic": trades, "type": "snapshot", "ts": ts, "data": [row]}))
        sides = {"b": [["50000.00", f"{number % 9 + 1}.000"]], "a": [["50000.10", "1.000"]] if not number else []}
        kind = "delta" if number else "snapshot"
        levels = {"s": "BTCUSDT", **sides, "u": number + 1, "seq": number + 1}
        frames[book].append(json.dumps({"topic": book, "type": kind, "ts": ts, "data": levels, "cts": ts}))
    file = tmp_path / "recording.jsonl"
    file.write_text("".join(f"{one}\n{other}\n" for one, other in zip(frames[trades], frames[book], strict=True)))
    with Simulator("--replay", str(file), "--pace", "fast", "--settle-s", "2") as venue:
        feed = Feed(
            tmp_path,
            f'network = "sim"\n[endpoints.linear]\nproduct = "linear"\nurl = "{venue.url_of("linear")}"\n'
            f'topics = ["{trades}", "{book}"]\nconnection.canary = ""\n',
        )
        subjects = {f"linear.{topic}": texts for topic, texts in frames.items()}
        with Onlooker(*subjects, runtime=feed.runtime) as strategy, feed:
            for subject in subjects:
                wait_until(lambda subject=subject: len(data(strategy.of(subject))) >= FRAMES, "all of it", 60)  # type: ignore[misc]  # mypy infers no lambda with a default
            for subject, texts in subjects.items():
                assert [one.record.payload.decode() for one in data(strategy.of(subject))] == texts
            assert unsaid(strategy.seen) == []
            assert {one.word for one in strategy.seen if one.record.kind == wire.STATUS} <= {
                SUBSCRIBING,
                LIVE,
                "unknown",
            }
