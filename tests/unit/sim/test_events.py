"""Trades, liquidations and candles of the simulated Bybit."""

import json
import random
from typing import Any

import pytest

from feedhandler.sim.events import TRADES_PER_FRAME, Kline, Liquidations, Trades, bounds
from feedhandler.sim.listing import Instrument, Listing
from feedhandler.sim.market import Fill, Market

NOW_NS = 1_760_000_000_000_000_000
NOW_MS = NOW_NS // 10**6
MS = 1_000_000


def market(product: str = "linear", symbol: str = "BTCUSDT") -> Market:
    found = Listing().find(product, symbol)
    assert isinstance(found, Instrument)
    return Market(found, 1, NOW_NS)


def fill(ticks: int = 840_000, lots: int = 5, time_ms: int = NOW_MS, *, is_buy: bool = True) -> Fill:
    return Fill(time_ms, is_buy, ticks, lots, "PlusTick", "id-1", 77)


def only(payloads: list[bytes]) -> dict[str, Any]:
    (payload,) = payloads
    message: dict[str, Any] = json.loads(payload)
    return message


@pytest.mark.parametrize(
    ("product", "symbol", "keys", "item"),
    [
        ("linear", "BTCUSDT", "topic type ts data", "T s S v p L i BT RPI seq"),
        ("inverse", "BTCUSD", "topic type ts data", "T s S v p L i BT RPI seq"),
        ("spot", "BTCUSDT", "topic ts type data", "i T p v S seq s BT RPI"),
        (
            "option",
            "BTC-25JUN27-106000-P-USDT",
            "topic ts type id data",
            "i T p v S seq s BT mP iP mIv iv",
        ),
    ],
)
def test_trades_have_the_products_keys_in_order(product: str, symbol: str, keys: str, item: str) -> None:
    """Dossier 4, table of key orders."""
    subject = Trades(product, f"publicTrade.{symbol}", [market(product, symbol)])
    assert subject.touched(subject.markets[0], [fill()])
    message = only(subject.publish(NOW_NS))
    assert list(message) == keys.split()
    assert list(message["data"][0]) == item.split()
    assert message["type"] == "snapshot"


def test_fills_of_one_order_travel_together_and_once() -> None:
    """Dossier 9.4: several per taker order, sharing ``T`` and ``seq``; nothing is sent twice."""
    subject = Trades("linear", "publicTrade.BTCUSDT", [market()])
    subject.touched(subject.markets[0], [fill(), fill(is_buy=False)])
    message = only(subject.publish(NOW_NS))
    assert [item["S"] for item in message["data"]] == ["Buy", "Sell"]
    assert subject.publish(NOW_NS) == []
    assert not subject.touched(subject.markets[0], [])


def test_large_sets_of_trades_are_split() -> None:
    """Dossier 4.4: at most 1024 trades a frame; more share a ``seq`` over several frames."""
    subject = Trades("linear", "publicTrade.BTCUSDT", [market()])
    subject.touched(subject.markets[0], [fill()] * (TRADES_PER_FRAME + 1))
    assert [len(json.loads(payload)["data"]) for payload in subject.publish(NOW_NS)] == [1024, 1]


def test_futures_trades_are_padded_and_spot_trades_trimmed() -> None:
    """Dossier 4: trades are padded on futures even where level 1 is trimmed."""
    futures = Trades("linear", "publicTrade.BTCUSDT", [market()])
    futures.touched(futures.markets[0], [fill(840_175, 1400)])
    item = only(futures.publish(NOW_NS))["data"][0]
    assert (item["p"], item["v"]) == ("84017.50", "1.400")
    spot = Trades("spot", "publicTrade.BTCUSDT", [market("spot")])
    spot.touched(spot.markets[0], [fill(840_000, 500_000)])
    item = only(spot.publish(NOW_NS))["data"][0]
    assert (item["p"], item["v"]) == ("84000", "0.5")


def liquidations() -> Liquidations:
    subject = Liquidations("linear", "allLiquidation.BTCUSDT", market(), 500, random.Random(1))
    subject.resume(NOW_NS)
    return subject


def test_liquidation_names_the_side_of_the_position() -> None:
    """Dossier 4.7: ``Buy`` = a long was liquidated, which sells; the whole order's size; an array."""
    subject = liquidations()
    assert subject.touched(subject.markets[0], [fill(is_buy=False, time_ms=NOW_MS + 5000), fill(lots=3)])
    message = only(subject.publish(NOW_NS))
    assert list(message) == ["topic", "type", "ts", "data"]
    (item,) = message["data"]
    assert list(item) == ["T", "s", "S", "v", "p"]
    assert (item["S"], item["v"], item["p"]) == ("Buy", "0.008", "84000.00")
    assert subject.publish(NOW_NS) == []


def test_liquidations_are_rare_but_come() -> None:
    """Few trades are liquidations; after four seconds without, the next one is."""
    subject = liquidations()
    hits = sum(subject.touched(subject.markets[0], [fill()]) for _ in range(1000))
    assert 20 < hits < 100
    assert not subject.touched(subject.markets[0], [])
    assert subject.touched(subject.markets[0], [fill(time_ms=NOW_MS + 4000, is_buy=True)])


@pytest.mark.parametrize(
    ("interval", "start", "end"),
    [
        ("1", "2025-10-09T08:53:00", "2025-10-09T08:53:59.999"),
        ("60", "2025-10-09T08:00:00", "2025-10-09T08:59:59.999"),
        ("720", "2025-10-09T00:00:00", "2025-10-09T11:59:59.999"),
        ("D", "2025-10-09T00:00:00", "2025-10-09T23:59:59.999"),
        ("W", "2025-10-06T00:00:00", "2025-10-12T23:59:59.999"),
        ("M", "2025-10-01T00:00:00", "2025-10-31T23:59:59.999"),
    ],
)
def test_candles_begin_and_end_where_the_calendar_says(interval: str, start: str, end: str) -> None:
    """Dossier 4.6: ``end`` is the last ms of the candle; weeks begin on Monday, months are months."""
    from datetime import datetime  # noqa: PLC0415 - used here alone

    def ms(text: str) -> int:
        return round(datetime.fromisoformat(f"{text}+00:00").timestamp() * 1000)

    assert bounds(interval, NOW_MS) == (ms(start), ms(end))


def kline(interval: str = "1") -> Kline:
    subject = Kline("linear", f"kline.{interval}.BTCUSDT", market(), interval)
    subject.resume(NOW_NS)
    return subject


def test_candle_has_the_venue_s_keys_and_trimmed_numbers() -> None:
    """Dossier 4.6 and the key order of 2026."""
    message = json.loads(kline().first(NOW_NS) or b"")
    assert list(message) == ["topic", "type", "ts", "data"]
    (item,) = message["data"]
    keys = "start end interval open close high low volume turnover confirm timestamp"
    assert list(item) == keys.split()
    assert item["open"] == "84000"
    assert item["confirm"] is False


def test_candle_follows_the_trades() -> None:
    """Open, high, low, close and volume are those of the trades in it."""
    subject = kline()
    assert subject.touched(subject.market, [fill(840_100), fill(839_900), fill(840_050)])
    assert not subject.touched(subject.market, [])
    (item,) = only(subject.publish(NOW_NS))["data"]
    found = [item[name] for name in ("open", "high", "low", "close", "volume")]
    assert found == ["84000", "84010", "83990", "84005", "0.015"]


def test_candle_is_confirmed_exactly_once() -> None:
    """Dossier 4.6: ``confirm`` is true once, at the end; the next candle opens at the close."""
    subject = kline()
    subject.touched(subject.market, [fill(840_100)])
    end_ns = subject.next_wake_ns(NOW_NS)
    assert subject.wake(end_ns - MS) == []
    assert subject.publish(end_ns) == [], "no further push of a candle that is over"
    (ended,) = only(subject.wake(end_ns))["data"]
    assert ended["confirm"] is True
    assert subject.wake(end_ns) == []
    (following,) = only(subject.publish(end_ns))["data"]
    assert (following["confirm"], following["open"], following["start"]) == (False, "84010", ended["end"] + 1)


def test_candle_survives_a_pause_within_it() -> None:
    """A second subscriber in the same minute finds the same candle, a later one another."""
    subject = kline()
    subject.touched(subject.market, [fill(840_100)])
    subject.resume(NOW_NS + MS)
    assert only(subject.publish(NOW_NS + MS))["data"][0]["close"] == "84010"
    subject.resume(NOW_NS + 3_600_000 * MS)
    assert only(subject.publish(NOW_NS + 3_600_000 * MS))["data"][0]["volume"] == "0"
