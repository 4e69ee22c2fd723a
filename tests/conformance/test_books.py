"""Order books, rule by rule: the feed against the dossier's sections 4.1 to 4.3, 4.5 and 5.1 to 5.5."""

from typing import Any

import msgspec
import pytest
from support.lane import Rig, book, delta, message, snapshot, status, ticker

from feedhandler import wire
from feedhandler.worker.state import INSPECTION_ROUNDS

BOOK, LEVEL_1, RPI, FULL = (f"orderbook.{kind}.BTCUSDT" for kind in ("50", "1", "rpi", "full"))
TICKER = "tickers.BTCUSDT"


def started(*topics: str, product: str = "linear") -> Rig:
    rig = Rig(product)
    rig.start(*topics)
    return rig


def image(rig: Rig, topic: str) -> Any:
    """Return the data of what a newcomer gets."""
    rig.take()
    rig.feed.answer(rig.route(topic), rig.now_ns, rig.now_s)
    return msgspec.json.decode(rig.take()[-1].payload)["data"]


# 5.1 Official rules.


def test_5_1_1_snapshot_comes_first_then_deltas() -> None:
    """5.1, 1: after a successful subscription a snapshot comes, then deltas; a delta before it has no base."""
    rig = Rig()
    rig.carry(BOOK)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(BOOK)
    rig.take()
    rig.come(delta(BOOK, 9))
    assert rig.take() == []
    rig.come(snapshot(BOOK, 9))
    rig.come(delta(BOOK, 10))
    assert [record.kind for record in rig.take()] == [wire.STATUS, wire.SNAPSHOT, wire.DELTA]


def test_5_1_2_sizes_are_absolute_and_zero_removes() -> None:
    """5.1, 2: size 0 removes the level; an unknown price inserts; a known price replaces the size."""
    rig = started(BOOK)
    rig.come(book(BOOK, "snapshot", 1, [("99", "1"), ("98", "2"), ("97", "3")], [("100", "1")]))
    rig.come(book(BOOK, "delta", 2, [("99", "0"), ("98", "5"), ("96", "4")], [("100", "0"), ("101", "9")]))
    data = image(rig, BOOK)
    assert (data["b"], data["a"]) == ([["98", "5"], ["97", "3"], ["96", "4"]], [["101", "9"]])


@pytest.mark.parametrize("update_id", [1, 50, 500], ids=["u 1", "a lower u", "a higher u"])
def test_5_1_3_new_snapshot_replaces_everything(update_id: int) -> None:
    """5.1, 3: a new snapshot at any time replaces everything: it is the server's own repair."""
    rig = started(BOOK)
    rig.come(book(BOOK, "snapshot", update_id, [("1", "1")], [("2", "2")]))
    assert [record.kind for record in rig.take()] == [wire.SNAPSHOT]
    rig.come(delta(BOOK, update_id + 1))
    assert rig.state(BOOK) == "live"
    assert image(rig, BOOK)["a"] == [["2", "2"]]


def test_5_1_4_snapshot_with_u_1_marks_a_restart() -> None:
    """5.1, 4: u 1 marks data after a restart: overwrite the book; the next delta is 2 (5.2)."""
    rig = started(BOOK)
    rig.come(snapshot(BOOK, 1))
    rig.come(delta(BOOK, 2))
    assert [record.kind for record in rig.take()] == [wire.SNAPSHOT, wire.DELTA]
    assert rig.feed.counters == {}


def test_5_1_5_level_1_sends_the_same_u_again() -> None:
    """5.1, 5: snapshots only; the same u is sent again after 3 s without change, and every one is a record."""
    rig = started(LEVEL_1)
    for update_id in (100, 100, 101, 101):
        rig.come(snapshot(LEVEL_1, update_id))
    assert [record.kind for record in rig.take()] == [wire.SNAPSHOT] * 4
    assert rig.feed.counters == {}


# 5.2 Contiguity.


@pytest.mark.parametrize(
    "topic", ["orderbook.50.BTCUSDT", "orderbook.200.BTCUSDT", "orderbook.1000.BTCUSDT", "orderbook.rpi.BTCUSDT"]
)
def test_5_2_u_is_contiguous_on_every_depth_but_the_first(topic: str) -> None:
    """5.2: +1 always; a jump is a gap."""
    rig = started(topic)
    rig.come(delta(topic, 101))
    rig.come(delta(topic, 103))
    assert rig.state(topic) == "resyncing"


def test_5_2_depths_have_chains_of_their_own() -> None:
    """5.6: u differs per depth: one depth's number says nothing about another's."""
    other = "orderbook.200.BTCUSDT"
    rig = started(BOOK, other)
    rig.come(book(other, "snapshot", 7))
    rig.come(delta(BOOK, 101))
    rig.come(delta(other, 8))
    assert (rig.state(BOOK), rig.state(other)) == ("live", "live")


def test_5_2_seq_is_not_checked() -> None:
    """4.1 and 5.6: seq steps are not contiguous, and it is missing on old option books."""
    rig = started(BOOK)
    for update_id, seq in ((101, 5), (102, 900), (103, 3)):
        levels = {"s": "BTCUSDT", "b": [], "a": [], "u": update_id, "seq": seq}
        assert rig.come(message(BOOK, "delta", levels))
    assert rig.come(message(BOOK, "delta", {"s": "BTCUSDT", "b": [], "a": [], "u": 104}))
    assert rig.state(BOOK) == "live"


# 5.4 The state machine.


def test_5_4_empty_drops_and_counts_deltas() -> None:
    """5.4, EMPTY: delta -> drop, count; snapshot -> load, live."""
    rig = Rig()
    rig.carry(BOOK)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(BOOK)
    rig.come(delta(BOOK, 5))
    rig.come(delta(BOOK, 6))
    assert rig.feed.counters == {"held_back": 2}
    rig.come(snapshot(BOOK, 6))
    assert rig.state(BOOK) == "live"


def test_5_4_live_takes_the_next_delta() -> None:
    """5.4, LIVE: delta u == last + 1 -> apply."""
    rig = started(BOOK)
    rig.come(delta(BOOK, 101))
    assert [record.kind for record in rig.take()] == [wire.DELTA]


def test_5_4_live_ignores_a_delta_that_comes_again() -> None:
    """5.4, LIVE: delta u == last with identical content -> ignore."""
    rig = started(BOOK)
    rig.come(delta(BOOK, 101))
    rig.take()
    rig.come(delta(BOOK, 101))
    assert rig.take() == []
    assert (rig.state(BOOK), rig.feed.counters) == ("live", {"duplicates": 1})


def test_5_4_live_resyncs_when_u_falls_back() -> None:
    """5.4, LIVE: delta u < last, again and again, is no duplicate: the book would stand still unnoticed."""
    rig = started(BOOK)
    for update_id in range(2, 40):
        rig.come(delta(BOOK, update_id))
    assert rig.state(BOOK) == "resyncing"


def test_5_4_live_takes_a_delta_with_u_1_for_a_restart() -> None:
    """5.4, LIVE: delta u == 1 -> treat as restart: resync."""
    rig = started(BOOK)
    rig.come(delta(BOOK, 1))
    said = status(rig.take()[-1])
    assert (said.state, said.reason) == ("resyncing", "restarted: delta with u 1 after u 100")


def test_5_4_live_resyncs_on_a_gap() -> None:
    """5.4, LIVE: delta u > last + 1 -> gap: the book is said to be invalid before anything else is sent."""
    rig = started(BOOK)
    rig.come(delta(BOOK, 104))
    (told,) = rig.take()
    assert (status(told).state, status(told).lost) == ("resyncing", 3)


def test_5_4_resync_backs_off_from_0_1_to_10_s() -> None:
    """5.4, resync: per-topic back-off 0.1 s doubling to 10 s."""
    rig = started(BOOK)
    pauses = []
    for _ in range(9):
        rig.come(delta(BOOK, 999))
        due_s = rig.route(BOOK).due_s
        assert due_s is not None
        pauses.append(round(due_s - rig.now_s, 3))
        rig.wait(due_s - rig.now_s)
        assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]
        rig.subscribe(BOOK)
        rig.come(snapshot(BOOK, 100))
    assert pauses == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10]


def test_5_4_resync_waits_5_s_for_its_snapshot() -> None:
    """5.4, resync: subscribe, wait for the snapshot (time-out 5 s), then try anew."""
    rig = started(BOOK)
    rig.come(delta(BOOK, 999))
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]
    rig.subscribe(BOOK)
    rig.take()
    rig.tick(5)
    assert [record for record in rig.take() if not record.flags & wire.REPEATED] == []
    rig.tick(0.5)
    told = [status(record) for record in rig.take() if not record.flags & wire.REPEATED]
    assert [said.reason for said in told] == ["no snapshot came"]


def test_5_4_disconnect_makes_every_book_of_the_connection_invalid_at_once() -> None:
    """5.4, disconnect."""
    rig = started(BOOK, RPI, TICKER)
    rig.lane.closed("connection lost", rig.now_ns)
    assert {status(record).state for record in rig.take()} == {"down"}
    assert {rig.route(topic).update_id < 0 for topic in (BOOK, RPI, TICKER)} == {True}


def test_5_4_delete_of_an_unknown_level_is_tolerated() -> None:
    """5.4: pybit crashed on one; tolerate it in code."""
    rig = started(BOOK)
    rig.come(book(BOOK, "delta", 101, [("12.5", "0")]))
    assert rig.state(BOOK) == "live"
    assert image(rig, BOOK)["b"] == [["100.0", "1"]]


@pytest.mark.parametrize(
    ("levels", "reason"),
    [
        ([("100.5", "1")], "crossed: best bid 100.5, best ask 100.5"),
        ([(str(price), "1") for price in range(1, 51)], "too deep: 51 levels on a side of 50"),
    ],
    ids=["crossed", "too deep"],
)
def test_5_4_book_that_cannot_be_right_is_resynced(levels: list[tuple[str, ...]], reason: str) -> None:
    """5.4, after apply: crossed, or a side longer than the depth -> stale, resync, though every u is in order."""
    rig = started(BOOK)
    rig.feed.inspect(rig.now_ns, rig.now_s)
    rig.come(book(BOOK, "delta", 101, levels))
    rig.take()
    for _ in range(2 * INSPECTION_ROUNDS):
        rig.feed.inspect(rig.now_ns, rig.now_s)
    (said,) = (status(record) for record in rig.take())
    assert (said.state, said.reason) == ("resyncing", reason)
    assert rig.feed.resyncs_due(rig.lane, rig.now_s) == [BOOK]


def test_5_5_snapshot_may_be_older_than_its_serving() -> None:
    """5.5: ts is the time of serving, cts that of the state: the image keeps the last record's, as sent."""
    rig = started(BOOK)
    rig.come(message(BOOK, "snapshot", {"s": "S", "b": [], "a": [], "u": 5, "seq": 6}, cts=1_600_000_000_000))
    rig.feed.answer(rig.route(BOOK), rig.now_ns, rig.now_s)
    decoded = msgspec.json.decode(rig.take()[-1].payload)
    assert (decoded["ts"], decoded["cts"]) == (1_700_000_000_000, 1_600_000_000_000)


# 4.1 to 4.3, 4.5: shapes.


@pytest.mark.parametrize(
    "payload",
    [
        b'{"topic":"orderbook.50.BTCUSDT","ts":1,"type":"delta","data":{"s":"S","b":[],"a":[],"u":101,"seq":1},"cts":2}',
        b'{"id":"x","topic":"orderbook.50.BTCUSDT","ts":1,"data":{"seq":1,"u":101,"a":[],"b":[],"s":"S"},"type":"delta"}',
        b'{ "data" : {"u":101} , "type":"delta", "new":null, "topic" : "orderbook.50.BTCUSDT" }',
    ],
    ids=["spot", "option", "any"],
)
def test_4_key_order_does_not_matter(payload: bytes) -> None:
    """4: key order differs between products and over time: never parse by position."""
    rig = started(BOOK)
    assert rig.come(payload)
    assert [(record.kind, record.payload) for record in rig.take()] == [(wire.DELTA, payload)]


def test_4_1_snapshot_may_be_empty() -> None:
    """4.1: an option's book may be wholly empty, with u 0; its first delta has u 1."""
    topic = "orderbook.25.BTC-25DEC26-100000-C-USDT"
    rig = Rig("option")
    rig.carry(topic)
    rig.lane.asked([topic])
    rig.come(message(topic, "snapshot", {"s": "S", "b": [], "a": [], "u": 0}, id="x"))
    rig.come(book(topic, "delta", 1, [("5", "1")]))
    assert rig.state(topic) == "live"
    assert image(rig, topic)["b"] == [["5", "1"]]


def test_4_1_large_numbers_pass() -> None:
    """4: u, seq and cs exceed 2^31, and reach 1.4e14."""
    rig = started(BOOK)
    rig.come(snapshot(BOOK, 140_612_148_849_382))
    rig.come(delta(BOOK, 140_612_148_849_383))
    assert image(rig, BOOK)["u"] == 140_612_148_849_383


def test_4_2_rpi_level_lives_while_either_size_does() -> None:
    """4.2: triples; a level is gone only when both sizes are zero."""
    rig = started(RPI)
    rig.come(book(RPI, "snapshot", 1, [("121960.5", "0", "0.163986"), ("121960", "1", "0")]))
    rig.come(book(RPI, "delta", 2, [("121960", "0", "0")]))
    assert image(rig, RPI)["b"] == [["121960.5", "0", "0.163986"]]


def test_4_3_full_book_has_no_snapshot_on_this_socket() -> None:
    """4.3: deltas only; u 1 starts over, and is passed on; nobody is given an image."""
    rig = started(FULL)
    for update_id in (700, 701, 1, 2):
        assert rig.come(delta(FULL, update_id))
    assert [record.kind for record in rig.take()] == [wire.DELTA] * 4
    rig.feed.answer(rig.route(FULL), rig.now_ns, rig.now_s)
    assert [record.kind for record in rig.take()] == [wire.STATUS]


def test_4_3_full_book_is_held_against_its_ids() -> None:
    """4.3: u is officially +1; a jump is said, with what is lost, and that no snapshot here makes it good."""
    rig = started(FULL)
    rig.come(delta(FULL, 700))
    rig.take()
    rig.come(delta(FULL, 703))
    said = status(rig.take()[-1])
    assert (said.state, said.reason) == ("resyncing", "gap: u 700 was followed by u 703")
    assert (said.lost, said.recoverable) == (2, False)


@pytest.mark.parametrize("update_id", [1, 703], ids=["delisted, or u begins again", "later"])
def test_4_3_full_book_may_be_empty(update_id: int) -> None:
    """4.3: a delisting, and the phases before a market, send empty sides: passed on, for the strategy to judge."""
    rig = started(FULL)
    rig.come(delta(FULL, 702))
    rig.take()
    rig.come(book(FULL, "delta", update_id))
    assert [record.kind for record in rig.take()] == [wire.DELTA]


@pytest.mark.parametrize(
    "topic", [f"orderbook.{depth}.BTC-25DEC26-100000-C" for depth in (1, 50)] + ["kline.1.BTC-25DEC26-100000-C"]
)
def test_3_2_topic_that_is_acknowledged_and_never_comes_is_told(topic: str) -> None:
    """3.2: option lists such topics as subscribed, and nothing ever comes: a state is not live without its first."""
    rig = Rig("option")
    rig.carry(topic)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(topic)
    assert rig.state(topic) == "subscribing"
    rig.tick(71)
    told = {(said.state, said.reason) for said in rig.statuses(topic)}
    assert ("resyncing", "no snapshot came") in told
    assert "live" not in {state for state, _ in told}


def test_4_5_empty_text_is_a_value_and_absence_is_none() -> None:
    """4.5: keep the last value of every field not present; "" is a value, and not "unchanged"."""
    rig = started(TICKER)
    rig.come(ticker(TICKER, "snapshot", fundingRate="0.1", lastPrice="5"))
    rig.come(ticker(TICKER, "delta", fundingRate=""))
    data = image(rig, TICKER)
    assert (data["fundingRate"], data["lastPrice"]) == ("", "5")


def test_4_5_delta_of_a_ticker_that_has_none_is_merged() -> None:
    """4.5: option tickers are snapshots; a fixture shows a delta all the same: passed on as one, and merged."""
    topic = "tickers.BTC-25DEC26-100000-C-USDT"
    rig = started(topic, product="option")
    rig.come(ticker(topic, "snapshot", lastPrice="5", askPrice="7"))
    rig.come(ticker(topic, "delta", askPrice="8"))
    assert [record.kind for record in rig.take()] == [wire.SNAPSHOT, wire.DELTA]
    data = image(rig, topic)
    assert (data["lastPrice"], data["askPrice"]) == ("5", "8")


def test_4_6_roll_over_may_bring_two_candles() -> None:
    """4.6: the one that ended and the one that began, in one message: a newcomer gets the last message whole."""
    topic = "kline.1.BTCUSDT"
    rig = started(topic)
    candles = [{"start": 0, "confirm": True}, {"start": 60_000, "confirm": False}]
    rig.come(message(topic, "snapshot", candles))
    assert [record.kind for record in rig.take()] == [wire.SNAPSHOT]
    assert [candle["start"] for candle in image(rig, topic)] == [0, 60_000]


def test_4_5_cs_is_no_sequence() -> None:
    """4.5: cs may repeat across deltas and is not contiguous."""
    rig = started(TICKER)
    for cs in (5, 5, 99, 7):
        rig.come(message(TICKER, "delta", {"symbol": "BTCUSDT"}, cs=cs))
    assert len(rig.take()) == 4
    assert rig.state(TICKER) == "live"
