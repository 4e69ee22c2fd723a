"""From promises and what was seen to a verdict: each kind of broken promise is found."""

from typing import Any

import pytest
from support.drill import BOOK, TRADES, S, Stream, book, trade

from feedhandler import wire
from feedhandler.drill import promises
from feedhandler.drill.expectation import Expectation
from feedhandler.drill.promises import Finding
from feedhandler.drill.scoring import Judged, Result, Seen, in_words, judge

DOWN = Expectation(("down",), told_within_s=1.0, whole_within_s=3.0)


class Scene:
    """One topic that a fault hits, and another one."""

    def __init__(self, topic: str = TRADES) -> None:
        self.hit = Stream(topic)
        self.other = Stream(BOOK)
        self.hit.live(book(1, "snapshot") if topic == BOOK else b"")
        self.other.live(book(1, "snapshot"))
        self.marks = [Judged(stream.ledger, stream.ledger.mark()) for stream in (self.hit, self.other)]
        self.struck_ns = self.hit.now_ns

    def fall(self, told_after_s: float = 0.5, whole_after_s: float = 1.0, **hole: Any) -> None:
        """Lose the connection and get it back."""
        at = self.struck_ns
        window = {"blind_from_ns": at, "blind_to_ns": at + int(whole_after_s * S)} | hole
        self.hit.now_ns = at + int(told_after_s * S)
        self.hit.status(wire.DOWN, reason="connection lost", blind_from_ns=window["blind_from_ns"])
        self.hit.status(wire.SUBSCRIBING, blind_from_ns=window["blind_from_ns"])
        self.hit.now_ns = at + int(whole_after_s * S)
        self.hit.status(wire.LIVE, **window)

    def judge(self, expectation: Expectation, seen: Seen | None = None, **more: Any) -> Result:
        """Judge, with a seen end as late as the hit topic's last word unless said otherwise."""
        seen = seen or Seen(whole_ns=self.hit.now_ns)
        result = Result(fault="fault", text="a fault")
        groups = {"concerned": [self.marks[0]], "others": [self.marks[1]]} | more
        return judge(result, expectation, self.struck_ns, seen, **groups)


def broken(result: Result) -> list[str]:
    return [finding.promise for finding in result.broken]


def test_a_promise_that_is_kept_is_kept() -> None:
    """With its times and counts."""
    scene = Scene()
    scene.hit.send(trade("a"), kind=wire.UPDATE)
    scene.hit.lose(trade("b"))
    scene.fall(told_after_s=0.5, whole_after_s=2.0)
    scene.hit.send(trade("c"), kind=wire.UPDATE)
    scene.hit.settle()
    result = scene.judge(DOWN, Seen(whole_ns=scene.struck_ns + 2 * S))
    assert (broken(result), result.is_kept) == ([], True)
    assert (result.detected_after_s, result.recovered_after_s, result.blind_s) == (0.5, 2.0, 2.0)
    assert (result.missed, result.gone, result.repeated, result.disordered) == (1, 1, 0, 0)


def test_what_was_before_the_fault_is_not_blamed_on_it() -> None:
    """Findings and counts begin with the mark."""
    scene = Scene()
    scene.hit.send(trade("a"), kind=wire.UPDATE)
    scene.hit.lose(trade("b"))
    scene.hit.send(trade("c"), kind=wire.UPDATE)
    scene.hit.pass_on(trade("b"), wire.UPDATE)
    scene.hit.pass_on(trade("c"), wire.UPDATE)
    scene.hit.settle()
    assert scene.hit.broken == [promises.REPEATED, promises.LOST, promises.ORDER, promises.ORDER]
    scene.marks[0] = Judged(scene.hit.ledger, scene.hit.ledger.mark())
    scene.fall()
    result = scene.judge(DOWN)
    assert broken(result) == []
    assert (result.missed, result.gone, result.repeated, result.disordered) == (0, 0, 0, 0)


@pytest.mark.parametrize("group", ["concerned", "jolted", "others"])
def test_a_finding_breaks_the_promise_wherever_it_is(group: str) -> None:
    """Of those concerned, of those who suffer with them, of all others."""
    scene = Scene()
    scene.fall()
    scene.other.sequence += 1
    scene.other.send(book(2))
    groups: dict[str, Any] = {"concerned": [scene.marks[0]], "jolted": [], "others": []}
    result = scene.judge(DOWN, **groups | {group: [*groups[group], scene.marks[1]]})
    assert promises.SEQUENCE in broken(result)


def test_what_concerns_no_subject_breaks_a_promise_too() -> None:
    """A missing heartbeat, a record that nobody configured."""
    scene = Scene()
    scene.fall()
    seen = Seen(whole_ns=scene.hit.now_ns, further=[Finding(promises.BEATS, "silent")])
    assert broken(scene.judge(DOWN, seen)) == [promises.BEATS]


def test_a_state_that_is_not_told_is_found() -> None:
    """Nobody said `down`."""
    result = Scene().judge(DOWN)
    assert broken(result) == [promises.TOLD]
    assert result.detected_after_s is None
    assert result.broken[0].evidence == f"linear.{TRADES} was told nothing, not down"


def test_states_told_in_another_order_are_found() -> None:
    """`down` and then `stale` is not `stale` and then `down`."""
    scene = Scene()
    scene.fall()
    scene.hit.status(wire.STALE)
    scene.hit.status(wire.LIVE, blind_from_ns=1, blind_to_ns=2)
    expectation = Expectation(("stale", "down"))
    result = scene.judge(expectation)
    assert promises.TOLD in broken(result)
    assert result.broken[0].evidence == f"linear.{TRADES} was told down, subscribing, live, stale, live, not down"


@pytest.mark.parametrize(("reason", "kept"), [("connection", True), ("HTTP 502", False)])
def test_the_reason_must_be_told(reason: str, kept: bool) -> None:
    """In the words promised."""
    scene = Scene()
    scene.fall()
    result = scene.judge(Expectation(("down",), reason=reason))
    assert broken(result) == ([] if kept else [promises.TOLD])


def test_being_told_too_late_is_found() -> None:
    """By the time promised."""
    scene = Scene()
    scene.fall(told_after_s=1.5, whole_after_s=2.0)
    result = scene.judge(DOWN)
    assert broken(result) == [promises.IN_TIME]
    assert result.broken[0].evidence == "after 1.50 s instead of 1.00 s"


def test_being_whole_too_late_is_found() -> None:
    """By the time promised."""
    scene = Scene()
    scene.fall(whole_after_s=3.5)
    assert broken(scene.judge(DOWN)) == [promises.WHOLE_IN_TIME]


def test_never_being_whole_is_found() -> None:
    """And who is not is named."""
    scene = Scene()
    scene.hit.status(wire.DOWN)
    result = scene.judge(DOWN, Seen())
    assert broken(result) == [promises.WHOLE]
    assert result.broken[0].evidence == f"linear.{TRADES} is down"


def test_a_missing_connection_is_found() -> None:
    """Though every topic is live: the second line has not come back."""
    result = Scene().judge(Expectation(ends_connection=True), Seen())
    assert [finding.evidence for finding in result.broken] == ["connections are missing"]


def test_a_line_that_is_mended_has_its_time() -> None:
    """Nobody was told of it, and it was promised all the same."""
    scene = Scene()
    result = scene.judge(Expectation(ends_connection=True, whole_within_s=3), Seen(whole_ns=scene.struck_ns + 2 * S))
    assert (broken(result), result.recovered_after_s, result.detected_after_s) == ([], 2.0, None)


def test_a_fault_that_is_noticed_and_should_not_be_is_found() -> None:
    """With two lines, or a frame of garbage."""
    scene = Scene()
    scene.fall()
    assert promises.NOTHING in broken(scene.judge(Expectation()))


def test_a_hole_that_is_told_while_live_is_noticed() -> None:
    """`live` again with a new blind time is a word of a loss."""
    scene = Scene()
    scene.hit.status(wire.LIVE, blind_from_ns=1, blind_to_ns=2)
    assert broken(scene.judge(Expectation())) == [promises.NOTHING]


def test_a_change_of_line_may_announce_a_hole_of_what_has_no_ids() -> None:
    """Two lines' liquidations cannot be told apart; what another topic's fault does to them is another matter."""
    scene = Scene("allLiquidation.BTCUSDT")
    scene.hit.status(wire.LIVE, blind_from_ns=1, blind_to_ns=2)
    assert broken(scene.judge(Expectation())) == []
    assert broken(scene.judge(Expectation(), concerned=[], others=[scene.marks[0]])) == [promises.UNTOUCHED]


def test_being_live_again_without_a_hole_is_nothing() -> None:
    """A reason may change."""
    scene = Scene()
    scene.hit.status(wire.LIVE, reason="hot standby")
    assert broken(scene.judge(Expectation())) == []


def test_another_topic_that_is_touched_is_found() -> None:
    """It shares nothing with the one that was hit."""
    scene = Scene()
    scene.fall()
    scene.other.status(wire.STALE)
    assert broken(scene.judge(DOWN)) == [promises.UNTOUCHED]


def test_who_shares_the_connection_may_suffer_with_it() -> None:
    """That is no touch of others."""
    scene = Scene()
    scene.other.status(wire.DOWN)
    scene.other.status(wire.LIVE)
    result = scene.judge(Expectation(), concerned=[], jolted=[scene.marks[1]], others=[])
    assert broken(result) == []


def test_a_worker_that_nobody_sees_gone_is_found() -> None:
    """And subjects that no other worker takes over."""
    scene = Scene()
    result = scene.judge(Expectation(new_epoch=True))
    assert broken(result) == [promises.TOLD, promises.TOLD]


def test_a_worker_that_is_replaced_is_kept() -> None:
    """It is seen gone, and every subject has a new epoch."""
    scene = Scene(BOOK)
    scene.hit.epoch, scene.hit.sequence = 8, 0
    scene.hit.later(1)
    scene.hit.live(book(5, "snapshot"))
    seen = Seen(told_ns=scene.struck_ns + S // 10, whole_ns=scene.hit.now_ns)
    result = scene.judge(Expectation(new_epoch=True, ends_connection=True, told_within_s=0.2), seen)
    assert (broken(result), result.detected_after_s, result.recovered_after_s) == ([], 0.1, 1.0)


@pytest.mark.parametrize(
    "hole", [{"blind_from_ns": None}, {"blind_to_ns": None}, {"blind_from_ns": 9 * S, "blind_to_ns": 1}]
)
def test_events_that_come_back_without_a_word_on_the_blind_time_are_found(hole: dict[str, int | None]) -> None:
    """No beginning, no end, or an end before the beginning."""
    scene = Scene()
    at = scene.struck_ns
    scene.hit.later(0.1)
    scene.hit.status(wire.DOWN)
    window = {"blind_from_ns": at, "blind_to_ns": at + S} | hole
    scene.hit.status(wire.LIVE, **{name: value for name, value in window.items() if value is not None})
    assert broken(scene.judge(DOWN)) == [promises.BLIND]


def test_what_is_not_counted_is_found() -> None:
    """Nothing is dropped silently."""
    result = Scene().judge(Expectation(counter="gaps"), Seen(whole_ns=1, counted=False))
    assert [finding.evidence for finding in result.broken] == ["gaps did not grow"]


def test_what_is_not_passed_on_is_found() -> None:
    """A snapshot out of turn, a field that the venue never had."""
    assert broken(Scene().judge(Expectation(passed="snapshot"), Seen(whole_ns=1, passed=False))) == [promises.PASSED]


def test_each_promise_is_said_once() -> None:
    """With some of what shows it."""
    findings = [Finding(promise, str(number)) for promise, count in (("a", 5), ("b", 3)) for number in range(count)]
    assert in_words(findings) == ["a (0; 1; 2; and 2 more)", "b (0; 1; 2)"]
