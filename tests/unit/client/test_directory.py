"""Where feed.json is, and what it says."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from support.rights import bound_by_permissions

from feedhandler import runtime
from feedhandler.client.directory import DirectoryWatch, feed_file, refusal, refusal_at
from feedhandler.errors import FeedError
from feedhandler.runtime import CarriedWorker, FeedDirectory


def directory(pid: int, *topics: str) -> FeedDirectory:
    worker = CarriedWorker(endpoint="linear", product="linear", addresses=["ipc:///a"], topics=list(topics))
    return FeedDirectory(pid=pid, network="sim", quiet_status_s=10.0, workers={"linear": worker})


def write(path: Path, content: FeedDirectory) -> None:
    runtime.write_whole(path, msgspec.json.encode(content))


def test_directory_is_read_when_it_changes(tmp_path: Path) -> None:
    """Absent, there, unchanged, another one, gone: each change is seen once."""
    path = tmp_path / "feed.json"
    watch = DirectoryWatch(path)
    assert (watch.poll(), watch.directory) == (False, None)
    write(path, directory(os.getpid(), "a"))
    assert (watch.poll(), watch.directory) == (True, directory(os.getpid(), "a"))
    assert watch.poll() is False
    write(path, directory(os.getpid(), "a", "b"))
    assert (watch.poll(), watch.directory) == (True, directory(os.getpid(), "a", "b"))
    write(path, directory(os.getpid(), "a", "b"))
    assert watch.poll() is False, "written again with the same content"
    path.unlink()
    assert (watch.poll(), watch.directory) == (True, None)


def test_directory_without_products_is_read(tmp_path: Path) -> None:
    """Fields may be absent, or more than are known."""
    path = tmp_path / "feed.json"
    worker = '{"endpoint": "linear", "addresses": [], "topics": [], "colour": "red"}'
    path.write_text(f'{{"pid": 1, "network": "sim", "quiet_status_s": 10.0, "workers": {{"linear": {worker}}}}}')
    watch = DirectoryWatch(path)
    assert watch.poll()
    assert watch.directory is not None
    assert watch.directory.workers["linear"].product == ""


def test_unreadable_directory_counts_as_none(tmp_path: Path) -> None:
    """It is written in one step, so a broken one is nobody's feed; why it cannot be read is a change, too, and said once."""
    path = tmp_path / "feed.json"
    path.write_text("{")
    watch = DirectoryWatch(path)
    assert (watch.poll(), watch.directory) == (True, None)
    assert watch.trouble == "Input data was truncated"
    assert watch.poll() is False
    path.unlink()
    assert (watch.poll(), watch.trouble) == (True, "")


def test_what_may_not_be_used_is_said_in_words(tmp_path: Path) -> None:
    """The first directory that may not be entered, or the file itself; nothing of what is not there."""
    file = tmp_path / "run" / "private" / "a.pub"
    assert refusal(file, os.W_OK) == refusal_at(f"ipc://{file}") == ""
    file.parent.mkdir(parents=True)
    assert refusal_at(f"ipc://{file}") == ""
    file.touch(mode=0)
    assert refusal_at("tcp://127.0.0.1:5600") == ""
    with bound_by_permissions():
        assert refusal_at(f"ipc://{file}") == f"this user may not use {file}"
        file.parent.chmod(0)
        assert refusal_at(f"ipc://{file}") == f"this user may not enter {file.parent}"
        file.parents[1].chmod(0)
        assert refusal_at(f"ipc://{file}") == f"this user may not enter {file.parents[1]}"
    file.parents[1].chmod(0o700)
    file.parent.chmod(0o700)
    file.chmod(0o700)
    with bound_by_permissions():
        assert refusal_at(f"ipc://{file}") == ""


def test_alive_is_who_wrote_it(tmp_path: Path) -> None:
    """A living process, also somebody else's; no directory and no process are dead."""
    path = tmp_path / "feed.json"
    watch = DirectoryWatch(path)
    assert not watch.is_alive()
    for pid, alive in ((os.getpid(), True), (1, True)):
        write(path, directory(pid))
        watch.poll()
        assert watch.is_alive() is alive
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write(path, directory(gone.pid))
    watch.poll()
    assert not watch.is_alive()


def test_ended_process_that_nobody_waited_for_is_dead(tmp_path: Path) -> None:
    """A feed started by a program that does not wait for it stays behind as a zombie when it is killed."""
    path = tmp_path / "feed.json"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    write(path, directory(ended.pid))
    watch = DirectoryWatch(path)
    watch.poll()
    assert not watch.is_alive()
    ended.wait()


def test_process_that_cannot_be_looked_at_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc hides what is not ours, that it can be signalled counts."""
    path = tmp_path / "feed.json"
    write(path, directory(os.getpid()))
    watch = DirectoryWatch(path)
    watch.poll()

    def refuse(_path: Path) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert watch.is_alive()


def test_process_of_another_user_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not being allowed to signal it proves that it is there."""

    def refuse(pid: int, number: int) -> None:
        raise PermissionError(pid, number)

    path = tmp_path / "feed.json"
    write(path, directory(4711))
    watch = DirectoryWatch(path)
    watch.poll()
    monkeypatch.setattr(os, "kill", refuse)
    assert watch.is_alive()


def test_place_as_given_configured_or_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory given, else the configuration's, else the default."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/feedhandler")
    file = tmp_path / "feed.toml"
    file.write_text('runtime.directory = "/var/feed"')
    assert feed_file(None, tmp_path) == tmp_path / "feed.json"
    assert feed_file(file, None) == Path("/var/feed/feed.json")
    assert feed_file(None, None) == Path("/run/feedhandler/feed.json")


@pytest.mark.parametrize("content", ["", "runtime = 1", "[runtime]", "runtime.directory = 7"])
def test_configuration_without_a_directory_means_the_default(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else is wrong with it is said by the feed, not here."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/feedhandler")
    file = tmp_path / "feed.toml"
    file.write_text(content)
    assert feed_file(file, None) == Path("/run/feedhandler/feed.json")


def test_unreadable_configuration_is_an_error(tmp_path: Path) -> None:
    """One line that names the file."""
    with pytest.raises(FeedError, match="cannot read the configuration"):
        feed_file(tmp_path / "feed.toml", None)
