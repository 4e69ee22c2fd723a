"""What a message of the venue is known by."""

import pytest
from support.drill import BOOK, FULL, LEVEL_1, TICKERS, TRADES, book, level_1, ticker, trade

from feedhandler.bybit.products import Nature
from feedhandler.drill import messages


def test_trades_are_known_by_their_ids() -> None:
    """A frame of several trades is several units, whoever put them in one frame."""
    assert messages.units(TRADES, Nature.EVENT, trade("a", "b")) == ["a", "b"]


@pytest.mark.parametrize(("topic", "nature"), [(BOOK, Nature.BOOK), (FULL, Nature.DELTAS)])
def test_books_are_known_by_their_ids_whatever_else_they_say(topic: str, nature: Nature) -> None:
    """A snapshot and a delta that lead to the same state are one unit; a count that begins anew makes another."""
    first = messages.units(topic, nature, book(5, "snapshot", bids=[["1", "1"]]))
    assert first == messages.units(topic, nature, book(5)) == [(5, 50)]
    assert messages.units(topic, nature, book(5, seq=99)) != first


@pytest.mark.parametrize(("topic", "nature"), [(LEVEL_1, Nature.LATEST), (TICKERS, Nature.MERGED)])
def test_anything_else_is_known_by_its_bytes(topic: str, nature: Nature) -> None:
    """Two messages are the same only if every byte is."""
    assert messages.units(topic, nature, level_1(1)) == messages.units(topic, nature, level_1(1))
    assert messages.units(topic, nature, level_1(1)) != messages.units(topic, nature, level_1(2))


@pytest.mark.parametrize("topic", [BOOK, TRADES])
def test_what_is_not_as_it_should_be_is_known_by_its_bytes(topic: str) -> None:
    """A message that cannot be read is still a message."""
    assert messages.units(topic, Nature.BOOK, b"{}") == [messages.digest(b"{}")]


def test_the_topic_of_what_is_no_data_is_empty() -> None:
    """Pongs and garbage have no topic."""
    assert messages.topic_of(book(1)) == BOOK
    assert messages.topic_of(b'{"op":"pong"}') == messages.topic_of(b"garbage") == ""


def test_trades_are_read_with_every_field() -> None:
    """By id, so that two frames can be compared."""
    assert messages.trades(trade("a", "b"))["b"] == {"i": "b", "p": "1"}


def test_fields_of_a_state_in_rows_are_its_rows() -> None:
    """Insurance sends rows, known by coin and symbols; tickers send fields."""
    assert messages.fields(ticker(lastPrice="1")) == {"lastPrice": "1"}
    row = {"coin": "BTC", "symbols": "BTCUSD", "balance": "1"}
    assert messages.fields(b'{"data":[{"coin":"BTC","symbols":"BTCUSD","balance":"1"}]}') == {"BTC BTCUSD": row}


def test_what_a_message_says_does_not_depend_on_when() -> None:
    """A level 1 that is sent again says the same."""
    assert messages.says(level_1(1)) == messages.says(level_1(2)) != messages.says(level_1(2, "3"))


def test_units_can_be_read_by_people() -> None:
    """Findings name the trade, the update id, or the message."""
    assert [messages.shown(unit) for unit in ("a", (5, 50), b"\x01\x02\x03\x04\x05")] == [
        "trade a",
        "u 5",
        "message 01020304",
    ]
