"""What a strategy sees when the connection to the venue fails, and how soon it is whole again.

Each test reads: inject, the strategy sees, recovered within, nothing lost unreported and nothing repeated.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.feed import Book, Ear, Feed, breaks, is_data, is_status, status, wait_until
from support.simulator import Simulator

from feedhandler import wire

BOOK = "linear.orderbook.50.BTCUSDT"
TRADES = "linear.publicTrade.BTCUSDT"
TICKERS = "linear.tickers.BTCUSDT"
SUBJECTS = (BOOK, TRADES, TICKERS)


class Scene:
    """A feed on a simulated venue, heard by a plain subscriber."""

    def __init__(self, venue: Simulator, feed: Feed, ear: Ear) -> None:
        self.venue = venue
        self.feed = feed
        self.ear = ear

    def since(self, start: int, subject: str) -> list[wire.Record]:
        """Return the records of a subject after the first ``start`` of all."""
        return [record for record in list(self.ear.records)[start:] if record.subject == subject]

    def states_since(self, start: int, subject: str) -> list[str]:
        """Return the new states of a subject after the first ``start`` records of all."""
        return [status(record)["state"] for record in self.since(start, subject) if is_status(record)]

    def wait_whole(self, start: int, timeout_s: float = 20.0) -> None:
        """Wait until every subject has gone down and come back with data after the first ``start`` records."""

        def whole() -> bool:
            for subject in SUBJECTS:
                if self.states_since(start, subject)[-1:] != ["live"]:
                    return False
            records = self.since(start, BOOK)
            live = max(index for index, record in enumerate(records) if is_status(record))
            return sum(is_data(record) for record in records[live:]) > 3

        wait_until(whole, "every subject live again, with data", timeout_s)


CONFIG = """
network = "sim"
[connection]
reconnect_base_s = 0.1
[endpoints.linear]
product = "linear"
url = "{url}"
symbols = ["BTCUSDT", "ETHUSDT"]
streams = ["orderbook.50", "publicTrade", "tickers"]
"""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Everything live, and heard from the start."""
    with Simulator("--rate", "3") as venue:
        feed = Feed(tmp_path, CONFIG.format(url=venue.url_of("linear")))
        with Ear([feed.address("linear")]) as ear, feed:
            wait_until(lambda: all(ear.data(subject) for subject in SUBJECTS), "data of every kind")
            yield Scene(venue, feed, ear)


def check_books(records: list[wire.Record]) -> None:
    """After each ``subscribing``, ``resyncing`` or ``down`` the first book record is a snapshot, and deltas chain."""
    book, whole = Book(), False
    for record in records:
        if is_status(record) and status(record)["state"] in ("subscribing", "resyncing", "down"):
            whole = False
        elif record.flags & wire.IMAGE and not whole:
            book.apply(record.payload)  # this subscriber joined when the book was live already
            whole = True
        elif is_data(record):
            assert whole or record.kind == wire.SNAPSHOT
            update_id = json.loads(record.payload)["data"]["u"]
            assert record.kind == wire.SNAPSHOT or update_id == book.update_id + 1
            book.apply(record.payload)
            assert not book.bids or not book.asks or max(book.bids) < min(book.asks)
            whole = True


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "reset"}, "connection lost"),
        ({"kind": "eof"}, "connection lost"),
        ({"kind": "close", "code": 1001, "reason": "going away"}, "closed by the venue: 1001 going away"),
    ],
    ids=["reset", "end of file", "close frame"],
)
def test_a_lost_connection_is_told_and_healed_at_once(scene: Scene, fault: dict[str, Any], reason: str) -> None:
    """Inject a loss → `down` with the reason → within 1 s a snapshot and `live` → no break, no repeat, holes bounded."""
    start = len(scene.ear.records)
    injected_s, injected_ns = time.monotonic(), time.time_ns()
    scene.venue.fault(**fault)
    scene.wait_whole(start)
    healed_s = time.monotonic() - injected_s
    for subject in SUBJECTS:
        assert scene.states_since(start, subject) == ["down", "subscribing", "live"]
        lost, _, live = (status(record) for record in scene.since(start, subject) if is_status(record))
        assert lost["reason"] == reason
        assert lost["lines_up"] == 0
        assert lost["blind_from_ns"] <= injected_ns + 200_000_000
        assert live["blind_from_ns"] == lost["blind_from_ns"] < live["blind_to_ns"] == live["since_ns"]
        assert live["lost"] is None
        assert live["recoverable"] is (subject != TRADES)
    for subject in (BOOK, TICKERS):
        records = scene.since(start, subject)
        down = next(index for index, record in enumerate(records) if is_status(record))
        assert next(record for record in records[down:] if is_data(record)).kind == wire.SNAPSHOT
    check_books(scene.ear.of(BOOK))
    assert not breaks(scene.ear.records)
    ids = [trade["i"] for record in scene.ear.data(TRADES) for trade in json.loads(record.payload)["data"]]
    assert len(ids) == len(set(ids))
    assert healed_s < 2
    wait_until(lambda: scene.feed.counters("linear")["reconnects"] == 1, "counted")


def test_refused_handshakes_are_told_and_retried_until_they_succeed(scene: Scene) -> None:
    """Inject a reset and three refusals (502) → `down` with the status → retried with growing pauses → live again."""
    start = len(scene.ear.records)
    scene.venue.fault("refuse", status=502, count=3)
    scene.venue.fault("reset")
    scene.wait_whole(start)
    states = [status(record) for record in scene.since(start, BOOK) if is_status(record)]
    assert [state["reason"] for state in states if state["state"] == "down"] == ["connection lost", "refused: HTTP 502"]
    check_books(scene.ear.of(BOOK))
    assert not breaks(scene.ear.records)


def test_too_many_connections_are_left_alone_for_longer(scene: Scene) -> None:
    """Inject a reset and a refusal with HTTP 429 → no immediate retry: at least 5 s pass before the next attempt."""
    start = len(scene.ear.records)
    scene.venue.fault("refuse", status=429, count=1)
    scene.venue.fault("reset")
    wait_until(lambda: "refused: HTTP 429" in [s["reason"] for s in scene.ear.statuses(BOOK)], "the refusal is told")
    refused_s = time.monotonic()
    scene.wait_whole(start)
    assert time.monotonic() - refused_s > 4.5


def test_a_handshake_that_never_ends_is_given_up_and_never_comes_alive(tmp_path: Path) -> None:
    """Inject a handshake that hangs → given up after the deadline → the next attempt succeeds, and carries all data."""
    with Simulator() as venue:
        venue.fault("refuse", status="hang", count=1)
        config = CONFIG.format(url=venue.url_of("linear")).replace("reconnect_base_s = 0.1", "connect_timeout_s = 1.0")
        feed = Feed(tmp_path, config)
        with Ear([feed.address("linear")]) as ear, feed:
            feed.wait_live("linear")
            assert ear.states(BOOK)[-3:] == ["down", "subscribing", "live"]
            assert "no connection within 1 s" in [state["reason"] for state in ear.statuses(BOOK)]
            assert len(venue.stats()["connections"]) == 1


def test_no_venue_at_all_is_told(tmp_path: Path) -> None:
    """Nobody listens at the URL → `down` with the reason, and attempts go on."""
    config = CONFIG.format(url="ws://127.0.0.1:9/v5/public/linear")
    feed = Feed(tmp_path, config)
    with Ear([feed.address("linear")]) as ear, feed:
        # Repeated statuses count: the subscriber may come when the worker has said it already.
        down = wait_until(lambda: [r for r in ear.of(BOOK) if status(r)["state"] == "down"], "down")
        assert status(down[0])["reason"] == "cannot connect: Connection refused"
        wait_until(lambda: feed.counters("linear")["reconnects"] > 2, "further attempts")


def test_giving_up_is_said(tmp_path: Path) -> None:
    """With ``max_attempts`` the topics end as `down`, reason "gave up", and no attempt follows."""
    config = CONFIG.format(url="ws://127.0.0.1:9/v5/public/linear").replace(
        "[endpoints", "max_attempts = 2\n[endpoints", 1
    )
    feed = Feed(tmp_path, config)
    with Ear([feed.address("linear")]) as ear, feed:
        wait_until(lambda: any(b"gave up after 2 attempts" in record.payload for record in ear.of(BOOK)), "gave up")
        assert ear.states(BOOK)[-1] == "down"
        assert feed.worker("linear")["state"] == "running"


@pytest.mark.parametrize("kind", ["mute", "stall"])
def test_a_connection_that_brings_nothing_is_noticed_within_8_s(scene: Scene, kind: str) -> None:
    """Inject silence, with pongs or without → `stale`, then reconnected within 8 s → live again, no break."""
    start = len(scene.ear.records)
    injected_s = time.monotonic()
    connection = scene.venue.stats()["connections"][0]["id"]
    scene.venue.fault(kind, connection=connection)
    wait_until(lambda: "down" in scene.states_since(start, BOOK), "noticed", 12)
    assert time.monotonic() - injected_s < 8.2  # 8 s as promised, and what this test takes to look
    scene.wait_whole(start)
    for subject in SUBJECTS:
        assert scene.states_since(start, subject) == ["stale", "down", "subscribing", "live"]
    check_books(scene.ear.of(BOOK))
    assert not breaks(scene.ear.records)


def test_a_missing_pong_ends_the_connection(tmp_path: Path) -> None:
    """Inject pings without answer while data flows → the connection is opened anew after the pong deadline."""
    with Simulator() as venue:
        config = CONFIG.format(url=venue.url_of("linear")).replace(
            "reconnect_base_s = 0.1", "ping_interval_s = 1\npong_timeout_s = 1"
        )
        feed = Feed(tmp_path, config)
        with Ear([feed.address("linear")]) as ear, feed:
            feed.wait_live("linear")
            venue.fault("nopong", connection=venue.stats()["connections"][0]["id"])
            wait_until(lambda: any("no pong within 1 s" in s["reason"] for s in ear.statuses(BOOK)), "no pong noticed")
            wait_until(lambda: ear.states(BOOK)[-1] == "live", "live again")
            assert not breaks(ear.records)


def test_every_reset_is_noticed_at_once(scene: Scene) -> None:
    """Inject 20 resets, some with data in front of them → each is told, and healed within 2 s: none waits for silence."""
    for _ in range(20):
        start = len(scene.ear.records)
        scene.venue.fault("reset")
        scene.wait_whole(start, 2.0)
    assert scene.feed.counters("linear")["mutes"] == 0
    assert not breaks(scene.ear.records)
