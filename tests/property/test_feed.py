"""A random life of a feed, read by a strategy that follows the rules: it is never blind without being told."""

from typing import Any, Final

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lane import Rig, book, check_sequences, message, status, ticker, trade

from feedhandler import wire

BOOKS: Final = ("orderbook.50.BTCUSDT", "orderbook.200.BTCUSDT")
TICKER, TRADES, LEVEL_1 = "tickers.BTCUSDT", "publicTrade.BTCUSDT", "orderbook.1.BTCUSDT"
TOPICS: Final = (*BOOKS, TICKER, TRADES, LEVEL_1)


class Strategy:
    """A plain subscriber: holds deltas until a snapshot, applies what follows, and believes the statuses."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.bases: dict[str, bool] = {}
        """Whether a snapshot came since the topic was last not live."""
        self.update_ids: dict[str, int] = {}
        self.books: dict[str, dict[str, str]] = {}
        self.fields: dict[str, dict[str, str]] = {}
        self.trades: set[str] = set()
        self.holes: dict[str, list[tuple[int, int | None]]] = {}

    def take(self, record: wire.Record) -> None:
        topic = record.subject.removeprefix("linear.")
        if record.kind == wire.STATUS:
            self._told(topic, record)
            return
        states = ("live", "stale") if record.flags & wire.IMAGE else ("live",)
        assert self.states[topic] in states, f"{topic} has data while {self.states[topic]}"
        content = msgspec.json.decode(record.payload)
        if record.flags & wire.IMAGE:
            self._joined(topic, content)
        elif record.kind == wire.UPDATE:
            self.trades.update(one["i"] for one in content["data"])
        else:
            self._applied(topic, record.kind, content)

    def _told(self, topic: str, record: wire.Record) -> None:
        said = status(record)
        if record.flags & wire.REPEATED:
            assert said.state == self.states[topic]
            return
        self.states[topic] = said.state
        if said.state not in ("live", "stale"):
            self.bases[topic] = False
        if said.blind_from_ns is not msgspec.UNSET:
            to_ns = None if said.blind_to_ns is msgspec.UNSET else said.blind_to_ns
            assert said.blind_from_ns <= (to_ns or record.received_ns)
            self.holes.setdefault(topic, []).append((said.blind_from_ns, to_ns))

    def _applied(self, topic: str, kind: int, content: dict[str, Any]) -> None:
        data = content["data"]
        if kind == wire.SNAPSHOT:
            self.bases[topic] = True
            self.books[topic], self.fields[topic] = {}, {}
        else:
            assert self.bases[topic], f"{topic} has a delta before its snapshot"
        if topic == TICKER:
            self.fields[topic] |= data
            return
        if kind == wire.DELTA:
            assert data["u"] == self.update_ids[topic] + 1
        self.update_ids[topic] = data["u"]
        self.books[topic] |= {price: size for price, size in data["b"] if size != "0"}
        for price, size in data["b"]:
            if size == "0":
                self.books[topic].pop(price, None)

    def _joined(self, topic: str, content: dict[str, Any]) -> None:
        """An image is what one in step has already."""
        if topic == TICKER:
            assert content["data"] == self.fields[topic]
        else:
            assert content["data"]["u"] == self.update_ids[topic]
            assert dict(content["data"]["b"]) == self.books[topic]


class World:
    """The venue on one side of a feed, a strategy on the other."""

    def __init__(self) -> None:
        self.rig = Rig(quiet_status_s=3)
        self.strategy = Strategy()
        self.books: dict[str, dict[str, str]] = {topic: {} for topic in BOOKS}
        self.update_ids = dict.fromkeys(BOOKS, 50)
        self.last: dict[str, bytes] = {}
        self.fields = {"symbol": "BTCUSDT"}
        self.open = self.mute = False
        self.subscribed: set[str] = set()
        self.refused: set[str] = set()
        self.made: dict[str, list[tuple[int, str]]] = {TRADES: []}
        """Trades, by time and id, since the feed began."""
        self.skipped: list[tuple[str, int]] = []
        """Topic and time of deltas that were lost on the way."""
        self.all_records: list[wire.Record] = []
        self.rig.carry(*TOPICS)
        self.read()

    def read(self) -> None:
        for record in self.rig.take():
            self.all_records.append(record)
            self.strategy.take(record)

    def send(self, topic: str, payload: bytes) -> None:
        if not self.open or self.mute or topic not in self.subscribed:
            return
        assert self.rig.come(payload)
        self.read()

    # What may happen.

    def connect(self) -> None:
        if self.open:
            return
        self.open, self.mute, self.subscribed = True, False, set()
        self.rig.lane.opened(self.rig.now_ns)
        self.subscribe([topic for topic in TOPICS if topic not in self.refused])

    def disconnect(self, reason: str = "connection lost") -> None:
        self.open, self.subscribed = False, set()
        self.rig.lane.closed(reason, self.rig.now_ns)
        self.read()

    def go_mute(self) -> None:
        self.mute = True

    def subscribe(self, topics: list[str], *, data_first: bool = False) -> None:
        self.rig.lane.asked(topics)
        self.subscribed.update(topics)
        if not data_first:
            self.rig.lane.acknowledged(topics, self.rig.now_ns)
        for topic in topics:
            if topic in BOOKS:
                self.send(topic, self.snapshot(topic))
            elif topic == TICKER:
                self.send(topic, ticker(topic, "snapshot", **self.fields))
        if data_first:
            self.rig.lane.acknowledged(topics, self.rig.now_ns)
        self.read()

    def snapshot(self, topic: str) -> bytes:
        return book(topic, "snapshot", self.update_ids[topic], sorted(self.books[topic].items(), reverse=True))

    def delta(self, topic: str, price: int, size: int, *, lost: bool = False) -> None:
        self.update_ids[topic] += 1
        if size:
            self.books[topic][str(price)] = str(size)
        else:
            self.books[topic].pop(str(price), None)
        payload = book(topic, "delta", self.update_ids[topic], [(str(price), str(size))])
        if lost:
            if self.open and not self.mute and topic in self.subscribed:
                self.skipped.append((topic, self.rig.now_ns))
        else:
            self.last[topic] = payload
            before = len(self.all_records)
            self.send(topic, payload)
            data = [one for one in self.all_records[before:] if one.kind != wire.STATUS]
            if data:
                assert self.strategy.books[topic] == self.books[topic]

    def lose(self, topic: str, price: int, size: int) -> None:
        self.delta(topic, price, size, lost=True)

    def repeat(self, topic: str) -> None:
        if topic in self.last:
            self.send(topic, self.last[topic])

    def repair(self, topic: str) -> None:
        self.send(topic, self.snapshot(topic))

    def restart(self, topic: str) -> None:
        self.update_ids[topic], self.books[topic] = 1, {"7": "7"}
        self.last.pop(topic, None)
        self.send(topic, self.snapshot(topic))

    def trade(self) -> None:
        number = str(len(self.made[TRADES]))
        self.made[TRADES].append((self.rig.now_ns, number))
        self.send(TRADES, trade(TRADES, int(number)))

    def tick_price(self, value: int) -> None:
        self.fields["lastPrice"] = str(value)
        self.send(TICKER, ticker(TICKER, "delta", lastPrice=str(value)))

    def level_1(self, update_id: int) -> None:
        self.send(LEVEL_1, book(LEVEL_1, "snapshot", update_id, [("5", "1")]))

    def refuse(self, topic: str) -> None:
        if self.open and topic in self.subscribed:
            self.subscribed.discard(topic)
            self.refused.add(topic)
            self.rig.lane.refused(topic, "no", self.rig.now_ns)
            self.read()

    def accept(self, topic: str, data_first: bool) -> None:
        if self.open and topic in self.refused:
            self.refused.discard(topic)
            self.subscribe([topic], data_first=data_first)

    def join(self, topic: str) -> None:
        self.rig.feed.answer(self.rig.route(topic), self.rig.now_ns, self.rig.now_s)
        self.read()

    def garbage(self, payload: bytes) -> None:
        self.rig.come(payload)
        self.read()

    def wait(self, seconds: float) -> None:
        self.rig.tick(seconds)
        self.read()

    def go_on(self) -> None:
        """What happens by itself between two events: time goes on, and resyncs are carried out."""
        self.rig.wait(0.05)
        due = self.rig.feed.resyncs_due(self.rig.lane, self.rig.now_s)
        if due and self.open:
            self.subscribed.difference_update(due)
            if not self.mute:
                self.subscribe(due)
            else:
                self.rig.lane.asked(due)
                self.subscribed.update(due)
        self.read()


TOPIC, ONE_BOOK = st.sampled_from(TOPICS), st.sampled_from(BOOKS)
PRICE, SIZE = st.integers(1, 5), st.integers(0, 3)
GARBAGE = st.sampled_from(
    [
        b"",
        b"\xff",
        b'{"op":"pong"}',
        message("orderbook.50.OTHER", "delta", {"u": 5}),
        message(BOOKS[0], "delta", [1]),
        b'{"topic":"orderbook.50.BTCUSDT","type":"delta","data":{"u":null}}',
    ]
)
EVENT = st.one_of(
    st.tuples(st.just("delta"), ONE_BOOK, PRICE, SIZE),
    st.tuples(st.just("delta"), ONE_BOOK, PRICE, SIZE),
    st.tuples(st.just("lose"), ONE_BOOK, PRICE, SIZE),
    st.tuples(st.sampled_from(["repeat", "repair", "restart"]), ONE_BOOK),
    st.tuples(st.just("trade")),
    st.tuples(st.just("tick_price"), SIZE),
    st.tuples(st.just("level_1"), SIZE),
    st.tuples(st.just("join"), TOPIC),
    st.tuples(st.just("refuse"), TOPIC),
    st.tuples(st.just("accept"), TOPIC, st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.25, 1.0, 6.0, 20.0])),
    st.tuples(st.sampled_from(["connect", "disconnect", "go_mute"])),
    st.tuples(st.just("garbage"), GARBAGE),
)


@settings(max_examples=250)
@given(st.lists(EVENT, max_size=60))
def test_strategy_is_never_blind_without_being_told(events: list[tuple[Any, ...]]) -> None:
    """Numbers are contiguous, data come only while live, books are the venue's, and what is missing lies in a hole."""
    world = World()
    world.connect()
    for name, *arguments in events:
        getattr(world, name)(*arguments)
        world.go_on()
    # In the end the connection is whole, and every hole is known to both its sides.
    world.disconnect("the last one")
    world.refused.clear()
    world.connect()
    world.go_on()

    check_sequences(world.all_records)
    strategy = world.strategy
    for topic in BOOKS:
        if strategy.states[topic] == "live":
            assert strategy.books[topic] == world.books[topic]
    ever_refused = {
        one.subject for one in world.all_records if one.kind == wire.STATUS and status(one).state == "rejected"
    }
    if "linear." + TRADES not in ever_refused:
        for made_ns, number in world.made[TRADES]:
            assert number in strategy.trades or in_a_hole(strategy, TRADES, made_ns)
    for topic, lost_ns in world.skipped:
        assert in_a_hole(strategy, topic, lost_ns) or not noticed(world, topic, lost_ns)


def in_a_hole(strategy: Strategy, topic: str, at_ns: int) -> bool:
    return any(
        from_ns <= at_ns and (to_ns is None or at_ns <= to_ns) for from_ns, to_ns in strategy.holes.get(topic, [])
    )


def noticed(world: World, topic: str, at_ns: int) -> bool:
    """Say whether the topic's next record is the status of a gap. Otherwise a snapshot came before anybody could."""
    after = [one for one in world.all_records if one.subject == "linear." + topic and one.received_ns >= at_ns]
    new = [one for one in after if not one.flags & (wire.IMAGE | wire.REPEATED)]
    return bool(new) and new[0].kind == wire.STATUS and status(new[0]).reason.startswith("gap")
