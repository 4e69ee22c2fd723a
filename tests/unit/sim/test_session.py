"""What requests lead to: rules of subscribing, per product."""

import json
from typing import Any

import pytest

from feedhandler.bybit.products import args_characters
from feedhandler.sim.exchange import Exchange
from feedhandler.sim.listing import Listing
from feedhandler.sim.session import Outcome, Session, Settings

NOW_NS = 1_760_000_000_000_000_000


def session(product: str, settings: Settings | None = None, **more: Any) -> Session:
    return Session(product, "id-1", Exchange(Listing()), settings or Settings(), **more)


def ask(subject: Session, op: str, *args: str, **more: object) -> Outcome:
    fields = {"op": op} | ({"args": args} if args else {}) | more
    return subject.handle(json.dumps(fields).encode(), NOW_NS)


def text(outcome: Outcome) -> str:
    found: str = json.loads(outcome.reply)["ret_msg"]
    return found


def test_subscription_is_remembered_and_counted() -> None:
    """Topics, characters and requests of a connection."""
    subject = session("linear")
    outcome = ask(subject, "subscribe", "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", req_id="7")
    assert outcome.added == ["orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"]
    assert json.loads(outcome.reply)["req_id"] == "7"
    assert list(subject.topics) == outcome.added
    assert subject.args_characters == args_characters(outcome.added)
    assert (subject.requests, subject.largest_request_args, subject.counts["subscribe"]) == (1, 2, 1)


@pytest.mark.parametrize(
    ("product", "bad", "words"),
    [
        ("linear", "orderbook.50.NOPEUSDT", "error:handler not found,topic:orderbook.50.NOPEUSDT"),
        ("linear", "orderbook.50.btcusdt", "error:handler not found,topic:orderbook.50.btcusdt"),
        ("linear", "orderbook.500.BTCUSDT", "error:handler not found,topic:orderbook.500.BTCUSDT"),
        ("linear", "liquidation.BTCUSDT", "error:handler not found,topic:liquidation.BTCUSDT"),
        ("linear", "order", "error:handler not found,topic:order"),
        ("inverse", "orderbook.50.BTCUSDT", "error:handler not found,topic:orderbook.50.BTCUSDT"),
        ("spot", "orderbook.50.NOPEUSDT", "Invalid symbol :[orderbook.50.NOPEUSDT]"),
        ("spot", "allLiquidation.BTCUSDT", "error:handler not found,topic:allLiquidation.BTCUSDT"),
    ],
)
def test_one_bad_topic_rejects_the_whole_request(product: str, bad: str, words: str) -> None:
    """Dossier 3.4: all or nothing; only the first offender is named."""
    subject = session(product)
    good = "orderbook.50.BTCUSD" if product == "inverse" else "orderbook.50.BTCUSDT"
    outcome = ask(subject, "subscribe", good, bad, "nonsense")
    assert text(outcome) == words
    assert outcome.added == []
    assert not subject.topics
    assert subject.args_characters == 0
    assert ask(subject, "subscribe", good).added == [good]


def test_duplicate_rejects_the_request_and_keeps_the_subscription() -> None:
    """Dossier 3.4: the new topics of the same request are rejected, too; the existing one goes on."""
    subject = session("linear")
    ask(subject, "subscribe", "publicTrade.BTCUSDT")
    outcome = ask(subject, "subscribe", "publicTrade.ETHUSDT", "publicTrade.BTCUSDT")
    assert text(outcome) == "error:already subscribed,topic:publicTrade.BTCUSDT"
    assert list(subject.topics) == ["publicTrade.BTCUSDT"]
    twice = ask(subject, "subscribe", "publicTrade.ETHUSDT", "publicTrade.ETHUSDT")
    assert text(twice) == "error:already subscribed,topic:publicTrade.ETHUSDT"


def test_bad_topic_is_named_before_a_duplicate() -> None:
    """Dossier 9.3: per topic syntax, symbol and depth come before duplicates."""
    subject = session("linear")
    ask(subject, "subscribe", "publicTrade.BTCUSDT")
    outcome = ask(subject, "subscribe", "publicTrade.BTCUSDT", "publicTrade.NOPEUSDT")
    assert text(outcome) == "error:handler not found,topic:publicTrade.NOPEUSDT"


def test_spot_takes_ten_topics_a_request() -> None:
    """Dossier 2.4, 3.4: more than ten are refused, before anything else is looked at, and counted as a breach."""
    subject = session("spot")
    outcome = ask(subject, "subscribe", *(f"publicTrade.COIN{number}USDT" for number in range(10)), "nonsense")
    assert text(outcome) == "args size >10"
    assert outcome.violations == ["spot_args"]
    assert len(ask(subject, "subscribe", *(f"publicTrade.COIN{number}USDT" for number in range(10))).added) == 10


def test_characters_of_a_connection_are_limited() -> None:
    """Dossier 2.4: 21,000 characters of args; the request that breaks it is refused and counted."""
    subject = session("linear", Settings(characters_text="too long"))
    for start in range(0, 700, 50):
        ask(subject, "subscribe", *(f"orderbook.50.COIN{number}USDT" for number in range(start, start + 50)))
    before = subject.args_characters
    assert 20_000 > before > 15_000
    outcome = ask(subject, "subscribe", *(f"tickers.COIN{number}USDT" for number in range(300)))
    assert text(outcome) == "too long"
    assert outcome.violations == ["args_characters"]
    assert subject.args_characters == before


@pytest.mark.parametrize(("keeps", "left"), [(False, 0), (True, args_characters(["tickers.BTCUSDT"]))])
def test_unsubscribing_gives_characters_back_unless_told_otherwise(keeps: bool, left: int) -> None:
    """Dossier 12, open question 1."""
    subject = session("linear", Settings(keeps_characters=keeps))
    ask(subject, "subscribe", "tickers.BTCUSDT")
    ask(subject, "unsubscribe", "tickers.BTCUSDT")
    assert subject.args_characters == left


@pytest.mark.parametrize(("product", "words"), [("linear", ""), ("spot", "unsubscribe")])
def test_unsubscribing_removes_the_named_topics_only(product: str, words: str) -> None:
    """Dossier 3.3: acknowledged, also for a topic that was not subscribed (open question 2)."""
    subject = session(product)
    ask(subject, "subscribe", "tickers.BTCUSDT", "publicTrade.BTCUSDT")
    outcome = ask(subject, "unsubscribe", "tickers.BTCUSDT", "tickers.ETHUSDT", "tickers.BTCUSDT")
    assert (text(outcome), outcome.removed) == (words, ["tickers.BTCUSDT"])
    assert list(subject.topics) == ["publicTrade.BTCUSDT"]


def lists(outcome: Outcome) -> tuple[list[str], list[str]]:
    data = json.loads(outcome.reply)["data"]
    return data["successTopics"], data["failTopics"]


def test_option_answers_topic_by_topic() -> None:
    """Dossier 3.2: the good ones are subscribed though others fail; duplicates fail."""
    subject = session("option")
    good = "orderbook.25.BTC-25JUN27-106000-P-USDT"
    outcome = ask(subject, "subscribe", good, "orderbook.25.NOPE", "news", good, req_id="7")
    assert lists(outcome) == ([good], ["orderbook.25.NOPE", "news", good])
    assert outcome.added == [good]
    assert "req_id" not in json.loads(outcome.reply)
    assert lists(ask(subject, "unsubscribe", good)) == ([good], [])


@pytest.mark.parametrize("stream", ["orderbook.1", "orderbook.50", "kline.1"])
@pytest.mark.parametrize(
    ("product", "symbol"), [("option", "BTC-25JUN27-106000-P-USDT"), ("spread", "SOLUSDT_SOL/USDT")]
)
def test_option_and_spread_accept_what_they_do_not_serve(product: str, symbol: str, stream: str) -> None:
    """Dossier 3.2, 9.3: acknowledged as successful, then silent."""
    topic = f"{stream}.{symbol}"
    assert lists(ask(session(product), "subscribe", topic)) == ([topic], [])


def test_spread_answers_topic_by_topic() -> None:
    """Dossier 3.2: as option; there is no limit of topics (2.4)."""
    subject = session("spread")
    good = ["orderbook.25.SOLUSDT_SOL/USDT", "publicTrade.SOLUSDT_SOL/USDT", "tickers.SOLUSDT_SOL/USDT"]
    bad = ["orderbook.25.SOLUSDT", "tickers.NOPE_NOPE/USDT", "priceLimit.SOLUSDT_SOL/USDT", good[0]]
    outcome = ask(subject, "subscribe", *good, *bad)
    assert lists(outcome) == (good, bad)
    assert outcome.added == good
    many = session("spread", recorded={f"t{number}" for number in range(2100)})
    outcome = ask(many, "subscribe", *(f"t{number}" for number in range(2001)))
    assert (len(outcome.added), outcome.violations) == (2001, [])


def test_option_connection_takes_two_thousand_topics() -> None:
    """Dossier 2.4: the topics beyond fail, and the breach is counted. Short names, for the characters count, too."""
    subject = session("option", recorded={f"t{number}" for number in range(2100)})
    outcome = ask(subject, "subscribe", *(f"t{number}" for number in range(2001)))
    succeeded, failed = lists(outcome)
    assert (len(succeeded), failed) == (2000, ["t2000"])
    assert outcome.violations == ["option_topics"]


def test_option_topics_beyond_the_characters_fail() -> None:
    """Dossier 2.4 holds on option as well."""
    subject = session("option", recorded={"x" * 10_000, "y" * 10_000, "z" * 10_000})
    outcome = ask(subject, "subscribe", "x" * 10_000, "y" * 10_000, "z" * 10_000)
    assert lists(outcome)[1] == ["z" * 10_000]
    assert outcome.violations == ["args_characters"]


@pytest.mark.parametrize("product", ["linear", "option"])
def test_veto_refuses_what_would_be_right(product: str) -> None:
    """A fault of the venue: the request is refused with its words, or its topics fail."""
    subject = session(product, veto=lambda: "error:system busy")
    topic = "publicTrade.BTC" if product == "option" else "publicTrade.BTCUSDT"
    outcome = ask(subject, "subscribe", topic)
    assert outcome.added == []
    assert outcome.refused
    if product == "linear":
        assert text(outcome) == "error:system busy"


def test_recorded_topics_are_accepted_whatever_the_grammar_says() -> None:
    """A replayed file may hold topics that the venue has removed since."""
    topic = "orderbook.500.XRPUSDT"
    assert ask(session("linear", recorded={topic}), "subscribe", topic).added == [topic]


def test_status_socket_serves_its_topic_only() -> None:
    """Dossier 1.2."""
    subject = session("status")
    assert ask(subject, "subscribe", "system.status").added == ["system.status"]
    assert text(ask(subject, "subscribe", "tickers.BTCUSDT")) == "error:handler not found,topic:tickers.BTCUSDT"


def test_subscribing_nothing_is_refused() -> None:
    """Nobody has recorded this one; silence would be worse."""
    assert ask(session("linear"), "subscribe").refused == "error:handler not found"


def test_unknown_operation_and_nonsense_leave_the_session_as_it_is() -> None:
    """Dossier 3.4: both are answered, the socket stays open."""
    subject = session("linear")
    ask(subject, "subscribe", "tickers.BTCUSDT")
    assert text(ask(subject, "shout", req_id="9")) == "error:invalid op"
    outcome = subject.handle(b"hello", NOW_NS)
    assert text(outcome).startswith("Failed to decode incoming data:")
    assert outcome.refused == "Failed to decode incoming data"
    assert list(subject.topics) == ["tickers.BTCUSDT"]


def test_ping_is_answered() -> None:
    """Dossier 2.2."""
    outcome = ask(session("linear"), "ping")
    assert (outcome.op, text(outcome)) == ("ping", "pong")
