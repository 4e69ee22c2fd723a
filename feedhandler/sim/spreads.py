"""Markets of spread combinations and their ticker (dossier 4.5, 4.14). Pure.

What is traded is the difference between two legs' prices: it may be negative, and books are thin enough for a side to
be empty at times.
"""

from typing import Final

from feedhandler.sim.listing import Instrument, trimmed
from feedhandler.sim.market import Fill, Market, Side
from feedhandler.sim.publication import MS, Publication

FEWEST_LEVELS: Final = 6
MOST_LEVELS: Final = 40
WIDEST_GAP_TICKS: Final = 25
REACH_TICKS: Final = 400
"""How far prices stray from what they come back to."""
LEAVING: Final = 0.003
"""How often, of all events, a side's makers leave it empty."""
RETURNING: Final = 0.1
"""How often, of all events, they come back."""


class SpreadMarket(Market):
    """A thin market without a lowest price. One of its sides may be empty for a while, never both (dossier 9.4)."""

    lowest_ticks = -(10**12)

    def __init__(self, instrument: Instrument, seed: int, now_ns: int, rate: float = 1.0) -> None:
        self._levels = 0
        super().__init__(instrument, seed, now_ns, rate)
        self._spread_max = 5 + self.chance.randrange(60)

    def require_depth(self, levels: int) -> None:
        """Leave it as it is: there are not more orders because more are asked for."""
        del levels

    def step(self, now_ns: int) -> list[Fill]:
        """Let one event happen; now and then it is a side's makers leaving."""
        fills = super().step(now_ns)
        if self.chance.random() < LEAVING and self.bids.keys and self.asks.keys:
            side = self.bids if self.chance.random() < 0.5 else self.asks
            for key in list(side.keys):
                side.put(key, 0)
        return fills

    def _wander(self) -> None:
        self._anchor += self.chance.gauss(0, 1)

    def _day_reach(self, ticks: int) -> int:
        del ticks
        return 2 * REACH_TICKS

    def _pull(self) -> float:
        return (self._anchor - self.mid_ticks) / REACH_TICKS

    def _refill(self, side: Side) -> None:
        keys, chance = side.keys, self.chance
        if not self._levels:
            self._levels = chance.randint(FEWEST_LEVELS, MOST_LEVELS)
        if not keys:
            if chance.random() >= RETURNING:
                return
            opposite = (self.asks if side is self.bids else self.bids).keys
            # A bid lies below every ask: by their keys, of which bids' are negative, the sum of the best is positive.
            side.put(max(round(self._anchor) * side.sign, 1 - opposite[0] if opposite else -(10**12)), self._size())
        while len(keys) < self._levels:
            side.put(keys[-1] + 1 + int(chance.random() * WIDEST_GAP_TICKS), self._size())
        for key in keys[self._levels + 10 :]:
            side.put(key, 0)


class SpreadTicker(Publication):
    """``tickers`` of a spread: a full snapshot each time; ``""`` stands for an empty side (dossier 4.5)."""

    def __init__(self, product: str, topic: str, market: Market, interval_ms: int) -> None:
        super().__init__(product, topic, [market])
        self.market = market
        self.interval_ns = interval_ms * MS

    def first(self, now_ns: int) -> bytes | None:
        """Return the ticker."""
        return self._message(now_ns)

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """Any event may move a best price."""
        del market, fills
        return True

    def publish(self, now_ns: int) -> list[bytes]:
        """Return the ticker."""
        return [self._message(now_ns)]

    def _message(self, now_ns: int) -> bytes:
        market, instrument, day = self.market, self.market.instrument, self.market.day
        bids, asks = market.bids, market.asks

        def price(ticks: int) -> str:
            return trimmed(instrument.price_text(ticks))

        def size(lots: int) -> str:
            return trimmed(instrument.size_text(lots))

        return (
            f'{self.envelope("snapshot", now_ns // MS)}{{"symbol":"{instrument.symbol}",'
            f'"bidPrice":"{price(-bids.keys[0]) if bids.keys else ""}",'
            f'"bidSize":"{size(bids.lots[bids.keys[0]]) if bids.keys else ""}",'
            f'"askPrice":"{price(asks.keys[0]) if asks.keys else ""}",'
            f'"askSize":"{size(asks.lots[asks.keys[0]]) if asks.keys else ""}",'
            f'"lastPrice":"{price(market.last_ticks)}","highPrice24h":"{price(day.high)}",'
            f'"lowPrice24h":"{price(day.low)}","prevPrice24h":"{price(day.open)}",'
            f'"volume24h":"{size(day.volume_lots)}"}}}}'
        ).encode()
