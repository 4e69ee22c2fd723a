"""One worker as the supervisor knows it: its silence judged, its ends counted, its restarts planned."""

import logging
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.child import Process

from feedhandler import control, wire
from feedhandler.config.model import Connection, SecretSource, WorkerPlan
from feedhandler.supervisor import worker as module
from feedhandler.supervisor.worker import HUNG_AFTER_S, KILL_AFTER_S, START_PATIENCE_S, Worker

BOOK, TRADES = "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"
ASSIGNED_NS = 1_700_000_000_000_000_000


class Watch:
    """A worker, its stand-in process, and the clock."""

    def __init__(self, directory: Path) -> None:
        self.plan = WorkerPlan(
            worker="linear", endpoint="linear", product="linear", network="mainnet",
            url="ws://127.0.0.1:1/", simulated=False, topics=[BOOK], publish=[f"ipc://{directory}/linear.pub"],
            runtime_directory=str(directory), cpu=[], connection=Connection(), send_high_water_mark=10,
            quiet_status_s=10, log_level="info", log_format="text",
        )  # fmt: skip
        self.worker = Worker(self.plan, logging.getLogger("feedhandler.test"))
        self.process: Process = self.worker._child  # type: ignore[assignment]  # put there in its place
        self.now_s = 100.0
        self.worker.start(self.now_s)

    def wait(self, seconds: float, *, running: bool = True) -> None:
        """Look every 0.1 s; ``running`` is False where the supervisor itself stood still."""
        if not running:
            self.now_s += seconds
            self.worker.look(self.now_s, 0.2)
            return
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            self.worker.look(self.now_s, 0.1)

    def beat(
        self,
        states: dict[str, tuple[str, str]] | None = None,
        *,
        counts: dict[str, int] | None = None,
        known_ns: int | None = None,
        blind: dict[str, int] | None = None,
    ) -> None:
        numbers = {field.name: 0 for field in msgspec.structs.fields(wire.Heartbeat) if field.type in (int, float)}
        facts: dict[str, Any] = numbers | {
            "worker": "linear", "network": "mainnet", "state": "live", "topics": {"live": 1} if counts is None else counts,
            "time_ns": round(self.now_s * 1e9),
        }  # fmt: skip
        heartbeat = msgspec.convert(facts, wire.Heartbeat)
        beat = control.Beat(
            worker="linear", pid=self.process.pid or 0, heartbeat=heartbeat, states=states or {}, lines=[],
            known_ns=round(self.now_s * 1e9) if known_ns is None else known_ns, blind_from_ns=blind or {},
        )  # fmt: skip
        self.worker.heard(beat, self.now_s)


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(module, "Child", Process)
    return Watch(tmp_path)


def test_start_hands_over_the_plan_in_one_line(watch: Watch) -> None:
    """What the worker reads is what the supervisor meant."""
    (line,) = watch.process.messages
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert msgspec.json.decode(line, type=WorkerPlan) == watch.plan
    assert watch.process.command[1:] == ["-m", "feedhandler.worker"]
    assert watch.worker.state == "starting"


def test_worker_gets_its_own_secrets_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the variables that hold secrets all are withheld but those in which its own are."""
    monkeypatch.setattr(module, "Child", Process)
    public = Watch(tmp_path).plan
    replace = msgspec.structs.replace
    mine = replace(public, api_key=SecretSource(env="MY_KEY"), api_secret=SecretSource(env="MY_SECRET"))
    yours = replace(public, api_key=SecretSource(env="YOUR_KEY"), api_secret=SecretSource(file="/x"))
    secrets = frozenset().union(*map(module.secrets_of, (public, mine, yours)))
    assert secrets == {"MY_KEY", "MY_SECRET", "YOUR_KEY"}
    workers = [Worker(plan, logging.getLogger("feedhandler.test"), secrets) for plan in (public, mine, yours)]
    processes: list[Process] = [worker._child for worker in workers]  # type: ignore[misc]  # put there in their place
    assert [process.withheld for process in processes] == [secrets, {"YOUR_KEY"}, {"MY_KEY", "MY_SECRET"}]


def test_hello_is_answered_with_topics_and_epoch(watch: Watch) -> None:
    """A worker that nobody came before knows of no hole."""
    assert watch.worker.assign([b"id"], 7, ASSIGNED_NS) == control.Assign(epoch=7, topics=[BOOK], blind_from_ns={})
    assert (watch.worker.state, watch.worker.way_back, watch.worker.epoch) == ("running", [b"id"], 7)


def test_successor_is_told_up_to_when_nothing_was_missing(watch: Watch) -> None:
    """The hole begins where the last beat of the one before said, not with that beat."""
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    last_ns = round(watch.now_s * 1e9) - 25 * 10**9
    watch.beat(known_ns=last_ns)
    watch.wait(0.5)
    watch.process.end(-9)
    watch.wait(0.1)
    assert watch.worker.assign([b"id"], 8, ASSIGNED_NS) == control.Assign(
        epoch=8, topics=[BOOK], blind_from_ns={BOOK: last_ns}
    )


def test_successor_of_a_worker_that_was_never_heard_is_told_since_when_topics_were_assigned(watch: Watch) -> None:
    """It may have told strategies that they are live, and died within its first second."""
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.process.end(-9)
    assert watch.worker.assign([b"id"], 8, ASSIGNED_NS + 9).blind_from_ns == {BOOK: ASSIGNED_NS}


def test_topic_that_was_blind_stays_so_and_holds_no_other_back(watch: Watch) -> None:
    """Its hole is older than the beat; the hole of a live topic begins with what the last beat knew."""
    watch.worker.plan.topics.append(TRADES)
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    for _ in range(3):
        watch.wait(1)
        watch.beat(counts={"live": 1, "resyncing": 1}, known_ns=round(watch.now_s), blind={BOOK: 5})
    holes = watch.worker.assign([b"id"], 8, ASSIGNED_NS).blind_from_ns
    assert holes == {BOOK: 5, TRADES: round(watch.now_s)}


def test_hole_stays_until_the_successor_is_heard(watch: Watch) -> None:
    """One that dies before its first beat has mended nothing."""
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.beat(known_ns=9, blind={BOOK: 5})
    for epoch in (8, 9):
        assert watch.worker.assign([b"id"], epoch, ASSIGNED_NS).blind_from_ns == {BOOK: 5}
    watch.beat(known_ns=12)
    assert watch.worker.assign([b"id"], 10, ASSIGNED_NS).blind_from_ns == {BOOK: 12}


def test_beat_of_a_worker_without_topics_knows_nothing_of_them(watch: Watch) -> None:
    """Not of one that has released them all at its end, or has none yet."""
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.beat(known_ns=9, blind={BOOK: 5})
    watch.beat(counts={}, known_ns=99)
    assert watch.worker.assign([b"id"], 8, ASSIGNED_NS).blind_from_ns == {BOOK: 5}


def test_beats_tell_topics_and_keep_it_alive(watch: Watch) -> None:
    """States are those that changed; silence starts over with each beat."""
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.beat({BOOK: ("live", "")})
    for _ in range(20):
        watch.wait(1)
        watch.beat()
    assert watch.worker.topics == {BOOK: ("live", "")}
    assert watch.worker.state == "running"
    assert watch.process.signals == []


# Silence.


def test_silent_worker_is_asked_where_it_hangs_and_then_killed(watch: Watch) -> None:
    """A stack dump first, the kill after it; then it is restarted as after any end."""
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.wait(HUNG_AFTER_S - 0.2)
    assert watch.process.signals == []
    watch.wait(0.4)
    assert (watch.worker.state, watch.process.signals) == ("hung", [signal.SIGABRT])
    watch.wait(KILL_AFTER_S - 0.2)
    assert watch.process.signals == [signal.SIGABRT]
    watch.wait(1)
    assert watch.process.signals == [signal.SIGABRT, signal.SIGKILL]
    watch.process.end(-9)
    assert (watch.worker.state, watch.worker.last_exit) == ("parked", "killed by SIGKILL")
    watch.wait(0.1)
    assert watch.worker.state == "starting"


def test_starting_worker_has_more_patience(watch: Watch) -> None:
    """Imports on a busy machine take their time."""
    watch.wait(START_PATIENCE_S - 0.2)
    assert watch.worker.state == "starting"
    watch.wait(0.4)
    assert watch.worker.state == "hung"


def test_our_own_pause_is_nobodys_silence(watch: Watch) -> None:
    """Only the time in which the supervisor ran counts against a worker."""
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.wait(3600, running=False)
    assert (watch.worker.state, watch.process.signals) == ("running", [])


# Ends.


@pytest.mark.parametrize(("exit_code", "words"), [(1, "exit 1"), (0, "exit 0"), (-11, "killed by SIGSEGV")])
def test_worker_that_ended_by_itself_is_restarted_at_once(
    exit_code: int, words: str, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever its exit code, unless it says that it could not start."""
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.process.end(exit_code)
    assert (watch.worker.state, watch.worker.last_exit, watch.worker.way_back) == ("parked", words, [])
    assert f"worker linear ended ({words}); again at once" in caplog.text
    watch.wait(0.1)
    assert (watch.worker.state, watch.worker.restarts, len(watch.process.messages)) == ("starting", 1, 2)


def test_crash_loop_is_parked_with_growing_delays(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """At once, then half a second, a second, two …"""
    pauses = []
    for _ in range(6):
        watch.process.end(1)
        ended_s = watch.now_s
        while watch.worker.state == "parked":
            watch.wait(0.1)
        pauses.append(watch.now_s - ended_s)
    assert pauses == pytest.approx([0.1, 0.5, 1, 2, 4, 8], abs=0.11)
    assert "again in 8 s" in caplog.text
    assert watch.worker.restarts == 6


def test_worker_that_could_not_start_stays_parked_with_its_last_word(
    watch: Watch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Exit code 3: starting it again would change nothing; the reason is shown once, and its file is gone."""
    (tmp_path / "linear.error").write_text("cannot bind ipc:///x: process 7 publishes there")
    watch.process.end(3)
    watch.wait(120)
    assert (watch.worker.state, watch.worker.restart_s, watch.worker.restarts) == ("parked", None, 0)
    assert watch.worker.last_exit == "exit 3: cannot bind ipc:///x: process 7 publishes there"
    assert "could not start (exit 3: cannot bind" in caplog.text
    assert list(tmp_path.iterdir()) == []


# Stopping.


def test_stop_asks_once_and_does_not_restart(watch: Watch) -> None:
    """In order; what it says on the way out is its exit code."""
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.worker.stop()
    watch.worker.stop()
    assert (watch.worker.state, watch.process.signals) == ("stopping", [signal.SIGTERM])
    watch.wait(60)
    assert watch.process.signals == [signal.SIGTERM]
    watch.process.end(0)
    watch.wait(60)
    assert (watch.worker.state, watch.worker.last_exit, len(watch.process.messages)) == ("stopped", "exit 0", 1)


def test_stop_while_it_waits_for_its_restart_cancels_that(watch: Watch) -> None:
    """A parked worker is stopped at once."""
    watch.process.end(1)
    watch.worker.stop()
    watch.wait(60)
    assert (watch.worker.state, len(watch.process.messages)) == ("stopped", 1)


def test_status_tells_all_of_it(watch: Watch) -> None:
    """What `feedhandler status` shows, before and after its first beat."""
    assert watch.worker.status(watch.now_s).beat_age_s is None
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.beat({BOOK: ("live", "")})
    told = watch.worker.status(watch.now_s + 2)
    pid = watch.process.pid
    assert (told.worker, told.state, told.pid, told.epoch, told.restarts) == ("linear", "running", pid, 7, 0)
    assert (told.restart, watch.worker.status(watch.now_s, "handing over").restart) == ("", "handing over")
    assert told.beat_age_s == pytest.approx(2)
    assert told.topics == {BOOK: ("live", "")}
    assert told.heartbeat is not None
    assert (told.url, told.publish, told.network) == (watch.plan.url, watch.plan.publish, "mainnet")


# Another process of the same worker.


def test_successor_is_started_beside_the_one_that_has_the_addresses(watch: Watch) -> None:
    """Its plan says so, the first time; it has none of its addresses until it says which."""
    watch.process.end(0)
    worker = watch.worker
    worker.takes_over = True
    worker.start(watch.now_s)
    assert msgspec.json.decode(watch.process.messages[-1], type=WorkerPlan) == msgspec.structs.replace(
        watch.plan, takes_over=True
    )
    worker.assign([b"id"], 7, ASSIGNED_NS)
    assert (worker.unbound, worker.has_paths) == (None, False)
    worker.unbound = [*watch.plan.publish, "tcp://127.0.0.1:5600"]
    assert not worker.has_paths
    worker.unbound = ["tcp://127.0.0.1:5600", "ipc://@abstract"]
    assert worker.has_paths


def test_worker_that_says_hello_has_its_addresses(watch: Watch) -> None:
    """It binds them first of all."""
    assert not watch.worker.has_paths
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    assert (watch.worker.unbound, watch.worker.has_paths) == ([], True)
    watch.process.end(-9)
    watch.wait(0.1)
    assert watch.worker.unbound is None


def test_process_that_gave_way_is_not_started_again(watch: Watch, tmp_path: Path) -> None:
    """However it ends; its last word is kept."""
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.worker.give_way()
    assert watch.worker.state == "running"
    (tmp_path / "linear.error").write_text("a bug")
    watch.process.end(1)
    watch.wait(120)
    told = watch.worker.state, watch.worker.last_exit, watch.worker.exit_code, len(watch.process.messages)
    assert told == ("stopped", "exit 1: a bug", 1, 1)


def test_process_that_is_gone_gives_way_at_once(watch: Watch) -> None:
    """Its restart is cancelled."""
    watch.process.end(1)
    watch.worker.give_way()
    watch.wait(120)
    assert (watch.worker.state, len(watch.process.messages)) == ("stopped", 1)


@pytest.mark.parametrize("is_mended", [True, False])
def test_process_that_cannot_be_started_is_tried_again_if_it_is_the_workers(watch: Watch, is_mended: bool) -> None:
    """The machine is short of something that passes."""
    watch.process.end(1)
    watch.worker.is_mended = is_mended
    watch.process.refusal = OSError(11, "Resource temporarily unavailable")
    watch.worker.start(watch.now_s)
    assert watch.worker.last_exit == "could not be started: Resource temporarily unavailable"
    assert watch.worker.state == ("parked" if is_mended else "stopped")
    watch.process.refusal = None
    watch.wait(2)
    assert watch.worker.state == ("starting" if is_mended else "stopped")


def test_parked_worker_is_started_at_once_when_told_to(watch: Watch) -> None:
    """Also one that said it could not start; its failures are forgotten."""
    for _ in range(4):
        watch.process.end(1)
        watch.wait(5)
    watch.process.end(3)
    assert watch.worker.is_given_up
    watch.worker.restart_now(watch.now_s)
    assert not watch.worker.is_given_up
    watch.wait(0.1)
    assert watch.worker.state == "starting"
    watch.process.end(1)
    watch.wait(0.1)
    assert watch.worker.state == "starting", "at once, as after a first failure"


def test_hung_worker_is_killed_and_started_when_told_to(watch: Watch) -> None:
    """Nobody waits for its stack dump."""
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.wait(HUNG_AFTER_S + 0.2)
    watch.worker.restart_now(watch.now_s)
    assert watch.process.signals == [signal.SIGABRT, signal.SIGKILL]
    watch.process.end(-9)
    watch.wait(0.1)
    assert watch.worker.state == "starting"


def test_holes_are_those_that_a_successor_would_be_told(watch: Watch) -> None:
    """None of one that carried nothing yet."""
    assert watch.worker.holes() == {}
    watch.worker.assign([b"id"], 7, ASSIGNED_NS)
    watch.beat(known_ns=9, blind={BOOK: 5})
    assert watch.worker.holes() == {BOOK: 5}
