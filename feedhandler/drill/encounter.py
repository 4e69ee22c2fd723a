"""One fault meets one target: struck, noticed, recovered from, proven."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Final

from feedhandler import wire
from feedhandler.bybit.products import Nature
from feedhandler.drill import faults
from feedhandler.drill.expectation import Expectation
from feedhandler.drill.faults import Fault, Strike
from feedhandler.drill.scene import BEATS_MISSED_NS, PATIENCE_MORE_S, Scene, patience_s
from feedhandler.drill.scoring import Judged, Seen
from feedhandler.drill.targets import Target

PROOF_RECORDS: Final = 2
"""Records of a book that must follow before it counts as flowing."""
BOOKS_PROVEN: Final = 20
"""Of more than these nobody waits for each, nor holds each against the venue's."""
NEXT_EVENT_S: Final = 2.0
"""How long the next event of a topic is waited for; some are rare."""


class Encounter:
    """What is done for one row of the scorecard. Nothing is judged here."""

    def __init__(
        self,
        scene: Scene,
        phase: Callable[[str], None],
        fault: Fault,
        target: Target,
        expectation: Expectation,
        hit: Sequence[Judged],
    ) -> None:
        """``hit`` are the subjects concerned; ``phase`` is told what is being waited for."""
        self.fault = fault
        self.target = target
        self.expectation = expectation
        self.hit = hit
        self.seen = Seen()
        self.struck_ns = 0
        """When it was struck, Unix ns."""
        self.skipped = ""
        """Why nothing came of it."""
        self._scene = scene
        self._phase = phase
        self._beat = scene.beats.get(target.worker)
        self._waited_s = patience_s(expectation.told_within_s)

    @property
    def has_disturbed(self) -> bool:
        """Whether a line had to be mended."""
        return bool(self.expectation.told) or self.expectation.ends_connection or self.fault.needs == faults.BOOK

    def run(self) -> None:
        """Live through it."""
        venue = self._scene.venue
        self.struck_ns = time.time_ns()
        if self.fault.needs == faults.WORKER:
            self._strike_worker()
        else:
            for strike in self.fault.strikes:
                self._strike(strike)
        self._await_notice()
        if self.fault.until == faults.SEEN:
            venue.strike("off")
        if self.fault.needs == faults.SYMBOL:
            venue.strike("relist", symbol=self.target.symbol)
        self._await_whole()
        if self.fault.until == faults.SPENT and any(not one["hits"] for one in venue.ask("faults")["active"]):
            self.skipped = "the occasion for it never came"
        venue.strike("off")
        self._await_proof()

    # What is done.

    def _strike(self, strike: Strike) -> None:
        """Give one strike its aim; one of connections goes to each that is concerned."""
        target = self.target
        place = {"product": target.product, "topic": target.topic, "symbol": target.symbol}
        for link in target.links if "connection" in strike.aim else target.links[:1]:
            place["connection"] = str(link.number)
            self._scene.venue.strike(strike.kind, **{name: place[name] for name in strike.aim}, **strike.parameters)

    def _strike_worker(self) -> None:
        """Kill it, or have it hang, and see how a strategy knows."""
        scene, worker = self._scene, self.target.worker
        pid = scene.beats[worker].pid
        if self.fault.name == "worker-killed":
            os.kill(pid, signal.SIGKILL)
            if scene.wait(lambda: scene.strategy.gone_ns.get(worker, 0) >= self.struck_ns, self._waited_s):
                self.seen.told_ns = scene.strategy.gone_ns[worker]
        else:
            os.kill(pid, signal.SIGSTOP)
            if scene.wait(lambda: time.time_ns() - scene.beat_ns[worker] > BEATS_MISSED_NS, self._waited_s):
                self.seen.told_ns = time.time_ns()

    # What is waited for.

    def _await_notice(self) -> None:
        """Wait until what is promised to be noticed was noticed."""
        scene, expectation = self._scene, self.expectation
        if expectation.told:
            self._phase(f"waiting to be told: {', '.join(expectation.told)}")
            scene.wait(lambda: all(map(self._was_told, self.hit)), self._waited_s)
        elif expectation.ends_connection and not expectation.new_epoch:
            self._phase("waiting for the connection to be replaced")
            numbers = {link.number for link in self.target.links}
            scene.wait(lambda: numbers.isdisjoint(link.number for link in scene.links()), self._waited_s)
        elif not expectation.new_epoch:
            self._phase("looking for what should not be seen")
            scene.rest(self.fault.lasts_s)
            if self.fault.until == faults.SPENT:
                scene.wait_until_quiet(self._waited_s)
        if expectation.passed:
            self.seen.passed = scene.wait(lambda: all(map(self._has_passed, self.hit)), self._waited_s)

    def _await_whole(self) -> None:
        scene, expectation = self._scene, self.expectation
        self._phase("waiting until all is whole")
        is_whole = scene.is_whole()
        waited_s = patience_s(expectation.whole_within_s)
        if not scene.wait(lambda: all(map(self._has_successor, self.hit)) and is_whole(), waited_s):
            return
        lives_ns: list[int] = []
        if (expectation.told or expectation.new_epoch) and self.fault.needs != faults.SYMBOL:
            lives_ns = [one.told[-1].at_ns for one in self.hit if one.told]
        self.seen.whole_ns = max(lives_ns, default=time.time_ns())

    def _await_proof(self) -> None:
        """Wait for records and a heartbeat that prove it, then for the truth about them."""
        scene, expectation = self._scene, self.expectation
        self._phase("comparing with what the venue sent")
        now_ns = time.time_ns()
        ledgers = [one.ledger for one in self.hit if one.ledger.state == wire.LIVE]
        some_books = [ledger for ledger in ledgers if ledger.nature is Nature.BOOK][:BOOKS_PROVEN]
        books = {ledger: ledger.counts.records for ledger in some_books}
        events = {ledger: ledger.counts.records for ledger in ledgers if ledger.nature is Nature.EVENT}
        scene.wait(
            lambda: all(book.counts.records >= count + PROOF_RECORDS for book, count in books.items()), PATIENCE_MORE_S
        )
        if expectation.told or expectation.new_epoch:
            # What is lost of events shows when the next one comes.
            scene.wait(lambda: all(topic.counts.records > count for topic, count in events.items()), NEXT_EVENT_S)
        if expectation.counter and self._beat is not None:
            worker, counter = self.target.worker, expectation.counter
            scene.wait(lambda: scene.beat_ns[worker] > now_ns, PATIENCE_MORE_S)
            self.seen.counted = getattr(scene.beats[worker], counter) > getattr(self._beat, counter)
        for book in books:
            scene.compare(book)
        scene.settle()

    # Of one subject.

    def _was_told(self, one: Judged) -> bool:
        said = iter([told.state for told in one.told])
        return all(state in said for state in self.expectation.told)

    def _has_passed(self, one: Judged) -> bool:
        before, now = one.mark.counts, one.ledger.counts
        if self.expectation.passed == "snapshot":
            return now.passed_snapshots > before.passed_snapshots
        return now.new_fields > before.new_fields

    def _has_successor(self, one: Judged) -> bool:
        return not self.expectation.new_epoch or one.ledger.epoch > one.mark.epoch
