"""The tables that say which test holds what: the tests that there really are."""

import ast
from functools import cache
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parents[1]

Test = tuple[str, str]
"""Path from the tests' folder on, and the test's name."""


@cache
def found_in(path: str) -> frozenset[str]:
    """Return the tests of a file, by name."""
    tree = ast.parse((TESTS / path).read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def found_beside(file: Path) -> set[Test]:
    """Return the tests of a folder, without those of ``file`` in it, which looks at the others."""
    others = [path.relative_to(TESTS).as_posix() for path in file.parent.glob("test_*.py") if path != file]
    return {(path, name) for path in others for name in found_in(path)}
