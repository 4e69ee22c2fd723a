"""Watches the feed's directory: the file ``feed.json`` that the supervisor keeps in the runtime directory."""

import os
import tomllib
from pathlib import Path
from typing import Final

import msgspec

from feedhandler import runtime
from feedhandler.errors import FeedError
from feedhandler.runtime import FEED_FILE, FeedDirectory

_decode: Final = msgspec.json.Decoder(FeedDirectory).decode


class DirectoryWatch:
    """The file at ``path``, looked at whenever `poll` is called (2 µs while nothing changes)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory: FeedDirectory | None = None
        self.trouble = ""
        """Why a file that is there, or may be, cannot be read; ``""`` where it can, or is not there."""
        self._seen: tuple[int, int, int] | None = None

    def poll(self) -> bool:
        """Return True where the content is another one now. An unreadable file counts as none."""
        trouble = ""
        try:
            found = self.path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self._seen:
                return False
            directory = _decode(self.path.read_bytes())
        except FileNotFoundError:
            seen, directory = None, None
        except (OSError, ValueError) as error:
            seen, directory = None, None
            trouble = refusal(self.path, os.R_OK) or str(error)
        changed = (directory, trouble) != (self.directory, self.trouble)
        self._seen, self.directory, self.trouble = seen, directory, trouble
        return changed

    def is_alive(self) -> bool:
        """Say whether the supervisor that wrote the file lives."""
        if self.directory is None:
            return False
        try:
            os.kill(self.directory.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True  # somebody else's, but alive
        return not _is_zombie(self.directory.pid)


def _is_zombie(pid: int) -> bool:
    """Say whether a process has ended and only waits for its parent to notice."""
    try:
        # The name before the state is in brackets and may hold anything (proc(5)).
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def refusal(path: Path, mode: int) -> str:
    """Say in words why this user may not use a file (``mode`` as for `os.access`); ``""`` where it may, or it is not there."""
    for parent in reversed(path.parents):
        if not os.access(parent, os.X_OK, effective_ids=True):
            return f"this user may not enter {parent}" if parent.exists() else ""
    return f"this user may not use {path}" if path.exists() and not os.access(path, mode, effective_ids=True) else ""


def refusal_at(address: str) -> str:
    """Say the same of a worker's ZeroMQ address: ZeroMQ itself tries again for ever, and says nothing."""
    path = runtime.ipc_path(address)
    return "" if path is None else refusal(path, os.W_OK)


def feed_file(configuration: str | os.PathLike[str] | None, directory: str | os.PathLike[str] | None) -> Path:
    """Return where ``feed.json`` is: in the runtime directory given, else in the one that a configuration implies.

    Of the configuration only ``runtime.directory`` is read: no secrets, and no complaint about anything else in it.
    """
    configured = "" if directory is None else os.fspath(directory)
    if directory is None and configuration is not None:
        try:
            with Path(configuration).open("rb") as file:
                document = tomllib.load(file)
        except (OSError, ValueError) as error:
            raise FeedError(f"cannot read the configuration {os.fspath(configuration)}: {error}") from None
        table = document.get("runtime", {})
        found = table.get("directory", "") if isinstance(table, dict) else ""
        configured = found if isinstance(found, str) else ""
    return runtime.directory(configured) / FEED_FILE
