"""Private endpoints: what they need, what they cannot have, and no secret in any text."""

from pathlib import Path

import pytest
from support.configurations import told

from feedhandler.config.load import load
from feedhandler.config.problems import ConfigError

SIM = 'network = "sim"\n'
MAINNET = 'network = "mainnet"\n'
PRIVATE = '[endpoints.private]\nproduct = "private"\n'
ORDER = 'topics = ["order"]\n'
KEY = 'api_key = { env = "MY_KEY" }\n'
FILE = 'api_secret = { file = "secret.txt" }\n'
WHOLE = PRIVATE + ORDER + KEY + FILE
LINEAR = '[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]\n'
OF_CONNECTION = "[endpoints.private.connection]\n"

SOUND = {
    "the simulator's account": SIM + PRIVATE + ORDER,
    "an account of its own in the simulator": SIM + WHOLE,
    "mainnet": MAINNET + WHOLE,
    "testnet": 'network = "testnet"\n' + WHOLE,
    "demo": 'network = "demo"\n' + WHOLE,
    "public data beside demo": 'network = "demo"\n' + WHOLE + LINEAR + 'network = "mainnet"',
    "a credential": MAINNET + PRIVATE + ORDER + KEY + 'api_secret = { credential = "bybit-secret.1" }',
    "an empty name beside another": MAINNET + PRIVATE + ORDER + FILE + 'api_key = { env = "", credential = "key" }',
    "every topic of all categories": SIM
    + PRIVATE
    + 'topics = ["order", "execution", "execution.fast", "position", "wallet", "greeks", "strategy", "spread.order",'
    ' "spread.execution", "rfq.open.rfqs", "rfq.open.quotes", "rfq.open.trades"]',
    "topics by category": SIM + PRIVATE + 'topics = ["order.linear", "order.spot", "execution.fast.option"]',
    "disconnect protection, knowingly": SIM + PRIVATE + 'topics = ["dcp.future"]\nallow_dcp = true',
    "a topic unknown to us": SIM + PRIVATE + 'unchecked_topics = ["news"]',
    "nothing retained": SIM + PRIVATE + ORDER + "retain = 0",
    "an idle time": SIM + PRIVATE + ORDER + OF_CONNECTION + "max_active_time_s = 30",
    "an idle time for whom it concerns": SIM + "[connection]\nmax_active_time_s = 600\n" + PRIVATE + ORDER + LINEAR,
    "no canary": SIM + PRIVATE + ORDER + OF_CONNECTION + 'canary = ""',
    "rotation of others": SIM + "[connection]\nmax_age_s = 60\n" + PRIVATE + ORDER + LINEAR + "lines = 2",
    "the default address": SIM + PRIVATE + ORDER + 'publish = ["ipc://{runtime}/private/{worker}.pub"]',
    "two addresses": SIM + PRIVATE + ORDER + 'publish = ["ipc://{runtime}/private/a", "ipc:///run/feed//private/b"]',
    "a server of one's own": MAINNET + WHOLE + 'url = "ws://[::1]:9001/v5/private"',
    "a server of one's own by name": MAINNET + WHOLE + 'url = "ws://localhost:9001/v5/private"',
    "a server elsewhere, encrypted": MAINNET + WHOLE + 'url = "wss://example.org/v5/private"',
    "a simulator elsewhere, with its test key": SIM
    + PRIVATE
    + 'topics = ["order"]\nurl = "ws://example.org/v5/private"',
    "spreads": MAINNET
    + '[endpoints.s]\nproduct = "spread"\nsymbols = ["SOLUSDT_SOL/USDT"]\nstreams = ["orderbook.25"]',
}


@pytest.mark.parametrize("case", SOUND)
def test_sound(case: str) -> None:
    """Nothing is told of what makes sense."""
    assert told(SOUND[case]) == []


PUBLIC = "belongs to private endpoints, and linear is public"
ENV = (
    "endpoints.private.api_key.env: is no name of an environment variable: capital letters, digits and _ (the name is"
    " wanted, not the secret)"
)
CREDENTIAL = "endpoints.private.api_key.credential: is no name of a systemd credential: letters, digits and . _ - @"
ELSEWHERE = 'would show an account\'s streams to others; private endpoints publish in "ipc://{runtime}/private/"'
NOT_BY_SYMBOL = (
    "private streams are an account's, not a symbol's; name them in topics:"
    ' topics = ["order", "execution", "position", "wallet"]'
)
DCP = (
    "while this feed is connected, the venue will not cancel your orders when your strategy dies; say allow_dcp = true"
    " if that is meant"
)
ALL_OF_THEM = 'the venue takes "order" or its categories, not both; "order" has them all'
BARE = (
    'a secret does not belong in this file; write where it is read: { env = "BYBIT_API_KEY" }, { file = "PATH" } or'
    ' { credential = "NAME" }'
)
CASES = {
    # Where secrets are read.
    "no key": (
        MAINNET + PRIVATE + ORDER,
        (
            "endpoints.private.api_key: is missing: private streams are an account's; write"
            ' api_key = { env = "BYBIT_API_KEY" } and api_secret = { env = "BYBIT_API_SECRET" }'
        ),
    ),
    "no key in demo": (
        SIM + PRIVATE + ORDER + 'network = "demo"',
        (
            "endpoints.private.api_key: is missing: private streams are an account's; write"
            ' api_key = { env = "BYBIT_API_KEY" } and api_secret = { env = "BYBIT_API_SECRET" }'
        ),
    ),
    "a key without a secret": (
        MAINNET + PRIVATE + ORDER + KEY,
        (
            "endpoints.private.api_secret: is missing, and api_key alone is no use; write"
            ' api_secret = { env = "BYBIT_API_SECRET" }'
        ),
    ),
    "a secret without a key, also in the simulator": (
        SIM + PRIVATE + ORDER + FILE,
        (
            "endpoints.private.api_key: is missing, and api_secret alone is no use; write"
            ' api_key = { env = "BYBIT_API_KEY" }'
        ),
    ),
    "a key itself": (MAINNET + PRIVATE + ORDER + FILE + 'api_key = "hush"', f"endpoints.private.api_key: {BARE}"),
    "keys of nowhere": (
        MAINNET + PRIVATE + ORDER + FILE + "api_key = {}",
        (
            "endpoints.private.api_key: does not say where it is read; write"
            ' { env = "BYBIT_API_KEY" }, { file = "PATH" } or { credential = "NAME" }'
        ),
    ),
    "keys of two places": (
        MAINNET + PRIVATE + ORDER + FILE + 'api_key = { env = "HUSH", credential = "hush" }',
        "endpoints.private.api_key: names env and credential: leave the one where it is read",
    ),
    "keys of three places": (
        MAINNET + PRIVATE + ORDER + FILE + 'api_key = { env = "HUSH", file = "hush", credential = "hush" }',
        "endpoints.private.api_key: names env, file and credential: leave the one where it is read",
    ),
    "a misspelt place": (
        MAINNET + PRIVATE + ORDER + FILE + 'api_key = { evn = "HUSH" }',
        'endpoints.private.api_key.evn: there is no such key in [endpoints.private.api_key]; did you mean "env"?',
    ),
    "a key in place of its variable's name": (MAINNET + PRIVATE + ORDER + FILE + 'api_key = { env = "aHush4" }', ENV),
    "a variable that begins with a digit": (MAINNET + PRIVATE + ORDER + FILE + 'api_key = { env = "4HUSH" }', ENV),
    "a variable with its dollar": (MAINNET + PRIVATE + ORDER + FILE + 'api_key = { env = "$HUSH" }', ENV),
    "a credential's path": (MAINNET + PRIVATE + ORDER + FILE + 'api_key = { credential = "hush/x" }', CREDENTIAL),
    "a credential above": (MAINNET + PRIVATE + ORDER + FILE + 'api_key = { credential = ".." }', CREDENTIAL),
    "one place for both": (
        MAINNET + PRIVATE + ORDER + KEY + KEY.replace("api_key", "api_secret"),
        "endpoints.private.api_secret: is read from the same place as api_key; they are not the same",
    ),
    "what is private on a public endpoint": (
        MAINNET
        + LINEAR
        + KEY
        + FILE
        + "retain = 1000\nallow_dcp = false\n[endpoints.linear.connection]\nmax_active_time_s = 60",
        f"endpoints.linear.api_key: {PUBLIC}",
        f"endpoints.linear.api_secret: {PUBLIC}",
        f"endpoints.linear.retain: {PUBLIC}",
        f"endpoints.linear.allow_dcp: {PUBLIC}",
        f"endpoints.linear.connection.max_active_time_s: {PUBLIC}",
    ),
    "a key on the open network": (
        MAINNET + WHOLE + 'url = "ws://stream.bybit.com/v5/private"',
        "endpoints.private.url: is not encrypted, and the API key would pass through it; use wss://",
    ),
    "a key on the open network, simulated or not": (
        SIM + WHOLE + 'url = "ws://example.org/v5/private"',
        "endpoints.private.url: is not encrypted, and the API key would pass through it; use wss://",
    ),
    "a secret in a key's place": (
        MAINNET + PRIVATE + 'topics = ["order"]\napi_key = { zQ9x = "x" }\napi_secret = { env = "S" }',
        "endpoints.private.api_key: holds a key that means nothing here; it has env, file or credential",
    ),
    "no place at all": (
        SIM + PRIVATE + 'topics = ["order"]\napi_key = {}\napi_secret = {}',
        'endpoints.private.api_key: does not say where it is read; write { env = "BYBIT_API_KEY" }, { file = "PATH" } or { credential = "NAME" }',
        'endpoints.private.api_secret: does not say where it is read; write { env = "BYBIT_API_SECRET" }, { file = "PATH" } or { credential = "NAME" }',
    ),
    # Topics.
    "no topic": (SIM + PRIVATE, "endpoints.private: asks for no topic; give it topics"),
    "a public topic": (
        SIM + PRIVATE + 'topics = ["tickers.BTCUSDT"]',
        (
            'endpoints.private.topics[0]: private does not serve "tickers.BTCUSDT"; spot and linear and inverse and'
            " option and spread do"
        ),
    ),
    "symbols": (
        SIM + PRIVATE + 'symbols = ["BTCUSDT"]\nstreams = ["order"]',
        f"endpoints.private.symbols: {NOT_BY_SYMBOL}",
    ),
    "symbols alone": (SIM + PRIVATE + 'symbols = ["BTCUSDT"]', f"endpoints.private.symbols: {NOT_BY_SYMBOL}"),
    "categories as symbols": (
        SIM + PRIVATE + ORDER + 'symbols = ["linear"]\nstreams = ["order"]',
        f"endpoints.private.symbols: {NOT_BY_SYMBOL}",
    ),
    "streams alone": (SIM + PRIVATE + 'streams = ["order"]', f"endpoints.private.streams: {NOT_BY_SYMBOL}"),
    "groups": (
        SIM + PRIVATE + '[[endpoints.private.subscriptions]]\nsymbols = ["linear"]\nstreams = ["order"]',
        f"endpoints.private.subscriptions: {NOT_BY_SYMBOL}",
    ),
    "a stream with its categories": (
        SIM + PRIVATE + 'topics = ["order.linear", "order", "execution"]',
        f'endpoints.private.topics[0]: "order.linear": {ALL_OF_THEM}',
    ),
    "a stream with its categories, unchecked": (
        SIM + PRIVATE + ORDER + 'unchecked_topics = ["order.new"]',
        f'endpoints.private.unchecked_topics[0]: "order.new": {ALL_OF_THEM}',
    ),
    "disconnect protection": (
        SIM + PRIVATE + 'topics = ["order", "dcp.future"]\nallow_dcp = false',
        f'endpoints.private.topics[1]: "dcp.future": {DCP}',
    ),
    "disconnect protection, unchecked": (
        SIM + PRIVATE + 'unchecked_topics = ["dcp.new"]',
        f'endpoints.private.unchecked_topics[0]: "dcp.new": {DCP}',
    ),
    "a topic twice": (
        SIM + PRIVATE + 'topics = ["order", "order"]',
        'endpoints.private.topics[1]: "order" is asked for twice, first by endpoints.private.topics[0]',
    ),
    # What cannot be had.
    "two lines": (
        SIM + PRIVATE + ORDER + "lines = 2",
        (
            "endpoints.private.lines: must be 1 on a private endpoint: nothing tells a second copy of its events, so each"
            " would come twice"
        ),
    ),
    "two workers": (
        SIM + PRIVATE + ORDER + "workers = 2",
        (
            "endpoints.private.workers: must be 1 on a private endpoint: one connection carries an account, and the venue"
            " limits its sessions"
        ),
    ),
    "a canary": (
        SIM + PRIVATE + ORDER + OF_CONNECTION + 'canary = "wallet"',
        (
            'endpoints.private.connection.canary: must be "auto" or "" on a private endpoint: nothing there is lively, so'
            " nothing proves the connection mute"
        ),
    ),
    "rotation": (
        SIM + PRIVATE + ORDER + OF_CONNECTION + "max_age_s = 60",
        "endpoints.private.connection.max_age_s: must be 0 on a private endpoint: no other line carries its topics",
    ),
    "too short an idle time": (
        SIM + PRIVATE + ORDER + OF_CONNECTION + "max_active_time_s = 29.9",
        (
            "endpoints.private.connection.max_active_time_s: must be 0, or a whole number from 30 on, not 29.9: the venue"
            " takes no other"
        ),
    ),
    "a broken idle time, for all": (
        SIM + "[connection]\nmax_active_time_s = 45.5\n" + PRIVATE + ORDER,
        "connection.max_active_time_s: must be 0, or a whole number from 30 on, not 45.5: the venue takes no other",
    ),
    "too long an idle time": (
        SIM + PRIVATE + ORDER + OF_CONNECTION + "max_active_time_s = 601",
        "endpoints.private.connection.max_active_time_s: must be at least 0 and at most 600, not 601",
    ),
    # Where it may be published.
    "tcp": (
        SIM + PRIVATE + ORDER + 'publish = ["tcp://127.0.0.1:5600"]',
        f'endpoints.private.publish[0]: "tcp://127.0.0.1:5600": {ELSEWHERE}',
    ),
    "abstract": (
        SIM + PRIVATE + ORDER + 'publish = ["ipc://@account"]',
        f'endpoints.private.publish[0]: "ipc://@account": {ELSEWHERE}',
    ),
    "among the public": (
        SIM + PRIVATE + ORDER + 'publish = ["ipc://{runtime}/{worker}.pub"]',
        f'endpoints.private.publish[0]: "ipc://{{runtime}}/{{worker}}.pub": {ELSEWHERE}',
    ),
    "out by the back door": (
        SIM + PRIVATE + ORDER + 'publish = ["ipc://{runtime}/private/../x"]',
        f'endpoints.private.publish[0]: "ipc://{{runtime}}/private/../x": {ELSEWHERE}',
    ),
    "below": (
        SIM + PRIVATE + ORDER + 'publish = ["ipc://{runtime}/private/below/x"]',
        f'endpoints.private.publish[0]: "ipc://{{runtime}}/private/below/x": {ELSEWHERE}',
    ),
    "the public among the private": (
        SIM + LINEAR + 'publish = ["ipc://{runtime}/private/x"]',
        'endpoints.linear.publish[0]: "ipc://{runtime}/private/x": only private endpoints publish in private/',
    ),
    "a lock's name": (
        SIM + PRIVATE + ORDER + 'publish = ["ipc://{runtime}/private/a.lock"]',
        'endpoints.private.publish[0]: "ipc://{runtime}/private/a.lock": the feed keeps a file of that name there',
    ),
    "a public path": (
        SIM + PRIVATE + ORDER + 'url = "ws://127.0.0.1:9001/v5/public/linear"',
        "endpoints.private.url: ends in /v5/public/linear, where the venue serves linear, not private (/v5/private)",
    ),
    "the directory itself": (
        SIM + LINEAR + 'publish = ["ipc://{runtime}/private"]',
        'endpoints.linear.publish[0]: "ipc://{runtime}/private": the feed keeps a file of that name there',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_told(case: str) -> None:
    """What makes no sense is told in these words, nothing that merely follows from it, and no secret."""
    text, *expected = CASES[case]
    found = told(text)
    assert found == expected
    assert "hush" not in "".join(found).lower()


@pytest.mark.parametrize(
    "text",
    [
        MAINNET + '[endpoints.p]\nproduct = "privat"\n' + ORDER + KEY + FILE + "retain = 5\nlines = 2",
        MAINNET
        + '[endpoints.p]\nproduct = "privat"\ntopics = ["order"]\npublish = ["ipc://{runtime}/private/{worker}.pub"]',
        'network = "mainet"\n' + PRIVATE + ORDER,
        MAINNET + PRIVATE + ORDER + 'network = "dmo"',
        SIM + PRIVATE + 'topics = ["ordr"]',
        SIM + PRIVATE + "topics = [3]",
        SIM + PRIVATE + 'unchecked_topics = ["dcp.new", "dcp.new"]\nallow_dcp = true',
        SIM + PRIVATE + ORDER + "symbols = 3",
        SIM + PRIVATE + ORDER + 'allow_dcp = "yes"',
        SIM + PRIVATE + ORDER + 'workers = "2"',
        MAINNET + PRIVATE + ORDER + KEY + 'api_secret = { env = "hush" }\nurl = "wss://x/y"',
        MAINNET + WHOLE + 'url = "ws://example.org:hush/"',
    ],
)
def test_one_mistake_is_told_once(text: str) -> None:
    """Nothing is judged by what is unsound itself."""
    assert len(told(text)) == 1


def test_everything_at_once() -> None:
    """All that is wrong with an account is told together."""
    found = told(
        MAINNET
        + PRIVATE
        + 'topics = ["order", "order.spot", "dcp.spot"]\nlines = 2\nworkers = 3\npublish = ["tcp://*:1"]\n'
        + 'api_key = "hush"\n'
    )
    assert sorted(line.partition(": ")[0].removeprefix("endpoints.private.") for line in found) == [
        *("api_key", "api_secret", "lines", "publish[0]", "topics[1]", "topics[2]", "workers")
    ]


@pytest.mark.parametrize(
    "value", ['"hush"', "4711", '["hush"]', "{ hush = 1 }", '{ env = "hu sh" }', "{ file = 4711 }"]
)
@pytest.mark.parametrize("name", ["api_key", "api_secret"])
def test_no_value_is_shown(tmp_path: Path, name: str, value: str) -> None:
    """Whatever stands in place of a source, what is told of it does not repeat it."""
    other = {"api_key": FILE, "api_secret": KEY}[name]
    path = tmp_path / "feed.toml"
    path.write_text(MAINNET + PRIVATE + ORDER + other + f"{name} = {value}")
    with pytest.raises(ConfigError) as caught:
        load(path)
    words = str(caught.value).replace(f"endpoints.private.{name}.hush:", "").replace(str(tmp_path), "")
    assert not any(word in words for word in ("hush", "hu sh", "4711"))
    assert len(caught.value.problems) == 1
