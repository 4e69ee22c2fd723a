"""The account's books: whatever is bought and sold, the sums agree to the last digit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedhandler.sim.ledger import (
    FEE_RATES,
    OPENING_BALANCES,
    ZERO,
    Execution,
    Ledger,
    Order,
    Position,
    mark_of,
    plain,
    price_of,
    size_of,
)
from feedhandler.sim.listing import Listing
from feedhandler.sim.market import Fill, Market

NOW_NS = 1_760_000_000_000_000_000
NOW_MS = NOW_NS // 10**6


def market(product: str = "linear", symbol: str = "BTCUSDT") -> Market:
    return Market(Listing().instrument(product, symbol), 1, NOW_NS)


def order(where: Market, *, is_buy: bool, lots: int, ticks: int = 840_000, is_market: bool = False) -> Order:
    return Order(
        id=f"{is_buy}{lots}{ticks}",
        link_id="",
        market=where,
        is_buy=is_buy,
        is_market=is_market,
        ticks=ticks,
        lots=lots,
        created_ms=NOW_MS,
        last_ticks_on_created=ticks,
    )


def fill(ticks: int, lots: int, number: int = 1) -> Fill:
    return Fill(NOW_MS + number, True, ticks, lots, "PlusTick", f"id-{number}", 100 + number)


def trade(ledger: Ledger, where: Market, is_buy: bool, ticks: int, lots: int, *, is_maker: bool = False) -> Execution:
    made = order(where, is_buy=is_buy, lots=lots, ticks=ticks)
    ledger.enter(made)
    return ledger.execute(made, fill(ticks, lots), is_maker=is_maker)


TRADES = st.lists(
    st.tuples(st.booleans(), st.integers(800_000, 880_000), st.integers(1, 60), st.booleans()), min_size=1, max_size=40
)


@given(TRADES)
def test_contract_sums_agree(trades: list[tuple[bool, int, int, bool]]) -> None:
    """Position = sum of signed sizes; balance change = realised profit less fees; profit = cash flow when flat."""
    ledger, where = Ledger(), market()
    size, pnl, fees, cash = ZERO, ZERO, ZERO, ZERO
    for is_buy, ticks, lots, is_maker in trades:
        execution = trade(ledger, where, is_buy, ticks, lots, is_maker=is_maker)
        signed = execution.size if is_buy else -execution.size
        before, size = size, size + signed
        cash -= signed * execution.price
        pnl += execution.pnl
        fees += execution.fee
        position = ledger.positions["BTCUSDT"]
        assert position.size == size
        assert execution.closed_size == (min(abs(before), abs(signed)) if before * signed < 0 else 0)
        assert ledger.balances["USDT"] - OPENING_BALANCES["USDT"] == pnl - fees
        assert position.realised_ever == pnl - fees
        # What was paid so far is what is held at cost, less what was made.
        assert cash == pnl - position.cost.copy_sign(size) if size else cash == pnl
        assert position.cost >= 0
    assert ledger.fees == {"USDT": fees}
    assert ledger.executions == len(trades)
    assert {coin: ledger.balances[coin] for coin in ("BTC", "ETH")} == {"BTC": 1, "ETH": 20}


@given(TRADES)
def test_spot_sums_agree(trades: list[tuple[bool, int, int, bool]]) -> None:
    """Coins exchanged at the price, fees taken from the coin received; no position."""
    ledger, where = Ledger(), market("spot")
    base, quote = OPENING_BALANCES["BTC"], OPENING_BALANCES["USDT"]
    for is_buy, ticks, lots, is_maker in trades:
        execution = trade(ledger, where, is_buy, ticks, lots, is_maker=is_maker)
        base += execution.size - execution.fee if is_buy else -execution.size
        quote += -execution.value if is_buy else execution.value - execution.fee
        assert execution.order.fee_coin == ("BTC" if is_buy else "USDT")
        assert execution.pnl == execution.closed_size == 0
    assert (ledger.balances["BTC"], ledger.balances["USDT"]) == (base, quote)
    assert not ledger.positions


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 5))
def test_order_sums_agree_with_its_executions(parts: list[int], unfilled: int) -> None:
    """cumExecQty, value and fee are the sums; leaves the rest; open until nothing is left."""
    ledger, where = Ledger(), market()
    made = order(where, is_buy=True, lots=sum(parts) + unfilled)
    ledger.enter(made)
    executions = [
        ledger.execute(made, fill(840_000 + number, lots, number), is_maker=True) for number, lots in enumerate(parts)
    ]
    assert size_of(made.instrument, made.filled_lots) == sum(execution.size for execution in executions)
    assert made.value == sum(execution.value for execution in executions)
    assert made.fee == sum(execution.fee for execution in executions)
    assert [execution.leaves_lots for execution in executions] == [
        made.lots - sum(parts[: number + 1]) for number in range(len(parts))
    ]
    assert made.status == ("PartiallyFilled" if unfilled else "Filled")
    assert (made.id in ledger.orders) is made.is_open is bool(unfilled)


def test_fees_are_by_category_and_side_of_the_trade() -> None:
    """Makers pay less on contracts; on spot the same."""
    for (category, is_maker), rate in FEE_RATES.items():
        ledger, where = Ledger(), market(category)
        execution = trade(ledger, where, False, 840_000, 1000, is_maker=is_maker)
        assert execution.fee == execution.value * rate
        assert execution.fee_rate == rate


def test_position_turned_round_begins_anew() -> None:
    """Entry at the turning price, realised of the holding from zero, of all time going on."""
    ledger, where = Ledger(), market()
    trade(ledger, where, True, 840_000, 10)
    turned = trade(ledger, where, False, 850_000, 15)
    position = ledger.positions["BTCUSDT"]
    assert (position.size, position.cost) == (Decimal("-0.005"), Decimal("0.005") * 85_000)
    assert (turned.closed_size, turned.pnl) == (Decimal("0.01"), Decimal("0.01") * 1000)
    assert position.realised == 0
    assert position.realised_ever != 0
    assert position.opened_ms == turned.fill.time_ms


def test_flat_position_keeps_what_it_realised_until_opened_again() -> None:
    """As the venue's example of a flat position shows it (dossier 6.4)."""
    ledger, where = Ledger(), market()
    trade(ledger, where, True, 840_000, 10)
    trade(ledger, where, False, 850_000, 10)
    position = ledger.positions["BTCUSDT"]
    assert position.size == position.cost == position.unrealised == 0
    assert position.realised == position.realised_ever != 0
    opened = trade(ledger, where, False, 850_000, 10)
    assert position.realised == -opened.fee


@pytest.mark.parametrize(("size", "sign"), [("2", 1), ("-2", -1)])
def test_unrealised_profit_is_by_the_mark(size: str, sign: int) -> None:
    """Long gains when the mark is above the cost, short loses."""
    where = market()
    mark = mark_of(where)
    position = Position(where, NOW_MS, size=Decimal(size), cost=2 * (mark - 5))
    assert position.unrealised == 10 * sign


def test_open_orders_keep_what_they_may_need() -> None:
    """Spot: the coin given away; contracts: the initial margin. Less when filled, nothing when closed."""
    ledger, spot, linear = Ledger(), market("spot"), market()
    buy, sell = order(spot, is_buy=True, lots=1000), order(spot, is_buy=False, lots=500, ticks=850_000)
    future = order(linear, is_buy=False, lots=10)
    for each in (buy, sell, future):
        ledger.enter(each)
    assert ledger.locked("USDT") == price_of(spot.instrument, 840_000) * size_of(spot.instrument, 1000)
    assert ledger.locked("BTC") == size_of(spot.instrument, 500)
    assert ledger.locked("ETH") == 0
    assert ledger.order_margin("USDT") == Decimal(84000) * Decimal("0.01") / 10
    assert ledger.available("USDT") == ledger.balances["USDT"] - ledger.locked("USDT") - ledger.order_margin("USDT")
    ledger.execute(buy, fill(840_000, 400), is_maker=True)
    assert ledger.locked("USDT") == price_of(spot.instrument, 840_000) * size_of(spot.instrument, 600)
    ledger.close(buy, "CancelByUser", "EC_PerCancelRequest", NOW_MS + 5)
    ledger.close(future, "CancelByUser", "EC_PerCancelRequest", NOW_MS + 5)
    assert (buy.status, future.status) == ("PartiallyFilledCanceled", "Cancelled")
    assert (buy.leaves_lots, buy.updated_ms) == (0, NOW_MS + 5)
    assert ledger.locked("USDT") == ledger.order_margin("USDT") == 0
    trade(ledger, linear, True, 840_000, 10)
    assert ledger.available("USDT") == ledger.balances["USDT"] - 84


@pytest.mark.parametrize(
    ("number", "text"),
    [("0", "0"), ("-0.000", "0"), ("10.500", "10.5"), ("100", "100"), ("1E-10", "0.0000000001"), ("-3.0", "-3")],
)
def test_numbers_are_written_plainly(number: str, text: str) -> None:
    """No exponent, no needless zeros."""
    assert plain(Decimal(number)) == text
