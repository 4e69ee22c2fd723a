"""What strategies see of a worker that cannot stay up, and what the supervisor says of it.

Workers killed, hung and replaced once are in test_subscriber_processes.py.
"""

import functools
import signal
from pathlib import Path
from typing import Any

from support.feed import Feed, kill, wait_until
from support.onlooker import Onlooker
from support.simulator import Simulator
from support.strategy import unsaid

from feedhandler import wire
from feedhandler.wire import DOWN, LIVE

BOOK = "linear.orderbook.50.BTCUSDT"
OTHER = "spot.orderbook.50.BTCUSDT"
CONFIG = """
network = "sim"
[endpoints.linear]
product = "linear"
url = "{linear}"
topics = ["orderbook.50.BTCUSDT"]
[endpoints.spot]
product = "spot"
url = "{spot}"
topics = ["orderbook.50.BTCUSDT"]
"""
DEATHS = 4


def test_a_crash_loop_is_slowed_down_and_costs_the_others_nothing(tmp_path: Path) -> None:
    """Inject 4 kills, each as soon as the worker is up → pauses of 0, 0.5, 1, 2 s, said in `status` → then `live`."""
    with Simulator("--rate", "3", "--truth") as venue:
        feed = Feed(tmp_path, CONFIG.format(linear=venue.url_of("linear"), spot=venue.url_of("spot")))
        with feed, Onlooker(BOOK, OTHER, books=(BOOK, OTHER), runtime=feed.runtime) as strategy:

            def live_again(start: int) -> bool:
                return {one.record.subject for one in strategy.seen[start:] if one.word == LIVE} >= {BOOK}

            wait_until(
                lambda: {BOOK, OTHER} == {one.record.subject for one in strategy.seen if one.word == LIVE}, "live"
            )
            start = len(strategy.seen)
            for _ in range(DEATHS):
                begun = len(strategy.seen)
                kill(feed.worker("linear")["pid"], signal.SIGKILL)
                wait_until(functools.partial(live_again, begun), "live again")
            pauses = [
                line["message"].partition("; again ")[2]
                for line in feed.log_lines()
                if line["message"].startswith("worker linear ended (killed by SIGKILL)")
            ]
            assert pauses == ["at once", "in 0.5 s", "in 1 s", "in 2 s"]
            told: dict[str, Any] = feed.worker("linear")
            assert (told["restarts"], told["last_exit"]) == (DEATHS, "killed by SIGKILL")
            seen = strategy.seen[start:]
            assert [one.word for one in seen if one.record.subject == OTHER and one.record.kind == wire.STATUS] == []
            downs = [one for one in seen if one.record.subject == BOOK and one.word == DOWN]
            assert len(downs) == DEATHS
            assert unsaid(strategy.seen) == []
            epochs = [one.record.epoch for one in strategy.of(BOOK)]
            assert epochs == sorted(epochs)
            assert len(set(epochs)) == DEATHS + 1
            for subject in (BOOK, OTHER):
                shown = next(one.book for one in reversed(strategy.of(subject)) if one.book and one.book.state == LIVE)
                product, _, topic = subject.partition(".")
                truth = venue.get("/sim/book", product=product, topic=topic, u=shown.update_id)
                levels = [[(float(price), float(size)) for price, size in truth[side]] for side in "ba"]
                assert [shown.bids, shown.asks] == levels
