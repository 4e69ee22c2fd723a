"""One topic as the worker carries it: legal transitions, what it keeps for newcomers, and when its silence counts."""

import itertools
from typing import Final

import msgspec
import pytest
from support.lane import S, delta, snapshot

from feedhandler import wire
from feedhandler.bybit.products import Nature
from feedhandler.wire import DOWN, ENDED, LIVE, REJECTED, RESYNCING, STALE, STATES, SUBSCRIBING
from feedhandler.worker.route import (
    EVENT_PATIENCE,
    EVENT_SAMPLES,
    LEAST_STALE_EVENT_NS,
    LEAST_STALE_NS,
    LEVEL_1_STALE_NS,
    PATIENCE,
    SAMPLES,
    TRANSITIONS,
    UNBASED,
    Cadence,
    Route,
    TransitionError,
)

BOOK = "orderbook.50.BTCUSDT"
# As the wire format describes the states; written out, so that the table has something to be held against.
LEGAL: Final = {
    SUBSCRIBING: {LIVE, RESYNCING, DOWN, REJECTED, ENDED},
    LIVE: {STALE, RESYNCING, DOWN, REJECTED, ENDED},
    STALE: {LIVE, RESYNCING, DOWN, REJECTED, ENDED},
    RESYNCING: {LIVE, RESYNCING, DOWN, REJECTED, ENDED},
    DOWN: {SUBSCRIBING, DOWN, REJECTED, ENDED},
    REJECTED: {SUBSCRIBING, DOWN, REJECTED, ENDED},
    ENDED: set[str](),
}
WAY: Final = {
    SUBSCRIBING: (),
    LIVE: (LIVE,),
    STALE: (LIVE, STALE),
    RESYNCING: (LIVE, RESYNCING),
    DOWN: (DOWN,),
    REJECTED: (REJECTED,),
    ENDED: (ENDED,),
}
"""How to get to each state."""


def made(topic: str = BOOK, nature: Nature = Nature.BOOK, state: str = SUBSCRIBING) -> Route:
    route = Route(f"linear.{topic}", topic, nature, epoch=7, flags=0, line=2, now_ns=S)
    for step in WAY[state]:
        route.enter(step, "on the way", S)
    return route


def alive(*payloads: bytes) -> Route:
    route = made(state=LIVE)
    route.journal = list(payloads)
    route.update_id = 100
    route.asked = True
    return route


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATES, STATES)))
def test_transition_is_legal_or_raises(before: str, after: str) -> None:
    """Every pair of states: the table allows it, or it is a bug of ours and says what was tried."""
    route = made(state=before)
    if after in LEGAL[before]:
        route.enter(after, "why", 2 * S)
        assert (route.state, route.reason, route.since_ns) == (after, "why", 2 * S)
        assert route.live == (after == LIVE)
    else:
        with pytest.raises(TransitionError, match=rf"linear.{BOOK}: {before} cannot become {after} \(why\)"):
            route.enter(after, "why", 2 * S)
        assert route.state == before


def test_table_has_every_state() -> None:
    """No state is without a row, and no row leads out of the vocabulary."""
    assert set(TRANSITIONS) == set(STATES)
    assert set().union(*TRANSITIONS.values()) <= set(STATES)


@pytest.mark.parametrize("state", [DOWN, RESYNCING, REJECTED, ENDED])
def test_lost_topic_keeps_nothing_of_its_past(state: str) -> None:
    """No base, no journal, no image, nothing asked for: what comes now continues nothing."""
    route = alive(snapshot(BOOK, 100), delta(BOOK, 101))
    route.fold()
    route.enter(state, "why", 2 * S)
    assert (route.update_id, route.asked, route.image, route.journal) == (UNBASED, False, None, [])


@pytest.mark.parametrize("state", [DOWN, ENDED])
def test_lost_event_topic_keeps_no_journal_at_all(state: str) -> None:
    """It never had one."""
    route = made("publicTrade.BTCUSDT", Nature.EVENT, LIVE)
    route.enter(state, "why", 2 * S)
    assert route.journal is None


@pytest.mark.parametrize("state", [DOWN, RESYNCING, REJECTED])
def test_new_reason_in_the_same_state_changes_the_reason_alone(state: str) -> None:
    """What was asked for meanwhile stays asked for."""
    route = made(state=state)
    route.asked = True
    route.enter(state, "another reason", 2 * S)
    assert (route.reason, route.since_ns, route.asked) == ("another reason", 2 * S, True)


def test_stale_book_remembers_where_it_stood() -> None:
    """Its chain is off the hot path; its image stays."""
    route = alive(snapshot(BOOK, 100))
    route.enter(STALE, "silent", 2 * S)
    assert (route.update_id, route.stale_update_id, route.live) == (UNBASED, 100, False)
    assert route.compose() == snapshot(BOOK, 100)


@pytest.mark.parametrize(
    ("nature", "kind", "chained", "remembers"),
    [
        (Nature.BOOK, wire.SNAPSHOT, True, True),
        (Nature.MERGED, wire.SNAPSHOT, False, True),
        (Nature.LATEST, wire.SNAPSHOT, False, True),
        (Nature.EVENT, wire.UPDATE, False, False),
        (Nature.DELTAS, wire.DELTA, True, False),
    ],
)
def test_nature_decides_kind_chain_and_memory(nature: Nature, kind: int, chained: bool, remembers: bool) -> None:
    """The table of the wire format."""
    route = made("some.topic", nature)
    assert (route.kind, route.chained, route.journal is not None) == (kind, chained, remembers)


@pytest.mark.parametrize("nature", list(Nature))
def test_heads_are_those_of_the_wire_format(nature: Nature) -> None:
    """By kind; whatever the venue calls an event, it goes out as an update."""
    route = made("some.topic", nature)
    for kind in (wire.SNAPSHOT, wire.DELTA, wire.UPDATE):
        told = wire.UPDATE if nature is Nature.EVENT else kind
        assert route.heads[kind] == wire.head(b"linear.some.topic\0", told, 0, 2, 7)


# What a newcomer gets.


def test_compose_gives_nothing_where_there_are_no_images() -> None:
    """Events, and topics that are neither live nor stale."""
    assert made("publicTrade.BTCUSDT", Nature.EVENT, LIVE).compose() is None
    for state in (SUBSCRIBING, RESYNCING, DOWN, REJECTED, ENDED):
        assert made(state=state).compose() is None


def test_compose_folds_once_and_goes_on_from_there() -> None:
    """Several newcomers in a row, records between them, and none."""
    route = alive(snapshot(BOOK, 100), delta(BOOK, 101))
    first = route.compose()
    assert route.journal == []
    assert route.compose() == first
    route.journal = [delta(BOOK, 102)]
    again = route.compose()
    assert again is not None
    assert msgspec.json.decode(again)["data"]["u"] == 102


def test_compose_without_any_record_is_nothing() -> None:
    """The venue's announcements are live before the first of them."""
    assert made(state=LIVE).compose() is None


@pytest.mark.parametrize(
    ("topic", "payload", "composed"),
    [
        (
            "orderbook.rpi.BTCUSDT",
            b'{"topic":"orderbook.rpi.BTCUSDT","type":"snapshot","ts":1,"data":{"s":"S","b":[["1","0","2"]],"a":[],"u":1}}',
            {"b": [["1", "0", "2"]], "a": []},
        ),
        (
            "orderbook.1.BTCUSDT",
            b'{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":1,"data":{"s":"S","b":[["1","2"]],"a":[],"u":1}}',
            {"b": [["1", "2"]], "a": []},
        ),
        (
            "tickers.BTCUSDT",
            b'{"topic":"tickers.BTCUSDT","type":"snapshot","ts":1,"data":{"symbol":"S"}}',
            {"symbol": "S"},
        ),
    ],
)
def test_topic_decides_how_its_records_are_folded(topic: str, payload: bytes, composed: dict[str, object]) -> None:
    """Triples for rpi books, pairs for others, fields for everything else."""
    route = made(topic, Nature.MERGED, LIVE)
    route.journal = [payload, payload]
    image = route.compose()
    assert image is not None
    assert composed.items() <= msgspec.json.decode(image)["data"].items()


# Cadence.


def test_cadence_is_not_believed_before_it_is_known() -> None:
    """So many pauses for a state, more for events."""
    for cadence, samples in ((Cadence(BOOK, Nature.BOOK), SAMPLES), (Cadence("t", Nature.EVENT), EVENT_SAMPLES)):
        for _ in range(samples - 1):
            cadence.paused(S)
        assert cadence.stale_after_ns() is None
        cadence.paused(S)
        assert cadence.stale_after_ns() is not None


@pytest.mark.parametrize(
    ("nature", "pause_ns", "stale_after_ns"),
    [
        (Nature.BOOK, S // 50, LEAST_STALE_NS),
        (Nature.MERGED, LEAST_STALE_NS, PATIENCE * LEAST_STALE_NS),
        (Nature.EVENT, S, LEAST_STALE_EVENT_NS),
        (Nature.DELTAS, LEAST_STALE_EVENT_NS, EVENT_PATIENCE * LEAST_STALE_EVENT_NS),
    ],
)
def test_patience_is_a_multiple_of_the_longest_pause(nature: Nature, pause_ns: int, stale_after_ns: int) -> None:
    """And never less than the least."""
    cadence = Cadence("topic", nature)
    cadence.paused(pause_ns)
    for _ in range(EVENT_SAMPLES):
        cadence.paused(0)
    after_ns = cadence.stale_after_ns()
    assert after_ns is not None
    assert 0.9 * stale_after_ns < after_ns <= stale_after_ns


def test_long_pause_is_slowly_forgotten() -> None:
    """A market that quickened is judged by what it is now."""
    cadence = Cadence(BOOK, Nature.BOOK)
    cadence.paused(3600 * S)
    for _ in range(10_000):
        cadence.paused(S // 10)
    assert cadence.stale_after_ns() == LEAST_STALE_NS


def test_level_1_needs_no_learning() -> None:
    """The venue promises to send it again after 3 s without change (dossier 5.1)."""
    cadence = Cadence("orderbook.1.BTCUSDT", Nature.LATEST)
    assert cadence.stale_after_ns() == LEVEL_1_STALE_NS


def test_each_suspicion_doubles_the_patience_up_to_a_bound() -> None:
    """So that a topic that is only quiet is not resubscribed forever."""
    cadence = Cadence("orderbook.1.BTCUSDT", Nature.LATEST)
    for doublings in range(1, 20):
        cadence.suspected()
        assert cadence.stale_after_ns() == LEVEL_1_STALE_NS << min(doublings, 10)
