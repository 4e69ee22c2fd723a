"""Books and tickers that a `Subscriber` keeps, against what the venue says it sent: each depth, each kind of number."""

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from support.feed import Feed, wait_until
from support.simulator import Simulator

from feedhandler import Subscriber, wire
from feedhandler.book import RpiBook

OPTION: Final = "BTC-25DEC26-100000-C-USDT"
LINEAR: Final = tuple(f"orderbook.{depth}.BTCUSDT" for depth in (1, 50, 200, 1000, "rpi"))
OPTIONS: Final = tuple(f"orderbook.{depth}.{OPTION}" for depth in (25, 100))
BOOKS: Final = {**dict.fromkeys(LINEAR, "linear"), **dict.fromkeys(OPTIONS, "option")}
TICKERS: Final = {"linear": "tickers.BTCUSDT", "spot": "tickers.BTCUSDT", "option": f"tickers.{OPTION}"}
UPDATES: Final = 20
CONFIG: Final = """
network = "sim"
[endpoints.linear]
product = "linear"
url = "{linear}"
topics = {linear_topics}
[endpoints.spot]
product = "spot"
url = "{spot}"
topics = ["tickers.BTCUSDT"]
[endpoints.option]
product = "option"
url = "{option}"
topics = {option_topics}
"""


@pytest.fixture
def venue() -> Iterator[Simulator]:
    """A simulated Bybit that remembers its books."""
    with Simulator("--rate", "10", "--truth") as running:
        yield running


@pytest.fixture
def feed(venue: Simulator, tmp_path: Path) -> Iterator[Feed]:
    """A feed with every depth."""
    config = CONFIG.format(
        linear=venue.url_of("linear"),
        spot=venue.url_of("spot"),
        option=venue.url_of("option"),
        linear_topics=json.dumps([*LINEAR, TICKERS["linear"]]),
        option_topics=json.dumps([*OPTIONS, TICKERS["option"]]),
    )
    with Feed(tmp_path, config) as running:
        yield running


@pytest.mark.parametrize("numbers", [float, Decimal])
def test_books_of_every_depth_are_the_venues(venue: Simulator, feed: Feed, numbers: type) -> None:
    """After some updates each: every level, in its order, as the venue had it at that `u`; triples where it is rpi."""
    with Subscriber(runtime=feed.runtime) as subscriber:
        books = {topic: subscriber.book(f"{product}.{topic}", numbers=numbers) for topic, product in BOOKS.items()}
        seen: dict[str, set[int]] = {topic: set() for topic in BOOKS}

        def moved() -> bool:
            """Read on, and look whether every book has moved and is now what the venue still remembers."""
            record = subscriber.receive(1)
            if record is not None and record.kind <= wire.UPDATE:
                seen[record.topic].add(books[record.topic].update_id)
            return all(len(updates) >= UPDATES for topic, updates in seen.items() if topic not in OPTIONS)

        subscriber.wait_live(20)
        wait_until(moved, "each book moves")
        for topic, book in books.items():
            truth = venue.get("/sim/book", product=BOOKS[topic], topic=topic, u=book.update_id)
            sides: list[list[Any]] = [[tuple(map(numbers, level)) for level in truth[side]] for side in "ba"]
            assert [book.bids(), book.asks()] == sides, topic
            assert (book.best_bid, book.best_ask) == (sides[0][0], sides[1][0])
            assert (book.bids(3), book.asks(3)) == (sides[0][:3], sides[1][:3])
            assert book.mid == (sides[0][0][0] + sides[1][0][0]) / 2
            assert isinstance(book, RpiBook) is ("rpi" in topic)
            assert {len(level) for level in book.bids()} == {3 if "rpi" in topic else 2}
            assert book.state == wire.LIVE
            assert book.is_live
            assert 0 <= (-1 if book.age_s is None else book.age_s) < 60
        assert books["orderbook.1000.BTCUSDT"].depth[0] > 200


def test_tickers_are_whole(feed: Feed) -> None:
    """Merged where the venue sends deltas, the last one where it sends all: every field that a snapshot has is there."""
    with Subscriber(runtime=feed.runtime) as subscriber:
        tickers = {product: subscriber.ticker(f"{product}.{topic}") for product, topic in TICKERS.items()}
        subscriber.wait_live(20)
        end_s = time.monotonic() + 1.0
        fields: dict[str, dict[str, Any]] = {product: {} for product in TICKERS}
        while time.monotonic() < end_s:
            record = subscriber.receive(0.1)
            if record is not None and record.kind <= wire.UPDATE:
                fields[record.product].update(json.loads(record.payload)["data"])
        for product, ticker in tickers.items():
            assert ticker.is_live
            assert str(ticker.data.symbol) == fields[product]["symbol"]
            assert ticker.data.last_price == float(fields[product]["lastPrice"])
