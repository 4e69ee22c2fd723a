"""Figures as people read them: medians with their range, in Markdown tables. Pure."""

import statistics
from collections.abc import Iterable, Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """What repeats gave."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Sum repeats up; there must be one at least."""
        values = list(values)
        return cls(statistics.median(values), min(values), max(values))

    def per(self, unit: float) -> "Spread":
        """Return the same in another unit."""
        return Spread(self.median / unit, self.least / unit, self.most / unit)

    def text(self, digits: int = 1) -> str:
        """Return ``median (least..most)``, the range only where there is one."""
        if self.least == self.most:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({self.least:.{digits}f}..{self.most:.{digits}f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table: the first column reads left, figures right."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def facts_table(facts: dict[str, str]) -> str:
    """Return a Markdown table of names and what they are."""
    return "\n".join(["| | |", "|:--|:--|", *(f"| {name} | {text} |" for name, text in facts.items())])
