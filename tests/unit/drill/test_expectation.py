"""What is promised of each fault, by the number of lines."""

import pytest

from feedhandler import wire
from feedhandler.drill import faults
from feedhandler.drill.expectation import Timing, expect
from feedhandler.drill.faults import FAULTS

SINGLE = {
    "reset": ("down",),
    "eof": ("down",),
    "close": ("down",),
    "delisted": ("rejected",),
    "refuse-502": ("down",),
    "refuse-429": ("down",),
    "hang": ("down",),
    "mute": ("stale", "down"),
    "stall": ("stale", "down"),
    "no-pong": ("down",),
    "topic-mute": ("stale",),
    "skip": ("resyncing",),
    "duplicate": (),
    "reorder": ("resyncing",),
    "restart": (),
    "restart-delta": ("resyncing",),
    "renew": (),
    "lower": (),
    "empty": (),
    "one-sided": (),
    "unknown-delete": (),
    "garbage": (),
    "unknown-topic": (),
    "extra-fields": (),
    "fragment": (),
    "split": (),
    "slow-line": (),
    "no-ack": ("down",),
    "late-ack": ("down",),
    "abort-before-ack": ("down",),
    "abort-after-ack": ("down",),
    "no-auth-answer": ("down",),
    "abort-mid-frame": ("down",),
    "worker-killed": (),
    "worker-hung": (),
    "late-joiner": (),
}


@pytest.mark.parametrize("name", FAULTS)
def test_with_one_line_it_is_told(name: str) -> None:
    """The states of the guarantee table, in order."""
    assert expect(FAULTS[name], 1, Timing()).told == SINGLE[name]


@pytest.mark.parametrize("name", FAULTS)
def test_with_two_lines_nothing_is_seen_of_a_fault_of_one(name: str) -> None:
    """What hits the venue's own publication, or the worker, is seen all the same."""
    one, two = (expect(FAULTS[name], lines, Timing()) for lines in (1, 2))
    assert two.told == (() if FAULTS[name].hits == faults.LINE else one.told)
    assert (two.ends_connection, two.new_epoch, two.passed) == (one.ends_connection, one.new_epoch, one.passed)


def test_what_a_line_does_is_counted_with_two_lines_too() -> None:
    """What strategies see is not, for they see nothing."""
    assert expect(FAULTS["reset"], 2, Timing()).counter == "reconnects"
    assert expect(FAULTS["garbage"], 2, Timing()).counter == "unparsed"
    assert expect(FAULTS["skip"], 1, Timing()).counter == "gaps"
    assert expect(FAULTS["skip"], 2, Timing()).counter == ""


def test_states_are_those_of_the_wire_format() -> None:
    """No state of the drill's own."""
    assert {state for states in SINGLE.values() for state in states} <= set(wire.STATES)


def test_the_first_retry_is_immediate_and_the_others_double() -> None:
    """Up to the cap."""
    timing = Timing(reconnect_base_s=2.0, reconnect_cap_s=5.0)
    assert [timing.retry_s(number) for number in (1, 2, 3, 4, 5)] == [0.0, 2.0, 4.0, 5.0, 5.0]


def test_each_refusal_takes_its_retry() -> None:
    """Two refused handshakes are three attempts."""
    few, many = (expect(FAULTS["refuse-502"], 1, Timing(reconnect_base_s=base_s)) for base_s in (0.5, 1.0))
    assert many.whole_within_s - few.whole_within_s == 3 * 0.5


def test_many_topics_take_longer() -> None:
    """But are told at once."""
    few, many = (expect(FAULTS["reset"], 1, Timing(topics=topics)) for topics in (0, 1000))
    assert many.whole_within_s - few.whole_within_s == 2.0
    assert many.told_within_s == few.told_within_s == 1.0


def test_a_mute_connection_is_noticed_within_8_s() -> None:
    """As promised, whatever the pings are set to."""
    assert expect(FAULTS["mute"], 1, Timing(ping_interval_s=20, pong_timeout_s=60)).told_within_s == 8.0
    assert expect(FAULTS["stall"], 1, Timing(ping_interval_s=20, pong_timeout_s=60)).told_within_s == 8.0


def test_a_stall_may_be_noticed_by_its_pongs() -> None:
    """Where they are due sooner: then there is no time to be stale."""
    assert expect(FAULTS["stall"], 1, Timing(pong_timeout_s=3)).told == ("down",)


def test_a_missing_pong_is_noticed_when_it_is_due() -> None:
    """And the reason names the configured time."""
    expected = expect(FAULTS["no-pong"], 1, Timing(ping_interval_s=1, pong_timeout_s=4))
    assert (expected.told_within_s, expected.reason) == (5.5, "no pong within 4 s")


def test_a_hanging_handshake_is_given_up_when_configured() -> None:
    """And the reason names the configured time."""
    expected = expect(FAULTS["hang"], 1, Timing(connect_timeout_s=7))
    assert expected.reason == "no connection within 7 s"
    assert 7 < expected.whole_within_s < 13


@pytest.mark.parametrize(("pause_s", "told_s"), [(0.1, 11.0), (2.5, 11.0), (5.0, 21.0)])
def test_a_silent_topic_is_noticed_by_its_own_rhythm(pause_s: float, told_s: float) -> None:
    """Four times its longest pause, and no sooner than 10 s."""
    assert expect(FAULTS["topic-mute"], 1, Timing(pause_s=pause_s)).told_within_s == told_s


def test_a_gap_shows_with_the_updates_that_follow() -> None:
    """A slow topic proves it later."""
    assert expect(FAULTS["skip"], 1, Timing(pause_s=2)).told_within_s == 7.0
