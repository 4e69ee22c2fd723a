"""The course of a drill: one fault after the other, each injected, noticed, recovered from, and judged."""

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from feedhandler import wire
from feedhandler.bybit.products import Nature
from feedhandler.drill import faults, promises
from feedhandler.drill.expectation import JOIN_S, STALE_S, TOPICS_A_SECOND, Expectation, Timing, expect
from feedhandler.drill.faults import Fault, Strike
from feedhandler.drill.ledger import Ledger
from feedhandler.drill.promises import Finding
from feedhandler.drill.scene import BEATS_MISSED_NS, Scene
from feedhandler.drill.scoring import Judged, Result, Seen, judge
from feedhandler.drill.strategy import Strategy
from feedhandler.drill.targets import Target, choose, symbol_of
from feedhandler.wire import LIVE, REJECTED

PATIENCE: Final = 2.0
PATIENCE_MORE_S: Final = 10.0
"""What is promised within T is waited for 2 T + 10 s: that it comes late is to be seen, too."""
PROOF_RECORDS: Final = 2
"""Records of a book that must follow before it counts as flowing."""
NEXT_EVENT_S: Final = 2.0
"""How long the next event of a topic is waited for; some are rare."""
RHYTHM_S: Final = 8.0
"""How long a lively topic takes to have shown its rhythm."""
TOGETHER_S: Final = 2.0
"""Before one line may fail the other must be whole: it has been subscribed for long enough to be known to be in step."""
LATELY_NS: Final = 15_000_000_000


class Progress(Protocol):
    """What a person sees meanwhile."""

    def begin(self, fault: Fault, where: str) -> None:
        """Say that a fault is about to be injected."""

    def phase(self, text: str) -> None:
        """Say what is being waited for."""

    def end(self, result: Result) -> None:
        """Say what came of it."""


class Course:
    """Drills a running scene."""

    def __init__(self, scene: Scene, progress: Progress) -> None:
        self.scene = scene
        self.results: list[Result] = []
        self._progress = progress
        self._finish: Callable[[], None] | None = None
        """What is left to do of a fault that takes long and disturbs nobody."""
        self._is_finished: Callable[[], bool] = lambda: False
        """Whether that would take no time."""
        self._finish_worker = ""
        self._disturbed_s = 0.0
        """When a line was mended last, by the monotonic clock."""

    def run(self, chosen: Sequence[Fault], *, keeps_going: bool) -> None:
        """Drill the faults; end with the first broken promise unless told otherwise."""
        for number, fault in enumerate(chosen):
            result = self._drill(fault, number)
            self.results.append(result)
            self._progress.end(result)
            if not result.is_kept and not keeps_going:
                break
            self._heal()
        self._finish_now()

    def _finish_now(self) -> None:
        finish, self._finish = self._finish, None
        self._is_finished = lambda: False
        if finish is not None:
            finish()

    def _heal(self) -> None:
        """Begin the next one from a whole feed, if need be a new one."""
        self.scene.venue.strike("off")
        if not self.scene.wait(self.scene.is_whole(), PATIENCE_MORE_S):
            self._progress.phase("starting the feed anew")
            self.scene.feed.stop()
            self.scene.start()

    # One fault.

    def _drill(self, fault: Fault, number: int) -> Result:
        scene = self.scene
        result = Result(fault=fault.name, text=fault.text)
        if self._is_finished():
            self._finish_now()
        target = choose(fault, number, list(scene.plans.values()), scene.links(), scene.resting)
        if isinstance(target, str):
            self._progress.begin(fault, "")
            result.skipped = target
            return result
        if target.worker == self._finish_worker and fault.needs == faults.WORKER:
            self._finish_now()
        result.where = target.where
        self._progress.begin(fault, target.where)
        if fault.name == "late-joiner":
            return self._join_late(fault, result)
        plan = scene.plans[target.worker]
        result.lines = plan.lines
        if fault.name == "topic-mute":
            self._progress.phase("learning the topic's rhythm")
            self._learn_rhythm(self._ledger(target))
        if result.lines > 1 and fault.hits == faults.LINE:
            self._progress.phase("letting both lines run")
            scene.wait(lambda: time.monotonic() > self._disturbed_s + TOGETHER_S, 2 * TOGETHER_S)
        expectation = expect(fault, result.lines, self._timing(fault, target))
        concerned, jolted = self._concerned(fault, target)
        first_finding = len(scene.findings)
        beat = scene.beats.get(target.worker)
        marked = {subject: Judged(ledger, ledger.mark()) for subject, ledger in scene.ledgers.items()}
        if fault.name == "delisted":
            scene.expect_without(concerned)
        others = [one for subject, one in marked.items() if subject not in {*concerned, *jolted, *scene.resting}]
        hit = [marked[subject] for subject in concerned]
        shaken = [marked[subject] for subject in jolted]

        struck_ns = time.time_ns()
        seen = Seen()
        if fault.needs == faults.WORKER:
            self._strike_worker(fault, target, seen, expectation)
        else:
            for strike in fault.strikes:
                self._strike(strike, target)
        self._await_notice(fault, target, expectation, hit, seen)
        self._await_whole(fault, expectation, hit, seen)
        if fault.until == faults.SPENT and any(not one["hits"] for one in scene.venue.ask("faults")["active"]):
            result.skipped = "the occasion for it never came"
        scene.venue.strike("off")
        self._await_proof(fault, target, expectation, hit, beat, seen)
        seen.further += scene.findings[first_finding:]
        if fault.name == "delisted":
            self._rest_of_delisting(target, result, expectation, struck_ns, seen, hit, shaken, others)
            return result
        return judge(result, expectation, struck_ns, seen, concerned=hit, jolted=shaken, others=others)

    def _timing(self, fault: Fault, target: Target) -> Timing:
        plan = self.scene.plans[target.worker]
        settings = plan.connection
        pause_ns = 0
        if target.topic:
            ledger = self._ledger(target)
            now_ns = time.time_ns()
            since_ns = _first_live_ns(ledger) if fault.name == "topic-mute" else now_ns - LATELY_NS
            pause_ns = ledger.truth.longest_pause_ns(since_ns, now_ns) if ledger.truth is not None else 0
        return Timing(
            ping_interval_s=settings.ping_interval_s,
            pong_timeout_s=settings.pong_timeout_s,
            connect_timeout_s=settings.connect_timeout_s,
            reconnect_base_s=settings.reconnect_base_s,
            reconnect_cap_s=settings.reconnect_cap_s,
            topics=len(plan.topics),
            pause_s=pause_ns / 1e9,
        )

    def _ledger(self, target: Target) -> Ledger:
        return self.scene.ledgers[f"{self.scene.plans[target.worker].endpoint}.{target.topic}"]

    def _learn_rhythm(self, ledger: Ledger) -> None:
        self.scene.wait(lambda: time.time_ns() - _first_live_ns(ledger) > RHYTHM_S * 1e9, 2 * STALE_S)

    def _concerned(self, fault: Fault, target: Target) -> tuple[list[str], list[str]]:
        """Return the subjects that the fault hits, and those that suffer with them."""
        scene = self.scene
        own = [
            subject
            for subject, worker in scene.worker_of.items()
            if worker == target.worker and subject not in scene.resting
        ]
        if fault.needs == faults.WORKER:
            return own, []
        linked = [
            subject for subject in own if any(scene.ledgers[subject].topic in link.topics for link in target.links)
        ]
        if fault.needs == faults.SYMBOL:
            hit = [
                subject
                for subject in linked
                if symbol_of(target.product, scene.ledgers[subject].topic) == target.symbol
            ]
            return hit, [subject for subject in linked if subject not in hit]
        if fault.hits == faults.VENUE:
            return [
                subject
                for subject, ledger in scene.ledgers.items()
                if (ledger.product, ledger.topic) == (target.product, target.topic)
            ], []
        if fault.needs == faults.BOOK:
            return [self._ledger(target).subject], []
        return linked, []

    # What is done.

    def _strike(self, strike: Strike, target: Target) -> None:
        """Give one strike its aim; one of connections goes to each that is concerned."""
        place = {"product": target.product, "topic": target.topic, "symbol": target.symbol}
        links = target.links if "connection" in strike.aim else target.links[:1]
        for link in links:
            place["connection"] = str(link.number)
            self.scene.venue.strike(strike.kind, **{name: place[name] for name in strike.aim}, **strike.parameters)

    def _strike_worker(self, fault: Fault, target: Target, seen: Seen, expectation: Expectation) -> None:
        scene, worker = self.scene, target.worker
        pid, struck_ns = scene.beats[worker].pid, time.time_ns()
        patience_s = _patience_s(expectation.told_within_s)
        if fault.name == "worker-killed":
            os.kill(pid, signal.SIGKILL)
            if scene.wait(lambda: scene.strategy.gone_ns.get(worker, 0) >= struck_ns, patience_s):
                seen.told_ns = scene.strategy.gone_ns[worker]
        else:
            os.kill(pid, signal.SIGSTOP)
            if scene.wait(lambda: time.time_ns() - scene.beat_ns[worker] > BEATS_MISSED_NS, patience_s):
                seen.told_ns = time.time_ns()

    # What is waited for.

    def _await_notice(
        self, fault: Fault, target: Target, expectation: Expectation, hit: Sequence[Judged], seen: Seen
    ) -> None:
        """Wait until what is promised to be noticed was noticed; then switch off what goes on until then."""
        scene = self.scene
        patience_s = _patience_s(expectation.told_within_s)
        if expectation.told:
            self._progress.phase(f"waiting to be told: {', '.join(expectation.told)}")
            scene.wait(lambda: all(_was_told(one, expectation.told) for one in hit), patience_s)
        elif expectation.ends_connection and not expectation.new_epoch:
            self._progress.phase("waiting for the connection to be replaced")
            numbers = {link.number for link in target.links}
            scene.wait(lambda: numbers.isdisjoint(link.number for link in scene.links()), patience_s)
        elif not expectation.new_epoch:
            self._progress.phase("looking for what should not be seen")
            scene.rest(fault.lasts_s)
            if fault.until == faults.SPENT:
                scene.wait_until_quiet(patience_s)
        if expectation.passed:
            seen.passed = scene.wait(lambda: all(_has_passed(one, expectation.passed) for one in hit), patience_s)
        if fault.until == faults.SEEN:
            scene.venue.strike("off")
        if fault.name == "delisted":
            scene.venue.strike("relist", symbol=target.symbol)

    def _await_whole(self, fault: Fault, expectation: Expectation, hit: Sequence[Judged], seen: Seen) -> None:
        scene = self.scene
        self._progress.phase("waiting until all is whole")
        is_whole = scene.is_whole()
        patience_s = _patience_s(expectation.whole_within_s)
        if scene.wait(lambda: all(_has_successor(one, expectation) for one in hit) and is_whole(), patience_s):
            is_told = expectation.told or expectation.new_epoch
            lives = [one.told[-1].at_ns for one in hit if one.told and fault.name != "delisted"] if is_told else []
            seen.whole_ns = max(lives, default=time.time_ns())
        if expectation.told or expectation.ends_connection or fault.needs == faults.BOOK:
            self._disturbed_s = time.monotonic()

    def _await_proof(
        self,
        fault: Fault,
        target: Target,
        expectation: Expectation,
        hit: Sequence[Judged],
        beat: wire.Heartbeat | None,
        seen: Seen,
    ) -> None:
        """Wait for records and a heartbeat that prove it, then for the truth about them."""
        scene = self.scene
        self._progress.phase("comparing with what the venue sent")
        books = [one.ledger for one in hit if one.ledger.nature is Nature.BOOK and one.ledger.state == LIVE]
        begun = {book.subject: book.counts.records for book in books}
        now_ns = time.time_ns()
        scene.wait(
            lambda: all(book.counts.records >= begun[book.subject] + PROOF_RECORDS for book in books), PATIENCE_MORE_S
        )
        if expectation.told or expectation.new_epoch:
            # What is lost of events shows when the next one comes.
            events = {one.ledger: one.ledger.counts.records for one in hit if one.ledger.nature is Nature.EVENT}
            scene.wait(lambda: all(ledger.counts.records > count for ledger, count in events.items()), NEXT_EVENT_S)
        if expectation.counter and beat is not None and fault.needs != faults.WORKER:
            scene.wait(lambda: scene.beat_ns[target.worker] > now_ns, PATIENCE_MORE_S)
            counters = scene.beats[target.worker]
            seen.counted = getattr(counters, expectation.counter) > getattr(beat, expectation.counter)
        for book in books:
            scene.compare(book)
        scene.settle()

    # Faults of their own kind.

    def _rest_of_delisting(
        self,
        target: Target,
        result: Result,
        expectation: Expectation,
        struck_ns: int,
        seen: Seen,
        hit: Sequence[Judged],
        shaken: Sequence[Judged],
        others: Sequence[Judged],
    ) -> None:
        """Judge those that suffered with it now, and the symbol itself when it is accepted again."""
        rest = judge(
            Result(fault="", text=""), Expectation(), struck_ns, seen, concerned=(), jolted=shaken, others=others
        )
        result.broken = rest.broken
        result.note = "listed again at once; that it is accepted again is awaited while other faults go on"
        self._finish_worker = target.worker

        def finish() -> None:
            scene = self.scene
            self._progress.phase("waiting until the symbol is accepted again")
            later = Seen()
            if scene.wait(
                lambda: all(one.ledger.state == LIVE for one in hit), _patience_s(expectation.whole_within_s)
            ):
                later.whole_ns = max(map(_accepted_ns, hit))
            scene.rest(2.0)
            scene.settle()
            judge(result, expectation, struck_ns, later, concerned=hit)
            scene.expect_again(one.ledger.subject for one in hit)
            self._finish_worker = ""

        self._finish = finish
        self._is_finished = lambda: all(one.ledger.state == LIVE for one in hit)

    def _join_late(self, fault: Fault, result: Result) -> Result:
        """Have another strategy join, and hold what it gets against what the first one has."""
        del fault
        scene = self.scene
        present = {
            subject: ledger
            for subject, ledger in scene.ledgers.items()
            if subject not in scene.resting and ledger.state == LIVE
        }
        marked = [Judged(ledger, ledger.mark()) for ledger in present.values()]
        result.where = f"{len(present)} subjects"
        joined = {subject: Ledger(subject, ledger.product) for subject, ledger in present.items()}
        struck_ns = time.time_ns()
        newcomer = Strategy(
            {worker: plan.publish for worker, plan in scene.plans.items()}, [wire.prefix(subject) for subject in joined]
        )
        seen = Seen(whole_ns=struck_ns)
        try:
            waiting = set(joined)

            def has_joined() -> bool:
                for _, record in newcomer.receive(0.0):
                    joined[record.subject].take(record)
                waiting.difference_update(
                    [subject for subject in waiting if _is_in_step(joined[subject], present[subject])]
                )
                return not waiting

            within_s = JOIN_S + len(joined) / TOPICS_A_SECOND
            if scene.wait(has_joined, _patience_s(within_s)):
                seen.told_ns = time.time_ns()
            else:
                names = ", ".join(sorted(waiting)[:3])
                seen.further.append(Finding(promises.JOINED, f"{len(waiting)} subjects, as {names}, got none"))
            books = [ledger for ledger in joined.values() if ledger.nature is Nature.BOOK]
            scene.wait(
                lambda: has_joined() and all(book.counts.records >= PROOF_RECORDS for book in books), PATIENCE_MORE_S
            )
            for ledger in joined.values():
                scene.compare(ledger)
                seen.further += ledger.findings
        finally:
            newcomer.close()
        scene.settle()
        expectation = Expectation(told_within_s=within_s)
        return judge(result, expectation, struck_ns, seen, concerned=marked)


def _patience_s(promised_s: float) -> float:
    return PATIENCE * promised_s + PATIENCE_MORE_S


def _was_told(one: Judged, states: Iterable[str]) -> bool:
    said = iter([told.state for told in one.told])
    return all(state in said for state in states)


def _has_passed(one: Judged, what: str) -> bool:
    before, now = one.mark.counts, one.ledger.counts
    if what == "snapshot":
        return now.passed_snapshots > before.passed_snapshots
    return now.new_fields > before.new_fields


def _has_successor(one: Judged, expectation: Expectation) -> bool:
    return not expectation.new_epoch or one.ledger.epoch > one.mark.epoch


def _lives_ns(ledger: Ledger) -> list[int]:
    """Return when the subject became live in its present epoch."""
    return [told.at_ns for told in ledger.told if told.state == LIVE and told.epoch == ledger.epoch]


def _first_live_ns(ledger: Ledger) -> int:
    """Return since when its present worker has known it; now where it does not yet."""
    return next(iter(_lives_ns(ledger)), time.time_ns())


def _accepted_ns(one: Judged) -> int:
    """Return when a topic was live first after it was rejected."""
    since = next((at for at, told in enumerate(one.told) if told.state == REJECTED), 0)
    return next((told.at_ns for told in one.told[since:] if told.state == LIVE), time.time_ns())


def _is_in_step(joined: Ledger, present: Ledger) -> bool:
    """Say whether a newcomer has the status, and the image where one is due."""
    has_state = present.nature in (Nature.EVENT, Nature.DELTAS) or not present.counts.records
    return bool(joined.state) and (joined.in_step or has_state)
