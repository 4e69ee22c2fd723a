"""The venue's texts, letter by letter."""

import json

import pytest

from feedhandler.sim import operations
from feedhandler.sim.operations import Request, Undecodable

NOW_NS = 1_672_916_271_846_000_000
ID = "d6ki1eae0cl5msgggj7g-1uoz2"


@pytest.mark.parametrize(
    ("product", "req_id", "text"),
    [
        ("spot", None, '{"success":true,"ret_msg":"pong","conn_id":"ID","op":"ping"}'),
        ("spot", "7", '{"success":true,"ret_msg":"pong","conn_id":"ID","req_id":"7","op":"ping"}'),
        ("linear", None, '{"success":true,"ret_msg":"pong","conn_id":"ID","req_id":"","op":"ping"}'),
        ("inverse", "7", '{"success":true,"ret_msg":"pong","conn_id":"ID","req_id":"7","op":"ping"}'),
        ("option", None, '{"args":["1672916271846"],"conn_id":"ID","op":"pong"}'),
        ("spread", "7", '{"args":["1672916271846"],"conn_id":"ID","op":"pong"}'),
        ("private", "test", '{"req_id":"test","op":"pong","args":["1672916271846"],"conn_id":"ID"}'),
        ("private", None, '{"op":"pong","args":["1672916271846"],"conn_id":"ID"}'),
        ("trade", None, '{"retCode":0,"retMsg":"OK","op":"pong","data":["1672916271846"],"connId":"ID"}'),
    ],
)
def test_pong(product: str, req_id: str | None, text: str) -> None:
    """Dossier 2.2: one shape per product; ``req_id`` always on futures, only if sent on spot."""
    assert operations.pong(product, ID, req_id, NOW_NS).decode() == text.replace("ID", ID)


@pytest.mark.parametrize(
    ("product", "req_id", "text"),
    [
        ("spot", "10001", '{"success":true,"ret_msg":"subscribe","conn_id":"ID","req_id":"10001","op":"subscribe"}'),
        ("spot", None, '{"success":true,"ret_msg":"subscribe","conn_id":"ID","op":"subscribe"}'),
        ("linear", "10001", '{"success":true,"ret_msg":"","conn_id":"ID","req_id":"10001","op":"subscribe"}'),
        ("linear", None, '{"success":true,"ret_msg":"","conn_id":"ID","req_id":"","op":"subscribe"}'),
        ("status", None, '{"success":true,"ret_msg":"","conn_id":"ID","req_id":"","op":"subscribe"}'),
        ("private", "2", '{"req_id":"2","success":true,"ret_msg":"","op":"subscribe","conn_id":"ID"}'),
        ("private", None, '{"success":true,"ret_msg":"","op":"subscribe","conn_id":"ID"}'),
    ],
)
def test_acknowledgement(product: str, req_id: str | None, text: str) -> None:
    """Dossier 3.2: spot says ``subscribe``, futures nothing."""
    assert operations.acknowledge(product, "subscribe", ID, req_id).decode() == text.replace("ID", ID)


def test_option_acknowledges_by_topic() -> None:
    """Dossier 3.2: no ``op``, no ``req_id``, no ``ret_msg``; failed topics first."""
    assert operations.command_response(ID, ["a.B"], ["c.D", "e.F"]).decode() == (
        f'{{"success":true,"conn_id":"{ID}","data":{{"failTopics":["c.D","e.F"],"successTopics":["a.B"]}},'
        '"type":"COMMAND_RESP"}'
    )


@pytest.mark.parametrize(
    ("product", "text", "expected"),
    [
        (
            "linear",
            operations.handler_not_found("orderbook.50.NOPEUSDT"),
            (
                '{"success":false,"ret_msg":"error:handler not found,topic:orderbook.50.NOPEUSDT","conn_id":"ID",'
                '"req_id":"","op":"subscribe"}'
            ),
        ),
        (
            "spot",
            operations.invalid_symbol("orderbook.50.NOPEUSDT"),
            '{"success":false,"ret_msg":"Invalid symbol :[orderbook.50.NOPEUSDT]","conn_id":"ID","op":"subscribe"}',
        ),
        (
            "spot",
            operations.ARGS_SIZE,
            '{"success":false,"ret_msg":"args size \\u003e10","conn_id":"ID","op":"subscribe"}',
        ),
        (
            "linear",
            operations.already_subscribed("publicTrade.BTCUSDT"),
            (
                '{"success":false,"ret_msg":"error:already subscribed,topic:publicTrade.BTCUSDT","conn_id":"ID",'
                '"req_id":"","op":"subscribe"}'
            ),
        ),
        (
            "linear",
            operations.INVALID_OP,
            '{"success":false,"ret_msg":"error:invalid op","conn_id":"ID","req_id":"","op":"subscribe"}',
        ),
    ],
)
def test_refusal(product: str, text: str, expected: str) -> None:
    """Dossier 3.4: the words per cause and product, the Go encoder's escape included."""
    assert operations.refuse(product, "subscribe", text, ID, None).decode() == expected.replace("ID", ID)


@pytest.mark.parametrize(
    ("payload", "request_"),
    [
        (b'{"op":"ping"}', Request("ping", None, None)),
        (b' { "args" : ["a"], "req_id":"x", "op":"subscribe" } ', Request("subscribe", "x", ["a"])),
        (b'{"op":"ping","req_id":50869}', Request("ping", "50869", None)),
        (b'{"op":"ping","req_id":true}', Request("ping", None, None)),
        (b'{"op":7,"args":"a"}', Request("", None, None)),
        (b'{"op":"subscribe","args":["a",1]}', Request("subscribe", None, None)),
    ],
)
def test_requests_are_read_whatever_their_order(payload: bytes, request_: Request) -> None:
    """Dossier 3: key order and white space do not matter; a numeric ``req_id`` comes back as a string (2.2)."""
    assert operations.parse(payload) == request_


def test_own_id_of_a_request_has_another_name_on_the_order_socket() -> None:
    """Dossier 7: ``reqId``."""
    assert operations.parse(b'{"op":"ping","req_id":"a","reqId":"b"}', "reqId").req_id == "b"


@pytest.mark.parametrize("payload", [b"hello", b"", b"[1]", b'{"op":', b'"ping"', b"\xff\xfe"])
def test_frame_that_is_no_object_is_undecodable(payload: bytes) -> None:
    """Dossier 3.4: the answer begins with the venue's words and is valid JSON once refused."""
    with pytest.raises(Undecodable, match=r"^Failed to decode incoming data:readObject") as raised:
        operations.parse(payload)
    answer = json.loads(operations.refuse("linear", "", str(raised.value), ID, None))
    assert answer["ret_msg"] == str(raised.value)


def test_undecodable_text_names_the_first_character() -> None:
    """Dossier 3.4, as recorded."""
    assert operations.undecodable_text(b"hello").startswith(
        "Failed to decode incoming data:readObjectStart: expect { or n, but found h, "
    )


def test_strings_are_escaped_as_go_escapes_them() -> None:
    r"""Go's encoder writes ``<``, ``>`` and ``&`` as ``\u003c``, ``\u003e`` and ``\u0026``."""
    assert operations.go_string('a<b>&"c"') == '"a\\u003cb\\u003e\\u0026\\"c\\""'
    assert json.loads(operations.go_string("<\u2028>")) == "<\u2028>"
