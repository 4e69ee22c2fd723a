"""The course of a drill: one fault after the other, each injected, noticed, recovered from, and judged."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from feedhandler.drill import faults
from feedhandler.drill.encounter import Encounter
from feedhandler.drill.expectation import STALE_S, Expectation, Timing, expect
from feedhandler.drill.faults import Fault
from feedhandler.drill.ledger import Ledger
from feedhandler.drill.newcomer import join
from feedhandler.drill.reckoning import TAIL_NS, TRANSIT_NS
from feedhandler.drill.scene import PATIENCE_MORE_S, Scene, patience_s
from feedhandler.drill.scoring import Judged, Result, Seen, judge
from feedhandler.drill.targets import Target, choose, symbol_of
from feedhandler.wire import LIVE, REJECTED

RHYTHM_S: Final = 8.0
"""How long a lively topic takes to have shown its rhythm."""
TOGETHER_S: Final = 2.0
"""Before one line may fail the other must be whole: it has been subscribed for long enough to be known to be in step."""
TAIL_S: Final = TAIL_NS / 1e9 + 0.5
NOT_AWAITED: Final = "listed again at once; that it is accepted again was not awaited"
AWAITED: Final = "listed again at once; that it is accepted again was awaited while other faults went on"
LATELY_NS: Final = 15_000_000_000


class Progress(Protocol):
    """What a person sees meanwhile."""

    def begin(self, fault: Fault, where: str) -> None:
        """Say that a fault is about to be injected."""

    def phase(self, text: str) -> None:
        """Say what is being waited for."""

    def tick(self) -> None:
        """Take note that time passes; called many times a second."""

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
        self._found: Counter[str] = Counter()
        """How many findings of each subject are some fault's by now; of the scene's own under ``""``."""
        self._disturbed_s = time.monotonic()
        """When a line was mended last, by the monotonic clock."""

    def run(self, chosen: Sequence[Fault], *, keeps_going: bool) -> None:
        """Drill the faults; end with the first broken promise unless told otherwise."""
        for number, fault in enumerate(chosen):
            result = self._drill(fault, number)
            self.results.append(result)
            self._progress.end(result)
            if not result.is_kept and not keeps_going:
                return
            self._heal()
        self._finish_now()
        self._look_back()

    def _look_back(self) -> None:
        """Find what shows only when some time has passed; it is nobody's, and found all the same."""
        scene = self.scene
        if scene.wait(self.scene.is_whole(), PATIENCE_MORE_S):
            scene.rest(TAIL_S + TRANSIT_NS / 1e9)
            scene.settle()
        subjects = [subject for subject in scene.ledgers if subject not in scene.resting]
        left = [finding for one in self._marked(subjects) for finding in one.ledger.findings[one.mark.findings :]]
        left += scene.findings[self._found[""] :]
        if left:
            self.results.append(Result(fault="afterwards", text="what showed when all was over", broken=left))
            self._progress.end(self.results[-1])

    def _marked(self, subjects: Iterable[str]) -> list[Judged]:
        """Return where these stand now; what was found since the last fault is the next one's."""
        ledgers = [self.scene.ledgers[subject] for subject in subjects]
        return [Judged(ledger, ledger.mark()._replace(findings=self._found[ledger.subject])) for ledger in ledgers]

    def _judge(
        self,
        result: Result,
        expectation: Expectation,
        struck_ns: int,
        seen: Seen,
        *,
        concerned: Sequence[Judged] = (),
        jolted: Sequence[Judged] = (),
        others: Sequence[Judged] = (),
    ) -> Result:
        seen.further += self.scene.findings[self._found[""] :]
        self._found[""] = len(self.scene.findings)
        judge(result, expectation, struck_ns, seen, concerned=concerned, jolted=jolted, others=others)
        for one in (*concerned, *jolted, *others):
            self._found[one.ledger.subject] = len(one.ledger.findings)
        return result

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
            self._progress.phase("letting a newcomer join")
            return self._join_late(result)
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
        marked = dict(zip(scene.ledgers, self._marked(scene.ledgers), strict=True))
        if fault.needs == faults.SYMBOL:
            scene.expect_without(concerned)
        others = [one for subject, one in marked.items() if subject not in {*concerned, *jolted, *scene.resting}]
        hit = [marked[subject] for subject in concerned]
        shaken = [marked[subject] for subject in jolted]

        encounter = Encounter(scene, self._progress.phase, fault, target, expectation, hit)
        encounter.run()
        if encounter.has_disturbed:
            self._disturbed_s = time.monotonic()
        result.skipped = encounter.skipped
        if fault.needs == faults.SYMBOL:
            self._await_acceptance(encounter, result, shaken, others)
            return result
        struck_ns, seen = encounter.struck_ns, encounter.seen
        return self._judge(result, expectation, struck_ns, seen, concerned=hit, jolted=shaken, others=others)

    def _join_late(self, result: Result) -> Result:
        """Have another strategy join."""
        scene = self.scene
        present = [
            subject
            for subject, ledger in scene.ledgers.items()
            if subject not in scene.resting and ledger.state == LIVE
        ]
        result.where = f"{len(present)} subjects"
        marked = self._marked(present)
        struck_ns = time.time_ns()
        expectation, seen = join(scene, present)
        return self._judge(result, expectation, struck_ns, seen, concerned=marked)

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
        """Let it flow for as long as its worker needs to know its rhythm."""
        self.scene.wait(lambda: time.time_ns() - max(_lives_ns(ledger), default=0) > RHYTHM_S * 1e9, 2 * STALE_S)

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

    def _await_acceptance(
        self, encounter: Encounter, result: Result, shaken: Sequence[Judged], others: Sequence[Judged]
    ) -> None:
        """Judge those that suffered with a symbol now, and the symbol itself when it is accepted again."""
        struck_ns, hit = encounter.struck_ns, encounter.hit
        rest = Result(fault="", text="")
        self._judge(rest, Expectation(), struck_ns, encounter.seen, jolted=shaken, others=others)
        result.broken = rest.broken
        result.note = NOT_AWAITED
        self._finish_worker = encounter.target.worker

        def finish() -> None:
            scene = self.scene
            self._progress.phase("waiting until the symbol is accepted again")
            later = Seen()
            waited_s = patience_s(encounter.expectation.whole_within_s)
            if scene.wait(lambda: all(one.ledger.state == LIVE for one in hit), waited_s):
                later.whole_ns = max(map(_accepted_ns, hit))
            scene.rest(TAIL_S)
            scene.settle()
            self._judge(result, encounter.expectation, struck_ns, later, concerned=hit)
            scene.expect_again(one.ledger.subject for one in hit)
            result.note = AWAITED
            self._finish_worker = ""

        self._finish = finish
        self._is_finished = lambda: all(one.ledger.state == LIVE for one in hit)


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
