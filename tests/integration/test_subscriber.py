"""`Subscriber` against a real publisher in a process of its own: real sockets, signals, kills."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.publisher import Publisher, announce_feed, ticker
from support.records import BOOK, TRADES, said
from support.rights import bound_by_permissions

import feedhandler
from feedhandler import Record, Subscriber, wire
from feedhandler.errors import BookNotLive, FeedError, NotLiveError, SubjectError

TOPICS = ["orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"]
TICKER = "linear.tickers.BTCUSDT"
DEADLINE_S = 10.0


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    """A running feed with a live book and live trades."""
    with Publisher(tmp_path, TOPICS) as started:
        yield started


@pytest.fixture
def feed(publisher: Publisher) -> Iterator[Subscriber]:
    """A subscriber of that feed."""
    with Subscriber(runtime=publisher.directory) as opened:
        yield opened


def until(feed: Subscriber, found: Callable[[Record], bool]) -> list[Record]:
    """Receive up to the first record that is ``found``."""
    records = []
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        record = feed.receive(0.1)
        if record is not None:
            records.append(record)
            if found(record):
                return records
    raise AssertionError(f"never came: {[said(record) for record in records]}")


def state(subject: str, *states: str) -> Callable[[Record], bool]:
    return lambda record: record.subject == subject and record.kind == wire.STATUS and record.decode().state in states


def numbered(subject: str, sequence: int) -> Callable[[Record], bool]:
    return lambda record: (record.subject, record.sequence) == (subject, sequence) and record.kind != wire.STATUS


def quiet(feed: Subscriber, seconds: float = 0.3) -> list[Record]:
    """Return what comes in a while in which nothing should."""
    records = []
    deadline_s = time.monotonic() + seconds
    while (left_s := deadline_s - time.monotonic()) > 0:
        record = feed.receive(left_s)
        if record is not None:
            records.append(record)
    return records


# Joining and following.


def test_late_joiner_gets_status_image_and_deltas(publisher: Publisher, feed: Subscriber) -> None:
    """The image continues exactly with the next delta, and no other strategy is needed for it."""
    publisher.book(BOOK, b=[["98.5", "7"]])
    feed.subscribe(BOOK)
    assert [said(record) for record in until(feed, numbered(BOOK, 4))] == [("status", 4, "live"), ("snapshot", 4)]
    publisher.book(BOOK, b=[["98.5", "0"], ["99", "3"]])
    (record,) = until(feed, numbered(BOOK, 5))
    assert (record.kind, record.product, record.is_simulated, record.local) == (wire.DELTA, "linear", True, False)
    assert record.decode(Decimal).data.bids == [(Decimal(99), Decimal(3)), (Decimal("98.5"), Decimal(0))]


def test_second_strategy_does_not_disturb_the_first(publisher: Publisher, feed: Subscriber) -> None:
    """Images for others are skipped by who is in step."""
    feed.subscribe(BOOK)
    feed.wait_live(DEADLINE_S)
    quiet(feed)
    with Subscriber(runtime=publisher.directory) as other:
        other.subscribe(BOOK)
        other.wait_live(DEADLINE_S)
    publisher.book(BOOK, b=[["98.5", "7"]])
    assert [said(record) for record in until(feed, numbered(BOOK, 4))] == [("delta", 4)]
    assert feed.counters.images >= 1


def test_unsubscribed_subject_is_silent(publisher: Publisher, feed: Subscriber) -> None:
    """At any time; the others go on."""
    feed.subscribe(BOOK, TRADES)
    feed.wait_live(DEADLINE_S)
    quiet(feed)
    feed.unsubscribe(BOOK)
    assert feed.state(BOOK) == "unknown"
    publisher.book(BOOK, b=[["98.5", "7"]])
    publisher.trade(TRADES, "one")
    assert [record.subject for record in until(feed, numbered(TRADES, 3))] == [TRADES]


def test_prefix_follows_every_worker_of_its_endpoint(tmp_path: Path) -> None:
    """An endpoint's topics may be shared out; a prefix reaches them all, and nothing of other endpoints."""
    topics = (["publicTrade.BTCUSDT"], ["publicTrade.ETHUSDT"])
    with (
        Publisher(tmp_path, topics[0], announce=False) as first,
        Publisher(tmp_path, topics[1], worker="linear-1", announce=False) as second,
        Publisher(tmp_path, TOPICS, endpoint="spot", announce=False) as other,
        Subscriber(runtime=tmp_path) as feed,
    ):
        announce_feed(tmp_path, [first, second, other])
        feed.subscribe("linear.publicTrade.")
        feed.wait_live(DEADLINE_S)
        second.trade("linear.publicTrade.ETHUSDT", "one")
        records = until(feed, numbered("linear.publicTrade.ETHUSDT", 3))
        assert {record.subject for record in records} == {TRADES, "linear.publicTrade.ETHUSDT"}


def test_thousands_of_subjects(tmp_path: Path) -> None:
    """Beyond ZeroMQ's default high-water mark of 1000 subscriptions, none is lost."""
    topics = [f"publicTrade.A{number}USDT" for number in range(3000)]
    with Publisher(tmp_path, topics, live=False) as publisher, Subscriber(runtime=tmp_path) as feed:
        publisher.do("live")
        feed.subscribe(*(f"linear.{topic}" for topic in topics))
        feed.wait_live(30.0)
        for topic in (topics[0], topics[1500], topics[-1]):
            publisher.trade(f"linear.{topic}", "one")
            until(feed, numbered(f"linear.{topic}", 2))
        assert feed.counters.lost == 0


def test_fixed_addresses(publisher: Publisher) -> None:
    """Without a directory: the workers' own addresses."""
    with Subscriber(addresses=[publisher.address]) as feed:
        feed.subscribe(BOOK)
        feed.wait_live(DEADLINE_S)
        feed.subscribe("linear.orderbook.50.BTCUSTD")
        until(feed, state("linear.orderbook.50.BTCUSTD", "unassigned"))
        assert feed.reason("linear.orderbook.50.BTCUSTD").endswith(f"the nearest seen: {BOOK}")


def test_strategy_that_is_busy_at_first_is_told_of_no_missing_feed(publisher: Publisher) -> None:
    """Subscribed, then seconds of something else: the answer waits in the socket, and nothing is said before it."""
    with Subscriber(addresses=[publisher.address]) as feed:
        feed.subscribe(BOOK)
        assert feed.receive(0) is None
        time.sleep(1.5)
        assert [said(record) for record in until(feed, numbered(BOOK, 3))] == [("status", 3, "live"), ("snapshot", 3)]


def test_worker_on_tcp(tmp_path: Path) -> None:
    """As on ipc."""
    with Publisher(tmp_path, TOPICS, address="tcp://127.0.0.1:*") as publisher, Subscriber(runtime=tmp_path) as feed:
        assert publisher.address.startswith("tcp://")
        feed.subscribe(BOOK)
        feed.wait_live(DEADLINE_S)


ORDERS = "private.order"


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Publisher]:
    """A running feed whose one worker publishes in a directory of its own."""
    (tmp_path / "private").mkdir(mode=0o700)
    address = f"ipc://{tmp_path}/private/private.pub"
    with Publisher(tmp_path, ["order"], endpoint="private", address=address) as started:
        yield started
        (tmp_path / "private").chmod(0o700)


def test_private_worker_is_found_where_the_directory_says(private: Publisher) -> None:
    """Nothing is guessed from the endpoint's name."""
    with Subscriber(runtime=private.directory) as feed:
        feed.subscribe(ORDERS)
        feed.wait_live(DEADLINE_S)
        private.do("event", subject=ORDERS, payload='{"topic":"order","data":[]}')
        assert until(feed, numbered(ORDERS, 3))[-1].product == "private"


def test_worker_in_a_directory_that_may_not_be_entered_is_down_with_that_reason(
    private: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, as a record and in the log; and followed as soon as it may be entered. Also what is asked for later."""
    folder = private.directory / "private"
    folder.chmod(0)
    why = f"this user may not enter {folder}"
    with bound_by_permissions(), Subscriber(runtime=private.directory) as feed:
        feed.subscribe(ORDERS)
        (record,) = quiet(feed, 0.2)
        assert (said(record), feed.state(ORDERS)) == (("said here", 0, "down"), "down")
        assert feed.reason(ORDERS) == f"cannot connect to worker private at {private.address}: {why}"
        assert caplog.messages == [f"cannot connect to {private.address}: {why}"]
        assert quiet(feed, 3.2) == [], "its silence is no other news"
        feed.subscribe("private.")
        announce_feed(private.directory, [private])
        assert quiet(feed) == []
        folder.chmod(0o700)
        feed.wait_live(DEADLINE_S)


def test_feed_that_may_not_be_read_is_no_feed_with_that_reason(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong user or group shows; a feed that is not there is another matter."""
    file = publisher.directory / "feed.json"
    file.chmod(0)
    with bound_by_permissions(), Subscriber(runtime=publisher.directory) as feed:
        feed.subscribe(BOOK)
        (record,) = until(feed, state(BOOK, "unknown"))
        assert record.decode().reason == f"no feed at {file}: this user may not use {file}"
        assert caplog.messages == [f"cannot read {file}: this user may not use {file}"]
        file.chmod(0o600)
        feed.wait_live(DEADLINE_S)


def test_address_that_may_not_be_used_is_no_feed_with_that_reason(publisher: Publisher) -> None:
    """The same without a directory."""
    socket = Path(publisher.address.removeprefix("ipc://"))
    socket.chmod(0)
    with bound_by_permissions(), Subscriber(addresses=[publisher.address]) as feed:
        feed.subscribe(BOOK)
        (record,) = until(feed, state(BOOK, "unknown"))
        assert record.decode().reason == f"no feed at {publisher.address}: this user may not use {socket}"
        socket.chmod(0o700)
        feed.wait_live(DEADLINE_S)


def test_subject_asked_for_while_its_worker_is_lost_is_down_at_once(publisher: Publisher, feed: Subscriber) -> None:
    """As those that were asked for before; not unknown without a word."""
    feed.subscribe(BOOK)
    feed.wait_live(DEADLINE_S)
    publisher.process.kill()
    until(feed, state(BOOK, "down"))
    feed.subscribe(TRADES)
    assert [said(record) for record in quiet(feed)] == [("said here", 0, "down")]
    assert feed.reason(TRADES) == feed.reason(BOOK)


def test_worker_no_longer_wanted_is_let_go_amid_its_messages(tmp_path: Path) -> None:
    """What it still has to say is nobody's; the others go on."""
    with (
        Publisher(tmp_path, TOPICS, announce=False) as linear,
        Publisher(tmp_path, TOPICS, endpoint="spot", announce=False) as spot,
        Subscriber(runtime=tmp_path) as feed,
    ):
        announce_feed(tmp_path, [linear, spot])
        feed.subscribe(BOOK)
        feed.wait_live(DEADLINE_S)
        quiet(feed)
        linear.do("burst", count=300)
        until(feed, numbered(BOOK, 4))
        feed.unsubscribe(BOOK)
        feed.subscribe("spot.publicTrade.BTCUSDT")
        assert [said(record) for record in until(feed, state("spot.publicTrade.BTCUSDT", "live"))] == [
            ("status", 2, "live")
        ]


@pytest.mark.usefixtures("publisher")
def test_configuration_says_where_the_feed_is(tmp_path: Path) -> None:
    """Only its runtime directory is read: whatever else is in it, or wrong with it, is not the strategy's affair."""
    file = tmp_path / "feed.toml"
    file.write_text(f'runtime.directory = "{tmp_path}"\n[endpoints.private]\napi_secret = {{ file = "/nowhere" }}\n')
    with Subscriber(file) as feed:
        feed.subscribe(TRADES)
        feed.wait_live(DEADLINE_S)


@pytest.mark.parametrize("content", [None, "= nonsense"])
def test_unreadable_configuration_is_an_error(tmp_path: Path, content: str | None) -> None:
    """One line that names the file."""
    file = tmp_path / "feed.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(FeedError, match=r"cannot read the configuration .*feed\.toml"):
        Subscriber(file)


def test_one_place_at_most(tmp_path: Path) -> None:
    """A configuration, a directory or addresses: two of them contradict each other."""
    with pytest.raises(FeedError, match="one of them"):
        Subscriber(tmp_path / "feed.toml", runtime=tmp_path)


def test_wrong_subject_is_an_error(feed: Subscriber) -> None:
    """The one thing that raises: a program that asks for nothing."""
    with pytest.raises(SubjectError):
        feed.subscribe(BOOK, "linear")
    assert quiet(feed, 0.1) == [], "all or none"


# The feed comes and goes.


def test_strategy_started_before_the_feed(tmp_path: Path) -> None:
    """It is told that there is no feed, where, within 3 s, and is live as soon as there is one."""
    with Subscriber(runtime=tmp_path) as feed:
        feed.subscribe(BOOK)
        started_s = time.monotonic()
        (record,) = until(feed, state(BOOK, "unknown"))
        assert time.monotonic() - started_s < 3.0
        assert record.local
        assert record.decode().reason == f"no feed at {tmp_path}/feed.json"
        with Publisher(tmp_path, TOPICS):
            feed.wait_live(DEADLINE_S)


def test_dead_feed_that_left_its_directory_is_no_feed(tmp_path: Path) -> None:
    """A supervisor that was killed leaves feed.json behind."""
    with Publisher(tmp_path, TOPICS, announce=False) as publisher:
        announce_feed(tmp_path, [publisher], pid=publisher.process.pid)
        with Subscriber(runtime=tmp_path) as feed:
            feed.subscribe(BOOK)
            feed.wait_live(DEADLINE_S)
            publisher.kill()
            until(feed, state(BOOK, "unknown"))
            assert feed.reason(BOOK).startswith("no feed at")


def test_killed_worker_is_down_within_200_ms_and_live_after_its_restart(tmp_path: Path) -> None:
    """The socket says it at once; the new process has a new epoch, and a book that is its own."""
    with Publisher(tmp_path, TOPICS) as publisher, Subscriber(runtime=tmp_path) as feed:
        feed.subscribe(BOOK, TRADES)
        feed.wait_live(DEADLINE_S)
        quiet(feed)
        killed_s = time.monotonic()
        publisher.process.kill()
        records = until(feed, state(TRADES, "down"))
        assert time.monotonic() - killed_s < 0.2
        assert {said(record) for record in records} == {("said here", 3, "down"), ("said here", 2, "down")}
        with Publisher(tmp_path, TOPICS, epoch=1_780_000_001) as restarted:
            feed.wait_live(DEADLINE_S)
            restarted.book(BOOK, b=[["98.5", "7"]])
            records = until(feed, numbered(BOOK, 4))
            assert {record.epoch for record in records if not record.local} == {1_780_000_001}
            assert records[-1].kind == wire.DELTA
            holes = [record.decode() for record in records if record.subject == TRADES and record.local]
            assert [(hole.state, hole.lost, hole.recoverable) for hole in holes] == [("live", None, False)]


def test_hung_worker_is_down_within_3_s_and_goes_on(publisher: Publisher, feed: Subscriber) -> None:
    """No heartbeats: down. When it runs again nothing was lost, and there is no image to wait for."""
    feed.subscribe(BOOK)
    feed.wait_live(DEADLINE_S)
    quiet(feed)
    publisher.pause()
    paused_s = time.monotonic()
    (record,) = until(feed, state(BOOK, "down"))
    assert time.monotonic() - paused_s < 3.1
    assert record.decode().reason.startswith("no heartbeat from worker linear")
    publisher.go_on()
    until(feed, state(BOOK, "live"))
    publisher.book(BOOK, b=[["98.5", "7"]])
    assert [said(record) for record in until(feed, numbered(BOOK, 4))] == [("delta", 4)]


def test_strategy_that_was_busy_blames_nobody(publisher: Publisher, feed: Subscriber) -> None:
    """Seconds without a look at the feed are no silence of the worker."""
    feed.subscribe(BOOK)
    feed.wait_live(DEADLINE_S)
    quiet(feed)
    time.sleep(3.2)
    publisher.book(BOOK, b=[["98.5", "7"]])
    assert [said(record) for record in until(feed, numbered(BOOK, 4))] == [("delta", 4)]


def test_worker_that_moves_is_followed(tmp_path: Path) -> None:
    """The directory names another worker for the subject: the strategy does nothing."""
    with (
        Publisher(tmp_path, TOPICS) as first,
        Publisher(tmp_path, TOPICS, worker="linear-1", epoch=1_780_000_009, announce=False) as second,
        Subscriber(runtime=tmp_path) as feed,
    ):
        feed.subscribe(BOOK)
        feed.wait_live(DEADLINE_S)
        first.do("status", subject=BOOK, state="ended", reason="moved")
        announce_feed(tmp_path, [second])
        until(feed, state(BOOK, "ended"))
        feed.wait_live(DEADLINE_S)
        second.book(BOOK, b=[["98.5", "7"]])
        assert until(feed, numbered(BOOK, 4))[-1].epoch == 1_780_000_009


# Loss.


def test_lost_record_is_recovered_for_that_subject_alone(publisher: Publisher, feed: Subscriber) -> None:
    """Resyncing with the count, an image, live; the other subject does not notice."""
    feed.subscribe(BOOK, TRADES)
    feed.wait_live(DEADLINE_S)
    book = feed.book(BOOK)
    until(feed, numbered(BOOK, 3))
    publisher.book(BOOK, b=[["98.5", "7"]], lose=True)
    publisher.book(BOOK, b=[["98.5", "8"]])
    publisher.trade(TRADES, "one")
    records = until(feed, numbered(BOOK, 5))
    assert [said(record) for record in records if record.subject == BOOK] == [
        ("said here", 4, "resyncing", 1),
        ("status", 5, "live"),
        ("snapshot", 5),
    ]
    assert book.is_live
    assert (98.5, 8.0) in book.bids()
    publisher.book(BOOK, b=[["98.5", "0"]])
    until(feed, numbered(BOOK, 6))
    assert feed.state(TRADES) == "live"
    assert (feed.counters.lost, feed.counters.recovered) == (1, 1)


def test_lost_events_are_counted(publisher: Publisher, feed: Subscriber) -> None:
    """Events cannot be recovered: how many, from when to when."""
    feed.subscribe("linear.publicTrade.*")
    feed.wait_live(DEADLINE_S)
    publisher.trade(TRADES, "one")
    publisher.trade(TRADES, "two", lose=True)
    publisher.trade(TRADES, "three")
    records = until(feed, numbered(TRADES, 5))
    told = records[-2].decode()
    assert (told.state, told.lost, told.recoverable) == ("live", 1, False)
    assert (told.blind_from_ns, told.blind_to_ns) == (records[-3].published_ns, records[-1].published_ns)


def test_slow_strategy_is_told_what_it_lost(tmp_path: Path) -> None:
    """Beyond the high-water marks records are dropped; every one is either delivered or counted, and the book is right."""
    with (
        Publisher(tmp_path, ["orderbook.50.BTCUSDT"], high_water_mark=50) as publisher,
        Subscriber(runtime=tmp_path, receive_high_water_mark=50) as feed,
    ):
        feed.subscribe(BOOK)
        book = feed.book(BOOK)
        feed.wait_live(DEADLINE_S)
        publisher.do("burst", count=20_000)
        last = publisher.book(BOOK, b=[["98.5", "7"]])
        publisher.do("repeat_status", subject=BOOK)
        records = until(feed, lambda record: not record.local and record.sequence == last["sequence"])
        lost = sum(record.decode().lost for record in records if len(said(record)) == 4)
        assert lost == feed.counters.lost > 0
        feed.wait_live(DEADLINE_S)
        assert dict(book.bids()) == {float(price): float(size) for price, size in last["bids"].items()}


def test_stale_backlog_is_thrown_away(tmp_path: Path) -> None:
    """A strategy that slept starts again from images, and is told how much it missed."""
    with (
        Publisher(tmp_path, ["orderbook.50.BTCUSDT"]) as publisher,
        Subscriber(runtime=tmp_path, max_age_s=0.5) as feed,
    ):
        feed.subscribe(BOOK)
        book = feed.book(BOOK)
        feed.wait_live(DEADLINE_S)
        quiet(feed)
        publisher.do("burst", count=1000)
        time.sleep(0.8)  # what was published has to grow old
        last = publisher.book(BOOK, b=[["98.5", "7"]])
        records = until(feed, state(BOOK, "resyncing"))
        assert [said(record) for record in records] == [("said here", last["sequence"], "resyncing", 1001)]
        assert records[0].decode().reason == "1001 records missed: a backlog older than 0.5 s was thrown away"
        feed.wait_live(DEADLINE_S)
        assert dict(book.bids()) == {float(price): float(size) for price, size in last["bids"].items()}
        assert feed.counters.discarded == 1001


def test_messages_of_another_format_are_counted(
    publisher: Publisher, feed: Subscriber, caplog: pytest.LogCaptureFixture
) -> None:
    """And logged with the reason; the loop goes on."""
    feed.subscribe(BOOK)
    feed.wait_live(DEADLINE_S)
    publisher.do("raw", hex=(wire.prefix(BOOK) + b"\2" + bytes(40)).hex())
    publisher.book(BOOK, b=[["98.5", "7"]])
    until(feed, numbered(BOOK, 4))
    quiet(feed)
    assert feed.counters.malformed == 1
    assert caplog.messages == ["1 messages not understood: wire format version 2, this program reads version 1"]


def test_simulated_data_is_refused_where_the_mainnet_is_asked_for(publisher: Publisher) -> None:
    """Said once, clearly; no record of it reaches the strategy."""
    with Subscriber(runtime=publisher.directory, network="mainnet") as feed:
        feed.subscribe(BOOK)
        until(feed, state(BOOK, "rejected"))
        assert feed.reason(BOOK) == "simulated or replayed data refused: this subscriber takes mainnet only"
        publisher.book(BOOK, b=[["98.5", "7"]])
        assert quiet(feed) == []


# Waiting, and what was received meanwhile.


def test_wait_live_keeps_what_it_receives(feed: Subscriber) -> None:
    """Nothing that came while waiting is lost to the loop; books are as of what was received."""
    feed.subscribe(BOOK)
    book = feed.book(BOOK)
    feed.wait_live(DEADLINE_S)
    assert book.best_bid == (99.0, 1.0)
    assert feed.receive(0) is not None
    assert said(feed.receive(0) or pytest.fail("the image is lost")) == ("snapshot", 3)
    assert feed.receive(0) is None


def test_wait_live_names_what_is_not(publisher: Publisher, feed: Subscriber) -> None:
    """With state and reason."""
    feed.subscribe(*(f"linear.kline.{number}.BTCUSDT" for number in range(7)))
    with pytest.raises(NotLiveError, match=r"linear\.kline\.0\.BTCUSDT is unassigned \(nobody carries.*; and 2 more"):
        feed.wait_live(0.2)
    with Subscriber(addresses=[f"ipc://{publisher.directory}/nobody"]) as other:
        other.subscribe("linear.")
        with pytest.raises(NotLiveError, match="nothing has come yet"):
            other.wait_live(0.1)


def test_receive_returns_in_time(feed: Subscriber) -> None:
    """None after the time-out, at once with 0."""
    started_s = time.monotonic()
    assert feed.receive(0) is None
    assert time.monotonic() - started_s < 0.05
    assert feed.receive(0.15) is None
    assert 0.15 <= time.monotonic() - started_s < 0.6


# Books and tickers.


def test_book_asked_for_late_is_loaded_by_an_image(publisher: Publisher, feed: Subscriber) -> None:
    """The strategy does not get the image a second time; until it is there the book says that it is not live."""
    feed.subscribe(BOOK)
    feed.wait_live(DEADLINE_S)
    quiet(feed)
    book = feed.book(BOOK, strict=True)
    assert feed.book(BOOK, strict=True) is book
    with pytest.raises(BookNotLive):
        _ = book.best_bid
    feed.wait_live(DEADLINE_S)
    assert book.best_bid == (99.0, 1.0)
    publisher.book(BOOK, b=[["99.5", "7"]])
    assert [said(record) for record in until(feed, numbered(BOOK, 4))] == [("delta", 4)]
    assert book.best_bid == (99.5, 7.0)
    publisher.process.kill()
    until(feed, state(BOOK, "down"))
    with pytest.raises(BookNotLive, match="the state is down: connection to worker linear"):
        _ = book.mid


def test_book_subscribes_by_itself(feed: Subscriber) -> None:
    """Asking for a book is asking for its subject."""
    book = feed.book(BOOK, numbers=Decimal)
    feed.wait_live(DEADLINE_S)
    assert book.best_ask == (Decimal(101), Decimal(1))
    with pytest.raises(FeedError, match="kept already"):
        feed.book(BOOK)


def test_ticker_is_merged(tmp_path: Path) -> None:
    """What a delta does not name keeps its value."""
    with Publisher(tmp_path, ["tickers.BTCUSDT"]) as publisher, Subscriber(runtime=tmp_path) as feed:
        kept = feed.ticker(TICKER)
        feed.wait_live(DEADLINE_S)
        payload = ticker("tickers.BTCUSDT", "delta", markPrice="101.5", fundingRate="")
        publisher.do("latest", subject=TICKER, kind=wire.DELTA, payload=payload)
        until(feed, numbered(TICKER, 4))
        assert (kept.data.last_price, kept.data.mark_price, kept.data.funding_rate) == (100.0, 101.5, "")
        with pytest.raises(SubjectError):
            feed.book(TICKER)


# The three ways to read.


def test_callbacks_are_called_for_their_subjects(publisher: Publisher, feed: Subscriber) -> None:
    """By subject and by prefix, until one of them closes the subscriber."""
    seen: list[tuple[str, Any]] = []
    feed.on(BOOK, lambda record: seen.append(("book", said(record))))

    def on_linear(record: Record) -> None:
        seen.append(("linear", said(record)))
        if record.subject == TRADES and record.kind == wire.UPDATE:
            feed.close()
        elif record.subject == BOOK and record.kind == wire.SNAPSHOT:
            feed.on(TRADES, lambda _: None)  # a callback may come later
            publisher.trade(TRADES, "one")

    feed.on("linear.*", on_linear)
    feed.run()
    of_the_book = [what for who, what in seen if who == "book"]
    assert of_the_book == [("status", 3, "live"), ("snapshot", 3)]
    assert seen[-1] == ("linear", ("update", 3))
    assert all(("linear", what) in seen for what in of_the_book)


def test_exception_of_a_callback_is_the_strategys(publisher: Publisher, feed: Subscriber) -> None:
    """It ends the loop, and nothing hides it."""

    def fail(record: Record) -> None:
        raise ZeroDivisionError(record.subject)

    feed.on(BOOK, fail)
    with pytest.raises(ZeroDivisionError, match="orderbook"):
        feed.run()
    assert publisher.process.poll() is None


def test_async_for_reads_beside_other_tasks(publisher: Publisher) -> None:
    """Records come in order, and a busy feed leaves other tasks their turn."""

    async def strategy() -> tuple[list[int], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(tick())
        sequences = []
        async with Subscriber(runtime=publisher.directory) as feed:
            feed.subscribe(BOOK)
            await feed.wait_live_async(DEADLINE_S)
            await asyncio.to_thread(publisher.do, "burst", count=2000)
            ticks = 0
            async for record in feed:
                if record.kind == wire.DELTA:
                    sequences.append(record.sequence)
                if record.sequence == 2003:
                    break
        beside.cancel()
        return sequences, ticks

    sequences, ticks = asyncio.run(strategy())
    assert sequences == list(range(4, 2004))
    assert ticks >= 5


def test_async_wait_that_is_cancelled_loses_nothing(publisher: Publisher) -> None:
    """A time-out around the wait is an ordinary thing."""

    async def strategy() -> list[tuple[Any, ...]]:
        with Subscriber(runtime=publisher.directory) as feed:
            feed.subscribe(BOOK)
            await feed.wait_live_async(DEADLINE_S)
            while await feed.receive_async(0.2) is not None:
                pass
            for _ in range(20):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(anext(feed), 0.01)
            publisher.book(BOOK, b=[["98.5", "7"]])
            return [said(await anext(feed))]

    assert asyncio.run(strategy()) == [("delta", 4)]


def test_async_wait_live_names_what_is_not(publisher: Publisher) -> None:
    """As without asyncio."""

    async def strategy() -> None:
        with Subscriber(runtime=publisher.directory) as feed:
            feed.subscribe("linear.kline.1.BTCUSDT")
            with pytest.raises(NotLiveError, match="unassigned"):
                await feed.wait_live_async(0.1)

    asyncio.run(strategy())


def test_records_nobody_waits_for_do_not_spin_the_loop(publisher: Publisher) -> None:
    """While the strategy is busy elsewhere in its event loop, unread records cost no CPU time."""

    async def strategy() -> float:
        with Subscriber(runtime=publisher.directory) as feed:
            feed.subscribe(BOOK)
            await feed.wait_live_async(DEADLINE_S)
            await feed.receive_async(0.1)
            publisher.do("burst", count=100)
            before_s = time.process_time()
            await asyncio.sleep(0.5)
            return time.process_time() - before_s

    assert asyncio.run(strategy()) < 0.2


def test_async_for_needs_nothing_of_zmq_asyncio(publisher: Publisher) -> None:
    """It reads from the sockets' own descriptors, in whatever loop is there."""
    script = """
import asyncio, sys, feedhandler

async def strategy():
    async with feedhandler.Subscriber(runtime=sys.argv[1]) as feed:
        feed.subscribe("linear.orderbook.50.BTCUSDT")
        async for record in feed:
            if record.kind == 1:
                return

asyncio.run(strategy())
print([name for name in sys.modules if name.startswith("zmq.") and "asyncio" in name])
"""
    command = [sys.executable, "-c", script, str(publisher.directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert done.stdout == "[]\n"


def test_closing_ends_an_async_loop(publisher: Publisher) -> None:
    """Another task may close the subscriber; the loop ends, and does not fail."""

    async def strategy() -> str:
        feed = Subscriber(runtime=publisher.directory)
        feed.subscribe(BOOK)
        asyncio.get_running_loop().call_later(0.2, feed.close)
        async for _ in feed:
            pass
        return "ended"

    assert asyncio.run(strategy()) == "ended"


def test_closed_subscriber_says_so(feed: Subscriber) -> None:
    """Iteration ends; asking for more is an error of the program."""
    feed.close()
    feed.close()
    assert list(feed) == []
    assert feed.receive(1) is None
    with pytest.raises(FeedError, match="closed"):
        feed.subscribe(BOOK)
    with pytest.raises(FeedError, match="closed"):
        feed.book(BOOK)


def test_public_names() -> None:
    """What the package offers, without importing the client until it is asked for."""
    assert set(feedhandler.__all__) <= set(dir(feedhandler))
    assert all(getattr(feedhandler, name) is not None for name in feedhandler.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = feedhandler.nonsense
