"""How a private socket is told whose it is: Bybit's ``auth`` request and its signature (dossier 3.1). Pure.

What is signed here is worth as much as the key: none of it belongs into a log, a status or a traceback.
"""

import hashlib
import hmac
from typing import Final

import msgspec

from feedhandler.bybit.operations import AUTH

EXPIRES_AFTER_MS: Final = 30_000
"""A signature is good for this long by our clock, and the venue holds it against its own: how far ours may be behind,
less the way there. It is an expiry and no window, so a long one costs nothing; 1 s, as some libraries have it, fails on
slow links (dossier 3.1). Each connection gets its own."""

TEST_KEY: Final = "SIMULATORTESTKEY00"
"""The key of the simulated Bybit's account: published here, worth nothing, and unknown to the real Bybit."""
TEST_SECRET: Final = "simulator-test-secret-that-opens-nothing-else"  # noqa: S105 - the simulator's own, no secret at all
"""Its secret: as above, and the only one that the simulated Bybit accepts unless it is given more."""


class _Request(msgspec.Struct):
    req_id: str
    op: str
    args: tuple[str, int, str]


def signature(api_secret: str, expires_ms: int) -> str:
    """Return what proves the secret: HMAC-SHA256 of ``GET/realtime<expires>``, lower-case hex. ``expires`` is Unix ms."""
    return hmac.new(api_secret.encode(), f"GET/realtime{expires_ms}".encode(), hashlib.sha256).hexdigest()


def request(api_key: str, api_secret: str, expires_ms: int, req_id: str) -> bytes:
    """Return the ``auth`` request, good until ``expires_ms`` (Unix ms)."""
    return msgspec.json.encode(_Request(req_id, AUTH, (api_key, expires_ms, signature(api_secret, expires_ms))))


def is_repeated(text: str) -> bool:
    """Say whether a refusal only means that the connection is authenticated already: the state is as wanted."""
    return "repeat auth" in text.lower()


def is_needed(text: str) -> bool:
    """Say whether a refused request wants ``auth`` first: ``Request not authorized`` (dossier 3.1)."""
    return "not authorized" in text.lower() or "needs auth" in text.lower()


def may_be_late(text: str) -> bool:
    """Say whether these words may mean an expiry that is over, which a wrong clock makes of every request."""
    return "expired" in text.lower() or "params error" in text.lower()
