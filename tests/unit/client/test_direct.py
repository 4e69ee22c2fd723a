"""`feedhandler.connect` as far as no socket is needed: what its arguments mean, and what may be asked when."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

import feedhandler
from feedhandler.bybit.products import HOSTS, PRODUCTS

ROOT: Final = Path(__file__).parents[3]
URL: Final = "ws://127.0.0.1:9001/v5/public/linear"
PRIVATE_URL: Final = "wss://stream.bybit.com/v5/private"
SECRET: Final = "TheSecretItself"  # noqa: S105 - nobody's


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=list(PRODUCTS))
def test_product_is_told_by_the_path(product: Any) -> None:
    """The venue's own URL of a product needs no product argument, whatever its query."""
    key: dict[str, Any] = {"api_key": "key", "api_secret": "secret"} if product.name == "private" else {}
    for query in ("", "?max_active_time=30s"):
        assert feedhandler.connect(f"{HOSTS['mainnet']}{product.path}{query}", **key).product == product.name


def test_product_of_an_odd_url_can_be_given() -> None:
    """A proxy may serve the stream at any path."""
    assert feedhandler.connect("ws://proxy.example/bybit", product="spot").product == "spot"


@pytest.mark.parametrize(
    ("url", "arguments", "word"),
    [
        ("http://stream.bybit.com/v5/public/linear", {}, "WebSocket"),
        ("stream.bybit.com/v5/public/linear", {}, "WebSocket"),
        ("ws:///v5/public/linear", {}, "WebSocket"),
        ("ws://[::1/v5/public/linear", {}, "IPv6"),
        ("ws://127.0.0.1:99999/v5/public/linear", {}, "Port"),
        ("ws://127.0.0.1:9001/v5/public", {}, "give product="),
        (URL, {"product": "lineal"}, '"lineal"'),
        (URL, {"ping_interval_s": 21}, "ping_interval_s"),
        (URL, {"pong_timeout_s": 0}, "pong_timeout_s"),
        (URL, {"connect_timeout_s": "soon"}, "connect_timeout_s"),
        (URL, {"max_attempts": -1}, "max_attempts"),
        (URL, {"max_records": 0}, "max_records"),
        (PRIVATE_URL, {}, "needs api_key= and api_secret="),
        (PRIVATE_URL, {"api_key": SECRET}, "api_key is given without api_secret"),
        (PRIVATE_URL, {"api_secret": SECRET}, "api_secret is given without api_key"),
        (PRIVATE_URL, {"api_key": SECRET, "api_secret": ""}, "api_secret is text, .* this one is empty"),
        (PRIVATE_URL, {"api_key": SECRET.encode(), "api_secret": SECRET}, "api_key is text, .* this one is a bytes"),
        (URL, {"api_key": SECRET, "api_secret": SECRET}, "api_key is for the private stream; linear is public"),
        ("ws://stream.bybit.com/v5/private", {"api_key": SECRET, "api_secret": SECRET}, "not encrypted"),
        (f"ws://KEY:{SECRET}@127.0.0.1:1/v5/private", {}, "a password"),
    ],
)
def test_senseless_argument_is_refused_at_once(url: str, arguments: dict[str, Any], word: str) -> None:
    """What cannot be meant raises where it is written, and the text says what it was."""
    with pytest.raises(feedhandler.ArgumentError, match=word) as raised:
        feedhandler.connect(url, **arguments)
    assert isinstance(raised.value, feedhandler.FeedError)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("given", [SECRET, lambda: SECRET, feedhandler.SecretSource(env="BYBIT_API_SECRET")])
def test_secret_may_be_text_a_function_or_a_place(given: Any) -> None:
    """And the client shows nothing of it."""
    client = feedhandler.connect(PRIVATE_URL, api_key=given, api_secret=given)
    assert SECRET not in repr(client) + repr(vars(client))


@pytest.mark.parametrize(
    ("url", "wanted", "word"),
    [
        (URL, ["order"], "order is a private stream"),
        ("ws://127.0.0.1:9001/v5/private", ["publicTrade.BTCUSDT"], "publicTrade"),
        ("ws://127.0.0.1:9001/v5/private", ["order", "order.linear"], "order.linear"),
    ],
)
def test_topic_of_another_kind_is_refused_before_anything_is_dialled(url: str, wanted: list[str], word: str) -> None:
    """Private ones on a public stream, public ones on a private stream, and what the venue does not take together."""

    async def scenario() -> None:
        client = feedhandler.connect(url)
        with pytest.raises(feedhandler.TopicError, match=word):
            await client.subscribe(*wanted)
        await client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("url", "network", "simulated"),
    [
        ("wss://stream.bybit.com/v5/public/linear", "mainnet", False),
        ("wss://STREAM.bybit.com/v5/public/linear", "mainnet", False),
        ("wss://stream.bybit.eu/v5/public/spot", "mainnet", False),
        ("wss://stream.bytick.com/v5/public/spot", "mainnet", False),
        ("wss://stream-testnet.bybit.com/v5/public/linear", "testnet", False),
        ("wss://example.org/v5/public/linear", "", False),
        ("ws://127.0.0.2:9001/v5/public/linear", "sim", True),
        ("ws://localhost:9001/v5/public/linear", "sim", True),
    ],
)
def test_network_is_told_by_the_host(url: str, network: str, simulated: bool) -> None:
    """What comes from this machine is no venue's; a host that we do not know is none in particular."""
    client = feedhandler.connect(url)
    assert (client.network, client.simulated) == (network, simulated)


def test_nothing_is_dialled_before_it_is_used() -> None:
    """A client can be made where no event loop runs."""
    assert feedhandler.connect(URL).url == URL


def test_closing_a_client_that_was_never_opened_is_nothing() -> None:
    """It may be closed, and then nothing more may be asked of it."""

    async def scenario() -> None:
        client = feedhandler.connect(URL)
        await client.close()
        assert [record async for record in client] == []
        with pytest.raises(feedhandler.ClosedError, match="is closed"):
            await client.subscribe("orderbook.50.BTCUSDT")
        with pytest.raises(feedhandler.ClosedError):
            await client.unsubscribe("orderbook.50.BTCUSDT")
        with pytest.raises(feedhandler.ClosedError):
            client.book("orderbook.50.BTCUSDT")
        with pytest.raises(feedhandler.ClosedError):
            async with client:
                pass

    asyncio.run(scenario())


def test_direct_client_brings_no_zeromq_along() -> None:
    """A script that only uses `connect` loads neither ZeroMQ nor the code around it."""
    program = f"import sys, feedhandler; feedhandler.connect({URL!r}); print('zmq' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", feedhandler.__all__)
def test_public_names_exist(name: str) -> None:
    """Every name that the package offers can be had from it."""
    assert getattr(feedhandler, name) is not None
    assert name in dir(feedhandler)
