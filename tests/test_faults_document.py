"""docs/reference/faults.md names tests that exist, in tables of the same columns."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "reference" / "faults.md"
HEAD = ["Fault", "What happens", "What the status says", "Test"]
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows():
    """The cells of every row, without those of the heads."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in found if row != HEAD and not row[0].startswith("---")]


def functions(file):
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_is_complete_and_names_tests_that_exist():
    assert rows()
    for row in rows():
        assert len(row) == len(HEAD), row
        assert all(row), row
        named = _TEST.findall(row[-1])
        assert named, row
        assert row[-1] == ", ".join(f"`{file}::{test}`" for file, test in named)
        for file, test in named:
            assert test in functions(file), f"{file} has no {test}"


def test_no_fault_is_listed_twice():
    names = [row[0] for row in rows()]
    assert sorted(set(names)) == sorted(names)
