"""A worker is restarted by command: what a strategy that does nothing about it sees, held against what the venue sent."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from support.feed import Feed, kill, wait_until
from support.simulator import Simulator
from support.stage import Stage, data
from support.strategy import Strategy, unsaid

from feedhandler import runtime, wire

ASLEEP_S: Final = 6.0
"""Longer than two workers publish the same."""
CONFIG: Final = """
network = "sim"
[endpoints.linear]
product = "linear"
url = "{url}"
symbols = ["BTCUSDT"]
streams = ["orderbook.50", "publicTrade", "tickers", "kline.1", "orderbook.1", "allLiquidation"]
[endpoints.private]
product = "private"
url = "{private}"
topics = ["order", "execution", "position", "wallet"]
"""
TRADES: Final = "linear.publicTrade.BTCUSDT"
BOOK: Final = "linear.orderbook.50.BTCUSDT"
ORDERS: Final = "private.order"
EXECUTIONS: Final = "private.execution"


def restart(feed: Feed, worker: str = "linear") -> None:
    """Restart a worker as a user does, and wait until it is done."""
    pid = feed.worker(worker)["pid"]
    done = feed.command("restart", worker)
    assert done.returncode == 0, done.stderr
    assert feed.worker(worker)["pid"] != pid


@pytest.mark.parametrize("lines", [1, 2])
def test_worker_restarted_by_command_is_not_noticed(tmp_path: Path, lines: int) -> None:
    """Twice, amid thousands of messages → live all the while: nothing lost, twice or wrong, and no hole told."""
    with Stage(tmp_path, "--rate", "20", more=f"lines = {lines}") as stage:
        stage.wait_whole()
        for _ in range(2):
            start = len(stage.strategy.seen)
            restart(stage.feed)
            stage.wait_more(10)
            since = stage.strategy.seen[start:]
            told = [one for one in since if one.record.kind == wire.STATUS and one.record.subject in stage.subjects]
            assert {one.status.state for one in told} == {wire.LIVE}
            assert [one.status.reason for one in told if one.record.local] == []
            assert unsaid(stage.strategy.seen) == []
            for subject in stage.subjects:
                epochs = [one.record.epoch for one in data(stage.strategy.of(subject, start))]
                assert epochs == sorted(epochs), subject
                assert len(set(epochs)) == 2, f"{subject} was not followed to the new worker"
            court = stage.settle()
            assert court.taken_findings() == []
            assert court.taken_wrong() == []
        assert stage.court.checked > 1000


def test_successor_that_dies_while_both_publish_is_not_noticed(tmp_path: Path) -> None:
    """kill -9 of the new process → the old one goes on, the next new one takes over: nothing lost, and no hole told."""
    with Stage(tmp_path, "--rate", "20") as stage, ThreadPoolExecutor(1) as pool:
        stage.wait_whole()
        start = len(stage.strategy.seen)
        restarting = pool.submit(stage.feed.command, "restart", "linear")
        directory = stage.feed.runtime / runtime.FEED_FILE
        wait_until(lambda: json.loads(directory.read_bytes())["workers"]["linear"]["generation"], "both publish")
        killed = stage.feed.worker("linear")
        kill(killed["pid"])
        assert restarting.result().returncode == 0
        newest = stage.feed.worker("linear")["epoch"]
        assert newest > killed["epoch"]
        for subject in stage.subjects:
            wait_until(lambda subject=subject: stage.strategy.of(subject)[-1].record.epoch == newest, subject)  # type: ignore[misc]  # mypy infers no lambda with a default
            told = [one for one in stage.strategy.of(subject, start) if one.record.kind == wire.STATUS]
            assert {one.status.state for one in told} == {wire.LIVE}
            assert [one.status.reason for one in told if one.record.local] == []
        stage.wait_more(10)
        assert unsaid(stage.strategy.seen) == []
        court = stage.settle()
        assert (court.taken_findings(), court.taken_wrong()) == ([], [])


def test_strategy_asleep_meanwhile_is_told_what_it_missed(tmp_path: Path) -> None:
    """Too late for the old worker → everything it had published, then the hole; the book is the new worker's, and right."""
    with Simulator("--rate", "10", "--truth") as venue:
        config = CONFIG.format(url=venue.url_of("linear"), private=venue.url_of("private"))
        with Feed(tmp_path, config) as feed, Strategy(BOOK, TRADES, books=[BOOK], runtime=feed.runtime) as strategy:
            strategy.wait_for(BOOK, wire.LIVE, "delta")
            strategy.wait_for(TRADES, wire.LIVE, "update")
            start = len(strategy.seen)
            strategy.sleep(ASLEEP_S)
            restart(feed)
            strategy.wait_for(BOOK, "snapshot", "delta", start=start)
            strategy.wait_for(TRADES, wire.LIVE, "update", start=start)
            holes = [one for one in strategy.of(TRADES, start) if one.word == wire.LIVE and one.status.lost is None]
            assert len(holes) == 1
            assert unsaid(strategy.seen) == []
            shown = strategy.book(BOOK)
            truth = venue.get("/sim/book", product="linear", topic="orderbook.50.BTCUSDT", u=shown.update_id)
            assert shown.state == wire.LIVE
            assert (shown.bids, shown.asks) == tuple(
                [(float(price), float(size)) for price, size in truth[side]] for side in ("b", "a")
            )


def test_every_kind_of_topic_is_continued(tmp_path: Path) -> None:
    """Candles, level 1, liquidations, a whole endpoint by its prefix → live all the while, in order, nothing unsaid."""
    with Simulator("--rate", "10", "--truth") as venue:
        config = CONFIG.format(url=venue.url_of("linear"), private=venue.url_of("private"))
        with Feed(tmp_path, config) as feed, Strategy("linear.", runtime=feed.runtime) as strategy:
            names = ("orderbook.50", "publicTrade", "tickers", "kline.1", "orderbook.1", "allLiquidation")
            subjects = [f"linear.{name}.BTCUSDT" for name in names]
            for subject in subjects:
                strategy.wait_for(subject, wire.LIVE)
            strategy.wait_for(BOOK, "delta")
            start = len(strategy.seen)
            restart(feed)
            newest = feed.worker("linear")["epoch"]
            wait_until(
                lambda: all(strategy.of(subject)[-1].record.epoch == newest for subject in subjects), "the new epoch"
            )
            for subject in subjects:
                told = [one for one in strategy.of(subject, start) if one.record.kind == wire.STATUS]
                assert {one.word for one in told} == {wire.LIVE}, subject
                assert [one.status.reason for one in told if one.record.local] == [], subject
            assert unsaid(strategy.seen) == []


def test_account_is_continued(tmp_path: Path) -> None:
    """Orders filled all the while → each comes once, in order, to a strategy that was there before; no hole is told."""
    with Simulator("--account-rate", "0", "--rate", "0.001") as venue:
        config = CONFIG.format(url=venue.url_of("linear"), private=venue.url_of("private"))
        with Feed(tmp_path, config) as feed, Strategy("private.", runtime=feed.runtime) as strategy:
            for subject in (ORDERS, EXECUTIONS):
                strategy.wait_for(subject, wire.LIVE)
            with ThreadPoolExecutor(1) as pool:
                restarting = pool.submit(restart, feed, "private")
                known = [venue.account("fill", maker=0)["order"]]
                while not restarting.done():
                    known.append(venue.account("fill", maker=0)["order"])
                restarting.result()
            known.append(venue.account("fill", maker=0)["order"])
            for subject in (ORDERS, EXECUTIONS):
                wait_until(lambda subject=subject: known[-1] in seen(strategy, subject, "orderId"), subject)  # type: ignore[misc]  # mypy infers no lambda with a default
                # An order may have been executed in several parts.
                assert list(dict.fromkeys(seen(strategy, subject, "orderId"))) == known
                told = [one for one in strategy.of(subject) if one.record.kind == wire.STATUS]
                assert [one.status.reason for one in told if one.record.local] == []
                assert len({one.record.epoch for one in told}) == 2
            for subject, name in ((ORDERS, "orderId"), (EXECUTIONS, "execId")):
                ids = seen(strategy, subject, name)
                assert len(set(ids)) == len(ids) >= len(known) > 20
            assert unsaid(strategy.seen) == []


def seen(strategy: Strategy, subject: str, name: str) -> list[str]:
    """A field of each row that a strategy was handed."""
    records = [one.record for one in strategy.of(subject) if one.record.kind == wire.UPDATE]
    return [row[name] for record in records for row in json.loads(record.payload)["data"]]
