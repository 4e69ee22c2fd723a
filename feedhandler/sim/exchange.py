"""The simulated venue without its sockets: which topics exist, and what is published when. Pure.

Everything happens in the order of one queue of due times: markets' events, pushes on their grids, timers of single
publications. Whoever drives it (``sim/server.py``, or a test) asks `Exchange.next_due_ns` and calls `Exchange.advance`.
Only what is subscribed is computed.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from feedhandler.bybit import topics
from feedhandler.bybit.products import POOLS, STATUS_TOPIC, Stream
from feedhandler.sim.account import Account, News
from feedhandler.sim.books import BestBook, Book, FullBook, RpiBook
from feedhandler.sim.events import Kline, Liquidations, Trades
from feedhandler.sim.ledger import Order
from feedhandler.sim.listing import Instrument, Listing
from feedhandler.sim.market import Fill, Market
from feedhandler.sim.private import TOLD, PrivateStream, family_of
from feedhandler.sim.publication import MS, Publication, S
from feedhandler.sim.spreads import SpreadMarket, SpreadTicker
from feedhandler.sim.tickers import FuturesTicker, OptionTicker, PlatformStatus, Pool, PriceLimit, SpotTicker
from feedhandler.sim.trader import OPTION_BASES, SYMBOLS, Trader
from feedhandler.sim.venue import PRIVATE, SPREAD, STATUS, stream_of

GRID_JITTER_NS: Final = 3 * MS
"""A push comes this much after its grid point, at most (dossier 9.4)."""
LATEST_NS: Final = S
"""A driver that comes later than this (the process was stopped) is not made to live through what it missed."""

Message = tuple[Publication, bytes]


class Acted(NamedTuple):
    """What an act of the account led to."""

    order: Order
    news: list[News]
    messages: list[Message]


_MARKET: Final = 0
_GRID: Final = 1
_WAKE: Final = 2
_TRADER: Final = 3


class _Presence(Publication):
    """Keeps a market moving that the account trades in, though nobody watches it."""

    def __init__(self) -> None:
        super().__init__(PRIVATE, "", [])

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        del market, fills
        return False


class Exchange:
    """Markets, publications, the account, and the queue of what is due."""

    def __init__(
        self,
        listing: Listing,
        *,
        seed: int = 1,
        rate: float = 1.0,
        history: int = 0,
        pads_level_1: bool = False,
        account_rate: float = 1.0,
    ) -> None:
        """Open the venue.

        ``rate`` multiplies the activity of all markets; ``history`` is how many pushes each book remembers for the
        ground truth, 0 = none; ``pads_level_1`` writes the futures' level 1 as until 2025 (dossier 4).
        ``account_rate`` multiplies how often the account behind the private topics acts, 0 = only when told.
        """
        self.listing = listing
        self.delisted: set[tuple[str, str]] = set()
        """Products and symbols that are listed no more (dossier 9.5)."""
        self._seed = seed
        self._rate = rate
        self._history = history
        self._pads_level_1 = pads_level_1
        self._chance = random.Random(f"{seed} exchange")  # noqa: S311 - lifelike, not secret
        self._markets: dict[tuple[str, str], Market] = {}
        self._watchers: dict[Market, list[Publication]] = {}
        self._publications: dict[tuple[str, str], Publication] = {}
        self._phases: dict[tuple[str, int], int] = {}
        self._queue: list[tuple[int, int, int, Market | Publication | Trader]] = []
        self._order = itertools.count()
        self._market_due_ns: dict[Market, int] = {}
        self.account = Account(seed)
        self.trader = Trader(self.account, seed, account_rate)
        self._private: dict[str, PrivateStream] = {}
        self.is_plain: Callable[[], bool] = lambda: False
        """Whether messages of a private topic by category go by the plain name: `Settings.plain_private_topics`."""
        """Private topics that somebody is subscribed to."""
        self._presence = _Presence()

    # -- which topics exist -------------------------------------------------------------------------------------------

    def find(self, product: str, topic: str) -> Publication | None:
        """Return the publication of ``topic``, active or not, if it was ever subscribed."""
        return self._publications.get((product, topic))

    def instrument(self, product: str, symbol: str) -> Instrument | None:
        """Return the instrument if it is listed, and still is."""
        return None if (product, symbol) in self.delisted else self.listing.find(product, symbol)

    def serves(self, product: str, topic: str) -> bool:
        """Say whether ``topic`` is published on ``product``: a known stream of a listed symbol."""
        if product == STATUS:
            return topic == STATUS_TOPIC
        if product == PRIVATE:
            found = family_of(topic)
            return found is not None and found[0] in TOLD
        name, symbol = topics.split(topic)
        stream = stream_of(product, name)
        return stream is not None and self.lists(product, stream, symbol)

    def lists(self, product: str, stream: Stream, symbol: str) -> bool:
        """Say whether ``stream`` is published of ``symbol``."""
        if stream.by == "pool":
            return symbol in POOLS
        if stream.by == "base":
            return self.listing.has_base(symbol)
        return self.instrument(product, symbol) is not None

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def activate(self, product: str, topic: str, now_ns: int) -> Publication:
        """Begin publishing a topic that `serves` says yes to; do nothing if it is being published already."""
        key = (product, topic)
        publication = self._publications.get(key)
        if publication is None:
            publication = self._publications[key] = self._build(product, topic, now_ns)
        if publication.is_active:
            return publication
        publication.is_active = True
        for market in publication.markets:
            self._watch(market, publication, now_ns)
        if isinstance(publication, PrivateStream):
            self._begin_telling(publication, now_ns)
        publication.resume(now_ns)
        self._push_wake(publication, now_ns)
        return publication

    def _watch(self, market: Market, publication: Publication, now_ns: int) -> None:
        watchers = self._watchers.setdefault(market, [])
        if not watchers:
            # Orders of the account may be hit by that, too; it is told with the next event.
            self._book(market, market.stir(now_ns))
            self._push_market(market, now_ns + market.next_gap_ns())
        watchers.append(publication)

    def deactivate(self, publication: Publication, now_ns: int) -> None:
        """Stop publishing; the state is kept for whoever subscribes next."""
        if not publication.is_active:
            return
        publication.is_active = False
        publication.grid_due_ns = publication.wake_due_ns = 0
        publication.pause(now_ns)
        for market in publication.markets:
            self._watchers[market].remove(publication)
        if isinstance(publication, PrivateStream):
            self._end_telling(publication)

    # -- time ---------------------------------------------------------------------------------------------------------

    @property
    def next_due_ns(self) -> int | None:
        """When `advance` next has something to do; None = never, as things are."""
        return self._queue[0][0] if self._queue else None

    def advance(self, now_ns: int) -> list[Message]:
        """Let everything happen that is due by ``now_ns``; return the messages in order."""
        out: list[Message] = []
        queue = self._queue
        while queue and queue[0][0] <= now_ns:
            due_ns, _, kind, what = heapq.heappop(queue)
            at_ns = due_ns if now_ns - due_ns < LATEST_NS else now_ns
            if isinstance(what, Market):
                self._run_market(what, due_ns, at_ns, out)
            elif isinstance(what, Trader):
                self._run_trader(what, due_ns, at_ns, out)
            elif kind == _GRID:
                if what.grid_due_ns == due_ns:
                    what.grid_due_ns = 0
                    out.extend([(what, payload) for payload in what.publish(at_ns)])
            elif what.wake_due_ns == due_ns:
                out.extend([(what, payload) for payload in what.wake(at_ns)])
                self._push_wake(what, at_ns)
        return out

    def _run_market(self, market: Market, due_ns: int, at_ns: int, out: list[Message]) -> None:
        watchers = self._watchers[market]
        if not watchers or self._market_due_ns[market] != due_ns:
            return
        fills = market.step(at_ns)
        self._book(market, fills)
        self._tell_watchers(market, fills, at_ns, out)
        self._push_market(market, at_ns + market.next_gap_ns())
        self._tell_account(at_ns, out)

    def _tell_watchers(self, market: Market, fills: list[Fill], at_ns: int, out: list[Message]) -> None:
        for publication in self._watchers.get(market, ()):
            if publication.touched(market, fills):
                if publication.interval_ns == 0:
                    out.extend([(publication, payload) for payload in publication.publish(at_ns)])
                elif publication.grid_due_ns == 0:
                    self._push_grid(publication, at_ns)

    # -- the account --------------------------------------------------------------------------------------------------

    def act(self, do: str, product: str, symbol: str, query: Mapping[str, str], now_ns: int) -> Acted:
        """Have the account do something now (`Trader.told`); return its order, the news of it, and all messages.

        `AccountError` where it cannot; `LookupError` where there is no such market.
        """
        market = self.market(self.listing.instrument(product, symbol), now_ns)
        order = self.trader.told(do, market, query, now_ns)
        if self._private and self._presence not in self._watchers.get(market, ()):
            self._watch(market, self._presence, now_ns)
        out: list[Message] = []
        news = self._tell_account(now_ns, out)
        return Acted(order, news, out)

    def _begin_telling(self, stream: PrivateStream, now_ns: int) -> None:
        is_first = not self._private
        self._private[stream.topic] = stream
        if not is_first:
            return
        for product, symbol in SYMBOLS:
            self.account.enter(self.market(self.listing.instrument(product, symbol), now_ns))
        for market in self.account.markets.values():
            self._watch(market, self._presence, now_ns)
        if self.trader.rate:
            self._push_trader(now_ns)

    def _end_telling(self, stream: PrivateStream) -> None:
        del self._private[stream.topic]
        if self._private:
            return
        self.trader.due_ns = 0
        for market in self.account.markets.values():
            self._watchers[market].remove(self._presence)

    def _run_trader(self, trader: Trader, due_ns: int, at_ns: int, out: list[Message]) -> None:
        if trader.due_ns != due_ns:
            return
        chains = {base: self.listing.option_chain(base, at_ns // MS) for base in OPTION_BASES}
        trader.act([self._markets[key] for key in SYMBOLS], chains, at_ns)
        self._tell_account(at_ns, out)
        self._push_trader(at_ns)

    def _push_trader(self, now_ns: int) -> None:
        due_ns = self.trader.due_ns = now_ns + self.trader.next_gap_ns()
        heapq.heappush(self._queue, (due_ns, next(self._order), _TRADER, self.trader))

    def _book(self, market: Market, fills: list[Fill]) -> None:
        if fills and any(fill.maker_id for fill in fills):
            self.account.filled(market, fills)

    def _tell_account(self, at_ns: int, out: list[Message]) -> list[News]:
        """Tell what the account did: the market's watchers of the trades, its own subscribers of the rest."""
        if not self.account.has_news:
            return []
        news, moves = self.account.drain()
        for market, fills in moves:
            self._tell_watchers(market, fills, at_ns, out)
        for each in news:
            for stream in self._private.values():
                payload = stream.message(each, at_ns, is_plain=self.is_plain())
                if payload is not None:
                    out.append((stream, payload))
        return news

    def _push_market(self, market: Market, due_ns: int) -> None:
        self._market_due_ns[market] = due_ns
        heapq.heappush(self._queue, (due_ns, next(self._order), _MARKET, market))

    def _push_grid(self, publication: Publication, now_ns: int) -> None:
        interval_ns = publication.interval_ns
        # One phase for all topics of a product and interval: pushes come in bursts, as the venue's do (dossier 2.5).
        key = (publication.product, interval_ns)
        phase_ns = self._phases.get(key)
        if phase_ns is None:
            phase_ns = self._phases[key] = self._chance.randrange(interval_ns)
        due_ns = now_ns - (now_ns - phase_ns) % interval_ns + interval_ns + int(self._chance.random() * GRID_JITTER_NS)
        publication.grid_due_ns = due_ns
        heapq.heappush(self._queue, (due_ns, next(self._order), _GRID, publication))

    def _push_wake(self, publication: Publication, now_ns: int) -> None:
        wake_ns = publication.next_wake_ns(now_ns)
        if wake_ns:
            due_ns = publication.wake_due_ns = max(wake_ns, now_ns + MS)
            heapq.heappush(self._queue, (due_ns, next(self._order), _WAKE, publication))

    # -- building -----------------------------------------------------------------------------------------------------

    def market(self, instrument: Instrument, now_ns: int) -> Market:
        """Return the one market of ``instrument``."""
        key = (instrument.product, instrument.symbol)
        market = self._markets.get(key)
        if market is None:
            build = SpreadMarket if instrument.product == SPREAD else Market
            market = self._markets[key] = build(instrument, self._seed, now_ns, self._rate)
        return market

    def _build(self, product: str, topic: str, now_ns: int) -> Publication:
        if product == STATUS:
            return PlatformStatus(product, topic)
        if product == PRIVATE:
            return PrivateStream(topic)
        name, symbol = topics.split(topic)
        stream = stream_of(product, name)
        if stream is None or not self.lists(product, stream, symbol):
            raise LookupError(f"{product} does not publish {topic}")
        chance = random.Random(f"{self._seed} {product} {topic}")  # noqa: S311 - lifelike, not secret
        if stream.by == "pool":
            return Pool(product, topic, symbol, self.listing.pool(product, symbol), chance)
        if stream.by == "base":
            chain = self.listing.option_chain(symbol, now_ns // MS)
            return Trades(product, topic, [self.market(instrument, now_ns) for instrument in chain])
        market = self.market(self.listing.instrument(product, symbol), now_ns)
        publication = _of_market(product, topic, stream, market, chance, self._history)
        if isinstance(publication, BestBook) and product != "spot":
            publication.is_trimmed = not self._pads_level_1
        return publication


def _of_market(
    product: str, topic: str, stream: Stream, market: Market, chance: random.Random, history: int
) -> Publication:
    """Build the publication of ``stream`` as a view of ``market``."""
    family, _, word = stream.name.partition(".")
    interval_ms = stream.interval_ms
    if family == "orderbook":
        books: dict[str, Callable[[str, str, Market, int, int], Book]]
        books = {"1": BestBook, "rpi": RpiBook, "full": FullBook}
        if word in books:
            return books[word](product, topic, market, interval_ms, history)
        return Book(product, topic, market, int(word), interval_ms, history)
    if family == "kline":
        return Kline(product, topic, market, word)
    if family == "publicTrade":
        return Trades(product, topic, [market])
    if family == "allLiquidation":
        return Liquidations(product, topic, market, interval_ms, chance)
    if family == "priceLimit":
        return PriceLimit(product, topic, market, interval_ms)
    if product == "spot":
        return SpotTicker(product, topic, market, interval_ms)
    if product == SPREAD:
        return SpreadTicker(product, topic, market, interval_ms)
    if product == "option":
        return OptionTicker(product, topic, market, interval_ms)
    return FuturesTicker(product, topic, market, interval_ms, chance)
