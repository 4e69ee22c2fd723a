"""Which of the events that are repeated for newcomers are new to us."""

import pytest

from feedhandler.client.repeats import HOLES_LIMIT, Repeats, may_be_kept


def joined(up_to: int, topic: str = "execution") -> Repeats:
    """Joined after a number, and answered."""
    repeats = Repeats(topic)
    repeats.want(up_to)
    repeats.answered()
    return repeats


@pytest.mark.parametrize(
    ("topic", "kept"),
    [
        ("order", True),
        ("execution.fast", True),
        ("position.linear", True),
        ("publicTrade.BTCUSDT", False),
        ("x", False),
    ],
)
def test_events_of_accounts_are_kept(topic: str, kept: bool) -> None:
    """As the worker decides it, by the product; the name tells."""
    assert may_be_kept(topic) is kept


def test_numbers_from_before_are_new_once() -> None:
    """Whoever they are repeated for."""
    repeats = joined(10)
    assert [repeats.take(number) for number in (9, 10, 11, 9, 10)] == [True, True, False, False, False]


def test_nothing_is_new_before_a_repeated_status() -> None:
    """It is the rest of what is repeated for another newcomer, and comes again."""
    repeats = Repeats("execution")
    repeats.want(10)
    assert not repeats.take(10)
    repeats.answered()
    assert repeats.take(10)


def test_numbers_lost_are_new_once() -> None:
    """And those between two holes are not."""
    repeats = joined(10)
    repeats.lose(range(12, 13))
    repeats.lose(range(14, 16))
    assert [number for number in range(11, 17) if repeats.take(number)] == [12, 14, 15]
    assert not repeats.take(14)


def test_holes_are_bounded() -> None:
    """Of the oldest nothing is remembered: neither what was lost in it nor what came of that."""
    repeats = joined(0)
    repeats.lose(range(1, 2))
    assert repeats.take(1)
    for number in range(2, HOLES_LIMIT + 2):
        repeats.lose(range(2 * number, 2 * number + 1))
    assert not repeats.take(1)
    assert not repeats._had
    assert repeats.take(4)


def test_another_epoch_begins_anew() -> None:
    """Nothing that was had or lost in one counts in the next."""
    repeats = joined(10)
    repeats.take(3)
    repeats.lose(range(12, 14))
    repeats.enter_epoch()
    assert not repeats.incomplete
    assert not repeats.take(3)
    repeats.want(3)
    repeats.answered()
    assert [repeats.take(number) for number in (3, 12)] == [True, False]


def test_what_was_lost_and_may_be_kept_is_missing_until_the_answer() -> None:
    """Events of other topics are gone."""
    repeats = joined(10)
    repeats.lose(range(12, 13))
    assert repeats.incomplete
    repeats.answered()
    assert not repeats.incomplete
    public = joined(10, "publicTrade.BTCUSDT")
    public.lose(range(12, 13))
    assert not public.incomplete
