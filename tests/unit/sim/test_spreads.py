"""Markets of spreads: thin, below zero where they like, one side empty at times."""

import json
from typing import Any

import pytest

from feedhandler.sim.exchange import Exchange
from feedhandler.sim.listing import Listing
from feedhandler.sim.spreads import FEWEST_LEVELS, MOST_LEVELS, REACH_TICKS, SpreadMarket, SpreadTicker

NOW_NS = 1_760_000_000_000_000_000
SYMBOL = "SOLUSDT_SOL/USDT"
NEGATIVE = next(
    f"COIN{number}USDT_COIN{number}/USDT"
    for number in range(100)
    if Listing().instrument("spread", f"COIN{number}USDT_COIN{number}/USDT").price < 0
)
SYMBOLS = [NEGATIVE, SYMBOL, "BTCUSDT-26SEP25_BTCUSDT", "COIN3USDT_COIN3/USDT", "COIN8USDT_COIN8/USDT"]


def market(symbol: str = SYMBOL, seed: int = 1) -> SpreadMarket:
    return SpreadMarket(Listing().instrument("spread", symbol), seed, NOW_NS)


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_book_is_in_order_and_never_empty_on_both_sides(symbol: str) -> None:
    """Dossier 9.4: bids below asks, sorted, sizes positive; thin, but for moments when a side is gone."""
    subject = market(symbol)
    now_ns, empty = NOW_NS, 0
    for _ in range(6000):
        now_ns += subject.next_gap_ns()
        subject.step(now_ns)
        bids, asks = subject.bids, subject.asks
        assert bids.keys or asks.keys
        if bids.keys and asks.keys:
            assert -bids.keys[0] < asks.keys[0]
        else:
            empty += 1
        for side in (bids, asks):
            assert side.keys == sorted(side.lots)
            assert min(side.lots.values(), default=1) > 0
            assert not side.keys or FEWEST_LEVELS - 4 <= len(side.keys) <= MOST_LEVELS + 14
    assert 20 < empty < 1500


def test_prices_go_below_zero_and_come_back() -> None:
    """A spread near nothing trades on both sides of it, and does not run away."""
    subject = market()
    now_ns, ticks = NOW_NS, []
    for _ in range(20_000):
        now_ns += subject.next_gap_ns()
        ticks += [fill.ticks for fill in subject.step(now_ns)]
    assert len(ticks) > 500
    assert max(map(abs, ticks)) < 10 * REACH_TICKS
    assert min(subject.bids.keys + subject.asks.keys) < 0


def test_depth_asked_for_changes_nothing() -> None:
    """There are no more orders because somebody wants to see them."""
    subject, other = market(), market()
    other.require_depth(1000)
    assert (subject.bids.lots, subject.asks.lots) == (other.bids.lots, other.asks.lots)


def test_trades_are_no_retail_ones() -> None:
    """Spread trades have no ``RPI`` (dossier 4.14)."""
    subject = market()
    fills = [fill for step in range(3000) for fill in subject.step(NOW_NS + step * 10**8)]
    assert fills
    assert not any(fill.is_rpi for fill in fills)


def messages(topic: str, seconds: int = 60) -> list[Any]:
    subject = Exchange(Listing())
    publication = subject.activate("spread", topic, NOW_NS)
    first = publication.first(NOW_NS)
    found = [] if first is None else [json.loads(first)]
    while (due_ns := subject.next_due_ns) is not None and due_ns < NOW_NS + seconds * 10**9:
        found += [json.loads(payload) for _, payload in subject.advance(due_ns)]
    return found


def test_ticker() -> None:
    """Dossier 4.5: a full snapshot each time, no ``cs``; the keys and their order."""
    found = messages(f"tickers.{NEGATIVE}")
    names = "symbol bidPrice bidSize askPrice askSize lastPrice highPrice24h lowPrice24h prevPrice24h volume24h"
    for message in found:
        assert list(message) == ["topic", "ts", "type", "data"]
        assert message["type"] == "snapshot"
        assert list(message["data"]) == names.split()
        assert all(type(value) is str for value in message["data"].values())
    assert float(found[0]["data"]["lowPrice24h"]) < 0


@pytest.mark.parametrize(("side", "names"), [("bids", ("bidPrice", "bidSize")), ("asks", ("askPrice", "askSize"))])
def test_empty_side_of_a_ticker_is_empty_text(side: str, names: tuple[str, str]) -> None:
    """Dossier 4.5."""
    subject = market()
    ladder = getattr(subject, side)
    ladder.keys.clear()
    ladder.lots.clear()
    (payload,) = SpreadTicker("spread", f"tickers.{SYMBOL}", subject, 100).publish(NOW_NS)
    data = json.loads(payload)["data"]
    assert {name for name, text in data.items() if text == ""} == set(names)


def test_trades() -> None:
    """Dossier 4.14: fields ``T s S v p L i seq``; numbers trimmed."""
    found = messages(f"publicTrade.{SYMBOL}")
    assert len(found) > 5
    for message in found:
        assert list(message) == ["topic", "ts", "type", "data"]
        for item in message["data"]:
            assert list(item) == ["T", "s", "S", "v", "p", "L", "i", "seq"]
            assert item["s"] == SYMBOL
            assert not ("." in item["p"] and item["p"].endswith("0"))


def test_book() -> None:
    """Dossier 4: spot's order of keys; at most 25 levels; ``u`` goes on by one; deltas give what snapshots say."""
    found = messages(f"orderbook.25.{NEGATIVE}", 120)
    book: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    assert [message["type"] for message in found[:2]] == ["snapshot", "delta"]
    for before, message in zip([None, *found], found, strict=False):
        assert list(message) == ["topic", "ts", "type", "data", "cts"]
        assert before is None or message["data"]["u"] == before["data"]["u"] + 1
        for side, levels in book.items():
            for price, size in message["data"][side]:
                assert size != "0" or price in levels
                levels[price] = size
                if size == "0":
                    del levels[price]
            assert len(levels) <= 25
        bids, asks = (list(map(float, book[side])) for side in "ba")
        assert not bids or not asks or max(bids) < min(asks)
    assert any(price.startswith("-") for price in book["b"])
