"""The judge of one stream by its own records: every kind of broken rule is found, and nothing else."""

import msgspec
import pytest
from support.drill import BOOK, FULL, LEVEL_1, TICKERS, TRADES, S, Stream, book, level_1, ticker, trade

from feedhandler import wire
from feedhandler.drill import promises
from feedhandler.drill.ledger import LONGEST_LIST, Ledger
from feedhandler.drill.plainbook import BookData


@pytest.fixture
def stream() -> Stream:
    """A live book at u 1."""
    stream = Stream(BOOK)
    stream.live(book(1, "snapshot", bids=[["10", "1"]]))
    return stream


def live(topic: str, payload: bytes = b"", product: str = "linear") -> Stream:
    stream = Stream(topic, product)
    stream.live(payload)
    return stream


def test_a_whole_stream_is_found_whole() -> None:
    """Status, snapshot, deltas, a resync, repeats, images: nothing is wrong, and all is counted."""
    stream = live(BOOK, book(1, "snapshot", bids=[["10", "1"]]))
    stream.send(book(2, bids=[["10", "2"]]), book(3))
    stream.status(wire.LIVE, flags=wire.REPEATED)
    stream.image(book(3, "snapshot", bids=[["10", "2"]]))
    stream.lose(book(4))
    stream.status(wire.RESYNCING, blind_from_ns=stream.now_ns - S)
    stream.status(wire.LIVE, blind_from_ns=stream.now_ns - S, blind_to_ns=stream.now_ns)
    stream.pass_on(book(5, "snapshot"), wire.SNAPSHOT)
    stream.send(book(6))
    stream.settle(tail=True)
    assert stream.broken == []
    assert stream.ledger.counts.records == 5
    assert stream.ledger.counts.images == 1
    assert (stream.ledger.counts.missed, stream.ledger.counts.gone) == (1, 0)
    assert [told.state for told in stream.ledger.told] == ["subscribing", "live", "resyncing", "live"]


# The header.


def test_a_dropped_record_is_found_by_its_number(stream: Stream) -> None:
    """A sequence that jumps within an epoch."""
    stream.sequence += 1
    stream.send(book(2))
    assert stream.broken == [promises.SEQUENCE]


def test_a_number_that_comes_again_is_found(stream: Stream) -> None:
    """A sequence that stands still."""
    stream.sequence -= 1
    stream.send(book(2))
    assert stream.broken == [promises.SEQUENCE]


def test_a_repeated_status_must_carry_the_last_number(stream: Stream) -> None:
    """How the loss of the last record before a silence is seen."""
    stream.status(wire.LIVE, flags=wire.REPEATED, sequence=stream.sequence + 1)
    assert stream.broken == [promises.SEQUENCE]


def test_a_repeated_status_must_say_what_was_said(stream: Stream) -> None:
    """A repeat is no way to tell a new state."""
    stream.status(wire.DOWN, flags=wire.REPEATED)
    assert stream.broken == [promises.TOLD_FIRST]


def test_records_of_an_older_epoch_are_ignored(stream: Stream) -> None:
    """Whatever they say: a strategy ignores them, too."""
    stream.epoch -= 1
    stream.pass_on(b"nonsense")
    assert stream.broken == []
    assert stream.ledger.counts.records == 1


def test_numbers_of_another_epoch_begin_anew(stream: Stream) -> None:
    """And so does the book: an epoch without a snapshot is not held against the old one."""
    stream.epoch, stream.sequence = 8, 40
    stream.status(wire.LIVE, flags=wire.REPEATED)
    stream.image(book(9, "snapshot"))
    stream.send(book(10))
    assert stream.broken == []
    assert stream.ledger.epoch == 8


def test_unflagged_simulated_data_are_found(stream: Stream) -> None:
    """Every record says that it is simulated."""
    record = wire.Record("linear.x", wire.UPDATE, 0, 0, 7, stream.sequence + 1, 1, 1, book(2))
    stream.ledger.take(record._replace(kind=wire.DELTA))
    assert stream.broken == [promises.FLAGGED]


def test_a_record_sent_before_is_no_new_one(stream: Stream) -> None:
    """As private records are, to newcomers."""
    stream.record(wire.UPDATE, b"{}", flags=wire.REPEATED, sequence=1)
    assert (stream.broken, stream.ledger.counts.records) == ([], 1)


# States.


@pytest.mark.parametrize("state", [wire.SUBSCRIBING, wire.STALE, wire.RESYNCING, wire.DOWN, wire.REJECTED, wire.ENDED])
def test_data_of_a_topic_that_is_not_live_are_found(state: str) -> None:
    """The status comes before the record."""
    stream = live(TRADES)
    stream.status(state)
    stream.send(trade("a"), kind=wire.UPDATE)
    assert stream.broken == [promises.TOLD_FIRST]


@pytest.mark.parametrize("state", [wire.SUBSCRIBING, wire.RESYNCING, wire.DOWN])
@pytest.mark.parametrize(
    ("topic", "first", "then"),
    [
        (BOOK, book(1, "snapshot"), book(2)),
        (TICKERS, ticker("snapshot", a="1"), ticker(a="2")),
    ],
)
def test_a_state_must_begin_with_a_snapshot(topic: str, first: bytes, then: bytes, state: str) -> None:
    """After `subscribing`, `resyncing` and `down` a delta is of no use."""
    stream = live(topic, first)
    stream.status(state)
    stream.status(wire.LIVE)
    stream.send(then)
    assert stream.broken == [promises.SNAPSHOT_FIRST]


def test_after_stale_a_state_may_go_on() -> None:
    """It may return to live by itself."""
    stream = live(BOOK, book(1, "snapshot"))
    stream.status(wire.STALE)
    stream.status(wire.LIVE)
    stream.send(book(2))
    assert stream.broken == []


@pytest.mark.parametrize(
    ("topic", "product", "kind"),
    [
        (TRADES, "linear", wire.SNAPSHOT),
        (BOOK, "linear", wire.UPDATE),
        (LEVEL_1, "linear", wire.DELTA),
        ("tickers.BTCUSDT", "spot", wire.DELTA),
        (FULL, "linear", wire.SNAPSHOT),
    ],
)
def test_a_kind_that_the_topic_does_not_have_is_found(topic: str, product: str, kind: int) -> None:
    """By the table of kinds and topics."""
    stream = Stream(topic, product)
    stream.status(wire.LIVE)
    stream.send(book(1) if "orderbook" in topic else trade("a"), kind=kind)
    assert promises.INVENTED in stream.broken


def test_when_a_topic_was_live_first_is_remembered() -> None:
    """Events are owed from then on."""
    stream = Stream(TRADES)
    stream.status(wire.SUBSCRIBING)
    stream.later()
    stream.status(wire.LIVE)
    first_ns = stream.now_ns
    stream.later()
    stream.status(wire.DOWN)
    stream.status(wire.LIVE)
    assert stream.ledger.since == (first_ns, 0)


def test_a_hole_is_new_once() -> None:
    """Told with `down`, and again with an end with `live`."""
    stream = live(TRADES)
    stream.status(wire.DOWN, blind_from_ns=5)
    stream.status(wire.LIVE, blind_from_ns=5, blind_to_ns=9)
    stream.status(wire.LIVE, blind_from_ns=20, blind_to_ns=21)
    assert [told.is_new_hole for told in stream.ledger.told] == [False, False, True, False, True]
    assert [told.window for told in stream.ledger.told[2:]] == [(5, None), (5, 9), (20, 21)]


# Content.


def test_a_delta_that_does_not_continue_its_book_is_found(stream: Stream) -> None:
    """A missing u, and one that comes too late."""
    stream.pass_on(book(3))
    stream.pass_on(book(2))
    assert stream.broken == [promises.ORDER, promises.ORDER]


@pytest.mark.parametrize("payload", [b"{", b'{"data":{"u":"x"}}', b'{"data":5}'])
def test_a_book_that_cannot_be_read_is_found(stream: Stream, payload: bytes) -> None:
    """Whatever the venue sent, a strategy must not get it as a record of a book."""
    stream.pass_on(payload)
    assert stream.broken == [promises.INVENTED]


def test_a_ticker_that_cannot_be_read_is_found() -> None:
    """A message without data is no change of a state."""
    stream = live(TICKERS, ticker("snapshot", a="1"))
    stream.pass_on(b'{"topic":"x"}')
    assert stream.broken == [promises.INVENTED]


def test_a_snapshot_out_of_turn_is_counted_as_passed_on(stream: Stream) -> None:
    """It is the venue's own, and begins the count anew."""
    stream.send(book(1, "snapshot", seq=99), kind=wire.SNAPSHOT)
    stream.send(book(2, seq=100))
    assert stream.broken == []
    assert stream.ledger.counts.passed_snapshots == 1
    stream.status(wire.RESYNCING)
    stream.status(wire.LIVE)
    stream.send(book(3, "snapshot", seq=101), kind=wire.SNAPSHOT)
    assert stream.ledger.counts.passed_snapshots == 1


def test_fields_that_the_venue_never_had_are_counted(stream: Stream) -> None:
    """They pass through."""
    stream.send(book(2).replace(b'"s"', b'"newField":{},"s"'), book(3))
    assert (stream.broken, stream.ledger.counts.new_fields) == ([], 1)


def test_a_trade_that_comes_again_is_found() -> None:
    """In a frame of its own or in another, now or after a loss of connection."""
    stream = live(TRADES)
    stream.send(trade("a"), trade("b", "a"), kind=wire.UPDATE)
    stream.status(wire.DOWN)
    stream.status(wire.LIVE)
    stream.send(trade("b"), kind=wire.UPDATE)
    assert stream.broken == [promises.REPEATED, promises.REPEATED]
    assert stream.ledger.counts.repeated == 2


def test_an_update_of_a_book_that_comes_again_is_found(stream: Stream) -> None:
    """The very same update; a snapshot may tell a state again."""
    stream.send(book(2))
    stream.pass_on(book(2))
    assert stream.broken == [promises.ORDER, promises.REPEATED]


def test_a_book_that_is_not_the_venues_is_found(stream: Stream) -> None:
    """Level for level."""
    stream.ledger.compare_book(BookData(1, [("10", "1")], []))
    assert stream.broken == []
    stream.ledger.compare_book(BookData(1, [("10", "2")], []))
    assert stream.broken == [promises.BOOK]
    assert stream.ledger.counts.books_compared == 2


def test_a_topic_without_book_is_not_compared() -> None:
    """There is nothing to compare."""
    stream = live(TRADES)
    stream.ledger.compare_book(BookData(1, [], []))
    assert (stream.broken, stream.ledger.counts.books_compared) == ([], 0)


# Images.


@pytest.mark.parametrize(
    ("topic", "first", "good", "bad"),
    [
        (
            BOOK,
            book(1, "snapshot", bids=[["10", "1"]]),
            book(1, "snapshot", bids=[["10.0", "1"]]),
            book(1, "snapshot", bids=[["10", "2"]]),
        ),
        (TICKERS, ticker("snapshot", a="1"), ticker("snapshot", a="1"), ticker("snapshot", a="1", b="2")),
        (LEVEL_1, level_1(1), level_1(1), level_1(2)),
    ],
)
def test_an_image_must_be_what_one_in_step_has(topic: str, first: bytes, good: bytes, bad: bytes) -> None:
    """Book, merged fields, last record."""
    for image, found in ((good, []), (bad, [promises.IMAGE])):
        stream = live(topic, first)
        stream.image(image)
        assert stream.broken == found


def test_an_image_names_the_fields_that_are_wrong() -> None:
    """And not the others."""
    stream = live(TICKERS, ticker("snapshot", a="1", b="1"))
    stream.image(ticker("snapshot", a="1", b="2", c="3"))
    assert stream.ledger.findings[0].evidence == "linear.tickers.BTCUSDT: wrong are b, c"


def test_an_image_must_carry_the_last_number(stream: Stream) -> None:
    """Or what follows could not be applied."""
    stream.image(book(1, "snapshot", bids=[["10", "1"]]), sequence=stream.sequence + 1)
    assert stream.broken == [promises.IMAGE]


def test_there_is_no_image_of_events() -> None:
    """A newcomer gets none of the past."""
    stream = live(TRADES)
    stream.image(trade("a"))
    assert stream.broken == [promises.IMAGE]


def test_there_is_no_image_of_a_topic_that_is_down(stream: Stream) -> None:
    """Only while it is live or stale."""
    stream.status(wire.DOWN)
    stream.image(book(1, "snapshot"))
    assert stream.broken == [promises.IMAGE]


def test_an_image_that_cannot_be_read_is_found(stream: Stream) -> None:
    """It is ours: it has to be right."""
    stream.image(b"{}")
    assert stream.broken == [promises.IMAGE]


@pytest.mark.parametrize(
    ("topic", "image", "then"),
    [
        (BOOK, book(3, "snapshot"), book(4)),
        (TICKERS, ticker("snapshot", a="1"), ticker(a="2")),
        (LEVEL_1, level_1(1), level_1(2)),
    ],
)
def test_a_newcomer_begins_with_the_image(topic: str, image: bytes, then: bytes) -> None:
    """What it hears before it holds; what follows must continue the image."""
    stream = Stream(topic)
    stream.sequence = 20
    if topic == BOOK:
        stream.pass_on(book(3))
    stream.status(wire.LIVE, flags=wire.REPEATED)
    assert not stream.ledger.in_step
    stream.image(image)
    assert stream.ledger.in_step
    stream.pass_on(then, wire.SNAPSHOT if topic == LEVEL_1 else wire.DELTA)
    assert stream.broken == []


def test_a_newcomer_that_is_not_continued_finds_it() -> None:
    """An image of another moment than its number says."""
    stream = Stream(BOOK)
    stream.sequence = 20
    stream.status(wire.LIVE, flags=wire.REPEATED)
    stream.image(book(3, "snapshot"))
    stream.pass_on(book(5))
    assert stream.broken == [promises.ORDER]


# The rest.


def test_without_truth_the_stream_itself_is_judged() -> None:
    """As a newcomer's is: nothing is settled, and what comes again is found."""
    ledger = Ledger("linear." + TRADES, "linear")
    for sequence in (1, 2):
        record = wire.Record(ledger.subject, wire.UPDATE, wire.SIMULATED, 0, 7, sequence, 1, 1, trade("a"))
        ledger.take(record)
    ledger.settle(5, 5)
    assert [finding.promise for finding in ledger.findings] == [promises.REPEATED]


def test_a_mark_is_a_copy(stream: Stream) -> None:
    """What is counted later does not change it."""
    mark = stream.ledger.mark()
    stream.send(book(2))
    assert (mark.counts.records, mark.told, mark.findings, mark.epoch) == (1, 2, 0, 7)
    assert stream.ledger.mark().counts.records == 2


def test_findings_have_an_end() -> None:
    """A stream that is broken through and through does not fill the memory."""
    stream = live(TRADES)
    for number in range(LONGEST_LIST + 10):
        stream.sequence += 1
        stream.pass_on(msgspec.json.encode({"data": [{"i": str(number)}]}), wire.UPDATE)
    assert len(stream.broken) == LONGEST_LIST
