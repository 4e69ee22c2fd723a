"""What faults do to one frame."""

import json
from typing import Any

import pytest

from feedhandler.sim import frames
from feedhandler.sim.books import Book, RpiBook
from feedhandler.sim.events import Trades
from feedhandler.sim.faults import DATA, KINDS, Fault, Faults
from feedhandler.sim.listing import Instrument, Listing
from feedhandler.sim.market import Fill, Market
from feedhandler.sim.publication import Publication
from feedhandler.sim.tampering import Aim, Wire, alter, applies, is_last_word, is_update, release

NOW_NS = 1_760_000_000_000_000_000
TOPIC = "orderbook.50.BTCUSDT"


def market() -> Market:
    found = Listing().find("linear", "BTCUSDT")
    assert isinstance(found, Instrument)
    return Market(found, 1, NOW_NS)


def delta(*, is_rpi: bool = False) -> Aim:
    subject = market()
    made: Book
    if is_rpi:
        made = RpiBook("linear", "orderbook.rpi.BTCUSDT", subject, 100, 0)
    else:
        made = Book("linear", TOPIC, subject, 50, 20, 0)
    made.resume(NOW_NS)
    payloads: list[bytes] = []
    while not payloads:
        subject.step(NOW_NS)
        payloads = made.publish(NOW_NS)
    return Aim(7, "linear", made.topic, payloads[0], made)


def aim(topic: str, payload: bytes, product: str = "linear", publication: Publication | None = None) -> Aim:
    return Aim(7, product, topic, payload, publication)


def fault(kind: str, **parameters: str) -> Fault:
    return Faults().build({"kind": kind} | parameters, 0.0)


def payloads(wires: list[Wire]) -> list[bytes]:
    return [piece for wire in wires for _, _, piece, _ in frames.parse(wire.framed)]


def message(wires: list[Wire]) -> dict[str, Any]:
    (payload,) = payloads(wires)
    decoded: dict[str, Any] = json.loads(payload)
    return decoded


def test_every_data_fault_has_its_alteration() -> None:
    """No kind of the table is without deed."""
    target = delta()
    for kind in KINDS.values():
        if kind.where == DATA:
            wires = alter(fault(kind.name), target)
            assert payloads(wires) != [target.payload] or wires != [Wire(frames.frame(target.payload))], kind.name


def test_healed_topics_are_spared() -> None:
    """Their frames pass."""
    target, mute = delta(), fault("mute", heals="resubscribe")
    assert applies(mute, target)
    mute.healed.add((target.connection, target.topic))
    assert not applies(mute, target)


@pytest.mark.parametrize("kind", ["mute", "stall", "skip"])
def test_frames_are_left_out(kind: str) -> None:
    """Dossier 9.5, numbers 1, 11, 13."""
    assert alter(fault(kind), delta()) == []


def test_frame_is_sent_twice() -> None:
    """Number 2."""
    target = delta()
    assert payloads(alter(fault("duplicate"), target)) == [target.payload, target.payload]


def test_frame_comes_after_the_next_one() -> None:
    """Number 3: held back, then released behind the topic's next frame on that connection."""
    target, reorder = delta(), fault("reorder")
    assert alter(reorder, target) == []
    assert release(reorder, aim("orderbook.50.ETHUSDT", b"{}")) == []
    assert payloads(release(reorder, target)) == [target.payload]
    assert release(reorder, target) == []


def test_delay_is_carried_to_the_line() -> None:
    """A slow line."""
    assert alter(fault("delay", ms="30"), delta())[0].delay_ms == 30


def test_delete_of_an_unknown_level_is_the_only_difference() -> None:
    """Number 8: behind the asks, best first; the delta itself is untouched."""
    for is_rpi in (False, True):
        target = delta(is_rpi=is_rpi)
        told, right = message(alter(fault("unknown_delete"), target)), json.loads(target.payload)
        *rest, added = told["data"]["a"]
        assert rest == right["data"]["a"]
        assert set(added[1:]) == {"0"}
        assert len(added) == (3 if is_rpi else 2)
        assert isinstance(target.publication, Book)
        assert float(added[0]) > target.publication.market.asks.keys[-1] * 0.1


def test_crossing_bid_is_above_the_best_ask() -> None:
    """Number 9: in front of the bids; the delta itself is untouched."""
    for is_rpi in (False, True):
        target = delta(is_rpi=is_rpi)
        assert isinstance(target.publication, Book)
        told, right = message(alter(fault("crossed"), target)), json.loads(target.payload)
        added, *rest = told["data"]["b"]
        assert rest == right["data"]["b"]
        assert float(added[0]) > target.publication.market.asks.keys[0] * 0.1


def test_level_is_added_to_empty_sides_too() -> None:
    """A delta without bids, a market without asks."""
    target = delta()
    target.payload = b'{"data":{"b":[],"a":[],"u":1}}'
    assert len(message(alter(fault("crossed"), target))["data"]["b"]) == 1
    assert isinstance(target.publication, Book)
    asks = target.publication.market.asks
    for key in list(asks.keys):
        asks.put(key, 0)
    assert len(message(alter(fault("crossed"), target))["data"]["b"]) == 1
    assert len(message(alter(fault("unknown_delete"), target))["data"]["a"]) == 1


def test_recorded_frames_are_left_alone_where_a_book_is_needed() -> None:
    """Nothing is known of the market behind a recording."""
    target = aim(TOPIC, b'{"type":"delta","data":{"b":[],"a":[],"u":1}}')
    assert not applies(fault("crossed"), target)
    assert payloads(alter(fault("crossed"), target)) == [target.payload]
    assert message(alter(fault("unknown_delete"), target))["data"]["a"] == [["999999999", "0"]]


def test_frame_is_cut_in_the_middle() -> None:
    """Number 10: half of it, and nothing after."""
    target = delta()
    (wire,) = alter(fault("abort_mid_frame"), target)
    assert wire.is_last
    assert not frames.parse(wire.framed)[0][3]
    assert not applies(fault("abort_mid_frame"), aim("a", b"{"))


@pytest.mark.parametrize(
    ("what", "opcode"),
    [("invalid", 1), ("truncated", 1), ("binary", 2), ("empty", 1), ("list", 1), ("latin1", 1), ("unheard of", 1)],
)
def test_garbage_comes_before_a_good_frame(what: str, opcode: int) -> None:
    """Number 18: an extra frame that is no message; the good one follows untouched."""
    target = delta()
    senseless, good = alter(fault("garbage", what=what), target)
    ((found, is_final, payload, is_whole),) = frames.parse(senseless.framed)
    assert (found, is_final, is_whole) == (opcode, True, True)
    with pytest.raises((ValueError, AssertionError)):
        assert isinstance(json.loads(payload), dict)
    assert payloads([good]) == [target.payload]


def test_unknown_topic_comes_before_a_good_frame() -> None:
    """Number 17: valid JSON of a topic that nobody asked for."""
    target = delta()
    stranger, good = payloads(alter(fault("unknown_topic", name="news.9"), target))
    assert json.loads(stranger)["topic"] == "news.9"
    assert good == target.payload


def test_unknown_type_replaces_the_type_only() -> None:
    """Number 17."""
    target = delta()
    right = json.loads(target.payload)
    assert message(alter(fault("unknown_type"), target)) == right | {"type": "checkpoint"}


def test_extra_fields_leave_the_known_ones_as_they_were() -> None:
    """Number 17: new keys at top level, first and last, and in the data, be it object or array."""
    target = delta()
    told, right = message(alter(fault("extra_fields"), target)), json.loads(target.payload)
    assert list(told) == ["venueNote", *right, "lastKey"]
    del told["data"]["newField"]
    assert {name: told[name] for name in right} == right
    trades = message(alter(fault("extra_fields"), trade_aim()))
    assert trades["data"][0]["newField"] == "1"


def test_clock_is_shifted_in_ts_only() -> None:
    """Number 21."""
    target = delta()
    right = json.loads(target.payload)
    told = message(alter(fault("skew", ms="-5000"), target))
    assert told == right | {"ts": right["ts"] - 5000}


def test_skew_moves_a_private_message_s_own_time() -> None:
    """It has no ``ts``; the times of its rows stay."""
    payload = b'{"topic":"order","id":"1","creationTime":1760000000000,"data":[{"createdTime":"1760000000000"}]}'
    told = message(alter(fault("skew", ms="-5000"), Aim(1, "private", "order", payload, None)))
    assert told == json.loads(payload) | {"creationTime": 1_759_999_995_000}


def test_message_is_fragmented_or_split() -> None:
    """Continuation frames; or one frame over many segments."""
    target = delta()
    (wire,) = alter(fault("fragment", parts="4"), target)
    pieces = frames.parse(wire.framed)
    assert len(pieces) == 4
    assert b"".join(piece for _, _, piece, _ in pieces) == target.payload
    (wire,) = alter(fault("split", segment_bytes="0"), target)
    assert (wire.segment_bytes, payloads([wire])) == (1, [target.payload])


@pytest.mark.parametrize(
    ("kind", "is_last"),
    [("skew", False), ("delay", False), ("fragment", True), ("split", True), ("abort_mid_frame", True)],
)
def test_some_faults_have_the_last_word(kind: str, is_last: bool) -> None:
    """What is no single whole frame any more cannot be altered further."""
    (wire,) = alter(fault(kind), delta())
    assert is_last_word(wire) is is_last


def trade_aim() -> Aim:
    subject = market()
    fills: list[Fill] = []
    while len(fills) < 2:
        fills = subject.step(NOW_NS)
    trades = Trades("linear", "publicTrade.BTCUSDT", [subject])
    trades.touched(subject, fills)
    return aim("publicTrade.BTCUSDT", trades.publish(NOW_NS)[0], publication=trades)


def test_trades_are_regrouped_one_by_one() -> None:
    """Two lines need not cut the same trades into the same frames."""
    target = trade_aim()
    right = json.loads(target.payload)
    assert applies(fault("regroup"), target)
    told = [json.loads(payload) for payload in payloads(alter(fault("regroup"), target))]
    assert [each["data"] for each in told] == [[item] for item in right["data"]]
    assert not applies(fault("regroup"), delta())


@pytest.mark.parametrize(
    ("product", "topic", "kind", "is_one"),
    [
        ("linear", "orderbook.50.X", "snapshot", False),
        ("linear", "orderbook.50.X", "delta", True),
        ("linear", "orderbook.1.X", "snapshot", True),
        ("linear", "tickers.X", "snapshot", False),
        ("spot", "tickers.X", "snapshot", True),
        ("linear", "publicTrade.X", "snapshot", True),
        ("linear", "insurance.USDT", "snapshot", False),
    ],
)
def test_updates_are_what_may_be_lost_without_the_start(product: str, topic: str, kind: str, is_one: bool) -> None:
    """``skip`` never takes the snapshot that a subscription begins with."""
    target = aim(topic, f'{{"topic":"{topic}","type":"{kind}"}}'.encode(), product)
    assert is_update(target) is is_one
    assert applies(fault("skip"), target) is is_one
    assert applies(fault("mute"), target)
