"""Connecting, rule by rule: what goes over the wire when we dial and say the first words (dossier 2.1 to 2.3)."""

import asyncio
import base64
import hashlib
import json
from typing import Any, Final, NamedTuple

import pytest

import feedhandler
from feedhandler.bybit.products import MAX_MESSAGE_BYTES, PING_INTERVAL_MAX_S, PRODUCTS

MAGIC: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Of RFC 6455, for the answer to a handshake."""
DEADLINE_S: Final = 20


class Heard(NamedTuple):
    """What a server got from us."""

    request: str
    headers: dict[str, str]
    heads: list[int]
    """The first byte of each frame: FIN, RSV bits and opcode."""
    masked: list[bool]
    messages: list[Any]


async def _frame(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    head, length = await reader.readexactly(2)
    masked, length = bool(length & 0x80), length & 0x7F
    assert length < 127, "requests are short"
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2), "big")
    mask = await reader.readexactly(4) if masked else bytes(4)
    payload = await reader.readexactly(length)
    return head, masked, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def _connect_and_listen(product: str, topic: str, frames: int) -> Heard:
    """Let a client connect to a server that only listens, and return its handshake and first frames."""

    async def scenario() -> Heard:
        heard: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            key = hashlib.sha1(headers["sec-websocket-key"].encode() + MAGIC, usedforsecurity=False).digest()
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
            writer.write(b"Sec-WebSocket-Accept: " + base64.b64encode(key) + b"\r\n\r\n")
            got = [await _frame(reader) for _ in range(frames)]
            heard.set_result(
                Heard(
                    request,
                    headers,
                    [head for head, _, _ in got],
                    [masked for _, masked, _ in got],
                    [json.loads(payload) for _, _, payload in got],
                )
            )
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with feedhandler.connect(f"ws://127.0.0.1:{port}{PRODUCTS[product].path}") as client:
                await client.subscribe(topic)
                return await asyncio.wait_for(heard, DEADLINE_S)

    return asyncio.run(scenario())


@pytest.fixture(scope="module")
def heard() -> Heard:
    return _connect_and_listen("spot", "orderbook.1.BTCUSDT", 2)


def test_2_1_handshake_offers_no_compression_and_no_sub_protocol(heard: Heard) -> None:
    """2.1: no sub-protocol, no special header, no query; permessage-deflate must not be offered."""
    assert heard.request == "GET /v5/public/spot HTTP/1.1"
    assert "sec-websocket-extensions" not in heard.headers
    assert "sec-websocket-protocol" not in heard.headers


def test_2_1_we_send_masked_text_frames(heard: Heard) -> None:
    """2.1: text frames, masked, whole, RSV bits clear."""
    assert heard.heads == [0x81, 0x81]
    assert heard.masked == [True, True]


def test_2_2_ping_is_a_message_of_its_own(heard: Heard) -> None:
    """2.2 and 2.3: the heartbeat is JSON in a text frame, sent right after open; control pings keep nothing alive."""
    assert {"op": "ping"} in heard.messages


def test_2_3_topics_are_asked_for_at_once(heard: Heard) -> None:
    """2.3: a connection that asks for nothing is cut after about 61 s: subscribe right after connecting."""
    (request,) = (message for message in heard.messages if message["op"] != "ping")
    assert (request["op"], request["args"]) == ("subscribe", ["orderbook.1.BTCUSDT"])


def test_2_1_messages_may_be_large() -> None:
    """2.1: a full trade message is about 170 KB; a receive limit below 1 MiB is unsafe."""
    assert MAX_MESSAGE_BYTES >= 2**20


def test_2_2_ping_interval_is_bounded() -> None:
    """2.2: every 20 s; a longer interval is an error wherever it may be said."""
    assert PING_INTERVAL_MAX_S == 20
    with pytest.raises(feedhandler.ArgumentError, match="ping_interval_s"):
        feedhandler.connect("ws://127.0.0.1:1/v5/public/linear", ping_interval_s=20.1)
