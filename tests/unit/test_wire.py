"""The wire format, field by field."""

import struct

import msgspec
import pytest

from feedhandler import wire

SUBJECT = "linear.orderbook.50.BTCUSDT"


def message(**changes: int) -> bytes:
    """Build a message from the text of the contract, without `feedhandler.wire`."""
    header = {
        "version": 1,
        "kind": 2,
        "flags": 0,
        "line": 0,
        "epoch": 7,
        "sequence": 9,
        "received": 11,
        "published": 13,
    }
    return SUBJECT.encode() + b"\0" + struct.pack("<BBBBIQqq", *(header | changes).values()) + b'{"topic":"x"}'


def test_header_is_32_bytes() -> None:
    """The header has 32 bytes, so a reader in another language may count on it."""
    assert wire.HEADER.size == 32


def test_pack_lays_out_subject_zero_header_payload() -> None:
    """A packed message is subject, zero byte, header, payload, in the order and widths of the contract."""
    packed = wire.pack(wire.prefix(SUBJECT), wire.DELTA, 0, 0, 7, 9, 11, 13, b'{"topic":"x"}')
    assert packed == message()


def test_head_and_tail_make_the_same_message() -> None:
    """A head kept for many records, each with its own tail and payload, gives what `pack` gives."""
    head = wire.head(wire.prefix(SUBJECT), wire.DELTA, 0, 0, 7)
    assert head + wire.TAIL.pack(9, 11, 13) + b'{"topic":"x"}' == message()


def test_header_bytes_stand_where_other_languages_look() -> None:
    """Each field of the header stands at its documented offset, little-endian."""
    packed = wire.pack(b"s\0", 2, 3, 4, 0x0A0B0C0D, 0x0102030405060708, 1, -1, b"")
    assert packed[2:] == (
        bytes([1, 2, 3, 4])
        + bytes([0x0D, 0x0C, 0x0B, 0x0A])
        + bytes([8, 7, 6, 5, 4, 3, 2, 1])
        + bytes([1, 0, 0, 0, 0, 0, 0, 0])
        + b"\xff" * 8
    )


def test_parse_returns_every_field() -> None:
    """A message taken apart gives every field as it was sent, the payload as bytes."""
    record = wire.parse(message(flags=wire.IMAGE | wire.SIMULATED, line=wire.NO_LINE))
    assert record == (SUBJECT, wire.DELTA, 9, 255, 7, 9, 11, 13, b'{"topic":"x"}')


def test_parse_reads_an_empty_payload() -> None:
    """A record without payload is a record."""
    assert wire.parse(message()[: len(SUBJECT) + 1 + wire.HEADER.size]).payload == b""


def test_parse_ends_the_subject_at_the_first_zero() -> None:
    """Zero bytes in header and payload do not move the end of the subject."""
    record = wire.parse(wire.pack(wire.prefix("a"), 3, 0, 0, 0, 0, 0, 0, b"x\0y"))
    assert (record.subject, record.payload) == ("a", b"x\0y")


@pytest.mark.parametrize("text", [b"", b"no zero byte", b"short\0header", SUBJECT.encode() + b"\0" + b"\x01" * 31])
def test_parse_refuses_what_is_no_message(text: bytes) -> None:
    """A message without zero byte or with too short a header is refused, with its beginning in the text."""
    with pytest.raises(wire.WireError, match="not a feedhandler message") as caught:
        wire.parse(text)
    assert repr(text[:80]) in str(caught.value)


def test_parse_refuses_another_version() -> None:
    """A message of another version is refused: its fields may mean something else."""
    with pytest.raises(wire.WireError, match="wire format version 2, this program reads version 1"):
        wire.parse(message(version=2))


def test_parse_refuses_a_subject_that_is_no_text() -> None:
    """A subject that is not UTF-8 is refused as a format error, not as a decoding one."""
    with pytest.raises(wire.WireError, match="subject is not UTF-8"):
        wire.parse(b"\xff" + message())


def test_wire_error_is_a_value_error() -> None:
    """Who catches ValueError catches what is wrong with a message."""
    assert issubclass(wire.WireError, ValueError)


def test_prefix_keeps_longer_symbols_out() -> None:
    """The filter for one subject does not match a subject that merely begins with it."""
    assert not wire.prefix(SUBJECT + "-26SEP25").startswith(wire.prefix(SUBJECT))


def test_kind_names_stand_at_their_numbers() -> None:
    """Each kind's name stands at the index of its number."""
    kinds = (wire.SNAPSHOT, wire.DELTA, wire.UPDATE, wire.STATUS, wire.HEARTBEAT, wire.NOTICE)
    assert [wire.KIND_NAMES[kind] for kind in kinds] == [
        "snapshot",
        "delta",
        "update",
        "status",
        "heartbeat",
        "notice",
    ]


def test_flags_are_the_bits_of_the_contract() -> None:
    """Flags are bits 0 to 3, so that they combine."""
    assert (wire.IMAGE, wire.REPEATED, wire.COMPOSED, wire.SIMULATED) == (1, 2, 4, 8)


def test_status_without_a_hole_leaves_the_hole_out() -> None:
    """A status where no hole is known has exactly the first seven fields, in the contract's order."""
    status = wire.Status(
        state=wire.LIVE, since_ns=1, worker="linear", network="sim", lines_up=1, lines=1, reason="acknowledged"
    )
    assert list(msgspec.json.decode(msgspec.json.encode(status))) == [
        "state",
        "reason",
        "since_ns",
        "worker",
        "network",
        "lines_up",
        "lines",
    ]


def test_status_says_null_where_the_loss_cannot_be_counted() -> None:
    """An uncountable loss is null, which is not the same as no loss known."""
    status = wire.Status(
        state=wire.LIVE,
        since_ns=1,
        worker="linear",
        network="sim",
        lines_up=1,
        lines=1,
        blind_from_ns=2,
        blind_to_ns=3,
        lost=None,
        recoverable=False,
    )
    text = msgspec.json.encode(status)
    assert text.endswith(b'"blind_from_ns":2,"blind_to_ns":3,"lost":null,"recoverable":false}')
    assert msgspec.json.decode(text, type=wire.Status) == status


def test_states_are_the_contracts() -> None:
    """The states of a subject are the seven words of the contract."""
    assert wire.STATES == ("subscribing", "live", "stale", "resyncing", "down", "rejected", "ended")
