"""Several lines and one stream: what strategies see of the lines, and what they do not."""

import itertools
from typing import Any

import msgspec
import pytest
from support.lane import S, check_sequences, delta, message, status, ticker, trade
from support.pair import BOOK, EVENTS, KLINE, LEVEL_1, TICKER, TRADES, Pair, snap, trades, update

from feedhandler import wire
from feedhandler.worker.race import DEAD_QUIET_S, DEAD_RECORDS, DEAD_S

ALL = (BOOK, TICKER, TRADES, KLINE, EVENTS)


def last_status(pair: Pair, topic: str) -> wire.Status:
    return msgspec.json.decode(pair.feed.routes[topic].status, type=wire.Status)


# The lines of a topic.


def test_a_topic_is_carried_on_every_line() -> None:
    """Taking a topic up through one lane takes it up on all, and its status counts them."""
    pair = Pair(*ALL)
    assert all(set(lane.routes) == set(lane.copies) == set(ALL) for lane in pair.lanes)
    assert all(lane.routes[BOOK] is pair.feed.routes[BOOK] for lane in pair.lanes)
    assert [status(record).lines for record in pair.take()] == [2] * len(ALL)


def test_a_topic_is_released_on_every_line() -> None:
    """After a release a late frame is nobody's."""
    pair = Pair(BOOK, TRADES).start()
    pair.feed.release(pair.lanes[0], [BOOK], "no longer assigned", pair.now_ns)
    assert pair.states() == [("ended", "no longer assigned")]
    for line in (0, 1):
        assert pair.come(line, delta(BOOK, 101))
        assert list(pair.lanes[line].copies) == list(pair.lanes[line].routes) == [TRADES]
    assert pair.feed.counters["unexpected"] == 2
    assert pair.take() == []


def test_the_first_line_to_subscribe_brings_the_topics_up() -> None:
    """The second line is not heard of."""
    pair = Pair(BOOK, TRADES)
    pair.take()
    pair.join(0, snap(100, 1000))
    assert pair.states() == [("live", ""), ("live", "")]
    pair.join(1, snap(100, 1000))
    assert pair.take() == []


def test_repeats_say_how_many_lines_are_up() -> None:
    """No new status when a line comes or goes, but each repeat says how many there are."""
    pair = Pair(*ALL).start()
    for up in (1, 2):
        if up == 1:
            pair.close(1)
        else:
            pair.join(1)
        assert pair.states() == []
        assert [last_status(pair, topic).lines_up for topic in ALL] == [up] * len(ALL)


def test_one_line_lost_is_not_seen_by_anybody() -> None:
    """Either line may go: no status, no record, and the other one's next records follow at once."""
    for lost in (0, 1):
        pair = Pair(*ALL).start()
        pair.close(lost)
        assert pair.take() == []
        pair.come(1 - lost, delta(BOOK, 101))
        pair.come(1 - lost, ticker(TICKER, "delta", lastPrice="2"))
        pair.come(1 - lost, trades("b"))
        records = pair.take()
        assert [record.kind for record in records] == [wire.DELTA, wire.DELTA, wire.UPDATE]
        assert {record.line for record in records} == {1 - lost}


def test_both_lines_lost_is_down_once_and_live_again_with_a_snapshot() -> None:
    """Down with the last line's reason; subscribing with the first connection, live with its snapshot."""
    pair = Pair(BOOK).start()
    pair.wait(1)
    pair.come(0, delta(BOOK, 101))
    pair.close(1, "first")
    pair.take()
    pair.close(0, "second")
    pair.close(1, "second")
    assert pair.states() == [("down", "second")]
    assert last_status(pair, BOOK).blind_from_ns == pair.now_ns
    pair.open(1)
    assert pair.states() == [("subscribing", "connected")]
    pair.open(0)
    pair.come(0, snap(200, 2000))
    records = pair.take()
    assert [record.kind for record in records] == [wire.STATUS, wire.SNAPSHOT]
    assert status(records[0]).lines_up == 2


def test_the_only_carrying_line_lost_while_another_subscribes_is_told() -> None:
    """Nobody carries the topic for a moment: that is down, and subscribing on the other line."""
    pair = Pair(BOOK)
    pair.join(0, snap(100, 1000))
    pair.open(1)
    pair.take()
    pair.close(0)
    assert pair.states() == [("down", "connection lost"), ("subscribing", "line 1 is subscribing")]
    pair.come(1, snap(101, 1010))
    assert pair.states() == [("live", "")]


def test_a_failed_attempt_of_one_line_is_not_heard_of_while_another_subscribes() -> None:
    """A line that cannot connect says nothing about topics that another one is asking for."""
    pair = Pair(BOOK)
    pair.open(0)
    pair.take()
    pair.close(1, "cannot connect")
    assert pair.states() == []
    assert pair.state(BOOK) == wire.SUBSCRIBING


# Refusals.


def test_a_topic_is_rejected_when_every_line_that_is_up_is_refused_it() -> None:
    """One refusal is that line's affair; the last one is the topic's, until a line is accepted."""
    pair = Pair(BOOK)
    pair.open(0)
    pair.open(1)
    pair.take()
    pair.lanes[0].refused(BOOK, "no", pair.now_ns)
    assert pair.states() == []
    pair.lanes[1].refused(BOOK, "no, too", pair.now_ns)
    assert pair.states() == [("rejected", "no")]
    pair.acknowledge(1)
    assert pair.states() == [("subscribing", "accepted at last")]


def test_data_of_a_rejected_topic_says_that_it_is_accepted() -> None:
    """Data may come before the acknowledgement (dossier 3.5)."""
    pair = Pair(BOOK)
    pair.open(0)
    pair.lanes[0].refused(BOOK, "no", pair.now_ns)
    pair.lanes[0].asked([BOOK])
    pair.take()
    pair.come(0, snap(100, 1000))
    assert pair.states() == [("subscribing", "accepted at last"), ("live", "")]


def test_a_refusal_on_one_line_does_not_touch_what_another_carries() -> None:
    """The topic stays live, and is not asked for again on the line that refuses it."""
    pair = Pair(BOOK)
    pair.join(0, snap(100, 1000))
    pair.open(1)
    pair.take()
    pair.lanes[1].refused(BOOK, "no", pair.now_ns)
    assert pair.states() == []
    assert not pair.copy(1, BOOK).usable
    pair.close(0)
    assert pair.states() == [("rejected", "no")]


def test_a_refused_topic_stays_rejected_while_its_lines_come_and_go() -> None:
    """A connection lost says nothing new of a topic that the venue refuses."""
    pair = Pair(BOOK)
    pair.open(0)
    pair.lanes[0].refused(BOOK, "no", pair.now_ns)
    pair.take()
    pair.close(0)
    assert pair.states() == []
    assert pair.state(BOOK) == wire.REJECTED


def test_a_refused_topic_is_rejected_again_when_only_the_refusing_line_is_up() -> None:
    """Down for want of a line; when the line that refuses it connects, that is what there is to say."""
    pair = Pair(BOOK)
    pair.open(0)
    pair.open(1)
    pair.lanes[1].refused(BOOK, "no", pair.now_ns)
    pair.close(1)
    pair.close(0)
    pair.take()
    pair.lanes[1].opened(pair.now_ns)
    assert pair.states() == [("subscribing", "connected"), ("rejected", "no")]


def test_a_canary_is_refused_and_acknowledged_on_its_own_line() -> None:
    """What is not published is no race."""
    pair = Pair(BOOK, canary=LEVEL_1).start()
    pair.lanes[0].asked([LEVEL_1])
    pair.lanes[0].acknowledged([LEVEL_1], pair.now_ns)
    pair.lanes[1].refused(LEVEL_1, "no", pair.now_ns)
    pair.wait(60)
    assert not pair.lanes[1].is_mute(pair.now_ns)
    assert pair.come(0, message(LEVEL_1, "snapshot", {"u": 1}))
    assert pair.take() == []


def test_copies_that_come_later_on_one_line_are_not_missing_on_the_other() -> None:
    """A look may fall between the copies of one record, and of the next: nobody is dead for that."""
    pair = Pair(BOOK, KLINE).start()
    for number in range(20):
        one, other = (0, 1) if number % 2 else (1, 0)
        pair.come(one, delta(BOOK, 101 + number))
        pair.come(one, message(KLINE, "snapshot", [{"start": number}]))
        pair.tick(1)  # every topic is looked at once
        pair.come(other, delta(BOOK, 101 + number))
        pair.come(other, message(KLINE, "snapshot", [{"start": number}]))
        pair.tick(60)
        assert pair.due(0) == pair.due(1) == []
    assert pair.lines.news == []


# Mute lines.


def test_a_mute_line_is_not_heard_of_while_another_carries() -> None:
    """The connection is given up; strategies see nothing."""
    pair = Pair(*ALL).start()
    pair.wait(7)
    assert pair.lanes[0].mute(pair.now_ns).startswith("mute: nothing came on its connection for 7")
    assert pair.states() == []
    pair.close(0)
    assert pair.states() == []


def test_both_lines_mute_is_stale() -> None:
    """When the last line is found mute, its silence is nobody's quiet market."""
    pair = Pair(*ALL).start()
    pair.wait(7)
    pair.lanes[0].mute(pair.now_ns)
    assert pair.states() == []
    pair.lanes[1].mute(pair.now_ns)
    assert {state for state, _ in pair.states()} == {"stale"}
    pair.close(0)
    pair.close(1)
    assert {state for state, _ in pair.states()} == {"subscribing", "down"}
    assert {pair.state(topic) for topic in ALL} == {wire.DOWN}


def test_a_mute_line_with_a_topic_that_is_not_live_says_nothing() -> None:
    """What is down, or not yet up, cannot fall silent."""
    pair = Pair(BOOK)
    pair.open(0)
    pair.take()
    pair.lanes[0].mute(pair.now_ns)
    assert pair.states() == []


# Subscriptions that are dead on one line.


@pytest.mark.parametrize(
    ("records", "seconds", "dead"),
    [
        (3 * DEAD_RECORDS, DEAD_S + 8, True),
        (DEAD_RECORDS - 5, DEAD_S + 8, False),
        (4, DEAD_QUIET_S + 8, True),
        (1, DEAD_QUIET_S + 8, False),
    ],
)
def test_a_copy_that_brings_nothing_is_subscribed_anew_on_its_line_alone(
    records: int, seconds: float, dead: bool
) -> None:
    """More than 20 records or 10 s of data on the other line, none here: resubscribed, counted, not told to anybody."""
    pair = Pair(BOOK, KLINE).start()
    pair.take()
    for number in range(records):
        pair.come(0, delta(BOOK, 101 + number))
        pair.tick(seconds / records)
        pair.come(0, message(KLINE, "snapshot", [{"start": number}]))
        pair.come(1, message(KLINE, "snapshot", [{"start": number}]))  # the line itself is lively
    assert pair.due(0) == []
    assert pair.due(1) == ([BOOK] if dead else [])
    assert pair.due(1) == []
    assert pair.feed.counters["line_resyncs"] == dead
    assert len(pair.lines.news) == dead
    assert pair.states() == []


def test_a_copy_on_a_stalled_line_is_not_taken_for_dead_so_soon() -> None:
    """Nothing at all comes on the line: its connection is late or mute, and its subscriptions are not the fault."""
    pair = Pair(BOOK, KLINE).start()
    for number in range(DEAD_RECORDS + 20):
        pair.come(0, delta(BOOK, 101 + number))
        pair.tick(0.1)
    assert pair.due(1) == []


def test_a_copy_is_given_more_time_after_each_resubscription() -> None:
    """A subscription that is acknowledged and still dead must not be asked for again every two seconds."""
    pair = Pair(BOOK, KLINE).start()
    asked_at = []
    update_id = 100
    for number in range(600):
        update_id += 1
        pair.come(0, delta(BOOK, update_id))
        pair.come(0, message(KLINE, "snapshot", [{"start": number}]))
        pair.tick(0.05)
        pair.come(1, message(KLINE, "snapshot", [{"start": number}]))
        if pair.due(1):
            asked_at.append(pair.now_s)
            pair.lanes[1].asked([BOOK])
            pair.lanes[1].acknowledged([BOOK], pair.now_ns)
    pauses = [after - before for before, after in itertools.pairwise(asked_at)]
    assert len(pauses) >= 2
    assert pauses[1] > 1.5 * pauses[0]


def test_silence_while_we_did_not_run_is_nobodys() -> None:
    """Where the silence may be our own, no copy is judged by it and nothing that waits is given up."""
    pair = Pair(BOOK, KLINE).start()
    for number in range(DEAD_RECORDS + 5):
        pair.come(0, delta(BOOK, 101 + number))
    pair.come(1, delta(BOOK, 200))
    pair.tick(30, judge=False)
    assert pair.states() == []
    pair.tick()
    assert pair.states() == [("resyncing", "gap: u 125 was followed by u 200")]
    assert pair.feed.counters["line_resyncs"] == 0


def test_a_dead_copy_is_left_alone_while_it_is_the_only_one() -> None:
    """A subscription that may be dead is better than none."""
    pair = Pair(BOOK).start()
    pair.copy(1, BOOK).due_s = pair.now_s
    pair.close(0)
    assert pair.due(1) == []
    pair.join(0, snap(100, 1000))
    assert pair.due(1) == [BOOK]


def test_a_topic_that_is_not_live_is_not_judged() -> None:
    """While a topic resyncs its copies are not compared."""
    pair = Pair(BOOK)
    pair.open(0)
    pair.tick(3)
    assert pair.feed.counters["line_resyncs"] == 0


# Which line is asked for a new snapshot.


def test_a_snapshot_asked_for_in_vain_is_asked_for_on_the_other_line() -> None:
    """First the line that is ahead; each time it does not come, the next one."""
    pair = Pair(BOOK).start()
    pair.come(1, delta(BOOK, 105))
    pair.tick(1.2)
    asked = []
    for _ in range(4):
        for line in (0, 1):
            if pair.due(line):
                asked.append(line)
                pair.lanes[line].asked([BOOK])
        for _ in range(60):
            pair.wait(0.25)
            pair.feed.tick(pair.now_ns, pair.now_s)
            if pair.feed.routes[BOOK].due_s is not None:
                break
        pair.wait(11)
    assert asked == [1, 0, 1, 0]


def test_a_snapshot_asked_for_on_a_line_that_is_lost_is_asked_for_on_another() -> None:
    """The resync does not wait for the lost line's return."""
    pair = Pair(BOOK).start()
    pair.come(1, delta(BOOK, 105))
    pair.tick(1.2)
    assert pair.due(1) == [BOOK]
    pair.close(1)
    assert pair.due(0) == [BOOK]


def test_nobody_is_asked_while_no_line_can_be() -> None:
    """A resync that is due waits for a line."""
    pair = Pair(BOOK).start()
    pair.close(1)
    pair.close(0)
    pair.feed.routes[BOOK].due_s = pair.now_s
    assert pair.due(0) == pair.due(1) == []


def test_a_suspected_topic_may_still_speak_until_it_is_subscribed_anew() -> None:
    """Silence too long is stale; a record that comes all the same brings the topic back."""
    pair = Pair(TRADES).start()
    pair.close(1)
    pair.come(0, trades("a"))
    route = pair.feed.routes[TRADES]
    pair.feed.enter(route, wire.STALE, "silent", pair.now_ns)
    route.due_s = pair.now_s
    assert pair.due(0) == [TRADES]
    pair.take()
    pair.come(0, trades("b"))
    assert [record.kind for record in pair.take()] == [wire.STATUS, wire.UPDATE]


# Frames.


def test_what_is_no_data_is_left_to_the_connection() -> None:
    """Replies and garbage are not taken; data of unknown topics is counted."""
    pair = Pair(BOOK).start()
    assert not pair.come(0, b'{"success":true,"op":"subscribe"}')
    assert not pair.come(0, b"garbage")
    assert pair.come(0, b'{"topic":"kline.1.X","data":[1]}')
    assert pair.come(0, trade("publicTrade.X"))
    assert pair.feed.counters["unexpected"] == 2


def test_rows_that_are_no_objects_are_still_data() -> None:
    """A stream whose rows we do not understand is published as it came."""
    pair = Pair(EVENTS).start()
    payload = message(EVENTS, "snapshot", [1, {"i": 5}])
    assert pair.come(0, payload)
    assert pair.come(1, payload)
    assert pair.data() == [payload]


def test_data_says_whether_a_topic_came_on_this_connection() -> None:
    """A subscription whose acknowledgement is lost is known by its data, on its own line."""
    pair = Pair(BOOK)
    pair.open(0)
    pair.open(1)
    pair.come(0, snap(100, 1000))
    assert pair.lanes[0].has_data(BOOK)
    assert not pair.lanes[1].has_data(BOOK)
    assert not pair.lanes[0].has_data("unknown")
    pair.close(0)
    assert not pair.lanes[0].has_data(BOOK)


def test_records_say_which_line_brought_them_and_lines_how_they_do() -> None:
    """The header names the line; the facts count wins, second copies and by how much these were later."""
    pair = Pair(BOOK, TRADES).start()
    wins = [facts.wins for facts in pair.lines.facts()]
    for update_id, (winner, lag_ms) in enumerate([(0, 1), (1, 2), (0, 4)], 101):
        pair.come(winner, delta(BOOK, update_id))
        pair.wait(lag_ms / 1000)
        pair.come(1 - winner, delta(BOOK, update_id))
    pair.come(1, trades("a"))
    pair.wait(0.01)
    pair.come(0, trades("a"))
    records = pair.take()
    assert [record.line for record in records] == [0, 1, 0, 1]
    zero, one = pair.lines.facts()
    assert (zero.wins - wins[0], one.wins - wins[1]) == (2, 2)
    assert (zero.line, zero.up, one.line, one.up) == (0, True, 1, True)
    assert zero.lag_us_mean == pytest.approx(6000)
    assert one.lag_us_mean == pytest.approx((0 + 1000 + 4000) / 3)  # the first trade came on both at once
    assert one.lag_us_max == pytest.approx(4000)


def test_three_lines_race_as_two_do() -> None:
    """Two of three lines lost at once: nothing is seen."""
    pair = Pair(BOOK, TRADES, TICKER, lines=3).start()
    for line in (2, 1, 0):
        pair.come(line, delta(BOOK, 101))
        pair.come(line, trades("a"))
        pair.come(line, ticker(TICKER, "delta", lastPrice="2"))
    pair.take()
    pair.close(0)
    pair.close(2)
    assert pair.take() == []
    pair.come(1, delta(BOOK, 102))
    pair.come(1, trades("b"))
    pair.come(1, ticker(TICKER, "delta", lastPrice="3"))
    records = pair.take()
    assert [record.line for record in records] == [1, 1, 1]
    assert last_status(pair, BOOK).lines == 3


def test_a_clock_that_is_set_does_not_make_records_wait_for_ever() -> None:
    """Set back by an hour: what is held is given up as if its time were over."""
    pair = Pair(BOOK).start()
    pair.come(0, delta(BOOK, 105))
    pair.now_ns -= 3600 * S
    pair.tick()
    assert pair.states() == [("resyncing", "gap: u 100 was followed by u 105")]


def test_numbers_are_contiguous_over_lines() -> None:
    """Whichever line brings a record, it has the topic's next number."""
    pair = Pair(*ALL)
    records: list[Any] = []
    for line in (0, 1):
        pair.join(line, snap(100, 1000), ticker(TICKER, "snapshot", lastPrice="1"))
    for number in range(1, 20):
        pair.come(number % 2, update(100 + number, 1000 + number))
        pair.come(number % 2, trades(f"t{number}"))
    pair.close(0)
    pair.close(1)
    records += pair.take()
    check_sequences(records)
