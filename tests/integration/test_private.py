"""The account's own streams, from the simulated Bybit to a strategy."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.feed import Ear, Feed, breaks, is_data, status, wait_until
from support.simulator import Simulator

import feedhandler
from feedhandler import wire
from feedhandler.bybit.authentication import TEST_KEY, TEST_SECRET
from feedhandler.bybit.messages.orders import Execution, Order

TOPICS = ("order", "execution", "position", "wallet")
SUBJECTS = tuple(f"private.{topic}" for topic in TOPICS)
CONFIG = """
network = "sim"
[endpoints.private]
product = "private"
url = "{url}"
topics = {topics}
{more}
"""
ACTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("place", {"symbol": "BTCUSDT"}),
    ("amend", {"symbol": "BTCUSDT"}),
    ("fill", {"symbol": "BTCUSDT", "part": 0.5}),
    ("fill", {"symbol": "ETHUSDT", "maker": 0}),
    ("fill", {"symbol": "ETHUSDT", "maker": 0, "category": "spot"}),
    ("cancel", {"symbol": "BTCUSDT"}),
)
"""What the account is told to do: everything that an account does."""


@pytest.fixture(scope="module")
def venue() -> Iterator[Simulator]:
    """Its account acts when told, and not of itself; its markets stand nearly still, so that nobody hits its orders."""
    with Simulator("--account-rate", "0", "--rate", "0.001") as running:
        yield running


def configured(venue: Simulator, *topics: str, more: str = "", path: str = "/v5/private") -> str:
    return CONFIG.format(url=f"{venue.url}{path}", topics=json.dumps(topics), more=more)


def address(feed: Feed) -> str:
    """Where private streams are published: in a directory that nobody else may enter."""
    return feed.address("private/private")


def act(venue: Simulator) -> list[tuple[str, str, Any]]:
    """Have the account do everything; return what was to be told of it, in order: topic, category, rows."""
    told = []
    for do, query in ACTS:
        told += [(one["topic"], one["category"], one["data"]) for one in venue.account(do, **query)["news"]]
    return told


def came(ear: Ear) -> list[tuple[str, Any]]:
    """What was received for the first time, in order: topic and rows."""
    return [
        (record.subject.removeprefix("private."), json.loads(record.payload)["data"])
        for record in list(ear.records)
        if is_data(record)
    ]


def told(ear: Ear, topic: str) -> dict[str, Any]:
    """What the last status of a topic says; also a repeated one: an ear may join when the worker has said it already."""
    records = [record for record in ear.of(f"private.{topic}") if record.kind == wire.STATUS]
    return status(records[-1]) if records else {}


def wait_live(ear: Ear, *topics: str) -> None:
    """Wait until every topic says that it is live."""
    wait_until(lambda: all(told(ear, topic).get("state") == "live" for topic in topics), f"{topics} live")


def test_what_the_account_does_arrives_whole_and_in_order(tmp_path: Path, venue: Simulator) -> None:
    """Every message of every topic, in the venue's order across them, numbered without a gap and flagged simulated."""
    feed = Feed(tmp_path, configured(venue, *TOPICS))
    with Ear([address(feed)]) as ear, feed:
        wait_live(ear, *TOPICS)
        expected = [(topic, data) for topic, _, data in act(venue) if topic in TOPICS]
        assert {topic for topic, _ in expected} == set(TOPICS)
        wait_until(lambda: len(came(ear)) == len(expected), "every message")
        assert came(ear) == expected
        assert not breaks(ear.records)
        records = [record for record in ear.records if is_data(record)]
        assert {(record.kind, record.flags, record.line) for record in records} == {(wire.UPDATE, wire.SIMULATED, 0)}
        counters = feed.counters("private")
        assert {name: counters[name] for name in ("unexpected", "unparsed", "auth_failures", "strange_replies")} == {
            "unexpected": 0,
            "unparsed": 0,
            "auth_failures": 0,
            "strange_replies": 0,
        }


def test_built_in_simulated_bybit_needs_no_key_and_trades_of_itself(tmp_path: Path) -> None:
    """Three lines of configuration, and a `Subscriber` sees orders and fills that agree with each other, decoded."""
    config = 'network = "sim"\n[endpoints.private]\nproduct = "private"\ntopics = ["order", "execution"]\n'
    with Feed(tmp_path, config) as feed, feedhandler.Subscriber(runtime=feed.runtime) as strategy:
        strategy.subscribe("private.")
        strategy.wait_live(timeout_s=10)
        order_id = feed.simulator("account", do="fill", symbol="BTCUSDT", maker=0)["order"]
        filled: list[Execution[float]] = []
        order: Order[float] | None = None
        while order is None:
            record = strategy.receive(timeout_s=10)
            assert record is not None
            if record.kind != wire.UPDATE:
                continue
            rows = [row for row in record.decode().data if row.order_id == order_id]
            if record.topic == "execution":
                filled += rows
            else:
                order = next(iter(rows), None)
        assert sum(each.size for each in filled if isinstance(each.size, float)) == pytest.approx(order.filled_size)
        assert any("test key" in line["message"] for line in feed.log_lines())


@pytest.mark.parametrize("plain", [False, True])
def test_categorised_topics_carry_their_category_alone(tmp_path: Path, venue: Simulator, plain: bool) -> None:
    """Whether a message calls itself by the topic that was subscribed or by the plain name, it finds its subject."""
    venue.settings(plain_private_topics=plain)
    topics = ("order.spot", "execution.linear", "execution.fast.linear", "position.linear")
    feed = Feed(tmp_path, configured(venue, *topics))
    with Ear([address(feed)]) as ear, feed:
        wait_live(ear, *topics)
        expected = [
            (f"{topic}.{category}", data) for topic, category, data in act(venue) if f"{topic}.{category}" in topics
        ]
        assert {topic for topic, _ in expected} == set(topics)
        wait_until(lambda: len(came(ear)) == len(expected), "every message")
        assert came(ear) == expected
        assert feed.counters("private")["unexpected"] == 0


def test_refused_topic_leaves_the_others_alone(tmp_path: Path, venue: Simulator) -> None:
    """A topic that the venue does not know, unchecked by us: rejected in its words, the rest of the request live."""
    feed = Feed(tmp_path, configured(venue, "order", more='unchecked_topics = ["orders"]'))
    with Ear([address(feed)]) as ear, feed:
        wait_live(ear, "order")
        wait_until(lambda: told(ear, "orders").get("state") == "rejected", "rejected")
        assert told(ear, "orders")["reason"] == "error:handler not found,topic:orders"
        assert feed.counters("private")["auth_failures"] == 0


def test_pings_keep_a_quiet_account_connected(tmp_path: Path) -> None:
    """With ``max_active_time`` the venue cuts who says nothing (dossier 1.3): never us, though no data come for long.

    A hundred times faster than the venue: 30 s are 0.3 s, and a ping comes every 0.1 s.
    """
    more = "[endpoints.private.connection]\nping_interval_s = {}\npong_timeout_s = 5\n"
    path = "/v5/private?max_active_time=30s"
    with Simulator("--time-factor", "0.01", "--account-rate", "0") as venue:
        feed = Feed(tmp_path / "pings", configured(venue, "order", more=more.format(0.1), path=path))
        with Ear([address(feed)]) as ear, feed:
            wait_live(ear, "order")
            connected = venue.stats()["connections"][0]["id"]
            venue.wait_for(lambda stats: stats["connections"][0]["pings"] > 20)
            assert [one["id"] for one in venue.stats()["connections"]] == [connected]
            assert "down" not in ear.states("private.order")
            assert "inactive_cuts" not in venue.stats()["totals"]
        silent = Feed(tmp_path / "silent", configured(venue, "order", more=more.format(20), path=path))
        with Ear([address(silent)]) as ear, silent:
            wait_until(lambda: "down" in ear.states("private.order"), "cut for want of pings")
            assert venue.stats()["totals"]["inactive_cuts"] >= 1


def test_newcomer_gets_the_last_records_repeated(tmp_path: Path, venue: Simulator) -> None:
    """A strategy that restarts: the status, then the last ``retain`` records under their own numbers, then new ones."""
    feed = Feed(tmp_path, configured(venue, *TOPICS, more="retain = 3"))
    with Ear([address(feed)]) as first, feed:
        wait_live(first, *TOPICS)
        expected = [one for one in act(venue) if one[0] in TOPICS]
        wait_until(lambda: len(came(first)) == len(expected), "every message")
        with Ear([address(feed)]) as second:
            for subject in SUBJECTS:
                last = first.data(subject)[-3:]
                wait_until(lambda subject=subject: updates(second, subject) == 3, "the last three")  # type: ignore[misc]  # mypy infers no lambda with a default
                first_word = second.of(subject)[0]
                assert (first_word.kind, first_word.flags & wire.REPEATED) == (wire.STATUS, wire.REPEATED)
                repeated = [one for one in second.of(subject) if one.kind == wire.UPDATE][:3]
                assert [one.flags for one in repeated] == [wire.SIMULATED | wire.REPEATED] * 3
                kept = [(one.epoch, one.sequence, one.received_ns, one.payload) for one in last]
                assert [(one.epoch, one.sequence, one.received_ns, one.payload) for one in repeated] == kept
            assert came(second) == []
            lasts = {subject: first.data(subject)[-1].sequence for subject in SUBJECTS}
            fresh = [one for one in act(venue) if one[0] in TOPICS]
            wait_until(lambda: len(came(second)) == len(fresh), "what is new")
            for subject, last_sequence in lasts.items():
                assert second.data(subject)[0].sequence == last_sequence + 1
        assert not breaks(first.records)


def updates(ear: Ear, subject: str) -> int:
    """How many messages came, repeated ones included."""
    return sum(record.kind == wire.UPDATE for record in ear.of(subject))


# Without supervisor and ZeroMQ.


def test_client_in_one_process_gets_the_same(venue: Simulator) -> None:
    """`connect` with the account's key: the same messages in the same order, on one iterator."""

    async def scene() -> None:
        url = venue.url_of("private")
        async with feedhandler.connect(url, api_key=TEST_KEY, api_secret=lambda: TEST_SECRET) as client:
            await client.subscribe(*TOPICS)
            live: set[str] = set()
            found: list[tuple[str, Any]] = []
            expected: list[tuple[str, Any]] | None = None
            async with asyncio.timeout(20):
                async for record in client:
                    if record.kind == wire.STATUS and record.decode().state == "live":
                        live.add(record.topic)
                    elif record.kind == wire.UPDATE:
                        found.append((record.topic, json.loads(record.payload)["data"]))
                    if expected is None and live == set(TOPICS):
                        told = await asyncio.to_thread(act, venue)
                        expected = [(topic, data) for topic, _, data in told if topic in TOPICS]
                    if expected is not None and len(found) == len(expected):
                        break
            assert found == expected

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("key", "secret", "text"),
    [
        ("nobody", TEST_SECRET, "error:USVC1111"),
        (TEST_KEY, "wrong", "Params Error"),
        (TEST_KEY, lambda: "", "no API secret: the API secret given is empty"),
    ],
    ids=["unknown key", "wrong secret", "no secret"],
)
def test_client_in_one_process_is_told_of_a_wrong_key(venue: Simulator, key: Any, secret: Any, text: str) -> None:
    """As a state of its topics, of one that is subscribed later, too; the iteration keeps its seat."""

    async def scene() -> None:
        async with feedhandler.connect(venue.url_of("private"), api_key=key, api_secret=secret) as client:
            await client.subscribe("order")
            rejected: dict[str, str] = {}
            async with asyncio.timeout(20):
                async for record in client:
                    said = record.decode()
                    if said.state == "rejected":
                        rejected[record.topic] = said.reason
                        await client.subscribe("wallet")
                    if len(rejected) == 2:
                        break
            assert rejected == {"order": text, "wallet": text}

    asyncio.run(scene())
