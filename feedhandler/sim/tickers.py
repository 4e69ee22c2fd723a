"""Tickers, price limits and insurance pools of the simulated Bybit (dossier 4.5, 4.9 to 4.11). Pure."""

import datetime as dt
import random
from typing import Final

from feedhandler.sim.listing import trimmed
from feedhandler.sim.market import Fill, Market
from feedhandler.sim.pricing import VOLATILITY, option_values
from feedhandler.sim.publication import MS, Publication, S

FUNDING_INTERVAL_MS: Final = 8 * 3_600_000


class FuturesTicker(Publication):
    """``tickers`` of linear and inverse: a snapshot, then the changed fields and some unchanged ones."""

    def __init__(self, product: str, topic: str, market: Market, interval_ms: int, chance: random.Random) -> None:
        super().__init__(product, topic, [market])
        self.market = market
        self.interval_ns = interval_ms * MS
        self._chance = chance
        self._fields: dict[str, str] = {}
        self._sequence = 0

    def resume(self, now_ns: int) -> None:
        """Take the market's state as published."""
        self._fields = self.fields(now_ns // MS)
        self._sequence = self.market.sequence

    def first(self, now_ns: int) -> bytes | None:
        """Return every field, as last published."""
        return self._message("snapshot", now_ns, self._fields)

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """Any event moves some field."""
        del market, fills
        return True

    def publish(self, now_ns: int) -> list[bytes]:
        """Return what changed; ``symbol`` always, the best prices often though unchanged (dossier 4.5)."""
        fields = self.fields(now_ns // MS)
        old = self._fields
        is_redundant = self._chance.random() < 0.3
        changed = {
            name: text
            for name, text in fields.items()
            if old.get(name) != text or name == "symbol" or (is_redundant and name in _BEST)
        }
        self._fields = fields
        if len(changed) == 1:
            return []
        self._sequence = self.market.sequence
        return [self._message("delta", now_ns, changed)]

    def fields(self, now_ms: int) -> dict[str, str]:
        """Return every field of the ticker, in the venue's order."""
        market, instrument, day = self.market, self.market.instrument, self.market.day
        price, lot = instrument.price_text, instrument.lot
        decimals = instrument.price_decimals
        bids, asks = market.bids, market.asks
        interest = market.open_interest_lots * lot
        value = interest / market.mark if instrument.product == "inverse" else interest * market.mark
        size_decimals = instrument.size_decimals
        fields = {
            "symbol": instrument.symbol,
            "tickDirection": market.direction,
            "price24hPcnt": trimmed(f"{market.last_ticks / day.open - 1:.6f}"),
            "lastPrice": price(market.last_ticks),
            "prevPrice24h": price(day.open),
            "highPrice24h": price(day.high),
            "lowPrice24h": price(day.low),
            "prevPrice1h": price(day.open_1h),
            "markPrice": f"{market.mark:.{decimals}f}",
            "indexPrice": f"{market.index:.{decimals}f}",
            "openInterest": trimmed(f"{interest:.{size_decimals}f}"),
            "openInterestValue": f"{value:.2f}",
            "singleOpenInterest": trimmed(f"{interest / 2:.{size_decimals}f}"),
            "singleOpenInterestValue": f"{value / 2:.2f}",
            "turnover24h": f"{day.turnover:.4f}",
            "volume24h": f"{day.volume_lots * lot:.4f}",
        }
        if instrument.kind == "dated":
            expiry = dt.datetime.fromtimestamp(instrument.expiry_ms / 1000, dt.UTC)
            basis = market.mark - market.index
            years = max(instrument.expiry_ms - now_ms, 86_400_000) / 86_400_000 / 365
            fields |= {
                "deliveryTime": f"{expiry:%Y-%m-%dT%H:%M:%SZ}",
                "basisRate": f"{basis / market.index:.8f}",
                "deliveryFeeRate": "0",
                "predictedDeliveryPrice": "0.00",
                "basis": f"{basis:.2f}",
                "basisRateYear": f"{basis / market.index / years:.8f}",
                "nextFundingTime": "",
                "fundingRate": "",
            }
        else:
            fields |= {
                "fundingIntervalHour": "8",
                "fundingCap": "0.005",
                "nextFundingTime": str((now_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS),
                "fundingRate": trimmed(f"{market.funding_rate:.8f}"),
            }
        fields |= {
            "bid1Price": price(-bids.keys[0]) if bids.keys else "",
            "bid1Size": instrument.size_text(bids.lots[bids.keys[0]]) if bids.keys else "",
            "ask1Price": price(asks.keys[0]) if asks.keys else "",
            "ask1Size": instrument.size_text(asks.lots[asks.keys[0]]) if asks.keys else "",
        }
        if instrument.product == "linear" and instrument.kind == "perpetual":
            fields |= {"preOpenPrice": "", "preQty": "", "curPreListingPhase": ""}
        return fields

    def _message(self, kind: str, now_ns: int, fields: dict[str, str]) -> bytes:
        # ``ts`` comes last, after the data (dossier 4).
        return (
            f'{{"topic":"{self.topic}","type":"{kind}","data":{_object(fields)},'
            f'"cs":{self._sequence},"ts":{now_ns // MS}}}'
        ).encode()


_BEST: Final = frozenset(("bid1Price", "bid1Size", "ask1Price", "ask1Size"))


class SpotTicker(Publication):
    """``tickers`` of spot: a full snapshot each time; without best prices (dossier 4.5)."""

    def __init__(self, product: str, topic: str, market: Market, interval_ms: int) -> None:
        super().__init__(product, topic, [market])
        self.market = market
        self.interval_ns = interval_ms * MS

    def first(self, now_ns: int) -> bytes | None:
        """Return the ticker."""
        return self._message(now_ns)

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """Only trades change a spot ticker."""
        del market
        return bool(fills)

    def publish(self, now_ns: int) -> list[bytes]:
        """Return the ticker."""
        return [self._message(now_ns)]

    def _message(self, now_ns: int) -> bytes:
        market, instrument, day = self.market, self.market.instrument, self.market.day
        price = instrument.price_text
        fields = {
            "symbol": instrument.symbol,
            "lastPrice": trimmed(price(market.last_ticks)),
            "highPrice24h": trimmed(price(day.high)),
            "lowPrice24h": trimmed(price(day.low)),
            "prevPrice24h": trimmed(price(day.open)),
            "volume24h": trimmed(instrument.size_text(day.volume_lots)),
            "turnover24h": trimmed(f"{day.turnover:.8f}"),
            "price24hPcnt": trimmed(f"{market.last_ticks / day.open - 1:.4f}"),
            # Empty for coins that are no collateral (dossier 4.5).
            "usdIndexPrice": f"{market.index:.6f}" if instrument.rank < 150 else "",
        }
        return (
            f'{{"topic":"{self.topic}","ts":{now_ns // MS},"type":"snapshot","cs":{market.sequence},'
            f'"data":{_object(fields)}}}'
        ).encode()


class OptionTicker(Publication):
    """``tickers`` of an option: a full snapshot each time; ``"0"`` stands for none (dossier 4.5)."""

    def __init__(self, product: str, topic: str, market: Market, interval_ms: int) -> None:
        super().__init__(product, topic, [market])
        self.market = market
        self.interval_ns = interval_ms * MS

    def first(self, now_ns: int) -> bytes | None:
        """Return the ticker."""
        return self._message(now_ns)

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """Any event moves some field."""
        del market, fills
        return True

    def publish(self, now_ns: int) -> list[bytes]:
        """Return the ticker."""
        return [self._message(now_ns)]

    def _message(self, now_ns: int) -> bytes:
        market, instrument, day = self.market, self.market.instrument, self.market.day
        now_ms = now_ns // MS

        def price(ticks: int) -> str:
            return trimmed(instrument.price_text(ticks))

        def size(lots: float) -> str:
            return trimmed(f"{lots * instrument.lot:.{instrument.size_decimals}f}")

        bids, asks = market.bids, market.asks
        value, delta, gamma, vega, theta = option_values(instrument, instrument.price, now_ms)
        fields = {
            "symbol": instrument.symbol,
            "bidPrice": price(-bids.keys[0]) if bids.keys else "0",
            "bidSize": size(bids.lots[bids.keys[0]]) if bids.keys else "0",
            "bidIv": f"{VOLATILITY - 0.003:.4f}" if bids.keys else "0",
            "askPrice": price(asks.keys[0]) if asks.keys else "0",
            "askSize": size(asks.lots[asks.keys[0]]) if asks.keys else "0",
            "askIv": f"{VOLATILITY + 0.003:.4f}" if asks.keys else "0",
            "lastPrice": price(market.last_ticks),
            "highPrice24h": price(day.high),
            "lowPrice24h": price(day.low),
            "markPrice": trimmed(f"{value:.8f}"),
            "indexPrice": trimmed(f"{instrument.price:.2f}"),
            "markPriceIv": trimmed(f"{VOLATILITY:.4f}"),
            "underlyingPrice": trimmed(f"{instrument.price * 1.0004:.8f}"),
            "openInterest": size(market.open_interest_lots),
            "turnover24h": trimmed(f"{day.turnover:.8f}"),
            "volume24h": size(day.volume_lots),
            "totalVolume": str(int(day.volume_lots * instrument.lot * 7)),
            "totalTurnover": str(int(day.turnover * 7)),
            "delta": trimmed(f"{delta:.8f}"),
            "gamma": trimmed(f"{gamma:.8f}"),
            "vega": trimmed(f"{vega:.8f}"),
            "theta": trimmed(f"{theta:.8f}"),
            "predictedDeliveryPrice": "0",
            "change24h": trimmed(f"{market.last_ticks / day.open - 1:.8f}"),
        }
        return f"{self.envelope('snapshot', now_ms, market.sequence)}{_object(fields)}}}".encode()


class PriceLimit(Publication):
    """``priceLimit``: highest buy and lowest sell price, without a ``type`` (dossier 4.11)."""

    def __init__(self, product: str, topic: str, market: Market, interval_ms: int) -> None:
        super().__init__(product, topic, [market])
        self.market = market
        self.interval_ns = interval_ms * MS
        self._sent: tuple[str, str] | None = None

    def first(self, now_ns: int) -> bytes | None:
        """Return the limits."""
        self._sent = self._limits()
        return self._message(now_ns, *self._sent)

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """Any event may move the mark price, and the limits with it."""
        del market, fills
        return True

    def publish(self, now_ns: int) -> list[bytes]:
        """Return the limits if they moved."""
        limits = self._limits()
        if limits == self._sent:
            return []
        self._sent = limits
        return [self._message(now_ns, *limits)]

    def _limits(self) -> tuple[str, str]:
        instrument, ticks = self.market.instrument, self.market.mark / self.market.instrument.tick
        buy, sell = instrument.price_text(round(ticks * 1.05)), instrument.price_text(round(ticks * 0.95))
        return (trimmed(buy), trimmed(sell)) if self.product == "spot" else (buy, sell)

    def _message(self, now_ns: int, buy: str, sell: str) -> bytes:
        return (
            f'{{"topic":"{self.topic}","data":{{"symbol":"{self.market.instrument.symbol}","buyLmt":"{buy}",'
            f'"sellLmt":"{sell}"}},"ts":{now_ns // MS}}}'
        ).encode()


class Pool(Publication):
    """``insurance`` and ``adlAlert``: a pool's balances, looked at once a second (dossier 4.9, 4.10)."""

    def __init__(self, product: str, topic: str, coin: str, symbols: list[str], chance: random.Random) -> None:
        super().__init__(product, topic, [])
        self.interval_ns = S
        self._is_alert = topic.startswith("adlAlert.")
        self._coins = [symbol.removesuffix("USD") if coin == "inverse" else coin for symbol in symbols]
        self._symbols = symbols
        self._chance = chance
        self._balances = {symbol: chance.uniform(5_000, 5_000_000) for symbol in symbols}
        self._updated_ms = 0
        self._next_ns = 0

    def resume(self, now_ns: int) -> None:
        """Begin looking."""
        self._updated_ms = now_ns // MS
        self._next_ns = now_ns + S

    def first(self, now_ns: int) -> bytes | None:
        """Return every member of the pool."""
        return self._message("snapshot", now_ns, self._symbols)

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """No market moves a pool."""
        del market, fills
        return False

    def publish(self, now_ns: int) -> list[bytes]:
        """Return nothing: a pool speaks by its own clock."""
        del now_ns
        return []

    def next_wake_ns(self, now_ns: int) -> int:
        """Ask for the next second."""
        del now_ns
        return self._next_ns

    def wake(self, now_ns: int) -> list[bytes]:
        """Return alerts each second; balances only when one changed."""
        if now_ns < self._next_ns:
            return []
        self._next_ns = now_ns + S
        symbol = self._symbols[self._chance.randrange(len(self._symbols))]
        if self._chance.random() < 0.4:
            self._balances[symbol] *= 1 + self._chance.uniform(-0.01, 0.01)
            self._updated_ms = now_ns // MS
            return [self._message("snapshot" if self._is_alert else "delta", now_ns, self._changed(symbol))]
        return [self._message("snapshot", now_ns, self._symbols)] if self._is_alert else []

    def _changed(self, symbol: str) -> list[str]:
        return self._symbols if self._is_alert else [symbol]

    def _message(self, kind: str, now_ns: int, symbols: list[str]) -> bytes:
        items = ",".join(self._item(symbol) for symbol in symbols)
        return f'{{"topic":"{self.topic}","type":"{kind}","ts":{now_ns // MS},"data":[{items}]}}'.encode()

    def _item(self, symbol: str) -> str:
        coin, balance = self._coins[self._symbols.index(symbol)], self._balances[symbol]
        if self._is_alert:
            # The documentation's table says strings, its example shows numbers: numbers it is.
            return (
                f'{{"c":"{coin}","s":"{symbol}","b":{balance:.2f},"mb":"","i_pr":-0.3,"pr":{-balance % 1 / 10:.4f},'
                f'"adl_tt":10000,"adl_sr":-0.25}}'
            )
        return f'{{"coin":"{coin}","symbols":"{symbol}","balance":"{balance:.8f}","updateTime":"{self._updated_ms}"}}'


class PlatformStatus(Publication):
    """``system.status``: announcements of maintenance, without a ``type`` (dossier 4.12)."""

    def __init__(self, product: str, topic: str) -> None:
        super().__init__(product, topic, [])
        self._last: bytes | None = None

    def first(self, now_ns: int) -> bytes | None:
        """Return the last announcement, if there was one."""
        del now_ns
        return self._last

    def announce(self, now_ns: int, state: str, begin_ms: int, end_ms: int) -> bytes:
        """Compose an announcement: ``scheduled``, ``ongoing``, ``completed`` or ``canceled``."""
        self._last = (
            f'{{"topic":"{self.topic}","ts":{now_ns // MS},"data":[{{"id":"4d95b2a0-587f-11f0-bcc9-{begin_ms:012x}",'
            f'"title":"Simulated maintenance","state":"{state}","begin":"{begin_ms}","end":"{end_ms}","href":"",'
            f'"serviceTypes":[1,2,3,4,5],"product":[1,2,3,4],"uidSuffix":[],"maintainType":2,"env":1}}]}}'
        ).encode()
        return self._last

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """No market moves it."""
        del market, fills
        return False

    def publish(self, now_ns: int) -> list[bytes]:
        """Return nothing: it speaks when told to."""
        del now_ns
        return []


def _object(fields: dict[str, str]) -> str:
    return "{" + ",".join([f'"{name}":"{text}"' for name, text in fields.items()]) + "}"
