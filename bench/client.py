"""What the strategy's side costs: records received and parsed, decoded, and kept as books. CPU time, in one run.

Received is what has come already: a socket is filled with the made-up market's records, ZeroMQ's own threads come to
rest, and the CPU clock of the strategy's thread is read around its emptying the socket. Beside the `Subscriber` stands
what a program of a few lines would do, beside the decoders msgspec without us. Stages take turns, round after round, so
that whatever disturbs the machine meets them all. Compare figures of one run with each other.
``python -m bench.client``
"""

import asyncio
import functools
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import uvloop
import zmq

from bench.command import Options, main, say
from bench.machine import cpu_time
from bench.market import NO_STAMP, Book, Market, Shape, build, ticker, trade
from bench.micro import QUICK_ROUND_NS, ROUND_NS, Row, Stage
from bench.rig import RigError
from bench.tables import Spread, table
from feedhandler import Record, Subscriber, wire
from feedhandler.bybit import messages
from feedhandler.client.views import book_view

REPEATS: Final = 9
RECORDS: Final = 20_000
"""Received in a round."""
QUICK_RECORDS: Final = 1_000
SHAPE: Final = Shape(symbols=50)
DEPTHS: Final = (50, 200, 1000)
LEVELS: Final = (2, 10)
RING: Final = 960
"""Records of a book until it begins again with its snapshot."""
REST_S: Final = 0.02
"""ZeroMQ's threads rest when they took no CPU time for this long."""
LIVE_S: Final = 20.0
SYMBOL: Final = "SYM000USDT"

_NOBLOCK: Final = int(zmq.NOBLOCK)


class Source:
    """A worker's socket, as far as a subscriber can tell: the made-up market's records, numbered by subject."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.subjects = [f"linear.{topic}" for topic in SHAPE.topics]
        market = _market()
        self._first = market.first
        self._cycle = cycle([(json.loads(payload)["topic"], payload) for payload in market.cycle])
        self._numbers = dict.fromkeys(SHAPE.topics, 0)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(address)

    def _send(self, topic: str, kind: int, payload: bytes) -> None:
        self._numbers[topic] += 1
        now_ns, line = time.time_ns(), 0 if kind <= wire.UPDATE else wire.NO_LINE
        prefix = wire.prefix(f"linear.{topic}")
        self._socket.send(
            wire.pack(prefix, kind, wire.SIMULATED, line, 1, self._numbers[topic], now_ns, now_ns, payload)
        )

    def begin(self) -> int:
        """Make every subject live; return how many records that takes."""
        rest()  # subscriptions have come
        while self._socket.poll(0):
            self._socket.recv()
        status = wire.Status(state=wire.LIVE, since_ns=0, worker="bench", network="sim", lines_up=1, lines=1)
        for topic in SHAPE.topics:
            self._send(topic, wire.STATUS, msgspec.json.encode(status))
            if topic in self._first:
                self._send(topic, wire.SNAPSHOT, self._first[topic])
        rest()
        return len(SHAPE.topics) + len(self._first)

    def fill(self, records: int) -> None:
        """Send so many, and wait until ZeroMQ has moved them all."""
        for topic, payload in islice(self._cycle, records):
            kind = wire.UPDATE if topic.startswith("publicTrade") else wire.DELTA
            is_snapshot = kind == wire.DELTA and b'"type":"snapshot"' in payload
            self._send(topic, wire.SNAPSHOT if is_snapshot else kind, payload)
        rest()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._context.term()


@functools.cache
def _market() -> Market:
    return build(SHAPE)


def rest() -> None:
    """Wait until ZeroMQ's threads of this process have nothing to do."""
    before = -1
    while True:
        now = cpu_time(os.getpid())
        if now.process - now.main == before:
            return
        before = now.process - now.main
        time.sleep(REST_S)


class Reader(Protocol):
    """One way to read."""

    def read(self, records: int) -> int:
        """Read so many; return the CPU time it took, in ns."""

    def close(self) -> None:
        """Let go of the socket."""


class Plain:
    """A SUB socket and a loop around one function."""

    def __init__(self, source: Source, take: Callable[[bytes], object] | None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        for subject in source.subjects:
            self._socket.setsockopt(zmq.SUBSCRIBE, wire.prefix(subject))
        self._socket.connect(source.address)
        self._take = take
        time.sleep(REST_S)
        self.read(source.begin())

    def read(self, records: int) -> int:
        """Read so many; return the CPU time it took, in ns."""
        receive = zmq.backend.Socket.recv.__get__(self._socket)
        take = self._take
        begun_ns = time.thread_time_ns()
        if take is None:
            for _ in range(records):
                receive(_NOBLOCK)
        else:
            for _ in range(records):
                take(receive(_NOBLOCK))
        return time.thread_time_ns() - begun_ns

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(0)
        self._context.term()


class EnoughError(Exception):
    """Ends `Subscriber.run` after a round."""


class Client:
    """A `Subscriber` of every subject, read in one of its ways."""

    def __init__(self, source: Source, *, books: bool = False, **options: Any) -> None:
        self.feed = Subscriber(addresses=[source.address], receive_high_water_mark=0, **options)
        self.feed.subscribe(*source.subjects)
        if books:
            for subject in source.subjects:
                if subject.startswith(f"linear.orderbook.{SHAPE.depth}."):
                    self.feed.book(subject)
        while self.feed.receive(REST_S) is not None:
            pass
        source.begin()
        self.feed.wait_live(LIVE_S)
        while self.feed.receive(0) is not None:
            pass

    def read(self, records: int) -> int:
        """Read so many; return the CPU time it took, in ns."""
        begun_ns = time.thread_time_ns()
        self.take(records)
        took_ns = time.thread_time_ns() - begun_ns
        if self.feed.counters.lost or self.feed.receive(0) is not None:
            raise RigError(f"a round of {records} records was none: {self.feed.counters}")
        return took_ns

    def take(self, records: int) -> None:
        """Read so many: the shortest way."""
        for _ in islice(self.feed, records):
            pass

    def close(self) -> None:
        """Close every socket."""
        self.feed.close()


class Receiving(Client):
    """`Subscriber.receive`."""

    def take(self, records: int) -> None:
        """Read so many."""
        receive = self.feed.receive
        for _ in range(records):
            receive()


class Decoding(Client):
    """Each record is decoded, too."""

    def take(self, records: int) -> None:
        """Read so many."""
        for record in islice(self.feed, records):
            record.decode()


class Calling(Client):
    """`Subscriber.run`, with one callback for everything."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._left = 0
        self.feed.on("linear.", self._count)

    def _count(self, _record: Record) -> None:
        self._left -= 1
        if not self._left:
            raise EnoughError

    def take(self, records: int) -> None:
        """Read so many."""
        self._left = records
        try:
            self.feed.run()
        except EnoughError:
            return


class Looping(Client):
    """``async for``, in a loop of that kind."""

    def __init__(self, source: Source, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        super().__init__(source)
        self._runner = asyncio.Runner(loop_factory=loop_factory)

    def take(self, records: int) -> None:
        """Read so many."""
        self._runner.run(self._take(records))

    async def _take(self, records: int) -> None:
        async for _ in self.feed:
            records -= 1
            if not records:
                return

    def close(self) -> None:
        """Close every socket, and the loop."""
        super().close()
        self._runner.close()


class Emptying:
    """A way to read, timed like a `Stage`."""

    group = "receive"

    def __init__(self, name: str, source: Source, reader: Reader, records: int) -> None:
        self.name = name
        self.ns: list[float] = []
        self._source = source
        self._reader = reader
        self._records = records

    def find_turns(self, _round_ns: int) -> None:
        """Warm up."""
        self.round()
        self.ns.clear()

    def round(self) -> None:
        """Fill the socket, and time its emptying."""
        self._source.fill(self._records)
        self.ns.append(self._reader.read(self._records) / self._records)


def measure(options: Options) -> list[Row]:
    """Time every stage."""
    with tempfile.TemporaryDirectory(prefix="feedhandler-bench-") as directory, ExitStack() as ending:
        records = QUICK_RECORDS if options.quick else RECORDS
        stages: list[Stage | Emptying] = [
            *_receiving(Path(directory), ending, records), *_decoding(), *_keeping()
        ]  # fmt: skip
        say(f"client: {len(stages)} stages, {options.repeats} rounds")
        for stage in stages:
            stage.find_turns(QUICK_ROUND_NS if options.quick else ROUND_NS)
        for _ in range(options.repeats):
            for stage in stages:
                stage.round()
    return [Row(stage.group, stage.name, Spread.of(stage.ns)) for stage in stages]


def _unpack(message: bytes) -> tuple[Any, ...]:
    """What the README's program does."""
    _, _, rest = message.partition(b"\0")
    return wire.HEADER.unpack_from(rest)


def _receiving(directory: Path, ending: ExitStack, records: int) -> Iterable[Emptying]:
    ways: dict[str, Callable[[Source], Reader]] = {
        "recv alone": lambda source: Plain(source, None),
        "recv, partition, unpack_from": lambda source: Plain(source, _unpack),
        "recv, wire.parse": lambda source: Plain(source, wire.parse),
        "Subscriber: for": Client,
        "Subscriber: receive()": Receiving,
        "Subscriber: run() and a callback": Calling,
        "Subscriber: async for, asyncio": lambda source: Looping(source, asyncio.new_event_loop),
        "Subscriber: async for, uvloop": lambda source: Looping(source, uvloop.new_event_loop),
        "Subscriber: for, with max_age_s": lambda source: Client(source, max_age_s=60.0),
        "Subscriber: for, and decode()": Decoding,
        "Subscriber: for, 50 books kept": lambda source: Client(source, books=True),
    }
    for number, (name, way) in enumerate(ways.items()):
        source = Source(f"ipc://{directory}/{number}.pub")
        ending.callback(source.close)
        reader = way(source)
        ending.callback(reader.close)
        yield Emptying(name, source, reader, records)


def _kline() -> bytes:
    return (
        f'{{"topic":"kline.1.{SYMBOL}","type":"snapshot","data":[{{"start":{NO_STAMP // 1_000_000},'
        f'"end":{NO_STAMP // 1_000_000 + 59_999},"interval":"1","open":"84594.4","close":"84601","high":"84611.5",'
        f'"low":"84580.1","volume":"12.431","turnover":"1051623.1554","confirm":false,"timestamp":{NO_STAMP // 1_000_000}}}],'
        f'"ts":{NO_STAMP}}}'
    ).encode()


def _decoding() -> Iterable[Stage]:
    """Each kind by our decoders, and by msgspec alone: into the same Structs, and into dicts."""
    first, ring = Book(SYMBOL, 50, random.Random(1)).ring(60, 0, (6, 6))
    kinds: dict[str, tuple[int, bytes, Any]] = {
        "book delta, 6 levels": (wire.DELTA, ring[0], messages.Message[messages.Book[float]]),
        "book snapshot, 50 levels": (wire.SNAPSHOT, first, messages.Message[messages.Book[float]]),
        "trade": (wire.UPDATE, trade(SYMBOL, 1), messages.Message[list[messages.Trade[float]]]),
        "ticker delta": (wire.DELTA, ticker(SYMBOL, 1, "delta"), messages.Message[messages.FuturesTicker[float]]),
        "kline": (wire.SNAPSHOT, _kline(), messages.Message[list[messages.Candle[float]]]),
    }
    for name, (kind, payload, shape) in kinds.items():
        topic = json.loads(payload)["topic"]
        names = {
            "record": Record(f"linear.{topic}", kind, 0, 0, 1, 1, 1, 1, payload, "linear"),
            "payload": payload,
            "Decimal": Decimal,
            "typed": msgspec.json.Decoder(shape, strict=False).decode,
            "untyped": msgspec.json.Decoder().decode,
            "loads": json.loads,
        }
        for way, statement in {
            "decode()": "record.decode()",
            "decode(Decimal)": "record.decode(Decimal)",
            "decode(str)": "record.decode(str)",
            "msgspec alone, the same Struct": "typed(payload)",
            "msgspec alone, dicts": "untyped(payload)",
            "json.loads": "loads(payload)",
        }.items():
            yield Stage(name, way, statement, names)


def _keeping() -> Iterable[Stage]:
    """A delta of 2 to 10 levels at each depth; once in a ring the snapshot that leads back to its beginning."""
    for depth in DEPTHS:
        first, ring = Book(SYMBOL, depth, random.Random(1)).ring(RING, 0, LEVELS)
        view = book_view(f"linear.orderbook.{depth}.{SYMBOL}", "linear", float, strict=False)
        records = [
            Record(view.subject, wire.DELTA, 0, 0, 1, number, 1, 1, payload, "linear")
            for number, payload in enumerate([*ring[-1:], *ring[:-1]])
        ]
        view.take(Record(view.subject, wire.SNAPSHOT, 0, 0, 1, 1, 1, 1, first, "linear"))
        names = {
            "records": records,
            "decoded": [record.decode() for record in records],
            "take": view.take,
            "apply": view.apply,
            "view": view,
        }
        group = f"book of depth {depth}"
        yield Stage(group, "decode and apply a delta", "for record in records: take(record)", names, messages=RING)
        yield Stage(group, "apply a decoded delta", "for message in decoded: apply(message)", names, messages=RING)
        yield Stage(group, "best_bid and best_ask", "view.best_bid, view.best_ask", names)
        yield Stage(group, "bids(10) and asks(10)", "view.bids(10), view.asks(10)", names)


def text(rows: list[Row]) -> str:
    """Return the table."""
    return table(("stage", "ns"), ((f"{row.group}: {row.name}", row.ns.text(digits=0)) for row in rows))


if __name__ == "__main__":
    main(__doc__ or "", measure, text, REPEATS)
