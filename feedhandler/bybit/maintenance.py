"""What the venue announces about itself on ``system.status`` (dossier 4.12). Pure.

Interruptions of less than 10 s are not announced.
"""

from typing import Final

import msgspec

SCHEDULED: Final = "scheduled"
ONGOING: Final = "ongoing"

_MARKET_DATA: Final = 5
_PRODUCT_CODES: Final = {"linear": 1, "inverse": 1, "spot": 2, "option": 3, "spread": 4}

ADVANCE_NOTICE_S: Final = (600.0, 60.0, 0.0)
"""How long before its begin an announced maintenance is told again."""
GRACE_S: Final = 60.0
"""Losses this long before or after the announced time still count as its doing."""


class Announcement(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """One maintenance. Empty lists mean that nothing is excepted."""

    id: str = ""
    title: str = ""
    state: str = ""
    """``scheduled``, ``ongoing``, ``completed`` or ``canceled``."""
    begin: str = "0"
    """Unix ms."""
    end: str = "0"
    """Unix ms; expected, until completed."""
    service_types: list[int] = []
    product: list[int] = []

    @property
    def begin_s(self) -> float:
        """Unix s."""
        return int(self.begin) / 1e3 if self.begin.isdecimal() else 0.0

    @property
    def end_s(self) -> float:
        """Unix s."""
        return int(self.end) / 1e3 if self.end.isdecimal() else 0.0

    def affects(self, product: str) -> bool:
        """Say whether a product's public streams are concerned."""
        code = _PRODUCT_CODES.get(product)
        return (
            self.state in (SCHEDULED, ONGOING)
            and code is not None
            and (not self.service_types or _MARKET_DATA in self.service_types)
            and (not self.product or code in self.product)
        )


class _Message(msgspec.Struct):
    data: list[Announcement]


_decode: Final = msgspec.json.Decoder(_Message).decode


def parse(payload: bytes) -> list[Announcement]:
    """Read a message of ``system.status``; raise `ValueError` where it is none."""
    return _decode(payload).data


class Calendar:
    """What is announced for one product, and when strategies are to be told. Times are Unix s."""

    def __init__(self, product: str) -> None:
        self._product = product
        self._known: dict[str, Announcement] = {}
        self._told: set[tuple[str, str, str, float]] = set()

    def take(self, announcements: list[Announcement]) -> None:
        """Take what the venue said; a maintenance that is over or off the table is forgotten."""
        for announcement in announcements:
            if announcement.affects(self._product):
                self._known[announcement.id] = announcement
            else:
                self._known.pop(announcement.id, None)

    def due(self, now_s: float) -> list[Announcement]:
        """Return what is to be told now: each announcement when it comes, and again as its begin comes near."""
        due = []
        for announcement in self._known.values():
            passed = [ahead_s for ahead_s in ADVANCE_NOTICE_S if now_s >= announcement.begin_s - ahead_s]
            mark = (announcement.id, announcement.state, announcement.begin, min(passed, default=float("inf")))
            if mark not in self._told:
                self._told.add(mark)
                due.append(announcement)
        return due

    def ongoing(self, now_s: float) -> Announcement | None:
        """Return the maintenance that explains a loss at this time, if there is one."""
        for announcement in self._known.values():
            if announcement.state == ONGOING and now_s >= announcement.begin_s - GRACE_S:
                return announcement
            if announcement.begin_s - GRACE_S <= now_s <= announcement.end_s + GRACE_S:
                return announcement
        return None
