"""A running feed that fault after fault is tried on: venue, feed, strategy and witness, and the judges of what is seen."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from feedhandler import wire
from feedhandler.sim.faults import DATA, KINDS, SOCKET
from support.feed import PATIENCE_S, Feed, wait_until
from support.ground_truth import Witness
from support.onlooker import Onlooker, Sight
from support.simulator import Simulator
from support.strategy import unsaid
from support.verdict import Court, Wrong

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
BOOKS = tuple(f"linear.orderbook.50.{symbol}" for symbol in SYMBOLS)
TRADES = "linear.publicTrade.BTCUSDT"
TICKER = "linear.tickers.BTCUSDT"
SUBJECTS = (*BOOKS, TRADES, TICKER)
HEARTBEAT = "linear.heartbeat.linear"
CONFIG = """
network = "sim"
[connection]
reconnect_base_s = 0.1
{connection}
[endpoints.linear]
product = "linear"
url = "{url}"
topics = [{topics}]
{more}
"""


class Stage:
    """Everything live, seen from the start; a context manager."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        connection: str = "",
        more: str = "",
        url: Callable[[int], str] | None = None,
        subjects: tuple[str, ...] = SUBJECTS,
        unkept: tuple[str, ...] = (),
    ) -> None:
        """Set up in ``directory``.

        ``options`` are the simulator's; ``connection`` and ``more`` further lines of the configuration, in which
        ``{venue}`` is where the venue is; ``url`` returns that of the feed where it does not go to the venue itself, and
        is given the venue's port. ``unkept`` are further books that the feed carries and the strategy only receives.
        """
        self.directory = directory
        self.subjects = subjects
        self.unkept = unkept
        self.books = tuple(subject for subject in subjects if ".orderbook." in subject)
        self._options = options or ("--rate", "3")
        self._config = connection, more, url
        self._turns = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            record = self.directory / "sent"
            self.venue = stack.enter_context(Simulator(*self._options, "--truth", "--record", str(record)))
            topics = [subject.partition(".")[2] for subject in self.subjects]
            self.witness = Witness(self.venue, record, "linear", topics)
            stack.callback(self.witness.close)
            connection, more, url = self._config
            config = CONFIG.format(
                url=url(self.venue.port) if url else self.venue.url_of("linear"),
                topics=", ".join(f'"{subject.partition(".")[2]}"' for subject in (*self.subjects, *self.unkept)),
                connection=connection,
                more=more.format(venue=self.venue.url),
            )
            self.feed = stack.enter_context(Feed(self.directory, config))
            self.strategy = stack.enter_context(self.onlooker())
            self.court = self.new_court()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def onlooker(self) -> Onlooker:
        """Return a strategy that follows everything from now on."""
        return Onlooker(*self.subjects, *self.unkept, HEARTBEAT, books=self.books, runtime=self.feed.runtime)

    def new_court(self) -> Court:
        """Return judges for one strategy's stream."""
        return Court({f"linear.{topic}": truth for topic, truth in self.witness.topics.items()})

    def next_book(self) -> str:
        """Return a book for a fault: by turns, for one that is resynced again and again is asked for ever later."""
        self._turns += 1
        return self.books[self._turns % len(self.books)]

    def links(self) -> list[int]:
        """Return the ids of the feed's connections that carry topics, at the venue."""
        return [
            one["id"]
            for one in self.venue.stats()["connections"]
            if one["product"] == "linear" and one["id"] != self.witness.connection and one["topics"]
        ]

    def states(self) -> dict[str, str]:
        """Return what the strategy was told last of each subject."""
        told: dict[str, str] = {}
        for one in reversed(self.strategy.seen):
            if one.record.kind == wire.STATUS and one.record.subject not in told:
                told[one.record.subject] = one.status.state
        return told

    def wait_whole(self, timeout_s: float = PATIENCE_S, but: tuple[str, ...] = ()) -> None:
        """Wait until every subject ``but`` these is live, and the books move."""
        due = {*self.subjects, *self.unkept}.difference(but)

        def whole() -> bool:
            states = self.states()
            return all(states.get(subject) == wire.LIVE for subject in due)

        wait_until(whole, "all live", timeout_s)
        self.wait_more(3, but)

    def wait_more(self, count: int, but: tuple[str, ...] = ()) -> None:
        """Wait until each book ``but`` these has moved on by ``count`` records."""
        start = len(self.strategy.seen)
        for subject in self.books:
            if subject not in but:
                wait_until(
                    lambda subject=subject: len(data(self.strategy.of(subject, start))) >= count,  # type: ignore[misc]  # mypy infers no lambda with a default
                    f"{count} more records of {subject}",
                )

    def settle(self, strategy: Onlooker | None = None, court: Court | None = None) -> Court:
        """Hear everything sent until now, by the venue and to the strategy, and judge it."""
        now_ns = time.time_ns()
        seen = (strategy or self.strategy).seen

        def known() -> bool:
            self.witness.read()
            return self.witness.known_ns > now_ns

        wait_until(known, "the venue's record")
        wait_until(lambda: any(one.record.published_ns > now_ns for one in seen[-1:]), "a record after that")
        court = court or self.court
        court.hear(seen, now_ns)
        return court

    def beat(self, after_ns: int = 0) -> wire.Heartbeat:
        """Return the worker's first heartbeat after a time, or its last."""

        def found() -> wire.Heartbeat | None:
            for one in reversed(self.strategy.seen):
                if one.record.kind == wire.HEARTBEAT and one.record.published_ns > after_ns:
                    beat: wire.Heartbeat = one.record.decode()
                    return beat
            return None

        beat: wire.Heartbeat = wait_until(found, "a heartbeat")
        return beat


RHYTHM_S = 8.0
"""How long a lively topic takes to have shown its rhythm, with some to spare."""


class Act:
    """One fault, and what came of it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.book = stage.next_book()
        """The book that a fault of one topic hits."""
        self.others = tuple(subject for subject in stage.subjects if subject != self.book)
        self.start = len(stage.strategy.seen)
        self.injected_ns = 0
        self._checked = stage.court.checked
        self._beat = stage.beat()

    @property
    def topic(self) -> str:
        """The venue's name for the book."""
        return self.book.partition(".")[2]

    def inject(self, kind: str, **where: object) -> None:
        """Switch a fault on: what hits sockets or data hits the feed's connections, and never the witness's."""
        self.injected_ns = self.injected_ns or time.time_ns()
        if KINDS[kind].where in (SOCKET, DATA) and "connection" not in where:
            for link in self.stage.links():
                self.stage.venue.fault(kind, connection=link, **where)
        else:
            self.stage.venue.fault(kind, **where)

    def told(self, subject: str) -> list[Sight]:
        """Return the new statuses of a subject since the fault."""
        found = self.stage.strategy.of(subject, self.start)
        return [one for one in found if one.record.kind == wire.STATUS and not one.record.is_repeated]

    def states(self, subject: str) -> list[str]:
        """Return the new states of a subject since the fault."""
        return [one.status.state for one in self.told(subject)]

    def data(self, subject: str) -> list[Sight]:
        """Return the venue's records of a subject since the fault."""
        return data(self.stage.strategy.of(subject, self.start))

    def await_told(
        self, subject: str, *states: str, within_s: float, reason: str = "", patience_s: float = PATIENCE_S
    ) -> Sight:
        """Wait until the strategy was told these states, in this order; return the last.

        That one must have been told within a time after the fault, and for this ``reason``.
        """

        def found() -> Sight | None:
            left = list(states)
            for one in self.told(subject):
                if one.status.state == left[0] and (len(left) > 1 or reason in one.status.reason):
                    if len(left) == 1:
                        return one
                    left.pop(0)
            return None

        try:
            last: Sight = wait_until(found, f"{', '.join(states)} of {subject}", patience_s)
        except AssertionError as error:
            told = [(one.status.state, one.status.reason) for one in self.told(subject)]
            raise AssertionError(f"{error}; there were {told}") from None
        after_s = (last.at_ns - self.injected_ns) / 1e9
        assert after_s <= within_s, f"{subject} {states[-1]} after {after_s:.2f} s"
        return last

    def await_each_told(self, *states: str, within_s: float, reason: str = "") -> None:
        """Wait until the strategy was told so of every subject."""
        for subject in self.stage.subjects:
            self.await_told(subject, *states, within_s=within_s, reason=reason)

    def await_rhythm(self) -> None:
        """Wait until the book has been lively for long enough that its own rhythm is known, and its silence suspicious."""

        def lively_s() -> float:
            records = [one.record for one in self.stage.strategy.of(self.book) if one.record.kind == wire.DELTA]
            return (records[-1].received_ns - records[0].received_ns) / 1e9 if records else 0.0

        wait_until(lambda: lively_s() > RHYTHM_S, f"{RHYTHM_S:g} s of {self.book}", PATIENCE_S)

    def await_flow(self, count: int = 10) -> None:
        """Wait for more of every book than was on its way."""
        self.stage.wait_more(count)

    def await_spent(self) -> None:
        """Wait until everything switched on has hit as often as it shall, and what it hit has gone by."""
        wait_until(lambda: not self.stage.venue.get("/sim/faults")["active"], "the faults spent")
        self.await_flow(3)

    def counted(self, name: str) -> int:
        """Return how much a counter of the worker has grown since the fault."""
        return int(getattr(self.stage.beat(time.time_ns()), name)) - int(getattr(self._beat, name))

    def assert_untouched(self, *subjects: str) -> None:
        """Nothing was told of these, of all where none is named."""
        chosen = subjects or self.stage.subjects
        assert {subject: self.states(subject) for subject in chosen} == {subject: [] for subject in chosen}

    def assert_kept(self) -> None:
        """Every state called live was the venue's; nothing was lost unsaid, nothing came twice, all is flagged."""
        assert self.judged() == []

    def judged(self) -> list[Wrong]:
        """Assert the same but for states that were not the venue's, which are returned."""
        court = self.stage.settle()
        assert court.taken_findings() == []
        assert court.checked > self._checked
        assert unsaid(self.stage.strategy.seen) == []
        assert all(one.record.is_simulated for one in self.stage.strategy.seen if one.record.kind <= wire.STATUS)
        return court.taken_wrong()


def data(seen: list[Sight]) -> list[Sight]:
    """Return the records of venue data."""
    return [one for one in seen if one.record.kind <= wire.UPDATE]


def acting(stage: Stage) -> Iterator[Act]:
    """Have a fault tried on a stage that is whole, and make it whole again."""
    stage.wait_whole()
    yield Act(stage)
    stage.venue.fault("off")
    stage.wait_whole()
    court = stage.settle()
    court.taken_findings()  # those of a test that failed
    court.taken_wrong()
