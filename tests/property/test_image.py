"""Late joiners: at every point of a random life the composed image is the state, and what follows continues it."""

import json
import os
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.lane import Rig, book, message, ticker

from feedhandler import wire
from feedhandler.worker.route import JOURNAL_LIMIT

BOOK, RPI, TICKER, POOL = "orderbook.50.BTCUSDT", "orderbook.rpi.BTCUSDT", "tickers.BTCUSDT", "insurance.USDT"
RECORDINGS: Final = Path(
    os.environ.get("FEEDHANDLER_RECORDINGS") or Path(__file__).parents[3] / "shared" / "data" / "bybit"
)
SIDES: Final = ("b", "a")
FIELDS: Final = ("lastPrice", "fundingRate", "nextFundingTime", "preQty", "bid1Price", "ask1Price")

Side = dict[Decimal, tuple[str, ...]]


class Book:
    """The reference: as simple as the rules are (dossier 4.2, 5.1)."""

    def __init__(self) -> None:
        self.sides: dict[str, Side] = {side: {} for side in SIDES}
        self.update_id = -1

    def apply(self, payload: bytes) -> None:
        received = json.loads(payload)
        if received["type"] == "snapshot":
            self.sides = {side: {} for side in SIDES}
        for side in SIDES:
            for level in received["data"][side]:
                if any(Decimal(size) for size in level[1:]):
                    self.sides[side][Decimal(level[0])] = tuple(level)
                else:
                    self.sides[side].pop(Decimal(level[0]), None)
        self.update_id = received["data"]["u"]

    def state(self) -> tuple[int, list[list[str]], list[list[str]]]:
        bids, asks = self.sides["b"], self.sides["a"]
        return (
            self.update_id,
            [list(bids[price]) for price in sorted(bids, reverse=True)],
            [list(asks[price]) for price in sorted(asks)],
        )


def walk(topic: str, chance: random.Random, length: int) -> Iterator[bytes]:
    """Make a book's life: small steps, removals, returns, jumps of the whole market, snapshots in between."""
    sizes = 2 if topic == RPI else 1
    zeros = ("0", "0", "0.0", "0.000")
    middle, update_id = 1000, chance.choice([0, 1, 10**9])

    def level(side: str) -> tuple[str, ...]:
        tick = chance.randrange(1, 12)
        price = (middle + tick if side == "a" else middle - tick) * Decimal("0.5")
        removed = chance.random() < 0.4
        return str(price), *(chance.choice(zeros) if removed else str(chance.randrange(0, 4)) for _ in range(sizes))

    def levels(side: str, most: int) -> list[tuple[str, ...]]:
        return list({one[0]: one for one in (level(side) for _ in range(chance.randrange(0, most)))}.values())

    def whole() -> bytes:
        sides = [
            [
                one
                for one in sorted(levels(side, 12), key=lambda it: Decimal(it[0]), reverse=side == "b")
                if any(map(Decimal, one[1:]))
            ]
            for side in SIDES
        ]
        return book(topic, "snapshot", update_id, *sides)

    yield whole()
    for _ in range(length):
        draw = chance.random()
        if draw < 0.03:
            update_id = chance.choice([0, 1, update_id, update_id + 1, update_id + 500])
            yield whole()
            continue
        if draw < 0.08:
            middle += chance.choice([-30, -7, 7, 30])
        update_id += 1
        yield book(topic, "delta", update_id, levels("b", 6), levels("a", 6))


def joined(rig: Rig, topic: str) -> dict[str, Any]:
    """Return the image that a newcomer gets now."""
    rig.take()
    rig.feed.answer(rig.route(topic), rig.now_ns, rig.now_s)
    said, image = rig.take()
    assert (said.flags, image.flags) == (wire.REPEATED, wire.IMAGE)
    assert said.sequence == image.sequence == rig.route(topic).sequence
    decoded: dict[str, Any] = msgspec.json.decode(image.payload)
    assert (decoded["topic"], decoded["type"]) == (topic, "snapshot")
    return decoded


def started(topic: str) -> Rig:
    rig = Rig()
    rig.carry(topic)
    rig.lane.opened(rig.now_ns)
    rig.subscribe(topic)
    return rig


@settings(max_examples=60)
@given(
    st.sampled_from([BOOK, RPI]),
    st.integers(0, 2**32),
    st.sampled_from([3, JOURNAL_LIMIT, JOURNAL_LIMIT + 1, 4 * JOURNAL_LIMIT]),
    st.sampled_from([1.0, 0.2, 0.02]),
)
@example(BOOK, 0, 10 * JOURNAL_LIMIT, 0.01)
def test_book_image_is_the_book_at_every_point(topic: str, seed: int, length: int, often: float) -> None:
    """However often somebody joins; who joined earlier and applies what follows has the same book."""
    chance = random.Random(seed)
    rig, reference, joiners = started(topic), Book(), list[Book]()
    for payload in walk(topic, chance, length):
        assert rig.come(payload)
        reference.apply(payload)
        for joiner in joiners:
            joiner.apply(payload)
            assert joiner.state() == reference.state()
        if chance.random() < often:
            image = joined(rig, topic)
            data = image["data"]
            assert (data["u"], data["b"], data["a"]) == reference.state()
            joiner = Book()
            joiner.apply(msgspec.json.encode(image))
            joiners = [*joiners[-3:], joiner]
    assert rig.state(topic) == "live"


VALUE = st.sampled_from(["", "1", "1.50", "0.0001", "CallAuction"])


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.dictionaries(st.sampled_from(FIELDS), VALUE), st.booleans()),
        max_size=3 * JOURNAL_LIMIT,
    )
)
def test_ticker_image_is_the_merged_ticker_at_every_point(life: list[tuple[int, dict[str, str], bool]]) -> None:
    """Absent fields keep their value, empty ones are values (dossier 4.5); one record in ten is a snapshot."""
    rig, reference = started(TICKER), {"symbol": "BTCUSDT"}
    rig.come(ticker(TICKER, "snapshot"))
    for draw, fields, joins in life:
        type_ = "delta" if draw else "snapshot"
        reference = (reference if draw else {"symbol": "BTCUSDT"}) | fields
        assert rig.come(ticker(TICKER, type_, **fields))
        if joins:
            assert joined(rig, TICKER)["data"] == reference
    assert joined(rig, TICKER)["data"] == reference


ROW = st.fixed_dictionaries(
    {"coin": st.sampled_from(["BTC", "USDT"]), "symbols": st.sampled_from(["A", "B,C", ""])},
    optional={"balance": st.sampled_from(["1", "2.5", ""]), "updateTime": st.sampled_from(["1", "2"])},
)
ROWS = st.lists(ROW, max_size=4, unique_by=lambda row: (row["coin"], row["symbols"]))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 9), ROWS, st.booleans()), max_size=2 * JOURNAL_LIMIT))
def test_insurance_image_is_the_rows_at_every_point(life: list[tuple[int, list[dict[str, str]], bool]]) -> None:
    """Rows merge by coin and symbols (dossier 4.9)."""
    rig = started(POOL)
    rig.come(message(POOL, "snapshot", []))
    reference: dict[tuple[str, str], dict[str, str]] = {}
    for draw, rows, joins in life:
        reference = reference if draw else {}
        for row in rows:
            key = (row["coin"], row["symbols"])
            reference[key] = reference.get(key, {}) | row
        assert rig.come(message(POOL, "delta" if draw else "snapshot", rows))
        if joins:
            assert joined(rig, POOL)["data"] == list(reference.values())
    assert joined(rig, POOL)["data"] == list(reference.values())


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not on this machine")
@pytest.mark.parametrize(
    ("recording", "topic"),
    [
        ("real_linear_orderbook500_XRPUSDT_2024-12-01_first20", "orderbook.500.XRPUSDT"),
        ("real_linear_orderbook50_2026-03", BOOK),
        ("real_linear_2026-10_1000", "orderbook.1000.BTCUSDT"),
        ("real_spot_orderbook50_2024-11_gct", BOOK),
    ],
)
def test_recorded_book_image_is_the_book_at_every_point(recording: str, topic: str) -> None:
    """What the venue really sent: the image after each frame is the reference book."""
    rig, reference = started(topic), Book()
    lines = [line for line in (RECORDINGS / f"{recording}.jsonl").read_bytes().splitlines() if topic.encode() in line]
    assert len(lines) >= 2
    for line in lines:
        assert rig.come(line)
        reference.apply(line)
        data = joined(rig, topic)["data"]
        assert (data["u"], data["b"], data["a"]) == reference.state()
    assert rig.feed.counters == {"images": len(lines)}


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not on this machine")
def test_recorded_ticker_image_is_the_merged_ticker_at_every_point() -> None:
    """A hundred deltas and what they leave unsaid."""
    lines = (RECORDINGS / "real_testnet_linear_ticker_2025-05_rsbybit.jsonl").read_bytes().splitlines()
    rigs: dict[str, Rig] = {}
    merged: dict[str, dict[str, str]] = {}
    for line in lines:
        received = json.loads(line)
        topic = received.get("topic", "")
        if not topic.startswith("tickers."):
            continue
        rig = rigs.setdefault(topic, started(topic))
        if received["type"] == "snapshot":
            merged[topic] = {}
        assert rig.come(line)
        if topic in merged:
            merged[topic] |= received["data"]
            assert joined(rig, topic)["data"] == merged[topic]
    assert merged
