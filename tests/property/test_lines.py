"""Several lines against a model of the venue: whatever happens to a line, strategies see one stream.

Each case is a short life of one topic from a seed: the venue pushes records, the lines deliver them late, twice, in the
wrong order, not at all, or lose their connection. What was published is held against what the venue sent.
"""

import json
import random
from collections.abc import Callable
from typing import Any, Final

from support.lines import BOOK, FULL_BOOK, LEVEL_1, LIQUIDATIONS, MS, TICKER, TRADES, Wire, World

from feedhandler import wire

CASES: Final = 1000
"""Of each kind."""


def warm_up(world: World) -> None:
    """Connect both lines, and wait until both carry the topic."""
    for one in world.wires:
        one.delay_ns = world.chance.choice((1, 3, 20, 60)) * MS
        world.at(world.chance.randrange(80) * MS, one.connect)
    pushing(world, 0, 500)
    while not all(copy.carries for copy in world.lines.races[world.topic].copies):
        pushing(world, 0, 100)


def pushing(
    world: World, events: float, for_ms: int, names: tuple[str, ...] = ("restart", "snapshot", "fall back")
) -> None:
    """Have the venue push records for a time; ``events`` is how likely one of them is something special."""
    chance = world.chance
    end_ns = world.now_ns + for_ms * MS
    while world.now_ns < end_ns:
        world.run(chance.randrange(5, 60) * MS)
        world.emit(chance.choice(names) if chance.random() < events else "")


def disturb(world: World, one: Wire, faults: tuple[str, ...], until_ns: int) -> None:
    """Let faults happen to a line, again and again."""
    chance = world.chance

    def strike() -> None:
        if world.now_ns > until_ns:
            return
        fault = chance.choice(faults)
        if not one.open:
            one.connect()
        elif fault == "cut":
            one.cut()
        elif fault == "skip":
            one.skip = chance.randrange(1, 4)
        elif fault == "repeat":
            one.repeat = True
        elif fault == "swap":
            one.swap = True
        elif fault == "slow":
            one.delay_ns = chance.choice((1, 10, 100, 300)) * MS
        elif fault == "stall":
            one.delay_ns = chance.choice((800, 1500, 2500)) * MS
        elif fault == "forget":
            one.mute_topic = True
        world.at(chance.randrange(20, 400) * MS, strike)

    world.at(chance.randrange(100) * MS, strike)


def settle(world: World) -> None:
    """Have all lines whole again, and everything arrive."""
    for one in world.wires:
        one.delay_ns = min(one.delay_ns, 100 * MS)
        one.skip, one.swap, one.repeat = 0, False, False
        if one.mute_topic:
            one.cut()
        if not one.open:
            one.connect()
    pushing(world, 0, 600)
    world.run(6000 * MS)
    pushing(world, 0, 400)
    world.run(1500 * MS)


class BookStrategy:
    """Follows the published book, and checks it against the venue's at every record."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sequence = 0
        self.live = False
        self.bids: dict[str, str] | None = None
        self.asks: dict[str, str] = {}
        self.update_id = self.seq = -1
        self.told_lost = False
        self.seqs: list[int] = []

    def follow(self) -> "BookStrategy":
        for record in self.world.published:
            if record.flags & (wire.REPEATED | wire.IMAGE):
                assert record.sequence == self.sequence
                continue
            assert record.sequence == self.sequence + 1, "numbers are contiguous"
            self.sequence = record.sequence
            if record.kind == wire.STATUS:
                self._status(json.loads(record.payload))
            else:
                self._record(record)
        return self

    def _status(self, status: dict[str, Any]) -> None:
        self.live = status["state"] == "live"
        if not self.live:
            self.bids = None
            if status["state"] == "down":
                self.seq = -1
        self.told_lost = "blind_from_ns" in status

    def _record(self, record: wire.Record) -> None:
        assert self.live, "data only while live"
        assert record.line < len(self.world.wires)
        message = json.loads(record.payload)
        data = message["data"]
        assert data["seq"] > self.seq or (self.bids is None and data["seq"] >= self.seq), "nothing older, nothing twice"
        if record.kind == wire.SNAPSHOT:
            if self.bids is not None and data["u"] > self.update_id + 1:
                assert self.told_lost, "a jump ahead is told"
            self.bids, self.asks = {}, {}
        else:
            assert self.bids is not None, "a snapshot first"
            assert data["u"] == self.update_id + 1, "no gap in a live book"
        for side, levels in ((self.bids, data["b"]), (self.asks, data["a"])):
            for price, size in levels:
                if size == "0":
                    side.pop(price, None)
                else:
                    side[price] = size
        self.update_id, self.seq = data["u"], data["seq"]
        self.seqs.append(self.seq)
        assert (self.update_id, self.bids, self.asks) == self.world.venue.truth[self.seq][:3]


def each_case(kind: str, check: Callable[[int], None], cases: int = CASES) -> None:
    for number in range(cases):
        seed = random.Random(f"{kind} {number}").randrange(1 << 32)
        try:
            check(seed)
        except Exception as error:
            raise AssertionError(f"case {number}, seed {seed}: {type(error).__name__}: {error}") from error


LINE_FAULTS: Final = ("cut", "skip", "repeat", "swap", "slow", "stall", "forget")


def quiet_book_case(seed: int) -> None:
    world = World(BOOK, seed, lines=2 + (seed % 10 == 0))
    warm_up(world)
    before = len(world.statuses)
    broken, whole = world.chance.sample(world.wires, 2)
    whole.delay_ns = world.chance.choice((1, 20, 100, 300)) * MS
    disturb(world, broken, LINE_FAULTS, world.now_ns + 1200 * MS)
    pushing(world, 0.04, 1200, ("snapshot", "restart"))
    settle(world)
    strategy = BookStrategy(world).follow()
    assert len(world.statuses) == before, "nobody hears of a line's faults while another one is whole"
    check_whole(world, strategy.seqs)


def check_whole(world: World, seqs: list[int]) -> None:
    """Hold the updates that were published against those that the venue sent since the first of them."""
    truth = world.venue.truth
    order = world.venue.order[world.venue.order.index(seqs[0]) :]
    assert seqs == sorted(set(seqs)), "nothing twice, nothing older"
    missing = [seq for seq in order if seq not in set(seqs)]
    for seq in missing:
        # A restart is told as soon as one line sees it, also where that line has missed the end before it.
        after = order[order.index(seq) + 1 :]
        restart = next(other for other in after if truth[other][0] == 1)
        assert all(other in missing for other in after[: after.index(restart)]), "nothing is lost within an era"
    assert seqs[-1] == order[-1]


def test_a_book_is_whole_while_one_line_is() -> None:
    """Cut, late, gapped, repeated, reordered or forgotten: with another line whole, no status, no gap, no repeat."""
    each_case("quiet book", quiet_book_case)


def wild_book_case(seed: int, topic: str = BOOK) -> None:
    world = World(topic, seed)
    warm_up(world)
    for one in world.wires:
        disturb(world, one, LINE_FAULTS, world.now_ns + 1500 * MS)
    pushing(world, 0.05, 1500)
    settle(world)
    strategy = BookStrategy(world).follow()
    assert strategy.live
    assert strategy.seqs[-1] == world.venue.order[-1]


def test_a_live_book_is_the_venues_whatever_the_lines_do() -> None:
    """With faults on both lines: each live record makes the venue's book of that update; at last all is well again."""
    each_case("wild book", wild_book_case)


def full_book_case(seed: int) -> None:
    world = World(FULL_BOOK, seed)
    warm_up(world)
    before = len(world.statuses)
    broken, whole = world.chance.sample(world.wires, 2)
    whole.delay_ns = world.chance.choice((1, 20, 100, 300)) * MS
    disturb(world, broken, LINE_FAULTS, world.now_ns + 1200 * MS)
    pushing(world, 0.03, 1200, ("restart",))
    settle(world)
    check_numbers(world)
    assert len(world.statuses) == before
    check_whole(world, [json.loads(record.payload)["data"]["seq"] for record in world.data])


def test_a_full_book_is_whole_while_one_line_is() -> None:
    """Deltas without snapshots: with one line whole, each one is published once, in order."""
    each_case("full book", full_book_case)


TRADE_FAULTS: Final = ("cut", "slow", "forget", "cut", "repeat")


def published_trades(world: World) -> list[str]:
    return [row["i"] for record in world.data for row in json.loads(record.payload)["data"]]


def check_numbers(world: World) -> None:
    sequence = 0
    for record in world.published:
        sequence += not record.flags & (wire.REPEATED | wire.IMAGE)
        assert record.sequence == sequence


def quiet_trades_case(seed: int, faults: tuple[str, ...], *, ordered: bool) -> None:
    world = World(TRADES, seed, lines=2 + (seed % 10 == 0))
    warm_up(world)
    pushing(world, 0, 100)
    before = len(world.statuses)
    broken, whole = world.chance.sample(world.wires, 2)
    whole.delay_ns = world.chance.choice((1, 20, 100, 300)) * MS
    disturb(world, broken, faults, world.now_ns + 1200 * MS)
    pushing(world, 0, 1200)
    settle(world)
    check_numbers(world)
    assert len(world.statuses) == before, "nobody hears of a line's faults while another one is whole"
    found, sent = published_trades(world), world.venue.trades
    assert len(set(found)) == len(found), "each trade once"
    expected = sent[sent.index(found[0]) :]
    assert (found if ordered else sorted(found, key=expected.index)) == expected, "all of them"


def test_trades_are_whole_and_in_order_while_one_line_is() -> None:
    """Cut, slow or forgotten: with another line whole, each trade once, in the venue's order, and no status."""
    each_case("quiet trades", lambda seed: quiet_trades_case(seed, TRADE_FAULTS, ordered=True))


def test_trades_are_whole_while_one_line_is_and_the_other_loses_some() -> None:
    """A line that leaves messages out, or swaps them: each trade once all the same."""
    faults = (*TRADE_FAULTS, "skip", "swap", "stall")
    each_case("gapped trades", lambda seed: quiet_trades_case(seed, faults, ordered=False))


def wild_trades_case(seed: int) -> None:
    world = World(TRADES, seed)
    warm_up(world)
    for one in world.wires:
        disturb(world, one, (*TRADE_FAULTS, "stall"), world.now_ns + 1500 * MS)
    pushing(world, 0, 1500)
    settle(world)
    check_numbers(world)
    number = {trade_id: index for index, trade_id in enumerate(world.venue.trades)}
    last, told, live = -1, True, False
    for record in world.published:
        if record.flags & (wire.REPEATED | wire.IMAGE):
            continue
        if record.kind == wire.STATUS:
            status = json.loads(record.payload)
            live = status["state"] == "live"
            told = told or "blind_from_ns" in status
            continue
        assert live, "trades only while live"
        for row in json.loads(record.payload)["data"]:
            assert number[row["i"]] > last, "in the venue's order, each once"
            assert number[row["i"]] == last + 1 or told, "what is missing is told"
            last, told = number[row["i"]], False
    assert live
    assert last == len(world.venue.trades) - 1


def test_trades_that_are_lost_are_told() -> None:
    """With faults on both lines: each trade at most once, in order, and before every hole a status tells of it."""
    each_case("wild trades", wild_trades_case)


LINE_LOSSES: Final = ("cut", "slow", "forget", "stall")
"""What a line without counts or ids can show: records left out one by one cannot be known."""


def check_states(world: World) -> int:
    """Follow a topic that is a state, and compare it with the venue's at every record; return the last ``seq``."""
    check_numbers(world)
    fields: dict[str, str] | None = None
    live, last = False, -1
    for record in world.published:
        if record.flags & (wire.REPEATED | wire.IMAGE):
            continue
        message = json.loads(record.payload)
        if record.kind == wire.STATUS:
            live = message["state"] == "live"
            if not live:
                fields, last = None, -1
            continue
        assert live, "data only while live"
        if world.topic == TICKER:
            assert record.kind == wire.SNAPSHOT or fields is not None, "a snapshot first"
            fields = {**({} if record.kind == wire.SNAPSHOT else fields or {}), **message["data"]}
            seq = message["cs"]
            assert fields == world.venue.truth[seq][3], "the venue's fields"
        else:
            seq = message["data"]["seq"]
            _, bids, asks, _ = world.venue.truth[seq]
            assert message["data"]["b"] == [["99.5", bids["99.5"]]]
            assert message["data"]["a"] == [["101.5", asks["101.5"]]]
        assert seq > last, "nothing older, nothing twice"
        last = seq
    assert live
    return last


def quiet_state_case(seed: int) -> None:
    world = World(TICKER if seed % 2 else LEVEL_1, seed)
    warm_up(world)
    before = len(world.statuses)
    broken, whole = world.chance.sample(world.wires, 2)
    whole.delay_ns = world.chance.choice((1, 20, 100, 300)) * MS
    disturb(world, broken, LINE_LOSSES, world.now_ns + 1500 * MS)
    pushing(world, 0, 1500)
    settle(world)
    assert len(world.statuses) == before, "nobody hears of a line's faults while another one is whole"
    assert check_states(world) == world.venue.order[-1]


def test_a_state_is_the_venues_while_one_line_is_whole() -> None:
    """Tickers and level 1, one line cut, slow or forgotten: no status, each record the venue's, none older."""
    each_case("quiet state", quiet_state_case)


def wild_state_case(seed: int) -> None:
    world = World(TICKER if seed % 2 else LEVEL_1, seed)
    warm_up(world)
    for one in world.wires:
        disturb(world, one, LINE_LOSSES, world.now_ns + 1500 * MS)
    pushing(world, 0, 1500)
    settle(world)
    assert check_states(world) == world.venue.order[-1]


def test_a_live_state_is_the_venues_whatever_the_lines_do() -> None:
    """With faults on both lines: each live record makes a state that the venue had, in order; at last the present one."""
    each_case("wild state", wild_state_case)


def events_case(seed: int, *, wild: bool) -> None:
    world = World(LIQUIDATIONS, seed)
    warm_up(world)
    before = len(world.statuses)
    broken, whole = world.chance.sample(world.wires, 2)
    whole.delay_ns = world.chance.choice((1, 20, 100, 300)) * MS
    disturb(world, broken, LINE_LOSSES, world.now_ns + 1500 * MS)
    if wild:
        disturb(world, whole, LINE_LOSSES, world.now_ns + 1500 * MS)
    pushing(world, 0, 1500)
    settle(world)
    check_numbers(world)
    if not wild:
        assert len(world.statuses) == before
    order = world.venue.order
    place, told = -1, True
    for record in world.published:
        if record.flags & (wire.REPEATED | wire.IMAGE):
            continue
        if record.kind == wire.STATUS:
            told = told or b"blind_from_ns" in record.payload
            continue
        seq = int(json.loads(record.payload)["data"][0]["v"])
        assert order.index(seq) > place, "in order, each once"
        assert order.index(seq) == place + 1 or told, "what is missing is told"
        place, told = order.index(seq), False
    assert place == len(order) - 1


def test_events_without_ids_are_whole_while_one_line_is() -> None:
    """Liquidations, one line cut, slow or forgotten: each one once, in order, and no status."""
    each_case("quiet events", lambda seed: events_case(seed, wild=False))


def test_events_without_ids_that_are_lost_are_told() -> None:
    """With faults on both lines: each at most once, in order, and before every hole a status tells of it."""
    each_case("wild events", lambda seed: events_case(seed, wild=True))
