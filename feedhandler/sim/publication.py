"""What every publication of the simulated Bybit shares: one topic, its state common to all subscribers. Pure.

A publication is asked by the exchange (``sim/exchange.py``) and answers with payloads: the text of frames, as bytes.
Key orders follow dossier 4; they differ between products and are deliberately not one.
"""

from typing import Final

from feedhandler.sim.market import Fill, Market

MS: Final = 1_000_000
S: Final = 1_000_000_000


class Publication:
    """One topic. Subclasses say what is sent to a newcomer, when something changed, and at given times."""

    interval_ns: int = 0
    """Push interval; at most one message in it. 0 = at once."""

    def __init__(self, product: str, topic: str, markets: list[Market]) -> None:
        self.product = product
        self.topic = topic
        self.markets = markets
        """What it is a view of; empty for topics that no market moves."""
        self.is_active = False
        self.grid_due_ns = 0
        """When it is to publish; 0 = nothing to say. Kept by the exchange."""
        self.wake_due_ns = 0
        """When its own timer ends; 0 = none. Kept by the exchange."""

    def resume(self, now_ns: int) -> None:
        """Begin, or begin again after a time without subscribers."""

    def pause(self, now_ns: int) -> None:
        """Take note that nobody listens any more."""

    def first(self, now_ns: int) -> bytes | None:
        """Return what a newcomer gets at once, or None where the venue sends nothing."""

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """Take note of a market's event; say whether there may be something to publish."""
        raise NotImplementedError

    def publish(self, now_ns: int) -> list[bytes]:
        """Return the messages of this push; none if nothing changed after all."""
        raise NotImplementedError

    def next_wake_ns(self, now_ns: int) -> int:
        """Return when to be woken without any event; 0 = never."""
        del now_ns
        return 0

    def wake(self, now_ns: int) -> list[bytes]:
        """Return what is due at the time asked for."""
        del now_ns
        return []

    def envelope(self, kind: str, ts_ms: int, sequence: int = 0) -> str:
        """Return the beginning of a message up to its data, keys in the product's order."""
        if self.product in ("spot", "spread"):
            return f'{{"topic":"{self.topic}","ts":{ts_ms},"type":"{kind}","data":'
        if self.product == "option":
            return (
                f'{{"topic":"{self.topic}","ts":{ts_ms},"type":"{kind}","id":"{self.topic}-{sequence}-{ts_ms}","data":'
            )
        return f'{{"topic":"{self.topic}","type":"{kind}","ts":{ts_ms},"data":'
