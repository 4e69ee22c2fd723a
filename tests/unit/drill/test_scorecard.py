"""The scorecard, for people and for programs."""

import click
import pytest

from feedhandler.drill import promises, scorecard
from feedhandler.drill.promises import Finding
from feedhandler.drill.scoring import Result

KEPT = Result(
    fault="reset",
    text="the connection is reset",
    where="linear",
    detected_after_s=0.004,
    blind_s=12.3456,
    missed=12,
    gone=3,
    recovered_after_s=9.999,
)
BROKEN = Result(
    fault="skip", text="lost", where="spot", broken=[Finding(promises.LOST, "2 between #3 and #4")], missed=2
)
SKIPPED = Result(fault="mute", text="no data", skipped="no level 1", note="really")


def test_columns_are_aligned() -> None:
    """Numbers to the right, words to the left, reasons below their row."""
    assert scorecard.table([KEPT, BROKEN, SKIPPED]).splitlines() == [
        "fault  on      detected after  blind for            lost  repeated  recovered after  verdict",
        "reset  linear          0.00 s     12.3 s  12, 3 for good         0           10.0 s  kept",
        "skip   spot                 -          -               2         0                -  BROKEN",
        "    nothing is lost untold (2 between #3 and #4)",
        "mute                                                                                 skipped",
        "    no level 1",
        "    really",
    ]


def test_what_was_skipped_and_broken_is_broken() -> None:
    """A fault that found no occasion may still have shown something."""
    both = Result(fault="x", text="", skipped="no occasion", broken=BROKEN.broken)
    assert scorecard.verdict(both) == "BROKEN"
    assert scorecard.table([both]).splitlines()[1].endswith("BROKEN")


def test_colours_do_not_disturb_the_columns() -> None:
    """They are put around the words after these are in place."""

    def coloured(text: str, meaning: str) -> str:
        return click.style(text, fg="red" if meaning == scorecard.BROKEN else "green")

    assert click.unstyle(scorecard.table([KEPT, BROKEN], coloured)) == scorecard.table([KEPT, BROKEN])
    assert click.style("BROKEN", fg="red") in scorecard.table([BROKEN], coloured)


def test_long_reasons_are_broken_into_lines() -> None:
    """A terminal is not endless."""
    long = Result(fault="x", text="", broken=[Finding("promise", "word " * 60)])
    assert max(map(len, scorecard.table([long]).splitlines())) <= 118


@pytest.mark.parametrize(
    ("value_s", "shown"), [(None, "-"), (0.0, "0.00 s"), (9.994, "9.99 s"), (9.995, "10.0 s"), (61.26, "61.3 s")]
)
def test_times_have_as_many_digits_as_matter(value_s: float | None, shown: str) -> None:
    """Hundredths of a second below ten."""
    assert scorecard.seconds(value_s) == shown


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([KEPT], "1 fault in 4 s: every promise was kept"),
        ([KEPT, BROKEN, SKIPPED], "2 faults in 4 s: 1 of 2 kept every promise, 1 skipped"),
    ],
)
def test_the_summary_counts(results: list[Result], said: str) -> None:
    """Kept, broken, skipped."""
    assert scorecard.summary(results, 4.2) == said


def test_programs_get_everything() -> None:
    """One object, with the verdict on the whole."""
    found = scorecard.for_programs([KEPT, BROKEN, SKIPPED], seed=1)
    assert (found["seed"], found["verdict"]) == (1, "BROKEN")
    assert [fault["verdict"] for fault in found["faults"]] == ["kept", "BROKEN", "skipped"]
    assert found["faults"][1]["broken"] == [{"promise": promises.LOST, "evidence": "2 between #3 and #4"}]
    assert found["faults"][0]["detected_after_s"] == 0.004
    assert found["faults"][0]["lost_for_good"] == 3
    assert scorecard.for_programs([KEPT, SKIPPED])["verdict"] == "kept"
