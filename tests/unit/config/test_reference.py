"""The reference configuration says every key and the defaults that the model has, and runs as it is."""

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from feedhandler.config.load import load
from feedhandler.config.model import Config, Connection, Endpoint, Publish, Runtime, SecretSource, Subscriptions
from feedhandler.config.plan import plan, publish
from feedhandler.config.problems import ConfigError

ROOT: Final = Path(__file__).parents[3]
REFERENCE: Final = ROOT / "deploy" / "config.toml"
EXAMPLES: Final = "# More that can be had"


def text() -> str:
    return REFERENCE.read_text()


def with_examples() -> str:
    """Return the reference with its commented examples taken in."""
    begin, end = text().split(EXAMPLES)
    return begin + "#" + re.sub(r"(?m)^# (?=\[|\w+ = |# )", "", end)


def test_package_holds_the_same_text() -> None:
    """What ``init`` writes is the reference."""
    assert (ROOT / "feedhandler" / "config" / "reference.toml").read_text() == text()


def test_loads() -> None:
    """The reference has no problem, and is about simulated data."""
    config = load(REFERENCE)
    plans = plan(config, Path("/run/feed"))
    assert config.network == "sim"
    assert [(worker.worker, worker.simulated) for worker in plans] == [
        ("linear", True),
        ("spot", True),
        ("private", True),
    ]
    assert plans[0].topics == [
        *("orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "tickers.BTCUSDT"),
        *("orderbook.50.ETHUSDT", "publicTrade.ETHUSDT", "tickers.ETHUSDT"),
        "allLiquidation.BTCUSDT",
    ]


def test_examples_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commented example is right, all of them together."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1})
    path = tmp_path / "feed.toml"
    path.write_text(with_examples())
    config = load(path)
    assert list(config.endpoints) == ["linear", "spot", "private", "inverse", "option", "spread", "books"]
    assert len(plan(config, Path("/run/feed"))) == 8
    assert len(config.endpoints["books"].subscriptions) == 2


def test_example_of_an_account_is_whole(tmp_path: Path) -> None:
    """On the real market it needs the two lines that are still comments, and no more."""
    path = tmp_path / "feed.toml"
    real = with_examples().replace('network = "sim"', 'network = "mainnet"').partition("\n# Another product")[0]
    path.write_text(real)
    with pytest.raises(ConfigError, match=r"endpoints\.private\.api_key: is missing"):
        load(path)
    path.write_text(re.sub(r"(?m)^# (?=api_)", "", real))
    private = load(path).endpoints["private"]
    assert (private.api_key, private.api_secret) == (
        SecretSource(env="BYBIT_API_KEY"),
        SecretSource(env="BYBIT_API_SECRET"),
    )
    assert (private.retain, private.allow_dcp) == (Endpoint(product="private").retain, False)


@pytest.mark.parametrize("struct", [Runtime, Connection, Publish])
def test_defaults_of_a_table(struct: type[msgspec.Struct]) -> None:
    """Each key of the table is there, with the model's default."""
    table = tomllib.loads(text())[struct.__name__.lower()]
    assert list(table) == list(struct.__struct_fields__)
    assert msgspec.convert(table, struct) == struct()


def test_defaults_of_an_endpoint() -> None:
    """Each key of an endpoint is said, and those that have a sensible default to show show the model's."""
    shown: dict[str, Any] = tomllib.loads(text())["endpoints"]["linear"]
    default = Endpoint(product="linear")
    for key in Endpoint.__struct_fields__:
        assert re.search(rf"(?m)^(?:#  ? ?)?(?:{key} = |\[+endpoints\.\w+\.{key}\])", with_examples()), key
    for key in ("unchecked_topics", "workers", "cpu", "url"):
        assert shown[key] == getattr(default, key)
    assert shown["publish"] == publish(default)


def test_every_key_of_the_top_and_of_groups_is_said() -> None:
    """No key is missing that the other tests do not look at."""
    assert set(tomllib.loads(text())) == set(Config.__struct_fields__)
    assert tomllib.loads(text())["site"] == Config(network="sim", endpoints={}).site
    groups = tomllib.loads(with_examples())["endpoints"]["books"]["subscriptions"]
    assert all(list(group) == list(Subscriptions.__struct_fields__) for group in groups)


def test_every_key_has_its_reason() -> None:
    """Above each key of the main tables stands a comment, or the key it shares one with."""
    begin = text().split("[endpoints.spot]")[0].split("\n")
    for before, line in itertools.pairwise(begin):
        if re.match(r"[a-z_]+ = ", line) and not line.startswith("reconnect_cap_s"):
            assert before.startswith("#"), line
