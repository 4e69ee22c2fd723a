"""Many subscribers: a process that forks into as many strategies as wanted, and one that joins and leaves without end.

Scripts, told by their first argument what to do (`Crowd`, `Churn`), that answer in JSON: a line for each strategy, or one
for each round. They import once and hold nothing of ZeroMQ when they fork, so a strategy more costs milliseconds.
"""

import os
import random
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import psutil

from feedhandler import wire
from feedhandler.client.subscriber import Subscriber
from support.strategy import Seen, Shown, unsaid

LIVE_S = 60.0
"""Patience for everything to be live: a crowd joins at once, on a machine that may be busy."""


class Crowd(msgspec.Struct, tag=True):
    """So many strategies that follow the same subjects, for some time after all of them are live."""

    runtime: str
    count: int
    subjects: list[str]
    book: str
    """The subject whose book is kept."""
    seconds: float


class Member(msgspec.Struct):
    """What one of them has seen."""

    live_after_s: float
    delivered: dict[str, int]
    """Data records by subject."""
    unsaid: list[str]
    counters: dict[str, int]
    states: dict[str, int]
    """How many subjects are in which state at the end."""
    book: Shown


class Churn(msgspec.Struct, tag=True):
    """Rounds of joins from several threads: each a subscriber of its own, or (``stay``) one a thread that stays."""

    runtime: str
    subjects: list[str]
    rounds: int
    joins: int
    """In each round, by all threads together."""
    threads: int
    stay: bool


class Usage(msgspec.Struct, frozen=True):
    """What a process holds."""

    rss_bytes: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, process: psutil.Process) -> "Usage":
        """Look at a process."""
        return cls(process.memory_info().rss, process.num_fds(), process.num_threads())

    def __str__(self) -> str:
        return f"{self.rss_bytes / 2**20:.1f} MiB, {self.descriptors} descriptors, {self.threads} threads"


def start(task: Crowd | Churn) -> "subprocess.Popen[bytes]":
    """Start the script."""
    return subprocess.Popen(
        [sys.executable, "-m", "support.crowd", msgspec.json.encode(task).decode()],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def results(process: "subprocess.Popen[bytes]", kind: type[Any], timeout_s: float) -> list[Any]:
    """Wait for the script's end; return its lines."""
    try:
        out, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0
    return [msgspec.json.decode(line, type=kind) for line in out.splitlines()]


# The scripts' own side.


def _live(crowd: Crowd) -> Member:
    started_s = time.monotonic()
    seen: list[Seen] = []
    with Subscriber(runtime=crowd.runtime) as feed:
        feed.subscribe(*crowd.subjects)
        book = feed.book(crowd.book)
        feed.wait_live(LIVE_S)
        live_after_s = time.monotonic() - started_s
        end_s = time.monotonic() + crowd.seconds
        while (left_s := end_s - time.monotonic()) > 0:
            record = feed.receive(left_s)
            if record is not None:
                seen.append(Seen(time.time_ns(), record))
        return Member(
            live_after_s=live_after_s,
            delivered=Counter(one.record.subject for one in seen if one.record.kind <= wire.UPDATE),
            unsaid=unsaid(seen),
            counters=msgspec.to_builtins(feed.counters),
            states=Counter(feed.state(subject) for subject in crowd.subjects),
            book=Shown(book.state, book.update_id, book.bids(), book.asks()),
        )


def _gather(crowd: Crowd) -> None:
    """Fork into the crowd, and pass on what each of them says."""
    members = []
    for _ in range(crowd.count):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            failed = 1
            try:
                with Path(f"/dev/fd/{write}").open("wb") as out:
                    out.write(msgspec.json.encode(_live(crowd)) + b"\n")
                failed = 0
            except BaseException:  # noqa: BLE001 - this process ends here, whatever it was
                traceback.print_exc()
            finally:
                os._exit(failed)
        os.close(write)
        members.append((pid, read))
    for pid, read in members:
        with os.fdopen(read, "rb") as said:
            sys.stdout.buffer.write(said.read())
        assert os.waitpid(pid, 0)[1] == 0


def _churn(churn: Churn) -> None:
    me = psutil.Process()
    failures: list[BaseException] = []
    staying = [Subscriber(runtime=churn.runtime) for _ in range(churn.threads * churn.stay)]

    def join(number: int, seed: int) -> None:
        choose = random.Random(seed)
        try:
            for _ in range(churn.joins // churn.threads):
                subjects = choose.sample(churn.subjects, 2)
                feed = staying[number] if churn.stay else Subscriber(runtime=churn.runtime)
                feed.subscribe(*subjects)
                feed.wait_live(LIVE_S)
                for _ in range(4):
                    assert feed.receive(LIVE_S) is not None
                feed.unsubscribe(*subjects) if churn.stay else feed.close()
        except BaseException as error:  # noqa: BLE001 - told to the main thread
            failures.append(error)

    for turn in range(churn.rounds):
        threads = [threading.Thread(target=join, args=(number, 100 * turn + number)) for number in range(churn.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        # ZeroMQ's threads end behind our back; those that do not are what is looked for.
        end_s = time.monotonic() + 2.0
        while me.num_threads() > 1 + 2 * len(staying) and time.monotonic() < end_s:
            time.sleep(0.01)
        sys.stdout.buffer.write(msgspec.json.encode(Usage.of(me)) + b"\n")
        sys.stdout.flush()
    for feed in staying:
        feed.close()


def main() -> None:
    """Do what the first argument says."""
    task = msgspec.json.decode(sys.argv[1], type=Crowd | Churn)
    if isinstance(task, Crowd):
        _gather(task)
    else:
        _churn(task)


if __name__ == "__main__":
    main()
