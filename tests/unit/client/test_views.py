"""Books and tickers kept from a subject's records."""

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from support.records import BOOK, delta, record, snapshot

from feedhandler import wire
from feedhandler.book import RpiBook
from feedhandler.client.views import TickerView, book_view, ticker_view
from feedhandler.errors import BookNotLive, SubjectError

TICKER = "linear.tickers.BTCUSDT"


def book_payload(kind: str, bids: list[list[str]], asks: list[list[str]], update_id: int = 1) -> bytes:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update_id, "seq": 7}
    return json.dumps({"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": 1, "data": data, "cts": 5}).encode()


def ticker_payload(kind: str, **fields: str) -> bytes:
    return json.dumps(
        {"topic": "tickers.BTCUSDT", "type": kind, "ts": 1, "data": {"symbol": "BTCUSDT", **fields}}
    ).encode()


def ticker_record(number: int, kind: str, **fields: str) -> Any:
    of = wire.SNAPSHOT if kind == "snapshot" else wire.DELTA
    return record(TICKER, number, of, payload=ticker_payload(kind, **fields))


def test_book_follows_its_records() -> None:
    """A snapshot, then deltas: the book and the time of its last record."""
    book = book_view(BOOK, "linear", float, strict=False)
    book.take(snapshot(1, payload=book_payload("snapshot", [["99", "1"]], [["101", "2"]])))
    last = delta(2, payload=book_payload("delta", [["100", "3"], ["99", "0"]], [], 2))
    book.take(last)
    assert (book.best_bid, book.best_ask, book.update_id) == ((100.0, 3.0), (101.0, 2.0), 2)
    assert book.age_at_s(last.received_ns + 1_500_000_000) == 1.5
    assert book.is_live


def test_age_is_by_the_clock_and_asks_for_no_state() -> None:
    """How old is a fair question of a book that is not live, too; before the first record there is no answer."""
    book = book_view(BOOK, "linear", float, strict=True)
    ticker = ticker_view(TICKER, "linear", float, strict=True)
    assert (book.age_s, ticker.age_s) == (None, None)
    taken = snapshot(1, payload=book_payload("snapshot", [["99", "1"]], []))
    taken.received_ns = time.time_ns() - 2_000_000_000
    book.take(taken)
    book.tell(wire.DOWN, "gone")
    assert 2.0 <= (book.age_s or 0) < 10.0


def test_book_in_decimal_is_exact() -> None:
    """The venue's own decimals."""
    book = book_view(BOOK, "linear", Decimal, strict=False)
    book.take(snapshot(1, payload=book_payload("snapshot", [["0.1", "0.3"]], [["0.2", "1"]])))
    assert book.best_bid == (Decimal("0.1"), Decimal("0.3"))
    assert book.mid == Decimal("0.15")


def test_rpi_book_has_triples() -> None:
    """The topic decides which book it is."""
    book = book_view("spot.orderbook.rpi.BTCUSDT", "spot", float, strict=False)
    assert isinstance(book, RpiBook)
    payload = book_payload("snapshot", [["99", "0", "0.5"]], []).replace(b".50.", b".rpi.")
    book.take(snapshot(1, payload=payload))
    assert book.best_bid == (99.0, 0.0, 0.5)


def test_unreadable_record_leaves_a_book_without_a_base() -> None:
    """What comes after it cannot be believed until the next snapshot."""
    book = book_view(BOOK, "linear", float, strict=True)
    book.take(snapshot(1, payload=book_payload("snapshot", [["99", "1"]], [])))
    book.take(delta(2, payload=book_payload("delta", [["x", "1"]], [])))
    book.take(delta(3, payload=book_payload("delta", [["98", "1"]], [])))
    assert book.state == wire.SUBSCRIBING
    with pytest.raises(BookNotLive, match="subscribing: unreadable record"):
        _ = book.best_bid
    book.take(snapshot(4, payload=book_payload("snapshot", [["97", "1"]], [])))
    assert book.best_bid == (97.0, 1.0)


def test_ticker_keeps_what_a_delta_does_not_name() -> None:
    """Absent is unchanged; an empty text is a value."""
    ticker: Any = ticker_view(TICKER, "linear", float, strict=False)
    assert (ticker.data, ticker.loaded) == (None, False), "nothing yet"
    ticker.take(ticker_record(1, "delta", lastPrice="1"))
    assert not ticker.loaded, "a delta without its snapshot"
    ticker.take(ticker_record(2, "snapshot", lastPrice="100", fundingRate="0.0001", markPrice="101"))
    ticker.take(ticker_record(3, "delta", lastPrice="99.5", fundingRate=""))
    assert (ticker.data.last_price, ticker.data.mark_price, ticker.data.funding_rate) == (99.5, 101.0, "")
    assert ticker.received_ns == ticker_record(3, "delta").received_ns
    ticker.take(ticker_record(4, "snapshot", lastPrice="98"))
    assert not ticker.data.mark_price, "a snapshot replaces everything"


def test_unreadable_record_leaves_a_ticker_without_a_base() -> None:
    """As with books."""
    ticker = TickerView(TICKER, "linear", float, strict=True)
    ticker.take(ticker_record(1, "snapshot", lastPrice="100"))
    assert ticker.data.last_price == 100.0
    ticker.take(ticker_record(2, "delta", lastPrice="?"))
    with pytest.raises(BookNotLive, match="unreadable"):
        _ = ticker.data


@pytest.mark.parametrize("subject", ["linear.publicTrade.BTCUSDT", "spot.orderbook.full.BTCUSDT", "linear.notice"])
def test_no_book_of_what_is_none(subject: str) -> None:
    """Only books with snapshots can be kept."""
    with pytest.raises(SubjectError, match="no book can be kept"):
        book_view(subject, "", float, strict=False)


def test_no_ticker_of_what_is_none() -> None:
    """Only tickers are tickers."""
    with pytest.raises(SubjectError, match="no ticker can be kept"):
        ticker_view(BOOK, "", float, strict=False)


def test_book_of_text_is_refused() -> None:
    """Text sorts by letters, not by size."""
    with pytest.raises(TypeError, match="text has no order of size"):
        book_view(BOOK, "", str, strict=False)
