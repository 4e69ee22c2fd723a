"""A strategy that was given addresses and no directory, on this machine or over a network that fails; and networks refused.

The network is a relay between strategy and worker that can be cut, closed, or turned mute with its sockets open.
"""

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from support.feed import Ear, Feed, kill
from support.simulator import Simulator
from support.strategy import Shown, Strategy, unsaid

from feedhandler import NotLiveError, Subscriber, wire
from feedhandler.wire import DOWN, ENDED, LIVE, REJECTED

BOOK: Final = "linear.orderbook.50.BTCUSDT"
TRADES: Final = "linear.publicTrade.BTCUSDT"
OTHER: Final = "spot.orderbook.50.BTCUSDT"
SUBJECTS: Final = (BOOK, TRADES, OTHER)
CONFIG: Final = """
network = "sim"
[endpoints.linear]
product = "linear"
url = "{linear}"
symbols = ["BTCUSDT"]
streams = ["orderbook.50", "publicTrade"]
publish = ["ipc://{{runtime}}/linear.pub", "tcp://127.0.0.1:{port}"]
[endpoints.spot]
product = "spot"
url = "{spot}"
symbols = ["BTCUSDT"]
streams = ["orderbook.50"]
"""


class Relay:
    """A network: everything that comes to ``port`` goes to ``target``, and back, as long as it is switched on."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.mute = False
        """Sockets stay open, and nothing passes."""
        self.closed = False
        """Who comes is turned away."""
        self._to_cut = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Break every connection."""
        self._to_cut.set()

    def _run(self) -> None:
        peers: dict[socket.socket, socket.socket] = {}
        while not self._stop.is_set():
            if self._to_cut.is_set():
                self._to_cut.clear()
                _close(peers)
            readable, _, _ = select.select([self._listener, *([] if self.mute else peers)], [], [], 0.005)
            for found in readable:
                if found is self._listener:
                    self._accept(peers)
                elif found in peers:
                    try:
                        data = found.recv(65536)
                        peers[found].sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        other = peers.pop(found)
                        peers.pop(other)
                        found.close()
                        other.close()
        _close(peers)
        self._listener.close()

    def _accept(self, peers: dict[socket.socket, socket.socket]) -> None:
        near, _ = self._listener.accept()
        if self.closed:
            near.close()
            return
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        peers[near], peers[far] = far, near

    def close(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join(5)


def _close(peers: dict[socket.socket, socket.socket]) -> None:
    for peer in peers:
        peer.close()
    peers.clear()


class Scene:
    """A feed with two workers, the first of which is reached over tcp, too."""

    def __init__(self, venue: Simulator, feed: Feed, port: int) -> None:
        self.venue = venue
        self.feed = feed
        self.port = port

    def assert_book_right(self, strategy: Strategy) -> None:
        """Hold the book, level for level, against the venue's own at the same `u`."""
        shown = strategy.book(BOOK)
        truth = self.venue.get("/sim/book", product="linear", topic="orderbook.50.BTCUSDT", u=shown.update_id)
        sides = [[(float(price), float(size)) for price, size in truth[side]] for side in "ba"]
        assert shown == Shown(LIVE, shown.update_id, *sides)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A feed that is being started."""
    with (
        Simulator("--rate", "3", "--truth") as venue,
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free,
    ):
        port = free.getsockname()[1]
        free.close()
        config = CONFIG.format(linear=venue.url_of("linear"), spot=venue.url_of("spot"), port=port)
        with Feed(tmp_path, config) as feed:
            yield Scene(venue, feed, port)


def words_since(strategy: Strategy, subject: str, start: int) -> list[str]:
    """Return what the strategy saw of a subject from its first change of state on."""
    words = strategy.words(subject, start)
    return words[1:] if len(words) > 1 and words[0] in ("delta", "update") else words


def test_ipc_addresses_alone(scene: Scene) -> None:
    """Without a directory: a killed worker, a stopped feed and its return are told as with one; names come from addresses."""
    addresses = [scene.feed.address("linear"), scene.feed.address("spot")]
    with Strategy(*SUBJECTS, books=(BOOK,), addresses=addresses) as strategy:
        start = strategy.wait_live(*SUBJECTS)
        kill(scene.feed.worker("linear")["pid"])
        strategy.wait_for(BOOK, DOWN, LIVE, "delta", start=start)
        assert words_since(strategy, BOOK, start) == [DOWN, LIVE, "snapshot", "delta"]
        assert words_since(strategy, OTHER, start) == ["snapshot", "delta"][-1:]
        down = strategy.first(BOOK, DOWN, start)
        assert down is not None
        assert down.status.reason == f"connection to the worker at {addresses[0]} lost"
        scene.feed.wait_live("linear")
        start = len(strategy.seen)
        assert scene.feed.command("stop").returncode == 0
        assert scene.feed.process is not None
        scene.feed.process.wait()
        strategy.wait_for(BOOK, ENDED, "unknown", start=start)
        assert strategy.of(BOOK)[-1].status.reason == f"no feed at {', '.join(addresses)}"
        scene.feed.start()
        for subject in (BOOK, OTHER):
            strategy.wait_for(subject, LIVE, "delta", start=start)
            assert words_since(strategy, subject, start) == [ENDED, "unknown", LIVE, "snapshot", "delta"]
        scene.assert_book_right(strategy)
        assert unsaid(strategy.seen) == []


def test_a_network_that_fails(scene: Scene) -> None:
    """Over tcp: cut → `down` at once, and back; mute → `down` within 3 s, and on; away → `down`, then what was missed."""
    relay = Relay(scene.port)
    with (
        contextlib.closing(relay),
        Strategy(BOOK, TRADES, books=(BOOK,), addresses=[f"tcp://127.0.0.1:{relay.port}"]) as strategy,
    ):
        start = strategy.wait_live(BOOK, TRADES)
        strategy.wait_count(TRADES, 2, start)

        start, cut_ns = len(strategy.seen), time.time_ns()
        relay.cut()
        down, *_ = strategy.wait_for(BOOK, DOWN, LIVE, "delta", start=start)
        assert (down.at_ns - cut_ns) / 1e6 < 1000, "at once, and not after a silence"
        strategy.wait_for(TRADES, DOWN, LIVE, start=start)

        start, mute_ns = len(strategy.seen), time.time_ns()
        relay.mute = True
        (down,) = strategy.wait_for(BOOK, DOWN, start=start)
        # What was under way at the moment may count as heard.
        assert (down.at_ns - mute_ns) / 1e6 < 3000 + 200
        assert down.status.reason.startswith("no heartbeat from the worker at tcp://")
        relay.mute = False
        strategy.wait_for(BOOK, DOWN, LIVE, "delta", start=start)
        assert words_since(strategy, BOOK, start) == [DOWN, LIVE, "delta"], "nothing was lost"

        start, lost = len(strategy.seen), strategy.counters()["lost"]
        relay.closed = True
        relay.cut()
        strategy.wait_for(BOOK, DOWN, start=start)
        with Ear([scene.feed.address("linear")]) as ear:
            ear.wait_for(lambda: len(ear.data(TRADES)) > 3, "trades that the strategy does not get")
        relay.closed = False
        strategy.wait_for(BOOK, LIVE, "snapshot", "delta", start=start)
        strategy.wait_for(TRADES, LIVE, "update", start=start)
        told = [one.status.lost for one in strategy.of(TRADES, start) if one.record.kind == wire.STATUS]
        assert sum(count for count in told if isinstance(count, int)) > 0, "the same epoch: trades are counted"
        assert strategy.counters()["lost"] > lost
        scene.assert_book_right(strategy)
        assert unsaid(strategy.seen) == []


@pytest.mark.parametrize("where", ["directory", "addresses"])
def test_simulated_data_for_who_wants_the_market(scene: Scene, where: str) -> None:
    """`network="mainnet"` → `rejected` with the reason, once a subject, no record of data, and a book that is never live."""
    options = {"runtime": scene.feed.runtime} if where == "directory" else {"addresses": [scene.feed.address("linear")]}
    with (
        Subscriber(**options, network="mainnet") as refusing,
        Subscriber(**options, network="sim") as taking,
    ):
        for feed in (refusing, taking):
            feed.subscribe(BOOK, TRADES)
        book = refusing.book(BOOK, strict=True)
        taking.wait_live(20)
        with pytest.raises(
            NotLiveError, match="simulated or replayed data refused: this subscriber takes mainnet only"
        ):
            refusing.wait_live(1.0)
        records = []
        end_s = time.monotonic() + 1.0
        while (left_s := end_s - time.monotonic()) > 0:
            record = refusing.receive(left_s)
            records += [record] if record is not None else []
        assert sorted((record.subject, record.decode().state) for record in records) == [
            (BOOK, REJECTED),
            (TRADES, REJECTED),
        ]
        assert (refusing.state(BOOK), book.is_live, book.depth) == (REJECTED, False, (0, 0))
        assert refusing.counters.refused > 20
        assert json.loads(records[0].payload)["reason"] == refusing.reason(records[0].subject)
