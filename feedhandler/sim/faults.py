"""The faults a venue may show (dossier 9.5), as data: what there is, what is switched on, and whom it hits. Pure.

A fault hits frames, requests or handshakes that match its ``product``, ``connection`` and ``topic`` (exact, or a prefix
ending in ``*``), with its ``probability``, until its ``count`` is spent or its ``seconds`` are over. The count is a
total; ``each=1`` gives every connection the whole count, so that all of them miss the same frame.
"""

import random
from collections.abc import Mapping
from typing import Final

import msgspec

SOCKET: Final = "socket"
HANDSHAKE: Final = "handshake"
REQUEST: Final = "request"
DATA: Final = "data"
BOOK: Final = "book"
VENUE: Final = "venue"

FOREVER: Final = 0
"""A count without end."""


class FaultError(ValueError):
    """A fault that does not exist or makes no sense; the text says why."""


class Kind(msgspec.Struct, frozen=True):
    """One kind of fault."""

    name: str
    where: str
    """What it hits: open sockets, handshakes, requests, data frames, books, or the venue as a whole."""
    text: str
    count: int = 1
    """How often unless told otherwise; `FOREVER` = until switched off."""
    parameters: Mapping[str, str] = {}
    """Further parameters and their defaults."""


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("reset", SOCKET, "end the sockets with RST"),
        Kind("eof", SOCKET, "end the sockets with FIN, without close frame"),
        Kind("close", SOCKET, "end the sockets with a close frame", parameters={"code": "1000", "reason": ""}),
        Kind(
            "refuse",
            HANDSHAKE,
            "answer handshakes with an HTTP status, or: reset = accept, then RST; hang = never answer",
            parameters={"status": "403"},
        ),
        Kind(
            "limit",
            HANDSHAKE,
            "refuse handshakes beyond a number of attempts in a time, as the venue's limiter does",
            FOREVER,
            {"attempts": "500", "window_s": "300", "status": "403"},
        ),
        Kind("nopong", REQUEST, "leave pings without answer", FOREVER),
        Kind(
            "noack",
            REQUEST,
            "leave subscribe and unsubscribe requests without acknowledgement; op limits it to one of them",
            FOREVER,
            {"op": ""},
        ),
        Kind("noauth", REQUEST, "leave auth requests without answer, and the connection unauthorized", FOREVER),
        Kind(
            "reject_auth",
            REQUEST,
            "refuse an auth request that is right",
            parameters={"text": "Params Error"},
        ),
        Kind("lateack", REQUEST, "delay acknowledgements further", FOREVER, {"ms": "1000"}),
        Kind("snapshot_first", REQUEST, "send the first data before the acknowledgement", FOREVER),
        Kind("ack_first", REQUEST, "send the first data after the acknowledgement", FOREVER),
        Kind("abort_before_ack", REQUEST, "cut the socket instead of acknowledging"),
        Kind("abort_after_ack", REQUEST, "cut the socket right after the acknowledgement"),
        Kind("reject", REQUEST, "refuse a subscribe request that is right", parameters={"text": "error:system busy"}),
        Kind("slip", REQUEST, "let data frames slip out after an unsubscription", FOREVER, {"frames": "2"}),
        Kind(
            "mute",
            DATA,
            "send no data; pongs and acknowledgements continue; heals=resubscribe: until subscribed anew",
            FOREVER,
            {"heals": ""},
        ),
        Kind("stall", DATA, "send nothing at all: no data, no pongs, no acknowledgements", FOREVER),
        Kind("skip", DATA, "leave frames out: updates, not snapshots"),
        Kind("duplicate", DATA, "send a frame twice"),
        Kind("reorder", DATA, "send a frame after the topic's next one"),
        Kind("delay", DATA, "send data late, in order: a slow line", FOREVER, {"ms": "50"}),
        Kind("regroup", DATA, "send the trades of a frame in frames of their own", FOREVER),
        Kind("unknown_delete", DATA, "delete a level that does not exist"),
        Kind("crossed", DATA, "add a bid above the best ask"),
        Kind("abort_mid_frame", DATA, "cut the socket in the middle of a frame"),
        Kind(
            "garbage",
            DATA,
            "send a senseless frame before a good one: invalid, truncated, binary, empty, list or latin1",
            parameters={"what": "invalid"},
        ),
        Kind("unknown_topic", DATA, "send a frame of a topic that nobody subscribed", parameters={"name": "news.1"}),
        Kind("unknown_type", DATA, "send a frame with a type that the venue never had"),
        Kind("extra_fields", DATA, "add fields that the venue never had, top-level and in the data", FOREVER),
        Kind("skew", DATA, "shift ts: a venue clock that is wrong", FOREVER, {"ms": "-5000"}),
        Kind("fragment", DATA, "cut a message into continuation frames", parameters={"parts": "3"}),
        Kind("split", DATA, "spread a frame over many TCP segments", parameters={"segment_bytes": "1"}),
        Kind("restart", BOOK, "begin the update ids again: a snapshot with u=1"),
        Kind("restart_delta", BOOK, "begin the update ids again with a delta with u=1"),
        Kind("renew", BOOK, "send the next state as a snapshot; without topic: of every book at once"),
        Kind("lower", BOOK, "send the next state as a snapshot with a lower u", parameters={"by": "1000"}),
        Kind("empty", BOOK, "send an empty snapshot; the next delta fills the book again"),
        Kind("one_sided", BOOK, "send a snapshot without bids; the next delta brings them back"),
        Kind(
            "delist",
            VENUE,
            "take a symbol off the list: its topics go quiet and are refused",
            parameters={"symbol": ""},
        ),
        Kind("relist", VENUE, "put a symbol back on the list", parameters={"symbol": ""}),
        Kind(
            "maintenance",
            VENUE,
            "announce maintenance on the status socket, then reset every other socket",
            parameters={"after_s": "0.2"},
        ),
    )
}

_COMMON: Final = ("product", "connection", "topic", "probability", "count", "seconds", "each")


class Fault(msgspec.Struct):
    """A fault that is switched on."""

    id: int
    kind: str
    product: str | None = None
    connection: int | None = None
    topic: str | None = None
    probability: float = 1.0
    count: int = 1
    seconds: float = 0.0
    """How long it lasts; 0 = until spent or switched off."""
    each: bool = False
    parameters: dict[str, str] = {}
    hits: int = 0
    until_s: float = float("inf")
    spent: dict[int, int] = {}
    """Hits by connection."""
    healed: set[tuple[int, str]] = set()
    """Connections and topics that are spared since they were subscribed anew (``mute``)."""
    held: dict[tuple[int, str], bytes] = {}
    """Frames kept back, by connection and topic (``reorder``)."""

    def matches(self, product: str, connection: int, topic: str) -> bool:
        """Say whether it concerns this connection and topic (``""`` = no topic in question)."""
        if self.product not in (None, product) or self.connection not in (None, connection):
            return False
        if self.topic is None or not topic:
            return self.topic is None or not topic
        return topic.startswith(self.topic[:-1]) if self.topic.endswith("*") else topic == self.topic

    def number(self, name: str) -> float:
        """Return a parameter as a number."""
        return float(self.parameters[name])


class Faults:
    """What is switched on."""

    def __init__(self, seed: int = 1) -> None:
        self.active: dict[int, Fault] = {}
        self.handshakes: list[Fault] = []
        self.requests: list[Fault] = []
        self.data: list[Fault] = []
        self._numbers = 0
        self._chance = random.Random(f"{seed} faults")  # noqa: S311 - lifelike, not secret

    def build(self, query: Mapping[str, str], now_s: float) -> Fault:
        """Make a fault of text parameters, not yet switched on; raise `FaultError` where they make no sense."""
        kind = KINDS.get(query.get("kind", ""))
        if kind is None:
            raise FaultError(f'there is no fault "{query.get("kind", "")}"; there are {", ".join(KINDS)}')
        for name in query:
            if name != "kind" and name not in _COMMON and name not in kind.parameters:
                known = ", ".join((*_COMMON, *kind.parameters))
                raise FaultError(f'"{name}" means nothing to {kind.name}; it knows {known}')
        self._numbers += 1
        given: dict[str, object] = {name: query[name] for name in _COMMON if name in query}
        try:
            fault = msgspec.convert(
                {"count": kind.count, **given, "id": self._numbers, "kind": kind.name}, Fault, strict=False
            )
        except msgspec.ValidationError as error:
            raise FaultError(str(error)) from None
        if fault.seconds:
            fault.until_s = now_s + fault.seconds
            if "count" not in given:
                fault.count = FOREVER
        fault.parameters = {name: query.get(name, default) for name, default in kind.parameters.items()}
        for name, text in fault.parameters.items():
            if _is_number(kind.parameters[name]) and not _is_number(text) and name != "status":
                raise FaultError(f'{name} of {kind.name} is a number, not "{text}"')
        return fault

    def switch_on(self, fault: Fault) -> None:
        """Let it hit from now on."""
        self.active[fault.id] = fault
        self._sort()

    def switch_off(self, fault_id: int | None = None) -> list[Fault]:
        """Switch one off, or all; return which."""
        ended = [fault for fault in self.active.values() if fault_id in (None, fault.id)]
        for fault in ended:
            del self.active[fault.id]
        self._sort()
        return ended

    def expire(self, now_s: float) -> None:
        """Switch off what is spent or over."""
        over = [fault for fault in self.active.values() if fault.until_s <= now_s or self._is_spent(fault)]
        for fault in over:
            del self.active[fault.id]
        if over:
            self._sort()

    def hits(self, fault: Fault, connection: int, now_s: float) -> bool:
        """Draw whether a matching fault hits this time, and count it if so."""
        if fault.until_s <= now_s or (fault.probability < 1 and self._chance.random() >= fault.probability):
            return False
        spent = fault.spent.get(connection, 0) if fault.each else fault.hits
        if fault.count != FOREVER and spent >= fault.count:
            return False
        fault.hits += 1
        fault.spent[connection] = fault.spent.get(connection, 0) + 1
        return True

    def request(self, kind: str, product: str, connection: int, now_s: float, *, op: str = "") -> Fault | None:
        """Return the fault of ``kind`` that hits a request, if any."""
        for fault in self.requests:
            if (
                fault.kind == kind
                and fault.matches(product, connection, "")
                and fault.parameters.get("op", "") in ("", op)
                and self.hits(fault, connection, now_s)
            ):
                return fault
        return None

    def heal(self, product: str, connection: int, topic: str) -> None:
        """Take note of a subscription: some faults end with it."""
        for fault in self.data:
            if fault.parameters.get("heals") == "resubscribe" and fault.matches(product, connection, topic):
                fault.healed.add((connection, topic))

    def is_stalled(self, product: str, connection: int, now_s: float) -> bool:
        """Say whether this connection must be sent nothing at all."""
        return any(
            fault.kind == "stall" and fault.matches(product, connection, "") and fault.until_s > now_s
            for fault in self.data
        )

    def _is_spent(self, fault: Fault) -> bool:
        # A frame that is held back still has to come out; "each" is spent only as connections are.
        return fault.count != FOREVER and not fault.each and fault.hits >= fault.count and not fault.held

    def _sort(self) -> None:
        of = {
            where: [fault for fault in self.active.values() if KINDS[fault.kind].where == where]
            for where in (HANDSHAKE, REQUEST, DATA)
        }
        self.handshakes, self.requests, self.data = of[HANDSHAKE], of[REQUEST], of[DATA]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
