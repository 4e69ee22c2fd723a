"""A real feed, started as a user starts it, and a plain ZeroMQ subscriber that remembers what it got."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import zmq

from feedhandler import wire

PATIENCE_S = 20.0
"""How long a condition may take before a test gives up; nothing waits this long when all is well."""


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Wait until ``condition()`` is true and return what it returned; fail naming ``what`` otherwise."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        if result := condition():
            return result
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.01)


class Feed:
    """``feedhandler run`` as a process, on a runtime directory of its own."""

    def __init__(self, directory: Path, config: str) -> None:
        directory.mkdir(exist_ok=True)
        self.runtime = directory / "run"
        self.file = directory / "config.toml"
        self.file.write_text(config)
        self.log = directory / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start the feed; the log goes to a file."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "feedhandler", "run", str(self.file), "--runtime", str(self.runtime)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(self.log.read_text()[-20_000:])
        if self.process is not None and self.process.poll() is None:
            family = self.family()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                for process in family:
                    process.kill()
                self.process.wait(5)

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self.process is not None
        return self.process.pid

    def family(self) -> list[psutil.Process]:
        """Return the supervisor and its children."""
        supervisor = psutil.Process(self.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another command of ours on this feed."""
        return subprocess.run(
            [sys.executable, "-m", "feedhandler", *words, "--runtime", str(self.runtime)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """Return ``status --json``; empty while nobody answers."""
        done = self.command("status", "--json")
        result: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return result

    def worker(self, name: str) -> dict[str, Any]:
        """Return a worker's part of the status."""
        return next((worker for worker in self.status().get("workers", []) if worker["worker"] == name), {})

    def counters(self, name: str) -> dict[str, Any]:
        """Return a worker's counters as of its last beat; waits for the first."""
        found: dict[str, Any] = wait_until(lambda: self.worker(name).get("heartbeat"), f"a beat of {name}")
        return found

    def wait_live(self, name: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until every topic of a worker is live or rejected; return its status."""

        def settled() -> dict[str, Any] | None:
            worker = self.worker(name)
            states = {state for state, _ in worker.get("topics", {}).values()}
            return worker if states and states <= {wire.LIVE, wire.REJECTED} else None

        found: dict[str, Any] = wait_until(settled, f"all topics of {name} live", timeout_s)
        return found

    def simulator(self, page: str, **query: object) -> dict[str, Any]:
        """Ask the simulated Bybit behind this feed: ``simulator("stats")``."""
        host = wait_until(lambda: self.status().get("simulated_bybit", ""), "the feed answers").removeprefix("ws://")
        return ask_simulator(host, page, **query)

    def address(self, worker: str) -> str:
        """Return where a worker publishes by default."""
        return f"ipc://{self.runtime}/{worker}.pub"

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the JSON lines logged so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


class Ear:
    """A plain ZeroMQ SUB in a thread, as any strategy may be: remembers every record in order."""

    def __init__(self, addresses: Iterable[str], filters: Iterable[str] = ("",)) -> None:
        self.records: list[wire.Record] = []
        self._addresses = list(addresses)
        self._filters = [
            text.encode() if text == "" or text.endswith((".", "\0")) else wire.prefix(text) for text in filters
        ]
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        assert self._ready.wait(5)

    def _listen(self) -> None:
        context = zmq.Context()
        sub = context.socket(zmq.SUB)
        sub.setsockopt(zmq.SNDHWM, 0)
        sub.setsockopt(zmq.RCVHWM, 0)
        sub.setsockopt(zmq.RECONNECT_IVL, 10)
        sub.setsockopt(zmq.LINGER, 0)
        for text in self._filters:
            sub.setsockopt(zmq.SUBSCRIBE, text)
        for address in self._addresses:
            sub.connect(address)
        self._ready.set()
        while not self._stop.is_set():
            if sub.poll(20):
                try:
                    while True:
                        self.records.append(wire.parse(sub.recv(zmq.NOBLOCK)))
                except zmq.Again:
                    pass
        sub.close()
        context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join(5)

    def of(self, subject: str) -> list[wire.Record]:
        """Return the records of one subject so far."""
        return [record for record in list(self.records) if record.subject == subject]

    def data(self, subject: str) -> list[wire.Record]:
        """Return the data records of one subject so far, images left out."""
        return [record for record in self.of(subject) if is_data(record)]

    def states(self, subject: str) -> list[str]:
        """Return the states of a subject in order, repeats left out."""
        return [status(record)["state"] for record in self.of(subject) if is_status(record)]

    def statuses(self, subject: str) -> list[dict[str, Any]]:
        """Return the statuses of a subject in order, repeats left out."""
        return [status(record) for record in self.of(subject) if is_status(record)]

    def wait_for(self, condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
        """Wait until ``condition()`` holds."""
        return wait_until(condition, what, timeout_s)


def is_data(record: wire.Record) -> bool:
    """Say whether a record is venue data sent for the first time."""
    return record.kind <= wire.UPDATE and not record.flags & (wire.IMAGE | wire.REPEATED)


def is_status(record: wire.Record) -> bool:
    """Say whether a record is a new status."""
    return record.kind == wire.STATUS and not record.flags & wire.REPEATED


def status(record: wire.Record) -> dict[str, Any]:
    """Return a status record's payload."""
    payload: dict[str, Any] = json.loads(record.payload)
    return payload


def breaks(records: Iterable[wire.Record]) -> list[str]:
    """Return every break in numbering: each new record of a subject and epoch must be the last one plus one."""
    last: dict[tuple[str, int], int] = {}
    found = []
    for record in records:
        if record.kind > wire.STATUS or record.flags & (wire.IMAGE | wire.REPEATED):
            continue
        key = record.subject, record.epoch
        if key in last and record.sequence != last[key] + 1:
            found.append(f"{record.subject}: {last[key]} was followed by {record.sequence}")
        last[key] = record.sequence
    return found


class Book:
    """The plainest book there is, to hold others against."""

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.update_id = -1

    def apply(self, payload: bytes) -> None:
        """Take a snapshot or delta message."""
        message = json.loads(payload)
        if message["type"] == "snapshot":
            self.bids, self.asks = {}, {}
        for side, levels in ((self.bids, message["data"]["b"]), (self.asks, message["data"]["a"])):
            for price, size in levels:
                if float(size) == 0:
                    side.pop(float(price), None)
                else:
                    side[float(price)] = float(size)
        self.update_id = message["data"]["u"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Book) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return self.update_id


def ask_simulator(host: str, page: str, **query: object) -> dict[str, Any]:
    """Ask a simulated Bybit at ``host`` (``127.0.0.1:9001``) for one of its pages."""
    url = f"http://{host}/sim/{page}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        result: dict[str, Any] = json.load(answer)
    return result


def alive(pid: int) -> bool:
    """Say whether a process exists and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal."""
    os.kill(pid, number)
