"""A process that serves a made-up market: just enough of V5 to be subscribed to, and as cheap as a venue can be.

Its standard input takes a `Shape` and then orders, each a line of JSON; its standard output says `Serving`, then `Sent`
for each order carried out. End of input ends it.

Two ways to send: `Flood` writes 64 KiB of whole frames at a time, as fast as the other end reads; `Pace` wakes each
millisecond and sends what is due, each frame by itself and stamped with the moment it is written.
"""

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Final

import msgspec
import picows
import uvloop

from bench.market import STAMP_BYTES, Market, Shape, build, framed
from feedhandler.bybit import operations

BLOB_BYTES: Final = 65_536
SEND_BUFFER_BYTES: Final = 262_144
"""Enough that the worker always finds something to read; much more would only measure cold memory."""
Write = Callable[[bytes | bytearray], None]
TICK_S: Final = 0.001
"""uvloop's timers have no finer grain."""


class Serving(msgspec.Struct):
    """Said once: connections are taken."""

    url: str
    cycle: int
    """Messages in a cycle."""


class Flood(msgspec.Struct, tag="flood"):
    """Send the whole cycle so many times, as fast as it is read."""

    cycles: int


class Pace(msgspec.Struct, tag="pace"):
    """Send so many messages at this rate."""

    per_s: int
    messages: int


Order = Flood | Pace


class Sent(msgspec.Struct):
    """The order is carried out."""

    messages: int
    largest_burst: int
    """Most messages sent back to back: of one tick, with what a late one had to catch up."""


class Venue(picows.WSListener):
    """Serves one connection."""

    def __init__(self, market: Market) -> None:
        super().__init__()
        self._first = {topic: framed(payload) for topic, payload in market.first.items()}
        self.frames = [framed(payload) for payload in market.cycle]
        self._at = 0
        """The place in the cycle of the next frame."""
        self._writable = asyncio.Event()
        self._transport: picows.WSTransport | None = None

    # Called by picows.

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport
        self._writable.set()
        # A full socket buffer and more behind it: the reader must never be the one that waits.
        transport.underlying_transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES
        )
        transport.underlying_transport.set_write_buffer_limits(high=16 * BLOB_BYTES, low=8 * BLOB_BYTES)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:  # noqa: ARG002 - picows' signature
        self._transport = None
        self._writable.set()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Answer a ping; acknowledge a subscription and send what it begins with."""
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        payload = frame.get_payload_as_bytes()
        if payload == operations.PING:
            answer = {"success": True, "ret_msg": "pong", "conn_id": "bench", "req_id": "", "op": "ping"}
            transport.send(picows.WSMsgType.TEXT, msgspec.json.encode(answer))
            return
        request = msgspec.json.decode(payload, type=operations.Request)
        answer = {"success": True, "ret_msg": "", "conn_id": "bench", "req_id": request.req_id, "op": request.op}
        transport.send(picows.WSMsgType.TEXT, msgspec.json.encode(answer))
        for topic in request.args:
            if topic in self._first:
                transport.underlying_transport.write(self._first[topic])

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # Orders.

    async def carry_out(self, order: Order) -> Sent:
        """Send what is ordered; return when the last of it is written."""
        if self._transport is None:
            raise RuntimeError("nobody is connected")
        write = self._transport.underlying_transport.write
        if isinstance(order, Pace):
            return await self._pace(order, write)
        blobs = _blobs(self.frames[self._at :] + self.frames[: self._at])
        for _ in range(order.cycles):
            for blob in blobs:
                await self._writable.wait()
                if self._transport is None:
                    raise RuntimeError("the worker hung up")
                write(blob)
        return Sent(order.cycles * len(self.frames), 0)

    async def _pace(self, order: Pace, write: Write) -> Sent:
        time_ns = time.time_ns
        stamp = slice(-1 - STAMP_BYTES, -1)
        frames = islice(cycle(self.frames), self._at, None)
        sent = largest = 0
        started_s = time.perf_counter()
        while sent < order.messages:
            await asyncio.sleep(TICK_S)
            due = min(order.messages, int((time.perf_counter() - started_s) * order.per_s))
            for frame in islice(frames, due - sent):
                frame[stamp] = b"%d" % time_ns()
                write(frame)
            largest = max(largest, due - sent)
            sent = due
        self._at = (self._at + sent) % len(self.frames)
        return Sent(sent, largest)


def _blobs(frames: list[bytearray]) -> list[bytes]:
    blobs = [bytearray()]
    for frame in frames:
        if len(blobs[-1]) + len(frame) > BLOB_BYTES:
            blobs.append(bytearray())
        blobs[-1] += frame
    return [bytes(blob) for blob in blobs]


async def serve() -> None:
    """Serve until standard input ends."""
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    venue = Venue(build(msgspec.json.decode(await orders.readline(), type=Shape)))
    server = await picows.ws_create_server(lambda _request: venue, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _say(Serving(f"ws://127.0.0.1:{port}/v5/public/linear", len(venue.frames)))
    while line := await orders.readline():
        _say(await venue.carry_out(msgspec.json.decode(line, type=Order)))


def _say(message: msgspec.Struct) -> None:
    print(msgspec.json.encode(message).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(serve())
