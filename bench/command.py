"""The command line that the benchmarks share: ``--quick``, ``--repeats N``, ``--json FILE``."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench.machine import LoadMeter, facts
from bench.tables import facts_table

Results = TypeVar("Results")


class Options(msgspec.Struct, frozen=True):
    """How much to measure."""

    repeats: int
    quick: bool
    """Only show that everything works: a few seconds, and figures that mean nothing."""


class Measured(msgspec.Struct):
    """What one benchmark found, and under which circumstances."""

    machine: dict[str, str]
    circumstances: str
    """Repeats, and what the machine was busy with meanwhile."""
    results: Any
    text: str
    """The tables."""


def say(text: str) -> None:
    """Tell whoever waits how far we are."""
    print(text, file=sys.stderr, flush=True)


def measured(measure: Callable[[Options], Results], text: Callable[[Results], str], options: Options) -> Measured:
    """Measure, and note what the machine was busy with meanwhile."""
    meter = LoadMeter()
    results = measure(options)
    repeats = f"{options.repeats} repeats{', quick: these figures mean nothing' if options.quick else ''}"
    return Measured(facts(), f"{repeats}; meanwhile {meter.stop()}", results, text(results))


def main(
    description: str,
    measure: Callable[[Options], Results],
    text: Callable[[Results], str],
    repeats: int,
) -> None:
    """Run one benchmark from the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="show that it works, in a few seconds")
    parser.add_argument("--repeats", type=int, default=repeats, metavar="N", help=f"default {repeats}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be 1 or more")
    found = measured(measure, text, Options(1 if arguments.quick else arguments.repeats, arguments.quick))
    print(f"{facts_table(found.machine)}\n\n{found.circumstances}\n\n{found.text}")
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
