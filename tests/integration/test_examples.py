"""Every example runs as its own text says, against a real feed, and does what it is there to show."""

import ast
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import pytest
import zmq
from support.feed import Ear, Feed, wait_until

import feedhandler
from feedhandler import wire
from feedhandler.client.direct import Client

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
EXAMPLES: Final = ROOT / "feedhandler" / "examples"
CONFIG: Final = EXAMPLES / "feed.toml"
BOOK: Final = "linear.orderbook.50.BTCUSDT"
TRADES: Final = "linear.publicTrade.BTCUSDT"
TIMEOUT_S: Final = 40.0
NPM_S: Final = 60.0
LINE: Final = re.compile(r"(snapshot|delta|update) (\d+) (\d+) (\d+) bytes")


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Feed]:
    """The feed that the examples come with."""
    with Feed(tmp_path_factory.mktemp("feed"), CONFIG.read_text()) as running:
        running.wait_live("linear")
        yield running


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the npm package zeromq."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    options = ["--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--fetch-retries=0"]
    try:
        subprocess.run(
            [npm, "install", *options, "zeromq@6"], cwd=folder, capture_output=True, check=True, timeout=NPM_S
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the npm package zeromq cannot be had: {error}")
    return folder


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in C, compiled without a warning."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    found = subprocess.run(
        [compiler, "-E", "-x", "c", "-"], input=b"#include <zmq.h>\n", capture_output=True, check=False
    )
    if found.returncode:
        pytest.skip("zmq.h is not installed; on Debian and Ubuntu: apt-get install libzmq3-dev")
    program = tmp_path_factory.mktemp("c") / "plain_zeromq"
    warnings = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run([compiler, *warnings, "-O2", "-o", program, EXAMPLES / "plain_zeromq.c", "-lzmq"], check=True)
    return program


@pytest.fixture(params=["py", "c", "mjs"])
def plain(request: pytest.FixtureRequest) -> list[str]:
    """How to start the plain ZeroMQ example in each language; address, subject and seconds follow."""
    if request.param == "py":
        return module("plain_zeromq")
    if request.param == "c":
        return [str(request.getfixturevalue("compiled"))]
    folder: Path = request.getfixturevalue("node_modules")
    return ["node", shutil.copy(str(EXAMPLES / "plain_zeromq.mjs"), str(folder))]


def module(name: str, *words: object) -> list[str]:
    return [sys.executable, "-m", f"feedhandler.examples.{name}", *map(str, words)]


def with_end(command: list[str], seconds: int) -> list[str]:
    """Tell a plain example when to end: by name in Python, by place in the others."""
    return [*command, *(["--seconds"] if command[0] == sys.executable else []), str(seconds)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*more.pop("before", "").split(), str(ROOT)]), **more}


def run(command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """Run an example to its end, which must be a clean one."""
    done = subprocess.run(
        command, env=environment(**more), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


class Running:
    """An example that is read while it runs."""

    def __init__(self, command: list[str]) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the example is left
        self.process = subprocess.Popen(
            command, env=environment(), stdout=self._output, stderr=subprocess.PIPE, text=True
        )

    @property
    def lines(self) -> list[str]:
        """Every whole line so far. Read where it is: the example shares the file's position."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode().split("\n")[:-1]

    def wait_for(self, text: str, after: int = 0) -> int:
        """Wait for a line with ``text`` behind line ``after``; return the number of the next."""

        def found() -> int:
            return next((at + 1 for at, line in enumerate(self.lines) if at >= after and text in line), 0)

        number: int = wait_until(found, f'a line with "{text}" after line {after}')
        return number

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()
        self._output.close()


# With the Subscriber.


def test_examples_bring_a_feed_of_their_own() -> None:
    """The configuration beside the examples is right."""
    command = [sys.executable, "-m", "feedhandler", "check", str(CONFIG)]
    assert "linear" in run(command).stdout


def test_spread_monitor_shows_twenty_spreads(feed: Feed) -> None:
    """Not on a terminal: a line a symbol, with bid below ask and their distance."""
    done = run(module("spread_monitor", "--runtime", feed.runtime, "--seconds", "1.8"))
    rows = [line.split() for line in done.stdout.splitlines() if line][-20:]
    assert len({row[0] for row in rows}) == 20
    for symbol, bid, ask, distance, unit in rows:
        bid_price, ask_price = (float(number.replace(",", "")) for number in (bid, ask))
        assert 0 < bid_price < ask_price, symbol
        middle = (bid_price + ask_price) / 2
        assert float(distance) == pytest.approx((ask_price - bid_price) / middle * 1e4, abs=0.001)
        assert unit == "bp"


def test_spread_monitor_moves_on_a_terminal(feed: Feed) -> None:
    """On a terminal the table is drawn over itself."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            module("spread_monitor", "--runtime", feed.runtime, "--seconds", "2.3"),
            env=environment(),
            stdout=theirs,
            timeout=TIMEOUT_S,
            check=True,
        )
        screen = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert screen.count("\x1b[H\x1b[2J") >= 2
    assert "BTCUSDT" in screen


def test_spread_monitor_says_why_there_is_no_number(tmp_path: Path) -> None:
    """Without a feed each symbol has its state and the reason in place of numbers."""
    done = run(module("spread_monitor", "--runtime", tmp_path, "--seconds", "3.5"))
    rows = [line for line in done.stdout.splitlines() if line][-20:]
    assert len(rows) == 20
    assert all(f"unknown: no feed at {tmp_path}" in row for row in rows)


def test_careful_quoter_stops_while_its_book_is_not_live(feed: Feed) -> None:
    """The venue's connection is cut: no quotes and why; the book is whole again: quotes around its middle."""
    with Running(module("careful_quoter", "--runtime", feed.runtime)) as quoter:
        quoting = quoter.wait_for("quoting")
        feed.simulator("fault", kind="reset", product="linear")
        doubt = quoter.wait_for("no quotes: the book is down, connection lost", quoting)
        again = quoter.wait_for("quoting", doubt)
        assert all(line.startswith("no quotes") for line in quoter.lines[doubt : again - 1])
        bid, ask, update_id = re.findall(r"[\d,.]+", quoter.lines[again - 1])
        quoter.process.send_signal(signal.SIGINT)
        assert quoter.process.wait(10) == 0
    ratio = float(ask.replace(",", "")) / float(bid.replace(",", ""))
    assert ratio == pytest.approx(1.001, rel=1e-4)
    assert int(update_id) > 0


def trades_in(folder: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    files = sorted(folder.glob("*.parquet"))
    return [row for path in files for row in parquet.read_table(path).to_pylist()]


def test_record_trades_writes_every_trade(feed: Feed, tmp_path: Path) -> None:
    """Over several files, what was recorded of a symbol is exactly what was published meanwhile, in order."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    with Ear([feed.address("linear")], [TRADES]) as ear:
        ear.wait_for(lambda: ear.data(TRADES), "trades")
        done = run(
            module("record_trades", tmp_path / "trades", "--runtime", feed.runtime, "--seconds", 3, "--rotate-s", 1.2)
        )
        published = [
            (trade["i"], trade["T"], float(trade["p"]), float(trade["v"]), trade["S"])
            for record in ear.data(TRADES)
            for trade in json.loads(record.payload)["data"]
        ]
    rows = trades_in(tmp_path / "trades")
    assert len(done.stdout.splitlines()) == len(list((tmp_path / "trades").iterdir())) == 3
    assert sum(int(line.split()[-2]) for line in done.stdout.splitlines()) == len(rows)
    recorded = [
        (row["trade_id"], row["time_ms"], row["price"], row["size"], row["side"])
        for row in rows
        if row["symbol"] == "BTCUSDT"
    ]
    assert len(recorded) > 5
    start = published.index(recorded[0])
    assert published[start : start + len(recorded)] == recorded
    assert len({row["symbol"] for row in rows}) > 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_record_trades_keeps_what_it_has_when_interrupted(feed: Feed, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, or the system's stop, writes the last file whole and ends cleanly; what the venue missed is said."""
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    with (
        Ear([feed.address("linear")], [TRADES]) as ear,
        Running(module("record_trades", tmp_path, "--runtime", feed.runtime)) as recorder,
    ):
        wait_until(lambda: list(tmp_path.glob("*.part")), "the recorder begins")
        started_ns = time.time_ns()
        ear.wait_for(lambda: any(record.received_ns > started_ns + 10**9 for record in ear.data(TRADES)), "more trades")
        feed.simulator("fault", kind="reset", product="linear")
        ear.wait_for(lambda: "down" in ear.states(TRADES), "the reset")
        ear.wait_for(lambda: ear.states(TRADES)[-1] == "live", "it is live again")
        recorder.process.send_signal(number)
        _, errors = recorder.process.communicate(timeout=10)
        assert recorder.process.returncode == 0
    assert f'{TRADES} {{"state":"down","reason":"connection lost"' in errors
    assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"]
    assert trades_in(tmp_path)


def test_record_trades_without_pyarrow_says_what_to_install(tmp_path: Path) -> None:
    """One line, no traceback."""
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    done = subprocess.run(
        module("record_trades", tmp_path),
        env=environment(before=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == 'record_trades needs pyarrow: pip install "feedhandler[parquet]"\n'


# In one process.


def test_direct_follows_the_venue_itself(feed: Feed) -> None:
    """Without the feed's processes: states, then trades with the book's middle near their price."""
    url = f"{feed.status()['simulated_bybit']}/v5/public/linear"
    with Running(module("direct", url, "--symbol", "ETHUSDT")) as direct:
        direct.wait_for("orderbook.50.ETHUSDT is live")
        direct.wait_for("publicTrade.ETHUSDT is live")
        at = direct.wait_for("middle 3,")
        line = direct.lines[at - 1]
        direct.process.send_signal(signal.SIGINT)
        assert direct.process.wait(10) == 0
        assert direct.process.stderr is not None
        assert direct.process.stderr.read() == ""
    found = re.fullmatch(r"(Buy|Sell) .* at ([\d,.]+), middle ([\d,.]+)", line)
    assert found is not None
    side, price, middle = found.groups()
    assert side in ("Buy", "Sell")
    assert float(price.replace(",", "")) == pytest.approx(float(middle.replace(",", "")), rel=0.001)


def test_direct_ends_when_its_time_is_over(feed: Feed) -> None:
    """With ``--seconds`` it ends by itself, cleanly."""
    url = f"{feed.status()['simulated_bybit']}/v5/public/linear"
    assert "is live" in run(module("direct", url, "--seconds", "1")).stdout


def test_direct_refuses_a_wrong_url_in_one_line() -> None:
    """What cannot be meant is said without a traceback."""
    done = subprocess.run(
        module("direct", "http://127.0.0.1/"), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith('direct: "http://127.0.0.1/" is no URL')
    assert len(done.stderr.splitlines()) == 1


def test_readme_shows_a_whole_program_in_one_process(feed: Feed, tmp_path: Path) -> None:
    """The README's example of `connect`, as it stands there, prints a book that comes alive and trades."""
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    (program,) = (block for block in blocks if "feedhandler.connect(" in block)
    script = tmp_path / "script.py"
    script.write_text(program)
    url = f"{feed.status()['simulated_bybit']}/v5/public/linear"
    with Running([sys.executable, str(script), url]) as running:
        running.wait_for(f"{TRADES} 3 ")
        at = running.wait_for("linear.orderbook.50.BTCUSDT 2 ")
        assert re.search(r" \(8\d{4}\.\d+, \d+\.\d+\) live$", running.lines[at - 1])


# Names of the README.


def test_readme_names_what_there_is() -> None:
    """Every example has its row, and every builder of topics that the tables use exists."""
    text = README.read_text()
    named = set(re.findall(r"python -m feedhandler\.examples\.(\w+)", text))
    assert named == {path.stem for path in EXAMPLES.glob("*.py")} - {"__init__"}
    for name in re.findall(r"`(?:await client\.subscribe\()?topics\.(\w+)\(", text):
        assert callable(getattr(feedhandler.topics, name))
    for name in re.findall(r"`client\.(\w+)\(", text):
        assert callable(getattr(Client, name))
    for name in re.findall(r"`feed\.(\w+)\(", text):
        assert callable(getattr(feedhandler.Subscriber, name))


# Without anything of ours.


def test_plain_example_imports_nothing_of_ours() -> None:
    """What it shows is that a ZeroMQ library is enough."""
    tree = ast.parse((EXAMPLES / "plain_zeromq.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))
    assert imported == {"argparse", "struct", "time", "zmq"}


def test_plain_example_reads_the_feed(feed: Feed, plain: list[str]) -> None:
    """Image first, then deltas that continue it without a gap: each as another subscriber got it."""
    with Ear([feed.address("linear")], [BOOK]) as ear:
        ear.wait_for(lambda: ear.data(BOOK), "records")
        done = run(with_end([*plain, feed.address("linear"), BOOK], 2))
        published = {
            (wire.KIND_NAMES[record.kind], record.epoch, record.sequence, len(record.payload))
            for record in ear.of(BOOK)
        }
    assert done.stdout.startswith("status ")
    assert '"state":"live"' in done.stdout.splitlines()[0]
    data = [LINE.fullmatch(line) for line in done.stdout.splitlines() if not line.startswith("status ")]
    got = [(found[1], int(found[2]), int(found[3]), int(found[4])) for found in data if found is not None]
    assert len(got) == len(data) > 10
    assert [kind for kind, *_ in got] == ["snapshot"] + ["delta"] * (len(got) - 1)
    assert [sequence for _, _, sequence, _ in got] == list(range(got[0][2], got[0][2] + len(got)))
    assert set(got[:-1]) <= published


def test_plain_example_follows_a_restarted_worker(feed: Feed, plain: list[str]) -> None:
    """A killed worker comes back under a new epoch: the example continues with its snapshot."""
    with Running([*plain, feed.address("linear"), BOOK]) as example:
        before = example.wait_for("delta ")
        os.kill(feed.wait_live("linear")["pid"], signal.SIGKILL)
        epoch = example.lines[before - 1].split()[1]

        def snapshot_of_another_epoch() -> bool:
            found = [line.split() for line in example.lines]
            return any(words[0] == "snapshot" and words[1] > epoch for words in found)

        wait_until(snapshot_of_another_epoch, "a snapshot of the next epoch")
        assert not [line for line in example.lines if line.startswith("lost")]
    feed.wait_live("linear")


def test_plain_example_mends_a_loss(plain: list[str]) -> None:
    """A jump of the sequence: said with its number; subscribed again, the image is taken and continued."""
    head = wire.prefix(BOOK)

    def message(kind: int, sequence: int, flags: int = 0, payload: bytes = b"{}") -> bytes:
        return wire.pack(head, kind, flags, 255, 7, sequence, 1, 2, payload)

    with zmq.Context() as context, context.socket(zmq.XPUB) as worker:
        worker.linger = 0
        worker.xpub_verbose = True
        port = worker.bind_to_random_port("tcp://127.0.0.1")

        def expect(subscription: bytes) -> None:
            assert worker.poll(int(TIMEOUT_S * 1000)), "the example did not subscribe"
            assert worker.recv() == subscription + head

        with Running([*plain, f"tcp://127.0.0.1:{port}", BOOK]) as example:
            expect(b"\x01")
            worker.send(message(wire.DELTA, 40))  # sent before the answer: nothing to continue
            worker.send(message(wire.STATUS, 40, wire.REPEATED, b'{"state":"live"}'))
            worker.send(message(wire.SNAPSHOT, 40, wire.IMAGE, b"{  }"))
            worker.send(message(wire.DELTA, 41))
            worker.send(message(wire.SNAPSHOT, 41, wire.IMAGE))  # for another newcomer
            worker.send(message(wire.DELTA, 45))
            expect(b"\x00")
            expect(b"\x01")
            worker.send(message(wire.DELTA, 46))
            worker.send(message(wire.SNAPSHOT, 46, wire.IMAGE))
            worker.send(message(wire.DELTA, 47))
            example.wait_for("delta 7 47")
            assert example.lines == [
                'status 7 40 {"state":"live"}',
                "snapshot 7 40 4 bytes",
                "delta 7 41 2 bytes",
                "lost 3 records",
                "snapshot 7 46 2 bytes",
                "delta 7 47 2 bytes",
            ]
