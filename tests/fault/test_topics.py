"""What a strategy sees when single topics or frames are wrong: that topic is healed, the others notice nothing."""

import functools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.feed import Ear, Feed, breaks, is_data, is_status, status, wait_until
from support.simulator import Simulator

from feedhandler import wire

BOOK = "linear.orderbook.50.BTCUSDT"
OTHER = "linear.orderbook.50.ETHUSDT"
TOPIC = "orderbook.50.BTCUSDT"
CONFIG = """
network = "sim"
[endpoints.linear]
product = "linear"
url = "{url}"
symbols = ["BTCUSDT", "ETHUSDT"]
streams = ["orderbook.50", "publicTrade", "tickers"]
"""

Scene = tuple[Simulator, Feed, Ear]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Everything live, and heard from the start."""
    with Simulator("--rate", "3", "--truth") as venue:
        feed = Feed(tmp_path, CONFIG.format(url=venue.url_of("linear")))
        with Ear([feed.address("linear")]) as ear, feed:
            feed.wait_live("linear")
            wait_until(lambda: ear.data(BOOK) and ear.data(OTHER), "data")
            yield venue, feed, ear


def states_since(ear: Ear, start: int, subject: str) -> list[dict[str, Any]]:
    """Return the new statuses of a subject after the first ``start`` records of all."""
    return [status(record) for record in ear.records[start:] if record.subject == subject and is_status(record)]


def has_more(ear: Ear, count: int) -> bool:
    """Say whether more than ``count`` records of the book have come."""
    return len(ear.data(BOOK)) > count


def wait_live_again(ear: Ear, start: int) -> None:
    """Wait until the book went through something and is live with data again."""

    def again() -> bool:
        records = [record for record in ear.records[start:] if record.subject == BOOK]
        changes = [index for index, record in enumerate(records) if is_status(record)]
        return (
            len(changes) > 1
            and status(records[changes[-1]])["state"] == "live"
            and any(is_data(record) for record in records[changes[-1] :])
        )

    wait_until(again, "the book live again")


def test_a_lost_delta_resyncs_that_topic_alone(scene: Scene) -> None:
    """Inject a jump of `u` → `resyncing` with the ids and the count → a snapshot, `live` → the others untouched."""
    venue, feed, ear = scene
    start = len(ear.records)
    injected_s = time.monotonic()
    venue.fault("skip", topic=TOPIC, count=2)
    wait_live_again(ear, start)
    assert time.monotonic() - injected_s < 3
    resyncing, live = states_since(ear, start, BOOK)
    assert resyncing["state"] == "resyncing"
    last, first = (int(word) for word in resyncing["reason"].replace("gap: u ", "").split(" was followed by u "))
    assert resyncing["lost"] == first - last - 1 == 2
    assert live["blind_from_ns"] == resyncing["blind_from_ns"] < live["blind_to_ns"]
    assert live["recoverable"] is True
    data = [record for record in ear.records[start:] if record.subject == BOOK]
    healed = next(index for index, record in enumerate(data) if is_status(record) and status(record)["state"] == "live")
    assert data[healed + 1].kind == wire.SNAPSHOT
    assert states_since(ear, start, OTHER) == []
    assert not breaks(ear.records)
    wait_until(lambda: feed.counters("linear")["gaps"] == 1, "counted")


def test_published_books_equal_the_venues_at_every_update_id(scene: Scene) -> None:
    """Whatever is injected, a book that is live is the venue's own at that `u`, level for level."""
    venue, _, ear = scene
    start = len(ear.records)
    for fault in ({"kind": "skip"}, {"kind": "duplicate", "count": 3}, {"kind": "reorder"}, {"kind": "renew"}):
        venue.fault(**fault, topic=TOPIC)
        count = len(ear.data(BOOK))
        wait_until(functools.partial(has_more, ear, count + 15), "more of the book")
    levels: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    checked = 0
    for record in ear.records[start:]:
        if record.subject != BOOK or not is_data(record):
            continue
        data = json.loads(record.payload)["data"]
        if record.kind == wire.SNAPSHOT:
            levels = {"b": {}, "a": {}}
            checked = max(checked, 1)
        for side, known in levels.items():
            known.update(data[side])
            for price in [price for price, size in known.items() if float(size) == 0]:
                del known[price]
        if checked and checked % 5 == 0:
            truth = venue.get("/sim/book", product="linear", topic=TOPIC, u=data["u"])
            assert {side: dict(truth[side]) for side in "ba"} == levels
        checked += bool(checked)
    assert checked > 30
    assert not breaks(ear.records)


@pytest.mark.parametrize(("kind", "counter"), [("duplicate", "duplicates"), ("reorder", "gaps")])
def test_what_comes_twice_or_too_late_is_not_published(scene: Scene, kind: str, counter: str) -> None:
    """Inject a repeated or an overtaken delta → each `u` is published once, in order, or a snapshot instead."""
    venue, feed, ear = scene
    venue.fault(kind, topic=TOPIC, count=2)
    wait_until(lambda: feed.counters("linear")[counter] > 0, "counted")
    count = len(ear.data(BOOK))
    wait_until(lambda: len(ear.data(BOOK)) > count + 5, "more of the book")
    last = -1
    for record in ear.data(BOOK):
        update_id = json.loads(record.payload)["data"]["u"]
        assert record.kind == wire.SNAPSHOT or update_id == last + 1
        last = update_id
    assert not breaks(ear.records)


@pytest.mark.parametrize("kind", ["restart", "renew", "lower", "empty", "one_sided"])
def test_a_snapshot_at_any_time_is_published_as_sent(scene: Scene, kind: str) -> None:
    """Inject a spontaneous snapshot (u=1, lower u, empty, one-sided) → published as a snapshot, deltas continue it."""
    venue, _, ear = scene
    start = len(ear.records)
    venue.fault(kind, topic=TOPIC)

    def renewed() -> list[wire.Record]:
        data = [record for record in ear.records[start:] if record.subject == BOOK and is_data(record)]
        first = next((index for index, record in enumerate(data) if record.kind == wire.SNAPSHOT), len(data))
        return data[first:] if len(data) > first + 2 else []

    snapshot, delta, *_ = wait_until(renewed, "a snapshot and what continues it")
    assert json.loads(delta.payload)["data"]["u"] == json.loads(snapshot.payload)["data"]["u"] + 1
    if kind == "restart":
        assert json.loads(snapshot.payload)["data"]["u"] == 1
    assert states_since(ear, start, BOOK) == []
    assert not breaks(ear.records)


def test_a_restart_told_by_a_delta_is_a_resync(scene: Scene) -> None:
    """Inject a delta with u = 1 on a running book → its base is not ours: `resyncing`, then a snapshot."""
    venue, _, ear = scene
    start = len(ear.records)
    venue.fault("restart_delta", topic=TOPIC)
    wait_live_again(ear, start)
    resyncing = states_since(ear, start, BOOK)[0]
    assert resyncing["state"] == "resyncing"
    assert resyncing["reason"].startswith("restarted: delta with u 1 after u ")
    assert resyncing["lost"] is None


@pytest.mark.parametrize("what", ["invalid", "truncated", "binary", "empty", "list", "latin1"])
def test_garbage_costs_nobody_anything(scene: Scene, what: str) -> None:
    """Inject a senseless frame → counted and logged raw → no state changes, nothing published, nothing lost."""
    venue, feed, ear = scene
    start = len(ear.records)
    venue.fault("garbage", what=what, topic=TOPIC)
    counter = "binary" if what == "binary" else "unparsed"
    wait_until(lambda: feed.counters("linear")[counter] == 1, "counted")
    count = len(ear.data(BOOK))
    wait_until(lambda: len(ear.data(BOOK)) > count + 3, "more of the book")
    assert states_since(ear, start, BOOK) == []
    assert not breaks(ear.records)
    assert any("frame" in line["message"] and line["level"] == "warning" for line in feed.log_lines())


@pytest.mark.parametrize("kind", ["unknown_topic", "extra_fields", "fragment", "split"])
def test_the_unexpected_passes(scene: Scene, kind: str) -> None:
    """Inject unknown topics, new fields, fragments, tiny segments → every book still chains, unknown fields pass."""
    venue, feed, ear = scene
    start = len(ear.records)
    venue.fault(kind, count=3)
    if kind == "unknown_topic":
        wait_until(lambda: feed.counters("linear")["unexpected"] > 0, "counted")
    count = len(ear.data(BOOK))
    wait_until(lambda: len(ear.data(BOOK)) > count + 20, "more of the book")
    assert states_since(ear, start, BOOK) == []
    assert not breaks(ear.records)


def test_a_topic_that_falls_silent_alone_is_asked_for_again(scene: Scene) -> None:
    """Inject silence of one lively topic → after 10 s `stale`, subscribed anew alone until a snapshot comes → `live`."""
    venue, feed, ear = scene
    wait_until(lambda: feed.counters("linear")["uptime_s"] > 8, "its rhythm is learned", 20)
    start = len(ear.records)
    venue.fault("mute", topic=TOPIC)
    wait_until(lambda: [s for s in states_since(ear, start, BOOK) if s["state"] == "stale"], "stale", 20)
    venue.fault("off")
    wait_live_again(ear, start)
    states = [s["state"] for s in states_since(ear, start, BOOK)]
    assert (states[0], states[-1]) == ("stale", "live")  # between them, as often as it takes, ``resyncing``
    assert states_since(ear, start, OTHER) == []
    assert not breaks(ear.records)
