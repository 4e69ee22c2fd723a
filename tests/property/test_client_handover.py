"""A topic that goes from one worker to another: nothing is lost, nothing comes twice, no book is wrong, nothing is said.

The venue's stream is made up at random. Two workers publish it, each behind by a time of its own that changes, each
parcelling trades as its lines happen to win. The new one is heard for a while before the old one ends or dies, and the
two are read in any order that sockets allow.
"""

import random
from bisect import bisect_right
from collections import deque
from typing import Any, Final

import msgspec
import pytest
from support.records import START_NS, message, status

from feedhandler import wire
from feedhandler.client.record import Record
from feedhandler.client.truth import Truth
from feedhandler.image import new_image
from feedhandler.runtime import CarriedWorker, FeedDirectory

ROUNDS: Final = 8
CASES: Final = 60
"""Moves in each round, of all topics at once."""
TOPICS: Final = (
    "orderbook.50.BTCUSDT",
    "orderbook.rpi.BTCUSDT",
    "orderbook.1.BTCUSDT",
    "publicTrade.BTCUSDT",
    "allLiquidation.BTCUSDT",
    "tickers.BTCUSDT",
    "kline.1.BTCUSDT",
)
OVERLAP_S: Final = 0.6
"""From the new worker's answer to the end of the old one, at least."""
LAG_S: Final = 0.2
"""How far behind the venue a worker may be."""


def names(topic: str) -> str:
    return f"linear.{topic}"


class Venue:
    """What it sends of one topic: (time in s, kind, data)."""

    def __init__(self, topic: str, chance: random.Random, length_s: float) -> None:
        self.topic = topic
        self.chance = chance
        self.sent: list[tuple[float, int, Any]] = []
        self.bids: dict[str, str] = {}
        self.last = 0
        now_s = 0.0
        pause_s = chance.choice((0.02, 0.2, 3.0))
        while now_s < length_s:
            self.sent.append((now_s, *self._next()))
            now_s += chance.random() * pause_s

    def _next(self) -> tuple[int, Any]:
        chance, first = self.chance, not self.sent
        self.last += 1
        if self.topic.startswith("publicTrade"):
            ids = range(self.last, self.last + chance.choice((1, 1, 2, 5)))
            self.last = ids[-1]
            return wire.UPDATE, [{"i": str(found), "p": "1"} for found in ids]
        if self.topic.startswith("allLiquidation"):
            # Some of a message are the same to the letter.
            return wire.UPDATE, [{"T": self.last, "v": "2"}] * chance.choice((1, 1, 2))
        if self.topic.startswith("kline"):
            return wire.SNAPSHOT, [{"close": str(self.last), "confirm": False}]
        if self.topic.startswith("tickers"):
            fields = {"symbol": "BTCUSDT", chance.choice(("lastPrice", "markPrice")): str(chance.randrange(3))}
            return (wire.SNAPSHOT if first else wire.DELTA), fields
        price = str(chance.randrange(90, 99))
        size = str(chance.randrange(0, 4))
        level = [price, size, "0"] if ".rpi." in self.topic else [price, size]
        if first or ".1." in self.topic or chance.random() < 0.05:
            return wire.SNAPSHOT, {"s": "BTCUSDT", "b": [[price, "1", *level[2:]]], "a": [], "u": self.last}
        return wire.DELTA, {"s": "BTCUSDT", "b": [level], "a": [], "u": self.last}

    def payload(self, place: int) -> bytes:
        at_s, kind, data = self.sent[place]
        word = "delta" if kind == wire.DELTA else "snapshot"
        content = {"topic": self.topic, "type": word, "ts": int(at_s * 1e6), "data": data}
        return msgspec.json.encode(content)

    def image(self, up_to: int) -> bytes:
        """The state after so many messages."""
        made = new_image(self.topic)
        for place in range(up_to):
            made.fold(self.payload(place))
        return self.payload(up_to - 1) if self.sent[up_to - 1][1] == wire.SNAPSHOT else made.compose()


class Published:
    """What one worker publishes of one topic, from the first message of the venue's that it brings."""

    def __init__(self, venue: Venue, epoch: int, chance: random.Random, first: int) -> None:
        self.venue = venue
        self.epoch = epoch
        self.records: list[tuple[float, Record]] = []
        """In order, with the time at which each was published."""
        self.after: list[int] = []
        """Messages of the venue's that are in, after each."""
        now_s = 0.0
        sequence = 2
        for place in range(first, len(venue.sent)):
            at_s, kind, data = venue.sent[place]
            now_s = max(now_s, at_s + chance.random() * LAG_S)
            parcels = [data]
            if venue.topic.startswith("publicTrade") and len(data) > 1 and chance.random() < 0.4:
                cut = chance.randrange(1, len(data))
                parcels = [data[:cut], data[cut:]]
            for number, rows in enumerate(parcels):
                sequence += 1
                payload = venue.payload(place) if len(parcels) == 1 else msgspec.json.encode({"ts": 1, "data": rows})
                self.records.append((now_s, self._record(sequence, kind, now_s, payload)))
                self.after.append(place + (number == len(parcels) - 1))

    def _record(self, sequence: int, kind: int, now_s: float, payload: bytes, flags: int = 0) -> Record:
        sent_ns = START_NS + int(now_s * 1e9)
        return Record(names(self.venue.topic), kind, flags, 0, self.epoch, sequence, sent_ns, sent_ns, payload)

    def heard_from(self, begin_s: float, end_s: float) -> list[tuple[float, Record]]:
        """What whoever subscribes at one time reads until another: the answer, and all that is published since."""
        place = bisect_right([at_s for at_s, _ in self.records], begin_s)
        sequence = self.records[place - 1][1].sequence if place else 2
        said = status(names(self.venue.topic), sequence, epoch=self.epoch, repeated=True)
        sent_ns = START_NS + int(begin_s * 1e9)
        heard = [(begin_s, msgspec.structs.replace(said, published_ns=sent_ns))]
        if self.venue.sent[0][1] == wire.SNAPSHOT and place:
            payload = self.venue.image(self.after[place - 1])
            heard.append((begin_s, self._record(sequence, wire.SNAPSHOT, begin_s, payload, wire.IMAGE)))
        return heard + [(at_s, record) for at_s, record in self.records[place:] if at_s <= end_s]


class Case:
    """One move of every topic."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = chance = random.Random(seed)
        self.move_s = 1.0 + chance.random()
        self.end_s = self.move_s + OVERLAP_S + chance.random()
        self.venues = {topic: Venue(topic, chance, self.end_s + 1.5) for topic in TOPICS}
        old = {topic: Published(venue, 1, chance, 0) for topic, venue in self.venues.items()}
        new = {topic: Published(venue, 2, chance, self._first(venue)) for topic, venue in self.venues.items()}
        self.dies = chance.random() < 0.3
        self.from_old = sorted(
            (one for topic in TOPICS for one in old[topic].heard_from(0.5, self.end_s)), key=lambda pair: pair[0]
        )
        if not self.dies:
            for topic in TOPICS:
                number = max(found[1].sequence for found in self.from_old if found[1].subject == names(topic)) + 1
                ended = status(names(topic), number, wire.ENDED, epoch=1)
                sent_ns = START_NS + int(self.end_s * 1e9)
                self.from_old.append((self.end_s, msgspec.structs.replace(ended, published_ns=sent_ns)))
        self.from_new = sorted(
            (one for topic in TOPICS for one in new[topic].heard_from(self.move_s, 1e9)), key=lambda pair: pair[0]
        )
        self.truth = Truth("/run/feed.json")
        self.handed: list[Record] = []

    def _first(self, venue: Venue) -> int:
        """The new worker began before we hear it; a state began with a snapshot, which stands for all before."""
        return 0 if venue.sent[0][1] == wire.SNAPSHOT else self.chance.randrange(2)

    def announce(self, generation: int) -> None:
        carried = CarriedWorker(
            endpoint="linear", product="linear", addresses=["ipc:///l"], topics=list(TOPICS), generation=generation
        )
        directory = FeedDirectory(pid=1, network="sim", quiet_status_s=10.0, workers={"linear": carried})
        self.truth.set_directory(directory, alive=True)

    def take(self, now_s: float, link: str, record: Record) -> None:
        truth = self.truth
        truth.advance(START_NS + int(now_s * 1e9), now_s)
        direct = truth.on_message(truth.links[link], message(record))
        truth.on_heard(truth.links[link])
        self.drain()
        if direct is not None:
            self.handed.append(direct)

    def drain(self) -> None:
        self.handed += self.truth.outbox
        self.truth.outbox.clear()

    def run(self) -> None:
        """Read both in any order, each in its own."""
        truth, chance = self.truth, self.chance
        truth.advance(START_NS, 0.0)
        truth.subscribe("linear.")
        self.announce(0)
        truth.on_connected(truth.links["linear"])
        queues = {"linear": deque(self.from_old), "linear#1": deque(self.from_new)}
        read_s = {"linear": 0.0, "linear#1": 0.0}
        ended = False
        now_s = 0.0
        while any(queues.values()):
            # The program may be late, and read of one worker much before the other; but it hears of both in time.
            link = min((name for name in queues if queues[name]), key=lambda name: queues[name][0][0])
            other = next(name for name in queues if name != link)
            if queues[other] and queues[other][0][0] < queues[link][0][0] + 0.3 and chance.random() < 0.3:
                link = other
            at_s, record = queues[link].popleft()
            now_s = max(now_s, at_s)
            if link == "linear#1" and "linear#1" not in truth.links:
                self.announce(1)
                truth.on_connected(truth.links["linear#1"])
            self.take(now_s, link, record)
            read_s[link] = at_s
            if not queues["linear"] and self.dies and not ended:
                ended = True
                truth.on_disconnected(truth.links["linear"])
                self.drain()
        for _ in range(20):
            now_s += 0.1
            truth.advance(START_NS + int(now_s * 1e9), now_s)
            truth.tick(("linear", "linear#1"))
            self.drain()


def data_of(records: list[Record]) -> list[Record]:
    return [record for record in records if record.kind <= wire.UPDATE]


@pytest.mark.parametrize("block", range(ROUNDS))
def test_topic_that_moves_is_continued(block: int) -> None:
    """Every trade, liquidation, candle and change once, in the venue's order, and every state right at every record."""
    moved = 0
    for seed in range(block * CASES, (block + 1) * CASES):
        case = Case(seed)
        case.run()
        assert case.truth.counters.handovers == len(TOPICS), seed
        moved += case.truth.counters.handovers
        for topic, venue in case.venues.items():
            told = [record for record in case.handed if record.subject == names(topic)]
            assert not [record for record in told if record.local], (seed, topic, "nothing happened to it")
            assert {record.decode().state for record in told if record.kind == wire.STATUS} == {wire.LIVE}
            numbers = [(record.epoch, record.sequence) for record in told]
            assert numbers == sorted(numbers), (seed, topic)
            assert [epoch for epoch, _ in numbers][-1] == 2, (seed, topic)
            if venue.sent[0][1] == wire.UPDATE:
                check_events(case, venue, data_of(told))
            else:
                check_state(case, venue, data_of(told))
    assert moved == CASES * len(TOPICS)


def check_events(case: Case, venue: Venue, told: list[Record]) -> None:
    rows = [row for record in told for row in msgspec.json.decode(record.payload)["data"]]
    every = [row for _, _, data in venue.sent for row in data]
    assert rows == every[len(every) - len(rows) :], (case.seed, venue.topic)
    # Nothing is missing from our first answer on: some of what came just before it may not have been in.
    since = [row for at_s, _, data in venue.sent if at_s > 0.5 for row in data]
    assert len(rows) >= len(since), (case.seed, venue.topic)


def check_state(case: Case, venue: Venue, told: list[Record]) -> None:
    """The state after each record is one of the venue's, and none of them is passed over or comes again."""
    made, truth = new_image(venue.topic), new_image(venue.topic)
    states: list[Any] = []
    for number in range(len(venue.sent)):
        truth.fold(venue.payload(number))
        states.append(content(truth.compose()))
    place: int | None = None
    for record in told:
        made.fold(record.payload)
        # A state goes on with the next one; where an image comes, it is the one that was there already.
        if place is None:
            place = states.index(content(made.compose()))
        elif not record.is_image:
            place += 1
        assert content(made.compose()) == states[place], (case.seed, venue.topic, record.epoch, record.sequence)
    assert place == len(states) - 1, (case.seed, venue.topic)


def content(payload: bytes) -> tuple[int, Any]:
    """When the venue sent it, which no other message has, and what it says."""
    message = msgspec.json.decode(payload)
    return message["ts"], message["data"]
