"""The option socket acknowledges what it does not serve, and leaves unsubscriptions unanswered (dossier 3.2, 3.3)."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.feed import Ear, Feed, breaks, status, wait_until
from support.simulator import Simulator

from feedhandler import wire

CALL, PUT = "BTC-25DEC26-100000-C-USDT", "BTC-25DEC26-100000-P-USDT"
SERVED = (f"orderbook.25.{CALL}", f"orderbook.100.{CALL}", f"tickers.{CALL}", "publicTrade.BTC")
UNSERVED = (f"orderbook.50.{CALL}", f"orderbook.1.{CALL}")
MUTE = f"tickers.{PUT}"
"""Served in general; here the venue has nothing to say of it."""
UNLISTED = "tickers.NOPE-25DEC26-100-C-USDT"
"""Refused by itself, in a request with others that are not (dossier 3.4)."""
CONFIG = """
network = "sim"
[endpoints.option]
product = "option"
url = "{url}"
topics = [{served}, "{mute}", "{unlisted}"]
unchecked_topics = [{unserved}]
"""

Scene = tuple[Simulator, Feed, Ear]


def quoted(topics: tuple[str, ...]) -> str:
    return ", ".join(f'"{topic}"' for topic in topics)


def subject(topic: str) -> str:
    return f"option.{topic}"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """One ticker is mute before anybody asks for it."""
    with Simulator("--rate", "8") as venue:
        venue.fault("mute", product="option", topic=MUTE)
        config = CONFIG.format(
            url=venue.url_of("option"),
            served=quoted(SERVED),
            mute=MUTE,
            unlisted=UNLISTED,
            unserved=quoted(UNSERVED),
        )
        feed = Feed(tmp_path, config)
        with Ear([feed.address("option")]) as ear, feed:
            yield venue, feed, ear


def is_told(ear: Ear, topic: str, times: int = 1) -> bool:
    """Say whether a topic was said to be without its first record so often."""
    return ear.states(subject(topic)).count(wire.RESYNCING) >= times


def history(ear: Ear, topic: str) -> list[dict[str, Any]]:
    """Return the states that a topic went through. Repeated statuses count, too: the ear may have joined late."""
    found: list[dict[str, Any]] = []
    for record in ear.of(subject(topic)):
        if record.kind == wire.STATUS and (told := status(record))["since_ns"] not in [
            one["since_ns"] for one in found
        ]:
            found.append(told)
    return found


def subscribed(venue: Simulator) -> set[str]:
    """Return the topics of the one option connection, as the venue sees it."""
    return {topic for connection in venue.stats()["connections"] for topic in connection["topics"]}


def option_requests(venue: Simulator) -> dict[str, int]:
    """Return how many requests the one option connection has sent, by operation."""
    (connection,) = venue.stats()["connections"]
    found: dict[str, int] = connection["requests_by_op"]
    return found


def test_topics_that_are_acknowledged_and_never_come_are_told(scene: Scene) -> None:
    """Ask for depths that option does not serve → acknowledged, silent → `resyncing`, "no snapshot came", in time."""
    venue, feed, ear = scene
    wait_until(lambda: subscribed(venue) == {*SERVED, *UNSERVED, MUTE}, "the venue says that all are subscribed")
    for topic in (*UNSERVED, MUTE):
        wait_until(functools.partial(is_told, ear, topic), f"{topic} told")
    for topic in (*UNSERVED, MUTE):
        first, then = history(ear, topic)[:2]
        assert (first["state"], first["reason"]) == ("subscribing", "")
        assert (then["state"], then["reason"]) == ("resyncing", "no snapshot came")
        # As soon as the 5 s are over that a snapshot may take.
        assert 4.9 < (then["since_ns"] - first["since_ns"]) / 1e9 < 8
        assert ear.data(subject(topic)) == []
    (refused,) = ear.statuses(subject(UNLISTED))[-1:]
    assert (refused["state"], refused["reason"]) == ("rejected", "refused (failTopics)")
    for topic in SERVED:
        assert [told["state"] for told in history(ear, topic)][-1:] == ["live"]
        assert wire.RESYNCING not in ear.states(subject(topic))
    wait_until(lambda: feed.counters("option")["state"] == "degraded", "status says that not all is well")
    topics = feed.worker("option")["topics"]
    assert {topic for topic, (state, _) in topics.items() if state == wire.RESYNCING} == {*UNSERVED, MUTE}
    assert not breaks(ear.records)


def test_a_silent_topic_is_asked_for_again_and_the_others_stay(scene: Scene) -> None:
    """A topic that never came is unsubscribed and asked for anew, alone; once the venue serves it, it is `live`."""
    venue, _, ear = scene
    wait_until(functools.partial(is_told, ear, MUTE), "told")
    wait_until(lambda: option_requests(venue).get("unsubscribe", 0) > 0, "unsubscribed")
    start = len(ear.records)
    venue.fault("off")
    wait_until(lambda: wire.LIVE in ear.states(subject(MUTE)), "live at last")
    assert ear.data(subject(MUTE))[0].kind == wire.SNAPSHOT
    hole = ear.statuses(subject(MUTE))[-1]
    assert hole["blind_from_ns"] < hole["blind_to_ns"]
    # Whatever else was asked for again, nobody who was live noticed.
    quiet = {subject(topic) for topic in SERVED}
    assert [
        one
        for one in ear.records[start:]
        if one.subject in quiet and one.kind == wire.STATUS and not one.flags & wire.REPEATED
    ] == []
    assert not breaks(ear.records)
    assert venue.stats()["violations"] == {}


def test_an_unsubscription_that_is_never_answered_holds_nothing_up(scene: Scene) -> None:
    """Lose a delta while unsubscriptions stay unanswered → subscribed anew after 5 s all the same → `live`, whole."""
    venue, _, ear = scene
    book = SERVED[0]
    wait_until(lambda: len(ear.data(subject(book))) > 5, "books")
    venue.fault("noack", product="option", op="unsubscribe")
    start = len(ear.records)
    venue.fault("skip", product="option", topic=book)
    wait_until(lambda: ear.states(subject(book))[-2:] == [wire.RESYNCING, wire.LIVE], "healed")
    resyncing, live = [told for told in ear.statuses(subject(book)) if told["state"] != "subscribing"][-2:]
    assert 4.9 < (live["since_ns"] - resyncing["since_ns"]) / 1e9 < 8
    data = [one for one in ear.records[start:] if one.subject == subject(book) and one.kind <= wire.DELTA]
    assert [one.kind for one in data if one.received_ns >= live["since_ns"]][:1] == [wire.SNAPSHOT]
    assert not breaks(ear.records)
