"""Test modules stand alone: what they share is in ``tests/support``, which knows none of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """First names of what a file imports, also inside functions, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield str(node.module).split(".")[0], node.lineno


def test_no_test_module_is_imported() -> None:
    modules = {path.stem for path in TESTS.glob("*.py")}
    assert {"conftest", "test_house"} <= modules
    files = sorted([*TESTS.rglob("*.py"), *(TESTS.parent / "docs").glob("*.py")])
    wrong = [
        f"{path.relative_to(TESTS.parent)}:{line}: imports {name}; share it through tests/support"
        for path in files
        for name, line in imported(path)
        if name in modules
    ]
    assert wrong == []


def test_beside_the_tests_there_is_only_what_they_share() -> None:
    beside = {path.name for path in TESTS.glob("*.py") if not path.name.startswith("test_")}
    assert beside == {"conftest.py"}


def test_all_that_is_shared_is_used() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py"))
    shared = {path.stem for path in (TESTS / "support").glob("*.py")} - {"__init__"}
    assert {name for name in shared if f"support.{name}" not in text} == set()
