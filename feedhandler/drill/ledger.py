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
from feedhandler.drill.counts import Counts
from feedhandler.drill.messages import Unit, digest, fields, shown, units
from feedhandler.drill.plainbook import BookData, BookMessage, PlainBook
from feedhandler.drill.promises import Finding
from feedhandler.drill.reckoning import STATEFUL, Arrival, Reckoning, Window
from feedhandler.drill.truth import Truth

LONGEST_LIST: Final = 1000
"""Findings kept of one subject: a stream that is broken through and through must not fill the memory."""

_KINDS: Final = {
    Nature.BOOK: (wire.SNAPSHOT, wire.DELTA),
    Nature.MERGED: (wire.SNAPSHOT, wire.DELTA),
    Nature.LATEST: (wire.SNAPSHOT,),
    Nature.EVENT: (wire.UPDATE,),
    Nature.DELTAS: (wire.DELTA,),
}
_decode_status: Final = msgspec.json.Decoder(wire.Status).decode
_decode_book: Final = msgspec.json.Decoder(BookMessage).decode


class Told(NamedTuple):
    """A new status."""

    at_ns: int
    state: str
    reason: str
    window: Window | None
    epoch: int
    is_new_hole: bool
    """Its blind time was not told before."""


class Mark(NamedTuple):
    """Where a ledger stood at some moment."""

    told: int
    findings: int
    counts: Counts
    epoch: int


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
        self.since: tuple[int, int] | None = None
        """When it was live first (Unix ns), and in which turn."""
        self.in_step = False
        """Its deltas can be applied."""
        self._fields: dict[str, Any] = {}
        self._last_payload = b""
        self._awaits_snapshot = False
        self._turn = 0
        """Grows with every word to the strategy that something may be missing."""
        self._windows: dict[int, tuple[int, Window]] = {}
        """Blind times as told last, with their turn; by when they begin."""
        self._seen: set[Unit] = set()
        self._reckoning = None if truth is None else Reckoning(truth, self.counts, self._windows, self._find)

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
        if record.flags & wire.REPEATED and self.sequence is not None and record.sequence != self.sequence:
            self._find(promises.SEQUENCE, f"a repeated status says #{record.sequence}, the last was #{self.sequence}")
            return
        if record.flags & wire.REPEATED and self.state:
            if status.state != self.state:
                self._find(promises.TOLD_FIRST, f"a repeated status says {status.state}, the last was {self.state}")
            return
        if record.flags & wire.REPEATED:
            self.sequence = record.sequence  # the first word that one hears of an epoch
        else:
            self._number(record)
        window, is_new = self._window(status)
        if is_new or status.state not in (wire.LIVE, wire.SUBSCRIBING):
            self._turned()
        if window is not None:
            self._windows[window.from_ns] = (self._turn, window)
        if status.state == wire.LIVE and self.since is None:
            self.since = (record.published_ns, self._turn)
        if status.state in (wire.SUBSCRIBING, wire.RESYNCING, wire.DOWN):
            self._awaits_snapshot = self.nature in STATEFUL
            self.in_step, self.book = False, None
        self.state = status.state
        self.told.append(Told(record.published_ns, status.state, status.reason, window, record.epoch, is_new))

    def _window(self, status: wire.Status) -> tuple[Window | None, bool]:
        if isinstance(status.blind_from_ns, msgspec.UnsetType):
            return None, False
        to_ns = None if isinstance(status.blind_to_ns, msgspec.UnsetType) else status.blind_to_ns
        window = Window(status.blind_from_ns, to_ns)
        return window, window.from_ns not in self._windows

    def _take_image(self, record: wire.Record) -> None:
        self.counts.images += 1
        if self.sequence is not None and record.sequence != self.sequence:
            self._find(promises.IMAGE, f"it says #{record.sequence}, the last record was #{self.sequence}")
        if self.nature not in STATEFUL or self.state not in ("", wire.LIVE, wire.STALE):
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
            if self._reckoning is not None:
                is_same = is_again and isinstance(unit, bytes)
                self._reckoning.pending.append(
                    Arrival(
                        unit,
                        fingerprint,
                        self._turn,
                        is_snapshot,
                        record.received_ns,
                        record.sequence,
                        payload,
                        is_same,
                        before,
                    )
                )

    def _repeat(self, unit: Unit, sequence: int) -> None:
        self.counts.repeated += 1
        self._find(promises.REPEATED, f"#{sequence} brings {shown(unit)} again")

    # What the venue says.

    def settle(self, known_until_ns: int, now_ns: int | None = None) -> None:
        """Compare with the truth, which holds everything the venue sent until ``known_until_ns``.

        With ``now_ns`` also what should have come by now.
        """
        if self._reckoning is None:
            return
        self._reckoning.settle(known_until_ns, self.since)
        if now_ns is not None and self.state == wire.LIVE and self.since is not None:
            self._reckoning.check_tail(now_ns, self.since, self._turn, self.told[-1].at_ns, self._fields)

    def compare_book(self, venue: BookData) -> None:
        """Hold our book against the venue's own at the same update id."""
        if self.book is None:
            return
        self.counts.books_compared += 1
        if difference := self.book.difference(PlainBook(venue)):
            self._find(promises.BOOK, difference)

    # For the score.

    def mark(self) -> Mark:
        """Return where it stands."""
        return Mark(len(self.told), len(self.findings), msgspec.structs.replace(self.counts), self.epoch)

    def _find(self, promise: str, evidence: str) -> None:
        if len(self.findings) < LONGEST_LIST:
            self.findings.append(Finding(promise, f"{self.subject}: {evidence}"))
