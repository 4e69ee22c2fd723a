"""Subscribing, rule by rule: the session against the venue's answers as the dossier quotes them (sections 2.3 to 3.5).

Connection ids are made up; everything else of an answer is as quoted.
"""

from typing import Any, Final

import msgspec
import pytest

from feedhandler.bybit import operations
from feedhandler.bybit.operations import Acknowledgement, Pong
from feedhandler.bybit.products import PRODUCTS
from feedhandler.worker.session import (
    ACKNOWLEDGEMENT_TIMEOUT_S,
    Acknowledged,
    Action,
    Disconnect,
    Phase,
    Refused,
    Send,
    Session,
)

CONN: Final = '"conn_id":"cejreaspqfh3sjdnldmg-p"'
BOOK, TRADES, BAD = "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "orderbook.50.NOPEUSDT"
OPTION_BOOK, OPTION_TRADES = "orderbook.100.BTC-6JAN23-18000-C", "publicTrade.BTC"


def by_topic(*succeeded: str, failed: str = "") -> str:
    """Return an option acknowledgement."""
    lists = {"failTopics": [failed] if failed else [], "successTopics": succeeded}
    return f'{{"success":true,{CONN},"data":{msgspec.json.encode(lists).decode()},"type":"COMMAND_RESP"}}'


class Socket:
    """An open connection of one product."""

    def __init__(self, product: str, *topics: str) -> None:
        self.live: set[str] = set()
        self.session = Session(
            PRODUCTS[product], ping_interval_s=20, pong_timeout_s=10, has_data=self.live.__contains__
        )
        self.now_s = 0.0
        self.session.want(topics)
        self.session.opened(self.now_s)

    def step(self, now_s: float | None = None) -> list[Action]:
        self.now_s = self.now_s if now_s is None else now_s
        return self.session.step(self.now_s)

    def sent(self, now_s: float | None = None) -> list[dict[str, Any]]:
        """Step, and return what was sent, pings included."""
        return [msgspec.json.decode(action.payload) for action in self.step(now_s) if isinstance(action, Send)]

    def asked(self, now_s: float | None = None) -> list[tuple[str, list[str]]]:
        """Step, and return operation and topics of each request."""
        return [(one["op"], one["args"]) for one in self.sent(now_s) if one["op"] != "ping"]

    def hear(self, answer: str) -> list[Action]:
        """Take an answer, and return what came of it, requests left out."""
        reply = operations.parse_reply(answer.encode())
        assert isinstance(reply, Acknowledgement)
        self.session.acknowledged(reply, self.now_s)
        actions, self.session._actions = self.session._actions, []
        return actions


# Dossier 2.2 and 2.3: heartbeat.


def test_2_3_ping_starts_right_after_open() -> None:
    """2.3: the option socket dropped clients that had not pinged soon: ping right after open, never later."""
    assert {"op": "ping"} in Socket("option", OPTION_BOOK).sent()


def test_2_2_ping_every_20_s() -> None:
    """2.2: send a ping every 20 s."""
    socket = Socket("linear", BOOK)
    socket.sent()
    socket.session.acknowledged(Acknowledgement("subscribe", success=True, req_id="1", text=""), 0)
    socket.session.pong()
    socket.step()
    assert socket.session.wake_s() == 20
    assert socket.sent(19.99) == []
    assert socket.sent(20) == [{"op": "ping"}]


@pytest.mark.parametrize(
    "pong",
    [
        f'{{"success":true,"ret_msg":"pong",{CONN},"op":"ping"}}',
        '{"args":["1672916271846"],"op":"pong"}',
        f'{{"success":true,"ret_msg":"pong",{CONN},"req_id":"","op":"ping"}}',
    ],
    ids=["spot", "option", "linear"],
)
def test_2_3_pong_is_required_within_10_s(pong: str) -> None:
    """2.3: require a pong within 10 s of a ping; any shape will do (2.2)."""
    socket = Socket("linear")
    socket.sent()
    assert isinstance(operations.parse_reply(pong.encode()), Pong)
    socket.session.pong()
    assert socket.step(10) == []
    socket.sent(20)
    assert socket.step(30) == [Disconnect("no pong within 10 s")]


# Dossier 2.4: limits.


def test_2_4_spot_request_has_at_most_10_topics() -> None:
    """2.4: 10 args per spot request; more is answered with `args size >10`."""
    socket = Socket("spot", *(f"tickers.S{number}USDT" for number in range(25)))
    assert [len(topics) for _, topics in socket.asked()] == [10, 10, 5]


# Dossier 3.2: subscribe.


@pytest.mark.parametrize(
    ("product", "topics", "answer"),
    [
        ("spot", [BOOK, TRADES], f'{{"success":true,"ret_msg":"subscribe",{CONN},"req_id":"1","op":"subscribe"}}'),
        ("spot", [BOOK, TRADES], f'{{"success":true,"ret_msg":"subscribe",{CONN},"op":"subscribe"}}'),
        ("linear", [BOOK, TRADES], f'{{"success":true,"ret_msg":"",{CONN},"req_id":"1","op":"subscribe"}}'),
        ("inverse", [BOOK, TRADES], f'{{"success":true,"ret_msg":"",{CONN},"req_id":"","op":"subscribe"}}'),
        (
            "option",
            [OPTION_BOOK, OPTION_TRADES],
            by_topic(OPTION_BOOK, OPTION_TRADES),
        ),
    ],
    ids=["spot", "spot without req_id", "linear", "inverse with an empty req_id", "option"],
)
def test_3_2_every_shape_of_success_subscribes_its_request(product: str, topics: list[str], answer: str) -> None:
    """3.2: four acknowledgement shapes; the option's has neither op nor req_id."""
    socket = Socket(product, *topics)
    assert socket.asked() == [("subscribe", topics)]
    assert socket.hear(answer) == [Acknowledged(topics)]


def test_3_2_option_answers_are_matched_by_their_topics() -> None:
    """3.2: correlating option acknowledgements has to go by the topic lists."""
    topics = [f"tickers.BTC-6JAN23-{strike}-C" for strike in range(100)]
    socket = Socket("option", *topics, OPTION_BOOK)
    assert len(socket.asked()) == 2
    assert socket.hear(by_topic(OPTION_BOOK)) == [Acknowledged([OPTION_BOOK])]
    assert socket.session.phase(topics[0]) is Phase.ASKED


# Dossier 3.3: unsubscribe.


@pytest.mark.parametrize("text", ["", "unsubscribe"])
def test_3_3_unsubscription_is_accepted_with_either_text(text: str) -> None:
    """3.3: linear answers with an empty ret_msg, spot with its own habit."""
    socket = Socket("spot", BOOK)
    socket.asked()
    socket.hear(f'{{"success":true,"ret_msg":"subscribe",{CONN},"req_id":"1","op":"subscribe"}}')
    socket.session.resync(BOOK)
    assert socket.asked() == [("unsubscribe", [BOOK])]
    socket.hear(f'{{"success":true,"ret_msg":"{text}",{CONN},"req_id":"2","op":"unsubscribe"}}')
    assert socket.asked() == [("subscribe", [BOOK])]


def test_3_3_unsubscription_waits_with_a_timeout() -> None:
    """3.3: option confirmations are unreliable: wait with a time-out, and go on."""
    socket = Socket("option", OPTION_BOOK)
    socket.asked()
    socket.hear(by_topic(OPTION_BOOK))
    socket.session.resync(OPTION_BOOK)
    socket.asked()
    assert socket.asked(ACKNOWLEDGEMENT_TIMEOUT_S - 0.01) == []
    assert socket.asked(ACKNOWLEDGEMENT_TIMEOUT_S) == [("subscribe", [OPTION_BOOK])]


def test_3_3_unsubscribing_removes_only_the_named_topics() -> None:
    """3.3: the others stay subscribed, and are not touched."""
    socket = Socket("linear", BOOK, TRADES)
    socket.asked()
    socket.hear(f'{{"success":true,"ret_msg":"",{CONN},"req_id":"1","op":"subscribe"}}')
    socket.session.unwant([TRADES])
    assert socket.asked() == [("unsubscribe", [TRADES])]
    socket.hear(f'{{"success":true,"ret_msg":"",{CONN},"req_id":"2","op":"unsubscribe"}}')
    assert (socket.session.phase(BOOK), socket.session.phase(TRADES)) == (Phase.SUBSCRIBED, None)
    assert socket.asked() == []


# Dossier 3.4: failures.


@pytest.mark.parametrize(
    ("product", "text"),
    [
        ("linear", f"error:handler not found,topic:{BAD}"),
        ("inverse", f"error:handler not found,topic:{BAD}"),
        ("spot", f"Invalid symbol :[{BAD}]"),
    ],
)
def test_3_4_whole_request_is_rejected_and_the_rest_is_sent_again(product: str, text: str) -> None:
    """3.4: no topic of the request is subscribed, only the first offender is named: drop it, send the rest again."""
    socket = Socket(product, BOOK, BAD, TRADES)
    socket.asked()
    actions = socket.hear(f'{{"success":false,"ret_msg":"{text}",{CONN},"req_id":"1","op":"subscribe"}}')
    assert actions == [Refused(BAD, text)]
    assert socket.asked() == [("subscribe", [BOOK, TRADES])]
    socket.hear(f'{{"success":true,"ret_msg":"",{CONN},"req_id":"2","op":"subscribe"}}')
    phases = [socket.session.phase(topic) for topic in (BOOK, BAD, TRADES)]
    assert phases == [Phase.SUBSCRIBED, Phase.REFUSED, Phase.SUBSCRIBED]


def test_3_4_several_offenders_are_named_one_after_the_other() -> None:
    """3.4: only the first offending topic is named, so each costs a round, and no more."""
    bad = [f"orderbook.50.NOPE{number}" for number in range(4)]
    socket = Socket("linear", BOOK, *bad, TRADES)
    rounds = 0
    while requests := socket.asked():
        ((_, topics),) = requests
        rounds += 1
        wrong = next((topic for topic in topics if topic in bad), "")
        text = f"error:handler not found,topic:{wrong}" if wrong else ""
        success = "false" if wrong else "true"
        socket.hear(f'{{"success":{success},"ret_msg":"{text}",{CONN},"req_id":"{rounds}","op":"subscribe"}}')
    assert rounds == 5
    assert [socket.session.phase(topic) for topic in bad] == [Phase.REFUSED] * 4
    assert socket.session.phase(BOOK) is socket.session.phase(TRADES) is Phase.SUBSCRIBED


def test_3_4_text_that_names_nothing_splits_the_request() -> None:
    """3.4: if the text names nothing, split in halves or singles; `>` comes escaped."""
    socket = Socket("spot", *(f"tickers.S{number}USDT" for number in range(10)))
    socket.asked()
    socket.hear(f'{{"success":false,"ret_msg":"args size \\u003e10",{CONN},"req_id":"1","op":"subscribe"}}')
    assert [len(topics) for _, topics in socket.asked()] == [5, 5]


@pytest.mark.parametrize("product", ["linear", "spot"])
def test_3_4_already_subscribed_is_the_state_as_wanted(product: str) -> None:
    """3.4: treat the named topic as subscribed and re-send the others, which were rejected with it."""
    socket = Socket(product, TRADES, BOOK)
    socket.asked()
    text = f"error:already subscribed,topic:{TRADES}"
    actions = socket.hear(f'{{"success":false,"ret_msg":"{text}",{CONN},"req_id":"1","op":"subscribe"}}')
    assert actions == [Acknowledged([TRADES])]
    assert socket.asked() == [("subscribe", [BOOK])]


def test_3_4_refusal_never_ends_the_connection() -> None:
    """3.4: an application that treats every refusal as fatal gets a restart storm."""
    socket = Socket("linear", BAD)
    socket.asked()
    text = f"error:handler not found,topic:{BAD}"
    answer = f'{{"success":false,"ret_msg":"{text}",{CONN},"req_id":"1","op":"subscribe"}}'
    assert socket.hear(answer) == [Refused(BAD, text)]
    socket.session.pong()
    assert socket.asked(59) == []
    assert socket.asked(60) == [("subscribe", [BAD])]


def test_3_4_option_fails_by_topic() -> None:
    """3.4: failures are in failTopics, the others in successTopics, and `success` stays true."""
    socket = Socket("option", OPTION_BOOK, "tickers.NOPE")
    socket.asked()
    actions = socket.hear(by_topic(OPTION_BOOK, failed="tickers.NOPE"))
    assert actions == [Acknowledged([OPTION_BOOK]), Refused("tickers.NOPE", "refused (failTopics)")]
    assert socket.asked() == []


# Dossier 3.5: order of acknowledgement and data.


def test_3_5_data_may_come_before_the_acknowledgement() -> None:
    """3.5: what is asked for is announced before the request is on the wire, so that no early snapshot is lost."""
    socket = Socket("linear", BOOK)
    kinds = [type(action).__name__ for action in socket.step()]
    assert kinds.index("Asked") < kinds.index("Send")


def test_3_2_data_prove_a_subscription_that_was_not_acknowledged() -> None:
    """3.2: a subscription is proven only by its first data frame, so data do for a missing acknowledgement."""
    socket = Socket("linear", BOOK)
    socket.asked()
    socket.live.add(BOOK)
    assert socket.asked(ACKNOWLEDGEMENT_TIMEOUT_S) == []
    assert socket.session.phase(BOOK) is Phase.SUBSCRIBED
