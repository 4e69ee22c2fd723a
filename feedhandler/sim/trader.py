"""What the simulated account does of itself, and what it is told to do by ``/sim/account``. Pure; seeded."""

import random
from collections.abc import Mapping
from typing import Final

from feedhandler.sim.account import Account, AccountError
from feedhandler.sim.ledger import Order, mark_of
from feedhandler.sim.listing import Instrument
from feedhandler.sim.market import Market
from feedhandler.sim.pricing import option_values
from feedhandler.sim.publication import MS, S

SYMBOLS: Final = (
    ("linear", "BTCUSDT"),
    ("linear", "ETHUSDT"),
    ("linear", "SOLUSDT"),
    ("spot", "BTCUSDT"),
    ("spot", "ETHUSDT"),
)
"""Where it trades of itself."""
OPTION_BASES: Final = ("BTC", "ETH")
"""Coins of which it holds options: their greeks are told now and then."""

MEAN_GAP_NS: Final = 2 * S
"""Between two of its acts, at rate 1."""
ORDERS_LIMIT: Final = 3
"""Open orders in one market."""
TYPICAL_VALUE: Final = 900.0
"""Of an order, in quote coin."""
POSITION_LIMIT: Final = 15_000
"""Value of a position from which it only trades back."""
GREEKS_SHARE: Final = 0.06
"""How many of its acts are a change of greeks."""
_OPTIONS_HELD: Final = 2.5


class Trader:
    """Draws what the account does next."""

    def __init__(self, account: Account, seed: int, rate: float) -> None:
        """Act for ``account``; ``rate`` multiplies how often, 0 = only when told."""
        self.account = account
        self.rate = rate
        self.due_ns = 0
        """When it acts next; kept by the exchange."""
        self._chance = random.Random(f"{seed} trader")  # noqa: S311 - lifelike, not secret

    def next_gap_ns(self) -> int:
        """Draw the time to the next act."""
        return int(MEAN_GAP_NS / self.rate * (0.2 + 1.6 * self._chance.random()))

    def act(self, markets: list[Market], chains: Mapping[str, list[Instrument]], now_ns: int) -> None:
        """Do one thing in one of ``markets``, or tell the greeks of the options of one of ``chains``."""
        chance = self._chance
        if chance.random() < GREEKS_SHARE:
            base = chance.choice(list(chains))
            self.tell_greeks(base, chains[base], now_ns)
            return
        market = chance.choice(markets)
        mine = self.account.open_in(market)
        what = chance.random()
        try:
            if what < 0.2:
                self.take(market, self._side(market), now_ns)
            elif mine and (what < 0.35 or len(mine) >= ORDERS_LIMIT):
                self.account.cancel(chance.choice(mine), now_ns)
            elif mine and what < 0.5:
                self.amend(chance.choice(mine), now_ns)
            else:
                self.place(market, self._side(market), now_ns)
        except AccountError:
            # It cannot pay for what it drew: this time it does nothing, as people do.
            return

    def told(self, do: str, market: Market, query: Mapping[str, str], now_ns: int) -> Order:
        """Do what ``/sim/account`` asks; `AccountError` where it cannot be done.

        ``do`` is ``place``, ``amend``, ``cancel`` or ``fill``; the last three place an order first where none is open.
        ``query`` may hold ``side`` (``Buy``, ``Sell``), ``order`` (its id), and for ``fill`` ``part`` (of what is left;
        1 = whole) and ``maker`` (0 = a market order of its own).
        """
        side = query.get("side")
        if side not in (None, "Buy", "Sell"):
            raise AccountError(f'side is Buy or Sell, not "{side}"')
        is_buy = self._side(market) if side is None else side == "Buy"
        if do == "place":
            return self.place(market, is_buy, now_ns)
        if do == "fill" and query.get("maker", "1") == "0":
            return self.take(market, is_buy, now_ns)
        if do not in ("amend", "cancel", "fill"):
            raise AccountError(f'do is place, amend, fill or cancel, not "{do}"')
        order = self._chosen(market, query.get("order"), None if side is None else is_buy)
        if order is None:
            order = self.place(market, is_buy, now_ns)
        if do == "amend":
            self.amend(order, now_ns)
        elif do == "cancel":
            self.account.cancel(order, now_ns)
        else:
            lots = max(1, round(order.leaves_lots * _part(query.get("part", "1"))))
            self.account.be_hit(order, lots, now_ns)
        return order

    def place(self, market: Market, is_buy: bool, now_ns: int) -> Order:
        """Let an order rest at the best price or a few levels behind it."""
        return self.account.place(
            market, is_buy=is_buy, ticks=self._resting_ticks(market, is_buy), lots=self._lots(market), now_ns=now_ns
        )

    def take(self, market: Market, is_buy: bool, now_ns: int) -> Order:
        """Send a market order."""
        return self.account.take(market, is_buy=is_buy, lots=self._lots(market), now_ns=now_ns)

    def amend(self, order: Order, now_ns: int) -> None:
        """Give an order another price and another size."""
        lots = order.filled_lots + max(1, round(order.leaves_lots * (0.5 + self._chance.random())))
        self.account.amend(order, ticks=self._resting_ticks(order.market, order.is_buy), lots=lots, now_ns=now_ns)

    def tell_greeks(self, base: str, chain: list[Instrument], now_ns: int) -> None:
        """Tell the greeks of one call held, near the money."""
        option = next(each for each in chain[len(chain) // 4 :] if each.is_call)
        underlying = option.price * (1 + 0.01 * (self._chance.random() - 0.5))
        _, delta, gamma, vega, theta = option_values(option, underlying, now_ns // MS)
        held = _OPTIONS_HELD
        self.account.tell_greeks(base, delta * held, gamma * held, vega * held, theta * held)

    def _chosen(self, market: Market, order_id: str | None, is_buy: bool | None) -> Order | None:
        mine = [order for order in self.account.open_in(market) if is_buy in (None, order.is_buy)]
        if order_id is None:
            return mine[0] if mine else None
        found = [order for order in mine if order.id == order_id]
        if not found:
            raise AccountError(f"there is no open order {order_id} of {market.instrument.symbol}")
        return found[0]

    def _side(self, market: Market) -> bool:
        """Draw buy or sell: back towards nothing where the position is large, what can be paid for on spot."""
        ledger, instrument = self.account.ledger, market.instrument
        if instrument.product == "spot":
            held = ledger.available(instrument.base) * mark_of(market)
            return held < POSITION_LIMIT or (held < 10 * POSITION_LIMIT and self._chance.random() < 0.5)
        position = ledger.positions.get(instrument.symbol)
        if position is not None and position.cost > POSITION_LIMIT:
            return position.size < 0
        return self._chance.random() < 0.5

    def _lots(self, market: Market) -> int:
        value = TYPICAL_VALUE * (0.3 + 1.4 * self._chance.random())
        return max(1, round(value / (market.last_ticks * market.instrument.tick) / market.instrument.lot))

    def _resting_ticks(self, market: Market, is_buy: bool) -> int:
        side = market.bids if is_buy else market.asks
        if not side.keys:
            raise AccountError(f"the book of {market.instrument.symbol} has no such side")
        place = min(len(side.keys) - 1, int(self._chance.random() ** 2 * 5))
        return side.keys[place] * side.sign


def _part(text: str) -> float:
    try:
        part = float(text)
    except ValueError:
        part = 0.0
    if not 0 < part <= 1:
        raise AccountError(f'part is above 0 and up to 1, not "{text}"')
    return part
