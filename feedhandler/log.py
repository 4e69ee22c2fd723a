"""How every process logs: text for a person, JSON lines for a program, always on stderr.

A log call's ``extra={"facts": {...}}`` becomes keys of the JSON line; the text says the same in words.

No log call ever waits for whoever reads the log: a pager that stands still would stop the data. It only queues the
record; a thread formats and writes it. What a call is given must therefore not change afterwards.
"""

import datetime as dt
import json
import logging
import os
import queue
import sys
import threading
from types import TracebackType
from typing import Any, Final

TEXT: Final = "text"
JSON: Final = "json"

LIMIT: Final = 4096
"""Records that wait to be written, some 10 MB at the worst; more are dropped and counted."""
FLUSH_S: Final = 0.5
"""How long the end of a process waits for its last words to be taken: stopping is promised within 5 s."""
_STDERR: Final = 2


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


class Writer(logging.Handler):
    """Queues records for a thread that formats them and writes them to a file descriptor.

    Beyond ``limit`` waiting records new ones are dropped until half of those are written; then their number is told in
    their place. Not `logging.handlers.QueueHandler` with its listener: that formats where it is called, and holds a
    handler's lock while it writes, for which the interpreter's end would wait without end. For the same reason nothing
    is written through `sys.stderr`.
    """

    def __init__(self, descriptor: int = _STDERR, *, limit: int = LIMIT, encoding: str = "utf-8") -> None:
        super().__init__()
        self._descriptor = descriptor
        self._limit = limit
        self._encoding = encoding
        self._queue: queue.SimpleQueue[logging.LogRecord | int | threading.Event | None] = queue.SimpleQueue()
        """Records; how many were dropped there; who waits until all before is written; None: the end."""
        self._dropped = 0
        """Since the queue was full; guarded by the handler's lock."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, or drop it."""
        if self._dropped or self._queue.qsize() >= self._limit:
            self._dropped += 1
        else:
            self._queue.put(record)

    def flush(self) -> None:
        """Wait until everything queued is written, `FLUSH_S` at most."""
        if self._thread.is_alive():
            written = threading.Event()
            self._admit()
            self._queue.put(written)
            written.wait(FLUSH_S)

    def close(self) -> None:
        """End the thread once it has written what is queued, without waiting for that."""
        self._queue.put(None)
        super().close()

    def _admit(self) -> None:
        """Take records again, after the number of those dropped."""
        self.acquire()
        try:
            if self._dropped:
                self._queue.put(self._dropped)
                self._dropped = 0
        finally:
            self.release()

    def _run(self) -> None:
        untold = 0
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            record = None
            if isinstance(item, int):
                untold += item
            else:
                record = item
            told = [_loss(untold)] if untold else []
            if record is not None:
                told.append(record)
            try:
                self._write("".join(map(self._line, told)))
                untold = 0
            except OSError:  # a full disk, a reader that is gone: told when it can be again
                untold += record is not None
            if self._dropped and self._queue.qsize() <= self._limit // 2:
                self._admit()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record) + "\n"
        except Exception:  # noqa: BLE001 - a log call of ours is wrong: say so, and go on writing what others say
            return self.format(_wrong(record)) + "\n"

    def _write(self, text: str) -> None:
        left = memoryview(text.encode(self._encoding, "backslashreplace"))
        while left:
            left = left[os.write(self._descriptor, left) :]


def _loss(count: int) -> logging.LogRecord:
    told = {
        "name": "feedhandler.log",
        "levelno": logging.WARNING,
        "levelname": "WARNING",
        "msg": "%d lines are missing here: the log was not read, or could not be written",
        "args": (count,),
        "facts": {"dropped": count},
    }
    return logging.makeLogRecord(told)


def _wrong(record: logging.LogRecord) -> logging.LogRecord:
    told = {
        "name": record.name,
        "levelno": logging.ERROR,
        "levelname": "ERROR",
        "msg": f"a line that cannot be written ({record.pathname}:{record.lineno}): {record.msg!r}",
        "exc_info": sys.exc_info(),
    }
    return logging.makeLogRecord(told)


def provide_streams() -> None:
    """Open those of the standard streams that are closed on nothing; call it before anything else is opened.

    Whatever is opened next would get the number of one of them: a socket, and the log would be written into it. The
    children get them, too.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stderr = sys.stderr or open(_STDERR, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as we are


def start(process: str, level: str, style: str) -> logging.Logger:
    """Set logging up for this process and return its logger. ``style`` is `TEXT` or `JSON`.

    The interpreter's end flushes what is queued (`logging.shutdown`). An error that nobody catches is logged, too: the
    interpreter's own way of telling it would wait for a reader.
    """
    writer = Writer(encoding=sys.stderr.encoding)
    writer.setFormatter(_JsonLines() if style == JSON else _Text())
    root = logging.getLogger()
    before, root.handlers[:] = root.handlers[:], [writer]
    for handler in before:
        if isinstance(handler, Writer):
            handler.flush()
            handler.close()
    root.setLevel(logging.WARNING)
    logger = logging.getLogger(f"feedhandler.{process}")
    logger.setLevel(level.upper())

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        logger.critical("a bug of feedhandler's: this process ends", exc_info=(kind, error, trace))

    sys.excepthook = uncaught
    return logger
