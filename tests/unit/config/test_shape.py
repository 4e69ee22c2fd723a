"""Keys, types and ranges: everything that does not fit the model is told, once, by its key."""

from typing import Any

import msgspec
import pytest

from feedhandler.config import shape
from feedhandler.config.model import Config, Connection
from feedhandler.config.problems import Problems

TOP = """
network = "sim"
"""
LINEAR = """
[endpoints.linear]
product = "linear"
topics = ["tickers.BTCUSDT"]
"""


def fit(written: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    problems = Problems("feed.toml")
    fitted = shape.fit(written, problems)
    return fitted, [f"{problem.key}: {problem.text}" for problem in problems.found()]


NOT_HERE = (
    "looks like a secret: none belongs in this file; the api_key and api_secret of a private endpoint say where they are"
    " read"
)
CASES = {
    "missing network": (
        LINEAR,
        'network: is missing; it is one of "demo", "mainnet", "sim" or "testnet"',
    ),
    "misspelt network": (
        'network = "mainet"' + LINEAR,
        'network: "mainet" is not one of "demo", "mainnet", "sim" or "testnet"; did you mean "mainnet"?',
    ),
    "network in capitals": (
        'network = "SIM"' + LINEAR,
        'network: "SIM" is not one of "demo", "mainnet", "sim" or "testnet"; did you mean "sim"?',
    ),
    "network like no other": (
        'network = "moon"' + LINEAR,
        'network: "moon" is not one of "demo", "mainnet", "sim" or "testnet"',
    ),
    "network of an endpoint": (
        TOP + LINEAR + 'network = "tesnet"',
        (
            'endpoints.linear.network: "tesnet" is not one of "demo", "mainnet", "sim" or "testnet";'
            ' did you mean "testnet"?'
        ),
    ),
    "misspelt key": (
        TOP + LINEAR + "[connection]\nping_intervall_s = 20",
        'connection.ping_intervall_s: there is no such key in [connection]; did you mean "ping_interval_s"?',
    ),
    "misspelt key at the top": (
        TOP + "netwrok = 1" + LINEAR,
        'netwrok: there is no such key at the top level; did you mean "network"?',
    ),
    "misspelt key in a group": (
        TOP + LINEAR + '[[endpoints.linear.subscriptions]]\nsymbols = ["ETHUSDT"]\nstreams = ["tickers"]\nstream = 1',
        (
            "endpoints.linear.subscriptions[0].stream: there is no such key in [endpoints.linear.subscriptions[0]];"
            ' did you mean "streams"?'
        ),
    ),
    "unknown key": (
        TOP + LINEAR + "[runtime]\nzzz = 1",
        "runtime.zzz: there is no such key in [runtime], only directory, group, log_level and log_format",
    ),
    "key in the wrong table": (
        TOP + "workers = 2" + LINEAR,
        "workers: there is no such key at the top level; its place is [endpoints.NAME]",
    ),
    "key in one of two wrong tables": (
        TOP + LINEAR + "max_attempts = 2",
        (
            "endpoints.linear.max_attempts: there is no such key in [endpoints.linear];"
            " its place is [connection] or [endpoints.NAME.connection]"
        ),
    ),
    "key among the endpoints": (
        "[endpoints]\nnetwork = 'sim'" + LINEAR,
        'network: is missing; it is one of "demo", "mainnet", "sim" or "testnet"',
        (
            "endpoints.network: must be a table, [endpoints.network], not a string;"
            " the place of network is the top level or [endpoints.NAME]"
        ),
    ),
    "number among the endpoints": (
        TOP + "[endpoints]\nfoo = 3" + LINEAR,
        "endpoints.foo: must be a table, [endpoints.foo], not a whole number",
    ),
    "key that needs quotes": (
        TOP + LINEAR + '"a b" = 1',
        (
            'endpoints.linear."a b": there is no such key in [endpoints.linear], only product, symbols, streams, topics,'
            " unchecked_topics, subscriptions, publish, lines, workers, priority, cpu, network, site, url, api_key,"
            " api_secret, retain, allow_dcp and connection"
        ),
    ),
    "metrics": (TOP + LINEAR + "[metrics]\nlisten = ''", "metrics: is not available in this version"),
    "a word for true or false": (
        TOP + LINEAR + "allow_dcp = 'true'",
        "endpoints.linear.allow_dcp: must be true or false, not a string; leave out the quotes",
    ),
    "a number for true or false": (
        TOP + LINEAR + "allow_dcp = 1",
        "endpoints.linear.allow_dcp: must be true or false, not a whole number",
    ),
    "misspelt site": (
        TOP + "site = 'uk'" + LINEAR,
        'site: "uk" is not one of "", "bytick", "eu", "ge", "id", "jp", "kz" or "tr"',
    ),
    "retain": (
        TOP + LINEAR + "retain = 100_001",
        "endpoints.linear.retain: must be at least 0 and at most 100,000, not 100001",
    ),
    "a key itself": (
        TOP + LINEAR + "api_key = 'hush'",
        (
            "endpoints.linear.api_key: a secret does not belong in this file; write where it is read:"
            ' { env = "BYBIT_API_KEY" }, { file = "PATH" } or { credential = "NAME" }'
        ),
    ),
    "a secret itself, of digits": (
        TOP + LINEAR + "api_secret = 4711",
        (
            "endpoints.linear.api_secret: a secret does not belong in this file; write where it is read:"
            ' { env = "BYBIT_API_SECRET" }, { file = "PATH" } or { credential = "NAME" }'
        ),
    ),
    "misspelt source of a key": (
        TOP + LINEAR + "api_key = { evn = 'hush' }",
        'endpoints.linear.api_key.evn: there is no such key in [endpoints.linear.api_key]; did you mean "env"?',
    ),
    "source of a key that is no string": (
        TOP + LINEAR + "api_key = { env = 4711 }",
        (
            "endpoints.linear.api_key.env: is wrong; what it holds is not shown, because the key looks like that of a"
            " secret"
        ),
    ),
    "a secret within its source": (
        TOP + LINEAR + "api_key = { secret = 'hush' }",
        f"endpoints.linear.api_key.secret: {NOT_HERE}",
    ),
    "a secret elsewhere": (
        TOP + "apiKey = 'hush'" + LINEAR + "[runtime]\n'PASSWORD 1' = 'hush'",
        f"apiKey: {NOT_HERE}",
        f'runtime."PASSWORD 1": {NOT_HERE}',
    ),
    "a secret among the endpoints": (
        TOP + "[endpoints]\napi_token = 'hush'" + LINEAR,
        f"endpoints.api_token: {NOT_HERE}",
    ),
    "an endpoint named like a secret": (
        TOP + LINEAR + "[endpoints.api_key]\nproduct = 'hush'\ntopics = ['tickers.BTCUSDT']",
        "endpoints.api_key.product: is wrong; what it holds is not shown, because the key looks like that of a secret",
    ),
    "misspelt product": (
        TOP + "[endpoints.x]\nproduct = 'lineer'\ntopics = ['x']",
        'endpoints.x.product: "lineer" is not one of "inverse", "linear", "option", "private", "spot", "spread" or "status"; did you mean "linear"?',
    ),
    "missing product": (
        TOP + "[endpoints.x]\ntopics = ['x']",
        'endpoints.x.product: is missing; it is one of "inverse", "linear", "option", "private", "spot", "spread" or "status"',
    ),
    "string for a number": (
        TOP + LINEAR + "[connection]\nping_interval_s = 'often'\npong_timeout_s = '2.5'",
        "connection.ping_interval_s: must be a number, not a string",
        "connection.pong_timeout_s: must be a number, not a string; leave out the quotes",
    ),
    "fraction for a whole number": (
        TOP + LINEAR + "workers = 1.5",
        "endpoints.linear.workers: must be a whole number, not a number with a fraction",
    ),
    "boolean for a number": (
        TOP + LINEAR + "workers = true\n[connection]\nmax_attempts = false",
        "endpoints.linear.workers: must be a whole number, not true or false",
        "connection.max_attempts: must be a whole number, not true or false",
    ),
    "number for a string": (
        TOP + LINEAR + "url = 3\n[runtime]\ndirectory = 1979-05-27",
        "endpoints.linear.url: must be a string, not a whole number",
        "runtime.directory: must be a string, not a date or a time",
    ),
    "string for a list": (
        TOP + LINEAR + "symbols = 'BTCUSDT'\npublish = 'tcp://*:1'",
        'endpoints.linear.symbols: must be a list of strings or { file = "..." }, not a string; write ["BTCUSDT"]',
        'endpoints.linear.publish: must be a list of strings, not a string; write ["tcp://*:1"]',
    ),
    "members of lists": (
        TOP + LINEAR + "unchecked_topics = [1, 'x', []]\ncpu = [0, '1']",
        "endpoints.linear.unchecked_topics[0]: must be a string, not a whole number",
        "endpoints.linear.unchecked_topics[2]: must be a string, not a list",
        "endpoints.linear.cpu[1]: must be a whole number, not a string; leave out the quotes",
    ),
    "number for a list": (
        TOP + LINEAR + "cpu = 2\nsubscriptions = 'x'",
        "endpoints.linear.cpu: must be a list of whole numbers, not a whole number",
        "endpoints.linear.subscriptions: must be a list of tables, not a string",
    ),
    "number for a table": (
        TOP + "publish = []\nruntime = 3" + LINEAR + "subscriptions = [1]",
        "publish: must be a table, not a list",
        "runtime: must be a table, not a whole number",
        "endpoints.linear.subscriptions[0]: must be a table, not a whole number",
    ),
    "table for a choice": (
        TOP + LINEAR + "network = { x = 1 }",
        'endpoints.linear.network: must be one of "demo", "mainnet", "sim" or "testnet", not a table',
    ),
    "symbol file without a name": (
        TOP + LINEAR + "symbols = { fil = 'x' }\nstreams = ['tickers']",
        "endpoints.linear.symbols.file: is missing; it is a string",
        'endpoints.linear.symbols.fil: there is no such key in [endpoints.linear.symbols]; did you mean "file"?',
    ),
    "group without symbols": (
        TOP + LINEAR + "[[endpoints.linear.subscriptions]]\nstreams = ['tickers']",
        'endpoints.linear.subscriptions[0].symbols: is missing; it is a list of strings or { file = "..." }',
    ),
    "group without streams": (
        TOP + LINEAR + "[[endpoints.linear.subscriptions]]\nsymbols = ['ETHUSDT']",
        "endpoints.linear.subscriptions[0].streams: is missing; it is a list of strings",
    ),
    "endpoints that are no table": (
        "network = 'sim'\nendpoints = 3",
        "endpoints: must be a table, not a whole number",
    ),
    "control character": (
        TOP + LINEAR + r'url = "ws://x\u0000"' + '\nunchecked_topics = ["a\\nb"]',
        "endpoints.linear.url: holds a control character",
        r'endpoints.linear.unchecked_topics[0]: holds a control character: "a\nb"',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_told(case: str) -> None:
    """What does not fit is told in these words, and nothing else is."""
    problems = Problems("feed.toml")
    text, *expected = CASES[case]
    fitted = shape.fit(_tables(text), problems)
    assert [f"{problem.key}: {problem.text}" for problem in problems.found()] == expected
    msgspec.convert(shape.merged(fitted), Config)


def _tables(text: str) -> dict[str, Any]:
    tables: dict[str, Any] = msgspec.toml.decode(text)
    return tables


RANGES = [
    (
        "connection",
        "ping_interval_s",
        20.0,
        20.5,
        "above 0 and at most 20, not 20.5; the venue wants a ping every 20 s",
    ),
    ("connection", "ping_interval_s", 0.1, 0, "above 0 and at most 20, not 0; the venue wants a ping every 20 s"),
    ("connection", "pong_timeout_s", 60, float("inf"), "above 0 and at most 60, not inf"),
    ("connection", "connect_timeout_s", 60, -1, "above 0 and at most 60, not -1"),
    ("connection", "reconnect_base_s", 60, float("nan"), "above 0 and at most 60, not nan"),
    ("connection", "reconnect_cap_s", 600, 601, "above 0 and at most 600, not 601"),
    ("connection", "max_attempts", 0, -1, "at least 0 and at most 1,000,000, not -1"),
    ("connection", "max_attempts", 1, 2**200, "at least 0 and at most 1,000,000, not a number of that size"),
    (
        "publish",
        "send_high_water_mark",
        1,
        0,
        "at least 1 and at most 2,147,483,647, not 0; to ZeroMQ 0 means without limit, until memory is gone",
    ),
    ("publish", "quiet_status_s", 3600, 0.0, "above 0 and at most 3,600, not 0.0"),
]


@pytest.mark.parametrize(("table", "key", "good", "bad", "told"), RANGES)
def test_range(table: str, key: str, good: float, bad: float, told: str) -> None:
    """The last number within a range passes, the first one outside is told with the range and left out."""
    endpoints = {"x": {"product": "spot"}}
    fitted, found = fit({"network": "sim", table: {key: good}, "endpoints": endpoints})
    assert (fitted[table], found) == ({key: good}, [])
    fitted, found = fit({"network": "sim", table: {key: bad}, "endpoints": endpoints})
    assert (fitted[table], found) == ({}, [f"{table}.{key}: must be {told}"])


@pytest.mark.parametrize("workers", [0, -1, 1001])
def test_workers_out_of_range(workers: int) -> None:
    """An endpoint has at least one worker, and no more than the venue takes connections."""
    _, found = fit({"network": "sim", "endpoints": {"x": {"product": "spot", "workers": workers}}})
    assert found == [
        (
            f"endpoints.x.workers: must be at least 1 and at most 1,000, not {workers};"
            " the venue takes 1,000 connections of a product from one address"
        )
    ]


def test_cores_out_of_range() -> None:
    """A core's number is not negative; what replaces it keeps the others' places."""
    fitted, found = fit({"network": "sim", "endpoints": {"x": {"product": "spot", "cpu": [1, -1, 2]}}})
    assert found == ["endpoints.x.cpu[1]: must be at least 0 and at most 1,023, not -1"]
    assert fitted["endpoints"]["x"]["cpu"] == [1, 1, 2]


def test_whole_numbers_serve_as_numbers() -> None:
    """``ping_interval_s = 15`` is as good as ``15.0``."""
    fitted, found = fit({"network": "sim", "connection": {"ping_interval_s": 15}, "endpoints": {}})
    assert found == []
    assert msgspec.convert(fitted, Config).connection.ping_interval_s == 15.0


def test_everything_is_told_at_once() -> None:
    """The walk goes on after every problem."""
    _, found = fit({"netwrok": 1, "runtime": {"log_level": "loud"}, "connection": 3, "endpoints": {"x": {"cpu": 1}}})
    assert [one.partition(":")[0] for one in found] == [
        "network",
        "netwrok",
        "runtime.log_level",
        "connection",
        "endpoints.x.product",
        "endpoints.x.cpu",
    ]


def test_connection_is_merged() -> None:
    """A key of [endpoints.X.connection] goes before [connection], which goes before the default."""
    fitted, found = fit(
        {
            "network": "sim",
            "connection": {"ping_interval_s": 15, "pong_timeout_s": 5},
            "endpoints": {
                "own": {"product": "spot", "connection": {"ping_interval_s": 10}},
                "none": {"product": "spot"},
            },
        }
    )
    assert found == []
    config = msgspec.convert(shape.merged(fitted), Config)
    assert config.endpoints["own"].connection == Connection(ping_interval_s=10.0, pong_timeout_s=5.0)
    assert config.endpoints["none"].connection == Connection(ping_interval_s=15.0, pong_timeout_s=5.0)


def test_keys_not_yet_available_are_not_in_the_model() -> None:
    """A key that came to be available is taken off the list."""
    for struct, keys in shape.NOT_YET.items():
        assert keys.isdisjoint(struct.__struct_fields__)  # type: ignore[attr-defined]  # a Struct's own
