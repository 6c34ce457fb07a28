"""Prints the oldest allowed version of each package that pyproject.toml names, for `make lowest`.

The tools that only `make check` runs are left out: no test imports them.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

TOOLS = ("import-linter", "mypy", "ruff", "lxml-stubs", "types-")
BOUND = re.compile(r"([\w-]+)>=([\w.]+)")


def lowest(pyproject: str) -> list[str]:
    """Requirements such as watchdog==4.0.0."""
    found = tomllib.loads(pyproject)
    wanted = [*found["build-system"]["requires"], *found["project"]["dependencies"],
              *found["project"]["optional-dependencies"]["test"]]
    bounds = [BOUND.match(text) for text in wanted if not text.startswith(TOOLS)]
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound]


if __name__ == "__main__":
    print("\n".join(lowest(Path(sys.argv[1]).read_text(encoding="utf-8"))))
