"""Sockets and waiting: the workers' messages, one after the other, and what the truth makes of them."""

import asyncio
import logging
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import zmq
from msgspec import UNSET

from feedhandler.client.channel import Channel
from feedhandler.client.directory import DirectoryWatch, refusal_at
from feedhandler.client.links import Close, Link, Open, Subscribe
from feedhandler.client.record import Record
from feedhandler.client.truth import Truth

_log: Final = logging.getLogger("feedhandler.client")

TICK_S: Final = 0.1
"""How often silence is judged and ``feed.json`` looked at."""
ROUND: Final = 64
"""Messages read from one worker before the others have their turn and the clock is read."""
_PAUSE_AFTER: Final = 256
"""Records handed out without a wait before other tasks of the event loop have their turn."""


class Reader:
    """Reads from every worker in turn, for one thread.

    ``watch``: the directory that says where workers are; None where the addresses are fixed. ``ages``: records are held
    against ``max_age_s``, so the clock is read for each.
    """

    def __init__(self, truth: Truth, watch: DirectoryWatch | None, *, high_water_mark: int, ages: bool) -> None:
        self._truth = truth
        self._watch = watch
        self._high_water_mark = high_water_mark
        self._ages = ages
        self._outbox = truth.outbox
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._channels: dict[str, tuple[Link, Channel]] = {}
        self._by_descriptor: dict[int, str] = {}
        self._epoll = select.epoll()
        self._ready: deque[str] = deque()
        """Workers that may have messages to read."""
        self._link: Link | None = None
        """The first of them, while it has its turn."""
        self._receive: Callable[[], bytes]
        """Its next message."""
        self._left = 0
        """Messages that it may still bring in this turn."""
        self._on_message: Callable[[Any, bytes], Record | None] = truth.on_message
        self._alive = False
        self._malformed = 0
        """As last logged."""
        self._now_s = 0.0
        self._next_tick_s = 0.0
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._since_pause = 0
        self.advance()
        self._tick()

    def close(self) -> None:
        """Close every socket; who waits gets None. May be called twice."""
        if self.closed:
            return
        self.closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())
            self._wake()
        for _, channel in self._channels.values():
            channel.close()
        self._channels.clear()
        self._epoll.close()
        self._context.term()

    # The way of a message.

    def next(self) -> Record | None:
        """Return the next record, None where nothing is there."""
        if self._ages:
            self.advance()
        outbox = self._outbox
        while not self.closed:
            if outbox:
                return _logged(outbox.popleft())
            if self._left:
                # The short way; the rest is for what is rare, and for when there is nothing to do.
                self._left -= 1
                try:
                    record = self._on_message(self._link, self._receive())
                except zmq.Again:
                    self._drained()
                else:
                    if record is not None:
                        return record
                if self._truth.actions:
                    self.act()
            elif not self._turn() and not outbox:
                return None
        return None

    def _turn(self) -> bool:
        """Let the next worker with messages have its turn; False where none has."""
        self.advance()
        if self._link is not None:
            # It used its turn up: there may be more, but the others come first.
            self._truth.on_heard(self._link)
            self._link = None
            self._ready.rotate(-1)
        self._collect(0.0)
        if self._now_s >= self._next_tick_s:
            self._tick()
        if not self._ready:
            return False
        self._link, channel = self._channels[self._ready[0]]
        self._receive = channel.receive
        self._left = ROUND
        return True

    def _drained(self) -> None:
        """The worker whose turn it is has no more messages: only then, in order, what happened to its connection."""
        link, channel = self._channels[self._ready.popleft()]
        self.advance()  # the strategy may have been busy since this turn began
        if self._left < ROUND - 1:
            self._truth.on_heard(link)
        self._link = None
        self._left = 0
        self._truth.on_drained(link, channel.events())

    def advance(self) -> None:
        """Read the clocks."""
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
                self._truth.set_directory(watch.directory, alive=alive, trouble=watch.trouble)
            if changed and watch.trouble:
                _log.warning("cannot read %s: %s", watch.path, watch.trouble)
        self._truth.tick(self._ready)
        malformed = self._truth.counters.malformed
        if malformed != self._malformed:
            _log.warning("%d messages not understood: %s", malformed - self._malformed, self._truth.malformed)
            self._malformed = malformed
        self.act()

    def act(self) -> None:
        """Carry out what the truth wants of the sockets."""
        actions = self._truth.actions
        for action in actions:
            if isinstance(action, Open):
                channel = Channel(self._context, action.address, self._high_water_mark)
                self._channels[action.link] = (self._truth.links[action.link], channel)
                for descriptor in channel.descriptors:
                    self._by_descriptor[descriptor] = action.link
                    self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLET)
                if why := refusal_at(action.address):
                    _log.warning("cannot connect to %s: %s", action.address, why)
                    self._truth.on_refused(self._truth.links[action.link], why)
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
                self._link = None
                self._left = 0
            self._ready.remove(name)
        del self._channels[name]
        channel.close()

    # Waiting.

    def receive(self, deadline_s: float | None) -> Record | None:
        """Return the next record; None at ``deadline_s`` (monotonic clock, None = never) or when closed."""
        while not self.closed:
            record = self.next()
            if record is not None:
                return record
            now_s = time.monotonic()
            if deadline_s is not None and now_s >= deadline_s:
                return None
            until_s = self._next_tick_s if deadline_s is None else min(self._next_tick_s, deadline_s)
            self._collect(max(until_s - now_s, 0.0))
        return None

    async def receive_async(self, deadline_s: float | None) -> Record | None:
        """Return the next record as `receive` does, without blocking the event loop."""
        # The pause comes before the record is taken: a task cancelled in it loses nothing.
        self._since_pause += 1
        if self._since_pause > _PAUSE_AFTER:
            self._since_pause = 0
            await asyncio.sleep(0)
        while not self.closed:
            record = self.next()
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
