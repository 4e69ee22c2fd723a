"""One WebSocket to the venue, against real servers on this machine: what brings it up, what ends it, what it says."""

import asyncio
import base64
import datetime as dt
import hashlib
import itertools
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import picows
import pytest
import uvloop
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest
from support.lane import Rig, delta, snapshot, status, trade

from feedhandler import wire
from feedhandler.bybit.products import PRODUCTS
from feedhandler.config.model import Connection as Settings
from feedhandler.credentials import CredentialsError
from feedhandler.worker import admission, backoff
from feedhandler.worker import connection as module
from feedhandler.worker.connection import Connection
from feedhandler.worker.session import Session

BOOK, TRADES, BAD = "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "orderbook.50.NOPEUSDT"
PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Leave picows' own words on lost connections out of the test's output."""
    logger = logging.getLogger("picows")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait until something is true and return it."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"not within {PATIENCE_S:g} s: {what}"
        await asyncio.sleep(0.002)
    return found


class Peer(WSListener):
    """The venue's end of one connection: answers pings and subscriptions, unless told to be silent."""

    def __init__(self, venue: "Venue") -> None:
        super().__init__()
        self.venue = venue
        self.transport: WSTransport | None = None
        self.requests: list[dict[str, Any]] = []
        self.control: list[tuple[WSMsgType, bytes]] = []
        self.gone = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.venue.peers.append(self)
        self.venue.times_s.append(time.monotonic())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT:
            self.control.append((frame.msg_type, frame.get_payload_as_bytes()))
            if frame.msg_type == WSMsgType.CLOSE and self.venue.answers_close:
                transport.send_close(WSCloseCode.OK)
                transport.disconnect()
            return
        request = msgspec.json.decode(frame.get_payload_as_bytes())
        self.requests.append(request)
        if request["op"] == "ping" and self.venue.answers_pings:
            self.send({"success": True, "ret_msg": "pong", "conn_id": "c", "op": "ping"})
        elif request["op"] == "auth" and self.venue.auths_cut:
            self.venue.auths_cut -= 1
            transport.disconnect(False)
        elif request["op"] == "auth":
            text = self.venue.objection
            self.send({"success": not text, "ret_msg": text, "op": "auth", "conn_id": "c"})
            if text:
                self.reset()
        elif request["op"] != "ping" and self.venue.answers_requests:
            bad = BAD in request["args"]
            text = self.venue.barred or (f"error:handler not found,topic:{BAD}" if bad else "")
            self.send({"success": not text, "ret_msg": text, "req_id": request["req_id"], "op": request["op"]})

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        del transport
        self.gone = True

    def send(self, message: bytes | dict[str, Any], kind: WSMsgType = WSMsgType.TEXT, *, fin: bool = True) -> None:
        assert self.transport is not None
        payload = message if isinstance(message, bytes) else msgspec.json.encode(message)
        self.transport.send(kind, payload, fin=fin)

    def subscribed(self) -> bool:
        return any(request["op"] == "subscribe" for request in self.requests)

    def reset(self) -> None:
        """Drop the connection without a word: a TCP reset."""
        assert self.transport is not None
        raw = self.transport.underlying_transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.disconnect(False)


class Venue:
    """A WebSocket server on loopback."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.times_s: list[float] = []
        """When each connection came up."""
        self.refusals: list[picows.WSUpgradeResponse] = []
        """HTTP answers to the next upgrades."""
        self.refused_s: list[float] = []
        self.objection = ""
        """Against any ``auth``; the connection is cut behind it."""
        self.auths_cut = 0
        """How many more times the connection is cut in place of an answer to ``auth``."""
        self.barred = ""
        """Against any subscription."""
        self.answers_pings = self.answers_requests = self.answers_close = True
        self.url = ""

    def upgrade(self, request: WSUpgradeRequest) -> Any:
        del request
        if self.refusals:
            self.refused_s.append(time.monotonic())
            return picows.WSUpgradeResponseWithListener(self.refusals.pop(0), None)
        return Peer(self)

    async def peer(self, number: int = 0) -> Peer:
        """Return the connection of that number, once it is up."""
        await until(lambda: len(self.peers) > number, f"connection {number}")
        return self.peers[number]


@asynccontextmanager
async def serving() -> AsyncIterator[Venue]:
    venue = Venue()
    server = await picows.ws_create_server(venue.upgrade, "127.0.0.1", 0, enable_auto_ping=False)
    venue.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v5/public/linear"
    try:
        yield venue
    finally:
        server.close()
        for peer in venue.peers:
            if peer.transport is not None and not peer.gone:
                peer.transport.disconnect(False)
        await server.wait_closed()


@asynccontextmanager
async def raw_server(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A TCP server that answers the upgrade as ``handle`` likes; yields its URL."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await handle(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


@asynccontextmanager
async def connecting(
    url: str, *topics: str, rig: Rig | None = None, **settings: Any
) -> AsyncIterator[tuple[Connection, Rig]]:
    """A connection that wants ``topics``, and what comes out of it. Retries are quick unless said otherwise."""
    rig = rig or Rig()
    quick = {"reconnect_base_s": 0.02, "reconnect_cap_s": 0.1, "connect_timeout_s": 5.0}
    permit = settings.pop("permit", None)
    sign = settings.pop("sign", None)
    chosen = Settings(**(quick | settings))
    rig.lane.clock_s = asyncio.get_running_loop().time
    session = Session(
        PRODUCTS[rig.feed.product],
        ping_interval_s=chosen.ping_interval_s,
        pong_timeout_s=chosen.pong_timeout_s,
        has_data=rig.lane.has_data,
    )
    rig.carry(*topics)
    session.want(topics)
    connection = Connection("linear/0", url, chosen, session, rig.lane, permit, sign)
    try:
        yield connection, rig
    finally:
        await connection.close()


def reasons(rig: Rig, topic: str = BOOK) -> list[str]:
    """Why a topic was down, each time."""
    told = [status(one) for one in rig.records if one.kind == wire.STATUS and one.subject.endswith(topic)]
    return [one.reason for one in told if one.state == "down"]


def data(rig: Rig) -> list[bytes]:
    return [one.payload for one in rig.records if one.kind != wire.STATUS]


# Coming up.


def test_connection_subscribes_and_delivers() -> None:
    """Request, acknowledgement, data: status and records come out, stamped with the time of reception."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK, TRADES) as (connection, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            assert {"op": "ping"} in peer.requests
            before_ns = time.time_ns()
            for payload in (snapshot(BOOK, 5), delta(BOOK, 6), trade(TRADES)):
                peer.send(payload)
            await until(lambda: len(data(rig)) == 3, "data")
            assert data(rig) == [snapshot(BOOK, 5), delta(BOOK, 6), trade(TRADES)]
            assert all(before_ns <= one.received_ns <= time.time_ns() for one in rig.records[-3:])
            assert connection.news == ["connected"]
            assert rig.lane.up

    uvloop.run(scene())


def test_refused_topic_is_news_and_the_others_go_on() -> None:
    """The venue's text reaches status and log."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK, BAD) as (connection, rig):
            await until(lambda: rig.state(BAD) == "rejected", "rejection")
            text = f"error:handler not found,topic:{BAD}"
            assert rig.route(BAD).reason == text
            assert f"refused {BAD}: {text}" in connection.news
            (await venue.peer()).send(snapshot(BOOK, 5))
            await until(lambda: rig.state(BOOK) == "live", "data")

    uvloop.run(scene())


def test_dial_waits_for_its_permit() -> None:
    """The venue's connection budget is shared: nothing is dialled before, and what is remarkable is news."""

    async def scene() -> None:
        granted = asyncio.Event()
        asked: list[str] = []

        async def permit(name: str) -> str:
            asked.append(name)
            await granted.wait()
            return "waited for the budget"

        async with serving() as venue, connecting(venue.url, BOOK, permit=permit) as (connection, _):
            await until(lambda: asked, "asking")
            await asyncio.sleep(0.05)
            assert venue.peers == []
            granted.set()
            await venue.peer()
            await until(lambda: len(connection.news) == 2, "news")
            assert connection.news == ["waited for the budget", "connected"]
            assert asked == ["linear/0"]

    uvloop.run(scene())


# Not coming up.


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def test_refused_tcp_connection_is_told_with_its_reason() -> None:
    """In the system's words."""

    async def scene() -> None:
        async with connecting(f"ws://127.0.0.1:{free_port()}/", BOOK) as (connection, rig):
            await until(lambda: reasons(rig), "down")
            assert reasons(rig) == ["cannot connect: Connection refused"]
            assert connection.news[0] == "attempt failed: cannot connect: Connection refused"

    uvloop.run(scene())


@pytest.mark.parametrize("code", [403, 404, 429, 502])
def test_http_status_of_a_refusal_is_in_the_reason(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """403 and 429 are how the venue says too many connections (dossier 2.4)."""
    monkeypatch.setattr(module, "REFUSED_LEAST_S", 0.01)

    async def scene() -> None:
        async with serving() as venue:
            venue.refusals = [picows.WSUpgradeResponse.create_error_response(code, b"no")]
            async with connecting(venue.url, BOOK) as (_, rig):
                await until(lambda: reasons(rig), "down")
                assert reasons(rig) == [f"refused: HTTP {code}"]

    uvloop.run(scene())


@pytest.mark.parametrize(
    ("code", "headers", "pause_s"), [(429, {"Retry-After": "1"}, 1.0), (403, {}, 0.3), (502, {}, 0.0)]
)
def test_too_many_connections_are_answered_with_patience(
    code: int, headers: dict[str, str], pause_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least what Retry-After asks for; other refusals are retried like a lost connection."""
    monkeypatch.setattr(module, "REFUSED_LEAST_S", 0.3)

    async def scene() -> None:
        async with serving() as venue:
            venue.refusals = [picows.WSUpgradeResponse.create_error_response(code, b"no", headers)]
            async with connecting(venue.url, BOOK) as (connection, _):
                connection._backoff._jitter = lambda: 0.0
                await venue.peer()
                waited_s = venue.times_s[0] - venue.refused_s[0]
                assert pause_s <= waited_s < pause_s + 0.29

    uvloop.run(scene())


def test_server_that_speaks_no_websocket_is_told() -> None:
    """Garbage instead of an upgrade is a failed handshake, and not a bug."""

    async def scene() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")

        async with raw_server(answer) as url, connecting(url, BOOK) as (_, rig):
            await until(lambda: reasons(rig), "down")
            assert reasons(rig)[0].startswith("handshake failed: ")

    uvloop.run(scene())


def test_server_that_hangs_up_in_the_handshake_is_told() -> None:
    """An end of file instead of an upgrade."""

    async def scene() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        async with raw_server(answer) as url, connecting(url, BOOK) as (connection, rig):
            await until(lambda: reasons(rig), "down")
            assert reasons(rig)[0] == "connection lost"
            assert "connected" not in connection.news

    uvloop.run(scene())


def test_tls_that_fails_is_told() -> None:
    """A server without TLS behind a wss URL."""

    async def scene() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with raw_server(answer) as url, connecting(url.replace("ws:", "wss:"), BOOK) as (_, rig):
            await until(lambda: reasons(rig), "down")
            assert "SSL" in reasons(rig)[0]

    uvloop.run(scene())


@pytest.mark.parametrize("location", ["ws://[bad", "http://127.0.0.1/", f"ws://{'a' * 70}.example/", "ws://a..b/", ""])
def test_redirect_is_refused_wherever_it_leads(location: str) -> None:
    """The venue has none; a failed attempt like any other."""

    async def scene() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())

        async with raw_server(answer) as url, connecting(url, BOOK) as (connection, rig):
            await until(lambda: connection.generation > 2, "the next attempt")
            assert reasons(rig)[0] == "refused: HTTP 302"
            assert not connection.task.done()

    uvloop.run(scene())


def test_host_name_that_can_be_none_is_told() -> None:
    """What passes for a URL is still no name."""

    async def scene() -> None:
        async with connecting(f"ws://{'a' * 70}.example/", BOOK) as (connection, rig):
            await until(lambda: reasons(rig), "down")
            assert reasons(rig)[0].startswith("cannot connect: ")
            assert not connection.task.done()

    uvloop.run(scene())


def test_url_that_is_none_is_told() -> None:
    """The configuration checks its form; whatever passes there ends here, and not as a bug."""

    async def scene() -> None:
        async with connecting("ws:///", BOOK) as (_, rig):
            await until(lambda: reasons(rig), "down")
            assert reasons(rig)[0].startswith("cannot connect: ")

    uvloop.run(scene())


def test_deadline_covers_the_whole_dial() -> None:
    """TCP comes up, the upgrade is never answered: the attempt ends at its deadline, is told so, and its socket closed."""

    async def scene() -> None:
        accepted_s: list[float] = []
        closed: list[bytes] = []

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            del writer
            accepted_s.append(time.monotonic())
            await reader.readuntil(b"\r\n\r\n")
            closed.append(await reader.read())

        async with raw_server(say_nothing) as url, connecting(url, BOOK, connect_timeout_s=0.2) as (_, rig):
            await until(lambda: reasons(rig), "down")
            assert reasons(rig) == ["no connection within 0.2 s"]
            assert 0.15 < time.monotonic() - accepted_s[0] < 0.5
            await until(lambda: closed, "the end of the socket")

    uvloop.run(scene())


def upgraded(request: bytes) -> bytes:
    """Return the answer that opens the WebSocket, and a first data frame in the same breath."""
    key = next(line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324 - RFC 6455
    payload = snapshot(BOOK, 5)
    head = b"\x81\x7e" + len(payload).to_bytes(2, "big")
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + head + payload
    )


def test_dial_given_up_never_comes_alive() -> None:
    """The server answers long after the deadline: its socket is closed, and nothing of it is published."""

    async def scene() -> None:
        late = asyncio.Event()
        ended: list[bytes] = []

        async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = await reader.readuntil(b"\r\n\r\n")
            await late.wait()
            writer.write(upgraded(request))
            try:
                ended.append(await reader.read())
            except ConnectionError:
                ended.append(b"")

        async with raw_server(answer_late) as url:
            settings: dict[str, Any] = {"connect_timeout_s": 0.1, "reconnect_base_s": 30, "reconnect_cap_s": 30}
            async with connecting(url, BOOK, **settings) as (connection, rig):
                await until(
                    lambda: len([line for line in connection.news if "attempt failed" in line]) == 2, "time-outs"
                )
                late.set()
                await until(lambda: len(ended) == 2, "the end of both sockets")
                assert ended == [b"", b""]  # not even a subscription was sent
                assert {status(one).state for one in rig.records} == {"subscribing", "down"}
                assert not rig.lane.up
                assert "connected" not in connection.news

    uvloop.run(scene())


def test_dial_cancelled_by_the_end_never_comes_alive() -> None:
    """Closing in the middle of a dial: what the server answers later finds nobody."""

    async def scene() -> None:
        late = asyncio.Event()
        ended: list[bytes] = []

        async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await late.wait()
            writer.write(upgraded(request))
            try:
                ended.append(await reader.read())
            except ConnectionError:
                ended.append(b"")

        asked = asyncio.Event()
        async with raw_server(answer_late) as url:
            async with connecting(url, BOOK) as (connection, rig):
                await asked.wait()
                await connection.close()
                late.set()
                await until(lambda: ended, "the end of the socket")
            assert ended == [b""]
            assert {status(one).state for one in rig.records} == {"subscribing"}
            assert not rig.lane.up

    uvloop.run(scene())


# Going down.


def test_reset_is_told_at_once_and_the_first_retry_is_immediate() -> None:
    """Down with the reason, then the next connection without a pause; everything is asked for again."""

    async def scene() -> None:
        settings: dict[str, Any] = {"reconnect_base_s": 5, "reconnect_cap_s": 5}
        async with serving() as venue, connecting(venue.url, BOOK, **settings) as (connection, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            peer.send(snapshot(BOOK, 5))
            await until(lambda: rig.state(BOOK) == "live", "data")
            lost_s = time.monotonic()
            peer.reset()
            again = await venue.peer(1)
            assert time.monotonic() - lost_s < 1
            await until(again.subscribed, "the second subscription")
            assert reasons(rig) == ["connection lost"]
            assert rig.feed.counters["reconnects"] == 1
            again.send(snapshot(BOOK, 3))
            await until(lambda: rig.state(BOOK) == "live", "data again")
            assert connection.news.count("connected") == 2

    uvloop.run(scene())


def test_second_retry_in_a_row_waits() -> None:
    """Without data in between the pauses grow."""

    async def scene() -> None:
        settings: dict[str, Any] = {"reconnect_base_s": 0.4, "reconnect_cap_s": 0.4}
        async with serving() as venue, connecting(venue.url, BOOK, **settings):
            for number in range(3):
                (await venue.peer(number)).reset()
            first_s, second_s = (
                later - sooner for sooner, later in zip(venue.times_s, venue.times_s[1:], strict=False)
            )
            assert first_s < 0.15
            assert 0.19 < second_s < 0.8

    uvloop.run(scene())


@pytest.mark.parametrize(
    ("code", "text", "reason", "echoed"),
    [
        (WSCloseCode.OK, b"bye", "closed by the venue: 1000 bye", 1000),
        (WSCloseCode.GOING_AWAY, b"", "closed by the venue: 1001", 1001),
        (WSCloseCode.INTERNAL_ERROR, b"oops", "closed by the venue: 1011 oops", 1011),
        (WSCloseCode.POLICY_VIOLATION, b"too many", "closed by the venue: 1008 too many", 1000),
    ],
)
def test_close_frame_is_answered_and_its_code_told(code: WSCloseCode, text: bytes, reason: str, echoed: int) -> None:
    """The strategy reads why."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (_, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            assert peer.transport is not None
            peer.transport.send_close(code, text)
            await until(lambda: reasons(rig), "down")
            assert reasons(rig) == [reason]
            await until(lambda: peer.control, "the answer to the close frame")
            assert peer.control[0][1][:2] == echoed.to_bytes(2, "big")

    uvloop.run(scene())


def test_close_frame_without_a_code_is_told() -> None:
    """An empty close frame is legal."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (_, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            assert peer.transport is not None
            peer.transport.underlying_transport.write(b"\x88\x00")
            await until(lambda: reasons(rig), "down")
            assert reasons(rig)[0].startswith("closed by the venue")

    uvloop.run(scene())


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame of a server, whether the protocol allows it or not; up to 64 KiB."""
    size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([opcode | 0x80 * fin]) + size + payload


VIOLATIONS = {
    "close of 1 byte": frame(8, b"\x03"),
    "close with a reason that is no text": frame(8, b"\x03\xe8\xff\xfe"),
    "close with a code for nobody to send": frame(8, (1005).to_bytes(2, "big")),
    "close with a code below all": frame(8, (999).to_bytes(2, "big")),
    "close that is too long": frame(8, (1000).to_bytes(2, "big") + b"x" * 124),
    "second close": frame(8, b"\x03") * 2,
    "ping that is too long": frame(9, b"x" * 126),
    "ping in parts": frame(9, b"x", fin=False),
    "unknown opcode": frame(3, b"x"),
    "unknown control opcode": frame(11, b"x"),
    "masked": b"\x81\x81maskx",
    "length with needless bytes": b"\x81\x7e\x00\x05hello",
    "length beyond all": b"\x81\x7f" + b"\xff" * 8,
    "message that is too long": b"\x81\x7f" + (1 << 40).to_bytes(8, "big"),
}


@pytest.mark.parametrize("violation", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_frame_that_breaks_the_protocol_is_a_loss_like_any_other(violation: bytes) -> None:
    """It is told by its name, counted, and healed; the data in front of it are delivered, and nobody's task ends."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (connection, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            assert peer.transport is not None
            peer.transport.underlying_transport.write(frame(1, snapshot(BOOK, 5)) + violation)
            await until(lambda: reasons(rig), "down")
            assert reasons(rig)[0].startswith("broke the WebSocket protocol: ")
            assert f"lost: {reasons(rig)[0]}" in connection.news
            assert rig.feed.counters["unparsed"] == 1
            again = await venue.peer(1)
            await until(again.subscribed, "subscription anew")
            again.send(snapshot(BOOK, 9))
            await until(lambda: len(data(rig)) == 2, "data")
            assert data(rig) == [snapshot(BOOK, 5), snapshot(BOOK, 9)]
            assert not connection.task.done()

    uvloop.run(scene())


def test_missing_pong_ends_the_connection_with_that_reason() -> None:
    """A venue that answers nothing is left, and dialled again."""

    async def scene() -> None:
        async with serving() as venue:
            venue.answers_pings = False
            async with connecting(venue.url, BOOK, pong_timeout_s=0.2) as (_, rig):
                await venue.peer(1)
                assert reasons(rig) == ["no pong within 0.2 s"]

    uvloop.run(scene())


def test_connection_given_up_says_why_once() -> None:
    """The first reason stands; the loss that follows is its consequence."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (connection, rig):
            await until((await venue.peer()).subscribed, "subscription")
            connection.give_up("mute: nothing came for 6.5 s")
            connection.give_up("another reason")
            await venue.peer(1)
            assert reasons(rig) == ["mute: nothing came for 6.5 s"]

    uvloop.run(scene())


def test_reason_is_put_into_context() -> None:
    """An announced maintenance explains a loss."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (connection, rig):
            connection.explain = lambda reason: f"{reason} (maintenance)"
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            peer.reset()
            await until(lambda: reasons(rig), "down")
            assert reasons(rig) == ["connection lost (maintenance)"]

    uvloop.run(scene())


def test_giving_up_for_good_after_so_many_attempts() -> None:
    """The topics end down, the reason says so, and nobody dials any more."""

    async def scene() -> None:
        async with connecting(f"ws://127.0.0.1:{free_port()}/", BOOK, max_attempts=3) as (connection, rig):
            await connection.task
            assert connection.gave_up == "gave up after 3 attempts: cannot connect: Connection refused"
            assert reasons(rig)[-1] == connection.gave_up
            assert rig.feed.counters["reconnects"] == 2

    uvloop.run(scene())


def test_connection_that_brought_data_does_not_count_as_a_failure() -> None:
    """Attempts in a row: a lost connection starts a new row."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK, max_attempts=1) as (connection, rig):
            for number in range(3):
                peer = await venue.peer(number)
                await until(peer.subscribed, "subscription")
                peer.send(snapshot(BOOK, 5))
                await until(lambda: rig.state(BOOK) == "live", "data")
                peer.reset()
            await venue.peer(3)
            assert connection.gave_up == ""

    uvloop.run(scene())


# Frames of every kind.


def test_fragmented_message_is_put_together_around_a_ping() -> None:
    """Control frames may stand between the parts; the ping is answered, the message is one record."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK, TRADES) as (_, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            whole = snapshot(BOOK, 5)
            peer.send(whole[:20], fin=False)
            peer.send(b"are you there", WSMsgType.PING)
            peer.send(whole[20:50], WSMsgType.CONTINUATION, fin=False)
            peer.send(whole[50:], WSMsgType.CONTINUATION)
            peer.send(trade(TRADES))
            await until(lambda: len(data(rig)) == 2, "data")
            assert data(rig) == [whole, trade(TRADES)]
            await until(lambda: peer.control, "the pong")
            assert peer.control == [(WSMsgType.PONG, b"are you there")]
            assert rig.feed.counters == {}

    uvloop.run(scene())


def test_fragmented_answer_is_an_answer() -> None:
    """Also what is no data may come in parts."""

    async def scene() -> None:
        async with serving() as venue:
            venue.answers_requests = False
            async with connecting(venue.url, TRADES) as (_, rig):
                peer = await venue.peer()
                await until(peer.subscribed, "subscription")
                answer = b'{"success":true,"ret_msg":"","conn_id":"c","req_id":"1","op":"subscribe"}'
                peer.send(answer[:30], fin=False)
                peer.send(answer[30:], WSMsgType.CONTINUATION)
                await until(lambda: rig.state(TRADES) == "live", "acknowledgement")

    uvloop.run(scene())


def test_endless_fragmented_message_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is bounded, however many parts it comes in."""
    monkeypatch.setattr(module, "MAX_MESSAGE_BYTES", 1000)

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (_, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            peer.send(b"x" * 600, fin=False)
            peer.send(b"x" * 600, WSMsgType.CONTINUATION, fin=False)
            await venue.peer(1)
            assert reasons(rig) == ["a fragmented message longer than 1000 bytes"]

    uvloop.run(scene())


@pytest.mark.parametrize("parts", [1, 2])
def test_binary_frame_is_counted_and_disturbs_nothing(parts: int) -> None:
    """The venue sends text only (dossier 2.1); the bytes are kept for the log."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (_, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            peer.send(snapshot(BOOK, 5))
            if parts == 1:
                peer.send(b"\x00\x01\xff", WSMsgType.BINARY)
            else:
                peer.send(b"\x00\x01", WSMsgType.BINARY, fin=False)
                peer.send(b"\xff", WSMsgType.CONTINUATION)
            peer.send(delta(BOOK, 6))
            await until(lambda: len(data(rig)) == 2, "data")
            assert rig.feed.counters == {"binary": 1}
            assert rig.feed.malformed == [("a binary frame", b"\x00\x01\xff")]

    uvloop.run(scene())


@pytest.mark.parametrize("garbage", [b"hello", b"", b"\xff\xfe", b'{"what":1}', b"[" * 100_000])
def test_text_that_is_nothing_we_know_is_counted_and_disturbs_nothing(garbage: bytes) -> None:
    """The bytes are kept for the log."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (_, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            for payload in (snapshot(BOOK, 5), garbage, delta(BOOK, 6)):
                peer.send(payload)
            await until(lambda: len(data(rig)) == 2, "data")
            assert rig.feed.counters == {"unparsed": 1}
            assert rig.feed.malformed == [("a frame that is neither data nor an answer we know", garbage)]

    uvloop.run(scene())


def test_bug_of_ours_ends_the_task_and_nothing_more_is_published() -> None:
    """Five frames in one read, an exception in the second: the others are not delivered, and the error comes out."""

    class OurBugError(Exception):
        pass

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (connection, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            publish = rig.lane._publish

            def fail(head: bytes, sequence: int, received_ns: int, payload: bytes) -> None:
                if payload == delta(BOOK, 7):
                    raise OurBugError
                publish(head, sequence, received_ns, payload)

            rig.lane._publish = fail
            assert peer.transport is not None
            frames = [snapshot(BOOK, 5), *(delta(BOOK, update_id) for update_id in range(6, 10))]
            read = b"".join(b"\x81\x7e" + len(one).to_bytes(2, "big") + one for one in frames)
            peer.transport.underlying_transport.write(read + b"\x01\x05hello")
            with pytest.raises(OurBugError):
                await connection.task
            assert data(rig) == [snapshot(BOOK, 5), delta(BOOK, 6)]
            assert len(venue.peers) == 1

    uvloop.run(scene())


def test_bug_of_ours_in_the_first_callback_ends_the_task() -> None:
    """Also before any frame."""

    async def scene() -> None:
        rig = Rig()

        def fail(now_ns: int) -> None:
            raise ZeroDivisionError(now_ns)

        rig.lane = type("Failing", (type(rig.lane),), {"opened": lambda _, now_ns: fail(now_ns)})(
            rig.feed, 0, lambda: 0.0
        )
        async with serving() as venue, connecting(venue.url, BOOK, rig=rig) as (connection, _):
            with pytest.raises(ZeroDivisionError):
                await connection.task

    uvloop.run(scene())


# The end.


def test_nothing_is_done_while_there_is_no_connection() -> None:
    """What the session wants then waits for it."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (connection, _):
            connection.session.want([TRADES])
            connection.step()
            connection.give_up("not even there")
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            assert [one["args"] for one in peer.requests if one["op"] == "subscribe"] == [[BOOK, TRADES]]

    uvloop.run(scene())


@pytest.mark.parametrize("connected", [True, False])
def test_cancelled_task_leaves_no_connection_behind(connected: bool) -> None:
    """A loop that ends without asking cancels its tasks."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (connection, _):
            if connected:
                await until((await venue.peer()).subscribed, "subscription")
            else:
                await asyncio.sleep(0)
            connection.task.cancel()
            await asyncio.gather(connection.task, return_exceptions=True)
            assert connection.task.cancelled()
            await until(lambda: all(peer.gone for peer in venue.peers), "the end of the connection")

    uvloop.run(scene())


def test_data_that_come_while_closing_are_ignored() -> None:
    """Nobody's any more, they are neither published nor strange; the venue's closing frame still ends the connection."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (connection, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            peer.send(snapshot(BOOK, 5))
            await until(lambda: data(rig), "data")
            connection.stop_listening()
            rig.feed.release(rig.lane, [BOOK], "stopped", rig.now_ns)
            peer.send(delta(BOOK, 6))
            peer.send(b"nothing we know")
            assert peer.transport is not None
            peer.transport.send_close(WSCloseCode.OK)
            await until(connection.task.done, "the end")
            assert data(rig) == [snapshot(BOOK, 5)]
            assert rig.feed.malformed == []
            assert not rig.feed.counters

    uvloop.run(scene())


@pytest.mark.parametrize("answers", [True, False])
def test_close_without_patience_waits_for_no_answer(answers: bool) -> None:
    """A worker that ends of a bug is gone at once."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (connection, _):
            venue.answers_close = answers
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            begun_s = time.monotonic()
            await connection.close(0.0)
            assert time.monotonic() - begun_s < module.CLOSE_PATIENCE_S / 2
            await until(lambda: peer.gone, "the peer's end")

    uvloop.run(scene())


def test_close_says_goodbye() -> None:
    """A closing handshake, no `down` for our own end, and no further dial."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, BOOK) as (connection, rig):
            peer = await venue.peer()
            await until(peer.subscribed, "subscription")
            await connection.close()
            assert peer.control[0] == (WSMsgType.CLOSE, (1000).to_bytes(2, "big"))
            assert reasons(rig) == []
            assert len(venue.peers) == 1
            assert rig.feed.counters == {}

    uvloop.run(scene())


@pytest.mark.parametrize("situation", ["silent venue", "backing off", "dialling", "gave up"])
def test_close_is_prompt_whatever_goes_on(situation: str) -> None:
    """The supervisor promises to stop within 5 s."""

    async def scene() -> None:
        async with serving() as venue:
            venue.answers_close = False
            if situation == "backing off":
                venue.refusals = [picows.WSUpgradeResponse.create_error_response(429, b"no")]
            url = f"ws://127.0.0.1:{free_port()}/" if situation == "gave up" else venue.url
            attempts = 1 if situation == "gave up" else 0
            async with connecting(url, BOOK, max_attempts=attempts) as (connection, rig):
                if situation == "silent venue":
                    await until((await venue.peer()).subscribed, "subscription")
                elif situation == "gave up":
                    await connection.task
                elif situation == "backing off":
                    await until(lambda: reasons(rig), "down")
                started_s = time.monotonic()
                await connection.close()
                assert time.monotonic() - started_s < module.CLOSE_PATIENCE_S + 0.5
                assert connection.task.done()

    uvloop.run(scene())


# Private connections.

ORDER, WALLET = "order", "wallet"


class Signer:
    """Makes ``auth`` requests, each another; or has no key to make them with."""

    def __init__(self, missing: str = "") -> None:
        self.missing = missing
        self.asked_ms: list[int] = []

    def __call__(self, now_ms: int) -> bytes:
        self.asked_ms.append(now_ms)
        if self.missing:
            raise CredentialsError(self.missing)
        return b'{"req_id":"auth","op":"auth","args":["key",%d,"signed %d"]}' % (now_ms, len(self.asked_ms))


def auths(venue: Venue) -> list[Any]:
    """The signatures that came, connection by connection."""
    return [one["args"][2] for peer in venue.peers for one in peer.requests if one["op"] == "auth"]


def order(number: int) -> bytes:
    return msgspec.json.encode({"id": "1", "topic": ORDER, "creationTime": number, "data": [{"orderId": str(number)}]})


def test_private_connection_authenticates_anew_on_every_connect() -> None:
    """Signed when it is up, by the clock of that moment; events are live when acknowledged, and a loss is a hole."""

    async def scene() -> None:
        rig, signer = Rig("private"), Signer()
        async with serving() as venue, connecting(venue.url, ORDER, rig=rig, sign=signer) as (connection, _):
            await until(lambda: rig.state(ORDER) == "live", "live")
            assert [one["op"] for one in (await venue.peer()).requests] == ["auth", "ping", "subscribe"]
            assert connection.news == ["connected", "authenticated"]
            assert abs(signer.asked_ms[0] - time.time() * 1000) < 5000
            (await venue.peer()).send(order(1))
            await until(lambda: data(rig) == [order(1)], "an order")
            (await venue.peer()).reset()
            await until(lambda: len(venue.peers) == 2 and rig.state(ORDER) == "live", "live again")
            assert auths(venue) == ["signed 2", "signed 4"]  # the others were looks whether there is a key
            hole = rig.route(ORDER).hole
            assert hole is not None
            assert hole.to_ns is not None
            assert hole.from_ns <= hole.to_ns
            assert rig.feed.counters["auth_failures"] == 0

    uvloop.run(scene())


def test_key_that_is_refused_rejects_the_topics_and_is_not_tried_again_soon() -> None:
    """In the venue's words; they stay so although the venue hangs up, and topics that come later are told, too."""

    async def scene() -> None:
        rig = Rig("private")
        async with serving() as venue, connecting(venue.url, ORDER, rig=rig, sign=Signer()) as (connection, _):
            venue.objection = "error:USVC1111"
            await until(lambda: any("again in" in line for line in connection.news), "the pause")
            assert connection.news[:2] == ["connected", "lost: authentication refused: error:USVC1111"]
            assert 60 <= int(connection.news[2].removeprefix("authenticates again in ").removesuffix(" s")) <= 66
            rig.carry(WALLET)
            connection.session.want([WALLET])
            connection.step()
            await asyncio.sleep(0.2)
            assert {rig.state(topic) for topic in (ORDER, WALLET)} == {"rejected"}
            assert {rig.route(topic).reason for topic in (ORDER, WALLET)} == {"error:USVC1111"}
            assert len(venue.peers) == len(auths(venue)) == 1
            assert not (await venue.peer()).subscribed()
            assert rig.feed.counters["auth_failures"] == 1

    uvloop.run(scene())


def test_without_a_key_nothing_is_dialled_and_one_that_comes_is_used_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every topic is rejected for the reason, said once however often it is looked for; no leave to dial is asked for."""
    monkeypatch.setattr(admission, "KEY_LOOK_S", 0.02)

    async def scene() -> None:
        rig, signer, asked = Rig("private"), Signer("no API key: X is not set"), []

        async def permit(name: str) -> str:
            asked.append(name)
            return ""

        settings: dict[str, Any] = {"sign": signer, "permit": permit}
        async with serving() as venue, connecting(venue.url, ORDER, rig=rig, **settings) as (connection, _):
            await until(lambda: len(signer.asked_ms) > 5, "looking again and again")
            rig.carry(WALLET)
            connection.session.want([WALLET])
            connection.step()
            told = {topic: (rig.state(topic), rig.route(topic).reason) for topic in (ORDER, WALLET)}
            assert told == dict.fromkeys((ORDER, WALLET), ("rejected", "no API key: X is not set"))
            signer.missing = "no API key: X is empty"
            await until(lambda: rig.route(ORDER).reason == signer.missing, "another reason")
            assert connection.news == [
                "is not dialled: no API key: X is not set",
                "is not dialled: no API key: X is empty",
            ]
            assert rig.feed.counters == {"auth_failures": 2}
            assert (venue.peers, asked) == ([], [])
            signer.missing = ""
            await until(lambda: {rig.state(ORDER), rig.state(WALLET)} == {"live"}, "live")
            assert len(venue.peers) == 1

    uvloop.run(scene())


def test_key_taken_away_is_told_at_the_next_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Down for the loss, rejected for the key, and live when it is back; the hole goes over all of that."""
    monkeypatch.setattr(admission, "KEY_LOOK_S", 0.02)

    async def scene() -> None:
        rig, signer = Rig("private"), Signer()
        async with serving() as venue, connecting(venue.url, ORDER, rig=rig, sign=signer):
            await until(lambda: rig.state(ORDER) == "live", "live")
            signer.missing = "no API key: X is not set"
            lost_ns = time.time_ns()
            (await venue.peer()).reset()
            await until(lambda: rig.state(ORDER) == "rejected", "rejected")
            signer.missing = ""
            await until(lambda: rig.state(ORDER) == "live", "live again")
            said = [status(one) for one in rig.records if one.kind == wire.STATUS]
            assert [one.state for one in said] == ["subscribing", "live", "down", "rejected", "subscribing", "live"]
            hole = rig.route(ORDER).hole
            assert hole is not None
            assert hole.to_ns is not None
            assert hole.from_ns <= lost_ns < hole.to_ns

    uvloop.run(scene())


def test_key_taken_away_during_the_dial_ends_that_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent on it; the key is looked for as if it had been missing before."""
    monkeypatch.setattr(admission, "KEY_LOOK_S", 0.02)

    async def scene() -> None:
        rig, signer = Rig("private"), Signer()

        async def permit(_name: str) -> str:
            signer.missing = "no API key: X is not set" if not rig.feed.counters["auth_failures"] else ""
            return ""

        settings: dict[str, Any] = {"sign": signer, "permit": permit}
        async with serving() as venue, connecting(venue.url, ORDER, rig=rig, **settings) as (connection, _):
            await until(lambda: rig.state(ORDER) == "rejected", "rejected")
            await until(lambda: venue.peers and venue.peers[0].gone, "the end of the connection")
            assert venue.peers[0].requests == []
            assert connection.news[:2] == ["connected", "lost: no API key: X is not set"]
            signer.missing = ""
            await until(lambda: rig.state(ORDER) == "live", "live")
            assert len(venue.peers) == 2

    uvloop.run(scene())


def test_giving_up_for_want_of_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look is an attempt that failed, though nothing was dialled."""
    monkeypatch.setattr(admission, "KEY_LOOK_S", 0.01)

    async def scene() -> None:
        rig = Rig("private")
        settings: dict[str, Any] = {"sign": Signer("no API key: X is not set"), "max_attempts": 3}
        async with serving() as venue, connecting(venue.url, ORDER, rig=rig, **settings) as (connection, _):
            await connection.task
            assert reasons(rig, ORDER) == ["gave up after 3 attempts: no API key: X is not set"]
            assert venue.peers == []

    uvloop.run(scene())


def test_refused_key_is_tried_again_ever_later_and_works_when_it_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand times faster than usual: 60, 120, 240 ms; then the topic is live, and its blind time told."""
    monkeypatch.setattr(backoff, "AUTH_RETRY_S", 0.06)

    async def scene() -> None:
        rig = Rig("private")
        async with serving() as venue, connecting(venue.url, ORDER, rig=rig, sign=Signer()) as (connection, _):
            await until(lambda: rig.state(ORDER) == "live", "live")
            venue.objection = "Params Error"
            (await venue.peer()).reset()
            await until(lambda: rig.feed.counters["auth_failures"] == 4, "four attempts with the wrong key")
            assert (len(venue.peers), rig.state(ORDER)) == (5, "rejected")
            pauses_s = [late - early for early, late in itertools.pairwise(venue.times_s[1:])]
            assert all(pause_s > least_s for pause_s, least_s in zip(pauses_s, (0.06, 0.12, 0.24), strict=True))
            venue.objection = ""
            await until(lambda: rig.state(ORDER) == "live", "live again")
            assert len(venue.peers) == 6
            assert rig.feed.counters["auth_failures"] == 4
            hole = rig.route(ORDER).hole
            assert hole is not None
            assert hole.to_ns is not None
            told = [status(one).state for one in rig.records if one.kind == wire.STATUS]
            assert told == ["subscribing", "live", "down", "subscribing", "rejected", "subscribing", "live"]
            venue.objection = "Params Error"
            venue.peers[5].reset()
            await until(lambda: connection.news[-1].startswith("authenticates again"), "refused once more")
            assert connection.news[-1] == "authenticates again in 0 s"  # from the beginning: 60 ms

    uvloop.run(scene())


def test_outage_after_a_refused_key_is_told_as_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rejected while the refusal is the latest word; refused or cut before the answer: down, and why; then rejected again."""
    monkeypatch.setattr(backoff, "AUTH_RETRY_S", 0.06)

    async def scene() -> None:
        rig = Rig("private")
        async with serving() as venue, connecting(venue.url, ORDER, rig=rig, sign=Signer()) as (connection, _):
            venue.objection = "Params Error"
            await until(lambda: rig.state(ORDER) == "rejected", "the refusal")
            venue.refusals = [picows.WSUpgradeResponse.create_error_response(502, b"no")]
            await until(lambda: reasons(rig, ORDER), "down")
            assert reasons(rig, ORDER) == ["refused: HTTP 502"]
            await until(lambda: rig.state(ORDER) == "rejected", "the next refusal")
            assert rig.route(ORDER).reason == "Params Error"
            venue.auths_cut = 1
            await until(lambda: len(reasons(rig, ORDER)) == 2, "down again")
            assert reasons(rig, ORDER)[1] == "connection lost"
            venue.objection = ""
            await until(lambda: rig.state(ORDER) == "live", "live")
            assert connection.gave_up == ""

    uvloop.run(scene())


def test_giving_up_on_a_refused_key_is_told_as_any_giving_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rejected in between; in the end down, for nobody tries any more."""
    monkeypatch.setattr(backoff, "AUTH_RETRY_S", 0.01)

    async def scene() -> None:
        rig = Rig("private")
        settings: dict[str, Any] = {"sign": Signer(), "max_attempts": 2}
        async with serving() as venue, connecting(venue.url, ORDER, rig=rig, **settings) as (connection, _):
            venue.objection = "Params Error"
            await connection.task
            assert connection.gave_up == "gave up after 2 attempts: authentication refused: Params Error"
            assert reasons(rig, ORDER) == [connection.gave_up]
            assert "rejected" in [status(one).state for one in rig.records]

    uvloop.run(scene())


def test_words_that_may_come_of_a_wrong_clock_bring_the_clock_into_the_log() -> None:
    """``Params Error`` also means an expiry that is over (dossier 3.1)."""

    async def scene() -> None:
        async with serving() as venue, connecting(venue.url, ORDER, rig=Rig("private"), sign=Signer()) as (one, _):
            venue.objection = "Params Error"
            await until(lambda: any("clock" in line for line in one.news), "a word about the clock")
            line = next(line for line in one.news if "clock" in line)
            told = dt.datetime.fromisoformat(line.removeprefix("may be late: this machine's clock says "))
            assert abs(told.timestamp() - time.time()) < 10

    uvloop.run(scene())


def test_subscription_refused_for_want_of_auth_is_not_asked_again_on_that_connection() -> None:
    """What it asked for is rejected; what was subscribed goes down with the connection, and says why."""

    async def scene() -> None:
        rig = Rig("private")
        async with serving() as venue, connecting(venue.url, ORDER, rig=rig, sign=Signer()) as (connection, _):
            await until(lambda: rig.state(ORDER) == "live", "live")
            venue.barred = "Request not authorized"
            rig.carry(WALLET)
            connection.session.want([WALLET])
            connection.step()
            await until(lambda: rig.state(ORDER) == "down", "down")
            assert (rig.state(WALLET), rig.route(WALLET).reason) == ("rejected", "Request not authorized")
            assert reasons(rig, ORDER) == ["authentication refused: Request not authorized"]
            await asyncio.sleep(0.2)
            assert len(venue.peers) == 1

    uvloop.run(scene())


@pytest.mark.parametrize("steady", [True, False])
def test_connection_that_was_quiet_for_long_has_worked_all_the_same(
    steady: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account may be silent for days: its next loss is a new one. What ends at once was never any good."""
    monkeypatch.setattr(module, "STEADY_S", 0.0 if steady else 60.0)

    async def scene() -> None:
        rig = Rig("private")
        settings: dict[str, Any] = {"sign": Signer(), "max_attempts": 3}
        async with serving() as venue, connecting(venue.url, ORDER, rig=rig, **settings) as (connection, _):
            for number in range(3):
                peer = await venue.peer(number)
                await until(lambda: rig.state(ORDER) == "live", "live")
                peer.reset()
                await until(lambda number=number: len(reasons(rig, ORDER)) > number, "down")  # type: ignore[misc]  # mypy infers no lambda with a default
            if steady:
                await venue.peer(3)
            else:
                await until(lambda: connection.gave_up, "giving up")
            assert bool(connection.gave_up) is not steady

    uvloop.run(scene())


def test_bug_in_signing_ends_the_task() -> None:
    """Only a missing key is expected."""

    async def scene() -> None:
        def sign(now_ms: int) -> bytes:
            raise ZeroDivisionError(now_ms)

        async with serving() as venue, connecting(venue.url, ORDER, rig=Rig("private"), sign=sign) as (connection, _):
            with pytest.raises(ZeroDivisionError):
                await connection.task

    uvloop.run(scene())


def test_pongs_say_up_to_when_a_quiet_account_is_known_to_be_whole() -> None:
    """Whatever the venue sent before them has come."""

    async def scene() -> None:
        rig = Rig("private")
        async with (
            serving() as venue,
            connecting(venue.url, ORDER, rig=rig, sign=Signer(), ping_interval_s=0.05) as (connection, _),
        ):
            await until(lambda: connection.lane.up, "open")
            for _ in range(2):
                last_ns = connection.lane.last_ns
                await until(lambda last_ns=last_ns: connection.lane.last_ns > last_ns, "a pong")  # type: ignore[misc]  # mypy infers no lambda with a default

    uvloop.run(scene())
