"""Configurations from text, judged without touching a file."""

from pathlib import Path

import msgspec

from feedhandler.config import checks, shape, syntax
from feedhandler.config.checks import Machine
from feedhandler.config.model import Config
from feedhandler.config.problems import Problems


def told(
    text: str,
    *,
    runtime: str = "/run/feed",
    cores: tuple[int, ...] = (0, 1),
    directories: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
) -> list[str]:
    """Say what is wrong with a configuration on such a machine: ``key: text``, one for each problem."""
    problems = Problems("feed.toml")
    written = syntax.parse(text, problems)
    assert written is not None
    fitted = shape.fit(written, problems)
    config = msgspec.convert(shape.merged(fitted), Config)
    machine = Machine(Path(runtime), frozenset(cores), directories.__contains__, groups.__contains__)
    checks.check(config, fitted, machine, problems)
    return [f"{problem.key}: {problem.text}" for problem in problems.found()]
