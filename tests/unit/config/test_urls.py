"""URLs of one's own: what is wrong with them, what they serve, and that they are never shown."""

import pytest

from feedhandler.bybit.products import HOSTS, PRODUCTS, SITES
from feedhandler.config import urls


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ws://127.0.0.1:9001/v5/public/linear", ""),
        ("wss://stream.bybit.com/v5/private?max_active_time=60s", ""),
        ("wss://x/?symbol=BTC&monkeys=2&design=x&author=me", ""),
        ("ws://[::1/hush", "is no URL"),
        ("ws://me@x/hush", "a user name"),
        ("https://x/hush", "must begin with"),
        ("ws:///hush", "has no host"),
        ("ws://x/ hush", "has no host"),
        ("ws://x:hush/", "port"),
        ("ws://x:0/hush", "port"),
        ("ws://x/#hush", "fragment"),
    ],
)
def test_what_is_wrong_is_said_without_the_url(url: str, words: str) -> None:
    """Nothing for a URL that is whole."""
    text = urls.wrong(url)
    assert words in text
    assert bool(text) is bool(words)
    assert "hush" not in text


@pytest.mark.parametrize(
    "name",
    ["api_key", "apikey", "API-KEY", "token", "access_token", "secret", "password", "key", "listenKey", "sign", "auth"],
)
@pytest.mark.parametrize("value", ["hush", ""])
def test_secret_in_the_query_is_told_by_its_name(name: str, value: str) -> None:
    """Wherever it stands; what it is is never said."""
    text = urls.wrong(f"wss://x/y?a=1&{name}={value}&b=2")
    assert text == f'holds "{name}" in its query: secrets do not belong in this file'


def test_each_product_is_known_by_its_path() -> None:
    """On any host and behind any other path; what the venue does not serve may be anything."""
    for product in PRODUCTS.values():
        for start in ("ws://127.0.0.1:1", "wss://example.org/proxy"):
            for other in PRODUCTS:
                told = urls.misplaced(f"{start}{product.path}/?x=1", other)
                assert (f"serves {product.name}, not {other} (" in told) is (other != product.name)
    assert urls.misplaced("ws://127.0.0.1:1/v5/public/linear/replayed", "spot") == ""
    assert "nothing is streamed" in urls.misplaced("wss://x/v5/trade", "private")


def test_venue_is_known_by_its_hosts() -> None:
    """Every site and network of it, and nothing that only sounds alike."""
    for start in (*HOSTS.values(), *SITES.values()):
        assert urls.is_venue(f"{start}/v5/private")
    for url in ("ws://127.0.0.1:1/v5", "wss://notbybit.com/", "wss://stream.bybit.com.example.org/"):
        assert not urls.is_venue(url)
