"""The ``auth`` request, to the byte, and the venue's words about it."""

import msgspec
import pytest

from feedhandler.bybit.authentication import EXPIRES_AFTER_MS, is_needed, is_repeated, may_be_late, request, signature

EXPIRES_MS = 1_662_350_400_000
SIGNED = "d7ca36fea9ef1287007fd4b15af961e91d419a3d3f3ccbdf23585170ac116cd4"
"""By ``printf GET/realtime1662350400000 | openssl dgst -sha256 -hmac secret``."""


def test_signature_is_of_the_path_and_the_expiry() -> None:
    """Dossier 3.1: HMAC-SHA256 of ``GET/realtime`` and the decimal ms, lower-case hex."""
    assert signature("secret", EXPIRES_MS) == SIGNED


def test_request_is_what_the_venue_documents() -> None:
    """Key, expiry as a number, signature; the secret itself is nowhere in it."""
    payload = request("a key", "secret", EXPIRES_MS, "10001")
    assert msgspec.json.decode(payload) == {"req_id": "10001", "op": "auth", "args": ["a key", EXPIRES_MS, SIGNED]}
    assert b"secret" not in payload


def test_signature_outlives_a_slow_link_and_a_clock_that_is_a_little_behind() -> None:
    """1 s is on record as too tight, 10 and 30 s as what works (dossier 3.1)."""
    assert 10_000 <= EXPIRES_AFTER_MS <= 30_000


@pytest.mark.parametrize(
    ("text", "needed", "repeated", "late"),
    [
        ("Request not authorized", True, False, False),
        ("error:topic:order needs auth first", True, False, False),
        ("Repeat auth", False, True, False),
        ("Params Error", False, False, True),
        ("error:request expired", False, False, True),
        ("error:USVC1111", False, False, False),
        ("", False, False, False),
    ],
)
def test_words_of_the_venue_are_understood(text: str, needed: bool, repeated: bool, late: bool) -> None:
    """Dossier 3.1: which ask for ``auth``, which say it was done, which may come of a wrong clock."""
    assert (is_needed(text), is_repeated(text), may_be_late(text)) == (needed, repeated, late)
