"""Frames of a made-up market: a cycle that can be sent for ever without breaking a book's chain. Pure.

The mix of a recorded day: 60 % deltas of books of depth 50, 20 % level 1, 15 % trades, 5 % tickers. Each book's part
of the cycle is a ring of one snapshot and deltas that lead back to where the ring began, entered at another place for
each symbol, so that the snapshots do not come at once.

Every payload ends in a time of nanoseconds, `STAMP_BYTES` digits and a brace: where a venue sends milliseconds, the
benchmarks put the moment of sending.
"""

import random
import struct
from collections.abc import Iterator
from typing import Final

import msgspec

STAMP_BYTES: Final = 19
"""Digits of a Unix time in ns, until the year 2286."""
NO_STAMP: Final = 1_700_000_000_000_000_000

MIX: Final = {"book": 12, "level 1": 4, "trade": 3, "ticker": 1}
"""Messages of a symbol, in proportion."""
TICK_CENTS: Final = 10


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What is traded, and what a connection carries of it."""

    symbols: int = 50
    depth: int = 50
    books_per_cycle: int = 960
    """Messages of each book in a cycle. One of them is a snapshot, which spares the worker a journal: few are best."""
    only_books: bool = False
    levels: tuple[int, int] = (2, 10)
    """Fewest and most levels in a delta."""
    seed: int = 1

    @property
    def names(self) -> list[str]:
        """The symbols."""
        return [f"SYM{number:03d}USDT" for number in range(self.symbols)]

    @property
    def topics(self) -> list[str]:
        """Every topic served."""
        streams = [f"orderbook.{self.depth}"]
        if not self.only_books:
            streams += ["orderbook.1", "publicTrade", "tickers"]
        return [f"{stream}.{name}" for name in self.names for stream in streams]


class Market(msgspec.Struct, frozen=True):
    """What the venue sends, as payloads."""

    first: dict[str, bytes]
    """By topic: the answer to a subscription; trades have none."""
    cycle: list[bytes]
    """Sent over and over."""


class Book:
    """A book of constant depth around a fixed price."""

    def __init__(self, symbol: str, depth: int, chance: random.Random) -> None:
        self.topic = f"orderbook.{depth}.{symbol}"
        self._symbol = symbol
        self._depth = depth
        self._chance = chance
        self._middle = chance.randrange(10_000, 1_000_000)
        self._update_id = chance.randrange(10_000_000, 90_000_000)
        self._seq = chance.randrange(10**11, 9 * 10**11)
        self._bids = {self._middle - step: self._size() for step in range(1, depth + 1)}
        self._asks = {self._middle + step: self._size() for step in range(depth)}

    def snapshot(self) -> bytes:
        """Return the book as it stands."""
        return self._message("snapshot", self._bids, self._asks)

    def delta(self, levels: int) -> bytes:
        """Change about this many levels: half of them in size, and half by a new price that the oldest gives way to."""
        bids: dict[int, str] = {}
        asks: dict[int, str] = {}
        while len(bids) + len(asks) < levels:
            side, changed = (self._bids, bids) if self._chance.random() < 0.5 else (self._asks, asks)
            price = self._somewhere(side)
            if price in changed:
                continue
            if price not in side:
                gone = next(iter(side))
                if gone in changed:
                    continue
                del side[gone]
                changed[gone] = "0"
            side[price] = changed[price] = self._size()
        self._update_id += 1
        self._seq += self._chance.randrange(1, 500)
        return self._message("delta", bids, asks)

    def _somewhere(self, side: dict[int, str]) -> int:
        """Return a price among twice as many as the side has levels, so that every other one is free."""
        step = self._chance.randrange(2 * self._depth)
        return self._middle - 1 - step if side is self._bids else self._middle + step

    def _size(self) -> str:
        return f"{self._chance.randrange(1, 3_000) / 1000:.3f}"

    def _message(self, kind: str, bids: dict[int, str], asks: dict[int, str]) -> bytes:
        return (
            f'{{"topic":"{self.topic}","type":"{kind}","ts":{NO_STAMP // 1_000_000},"data":{{"s":"{self._symbol}",'
            f'"b":[{_levels(bids, best_is_highest=True)}],"a":[{_levels(asks, best_is_highest=False)}],'
            f'"u":{self._update_id},"seq":{self._seq}}},"cts":{NO_STAMP}}}'
        ).encode()

    def ring(self, length: int, entered_at: int, levels: tuple[int, int]) -> tuple[bytes, list[bytes]]:
        """Return the snapshot a newcomer gets, and ``length`` messages that continue it, again and again."""
        chain = [self.snapshot()]
        first = chain[0]
        while len(chain) < length:
            chain.append(self.delta(self._chance.randint(*levels)))
            if len(chain) == entered_at + 1:
                first = self.snapshot()
        return first, chain[entered_at + 1 :] + chain[: entered_at + 1]


def _price(ticks: int) -> str:
    return f"{ticks * TICK_CENTS // 100}.{ticks * TICK_CENTS % 100:02d}"


def _levels(side: dict[int, str], *, best_is_highest: bool) -> str:
    return ",".join(f'["{_price(ticks)}","{side[ticks]}"]' for ticks in sorted(side, reverse=best_is_highest))


def level_1(symbol: str, number: int) -> bytes:
    """Return a best bid and ask."""
    return (
        f'{{"topic":"orderbook.1.{symbol}","type":"snapshot","ts":{NO_STAMP // 1_000_000},"data":{{"s":"{symbol}",'
        f'"b":[["84017.5","{number % 977 / 100:.3f}"]],"a":[["84017.6","{number % 613 / 100:.3f}"]],'
        f'"u":{97_687_715 + number},"seq":{816_281_667_578 + number}}},"cts":{NO_STAMP}}}'
    ).encode()


def trade(symbol: str, number: int) -> bytes:
    """Return a frame of one trade."""
    return (
        f'{{"topic":"publicTrade.{symbol}","type":"snapshot","data":[{{"T":{NO_STAMP // 1_000_000},"s":"{symbol}",'
        f'"S":"Buy","v":"{number % 97 / 100:.3f}","p":"82642.90","L":"PlusTick",'
        f'"i":"5be1261b-d231-533b-89cd-{number:012x}","BT":false,"RPI":false,"seq":{822_323_446_907 + number}}}],'
        f'"ts":{NO_STAMP}}}'
    ).encode()


def ticker(symbol: str, number: int, kind: str) -> bytes:
    """Return a ticker: the snapshot has more fields than the deltas."""
    more = '"tickDirection":"PlusTick","price24hPcnt":"-0.044555","lastPrice":"84594.40","highPrice24h":"89389.90",'
    return (
        f'{{"topic":"tickers.{symbol}","type":"{kind}","data":{{"symbol":"{symbol}",{more * (kind == "snapshot")}'
        f'"markPrice":"{84_000 + number % 999}.06","indexPrice":"84650.47","openInterestValue":"4475339827.50",'
        f'"bid1Price":"84594.30","bid1Size":"{number % 97 / 100:.3f}"}},"cs":{337_149_693_308 + number},"ts":{NO_STAMP}}}'
    ).encode()


def build(shape: Shape) -> Market:
    """Make the market up; the same shape makes the same."""
    chance = random.Random(shape.seed)
    first: dict[str, bytes] = {}
    parts: list[Iterator[bytes]] = []
    turns: list[int] = []
    length = shape.books_per_cycle
    for number, symbol in enumerate(shape.names):
        book = Book(symbol, shape.depth, chance)
        first[book.topic], ring = book.ring(length, number * length // shape.symbols, shape.levels)
        streams = [ring]
        if not shape.only_books:
            first[f"orderbook.1.{symbol}"] = level_1(symbol, 0)
            first[f"tickers.{symbol}"] = ticker(symbol, 0, "snapshot")
            each = {name: count * length // MIX["book"] for name, count in MIX.items()}
            streams += [
                [level_1(symbol, turn) for turn in range(each["level 1"])],
                [trade(symbol, turn) for turn in range(each["trade"])],
                [ticker(symbol, turn, "delta") for turn in range(each["ticker"])],
            ]
        for stream in streams:
            turns += [len(parts)] * len(stream)
            parts.append(iter(stream))
    chance.shuffle(turns)
    return Market(first, [next(parts[turn]) for turn in turns])


def framed(payload: bytes) -> bytearray:
    """Return a whole WebSocket text frame, unmasked as servers send it (RFC 6455 5.2)."""
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x81, size)
    elif size < 65_536:
        head = struct.pack(">BBH", 0x81, 126, size)
    else:
        head = struct.pack(">BBQ", 0x81, 127, size)
    return bytearray(head + payload)
