"""Child processes: real ones, started, spoken to, ended; and when one may be started again."""

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from feedhandler.supervisor.process import (
    HEALTHY_AFTER_S,
    RESTART_BASE_S,
    RESTART_CAP_S,
    Child,
    RestartPolicy,
    exit_in_words,
)

READ_A_LINE = "import sys; open(sys.argv[1], 'w').write(str(len(sys.stdin.buffer.readline())))"
WAIT_FOR_THE_END = "import sys; sys.stdin.read(); sys.exit(7)"
READ_A_LINE_AND_WAIT = f"import sys; open(sys.argv[1], 'w').write(sys.stdin.readline())\n{WAIT_FOR_THE_END}"


async def until(condition: Callable[[], Any], what: str) -> Any:
    deadline_s = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline_s, what
        await asyncio.sleep(0.005)
    return found


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-S", "-c", code, *arguments]


# When a child may be started again.


def test_first_failure_is_mended_at_once_and_the_next_ones_ever_later() -> None:
    """At once, then doubling pauses up to the cap, however long it goes on."""
    policy = RestartPolicy()
    pauses = [policy.pause_s(1, 0.1) for _ in range(1200)]
    assert pauses[:9] == [0, 0.5, 1, 2, 4, 8, 16, 32, RESTART_CAP_S]
    assert pauses[-1] == RESTART_CAP_S


@pytest.mark.parametrize(("ran_s", "pause_s"), [(HEALTHY_AFTER_S, 0.0), (HEALTHY_AFTER_S - 0.1, RESTART_BASE_S * 8)])
def test_child_that_ran_well_is_restarted_at_once_again(ran_s: float, pause_s: float) -> None:
    """Old failures are forgotten after half a minute of health, and not before."""
    policy = RestartPolicy()
    for _ in range(4):
        policy.pause_s(1, 0.1)
    assert policy.pause_s(1, ran_s) == pause_s


def test_child_that_could_not_start_is_not_started_again() -> None:
    """Exit code 3 is its own word for it; any other end is no reason to stop trying."""
    policy = RestartPolicy()
    assert policy.pause_s(3, 0.1) is None
    assert [policy.pause_s(code, 0.1) is None for code in (0, 1, 2, -9)] == [False] * 4


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit 0"), (3, "exit 3"), (-9, "killed by SIGKILL"), (-6, "killed by SIGABRT"), (-63, "killed by signal 63")],
)
def test_exit_in_words(code: int, words: str) -> None:
    """As `status` shows it."""
    assert exit_in_words(code) == words


# Children.


@pytest.mark.parametrize("length", [0, 10, 70_000, 1_000_000, 3_000_000])
def test_message_arrives_whole_however_long(length: int, tmp_path: Path) -> None:
    """Also one that no pipe holds, and while the child has not begun to read."""

    async def scene() -> None:
        ends: list[int] = []
        child = Child(python(READ_A_LINE, str(tmp_path / "read")), ends.append)
        child.start(b"x" * length + b"\n")
        assert child.pid is not None
        await until(lambda: ends, "the end of the child")
        assert ends == [0]
        assert child.pid is None
        assert (tmp_path / "read").read_text() == str(length + 1)

    uvloop.run(scene())


def test_message_arrives_where_the_pipe_may_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many workers the user's share of pipe memory is used up: the write then waits for the child."""

    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr("feedhandler.supervisor.process.fcntl.fcntl", refuse)

    async def scene() -> None:
        ends: list[int] = []
        child = Child(python(READ_A_LINE, str(tmp_path / "read")), ends.append)
        child.start(b"x" * 500_000 + b"\n")
        await until(lambda: ends, "the end of the child")
        assert (tmp_path / "read").read_text() == "500001"

    uvloop.run(scene())


def test_child_that_ends_before_it_reads_is_an_exit_like_any_other() -> None:
    """Its exit says why; the unread message is nobody's error."""

    async def scene() -> None:
        ends: list[int] = []
        child = Child(python("import os; os.close(0); os._exit(3)"), ends.append)
        child.start(b"x" * 3_000_000)
        await until(lambda: ends, "the end of the child")
        assert ends == [3]

    uvloop.run(scene())


def test_standard_input_stays_open_while_we_live(tmp_path: Path) -> None:
    """Its end is how a child learns that we are gone."""
    read = tmp_path / "read"

    async def scene() -> None:
        ends: list[int] = []
        child = Child(python(READ_A_LINE_AND_WAIT, str(read)), ends.append)
        child.start(b"a plan\n")
        await until(lambda: read.exists() and read.read_text(), "the plan")
        assert child._process is not None
        assert child._process.poll() is None
        assert child._process.stdin is not None
        child._process.stdin.close()
        await until(lambda: ends, "the end of the child")
        assert ends == [7]

    uvloop.run(scene())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGABRT])
def test_signal_reaches_the_child_and_its_end_is_told(number: signal.Signals) -> None:
    """The exit code is the signal's, negative; signals to nobody are ignored."""

    async def scene() -> None:
        ends: list[int] = []
        child = Child(python(WAIT_FOR_THE_END), ends.append)
        child.signal(number)
        child.start()
        child.signal(number)
        await until(lambda: ends, "the end of the child")
        assert ends == [-number]
        child.signal(number)

    uvloop.run(scene())


def test_child_has_a_process_group_of_its_own() -> None:
    """Ctrl-C in a terminal reaches us alone; we end the children in order."""

    async def scene() -> None:
        ends: list[int] = []
        child = Child(python(WAIT_FOR_THE_END), ends.append)
        child.start()
        assert child.pid is not None
        assert os.getpgid(child.pid) == child.pid
        child.signal(signal.SIGKILL)
        await until(lambda: ends, "the end of the child")

    uvloop.run(scene())


def test_descriptors_are_passed_on_only_where_asked() -> None:
    """The simulator gets its listening socket, and nothing else of ours."""
    reader, writer = os.pipe()
    other_reader, other_writer = os.pipe()
    code = f"import os; os.write({writer}, b'here'); os.fstat({other_writer})"

    async def scene() -> None:
        ends: list[int] = []
        child = Child(python(f"import sys; sys.stderr.close()\n{code}"), ends.append)
        child.start(pass_fds=[writer])
        await until(lambda: ends, "the end of the child")
        assert ends == [1]  # the other descriptor is not there

    try:
        uvloop.run(scene())
        assert os.read(reader, 10) == b"here"
    finally:
        for descriptor in (reader, writer, other_reader, other_writer):
            os.close(descriptor)


def environment(child: Child) -> dict[bytes, bytes]:
    raw = Path(f"/proc/{child.pid}/environ").read_bytes()
    return dict(pair.split(b"=", 1) for pair in raw.split(b"\0") if pair)


def test_environment_is_handed_on_but_for_what_is_withheld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of ours that is withheld is not in the process at all; the others are, as they are now."""
    monkeypatch.setenv("MY_SECRET", "hush-hush")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/feed")
    read = tmp_path / "read"

    async def scene() -> list[dict[bytes, bytes]]:
        ends: list[int] = []
        found: list[dict[bytes, bytes]] = []
        for withheld in ({"MY_SECRET", "NOT_THERE"}, ()):
            read.unlink(missing_ok=True)
            child = Child(python(READ_A_LINE_AND_WAIT, str(read)), ends.append, withheld)
            monkeypatch.setenv("SET_LATER", str(len(found)))
            child.start(b"a plan\n")
            await until(lambda: read.exists() and read.read_text(), "the plan")
            found.append(environment(child))
            child.signal(signal.SIGKILL)
        await until(lambda: len(ends) == 2, "the end of the children")
        return found

    without, whole = uvloop.run(scene())
    assert whole[b"MY_SECRET"] == b"hush-hush"
    assert {**without, b"MY_SECRET": b"hush-hush", b"SET_LATER": b"1"} == whole
    assert without[b"CREDENTIALS_DIRECTORY"] == b"/run/credentials/feed"


def test_child_can_be_started_again_and_leaves_no_descriptor_behind() -> None:
    """One that crashes all night must not use ours up."""

    async def scene() -> None:
        ends: list[int] = []
        child = Child(python("pass"), ends.append)
        counts = []
        for number in range(1, 4):
            child.start(b"plan\n")
            await until(lambda number=number: len(ends) == number, "the end of the child")  # type: ignore[misc]  # mypy infers no lambda with a default
            counts.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208 - quicker than a Path in a loop that runs
        assert len(set(counts)) == 1

    uvloop.run(scene())


def test_end_is_told_once() -> None:
    """A second wake-up of the same descriptor says nothing."""

    async def scene() -> None:
        ends: list[int] = []
        child = Child(python("pass"), ends.append)
        child.start()
        await until(lambda: ends, "the end of the child")
        child._ended()
        assert ends == [0]

    uvloop.run(scene())


def test_child_started_is_known_even_if_its_message_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong after the start, the process is ours to end: never an orphan."""

    def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    async def scene() -> None:
        ends: list[int] = []
        child = Child(python(WAIT_FOR_THE_END), ends.append)
        monkeypatch.setattr("feedhandler.supervisor.process.os.write", fail)
        with pytest.raises(OSError, match="Input/output"):
            child.start(b"plan\n")
        monkeypatch.undo()
        assert child.pid is not None
        child.signal(signal.SIGKILL)
        await until(lambda: ends, "the end of the child")

    uvloop.run(scene())


def test_pipe_grows_only_for_a_long_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user may have 64 MiB of pipes: hundreds of workers with short plans must fit."""
    grown: list[int] = []
    real = fcntl.fcntl

    def watch(descriptor: int, command: int, argument: int = 0) -> int:
        grown.append(argument)
        return real(descriptor, command, argument)

    monkeypatch.setattr("feedhandler.supervisor.process.fcntl.fcntl", watch)

    async def scene() -> None:
        ends: list[int] = []
        for length in (1000, 200_000, 3_000_000):
            child = Child(python("import sys; sys.stdin.buffer.readline()"), ends.append)
            child.start(b"x" * length + b"\n")
        await until(lambda: len(ends) == 3, "the end of the children")

    uvloop.run(scene())
    assert grown == [200_001, 1 << 20]
