"""``feedhandler run`` as a user meets it: start, Ctrl-C, kill -9, two at once, workers that die or hang."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from support.feed import Ear, Feed, alive, breaks, is_data, kill, wait_until

from feedhandler import wire

CONFIG = """
network = "sim"
[endpoints.linear]
product = "linear"
symbols = ["BTCUSDT", "ETHUSDT"]
streams = ["orderbook.50", "publicTrade", "tickers"]
[endpoints.spot]
product = "spot"
symbols = ["BTCUSDT"]
streams = ["orderbook.50", "publicTrade", "tickers"]
"""
REFERENCE = Path(__file__).parents[2] / "deploy" / "config.toml"


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    """A feed of two endpoints on the simulated Bybit, running."""
    with Feed(tmp_path, CONFIG) as running:
        yield running


def test_reference_configuration_shows_books_trades_and_tickers_within_5_s(tmp_path: Path) -> None:
    """Five seconds after the start of the reference configuration a plain SUB has had each kind of data."""
    wanted = (
        "linear.orderbook.50.BTCUSDT",
        "linear.publicTrade.BTCUSDT",
        "linear.tickers.BTCUSDT",
        "spot.orderbook.50.BTCUSDT",
    )
    feed = Feed(tmp_path, REFERENCE.read_text())
    with Ear([feed.address("linear"), feed.address("spot")]) as ear, feed:
        ear.wait_for(lambda: all(ear.data(subject) for subject in wanted), "books, trades and tickers", 5)


def test_tail_prints_live_records_within_5_s_of_the_start(tmp_path: Path) -> None:
    """``tail`` started before the feed shows its records, as JSON with --json, and ends after --count."""
    feed = Feed(tmp_path, CONFIG)
    words = ["tail", "linear.orderbook.50.BTCUSDT", "--json", "--count", "3", "--runtime", str(feed.runtime)]
    tail = subprocess.Popen(
        [sys.executable, "-m", "feedhandler", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with feed:
        out, _ = tail.communicate(timeout=10)
    records = [json.loads(line) for line in out.splitlines()]
    assert tail.returncode == 0
    assert sum(record["kind"] in ("snapshot", "delta") for record in records) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_within_5_s(feed: Feed, number: signal.Signals) -> None:
    """Ctrl-C or SIGTERM: exit 0 within 5 s, every strategy is told, no process, socket or lock left."""
    feed.wait_live("linear")
    family = [process.pid for process in feed.family()]
    assert len(family) == 4  # supervisor, two workers, the simulated Bybit
    with Ear([feed.address("linear")]) as ear:
        ear.wait_for(lambda: ear.records, "a record")
        started_s = time.monotonic()
        kill(feed.pid, number)
        assert feed.process is not None
        assert feed.process.wait(5) == 0
        assert time.monotonic() - started_s < 5
        ear.wait_for(lambda: "ended" in ear.states("linear.publicTrade.BTCUSDT"), "the status ended", 2)
        assert ear.statuses("linear.publicTrade.BTCUSDT")[-1]["reason"] == "the feed was stopped"
    assert not [pid for pid in family if alive(pid)]
    assert sorted(path.name for path in feed.runtime.iterdir()) == ["epoch"]


def test_a_worker_that_is_stopped_alone_does_not_say_that_the_feed_was(feed: Feed) -> None:
    """SIGTERM to one worker: `ended` with the true reason, and its successor carries on."""
    subject = "linear.publicTrade.BTCUSDT"
    pid = feed.wait_live("linear")["pid"]
    with Ear([feed.address("linear")]) as ear:
        ear.wait_for(lambda: ear.records, "a record")
        kill(pid, signal.SIGTERM)
        ear.wait_for(lambda: "ended" in ear.states(subject), "the status ended")
        (ended,) = [one for one in ear.statuses(subject) if one["state"] == "ended"]
        assert ended["reason"] == "the worker was stopped: SIGTERM"
        ear.wait_for(lambda: ear.states(subject)[-1] == "live", "live again")


def test_stop_ends_the_feed(feed: Feed) -> None:
    """``feedhandler stop`` returns when the feed has ended, which exits 0."""
    feed.wait_live("spot")
    done = feed.command("stop")
    assert done.returncode == 0, done.stderr
    assert feed.process is not None
    assert feed.process.wait(1) == 0


def test_no_worker_survives_a_killed_supervisor(feed: Feed) -> None:
    """kill -9 of the supervisor: two seconds later no worker is left, not even one that was stopped."""
    feed.wait_live("linear")
    workers = feed.family()[1:]
    kill(feed.worker("spot")["pid"], signal.SIGSTOP)
    kill(feed.pid)
    wait_until(lambda: not any(alive(process.pid) for process in workers), "all children gone", 2)


def test_after_a_killed_supervisor_the_next_start_finds_nothing_in_its_way(tmp_path: Path) -> None:
    """Stale sockets and locks of a killed feed are replaced, and epochs go on growing."""
    feed = Feed(tmp_path, CONFIG)
    with feed:
        epoch = feed.wait_live("linear")["epoch"]
        children = feed.family()[1:]
        kill(feed.pid)
        wait_until(lambda: not any(alive(process.pid) for process in children), "all children gone", 2)
    with feed:
        assert feed.wait_live("linear")["epoch"] > epoch


def test_a_second_feed_on_the_same_directory_is_refused(feed: Feed) -> None:
    """The second supervisor exits 3 with one line that names the first, which goes on undisturbed."""
    feed.wait_live("linear")
    with Ear([feed.address("linear")]) as ear:
        second = feed.command("run", str(feed.file))
        assert second.returncode == 3
        assert second.stderr.count("\n") == 1
        assert f"process {feed.pid}" in second.stderr
        heard = len(ear.records)
        ear.wait_for(lambda: len(ear.records) > heard + 20, "more records")
        assert not breaks(ear.records)
    assert feed.worker("linear")["restarts"] == 0


def test_a_bad_configuration_starts_nothing(tmp_path: Path) -> None:
    """``run`` with a bad configuration exits 2 with a line a problem, before the runtime directory exists."""
    feed = Feed(tmp_path, CONFIG.replace("orderbook.50", "orderbok.50"))
    done = feed.command("run", str(feed.file))
    assert done.returncode == 2
    assert 'did you mean "orderbook.50"?' in done.stderr
    assert "Traceback" not in done.stderr
    assert not feed.runtime.exists()


def test_a_killed_worker_is_restarted_with_a_new_epoch_and_the_others_do_not_skip(tmp_path: Path) -> None:
    """kill -9 of a worker under load: new epoch, status, snapshot, live again; the other endpoint has no break."""
    subject = "linear.orderbook.50.BTCUSDT"
    feed = Feed(tmp_path, CONFIG)
    with Ear([feed.address("linear"), feed.address("spot")]) as ear, feed:
        first = feed.wait_live("linear")
        feed.wait_live("spot")
        ear.wait_for(lambda: len(ear.data(subject)) > 5, "data")
        kill(first["pid"])
        killed = len(ear.records)

        def again() -> list[wire.Record]:
            records = [
                record for record in ear.records[killed:] if record.subject == subject and record.epoch > first["epoch"]
            ]
            return records if sum(is_data(record) for record in records) > 5 else []

        records = ear.wait_for(again, "data under a new epoch")
        # The subscriber is back some ms after the worker: it may have missed the first words, and get an image instead.
        assert records[0].kind == wire.STATUS
        assert [record.kind for record in records if record.kind <= wire.UPDATE][:2] == [wire.SNAPSHOT, wire.DELTA]
        assert ear.states(subject)[-1] == "live"
        assert feed.worker("linear")["restarts"] == 1
        assert feed.worker("linear")["last_exit"] == "killed by SIGKILL"
        assert feed.worker("spot")["restarts"] == 0
        assert not breaks(ear.records)
        # Trades of the time between are gone: the status says from when to when.
        live = json.loads([r for r in ear.of("linear.publicTrade.BTCUSDT") if r.kind == wire.STATUS][-1].payload)
        assert live["blind_from_ns"] < live["blind_to_ns"]
        assert live["recoverable"] is False
        assert live["lost"] is None


def test_a_hung_worker_is_asked_where_and_replaced(feed: Feed) -> None:
    """A worker stopped by SIGSTOP is noticed after 5 s of silence, killed and started again; the others go on."""
    first = feed.wait_live("linear")
    spot = feed.wait_live("spot")["pid"]
    kill(first["pid"], signal.SIGSTOP)
    wait_until(lambda: not alive(first["pid"]), "the hung worker killed", 12)
    again = feed.wait_live("linear")
    assert again["pid"] != first["pid"]
    assert again["restarts"] == 1
    assert feed.worker("spot")["pid"] == spot
    assert any("hangs" in line["message"] for line in feed.log_lines())


def test_a_paused_supervisor_kills_nobody(feed: Feed) -> None:
    """The supervisor's own pause of 7 s, longer than the silence it allows, costs no worker its life."""
    pids = {name: feed.wait_live(name)["pid"] for name in ("linear", "spot")}
    kill(feed.pid, signal.SIGSTOP)
    with Ear([feed.address("linear")]) as ear:
        paused_s = time.monotonic()
        ear.wait_for(lambda: time.monotonic() - paused_s > 7, "the pause to pass")
        assert not breaks(ear.records)
        assert len(ear.records) > 50
    kill(feed.pid, signal.SIGCONT)
    wait_until(lambda: (feed.worker("linear").get("beat_age_s") or 9) < 2, "beats are heard again")
    assert {name: feed.worker(name)["pid"] for name in pids} == pids
    assert all(feed.worker(name)["restarts"] == 0 for name in pids)


def test_a_worker_that_cannot_bind_stays_parked_and_costs_the_others_nothing(tmp_path: Path) -> None:
    """An address that somebody else publishes on: exit 3, not started in a loop, said in status; the rest runs."""
    taken = tmp_path / "taken.pub"
    with Feed(
        tmp_path / "one", CONFIG.replace('product = "spot"', f'product = "spot"\npublish = ["ipc://{taken}"]')
    ) as one:
        one.wait_live("spot")
        other = Feed(tmp_path / "two", one.file.read_text())
        with other:
            other.wait_live("linear")
            parked = wait_until(
                lambda: other.worker("spot") if other.worker("spot")["state"] == "parked" else None, "parked"
            )
            assert parked["restarts"] == 0
            assert parked["last_exit"].startswith("exit 3: cannot bind")
        assert one.worker("spot")["restarts"] == 0


def test_a_feed_of_which_no_worker_can_start_exits_3(tmp_path: Path) -> None:
    """Where nothing could start there is nothing to wait for."""
    config = f'network = "sim"\n[endpoints.spot]\nproduct = "spot"\ntopics = ["tickers.BTCUSDT"]\npublish = ["ipc://{tmp_path}/taken.pub"]\n'
    with Feed(tmp_path / "one", config) as one:
        one.wait_live("spot")
        with Feed(tmp_path / "two", config) as two:
            assert two.process is not None
            assert two.process.wait(10) == 3


def test_the_runtime_directory_is_the_owners_alone(feed: Feed) -> None:
    """Directory 0700, sockets without rights for others."""
    feed.wait_live("linear")
    assert feed.runtime.stat().st_mode & 0o777 == 0o700
    assert (feed.runtime / "linear.pub").stat().st_mode & 0o007 == 0


def test_commands_without_a_feed_say_so_in_one_line(tmp_path: Path) -> None:
    """``status`` and ``stop`` where nothing runs: one line, exit 1."""
    for word in ("status", "stop"):
        done = Feed(tmp_path, "").command(word)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "no feed runs in" in done.stderr


def test_workers_started_by_hand_explain_themselves() -> None:
    """A worker without a plan on its standard input says so in one line and exits 2."""
    done = subprocess.run(
        [sys.executable, "-m", "feedhandler.worker"], input="", capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_nothing_of_the_feed_listens_beyond_this_machine(feed: Feed) -> None:
    """With ``network = "sim"`` no process has a socket on an address other than loopback."""
    feed.wait_live("linear")
    assert os.getpid() not in [process.pid for process in feed.family()]
    for process in feed.family():
        for connection in psutil.Process(process.pid).net_connections("inet"):
            assert connection.laddr.ip == "127.0.0.1"
