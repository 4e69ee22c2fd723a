"""The table in README.md beside this file says which test holds which rule of the venue: it says what is true."""

import re
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from support.tables import found_beside, found_in

FOLDER: Final = Path(__file__).parent


class Rule(NamedTuple):
    """One row."""

    chapter: str
    name: str
    section: tuple[int, ...]
    held_by: str
    tests: tuple[tuple[str, str], ...]
    """Path from the tests' folder on, and the test's name."""


def rules() -> list[Rule]:
    found, chapter = [], ""
    for line in (FOLDER / "README.md").read_text().splitlines():
        if line.startswith("## "):
            chapter = line.split()[1]
        if line.startswith("| ") and not line.startswith("| rule |"):
            name, _, held_by = (cell.strip() for cell in line.strip("|").split(" | "))
            section = tuple(int(number) for number in name.split()[0].split("."))
            tests = re.findall(r"`([\w/]+\.py)::(\w+)`", held_by)
            found.append(Rule(chapter, name, section, held_by, tuple(tests)))
    return found


RULES: Final = rules()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_names_tests_that_exist(rule: Rule) -> None:
    """Every test that a row names is there; a row without one says why."""
    missing = [f"{path}::{name}" for path, name in rule.tests if name not in found_in(path)]
    assert missing == []
    assert rule.tests or re.match(r"none: \w", rule.held_by)


def test_rules_stand_in_order_and_once() -> None:
    """As in the dossier, each under its chapter."""
    assert len(RULES) > 90
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert [rule.section for rule in RULES] == sorted(rule.section for rule in RULES)
    assert all(str(rule.section[0]) == rule.chapter for rule in RULES)


def test_every_part_of_the_sections_has_a_rule() -> None:
    """2.1 to 2.5, 3.1 to 3.5, 4.1 to 4.14, 5.1 to 5.6 (5.3 is about libraries), 6.1 to 6.8."""
    parts = {rule.section[:2] for rule in RULES}
    lasts = {2: 5, 3: 5, 4: 14, 5: 6, 6: 8}
    assert parts >= {(section, part) for section, last in lasts.items() for part in range(1, last + 1)} - {(5, 3)}


def test_every_conformance_test_is_in_the_table() -> None:
    """A test of this folder that holds a rule stands beside it: add its row, or its name to the rule's row."""
    named = {test for rule in RULES for test in rule.tests}
    assert sorted(found_beside(Path(__file__)) - named) == []
