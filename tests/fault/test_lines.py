"""With ``lines = 2`` strategies notice nothing of what happens to one line alone."""

import functools
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.feed import Book, Ear, Feed, breaks, is_data, is_status, wait_until
from support.simulator import Simulator

from feedhandler import wire

SOAK = "FEEDHANDLER_SOAK" in os.environ
"""At more than 5,000 messages/s instead of some 1,000: two cores with other tests on them do not bear it."""
SYMBOLS = [f"COIN{number}USDT" for number in range(16 if SOAK else 6)]
BOOKS = [f"linear.orderbook.50.{symbol}" for symbol in SYMBOLS]
TRADES = [f"linear.publicTrade.{symbol}" for symbol in SYMBOLS]
TICKERS = [f"linear.tickers.{symbol}" for symbol in SYMBOLS]
CONFIG = """
network = "sim"
[connection]
reconnect_base_s = 0.1
[endpoints.linear]
product = "linear"
url = "{url}"
lines = 2
symbols = {symbols}
streams = ["orderbook.50", "publicTrade", "tickers"]
"""

Scene = tuple[Simulator, Feed, Ear]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Both lines up, everything live and heard from the start."""
    with Simulator("--rate", "60" if SOAK else "15", "--truth", "--record", str(tmp_path / "sent")) as venue:
        feed = Feed(tmp_path, CONFIG.format(url=venue.url_of("linear"), symbols=json.dumps(SYMBOLS)))
        with Ear([feed.address("linear")]) as ear, feed:
            feed.wait_live("linear")
            wait_until(lambda: len(linear_connections(venue)) == 2, "both lines")
            wait_until(lambda: all(ear.data(subject) for subject in BOOKS + TRADES), "data")
            yield venue, feed, ear


def passed(until_s: float) -> bool:
    """Say whether a moment has passed."""
    return time.monotonic() > until_s


def linear_connections(venue: Simulator) -> list[int]:
    """Return the ids of the connections that carry topics."""
    return [one["id"] for one in venue.stats()["connections"] if len(one["topics"]) >= len(SYMBOLS)]


def new_statuses(records: list[wire.Record], subjects: list[str]) -> list[bytes]:
    """Return the new statuses of these subjects."""
    return [record.payload for record in records if record.subject in subjects and is_status(record)]


def check_stream(records: list[wire.Record]) -> None:
    """Books chain and never repeat a `u`; no trade comes twice or out of order; numbers have no break."""
    assert not breaks(records)
    books: dict[str, Book] = {}
    seen: dict[str, set[str]] = {}
    last: dict[str, tuple[int, int]] = {}
    for record in records:
        if not (is_data(record) or record.flags & wire.IMAGE):
            continue
        message = json.loads(record.payload)
        if record.subject in BOOKS:
            book = books.setdefault(record.subject, Book())
            if record.flags & wire.IMAGE:
                if book.update_id < 0:
                    book.apply(record.payload)
                continue
            if book.update_id >= 0:
                assert message["data"]["u"] == book.update_id + 1
            book.apply(record.payload)
        elif record.subject in TRADES:
            for trade in message["data"]:
                ids = seen.setdefault(record.subject, set())
                assert trade["i"] not in ids
                ids.add(trade["i"])
                order = (trade["seq"], trade["T"])
                assert order >= last.get(record.subject, order)
                last[record.subject] = order


def check_truth(venue: Simulator, records: list[wire.Record]) -> None:
    """The last book of every symbol is the venue's own at that `u`, level for level."""
    for subject in BOOKS:
        levels: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        update_id = 0
        for record in records:
            if record.subject != subject or record.kind > wire.DELTA or (record.flags & wire.IMAGE and update_id):
                continue
            data = json.loads(record.payload)["data"]
            update_id = data["u"]
            if record.kind == wire.SNAPSHOT:
                levels = {"b": {}, "a": {}}
            for side, known in levels.items():
                known.update(data[side])
                for price in [price for price, size in known.items() if float(size) == 0]:
                    del known[price]
        truth = venue.get("/sim/book", product="linear", topic=subject.removeprefix("linear."), u=update_id)
        assert {side: dict(truth[side]) for side in "ba"} == levels, subject


def check_trades_are_whole(recorded: Path, records: list[wire.Record]) -> None:
    """Every trade that the venue sent on either line while this subscriber listened has come."""
    published: dict[str, set[str]] = {}
    times: dict[str, list[int]] = {}
    for record in records:
        if record.subject in TRADES and is_data(record):
            published.setdefault(record.subject, set()).update(
                trade["i"] for trade in json.loads(record.payload)["data"]
            )
            times.setdefault(record.subject, []).append(record.received_ns)
    checked = 0
    for file in recorded.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            sent = json.loads(line)
            subject = (
                f"linear.{json.loads(sent['payload']).get('topic', '')}" if "publicTrade" in sent["payload"] else ""
            )
            if subject not in published or not times[subject][0] < sent["time_ns"] < times[subject][-1] - 1_000_000_000:
                continue
            ids = {trade["i"] for trade in json.loads(sent["payload"]).get("data", [])}
            assert ids <= published[subject], (
                f"{subject}: {ids - published[subject]} sent on {file.name}, not published"
            )
            checked += len(ids)
    assert checked > 100


@pytest.mark.parametrize(
    "fault",
    [{"kind": "reset"}, {"kind": "eof"}, {"kind": "close"}, {"kind": "skip", "topic": "orderbook.*", "count": 6}],
    ids=["reset", "end of file", "close frame", "lost deltas"],
)
def test_one_lines_loss_is_not_seen(scene: Scene, fault: dict[str, Any]) -> None:
    """Inject a loss on one line → no status, no gap, no repeat; the line comes back."""
    venue, feed, ear = scene
    start = len(ear.records)
    venue.fault(**fault, connection=linear_connections(venue)[0])
    count = len(ear.records)
    wait_until(lambda: len(ear.records) > count + 400, "more records")
    wait_until(lambda: feed.worker("linear")["heartbeat"]["connections_up"] == 2, "both lines again")
    assert new_statuses(ear.records[start:], BOOKS + TRADES + TICKERS) == []
    check_stream(ear.records)
    check_truth(venue, list(ear.records))


def test_a_mute_line_is_not_seen(scene: Scene) -> None:
    """Inject silence of one line, pongs answered → books and trades go on without a break; the line is opened anew."""
    venue, feed, ear = scene
    start = len(ear.records)
    venue.fault("mute", connection=linear_connections(venue)[0])
    wait_until(lambda: feed.worker("linear")["heartbeat"]["mutes"] == 1, "the mute line noticed", 12)
    wait_until(lambda: feed.worker("linear")["heartbeat"]["connections_up"] == 2, "both lines again")
    assert new_statuses(ear.records[start:], BOOKS + TRADES) == []
    check_stream(ear.records)


def test_both_lines_lost_is_told_as_one_loss(scene: Scene) -> None:
    """Inject a reset of both lines → `down`, `subscribing`, `live`, as with one line."""
    venue, _, ear = scene
    start = len(ear.records)
    # Handshakes are refused for a moment, so that the first line is not back before the second is lost.
    venue.fault("refuse", status=503, seconds=0.5, count=0)
    venue.fault("reset")

    def states() -> list[str]:
        return [json.loads(text)["state"] for text in new_statuses(ear.records[start:], [BOOKS[0]])]

    wait_until(lambda: states()[-1:] == ["live"], "down and live again")
    assert list(dict.fromkeys(states())) == ["down", "subscribing", "live"]  # ``down`` again with the refusal's reason
    assert not breaks(ear.records)


@pytest.mark.timeout(400)
def test_fifty_random_faults_of_single_lines_lose_nothing(
    scene: Scene, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Inject 50 random faults (cut, mute, slow, gap), one line at a time → books and trades whole, once, in order."""
    venue, feed, ear = scene
    start = len(ear.records)
    choose = random.Random(13)
    for _ in range(50):
        connections = wait_until(
            lambda: found if len(found := linear_connections(venue)) == 2 else None, "both lines before the next fault"
        )
        one = choose.choice(connections)
        lasts_s = 0.0
        match choose.choice(["cut", "mute", "slow", "gap"]):
            case "cut":
                venue.fault(choose.choice(["reset", "eof", "close"]), connection=one)
            case "mute":
                lasts_s = choose.uniform(0.1, 0.5)
                venue.fault("mute", connection=one, seconds=lasts_s)
            case "slow":
                lasts_s = 0.3
                venue.fault("delay", connection=one, ms=choose.choice([20, 100]), seconds=lasts_s)
            case "gap":
                venue.fault("skip", connection=one, topic="orderbook.*", count=choose.randint(1, 5))
        # One line at a time: what a line has missed it must not share with the other.
        pause_s = time.monotonic() + lasts_s + choose.uniform(0.15, 0.3)
        wait_until(functools.partial(passed, pause_s), "some time to pass")
    wait_until(lambda: feed.worker("linear")["heartbeat"]["connections_up"] == 2, "both lines at the end")
    count = len(ear.records)
    wait_until(lambda: len(ear.records) > count + 300, "more records")
    assert new_statuses(ear.records[start:], BOOKS) == []
    check_stream(ear.records)
    check_truth(venue, list(ear.records))
    check_trades_are_whole(tmp_path / "sent", list(ear.records))
    counters = feed.counters("linear")
    record_property("messages_per_s", counters["frames"] / counters["uptime_s"])


def test_planned_rotation_is_not_seen(tmp_path: Path) -> None:
    """With ``max_age_s`` connections are opened anew one line at a time → no status, no gap, no repeat."""
    with Simulator("--rate", "4", "--truth") as venue:
        config = CONFIG.format(url=venue.url_of("linear"), symbols=json.dumps(SYMBOLS))
        feed = Feed(tmp_path, config.replace("reconnect_base_s = 0.1", "max_age_s = 2.0"))
        with Ear([feed.address("linear")]) as ear, feed:
            feed.wait_live("linear")
            wait_until(lambda: all(ear.data(subject) for subject in BOOKS + TRADES), "data")
            start = len(ear.records)
            wait_until(lambda: feed.counters("linear")["rotations"] >= 4, "four rotations", 40)
            assert new_statuses(ear.records[start:], BOOKS + TRADES) == []
            check_stream(ear.records)
            check_truth(venue, list(ear.records))
