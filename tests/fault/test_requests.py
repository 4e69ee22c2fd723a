"""What a strategy sees when the venue answers a request wrongly, late, not at all, or says no.

Each test reads: inject, the strategy sees, recovered within, nothing lost unreported and nothing repeated.
"""

import time
from pathlib import Path
from typing import Any

import pytest
from support.feed import wait_until
from support.stage import BOOKS, SUBJECTS, TRADES, Act, Stage

from feedhandler import wire
from feedhandler.wire import DOWN, LIVE, REJECTED, RESYNCING, STALE, SUBSCRIBING

SYMBOL = "BTCUSDT"
OF_SYMBOL = tuple(subject for subject in SUBJECTS if subject.endswith(SYMBOL))
REST = tuple(subject for subject in SUBJECTS if subject not in OF_SYMBOL)


@pytest.mark.parametrize("kind", ["abort_before_ack", "abort_after_ack"])
def test_a_connection_that_ends_around_its_acknowledgement_is_opened_again(act: Act, kind: str) -> None:
    """Inject a reset, and an end before or after the next acknowledgement → `down` twice → live again within 3 s."""
    act.inject(kind)
    act.inject("reset")
    act.await_each_told(DOWN, SUBSCRIBING, DOWN, within_s=2)
    act.await_each_told(DOWN, SUBSCRIBING, DOWN, SUBSCRIBING, LIVE, within_s=3)
    act.await_flow()
    act.assert_kept()
    assert act.counted("reconnects") == 2


@pytest.mark.parametrize(
    ("fault", "within_s"),
    [
        ({"kind": "noack", "op": "subscribe", "count": 1}, 8),
        ({"kind": "lateack", "ms": 1000, "count": 4}, 6),
        ({"kind": "reject", "count": 1}, 3),
    ],
    ids=["none", "late", "no"],
)
def test_a_subscription_that_is_not_acknowledged_as_it_should_is_seen_as_nothing_but_time(
    act: Act, fault: dict[str, Any], within_s: float
) -> None:
    """Inject a reset, then an answer that is missing, late, or a passing "no" → every topic `live`, none `rejected`."""
    act.inject(**fault)
    act.inject("reset")
    act.await_each_told(DOWN, SUBSCRIBING, LIVE, within_s=within_s)
    act.await_spent() if fault["kind"] != "lateack" else act.await_flow()
    act.assert_kept()
    assert {tuple(dict.fromkeys(act.states(subject))) for subject in SUBJECTS} == {(DOWN, SUBSCRIBING, LIVE)}
    assert act.counted("reconnects") == 1


def test_an_unsubscription_without_answer_delays_its_resync_alone(act: Act) -> None:
    """Inject a lost delta, and no answer to the unsubscription → `resyncing` → asked for again after 5 s: `live`."""
    act.inject("noack", op="unsubscribe", count=1)
    act.inject("skip", topic=act.topic)
    act.await_told(act.book, RESYNCING, within_s=1.5)
    act.await_told(act.book, RESYNCING, LIVE, within_s=9)
    act.await_flow()
    act.assert_kept()
    act.assert_untouched(*act.others)


def test_a_topic_that_the_venue_refuses_is_rejected_alone(tmp_path: Path) -> None:
    """Inject a delisting → its book `stale`, then `rejected` with the venue's text; after a reset the rest is back."""
    with Stage(tmp_path) as stage:
        stage.wait_whole()
        wait_until(lambda: stage.beat().uptime_s > 8, "the book's rhythm is learned")
        act = Act(stage)
        act.inject("delist", product="linear", symbol=SYMBOL)
        act.await_told(BOOKS[0], STALE, within_s=13)
        text = "error:handler not found,topic:orderbook.50.BTCUSDT"
        act.await_told(BOOKS[0], STALE, REJECTED, within_s=15, reason=text)
        act.assert_untouched(*REST)
        # All of them in one request, which is refused as a whole (dossier 3.4).
        act = Act(stage)
        act.inject("reset")
        for subject in REST:
            act.await_told(subject, DOWN, SUBSCRIBING, LIVE, within_s=3)
        act.await_told(TRADES, DOWN, SUBSCRIBING, REJECTED, within_s=3, reason="publicTrade.BTCUSDT")
        assert {stage.states()[subject] for subject in OF_SYMBOL} == {REJECTED}
        assert act.states(BOOKS[0]) == []  # refused it stays
        stage.wait_more(10, but=OF_SYMBOL)
        act.assert_kept()
        assert stage.beat(time.time_ns()).rejected == len(OF_SYMBOL)


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_a_refused_topic_is_asked_for_again_after_a_minute(tmp_path: Path) -> None:
    """Inject a delisting, then a listing → `rejected` → within 75 s `subscribing`, `live`, with a snapshot."""
    with Stage(tmp_path) as stage:
        stage.wait_whole()
        act = Act(stage)
        act.inject("delist", product="linear", symbol=SYMBOL)
        act.inject("reset")
        for subject in OF_SYMBOL:
            act.await_told(subject, DOWN, SUBSCRIBING, REJECTED, within_s=3)
        stage.venue.fault("relist")
        for subject in OF_SYMBOL:
            stage.witness.subscribe_anew(subject.partition(".")[2])
            act.await_told(subject, REJECTED, SUBSCRIBING, LIVE, within_s=75, patience_s=90)
        wait_until(lambda: any(one.record.kind == wire.UPDATE for one in act.data(TRADES)), "trades")
        act.await_flow()
        act.assert_kept()
