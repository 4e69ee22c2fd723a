"""One line's lane, while other lines carry the same topics: every frame goes to its topic's race. Pure."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from feedhandler.worker.feed import Lane
from feedhandler.worker.route import Route
from feedhandler.worker.state import Feed

if TYPE_CHECKING:
    from feedhandler.worker.lines import Lines
    from feedhandler.worker.race import Copy


class Ids(msgspec.Struct, gc=False):
    """What is read of a message's data where it is an object."""

    u: int = 0
    seq: int = 0


class Item(msgspec.Struct, gc=False):
    """What is read of each row where it is a list of objects."""

    i: str = ""


class Frame(msgspec.Struct, gc=False):
    """What is read of a message."""

    topic: str
    data: Ids | list[Item]
    type: str = ""


class _AnyFrame(msgspec.Struct, gc=False):
    topic: str
    data: Ids | list[msgspec.Raw]
    type: str = ""


decode_frame: Final = msgspec.json.Decoder(Frame).decode
_decode_any: Final = msgspec.json.Decoder(_AnyFrame).decode

Take = Callable[[Any, bytes, int], None]
"""frame, payload, received_ns."""


class PairedLane(Lane):
    """What one connection of a line carries, while other lines carry the same."""

    __slots__ = (
        "copies",
        "lag_max_ns",
        "lag_sum_ns",
        "lags",
        "lines",
        "lively_since_s",
        "second_copies",
        "takes",
        "wins",
    )

    def __init__(self, feed: Feed, line: int, clock_s: Callable[[], float], canary: str, lines: "Lines") -> None:
        super().__init__(feed, line, clock_s, canary)
        self.lines = lines
        self.copies: dict[str, Copy] = {}
        self.takes: dict[str, Take] = {}
        """By topic, who takes its frames."""
        self.wins = 0
        """Records that this line brought first."""
        self.second_copies = 0
        """Records that another line had brought before."""
        self.lags = 0
        self.lag_sum_ns = 0
        self.lag_max_ns = 0
        """By how much they came later, where that is known."""
        self.lively_since_s = 0.0

    def on_payload(self, payload: bytes, received_ns: int) -> bool:
        """Hand a data message to its topic's race; return False where it is none (control reply, close, garbage)."""
        try:
            frame = decode_frame(payload)
            take = self.takes[frame.topic]
        except (ValueError, KeyError, RecursionError) as error:
            return self._otherwise(payload, received_ns, error)
        self.frames += 1
        self.last_ns = received_ns
        take(frame, payload, received_ns)
        return True

    def _otherwise(self, payload: bytes, received_ns: int, error: Exception) -> bool:
        """Rows that are no objects, or have numbers for ids, are still some topic's data."""
        if isinstance(error, ValueError):
            try:
                frame = _decode_any(payload)
                take = self.takes[frame.topic]
            except (ValueError, KeyError, RecursionError) as other:
                return self._not_ours(payload, received_ns, other)
            self.frames += 1
            self.last_ns = received_ns
            take(frame, payload, received_ns)
            return True
        return self._not_ours(payload, received_ns, error)

    def lagged(self, lag_ns: int) -> None:
        """Note by how much this line's copy of a record came after the first one."""
        self.lags += 1
        self.lag_sum_ns += lag_ns
        if lag_ns > self.lag_max_ns:  # noqa: PLR1730 - max() costs more, and this runs for every second copy
            self.lag_max_ns = lag_ns

    def fold(self, route: Route, now_ns: int) -> None:
        """Fold what was kept."""
        self._fold(route, now_ns)

    # Topics come and go, for all lines at once.

    def add(self, route: Route) -> None:
        """Take a topic up, on every line."""
        self.lines.add(route)

    def remove(self, topic: str) -> None:
        """Carry a topic no more, on every line."""
        self.lines.remove(topic)

    def resyncs_due(self, now_s: float) -> list[str]:
        """Return the topics to unsubscribe and subscribe now, on this line."""
        return [topic for topic, copy in self.copies.items() if copy.race.takes_due(copy, now_s)]

    # What happens to the connection.

    def has_data(self, topic: str) -> bool:
        """Say whether data of a topic came on the present connection, acknowledged or not."""
        copy = self.copies.get(topic)
        return copy is not None and copy.arrived

    def opened(self, now_ns: int) -> None:
        """The connection is open; every topic will be asked for."""
        self.up = True
        self.last_ns = self._quiet_since_ns = now_ns
        self.promised_ns = 0
        for copy in self.copies.values():
            copy.race.opened(now_ns)

    def asked(self, names: list[str]) -> None:
        """The subscribe request of these topics is out."""
        for topic in names:
            if copy := self.copies.get(topic):
                copy.asked = True
                copy.route.asked_s = self.clock_s()

    def acknowledged(self, names: list[str], now_ns: int) -> None:
        """These topics are subscribed on this line."""
        super().acknowledged([topic for topic in names if topic not in self.copies], now_ns)
        for topic in names:
            if copy := self.copies.get(topic):
                copy.refused = ""
                copy.acknowledged_ns = now_ns
                copy.race.acknowledged(copy, now_ns)

    def refused(self, topic: str, text: str, now_ns: int) -> None:
        """The venue refuses a topic on this line; the text is its own."""
        copy = self.copies.get(topic)
        if copy is None:
            super().refused(topic, text, now_ns)
        else:
            copy.forget()
            copy.refused = text
            copy.race.without(copy, text, now_ns)

    def mute(self, now_ns: int) -> str:
        """Say that nobody may take this connection's silence for a quiet market; return the reason."""
        reason = f"mute: nothing came on its connection for {(now_ns - self.last_ns) / 1e9:.1f} s"
        self._cadence.suspected()
        for copy in self.copies.values():
            copy.race.muted(copy, reason, now_ns)
        return reason

    def clock_set(self, now_ns: int, back_ns: int) -> None:
        """Begin anew with what is measured by the clock: two lines prove something once both had time to since then."""
        super().clock_set(now_ns, back_ns)
        for copy in self.copies.values():
            copy.acknowledged_ns = copy.acknowledged_ns and now_ns

    def closed(self, reason: str, now_ns: int) -> None:
        """The connection is gone, or could not be opened. What the venue refused stays refused."""
        self.up = False
        for copy in self.copies.values():
            copy.forget()
            copy.race.without(copy, reason, now_ns)
