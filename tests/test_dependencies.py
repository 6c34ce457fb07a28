"""Every package has an oldest version, which `make lowest` tries, and a next major one as bound."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.lowest import lowest

PYPROJECT = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")


def test_every_dependency_is_bounded_at_both_ends():
    project = tomllib.loads(PYPROJECT)["project"]
    for text in (*project["dependencies"], *project["optional-dependencies"]["test"]):
        assert re.fullmatch(r"[\w-]+>=[\d.]+,<\d+", text), text


def test_make_lowest_takes_the_oldest_of_each():
    found = lowest(PYPROJECT)
    project = tomllib.loads(PYPROJECT)["project"]
    assert "watchdog==4.0.0" in found
    assert len(found) >= len(project["dependencies"]) + 4  # pytest and its plugins, setuptools
