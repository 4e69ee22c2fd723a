"""The venue's control messages, rule by rule, in the texts that the dossier quotes (sections 2.2 and 3.2 to 3.4).

Connection ids are made up; everything else of a frame is as quoted, key order included.
"""

import pytest

from feedhandler.bybit.operations import (
    Acknowledgement,
    Pong,
    Reply,
    already_subscribed,
    named_topic,
    parse_reply,
)

CONN = '"conn_id":"cejreaspqfh3sjdnldmg-p"'


def acknowledged(op: str, req_id: str = "", text: str = "") -> Acknowledgement:
    return Acknowledgement(op, success=True, req_id=req_id, text=text)


def refused(text: str, req_id: str = "", op: str = "subscribe") -> Acknowledgement:
    return Acknowledgement(op, success=False, req_id=req_id, text=text)


# Dossier 2.2: heartbeat.


@pytest.mark.parametrize(
    ("frame", "pong"),
    [
        pytest.param(f'{{"success":true,"ret_msg":"pong",{CONN},"op":"ping"}}', Pong(), id="spot"),
        pytest.param(
            f'{{"success":true,"ret_msg":"pong",{CONN},"req_id":"100001","op":"ping"}}', Pong(), id="spot, req_id sent"
        ),
        pytest.param(f'{{"success":true,"ret_msg":"pong",{CONN},"req_id":"","op":"ping"}}', Pong(), id="linear"),
        pytest.param('{"args":["1672916271846"],"op":"pong"}', Pong(1672916271846), id="option, documented"),
        pytest.param(
            '{"args":["1777226678908"],"conn_id":"yzr7jz02gws1vh60mk5m-hxqdp","op":"pong"}',
            Pong(1777226678908),
            id="option, live",
        ),
        pytest.param(
            f'{{"req_id":"test","op":"pong","args":["1675418560633"],{CONN}}}', Pong(1675418560633), id="private"
        ),
        pytest.param(
            '{"op":"pong","args":["1753340040127"],"conn_id":"d157a7favkf4mm3ibuvg-14toog"}',
            Pong(1753340040127),
            id="private, no req_id sent",
        ),
        pytest.param(
            '{"retCode":0,"retMsg":"OK","op":"pong","data":["1711002002529"],"connId":"cnt5leec0hvan15eukcg-2t"}',
            Pong(1711002002529),
            id="trade",
        ),
    ],
)
def test_2_2_every_pong_shape_is_a_pong_with_the_venues_time(frame: str, pong: Pong) -> None:
    """2.2: five pong shapes; the number inside args or data is the server time in ms."""
    assert parse_reply(frame.encode()) == pong


def test_2_2_numeric_request_id_comes_back_as_text() -> None:
    """2.2: a numeric req_id comes back as a string."""
    frame = f'{{"success":true,"ret_msg":"subscribe",{CONN},"req_id":"50869","op":"subscribe"}}'
    assert parse_reply(frame.encode()) == acknowledged("subscribe", "50869", "subscribe")


# Dossier 3.2: subscribe.


@pytest.mark.parametrize(
    ("frame", "acknowledgement"),
    [
        pytest.param(
            f'{{"success":true,"ret_msg":"subscribe",{CONN},"req_id":"10001","op":"subscribe"}}',
            acknowledged("subscribe", "10001", "subscribe"),
            id="spot",
        ),
        pytest.param(
            f'{{"success":true,"ret_msg":"subscribe",{CONN},"op":"subscribe"}}',
            acknowledged("subscribe", "", "subscribe"),
            id="spot, no req_id sent",
        ),
        pytest.param(
            f'{{"success":true,"ret_msg":"",{CONN},"req_id":"","op":"subscribe"}}',
            acknowledged("subscribe"),
            id="linear, no req_id sent",
        ),
        pytest.param(
            f'{{"success":true,"ret_msg":"",{CONN},"req_id":"test","op":"subscribe"}}',
            acknowledged("subscribe", "test"),
            id="linear",
        ),
        pytest.param(
            f'{{"req_id":"2","success":true,"ret_msg":"","op":"subscribe",{CONN}}}',
            acknowledged("subscribe", "2"),
            id="private",
        ),
    ],
)
def test_3_2_every_acknowledgement_shape_is_one(frame: str, acknowledgement: Acknowledgement) -> None:
    """3.2: spot says "subscribe" and may leave req_id out, futures always have it, private has it first."""
    assert parse_reply(frame.encode()) == acknowledgement


def test_3_2_option_acknowledges_by_topic_lists() -> None:
    """3.2: the option acknowledgement has neither op nor req_id nor ret_msg, and its type is COMMAND_RESP."""
    frame = (
        f'{{"success":true,{CONN},'
        '"data":{"failTopics":[],"successTopics":["orderbook.100.BTC-6JAN23-18000-C"]},"type":"COMMAND_RESP"}'
    )
    assert parse_reply(frame.encode()) == Acknowledgement(
        "", success=True, req_id="", text="", succeeded=("orderbook.100.BTC-6JAN23-18000-C",)
    )


# Dossier 3.3: unsubscribe.


@pytest.mark.parametrize("text", ["", "unsubscribe"])
@pytest.mark.parametrize("req_id", ["", "3"])
def test_3_3_unsubscribe_is_acknowledged_with_either_text(text: str, req_id: str) -> None:
    """3.3: linear answers with an empty ret_msg; spot with "unsubscribe" or none."""
    frame = f'{{"success":true,"ret_msg":"{text}",{CONN},"req_id":"{req_id}","op":"unsubscribe"}}'
    assert parse_reply(frame.encode()) == acknowledged("unsubscribe", req_id, text)


# Dossier 3.4: failures.


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        pytest.param("error:handler not found,topic:orderbook.50.NOPEUSDT", "orderbook.50.NOPEUSDT", id="futures"),
        pytest.param("Invalid symbol :[orderbook.50.NOPEUSDT]", "orderbook.50.NOPEUSDT", id="spot"),
        pytest.param("error:already subscribed,topic:publicTrade.BTCUSDT", "publicTrade.BTCUSDT", id="duplicate"),
        pytest.param("error:handler not found,topic:dcp.future", "dcp.future", id="private topic"),
        pytest.param("error:invalid op", "", id="unknown op"),
        pytest.param("Request not authorized", "", id="not authenticated"),
        pytest.param("args size >10", "", id="too many args"),
    ],
)
def test_3_4_refusal_names_the_first_offender(text: str, topic: str) -> None:
    """3.4: only the first offending topic is named, in the wording of the product; some refusals name none."""
    frame = f'{{"success":false,"ret_msg":"{text}",{CONN},"req_id":"5","op":"subscribe"}}'
    reply = parse_reply(frame.encode())
    assert reply == refused(text, "5")
    assert named_topic(text) == topic


def test_3_4_escaped_text_is_matched_after_decoding() -> None:
    r"""3.4: the Go encoder writes ``>`` as ``\u003e``; the text is matched after JSON decoding."""
    frame = rf'{{"success":false,"ret_msg":"args size \u003e10",{CONN},"op":"subscribe"}}'
    assert parse_reply(frame.encode()) == refused("args size >10")


def test_3_4_already_subscribed_means_the_state_is_as_wanted() -> None:
    """3.4: an already subscribed topic keeps delivering, so the named topic counts as subscribed."""
    assert already_subscribed("error:already subscribed,topic:publicTrade.BTCUSDT")
    assert not already_subscribed("error:handler not found,topic:publicTrade.BTCUSDT")


def test_3_4_undecodable_frame_is_answered_without_naming_an_operation() -> None:
    """3.4: a frame that was not JSON is refused, and the socket stays open."""
    text = "Failed to decode incoming data:readObjectStart: expect { or n, but found h, error found in #1 byte of"
    frame = f'{{"success":false,"ret_msg":"{text}",{CONN},"req_id":"","op":""}}'
    assert parse_reply(frame.encode()) == refused(text, op="")


def test_3_4_option_fails_per_topic_while_success_stays_true() -> None:
    """3.4: on option and spread failures are per topic, in failTopics, with the others in successTopics."""
    frame = (
        f'{{"success":true,{CONN},'
        '"data":{"failTopics":["tickers.NOPE"],"successTopics":["tickers.BTC-25JUN27-106000-P-USDT"]},'
        '"type":"COMMAND_RESP"}'
    )
    assert parse_reply(frame.encode()) == Acknowledgement(
        "",
        success=True,
        req_id="",
        text="",
        succeeded=("tickers.BTC-25JUN27-106000-P-USDT",),
        failed=("tickers.NOPE",),
    )


# Dossier 3.5 and 11: what a reader must survive.


@pytest.mark.parametrize(
    "reply",
    [acknowledged("subscribe", "1"), refused("error:invalid op", "1"), Pong()],
    ids=["acknowledgement", "refusal", "pong"],
)
def test_11_unknown_keys_are_ignored(reply: Reply) -> None:
    """11: fields are added several times a year without notice; unknown keys change nothing."""
    added = '"newField":{"deep":[1,2,{"x":null}]},"another":1.5,'
    if isinstance(reply, Pong):
        frame = f'{{{added}"success":true,"ret_msg":"pong",{CONN},"op":"ping"}}'
    else:
        frame = (
            f'{{{added}"success":{str(reply.success).lower()},"ret_msg":"{reply.text}",{CONN},"req_id":"1",'
            f'"op":"{reply.op}"}}'
        )
    assert parse_reply(frame.encode()) == reply
