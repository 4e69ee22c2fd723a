"""`connect`: the venue's streams in the strategy's own process, without supervisor and ZeroMQ.

The connections, the sessions and the checks are a worker's own; what a record means for the strategy is decided by the
`Track` that a subscriber uses. Between the two stands a queue instead of ZeroMQ.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec

from feedhandler import credentials, wire
from feedhandler.bybit import topics as grammar
from feedhandler.bybit.products import HOSTS, PRODUCTS, SITES
from feedhandler.bybit.topics import TopicError
from feedhandler.client.counters import Counters
from feedhandler.client.record import Record
from feedhandler.client.track import Track
from feedhandler.client.views import BookView, book_view
from feedhandler.config.model import Connection as Settings
from feedhandler.config.model import SecretSource
from feedhandler.config.private import is_here, is_open_to_listeners
from feedhandler.credentials import Credentials, Secret
from feedhandler.errors import ArgumentError, ClosedError, ConnectError
from feedhandler.worker.carrier import TICK_S, Carrier
from feedhandler.worker.diary import Diary
from feedhandler.worker.state import Feed

WORKER: Final = "direct"
"""Stands for the worker in statuses."""
QUIET_STATUS_S: Final = 10.0
"""A subject quiet this long repeats its status; it reaches the strategy only where it says something new."""

_PAUSE_AFTER: Final = 256
"""Records handed out without a wait before other tasks of the event loop have their turn."""
_NO_TAIL: Final = wire.TAIL.pack(0, 0, 0)
_NETWORKS: Final = {urlsplit(start).hostname: network for network, start in HOSTS.items()} | {
    urlsplit(start).hostname: "mainnet" for start in SITES.values()
}
"""By host."""

Given = str | Callable[[], str] | SecretSource
"""A key or secret: its text, a function that returns it, or a place where it is read; the latter two at each connect."""


def connect(
    url: str,
    *,
    product: str | None = None,
    api_key: Given | None = None,
    api_secret: Given | None = None,
    ping_interval_s: float = 20.0,
    pong_timeout_s: float = 10.0,
    connect_timeout_s: float = 10.0,
    max_attempts: int = 0,
    max_records: int = 100_000,
) -> "Client":
    """Return a client of the venue's stream at ``url``: ``wss://stream.bybit.com/v5/public/linear``.

    Use it with ``async with``; it also opens by itself at the first `Client.subscribe`. ``product`` is told by the URL's
    path and need only be given where that is not the venue's own. ``api_key``, ``api_secret``: for the private stream,
    ``wss://stream.bybit.com/v5/private``; text, a `feedhandler.SecretSource`, or a function that returns it; both are
    asked before each dial and once more to sign in. A key that cannot be had comes as a status, ``rejected``, and is
    looked for every 3 s; one that the venue refuses is tried again after a minute, then ever later. A private stream on
    a loopback address needs none: the simulator's test key is used.

    ``ping_interval_s``: at most 20. ``pong_timeout_s``: how long the answer to a ping may take. ``connect_timeout_s``:
    for TCP, TLS and upgrade together. ``max_attempts``: failed attempts in a row before `ConnectError`; 0 = never give
    up. ``max_records``: records that wait while the program is busy; beyond it the oldest are dropped, counted and told.

    Raises `ArgumentError` for a URL, product, key or number that cannot be meant. Data from a loopback address are
    flagged as simulated: the venue is not on this machine.
    """
    host = _host(url)
    if max_records < 1:
        raise ArgumentError(f"max_records is at least 1, not {max_records}")
    given = {
        "ping_interval_s": ping_interval_s,
        "pong_timeout_s": pong_timeout_s,
        "connect_timeout_s": connect_timeout_s,
        "max_attempts": max_attempts,
    }
    try:
        settings = msgspec.convert(given, Settings)
    except msgspec.ValidationError as error:
        raise ArgumentError(f"connect: {error}") from None
    found = _product(url, product)
    simulated = is_here(host)
    if api_key is not None and is_open_to_listeners(url):
        raise ArgumentError(f'"{url}" is not encrypted, and the API key would pass through it: use wss://')
    return Client(
        url,
        found,
        settings,
        network="sim" if simulated else _NETWORKS.get(host, ""),
        max_records=max_records,
        account=_account(found, api_key, api_secret, simulated=simulated),
    )


class Client:
    """The venue's streams of one product, over as many connections as its topics need.

    Iterate over it for the records. Whatever happens to a topic comes as a record, in order with its data, and the
    iteration keeps its seat: it ends with `close`, and raises only where there is nothing more to wait for.
    Made by `connect`; for one event loop, the one it is first used in.
    """

    def __init__(
        self,
        url: str,
        product: str,
        settings: Settings,
        *,
        network: str,
        max_records: int,
        account: Credentials | None = None,
    ) -> None:
        self.url = url
        self.product = product
        """The venue's product; subjects begin with it: ``linear.orderbook.50.BTCUSDT``."""
        self.network = network
        """``mainnet``, ``testnet``, ``demo`` or ``sim``, by the URL's host; ``""`` where that is not known."""
        self.simulated = network == "sim"
        """Records are flagged as simulated."""
        self.counters = Counters()
        """What was lost or mended since the start."""
        self._settings = settings
        self._max_records = max_records
        self._account = account
        """Whose the private connections are."""
        self._feed = Feed(
            worker=WORKER,
            endpoint=product,
            product=product,
            network=network,
            simulated=self.simulated,
            quiet_status_s=QUIET_STATUS_S,
            publish=self._publish,
        )
        self._log = logging.getLogger(f"feedhandler.client.{product}")
        self._diary = Diary(self._log)
        self._epoch = 0
        self._heads: dict[bytes, tuple[str, int, int, int, int]] = {}
        """Subject, kind, flags, line and epoch by `wire.head`."""
        self._queue: deque[Record] = deque()
        """As the feed published them."""
        self._outbox: deque[Record] = deque()
        """As the strategy gets them."""
        self._tracks: dict[str, Track] = {}
        self._behind: dict[str, None] = {}
        """Subjects of which records were dropped, and which an image brings back in step."""
        self._arrived = asyncio.Event()
        self._since_pause = 0
        self._failure: BaseException | None = None
        """Why nothing more will come."""
        self._keeper: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    # What the strategy wants.

    async def subscribe(self, *topics: str) -> None:
        """Take topics up, as the venue writes them (see `feedhandler.topics`), also while there is no connection.

        They are remembered, and asked for again on every connection to come. Raises `TopicError`, before anything is
        asked, for a topic that the product does not serve. One that the venue itself refuses comes as a status,
        ``rejected``, with its words.
        """
        self._subscribe(topics)

    def _subscribe(self, topics: Iterable[str]) -> None:
        for topic in topics:
            grammar.parse(self.product, topic)
        if self.product == "private":
            # Cancelling at a disconnect is this program's own: the venue's hand is on this connection.
            wrong = grammar.refusals([*self._feed.routes, *topics], allow_dcp=True)
            if wrong:
                raise TopicError(next(iter(wrong.values())))
        self._open()
        new = [topic for topic in dict.fromkeys(topics) if topic not in self._feed.routes]
        self._epoch = max(int(time.time()), self._epoch + 1)
        for topic in new:
            subject = self._subject(topic)
            where_lost = f"in this program: it reads too slowly, and at most {self._max_records} may wait"
            track = self._tracks[subject] = Track(subject, self._outbox, self.counters, where_lost)
            track.product = self.product
        self._carrier.carry(new, self._epoch)

    async def unsubscribe(self, *topics: str) -> None:
        """Give topics up. Of what was received and not yet handed out nothing comes any more."""
        self._check_usable()
        self._carrier.release(topics, "unsubscribed")
        subjects = {self._subject(topic) for topic in topics}
        for subject in subjects:
            if (track := self._tracks.pop(subject, None)) is not None:
                track.detach()
            self._behind.pop(subject, None)
        for waiting in (self._queue, self._outbox):
            kept = [record for record in waiting if record.subject not in subjects]
            waiting.clear()
            waiting.extend(kept)
        self._heads.clear()

    def book(self, topic: str, *, numbers: type = float, strict: bool = False) -> BookView:
        """Return the book kept of a topic from now on, subscribing to it where that is not done yet.

        It moves as records are handed out. ``numbers``: ``float`` or ``Decimal``. ``strict``: its reads raise
        `BookNotLive` while it is not live. A second call for a topic returns a new book in place of the first.
        """
        subject = self._subject(topic)
        view = book_view(subject, self.product, numbers, strict=strict)
        self._subscribe([topic])
        track = self._tracks[subject]
        track.attach(view)
        if track.wants_image:
            self._behind[subject] = None
            self._arrived.set()
        return view

    # Records.

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        # The pause comes before the record is taken: a task cancelled in it loses nothing.
        self._since_pause += 1
        if self._since_pause > _PAUSE_AFTER:
            self._since_pause = 0
            await asyncio.sleep(0)
        while self._closing is None:
            record = self._next()
            if record is not None:
                return record
            self._open()
            self._since_pause = 0
            self._arrived.clear()
            await self._arrived.wait()
        raise StopAsyncIteration

    def _next(self) -> Record | None:
        """Return the next record, None where there is none."""
        while not self._outbox:
            if self._queue:
                record = self._queue.popleft()
                track = self._tracks[record.subject]
                track.on_record(record, time.time_ns())
                if track.needs_recovery:
                    self._behind[record.subject] = None
            elif self._behind:
                # Only now: composed while others wait before it, an image would be old when its turn comes.
                subject, _ = self._behind.popitem()
                now_s = asyncio.get_running_loop().time()
                self._feed.answer(self._feed.routes[_topic(subject)], time.time_ns(), now_s)
            else:
                return None
        record = self._outbox.popleft()
        if record.local:
            status = record.decode()
            self._log.warning("%s is %s: %s", record.topic, status.state, status.reason)
        return record

    # The beginning and the end.

    async def close(self) -> None:
        """Close every connection in order; the iteration ends. May be called twice."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name=f"close {self.url}")
            self._arrived.set()
        # A second cancellation of who waits here must not leave sockets behind.
        await asyncio.shield(self._closing)

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _open(self) -> None:
        """Dial the first connection, where that is not done yet."""
        self._check_usable()
        if self._keeper is None:
            canary = PRODUCTS[self.product].canary(())
            settings = msgspec.structs.replace(self._settings, canary=canary)
            sign = self._account.sign if self._account is not None else None
            if self._account is credentials.SIMULATOR:
                self._log.info("no api_key is given: the simulator's test key is used")
            self._carrier = Carrier(self._feed, url=self.url, settings=settings, ended=self._ended, sign=sign)
            self._carrier.open()
            self._keeper = asyncio.create_task(self._keep_time(), name=f"keep time of {self.url}")
            self._keeper.add_done_callback(self._ended)

    async def _close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            await self._carrier.close()

    def _check_usable(self) -> None:
        if self._closing is not None:
            raise ClosedError(f"the client of {self.url} is closed")
        if self._failure is not None:
            raise self._failure

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """A task ended: cancelled, given up, or by a bug of ours, which the iteration raises."""
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._log.error("a bug of feedhandler's: the client of %s stands still", self.url, exc_info=error)
        elif all(connection.gave_up for connection in self._carrier.connections):
            error = ConnectError(f"{self.url}: {self._carrier.connections[-1].gave_up}")
        self._failure = self._failure or error
        self._arrived.set()

    def _subject(self, topic: str) -> str:
        return f"{self.product}.{topic}"

    def _publish(self, head: bytes, sequence: int, received_ns: int, payload: bytes) -> None:
        """Take a record from the feed: called for every message, from the socket's callback."""
        fixed = self._heads.get(head)
        if fixed is None:
            parsed = wire.parse(head + _NO_TAIL)
            fixed = self._heads[head] = (parsed.subject, parsed.kind, parsed.flags, parsed.line, parsed.epoch)
        if len(self._queue) >= self._max_records:
            self._queue.popleft()  # its number is missing now: the track counts it and tells
        self._queue.append(Record(*fixed, sequence, received_ns, time.time_ns(), payload, self.product))
        self._arrived.set()

    # Time.

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._carrier.tick()
            self._carrier.tell(self._diary)


def _host(url: str) -> str:
    """Return the host of a WebSocket URL; raise `ArgumentError` where it is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number of a port
    except ValueError as error:
        raise ArgumentError(f'"{url}" is no URL: {error}') from None
    if parts.username is not None:
        raise ArgumentError("a URL with a user's name or a password in it is not understood: the venue has none")
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ArgumentError(f'"{url}" is no URL of a WebSocket, as {HOSTS["mainnet"]}{PRODUCTS["linear"].path} is')
    return parts.hostname


def _product(url: str, given: str | None) -> str:
    """Return the product that is meant: the one given, else the one of the URL's path."""
    if given is None:
        path = urlsplit(url).path.rstrip("/")
        found = next((product.name for product in PRODUCTS.values() if path.endswith(product.path)), None)
        if found is None:
            paths = ", ".join(product.path for product in PRODUCTS.values())
            raise ArgumentError(f'"{url}" does not say its product by its path ({paths}): give product=')
        return found
    if given not in PRODUCTS:
        raise ArgumentError(f'there is no product "{given}"; there are {", ".join(PRODUCTS)}')
    return given


def _account(product: str, api_key: Given | None, api_secret: Given | None, *, simulated: bool) -> Credentials | None:
    """Return whose the connections are; None where they are nobody's. Errors show nothing of what was given."""
    given = {"api_key": api_key, "api_secret": api_secret}
    for name, value in given.items():
        if value is not None and not (
            value if isinstance(value, str) else isinstance(value, SecretSource) or callable(value)
        ):
            what = "empty" if isinstance(value, str) else f"a {type(value).__name__}"
            raise ArgumentError(f"{name} is text, or a function that returns it; this one is {what}")
    if (api_key is None) != (api_secret is None):
        named, other = given if api_secret is None else reversed(given)
        raise ArgumentError(f"{named} is given without {other}: the venue wants both")
    if product != "private":
        if api_key is not None:
            raise ArgumentError(
                f"api_key is for the private stream; {product} is public, and the venue takes none there"
            )
        return None
    if api_key is None or api_secret is None:
        if simulated:
            return credentials.SIMULATOR
        raise ArgumentError("the private stream needs api_key= and api_secret=")
    key, secret = (Secret(one) if isinstance(one, str) else one for one in (api_key, api_secret))
    return Credentials(key, secret)


def _topic(subject: str) -> str:
    return subject.partition(".")[2]
