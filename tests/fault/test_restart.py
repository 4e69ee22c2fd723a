"""A worker is restarted by command: what plain ZeroMQ strategies see, and what is left when anything goes wrong meanwhile.

What a `Subscriber` sees is in test_subscriber_restart.py.
"""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest
from support.feed import Ear, Feed, alive, breaks, is_data, is_status, kill, status, wait_until
from support.simulator import Simulator

from feedhandler import control, runtime, wire
from feedhandler.cli import where
from feedhandler.supervisor.succession import READY_S

BOOK: Final = "linear.orderbook.50.BTCUSDT"
TRADES: Final = "linear.publicTrade.BTCUSDT"
SUBJECTS: Final = (BOOK, TRADES)
RETIRED: Final = "restarted by command: its successor carries the topic"
STOP_S: Final = 5.0
CONFIG: Final = """
network = "sim"
[connection]
reconnect_base_s = 0.1
[endpoints.linear]
product = "linear"
url = "{linear}"
symbols = ["BTCUSDT"]
streams = ["orderbook.50", "publicTrade"]
{more}
[endpoints.spot]
product = "spot"
url = "{spot}"
topics = ["orderbook.50.BTCUSDT"]
"""
HOLDER: Final = """
import sys
from feedhandler.worker.publisher import Publisher
publisher = Publisher([sys.argv[1]], send_high_water_mark=10)
print("bound", flush=True)
sys.stdin.read()
publisher.close()
"""


class Restarting:
    """``feedhandler restart`` while it runs."""

    def __init__(self, feed: Feed, worker: str = "linear", *more: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "feedhandler", "restart", worker, "--runtime", str(feed.runtime), *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return exit code, result and what it said meanwhile."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.process:
            self.process.kill()


class Scene:
    """A feed with two workers, both live."""

    def __init__(self, venue: Simulator, feed: Feed) -> None:
        self.venue = venue
        self.feed = feed
        self.path = feed.runtime / "linear.pub"

    def worker(self, name: str = "linear") -> control.WorkerStatus:
        """Return what the supervisor knows of a worker."""
        answer = where.ask(self.feed.runtime, control.StatusRequest())
        assert isinstance(answer, control.StatusReply)
        return next(worker for worker in answer.workers if worker.worker == name)

    @property
    def pid(self) -> int:
        """The worker's process."""
        found = self.worker().pid
        assert found is not None
        return found

    @property
    def generation(self) -> int:
        """How many successors clients are told of."""
        directory = json.loads((self.feed.runtime / runtime.FEED_FILE).read_bytes())
        generation: int = directory["workers"]["linear"]["generation"]
        return generation

    @property
    def successor(self) -> int:
        """The process that was last started beside the worker's."""
        found = [
            re.search(r"^linear: .*process (\d+) starts beside it", line["message"]) for line in self.feed.log_lines()
        ]
        return int([match for match in found if match][-1][1])

    def wait_words(self, words: str) -> None:
        """Wait until a restart is that far."""
        wait_until(lambda: re.search(words, self.worker().restart), words)

    def wait_overlap(self) -> None:
        """Wait until both processes publish, and clients are told so."""
        before = self.generation
        wait_until(lambda: self.generation > before, "the next generation")

    def wait_live(self) -> None:
        """Wait until nothing but live topics are there, and no restart is under way."""
        wait_until(
            lambda: not self.worker().restart and {state for state, _ in self.worker().topics.values()} == {wire.LIVE},
            "live",
        )

    def holding(self) -> None:
        """Have no successor get any further than its first attempt to connect."""
        self.venue.fault("refuse", product="linear", status=502, count=0)

    def listing(self) -> dict[str, int]:
        """Return what is in the runtime directory, with its rights."""
        return {str(path.relative_to(self.feed.runtime)): path.lstat().st_mode for path in self.feed.runtime.rglob("*")}


@contextmanager
def scene_in(directory: Path, more: str = "", *options: str) -> Iterator[Scene]:
    with Simulator("--rate", "10", "--truth", *options) as venue:
        config = CONFIG.format(linear=venue.url_of("linear"), spot=venue.url_of("spot"), more=more)
        with Feed(directory, config) as feed:
            feed.wait_live("linear")
            feed.wait_live("spot")
            yield Scene(venue, feed)
            venue.fault("off")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with scene_in(tmp_path) as found:
        yield found


@contextmanager
def watched(path: Path) -> Iterator[None]:
    """Connect to a path all the while: it must lead to somebody at every time, with nobody else's rights."""
    stop, found = threading.Event(), set[object]()

    def look() -> None:
        while not stop.is_set():
            with closing(socket.socket(socket.AF_UNIX)) as client:
                try:
                    client.connect(str(path))
                    found.add(path.stat().st_mode & 0o777)
                except OSError as error:
                    found.add(error)
            time.sleep(0.001)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert found == {0o700}


def epochs(ear: Ear, subject: str = BOOK) -> list[int]:
    """Return the epochs of a subject in the order in which they came."""
    return list(dict.fromkeys(record.epoch for record in ear.of(subject)))


def wait_flow(ear: Ear, epoch: Callable[[], int]) -> None:
    """Wait until every subject delivers under an epoch."""
    wait_until(
        lambda: all(any(one.epoch == epoch() and is_data(one) for one in ear.of(subject)) for subject in SUBJECTS),
        "data of the epoch",
    )


def joined(scene: Scene, *subjects: str) -> Ear:
    """A plain strategy that is in the flow."""
    ear = Ear([scene.feed.address("linear"), scene.feed.address("spot")], subjects or ("",))
    wait_flow(ear, lambda: scene.worker().epoch)
    return ear


def assert_heard_to_the_end(ear: Ear, epoch: int) -> None:
    """The old process delivered every record up to its last word, which says why it ends; a new epoch begins whole."""
    assert breaks(ear.records) == []
    for subject in SUBJECTS:
        *_, last = [one for one in ear.of(subject) if one.epoch == epoch]
        assert (last.kind, status(last)["state"], status(last)["reason"]) == (wire.STATUS, wire.ENDED, RETIRED)
        of_both = epochs(ear, subject)
        assert (of_both[0], of_both) == (epoch, sorted(of_both))
    # Deltas of meanwhile may come before the image that answers the ear: they wait for it, as for any newcomer.
    wait_until(lambda: any(one.epoch > epoch and one.kind == wire.SNAPSHOT for one in ear.of(BOOK)), "a whole book")


# As it should be.


def test_old_strategies_hear_the_old_process_to_its_end_and_newcomers_the_new_one(scene: Scene) -> None:
    """Inject nothing → old strategies: everything up to `ended`, then the new epoch from an image; newcomers: that alone.

    The path leads to somebody all the while. The other worker notices nothing, and the venue sees one connection more.
    """
    old, listing, spot = scene.worker(), scene.listing(), scene.worker("spot")
    attempts = scene.venue.stats()["connection_attempts"]
    with joined(scene) as ear, watched(scene.path), Restarting(scene.feed) as restarting:
        scene.wait_overlap()
        handed_over_ns = time.time_ns()
        new = scene.worker()
        assert (new.pid != old.pid, new.epoch > old.epoch, new.restarts) == (True, True, 1)
        assert (new.last_exit, new.restart) == ("restarted by command", "handing over")
        with Ear([scene.feed.address("linear")]) as newcomer:
            wait_flow(newcomer, lambda: new.epoch)
            wait_until(lambda: len([one for one in ear.data(BOOK) if one.received_ns > handed_over_ns]) > 5, "more")
            assert epochs(ear) == [old.epoch], "who is connected stays with the old process"
            code, out, err = restarting.end()
            assert code == 0, err
            wait_flow(ear, lambda: new.epoch)
            assert epochs(newcomer) == [new.epoch]
            assert breaks(newcomer.records) == []
            assert next(one for one in newcomer.of(BOOK) if one.kind != wire.STATUS).flags & wire.IMAGE
        assert_heard_to_the_end(ear, old.epoch)
        notices = [json.loads(one.payload) for one in ear.of("linear.notice")]
        assert [(one["notice"], one["worker"]) for one in notices] == [("restarting", "linear")]
        assert [one for one in ear.of("spot.orderbook.50.BTCUSDT")[1:] if is_status(one)] == []
    assert re.fullmatch(rf"linear restarted: process {old.pid} -> {new.pid}, 2 topics live, \d+\.\d s\n", out)
    assert err.splitlines()[0] == "linear: starting its successor"
    assert err.splitlines()[-2:] == ["linear: handing over", "linear: ending the old process"]
    assert (scene.worker("spot").pid, scene.worker("spot").restarts) == (spot.pid, 0)
    assert scene.listing() == listing
    assert not alive(old.pid or 0)
    stats = scene.venue.stats()
    assert (stats["connection_attempts"], stats["refused_requests"]) == (attempts + 1, {})
    assert len([one for one in stats["connections"] if one["product"] == "linear"]) == 1


def test_restarts_leave_nothing_behind(scene: Scene) -> None:
    """Two workers at a time, twice → the same files, processes and connections as before."""
    listing, family = scene.listing(), len(scene.feed.family())
    for number in (1, 2):
        with Restarting(scene.feed) as one, Restarting(scene.feed, "spot", "--json") as other:
            assert one.end()[0] == 0
            code, out, _ = other.end()
            assert (code, json.loads(out)["live"]) == (0, 1)
        assert (scene.worker().restarts, scene.worker("spot").restarts, scene.generation) == (number,) * 3
    assert scene.listing() == listing
    assert len(scene.feed.family()) == family
    assert len(scene.venue.stats()["connections"]) == 2


@pytest.mark.parametrize("beside", ['"ipc://{runtime}/{worker}.pub", ', ""], ids=["beside ipc", "alone"])
def test_tcp_address_changes_hands_with_a_short_loss_of_connection(tmp_path: Path, beside: str) -> None:
    """Beside an ipc address, and alone → `ended`, then the new epoch at the same port, from a snapshot."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with scene_in(tmp_path, f'publish = [{beside}"tcp://127.0.0.1:{port}"]') as scene:
        old = scene.worker()
        with Ear([f"tcp://127.0.0.1:{port}"]) as ear:
            wait_flow(ear, lambda: old.epoch)
            with Restarting(scene.feed) as restarting:
                code, _, err = restarting.end()
            assert code == 0, err
            wait_flow(ear, lambda: scene.worker().epoch)
            assert_heard_to_the_end(ear, old.epoch)
        # Who is connected over tcp alone has nobody to connect to meanwhile.
        assert scene.generation == bool(beside)


def test_private_worker_keeps_its_secrets_and_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While both publish → the key is in the environment of the two that need it and of no other; the socket is the owner's."""
    key, secret = "KEY-of-this-test", "SECRET-of-this-test"
    monkeypatch.setenv("FEED_TEST_KEY", key)
    monkeypatch.setenv("FEED_TEST_SECRET", secret)
    with Simulator("--account-rate", "5", "--api-key", f"{key}:{secret}") as venue:
        more = f"""
[endpoints.private]
product = "private"
url = "{venue.url_of("private")}"
topics = ["order"]
api_key = {{ env = "FEED_TEST_KEY" }}
api_secret = {{ env = "FEED_TEST_SECRET" }}
"""
        config = CONFIG.format(linear=venue.url_of("linear"), spot=venue.url_of("spot"), more=more)
        with Feed(tmp_path, config) as feed:
            monkeypatch.delenv("FEED_TEST_KEY")
            monkeypatch.delenv("FEED_TEST_SECRET")
            scene = Scene(venue, feed)
            for name in ("linear", "spot", "private"):
                feed.wait_live(name)
            listing, old = scene.listing(), scene.worker("private").pid
            path = feed.runtime / "private" / "private.pub"
            with watched(path), Restarting(feed, "private") as one, Restarting(feed, "linear") as other:
                scene.wait_overlap()
                wait_until(lambda: scene.worker("private").restart == "handing over", "both publish")
                new = scene.worker("private").pid
                for process in feed.family():
                    base = Path("/proc", str(process.pid))
                    shown = (base / "cmdline").read_bytes()
                    if process.pid not in (feed.pid, old, new):
                        shown += (base / "environ").read_bytes()
                    assert key.encode() not in shown
                    assert secret.encode() not in shown
                assert len(feed.family()) == 6
                for restarting in (one, other):
                    code, out, err = restarting.end()
                    assert code == 0, err
                    assert secret not in out + err
            assert secret not in feed.log.read_text()
            assert scene.listing() == listing
            assert path.parent.stat().st_mode & 0o777 == 0o700


# Refused, or given up.


@pytest.mark.soak
def test_successor_that_does_not_get_live_is_given_up_and_nobody_has_seen_it(scene: Scene) -> None:
    """Inject a venue that refuses new connections → after 30 s exit 1 with the topics; old strategies: nothing but data."""
    old, listing = scene.worker(), scene.listing()
    with joined(scene) as ear, watched(scene.path):
        start = len(ear.records)
        scene.holding()
        begun_s = time.monotonic()
        with Restarting(scene.feed) as restarting:
            code, out, err = restarting.end()
        assert time.monotonic() - begun_s > READY_S
        assert (code, out) == (1, "")
        told = "Error: linear was not restarted: not live at its successor within 30 s: "
        assert err.splitlines()[-1].startswith(told)
        assert err.endswith(f"; process {old.pid} goes on\n")
        wait_until(lambda: not alive(scene.successor), "its end")
        assert (scene.worker().pid, scene.worker().epoch, scene.generation) == (old.pid, old.epoch, 0)
        assert scene.listing() == listing
        seen = [one for one in ear.records[start:] if one.subject in SUBJECTS]
        assert [one for one in seen if is_status(one)] == []
        assert {one.epoch for one in seen} == {old.epoch}
        assert breaks(seen) == []
        scene.venue.fault("off")
        with Restarting(scene.feed) as restarting:
            assert restarting.end()[0] == 0


def test_restart_under_way_is_shown_not_begun_twice_and_outlives_its_command(scene: Scene) -> None:
    """Inject a venue that refuses new connections → `status` shows how far it is, a second restart is refused.

    That of an unknown worker is a mistake, and Ctrl-C leaves one going on.
    """
    scene.holding()
    with Restarting(scene.feed) as restarting, Restarting(scene.feed, "spot") as interrupted:
        scene.wait_words("0 of 2 topics live at its successor")
        refused = scene.feed.command("restart", "linear")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("Error: linear is being restarted already: 0 of 2 topics live")
        unknown = scene.feed.command("restart", "lienar")
        assert unknown.returncode == 2
        assert unknown.stderr == "Error: there is no worker lienar; there are linear, spot\n"
        assert "restart by command: 0 of 2 topics live at its successor" in scene.feed.command("status").stdout
        assert interrupted.process.stderr is not None
        interrupted.process.stderr.readline()
        interrupted.process.send_signal(signal.SIGINT)
        code, out, err = interrupted.end()
        assert (code, out) == (130, "")
        assert err.splitlines()[-1] == "spot: the restart goes on without us; feedhandler status shows it"
        wait_until(lambda: scene.worker("spot").restarts == 1 and not scene.worker("spot").restart, "spot restarted")
        scene.venue.fault("off")
        assert restarting.end()[0] == 0


def test_successor_that_cannot_bind_is_said_and_the_next_restart_goes_on_there(tmp_path: Path) -> None:
    """Inject the loss of the sockets' directory → exit 1 and why; old strategies go on; given back, `restart` succeeds."""
    directory, away = tmp_path / "sockets", tmp_path / "away"
    directory.mkdir()
    with scene_in(tmp_path, f'publish = ["ipc://{directory}/linear.pub"]') as scene:
        old = scene.worker()
        with Ear([f"ipc://{directory}/linear.pub"]) as ear:
            wait_flow(ear, lambda: old.epoch)
            directory.rename(away)
            with Restarting(scene.feed) as restarting:
                code, _, err = restarting.end()
            assert code == 1
            assert f"its successor could not start (exit 3: cannot bind ipc://{directory}/linear.pub" in err
            assert err.endswith("No such file or directory); the old process goes on\n")
            assert scene.worker().restart == "its successor could not start; the old process goes on"
            away.rename(directory)
            before = len(ear.data(BOOK))
            wait_until(lambda: len(ear.data(BOOK)) > before + 10, "the old process goes on")
            assert epochs(ear) == [old.epoch]
            with Restarting(scene.feed) as restarting:
                code, out, err = restarting.end()
            assert code == 0, err
            assert out.startswith(f"linear restarted: process {old.pid} -> {scene.pid}, 2 topics live")
            wait_flow(ear, lambda: scene.worker().epoch)
            assert_heard_to_the_end(ear, old.epoch)
        assert {path.name for path in directory.iterdir()} == {"linear.pub", "linear.pub.lock"}


def test_parked_worker_is_started_at_once(tmp_path: Path) -> None:
    """Inject an address in somebody's hands → parked; given back, and `restart` → live, exit 0."""
    address = f"ipc://{tmp_path}/busy.pub"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder, Simulator() as venue:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "bound\n"
        more = f'publish = ["{address}"]'
        config = CONFIG.format(linear=venue.url_of("linear"), spot=venue.url_of("spot"), more=more)
        with Feed(tmp_path, config) as feed:
            scene = Scene(venue, feed)
            feed.wait_live("spot")
            wait_until(lambda: scene.worker().last_exit.startswith("exit 3"), "parked")
            with Restarting(feed) as restarting:
                code, _, err = restarting.end()
            assert (code, "publishes there" in err) == (1, True), err
            holder.communicate()
            with Restarting(feed) as restarting:
                code, out, err = restarting.end()
            assert code == 0, err
            assert re.fullmatch(r"linear restarted: process none -> \d+, 2 topics live, \d+\.\d s\n", out)


# Killed.


def test_successor_killed_before_the_addresses_change_hands_changes_nothing(scene: Scene) -> None:
    """Inject kill -9 → exit 1 and why; old strategies: nothing but data; nothing is left."""
    old, listing = scene.worker(), scene.listing()
    with joined(scene) as ear, watched(scene.path), Restarting(scene.feed) as restarting:
        start = len(ear.records)
        scene.holding()
        scene.wait_words("0 of 2 topics live at its successor")
        kill(scene.successor)
        code, _, err = restarting.end()
        assert code == 1
        assert err.endswith(
            f"linear was not restarted: its successor ended (killed by SIGKILL); process {old.pid} goes on\n"
        )
        assert (scene.worker().pid, scene.worker().restarts, scene.generation) == (old.pid, 0, 0)
        assert scene.listing() == listing
        assert [one for one in ear.records[start:] if one.subject in SUBJECTS and is_status(one)] == []


def test_successor_killed_while_both_publish_is_replaced_and_the_old_process_goes_on(scene: Scene) -> None:
    """Inject kill -9 → old strategies: nothing but data until the next successor is as good; then as ever."""
    old, listing = scene.worker(), scene.listing()
    with joined(scene) as ear, Restarting(scene.feed) as restarting:
        scene.wait_overlap()
        with Ear([scene.feed.address("linear")]) as newcomer:
            killed = scene.worker()
            wait_flow(newcomer, lambda: killed.epoch)
            kill(killed.pid or 0)
            code, out, err = restarting.end()
            assert code == 0, err
            new = scene.worker()
            wait_flow(newcomer, lambda: new.epoch)
            assert epochs(newcomer) == [killed.epoch, new.epoch], "nobody goes back to an old epoch"
        assert "its successor ended, and is started again; the old process goes on" in err
        assert f"process {old.pid} -> {new.pid}," in out
        wait_flow(ear, lambda: new.epoch)
        assert epochs(ear) == [old.epoch, new.epoch]
        assert_heard_to_the_end(ear, old.epoch)
    assert (scene.listing(), scene.generation, new.restarts) == (listing, 1, 2)


def holes(ear: Ear, subject: str, epoch: int) -> list[tuple[int, int]]:
    """Return the blind times that were told under an epoch, repeated or not."""
    told = [status(one) for one in ear.of(subject) if one.kind == wire.STATUS and one.epoch == epoch]
    return [(one["blind_from_ns"], one["blind_to_ns"]) for one in told if "blind_to_ns" in one]


def test_old_process_killed_before_its_successor_is_live_is_succeeded_at_once(scene: Scene) -> None:
    """Inject kill -9 → the successor, with the blind time told from before the kill; `live` when it is."""
    old = scene.worker()
    with joined(scene) as ear, Restarting(scene.feed) as restarting:
        scene.holding()
        scene.wait_words("0 of 2 topics live at its successor")
        successor, killed_ns = scene.successor, time.time_ns()
        kill(old.pid or 0)
        code, out, err = restarting.end()
        assert code == 0, err
        assert f"linear: process {old.pid} did not end in order (killed by SIGKILL): strategies were told" in err
        assert f"process {old.pid} -> {successor}, 0 of 2 topics live" in out
        scene.venue.fault("off")
        scene.wait_live()
        new = scene.worker()
        wait_flow(ear, lambda: new.epoch)
        assert (new.pid, new.restarts, new.last_exit, scene.generation) == (successor, 1, "killed by SIGKILL", 0)
        assert any(begin <= killed_ns < end for begin, end in holes(ear, TRADES, new.epoch))
        assert breaks(ear.records) == []


def test_old_process_killed_while_both_publish_is_a_hole_that_is_told(scene: Scene) -> None:
    """Inject kill -9 → the successor's epoch, from an image, and the blind time from before the kill."""
    old = scene.worker()
    with joined(scene) as ear, watched(scene.path), Restarting(scene.feed) as restarting:
        scene.wait_overlap()
        killed_ns = time.time_ns()
        kill(old.pid or 0)
        code, _, err = restarting.end()
        assert code == 0, err
        assert "did not end in order (killed by SIGKILL)" in err
        new = scene.worker()
        wait_flow(ear, lambda: new.epoch)
        assert epochs(ear) == [old.epoch, new.epoch]
        wait_until(lambda: any(begin <= killed_ns < end for begin, end in holes(ear, TRADES, new.epoch)), "the hole")
        assert breaks(ear.records) == []


def test_old_process_that_hangs_is_killed_and_succeeded(scene: Scene) -> None:
    """Inject SIGSTOP → it gives nothing back; killed as any that hangs; then the successor, with the hole."""
    old, listing = scene.worker(), scene.listing()
    with joined(scene) as ear, Restarting(scene.feed) as restarting:
        scene.wait_words("starting|at its successor")
        stopped_ns = time.time_ns()
        kill(old.pid or 0, signal.SIGSTOP)
        code, _, err = restarting.end()
        assert code == 0, err
        assert "did not end in order (killed by SIGKILL)" in err
        wait_flow(ear, lambda: scene.worker().epoch)
        assert any(begin <= stopped_ns < end for begin, end in holes(ear, TRADES, scene.worker().epoch))
    assert scene.listing() == listing


# The feed ends.


@pytest.mark.parametrize("phase", ["before", "both"])
def test_stop_amid_a_restart_ends_both_processes_and_leaves_nothing(scene: Scene, phase: str) -> None:
    """Inject SIGTERM → all ended within 5 s, `ended` said by both; the command says that nothing came of it."""
    with joined(scene) as ear, Restarting(scene.feed) as restarting:
        if phase == "before":
            scene.holding()
            scene.wait_words("0 of 2 topics live at its successor")
        else:
            scene.wait_overlap()
        family = [process.pid for process in scene.feed.family()]
        assert len(family) == 4
        begun_s = time.monotonic()
        kill(scene.feed.pid, signal.SIGTERM)
        assert scene.feed.process is not None
        assert scene.feed.process.wait(10) == 0
        assert time.monotonic() - begun_s < STOP_S
        assert [pid for pid in family if alive(pid)] == []
        code, _, err = restarting.end()
        assert (code, err.splitlines()[-1]) == (1, "Error: linear was not restarted: the feed is being stopped")
        wait_until(lambda: ear.states(BOOK)[-1:] == [wire.ENDED], "ended")
        assert ear.statuses(BOOK)[-1]["reason"] == "the feed was stopped"
    assert set(scene.listing()) == {"epoch"}


@pytest.mark.parametrize("phase", ["before", "both"])
def test_supervisor_killed_amid_a_restart_takes_both_processes_along(scene: Scene, phase: str) -> None:
    """Inject kill -9 → every process ends; the command says so; the next start finds nothing in its way."""
    with Restarting(scene.feed) as restarting:
        if phase == "before":
            scene.holding()
            scene.wait_words("0 of 2 topics live at its successor")
        else:
            scene.wait_overlap()
        family = [process.pid for process in scene.feed.family()]
        kill(scene.feed.pid)
        wait_until(lambda: not any(map(alive, family)), "their end", STOP_S)
        code, _, err = restarting.end()
        assert (code, "it is gone, or paused" in err) == (1, True), err
    assert scene.feed.process is not None
    scene.feed.process.wait()
    scene.venue.fault("off")
    scene.feed.start()
    scene.feed.wait_live("linear")
    assert [name for name in scene.listing() if name.startswith(".")] == []
    assert (scene.worker().restarts, scene.generation) == (0, 0)
