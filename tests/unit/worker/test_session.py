"""What one connection asks of the venue, and what it makes of the answers."""

import math
from typing import Any

import msgspec
import pytest

from feedhandler.bybit import operations
from feedhandler.bybit.operations import Acknowledgement
from feedhandler.bybit.products import PRODUCTS
from feedhandler.worker.session import (
    ACKNOWLEDGEMENT_TIMEOUT_S,
    AUTH_TIMEOUT_S,
    REFUSED_RETRY_CAP_S,
    REFUSED_RETRY_S,
    REQUESTS_IN_FLIGHT,
    Acknowledged,
    Action,
    Asked,
    Authorized,
    Disconnect,
    Phase,
    Refused,
    Send,
    Session,
    Unauthorized,
)

BOOK, TRADES, TICKER = "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "tickers.BTCUSDT"
NOW_S = 100.0


class Talk:
    """An open session, and the requests that it sent and nobody has looked at yet."""

    def __init__(
        self, product: str = "linear", topics: tuple[str, ...] = (), *, pong_timeout_s: float = 10, auth: bytes = b""
    ) -> None:
        self.live: set[str] = set()
        self.session = Session(
            PRODUCTS[product], ping_interval_s=20, pong_timeout_s=pong_timeout_s, has_data=self.live.__contains__
        )
        self.now_s = NOW_S
        self.session.want(topics)
        self.session.opened(self.now_s, auth)

    def step(self, now_s: float | None = None) -> list[Action]:
        self.now_s = self.now_s if now_s is None else now_s
        return self.session.step(self.now_s)

    def requests(self, now_s: float | None = None) -> list[dict[str, Any]]:
        """Step, and return the subscribe and unsubscribe requests that went out."""
        return requests_in(self.step(now_s))

    def answer(self, req_id: str = "", text: str = "", *, success: bool = True, op: str = "subscribe") -> None:
        self.session.acknowledged(Acknowledgement(op, success=success, req_id=req_id, text=text), self.now_s)

    def answer_by_topic(self, succeeded: tuple[str, ...] = (), failed: tuple[str, ...] = (), text: str = "") -> None:
        reply = Acknowledgement("", success=True, req_id="", text=text, succeeded=succeeded, failed=failed)
        self.session.acknowledged(reply, self.now_s)

    def phases(self) -> dict[str, Phase | None]:
        return {topic: self.session.phase(topic) for topic in self.session.topics}


def requests_in(actions: list[Action]) -> list[dict[str, Any]]:
    payloads = [action.payload for action in actions if isinstance(action, Send)]
    return [msgspec.json.decode(payload) for payload in payloads if payload != operations.PING]


def settle(talk: Talk) -> None:
    """Have everything acknowledged."""
    while sent := talk.requests():
        for request in sent:
            talk.answer(request["req_id"], op=request["op"])


# Asking.


def test_nothing_is_asked_before_the_connection_is_open() -> None:
    """Topics are remembered while there is no connection."""
    session = Session(PRODUCTS["linear"], ping_interval_s=20, pong_timeout_s=10, has_data=bool)
    session.want([BOOK])
    session.unwant([TRADES])
    assert session.step(NOW_S) == []
    assert session.topics == [BOOK]
    assert session.wake_s() == math.inf


def test_open_asks_and_pings_at_once() -> None:
    """The request comes with its announcement before it, and the first ping does not wait (dossier 2.3)."""
    talk = Talk(topics=(BOOK, TRADES))
    asked, request, ping = talk.step()
    assert asked == Asked([BOOK, TRADES])
    assert isinstance(request, Send)
    assert msgspec.json.decode(request.payload) == {"req_id": "1", "op": "subscribe", "args": [BOOK, TRADES]}
    assert ping == Send(operations.PING)
    assert talk.phases() == {BOOK: Phase.ASKED, TRADES: Phase.ASKED}


def test_acknowledgement_subscribes_every_topic_of_its_request() -> None:
    """One acknowledgement covers the whole request."""
    talk = Talk(topics=(BOOK, TRADES))
    talk.requests()
    talk.answer("1")
    assert talk.step() == [Acknowledged([BOOK, TRADES])]
    assert talk.phases() == {BOOK: Phase.SUBSCRIBED, TRADES: Phase.SUBSCRIBED}


@pytest.mark.parametrize("product", ["spot", "linear", "inverse", "option"])
def test_requests_are_cut_to_the_products_size(product: str) -> None:
    """No request is larger than the product allows, and the order of the topics is kept."""
    size = PRODUCTS[product].max_args_per_request
    topics = tuple(f"orderbook.100.S{number}" for number in range(2 * size + 1))
    talk = Talk(product, topics)
    sizes = [len(request["args"]) for request in talk.requests()]
    assert sizes == [size, size, 1]


def test_only_so_many_requests_are_in_flight() -> None:
    """The next request goes out when one is answered."""
    talk = Talk("spot", tuple(f"tickers.S{number}" for number in range(100)))
    assert len(talk.requests()) == REQUESTS_IN_FLIGHT
    assert talk.requests() == []
    talk.answer("1")
    assert [request["req_id"] for request in talk.requests()] == [str(REQUESTS_IN_FLIGHT + 1)]


def test_want_on_an_open_connection_asks_only_for_what_is_new() -> None:
    """A topic wanted already is not asked for again."""
    talk = Talk(topics=(BOOK,))
    settle(talk)
    talk.session.want([BOOK, TRADES])
    assert [request["args"] for request in talk.requests()] == [[TRADES]]


# Leaving.


@pytest.mark.parametrize("answered", [True, False])
def test_unwanted_topic_is_left_whether_acknowledged_or_only_asked_for(answered: bool) -> None:
    """A topic still asked for is left as well: its acknowledgement may be on the way."""
    talk = Talk(topics=(BOOK, TRADES))
    talk.requests()
    if answered:
        talk.answer("1")
    talk.session.unwant([BOOK, "never wanted"])
    assert [(request["op"], request["args"]) for request in talk.requests()] == [("unsubscribe", [BOOK])]
    talk.answer("1")
    talk.answer("2", op="unsubscribe")
    assert talk.phases() == {TRADES: Phase.SUBSCRIBED}


def test_topic_unwanted_before_it_was_asked_for_is_never_asked_for() -> None:
    """What only waits its turn is taken out of the queue, also where its batch is empty then."""
    talk = Talk("spot", tuple(f"tickers.S{number}" for number in range(51)))
    first = talk.requests()
    talk.session.unwant(["tickers.S50", "tickers.S49"])
    for request in first:
        talk.answer(request["req_id"])
    assert [request["args"] for request in talk.requests()] == [[f"tickers.S{number}" for number in range(40, 49)]]


def test_refused_topic_is_not_left() -> None:
    """What the venue refused is not subscribed, so there is nothing to unsubscribe."""
    talk = Talk(topics=(BOOK,))
    talk.requests()
    talk.answer("1", f"error:handler not found,topic:{BOOK}", success=False)
    talk.session.unwant([BOOK])
    assert requests_in(talk.step()) == []
    assert talk.session.topics == []


def test_topic_asked_for_in_vain_is_left() -> None:
    """The venue may have subscribed what it did not acknowledge."""
    talk = Talk(topics=(BOOK,))
    talk.requests()
    talk.requests(NOW_S + ACKNOWLEDGEMENT_TIMEOUT_S)
    talk.requests(NOW_S + 2 * ACKNOWLEDGEMENT_TIMEOUT_S)
    assert talk.phases() == {BOOK: Phase.REFUSED}
    talk.session.unwant([BOOK])
    assert [(request["op"], request["args"]) for request in talk.requests()] == [("unsubscribe", [BOOK])]


@pytest.mark.parametrize("sent", [True, False], ids=["unsubscription sent", "unsubscription queued"])
def test_topic_wanted_again_waits_until_it_is_gone(sent: bool) -> None:
    """What still comes for the old subscription must not pass for the new one's."""
    talk = Talk(topics=(BOOK,))
    settle(talk)
    talk.session.unwant([BOOK])
    if sent:
        assert [request["op"] for request in talk.requests()] == ["unsubscribe"]
    talk.session.want([BOOK])
    assert talk.phases() == {BOOK: Phase.LEAVING}
    assert [request["op"] for request in talk.requests()] == ([] if sent else ["unsubscribe"])
    talk.answer("2", op="unsubscribe")
    assert [(request["op"], request["args"]) for request in talk.requests()] == [("subscribe", [BOOK])]


# Resync.


def test_resync_leaves_waits_and_asks_again() -> None:
    """The subscription goes out only when the unsubscription is acknowledged (dossier 5.4)."""
    talk = Talk(topics=(BOOK, TRADES))
    settle(talk)
    talk.session.resync(BOOK)
    assert talk.session.phase(BOOK) is Phase.LEAVING
    assert [(request["op"], request["args"]) for request in talk.requests()] == [("unsubscribe", [BOOK])]
    assert talk.requests() == []
    talk.answer("2", op="unsubscribe")
    assert [(request["op"], request["args"]) for request in talk.requests()] == [("subscribe", [BOOK])]
    talk.answer("3")
    assert talk.phases() == {BOOK: Phase.SUBSCRIBED, TRADES: Phase.SUBSCRIBED}


def test_resync_before_the_acknowledgement_ignores_it() -> None:
    """The acknowledgement of the subscription that is being given up says nothing any more."""
    talk = Talk(topics=(BOOK,))
    talk.requests()
    talk.session.resync(BOOK)
    talk.answer("1")
    assert talk.session.phase(BOOK) is Phase.LEAVING


def test_resync_goes_on_without_an_acknowledgement() -> None:
    """Confirmations go missing on options (dossier 3.3): after 5 s the subscription goes out all the same."""
    talk = Talk("option", (BOOK,))
    talk.requests()
    talk.answer_by_topic((BOOK,))
    talk.session.resync(BOOK)
    talk.requests()
    assert talk.session.wake_s() == NOW_S + ACKNOWLEDGEMENT_TIMEOUT_S
    assert [request["op"] for request in talk.requests(NOW_S + ACKNOWLEDGEMENT_TIMEOUT_S)] == ["subscribe"]
    assert talk.session.timeouts == 1


@pytest.mark.parametrize("state", ["closed", "unknown", "queued", "leaving", "refused"])
def test_resync_of_what_is_not_subscribed_does_nothing(state: str) -> None:
    """A topic that will be asked for anyway, or never, needs no resync."""
    talk = Talk("spot", tuple(f"tickers.S{number}" for number in range(41)))
    talk.requests()
    topic = {"unknown": "tickers.OTHER", "queued": "tickers.S40"}.get(state, "tickers.S0")
    if state == "closed":
        talk.session.closed()
    elif state == "leaving":
        talk.session.resync(topic)
        talk.answer("2")
        talk.requests()
    elif state == "refused":
        talk.answer("1", f"Invalid symbol :[{topic}]", success=False)
        talk.requests()
    before = talk.session.phase(topic)
    talk.session.resync(topic)
    assert talk.session.phase(topic) is before
    assert talk.requests() == []


# Refusals.


def test_named_topic_is_refused_and_the_others_are_asked_for_again_together() -> None:
    """Drop the named topic, send the rest again (dossier 3.4)."""
    talk = Talk(topics=(BOOK, TRADES, TICKER))
    talk.requests()
    text = f"error:handler not found,topic:{TRADES}"
    talk.answer("1", text, success=False)
    actions = talk.step()
    assert actions[0] == Refused(TRADES, text)
    assert [request["args"] for request in requests_in(actions)] == [[BOOK, TICKER]]
    talk.answer("2")
    assert talk.phases() == {BOOK: Phase.SUBSCRIBED, TRADES: Phase.REFUSED, TICKER: Phase.SUBSCRIBED}


def test_refusal_that_names_nothing_halves_the_request() -> None:
    """If the text names nothing, split in halves (dossier 3.4), keeping the order and the front of the queue."""
    talk = Talk("spot", tuple(f"tickers.S{number}" for number in range(45)))
    talk.requests()
    talk.answer("1", "error:something new", success=False)
    assert [request["args"] for request in talk.requests()] == [[f"tickers.S{number}" for number in range(5)]]
    talk.answer("2")
    assert [request["args"] for request in talk.requests()] == [[f"tickers.S{number}" for number in range(5, 10)]]


@pytest.mark.parametrize("text", ["error:something new", "error:handler not found,topic:another.topic"])
def test_single_topic_is_refused_whatever_the_text_names(text: str) -> None:
    """A request of one topic has one possible offender."""
    talk = Talk(topics=(BOOK,))
    talk.requests()
    talk.answer("1", text, success=False)
    assert talk.step(NOW_S)[0] == Refused(BOOK, text)


@pytest.mark.parametrize("text", [f"error:already subscribed,topic:{BOOK}", "error:already subscribed"])
def test_single_topic_already_subscribed_is_subscribed(text: str) -> None:
    """The state is as wanted (dossier 3.4)."""
    talk = Talk(topics=(BOOK,))
    talk.requests()
    talk.answer("1", text, success=False)
    actions = talk.step()
    assert actions[0] == Acknowledged([BOOK])
    assert requests_in(actions) == []


def test_already_subscribed_topic_counts_and_the_others_are_asked_for_again() -> None:
    """Already subscribed rejects the topics that travel with it: they go again (dossier 3.4)."""
    talk = Talk(topics=(BOOK, TRADES))
    talk.requests()
    talk.answer("1", f"error:already subscribed,topic:{BOOK}", success=False)
    actions = talk.step()
    assert actions[0] == Acknowledged([BOOK])
    assert [request["args"] for request in requests_in(actions)] == [[TRADES]]


def test_already_subscribed_without_a_name_halves_the_request() -> None:
    """Which one is meant shows when they are asked for in smaller requests."""
    talk = Talk(topics=(BOOK, TRADES))
    talk.requests()
    talk.answer("1", "error:already subscribed", success=False)
    assert [request["args"] for request in talk.requests()] == [[BOOK], [TRADES]]


def test_refusal_of_a_request_whose_topics_are_all_unwanted_changes_nothing() -> None:
    """Nobody asks again for what nobody wants any more."""
    talk = Talk(topics=(BOOK, TRADES))
    talk.requests()
    talk.session.unwant([BOOK, TRADES])
    talk.requests()
    talk.answer("1", f"error:handler not found,topic:{BOOK}", success=False)
    assert talk.step() == []
    assert talk.session.topics == []


def test_refused_topic_is_tried_again_alone_after_growing_pauses() -> None:
    """A minute, two, four, up to an hour; the time is what `wake_s` says."""
    talk = Talk(topics=(BOOK,))
    sent = talk.requests()
    pauses = []
    for _ in range(8):
        refused_s = talk.now_s
        talk.answer(sent[0]["req_id"], f"error:handler not found,topic:{BOOK}", success=False)
        talk.session.pong()
        while not (sent := talk.requests(talk.session.wake_s())):
            talk.session.pong()
        pauses.append(talk.now_s - refused_s)
    assert pauses == [*(REFUSED_RETRY_S * 2**number for number in range(6)), REFUSED_RETRY_CAP_S, REFUSED_RETRY_CAP_S]


def test_refusals_go_on_for_years() -> None:
    """However often a topic was refused, there is a next time (a float has room for 1023 doublings only)."""
    talk = Talk(topics=(BOOK,))
    text = f"error:handler not found,topic:{BOOK}"
    for number in range(1, 1100):
        talk.requests()
        talk.answer(str(number), text, success=False)
        talk.now_s += REFUSED_RETRY_CAP_S
        talk.session.pong()
    assert talk.session.phase(BOOK) is Phase.REFUSED


def test_accepted_topic_starts_over_with_its_pauses() -> None:
    """A refusal after an acceptance waits a minute again."""
    talk = Talk(topics=(BOOK,))
    for number in ("1", "2"):
        talk.requests(talk.now_s)
        talk.answer(number, f"error:handler not found,topic:{BOOK}", success=False)
        talk.now_s += 10 * REFUSED_RETRY_S
    talk.requests()
    talk.answer("3")
    talk.session.resync(BOOK)
    talk.requests()
    talk.answer("4", op="unsubscribe")
    talk.requests()
    talk.answer("5", f"error:handler not found,topic:{BOOK}", success=False)
    refused_s = talk.now_s
    talk.session.pong()
    while not talk.requests(talk.session.wake_s()):
        talk.session.pong()
    assert talk.now_s == refused_s + REFUSED_RETRY_S


# Answers by topic (option).


def test_by_topic_answer_refuses_only_the_failed() -> None:
    """failTopics are refused, the others of the request subscribed, with no second round (dossier 3.4)."""
    talk = Talk("option", (BOOK, TRADES, TICKER))
    talk.requests()
    talk.answer_by_topic((BOOK, TICKER), (TRADES,))
    assert talk.step() == [Acknowledged([BOOK, TICKER]), Refused(TRADES, "refused (failTopics)")]


def test_by_topic_refusal_carries_the_venues_text_where_there_is_one() -> None:
    """The reason of a rejection is the venue's text."""
    talk = Talk("option", (BOOK,))
    talk.requests()
    talk.answer_by_topic(failed=(BOOK,), text="no such symbol")
    assert talk.step() == [Refused(BOOK, "no such symbol")]


def test_by_topic_answer_without_topics_is_the_oldest_requests() -> None:
    """Two empty lists name nobody: the answer is taken for the request that has waited longest."""
    talk = Talk("option", (BOOK,))
    talk.requests()
    talk.answer_by_topic()
    assert talk.step() == [Acknowledged([BOOK])]


def test_by_topic_answer_goes_to_the_request_with_exactly_its_topics() -> None:
    """An unsubscription's answer does not pass for that of the subscription that had the topic, too."""
    talk = Talk("option", (BOOK, TRADES))
    talk.requests()
    talk.session.unwant([BOOK])
    talk.requests()
    talk.answer_by_topic((BOOK,))
    assert talk.phases() == {TRADES: Phase.ASKED}


def test_by_topic_answer_in_parts_leaves_the_rest_waiting() -> None:
    """A topic that the answer does not name is neither subscribed nor refused by it."""
    talk = Talk("option", (BOOK, TRADES))
    talk.requests()
    talk.answer_by_topic((BOOK,))
    assert talk.phases() == {BOOK: Phase.SUBSCRIBED, TRADES: Phase.ASKED}
    talk.answer_by_topic((TRADES,))
    assert talk.phases() == {BOOK: Phase.SUBSCRIBED, TRADES: Phase.SUBSCRIBED}
    assert talk.session.strange_replies == 0


# Answers that fit nothing, or something else.


def test_answer_without_id_is_for_the_oldest_request_of_its_kind() -> None:
    """Where no id is echoed the operation tells."""
    talk = Talk(topics=(BOOK,))
    settle(talk)
    talk.session.unwant([BOOK])
    talk.session.want([TRADES])
    talk.requests()
    talk.answer(op="subscribe")
    assert talk.phases() == {TRADES: Phase.SUBSCRIBED}


@pytest.mark.parametrize("req_id", ["77", ""])
def test_answer_to_nothing_is_counted(req_id: str) -> None:
    """An answer that belongs to no request changes nothing."""
    talk = Talk(topics=(BOOK,))
    settle(talk)
    talk.answer(req_id)
    assert talk.session.strange_replies == 1
    assert talk.phases() == {BOOK: Phase.SUBSCRIBED}


def test_answer_to_a_request_of_the_last_connection_is_strange() -> None:
    """Requests go with their connection."""
    talk = Talk(topics=(BOOK,))
    talk.requests()
    talk.session.closed()
    talk.session.opened(NOW_S)
    talk.answer("1")
    assert talk.session.strange_replies == 1
    assert [request["req_id"] for request in talk.requests()] == ["2"]


def test_late_silence_of_an_older_request_does_not_count() -> None:
    """A topic that was asked for again meanwhile waits for its own answer."""
    talk = Talk(topics=(BOOK,))
    talk.requests()
    talk.session.unwant([BOOK])
    talk.requests()
    talk.answer("2", op="unsubscribe")
    talk.session.want([BOOK])
    talk.requests(NOW_S + 1)
    assert requests_in(talk.step(NOW_S + ACKNOWLEDGEMENT_TIMEOUT_S)) == []
    assert talk.session.timeouts == 1
    talk.answer("3")
    assert talk.phases() == {BOOK: Phase.SUBSCRIBED}


# Silence.


def test_unanswered_topics_with_data_are_subscribed_and_the_others_asked_for_alone() -> None:
    """Data prove a subscription (dossier 3.2); the rest goes again, one topic a request."""
    talk = Talk(topics=(BOOK, TRADES, TICKER))
    talk.requests()
    talk.live.add(TRADES)
    assert talk.requests(NOW_S + ACKNOWLEDGEMENT_TIMEOUT_S - 0.01) == []
    actions = talk.step(NOW_S + ACKNOWLEDGEMENT_TIMEOUT_S)
    assert actions[0] == Acknowledged([TRADES])
    assert [request["args"] for request in requests_in(actions)] == [[BOOK], [TICKER]]


def test_topic_unanswered_twice_is_refused_and_says_so() -> None:
    """Silence does not loop: the second time the topic has to wait like a refused one, and is left: it may be had."""
    talk = Talk(topics=(BOOK,))
    talk.requests()
    talk.requests(NOW_S + ACKNOWLEDGEMENT_TIMEOUT_S)
    actions = talk.step(NOW_S + 2 * ACKNOWLEDGEMENT_TIMEOUT_S)
    assert Refused(BOOK, "no answer from the venue within 5 s, twice") in actions
    assert [(request["op"], request["args"]) for request in requests_in(actions)] == [("unsubscribe", [BOOK])]
    talk.answer("3", op="unsubscribe")
    assert talk.requests() == []
    assert talk.session.phase(BOOK) is Phase.REFUSED
    assert talk.session.timeouts == 2


def test_topic_that_fails_after_a_lost_answer_is_subscribed_anew() -> None:
    """The venue may have it since the first request, and names it as failed for that; failing again is a refusal."""
    topic = "publicTrade.BTC"
    talk = Talk("option", topics=(topic,))
    talk.requests()
    talk.requests(NOW_S + ACKNOWLEDGEMENT_TIMEOUT_S)
    talk.answer_by_topic(failed=(topic,))
    assert [(request["op"], request["args"]) for request in talk.requests()] == [("unsubscribe", [topic])]
    talk.answer_by_topic(succeeded=(topic,))
    assert [(request["op"], request["args"]) for request in talk.requests()] == [("subscribe", [topic])]
    talk.answer_by_topic(failed=(topic,))
    assert talk.step() == [Refused(topic, "refused (failTopics)")]


def test_topic_silent_twice_is_subscribed_anew_when_its_time_has_come() -> None:
    """A refusal for want of an answer is no word of the venue's: a failure after it may mean that it is subscribed."""
    topic = "publicTrade.BTC"
    talk = Talk("option", topics=(topic,))
    talk.requests()
    for number in (1, 2, 3):
        talk.requests(NOW_S + number * ACKNOWLEDGEMENT_TIMEOUT_S)
    assert talk.session.phase(topic) is Phase.REFUSED
    assert len(talk.requests(talk.now_s + REFUSED_RETRY_S)) == 1
    talk.answer_by_topic(failed=(topic,))
    assert [request["op"] for request in talk.requests()] == ["unsubscribe"]
    talk.answer_by_topic(succeeded=(topic,))
    talk.requests()
    talk.answer_by_topic(succeeded=(topic,))
    assert talk.session.phase(topic) is Phase.SUBSCRIBED


def test_silence_is_forgotten_once_the_venue_answers() -> None:
    """Only silence in a row counts: an answered topic may be unanswered once again, hours later."""
    talk = Talk(topics=(BOOK,))
    talk.requests()
    talk.requests(NOW_S + ACKNOWLEDGEMENT_TIMEOUT_S)
    talk.answer("2")
    talk.session.resync(BOOK)
    talk.requests()
    talk.answer("3", op="unsubscribe")
    talk.requests()
    assert [request["args"] for request in talk.requests(talk.now_s + ACKNOWLEDGEMENT_TIMEOUT_S)] == [[BOOK]]
    assert talk.session.phase(BOOK) is Phase.ASKED


def test_next_connection_asks_for_what_was_only_silent() -> None:
    """A refusal holds on every connection until it is tried again; silence was that connection's."""
    talk = Talk(topics=(BOOK, TRADES))
    talk.requests()
    talk.answer("1", f"error:handler not found,topic:{BOOK}", success=False)
    talk.requests()
    for number in (1, 2):
        talk.requests(NOW_S + number * ACKNOWLEDGEMENT_TIMEOUT_S)
    assert talk.phases() == {BOOK: Phase.REFUSED, TRADES: Phase.REFUSED}
    talk.session.closed()
    talk.session.opened(talk.now_s)
    assert [request["args"] for request in talk.requests()] == [[TRADES]]


# Connections come and go.


def test_close_forgets_requests_and_actions_but_no_topic() -> None:
    """What was about to be sent on the old connection is not sent on the new one."""
    talk = Talk("spot", tuple(f"tickers.S{number}" for number in range(60)))
    talk.requests()
    talk.session.unwant(["tickers.S0"])
    talk.answer("2")
    talk.session.closed()
    assert talk.step() == []
    assert talk.session.wake_s() == math.inf
    talk.session.opened(NOW_S)
    assert [request["op"] for request in talk.requests()] == ["subscribe"] * REQUESTS_IN_FLIGHT
    assert len(talk.session.topics) == 59


# Heartbeat.


def test_ping_goes_out_every_interval() -> None:
    """Every 20 s, as `wake_s` asks for it (dossier 2.2)."""
    talk = Talk()
    pings = []
    for _ in range(4):
        assert Send(operations.PING) in talk.step()
        pings.append(talk.now_s)
        talk.session.pong()
        assert talk.step() == []
        talk.now_s = talk.session.wake_s()
    assert pings == [NOW_S, NOW_S + 20, NOW_S + 40, NOW_S + 60]


def test_missing_pong_ends_the_connection_at_its_deadline() -> None:
    """Not earlier, and once."""
    talk = Talk()
    talk.step()
    assert talk.session.wake_s() == NOW_S + 10
    assert talk.step(NOW_S + 9.99) == []
    assert talk.step(NOW_S + 10) == [Disconnect("no pong within 10 s")]
    assert talk.step(NOW_S + 10) == []


def test_deadline_longer_than_the_interval_counts_from_the_first_unanswered_ping() -> None:
    """A second ping does not put the first one's deadline off."""
    talk = Talk(pong_timeout_s=30)
    talk.step()
    assert talk.step(NOW_S + 20) == [Send(operations.PING)]
    assert talk.step(NOW_S + 30) == [Disconnect("no pong within 30 s")]


def test_new_connection_owes_no_pong() -> None:
    """The old connection's ping is forgotten."""
    talk = Talk()
    talk.step()
    talk.session.closed()
    talk.session.opened(NOW_S + 9)
    assert talk.step(NOW_S + 9) == [Send(operations.PING)]
    talk.session.pong()
    assert talk.step(NOW_S + 15) == []


# Private connections.


AUTH = b'{"req_id":"auth","op":"auth","args":["key",1,"signed"]}'
ORDER, WALLET = "order", "wallet"


def private(*topics: str) -> Talk:
    """An open private session that has sent its ``auth``, and its first ping."""
    talk = Talk("private", topics, auth=AUTH)
    assert talk.step() == [Send(AUTH), Send(operations.PING)]
    return talk


def authorized(*topics: str) -> Talk:
    """The same when its topics have been asked for."""
    talk = private(*topics)
    talk.answer("auth", op="auth")
    assert talk.step()[0] == Authorized()
    return talk


def test_auth_and_ping_go_out_at_once_and_nothing_else() -> None:
    """A subscription that overtakes the answer to ``auth`` is refused (dossier 3.1, 8)."""
    talk = private(ORDER)
    for later_s in (0.1, 5.0, AUTH_TIMEOUT_S - 0.1):
        assert talk.requests(NOW_S + later_s) == []
    talk.session.want([WALLET])
    assert talk.requests() == []


@pytest.mark.parametrize(
    "reply",
    [
        b'{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}',
        b'{"req_id":"auth","success":true,"ret_msg":"","op":"auth","conn_id":"c"}',
        b'{"success":true,"ret_msg":"","conn_id":"c","req_id":"1","op":"auth"}',
        b'{"success":false,"ret_msg":"Repeat auth","op":"auth","conn_id":"c"}',
        b'{"conn_id":"c","ret_msg":"","success":true}',
    ],
)
def test_any_success_of_auth_lets_the_topics_be_asked_for(reply: bytes) -> None:
    """With or without ``req_id``, in any order, and where it was authorized already (dossier 3.1)."""
    talk = private(ORDER, WALLET)
    parsed = operations.parse_reply(reply)
    assert isinstance(parsed, Acknowledgement)
    talk.session.acknowledged(parsed, NOW_S)
    signal, asked, request = talk.step()
    assert (signal, asked) == (Authorized(), Asked([ORDER, WALLET]))
    assert isinstance(request, Send)
    talk.answer("1")
    assert talk.step() == [Acknowledged([ORDER, WALLET])]
    assert talk.session.strange_replies == 0


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b'{"success":false,"ret_msg":"Params Error","op":"auth","conn_id":"c"}', "Params Error"),
        (b'{"success":false,"ret_msg":"error:USVC1111","req_id":"auth","op":"auth"}', "error:USVC1111"),
        (b'{"success":false,"ret_msg":"error:request expired","conn_id":"c"}', "error:request expired"),
        (b'{"success":false,"ret_msg":"","op":"auth","conn_id":"c"}', "authentication refused"),
    ],
)
def test_refused_auth_ends_the_connection_in_the_venues_words(reply: bytes, text: str) -> None:
    """And nothing more goes out on it, also if it stays open: no subscription, no ping, no second ``auth``."""
    talk = private(ORDER)
    parsed = operations.parse_reply(reply)
    assert isinstance(parsed, Acknowledgement)
    talk.session.acknowledged(parsed, NOW_S)
    assert talk.step() == [Unauthorized(text)]
    talk.session.want([WALLET])
    assert talk.step(NOW_S + 1000) == []
    assert talk.session.wake_s() == math.inf


def test_auth_that_is_not_answered_ends_the_connection() -> None:
    """At its deadline, and not before."""
    talk = private(ORDER)
    talk.session.pong()
    assert talk.session.wake_s() == NOW_S + AUTH_TIMEOUT_S
    assert talk.step(NOW_S + AUTH_TIMEOUT_S - 0.01) == []
    assert talk.step(NOW_S + AUTH_TIMEOUT_S) == [Disconnect("no answer to auth within 10 s")]
    assert talk.step(NOW_S + 1000) == []


def test_missing_pong_is_noticed_while_auth_is_awaited() -> None:
    """The pong deadline runs from the first ping on."""
    talk = Talk("private", (ORDER,), auth=AUTH, pong_timeout_s=5)
    talk.step()
    assert talk.session.wake_s() == NOW_S + 5
    assert talk.step(NOW_S + 5) == [Disconnect("no pong within 5 s")]


@pytest.mark.parametrize("text", ["Request not authorized", "error:topic:order needs auth first"])
def test_request_refused_for_want_of_auth_ends_the_connection(text: str) -> None:
    """It is not halved and asked again: every part would be refused (dossier 3.1)."""
    talk = authorized(ORDER, WALLET)
    talk.answer("1", text, success=False)
    assert talk.step() == [Unauthorized(text)]
    assert talk.step(NOW_S + 1000) == []


def test_same_words_on_a_public_connection_are_an_ordinary_refusal() -> None:
    """There is nothing to authorize there."""
    talk = Talk(topics=(BOOK,))
    talk.requests()
    talk.answer("1", "Request not authorized", success=False)
    assert talk.step() == [Refused(BOOK, "Request not authorized")]


def test_answer_to_no_auth_is_strange() -> None:
    """A second answer, or one on a public connection: counted, and nothing follows from it."""
    for talk in (authorized(ORDER), Talk(topics=(BOOK,))):
        talk.step()
        talk.answer("auth", "Params Error", success=False, op="auth")
        assert talk.step() == []
        assert talk.session.strange_replies == 1


def test_every_connection_is_authorized_anew() -> None:
    """With the request made for it; what was subscribed is asked for again when it is answered."""
    talk = authorized(ORDER)
    talk.answer("1")
    talk.step()
    assert talk.session.phase(ORDER) is Phase.SUBSCRIBED
    talk.session.closed()
    assert talk.session.phase(ORDER) is Phase.QUEUED
    talk.session.opened(NOW_S + 60, b"another")
    assert talk.step(NOW_S + 60) == [Send(b"another"), Send(operations.PING)]
    talk.answer(op="auth")
    assert [request["args"] for request in talk.requests()] == [[ORDER]]


def test_refused_topic_waits_for_auth_like_any_other() -> None:
    """Its time to be asked again may come before the answer: neither is it asked nor are we woken for it."""
    talk = authorized("order.linear", "nonsense")
    talk.answer("1", "error:handler not found,topic:nonsense", success=False)
    talk.step()
    assert talk.session.phase("nonsense") is Phase.REFUSED
    talk.session.closed()
    later_s = NOW_S + REFUSED_RETRY_S + 1
    talk.session.opened(later_s, AUTH)
    assert talk.requests(later_s) == [msgspec.json.decode(AUTH)]
    assert talk.session.wake_s() > later_s
    talk.answer(op="auth")
    assert [request["args"] for request in talk.requests()] == [["order.linear"], ["nonsense"]]
