"""A subject between two workers: what of the new one's stream the old one did not bring."""

from collections import deque
from typing import Any, Final

import msgspec
import pytest
from support.records import BOOK, START_NS, TRADES, record
from support.records import status as status_record

from feedhandler import wire
from feedhandler.client.counters import Counters
from feedhandler.client.handover import CATCH_UP_S, HELD_LIMIT, PATIENCE_S, SKEW_NS, Handover, keys_of
from feedhandler.client.record import Record
from feedhandler.client.track import Track

LIQUIDATIONS: Final = "linear.allLiquidation.BTCUSDT"
TICKER: Final = "linear.tickers.BTCUSDT"
KLINE: Final = "linear.kline.1.BTCUSDT"
ORDERS: Final = "private.order"
FULL: Final = "linear.orderbook.full.BTCUSDT"
SECOND_NS: Final = 1_000_000_000


def payload(data: Any, kind: str = "snapshot") -> bytes:
    return msgspec.json.encode({"topic": "any", "type": kind, "ts": 1, "data": data})


def at(subject: str, sequence: int, kind: int, seconds: float, data: Any, *, epoch: int, flags: int = 0) -> Record:
    """A record that was published so many seconds after the start."""
    published_ns = START_NS + int(seconds * SECOND_NS)
    content = payload(data, "delta" if kind == wire.DELTA else "snapshot")
    return record(subject, sequence, kind, epoch=epoch, flags=flags, payload=content, published_ns=published_ns)


def book(u: int, *levels: tuple[str, str]) -> dict[str, Any]:
    return {"s": "BTCUSDT", "b": [list(level) for level in levels], "a": [], "u": u, "seq": u * 7}


def trades(*ids: str) -> list[dict[str, str]]:
    return [{"i": found, "p": "1"} for found in ids]


class Move:
    """A subject that the old worker brings from 0 s on, and the new one, as far as we hear it, from 10 s on."""

    def __init__(self, subject: str, *, state: str = wire.LIVE) -> None:
        self.counters = Counters()
        self.subject = subject
        self.outbox: deque[Record] = deque()
        self.old = Track(subject, self.outbox, self.counters)
        self.old.link = "linear"
        self.numbers = {1: 0, 2: 100}
        self.old.on_record(self.status(1, 0.0, state), START_NS)

    def status(self, epoch: int, seconds: float, state: str, *, repeated: bool = False) -> Record:
        self.numbers[epoch] += not repeated
        made = status_record(self.subject, self.numbers[epoch], state, epoch=epoch, repeated=repeated)
        return msgspec.structs.replace(made, published_ns=START_NS + int(seconds * SECOND_NS))

    def _data(self, epoch: int, seconds: float, kind: int, data: Any, flags: int) -> Record:
        self.numbers[epoch] += not flags & wire.IMAGE
        return at(self.subject, self.numbers[epoch], kind, seconds, data, epoch=epoch, flags=flags)

    def brings(self, seconds: float, kind: int, data: Any, flags: int = 0) -> None:
        """The old worker publishes."""
        made = self._data(1, seconds, kind, data, flags)
        if hasattr(self, "handover"):
            self.handover.take_old(made, START_NS, seconds)
        else:
            self.old.on_record(made, START_NS)

    def begin(self, seconds: float = 10.0, state: str = wire.LIVE) -> None:
        """The new worker answers our subscription."""
        self.handover = Handover(self.old, "linear_1", self.counters, seconds)
        self.handover.take(self.status(2, seconds, state, repeated=True), START_NS)

    def sends(self, seconds: float, kind: int, data: Any, flags: int = 0) -> None:
        """The new worker publishes."""
        self.handover.take(self._data(2, seconds, kind, data, flags), START_NS)

    def says(self, seconds: float, state: str) -> None:
        self.handover.take(self.status(2, seconds, state), START_NS)

    def end(self, seconds: float) -> None:
        """The old worker says that the subject is its own no more."""
        self.handover.take_old(self.status(1, seconds, wire.ENDED), START_NS, seconds)

    def go_over(self) -> bool:
        self.outbox.clear()
        return self.handover.go_over(START_NS + 20 * SECOND_NS)

    @property
    def told(self) -> list[tuple[Any, ...]]:
        """What the strategy is handed of the new epoch: word, number, and what is in it."""
        handed: list[tuple[Any, ...]] = []
        for one in self.outbox:
            assert one.epoch == 2
            if one.kind == wire.STATUS:
                found: wire.Status = one.decode()
                hole = () if found.lost is msgspec.UNSET else (found.blind_from_ns, found.blind_to_ns)
                handed.append((found.state, one.sequence, *hole))
            else:
                word = "image" if one.is_image else wire.KIND_NAMES[one.kind]
                handed.append((word, one.sequence, msgspec.json.decode(one.payload)["data"]))
        return handed


def test_book_goes_on_from_an_image_at_the_old_ones_last_update() -> None:
    """The image has the number of the record that it stands for; what follows it continues both."""
    move = Move(BOOK)
    move.brings(1, wire.SNAPSHOT, book(5, ("9", "1")))
    move.begin()
    move.sends(10, wire.SNAPSHOT, book(5, ("9", "1")), wire.IMAGE)
    for u in (6, 7, 8):
        move.sends(10 + u / 10, wire.DELTA, book(u, ("9", str(u)), (str(u), "1")))
    move.brings(10.7, wire.DELTA, book(6, ("9", "6"), ("6", "1")))
    move.brings(10.8, wire.DELTA, book(7, ("9", "7"), ("7", "1")))
    assert not move.handover.is_due(10.8)
    move.end(11)
    assert move.handover.is_due(11)
    assert move.go_over()
    assert move.told == [
        ("live", 102 ),
        ("image", 102, book(7, ("9", "7"), ("7", "1"), ("6", "1"))),
        ("delta", 103, book(8, ("9", "8"), ("8", "1"))),
    ]  # fmt: skip
    composed = move.outbox[1]
    assert (composed.flags, composed.line) == (wire.IMAGE | wire.COMPOSED, wire.NO_LINE)
    assert (move.old.link, move.old.epoch, move.old.next_sequence, move.old.noted) == ("linear_1", 2, 104, None)


def test_new_worker_that_lags_is_waited_for() -> None:
    """Until it has brought what the old one brought last, and no longer than it may take."""
    move = Move(BOOK)
    move.brings(1, wire.SNAPSHOT, book(5, ("9", "1")))
    move.begin()
    move.sends(10, wire.SNAPSHOT, book(5, ("9", "1")), wire.IMAGE)
    move.brings(10.9, wire.DELTA, book(6, ("9", "2")))
    move.end(11)
    assert not move.handover.is_due(11)
    assert not move.handover.is_due(11.5), "looked for once more, where it was not"
    assert move.handover.is_due(11.01 + CATCH_UP_S)
    move.sends(11.1, wire.DELTA, book(6, ("9", "2")))
    assert move.handover.is_due(11.1)
    assert move.go_over()
    assert move.told == [("live", 101), ("image", 101, book(6, ("9", "2")))]


def test_new_worker_that_is_ahead_begins_with_its_own_image() -> None:
    """It is a whole state, later than all that the old one brought."""
    move = Move(BOOK)
    move.brings(1, wire.SNAPSHOT, book(5, ("9", "1")))
    move.begin()
    move.sends(10, wire.SNAPSHOT, book(7, ("9", "3")), wire.IMAGE)
    move.sends(10, wire.DELTA, book(8, ("9", "4")))
    move.end(11)
    assert move.handover.is_due(11), "the last of the old one came long before"
    assert move.go_over()
    assert move.told == [("live", 100), ("image", 100, book(7, ("9", "3"))), ("delta", 101, book(8, ("9", "4")))]


def test_state_that_was_out_of_step_begins_with_the_new_workers_image() -> None:
    """There is nothing that could be continued."""
    move = Move(BOOK)
    move.brings(1, wire.DELTA, book(6, ("9", "2")))
    move.begin()
    move.sends(10, wire.SNAPSHOT, book(5, ("9", "1")), wire.IMAGE)
    move.sends(10, wire.DELTA, book(6, ("9", "2")))
    move.end(11)
    assert move.handover.is_due(11)
    move.go_over()
    assert move.told == [("live", 100), ("image", 100, book(5, ("9", "1"))), ("delta", 101, book(6, ("9", "2")))]


def test_latest_value_is_repeated_as_an_image_and_continued() -> None:
    """Every candle after it comes, as sent."""
    move = Move(KLINE)
    move.brings(1, wire.SNAPSHOT, [{"close": "1"}])
    move.begin()
    move.sends(10, wire.SNAPSHOT, [{"close": "1"}], wire.IMAGE)
    for close in ("2", "3", "4"):
        move.sends(10.5, wire.SNAPSHOT, [{"close": close}])
    move.brings(10.6, wire.SNAPSHOT, [{"close": "2"}])
    move.end(11)
    assert move.handover.is_due(11)
    assert move.go_over()
    assert move.told == [
        ("live", 101),
        ("image", 101, [{"close": "2"}]),
        ("snapshot", 102, [{"close": "3"}]),
        ("snapshot", 103, [{"close": "4"}]),
    ]
    assert move.outbox[1].flags == wire.IMAGE, "the venue's own text"


def test_merged_fields_are_composed_at_the_old_ones_last_change() -> None:
    """A ticker's fields are those of all changes up to there."""
    move = Move(TICKER)
    move.brings(1, wire.SNAPSHOT, {"last": "1", "mark": "1"})
    move.begin()
    move.sends(10, wire.SNAPSHOT, {"mark": "1", "last": "1"}, wire.IMAGE)
    move.sends(10.4, wire.DELTA, {"last": "2"})
    move.sends(10.5, wire.DELTA, {"mark": "3"})
    move.brings(10.6, wire.DELTA, {"last": "2"})
    move.end(11)
    assert move.handover.is_due(11)
    assert move.go_over()
    assert move.told == [("live", 101), ("image", 101, {"mark": "1", "last": "2"}), ("delta", 102, {"mark": "3"})]


def test_change_that_comes_twice_is_told_apart_by_its_message() -> None:
    """A ticker that goes to and fro: the venue's time or sequence belongs to it."""
    move = Move(TICKER)
    move.brings(1, wire.SNAPSHOT, {"last": "1"})
    move.begin()
    move.sends(10, wire.SNAPSHOT, {"last": "1"}, wire.IMAGE)

    def message(ts: int, last: str) -> Record:
        return record(TICKER, 0, wire.DELTA, payload=payload({"last": last}, "delta").replace(b":1,", b":%d," % ts))

    for sequence, (ts, last) in enumerate(((5, "2"), (6, "3"), (7, "2")), 101):
        made = msgspec.structs.replace(message(ts, last), epoch=2, sequence=sequence)
        move.handover.take(made, START_NS)
    made = msgspec.structs.replace(message(5, "2"), sequence=3, published_ns=START_NS + 10 * SECOND_NS)
    move.handover.take_old(made, START_NS, 10.0)
    move.end(11)
    assert move.go_over()
    assert [word for word, *_ in move.told] == ["live", "image", "delta", "delta"]


def test_events_that_the_old_worker_did_not_bring_are_brought() -> None:
    """Each trade once, by its id, however the two workers parcel them; the last known ones make a message shorter."""
    move = Move(TRADES)
    move.brings(9.9, wire.UPDATE, trades("a"))
    move.begin()
    move.sends(10.1, wire.UPDATE, trades("a", "b"))
    move.sends(10.2, wire.UPDATE, trades("c", "d", "e"))
    move.says(10.3, wire.STALE)
    move.says(10.4, wire.LIVE)
    move.sends(10.5, wire.UPDATE, trades("f"))
    move.brings(10.6, wire.UPDATE, trades("b", "c"))
    move.brings(10.7, wire.UPDATE, trades("d"))
    move.end(11)
    assert move.handover.is_due(11)
    assert move.go_over()
    assert move.told == [
        ("live", 101),
        ("update", 102, trades("e")),
        ("stale", 103),
        ("live", 104),
        ("update", 105, trades("f")),
    ]
    assert move.outbox[1].flags == wire.COMPOSED
    assert move.outbox[4].flags == 0


def test_events_older_than_both_is_what_the_old_worker_brought_before() -> None:
    """A new worker that lags sends again what came before we heard of it."""
    move = Move(TRADES)
    for number in range(3):
        move.brings(9.8 + number / 100, wire.UPDATE, trades(f"{number}"))
    move.begin()
    for number in range(4):
        move.sends(10 + number / 100, wire.UPDATE, trades(f"{number}"))
    move.end(11)
    assert move.handover.is_due(11)
    assert move.go_over()
    assert move.told == [("live", 103), ("update", 104, trades("3"))]


def test_event_older_than_both_in_one_message_with_a_known_one() -> None:
    """The new worker's message holds two of the old one's, of which the first was out of sight already."""
    move = Move(TRADES)
    move.brings(9.8, wire.UPDATE, trades("a", "b"))
    move.brings(9.8, wire.UPDATE, trades("c"))
    move.begin()
    move.sends(10, wire.UPDATE, trades("b", "c", "d"))
    move.end(11)
    assert move.handover.is_due(11)
    assert move.go_over()
    assert move.told == [("live", 100), ("update", 101, trades("d"))]


def test_events_repeated_after_a_new_one_are_the_older_ones() -> None:
    """An account's records are kept for newcomers, and what happens meanwhile comes before them."""
    move = Move(ORDERS)
    for number in range(4):
        move.brings(9 + number / 10, wire.UPDATE, [{"orderId": f"{number}"}])
    move.numbers[2] = 103
    move.handover = Handover(move.old, "linear_1", move.counters, 10.0)
    move.sends(10, wire.UPDATE, [{"orderId": "3"}])
    move.handover.take(move.status(2, 10, wire.LIVE, repeated=True), START_NS)
    for number in range(3):
        kept = at(ORDERS, 101 + number, wire.UPDATE, 10, [{"orderId": f"{number}"}], epoch=2, flags=wire.REPEATED)
        move.handover.take(kept, START_NS)
    move.sends(10.1, wire.UPDATE, [{"orderId": "4"}])
    move.end(11)
    assert move.go_over()
    assert move.told == [("live", 104), ("update", 105, [{"orderId": "4"}])]


def test_nothing_new_is_a_status_alone() -> None:
    """With the number of the last record that is known already."""
    move = Move(TRADES)
    move.begin()
    move.sends(10.1, wire.UPDATE, trades("a"))
    move.brings(10.2, wire.UPDATE, trades("a"))
    move.end(11)
    assert move.go_over()
    assert move.told == [("live", 101)]
    assert move.old.next_sequence == 102


def test_equal_events_are_counted() -> None:
    """Events without ids that are the same to the letter: as many as the venue sent."""
    row = {"T": 1, "v": "2"}
    move = Move(LIQUIDATIONS)
    move.begin()
    for _ in range(3):
        move.sends(10.1, wire.UPDATE, [row])
    move.brings(10.2, wire.UPDATE, [row])
    move.end(11)
    assert move.handover.is_due(11)
    assert move.go_over()
    assert move.told == [("live", 101), ("update", 102, [row]), ("update", 103, [row])]


def test_deltas_without_a_snapshot_are_continued_by_their_update_id() -> None:
    """The full book, which the strategy composes itself."""
    move = Move(FULL)
    move.begin()
    for u in (5, 6, 7):
        move.sends(10.1, wire.DELTA, book(u))
    move.brings(10.1, wire.DELTA, book(5))
    move.end(11)
    assert move.go_over()
    assert move.told == [("live", 101), ("delta", 102, book(6)), ("delta", 103, book(7))]


def test_message_that_is_no_list_is_whole_or_not_at_all() -> None:
    """An object of a topic that is not known."""
    move = Move("linear.news.BTCUSDT")
    move.begin()
    move.sends(10.1, wire.UPDATE, {"n": 1})
    move.sends(10.1, wire.UPDATE, {"n": 2})
    move.brings(10.1, wire.UPDATE, {"n": 1})
    move.end(11)
    assert move.go_over()
    assert move.told == [("live", 101), ("update", 102, {"n": 2})]


@pytest.mark.parametrize("seconds", [0.0, (SKEW_NS - 1) / SECOND_NS])
def test_short_time_together_is_a_hole_of_events(seconds: float) -> None:
    """The new worker may have published before we heard it what the old one had not yet when it ended."""
    move = Move(TRADES)
    move.brings(9, wire.UPDATE, trades("a"))
    move.begin()
    move.sends(10, wire.UPDATE, trades("b"))
    move.end(10 + seconds)
    assert not move.go_over()
    left_ns, heard_ns = START_NS + 9 * SECOND_NS, START_NS + 10 * SECOND_NS
    assert move.told == [("live", 100), ("live", 101, left_ns, heard_ns), ("update", 101, trades("b"))]


def test_time_that_nothing_is_known_of_is_a_hole_of_events() -> None:
    """Who was blind when the new worker was first heard has missed what came before."""
    move = Move(TRADES, state=wire.DOWN)
    move.brings(9, wire.UPDATE, trades("a"))
    move.begin()
    move.end(11)
    assert not move.go_over()
    assert move.told == [("live", 100), ("live", 100, START_NS + 9 * SECOND_NS, START_NS + 10 * SECOND_NS)]


def test_hole_where_no_status_came_is_told_before_the_data() -> None:
    """The answer to our subscription was lost."""
    move = Move(TRADES)
    move.brings(9, wire.UPDATE, trades("a"))
    move.handover = Handover(move.old, "linear_1", move.counters, 10.0)
    move.sends(10, wire.UPDATE, trades("b"))
    move.handover.successor.state = wire.LIVE
    move.end(10.1)
    move.go_over()
    words = [word for word, *_ in move.told]
    assert words[:2] == ["live", "update"]


def test_short_time_together_is_no_hole_of_a_state() -> None:
    """It is whole, whatever was missed on the way there."""
    move = Move(BOOK)
    move.brings(1, wire.SNAPSHOT, book(5, ("9", "1")))
    move.begin()
    move.sends(10, wire.SNAPSHOT, book(7, ("9", "3")), wire.IMAGE)
    move.end(10)
    assert not move.go_over()
    assert move.told == [("live", 100), ("image", 100, book(7, ("9", "3")))]


def test_new_worker_that_is_not_live_is_told_as_it_is() -> None:
    """Without waiting; the hole is told when it is over."""
    move = Move(TRADES)
    move.brings(9, wire.UPDATE, trades("a"))
    move.begin(state=wire.SUBSCRIBING)
    move.end(11)
    assert move.handover.is_due(11)
    assert not move.go_over()
    assert move.told == [("subscribing", 100)]
    assert move.old.state == wire.SUBSCRIBING
    move.outbox.clear()
    live = msgspec.structs.replace(move.status(2, 12, wire.LIVE), published_ns=START_NS + 12 * SECOND_NS)
    move.old.on_record(live, START_NS)
    assert [word for word, *_ in move.told] == ["live", "live"]


def test_image_on_its_way_is_waited_for() -> None:
    """The new worker is live, its answer is not complete."""
    move = Move(BOOK)
    move.brings(1, wire.SNAPSHOT, book(5, ("9", "1")))
    move.begin()
    move.end(11)
    assert not move.handover.is_due(11)
    assert move.handover.is_due(11.01 + CATCH_UP_S)


def test_old_worker_that_does_not_end_is_left_in_the_end() -> None:
    """After a time, and sooner where too much would have to be held."""
    move = Move(TRADES)
    move.begin()
    assert not move.handover.is_due(10 + PATIENCE_S)
    assert move.handover.is_due(10.1 + PATIENCE_S)
    for number in range(HELD_LIMIT + 1):
        move.sends(10, wire.UPDATE, trades(str(number)))
    assert move.handover.is_due(10)


@pytest.mark.parametrize("sent", ["?", "!"])
def test_payload_that_nobody_understands_stands_as_it_came(sent: str) -> None:
    """It may come twice, and is not lost."""
    move = Move(TRADES)
    move.brings(9.9, wire.UPDATE, "?")
    move.begin()
    move.sends(10.1, wire.UPDATE, sent)
    move.end(11)
    assert move.handover.is_due(11)
    assert move.go_over()
    assert move.told == [("live", 100), ("update", 101, sent)]


def test_second_end_changes_nothing() -> None:
    """The first one counts: the end of the connection follows it."""
    move = Move(TRADES)
    move.begin()
    move.end(11)
    move.handover.end_old(START_NS, 12.0)
    assert move.handover.over_s == 11


def test_empty_messages_have_no_keys() -> None:
    """Nothing can be looked up by them."""
    assert list(keys_of(at(TRADES, 1, wire.UPDATE, 0, [], epoch=1))) == []
    move = Move(TRADES)
    move.brings(9.9, wire.UPDATE, [])
    move.begin()
    move.sends(10.1, wire.UPDATE, trades("a"))
    move.end(11)
    assert move.handover.is_due(11), "nothing to wait for"
    move.go_over()
    assert move.told == [("live", 100), ("update", 101, trades("a"))]
