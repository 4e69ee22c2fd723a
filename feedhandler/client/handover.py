"""One subject between two workers: the old one is heard to its end, and the new one continues exactly there. Pure.

What the new worker sends meanwhile goes into a track of its own. When the old one has ended, the two streams are laid
over each other: both carry what the venue sent, in its order, so the last record of the old one is looked up in the new
one. A state goes on from an image composed for that point, events with those that the old one did not bring.
"""

from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec

from feedhandler.client.counters import Counters
from feedhandler.client.record import Record, decode_status
from feedhandler.client.track import Track
from feedhandler.image import new_image, only_rows
from feedhandler.wire import COMPOSED, ENDED, IMAGE, LIVE, NO_LINE, REPEATED, SIMULATED, SNAPSHOT, STALE, STATUS

SKEW_NS: Final = 250_000_000
"""Two workers publish the same message at most this far apart: each has its own connection to the venue."""
CATCH_UP_S: Final = 1.0
"""How long the new worker may take to bring what the old one brought last."""
PATIENCE_S: Final = 10.0
"""How long the old worker may take to end: a record of a higher epoch says that it will."""
HELD_LIMIT: Final = 100_000
"""Records of the new worker held for the end of the old one."""


class _Position(msgspec.Struct):
    u: int


class _BookMessage(msgspec.Struct):
    data: _Position


class _Message(msgspec.Struct):
    data: msgspec.Raw
    cs: int | None = None
    ts: int | None = None


class _Trade(msgspec.Struct):
    i: str


class _Trades(msgspec.Struct):
    data: list[_Trade]


_decode_book: Final = msgspec.json.Decoder(_BookMessage).decode
_decode_trades: Final = msgspec.json.Decoder(_Trades).decode
_decode_message: Final = msgspec.json.Decoder(_Message).decode
_decode_rows: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode

Key = int | str | bytes | tuple[bytes, int | None]
Keys = Sequence[Key]


def keys_of(record: Record) -> Keys:
    """Return what tells the rows of a message from all others, whoever published them.

    A book's update id, a trade's id; of anything else what the venue says, as it says it. A ticker may go to and fro: of
    what is no list, the venue's sequence belongs to it (dossier 4.5), or its time. Raises `msgspec.DecodeError`.
    """
    topic = record.topic
    if topic.startswith("orderbook."):
        return (_decode_book(record.payload).data.u,)
    if topic.startswith("publicTrade."):
        return [row.i for row in _decode_trades(record.payload).data]
    message = _decode_message(record.payload)
    data = bytes(message.data)
    if data.startswith(b"["):
        return [bytes(row) for row in _decode_rows(data)]
    return ((data, message.ts if message.cs is None else message.cs),)


class Handover:
    """A subject on its way from ``old``, as it is followed, to the worker at ``link``, whose epoch is higher."""

    def __init__(self, old: Track, link: str, counters: Counters, now_s: float) -> None:
        self._outbox: deque[Record] = deque()
        """What the new worker says, in order."""
        self.successor = Track(old.subject, self._outbox, counters)
        self.successor.product = old.product
        self.successor.link = link
        self.over_s: float | None = None
        """When the old worker was heard to have ended; None while it has not."""
        self._begun_s = now_s
        self._over_ns = 0
        self._old = old
        self._was_live = old.state in (LIVE, STALE)
        self._answered_ns = 0
        """When the first record that we have of the new worker was published: from then on nothing of it is missing."""
        self._searched = self._found = 0
        """Records of the new worker in which the old one's last was looked for, and how often it was there."""
        self._before = old.last
        """The last that the old worker brought by then; what it brought since is in ``old.noted``."""
        old.noted = [] if old.last is None else [old.last]
        old.next_sequence = 0

    # The two streams.

    def take(self, record: Record, now_ns: int) -> None:
        """Take a record of the new worker."""
        self._answered_ns = self._answered_ns or record.published_ns
        self.successor.on_record(record, now_ns)

    def take_old(self, record: Record, now_ns: int, now_s: float) -> None:
        """Take a record of the old worker; its last word, that the subject is no longer its own, is not for the strategy."""
        if record.kind == STATUS and record.epoch == self._old.epoch and decode_status(record.payload).state == ENDED:
            self.end_old(record.published_ns, now_s)
        else:
            self._old.on_record(record, now_ns)

    def end_old(self, over_ns: int, now_s: float) -> None:
        """The old worker has ended, or can be heard no more, since ``over_ns``."""
        if self.over_s is None:
            self.over_s, self._over_ns = now_s, over_ns

    def is_due(self, now_s: float) -> bool:
        """Say whether it is time to go over."""
        if self.over_s is None:
            return now_s - self._begun_s > PATIENCE_S or len(self._outbox) > HELD_LIMIT
        if now_s - self.over_s > CATCH_UP_S:
            return True
        # Its image may be on its way; where it is not live for other reasons, that is to be told.
        return self._has_caught_up() if self._is_ready else not self.successor.wants_image

    @property
    def _is_ready(self) -> bool:
        return self.successor.state in (LIVE, STALE)

    def _has_caught_up(self) -> bool:
        """Say whether the new worker has brought what the old one brought last."""
        last = self._old.last
        if last is None or last.published_ns < self._answered_ns - SKEW_NS:
            return True  # it came before our time at the new one
        try:
            row = keys_of(last)[-1:]
            # Events may be the same to the letter, and then each counts.
            needed = 1 if self._old.keeps_state else sum(_count(record, row) for record in self._old.noted or ())
            for record in islice(self._outbox, self._searched, None):
                self._found += _count(record, row)
        except ValueError:
            return True
        self._searched = len(self._outbox)
        return self._found >= needed

    # Going over.

    def go_over(self, now_ns: int) -> bool:
        """Let the old track go on as the new one; return whether nothing is missing between the two."""
        old, successor = self._old, self.successor
        outbox = list(self._outbox)
        if not successor.keeps_state:
            # In the venue's order: what a worker repeats for a newcomer comes after what happens meanwhile.
            outbox.sort(key=lambda record: (record.epoch, record.sequence, record.kind == STATUS))
        # Whoever was blind when the new worker was first heard has missed something before.
        whole = self._was_live and self._is_ready and (self._over_ns or now_ns) - self._answered_ns >= SKEW_NS
        hole = None if whole or successor.keeps_state else (old.last_ns, self._answered_ns)
        try:
            start, records = self._rest(outbox, now_ns) if self._is_ready else (0, outbox)
        except ValueError:
            start, records = 0, outbox  # not what the venue promises: it stands as it came
        # What was said on the way there is summed up: the state that it led to.
        said = next((record for record in reversed(outbox[:start]) if record.kind == STATUS), None)
        if said is not None:
            first = records[0] if records else None
            number = successor.sequence if first is None else first.sequence - (not first.is_image)
            said = msgspec.structs.replace(said, flags=said.flags | REPEATED, sequence=number)
            records = [said, *records]
        old.go_on_as(successor, records, hole, now_ns)
        return whole

    def _rest(self, outbox: list[Record], now_ns: int) -> tuple[int, list[Record]]:
        """Return what the old worker did not bring, and from which record of the new one on that is."""
        if not self.successor.keeps_state:
            return self._rest_of_events(outbox)
        last = self._old.last
        at = _find(last, outbox) if last is not None and self._old.in_step else None
        if at is None:
            first = next((place for place, record in enumerate(outbox) if record.kind != STATUS), len(outbox))
            return first, outbox[first:]
        return at, [self._image(outbox[: at + 1], now_ns), *outbox[at + 1 :]]

    def _image(self, until: list[Record], now_ns: int) -> Record:
        """Return the state after the last of these records, as an image with its number."""
        last = until[-1]
        flags = IMAGE | last.flags & SIMULATED
        payload = last.payload
        if last.kind != SNAPSHOT:
            image = new_image(last.topic)
            for record in until:
                if record.kind != STATUS:
                    image.fold(record.payload)
            payload = image.compose()
            flags |= COMPOSED
        return Record(
            last.subject, SNAPSHOT, flags, NO_LINE, last.epoch, last.sequence, now_ns, now_ns, payload, last.product
        )

    def _rest_of_events(self, outbox: list[Record]) -> tuple[int, list[Record]]:
        brought = Counter(key for record in self._old.noted or () for key in keys_of(record))
        # What stands before the last one of the time before is older still.
        row = keys_of(self._before)[-1:] if self._before is not None else ()
        begin = next((place for place, record in enumerate(outbox) if _count(record, row)), -1)
        start = len(outbox)
        records: list[Record] = []
        for place, record in enumerate(outbox):
            if record.kind == STATUS:
                if place > start:
                    records.append(record)
                continue
            keys = keys_of(record)
            older = len(keys) if place < begin else 0
            if place == begin:
                older = keys.index(row[0])
            new = []
            for number, key in enumerate(keys):
                if brought[key]:
                    brought[key] -= 1
                elif number >= older:
                    new.append(number)
            if new:
                start = min(start, place)
                if len(new) < len(keys):
                    payload = only_rows(record.payload, new)
                    record = msgspec.structs.replace(record, payload=payload, flags=record.flags | COMPOSED)  # noqa: PLW2901 - the rest of it
                records.append(record)
        return start, records


def _count(record: Record, row: Keys) -> int:
    """Count a row, if there is one, in a record."""
    return sum(key in row for key in keys_of(record)) if record.kind != STATUS else 0


def _find(record: Record, among: Sequence[Record]) -> int | None:
    """Return the place of the last of those records that has the last row of this one."""
    row = keys_of(record)[-1:]
    return next((place for place in range(len(among) - 1, -1, -1) if _count(among[place], row)), None)
