"""One worker, as the supervisor knows it: its process, what it carries, and what it last said."""

import logging
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from feedhandler import control, runtime
from feedhandler.config.model import WorkerPlan
from feedhandler.supervisor.process import Child, RestartPolicy, exit_in_words
from feedhandler.wire import Heartbeat

HUNG_AFTER_S: Final = 5.0
"""Silence of a worker that counts as hung, while our own loop ran."""
START_PATIENCE_S: Final = 20.0
"""Silence allowed to a worker that has only just been started."""
KILL_AFTER_S: Final = 2.0
"""Between asking a hung worker where it hangs (SIGABRT: a stack dump) and killing it."""

STARTING: Final = "starting"
RUNNING: Final = "running"
HUNG: Final = "hung"
PARKED: Final = "parked"
STOPPING: Final = "stopping"
STOPPED: Final = "stopped"


def secrets_of(plan: WorkerPlan) -> frozenset[str]:
    """Return the environment variables in which a worker finds its secrets."""
    return frozenset(source.env for source in (plan.api_key, plan.api_secret) if source is not None and source.env)


class Worker:
    """A worker's process and what it said. Time comes in as the loop's clock, in seconds."""

    def __init__(self, plan: WorkerPlan, logger: logging.Logger, secrets: frozenset[str] = frozenset()) -> None:
        """``secrets`` are the environment variables that hold some worker's: it gets its own and no other."""
        self.plan = plan
        self.state = STOPPED
        self.epoch = 0
        self.restarts = 0
        self.generation = 0
        """How many successors by command it has had (`runtime.CarriedWorker`)."""
        self.last_exit = ""
        self.exit_code: int | None = None
        self.takes_over = False
        """Whether its process is started beside another one of this worker, which has the addresses."""
        self.is_mended = True
        """Whether it is started again when it ends by itself. Of two processes of a worker only one is."""
        self.unbound: list[str] | None = None
        """Addresses that its process has not bound yet; None while nothing is known of any."""
        self.way_back: list[bytes] = []
        """Where its messages come from; empty while it has not said hello."""
        self.heartbeat: Heartbeat | None = None
        self.beat_s = 0.0
        self.topics: dict[str, tuple[str, str]] = {}
        self.known_ns: int | None = None
        """Up to when nothing is missing of the topics that are not blind, also after its end: by its last beat, and before
        the first, when topics were first assigned; None before that."""
        self.blind_from_ns: dict[str, int] = {}
        """Since when those topics may miss something that were not live at the last beat."""
        self.restart_s: float | None = None
        """When to start it again; None = not planned."""
        self._logger = logger
        self._child = Child([sys.executable, "-m", "feedhandler.worker"], self._exited, secrets - secrets_of(plan))
        self._policy = RestartPolicy()
        self._started_s = 0.0
        self._silent_s = 0.0
        self._aborted_s: float | None = None
        self._clock_s = 0.0

    @property
    def pid(self) -> int | None:
        """Its process id, None while there is no process."""
        return self._child.pid

    @property
    def is_given_up(self) -> bool:
        """Whether it is not started again by itself."""
        return self.state == PARKED and self.restart_s is None

    @property
    def has_paths(self) -> bool:
        """Whether its process has those of its addresses that may change hands while another process lives."""
        return self.unbound is not None and not any(map(runtime.ipc_path, self.unbound))

    def start(self, now_s: float) -> None:
        """Start the process."""
        self.state, self.way_back, self.restart_s, self._aborted_s = STARTING, [], None, None
        self.topics, self.unbound = {}, None
        self._clock_s = self._started_s = now_s
        self._silent_s = 0.0
        plan = msgspec.structs.replace(self.plan, takes_over=self.takes_over)
        try:
            self._child.start(msgspec.json.encode(plan) + b"\n")
        except OSError as error:
            # No more processes, descriptors or memory: a matter of the machine, that may pass.
            self.state, self.last_exit = STOPPED, f"could not be started: {error.strerror}"
            if self.is_mended:
                self.state, self.restart_s = PARKED, now_s + max(self._policy.pause_s(1, 0.0) or 0.0, 1.0)
            self._logger.error("worker %s %s", self.plan.worker, self.last_exit)  # noqa: TRY400 - the line says it all

    def assign(self, way_back: list[bytes], epoch: int, now_ns: int) -> control.Assign:
        """Return the first message to a worker that said hello."""
        self.way_back, self.epoch, self.state = way_back, epoch, RUNNING
        self._silent_s = 0.0
        self.unbound = None if self.takes_over else []
        holes = self.holes()
        if self.known_ns is None:
            self.known_ns = now_ns  # a strategy may have been told of topics by then: its successor says since when
        return control.Assign(epoch=epoch, topics=self.plan.topics, blind_from_ns=holes)

    def holes(self) -> dict[str, int]:
        """Return since when each topic may be missing something if this process delivers no more; empty if it never did."""
        if self.known_ns is None:
            return {}
        return {topic: self.blind_from_ns.get(topic, self.known_ns) for topic in self.plan.topics}

    def heard(self, beat: control.Beat, now_s: float) -> None:
        """Take a beat."""
        self._silent_s = 0.0
        self.beat_s = now_s
        self.heartbeat = beat.heartbeat
        # One without topics carries none yet, or none any more, and knows nothing of them.
        if beat.heartbeat.topics:
            self.known_ns, self.blind_from_ns = beat.known_ns, beat.blind_from_ns
        self.topics.update(beat.states)

    def look(self, now_s: float, ran_s: float) -> None:
        """Judge its silence, of which ``ran_s`` is what our own loop ran since the last look; restart it when due."""
        self._clock_s = now_s
        if self.restart_s is not None and now_s >= self.restart_s:
            self.restarts += 1
            self.start(now_s)
        elif self.state in (STARTING, RUNNING):
            self._silent_s += ran_s
            if self._silent_s > (HUNG_AFTER_S if self.state == RUNNING else START_PATIENCE_S):
                self._logger.error(
                    "worker %s hangs: silent for %.1f s; asking it where", self.plan.worker, self._silent_s
                )
                self.state, self._aborted_s = HUNG, now_s
                self._child.signal(signal.SIGABRT)
        elif self.state == HUNG and self._aborted_s is not None and now_s - self._aborted_s > KILL_AFTER_S:
            self._aborted_s = None
            self.kill()

    def restart_now(self, now_s: float) -> None:
        """Start it again at once, however often that failed; a process that is there is killed."""
        self._policy = RestartPolicy()
        if self.pid is None:
            self.restart_s = now_s
        else:
            self.kill()

    def give_way(self) -> None:
        """Leave the worker's place to another process: this one is not started again, however it ends."""
        self.is_mended, self.restart_s = False, None
        if self.pid is None:
            self.state = STOPPED

    def stop(self) -> None:
        """Ask it to end in order, and do not start it again."""
        self.restart_s = None
        if self.pid is None:
            self.state = STOPPED
        elif self.state != STOPPING:
            self.state = STOPPING
            self._child.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._child.signal(signal.SIGKILL)

    def _exited(self, exit_code: int) -> None:
        self.way_back = []
        self.exit_code = exit_code
        if self.state == STOPPING:
            self.state, self.last_exit = STOPPED, exit_in_words(exit_code)
            return
        word = self._last_word()
        self.last_exit = exit_in_words(exit_code) + (f": {word}" if word else "")
        if not self.is_mended:
            self.state = STOPPED
            return
        pause_s = self._policy.pause_s(exit_code, self._clock_s - self._started_s)
        self.state = PARKED
        if pause_s is None:
            self._logger.error("worker %s could not start (%s); it stays parked", self.plan.worker, self.last_exit)
            return
        self.restart_s = self._clock_s + pause_s
        again = f"again in {pause_s:g} s" if pause_s else "again at once"
        self._logger.error("worker %s ended (%s); %s", self.plan.worker, self.last_exit, again)

    def _last_word(self) -> str:
        path = Path(self.plan.runtime_directory) / f"{self.plan.worker}.error"
        try:
            word = path.read_text()
        except OSError:
            return ""
        path.unlink(missing_ok=True)
        return word

    def status(self, now_s: float, restart: str = "") -> control.WorkerStatus:
        """Return what ``feedhandler status`` shows of it; ``restart`` is how far one by command is."""
        return control.WorkerStatus(
            worker=self.plan.worker,
            endpoint=self.plan.endpoint,
            product=self.plan.product,
            network=self.plan.network,
            url=self.plan.url,
            publish=self.plan.publish,
            state=self.state,
            pid=self.pid,
            epoch=self.epoch,
            restarts=self.restarts,
            last_exit=self.last_exit,
            beat_age_s=now_s - self.beat_s if self.heartbeat is not None else None,
            heartbeat=self.heartbeat,
            topics=self.topics,
            restart=restart,
        )
