"""A stand-in for a worker's process: does nothing, and ends when the test says so."""

import itertools
import signal
from collections.abc import Callable, Collection, Sequence

_pids = itertools.count(4711)


class Process:
    """Stands in for `supervisor.process.Child`: remembers what was done to it."""

    def __init__(self, command: Sequence[str], on_exit: Callable[[int], None], withheld: Collection[str] = ()) -> None:
        self.command = list(command)
        self.withheld = set(withheld)
        self.pid: int | None = None
        self.messages: list[bytes] = []
        self.signals: list[signal.Signals] = []
        self.refusal: OSError | None = None
        """Why it cannot be started."""
        self._on_exit = on_exit

    def start(self, message: bytes = b"", pass_fds: Sequence[int] = ()) -> None:
        """Start, unless there is a reason not to."""
        assert self.pid is None, "it runs already"
        assert pass_fds == ()
        if self.refusal is not None:
            raise self.refusal
        self.pid = next(_pids)
        self.messages.append(message)

    def signal(self, number: signal.Signals) -> None:
        """Get a signal, and go on."""
        if self.pid is not None:
            self.signals.append(number)

    def end(self, exit_code: int) -> None:
        """End."""
        self.pid = None
        self._on_exit(exit_code)
