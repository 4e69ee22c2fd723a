"""What the venue sent on one topic."""

from support.drill import BOOK, LEVEL_1, START_NS, TICKERS, TRADES, S, book, level_1, ticker, trade

from feedhandler.bybit.products import Nature
from feedhandler.drill.messages import digest
from feedhandler.drill.truth import Truth


def test_everything_published_has_its_place_and_time() -> None:
    """Trades of one frame are units of their own, in order."""
    truth = Truth(TRADES, Nature.EVENT)
    truth.publish(trade("a", "b"), START_NS)
    truth.publish(trade("c"), START_NS + S)
    assert truth.units == ["a", "b", "c"]
    assert [truth.places[unit] for unit in "abc"] == [0, 1, 2]
    assert [truth.after(START_NS - 1), truth.after(START_NS), truth.after(START_NS + S)] == [0, 2, 3]
    assert truth.trade_frames["b"] == trade("a", "b")


def test_what_is_published_again_keeps_its_place() -> None:
    """A snapshot served to the witness is no new state."""
    truth = Truth(BOOK, Nature.BOOK)
    truth.publish(book(1), START_NS)
    truth.publish(book(1, "snapshot"), START_NS + S)
    assert truth.units == [(1, 10)]


def test_how_often_one_connection_got_a_message_is_known() -> None:
    """Two lines get one copy each; two copies on one line are the venue's own repetition."""
    truth = Truth(BOOK, Nature.BOOK)
    for connection in (1, 2, 2):
        truth.deliver(book(1), connection)
    truth.deliver(book(2), 1)
    assert truth.genuine == {digest(book(1)): 2, digest(book(2)): 1}


def test_a_merged_state_is_known_before_every_message() -> None:
    """Asked in any order."""
    truth = Truth(TICKERS, Nature.MERGED)
    truth.publish(ticker("snapshot", a="1", b="1"), START_NS)
    truth.publish(ticker(a="2"), START_NS)
    truth.publish(ticker(b="3"), START_NS)
    assert truth.fields_before(3) == {"a": "2", "b": "3"}
    assert truth.fields_before(1) == {"a": "1", "b": "1"}
    assert truth.fields_before(2) == {"a": "2", "b": "1"}


def test_what_a_latest_message_says_is_known() -> None:
    """By its place."""
    truth = Truth(LEVEL_1, Nature.LATEST)
    truth.publish(level_1(1), START_NS)
    truth.publish(level_1(2), START_NS)
    assert truth.says(0) == truth.says(1)


def test_the_longest_pause_counts_the_edges() -> None:
    """From the beginning to the first message, between messages, from the last to the end."""
    truth = Truth(LEVEL_1, Nature.LATEST)
    for ts, after_s in enumerate((1, 3, 4)):
        truth.publish(level_1(ts), START_NS + after_s * S)
    assert truth.longest_pause_ns(START_NS, START_NS + 5 * S) == 2 * S
    assert truth.longest_pause_ns(START_NS, START_NS + 9 * S) == 5 * S
    assert truth.longest_pause_ns(START_NS - 4 * S, START_NS + 5 * S) == 5 * S
