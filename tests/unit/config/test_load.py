"""Reading configurations from files: whatever the file, a configuration or every problem, in a line each."""

import grp
import os
import pwd
import string
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedhandler.config import load as loading
from feedhandler.config import syntax
from feedhandler.config.explain import explain
from feedhandler.config.load import load, read
from feedhandler.config.model import Config, Connection, Endpoint, SecretSource
from feedhandler.config.plan import plan
from feedhandler.config.problems import ConfigError

LINEAR = """
network = "sim"
[endpoints.linear]
product = "linear"
"""
TICKERS = 'streams = ["tickers"]\n'


def told(path: Path, **options: str) -> list[str]:
    """Say what is wrong with a file; the folder is left out of the lines."""
    with pytest.raises(ConfigError) as caught:
        load(path, **options)
    return str(caught.value).replace(f"{path.parent}/", "").split("\n")


def written(folder: Path, text: str | bytes, name: str = "feed.toml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_loaded(tmp_path: Path) -> None:
    """A sound file is a configuration, defaults filled in and [connection] merged."""
    path = written(
        tmp_path,
        """
        network = "mainnet"
        [connection]
        ping_interval_s = 15
        [endpoints.linear]
        product = "linear"
        topics = ["tickers.BTCUSDT"]
        [endpoints.linear.connection]
        max_attempts = 3
        """,
    )
    assert load(path) == Config(
        network="mainnet",
        connection=Connection(ping_interval_s=15.0),
        endpoints={
            "linear": Endpoint(
                product="linear",
                topics=["tickers.BTCUSDT"],
                connection=Connection(ping_interval_s=15.0, max_attempts=3),
            )
        },
    )


def test_byte_order_mark(tmp_path: Path) -> None:
    """Editors that begin a file with a byte order mark, and end lines their own way, do no harm."""
    path = written(tmp_path, b"\xef\xbb\xbf" + (LINEAR + 'topics = ["tickers.BTCUSDT"]').replace("\n", "\r\n").encode())
    assert load(path).network == "sim"


def test_missing_file(tmp_path: Path) -> None:
    """No such file is one line."""
    assert told(tmp_path / "feed.toml") == ["feed.toml: there is no such file"]


def test_directory(tmp_path: Path) -> None:
    """A directory is one line."""
    (tmp_path / "feed.toml").mkdir()
    assert told(tmp_path / "feed.toml") == ["feed.toml: cannot be read: is a directory"]


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is one line. (Root may read every file, so the refusal is made here.)"""

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert told(tmp_path / "feed.toml") == ["feed.toml: cannot be read: permission denied"]


def test_no_utf8(tmp_path: Path) -> None:
    """Text in another encoding is one line, with the line it is in."""
    assert told(written(tmp_path, b'network = "sim"\n# \xfc\n')) == ["feed.toml: is not UTF-8 text (line 2)"]


def test_syntax(tmp_path: Path) -> None:
    """A mistake of TOML is one line, with its place."""
    assert told(written(tmp_path, "network = sim")) == [
        (
            "feed.toml: line 1, column 11:"
            ' no value that TOML knows: a string needs quotes ("..."), a boolean is true or false'
        )
    ]


def test_empty_file(tmp_path: Path) -> None:
    """An empty file lacks what has no default."""
    assert told(written(tmp_path, "")) == [
        'feed.toml: network: is missing; it is one of "demo", "mainnet", "sim" or "testnet"',
        "feed.toml: endpoints: there is no endpoint; write at least one table [endpoints.NAME]",
    ]


def test_odd_name(tmp_path: Path) -> None:
    """A file whose name is no UTF-8 is named all the same."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.toml"))
    assert told(path) == ["\\xff.toml: there is no such file"]


def test_everything_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Problems of shape, of symbol files and of sense are told together, those of a table side by side."""
    written(tmp_path, "BTCUSDT\nethusdt\n", "symbols.txt")
    path = written(
        tmp_path,
        """
        [connection]
        reconnect_base_s = 50
        ping_interval_s = 0
        [endpoints.b]
        product = "linear"
        symbols = { file = "symbols.txt" }
        streams = ["tickers"]
        cpu = 3
        [endpoints.a]
        product = "spot"
        topics = ["tickers.btcusdt"]
        workers = "2"
        [runtime]
        log_level = "loud"
        """,
    )
    assert [line.partition(": ")[0] + ":" + line.split(": ")[1] for line in told(path)] == [
        "feed.toml:network",
        "feed.toml:connection.ping_interval_s",
        "feed.toml:connection.reconnect_base_s",
        "feed.toml:endpoints.b.cpu",
        "symbols.txt:line 2",
        "feed.toml:endpoints.a.workers",
        "feed.toml:endpoints.a.topics[0]",
        "feed.toml:runtime.log_level",
    ]


# Symbol files.


def test_symbol_file(tmp_path: Path) -> None:
    """Symbols come from a file beside the configuration: one a line, comments and empty lines left out."""
    written(tmp_path, "# mine\nBTCUSDT # the first\n\n  ETHUSDT\r\n", "symbols.txt")
    path = written(tmp_path, LINEAR + 'symbols = { file = "symbols.txt" }\n' + TICKERS)
    assert load(path).endpoints["linear"].symbols == ["BTCUSDT", "ETHUSDT"]


def test_symbol_file_of_a_group(tmp_path: Path) -> None:
    """Groups may keep their symbols in a file, too, also elsewhere."""
    (tmp_path / "lists").mkdir()
    elsewhere = written(tmp_path / "lists", "SOLUSDT\n", "alt.txt")
    group = "[[endpoints.linear.subscriptions]]\n" + TICKERS
    path = written(
        tmp_path,
        LINEAR
        + group
        + 'symbols = {file = "lists/alt.txt"}\n'
        + group.replace("tickers", "kline.1")
        + f'symbols = {{file = "{elsewhere}"}}\n',
    )
    groups = load(path).endpoints["linear"].subscriptions
    assert [group.symbols for group in groups] == [["SOLUSDT"], ["SOLUSDT"]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ["feed.toml: endpoints.linear.symbols: symbols.txt: holds no symbol"]),
        (b"# none\n\n", ["feed.toml: endpoints.linear.symbols: symbols.txt: holds no symbol"]),
        (b"BTCUSDT\n\xff\n", ["feed.toml: endpoints.linear.symbols: symbols.txt: is not UTF-8 text (line 2)"]),
        (
            b"BTCUSDT, ETHUSDT\nXRPUSDT\n",
            ['symbols.txt: line 1: "BTCUSDT, ETHUSDT" is not one symbol; write one on each line, without quotes'],
        ),
        (
            b'"BTCUSDT"\n',
            [r'symbols.txt: line 1: "\"BTCUSDT\"" is not one symbol; write one on each line, without quotes'],
        ),
        (
            b"BTC\x00USDT\n",
            [r'symbols.txt: line 1: "BTC\u0000USDT" is not one symbol; write one on each line, without quotes'],
        ),
        (
            b"# first\nBTCUSDT\nbtcusdt\n",
            ['symbols.txt: line 3: "tickers.btcusdt": symbol "btcusdt" must be in capitals; did you mean "BTCUSDT"?'],
        ),
        (b"BTCUSDT\n\nBTCUSDT\n", ['symbols.txt: line 3: "BTCUSDT" stands here twice, first at symbols.txt line 1']),
    ],
)
def test_bad_symbol_file(tmp_path: Path, content: bytes, expected: list[str]) -> None:
    """What is wrong with a symbol file is told by its name and line, and nothing follows from it."""
    written(tmp_path, content, "symbols.txt")
    assert told(written(tmp_path, LINEAR + 'symbols = { file = "symbols.txt" }\n' + TICKERS)) == expected


def test_missing_symbol_file(tmp_path: Path) -> None:
    """A symbol file that is not there is told at the key that names it."""
    assert told(written(tmp_path, LINEAR + 'symbols = { file = "symbols.txt" }\n' + TICKERS)) == [
        "feed.toml: endpoints.linear.symbols: symbols.txt: there is no such file"
    ]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ('""', "symbols: names no file"),
        ("3", "symbols.file: must be a string, not a whole number"),
        (r'"\u0000"', r'symbols.file: holds a control character: "\u0000"'),
        ('"."', "symbols: .: cannot be read: is a directory"),
    ],
)
def test_bad_name_of_a_symbol_file(tmp_path: Path, file: str, text: str) -> None:
    """A name that can be no file's is one problem."""
    path = written(tmp_path, LINEAR + f"symbols = {{ file = {file} }}\n" + TICKERS)
    assert [line.replace(str(tmp_path), ".") for line in told(path)] == [f"feed.toml: endpoints.linear.{text}"]


def test_symbol_file_named_twice(tmp_path: Path) -> None:
    """A bad line is told once though two endpoints name the file."""
    written(tmp_path, "btcusdt\n", "symbols.txt")
    keys = 'product = "linear"\nsymbols = { file = "symbols.txt" }\n' + TICKERS
    path = written(tmp_path, f'network = "sim"\n[endpoints.a]\n{keys}[endpoints.b]\n{keys}')
    assert len(told(path)) == 1


def test_topic_of_a_symbol_file_twice(tmp_path: Path) -> None:
    """A topic asked for twice names the line of the symbol file."""
    written(tmp_path, "ETHUSDT\nBTCUSDT\n", "symbols.txt")
    path = written(tmp_path, LINEAR + 'symbols = { file = "symbols.txt" }\ntopics = ["tickers.BTCUSDT"]\n' + TICKERS)
    assert told(path) == [
        (
            'feed.toml: endpoints.linear.topics[0]: "tickers.BTCUSDT" is asked for twice,'
            " first by symbols.txt line 2 x endpoints.linear.streams[0]"
        )
    ]


# Secrets.


@pytest.mark.parametrize(
    ("file", "found"),
    [("s.txt", "{}/s.txt"), ("../keys/s", "{}/../keys/s"), ("/etc/s", "/etc/s"), ("~/s", "/home/me/s")],
)
def test_files_of_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, found: str) -> None:
    """A file that holds a secret is named relative to the configuration, or from home; nobody looks for it yet."""
    monkeypatch.setenv("HOME", "/home/me")
    keys = f'topics = ["order"]\napi_key = {{ env = "MY_KEY" }}\napi_secret = {{ file = "{file}" }}\n'
    path = written(tmp_path, LINEAR.replace('"linear"', '"private"') + keys)
    monkeypatch.chdir(tmp_path)
    for way in (path, Path("feed.toml")):
        endpoint = load(way).endpoints["linear"]
        assert endpoint.api_secret == SecretSource(file=found.format(tmp_path))
        assert endpoint.api_key == SecretSource(env="MY_KEY")


# The machine.


def test_runtime_directory(tmp_path: Path) -> None:
    """The caller's runtime directory goes before the file's."""
    path = written(tmp_path, LINEAR + f'topics = ["tickers.BTCUSDT"]\n[runtime]\ndirectory = "{tmp_path}/file"')
    assert read(path).runtime_directory == tmp_path / "file"
    assert read(path, runtime_directory=str(tmp_path / "caller")).runtime_directory == tmp_path / "caller"


def test_home_of_nobody(tmp_path: Path) -> None:
    """A home that nobody has is told."""
    text = LINEAR + 'topics = ["tickers.BTCUSDT"]\n[runtime]\ndirectory = "~nobody-of-this-name/feed"'
    assert told(written(tmp_path, text)) == [
        'feed.toml: runtime.directory: "~nobody-of-this-name/feed" names the home of nobody on this machine'
    ]


def test_groups_of_this_machine(tmp_path: Path) -> None:
    """Groups are looked up."""
    mine = grp.getgrgid(pwd.getpwuid(os.getuid()).pw_gid).gr_name
    text = LINEAR + 'topics = ["tickers.BTCUSDT"]\n[runtime]\ngroup = "{}"'
    assert load(written(tmp_path, text.format(mine))).runtime.group == mine
    assert told(written(tmp_path, text.format("no-such-group"))) == [
        'feed.toml: runtime.group: there is no group "no-such-group" on this machine'
    ]


def test_cores_and_directories_of_this_machine(tmp_path: Path) -> None:
    """Cores are those this process may use, directories are looked up."""
    core = min(os.sched_getaffinity(0))
    text = LINEAR + f'topics = ["tickers.BTCUSDT"]\ncpu = [{core}]\npublish = ["ipc://{tmp_path}/{{}}x.pub"]'
    assert load(written(tmp_path, text.replace("{}", ""))).endpoints["linear"].cpu == [core]
    [problem] = told(written(tmp_path, text.replace("{}", "nowhere/").replace(f"[{core}]", "[]")))
    assert problem.endswith(f'there is no directory "{tmp_path}/nowhere"'.replace(f"{tmp_path}/", ""))
    [problem] = told(written(tmp_path, text.replace("{}", "").replace(f"[{core}]", "[1023]")))
    assert problem.startswith("feed.toml: endpoints.linear.cpu[0]: there is no core 1023 for us on this machine")


def test_only_one_module_touches_files() -> None:
    """Reading goes through this module alone; the others are pure."""
    for path in Path(loading.__file__).parent.glob("*.py"):
        if path.name != "load.py":
            assert not any(word in path.read_text() for word in ("open(", "read_text", "read_bytes", "os.environ"))


# Anything.

KEYS = [
    *["network", "runtime", "connection", "publish", "endpoints", "metrics", "linear", "a.b", "product", "symbols"],
    *["streams", "topics", "unchecked_topics", "subscriptions", "workers", "cpu", "url", "file", "directory", "group"],
    *["ping_interval_s", "reconnect_base_s", "max_attempts", "log_level", "quiet_status_s", "", "é\u2028"],
    *["site", "retain", "allow_dcp", "max_active_time_s", "env", "credential"],
]
STRINGS = [
    *["sim", "mainnet", "demo", "linear", "option", "BTCUSDT", "btcusdt", "tickers", "orderbook.50", "", "\u2028"],
    *["ipc://{runtime}/x", "tcp://*:{5600+index}", "tcp://[", "ws://x:y", "wss://[", "{", "~x", "/", "a\nb", "\0"],
]
SECRETS = ["api_key", "apiSecret", "My Password", "token"]
HUSH = "hush-hush-hush"


def tables(keys: st.SearchStrategy[str], values: st.SearchStrategy[Any], depth: int = 3) -> st.SearchStrategy[Any]:
    """Tables of tables, with what a configuration is made of in wrong places."""
    leaves = values | st.lists(values, max_size=3)
    inner = leaves
    for _ in range(depth):
        inner = leaves | st.dictionaries(keys, inner, max_size=5) | st.lists(st.dictionaries(keys, inner), max_size=2)
    return st.dictionaries(keys, inner, max_size=6)


SCALARS = (
    st.sampled_from(STRINGS)
    | st.text(max_size=5)
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.datetimes()
    | st.times()
)
SOURCE = st.dictionaries(
    st.sampled_from(["env", "file", "credential"]), st.sampled_from(["A_NAME", "~x/y"]), max_size=2
)
ENDPOINT = st.fixed_dictionaries(
    {"product": st.sampled_from(["linear", "spot", "option", "moon", "spread", "private", "private"])},
    optional={
        "symbols": st.lists(st.sampled_from(["BTCUSDT", "ETHUSDT", "btc", "USDT", "BTC"]), max_size=4),
        "streams": st.lists(st.sampled_from(["tickers", "orderbook.50", "insurance", "kline.2"]), max_size=4),
        "topics": st.lists(st.sampled_from(["tickers.BTCUSDT", "order", "order.spot", "dcp.spot", ""]), max_size=4),
        "unchecked_topics": st.lists(st.sampled_from(["tickers.BTCUSDT", "x", ""]), max_size=4),
        "publish": st.lists(st.sampled_from(STRINGS), max_size=3),
        "workers": st.integers(0, 5),
        "cpu": st.lists(st.integers(-1, 3), max_size=2),
        "network": st.sampled_from(["sim", "demo", "mainnet"]),
        "site": st.sampled_from(["", "eu", "moon"]),
        "api_key": SOURCE,
        "api_secret": SOURCE,
        "retain": st.integers(-1, 5),
        "allow_dcp": st.booleans(),
        "url": st.sampled_from(STRINGS),
        "connection": st.dictionaries(st.sampled_from(KEYS), SCALARS, max_size=3),
    },
)
ACCOUNT = st.fixed_dictionaries(
    {"product": st.just("private"), "topics": st.just(["order"])},
    optional={
        "api_key": st.just({"env": "MY_KEY"}),
        "api_secret": st.just({"file": "x"}),
        "network": st.sampled_from(["sim", "demo", "mainnet"]),
        "site": st.sampled_from(["", "eu"]),
        "url": st.sampled_from(["", "wss://x/y", "wss://stream.bybit.eu/v5/private"]),
        "connection": st.fixed_dictionaries({"max_active_time_s": st.sampled_from([0, 45, 600.0])}),
    },
)
LIKELY = st.fixed_dictionaries(
    {
        "network": st.sampled_from(["sim", "mainnet", "demo"]),
        "endpoints": st.dictionaries(
            st.sampled_from(["linear", "b", "C", "a b"]), ENDPOINT | ACCOUNT, min_size=1, max_size=3
        ),
    }
)


def judged(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Load tables as if they stood in a file; return the problems' lines."""
    with monkeypatch.context() as patched:
        patched.setattr(syntax, "parse", lambda _text, _problems: content)
        patched.setattr(Path, "read_bytes", lambda _path: b"x y\nBTCUSDT\n")
        try:
            loaded = read(Path("feed.toml"))
        except ConfigError as error:
            return [str(problem) for problem in error.problems] or ["refused without a reason\n"]
    workers = plan(loaded.config, loaded.runtime_directory)
    assert all(worker.topics for worker in workers)
    assert all(worker.retain == 0 and worker.api_key is None for worker in workers if worker.product != "private")
    told = explain(loaded.config, loaded.written, loaded.runtime_directory)
    with monkeypatch.context() as patched:
        patched.setattr(syntax, "parse", lambda _text, _problems: tomllib.loads(told))
        patched.setattr(Path, "read_bytes", lambda _path: b"")
        again = read(Path("feed.toml"))
    assert plan(again.config, loaded.runtime_directory) == workers
    return []


@given(content=tables(st.sampled_from(KEYS) | st.text(max_size=5), SCALARS))
def test_any_tables(content: dict[str, Any]) -> None:
    """Whatever stands in a file, loading it ends in a configuration or in problems of one line each."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for line in judged(content, monkeypatch):
            assert len(line.splitlines()) == 1


@given(content=LIKELY)
def test_any_likely_tables(content: dict[str, Any]) -> None:
    """What has the right shape is judged without an accident, and what passes can be planned and explained."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for line in judged(content, monkeypatch):
            assert len(line.splitlines()) == 1


HUSHED = st.dictionaries(st.sampled_from(KEYS), st.just(HUSH) | st.lists(st.just(HUSH), max_size=2), max_size=9)
NAMED_LIKE_SECRETS = st.fixed_dictionaries(
    {"endpoints": st.dictionaries(st.sampled_from(SECRETS), st.just(HUSH) | HUSHED, max_size=3)}
)


@given(content=NAMED_LIKE_SECRETS | tables(st.sampled_from([*SECRETS, *KEYS]), st.just(HUSH), depth=2))
def test_secrets_are_never_told(content: dict[str, Any]) -> None:
    """No value below a key that looks like a secret's is ever in a problem's text, wherever that key stands."""

    def only_secrets(value: Any, secret: bool) -> Any:
        if isinstance(value, dict):
            return {key: only_secrets(one, secret or key in SECRETS) for key, one in value.items()}
        if isinstance(value, list):
            return [only_secrets(one, secret) for one in value]
        return value if secret else "plain"

    with pytest.MonkeyPatch.context() as monkeypatch:
        lines = judged(only_secrets(content, secret=False), monkeypatch)
    assert not any(HUSH[:4] in line for line in lines)


@given(st.binary(max_size=40) | st.text(alphabet=string.printable, max_size=60).map(str.encode))
def test_any_bytes(content: bytes) -> None:
    """Whatever bytes a file holds, loading it ends in problems (so little text is never a configuration)."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Path, "read_bytes", lambda _path: content)
        with pytest.raises(ConfigError):
            load(Path("feed.toml"))
