"""``feedhandler stop``: end a running feed."""

import time
from pathlib import Path

import click

from feedhandler import control, runtime
from feedhandler.cli import where

STOP_PATIENCE_S = 10.0
"""A feed promises to stop within 5 s; beyond twice that something is wrong."""


@click.command(epilog="Example: feedhandler stop --config deploy/config.toml")
@where.options
def command(runtime_: str, config: Path | None) -> int:
    """Stop a running feed and wait until it has ended."""
    directory = where.directory(runtime_, config)
    where.ask(directory, control.Stop())
    lock = directory / runtime.SUPERVISOR_LOCK
    deadline_s = time.monotonic() + STOP_PATIENCE_S
    while lock.exists():
        if time.monotonic() > deadline_s:
            where.fail(f"the feed in {directory} has not ended within {STOP_PATIENCE_S:g} s", 1)
        time.sleep(0.02)
    click.echo(f"stopped the feed in {directory}")
    return 0
