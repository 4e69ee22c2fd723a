"""What a strategy got of one subject, compared with what the venue sent on its topic. Pure.

Everything is placed in the truth: what stands between two places and did not come is missing. That is allowed where the
strategy was told between the two, and not otherwise.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from feedhandler.bybit.products import Nature
from feedhandler.drill import promises
from feedhandler.drill.counts import Counts
from feedhandler.drill.messages import TRADES, Unit, shown, trades
from feedhandler.drill.truth import Truth

TRANSIT_NS: Final = 1_000_000_000
"""The venue's time of sending and the feed's of receiving are two readings: a blind time is true within this."""
WITNESS_LAG_NS: Final = 300_000_000
"""The witness's copy of a message may be noted this much after the feed's."""
TAIL_NS: Final = 2_000_000_000
"""What was sent this long ago and has not come will not come by itself."""

STATEFUL: Final = (Nature.BOOK, Nature.MERGED, Nature.LATEST)
"""Topics that have a state, which a snapshot makes good."""


class Window(NamedTuple):
    """A blind time as told, Unix ns; ``to_ns`` is None while it lasts."""

    from_ns: int
    to_ns: int | None


class Arrival(NamedTuple):
    """A unit that came."""

    unit: Unit
    digest: bytes
    turn: int
    """How often the strategy had been told by then that something may be missing."""
    is_snapshot: bool
    received_ns: int
    sequence: int
    payload: bytes
    """Of records that were rebuilt; ``b""`` of the venue's own bytes."""
    is_again: bool
    """The very same bytes came before, with no word of a loss between."""
    state: dict[str, Any]
    """Of merged states: the fields as they were before this record."""


class Reckoning:
    """The comparison of one subject."""

    def __init__(
        self,
        truth: Truth,
        counts: Counts,
        windows: Mapping[int, tuple[int, Window]],
        find: Callable[[str, str], None],
    ) -> None:
        """Compare with ``truth``.

        ``windows`` are the blind times as told last, with the turn they were told in; ``find`` is called with a promise
        that is broken, and what shows it.
        """
        self.pending: list[Arrival] = []
        """What was not compared yet."""
        self._truth = truth
        self._counts = counts
        self._windows = windows
        self._find = find
        self._place: int | None = None
        """Where in the truth the last record stands."""
        self._place_turn = 0
        self._place_sequence = 0
        self._is_rebuilt = False
        """The record before was a state composed from one line's records."""

    def settle(self, known_until_ns: int, since: tuple[int, int] | None) -> None:
        """Compare with everything the venue sent until ``known_until_ns``.

        ``since`` is when the topic was live first, and in which turn; None = not yet.
        """
        truth, done = self._truth, 0
        for arrival in self.pending:
            place = truth.places.get(arrival.unit)
            is_genuine = arrival.payload or arrival.digest in truth.genuine
            if (place is None or not is_genuine) and arrival.received_ns > known_until_ns - WITNESS_LAG_NS:
                break
            done += 1
            if arrival.is_again and truth.genuine.get(arrival.digest, 0) < 2:
                self._counts.repeated += 1
                self._find(promises.REPEATED, f"#{arrival.sequence} brings {shown(arrival.unit)} again")
            if not is_genuine:
                self._find(promises.INVENTED, f"#{arrival.sequence} was never sent to the feed")
            elif arrival.payload and (wrong := self._wrong_trade(arrival)):
                self._find(promises.INVENTED, f"#{arrival.sequence} says of trade {wrong} what the venue did not")
            if place is not None:
                self._place_at(place, arrival, since)
                self._is_rebuilt = False
            elif arrival.is_snapshot:
                # The answer to a subscription, which the witness did not get; or a state composed from the records of
                # one line, which is judged by what continues it.
                self._is_rebuilt = bool(arrival.payload)
            elif arrival.payload:
                self._find(promises.INVENTED, f"#{arrival.sequence} brings {shown(arrival.unit)}, never sent")
        del self.pending[:done]

    def _place_at(self, place: int, arrival: Arrival, since: tuple[int, int] | None) -> None:
        if self._place is None:
            # A state begins with its snapshot; events are owed from when they are live.
            expected, self._place_turn = place, arrival.turn
            if self._truth.nature not in STATEFUL and since is not None:
                since_ns, self._place_turn = since
                expected = min(place, self._truth.after(since_ns + TRANSIT_NS))
        else:
            expected = self._place + 1
        if place < expected:
            if not arrival.is_snapshot:
                self._counts.disordered += 1
                self._find(promises.ORDER, f"#{arrival.sequence} brings {shown(arrival.unit)} too late")
            return
        if self._is_rebuilt and self._truth.nature is Nature.MERGED:
            self._check_rebuilt(place, arrival)
        is_made_good = arrival.turn == self._place_turn and self._is_made_good(expected, place, arrival)
        between = f"#{self._place_sequence} and #{arrival.sequence}"
        self._miss(expected, place, arrival.turn, between, is_made_good=is_made_good)
        self._place, self._place_turn, self._place_sequence = place, arrival.turn, arrival.sequence

    def _check_rebuilt(self, place: int, arrival: Arrival) -> None:
        if arrival.state != self._truth.fields_before(place):
            self._find(promises.INVENTED, f"the state composed before #{arrival.sequence} is not the venue's")

    def _is_made_good(self, begin: int, end: int, arrival: Arrival) -> bool:
        """Say whether nothing is missing, though messages did not come: the state was as the venue's all the same.

        Another line may go on with a state of which the messages that made it were not seen to be the same.
        """
        truth = self._truth
        if truth.nature is Nature.MERGED:
            return arrival.state == truth.fields_before(end)
        if truth.nature is Nature.LATEST and begin > 0:
            return all(truth.says(place) == truth.says(begin - 1) for place in range(begin, end))
        return bool(arrival.payload) and arrival.is_snapshot

    def _miss(self, begin: int, end: int, turn: int, between: str, *, is_made_good: bool) -> None:
        """Judge that what stands from ``begin`` to ``end`` in the truth did not come before ``turn``."""
        count, truth = end - begin, self._truth
        if count <= 0 or is_made_good:
            return
        is_event = truth.nature not in STATEFUL
        self._counts.missed += count
        self._counts.gone += count if is_event else 0
        if turn == self._place_turn:
            self._find(promises.LOST, f"{count} between {between}, the first {shown(truth.units[begin])}")
        elif is_event:
            told = [window for at, window in self._windows.values() if at > self._place_turn]
            outside = [at_ns for at_ns in truth.times_ns[begin:end] if not _covered(at_ns, told)]
            if outside:
                self._find(promises.BLIND, f"{len(outside)} of {count} between {between} are outside of what was told")

    def check_tail(self, now_ns: int, since: tuple[int, int], turn: int, live_ns: int, state: dict[str, Any]) -> None:
        """Look for what was sent some time ago and never came, of a topic that is live; call `settle` before.

        ``since`` is when it was live first, and in which turn, ``live_ns`` when it was told to be live last, ``state``
        the fields of a merged one as they are.
        """
        if self.pending:
            return
        if self._place is None:
            begin, self._place_turn = self._truth.after(since[0] + TRANSIT_NS), since[1]
        else:
            begin = self._place + 1
        if self._place_turn != turn:
            # Nothing has come since it is live again: what was sent before that is lost, and told. What was sent at about
            # that time may still be noted, or come; when that is over, it is judged by what was told, too.
            is_over = now_ns - TAIL_NS >= live_ns + TRANSIT_NS
            end = self._truth.after(live_ns + (TRANSIT_NS if is_over else -WITNESS_LAG_NS))
            begin = self._pass_over(begin, end, turn, "its return", state)
            if not is_over:
                return
            self._place_turn = turn
        self._pass_over(begin, self._truth.after(now_ns - TAIL_NS), turn, "now", state)

    def _pass_over(self, begin: int, end: int, turn: int, until: str, state: dict[str, Any]) -> int:
        """Judge that nothing from ``begin`` to ``end`` came; return where to go on."""
        if end <= begin:
            return begin
        is_made_good = self._truth.nature is Nature.MERGED and state == self._truth.fields_before(end)
        self._miss(begin, end, turn, f"#{self._place_sequence} and {until}", is_made_good=is_made_good)
        self._place = end - 1
        return end

    def _wrong_trade(self, arrival: Arrival) -> str:
        """Return the id of a trade in a rebuilt frame that is not as the venue said it."""
        if not self._truth.topic.startswith(TRADES):
            return ""
        for trade_id, trade in trades(arrival.payload).items():
            frame = self._truth.trade_frames.get(trade_id)
            if frame is not None and not trades(frame)[trade_id].items() <= trade.items():
                return trade_id
        return ""


def _covered(at_ns: int, windows: list[Window]) -> bool:
    return any(
        window.from_ns - TRANSIT_NS <= at_ns and (window.to_ns is None or at_ns <= window.to_ns + TRANSIT_NS)
        for window in windows
    )
