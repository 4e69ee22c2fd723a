"""Trades, liquidations and candles of the simulated Bybit (dossier 4.4, 4.6, 4.7). Pure."""

import datetime as dt
import random
from typing import Final

from feedhandler.sim.listing import trimmed
from feedhandler.sim.market import Fill, Market
from feedhandler.sim.pricing import VOLATILITY, option_values
from feedhandler.sim.publication import MS, Publication, S

TRADES_PER_FRAME: Final = 1024
"""Larger sets are split over several frames with one ``seq`` (dossier 4.4)."""


class Trades(Publication):
    """``publicTrade``: every fill at once, those of one order in one frame."""

    def __init__(self, product: str, topic: str, markets: list[Market]) -> None:
        super().__init__(product, topic, markets)
        self._pending: list[tuple[Market, Fill]] = []

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """Collect the fills."""
        self._pending.extend((market, fill) for fill in fills)
        return bool(fills)

    def publish(self, now_ns: int) -> list[bytes]:
        """Return the fills since the last call, in match order."""
        pending, self._pending = self._pending, []
        return [
            self.message(now_ns, pending[begin : begin + TRADES_PER_FRAME])
            for begin in range(0, len(pending), TRADES_PER_FRAME)
        ]

    def message(self, now_ns: int, fills: list[tuple[Market, Fill]]) -> bytes:
        """Compose one frame."""
        item = {"spot": _spot_item, "option": _option_item, "spread": _spread_item}.get(self.product, _futures_item)
        items = ",".join([item(market, fill) for market, fill in fills])
        return f"{self.envelope('snapshot', now_ns // MS, fills[-1][1].sequence)}[{items}]}}".encode()


def _futures_item(market: Market, fill: Fill) -> str:
    instrument = market.instrument
    return (
        f'{{"T":{fill.time_ms},"s":"{instrument.symbol}","S":"{"Buy" if fill.is_buy else "Sell"}",'
        f'"v":"{instrument.size_text(fill.lots)}","p":"{instrument.price_text(fill.ticks)}","L":"{fill.direction}",'
        f'"i":"{fill.id}","BT":false,"RPI":{"true" if fill.is_rpi else "false"},"seq":{fill.sequence}}}'
    )


def _spot_item(market: Market, fill: Fill) -> str:
    instrument = market.instrument
    return (
        f'{{"i":"{fill.id}","T":{fill.time_ms},"p":"{trimmed(instrument.price_text(fill.ticks))}",'
        f'"v":"{trimmed(instrument.size_text(fill.lots))}","S":"{"Buy" if fill.is_buy else "Sell"}",'
        f'"seq":{fill.sequence},"s":"{instrument.symbol}","BT":false,"RPI":{"true" if fill.is_rpi else "false"}}}'
    )


def _spread_item(market: Market, fill: Fill) -> str:
    instrument = market.instrument
    return (
        f'{{"T":{fill.time_ms},"s":"{instrument.symbol}","S":"{"Buy" if fill.is_buy else "Sell"}",'
        f'"v":"{trimmed(instrument.size_text(fill.lots))}","p":"{trimmed(instrument.price_text(fill.ticks))}",'
        f'"L":"{fill.direction}","i":"{fill.id}","seq":{fill.sequence}}}'
    )


def _option_item(market: Market, fill: Fill) -> str:
    instrument = market.instrument
    mark = option_values(instrument, instrument.price, fill.time_ms)[0]
    return (
        f'{{"i":"{fill.id}","T":{fill.time_ms},"p":"{trimmed(instrument.price_text(fill.ticks))}",'
        f'"v":"{trimmed(instrument.size_text(fill.lots))}","S":"{"Buy" if fill.is_buy else "Sell"}",'
        f'"seq":{fill.sequence},"s":"{instrument.symbol}","BT":false,"mP":"{trimmed(f"{mark:.8f}")}",'
        f'"iP":"{trimmed(f"{instrument.price:.2f}")}","mIv":"{VOLATILITY}","iv":"{VOLATILITY + 0.002:.4f}"}}'
    )


class Liquidations(Publication):
    """``allLiquidation``: batches every 500 ms. Now and then a taker order is one; the side is the position's."""

    def __init__(self, product: str, topic: str, market: Market, interval_ms: int, chance: random.Random) -> None:
        super().__init__(product, topic, [market])
        self.interval_ns = interval_ms * MS
        self._chance = chance
        self._pending: list[str] = []
        self._last_ms = 0

    def resume(self, now_ns: int) -> None:
        """Count the time to the next liquidation from here."""
        self._last_ms = now_ns // MS

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """Make a liquidation of some taker orders, and of the next one after 4 s without."""
        if not fills:
            return False
        first = fills[0]
        if self._chance.random() > 0.05 and first.time_ms - self._last_ms < 4000:
            return False
        self._last_ms = first.time_ms
        instrument = market.instrument
        lots = sum(fill.lots for fill in fills)
        self._pending.append(
            f'{{"T":{first.time_ms},"s":"{instrument.symbol}","S":"{"Sell" if first.is_buy else "Buy"}",'
            f'"v":"{instrument.size_text(lots)}","p":"{instrument.price_text(first.ticks)}"}}'
        )
        return True

    def publish(self, now_ns: int) -> list[bytes]:
        """Return the batch."""
        pending, self._pending = self._pending, []
        return [f"{self.envelope('snapshot', now_ns // MS)}[{','.join(pending)}]}}".encode()] if pending else []


class Candle:
    """One candle while it grows."""

    __slots__ = ("close", "end_ms", "high", "last_ms", "lots", "low", "open", "start_ms", "turnover")

    def __init__(self, start_ms: int, end_ms: int, ticks: int) -> None:
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.open = self.high = self.low = self.close = ticks
        self.lots = 0
        self.turnover = 0.0
        self.last_ms = start_ms


class Kline(Publication):
    """``kline``: the current candle, about once a second while trading; once more, confirmed, when it has ended."""

    interval_ns = S

    def __init__(self, product: str, topic: str, market: Market, interval: str) -> None:
        super().__init__(product, topic, [market])
        self.market = market
        self.interval = interval
        self._candle = Candle(0, 0, market.last_ticks)

    def resume(self, now_ns: int) -> None:
        """Begin with the running candle; what it held before is unknown to us."""
        start_ms, end_ms = bounds(self.interval, now_ns // MS)
        if start_ms != self._candle.start_ms:
            self._candle = Candle(start_ms, end_ms, self.market.last_ticks)
            self._candle.last_ms = now_ns // MS

    def first(self, now_ns: int) -> bytes | None:
        """Return the running candle."""
        return self._message(now_ns, is_confirmed=False)

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """Add trades; those that the engine made before this candle count into it all the same."""
        candle = self._candle
        for fill in fills:
            candle.close = fill.ticks
            candle.high = max(candle.high, fill.ticks)
            candle.low = min(candle.low, fill.ticks)
            candle.lots += fill.lots
            candle.turnover += market.turnover(fill.ticks, fill.lots)
            candle.last_ms = max(candle.last_ms, fill.time_ms)
        return bool(fills)

    def publish(self, now_ns: int) -> list[bytes]:
        """Return the running candle."""
        return [self._message(now_ns, is_confirmed=False)] if now_ns // MS <= self._candle.end_ms else []

    def next_wake_ns(self, now_ns: int) -> int:
        """Ask to be woken when the candle has ended."""
        del now_ns
        return (self._candle.end_ms + 1) * MS

    def wake(self, now_ns: int) -> list[bytes]:
        """Confirm the candle that ended and begin the next."""
        if now_ns // MS <= self._candle.end_ms:
            return []
        ended = self._message(now_ns, is_confirmed=True)
        self._candle = Candle(*bounds(self.interval, now_ns // MS), self._candle.close)
        return [ended]

    def _message(self, now_ns: int, *, is_confirmed: bool) -> bytes:
        candle, price, instrument = self._candle, self.market.instrument.price_text, self.market.instrument
        return (
            f'{{"topic":"{self.topic}","type":"snapshot","ts":{now_ns // MS},"data":[{{"start":{candle.start_ms},'
            f'"end":{candle.end_ms},"interval":"{self.interval}","open":"{trimmed(price(candle.open))}",'
            f'"close":"{trimmed(price(candle.close))}","high":"{trimmed(price(candle.high))}",'
            f'"low":"{trimmed(price(candle.low))}","volume":"{trimmed(instrument.size_text(candle.lots))}",'
            f'"turnover":"{trimmed(f"{candle.turnover:.4f}")}","confirm":{"true" if is_confirmed else "false"},'
            f'"timestamp":{candle.last_ms}}}]}}'
        ).encode()


def bounds(interval: str, now_ms: int) -> tuple[int, int]:
    """Return the first and last ms of the candle that holds ``now_ms``. Weeks begin on Monday, all in UTC."""
    if interval == "M":
        day = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).date().replace(day=1)
        following = (day + dt.timedelta(days=31)).replace(day=1)
        return _midnight_ms(day), _midnight_ms(following) - 1
    length_ms = {"D": 86_400_000, "W": 7 * 86_400_000}.get(interval) or int(interval) * 60_000
    # 1 January 1970 was a Thursday: weeks are counted from the Monday after.
    shift_ms = 4 * 86_400_000 if interval == "W" else 0
    start_ms = (now_ms - shift_ms) // length_ms * length_ms + shift_ms
    return start_ms, start_ms + length_ms - 1


def _midnight_ms(day: dt.date) -> int:
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp() * 1000)
