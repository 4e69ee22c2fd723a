"""Every effective value with its origin, as TOML that means the same."""

import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedhandler.config.explain import explain
from feedhandler.config.load import load, read
from feedhandler.config.model import Config, Connection, Endpoint, Publish, Runtime
from feedhandler.config.plan import plan


def explained(folder: Path, text: str, overridden_by: str = "") -> str:
    path = folder / "feed.toml"
    path.write_text(text)
    loaded = read(path)
    told = explain(loaded.config, loaded.written, loaded.runtime_directory, overridden_by=overridden_by)
    # What is told is a configuration that means the same.
    path.write_text(told)
    again = load(path)
    assert plan(again, loaded.runtime_directory) == plan(loaded.config, loaded.runtime_directory)
    return told


LINEAR = '[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]\n'


def test_explained(tmp_path: Path) -> None:
    """Each key stands in its table with its value and where that came from."""
    text = (
        'network = "mainnet"\n[runtime]\nlog_level = "debug"\ndirectory = "/run/feed"\n'
        "[connection]\nping_interval_s = 15\n[publish]\nquiet_status_s = 2.5\n"
        + LINEAR
        + "workers = 1\n[endpoints.linear.connection]\nmax_attempts = 3\n"
    )
    assert explained(tmp_path, text) == (
        """\
network = "mainnet"  # file
site = ""            # default

[runtime]
directory = "/run/feed"  # file
group = ""               # default
log_level = "debug"      # file
log_format = "auto"      # default

[connection]
ping_interval_s = 15.0    # file
pong_timeout_s = 10.0     # default
connect_timeout_s = 10.0  # default
reconnect_base_s = 0.5    # default
reconnect_cap_s = 30.0    # default
canary = "auto"           # default
max_age_s = 0.0           # default
max_attempts = 0          # default
max_active_time_s = 0.0   # default

[publish]
send_high_water_mark = 100000  # default
quiet_status_s = 2.5           # file

[endpoints.linear]
product = "linear"                               # file
symbols = []                                     # default
streams = []                                     # default
topics = ["tickers.BTCUSDT"]                     # file
unchecked_topics = []                            # default
subscriptions = []                               # default
publish = ["ipc://{runtime}/{worker}.pub"]       # default
lines = 1                                        # default
workers = 1                                      # file
priority = 0                                     # default
cpu = []                                         # default
network = "mainnet"                              # as at the top level
site = ""                                        # as at the top level
url = "wss://stream.bybit.com/v5/public/linear"  # default, by network and product

[endpoints.linear.connection]
ping_interval_s = 15.0    # [connection]
pong_timeout_s = 10.0     # default
connect_timeout_s = 10.0  # default
reconnect_base_s = 0.5    # default
reconnect_cap_s = 30.0    # default
canary = "auto"           # default
max_age_s = 0.0           # default
max_attempts = 3          # file
"""
    )


def line(text: str, key: str) -> str:
    [found] = [line for line in text.split("\n") if line.startswith(f"{key} =")]
    return " ".join(found.split())


def test_simulated(tmp_path: Path) -> None:
    """The simulated Bybit has no URL before it runs."""
    assert (
        line(explained(tmp_path, f'network = "sim"\n{LINEAR}'), "url") == 'url = "" # default, the simulated Bybit\'s'
    )


def test_own_network_and_url(tmp_path: Path) -> None:
    """An endpoint's own network and URL come from the file."""
    told = explained(tmp_path, f'network = "sim"\n{LINEAR}network = "testnet"\nurl = "ws://127.0.0.1:1/x"')
    assert 'network = "testnet"' in told
    assert line(told, "url") == 'url = "ws://127.0.0.1:1/x" # file'


def test_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory shown is the effective one, whoever named it."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/by-systemd")
    text = f'network = "sim"\n[runtime]\ndirectory = ""\n{LINEAR}'
    assert line(explained(tmp_path, text), "directory") == 'directory = "/run/by-systemd" # default, by the environment'
    assert line(explained(tmp_path, text, "--runtime"), "directory") == 'directory = "/run/by-systemd" # --runtime'


def test_symbol_file(tmp_path: Path) -> None:
    """Symbols of a file are shown, with the file's name; a long list is broken into lines."""
    symbols = [f"COIN{number}USDT" for number in range(20)]
    (tmp_path / "symbols.txt").write_text("\n".join(symbols))
    told = explained(
        tmp_path,
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\nsymbols = { file = "symbols.txt" }\nstreams = ["tickers"]',
    )
    assert 'symbols = [  # file: "symbols.txt"\n    "COIN0USDT", ' in told
    assert tomllib.loads(told)["endpoints"]["linear"]["symbols"] == symbols
    assert max(map(len, told.split("\n"))) <= 104


def test_groups(tmp_path: Path) -> None:
    """Further groups keep their tables."""
    group = '[[endpoints.linear.subscriptions]]\nsymbols = ["{}"]\nstreams = ["kline.1"]\n'
    told = explained(tmp_path, f'network = "sim"\n{LINEAR}{group.format("ETHUSDT")}{group.format("SOLUSDT")}')
    groups = tomllib.loads(told)["endpoints"]["linear"]["subscriptions"]
    assert [group["symbols"] for group in groups] == [["ETHUSDT"], ["SOLUSDT"]]


PRIVATE = '[endpoints.private]\nproduct = "private"\ntopics = ["order"]\n'
SOURCES = 'api_key = { env = "MY_KEY" }\napi_secret = { file = "s.txt" }\n'


def test_every_key_is_explained(tmp_path: Path) -> None:
    """No key of the model is left out where it has a meaning, and none is shown where it has none."""
    told = tomllib.loads(explained(tmp_path, f'network = "sim"\n{LINEAR}{PRIVATE}{SOURCES}'))
    assert set(told) == set(Config.__struct_fields__)
    assert list(told["runtime"]) == list(Runtime.__struct_fields__)
    assert list(told["publish"]) == list(Publish.__struct_fields__)
    assert list(told["connection"]) == list(Connection.__struct_fields__)
    every = set(Endpoint.__struct_fields__)
    assert set(told["endpoints"]["private"]) == every
    assert set(told["endpoints"]["linear"]) == every - {"api_key", "api_secret", "retain", "allow_dcp"}
    every = set(Connection.__struct_fields__)
    assert set(told["endpoints"]["private"]["connection"]) == every
    assert set(told["endpoints"]["linear"]["connection"]) == every - {"max_active_time_s"}


def test_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where secrets are read is shown, and never what is there."""
    monkeypatch.setenv("MY_KEY", "hush")
    (tmp_path / "s.txt").write_text("hush")
    told = explained(tmp_path, f'network = "mainnet"\n{PRIVATE}{SOURCES}')
    assert line(told, "api_key") == 'api_key = { env = "MY_KEY" } # file: from environment variable MY_KEY'
    assert f'file = "{tmp_path}/s.txt" }}  # file: from file {tmp_path}/s.txt\n' in told
    assert line(told, "publish") == 'publish = ["ipc://{runtime}/private/{worker}.pub"] # default'
    assert line(told, "retain") == "retain = 1000 # default"
    assert "hush" not in told


def test_account_of_the_simulator(tmp_path: Path) -> None:
    """Without a key of its own an endpoint signs in with the simulator's, and that is said."""
    assert "# api_key, api_secret" in (told := explained(tmp_path, f'network = "sim"\n{PRIVATE}'))
    assert "# default, the simulator's test key\n" in told


def test_idle_time_of_a_private_connection(tmp_path: Path) -> None:
    """It is part of the URL shown, and not added to it again."""
    text = f'network = "demo"\n[connection]\nmax_active_time_s = 45\n{LINEAR}network = "mainnet"\n{PRIVATE}{SOURCES}'
    told = tomllib.loads(explained(tmp_path, text))["endpoints"]
    assert told["private"]["url"] == "wss://stream-demo.bybit.com/v5/private?max_active_time=45s"
    assert told["linear"]["url"] == "wss://stream.bybit.com/v5/public/linear"


def test_site(tmp_path: Path) -> None:
    """The site shown is the one in effect, and who named it; off mainnet, or with a URL, there is none."""
    text = 'network = "mainnet"\nsite = "eu"\n' + "".join(
        LINEAR.replace("linear]", f"{name}]") + keys + "\n"
        for name, keys in {
            "inherited": "",
            "own": 'site = "jp"',
            "without": 'site = ""',
            "elsewhere": 'network = "testnet"',
            "served": 'url = "ws://127.0.0.1:1/x"',
        }.items()
    )
    told = explained(tmp_path, text)
    assert [" ".join(found.split()) for found in told.split("\n") if found.startswith("site")] == [
        'site = "eu" # file',
        'site = "eu" # as at the top level',
        'site = "jp" # file',
        'site = "" # file',
        'site = "" # of no use here',
        'site = "" # of no use here',
    ]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])), max_size=20), st.text(max_size=5))
def test_any_strings(topics: list[str], directory: str) -> None:
    """Whatever strings hold, they are read back as they were."""
    config = msgspec.convert(
        {"network": "sim", "endpoints": {"x": {"product": "spot", "unchecked_topics": topics}}}, Config
    )
    written = {"endpoints": {"x": {"unchecked_topics": topics}}}
    runtime = Path("/run") / directory.encode("utf-8", "ignore").decode()
    told = tomllib.loads(explain(config, written, runtime))
    assert told["endpoints"]["x"]["unchecked_topics"] == topics
    assert told["runtime"]["directory"] == str(runtime)
