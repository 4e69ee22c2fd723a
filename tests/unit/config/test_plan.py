"""What each worker is told: its topics, addresses, URL; nothing left to look up."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedhandler.bybit import topics as grammar
from feedhandler.config.model import Config, Connection, Endpoint, SecretSource, SymbolFile, WorkerPlan
from feedhandler.config.plan import MAX_ACTIVE_TIME, account, plan, share, wanted, worker_name

RUNTIME = Path("/run/feed")


def plans(*, network: str = "sim", terminal: bool = False, **tables: Any) -> list[WorkerPlan]:
    config = msgspec.convert({"network": network, **tables}, Config)
    return plan(config, RUNTIME, terminal=terminal)


def linear(**keys: Any) -> dict[str, Any]:
    return {"product": "linear", "topics": ["tickers.BTCUSDT"], **keys}


def one(top_network: str = "sim", /, **keys: Any) -> WorkerPlan:
    first, *_ = plans(network=top_network, endpoints={"linear": linear(**keys)})
    return first


def test_everything_is_said() -> None:
    """A plan holds every default, resolved."""
    assert one() == WorkerPlan(
        worker="linear",
        endpoint="linear",
        product="linear",
        network="sim",
        url="ws://{simulator}/v5/public/linear",
        simulated=True,
        topics=["tickers.BTCUSDT"],
        publish=["ipc:///run/feed/linear.pub"],
        runtime_directory="/run/feed",
        cpu=[],
        connection=Connection(canary="orderbook.1.BTCUSDT"),
        send_high_water_mark=100_000,
        quiet_status_s=10.0,
        log_level="info",
        log_format="json",
    )


def test_settings_reach_the_worker() -> None:
    """What the file says of runtime, publishing and cores is in the plan."""
    [only] = plans(
        runtime={"log_level": "debug"},
        publish={"send_high_water_mark": 5, "quiet_status_s": 2},
        endpoints={"linear": linear(cpu=[0, 1], connection={"max_attempts": 3})},
    )
    assert (only.log_level, only.send_high_water_mark, only.quiet_status_s) == ("debug", 5, 2.0)
    assert (only.cpu, only.connection) == ([0, 1], Connection(max_attempts=3, canary="orderbook.1.BTCUSDT"))


def test_order_of_topics() -> None:
    """Symbols x streams, then topics, unchecked topics, and the groups."""
    only = one(
        symbols=["A", "B"],
        streams=["s", "t"],
        topics=["x"],
        unchecked_topics=["y"],
        subscriptions=[{"symbols": ["C"], "streams": ["s"]}, {"symbols": ["D"], "streams": ["t", "s"]}],
    )
    assert only.topics == ["s.A", "t.A", "s.B", "t.B", "x", "y", "s.C", "t.D", "s.D"]


def test_wanted_by() -> None:
    """Each topic knows what in the configuration asks for it."""
    endpoint = msgspec.convert(
        linear(
            symbols=["A"], streams=["s"], unchecked_topics=["y"], subscriptions=[{"symbols": ["B"], "streams": ["t"]}]
        ),
        Endpoint,
    )
    assert [tuple(asked) for asked in wanted(endpoint)] == [
        ("s.A", "symbols[0]", "streams[0]"),
        ("tickers.BTCUSDT", "topics[0]", ""),
        ("y", "unchecked_topics[0]", ""),
        ("t.B", "subscriptions[0].symbols[0]", "subscriptions[0].streams[0]"),
    ]


def test_symbol_files_must_be_loaded() -> None:
    """A configuration whose symbol files nobody read is a mistake of the program."""
    endpoint = Endpoint(product="linear", symbols=SymbolFile(file="x.txt"), streams=["tickers"])
    with pytest.raises(TypeError, match=r"symbols of x\.txt are not loaded"):
        list(wanted(endpoint))


@pytest.mark.parametrize(
    ("network", "keys", "url", "simulated"),
    [
        ("mainnet", {}, "wss://stream.bybit.com/v5/public/linear", False),
        ("testnet", {}, "wss://stream-testnet.bybit.com/v5/public/linear", False),
        ("demo", {"network": "mainnet"}, "wss://stream.bybit.com/v5/public/linear", False),
        ("mainnet", {"network": "sim"}, "ws://{simulator}/v5/public/linear", True),
        ("sim", {"product": "spot"}, "ws://{simulator}/v5/public/spot", True),
        ("sim", {"url": "ws://127.0.0.1:9001/x"}, "ws://127.0.0.1:9001/x", True),
        ("mainnet", {"url": "ws://127.0.0.1:9001/x"}, "ws://127.0.0.1:9001/x", False),
        ("mainnet", {"site": "eu"}, "wss://stream.bybit.eu/v5/public/linear", False),
        ("mainnet", {"site": "jp", "product": "spread"}, "wss://stream.manepa.jp/v5/public/spread", False),
        ("demo", {"product": "private"}, "wss://stream-demo.bybit.com/v5/private", False),
        ("mainnet", {"product": "private", "site": "tr"}, "wss://stream.bybit.tr/v5/private", False),
        ("testnet", {"product": "private"}, "wss://stream-testnet.bybit.com/v5/private", False),
        ("sim", {"product": "private"}, "ws://{simulator}/v5/private", True),
        ("demo", {"url": "wss://stream.bybit.com/v5/public/linear"}, "wss://stream.bybit.com/v5/public/linear", False),
    ],
)
def test_url(network: str, keys: dict[str, Any], url: str, simulated: bool) -> None:
    """Network and product imply the URL, an explicit one goes first; "sim" is flagged wherever it is served."""
    only = one(network, **keys)
    assert (only.url, only.simulated) == (url, simulated)
    assert only.network == keys.get("network", network)


@pytest.mark.parametrize("network", ["sim", "testnet", "demo"])
def test_site_is_mainnets(network: str) -> None:
    """The top level's site moves the endpoints on mainnet, but for those with another or a URL of their own."""
    found = plans(
        network="mainnet",
        site="kz",
        endpoints={
            "here": linear(),
            "global": linear(site=""),
            "other": linear(product="private", network=network),
            "served": linear(url="ws://127.0.0.1:1/x"),
        },
    )
    assert [plan.url.split("/")[2] for plan in found if plan.product != "status"] == [
        *("stream.bybit.kz", "stream.bybit.com"),
        {"sim": "{simulator}", "testnet": "stream-testnet.bybit.com", "demo": "stream-demo.bybit.com"}[network],
        "127.0.0.1:1",
    ]


@pytest.mark.parametrize(
    ("url", "seconds", "asked"),
    [
        ("", 45, "ws://{simulator}/v5/private?max_active_time=45s"),
        ("", 600.0, "ws://{simulator}/v5/private?max_active_time=600s"),
        ("", 0, "ws://{simulator}/v5/private"),
        ("ws://x/y", 30, "ws://x/y?max_active_time=30s"),
        ("ws://x/y?z=1", 30, "ws://x/y?z=1&max_active_time=30s"),
        ("ws://x/y?max_active_time=1m", 30, "ws://x/y?max_active_time=1m"),
    ],
)
def test_idle_time_is_asked_of_private_sockets(url: str, seconds: float, asked: str) -> None:
    """``max_active_time`` goes into the URL of a private endpoint, once, and into no public one's (dossier 1.3)."""
    connection = {"max_active_time_s": seconds}
    assert one(product="private", url=url, connection=connection).url == asked
    assert MAX_ACTIVE_TIME not in one(connection=connection).url


KEY, SECRET = SecretSource(env="MY_KEY"), SecretSource(file="/etc/feed/secret")


def test_account() -> None:
    """A private worker is told where its secrets are, what it retains, and publishes where its owner alone may enter."""
    told = one("demo", product="private", api_key={"env": "MY_KEY"}, api_secret={"file": "/etc/feed/secret"}, retain=7)
    assert (told.api_key, told.api_secret, told.retain) == (KEY, SECRET, 7)
    assert told.publish == ["ipc:///run/feed/private/linear.pub"]
    assert told.connection.canary == ""
    assert account(told) == "API key from environment variable MY_KEY, secret from file /etc/feed/secret"


def test_simulators_account() -> None:
    """Without a key of its own a private worker signs in with the simulator's."""
    told = one(product="private")
    assert (told.api_key, told.api_secret, told.retain) == (None, None, 1000)
    assert account(told) == "the simulator's test key"
    assert str(SecretSource(credential="bybit")) == "systemd credential bybit"


def test_spreads() -> None:
    """A spread's symbol, with its slash, is one topic; nothing there proves a connection alive."""
    told = one(product="spread", topics=[], symbols=["SOLUSDT_SOL/USDT"], streams=["orderbook.25", "tickers"])
    assert told.topics == ["orderbook.25.SOLUSDT_SOL/USDT", "tickers.SOLUSDT_SOL/USDT"]
    assert (told.publish, told.connection.canary) == (["ipc:///run/feed/linear.pub"], "")


@pytest.mark.parametrize(
    ("log_format", "terminal", "resolved"),
    [("auto", True, "text"), ("auto", False, "json"), ("text", False, "text"), ("json", True, "json")],
)
def test_log_format(log_format: str, terminal: bool, resolved: str) -> None:
    """``auto`` is text on a terminal and JSON otherwise; what is said stays."""
    [only] = plans(runtime={"log_format": log_format}, endpoints={"linear": linear()}, terminal=terminal)
    assert only.log_format == resolved


def test_workers_are_named_and_numbered() -> None:
    """The first worker keeps the endpoint's name; the index runs on over all endpoints."""
    topics = [f"tickers.{symbol}USDT" for symbol in ("A", "B", "C")]
    publish = ["ipc://{runtime}/{endpoint}/{worker}", "tcp://*:{5600+index}"]
    found = plans(
        endpoints={
            "linear": linear(topics=topics, workers=3, publish=publish),
            "other": linear(publish=publish),
        }
    )
    assert [(each.worker, each.endpoint, each.publish) for each in found] == [
        ("linear", "linear", ["ipc:///run/feed/linear/linear", "tcp://*:5600"]),
        ("linear-1", "linear", ["ipc:///run/feed/linear/linear-1", "tcp://*:5601"]),
        ("linear-2", "linear", ["ipc:///run/feed/linear/linear-2", "tcp://*:5602"]),
        ("other", "other", ["ipc:///run/feed/other/other", "tcp://*:5603"]),
    ]
    assert [worker_name("x", number) for number in range(2)] == ["x", "x-1"]


def test_a_symbols_topics_stay_together() -> None:
    """Symbols go round robin, with all their topics."""
    topics = ["s.A", "t.A", "s.B", "t.B", "s.C", "t.C", "orderbook.50.A"]
    assert share(topics, 2) == [["s.A", "t.A", "orderbook.50.A"], ["s.B", "t.B", "s.C", "t.C"]]


def test_fewer_symbols_than_workers() -> None:
    """The largest symbol is split where a worker would have nothing."""
    topics = ["s.A", "t.A", "u.A", "v.A", "s.B"]
    assert share(topics, 3) == [["s.A", "t.A"], ["u.A", "v.A"], ["s.B"]]
    assert sorted(map(len, share(topics, 5))) == [1, 1, 1, 1, 1]


@given(
    st.lists(
        st.tuples(st.sampled_from(["s", "t", "orderbook.50", "kline.1"]), st.sampled_from("ABCDEFG")),
        unique=True,
        min_size=1,
    ),
    st.integers(1, 8),
)
def test_share(pairs: list[tuple[str, str]], workers: int) -> None:
    """Every topic goes to one worker, in order; none is idle; counts differ by at most the largest symbol's."""
    topics = [f"{stream}.{symbol}" for stream, symbol in pairs]
    workers = min(workers, len(topics))
    shares = share(topics, workers)
    assert sorted(topic for part in shares for topic in part) == sorted(topics)
    assert all(part == sorted(part, key=topics.index) for part in shares)
    assert len(shares) == workers
    assert all(shares)
    counts = Counter(symbol for _, symbol in pairs)
    assert max(map(len, shares)) - min(map(len, shares)) <= max(counts.values())
    if workers <= len(counts):
        homes = [{grammar.split(topic)[1] for topic in part} for part in shares]
        assert sum(map(len, homes)) == len(counts)


def test_plan_is_json() -> None:
    """A worker reads its plan as it was written."""
    only = one()
    assert msgspec.json.decode(msgspec.json.encode(only), type=WorkerPlan) == only


@pytest.mark.parametrize(
    ("network", "keys", "watched"),
    [
        ("sim", {}, []),
        ("mainnet", {}, [("status", "mainnet", "wss://stream.bybit.com/v5/public/misc/status")]),
        (
            "sim",
            {"network": "testnet"},
            [("status", "testnet", "wss://stream-testnet.bybit.com/v5/public/misc/status")],
        ),
        ("mainnet", {"url": "ws://127.0.0.1:9001/x"}, []),
        ("mainnet", {"site": "eu"}, [("status", "mainnet", "wss://stream.bybit.eu/v5/public/misc/status")]),
        (
            "mainnet",
            {"url": "wss://stream.bytick.com/v5/public/linear"},
            [("status", "mainnet", "wss://stream.bytick.com/v5/public/misc/status")],
        ),
        ("testnet", {"url": "wss://stream.bybit.com/v5/public/linear"}, []),
        ("mainnet", {"product": "private"}, []),
        ("demo", {"product": "private"}, []),
    ],
)
def test_announcements_are_watched_on_real_networks(
    network: str, keys: dict[str, Any], watched: list[tuple[str, str, str]]
) -> None:
    """Where a public endpoint is on a real network a worker more holds the venue's status socket; elsewhere none does."""
    _, *more = plans(network=network, endpoints={"linear": linear(**keys)})
    assert [(plan.worker, plan.network, plan.url) for plan in more] == watched
    assert all(plan.topics == ["system.status"] and plan.product == "status" for plan in more)


def test_announcements_of_one_site_do_for_a_network() -> None:
    """Two sites of mainnet are watched at the first; a private endpoint's does not count."""
    endpoints = {"account": linear(product="private", site="jp"), "eu": linear(site="eu"), "global": linear()}
    [news] = [plan for plan in plans(network="mainnet", endpoints=endpoints) if plan.product == "status"]
    assert news.url == "wss://stream.bybit.eu/v5/public/misc/status"


def test_announcements_are_not_watched_twice() -> None:
    """A configuration that names a status endpoint itself gets no other."""
    status = {"product": "status", "topics": ["system.status"]}
    found = plans(network="mainnet", endpoints={"linear": linear(), "news": status})
    assert [plan.worker for plan in found] == ["linear", "news"]
