"""Authenticating, rule by rule, in the texts that the dossier quotes (section 3.1). Keys and connection ids are made up."""

import hashlib
import hmac
import json
from typing import Any, Final

import pytest

from feedhandler.bybit import authentication, operations
from feedhandler.bybit.operations import Acknowledgement
from feedhandler.bybit.products import PRODUCTS
from feedhandler.worker.session import Action, Asked, Authorized, Disconnect, Send, Session, Unauthorized

KEY, SECRET, EXPIRES_MS = "a key", "a secret", 1_662_350_400_000
CONN: Final = '"conn_id":"cejreaspqfh3sjdnldmg-p"'
SUCCESSES: Final = [
    f'{{"success":true,"ret_msg":"","op":"auth",{CONN}}}',
    f'{{"req_id":"10001","success":true,"ret_msg":"","op":"auth",{CONN}}}',
    f'{{"success":true,"ret_msg":"",{CONN},"req_id":"10001","op":"auth"}}',
    '{"retCode":0,"retMsg":"OK","op":"auth","connId":"cnt5leec0hvan15eukcg-2t"}',
]


def opened() -> Session:
    """Return a private connection that has just come up."""
    session = Session(PRODUCTS["private"], ping_interval_s=20, pong_timeout_s=10, has_data=lambda _: False)
    session.want(["order", "wallet"])
    session.opened(0.0, authentication.request(KEY, SECRET, EXPIRES_MS, "10001"))
    return session


def sent(actions: list[Action]) -> list[dict[str, Any]]:
    return [json.loads(action.payload) for action in actions if isinstance(action, Send)]


def hear(session: Session, answer: str) -> list[Action]:
    reply = operations.parse_reply(answer.encode())
    assert isinstance(reply, Acknowledgement)
    session.acknowledged(reply, 0.0)
    return session.step(0.0)


def test_3_1_signature_is_of_the_path_and_the_expiry() -> None:
    """3.1: HMAC-SHA256 over `GET/realtime` and the expiry in ms, lower-case hex, in args after key and expiry."""
    (request, *_) = sent(opened().step(0.0))
    signed = hmac.new(SECRET.encode(), b"GET/realtime1662350400000", hashlib.sha256).hexdigest()
    assert request == {"req_id": "10001", "op": "auth", "args": [KEY, EXPIRES_MS, signed]}


def test_3_1_expiry_is_not_too_tight() -> None:
    """3.1: it must be later than the server's clock: 1 s failed on slow links and with skewed clocks."""
    assert authentication.EXPIRES_AFTER_MS >= 10_000


def test_3_1_nothing_is_asked_for_before_the_answer() -> None:
    """3.1: a subscription before it is refused with `Request not authorized`."""
    session = opened()
    assert [request["op"] for request in sent(session.step(0.0))] == ["auth", "ping"]
    assert sent(session.step(5.0)) == []


@pytest.mark.parametrize("answer", SUCCESSES, ids=["private", "with req_id", "of 2023", "trade"])
def test_3_1_every_shape_of_success_opens_the_way(answer: str) -> None:
    """3.1: with or without `req_id`, in today's order and that of 2023."""
    session = opened()
    session.step(0.0)
    actions = hear(session, answer)
    assert actions[:2] == [Authorized(), Asked(["order", "wallet"])]


@pytest.mark.parametrize("text", ["Params Error", "error:request expired", "error:USVC1111"])
def test_3_1_failure_ends_the_connection_and_is_not_repeated_on_it(text: str) -> None:
    """3.1: codes are not given, so `success` decides; treat it as fatal, do not loop."""
    session = opened()
    session.step(0.0)
    assert hear(session, f'{{"success":false,"ret_msg":"{text}","op":"auth",{CONN}}}') == [Unauthorized(text)]
    assert session.step(1000.0) == []


def test_3_1_want_of_authorization_is_no_refusal_of_a_topic() -> None:
    """3.1: `Request not authorized` is about the connection: its topics are not taken apart and asked for again."""
    session = opened()
    session.step(0.0)
    hear(session, SUCCESSES[0])
    answer = f'{{"req_id":"1","success":false,"ret_msg":"Request not authorized","op":"subscribe",{CONN}}}'
    assert hear(session, answer) == [Unauthorized("Request not authorized")]


def test_3_1_no_answer_is_an_end_too() -> None:
    """3.1 does not say what a lost answer looks like: after 10 s the connection is given up."""
    session = opened()
    session.step(0.0)
    session.pong()
    assert [type(action) for action in session.step(10.0)] == [Disconnect]
