"""``feedhandler drill``: every fault a venue can show, injected into a feed of the user's own configuration."""

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Final

import click

from feedhandler.cli import where
from feedhandler.config.load import load
from feedhandler.config.problems import ConfigError
from feedhandler.drill import scorecard
from feedhandler.drill.faults import FAULTS, Fault
from feedhandler.drill.scoring import Result
from feedhandler.drill.stage import drill
from feedhandler.errors import FeedError

EXIT_BROKEN: Final = 1
_REDRAW_S: Final = 0.1
_COLOURS: Final = {scorecard.KEPT: "green", scorecard.BROKEN: "red", scorecard.SKIPPED: "yellow"}


@click.command(epilog="Example: feedhandler drill deploy/config.toml, or with --only reset --only worker-killed")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the scorecard.")
@click.option(
    "--only",
    multiple=True,
    metavar="FAULT",
    type=click.Choice(list(FAULTS)),
    help="Drill this fault alone; repeatable.",
)
@click.option("--list", "listed", is_flag=True, help="Name the faults, and drill none.")
@click.option("--keep-going", "keeps_going", is_flag=True, help="Go on after a broken promise.")
@click.option("--seed", default=1, show_default=True, help="Equal seeds make equal markets.")
def command(
    file: Path | None, *, as_json: bool, only: tuple[str, ...], listed: bool, keeps_going: bool, seed: int
) -> int:
    """Run the configuration FILE against the simulated Bybit, inject every fault, and see what a strategy sees of it.

    Nothing of it touches the venue or a feed that runs: topics and limits are those of FILE, everything else is the
    drill's own. What the strategy got is compared with what was sent, record by record. Exit code 1 if a promise was
    broken.
    """
    if listed:
        width = max(map(len, FAULTS))
        click.echo("\n".join(f"{fault.name:<{width}}  {fault.text}" for fault in FAULTS.values()))
        return 0
    if file is None:
        raise click.UsageError("Missing argument 'FILE'.")
    try:
        config = load(file)
    except ConfigError as error:
        where.config_problems(error)
    chosen = [fault for fault in FAULTS.values() if not only or fault.name in only]
    # A drill that is told to end cleans up as after Ctrl-C.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = _Progress(len(chosen))
    began_s = time.monotonic()
    try:
        outcome = drill(config, chosen, progress, keeps_going=keeps_going, seed=seed)
    except FeedError as error:
        where.fail(str(error), EXIT_BROKEN)
    finally:
        signal.signal(signal.SIGTERM, before)
        progress.clear()
    took_s = time.monotonic() - began_s
    results = outcome.results
    notes = [*outcome.notes, *([f"the feed's log: {outcome.log}"] if outcome.log is not None else [])]
    if as_json:
        facts = {"config": str(file), "seed": seed, "took_s": round(took_s, 1), "notes": notes}
        click.echo(json.dumps(scorecard.for_programs(results, **facts), indent=2))
    else:
        click.echo("\n".join([scorecard.table(results, _styled), "", *notes, scorecard.summary(results, took_s)]))
    return 0 if all(result.is_kept for result in results) else EXIT_BROKEN


def _styled(text: str, meaning: str) -> str:
    """Colour a word of the scorecard; click takes the colours out again where the output is no terminal."""
    return click.style(text, fg=_COLOURS.get(meaning), bold=meaning in (scorecard.BROKEN, "heading"))


class _Progress:
    """What is going on: one line that changes on a terminal, one line for each fault elsewhere."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._number = 0
        self._terminal = sys.stderr.isatty()
        self._began_s = time.monotonic()
        self._drawn_s = 0.0
        self._name = ""
        self._phase = ""

    def begin(self, fault: Fault, where_: str) -> None:
        """Name the fault."""
        self._number += 1
        self._began_s = time.monotonic()
        self._name = f"{fault.name} {where_}".rstrip()
        self._phase = fault.text

    def phase(self, text: str) -> None:
        """Name what is waited for."""
        self._phase = text
        self._draw()

    def tick(self) -> None:
        """Let the seconds run."""
        if time.monotonic() - self._drawn_s > _REDRAW_S:
            self._draw()

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        if self._terminal:
            took_s = time.monotonic() - self._began_s
            head = f"[{self._number}/{self._total}] {self._name}: " if self._name else ""
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{f'{head}{self._phase} ({took_s:.1f} s)'[:width]}", nl=False, err=True)

    def end(self, result: Result) -> None:
        """Say what came of the fault."""
        self.clear()
        word = scorecard.verdict(result)
        text = f"[{self._number}/{self._total}] {self._name}: {click.style(word, fg=_COLOURS[word])}"
        click.echo(text + (f" ({time.monotonic() - self._began_s:.1f} s)" if not result.skipped else ""), err=True)
        self._name = ""

    def clear(self) -> None:
        """Leave no half line behind."""
        if self._terminal:
            click.echo("\r\x1b[K", nl=False, err=True)
