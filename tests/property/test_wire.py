"""The wire format: whatever is packed comes back, and whatever comes is a record or a WireError."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from feedhandler import wire

BYTE = st.integers(0, 255)
TIME_NS = st.integers(-(2**63), 2**63 - 1)
SUBJECT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(SUBJECT, BYTE, BYTE, BYTE, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), TIME_NS, TIME_NS, st.binary())
def test_parse_undoes_pack(
    subject: str,
    kind: int,
    flags: int,
    line: int,
    epoch: int,
    sequence: int,
    received_ns: int,
    published_ns: int,
    payload: bytes,
) -> None:
    """Every field over its whole range, and any payload, comes back as it went in."""
    fields = (kind, flags, line, epoch, sequence, received_ns, published_ns, payload)
    assert wire.parse(wire.pack(wire.prefix(subject), *fields)) == (subject, *fields)


@given(st.binary())
def test_parse_of_any_bytes_is_a_record_or_a_wire_error(message: bytes) -> None:
    """No bytes make parse raise anything but WireError."""
    with contextlib.suppress(wire.WireError):
        wire.parse(message)


@given(st.binary(max_size=8), st.binary(min_size=32, max_size=80))
def test_parse_of_any_header_is_a_record_or_a_wire_error(subject: bytes, rest: bytes) -> None:
    """Neither does a well-framed message with any subject and any content of version 1."""
    with contextlib.suppress(wire.WireError):
        wire.parse(subject + b"\0\x01" + rest)


@given(SUBJECT, SUBJECT)
def test_prefixes_match_only_their_own_subject(one: str, other: str) -> None:
    """As SUB filters, the prefixes of two subjects match each other only where the subjects are the same."""
    assert wire.prefix(one).startswith(wire.prefix(other)) == (one == other)
