"""The topic grammar: what is served passes, everything else says why not and what would be right."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedhandler.bybit import topics
from feedhandler.bybit.products import PRODUCTS, Nature
from feedhandler.bybit.topics import TopicError, check_stream, example, nature, parse, refusals, split


@pytest.mark.parametrize(
    ("topic", "parts"),
    [
        ("orderbook.50.BTCUSDT", ("orderbook.50", "BTCUSDT")),
        ("kline.D.BTCUSDT", ("kline.D", "BTCUSDT")),
        ("tickers.BTC-25DEC26-0.5-C", ("tickers", "BTC-25DEC26-0.5-C")),
        ("orderbook.25.BTC-25DEC26-0.5-C", ("orderbook.25", "BTC-25DEC26-0.5-C")),
        ("publicTrade.BTCUSDT", ("publicTrade", "BTCUSDT")),
        ("orderbook.50", ("orderbook.50", "")),
        ("orderbook", ("orderbook.", "")),
        ("order", ("order", "")),
        ("order.linear", ("order", "linear")),
        ("execution.linear", ("execution", "linear")),
        ("execution.fast", ("execution.fast", "")),
        ("execution.fast.linear", ("execution.fast", "linear")),
        ("execution.faster", ("execution", "faster")),
        ("spread.order", ("spread.order", "")),
        ("rfq.open.rfqs", ("rfq.open.rfqs", "")),
        ("rfq.open.public.trades", ("rfq.open.public.trades", "")),
        ("dcp.future", ("dcp", "future")),
        ("orderbook.25.SOLUSDT_SOL/USDT", ("orderbook.25", "SOLUSDT_SOL/USDT")),
        ("", ("", "")),
    ],
)
def test_split(topic: str, parts: tuple[str, str]) -> None:
    """A topic is a stream's name, of one word or two, and what follows it, dots included."""
    assert split(topic) == parts


ANY = ("spot", "linear", "inverse", "option")
SERVED = [
    ("spot", "orderbook.1.BTCUSDT"),
    ("spot", "tickers.BTCUSDC"),
    ("spot", "publicTrade.1INCHUSDT"),
    ("spot", "kline.720.ETHBTC"),
    ("linear", "orderbook.50.BTCUSDT"),
    ("linear", "orderbook.rpi.10000LADYSUSDT"),
    ("linear", "orderbook.full.BTCUSDT"),
    ("linear", "orderbook.200.BTCPERP"),
    ("linear", "publicTrade.BTC-26DEC25"),
    ("linear", "tickers.BTCUSDT-26SEP25"),
    ("linear", "tickers.ETHUSDT-5JAN26"),
    ("linear", "allLiquidation.币安人生USDT"),
    ("linear", "priceLimit.BTCUSDT"),
    ("linear", "insurance.USDT"),
    ("linear", "adlAlert.inverse"),
    ("inverse", "orderbook.1000.BTCUSD"),
    ("inverse", "tickers.BTCUSDZ26"),
    ("inverse", "kline.M.BTCUSDH27"),
    ("inverse", "insurance.inverse"),
    ("option", "orderbook.25.BTC-25JUN27-106000-P-USDT"),
    ("option", "orderbook.100.BTC-6JAN23-17500-C"),
    ("option", "tickers.XRP-27MAR26-0.55-C-USDT"),
    ("option", "publicTrade.BTC"),
    ("spread", "orderbook.25.SOLUSDT_SOL/USDT"),
    ("spread", "publicTrade.BTC-26DEC25_BTC/USDT"),
    ("spread", "tickers.BTCUSDT-26SEP25_BTCUSDT"),
    ("status", "system.status"),
    *(("private", f"{stream}.{category}") for stream in ("order", "execution", "execution.fast") for category in ANY),
    *(("private", f"position.{category}") for category in ANY[1:]),
    *(("private", f"dcp.{category}") for category in ("future", "spot", "option")),
]
ALONE = (
    *("order", "execution", "execution.fast", "position", "wallet", "greeks", "strategy"),
    *("spread.order", "spread.execution", "rfq.open.rfqs", "rfq.open.quotes", "rfq.open.trades"),
)


@pytest.mark.parametrize(("product", "topic"), SERVED)
def test_served(product: str, topic: str) -> None:
    """What a product serves is taken apart, and put together again is the same text."""
    parsed = parse(product, topic)
    assert parsed.text == topic == f"{parsed.stream.name}.{parsed.symbol}"
    assert parsed.stream in PRODUCTS[product].streams
    assert nature(product, topic) is parsed.stream.nature


@pytest.mark.parametrize("topic", ALONE)
def test_served_alone(topic: str) -> None:
    """Private streams are topics by themselves (dossier 6)."""
    parsed = parse("private", topic)
    assert (parsed.text, parsed.stream.name, parsed.symbol) == (topic, topic, "")
    assert nature("private", topic) is Nature.EVENT


STREAMS = [(product.name, stream.name) for product in PRODUCTS.values() for stream in product.streams]


@pytest.mark.parametrize(("product", "stream"), STREAMS)
def test_every_stream(product: str, stream: str) -> None:
    """Every stream of every product is known by its name, and has an example that passes."""
    assert check_stream(product, stream).name == stream
    assert parse(product, example(product, check_stream(product, stream))).stream.name == stream


@pytest.mark.parametrize(("product", "stream"), STREAMS)
def test_a_name_with_nothing_behind_it_says_what_to_write(product: str, stream: str) -> None:
    """The text of the error shows a topic that passes."""
    with pytest.raises(TopicError) as caught:
        parse(product, f"{stream}.")
    shown = re.search(r'write "([^"]+)"', str(caught.value))
    assert shown is not None
    assert parse(product, shown[1]).stream.name == stream


LIKE = "they look like"
REFUSED = [
    ("linear", "orderbok.50.BTCUSDT", 'linear does not serve "orderbok.50.BTCUSDT"; did you mean "orderbook.50"?'),
    ("linear", "ticker.BTCUSDT", 'linear does not serve "ticker.BTCUSDT"; did you mean "tickers"?'),
    ("linear", "publictrade.BTCUSDT", 'linear does not serve "publictrade.BTCUSDT"; did you mean "publicTrade"?'),
    (
        "linear",
        "orderbook.51.BTCUSDT",
        'linear does not serve "orderbook.51.BTCUSDT"; of orderbook it serves 1, 50, 200, 1000, rpi, full',
    ),
    (
        "spot",
        "kline.2.BTCUSDT",
        'spot does not serve "kline.2.BTCUSDT"; of kline it serves 1, 3, 5, 15, 30, 60, 120, 240, 360, 720, D, W, M',
    ),
    (
        "linear",
        "orderbook.500.BTCUSDT",
        (
            '"orderbook.500.BTCUSDT" is no longer served:'
            " the venue removed it; orderbook.200 and orderbook.1000 are served"
        ),
    ),
    (
        "linear",
        "liquidation.BTCUSDT",
        '"liquidation.BTCUSDT" is no longer served: the venue replaced it by allLiquidation',
    ),
    (
        "spot",
        "allLiquidation.BTCUSDT",
        'spot does not serve "allLiquidation.BTCUSDT"; linear and inverse do',
    ),
    ("linear", "orderbook.100.BTCUSDT", 'linear does not serve "orderbook.100.BTCUSDT"; option does'),
    ("linear", "orderbook.25.BTCUSDT", 'linear does not serve "orderbook.25.BTCUSDT"; option and spread do'),
    ("linear", "execution.fast", 'linear does not serve "execution.fast": execution.fast is a private stream'),
    ("option", "dcp.option", 'option does not serve "dcp.option": dcp is a private stream'),
    ("private", "kline.1.BTCUSDT", 'private does not serve "kline.1.BTCUSDT"; spot and linear and inverse do'),
    ("private", "orders", 'private does not serve "orders"; did you mean "order"?'),
    ("private", "executions.linear", 'private does not serve "executions.linear"; did you mean "execution"?'),
    ("private", "spread.orders", 'private does not serve "spread.orders"; of spread it serves order, execution'),
    ("private", "order.Linear", '"order.Linear": "Linear" is no category of order; did you mean "linear"?'),
    ("private", "dcp.futures", '"dcp.futures": "futures" is no category of dcp; did you mean "future"?'),
    ("private", "position.spot", f'"position.spot": "spot" is no category of position; {LIKE} linear, inverse, option'),
    ("private", "order.", '"order." names no category; write "order"'),
    ("private", "dcp", '"dcp" names no category; write "dcp.future"'),
    ("private", "wallet.linear", '"wallet.linear": nothing follows wallet; write "wallet"'),
    ("private", "wallet.", '"wallet.": nothing follows wallet; write "wallet"'),
    (
        "spread",
        "tickers.solusdt_sol/usdt",
        '"tickers.solusdt_sol/usdt": symbol "solusdt_sol/usdt" must be in capitals; did you mean "SOLUSDT_SOL/USDT"?',
    ),
    ("spread", "tickers.SOLUSDT", f'"tickers.SOLUSDT": "SOLUSDT" is no symbol of spread; {LIKE} SOLUSDT_SOL/USDT'),
    (
        "spread",
        "orderbook.50.SOLUSDT_SOL/USDT",
        'spread does not serve "orderbook.50.SOLUSDT_SOL/USDT"; spot and linear and inverse do',
    ),
    ("option", "kline.1.BTC", 'option does not serve "kline.1.BTC"; spot and linear and inverse do'),
    ("linear", "order", 'linear does not serve "order": order is a private stream'),
    ("spot", "order.spot", 'spot does not serve "order.spot": order is a private stream'),
    (
        "option",
        "zzz.BTC",
        'option does not serve "zzz.BTC"; it serves orderbook.25, orderbook.100, publicTrade, tickers',
    ),
    ("linear", "tickers", '"tickers" names no symbol; write "tickers.BTCUSDT"'),
    ("linear", "orderbook.50.", '"orderbook.50." names no symbol; write "orderbook.50.BTCUSDT"'),
    ("option", "publicTrade", '"publicTrade" names no base; write "publicTrade.BTC"'),
    ("linear", "insurance", '"insurance" names no pool; write "insurance.USDT"'),
    (
        "linear",
        "tickers.btcusdt",
        '"tickers.btcusdt": symbol "btcusdt" must be in capitals; did you mean "BTCUSDT"?',
    ),
    ("linear", "insurance.usdc", '"insurance.usdc": pool "usdc" must be in capitals; did you mean "USDC"?'),
    (
        "linear",
        "tickers.BTCUSD",
        f'"tickers.BTCUSD": "BTCUSD" is no symbol of linear; {LIKE} BTCUSDT, BTCPERP, BTCUSDT-25DEC26',
    ),
    (
        "inverse",
        "tickers.BTCUSDT",
        f'"tickers.BTCUSDT": "BTCUSDT" is no symbol of inverse; {LIKE} BTCUSD, BTCUSDZ26',
    ),
    ("spot", "tickers.BTC/USDT", f'"tickers.BTC/USDT": "BTC/USDT" is no symbol of spot; {LIKE} BTCUSDT'),
    ("spot", "tickers.BTCUSDT ", f'"tickers.BTCUSDT ": "BTCUSDT " is no symbol of spot; {LIKE} BTCUSDT'),
    (
        "option",
        "publicTrade.BTC-25DEC26-100000-C",
        f'"publicTrade.BTC-25DEC26-100000-C": "BTC-25DEC26-100000-C" is no base of option; {LIKE} BTC',
    ),
    (
        "option",
        "tickers.BTC-25DEC26-100000-X",
        (
            f'"tickers.BTC-25DEC26-100000-X": "BTC-25DEC26-100000-X" is no symbol of option;'
            f" {LIKE} BTC-25DEC26-100000-C-USDT"
        ),
    ),
    ("linear", "adlAlert.BTC", f'"adlAlert.BTC": "BTC" is no pool of linear; {LIKE} USDT, USDC, inverse'),
]


@pytest.mark.parametrize(("product", "topic", "text"), REFUSED)
def test_refused(product: str, topic: str, text: str) -> None:
    """What is not served says why, and what would be right."""
    with pytest.raises(TopicError) as caught:
        parse(product, topic)
    assert str(caught.value) == text


def test_private_topics_that_go_together() -> None:
    """A stream as a whole, or some of its categories, of each stream."""
    assert refusals(["order", "execution.linear", "execution.spot", "execution.fast", "position", "wallet"]) == {}


@pytest.mark.parametrize("stream", ["order", "execution", "execution.fast", "position"])
def test_private_stream_as_a_whole_and_by_category(stream: str) -> None:
    """The venue refuses both in one request, and both would bring every message twice (dossier 6)."""
    refused = refusals([f"{stream}.linear", "wallet", stream])
    assert refused == {
        f"{stream}.linear": f'"{stream}.linear": the venue takes "{stream}" or its categories, not both;'
        f' "{stream}" has them all'
    }


def test_dcp_must_be_meant() -> None:
    """Our connection would keep the venue's cancelling of orders from firing while the strategy is dead (dossier 6)."""
    (text,) = refusals(["order", "dcp.spot"]).values()
    assert text.startswith('"dcp.spot": while this feed is connected')
    assert "allow_dcp = true" in text
    assert refusals(["order", "dcp.spot"], allow_dcp=True) == {}


def test_streams_alone() -> None:
    """A stream's name is compared as a whole, without a symbol behind it."""
    with pytest.raises(TopicError, match=r'does not serve "orderbok\.200"; did you mean "orderbook\.200"\?'):
        check_stream("linear", "orderbok.200")
    with pytest.raises(TopicError, match="of orderbook it serves 25, 100"):
        check_stream("option", "orderbook.26")


@pytest.mark.parametrize("topic", ["news.BTCUSDT", "anything", ""])
def test_nature_of_the_unknown(topic: str) -> None:
    """A stream that we do not know is published frame by frame."""
    assert nature("linear", topic) is Nature.EVENT


def test_nature_of_a_book_to_come() -> None:
    """A book of unknown depth is a book."""
    assert nature("linear", "orderbook.500.BTCUSDT") is Nature.BOOK


@pytest.mark.parametrize("topic", ["orderbook.1.BTC-25DEC26-100000-C", "kline.1.BTC-25DEC26-100000-C"])
def test_nature_of_what_only_other_products_serve(topic: str) -> None:
    """The option socket accepts such topics and stays silent (dossier 3.2): a first record is missed only of a state."""
    assert nature("option", topic) is Nature.LATEST


@given(
    st.sampled_from(sorted(PRODUCTS)), st.text(max_size=30) | st.sampled_from([*(topic for _, topic in SERVED), *ALONE])
)
def test_any_topic(product: str, topic: str) -> None:
    """Any text is a topic, or refused with a reason that names it."""
    try:
        named = parse(product, topic).text
    except TopicError as error:
        named = str(error)
    assert topic in named
    assert nature(product, topic) in Nature


@pytest.mark.parametrize(
    ("product", "topic"),
    [
        ("linear", topics.orderbook(50, "BTCUSDT")),
        ("linear", topics.orderbook("rpi", "BTCUSDT")),
        ("linear", topics.trades("BTCUSDT")),
        ("option", topics.trades("BTC")),
        ("spot", topics.tickers("BTCUSDT")),
        ("linear", topics.kline(15, "BTCUSDT")),
        ("linear", topics.kline("D", "BTCUSDT")),
        ("inverse", topics.liquidations("BTCUSD")),
        ("spot", topics.price_limit("BTCUSDT")),
    ],
)
def test_builders(product: str, topic: str) -> None:
    """What the builders make is served."""
    assert parse(product, topic).text == topic
