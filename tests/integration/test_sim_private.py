"""The simulated Bybit's private socket, as a client meets it."""

import contextlib
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from support.simulator import ROOT, RawClient, Simulator, is_acknowledgement

from feedhandler.bybit import messages
from feedhandler.bybit.authentication import TEST_KEY

TOPICS = ("order", "execution", "execution.fast", "position", "wallet", "greeks")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    # The account acts when told: what a test waits for is what it asked for.
    with Simulator("--account-rate", "0", "--api-key", "further:its:secret") as running:
        yield running


@pytest.fixture(autouse=True)
def _as_it_was(simulator: Simulator) -> Iterator[None]:
    yield
    simulator.fault("off")
    simulator.settings(auth_close_s=0.5)
    for order in simulator.account()["orders"]:
        # The market may have filled it a moment ago.
        with contextlib.suppress(AssertionError):
            simulator.account("cancel", category=order["category"], symbol=order["symbol"], order=order["orderId"])


@pytest.fixture
def stranger(simulator: Simulator) -> Iterator[RawClient]:
    """A client that has not authenticated."""
    with simulator.client("private") as made:
        yield made


@pytest.fixture
def client(stranger: RawClient) -> RawClient:
    assert stranger.authenticate()["success"]
    return stranger


def topics_of(found: list[dict[str, Any]]) -> list[str]:
    return [message["topic"] for message in found if "topic" in message]


def test_auth_then_subscription_then_data(simulator: Simulator, stranger: RawClient) -> None:
    """Dossier 3.1, 3.2, 6: texts, key orders, and messages from then on; nothing of the past."""
    simulator.account("fill", maker=0)
    conn_id = stranger.authenticate(req_id="10001").pop("conn_id")
    stranger.request("subscribe", *TOPICS, req_id="2")
    assert (
        stranger.text()
        == f'{{"req_id":"2","success":true,"ret_msg":"","op":"subscribe","conn_id":"{conn_id}"}}'.encode()
    )
    simulator.account("fill", symbol="ETHUSDT", part=1, side="Buy")
    found = stranger.until(
        lambda message: message["topic"] == "order" and message["data"][0]["orderStatus"] == "Filled"
    )
    assert topics_of(found)[:3] == ["order", "position", "wallet"]
    assert {"execution", "execution.fast"} <= set(topics_of(found))
    assert {each["symbol"] for message in found for each in message["data"] if "symbol" in each} == {"ETHUSDT"}


def test_every_message_decodes_into_its_struct(simulator: Simulator, client: RawClient) -> None:
    """Each topic, each category: exactly as the project reads the venue's own."""
    client.subscribe(*TOPICS)
    for category in ("linear", "spot"):
        for do, query in (
            ("place", {}),
            ("amend", {}),
            ("fill", {"part": 0.4}),
            ("fill", {"maker": 0}),
            ("cancel", {}),
        ):
            simulator.account(do, category=category, **query)
    client.request("ping", req_id="end")
    seen = set()
    while b'"op":"pong"' not in (text := client.text()):
        topic = json.loads(text)["topic"]
        message = messages.decoder("private", topic, Decimal)(text)
        assert message.topic == topic
        seen.add(topic)
    assert seen == set(TOPICS) - {"greeks"}


def test_account_by_itself_tells_everything(simulator: Simulator) -> None:
    """At its own pace: all topics, and what its messages add up to is what it says of itself in the end."""
    del simulator
    with Simulator("--account-rate", "40") as busy, busy.client("private") as client:
        client.authenticate()
        client.subscribe(*TOPICS)
        seen: set[str] = set()
        filled: dict[str, Decimal] = defaultdict(Decimal)
        said: dict[str, Decimal] = {}

        def agrees(message: dict[str, Any]) -> bool:
            seen.add(message["topic"])
            for each in message["data"]:
                if message["topic"] == "execution":
                    filled[each["orderId"]] += Decimal(each["execQty"])
                elif message["topic"] == "order" and each["avgPrice"]:
                    said[each["orderId"]] = Decimal(each["cumExecQty"])
            return seen == set(TOPICS) and message["topic"] == "wallet" and filled == said and len(filled) > 3

        found = client.until(agrees, 30)
        executions = [each for message in found if message["topic"] == "execution" for each in message["data"]]
        fast = [each for message in found if message["topic"] == "execution.fast" for each in message["data"]]
        assert [each["execId"] for each in executions] == [each["execId"] for each in fast]


def test_categorised_topics_get_their_category(simulator: Simulator, client: RawClient) -> None:
    """``order.spot`` is silent when a contract is traded; messages carry the topic that was subscribed."""
    client.subscribe("order.spot", "execution.fast.linear")
    simulator.account("fill", category="linear", maker=0)
    simulator.account("place", category="spot")
    found = client.until(lambda message: message["topic"] == "order.spot")
    assert topics_of(found) == ["execution.fast.linear", "order.spot"]


def test_fills_are_public_trades(simulator: Simulator, client: RawClient) -> None:
    """Dossier 9.4: what the account trades, everybody sees."""
    with simulator.client("linear") as public:
        public.subscribe("publicTrade.SOLUSDT")
        client.subscribe("execution")
        for maker in (0, 1):
            simulator.account("fill", symbol="SOLUSDT", maker=maker)
            executions = client.message()["data"]
            wanted = {each["execId"] for each in executions}
            trades: dict[str, dict[str, Any]] = {}
            while not wanted <= set(trades):
                trades |= {trade["i"]: trade for trade in public.message()["data"]}
            for each in executions:
                trade = trades[each["execId"]]
                assert (float(each["execPrice"]), float(each["execQty"])) == (float(trade["p"]), float(trade["v"]))
                assert (each["seq"], each["execTime"]) == (trade["seq"], str(trade["T"]))


def test_orders_of_the_account_are_in_the_public_book(simulator: Simulator) -> None:
    """At their price, at least their size."""
    news = simulator.account("place", symbol="LTCUSDT", side="Buy")["news"]
    order = news[0]["data"][0]
    with simulator.client("linear") as public:
        public.request("subscribe", "orderbook.50.LTCUSDT")
        snapshot = public.until(lambda message: message.get("type") == "snapshot")[-1]
    levels = {float(price): float(size) for price, size in snapshot["data"]["b"]}
    # It may have been hit meanwhile, as the market begins to move with its first watcher.
    left = [each for each in simulator.account()["orders"] if each["orderId"] == order["orderId"]]
    assert all(levels[float(each["price"])] >= float(each["leavesQty"]) for each in left)
    assert left or order["symbol"] == "LTCUSDT"


def test_subscribing_before_auth_is_refused_and_may_be_done_after(stranger: RawClient) -> None:
    """Dossier 3.1; ping is answered all the same."""
    stranger.request("subscribe", "order")
    assert stranger.message()["ret_msg"] == "Request not authorized"
    stranger.request("ping")
    assert list(stranger.message()) == ["op", "args", "conn_id"]
    stranger.authenticate()
    assert stranger.subscribe("order")[-1]["success"]


def test_subscribing_in_a_hurry_is_refused(simulator: Simulator, stranger: RawClient) -> None:
    """Dossier 8: a subscription that races the answer to auth loses."""
    simulator.settings(ack_delay_ms=50)
    try:
        stranger.ask_authorization()
        stranger.request("subscribe", "order")
        assert stranger.message()["op"] == "auth"
        assert stranger.message()["ret_msg"] == "Request not authorized"
    finally:
        simulator.settings(ack_delay_ms=1)


def test_failed_auth_ends_the_connection(simulator: Simulator, stranger: RawClient) -> None:
    """Dossier 3.1: answered, then cut after a short time, which is a setting."""
    simulator.settings(auth_close_s=0.3)
    before = simulator.stats()["totals"].get("auth_cuts", 0)
    assert stranger.authenticate(TEST_KEY, "wrong")["ret_msg"] == "Params Error"
    answered_s = time.monotonic()
    with pytest.raises(EOFError):
        stranger.drain()
    assert 0.2 < time.monotonic() - answered_s < 2.0
    stats = simulator.stats()
    assert stats["totals"]["auth_cuts"] == before + 1
    assert stats["refused_requests"]["auth: Params Error"] >= 1


def test_failed_auth_may_be_tried_again_where_the_socket_stays(simulator: Simulator, stranger: RawClient) -> None:
    """``auth_close_s`` below 0."""
    simulator.settings(auth_close_s=-1)
    assert not stranger.authenticate(expires_in_s=-1)["success"]
    assert stranger.authenticate(key="nobody")["ret_msg"] == "error:USVC1111"
    assert stranger.authenticate()["success"]
    assert {"product": "private", "is_authorized": True}.items() <= simulator.stats()["connections"][-1].items()


def test_further_keys_are_accepted(stranger: RawClient) -> None:
    """``--api-key``; the secret may contain a colon."""
    assert stranger.authenticate("further", "its:secret")["success"]


@pytest.mark.parametrize("options", [("--api-key", "nosecret"), ("--api-key", ":x"), ("--account-rate", "-1")])
def test_senseless_options_are_refused(options: tuple[str, str]) -> None:
    """Exit 2; a key is not echoed."""
    ended = subprocess.run(
        [sys.executable, "-m", "feedhandler.sim", *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 2
    assert options[0] in ended.stderr
    assert "nosecret" not in ended.stderr


def test_public_topics_here_and_private_topics_there_are_refused(simulator: Simulator, client: RawClient) -> None:
    """Dossier 3.4, 6."""
    client.request("subscribe", "wallet", "orderbook.50.BTCUSDT")
    assert client.message()["ret_msg"] == "error:handler not found,topic:orderbook.50.BTCUSDT"
    with simulator.client("linear") as public:
        public.request("subscribe", "order")
        assert public.message()["ret_msg"] == "error:handler not found,topic:order"
        public.request("auth")
        assert public.message()["ret_msg"] == "error:invalid op"


def test_unsubscribed_topic_is_silent(simulator: Simulator, client: RawClient) -> None:
    """Only the named one."""
    client.subscribe("order", "wallet")
    client.request("unsubscribe", "order")
    client.until(is_acknowledgement)
    simulator.account("fill", maker=0)
    client.request("ping")
    assert topics_of(client.until(lambda message: message.get("op") == "pong")) == ["wallet"]


def test_quiet_topics_are_accepted_and_silent(simulator: Simulator, client: RawClient) -> None:
    """Nothing of their kind is done by the account."""
    client.subscribe("dcp.future", "strategy", "spread.order", "rfq.open.rfqs", "position.option")
    simulator.account("fill", maker=0)
    client.request("ping")
    assert topics_of(client.until(lambda message: message.get("op") == "pong")) == []


def test_account_page_refuses_what_makes_no_sense(simulator: Simulator) -> None:
    """With words that help; without ``do`` it shows the state."""
    for query, words in (
        ({"do": "dance"}, "place, amend, fill or cancel"),
        ({"do": "fill", "symbol": "NOPEUSDT"}, "NOPEUSDT"),
        ({"do": "fill", "category": "inverse"}, "inverse"),
        ({"do": "fill", "colour": "red"}, "colour"),
    ):
        with pytest.raises(AssertionError, match=words):
            simulator.get("/sim/account", **query)
    assert set(simulator.account()) == {"wallet", "positions", "orders", "executions", "fees"}


# -- time-outs ----------------------------------------------------------------------------------------------------------


def test_connection_without_ping_is_cut_at_its_active_time() -> None:
    """Dossier 1.3: after ``max_active_time``, up to one sweep of 30 s late; pings and data keep it, no subscription is fine.

    A hundred times faster than the venue.
    """
    with Simulator("--time-factor", "0.01", "--account-rate", "0") as simulator:
        began_s = time.monotonic()
        short = RawClient(simulator.port, path="/v5/private?max_active_time=30s")
        pinged = RawClient(simulator.port, path="/v5/private?max_active_time=30s")
        listener = RawClient(simulator.port, path="/v5/private?max_active_time=30s")
        trade = RawClient(simulator.port, path="/v5/trade?max_active_time=1m")
        usual = RawClient(simulator.port, "private")
        listener.authenticate()
        listener.subscribe("wallet")
        short.socket.settimeout(0.05)
        cut_s = 0.0
        while time.monotonic() - began_s < 3.0:
            pinged.request("ping")
            pinged.message()
            simulator.account("place" if not simulator.account()["orders"] else "cancel")
            if cut_s == 0.0:
                try:
                    short.frame()
                except TimeoutError:
                    pass
                except EOFError:
                    cut_s = time.monotonic() - began_s
        assert 0.3 <= cut_s < 1.2
        with pytest.raises(EOFError):
            trade.drain()
        assert simulator.stats()["totals"]["inactive_cuts"] == 2
        for alive in (pinged, listener, usual):
            alive.request("ping")
            alive.until(lambda message: message.get("op") == "pong")
            alive.close()
        short.close()
        trade.close()


# -- faults ---------------------------------------------------------------------------------------------------------------


def test_fault_refuses_auth_a_number_of_times(simulator: Simulator) -> None:
    """With words of the tester's choice; then it works again."""
    simulator.fault("reject_auth", count=2, text="error:request expired")
    for _ in range(2):
        with simulator.client("private") as refused:
            assert refused.authenticate()["ret_msg"] == "error:request expired"
    with simulator.client("private") as accepted:
        assert accepted.authenticate()["success"]


def test_fault_leaves_auth_without_answer(simulator: Simulator, stranger: RawClient) -> None:
    """And the connection unauthorized; pongs go on."""
    simulator.fault("noauth")
    stranger.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        stranger.authenticate()
    stranger.socket.settimeout(10)
    stranger.request("subscribe", "order")
    assert stranger.message()["ret_msg"] == "Request not authorized"
    stranger.request("ping")
    assert stranger.message()["op"] == "pong"


def test_missing_acknowledgements_are_those_of_subscriptions(simulator: Simulator, stranger: RawClient) -> None:
    """``noack`` leaves auth alone; data come all the same."""
    simulator.fault("noack", product="private")
    assert stranger.authenticate()["success"]
    stranger.request("subscribe", "order")
    simulator.wait_for(lambda stats: stats["connections"][-1]["topics"] == ["order"])
    # Data begin when the acknowledgement would have gone out.
    deadline_s = time.monotonic() + 5
    stranger.socket.settimeout(0.1)
    while True:
        simulator.account("fill", maker=0)
        try:
            assert stranger.message()["topic"] == "order"
            break
        except TimeoutError:
            assert time.monotonic() < deadline_s


@pytest.mark.parametrize("kind", ["reset", "eof"])
def test_private_sockets_end_like_others(simulator: Simulator, client: RawClient, kind: str) -> None:
    """By product."""
    client.subscribe("order")
    assert len(simulator.fault(kind, product="private")["hit"]) == 1
    with pytest.raises(ConnectionResetError if kind == "reset" else EOFError):
        client.drain()


def test_handshakes_are_refused(simulator: Simulator) -> None:
    """By product, too."""
    simulator.fault("refuse", product="private", status="502")
    with pytest.raises(Exception, match="502"):
        RawClient(simulator.port, "private")


def test_mute_topic_and_stalled_connection(simulator: Simulator, client: RawClient) -> None:
    """One topic without data while others flow; then nothing at all."""
    client.subscribe("order", "wallet")
    simulator.fault("mute", topic="order")
    simulator.account("fill", maker=0)
    client.request("ping")
    assert topics_of(client.until(lambda message: message.get("op") == "pong")) == ["wallet"]
    simulator.fault("stall", product="private")
    simulator.account("fill", maker=0)
    client.request("ping")
    assert client.collect(0.3) == []


def test_pongs_stop_while_data_go_on(simulator: Simulator, client: RawClient) -> None:
    """``nopong``."""
    client.subscribe("wallet")
    simulator.fault("nopong", product="private")
    client.request("ping")
    simulator.account("fill", maker=0)
    assert topics_of(client.collect(0.3)) == ["wallet"]


def test_frames_are_altered_as_on_public_sockets(simulator: Simulator, client: RawClient) -> None:
    """Duplicates, gaps, skew, unknown fields."""
    client.subscribe("wallet")
    simulator.fault("duplicate", topic="wallet")
    simulator.account("fill", maker=0)
    first, second = client.text(), client.text()
    assert first == second
    simulator.fault("skip", topic="wallet")
    simulator.account("fill", maker=0)
    simulator.fault("extra_fields", topic="wallet", count=1)
    simulator.fault("skew", topic="wallet", count=1, ms=-60_000)
    simulator.account("fill", maker=0)
    message = client.message()
    assert {"venueNote", "lastKey"} <= set(message)
    assert "newField" in message["data"][0]
    assert message["creationTime"] < time.time() * 1000 - 50_000


# -- orders ---------------------------------------------------------------------------------------------------------------


def test_order_socket_is_polite(simulator: Simulator) -> None:
    """Dossier 3.1, 7: auth in its own shape; orders are refused, for none are taken."""
    with simulator.client("trade") as client:
        client.request("order.create", reqId="1")
        assert client.message()["retCode"] == 10004
        assert client.authenticate(reqId="2").items() >= {"reqId": "2", "retCode": 0, "op": "auth"}.items()
        client.request("order.create", reqId="3")
        assert client.message().items() >= {"reqId": "3", "retCode": 10404, "data": {}}.items()
        client.request("ping")
        assert list(client.message()) == ["retCode", "retMsg", "op", "data", "connId"]
