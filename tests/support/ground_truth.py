"""What the simulated Bybit published: its own record of a connection that no fault touches (dossier 9.6)."""

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from support.simulator import RawClient, Simulator

Levels = list[tuple[float, float]]


class Topic:
    """Everything published on a topic, in order; each has a place."""

    def __init__(self) -> None:
        self.times_ns: list[int] = []
        """When it was sent, by place."""
        self.places: dict[Any, int] = {}
        """By what a message, or a part of it, is known by."""

    def take(self, text: str, time_ns: int) -> None:
        raise NotImplementedError

    def _place(self, key: Any, time_ns: int) -> bool:
        """Give it the next place; False where it has one already: a snapshot that was served again."""
        if key in self.places:
            return False
        self.places[key] = len(self.times_ns)
        self.times_ns.append(time_ns)
        return True


class BookTruth(Topic):
    """A book by its ``seq`` and ``u``: the one does not fall, and what has the same of the one has another of the other."""

    def __init__(self) -> None:
        super().__init__()
        self._messages: list[dict[str, Any]] = []
        self._sides: tuple[dict[float, float], dict[float, float]] = ({}, {})
        self._folded = 0

    def take(self, text: str, time_ns: int) -> None:
        message = json.loads(text)
        if self._place((message["data"]["seq"], message["data"]["u"]), time_ns):
            self._messages.append(message)

    def is_snapshot(self, place: int) -> bool:
        """Say whether the venue published a snapshot there, of its own accord."""
        return bool(self._messages[place]["type"] == "snapshot")

    def at(self, place: int) -> tuple[Levels, Levels]:
        """Return bids and asks after the message at ``place``, best first."""
        if self._folded > place + 1:
            self._folded, self._sides = 0, ({}, {})
        for message in self._messages[self._folded : place + 1]:
            if message["type"] == "snapshot":
                self._sides = ({}, {})
            for side, rows in zip(self._sides, (message["data"]["b"], message["data"]["a"]), strict=True):
                for price, size in rows:
                    if float(size):
                        side[float(price)] = float(size)
                    else:
                        side.pop(float(price), None)
        self._folded = place + 1
        bids, asks = self._sides
        return sorted(bids.items(), reverse=True), sorted(asks.items())


class TradesTruth(Topic):
    """Trades by their ids."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, dict[str, Any]] = {}

    def take(self, text: str, time_ns: int) -> None:
        for row in json.loads(text)["data"]:
            if self._place(row["i"], time_ns):
                self.rows[row["i"]] = row


class TickerTruth(Topic):
    """A merged ticker; its messages by their text."""

    def __init__(self) -> None:
        super().__init__()
        self._messages: list[dict[str, Any]] = []
        self._fields: dict[str, Any] = {}
        self._folded = 0

    def take(self, text: str, time_ns: int) -> None:
        if self._place(text, time_ns):
            self._messages.append(json.loads(text))

    def at(self, place: int) -> dict[str, Any]:
        """Return every field after the message at ``place``."""
        if self._folded > place + 1:
            self._folded, self._fields = 0, {}
        for message in self._messages[self._folded : place + 1]:
            known = {} if message["type"] == "snapshot" else self._fields
            self._fields = known | message["data"]
        self._folded = place + 1
        return self._fields


_KINDS = {"orderbook": BookTruth, "publicTrade": TradesTruth, "tickers": TickerTruth}


class Witness:
    """A client of our own, subscribed to the same topics, that only listens: what it was sent stands in the record."""

    def __init__(self, venue: Simulator, record: Path, product: str, topics: list[str]) -> None:
        """``record`` is the simulator's ``--record`` directory. Nobody else may be on ``product`` yet."""
        self.topics: dict[str, Topic] = {topic: _KINDS[topic.partition(".")[0]]() for topic in topics}
        self.known_ns = 0
        """Everything sent until then is known."""
        self._client = RawClient(venue.port, product)
        (self.connection,) = (one["id"] for one in venue.stats()["connections"] if one["product"] == product)
        self._file = record / f"{self.connection}-{product}.jsonl"
        self._read_bytes = 0
        self._client.request("subscribe", *topics)
        self._client.socket.settimeout(None)
        self._thread = threading.Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        with suppress(OSError):
            while self._client.socket.recv(1 << 18):
                pass

    def subscribe_anew(self, topic: str) -> None:
        """Get a snapshot; for topics that the venue took away meanwhile."""
        self._client.request("unsubscribe", topic)
        self._client.request("subscribe", topic)

    def read(self) -> None:
        """Take in what the simulator has written down since the last time."""
        with self._file.open("rb") as file:
            file.seek(self._read_bytes)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read_bytes += len(line)
                frame = json.loads(line)
                text = frame["payload"]
                self.known_ns = frame["time_ns"]
                topic = self.topics.get(json.loads(text).get("topic", ""))
                if topic is not None:
                    topic.take(text, frame["time_ns"])

    def close(self) -> None:
        self._client.socket.shutdown(2)
        self._thread.join(5)
        self._client.close()
