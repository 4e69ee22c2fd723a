"""The ways to the workers: what each was told, and what must be done to the sockets. Pure: no I/O, no clock."""

from collections.abc import Container, Iterable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from feedhandler import wire
from feedhandler.client.interest import concerns

if TYPE_CHECKING:
    from feedhandler.client.track import Track

CONNECTING: Final = "connecting"
UP: Final = "up"
LOST: Final = "lost"
SILENT: Final = "silent"
"""Connected, but nothing is heard: the worker hangs."""

SILENCE_S: Final = 2.8
"""A worker of which nothing is heard for this long is down. Heartbeats come once a second; the third in a row is
missing, and a strategy knows within 3 s."""
PAUSE_S: Final = 1.0
"""A program that did not look for this long cannot tell a worker's silence from a pause of its own."""
EXCUSED_S: Final = 1.2
"""How much longer it waits then, once: after a pause of the whole machine the next heartbeat comes within 1 s."""


def link_name(worker: str, generation: int) -> str:
    """Name the way to one process of a worker: each successor by command has one of its own, beside its predecessor's."""
    return f"{worker}#{generation}" if generation else worker


def worker_of(link: str) -> str:
    """Return the worker at the end of a link."""
    return link if "://" in link else link.partition("#")[0]


class Open(msgspec.Struct, frozen=True):
    """Connect to a worker."""

    link: str
    address: str


class Close(msgspec.Struct, frozen=True):
    """Close the connection to a worker."""

    link: str


class Subscribe(msgspec.Struct, frozen=True):
    """Tell a worker of a filter."""

    link: str
    filter: bytes


class Unsubscribe(msgspec.Struct, frozen=True):
    """Take a filter back."""

    link: str
    filter: bytes


Action = Open | Close | Subscribe | Unsubscribe


class Link:
    """The way to one worker."""

    __slots__ = (
        "address",
        "discard_before_ns",
        "endpoint",
        "excused",
        "filters",
        "heard_s",
        "leaving_s",
        "lost_s",
        "name",
        "network",
        "replaced",
        "silence",
        "skipped",
        "state",
        "trouble",
    )

    def __init__(self, name: str, endpoint: str, address: str, now_s: float) -> None:
        self.name = name
        self.endpoint = endpoint
        """``""`` where the client was only given an address."""
        self.address = address
        self.state = CONNECTING
        self.heard_s = now_s
        self.lost_s = 0.0
        """When the connection last broke, as far as we know."""
        self.leaving_s: float | None = None
        """Since when the directory does not name it any more, while it is still to be heard to its end."""
        self.silence = ""
        """The reason that its silence was told with."""
        self.trouble = ""
        """Why nothing can come from it, as last told; ``""`` since it was heard."""
        self.replaced = False
        """Its records show another process; that the connection to the one before broke is still to be heard."""
        self.excused = False
        """Its silence was not counted once, for we had not looked ourselves."""
        self.filters: set[bytes] = set()
        """What it was told."""
        self.network: str | None = None
        """As the worker says; None until it does."""
        self.discard_before_ns = 0
        self.skipped: dict[Track, int] = {}
        """Records missed by the stale backlog that is thrown away, by subject."""

    def hear(self, now_s: float) -> None:
        """Note that something was heard."""
        self.state = UP
        self.trouble = ""
        self.heard_s = now_s
        self.excused = False

    def __str__(self) -> str:
        return f"worker {worker_of(self.name)} at {self.address}" if self.endpoint else f"the worker at {self.address}"


class Links:
    """All of them, by their names (`link_name`); by the worker's address where the client was only given that."""

    def __init__(self) -> None:
        self.by_name: dict[str, Link] = {}
        self.actions: list[Action] = []
        """To be carried out in order."""
        self._looked_s: float | None = None

    def __iter__(self) -> Iterator[Link]:
        return iter(self.by_name.values())

    def of(self, link: str | None, endpoint: str) -> Iterable[Link]:
        """Return the link of that name; where no name is known, every link that the endpoint may be at."""
        if link is not None:
            found = self.by_name.get(link)
            return (found,) if found is not None else ()
        return [other for other in self if not other.endpoint or other.endpoint == endpoint]

    def fallen_silent(self, busy: Container[str], now_s: float) -> list[Link]:
        """Return the links that were up and count as silent from now on; not ``busy`` ones, which have unread messages."""
        paused = self._looked_s is not None and now_s - self._looked_s > PAUSE_S
        self._looked_s = now_s
        fallen = []
        for link in self:
            if link.name in busy or link.state not in (UP, CONNECTING) or now_s - link.heard_s <= SILENCE_S:
                continue
            if paused and not link.excused:
                # A process that was stopped looks before ZeroMQ's thread has read what came meanwhile.
                link.excused = True
                link.heard_s = now_s - SILENCE_S + EXCUSED_S
                continue
            never = link.state == CONNECTING
            link.state = LOST if never else SILENT
            link.silence = f"{'no connection to' if never else 'no heartbeat from'} {link} for {SILENCE_S:g} s"
            fallen.append(link)
        return fallen

    def expect(self, now_s: float) -> None:
        """There is a feed again: workers that were lost are given the time to come that new ones have."""
        for link in self:
            if link.state == LOST:
                link.state = CONNECTING
                link.trouble = ""
                link.heard_s = now_s

    def open(self, name: str, endpoint: str, address: str, filters: Iterable[bytes], now_s: float) -> None:
        """Connect to a worker, and tell it those of ``filters`` that concern it."""
        link = self.by_name[name] = Link(name, endpoint, address, now_s)
        self.actions.append(Open(name, address))
        if endpoint:
            self.tell(link, wire.prefix(f"{endpoint}.heartbeat.{worker_of(name)}"))
        for zmq_filter in filters:
            self.tell(link, zmq_filter)

    def close(self, link: Link) -> None:
        """Close the way to a worker."""
        del self.by_name[link.name]
        self.actions.append(Close(link.name))

    def tell(self, link: Link, zmq_filter: bytes) -> None:
        """Tell a worker of a filter, unless it was told, or the filter does not concern it."""
        # Once each: told twice, ZeroMQ would want it taken back twice.
        if zmq_filter not in link.filters and concerns(zmq_filter, link.endpoint):
            link.filters.add(zmq_filter)
            self.actions.append(Subscribe(link.name, zmq_filter))

    def ask(self, link: Link, zmq_filter: bytes) -> None:
        """Have a worker answer for a filter, whether it was told of it or not."""
        if zmq_filter in link.filters:
            # Taken back first, what is published in between would be lost. ZeroMQ counts on our side: told twice and
            # taken back once it stays, and the worker hears of the telling alone.
            self.actions += (Subscribe(link.name, zmq_filter), Unsubscribe(link.name, zmq_filter))
        else:
            self.tell(link, zmq_filter)

    def untell(self, link: Link, zmq_filter: bytes) -> None:
        """Take a filter back, where it was told."""
        if zmq_filter in link.filters:
            link.filters.remove(zmq_filter)
            self.actions.append(Unsubscribe(link.name, zmq_filter))
