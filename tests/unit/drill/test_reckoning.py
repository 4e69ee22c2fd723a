"""The comparison with what the venue sent: what is lost, late or made up is found, unless it was told."""

from typing import Any

import pytest
from support.drill import BOOK, LEVEL_1, TICKERS, TRADES, S, Stream, book, level_1, ticker, trade

from feedhandler import wire
from feedhandler.drill import promises
from feedhandler.drill.messages import digest

INSURANCE = "insurance.inverse"


def live(topic: str, payload: bytes = b"") -> Stream:
    stream = Stream(topic)
    stream.live(payload)
    return stream


def fall(stream: Stream, **hole: Any) -> None:
    """Go down, and come back."""
    stream.status(wire.DOWN, **{name: value for name, value in hole.items() if name == "blind_from_ns"})
    stream.status(wire.LIVE, **hole)


# Lost.


@pytest.mark.parametrize(
    ("topic", "first", "rest", "kind"),
    [
        (BOOK, book(1, "snapshot"), [book(2), book(3), book(4)], wire.DELTA),
        (TRADES, b"", [trade("a"), trade("b"), trade("c")], wire.UPDATE),
        (LEVEL_1, level_1(1), [level_1(2, "2"), level_1(3, "3"), level_1(4, "4")], wire.SNAPSHOT),
        (TICKERS, ticker("snapshot", a="1"), [ticker(b="1"), ticker(b="2"), ticker(a="3")], wire.DELTA),
    ],
)
def test_a_message_that_is_lost_untold_is_found(topic: str, first: bytes, rest: list[bytes], kind: int) -> None:
    """Also where no number jumps, because the feed itself never had it."""
    stream = live(topic, first)
    stream.send(rest[0], kind=kind)
    stream.lose(rest[1])
    stream.send(rest[2], kind=kind)
    stream.settle()
    assert promises.LOST in stream.broken
    assert stream.ledger.counts.missed == 1
    assert stream.ledger.counts.gone == (topic == TRADES)


def test_part_of_a_frame_that_is_lost_is_found() -> None:
    """Trades are counted one by one."""
    stream = live(TRADES)
    stream.send(trade("a"), kind=wire.UPDATE)
    stream.truth.publish(trade("b", "c"), stream.now_ns)
    stream.pass_on(trade("c"), wire.UPDATE)
    stream.settle()
    assert stream.broken == [promises.LOST]


@pytest.mark.parametrize("state", [wire.DOWN, wire.STALE, wire.RESYNCING, wire.REJECTED])
def test_a_loss_that_was_told_is_counted_only(state: str) -> None:
    """Between the last record before it and the first one after it."""
    stream = live(BOOK, book(1, "snapshot"))
    stream.lose(book(2), book(3))
    stream.status(state)
    stream.status(wire.LIVE)
    stream.pass_on(book(4, "snapshot"), wire.SNAPSHOT)
    stream.truth.publish(book(4), stream.now_ns)
    stream.settle()
    assert stream.broken == []
    assert (stream.ledger.counts.missed, stream.ledger.counts.gone) == (2, 0)


def test_a_snapshot_out_of_turn_is_no_word_of_a_loss() -> None:
    """It makes the book good, but what was before it went untold."""
    stream = live(BOOK, book(1, "snapshot"))
    stream.lose(book(2))
    stream.send(book(3, "snapshot"), kind=wire.SNAPSHOT)
    stream.settle()
    assert stream.broken == [promises.LOST]


def test_an_older_window_does_not_cover_a_later_loss() -> None:
    """Each loss is told by itself."""
    stream = live(TRADES)
    from_ns = stream.now_ns
    stream.later(9)
    fall(stream, blind_from_ns=from_ns, blind_to_ns=stream.now_ns + 9 * S)
    stream.send(trade("a"), kind=wire.UPDATE)
    stream.lose(trade("b"))
    stream.status(wire.DOWN)
    stream.status(wire.LIVE)
    stream.send(trade("c"), kind=wire.UPDATE)
    stream.settle()
    assert stream.broken == [promises.BLIND]


def test_a_loss_that_is_told_too_late_is_found() -> None:
    """After the first record that follows it nobody can repair it any more."""
    stream = live(TRADES)
    stream.send(trade("a"), kind=wire.UPDATE)
    stream.lose(trade("b"))
    stream.send(trade("c"), kind=wire.UPDATE)
    stream.status(wire.LIVE, blind_from_ns=stream.now_ns - S, blind_to_ns=stream.now_ns)
    stream.send(trade("d"), kind=wire.UPDATE)
    stream.settle()
    assert stream.broken == [promises.LOST]


def test_a_new_epoch_tells_of_a_loss_of_states() -> None:
    """Its snapshot makes it good."""
    stream = live(BOOK, book(1, "snapshot"))
    stream.lose(book(2))
    stream.epoch, stream.sequence = 8, 0
    stream.live(book(3, "snapshot"))
    stream.settle()
    assert (stream.broken, stream.ledger.counts.missed) == ([], 1)


def test_a_loss_of_events_must_be_within_what_was_told() -> None:
    """From when to when one was blind: the REST interface is asked for just that."""
    stream = live(TRADES)
    stream.send(trade("a"), kind=wire.UPDATE)
    from_ns = stream.now_ns
    stream.later(3)
    stream.lose(trade("b"))
    to_ns = stream.now_ns
    stream.later(3)
    fall(stream, blind_from_ns=from_ns, blind_to_ns=to_ns)
    stream.send(trade("c"), kind=wire.UPDATE)
    stream.settle()
    assert (stream.broken, stream.ledger.counts.gone) == ([], 1)


@pytest.mark.parametrize(("from_s", "to_s"), [(3.0, 6.0), (-3.0, -2.0)])
def test_a_loss_of_events_outside_of_what_was_told_is_found(from_s: float, to_s: float) -> None:
    """A window that begins too late, or ends too early, by more than the transit."""
    stream = live(TRADES)
    stream.send(trade("a"), kind=wire.UPDATE)
    stream.lose(trade("b"))
    lost_ns = stream.now_ns
    stream.later(7)
    fall(stream, blind_from_ns=lost_ns + int(from_s * S), blind_to_ns=lost_ns + int(to_s * S))
    stream.send(trade("c"), kind=wire.UPDATE)
    stream.settle()
    assert stream.broken == [promises.BLIND]


def test_a_window_counts_as_it_was_told_last() -> None:
    """It has no end while it lasts, and then one."""
    stream = live(TRADES)
    stream.send(trade("a"), kind=wire.UPDATE)
    from_ns = stream.now_ns
    stream.later(5)
    stream.lose(trade("b"))
    fall(stream, blind_from_ns=from_ns, blind_to_ns=from_ns + S)
    stream.send(trade("c"), kind=wire.UPDATE)
    stream.settle()
    assert stream.broken == [promises.BLIND]


def test_events_are_owed_from_when_they_are_live() -> None:
    """Not before; but the first ones as well."""
    stream = Stream(TRADES)
    stream.truth.publish(trade("early"), stream.now_ns)
    stream.later(0.5)
    stream.live()
    stream.later(2)
    stream.lose(trade("a"))
    stream.send(trade("b"), kind=wire.UPDATE)
    stream.settle()
    assert stream.broken == [promises.LOST]
    assert stream.ledger.counts.gone == 1


def test_what_was_sent_before_it_is_live_is_not_owed() -> None:
    """Also where nothing has come since."""
    stream = Stream(TRADES)
    stream.truth.publish(trade("early"), stream.now_ns)
    stream.later(0.5)
    stream.live()
    stream.later(5)
    stream.settle(tail=True)
    assert (stream.broken, stream.ledger.counts.missed) == ([], 0)


def test_the_first_events_may_be_lost_and_told() -> None:
    """An outage before anything came is an outage like any other."""
    stream = live(TRADES)
    stream.later(2)
    from_ns = stream.now_ns
    stream.lose(trade("a"))
    stream.later(2)
    fall(stream, blind_from_ns=from_ns, blind_to_ns=stream.now_ns)
    stream.send(trade("b"), kind=wire.UPDATE)
    stream.settle()
    assert (stream.broken, stream.ledger.counts.gone) == ([], 1)


def test_events_before_any_state_are_owed_from_the_first_one() -> None:
    """A newcomer may hear records before the answer to its subscription."""
    stream = Stream(TRADES)
    stream.lose(trade("a"))
    stream.send(trade("b"), kind=wire.UPDATE)
    stream.settle()
    assert stream.broken == []


def test_the_loss_of_the_last_message_is_found() -> None:
    """Nothing comes after it: time tells."""
    stream = live(TRADES)
    stream.send(trade("a"), kind=wire.UPDATE)
    stream.lose(trade("b"))
    stream.later(1)
    stream.settle(tail=True)
    assert stream.broken == []
    stream.later(2)
    stream.settle(tail=True)
    stream.settle(tail=True)
    assert stream.broken == [promises.LOST]


def returned() -> Stream:
    """A topic that lost an event, was told so, and is live again."""
    stream = live(TRADES)
    stream.send(trade("a"), kind=wire.UPDATE)
    from_ns = stream.now_ns
    stream.lose(trade("b"))
    stream.later(2)
    fall(stream, blind_from_ns=from_ns, blind_to_ns=stream.now_ns)
    return stream


def test_what_was_lost_before_it_is_live_again_is_counted_then() -> None:
    """Also where no event has come since; what comes later is not blamed for it."""
    stream = returned()
    stream.later(0.1)
    stream.truth.publish(trade("on its way"), stream.now_ns)
    stream.settle(tail=True)
    assert (stream.broken, stream.ledger.counts.gone) == ([], 1)
    stream.pass_on(trade("on its way"), wire.UPDATE)
    stream.send(trade("c"), kind=wire.UPDATE)
    stream.settle(tail=True)
    assert (stream.broken, stream.ledger.counts.gone) == ([], 1)


def test_what_is_noted_a_little_after_its_return_is_of_the_blind_time() -> None:
    """The venue's time of sending and the feed's of being live are two readings, on a busy machine half a second apart."""
    stream = returned()
    stream.later(0.5)
    stream.lose(trade("late"))
    stream.settle(tail=True)
    stream.later(2)
    stream.settle(tail=True)
    stream.send(trade("c"), kind=wire.UPDATE)
    stream.settle(tail=True)
    assert (stream.broken, stream.ledger.counts.gone) == ([], 2)


def test_what_is_lost_after_its_return_is_found_without_another_event() -> None:
    """Once nothing of the blind time can still come, silence is judged as ever."""
    stream = returned()
    stream.later(3.5)
    stream.settle(tail=True)
    stream.lose(trade("late"))
    stream.later(2.5)
    stream.settle(tail=True)
    assert (stream.broken, stream.ledger.counts.gone) == ([promises.LOST], 2)


def test_nobody_is_owed_anything_while_it_is_down() -> None:
    """The tail of a topic that is not live says nothing."""
    stream = live(TRADES)
    stream.send(trade("a"), kind=wire.UPDATE)
    stream.status(wire.DOWN)
    stream.lose(trade("b"))
    stream.later(5)
    stream.settle(tail=True)
    assert stream.broken == []


def test_a_topic_of_which_nothing_ever_comes_is_found() -> None:
    """It may be live and quiet, but not while the venue speaks."""
    stream = live(TRADES)
    stream.later(5)
    stream.settle(tail=True)
    assert (stream.broken, stream.ledger.counts.missed) == ([], 0)
    stream.lose(trade("a"))
    stream.later(5)
    stream.settle(tail=True)
    assert (stream.broken, stream.ledger.counts.missed) == ([promises.LOST], 1)


def test_what_waits_to_be_compared_is_not_missing() -> None:
    """It has come."""
    stream = live(TRADES)
    stream.send(trade("a"), kind=wire.UPDATE)
    stream.truth.genuine.clear()
    stream.lose(trade("b"))
    stream.truth.genuine.clear()
    stream.ledger.settle(stream.now_ns, stream.now_ns + 9 * S)
    assert stream.broken == []


# Late, again, made up.


def test_an_event_that_comes_too_late_is_found() -> None:
    """After a later one."""
    stream = live(TRADES)
    stream.send(trade("a"), kind=wire.UPDATE)
    stream.lose(trade("b"))
    stream.send(trade("c"), kind=wire.UPDATE)
    stream.pass_on(trade("b"), wire.UPDATE)
    stream.settle()
    assert stream.broken == [promises.LOST, promises.ORDER]
    assert stream.ledger.counts.disordered == 1


def test_a_snapshot_may_tell_an_old_state() -> None:
    """A resync may be answered with the state that one had."""
    stream = live(BOOK, book(1, "snapshot"))
    stream.send(book(2))
    stream.status(wire.RESYNCING)
    stream.status(wire.LIVE)
    stream.pass_on(book(2, "snapshot"), wire.SNAPSHOT)
    stream.send(book(3))
    stream.settle()
    assert (stream.broken, stream.ledger.counts.repeated) == ([], 0)


@pytest.mark.parametrize(
    ("topic", "payload", "kind"),
    [(LEVEL_1, level_1(2), wire.SNAPSHOT), (TICKERS, ticker(a="2"), wire.DELTA)],
)
def test_the_same_bytes_again_are_found(topic: str, payload: bytes, kind: int) -> None:
    """Unless the venue sent them twice on one connection, or another subscription was answered."""
    stream = live(topic, level_1(1) if topic == LEVEL_1 else ticker("snapshot", a="1"))
    stream.send(payload, kind=kind)
    stream.truth.deliver(payload, 2)
    stream.sequence += 1
    stream.record(kind, payload)
    stream.settle()
    assert promises.REPEATED in stream.broken
    assert stream.ledger.counts.repeated == 1


def test_the_same_bytes_that_the_venue_sent_twice_are_none_of_the_feeds() -> None:
    """It passes on what it gets of topics that have neither ids nor counts."""
    stream = live(LEVEL_1, level_1(1))
    stream.send(level_1(2), kind=wire.SNAPSHOT)
    stream.truth.deliver(level_1(2), 1)
    stream.sequence += 1
    stream.record(wire.SNAPSHOT, level_1(2))
    stream.settle()
    assert promises.REPEATED not in stream.broken


def test_the_same_bytes_may_answer_another_subscription() -> None:
    """A state that has not changed is told again."""
    stream = live(LEVEL_1, level_1(1))
    fall(stream)
    stream.pass_on(level_1(1), wire.SNAPSHOT)
    stream.settle()
    assert stream.broken == []


def test_what_the_venue_never_sent_is_found() -> None:
    """Once everything is known that it sent."""
    stream = live(BOOK, book(1, "snapshot"))
    stream.later(5)
    stream.truth.publish(book(2), stream.now_ns)
    stream.sequence += 1
    stream.record(wire.DELTA, book(2, bids=[["9", "9"]]))
    stream.ledger.settle(stream.now_ns)
    assert stream.broken == []
    stream.settle()
    assert stream.broken == [promises.INVENTED]


def test_what_is_not_known_yet_waits() -> None:
    """The witness's copy may be noted after the feed's; nothing behind it is judged before."""
    stream = live(TRADES)
    stream.later(5)
    stream.pass_on(trade("a"), wire.UPDATE)
    stream.ledger.settle(stream.now_ns)
    stream.truth.publish(trade("a"), stream.now_ns)
    stream.settle()
    stream.send(trade("b"), kind=wire.UPDATE)
    stream.settle()
    assert (stream.broken, stream.ledger.counts.missed) == ([], 0)


def test_the_answer_to_a_subscription_has_no_place() -> None:
    """The witness did not get it: it is judged by its bytes alone."""
    stream = live(TICKERS)
    stream.pass_on(ticker("snapshot", a="1"), wire.SNAPSHOT)
    stream.settle()
    assert stream.broken == []
    assert digest(ticker("snapshot", a="1")) in stream.truth.genuine


def test_what_only_the_feed_was_sent_is_no_invention() -> None:
    """The venue may alter what it sends on one connection."""
    stream = live(LEVEL_1, level_1(1))
    stream.truth.deliver(level_1(2), 1)
    stream.sequence += 1
    stream.record(wire.SNAPSHOT, level_1(2))
    events = live("allLiquidation.BTCUSDT")
    events.pass_on(b'{"data":[]}', wire.UPDATE)
    for one in (stream, events):
        one.settle()
        assert one.broken == []


# Records that were rebuilt.


@pytest.mark.parametrize("more", [{}, {"extra": "1"}])
def test_some_trades_of_a_frame_may_be_left_out(more: dict[str, str]) -> None:
    """Where the others were published before; they are still the venue's, with what it may have added."""
    stream = live(TRADES)
    stream.send(trade("a"), kind=wire.UPDATE)
    stream.truth.publish(trade("a", "b"), stream.now_ns)
    stream.pass_on(trade("b", **more), wire.UPDATE, flags=wire.COMPOSED, sent=False)
    stream.settle()
    assert stream.broken == []


def test_a_rebuilt_trade_that_is_changed_is_found() -> None:
    """Field for field."""
    stream = live(TRADES)
    stream.truth.publish(trade("a", "b"), stream.now_ns)
    stream.pass_on(trade("b").replace(b'"p":"1"', b'"p":"2"'), wire.UPDATE, flags=wire.COMPOSED, sent=False)
    stream.settle()
    assert promises.INVENTED in stream.broken


def test_a_rebuilt_trade_that_never_was_is_found() -> None:
    """An id that the venue did not send."""
    stream = live(TRADES)
    stream.pass_on(trade("x"), wire.UPDATE, flags=wire.COMPOSED, sent=False)
    stream.settle()
    assert promises.INVENTED in stream.broken


def test_a_composed_state_makes_good_what_did_not_come() -> None:
    """Another line goes on with its state: nobody misses anything."""
    stream = live(TICKERS, ticker("snapshot", a="1"))
    stream.send(ticker(a="2"))
    stream.lose(ticker(b="3"))
    stream.pass_on(ticker("snapshot", a="2", b="3"), wire.SNAPSHOT, flags=wire.COMPOSED, sent=False)
    stream.send(ticker(a="4"))
    stream.settle(tail=True)
    assert (stream.broken, stream.ledger.counts.missed) == ([], 0)


def test_a_composed_state_that_is_last_makes_good_what_did_not_come() -> None:
    """Also where nothing follows it."""
    stream = live(TICKERS, ticker("snapshot", a="1"))
    stream.send(ticker(a="2"))
    stream.lose(ticker(b="3"))
    stream.pass_on(ticker("snapshot", a="2", b="3"), wire.SNAPSHOT, flags=wire.COMPOSED, sent=False)
    stream.later(5)
    stream.settle(tail=True)
    assert stream.broken == []


@pytest.mark.parametrize("is_missing", [True, False])
def test_a_composed_state_that_is_wrong_is_found(is_missing: bool) -> None:
    """Whether anything is missing before it or not."""
    stream = live(TICKERS, ticker("snapshot", a="1"))
    stream.send(ticker(a="2"))
    if is_missing:
        stream.lose(ticker(b="3"))
    stream.pass_on(ticker("snapshot", a="2", b="9"), wire.SNAPSHOT, flags=wire.COMPOSED, sent=False)
    stream.send(ticker(a="4"))
    stream.settle()
    assert promises.INVENTED in stream.broken
    assert (promises.LOST in stream.broken) is is_missing


def test_a_composed_book_makes_good_what_did_not_come() -> None:
    """Its content is held against the venue's own book."""
    stream = live(BOOK, book(1, "snapshot"))
    stream.lose(book(2))
    stream.truth.publish(book(3), stream.now_ns)
    stream.pass_on(book(3, "snapshot"), wire.SNAPSHOT, flags=wire.COMPOSED, sent=False)
    stream.send(book(4))
    stream.settle()
    assert (stream.broken, stream.ledger.counts.missed) == ([], 0)


def test_a_latest_record_that_says_nothing_new_may_be_left_out() -> None:
    """A level 1 sent again without change tells nobody anything."""
    stream = live(LEVEL_1, level_1(1))
    stream.lose(level_1(2))
    stream.send(level_1(3, "2"), kind=wire.SNAPSHOT)
    stream.settle()
    assert (stream.broken, stream.ledger.counts.missed) == ([], 0)


def test_states_in_rows_are_compared_by_their_rows() -> None:
    """Insurance pools send the rows that changed."""
    rows = [b'{"coin":"BTC","symbols":"BTCUSD","balance":"%d"}' % number for number in range(3)]
    stream = live(INSURANCE, b'{"data":[%b]}' % rows[0])
    stream.lose(b'{"data":[%b]}' % rows[1])
    stream.send(b'{"data":[%b]}' % rows[2])
    stream.settle()
    assert stream.broken == [promises.LOST]
