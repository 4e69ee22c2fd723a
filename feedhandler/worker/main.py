"""A worker as a process: how it starts, where it logs, when it ends.

Standard input carries the plan, one line of JSON (`config.model.WorkerPlan`), and then stays open: its end means that
the supervisor is gone.
"""

import asyncio
import ctypes
import faulthandler
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec

from feedhandler import log, runtime
from feedhandler.config.model import WorkerPlan
from feedhandler.worker.publisher import BindError
from feedhandler.worker.worker import Worker

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_CANNOT_START: Final = 3

_PR_SET_PDEATHSIG: Final = 1
_STDIN: Final = 0


def die_with_parent() -> None:
    """Have the kernel kill this process when the supervisor ends, however it ends: not even a stopped worker stays."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _work(plan: WorkerPlan, logger: logging.Logger) -> str:
    worker = Worker(plan, logger)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.stop, "SIGTERM")

    def supervisor_is_gone() -> None:
        if not os.read(_STDIN, 4096):
            loop.remove_reader(_STDIN)
            worker.stop("the supervisor is gone")

    loop.add_reader(_STDIN, supervisor_is_gone)
    return await worker.run()


def _leave_word(plan: WorkerPlan, text: str) -> None:
    """Write down why we end, for the supervisor's status. Not through a pipe: a paused supervisor would block us."""
    try:
        runtime.write_whole(Path(plan.runtime_directory) / f"{plan.worker}.error", text.encode())
    except OSError:
        return  # a full disk must not hide the exit code


def _runner() -> Callable[[Coroutine[Any, Any, str]], str]:
    try:
        import uvloop  # noqa: PLC0415 - where it cannot exist asyncio's loop serves
    except ImportError:
        return asyncio.run
    return uvloop.run


def main() -> int:
    """Run a worker; return its exit code."""
    die_with_parent()
    faulthandler.enable()  # SIGABRT: the supervisor asks a hung worker where it hangs
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the supervisor decides
    if sys.stdin.isatty():
        print("feedhandler.worker is started by the supervisor: feedhandler run FILE", file=sys.stderr)  # noqa: T201 - the only words before logging exists
        return EXIT_USAGE
    try:
        with open(_STDIN, "rb", closefd=False) as stdin:
            plan = msgspec.json.decode(stdin.readline(), type=WorkerPlan)
    except ValueError as error:
        print(f"feedhandler.worker: no plan on standard input: {error}", file=sys.stderr)  # noqa: T201 - see above
        return EXIT_USAGE
    logger = log.start(plan.worker, plan.log_level, plan.log_format)
    if plan.product == "private":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would have the account's secret in it
    if plan.cpu:
        os.sched_setaffinity(0, set(plan.cpu))
    try:
        reason = _runner()(_work(plan, logger))
    except BindError as error:
        logger.error("%s", error)  # noqa: TRY400 - one line: the traceback would say no more
        _leave_word(plan, str(error))
        return EXIT_CANNOT_START
    except Exception as error:
        logger.exception("a bug of feedhandler's: this worker ends, and is started again")
        _leave_word(plan, f"{type(error).__name__}: {error}")
        return EXIT_FAILED
    logger.info("ended: %s", reason)
    return EXIT_STOPPED
