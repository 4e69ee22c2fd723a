"""Whether a configuration makes sense: every problem told once, by its key, in words that say what to do."""

import pytest
from support.configurations import told

SIM = 'network = "sim"\n'
LINEAR = '[endpoints.linear]\nproduct = "linear"\n'
ONE = 'topics = ["tickers.BTCUSDT"]\n'
GROUP = "[[endpoints.linear.subscriptions]]\n"

SOUND = {
    "one topic": SIM + LINEAR + ONE,
    "symbols with streams": SIM + LINEAR + 'symbols = ["BTCUSDT", "ETHUSDT"]\nstreams = ["tickers", "kline.1"]',
    "a group alone": SIM + LINEAR + GROUP + 'symbols = ["BTCUSDT"]\nstreams = ["tickers"]',
    "an unchecked topic alone": SIM + LINEAR + 'unchecked_topics = ["news.BTCUSDT"]',
    "pools": SIM + LINEAR + 'symbols = ["USDT", "inverse"]\nstreams = ["insurance", "adlAlert"]',
    "options": SIM + '[endpoints.x]\nproduct = "option"\nsymbols = ["BTC", "ETH"]\nstreams = ["publicTrade"]',
    "one product twice": SIM + LINEAR + ONE + '[endpoints.more]\nproduct = "linear"\n' + ONE,
    "as many workers as topics": SIM
    + LINEAR
    + 'symbols = ["BTCUSDT"]\nstreams = ["tickers", "kline.1"]\nworkers = 2\npublish = ["tcp://*:{5600+index}"]',
    "cores of this machine": SIM + LINEAR + ONE + "cpu = [0, 1]",
    "an address for everybody": SIM + LINEAR + ONE + 'publish = ["tcp://*:5600", "ipc://{runtime}/x"]',
    "demo with a network of its own": 'network = "demo"\n' + LINEAR + ONE + 'network = "mainnet"',
    "another server": SIM + LINEAR + ONE + 'url = "ws://[::1]:9001/x?y=1"',
    "the venue's regional host": 'network = "mainnet"\n'
    + LINEAR
    + ONE
    + 'url = "wss://stream.bybit.eu/v5/public/linear"',
    "a site": 'network = "mainnet"\nsite = "eu"\n' + LINEAR + ONE,
    "a site of one's own": 'network = "mainnet"\n' + LINEAR + ONE + 'site = "bytick"',
    "a site for one of two": SIM
    + 'site = "tr"\n'
    + LINEAR
    + ONE
    + '[endpoints.real]\nproduct = "spot"\n'
    + ONE
    + 'network = "mainnet"',
    "no site where there is none": SIM + LINEAR + ONE + 'site = ""',
    "a site and its URL": 'network = "mainnet"\n'
    + LINEAR
    + ONE
    + 'site = "ge"\nurl = "wss://stream.bybitgeorgia.ge/v5/public/linear"',
    "rotation on two lines": SIM + LINEAR + ONE + "lines = 2\n[endpoints.linear.connection]\nmax_age_s = 60",
    "rotation where there are two lines": SIM + "[connection]\nmax_age_s = 60\n" + LINEAR + ONE,
    "a site that one of two is at by URL": 'network = "mainnet"\nsite = "eu"\n'
    + LINEAR
    + ONE
    + 'site = "jp"\n[endpoints.spot]\nproduct = "spot"\n'
    + ONE
    + 'url = "wss://stream.bybit.eu/v5/public/spot"',
    "a path of one's own": SIM + LINEAR + ONE + 'url = "ws://127.0.0.1:9001/v5/public/linear/replayed"',
    "the product's path behind another": SIM + LINEAR + ONE + 'url = "ws://127.0.0.1:9001/day7/v5/public/linear/"',
    "no idle time for nobody": SIM + "[connection]\nmax_active_time_s = 0\n" + LINEAR + ONE,
    "a canary": SIM + LINEAR + ONE + '[endpoints.linear.connection]\ncanary = "publicTrade.BTCUSDT"',
    "base at the cap": SIM + LINEAR + ONE + "[connection]\nreconnect_base_s = 30",
}


@pytest.mark.parametrize("case", SOUND)
def test_sound(case: str) -> None:
    """Nothing is told of what makes sense."""
    assert told(SOUND[case]) == []


AGAIN = "is asked for twice, first by"
URL = 'has no host; a whole one is "wss://stream.bybit.com/v5/public/linear"'
CASES = {
    # Endpoints.
    "no endpoints": (SIM, "endpoints: there is no endpoint; write at least one table [endpoints.NAME]"),
    "empty endpoints": (
        SIM + "[endpoints]",
        "endpoints: there is no endpoint; write at least one table [endpoints.NAME]",
    ),
    "endpoints of the wrong type": (SIM + "endpoints = []", "endpoints: must be a table, not a list"),
    "name in capitals": (
        SIM + '[endpoints.Linear-1]\nproduct = "linear"\n' + ONE,
        'endpoints.Linear-1: names are small letters, digits and _, a letter first; did you mean "linear_1"?',
    ),
    "name of digits": (
        SIM + '[endpoints.1]\nproduct = "linear"\n' + ONE,
        "endpoints.1: names are small letters, digits and _, a letter first",
    ),
    "no topic": (
        SIM + LINEAR,
        "endpoints.linear: asks for no topic; give it symbols and streams, or topics",
    ),
    "empty lists": (
        SIM + LINEAR + "symbols = []\nstreams = []\ntopics = []",
        "endpoints.linear: asks for no topic; give it symbols and streams, or topics",
    ),
    # Topics.
    "symbols without streams": (
        SIM + LINEAR + 'symbols = ["BTCUSDT"]',
        "endpoints.linear.symbols: symbols without streams ask for nothing; add streams",
    ),
    "streams without symbols": (
        SIM + LINEAR + ONE + 'streams = ["tickers"]',
        "endpoints.linear.streams: streams without symbols ask for nothing; add symbols",
    ),
    "a group of nothing": (
        SIM + LINEAR + ONE + GROUP + "symbols = []\nstreams = []",
        "endpoints.linear.subscriptions[0]: asks for no topic; give it symbols and streams",
    ),
    "a group without streams": (
        SIM + LINEAR + ONE + GROUP + 'symbols = ["ETHUSDT"]\nstreams = []',
        "endpoints.linear.subscriptions[0].symbols: symbols without streams ask for nothing; add streams",
    ),
    "misspelt stream": (
        SIM + LINEAR + 'symbols = ["BTCUSDT", "ETHUSDT"]\nstreams = ["tickers", "orderbok.50"]',
        'endpoints.linear.streams[1]: linear does not serve "orderbok.50"; did you mean "orderbook.50"?',
    ),
    "a stream of another product": (
        SIM + '[endpoints.spot]\nproduct = "spot"\nsymbols = ["BTCUSDT"]\nstreams = ["allLiquidation"]',
        'endpoints.spot.streams[0]: spot does not serve "allLiquidation"; linear and inverse do',
    ),
    "a stream with its symbol": (
        SIM + LINEAR + 'symbols = ["BTCUSDT"]\nstreams = ["tickers.BTCUSDT"]',
        'endpoints.linear.streams[0]: linear does not serve "tickers.BTCUSDT"; did you mean "tickers"?',
    ),
    "a symbol in small letters": (
        SIM + LINEAR + 'symbols = ["BTCUSDT", "ethusdt"]\nstreams = ["tickers", "kline.1"]',
        'endpoints.linear.symbols[1]: "tickers.ethusdt": symbol "ethusdt" must be in capitals; did you mean "ETHUSDT"?',
    ),
    "a symbol of another product": (
        SIM + LINEAR + 'symbols = ["BTCUSD"]\nstreams = ["tickers"]',
        (
            'endpoints.linear.symbols[0]: "tickers.BTCUSD": "BTCUSD" is no symbol of linear;'
            " they look like BTCUSDT, BTCPERP, BTCUSDT-25DEC26"
        ),
    ),
    "an empty symbol": (
        SIM + LINEAR + 'symbols = [""]\nstreams = ["tickers"]',
        'endpoints.linear.symbols[0]: "tickers." names no symbol; write "tickers.BTCUSDT"',
    ),
    "symbols are judged though no stream is served": (
        SIM + LINEAR + 'symbols = ["btcusdt"]\nstreams = ["xyz.1"]',
        (
            'endpoints.linear.streams[0]: linear does not serve "xyz.1"; it serves orderbook.1, orderbook.50,'
            " orderbook.200, orderbook.1000, orderbook.rpi, orderbook.full, publicTrade, tickers, allLiquidation,"
            " priceLimit, insurance, adlAlert, kline.{1,3,5,15,30,60,120,240,360,720,D,W,M}"
        ),
        'endpoints.linear.symbols[0]: "tickers.btcusdt": symbol "btcusdt" must be in capitals; did you mean "BTCUSDT"?',
    ),
    "symbols with streams of two sorts": (
        SIM + LINEAR + 'symbols = ["BTCUSDT"]\nstreams = ["insurance", "tickers"]',
        (
            'endpoints.linear.symbols[0]: "insurance.BTCUSDT": "BTCUSDT" is no pool of linear;'
            " they look like USDT, USDC, inverse"
        ),
    ),
    "a topic not served": (
        SIM + LINEAR + 'topics = ["tickers.BTCUSDT", "orderbook.500.BTCUSDT"]',
        (
            'endpoints.linear.topics[1]: "orderbook.500.BTCUSDT" is no longer served: the venue removed it;'
            " orderbook.200 and orderbook.1000 are served"
        ),
    ),
    "a private topic": (
        SIM + LINEAR + 'topics = ["order"]',
        'endpoints.linear.topics[0]: linear does not serve "order": order is a private stream',
    ),
    "an empty unchecked topic": (
        SIM + LINEAR + 'unchecked_topics = ["", "x"]',
        "endpoints.linear.unchecked_topics[0]: is empty",
    ),
    "an unchecked topic beyond the venue's limit": (
        SIM + LINEAR + f'unchecked_topics = ["{"x" * 20_997}", "{"x" * 20_998}"]',
        (
            "endpoints.linear.unchecked_topics[1]: is longer than the 21,000 characters that the venue takes on a"
            " connection"
        ),
    ),
    "a control character in a topic": (
        SIM + LINEAR + r'unchecked_topics = ["a\u0000b"]',
        r'endpoints.linear.unchecked_topics[0]: holds a control character: "a\u0000b"',
    ),
    # What is there twice.
    "a symbol twice": (
        SIM + LINEAR + 'symbols = ["BTCUSDT", "ETHUSDT", "BTCUSDT"]\nstreams = ["tickers", "kline.1"]',
        'endpoints.linear.symbols[2]: "BTCUSDT" stands here twice, first at endpoints.linear.symbols[0]',
    ),
    "a stream twice": (
        SIM + LINEAR + 'symbols = ["BTCUSDT", "ETHUSDT"]\nstreams = ["tickers", "tickers"]',
        'endpoints.linear.streams[1]: "tickers" stands here twice, first at endpoints.linear.streams[0]',
    ),
    "a topic twice": (
        SIM + LINEAR + 'topics = ["tickers.BTCUSDT", "tickers.BTCUSDT"]',
        f'endpoints.linear.topics[1]: "tickers.BTCUSDT" {AGAIN} endpoints.linear.topics[0]',
    ),
    "a topic of symbols x streams": (
        SIM + LINEAR + ONE + 'symbols = ["ETHUSDT", "BTCUSDT"]\nstreams = ["kline.1", "tickers"]',
        (
            f'endpoints.linear.topics[0]: "tickers.BTCUSDT" {AGAIN}'
            " endpoints.linear.symbols[1] x endpoints.linear.streams[1]"
        ),
    ),
    "an unchecked topic": (
        SIM + LINEAR + ONE + 'unchecked_topics = ["tickers.BTCUSDT"]',
        f'endpoints.linear.unchecked_topics[0]: "tickers.BTCUSDT" {AGAIN} endpoints.linear.topics[0]',
    ),
    "a group's topics": (
        SIM
        + LINEAR
        + ONE
        + GROUP
        + 'symbols = ["BTCUSDT"]\nstreams = ["tickers", "kline.1"]\n'
        + GROUP
        + 'symbols = ["BTCUSDT"]\nstreams = ["tickers", "kline.1"]',
        f'endpoints.linear.subscriptions[0].symbols[0]: "tickers.BTCUSDT" {AGAIN} endpoints.linear.topics[0]',
        f'endpoints.linear.subscriptions[1].symbols[0]: "tickers.BTCUSDT" {AGAIN} endpoints.linear.topics[0]',
        (
            f'endpoints.linear.subscriptions[1].symbols[0]: "kline.1.BTCUSDT" {AGAIN}'
            " endpoints.linear.subscriptions[0].symbols[0] x endpoints.linear.subscriptions[0].streams[1]"
        ),
    ),
    # Workers and cores.
    "more workers than topics": (
        SIM + LINEAR + 'topics = ["tickers.BTCUSDT", "kline.1.BTCUSDT"]\nworkers = 3',
        "endpoints.linear.workers: 3 workers for 2 topics: some would have none",
    ),
    "more workers than a topic": (
        SIM + LINEAR + ONE + "workers = 1_000",
        "endpoints.linear.workers: 1,000 workers for 1 topic: some would have none",
    ),
    "workers without topics": (
        SIM + LINEAR + "workers = 3",
        "endpoints.linear: asks for no topic; give it symbols and streams, or topics",
    ),
    "no workers": (
        SIM + LINEAR + ONE + "workers = 0",
        (
            "endpoints.linear.workers: must be at least 1 and at most 1,000, not 0;"
            " the venue takes 1,000 connections of a product from one address"
        ),
    ),
    "a core that is not there": (
        SIM + LINEAR + ONE + "cpu = [0, 2, 'x']",
        "endpoints.linear.cpu[2]: must be a whole number, not a string",
        "endpoints.linear.cpu[1]: there is no core 2 for us on this machine, only 0, 1",
    ),
    # The runtime directory.
    "a group that is not there": (
        SIM + '[runtime]\ngroup = "traders"\n' + LINEAR + ONE,
        'runtime.group: there is no group "traders" on this machine',
    ),
    # Connections.
    "base above cap": (
        SIM
        + "[connection]\nreconnect_base_s = 40\n"
        + LINEAR
        + ONE
        + "[endpoints.linear.connection]\nmax_attempts = 1",
        "connection.reconnect_base_s: reconnect_base_s (40) is above reconnect_cap_s (30): delays grow from base to cap",
    ),
    "an endpoint's base above cap": (
        SIM
        + "[connection]\nreconnect_base_s = 5\n"
        + LINEAR
        + ONE
        + "[endpoints.linear.connection]\nreconnect_cap_s = 4",
        (
            "endpoints.linear.connection.reconnect_cap_s:"
            " reconnect_base_s (5) is above reconnect_cap_s (4): delays grow from base to cap"
        ),
    ),
    "rotation on one line": (
        SIM + LINEAR + ONE + "[endpoints.linear.connection]\nmax_age_s = 60",
        "endpoints.linear.connection.max_age_s: needs lines = 2: another line carries the topics meanwhile",
    ),
    "a canary that is not served": (
        SIM + LINEAR + ONE + '[endpoints.linear.connection]\ncanary = "orderbook.25.BTCUSDT"',
        ('endpoints.linear.connection.canary: linear does not serve "orderbook.25.BTCUSDT"; option and spread do'),
    ),
    # Network and URL.
    "demo": (
        'network = "demo"\n' + LINEAR + ONE,
        (
            'endpoints.linear.network: "demo" serves private streams only, not linear:'
            ' take public data from the real market, network = "mainnet" in [endpoints.linear]'
        ),
    ),
    "an endpoint's demo": (
        SIM + LINEAR + ONE + 'network = "demo"',
        (
            'endpoints.linear.network: "demo" serves private streams only, not linear:'
            ' take public data from the real market, network = "mainnet" in [endpoints.linear]'
        ),
    ),
    "demo with a URL": (
        'network = "demo"\n' + LINEAR + ONE + 'url = "wss://stream.bybit.com/v5/public/linear"',
        (
            'endpoints.linear.network: "demo" serves private streams only, not linear:'
            ' take public data from the real market, network = "mainnet" in [endpoints.linear]'
        ),
    ),
    "a site where nobody is": (
        'network = "mainnet"\nsite = "eu"\n'
        + LINEAR
        + ONE
        + 'site = "jp"\n[endpoints.spot]\nproduct = "spot"\n'
        + ONE
        + 'url = "ws://127.0.0.1:9001/v5/public/spot"\n[endpoints.x]\nproduct = "spot"\nnetwork = "testnet"\n'
        + ONE,
        'site: each endpoint on mainnet has a site or url of its own; leave "eu" out',
    ),
    "a site for nobody": (
        SIM + 'site = "eu"\n' + LINEAR + ONE,
        'site: is for network = "mainnet", and nothing here is on that; leave "eu" out',
    ),
    "a site of the simulator": (
        SIM + LINEAR + ONE + 'site = "eu"',
        'endpoints.linear.site: is for network = "mainnet", not for "sim"',
    ),
    "a site of testnet": (
        'network = "mainnet"\n' + LINEAR + ONE + 'network = "testnet"\nsite = "jp"',
        'endpoints.linear.site: is for network = "mainnet", not for "testnet"',
    ),
    "a site and another URL": (
        'network = "mainnet"\n' + LINEAR + ONE + 'site = "eu"\nurl = "wss://stream.bybit.com/v5/public/linear"',
        'endpoints.linear.url: is not at site = "eu"; one of the two is enough',
    ),
    "another product's path": (
        SIM + LINEAR + ONE + 'url = "ws://127.0.0.1:9001/v5/public/spot"',
        ("endpoints.linear.url: ends in /v5/public/spot, where the venue serves spot, not linear (/v5/public/linear)"),
    ),
    "the private path": (
        SIM + LINEAR + ONE + 'url = "wss://example.org/v5/private/?x=1"',
        "endpoints.linear.url: ends in /v5/private, where the venue serves private, not linear (/v5/public/linear)",
    ),
    "the path of orders": (
        SIM + LINEAR + ONE + 'url = "wss://example.org/v5/trade"',
        "endpoints.linear.url: ends in /v5/trade, where orders are entered and nothing is streamed",
    ),
    "an idle time for nobody": (
        SIM + "[connection]\nmax_active_time_s = 60\n" + LINEAR + ONE,
        "connection.max_active_time_s: is for private endpoints, and there is none here; leave it out",
    ),
    "a site as simulated": (
        SIM + LINEAR + ONE + 'url = "wss://stream.manepa.jp/v5/public/linear"',
        (
            'endpoints.linear.url: is the venue itself, but network = "sim" marks all data as simulated;'
            ' say "mainnet" or "testnet"'
        ),
    ),
    "http": (SIM + LINEAR + ONE + 'url = "https://x/y"', 'endpoints.linear.url: must begin with "ws://" or "wss://"'),
    "no scheme": (SIM + LINEAR + ONE + 'url = "x/y"', 'endpoints.linear.url: must begin with "ws://" or "wss://"'),
    "no host": (SIM + LINEAR + ONE + 'url = "wss:///v5"', f"endpoints.linear.url: {URL}"),
    "a port alone": (SIM + LINEAR + ONE + 'url = "ws://:9001/v5"', f"endpoints.linear.url: {URL}"),
    "a space": (SIM + LINEAR + ONE + 'url = "ws://x/a b"', f"endpoints.linear.url: {URL}"),
    "a placeholder": (SIM + LINEAR + ONE + 'url = "ws://{simulator}/x"', f"endpoints.linear.url: {URL}"),
    "a port out of range": (
        SIM + LINEAR + ONE + 'url = "ws://x:65536/"',
        "endpoints.linear.url: its port is no number from 1 to 65535",
    ),
    "a port of letters": (
        SIM + LINEAR + ONE + 'url = "ws://x:hush/"',
        "endpoints.linear.url: its port is no number from 1 to 65535",
    ),
    "port 0": (SIM + LINEAR + ONE + 'url = "ws://x:0/"', "endpoints.linear.url: its port is no number from 1 to 65535"),
    "an open bracket": (SIM + LINEAR + ONE + 'url = "ws://[::1/"', "endpoints.linear.url: is no URL"),
    "a fragment": (
        SIM + LINEAR + ONE + 'url = "ws://x/#y"',
        "endpoints.linear.url: has a fragment (#...), which no server ever sees",
    ),
    "a password": (
        SIM + LINEAR + ONE + 'url = "ws://me:hush@x/"',
        "endpoints.linear.url: holds a user name or a password: secrets do not belong in this file",
    ),
    "a secret in the query": (
        SIM + LINEAR + ONE + 'url = "ws://x/?y=1&Access-Token=hush&y=2"',
        'endpoints.linear.url: holds "Access-Token" in its query: secrets do not belong in this file',
    ),
    "the venue as simulated": (
        SIM + LINEAR + ONE + 'url = "wss://stream.bybit.com/v5/public/linear"',
        (
            'endpoints.linear.url: is the venue itself, but network = "sim" marks all data as simulated;'
            ' say "mainnet" or "testnet"'
        ),
    ),
    # Addresses.
    "no address": (
        SIM + LINEAR + ONE + "publish = []",
        'endpoints.linear.publish: is empty: nobody could subscribe; leave it out for "ipc://{runtime}/..."',
    ),
    "no port": (
        SIM + LINEAR + ONE + 'publish = ["tcp://*"]',
        (
            'endpoints.linear.publish[0]: "tcp://*": has no port: write it behind a colon,'
            ' as in "tcp://127.0.0.1:{5600+index}"'
        ),
    ),
    "a sum beyond the ports": (
        SIM
        + LINEAR
        + 'topics = ["tickers.BTCUSDT", "tickers.ETHUSDT"]\nworkers = 2\npublish = ["tcp://*:{65535+index}"]',
        'endpoints.linear.publish[0]: "tcp://*:{65535+index}": "65536" is no port: they go from 1 to 65535',
    ),
    "two workers on one address": (
        SIM
        + LINEAR
        + 'topics = ["tickers.BTCUSDT", "tickers.ETHUSDT"]\nworkers = 2\npublish = ["ipc://{runtime}/{endpoint}.pub"]',
        (
            'endpoints.linear.publish[0]: "ipc://{runtime}/{endpoint}.pub": linear binds that already'
            " (endpoints.linear.publish[0]); use {worker} or {index}"
        ),
    ),
    "two endpoints on one address": (
        SIM
        + LINEAR
        + ONE
        + 'publish = ["tcp://*:5600"]\n[endpoints.other]\nproduct = "linear"\n'
        + ONE
        + 'publish = ["tcp://127.0.0.1:5600"]',
        (
            'endpoints.other.publish[0]: "tcp://127.0.0.1:5600": linear binds that already'
            " (endpoints.linear.publish[0]); use {worker} or {index}"
        ),
    ),
    "one worker twice on one address": (
        SIM + LINEAR + ONE + 'publish = ["ipc:///run/feed/x", "ipc://{runtime}/../feed/x"]',
        (
            'endpoints.linear.publish[1]: "ipc://{runtime}/../feed/x": linear binds that already'
            " (endpoints.linear.publish[0])"
        ),
    ),
    "the supervisor's own": (
        SIM + LINEAR + ONE + 'publish = ["ipc://{runtime}/control", "ipc://{runtime}/x.lock"]',
        'endpoints.linear.publish[0]: "ipc://{runtime}/control": the feed keeps a file of that name there',
        'endpoints.linear.publish[1]: "ipc://{runtime}/x.lock": the feed keeps a file of that name there',
    ),
    **{
        f"the feed's own {name}": (
            SIM + LINEAR + ONE + f'publish = ["ipc://{{runtime}}/{name}"]',
            f'endpoints.linear.publish[0]: "ipc://{{runtime}}/{name}": the feed keeps a file of that name there',
        )
        for name in ("epoch", "feed.json", "private", "linear.pub.lock", "linear.error")
    },
    "the feed's own, in a roundabout way": (
        SIM + LINEAR + ONE + 'publish = ["ipc://{runtime}/x/../control/."]',
        'endpoints.linear.publish[0]: "ipc://{runtime}/x/../control/.": the feed keeps a file of that name there',
    ),
    "a directory that is not there": (
        SIM + LINEAR + ONE + 'publish = ["ipc:///nowhere/x", "ipc://{runtime}/below/x"]',
        'endpoints.linear.publish[0]: "ipc:///nowhere/x": there is no directory "/nowhere"',
        'endpoints.linear.publish[1]: "ipc://{runtime}/below/x": there is no directory "/run/feed/below"',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_told(case: str) -> None:
    """What makes no sense is told in these words, and nothing that merely follows from it."""
    text, *expected = CASES[case]
    assert told(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        'network = "sim"\n[endpoints.linear]\nproduct = "lineer"\ntopics = ["nonsense"]\nsymbols = ["x"]\nstreams = ["y"]',
        'network = "dem"\nsite = "eu"\n[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]',
        'network = "sim"\nsite = "uk"\n[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]',
        'network = "sim"\nsite = "eu"\n[endpoints.x]\nproduct = "spot"\ntopics = ["tickers.BTCUSDT"]\nnetwork = "dem"',
        'network = "dem"\n[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]',
        'network = "demo"\n[endpoints.linear]\nproduct = "lineer"\ntopics = ["tickers.BTCUSDT"]',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\nsymbols = 3\nstreams = ["tickers"]\nworkers = 2',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\nstreams = 3\nsymbols = ["BTCUSDT"]',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\ntopics = 3',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\ntopics = [3]',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\nunchecked_topics = [3]',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\nsubscriptions = 3',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\nsubscriptions = [3]',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\n[[endpoints.linear.subscriptions]]\nstreams = ["tickers"]',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]\npublish = 3',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]\npublish = [3]',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]\ncpu = ["x"]',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]\nurl = 3',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]\n[runtime]\ngroup = 3',
        'network = "sim"\n[endpoints.linear]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]\nnetwork = "dem"',
        'network = "sim"\n[endpoints.LINEAR]\nproduct = "linear"\ntopics = ["tickers.BTCUSDT"]\npublish = ["http://x"]',
    ],
)
def test_one_mistake_is_told_once(text: str) -> None:
    """Nothing is judged by what is unsound itself."""
    assert len(told(text)) == 1


def test_what_is_there() -> None:
    """Groups, directories and cores that the machine has are no problem."""
    text = SIM + '[runtime]\ngroup = "traders"\n' + LINEAR + ONE + 'cpu = [7]\npublish = ["ipc:///srv/x"]'
    assert told(text, cores=(7,), directories=("/srv",), groups=("traders",)) == []


def test_long_runtime_directory() -> None:
    """A runtime directory in which no socket could live is told once, not with each address."""
    long = "/" + "x" * 99
    assert told(SIM + LINEAR + ONE, runtime=long) == [
        (
            f'runtime.directory: "/{"x" * 39}...{"x" * 20}" is too long:'
            " the sockets in it would pass the 107 bytes that Linux takes"
        )
    ]


def test_long_path_of_a_socket() -> None:
    """A socket's path may pass the limit though the directory's does not."""
    text = SIM + f'[endpoints.{"x" * 20}]\nproduct = "linear"\n' + ONE
    assert told(text, runtime="/" + "x" * 98) == [
        (
            f'endpoints.{"x" * 20}.publish[0]: "ipc://{{runtime}}/{{worker}}.pub":'
            " its path has 124 bytes, and Linux takes 107: choose a shorter one"
        )
    ]


def test_many_workers_on_one_address_are_one_problem() -> None:
    """The first clash of an address is told, not that of each worker."""
    topics = ", ".join(f'"tickers.A{number}USDT"' for number in range(50))
    assert len(told(SIM + LINEAR + f'topics = [{topics}]\nworkers = 50\npublish = ["tcp://*:5600"]')) == 1


def test_index_counts_workers_that_cannot_be_judged() -> None:
    """One endpoint's problem moves no other's port."""
    text = (
        SIM
        + '[endpoints.a]\nproduct = "linear"\npublish = ["tcp://*:{5600*index}"]\n'
        + ONE
        + '[endpoints.b]\nproduct = "linear"\npublish = ["tcp://*:{65535+index}"]\n'
        + ONE
    )
    assert [line.partition(":")[0] for line in told(text)] == ["endpoints.a.publish[0]", "endpoints.b.publish[0]"]
