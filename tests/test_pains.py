"""Each of the 19 pains that other tools cause has a test that carries its number."""

from __future__ import annotations

import ast
import re
from pathlib import Path

PAINS = range(1, 20)


def carried() -> dict[int, list[str]]:
    """The tests of each number: a test may carry several, and rules beside them."""
    found: dict[int, list[str]] = {}
    for path in sorted(Path(__file__).parent.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
                    node.name.startswith("test_")):
                for number in re.findall(r"pain_(\d+)(?=_)", node.name):
                    found.setdefault(int(number), []).append(f"{path.stem}: {node.name}")
    return found


def test_every_pain_has_a_test_that_carries_its_number():
    found = carried()
    for number in sorted(found):
        print(f"pain {number}", *found[number], sep="\n  ")  # noqa: T201  # `pytest -s` lists them
    assert sorted(found) == list(PAINS), "a number without a test, or a test without a pain"
