"""A child process: started, watched, ended; and when it may be started again."""

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Sequence
from typing import Final

EXIT_CANNOT_START: Final = 3
"""The child says that it could not start; starting it again would change nothing."""

RESTART_BASE_S: Final = 0.5
RESTART_CAP_S: Final = 60.0
HEALTHY_AFTER_S: Final = 30.0
"""A child that ran this long is restarted at once again."""

_PIPE_BYTES: Final = 1 << 16
"""What a pipe holds on Linux unless it is told otherwise."""
_MAX_PIPE_BYTES: Final = 1 << 20
"""What anybody may make it hold (``/proc/sys/fs/pipe-max-size``)."""


class RestartPolicy:
    """When a child that ended may be started again: at once, then with doubling pauses. Pure."""

    def __init__(self) -> None:
        self._failures = 0

    def pause_s(self, exit_code: int, ran_s: float) -> float | None:
        """Return the pause before the next start, or None: not again by itself."""
        if exit_code == EXIT_CANNOT_START:
            return None
        if ran_s >= HEALTHY_AFTER_S:
            self._failures = 0
        self._failures += 1
        if self._failures == 1:
            return 0.0
        pause: float = min(RESTART_BASE_S * 2 ** min(self._failures - 2, 30), RESTART_CAP_S)
        return pause


def exit_in_words(exit_code: int) -> str:
    """Say how a process ended: ``exit 3``, ``killed by SIGKILL``."""
    if exit_code >= 0:
        return f"exit {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"killed by signal {-exit_code}"


class Child:
    """One process of ours. Start it from the main thread only: its death signal is tied to the thread that did."""

    def __init__(
        self, command: Sequence[str], on_exit: Callable[[int], None], withheld: Collection[str] = frozenset()
    ) -> None:
        """``withheld`` are environment variables of ours that the process does not get."""
        self._command = list(command)
        self._on_exit = on_exit
        self._withheld = frozenset(withheld)
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1

    @property
    def pid(self) -> int | None:
        """The process id, None while there is no process."""
        return self._process.pid if self._process is not None else None

    def start(self, message: bytes = b"", pass_fds: Sequence[int] = ()) -> None:
        """Start the process and write ``message`` to its standard input, which stays open while we live."""
        environment = {name: value for name, value in os.environb.items() if os.fsdecode(name) not in self._withheld}
        # A process group of its own: Ctrl-C in a terminal reaches us alone, and we end the children in order.
        process = subprocess.Popen(  # noqa: S603 - our own module, by the running interpreter
            self._command,
            stdin=subprocess.PIPE,
            pass_fds=tuple(pass_fds),
            bufsize=0,
            process_group=0,
            env=environment,
        )
        self._process = process
        # A pidfd becomes readable when the process ends: no thread, no SIGCHLD handler (uvloop keeps that for itself).
        self._pidfd = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)
        assert process.stdin is not None  # noqa: S101 - asked for above
        _write(process.stdin.fileno(), message)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if there is anybody to get it."""
        if self._process is not None:
            self._process.send_signal(number)

    def _ended(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        with process:  # closes its pipe
            exit_code = process.wait()
        self._on_exit(exit_code)


def _write(pipe: int, message: bytes) -> None:
    """Write a message into an empty pipe, before anybody reads it: a plan may have thousands of topics."""
    if len(message) > _PIPE_BYTES:
        # Refused beyond a user's share of pipe memory (64 MiB for all): then the write waits until the child reads.
        with contextlib.suppress(PermissionError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, min(len(message), _MAX_PIPE_BYTES))
    with contextlib.suppress(BrokenPipeError):  # it ended already: its exit says why
        while message:
            message = message[os.write(pipe, message) :]
