"""What each stage of a message's way costs, in ns, side by side in one run.

Stages are timed in turns, round after round, by the thread's CPU clock, so that whatever disturbs the machine meets
them all. Compare figures of one run with each other; those of different runs differ by more than the stages do.
``python -m bench.micro``
"""

import random
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.command import Options, main, say
from bench.market import Book, level_1, ticker, trade
from bench.tables import Spread, table
from feedhandler import wire
from feedhandler.bybit.products import Nature
from feedhandler.worker import feed as feed_module
from feedhandler.worker.feed import Lane
from feedhandler.worker.publisher import Publisher
from feedhandler.worker.route import JOURNAL_LIMIT, Route
from feedhandler.worker.state import Feed

REPEATS: Final = 9
ROUND_NS: Final = 20_000_000
"""How long a stage runs at a time."""
QUICK_ROUND_NS: Final = 500_000
CHAIN: Final = 25 * JOURNAL_LIMIT
DEPTHS: Final = (50, 200, 1000)
LEVELS: Final = (2, 10)
SYMBOL: Final = "SYM000USDT"


class Stage:
    """A statement and what it speaks of."""

    def __init__(self, group: str, name: str, statement: str, names: dict[str, Any], *, messages: int = 1) -> None:
        self.group = group
        self.name = name
        self.ns: list[float] = []
        self._timer = timeit.Timer(statement, timer=time.thread_time_ns, globals=names)
        self._messages = messages
        self._turns = 1

    def find_turns(self, round_ns: int) -> None:
        """Find how many turns make a round; this also warms the stage up."""
        while self._timer.timeit(self._turns) < round_ns:
            self._turns *= 2

    def round(self) -> None:
        """Run one round."""
        self.ns.append(self._timer.timeit(self._turns) / self._turns / self._messages)


class Row(msgspec.Struct):
    """One stage. Times in ns per message."""

    group: str
    name: str
    ns: Spread


def measure(options: Options) -> list[Row]:
    """Time every stage."""
    with tempfile.TemporaryDirectory(prefix="feedhandler-bench-") as directory:
        publisher = Publisher([f"ipc://{Path(directory) / 'micro'}.pub"], send_high_water_mark=1000)
        try:
            stages = [*_decoding(), *_heading(), *_sending(publisher), *_feeding(), *_keeping()]
            say(f"micro: {len(stages)} stages, {options.repeats} rounds")
            for stage in stages:
                stage.find_turns(QUICK_ROUND_NS if options.quick else ROUND_NS)
            for _ in range(options.repeats):
                for stage in stages:
                    stage.round()
        finally:
            publisher.close()
    return [Row(stage.group, stage.name, Spread.of(stage.ns)) for stage in stages]


def _payloads() -> dict[str, bytes]:
    first, ring = Book(SYMBOL, 50, random.Random(1)).ring(60, 0, (6, 6))
    return {
        "book delta, 6 levels": ring[0],
        "level 1": level_1(SYMBOL, 1),
        "trade": trade(SYMBOL, 1),
        "ticker delta": ticker(SYMBOL, 1, "delta"),
        "book snapshot, 50 levels": first,
    }


def _decoding() -> list[Stage]:
    decode = feed_module._decode  # noqa: SLF001 - the hot path's own decoder is what is measured
    return [
        Stage("decode", f"{name}, {len(payload)} bytes", "decode(payload)", {"decode": decode, "payload": payload})
        for name, payload in _payloads().items()
    ]


def _heading() -> list[Stage]:
    names = {
        "head": wire.head(wire.prefix(f"linear.orderbook.50.{SYMBOL}"), wire.DELTA, 0, 0, 1),
        "prefix": wire.prefix(f"linear.orderbook.50.{SYMBOL}"),
        "fixed": wire.head(b"", wire.DELTA, 0, 0, 1),
        "tail": wire.TAIL.pack(1, 2, 3),
        "pack_tail": wire.TAIL.pack,
        "pack_header": wire.HEADER.pack,
        "payload": _payloads()["book delta, 6 levels"],
        "now_ns": time.time_ns(),
        "time_ns": time.time_ns,
        "join": b"".join,
    }
    return [
        Stage("header", name, statement, names)
        for name, statement in {
            "the clock": "time_ns()",
            "tail: sequence and two times": "pack_tail(12345, now_ns, now_ns)",
            "whole header": "pack_header(1, 2, 8, 0, 1, 12345, now_ns, now_ns)",
            "head + tail + payload": "head + tail + payload",
            'b"%b%b%b" of them': 'b"%b%b%b" % (head, tail, payload)',
            'b"".join of them': "join((head, tail, payload))",
            "as published: clock, tail, two +": "head + pack_tail(12345, now_ns, time_ns()) + payload",
            "whole header each time, two +": "prefix + pack_header(1, 2, 8, 0, 1, 12345, now_ns, time_ns()) + payload",
        }.items()
    ]


def _sending(publisher: Publisher) -> list[Stage]:
    names = {
        "publish": publisher.publish,
        "head": wire.head(wire.prefix(f"linear.orderbook.50.{SYMBOL}"), wire.DELTA, 0, 0, 1),
        "payload": _payloads()["book delta, 6 levels"],
        "now_ns": time.time_ns(),
    }
    return [Stage("publish", "publish, nobody subscribed", "publish(head, 12345, now_ns, payload)", names)]


def _lane(publish: Callable[[bytes, int, int, bytes], None]) -> Lane:
    feed = Feed(
        worker="bench",
        endpoint="linear",
        product="linear",
        network="sim",
        simulated=True,
        quiet_status_s=10.0,
        publish=publish,
    )
    lane = Lane(feed, line=0, clock_s=time.monotonic)
    topics = [f"{stream}.{SYMBOL}" for stream in ("orderbook.50", "orderbook.1", "publicTrade", "tickers")]
    feed.carry(lane, topics, epoch=1, now_ns=1)
    lane.opened(1)
    lane.asked(topics)
    lane.acknowledged(topics, 1)
    return lane


def _no_publish(_head: bytes, _sequence: int, _received_ns: int, _payload: bytes) -> None:
    pass


def _feeding() -> list[Stage]:
    """`Lane.on_payload` as it is, but nothing is sent."""
    lane = _lane(_no_publish)
    payloads = _payloads()
    first, ring = Book(SYMBOL, 50, random.Random(1)).ring(CHAIN + 1, 0, LEVELS)
    deltas = ring[:-1]
    for payload in (first, payloads["level 1"], ticker(SYMBOL, 0, "snapshot")):
        lane.on_payload(payload, 1)
    route = lane.routes[f"orderbook.50.{SYMBOL}"]
    base = route.update_id
    lane.on_payload(deltas[0], 1)
    names = {
        "on_payload": lane.on_payload,
        "_no_publish": _no_publish,
        "head": b"",
        "route": route,
        "base": base,
        "first": first,
        "deltas": deltas,
        "parts": [deltas[start : start + JOURNAL_LIMIT] for start in range(0, CHAIN, JOURNAL_LIMIT)],
        **{name.split(",", 1)[0].replace(" ", "_"): payload for name, payload in payloads.items()},
    }
    folding = (
        "route.update_id = base\nroute.journal = [first]\nroute.image = None\nfor delta in deltas: on_payload(delta, 1)"
    )
    keeping = (
        "route.update_id = base\nfor part in parts:\n route.journal = []\n for delta in part: on_payload(delta, 1)"
    )
    return [
        Stage("Lane.on_payload", "book delta, 2-10 levels, journal never folded", keeping, names, messages=CHAIN),
        Stage("Lane.on_payload", "book delta, 2-10 levels, folds included", folding, names, messages=CHAIN),
        Stage("Lane.on_payload", "level 1", "on_payload(level_1, 1)", names),
        Stage("Lane.on_payload", "trade", "on_payload(trade, 1)", names),
        Stage("Lane.on_payload", "ticker delta, folds included", "on_payload(ticker_delta, 1)", names),
        Stage("Lane.on_payload", "book snapshot, 50 levels", "on_payload(book_snapshot, 1)", names),
        Stage("Lane.on_payload", "the publish that does nothing", "_no_publish(head, 1, 1, first)", names),
    ]


def _keeping() -> list[Stage]:
    """What late joiners cost: a delta folded, an image composed."""
    stages = []
    for depth in DEPTHS:
        first, ring = Book(SYMBOL, depth, random.Random(1)).ring(CHAIN + 1, 0, LEVELS)
        route = Route(
            f"linear.orderbook.{depth}.{SYMBOL}",
            f"orderbook.{depth}.{SYMBOL}",
            Nature.BOOK,
            epoch=1,
            flags=0,
            line=0,
            now_ns=1,
        )
        route.enter(wire.LIVE, "", 1)
        route.journal = [first, *ring[:-1]]
        route.fold()
        parts = [ring[start : start + JOURNAL_LIMIT] for start in range(0, CHAIN, JOURNAL_LIMIT)]
        names = {"route": route, "parts": parts}
        fold = "for part in parts:\n route.journal = part\n route.fold()"
        stages += [
            Stage("journal and image", f"fold, each delta, depth {depth}", fold, names, messages=CHAIN),
            Stage("journal and image", f"compose, depth {depth}", "route.compose()", names),
        ]
    return stages


def text(rows: list[Row]) -> str:
    """Return the table."""
    return table(("stage", "ns"), ((f"{row.group}: {row.name}", row.ns.text(digits=0)) for row in rows))


if __name__ == "__main__":
    main(__doc__ or "", measure, text, REPEATS)
