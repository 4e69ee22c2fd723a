"""The URLs that endpoints may connect to in place of those that network, site and product imply.

No text here quotes a URL: it may hold a password. Pure: no I/O, no clock.
"""

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from feedhandler.bybit.products import PRODUCTS, SITES
from feedhandler.config.problems import looks_secret, quote

_HOST: Final = re.compile(r"[\w.-]+|[0-9a-f:.]+", re.ASCII)
_SECRET: Final = re.compile(r"key$|^(auth|sign|sig|signature|authorization|jwt|pass|pwd)$")
"""Names in a query, besides those that look like a secret anywhere."""
_VENUE_DOMAINS: Final = tuple(host.partition(".")[2] for host in SITES.values())
_ORDER_ENTRY: Final = "/v5/trade"


def wrong(url: str) -> str:
    """Return what is wrong with a URL whatever it is for, or ``""``."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "is no URL"
    if parts.username is not None:
        return "holds a user name or a password: secrets do not belong in this file"
    if secret := next((name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if _is_secret(name)), ""):
        return f"holds {quote(secret)} in its query: secrets do not belong in this file"
    if parts.scheme not in ("ws", "wss"):
        return 'must begin with "ws://" or "wss://"'
    if not _HOST.fullmatch(parts.hostname or "") or " " in url:
        return 'has no host; a whole one is "wss://stream.bybit.com/v5/public/linear"'
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        return "its port is no number from 1 to 65535"
    return "has a fragment (#...), which no server ever sees" if parts.fragment else ""


def misplaced(url: str, product: str) -> str:
    """Return what the venue serves at a URL's path where that is not ``product``, or ``""``.

    Other paths are anybody's own, and may serve anything.
    """
    path = urlsplit(url).path.rstrip("/")
    if path.endswith(_ORDER_ENTRY):
        return f"ends in {_ORDER_ENTRY}, where orders are entered and nothing is streamed"
    served = next((one for one in PRODUCTS.values() if path.endswith(one.path)), None)
    if served is None or served.name == product:
        return ""
    return f"ends in {served.path}, where the venue serves {served.name}, not {product} ({PRODUCTS[product].path})"


def is_venue(url: str) -> bool:
    """Say whether a URL leads to Bybit."""
    host = urlsplit(url).hostname or ""
    return any(host == domain or host.endswith(f".{domain}") for domain in _VENUE_DOMAINS)


def _is_secret(name: str) -> bool:
    return looks_secret(name) or _SECRET.search(name.lower()) is not None
