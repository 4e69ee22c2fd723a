"""The supervisor: starts workers, gives them topics and epochs, restarts them, answers commands. Never touches data."""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import zmq

from feedhandler import __version__, control, runtime, wire
from feedhandler.config.model import WorkerPlan
from feedhandler.config.plan import SIMULATOR, account
from feedhandler.supervisor import worker as worker_states
from feedhandler.supervisor.budget import Budget
from feedhandler.supervisor.process import EXIT_CANNOT_START, Child, RestartPolicy, exit_in_words
from feedhandler.supervisor.restarts import Restarts
from feedhandler.supervisor.worker import Worker

TICK_S: Final = 0.1
STOP_PATIENCE_S: Final = 3.0
"""How long children may take to end in order; the whole stop is promised within 5 s."""
SUMMARY_EVERY_S: Final = 60.0
NAMED_TOPICS: Final = 8


class Simulator:
    """The simulated Bybit as a child. Its port is bound here, before it runs, and outlives its restarts."""

    def __init__(self, logger: logging.Logger, withheld: frozenset[str]) -> None:
        self._logger = logger
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        descriptor = self._socket.fileno()
        command = [
            sys.executable,
            "-m",
            "feedhandler.sim",
            "--listen-fd",
            str(descriptor),
            "--parent-pid",
            str(os.getpid()),
        ]
        self._child = Child(command, self._exited, withheld)
        self._policy = RestartPolicy()
        self._stopping = False
        self._restart: asyncio.TimerHandle | None = None
        self._started_s = 0.0

    def start(self) -> None:
        """Start it."""
        self._started_s = asyncio.get_running_loop().time()
        self._child.start(pass_fds=[self._socket.fileno()])

    def _exited(self, exit_code: int) -> None:
        if self._stopping:
            return
        loop = asyncio.get_running_loop()
        pause_s = self._policy.pause_s(exit_code, loop.time() - self._started_s)
        self._logger.error("the simulated Bybit ended (%s)", exit_in_words(exit_code))
        if pause_s is not None:
            self._restart = loop.call_later(pause_s, self.start)

    @property
    def alive(self) -> bool:
        """Whether its process lives."""
        return self._child.pid is not None

    def stop(self) -> None:
        """Ask it to end."""
        self._stopping = True
        if self._restart is not None:
            self._restart.cancel()
        self._child.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._child.signal(signal.SIGKILL)

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


class Supervisor:
    """Runs until told to stop. The runtime directory is prepared and locked by the caller."""

    def __init__(
        self,
        plans: list[WorkerPlan],
        *,
        runtime_directory: Path,
        network: str,
        config: str,
        logger: logging.Logger,
    ) -> None:
        self.logger = logger
        self._loop = asyncio.get_running_loop()
        self._runtime = runtime_directory
        self._network = network
        self._config = config
        self._simulator: Simulator | None = None
        secrets = frozenset().union(*map(worker_states.secrets_of, plans))
        if any(SIMULATOR in plan.url for plan in plans):
            self._simulator = Simulator(logger, secrets)
            plans = [simulated(plan, self._simulator.address, os.environ) for plan in plans]
        self._workers = {plan.worker: Worker(plan, logger, secrets) for plan in plans}
        self._restarts = Restarts(
            self._workers,
            another=lambda worker: Worker(worker.plan, logger, secrets),
            send=self._reply,
            publish_directory=self._publish_directory,
            logger=logger,
        )
        self._budget = Budget()
        self._epochs = runtime.Epochs(runtime_directory)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.bind(f"ipc://{runtime_directory}/{control.SOCKET_NAME}")
        self._started_s = self._loop.time()
        self._ticked_s = self._started_s
        self._settled: set[str] = set()
        self._summary_s = self._started_s + SUMMARY_EVERY_S
        self._summary_frames: Counter[str] = Counter()
        self._stopping_since_s: float | None = None
        self._impatient = False
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._publish_directory()

    async def run(self) -> int:
        """Run the feed; return the exit code. Raises what a callback raised: a bug of ours ends the feed, loudly."""
        self._loop.set_exception_handler(self._failed)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._signalled, number)
        descriptor = int(self._socket.getsockopt(zmq.FD))
        self._loop.add_reader(descriptor, self._hear)
        if self._simulator is not None:
            self._simulator.start()
            self.logger.info("simulated Bybit at ws://%s (faults: /sim/faults)", self._simulator.address)
        for worker in self._workers.values():
            worker.start(self._loop.time())
            plan = worker.plan
            self.logger.info("%s: %s from %s", plan.worker, _named(plan.topics), plan.url)
            self.logger.info("%s: strategies connect to %s", plan.worker, ", ".join(plan.publish))
            if plan.product == "private":
                self.logger.info("%s: signs in with %s", plan.worker, account(plan))
        self._tick()
        try:
            return await self._ended
        finally:
            self._loop.remove_reader(descriptor)
            self._socket.close()
            self._context.term()
            (self._runtime / control.SOCKET_NAME).unlink(missing_ok=True)
            if self._simulator is not None:
                self._simulator.close()

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException) and not self._ended.done():
            self._ended.set_exception(error)
        else:
            self.logger.error("%s", context["message"], exc_info=error)

    def _publish_directory(self) -> None:
        """Write down who carries what, for clients."""
        carried = {
            worker.plan.worker: runtime.CarriedWorker(
                endpoint=worker.plan.endpoint,
                product=worker.plan.product,
                addresses=worker.plan.publish,
                topics=worker.plan.topics,
                generation=worker.generation,
            )
            for worker in self._workers.values()
        }
        first = next(iter(self._workers.values())).plan
        directory = runtime.FeedDirectory(
            pid=os.getpid(), network=self._network, quiet_status_s=first.quiet_status_s, workers=carried
        )
        runtime.write_whole(self._runtime / runtime.FEED_FILE, msgspec.json.encode(directory))

    # Ending.

    def _signalled(self, number: signal.Signals) -> None:
        if self._stopping_since_s is not None:
            self._impatient = True
        self.stop(number.name)

    def stop(self, reason: str) -> None:
        """End everything in order, within 5 s."""
        if self._stopping_since_s is not None:
            return
        self._stopping_since_s = self._loop.time()
        self.logger.info("stopping: %s", reason)
        (self._runtime / runtime.FEED_FILE).unlink(missing_ok=True)
        self._restarts.stop(self._loop.time())
        for worker in self._workers.values():
            worker.stop()

    def _processes(self) -> list[Worker]:
        """Return everything that may have a process: the workers, and those beside them while they are restarted."""
        return [*self._workers.values(), *self._restarts.processes]

    def _finish_stopping(self, since_s: float, now_s: float) -> None:
        living = [worker for worker in self._processes() if worker.pid is not None]
        # The venue goes last: its end would look like a lost connection to workers that are still ending.
        if not living and self._simulator is not None:
            self._simulator.stop()
        if self._impatient or now_s - since_s > STOP_PATIENCE_S:
            for worker in living:
                self.logger.error("worker %s did not end in time; killed", worker.plan.worker)
                worker.kill()
            if self._simulator is not None:
                self._simulator.kill()
        if not living and not (self._simulator is not None and self._simulator.alive) and not self._ended.done():
            self.logger.info("stopped")
            parked = all(worker.state == worker_states.PARKED for worker in self._workers.values())
            self._ended.set_result(EXIT_CANNOT_START if parked else 0)

    # Time.

    def _tick(self) -> None:
        now_s = self._loop.time()
        if not self._ended.done():
            self._loop.call_at(now_s + TICK_S, self._tick)
        # Our own pause is nobody's silence: time counts against a worker only as far as we ran.
        ran_s = min(now_s - self._ticked_s, 2 * TICK_S)
        self._ticked_s = now_s
        self._hear()
        self._permit()
        self._restarts.tick(now_s, ran_s)
        for worker in self._workers.values():
            worker.look(now_s, ran_s)
        if self._stopping_since_s is not None:
            self._finish_stopping(self._stopping_since_s, now_s)
        elif all(worker.is_given_up for worker in self._workers.values()) and not self._restarts.processes:
            self.logger.error("no worker could start")
            self._stopping_since_s = now_s
        elif now_s >= self._summary_s:
            self._summary_s = now_s + SUMMARY_EVERY_S
            self._summarise()

    def _summarise(self) -> None:
        parts = []
        for name, worker in self._workers.items():
            beat = worker.heartbeat
            if beat is None:
                parts.append(f"{name} {worker.state}")
                continue
            rate = max(beat.frames - self._summary_frames[name], 0) / SUMMARY_EVERY_S
            self._summary_frames[name] = beat.frames
            topics = ", ".join(f"{count} {state}" for state, count in beat.topics.items())
            parts.append(f"{name} {topics}, {rate:,.0f} msg/s, {beat.gaps} gaps, {beat.reconnects} reconnects")
        self.logger.info("%s", " | ".join(parts))

    # Messages.

    def _hear(self) -> None:
        while not self._socket.closed:
            try:
                # Whatever stands before the last part is the way back: one part of a DEALER, two of a REQ.
                *way_back, raw = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = control.decode_to_supervisor(raw)
            except ValueError as error:
                self._reply(way_back, control.Refused(text=f"not understood: {error}"))
                continue
            self._handle(way_back, message)

    def _handle(self, way_back: list[bytes], message: control.ToSupervisor) -> None:
        match message:
            case control.Hello() | control.Bound() | control.Beat() | control.Dial():
                for worker in self._processes():
                    if (worker.plan.worker, worker.pid) == (message.worker, message.pid):
                        self._hear_worker(way_back, worker, message)
            case control.Announced():
                for worker in self._processes():
                    if worker.way_back and worker.plan.network == message.network:
                        self._reply(worker.way_back, message)
            case control.StatusRequest():
                self._reply(way_back, self._status())
            case control.Restart():
                self._restarts.ask(way_back, message.worker, self._loop.time())
            case control.Stop():
                self._reply(way_back, control.Done(text="stopping"))
                self.stop("a command")

    def _hear_worker(
        self,
        way_back: list[bytes],
        worker: Worker,
        message: control.Hello | control.Bound | control.Beat | control.Dial,
    ) -> None:
        match message:
            case control.Hello():
                self._reply(way_back, worker.assign(way_back, self._new_epoch(), time.time_ns()))
            case control.Bound():
                worker.unbound = message.unbound
            case control.Beat():
                worker.heard(message, self._loop.time())
                self._notice_settled(worker)
            case control.Dial():
                self._budget.request(message.pid, message.connection, worker.plan.priority)
                if not self._permit():
                    self._reply(way_back, control.Wait(connection=message.connection))

    def _new_epoch(self) -> int:
        """Return the next epoch; say once that it cannot be written down."""
        knew = self._epochs.trouble is not None
        epoch = self._epochs.issue()
        if self._epochs.trouble is not None and not knew:
            self.logger.error("epochs cannot be written down, and go on in memory: %s", self._epochs.trouble)
        return epoch

    def _permit(self) -> bool:
        """Let connections dial, as far as the venue's budget goes; return whether it was enough for all."""
        living = {worker.pid: worker for worker in self._processes() if worker.pid is not None}
        self._budget.keep(living)
        for request in self._budget.grant(self._loop.time()):
            self._reply(living[request.pid].way_back, control.Permit(connection=request.connection))
        return not self._budget.waiting

    def _reply(self, way_back: list[bytes], message: msgspec.Struct) -> None:
        self._socket.send_multipart([*way_back, control.encode(message)])
        # A send may swallow the signal of what has arrived meanwhile.
        self._loop.call_soon(self._hear)

    def _notice_settled(self, worker: Worker) -> None:
        """Say once, for each start of a worker, what came of its topics."""
        states = Counter(state for state, _ in worker.topics.values())
        key = f"{worker.plan.worker} {worker.epoch}"
        if key in self._settled or states[wire.LIVE] + states[wire.REJECTED] < len(worker.plan.topics):
            return
        self._settled.add(key)
        refused = f", {states[wire.REJECTED]} refused" if states[wire.REJECTED] else ""
        self.logger.info(
            "%s: %d of %d topics live%s", worker.plan.worker, states[wire.LIVE], len(worker.plan.topics), refused
        )

    def _status(self) -> control.StatusReply:
        now_s = self._loop.time()
        return control.StatusReply(
            pid=os.getpid(),
            version=__version__,
            uptime_s=now_s - self._started_s,
            network=self._network,
            config=self._config,
            runtime=str(self._runtime),
            simulated_bybit=f"ws://{self._simulator.address}" if self._simulator is not None else "",
            attempts=self._budget.spent(now_s),
            attempts_waiting=self._budget.waiting,
            workers=[worker.status(now_s, self._restarts.words(name)) for name, worker in self._workers.items()],
        )


def simulated(plan: WorkerPlan, address: str, environment: Mapping[str, str]) -> WorkerPlan:
    """Return a plan with the built-in simulated Bybit's address in it, if it is meant for that.

    An account whose two environment variables are both not set, or empty, is the simulator's own there: the same
    configuration then runs before its user has a key.
    """
    if SIMULATOR not in plan.url:
        return plan
    places = [source.env for source in (plan.api_key, plan.api_secret) if source is not None]
    if all(name and not environment.get(name) for name in places):
        plan = msgspec.structs.replace(plan, api_key=None, api_secret=None)
    return msgspec.structs.replace(plan, url=plan.url.replace(SIMULATOR, address))


def _named(topics: list[str]) -> str:
    """Name topics, and count those beyond the first few."""
    more = len(topics) - NAMED_TOPICS
    return ", ".join(topics[:NAMED_TOPICS]) + (f" and {more} more" if more > 0 else "")
