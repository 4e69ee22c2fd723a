"""WebSocket frames as a server writes them."""

import pytest

from feedhandler.sim import frames

SIZES = [0, 1, 125, 126, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("size", SIZES)
def test_frame_holds_its_payload(size: int) -> None:
    """RFC 6455: three lengths of header; FIN set, no RSV bits, not masked (dossier 2.1)."""
    payload = b"x" * size
    framed = frames.frame(payload)
    assert framed[0] == 0x81
    assert not framed[1] & 0x80
    assert frames.payload_of(framed) == payload
    assert frames.parse(framed) == [(frames.TEXT, True, payload, True)]


def test_recorded_header_is_reproduced() -> None:
    """Dossier 2.1: raw bytes of 192 characters begin ``81 7E 00 C0``."""
    assert frames.frame(b"x" * 192)[:4] == bytes.fromhex("817e00c0")


@pytest.mark.parametrize(("size", "parts", "made"), [(10, 3, 3), (10, 1, 1), (2, 5, 2), (0, 3, 1), (9, 3, 3)])
def test_fragments_make_one_message(size: int, parts: int, made: int) -> None:
    """The first frame has the type, the others continue it, the last is final."""
    payload = b"abcdefghij"[:size]
    found = frames.parse(frames.fragments(payload, parts))
    assert len(found) == made
    assert b"".join(piece for _, _, piece, _ in found) == payload
    assert [opcode for opcode, *_ in found] == [frames.TEXT] + [frames.CONTINUATION] * (made - 1)
    assert [is_final for _, is_final, *_ in found] == [False] * (made - 1) + [True]


def test_cut_frame_is_seen_as_cut() -> None:
    """What is left of an aborted frame."""
    framed = frames.frame(b"first") + frames.frame(b"second")[:4]
    assert frames.parse(framed) == [(1, True, b"first", True), (1, True, b"se", False)]
