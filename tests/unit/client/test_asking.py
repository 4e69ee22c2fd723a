"""Whom is asked for an answer, when, and when again."""

from collections import deque

import pytest
from support.records import BOOK, START_NS, image, status

from feedhandler import wire
from feedhandler.client.asking import ANSWER_CAP_S, ANSWER_S, RECONNECTED_S, Asking
from feedhandler.client.counters import Counters
from feedhandler.client.interest import Interest
from feedhandler.client.links import LOST, UP, Action, Link, Links, Subscribe, Unsubscribe
from feedhandler.client.record import UNASSIGNED, UNKNOWN
from feedhandler.client.track import Track

EXACT = wire.prefix(BOOK)


class Desk:
    """Two workers of one endpoint, and a book that the first carries; a prefix was subscribed to."""

    def __init__(self) -> None:
        self.links = Links()
        self.interest = Interest()
        self.interest.add("linear.")
        self.asking = Asking(self.links, self.interest)
        for name in ("linear", "linear-1"):
            self.links.open(name, "linear", f"ipc:///{name}", [b"linear."], 0.0)
            self.link(name).state = UP
        self.links.actions.clear()
        self.book = Track(BOOK, deque(), Counters())
        self.book.link = "linear"

    def link(self, name: str) -> Link:
        return self.links.by_name[name]

    def done(self) -> list[Action]:
        """What was done to the sockets since the last call."""
        actions = list(self.links.actions)
        self.links.actions.clear()
        return actions

    def answer(self) -> None:
        """The worker says how the book stands, and sends its image."""
        self.book.on_record(status(BOOK, 1, repeated=True), START_NS)
        self.book.on_record(image(1), START_NS)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_answer_that_comes_ends_the_waiting(desk: Desk) -> None:
    """Nothing was asked, nothing is taken back."""
    desk.asking.expect(desk.book, 0.0)
    desk.answer()
    assert desk.asking.pursue((), 5.0) == []
    assert desk.book not in desk.asking
    assert desk.done() == []


def test_answer_that_does_not_come_is_asked_for_ever_later(desk: Desk) -> None:
    """Its worker alone is asked; after the first time it is said to be silent."""
    desk.asking.expect(desk.book, 0.0)
    assert desk.asking.pursue((), ANSWER_S - 0.1) == []
    assert desk.done() == []
    assert desk.asking.pursue((), ANSWER_S) == []
    assert desk.done() == [Subscribe("linear", EXACT)]
    asked_s: list[float] = []
    now_s = ANSWER_S
    while len(asked_s) < 5:
        now_s += 0.5
        if desk.asking.pursue((), now_s) == [desk.book]:
            asked_s.append(now_s)
            assert desk.done() == [Subscribe("linear", EXACT), Unsubscribe("linear", EXACT)]
    pauses = [later - sooner for sooner, later in zip([ANSWER_S, *asked_s], asked_s, strict=False)]
    assert pauses == [ANSWER_S, 2 * ANSWER_S, 4 * ANSWER_S, 8 * ANSWER_S, ANSWER_CAP_S]
    desk.answer()
    assert desk.asking.pursue((), now_s + 1) == []
    assert desk.done() == [Unsubscribe("linear", EXACT)], "the prefix is enough again"


def test_what_was_subscribed_to_by_name_stays_so(desk: Desk) -> None:
    """The filter is the strategy's own."""
    desk.interest.add(BOOK)
    desk.asking.ask(desk.book, 0.0)
    desk.done()
    desk.asking.end(desk.book)
    assert desk.done() == []


def test_answer_among_what_was_not_read_yet_is_not_missed(desk: Desk) -> None:
    """A program that was busy itself blames nobody."""
    desk.asking.ask(desk.book, 0.0)
    desk.done()
    assert desk.asking.pursue(("linear",), 60.0) == []
    assert desk.done() == []


def test_worker_that_is_not_there_is_not_asked(desk: Desk) -> None:
    """It is told all filters when it comes, and then answers soon, or has."""
    desk.asking.expect_anew(desk.book, 0.0)
    desk.link("linear").state = LOST
    assert desk.asking.pursue((), 60.0) == []
    assert desk.done() == []
    desk.link("linear").state = UP
    desk.asking.expect_soon(desk.link("linear-1"), 60.0)
    desk.asking.expect_soon(desk.link("linear"), 60.0)
    desk.asking.pursue((), 60.9)
    assert desk.done() == []
    desk.link("linear").lost_s = 61.0
    desk.asking.expect_soon(desk.link("linear"), 61.0)
    desk.asking.pursue((), 61.1)
    assert desk.done() == []
    desk.asking.pursue((), 61.01 + RECONNECTED_S)
    assert desk.done() == [Subscribe("linear", EXACT)]


def test_waiting_is_not_shortened_by_what_else_is_waited_for(desk: Desk) -> None:
    """Only who begins anew forgets what was asked."""
    desk.asking.ask(desk.book, 0.0)
    desk.asking.expect(desk.book, 5.0)
    desk.done()
    desk.asking.pursue((), ANSWER_S)
    assert desk.done() != []
    desk.asking.expect_anew(desk.book, 5.0)
    desk.asking.pursue((), 5.9)
    assert desk.done() == []


@pytest.mark.parametrize(("state", "asked"), [(wire.DOWN, True), (UNKNOWN, True), (UNASSIGNED, False)])
def test_who_is_said_to_carry_nothing_is_not_asked(desk: Desk, state: str, asked: bool) -> None:
    """What the directory decides no worker can end; a lost worker can, when it is back."""
    desk.book.impose(state, "somehow", START_NS)
    desk.asking.expect(desk.book, 0.0)
    desk.asking.pursue((), ANSWER_S)
    assert (desk.done() != []) is asked
