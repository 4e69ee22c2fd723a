"""Whoever joins late gets an image, and deltas that continue it exactly; whoever was there before notices nothing."""

import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import zmq
from support.feed import Book, Ear, Feed, breaks, wait_until
from support.simulator import Simulator

from feedhandler import wire

BOOKS = ["orderbook.50.BTCUSDT", "orderbook.200.ETHUSDT", "orderbook.1000.SOLUSDT", "orderbook.rpi.XRPUSDT"]
TICKERS = ["tickers.BTCUSDT", "tickers.ETHUSDT", "tickers.DOGEUSDT"]
JOINS = 200
DELTAS_AFTER = 3
TROUBLEMAKERS = 3


class State:
    """A book of pairs or triples, or a ticker, kept the plainest way."""

    def __init__(self) -> None:
        self.levels: dict[str, dict[str, list[str]]] = {"b": {}, "a": {}}
        self.fields: dict[str, Any] = {}
        self.ids: dict[str, Any] = {}

    def apply(self, payload: bytes) -> None:
        """Take a snapshot or delta message."""
        message = json.loads(payload)
        data = message["data"]
        if message["type"] == "snapshot":
            self.__init__()  # type: ignore[misc]  # everything anew
        if "u" in data:
            for side, levels in self.levels.items():
                for price, *sizes in data[side]:
                    if all(float(size) == 0 for size in sizes):
                        levels.pop(price, None)
                    else:
                        levels[price] = sizes
            self.ids = {"u": data["u"], "seq": data["seq"], "cts": message.get("cts")}
        else:
            self.fields.update(data)
            self.ids = {"cs": message.get("cs"), "ts": message["ts"]}

    def shown(self) -> str:
        """Return what two states are compared by; prices and fields in no order."""
        return json.dumps((self.levels, self.fields, self.ids), sort_keys=True)


def join(address: str, subject: str) -> list[wire.Record]:
    """Subscribe to one subject late; return its image and the deltas that followed it."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with context.socket(zmq.SUB) as sub:
        sub.setsockopt(zmq.LINGER, 0)
        sub.setsockopt(zmq.SUBSCRIBE, wire.prefix(subject))
        sub.connect(address)
        records: list[wire.Record] = []
        deadline_s = time.monotonic() + 20
        while len(records) < 1 + DELTAS_AFTER:
            assert time.monotonic() < deadline_s, f"{subject}: {len(records)} records"
            if not sub.poll(1000):
                continue
            record = wire.parse(sub.recv())
            if record.kind > wire.UPDATE:
                continue
            if not records:
                if record.flags & wire.IMAGE:
                    records.append(record)
            elif not record.flags & wire.IMAGE:  # another newcomer's image: we are in step
                assert record.sequence == records[-1].sequence + 1
                records.append(record)
        return records


def make_trouble(address: str, stop: threading.Event, seed: int) -> None:
    """Join and leave without pause: exact subjects, prefixes, nonsense."""
    choose = random.Random(seed)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    filters = [
        b"",
        b"linear.",
        b"linear.orderbook.",
        b"nonsense",
        b"\0\xff\0",
        b"linear.tickers.BTCUSDT\0",
        b"linear.tickers.B",
    ]
    while not stop.wait(0.02):
        with context.socket(zmq.SUB) as sub:
            sub.setsockopt(zmq.LINGER, 0)
            sub.connect(address)
            for text in choose.sample(filters, 3):
                sub.setsockopt(zmq.SUBSCRIBE, text)
            for _ in range(5):
                if sub.poll(10):
                    sub.recv()


def test_at_200_random_points_image_and_deltas_equal_the_stream_of_who_was_there_before(tmp_path: Path) -> None:
    """Level for level and field for field, while others join and leave; the first subscriber's stream stays whole."""
    choose = random.Random(4)
    with Simulator("--rate", "3") as venue:
        config = f"""
            network = "sim"
            [endpoints.linear]
            product = "linear"
            url = "{venue.url_of("linear")}"
            topics = {json.dumps(BOOKS + TICKERS)}
        """
        feed = Feed(tmp_path, config)
        address = feed.address("linear")
        joined: list[list[wire.Record]] = []
        errors: list[BaseException] = []

        def join_again_and_again(number: int) -> None:
            mine = random.Random(number)
            try:
                for _ in range(JOINS // 8):
                    time.sleep(mine.random() * 0.2)
                    joined.append(join(address, f"linear.{mine.choice(BOOKS + TICKERS)}"))
            except BaseException as error:  # noqa: BLE001 - told to the test's own thread
                errors.append(error)

        with Ear([address]) as first, feed:
            feed.wait_live("linear")
            stop = threading.Event()
            trouble = [threading.Thread(target=make_trouble, args=(address, stop, n)) for n in range(TROUBLEMAKERS)]
            threads = [threading.Thread(target=join_again_and_again, args=(choose.random(),)) for _ in range(8)]
            for thread in (*trouble, *threads):
                thread.start()
            for thread in threads:
                thread.join()
            stop.set()
            for thread in trouble:
                thread.join()
            assert not errors
            assert len(joined) == JOINS
            highest = {records[0].subject: 0 for records in joined}
            for records in joined:
                highest[records[0].subject] = max(highest[records[0].subject], records[-1].sequence)
            wait_until(
                lambda: all(first.data(subject)[-1].sequence >= sequence for subject, sequence in highest.items()),
                "the first subscriber has all that the others have",
            )
        assert not breaks(first.records)
        for subject in highest:
            check_joiners(first.data(subject), [records for records in joined if records[0].subject == subject])


def check_joiners(stream: list[wire.Record], joiners: list[list[wire.Record]]) -> None:
    """Hold every joiner's state against the whole stream's, at each of its records."""
    points = {record.sequence for records in joiners for record in records}
    whole = State()
    shown: dict[int, str] = {}
    for record in stream:
        whole.apply(record.payload)
        if record.sequence in points:
            shown[record.sequence] = whole.shown()
    for records in joiners:
        state = State()
        for record in records:
            state.apply(record.payload)
            # An image may carry the number of a status; it then stands for the record before that.
            if record.sequence in shown or not record.flags & wire.IMAGE:
                assert state.shown() == shown[record.sequence], f"{record.subject} at {record.sequence}"


def test_the_book_used_by_other_tests_knows_a_wrong_book() -> None:
    """`support.feed.Book` tells two books apart by one level's size."""
    one, two = Book(), Book()
    text = '{"type":"snapshot","data":{"b":[["1","%s"]],"a":[],"u":5}}'
    one.apply((text % "2").encode())
    two.apply((text % "3").encode())
    assert one != two
