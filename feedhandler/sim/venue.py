"""The sockets of the simulated venue: which product is served at which path, and what it serves (dossier 1.2). Pure."""

from typing import Final

from feedhandler.bybit.products import PRODUCTS, Stream

STATUS: Final = "status"
"""The product without market data: the socket of ``system.status``."""
SPREAD: Final = "spread"
PRIVATE: Final = "private"
TRADE: Final = "trade"
"""The socket for orders: no product of a feed, so the simulator alone knows it."""

SIGNED: Final = frozenset((PRIVATE, TRADE))
"""Sockets that begin with ``auth`` and live as long as ``max_active_time`` says (dossier 1.3, 3.1)."""

PATHS: Final = {product.path: product.name for product in PRODUCTS.values()} | {"/v5/trade": TRADE}
"""Product by path."""


def stream_of(product: str, name: str) -> Stream | None:
    """Return the stream of that name, or None where ``product`` does not serve it."""
    return PRODUCTS[product].stream(name)
