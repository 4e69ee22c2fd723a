"""What ``feedhandler drill`` prints and exits with, whatever came of the drill."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from feedhandler.cli import drill as module
from feedhandler.drill import promises
from feedhandler.drill.faults import FAULTS, Fault
from feedhandler.drill.promises import Finding
from feedhandler.drill.scoring import Result as Row
from feedhandler.drill.stage import Outcome
from feedhandler.errors import FeedError

KEPT = Row(fault="reset", text="the connection is reset", where="linear")
BROKEN = Row(fault="skip", text="lost", where="linear", broken=[Finding(promises.LOST, "2 between #3 and #4")])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration that is right."""
    path = tmp_path / "feed.toml"
    path.write_text('network = "sim"\n[endpoints.spot]\nproduct = "spot"\ntopics = ["tickers.BTCUSDT"]\n')
    return path


def run(monkeypatch: pytest.MonkeyPatch, outcome: Outcome | Exception, *words: str) -> tuple[Result, dict[str, Any]]:
    """Run the command with a drill that ends so; return what it was asked to do, too."""
    asked: dict[str, Any] = {}

    def drill(_config: object, chosen: list[Fault], progress: Any, **more: Any) -> Outcome:
        asked.update(more, chosen=[fault.name for fault in chosen])
        progress.phase("starting")
        progress.tick()
        if isinstance(outcome, Exception):
            raise outcome
        for row in outcome.results:
            progress.begin(FAULTS[row.fault], row.where)
            progress.end(row)
        return outcome

    monkeypatch.setattr(module, "drill", drill)
    return CliRunner().invoke(module.command, list(words), standalone_mode=False), asked


def test_kept_promises_are_status_0(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """The scorecard on stdout, the talk on stderr."""
    result, asked = run(monkeypatch, Outcome([KEPT], ["a note"]), str(file))
    assert (result.return_value, result.exception) == (0, None)
    assert result.stdout.splitlines()[0].split()[0] == "fault"
    assert "a note\n1 fault in 0 s: every promise was kept" in result.stdout
    assert click.unstyle(result.stderr) == f"[1/{len(FAULTS)}] reset linear: kept (0.0 s)\n"
    assert asked == {"keeps_going": False, "seed": 1, "chosen": list(FAULTS)}


def test_a_broken_promise_is_status_1(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Which one is said, and where the log is."""
    outcome = Outcome([KEPT, BROKEN], [], Path("/var/feed.log"))
    result, _ = run(monkeypatch, outcome, str(file))
    assert result.return_value == 1
    assert "nothing is lost untold (2 between #3 and #4)" in result.stdout
    assert "the feed's log: /var/feed.log" in result.stdout


def test_programs_get_one_object(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """With --json, and nothing else on stdout."""
    result, _ = run(monkeypatch, Outcome([KEPT, BROKEN], ["a note"]), str(file), "--json")
    found = json.loads(result.stdout)
    assert (result.return_value, found["verdict"], found["notes"]) == (1, "BROKEN", ["a note"])
    assert [fault["verdict"] for fault in found["faults"]] == ["kept", "BROKEN"]


def test_faults_are_drilled_in_their_order(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Whatever the order of --only."""
    words = ("--only", "skip", "--only", "eof", "--keep-going", "--seed", "7")
    _, asked = run(monkeypatch, Outcome([], []), str(file), *words)
    assert asked == {"keeps_going": True, "seed": 7, "chosen": ["eof", "skip"]}


def test_a_drill_that_cannot_go_on_says_why(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """One line, status 1."""
    result, _ = run(monkeypatch, FeedError("the simulated Bybit did not start"), str(file))
    assert isinstance(result.exception, click.ClickException)
    assert (result.exception.exit_code, result.exception.message) == (1, "the simulated Bybit did not start")


@pytest.mark.parametrize("words", [[], ["--only", "nonsense"]])
def test_wrong_words_are_status_2(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """A missing file, a fault that does not exist."""
    result, asked = run(monkeypatch, Outcome([], []), *words)
    assert isinstance(result.exception, click.UsageError)
    assert (result.exception.exit_code, asked) == (2, {})


def test_a_wrong_configuration_is_status_2(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """With every problem, as ``run`` says them."""
    file.write_text('network = "sim"\n[endpoints.spot]\nproduct = "spot"\ntopics = ["tickers"]\n')
    result, asked = run(monkeypatch, Outcome([], []), str(file))
    assert isinstance(result.exception, click.ClickException)
    assert (result.exception.exit_code, asked) == (2, {})
    assert "endpoints.spot.topics[0]" in result.stderr


def test_on_a_terminal_one_line_is_written_again_and_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And cleared before anything else is said."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = module._Progress(2)
    progress.begin(FAULTS["reset"], "linear")
    progress.phase("waiting")
    progress.tick()
    progress.end(KEPT)
    written = capsys.readouterr().err
    assert written.startswith("\r\x1b[K[1/2] reset linear: waiting (0.0 s)\r\x1b[K")
    assert click.unstyle(written.rpartition("\x1b[K")[2]) == "[1/2] reset linear: kept (0.0 s)\n"
