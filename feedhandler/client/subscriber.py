"""`Subscriber`: what a strategy uses. Sockets and waiting are in `reader`; what is true is decided in `truth`."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Final, Self, TypeVar

from feedhandler.client.counters import Counters
from feedhandler.client.directory import DirectoryWatch, feed_file
from feedhandler.client.interest import is_control, is_prefix, zmq_filter
from feedhandler.client.reader import TICK_S, Reader
from feedhandler.client.record import UNKNOWN, Record
from feedhandler.client.truth import Truth
from feedhandler.client.views import BookView, TickerView, book_view, ticker_view
from feedhandler.errors import FeedError, NotLiveError

Callback = Callable[[Record], object]
_View = TypeVar("_View", BookView, TickerView)
_LOOK_AFTER: Final = 256
"""Records taken in before `Subscriber.wait_live` looks again: at thousands of subjects a look costs more than many."""


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
        watch = DirectoryWatch(feed_file(config_path, runtime)) if fixed is None else None
        where = str(watch.path) if watch is not None else ", ".join(fixed or ())
        self._truth = Truth(where, network=network, max_age_s=max_age_s)
        if fixed is not None:
            self._truth.set_addresses(fixed)
        self._reader = Reader(self._truth, watch, high_water_mark=receive_high_water_mark, ages=max_age_s is not None)
        self._kept: deque[Record] = deque()
        """Received while waiting for `wait_live`; handed out first."""
        self._callbacks: list[tuple[str, bool, Callback]] = []

    # Subscriptions.

    def subscribe(self, *subjects: str) -> None:
        """Take up subjects (``linear.orderbook.50.BTCUSDT``) and prefixes (ending in ``.`` or ``*``), at any time.

        Each subject answers with its status and, where it is a state, an image. Raises `SubjectError` for text that can
        be neither. A subject that nobody carries is told as ``unassigned``, and followed when somebody does.
        """
        self._check_open()
        self._reader.advance()
        for subject in subjects:
            zmq_filter(subject)  # all or none
        for subject in subjects:
            self._truth.subscribe(subject)
        self._reader.act()

    def unsubscribe(self, *subjects: str) -> None:
        """Give subjects and prefixes up, each as it was subscribed to."""
        self._check_open()
        for subject in subjects:
            self._truth.unsubscribe(subject)
        self._reader.act()

    # Records.

    def receive(self, timeout_s: float | None = None) -> Record | None:
        """Return the next record; None after ``timeout_s`` without one (0 = do not wait, None = wait for ever)."""
        if self._kept:
            return self._kept.popleft()
        return self._reader.receive(None if timeout_s is None else time.monotonic() + timeout_s)

    async def receive_async(self, timeout_s: float | None = None) -> Record | None:
        """Return the next record as `receive` does, without blocking the event loop."""
        if self._kept:
            return self._kept.popleft()
        return await self._reader.receive_async(None if timeout_s is None else time.monotonic() + timeout_s)

    def __iter__(self) -> Iterator[Record]:
        next_record = self._reader.next  # most records are there already, and this is the shortest way to them
        while (record := (None if self._kept else next_record()) or self.receive()) is not None:
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

    def book(self, subject: str, *, numbers: type = float, strict: bool = False) -> BookView:
        """Return the book kept of a subject, from now on; subscribes to it where nothing does yet.

        ``numbers``: ``float`` or ``Decimal``. ``strict``: its reads raise `BookNotLive` while it is not live. It moves as
        records are received; asked for after its snapshot has gone by, it is live with the next image (some 100 ms).
        Asked for again, it is the same one, and ``numbers`` and ``strict`` must be the same.
        """
        return self._keep(subject, book_view, BookView, numbers, strict=strict)

    def ticker(self, subject: str, *, numbers: type = float, strict: bool = False) -> TickerView:
        """Return the ticker kept of a subject, from now on, as `book` does for books."""
        return self._keep(subject, ticker_view, TickerView, numbers, strict=strict)

    def _keep(
        self, subject: str, build: Callable[..., _View], kind: type[_View], numbers: type, *, strict: bool
    ) -> _View:
        self._check_open()
        track = self._truth.track(subject)
        if track is not None and isinstance(track.view, kind):
            if track.view.numbers is not numbers or track.view.strict is not strict:
                raise FeedError(f"{subject} is kept already, with other numbers or strictness")
            return track.view
        view = build(subject, "" if track is None else track.product, numbers, strict=strict)
        if track is None:
            self.subscribe(subject)
        self._reader.advance()
        self._truth.attach(subject, view)
        self._reader.act()
        return view

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
            self._take_in(self._reader.receive(min(deadline_s, time.monotonic() + TICK_S)))

    async def wait_live_async(self, timeout_s: float) -> None:
        """Wait as `wait_live` does, without blocking the event loop."""
        deadline_s = time.monotonic() + timeout_s
        while behind := self._behind():
            if time.monotonic() >= deadline_s:
                raise NotLiveError(f"not live after {timeout_s:g} s: {behind}")
            self._take_in(await self._reader.receive_async(min(deadline_s, time.monotonic() + TICK_S)))

    def _take_in(self, record: Record | None) -> None:
        """Keep a record, and those that are there behind it."""
        left = _LOOK_AFTER
        while record is not None:
            self._kept.append(record)
            left -= 1
            record = self._reader.next() if left else None

    def _behind(self) -> str:
        """Name what is not live, ``""`` where everything is."""
        tracks = self._truth.tracks()
        behind = [track for track in tracks if not track.is_live]
        if not behind and not tracks and any(not is_control(text) for text in self._truth.interest.filters):
            return "nothing has come yet"
        named = [
            f"{track.subject} is {track.state}" + (f" ({track.reason})" if track.reason else "") for track in behind[:5]
        ]
        return "; ".join(named) + (f"; and {len(behind) - 5} more" if len(behind) > 5 else "")

    # The end.

    def close(self) -> None:
        """Close every socket; iteration and `run` end. May be called twice."""
        self._reader.close()

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
        if self._reader.closed:
            raise FeedError("the subscriber is closed")
