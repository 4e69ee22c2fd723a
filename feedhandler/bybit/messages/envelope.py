"""What every message has in common, and what its Structs are written with."""

import abc
from collections.abc import Callable
from decimal import Decimal
from typing import Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

N = TypeVar("N")
"""What prices, sizes and rates become."""
D = TypeVar("D")

TimeMs = int | Literal[""]
"""Unix ms, which the venue writes as text in some messages; ``""`` where there is none."""


class DecimalOrBlank(abc.ABC):  # noqa: B024 - it has no methods: it only names the two types registered below
    """``Decimal``, or ``""``: msgspec knows no union of the two."""


DecimalOrBlank.register(Decimal)
DecimalOrBlank.register(str)


def wire_names(**odd: str) -> Callable[[str], str]:
    """Return how a Struct's fields are called on the wire: as in ``odd``, the others in the venue's camel case."""

    def name(field: str) -> str:
        first, *rest = field.split("_")
        return odd.get(field) or first + "".join(map(str.title, rest))

    return name


class Message(
    msgspec.Struct,
    Generic[D],
    gc=False,
    rename={
        "time_ms": "ts",
        "matching_time_ms": "cts",
        "cross_sequence": "cs",
        "creation_time_ms": "creationTime",
    },
):
    """The envelope (dossier 4 and 6)."""

    topic: str
    data: D
    time_ms: int | UnsetType = UNSET
    """When the venue's push system made it. On a snapshot this is the time of serving, not of the state (dossier 5.5)."""
    type: str | UnsetType = UNSET
    """``snapshot`` or ``delta``, as the venue says; it calls trades snapshots. Absent on price limits and in private."""
    matching_time_ms: int | UnsetType = UNSET
    """Books: the matching engine's time of the state; joins with `Trade.time_ms` (dossier 4.1)."""
    cross_sequence: int | UnsetType = UNSET
    """Tickers of futures and spot: cross sequence; may repeat, not contiguous (dossier 4.5)."""
    id: str | UnsetType = UNSET
    """Options and private topics only; ``execution.fast`` usually has none (dossier 6.3)."""
    creation_time_ms: int | UnsetType = UNSET
    """Private topics and block trades: when the venue made it; they have no ``ts`` (dossier 6)."""
