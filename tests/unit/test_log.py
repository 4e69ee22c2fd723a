"""Logs: text for a person, one JSON object a line for a program, always on stderr, and no line lost."""

import datetime as dt
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedhandler import log


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(capsys)]


def failed() -> None:
    raise ZeroDivisionError("a bug")


def test_json_line_has_time_level_process_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line; the time is UTC, to the microsecond."""
    logger = log.start("linear", "info", log.JSON)
    before = dt.datetime.now(dt.UTC)
    logger.warning("%d topics %s", 3, "down")
    (line,) = objects(capsys)
    assert before <= dt.datetime.fromisoformat(line.pop("time")) <= dt.datetime.now(dt.UTC)
    assert line == {"level": "warning", "process": "linear", "message": "3 topics down"}


def test_facts_become_keys_of_the_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What the message says in words a program finds by name."""
    logger = log.start("linear", "info", log.JSON)
    logger.info("BTCUSDT live", extra={"facts": {"state": "live", "topics": 1}})
    (line,) = objects(capsys)
    assert (line["state"], line["topics"]) == ("live", 1)


def test_facts_do_not_show_in_text(capsys: pytest.CaptureFixture[str]) -> None:
    """The text says them in words already."""
    logger = log.start("linear", "info", log.TEXT)
    logger.info("BTCUSDT live", extra={"facts": {"state": "live"}})
    (line,) = lines(capsys)
    assert line.endswith("BTCUSDT live")


def test_text_line_names_its_process_and_any_level_but_info(capsys: pytest.CaptureFixture[str]) -> None:
    """Clock, process, message; warnings and worse say so."""
    logger = log.start("supervisor", "debug", log.TEXT)
    logger.info("started")
    logger.error("broken")
    logger.debug("seen")
    told = lines(capsys)
    assert [line[9:] for line in told] == ["supervisor started", "supervisor error: broken", "supervisor debug: seen"]
    for line in told:
        dt.datetime.strptime(line[:8], "%H:%M:%S")  # noqa: DTZ007 - a clock without a date has no zone


@pytest.mark.parametrize(("level", "told"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_level_decides_what_is_told(level: str, told: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration's words for levels."""
    logger = log.start("linear", level, log.JSON)
    for one in (logger.debug, logger.info, logger.warning, logger.error):
        one("x")
    assert len(lines(capsys)) == told


def test_traceback_is_a_key_of_the_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Still one line."""
    logger = log.start("linear", "info", log.JSON)
    try:
        failed()
    except ZeroDivisionError:
        logger.exception("bug")
    (line,) = objects(capsys)
    assert line["message"] == "bug"
    assert "ZeroDivisionError: a bug" in line["traceback"]
    assert "in failed" in line["traceback"]


def test_traceback_follows_the_text_line(capsys: pytest.CaptureFixture[str]) -> None:
    """As Python prints it."""
    logger = log.start("linear", "info", log.TEXT)
    try:
        failed()
    except ZeroDivisionError:
        logger.exception("bug")
    told = lines(capsys)
    assert told[0].endswith("error: bug")
    assert told[1] == "Traceback (most recent call last):"
    assert told[-1] == "ZeroDivisionError: a bug"


def test_others_are_heard_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    """A library's chatter is not ours; its warnings go through the same handler."""
    log.start("linear", "debug", log.JSON)
    logging.getLogger("picows.client").info("chatter")
    logging.getLogger("picows.client").warning("trouble")
    assert [(line["process"], line["message"]) for line in objects(capsys)] == [("picows.client", "trouble")]


def test_start_again_replaces_the_handler(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line is written once."""
    log.start("linear", "info", log.TEXT)
    log.start("linear", "info", log.JSON).info("once")
    assert [line["message"] for line in objects(capsys)] == ["once"]


@pytest.mark.parametrize("style", [log.TEXT, log.JSON])
@pytest.mark.parametrize(
    "message", ["é … 比特币", "bad file name \udcff", "tab\tand \x00 zero", '"quoted" \\ back', "\x1b[31mred"]
)
def test_no_message_is_lost_to_its_characters(style: str, message: str, tmp_path: Path) -> None:
    """Whatever a path or a venue's text contains, and whatever the locale is."""
    file = tmp_path / "log"
    with file.open("w", encoding="ascii", errors="backslashreplace") as stream:
        logger = log.start("linear", "info", style)
        logging.getLogger().handlers[0].stream = stream  # type: ignore[attr-defined]
        logger.info("%s", message)
    (line,) = file.read_text("ascii").splitlines()
    if style == log.JSON:
        assert json.loads(line)["message"] == message


def test_facts_that_json_does_not_know_are_told_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A path, an error, a set: never a line lost to a logging error."""
    logger = log.start("linear", "info", log.JSON)
    logger.info("x", extra={"facts": {"path": Path("/run/feed"), "error": ValueError("why")}})
    (line,) = objects(capsys)
    assert (line["path"], line["error"]) == ("/run/feed", "why")
