"""Secrets in environment variables reach the workers that sign in with them, and no other process of a feed."""

import stat
from pathlib import Path

import pytest
from support.feed import Feed, wait_until

CONFIG = """
network = "sim"

[endpoints.linear]
product = "linear"
topics = ["tickers.BTCUSDT"]

[endpoints.mine]
product = "private"
topics = ["order"]
api_key = { env = "MY_KEY" }
api_secret = { env = "MY_SECRET" }

[endpoints.yours]
product = "private"
topics = ["order"]
api_key = { env = "YOUR_KEY" }
api_secret = { credential = "secret" }

[endpoints.simulated]
product = "private"
topics = ["order"]
"""
VALUES = {name: f"hush-{name.lower()}" for name in ("MY_KEY", "MY_SECRET", "YOUR_KEY")}


def environment(pid: int) -> dict[str, str]:
    raw = Path(f"/proc/{pid}/environ").read_text()
    return dict(pair.split("=", 1) for pair in raw.split("\0") if pair)


def test_each_process_has_its_own_secrets_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's environment holds what it signs in with; the others' and the simulated Bybit's hold nothing of it."""
    for name, value in VALUES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    monkeypatch.setenv("OF_NO_CONCERN", "shown")
    with Feed(tmp_path, CONFIG) as feed:
        workers = wait_until(lambda: feed.status().get("workers"), "the feed answers")
        environments = {worker["worker"]: environment(worker["pid"]) for worker in workers}
        [simulator] = [process for process in feed.family() if "feedhandler.sim" in process.cmdline()]
        environments["simulator"] = environment(simulator.pid)
        assert {name: sorted(VALUES.keys() & held.keys()) for name, held in environments.items()} == {
            "linear": [],
            "mine": ["MY_KEY", "MY_SECRET"],
            "yours": ["YOUR_KEY"],
            "simulated": [],
            "simulator": [],
        }
        for name, held in environments.items():
            assert {word for word in VALUES.values() if word in str(held)} == {
                VALUES[own] for own in held.keys() & VALUES
            }
            assert held["OF_NO_CONCERN"] == "shown", name
            assert held["CREDENTIALS_DIRECTORY"] == str(tmp_path / "credentials")
        assert stat.S_IMODE((feed.runtime / "private").stat().st_mode) == 0o700
        log = feed.log.read_text()
        assert "mine: signs in with API key from environment variable MY_KEY, secret from environment variable" in log
        assert "yours: signs in with API key from environment variable YOUR_KEY, secret from systemd credential" in log
        assert "simulated: signs in with the simulator's test key" in log
        assert "linear: signs in" not in log
        assert "hush-" not in log + feed.command("status", "--json").stdout
