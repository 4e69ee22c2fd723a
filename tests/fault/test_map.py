"""The tables in README.md beside this file say which test shows what a strategy sees: they say what is true."""

import re
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from support.tables import TESTS, found_beside, found_in

from feedhandler.sim.faults import KINDS

FOLDER: Final = Path(__file__).parent
NUMBERED: Final = 22
"""Faults that dossier 9.5 numbers."""
GUARANTEES: Final = 16


class Row(NamedTuple):
    """One row of either table."""

    chapter: str
    cells: tuple[str, ...]
    tests: tuple[tuple[str, str], ...]
    """Path from the tests' folder on, and the test's name."""


def rows() -> list[Row]:
    found, chapter = [], ""
    for line in (FOLDER / "README.md").read_text().splitlines():
        if line.startswith("## "):
            chapter = line.removeprefix("## ")
        if line.startswith("| ") and not line.startswith(("| what happens |", "| number |")):
            cells = tuple(cell.strip() for cell in line.strip("|").split(" | "))
            found.append(Row(chapter, cells, tuple(re.findall(r"`([\w/]+\.py)::(\w+)`", cells[-1]))))
    return found


ROWS: Final = rows()
FAULTS: Final = [row for row in ROWS if row.chapter == "Faults of the venue"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row.cells[:2])[:50])
def test_row_names_tests_that_exist(row: Row) -> None:
    """Every test that a row names is there, and one of them is in this folder or holds the same without processes."""
    assert [f"{path}::{name}" for path, name in row.tests if name not in found_in(path)] == []
    assert any(path.startswith("fault/") for path, _ in row.tests)


def test_every_guarantee_has_a_row() -> None:
    """The design's table, and what it does not speak of."""
    guarantees = [row for row in ROWS if row.chapter == "Guarantees"]
    assert len(guarantees) >= GUARANTEES
    assert len({row.cells[0] for row in guarantees}) == len(guarantees)


def test_every_fault_of_the_dossier_has_a_row() -> None:
    """9.5, by its numbers, in order."""
    numbers = [int(row.cells[0]) for row in FAULTS if row.cells[0] != "-"]
    assert numbers == list(range(1, NUMBERED + 1))


def test_every_fault_of_the_simulator_has_a_row() -> None:
    """Whoever teaches the simulator a new fault shows here what a strategy sees of it."""
    named = {name for row in FAULTS for name in re.findall(r"`(\w+)`", row.cells[2])}
    assert named == set(KINDS)


def test_every_fault_is_injected_by_a_test_that_its_row_names() -> None:
    """A fault's name stands in a file that its row names, or the row would prove nothing."""
    idle = [
        name
        for row in FAULTS
        for name in re.findall(r"`(\w+)`", row.cells[2])
        if not any(f'"{name}"' in (TESTS / path).read_text() for path, _ in row.tests)
    ]
    # A wrong key is refused in the same words, by the same answer.
    assert sorted(set(idle)) == ["reject_auth"]


def test_every_fault_test_is_in_a_table() -> None:
    """A test of this folder stands in a row: add its row, or its name to a row."""
    named = {test for row in ROWS for test in row.tests}
    assert sorted(found_beside(Path(__file__)) - named) == []
