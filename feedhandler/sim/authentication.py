"""Signatures of the simulated Bybit's private sockets, checked as the venue checks them (dossier 3.1). Pure."""

import hmac
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from feedhandler.bybit.authentication import signature

PARAMS_ERROR: Final = "Params Error"
"""The venue's words for arguments that make no sense, a signature that does not fit, and an expiry that is over."""
UNKNOWN_KEY: Final = "error:USVC1111"
"""Its words for a key that it does not know."""
NOT_AUTHORIZED: Final = "Request not authorized"
"""Its words for a request that needs ``auth`` first."""


def arguments(payload: bytes) -> list[Any]:
    """Return the arguments of an ``auth`` request, of whatever types they are."""
    found = msgspec.json.decode(payload).get("args")
    return found if isinstance(found, list) else []


def objection(keys: Mapping[str, str], args: list[Any], now_ms: int) -> str:
    """Return the venue's words against ``[key, expires, signature]``; ``""`` = it is right.

    ``keys`` are secrets by key. ``expires`` must be later than now; clients send it as a number or as text.
    """
    if len(args) != 3:
        return PARAMS_ERROR
    key, expires, signed = args
    if not isinstance(key, str) or not isinstance(signed, str):
        return PARAMS_ERROR
    expires_ms = int(expires) if isinstance(expires, str) and expires.isdecimal() else expires
    if not isinstance(expires_ms, int) or isinstance(expires_ms, bool) or expires_ms <= now_ms:
        return PARAMS_ERROR
    secret = keys.get(key)
    if secret is None:
        return UNKNOWN_KEY
    is_right = hmac.compare_digest(signature(secret, expires_ms).encode(), signed.encode())
    return "" if is_right else PARAMS_ERROR
