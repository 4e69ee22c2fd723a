"""The account behind the simulated Bybit's private streams: it places, amends, cancels, and is filled. Pure.

Its orders rest in the public markets' books and are filled by the markets' takers; its own market orders are public
trades. So price, size, id, time and ``seq`` of every execution are those of a trade on ``publicTrade``, and what is
published on one topic agrees with every other (dossier 6, 9.4).
"""

import random
from decimal import Decimal
from typing import Any, Final

import msgspec

from feedhandler.sim import account_rows as rows
from feedhandler.sim.ledger import Execution, Ledger, Order, mark_of, price_of, size_of
from feedhandler.sim.market import ENGINE_LAG_MS, Fill, Market
from feedhandler.sim.publication import MS

USER_ID: Final = 1_000_042
WORST_PRICE_STEP: Final = 20
"""A market order takes prices up to a twentieth away from the last."""


class AccountError(ValueError):
    """Something the account cannot do; the text says why."""


class News(msgspec.Struct, frozen=True):
    """What one message of a private topic says."""

    family: str
    """The topic without its category: ``order``."""
    category: str
    """``linear`` or ``spot``; ``""`` where the family has none."""
    id: str
    items: list[dict[str, Any]]


class Account:
    """Orders at work in markets, and the news of them.

    What happened is collected in `news` and `moves` until somebody takes it: `drain`.
    """

    def __init__(self, seed: int) -> None:
        self.ledger = Ledger()
        self.markets: dict[tuple[str, str], Market] = {}
        """Where it has traded, or is about to: by category and symbol."""
        self._news: list[News] = []
        self._moves: list[tuple[Market, list[Fill]]] = []
        self._chance = random.Random(f"{seed} account")  # noqa: S311 - lifelike, not secret
        self._numbers = 0

    def enter(self, market: Market) -> None:
        """Take note of a market that it is going to trade in."""
        self.markets.setdefault((market.instrument.product, market.instrument.symbol), market)

    @property
    def has_news(self) -> bool:
        """Say whether there is something to `drain`."""
        return bool(self._news or self._moves)

    def drain(self) -> tuple[list[News], list[tuple[Market, list[Fill]]]]:
        """Return the news, and the markets it moved with their trades, since the last call."""
        found = self._news, self._moves
        self._news, self._moves = [], []
        return found

    # -- acting -------------------------------------------------------------------------------------------------------

    def place(self, market: Market, *, is_buy: bool, ticks: int, lots: int, now_ns: int) -> Order:
        """Let a limit order rest in the book; `AccountError` where it would cross or is not paid for."""
        opposite = market.asks if is_buy else market.bids
        if opposite.keys and (ticks >= opposite.keys[0] if is_buy else ticks <= -opposite.keys[0]):
            raise AccountError("the order would cross the book: it is meant to rest")
        order = self._new(market, is_buy=is_buy, is_market=False, ticks=ticks, lots=lots, now_ns=now_ns)
        market.rest(order.id, is_buy=is_buy, ticks=ticks, lots=lots, now_ns=now_ns)
        self._moves.append((market, []))
        self._tell_of_order(order)
        return order

    def take(self, market: Market, *, is_buy: bool, lots: int, now_ns: int) -> Order:
        """Send a market order: filled at once, as far as the book goes. Orders of its own in the way are cancelled."""
        for order in self.open_in(market):
            if order.is_buy != is_buy:
                self.cancel(order, now_ns)
        step = max(1, abs(market.last_ticks) // WORST_PRICE_STEP)
        ticks = market.last_ticks + (step if is_buy else -step)
        order = self._new(market, is_buy=is_buy, is_market=True, ticks=ticks, lots=lots, now_ns=now_ns)
        fills = market.take(is_buy=is_buy, lots=lots, now_ns=now_ns)
        self._moves.append((market, fills))
        executions = [self.ledger.execute(order, fill, is_maker=False) for fill in fills]
        if order.is_open:
            self.ledger.close(order, "UNKNOWN", "EC_CancelForNoFullFill", market.event_ms)
        self._tell_of_executions(market, executions)
        self._tell_of_order(order)
        return order

    def amend(self, order: Order, *, ticks: int, lots: int, now_ns: int) -> None:
        """Change price and size of an open order: it goes to the end of its new queue."""
        market = order.market
        opposite = market.asks if order.is_buy else market.bids
        if opposite.keys and (ticks >= opposite.keys[0] if order.is_buy else ticks <= -opposite.keys[0]):
            raise AccountError("the order would cross the book: it is meant to rest")
        if lots <= order.filled_lots:
            raise AccountError("more than that was filled already")
        market.withdraw(order.id, is_buy=order.is_buy, ticks=order.ticks, now_ns=now_ns)
        order.ticks, order.lots = ticks, lots
        market.rest(order.id, is_buy=order.is_buy, ticks=ticks, lots=order.leaves_lots, now_ns=now_ns)
        order.updated_ms = market.event_ms
        self._moves.append((market, []))
        self._tell_of_order(order)

    def cancel(self, order: Order, now_ns: int) -> None:
        """Take an open order back."""
        market = order.market
        market.withdraw(order.id, is_buy=order.is_buy, ticks=order.ticks, now_ns=now_ns)
        self.ledger.close(order, "CancelByUser", "EC_PerCancelRequest", market.event_ms)
        self._moves.append((market, []))
        self._tell_of_order(order)

    def be_hit(self, order: Order, lots: int, now_ns: int) -> None:
        """Have somebody's order hit ``lots`` of an open one, and everything that is before it in the book."""
        market = order.market
        fills = market.hit(order.id, is_buy=not order.is_buy, ticks=order.ticks, lots=lots, now_ns=now_ns)
        self._moves.append((market, fills))
        self.filled(market, fills)

    def filled(self, market: Market, fills: list[Fill]) -> None:
        """Book the trades of a market in which orders of the account were hit."""
        orders = self.ledger.orders
        executions = [
            self.ledger.execute(orders[fill.maker_id], fill, is_maker=True) for fill in fills if fill.maker_id
        ]
        self._tell_of_executions(market, executions)
        # One message for each order, however many fills it had: its state after the last.
        for order in {execution.order.id: execution.order for execution in executions}.values():
            self._tell_of_order(order)

    def tell_greeks(self, base: str, delta: float, gamma: float, vega: float, theta: float) -> None:
        """Say what the options held are worth by their greeks."""
        self._news.append(News("greeks", "", self._long_id(), [rows.greeks_row(base, delta, gamma, vega, theta)]))

    # -- reading ------------------------------------------------------------------------------------------------------

    def open_in(self, market: Market) -> list[Order]:
        """Return the open orders in a market, oldest first."""
        return [order for order in self.ledger.orders.values() if order.market is market]

    def prices(self) -> dict[str, Decimal]:
        """Return what each coin is worth in USD, by the markets it trades in."""
        found = {"USDT": Decimal(1), "USDC": Decimal(1)}
        for market in self.markets.values():
            found.setdefault(market.instrument.base, mark_of(market))
        return found

    def state(self) -> dict[str, Any]:
        """Return everything: what every message so far must add up to."""
        ledger = self.ledger
        return {
            "wallet": rows.wallet_row(ledger, self.prices()),
            "positions": [rows.position_row(position) for position in ledger.positions.values()],
            "orders": [rows.order_row(order) for order in ledger.orders.values()],
            "executions": ledger.executions,
            "fees": {coin: str(fee) for coin, fee in ledger.fees.items()},
        }

    # -- telling ------------------------------------------------------------------------------------------------------

    def _tell_of_order(self, order: Order) -> None:
        """Tell of an order, and of what any change of an order is told with: the position, the wallet (dossier 6.4)."""
        self._news.append(News("order", order.category, self._short_id(order.market), [rows.order_row(order)]))
        if order.category == "linear":
            position = self.ledger.position(order.market, order.created_ms)
            self._news.append(News("position", "linear", self._long_id(), [rows.position_row(position)]))
        self._news.append(News("wallet", "", self._long_id(), [rows.wallet_row(self.ledger, self.prices())]))

    def _tell_of_executions(self, market: Market, executions: list[Execution]) -> None:
        if not executions:
            return
        category, id_ = market.instrument.product, self._short_id(market)
        fast = [rows.fast_row(execution) for execution in executions]
        full = [rows.execution_row(execution) for execution in executions]
        self._news += [News("execution.fast", category, "", fast), News("execution", category, id_, full)]

    def _short_id(self, market: Market) -> str:
        """Return a message id as orders and executions have: account, symbol and ``seq``."""
        if market.instrument.product == "spot":
            return f"{USER_ID}-20000-{market.sequence}"
        return f"{USER_ID}_{market.instrument.symbol}_{market.sequence}"

    def _long_id(self) -> str:
        digits = f"{self._chance.getrandbits(112):028x}"
        return f"{USER_ID}{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}0000"

    # -- orders -------------------------------------------------------------------------------------------------------

    def _new(self, market: Market, *, is_buy: bool, is_market: bool, ticks: int, lots: int, now_ns: int) -> Order:
        instrument = market.instrument
        if instrument.product not in ("linear", "spot"):
            raise AccountError(f"the account trades on linear and spot, not on {instrument.product}")
        if lots < 1:
            raise AccountError("the size is less than the smallest there is")
        coin = instrument.base if instrument.product == "spot" and not is_buy else instrument.quote
        size = size_of(instrument, lots)
        needed = size if coin == instrument.base else size * price_of(instrument, ticks)
        if needed > self.ledger.available(coin):
            raise AccountError(f"not enough {coin} for that order")
        self.enter(market)
        self._numbers += 1
        # The engine's time, as of everything that follows from it.
        created_ms = max(market.event_ms, now_ns // MS - ENGINE_LAG_MS)
        order = Order(
            id=self._order_id(instrument.product),
            link_id=f"sim-{self._numbers}" if self._chance.random() < 0.5 else "",
            market=market,
            is_buy=is_buy,
            is_market=is_market,
            ticks=ticks,
            lots=lots,
            created_ms=created_ms,
            updated_ms=created_ms,
            last_ticks_on_created=market.last_ticks,
        )
        self.ledger.enter(order)
        return order

    def _order_id(self, category: str) -> str:
        if category == "spot":
            return str(self._chance.randrange(1_400_000_000_000_000_000, 2_000_000_000_000_000_000))
        digits = f"{self._chance.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
