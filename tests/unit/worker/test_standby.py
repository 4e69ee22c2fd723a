"""Topics without counts and ids over several lines: one line is published, the others stand by."""

import msgspec
from support.lane import message, status, ticker
from support.pair import BOOK, EVENTS, KLINE, LEVEL_1, TICKER, Pair, at, snap, update

from feedhandler import wire
from feedhandler.bybit.products import STATUS_TOPIC
from feedhandler.worker.race import DEAD_S, HOLD_NS
from feedhandler.worker.standby import BEHIND_NS, RECENT_EVENTS, RECENT_RECORDS


def fields(payload: bytes) -> dict[str, str]:
    found: dict[str, str] = msgspec.json.decode(payload)["data"]
    return {name: value for name, value in found.items() if name != "symbol"}


def change(ts: int, **values: str) -> bytes:
    return at(ts, TICKER, {"symbol": "BTCUSDT", **values}, "delta")


def whole(ts: int, **values: str) -> bytes:
    return at(ts, TICKER, {"symbol": "BTCUSDT", **values})


def start_ticker() -> Pair:
    """Line 0 owns a ticker, line 1 stands by; both at ts 10."""
    pair = Pair(TICKER)
    pair.join(0, whole(10, a="1", b="1"))
    pair.join(1, whole(10, a="1", b="1"))
    pair.take()
    return pair


def event(ts: int) -> bytes:
    return at(ts, EVENTS, [{"v": str(ts)}])


def best(update_id: int, ts: int) -> bytes:
    """A level 1 that says the same under the same id, whenever it is sent."""
    data = {"s": "BTCUSDT", "b": [["1", "2"]], "a": [["3", "4"]], "u": update_id, "seq": update_id}
    return msgspec.json.encode({"topic": LEVEL_1, "type": "snapshot", "ts": ts, "data": data, "cts": 1})


def start_events() -> Pair:
    """Line 0 owns the liquidations, line 1 stands by; the last one had ts 10."""
    pair = Pair(EVENTS)
    for line in (0, 1):
        pair.join(line)
    for line in (0, 1):
        pair.come(line, event(10))
    pair.take()
    return pair


def told(pair: Pair) -> list[str]:
    return [reason for _, reason in pair.states()]


# A state that is merged.


def test_one_line_is_published_and_the_other_is_not() -> None:
    """The line that brought the topic up owns it."""
    pair = start_ticker()
    pair.come(1, change(11, a="2"))
    assert pair.take() == []
    pair.come(0, change(11, a="2"))
    assert pair.data() == [change(11, a="2")]


def test_a_switch_goes_on_with_the_very_next_record() -> None:
    """Both lines brought the last record published: what the other has had since follows, as sent."""
    pair = start_ticker()
    for line in (0, 1):
        pair.come(line, change(11, a="2"))
    pair.come(1, change(12, b="3"))
    pair.take()
    pair.close(0)
    pair.come(1, change(13, b="4"))
    records = pair.take()
    assert [record.payload for record in records] == [change(12, b="3"), change(13, b="4")]
    assert {(record.kind, record.flags, record.line) for record in records} == {(wire.DELTA, 0, 1)}
    assert pair.feed.counters["switches"] == 1
    pair.join(0, whole(13, a="2", b="4"))
    pair.come(0, change(14, b="5"))
    assert pair.take() == []  # no switch back


def test_a_switch_publishes_the_state_where_the_records_do_not_meet() -> None:
    """A snapshot composed of what the other line has, flagged as ours."""
    pair = start_ticker()
    pair.come(0, change(11, a="2"))
    pair.come(1, change(12, b="9"))
    pair.take()
    pair.close(0)
    (record,) = pair.take()
    assert (record.kind, record.flags, record.line) == (wire.SNAPSHOT, wire.COMPOSED, 1)
    assert fields(record.payload) == {"a": "1", "b": "9"}
    image = pair.feed.routes[TICKER].compose()
    assert image is not None
    assert fields(image) == {"a": "1", "b": "9"}


def test_a_switch_to_the_same_state_publishes_nothing() -> None:
    """Nothing is repeated."""
    pair = Pair(TICKER)
    pair.join(0, whole(10, a="1"))
    pair.join(1, whole(11, a="1"))
    pair.take()
    pair.close(0)
    assert pair.take() == []
    pair.come(1, change(12, a="2"))
    assert pair.data() == [change(12, a="2")]


def test_a_line_behind_comes_first_to_where_the_other_one_was() -> None:
    """Nothing older than what was published is told."""
    pair = start_ticker()
    for ts in (11, 12):
        pair.come(0, change(ts, a=str(ts)))
    pair.take()
    pair.close(0)
    pair.come(1, change(11, a="11"))
    assert pair.take() == []
    pair.come(1, change(12, a="12"))
    assert pair.take() == []
    pair.come(1, change(13, a="13"))
    assert pair.data() == [change(13, a="13")]


def test_a_line_behind_that_never_meets_the_other_goes_on_by_its_time() -> None:
    """Its records are spelt otherwise: once they are newer, the state is published."""
    pair = start_ticker()
    pair.come(0, change(12, a="2"))
    pair.take()
    pair.close(0)
    pair.come(1, change(11, b="x"))
    assert pair.take() == []
    pair.come(1, change(13, b="y"))
    assert [fields(payload) for payload in pair.data()] == [{"a": "1", "b": "y"}]


def test_a_line_that_stays_behind_goes_on_all_the_same() -> None:
    """The venue's clock may have been set."""
    pair = start_ticker()
    pair.come(0, change(1000, a="2"))
    pair.take()
    pair.close(0)
    pair.wait(BEHIND_NS / 1e9 + 1)
    pair.come(1, change(11, b="y"))
    assert [fields(payload) for payload in pair.data()] == [{"a": "1", "b": "y"}]


def test_a_line_without_a_snapshot_does_not_stand_by() -> None:
    """Its deltas have nothing to be merged into; when the owner is lost, the topic is down."""
    pair = Pair(TICKER)
    pair.join(0, whole(10, a="1"))
    pair.join(1)
    pair.come(1, change(11, a="2"))
    assert pair.feed.counters["held_back"] == 1
    pair.take()
    pair.close(0)
    assert [state for state, _ in pair.states()] == ["down", "subscribing"]
    pair.come(1, change(12, a="2"))
    assert pair.take() == []
    pair.come(1, whole(13, a="3"))
    assert [record.kind for record in pair.take()] == [wire.STATUS, wire.SNAPSHOT]


def test_a_long_stand_by_is_folded() -> None:
    """Only the last records are kept as they came; the state is whole all the same."""
    pair = start_ticker()
    for number in range(3 * RECENT_RECORDS):
        pair.come(1, change(11 + number, **{f"f{number}": "1"}))
    assert len(pair.lanes[1].copies[TICKER].recent) <= 2 * RECENT_RECORDS  # type: ignore[attr-defined]  # a StandbyCopy
    pair.close(0)
    (payload,) = pair.data()
    assert len(fields(payload)) == 2 + 3 * RECENT_RECORDS
    pair.come(1, whole(500, a="1"))
    assert pair.data() == [whole(500, a="1")]


def test_a_new_snapshot_replaces_what_stands_by() -> None:
    """The state begins anew with it."""
    pair = start_ticker()
    pair.come(1, whole(12, a="5"))
    pair.come(0, change(11, a="4"))
    pair.take()
    pair.close(0)
    assert [fields(payload) for payload in pair.data()] == [{"a": "5"}]


def test_records_that_make_no_state_are_asked_for_anew_on_their_line() -> None:
    """The owner goes on; the line stands by again from its next snapshot."""
    pair = start_ticker()
    for number in range(2 * RECENT_RECORDS + 1):
        pair.come(1, at(11 + number, TICKER, [1], "delta") if number == 3 else change(11 + number, a="2"))
    assert pair.feed.counters["unparsed"] == 1
    assert pair.due(1) == [TICKER]
    assert pair.states() == []


def test_a_switch_to_records_that_make_no_state_goes_on_to_the_next_line() -> None:
    """Or, where there is none, asks anew and says so."""
    pair = Pair(TICKER, lines=3)
    for line in (0, 1, 2):
        pair.join(line, whole(10, a="1"))
    pair.come(0, change(11, a="2"))
    pair.come(1, at(12, TICKER, [1], "delta"))
    pair.come(2, change(13, a="3"))
    pair.take()
    pair.close(0)
    assert [fields(payload) for payload in pair.data()] == [{"a": "3"}]
    assert pair.due(1) == [TICKER]

    pair = start_ticker()
    pair.come(0, change(11, a="2"))
    pair.come(1, at(12, TICKER, [1], "delta"))
    pair.take()
    pair.close(0)
    assert [state for state, _ in pair.states()] == ["resyncing"]
    assert pair.due(1) == [TICKER]
    pair.come(1, change(13, a="2"))
    pair.lanes[1].asked([TICKER])
    pair.come(1, whole(14, a="3"))
    assert [record.kind for record in pair.take()] == [wire.STATUS, wire.SNAPSHOT]


def test_the_first_snapshot_after_a_resync_owns_the_topic() -> None:
    """The published records made no image: whichever line brings a snapshot first goes on, and only a snapshot will do."""
    pair = start_ticker()
    pair.feed.unfoldable(pair.feed.routes[TICKER], ValueError("x"), pair.now_ns, pair.now_s)
    pair.take()
    pair.come(1, change(11, a="2"))
    assert pair.take() == []
    pair.come(1, whole(12, a="3"))
    assert [record.kind for record in pair.take()] == [wire.STATUS, wire.SNAPSHOT]
    assert pair.due(0) == [TICKER]  # the former owner has no state of its own


def test_a_long_chain_of_the_owners_deltas_is_folded_for_late_joiners() -> None:
    """As on a single line."""
    pair = start_ticker()
    for number in range(100):
        pair.come(0, change(11 + number, a=str(number)))
    image = pair.feed.routes[TICKER].compose()
    assert image is not None
    assert fields(image) == {"a": "99", "b": "1"}


# Silence.


def test_an_owner_silent_alone_is_replaced_and_subscribed_anew() -> None:
    """Two records on the other line and two seconds, and what looks at that is on the way: it goes on, untold."""
    pair = start_ticker()
    for number in range(12):
        pair.come(1, change(11 + number, a=str(number)))
        pair.tick(0.5)
    assert pair.feed.counters["switches"] == 1
    assert [fields(payload)["a"] for payload in pair.data()][-1] == "11"
    assert pair.lines.news == [f"{TICKER} is silent on line 0: line 1 goes on"]
    assert pair.due(0) == [TICKER]
    assert pair.due(1) == []


def test_an_unchanged_state_sent_again_is_where_the_former_owner_was() -> None:
    """A line that was subscribed anew meanwhile does not have the last record, but says the same: it goes on at once."""
    pair = Pair(LEVEL_1).start()
    pair.come(0, best(11, 1_000))
    pair.come(1, best(11, 1_000))
    pair.lanes[1].copies[LEVEL_1].forget()
    pair.lanes[1].asked([LEVEL_1])
    pair.lanes[1].acknowledged([LEVEL_1], pair.now_ns)
    pair.come(1, best(11, 1_500))
    pair.take()
    pair.close(0)
    again = best(11, 4_000)
    pair.come(1, again)
    assert pair.data() == [again]
    assert pair.states() == []


def test_message_of_an_unknown_type_makes_its_line_begin_anew() -> None:
    """Neither snapshot nor delta: the state after it is the other line's."""
    pair = start_ticker()
    strange = message(TICKER, "patch", {"symbol": "BTCUSDT", "a": "9"})
    pair.come(0, strange)
    assert strange not in pair.data()
    assert pair.feed.counters["unparsed"] == 1
    assert pair.due(0) == [TICKER]
    pair.come(1, change(11, a="2"))
    assert fields(pair.feed.routes[TICKER].compose() or b"")["a"] == "2"


def test_a_silent_owner_stays_where_no_other_line_carries_the_topic() -> None:
    """Its other copy brings records that make no state."""
    pair = Pair(TICKER)
    pair.join(0, whole(10, a="1"))
    pair.open(1)
    for number in range(8):
        pair.come(1, change(11 + number, a=str(number)))
        pair.tick(DEAD_S / 4)
    assert pair.feed.counters["switches"] == 0


def test_a_stale_topic_comes_back_with_the_line_that_speaks() -> None:
    """Also when it is the one that stands by."""
    pair = start_ticker()
    pair.feed.enter(pair.feed.routes[TICKER], wire.STALE, "silent", pair.now_ns)
    pair.take()
    pair.come(1, change(11, a="2"))
    records = pair.take()
    assert [record.kind for record in records] == [wire.STATUS, wire.DELTA]
    pair.feed.enter(pair.feed.routes[TICKER], wire.STALE, "silent", pair.now_ns)
    pair.take()
    pair.come(1, change(12, a="2"))
    assert [record.kind for record in pair.take()] == [wire.STATUS, wire.DELTA]


# A state that is replaced.


def test_the_latest_record_of_the_other_line_follows_a_switch() -> None:
    """Newer ones as the venue sent them; one that says the same again is left out."""
    for newer, expected in ((at(12, KLINE, [{"c": "2"}]), 1), (at(12, KLINE, [{"c": "1"}]), 0)):
        pair = Pair(KLINE)
        for line in (0, 1):
            pair.join(line, at(10, KLINE, [{"c": "0"}]))
        pair.come(0, at(11, KLINE, [{"c": "1"}]))
        pair.come(1, newer)
        pair.take()
        pair.close(0)
        records = pair.take()
        assert [record.payload for record in records] == [newer] * expected
        assert all((record.kind, record.flags) == (wire.SNAPSHOT, 0) for record in records)
        pair.come(1, at(13, KLINE, [{"c": "3"}]))
        assert len(pair.data()) == 1


def test_no_record_is_needed_to_stand_by_for_a_state_that_is_replaced() -> None:
    """Its next record is the state: a subscription is enough."""
    pair = Pair(LEVEL_1)
    pair.join(0, at(10, LEVEL_1, {"u": 1}))
    pair.join(1)
    pair.take()
    pair.close(0)
    assert pair.take() == []
    pair.come(1, at(11, LEVEL_1, {"u": 2}))
    assert pair.data() == [at(11, LEVEL_1, {"u": 2})]


def test_a_topic_that_is_hardly_ever_heard_of_is_live_without_a_record() -> None:
    """Announcements of the venue: live from the acknowledgement, on either line."""
    pair = Pair(STATUS_TOPIC, product="status")
    pair.join(0)
    pair.join(1)
    pair.take()
    pair.close(0)
    assert pair.take() == []
    pair.come(1, at(1, STATUS_TOPIC, [{"id": "1"}]))
    assert len(pair.data()) == 1


# Events.


def test_events_go_on_without_a_word_where_both_lines_brought_the_last_one() -> None:
    """What the other line has had since follows."""
    pair = start_events()
    pair.come(1, event(11))
    pair.close(0)
    pair.come(1, event(12))
    records = pair.take()
    assert [record.payload for record in records] == [event(11), event(12)]
    assert {record.kind for record in records} == {wire.UPDATE}


def test_events_that_may_be_missing_are_told() -> None:
    """The lines have nothing in common: from the owner's last event to now."""
    pair = start_events()
    pair.close(1)
    pair.join(1)
    pair.come(0, event(11))
    pair.come(1, event(13))
    pair.take()
    pair.close(0)
    records = pair.take()
    hole = status(records[0])
    assert (hole.state, hole.reason) == ("live", "records may be missing: line 1 goes on")
    assert (hole.lost, hole.recoverable) == (None, False)
    assert [record.payload for record in records[1:]] == [event(13)]


def test_a_hole_is_told_in_time_also_where_no_event_comes() -> None:
    """A second for the line to show that nothing is missing."""
    pair = start_events()
    pair.close(1)
    pair.join(1)
    pair.close(0)
    assert told(pair) == []
    pair.tick(0.9)
    assert told(pair) == []
    pair.tick(0.2)
    assert told(pair) == ["records may be missing: line 1 goes on"]
    pair.tick(1)
    assert told(pair) == []
    assert not pair.lines.pending
    pair.come(1, event(12))
    assert pair.data() == [event(12)]


def test_a_line_behind_shows_that_nothing_is_missing() -> None:
    """It brings the last event published: what follows it is new."""
    pair = start_events()
    pair.come(0, event(11))
    pair.close(0)
    pair.take()
    pair.come(1, event(11))
    pair.tick(2)
    pair.come(1, event(12))
    records = pair.take()
    assert [record.payload for record in records] == [event(12)]


def test_a_quiet_time_on_both_lines_is_no_hole() -> None:
    """Both were subscribed for a second and more, and neither brought anything."""
    pair = start_events()
    pair.close(1)
    pair.wait(1.5)
    pair.join(1)
    pair.wait(2 * HOLD_NS / 1e9)
    pair.lanes[0].last_ns = pair.now_ns
    pair.close(0)
    pair.tick(2)
    assert told(pair) == []
    pair.come(1, event(15))
    assert pair.data() == [event(15)]


def test_events_of_before_an_outage_are_not_told_after_it() -> None:
    """A late line begins with what is old."""
    pair = start_events()
    pair.come(0, event(11))
    pair.close(1)
    pair.close(0)
    pair.take()
    pair.join(1, event(9))
    assert [state for state, _ in pair.states()] == ["subscribing", "live"]
    pair.come(1, event(12))
    assert pair.data() == [event(12)]


def test_many_events_are_kept_of_a_line_that_stands_by() -> None:
    """Enough for the time until an owner's silence is noticed, and not for ever."""
    pair = start_events()
    for number in range(3 * RECENT_EVENTS):
        pair.come(1, event(11 + number))
    pair.close(0)
    payloads = [record.payload for record in pair.take() if record.kind == wire.UPDATE]
    assert RECENT_EVENTS <= len(payloads) <= 2 * RECENT_EVENTS
    assert payloads[-1] == event(10 + 3 * RECENT_EVENTS)


def test_events_without_times_are_told_when_they_meet() -> None:
    """Nothing else says which of them are new."""
    pair = start_events()
    odd = message(EVENTS, "snapshot", [{"v": "x"}]).replace(b'"ts":1700000000000', b'"ts":"?"')
    pair.come(0, odd)
    pair.come(1, odd)
    pair.come(1, event(12))
    pair.take()
    pair.close(0)
    assert pair.data() == [event(12)]


def test_events_that_nobody_asked_for_are_not_published() -> None:
    """On their way before the unsubscription took effect."""
    pair = start_events()
    pair.lanes[1].copies[EVENTS].asked = False
    pair.lanes[1].copies[EVENTS].joined = False
    pair.come(1, event(11))
    assert pair.feed.counters["unexpected"] == 1


def test_an_acknowledgement_before_the_owners_does_not_change_the_owner() -> None:
    """Data came first on one line: the other one stands by."""
    pair = Pair(EVENTS)
    pair.open(0)
    pair.come(0, event(10))
    pair.join(1)
    pair.acknowledge(0)
    pair.take()
    pair.come(1, event(11))
    assert pair.take() == []


def test_a_new_owner_with_no_successor_leaves_the_topic_down() -> None:
    """The second line goes as well, before it has come to where the first one was."""
    pair = start_ticker()
    pair.come(0, change(11, a="2"))
    pair.close(0)
    pair.close(1)
    assert pair.states()[-1][0] == "down"
    pair.join(1, whole(12, a="1"))
    assert pair.state(TICKER) == wire.LIVE


# Books whose lines differ.


def start_book() -> Pair:
    """The lines were seen to differ at u 102: line 0 owns the book, line 1 stands by."""
    pair = Pair(BOOK).start()
    pair.close(1)
    pair.join(1, snap(102, 1020, [("100.0", "77")]))
    for update_id in (101, 102):
        pair.come(0, update(update_id, 10 * update_id))
    for line in (0, 1):
        assert pair.due(line) == [BOOK]
        pair.lanes[line].asked([BOOK])
        pair.come(line, snap(102, 1020, [("100.0", str(line))]))
    pair.take()
    return pair


def test_a_book_on_hot_standby_follows_one_line_alone() -> None:
    """Duplicates are dropped; the other line's records are its own."""
    pair = start_book()
    pair.come(0, update(103, 1030))
    pair.come(0, update(103, 1030))
    pair.come(1, update(103, 1030))
    assert len(pair.data()) == 1
    assert pair.feed.counters["duplicates"] == 1


def test_an_owner_with_a_gap_is_replaced_and_mended_on_its_line() -> None:
    """The other line's book is published instead."""
    pair = start_book()
    pair.come(1, update(103, 1030, bids=[("100.0", "5")]))
    pair.come(0, update(104, 1040))
    (record,) = pair.take()
    assert (record.kind, record.flags) == (wire.SNAPSHOT, wire.COMPOSED)
    assert b'"u":103' in record.payload
    pair.come(1, update(104, 1040))
    assert len(pair.data()) == 1
    assert pair.due(0) == [BOOK]
    pair.come(0, update(105, 1050))
    assert pair.take() == []


def test_a_gap_on_the_line_that_stands_by_is_mended_there() -> None:
    """Nobody hears of it."""
    pair = start_book()
    pair.come(1, update(105, 1050))
    assert pair.take() == []
    assert pair.due(1) == [BOOK]
    pair.come(0, update(104, 1040))
    assert [state for state, _ in pair.states()] == ["resyncing"]
    pair.tick(0.2)
    assert pair.due(0) == [BOOK]
    assert pair.due(1) == []


def test_a_book_on_hot_standby_has_nothing_to_continue_before_its_snapshot() -> None:
    """A line that joins is followed from its snapshot on."""
    pair = start_book()
    pair.close(1)
    held_back = pair.feed.counters["held_back"]
    pair.join(1, update(103, 1030))
    assert pair.feed.counters["held_back"] == held_back + 1
    assert pair.take() == []


def test_a_book_on_hot_standby_without_update_ids_is_none() -> None:
    """Counted as the venue's fault."""
    pair = start_book()
    pair.come(0, message(BOOK, "delta", [1]))
    assert pair.feed.counters["unparsed"] == 1


def test_lines_that_differ_are_told_in_the_tickers_words() -> None:
    """The image of a standing-by line is the venue's shape, whatever the topic."""
    pair = start_ticker()
    pair.come(1, ticker(TICKER, "delta", a="5"))
    pair.come(0, change(11, b="2"))
    pair.take()
    pair.close(0)
    (payload,) = pair.data()
    assert msgspec.json.decode(payload)["type"] == "snapshot"
