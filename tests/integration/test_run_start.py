"""What keeps a feed from starting, and what does not."""

import resource
import subprocess
import sys
from pathlib import Path
from typing import Final

import psutil
import pytest
from support.feed import Feed, wait_until

from feedhandler import control, runtime
from feedhandler.supervisor.process import EXIT_CANNOT_START

CONFIG: Final = 'network = "sim"\n[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]\n'


def command(feed: Feed) -> list[str]:
    return [sys.executable, "-m", "feedhandler", "run", str(feed.file), "--runtime", str(feed.runtime)]


def refused(feed: Feed, largest_file_bytes: int = resource.RLIM_INFINITY) -> str:
    """Run a feed that cannot start; return its one line."""
    limit = (largest_file_bytes, resource.RLIM_INFINITY)
    done = subprocess.run(
        command(feed),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    assert done.returncode == EXIT_CANNOT_START
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_feed_runs_with_standard_streams_closed(tmp_path: Path, closed: str) -> None:
    """It logs to nowhere: nothing else gets the number of one of them, in no process of the feed; and it ends as asked."""
    feed = Feed(tmp_path, CONFIG)
    feed.log.touch()
    feed.process = process = subprocess.Popen(["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command(feed)])
    try:
        feed.wait_live("linear")
        family = feed.family()
        assert len(family) == 3
        for one in family:
            opened = [Path("/proc", str(one.pid), "fd", number).readlink() for number in "012"]
            assert opened[2] == Path("/dev/null")
            # The children's input is a pipe from the supervisor.
            assert closed == "2>&-" or (opened[0].name.startswith("pipe"), opened[1]) == (
                one.pid != process.pid,
                opened[2],
            )
        assert feed.command("stop").returncode == 0
        assert process.wait(10) == 0
        wait_until(lambda: not any(map(psutil.Process.is_running, family)), "the end of all")
    finally:
        feed.__exit__(None, None, None)


@pytest.mark.parametrize(("room_bytes", "name"), [(0, runtime.SUPERVISOR_LOCK), (20, runtime.FEED_FILE)])
def test_full_disk_at_the_start_is_one_line(tmp_path: Path, room_bytes: int, name: str) -> None:
    """Exit 3, with the path; here no file may grow beyond some bytes, which is as good as full."""
    feed = Feed(tmp_path, CONFIG)
    told = f"Error: cannot start the feed: {feed.runtime}/{name}: File too large"
    assert refused(feed, largest_file_bytes=room_bytes) == told


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (runtime.SUPERVISOR_LOCK, "Is a directory"),
        (runtime.EPOCH_FILE, "Is a directory"),
        (control.SOCKET_NAME, "Address already in use"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, name: str, reason: str) -> None:
    """One line and exit 3; nothing that runs is left behind."""
    feed = Feed(tmp_path, CONFIG)
    (feed.runtime / name).mkdir(parents=True)
    feed.runtime.chmod(0o700)
    assert refused(feed) == f"Error: cannot start the feed: {feed.runtime}/{name}: {reason}"
    assert not (feed.runtime / runtime.SUPERVISOR_LOCK).is_file()
