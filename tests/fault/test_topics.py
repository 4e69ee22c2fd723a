"""What a strategy sees when single topics or frames are wrong: that topic is healed, the others notice nothing.

Each test reads: inject, the strategy sees, recovered within, nothing lost unreported and nothing repeated.
"""

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.feed import wait_until
from support.onlooker import Onlooker, Sight
from support.stage import BOOKS, TICKER, TRADES, Act, Stage, acting, data

from feedhandler import wire


def test_a_lost_delta_resyncs_that_topic_alone(act: Act) -> None:
    """Inject a jump of `u` → `resyncing` with the ids and the count → a snapshot, `live` → the others untouched."""
    act.inject("skip", topic=act.topic, count=2)
    resyncing = act.await_told(act.book, wire.RESYNCING, within_s=1.5).status
    live = act.await_told(act.book, wire.RESYNCING, wire.LIVE, within_s=3).status
    act.await_flow()
    act.assert_kept()
    last, first = (int(word) for word in resyncing.reason.replace("gap: u ", "").split(" was followed by u "))
    assert resyncing.lost == first - last - 1 == 2
    assert live.blind_from_ns == resyncing.blind_from_ns
    assert live.recoverable is True
    act.assert_untouched(*act.others)
    assert act.counted("gaps") == 1


def test_lost_deltas_of_every_book_are_resynced_each(act: Act) -> None:
    """Inject a jump of `u` of every book at once → each is `resyncing`, then `live`; the rest is untouched."""
    act.inject("skip", topic="orderbook.*", count=20)
    for book in act.stage.books:
        act.await_told(book, wire.RESYNCING, wire.LIVE, within_s=8)
    act.await_spent()
    act.assert_kept()
    act.assert_untouched(*(subject for subject in act.stage.subjects if subject not in act.stage.books))


def test_a_delta_that_comes_twice_is_dropped(act: Act) -> None:
    """Inject deltas sent twice → nothing is seen of it → counted."""
    act.inject("duplicate", topic=act.topic, count=3)
    act.await_spent()
    act.assert_kept()
    act.assert_untouched()
    assert act.counted("duplicates") == 3


def test_an_overtaken_delta_resyncs_that_topic_alone(act: Act) -> None:
    """Inject two deltas in the wrong order → a gap: `resyncing`, then a snapshot and `live` → each `u` once, in order."""
    act.inject("reorder", topic=act.topic)
    act.await_told(act.book, wire.RESYNCING, within_s=1.5, reason="gap: u ")
    act.await_told(act.book, wire.RESYNCING, wire.LIVE, within_s=3)
    act.await_flow()
    act.assert_kept()
    act.assert_untouched(*act.others)


@pytest.mark.parametrize("kind", ["restart", "renew", "lower", "empty", "one_sided"])
def test_a_snapshot_at_any_time_is_published_as_sent(act: Act, kind: str) -> None:
    """Inject a spontaneous snapshot (u=1, next or lower u, empty, one-sided) → a snapshot, at once → deltas continue it."""
    before = data(act.stage.strategy.of(act.book))[-1]
    act.inject(kind, topic=act.topic)
    wait_until(lambda: any(one.record.kind == wire.SNAPSHOT for one in act.data(act.book)), "the snapshot", 1)
    act.await_flow()
    act.assert_kept()
    act.assert_untouched()
    records = [before, *act.data(act.book)]
    first = next(index for index, one in enumerate(records) if index and one.record.kind == wire.SNAPSHOT)
    last, snapshot, delta = (json.loads(one.record.payload)["data"] for one in records[first - 1 : first + 2])
    assert snapshot["u"] == {"restart": 1, "lower": last["u"] - 1000}.get(kind, last["u"] + 1)
    assert delta["u"] == snapshot["u"] + 1
    assert bool(snapshot["b"]) is (kind not in ("empty", "one_sided"))
    assert bool(snapshot["a"]) is (kind != "empty")


def test_a_restart_told_by_a_delta_is_a_resync(act: Act) -> None:
    """Inject a delta with u = 1 on a running book → its base is not ours: `resyncing`, then a snapshot and `live`."""
    act.inject("restart_delta", topic=act.topic)
    resyncing = act.await_told(act.book, wire.RESYNCING, within_s=1.5, reason="restarted: delta with u 1 after u ")
    assert resyncing.status.lost in (None, msgspec.UNSET)
    act.await_told(act.book, wire.RESYNCING, wire.LIVE, within_s=3)
    act.await_flow()
    act.assert_kept()
    act.assert_untouched(*act.others)


def test_garbage_costs_nobody_anything(act: Act) -> None:
    """Inject senseless frames → counted, and the raw text logged → no state changes, nothing published, nothing lost."""
    senseless = ("invalid", "truncated", "binary", "empty", "list", "latin1")
    for what in senseless:
        act.inject("garbage", what=what, topic=act.topic)
        act.await_spent()
    act.assert_kept()
    act.assert_untouched()
    assert (act.counted("unparsed"), act.counted("binary")) == (5, 1)
    logged = [line for line in act.stage.feed.log_lines() if line["level"] == "warning" and "frame" in line["message"]]
    assert logged


def test_the_unexpected_passes(act: Act) -> None:
    """Inject unknown topics → counted; new fields → passed on; fragments, tiny segments → whole: no state changes."""
    act.inject("unknown_topic", count=3)
    act.inject("extra_fields", topic=act.topic, count=5)
    act.inject("extra_fields", topic=TRADES.partition(".")[2], count=2)
    act.await_spent()
    act.inject("fragment", count=10)
    act.await_spent()
    act.inject("split", count=3)
    act.await_spent()
    act.assert_kept()
    act.assert_untouched()
    assert act.counted("unexpected") == 3
    for subject, count in ((act.book, 5), (TRADES, 2)):
        assert sum(b'"newField"' in one.record.payload for one in act.data(subject)) == count


def test_trades_in_other_frames_are_the_same_trades(act: Act) -> None:
    """Inject the trades of frames sent one by one → each comes once, in order."""
    act.inject("regroup", topic=TRADES.partition(".")[2], count=3)
    act.await_spent()
    act.assert_kept()
    act.assert_untouched()


@pytest.mark.parametrize("shift_ms", [-5000, 3_600_000])
def test_a_venue_clock_that_is_wrong_changes_nothing(act: Act, shift_ms: int) -> None:
    """Inject a venue's clock 5 s behind, or an hour ahead → records as sent; nobody is stale, late or blind for it."""
    act.inject("skew", topic="orderbook.*", ms=shift_ms)
    act.inject("skew", topic="publicTrade.*", ms=shift_ms)
    act.await_flow(30)
    act.assert_kept()
    act.assert_untouched()


def test_a_late_connection_is_late_and_nothing_else(act: Act) -> None:
    """Inject 200 ms of delay on every frame → everything comes, in order; no state changes."""
    act.inject("delay", ms=200)
    act.await_flow(30)
    act.assert_kept()
    act.assert_untouched()


def test_the_deletion_of_an_unknown_level_changes_no_book(act: Act) -> None:
    """Inject deletions of a level that does not exist → passed on as sent, counted in 6 s; the book stays the venue's."""
    act.inject("unknown_delete", topic=act.topic, count=3)
    act.await_spent()
    act.assert_kept()
    wait_until(lambda: act.counted("unknown_deletes") == 3, "counted", 8)
    act.assert_untouched()


@pytest.fixture
def slow_act(tmp_path: Path) -> Iterator[Act]:
    """A fault on a market that moves slowly: on a lively one a crossed book may come right by itself."""
    with Stage(tmp_path, "--rate", "0.3") as stage:
        yield from acting(stage)


def test_a_crossed_book_is_told_and_renewed(slow_act: Act) -> None:
    """Inject a bid above the best ask → within 6 s `resyncing`, blind since before it → a snapshot and `live`."""
    act = slow_act
    act.inject("crossed", topic=act.topic)
    resyncing = act.await_told(act.book, wire.RESYNCING, within_s=6).status
    assert resyncing.reason.startswith(("crossed: best bid ", "too deep: "))
    act.await_told(act.book, wire.RESYNCING, wire.LIVE, within_s=8)
    act.await_flow()
    wrong = act.judged()
    assert wrong  # or the fault was none
    judge = act.stage.court.judges[act.book]
    assert [one for one in wrong if one.subject != act.book or not judge.is_told(one.sent_ns)] == []
    act.assert_untouched(*act.others)


def test_trades_of_a_type_that_the_venue_never_had_are_trades(act: Act) -> None:
    """Inject trades under an unknown type → each comes once, as sent; no state changes."""
    act.inject("unknown_type", topic=TRADES.partition(".")[2], count=3)
    act.await_spent()
    act.assert_kept()
    act.assert_untouched()
    assert sum(b'"checkpoint"' in one.record.payload for one in act.data(TRADES)) == 3


def test_a_book_of_a_type_that_the_venue_never_had_is_no_snapshot(act: Act) -> None:
    """Inject a delta under an unknown type → whatever is made of it, no wrong book is called live."""
    act.inject("unknown_type", topic=act.topic)
    act.await_spent()
    act.stage.wait_whole()
    with act.stage.onlooker() as newcomer:
        wait_until(lambda: len(newcomer.of(act.book)) > 5, "the image for a newcomer")
        court = act.stage.settle(newcomer, act.stage.new_court())
        assert (court.taken_findings(), court.taken_wrong()) == ([], [])
    act.assert_kept()
    act.assert_untouched(*act.others)


def test_a_topic_that_falls_silent_alone_is_asked_for_again(act: Act) -> None:
    """Inject silence of one lively topic → after 10 s `stale`, subscribed anew alone → a snapshot and `live`."""
    act.await_rhythm()
    act.inject("mute", topic=act.topic, heals="resubscribe")
    act.await_told(act.book, wire.STALE, within_s=12, reason="while its connection is alive")
    act.await_told(act.book, wire.STALE, wire.LIVE, within_s=14)
    act.await_flow()
    act.assert_kept()
    act.assert_untouched(*act.others)
    assert act.counted("stale") == 1


def test_published_books_equal_the_venues_at_every_update_id(act: Act) -> None:
    """Inject lost, doubled, overtaken, renewed and senseless frames at random → a book that is live is the venue's."""
    books = "orderbook.*"
    act.inject("skip", topic=books, probability=0.01, count=4)
    act.inject("duplicate", topic=books, probability=0.05, count=10)
    act.inject("reorder", topic=books, probability=0.01, count=2)
    act.inject("garbage", topic=books, probability=0.02, count=4)
    for kind in ("renew", "restart", "lower", "one_sided"):
        act.await_flow(20)
        act.inject(kind, topic=act.topic)
    act.await_flow(20)
    act.stage.venue.fault("off")
    act.stage.wait_whole()
    act.assert_kept()
    assert act.counted("resyncs") > 0


def test_data_after_an_unsubscription_are_not_the_new_subscriptions(act: Act) -> None:
    """Inject a lost delta, and frames that slip out after the unsubscription → a snapshot first, then what continues."""
    act.inject("slip", frames=2)
    act.inject("skip", topic=act.topic)
    act.await_told(act.book, wire.RESYNCING, wire.LIVE, within_s=4)
    act.await_flow()
    act.assert_kept()
    act.assert_untouched(*act.others)


@pytest.mark.parametrize("order", ["snapshot_first", "ack_first"])
def test_acknowledgement_and_snapshot_may_come_in_any_order(act: Act, order: str) -> None:
    """Inject either order, then lost deltas and a reset → the same each time: a snapshot and `live`."""
    act.inject(order)
    act.inject("skip", topic=act.topic)
    act.await_told(act.book, wire.RESYNCING, wire.LIVE, within_s=4)
    act.await_flow()
    act.inject("reset")
    act.await_each_told(wire.DOWN, wire.SUBSCRIBING, wire.LIVE, within_s=6)
    act.await_flow()
    act.assert_kept()


def has_seen(strategy: Onlooker, subject: str, count: int) -> bool:
    return len(data(strategy.of(subject))) >= count


def test_a_strategy_that_joins_amid_faults_gets_an_image_that_is_continued_exactly(act: Act, stage: Stage) -> None:
    """Inject lost and renewed frames while strategies join → each has the venue's book from its image or snapshot on."""
    for kind in ("renew", "skip", "restart", "duplicate"):
        act.inject(kind, topic=act.topic)
        with stage.onlooker() as newcomer:
            for book in stage.books:
                wait_until(functools.partial(has_seen, newcomer, book, 10), "its records")
            court = stage.settle(newcomer, stage.new_court())
            assert (court.taken_findings(), court.taken_wrong()) == ([], [])
            assert court.checked > 10
            assert data(newcomer.of(act.others[0]))[0].record.kind == wire.SNAPSHOT
    act.stage.wait_whole()
    act.assert_kept()


@pytest.mark.parametrize("subject", [BOOKS[0], TRADES, TICKER])
def test_the_judges_of_these_tests_find_what_is_lost_comes_twice_or_is_wrong(act: Act, subject: str) -> None:
    """A strategy's stream as it was is in order; without one record, with one twice, or with a wrong level it is not."""
    stage = act.stage
    wait_until(lambda: len(act.data(subject)) > 10, "records")
    act.await_flow()
    act.assert_kept()
    known_ns = stage.witness.known_ns - 100_000_000
    whole = [one for one in stage.strategy.of(subject) if one.record.published_ns < known_ns]
    place = whole.index(act.data(subject)[5])
    assert found_in(stage, whole) == ([], 0)
    lost, _ = found_in(stage, whole[:place] + whole[place + 1 :])
    assert re.fullmatch(rf"{subject}: \d+ records were lost, and nobody said so", lost[0])
    twice, _ = found_in(stage, [*whole[: place + 2], *whole[place:]])
    assert "came again, or late" in twice[0]
    shown = whole[place].book
    if shown is not None:
        wrong = msgspec.structs.replace(whole[place], book=msgspec.structs.replace(shown, bids=shown.bids[1:]))
        assert found_in(stage, [*whole[:place], wrong, *whole[place + 1 :]]) == ([], 1)


def found_in(stage: Stage, seen: list[Sight]) -> tuple[list[str], int]:
    """Return what new judges find in a stream, and how many states were wrong."""
    court = stage.new_court()
    court.hear(seen, seen[-1].record.published_ns)
    return court.taken_findings(), len(court.taken_wrong())
