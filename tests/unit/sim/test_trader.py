"""What the account does of itself and on demand."""

from collections import Counter

import pytest

from feedhandler.sim.account import Account, AccountError
from feedhandler.sim.ledger import ZERO
from feedhandler.sim.listing import Listing
from feedhandler.sim.market import Market
from feedhandler.sim.trader import MEAN_GAP_NS, OPTION_BASES, ORDERS_LIMIT, POSITION_LIMIT, SYMBOLS, Trader

NOW_NS = 1_760_000_000_000_000_000
LISTING = Listing()
CHAINS = {base: LISTING.option_chain(base, NOW_NS // 10**6) for base in OPTION_BASES}


def trader(seed: int = 1, rate: float = 1.0) -> Trader:
    return Trader(Account(seed), seed, rate)


def market(product: str = "linear", symbol: str = "BTCUSDT") -> Market:
    return Market(LISTING.instrument(product, symbol), 1, NOW_NS)


def test_does_everything_in_all_its_markets() -> None:
    """Places, amends, is filled in part and whole, takes, cancels, tells greeks; never many orders, never a fortune."""
    subject = trader()
    markets = [market(*symbol) for symbol in SYMBOLS]
    seen: Counter[str] = Counter()
    where: set[tuple[str, str]] = set()
    prices: dict[str, str] = {}
    now_ns = NOW_NS
    for _ in range(1500):
        now_ns += 100_000_000
        for each in markets:
            subject.account.filled(each, each.step(now_ns))
        subject.act(markets, CHAINS, now_ns)
        for news in subject.account.drain()[0]:
            item = news.items[0]
            seen[news.family] += 1
            if news.family == "order":
                where.add((item["category"], item["symbol"]))
                seen[item["orderStatus"]] += 1
                seen["amended"] += prices.get(item["orderId"], item["price"]) != item["price"]
                prices[item["orderId"]] = item["price"]
            elif news.family == "execution":
                seen["maker" if item["isMaker"] else "taker"] += 1
        for each in markets:
            assert len(subject.account.open_in(each)) <= ORDERS_LIMIT
    assert where == set(SYMBOLS)
    wanted = (
        "New",
        "PartiallyFilled",
        "Filled",
        "Cancelled",
        "amended",
        "maker",
        "taker",
        "greeks",
        "wallet",
        "position",
    )
    assert {name: seen[name] for name in wanted if not seen[name]} == {}
    for position in subject.account.ledger.positions.values():
        assert position.cost < 2 * POSITION_LIMIT
    assert all(balance > 0 for balance in subject.account.ledger.balances.values())


def test_gaps_follow_the_rate() -> None:
    """Irregular, of the stated mean; ten times the rate, a tenth of the time."""
    for rate in (1.0, 10.0):
        subject = trader(rate=rate)
        gaps = [subject.next_gap_ns() for _ in range(2000)]
        assert sum(gaps) / len(gaps) == pytest.approx(MEAN_GAP_NS / rate, rel=0.05)
        assert len(set(gaps)) > 1900


def test_does_nothing_when_it_cannot_pay() -> None:
    """Poor, it goes on acting, and owes nobody."""
    subject = trader()
    subject.account.ledger.balances = dict.fromkeys(subject.account.ledger.balances, ZERO)
    markets = [market(*symbol) for symbol in SYMBOLS]
    for _ in range(50):
        subject.act(markets, CHAINS, NOW_NS)
    assert {news.family for news in subject.account.drain()[0]} == {"greeks"}


@pytest.mark.parametrize("symbol", [("linear", "BTCUSDT"), ("spot", "ETHUSDT"), ("linear", "COIN7USDT")])
def test_does_as_told(symbol: tuple[str, str]) -> None:
    """Place, amend, fill in part, fill whole, cancel: on any symbol of linear and spot."""
    subject, where = trader(), market(*symbol)
    first = subject.told("place", where, {"side": "Buy"}, NOW_NS)
    assert (first.is_buy, first.status) == (True, "New")
    ticks, lots = first.ticks, first.lots
    assert subject.told("amend", where, {"order": first.id}, NOW_NS) is first
    assert (first.ticks, first.lots) != (ticks, lots)
    assert subject.told("fill", where, {"part": "0.5"}, NOW_NS) is first
    assert first.status in ("PartiallyFilled", "Filled")
    second = subject.told("fill", where, {"side": "Sell"} if symbol[0] == "linear" else {"side": "Buy"}, NOW_NS)
    assert second.status == "Filled"
    third = subject.told("cancel", where, {"side": "Buy"}, NOW_NS)
    assert third.status in ("Cancelled", "PartiallyFilledCanceled")
    taken = subject.told("fill", where, {"maker": "0", "side": "Buy"}, NOW_NS)
    assert (taken.is_market, taken.status) == (True, "Filled")


def test_fills_the_order_that_is_named() -> None:
    """Also where others come before it in the book."""
    subject, where = trader(), market()
    orders = [subject.told("place", where, {"side": "Sell"}, NOW_NS) for _ in range(3)]
    deepest = max(orders, key=lambda order: order.ticks)
    assert subject.told("fill", where, {"order": deepest.id}, NOW_NS) is deepest
    assert deepest.status == "Filled"


@pytest.mark.parametrize(
    ("do", "query", "words"),
    [
        ("dance", {}, "do is place, amend, fill or cancel"),
        ("place", {"side": "buy"}, 'side is Buy or Sell, not "buy"'),
        ("fill", {"part": "0"}, 'part is above 0 and up to 1, not "0"'),
        ("fill", {"part": "most"}, 'part is above 0 and up to 1, not "most"'),
        ("cancel", {"order": "nobody"}, "there is no open order nobody of BTCUSDT"),
    ],
)
def test_senseless_demands_are_refused(do: str, query: dict[str, str], words: str) -> None:
    """With words that help."""
    with pytest.raises(AccountError, match=words):
        trader().told(do, market(), query, NOW_NS)


def test_no_order_where_there_is_no_book() -> None:
    """A side that is empty offers no price to rest at."""
    where = market()
    for key in list(where.bids.keys):
        where.bids.put(key, 0)
    with pytest.raises(AccountError, match="no such side"):
        trader().told("place", where, {"side": "Buy"}, NOW_NS)


def test_large_positions_are_traded_back() -> None:
    """Beyond the limit it only sells what it has bought."""
    subject, where = trader(), market()
    subject.account.take(where, is_buy=True, lots=int(POSITION_LIMIT / 84) + 20, now_ns=NOW_NS)
    orders = [subject.told("place", where, {}, NOW_NS) for _ in range(10)]
    assert not any(order.is_buy for order in orders)
