"""Control messages of the venue: whatever comes is an answer or None, never an exception."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from feedhandler.bybit.operations import Acknowledgement, Pong, Request, already_subscribed, named_topic, parse_reply

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
KEYS = ["op", "success", "ret_msg", "req_id", "type", "args", "data", "retCode", "retMsg", "reqId", "conn_id"]
WORDS = st.sampled_from(["ping", "pong", "subscribe", "COMMAND_RESP", "", "1672916271846"])
LISTS = st.fixed_dictionaries({}, optional={"successTopics": JSON, "failTopics": st.lists(st.text()) | st.none()})
NEARLY_REPLIES = st.dictionaries(st.sampled_from(KEYS), WORDS | st.lists(WORDS) | LISTS | JSON)


@given(st.binary())
def test_any_bytes_are_an_answer_or_none(payload: bytes) -> None:
    """No bytes make the reading of a control message raise."""
    assert isinstance(parse_reply(payload), Acknowledgement | Pong | None)


@given(NEARLY_REPLIES)
def test_any_content_of_known_keys_is_an_answer_or_none(reply: dict[str, object]) -> None:
    """Nor does any content, of any type, under the keys that answers have."""
    answer = parse_reply(json.dumps(reply).encode(errors="surrogatepass"))
    assert isinstance(answer, Acknowledgement | Pong | None)
    if isinstance(answer, Acknowledgement):
        assert isinstance(answer.req_id, str)
        assert all(isinstance(topic, str) for topic in answer.succeeded + answer.failed)


@given(NEARLY_REPLIES, st.integers(0, 200))
def test_a_truncated_answer_is_none(reply: dict[str, object], kept: int) -> None:
    """An answer that breaks off is None: half an acknowledgement acknowledges nothing."""
    text = json.dumps(reply).encode()
    assert parse_reply(text[: min(kept, len(text) - 1)]) is None


@given(st.text())
def test_any_refusal_names_a_topic_or_nothing(text: str) -> None:
    """Any text of a refusal can be read."""
    assert isinstance(named_topic(text), str)
    assert isinstance(already_subscribed(text), bool)


@given(st.from_regex(r"[A-Za-z0-9._/\-]+", fullmatch=True))
def test_refused_topic_comes_back_whole(topic: str) -> None:
    """A topic of any letters that topics have is found whole in each wording (dossier 3.4)."""
    assert named_topic(f"error:handler not found,topic:{topic}") == topic
    assert named_topic(f"error:already subscribed,topic:{topic}") == topic
    assert named_topic(f"Invalid symbol :[{topic}]") == topic


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_request_is_json_of_its_fields(req_id: str, args: list[str]) -> None:
    """A request's text is JSON that any reader takes for the same fields."""
    assert json.loads(Request(req_id, "subscribe", args).encode()) == {
        "req_id": req_id,
        "op": "subscribe",
        "args": args,
    }


WORD = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=5,
)
"""What JSON can say; Python's own writer says more (``NaN``, lone surrogates)."""
TEXTS = st.sampled_from(
    ["", "subscribe", "args size >10", "Invalid symbol :[orderbook.50.A<B>&C]", "Request not authorized"]
)
TOPICS = st.lists(st.from_regex(r"[A-Za-z0-9._/\-]{1,20}", fullmatch=True), max_size=4)
IDS = st.integers(0, 2**63 - 1).map(str) | st.integers(0, 2**63 - 1)
STAMPS = st.integers(0, 2**53).map(str)
REPLIES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"success": st.booleans(), "ret_msg": TEXTS, "op": st.sampled_from(["subscribe", "unsubscribe", "auth"])},
        optional={"req_id": IDS},
    ),
    st.fixed_dictionaries(
        {
            "success": st.booleans(),
            "data": st.fixed_dictionaries({"failTopics": TOPICS, "successTopics": TOPICS}),
            "type": st.just("COMMAND_RESP"),
        }
    ),
    st.fixed_dictionaries({"success": st.just(True), "ret_msg": st.just("pong"), "op": st.just("ping")}),
    st.fixed_dictionaries({"op": st.just("pong")}, optional={"args": st.lists(STAMPS, min_size=1, max_size=1)}),
    st.fixed_dictionaries({"retCode": st.integers(0, 20_006), "retMsg": TEXTS, "op": st.just("auth")}),
)
"""Answers in every shape that the venue has (dossier 2.2, 3.1 to 3.4)."""


@given(REPLIES, st.data())
def test_an_answer_is_the_same_however_it_is_written(reply: dict[str, Any], data: st.DataObject) -> None:
    r"""Order of keys, white space, keys that nobody knows and escapes (``\u003e``) change nothing."""
    plain = parse_reply(json.dumps(reply).encode())
    assert plain is not None
    known = {*KEYS, *reply}
    extra = data.draw(st.dictionaries(WORD.filter(lambda key: key not in known), ANYTHING, max_size=3))
    keys = data.draw(st.permutations([*reply, *extra]))
    text = json.dumps(
        {key: (reply | extra)[key] for key in keys},
        indent=data.draw(st.sampled_from([None, 1, "\t"])),
        ensure_ascii=data.draw(st.booleans()),
    )
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    assert parse_reply(text.encode()) == plain
    if isinstance(plain, Acknowledgement) and "ret_msg" in reply:
        assert plain.text == reply["ret_msg"]
