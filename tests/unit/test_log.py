"""Logs: text for a person, one JSON object a line for a program, always on stderr, and no line lost."""

import datetime as dt
import fcntl
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.feed import wait_until

from feedhandler import log


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.excepthook
    yield
    for handler in root.handlers:
        if isinstance(handler, log.Writer):
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook = hook


def lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    logging.getLogger().handlers[0].flush()
    captured = capfd.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def objects(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(capfd)]


def failed() -> None:
    raise ZeroDivisionError("a bug")


def test_json_line_has_time_level_process_and_message(capfd: pytest.CaptureFixture[str]) -> None:
    """One object a line; the time is UTC, to the microsecond."""
    logger = log.start("linear", "info", log.JSON)
    before = dt.datetime.now(dt.UTC)
    logger.warning("%d topics %s", 3, "down")
    (line,) = objects(capfd)
    assert before <= dt.datetime.fromisoformat(line.pop("time")) <= dt.datetime.now(dt.UTC)
    assert line == {"level": "warning", "process": "linear", "message": "3 topics down"}


def test_facts_become_keys_of_the_json_line(capfd: pytest.CaptureFixture[str]) -> None:
    """What the message says in words a program finds by name."""
    logger = log.start("linear", "info", log.JSON)
    logger.info("BTCUSDT live", extra={"facts": {"state": "live", "topics": 1}})
    (line,) = objects(capfd)
    assert (line["state"], line["topics"]) == ("live", 1)


def test_facts_do_not_show_in_text(capfd: pytest.CaptureFixture[str]) -> None:
    """The text says them in words already."""
    logger = log.start("linear", "info", log.TEXT)
    logger.info("BTCUSDT live", extra={"facts": {"state": "live"}})
    (line,) = lines(capfd)
    assert line.endswith("BTCUSDT live")


def test_text_line_names_its_process_and_any_level_but_info(capfd: pytest.CaptureFixture[str]) -> None:
    """Clock, process, message; warnings and worse say so."""
    logger = log.start("supervisor", "debug", log.TEXT)
    logger.info("started")
    logger.error("broken")
    logger.debug("seen")
    told = lines(capfd)
    assert [line[9:] for line in told] == ["supervisor started", "supervisor error: broken", "supervisor debug: seen"]
    for line in told:
        dt.datetime.strptime(line[:8], "%H:%M:%S")  # noqa: DTZ007 - a clock without a date has no zone


@pytest.mark.parametrize(("level", "told"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_level_decides_what_is_told(level: str, told: int, capfd: pytest.CaptureFixture[str]) -> None:
    """The configuration's words for levels."""
    logger = log.start("linear", level, log.JSON)
    for one in (logger.debug, logger.info, logger.warning, logger.error):
        one("x")
    assert len(lines(capfd)) == told


def test_traceback_is_a_key_of_the_json_line(capfd: pytest.CaptureFixture[str]) -> None:
    """Still one line."""
    logger = log.start("linear", "info", log.JSON)
    try:
        failed()
    except ZeroDivisionError:
        logger.exception("bug")
    (line,) = objects(capfd)
    assert line["message"] == "bug"
    assert "ZeroDivisionError: a bug" in line["traceback"]
    assert "in failed" in line["traceback"]


def test_traceback_follows_the_text_line(capfd: pytest.CaptureFixture[str]) -> None:
    """As Python prints it."""
    logger = log.start("linear", "info", log.TEXT)
    try:
        failed()
    except ZeroDivisionError:
        logger.exception("bug")
    told = lines(capfd)
    assert told[0].endswith("error: bug")
    assert told[1] == "Traceback (most recent call last):"
    assert told[-1] == "ZeroDivisionError: a bug"


def test_others_are_heard_from_warnings_on(capfd: pytest.CaptureFixture[str]) -> None:
    """A library's chatter is not ours; its warnings go through the same handler."""
    log.start("linear", "debug", log.JSON)
    logging.getLogger("picows.client").info("chatter")
    logging.getLogger("picows.client").warning("trouble")
    assert [(line["process"], line["message"]) for line in objects(capfd)] == [("picows.client", "trouble")]


def test_start_again_replaces_the_handler(capfd: pytest.CaptureFixture[str]) -> None:
    """Every line is written once, and none of those before is left behind."""
    log.start("linear", "info", log.JSON).info("before")
    log.start("linear", "info", log.JSON).info("once")
    assert [line["message"] for line in objects(capfd)] == ["before", "once"]


@pytest.mark.parametrize("style", [log.TEXT, log.JSON])
@pytest.mark.parametrize(
    "message", ["é … 比特币", "bad file name \udcff", "tab\tand \x00 zero", '"quoted" \\ back', "\x1b[31mred"]
)
@pytest.mark.usefixtures("capfd")
def test_no_message_is_lost_to_its_characters(style: str, message: str, tmp_path: Path) -> None:
    """Whatever a path or a venue's text contains, and whatever the locale is."""
    file = tmp_path / "log"
    logger = log.start("linear", "info", style)
    with file.open("wb") as stream:
        writer = log.Writer(stream.fileno(), encoding="ascii")
        writer.setFormatter(logging.getLogger().handlers[0].formatter)
        logging.getLogger().addHandler(writer)
        logger.info("%s", message)
        writer.flush()
        writer.close()
    (line,) = file.read_text("ascii").splitlines()
    if style == log.JSON:
        assert json.loads(line)["message"] == message


def test_facts_that_json_does_not_know_are_told_as_text(capfd: pytest.CaptureFixture[str]) -> None:
    """A path, an error, a set: never a line lost to a logging error."""
    logger = log.start("linear", "info", log.JSON)
    logger.info("x", extra={"facts": {"path": Path("/run/feed"), "error": ValueError("why")}})
    (line,) = objects(capfd)
    assert (line["path"], line["error"]) == ("/run/feed", "why")


def test_a_line_is_formatted_and_written_by_another_thread(capfd: pytest.CaptureFixture[str]) -> None:
    """It costs the caller, in whose loop the data are, no more than putting it into a queue."""

    class Asked:
        def __str__(self) -> str:
            return threading.current_thread().name

    log.start("linear", "info", log.JSON).info("by %s", Asked())
    assert [line["message"] for line in objects(capfd)] == ["by log"]


def test_a_log_call_that_is_wrong_is_told_with_its_place(capfd: pytest.CaptureFixture[str]) -> None:
    """It costs its own line, and no other."""
    logger = log.start("linear", "info", log.JSON)
    logger.info("%d topics", "three")
    logger.info("next")
    wrong, following = objects(capfd)
    assert wrong["level"] == "error"
    assert "'%d topics'" in wrong["message"]
    assert "test_log.py:" in wrong["message"]
    assert "TypeError" in wrong["traceback"]
    assert following["message"] == "next"


class Pipe:
    """A pipe for the log, as small as there are, that is read only when a test wants to."""

    def __init__(self, limit: int) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)
        self.writer = log.Writer(self.writing, limit=limit)
        self.logger = logging.Logger("feedhandler.linear")  # noqa: LOG001 - of this test alone
        self.logger.addHandler(self.writer)
        self.text = b""
        self._reader: threading.Thread | None = None

    def read(self) -> None:
        """Begin to read, and go on until the other end is closed."""

        def run() -> None:
            while piece := os.read(self.reading, 4096):
                self.text += piece

        self._reader = threading.Thread(target=run)
        self._reader.start()

    def lines(self) -> list[str]:
        """Return everything that came, once all is written."""
        self.writer.flush()
        self.writer.close()
        wait_until(lambda: not self.writer._thread.is_alive(), "all written")
        os.close(self.writing)
        assert self._reader is not None
        self._reader.join()
        os.close(self.reading)
        return self.text.decode().splitlines()


PADDING = "x" * 500
"""Eight lines fill the pipe."""


def test_no_log_call_waits_for_a_reader_and_what_is_dropped_is_told_in_its_place() -> None:
    """Far more lines than fit, and nobody reads: no call blocks; later all are there in order, or counted where missing."""
    pipe = Pipe(limit=100)
    started_s = time.monotonic()
    for number in range(1000):
        pipe.logger.warning("%d %s", number, PADDING)
    assert time.monotonic() - started_s < 5, "1000 lines at once"
    pipe.read()
    wait_until(lambda: b"missing" in pipe.text, "the loss told, though nobody logs any more")
    pipe.logger.warning("1000 %s", PADDING)
    expected = losses = 0
    for line in pipe.lines():
        first, _, rest = line.partition(" ")
        if rest == PADDING:
            assert int(first) == expected
            expected += 1
        else:
            assert "lines are missing here" in rest
            expected += int(first)
            losses += 1
    assert expected == 1001
    assert losses == 1


def test_what_could_not_be_written_is_told_when_it_can_be_again(tmp_path: Path) -> None:
    """A reader that is gone, a disk that is full."""
    pipe = Pipe(limit=100)
    file = (tmp_path / "log").open("wb")
    os.close(pipe.reading)
    for number in range(3):
        pipe.logger.warning("%d", number)
    pipe.writer.flush()
    os.dup2(file.fileno(), pipe.writing)
    pipe.logger.warning("3")
    pipe.writer.flush()
    pipe.writer.close()
    wait_until(lambda: not pipe.writer._thread.is_alive(), "all written")
    os.close(pipe.writing)
    file.close()
    loss, line = (tmp_path / "log").read_text().splitlines()
    assert loss.startswith("3 lines are missing here")
    assert line == "3"


def test_flush_waits_half_a_second_for_a_reader_and_no_longer() -> None:
    """The end of a process must not hang on its log."""
    pipe = Pipe(limit=100)
    for number in range(50):
        pipe.logger.warning("%d %s", number, PADDING)
    started_s = time.monotonic()
    pipe.writer.flush()
    assert log.FLUSH_S <= time.monotonic() - started_s < log.FLUSH_S + 2
    pipe.read()
    assert len(pipe.lines()) == 50


PROGRAM = """
import sys
from feedhandler import log
logger = log.start("linear", "info", log.JSON)
for number in range(int(sys.argv[1])):
    logger.info("%d", number, extra={"facts": {"padding": "x" * 500}})
raise ZeroDivisionError("a bug")
"""


@pytest.fixture
def program() -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """A process that logs so many lines and then dies of a bug."""
    started = []

    def start(count: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(count)], stderr=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def test_last_words_are_written_at_the_end(program: Callable[[int], subprocess.Popen[bytes]]) -> None:
    """Everything that was queued, and the traceback of what nobody caught, in the form of all other lines."""
    process = program(1000)
    told = [json.loads(line) for line in process.communicate(timeout=30)[1].splitlines()]
    assert process.returncode == 1
    assert [line["message"] for line in told[:-1]] == [str(number) for number in range(1000)]
    assert told[-1]["level"] == "critical"
    assert told[-1]["traceback"].endswith("ZeroDivisionError: a bug")


def test_no_process_hangs_at_its_end_because_nobody_reads(program: Callable[[int], subprocess.Popen[bytes]]) -> None:
    """Its pipe full, its thread amid a line: it ends all the same, with its own exit code."""
    process = program(1000)
    assert process.wait(timeout=30) == 1
