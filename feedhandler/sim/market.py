"""One instrument's market: a book of resting orders, takers that hit it, and what is counted along the way. Pure.

A market knows no topics. It moves in events (`Market.step`), each at a time it is told; books of every depth, trades,
tickers and candles are views of the same state, so they agree with each other (dossier 9.4).
"""

import bisect
import itertools
import math
import random
from typing import Final

import msgspec

from feedhandler.sim.listing import Instrument
from feedhandler.sim.pricing import fair_price

SPARE_LEVELS: Final = 20
"""Levels kept beyond the deepest book that is watched, so that the edge of a window never depends on our refilling."""
FIRST_DEPTH: Final = 60
FULL_DEPTH: Final = 1500
"""Levels a side of a market whose full book is watched."""

BUSIEST_EVENTS_PER_S: Final = 42.0
"""Events of the busiest instrument: about 30 frames/s of ``orderbook.50`` (dossier 2.5)."""
ENGINE_LAG_MS: Final = 2
"""From the matching engine (``cts``, ``T``) to the push (``ts``), at least."""

_MS: Final = 1_000_000
_SIZES: Final = 256


class Side:
    """One side of a book, best first.

    Bids are kept by negative price so that both sides ascend from their best: ``key * sign`` is the price in ticks.
    """

    __slots__ = ("keys", "lots", "own", "sign", "version")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.lots: dict[int, int] = {}
        """All that rests at a price, the account's orders included."""
        self.own: dict[int, dict[str, int]] = {}
        """The account's orders by price: lots by order id, oldest first (`Market.rest`)."""
        self.version = 0
        """Grows with every change: an unchanged side needs no comparison."""

    def own_lots(self, key: int) -> int:
        """Return how much of a price's size is the account's."""
        return sum(self.own[key].values()) if key in self.own else 0

    def put(self, key: int, lots: int) -> None:
        """Set the size at a price; 0 removes it. What the account has resting there stays."""
        self.version += 1
        if self.own:
            lots = max(lots, self.own_lots(key))
        if lots <= 0:
            if self.lots.pop(key, None) is not None:
                del self.keys[bisect.bisect_left(self.keys, key)]
            return
        if key not in self.lots:
            bisect.insort(self.keys, key)
        self.lots[key] = lots


class Fill(msgspec.Struct, frozen=True):
    """One trade."""

    time_ms: int
    is_buy: bool
    """The taker's side."""
    ticks: int
    lots: int
    direction: str
    """``PlusTick``, ``ZeroPlusTick``, ``MinusTick`` or ``ZeroMinusTick``."""
    id: str
    sequence: int
    is_rpi: bool = False
    maker_id: str = ""
    """The account's order that was hit; ``""`` = somebody else's."""


class Day:
    """What tickers count over the last 24 hours; begins with a made-up past."""

    __slots__ = ("high", "low", "open", "open_1h", "turnover", "volume_lots")

    def __init__(
        self, ticks: int, reach_ticks: int, volume_lots: int, turnover: float, chance: random.Random, lowest_ticks: int
    ) -> None:
        spread = reach_ticks
        self.open = max(lowest_ticks, ticks + chance.randint(-spread, spread))
        self.open_1h = max(lowest_ticks, ticks + chance.randint(-spread // 4, spread // 4))
        self.high = max(ticks, self.open, self.open_1h) + chance.randint(0, spread)
        self.low = max(lowest_ticks, min(ticks, self.open, self.open_1h) - chance.randint(0, spread))
        self.volume_lots = volume_lots
        self.turnover = turnover

    def add(self, ticks: int, lots: int, turnover: float) -> None:
        """Count one trade."""
        self.high = max(self.high, ticks)
        self.low = min(self.low, ticks)
        self.volume_lots += lots
        self.turnover += turnover


class Market:
    """The state of one instrument and how it moves."""

    lowest_ticks = 1
    """No price is lower."""

    def __init__(self, instrument: Instrument, seed: int, now_ns: int, rate: float = 1.0) -> None:
        """Start a market at ``now_ns``; equal ``seed`` and times give equal histories.

        ``rate`` multiplies its activity; 1.0 is lifelike.
        """
        self.instrument = instrument
        self.chance = random.Random(f"{seed} {instrument.product} {instrument.symbol}")  # noqa: S311 - lifelike, not secret
        self.bids = Side(-1)
        self.asks = Side(1)
        self.rpi_bids: dict[int, int] = {}
        self.rpi_asks: dict[int, int] = {}
        self.has_rpi = False
        self.depth = 0
        self.sequence = self.chance.randrange(10**11, 9 * 10**11)
        self.event_ms = now_ns // _MS - ENGINE_LAG_MS
        rank = instrument.rank
        self._mean_gap_ns = int(1e9 / (max(1.0, BUSIEST_EVENTS_PER_S / (1 + 0.06 * rank)) * rate))
        self._longest_without_trade_ns = int((0.8e9 if rank < 20 else 3.5e9) / rate)
        self._last_trade_ns = now_ns
        self._sizes = self._size_table()
        middle = max(self.lowest_ticks + 1, round(fair_price(instrument, now_ns // _MS) / instrument.tick))
        self._anchor = float(middle)
        self._spread_max = 1 + self.chance.randrange(3) if instrument.kind != "option" else 4
        self._widest_gap = max(1, min(6, middle // 4000)) if instrument.kind != "option" else 1
        self._start_book(middle)
        self.last_ticks = middle
        self.direction = "ZeroPlusTick"
        self.mark = middle * instrument.tick
        self.index = self.mark * (1 + self.chance.uniform(-0.0005, 0.0005))
        lots_a_day = int(self._sizes[_SIZES // 2] * 60_000 * (1 + self.chance.random()) / (1 + 0.05 * rank))
        turnover = self.turnover(middle, lots_a_day)
        self.day = Day(middle, self._day_reach(middle), lots_a_day, turnover, self.chance, self.lowest_ticks)
        self.open_interest_lots = max(1, lots_a_day // 2)
        self.funding_rate = round(self.chance.uniform(-0.0002, 0.0003), 8)
        self._trade_number = self.chance.randrange(2_100_000_000_000_000_000, 2_290_000_000_000_000_000)

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def mid_ticks(self) -> float:
        """The middle of the book, or the anchor where a side is empty."""
        if not self.bids.keys or not self.asks.keys:
            return self._anchor
        return (self.asks.keys[0] - self.bids.keys[0]) / 2

    def turnover(self, ticks: int, lots: int) -> float:
        """Return the value of a trade: quote coin, or the coin itself on inverse."""
        price = ticks * self.instrument.tick
        size = lots * self.instrument.lot
        return size / price if self.instrument.product == "inverse" else size * price

    def next_gap_ns(self) -> int:
        """Draw the time to the next event: irregular, never twice the mean."""
        return int(self._mean_gap_ns * (0.2 + 1.6 * self.chance.random()))

    # -- moving -------------------------------------------------------------------------------------------------------

    def require_depth(self, levels: int) -> None:
        """Keep at least ``levels`` a side from now on; nothing above them changes."""
        if levels > self.depth:
            self.depth = levels
            self._refill(self.bids)
            self._refill(self.asks)

    def require_rpi(self) -> None:
        """Keep retail price improvement orders beside the book from now on (dossier 4.2)."""
        if self.has_rpi:
            return
        self.has_rpi = True
        for side, rpi in ((self.bids, self.rpi_bids), (self.asks, self.rpi_asks)):
            for key in side.keys[:40]:
                if self.chance.random() < 0.3:
                    rpi[key] = self._size()
                elif self.chance.random() < 0.1:
                    rpi[key + 1] = self._size()

    def step(self, now_ns: int) -> list[Fill]:
        """Let one event of the matching engine happen; return the trades it made."""
        chance = self.chance
        self._begin_event(now_ns)
        self._wander()
        fills: list[Fill] = []
        if chance.random() < 0.12 or now_ns - self._last_trade_ns >= self._longest_without_trade_ns:
            fills = self._take()
            if fills:
                self._last_trade_ns = now_ns
        else:
            for _ in range(1 + int(chance.random() * 4)):
                self._make()
        self._narrow()
        self._refill(self.bids)
        self._refill(self.asks)
        if self.has_rpi and chance.random() < 0.4:
            self._make_rpi()
        self._move_mark()
        return fills

    def rest(self, order_id: str, *, is_buy: bool, ticks: int, lots: int, now_ns: int) -> None:
        """Let an order of the account rest in the book, behind what is there; it must not cross."""
        self._begin_event(now_ns)
        side = self.bids if is_buy else self.asks
        key = ticks * side.sign
        total = side.lots.get(key, 0) + lots
        side.own.setdefault(key, {})[order_id] = lots
        side.put(key, total)

    def withdraw(self, order_id: str, *, is_buy: bool, ticks: int, now_ns: int) -> None:
        """Take an order of the account out of the book."""
        self._begin_event(now_ns)
        side = self.bids if is_buy else self.asks
        key = ticks * side.sign
        total = side.lots[key] - side.own[key][order_id]
        _forget(side, key, order_id)
        side.put(key, total)
        self._refill(side)

    def take(self, *, is_buy: bool, lots: int, now_ns: int) -> list[Fill]:
        """Let the account's order hit the book at once, up to ``lots``; return its trades, which are public ones, too."""
        self._begin_event(now_ns)
        return self._after_taking(self._consume(is_buy=is_buy, lots=lots), now_ns)

    def hit(self, order_id: str, *, is_buy: bool, ticks: int, lots: int, now_ns: int) -> list[Fill]:
        """Let somebody's order hit ``lots`` of an order of the account, with everything that is before it."""
        side = self.asks if is_buy else self.bids
        wanted = ticks * side.sign
        before = sum(side.lots[key] for key in side.keys if key < wanted) + side.lots[wanted] - side.own_lots(wanted)
        older = itertools.takewhile(lambda own: own[0] != order_id, side.own[wanted].items())
        before += sum(other_lots for _, other_lots in older)
        self._begin_event(now_ns)
        return self._after_taking(self._consume(is_buy=is_buy, lots=before + lots), now_ns)

    def _after_taking(self, fills: list[Fill], now_ns: int) -> list[Fill]:
        self._last_trade_ns = now_ns
        self._narrow()
        self._refill(self.bids)
        self._refill(self.asks)
        self._move_mark()
        return fills

    def _begin_event(self, now_ns: int) -> None:
        self.event_ms = max(self.event_ms, now_ns // _MS - ENGINE_LAG_MS)
        self.sequence += 10 + int(self.chance.random() * 300)

    def _wander(self) -> None:
        """Move what prices come back to."""
        self._anchor *= 1 + self.chance.gauss(0, 1) * 0.000_02

    def _day_reach(self, ticks: int) -> int:
        """Return how far prices went within a day."""
        return max(2, round(ticks * 0.03))

    def _pull(self) -> float:
        """Return how strongly prices are drawn up to the anchor (down where negative)."""
        return (self._anchor - self.mid_ticks) / max(1.0, self._anchor * 0.002)

    def stir(self, now_ns: int) -> list[Fill]:
        """Let events happen at once for a market that nobody watched: the book has moved meanwhile."""
        return [fill for _ in range(3) for fill in self.step(now_ns)]

    def _take(self) -> list[Fill]:
        """A taker hits the book: one order, one or several fills at one engine time and sequence."""
        chance = self.chance
        # Takers lean towards the anchor, a slow random walk, so that prices wander but never run away.
        is_buy = chance.random() < 0.5 + max(-0.4, min(0.4, self._pull()))
        side = self.asks if is_buy else self.bids
        if not side.keys:
            return []
        if chance.random() < 0.03 and self.instrument.kind not in ("option", "spread"):
            # A retail order filled by a retail price improvement maker: the book does not move (dossier 4.2).
            return [self._fill(is_buy, side.keys[0] * side.sign, 1 + self._size() // 4, is_rpi=True)]
        return self._consume(is_buy=is_buy, lots=1 + int(side.lots[side.keys[0]] * chance.random() ** 2 * 3))

    def _consume(self, *, is_buy: bool, lots: int) -> list[Fill]:
        """Fill a taker's order from the best price on; a side's last level stays."""
        side = self.asks if is_buy else self.bids
        wanted = lots
        fills: list[Fill] = []
        while wanted > 0 and len(side.keys) > 1:
            key = side.keys[0]
            resting = side.lots[key] - side.own_lots(key)
            # A level is many orders: each maker order is its own fill.
            while wanted > 0 and resting > 0:
                size = min(wanted, resting, max(1, int(resting * (0.3 + self.chance.random()))))
                fills.append(self._fill(is_buy, key * side.sign, size))
                wanted -= size
                resting -= size
            # The account's orders came last.
            for maker_id, own in list(side.own.get(key, {}).items()) if wanted else ():
                size = min(wanted, own)
                fills.append(self._fill(is_buy, key * side.sign, size, maker_id=maker_id))
                wanted -= size
                if size == own:
                    _forget(side, key, maker_id)
                else:
                    side.own[key][maker_id] -= size
                if not wanted:
                    break
            side.put(key, resting + side.own_lots(key))
        return fills

    def _fill(self, is_buy: bool, ticks: int, lots: int, *, is_rpi: bool = False, maker_id: str = "") -> Fill:
        last = self.last_ticks
        if ticks == last:
            self.direction = "ZeroPlusTick" if self.direction in ("PlusTick", "ZeroPlusTick") else "ZeroMinusTick"
        else:
            self.direction = "PlusTick" if ticks > last else "MinusTick"
        self.last_ticks = ticks
        self.day.add(ticks, lots, self.turnover(ticks, lots))
        self.open_interest_lots = max(1, self.open_interest_lots + int(lots * (self.chance.random() - 0.5)))
        trade_id = self._trade_id()
        return Fill(self.event_ms, is_buy, ticks, lots, self.direction, trade_id, self.sequence, is_rpi, maker_id)

    def _trade_id(self) -> str:
        if self.instrument.product == "spot":
            self._trade_number += 1 + int(self.chance.random() * 3)
            return str(self._trade_number)
        digits = f"{self.chance.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-b{digits[17:20]}-{digits[20:]}"

    def _make(self) -> None:
        """A maker changes, cancels or adds one level, mostly near the top."""
        chance = self.chance
        side = self.bids if chance.random() < 0.5 else self.asks
        keys = side.keys
        if not keys:
            return
        if self.depth > FIRST_DEPTH and chance.random() < 0.25:
            place = int(chance.random() * len(keys))
        else:
            place = min(len(keys) - 1, int(-math.log(1 - chance.random()) * 8))
        key = keys[place]
        what = chance.random()
        if what < 0.6:
            side.put(key, self._size())
        elif what < 0.8:
            if len(keys) > 1:
                side.put(key, 0)
        elif place and key - keys[place - 1] > 1:
            side.put(keys[place - 1] + 1 + int(chance.random() * (key - keys[place - 1] - 1)), self._size())
        else:
            side.put(key, side.lots[key] + self._size())

    def _narrow(self) -> None:
        """Makers improve the best price while the spread is wider than this market's own."""
        bids, asks = self.bids.keys, self.asks.keys
        if not bids or not asks:
            return
        while asks[0] + bids[0] > self._spread_max:
            side = self.bids if self.chance.random() < 0.5 else self.asks
            room = asks[0] + bids[0] - 1
            side.put(side.keys[0] - 1 - int(self.chance.random() * min(room, 4)), self._size())
            if self.chance.random() < 0.3:
                return

    def _refill(self, side: Side) -> None:
        """Keep the number of levels: new ones at the far end, surplus ones dropped there."""
        keys, chance = side.keys, self.chance
        wanted = self.depth + SPARE_LEVELS
        if len(keys) < wanted:
            side.version += 1
            while len(keys) < wanted:
                key = keys[-1] + 1 + int(chance.random() * self._widest_gap)
                if key * side.sign < self.lowest_ticks and side.sign < 0:
                    return
                keys.append(key)
                side.lots[key] = self._size()
        elif len(keys) > wanted + SPARE_LEVELS:
            side.version += 1
            for key in keys[wanted:]:
                del side.lots[key]
            del keys[wanted:]
            for key in side.own:
                if key not in side.lots:
                    side.put(key, 0)

    def _make_rpi(self) -> None:
        chance = self.chance
        side, rpi = (self.bids, self.rpi_bids) if chance.random() < 0.5 else (self.asks, self.rpi_asks)
        if not side.keys:
            return
        if rpi and chance.random() < 0.4:
            del rpi[next(iter(rpi))]
        key = side.keys[min(len(side.keys) - 1, int(-math.log(1 - chance.random()) * 8))] + int(chance.random() * 2)
        if key * side.sign > 0:
            rpi[key] = self._size()
        side.version += 1

    def _move_mark(self) -> None:
        tick = self.instrument.tick
        target = self.mid_ticks * tick
        self.mark += (target - self.mark) * 0.2
        self.index += (target - self.index) * 0.05 + tick * 0.1 * (self.chance.random() - 0.5)

    def _start_book(self, middle: int) -> None:
        self.depth = FIRST_DEPTH
        spread = 1 + int(self.chance.random() * self._spread_max)
        best_bid = max(self.lowest_ticks, middle - spread // 2)
        for side, best in ((self.bids, best_bid), (self.asks, best_bid + spread)):
            side.keys.append(best * side.sign)
            side.lots[side.keys[0]] = self._size()
            self._refill(side)

    def _size(self) -> int:
        return self._sizes[int(self.chance.random() * _SIZES)]

    def _size_table(self) -> list[int]:
        """Draw sizes worth some thousand dollars, log-normal as real books are."""
        instrument = self.instrument
        price = 1.0 if instrument.product == "inverse" else max(instrument.price, 1e-12)
        typical = max(3.0, 2_000.0 / price / instrument.lot)
        if instrument.kind in ("option", "spread"):
            typical = 40.0
        return sorted(max(1, int(typical * self.chance.lognormvariate(0, 1.3))) for _ in range(_SIZES))


def _forget(side: Side, key: int, order_id: str) -> None:
    del side.own[key][order_id]
    if not side.own[key]:
        del side.own[key]
