"""``feedhandler restart WORKER``: another process takes a worker's place; strategies lose nothing."""

import sys
from contextlib import closing
from pathlib import Path

import click
import msgspec

from feedhandler import control
from feedhandler.cli import where


@click.command(epilog="Example: feedhandler restart linear --config deploy/config.toml")
@click.argument("worker")
@where.options
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(worker: str, runtime_: str, config: Path | None, as_json: bool) -> int:
    """Restart WORKER, as `feedhandler status` names it, and wait until that is done.

    A second process of the worker gets every topic live before the first one ends. A Subscriber loses nothing and sees
    nothing twice; a plain ZeroMQ SUB connects again by itself, to a new epoch that begins with images. Where the second
    process does not get there, the first one goes on as if nothing had happened, and the exit code is 1.
    """
    progress = _Progress(worker)
    try:
        done = _follow(where.directory(runtime_, config), worker, progress)
    except KeyboardInterrupt:
        progress.end()
        told = (
            "the restart goes on without us; feedhandler status shows it"
            if progress.text
            else "nothing was heard of it yet"
        )
        click.echo(f"{worker}: {told}", err=True)
        return 130
    finally:
        progress.end()
    if done.remark:
        click.echo(f"{worker}: {done.remark}", err=True)
    click.echo(msgspec.json.encode(done).decode() if as_json else _result(done))
    return 0


def _follow(directory: Path, worker: str, progress: "_Progress") -> control.Restarted:
    with closing(where.talk(directory, control.Restart(worker=worker))) as answers:
        while isinstance(answer := next(answers), control.Progress):
            progress.show(answer.text)
    if not isinstance(answer, control.Restarted):
        where.fail(f"unexpected answer: {answer}", 1)
    return answer


def _result(done: control.Restarted) -> str:
    live = f"{done.live} topics live" if done.live == done.topics else f"{done.live} of {done.topics} topics live"
    processes = f"process {done.old_pid or 'none'} -> {done.pid}"
    return f"{done.worker} restarted: {processes}, {live}, {done.took_s:.1f} s"


class _Progress:
    """On a terminal one line that changes, else a line for each change."""

    def __init__(self, worker: str) -> None:
        self.text = ""
        self._worker = worker
        self._terminal = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Show how far it is."""
        if text == self.text:
            return
        self.text = text
        if self._terminal:
            click.echo(f"\r\x1b[2K{self._worker}: {text}", nl=False, err=True)
        else:
            click.echo(f"{self._worker}: {text}", err=True)

    def end(self) -> None:
        """Leave the terminal's line as it was."""
        if self._terminal and self.text:
            self._terminal = False
            click.echo("\r\x1b[2K", nl=False, err=True)
