"""``feedhandler init`` and ``feedhandler check`` as a person or a program meets them: output, errors, exit codes."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

SOUND: Final = """
network = "mainnet"

[endpoints.linear]
product = "linear"
symbols = ["BTCUSDT", "ETHUSDT"]
streams = ["tickers", "orderbook.50"]
workers = 2

[endpoints.spot]
product = "spot"
network = "testnet"
topics = ["tickers.BTCUSDT"]
publish = ["ipc://{runtime}/{worker}.pub", "tcp://127.0.0.1:{5600+index}"]
"""


def feedhandler(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR")}
    return subprocess.run(
        [sys.executable, "-m", "feedhandler", *map(str, arguments)],
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "feed.toml").write_text(SOUND)
    return tmp_path


def test_check(folder: Path) -> None:
    """A sound file shows, for each worker, where it connects and publishes and how its topics fill connections."""
    done = feedhandler("check", "feed.toml", cwd=folder, RUNTIME_DIRECTORY="/run/feed")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        """\
network   mainnet: the real market
runtime   /run/feed

linear
  product      linear
  url          wss://stream.bybit.com/v5/public/linear
  publish      ipc:///run/feed/linear.pub
  topics       2
  connection   3 topics, 63 of 21,000 args characters, 1 request

linear-1
  product      linear
  url          wss://stream.bybit.com/v5/public/linear
  publish      ipc:///run/feed/linear-1.pub
  topics       2
  connection   3 topics, 63 of 21,000 args characters, 1 request

spot
  product      spot
  network      testnet: Bybit's testnet
  url          wss://stream-testnet.bybit.com/v5/public/spot
  publish      ipc:///run/feed/spot.pub
               tcp://127.0.0.1:5602
  topics       1
  connection   2 topics, 40 of 21,000 args characters, 1 request

status
  product      status
  url          wss://stream.bybit.com/v5/public/misc/status
  publish      ipc:///run/feed/status.pub
  topics       1
  connection   1 topic, 16 of 21,000 args characters, 1 request

status_testnet
  product      status
  network      testnet: Bybit's testnet
  url          wss://stream-testnet.bybit.com/v5/public/misc/status
  publish      ipc:///run/feed/status_testnet.pub
  topics       1
  connection   1 topic, 16 of 21,000 args characters, 1 request

feed.toml: no problems; 5 workers, 5 connections, 7 topics
"""
    )


ACCOUNT: Final = """
network = "demo"

[endpoints.private]
product = "private"
topics = ["order", "execution", "position", "wallet"]
retain = 1
api_key = { env = "MY_KEY" }
api_secret = { file = "secret.txt" }

[endpoints.private.connection]
max_active_time_s = 60

[endpoints.spread]
product = "spread"
network = "mainnet"
site = "eu"
symbols = ["SOLUSDT_SOL/USDT"]
streams = ["orderbook.25", "tickers"]
"""


def test_check_private_and_spread(tmp_path: Path) -> None:
    """An account is shown by where its secrets are read; they need not be there, and nobody looks."""
    (tmp_path / "feed.toml").write_text(ACCOUNT)
    done = feedhandler("check", "feed.toml", cwd=tmp_path, RUNTIME_DIRECTORY="/run/feed")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"""\
network   demo: Bybit's demo trading
runtime   /run/feed

private
  product      private
  url          wss://stream-demo.bybit.com/v5/private?max_active_time=60s
  publish      ipc:///run/feed/private/private.pub
  signs in     with API key from environment variable MY_KEY, secret from file {tmp_path}/secret.txt
  retain       1 record of each topic
  topics       4
  connection   4 topics, 40 of 21,000 args characters, 1 request

spread
  product      spread
  network      mainnet: the real market
  url          wss://stream.bybit.eu/v5/public/spread
  publish      ipc:///run/feed/spread.pub
  topics       2
  connection   2 topics, 59 of 21,000 args characters, 1 request

status
  product      status
  network      mainnet: the real market
  url          wss://stream.bybit.eu/v5/public/misc/status
  publish      ipc:///run/feed/status.pub
  topics       1
  connection   1 topic, 16 of 21,000 args characters, 1 request

feed.toml: no problems; 3 workers, 3 connections, 7 topics
"""
    )


def test_check_shows_no_secret(tmp_path: Path) -> None:
    """Whatever the output, what stands at the places named is not in it."""
    (tmp_path / "feed.toml").write_text(ACCOUNT)
    (tmp_path / "secret.txt").write_text("hush")
    for option in ([], ["--json"], ["--explain"]):
        done = feedhandler("check", "feed.toml", *option, cwd=tmp_path, MY_KEY="hush")
        assert done.returncode == 0
        assert "MY_KEY" in done.stdout
        assert "hush" not in done.stdout + done.stderr
    told = json.loads(feedhandler("check", "feed.toml", "--json", cwd=tmp_path).stdout)["workers"][0]
    assert (told["api_key"], told["api_secret"], told["retain"]) == (
        {"env": "MY_KEY"},
        {"file": f"{tmp_path}/secret.txt"},
        1,
    )


def test_check_refuses_a_secret_in_a_url_unseen(tmp_path: Path) -> None:
    """One line that names file, key and parameter, whatever the output; the value is not in it."""
    (tmp_path / "feed.toml").write_text(f'{SOUND}url = "wss://example.org/v5/public/spot?api_key=hush"\n')
    for option in ([], ["--json"], ["--explain"]):
        done = feedhandler("check", "feed.toml", *option, cwd=tmp_path)
        assert done.returncode == 2
        told = 'feed.toml: endpoints.spot.url: holds "api_key" in its query: secrets do not belong in this file'
        assert done.stderr.splitlines()[0] == told
        assert "hush" not in done.stdout + done.stderr


def test_check_of_the_simulators_account(tmp_path: Path) -> None:
    """Without a key an account is the simulator's, and that is said."""
    (tmp_path / "feed.toml").write_text(
        'network = "sim"\n[endpoints.private]\nproduct = "private"\ntopics = ["order"]\n'
    )
    done = feedhandler("check", "feed.toml", cwd=tmp_path)
    assert "  signs in     with the simulator's test key\n  retain       1,000 records of each topic\n" in done.stdout


def test_check_many_topics(tmp_path: Path) -> None:
    """Topics beyond one connection's characters are shown connection by connection, in aligned columns."""
    core = min(os.sched_getaffinity(0))
    symbols = [f"COIN{number}USDT" for number in range(900)]
    (tmp_path / "feed.toml").write_text(
        f'network = "sim"\n[endpoints.spot]\nproduct = "spot"\nsymbols = {symbols}\nstreams = ["publicTrade"]\n'
        f"cpu = [{core}]\n"
    )
    done = feedhandler("check", "feed.toml", cwd=tmp_path)
    assert done.returncode == 0
    assert (
        f"  url          ws://127.0.0.1:PORT/v5/public/spot\n"
        f"  publish      ipc:///tmp/feedhandler-{os.getuid()}/spot.pub\n"
        f"  cores        {core}\n"
        f"  topics       900\n"
        f"  connections  812 topics, 20,998 of 21,000 args characters, 82 requests\n"
        f"                90 topics,  2,336 of 21,000 args characters,  9 requests\n"
    ) in done.stdout


def test_reference(tmp_path: Path) -> None:
    """What ``init`` writes passes ``check`` on a fresh machine, and is the reference."""
    wrote = feedhandler("init", cwd=tmp_path)
    assert (wrote.returncode, wrote.stdout) == (0, "wrote config.toml\n")
    assert "feedhandler check config.toml" in wrote.stderr
    assert "feedhandler run config.toml" in wrote.stderr
    assert (tmp_path / "config.toml").read_bytes() == (ROOT / "deploy" / "config.toml").read_bytes()
    checked = feedhandler("check", "config.toml", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_init_keeps_what_is_there(folder: Path) -> None:
    """A file is replaced only with --force."""
    refused = feedhandler("init", "feed.toml", cwd=folder)
    assert refused.returncode == 2
    assert "feed.toml exists" in refused.stderr
    assert "--force" in refused.stderr
    assert (folder / "feed.toml").read_text() == SOUND
    forced = feedhandler("init", "feed.toml", "--force", cwd=folder)
    assert forced.returncode == 0
    assert (folder / "feed.toml").read_bytes() == (ROOT / "deploy" / "config.toml").read_bytes()


@pytest.mark.parametrize(("name", "reason"), [("no/such/folder.toml", "no such file or directory"), (".", "exists")])
def test_init_somewhere_impossible(folder: Path, name: str, reason: str) -> None:
    """Where nothing can be written, one line says why."""
    done = feedhandler("init", name, cwd=folder)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_problems(tmp_path: Path) -> None:
    """Every problem is a line on stderr, their number the last line, and the exit code 2; stdout stays empty."""
    (tmp_path / "feed.toml").write_text(
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\nsymbols = ["BTCUSDT"]\n'
        'streams = ["tickers", "orderbok.50"]\nworkers = 0\napi_secret = "hush"\n'
    )
    done = feedhandler("check", "feed.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in lines[:-1]] == [
        "endpoints.linear.workers",
        "endpoints.linear.api_secret",
        "endpoints.linear.streams[1]",
    ]
    assert lines[2] == (
        'feed.toml: endpoints.linear.streams[1]: linear does not serve "orderbok.50"; did you mean "orderbook.50"?'
    )
    assert "3 problems" in lines[-1]
    assert "hush" not in done.stderr


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_no_file(folder: Path, name: str) -> None:
    """A file that is not there, or is none, is one problem."""
    done = feedhandler("check", name, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "1 problem " in done.stderr.splitlines()[-1]
    assert done.stderr.startswith(f"{name}: ")


def test_json(folder: Path) -> None:
    """A program reads workers with their topics, and each connection's share of the venue's limits."""
    done = feedhandler("check", "feed.toml", "--json", "--runtime", folder / "run", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["problems"], told["network"], told["runtime_directory"]) == ([], "mainnet", str(folder / "run"))
    assert [worker["worker"] for worker in told["workers"]] == [
        *("linear", "linear-1", "spot"),
        *("status", "status_testnet"),  # the venue's announcements, watched by default on real networks
    ]
    assert told["workers"][2] == {
        "worker": "spot",
        "endpoint": "spot",
        "product": "spot",
        "network": "testnet",
        "simulated": False,
        "url": "wss://stream-testnet.bybit.com/v5/public/spot",
        "publish": [f"ipc://{folder}/run/spot.pub", "tcp://127.0.0.1:5602"],
        "cpu": [],
        "topics": ["tickers.BTCUSDT"],
        "lines": 1,
        "api_key": None,
        "api_secret": None,
        "retain": 0,
        "connections": [{"topics": 2, "args_characters": 40, "requests": 1}],
    }


def test_json_of_problems(tmp_path: Path) -> None:
    """A program reads each problem's file, key and text; people still find them on stderr."""
    (tmp_path / "feed.toml").write_text('network = "sin"\n')
    done = feedhandler("check", "feed.toml", "--json", cwd=tmp_path)
    assert done.returncode == 2
    problems = json.loads(done.stdout)["problems"]
    assert [(problem["file"], problem["key"]) for problem in problems] == [
        ("feed.toml", "endpoints"),
        ("feed.toml", "network"),
    ]
    assert problems[1]["text"].endswith('did you mean "sim"?')
    assert len(done.stderr.splitlines()) == 3


def test_explain(folder: Path) -> None:
    """What --explain prints is a configuration that means the same, and says where each value came from."""
    done = feedhandler("check", "feed.toml", "--explain", "--runtime", folder / "run", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert tomllib.loads(done.stdout)["connection"]["ping_interval_s"] == 20
    assert f'directory = "{folder}/run"  # --runtime\n' in done.stdout
    assert "workers = 2 " in done.stdout
    (folder / "again.toml").write_text(done.stdout)
    again = feedhandler("check", "again.toml", "--json", cwd=folder)
    before = feedhandler("check", "feed.toml", "--json", "--runtime", folder / "run", cwd=folder)
    assert again.stdout == before.stdout


def test_explain_or_json(folder: Path) -> None:
    """One output at a time."""
    done = feedhandler("check", "feed.toml", "--json", "--explain", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "choose one" in done.stderr


@pytest.mark.parametrize("name", ["init", "check"])
def test_help(tmp_path: Path, name: str) -> None:
    """Each command explains itself, with an example."""
    done = feedhandler(name, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"Example: feedhandler {name} " in done.stdout


def test_reader_gone(folder: Path) -> None:
    """Output into a pipe that nobody reads ends without a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        process = subprocess.Popen(
            [sys.executable, "-m", "feedhandler", "check", "feed.toml"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
