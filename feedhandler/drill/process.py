"""The feed of a drill: a real ``feedhandler run``, in a directory of its own, gone when the drill is."""

import ctypes
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

from feedhandler.config.explain import explain
from feedhandler.config.model import Config

STOP_PATIENCE_S: Final = 8.0
"""It is promised to end within 5 s."""
_PR_SET_PDEATHSIG: Final = 1
_LIBRARY: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class FeedProcess:
    """``feedhandler run`` of a configuration."""

    def __init__(self, directory: Path, config: Config) -> None:
        """Write the configuration down; `start` starts it."""
        self.runtime = directory / "run"
        self.file = directory / "config.toml"
        self.log = directory / "feed.log"
        written: dict[str, Any] = {"endpoints": {name: {} for name in config.endpoints}}
        self.file.write_text(explain(config, written, self.runtime))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its log goes to a file."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, by the running interpreter
                [sys.executable, "-m", "feedhandler", "run", str(self.file), "--runtime", str(self.runtime)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end it in order
                preexec_fn=partial(_end_with_parent, os.getpid()),  # noqa: PLW1509 - two system calls, no Python thread
            )

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def last_words(self, lines: int = 8) -> str:
        """Return the end of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End it: in order, or else at once, with everything it started."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            # Its workers end with it, stopped ones too: the kernel sees to that.
            process.kill()
            process.wait()


def _end_with_parent(parent: int) -> None:
    """Have the kernel stop the feed when the drill ends, however it ends."""
    if _LIBRARY is not None:
        _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)  # it ended before we asked
