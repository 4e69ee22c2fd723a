"""Whatever happens on the way from the worker: a book is exactly right or not live, and no loss goes unsaid.

A worker's life is made up at random (snapshots, deltas, resyncs, restarts, images for other newcomers), and its records
are lost, repeated and put out of order at random. What was true after each record is kept, so that every state in which
the strategy is told "live" can be held against it.
"""

import random
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
from support.records import BOOK, START_NS, TRADES, message, record, said, status

from feedhandler import wire
from feedhandler.client.counters import Counters
from feedhandler.client.links import Subscribe
from feedhandler.client.record import Record
from feedhandler.client.track import Track
from feedhandler.client.truth import Truth
from feedhandler.client.views import BookView, book_view

Levels = list[tuple[float, float]]
NOW_NS: Final = START_NS + 10**12
ROUNDS: Final = 10
CASES: Final = 1000
"""Lives in each round."""


class Worker:
    """A worker's book, its numbers, and what was true after each of them."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.epoch = 1
        self.sequence = 0
        self.bids: dict[str, str] = {}
        self.update_id = 0
        self.state = wire.SUBSCRIBING
        self.whole = False
        """Its book is the venue's: it has had its snapshot since it was last not live."""
        self.truth: dict[tuple[int, int], Levels | None] = {}
        """None where no book is right."""
        self.statuses: set[tuple[int, int]] = set()
        """Epochs and numbers of statuses; all others are data."""

    def _sent(self, made: Record) -> Record:
        levels = sorted(((float(price), float(size)) for price, size in self.bids.items()), reverse=True)
        self.truth[self.epoch, self.sequence] = levels if self.whole else None
        return made

    def status(self, state: str) -> Record:
        self.state = state
        self.whole = self.whole and state in (wire.LIVE, wire.STALE)
        self.sequence += 1
        self.statuses.add((self.epoch, self.sequence))
        return self._sent(status(BOOK, self.sequence, state, epoch=self.epoch))

    def _payload(self, kind: str, bids: dict[str, str]) -> bytes:
        data = {"s": "BTCUSDT", "b": list(bids.items()), "a": [], "u": self.update_id}
        return msgspec.json.encode({"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": 1, "data": data})

    def snapshot(self) -> Record:
        self.bids = {str(self.chance.randrange(90, 99)): str(self.chance.randrange(1, 9)) for _ in range(3)}
        self.update_id += 1
        self.sequence += 1
        self.whole = True
        payload = self._payload("snapshot", self.bids)
        return self._sent(record(BOOK, self.sequence, wire.SNAPSHOT, epoch=self.epoch, payload=payload))

    def delta(self) -> Record:
        changed = {str(self.chance.randrange(90, 99)): str(self.chance.randrange(0, 4)) for _ in range(2)}
        for price, size in changed.items():
            self.bids[price] = size
            if size == "0":
                del self.bids[price]
        self.update_id += 1
        self.sequence += 1
        payload = self._payload("delta", changed)
        return self._sent(record(BOOK, self.sequence, wire.DELTA, epoch=self.epoch, payload=payload))

    def answer(self) -> list[Record]:
        """What a newcomer is told: the status, and the image while there is one."""
        told = [status(BOOK, self.sequence, self.state, epoch=self.epoch, repeated=True)]
        if self.state in (wire.LIVE, wire.STALE):
            payload = self._payload("snapshot", self.bids)
            told.append(record(BOOK, self.sequence, wire.SNAPSHOT, epoch=self.epoch, flags=wire.IMAGE, payload=payload))
        return told

    def life(self, length: int) -> Iterator[Record]:
        """Everything that is published, in order."""
        yield self.status(wire.SUBSCRIBING)
        for _ in range(length):
            dice = self.chance.random()
            if dice < 0.03:
                # Each process issues its own, and a strategy need not hear of every one.
                self.epoch += self.chance.choice((1, 1, 2))
                self.sequence = 0
                yield self.status(wire.SUBSCRIBING)
            elif dice < 0.10:
                yield self.status(self.chance.choice((wire.RESYNCING, wire.DOWN)))
            elif dice < 0.20:
                yield from self.answer()
            elif self.state not in (wire.LIVE, wire.STALE):
                yield self.status(wire.LIVE)
                yield self.snapshot()
            elif dice < 0.24:
                yield self.status(wire.STALE if self.state == wire.LIVE else wire.LIVE)
            elif dice < 0.30:
                yield self.snapshot()
            else:
                yield self.delta()


def mangled(records: Iterator[Record], chance: random.Random, *, loss: float) -> list[Record]:
    """Lose, repeat and delay some of them."""
    arriving: list[tuple[float, Record]] = []
    for at, one in enumerate(records):
        if chance.random() < loss:
            continue
        arriving.append((at, one))
        if chance.random() < 0.05:
            arriving.append((at + chance.random() * 6, one))
        if chance.random() < 0.05:
            arriving[-1] = (at + chance.random() * 4, one)
    return [one for _, one in sorted(arriving, key=lambda pair: pair[0])]


def assert_right_or_not_live(book: BookView, track: Track, worker: Worker, seed: int) -> None:
    assert book.state == wire.LIVE if track.is_live else book.state != wire.LIVE, seed
    if book.is_live:
        assert book.bids() == worker.truth[track.epoch, track.sequence], f"wrong and live: {seed=}"


class Stream:
    """What the strategy is handed: checked record by record."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.epoch = 0
        self.sequence = 0
        """Of the last data."""
        self.lost = 0

    def take(self, outbox: deque[Record], seed: int) -> None:
        """Deltas continue exactly what was handed out before; nothing goes back, nothing comes twice."""
        while outbox:
            one = outbox.popleft()
            if one.local:
                told = said(one)
                self.lost += told[3] if len(told) == 4 else 0
                continue
            assert one.epoch >= self.epoch, f"back to an old epoch: {seed=}"
            if one.epoch > self.epoch:
                assert one.kind != wire.DELTA, f"an epoch begins with a delta: {seed=}"
                self.epoch, self.sequence = one.epoch, 0
            if one.kind == wire.DELTA:
                between = range(self.sequence + 1, one.sequence)
                assert one.sequence > self.sequence, f"twice: {seed=}"
                assert all((one.epoch, number) in self.worker.statuses for number in between), f"not the next: {seed=}"
            elif one.kind == wire.SNAPSHOT:
                assert one.sequence >= self.sequence + (not one.flags & wire.IMAGE), f"old: {seed=}"
            if one.kind != wire.STATUS:
                self.sequence = one.sequence


def take(track: Track, one: Record) -> None:
    """Give a track a record as `Truth.on_message` does, the short way where that is open."""
    if track.next_sequence == one.sequence and track.epoch == one.epoch and not one.flags and one.kind < wire.STATUS:
        track.sequence, track.next_sequence = one.sequence, one.sequence + 1
        track.last = one
        if track.view is not None:
            track.view.take(one)
        track._outbox.append(one)
    else:
        track.on_record(one, NOW_NS)


@pytest.mark.parametrize("block", range(ROUNDS))
def test_book_is_right_or_not_live(block: int) -> None:
    """Through loss, repetition, delay, restarts and images at any time, and live again after one answer in order."""
    lived = 0
    for seed in range(block * CASES, (block + 1) * CASES):
        chance = random.Random(seed)
        worker = Worker(chance)
        outbox: deque[Record] = deque()
        track = Track(BOOK, outbox, Counters())
        stream = Stream(worker)
        book = book_view(BOOK, "linear", float, strict=False)
        if seed % 2:
            track.attach(book)
        arriving = mangled(worker.life(25), chance, loss=0.08)
        # Some join late, at any moment.
        for one in arriving[chance.choice((0, chance.randrange(20))) :]:
            epoch = track.epoch
            take(track, one)
            assert track.epoch == max(epoch, one.epoch), f"the highest epoch counts: {seed=}"
            stream.take(outbox, seed)
            if track.view is None and chance.random() < 0.2:
                track.attach(book)
            if track.view is not None:
                assert_right_or_not_live(book, track, worker, seed)
                lived += book.is_live
        if track.view is None:
            track.attach(book)
        for one in [worker.status(wire.LIVE), worker.snapshot(), *worker.answer(), worker.delta()]:
            take(track, one)
        stream.take(outbox, seed)
        assert book.is_live, f"not live after a snapshot: {seed=}"
        assert_right_or_not_live(book, track, worker, seed)
    assert lived > 3 * CASES, "the cases are not all trivial"


def test_nothing_is_said_where_nothing_happens() -> None:
    """Whoever joins at any moment and gets everything from there on is told of no loss, in whatever epochs."""
    for seed in range(CASES):
        chance = random.Random(seed)
        worker = Worker(chance)
        outbox: deque[Record] = deque()
        counters = Counters()
        track = Track(BOOK, outbox, counters)
        stream = Stream(worker)
        before = chance.randrange(20)
        for number, one in enumerate(worker.life(40)):
            if number < before:
                continue
            if number == before:
                for answer in worker.answer():
                    take(track, answer)
            else:
                take(track, one)
            stream.take(outbox, seed)
            assert track.state == worker.state or (worker.state == wire.LIVE and not worker.whole), seed
        assert (counters.lost, counters.gaps, counters.duplicates, stream.lost) == (0, 0, 0, 0), seed


class Events:
    """Trades of a worker that is restarted now and then, with the time at which each was published."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now_ns = START_NS
        self.epoch = 0
        self.sequence = 0
        self.status = status(TRADES, 0, wire.SUBSCRIBING)
        self.published: dict[tuple[int, int], int] = {}
        """Events by epoch and number: when."""

    def _at(self, made: Record) -> Record:
        self.now_ns += self.chance.randrange(1, 1000)
        made.received_ns = made.published_ns = self.now_ns
        return made

    def _status(self, state: str, **hole: Any) -> Record:
        self.sequence += 1
        self.status = status(TRADES, self.sequence, state, epoch=self.epoch, **hole)
        return self._at(self.status)

    def _live(self, blind_from_ns: int) -> Record:
        """A worker may know from when to when it was blind, or not."""
        hole = {"blind_from_ns": blind_from_ns, "blind_to_ns": self.now_ns, "lost": None, "recoverable": False}
        return self._status(wire.LIVE, **(hole if self.chance.random() < 0.5 else {}), since_ns=self.now_ns)

    def answer(self) -> Record:
        """The present status, repeated for a newcomer or the quiet."""
        repeated = msgspec.structs.replace(self.status, flags=wire.REPEATED, sequence=self.sequence)
        return self._at(repeated)

    def life(self, length: int) -> Iterator[Record]:
        """Everything that is published; an outage of the venue's costs events that nobody ever had."""
        for _ in range(length):
            dice = self.chance.random()
            if self.epoch == 0 or dice < 0.04:
                self.epoch += self.chance.choice((1, 1, 2))
                self.sequence = 0
                # A supervisor knows when the last worker was last heard, not when it published last.
                since_ns = self.now_ns - self.chance.randrange(2000)
                yield self._status(wire.SUBSCRIBING)
                yield self._live(since_ns)
            elif dice < 0.08:
                yield self._status(wire.DOWN)
                yield self._live(self.now_ns)
            else:
                self.sequence += 1
                made = self._at(record(TRADES, self.sequence, wire.UPDATE, epoch=self.epoch))
                self.published[self.epoch, self.sequence] = self.now_ns
                yield made


def test_events_are_delivered_or_spoken_of_across_epochs() -> None:
    """Away for a while, deaf to single records, the worker replaced: every event is had once, counted, or in a hole told."""
    spoken_of = 0
    for seed in range(2 * CASES):
        chance = random.Random(seed)
        events = Events(chance)
        outbox: deque[Record] = deque()
        track = Track(TRADES, outbox, Counters())
        away = 0
        begun_ns = 0
        for one in events.life(60):
            if away:
                away -= 1
                if not away:
                    take(track, events.answer())  # to the subscription that was told again
            elif begun_ns and chance.random() < 0.05:
                away = chance.randrange(1, 12)
                if chance.random() < 0.7:
                    track.impose(wire.DOWN, "connection lost", NOW_NS)  # else it was too busy to notice
            elif chance.random() > 0.03 or not begun_ns:
                take(track, one)
                if chance.random() < 0.05:
                    take(track, one)
            begun_ns = begun_ns or events.now_ns
        take(track, events.answer())
        counted: set[tuple[int, int]] = set()
        holes: list[tuple[int, int]] = []
        had: list[tuple[int, int]] = []
        for one in outbox:
            if one.kind == wire.UPDATE:
                had.append((one.epoch, one.sequence))
                continue
            told = one.decode()
            if isinstance(told.lost, int):
                counted |= {(one.epoch, one.sequence - back) for back in range(told.lost)}
            elif told.blind_from_ns is not msgspec.UNSET:
                holes.append((told.blind_from_ns, told.blind_to_ns))
        assert had == sorted(set(had)), f"twice, or out of order: {seed=}"
        for event, at_ns in events.published.items():
            if event not in had and at_ns > begun_ns:
                spoken_of += 1
                assert event in counted or any(begin <= at_ns <= end for begin, end in holes), (
                    f"unsaid: {event} {seed=}"
                )
    assert spoken_of > CASES, "the cases are not all trivial"


@pytest.mark.parametrize("block", range(4))
def test_events_are_delivered_or_said_to_be_lost(block: int) -> None:
    """Within an epoch: every event is delivered once and in order, or counted as lost before the next one."""
    for seed in range(block * 250, (block + 1) * 250):
        chance = random.Random(seed)
        outbox: deque[Record] = deque()
        track = Track(TRADES, outbox, Counters())
        published = [status(TRADES, 1), *(record(TRADES, number, wire.UPDATE) for number in range(2, 40))]
        published += [status(TRADES, 39, repeated=True)]
        for one in mangled(iter(published[1:]), chance, loss=0.15):
            if one is published[-1] or not track.joined:
                track.on_record(published[0] if not track.joined else one, NOW_NS)
            track.on_record(one, NOW_NS)
        track.on_record(published[-1], NOW_NS)
        delivered = [one.sequence for one in outbox if one.kind == wire.UPDATE]
        lost = [told[3] for one in outbox if len(told := said(one)) == 4]
        assert delivered == sorted(set(delivered)), seed
        assert len(delivered) + sum(lost) == 38, f"unsaid: {seed=}"


def test_what_a_sleeper_misses_is_counted_to_the_record() -> None:
    """Backlogs of any age, with records dropped from them: each event is handed out, and not too old, or counted once."""
    discarded = dropped = 0
    for seed in range(CASES // 2):
        chance = random.Random(seed)
        truth = Truth("here", max_age_s=1.0)
        now_s, sequence = 100.0, 1
        truth.advance(START_NS + int(now_s * 1e9), now_s)
        truth.set_addresses(["ipc:///worker"])
        truth.subscribe(TRADES)
        link = truth.links["ipc:///worker"]
        handed: list[Record] = []
        for step in range(60):
            slept_s = chance.choice((0.01, 0.2, 0.9, 1.5, 4.0))
            times_s = sorted(now_s + chance.random() * slept_s for _ in range(chance.randrange(8) if step else 0))
            now_s += slept_s
            waiting = []
            for time_s in times_s:
                sequence += 1
                published_ns = START_NS + int(time_s * 1e9)
                waiting.append(record(TRADES, sequence, wire.UPDATE, published_ns=published_ns))
            if chance.random() < 0.2:
                cut = chance.randrange(8)
                dropped += len(waiting[cut : cut + 3])
                del waiting[cut : cut + 3]
            truth.advance(START_NS + int(now_s * 1e9), now_s)
            asked = any(isinstance(action, Subscribe) for action in truth.actions)
            truth.actions.clear()
            if asked or step in (0, 59):
                answer = status(TRADES, sequence, repeated=True)
                answer.published_ns = START_NS + int(now_s * 1e9)
                waiting.append(answer)
            for one in waiting:
                direct = truth.on_message(link, message(one))
                handed += [*truth.outbox] + ([direct] if direct is not None else [])
                assert all(START_NS + now_s * 1e9 - other.published_ns < 1.01e9 for other in truth.outbox), seed
                truth.outbox.clear()
            truth.on_heard(link)
            truth.on_drained(link)
            handed += truth.outbox
            truth.outbox.clear()
        had = [one.sequence for one in handed if one.kind == wire.UPDATE]
        assert had == sorted(set(had)), seed
        told = sum(said(one)[3] for one in handed if len(said(one)) == 4)
        assert len(had) + told == sequence - 1, f"not counted: {seed=}"
        discarded += truth.counters.discarded
    assert min(discarded, dropped) > CASES, "the cases are not all trivial"


@pytest.mark.parametrize("block", range(4))
def test_subscriber_recovers_by_its_own_requests(block: int) -> None:
    """Against a worker that answers subscriptions over a lossy way, the book is live and right soon after the losses end."""
    for seed in range(block * 50, (block + 1) * 50):
        chance = random.Random(seed)
        worker = Worker(chance)
        truth = Truth("here")
        now_s = 0.0
        truth.advance(NOW_NS, now_s)
        truth.set_addresses(["ipc:///worker"])
        truth.subscribe(BOOK if seed % 2 else "linear.orderbook.")
        link = truth.links["ipc:///worker"]
        book: Any = None
        published = worker.life(30)
        ended = False
        for step in range(400):
            now_s += 0.1
            truth.advance(NOW_NS + step, now_s)
            batch = [one for one in (next(published, None),) if one is not None]
            if not batch and not ended:
                ended = True
                batch = [worker.status(wire.LIVE), worker.snapshot(), worker.delta()]
            asked = sum(
                isinstance(action, Subscribe) and action.filter == wire.prefix(BOOK) for action in truth.actions
            )
            truth.actions.clear()
            batch += worker.answer() if asked else []
            if step % 100 == 0:
                batch += worker.answer()[:1]  # the status of a quiet subject
            for one in batch:
                if chance.random() > (0.0 if step > 100 else 0.2):
                    truth.on_message(link, message(one))
            truth.on_heard(link)
            truth.tick(())
            track = truth.track(BOOK)
            if track is not None and book is None:
                book = book_view(BOOK, "", float, strict=False)
                truth.attach(BOOK, book)
            if track is not None:
                assert_right_or_not_live(book, track, worker, seed)
        assert book.is_live, f"{seed=}"
        assert book.bids() == worker.truth[worker.epoch, worker.sequence]


class Keeper:
    """A worker that keeps its last events for newcomers, as `worker.newcomers` does it.

    Newcomers who wait are answered together, by a repeated status and then, a few at a time and with anything in
    between, every event as it was kept at that moment; the next are answered when all of those are out.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.sequence = 1
        self.state = wire.LIVE
        self.kept: deque[int] = deque(maxlen=chance.choice((1, 3, 10, 30)))
        self.events: list[int] = []
        self.repeating: deque[int] = deque()
        self.waiting: list[Newcomer] = []
        self.newcomers: list[Newcomer] = []

    def _publish(self, one: Record) -> None:
        for newcomer in self.newcomers:
            take(newcomer.track, one)

    def event(self) -> None:
        self.sequence += 1
        self.kept.append(self.sequence)
        self.events.append(self.sequence)
        self._publish(record(TRADES, self.sequence, wire.UPDATE))

    def change(self) -> None:
        self.sequence += 1
        self.state = wire.LIVE if self.state == wire.DOWN else wire.DOWN
        self._publish(status(TRADES, self.sequence, self.state))

    def restate(self) -> None:
        self._publish(status(TRADES, self.sequence, self.state, repeated=True))

    def join(self) -> None:
        newcomer = Newcomer(self.sequence)
        self.newcomers.append(newcomer)
        self.waiting.append(newcomer)

    def answer(self) -> None:
        if self.repeating or not self.waiting:
            return
        self.restate()
        self.repeating.extend(self.kept)
        for newcomer in self.waiting:
            newcomer.due = [number for number in self.kept if number <= newcomer.since]
        self.waiting.clear()

    def repeat(self) -> None:
        for _ in range(min(self.chance.randrange(1, 8), len(self.repeating))):
            self._publish(record(TRADES, self.repeating.popleft(), wire.UPDATE, flags=wire.REPEATED))


class Newcomer:
    """Hears everything from a moment on."""

    def __init__(self, since: int) -> None:
        self.since = since
        """The last number before."""
        self.due: list[int] = []
        """Kept events of before, as of the answer."""
        self.outbox: deque[Record] = deque()
        self.counters = Counters()
        self.track = Track(TRADES, self.outbox, self.counters)


@pytest.mark.parametrize("block", range(4))
def test_each_newcomer_gets_what_is_kept_once_whoever_else_comes(block: int) -> None:
    """Joined at any moment of other newcomers' answers: what is kept in order, what comes in order, nothing twice."""
    amid = 0
    for seed in range(block * CASES // 2, (block + 1) * CASES // 2):
        chance = random.Random(seed)
        worker = Keeper(chance)
        unmarked = False
        for _ in range(150):
            dice = chance.random()
            if dice < 0.25:
                worker.event()
            elif dice < 0.28:
                worker.change()
            elif dice < 0.31:
                # That of a quiet subject. Amid repeats it cannot be told from an answer: the rest may come first then.
                if not worker.repeating or seed % 4 == 0:
                    unmarked |= bool(worker.repeating)
                    worker.restate()
            elif dice < 0.36:
                amid += bool(worker.repeating)
                worker.join()
            elif dice < 0.5:
                worker.answer()
            else:
                worker.repeat()
        while worker.waiting or worker.repeating:
            worker.answer()
            worker.repeat()
        for newcomer in worker.newcomers:
            events = [one for one in newcomer.outbox if one.kind == wire.UPDATE]
            live = [one.sequence for one in events if not one.is_repeated]
            repeated = [one.sequence for one in events if one.is_repeated]
            assert live == [number for number in worker.events if number > newcomer.since], f"live: {seed=}"
            assert len(repeated) == len(set(repeated)), f"twice: {seed=}"
            assert set(newcomer.due) <= set(repeated), f"not had: {seed=}"
            assert set(repeated) <= {number for number in worker.events if number <= newcomer.since}, f"both: {seed=}"
            if not unmarked:
                assert repeated == sorted(repeated), f"out of order: {seed=}"
            assert newcomer.counters.lost == 0
    assert amid > CASES // 2, "the cases are not all trivial"


def test_lost_events_of_an_account_are_had_in_the_end() -> None:
    """A way that loses events and whole answers: what the worker still keeps is asked for until it is there."""
    subject = "private.execution"
    lost = 0
    for seed in range(CASES // 5):
        chance = random.Random(seed)
        truth = Truth("here")
        truth.advance(NOW_NS, 0.0)
        truth.set_addresses(["ipc:///worker"])
        truth.subscribe(subject if seed % 2 else "private.")
        link = truth.links["ipc:///worker"]
        truth.on_connected(link)
        truth.on_message(link, message(status(subject, 1, repeated=True)))
        truth.actions.clear()
        handed: list[Record] = []
        sequence = 1
        for step in range(600):
            truth.advance(NOW_NS + step, step * 0.1)
            loss = 0.2 if step < 200 else 0.0
            arriving = []
            asked = any(isinstance(one, Subscribe) and one.filter == wire.prefix(subject) for one in truth.actions)
            truth.actions.clear()
            if asked and chance.random() >= loss:
                kept = range(2, sequence + 1)
                arriving.append(status(subject, sequence, repeated=True))
                arriving += [record(subject, number, wire.UPDATE, flags=wire.REPEATED) for number in kept]
            if step < 100 or step == 300:
                sequence += 1
                if chance.random() >= loss:
                    arriving.append(record(subject, sequence, wire.UPDATE))
            for one in arriving:
                direct = truth.on_message(link, message(one))
                handed += [*truth.outbox] + ([direct] if direct is not None else [])
                truth.outbox.clear()
            truth.on_heard(link)
            truth.tick(())
        had = [one.sequence for one in handed if one.kind == wire.UPDATE]
        told = sum(said(one)[3] for one in handed if len(said(one)) == 4)
        assert sorted(had) == list(range(2, sequence + 1)), f"missing, or twice: {seed=}"
        assert told == truth.counters.lost, f"unsaid: {seed=}"
        assert truth.actions == [], f"asked without end: {seed=}"
        lost += told
    assert lost > CASES, "the cases are not all trivial"
