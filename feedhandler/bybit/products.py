"""Bybit's products: where each is served, what it serves, and the venue's limits (dossier 1 and 2.4)."""

import enum
from collections.abc import Container, Sequence
from typing import Final, Literal

import msgspec


class Nature(enum.Enum):
    """How the records of a topic relate to each other; it decides their kind and what a newcomer gets."""

    BOOK = "book"
    """Snapshot, then deltas chained by update id; a newcomer gets a composed book."""
    MERGED = "merged"
    """Snapshot, then deltas of changed fields; a newcomer gets the merged fields."""
    LATEST = "latest"
    """Every record replaces the one before; a newcomer gets the last one."""
    EVENT = "event"
    """Every record stands alone; a newcomer gets none of the past."""
    DELTAS = "deltas"
    """Deltas chained by update id, without a snapshot on this socket; a newcomer gets none."""


class Stream(msgspec.Struct, frozen=True):
    """A family of topics, ``<name>.<symbol>``."""

    name: str
    nature: Nature
    interval_ms: int
    """The venue's push interval: at most one record in that time. 0 = at once."""
    by: str = "symbol"
    """What follows the name: ``symbol``, ``base`` (base coin), ``pool`` (insurance pool), ``category`` (of private
    streams), ``word`` (``status``), or ``""`` = nothing."""
    words: tuple[str, ...] = ()
    """What may follow the name, where that is a list."""
    alone: bool = False
    """The name is a topic by itself; with a category behind it, it is a narrower one."""


class Product(msgspec.Struct, frozen=True):
    """One socket of the venue."""

    name: str
    path: str
    streams: tuple[Stream, ...]
    max_args_per_request: int
    """Topics in one subscribe request."""
    max_topics: int
    """Topics on one connection; 0 = the venue states none."""
    max_args_characters: int = 21_000
    """Characters of the args arrays on one connection (dossier 2.4)."""
    canaries: tuple[str, ...] = ()
    """Lively topics, any of which proves a connection alive: level 1 is sent again after 3 s without change (dossier
    5.1)."""
    acknowledges_by_topic: bool = False
    """True where acknowledgements carry topic lists and no ``req_id`` (dossier 3.2)."""

    def canary(self, topics: Container[str]) -> str:
        """Return a canary that is not among the topics that are wanted anyway, ``""`` where there is none."""
        return next((topic for topic in self.canaries if topic not in topics), "")

    def stream(self, name: str) -> Stream | None:
        """Return the stream of that name, or None where this product does not serve it."""
        return next((stream for stream in self.streams if stream.name == name), None)


KLINE_INTERVALS: Final = ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M")
POOLS: Final = ("USDT", "USDC", "inverse")
_CATEGORIES: Final = ("spot", "linear", "inverse", "option")


def _books(*depth_and_interval_ms: tuple[str, int]) -> tuple[Stream, ...]:
    return tuple(
        Stream(f"orderbook.{depth}", Nature.LATEST if depth == "1" else Nature.BOOK, interval_ms)
        for depth, interval_ms in depth_and_interval_ms
    )


_KLINES: Final = tuple(Stream(f"kline.{interval}", Nature.LATEST, 1000) for interval in KLINE_INTERVALS)


def _private(name: str, *categories: str) -> Stream:
    return Stream(name, Nature.EVENT, 0, by="category" if categories else "", words=categories, alone=True)


_BOOKS: Final = _books(("1", 10), ("50", 20), ("200", 100), ("1000", 200), ("rpi", 100))
_FULL_BOOK: Final = Stream("orderbook.full", Nature.DELTAS, 200)
_TRADES: Final = Stream("publicTrade", Nature.EVENT, 0)
_PRICE_LIMIT: Final = Stream("priceLimit", Nature.LATEST, 300)
_FUTURES: Final = (
    *_BOOKS,
    _FULL_BOOK,
    _TRADES,
    Stream("tickers", Nature.MERGED, 100),
    *_KLINES,
    Stream("allLiquidation", Nature.EVENT, 500),
    _PRICE_LIMIT,
    Stream("insurance", Nature.MERGED, 1000, by="pool", words=POOLS),
    Stream("adlAlert", Nature.LATEST, 1000, by="pool", words=POOLS),
)

# Requests on linear, inverse, spread and private have no stated size limit; libraries send 10 to 500, and more got the connection
# closed (dossier 2.4). One bad topic rejects its whole request (3.4), so small requests also cost less to mend.
PRODUCTS: Final[dict[str, Product]] = {
    product.name: product
    for product in (
        Product(
            "spot",
            "/v5/public/spot",
            (*_BOOKS, _FULL_BOOK, _TRADES, Stream("tickers", Nature.LATEST, 50), *_KLINES, _PRICE_LIMIT),
            max_args_per_request=10,
            max_topics=0,
            canaries=("orderbook.1.BTCUSDT", "orderbook.1.ETHUSDT", "orderbook.1.XRPUSDT"),
        ),
        Product(
            "linear",
            "/v5/public/linear",
            _FUTURES,
            max_args_per_request=50,
            max_topics=0,
            canaries=("orderbook.1.BTCUSDT", "orderbook.1.ETHUSDT", "orderbook.1.XRPUSDT"),
        ),
        Product(
            "inverse",
            "/v5/public/inverse",
            _FUTURES,
            max_args_per_request=50,
            max_topics=0,
            canaries=("orderbook.1.BTCUSD", "orderbook.1.ETHUSD", "orderbook.1.XRPUSD"),
        ),
        Product(
            "option",
            "/v5/public/option",
            (
                *_books(("25", 20), ("100", 100)),
                Stream("publicTrade", Nature.EVENT, 0, by="base"),
                Stream("tickers", Nature.LATEST, 100),
            ),
            max_args_per_request=100,
            max_topics=2000,
            acknowledges_by_topic=True,
        ),
        Product(
            "spread",
            "/v5/public/spread",
            (*_books(("25", 20)), _TRADES, Stream("tickers", Nature.LATEST, 100)),
            max_args_per_request=50,
            max_topics=0,
            acknowledges_by_topic=True,
        ),
        Product(
            "status",
            "/v5/public/misc/status",
            (Stream("system", Nature.LATEST, 0, by="word", words=("status",)),),
            max_args_per_request=10,
            max_topics=0,
        ),
        Product(
            "private",
            "/v5/private",
            (
                _private("order", *_CATEGORIES),
                _private("execution", *_CATEGORIES),
                _private("execution.fast", *_CATEGORIES),
                _private("position", *_CATEGORIES[1:]),
                _private("wallet"),
                _private("greeks"),
                _private("strategy"),
                # It has no messages: subscribing arms the venue's cancelling of all orders at a disconnect.
                Stream("dcp", Nature.EVENT, 0, by="category", words=("future", "spot", "option")),
                _private("spread.order"),
                _private("spread.execution"),
                _private("rfq.open.rfqs"),
                _private("rfq.open.quotes"),
                _private("rfq.open.trades"),
            ),
            max_args_per_request=50,
            max_topics=0,
        ),
    )
}

STATUS_TOPIC: Final = "system.status"
"""The venue's announcements about itself: the one topic of product ``status`` (dossier 4.12)."""

Site = Literal["", "bytick", "tr", "id", "kz", "eu", "ge", "jp"]

HOSTS: Final = {
    "mainnet": "wss://stream.bybit.com",
    "testnet": "wss://stream-testnet.bybit.com",
    "demo": "wss://stream-demo.bybit.com",
}
"""The venue's streams by network (dossier 1.1). ``demo`` serves private streams only."""

SITES: Final[dict[Site, str]] = {
    "": HOSTS["mainnet"],
    "bytick": "wss://stream.bytick.com",
    "tr": "wss://stream.bybit.tr",
    "id": "wss://stream.bybit.id",
    "kz": "wss://stream.bybit.kz",
    "eu": "wss://stream.bybit.eu",
    "ge": "wss://stream.bybitgeorgia.ge",
    "jp": "wss://stream.manepa.jp",
}
"""Mainnet by site (dossier 1.1): ``bytick`` is the alternative domain of the same services; the others are for accounts
registered there."""

MAX_ACTIVE_TIME_MIN_S: Final = 30
MAX_ACTIVE_TIME_MAX_S: Final = 600
"""What the venue takes as ``max_active_time`` of private streams, in whole seconds (dossier 1.3)."""

PING_INTERVAL_MAX_S: Final = 20.0
"""The venue asks for a ping every 20 s (dossier 2.2)."""

MAX_MESSAGE_BYTES: Final = 10 * 1024 * 1024
"""Largest message accepted. The largest expected is a full trade frame of about 170 KB (dossier 2.1)."""


def args_characters(topics: list[str]) -> int:
    """Return how many characters ``topics`` take of a connection's args limit.

    The venue counts the args arrays (dossier 2.4); whether quotes and commas count is not said, so they do.
    """
    return sum(len(topic) for topic in topics) + 3 * len(topics)


def share_out(product: Product, topics: list[str], reserved: Sequence[str] = ()) -> list[list[str]]:
    """Pack topics onto connections, in order, each filled up to the venue's limits (dossier 2.4).

    Each connection keeps room for the ``reserved`` topics, which are not among those returned. A topic that is longer than a whole connection's limit gets one of its own: the venue decides.
    """
    connections: list[list[str]] = []
    characters = 0
    for topic in topics:
        more = args_characters([topic])
        full = not connections or characters + more > product.max_args_characters
        if full or len(connections[-1]) + len(reserved) == product.max_topics:
            connections.append([])
            characters = args_characters(list(reserved))
        connections[-1].append(topic)
        characters += more
    return connections


def requests(product: Product, topics: list[str]) -> int:
    """Return how many subscribe requests a connection's topics take."""
    return -(-len(topics) // product.max_args_per_request)
