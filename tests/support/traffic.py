"""Made-up traffic for the simulated Bybit to replay, at a rate that is known, with the truth at hand."""

import json
import random
from pathlib import Path
from typing import Final

from support.feed import Book

START_MS: Final = 1_780_000_000_000
BOOK_TOPIC: Final = "orderbook.50.BTCUSDT"
BOOK_EVERY: Final = 10
"""Of so many messages one is the book's."""


class Traffic:
    """Trades of many symbols in turn, and one book: ``per_s`` messages a second for ``seconds``."""

    def __init__(self, *, per_s: int, seconds: float, symbols: int, seed: int = 1) -> None:
        self.trade_topics = [f"publicTrade.COIN{number}USDT" for number in range(symbols)]
        self.book_lines: list[bytes] = []
        """Snapshot and deltas in order; number n has ``u`` = n + 1."""
        self._lines: list[bytes] = []
        self._prices = dict.fromkeys(range(900, 950), "1")
        chance = random.Random(seed)
        for number in range(int(per_s * seconds)):
            now_ms = START_MS + number * 1000 // per_s
            if number % BOOK_EVERY == 0:
                self.book_lines.append(self._book(now_ms, chance))
                self._lines.append(self.book_lines[-1])
            else:
                trades = len(self._lines) - len(self.book_lines)
                self._lines.append(_trade(self.trade_topics[trades % symbols], number, now_ms))

    @property
    def topics(self) -> list[str]:
        """Everything that is sent."""
        return [BOOK_TOPIC, *self.trade_topics]

    def write(self, path: Path) -> Path:
        """Write it as a file to replay."""
        path.write_bytes(b"\n".join(self._lines))
        return path

    def book_at(self, update_id: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Return bids and asks, best first, as they were at ``update_id``."""
        book = Book()
        for payload in self.book_lines[:update_id]:
            book.apply(payload)
        assert book.update_id == update_id
        return sorted(book.bids.items(), reverse=True), sorted(book.asks.items())

    def _book(self, now_ms: int, chance: random.Random) -> bytes:
        update_id = len(self.book_lines) + 1
        changed = self._prices
        if update_id > 1:
            changed = {chance.choice(list(self._prices)): str(chance.randrange(1, 99)) for _ in range(3)}
            # One level goes and another comes: a delta that is missed is never made good by those after it.
            gone, come = chance.choice(list(self._prices)), chance.randrange(800, 1000)
            changed |= {gone: "0", come: "7"}
            self._prices |= changed
            self._prices = {price: size for price, size in self._prices.items() if size != "0"}
        data = {
            "s": "BTCUSDT",
            "b": [[str(price), size] for price, size in changed.items()],
            "a": [[str(2000 - price), size] for price, size in changed.items()],
            "u": update_id,
            "seq": update_id,
        }
        kind = "snapshot" if update_id == 1 else "delta"
        return _encoded({"topic": BOOK_TOPIC, "type": kind, "ts": now_ms, "data": data, "cts": now_ms})


def _trade(topic: str, number: int, now_ms: int) -> bytes:
    item = {"T": now_ms, "s": topic.partition(".")[2], "S": "Buy", "v": "0.1", "p": "100.5", "L": "PlusTick"}
    item |= {"i": f"{number:032x}", "BT": False}
    return _encoded({"topic": topic, "type": "snapshot", "ts": now_ms, "data": [item]})


def _encoded(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
