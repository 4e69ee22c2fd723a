"""The venue's messages as Structs: every field, by name, with the numbers that were asked for."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from feedhandler.bybit import messages
from feedhandler.bybit.messages import decoder, words


def frame(topic: str, data: Any, **rest: Any) -> bytes:
    return json.dumps({"topic": topic, "data": data, **rest}).encode()


# Every stream, with invented values in the venue's shape (dossier 4).

BOOK = {"s": "BTCUSDT", "b": [["99.50", "1.000"], ["99", "0"]], "a": [["100.5", "2"]], "u": 7, "seq": 140612148849382}


def test_book() -> None:
    """Levels are pairs of numbers; ids keep all their digits."""
    message = decoder("linear", "orderbook.50.BTCUSDT")(
        frame("orderbook.50.BTCUSDT", BOOK, type="delta", ts=1790000000123, cts=1790000000120)
    )
    assert (message.topic, message.type, message.time_ms) == ("orderbook.50.BTCUSDT", "delta", 1790000000123)
    assert message.matching_time_ms == 1790000000120
    book = message.data
    assert isinstance(book, messages.Book)
    assert (book.symbol, book.bids, book.asks) == ("BTCUSDT", [(99.5, 1.0), (99.0, 0.0)], [(100.5, 2.0)])
    assert (book.update_id, book.venue_sequence) == (7, 140612148849382)


def test_rpi_book() -> None:
    """Levels are triples (dossier 4.2)."""
    data = {**BOOK, "b": [["99.5", "0", "0.163986"]], "a": []}
    book = decoder("spot", "orderbook.rpi.BTCUSDT")(frame("orderbook.rpi.BTCUSDT", data, type="snapshot", ts=1)).data
    assert isinstance(book, messages.RpiBook)
    assert book.bids == [(99.5, 0.0, 0.163986)]


def test_old_option_book_has_no_sequence() -> None:
    """A field that the message does not have is UNSET."""
    data = {key: value for key, value in BOOK.items() if key != "seq"}
    message = decoder("option", "orderbook.25.X")(frame("orderbook.25.X", data, type="snapshot", ts=1, id="x-1"))
    assert (message.data.venue_sequence, message.matching_time_ms, message.id) == (UNSET, UNSET, "x-1")


FUTURES_TRADE = {
    "T": 1790000000001, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "99.50", "L": "PlusTick", "i": "uuid",
    "BT": False, "RPI": True, "seq": 5,
}  # fmt: skip


def test_trades() -> None:
    """A list, in match order; what a product does not have is UNSET."""
    spot = {"i": "2290000000050703789", "T": 2, "p": "1", "v": "2", "S": "Sell", "s": "BTCUSDT", "BT": False}
    first, second = decoder("", "publicTrade.BTCUSDT")(
        frame("publicTrade.BTCUSDT", [FUTURES_TRADE, spot], type="snapshot", ts=1)
    ).data
    assert (first.time_ms, first.symbol, first.side, first.size, first.price) == (
        1790000000001, "BTCUSDT", "Buy", 0.001, 99.5,
    )  # fmt: skip
    assert (first.tick_direction, first.trade_id, first.is_block_trade, first.is_rpi, first.venue_sequence) == (
        "PlusTick", "uuid", False, True, 5,
    )  # fmt: skip
    assert (second.trade_id, second.tick_direction, second.is_rpi, second.venue_sequence) == (
        "2290000000050703789", UNSET, UNSET, UNSET,
    )  # fmt: skip
    assert first.mark_iv is UNSET


def test_option_trade() -> None:
    """With mark and index price and both volatilities."""
    data = {**FUTURES_TRADE, "mP": "1.5", "iP": "2.5", "mIv": "0.5", "iv": "0.25"}
    (trade,) = decoder("option", "publicTrade.BTC")(frame("publicTrade.BTC", [data], type="snapshot", ts=1)).data
    assert (trade.mark_price, trade.index_price, trade.mark_iv, trade.trade_iv) == (1.5, 2.5, 0.5, 0.25)


FUTURES_TICKER = {
    "symbol": "BTC-26DEC25", "lastPrice": "100.50", "price24hPcnt": "-0.1", "nextFundingTime": "", "fundingRate": "",
    "deliveryTime": "2025-12-26T08:00:00Z", "bid1Price": "99", "openInterest": "7", "curPreListingPhase": "",
}  # fmt: skip


@pytest.mark.parametrize("product", ["linear", "inverse", ""])
def test_futures_ticker(product: str) -> None:
    """An empty text is a value, an absent field is UNSET, and both differ from zero."""
    payload = frame("tickers.BTC-26DEC25", FUTURES_TICKER, type="snapshot", cs=9, ts=1)
    message = decoder(product, "tickers.BTC-26DEC25")(payload)
    ticker = message.data
    assert isinstance(ticker, messages.FuturesTicker)
    assert message.cross_sequence == 9
    assert (ticker.last_price, ticker.change_24h_ratio, ticker.bid_price, ticker.open_interest) == (
        100.5,
        -0.1,
        99.0,
        7.0,
    )
    assert (ticker.next_funding_time_ms, ticker.funding_rate, ticker.pre_listing_phase) == ("", "", "")
    assert (ticker.mark_price, ticker.delivery_time) == (UNSET, "2025-12-26T08:00:00Z")


def test_funding_time_is_a_time() -> None:
    """The venue writes it as text; it is Unix ms."""
    payload = frame("tickers.X", {"symbol": "X", "nextFundingTime": "1747998000000"}, type="delta", ts=1)
    assert decoder("linear", "tickers.X")(payload).data.next_funding_time_ms == 1747998000000


@pytest.mark.parametrize("product", ["spot", ""])
def test_spot_ticker(product: str) -> None:
    """Known by its product, or by the field that only spot has."""
    data = {"symbol": "BTCUSDT", "lastPrice": "1", "price24hPcnt": "0.5", "usdIndexPrice": ""}
    ticker = decoder(product, "tickers.BTCUSDT")(frame("tickers.BTCUSDT", data, type="snapshot", cs=1, ts=1)).data
    assert isinstance(ticker, messages.SpotTicker)
    assert (ticker.last_price, ticker.change_24h_ratio, ticker.usd_index_price) == (1.0, 0.5, "")


@pytest.mark.parametrize("product", ["option", ""])
def test_option_ticker(product: str) -> None:
    """Known by its product, or by the symbol's form; its names differ from the futures'."""
    topic = "tickers.BTC-26DEC25-100000-C-USDT"
    data = {"symbol": "X", "bidPrice": "3", "bidIv": "0.5", "markPriceIv": "0.25", "delta": "-0.1", "change24h": "0.2"}
    ticker = decoder(product, topic)(frame(topic, data, type="snapshot", ts=1)).data
    assert isinstance(ticker, messages.OptionTicker)
    assert (ticker.bid_price, ticker.bid_iv, ticker.mark_iv, ticker.delta, ticker.change_24h_ratio) == (
        3.0, 0.5, 0.25, -0.1, 0.2,
    )  # fmt: skip


@pytest.mark.parametrize("product", ["spread", ""])
def test_spread_ticker(product: str) -> None:
    """Known by its product, or by the underscore; prices may be negative, and an empty side is an empty text."""
    topic = "tickers.SOLUSDT_SOL/USDT"
    data = {"symbol": "SOLUSDT_SOL/USDT", "bidPrice": "-3.5", "bidSize": "10", "askPrice": "", "askSize": ""}
    ticker = decoder(product, topic)(frame(topic, data, type="snapshot", ts=1)).data
    assert isinstance(ticker, messages.SpreadTicker)
    assert (ticker.bid_price, ticker.bid_size, ticker.ask_price, ticker.last_price) == (-3.5, 10.0, "", UNSET)


def test_spread_trade() -> None:
    """Neither block trade nor RPI (dossier 4.14); the price may be negative."""
    topic = "publicTrade.SOLUSDT_SOL/USDT"
    data = {"T": 1, "s": "SOLUSDT_SOL/USDT", "S": "Sell", "v": "1", "p": "-3", "L": "ZeroMinusTick", "i": "u", "seq": 4}
    (trade,) = decoder("spread", topic)(frame(topic, [data], type="snapshot", ts=1)).data
    assert (trade.price, trade.is_block_trade, trade.is_rpi, trade.venue_sequence) == (-3.0, UNSET, UNSET, 4)


def test_spread_book() -> None:
    """A book as any other, below zero too."""
    topic = "orderbook.25.SOLUSDT_SOL/USDT"
    data = {"s": "SOLUSDT_SOL/USDT", "b": [["-3", "1"]], "a": [], "u": 1, "seq": 2}
    assert decoder("spread", topic)(frame(topic, data, type="snapshot", ts=1, cts=1)).data.bids == [(-3.0, 1.0)]


def test_full_book() -> None:
    """Deltas in a book's form (dossier 4.3)."""
    message = decoder("spot", "orderbook.full.X")(frame("orderbook.full.X", {**BOOK, "b": []}, type="delta", ts=1))
    assert (message.data.bids, message.data.asks, message.data.update_id) == ([], [(100.5, 2.0)], 7)


def test_public_block_trade() -> None:
    """Its envelope has a creation time instead of ``ts`` and ``type`` (dossier 4.14)."""
    leg = {"category": "linear", "symbol": "X", "side": "Sell", "price": "2.5", "qty": "1", "markPrice": ""}
    data = {"rfqId": "7", "strategyType": "custom", "createdAt": "5", "updatedAt": "6", "legs": [leg]}
    message = decoder("", "rfq.open.public.trades")(
        frame("rfq.open.public.trades", [data], id="m", creationTime=1790000000000)
    )
    (trade,) = message.data
    assert (message.creation_time_ms, message.time_ms, message.type, message.id) == (1790000000000, UNSET, UNSET, "m")
    assert (trade.rfq_id, trade.created_ms, trade.updated_ms) == ("7", 5, 6)
    assert trade.legs == [
        messages.PublicBlockTradeLeg(symbol="X", category="linear", side="Sell", price=2.5, size=1.0, mark_price="")
    ]


def test_candle() -> None:
    """Times are numbers, prices text on the wire."""
    data = {
        "start": 60000, "end": 119999, "interval": "1", "open": "1", "close": "2", "high": "3", "low": "0.5",
        "volume": "7", "turnover": "8", "confirm": True, "timestamp": 61000,
    }  # fmt: skip
    (candle,) = decoder("linear", "kline.1.X")(frame("kline.1.X", [data], type="snapshot", ts=1)).data
    assert candle == messages.Candle(
        60000, 119999, "1", 1.0, 2.0, 3.0, 0.5, 7.0, 8.0, is_final=True, last_trade_time_ms=61000
    )


def test_liquidation() -> None:
    """The side is the position's (dossier 4.7)."""
    data = {"T": 5, "s": "X", "S": "Buy", "v": "2", "p": "0.05"}
    (row,) = decoder("linear", "allLiquidation.X")(frame("allLiquidation.X", [data], type="snapshot", ts=1)).data
    assert row == messages.Liquidation(5, "X", "Buy", 2.0, 0.05)


def test_price_limit() -> None:
    """It has no type (dossier 4.11)."""
    data = {"symbol": "X", "buyLmt": "2", "sellLmt": "1"}
    message = decoder("linear", "priceLimit.X")(frame("priceLimit.X", data, ts=1))
    assert (message.type, message.data) == (UNSET, messages.PriceLimit("X", 2.0, 1.0))


def test_insurance_pool() -> None:
    """A list of pools; a delta names what changed."""
    data = [{"coin": "BTC", "symbols": "", "balance": "1.5", "updateTime": "1747998000000"}, {"coin": "ETH"}]
    first, second = decoder("linear", "insurance.USDT")(frame("insurance.USDT", data, type="delta", ts=1)).data
    assert first == messages.InsurancePool("BTC", "", 1.5, 1747998000000)
    assert second.balance is UNSET


@pytest.mark.parametrize("numbers", [float, Decimal, str])
def test_adl_alert_in_text_or_numbers(numbers: type) -> None:
    """The documentation shows one and the table says the other (dossier 4.10)."""
    data = [
        {"c": "USDT", "s": "X", "b": 100, "mb": "", "i_pr": 0.3, "pr": 0, "adl_tt": 1, "adl_sr": 0.25},
        {"c": "USDT", "s": "X", "b": "100", "mb": "", "i_pr": "0.3", "pr": "0", "adl_tt": "", "adl_sr": "0.25"},
    ]
    shown, written = decoder("linear", "adlAlert.USDT", numbers)(
        frame("adlAlert.USDT", data, type="snapshot", ts=1)
    ).data
    assert float(shown.trigger_ratio) == float(written.trigger_ratio) == 0.3
    assert written.trigger_threshold == ""
    assert isinstance(written.stop_ratio, numbers)


def test_system_status() -> None:
    """A maintenance (dossier 4.12)."""
    data = [
        {
            "id": "a",
            "title": "t",
            "state": "scheduled",
            "begin": "1",
            "end": "2",
            "serviceTypes": [5],
            "maintainType": "1",
        }
    ]
    (row,) = decoder("", "system.status")(frame("system.status", data, ts=1)).data
    assert (row.begin_ms, row.end_ms, row.service_types, row.maintain_type, row.environment) == (1, 2, [5], 1, UNSET)
    assert row.state == words.MaintenanceState.SCHEDULED
    assert row.service_types == [words.MaintenanceService.MARKET_DATA]


def test_unknown_topic_is_plain_json() -> None:
    """What is not known here is not lost."""
    message = decoder("linear", "brandNew.X")(frame("brandNew.X", {"k": ["v"]}, ts=1))
    assert (message.data, message.time_ms) == ({"k": ["v"]}, 1)


# Numbers.


@pytest.mark.parametrize(("numbers", "price"), [(float, 99.5), (Decimal, Decimal("99.50")), (str, "99.50")])
def test_numbers_are_of_the_type_asked_for(numbers: type, price: Any) -> None:
    """Exact, correctly rounded, or the venue's own text."""
    (trade,) = decoder("linear", "publicTrade.X", numbers)(
        frame("publicTrade.X", [FUTURES_TRADE], type="snapshot", ts=1)
    ).data
    assert (trade.price, type(trade.price)) == (price, numbers)
    assert trade.time_ms == 1790000000001, "a time is a time"


def test_empty_text_stays_with_every_type() -> None:
    """Not applicable is not zero, in Decimal as well."""
    payload = frame("tickers.X", FUTURES_TICKER, type="snapshot", ts=1)
    ticker = decoder("linear", "tickers.X", Decimal)(payload).data
    assert (ticker.last_price, ticker.funding_rate, ticker.mark_price) == (Decimal("100.50"), "", UNSET)
    assert decoder("linear", "tickers.X", str)(payload).data.funding_rate == ""


def test_other_numbers_are_refused() -> None:
    """There are three."""
    with pytest.raises(TypeError, match="float, Decimal or str"):
        decoder("linear", "publicTrade.X", int)


def test_new_fields_and_words_are_survived() -> None:
    """The venue adds fields and grows its lists without notice."""
    trade = {**FUTURES_TRADE, "S": "Auction", "L": "NewTick", "brandNew": {"x": 1}}
    (read,) = decoder("linear", "publicTrade.X")(frame("publicTrade.X", [trade], type="merged", ts=1, more=[1])).data
    assert (read.side, read.tick_direction) == ("Auction", "NewTick")


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{",
        b"[]",
        b'{"topic":"\xff","data":{}}',
        b'{"topic":"orderbook.50.X","data":{}}',
        b'{"topic":"x"}',
        b'{"topic":"orderbook.50.X","data":{"s":"X","b":[["abc","1"]],"a":[],"u":1}}',
        b'{"topic":"orderbook.50.X","more":' + b"[" * 100_000,
    ],
    ids=["nothing", "cut", "list", "no UTF-8", "no fields", "no data", "no number", "nesting without end"],
)
def test_what_the_venue_does_not_promise_is_an_error(broken: bytes) -> None:
    """A message without the fields that a book needs is none."""
    with pytest.raises(msgspec.DecodeError):
        decoder("linear", "orderbook.50.X")(broken)


def test_decoder_is_built_once() -> None:
    """Choosing is done once for each topic, building once for each shape."""
    assert decoder("linear", "orderbook.50.AUSDT") is decoder("linear", "orderbook.50.AUSDT")
    assert decoder("linear", "orderbook.50.AUSDT") is decoder("spot", "orderbook.200.BUSDT")
    assert decoder("linear", "orderbook.50.AUSDT") is not decoder("linear", "orderbook.50.AUSDT", Decimal)


def test_topics_of_the_past() -> None:
    """What the venue dropped is in recordings: the old liquidation is one object, not a list (dossier 4.8, 4.13)."""
    row = {"updatedTime": 5, "symbol": "BTCUSDT", "side": "Buy", "size": "0.1", "price": "100"}
    (old, token) = (
        decoder("linear", "liquidation.BTCUSDT")(frame("liquidation.BTCUSDT", row, type="snapshot", ts=1)).data,
        decoder("spot", "lt.BTC3LUSDT")(frame("lt.BTC3LUSDT", {"symbol": "BTC3LUSDT", "nav": "2.5", "time": 7})).data,
    )
    assert old == messages.OldLiquidation(5, "BTCUSDT", "Buy", 0.1, 100.0)
    assert (token.net_asset_value, token.time_ms, token.leverage) == (2.5, 7, UNSET)
