"""Which topic is served where, row by row of the dossier's tables (sections 1.2, 4.1 and 6), and how often."""

from typing import Final

import pytest

from feedhandler.bybit.products import KLINE_INTERVALS, PRODUCTS
from feedhandler.bybit.topics import TopicError, parse, refusals

SYMBOLS: Final = {
    "spot": ["BTCUSDT", "ETHBTC", "BTCUSDC"],
    "linear": ["BTCUSDT", "BTCPERP", "BTCUSDT-26SEP25", "BTC-26DEC25"],
    "inverse": ["BTCUSD", "BTCUSDZ26"],
    "option": ["BTC-25JUN27-106000-P-USDT", "BTC-6JAN23-17500-C"],
    "spread": ["SOLUSDT_SOL/USDT"],
}
"""Every form that 1.2 shows."""
PUBLIC: Final = ("spot", "linear", "inverse", "option", "spread")
THREE: Final = ("spot", "linear", "inverse")
FUTURES: Final = ("linear", "inverse")
TABLE: Final = {
    **{f"orderbook.{depth}": THREE for depth in ("1", "50", "200", "1000", "rpi", "full")},
    "orderbook.25": ("option", "spread"),
    "orderbook.100": ("option",),
    "publicTrade": PUBLIC,
    "tickers": PUBLIC,
    **{f"kline.{interval}": THREE for interval in ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720")},
    **{f"kline.{interval}": THREE for interval in ("D", "W", "M")},
    "allLiquidation": FUTURES,
    "insurance": FUTURES,
    "adlAlert": FUTURES,
    "priceLimit": THREE,
}
POOLS: Final = ("insurance", "adlAlert")


def rests(product: str, stream: str) -> list[str]:
    """Return what may follow a stream's name."""
    if stream in POOLS:
        return ["USDT", "USDC", "inverse"]
    return ["BTC"] if (product, stream) == ("option", "publicTrade") else SYMBOLS[product]


@pytest.mark.parametrize("product", PUBLIC)
@pytest.mark.parametrize("stream", TABLE)
def test_1_2_topics_are_served_where_the_table_says(stream: str, product: str) -> None:
    """1.2: a product serves exactly the topics of its column, for every form of its symbols."""
    for rest in rests(product, stream):
        if product in TABLE[stream]:
            assert parse(product, f"{stream}.{rest}").symbol == rest
        else:
            with pytest.raises(TopicError, match="does not serve"):
                parse(product, f"{stream}.{rest}")


def test_1_2_no_product_serves_more_than_the_table() -> None:
    """1.2: and nothing that has no row."""
    for name in PUBLIC:
        assert {stream.name for stream in PRODUCTS[name].streams} == {row for row, who in TABLE.items() if name in who}


@pytest.mark.parametrize(
    ("stream", "product", "interval_ms"),
    [
        *(("orderbook.1", product, 10) for product in THREE),
        *(("orderbook.50", product, 20) for product in THREE),
        *(("orderbook.200", product, 100) for product in THREE),
        *(("orderbook.1000", product, 200) for product in THREE),
        ("orderbook.25", "option", 20),
        ("orderbook.100", "option", 100),
        ("orderbook.25", "spread", 20),
        *(("orderbook.rpi", product, 100) for product in THREE),
        *(("orderbook.full", product, 200) for product in THREE),
        *(("publicTrade", product, 0) for product in PUBLIC),
        *(("tickers", product, 100) for product in PUBLIC if product != "spot"),
        ("tickers", "spot", 50),
        ("allLiquidation", "linear", 500),
        ("insurance", "linear", 1000),
        ("adlAlert", "linear", 1000),
        ("priceLimit", "spot", 300),
    ],
)
def test_4_push_intervals(stream: str, product: str, interval_ms: int) -> None:
    """4.1 to 4.11: at most one push in that time."""
    found = PRODUCTS[product].stream(stream)
    assert found is not None
    assert found.interval_ms == interval_ms


def test_4_6_intervals_of_candles() -> None:
    """4.6: thirteen of them."""
    assert KLINE_INTERVALS == ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M")


@pytest.mark.parametrize("topic", ["liquidation.BTCUSDT", "orderbook.500.BTCUSDT"])
@pytest.mark.parametrize("product", THREE)
def test_4_8_removed_topics_are_refused_before_the_venue_does(product: str, topic: str) -> None:
    """4.1 and 4.8: removed topics are an error that says what serves instead."""
    with pytest.raises(TopicError, match="no longer served"):
        parse(product, topic)


PRIVATE: Final = {
    "position": ("linear", "inverse", "option"),
    "execution": ("spot", "linear", "inverse", "option"),
    "execution.fast": ("spot", "linear", "inverse", "option"),
    "order": ("spot", "linear", "inverse", "option"),
    "wallet": (),
    "greeks": (),
    "strategy": (),
    "spread.order": (),
    "spread.execution": (),
    "rfq.open.rfqs": (),
    "rfq.open.quotes": (),
    "rfq.open.trades": (),
}


@pytest.mark.parametrize("stream", PRIVATE)
def test_6_private_topics_and_their_variants(stream: str) -> None:
    """6: a stream alone or by the categories of its row, and by no other."""
    assert parse("private", stream).stream.name == stream
    for category in ("spot", "linear", "inverse", "option", "future"):
        if category in PRIVATE[stream]:
            assert parse("private", f"{stream}.{category}").symbol == category
        else:
            with pytest.raises(TopicError):
                parse("private", f"{stream}.{category}")


def test_6_no_other_private_topics() -> None:
    """6: the table, and dcp, which is there by category only."""
    assert {stream.name for stream in PRODUCTS["private"].streams} == {*PRIVATE, "dcp"}
    for category in ("future", "spot", "option"):
        assert parse("private", f"dcp.{category}").symbol == category


@pytest.mark.parametrize("product", PUBLIC)
@pytest.mark.parametrize("topic", ["order", "order.linear", "execution.fast.spot", "wallet", "dcp.future"])
def test_6_private_topics_are_refused_on_public_sockets(topic: str, product: str) -> None:
    """6 and 3.4: and public topics on the private one."""
    with pytest.raises(TopicError, match="is a private stream"):
        parse(product, topic)
    with pytest.raises(TopicError, match="private does not serve"):
        parse("private", "orderbook.50.BTCUSDT")


def test_6_all_in_one_and_categorised_topics_do_not_mix() -> None:
    """6: `order` and `order.linear` cannot be asked for together."""
    assert list(refusals(["order", "order.linear"])) == ["order.linear"]
    assert refusals(["order.spot", "order.linear"]) == {}


def test_6_dcp_is_not_subscribed_by_accident() -> None:
    """6: its subscription arms the venue's cancelling of all orders, which fires only when all that asked are gone."""
    assert list(refusals(["dcp.future"])) == ["dcp.future"]
    assert refusals(["dcp.future"], allow_dcp=True) == {}
