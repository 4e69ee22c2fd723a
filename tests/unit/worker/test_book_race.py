"""Books over several lines: first copy by update id, and every rare path of it."""

import pytest
from support.lane import message, status
from support.pair import BOOK, FULL, Pair, snap, update

from feedhandler import wire
from feedhandler.worker.race import HELD_LIMIT
from feedhandler.worker.standby import Standby


def made(payloads: list[bytes]) -> list[int]:
    """Return the update ids of these messages."""
    return [int(payload.partition(b'"u":')[2].partition(b",")[0].rstrip(b"}")) for payload in payloads]


def start(*, lines: int = 2) -> Pair:
    """Two lines in step at u 100, seq 1000."""
    return Pair(BOOK, lines=lines).start()


def at(update_id: int) -> bytes:
    return update(update_id, 10 * update_id)


# In step.


def test_the_first_copy_is_published_and_the_second_is_not() -> None:
    """Whichever line is first; the other one's is no duplicate, for it is not the venue's fault."""
    pair = start()
    for line, update_id in ((0, 101), (1, 101), (1, 102), (0, 102)):
        pair.come(line, at(update_id))
    assert made(pair.data()) == [101, 102]
    assert pair.feed.counters["duplicates"] == 0
    assert [lane.second_copies for lane in pair.lanes] == [1, 2]  # one of them the second line's first snapshot


def test_a_delta_that_comes_twice_on_one_line_is_a_duplicate() -> None:
    """It is counted as such, by the venue's contract."""
    pair = start()
    for line in (0, 1, 1):
        pair.come(line, at(101))
    assert made(pair.data()) == [101]
    assert pair.feed.counters["duplicates"] == 1


@pytest.mark.parametrize("type_", ["delta", "snapshot"])
def test_two_updates_in_a_row_may_have_the_same_seq(type_: str) -> None:
    """A snapshot out of turn, say, when nothing happened in between: the update id says which is next."""
    pair = start()
    for payload in (at(101), update(102, 1010, type_=type_), at(103)):
        for line in (0, 1):
            pair.come(line, payload)
    pair.tick(2)
    assert made(pair.data()) == [101, 102, 103]
    assert pair.states() == []


def test_an_update_of_an_unknown_type_is_the_other_lines_affair() -> None:
    """It is counted and dropped; the copy of a line that calls it by its name goes out, and nobody sees a gap."""
    pair = start()
    pair.come(0, update(101, 1010, type_="patch"))
    pair.come(0, at(102))
    assert made(pair.data()) == []
    pair.come(1, at(101))
    assert made(pair.data()) == [101, 102]
    assert pair.states() == []
    assert pair.feed.counters["unparsed"] == 1


def test_a_gap_on_one_line_is_filled_by_the_other() -> None:
    """What follows the gap waits, and goes out under the line that brought it."""
    pair = start()
    for update_id in (102, 103, 103):
        pair.come(0, at(update_id))
    assert pair.take() == []
    pair.come(1, at(101))
    records = pair.take()
    assert made([record.payload for record in records]) == [101, 102, 103]
    assert [record.line for record in records] == [1, 0, 0]
    pair.tick()
    assert not pair.lines.pending


def test_frames_that_overtook_each_other_are_put_in_order() -> None:
    """Also on the only line that carries the topic."""
    pair = start()
    pair.close(1)
    pair.come(0, at(102))
    pair.come(0, at(101))
    pair.tick()
    assert made(pair.data()) == [101, 102]


def test_what_is_held_twice_is_a_second_copy() -> None:
    """Both lines miss the same update: what follows is kept once."""
    pair = start(lines=3)
    before = pair.lanes[1].second_copies
    pair.come(0, at(102))
    pair.come(1, at(102))
    assert pair.lanes[1].second_copies == before + 1
    pair.come(2, at(101))
    assert made(pair.data()) == [101, 102]


def test_a_gap_that_no_line_can_fill_is_told_at_once() -> None:
    """Every line is past it: the topic resyncs with the ids, on the line that is ahead."""
    pair = start()
    pair.come(0, at(103))
    pair.come(1, at(105))
    pair.tick(0.15)
    records = pair.take()
    told = status(records[0])
    assert (told.state, told.reason) == ("resyncing", "gap: u 100 was followed by u 103")
    assert told.lost == 2
    assert pair.feed.counters["gaps"] == 1
    assert pair.due(0) == [BOOK]
    assert pair.due(1) == []
    pair.lanes[0].asked([BOOK])
    pair.come(0, snap(104, 1040))
    assert made(pair.data()) == [104, 105]


def test_a_gap_waits_for_the_line_that_is_behind_but_not_for_ever() -> None:
    """A second for what another line may still bring."""
    pair = start()
    pair.come(0, at(103))
    pair.tick(0.9)
    assert pair.state(BOOK) == wire.LIVE
    pair.tick(0.2)
    assert pair.states() == [("resyncing", "gap: u 100 was followed by u 103")]


def test_too_many_held_records_are_a_gap() -> None:
    """Memory is bounded, whatever a line leaves out."""
    pair = start()
    for number in range(HELD_LIMIT + 1):
        pair.come(0, at(102 + number))
    assert pair.states() == [("resyncing", "gap: u 100 was followed by u 102")]
    # And while the snapshot is awaited: what is held is dropped, for it starts too early anyway.
    for number in range(HELD_LIMIT + 1):
        pair.come(1, at(2000 + number))
    assert pair.feed.counters["held_back"] > HELD_LIMIT


def test_what_waits_for_a_snapshot_does_not_wait_for_ever() -> None:
    """Deltas of a topic that is not live are kept a second, for what a snapshot may still follow."""
    pair = start()
    pair.come(0, at(103))
    pair.tick(1.2)
    pair.come(1, at(120))
    pair.tick(2)
    assert pair.feed.counters["held_back"] == 2
    assert not pair.lines.pending


def test_a_book_without_update_ids_is_not_one() -> None:
    """Counted as the venue's fault, with the raw text."""
    pair = start()
    pair.come(0, message(BOOK, "delta", [{"u": 101}]))
    assert pair.feed.counters["unparsed"] == 1
    assert pair.take() == []


def test_an_image_is_folded_from_the_records_of_all_lines() -> None:
    """What a late joiner gets is the published book."""
    pair = start()
    for update_id in range(101, 180):
        pair.come(update_id % 2, update(update_id, update_id * 10, bids=[("100.0", str(update_id))]))
    image = pair.feed.routes[BOOK].compose()
    assert image is not None
    assert b'"u":179' in image
    assert b'["100.0","179"]' in image


def test_records_that_make_no_book_are_resynced() -> None:
    """The ids are in order, the levels are no levels: ask anew."""
    pair = start()
    for update_id in range(101, 140):
        pair.come(0, message(BOOK, "delta", {"u": update_id, "seq": update_id * 10, "b": "?"}))
    assert pair.state(BOOK) == wire.RESYNCING


# Lines that join.


def test_a_line_that_joins_behind_is_in_step() -> None:
    """Its first snapshot is history."""
    pair = start()
    pair.come(0, at(101))
    pair.close(1)
    pair.take()
    pair.join(1, snap(100, 1000), at(101), at(102))
    assert made(pair.data()) == [102]


def test_a_line_that_joins_ahead_waits_for_the_other() -> None:
    """Nothing is left out: what it brings waits until the other one has come to where it began."""
    pair = start()
    pair.close(1)
    pair.join(1, snap(103, 1030), at(104))
    assert pair.take() == []
    for update_id in (101, 102, 103, 104):
        pair.come(0, update(update_id, 10 * update_id))
    assert made(pair.data()) == [101, 102, 103, 104]
    assert pair.feed.counters["compared"] == 2


def test_a_line_ahead_goes_on_alone_when_the_other_does_not_come() -> None:
    """After a second its snapshot is published, and the status says how many updates are missing."""
    pair = start()
    pair.close(1)
    pair.join(1, snap(103, 1030), at(104))
    pair.tick(1.1)
    records = pair.take()
    told = status(records[0])
    assert (told.state, told.lost, told.recoverable) == ("live", 2, True)
    assert told.reason == "gap on every line: u 100 was followed by a snapshot with u 103"
    assert made([record.payload for record in records[1:]]) == [103, 104]


def test_a_line_ahead_goes_on_at_once_when_the_other_is_lost() -> None:
    """Nobody can bring what is between."""
    pair = start()
    pair.close(1)
    pair.join(1, snap(103, 1030))
    pair.close(0)
    pair.tick()
    assert made(pair.data()) == [103]
    assert pair.state(BOOK) == wire.LIVE


def test_a_snapshot_at_the_next_update_is_no_gap() -> None:
    """The line joins one update ahead, and goes on alone: nothing is missing."""
    pair = start()
    pair.close(1)
    pair.join(1, snap(101, 1010))
    pair.close(0)
    pair.tick()
    records = pair.take()
    assert [record.kind for record in records] == [wire.STATUS, wire.SNAPSHOT]
    assert status(records[0]).lost is None


def test_a_line_that_began_in_another_count_does_not_continue_this_one() -> None:
    """The venue restarted, the line joined after it, and the other line is still before: the same u says nothing."""
    pair = start()
    pair.close(1)
    pair.join(1, snap(101, 5000), update(102, 5010))
    pair.come(0, update(101, 1010))
    assert made(pair.data()) == [101]
    pair.come(0, snap(1, 4000))
    pair.come(0, update(2, 4010))
    assert made(pair.data()) == [1, 2]
    pair.tick(1.2)
    records = pair.take()
    assert made([record.payload for record in records[1:]]) == [101, 102]


def test_a_line_that_joins_after_a_restart_waits_for_the_others() -> None:
    """Its count is lower and its seq higher: the other line is still to bring the restart."""
    pair = start()
    pair.close(1)
    pair.join(1, snap(5, 4050), update(6, 4060))
    pair.come(0, at(101))
    pair.come(0, snap(1, 4000))
    for update_id in range(2, 6):
        pair.come(0, update(update_id, 4000 + 10 * update_id))
    assert made(pair.data()) == [101, 1, 2, 3, 4, 5, 6]


def test_the_newest_of_two_offers_is_taken() -> None:
    """Two lines join ahead of a third that does not come."""
    pair = start(lines=3)
    pair.close(1)
    pair.close(2)
    pair.join(1, snap(105, 1050))
    pair.join(2, snap(103, 1030))
    pair.tick(1.2)
    assert made(pair.data()[-1:]) == [105]


def test_an_offer_that_is_overtaken_is_forgotten() -> None:
    """The other line brings a restart that is newer than where the joining one began."""
    pair = start()
    pair.close(1)
    pair.join(1, snap(103, 1030))
    pair.come(0, snap(1, 2000))
    pair.tick(1.2)
    assert made(pair.data()) == [1]
    assert pair.states() == []


def test_a_snapshot_without_a_request_is_not_meant_for_us() -> None:
    """While a topic resyncs, what comes from the old subscription is dropped."""
    pair = start()
    pair.come(0, at(103))
    pair.tick(1.2)
    assert pair.due(0) == [BOOK]
    pair.take()
    pair.come(0, snap(104, 1040))
    assert pair.data() == []
    assert pair.feed.counters["held_back"] >= 1
    pair.lanes[1].closed("lost", pair.now_ns)
    pair.lanes[1].opened(pair.now_ns)
    pair.feed.enter(pair.feed.routes[BOOK], wire.DOWN, "x", pair.now_ns)
    pair.feed.enter(pair.feed.routes[BOOK], wire.SUBSCRIBING, "x", pair.now_ns)
    pair.come(1, snap(104, 1040))
    assert pair.feed.counters["unexpected"] == 1


def test_a_late_lines_old_snapshot_does_not_end_a_resync() -> None:
    """Strategies have had newer records: the line that was asked brings a newer snapshot."""
    pair = start()
    pair.come(0, at(101))
    pair.come(0, at(103))
    pair.tick(1.2)
    assert pair.due(0) == [BOOK]
    pair.take()
    pair.come(1, snap(99, 990))
    assert pair.take() == []
    pair.lanes[0].asked([BOOK])
    pair.come(0, snap(104, 1040))
    assert [record.kind for record in pair.take()] == [wire.STATUS, wire.SNAPSHOT]


# Snapshots that the venue sends by itself.


def test_a_spontaneous_snapshot_is_published_once() -> None:
    """The next update, as a snapshot; the other line's copy of it is dropped."""
    pair = start()
    pair.come(0, snap(101, 1010))
    pair.come(1, snap(101, 1010))
    pair.come(1, at(102))
    assert made(pair.data()) == [101, 102]


def test_a_spontaneous_snapshot_ahead_of_a_gap_waits_for_it() -> None:
    """Another line brings what is between; then it is the next record."""
    pair = start()
    pair.come(0, snap(102, 1020))
    assert pair.take() == []
    pair.come(1, at(101))
    assert made(pair.data()) == [101, 102]


def test_a_jump_on_every_line_is_the_venues() -> None:
    """Both lines skip to the same snapshot: nobody can bring what is between, and it is told."""
    pair = start()
    pair.come(0, snap(150, 1500))
    pair.come(1, snap(150, 1500))
    records = pair.take()
    assert [record.kind for record in records] == [wire.STATUS, wire.SNAPSHOT]
    assert status(records[0]).lost == 49


def test_a_restart_is_published_once_and_what_was_before_is_dropped() -> None:
    """The late line's last deltas of the old count look like the future of the new one."""
    pair = start()
    pair.come(0, snap(1, 2000))
    pair.come(1, at(101))
    pair.come(1, at(102))
    pair.come(1, snap(1, 2000))
    pair.come(1, update(2, 2010))
    pair.tick(2)
    assert made(pair.data()) == [1, 2]


def test_a_snapshot_with_a_lower_count_is_published_as_sent() -> None:
    """The venue's own repair (dossier 5.1)."""
    pair = start()
    pair.come(0, snap(50, 2000))
    pair.come(0, update(51, 2010))
    assert made(pair.data()) == [50, 51]


def test_a_restart_drops_what_waited_for_a_gap_before_it() -> None:
    """What was held of the old count will never be wanted."""
    pair = start()
    pair.come(0, at(103))
    pair.come(0, snap(1, 2000))
    assert pair.feed.counters["held_back"] == 1
    assert made(pair.data()) == [1]


def test_a_delta_that_overtook_its_restart_waits_for_it() -> None:
    """Lower count, higher seq: the count began anew, and nothing past that continues the old one."""
    pair = start()
    pair.come(0, update(2, 2010))
    pair.come(0, update(101, 2990))  # the new count, at a number that the old one has still to come to
    pair.come(1, at(101))
    assert made(pair.data()) == [101]
    pair.come(0, snap(1, 2000))
    assert made(pair.data()) == [1, 2]


def test_a_restart_that_no_line_has_seen_is_resynced() -> None:
    """Deltas of a new count, and no snapshot: ask anew."""
    pair = start()
    pair.come(0, update(2, 2010))
    pair.come(1, update(3, 2020))
    pair.tick(0.15)
    assert pair.states() == [("resyncing", "restarted: u 2 of another count came after u 100")]


def test_a_restart_by_a_delta_is_resynced_at_once() -> None:
    """Its base is not ours (dossier 5.4)."""
    pair = start()
    pair.come(0, update(1, 2000))
    assert pair.states() == [("resyncing", "restarted: delta with u 1 after u 100")]


# Silence.


def test_a_stale_book_goes_on_with_the_next_update() -> None:
    """It spoke again; whichever line brings the delta that continues it, brings it back."""
    pair = start()
    route = pair.feed.routes[BOOK]
    pair.feed.enter(route, wire.STALE, "silent", pair.now_ns)
    pair.take()
    pair.come(1, at(100))
    pair.come(1, at(101))
    records = pair.take()
    assert [record.kind for record in records] == [wire.STATUS, wire.DELTA]
    assert status(records[0]).reason == "it speaks again"


def test_a_stale_book_with_a_gap_resyncs() -> None:
    """It spoke again, but not where it had ended."""
    pair = start()
    pair.feed.enter(pair.feed.routes[BOOK], wire.STALE, "silent", pair.now_ns)
    pair.take()
    pair.come(1, at(105))
    pair.tick(1.2)
    assert pair.states() == [("resyncing", "gap: u 100 was followed by u 105")]


# Without seq.


def test_books_without_seq_are_raced_by_update_id_alone() -> None:
    """Old option books have none (dossier 4.1): second copies, gaps and restarts are still known by u."""
    pair = Pair(BOOK)
    pair.join(0, snap(100, 0))
    pair.join(1, snap(100, 0))
    pair.take()
    for line, update_id in ((0, 101), (1, 101), (0, 103), (1, 102), (0, 103), (0, 103)):
        pair.come(line, update(update_id, 0))
    assert made(pair.data()) == [101, 102, 103]
    pair.come(0, snap(1, 0))
    pair.come(1, snap(1, 0))
    pair.come(0, update(2, 0))
    pair.come(1, update(2, 0))
    assert made(pair.data()) == [1, 2]
    pair.come(0, update(1, 0))
    assert pair.states() == [("resyncing", "restarted: delta with u 1 after u 2")]


def test_a_line_without_seq_may_join_ahead() -> None:
    """The other one comes to where it began."""
    pair = Pair(BOOK)
    pair.join(0, snap(100, 0))
    pair.join(1, snap(102, 0))
    pair.take()
    for update_id in (101, 102):
        pair.come(0, update(update_id, 0))
    pair.come(1, update(103, 0))
    assert made(pair.data()) == [101, 102, 103]
    pair.come(0, update(105, 0))
    pair.tick(1.2)
    assert pair.states() == [("resyncing", "gap: u 103 was followed by u 105")]


def test_what_waits_without_seq_is_dropped_by_a_later_snapshot() -> None:
    """A snapshot makes what is before it useless; a restart everything."""
    pair = Pair(BOOK)
    pair.join(0, snap(100, 0))
    pair.join(1, snap(100, 0))
    pair.come(0, update(103, 0))
    pair.come(0, update(106, 0))
    pair.come(0, snap(105, 0))
    pair.tick(1.2)
    assert made(pair.data()[-2:]) == [105, 106]
    pair.come(0, update(109, 0))
    pair.come(0, snap(1, 0))
    assert not pair.race(BOOK).copies[0].route.due_s
    assert made(pair.data()) == [1]


# Lines that differ.


def test_lines_with_different_books_are_believed_one_at_a_time() -> None:
    """Compared where the joining line began; from then on a hot standby, and the status says so."""
    pair = start()
    pair.close(1)
    pair.join(1, snap(102, 1020, [("100.0", "77")]))
    pair.come(0, at(101))
    pair.come(0, at(102))
    assert pair.feed.counters["diverged"] == 1
    reason = "hot standby: line 1 has another book at u 102"
    assert pair.states()[-1] == ("resyncing", reason)
    assert isinstance(pair.race(BOOK), Standby)
    assert pair.due(0) == [BOOK]
    assert pair.due(1) == []
    pair.lanes[0].asked([BOOK])
    pair.come(0, snap(102, 1020))
    assert pair.states() == [("live", reason)]
    assert pair.due(1) == [BOOK]
    assert [what for what, _ in pair.feed.malformed] == [f"{BOOK}: line 1 has another book at u 102"]


def test_a_line_that_differs_behind_is_found_out_too() -> None:
    """It is followed to where the published book was when it joined."""
    pair = start()
    pair.come(0, at(101))
    pair.close(1)
    pair.join(1, snap(100, 1000, [("99.0", "5")]), at(101))
    assert pair.feed.counters["diverged"] == 1


def test_a_line_that_is_lost_before_it_could_be_compared_is_counted() -> None:
    """And one whose records are not in step, or no book."""
    pair = start()
    pair.come(0, at(101))
    pair.come(0, at(102))
    pair.close(1)
    pair.join(1, snap(100, 1000))
    pair.close(1)
    assert pair.feed.counters["uncompared"] == 1
    pair.join(1, snap(100, 1000), at(102))
    assert pair.feed.counters["uncompared"] == 2
    pair.close(1)
    pair.join(1, message(BOOK, "snapshot", {"u": 100, "seq": 1000}))
    assert pair.feed.counters["uncompared"] == 3
    assert pair.feed.counters["unparsed"] == 1
    pair.close(1)
    pair.join(1, snap(102, 999))
    assert pair.feed.counters["uncompared"] == 4


@pytest.mark.parametrize("first", [101, 103])
def test_a_published_book_that_makes_no_image_is_resynced_instead(first: int) -> None:
    """There is nothing to compare with."""
    pair = start()
    pair.close(1)
    if first == 103:
        pair.join(1, snap(first, 1030))
    for update_id in (101, 102, 103):
        pair.come(0, message(BOOK, "delta", {"u": update_id, "seq": update_id * 10}))
    if first == 101:
        pair.join(1, snap(first, 1010))
    assert pair.state(BOOK) == wire.RESYNCING


# Deltas without snapshots.


def full(update_id: int, seq: int) -> bytes:
    return update(update_id, seq, topic=FULL)


def test_a_full_book_begins_with_its_first_delta_and_with_each_restart() -> None:
    """There is no snapshot on this socket (dossier 4.3)."""
    pair = Pair(FULL).start()
    pair.come(0, full(7, 70))
    pair.come(1, full(7, 70))
    pair.come(1, full(8, 80))
    pair.come(0, full(1, 90))
    pair.come(1, full(1, 90))
    assert made(pair.data()) == [7, 8, 1]


def test_a_full_book_line_proves_that_it_is_of_the_same_count() -> None:
    """A line that joins with the next number may be of another count; the other line's copy proves it."""
    pair = Pair(FULL).start()
    pair.come(0, full(7, 70))
    pair.come(1, full(8, 80))
    assert made(pair.data()) == [7]
    pair.come(0, full(8, 80))
    pair.come(1, full(9, 90))
    assert made(pair.data()) == [8, 9]


def test_a_full_book_with_a_gap_on_every_line_goes_on_after_a_resync() -> None:
    """Told with the ids; live again from the acknowledgement."""
    pair = Pair(FULL).start()
    for line in (0, 1):
        pair.come(line, full(7, 70))
    pair.come(0, full(9, 90))
    pair.take()
    pair.tick(1.2)
    assert pair.states() == [("resyncing", "gap: u 7 was followed by u 9")]
    assert pair.due(0) == [FULL]
    pair.come(0, full(10, 100))
    pair.lanes[0].asked([FULL])
    pair.acknowledge(0)
    pair.come(0, full(12, 120))
    assert made(pair.data()) == [12]


def test_a_full_book_that_nobody_asked_for_is_not_published() -> None:
    """Data before the request is of a former subscription."""
    pair = Pair(FULL)
    pair.lanes[0].opened(pair.now_ns)
    pair.take()
    pair.come(0, full(7, 70))
    assert pair.take() == []
    assert pair.feed.counters["unexpected"] == 1
    pair.lanes[0].asked([FULL])
    pair.come(0, full(8, 80))
    assert [record.kind for record in pair.take()] == [wire.STATUS, wire.DELTA]
