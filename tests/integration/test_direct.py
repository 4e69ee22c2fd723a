"""`feedhandler.connect` against a real simulated Bybit: one process, no supervisor, no ZeroMQ."""

import asyncio
import gc
import logging
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import pairwise
from typing import Any, Final

import pytest
import uvloop
from support.feed import Book
from support.simulator import Simulator

import feedhandler
from feedhandler import topics, wire
from feedhandler.bybit.products import KLINE_INTERVALS, args_characters
from feedhandler.client.direct import Client
from feedhandler.client.record import Record
from feedhandler.sim.catalogue import LINEAR_BASES

BOOK: Final = topics.orderbook(50, "BTCUSDT")
TRADES: Final = topics.trades("BTCUSDT")
PATIENCE_S: Final = 20.0
LOOPS: Final = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def venue() -> Iterator[Simulator]:
    """A lively simulated Bybit for all tests that leave it as it was."""
    with Simulator("--rate", "5") as simulator:
        yield simulator


def run(scenario: Coroutine[Any, Any, None], loop: str = "asyncio") -> None:
    """Run to the end on a loop of its own; what was left open shows as a warning, and so as an error."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(scenario)
    gc.collect()


async def until(client: Client, condition: Callable[[Record], object], timeout_s: float = PATIENCE_S) -> list[Record]:
    """Return the records up to the first for which ``condition`` holds."""
    records: list[Record] = []
    try:
        async with asyncio.timeout(timeout_s):
            async for record in client:
                records.append(record)
                if condition(record):
                    return records
    except TimeoutError:
        raise AssertionError(f"never came; the last records: {records[-5:]}") from None
    raise AssertionError(f"the iteration ended after {records[-5:]}")


def in_state(topic: str, state: str) -> Callable[[Record], bool]:
    return lambda record: record.topic == topic and record.kind == wire.STATUS and record.decode().state == state


def is_data(topic: str, kind: int) -> Callable[[Record], bool]:
    return lambda record: record.topic == topic and record.kind == kind


def after(count: int, topic: str) -> Callable[[Record], bool]:
    """Hold from the ``count``-th data record of a topic on."""
    seen = iter(range(1, count + 1))
    return lambda record: record.topic == topic and record.kind <= wire.UPDATE and next(seen, count) == count


def states(records: list[Record], topic: str) -> list[str]:
    return [record.decode().state for record in records if record.topic == topic and record.kind == wire.STATUS]


def numbers(records: list[Record], topic: str) -> list[int]:
    """Return the sequences of what was published for a topic, images and repeats left out."""
    again = wire.IMAGE | wire.REPEATED
    return [record.sequence for record in records if record.topic == topic and not record.flags & again]


def in_thread(call: Callable[..., Any], *words: Any, **named: Any) -> Awaitable[Any]:
    """Ask the simulator without holding the loop up."""
    return asyncio.to_thread(call, *words, **named)


def connections(venue: Simulator) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = venue.stats()["connections"]
    return found


@pytest.mark.parametrize("loop", LOOPS)
def test_records_come_as_a_subscriber_gets_them(venue: Simulator, loop: str) -> None:
    """A book: its states, a snapshot, deltas that continue it; trades; numbered without a gap and flagged simulated."""

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            assert client.url == venue.url_of("linear")
            await client.subscribe(BOOK, TRADES)
            records = await until(client, after(30, BOOK))
            records += await until(client, is_data(TRADES, wire.UPDATE))
        book = [record for record in records if record.topic == BOOK]
        assert states(book, BOOK) == [wire.SUBSCRIBING, wire.LIVE]
        assert [record.kind for record in book[2:5]] == [wire.SNAPSHOT, wire.DELTA, wire.DELTA]
        updates = [record.decode().data.update_id for record in book[2:]]
        assert all(following == update + 1 for update, following in pairwise(updates))
        for topic in (BOOK, TRADES):
            assert numbers(records, topic) == list(range(1, len(numbers(records, topic)) + 1))
        assert {record.subject for record in records} == {f"linear.{BOOK}", f"linear.{TRADES}"}
        assert all(record.is_simulated for record in records)
        assert records[-1].decode(str).data[0].symbol == "BTCUSDT"
        now_ns = time.time_ns()
        assert all(now_ns - 60e9 < record.received_ns <= record.published_ns <= now_ns for record in book[2:])

    run(scenario(), loop)


def test_topics_are_remembered_while_there_is_no_venue() -> None:
    """What is subscribed before anybody listens is `down` with the reason, and comes when somebody does."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]

    async def scenario() -> None:
        async with feedhandler.connect(f"ws://127.0.0.1:{port}/v5/public/spot") as client:
            await client.subscribe(BOOK)
            (*_, last) = await until(client, in_state(BOOK, wire.DOWN))
            assert "cannot connect" in last.decode().reason
            with await in_thread(Simulator, "--port", str(port)):
                records = await until(client, is_data(BOOK, wire.SNAPSHOT))
                assert states(records, BOOK)[-1] == wire.LIVE
                await client.close()

    run(scenario())


def test_topics_come_and_go_while_connected(venue: Simulator) -> None:
    """A topic given up is left at the venue and silent here, its neighbour goes on; taken up again it is new."""

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(TRADES)
            await until(client, in_state(TRADES, wire.LIVE))
            await client.subscribe(BOOK, BOOK)
            first = await until(client, after(5, BOOK))
            await client.unsubscribe(BOOK, "tickers.BTCUSDT")
            await in_thread(venue.wait_for, lambda stats: BOOK not in stats["connections"][-1]["topics"])
            since = await until(client, after(5, TRADES))
            assert {record.topic for record in since} == {TRADES}
            await client.subscribe(BOOK)
            again = await until(client, is_data(BOOK, wire.SNAPSHOT))
            assert states(again, BOOK) == [wire.SUBSCRIBING, wire.LIVE]
            assert again[-1].epoch > first[-1].epoch
            trades = numbers(first + since + again, TRADES)
            assert trades == list(range(trades[0], trades[0] + len(trades)))

    run(scenario())


def test_iteration_keeps_its_seat_across_a_reset(venue: Simulator) -> None:
    """A reset is told as `down` with its reason, then everything comes back by itself, and holes say from when to when."""

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(BOOK, TRADES)
            records = await until(client, is_data(TRADES, wire.UPDATE))
            (connection,) = await in_thread(connections, venue)
            await in_thread(venue.fault, "reset", connection=connection["id"])
            records += await until(client, in_state(TRADES, wire.DOWN))
            records += await until(client, is_data(BOOK, wire.SNAPSHOT))
            if states(records, TRADES)[-1] != wire.LIVE:
                records += await until(client, in_state(TRADES, wire.LIVE))
        for topic in (BOOK, TRADES):
            assert states(records, topic) == [wire.SUBSCRIBING, wire.LIVE, wire.DOWN, wire.SUBSCRIBING, wire.LIVE]
            assert numbers(records, topic) == list(range(1, len(numbers(records, topic)) + 1))
        book = [record for record in records if record.topic == BOOK]
        down = next(index for index, record in enumerate(book) if in_state(BOOK, wire.DOWN)(record))
        assert book[down].decode().reason == "connection lost"
        assert [record.kind for record in book[down:][:4]] == [wire.STATUS, wire.STATUS, wire.STATUS, wire.SNAPSHOT]
        last = next(record for record in reversed(records) if in_state(TRADES, wire.LIVE)(record)).decode()
        assert last.blind_from_ns < last.blind_to_ns
        assert last.recoverable is False

    run(scenario())


def test_gap_is_told_and_mended(venue: Simulator) -> None:
    """A delta that the venue left out: `resyncing` with the ids, a snapshot, `live`; trades notice nothing."""

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(BOOK, TRADES)
            records = await until(client, is_data(BOOK, wire.SNAPSHOT))
            await in_thread(venue.fault, "skip", topic=BOOK)
            records += await until(client, in_state(BOOK, wire.RESYNCING))
            assert records[-1].decode().reason.startswith("gap: u ")
            assert records[-1].decode().lost == 1
            records += await until(client, is_data(BOOK, wire.SNAPSHOT))
        assert states(records, BOOK) == [wire.SUBSCRIBING, wire.LIVE, wire.RESYNCING, wire.LIVE]
        assert states(records, TRADES) == [wire.SUBSCRIBING, wire.LIVE]

    run(scenario())


def test_topic_that_the_venue_refuses_is_rejected_alone(venue: Simulator) -> None:
    """A symbol that is not listed comes as `rejected` with the venue's words; the others of the call are live."""

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(BOOK, "tickers.NOSUCHUSDT", TRADES)
            records = await until(client, in_state("tickers.NOSUCHUSDT", wire.REJECTED))
            assert "tickers.NOSUCHUSDT" in records[-1].decode().reason
            records += await until(client, is_data(BOOK, wire.DELTA))
            assert states(records, BOOK)[-1] == wire.LIVE

    run(scenario())


def test_topic_that_the_product_does_not_serve_is_an_error_at_once(venue: Simulator) -> None:
    """A misspelt topic raises with a hint, and nothing of that call is asked of the venue."""

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            with pytest.raises(feedhandler.TopicError, match="did you mean") as raised:
                await client.subscribe(BOOK, "tickrs.BTCUSDT")
            assert isinstance(raised.value, feedhandler.FeedError)
            await client.subscribe(TRADES)
            await until(client, in_state(TRADES, wire.LIVE))
            (connection,) = await in_thread(connections, venue)
            assert BOOK not in connection["topics"]

    run(scenario())


def test_level_1_of_the_canarys_symbol_can_be_subscribed_and_left(venue: Simulator) -> None:
    """The topic that proves a connection alive is also a topic like any other, and goes on proving when it is left."""
    canary = topics.orderbook(1, "BTCUSDT")

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(TRADES)
            await until(client, in_state(TRADES, wire.LIVE))
            await in_thread(venue.wait_for, lambda stats: canary in stats["connections"][-1]["topics"])
            await client.subscribe(canary)
            records = await until(client, is_data(canary, wire.SNAPSHOT))
            assert states(records, canary) == [wire.SUBSCRIBING, wire.LIVE]
            await client.unsubscribe(canary)
            since = await until(client, after(10, TRADES))
            assert {record.topic for record in since} == {TRADES}
            stats = await in_thread(venue.wait_for, lambda stats: canary in stats["connections"][-1]["topics"])
            assert sorted(stats["connections"][-1]["topics"]) == sorted([canary, TRADES])

    run(scenario())


def test_mute_connection_is_given_up(venue: Simulator) -> None:
    """Pongs alone prove nothing: within 8 s of silence the topics are `stale`, and a new connection is opened."""

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(BOOK)
            await until(client, is_data(BOOK, wire.DELTA))
            (connection,) = await in_thread(connections, venue)
            await in_thread(venue.fault, "mute", connection=connection["id"])
            muted_s = time.monotonic()
            await until(client, in_state(BOOK, wire.STALE))
            assert time.monotonic() - muted_s < 8
            records = await until(client, is_data(BOOK, wire.SNAPSHOT))
            assert states(records, BOOK) == [wire.DOWN, wire.SUBSCRIBING, wire.LIVE]

    run(scenario())


def test_clock_that_is_set_is_not_the_venues_silence(venue: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the machine's clock jumps ahead nothing is given up for it; the records go on under the new time."""
    real_ns = time.time_ns
    ahead_ns = [0]
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + ahead_ns[0])
    # The hot path has the clock under a name of its own.
    monkeypatch.setattr("feedhandler.worker.connection._time_ns", time.time_ns)

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(BOOK)
            before = await until(client, after(5, BOOK))
            # Nothing comes for a moment: the clock is looked at before the next record is.
            await in_thread(venue.fault, "delay", ms=500, seconds=2)
            ahead_ns[0] = 60 * 10**9
            records = await until(client, after(30, BOOK))
            assert states(records, BOOK) == []
            assert records[-1].received_ns - before[-1].received_ns > ahead_ns[0]

    run(scenario())


def test_programs_own_pause_is_not_the_venues_silence(venue: Simulator) -> None:
    """A program that holds its loop up is not told of it, and its pause is not taken for the topic's cadence."""

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(BOOK)
            await until(client, after(30, BOOK))
            time.sleep(1.5)  # noqa: ASYNC251 - the very thing
            slept_s = time.monotonic()
            records = await until(client, lambda _: time.monotonic() - slept_s > 0.5)
            assert states(records, BOOK) == []
            assert client._feed.routes[BOOK].cadence._longest_ns < 1_000_000_000

    run(scenario())


# Slow programs.


def test_slow_program_is_told_what_it_lost() -> None:
    """Beyond ``max_records`` the oldest are dropped: told with their number, in order, and books come back by image."""

    async def scenario(venue: Simulator) -> None:
        async with feedhandler.connect(venue.url_of("linear"), max_records=20) as client:
            await client.subscribe(BOOK, TRADES)
            records = await until(client, is_data(TRADES, wire.UPDATE))
            await asyncio.sleep(1.5)  # the program is busy elsewhere
            records += await until(client, lambda record: record.topic == BOOK and record.is_image)
            records += await until(client, after(10, BOOK))
            records += await until(client, is_data(TRADES, wire.UPDATE))
        for topic in (BOOK, TRADES):
            lost = 0
            last = 0
            for record in records:
                if record.topic != topic:
                    continue
                if record.local:
                    status = record.decode()
                    lost += status.lost
                    assert status.lost == record.sequence - last
                    assert "too slowly" in status.reason
                    assert status.blind_from_ns < status.blind_to_ns
                    assert status.recoverable is (topic == BOOK)
                elif topic == TRADES and not record.is_repeated:
                    assert record.sequence == last + 1
                last = max(record.sequence, last)
            assert lost > 0
        assert client.counters.lost == sum(record.decode().lost for record in records if record.local)
        assert states(records, BOOK)[:4] == [wire.SUBSCRIBING, wire.LIVE, wire.RESYNCING, wire.LIVE]
        book = Book()
        for record in records:
            if record.topic == BOOK and record.kind <= wire.DELTA:
                update_id = record.decode().data.update_id
                assert record.kind == wire.SNAPSHOT or update_id == book.update_id + 1
                book.apply(record.payload)

    with Simulator("--rate", "20") as venue:
        run(scenario(venue))


def test_books_kept_by_the_client_are_the_venues(venue: Simulator) -> None:
    """A book kept from the start, and one asked for later, hold what the records say; unsubscribed, they are not live."""

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            book = client.book(BOOK, strict=True)
            with pytest.raises(feedhandler.FeedError, match="the state is unknown"):
                _ = book.best_bid
            plain = Book()
            for record in await until(client, after(20, BOOK)):
                if record.kind <= wire.DELTA:
                    plain.apply(record.payload)
            assert dict(book.bids()) == plain.bids
            assert dict(book.asks()) == plain.asks
            assert book.update_id == plain.update_id
            later = client.book(BOOK)
            assert not later.is_live
            async with asyncio.timeout(PATIENCE_S):
                async for record in client:
                    if record.kind <= wire.DELTA:
                        plain.apply(record.payload)
                    if later.is_live:
                        break
            assert dict(later.bids()) == plain.bids
            assert later.update_id == plain.update_id
            await client.unsubscribe(BOOK)
            assert not later.is_live

    run(scenario())


# More topics than a connection carries.


def test_topics_beyond_the_venues_limit_get_further_connections() -> None:
    """More than 21,000 characters of topics take two connections by themselves; no limit of the venue is broken."""
    everything = [topics.kline(interval, f"{base}USDT") for base in LINEAR_BASES[:90] for interval in KLINE_INTERVALS]
    assert 21_000 < args_characters(everything) < 42_000

    async def scenario(venue: Simulator) -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(*everything[:100])
            await client.subscribe(*everything)
            live: set[str] = set()

            def all_live(record: Record) -> bool:
                if in_state(record.topic, wire.LIVE)(record):
                    live.add(record.topic)
                return len(live) == len(everything)

            await until(client, all_live)
            stats = await in_thread(venue.stats)
            first, second = (connection["args_characters"] for connection in stats["connections"])
            assert second < 20_900 < first <= 21_000
            carried = [topic for connection in stats["connections"] for topic in connection["topics"]]
            assert set(everything) <= set(carried)
            assert stats["violations"] == {}
            assert stats["refused_requests"] == {}

    with Simulator() as venue:
        run(scenario(venue))


# The end.


def test_close_ends_the_iteration(venue: Simulator) -> None:
    """Closed from another task, the loop over the records simply ends; the venue gets a close frame; twice is fine."""

    async def scenario() -> None:
        client = feedhandler.connect(venue.url_of("linear"))
        await client.subscribe(BOOK)
        records: list[Record] = []

        async def read() -> None:
            records.extend([record async for record in client])

        reading = asyncio.create_task(read())
        await in_thread(
            venue.wait_for, lambda stats: stats["connections"] and stats["connections"][0]["frames_sent"] > 5
        )
        await client.close()
        await client.close()
        async with asyncio.timeout(PATIENCE_S):
            await reading
        assert records
        with pytest.raises(feedhandler.ClosedError):
            await client.subscribe(TRADES)
        await in_thread(venue.wait_for, lambda stats: not stats["connections"])
        assert len(asyncio.all_tasks()) == 1

    run(scenario())


@pytest.mark.parametrize("loop", LOOPS)
def test_error_in_the_loops_body_closes_everything(venue: Simulator, loop: str) -> None:
    """The program's own exception passes through, and leaves neither task nor socket behind."""

    async def divide() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(BOOK)
            async for record in client:
                _ = record.sequence / (record.kind - wire.DELTA)

    async def scenario() -> None:
        with pytest.raises(ZeroDivisionError):
            await divide()
        assert len(asyncio.all_tasks()) == 1
        await in_thread(venue.wait_for, lambda stats: not stats["connections"])

    run(scenario(), loop)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("loop", LOOPS)
def test_cancelled_task_closes_everything(venue: Simulator, loop: str, times: int) -> None:
    """A task cancelled while it waits for records ends as cancelled and leaves nothing behind; even in a hurry."""

    async def read() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(BOOK)
            async for _ in client:
                pass

    async def scenario() -> None:
        reading = asyncio.create_task(read())
        await in_thread(
            venue.wait_for, lambda stats: stats["connections"] and stats["connections"][0]["frames_sent"] > 5
        )
        for _ in range(times):
            reading.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await reading

    run(scenario(), loop)
    venue.wait_for(lambda stats: not stats["connections"])


def test_client_closed_while_it_dials_leaves_nothing() -> None:
    """A venue that accepts and never answers the handshake does not hold the end up."""

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            started_s = time.monotonic()
            async with feedhandler.connect(f"ws://127.0.0.1:{server.getsockname()[1]}/v5/public/linear") as client:
                await client.subscribe(BOOK)
                await until(client, in_state(BOOK, wire.SUBSCRIBING))
                await asyncio.sleep(0.05)
            assert time.monotonic() - started_s < 2
            assert len(asyncio.all_tasks()) == 1

    run(scenario())


def test_giving_up_is_an_error_after_the_last_record() -> None:
    """With ``max_attempts`` the topics are `down` with the reason, and then the loop raises, now and ever after."""

    async def scenario() -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            url = f"ws://127.0.0.1:{reserved.getsockname()[1]}/v5/public/linear"
            async with feedhandler.connect(url, max_attempts=2) as client:
                await client.subscribe(BOOK)
                records: list[Record] = []
                with pytest.raises(feedhandler.ConnectError, match="gave up after 2 attempts: cannot") as raised:
                    await until(client, records.append)
                assert isinstance(raised.value, feedhandler.FeedError)
                assert "gave up after 2 attempts" in records[-1].decode().reason
                with pytest.raises(feedhandler.ConnectError):
                    await client.subscribe(TRADES)

    run(scenario())


def test_bug_of_ours_ends_the_iteration(venue: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong inside a callback of the socket is raised where the program waits, and logged: no silent end."""

    class Broken(deque[Record]):
        def append(self, _record: Record) -> None:
            raise RuntimeError("broken queue")

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(BOOK)
            await until(client, after(3, BOOK))
            client._queue = Broken()
            with pytest.raises(RuntimeError, match="broken queue"):
                await until(client, lambda _: False)
        assert len(asyncio.all_tasks()) == 1

    run(scenario())
    assert any("a bug of feedhandler's" in line for line in caplog.messages)


def test_client_lives_across_the_cells_of_a_notebook(venue: Simulator) -> None:
    """On a loop that runs now and then, as a notebook's does, a client opened in one cell is read and closed in others."""
    with asyncio.Runner() as notebook:
        client = feedhandler.connect(venue.url_of("linear"))
        notebook.run(client.subscribe(BOOK))
        first = notebook.run(until(client, after(3, BOOK)))
        time.sleep(0.2)  # a person thinks, and the loop stands still
        second = notebook.run(until(client, after(3, BOOK)))
        together = numbers(first + second, BOOK)
        assert together == list(range(1, len(together) + 1))
        notebook.run(client.close())
    gc.collect()


def test_strange_frames_are_logged_and_disturb_nothing(venue: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """A frame that is no JSON is in the log with its text; the topic stays live."""

    async def scenario() -> None:
        async with feedhandler.connect(venue.url_of("linear")) as client:
            await client.subscribe(BOOK)
            await until(client, is_data(BOOK, wire.SNAPSHOT))
            await in_thread(venue.fault, "garbage", topic=BOOK)
            records = await until(client, lambda _: any("neither data nor" in line for line in caplog.messages))
            assert wire.DOWN not in states(records, BOOK)

    with caplog.at_level(logging.INFO, "feedhandler.client"):
        run(scenario())
    assert any(line.endswith(f"{BOOK} live") for line in caplog.messages)
    assert any("connected" in line for line in caplog.messages)
