"""The runtime directory: which one, whose, and what outlasts a process."""

import fcntl
import grp
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from feedhandler import runtime


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Which directory.


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_configured_directory_comes_first(bare_environment: pytest.MonkeyPatch) -> None:
    """What the configuration names wins over the environment."""
    bare_environment.setenv("RUNTIME_DIRECTORY", "/run/feedhandler")
    assert runtime.directory("/srv/feed") == Path("/srv/feed")


def test_configured_directory_is_made_absolute(bare_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A relative directory counts from where the program stands, and ``~`` is the user's home."""
    bare_environment.chdir(tmp_path)
    bare_environment.setenv("HOME", str(tmp_path / "home"))
    assert runtime.directory("feed") == tmp_path / "feed"
    assert runtime.directory("~/feed") == tmp_path / "home" / "feed"


def test_systemds_directory_comes_second(bare_environment: pytest.MonkeyPatch) -> None:
    """The first of systemd's runtime directories wins over the session's."""
    bare_environment.setenv("RUNTIME_DIRECTORY", "/run/feedhandler:/run/other")
    bare_environment.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert runtime.directory() == Path("/run/feedhandler")


def test_sessions_directory_comes_third(bare_environment: pytest.MonkeyPatch) -> None:
    """Without systemd's, it is ``feedhandler`` in the session's runtime directory."""
    bare_environment.setenv("RUNTIME_DIRECTORY", "")
    bare_environment.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert runtime.directory() == Path("/run/user/7/feedhandler")


def test_last_resort_does_not_depend_on_the_environment(bare_environment: pytest.MonkeyPatch) -> None:
    """Without any, supervisor and client agree on /tmp/feedhandler-<uid>, whatever $TMPDIR each has."""
    bare_environment.setenv("TMPDIR", "/somewhere/else")
    assert runtime.directory() == Path(f"/tmp/feedhandler-{os.getuid()}")  # noqa: S108 - the contract's words


# Whose directory.


def test_prepare_makes_a_directory_for_the_owner_alone(tmp_path: Path) -> None:
    """A new directory, and what is missing above it, is made with mode 0700."""
    runtime.prepare(tmp_path / "a" / "feed")
    assert mode(tmp_path / "a" / "feed") == 0o700


def test_prepare_lets_the_group_in(tmp_path: Path) -> None:
    """With a group the mode is 0750 and the directory belongs to that group."""
    group = grp.getgrgid(os.getgid())
    runtime.prepare(tmp_path / "feed", group.gr_name)
    assert mode(tmp_path / "feed") == 0o750
    assert (tmp_path / "feed").stat().st_gid == group.gr_gid


def test_prepare_closes_an_empty_directory(tmp_path: Path) -> None:
    """An empty directory that others could enter (systemd's default is 0755) is closed."""
    feed = tmp_path / "feed"
    feed.mkdir()
    feed.chmod(0o755)
    runtime.prepare(feed)
    assert mode(feed) == 0o700


def test_prepare_closes_its_own_directory_again(tmp_path: Path) -> None:
    """A directory that a feed used before is closed, whatever its mode has become."""
    feed = tmp_path / "feed"
    runtime.prepare(feed)
    runtime.Epochs(feed).issue()
    feed.chmod(0o755)
    runtime.prepare(feed)
    assert mode(feed) == 0o700


def test_prepare_takes_the_group_back(tmp_path: Path) -> None:
    """Without the group that it had, a directory is the owner's alone again."""
    feed = tmp_path / "feed"
    runtime.prepare(feed, grp.getgrgid(os.getgid()).gr_name)
    (feed / "linear.pub").touch()
    runtime.prepare(feed)
    assert mode(feed) == 0o700


@pytest.mark.parametrize("shared", [0o755, 0o1777, 0o770])
def test_prepare_refuses_a_directory_that_others_use(tmp_path: Path, shared: int) -> None:
    """A directory open to others with something in it, like /tmp, is left as it is."""
    used = tmp_path / "used"
    used.mkdir()
    (used / "somebody's file").touch()
    used.chmod(shared)
    with pytest.raises(runtime.RuntimeDirectoryError, match=rf"is used by others \(mode {shared:04o}, not empty\)"):
        runtime.prepare(used)
    assert mode(used) == shared


def test_prepare_refuses_another_users_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that belongs to somebody else is refused, with the user's id."""
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(runtime.RuntimeDirectoryError, match=rf"belongs to another user \(uid {owner}\)"):
        runtime.prepare(tmp_path)


def test_prepare_names_a_group_that_is_not_there(tmp_path: Path) -> None:
    """A group unknown to the machine is named, with the key that asked for it, and nothing is made."""
    with pytest.raises(runtime.RuntimeDirectoryError, match=r'runtime\.group: there is no group "no-such-group"'):
        runtime.prepare(tmp_path / "feed", "no-such-group")
    assert not (tmp_path / "feed").exists()


def test_prepare_says_why_the_system_refuses(tmp_path: Path) -> None:
    """What the system refuses is one line with the path and the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(runtime.RuntimeDirectoryError, match=r"cannot use the runtime directory .*: Not a directory"):
        runtime.prepare(tmp_path / "file" / "feed")


@pytest.mark.parametrize("shared", [False, True])
def test_prepare_makes_the_private_directory_for_the_owner_alone(tmp_path: Path, shared: bool) -> None:
    """Private streams get a directory with mode 0700, also where the group may enter the rest; others get none."""
    group = grp.getgrgid(os.getgid()).gr_name if shared else ""
    feed = tmp_path / "feed"
    runtime.prepare(feed, group)
    assert list(feed.iterdir()) == []
    runtime.prepare(feed, group, private=True)
    assert (mode(feed), mode(feed / "private")) == (0o750 if shared else 0o700, 0o700)


def test_prepare_closes_the_private_directory_again(tmp_path: Path) -> None:
    """One that was opened meanwhile is closed, and keeps what is in it."""
    runtime.prepare(tmp_path, private=True)
    (tmp_path / "private" / "private.pub").touch()
    (tmp_path / "private").chmod(0o777)
    runtime.prepare(tmp_path, private=True)
    assert mode(tmp_path / "private") == 0o700
    assert (tmp_path / "private" / "private.pub").exists()


def test_prepare_refuses_another_users_private_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A private directory that belongs to somebody else is refused, with the user's id, and left as it is."""
    private = tmp_path / "private"
    private.mkdir()
    private.chmod(0o755)
    real = os.fstat

    def foreign(descriptor: int) -> os.stat_result:
        values = list(real(descriptor))
        values[stat.ST_UID] += 1
        return os.stat_result(values)

    monkeypatch.setattr(os, "fstat", foreign)
    uid = os.geteuid() + 1
    with pytest.raises(runtime.RuntimeDirectoryError, match=rf"private belongs to another user \(uid {uid}\)"):
        runtime.prepare(tmp_path, private=True)
    assert mode(private) == 0o755


@pytest.mark.parametrize("kind", ["link", "file"])
def test_prepare_refuses_what_is_no_private_directory(tmp_path: Path, kind: str) -> None:
    """A link in its place is not followed, nor what it leads to closed; a file in its place is said."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    feed = tmp_path / "feed"
    runtime.prepare(feed)
    if kind == "link":
        (feed / "private").symlink_to(elsewhere)
    else:
        (feed / "private").touch()
    with pytest.raises(
        runtime.RuntimeDirectoryError, match=r"cannot use the runtime directory .*feed/private: Not a dir"
    ):
        runtime.prepare(feed, private=True)
    assert mode(elsewhere) == 0o755


# Locks.


def test_lock_is_taken_once(tmp_path: Path) -> None:
    """A second taker is told the process id of the first."""
    first, second = runtime.Lock(tmp_path / "x.lock"), runtime.Lock(tmp_path / "x.lock")
    assert first.acquire() is None
    assert second.acquire() == os.getpid()
    first.release()
    assert second.acquire() is None
    second.release()


def test_lock_of_a_silent_holder_is_still_a_lock(tmp_path: Path) -> None:
    """A holder that has not written its process id yet is reported as 0."""
    descriptor = os.open(tmp_path / "x.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert runtime.Lock(tmp_path / "x.lock").acquire() == 0
    os.close(descriptor)


def test_release_removes_the_file(tmp_path: Path) -> None:
    """A lock given back leaves nothing behind, and giving it back twice does nothing."""
    lock = runtime.Lock(tmp_path / "x.lock")
    lock.acquire()
    lock.release()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.lock").touch()
    lock.release()
    assert (tmp_path / "x.lock").exists()


def test_stale_file_is_no_lock(tmp_path: Path) -> None:
    """A file left by a dead holder, with its longer process id in it, is taken over."""
    path = tmp_path / "x.lock"
    path.write_text("99999999999999")
    lock = runtime.Lock(path)
    assert lock.acquire() is None
    assert path.read_text() == str(os.getpid())
    lock.release()


HOLD = """
import sys, time
from pathlib import Path
from feedhandler.runtime import Lock
lock = Lock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
time.sleep(60)
"""


def test_lock_ends_with_its_process(tmp_path: Path) -> None:
    """A holder that is killed holds no longer, though it could not give the lock back."""
    path = tmp_path / "x.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "None\n"
            lock = runtime.Lock(path)
            assert lock.acquire() == holder.pid
        finally:
            holder.kill()
    assert lock.acquire() is None
    lock.release()


@pytest.mark.parametrize("replaced", [False, True])
def test_lock_on_a_removed_file_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool) -> None:
    """Where the holder removes its file between our opening and locking it, the lock on the new file counts."""
    path = tmp_path / "x.lock"
    flock = fcntl.flock
    calls: list[int] = []

    def remove_then_flock(descriptor: int, operation: int) -> None:
        if not calls:
            path.unlink()
            if replaced:
                # A second file, so that the new one cannot have the old one's number.
                (tmp_path / "beside").touch()
                path.touch()
        calls.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", remove_then_flock)
    lock = runtime.Lock(path)
    assert lock.acquire() is None
    assert len(calls) == 2
    assert runtime.Lock(path).acquire() == os.getpid()
    lock.release()


# Whose socket is on a path.


def test_socket_is_put_in_its_place_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the new one is there, complete and with its rights, the one before is."""
    path = tmp_path / "linear.pub"
    first, second = runtime.SocketPath(path), runtime.SocketPath(path)
    at_rename: list[tuple[int, int]] = []
    rename = Path.rename

    def look_and_rename(source: Path, target: Path) -> Path:
        at_rename.append((target.lstat().st_ino, mode(source)))
        return rename(source, target)

    assert first.take() is None
    with first.listen():
        first.show()
        inode = path.lstat().st_ino
        first.give_back()
        assert second.take() is None
        with second.listen() as listener:
            monkeypatch.setattr(Path, "rename", look_and_rename)
            second.show()
            assert at_rename == [(inode, 0o700)]
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                listener.accept()[0].close()
            first.remove()
            assert path.is_socket(), "it is no longer the first one's"
            second.remove()
    assert list(tmp_path.iterdir()) == []


# Epochs.


def test_epochs_begin_at_the_time_and_grow(tmp_path: Path) -> None:
    """The first epoch is not below the Unix time in s; each next is greater, and is on disk before it is used."""
    before = int(time.time())
    epochs = runtime.Epochs(tmp_path)
    first = epochs.issue()
    assert before <= first <= int(time.time())
    assert epochs.issue() == first + 1
    assert (tmp_path / runtime.EPOCH_FILE).read_text() == str(first + 1)


def test_epochs_grow_across_restarts(tmp_path: Path) -> None:
    """A new supervisor continues above the last epoch issued, also where the clock went back."""
    ahead = int(time.time()) + 1000
    (tmp_path / runtime.EPOCH_FILE).write_text(f"{ahead}\n")
    assert runtime.Epochs(tmp_path).issue() == ahead + 1


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\0", b"\xff\xfe", b"-5", b"1.5", "²".encode(), b"9" * 5000, str(2**32 - 1).encode()]
)
def test_spoilt_epoch_file_begins_at_the_time(tmp_path: Path, content: bytes) -> None:
    """A file that holds no epoch, or leaves none to issue, counts as lost."""
    (tmp_path / runtime.EPOCH_FILE).write_bytes(content)
    before = int(time.time())
    assert before <= runtime.Epochs(tmp_path).issue() <= before + 60


def test_epoch_that_cannot_be_written_down_is_issued_all_the_same(tmp_path: Path) -> None:
    """A full disk must not keep a worker from starting again; what is wrong is there to be told, as long as it lasts."""
    directory = tmp_path / "gone"
    epochs = runtime.Epochs(directory)
    assert epochs.trouble is None
    first = epochs.issue()
    assert isinstance(epochs.trouble, OSError)
    assert epochs.issue() == first + 1
    directory.mkdir()
    assert epochs.issue() == first + 2
    assert epochs.trouble is None
    assert (directory / runtime.EPOCH_FILE).read_text() == str(first + 2)


# Files and addresses.


def test_write_whole_replaces_in_one_step(tmp_path: Path) -> None:
    """Who has the old file open keeps the old content; the new name has the new; nothing else is left."""
    path = tmp_path / runtime.FEED_FILE
    runtime.write_whole(path, b"old")
    with path.open("rb") as opened:
        runtime.write_whole(path, b"new content")
        assert opened.read() == b"old"
    assert path.read_bytes() == b"new content"
    assert list(tmp_path.iterdir()) == [path]


def test_write_whole_that_fails_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    """The system names no path where a disk is full."""
    path = tmp_path / runtime.FEED_FILE
    path.mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        runtime.write_whole(path, b"content")
    assert raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("ipc:///run/feed/linear.pub", Path("/run/feed/linear.pub")),
        ("ipc://linear.pub", Path("linear.pub")),
        ("ipc://@abstract", None),
        ("tcp://127.0.0.1:5600", None),
        ("inproc://x", None),
    ],
)
def test_ipc_path_is_the_file_of_an_address(address: str, path: Path | None) -> None:
    """Only ipc addresses outside the abstract namespace have a file."""
    assert runtime.ipc_path(address) == path


def test_feed_directory_reads_as_it_was_written() -> None:
    """The content of feed.json comes back as it went in."""
    feed = runtime.FeedDirectory(
        pid=1,
        network="sim",
        quiet_status_s=10.0,
        workers={
            "linear": runtime.CarriedWorker(
                endpoint="linear", addresses=["ipc:///run/linear.pub"], topics=["tickers.BTCUSDT"]
            )
        },
    )
    assert msgspec.json.decode(msgspec.json.encode(feed), type=runtime.FeedDirectory) == feed
