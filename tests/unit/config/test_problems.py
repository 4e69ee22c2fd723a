"""One line for each problem, never a secret in it, and each mistake told once."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedhandler.config.problems import ConfigError, Problem, Problems, join, listed, looks_secret, near, quote


def test_one_readable_line() -> None:
    """A problem reads as file, key, text."""
    problem = Problem("deploy/config.toml", "endpoints.linear.streams[1]", "linear does not serve it")
    assert str(problem) == "deploy/config.toml: endpoints.linear.streams[1]: linear does not serve it"


def test_file_as_a_whole() -> None:
    """Without a key there is no empty place in the line."""
    assert str(Problem("config.toml", "", "there is no such file")) == "config.toml: there is no such file"


def test_error_holds_every_problem() -> None:
    """The exception's text has a line for each problem."""
    problems = [Problem("a", "b", "c"), Problem("a", "d", "e")]
    error = ConfigError(problems)
    assert (error.problems, str(error)) == (problems, "a: b: c\na: d: e")


def test_unsound_keys() -> None:
    """A key is unsound once something was found at it, or it was spoiled; its neighbours are not."""
    problems = Problems("f")
    problems.add("a.b", "is wrong")
    problems.spoil("c")
    assert [problems.sound(key) for key in ("a.b", "a", "a.b.c", "c", "d")] == [False, True, True, False, True]
    assert problems.found() == [Problem("f", "a.b", "is wrong")]


def test_unsound_below() -> None:
    """A key is sound with all below it only while nothing was found at any of them."""
    problems = Problems("f")
    for key in ("a.b.c", "d[1]", "e"):
        problems.add(key, "is wrong")
    assert [problems.sound_below(key) for key in ("a", "a.b", "a.b.c", "d", "e")] == [False] * 5
    assert [problems.sound_below(key) for key in ("a.bc", "a.b.c.d", "d[0]", "f")] == [True] * 4


def test_places_in_other_files() -> None:
    """A value that stands in another file is told by that file's name and line."""
    problems = Problems("f")
    problems.places["symbols[1]"] = ("symbols.txt", "line 3")
    problems.add("symbols[1]", "is wrong")
    assert problems.found() == [Problem("symbols.txt", "line 3", "is wrong")]
    assert (problems.place("symbols[1]"), problems.place("symbols[0]")) == ("symbols.txt line 3", "symbols[0]")


def test_found_twice_is_told_once() -> None:
    """What two endpoints say of one symbol file stands once."""
    problems = Problems("f")
    for key in ("a.symbols[0]", "b.symbols[0]"):
        problems.places[key] = ("symbols.txt", "line 1")
        problems.add(key, "is wrong")
    assert len(problems.found()) == 1
    assert not problems.sound("b.symbols[0]")


def test_order_of_the_tables() -> None:
    """Problems come in the order of the file's tables, those of one table in the order found, what is missing first."""
    problems = Problems("f")
    for key in ("b.x", "a.y", "missing", "ab.z", "a", "b.c.w"):
        problems.add(key, "is wrong")
    assert [problem.key for problem in problems.found(["ab", "a", "b"])] == [
        "missing",
        "ab.z",
        "a.y",
        "a",
        "b.x",
        "b.c.w",
    ]


@pytest.mark.parametrize(
    "key",
    ["secret", "API_KEY", "api-key", "apiKey", "a.Secret.b", "my_password", "passphrase", "token", "private_key[3]"],
)
def test_secrets_are_not_shown(key: str) -> None:
    """Under a key that looks like a secret's, no text that may quote the value is passed on."""
    problems = Problems("f")
    problems.add(key, '"hush" is wrong')
    assert looks_secret(key)
    assert "hush" not in problems.found()[0].text


def test_what_is_said_of_a_secret_key_is_kept() -> None:
    """A text that quotes no value passes."""
    problems = Problems("f")
    problems.add_about_key("api_key", "is not available")
    assert problems.found() == [Problem("f", "api_key", "is not available")]


@pytest.mark.parametrize("key", ["endpoints.linear.symbols", "runtime.directory", "publish", "keyboard", "apis.keys"])
def test_usual_keys_are_no_secrets(key: str) -> None:
    """Keys of the model, and words that only resemble, are shown."""
    assert not looks_secret(key)


@pytest.mark.parametrize(
    ("parent", "name", "key"),
    [
        ("", "a", "a"),
        ("a", "b-c_1", "a.b-c_1"),
        ("a", "b c", 'a."b c"'),
        ("a", "", 'a.""'),
        ("a", 'x"\n', r'a."x\"\n"'),
    ],
)
def test_keys_as_in_toml(parent: str, name: str, key: str) -> None:
    """Names are joined by dots, and quoted where TOML wants it."""
    assert join(parent, name) == key


@given(st.text())
def test_quoted_is_one_printable_line(text: str) -> None:
    """Whatever a string holds, quoting it leaves one line of printable characters, not too long."""
    quoted = quote(text)
    assert quoted.isprintable()
    assert (quoted[0], quoted[-1]) == ('"', '"')
    assert len(quoted) <= 6 * 80


@given(st.text(alphabet=string.ascii_letters + "ÄΩ中é .", max_size=80))
def test_quoted_plainly(text: str) -> None:
    """Ordinary text is shown as it is."""
    assert quote(text) == f'"{text}"'


def test_long_strings_are_shortened() -> None:
    """A long string keeps its beginning and its end."""
    assert quote("a" * 50 + "b" * 50) == f'"{"a" * 40}...{"b" * 20}"'


def test_near() -> None:
    """A near miss is hinted at, also where only capitals differ; a far one is not."""
    assert near("lineer", ["linear", "spot"]) == '; did you mean "linear"?'
    assert near("LINEAR", ["linear", "spot"]) == '; did you mean "linear"?'
    assert near("xyz", ["linear", "spot"]) == ""


def test_listed() -> None:
    """Words are listed as in a sentence."""
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a or b"
    assert listed(["a", "b", "c"], "and") == "a, b and c"
