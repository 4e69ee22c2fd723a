"""A book is what a dict of its levels says, whatever the deltas are."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from feedhandler.book import Book, RpiBook
from feedhandler.bybit import messages

PRICES = st.integers(1, 40).map(lambda ticks: Decimal(ticks) / 10)
SIZES = st.integers(0, 3).map(Decimal)
LEVELS = st.lists(st.tuples(PRICES, SIZES), max_size=12)
RPI_LEVELS = st.lists(st.tuples(PRICES, SIZES, SIZES), max_size=12)


def message(kind: str, bids: Any, asks: Any, update_id: int) -> messages.Message[Any]:
    data: Any = messages.Book(symbol="X", bids=bids, asks=asks, update_id=update_id)
    return messages.Message("orderbook.50.X", data, type=kind)


def floats(levels: Any) -> list[tuple[float, ...]]:
    return [tuple(map(float, level)) for level in levels]


@given(st.lists(st.tuples(st.sampled_from(["delta"] * 5 + ["snapshot"]), LEVELS, LEVELS), max_size=30))
def test_book_is_its_levels(steps: list[tuple[str, Any, Any]]) -> None:
    """After every snapshot and delta: the same levels as a dict keeps, best first, in Decimal and in float."""
    exact: Book[Decimal] = Book()
    floating: Book[float] = Book()
    bids: dict[Decimal, Decimal] = {}
    asks: dict[Decimal, Decimal] = {}
    loaded = False
    for update_id, (kind, new_bids, new_asks) in enumerate(steps):
        loaded |= kind == "snapshot"
        if kind == "snapshot":
            bids, asks = {}, {}
        if loaded:
            for side, levels in ((bids, new_bids), (asks, new_asks)):
                for price, size in levels:
                    side[price] = size
                    if not size:
                        del side[price]
        exact.apply(message(kind, new_bids, new_asks, update_id))
        floating.apply(message(kind, floats(new_bids), floats(new_asks), update_id))
        assert exact.bids() == sorted(bids.items(), reverse=True)
        assert exact.asks() == sorted(asks.items())
        assert exact.best_bid == (max(bids.items()) if bids else None)
        assert exact.best_ask == (min(asks.items()) if asks else None)
        assert exact.bids(3) == exact.bids()[:3]
        assert exact.asks(3) == exact.asks()[:3]
        assert floating.bids() == floats(exact.bids())
        assert floating.asks() == floats(exact.asks())


@given(st.lists(RPI_LEVELS, min_size=1, max_size=20))
def test_rpi_book_is_its_levels(steps: list[Any]) -> None:
    """A level lives as long as either of its sizes does."""
    book: RpiBook[Decimal] = RpiBook()
    kept: dict[Decimal, tuple[Decimal, Decimal]] = {}
    for update_id, levels in enumerate(steps):
        for price, size, rpi in levels:
            kept[price] = (size, rpi)
            if not size and not rpi:
                del kept[price]
        book.apply(message("delta" if update_id else "snapshot", levels, [], update_id))
        assert book.bids() == [(price, *sizes) for price, sizes in sorted(kept.items(), reverse=True)]
