"""Subjects and prefixes, and what ZeroMQ is told for them."""

import pytest

from feedhandler.client.interest import Interest, concerns, endpoint_of, is_control, is_prefix, nearest, zmq_filter
from feedhandler.errors import FeedError, SubjectError


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("linear.orderbook.50.BTCUSDT", b"linear.orderbook.50.BTCUSDT\0"),
        ("linear.publicTrade.", b"linear.publicTrade."),
        ("linear.publicTrade.*", b"linear.publicTrade."),
        ("linear.orderbook.50.BTC*", b"linear.orderbook.50.BTC"),
        ("linear.", b"linear."),
        ("*", b""),
    ],
)
def test_filter_by_the_rule(text: str, told: bytes) -> None:
    """A last "." or "*" marks a prefix; anything else is one subject, with the zero byte that ends it."""
    assert zmq_filter(text) == told
    assert is_prefix(text) is not told.endswith(b"\0")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("linear", 'write ENDPOINT.TOPIC, or "linear."'),
        ("", 'or "linear." for all of an endpoint'),
        (".publicTrade", "is no subject"),
        ("linear.*.BTCUSDT", "a star may only stand at its end"),
        ("linear.kline\0.1", "a star may only stand at its end"),
        (" linear.kline.1.BTCUSDT", "a star may only stand at its end"),
    ],
)
def test_nonsense_is_refused_in_words(text: str, words: str) -> None:
    """What can be neither is an error of the program that says what would be right."""
    with pytest.raises(SubjectError, match=words) as caught:
        zmq_filter(text)
    assert isinstance(caught.value, FeedError)
    assert isinstance(caught.value, ValueError)


def test_interest_matches_what_was_added() -> None:
    """Exactly one subject, or every one that begins so; a longer symbol is another subject."""
    interest = Interest()
    assert not interest.matches("linear.kline.1.BTCUSDT")
    interest.add("linear.kline.1.BTCUSDT")
    interest.add("spot.*")
    assert interest.prefixes == ("spot.",)
    assert interest.matches("linear.kline.1.BTCUSDT")
    assert not interest.matches("linear.kline.1.BTCUSDT-26SEP25")
    assert interest.matches("spot.tickers.BTCUSDT")


def test_interest_adds_and_removes_once() -> None:
    """A second time changes nothing; a filter that another subscription needs stays."""
    interest = Interest()
    assert interest.add("linear.") == b"linear."
    assert interest.add("linear.") is None
    assert interest.add("linear.*") == b"linear."
    assert interest.remove("linear.") is None
    assert interest.matches("linear.notice")
    assert interest.remove("linear.*") == b"linear."
    assert interest.remove("linear.*") is None
    assert not interest.matches("linear.notice")


def test_interest_knows_the_endpoints_it_concerns() -> None:
    """Only workers of these are connected."""
    interest = Interest()
    interest.add("linear.kline.1.BTCUSDT")
    assert interest.concerns("linear")
    assert not interest.concerns("linear2")
    assert not interest.concerns("spot")


@pytest.mark.parametrize(
    ("told", "endpoint", "expected"),
    [
        (b"linear.kline.1.BTCUSDT\0", "linear", True),
        (b"linear.", "linear", True),
        (b"lin", "linear", True),
        (b"", "spot", True),
        (b"linear.", "spot", False),
        (b"linear.", "", True),
    ],
)
def test_filter_concerns_an_endpoint(told: bytes, endpoint: str, expected: bool) -> None:
    """A filter that may match a subject of the endpoint concerns it; of an unknown endpoint anything may."""
    assert concerns(told, endpoint) is expected


def test_endpoint_of_a_subject() -> None:
    """The word before the first dot; a prefix without a dot leaves it open."""
    assert [endpoint_of(text) for text in ("linear.kline.1.X", "linear.", "lin*")] == ["linear", "linear", ""]


def test_control_subjects() -> None:
    """Heartbeats and notices have no state of their own."""
    assert is_control("linear.heartbeat.linear")
    assert is_control("linear.notice")
    assert not is_control("linear.orderbook.50.BTCUSDT")


@pytest.mark.parametrize(
    ("subject", "near"),
    [
        ("linear.orderbook.50.BTCUSTD", "linear.orderbook.50.BTCUSDT"),
        ("linear.orderbok.50.BTCUSDT", "linear.orderbook.50.BTCUSDT"),
        ("linear.orderbook.50.btcusdt", "linear.orderbook.50.BTCUSDT"),
        ("linea.orderbok.50.ETHUSD", "linear.orderbook.50.ETHUSDT"),
        ("zzz", ""),
    ],
)
def test_nearest_subject(subject: str, near: str) -> None:
    """What a misspelt subject probably means; nothing where nothing is near."""
    carried = ["linear.orderbook.50.BTCUSDT", "linear.orderbook.50.ETHUSDT", "spot.tickers.SOLUSDT"]
    assert nearest(subject, carried) == near
