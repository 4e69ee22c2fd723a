"""Sessions of the sockets that begin with ``auth``: texts, orders of keys, and what is refused when."""

import json
from typing import Any

import pytest

from feedhandler.bybit.authentication import TEST_KEY, TEST_SECRET, signature
from feedhandler.sim.exchange import Exchange
from feedhandler.sim.listing import Listing
from feedhandler.sim.session import Outcome, Settings
from feedhandler.sim.signed import DEFAULT_ACTIVE_S, PrivateSession, TradeSession, active_time_s

NOW_NS = 1_760_000_000_000_000_000
KEYS = {TEST_KEY: TEST_SECRET}


def private(**more: Any) -> PrivateSession:
    return PrivateSession("ID", Exchange(Listing()), Settings(), keys=KEYS, **more)


def authorized(**more: Any) -> PrivateSession:
    subject = private(**more)
    subject.is_authorized = True
    return subject


def ask(subject: PrivateSession, op: str, *args: object, **more: object) -> Outcome:
    fields = {"op": op} | ({"args": args} if args else {}) | more
    return subject.handle(json.dumps(fields).encode(), NOW_NS)


def auth(subject: PrivateSession, secret: str = TEST_SECRET, **more: Any) -> Outcome:
    expires_ms = NOW_NS // 10**6 + 1000
    return ask(subject, "auth", TEST_KEY, expires_ms, signature(secret, expires_ms), **more)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, '{"success":true,"ret_msg":"","op":"auth","conn_id":"ID"}'),
        ({"req_id": "10001"}, '{"req_id":"10001","success":true,"ret_msg":"","op":"auth","conn_id":"ID"}'),
        ({"req_id": 7}, '{"req_id":"7","success":true,"ret_msg":"","op":"auth","conn_id":"ID"}'),
    ],
)
def test_auth_is_acknowledged(more: dict[str, Any], text: str) -> None:
    """Dossier 3.1: ``req_id`` first if one was sent; the connection is authorized once that has gone out."""
    subject = private()
    outcome = auth(subject, **more)
    assert outcome.reply.decode() == text
    assert (outcome.authorizes, outcome.ends, subject.is_authorized) == (True, False, False)


def test_wrong_signature_is_refused_and_ends_the_connection() -> None:
    """Dossier 3.1: the failure's text and keys; the server tends to close."""
    outcome = auth(private(), "wrong", req_id="1")
    assert outcome.reply.decode() == (
        '{"req_id":"1","success":false,"ret_msg":"Params Error","op":"auth","conn_id":"ID"}'
    )
    assert (outcome.authorizes, outcome.ends, outcome.refused) == (False, True, "auth: Params Error")


def test_fault_refuses_what_is_right() -> None:
    """With its own words."""
    outcome = auth(private(auth_veto=lambda: "error:request expired"))
    assert json.loads(outcome.reply)["ret_msg"] == "error:request expired"
    assert (outcome.authorizes, outcome.ends) == (False, True)


@pytest.mark.parametrize("op", ["subscribe", "unsubscribe"])
def test_nothing_is_subscribed_before_auth(op: str) -> None:
    """Dossier 3.1."""
    subject = private()
    outcome = ask(subject, op, "order")
    assert outcome.reply.decode() == (
        f'{{"success":false,"ret_msg":"Request not authorized","op":"{op}","conn_id":"ID"}}'
    )
    assert (outcome.added, subject.topics) == ([], {})


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"req_id": "test"}, '{"req_id":"test","op":"pong","args":["1760000000000"],"conn_id":"ID"}'),
        ({}, '{"op":"pong","args":["1760000000000"],"conn_id":"ID"}'),
    ],
)
def test_pong(more: dict[str, Any], text: str) -> None:
    """Dossier 2.2: also before auth."""
    assert ask(private(), "ping", **more).reply.decode() == text


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"req_id": "2"}, '{"req_id":"2","success":true,"ret_msg":"","op":"subscribe","conn_id":"ID"}'),
        ({}, '{"success":true,"ret_msg":"","op":"subscribe","conn_id":"ID"}'),
    ],
)
def test_subscription_is_acknowledged(more: dict[str, Any], text: str) -> None:
    """Dossier 3.2."""
    subject = authorized()
    outcome = ask(subject, "subscribe", "order", "execution.fast.spot", **more)
    assert outcome.reply.decode() == text
    assert list(subject.topics) == outcome.added == ["order", "execution.fast.spot"]
    gone = ask(subject, "unsubscribe", "order")
    assert (gone.removed, json.loads(gone.reply)["op"]) == (["order"], "unsubscribe")


TOPICS = [
    *(f"{name}{suffix}" for name in ("order", "execution", "execution.fast") for suffix in ("", ".spot", ".linear")),
    *("order.option", "execution.inverse", "execution.fast.option"),
    *("position", "position.linear", "position.inverse", "position.option", "wallet", "greeks", "strategy"),
    *("dcp.future", "dcp.spot", "dcp.option", "spread.order", "spread.execution"),
    *("rfq.open.rfqs", "rfq.open.quotes", "rfq.open.trades"),
]


@pytest.mark.parametrize("topic", TOPICS)
def test_every_private_topic_is_accepted(topic: str) -> None:
    """Dossier 6: all of the table."""
    assert ask(authorized(), "subscribe", topic).added == [topic]


@pytest.mark.parametrize(
    "topic",
    [
        *("orderbook.50.BTCUSDT", "tickers.BTCUSDT", "news", "", "order.", "Order", "order.BTCUSDT", "position.spot"),
        *("wallet.linear", "dcp", "dcp.linear", "spread", "rfq.open", "execution.fast.fast"),
    ],
)
def test_other_topics_reject_the_whole_request(topic: str) -> None:
    """Dossier 6: wrong and public topics are refused on this socket."""
    subject = authorized()
    outcome = ask(subject, "subscribe", "wallet", topic)
    assert json.loads(outcome.reply)["ret_msg"] == f"error:handler not found,topic:{topic}"
    assert not subject.topics


@pytest.mark.parametrize(
    ("args", "offender"),
    [
        (("order", "wallet", "order.linear"), "order.linear"),
        (("execution.fast.spot", "execution.fast"), "execution.fast"),
        (("position.linear", "order", "position"), "position"),
    ],
)
def test_all_in_one_and_categorised_topics_do_not_mix(args: tuple[str, ...], offender: str) -> None:
    """Dossier 6: not in one request."""
    subject = authorized()
    outcome = ask(subject, "subscribe", *args)
    assert json.loads(outcome.reply)["ret_msg"].endswith(f",topic:{offender}")
    assert (outcome.added, subject.topics) == ([], {})


@pytest.mark.parametrize("args", [("order.linear", "order.spot"), ("execution", "execution.fast.linear", "order.spot")])
def test_topics_of_several_families_and_categories_do_mix(args: tuple[str, ...]) -> None:
    """What is not a part of another topic of the request."""
    assert ask(authorized(), "subscribe", *args).added == list(args)


def test_mixture_in_two_requests_is_accepted() -> None:
    """The venue forbids it in the same request."""
    subject = authorized()
    ask(subject, "subscribe", "order")
    assert ask(subject, "subscribe", "order.linear").added == ["order.linear"]


def test_duplicate_is_refused() -> None:
    """As on the public sockets."""
    subject = authorized()
    ask(subject, "subscribe", "order")
    assert json.loads(ask(subject, "subscribe", "order").reply)["ret_msg"] == "error:already subscribed,topic:order"


def test_recorded_topics_are_accepted_and_faults_refuse() -> None:
    """A replayed file, and a venue that refuses what is right."""
    subject = authorized(recorded={"order.pre"})
    assert ask(subject, "subscribe", "order.pre").added == ["order.pre"]
    assert ask(authorized(veto=lambda: "error:system busy"), "subscribe", "order").refused == "veto"


def test_unknown_operation_and_nonsense_are_answered() -> None:
    """In the socket's own order of keys."""
    assert ask(private(), "shout", req_id="9").reply.decode() == (
        '{"req_id":"9","success":false,"ret_msg":"error:invalid op","op":"shout","conn_id":"ID"}'
    )
    answer = json.loads(private().handle(b"hello", NOW_NS).reply)
    assert list(answer) == ["success", "ret_msg", "op", "conn_id"]
    assert answer["ret_msg"].startswith("Failed to decode incoming data:")


@pytest.mark.parametrize(
    ("query", "active_s"),
    [
        ("", 600),
        ("max_active_time=30s", 30),
        ("max_active_time=45s", 45),
        ("a=b&max_active_time=1m&c=d", 60),
        ("max_active_time=10m", 600),
        ("max_active_time=29s", 600),
        ("max_active_time=601s", 600),
        ("max_active_time=11m", 600),
        ("max_active_time=1h", 600),
        ("max_active_time=", 600),
        ("xmax_active_time=30s", 600),
    ],
)
def test_active_time_of_the_url(query: str, active_s: float) -> None:
    """Dossier 1.3: 30s to 600s, or minutes; 10 minutes without, and for what is not offered."""
    assert active_time_s(query) == active_s
    assert DEFAULT_ACTIVE_S == 600


def trade() -> TradeSession:
    return TradeSession("ID", Exchange(Listing()), Settings(), keys=KEYS)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, '{"retCode":0,"retMsg":"OK","op":"auth","connId":"ID"}'),
        ({"reqId": "1"}, '{"reqId":"1","retCode":0,"retMsg":"OK","op":"auth","connId":"ID"}'),
        ({"req_id": "1"}, '{"retCode":0,"retMsg":"OK","op":"auth","connId":"ID"}'),
    ],
)
def test_trade_socket_answers_auth_in_its_own_shape(more: dict[str, Any], text: str) -> None:
    """Dossier 3.1: camelCase, ``reqId`` in front."""
    outcome = auth(trade(), **more)
    assert outcome.reply.decode() == text
    assert outcome.authorizes


def test_trade_socket_refuses_auth_by_code() -> None:
    """Dossier 3.1: 10001 for parameters, 10004 for the key, 20001 the second time."""
    assert json.loads(auth(trade(), "wrong").reply)["retCode"] == 10001
    assert json.loads(ask(trade(), "auth", "nobody", NOW_NS // 10**6 + 9, "x").reply)["retCode"] == 10004
    subject = trade()
    subject.is_authorized = True
    again = auth(subject)
    assert (json.loads(again.reply)["retCode"], again.authorizes, again.ends) == (20001, False, False)


def test_trade_socket_pong() -> None:
    """Dossier 2.2."""
    assert ask(trade(), "ping").reply.decode() == (
        '{"retCode":0,"retMsg":"OK","op":"pong","data":["1760000000000"],"connId":"ID"}'
    )


def test_orders_are_refused() -> None:
    """None are taken here: 10404, before auth 10004, with the shape of an order's answer (dossier 7)."""
    subject = trade()
    assert json.loads(ask(subject, "order.create", {}).reply)["retCode"] == 10004
    subject.is_authorized = True
    assert ask(subject, "order.create", {}, reqId="q").reply.decode() == (
        '{"reqId":"q","retCode":10404,"retMsg":"op type is not found","op":"order.create","data":{},"retExtInfo":{},'
        '"connId":"ID"}'
    )
    answer = ask(subject, "subscribe", "order")
    assert (json.loads(answer.reply)["retCode"], answer.added) == (10404, [])
    assert json.loads(subject.handle(b"hello", NOW_NS).reply)["retCode"] == 10001
