"""The scorecard: a table for people, an object for programs. Pure."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Final

from feedhandler.drill.scoring import Result, in_words

KEPT: Final = "kept"
BROKEN: Final = "BROKEN"
SKIPPED: Final = "skipped"

_HEADINGS: Final = ("fault", "on", "detected after", "blind for", "lost", "repeated", "recovered after", "verdict")
_RIGHT: Final = (2, 3, 4, 5, 6)
_WIDTH: Final = 118

Style = Callable[[str, str], str]
"""A text and what it is (``kept``, ``BROKEN``, ``skipped`` or ``heading``), to the text as it is shown."""


def plain(text: str, _meaning: str) -> str:
    """Show a text as it is."""
    return text


def verdict(result: Result) -> str:
    """Return the verdict in one word."""
    return BROKEN if not result.is_kept else SKIPPED if result.skipped else KEPT


def seconds(value_s: float | None) -> str:
    """Return a time as it is shown, ``-`` for none."""
    if value_s is None:
        return "-"
    return f"{value_s:.2f} s" if value_s < 9.995 else f"{value_s:.1f} s"


def table(results: Sequence[Result], style: Style = plain) -> str:
    """Return the results as aligned columns; what was broken and what was skipped stands below its row."""
    rows = [_row(result) for result in results]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    lines = [style(_line(_HEADINGS, widths), "heading")]
    for result, row in zip(results, rows, strict=True):
        word = verdict(result)
        lines.append(_line(row[:-1], widths[:-1]) + "  " + style(word, word))
        for text in [*in_words(result.broken), result.skipped, result.note]:
            if text:
                lines += textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    if verdict(result) == SKIPPED:
        return (result.fault, result.where, "", "", "", "", "", SKIPPED)
    lost = f"{result.missed}, {result.gone} for good" if result.gone else str(result.missed)
    return (
        result.fault,
        result.where,
        seconds(result.detected_after_s),
        seconds(result.blind_s),
        lost,
        str(result.repeated),
        seconds(result.recovered_after_s),
        verdict(result),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if at in _RIGHT else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded)


def summary(results: Sequence[Result], took_s: float) -> str:
    """Say in one line what came of it."""
    drilled = [result for result in results if verdict(result) != SKIPPED]
    broken = sum(not result.is_kept for result in drilled)
    skipped = len(results) - len(drilled)
    left_out = f", {skipped} skipped" if skipped else ""
    kept = f"{len(drilled) - broken} of {len(drilled)} kept every promise" if broken else "every promise was kept"
    return f"{len(drilled)} fault{'s' if len(drilled) != 1 else ''} in {took_s:.0f} s: {kept}{left_out}"


def for_programs(results: Sequence[Result], **facts: Any) -> dict[str, Any]:
    """Return one JSON object of everything."""
    return {
        **facts,
        "verdict": BROKEN if any(not result.is_kept for result in results) else KEPT,
        "faults": [_object(result) for result in results],
    }


def _object(result: Result) -> dict[str, Any]:
    return {
        "fault": result.fault,
        "text": result.text,
        "on": result.where,
        "lines": result.lines,
        "verdict": verdict(result),
        "detected_after_s": result.detected_after_s,
        "blind_s": result.blind_s,
        "lost": result.missed,
        "lost_for_good": result.gone,
        "repeated": result.repeated,
        "out_of_order": result.disordered,
        "recovered_after_s": result.recovered_after_s,
        "broken": [{"promise": finding.promise, "evidence": finding.evidence} for finding in result.broken],
        "skipped": result.skipped,
        "note": result.note,
    }
