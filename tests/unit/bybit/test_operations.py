"""Bybit's operations: requests as they go out, answers in every shape we can read."""

import pytest

from feedhandler.bybit.operations import (
    PING,
    Acknowledgement,
    Pong,
    Request,
    already_subscribed,
    named_topic,
    parse_reply,
)


def test_ping_is_the_application_ping() -> None:
    """The ping is the JSON message, not a WebSocket control frame (dossier 2.2)."""
    assert PING == b'{"op":"ping"}'


def test_request_is_written_as_the_venue_documents_it() -> None:
    """A request is compact JSON: req_id, op, args."""
    request = Request("7", "subscribe", ["orderbook.1.BTCUSDT", "publicTrade.BTCUSDT"])
    assert request.encode() == b'{"req_id":"7","op":"subscribe","args":["orderbook.1.BTCUSDT","publicTrade.BTCUSDT"]}'


@pytest.mark.parametrize(
    ("args", "venue_time_ms"),
    [
        (b"[]", None),
        (b'["1672916271846"]', 1672916271846),
        (b"[1672916271846]", 1672916271846),
        (b'["not a time"]', None),
        (b'[""]', None),
        (b'["-1"]', None),
        (b'["' + b"9" * 18 + b'"]', 10**18 - 1),
        (b'["' + b"9" * 19 + b'"]', None),
        (b'["' + b"9" * 5000 + b'"]', None),
    ],
    ids=["none", "text", "number", "word", "empty", "negative", "longest", "too long", "thousands of digits"],
)
def test_pong_is_a_pong_whatever_its_time(args: bytes, venue_time_ms: int | None) -> None:
    """A pong counts as one even where its time cannot be read: a live connection is not given up for a number."""
    assert parse_reply(b'{"op":"pong","args":' + args + b"}") == Pong(venue_time_ms)


def test_failed_ping_is_no_pong() -> None:
    """A refusal of the ping is a refusal."""
    assert parse_reply(b'{"success":false,"ret_msg":"error:invalid op","op":"ping"}') == Acknowledgement(
        "ping", success=False, req_id="", text="error:invalid op"
    )


def test_numeric_request_id_is_text() -> None:
    """A request id comes out as text, also where the venue sends a number."""
    assert parse_reply(b'{"success":true,"req_id":50869,"op":"subscribe"}') == Acknowledgement(
        "subscribe", success=True, req_id="50869", text=""
    )


def test_text_is_left_as_the_venue_wrote_it() -> None:
    """Only JSON's escapes are undone: a name with an ampersand keeps it."""
    reply = parse_reply(
        b'{"success":false,"ret_msg":"error:handler not found,topic:tickers.A&ampUSDT","op":"subscribe"}'
    )
    assert isinstance(reply, Acknowledgement)
    assert named_topic(reply.text) == "tickers.A&ampUSDT"


@pytest.mark.parametrize("success", [b"", b'"success":true,'])
def test_topic_lists_decide_where_success_is_absent(success: bytes) -> None:
    """An acknowledgement by topic needs no success field."""
    assert parse_reply(
        b"{" + success + b'"data":{"failTopics":["b"],"successTopics":["a"]},"type":"COMMAND_RESP"}'
    ) == Acknowledgement("", success=True, req_id="", text="", succeeded=("a",), failed=("b",))


def test_topic_lists_may_be_null() -> None:
    """A null list is an empty one: Go writes so, and the acknowledgement of the others must not be lost."""
    assert parse_reply(
        b'{"success":true,"data":{"failTopics":null,"successTopics":["a"]},"type":"COMMAND_RESP"}'
    ) == Acknowledgement("", success=True, req_id="", text="", succeeded=("a",))


def test_acknowledgement_by_topic_can_fail() -> None:
    """An acknowledgement by topic with success false stays a failure."""
    reply = parse_reply(b'{"success":false,"ret_msg":"no","data":{"failTopics":["a"]},"type":"COMMAND_RESP"}')
    assert reply == Acknowledgement("", success=False, req_id="", text="no", failed=("a",))


@pytest.mark.parametrize(("code", "success"), [(b"0", True), (b"10004", False)])
def test_return_code_decides_on_the_trade_socket(code: bytes, success: bool) -> None:
    """The camelCase shape succeeds where its code is 0."""
    assert parse_reply(b'{"reqId":"9","retCode":' + code + b',"retMsg":"words","op":"auth"}') == Acknowledgement(
        "auth", success=success, req_id="9", text="words"
    )


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"pong",
        b"[]",
        b"{}",
        b"\xff",
        b'{"op":"\xff"}',
        b'{"op":"subscribe"}',
        b'{"success":"yes"}',
        b'{"topic":"tickers.BTCUSDT","type":"snapshot","ts":1,"data":{"symbol":"BTCUSDT"}}',
        b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[{"i":"1"}]}',
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["empty", "word", "array", "object", "byte", "not UTF-8", "request", "type", "ticker", "trades", "nested"],
)
def test_what_is_no_answer_is_none(payload: bytes) -> None:
    """What is not JSON, or JSON but no answer, is None: the caller counts it."""
    assert parse_reply(payload) is None


@pytest.mark.parametrize("text", ["", "error:invalid op", "Request not authorized", "args size >10"])
def test_refusal_that_names_nothing_names_nothing(text: str) -> None:
    """A text without a topic gives the empty string."""
    assert named_topic(text) == ""


def test_other_refusals_are_not_already_subscribed() -> None:
    """Only the venue's own words mean that the state is as wanted."""
    assert not already_subscribed("error:handler not found,topic:orderbook.50.NOPEUSDT")
