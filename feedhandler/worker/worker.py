"""One endpoint's share of topics: wires connections, feed and publisher together, and keeps time for them."""

import asyncio
import gc
import logging
import os
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from feedhandler import control, wire
from feedhandler.bybit import maintenance
from feedhandler.bybit.maintenance import Calendar
from feedhandler.bybit.products import PRODUCTS, STATUS_TOPIC, args_characters, share_out
from feedhandler.config.model import WorkerPlan
from feedhandler.worker.connection import Connection
from feedhandler.worker.diary import LOGGED_RAW_BYTES, Diary
from feedhandler.worker.feed import Feed, Lane
from feedhandler.worker.link import Link
from feedhandler.worker.newcomers import Newcomers
from feedhandler.worker.publisher import Publisher
from feedhandler.worker.session import Session

TICK_S: Final = 0.05
"""How often subscriptions, resyncs and silence are looked at: an XPUB's own signal is lost in a burst of sends."""
FEED_TICKS: Final = 5
"""Silence is looked at every so many ticks."""
OWN_PAUSE_S: Final = 1.0
"""A tick this late means that the process itself stood still: what is in the socket must be read before judging."""
BEAT_S: Final = 1.0


class Worker:
    """One endpoint's share of topics: connections in, records out."""

    def __init__(self, plan: WorkerPlan, logger: logging.Logger) -> None:
        self.plan = plan
        self.logger = logger
        self._loop = asyncio.get_running_loop()
        self._publisher = Publisher(plan.publish, send_high_water_mark=plan.send_high_water_mark, cpu=plan.cpu)
        self._feed = Feed(
            worker=plan.worker,
            endpoint=plan.endpoint,
            product=plan.product,
            network=plan.network,
            simulated=plan.simulated,
            quiet_status_s=plan.quiet_status_s,
            publish=self._publisher.publish,
        )
        self._connections: list[Connection] = []
        self._stop: asyncio.Future[str] = self._loop.create_future()
        self._link = Link(Path(plan.runtime_directory), plan.worker, self._handle)
        self._newcomers = Newcomers(self._feed, self._publisher)
        self._diary = Diary(logger)
        self._epoch = 0
        self._beats = 0
        self._calendar = Calendar(plan.product)
        self._heard_of_maintenance = b""
        self._started_s = self._ticked_s = self._judge_from_s = self._loop.time()
        self._ticked_ns = time.time_ns()
        self._ticks = 0
        self._process = psutil.Process()
        self._changed: dict[str, tuple[str, str]] = {}
        """States the supervisor has not been told yet."""
        self._lines: list[str] = []
        """What the session has to tell a person, since the last beat."""

    async def run(self) -> str:
        """Work until told to stop; return why. Raises what a callback raised: a bug of ours ends the worker, loudly."""
        self._loop.set_exception_handler(self._failed)
        descriptor = self._publisher.descriptor
        self._loop.add_reader(descriptor, self._newcomers.look)
        self._link.tell(control.Hello(worker=self.plan.worker, pid=os.getpid()))
        ticking = self._loop.call_soon(self._tick)
        beating = self._loop.call_later(BEAT_S, self._beat, self._loop.time() + BEAT_S)
        self._timers = {"tick": ticking, "beat": beating}
        gc.collect()
        gc.freeze()  # what lives from the start on is never looked at again
        try:
            return await self._stop
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._loop.remove_reader(descriptor)
            await self._close()

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException) and not self._stop.done():
            self._stop.set_exception(error)
        else:
            self.logger.error("%s", context["message"], exc_info=error)

    def stop(self, reason: str) -> None:
        """End in order."""
        if not self._stop.done():
            self._stop.set_result(reason)

    async def _close(self) -> None:
        now_ns = time.time_ns()
        for connection in self._connections:
            self._feed.release(connection.lane, list(connection.lane.routes), "the feed was stopped", now_ns)
        await asyncio.gather(*(connection.close() for connection in self._connections))
        self._beat_now()
        self._link.close()
        self._publisher.close()

    # The supervisor.

    def _handle(self, message: control.ToWorker) -> None:
        match message:
            case control.Assign():
                self._assign(message)
            case control.Announced():
                self._calendar.take(message.announcements)
                self._tell_maintenance(time.time_ns())
            case control.Stop():
                self.stop("told to by the supervisor")

    def _assign(self, assignment: control.Assign) -> None:
        """Carry the topics named, and no others. Those carried already stay as they are, epoch included."""
        now_ns = time.time_ns()
        wanted = dict.fromkeys(assignment.topics)
        self._epoch = self._epoch or assignment.epoch
        for connection in self._connections:
            gone = [topic for topic in connection.lane.routes if topic not in wanted]
            if gone:
                connection.session.unwant(gone)
                self._feed.release(connection.lane, gone, "no longer assigned", now_ns)
                connection.step()
        new = [topic for topic in wanted if topic not in self._feed.routes]
        product = PRODUCTS[self.plan.product]
        canary = self.plan.connection.canary
        for connection in self._connections:
            room = product.max_args_characters - args_characters(connection.session.topics)
            places = (product.max_topics or len(new) + len(connection.session.topics)) - len(connection.session.topics)
            fitting: list[str] = []
            while new and places > len(fitting) and args_characters([*fitting, new[0]]) <= room:
                fitting.append(new.pop(0))
            if fitting:
                self._carry(connection, fitting, assignment, now_ns)
        for topics in share_out(product, new, reserved=[canary] if canary else []):
            connection = self._connect("" if any(topic.startswith("orderbook.1.") for topic in topics) else canary)
            self._carry(connection, topics, assignment, now_ns)

    def _carry(self, connection: Connection, topics: list[str], assignment: control.Assign, now_ns: int) -> None:
        self._feed.carry(connection.lane, topics, assignment.epoch, now_ns, assignment.blind_from_ns)
        connection.session.want(topics)
        connection.step()

    def _connect(self, canary: str) -> Connection:
        settings = self.plan.connection
        lane = Lane(self._feed, line=0, clock_s=self._loop.time, canary=canary)
        session = Session(
            PRODUCTS[self.plan.product],
            ping_interval_s=settings.ping_interval_s,
            pong_timeout_s=settings.pong_timeout_s,
            has_data=lane.has_data,
        )
        connection = Connection(
            f"{self.plan.worker}/{len(self._connections)}", self.plan.url, settings, session, lane, self._link.permit
        )
        connection.explain = self._loss_reason
        if canary:
            session.want([canary])
        connection.task.add_done_callback(self._connection_ended)
        self._connections.append(connection)
        return connection

    def _connection_ended(self, task: asyncio.Task[None]) -> None:
        """A connection's task ends by itself only where it gave up, or where we have a bug: then the worker dies."""
        if not task.cancelled() and (error := task.exception()) is not None and not self._stop.done():
            self._stop.set_exception(error)

    # Time.

    def _tick(self) -> None:
        now_s, now_ns = self._loop.time(), time.time_ns()
        self._timers["tick"] = self._loop.call_at(now_s + TICK_S, self._tick)
        # Silence is measured by the wall clock, which may also be set; the loop's clock tells both from real silence.
        late_s = now_s - self._ticked_s - TICK_S
        stepped_s = abs((now_ns - self._ticked_ns) / 1e9 - (now_s - self._ticked_s))
        self._ticked_s, self._ticked_ns = now_s, now_ns
        if late_s > OWN_PAUSE_S or stepped_s > OWN_PAUSE_S:
            self._judge_from_s = now_s + OWN_PAUSE_S
        judge = now_s >= self._judge_from_s
        self._link.hear()
        self._newcomers.look()
        self._ticks += 1
        if self._ticks % FEED_TICKS == 0:
            self._feed.tick(now_ns, now_s, judge=judge)
        for connection in self._connections:
            if judge and connection.lane.is_mute(now_ns):
                self._give_up_mute(connection, now_ns)
            due = self._feed.resyncs_due(connection.lane, now_s)
            for topic in due:
                connection.session.resync(topic)
            if due:
                connection.step()
        self._log_what_happened(now_s)

    def _give_up_mute(self, connection: Connection, now_ns: int) -> None:
        """Pongs alone never prove data: a connection that brings nothing is opened anew."""
        connection.lane.count("mutes")
        connection.give_up(connection.lane.mute(now_ns))

    def _beat(self, due_s: float) -> None:
        self._timers["beat"] = self._loop.call_at(due_s + BEAT_S, self._beat, max(due_s + BEAT_S, self._loop.time()))
        self._pass_announcements_on()
        self._tell_maintenance(time.time_ns())
        self._beat_now()

    def _pass_announcements_on(self) -> None:
        """Give the supervisor what the venue's own status socket said, if this worker holds that."""
        route = self._feed.routes.get(STATUS_TOPIC)
        said = route.journal[-1] if route is not None and route.journal else b""
        if said == self._heard_of_maintenance:
            return
        self._heard_of_maintenance = said
        try:
            announcements = maintenance.parse(said)
        except ValueError as error:
            self.logger.warning("an announcement that cannot be read (%s): %r", error, said[:LOGGED_RAW_BYTES])
            return
        self._link.tell(control.Announced(network=self.plan.network, announcements=announcements))

    def _tell_maintenance(self, now_ns: int) -> None:
        """Tell strategies what is announced: when it comes, and again as it comes near."""
        for announcement in self._calendar.due(now_ns / 1e9):
            text = f"{announcement.title or 'maintenance'}: {announcement.state}"
            notice = wire.Notice(
                notice="maintenance",
                text=text,
                worker=self.plan.worker,
                time_ns=now_ns,
                begin_ms=int(announcement.begin_s * 1e3),
                end_ms=int(announcement.end_s * 1e3),
            )
            self._announce(f"{self.plan.endpoint}.notice", wire.NOTICE, notice, now_ns)
            self.logger.warning("the venue announces: %s", text)

    def _loss_reason(self, reason: str) -> str:
        """Return why a connection was lost: in an announced maintenance, that."""
        announcement = self._calendar.ongoing(time.time())
        return f"maintenance: {announcement.title} ({reason})" if announcement is not None else reason

    def _beat_now(self) -> None:
        now_ns = time.time_ns()
        with self._process.oneshot():
            cpu, memory = self._process.cpu_times(), self._process.memory_info()
        heartbeat = self._feed.heartbeat(
            pid=os.getpid(),
            time_ns=now_ns,
            uptime_s=self._loop.time() - self._started_s,
            cpu_s=cpu.user + cpu.system,
            rss_bytes=memory.rss,
        )
        self._announce(f"{self.plan.endpoint}.heartbeat.{self.plan.worker}", wire.HEARTBEAT, heartbeat, now_ns)
        self._log_what_happened(self._loop.time())
        beat = control.Beat(
            worker=self.plan.worker,
            pid=os.getpid(),
            heartbeat=heartbeat,
            states=self._changed,
            lines=self._lines,
        )
        if self._link.tell(beat):
            self._changed, self._lines = {}, []

    def _announce(self, subject: str, kind: int, payload: msgspec.Struct, now_ns: int) -> None:
        self._beats += 1
        head = wire.head(wire.prefix(subject), kind, self._feed.flags, wire.NO_LINE, self._epoch)
        self._publisher.publish(head, self._beats, now_ns, msgspec.json.encode(payload))

    # What a person reads.

    def _log_what_happened(self, now_s: float) -> None:
        for connection in self._connections:
            news, connection.news = connection.news, []
            self._diary.news(connection.name, news)
            self._lines += news
        changes, self._feed.changes = self._feed.changes, []
        self._diary.changes(changes)
        self._changed.update((topic, (state, reason)) for topic, state, reason in changes)
        strange, self._feed.malformed = self._feed.malformed, []
        self._diary.strange(strange, now_s)
