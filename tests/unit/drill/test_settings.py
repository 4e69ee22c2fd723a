"""The user's configuration, turned to the simulated Bybit and to nobody else."""

from pathlib import Path

import msgspec
import pytest

from feedhandler.config import shape, syntax
from feedhandler.config.explain import explain
from feedhandler.config.model import Config
from feedhandler.config.plan import plan
from feedhandler.config.problems import Problems
from feedhandler.drill import settings

HOST = "127.0.0.1:9001"
RUNTIME = Path("/run/drill")
TEXT = """
network = "mainnet"
[runtime]
directory = "/run/live"
group = "traders"
[publish]
send_high_water_mark = 500
[connection]
reconnect_cap_s = 3
[endpoints.linear]
product = "linear"
workers = 2
lines = 2
symbols = ["BTCUSDT", "ETHUSDT"]
streams = ["orderbook.50", "publicTrade"]
topics = ["tickers.BTCUSDT"]
unchecked_topics = ["news.BTCUSDT"]
publish = ["ipc:///run/live/{worker}", "tcp://*:{5600+index}"]
cpu = [0]
url = "wss://example.org/v5/public/linear"
[[endpoints.linear.subscriptions]]
symbols = ["SOLUSDT"]
streams = ["orderbook.200"]
[endpoints.spot]
product = "spot"
network = "testnet"
topics = ["orderbook.1.BTCUSDT"]
[endpoints.spot.connection]
connect_timeout_s = 30
max_attempts = 2
"""


def read(text: str) -> Config:
    problems = Problems("feed.toml")
    written = syntax.parse(text, problems)
    assert written is not None
    config = msgspec.convert(shape.merged(shape.fit(written, problems)), Config)
    assert problems.found() == []
    return config


@pytest.fixture(scope="module")
def turned() -> Config:
    return settings.turned(read(TEXT), HOST)[0]


def test_nothing_leads_to_the_venue(turned: Config) -> None:
    """Whatever network or URL the file names."""
    assert {one.url for one in plan(turned, RUNTIME)} == {
        f"ws://{HOST}/v5/public/linear",
        f"ws://{HOST}/v5/public/spot",
    }
    assert all(one.simulated and one.network == "sim" for one in plan(turned, RUNTIME))


def test_nothing_meets_a_live_feed(turned: Config) -> None:
    """No address of its own, no core, no directory, no group."""
    for one in plan(turned, RUNTIME):
        assert one.publish == [f"ipc:///run/drill/{one.worker}.pub"]
        assert one.cpu == []
    assert (turned.runtime.directory, turned.runtime.group) == ("", "")
    # A port for metrics would be the live feed's, too.
    assert msgspec.to_builtins(turned).get("metrics", {"listen": ""})["listen"] == ""


def test_each_worker_has_the_topics_it_has() -> None:
    """In their order, on as many lines."""
    before = [one for one in plan(read(TEXT), RUNTIME) if one.product != "status"]
    after = plan(settings.turned(read(TEXT), HOST)[0], RUNTIME)
    assert [(one.worker, one.topics, one.lines) for one in after] == [
        (one.worker, one.topics, one.lines) for one in before
    ]


def test_limits_stay(turned: Config) -> None:
    """What a slow strategy may keep, how far pauses grow."""
    assert turned.publish.send_high_water_mark == 500
    assert turned.endpoints["linear"].connection.reconnect_cap_s == 3


def test_what_is_shortened_is_said_once() -> None:
    """Patience that only makes the drill long; both endpoints share the pings."""
    turned, notes = settings.turned(read(TEXT), HOST)
    assert notes == [
        "connection.ping_interval_s is 1 in this drill instead of 20",
        "connection.connect_timeout_s is 10 in this drill instead of 30",
        "connection.max_attempts is 0 in this drill instead of 2",
    ]
    assert turned.endpoints["spot"].connection.connect_timeout_s == 10
    assert turned.endpoints["linear"].connection.ping_interval_s == 1


def test_an_account_is_the_simulators_own() -> None:
    """No key or secret is left to be read, and that is said."""
    account = """
[endpoints.private]
product = "private"
topics = ["order"]
api_key = { env = "KEY" }
api_secret = { env = "SECRET" }
"""
    turned, notes = settings.turned(read(TEXT + account), HOST)
    private = turned.endpoints["private"]
    assert (private.api_key, private.api_secret, private.url) == (None, None, f"ws://{HOST}/v5/private")
    assert any("account" in note for note in notes)


def test_what_is_short_enough_stays() -> None:
    """Nothing is made longer."""
    text = TEXT.replace(
        "[connection]", "[connection]\nping_interval_s = 0.5\npong_timeout_s = 2\nreconnect_base_s = 0.1"
    )
    connection = settings.turned(read(text), HOST)[0].endpoints["linear"].connection
    assert (connection.ping_interval_s, connection.pong_timeout_s, connection.reconnect_base_s) == (0.5, 2, 0.1)


def test_the_result_is_a_configuration_that_means_the_same(turned: Config) -> None:
    """Written down as TOML and read again, every worker gets the same plan."""
    text = explain(turned, {"endpoints": {name: {} for name in turned.endpoints}}, RUNTIME)
    assert plan(read(text), RUNTIME) == plan(turned, RUNTIME)


@pytest.mark.parametrize(("topics", "rate"), [(1, 1.0), (300, 1.0), (600, 0.5), (10**6, settings.LEAST_RATE)])
def test_many_topics_are_less_lively(topics: int, rate: float) -> None:
    """Every frame is written down and read again."""
    assert settings.rate(topics) == rate
