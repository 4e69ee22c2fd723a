"""What one subject's records say, in order."""

from collections import deque
from typing import Any

import pytest
from support.records import BOOK, START_NS, TRADES, delta, event, image, record, said, snapshot, status

from feedhandler import wire
from feedhandler.client import track as track_module
from feedhandler.client.counters import Counters
from feedhandler.client.record import UNKNOWN, Record
from feedhandler.client.track import Track, keeps_state

NOW_NS = START_NS + 10**9


class Followed:
    """A track, and what it hands out."""

    def __init__(self, subject: str) -> None:
        self.outbox: deque[Record] = deque()
        self.counters = Counters()
        self.track = Track(subject, self.outbox, self.counters)

    def take(self, *records: Record) -> list[tuple[Any, ...]]:
        for one in records:
            self.track.on_record(one, NOW_NS)
        return self.heard()

    def heard(self) -> list[tuple[Any, ...]]:
        handed = [said(one) for one in self.outbox]
        self.last = self.outbox[-1].decode() if self.outbox and self.outbox[-1].kind == wire.STATUS else None
        self.outbox.clear()
        return handed


class Kept:
    """A view that notes what it is given."""

    def __init__(self) -> None:
        self.loaded = False
        self.taken: list[tuple[Any, ...]] = []
        self.told: list[str] = []

    def take(self, record: Record) -> None:
        self.loaded |= record.kind == wire.SNAPSHOT
        self.taken.append(said(record))

    def tell(self, state: str, reason: str) -> None:
        assert isinstance(reason, str)
        self.told.append(state)


@pytest.fixture
def book() -> Followed:
    """A book that has just come in step at 10."""
    followed = Followed(BOOK)
    followed.take(status(BOOK, 10, repeated=True), image(10))
    return followed


@pytest.fixture
def trades() -> Followed:
    """Trades that have just been joined after 10."""
    followed = Followed(TRADES)
    followed.take(status(TRADES, 10, repeated=True))
    return followed


# Joining.


def test_newcomer_gets_status_then_image_then_deltas() -> None:
    """A state is live for the strategy when it has it: the status comes with the image."""
    followed = Followed(BOOK)
    assert followed.take(status(BOOK, 10, repeated=True)) == []
    assert followed.track.state == UNKNOWN
    assert followed.take(image(10), delta(11)) == [("status", 10, "live"), ("snapshot", 10), ("delta", 11)]
    assert followed.track.state == wire.LIVE


def test_deltas_held_for_the_image_are_continued_exactly() -> None:
    """Deltas before the image are held: those in it are dropped, those after it delivered behind it."""
    followed = Followed(BOOK)
    followed.take(status(BOOK, 9, repeated=True))
    assert followed.take(delta(10), delta(11), delta(12)) == []
    assert followed.take(image(11)) == [("status", 9, "live"), ("snapshot", 11), ("delta", 12)]
    assert followed.take(delta(13)) == [("delta", 13)]
    assert followed.counters.overtaken == 2


def test_image_older_than_what_is_held_does_not_help(book: Followed) -> None:
    """An image that what is held does not continue is not taken: between them something is missing."""
    assert book.take(delta(15)) == [("said here", 14, "resyncing", 4)]
    assert book.take(image(13)) == []
    assert book.track.state == wire.RESYNCING
    assert book.take(image(14)) == [("said here", 15, "live"), ("snapshot", 14), ("delta", 15)]


def test_image_without_a_status_is_delivered_but_not_live() -> None:
    """Where the status is late, the image is handed on; live is only what the worker called live."""
    followed = Followed(BOOK)
    assert followed.take(image(10)) == [("snapshot", 10)]
    assert followed.track.state == UNKNOWN
    assert followed.take(status(BOOK, 10, repeated=True)) == [("status", 10, "live")]


def test_held_deltas_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the oldest are given up, and only an image from there on is taken."""
    monkeypatch.setattr(track_module, "HELD_LIMIT", 2)
    followed = Followed(BOOK)
    followed.track._held = deque(maxlen=2)
    followed.take(status(BOOK, 0, repeated=True), delta(1), delta(2), delta(3))
    assert followed.take(image(0)) == []
    assert followed.take(image(1)) == [("status", 0, "live"), ("snapshot", 1), ("delta", 2), ("delta", 3)]
    assert followed.counters.overtaken == 1


def test_events_need_no_image(trades: Followed) -> None:
    """An event topic is live with its status, and every record stands alone."""
    assert trades.track.state == wire.LIVE
    assert trades.take(event(11), event(12)) == [("update", 11), ("update", 12)]


def test_events_before_the_status_are_delivered() -> None:
    """A live record that overtakes the answer is no reason to hold it back."""
    followed = Followed(TRADES)
    assert followed.take(event(7)) == [("update", 7)]
    assert followed.track.state == UNKNOWN
    assert followed.take(status(TRADES, 7, repeated=True), event(8)) == [("status", 7, "live"), ("update", 8)]


@pytest.mark.parametrize("first", [(), (event(11),), (status(TRADES, 11, wire.DOWN),)])
def test_who_joins_amid_anothers_repeats_waits_for_its_own(first: tuple[Record, ...]) -> None:
    """Their rest is not the beginning: it comes again, in order, behind the worker's answer, however the two meet."""
    followed = Followed(TRADES)
    rest = [event(number, flags=wire.REPEATED) for number in (9, 10)]
    own = [event(number, flags=wire.REPEATED) for number in (8, 9, 10, *(one.sequence for one in first))]
    followed.take(rest[0], *first, rest[1], status(TRADES, 10 + len(first), repeated=True))
    assert followed.take(*own) == [("update", 8), ("update", 9), ("update", 10)]


def test_repeats_of_another_epoch_begin_anew(trades: Followed) -> None:
    """What was had in one epoch says nothing of the next."""
    trades.take(event(10, flags=wire.REPEATED), status(TRADES, 4, epoch=2))
    assert trades.take(event(3, epoch=2, flags=wire.REPEATED)) == []
    trades.take(status(TRADES, 4, epoch=2, repeated=True))
    assert trades.take(event(3, epoch=2, flags=wire.REPEATED)) == [("update", 3)]


def test_kept_events_reach_the_newcomer_once(trades: Followed) -> None:
    """Repeated events are new to who has just joined; those repeated for other newcomers are not."""
    repeated = [event(number, flags=wire.REPEATED) for number in (8, 9, 10)]
    assert trades.take(*repeated[:2], event(11), repeated[2]) == [
        ("update", 8),
        ("update", 9),
        ("update", 11),
        ("update", 10),
    ]
    assert trades.take(*repeated, event(11, flags=wire.REPEATED)) == []
    assert trades.counters.duplicates == 4


def test_book_without_snapshots_is_delivered_as_it_comes() -> None:
    """orderbook.full has deltas only: the strategy composes it, nothing is held."""
    subject = "spot.orderbook.full.BTCUSDT"
    followed = Followed(subject)
    followed.take(status(subject, 2, repeated=True))
    assert followed.take(record(subject, 3, wire.DELTA)) == [("delta", 3)]
    assert followed.take(record(subject, 5, wire.DELTA)) == [("said here", 4, "live", 1), ("delta", 5)]


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("orderbook.50.BTCUSDT", True),
        ("orderbook.99.BTCUSDT", True),
        ("orderbook.full.BTCUSDT", False),
        ("tickers.BTCUSDT", True),
        ("kline.1.BTCUSDT", True),
        ("priceLimit.BTCUSDT", True),
        ("publicTrade.BTCUSDT", False),
        ("allLiquidation.BTCUSDT", False),
        ("order", False),
    ],
)
def test_nature_by_name(topic: str, expected: bool) -> None:
    """What a topic is, until its records show it."""
    assert keeps_state(topic) is expected


def test_kind_of_the_records_decides_what_the_topic_is() -> None:
    """A topic whose name says nothing is what its records are."""
    followed = Followed("linear.newState.BTCUSDT")
    subject = followed.track.subject
    assert followed.take(status(subject, 1), record(subject, 2, wire.SNAPSHOT)) == [
        ("status", 1, "live"),
        ("snapshot", 2),
    ]
    assert followed.take(record(subject, 4, wire.DELTA)) == [("said here", 3, "resyncing", 1)]
    events = Followed("linear.orderbook.odd.BTCUSDT")
    subject = events.track.subject
    assert events.take(status(subject, 1), record(subject, 2, wire.UPDATE)) == [("status", 1, "live"), ("update", 2)]


# Loss.


def test_lost_events_are_counted_with_the_time_they_fell_in(trades: Followed) -> None:
    """A jump of the sequence says how many, from when to when, and that they are gone for good."""
    trades.take(event(11))
    trades.outbox.clear()
    assert trades.take(event(15))[-2:] == [("said here", 14, "live", 3), ("update", 15)]
    trades.take(event(17))
    trades.track.on_record(event(20), NOW_NS)
    told = trades.outbox[0].decode()
    assert (told.lost, told.recoverable, told.since_ns) == (2, False, NOW_NS)
    assert (told.blind_from_ns, told.blind_to_ns) == (event(17).published_ns, event(20).published_ns)
    assert (trades.counters.lost, trades.counters.gaps) == (6, 3)


def test_events_lost_on_the_way_may_be_filled_by_kept_ones(trades: Followed) -> None:
    """After a loss, repeated events with the missing numbers are delivered, marked as repeated."""
    trades.take(event(10, flags=wire.REPEATED), event(14))
    assert trades.take(*(event(number, flags=wire.REPEATED) for number in (10, 11, 12, 13, 14))) == [
        ("update", 11),
        ("update", 12),
        ("update", 13),
    ]


def test_loss_amid_the_repeats_costs_none_of_them(trades: Followed) -> None:
    """Live events may be lost while those kept for the newcomer still come."""
    trades.take(event(7, flags=wire.REPEATED))
    assert trades.take(event(13)) == [("said here", 12, "live", 2), ("update", 13)]
    assert trades.take(*(event(number, flags=wire.REPEATED) for number in (8, 9, 10))) == [
        ("update", 8),
        ("update", 9),
        ("update", 10),
    ]


def test_lost_delta_takes_the_book_out_of_step_until_an_image(book: Followed) -> None:
    """A book with a missing delta is resyncing; deltas are held until an image makes it whole."""
    assert book.take(delta(13)) == [("said here", 12, "resyncing", 2)]
    assert book.track.needs_recovery
    assert book.take(delta(14)) == []
    assert book.take(status(BOOK, 14, repeated=True), image(14)) == [("status", 14, "live"), ("snapshot", 14)]
    assert not book.track.wants_image
    assert book.take(delta(15)) == [("delta", 15)]
    assert (book.counters.lost, book.counters.recovered) == (2, 1)


def test_loss_shown_by_a_snapshot_is_mended_by_it(book: Followed) -> None:
    """A snapshot that shows a hole also fills it: the loss is said, the state stays live."""
    assert book.take(snapshot(13), delta(14)) == [("said here", 12, "live", 2), ("snapshot", 13), ("delta", 14)]
    assert not book.track.needs_recovery


def test_loss_shown_by_a_repeated_status_is_seen_in_the_silence(book: Followed, trades: Followed) -> None:
    """A quiet subject's status carries the last number: the loss of the last record is seen without another."""
    assert book.take(status(BOOK, 11, repeated=True)) == [("said here", 11, "resyncing", 1)]
    assert book.track.needs_recovery
    assert book.take(image(11)) == [("status", 11, "live"), ("snapshot", 11)]
    assert trades.take(status(TRADES, 12, repeated=True)) == [("said here", 12, "live", 2)]


def test_loss_shown_by_a_new_status(book: Followed) -> None:
    """A new status has a number of its own; what is missing before it is said before it."""
    assert book.take(status(BOOK, 13, wire.DOWN)) == [("said here", 12, "resyncing", 2), ("status", 13, "down")]
    assert not book.track.needs_recovery, "the next snapshot comes by itself"


def test_image_ahead_of_what_was_received_shows_a_loss_and_mends_it(book: Followed) -> None:
    """An image numbered above the last record proves a loss, and is the recovery."""
    assert book.take(image(12), delta(13)) == [("said here", 12, "live", 2), ("snapshot", 12), ("delta", 13)]


def test_second_loss_while_out_of_step_is_said_too(book: Followed) -> None:
    """Each loss is said with its count; what was held before it is of no use."""
    book.take(delta(12))
    assert book.take(delta(14)) == [("said here", 13, "resyncing", 1)]
    assert book.take(image(12)) == [], "13 is missing"
    assert book.take(image(13)) == [("said here", 14, "live"), ("snapshot", 13), ("delta", 14)]


def test_duplicates_and_late_records_are_not_delivered(book: Followed, trades: Followed) -> None:
    """What has been delivered, or given up, is not delivered again."""
    assert book.take(
        delta(11), delta(11), snapshot(10), status(BOOK, 9, repeated=True), status(BOOK, 11, wire.DOWN)
    ) == [("delta", 11)]
    assert book.counters.duplicates == 4
    assert trades.take(event(12), event(11)) == [("said here", 11, "live", 1), ("update", 12)]
    assert book.take(delta(11, flags=wire.REPEATED)) == []


def test_image_in_step_is_skipped(book: Followed) -> None:
    """Images are for newcomers: who is in step skips them."""
    assert book.take(delta(11), image(11), image(10)) == [("delta", 11)]
    assert book.counters.images == 2


# States.


def test_status_that_says_nothing_new_is_not_delivered(book: Followed) -> None:
    """Repeated statuses are for newcomers and the quiet."""
    assert book.take(status(BOOK, 10, repeated=True), status(BOOK, 10, repeated=True)) == []


@pytest.mark.parametrize("state", [wire.LIVE, wire.DOWN, wire.REJECTED])
def test_status_is_told_once_however_often_it_is_repeated(state: str) -> None:
    """Its first word, the answer to a newcomer, the repeat in a silence: the same state for the same reason is told once."""
    followed = Followed(TRADES)
    said_once = [("status", 3, state)]
    assert followed.take(status(TRADES, 3, state, reason="why")) == said_once
    repeats = [status(TRADES, 3, state, reason="why", repeated=True, lines_up=up) for up in (1, 0)]
    assert followed.take(*repeats, *repeats) == []
    other = Followed(TRADES)
    assert other.take(*repeats, *repeats) == said_once


def test_repeated_status_stands_for_one_that_was_lost(trades: Followed) -> None:
    """Down and live again were lost: the repeat tells the hole, although the state is the one that was told last."""
    told = trades.take(
        status(TRADES, 12, repeated=True, since_ns=START_NS + 5, blind_from_ns=1, blind_to_ns=2, lost=None)
    )
    assert told == [("said here", 12, "live", 2), ("status", 12, "live", None)]
    assert trades.take(status(TRADES, 12, repeated=True, since_ns=START_NS + 5)) == []
    assert trades.take(
        status(TRADES, 13, wire.DOWN), status(TRADES, 14, wire.DOWN, repeated=True, reason="another")
    ) == [
        ("status", 13, "down"),
        ("said here", 14, "down", 1),
        ("status", 14, "down"),
    ]


def test_resync_of_the_worker_is_told_as_it_says(book: Followed) -> None:
    """The worker's statuses pass as they are; live comes with the snapshot that makes it true."""
    assert book.take(status(BOOK, 11, wire.RESYNCING)) == [("status", 11, "resyncing")]
    assert book.take(status(BOOK, 12)) == []
    assert book.track.state == wire.RESYNCING
    assert book.take(snapshot(13), delta(14)) == [("status", 12, "live"), ("snapshot", 13), ("delta", 14)]
    assert book.counters.recovered == 0


def test_stale_keeps_the_book(book: Followed) -> None:
    """Stale is silence, not loss: what was there can be continued."""
    assert book.take(status(BOOK, 11, wire.STALE), status(BOOK, 12), delta(13)) == [
        ("status", 11, "stale"),
        ("status", 12, "live"),
        ("delta", 13),
    ]


def test_status_superseded_before_it_was_true_is_left_out(book: Followed) -> None:
    """A live that was never true for the strategy is not told."""
    book.take(status(BOOK, 11, wire.DOWN))
    assert book.take(status(BOOK, 12), status(BOOK, 13, wire.DOWN, reason="reset")) == [("status", 13, "down")]


def test_next_sequence_is_open_only_in_step(book: Followed, trades: Followed) -> None:
    """The short way is open for the next record alone, and only while nothing is doubtful."""
    assert (book.track.next_sequence, trades.track.next_sequence) == (11, 11)
    book.take(status(BOOK, 11, wire.RESYNCING))
    assert book.track.next_sequence == 0
    trades.track.impose(wire.DOWN, "gone", NOW_NS)
    assert trades.track.next_sequence == 0


# Epochs.


def test_older_epoch_is_ignored(book: Followed) -> None:
    """Once a higher epoch was seen, records of lower ones are not delivered."""
    assert book.take(status(BOOK, 1, wire.SUBSCRIBING, epoch=2), delta(11), image(11)) == [("status", 1, "subscribing")]
    assert book.counters.old_epoch == 2


def test_new_epoch_begins_anew(book: Followed) -> None:
    """A new epoch's book is live with its own status and snapshot, whatever the numbers."""
    assert book.take(delta(3, epoch=2)) == [("said here", 3, "resyncing")]
    assert book.take(status(BOOK, 3, epoch=2, repeated=True), image(3, epoch=2), delta(4, epoch=2)) == [
        ("status", 3, "live"),
        ("snapshot", 3),
        ("delta", 4),
    ]
    assert book.counters.lost == 0, "sequences of two epochs do not compare"


def test_hole_between_epochs_of_events_is_bounded(trades: Followed) -> None:
    """Where the worker knows no hole, the client says from its last record to the new live."""
    trades.take(event(11))
    assert trades.take(status(TRADES, 1, wire.SUBSCRIBING, epoch=2), status(TRADES, 2, epoch=2, since_ns=77)) == [
        ("status", 1, "subscribing"),
        ("status", 2, "live"),
        ("said here", 2, "live", None),
    ]
    told = trades.last
    assert told is not None
    assert (told.blind_from_ns, told.blind_to_ns, told.recoverable) == (event(11).published_ns, 77, False)
    assert trades.take(status(TRADES, 3, wire.STALE, epoch=2), status(TRADES, 4, epoch=2)) == [
        ("status", 3, "stale"),
        ("status", 4, "live"),
    ], "it is said once"


def test_hole_between_epochs_is_said_where_the_end_of_the_first_was_not_heard(trades: Followed) -> None:
    """Live before and live after: a strategy that was busy while the worker was replaced learns of the hole all the same."""
    answer = status(TRADES, 5, epoch=2, repeated=True)
    assert trades.take(answer, answer, event(6, epoch=2)) == [
        ("status", 5, "live"),
        ("said here", 5, "live", None),
        ("update", 6),
    ]


def test_hole_that_the_worker_knows_is_not_said_twice(trades: Followed) -> None:
    """A live status with the hole in it is enough."""
    assert trades.take(status(TRADES, 2, epoch=2, blind_from_ns=1, blind_to_ns=2)) == [("status", 2, "live")]


def test_hole_that_the_worker_knows_ends_too_early_for_who_hears_of_it_late(trades: Followed) -> None:
    """What the new worker published before it answered us was not seen either."""
    trades.take(event(11))
    answer = status(TRADES, 5, epoch=2, repeated=True, blind_from_ns=1, blind_to_ns=2, lost=None)
    assert trades.take(answer) == [("status", 5, "live", None), ("said here", 5, "live", None)]
    told = trades.last
    assert told is not None
    assert (told.blind_from_ns, told.blind_to_ns) == (event(11).published_ns, answer.published_ns)


def test_hole_that_the_worker_knows_may_begin_too_late(trades: Followed) -> None:
    """Two workers later: the last one knows of the hole before it, not of the one before that."""
    trades.take(event(11))
    seen_ns = event(11).published_ns
    assert trades.take(status(TRADES, 2, epoch=3, blind_from_ns=seen_ns + 5, blind_to_ns=seen_ns + 9)) == [
        ("status", 2, "live"),
        ("said here", 2, "live", None),
    ]
    assert trades.last is not None
    assert trades.last.blind_from_ns == seen_ns


def test_hole_begins_with_the_first_word_where_nothing_was_ever_live() -> None:
    """An epoch that was only beginning when it was last heard of may have been live since."""
    followed = Followed(TRADES)
    begun = status(TRADES, 1, wire.SUBSCRIBING)
    followed.take(begun)
    followed.take(status(TRADES, 5, epoch=2, repeated=True))
    assert followed.last is not None
    assert followed.last.blind_from_ns == begun.published_ns


def test_hole_spans_epochs_that_never_were_live(trades: Followed) -> None:
    """The hole begins with the last epoch that delivered anything."""
    trades.take(event(11), status(TRADES, 1, wire.DOWN, epoch=2), status(TRADES, 1, epoch=3))
    assert trades.last is not None
    assert trades.last.blind_from_ns == event(11).published_ns


# The way to the worker.


def test_what_the_way_imposes_overrides_the_worker_until_a_record_comes(book: Followed) -> None:
    """Down is told once; the next record in order ends it without an image, for nothing is missing."""
    book.track.impose(wire.DOWN, "connection lost", NOW_NS)
    book.track.impose(wire.DOWN, "connection lost", NOW_NS)
    assert book.heard() == [("said here", 10, "down")]
    assert book.take(delta(11), delta(12)) == [("said here", 11, "live"), ("delta", 11), ("delta", 12)]


def test_loss_during_an_outage_is_said_when_it_is_over(trades: Followed) -> None:
    """The answer to the renewed subscription shows by its number what was missed."""
    trades.track.impose(wire.DOWN, "connection lost", NOW_NS)
    trades.heard()
    assert trades.take(status(TRADES, 14, repeated=True)) == [("said here", 14, "down", 4), ("status", 14, "live")]


def test_released_way_restores_what_was(book: Followed) -> None:
    """A worker that only hung goes on where it was."""
    book.track.impose(wire.DOWN, "no heartbeat", NOW_NS)
    book.track.release(NOW_NS)
    assert book.heard() == [("said here", 10, "down"), ("said here", 10, "live")]
    assert book.track.next_sequence == 11


def test_backlog_thrown_away_is_counted_and_begun_anew(book: Followed, trades: Followed) -> None:
    """What was thrown away is said with its count; the next answer begins anew, and later loss is still seen."""
    for number in (11, 12, 13):
        assert book.track.skip(delta(number)) == 1
        assert trades.track.skip(event(number)) == 1
    book.track.end_skipping(3, "3 records thrown away", NOW_NS)
    trades.track.end_skipping(3, "3 records thrown away", NOW_NS)
    assert book.heard() == [("said here", 13, "resyncing", 3)]
    assert book.take(delta(14)) == []
    assert book.take(status(BOOK, 14, repeated=True), image(14)) == [("status", 14, "live"), ("snapshot", 14)]
    assert trades.heard() == [("said here", 13, "resyncing", 3)]
    assert trades.take(status(TRADES, 15, repeated=True), event(16)) == [
        ("said here", 15, "resyncing", 2),
        ("status", 15, "live"),
        ("update", 16),
    ]


def test_loss_within_a_backlog_is_missed_and_counted_as_lost(trades: Followed) -> None:
    """What was dropped on the way before it could be thrown away; repeated records take no number of their own."""
    assert [trades.track.skip(event(number)) for number in (11, 15, 15)] == [1, 4, 0]
    assert trades.track.skip(status(TRADES, 17, repeated=True)) == 2
    assert trades.track.skip(status(TRADES, 17, repeated=True)) == 0
    assert (trades.counters.lost, trades.counters.gaps) == (5, 2)


def test_backlog_of_another_epoch(book: Followed) -> None:
    """Skipped records of a new epoch are known to belong to it; those of an old one change nothing."""
    assert book.track.skip(delta(5, epoch=2)) == 1
    assert book.track.skip(delta(50)) == 0
    book.track.end_skipping(2, "2 records thrown away", NOW_NS)
    assert (book.track.epoch, book.track.sequence) == (2, 5)


def test_status_made_here_is_flagged_as_its_data_is(book: Followed) -> None:
    """What is said of simulated data is marked as it is."""
    book.take(delta(11, flags=wire.SIMULATED))
    book.track.impose(wire.DOWN, "connection lost", NOW_NS)
    assert book.outbox[-1].is_simulated
    book.take(delta(12))
    book.track.impose(wire.DOWN, "connection lost", NOW_NS)
    assert not book.outbox[-1].is_simulated


# Views.


def test_view_follows_what_is_delivered() -> None:
    """A view gets every record in order, after the state that it is in."""
    kept = Kept()
    followed = Followed(BOOK)
    followed.track.attach(kept)
    followed.take(status(BOOK, 10, repeated=True), image(10), delta(11), delta(13), image(13))
    assert kept.taken == [("snapshot", 10), ("delta", 11), ("snapshot", 13)]
    assert kept.told == ["unknown", "live", "resyncing", "live"]
    followed.track.detach()
    assert kept.told[-1] == "unknown"


def test_view_that_comes_late_waits_for_an_image(book: Followed) -> None:
    """A subject in step with a view that is not wants an image, which the view gets and the strategy does not."""
    kept = Kept()
    book.track.attach(kept)
    assert book.track.wants_image
    assert not book.track.is_live
    assert book.take(image(9), image(10), image(10), delta(11)) == [("delta", 11)]
    assert kept.taken == [("snapshot", 10), ("delta", 11)]
    assert book.track.is_live
    assert not book.track.wants_image


def test_image_is_wanted_only_where_one_is_to_be_had(book: Followed, trades: Followed) -> None:
    """Events have no images; a state has one only while the worker calls it live or stale."""
    assert not trades.track.wants_image
    assert book.track.is_answered
    book.take(status(BOOK, 11, wire.RESYNCING))
    assert not book.track.wants_image, "the worker will send a snapshot"
    assert not Followed(BOOK).track.wants_image
    assert not Followed(BOOK).track.is_answered


def test_subject_without_a_view_can_be_let_go(book: Followed) -> None:
    """Letting a subject go tells nobody where nobody looks."""
    book.track.detach()
    assert book.heard() == []
