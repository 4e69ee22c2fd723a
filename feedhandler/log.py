"""How every process logs: text for a person, JSON lines for a program, always on stderr.

A log call's ``extra={"facts": {...}}`` becomes keys of the JSON line; the text says the same in words.
"""

import datetime as dt
import json
import logging
import sys
from typing import Any, Final

TEXT: Final = "text"
JSON: Final = "json"


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "process": record.name.removeprefix("feedhandler."),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # Plain ASCII, and text for whatever JSON has no word for: no line is lost to its content or to the locale.
        return json.dumps(line, default=str)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        clock = dt.datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = f"{clock} {record.name.removeprefix('feedhandler.'):<10} {level}{record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def start(process: str, level: str, style: str) -> logging.Logger:
    """Set logging up for this process and return its logger. ``style`` is `TEXT` or `JSON`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if style == JSON else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logger = logging.getLogger(f"feedhandler.{process}")
    logger.setLevel(level.upper())
    return logger
