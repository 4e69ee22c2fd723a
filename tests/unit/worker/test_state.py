"""The state of every topic: when it is asked for anew, suspected, repeated; what newcomers get; what is counted."""

import itertools
import math
from typing import Any, Final

import msgspec
import pytest
from support.lane import (
    START_NS,
    Rig,
    S,
    book,
    check_sequences,
    delta,
    first,
    kinds,
    message,
    snapshot,
    states,
    status,
    ticker,
    trade,
)

from feedhandler import wire
from feedhandler.wire import DELTA, IMAGE, REPEATED, SNAPSHOT, STATUS, UPDATE
from feedhandler.worker.feed import MUTE_NS, Lane
from feedhandler.worker.route import (
    JOURNAL_LIMIT,
    LEAST_STALE_NS,
    LEVEL_1_STALE_NS,
    RESYNC_BACKOFF_CAP_S,
    RESYNC_CALM_S,
    SAMPLES,
    SLOW_SNAPSHOT_TIMEOUT_S,
    SNAPSHOT_TIMEOUT_S,
    Hole,
)
from feedhandler.worker.state import CLOCK_SET_NS, INSPECTION_ROUNDS, REPEATS_A_TICK

BOOK, LEVEL_1, FULL = "orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT", "orderbook.full.BTCUSDT"
RPI = "orderbook.rpi.BTCUSDT"
TRADES, TICKER, LIMIT = "publicTrade.BTCUSDT", "tickers.BTCUSDT", "priceLimit.BTCUSDT"
KLINE, POOL = "kline.1.BTCUSDT", "insurance.USDT"
STATES: Final = (BOOK, LEVEL_1, TICKER, LIMIT, KLINE, POOL)
EVENTS: Final = (TRADES, "allLiquidation.BTCUSDT", FULL)


# Resyncs.


def test_first_resync_is_at_once_and_repeated_ones_ever_later() -> None:
    """0, then 0.1 s doubling to 10 s (dossier 5.4); each is handed out once."""
    rig = Rig()
    rig.start(BOOK)
    pauses = []
    for _ in range(10):
        rig.come(delta(BOOK, 999))
        decided_s = rig.now_s
        while not rig.feed.resyncs_due(rig.lane, rig.now_s):
            rig.now_s += 0.05
        assert rig.feed.resyncs_due(rig.lane, rig.now_s) == []
        pauses.append(rig.now_s - decided_s)
        rig.subscribe(BOOK)
        rig.come(snapshot(BOOK, 100))
    assert pauses == pytest.approx([0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10], abs=0.051)


def test_topic_whole_for_a_while_starts_over_without_a_pause() -> None:
    """Half a minute of calm forgets the resyncs before."""
    rig = Rig()
    rig.start(BOOK)
    for _ in range(5):
        rig.come(delta(BOOK, 999))
        rig.subscribe(BOOK)
        rig.come(snapshot(BOOK, 100))
    rig.wait(RESYNC_CALM_S + 1)
    rig.come(delta(BOOK, 999))
    assert rig.route(BOOK).due_s == rig.now_s


def test_new_connection_begins_without_a_pause() -> None:
    """What broke on the one before says nothing of it."""
    rig = Rig()
    rig.start(BOOK)
    rig.come(delta(BOOK, 999))
    rig.feed.resyncs_due(rig.lane, rig.now_s)
    rig.lane.closed("connection lost", rig.now_ns)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(BOOK)
    rig.come(snapshot(BOOK, 100))
    rig.come(delta(BOOK, 999))
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]


def test_resyncs_go_on_for_as_long_as_it_takes() -> None:
    """A float has room for 1023 doublings only; the pause stays at its cap."""
    rig = Rig()
    rig.start(BOOK)
    for _ in range(1200):
        rig.come(delta(BOOK, 999))
        rig.subscribe(BOOK)
        rig.come(snapshot(BOOK, 100))
    rig.come(delta(BOOK, 999))
    assert rig.route(BOOK).due_s == rig.now_s + RESYNC_BACKOFF_CAP_S


def test_snapshot_that_does_not_come_is_asked_for_again() -> None:
    """5 s after the subscription went out, not after the decision: the unsubscription may take 5 s of its own."""
    rig = Rig()
    rig.start(BOOK)
    rig.come(delta(BOOK, 999))
    rig.feed.resyncs_due(rig.lane, rig.now_s)
    rig.tick(SNAPSHOT_TIMEOUT_S + 1)  # unsubscribing
    assert [reason for _, reason in states(rig)] == ["gap: u 100 was followed by u 999"]
    rig.lane.asked([BOOK])
    rig.tick(SNAPSHOT_TIMEOUT_S)
    assert states(rig) == []
    rig.tick(0.5)
    assert states(rig) == [("resyncing", "no snapshot came")]
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]


def test_long_pause_before_a_resync_does_not_use_up_the_snapshots_time() -> None:
    """With a pause of 10 s the subscription still has its 5 s for the snapshot."""
    rig = Rig()
    rig.start(BOOK)
    rig.route(BOOK).resyncs, rig.route(BOOK).resync_s = 20, rig.now_s
    rig.come(delta(BOOK, 999))
    rig.tick(RESYNC_BACKOFF_CAP_S)
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]
    rig.subscribe(BOOK)
    rig.take()
    rig.tick(1)
    rig.come(snapshot(BOOK, 7))
    assert [state for state, _ in states(rig)] == ["live"]
    assert rig.feed.counters["resyncs"] == 1
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == []


def test_late_snapshot_ends_the_resync_that_was_planned_for_want_of_it() -> None:
    """It answers the present subscription, however late: no second one is needed."""
    rig = Rig()
    rig.start(BOOK)
    rig.come(delta(BOOK, 999))
    rig.feed.resyncs_due(rig.lane, rig.now_s)
    rig.subscribe(BOOK)
    rig.tick(SNAPSHOT_TIMEOUT_S + 0.25)
    assert rig.route(BOOK).due_s is not None
    rig.come(snapshot(BOOK, 7))
    assert rig.state(BOOK) == "live"
    assert rig.feed.resyncs_due(rig.lane, rig.now_s + 60) == []


def test_resyncs_due_are_those_of_the_lane() -> None:
    """Each connection asks for its own topics."""
    rig = Rig()
    rig.start(BOOK)
    other = Lane(rig.feed, 0, lambda: rig.now_s)
    rig.come(delta(BOOK, 999))
    assert rig.feed.resyncs_due(other, rig.now_s) == []
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]


def test_hole_of_a_resync_in_a_resync_begins_with_the_first() -> None:
    """An open hole stays open from where it began."""
    rig = Rig()
    rig.start(BOOK)
    rig.wait(3)
    rig.come(delta(BOOK, 999))
    rig.feed.resyncs_due(rig.lane, rig.now_s)
    rig.subscribe(BOOK)
    began = status(rig.take()[-1]).blind_from_ns
    rig.tick(SNAPSHOT_TIMEOUT_S + 1)
    assert status(rig.take()[-1]).blind_from_ns == began == START_NS


# Stale and mute.


def enliven(rig: Rig, topic: str, others: str = TRADES) -> int:
    """Give a topic a cadence of one record every half second, long enough to be believed; return its last u."""
    for update_id in range(101, 102 + SAMPLES):
        rig.tick(0.5)
        rig.come(delta(topic, update_id))
        rig.come(trade(others))
    rig.tick(0.25)
    rig.take()
    return 101 + SAMPLES


def silence(rig: Rig, seconds: float, others: str = TRADES) -> None:
    """Let time pass in which only another topic speaks."""
    for _ in range(round(seconds * 2)):
        rig.tick(0.5)
        rig.come(trade(others))


def told(rig: Rig, topic: str) -> list[wire.Status]:
    """New statuses of a topic since the last look."""
    return [
        status(record)
        for record in rig.take()
        if record.kind == STATUS and not record.flags & REPEATED and record.subject.endswith(topic)
    ]


def test_topic_silent_beyond_its_cadence_is_stale_and_subscribed_again() -> None:
    """While its connection is alive; the hole begins with its last record, and the others are untouched."""
    rig = Rig()
    rig.start(BOOK, TRADES)
    enliven(rig, BOOK)
    last_ns = rig.now_ns - S // 4
    silence(rig, LEAST_STALE_NS / S - 1)
    assert told(rig, BOOK) == []
    silence(rig, 2)
    (said,) = told(rig, BOOK)
    assert said.state == "stale"
    assert said.reason.endswith("while its connection is alive")
    assert isinstance(said.blind_from_ns, int)
    assert last_ns - S // 2 <= said.blind_from_ns <= last_ns
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]
    assert rig.feed.counters == {"stale": 1}
    assert rig.state(TRADES) == "live"


def test_topic_of_which_little_is_known_is_never_suspected() -> None:
    """A quiet market is no dead subscription."""
    rig = Rig()
    rig.start(BOOK, TRADES)
    silence(rig, 300)
    assert rig.state(BOOK) == "live"


def test_silence_that_may_be_our_own_is_not_judged() -> None:
    """A process that stood still has not heard what is in its socket."""
    rig = Rig()
    rig.start(BOOK, TRADES)
    enliven(rig, BOOK)
    rig.wait(60)
    rig.come(trade(TRADES))
    rig.feed.tick(rig.now_ns, rig.now_s, judge=False)
    assert rig.state(BOOK) == "live"


def test_stale_book_comes_back_with_the_delta_that_continues_it() -> None:
    """It may return to live by itself; the planned resubscription is dropped."""
    rig = Rig()
    rig.start(BOOK, TRADES)
    last = enliven(rig, BOOK)
    silence(rig, LEAST_STALE_NS / S + 1)
    rig.take()
    rig.come(delta(BOOK, last + 1))
    back, data = rig.take()
    assert (status(back).state, status(back).reason) == ("live", "it speaks again")
    assert (data.kind, data.sequence) == (DELTA, back.sequence + 1)
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == []
    rig.come(delta(BOOK, last + 2))
    assert kinds(rig) == [DELTA]


def test_stale_book_does_not_come_back_across_a_gap() -> None:
    """A delta that does not continue it waits for the snapshot."""
    rig = Rig()
    rig.start(BOOK, TRADES)
    last = enliven(rig, BOOK)
    silence(rig, LEAST_STALE_NS / S + 1)
    rig.take()
    rig.come(delta(BOOK, last + 2))
    assert rig.take() == []
    rig.subscribe(BOOK)
    rig.come(snapshot(BOOK, last + 5))
    assert kinds(rig) == [STATUS, SNAPSHOT]


def test_stale_book_without_a_snapshot_asks_again() -> None:
    """One resubscription may be lost like any request."""
    rig = Rig()
    rig.start(BOOK, TRADES)
    enliven(rig, BOOK)
    silence(rig, LEAST_STALE_NS / S + 1)
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]
    rig.subscribe(BOOK)
    rig.take()
    silence(rig, SNAPSHOT_TIMEOUT_S + 1)
    assert [said.reason for said in told(rig, BOOK)] == ["no snapshot came"]
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]


def test_an_outage_is_not_learned_as_a_topics_own_pause() -> None:
    """What came after it says nothing about how long the topic is silent by itself: it is suspected as soon as before."""
    rig = Rig()
    rig.start(BOOK, TRADES)
    last = enliven(rig, BOOK)
    rig.wait(MUTE_NS / S)
    rig.lane.closed("mute", rig.now_ns)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(BOOK, TRADES)
    rig.come(snapshot(BOOK, last))
    rig.come(trade(TRADES))
    rig.tick(1)
    silence(rig, LEAST_STALE_NS / S + 1)
    assert rig.state(BOOK) == "stale"


@pytest.mark.parametrize(
    ("topic", "patience_s"),
    [
        (BOOK, SNAPSHOT_TIMEOUT_S),
        (LEVEL_1, SNAPSHOT_TIMEOUT_S),
        (TICKER, SNAPSHOT_TIMEOUT_S),
        (LIMIT, SNAPSHOT_TIMEOUT_S),
        (KLINE, SLOW_SNAPSHOT_TIMEOUT_S),
        (POOL, SLOW_SNAPSHOT_TIMEOUT_S),
    ],
)
def test_topic_that_is_acknowledged_and_never_served_is_found(topic: str, patience_s: float) -> None:
    """The option socket accepts topics that it does not serve (dossier 3.2): a first record that is missing tells."""
    rig = Rig()
    rig.carry(topic)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(topic)
    rig.take()
    rig.tick(patience_s)
    assert rig.state(topic) == "subscribing"
    rig.tick(0.5)
    assert [(one.state, one.reason) for one in told(rig, topic)] == [("resyncing", "no snapshot came")]
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [topic]


@pytest.mark.parametrize("payload", [ticker(TICKER, "delta", lastPrice="2"), ticker(TICKER, "snapshot", lastPrice="2")])
def test_stale_ticker_comes_back_with_any_record(payload: bytes) -> None:
    """Its deltas are not numbered, so any of them may continue it."""
    rig = Rig()
    rig.start(TICKER)
    rig.feed.enter(rig.route(TICKER), "stale", "silent", rig.now_ns)
    rig.take()
    rig.come(payload)
    assert kinds(rig) == [STATUS, DELTA if b"delta" in payload else SNAPSHOT]
    rig.feed.answer(rig.route(TICKER), rig.now_ns, rig.now_s)
    assert msgspec.json.decode(rig.take()[-1].payload)["data"]["lastPrice"] == "2"


def test_stale_event_topic_comes_back_with_its_acknowledgement() -> None:
    """After the resubscription there may be no event for long."""
    rig = Rig()
    rig.start(TRADES)
    rig.feed.enter(rig.route(TRADES), "stale", "silent", rig.now_ns)
    rig.take()
    rig.subscribe(TRADES)
    assert states(rig) == [("live", "")]


def test_level_1_book_is_suspected_by_the_venues_promise() -> None:
    """It is sent again every 3 s (dossier 5.1): no cadence has to be learned."""
    rig = Rig()
    rig.start(LEVEL_1, TRADES)
    silence(rig, LEVEL_1_STALE_NS / S - 1)
    assert rig.state(LEVEL_1) == "live"
    silence(rig, 2)
    assert rig.state(LEVEL_1) == "stale"


# Books that are wrong although their ids are in order.


def inspected(rig: Rig) -> list[tuple[str, str, int | None]]:
    """Look into every book once; state, reason and the hole's beginning of each new status."""
    for _ in range(2 * INSPECTION_ROUNDS):
        rig.feed.inspect(rig.now_ns, rig.now_s)
    said = [status(record) for record in rig.take() if record.kind == STATUS]
    return [(one.state, one.reason, one.blind_from_ns or None) for one in said]


def test_crossed_book_is_asked_for_again() -> None:
    """No right chain leads there (dossier 5.4): it was wrong since it was last looked at, as far as anybody knows."""
    rig = Rig()
    rig.start(BOOK, TRADES)
    assert inspected(rig) == []
    right_ns = rig.now_ns
    rig.wait(1)
    rig.come(book(BOOK, "delta", 101, [("100.5", "1")]))
    rig.take()
    assert inspected(rig) == [("resyncing", "crossed: best bid 100.5, best ask 100.5", right_ns)]
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]
    assert (rig.feed.counters["crossed"], rig.feed.counters["resyncs"]) == (1, 1)
    assert inspected(rig) == []


def test_book_deeper_than_it_can_be_is_asked_for_again() -> None:
    """Levels pushed out of the window arrive as deletes (dossier 5.4)."""
    rig = Rig()
    rig.start(BOOK)
    rig.come(book(BOOK, "delta", 101, [(str(price), "1") for price in range(1, 51)]))
    rig.take()
    (said,) = inspected(rig)
    assert said[:2] == ("resyncing", "too deep: 51 levels on a side of 50")


def test_book_that_cannot_be_read_is_asked_for_again() -> None:
    """Whatever its ids say: a newcomer would get no image of it."""
    rig = Rig()
    rig.start(BOOK)
    rig.come(message(BOOK, "delta", {"s": "BTCUSDT", "b": "no", "a": [], "u": 101}))
    rig.take()
    (said,) = inspected(rig)
    assert said[0] == "resyncing"
    assert "records make no image" in said[1]


def test_deletes_of_unknown_levels_are_counted_and_logged_and_the_book_stays() -> None:
    """Clients have met them on the real venue (dossier 5.4); the book is the same without them."""
    rig = Rig()
    rig.start(BOOK, RPI)
    rig.come(book(BOOK, "delta", 101, [("50", "0")]))
    rig.come(book(RPI, "snapshot", 101, [("100.5", "0", "1")], [("100.5", "1", "0")]))
    rig.take()
    assert inspected(rig) == []
    assert inspected(rig) == []
    assert [rig.state(BOOK), rig.state(RPI)] == ["live", "live"]
    assert rig.feed.counters["unknown_deletes"] == 1
    assert [what for what, _ in rig.feed.malformed] == [f"{BOOK}: 1 deletes of levels that are not there"]


def test_every_book_is_looked_into_in_its_turn() -> None:
    """A few at a call, so that data never wait for long; each within so many calls, also with books that come later."""
    rig = Rig()
    names = [f"orderbook.50.COIN{number}USDT" for number in range(2 * INSPECTION_ROUNDS)]
    rig.start(*names)
    for name in names:
        rig.come(book(name, "delta", 101, [("100.5", "1")]))
    rig.take()
    counts = []
    for _ in range(INSPECTION_ROUNDS):
        rig.feed.inspect(rig.now_ns, rig.now_s)
        counts.append(len(rig.take()))
    assert counts == [2] * INSPECTION_ROUNDS


def test_book_that_goes_before_its_turn_is_passed_over() -> None:
    """Released, or being asked for anyway."""
    rig = Rig()
    rig.start(BOOK, "orderbook.50.ETHUSDT")
    rig.feed.inspect(rig.now_ns, rig.now_s)
    rig.feed.release(rig.lane, [BOOK, "orderbook.50.ETHUSDT"], "no longer wanted", rig.now_ns)
    rig.take()
    assert inspected(rig) == []


# Records kept for newcomers.


def test_last_records_of_an_event_topic_are_kept_and_repeated_as_they_were() -> None:
    """Number, time and payload are their own, the flag says that they come again; older ones are gone."""
    rig = Rig("private", retain=3)
    rig.start("order")
    for number in range(5):
        rig.wait(1)
        rig.come(message("order", "", [{"orderId": str(number)}]))
    before = [record for record in rig.take() if record.kind == UPDATE][-3:]
    route = rig.route("order")
    assert route.retained is not None
    for kept in list(route.retained):
        rig.feed.repeat(route, kept)
    again = rig.take()
    assert {record.flags for record in again} == {REPEATED}
    assert {record.line for record in again} == {wire.NO_LINE}
    assert [(one.sequence, one.received_ns, one.payload) for one in again] == [
        (one.sequence, one.received_ns, one.payload) for one in before
    ]
    assert rig.feed.counters["repeated"] == 3


def test_record_that_brings_its_topic_to_life_is_kept() -> None:
    """Data may come before the acknowledgement (dossier 3.5), and an outage takes nothing from what is kept."""
    rig = Rig("private", retain=3)
    rig.carry("order")
    rig.lane.opened(rig.now_ns)
    rig.lane.asked(["order"])
    rig.come(message("order", "", [{"orderId": "1"}]))
    rig.lane.closed("connection lost", rig.now_ns)
    assert [kept[2] for kept in rig.route("order").retained or ()] == [message("order", "", [{"orderId": "1"}])]


def test_states_are_kept_as_images_and_not_as_records() -> None:
    """Whatever number of records is to be kept."""
    rig = Rig(retain=3)
    rig.start(BOOK, TICKER, LEVEL_1)
    assert [rig.route(topic).retained for topic in (BOOK, TICKER, LEVEL_1)] == [None, None, None]


def test_silence_of_an_account_is_no_news() -> None:
    """It may be silent for days: neither a topic nor its connection is suspected, however lively it was."""
    rig = Rig("private")
    rig.start("order", "wallet")
    for _ in range(200):
        rig.come(message("order", "", [{}]))
        rig.come(message("wallet", "", [{}]))
        rig.tick(0.5)
    for _ in range(3600):
        rig.come(message("wallet", "", [{}]))
        rig.tick(1, every_s=1)
    assert rig.state("order") == "live"
    rig.tick(86_400, every_s=60)
    assert not rig.lane.is_mute(rig.now_ns)
    assert [rig.state("order"), rig.state("wallet")] == ["live", "live"]


# Quiet subjects.


def test_quiet_subject_repeats_its_status_after_1_s_and_then_at_its_pace() -> None:
    """With the last number and the flag, so that the loss of the last record is seen, too."""
    rig = Rig(quiet_status_s=10)
    rig.start(BOOK)
    rig.tick()
    rig.tick(0.75)
    assert rig.take() == []
    rig.tick(0.25)
    (record,) = rig.take()
    assert (record.kind, record.flags, record.sequence) == (STATUS, REPEATED, 3)
    assert status(record).state == "live"
    rig.tick(9.75)
    assert rig.take() == []
    rig.tick(0.25)
    assert [one.sequence for one in rig.take()] == [3]
    rig.come(delta(BOOK, 101))
    rig.tick(0.25)
    rig.take()
    rig.tick(1)
    assert [(one.sequence, one.flags) for one in rig.take()] == [(4, REPEATED)]


def test_lively_subject_repeats_nothing() -> None:
    """Its records carry the numbers already."""
    rig = Rig()
    rig.start(BOOK)
    for update_id in range(101, 131):
        rig.come(delta(BOOK, update_id))
        rig.tick(0.5)
    assert kinds(rig) == [DELTA] * 30


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_setting_the_clock_makes_nobody_silent_and_nobody_loud(step_s: int) -> None:
    """Statuses are repeated at the same pace, nothing is stale or mute, and no hole begins in the future."""
    rig = Rig()
    rig.start(BOOK, TRADES, LEVEL_1)
    last = enliven(rig, BOOK)
    rig.come(snapshot(LEVEL_1, 1))
    rig.tick(0.25)
    rig.now_ns += step_s * S
    rig.tick(0.25)
    assert not rig.lane.is_mute(rig.now_ns)
    rig.take()
    rig.tick(2)
    quiet = [record for record in rig.take() if record.flags & REPEATED]
    assert {record.subject for record in quiet} == {"linear." + topic for topic in (BOOK, TRADES, LEVEL_1)}
    assert {rig.state(topic) for topic in (BOOK, TRADES, LEVEL_1)} == {"live"}
    rig.come(delta(BOOK, last + 5))
    (said,) = told(rig, BOOK)
    assert isinstance(said.blind_from_ns, int)
    assert said.blind_from_ns <= rig.now_ns - 2 * S


def test_hole_of_a_crossed_book_does_not_begin_in_the_future() -> None:
    """When the clock was set back after the book was last looked into."""
    rig = Rig()
    rig.start(BOOK)
    rig.tick(1)
    inspected(rig)
    rig.now_ns -= 3600 * S
    rig.tick(0.25)
    rig.come(book(BOOK, "delta", 101, [("100.5", "1")]))
    rig.take()
    (said,) = inspected(rig)
    assert said[2] is not None
    assert said[2] <= rig.now_ns


def test_many_quiet_subjects_repeat_their_statuses_a_part_at_a_time() -> None:
    """Data wait meanwhile; every one has its turn."""
    rig = Rig()
    names = [f"publicTrade.COIN{number}USDT" for number in range(2 * REPEATS_A_TICK + 10)]
    rig.start(*names)
    rig.tick(0.25)
    rig.wait(1)
    counts = []
    for _ in range(4):
        rig.tick(0.25)
        counts.append(len(rig.take()))
    assert counts == [REPEATS_A_TICK, REPEATS_A_TICK, 10, 0]


def test_drift_of_the_clock_is_not_a_set_clock() -> None:
    """A clock that goes off slowly, as any does, changes no silence."""
    rig = Rig()
    rig.start(BOOK)
    rig.tick()
    for _ in range(7):
        rig.now_ns += CLOCK_SET_NS // 8
        rig.tick(0.125, every_s=0.125)
    assert [record.flags for record in rig.take()] == [REPEATED]


# Newcomers.


def test_newcomer_gets_the_status_and_the_image_under_the_last_number() -> None:
    """Repeated, image, no line; both carry the number of the last record, and the image continues with the next."""
    rig = Rig()
    rig.start(BOOK)
    rig.come(delta(BOOK, 101))
    rig.take()
    rig.feed.answer(rig.route(BOOK), rig.now_ns, rig.now_s)
    said, image = rig.take()
    assert (said.kind, said.flags, said.sequence, said.line) == (STATUS, REPEATED, 4, wire.NO_LINE)
    assert (image.kind, image.flags, image.sequence, image.line) == (SNAPSHOT, IMAGE, 4, wire.NO_LINE)
    composed = msgspec.json.decode(image.payload)
    assert (composed["topic"], composed["type"], composed["data"]["u"]) == (BOOK, "snapshot", 101)
    rig.come(delta(BOOK, 102))
    assert [record.sequence for record in rig.take()] == [5]
    assert rig.feed.counters["images"] == 1


def test_image_of_a_snapshot_alone_is_the_venues_own_bytes() -> None:
    """Nothing to compose."""
    rig = Rig()
    rig.start(BOOK)
    rig.feed.answer(rig.route(BOOK), rig.now_ns, rig.now_s)
    assert rig.take()[-1].payload == first(BOOK)


@pytest.mark.parametrize("topic", [TRADES, FULL])
def test_event_topics_have_no_image(topic: str) -> None:
    """The newcomer gets the status alone."""
    rig = Rig()
    rig.start(topic)
    rig.come(delta(topic, 5) if topic == FULL else trade(topic))
    rig.take()
    rig.feed.answer(rig.route(topic), rig.now_ns, rig.now_s)
    assert kinds(rig) == [STATUS]


@pytest.mark.parametrize("state", ["subscribing", "resyncing", "down", "rejected", "stale", "ended"])
def test_image_only_while_live_or_stale(state: str) -> None:
    """Otherwise the status says what is the matter; an ended topic is answered with nothing."""
    rig = Rig()
    rig.start(BOOK)
    route = rig.route(BOOK)
    if state == "subscribing":
        rig.lane.closed("lost", rig.now_ns)
        rig.lane.opened(rig.now_ns)
    elif state == "ended":
        rig.feed.release(rig.lane, [BOOK], "gone", rig.now_ns)
    else:
        rig.feed.enter(route, state, "for the test", rig.now_ns)
    rig.take()
    rig.feed.answer(route, rig.now_ns, rig.now_s)
    expected = {"stale": [STATUS, SNAPSHOT], "ended": []}.get(state, [STATUS])
    assert kinds(rig) == expected


@pytest.mark.parametrize("joins", [True, False], ids=["when somebody joins", "when the journal is full"])
def test_records_that_make_no_image_are_told_and_asked_for_anew(joins: bool) -> None:
    """The venue broke its contract, whatever the ids say: counted, kept for the log, resyncing."""
    rig = Rig()
    rig.start(BOOK)
    bad = book(BOOK, "delta", 101).replace(b'"b":[]', b'"b":[["100.0"]]')
    rig.come(bad)
    if joins:
        rig.feed.answer(rig.route(BOOK), rig.now_ns, rig.now_s)
    else:
        for update_id in range(102, 102 + JOURNAL_LIMIT):
            rig.come(delta(BOOK, update_id))
    state, reason = states(rig)[-1]
    assert state == "resyncing"
    assert reason.startswith("records make no image: ")
    assert rig.feed.counters["unparsed"] == 1
    assert bad in rig.feed.malformed[0][1]
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]


def test_long_journal_is_folded_and_the_image_stays_whole() -> None:
    """Beyond the limit payloads are folded; what a newcomer gets is the same book."""
    rig = Rig()
    rig.start(BOOK)
    for update_id in range(101, 101 + 3 * JOURNAL_LIMIT):
        rig.come(delta(BOOK, update_id))
        assert len(rig.route(BOOK).journal or []) <= JOURNAL_LIMIT
    rig.take()
    rig.feed.answer(rig.route(BOOK), rig.now_ns, rig.now_s)
    composed = msgspec.json.decode(rig.take()[-1].payload)
    assert composed["data"]["b"] == [["100.0", str(100 + 3 * JOURNAL_LIMIT)]]
    assert composed["data"]["a"] == [["100.5", "2"]]


def test_stale_book_that_speaks_again_keeps_its_journal_in_bounds() -> None:
    """The delta that brings it back may be the one that fills the journal."""
    rig = Rig()
    rig.start(BOOK)
    for update_id in range(101, 100 + JOURNAL_LIMIT):
        rig.come(delta(BOOK, update_id))
    rig.feed.enter(rig.route(BOOK), "stale", "silent", rig.now_ns)
    rig.come(delta(BOOK, 100 + JOURNAL_LIMIT))
    assert rig.route(BOOK).journal == []
    rig.feed.answer(rig.route(BOOK), rig.now_ns, rig.now_s)
    assert msgspec.json.decode(rig.take()[-1].payload)["data"]["u"] == 100 + JOURNAL_LIMIT


@pytest.mark.parametrize(
    ("subscription", "found"),
    [
        (b"linear.orderbook.50.BTCUSDT\0", ["orderbook.50.BTCUSDT"]),
        (b"linear.orderbook.50.BTCUSDT", ["orderbook.50.BTCUSDT", "orderbook.50.BTCUSDT-26SEP25"]),
        (b"linear.orderbook.", ["orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT", "orderbook.50.BTCUSDT-26SEP25"]),
        (b"linear.tickers.BTCUSDT\0", ["tickers.BTCUSDT"]),
        (b"linear.", "all"),
        (b"", "all"),
        (b"linear.orderbook.50.BTC\0", []),
        (b"spot.", []),
        (b"zzz", []),
        (b"\xff\xff", []),
    ],
)
def test_subscription_matches_as_zeromq_does(subscription: bytes, found: Any) -> None:
    """With the terminator exactly one subject, without it every subject that begins so."""
    rig = Rig()
    topics = ["tickers.BTCUSDT", "orderbook.50.BTCUSDT-26SEP25", "orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT", TRADES]
    rig.carry(*topics)
    matching = [route.topic for route in rig.feed.matching(subscription)]
    assert sorted(matching) == sorted(topics if found == "all" else found)


def test_matching_follows_topics_that_come_and_go() -> None:
    """The table of filters is made anew."""
    rig = Rig()
    rig.start(BOOK)
    assert [len(rig.feed.matching(filter_)) for filter_ in (b"linear.", b"spot.", b"")] == [1, 0, 1]
    rig.carry(TRADES)
    assert len(rig.feed.matching(b"linear.")) == 2
    rig.feed.release(rig.lane, [BOOK], "gone", rig.now_ns)
    assert [route.topic for route in rig.feed.matching(b"linear.")] == [TRADES]


def test_newcomer_to_announcements_before_the_first_gets_the_status_alone() -> None:
    """They come a few times a year, and the topic is live from its acknowledgement (dossier 4.12)."""
    rig = Rig("status")
    rig.carry("system.status")
    rig.lane.opened(rig.now_ns)
    rig.subscribe("system.status")
    rig.take()
    rig.feed.answer(rig.route("system.status"), rig.now_ns, rig.now_s)
    (record,) = rig.take()
    assert (record.kind, status(record).state) == (STATUS, "live")


@pytest.mark.parametrize("is_over", [True, False])
def test_end_of_a_topic_tells_no_hole_again_that_is_over(is_over: bool) -> None:
    """Who sums up holes would count it twice; one that is open goes on."""
    rig = Rig()
    rig.start(BOOK)
    rig.lane.closed("connection lost", rig.now_ns)
    if is_over:
        rig.lane.opened(rig.now_ns)
        rig.subscribe(BOOK)
        rig.come(snapshot(BOOK, 200))
    rig.take()
    rig.feed.release(rig.lane, [BOOK], "no longer wanted", rig.now_ns)
    (record,) = rig.take()
    assert (status(record).state, isinstance(status(record).blind_from_ns, int)) == ("ended", not is_over)


# Counters.


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ([], "starting"),
        (["open"], "starting"),
        (["open", "live"], "live"),
        (["open", "live", "reject"], "live"),
        (["open", "live", "gap"], "degraded"),
        (["open", "live", "close"], "down"),
        (["open", "live", "close", "open"], "starting"),
    ],
)
def test_worker_in_one_word(steps: list[str], state: str) -> None:
    """Live when every topic is settled, starting, degraded, or down."""
    rig = Rig()
    rig.carry(BOOK, TRADES)
    for step in steps:
        if step == "open":
            rig.lane.opened(rig.now_ns)
        elif step == "live":
            rig.subscribe(BOOK, TRADES)
            rig.come(snapshot(BOOK, 100))
        elif step == "reject":
            rig.lane.refused(TRADES, "no", rig.now_ns)
        elif step == "gap":
            rig.come(delta(BOOK, 110))
        else:
            rig.lane.closed("lost", rig.now_ns)
    assert heartbeat(rig).state == state


def heartbeat(rig: Rig) -> wire.Heartbeat:
    return rig.feed.heartbeat(pid=1, time_ns=rig.now_ns, uptime_s=1.0, cpu_s=0.5, rss_bytes=10)


def test_heartbeat_counts_what_happened() -> None:
    """Frames in, records out under a number of their own (ended topics included), and topics by state."""
    rig = Rig()
    rig.start(BOOK, TRADES)
    rig.lane.count("reconnects")
    rig.come(delta(BOOK, 101))
    rig.come(delta(BOOK, 101))
    rig.come(trade(TRADES))
    rig.feed.answer(rig.route(BOOK), rig.now_ns, rig.now_s)
    rig.feed.release(rig.lane, [TRADES], "gone", rig.now_ns)
    beat = heartbeat(rig)
    assert beat.frames == 4
    assert (
        beat.published == 8
    )  # of the book: subscribing, live, snapshot, delta; of the trades: three statuses, an update
    assert (beat.images, beat.duplicates, beat.reconnects) == (1, 1, 1)
    assert (beat.topics, beat.rejected, beat.connections, beat.connections_up) == ({"live": 1}, 0, 1, 1)


def test_live_topic_says_again_what_it_may_have_missed() -> None:
    """A new status under the next number, in the same state, and the topic goes on."""
    rig = Rig()
    rig.start(TRADES)
    rig.feed.remark(rig.route(TRADES), "line 1 took over", rig.now_ns + S, Hole(START_NS, START_NS + S))
    (record,) = rig.take()
    said = status(record)
    assert (record.sequence, said.state, said.reason) == (3, "live", "line 1 took over")
    assert (said.blind_from_ns, said.blind_to_ns, said.since_ns) == (START_NS, START_NS + S, START_NS + S)
    rig.come(trade(TRADES))
    assert kinds(rig) == [UPDATE]


def test_changes_are_kept_for_the_log_and_the_supervisor() -> None:
    """Topic, state and reason, in order."""
    rig = Rig()
    rig.start(TRADES)
    rig.lane.closed("connection lost", rig.now_ns)
    assert rig.feed.changes == [(TRADES, "subscribing", ""), (TRADES, "live", ""), (TRADES, "down", "connection lost")]


def test_numbers_are_contiguous_over_a_whole_life() -> None:
    """Data and new statuses count on, images and repeats carry the last number, in every epoch."""
    rig = Rig(quiet_status_s=2)
    rig.carry(BOOK, TRADES, TICKER, epoch=3)
    update_id = itertools.count(1)
    for _ in range(3):
        rig.lane.opened(rig.now_ns)
        rig.subscribe(BOOK, TRADES, TICKER)
        rig.come(snapshot(BOOK, next(update_id)))
        rig.come(first(TICKER))
        for _ in range(5):
            rig.come(delta(BOOK, next(update_id)))
            rig.come(trade(TRADES))
            rig.come(ticker(TICKER, "delta", lastPrice="5"))
            rig.feed.answer(rig.route(BOOK), rig.now_ns, rig.now_s)
            rig.tick(1.5)
        next(update_id)
        rig.come(delta(BOOK, next(update_id)))
        rig.tick(3)
        rig.lane.closed("lost", rig.now_ns)
    rig.feed.release(rig.lane, [BOOK, TRADES, TICKER], "stopped", rig.now_ns)
    rig.carry(BOOK, epoch=4)
    assert math.inf > len(rig.records) > 80
    check_sequences(rig.records)
