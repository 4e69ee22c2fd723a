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
        self.truth: dict[tuple[int, int], Levels] = {}

    def _sent(self, made: Record) -> Record:
        self.truth[self.epoch, self.sequence] = sorted(
            ((float(price), float(size)) for price, size in self.bids.items()), reverse=True
        )
        return made

    def status(self, state: str) -> Record:
        self.state = state
        self.sequence += 1
        return self._sent(status(BOOK, self.sequence, state, epoch=self.epoch))

    def _payload(self, kind: str, bids: dict[str, str]) -> bytes:
        data = {"s": "BTCUSDT", "b": list(bids.items()), "a": [], "u": self.update_id}
        return msgspec.json.encode({"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": 1, "data": data})

    def snapshot(self) -> Record:
        self.bids = {str(self.chance.randrange(90, 99)): str(self.chance.randrange(1, 9)) for _ in range(3)}
        self.update_id += 1
        self.sequence += 1
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
                self.epoch += 1
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


@pytest.mark.parametrize("block", range(ROUNDS))
def test_book_is_right_or_not_live(block: int) -> None:
    """Through loss, repetition, delay, restarts and images at any time, and live again after one answer in order."""
    lived = 0
    for seed in range(block * CASES, (block + 1) * CASES):
        chance = random.Random(seed)
        worker = Worker(chance)
        track = Track(BOOK, deque(), Counters())
        book = book_view(BOOK, "linear", float, strict=False)
        if seed % 2:
            track.attach(book)
        for one in mangled(worker.life(25), chance, loss=0.08):
            if track.next_sequence == one.sequence and track.epoch == one.epoch and not one.flags and one.kind < 4:
                # The short way, as Truth.on_message goes it.
                track.sequence, track.next_sequence = one.sequence, one.sequence + 1
                if track.view is not None:
                    track.view.take(one)
            else:
                track.on_record(one, NOW_NS)
            if track.view is None and chance.random() < 0.2:
                track.attach(book)
            if track.view is not None:
                assert_right_or_not_live(book, track, worker, seed)
                lived += book.is_live
        if track.view is None:
            track.attach(book)
        for one in [worker.status(wire.LIVE), worker.snapshot(), *worker.answer(), worker.delta()]:
            track.on_record(one, NOW_NS)
        assert book.is_live, f"not live after a snapshot: {seed=}"
        assert_right_or_not_live(book, track, worker, seed)
    assert lived > 3 * CASES, "the cases are not all trivial"


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
