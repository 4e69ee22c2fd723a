"""``feedhandler restart``: what it asks, what it shows, how it ends; against a supervisor that says what the test says."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import zmq
from support.feed import wait_until

from feedhandler import control

DONE = control.Restarted(worker="linear", old_pid=123, pid=456, topics=5, live=5, took_s=3.21)
STARTING = control.Progress(text="starting its successor")
HANDING = control.Progress(text="handing over")


class Supervisor:
    """Answers the one command that comes with what it was told to."""

    def __init__(self, directory: Path, answers: Sequence[msgspec.Struct]) -> None:
        self.asked: list[control.ToSupervisor] = []
        self._answers = answers
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(f"ipc://{directory}/{control.SOCKET_NAME}")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        if self._socket.poll(20_000):
            *way_back, raw = self._socket.recv_multipart()
            self.asked.append(control.decode_to_supervisor(raw))
            for answer in self._answers:
                self._socket.send_multipart([*way_back, control.encode(answer)])

    def close(self) -> None:
        self._thread.join(25)
        self._socket.close()
        self._context.term()


@contextmanager
def supervisor(directory: Path, *answers: msgspec.Struct) -> Iterator[Supervisor]:
    running = Supervisor(directory, answers)
    try:
        yield running
    finally:
        running.close()


def command(directory: Path, *words: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "feedhandler", "restart", *words, "--runtime", str(directory)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def run(directory: Path, *words: str) -> tuple[int, str, str]:
    with command(directory, *words) as process:
        out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_progress_goes_to_stderr_and_the_result_to_stdout(tmp_path: Path) -> None:
    """A line for each change; one line at the end."""
    with supervisor(tmp_path, STARTING, STARTING, HANDING, DONE) as asked:
        ended = run(tmp_path, "linear")
    assert ended == (
        0,
        "linear restarted: process 123 -> 456, 5 topics live, 3.2 s\n",
        "linear: starting its successor\nlinear: handing over\n",
    )
    assert asked.asked == [control.Restart(worker="linear")]


@pytest.mark.parametrize(
    ("done", "line"),
    [
        (msgspec.structs.replace(DONE, live=3), "process 123 -> 456, 3 of 5 topics live"),
        (msgspec.structs.replace(DONE, old_pid=None), "process none -> 456, 5 topics live"),
    ],
)
def test_result_says_what_is_not_as_it_should_be(tmp_path: Path, done: control.Restarted, line: str) -> None:
    """Topics that are not live, and a worker of which there was no process."""
    with supervisor(tmp_path, done):
        assert run(tmp_path, "linear")[:2] == (0, f"linear restarted: {line}, 3.2 s\n")


def test_remark_goes_to_stderr(tmp_path: Path) -> None:
    """It is restarted all the same."""
    with supervisor(tmp_path, msgspec.structs.replace(DONE, remark="process 123 did not end in order")):
        assert run(tmp_path, "linear")[2] == "linear: process 123 did not end in order\n"


def test_json_is_the_result_alone(tmp_path: Path) -> None:
    """For a program."""
    with supervisor(tmp_path, STARTING, DONE):
        code, out, _ = run(tmp_path, "linear", "--json")
    assert code == 0
    assert msgspec.json.decode(out, type=control.Restarted) == DONE


@pytest.mark.parametrize("exit_code", [1, 2])
def test_refusal_is_one_line_and_its_own_exit_code(tmp_path: Path, exit_code: int) -> None:
    """2 where what was asked for makes no sense, 1 where it did not work out."""
    with supervisor(tmp_path, STARTING, control.Refused(text="no", exit_code=exit_code)):
        assert run(tmp_path, "linear") == (exit_code, "", "linear: starting its successor\nError: no\n")


def test_answer_to_something_else_is_an_error(tmp_path: Path) -> None:
    """Never a result that was not said."""
    with supervisor(tmp_path, control.Done(text="stopping")):
        assert run(tmp_path, "linear") == (1, "", "Error: unexpected answer: Done(text='stopping')\n")


def test_supervisor_that_falls_silent_is_an_error(tmp_path: Path) -> None:
    """It says something every second, unless it is gone or paused."""
    with supervisor(tmp_path, STARTING):
        code, out, err = run(tmp_path, "linear")
    assert (code, out) == (1, "")
    assert err.endswith(f"Error: no feed answers in {tmp_path}: it is gone, or paused\n")


def test_without_a_feed_it_says_so(tmp_path: Path) -> None:
    """In one line."""
    assert run(tmp_path, "linear") == (1, "", f"Error: no feed runs in {tmp_path}\n")


@pytest.mark.parametrize("begun", [True, False])
def test_ctrl_c_says_what_becomes_of_the_restart(tmp_path: Path, begun: bool) -> None:
    """It goes on in the supervisor; exit 130, no traceback."""
    with supervisor(tmp_path, *([STARTING] if begun else [])) as asked, command(tmp_path, "linear") as process:
        assert process.stderr is not None
        if begun:
            process.stderr.readline()
        wait_until(lambda: asked.asked, "the command")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    told = "the restart goes on without us; feedhandler status shows it" if begun else "nothing was heard of it yet"
    assert (process.returncode, out, err) == (130, "", f"linear: {told}\n")


def test_terminal_shows_one_line_that_changes(tmp_path: Path) -> None:
    """And is clean when it is over."""
    ours, theirs = pty.openpty()
    try:
        with supervisor(tmp_path, STARTING, HANDING, DONE), command(tmp_path, "linear", stderr=theirs) as process:
            out, _ = process.communicate(timeout=30)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert out.startswith("linear restarted:")
    assert shown == "\r\x1b[2Klinear: starting its successor\r\x1b[2Klinear: handing over\r\x1b[2K"


def test_help_has_an_example() -> None:
    """As every command."""
    done = subprocess.run(
        [sys.executable, "-m", "feedhandler", "restart", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert "Example: feedhandler restart linear" in done.stdout
