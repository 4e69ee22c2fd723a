"""Mistakes of TOML are told by line and column, in words that say what to look for."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedhandler.config.problems import Problems
from feedhandler.config.syntax import parse

CASES = {
    "a = 1\na = 2\nb = 3": "line 2, column 6: this key is set a second time",
    "[a]\n[a]": "line 2, column 3: this table stands a second time",
    "a = {b = 1, b = 2}": "line 1, column 18: a key is set a second time within { }",
    "a = nope": 'line 1, column 5: no value that TOML knows: a string needs quotes ("..."), a boolean is true or false',
    "a = ": 'line 1, column 4: no value that TOML knows: a string needs quotes ("..."), a boolean is true or false',
    "a\n": "line 1, column 2: expected = after a key",
    "a = 1 b = 2": "line 1, column 7: something that does not belong there follows a value",
    "a = ['x'\n'y']": "line 2, column 1: a list is not closed, or a comma is missing in it",
    'a = "x\ny"': "line 1, column 7: a string is not closed on its line",
    "a = 'x": "line 1, column 7: a string is not closed",
    'a = "\\q"': r"line 1, column 8: a backslash in a string: write \\, or put the string in single quotes",
    "= 1": "line 1, column 1: invalid statement",
    "[a": "line 1, column 3: expected ']' at the end of a table declaration",
    "\n\n[a": "line 3, column 3: expected ']' at the end of a table declaration",
    "a = " + "[" * 100_000: "lists or tables stand within each other too deeply to be read",
    "a = " + "9" * 5000: "holds a number of thousands of digits",
}


@pytest.mark.parametrize("text", CASES, ids=lambda text: text[:20])
def test_told(text: str) -> None:
    """A mistake of TOML is one problem, with its place."""
    problems = Problems("f.toml")
    assert parse(text, problems) is None
    assert [str(problem) for problem in problems.found()] == [f"f.toml: {CASES[text]}"]


@pytest.mark.parametrize("text", ["", "# nothing", "a = 1\r\nb = 2\r\n"])
def test_no_mistake(text: str) -> None:
    """What is TOML passes, with either end of line."""
    problems = Problems("f.toml")
    assert parse(text, problems) == ({"a": 1, "b": 2} if "a" in text else {})
    assert problems.found() == []


def test_words_of_a_parser_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message without a position, as another version of Python may word it, is passed on."""

    def loads(_: str) -> None:
        raise tomllib.TOMLDecodeError("Something else")

    monkeypatch.setattr(tomllib, "loads", loads)
    problems = Problems("f.toml")
    assert parse("a = 1", problems) is None
    assert [str(problem) for problem in problems.found()] == ["f.toml: something else"]


@given(st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from("=[]{}\"'\n\\#.,0ab"), max_size=60))
def test_any_text(text: str) -> None:
    """Whatever the text, there are tables or one problem of one line."""
    problems = Problems("f.toml")
    tables = parse(text, problems)
    found = problems.found()
    assert (tables is None) == (len(found) == 1)
    assert all(len(str(problem).splitlines()) == 1 for problem in found)
