"""Two lines' books, level by level."""

import pytest
from support.pair import BOOK, snap, update

from feedhandler.worker.comparison import COMPARED_FRAMES, Outcome, Trial, compare


def test_books_are_the_same_however_their_numbers_are_spelt() -> None:
    """Zero padding and order of levels say nothing."""
    one = snap(5, 50, [("100.0", "1"), ("99.50", "2.000")])
    other = snap(5, 50, [("99.5", "2"), ("100", "1.0")])
    assert compare(one, other) is Outcome.SAME


def test_one_level_makes_a_difference() -> None:
    """At the same update every level counts."""
    assert compare(snap(5, 50), snap(5, 50, [("100.0", "3")])) is Outcome.DIFFERENT


@pytest.mark.parametrize("other", [snap(6, 50), snap(5, 51)])
def test_books_of_different_updates_cannot_be_compared(other: bytes) -> None:
    """The same count at another time is another count."""
    assert compare(snap(5, 50), other) is Outcome.NONE


def test_a_line_behind_is_compared_where_the_other_one_was() -> None:
    """Its own records bring it there."""
    reference = snap(7, 70, [("100.0", "9")])
    trial = Trial(BOOK, 5, snap(5, 50), 7, reference)
    assert trial.outcome() is None
    assert trial.follow(6, update(6, 60)) is None
    assert trial.follow(7, update(7, 70, bids=[("100.0", "9")])) is Outcome.SAME
    assert Trial(BOOK, 7, reference, 7, reference).outcome() is Outcome.SAME


def test_a_line_that_leaves_a_record_out_is_not_compared() -> None:
    """Nothing can be said of it."""
    assert Trial(BOOK, 5, snap(5, 50), 9, snap(9, 90)).follow(7, update(7, 70)) is Outcome.NONE


def test_a_line_that_is_too_far_behind_is_not_compared() -> None:
    """After so many records its own book is not kept any longer."""
    trial = Trial(BOOK, 0, snap(0, 5), 10_000, snap(10_000, 50))
    outcomes = [trial.follow(number, update(number, number + 5)) for number in range(1, COMPARED_FRAMES + 2)]
    assert outcomes == [None] * COMPARED_FRAMES + [Outcome.NONE]


def test_what_is_no_book_is_said_to_be_none() -> None:
    """A snapshot without levels is the venue's fault, and not a difference."""
    with pytest.raises(ValueError, match="missing required field"):
        Trial(BOOK, 1, b'{"topic":"x","type":"snapshot","ts":1,"data":{"u":1}}', 2, snap(2, 20))
