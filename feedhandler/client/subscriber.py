"""`Subscriber`: what a strategy uses. Sockets, waiting and callbacks; what is true is decided in `truth`."""

import asyncio
import logging
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Final, Self

import zmq
from msgspec import UNSET

from feedhandler.client.channel import Channel
from feedhandler.client.directory import DirectoryWatch, feed_file
from feedhandler.client.interest import is_control, is_prefix
from feedhandler.client.record import UNKNOWN, Record
from feedhandler.client.track import Counters
from feedhandler.client.truth import Close, Link, Open, Subscribe, Truth
from feedhandler.errors import FeedError, NotLiveError

_log: Final = logging.getLogger("feedhandler.client")

TICK_S: Final = 0.1
"""How often silence is judged and ``feed.json`` looked at."""
ROUND: Final = 64
"""Messages read from one worker before the others have their turn and the clock is read."""

_PAUSE_AFTER: Final = 256
"""Records handed out without a wait before other tasks of the event loop have their turn."""

Callback = Callable[[Record], object]


class Subscriber:
    """A strategy's seat at the feed. Works before the feed is started and across its restarts.

    Where the feed is: ``config_path`` (only its ``runtime.directory`` is read, no secrets), or ``runtime`` (the runtime
    directory), or ``addresses`` (ZeroMQ addresses of workers, without a directory), or nothing (the default runtime
    directory). Everything that happens to a subject comes as a record, in order with its data: see `Record.local` and
    ``feedhandler.wire.Status``. Nothing of it raises.

    ``network``: data of any other network is refused (``"mainnet"`` also refuses simulated and replayed data).
    ``max_age_s``: a backlog older than this, by the clock of the worker's machine, is thrown away and said; None keeps
    everything. ``receive_high_water_mark``: records kept by ZeroMQ per worker while the strategy is busy; beyond it the
    newest are lost, and counted by their sequence.

    Not thread-safe: use one in each thread that needs one, each from one thread only.
    """

    def __init__(
        self,
        config_path: str | os.PathLike[str] | None = None,
        *,
        runtime: str | os.PathLike[str] | None = None,
        addresses: Iterable[str] | None = None,
        network: str | None = None,
        max_age_s: float | None = None,
        receive_high_water_mark: int = 100_000,
    ) -> None:
        if sum(given is not None for given in (config_path, runtime, addresses)) > 1:
            raise FeedError("give a configuration, a runtime directory or addresses: one of them")
        fixed = list(addresses) if addresses is not None else None
        self._watch = DirectoryWatch(feed_file(config_path, runtime)) if fixed is None else None
        where = str(self._watch.path) if self._watch is not None else ", ".join(fixed or ())
        self._truth = Truth(where, network=network, max_age_s=max_age_s)
        self._outbox = self._truth.outbox
        self._high_water_mark = receive_high_water_mark
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._channels: dict[str, tuple[Link, Channel]] = {}
        self._by_descriptor: dict[int, str] = {}
        self._epoll = select.epoll()
        self._ready: deque[str] = deque()
        """Workers that may have messages to read."""
        self._current: tuple[Link, Channel] | None = None
        """The first of them, while it has its turn."""
        self._left = 0
        """Messages that it may still bring in this turn."""
        self._kept: deque[Record] = deque()
        """Received while waiting for `wait_live`; handed out first."""
        self._callbacks: list[tuple[str, bool, Callback]] = []
        self._ages = max_age_s is not None
        self._alive = False
        self._now_s = 0.0
        self._next_tick_s = 0.0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._since_pause = 0
        self._advance()
        if fixed is not None:
            self._truth.set_addresses(fixed)
        self._tick()

    # Subscriptions.

    def subscribe(self, *subjects: str) -> None:
        """Take up subjects (``linear.orderbook.50.BTCUSDT``) and prefixes (ending in ``.`` or ``*``), at any time.

        Each subject answers with its status and, where it is a state, an image. Raises `SubjectError` for text that can
        be neither. A subject that nobody carries is told as ``unassigned``, and followed when somebody does.
        """
        self._check_open()
        self._advance()
        for subject in subjects:
            self._truth.subscribe(subject)
        self._act()

    def unsubscribe(self, *subjects: str) -> None:
        """Give subjects and prefixes up, each as it was subscribed to."""
        self._check_open()
        for subject in subjects:
            self._truth.unsubscribe(subject)
        self._act()

    # Records.

    def receive(self, timeout_s: float | None = None) -> Record | None:
        """Return the next record; None after ``timeout_s`` without one (0 = do not wait, None = wait for ever)."""
        if self._kept:
            return self._kept.popleft()
        return self._receive(None if timeout_s is None else time.monotonic() + timeout_s)

    async def receive_async(self, timeout_s: float | None = None) -> Record | None:
        """Return the next record as `receive` does, without blocking the event loop."""
        if self._kept:
            return self._kept.popleft()
        return await self._receive_async(None if timeout_s is None else time.monotonic() + timeout_s)

    def __iter__(self) -> Iterator[Record]:
        while (record := self.receive()) is not None:
            yield record

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        record = await self.receive_async()
        if record is None:
            raise StopAsyncIteration
        return record

    def on(self, subject: str, callback: Callback) -> None:
        """Subscribe to a subject or prefix and have `run` call ``callback(record)`` for each of its records."""
        self.subscribe(subject)
        self._callbacks.append((subject.removesuffix("*"), is_prefix(subject), callback))

    def run(self) -> None:
        """Hand every record to its callbacks until `close` is called (a callback may). An exception of theirs ends it."""
        called: dict[str, list[Callback]] = {}
        count = len(self._callbacks)
        for record in self:
            if count != len(self._callbacks):
                called.clear()
                count = len(self._callbacks)
            callbacks = called.get(record.subject)
            if callbacks is None:
                callbacks = called[record.subject] = [
                    callback
                    for text, prefix, callback in self._callbacks
                    if record.subject == text or (prefix and record.subject.startswith(text))
                ]
            for callback in callbacks:
                callback(record)

    # State.

    def state(self, subject: str) -> str:
        """Return a subject's state as of the last record received.

        ``live``, ``stale``, ``resyncing``, ``subscribing``, ``down``, ``rejected``, ``ended`` as the worker says, or
        ``unassigned`` (nobody carries it), ``unknown`` (nothing heard, not subscribed to, or no feed).
        """
        track = self._truth.track(subject)
        return UNKNOWN if track is None else track.state

    def reason(self, subject: str) -> str:
        """Return the reason that came with a subject's state; ``""`` where none did."""
        track = self._truth.track(subject)
        return "" if track is None else track.reason

    @property
    def counters(self) -> Counters:
        """What was lost, thrown away or mended since the start."""
        return self._truth.counters

    def wait_live(self, timeout_s: float) -> None:
        """Wait until everything subscribed to is live; raise `NotLiveError` after ``timeout_s``, saying what is not.

        Records that come meanwhile are kept, and handed out afterwards.
        """
        deadline_s = time.monotonic() + timeout_s
        while behind := self._behind():
            if time.monotonic() >= deadline_s:
                raise NotLiveError(f"not live after {timeout_s:g} s: {behind}")
            record = self._receive(min(deadline_s, time.monotonic() + TICK_S))
            if record is not None:
                self._kept.append(record)

    async def wait_live_async(self, timeout_s: float) -> None:
        """Wait as `wait_live` does, without blocking the event loop."""
        deadline_s = time.monotonic() + timeout_s
        while behind := self._behind():
            if time.monotonic() >= deadline_s:
                raise NotLiveError(f"not live after {timeout_s:g} s: {behind}")
            record = await self._receive_async(min(deadline_s, time.monotonic() + TICK_S))
            if record is not None:
                self._kept.append(record)

    def _behind(self) -> str:
        """Name what is not live, ``""`` where everything is."""
        tracks = self._truth.tracks()
        behind = [
            f"{track.subject} is {track.state}" + (f" ({track.reason})" if track.reason else "")
            for track in tracks
            if not track.is_live
        ]
        if not behind and not tracks and any(not is_control(text) for text in self._truth.interest.filters):
            return "nothing has come yet"
        return "; ".join(behind[:5]) + (f"; and {len(behind) - 5} more" if len(behind) > 5 else "")

    # The end.

    def close(self) -> None:
        """Close every socket; iteration and `run` end. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())
            self._wake()
        for _, channel in self._channels.values():
            channel.close()
        self._channels.clear()
        self._epoll.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise FeedError("the subscriber is closed")

    # The way of a message.

    def _next(self) -> Record | None:
        """Return the next record, None where nothing is there."""
        outbox = self._outbox
        on_message = self._truth.on_message
        if self._ages:
            self._advance()
        while not self._closed:
            if outbox:
                return _logged(outbox.popleft())
            if not self._left and not self._turn():
                if outbox:
                    continue
                return None
            if self._current is None:
                continue
            link, channel = self._current
            try:
                while self._left:
                    self._left -= 1
                    record = on_message(link, channel.receive())
                    if record is not None:
                        return record
                    if outbox:
                        break
            except zmq.Again:
                self._drained(link, channel)
            if self._truth.actions:
                self._act()
        return None

    def _turn(self) -> bool:
        """Let the next worker with messages have its turn; False where none has."""
        self._advance()
        if self._current is not None:
            # It used its turn up: there may be more, but the others come first.
            self._truth.on_heard(self._current[0])
            self._current = None
            self._ready.rotate(-1)
        self._collect(0.0)
        if self._now_s >= self._next_tick_s:
            self._tick()
        if not self._ready:
            return False
        self._current = self._channels[self._ready[0]]
        self._left = ROUND
        return True

    def _drained(self, link: Link, channel: Channel) -> None:
        """A worker has no more messages for now: only then, in order, what happened to its connection."""
        self._ready.popleft()
        if self._left < ROUND - 1:
            self._truth.on_heard(link)
        self._current = None
        self._left = 0
        self._truth.on_drained(link)
        for connected in channel.events():
            if connected:
                self._truth.on_connected(link)
            else:
                self._truth.on_disconnected(link)

    def _advance(self) -> None:
        self._now_s = time.monotonic()
        self._truth.advance(time.time_ns(), self._now_s)

    def _tick(self) -> None:
        self._next_tick_s = self._now_s + TICK_S
        watch = self._watch
        if watch is not None:
            changed = watch.poll()
            alive = watch.is_alive()
            if changed or alive != self._alive:
                self._alive = alive
                self._truth.set_directory(watch.directory, alive=alive)
        self._truth.tick(self._ready)
        self._act()

    def _act(self) -> None:
        """Carry out what the truth wants of the sockets."""
        actions = self._truth.actions
        for action in actions:
            if isinstance(action, Open):
                channel = Channel(self._context, action.address, self._high_water_mark)
                self._channels[action.link] = (self._truth.links[action.link], channel)
                for descriptor in channel.descriptors:
                    self._by_descriptor[descriptor] = action.link
                    self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLET)
            else:
                channel = self._channels[action.link][1]
                if isinstance(action, Close):
                    self._shut(action.link, channel)
                    continue
                if isinstance(action, Subscribe):
                    channel.subscribe(action.filter)
                else:
                    channel.unsubscribe(action.filter)
            # Any call on a socket may swallow the signal that something came: look before waiting for it.
            if action.link not in self._ready:
                self._ready.append(action.link)
        actions.clear()

    def _shut(self, name: str, channel: Channel) -> None:
        for descriptor in channel.descriptors:
            self._epoll.unregister(descriptor)
            del self._by_descriptor[descriptor]
        if name in self._ready:
            if self._ready[0] == name:
                self._current = None
                self._left = 0
            self._ready.remove(name)
        del self._channels[name]
        channel.close()

    # Waiting.

    def _receive(self, deadline_s: float | None) -> Record | None:
        while not self._closed:
            record = self._next()
            if record is not None:
                return record
            now_s = time.monotonic()
            if deadline_s is not None and now_s >= deadline_s:
                return None
            until_s = self._next_tick_s if deadline_s is None else min(self._next_tick_s, deadline_s)
            self._collect(max(until_s - now_s, 0.0))
        return None

    async def _receive_async(self, deadline_s: float | None) -> Record | None:
        # The pause comes before the record is taken: a task cancelled in it loses nothing.
        self._since_pause += 1
        if self._since_pause > _PAUSE_AFTER:
            self._since_pause = 0
            await asyncio.sleep(0)
        while not self._closed:
            record = self._next()
            if record is not None:
                return record
            now_s = time.monotonic()
            if deadline_s is not None and now_s >= deadline_s:
                return None
            await self._wait(self._next_tick_s if deadline_s is None else min(self._next_tick_s, deadline_s), now_s)
        return None

    async def _wait(self, until_s: float, now_s: float) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            loop.add_reader(self._epoll.fileno(), self._on_readable)
        self._since_pause = 0
        self._waiter = loop.create_future()
        timer = loop.call_later(max(until_s - now_s, 0.0), self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _on_readable(self) -> None:
        # Collecting clears the signal, so that a loop busy elsewhere is not called again and again.
        self._collect(0.0)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _collect(self, timeout_s: float) -> None:
        """Wait until a socket has something, and note which."""
        for descriptor, _ in self._epoll.poll(timeout_s):
            name = self._by_descriptor[descriptor]
            if name not in self._ready:
                self._ready.append(name)


def _logged(record: Record) -> Record:
    """Log what the client itself has to say; the rest of its truth was logged by the worker."""
    if record.local:
        status = record.decode()
        _log.log(
            logging.WARNING if status.lost is not UNSET else logging.INFO,
            "%s is %s: %s",
            record.subject,
            status.state,
            status.reason,
        )
    return record
