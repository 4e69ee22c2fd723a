"""Trades over several lines: each once, in the venue's order, and no hole that is not told."""

import pytest
from support.lane import message, status
from support.pair import TRADES, Pair, ids, trades

from feedhandler import wire
from feedhandler.worker.race import HELD_LIMIT, HOLD_NS
from feedhandler.worker.trade_race import RECENT_IDS, RECENT_S, TradeRace


def start(*, lines: int = 2) -> Pair:
    """Every line in step, by the trade "first"."""
    return Pair(TRADES, lines=lines).start()


# In step.


def test_each_trade_is_published_once() -> None:
    """As sent, by whichever line is first."""
    pair = start()
    for line, payload in ((0, trades("a")), (1, trades("a")), (1, trades("b", "c")), (0, trades("b", "c"))):
        pair.come(line, payload)
    assert pair.data() == [trades("a"), trades("b", "c")]


def test_a_message_partly_known_is_rebuilt_and_flagged() -> None:
    """Its unseen trades only, everything else as the venue wrote it."""
    pair = start()
    pair.come(0, trades("a", "b"))
    pair.come(1, trades("b", "c", "d"))
    records = pair.take()
    assert records[1].payload == trades("c", "d")
    assert [record.flags for record in records] == [0, wire.COMPOSED]
    assert [record.kind for record in records] == [wire.UPDATE] * 2
    assert pair.feed.counters["rebuilt"] == 1


def test_ids_are_remembered_long_enough_and_not_for_ever() -> None:
    """At least the last 10,000; at most twice as many."""
    pair = start()
    for number in range(2 * RECENT_IDS):
        pair.come(0, trades(str(number)))
    pair.take()
    pair.come(1, trades(str(RECENT_IDS)))
    assert pair.take() == []
    pair.come(1, trades("5"))
    assert len(pair.take()) == 1


def test_a_second_copy_of_an_old_id_says_nothing_of_the_lag() -> None:
    """It is known to be old, and no longer when it came."""
    pair = start()
    pair.come(0, trades("a"))
    for number in range(RECENT_IDS):
        pair.come(0, trades(str(number)))
    lags = pair.lanes[1].lags
    pair.come(1, trades("a"))
    assert pair.lanes[1].lags == lags


def test_trades_without_ids_are_known_by_their_text() -> None:
    """Counted as the venue's fault; published once all the same."""
    pair = start()
    strange = [
        message(TRADES, "snapshot", [{"T": 2, "p": "1"}]),
        message(TRADES, "snapshot", []),
        message(TRADES, "snapshot", {"i": "x"}),
        message(TRADES, "snapshot", [5]),
    ]
    for payload in strange:
        pair.come(0, payload)
        pair.come(1, payload)
    assert pair.data() == strange
    assert pair.feed.counters["unparsed"] == 8


def test_ids_of_a_quiet_symbol_are_not_kept_for_days() -> None:
    """Hundreds of quiet symbols would fill the memory; a line so late was given up as mute long before."""
    pair = start()
    pair.come(0, trades("a"))
    pair.tick(RECENT_S - 5)
    pair.come(1, trades("a"))
    assert pair.data() == [trades("a")]
    pair.tick(2 * RECENT_S + 5)
    race = pair.race(TRADES)
    assert isinstance(race, TradeRace)
    assert not race.remembers("a")


@pytest.mark.parametrize("step_s", [0, 5, -5])
def test_a_set_clock_proves_nothing(step_s: int) -> None:
    """10 ms together are too little to know that nothing is missing, whatever the clock says of them."""
    pair = Pair(TRADES)
    pair.join(0, trades("a", time_ms=1))
    pair.wait(30)
    pair.come(0, trades("b", time_ms=2))
    pair.open(1)
    pair.acknowledge(1)
    pair.wait(0.01)
    pair.feed.tick(pair.now_ns, pair.now_s)
    pair.now_ns += step_s * 1_000_000_000
    pair.feed.tick(pair.now_ns, pair.now_s)
    pair.come(0, trades("c", time_ms=3))
    pair.take()
    pair.close(0)
    pair.wait(0.2)
    pair.come(1, trades("e", time_ms=5))
    assert pair.feed.counters["unproven"] == 1


# Lines that join.


def test_a_line_that_joins_ahead_waits_until_a_trade_turns_up_on_both() -> None:
    """Then it goes on, in order."""
    pair = start()
    pair.close(1)
    pair.join(1, trades("d", time_ms=4), trades("e", time_ms=5))
    assert pair.take() == []
    for one in "bcd":
        pair.come(0, trades(one, time_ms=2))
    assert ids(pair.data()) == ["b", "c", "d", "e"]
    assert not pair.race(TRADES).copies[1].due_s
    pair.tick()
    assert not pair.lines.pending


def test_a_line_that_joins_behind_is_in_step_with_its_first_known_trade() -> None:
    """What it brings is old until it is new."""
    pair = start()
    for one in "bcd":
        pair.come(0, trades(one))
    pair.close(1)
    pair.take()
    pair.join(1, trades("c"), trades("d"), trades("e"))
    assert ids(pair.data()) == ["e"]


def test_a_line_whose_trades_turn_up_nowhere_goes_on_after_a_second() -> None:
    """And the status says that some may be missing before them."""
    pair = start()
    pair.close(1)
    pair.join(1)
    pair.wait(0.2)
    pair.come(1, trades("x", time_ms=5))
    pair.tick(1.2)
    records = pair.take()
    told = status(records[0])
    assert (told.state, told.lost, told.recoverable) == ("live", None, False)
    assert told.reason == "trades may be missing: line 1 goes on alone"
    assert told.blind_from_ns is not None
    assert told.blind_from_ns <= told.blind_to_ns  # type: ignore[operator]  # both stand in it
    assert ids([record.payload for record in records[1:]]) == ["x"]
    # What the other line brings too late is not told out of order.
    pair.come(0, trades("w", time_ms=4))
    assert pair.take() == []
    pair.come(0, trades("x", time_ms=5))
    pair.come(0, trades("y", time_ms=6))
    assert ids(pair.data()) == ["y"]


def test_a_line_that_had_been_subscribed_for_long_misses_nothing() -> None:
    """A trade that only one line brings: the other one is late, and there is no hole to tell of."""
    pair = start()
    pair.close(1)
    pair.join(1)
    pair.tick(5)
    pair.come(1, trades("x"))
    pair.tick(1.2)
    assert [record.kind for record in pair.take()] == [wire.UPDATE]


def test_too_many_waiting_messages_go_out() -> None:
    """Memory is bounded."""
    pair = start()
    pair.close(1)
    pair.join(1)
    for number in range(HELD_LIMIT + 1):
        pair.come(1, trades(f"x{number}"))
    assert len(pair.data()) == HELD_LIMIT + 1


def test_a_line_lost_while_its_trades_wait_takes_them_with_it() -> None:
    """The other line carries on and brings them itself; what was dropped is counted."""
    pair = start()
    pair.close(1)
    pair.join(1, trades("x"))
    pair.close(1)
    pair.tick(2)
    assert pair.take() == []
    assert pair.feed.counters["held_back"] == 1


def test_three_lines_join_each_by_its_own_proof() -> None:
    """One that is released may bring what proves the next."""
    pair = start(lines=3)
    pair.close(1)
    pair.close(2)
    pair.join(1, trades("b"), trades("c"))
    pair.join(2, trades("c"), trades("d"))
    assert pair.take() == []
    pair.come(0, trades("b"))
    assert ids(pair.data()) == ["b", "c", "d"]


# Lines that are lost.


def test_a_line_in_step_goes_on_without_a_word() -> None:
    """Both brought the same trades: nothing is missing when one of them goes."""
    pair = start()
    pair.close(0)
    pair.come(1, trades("b"))
    assert [record.kind for record in pair.take()] == [wire.UPDATE]


def test_a_line_not_yet_in_step_goes_on_and_says_so() -> None:
    """The other one is lost before both have brought a trade: some may be missing between."""
    pair = start()
    pair.close(1)
    pair.wait(0.5)
    pair.join(1)
    pair.wait(0.2)
    pair.come(1, trades("x", time_ms=3))
    pair.close(0)
    records = pair.take()
    assert status(records[0]).reason == "trades may be missing: line 1 goes on alone"
    assert status(records[0]).lines_up == 1
    assert ids([record.payload for record in records[1:]]) == ["x"]


def test_a_line_not_yet_acknowledged_goes_on_from_its_first_trade() -> None:
    """Data may come before the acknowledgement (dossier 3.5)."""
    pair = start()
    pair.close(1)
    pair.open(1)
    pair.come(1, trades("x"))
    pair.close(0)
    assert [record.kind for record in pair.take()] == [wire.STATUS, wire.UPDATE]


def test_two_lines_subscribed_for_a_time_without_a_trade_have_missed_none() -> None:
    """A quiet market is no hole."""
    pair = start()
    pair.close(1)
    pair.join(1)
    pair.wait(2 * HOLD_NS / 1e9)
    pair.lanes[0].last_ns = pair.now_ns  # other topics came
    pair.come(1, trades("x"))
    pair.close(0)
    assert [record.kind for record in pair.take()] == [wire.UPDATE]
    pair.come(1, trades("y"))
    assert ids(pair.data()) == ["y"]


def test_a_line_that_starts_after_an_outage_tells_no_old_trades() -> None:
    """A late line begins with what was published before, or lost within a hole that was told."""
    pair = start()
    pair.come(0, trades("b", time_ms=10))
    pair.close(1)
    pair.close(0)
    pair.join(1, trades("a", time_ms=9), trades("b", "c", time_ms=10))
    records = pair.take()
    assert ids([record.payload for record in records if record.kind == wire.UPDATE]) == ["b", "c"]
    assert records[-1].flags == wire.COMPOSED
    assert pair.feed.counters["held_back"] == 1


def test_trades_of_before_the_stream_began_are_left_out_of_a_message() -> None:
    """Those that were told to be lost, and those that were published, stay so."""
    pair = Pair(TRADES)
    pair.join(0, trades("d", time_ms=10))
    pair.open(1)
    rows = [{"T": 8, "i": "b"}, {"T": 9, "i": "c"}, {"T": 10, "i": "d"}, {"T": 11, "i": "e"}]
    pair.come(1, message(TRADES, "snapshot", rows))
    assert ids(pair.data()) == ["d", "e"]


def test_data_before_the_acknowledgement_brings_the_topic_up() -> None:
    """It is meant: the request is out. Without a request it is not."""
    pair = Pair(TRADES)
    pair.lanes[0].opened(pair.now_ns)
    pair.take()
    pair.come(0, trades("a"))
    assert pair.take() == []
    pair.lanes[0].asked([TRADES])
    pair.come(0, trades("a"))
    assert [record.kind for record in pair.take()] == [wire.STATUS, wire.UPDATE]


def test_a_stale_topic_comes_back_with_any_lines_trade() -> None:
    """Also by one that is not in step, when nobody else carries it."""
    pair = start()
    pair.wait(7)
    pair.lanes[1].mute(pair.now_ns)
    pair.lanes[0].mute(pair.now_ns)
    assert pair.states() == [("stale", "mute: nothing came on its connection for 7.0 s")]
    pair.close(0)
    pair.close(1)
    pair.take()
    pair.join(0)
    assert pair.states() == [("subscribing", "connected"), ("live", "")]
    pair.feed.enter(pair.feed.routes[TRADES], wire.STALE, "silent", pair.now_ns)
    pair.take()
    pair.come(0, trades("q", time_ms=3))
    assert pair.states() == [("live", "")]


def test_a_line_that_joins_a_stale_topic_unproven_brings_it_back() -> None:
    """Nothing came on the other line in time."""
    pair = start()
    pair.close(1)
    pair.feed.enter(pair.feed.routes[TRADES], wire.STALE, "silent", pair.now_ns)
    pair.lanes[1].opened(pair.now_ns)
    pair.lanes[1].asked([TRADES])
    pair.take()
    pair.come(1, trades("x"))
    pair.tick(1.2)
    records = pair.take()
    assert [record.kind for record in records] == [wire.STATUS, wire.STATUS, wire.UPDATE]
    assert pair.state(TRADES) == wire.LIVE


def test_messages_without_times_are_never_early() -> None:
    """A trade that has no time may be new."""
    pair = start()
    pair.close(1)
    odd = message(TRADES, "snapshot", {"i": "x"})
    pair.join(1, odd)
    pair.close(0)
    assert pair.data() == [odd]
