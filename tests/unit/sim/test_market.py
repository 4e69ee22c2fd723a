"""How a simulated market moves."""

import pytest

from feedhandler.sim.listing import Instrument, Listing
from feedhandler.sim.market import FULL_DEPTH, SPARE_LEVELS, Fill, Market, Side

NOW_NS = 1_760_000_000_000_000_000

SYMBOLS = [
    ("linear", "BTCUSDT"),
    ("spot", "BTCUSDT"),
    ("inverse", "BTCUSD"),
    ("linear", "COIN900USDT"),
    ("option", "BTC-25JUN27-106000-P-USDT"),
    ("option", "BTC-31OCT25-300000-C-USDT"),
]


def instrument(product: str, symbol: str) -> Instrument:
    found = Listing().find(product, symbol)
    assert found is not None
    return found


def market(product: str = "linear", symbol: str = "BTCUSDT", seed: int = 1, rate: float = 1.0) -> Market:
    return Market(instrument(product, symbol), seed, NOW_NS, rate)


def run(subject: Market, events: int) -> list[tuple[int, list[Fill]]]:
    now_ns, out = NOW_NS, []
    for _ in range(events):
        now_ns += subject.next_gap_ns()
        out.append((now_ns, subject.step(now_ns)))
    return out


@pytest.mark.parametrize(("product", "symbol"), SYMBOLS)
def test_book_is_never_crossed_and_always_in_order(product: str, symbol: str) -> None:
    """Whatever happens: bids below asks, each side sorted, sizes positive, keys and sizes the same set."""
    subject = market(product, symbol)
    now_ns = NOW_NS
    for _ in range(3000):
        now_ns += subject.next_gap_ns()
        subject.step(now_ns)
        bids, asks = subject.bids, subject.asks
        assert not bids.keys or not asks.keys or -bids.keys[0] < asks.keys[0]
        for side in (bids, asks):
            assert side.keys == sorted(side.lots)
            assert min(side.lots.values(), default=1) > 0
        assert all(-key >= 1 for key in bids.keys)


def test_equal_seeds_make_equal_histories() -> None:
    """Determinism: same seed and times, same book and trades; another seed, another history."""
    first, second, other = market(), market(), market(seed=2)
    assert run(first, 300) == run(second, 300)
    assert (first.bids.lots, first.asks.lots, first.sequence) == (second.bids.lots, second.asks.lots, second.sequence)
    assert run(other, 300) != run(market(), 300)


def test_sequence_grows_by_irregular_steps_and_event_time_never_goes_back() -> None:
    """Dossier 9.4: ``seq`` strictly increasing by irregular steps; ``cts`` monotone."""
    subject = market()
    steps, times = set(), []
    now_ns = NOW_NS
    for _ in range(200):
        before = subject.sequence
        now_ns += subject.next_gap_ns()
        subject.step(now_ns)
        steps.add(subject.sequence - before)
        times.append(subject.event_ms)
    assert min(steps) > 0
    assert len(steps) > 50
    assert times == sorted(times)
    subject.step(NOW_NS)
    assert subject.event_ms == times[-1]


def test_fills_take_from_the_best_price_outwards() -> None:
    """Trades are consistent with the book: an order's fills start at the best opposite price and never improve."""
    subject = market()
    now_ns = NOW_NS
    seen = 0
    while seen < 100:
        best_bid, best_ask = -subject.bids.keys[0], subject.asks.keys[0]
        now_ns += subject.next_gap_ns()
        fills = subject.step(now_ns)
        if not fills:
            continue
        seen += 1
        assert fills[0].ticks == (best_ask if fills[0].is_buy else best_bid)
        prices = [fill.ticks for fill in fills]
        assert prices == sorted(prices, reverse=not fills[0].is_buy)
        assert len({(fill.time_ms, fill.sequence, fill.is_buy) for fill in fills}) == 1
        assert subject.last_ticks == prices[-1]


def test_ticks_have_the_direction_of_the_price() -> None:
    """Dossier 4.4: ``PlusTick`` after a rise, ``ZeroPlusTick`` while it stays there, and the same downwards."""
    subject = market()
    last, zero = subject.last_ticks, "ZeroPlusTick"
    seen = set()
    for _, fills in run(subject, 4000):
        for fill in fills:
            if fill.ticks == last:
                assert fill.direction == zero
            else:
                assert fill.direction == ("PlusTick" if fill.ticks > last else "MinusTick")
                zero = f"Zero{fill.direction}"
            last = fill.ticks
            seen.add(fill.direction)
    assert seen == {"PlusTick", "MinusTick", "ZeroPlusTick", "ZeroMinusTick"}


def test_trade_ids_are_unique_and_of_the_products_form() -> None:
    """Dossier 4.4: UUIDs on futures, 19 decimal digits on spot."""
    futures = [fill.id for _, fills in run(market(), 1000) for fill in fills]
    spot = [fill.id for _, fills in run(market("spot"), 1000) for fill in fills]
    assert len(set(futures)) == len(futures) > 50
    assert all(len(text) == 36 and text.count("-") == 4 for text in futures)
    assert len(set(spot)) == len(spot) > 50
    assert all(len(text) == 19 and text.isdecimal() for text in spot)
    assert spot == sorted(spot)


@pytest.mark.parametrize(("symbol", "longest_s"), [("BTCUSDT", 1.0), ("COIN900USDT", 5.0)])
def test_trades_come_often_enough(symbol: str, longest_s: float) -> None:
    """A major trades within about a second, any symbol within about five."""
    subject = market("linear", symbol)
    last_ns = NOW_NS
    for now_ns, fills in run(subject, 2000):
        if fills:
            assert now_ns - last_ns < (longest_s + 1.8 * subject._mean_gap_ns / 1e9) * 1e9
            last_ns = now_ns


def test_rate_multiplies_activity() -> None:
    """``--rate 10`` makes ten times as many events."""
    slow, fast = run(market(), 500)[-1][0] - NOW_NS, run(market(rate=10.0), 500)[-1][0] - NOW_NS
    assert slow / fast == pytest.approx(10, rel=0.1)


def test_deeper_book_leaves_the_top_untouched() -> None:
    """Depth grows at the far end only: the shallower books of the same market do not notice."""
    subject = market()
    top = [(key, subject.bids.lots[key]) for key in subject.bids.keys[:50]]
    subject.require_depth(1000)
    subject.require_depth(200)
    assert [(key, subject.bids.lots[key]) for key in subject.bids.keys[:50]] == top
    assert len(subject.asks.keys) >= 1000 + SPARE_LEVELS
    run(subject, 2000)
    assert len(subject.bids.keys) >= 1000
    assert len(subject.asks.keys) <= 1000 + 3 * SPARE_LEVELS + 100


def test_bids_end_at_the_lowest_price() -> None:
    """A cheap option's bids cannot go below one tick: the side is short, or empty, and nothing breaks."""
    subject = market("option", "BTC-31OCT25-300000-C-USDT")
    subject.require_depth(FULL_DEPTH)
    run(subject, 3000)
    assert len(subject.bids.keys) < FULL_DEPTH


def test_rpi_orders_exist_only_when_asked_for() -> None:
    """Dossier 4.2: they are kept beside the book, and change."""
    subject = market()
    run(subject, 50)
    assert not subject.rpi_bids
    subject.require_rpi()
    subject.require_rpi()
    before = dict(subject.rpi_bids), dict(subject.rpi_asks)
    assert before[0]
    assert before[1]
    run(subject, 100)
    assert (subject.rpi_bids, subject.rpi_asks) != before


def test_rpi_orders_need_a_side_to_stand_beside() -> None:
    """An empty side gets none."""
    subject = market("option", "BTC-31OCT25-300000-C-USDT")
    for side in (subject.bids, subject.asks):
        for key in list(side.keys):
            side.put(key, 0)
    subject.require_rpi()
    for _ in range(20):
        subject._make_rpi()
        subject._make()
        subject._narrow()
    assert not subject.rpi_bids
    assert subject._take() == []
    assert subject.mid_ticks == subject._anchor


def test_stir_moves_a_market_that_nobody_watched() -> None:
    """Whoever comes back finds another book."""
    subject = market()
    before = dict(subject.bids.lots), dict(subject.asks.lots)
    subject.stir(NOW_NS + 10**10)
    assert (subject.bids.lots, subject.asks.lots) != before


def test_day_counts_every_trade() -> None:
    """Volume and turnover of the last 24 hours grow by what was traded; high and low enclose it."""
    subject = market()
    volume, turnover = subject.day.volume_lots, subject.day.turnover
    fills = [fill for _, each in run(subject, 500) for fill in each]
    assert subject.day.volume_lots - volume == sum(fill.lots for fill in fills)
    assert subject.day.turnover - turnover == pytest.approx(sum(fill.lots * fill.ticks * 0.0001 for fill in fills))
    assert subject.day.low <= min(fill.ticks for fill in fills)
    assert subject.day.high >= max(fill.ticks for fill in fills)


def test_turnover_of_inverse_is_in_coin() -> None:
    """Dossier 4.6: inverse counts USD contracts, and turnover in coin."""
    assert market("inverse", "BTCUSD").turnover(168_000, 84_000) == pytest.approx(1.0)


def test_side_keeps_order_and_version() -> None:
    """Insert, replace, remove: keys stay sorted; every change is seen by its version."""
    side = Side(-1)
    for key, lots in ((5, 1), (3, 2), (4, 3), (3, 7), (5, 0), (9, 0)):
        before = side.version
        side.put(key, lots)
        assert side.version == before + 1
    assert side.keys == [3, 4]
    assert side.lots == {3: 7, 4: 3}


def own(subject: Market, is_buy: bool = True, place: int = 0, lots: int = 5, order_id: str = "mine") -> int:
    """Let an order of the account rest; return its price in ticks."""
    side = subject.bids if is_buy else subject.asks
    ticks = side.keys[place] * side.sign
    subject.rest(order_id, is_buy=is_buy, ticks=ticks, lots=lots, now_ns=NOW_NS)
    return ticks


@pytest.mark.parametrize("is_buy", [True, False])
def test_orders_of_the_account_stay_in_the_book_until_they_are_hit(is_buy: bool) -> None:
    """Whatever makers and takers do: every level is at least as large as the account's part of it."""
    subject = market()
    now_ns, resting = NOW_NS, 40
    for place in (0, 0, 3, 20):
        own(subject, is_buy, place, 10, f"order {place} {resting}")
        resting += 1
    left = {order: lots for orders in side_of(subject, is_buy).own.values() for order, lots in orders.items()}
    for _ in range(4000):
        now_ns += subject.next_gap_ns()
        for fill in subject.step(now_ns):
            if fill.maker_id:
                left[fill.maker_id] -= fill.lots
                assert fill.is_buy is not is_buy
        side = side_of(subject, is_buy)
        assert {order: lots for orders in side.own.values() for order, lots in orders.items()} == {
            order: lots for order, lots in left.items() if lots
        }
        assert all(side.lots[key] >= side.own_lots(key) for key in side.own)
        assert side.keys == sorted(side.lots)
    assert sum(left.values()) < 40


def side_of(subject: Market, is_buy: bool) -> Side:
    return subject.bids if is_buy else subject.asks


def test_order_of_the_account_is_hit_after_everybody_else_at_its_price() -> None:
    """Time priority; only what is hit of it carries its id."""
    subject = market()
    key = subject.bids.keys[0]
    others = subject.bids.lots[key]
    ticks = own(subject, lots=7)
    assert subject.bids.lots[key] == others + 7
    fills = subject.hit("mine", is_buy=False, ticks=ticks, lots=3, now_ns=NOW_NS)
    assert sum(fill.lots for fill in fills if not fill.maker_id) == others
    assert [(fill.maker_id, fill.lots, fill.ticks) for fill in fills if fill.maker_id] == [("mine", 3, ticks)]
    assert (subject.bids.lots[key], subject.bids.own) == (4, {key: {"mine": 4}})


def test_older_orders_of_the_account_come_first() -> None:
    """To hit the second of two at a price, the first has to be filled."""
    subject = market()
    ticks = own(subject, lots=7, order_id="first")
    own(subject, lots=7, order_id="second")
    fills = subject.hit("second", is_buy=False, ticks=ticks, lots=2, now_ns=NOW_NS)
    assert [(fill.maker_id, fill.lots) for fill in fills if fill.maker_id] == [("first", 7), ("second", 2)]


def test_order_of_the_account_is_withdrawn_without_a_trace() -> None:
    """The level is what it was."""
    subject = market()
    before = dict(subject.bids.lots)
    ticks = own(subject, place=2)
    own(subject, place=2, order_id="other")
    subject.withdraw("mine", is_buy=True, ticks=ticks, now_ns=NOW_NS)
    assert subject.bids.own == {-ticks: {"other": 5}}
    subject.withdraw("other", is_buy=True, ticks=ticks, now_ns=NOW_NS)
    assert (subject.bids.lots, subject.bids.own) == (before, {})


def test_order_of_the_account_far_from_the_top_is_kept() -> None:
    """The book drops surplus levels at its far end, but not one that somebody trades in."""
    subject = market()
    subject.require_depth(300)
    far = subject.bids.keys[-1]
    subject.rest("far", is_buy=True, ticks=-far, lots=3, now_ns=NOW_NS)
    subject.depth = 60
    run(subject, 2)
    assert len(subject.bids.keys) < 150
    assert (subject.bids.keys[-1], subject.bids.lots[far]) == (far, 3)


@pytest.mark.parametrize("is_buy", [True, False])
def test_account_takes_what_the_book_has(is_buy: bool) -> None:
    """A market order: public trades from the best price on, one ``seq`` and time; the book has so much less."""
    subject = market()
    side = subject.asks if is_buy else subject.bids
    best, total = side.keys[0] * side.sign, side.lots[side.keys[0]] + side.lots[side.keys[1]]
    fills = subject.take(is_buy=is_buy, lots=total + 1, now_ns=NOW_NS)
    assert sum(fill.lots for fill in fills) == total + 1
    assert fills[0].ticks == best
    assert {(fill.is_buy, fill.sequence, fill.time_ms, fill.maker_id) for fill in fills} == {
        (is_buy, subject.sequence, subject.event_ms, "")
    }
    assert len({fill.ticks for fill in fills}) == 3


def test_account_takes_no_more_than_there_is() -> None:
    """The last level stays, and the rest of the order unfilled."""
    subject = market()
    total = sum(subject.asks.lots.values())
    assert 0 < sum(fill.lots for fill in subject.take(is_buy=True, lots=total + 1, now_ns=NOW_NS)) < total
    assert subject.asks.keys
