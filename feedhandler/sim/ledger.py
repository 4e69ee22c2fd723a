"""The books of the simulated account: orders, executions, positions, balances (dossier 6). Pure.

All sums are exact decimals, so what the messages say adds up to the last digit: an order's executions to what it says
of itself, executions to the position, realised profit less fees to the change of the balance.
"""

from decimal import Decimal
from typing import Final

import msgspec

from feedhandler.sim.listing import Instrument
from feedhandler.sim.market import Fill, Market

ZERO: Final = Decimal(0)
_MONEY: Final = Decimal("1e-10")
"""Fees and profits are rounded to this; everything else is exact."""

FEE_RATES: Final[dict[tuple[str, bool], Decimal]] = {
    ("linear", True): Decimal("0.0002"),
    ("linear", False): Decimal("0.00055"),
    ("spot", True): Decimal("0.001"),
    ("spot", False): Decimal("0.001"),
}
"""By category and whether it was a maker's fill."""
LEVERAGE: Final = 10
MAINTENANCE_RATE: Final = Decimal("0.005")
OPENING_BALANCES: Final = {
    "USDT": Decimal(200_000),
    "USDC": Decimal(20_000),
    "BTC": Decimal(1),
    "ETH": Decimal(20),
}


class Order(msgspec.Struct, eq=False):
    """One order of the account."""

    id: str
    link_id: str
    market: Market
    is_buy: bool
    is_market: bool
    ticks: int
    """Limit price; of a market order the worst it would take."""
    lots: int
    created_ms: int
    last_ticks_on_created: int
    updated_ms: int = 0
    filled_lots: int = 0
    value: Decimal = ZERO
    """Of what was filled, in quote coin."""
    fee: Decimal = ZERO
    closed_pnl: Decimal = ZERO
    status: str = "New"
    cancel_type: str = "UNKNOWN"
    reject_reason: str = "EC_NoError"

    @property
    def instrument(self) -> Instrument:
        """What it trades."""
        return self.market.instrument

    @property
    def category(self) -> str:
        """``linear`` or ``spot``."""
        return self.instrument.product

    @property
    def is_open(self) -> bool:
        """Say whether it may still be filled."""
        return self.status in ("New", "PartiallyFilled")

    @property
    def leaves_lots(self) -> int:
        """What may still be filled: nothing of a closed order, however much was left."""
        return self.lots - self.filled_lots if self.is_open else 0

    @property
    def leaves_value(self) -> Decimal:
        """The same in quote coin, at its own price."""
        return price_of(self.instrument, self.ticks) * size_of(self.instrument, self.leaves_lots)

    @property
    def fee_coin(self) -> str:
        """What fees are taken in: on spot, the coin received."""
        instrument = self.instrument
        return instrument.base if self.category == "spot" and self.is_buy else instrument.quote


class Execution(msgspec.Struct, frozen=True):
    """One fill of one order."""

    order: Order
    fill: Fill
    """The public trade of which this is the account's side."""
    is_maker: bool
    leaves_lots: int
    """Of the order, after it."""
    price: Decimal
    size: Decimal
    value: Decimal
    fee_rate: Decimal
    fee: Decimal
    closed_size: Decimal
    """What it took off the position; 0 where it only added."""
    pnl: Decimal
    """Realised by that, before fees."""


class Position(msgspec.Struct):
    """The position in one contract, one-way mode."""

    market: Market
    created_ms: int
    size: Decimal = ZERO
    """Signed: negative when short."""
    cost: Decimal = ZERO
    """What the present size was opened for; never negative."""
    realised: Decimal = ZERO
    """Profit less fees since it was last flat."""
    realised_ever: Decimal = ZERO
    opened_ms: int = 0
    updated_ms: int = 0
    sequence: int = -1
    """Of its last execution; -1 = never traded."""

    def apply(self, size: Decimal, price: Decimal) -> tuple[Decimal, Decimal]:
        """Add a signed ``size`` bought or sold at ``price``; return the size it closed and the profit of that."""
        if self.size * size >= 0:
            self.size += size
            self.cost += abs(size) * price
            return ZERO, ZERO
        closed = min(abs(size), abs(self.size))
        whole = closed == abs(self.size)
        # The last part takes what is left of the cost, so that nothing of it is lost in rounding.
        cost = self.cost if whole else (self.cost * closed / abs(self.size)).quantize(_MONEY)
        pnl = (closed * price - cost) * (1 if self.size > 0 else -1)
        self.size += closed if self.size < 0 else -closed
        self.cost -= cost
        rest = abs(size) - closed
        if rest:
            self.size, self.cost = rest.copy_sign(size), rest * price
        return closed, pnl

    @property
    def unrealised(self) -> Decimal:
        """Profit at the mark price."""
        return self.size * mark_of(self.market) - self.cost.copy_sign(self.size)


class Ledger:
    """Orders by id, positions by symbol, balances by coin."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        """Open orders, oldest first."""
        self.positions: dict[str, Position] = {}
        """Of linear contracts."""
        self.balances: dict[str, Decimal] = dict(OPENING_BALANCES)
        self.fees: dict[str, Decimal] = {}
        """Paid since the beginning, by coin."""
        self.executions = 0

    def enter(self, order: Order) -> None:
        """Take a new order in."""
        self.orders[order.id] = order
        if order.category == "linear":
            self.position(order.market, order.created_ms)

    def execute(self, order: Order, fill: Fill, *, is_maker: bool) -> Execution:
        """Book one fill of ``order``: its own sums, the position or the coins exchanged, the fee."""
        instrument = order.instrument
        price, size = price_of(instrument, fill.ticks), size_of(instrument, fill.lots)
        value = price * size
        rate = FEE_RATES[order.category, is_maker]
        closed, pnl = ZERO, ZERO
        if order.category == "spot":
            fee = ((size if order.is_buy else value) * rate).quantize(_MONEY)
            self._add(instrument.base, size if order.is_buy else -size)
            self._add(instrument.quote, -value if order.is_buy else value)
        else:
            fee = (value * rate).quantize(_MONEY)
            position = self.position(order.market, fill.time_ms)
            was_long, was_flat = position.size > 0, not position.size
            closed, pnl = position.apply(size if order.is_buy else -size, price)
            self._add(instrument.quote, pnl)
            if was_flat:
                position.opened_ms, position.realised = fill.time_ms, ZERO
            position.realised += pnl - fee
            position.realised_ever += pnl - fee
            if not was_flat and position.size and (position.size > 0) != was_long:
                # Turned round: what was realised belongs to the position before.
                position.opened_ms, position.realised = fill.time_ms, ZERO
            position.sequence, position.updated_ms = fill.sequence, fill.time_ms
        self._add(order.fee_coin, -fee)
        self.fees[order.fee_coin] = self.fees.get(order.fee_coin, ZERO) + fee
        self.executions += 1
        order.filled_lots += fill.lots
        order.value += value
        order.fee += fee
        order.closed_pnl += pnl
        order.updated_ms = fill.time_ms
        order.status = "Filled" if order.filled_lots == order.lots else "PartiallyFilled"
        if not order.is_open:
            self.orders.pop(order.id, None)
        return Execution(order, fill, is_maker, order.leaves_lots, price, size, value, rate, fee, closed, pnl)

    def close(self, order: Order, cancel_type: str, reject_reason: str, now_ms: int) -> None:
        """Book the end of an order that was not filled whole."""
        is_partly_filled_spot = order.category == "spot" and order.filled_lots > 0
        order.status = "PartiallyFilledCanceled" if is_partly_filled_spot else "Cancelled"
        order.cancel_type, order.reject_reason, order.updated_ms = cancel_type, reject_reason, now_ms
        self.orders.pop(order.id, None)

    def position(self, market: Market, now_ms: int) -> Position:
        """Return the position in ``market``, which may be flat."""
        symbol = market.instrument.symbol
        if symbol not in self.positions:
            self.positions[symbol] = Position(market, now_ms, updated_ms=now_ms)
        return self.positions[symbol]

    def locked(self, coin: str) -> Decimal:
        """Return how much of ``coin`` open spot orders keep."""
        found = ZERO
        for order in self.orders.values():
            if order.category == "spot":
                if order.is_buy and order.instrument.quote == coin:
                    found += order.leaves_value
                elif not order.is_buy and order.instrument.base == coin:
                    found += size_of(order.instrument, order.leaves_lots)
        return found

    def order_margin(self, coin: str) -> Decimal:
        """Return the initial margin of open contract orders that settle in ``coin``."""
        orders = (order for order in self.orders.values() if order.category == "linear")
        return sum((order.leaves_value / LEVERAGE for order in orders if order.instrument.quote == coin), ZERO)

    def positions_in(self, coin: str) -> list[Position]:
        """Return the positions that settle in ``coin``."""
        return [position for position in self.positions.values() if position.market.instrument.quote == coin]

    def available(self, coin: str) -> Decimal:
        """Return how much of ``coin`` a new order may use."""
        margin = sum((position.cost / LEVERAGE for position in self.positions_in(coin)), ZERO)
        return self.balances.get(coin, ZERO) - self.locked(coin) - self.order_margin(coin) - margin

    def _add(self, coin: str, amount: Decimal) -> None:
        self.balances[coin] = self.balances.get(coin, ZERO) + amount


def price_of(instrument: Instrument, ticks: int) -> Decimal:
    """Return a price, exactly as it is written."""
    return Decimal(instrument.price_text(ticks))


def size_of(instrument: Instrument, lots: int) -> Decimal:
    """Return a size, exactly as it is written."""
    return Decimal(instrument.size_text(lots))


def mark_of(market: Market) -> Decimal:
    """Return the mark price, rounded to the tick's digits."""
    return Decimal(f"{market.mark:.{market.instrument.price_decimals}f}")


def plain(number: Decimal) -> str:
    """Return a number as the venue writes it: no exponent, no needless zeros, no negative zero."""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text
