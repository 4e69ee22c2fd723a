"""A worker between a made-up venue and subscribers, each a process of its own; we stand in for the supervisor."""

import contextlib
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec
import zmq

from bench.machine import ROOT, CpuTime, cpu_time, memory_bytes
from bench.market import Shape
from bench.subscriber import Got, Join, Joined, Read
from bench.venue import Order, Pace, Sent, Serving
from feedhandler import control, wire
from feedhandler.config.model import Connection, Publish, WorkerPlan

WORKER: Final = "bench"
EPOCH: Final = 1
START_S: Final = 60.0
"""To be up: the machine may be busy."""
RUN_S: Final = 120.0
END_S: Final = 10.0
WRONG: Final = ("gaps", "duplicates", "resyncs", "reconnects", "unparsed", "unexpected", "held_back", "rejected")
"""Counters of the worker that this venue gives no reason for."""

T = TypeVar("T")


class RigError(RuntimeError):
    """A part of the rig ended or stayed silent; the text says which, and what it wrote."""


class Run(msgspec.Struct):
    """One order carried out."""

    sent: Sent
    got: list[Got]
    """One for each subscriber."""
    venue: CpuTime
    worker: CpuTime
    subscribers: list[CpuTime]

    @property
    def lost(self) -> int:
        """Records that did not reach a subscriber, summed over subscribers."""
        return sum(self.sent.messages - got.messages for got in self.got)

    @property
    def breaks(self) -> int:
        """Breaks of a sequence that subscribers saw."""
        return sum(got.breaks for got in self.got)

    @property
    def worker_per_s(self) -> float:
        """Messages the worker published in a second."""
        return self._per_s(max(got.last_published_ns for got in self.got))

    @property
    def delivered_per_s(self) -> float:
        """Messages that the slowest subscriber had in a second, counted from the first one published."""
        return self._per_s(max(got.last_read_ns for got in self.got))

    def _per_s(self, end_ns: int) -> float:
        return self.sent.messages / (end_ns - min(got.first_published_ns for got in self.got)) * 1e9


class Child:
    """A process of ours that takes lines of JSON and answers with lines of JSON."""

    def __init__(self, module: str, directory: Path, name: str, *, answers: bool = True) -> None:
        self.name = name
        self._words = directory / f"{name}.stderr"
        with self._words.open("wb") as words:
            self.process = subprocess.Popen(
                (sys.executable, "-m", module),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if answers else subprocess.DEVNULL,
                stderr=words,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, message: msgspec.Struct) -> None:
        """Write a line."""
        if self.process.stdin is None:
            raise RigError(f"{self.name} has no standard input")
        try:
            self.process.stdin.write(msgspec.json.encode(message) + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self.error("has ended") from None

    def answer(self, kind: type[T], timeout_s: float) -> T:
        """Wait for a line."""
        if self.process.stdout is None:
            raise RigError(f"{self.name} has no standard output")
        if not select.select([self.process.stdout], [], [], timeout_s)[0]:
            raise self.error(f"said nothing for {timeout_s:g} s")
        line = self.process.stdout.readline()
        if not line:
            raise self.error("has ended")
        return msgspec.json.decode(line, type=kind)

    def error(self, what: str) -> RigError:
        """Return the error that says what it did, and what it wrote last."""
        return RigError(f"{self.name} {what}\n{self._words.read_text()[-2000:]}")

    def end(self) -> None:
        """Close its standard input, which ends it, and wait."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise self.error(f"did not end within {END_S:g} s") from None
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()


class Rig:
    """Everything up and every topic live, while the ``with`` block lasts."""

    def __init__(
        self, shape: Shape, *, subscribers: int = 1, high_water_mark: int = Publish().send_high_water_mark
    ) -> None:
        self._shape = shape
        self._to_join = subscribers
        self._high_water_mark = high_water_mark
        self._ending = contextlib.ExitStack()
        self.subscribers: list[Child] = []
        self.idle_memory_bytes: dict[str, int] = {}
        """The worker's memory before it carries a topic."""

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._check()
        finally:
            self._ending.close()

    def _start(self) -> None:
        self._directory = Path(self._ending.enter_context(tempfile.TemporaryDirectory(prefix="feedhandler-bench-")))
        context = self._ending.enter_context(zmq.Context())
        self._supervisor = self._ending.enter_context(context.socket(zmq.ROUTER))
        self._supervisor.bind(f"ipc://{self._directory / control.SOCKET_NAME}")
        self._address = f"ipc://{self._directory / WORKER}.pub"
        self.venue = self._child("bench.venue", "venue")
        self.venue.tell(self._shape)
        serving = self.venue.answer(Serving, START_S)
        self.cycle = serving.cycle
        self.worker = self._child("feedhandler.worker", "worker", answers=False)
        self.worker.tell(
            WorkerPlan(
                worker=WORKER,
                endpoint=WORKER,
                product="linear",
                network="sim",
                url=serving.url,
                simulated=True,
                topics=self._shape.topics,
                publish=[self._address],
                runtime_directory=str(self._directory),
                cpu=[],
                connection=Connection(canary=""),  # level 1 is carried, or deltas flow
                send_high_water_mark=self._high_water_mark,
                quiet_status_s=Publish().quiet_status_s,
                log_level="info",
                log_format="text",
            )
        )
        newcomers = self._invite(self._to_join)
        self._greet()
        self._wait_for_beat(lambda heartbeat: heartbeat.state == wire.LIVE)
        self._welcome(newcomers)

    def _child(self, module: str, name: str, *, answers: bool = True) -> Child:
        child = Child(module, self._directory, name, answers=answers)
        self._ending.callback(child.end)
        return child

    def join(self, count: int) -> None:
        """Have so many more strategies subscribe to everything, and wait until they have all they are told."""
        self._welcome(self._invite(count))

    def _invite(self, count: int) -> list[Child]:
        names = [f"subscriber {len(self.subscribers) + number}" for number in range(count)]
        newcomers = [self._child("bench.subscriber", name) for name in names]
        for newcomer in newcomers:
            newcomer.tell(Join(self._address, len(self._shape.topics), self._high_water_mark))
        return newcomers

    def _welcome(self, newcomers: list[Child]) -> None:
        for newcomer in newcomers:
            newcomer.answer(Joined, START_S)
        self.subscribers += newcomers

    def _greet(self) -> None:
        """Wait for the worker's Hello and assign it the topics."""
        for worker, message in self._heard(START_S):
            if isinstance(message, control.Hello):
                self.idle_memory_bytes = memory_bytes(self.worker.pid)
                assignment = control.Assign(epoch=EPOCH, topics=self._shape.topics)
                self._supervisor.send_multipart([worker, control.encode(assignment)])
                return

    def _heard(self, timeout_s: float) -> Iterator[tuple[bytes, control.ToSupervisor]]:
        """Yield what the worker tells its supervisor; raise where it falls silent."""
        deadline_s = time.monotonic() + timeout_s
        while self._supervisor.poll(max(0, int((deadline_s - time.monotonic()) * 1000))):
            worker, raw = self._supervisor.recv_multipart()
            message = control.decode_to_supervisor(raw)
            if isinstance(message, control.Dial):
                permit = control.Permit(connection=message.connection)
                self._supervisor.send_multipart([worker, control.encode(permit)])
            yield worker, message
        raise self.worker.error(f"did not say what was waited for within {timeout_s:g} s")

    def _wait_for_beat(self, wanted: Callable[[wire.Heartbeat], bool]) -> wire.Heartbeat:
        """Return the first of the worker's heartbeats that is as wanted."""
        heartbeats = (message.heartbeat for _, message in self._heard(START_S) if isinstance(message, control.Beat))
        return next(heartbeat for heartbeat in heartbeats if wanted(heartbeat))

    def _check(self) -> None:
        """Raise where the worker found anything wrong with what it got: the figures would not be what they say."""
        now_ns = time.time_ns()
        heartbeat = self._wait_for_beat(lambda heartbeat: heartbeat.time_ns > now_ns)
        wrong = {counter: count for counter in WRONG if (count := getattr(heartbeat, counter))}
        if wrong:
            raise self.worker.error(f"counted {wrong}")

    def messages(self, order: Order) -> int:
        """Return how many messages an order is."""
        return order.messages if isinstance(order, Pace) else order.cycles * self.cycle

    def run(self, order: Order, *, latency: bool = False) -> Run:
        """Have an order carried out, and wait until every subscriber has all of it, or no more comes."""
        for subscriber in self.subscribers:
            subscriber.tell(Read(self.messages(order), latency=latency))
        before = self._cpu_times()
        self.venue.tell(order)
        sent = self.venue.answer(Sent, RUN_S)
        got = [subscriber.answer(Got, RUN_S) for subscriber in self.subscribers]
        venue, worker, *subscribers = (end - begin for begin, end in zip(before, self._cpu_times(), strict=True))
        return Run(sent, got, venue, worker, subscribers)

    def _cpu_times(self) -> list[CpuTime]:
        return [cpu_time(child.pid) for child in (self.venue, self.worker, *self.subscribers)]
