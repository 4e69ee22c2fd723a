"""The account at work in markets: what it says of itself adds up, and its fills are public trades."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedhandler.sim.account import Account, AccountError, News
from feedhandler.sim.ledger import OPENING_BALANCES, Order
from feedhandler.sim.listing import Listing
from feedhandler.sim.market import Fill, Market

NOW_NS = 1_760_000_000_000_000_000
LISTING = Listing()


class Follower:
    """A strategy that knows the account by its messages alone, and holds them against each other."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.executions: dict[str, dict[str, Any]] = {}
        self.fast: dict[str, dict[str, Any]] = {}
        self.positions: dict[str, dict[str, Any]] = {}
        self.wallet: dict[str, Decimal] = dict(OPENING_BALANCES)
        self.trades: dict[str, tuple[str, Fill]] = {}

    def take(self, account: Account) -> list[News]:
        news, moves = account.drain()
        for market, fills in moves:
            self.see(market, fills)
        for each in news:
            for item in each.items:
                if each.family == "order":
                    self.orders[item["orderId"]] = item
                elif each.family == "execution":
                    assert self.executions.setdefault(item["execId"], item) is item
                elif each.family == "execution.fast":
                    assert self.fast.setdefault(item["execId"], item) is item
                elif each.family == "position":
                    self.positions[item["symbol"]] = item
                elif each.family == "wallet":
                    self.wallet = {coin["coin"]: Decimal(coin["walletBalance"]) for coin in item["coin"]}
        return news

    def see(self, market: Market, fills: list[Fill]) -> None:
        self.trades.update({fill.id: (market.instrument.symbol, fill) for fill in fills})

    def check(self) -> None:
        for order in self.orders.values():
            self._check_order(order, [each for each in self.executions.values() if each["orderId"] == order["orderId"]])
        for symbol, position in self.positions.items():
            self._check_position(position, [each for each in self.executions.values() if each["symbol"] == symbol])
        changes = dict.fromkeys(self.wallet, Decimal(0))
        for execution in self.executions.values():
            self._check_execution(execution)
            changes[execution["feeCurrency"]] -= Decimal(execution["execFee"])
            if execution["category"] == "linear":
                changes["USDT"] += Decimal(execution["execPnl"])
            else:
                sign = 1 if execution["side"] == "Buy" else -1
                changes[execution["symbol"].removesuffix("USDT")] += sign * Decimal(execution["execQty"])
                changes["USDT"] -= sign * Decimal(execution["execValue"])
        opening = {coin: OPENING_BALANCES.get(coin, Decimal(0)) for coin in self.wallet}
        assert self.wallet == {coin: opening[coin] + change for coin, change in changes.items()}

    def _check_order(self, order: dict[str, Any], executions: list[dict[str, Any]]) -> None:
        filled = Decimal(order["cumExecQty"])
        assert filled == sum(Decimal(each["execQty"]) for each in executions)
        assert Decimal(order["cumExecValue"]) == sum(Decimal(each["execValue"]) for each in executions)
        assert Decimal(order["cumExecFee"]) == sum(Decimal(each["execFee"]) for each in executions)
        assert Decimal(order["closedPnl"]) == sum(Decimal(each["execPnl"]) for each in executions)
        if order["orderStatus"] in ("New", "PartiallyFilled"):
            assert Decimal(order["leavesQty"]) == Decimal(order["qty"]) - filled
        else:
            assert order["leavesQty"] == "0"
        assert (order["orderStatus"] == "Filled") == (filled == Decimal(order["qty"]))
        assert (order["avgPrice"] == "") == (not executions)
        if executions:
            assert abs(Decimal(order["avgPrice"]) - Decimal(order["cumExecValue"]) / filled) <= Decimal("5e-9")

    def _check_position(self, position: dict[str, Any], executions: list[dict[str, Any]]) -> None:
        linear = [each for each in executions if each["category"] == "linear"]
        signed = [Decimal(each["execQty"]) * (1 if each["side"] == "Buy" else -1) for each in linear]
        size = sum(signed, Decimal(0))
        assert Decimal(position["size"]) == abs(size)
        assert position["side"] == ("" if not size else "Buy" if size > 0 else "Sell")
        realised = sum((Decimal(each["execPnl"]) - Decimal(each["execFee"]) for each in linear), Decimal(0))
        assert Decimal(position["cumRealisedPnl"]) == realised
        assert position["seq"] == (max(each["seq"] for each in linear) if linear else "-1")
        if size:
            entry = Decimal(position["positionValue"]) / abs(size)
            assert abs(Decimal(position["entryPrice"]) - entry) <= Decimal("5e-9")

    def _check_execution(self, execution: dict[str, Any]) -> None:
        symbol, fill = self.trades[execution["execId"]]
        assert execution["symbol"] == symbol
        assert (execution["execTime"], execution["seq"]) == (str(fill.time_ms), fill.sequence)
        assert execution["isMaker"] is bool(fill.maker_id)
        # A taker's side is the public trade's, a maker's the other.
        assert ((execution["side"] == "Buy") == fill.is_buy) is not execution["isMaker"]
        fast = self.fast[execution["execId"]]
        assert fast.items() <= (execution | ({"orderLinkId": ""} if execution["isMaker"] else {})).items()


def market(product: str = "linear", symbol: str = "BTCUSDT", seed: int = 1) -> Market:
    return Market(LISTING.instrument(product, symbol), seed, NOW_NS)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["place", "take", "amend", "cancel", "hit", "steps"]),
        st.integers(0, 2),
        st.booleans(),
        st.integers(1, 40),
        st.integers(0, 6),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(ACTS, st.integers(1, 50))
def test_messages_agree_with_each_other(acts: list[tuple[str, int, bool, int, int]], seed: int) -> None:
    """Whatever it does: orders, executions, positions, wallet and public trades tell one story, after every act."""
    account, follower = Account(seed), Follower()
    markets = [market(seed=seed), market("linear", "SOLUSDT", seed), market("spot", "ETHUSDT", seed)]
    now_ns = NOW_NS
    for what, place, is_buy, lots, level in acts:
        now_ns += 50_000_000
        where = markets[place]
        mine = account.open_in(where)
        side = where.bids if is_buy else where.asks
        if what == "place":
            account.place(where, is_buy=is_buy, ticks=side.keys[level] * side.sign, lots=lots, now_ns=now_ns)
        elif what == "take":
            account.take(where, is_buy=is_buy, lots=lots, now_ns=now_ns)
        elif what == "steps":
            for _ in range(level):
                fills = where.step(now_ns)
                follower.see(where, fills)
                account.filled(where, fills)
        elif mine:
            chosen = mine[level % len(mine)]
            side = where.bids if chosen.is_buy else where.asks
            if what == "amend":
                ticks = side.keys[level] * side.sign
                account.amend(chosen, ticks=ticks, lots=chosen.filled_lots + lots, now_ns=now_ns)
            elif what == "cancel":
                account.cancel(chosen, now_ns)
            else:
                account.be_hit(chosen, min(lots, chosen.leaves_lots), now_ns)
        follower.take(account)
        follower.check()
    open_ids = {order_id for order_id, order in follower.orders.items() if order["leavesQty"] != "0"}
    assert open_ids == set(account.ledger.orders)
    resting = {
        order for where in markets for side in (where.bids, where.asks) for own in side.own.values() for order in own
    }
    assert resting == open_ids


def placed(account: Account, where: Market, *, is_buy: bool = True, lots: int = 10, level: int = 0) -> Order:
    side = where.bids if is_buy else where.asks
    return account.place(where, is_buy=is_buy, ticks=side.keys[level] * side.sign, lots=lots, now_ns=NOW_NS)


def families(news: list[News]) -> list[str]:
    return [each.family for each in news]


def test_every_change_of_an_order_is_told_with_position_and_wallet() -> None:
    """Dossier 6.4: a position message for each create, amend and cancel, also without change; spot has none."""
    account = Account(1)
    order = placed(account, market())
    assert families(account.drain()[0]) == ["order", "position", "wallet"]
    account.amend(order, ticks=order.ticks - 1, lots=12, now_ns=NOW_NS)
    assert families(account.drain()[0]) == ["order", "position", "wallet"]
    account.cancel(order, NOW_NS)
    assert families(account.drain()[0]) == ["order", "position", "wallet"]
    placed(account, market("spot"))
    assert families(account.drain()[0]) == ["order", "wallet"]
    assert not account.has_news


def test_partial_and_whole_fill_of_a_maker() -> None:
    """PartiallyFilled, then Filled, each after its executions; fast executions without the link id."""
    account, where = Account(1), market()
    order = placed(account, where)
    account.drain()
    account.be_hit(order, 4, NOW_NS)
    news, moves = account.drain()
    assert families(news) == ["execution.fast", "execution", "order", "position", "wallet"]
    assert [(moved is where, bool(fills)) for moved, fills in moves] == [(True, True)]
    status = [each.items[0]["orderStatus"] for each in news if each.family == "order"]
    assert (status, order.is_open) == (["PartiallyFilled"], True)
    account.be_hit(order, 6, NOW_NS)
    news, _ = account.drain()
    assert [each.items[0]["orderStatus"] for each in news if each.family == "order"] == ["Filled"]
    assert news[0].items[0]["isMaker"] is True
    assert news[0].items[0]["orderLinkId"] == ""
    assert not account.ledger.orders


def test_market_order_is_told_once_with_all_its_executions() -> None:
    """Several executions in one message, of one ``seq``; one order message: Filled."""
    account, where = Account(1), market()
    lots = where.asks.lots[where.asks.keys[0]] + where.asks.lots[where.asks.keys[1]]
    order = account.take(where, is_buy=True, lots=lots, now_ns=NOW_NS)
    news, _ = account.drain()
    executions = next(each for each in news if each.family == "execution").items
    assert len(executions) > 1
    assert len({each["seq"] for each in executions}) == 1
    assert executions[-1]["leavesQty"] == "0"
    assert {each["isMaker"] for each in executions} == {False}
    orders = [each.items[0] for each in news if each.family == "order"]
    assert [(each["orderStatus"], each["orderType"], each["timeInForce"]) for each in orders] == [
        ("Filled", "Market", "IOC")
    ]
    assert order.status == "Filled"


@pytest.mark.parametrize(("product", "status"), [("linear", "Cancelled"), ("spot", "PartiallyFilledCanceled")])
def test_market_order_that_finds_too_little_ends_unfilled(product: str, status: str) -> None:
    """Dossier 6.1: ``PartiallyFilledCanceled`` is spot's alone."""
    account, where = Account(1), market(product, "BTCUSDT")
    for side in (where.bids, where.asks):
        for key in side.keys[2:]:
            side.put(key, 0)
        side.put(side.keys[0], 1)
    order = account.take(where, is_buy=True, lots=5, now_ns=NOW_NS)
    assert (order.status, order.leaves_lots, order.filled_lots) == (status, 0, 1)
    assert order.reject_reason == "EC_CancelForNoFullFill"


def test_own_orders_in_the_way_of_a_market_order_are_cancelled() -> None:
    """It never trades with itself."""
    account, where = Account(1), market()
    sell, buy = placed(account, where, is_buy=False), placed(account, where)
    account.take(where, is_buy=True, lots=3, now_ns=NOW_NS)
    assert (sell.status, buy.status) == ("Cancelled", "New")


@pytest.mark.parametrize("is_buy", [True, False])
def test_order_that_would_cross_is_refused(is_buy: bool) -> None:
    """Limit orders are makers; nothing is changed by the refusal."""
    account, where = Account(1), market()
    best = where.asks.keys[0] if is_buy else -where.bids.keys[0]
    with pytest.raises(AccountError, match="cross"):
        account.place(where, is_buy=is_buy, ticks=best, lots=1, now_ns=NOW_NS)
    order = placed(account, where, is_buy=is_buy)
    with pytest.raises(AccountError, match="cross"):
        account.amend(order, ticks=best, lots=1, now_ns=NOW_NS)
    assert list(account.ledger.orders) == [order.id]


def test_impossible_orders_are_refused() -> None:
    """Too small, too large, elsewhere, or less than was filled."""
    account = Account(1)
    with pytest.raises(AccountError, match="not on inverse"):
        placed(account, market("inverse", "BTCUSD"))
    with pytest.raises(AccountError, match="less than the smallest"):
        placed(account, market(), lots=0)
    with pytest.raises(AccountError, match="not enough USDT"):
        placed(account, market(), lots=10_000_000)
    with pytest.raises(AccountError, match="not enough SOL"):
        placed(account, market("spot", "SOLUSDT"), is_buy=False)
    where = market()
    order = placed(account, where, lots=10)
    account.be_hit(order, 5, NOW_NS)
    with pytest.raises(AccountError, match="filled already"):
        account.amend(order, ticks=order.ticks, lots=5, now_ns=NOW_NS)


def test_message_ids_are_as_the_venue_makes_them() -> None:
    """Account, symbol and ``seq`` for orders and executions, whose messages share it; no two wallets alike."""
    account, where = Account(1), market()
    account.take(where, is_buy=True, lots=1, now_ns=NOW_NS)
    news, _ = account.drain()
    ids = {each.family: each.id for each in news}
    assert ids["order"] == ids["execution"] == f"1000042_BTCUSDT_{where.sequence}"
    assert ids["execution.fast"] == ""
    assert ids["wallet"] != ids["position"]
    spot = market("spot")
    placed(account, spot)
    news, _ = account.drain()
    assert news[0].id == f"1000042-20000-{spot.sequence}"
    assert news[0].items[0]["orderId"].isdecimal()


def test_state_is_what_the_messages_added_up_to() -> None:
    """The ground truth: wallet, positions, open orders."""
    account, follower, where = Account(1), Follower(), market()
    account.take(where, is_buy=True, lots=3, now_ns=NOW_NS)
    placed(account, where)
    follower.take(account)
    state = account.state()
    assert state["orders"] == [order for order in follower.orders.values() if order["leavesQty"] != "0"]
    assert state["positions"] == list(follower.positions.values())
    assert state["executions"] == len(follower.executions)
    assert {coin["coin"]: Decimal(coin["walletBalance"]) for coin in state["wallet"]["coin"]} == follower.wallet
    assert set(account.prices()) == {"USDT", "USDC", "BTC"}


def test_equal_seeds_make_equal_accounts() -> None:
    """Determinism: ids and all."""

    def record(seed: int) -> list[News]:
        account, where = Account(seed), market()
        account.be_hit(placed(account, where), 3, NOW_NS)
        return account.drain()[0]

    assert record(1) == record(1)
    assert record(1) != record(2)
