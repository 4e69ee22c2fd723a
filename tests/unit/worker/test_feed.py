"""From payload to numbered record: each rare path of a lane, and what its connection's life does to its topics."""

from typing import Any, Final

import msgspec
import pytest
from support.lane import START_NS, Rig, S, book, delta, first, kinds, message, snapshot, states, status, ticker, trade

from feedhandler import wire
from feedhandler.wire import DELTA, SNAPSHOT, STATUS, UPDATE
from feedhandler.worker.feed import MUTE_NS, Lane
from feedhandler.worker.route import (
    LEAST_STALE_NS,
    OLD_DELTAS,
    SAMPLES,
)
from feedhandler.worker.state import Feed

BOOK, LEVEL_1, FULL = "orderbook.50.BTCUSDT", "orderbook.1.BTCUSDT", "orderbook.full.BTCUSDT"
TRADES, TICKER, LIMIT = "publicTrade.BTCUSDT", "tickers.BTCUSDT", "priceLimit.BTCUSDT"
KLINE, POOL = "kline.1.BTCUSDT", "insurance.USDT"
STATES: Final = (BOOK, LEVEL_1, TICKER, LIMIT, KLINE, POOL)
EVENTS: Final = (TRADES, "allLiquidation.BTCUSDT", FULL)


# Numbers and kinds.


@pytest.mark.parametrize(
    ("topic", "kind", "then"),
    [
        (BOOK, SNAPSHOT, DELTA),
        (LEVEL_1, SNAPSHOT, SNAPSHOT),
        (TICKER, SNAPSHOT, DELTA),
        (POOL, SNAPSHOT, DELTA),
        (LIMIT, SNAPSHOT, SNAPSHOT),
        (KLINE, SNAPSHOT, SNAPSHOT),
        (TRADES, UPDATE, UPDATE),
        (FULL, DELTA, DELTA),
        ("brand.new.stream", UPDATE, UPDATE),
    ],
)
def test_kind_follows_the_topics_nature(topic: str, kind: int, then: int) -> None:
    """Kinds as in the table of the wire format, whatever word the venue uses for its own type."""
    rig = Rig()
    rig.carry(topic)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(topic)
    rig.take()
    opening = delta(topic, 100) if topic == FULL else first(topic)
    assert rig.come(opening)
    following = {
        BOOK: delta(BOOK, 101),
        FULL: delta(FULL, 101),
        TICKER: ticker(TICKER, "delta", lastPrice="101.0"),
        POOL: message(POOL, "delta", [{"coin": "USDT", "symbols": "BTCUSDT", "balance": "2"}]),
        "brand.new.stream": message("brand.new.stream", "delta", {"x": 1}),
    }.get(topic, opening)
    assert rig.come(following)
    data = [record for record in rig.take() if record.kind != STATUS]
    assert [record.kind for record in data] == [kind, then]
    assert [record.payload for record in data] == [opening, following]


def test_record_is_the_venues_bytes_under_the_next_number() -> None:
    """Line, epoch, time of reception and payload go through; the number is one up from the status before."""
    rig = Rig()
    rig.start(BOOK)
    rig.wait(1)
    payload = delta(BOOK, 101)
    assert rig.come(payload)
    (record,) = rig.take()
    assert record == wire.Record("linear.orderbook.50.BTCUSDT", DELTA, 0, 0, 7, 4, START_NS + S, START_NS + S, payload)


def test_simulated_data_are_flagged_on_every_record() -> None:
    """Data and statuses alike."""
    records: list[wire.Record] = []

    def publish(head: bytes, sequence: int, received_ns: int, payload: bytes) -> None:
        records.append(wire.parse(head + wire.TAIL.pack(sequence, received_ns, 0) + payload))

    feed = Feed(
        worker="w",
        endpoint="linear",
        product="linear",
        network="sim",
        simulated=True,
        quiet_status_s=10,
        publish=publish,
    )
    lane = Lane(feed, 0, lambda: 0.0)
    feed.carry(lane, [BOOK], 1, 0)
    lane.asked([BOOK])
    lane.on_payload(snapshot(BOOK, 1), 0)
    feed.answer(feed.routes[BOOK], 0, 0)
    assert {record.flags & wire.SIMULATED for record in records} == {wire.SIMULATED}
    assert len(records) == 5


def test_first_status_carries_number_one() -> None:
    """Carrying a topic begins with the status `subscribing`."""
    rig = Rig()
    rig.carry(BOOK)
    (record,) = rig.take()
    assert (record.kind, record.sequence, record.line) == (STATUS, 1, wire.NO_LINE)
    assert status(record) == wire.Status(
        state="subscribing", since_ns=START_NS, worker="linear", network="mainnet", lines_up=0, lines=1
    )


# Coming alive.


@pytest.mark.parametrize("topic", STATES)
def test_state_is_live_from_its_first_snapshot_and_the_status_goes_first(topic: str) -> None:
    """An acknowledgement alone proves nothing (dossier 3.2); `live` precedes the first record."""
    rig = Rig()
    rig.carry(topic)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(topic)
    assert rig.state(topic) == "subscribing"
    rig.take()
    rig.come(first(topic))
    told, data = rig.take()
    assert (status(told).state, told.sequence) == ("live", 2)
    assert (data.kind, data.sequence) == (SNAPSHOT, 3)


@pytest.mark.parametrize("topic", EVENTS)
def test_event_topic_is_live_from_its_acknowledgement(topic: str) -> None:
    """There may be no event for hours."""
    rig = Rig()
    rig.carry(topic)
    rig.lane.opened(rig.now_ns)
    rig.take()
    rig.subscribe(topic)
    assert states(rig) == [("live", "")]


@pytest.mark.parametrize("topic", EVENTS)
def test_event_before_the_acknowledgement_brings_the_topic_alive(topic: str) -> None:
    """Data before the acknowledgement happen (dossier 3.5): they are published, and the acknowledgement adds nothing."""
    rig = Rig()
    rig.carry(topic)
    rig.lane.opened(rig.now_ns)
    rig.lane.asked([topic])
    rig.take()
    rig.come(delta(topic, 9) if topic == FULL else first(topic))
    told, data = rig.take()
    assert (status(told).state, told.sequence) == ("live", 2)
    assert (data.kind, data.sequence) == (DELTA if topic == FULL else UPDATE, 3)
    rig.lane.acknowledged([topic], rig.now_ns)
    assert rig.take() == []


@pytest.mark.parametrize("topic", [BOOK, TICKER, LEVEL_1, TRADES, FULL])
def test_data_nobody_asked_for_are_not_published(topic: str) -> None:
    """What comes before our request is out cannot be its answer."""
    rig = Rig()
    rig.carry(topic)
    rig.lane.opened(rig.now_ns)
    rig.take()
    assert rig.come(delta(topic, 9) if topic == FULL else first(topic))
    assert rig.take() == []
    assert rig.feed.counters["unexpected"] == 1


@pytest.mark.parametrize(
    "payload", [delta(BOOK, 101), ticker(TICKER, "delta", lastPrice="1"), book(LEVEL_1, "delta", 5)]
)
def test_delta_before_its_snapshot_is_held_back(payload: bytes) -> None:
    """There is nothing to apply it to; it is counted."""
    topic = msgspec.json.decode(payload)["topic"]
    rig = Rig()
    rig.carry(topic)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(topic)
    rig.take()
    assert rig.come(payload)
    assert rig.take() == []
    assert rig.feed.counters["held_back"] == 1
    assert rig.state(topic) == "subscribing"


def test_event_that_the_venue_calls_a_delta_is_never_held_back() -> None:
    """Of a stream unknown to us every frame goes out as it came, from the request on."""
    rig = Rig()
    rig.carry("brand.new.stream")
    rig.lane.asked(["brand.new.stream"])
    rig.take()
    rig.come(message("brand.new.stream", "delta", {"x": 1}))
    assert kinds(rig) == [STATUS, UPDATE]


def test_acknowledgements_of_others_and_repeated_ones_change_nothing() -> None:
    """Topics of no route (released meanwhile), and topics live already."""
    rig = Rig()
    rig.start(BOOK)
    rig.subscribe("orderbook.50.OTHER", BOOK)
    assert rig.take() == []


# Chains.


def test_deltas_that_continue_go_through() -> None:
    """Each update id is one up (dossier 5.2)."""
    rig = Rig()
    rig.start(BOOK)
    assert all(rig.come(delta(BOOK, update_id)) for update_id in range(101, 151))
    records = rig.take()
    assert [record.kind for record in records] == [DELTA] * 50
    assert [record.sequence for record in records] == list(range(4, 54))


def test_gap_is_told_with_both_ids_and_how_many_are_lost() -> None:
    """The delta behind the gap is not published; the topic is resyncing from the last record known."""
    rig = Rig()
    rig.start(BOOK)
    rig.wait(0.1)
    assert rig.come(delta(BOOK, 105))
    (told,) = rig.take()
    assert told.sequence == 4
    said = status(told)
    assert (said.state, said.reason) == ("resyncing", "gap: u 100 was followed by u 105")
    assert (said.lost, said.recoverable) == (4, True)
    assert (said.blind_from_ns, said.blind_to_ns) == (START_NS, msgspec.UNSET)
    assert rig.feed.counters == {"gaps": 1, "held_back": 1, "resyncs": 1}


def test_gap_leaves_the_others_alone() -> None:
    """One topic resyncs; the other's chain goes on."""
    rig = Rig()
    rig.start(BOOK, "orderbook.200.BTCUSDT", TRADES)
    rig.come(delta(BOOK, 110))
    rig.come(delta("orderbook.200.BTCUSDT", 101))
    rig.come(trade(TRADES))
    assert [(record.subject, record.kind) for record in rig.take()] == [
        ("linear.orderbook.50.BTCUSDT", STATUS),
        ("linear.orderbook.200.BTCUSDT", DELTA),
        ("linear.publicTrade.BTCUSDT", UPDATE),
    ]


def test_nothing_of_a_resyncing_book_is_published_before_its_new_snapshot() -> None:
    """Deltas and snapshots of the old subscription are held back until the new one is asked for."""
    rig = Rig()
    rig.start(BOOK)
    rig.come(delta(BOOK, 110))
    rig.take()
    rig.come(delta(BOOK, 111))
    rig.come(snapshot(BOOK, 112))
    assert rig.take() == []
    assert rig.feed.counters["held_back"] == 3
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]
    rig.subscribe(BOOK)
    rig.come(delta(BOOK, 113))
    assert rig.take() == []
    rig.wait(1)
    rig.come(snapshot(BOOK, 200))
    told, data = rig.take()
    assert (status(told).state, status(told).blind_to_ns) == ("live", START_NS + S)
    assert (data.kind, data.sequence) == (SNAPSHOT, 6)
    rig.come(delta(BOOK, 201))
    assert kinds(rig) == [DELTA]


@pytest.mark.parametrize("update_id", [100, 99, 2])
def test_duplicate_or_old_delta_is_dropped_and_counted(update_id: int) -> None:
    """Nothing is repeated, and the chain goes on where it was."""
    rig = Rig()
    rig.start(BOOK)
    assert rig.come(delta(BOOK, update_id))
    assert rig.take() == []
    assert rig.feed.counters == {"duplicates": 1}
    rig.come(delta(BOOK, 101))
    assert kinds(rig) == [DELTA]


def test_update_id_that_falls_back_without_a_snapshot_is_noticed() -> None:
    """A book whose updates are all older than itself would stand still and call itself live."""
    rig = Rig()
    rig.start(BOOK)
    for update_id in range(10, 10 + OLD_DELTAS):
        rig.come(delta(BOOK, update_id))
    assert rig.take() == []
    rig.come(delta(BOOK, 10 + OLD_DELTAS))
    assert states(rig) == [
        (
            "resyncing",
            f"fell back: u 100 was followed by {OLD_DELTAS + 1} older updates, the last with u {10 + OLD_DELTAS}",
        )
    ]
    assert rig.feed.counters["duplicates"] == OLD_DELTAS + 1


def test_duplicates_among_new_deltas_are_no_fall() -> None:
    """Copies come between new ones however long: each new one starts the count over."""
    rig = Rig()
    rig.start(BOOK)
    for update_id in range(101, 101 + 2 * OLD_DELTAS):
        rig.come(delta(BOOK, update_id))
        rig.come(delta(BOOK, update_id))
    assert rig.state(BOOK) == "live"
    assert rig.feed.counters == {"duplicates": 2 * OLD_DELTAS}


@pytest.mark.parametrize("update_id", [1, 50, 100, 100_000])
def test_spontaneous_snapshot_replaces_the_book_whatever_its_id(update_id: int) -> None:
    """A new snapshot at any time is the venue's own repair (dossier 5.1); the chain goes on from it."""
    rig = Rig()
    rig.start(BOOK)
    rig.come(snapshot(BOOK, update_id))
    rig.come(delta(BOOK, update_id + 1))
    assert kinds(rig) == [SNAPSHOT, DELTA]
    assert rig.feed.counters == {}


def test_delta_with_u_1_is_a_restart_and_asks_for_a_snapshot() -> None:
    """Data after a restart have another base (dossier 5.4); how much is lost nobody knows."""
    rig = Rig()
    rig.start(BOOK)
    rig.come(delta(BOOK, 1))
    (told,) = rig.take()
    assert status(told).reason == "restarted: delta with u 1 after u 100"
    assert status(told).lost is None
    assert rig.feed.counters["gaps"] == 0


def test_u_1_continues_a_snapshot_with_u_0() -> None:
    """An option's empty book has u 0 (dossier 4.1)."""
    rig = Rig("option")
    topic = "orderbook.25.BTC-25DEC26-100000-C-USDT"
    rig.carry(topic)
    rig.lane.asked([topic])
    rig.come(book(topic, "snapshot", 0))
    rig.take()
    rig.come(delta(topic, 1))
    rig.come(delta(topic, 1))
    assert kinds(rig) == [DELTA]
    assert rig.feed.counters == {"duplicates": 1}


def test_level_1_is_never_checked() -> None:
    """The same u comes again after 3 s, and any frame replaces the last (dossier 5.1, 5.2)."""
    rig = Rig()
    rig.start(LEVEL_1)
    for update_id in (1, 7, 7, 3):
        rig.come(snapshot(LEVEL_1, update_id))
    assert kinds(rig) == [SNAPSHOT] * 4


# The full book: deltas without a snapshot.


def test_full_book_begins_with_its_first_delta() -> None:
    """No snapshot comes on this socket (dossier 4.3); the first delta is the base."""
    rig = Rig()
    rig.start(FULL)
    rig.come(delta(FULL, 500))
    rig.come(delta(FULL, 501))
    assert kinds(rig) == [DELTA, DELTA]


def test_full_book_restart_goes_through() -> None:
    """A delta with u 1 starts the strategy's own synchronisation over (dossier 4.3)."""
    rig = Rig()
    rig.start(FULL)
    for update_id in (500, 1, 2):
        rig.come(delta(FULL, update_id))
    assert kinds(rig) == [DELTA] * 3
    assert rig.state(FULL) == "live"


def test_full_book_gap_cannot_be_made_good() -> None:
    """No snapshot will come: the status says so, and the stream goes on after a new subscription."""
    rig = Rig()
    rig.start(FULL)
    rig.come(delta(FULL, 500))
    rig.come(delta(FULL, 503))
    said = status(rig.take()[-1])
    assert (said.state, said.lost, said.recoverable) == ("resyncing", 2, False)
    rig.come(delta(FULL, 504))
    assert rig.take() == []
    rig.subscribe(FULL)
    rig.come(delta(FULL, 510))
    assert kinds(rig) == [STATUS, DELTA]


def test_full_book_that_was_refused_comes_with_its_first_delta() -> None:
    """Data may come before the acknowledgement (dossier 3.5)."""
    rig = Rig()
    rig.carry(FULL)
    rig.lane.opened(rig.now_ns)
    rig.lane.asked([FULL])
    rig.lane.refused(FULL, "no", rig.now_ns)
    rig.take()
    rig.lane.asked([FULL])
    assert rig.come(delta(FULL, 7))
    assert states(rig) == [("subscribing", "accepted at last"), ("live", "")]


@pytest.mark.parametrize("update_id", [-1, -2, 0])
def test_no_id_continues_a_book_without_a_base(update_id: int) -> None:
    """Whatever the venue counts from."""
    rig = Rig()
    rig.start(BOOK)
    rig.come(delta(BOOK, 999))
    rig.take()
    rig.come(delta(BOOK, update_id))
    assert rig.take() == []
    assert rig.feed.counters["held_back"] == 2


# What is no data, or not ours.


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'{"op":"pong"}',
        b'{"success":true,"ret_msg":"","conn_id":"c","req_id":"1","op":"subscribe"}',
        b'{"success":true,"conn_id":"c","data":{"failTopics":[],"successTopics":["a"]},"type":"COMMAND_RESP"}',
        b'{"topic":"orderbook.50.BTCUSDT"}',
        b'{"topic":"orderbook.50.BTCUSDT","data":null}',
        b'{"topic":"orderbook.50.BTCUSDT","data":"x"}',
        b'{"topic":"orderbook.50.BTCUSDT","type":"delta","data":{"u":"101"}}',
        b'{"topic":"orderbook.50.BTCUSDT","type":"delta","data":{"u":1.5}}',
        b'{"topic":1,"data":{}}',
        b'{"topic":"orderbook.50.BTCUSDT","type":"delta","data":{"u":101}',
        b'{"topic":"\xff","data":{}}',
        b'{"topic":"orderbook.50.BTCUSDT","data":{"x":' + b"[" * 100_000,
    ],
)
def test_what_is_no_data_message_is_left_to_the_caller(payload: bytes) -> None:
    """Control replies and garbage of every kind: not published, nothing changed, no exception."""
    rig = Rig()
    rig.start(BOOK)
    assert rig.come(payload) is False
    assert rig.take() == []
    assert rig.state(BOOK) == "live"


def test_data_of_an_unknown_topic_are_counted_and_kept_for_the_log() -> None:
    """Nobody asked for them here."""
    rig = Rig()
    rig.start(BOOK)
    assert rig.come(trade("publicTrade.OTHER"))
    assert rig.feed.counters == {"unexpected": 1}
    assert rig.feed.malformed == [
        ("data of publicTrade.OTHER, which is not subscribed here", trade("publicTrade.OTHER"))
    ]
    assert rig.take() == []


@pytest.mark.parametrize("type_", ["delta", "snapshot"])
def test_book_whose_data_are_a_list_is_counted_as_unparsed(type_: str) -> None:
    """It has no update id."""
    rig = Rig()
    rig.start(BOOK)
    assert rig.come(message(BOOK, type_, [1, 2]))
    assert rig.feed.counters == {"unparsed": 1}
    assert rig.state(BOOK) == "live"


def test_unknown_fields_pass_through_untouched() -> None:
    """Fields are added without notice (dossier 11)."""
    rig = Rig()
    rig.start(BOOK)
    payload = book(BOOK, "delta", 101).replace(b'"u":101', b'"new":{"deep":[1,{"x":null}]},"u":101')
    rig.come(payload)
    assert [record.payload for record in rig.take()] == [payload]


@pytest.mark.parametrize("error", [KeyError("key"), ValueError("value"), AttributeError("attribute"), RecursionError()])
@pytest.mark.parametrize("payload", [snapshot(BOOK, 5), delta(BOOK, 101), delta(BOOK, 200)])
def test_error_of_our_own_is_not_taken_for_the_venues(error: Exception, payload: bytes) -> None:
    """What a record's publication raises is a bug, and comes out (the worker ends, loudly)."""
    rig = Rig()
    rig.start(BOOK)

    def fail(*_: Any) -> None:
        raise error

    rig.feed.publish = rig.lane._publish = fail
    with pytest.raises(type(error)):
        rig.come(payload)


@pytest.mark.parametrize("topic", [BOOK, TICKER])
@pytest.mark.parametrize("type_", ["patch", ""])
def test_message_of_an_unknown_type_is_no_snapshot(topic: str, type_: str) -> None:
    """Whatever it changes, the state after it is unknown: counted, kept for the log, and a new snapshot asked for."""
    rig = Rig()
    rig.start(topic, TRADES)
    strange = msgspec.json.encode(msgspec.json.decode(first(topic)) | {"type": type_})
    assert rig.come(strange)
    assert states(rig) == [("resyncing", f"a message of the type {type_!r} came")]
    assert rig.feed.counters["unparsed"] == 1
    assert rig.feed.malformed == [(f"{topic}: a message of the type {type_!r}", strange)]
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [topic]
    rig.subscribe(topic)
    assert rig.come(strange)
    assert states(rig) == []
    assert rig.state(topic) == "resyncing"


def test_type_of_what_has_no_deltas_means_nothing() -> None:
    """Trades, candles and level 1 are what they are, whatever the venue calls them."""
    rig = Rig()
    rig.start(TRADES, KLINE, LEVEL_1)
    for topic in (TRADES, KLINE, LEVEL_1):
        payload = msgspec.json.encode(msgspec.json.decode(first(topic)) | {"type": "patch"})
        rig.come(payload)
        (record,) = rig.take()
        assert record.payload == payload


# Private topics by category.


def test_message_by_the_plain_name_is_for_the_topic_of_its_category() -> None:
    """How the venue calls what comes for `order.linear` is on no record (dossier 6): either name will do."""
    rig = Rig("private", retain=5)
    rig.start("order.linear", "order.spot", "wallet")
    plain = message("order", "", [{"category": "linear", "orderId": "1"}])
    named = message("order.linear", "", [{"category": "linear", "orderId": "2"}])
    assert rig.come(plain)
    assert rig.come(named)
    records = rig.take()
    assert [(record.subject, record.kind, record.payload) for record in records] == [
        ("private.order.linear", UPDATE, plain),
        ("private.order.linear", UPDATE, named),
    ]
    assert [record.sequence for record in records] == [3, 4]
    assert [kept[2] for kept in rig.route("order.linear").retained or ()] == [plain, named]
    assert rig.feed.counters == {}


def test_message_by_the_plain_name_brings_its_topic_to_life() -> None:
    """As by its own; rows of several categories are for each of them."""
    rig = Rig("private")
    rig.carry("order.linear", "order.spot")
    rig.lane.opened(rig.now_ns)
    rig.lane.asked(["order.linear", "order.spot"])
    rig.take()
    assert rig.come(message("order", "", [{"category": "spot"}, {"category": "linear"}]))
    assert [record.subject for record in rig.take() if record.kind == UPDATE] == [
        "private.order.linear",
        "private.order.spot",
    ]
    assert [rig.state("order.linear"), rig.state("order.spot")] == ["live", "live"]


@pytest.mark.parametrize("data", [[{"category": "option"}], [{"orderId": "1"}], [], [{"category": 7}]])
def test_message_by_the_plain_name_of_no_category_of_ours_is_unexpected(data: list[dict[str, Any]]) -> None:
    """Counted and logged, as any data that nobody asked for."""
    rig = Rig("private")
    rig.start("order.linear")
    assert rig.come(message("order", "", data))
    assert rig.take() == []
    assert rig.feed.counters["unexpected"] == 1


@pytest.mark.parametrize(("product", "topic", "blind_s"), [("private", "order", 5), ("linear", TRADES, 3600)])
def test_pongs_prove_a_quiet_account_and_no_market(product: str, topic: str, blind_s: int) -> None:
    """An account may be silent for weeks; a hole of weeks could not be loaded by REST, and is none."""
    rig = Rig(product)
    rig.start(topic)
    rig.wait(3600 - 5)
    rig.lane.answered(rig.now_ns)
    rig.wait(5)
    rig.take()
    rig.lane.closed("connection lost", rig.now_ns)
    (record,) = rig.take()
    assert status(record).blind_from_ns == rig.now_ns - blind_s * S


# Refusals.


@pytest.mark.parametrize("topic", [BOOK, TRADES])
def test_refused_topic_is_rejected_with_the_venues_text(topic: str) -> None:
    """The text is the venue's own, and counted by state."""
    rig = Rig()
    rig.start(topic)
    rig.lane.refused(topic, "error:handler not found", rig.now_ns)
    assert states(rig) == [("rejected", "error:handler not found")]
    assert rig.route(topic).compose() is None


def test_refusal_in_the_same_words_is_told_once() -> None:
    """Retries go on for weeks; another text is news."""
    rig = Rig()
    rig.start(BOOK)
    for text in ("no", "no", "never"):
        rig.lane.refused(BOOK, text, rig.now_ns)
    assert states(rig) == [("rejected", "no"), ("rejected", "never")]


@pytest.mark.parametrize("data_first", [True, False])
@pytest.mark.parametrize("topic", [BOOK, TRADES])
def test_topic_accepted_at_last_goes_its_way(topic: str, data_first: bool) -> None:
    """A retry that the venue takes: `subscribing`, then `live` as for any other."""
    rig = Rig()
    rig.start(topic)
    rig.lane.refused(topic, "no", rig.now_ns)
    rig.lane.asked([topic])
    rig.take()
    if data_first:
        rig.come(first(topic) if topic == BOOK else trade(topic))
        rig.lane.acknowledged([topic], rig.now_ns)
    else:
        rig.lane.acknowledged([topic], rig.now_ns)
        rig.come(first(topic) if topic == BOOK else trade(topic))
    assert states(rig) == [("subscribing", "accepted at last"), ("live", "")]


def test_data_of_a_refused_topic_are_not_expected() -> None:
    """They were on their way when the refusal came."""
    rig = Rig()
    rig.start(BOOK)
    rig.lane.refused(BOOK, "no", rig.now_ns)
    rig.take()
    rig.come(snapshot(BOOK, 5))
    rig.come(delta(BOOK, 6))
    assert rig.take() == []
    assert rig.feed.counters == {"unexpected": 1, "held_back": 1}


def test_refusal_of_an_unknown_topic_changes_nothing() -> None:
    """It was released meanwhile."""
    rig = Rig()
    rig.start(BOOK)
    rig.lane.refused("orderbook.50.OTHER", "no", rig.now_ns)
    assert rig.take() == []


# Connections.


def test_lost_connection_is_told_on_every_topic_with_its_reason() -> None:
    """At once, with the hole since the last message; refused topics stay refused."""
    rig = Rig()
    rig.start(BOOK, TRADES, TICKER)
    rig.lane.refused(TICKER, "no", rig.now_ns)
    rig.take()
    rig.wait(2)
    rig.come(trade(TRADES))
    rig.wait(5)
    rig.lane.closed("connection lost", rig.now_ns)
    told = {record.subject: status(record) for record in rig.take() if record.kind == STATUS}
    assert {one: (said.state, said.reason, said.blind_from_ns) for one, said in told.items()} == {
        "linear.orderbook.50.BTCUSDT": ("down", "connection lost", START_NS + 2 * S),
        "linear.publicTrade.BTCUSDT": ("down", "connection lost", START_NS + 2 * S),
    }
    assert [said.recoverable for said in told.values()] == [True, False]
    assert [said.lines_up for said in told.values()] == [0, 0]


def test_topics_barred_for_the_key_are_down_once_something_newer_is_known() -> None:
    """Rejected while the connection that was refused ends; then down for its reason. Refused for themselves they stay so."""
    rig = Rig("private")
    rig.carry("order", "wallet", "orders")
    rig.lane.opened(rig.now_ns)
    rig.lane.refused("orders", "no such topic", rig.now_ns)
    for topic in ("order", "wallet"):
        rig.lane.barred(topic, "wrong key", rig.now_ns)
    rig.feed.release(rig.lane, ["wallet"], "no longer assigned", rig.now_ns)
    rig.take()
    rig.lane.closed("authentication refused: wrong key", rig.now_ns)
    assert states(rig) == []
    rig.lane.closed("cannot connect", rig.now_ns)
    rig.lane.unbar("cannot connect", rig.now_ns)
    assert states(rig) == [("down", "cannot connect")]
    assert (rig.state("order"), rig.state("orders")) == ("down", "rejected")


def test_topic_barred_and_then_refused_for_itself_stays_refused() -> None:
    """The key is right by then: what the venue says of the topic counts."""
    rig = Rig("private")
    rig.carry("orders", "order")
    for topic in ("orders", "order"):
        rig.lane.barred(topic, "wrong key", rig.now_ns)
    rig.lane.barred("gone meanwhile", "wrong key", rig.now_ns)
    rig.lane.opened(rig.now_ns)
    rig.lane.refused("orders", "no such topic", rig.now_ns)
    rig.subscribe("order")
    rig.take()
    rig.lane.closed("connection lost", rig.now_ns)
    rig.lane.unbar("connection lost", rig.now_ns)
    assert states(rig) == [("down", "connection lost")]
    assert (rig.state("orders"), rig.route("orders").reason) == ("rejected", "no such topic")


def test_reconnected_topics_come_back_with_a_snapshot_and_the_whole_hole() -> None:
    """Down, subscribing, live; the hole goes from the last message known to the first new one."""
    rig = Rig()
    rig.start(BOOK, TRADES)
    rig.lane.closed("connection lost", rig.now_ns)
    rig.wait(2)
    rig.lane.closed("cannot connect: refused", rig.now_ns)
    rig.wait(2)
    rig.lane.opened(rig.now_ns)
    rig.wait(1)
    rig.subscribe(BOOK, TRADES)
    rig.come(snapshot(BOOK, 3))
    records = rig.take()
    for one in (BOOK, TRADES):
        mine = [record for record in records if record.subject.endswith(one)]
        told = [status(record) for record in mine if record.kind == STATUS]
        assert [said.state for said in told] == ["down", "down", "subscribing", "live"]
        assert (told[-1].blind_from_ns, told[-1].blind_to_ns) == (START_NS, START_NS + 5 * S)
    assert records[-1].kind == SNAPSHOT


def test_deltas_after_a_reconnection_wait_for_the_snapshot() -> None:
    """The old chain is not continued, whatever the ids say."""
    rig = Rig()
    rig.start(BOOK)
    rig.lane.closed("connection lost", rig.now_ns)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(BOOK)
    rig.take()
    rig.come(delta(BOOK, 101))
    assert rig.take() == []
    assert rig.feed.counters == {"held_back": 1}


def test_failed_dials_are_told_once_each_reason() -> None:
    """Backing off for an hour is no news, another reason is; never two holes."""
    rig = Rig()
    rig.start(BOOK)
    for reason in ("connection lost", "cannot connect", "cannot connect", "refused: HTTP 403"):
        rig.wait(1)
        rig.lane.closed(reason, rig.now_ns)
    told = [status(record) for record in rig.take()]
    assert [one.reason for one in told] == ["connection lost", "cannot connect", "refused: HTTP 403"]
    assert {one.blind_from_ns for one in told} == {START_NS}


def test_topic_lost_in_its_first_subscription_has_no_hole() -> None:
    """Nothing was delivered before, so nothing is known to be missing."""
    rig = Rig()
    rig.carry(BOOK)
    rig.lane.closed("cannot connect", rig.now_ns)
    assert status(rig.take()[-1]).blind_from_ns is msgspec.UNSET


def test_hole_of_an_event_topic_does_not_reach_back_before_it_came_alive() -> None:
    """Live by acknowledgement, lost without an event: blind from the acknowledgement, not from older data."""
    rig = Rig()
    rig.start(TRADES)
    rig.lane.closed("connection lost", rig.now_ns)
    rig.wait(1)
    rig.lane.opened(rig.now_ns)
    rig.wait(1)
    rig.subscribe(TRADES)
    rig.wait(1)
    rig.lane.closed("connection lost", rig.now_ns)
    assert status(rig.take()[-1]).blind_from_ns == START_NS + 2 * S


def test_hole_across_epochs_begins_with_the_predecessor() -> None:
    """A topic taken over from a dead worker is blind since that was last heard of, until it is live."""
    rig = Rig()
    rig.carry(TRADES, epoch=8, blind_from_ns=START_NS - 3 * S)
    (told,) = rig.take()
    assert (told.epoch, status(told).blind_from_ns, status(told).blind_to_ns) == (8, START_NS - 3 * S, msgspec.UNSET)
    rig.lane.opened(rig.now_ns)
    rig.wait(1)
    rig.subscribe(TRADES)
    said = status(rig.take()[-1])
    assert (said.state, said.blind_from_ns, said.blind_to_ns) == ("live", START_NS - 3 * S, START_NS + S)
    assert (said.lost, said.recoverable) == (None, False)


def test_resync_that_was_due_goes_with_the_connection() -> None:
    """The next connection asks for everything anyway."""
    rig = Rig()
    rig.start(BOOK)
    rig.come(delta(BOOK, 999))
    rig.lane.closed("connection lost", rig.now_ns)
    assert rig.feed.resyncs_due(rig.lane, rig.now_s + 60) == []


def test_released_topic_ends_and_its_data_are_not_expected() -> None:
    """The last status is `ended`; what still comes is counted."""
    rig = Rig()
    rig.start(BOOK, TRADES)
    rig.feed.release(rig.lane, [BOOK], "no longer assigned", rig.now_ns)
    assert states(rig) == [("ended", "no longer assigned")]
    assert rig.come(delta(BOOK, 101))
    assert rig.take() == []
    assert rig.feed.counters == {"unexpected": 1}


def test_topic_taken_up_again_begins_a_new_epoch_at_one() -> None:
    """Sequences of different epochs do not compare."""
    rig = Rig()
    rig.start(BOOK)
    rig.feed.release(rig.lane, [BOOK], "moved", rig.now_ns)
    rig.take()
    rig.carry(BOOK, epoch=9)
    assert [(record.epoch, record.sequence) for record in rig.take()] == [(9, 1)]


# Mute connections and their canaries.


def test_connection_that_owes_its_canary_is_mute_after_its_time() -> None:
    """The promise counts from the canary's first data, and from its acknowledgement once the venue has served it."""
    rig = Rig(canary=LEVEL_1)
    rig.start(BOOK)
    rig.lane.acknowledged([LEVEL_1], rig.now_ns)
    rig.wait(60)
    assert not rig.lane.is_mute(rig.now_ns)  # acknowledged, but never served: no venue we know, and no promise
    rig.come(snapshot(LEVEL_1, 100))
    rig.wait(MUTE_NS / S)
    assert not rig.lane.is_mute(rig.now_ns)
    rig.wait(0.1)
    assert rig.lane.is_mute(rig.now_ns)
    rig.lane.closed("mute", rig.now_ns)
    rig.lane.opened(rig.now_ns)
    rig.wait(60)
    assert not rig.lane.is_mute(rig.now_ns)
    rig.lane.acknowledged([LEVEL_1], rig.now_ns)
    rig.wait(MUTE_NS / S + 0.1)
    assert rig.lane.is_mute(rig.now_ns)


def test_level_1_book_that_is_wanted_promises_as_much_once_it_has_come() -> None:
    """Where every canary is wanted in its own right, there is none; before its first record it may not trade yet."""
    rig = Rig()
    rig.carry(LEVEL_1, BOOK)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(LEVEL_1, BOOK)
    rig.come(snapshot(BOOK, 100))
    rig.wait(60)
    assert not rig.lane.is_mute(rig.now_ns)
    rig.come(snapshot(LEVEL_1, 100))
    rig.wait(MUTE_NS / S)
    assert not rig.lane.is_mute(rig.now_ns)
    rig.wait(0.1)
    assert rig.lane.is_mute(rig.now_ns)
    rig.lane.closed("mute", rig.now_ns)
    rig.lane.opened(rig.now_ns)
    rig.wait(60)
    assert not rig.lane.is_mute(rig.now_ns)


def test_mute_connection_makes_its_live_topics_stale() -> None:
    """Nobody may take its silence for a quiet market; what was not live stays what it is."""
    rig = Rig()
    rig.start(LEVEL_1, TRADES)
    rig.carry(BOOK)
    rig.take()
    rig.wait(7)
    reason = rig.lane.mute(rig.now_ns)
    said = {record.subject: status(record) for record in rig.take()}
    assert reason == "mute: nothing came on its connection for 7.0 s"
    assert {one: (it.state, it.reason, it.blind_from_ns) for one, it in said.items()} == {
        "linear.orderbook.1.BTCUSDT": ("stale", reason, START_NS),
        "linear.publicTrade.BTCUSDT": ("stale", reason, START_NS),
    }
    rig.lane.closed(reason, rig.now_ns + S)
    assert {status(record).blind_from_ns for record in rig.take() if not record.subject.endswith(BOOK)} == {START_NS}


def test_connection_that_promises_nothing_is_judged_by_its_own_cadence() -> None:
    """Learned from its pauses; a closed one is never mute."""
    rig = Rig()
    rig.start(TRADES)
    assert not rig.lane.is_mute(rig.now_ns + 3600 * S)
    for _ in range(SAMPLES + 1):
        rig.come(trade(TRADES))
        rig.tick(0.5)
    rig.wait(LEAST_STALE_NS / S - 1)
    assert not rig.lane.is_mute(rig.now_ns)
    rig.wait(2)
    assert rig.lane.is_mute(rig.now_ns)
    rig.lane.closed("connection lost", rig.now_ns)
    assert not rig.lane.is_mute(rig.now_ns)


def test_canary_proves_the_connection_and_is_not_published() -> None:
    """Its frames count as frames, and as nothing else."""
    rig = Rig(canary=LEVEL_1)
    rig.start(TRADES)
    rig.lane.acknowledged([LEVEL_1], rig.now_ns)
    rig.wait(6)
    assert rig.come(snapshot(LEVEL_1, 5))
    rig.wait(6)
    assert not rig.lane.is_mute(rig.now_ns)
    assert rig.take() == []
    assert rig.feed.counters == {}


def test_refused_canary_is_owed_no_more_until_it_comes_again() -> None:
    """A symbol may be delisted and listed again: a refusal is said, and the next data count as they did before."""
    rig = Rig(canary=LEVEL_1)
    rig.start(TRADES)
    rig.come(snapshot(LEVEL_1, 5))
    rig.lane.refused(LEVEL_1, "no", rig.now_ns)
    assert "the canary orderbook.1.BTCUSDT is refused" in rig.feed.malformed[0][0]
    rig.wait(60)
    assert not rig.lane.is_mute(rig.now_ns)
    rig.lane.acknowledged([LEVEL_1], rig.now_ns)
    rig.wait(60)
    assert not rig.lane.is_mute(rig.now_ns)
    rig.come(snapshot(LEVEL_1, 6))
    assert rig.feed.counters["unexpected"] == 1  # the refusal itself
    rig.wait(MUTE_NS / S + 0.1)
    assert rig.lane.is_mute(rig.now_ns)


def test_has_data_is_true_while_data_flow() -> None:
    """What the session asks when an acknowledgement is missing."""
    rig = Rig()
    rig.carry(BOOK)
    rig.lane.asked([BOOK, "orderbook.50.OTHER"])
    assert not rig.lane.has_data(BOOK)
    rig.come(snapshot(BOOK, 1))
    assert rig.lane.has_data(BOOK)
    assert not rig.lane.has_data("orderbook.50.OTHER")
    rig.lane.closed("lost", rig.now_ns)
    assert not rig.lane.has_data(BOOK)
