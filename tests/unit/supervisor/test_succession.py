"""How one process of a worker takes another's place: every step, and every way it may go wrong."""

from collections.abc import Mapping

import pytest

from feedhandler.supervisor.succession import OVERLAP_S, READY_S, RETIRE_S, Act, Facts, Step, Succession

BOOK, TRADES, TICKER = TOPICS = ("orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "tickers.BTCUSDT")
LIVE: Mapping[str, str] = dict.fromkeys(TOPICS, "live")
STARTING: Mapping[str, str] = dict.fromkeys(TOPICS, "subscribing")
OLD = Facts(lives=True, is_assigned=True, has_paths=True, has_all=True, states=LIVE)
YOUNG = Facts(lives=True)
ASSIGNED = Facts(lives=True, is_assigned=True, states=STARTING)
READY = Facts(lives=True, is_assigned=True, states=LIVE)
BOUND = READY._replace(has_paths=True, has_all=True)
GONE = Facts()
PARKED = Facts(is_given_up=True)
BEGUN_S = 100.0


class Course:
    """A succession, and the clock."""

    def __init__(self, *, meets: bool = True, alone: bool = False) -> None:
        self.succession = Succession(TOPICS, BEGUN_S, meets=meets, alone=alone)
        self.now_s = BEGUN_S

    def look(self, old: Facts, new: Facts, after_s: float = 0.1) -> list[Act]:
        """Let time go by, and return what is to be done then."""
        self.now_s += after_s
        acts = []
        while (act := self.succession.look(self.now_s, old, new)) is not None:
            acts.append(act)
            assert len(acts) < 5, acts
        return acts

    @property
    def step(self) -> Step:
        return self.succession.step


def at(step: Step, *, meets: bool = True) -> Course:
    """Return one that has come to a step as it should."""
    course = Course(meets=meets)
    for reached, new, act, after_s in (
        (Step.BINDING, READY, Act.HAND_OVER, 0.1),
        (Step.OVERLAPPING, BOUND, Act.SHOW, 0.1),
        (Step.RETIRING, BOUND, Act.RETIRE, OVERLAP_S),
    ):
        if course.step is step:
            break
        assert course.look(OLD, new, after_s) == [act]
        assert course.step is reached
    return course


# As it should be.


def test_one_step_after_the_other() -> None:
    """Live first, then the addresses, then both for a while, then the old one ends."""
    course = Course()
    assert course.look(OLD, YOUNG) == []
    assert course.look(OLD, ASSIGNED) == []
    assert course.look(OLD, READY) == [Act.HAND_OVER]
    assert course.look(OLD, READY) == []
    assert course.look(OLD, BOUND) == [Act.SHOW]
    assert course.look(OLD, BOUND, OVERLAP_S - 0.1) == []
    assert course.look(OLD, BOUND) == [Act.RETIRE]
    assert course.look(OLD, BOUND, RETIRE_S) == []
    assert course.look(GONE, BOUND) == [Act.GO_ON_ALONE]
    assert (course.step, course.succession.is_over) == (Step.DONE, True)
    assert course.look(GONE, BOUND, 1000) == []


def test_where_clients_cannot_be_connected_to_both_nobody_waits_for_them() -> None:
    """Over tcp alone: the address changes hands when the old one has ended, and must have done so."""
    course = at(Step.BINDING, meets=False)
    waiting = READY._replace(has_paths=True)
    assert course.look(OLD, waiting) == [Act.RETIRE]
    assert course.look(GONE, waiting) == [Act.GO_ON_ALONE]
    assert course.step is Step.ALONE
    assert course.look(GONE, waiting) == []
    assert course.look(GONE, BOUND) == []
    assert course.succession.is_over


# Readiness.


@pytest.mark.parametrize("state", ["subscribing", "down", "stale", "resyncing", "rejected"])
def test_topic_that_is_live_must_be_live_at_the_successor(state: str) -> None:
    """Nothing less will do."""
    assert Course().look(OLD, READY._replace(states={**LIVE, TICKER: state})) == []
    assert Course().look(OLD, READY._replace(states={BOOK: "live", TRADES: "live"})) == []


@pytest.mark.parametrize("state", ["down", "rejected", "resyncing", "stale", "live"])
def test_topic_that_is_not_live_needs_only_have_been_tried(state: str) -> None:
    """A venue that is down, or refuses a topic, does the same to both."""
    for before in ("down", "rejected", "subscribing", "stale"):
        old = OLD._replace(states={**LIVE, TICKER: before})
        assert Course().look(old, READY._replace(states={**LIVE, TICKER: state})) == [Act.HAND_OVER]
        assert Course().look(old, READY._replace(states={**LIVE, TICKER: "subscribing"})) == []


def test_worker_with_nothing_live_waits_for_nothing() -> None:
    """Once the successor has tried."""
    down = dict.fromkeys(TOPICS, "down")
    assert Course().look(OLD._replace(states=down), READY._replace(states=down)) == [Act.HAND_OVER]


def test_topics_of_which_the_old_one_has_not_spoken_may_be_live() -> None:
    """It has only just started itself."""
    course = Course()
    assert course.look(OLD._replace(states={}), READY) == []
    assert course.look(OLD, READY) == [Act.HAND_OVER]


def test_what_is_live_nowhere_holds_nobody_up_for_long() -> None:
    """A topic that the venue never answers for is no reason to stay."""
    course = Course()
    old, new = (facts._replace(states={**LIVE, TICKER: "subscribing"}) for facts in (OLD, READY))
    assert course.look(old, new, READY_S - 0.1) == []
    assert course.look(old, new, 0.2) == [Act.HAND_OVER]


# Given up.


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (YOUNG, "its successor did not start within 30 s"),
        (
            READY._replace(states={**LIVE, TICKER: "down"}),
            "not live at its successor within 30 s: tickers.BTCUSDT (down)",
        ),
        (
            ASSIGNED._replace(states={}),
            f"not live at its successor within 30 s: {', '.join(f'{topic} (never heard of)' for topic in TOPICS)}",
        ),
    ],
)
def test_successor_that_does_not_get_there_is_ended(new: Facts, reason: str) -> None:
    """After 30 s, with the topics that it lacks; the old one has noticed nothing."""
    course = Course()
    assert course.look(OLD, new, READY_S) == []
    assert course.look(OLD, new) == [Act.ABANDON]
    assert (course.step, course.succession.reason) == (Step.GIVEN_UP, reason)
    assert course.succession.is_over
    assert course.look(GONE, GONE) == []


def test_of_many_topics_a_few_are_named() -> None:
    """The line is for a person."""
    topics = [f"tickers.S{number}" for number in range(9)]
    succession = Succession(topics, 0.0, meets=True)
    old, new = OLD._replace(states=dict.fromkeys(topics, "live")), READY._replace(states=dict.fromkeys(topics, "down"))
    assert succession.look(READY_S + 1, old, new) is Act.ABANDON
    assert succession.reason.endswith("tickers.S0 (down), tickers.S1 (down), tickers.S2 (down) and 6 more")


@pytest.mark.parametrize("old", [OLD, GONE])
def test_successor_that_ends_before_the_addresses_change_hands_changes_nothing(old: Facts) -> None:
    """The old one goes on, or is started again as after any end."""
    course = Course()
    course.look(OLD, ASSIGNED)
    assert course.look(old, GONE) == [Act.ABANDON]
    assert (course.step, course.succession.reason) == (Step.GIVEN_UP, "its successor ended")


def test_old_one_that_ends_before_its_successor_is_there_is_started_again_as_ever() -> None:
    """A successor that has not said hello is of no use."""
    course = Course()
    assert course.look(GONE, YOUNG) == [Act.ABANDON]
    assert course.succession.reason == "it ended by itself before its successor was there"


# From when on there is no way back.


@pytest.mark.parametrize("new", [ASSIGNED, READY])
def test_successor_takes_the_place_of_an_old_one_that_ends(new: Facts) -> None:
    """At once, live or not: nobody else carries the topics."""
    course = Course()
    assert course.look(GONE, new) == [Act.GO_ON_ALONE]
    assert course.look(GONE, BOUND) == []
    assert course.step is Step.DONE


@pytest.mark.parametrize("step", [Step.BINDING, Step.OVERLAPPING, Step.RETIRING])
def test_old_one_may_end_at_any_time(step: Step) -> None:
    """Its successor is told, and that is all there is left to do."""
    course = at(step)
    assert course.look(GONE, BOUND) == [Act.GO_ON_ALONE]
    assert course.step is Step.DONE


@pytest.mark.parametrize("step", [Step.BINDING, Step.OVERLAPPING])
def test_successor_that_ends_is_awaited_anew_while_the_old_one_goes_on(step: Step) -> None:
    """However long that takes: somebody may have seen its epoch, and would ignore the old one's records."""
    course = at(step)
    for new in (GONE, PARKED, GONE, YOUNG, ASSIGNED):
        assert course.look(OLD, new, 1000) == []
    again = ASSIGNED._replace(has_paths=True, has_all=True)
    assert course.look(OLD, again) == ([Act.SHOW] if step is Step.BINDING else [Act.RETIRE])


def test_overlap_is_counted_from_when_the_successor_is_as_good_as_the_old_one() -> None:
    """It fell back in between."""
    course = at(Step.OVERLAPPING)
    assert course.look(OLD, BOUND, OVERLAP_S - 0.5) == []
    assert course.look(OLD, BOUND._replace(states={**LIVE, BOOK: "resyncing"}), 0.1) == []
    assert course.look(OLD, BOUND, 0.4) == []
    assert course.look(OLD, BOUND, OVERLAP_S - 0.1) == []
    assert course.look(OLD, BOUND, 0.1) == [Act.RETIRE]


def test_topic_that_fails_at_the_successor_alone_does_not_hold_the_others_up_for_ever() -> None:
    """It is told there."""
    course = at(Step.OVERLAPPING)
    worse = BOUND._replace(states={**LIVE, BOOK: "rejected"})
    assert course.look(OLD, worse, READY_S) == []
    assert course.look(OLD, worse) == [Act.RETIRE]


def test_old_one_that_does_not_end_is_killed() -> None:
    """And again, should it be possible to survive that."""
    course = at(Step.RETIRING)
    assert course.look(OLD, BOUND, RETIRE_S) == []
    assert course.look(OLD, BOUND) == [Act.KILL]
    assert course.look(OLD, BOUND) == []
    assert course.look(OLD, BOUND, RETIRE_S) == [Act.KILL]
    assert course.look(GONE, BOUND) == [Act.GO_ON_ALONE]


# Alone.


def test_worker_that_was_not_there_is_awaited() -> None:
    """Until it has its addresses, and has tried every topic."""
    course = Course(alone=True)
    for new in (GONE, YOUNG, READY, ASSIGNED._replace(has_all=True)):
        assert course.look(GONE, new) == []
        assert course.step is Step.ALONE
    course.look(GONE, BOUND)
    assert course.succession.is_over


def test_topic_that_is_never_answered_for_is_not_awaited_for_ever() -> None:
    """The worker is up, and says of it what there is to say."""
    course = Course(alone=True)
    course.look(GONE, ASSIGNED._replace(has_all=True), READY_S)
    assert course.step is Step.ALONE
    course.look(GONE, ASSIGNED._replace(has_all=True))
    assert course.succession.is_over


@pytest.mark.parametrize(
    ("new", "after_s", "reason"),
    [
        (PARKED, 0.1, "it could not start"),
        (GONE, READY_S + 0.1, "it did not start within 30 s, and is tried again and again"),
    ],
)
def test_worker_that_does_not_start_is_said_to(new: Facts, after_s: float, reason: str) -> None:
    """There is nothing to be ended, and nobody to go on."""
    course = Course(alone=True)
    assert course.look(GONE, new, after_s) == []
    assert (course.step, course.succession.reason) == (Step.GIVEN_UP, reason)


# Words.


@pytest.mark.parametrize(
    ("course", "new", "words"),
    [
        (Course(), YOUNG, "starting its successor"),
        (Course(), READY._replace(states={BOOK: "live"}), "1 of 3 topics live at its successor"),
        (at(Step.BINDING), READY, "handing over"),
        (at(Step.OVERLAPPING), BOUND, "handing over"),
        (at(Step.BINDING), GONE, "its successor ended, and is started again; the old process goes on"),
        (at(Step.OVERLAPPING), PARKED, "its successor could not start; the old process goes on"),
        (at(Step.RETIRING), BOUND, "ending the old process"),
        (Course(alone=True), GONE, "starting"),
        (Course(alone=True), ASSIGNED, "0 of 3 topics live"),
    ],
)
def test_words(course: Course, new: Facts, words: str) -> None:
    """As `feedhandler status` and the command itself show them."""
    assert course.succession.words(new) == words
