"""A worker process: wires connections, feed and publisher together, and talks to the supervisor.

Standard input carries the plan, one line of JSON (`config.model.WorkerPlan`), and then stays open: its end means that
the supervisor is gone.
"""

import asyncio
import ctypes
import faulthandler
import gc
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import zmq

from feedhandler import control, log, runtime, wire
from feedhandler.bybit import maintenance
from feedhandler.bybit.maintenance import Calendar
from feedhandler.bybit.products import PRODUCTS, STATUS_TOPIC, args_characters, share_out
from feedhandler.config.model import WorkerPlan
from feedhandler.worker.connection import Connection
from feedhandler.worker.feed import Feed, Lane
from feedhandler.worker.publisher import BindError, Publisher
from feedhandler.worker.route import Route
from feedhandler.worker.session import Session

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_CANNOT_START: Final = 3

TICK_S: Final = 0.05
"""How often subscriptions, resyncs and silence are looked at: an XPUB's own signal is lost in a burst of sends."""
FEED_TICKS: Final = 5
"""Silence is looked at every so many ticks."""
PERMIT_PATIENCE_S: Final = 2.0
"""How long a dial waits for a supervisor that does not answer at all: one that is paused must not keep us blind."""
OWN_PAUSE_S: Final = 1.0
"""A tick this late means that the process itself stood still: what is in the socket must be read before judging."""
BEAT_S: Final = 1.0
ANSWER_SLICE_NS: Final = 500_000
"""Work for newcomers is cut into slices of about this long, so that live data waits less than 1 ms for them."""
ANSWER_AGAIN_NS: Final = 100_000_000
"""Answers on one subject are at least this far apart; all who come meanwhile share the next."""
LOGGED_RAW_BYTES: Final = 2000
STRANGE_LOGGED_PER_S: Final = 5
NAMED_TOPICS: Final = 3
"""Log lines name this many topics; of more they say how many."""

_PR_SET_PDEATHSIG: Final = 1
_STDIN: Final = 0


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
        self._context = zmq.Context(io_threads=1)
        self._supervisor = self._context.socket(zmq.DEALER)
        self._supervisor.setsockopt(zmq.LINGER, 100)
        # A supervisor that does not read must not make the data loop wait: beyond this, beats are dropped.
        self._supervisor.setsockopt(zmq.SNDHWM, 100)
        self._supervisor.connect(f"ipc://{plan.runtime_directory}/{control.SOCKET_NAME}")
        self._epoch = 0
        self._beats = 0
        self._calendar = Calendar(plan.product)
        self._heard_of_maintenance = b""
        self._permits: dict[str, asyncio.Future[None]] = {}
        """Dials that wait for the supervisor, by connection."""
        self._queued: set[str] = set()
        """Connections whose permit will come when the venue's budget allows."""
        self._started_s = self._ticked_s = self._judge_from_s = self._loop.time()
        self._ticked_ns = time.time_ns()
        self._ticks = 0
        self._process = psutil.Process()
        self._unanswered: dict[bytes, Route] = {}
        """Routes whose newcomers wait, by prefix."""
        self._answered_ns: dict[bytes, int] = {}
        self._answering = False
        self._changed: dict[str, tuple[str, str]] = {}
        """States the supervisor has not been told yet."""
        self._lines: list[str] = []
        self._strange_logged: Counter[int] = Counter()

    async def run(self) -> str:
        """Work until told to stop; return why. Raises what a callback raised: a bug of ours ends the worker, loudly."""
        self._loop.set_exception_handler(self._failed)
        descriptors = (int(self._supervisor.getsockopt(zmq.FD)), self._publisher.descriptor)
        self._loop.add_reader(descriptors[0], self._hear)
        self._loop.add_reader(descriptors[1], self._look_for_newcomers)
        self._tell(control.Hello(worker=self.plan.worker, pid=os.getpid()))
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
            for descriptor in descriptors:
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
        self._supervisor.close()
        self._context.term()
        self._publisher.close()

    # The supervisor.

    def _tell(self, message: msgspec.Struct) -> bool:
        """Send a message; return False where nobody reads: the supervisor is paused, and we go on without it."""
        # A send may swallow the signal of what has arrived meanwhile.
        self._loop.call_soon(self._hear)
        try:
            self._supervisor.send(control.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _hear(self) -> None:
        while not self._supervisor.closed:
            try:
                raw = self._supervisor.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            match control.decode_to_worker(raw):
                case control.Assign() as assignment:
                    self._assign(assignment)
                case control.Announced(announcements=announcements):
                    self._calendar.take(announcements)
                    self._tell_maintenance(time.time_ns())
                case control.Wait(connection=name):
                    self._queued.add(name)
                    self.logger.warning("connection %s waits: the venue's connection budget is spent", name)
                case control.Permit(connection=name):
                    if (permit := self._permits.pop(name, None)) is not None and not permit.done():
                        permit.set_result(None)
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
            f"{self.plan.worker}/{len(self._connections)}", self.plan.url, settings, session, lane, self._permit
        )
        connection.explain = self._loss_reason
        if canary:
            session.want([canary])
        connection.task.add_done_callback(self._connection_ended)
        self._connections.append(connection)
        return connection

    async def _permit(self, name: str) -> None:
        """Wait until the supervisor lets a connection dial: the venue's budget is shared by all workers."""
        permit = self._permits[name] = self._loop.create_future()
        self._tell(control.Dial(worker=self.plan.worker, pid=os.getpid(), connection=name))
        await asyncio.wait([permit], timeout=PERMIT_PATIENCE_S)
        if name in self._queued:
            await permit
            self._queued.discard(name)
        elif not permit.done():
            self.logger.warning("connection %s dials without permit: the supervisor does not answer", name)

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
        self._hear()
        self._look_for_newcomers()
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
        self._tell(control.Announced(network=self.plan.network, announcements=announcements))

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
        if self._tell(beat):
            self._changed, self._lines = {}, []

    def _announce(self, subject: str, kind: int, payload: msgspec.Struct, now_ns: int) -> None:
        self._beats += 1
        head = wire.head(wire.prefix(subject), kind, self._feed.flags, wire.NO_LINE, self._epoch)
        self._publisher.publish(head, self._beats, now_ns, msgspec.json.encode(payload))

    # Newcomers.

    def _look_for_newcomers(self) -> None:
        for subscription in self._publisher.subscriptions():
            for route in self._feed.matching(subscription):
                self._unanswered[route.prefix] = route
        if self._unanswered and not self._answering:
            self._answer()

    def _answer(self) -> None:
        """Answer for one slice of time; the loop reads live data before the next."""
        started_ns = time.time_ns()
        self._answering = False
        for prefix in list(self._unanswered):
            now_ns = time.time_ns()
            if now_ns - started_ns > ANSWER_SLICE_NS:
                self._answering = True
                self._loop.call_soon(self._answer)
                return
            if now_ns - self._answered_ns.get(prefix, 0) >= ANSWER_AGAIN_NS:
                self._answered_ns[prefix] = now_ns
                self._feed.answer(self._unanswered.pop(prefix), now_ns, self._loop.time())

    # What a person reads.

    def _log_what_happened(self, now_s: float) -> None:
        """Log state changes by group: a lost connection is one line, not one a topic."""
        for connection in self._connections:
            news, connection.news = connection.news, []
            self._lines += news
            for line in news:
                self.logger.info("connection %s %s", connection.name, line)
        changes, self._feed.changes = self._feed.changes, []
        groups: dict[tuple[str, str], list[str]] = {}
        for topic, state, reason in changes:
            self._changed[topic] = (state, reason)
            groups.setdefault((state, reason), []).append(topic)
        for (state, reason), topics in groups.items():
            named = ", ".join(topics) if len(topics) <= NAMED_TOPICS else f"{len(topics)} topics"
            level = logging.INFO if state in (wire.SUBSCRIBING, wire.LIVE, wire.ENDED) else logging.WARNING
            facts = {"state": state, "reason": reason, "topics": len(topics)}
            self.logger.log(level, "%s %s%s", named, state, f": {reason}" if reason else "", extra={"facts": facts})
        strange, self._feed.malformed = self._feed.malformed, []
        second = int(now_s)
        for what, raw in strange:
            self._strange_logged[second] += 1
            if self._strange_logged[second] <= STRANGE_LOGGED_PER_S:
                self.logger.warning("%s: %r", what, raw[:LOGGED_RAW_BYTES])
        for past in [past for past in self._strange_logged if past < second]:
            more = self._strange_logged.pop(past) - STRANGE_LOGGED_PER_S
            if more > 0:
                self.logger.warning("%d more frames like these in that second, not logged", more)


def die_with_parent() -> None:
    """Have the kernel kill this process when the supervisor ends, however it ends: not even a stopped worker stays."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _work(plan: WorkerPlan, logger: logging.Logger) -> str:
    worker = Worker(plan, logger)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.stop, "SIGTERM")

    def supervisor_is_gone() -> None:
        if not os.read(_STDIN, 4096):
            loop.remove_reader(_STDIN)
            worker.stop("the supervisor is gone")

    loop.add_reader(_STDIN, supervisor_is_gone)
    return await worker.run()


def _leave_word(plan: WorkerPlan, text: str) -> None:
    """Write down why we end, for the supervisor's status. Not through a pipe: a paused supervisor would block us."""
    try:
        runtime.write_whole(Path(plan.runtime_directory) / f"{plan.worker}.error", text.encode())
    except OSError:
        return  # a full disk must not hide the exit code


def _runner() -> Callable[[Coroutine[Any, Any, str]], str]:
    try:
        import uvloop  # noqa: PLC0415 - where it cannot exist asyncio's loop serves
    except ImportError:
        return asyncio.run
    return uvloop.run


def main() -> int:
    """Run a worker; return its exit code."""
    die_with_parent()
    faulthandler.enable()  # SIGABRT: the supervisor asks a hung worker where it hangs
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the supervisor decides
    if sys.stdin.isatty():
        print("feedhandler.worker is started by the supervisor: feedhandler run FILE", file=sys.stderr)  # noqa: T201 - the only words before logging exists
        return EXIT_USAGE
    try:
        with open(_STDIN, "rb", closefd=False) as stdin:
            plan = msgspec.json.decode(stdin.readline(), type=WorkerPlan)
    except ValueError as error:
        print(f"feedhandler.worker: no plan on standard input: {error}", file=sys.stderr)  # noqa: T201 - see above
        return EXIT_USAGE
    logger = log.start(plan.worker, plan.log_level, plan.log_format)
    if plan.cpu:
        os.sched_setaffinity(0, set(plan.cpu))
    try:
        reason = _runner()(_work(plan, logger))
    except BindError as error:
        logger.error("%s", error)  # noqa: TRY400 - one line: the traceback would say no more
        _leave_word(plan, str(error))
        return EXIT_CANNOT_START
    except Exception as error:
        logger.exception("a bug of feedhandler's: this worker ends, and is started again")
        _leave_word(plan, f"{type(error).__name__}: {error}")
        return EXIT_FAILED
    logger.info("ended: %s", reason)
    return EXIT_STOPPED
