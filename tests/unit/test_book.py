"""The order book: exact at every record, and honest about what it is worth."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec import UNSET

from feedhandler import wire
from feedhandler.book import Book, RpiBook
from feedhandler.bybit import messages
from feedhandler.errors import BookNotLive, FeedError


def message(kind: str, bids: list[Any], asks: list[Any], update_id: int = 1, **rest: Any) -> messages.Message[Any]:
    data: Any = messages.Book(
        symbol="BTCUSDT", bids=bids, asks=asks, update_id=update_id, venue_sequence=rest.get("seq", 7)
    )
    return messages.Message("orderbook.50.BTCUSDT", data, 1, kind, rest.get("cts", 5))


def book(**options: Any) -> Book[float]:
    """A live book of three levels a side."""
    made: Book[float] = Book(**options)
    made.apply(
        message(
            "snapshot",
            [(99.0, 1.0), (98.0, 2.0), (97.0, 3.0)],
            [(101.0, 1.0), (102.0, 2.0), (103.0, 3.0)],
        ),
        1_000_000_000,
    )
    return made


def test_snapshot_is_the_book() -> None:
    """Best first on both sides, with the ids and times of the message."""
    made = book()
    assert made.bids() == [(99.0, 1.0), (98.0, 2.0), (97.0, 3.0)]
    assert made.asks() == [(101.0, 1.0), (102.0, 2.0), (103.0, 3.0)]
    assert (made.update_id, made.venue_sequence, made.matching_time_ms) == (1, 7, 5)
    assert made.depth == (3, 3)


def test_best_and_mid() -> None:
    """Highest bid, lowest ask, and the middle between them."""
    made = book()
    assert (made.best_bid, made.best_ask, made.mid) == ((99.0, 1.0), (101.0, 1.0), 100.0)


def test_delta_inserts_changes_and_removes() -> None:
    """Sizes are absolute; zero removes; the rest stays as it was (dossier 5.1)."""
    made = book()
    made.apply(message("delta", [(100.0, 4.0), (98.0, 5.0), (97.0, 0.0)], [(101.0, 0.0), (101.5, 6.0)], 2, seq=9))
    assert made.bids() == [(100.0, 4.0), (99.0, 1.0), (98.0, 5.0)]
    assert made.asks() == [(101.5, 6.0), (102.0, 2.0), (103.0, 3.0)]
    assert (made.update_id, made.venue_sequence) == (2, 9)


def test_removal_of_a_level_that_is_not_there_changes_nothing() -> None:
    """It happened to others (dossier 5.4)."""
    made = book()
    made.apply(message("delta", [(42.0, 0.0)], [(999.0, 0.0)], 2))
    assert made.depth == (3, 3)


def test_snapshot_replaces_everything() -> None:
    """A snapshot at any time is the venue's own repair, in whatever order its levels are."""
    made = book()
    made.apply(message("snapshot", [(49.0, 1.0), (50.0, 1.0), (48.0, 0.0)], [], 1, seq=UNSET, cts=UNSET))
    assert made.bids() == [(50.0, 1.0), (49.0, 1.0)]
    assert made.asks() == []
    assert (made.venue_sequence, made.matching_time_ms) == (0, 0)


def test_some_levels() -> None:
    """As many as asked for, best first; never more than there are."""
    made = book()
    assert made.bids(2) == [(99.0, 1.0), (98.0, 2.0)]
    assert made.asks(2) == [(101.0, 1.0), (102.0, 2.0)]
    assert (len(made.bids(9)), len(made.asks(9))) == (3, 3)
    assert (made.bids(0), made.asks(0), made.bids(-1), made.asks(-1)) == ([], [], [], [])


def test_empty_sides_have_no_best() -> None:
    """One-sided and empty books occur on options (dossier 4.1)."""
    made: Book[float] = Book()
    made.apply(message("snapshot", [], [(101.0, 1.0)]))
    assert (made.best_bid, made.best_ask, made.mid) == (None, (101.0, 1.0), None)
    made.apply(message("snapshot", [(99.0, 1.0)], []))
    assert (made.best_bid, made.best_ask, made.mid) == ((99.0, 1.0), None, None)


def test_delta_before_the_snapshot_is_ignored() -> None:
    """Without a base there is no book."""
    made: Book[float] = Book()
    made.apply(message("delta", [(99.0, 1.0)], [], 5))
    assert (made.bids(), made.update_id, made.state) == ([], 0, wire.SUBSCRIBING)


def test_decimals_stay_exact() -> None:
    """With Decimal the venue's numbers are what they are."""
    made: Book[Decimal] = Book()
    made.apply(message("snapshot", [(Decimal("0.1"), Decimal("0.3"))], [(Decimal("0.2"), Decimal(1))]))
    made.apply(message("delta", [(Decimal("0.10"), Decimal("0.7"))], [(Decimal("0.2"), Decimal(0))], 2))
    assert (made.bids(), made.asks(), made.mid) == ([(Decimal("0.1"), Decimal("0.7"))], [], None)


def test_rpi_level_is_gone_only_when_both_sizes_are() -> None:
    """Levels are triples, and a level of retail orders alone is one (dossier 4.2)."""
    made: RpiBook[float] = RpiBook()
    made.apply(message("snapshot", [(99.0, 1.0, 0.5), (98.0, 0.0, 0.7)], [(101.0, 0.0, 0.0)]))
    assert made.bids() == [(99.0, 1.0, 0.5), (98.0, 0.0, 0.7)]
    assert made.asks() == []
    made.apply(message("delta", [(99.0, 0.0, 0.5), (98.0, 0.0, 0.0), (97.0, 2.0, 0.0)], [], 2))
    assert made.bids(1) == [(99.0, 0.0, 0.5)]
    assert made.bids() == [(99.0, 0.0, 0.5), (97.0, 2.0, 0.0)]
    assert made.best_bid == (99.0, 0.0, 0.5)


# What it is worth.


def test_state_is_live_only_with_a_snapshot_and_the_feeds_word() -> None:
    """Live needs both; anything else the feed says is the state."""
    made: Book[float] = Book()
    assert (made.state, made.is_live) == (wire.SUBSCRIBING, False)
    made = book()
    assert (made.state, made.is_live) == (wire.LIVE, True)
    made.tell(wire.RESYNCING, "gap")
    assert (made.state, made.reason, made.is_live) == (wire.RESYNCING, "gap", False)
    made.tell(wire.LIVE)
    assert made.is_live
    made.unload("unreadable record")
    assert (made.state, made.reason, made.is_live) == (wire.SUBSCRIBING, "unreadable record", False)
    made.apply(message("snapshot", [], []))
    assert (made.state, made.reason, made.is_live) == (wire.LIVE, "", True)


@pytest.mark.parametrize(
    "read",
    [
        lambda made: made.best_bid,
        lambda made: made.best_ask,
        lambda made: made.mid,
        lambda made: made.bids(),
        lambda made: made.asks(),
    ],
)
def test_strict_book_raises_while_it_is_not_live(read: Any) -> None:
    """Each read says so, with state and reason; a book that is not strict gives what it has."""
    made = book(strict=True)
    assert read(made)
    made.tell(wire.DOWN, "connection lost")
    with pytest.raises(BookNotLive, match="the state is down: connection lost") as caught:
        read(made)
    assert isinstance(caught.value, FeedError)
    made.tell(wire.STALE)
    with pytest.raises(BookNotLive, match=r"the state is stale$"):
        read(made)
    lenient = book()
    lenient.tell(wire.DOWN)
    assert read(lenient)


def test_age_is_that_of_the_last_record() -> None:
    """In seconds; None before the first record."""
    assert book().age_at_s(3_500_000_000) == 2.5
    assert Book[float]().age_at_s(1) is None
