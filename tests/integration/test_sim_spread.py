"""The simulated Bybit's spread socket, as a client meets it."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from support.simulator import RawClient, Simulator, is_acknowledgement

from feedhandler.bybit import messages

SYMBOL = "SOLUSDT_SOL/USDT"
BOOK, TRADES, TICKER = (f"{stream}.{SYMBOL}" for stream in ("orderbook.25", "publicTrade", "tickers"))


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator("--rate", "8") as running:
        yield running


@pytest.fixture
def client(simulator: Simulator) -> Iterator[RawClient]:
    with simulator.client("spread") as made:
        yield made
    simulator.fault("off")


def acknowledgement(client: RawClient) -> bytes:
    while b'"success"' not in (text := client.text()):
        pass
    return text


def conn_id(client: RawClient) -> str:
    client.request("ping", req_id="x")
    text = client.text()
    found: str = json.loads(text)["conn_id"]
    # Dossier 2.2: the shape of option and spread, whatever was sent.
    assert text == f'{{"args":["{json.loads(text)["args"][0]}"],"conn_id":"{found}","op":"pong"}}'.encode()
    return found


def test_acknowledgements_list_topics(client: RawClient) -> None:
    """Dossier 3.2, 3.3: ``COMMAND_RESP`` without ``op`` and ``req_id``; symbols with slash and underscore as they are."""
    own = conn_id(client)
    client.request("subscribe", BOOK, TICKER, "tickers.NOPE_NOPE/USDT", req_id="1")
    assert (
        acknowledgement(client)
        == (
            f'{{"success":true,"conn_id":"{own}","data":{{"failTopics":["tickers.NOPE_NOPE/USDT"],'
            f'"successTopics":["{BOOK}","{TICKER}"]}},"type":"COMMAND_RESP"}}'
        ).encode()
    )
    client.request("unsubscribe", TICKER)
    assert (
        acknowledgement(client)
        == (
            f'{{"success":true,"conn_id":"{own}","data":{{"failTopics":[],"successTopics":["{TICKER}"]}},'
            '"type":"COMMAND_RESP"}'
        ).encode()
    )


def test_all_streams_flow_and_decode(client: RawClient) -> None:
    """Book, trades, ticker: exactly as the project reads the venue's own."""
    client.request("subscribe", BOOK, TRADES, TICKER)
    seen: dict[str, int] = {}
    while len(seen) < 3 or seen[BOOK] < 20:
        text = client.text()
        topic = json.loads(text).get("topic")
        if topic is None:
            continue
        assert messages.decoder("spread", topic)(text).topic == topic
        seen[topic] = seen.get(topic, 0) + 1


def test_book_begins_with_a_snapshot_and_is_without_gaps(simulator: Simulator, client: RawClient) -> None:
    """As everywhere; and a gap can be made."""

    def books(count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(found) < count:
            message = client.message()
            found += [message] if message.get("topic") == BOOK else []
        return found

    client.request("subscribe", BOOK)
    found = books(20)
    assert [message["type"] for message in found] == ["snapshot", *["delta"] * 19]
    assert {after["data"]["u"] - before["data"]["u"] for before, after in pairwise(found)} == {1}
    simulator.fault("skip", topic=BOOK)
    found = found[-1:] + books(10)
    assert {after["data"]["u"] - before["data"]["u"] for before, after in pairwise(found)} == {1, 2}


def test_unserved_depth_is_accepted_and_silent(client: RawClient) -> None:
    """Dossier 9.3."""
    client.request("subscribe", f"orderbook.50.{SYMBOL}")
    assert client.message()["data"]["successTopics"] == [f"orderbook.50.{SYMBOL}"]
    assert client.collect(0.3) == []


def test_topics_of_other_products_fail(simulator: Simulator, client: RawClient) -> None:
    """A spread is no symbol elsewhere, and others are none here."""
    client.request("subscribe", "tickers.SOLUSDT")
    assert client.message()["data"]["failTopics"] == ["tickers.SOLUSDT"]
    with simulator.client("linear") as linear:
        linear.request("subscribe", TICKER)
        assert not linear.until(is_acknowledgement)[-1]["success"]


def test_delisted_spread_goes_quiet_and_fails(simulator: Simulator, client: RawClient) -> None:
    """As any symbol."""
    client.request("subscribe", TRADES)
    client.until(is_acknowledgement)
    assert simulator.fault("delist", product="spread", symbol=SYMBOL)["quiet"] == [TRADES]
    client.request("subscribe", TICKER)
    assert client.until(is_acknowledgement)[-1]["data"]["failTopics"] == [TICKER]
    simulator.fault("relist")
