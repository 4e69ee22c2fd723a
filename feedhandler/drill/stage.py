"""Sets a drill up and takes it down: a directory of its own, the venue, the feed, the strategy; nothing is left."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from feedhandler.config.model import Config
from feedhandler.config.plan import plan
from feedhandler.drill import settings
from feedhandler.drill.course import Course, Progress
from feedhandler.drill.faults import Fault
from feedhandler.drill.process import FeedProcess
from feedhandler.drill.scene import Scene
from feedhandler.drill.scoring import Result
from feedhandler.drill.strategy import Strategy
from feedhandler.drill.targets import symbol_of
from feedhandler.drill.venue import Venue


class Outcome(msgspec.Struct):
    """What came of a drill."""

    results: list[Result]
    notes: list[str]
    """What was otherwise than the configuration says, and where to read more."""
    log: Path | None = None
    """The feed's log, kept where a promise was broken."""


def drill(
    config: Config,
    chosen: Sequence[Fault],
    progress: Progress,
    *,
    keeps_going: bool = False,
    seed: int = 1,
    hear: Callable[[Mapping[str, Sequence[str]]], Strategy] = Strategy,
) -> Outcome:
    """Drill a configuration; raise `FeedError` where the drill itself cannot go on.

    ``hear`` makes the strategy from the addresses of each worker.
    """
    topics: dict[str, list[str]] = {}
    for one in plan(config, Path()):
        if one.endpoint in config.endpoints:
            topics.setdefault(one.product, []).extend(one.topics)
    symbols = sorted({symbol_of(product, topic) for product, some in topics.items() for topic in some} - {""})
    rate = settings.rate(sum(map(len, topics.values())))
    with ExitStack() as stack:
        directory = stack.enter_context(_directory())
        progress.phase("starting the simulated Bybit")
        venue = Venue(directory, topics, symbols=symbols, seed=seed, rate=rate)
        _at_the_end(stack, venue.close)
        turned, notes = settings.turned(config, venue.host)
        if rate < 1:
            notes.append(f"so many topics: the simulated markets have {rate:.0%} of a real one's activity")
        feed = FeedProcess(directory, turned)
        plans = plan(turned, feed.runtime)
        strategy = hear({one.worker: one.publish for one in plans})
        _at_the_end(stack, strategy.close)
        _at_the_end(stack, feed.stop)
        progress.phase("starting the feed")
        scene = Scene(plans, venue, feed, strategy, progress.tick)
        scene.start()
        course = Course(scene, progress)
        course.run(chosen, keeps_going=keeps_going)
        if scene.refused:
            notes.append(f"not known to the simulated Bybit, and so not judged: {', '.join(sorted(scene.refused))}")
        is_broken = not all(result.is_kept for result in course.results)
        return Outcome(course.results, notes, _kept(feed.log) if is_broken else None)


def _at_the_end(stack: ExitStack, close: Callable[[], None]) -> None:
    def close_undisturbed() -> None:
        with _undisturbed():
            close()

    stack.callback(close_undisturbed)


@contextmanager
def _directory() -> Iterator[Path]:
    """Make a directory for the drill alone, and leave nothing of it."""
    path = Path(tempfile.mkdtemp(prefix="feedhandler-drill-"))
    try:
        yield path
    finally:
        with _undisturbed():
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Clean up to the end, however often somebody presses Ctrl-C."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _kept(log: Path) -> Path:
    """Save the feed's log from the end of the drill's directory."""
    kept = Path(tempfile.gettempdir()) / f"feedhandler-drill-{os.getpid()}.log"
    shutil.copyfile(log, kept)
    return kept
