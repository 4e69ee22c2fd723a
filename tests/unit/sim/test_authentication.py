"""Signatures, checked as the venue checks them."""

from typing import Any

import pytest

from feedhandler.bybit.authentication import TEST_KEY, TEST_SECRET, signature
from feedhandler.sim.authentication import PARAMS_ERROR, UNKNOWN_KEY, arguments, objection

NOW_MS = 1_760_000_000_000
LATER_MS = NOW_MS + 1
KEYS = {TEST_KEY: TEST_SECRET, "other": "its secret"}


@pytest.mark.parametrize("expires", [LATER_MS, str(LATER_MS)])
@pytest.mark.parametrize("key", KEYS)
def test_right_signature_is_accepted(key: str, expires: Any) -> None:
    """The expiry as a number or as text, an instant later than now."""
    assert objection(KEYS, [key, expires, signature(KEYS[key], LATER_MS)], NOW_MS) == ""


GOOD = signature(TEST_SECRET, LATER_MS)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([TEST_KEY, NOW_MS, signature(TEST_SECRET, NOW_MS)], PARAMS_ERROR),
        ([TEST_KEY, NOW_MS - 1000, signature(TEST_SECRET, NOW_MS - 1000)], PARAMS_ERROR),
        ([TEST_KEY, LATER_MS + 1, GOOD], PARAMS_ERROR),
        ([TEST_KEY, LATER_MS, GOOD.upper()], PARAMS_ERROR),
        ([TEST_KEY, LATER_MS, "ü"], PARAMS_ERROR),
        ([TEST_KEY, LATER_MS, signature("its secret", LATER_MS)], PARAMS_ERROR),
        (["nobody", LATER_MS, GOOD], UNKNOWN_KEY),
        ([TEST_KEY, LATER_MS], PARAMS_ERROR),
        ([], PARAMS_ERROR),
        ([TEST_KEY, LATER_MS, GOOD, 1], PARAMS_ERROR),
        ([7, LATER_MS, GOOD], PARAMS_ERROR),
        ([TEST_KEY, LATER_MS, None], PARAMS_ERROR),
        ([TEST_KEY, "soon", GOOD], PARAMS_ERROR),
        ([TEST_KEY, float(LATER_MS), GOOD], PARAMS_ERROR),
        ([TEST_KEY, True, GOOD], PARAMS_ERROR),
    ],
)
def test_anything_else_is_refused(args: list[Any], words: str) -> None:
    """Dossier 3.1: an expiry that is over says ``Params Error``, too."""
    assert objection(KEYS, args, NOW_MS) == words


@pytest.mark.parametrize(
    ("payload", "args"),
    [(b'{"op":"auth","args":["a",1,"b"]}', ["a", 1, "b"]), (b'{"op":"auth"}', []), (b'{"op":"auth","args":"a"}', [])],
)
def test_arguments_keep_their_types(payload: bytes, args: list[Any]) -> None:
    """Unlike topics, they are not all text."""
    assert arguments(payload) == args
