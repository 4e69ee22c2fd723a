"""A topic moves from one worker to another, in many of the orders in which a strategy may hear of it."""

import time
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Final

import pytest
from support.publisher import Publisher, announce_feed
from support.records import said
from support.strategy import Seen, unsaid

from feedhandler import Subscriber, wire

STEPS: Final = ("old delivers", "old ends", "new begins", "new delivers", "directory")
ORDERS: Final = [
    order
    for order in permutations(STEPS)
    if order.index("old delivers") < order.index("old ends") and order.index("new begins") < order.index("new delivers")
][::2]
"""Every second of the 30 that there are; tests/property/test_client_handover.py has thousands, without sockets."""
STAYING: Final = "publicTrade.STAYINGUSDT"
EPOCH: Final = 1_780_000_000
DEADLINE_S: Final = 10.0
QUIET_S: Final = 0.03
DIRECTORY_S: Final = 0.12
"""The subscriber looks at the directory every 100 ms."""


def topics(number: int) -> list[str]:
    """Return the topics that move in one order of the steps."""
    return [f"orderbook.50.COIN{number}USDT", f"publicTrade.COIN{number}USDT"]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[tuple[Publisher, Publisher]]:
    """The worker that carries everything, and one that carries nothing yet but a topic of its own."""
    everything = [topic for number in range(len(ORDERS)) for topic in topics(number)]
    with (
        Publisher(tmp_path, everything, announce=False) as old,
        Publisher(tmp_path, [STAYING], worker="linear-1", announce=False) as new,
    ):
        announce_feed(tmp_path, [old, new])
        yield old, new


def test_moved_topic_is_followed_in_whatever_order_it_is_heard(workers: tuple[Publisher, Publisher]) -> None:
    """Live at the new worker with its book; nothing twice, every loss spoken of, and no word of the topics that stay."""
    old, new = workers
    assert len(ORDERS) == 15
    seen: list[Seen] = []
    with Subscriber(runtime=old.directory) as feed:
        feed.subscribe("linear.")
        feed.wait_live(DEADLINE_S)

        def read() -> set[tuple[str, int, int]]:
            """Read until nothing comes any more; return subject, epoch and number of everything so far."""
            while (record := feed.receive(QUIET_S)) is not None:
                seen.append(Seen(time.time_ns(), record))
            return {(one.record.subject, one.record.epoch, one.record.sequence) for one in seen}

        for number, order in enumerate(ORDERS):
            book, trades = (f"linear.{topic}" for topic in topics(number))
            kept = feed.book(book)
            read()
            start = len(seen)
            for step in order:
                if step == "old delivers":
                    old.book(book, b=[["98.5", "7"]])
                    old.trade(trades, "old")
                elif step == "old ends":
                    for subject in (book, trades):
                        old.do("status", subject=subject, state="ended", reason="moved")
                elif step == "new begins":
                    for subject in (book, trades):
                        new.do("carry", subject=subject, epoch=EPOCH + 1 + number)
                        new.begin(subject)
                elif step == "new delivers":
                    new.book(book, b=[["97.5", "9"]])
                    new.trade(trades, "new")
                else:
                    old.topics = [topic for topic in old.topics if topic not in topics(number)]
                    new.topics = [*new.topics, *topics(number)]
                    announce_feed(old.directory, [old, new])
                    time.sleep(DIRECTORY_S)
                read()
            epoch = EPOCH + 1 + number
            last = {(book, epoch, 4), (trades, epoch, 3)}
            deadline_s = time.monotonic() + DEADLINE_S
            while not last <= read():
                assert time.monotonic() < deadline_s, f"{last} never came: {order}"
            told = [one for one in seen[start:] if one.record.subject in (book, trades)]
            text = f"{order}: {[said(one.record) for one in told]}"
            assert (feed.state(book), feed.state(trades)) == (wire.LIVE, wire.LIVE), text
            assert (kept.is_live, kept.bids(1), kept.bids()[-1]) == (True, [(99.0, 1.0)], (97.5, 9.0)), text
            assert [one.record.epoch for one in told][-1] == epoch, text
            assert wire.DOWN not in {one.word for one in told}, text
        staying = f"linear.{STAYING}"
        assert [one.word for one in seen if one.record.subject == staying] == [wire.LIVE], "nothing happened to it"
    assert unsaid(seen) == []
