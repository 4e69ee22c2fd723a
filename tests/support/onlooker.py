"""A strategy in a thread of its own: a `Subscriber`, and everything it saw, with its books as they were at each record."""

import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from feedhandler.client.subscriber import Subscriber
from support.strategy import Seen, Shown

_GLANCE_S = 0.05


class Sight(Seen, array_like=True):
    """A record, and what the strategy's own book of its subject showed once it was taken."""

    book: Shown | None = None
    book_sequence: int = 0
    """The venue's ``seq`` of that book."""


class Onlooker:
    """Sees everything from its start on."""

    def __init__(self, *subjects: str, books: Iterable[str] = (), **options: Any) -> None:
        """Subscribe to ``subjects``, and keep ``books``; ``options`` are `Subscriber`'s."""
        self.seen: list[Sight] = []
        self._wish = subjects, tuple(books), options
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        subjects, books, options = self._wish
        try:
            with Subscriber(**options) as feed:
                feed.subscribe(*subjects)
                views = {subject: feed.book(subject) for subject in books}
                while not self._stop.is_set():
                    record = feed.receive(_GLANCE_S)
                    if record is None:
                        continue
                    view = views.get(record.subject)
                    if view is None:
                        self.seen.append(Sight(time.time_ns(), record))
                        continue
                    shown = Shown(view.state, view.update_id, view.bids(), view.asks())
                    self.seen.append(Sight(time.time_ns(), record, shown, view.venue_sequence))
        except BaseException as error:  # noqa: BLE001 - raised again where the test ends
            self._failure = error

    def of(self, subject: str, start: int = 0) -> list[Sight]:
        """Return what it has seen of a subject, from its record number ``start`` of all on."""
        return [one for one in self.seen[start:] if one.record.subject == subject]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
        if self._failure is not None and error is None:
            raise self._failure
