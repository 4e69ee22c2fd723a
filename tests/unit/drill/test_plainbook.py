"""The plainest order book there is."""

import pytest

from feedhandler.drill.plainbook import BookData, PlainBook


def book(*deltas: BookData) -> PlainBook:
    made = PlainBook(BookData(1, [("10.0", "1"), ("9", "2")], [("11", "3")]))
    for delta in deltas:
        made.apply(delta)
    return made


def test_a_delta_changes_inserts_and_deletes() -> None:
    """Size 0 deletes, also a level that is not there; prices are numbers, however they are written."""
    changed = book(BookData(2, [("10", "5"), ("8", "1"), ("9", "0"), ("7", "0")], []))
    assert (changed.update_id, changed.bids, changed.asks) == (2, {10.0: (5.0,), 8.0: (1.0,)}, {11.0: (3.0,)})


def test_a_level_with_two_sizes_is_gone_when_both_are_zero() -> None:
    """As in RPI books."""
    rpi = PlainBook(BookData(1, [("10", "0", "1"), ("9", "0", "0")], []))
    assert rpi.bids == {10.0: (0.0, 1.0)}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (book(), ""),
        (book(BookData(2, [], [])), "u 1 instead of 2"),
        (book(BookData(1, [("9", "3")], [])), "bid 9 at u 1 is 2 instead of 3"),
        (book(BookData(1, [("9", "0")], [])), "bid 9 at u 1 is 2 instead of absent"),
        (book(BookData(1, [], [("12", "1")])), "ask 12 at u 1 is absent instead of 1"),
    ],
)
def test_any_difference_is_said(other: PlainBook, said: str) -> None:
    """The update id, a size, a level too many, a level too few."""
    assert book().difference(other) == said
