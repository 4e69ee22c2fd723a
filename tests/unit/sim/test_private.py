"""Private topics and the envelopes of their messages."""

import json

import pytest

from feedhandler.sim.account import News
from feedhandler.sim.listing import Listing
from feedhandler.sim.market import Market
from feedhandler.sim.private import PrivateStream, family_of

NOW_NS = 1_760_000_000_000_000_000
ITEM = {"category": "linear", "n": 1}


@pytest.mark.parametrize(
    ("topic", "found"),
    [
        ("order", ("order", "")),
        ("order.linear", ("order", "linear")),
        ("execution.fast", ("execution.fast", "")),
        ("execution.fast.spot", ("execution.fast", "spot")),
        ("dcp.future", ("dcp", "future")),
        ("rfq.open.rfqs", ("rfq.open.rfqs", "")),
        ("dcp", None),
        ("position.spot", None),
        ("execution.slow", None),
        ("news", None),
    ],
)
def test_topic_is_taken_apart(topic: str, found: tuple[str, str] | None) -> None:
    """Family and category; None where there is no such topic."""
    assert family_of(topic) == found


def text(topic: str, news: News) -> str | None:
    payload = PrivateStream(topic).message(news, NOW_NS)
    return None if payload is None else payload.decode()


def test_envelopes() -> None:
    """Dossier 6: ``id`` first for position, wallet and greeks; ``topic`` first else; none for fast executions."""
    order = News("order", "linear", "1_BTCUSDT_7", [ITEM])
    tail = '"creationTime":1760000000000,"data":[{"category":"linear","n":1}]}'
    assert text("order", order) == f'{{"topic":"order","id":"1_BTCUSDT_7",{tail}'
    assert text("order.linear", order) == f'{{"topic":"order.linear","id":"1_BTCUSDT_7",{tail}'
    assert text("position", News("position", "linear", "x", [ITEM])) == f'{{"id":"x","topic":"position",{tail}'
    assert text("execution.fast", News("execution.fast", "linear", "", [ITEM])) == (
        f'{{"topic":"execution.fast",{tail}'
    )


def test_topic_by_category_may_go_by_the_plain_name() -> None:
    """No recording shows how the venue calls it."""
    payload = PrivateStream("order.linear").message(News("order", "linear", "7", [ITEM]), NOW_NS, is_plain=True)
    assert payload is not None
    assert json.loads(payload)["topic"] == "order"


def test_topic_gets_its_family_and_category_only() -> None:
    """``order`` is all categories, ``order.spot`` one; executions and fast executions are two families."""
    order = News("order", "linear", "x", [ITEM])
    assert text("order.spot", order) is None
    assert text("execution", order) is None
    assert text("execution", News("execution.fast", "linear", "", [ITEM])) is None
    wallet = text("wallet", News("wallet", "", "x", [{"accountType": "UNIFIED"}]))
    assert wallet is not None
    assert list(json.loads(wallet)) == ["id", "topic", "creationTime", "data"]


@pytest.mark.parametrize("topic", ["dcp.spot", "strategy", "news", "order.BTCUSDT"])
def test_nothing_comes_on_other_topics(topic: str) -> None:
    """Accepted and silent, or unknown: no stream is built."""
    with pytest.raises(LookupError):
        PrivateStream(topic)


def test_stream_has_no_past_and_no_grid() -> None:
    """Dossier 6: no snapshot; markets do not move it."""
    stream = PrivateStream("order")
    assert stream.first(NOW_NS) is None
    assert stream.publish(NOW_NS) == []
    assert stream.interval_ns == 0
    assert not stream.touched(Market(Listing().instrument("linear", "BTCUSDT"), 1, NOW_NS), [])
