"""One subject's stream as a plain strategy got it, held against the rules of the wire format and the venue's truth. Pure.

`Ledger.take` judges each record as it comes by what came before. `Ledger.settle` compares with what the venue sent, as
far as that is known by then. What is wrong becomes a `Finding`; what is only unfortunate is counted.
"""

from typing import Any, Final, NamedTuple

import msgspec

from feedhandler import wire
from feedhandler.bybit import topics
from feedhandler.bybit.products import Nature
from feedhandler.drill import promises
from feedhandler.drill.messages import TRADES, Unit, digest, fields, trades, units
from feedhandler.drill.plainbook import BookData, BookMessage, PlainBook
from feedhandler.drill.promises import Finding
from feedhandler.drill.truth import Truth

TRANSIT_NS: Final = 1_000_000_000
"""The venue's time of sending and the feed's of receiving are two readings: a blind time is true within this."""
WITNESS_LAG_NS: Final = 300_000_000
"""The witness's copy of a message may be noted this much after the feed's."""
TAIL_NS: Final = 2_000_000_000
"""What was sent this long ago and has not come will not come by itself."""
LONGEST_LIST: Final = 1000
"""Findings kept of one subject: a stream that is broken through and through must not fill the memory."""

_STATEFUL: Final = (Nature.BOOK, Nature.MERGED, Nature.LATEST)
_KINDS: Final = {
    Nature.BOOK: (wire.SNAPSHOT, wire.DELTA),
    Nature.MERGED: (wire.SNAPSHOT, wire.DELTA),
    Nature.LATEST: (wire.SNAPSHOT,),
    Nature.EVENT: (wire.UPDATE,),
    Nature.DELTAS: (wire.DELTA,),
}
_decode_status: Final = msgspec.json.Decoder(wire.Status).decode
_decode_book: Final = msgspec.json.Decoder(BookMessage).decode


class Window(NamedTuple):
    """A blind time as told, Unix ns; ``to_ns`` is None while it lasts."""

    from_ns: int
    to_ns: int | None


class Told(NamedTuple):
    """A new status."""

    at_ns: int
    state: str
    reason: str
    window: Window | None
    epoch: int
    is_new_hole: bool
    """Its blind time was not told before."""


class Counts(msgspec.Struct):
    """What happened to a subject so far."""

    records: int = 0
    images: int = 0
    missed: int = 0
    """Messages of the venue that never came, told or not, though they told something new."""
    gone: int = 0
    """Those of them that no snapshot makes good: trades, liquidations."""
    repeated: int = 0
    disordered: int = 0
    passed_snapshots: int = 0
    """Snapshots that came without a word before them: the venue's own idea."""
    new_fields: int = 0
    """Records with a field that the venue never had."""
    books_compared: int = 0


class Mark(NamedTuple):
    """Where a ledger stood at some moment."""

    told: int
    findings: int
    counts: Counts
    epoch: int


class _Arrival(NamedTuple):
    unit: Unit
    digest: bytes
    turn: int
    is_snapshot: bool
    received_ns: int
    sequence: int
    payload: bytes
    """Of records that were rebuilt; ``b""`` of the venue's own bytes."""
    is_again: bool
    """The very same bytes came before, with no word of a loss between."""
    state: dict[str, Any]
    """Of merged states: the fields as they were before this record."""


class Ledger:
    """One subject."""

    def __init__(self, subject: str, product: str, truth: Truth | None = None) -> None:
        """Judge ``subject`` (``<endpoint>.<topic>``); without ``truth`` by its own stream alone."""
        self.subject = subject
        self.product = product
        self.topic = subject.partition(".")[2]
        self.nature = topics.nature(product, self.topic)
        self.truth = truth
        self.findings: list[Finding] = []
        self.told: list[Told] = []
        self.counts = Counts()
        self.state = ""
        self.epoch = 0
        self.sequence: int | None = None
        self.book: PlainBook | None = None
        self.since_ns = 0
        """When it was live first."""
        self.in_step = False
        """Its deltas can be applied."""
        self._fields: dict[str, Any] = {}
        self._last_payload = b""
        self._awaits_snapshot = False
        self._turn = 0
        """Grows with every word to the strategy that something may be missing."""
        self._windows: list[tuple[int, Window]] = []
        """Blind times by turn."""
        self._seen: set[Unit] = set()
        self._pending: list[_Arrival] = []
        self._place: int | None = None
        """Where in the truth the last record stands."""
        self._place_turn = 0
        self._place_sequence = 0

    # What comes.

    def take(self, record: wire.Record) -> None:
        """Judge a record of this subject by what came before it."""
        if record.epoch < self.epoch:
            return  # of a worker that is no longer in charge: to be ignored
        if record.epoch > self.epoch:
            self._begin(record.epoch)
        if not record.flags & wire.SIMULATED:
            self._find(promises.FLAGGED, f"#{record.sequence} is not")
        if record.kind == wire.STATUS:
            self._take_status(record)
        elif record.flags & wire.IMAGE:
            self._take_image(record)
        elif not record.flags & wire.REPEATED:
            self._take_data(record)

    def _begin(self, epoch: int) -> None:
        if self.epoch:
            self._turned()
        self.epoch = epoch
        self.sequence, self.state = None, ""
        self.in_step, self.book = False, None
        self._awaits_snapshot = False

    def _turned(self) -> None:
        self._turn += 1
        if self.nature in (Nature.MERGED, Nature.LATEST):
            # What is asked for anew may be answered with the very same state.
            self._seen.clear()

    def _number(self, record: wire.Record) -> None:
        if self.sequence is not None and record.sequence != self.sequence + 1:
            self._find(promises.SEQUENCE, f"#{self.sequence} was followed by #{record.sequence}")
        self.sequence = record.sequence

    def _take_status(self, record: wire.Record) -> None:
        status = _decode_status(record.payload)
        is_first_word = self.sequence is None  # a repeat may be the first that one hears of an epoch
        if record.flags & wire.REPEATED and not is_first_word:
            if record.sequence != self.sequence:
                self._find(
                    promises.SEQUENCE, f"a repeated status says #{record.sequence}, the last was #{self.sequence}"
                )
            elif status.state != self.state:
                self._find(promises.TOLD_FIRST, f"a repeated status says {status.state}, the last was {self.state}")
            return
        self._number(record)
        window, is_new = self._window(status)
        if is_new or status.state not in (wire.LIVE, wire.SUBSCRIBING):
            self._turned()
        if window is not None:
            self._windows.append((self._turn, window))
        if status.state == wire.LIVE and not self.since_ns:
            self.since_ns = record.published_ns
        if status.state in (wire.SUBSCRIBING, wire.RESYNCING, wire.DOWN):
            self._awaits_snapshot = self.nature in _STATEFUL
            self.in_step, self.book = False, None
        self.state = status.state
        self.told.append(Told(record.published_ns, status.state, status.reason, window, record.epoch, is_new))

    def _window(self, status: wire.Status) -> tuple[Window | None, bool]:
        if isinstance(status.blind_from_ns, msgspec.UnsetType):
            return None, False
        to_ns = None if isinstance(status.blind_to_ns, msgspec.UnsetType) else status.blind_to_ns
        window = Window(status.blind_from_ns, to_ns)
        known = any(window.from_ns == other.from_ns for _, other in self._windows)
        return window, not known

    def _take_image(self, record: wire.Record) -> None:
        self.counts.images += 1
        if self.sequence is not None and record.sequence != self.sequence:
            self._find(promises.IMAGE, f"it says #{record.sequence}, the last record was #{self.sequence}")
        if self.nature not in _STATEFUL or self.state not in ("", wire.LIVE, wire.STALE):
            self._find(promises.IMAGE, f"there is one of a topic that is {self.state}, {self.nature.value}")
            return
        self.sequence = record.sequence
        try:
            self._compare_image(record.payload)
        except (ValueError, KeyError, TypeError) as error:
            self._find(promises.IMAGE, f"it cannot be read: {error}")
        self.in_step = True

    def _compare_image(self, payload: bytes) -> None:
        """Hold an image against what we have; take it where we have nothing."""
        if self.nature is Nature.BOOK:
            book = PlainBook(_decode_book(payload).data)
            if self.book is not None and self.in_step and (difference := book.difference(self.book)):
                self._find(promises.IMAGE, difference)
            self.book = book
        elif self.nature is Nature.MERGED:
            found = fields(payload)
            if self.in_step and found != self._fields:
                wrong = sorted(name for name in {*found, *self._fields} if found.get(name) != self._fields.get(name))
                self._find(promises.IMAGE, f"wrong are {', '.join(wrong[:5])}")
            self._fields = found
        elif self.in_step and payload != self._last_payload:
            self._find(promises.IMAGE, "it is not the last record")

    def _take_data(self, record: wire.Record) -> None:
        self._number(record)
        self.counts.records += 1
        if self.state not in ("", wire.LIVE):
            self._find(promises.TOLD_FIRST, f"#{record.sequence} came while it was {self.state}")
        if record.kind not in _KINDS[self.nature]:
            name = wire.KIND_NAMES[record.kind]
            self._find(promises.INVENTED, f"#{record.sequence} is a {name}, which a {self.nature.value} never is")
        is_snapshot = record.kind == wire.SNAPSHOT
        if self._awaits_snapshot and not is_snapshot:
            self._find(promises.SNAPSHOT_FIRST, f"#{record.sequence} is none")
        elif is_snapshot and not self._awaits_snapshot and self.nature is Nature.BOOK:
            self.counts.passed_snapshots += 1
        self._awaits_snapshot = False
        self.counts.new_fields += b'"newField"' in record.payload
        before = self._fields
        try:
            self._fold(record, is_snapshot=is_snapshot)
        except (ValueError, KeyError, TypeError) as error:
            self._find(promises.INVENTED, f"#{record.sequence} cannot be read: {error}")
        self._note(record, before, is_snapshot=is_snapshot)

    def _fold(self, record: wire.Record, *, is_snapshot: bool) -> None:
        """Bring our own state up to date."""
        self._last_payload = record.payload
        if self.nature is Nature.BOOK:
            data = _decode_book(record.payload).data
            if is_snapshot:
                self.book, self.in_step = PlainBook(data), True
            elif self.book is not None:
                if data.u != self.book.update_id + 1:
                    self._find(promises.ORDER, f"u {self.book.update_id} was followed by u {data.u}")
                self.book.apply(data)
        elif self.nature is Nature.MERGED:
            changed = fields(record.payload)
            self._fields = changed if is_snapshot else self._fields | changed
            self.in_step = self.in_step or is_snapshot
        else:
            self.in_step = True

    def _note(self, record: wire.Record, before: dict[str, Any], *, is_snapshot: bool) -> None:
        """Note what the record is known by, and whether it came before."""
        is_rebuilt = bool(record.flags & wire.COMPOSED)
        payload = record.payload if is_rebuilt else b""
        fingerprint = digest(record.payload)
        # A snapshot may tell a book's state again, and does after a resync.
        may_repeat = is_snapshot and self.nature is Nature.BOOK
        for unit in units(self.topic, self.nature, record.payload):
            is_again = unit in self._seen and not may_repeat
            if is_again and not isinstance(unit, bytes):
                self._repeat(unit, record.sequence)
            self._seen.add(unit)
            if self.truth is not None:
                self._pending.append(
                    _Arrival(
                        unit,
                        fingerprint,
                        self._turn,
                        is_snapshot,
                        record.received_ns,
                        record.sequence,
                        payload,
                        is_again and isinstance(unit, bytes),
                        before,
                    )
                )

    def _repeat(self, unit: Unit, sequence: int) -> None:
        self.counts.repeated += 1
        self._find(promises.REPEATED, f"#{sequence} brings {_shown(unit)} again")

    # What the venue says.

    def settle(self, known_until_ns: int) -> None:
        """Compare with the truth, which holds everything the venue sent until ``known_until_ns``."""
        if self.truth is None:
            return
        done = 0
        for arrival in self._pending:
            place = self.truth.places.get(arrival.unit)
            is_genuine = arrival.payload or arrival.digest in self.truth.genuine
            if (place is None or not is_genuine) and arrival.received_ns > known_until_ns - WITNESS_LAG_NS:
                break
            done += 1
            if arrival.is_again and self.truth.genuine.get(arrival.digest, 0) < 2:
                self._repeat(arrival.unit, arrival.sequence)
            if not is_genuine:
                self._find(promises.INVENTED, f"#{arrival.sequence} was never sent to the feed")
            elif arrival.payload and (wrong := self._wrong_trades(arrival)):
                self._find(promises.INVENTED, f"#{arrival.sequence} says of trade {wrong} what the venue did not")
            if place is not None:
                self._place_at(place, arrival, self.truth)
            elif arrival.payload and not arrival.is_snapshot:
                self._find(promises.INVENTED, f"#{arrival.sequence} brings {_shown(arrival.unit)}, never sent")
            # Else: the answer to a subscription, which the witness did not get, or a state composed from one line's
            # records, which is judged by what continues it.
        del self._pending[:done]

    def _place_at(self, place: int, arrival: _Arrival, truth: Truth) -> None:
        if self._place is None:
            # A state begins with its snapshot; events are owed from when they are live.
            is_state = self.nature in _STATEFUL or not self.since_ns
            expected = place if is_state else min(place, truth.after(self.since_ns + TRANSIT_NS))
            self._place_turn = arrival.turn
        else:
            expected = self._place + 1
        if place < expected:
            if not arrival.is_snapshot:
                self.counts.disordered += 1
                self._find(promises.ORDER, f"#{arrival.sequence} brings {_shown(arrival.unit)} too late")
            return
        is_made_good = arrival.turn == self._place_turn and self._is_made_good(expected, place, arrival, truth)
        between = f"#{self._place_sequence} and #{arrival.sequence}"
        self._miss(expected, place, arrival.turn, between, truth, is_made_good=is_made_good)
        self._place, self._place_turn, self._place_sequence = place, arrival.turn, arrival.sequence

    def _is_made_good(self, begin: int, end: int, arrival: _Arrival, truth: Truth) -> bool:
        """Say whether nothing is missing, though messages did not come: the state was as the venue's all the same.

        Another line may go on with a state of which the messages that made it were not seen to be the same.
        """
        if self.nature is Nature.MERGED:
            return arrival.state == truth.fields_before(end)
        if self.nature is Nature.LATEST and begin > 0:
            return all(truth.says(place) == truth.says(begin - 1) for place in range(begin, end))
        return bool(arrival.payload) and arrival.is_snapshot

    def _miss(self, begin: int, end: int, turn: int, between: str, truth: Truth, *, is_made_good: bool = False) -> None:
        """Judge that what stands from ``begin`` to ``end`` in the truth did not come before turn ``turn``."""
        count = end - begin
        if count <= 0 or is_made_good:
            return
        is_event = self.nature not in _STATEFUL
        self.counts.missed += count
        self.counts.gone += count if is_event else 0
        if turn == self._place_turn:
            self._find(promises.LOST, f"{count} between {between}, the first {_shown(truth.units[begin])}")
        elif is_event:
            told = [window for at, window in self._windows if self._place_turn < at <= turn]
            outside = [at_ns for at_ns in truth.times_ns[begin:end] if not _covered(at_ns, told)]
            if outside:
                self._find(promises.BLIND, f"{len(outside)} of {count} between {between} are outside of what was told")

    def check_tail(self, now_ns: int) -> None:
        """Look for what was sent some time ago and never came, though the topic is live. Call `settle` before."""
        if self.truth is None or self._pending or self._place is None or self.state != wire.LIVE:
            return
        end = self.truth.after(now_ns - TAIL_NS)
        if end > self._place + 1 and self._place_turn == self._turn:
            self._miss(self._place + 1, end, self._turn, f"#{self._place_sequence} and now", self.truth)
            self._place = end - 1

    def compare_book(self, venue: BookData) -> None:
        """Hold our book against the venue's own at the same update id."""
        if self.book is None:
            return
        self.counts.books_compared += 1
        if difference := self.book.difference(PlainBook(venue)):
            self._find(promises.BOOK, difference)

    def _wrong_trades(self, arrival: _Arrival) -> str:
        """Return the id of a trade in a rebuilt frame that is not as the venue said it."""
        if self.truth is None or not self.topic.startswith(TRADES):
            return ""
        for trade_id, trade in trades(arrival.payload).items():
            frame = self.truth.trade_frames.get(trade_id)
            if frame is not None and not trades(frame)[trade_id].items() <= trade.items():
                return trade_id
        return ""

    # For the score.

    def mark(self) -> Mark:
        """Return where it stands."""
        return Mark(len(self.told), len(self.findings), msgspec.structs.replace(self.counts), self.epoch)

    def _find(self, promise: str, evidence: str) -> None:
        if len(self.findings) < LONGEST_LIST:
            self.findings.append(Finding(promise, f"{self.subject}: {evidence}"))


def _covered(at_ns: int, windows: list[Window]) -> bool:
    return any(
        window.from_ns - TRANSIT_NS <= at_ns and (window.to_ns is None or at_ns <= window.to_ns + TRANSIT_NS)
        for window in windows
    )


def _shown(unit: Unit) -> str:
    if isinstance(unit, tuple):
        return f"u {unit[0]}"
    return f"trade {unit}" if isinstance(unit, str) else f"message {unit.hex()[:8]}"
