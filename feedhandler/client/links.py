"""The ways to the workers: what each was told, and what must be done to the sockets. Pure: no I/O, no clock."""

from collections.abc import Iterable, Iterator
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
        "filters",
        "heard_s",
        "name",
        "network",
        "skipped",
        "state",
    )

    def __init__(self, name: str, endpoint: str, address: str, now_s: float) -> None:
        self.name = name
        self.endpoint = endpoint
        """``""`` where the client was only given an address."""
        self.address = address
        self.state = CONNECTING
        self.heard_s = now_s
        self.filters: set[bytes] = set()
        """What it was told."""
        self.network: str | None = None
        """As the worker says; None until it does."""
        self.discard_before_ns = 0
        self.skipped: dict[Track, int] = {}
        """Records thrown away of the stale backlog, by subject."""

    def __str__(self) -> str:
        return f"worker {self.name} at {self.address}" if self.endpoint else f"the worker at {self.address}"


class Links:
    """All of them, by the worker's name; by its address where the client was only given that."""

    def __init__(self) -> None:
        self.by_name: dict[str, Link] = {}
        self.actions: list[Action] = []
        """To be carried out in order."""

    def __iter__(self) -> Iterator[Link]:
        return iter(self.by_name.values())

    def of(self, link: str | None, endpoint: str) -> Iterable[Link]:
        """Return the link of that name; where no name is known, every link that the endpoint may be at."""
        if link is not None:
            found = self.by_name.get(link)
            return (found,) if found is not None else ()
        return [other for other in self if not other.endpoint or other.endpoint == endpoint]

    def open(self, name: str, endpoint: str, address: str, filters: Iterable[bytes], now_s: float) -> None:
        """Connect to a worker, and tell it those of ``filters`` that concern it."""
        link = self.by_name[name] = Link(name, endpoint, address, now_s)
        self.actions.append(Open(name, address))
        if endpoint:
            self.tell(link, wire.prefix(f"{endpoint}.heartbeat.{name}"))
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
