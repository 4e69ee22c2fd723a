"""What becomes of a command whose output nobody reads, or that cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (("topics",), ("drill", "--list"), ("check", "deploy/config.toml", "--explain"))
ROOT = Path(__file__).parents[2]


def run(command: tuple[str, ...], stdout: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "feedhandler", *command],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_reader_that_went_away_is_no_failure(command: tuple[str, ...]) -> None:
    """`feedhandler topics | head -1`: exit 0, without a word; 1 would mean that something is wrong."""
    read, write = os.pipe()
    os.close(read)
    try:
        ended = run(command, write)
    finally:
        os.close(write)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux'")
@pytest.mark.parametrize("command", COMMANDS)
def test_full_disk_is_one_line(command: tuple[str, ...]) -> None:
    """Exit 1, and no traceback."""
    with Path("/dev/full").open("w") as full:
        ended = run(command, full.fileno())
    assert (ended.returncode, ended.stderr) == (1, "feedhandler: No space left on device\n")
