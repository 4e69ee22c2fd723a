"""``feedhandler run FILE``: the feed itself."""

import sys
from pathlib import Path
from typing import NoReturn

import click
import zmq

from feedhandler import control, log, runtime
from feedhandler.cli import where
from feedhandler.config.load import load
from feedhandler.config.plan import plan
from feedhandler.config.problems import ConfigError
from feedhandler.supervisor.main import Supervisor
from feedhandler.supervisor.process import EXIT_CANNOT_START


@click.command(
    epilog="Example: feedhandler run deploy/config.toml\n\nThen, in another terminal: feedhandler tail linear."
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--runtime", "runtime_", metavar="DIR", default="", help="Runtime directory, instead of the configured one."
)
def command(file: Path, runtime_: str) -> int:
    """Run the feed described by FILE until Ctrl-C, SIGTERM or ``feedhandler stop``.

    Exit codes: 0 stopped as asked, 2 configuration or usage error, 3 could not start, 1 anything else.
    """
    log.provide_streams()
    terminal = sys.stderr.isatty()
    try:
        config = load(file, runtime_directory=runtime_)
        directory = runtime.directory(runtime_ or config.runtime.directory)
        plans = plan(config, directory, terminal=terminal)
    except ConfigError as error:
        where.config_problems(error)
    logger = log.start("supervisor", config.runtime.log_level, plans[0].log_format)
    lock = runtime.Lock(directory / runtime.SUPERVISOR_LOCK)
    try:
        runtime.prepare(directory, config.runtime.group, private=any(one.product == "private" for one in plans))
        holder = lock.acquire()
    except runtime.RuntimeDirectoryError as error:
        where.fail(str(error), EXIT_CANNOT_START)
    except OSError as error:
        _cannot_start(lock.path, error)
    if holder is not None:
        who = f"process {holder}" if holder else "another process"
        where.fail(
            f"a feed runs in {directory} already ({who}); stop it, or choose another --runtime", EXIT_CANNOT_START
        )

    async def run() -> int:
        try:
            supervisor = Supervisor(
                plans, runtime_directory=directory, network=config.network, config=str(file), logger=logger
            )
        except OSError as error:
            _cannot_start(directory, error)
        except zmq.ZMQError as error:
            _cannot_start(directory / control.SOCKET_NAME, OSError(error.errno, zmq.strerror(error.errno or 0)))
        return await supervisor.run()

    try:
        return where.run_loop(run())
    finally:
        lock.release()


def _cannot_start(path: Path, error: OSError) -> NoReturn:
    """End the command with what cannot be used, ``path`` unless the system says so itself, and why."""
    where.fail(f"cannot start the feed: {error.filename or path}: {error.strerror}", EXIT_CANNOT_START)
