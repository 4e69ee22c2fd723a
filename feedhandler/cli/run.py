"""``feedhandler run FILE``: the feed itself."""

import sys
from pathlib import Path

import click

from feedhandler import log, runtime
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
    except (runtime.RuntimeDirectoryError, OSError) as error:
        where.fail(str(error), EXIT_CANNOT_START)
    if holder is not None:
        who = f"process {holder}" if holder else "another process"
        where.fail(
            f"a feed runs in {directory} already ({who}); stop it, or choose another --runtime", EXIT_CANNOT_START
        )

    async def run() -> int:
        supervisor = Supervisor(
            plans, runtime_directory=directory, network=config.network, config=str(file), logger=logger
        )
        return await supervisor.run()

    try:
        return where.run_loop(run())
    finally:
        lock.release()
