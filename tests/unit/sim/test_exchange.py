"""The simulated venue without sockets: topics, grids, order of events."""

import json
from typing import Any

import pytest

from feedhandler.bybit.products import STATUS_TOPIC
from feedhandler.sim.exchange import GRID_JITTER_NS, LATEST_NS, Exchange
from feedhandler.sim.listing import Listing
from feedhandler.sim.publication import Publication
from feedhandler.sim.venue import STATUS

NOW_NS = 1_760_000_000_000_000_000
MS = 1_000_000
S = 1_000_000_000

EVERY_STREAM = [
    *(("linear", f"orderbook.{depth}.BTCUSDT") for depth in ("1", "50", "200", "1000", "rpi", "full")),
    ("linear", "publicTrade.BTCUSDT"),
    ("linear", "tickers.BTCUSDT"),
    ("linear", "kline.1.BTCUSDT"),
    ("linear", "kline.M.BTCUSDT"),
    ("linear", "allLiquidation.BTCUSDT"),
    ("linear", "priceLimit.BTCUSDT"),
    ("linear", "insurance.USDT"),
    ("linear", "adlAlert.USDC"),
    ("inverse", "insurance.inverse"),
    ("inverse", "tickers.BTCUSDZ26"),
    ("spot", "tickers.BTCUSDT"),
    ("spot", "orderbook.200.BTCUSDT"),
    ("option", "orderbook.25.BTC-25JUN27-106000-P-USDT"),
    ("option", "orderbook.100.BTC-25JUN27-106000-P-USDT"),
    ("option", "tickers.BTC-25JUN27-106000-P-USDT"),
    ("option", "publicTrade.BTC"),
    ("spread", "orderbook.25.SOLUSDT_SOL/USDT"),
    ("spread", "publicTrade.SOLUSDT_SOL/USDT"),
    ("spread", "tickers.SOLUSDT_SOL/USDT"),
]


def exchange(seed: int = 1, rate: float = 1.0) -> Exchange:
    return Exchange(Listing(), seed=seed, rate=rate)


def run(subject: Exchange, until_ns: int) -> list[tuple[int, Publication, bytes]]:
    out = []
    while (due_ns := subject.next_due_ns) is not None and due_ns <= until_ns:
        out += [(due_ns, publication, payload) for publication, payload in subject.advance(due_ns)]
    return out


@pytest.mark.parametrize(("product", "topic"), EVERY_STREAM)
def test_every_stream_publishes(product: str, topic: str) -> None:
    """Each stream of each product gives JSON of its topic within ten seconds."""
    subject = exchange()
    assert subject.serves(product, topic)
    publication = subject.activate(product, topic, NOW_NS)
    first = publication.first(NOW_NS)
    messages = [json.loads(payload) for _, _, payload in run(subject, NOW_NS + 10 * S)]
    messages += [json.loads(first)] if first is not None else []
    assert messages
    assert {message["topic"] for message in messages} == {topic}


@pytest.mark.parametrize(
    ("product", "topic"),
    [
        ("linear", "orderbook.500.BTCUSDT"),
        ("linear", "orderbook.50.NOPEUSDT"),
        ("linear", "liquidation.BTCUSDT"),
        ("linear", "insurance.BTC"),
        ("linear", "kline.2.BTCUSDT"),
        ("spot", "allLiquidation.BTCUSDT"),
        ("option", "publicTrade.NOPE"),
        ("option", "orderbook.50.BTC-25JUN27-106000-P-USDT"),
        ("spread", "orderbook.50.SOLUSDT_SOL/USDT"),
        ("spread", "orderbook.25.SOLUSDT"),
        ("private", "orderbook.50.BTCUSDT"),
        ("private", "dcp.future"),
        (STATUS, "orderbook.50.BTCUSDT"),
    ],
)
def test_other_topics_are_not_served(product: str, topic: str) -> None:
    """Removed, foreign and unknown topics: said so beforehand, and refused when forced."""
    subject = exchange()
    assert not subject.serves(product, topic)
    if product != STATUS:
        with pytest.raises(LookupError):
            subject.activate(product, topic, NOW_NS)


def test_status_socket_has_one_topic() -> None:
    """Dossier 1.2: `system.status` on its own path."""
    subject = exchange()
    assert subject.serves(STATUS, STATUS_TOPIC)
    assert subject.activate(STATUS, STATUS_TOPIC, NOW_NS).first(NOW_NS) is None
    assert subject.next_due_ns is None


def test_same_symbol_of_two_products_is_two_markets() -> None:
    """Dossier 0, fact 1: the same topic exists on spot and linear with different data."""
    subject = exchange()
    spot = subject.activate("spot", "orderbook.50.BTCUSDT", NOW_NS)
    linear = subject.activate("linear", "orderbook.50.BTCUSDT", NOW_NS)
    assert spot.first(NOW_NS) != linear.first(NOW_NS)
    assert spot.markets[0] is not linear.markets[0]


def test_all_depths_are_views_of_one_market() -> None:
    """Dossier 9.4: the shallower window is the top of the deeper one whenever both were pushed at one event."""
    subject = exchange()
    for depth in ("50", "200"):
        subject.activate("linear", f"orderbook.{depth}.BTCUSDT", NOW_NS)
    run(subject, NOW_NS + 2 * S)
    shallow, deep = (subject.find("linear", f"orderbook.{depth}.BTCUSDT") for depth in ("50", "200"))
    assert shallow is not None
    assert deep is not None
    assert shallow.markets == deep.markets
    shallow.publish(NOW_NS + 2 * S)
    deep.publish(NOW_NS + 2 * S)
    tops: list[Any] = []
    for publication in (shallow, deep):
        data = json.loads(publication.first(NOW_NS) or b"")["data"]
        tops.append((data["b"][:50], data["a"][:50], data["seq"]))
    assert tops[0] == tops[1]


def test_trades_and_books_share_sequence_and_time() -> None:
    """Dossier 4.1, 4.4: ``seq`` is common; ``cts`` joins with ``T``."""
    subject = exchange()
    subject.activate("linear", "orderbook.50.BTCUSDT", NOW_NS)
    subject.activate("linear", "publicTrade.BTCUSDT", NOW_NS)
    sequences: dict[str, set[int]] = {"orderbook": set(), "publicTrade": set()}
    for _, publication, payload in run(subject, NOW_NS + 20 * S):
        message = json.loads(payload)
        if publication.topic.startswith("publicTrade"):
            sequences["publicTrade"] |= {item["seq"] for item in message["data"]}
        else:
            sequences["orderbook"].add(message["data"]["seq"])
    assert len(sequences["publicTrade"] & sequences["orderbook"]) > 10


@pytest.mark.parametrize(
    ("topic", "interval_ms"),
    [
        ("orderbook.1.BTCUSDT", 10),
        ("orderbook.50.BTCUSDT", 20),
        ("orderbook.200.BTCUSDT", 100),
        ("tickers.BTCUSDT", 100),
    ],
)
def test_pushes_keep_to_their_grid(topic: str, interval_ms: int) -> None:
    """Dossier 9.4: each depth on its own grid, phase fixed, jitter up to 3 ms; at most one push in a window."""
    subject = exchange()
    subject.activate("linear", topic, NOW_NS)
    dues_ns = [due_ns for due_ns, _, _ in run(subject, NOW_NS + 5 * S)]
    interval_ns = interval_ms * MS
    (phase_ns,) = (phase for key, phase in subject._phases.items() if key == ("linear", interval_ns))
    offsets = {(due_ns - phase_ns) % interval_ns for due_ns in dues_ns}
    assert len(dues_ns) > 30
    assert max(offsets) < GRID_JITTER_NS
    windows = [(due_ns - phase_ns) // interval_ns for due_ns in dues_ns]
    assert len(set(windows)) == len(windows)


def test_trades_are_not_on_a_grid() -> None:
    """Dossier 4.4: real time."""
    subject = exchange()
    subject.activate("linear", "publicTrade.BTCUSDT", NOW_NS)
    for due_ns, _, payload in run(subject, NOW_NS + 5 * S):
        message = json.loads(payload)
        assert message["ts"] == due_ns // MS
        assert 2 <= message["ts"] - message["data"][0]["T"] <= 3


def test_equal_seeds_make_equal_venues() -> None:
    """Determinism: the same subscriptions at the same times give the same bytes."""

    def record(seed: int) -> list[tuple[int, str, bytes]]:
        subject = exchange(seed)
        for product, topic in EVERY_STREAM:
            subject.activate(product, topic, NOW_NS)
        return [(due_ns, publication.topic, payload) for due_ns, publication, payload in run(subject, NOW_NS + S)]

    assert record(1) == record(1)
    assert record(1) != record(2)


def test_only_what_is_subscribed_is_computed() -> None:
    """Without subscribers the queue runs dry; the next one begins anew, with a later state."""
    subject = exchange()
    publication = subject.activate("linear", "orderbook.50.BTCUSDT", NOW_NS)
    assert subject.activate("linear", "orderbook.50.BTCUSDT", NOW_NS) is publication
    run(subject, NOW_NS + S)
    subject.deactivate(publication, NOW_NS + S)
    subject.deactivate(publication, NOW_NS + S)
    assert run(subject, NOW_NS + 100 * S) == []
    assert subject.next_due_ns is None
    before = json.loads(publication.first(NOW_NS) or b"")["data"]["u"]
    assert subject.activate("linear", "orderbook.50.BTCUSDT", NOW_NS + 60 * S) is publication
    assert json.loads(publication.first(NOW_NS) or b"")["data"]["u"] > before
    assert run(subject, NOW_NS + 61 * S)


def test_resubscription_within_a_tick_does_not_double_the_market() -> None:
    """What was queued before the pause is void."""
    subject = exchange()
    for _ in range(5):
        publication = subject.activate("linear", "orderbook.1.BTCUSDT", NOW_NS)
        subject.deactivate(publication, NOW_NS)
    subject.activate("linear", "orderbook.1.BTCUSDT", NOW_NS)
    once = exchange()
    once.activate("linear", "orderbook.1.BTCUSDT", NOW_NS)
    assert len(run(subject, NOW_NS + 5 * S)) == pytest.approx(len(run(once, NOW_NS + 5 * S)), rel=0.4)


def test_driver_that_comes_late_is_not_flooded() -> None:
    """After a stop of the process the markets go on from now; what was missed is not lived through."""
    subject = exchange()
    subject.activate("linear", "orderbook.50.BTCUSDT", NOW_NS)
    run(subject, NOW_NS + S)
    late_ns = NOW_NS + 100 * S
    messages = subject.advance(late_ns)
    assert len(messages) <= 2
    due_ns = subject.next_due_ns
    assert due_ns is not None
    assert due_ns > late_ns - LATEST_NS


@pytest.mark.parametrize(
    ("product", "pads", "decimals"), [("linear", False, 1), ("linear", True, 2), ("spot", True, 1)]
)
def test_level_one_of_futures_may_be_padded(product: str, pads: bool, decimals: int) -> None:
    """Dossier 4: padded until 2025, trimmed since; spot was always trimmed."""
    subject = Exchange(Listing(), pads_level_1=pads)
    publication = subject.activate(product, "orderbook.1.BTCUSDT", NOW_NS)
    seen = {
        len(json.loads(payload)["data"]["b"][0][0].partition(".")[2]) for _, _, payload in run(subject, NOW_NS + 3 * S)
    }
    assert publication.is_active
    assert max(seen) == decimals


def test_delisted_symbol_is_served_no_more() -> None:
    """Dossier 9.5: a later subscription fails."""
    subject = exchange()
    subject.delisted.add(("linear", "BTCUSDT"))
    assert not subject.serves("linear", "orderbook.50.BTCUSDT")
    assert subject.serves("spot", "orderbook.50.BTCUSDT")


def test_busy_symbols_publish_more_than_quiet_ones() -> None:
    """Dossier 2.5: about 30 frames/s of BTCUSDT's 50-level book, decaying with rank to about one."""

    def rate(topic: str) -> float:
        subject = exchange()
        subject.activate("linear", topic, NOW_NS)
        return len(run(subject, NOW_NS + 20 * S)) / 20

    assert 22 < rate("orderbook.50.BTCUSDT") < 42
    assert 0.5 < rate("orderbook.50.COIN900USDT") < 3


PRIVATE_TOPICS = ("order", "execution", "execution.fast", "position", "wallet", "greeks")


def attend(subject: Exchange, *topics: str) -> list[Publication]:
    return [subject.activate("private", topic, NOW_NS) for topic in topics]


def test_account_acts_while_somebody_listens() -> None:
    """Every private topic has messages within a minute; nothing happens without a listener, or at rate 0."""
    subject = Exchange(Listing(), account_rate=5.0)
    streams = attend(subject, *PRIVATE_TOPICS)
    seen = {publication.topic for _, publication, _ in run(subject, NOW_NS + 30 * S)}
    assert seen == set(PRIVATE_TOPICS)
    for stream in streams:
        subject.deactivate(stream, NOW_NS + 30 * S)
    assert run(subject, NOW_NS + 90 * S) == []
    assert subject.next_due_ns is None
    idle = Exchange(Listing(), account_rate=0.0)
    attend(idle, *PRIVATE_TOPICS)
    assert run(idle, NOW_NS + 10 * S) == []


def test_listener_that_comes_back_does_not_double_the_account() -> None:
    """What was queued before the pause is void."""
    subject, once = (Exchange(Listing(), account_rate=5.0) for _ in range(2))
    for _ in range(5):
        (stream,) = attend(subject, "wallet")
        subject.deactivate(stream, NOW_NS)
    attend(subject, "wallet")
    attend(once, "wallet")
    assert len(run(subject, NOW_NS + 60 * S)) == pytest.approx(len(run(once, NOW_NS + 60 * S)), rel=0.4)


def test_executions_are_public_trades() -> None:
    """Dossier 9.4: price, size, time, id and ``seq`` of each are those of a trade that everybody saw."""
    subject = Exchange(Listing(), account_rate=20.0)
    attend(subject, "execution")
    for product, symbol in (("linear", "BTCUSDT"), ("linear", "ETHUSDT"), ("linear", "SOLUSDT")):
        subject.activate(product, f"publicTrade.{symbol}", NOW_NS)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        subject.activate("spot", f"publicTrade.{symbol}", NOW_NS)
    trades: dict[str, Any] = {}
    executions: list[Any] = []
    for _, publication, payload in run(subject, NOW_NS + 20 * S):
        data = json.loads(payload)["data"]
        if publication.product == "private":
            executions += data
        else:
            trades |= {item["i"]: item for item in data}
    assert {each["isMaker"] for each in executions} == {True, False}
    for each in executions:
        trade = trades[each["execId"]]
        assert (each["symbol"], each["execTime"], each["seq"]) == (trade["s"], str(trade["T"]), trade["seq"])
        assert float(each["execPrice"]) == float(trade["p"])
        assert float(each["execQty"]) == float(trade["v"])
        assert (each["side"] == trade["S"]) is not each["isMaker"]


def test_account_acts_when_told_and_everybody_is_told() -> None:
    """Its trade is public at once; what it led to goes to whoever listens, and to who asked."""
    subject = Exchange(Listing(), account_rate=0.0)
    attend(subject, "order.linear", "order.spot", "wallet")
    subject.activate("linear", "publicTrade.XRPUSDT", NOW_NS)
    acted = subject.act("fill", "linear", "XRPUSDT", {"maker": "0"}, NOW_NS)
    assert [publication.topic for publication, _ in acted.messages] == ["publicTrade.XRPUSDT", "order.linear", "wallet"]
    families = [news.family for news in acted.news]
    assert families == ["execution.fast", "execution", "order", "position", "wallet"]
    assert json.loads(acted.messages[1][1])["data"][0]["orderId"] == acted.order.id
    with pytest.raises(LookupError):
        subject.act("fill", "linear", "NOPEUSDT", {}, NOW_NS)


def test_market_of_an_order_goes_on_while_somebody_listens() -> None:
    """An order at rest is hit sooner or later, though nobody watches that market."""
    subject = Exchange(Listing(), account_rate=0.0)
    attend(subject, "execution")
    for side in ("Buy", "Sell"):
        for _ in range(3):
            subject.act("place", "linear", "XRPUSDT", {"side": side}, NOW_NS)
    executions = [payload for _, _, payload in run(subject, NOW_NS + 60 * S)]
    assert executions
    assert all(json.loads(payload)["data"][0]["symbol"] == "XRPUSDT" for payload in executions)


def test_order_is_hit_though_nobody_listens() -> None:
    """The account's books go on with the market; the news of it is lost, as the venue's would be."""
    subject = Exchange(Listing(), account_rate=0.0)
    subject.activate("linear", "publicTrade.BTCUSDT", NOW_NS)
    for side in ("Buy", "Sell"):
        subject.act("place", "linear", "BTCUSDT", {"side": side}, NOW_NS)
    run(subject, NOW_NS + 60 * S)
    assert subject.account.ledger.executions > 0
    assert not subject.account.has_news
