"""One endpoint's share of topics: wires connections, feed and publisher together, and keeps time for them."""

import asyncio
import gc
import logging
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from feedhandler import control, credentials, runtime, wire
from feedhandler.bybit import maintenance
from feedhandler.bybit.maintenance import Calendar
from feedhandler.bybit.products import STATUS_TOPIC
from feedhandler.config.model import WorkerPlan
from feedhandler.credentials import Credentials
from feedhandler.worker.carrier import TICK_S, Carrier
from feedhandler.worker.connection import CLOSE_PATIENCE_S
from feedhandler.worker.diary import LOGGED_RAW_BYTES, Diary
from feedhandler.worker.link import Link
from feedhandler.worker.newcomers import Newcomers
from feedhandler.worker.publisher import BindError, Publisher
from feedhandler.worker.route import Hole
from feedhandler.worker.state import Feed

BEAT_S: Final = 1.0
BIND_PATIENCE_S: Final = 10.0
"""How long somebody else may keep an address that is ours: longer than it takes to kill one that hangs."""


class Worker:
    """One endpoint's share of topics: connections in, records out."""

    def __init__(self, plan: WorkerPlan, logger: logging.Logger) -> None:
        self.plan = plan
        self.logger = logger
        self._loop = asyncio.get_running_loop()
        self._publisher = Publisher(
            plan.publish, send_high_water_mark=plan.send_high_water_mark, cpu=plan.cpu, bind=not plan.takes_over
        )
        self._feed = Feed(
            worker=plan.worker,
            endpoint=plan.endpoint,
            product=plan.product,
            network=plan.network,
            simulated=plan.simulated,
            quiet_status_s=plan.quiet_status_s,
            publish=self._publisher.publish,
            retain=plan.retain,
        )
        self._stop: asyncio.Future[str] = self._loop.create_future()
        self._link = Link(Path(plan.runtime_directory), plan.worker, self._handle)
        self._carrier = Carrier(
            self._feed,
            url=plan.url,
            settings=plan.connection,
            ended=self._connection_ended,
            lines=plan.lines,
            permit=self._link.permit,
            explain=self._loss_reason,
            sign=self._credentials().sign if plan.product == "private" else None,
        )
        self._newcomers = Newcomers(self._feed, self._publisher)
        self._diary = Diary(logger, raw=plan.product != "private")
        self._binding: control.Bind | None = None
        """While addresses are to be taken over: the order."""
        self._bind_by_s = 0.0
        self._told_unbound: list[str] | None = None
        """What the supervisor was last told; None while it was told nothing."""
        self._retired = False
        """A successor carries the topics."""
        self._epoch = 0
        self._assigned_ns = 0
        """When topics were first assigned."""
        self._announced: Counter[str] = Counter()
        """Heartbeats and notices so far, by subject."""
        self._calendar = Calendar(plan.product)
        self._heard_of_maintenance = b""
        self._started_s = self._loop.time()
        self._process = psutil.Process()
        self._changed: dict[str, tuple[str, str]] = {}
        """States the supervisor has not been told yet."""
        self._lines: list[str] = []
        """What the session has to tell a person, since the last beat."""

    def _credentials(self) -> Credentials:
        if self.plan.api_key is None or self.plan.api_secret is None:  # allowed on the simulated network only
            return credentials.SIMULATOR
        return Credentials(self.plan.api_key, self.plan.api_secret)

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
            reason = await self._stop
        except BaseException as error:
            self._end_timers(descriptor)
            # At once: a connection that nobody's data come from any more is not worth a farewell.
            await self._close(f"the worker ends: a bug: {type(error).__name__}", patience_s=0.0)
            raise
        self._end_timers(descriptor)
        await self._close(self._last_word(reason))
        return reason

    def _last_word(self, reason: str) -> str:
        """Return why the topics are nobody's any more, or another's."""
        if self._retired:
            return "restarted by command: its successor carries the topic"
        # The supervisor takes the directory away before it stops its workers; it does not stop one alone.
        feed_is_there = (Path(self.plan.runtime_directory) / runtime.FEED_FILE).exists()
        return f"the worker was stopped: {reason}" if feed_is_there else "the feed was stopped"

    def _end_timers(self, descriptor: int) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._loop.remove_reader(descriptor)

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

    async def _close(self, reason: str, patience_s: float = CLOSE_PATIENCE_S) -> None:
        # What still comes after the release is of topics that are nobody's any more.
        for connection in self._carrier.connections:
            connection.stop_listening()
        self._carrier.release(list(self._feed.routes), reason)
        await self._carrier.close(patience_s)
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
            case control.Yield():
                self._yield()
            case control.Bind():
                self._binding, self._bind_by_s = message, self._loop.time() + BIND_PATIENCE_S
                self._admit(message.blind_from_ns, time.time_ns())
                self._bind(message)
            case control.Retire():
                self._retired = True
                self.stop("a successor carries its topics")
            case control.Stop():
                self.stop("told to by the supervisor")

    def _assign(self, assignment: control.Assign) -> None:
        """Carry the topics named, and no others. Those carried already stay as they are, epoch included."""
        wanted = set(assignment.topics)
        self._epoch = self._epoch or assignment.epoch
        self._assigned_ns = self._assigned_ns or time.time_ns()
        self._carrier.release([topic for topic in self._feed.routes if topic not in wanted], "no longer assigned")
        groups: dict[int | None, list[str]] = {}
        for topic in assignment.topics:
            groups.setdefault(assignment.blind_from_ns.get(topic), []).append(topic)
        for blind_from_ns, topics in groups.items():
            self._carrier.carry(topics, assignment.epoch, blind_from_ns)

    # One process of this worker takes another's place.

    def _yield(self) -> None:
        """Let a successor have the addresses; whoever is connected stays so until we end."""
        self._publisher.give_back()
        now_ns = time.time_ns()
        text = f"worker {self.plan.worker} is about to restart: whoever connects from now on reaches its successor"
        notice = wire.Notice(notice="restarting", text=text, worker=self.plan.worker, time_ns=now_ns)
        self._announce(f"{self.plan.endpoint}.notice", wire.NOTICE, notice, now_ns)
        self.logger.info("gives its addresses to its successor, and goes on with those who are connected")

    def _bind(self, order: control.Bind) -> None:
        """Bind what has come free. What has a path the one before gives back while it lives, the rest when it ends."""
        self._publisher.bind_free()
        unbound = self._publisher.unbound
        waits = [address for address in unbound if order.alone or runtime.ipc_path(address) is not None]
        if not waits and unbound != self._told_unbound:
            self._told_unbound = list(unbound)
            self._link.tell(control.Bound(worker=self.plan.worker, pid=os.getpid(), unbound=unbound))
            self.logger.info("has taken over%s", f", but for {', '.join(unbound)}" if unbound else " every address")
        elif waits and self._loop.time() > self._bind_by_s:
            raise BindError(f"cannot bind {waits[0]}: in use for {BIND_PATIENCE_S:g} s, and nobody gives it back")
        if not unbound:
            self._binding = None

    def _admit(self, blind_from_ns: dict[str, int], now_ns: int) -> None:
        """Say what those may have missed who followed one that ended in disorder: they come to us from now on."""
        for topic, from_ns in blind_from_ns.items():
            route = self._feed.routes[topic]
            if route.live:
                self._feed.remark(route, "the process before this one ended", now_ns, Hole(from_ns, now_ns))
            else:
                route.hole = Hole(min(from_ns, route.hole.from_ns) if route.hole is not None else from_ns)
                self._feed.restate(route)

    def _connection_ended(self, task: asyncio.Task[None]) -> None:
        """A connection's task ends by itself only where it gave up, or where we have a bug: then the worker dies."""
        if not task.cancelled() and (error := task.exception()) is not None and not self._stop.done():
            self._stop.set_exception(error)

    # Time.

    def _tick(self) -> None:
        self._timers["tick"] = self._loop.call_later(TICK_S, self._tick)
        self._link.hear()
        # An XPUB's own signal is lost in a burst of sends: subscriptions are looked for here, too.
        self._newcomers.look()
        self._carrier.tick()
        if self._binding is not None:
            self._bind(self._binding)
        self._write_down()

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
            lines=self._carrier.facts(),
            timeouts=sum(connection.session.timeouts for connection in self._carrier.connections),
            strange_replies=sum(connection.session.strange_replies for connection in self._carrier.connections),
        )
        self._announce(f"{self.plan.endpoint}.heartbeat.{self.plan.worker}", wire.HEARTBEAT, heartbeat, now_ns)
        self._write_down()
        beat = control.Beat(
            worker=self.plan.worker,
            pid=os.getpid(),
            heartbeat=heartbeat,
            states=self._changed,
            lines=self._lines,
            known_ns=self._known_ns(),
            blind_from_ns=self._blind_from_ns(),
        )
        if self._link.tell(beat):
            self._changed, self._lines = {}, []

    def _known_ns(self) -> int:
        """Return up to when nothing is missing of live topics, for a successor to say; never later than the truth.

        A live topic has a connection that is up, and that has brought everything the venue sent up to the last message
        on it. Which of two lines a topic relies on does not matter: the one heard longest ago counts.
        """
        lanes = [connection.lane for connection in self._carrier.connections]
        return min((lane.last_ns for lane in lanes if lane.up), default=self._assigned_ns)

    def _blind_from_ns(self) -> dict[str, int]:
        """Return since when topics that are not live may miss something; those that never were, since they are ours."""
        return {
            route.topic: route.hole.from_ns if route.hole and route.hole.to_ns is None else self._assigned_ns
            for route in self._feed.routes.values()
            if not route.live
        }

    def _announce(self, subject: str, kind: int, payload: msgspec.Struct, now_ns: int) -> None:
        self._announced[subject] += 1
        head = wire.head(wire.prefix(subject), kind, self._feed.flags, wire.NO_LINE, self._epoch)
        self._publisher.publish(head, self._announced[subject], now_ns, msgspec.json.encode(payload))

    # What a person reads.

    def _write_down(self) -> None:
        news, changes = self._carrier.tell(self._diary)
        self._lines += news
        self._changed.update((topic, (state, reason)) for topic, state, reason in changes)
