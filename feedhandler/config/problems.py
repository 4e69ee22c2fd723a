"""What is wrong with a configuration: found all at once, said in one line each, and never with a secret in it.

Keys are written as in TOML: ``endpoints.linear.streams[1]``. Pure: no I/O, no clock.
"""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Final

import msgspec

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_SECRET: Final = re.compile("secret|password|passwd|passphrase|apikey|token|privatekey|credential")


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, and where."""

    file: str
    """The configuration as it was named, or a symbol file of it."""
    key: str
    """``endpoints.linear.streams[1]`` or ``line 3``; ``""`` = the file as a whole."""
    text: str

    def __str__(self) -> str:
        """Return the one line that a person reads."""
        return ": ".join(part for part in (self.file, self.key, self.text) if part)


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds every reason."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class Problems:
    """Collects problems while the configuration is read.

    It knows which keys are unsound, so that one mistake is told once and not again by what depends on it.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self.places: dict[str, tuple[str, str]] = {}
        """Keys whose value stands in another file: its name, and the line in it."""
        self._found: dict[Problem, str] = {}
        self._unsound: set[str] = set()

    def found(self, tables: Iterable[str] = ()) -> list[Problem]:
        """Return all so far, in the order of ``tables`` (``runtime``, ``endpoints.linear``), other keys first.

        What was found twice (one symbol file, named by two endpoints) stands once.
        """
        order = list(tables)

        def rank(problem: Problem) -> int:
            key = self._found[problem]
            return next((at for at, table in enumerate(order) if key == table or key.startswith(f"{table}.")), -1)

        return sorted(self._found, key=rank)

    def add(self, key: str, text: str) -> None:
        """Note a problem. Its text is replaced where the key looks as if it held a secret."""
        if looks_secret(key):
            text = "is wrong; what it holds is not shown, because the key looks like that of a secret"
        self.add_about_key(key, text)

    def add_about_key(self, key: str, text: str) -> None:
        """Note a problem whose text quotes no value."""
        file, place = self.places.get(key, (self._file, key))
        self._found.setdefault(Problem(file, place, text), key)
        self._unsound.add(key)

    def spoil(self, key: str) -> None:
        """Mark a key as unsound because of a problem noted elsewhere."""
        self._unsound.add(key)

    def sound(self, key: str) -> bool:
        """Say whether nothing was found at this very key so far."""
        return key not in self._unsound

    def sound_below(self, key: str) -> bool:
        """Say whether nothing was found at this key nor at any below it so far."""
        return not any(other == key or other.startswith((f"{key}.", f"{key}[")) for other in self._unsound)

    def place(self, key: str) -> str:
        """Return where a value stands, for use within another problem's text."""
        return " ".join(self.places[key]) if key in self.places else key


def join(parent: str, name: str) -> str:
    """Return the key of ``name`` in the table ``parent``; quoted where TOML wants quotes."""
    name = name if _BARE_KEY.fullmatch(name) else quote(name)
    return f"{parent}.{name}" if parent else name


def looks_secret(key: str) -> bool:
    """Say whether a key, or a table above it, is named like something that must not be shown."""
    return _SECRET.search(re.sub("[-_ ]", "", key).lower()) is not None


def quote(text: str, limit: int = 80) -> str:
    r"""Return ``text`` in quotes, on one line, and shortened in the middle where it is long."""
    if len(text) > limit:
        text = f"{text[: limit // 2]}...{text[-limit // 4 :]}"
    return "".join(
        character if character.isprintable() else json.dumps(character)[1:-1]
        for character in json.dumps(text, ensure_ascii=False)
    )


def near(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean "…"?`` for a near miss, or ``""``."""
    by_small_letters = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), by_small_letters, n=1)
    return f'; did you mean "{by_small_letters[found[0]]}"?' if found else ""


def listed(words: Iterable[str], last: str = "or") -> str:
    """Return ``a, b or c``."""
    *others, final = words
    return f"{', '.join(others)} {last} {final}" if others else final
