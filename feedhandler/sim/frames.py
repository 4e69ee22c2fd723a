"""WebSocket frames of a server, encoded once for all clients (RFC 6455: server frames are not masked). Pure."""

from typing import Final

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
CONTINUATION: Final = 0x0
_FIN: Final = 0x80


def frame(payload: bytes, opcode: int = TEXT, *, is_final: bool = True) -> bytes:
    """Return header and payload as one bytes object: the same may be written to every client."""
    first = opcode | (_FIN if is_final else 0)
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65536:
        return bytes((first, 126, length >> 8, length & 0xFF)) + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload


def payload_of(framed: bytes) -> bytes:
    """Return the payload of one frame made by `frame`."""
    length = framed[1]
    return framed[2 if length < 126 else 4 if length == 126 else 10 :]


def parse(data: bytes) -> list[tuple[int, bool, bytes, bool]]:
    """Take frames apart: opcode, whether final, payload, and whether it is whole (the last may be cut)."""
    found = []
    while len(data) > 1:
        size, begin = data[1], 2
        if size > 125:
            begin = 4 if size == 126 else 10
            size = int.from_bytes(data[2:begin], "big")
        payload = data[begin : begin + size]
        found.append((data[0] & 0x0F, bool(data[0] & _FIN), payload, len(payload) == size))
        data = data[begin + size :]
    return found


def fragments(payload: bytes, parts: int) -> bytes:
    """Return one text message cut into ``parts`` frames: the first of type text, the rest continuations."""
    parts = max(1, min(parts, len(payload) or 1))
    step = -(-len(payload) // parts) or 1
    pieces = [payload[begin : begin + step] for begin in range(0, len(payload), step)] or [b""]
    return b"".join(
        frame(piece, TEXT if number == 0 else CONTINUATION, is_final=number == len(pieces) - 1)
        for number, piece in enumerate(pieces)
    )
