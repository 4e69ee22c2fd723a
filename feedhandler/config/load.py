"""Reading the configuration: the only module of this folder that touches files.

Read, parse, fit to the model, read the symbol files, merge ``[connection]``, check: every problem of every step is
told at once.
"""

import grp
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from feedhandler import runtime
from feedhandler.config import checks, private, shape, syntax
from feedhandler.config.checks import Machine
from feedhandler.config.model import Config
from feedhandler.config.problems import ConfigError, Problems, join, quote


class Loaded(msgspec.Struct, frozen=True):
    """A configuration without problems."""

    config: Config
    written: dict[str, Any]
    """The file's own tables, as they stand there: what is not in them is a default."""
    runtime_directory: Path


def load(path: Path, *, runtime_directory: str = "") -> Config:
    """Return the configuration in the file ``path``; raise `ConfigError` with everything that is wrong with it.

    ``runtime_directory`` overrides ``runtime.directory``.
    """
    return read(path, runtime_directory=runtime_directory).config


def read(path: Path, *, runtime_directory: str = "") -> Loaded:
    """Do what `load` does, and tell as well what the file itself said."""
    problems = Problems(_shown(path))
    text = _text(path, "", problems)
    written = None if text is None else syntax.parse(text, problems)
    if written is None:
        raise ConfigError(problems.found())
    fitted = shape.fit(written, problems)
    _read_symbol_files(fitted, path.parent, problems)
    _locate_secret_files(fitted, path.parent)
    directory = _runtime_directory(runtime_directory or fitted.get("runtime", {}).get("directory", ""), problems)
    config = msgspec.convert(shape.merged(fitted), Config)
    machine = Machine(directory, frozenset(os.sched_getaffinity(0)), os.path.isdir, _is_group)
    checks.check(config, fitted, machine, problems)
    if found := problems.found(_tables(written)):
        raise ConfigError(found)
    return Loaded(config, written, directory)


def _tables(written: dict[str, Any]) -> Iterator[str]:
    """Yield the tables in the order of the file, each endpoint by itself."""
    for name, value in written.items():
        if name == "endpoints" and isinstance(value, dict):
            yield from (join(name, endpoint) for endpoint in value)
        yield name


def _text(path: Path, key: str, problems: Problems) -> str | None:
    """Return what a file holds, or None with a problem noted at ``key``."""
    named = f"{_shown(path)}: " if key else ""
    try:
        # A byte order mark is what some editors begin a file with.
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problems.add(key, f"{named}is not UTF-8 text (line {line})")
    except FileNotFoundError:
        problems.add(key, f"{named}there is no such file")
    except OSError as error:
        reason = error.strerror or str(error)
        problems.add(key, f"{named}cannot be read: {reason[:1].lower()}{reason[1:]}")
    return None


def _read_symbol_files(fitted: dict[str, Any], beside: Path, problems: Problems) -> None:
    """Put the symbols of each ``{ file = … }`` in its place."""
    for name, endpoint in fitted["endpoints"].items():
        key = join("endpoints", name)
        groups = [(endpoint, key)]
        groups += [(group, f"{key}.subscriptions[{at}]") for at, group in enumerate(endpoint.get("subscriptions", []))]
        for group, own in groups:
            if isinstance(group.get("symbols"), dict):
                file = group["symbols"]["file"]
                readable = problems.sound(f"{own}.symbols.file")
                group["symbols"] = _symbols(beside, file, f"{own}.symbols", problems) if readable else []
                if not readable:
                    problems.spoil(f"{own}.symbols")


def _symbols(beside: Path, file: str, key: str, problems: Problems) -> list[str]:
    if not file:
        problems.add(key, "names no file")
        return []
    path = beside / Path(file)
    text = _text(path, key, problems)
    if text is None:
        return []
    found: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        symbol = line.partition("#")[0].strip()
        if symbol:
            own = f"{key}[{len(found)}]"
            problems.places[own] = (_shown(path), f"line {number}")
            if not symbol.isprintable() or any(mark in symbol for mark in " ,;\"'"):
                problems.add(own, f"{quote(symbol)} is not one symbol; write one on each line, without quotes")
            found.append(symbol)
    if not found:
        problems.add(key, f"{_shown(path)}: holds no symbol")
    return found


def _locate_secret_files(fitted: dict[str, Any], beside: Path) -> None:
    """Make the path of each file that holds a secret whole. What is in it is read by who connects, and never here."""
    for endpoint in fitted["endpoints"].values():
        for name in private.SECRETS:
            source = endpoint.get(name, {})
            if source.get("file"):
                # As the others do, ~NAME of somebody unknown stays as it is: no such file then.
                source["file"] = str((beside / os.path.expanduser(source["file"])).absolute())  # noqa: PTH111 - see above


def _runtime_directory(configured: str, problems: Problems) -> Path:
    try:
        return runtime.directory(configured)
    except RuntimeError:  # ~NAME of somebody unknown
        problems.add("runtime.directory", f"{quote(configured)} names the home of nobody on this machine")
        return runtime.directory()


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _shown(path: Path) -> str:
    """Return a path as text that can be printed, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
