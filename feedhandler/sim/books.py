"""Order books of every depth, as views of one market (dossier 4.1 to 4.3, 9.4). Pure.

A delta is the difference between the windows of two pushes, best first: levels that left the window are deleted with
size ``"0"``, levels that entered are inserted. ``u`` counts the pushes of one topic, for all its subscribers.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec

from feedhandler.sim.listing import trimmed
from feedhandler.sim.market import FULL_DEPTH, Fill, Market, Side
from feedhandler.sim.publication import MS, Publication, S

Sizes = tuple[int, ...]
"""Size of a level, in lots: ``(lots,)``, or ``(lots, rpi_lots)`` in RPI books."""
Window = dict[int, Sizes]
"""Levels of a side by key (price in ticks times the side's sign), best first."""

CHAINS: Final = 32
"""Chains of update ids whose truth is kept: each restart of the counting, or of the topic, begins one."""
REPEAT_NS: Final = 3 * S
"""A level 1 that does not change is sent again after this time (dossier 4.1)."""


class Stamp(msgspec.Struct, frozen=True):
    """What names one published state."""

    update_id: int
    sequence: int
    event_ms: int


class Push(msgspec.Struct, frozen=True):
    """What changed at one update id; kept for the ground truth."""

    stamp: Stamp
    bids: dict[int, Sizes | None]
    asks: dict[int, Sizes | None]
    """Changed levels by key; None = left the window."""


class History:
    """The last windows of one chain of update ids: a base, and the pushes since."""

    def __init__(self, capacity: int, stamp: Stamp, bids: Window, asks: Window) -> None:
        self._capacity = capacity
        self._pushes: deque[Push] = deque()
        self._base = stamp
        self._bids = dict(bids)
        self._asks = dict(asks)

    def add(self, push: Push) -> None:
        """Remember a push; the oldest beyond the capacity goes into the base."""
        self._pushes.append(push)
        if len(self._pushes) > self._capacity:
            oldest = self._pushes.popleft()
            self._base = oldest.stamp
            _apply(self._bids, oldest.bids)
            _apply(self._asks, oldest.asks)

    def at(self, update_id: int) -> tuple[Stamp, Window, Window] | None:
        """Return bids and asks at ``update_id``, best first; None where it is not (or no longer) known."""
        bids, asks = dict(self._bids), dict(self._asks)
        known = self._base
        for push in self._pushes:
            if known.update_id >= update_id:
                break
            _apply(bids, push.bids)
            _apply(asks, push.asks)
            known = push.stamp
        if known.update_id != update_id:
            return None
        return known, dict(sorted(bids.items())), dict(sorted(asks.items()))

    @property
    def known(self) -> tuple[int, int]:
        """The lowest and highest update id known."""
        last = self._pushes[-1].stamp if self._pushes else self._base
        return self._base.update_id, last.update_id


def _apply(window: Window, changes: dict[int, Sizes | None]) -> None:
    for key, sizes in changes.items():
        if sizes is None:
            window.pop(key, None)
        else:
            window[key] = sizes


class Book(Publication):
    """``orderbook.{depth}``: a snapshot for each newcomer, then deltas."""

    sides_are_independent = True
    """False where what a side shows depends on the other."""

    def __init__(self, product: str, topic: str, market: Market, depth: int, interval_ms: int, history: int) -> None:
        super().__init__(product, topic, [market])
        self.market = market
        self.depth = depth
        self.interval_ns = interval_ms * MS
        self.is_trimmed = product in ("spot", "option", "spread")
        self.update_id = 1000 + market.chance.randrange(100_000_000)
        self.sequence = 0
        self.event_ms = 0
        self.bids: Window = {}
        self.asks: Window = {}
        self.histories: deque[History] = deque(maxlen=CHAINS)
        """The ground truth, newest chain last; empty unless asked for."""
        self._history_capacity = history
        self._paused_ns = 0
        self._seen: tuple[int, int] | None = None
        market.require_depth(depth)

    def resume(self, now_ns: int) -> None:
        """Publish, to nobody, what the venue would have published in the meantime."""
        bids, asks = self._window(self.market.bids), self._window(self.market.asks)
        if self._seen is None or (bids, asks) != (self.bids, self.asks):
            if self._seen is not None:
                self.update_id += max(1, (now_ns - self._paused_ns) // self.interval_ns)
            self._settle(bids, asks)
            self._begin_history()

    def pause(self, now_ns: int) -> None:
        """Take note that nobody listens any more."""
        self._paused_ns = now_ns

    def first(self, now_ns: int) -> bytes | None:
        """Return the last published state, served now (dossier 5.5)."""
        return self.snapshot(now_ns)

    def snapshot(self, now_ns: int) -> bytes:
        """Compose a snapshot of the last published state."""
        return self._message("snapshot", now_ns, self.bids, self.asks)

    def touched(self, market: Market, fills: list[Fill]) -> bool:
        """Any event may have changed the window."""
        del market, fills
        return True

    def publish(self, now_ns: int) -> list[bytes]:
        """Return the delta since the last push, if there is one."""
        seen = (self.market.bids.version, self.market.asks.version)
        if seen == self._seen:
            return []
        # A side that did not move has the same window.
        known = self._seen if self.sides_are_independent else None
        bids = self.bids if known and known[0] == seen[0] else self._window(self.market.bids)
        asks = self.asks if known and known[1] == seen[1] else self._window(self.market.asks)
        changed_bids, changed_asks = _difference(self.bids, bids), _difference(self.asks, asks)
        if not changed_bids and not changed_asks:
            self._seen = seen
            return []
        self.update_id += 1
        self._settle(bids, asks)
        self._remember(changed_bids, changed_asks)
        return [self._message("delta", now_ns, changed_bids, changed_asks)]

    def restart(self, now_ns: int, update_id: int = 1) -> list[bytes]:
        """Begin counting again, at 1 as after a restart of the venue's service: a snapshot (dossier 5.1)."""
        self.market.sequence += 1  # every push has its own (dossier 9.4), also one out of turn
        self.update_id = update_id
        self._settle(self._window(self.market.bids), self._window(self.market.asks))
        self._begin_history()
        return [self.snapshot(now_ns)]

    def recount(self) -> None:
        """Begin counting again with the next delta: it will have ``u`` 1 (dossier 9.5)."""
        self.update_id = 0
        self._begin_history()

    def renew(self, now_ns: int) -> list[bytes]:
        """Send the next state as a snapshot instead of a delta (dossier 5.1)."""
        bids, asks = self._window(self.market.bids), self._window(self.market.asks)
        changes = _difference(self.bids, bids), _difference(self.asks, asks)
        self.market.sequence += 1
        self.update_id += 1
        self._settle(bids, asks)
        self._remember(*changes)
        return [self.snapshot(now_ns)]

    def blank(self, now_ns: int, *, keeps_asks: bool) -> list[bytes]:
        """Send a snapshot without bids, and without asks unless kept; the next delta brings them back (dossier 9.5)."""
        changed_bids: dict[int, Sizes | None] = dict.fromkeys(self.bids)
        changed_asks: dict[int, Sizes | None] = {} if keeps_asks else dict.fromkeys(self.asks)
        self.market.sequence += 1
        self.update_id += 1
        self._settle({}, self.asks if keeps_asks else {})
        self._seen = (-1, -1)
        self._remember(changed_bids, changed_asks)
        return [self.snapshot(now_ns)]

    def truth(self, update_id: int) -> bytes | None:
        """Return the whole book at ``update_id`` as a snapshot's data with ``cts``; None where it is not known."""
        for history in reversed(self.histories):
            found = history.at(update_id)
            if found is not None:
                stamp, bids, asks = found
                return f'{self._data(stamp, bids, asks)},"cts":{stamp.event_ms}}}'.encode()
        return None

    def level_text(self, side: Side, key: int, sizes: Sizes | None) -> str:
        """Return one level as the venue writes it; None = deleted."""
        instrument = self.market.instrument
        price = instrument.price_text(key * side.sign)
        size = "0" if sizes is None else instrument.size_text(sizes[0])
        if self.is_trimmed:
            return f'["{trimmed(price)}","{trimmed(size)}"]'
        return f'["{price}","{size}"]'

    def _window(self, side: Side) -> Window:
        lots = side.lots
        return {key: (lots[key],) for key in side.keys[: self.depth]}

    def _settle(self, bids: Window, asks: Window) -> None:
        market = self.market
        self.bids, self.asks = bids, asks
        self.sequence, self.event_ms = market.sequence, market.event_ms
        self._seen = (market.bids.version, market.asks.version)

    def _begin_history(self) -> None:
        if self._history_capacity:
            stamp = Stamp(self.update_id, self.sequence, self.event_ms)
            self.histories.append(History(self._history_capacity, stamp, self.bids, self.asks))

    def _remember(self, bids: dict[int, Sizes | None], asks: dict[int, Sizes | None]) -> None:
        if self.histories:
            self.histories[-1].add(Push(Stamp(self.update_id, self.sequence, self.event_ms), bids, asks))

    def _message(
        self, kind: str, now_ns: int, bids: Mapping[int, Sizes | None], asks: Mapping[int, Sizes | None]
    ) -> bytes:
        stamp = Stamp(self.update_id, self.sequence, self.event_ms)
        envelope = self.envelope(kind, now_ns // MS, self.sequence)
        return f'{envelope}{self._data(stamp, bids, asks)}}},"cts":{self.event_ms}}}'.encode()

    def _data(self, stamp: Stamp, bids: Mapping[int, Sizes | None], asks: Mapping[int, Sizes | None]) -> str:
        """Return the data of a message, without the closing brace."""
        market = self.market
        bid_text = ",".join([self.level_text(market.bids, key, sizes) for key, sizes in bids.items()])
        ask_text = ",".join([self.level_text(market.asks, key, sizes) for key, sizes in asks.items()])
        return (
            f'{{"s":"{market.instrument.symbol}","b":[{bid_text}],"a":[{ask_text}],'
            f'"u":{stamp.update_id},"seq":{stamp.sequence}'
        )


def _difference(old: Window, new: Window) -> dict[int, Sizes | None]:
    """Return changed levels, best first; None = left the window."""
    if old is new or old == new:
        return {}
    changes: dict[int, Sizes | None] = {key: sizes for key, sizes in new.items() if old.get(key) != sizes}
    gone = [key for key in old if key not in new]
    if not gone:
        return changes
    changes.update(dict.fromkeys(gone))
    return {key: changes[key] for key in sorted(changes)}


class BestBook(Book):
    """``orderbook.1``: snapshots only, one for each change, and again after 3 s without (dossier 4.1)."""

    def __init__(self, product: str, topic: str, market: Market, interval_ms: int, history: int) -> None:
        super().__init__(product, topic, market, 1, interval_ms, history)
        # Since 2026 the futures' level-1 publisher trims, while deeper books and trades stay padded (dossier 4).
        self.is_trimmed = True
        self._sent_ns = 0

    def first(self, now_ns: int) -> bytes | None:
        """Return the last published state; the next repetition counts from the last push, not from here."""
        return self.snapshot(now_ns)

    def resume(self, now_ns: int) -> None:
        """Begin, and count the time to the next repetition from here."""
        super().resume(now_ns)
        self._sent_ns = now_ns

    def publish(self, now_ns: int) -> list[bytes]:
        """Return the whole level 1 if it changed."""
        if not super().publish(now_ns):
            return []
        self._sent_ns = now_ns
        return [self.snapshot(now_ns)]

    def next_wake_ns(self, now_ns: int) -> int:
        """Ask to be woken when a repetition may be due."""
        del now_ns
        return self._sent_ns + REPEAT_NS

    def wake(self, now_ns: int) -> list[bytes]:
        """Repeat: same ``u``, ``seq`` and ``cts``, new ``ts``."""
        if now_ns - self._sent_ns < REPEAT_NS:
            return []
        self._sent_ns = now_ns
        return [self.snapshot(now_ns)]


class RpiBook(Book):
    """``orderbook.rpi``: 50 levels of ``[price, size, rpi_size]`` (dossier 4.2); keys in spot's order everywhere."""

    sides_are_independent = False

    def __init__(self, product: str, topic: str, market: Market, interval_ms: int, history: int) -> None:
        super().__init__(product, topic, market, 50, interval_ms, history)
        market.require_rpi()

    def envelope(self, kind: str, ts_ms: int, sequence: int = 0) -> str:
        """Return the beginning of a message, as in the venue's example."""
        del sequence
        return f'{{"topic":"{self.topic}","ts":{ts_ms},"type":"{kind}","data":'

    def level_text(self, side: Side, key: int, sizes: Sizes | None) -> str:
        """Return one level as a triple; both sizes ``"0"`` = deleted."""
        instrument = self.market.instrument
        price = instrument.price_text(key * side.sign)
        lots, rpi = sizes or (0, 0)
        size = instrument.size_text(lots) if lots else "0"
        rpi_size = instrument.size_text(rpi) if rpi else "0"
        if self.is_trimmed:
            return f'["{trimmed(price)}","{trimmed(size)}","{trimmed(rpi_size)}"]'
        return f'["{price}","{size}","{rpi_size}"]'

    def _window(self, side: Side) -> Window:
        market = self.market
        is_bid = side is market.bids
        rpi = market.rpi_bids if is_bid else market.rpi_asks
        opposite = (market.asks if is_bid else market.bids).keys
        # Hidden while it would cross the other side's best ordinary price.
        lowest = 1 - opposite[0] if opposite else -(10**15)
        shown = {key: lots for key, lots in rpi.items() if key >= lowest}
        keys = sorted({*side.keys[: self.depth], *shown})[: self.depth]
        return {key: (side.lots.get(key, 0), shown.get(key, 0)) for key in keys}


class FullBook(Book):
    """``orderbook.full``: every level, deltas only; the first state comes from REST (dossier 4.3)."""

    def __init__(self, product: str, topic: str, market: Market, interval_ms: int, history: int) -> None:
        super().__init__(product, topic, market, FULL_DEPTH, interval_ms, history)
        self.depth = 10**6

    def first(self, now_ns: int) -> bytes | None:
        """Return nothing: the venue sends no snapshot here."""
        del now_ns
        return None
