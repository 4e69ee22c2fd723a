"""A strategy in a process of its own: a `Subscriber` and nothing else, that writes down what it sees, and when.

As a script it is told by its first argument, in JSON, what to follow (`Wish`). It writes each record on standard output,
and answers commands from standard input. `Strategy` starts it and speaks to it.
"""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import msgspec
import psutil

from feedhandler import wire
from feedhandler.client.record import Record
from feedhandler.client.subscriber import Subscriber
from feedhandler.client.track import keeps_state
from support.feed import wait_until

ANSWER_S = 20.0
_GLANCE_S = 0.02
"""How often the process looks for a command."""


class Wish(msgspec.Struct):
    """What a strategy follows, and how."""

    subjects: tuple[str, ...]
    options: dict[str, Any]
    """`Subscriber`'s own."""
    books: tuple[str, ...] = ()
    """Subjects whose books it keeps."""


class Seen(msgspec.Struct, array_like=True):
    """A record, and when the strategy had it in hand."""

    at_ns: int
    record: Record

    @property
    def status(self) -> wire.Status:
        """What a status says."""
        status: wire.Status = self.record.decode()
        return status

    @property
    def word(self) -> str:
        """What it is, in a word: ``delta``, ``snapshot``, ``down``."""
        return self.status.state if self.record.kind == wire.STATUS else wire.KIND_NAMES[self.record.kind]


class Shown(msgspec.Struct):
    """A book as the strategy has it."""

    state: str
    update_id: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class Strategy:
    """A running strategy. `pause` and `go_on` are signals; `sleep` keeps its only thread from reading."""

    def __init__(self, *subjects: str, books: Iterable[str] = (), **options: Any) -> None:
        """Start it; ``options`` are `Subscriber`'s."""
        self.seen: list[Seen] = []
        self._answers: deque[bytes] = deque()
        wish = Wish(
            subjects,
            {name: str(value) if name == "runtime" else value for name, value in options.items()},
            tuple(books),
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.strategy", msgspec.json.encode(wish).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        decode = msgspec.json.Decoder(Seen).decode
        for line in self.process.stdout:
            if line.startswith(b"["):
                self.seen.append(decode(line))
            else:
                self._answers.append(line)

    def of(self, subject: str, start: int = 0) -> list[Seen]:
        """Return what it has seen of a subject, from its record number ``start`` of all on."""
        return [one for one in self.seen[start:] if one.record.subject == subject]

    def words(self, subject: str, start: int = 0) -> list[str]:
        """Return what it has seen of a subject in words, a run of the same as one; who is starting says so once only.

        A worker that was replaced says ``subscribing`` and sends its snapshot as soon as it can. Whether a subscriber
        is back by then, and hears it, or gets the answer to its subscription, is for the machine to decide.
        """
        told: list[str] = []
        for one in self.of(subject, start):
            if one.word not in (*told[-1:], wire.SUBSCRIBING):
                told.append(one.word)
        return told

    def first(self, subject: str, word: str, start: int = 0) -> Seen | None:
        """Return the first record of that word, None while there is none."""
        return next((one for one in self.of(subject, start) if one.word == word), None)

    def wait_for(self, subject: str, *words: str, start: int = 0) -> list[Seen]:
        """Wait until these words have come in this order, whatever is between them; return those records."""

        def found() -> list[Seen]:
            left = list(words)
            picked = []
            for one in self.of(subject, start):
                if left and one.word == left[0]:
                    left.pop(0)
                    picked.append(one)
            return [] if left else picked

        try:
            picked: list[Seen] = wait_until(found, f"{', '.join(words)} of {subject}")
        except AssertionError as error:
            raise AssertionError(f"{error}; there were {self.words(subject, start)}") from None
        return picked

    def wait_count(self, subject: str, count: int, start: int = 0) -> None:
        """Wait until at least so many records of a subject have come."""
        wait_until(lambda: len(self.of(subject, start)) >= count, f"{count} records of {subject}")

    def wait_live(self, *subjects: str) -> int:
        """Wait until subjects are live; return how many records were seen by then."""
        for subject in subjects:
            self.wait_for(subject, wire.LIVE)
        return len(self.seen)

    def ask(self, *command: Any, kind: Any = Any) -> Any:
        """Have a command carried out by the strategy's own thread; return its answer."""
        self.tell(*command)
        line = wait_until(
            lambda: self._answers.popleft() if self._answers else None, f"the answer to {command}", ANSWER_S
        )
        return msgspec.convert(msgspec.json.decode(line)["answer"], kind)

    def tell(self, *command: Any) -> None:
        """Send a command and do not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(command) + b"\n")
        self.process.stdin.flush()

    def book(self, subject: str) -> Shown:
        """Return a book as it has it now."""
        shown: Shown = self.ask("book", subject, kind=Shown)
        return shown

    def counters(self) -> dict[str, int]:
        """Return what its client counted."""
        counters: dict[str, int] = self.ask("counters")
        return counters

    def sleep(self, seconds: float) -> None:
        """Have it do something else for a while; it is not waited for."""
        self.tell("sleep", seconds)

    @property
    def usage(self) -> psutil.Process:
        """Its process, to be measured."""
        return psutil.Process(self.process.pid)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.go_on()
        try:
            self.process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reading.join(ANSWER_S)
            assert self.process.stdout is not None
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def unsaid(seen: Iterable[Seen]) -> list[str]:
    """Return every jump of a subject's sequence that no status before it speaks of, and everything that came twice.

    Within an epoch each record is the last plus one, plus those that a status says were lost. A state that is not whole
    goes on with an image, whatever came before that. No new epoch begins with a delta.
    """
    last: dict[str, tuple[int, int]] = {}
    whole: set[str] = set()
    found = []
    for one in seen:
        record = one.record
        if record.kind > wire.STATUS:
            continue
        subject = record.subject
        epoch, sequence = last.get(subject, (0, 0))
        if record.kind == wire.STATUS and one.word not in (wire.LIVE, wire.STALE):
            whole.discard(subject)
        if record.local:
            lost = one.status.lost
            if isinstance(lost, int) and epoch == record.epoch:
                last[subject] = epoch, sequence + lost
            continue
        old_news = record.is_image or record.is_repeated
        if record.epoch > epoch:
            whole.discard(subject)
            carries_on = record.kind != wire.DELTA
        elif old_news and keeps_state(record.topic) and subject not in whole:
            carries_on = record.epoch == epoch and record.sequence >= sequence
        else:
            carries_on = record.epoch == epoch and record.sequence == sequence + (not old_news)
        if not carries_on:
            found.append(f"{subject}: {epoch} {sequence} was followed by {one.word} {record.epoch} {record.sequence}")
        if record.kind == wire.SNAPSHOT:
            whole.add(subject)
        last[subject] = record.epoch, record.sequence
    return found


class Script:
    """The process's own side."""

    def __init__(self, wish: Wish, feed: Subscriber) -> None:
        self._feed = feed
        self._commands: dict[str, Callable[..., Any]] = {
            "book": self._book,
            "counters": self._counters,
            "sleep": time.sleep,
        }
        self._input = select.poll()
        self._input.register(sys.stdin.fileno(), select.POLLIN)
        feed.subscribe(*wish.subjects)
        self._books = {subject: feed.book(subject) for subject in wish.books}

    def _book(self, subject: str) -> Shown:
        book = self._books[subject]
        return Shown(book.state, book.update_id, book.bids(), book.asks())

    def _counters(self) -> Any:
        return self._feed.counters

    def run(self) -> None:
        """Read until standard input ends."""
        pending = b""
        while True:
            end_s = time.monotonic() + _GLANCE_S
            while (left_s := end_s - time.monotonic()) > 0:
                record = self._feed.receive(left_s)
                if record is not None:
                    _write(Seen(time.time_ns(), record))
            sys.stdout.flush()
            while self._input.poll(0):
                read = os.read(sys.stdin.fileno(), 65536)
                if not read:
                    return
                *lines, pending = (pending + read).split(b"\n")
                for line in lines:
                    name, *arguments = msgspec.json.decode(line)
                    answer = self._commands[name](*arguments)
                    if name != "sleep":
                        _write({"answer": answer})


def _write(what: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")


def main() -> None:
    wish = msgspec.json.decode(sys.argv[1], type=Wish)
    with Subscriber(**wish.options) as feed:
        Script(wish, feed).run()


if __name__ == "__main__":
    main()
