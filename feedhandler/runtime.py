"""The runtime directory: where sockets live, who owns it, and what outlasts a process.

==================  =====================================================================
``control``         the supervisor's ZeroMQ ROUTER
``<worker>.pub``    a worker's ZeroMQ PUB (unless the configuration binds elsewhere)
``private/``        the same for private streams; mode 0700 always, also where the group may use the rest
``*.lock``          held by the owner: one for the supervisor, one for each bound path (`SocketPath`)
``epoch``           the last epoch issued
``feed.json``       who carries what (`FeedDirectory`), for clients; gone when the feed is stopped
==================  =====================================================================
"""

import contextlib
import errno
import fcntl
import grp
import os
import re
import socket
import stat
import time
import zlib
from pathlib import Path
from typing import Final

import msgspec

FEED_FILE: Final = "feed.json"
EPOCH_FILE: Final = "epoch"
SUPERVISOR_LOCK: Final = "supervisor.lock"
PRIVATE_DIRECTORY: Final = "private"

MAX_EPOCH: Final = 2**32 - 1
"""The wire format's header has a u32 for it."""
_EPOCH: Final = re.compile(rb"[0-9]{1,10}")

MAX_IPC_PATH_BYTES: Final = 107
"""Longest path of a Unix socket on Linux (sockaddr_un)."""
_BACKLOG: Final = 1024
"""Connections that wait to be accepted: when a worker is replaced, everybody connects at once."""


class RuntimeDirectoryError(Exception):
    """The runtime directory cannot be used; the text says why, in one line."""


class CarriedWorker(msgspec.Struct, kw_only=True):
    """One worker, as a client needs to know it."""

    endpoint: str
    product: str = ""
    """The venue's product behind the endpoint; ``""`` = not said."""
    addresses: list[str]
    """Where its PUB socket is bound."""
    topics: list[str]
    generation: int = 0
    """How many successors by command this worker has had. Whoever is connected to an earlier one connects to this one,
    too, and goes on reading the earlier one until it has ended."""


class FeedDirectory(msgspec.Struct, kw_only=True):
    """The content of ``feed.json``: rewritten, in one step, whenever it changes."""

    pid: int
    network: str
    quiet_status_s: float
    workers: dict[str, CarriedWorker]


def directory(configured: str = "") -> Path:
    """Return the runtime directory: as configured, else by the environment, else ``/tmp/feedhandler-<uid>``."""
    if configured:
        return Path(configured).expanduser().absolute()
    # systemd joins several directories by a colon; the first is ours.
    if systemd := os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        return Path(systemd)
    if session := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(session) / "feedhandler"
    # Not $TMPDIR: supervisor and client must agree without talking to each other.
    return Path("/tmp") / f"feedhandler-{os.getuid()}"  # noqa: S108 - `prepare` refuses one that belongs to somebody else


def prepare(path: Path, group: str = "", *, private: bool = False) -> None:
    """Create the directory with mode 0700, or 0750 and its group; with ``private`` also ``private/`` in it, always 0700.

    Raises `RuntimeDirectoryError` for one that belongs to another user, and for one open to others that somebody
    else already uses: to close it (think of ``/tmp``) would lock them out.
    """
    try:
        gid = grp.getgrnam(group).gr_gid if group else -1
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise RuntimeDirectoryError(
                f"{path} belongs to another user (uid {found.st_uid}); choose another with --runtime"
            )
        if found.st_mode & 0o027 and any(path.iterdir()) and not (path / EPOCH_FILE).exists():
            raise RuntimeDirectoryError(
                f"{path} is used by others (mode {found.st_mode & 0o7777:04o}, not empty); "
                "choose a directory for the feed alone with --runtime"
            )
        if group:
            os.chown(path, -1, gid)
        path.chmod(0o750 if group else 0o700)
        if private:
            _prepare_private(path / PRIVATE_DIRECTORY)
    except KeyError:
        raise RuntimeDirectoryError(f'runtime.group: there is no group "{group}" on this machine') from None
    except OSError as error:
        raise RuntimeDirectoryError(
            f"cannot use the runtime directory {error.filename or path}: {error.strerror}"
        ) from None


def _prepare_private(path: Path) -> None:
    """Make the directory of private streams the owner's alone, whatever it was before."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    # Not through a link: what it leads to is somebody's, and closing that would be the wrong thing done.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if (owner := os.fstat(descriptor).st_uid) != os.geteuid():
            raise RuntimeDirectoryError(f"{path} belongs to another user (uid {owner}); remove it")
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


class Lock:
    """A lock that ends with the process that holds it, however it ends; the file itself may stay."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def acquire(self) -> int | None:
        """Take the lock; return None, or the process id (0 = unknown) of the one who holds it."""
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held_by = os.read(descriptor, 20).strip()
                os.close(descriptor)
                return int(held_by) if held_by.isdigit() else 0
            # The holder before us removes the file when it releases: a lock on a removed file guards nothing.
            try:
                current = self.path.stat().st_ino
            except FileNotFoundError:
                current = -1
            if current != os.fstat(descriptor).st_ino:
                os.close(descriptor)
                continue
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            self._descriptor = descriptor
            return None

    @property
    def is_held(self) -> bool:
        """Whether it is ours now."""
        return self._descriptor >= 0

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if self.is_held:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


class SocketPath:
    """The path of a Unix socket: whose it is, by a lock beside it, and which socket stands there.

    A socket gets its rights and listens under a passing name, and is then renamed onto the path. So the path leads to the
    one before or to this one, and never to nothing or to one that is open to more people than it should be. Another
    process may take the path while the one before goes on with those who are connected to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock(path.with_name(f"{path.name}.lock"))
        # One name will do: only the holder of the lock uses it. It fits where the path itself has the greatest length.
        self._passing = f".{zlib.crc32(path.name.encode()):08x}.new"
        self._ours: tuple[int, int] | None = None
        """Device and inode of the socket that we put there."""

    def take(self) -> int | None:
        """Take the lock; return None, or the process id (0 = unknown) of the one who holds it."""
        return self._lock.acquire()

    def listen(self) -> socket.socket:
        """Return a socket that listens, to be put in its place by `show`. Needs the lock; raises `OSError`.

        What stands there and is no socket is not ours to replace.
        """
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                raise FileExistsError(errno.EEXIST, "something that is no socket stands there")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        directory = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._sweep()
            listener.setblocking(False)  # its accepting thread must not wait for one who went away again
            whole = str(self.path.with_name(self._passing))
            fits = len(os.fsencode(whole)) <= MAX_IPC_PATH_BYTES
            listener.bind(whole if fits else f"/proc/self/fd/{directory}/{self._passing}")
            # Connecting needs write permission on the socket; the directory's mode decides who gets that far.
            parent = os.fstat(directory)
            group_may_enter = parent.st_mode & stat.S_IXGRP
            made = os.stat(self._passing, dir_fd=directory, follow_symlinks=False)
            if group_may_enter and made.st_gid != parent.st_gid:
                # `runtime.group` need not be our own first group, which a new socket has.
                os.chown(self._passing, -1, parent.st_gid, dir_fd=directory, follow_symlinks=False)
            os.chmod(self._passing, 0o770 if group_may_enter else 0o700, dir_fd=directory)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        finally:
            os.close(directory)
        return listener

    def show(self) -> None:
        """Put the socket that `listen` returned last in its place, in one step."""
        made = self.path.with_name(self._passing).lstat()
        self.path.with_name(self._passing).rename(self.path)
        self._ours = made.st_dev, made.st_ino

    def give_back(self) -> None:
        """Release the lock: another may take the path. What listens goes on until then, and with who is connected."""
        self._lock.release()

    def remove(self) -> None:
        """Remove our socket from the path, unless another has taken that over, and release the lock."""
        with contextlib.suppress(FileNotFoundError):  # the whole directory may be gone
            if not self._lock.is_held and self._lock.acquire() is not None:
                return
            self._sweep()
            found = self.path.lstat()
            if (found.st_dev, found.st_ino) == self._ours:
                self.path.unlink()
        self._lock.release()

    def _sweep(self) -> None:
        """Remove what was not shown: of ours, or of one who was killed between the two."""
        self.path.with_name(self._passing).unlink(missing_ok=True)


class Epochs:
    """Issues epochs: u32, growing over the supervisor's life and across its restarts."""

    def __init__(self, runtime: Path) -> None:
        self.trouble: OSError | None = None
        """Why the last one issued could not be written down."""
        self._path = runtime / EPOCH_FILE
        try:
            text = self._path.read_bytes().strip()
        except FileNotFoundError:
            text = b""
        last = int(text) if _EPOCH.fullmatch(text) else 0
        # Never below the Unix time at first use: a lost or spoilt file cannot make epochs go back.
        self._last = max(last if last < MAX_EPOCH else 0, int(time.time()) - 1)

    def issue(self) -> int:
        """Return the next epoch, written down before it is used.

        Where it cannot be (a full disk) it is issued all the same, and `trouble` says why: a worker without an epoch
        would be worse, and the Unix time keeps the epochs of the next supervisor above these.
        """
        self._last += 1
        try:
            write_whole(self._path, str(self._last).encode())
        except OSError as error:
            self.trouble = error
        else:
            self.trouble = None
        return self._last


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old content or the new, never a part."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        error.filename = str(path)  # a full disk says nothing of what it was too small for
        raise


def ipc_path(address: str) -> Path | None:
    """Return the socket file of an ``ipc://`` address, or None where it has none."""
    path = address.removeprefix("ipc://")
    return Path(path) if path != address and not path.startswith("@") else None
