"""A process that reads a worker's records as a strategy with nothing but ZeroMQ would: receive, header, sequence.

Its standard input takes a `Join` and then `Read` orders, each a line of JSON; its standard output says `Joined` when
every subject is live, then `Got` for each order. End of input ends it.
"""

import math
import sys
import time
from array import array
from typing import Final

import msgspec
import zmq

from bench.market import STAMP_BYTES
from feedhandler import wire

QUIET_HEARTBEATS: Final = 4
"""So many heartbeats, one a second, without a record between them: what is missing is lost."""
NEVER_AGAIN: Final = wire.IMAGE | wire.REPEATED
"""Flags of records that have no number of their own."""
SILENCE_MS: Final = 15_000
"""Not even a heartbeat for this long: the worker is gone, and so are we."""
LEGS: Final = ("total", "venue to worker", "in the worker", "worker to subscriber")
QUANTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


class Join(msgspec.Struct):
    """What to subscribe to."""

    address: str
    subjects: int
    high_water_mark: int


class Joined(msgspec.Struct):
    """Every subject is live."""


class Read(msgspec.Struct):
    """Read so many data records; with ``latency`` note when each was sent, received, published and read."""

    messages: int
    latency: bool = False


class Got(msgspec.Struct):
    """What came."""

    messages: int
    breaks: int
    """Records whose sequence does not follow the one before."""
    missing: int
    """Records that the breaks skip."""
    first_published_ns: int
    last_published_ns: int
    last_read_ns: int
    latency_ns: dict[str, dict[str, int]]
    """By leg of the way (`LEGS`): quantiles; empty where not asked for."""


class Reader:
    """One SUB socket."""

    def __init__(self, join: Join) -> None:
        self._subjects = join.subjects
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, join.high_water_mark)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 10)
        self._socket.setsockopt(zmq.RCVTIMEO, SILENCE_MS)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(join.address)
        self._last: dict[bytes, int] = {}
        """By subject: the last sequence."""

    def join(self) -> None:
        """Read until every subject is live, and up to the next heartbeat: its first record comes after its status."""
        live: set[str] = set()
        kind = 0
        while len(live) < self._subjects or kind != wire.HEARTBEAT:
            record = wire.parse(self._socket.recv())
            kind = record.kind
            if kind == wire.STATUS:
                state = msgspec.json.decode(record.payload, type=wire.Status).state
                (live.add if state == wire.LIVE else live.discard)(record.subject)
            if kind <= wire.STATUS:
                self._last[record.subject.encode()] = record.sequence

    def read(self, order: Read) -> Got:
        """Read until all have come, or nothing comes any more."""
        recv = zmq.backend.Socket.recv.__get__(self._socket)
        unpack = wire.HEADER.unpack_from
        time_ns = time.time_ns
        last = self._last
        got = Got(0, 0, 0, 0, 0, 0, {})
        sent, received, published, read = (array("q") for _ in range(4))
        wanted, latency = order.messages, order.latency
        messages = at_heartbeat = quiet = last_published_ns = 0
        while messages < wanted:
            message = recv()
            zero = message.find(0)
            _, kind, flags, _, _, sequence, received_ns, published_ns = unpack(message, zero + 1)
            if kind > wire.STATUS:
                quiet = quiet + 1 if messages == at_heartbeat else 0
                at_heartbeat = messages
                if quiet == QUIET_HEARTBEATS:
                    break
                continue
            if flags & NEVER_AGAIN:
                continue
            subject = message[:zero]
            if sequence != last[subject] + 1:
                got.breaks += 1
                got.missing += sequence - last[subject] - 1
            last[subject] = sequence
            if kind == wire.STATUS:
                continue
            messages += 1
            last_published_ns = published_ns
            if messages == 1:
                got.first_published_ns = published_ns
            if latency:
                read.append(time_ns())
                published.append(published_ns)
                received.append(received_ns)
                sent.append(int(message[-1 - STAMP_BYTES : -1]))
        got.messages = messages
        got.last_published_ns = last_published_ns
        got.last_read_ns = time_ns()
        if latency:
            ways = ((sent, read), (sent, received), (received, published), (published, read))
            for leg, (begin, end) in zip(LEGS, ways, strict=True):
                got.latency_ns[leg] = quantiles([stop - start for start, stop in zip(begin, end, strict=True)])
        return got


def quantiles(values: list[int]) -> dict[str, int]:
    """Return, for each of `QUANTILES`, the smallest value that this share of all is not above."""
    values.sort()
    return {name: values[math.ceil(len(values) * share) - 1] for name, share in QUANTILES.items()} if values else {}


def main() -> None:
    """Read as ordered until standard input ends."""
    reader = Reader(msgspec.json.decode(sys.stdin.readline(), type=Join))
    reader.join()
    _say(Joined())
    for line in sys.stdin:
        _say(reader.read(msgspec.json.decode(line, type=Read)))


def _say(message: msgspec.Struct) -> None:
    print(msgspec.json.encode(message).decode(), flush=True)


if __name__ == "__main__":
    main()
