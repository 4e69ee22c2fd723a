"""Spreads, from the venue to a strategy: symbols with a slash, negative prices, sides that may be empty (dossier 4.14)."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.feed import Ear, Feed, breaks, is_data, wait_until
from support.simulator import Simulator

import feedhandler
from feedhandler import wire
from feedhandler.bybit import messages

SYMBOL = "SOLUSDT_SOL/USDT"
BOOK, TRADES, TICKER = SUBJECTS = [f"spread.{stream}.{SYMBOL}" for stream in ("orderbook.25", "publicTrade", "tickers")]
TOPIC = BOOK.removeprefix("spread.")

Scene = tuple[Simulator, Feed, Ear]


@pytest.fixture(params=[1, 2], ids=["one line", "two lines"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """Everything live, and heard from the start; the ear asks for whole subjects only."""
    config = f"""
        network = "sim"
        [endpoints.spread]
        product = "spread"
        lines = {request.param}
        symbols = ["{SYMBOL}", "BTCUSDT_BTC/USDT"]
        streams = ["orderbook.25", "publicTrade", "tickers"]
    """
    with Simulator("--rate", "20", "--truth") as venue:
        feed = Feed(tmp_path, config + f'\nurl = "{venue.url_of("spread")}"')
        with Ear([feed.address("spread")], SUBJECTS) as ear, feed:
            feed.wait_live("spread")
            yield venue, feed, ear


def test_every_stream_reaches_a_strategy_whole(scene: Scene) -> None:
    """Books chain and are the venue's own, trades and tickers decode; only what was asked for, under its whole name."""
    venue, _, ear = scene
    wait_until(lambda: len(ear.data(BOOK)) > 30, "books")
    for subject in (TRADES, TICKER):
        wait_until(functools.partial(ear.data, subject), subject)
    assert {record.subject for record in ear.records} == set(SUBJECTS)
    assert not breaks(ear.records)
    levels: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    last = -1
    for record in [record for record in ear.of(BOOK) if is_data(record) or record.flags & wire.IMAGE]:
        data = json.loads(record.payload)["data"]
        if record.flags & wire.IMAGE and last >= 0:
            continue  # for somebody else: we are in step
        if record.kind == wire.SNAPSHOT:
            levels = {"b": {}, "a": {}}
        else:
            assert data["u"] == last + 1
        last = data["u"]
        for side, known in levels.items():
            known.update(data[side])
            for price in [price for price, size in known.items() if float(size) == 0]:
                del known[price]
    truth = venue.get("/sim/book", product="spread", topic=TOPIC, u=last)
    assert {side: dict(truth[side]) for side in "ba"} == levels
    (trade, *_) = messages.decoder("spread", "publicTrade")(ear.data(TRADES)[0].payload).data
    assert (trade.symbol, trade.is_block_trade) == (SYMBOL, msgspec.UNSET)
    ticker = messages.decoder("spread", TICKER.removeprefix("spread."))(ear.data(TICKER)[0].payload).data
    assert isinstance(ticker, messages.SpreadTicker)


def test_a_lost_delta_is_healed_or_not_even_noticed(scene: Scene) -> None:
    """On one line a resync, acknowledged by lists of topics both ways (dossier 3.2, 5.4); the second line has it."""
    venue, feed, ear = scene
    wait_until(lambda: len(ear.data(BOOK)) > 5, "books")
    start = len(ear.records)
    first, *others = venue.stats()["connections"]
    venue.fault("skip", topic=TOPIC, connection=first["id"])
    if others:
        wait_until(lambda: venue.get("/sim/faults")["active"] == [], "a delta lost")
        count = len(ear.data(BOOK))
        wait_until(lambda: len(ear.data(BOOK)) > count + 20, "more of the book")
        assert ear.states(BOOK)[-1:] == [wire.LIVE]
        assert wire.RESYNCING not in ear.states(BOOK)
        assert feed.counters("spread")["resyncs"] == 0
    else:
        wait_until(lambda: ear.states(BOOK)[-2:] == [wire.RESYNCING, wire.LIVE], "healed")
        wait_until(lambda: any(one.subject == BOOK and one.kind == wire.SNAPSHOT for one in ear.records[start:]), "new")
    assert not breaks(ear.records)


def test_subscriber_reads_spreads(scene: Scene) -> None:
    """A late joiner gets the book and goes on from there; prices may be negative, and a side empty."""
    _, feed, _ = scene
    with feedhandler.Subscriber(runtime=feed.runtime) as strategy:
        strategy.subscribe(*SUBJECTS)
        book = strategy.book(BOOK)
        strategy.wait_live(timeout_s=10)
        seen: dict[str, int] = dict.fromkeys(SUBJECTS, 0)
        while min(seen.values()) < 1 or seen[BOOK] < 10:
            record = strategy.receive(timeout_s=10)
            assert record is not None
            if record.kind <= wire.UPDATE:
                assert record.decode().topic == record.subject.removeprefix("spread.")
                seen[record.subject] += 1
        assert book.state == wire.LIVE
        if book.best_bid is not None and book.best_ask is not None:
            assert book.best_bid[0] < book.best_ask[0]
        assert max(book.depth) <= 25


def test_tail_shows_spreads(scene: Scene) -> None:
    """By whole subject, and decoded."""
    _, feed, _ = scene
    done = feed.command("tail", BOOK, "--count", "2")
    assert done.returncode == 0, done.stderr
    assert f" {BOOK} " in done.stdout
    done = feed.command("tail", TICKER, "--count", "1", "--decoded")
    assert f"symbol={SYMBOL}" in done.stdout
