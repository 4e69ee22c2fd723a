"""A script of faults: what is to happen to clients, and when. Pure.

One step a line, ``#`` begins a comment: seconds after the simulator began to listen, a kind of fault, and what
``/sim/fault`` would be asked with. ``off`` switches all off, or one by its ``id``::

    10    reset  product=linear
    20.5  skip   topic=orderbook.50.BTCUSDT count=2
    40    off
"""

import math
from typing import Final, NamedTuple

from feedhandler.sim.faults import FaultError, Faults

OFF: Final = "off"


class ScriptError(ValueError):
    """A step that makes no sense; the text says in which line, and why."""


class Step(NamedTuple):
    """One step."""

    at_s: float
    query: dict[str, str]
    """As of ``/sim/fault``."""

    def __str__(self) -> str:
        kind, *rest = self.query.items()
        return " ".join([f"{self.at_s:g} s: {kind[1]}", *(f"{name}={value}" for name, value in rest)])


def parse(text: str) -> list[Step]:
    """Read a script, in the order of its lines; raise `ScriptError`."""
    steps = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            steps.append(_step(words))
        except (ScriptError, FaultError) as error:
            raise ScriptError(f"line {number}: {error}") from None
    return steps


def _step(words: list[str]) -> Step:
    at, kind, *settings = [*words, ""][: max(len(words), 2)]
    try:
        at_s = float(at)
    except ValueError:
        at_s = math.nan
    if not 0 <= at_s < math.inf:
        raise ScriptError(f'begins with the seconds after the start, not "{at}"')
    query = {"kind": kind}
    for setting in settings:
        name, is_one, value = setting.partition("=")
        if not is_one:
            raise ScriptError(f'"{setting}" is no name=value')
        query[name] = value
    if kind != OFF:
        Faults().build(query, 0.0)  # raises what the page would answer
    elif unknown := [name for name in query if name not in ("kind", "id")]:
        raise ScriptError(f'"{unknown[0]}" means nothing to off; it knows id')
    elif not query.get("id", "1").isdecimal():
        raise ScriptError(f'id is a number, not "{query["id"]}"')
    return Step(at_s, query)
