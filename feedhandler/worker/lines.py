"""The lines of one set of topics, and the race of each topic over them. Pure.

A set of topics has one connection on every line. Its lanes share the topics' routes, so what happens to one line alone
is not seen by anybody: the first copy of a record is published, whichever line brings it.
"""

from collections.abc import Callable
from typing import Final

from feedhandler.bybit.products import Nature
from feedhandler.wire import LineFacts
from feedhandler.worker.book_race import BookCopy, BookRace
from feedhandler.worker.feed import Lane
from feedhandler.worker.paired import PairedLane
from feedhandler.worker.race import LIVELY_NS, Race
from feedhandler.worker.route import Hole, Route
from feedhandler.worker.standby import Standby
from feedhandler.worker.state import Feed
from feedhandler.worker.trade_race import TradeRace

TURNS: Final = 20
"""Copies are judged in so many parts, one a tick: judging all at once would hold the data up."""


class Lines:
    """One set of topics on ``count`` lines."""

    def __init__(self, feed: Feed, count: int, clock_s: Callable[[], float], canary: str = "") -> None:
        self.feed = feed
        self.races: dict[str, Race] = {}
        self.pending: set[Race] = set()
        """Races with records that wait."""
        self.news: list[str] = []
        """What to tell a person, since the last look."""
        self._turn = 0
        self.lanes = [PairedLane(feed, line, clock_s, canary, self) for line in range(count)]
        """One for each connection, by line."""

    def add(self, route: Route) -> None:
        """Carry a topic on every line."""
        race: Race
        if route.nature in (Nature.BOOK, Nature.DELTAS):
            race = BookRace(self, route)
        elif route.topic.startswith("publicTrade."):
            race = TradeRace(self, route)
        else:
            race = Standby(self, route)
        self._run(race)

    def _run(self, race: Race) -> None:
        topic = race.route.topic
        self.races[topic] = race
        for copy in race.copies:
            copy.lane.routes[topic] = race.route
            copy.lane.copies[topic] = copy
            copy.lane.takes[topic] = copy.take

    def remove(self, topic: str) -> None:
        """Carry a topic no more."""
        self.pending.discard(self.races.pop(topic))
        for lane in self.lanes:
            del lane.routes[topic], lane.copies[topic], lane.takes[topic]

    def stand_by(self, race: BookRace, stranger: BookCopy, reason: str, now_ns: int) -> None:
        """The lines do not carry the same book: from now on, and for good, one of them is believed at a time."""
        self.pending.discard(race)
        standby = Standby(self, race.route, f"hot standby: {reason}")
        for copy, old in zip(standby.copies, race.copies, strict=True):
            copy.follow(old)
        self._run(standby)
        now_s = stranger.lane.clock_s()
        # What was published may be of both: each line begins anew.
        standby.asking = next((copy for copy in standby.copies if copy.lane is not stranger.lane and copy.usable), None)
        standby.copy(stranger.lane).due_s = now_s
        self.feed.resync(race.route, standby.reason, now_ns, now_s, Hole(self.feed.known_ns(race.route)))

    def tick(self, now_ns: int, now_s: float, *, judge: bool = True) -> None:
        """Look after what waits, every 50 ms or so. ``judge`` is False where silence may be our own."""
        for lane in self.lanes:
            if now_ns - lane.last_ns > LIVELY_NS or not judge:
                lane.lively_since_s = now_s
        races = list(self.races.values())[self._turn :: TURNS]
        self._turn = (self._turn + 1) % TURNS
        if judge:
            for race in list(self.pending):
                race.expire(now_ns)
            for race in races:
                race.judge(now_ns, now_s)
        else:
            for race in self.races.values():
                for copy in race.copies:
                    copy.begin_anew(now_s)

    def spares(self, lane: Lane) -> bool:
        """Say whether nothing would be missed without a lane: others carry every live topic."""
        return all(
            any(copy.carries for copy in race.copies if copy.lane is not lane)
            for race in self.races.values()
            if race.route.live
        )

    def facts(self) -> list[LineFacts]:
        """Return how each line does."""
        return [
            LineFacts(
                line=lane.line,
                up=lane.up,
                wins=lane.wins,
                second_copies=lane.second_copies,
                lag_us_mean=lane.lag_sum_ns / lane.lags / 1000 if lane.lags else 0.0,
                lag_us_max=lane.lag_max_ns / 1000,
            )
            for lane in self.lanes
        ]
