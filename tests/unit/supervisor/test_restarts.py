"""Restarts by command: what is done to real workers' stand-ins, and what is said to whom."""

import logging
import signal
from pathlib import Path

import msgspec
import pytest
from support.child import Process

from feedhandler import control
from feedhandler.config.model import Connection, WorkerPlan
from feedhandler.supervisor import worker as module
from feedhandler.supervisor.restarts import Restarts
from feedhandler.supervisor.succession import OVERLAP_S, READY_S, RETIRE_S
from feedhandler.supervisor.worker import HUNG_AFTER_S, Worker

BOOK = "orderbook.50.BTCUSDT"
NOW_NS = 1_700_000_000_000_000_000
ASKER = [b"asker"]
LOGGER = logging.getLogger("feedhandler.test")


class Scene:
    """A supervisor's workers, what was sent, and the clock."""

    def __init__(self, directory: Path, *names: str, tcp: bool = False) -> None:
        self.sent: list[tuple[bytes, msgspec.Struct]] = []
        self.directories: list[int] = []
        """Generations of the first worker, as written down."""
        self.disk_is_full = False
        self.now_s = 100.0
        self.epoch = 7
        self.name = names[0]
        self.workers: dict[str, Worker] = {}
        for name in names:
            plan = WorkerPlan(
                worker=name, endpoint=name, product="linear", network="mainnet", url="ws://127.0.0.1:1/",
                simulated=False, topics=[BOOK], runtime_directory=str(directory), cpu=[], connection=Connection(),
                publish=[f"tcp://127.0.0.1:{5600 + len(self.workers)}" if tcp else f"ipc://{directory}/{name}.pub"],
                send_high_water_mark=10, quiet_status_s=10, log_level="info", log_format="text",
            )  # fmt: skip
            self.workers[name] = Worker(plan, LOGGER)
        self.restarts = Restarts(
            self.workers,
            another=lambda worker: Worker(worker.plan, LOGGER),
            send=lambda way_back, message: self.sent.append((way_back[0], message)),
            publish_directory=self._publish,
            logger=LOGGER,
        )
        for worker in self.workers.values():
            worker.start(self.now_s)
            self.hello(worker, b"old")

    def _publish(self) -> None:
        if self.disk_is_full:
            raise OSError(28, "No space left on device")
        self.directories.append(self.workers[self.name].generation)

    @property
    def worker(self) -> Worker:
        """The worker, whichever process it is."""
        return self.workers[self.name]

    @property
    def second(self) -> Worker:
        """The process beside it."""
        (second,) = self.restarts.processes
        return second

    def hello(self, worker: Worker, identity: bytes) -> None:
        """Have a process say hello; its topics are live at once."""
        self.epoch += 1
        worker.assign([identity], self.epoch, NOW_NS)
        worker.topics = {BOOK: ("live", "")}

    def ask(self, name: str = "", asker: bytes = b"asker") -> list[msgspec.Struct]:
        """Ask for a restart; return what is answered at once."""
        self.restarts.ask([asker], name or self.name, self.now_s)
        return self.told(asker)

    def told(self, to: bytes) -> list[msgspec.Struct]:
        """Return, once, what somebody was told."""
        told = [message for way_back, message in self.sent if way_back == to]
        self.sent = [one for one in self.sent if one[0] != to]
        return told

    def wait(self, seconds: float) -> None:
        """Let time go by, the processes beating."""
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            self.restarts.tick(self.now_s, 0.0)
            for worker in self.workers.values():
                worker.look(self.now_s, 0.0)

    def bind(self, *unbound: str) -> None:
        """Have the new process say what it could not bind yet."""
        self.worker.unbound = list(unbound)

    def to_overlap(self) -> tuple[Worker, Worker]:
        """Restart the worker up to where both publish; return the process before and the new one."""
        old = self.worker
        self.ask()
        new = self.second
        self.hello(new, b"new")
        self.wait(0.1)
        self.bind()
        self.wait(0.1)
        return old, new


def process(worker: Worker) -> Process:
    """Return a worker's stand-in process."""
    found: Process = worker._child  # type: ignore[assignment]  # put there in its place
    return found


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Child", Process)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path, "linear", "spot")


def test_restart_from_its_begin_to_its_end(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Who is told what, in which order; the successor is the worker as soon as it gets the addresses."""
    caplog.set_level(logging.INFO)
    old = scene.worker
    pid = old.pid
    assert scene.ask() == [control.Progress(text="starting its successor")]
    new = scene.second
    assert msgspec.json.decode(process(new).messages[0], type=WorkerPlan).takes_over
    assert scene.restarts.words("linear") == "starting its successor"
    assert scene.restarts.words("spot") == ""
    scene.hello(new, b"new")
    new.topics = {}
    scene.wait(0.1)
    assert scene.told(b"asker") == [control.Progress(text="0 of 1 topics live at its successor")]
    assert scene.worker is old
    new.topics = {BOOK: ("live", "")}
    scene.wait(0.1)
    assert (scene.worker, scene.second) == (new, old)
    assert (scene.told(b"old"), scene.told(b"new")) == ([control.Yield()], [control.Bind()])
    assert (new.restarts, new.last_exit, new.generation) == (1, "restarted by command", 0)
    assert list(scene.workers) == ["linear", "spot"]
    scene.bind()
    scene.wait(0.1)
    assert (scene.directories, new.generation) == ([1], 1)
    scene.wait(OVERLAP_S - 0.2)
    assert scene.told(b"old") == []
    scene.wait(0.3)
    assert scene.told(b"old") == [control.Retire()]
    process(old).end(0)
    scene.wait(0.1)
    assert scene.told(b"new") == [control.Bind(alone=True)]
    done = scene.told(b"asker")[-1]
    assert isinstance(done, control.Restarted)
    assert (done.worker, done.old_pid, done.pid, done.remark) == ("linear", pid, new.pid, "")
    assert (done.topics, done.live) == (1, 1)
    assert done.took_s == pytest.approx(OVERLAP_S + 0.6, abs=0.25)
    assert scene.restarts.processes == []
    assert [record.message for record in caplog.records if record.name == LOGGER.name] == [
        f"linear: restart by command: process {new.pid} starts beside it",
        f"linear: process {pid} hands over to process {new.pid}",
        f"linear: who connects now reaches process {new.pid}",
        f"linear: process {pid} is ended",
        f"linear restarted: process {pid} -> {new.pid}, 1 of 1 topics live, {done.took_s:.1f} s",
    ]


def test_who_asked_hears_once_a_second_that_it_goes_on(scene: Scene) -> None:
    """Silence would mean that the supervisor is gone."""
    scene.ask()
    scene.wait(3.05)
    assert scene.told(b"asker") == [control.Progress(text="starting its successor")] * 2


def test_next_restart_counts_on(scene: Scene) -> None:
    """Generation and restarts."""
    for number in (1, 2):
        old, new = scene.to_overlap()
        scene.wait(OVERLAP_S + 0.2)
        process(old).end(0)
        scene.wait(0.1)
        assert (scene.worker.generation, scene.worker.restarts) == (number, number)
        assert scene.worker is new
    assert scene.directories == [1, 2]


def test_tcp_address_changes_hands_when_the_old_process_has_ended(tmp_path: Path) -> None:
    """Nobody can be connected to both: there is no generation to tell, and nothing to wait for."""
    scene = Scene(tmp_path, "linear", tcp=True)
    old = scene.worker
    scene.ask()
    scene.hello(scene.second, b"new")
    scene.wait(0.1)
    scene.bind("tcp://127.0.0.1:5600")
    scene.wait(0.1)
    assert scene.told(b"old") == [control.Yield(), control.Retire()]
    assert (scene.directories, scene.worker.generation) == ([], 0)
    process(old).end(0)
    scene.wait(0.5)
    assert isinstance(scene.told(b"asker")[-1], control.Progress)
    scene.bind()
    scene.wait(0.1)
    assert isinstance(scene.told(b"asker")[-1], control.Restarted)


# Refused.


def test_unknown_worker_is_refused_with_those_there_are(scene: Scene, tmp_path: Path) -> None:
    """The nearest first; what is asked for makes no sense here."""
    assert scene.ask("spto") == [control.Refused(text="there is no worker spto; there are spot, linear", exit_code=2)]
    assert Scene(tmp_path, "linear").ask("spot") == [
        control.Refused(text="there is no worker spot; there is linear", exit_code=2)
    ]


def test_second_restart_of_the_same_worker_is_refused(scene: Scene) -> None:
    """The first goes on; that of another worker is its own affair."""
    scene.ask()
    refusal = control.Refused(text="linear is being restarted already: starting its successor")
    assert scene.ask(asker=b"other") == [refusal]
    assert scene.ask("spot", asker=b"other") == [control.Progress(text="starting its successor")]
    assert len(scene.restarts.processes) == 2


def test_worker_that_is_being_stopped_is_not_restarted(scene: Scene) -> None:
    """The feed ends."""
    scene.worker.stop()
    assert scene.ask() == [control.Refused(text="linear is being stopped")]


# Given up.


def test_successor_that_does_not_get_there_is_ended_and_nobody_has_seen_it(scene: Scene) -> None:
    """The worker is the same; the successor is killed where it does not end."""
    old = scene.worker
    scene.ask()
    new = scene.second
    scene.hello(new, b"new")
    new.topics = {BOOK: ("down", "refused")}
    scene.wait(READY_S + 0.2)
    assert scene.told(b"asker")[-1] == control.Refused(
        text=f"linear was not restarted: not live at its successor within 30 s: {BOOK} (down); process {old.pid} goes on"
    )
    assert (scene.worker, scene.told(b"old"), scene.told(b"new")) == (old, [], [])
    assert process(new).signals == [signal.SIGTERM]
    assert scene.restarts.processes == [new]
    scene.wait(RETIRE_S + 0.2)
    assert process(new).signals[1] == signal.SIGKILL
    process(new).end(-9)
    scene.wait(0.1)
    assert scene.restarts.processes == []
    assert isinstance(scene.ask()[0], control.Progress), "it may be tried again"


def test_successor_that_ends_too_early_is_said_why(scene: Scene) -> None:
    """With its last exit."""
    old = scene.worker
    scene.ask()
    process(scene.second).end(3)
    scene.wait(0.1)
    text = f"linear was not restarted: its successor ended (exit 3); process {old.pid} goes on"
    assert scene.told(b"asker") == [control.Refused(text=text)]
    assert (scene.worker, old.restarts, old.state) == (old, 0, "running")


def test_successor_that_cannot_be_started_is_said_why(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is short of something."""

    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(Process, "start", refuse)
    scene.ask()
    scene.wait(0.1)
    (refusal,) = scene.told(b"asker")
    assert isinstance(refusal, control.Refused)
    assert "its successor ended (could not be started: Cannot allocate memory); process" in refusal.text


def test_successor_that_hangs_is_ended(scene: Scene) -> None:
    """As any process that hangs."""
    scene.ask()
    scene.hello(scene.second, b"new")
    scene.second.topics = {}
    scene.restarts.tick(scene.now_s, HUNG_AFTER_S + 0.1)
    assert process(scene.second).signals == [signal.SIGABRT]


# The old process ends by itself.


def test_worker_that_ends_before_its_successor_is_there_is_restarted_as_ever(scene: Scene) -> None:
    """The successor is ended: one that starts anew knows since when it was blind."""
    old = scene.worker
    scene.ask()
    new = scene.second
    process(old).end(-9)
    scene.wait(0.1)
    assert scene.told(b"asker") == [
        control.Refused(
            text="linear was not restarted: it ended by itself before its successor was there; "
            "it is started again as after any end"
        )
    ]
    assert process(new).signals == [signal.SIGTERM]
    assert (scene.worker, old.state, old.restarts) == (old, "starting", 1)


def test_successor_that_is_there_takes_the_place_of_a_worker_that_ends(scene: Scene) -> None:
    """At once; it is told since when those who come over may be missing something."""
    old = scene.worker
    scene.ask()
    new = scene.second
    scene.hello(new, b"new")
    new.topics = {}
    process(old).end(-9)
    scene.wait(0.1)
    assert scene.worker is new
    assert scene.told(b"new") == [control.Bind(alone=True, blind_from_ns={BOOK: NOW_NS})]
    assert (new.restarts, new.generation, new.last_exit) == (1, 0, "killed by SIGKILL")
    new.topics = {BOOK: ("live", "")}
    scene.bind()
    scene.wait(0.1)
    done = scene.told(b"asker")[-1]
    assert isinstance(done, control.Restarted)
    assert done.remark == f"process {done.old_pid} did not end in order (killed by SIGKILL): strategies were told"
    assert (old.state, scene.directories) == ("stopped", [])


def test_worker_that_ends_while_both_publish_is_a_hole_for_those_it_had(scene: Scene) -> None:
    """The successor is told."""
    old, _ = scene.to_overlap()
    scene.told(b"new")
    process(old).end(-11)
    scene.wait(0.1)
    assert scene.told(b"new") == [control.Bind(alone=True, blind_from_ns={BOOK: NOW_NS})]
    done = scene.told(b"asker")[-1]
    assert isinstance(done, control.Restarted)
    assert "killed by SIGSEGV" in done.remark


def test_old_process_that_does_not_end_is_killed(scene: Scene) -> None:
    """And what it did not say is a hole."""
    old, _ = scene.to_overlap()
    scene.wait(OVERLAP_S + 0.2)
    scene.told(b"new")
    scene.wait(RETIRE_S + 0.2)
    assert process(old).signals == [signal.SIGKILL]
    process(old).end(-9)
    scene.wait(0.1)
    assert scene.told(b"new") == [control.Bind(alone=True, blind_from_ns={BOOK: NOW_NS})]


# The successor ends after it has become the worker.


def test_successor_that_ends_is_started_again_while_the_old_process_goes_on(scene: Scene) -> None:
    """It binds by itself then; the old process ends only when the new one is as good."""
    old, new = scene.to_overlap()
    scene.told(b"asker")
    process(new).end(-9)
    scene.wait(0.2)
    assert scene.told(b"asker")[-1] == control.Progress(
        text="its successor ended, and is started again; the old process goes on"
    )
    assert not msgspec.json.decode(process(new).messages[1], type=WorkerPlan).takes_over
    scene.wait(10)
    assert (scene.told(b"old"), old.state) == ([control.Yield()], "running")
    scene.hello(new, b"newer")
    scene.wait(OVERLAP_S + 0.2)
    assert scene.told(b"old") == [control.Retire()]
    process(old).end(0)
    scene.wait(0.1)
    assert scene.told(b"newer") == [control.Bind(alone=True)]
    done = scene.told(b"asker")[-1]
    assert isinstance(done, control.Restarted)
    assert (done.pid, done.remark, scene.directories) == (new.pid, "", [1])


def test_old_process_may_end_while_the_next_successor_starts(scene: Scene) -> None:
    """Who says hello later is told of the hole then."""
    old, new = scene.to_overlap()
    process(new).end(-9)
    scene.wait(0.2)
    process(old).end(-9)
    scene.wait(0.2)
    assert scene.told(b"asker")[-1] == control.Progress(text="starting")
    scene.hello(new, b"newer")
    scene.wait(0.1)
    assert scene.told(b"newer") == []
    assert isinstance(scene.told(b"asker")[-1], control.Restarted)


def test_successor_that_cannot_start_is_said_once_and_the_next_restart_tries_again(scene: Scene) -> None:
    """The old process goes on for those it has; it is no longer the worker, which is parked."""
    old, new = scene.to_overlap()
    scene.told(b"asker")
    process(new).end(3)
    scene.wait(5)
    text = "linear was not restarted: its successor could not start (exit 3); the old process goes on"
    assert scene.told(b"asker") == [control.Refused(text=text)]
    assert (scene.worker.is_given_up, old.state) == (True, "running")
    assert scene.ask()[-1] == control.Progress(
        text="its successor ended, and is started again; the old process goes on"
    )
    scene.wait(0.1)
    scene.hello(new, b"newer")
    scene.wait(OVERLAP_S + 0.2)
    process(old).end(0)
    scene.wait(0.1)
    assert isinstance(scene.told(b"asker")[-1], control.Restarted)


def test_directory_that_cannot_be_written_is_said(scene: Scene) -> None:
    """Subscribers follow when the old process ends, as they do after a crash."""
    scene.disk_is_full = True
    old, _ = scene.to_overlap()
    scene.wait(OVERLAP_S + 0.2)
    process(old).end(0)
    scene.wait(0.1)
    done = scene.told(b"asker")[-1]
    assert isinstance(done, control.Restarted)
    assert done.remark == "feed.json cannot be written (No space left on device): subscribers come later"


# Nobody to succeed.


def test_parked_worker_is_started_at_once(scene: Scene) -> None:
    """There is nobody who could go on meanwhile."""
    worker = scene.worker
    process(worker).end(3)
    assert scene.ask() == [control.Progress(text="starting")]
    assert scene.restarts.processes == []
    scene.wait(0.1)
    scene.hello(worker, b"new")
    scene.wait(0.1)
    done = scene.told(b"asker")[-1]
    assert isinstance(done, control.Restarted)
    assert (done.old_pid, done.pid, done.live) == (None, worker.pid, 1)


def test_parked_worker_that_cannot_start_now_either_is_said_why(scene: Scene) -> None:
    """It stays parked."""
    process(scene.worker).end(3)
    scene.ask()
    scene.wait(0.1)
    process(scene.worker).end(3)
    scene.wait(0.1)
    assert scene.told(b"asker") == [control.Refused(text="linear was not restarted: it could not start (exit 3)")]


def test_hung_worker_is_killed_and_started(scene: Scene) -> None:
    """What it once said is not taken for the new process' word."""
    worker = scene.worker
    pid = worker.pid
    worker.look(scene.now_s, HUNG_AFTER_S + 0.1)
    scene.ask()
    scene.wait(0.3)
    assert process(worker).signals == [signal.SIGABRT, signal.SIGKILL]
    process(worker).end(-9)
    scene.wait(0.2)
    assert scene.told(b"asker") == []
    scene.hello(worker, b"new")
    scene.wait(0.1)
    done = scene.told(b"asker")[-1]
    assert isinstance(done, control.Restarted)
    assert (done.old_pid, done.pid) == (pid, worker.pid)


# The feed is stopped.


@pytest.mark.parametrize("handed_over", [False, True])
def test_stop_ends_both_processes_and_tells_who_waits(scene: Scene, handed_over: bool) -> None:
    """Neither is started again."""
    old = scene.worker
    if handed_over:
        scene.to_overlap()
    else:
        scene.ask()
    second = scene.second
    scene.restarts.stop(scene.now_s)
    assert second is (old if handed_over else second)
    assert process(second).signals == [signal.SIGTERM]
    assert scene.told(b"asker")[-1] == control.Refused(text="linear was not restarted: the feed is being stopped")
    process(second).end(0)
    scene.wait(5)
    assert (scene.restarts.processes, second.state, len(process(second).messages)) == ([], "stopped", 1)


def test_successor_that_cannot_start_when_the_old_process_is_ending_already_is_said(scene: Scene) -> None:
    """Nobody goes on then."""
    old, new = scene.to_overlap()
    scene.wait(OVERLAP_S + 0.2)
    process(new).end(3)
    scene.wait(0.2)
    process(old).end(0)
    scene.wait(0.1)
    assert scene.told(b"asker")[-1] == control.Refused(text="linear was not restarted: it could not start (exit 3)")
