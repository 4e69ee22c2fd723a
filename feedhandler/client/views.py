"""Books and tickers kept from a subject's records, for the subjects that a strategy asks for.

Pure, but for `Aging.age_s`: no I/O, and no clock that would decide anything.
"""

import time
from decimal import Decimal
from typing import Any, Final

import msgspec

from feedhandler import wire
from feedhandler.book import Book, Kept, RpiBook
from feedhandler.bybit import messages, topics
from feedhandler.client.record import Record
from feedhandler.errors import SubjectError

_NUMBERS: Final = (float, Decimal)


class Aging(Kept):
    """Something kept that knows how old it is."""

    @property
    def age_s(self) -> float | None:
        """How long ago (s) the worker was handed the last record; None where none has come. Quiet is not stale: see `state`.

        By the clocks of two machines where the worker is on another one.
        """
        return self.age_at_s(time.time_ns())


class BookView(Aging, Book[Any]):
    """A subject's book."""

    def __init__(self, subject: str, product: str, numbers: type, *, strict: bool) -> None:
        super().__init__(strict=strict)
        self.subject = subject
        self.numbers = numbers
        self._decode = messages.decoder(product, subject.partition(".")[2], numbers)

    def take(self, record: Record) -> None:
        """Take the next data record, in order. One that cannot be read leaves a book without a base."""
        try:
            self.apply(self._decode(record.payload), record.received_ns)
        except ValueError as error:
            self.unload(f"unreadable record: {error}")


class RpiBookView(BookView, RpiBook[Any]):
    """The same of a book with retail price improvement."""


class TickerView(Aging):
    """A subject's ticker, whole: what a delta does not name keeps its value; ``""`` is a value (dossier 4.5).

    Fields as in `feedhandler.bybit.messages.FuturesTicker`, ``SpotTicker`` or ``OptionTicker``: ``view.data.last_price``.
    """

    def __init__(self, subject: str, product: str, numbers: type, *, strict: bool) -> None:
        super().__init__(strict=strict)
        self.subject = subject
        self.numbers = numbers
        self._decode = messages.decoder(product, subject.partition(".")[2], numbers)
        self._data: Any = None

    @property
    def data(self) -> Any:
        """Every field as last published; None before the first snapshot."""
        self.check()
        return self._data

    def take(self, record: Record) -> None:
        """Take the next data record, in order. One that cannot be read leaves a ticker without a base."""
        try:
            message = self._decode(record.payload)
        except ValueError as error:
            self.unload(f"unreadable record: {error}")
            return
        if record.kind == wire.SNAPSHOT:
            self._data = message.data
            self.loaded = True
        elif self.loaded:
            for name in message.data.__struct_fields__:
                value = getattr(message.data, name)
                if value is not msgspec.UNSET:
                    setattr(self._data, name, value)
        else:
            return
        self.received_ns = record.received_ns


def book_view(subject: str, product: str, numbers: type, *, strict: bool) -> BookView:
    """Return an empty book for a subject; raise `SubjectError` where its topic is no book with snapshots."""
    name, _ = topics.split(subject.partition(".")[2])
    if not name.startswith("orderbook.") or name == "orderbook.full":
        why = "it has no snapshots on this socket" if name == "orderbook.full" else f"{name or subject} is no book"
        raise SubjectError(f"no book can be kept of {subject}: {why}")
    _check_numbers(numbers)
    return (RpiBookView if name == "orderbook.rpi" else BookView)(subject, product, numbers, strict=strict)


def ticker_view(subject: str, product: str, numbers: type, *, strict: bool) -> TickerView:
    """Return an empty ticker for a subject; raise `SubjectError` where its topic is none."""
    name, _ = topics.split(subject.partition(".")[2])
    if name != "tickers":
        raise SubjectError(f"no ticker can be kept of {subject}: {name or subject} is none")
    return TickerView(subject, product, numbers, strict=strict)


def _check_numbers(numbers: type) -> None:
    if numbers not in _NUMBERS:
        raise TypeError(f"a book is kept in float or Decimal, not in {numbers!r}: text has no order of size")
