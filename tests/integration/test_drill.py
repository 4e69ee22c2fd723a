"""``feedhandler drill`` as a user meets it, and that it finds what it is there to find."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.feed import alive, wait_until

from feedhandler import wire
from feedhandler.config.load import load
from feedhandler.drill import faults, promises
from feedhandler.drill.faults import FAULTS, Fault, Strike
from feedhandler.drill.scoring import Result
from feedhandler.drill.stage import Outcome, drill
from feedhandler.drill.strategy import Strategy

CONFIG = """
network = "mainnet"
[endpoints.linear]
product = "linear"
lines = {lines}
symbols = ["BTCUSDT", "ETHUSDT"]
streams = ["orderbook.50", "publicTrade", "tickers"]
publish = ["tcp://*:5600"]
"""

ACCOUNT = """
network = "mainnet"
[endpoints.private]
product = "private"
topics = ["order", "execution", "position", "wallet"]
api_key = {{ env = "A_KEY_THAT_IS_NOT_THERE" }}
api_secret = {{ file = "/nonexistent/secret" }}
"""


def write(directory: Path, lines: int = 1, text: str = CONFIG) -> Path:
    file = directory / "feed.toml"
    file.write_text(text.format(lines=lines))
    return file


def start(temporary: Path, *words: str) -> "subprocess.Popen[str]":
    """Start a drill that keeps its things in ``temporary``."""
    return subprocess.Popen(
        [sys.executable, "-m", "feedhandler", "drill", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    )


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory with a short name: sockets are made in it."""
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        yield Path(name)


class Silent:
    """No progress is shown."""

    def begin(self, fault: Fault, where: str) -> None: ...

    def phase(self, text: str) -> None: ...

    def tick(self) -> None: ...

    def end(self, result: Result) -> None: ...


def test_a_configuration_that_keeps_its_promises(tmp_path: Path, temporary: Path) -> None:
    """Three faults: exit 0, one JSON object on stdout, a line for each on stderr, and nothing is left behind."""
    process = start(temporary, str(write(tmp_path)), "--json", "--only", "reset", "--only", "skip", "--only", "renew")
    out, err = process.communicate(timeout=60)
    found = json.loads(out)
    assert process.returncode == 0, out
    assert found["verdict"] == "kept"
    reset, skip, renew = found["faults"]
    assert [fault["fault"] for fault in found["faults"]] == ["reset", "skip", "renew"]
    assert 0 < reset["detected_after_s"] <= reset["recovered_after_s"] < 4
    assert 0 < reset["blind_s"] < 4
    assert skip["on"] == "linear orderbook.50.BTCUSDT"
    assert skip["lost"] >= 2
    assert (renew["detected_after_s"], renew["lost"], renew["repeated"]) == (None, 0, 0)
    assert [line.partition(" (")[0] for line in err.splitlines()] == [
        "[1/3] reset linear: kept",
        "[2/3] skip linear orderbook.50.BTCUSDT: kept",
        "[3/3] renew linear orderbook.50.BTCUSDT: kept",
    ]
    assert list(temporary.iterdir()) == []


def test_with_two_lines_nothing_is_seen(tmp_path: Path, temporary: Path) -> None:
    """A line that is lost, and one that misses updates; the scorecard is a table."""
    process = start(temporary, str(write(tmp_path, lines=2)), "--only", "reset", "--only", "skip")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    heading, reset, skip = out.splitlines()[:3]
    assert heading.split("  ")[0] == "fault"
    assert reset.split()[:3] == ["reset", "linear", "-"]
    assert skip.split()[:4] == ["skip", "linear", "orderbook.50.BTCUSDT", "-"]
    assert reset.endswith("kept")


def lossy(subject: str, number: int) -> type[Strategy]:
    """A strategy that never gets the record ``number`` of a subject, of those that count."""

    class Lossy(Strategy):
        counted = 0

        def receive(self, timeout_s: float) -> Iterator[tuple[str, wire.Record]]:
            for worker, record in super().receive(timeout_s):
                if record.subject == subject and record.kind <= wire.UPDATE and not record.flags & wire.IMAGE:
                    self.counted += 1
                    if self.counted == number:
                        continue
                yield worker, record

    return Lossy


def run(file: Path, *chosen: Fault, **more: Any) -> Outcome:
    outcome = drill(load(file), chosen, Silent(), **more)
    if outcome.log is not None:
        outcome.log.unlink()
    return outcome


def broken(outcome: Outcome) -> set[str]:
    return {finding.promise for result in outcome.results for finding in result.broken}


def test_a_record_that_is_dropped_on_the_way_is_found(tmp_path: Path) -> None:
    """One delta of a book does not reach the strategy: number, chain and book tell, and so does the venue's truth."""
    outcome = run(write(tmp_path), FAULTS["fragment"], hear=lossy("linear.orderbook.50.BTCUSDT", 5))
    assert {promises.SEQUENCE, promises.ORDER, promises.LOST} <= broken(outcome)


def test_a_loss_that_no_number_shows_is_found(tmp_path: Path) -> None:
    """Two frames of trades never reach the feed, which cannot know: the witness does."""
    strike = Strike("skip", ("connection",), {"topic": "publicTrade.BTCUSDT", "count": "2"})
    fault = Fault("fragment", "trades are lost", faults.CONNECTION, (strike,))
    outcome = run(write(tmp_path), fault)
    assert broken(outcome) == {promises.LOST}


def test_a_drill_ends_with_the_first_broken_promise(tmp_path: Path) -> None:
    """Unless told to go on."""
    chosen = (FAULTS["slow-line"], FAULTS["renew"])
    hear = lossy("linear.publicTrade.BTCUSDT", 2)
    assert [result.is_kept for result in run(write(tmp_path), *chosen, hear=hear).results] == [False]
    outcome = run(write(tmp_path), *chosen, hear=hear, keeps_going=True)
    assert [result.is_kept for result in outcome.results] == [False, True]


def test_an_account_is_drilled_with_the_simulators_key(tmp_path: Path, temporary: Path) -> None:
    """A drill needs no secret and reads none; what the account does is held against what a second connection got."""
    file = write(tmp_path, text=ACCOUNT)
    process = start(temporary, str(file), "--json", "--only", "reset", "--only", "late-joiner")
    out, err = process.communicate(timeout=60)
    found = json.loads(out)
    assert process.returncode == 0, out + err
    reset, joiner = found["faults"]
    assert (reset["verdict"], reset["on"], joiner["verdict"]) == ("kept", "private", "kept")
    assert reset["blind_s"] > 0
    assert "account" in found["notes"][0]


def test_what_the_configuration_does_not_have_is_skipped(tmp_path: Path, temporary: Path) -> None:
    """And why is said: without a book none can be broken."""
    text = CONFIG.replace('streams = ["orderbook.50", "publicTrade", "tickers"]', 'streams = ["publicTrade"]')
    process = start(temporary, str(write(tmp_path, text=text)), "--only", "skip", "--only", "late-joiner")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert out.splitlines()[1].split() == ["skip", "skipped"]
    assert out.splitlines()[2].strip() == "the configuration has no order book with deltas"


def test_a_wrong_configuration_is_exit_2(tmp_path: Path, temporary: Path) -> None:
    """As with ``run``: a line for each problem, and nothing is started."""
    file = write(tmp_path, text=CONFIG.replace("orderbook.50", "orderbook.51"))
    process = start(temporary, str(file))
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, "")
    assert "endpoints.linear.streams[0]" in err


def test_the_faults_can_be_listed() -> None:
    """Without a configuration."""
    done = subprocess.run(
        [sys.executable, "-m", "feedhandler", "drill", "--list"], capture_output=True, text=True, timeout=30, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(FAULTS)


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, temporary: Path) -> None:
    """In the middle of a hang: exit 130, no process, no directory, no traceback."""
    process = start(temporary, str(write(tmp_path)), "--only", "worker-hung")

    def family() -> list[psutil.Process]:
        return psutil.Process(process.pid).children(recursive=True)

    wait_until(lambda: any(child.status() == psutil.STATUS_STOPPED for child in family()), "a worker was stopped", 30)
    pids = [child.pid for child in family()]
    assert len(pids) == 3  # simulated Bybit, supervisor, worker
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not [pid for pid in pids if alive(pid)]
    assert list(temporary.iterdir()) == []


def test_no_process_survives_a_killed_drill(tmp_path: Path, temporary: Path) -> None:
    """kill -9: the kernel ends the simulated Bybit and the feed."""
    process = start(temporary, str(write(tmp_path)), "--only", "hang")
    wait_until(lambda: len(psutil.Process(process.pid).children(recursive=True)) == 3, "everything runs", 30)
    pids = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    process.kill()
    process.communicate(timeout=10)
    wait_until(lambda: not any(alive(pid) for pid in pids), "no process is left", 10)
