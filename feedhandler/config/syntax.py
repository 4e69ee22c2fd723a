"""Reading TOML text, with its mistakes told by line and column and in words a person can act on.

Pure: no I/O, no clock.
"""

import re
import tomllib
from typing import Any, Final

from feedhandler.config.problems import Problems

_POSITION: Final = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL
)

# tomllib tells what its parser met; these tell what to look for. Anything else is passed on as it is.
_PLAIN_WORDS: Final = (
    (r"Cannot overwrite a value", "this key is set a second time"),
    (r"Cannot (?:declare|mutate) .*", "this table stands a second time"),
    (r"Duplicate inline table key .*", "a key is set a second time within { }"),
    (r"Invalid value", 'no value that TOML knows: a string needs quotes ("..."), a boolean is true or false'),
    (r"Expected '=' after a key.*", "expected = after a key"),
    (r"Expected newline or end of document after a statement", "something that does not belong there follows a value"),
    (r"Unclosed array", "a list is not closed, or a comma is missing in it"),
    (r"Illegal character '\\n'", "a string is not closed on its line"),
    (r"Expected [\"']+", "a string is not closed"),
    (r"Unescaped '\\+' in a string", r"a backslash in a string: write \\, or put the string in single quotes"),
)


def parse(text: str, problems: Problems) -> dict[str, Any] | None:
    """Return the tables of a TOML text, or None with a problem noted."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        problems.add("", "lists or tables stand within each other too deeply to be read")
    except tomllib.TOMLDecodeError as error:
        problems.add(*_told(str(error), text))
    except ValueError:  # int() itself, for more digits than it takes
        problems.add("", "holds a number of thousands of digits")
    return None


def _told(message: str, text: str) -> tuple[str, str]:
    """Return where (``line 3, column 7``) and what."""
    match = _POSITION.fullmatch(message)
    what = match["what"] if match else message
    place = ""
    if match:
        lines = text.rstrip().splitlines() or [""]
        place = f"line {match['line'] or len(lines)}, column {match['column'] or len(lines[-1]) + 1}"
    for pattern, words in _PLAIN_WORDS:
        if re.fullmatch(pattern, what, re.DOTALL):
            return place, words
    return place, what[:1].lower() + what[1:]
