"""What each product serves and where, the venue's limits, and how topics fill connections under them."""

import itertools
import re
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedhandler.bybit.products import (
    HOSTS,
    KLINE_INTERVALS,
    PRODUCTS,
    SITES,
    Nature,
    Site,
    args_characters,
    requests,
    share_out,
)

FUTURES = {"linear", "inverse"}
PRIVATE = (
    *("order", "execution", "execution.fast", "position", "wallet", "greeks", "strategy", "dcp"),
    *("spread.order", "spread.execution", "rfq.open.rfqs", "rfq.open.quotes", "rfq.open.trades"),
)


def served(stream: str) -> set[str]:
    return {name for name, product in PRODUCTS.items() if product.stream(stream) is not None}


@pytest.mark.parametrize(
    ("stream", "products"),
    [
        *((f"orderbook.{depth}", {"spot", *FUTURES}) for depth in ("1", "50", "200", "1000", "rpi", "full")),
        ("orderbook.25", {"option", "spread"}),
        ("orderbook.100", {"option"}),
        *((f"kline.{interval}", {"spot", *FUTURES}) for interval in KLINE_INTERVALS),
        ("publicTrade", {"spot", "option", "spread", *FUTURES}),
        ("tickers", {"spot", "option", "spread", *FUTURES}),
        ("priceLimit", {"spot", *FUTURES}),
        *((stream, FUTURES) for stream in ("allLiquidation", "insurance", "adlAlert")),
        ("orderbook.500", set()),
        ("liquidation", set()),
        ("system", {"status"}),
        *((stream, {"private"}) for stream in PRIVATE),
    ],
)
def test_who_serves_it(stream: str, products: set[str]) -> None:
    """A stream is served where the venue serves it (dossier 1.2)."""
    assert served(stream) == products


@pytest.mark.parametrize(
    ("product", "stream", "nature"),
    [
        ("linear", "orderbook.1", Nature.LATEST),
        ("linear", "orderbook.50", Nature.BOOK),
        ("spot", "orderbook.rpi", Nature.BOOK),
        ("option", "orderbook.25", Nature.BOOK),
        ("linear", "orderbook.full", Nature.DELTAS),
        ("linear", "tickers", Nature.MERGED),
        ("inverse", "tickers", Nature.MERGED),
        ("spot", "tickers", Nature.LATEST),
        ("option", "tickers", Nature.LATEST),
        ("linear", "publicTrade", Nature.EVENT),
        ("linear", "allLiquidation", Nature.EVENT),
        ("linear", "kline.D", Nature.LATEST),
        ("spot", "priceLimit", Nature.LATEST),
        ("linear", "insurance", Nature.MERGED),
        ("linear", "adlAlert", Nature.LATEST),
        ("spread", "orderbook.25", Nature.BOOK),
        ("spread", "tickers", Nature.LATEST),
        ("spread", "publicTrade", Nature.EVENT),
        ("status", "system", Nature.LATEST),
        *(("private", stream, Nature.EVENT) for stream in PRIVATE),
    ],
)
def test_nature(product: str, stream: str, nature: Nature) -> None:
    """How a stream's records relate to each other decides what is published and what a newcomer gets."""
    found = PRODUCTS[product].stream(stream)
    assert found is not None
    assert found.nature is nature


@pytest.mark.parametrize("name", PRODUCTS)
def test_names_and_paths(name: str) -> None:
    """A product is found by its name, and served at a path of that name (dossier 1.2)."""
    path = {"status": "/v5/public/misc/status", "private": "/v5/private"}.get(name, f"/v5/public/{name}")
    assert (PRODUCTS[name].name, PRODUCTS[name].path) == (name, path)
    streams = [stream.name for stream in PRODUCTS[name].streams]
    assert len(set(streams)) == len(streams)


def test_who_acknowledges_by_topic() -> None:
    """Option and spread name topics instead of the request (dossier 3.2)."""
    assert {name for name, product in PRODUCTS.items() if product.acknowledges_by_topic} == {"option", "spread"}


CATEGORIES = ("spot", "linear", "inverse", "option")


@pytest.mark.parametrize(
    ("stream", "categories", "alone"),
    [
        *((name, CATEGORIES, True) for name in ("order", "execution", "execution.fast")),
        ("position", CATEGORIES[1:], True),
        ("dcp", ("future", "spot", "option"), False),
        *((name, (), True) for name in PRIVATE[4:] if name != "dcp"),
    ],
)
def test_categories_of_private_streams(stream: str, categories: tuple[str, ...], alone: bool) -> None:
    """Some private streams can be had by category, some only as a whole, dcp only by category (dossier 6)."""
    found = PRODUCTS["private"].stream(stream)
    assert found is not None
    assert (found.words, found.alone, found.by) == (categories, alone, "category" if categories else "")


def test_limits() -> None:
    """The venue's limits (dossier 2.4)."""
    assert PRODUCTS["spot"].max_args_per_request == 10
    assert PRODUCTS["option"].max_topics == 2000
    assert {product.max_args_characters for product in PRODUCTS.values()} == {21_000}


def test_hosts() -> None:
    """Every real network and every site of mainnet has a host of its own, over TLS; sim is nobody's (dossier 1.1)."""
    assert set(HOSTS) == {"mainnet", "testnet", "demo"}
    assert SITES[""] == HOSTS["mainnet"]
    assert set(SITES) == set(get_args(Site))
    hosts = {*HOSTS.values(), *SITES.values()}
    assert len(hosts) == len(HOSTS) + len(SITES) - 1
    assert all(re.fullmatch(r"wss://stream(-testnet|-demo)?\.[a-z]+\.[a-z]+", host) for host in hosts)


def test_canary_is_one_that_nobody_wants() -> None:
    """It proves a connection alive without being published: a topic that is wanted anyway is none."""
    linear = PRODUCTS["linear"]
    first, second, *_ = linear.canaries
    assert linear.canary(()) == first
    assert linear.canary({first}) == second
    assert linear.canary(linear.canaries) == ""
    assert {name for name, product in PRODUCTS.items() if product.canary(())} == {"spot", *FUTURES}


def test_args_characters() -> None:
    """Each topic counts with its quotes and a comma: never less than what JSON makes of them, brackets aside."""
    assert args_characters([]) == 0
    assert args_characters(["tickers.BTCUSDT"]) == 18
    assert args_characters(["a", "bc"]) == len('"a","bc",')


TOPICS = st.lists(st.text(alphabet="ab.é", min_size=1, max_size=12), max_size=60)


@given(TOPICS, st.integers(0, 5), st.integers(15, 60))
def test_share_out(topics: list[str], max_topics: int, max_characters: int) -> None:
    """Every topic once, in order, each connection within both limits and as full as the next topic allows."""
    product = msgspec.structs.replace(PRODUCTS["linear"], max_topics=max_topics, max_args_characters=max_characters)
    connections = share_out(product, topics)
    assert [topic for connection in connections for topic in connection] == topics
    for connection in connections:
        assert connection
        assert args_characters(connection) <= max_characters
        assert not max_topics or len(connection) <= max_topics
    for connection, following in itertools.pairwise(connections):
        more = [*connection, following[0]]
        assert args_characters(more) > max_characters or len(more) > max_topics > 0


def test_share_out_to_the_last_character() -> None:
    """A connection takes exactly its 21,000 characters."""
    topics = ["x" * 97] * 211
    assert [len(connection) for connection in share_out(PRODUCTS["linear"], topics)] == [210, 1]


def test_share_out_of_options() -> None:
    """An option connection takes 2000 topics, however short."""
    assert [len(connection) for connection in share_out(PRODUCTS["option"], ["x"] * 4001)] == [2000, 2000, 1]


def test_topic_beyond_every_limit() -> None:
    """A topic longer than a connection's limit stands alone; the venue decides."""
    long = "x" * 30_000
    assert share_out(PRODUCTS["linear"], ["a", long, "b"]) == [["a"], [long], ["b"]]


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (10, 1), (11, 2), (20, 2)])
def test_requests(count: int, expected: int) -> None:
    """Spot takes ten topics a request."""
    assert requests(PRODUCTS["spot"], ["x"] * count) == expected
