"""The connections of a feed: places topics on them under the venue's limits, and keeps time for them.

A worker and the client in one process carry their topics with this.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from feedhandler.bybit.products import PRODUCTS, share_out
from feedhandler.config.model import Connection as Settings
from feedhandler.worker.connection import Connection
from feedhandler.worker.diary import Diary
from feedhandler.worker.feed import Feed, Lane
from feedhandler.worker.session import Session

TICK_S: Final = 0.05
"""How often resyncs and silence are looked at."""
FEED_TICKS: Final = 5
"""Silent topics are looked at every so many ticks."""
OWN_PAUSE_S: Final = 1.0
"""A tick this late means that the process itself stood still: what is in the socket must be read before judging."""


class Carrier:
    """Carries topics over as many connections as they need. Made in a running event loop."""

    def __init__(
        self,
        feed: Feed,
        *,
        url: str,
        settings: Settings,
        ended: Callable[["asyncio.Task[None]"], None],
        permit: Callable[[str], Awaitable[str]] | None = None,
        explain: Callable[[str], str] = str,
    ) -> None:
        """``settings.canary`` is a topic or ``""``. ``ended`` is told when a connection's task ends."""
        self.feed = feed
        self.connections: list[Connection] = []
        self._product = PRODUCTS[feed.product]
        self._url = url
        self._settings = settings
        self._ended = ended
        self._permit = permit
        self._explain = explain
        self._loop = asyncio.get_running_loop()
        self._ticks = 0
        self._ticked_s = self._judge_from_s = self._loop.time()
        self._ticked_ns = time.time_ns()

    # Topics come and go.

    def carry(self, topics: Iterable[str], epoch: int, blind_from_ns: int | None = None) -> None:
        """Take up those topics that are not carried yet, under ``epoch``."""
        new = [topic for topic in dict.fromkeys(topics) if topic not in self.feed.routes]
        for connection in [connection for connection in self.connections if not connection.gave_up]:
            if new:
                carried = connection.session.topics
                fitting = share_out(self._product, [*carried, *new])[0][len(carried) :]
                self._place(connection, fitting, epoch, blind_from_ns)
                new = new[len(fitting) :]
        canary = self._settings.canary
        for fitting in share_out(self._product, new, reserved=[canary] if canary else []):
            self._place(self.dial(), fitting, epoch, blind_from_ns)

    def release(self, topics: Iterable[str], reason: str) -> None:
        """Carry topics no more."""
        given_up = set(topics)
        now_ns = time.time_ns()
        for connection in self.connections:
            gone = [topic for topic in connection.lane.routes if topic in given_up]
            if gone:
                connection.session.unwant(gone)
                self.feed.release(connection.lane, gone, reason, now_ns)
                self._provide_canary(connection)
                connection.step()

    def _place(self, connection: Connection, topics: list[str], epoch: int, blind_from_ns: int | None) -> None:
        if not topics:
            return
        if connection.lane.canary in topics:
            # Subscribed anew, as any topic is: its first record has to be a snapshot that was asked for.
            connection.session.unwant([connection.lane.canary])
        self.feed.carry(connection.lane, topics, epoch, time.time_ns(), blind_from_ns)
        connection.session.want(topics)
        self._provide_canary(connection)
        connection.step()

    def _provide_canary(self, connection: Connection) -> None:
        """A connection with a level-1 book of its own needs no other proof of life."""
        lane = connection.lane
        canary = "" if any(topic.startswith("orderbook.1.") for topic in lane.routes) else self._settings.canary
        if canary == lane.canary:
            return
        if lane.canary and lane.canary not in lane.routes:
            connection.session.unwant([lane.canary])
        if canary and canary not in lane.routes:
            connection.session.want([canary])
        lane.canary = canary

    def dial(self) -> Connection:
        """Open a further connection; topics find their way to it."""
        lane = Lane(self.feed, line=0, clock_s=self._loop.time)
        session = Session(
            self._product,
            ping_interval_s=self._settings.ping_interval_s,
            pong_timeout_s=self._settings.pong_timeout_s,
            has_data=lane.has_data,
        )
        name = f"{self.feed.worker}/{len(self.connections)}"
        connection = Connection(name, self._url, self._settings, session, lane, self._permit)
        connection.explain = self._explain
        connection.task.add_done_callback(self._ended)
        self.connections.append(connection)
        self._provide_canary(connection)
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
        for connection in self.connections:
            if judge and connection.lane.is_mute(now_ns):
                # Pongs alone never prove data: a connection that brings nothing is opened anew.
                connection.lane.count("mutes")
                connection.give_up(connection.lane.mute(now_ns))
            due = self.feed.resyncs_due(connection.lane, now_s)
            for topic in due:
                connection.session.resync(topic)
            if due:
                connection.step()

    def tell(self, diary: Diary) -> tuple[list[str], list[tuple[str, str, str]]]:
        """Write down what happened since the last call; return the connections' news and the topics' changes."""
        told: list[str] = []
        for connection in self.connections:
            news, connection.news = connection.news, []
            diary.news(connection.name, news)
            told += news
        changes, self.feed.changes = self.feed.changes, []
        diary.changes(changes)
        strange, self.feed.malformed = self.feed.malformed, []
        diary.strange(strange, self._ticked_s)
        return told, changes

    async def close(self) -> None:
        """Close every connection in order, as far as the venue answers in time."""
        await asyncio.gather(*(connection.close() for connection in self.connections))
