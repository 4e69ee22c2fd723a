"""Restarts by command that are under way: carries out what `Succession` decides, and tells who asked."""

import difflib
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from feedhandler import control, runtime, wire
from feedhandler.supervisor import worker as worker_states
from feedhandler.supervisor.succession import RETIRE_S, Act, Facts, Step, Succession
from feedhandler.supervisor.worker import Worker

TOLD_EVERY_S: Final = 1.0
"""Who asked hears of us at least this often."""
BY_COMMAND: Final = "restarted by command"

Send = Callable[[list[bytes], msgspec.Struct], None]


class Restart:
    """One that is under way."""

    def __init__(self, succession: Succession, old: Worker | None, new: Worker, now_s: float) -> None:
        self.succession = succession
        self.old = old
        """The process before; None where there is none that could carry anything."""
        self.new = new
        self.old_pid = old.pid if old is not None else new.pid
        self.begun_s = now_s
        self.is_handed_over = old is None
        """Whether the new one is the worker."""
        self.remark = ""
        self.has_complained = False
        self.watchers: list[list[bytes]] = []
        """The ways back to those who asked."""
        self._told = ""
        self._told_s = now_s

    @property
    def second(self) -> Worker | None:
        """The process that is not the worker at present: the successor first, then the one before."""
        return self.old if self.is_handed_over else self.new

    def facts(self) -> tuple[Facts, Facts]:
        """Return what is known of both. A process that was there, and hung, is nobody."""
        if self.old is None and self.old_pid is not None and self.new.pid == self.old_pid:
            return Facts(), Facts()
        return _facts(self.old, self.old_pid), _facts(self.new, self.new.pid)

    def words(self) -> str:
        """Say how far it is."""
        return self.succession.words(self.facts()[1])

    def news(self, now_s: float) -> str:
        """Return what the watchers are to be told now, ``""`` for nothing."""
        words = self.words()
        if words == self._told and now_s - self._told_s < TOLD_EVERY_S:
            return ""
        self._told, self._told_s = words, now_s
        return words


def _facts(worker: Worker | None, pid: int | None) -> Facts:
    if worker is None or pid is None or worker.pid != pid:
        return Facts(is_given_up=worker is not None and worker.is_given_up)
    return Facts(
        lives=True,
        is_assigned=bool(worker.way_back),
        has_paths=worker.has_paths,
        has_all=worker.unbound == [],
        states={topic: state for topic, (state, _) in worker.topics.items()},
    )


def _meets(worker: Worker) -> bool:
    """Say whether clients can be connected to both: they use the first ipc address, and that must have a path."""
    used = next((address for address in worker.plan.publish if address.startswith("ipc://")), "")
    return runtime.ipc_path(used) is not None


class Restarts:
    """All that are under way, by worker. ``workers`` is the supervisor's own table: successors are put into it."""

    def __init__(
        self,
        workers: dict[str, Worker],
        *,
        another: Callable[[Worker], Worker],
        send: Send,
        publish_directory: Callable[[], None],
        logger: logging.Logger,
    ) -> None:
        """``another`` returns a worker of the same plan, not started."""
        self._workers = workers
        self._another = another
        self._send = send
        self._publish_directory = publish_directory
        self._logger = logger
        self._under_way: dict[str, Restart] = {}
        self._leaving: dict[Worker, float] = {}
        """Successors that were told to end, and when."""

    @property
    def processes(self) -> list[Worker]:
        """Those beside the workers' own that may have a process."""
        seconds = [restart.second for restart in self._under_way.values()]
        return [*(second for second in seconds if second is not None), *self._leaving]

    def words(self, name: str) -> str:
        """Say how far the restart of a worker is, ``""`` where there is none."""
        restart = self._under_way.get(name)
        return restart.words() if restart is not None else ""

    def ask(self, way_back: list[bytes], name: str, now_s: float) -> None:
        """Begin one, or say why not."""
        worker = self._workers.get(name)
        if worker is None:
            near = difflib.get_close_matches(name, self._workers, n=len(self._workers), cutoff=0.0)
            text = f"there is no worker {name}; there {'are' if len(near) > 1 else 'is'} {', '.join(near)}"
            self._send(way_back, control.Refused(text=text, exit_code=2))
            return
        if worker.state in (worker_states.STOPPING, worker_states.STOPPED):
            self._send(way_back, control.Refused(text=f"{name} is being stopped"))
            return
        under_way = self._under_way.get(name)
        if under_way is not None and not worker.is_given_up:
            text = f"{name} is being restarted already: {under_way.words()}"
            self._send(way_back, control.Refused(text=text))
            return
        restart = under_way or self._begin(worker, now_s)
        if worker.is_given_up:  # its successor could not start, and may now
            worker.restart_now(now_s)
            restart.has_complained = False
        restart.watchers.append(way_back)
        self._tell(restart, now_s)

    def _begin(self, worker: Worker, now_s: float) -> Restart:
        name, topics = worker.plan.worker, worker.plan.topics
        if worker.state == worker_states.RUNNING:
            successor = self._another(worker)
            successor.takes_over, successor.is_mended = True, False
            restart = Restart(Succession(topics, now_s, meets=_meets(worker)), worker, successor, now_s)
            successor.start(now_s)
            self._logger.info("%s: restart by command: process %s starts beside it", name, successor.pid)
        else:
            # There is nobody who could go on meanwhile.
            restart = Restart(Succession(topics, now_s, meets=False, alone=True), None, worker, now_s)
            self._logger.info("%s: restart by command: it is %s, and started at once", name, worker.state)
            worker.restart_now(now_s)
        self._under_way[name] = restart
        return restart

    def tick(self, now_s: float, ran_s: float) -> None:
        """Go on with each. Call it before the workers are looked at: then none that ended is started again yet."""
        for name, restart in list(self._under_way.items()):
            while (act := restart.succession.look(now_s, *restart.facts())) is not None:
                self._do(act, restart, now_s)
            if restart.succession.is_over:
                del self._under_way[name]
                self._finish(restart, now_s)
                continue
            if restart.second is not None:
                restart.second.look(now_s, ran_s)
            if restart.new.is_given_up and restart.succession.needs_successor and not restart.has_complained:
                # Whoever is connected to the one before is served by that; the next restart by command goes on here.
                restart.has_complained = True
                self._refuse(
                    restart, f"its successor could not start ({restart.new.last_exit}); the old process goes on"
                )
            self._tell(restart, now_s)
        for worker, since_s in list(self._leaving.items()):
            if worker.pid is None:
                del self._leaving[worker]
            elif now_s - since_s > RETIRE_S:
                worker.kill()

    def _do(self, act: Act, restart: Restart, now_s: float) -> None:
        old, new = restart.old, restart.new
        name = new.plan.worker
        if act is Act.ABANDON:
            self._abandon(new, now_s)
            return
        assert old is not None  # noqa: S101 - nothing else is ever to be done where there was nobody
        match act:
            case Act.HAND_OVER:
                self._logger.info("%s: process %s hands over to process %s", name, old.pid, new.pid)
                self._promote(restart)
                self._send(old.way_back, control.Yield())
                self._send(new.way_back, control.Bind())
            case Act.SHOW:
                new.generation = old.generation + 1
                self._logger.info("%s: who connects now reaches process %s", name, new.pid)
                try:
                    self._publish_directory()
                except OSError as error:
                    self._logger.error("%s cannot be written: %s", runtime.FEED_FILE, error.strerror)  # noqa: TRY400 - the line says it all
                    restart.remark = f"{runtime.FEED_FILE} cannot be written ({error.strerror}): subscribers come later"
            case Act.RETIRE:
                self._logger.info("%s: process %s is ended", name, old.pid)
                self._send(old.way_back, control.Retire())
            case Act.KILL:
                self._logger.error("%s: process %s did not end in time; killed", name, old.pid)
                old.kill()
            case Act.GO_ON_ALONE:
                self._go_on_alone(restart, old)

    def _promote(self, restart: Restart) -> None:
        """Make the successor the worker."""
        old, new = restart.old, restart.new
        assert old is not None  # noqa: S101 - whom else would it succeed
        old.give_way()
        new.takes_over, new.is_mended = False, True
        new.restarts, new.generation, new.last_exit = old.restarts + 1, old.generation, BY_COMMAND
        restart.is_handed_over = True
        self._workers[new.plan.worker] = new

    def _go_on_alone(self, restart: Restart, old: Worker) -> None:
        new = restart.new
        in_order = restart.is_handed_over and old.exit_code == 0
        if not restart.is_handed_over:
            self._promote(restart)
            new.last_exit = old.last_exit
        if not in_order:
            restart.remark = f"process {restart.old_pid} did not end in order ({old.last_exit}): strategies were told"
            self._logger.error("%s: %s; process %s goes on", new.plan.worker, restart.remark, new.pid)
        if new.way_back:
            self._send(new.way_back, control.Bind(alone=True, blind_from_ns={} if in_order else old.holes()))

    def _finish(self, restart: Restart, now_s: float) -> None:
        new, old, name = restart.new, restart.old, restart.new.plan.worker
        if restart.succession.step is Step.GIVEN_UP:
            ended = f" ({new.last_exit})" if new.last_exit and new.pid is None else ""
            goes_on = ""
            if old is not None and not restart.is_handed_over:
                lives = old.pid == restart.old_pid
                goes_on = f"; process {old.pid} goes on" if lives else "; it is started again as after any end"
            self._refuse(restart, f"{restart.succession.reason}{ended}{goes_on}")
            return
        live = sum(state == wire.LIVE for state, _ in new.topics.values())
        done = control.Restarted(
            worker=name,
            old_pid=restart.old_pid,
            pid=new.pid or 0,
            topics=len(new.plan.topics),
            live=live,
            took_s=now_s - restart.begun_s,
            remark=restart.remark,
        )
        self._logger.info(
            "%s restarted: process %s -> %d, %d of %d topics live, %.1f s",
            *(name, done.old_pid, done.pid, done.live, done.topics, done.took_s),
        )
        for way_back in restart.watchers:
            self._send(way_back, done)

    def _refuse(self, restart: Restart, reason: str) -> None:
        text = f"{restart.new.plan.worker} was not restarted: {reason}"
        self._logger.error("%s", text)
        for way_back in restart.watchers:
            self._send(way_back, control.Refused(text=text))
        restart.watchers.clear()

    def _tell(self, restart: Restart, now_s: float) -> None:
        news = restart.news(now_s)
        if news:
            for way_back in restart.watchers:
                self._send(way_back, control.Progress(text=news))

    def _abandon(self, worker: Worker, now_s: float) -> None:
        worker.stop()
        self._leaving[worker] = now_s

    def stop(self, now_s: float) -> None:
        """The feed is stopped: end the processes that are no worker's own, and tell who waits."""
        for restart in self._under_way.values():
            self._refuse(restart, "the feed is being stopped")
            if restart.second is not None:
                restart.second.give_way()
                self._abandon(restart.second, now_s)
        self._under_way.clear()
