"""``feedhandler topics`` as a person or a program meets it: what it shows is what can be subscribed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from feedhandler.bybit.products import PRODUCTS
from feedhandler.bybit.topics import parse

ROOT: Final = Path(__file__).parents[2]


def topics(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "feedhandler", "topics", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture(scope="module")
def listed() -> dict[str, Any]:
    done = topics("--json")
    assert (done.returncode, done.stderr) == (0, "")
    return {one["product"]: one for one in json.loads(done.stdout)}


def stream(listed: dict[str, Any], product: str, name: str) -> Any:
    (found,) = (one for one in listed[product]["streams"] if one["stream"] == name)
    return found


def test_table_of_one_product() -> None:
    """A row for each stream, one for all candles, columns under their headings."""
    done = topics("option")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout
        == """\
option: wss://stream.bybit.com/v5/public/option
  topic                 pushed        kind             a newcomer gets      example
  orderbook.25.SYMBOL   every 20 ms   snapshot, delta  image: the book      orderbook.25.BTC-25DEC26-100000-C-USDT
  orderbook.100.SYMBOL  every 100 ms  snapshot, delta  image: the book      orderbook.100.BTC-25DEC26-100000-C-USDT
  publicTrade.BASE      at once       update           nothing of the past  publicTrade.BTC
  tickers.SYMBOL        every 100 ms  snapshot         image: the last one  tickers.BTC-25DEC26-100000-C-USDT
"""
    )


def test_candles_share_a_row() -> None:
    """Their intervals differ in nothing else; they stand below."""
    text = topics("linear").stdout
    assert text.count("kline.") == 2  # the row's name, and its example
    assert "  INTERVAL: minutes, or days, weeks, months: 1, 3, 5, 15, 30, 60, 120, 240, 360, 720, D, W, M\n" in text
    assert "insurance.{USDT,USDC,inverse}" in text


def test_all_products(listed: dict[str, Any]) -> None:
    """Without an argument every product is shown, in the table as for programs."""
    assert list(listed) == list(PRODUCTS)
    heads = [line.partition(":")[0] for line in topics().stdout.splitlines() if line and not line.startswith(" ")]
    assert heads == list(PRODUCTS)


def test_every_stream_with_an_example_that_is_served(listed: dict[str, Any]) -> None:
    """What it shows can be written into a configuration as it stands."""
    for name, product in PRODUCTS.items():
        shown = listed[name]
        assert shown["path"] == product.path
        assert [one["stream"] for one in shown["streams"]] == [one.name for one in product.streams]
        for one in shown["streams"]:
            parsed = parse(name, one["example"])
            assert (parsed.stream.name, parsed.stream.interval_ms) == (one["stream"], one["interval_ms"])


@pytest.mark.parametrize(
    ("product", "name", "kinds", "image"),
    [
        ("linear", "orderbook.50", ["snapshot", "delta"], True),
        ("spot", "orderbook.rpi", ["snapshot", "delta"], True),
        ("spread", "orderbook.25", ["snapshot", "delta"], True),
        ("linear", "orderbook.1", ["snapshot"], True),
        ("spot", "tickers", ["snapshot"], True),
        ("spread", "tickers", ["snapshot"], True),
        ("inverse", "tickers", ["snapshot", "delta"], True),
        ("linear", "insurance", ["snapshot", "delta"], True),
        ("linear", "kline.D", ["snapshot"], True),
        ("linear", "priceLimit", ["snapshot"], True),
        ("linear", "adlAlert", ["snapshot"], True),
        ("status", "system", ["snapshot"], True),
        ("option", "publicTrade", ["update"], False),
        ("linear", "allLiquidation", ["update"], False),
        ("private", "order", ["update"], False),
        ("private", "dcp", [], False),
        ("spot", "orderbook.full", ["delta"], False),
    ],
)
def test_kinds_and_images(listed: dict[str, Any], product: str, name: str, kinds: list[str], image: bool) -> None:
    """As records are published: the design's table of kinds by topic."""
    found = stream(listed, product, name)
    assert (found["kinds"], found["image"]) == (kinds, image)


def test_newcomers_of_private_streams(listed: dict[str, Any]) -> None:
    """Events of the account are repeated to a newcomer; a stream without messages has nothing."""
    assert stream(listed, "private", "wallet")["newcomer"] == "the last records, repeated"
    assert stream(listed, "private", "dcp")["newcomer"] == "nothing: it has no messages"
    assert "  dcp.{future,spot,option}                       never    none    " in topics("private").stdout


def test_what_configurations_refuse_is_said(listed: dict[str, Any], tmp_path: Path) -> None:
    """A product is called configurable exactly where a configuration may name it."""
    for name, shown in listed.items():
        example = shown["streams"][0]["example"]
        file = tmp_path / f"{name}.toml"
        file.write_text(f'network = "sim"\n[endpoints.one]\nproduct = "{name}"\ntopics = ["{example}"]\n')
        check = subprocess.run(
            [sys.executable, "-m", "feedhandler", "check", str(file)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert shown["configurable"] is (check.returncode == 0), check.stderr


@pytest.mark.parametrize(
    ("word", "hint"), [("liner", 'did you mean "linear"?'), ("Spot", '"spot"?'), ("x", "there are")]
)
def test_unknown_product(word: str, hint: str) -> None:
    """Exit code 2, and what would be right."""
    done = topics(word)
    assert (done.returncode, done.stdout) == (2, "")
    assert f'there is no product "{word}"' in done.stderr
    assert hint in done.stderr


def test_help_has_an_example() -> None:
    """As every command's."""
    assert "Example: feedhandler topics linear" in topics("--help").stdout


def test_readme_lists_what_is_served() -> None:
    """Its table names each product's streams, families by their words, and no other."""
    table = (ROOT / "README.md").read_text().partition("| product | topics |")[2].partition("\n\n")[0]
    named: dict[str, set[str]] = {}
    for line in table.splitlines()[2:]:
        products, text = line.strip("| ").split(" | ")
        said = set(named["spot"]) if "the same" in text else set()
        for name, words in re.findall(r"`([\w.*]+)`(?: \(([^)]+)\))?", text.partition(":")[0].partition(";")[0]):
            said |= {f"{name}.{word}" for word in words.split(", ")} if words else {name}
        for product in products.split(", "):
            named[product] = said
    assert set(named) == set(PRODUCTS)
    for product, said in named.items():
        served = {stream.name for stream in PRODUCTS[product].streams} - {"dcp"}  # told of by itself
        families = {"kline" if name.startswith("kline.") else name for name in served}
        open_ = {name for name in families if name.startswith("rfq.open.")}
        families = (families - open_) | ({"rfq.open.*"} if open_ else set())
        assert {name.removesuffix(".status") for name in said} == families, product
