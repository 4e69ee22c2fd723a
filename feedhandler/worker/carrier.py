"""The connections of a feed: places topics on them under the venue's limits, and keeps time for them.

A worker and the client in one process carry their topics with this.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from feedhandler.bybit.products import PRODUCTS, share_out
from feedhandler.config.model import Connection as Settings
from feedhandler.wire import LineFacts
from feedhandler.worker.connection import CLOSE_PATIENCE_S, Connection
from feedhandler.worker.diary import Diary
from feedhandler.worker.feed import Lane
from feedhandler.worker.lines import Lines
from feedhandler.worker.session import Session
from feedhandler.worker.state import Feed

TICK_S: Final = 0.05
"""How often resyncs and silence are looked at."""
FEED_TICKS: Final = 5
"""Silent topics are looked at every so many ticks."""
OWN_PAUSE_S: Final = 1.0
"""A tick this late means that the process itself stood still: what is in the socket must be read before judging."""


ROTATION_PAUSE_S: Final = 5.0
"""At least this long between two planned rotations of a worker."""
ROTATION_JITTER: Final = 0.25
"""Rotations come up to this part of the age early, so that connections opened together are not rotated together."""


class Bundle:
    """One set of topics, and its connections: one on every line."""

    def __init__(self, connections: list[Connection], lines: Lines | None) -> None:
        self.connections = connections
        self.lines = lines
        """The race between them; None where there is one line only."""

    @property
    def lane(self) -> Lane:
        """The first line's lane: topics are taken up and given up through it, for all."""
        return self.connections[0].lane

    @property
    def asked_for(self) -> list[str]:
        """Everything that counts against a connection's limits."""
        return self.connections[0].session.topics

    @property
    def gave_up(self) -> bool:
        """Whether no connection of it is dialled any more."""
        return all(connection.gave_up for connection in self.connections)


class Carrier:
    """Carries topics over as many connections as they need. Made in a running event loop."""

    def __init__(
        self,
        feed: Feed,
        *,
        url: str,
        settings: Settings,
        ended: Callable[["asyncio.Task[None]"], None],
        lines: int = 1,
        permit: Callable[[str], Awaitable[str]] | None = None,
        explain: Callable[[str], str] = str,
        sign: Callable[[int], bytes] | None = None,
    ) -> None:
        """Carry nothing yet.

        ``settings.canary`` is a topic or ``""``. ``ended`` is told when a connection's task ends. ``sign`` makes the
        ``auth`` requests of private connections (see `Connection`).
        """
        self.feed = feed
        self.bundles: list[Bundle] = []
        self._lines = lines
        self._product = PRODUCTS[feed.product]
        self._url = url
        self._settings = settings
        self._ended = ended
        self._permit = permit
        self._explain = explain
        self._sign = sign
        self._loop = asyncio.get_running_loop()
        self._rotate_s = self._loop.time() + ROTATION_PAUSE_S
        self._urged = False
        feed.urge = self._urge
        self._ticks = 0
        self._ticked_s = self._judge_from_s = self._loop.time()
        self._ticked_ns = time.time_ns()

    @property
    def connections(self) -> list[Connection]:
        """Every connection, whichever its line."""
        return [connection for bundle in self.bundles for connection in bundle.connections]

    # Topics come and go.

    def carry(self, topics: Iterable[str], epoch: int, blind_from_ns: int | None = None) -> None:
        """Take up those topics that are not carried yet, under ``epoch``."""
        new = [topic for topic in dict.fromkeys(topics) if topic not in self.feed.routes]
        for bundle in [bundle for bundle in self.bundles if not bundle.gave_up]:
            if new:
                asked_for = bundle.asked_for
                fitting = share_out(self._product, [*asked_for, *new])[0][len(asked_for) :]
                self._place(bundle, fitting, epoch, blind_from_ns)
                new = new[len(fitting) :]
        canary = self._settings.canary
        for fitting in share_out(self._product, new, reserved=[canary] if canary else []):
            self._place(self.open(), fitting, epoch, blind_from_ns)

    def release(self, topics: Iterable[str], reason: str) -> None:
        """Carry topics no more."""
        given_up = set(topics)
        now_ns = time.time_ns()
        for bundle in self.bundles:
            gone = [topic for topic in bundle.lane.routes if topic in given_up]
            if gone:
                for connection in bundle.connections:
                    connection.session.unwant(gone)
                self.feed.release(bundle.lane, gone, reason, now_ns)
                self._settle(bundle)

    def _place(self, bundle: Bundle, topics: list[str], epoch: int, blind_from_ns: int | None) -> None:
        if not topics:
            return
        for connection in bundle.connections:
            if connection.lane.canary and connection.lane.canary in topics:
                # Subscribed anew, as any topic is: its first record has to be a snapshot that was asked for.
                connection.session.unwant([connection.lane.canary])
        self.feed.carry(bundle.lane, topics, epoch, time.time_ns(), blind_from_ns)
        for connection in bundle.connections:
            connection.session.want(topics)
        self._settle(bundle)

    def _settle(self, bundle: Bundle) -> None:
        """Give each connection its canary, and let it ask for what it wants."""
        for connection in bundle.connections:
            self._provide_canary(connection)
            connection.step()

    def _provide_canary(self, connection: Connection) -> None:
        """A topic that somebody wants is no canary: it is published, and asked for in its own right."""
        lane = connection.lane
        lane.canary = "" if self._settings.canary in lane.routes else self._settings.canary
        if lane.canary:
            connection.session.want([lane.canary])

    def open(self) -> Bundle:
        """Dial further connections, one on every line; topics find their way to them."""
        number = len(self.bundles)
        if self._lines == 1:
            lane = Lane(self.feed, line=0, clock_s=self._loop.time)
            bundle = Bundle([self._dial(str(number), lane)], None)
        else:
            lines = Lines(self.feed, self._lines, self._loop.time)
            connections = [self._dial(f"{number}{chr(ord('a') + lane.line)}", lane) for lane in lines.lanes]
            bundle = Bundle(connections, lines)
        self.bundles.append(bundle)
        self._settle(bundle)
        return bundle

    def _dial(self, name: str, lane: Lane) -> Connection:
        session = Session(
            self._product,
            ping_interval_s=self._settings.ping_interval_s,
            pong_timeout_s=self._settings.pong_timeout_s,
            has_data=lane.has_data,
        )
        connection = Connection(
            f"{self.feed.worker}/{name}", self._url, self._settings, session, lane, self._permit, self._sign
        )
        connection.explain = self._explain
        connection.task.add_done_callback(self._ended)
        return connection

    # Time.

    def tick(self) -> None:
        """Judge silence, ask again for what does not come. Call it every `TICK_S`."""
        now_s, now_ns = self._loop.time(), time.time_ns()
        # Silence is measured by the Unix clock, which may also be set; the loop's clock tells both from real silence.
        late_s = now_s - self._ticked_s - TICK_S
        stepped_s = abs((now_ns - self._ticked_ns) / 1e9 - (now_s - self._ticked_s))
        self._ticked_s, self._ticked_ns = now_s, now_ns
        if max(late_s, stepped_s) > OWN_PAUSE_S:
            self._judge_from_s = now_s + OWN_PAUSE_S
        judge = now_s >= self._judge_from_s
        self._ticks += 1
        if self._ticks % FEED_TICKS == 0:
            self.feed.tick(now_ns, now_s, judge=judge)
        self.feed.inspect(now_ns, now_s)
        for bundle in self.bundles:
            if bundle.lines is not None:
                bundle.lines.tick(now_ns, now_s, judge=judge)
        for connection in self.connections:
            if judge and connection.lane.is_mute(now_ns):
                # Pongs alone never prove data: a connection that brings nothing is opened anew.
                connection.lane.count("mutes")
                connection.give_up(connection.lane.mute(now_ns))
            connection.look()
        self._resync()
        if self._settings.max_age_s and now_s >= self._rotate_s:
            self._rotate(now_s)

    def _resync(self) -> None:
        """Ask again for the topics that are due."""
        self._urged = False
        for connection in self.connections:
            due = self.feed.resyncs_due(connection.lane, self._loop.time())
            for topic in due:
                connection.session.resync(topic)
            if due:
                connection.step()

    def _urge(self) -> None:
        if not self._urged:
            self._urged = True
            self._loop.call_soon(self._resync)

    def _rotate(self, now_s: float) -> None:
        """Open one old connection anew, where another line carries all of its topics meanwhile."""
        for bundle in self.bundles:
            for connection in bundle.connections:
                age_s = self._settings.max_age_s * (1 - ROTATION_JITTER * random.random())  # noqa: S311 - no secret
                if (
                    bundle.lines is not None
                    and connection.lane.up
                    and now_s - connection.opened_s > age_s
                    and bundle.lines.spares(connection.lane)
                ):
                    connection.lane.count("rotations")
                    connection.give_up("planned rotation")
                    self._rotate_s = now_s + min(ROTATION_PAUSE_S, self._settings.max_age_s / 4)
                    return

    def tell(self, diary: Diary) -> tuple[list[str], list[tuple[str, str, str]]]:
        """Write down what happened since the last call; return the connections' news and the topics' changes."""
        told: list[str] = []
        for connection in self.connections:
            news, connection.news = connection.news, []
            diary.news(connection.name, news)
            told += news
        for bundle in self.bundles:
            if bundle.lines is not None:
                news, bundle.lines.news = bundle.lines.news, []
                diary.news(self.feed.worker, news)
                told += news
        changes, self.feed.changes = self.feed.changes, []
        diary.changes(changes)
        strange, self.feed.malformed = self.feed.malformed, []
        diary.strange(strange, self._ticked_s)
        return told, changes

    def facts(self) -> list[LineFacts]:
        """Return how each line of each set of topics does; empty where there is one line only."""
        return [facts for bundle in self.bundles if bundle.lines is not None for facts in bundle.lines.facts()]

    async def close(self, patience_s: float = CLOSE_PATIENCE_S) -> None:
        """Close every connection in order, as far as the venue answers in time."""
        await asyncio.gather(*(connection.close(patience_s) for connection in self.connections))
