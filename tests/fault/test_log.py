"""What strategies see of a log that nobody reads: nothing."""

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Self

from support.feed import Feed, kill, wait_until
from support.onlooker import Onlooker
from support.simulator import Simulator
from support.strategy import unsaid

from feedhandler.wire import DOWN, LIVE

BOOK = "linear.orderbook.50.BTCUSDT"
CONFIG = """
network = "sim"
[endpoints.linear]
product = "linear"
url = "{linear}"
topics = ["orderbook.50.BTCUSDT"]
"""
PIPE_BYTES = 4096
LONGEST_LINE_BYTES = 1000
"""Of this test's: a pipe with less room than this takes no more lines."""
GARBAGE = 60
STOP_S = 5.0


class Unread(Feed):
    """A feed whose standard output and error are a pipe that nobody reads, as of a pager that stands still."""

    def start(self) -> Self:
        self.log.touch()
        self._reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "feedhandler", "run", str(self.file), "--runtime", str(self.runtime)],
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
        os.close(writing)
        return self

    def unread_bytes(self) -> int:
        """Return how much waits in the pipe."""
        (found,) = struct.unpack("i", fcntl.ioctl(self._reading, termios.FIONREAD, bytes(4)))
        return int(found)

    def close(self) -> None:
        """Let the pipe go."""
        os.close(self._reading)


def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    """Inject a full pipe and frames to log → data go on, a killed worker is `live` again, stopping takes no longer."""
    with Simulator("--rate", "3", "--truth") as venue:
        feed = Unread(tmp_path, CONFIG.format(linear=venue.url_of("linear")))
        with feed, Onlooker(BOOK, books=(BOOK,), runtime=feed.runtime) as strategy:
            feed.wait_live("linear")
            for _ in range(3):  # the worker logs only a few of them in a second
                before = feed.counters("linear")["unparsed"]
                venue.fault("garbage", what="truncated", topic="orderbook.50.BTCUSDT", count=GARBAGE)
                wait_until(
                    lambda before=before: feed.counters("linear")["unparsed"] == before + GARBAGE,  # type: ignore[misc]  # mypy infers no lambda with a default
                    "all frames counted",
                )
            assert PIPE_BYTES - feed.unread_bytes() < LONGEST_LINE_BYTES, "the pipe is full"
            start = len(strategy.seen)
            wait_until(lambda: len(strategy.of(BOOK, start)) > 10, "data though the pipe is full")
            start = len(strategy.seen)
            kill(feed.worker("linear")["pid"])
            wait_until(lambda: {DOWN, LIVE} <= {one.word for one in strategy.of(BOOK, start)}, "down and live again")
            assert unsaid(strategy.seen) == []
            assert feed.process is not None
            stopped_s = time.monotonic()
            feed.process.send_signal(signal.SIGTERM)
            assert feed.process.wait(STOP_S * 2) == 0
            assert time.monotonic() - stopped_s < STOP_S
        feed.close()
