"""A repository with one file in it, and a place for sources that watch it."""

from __future__ import annotations

import pytest

from tests.sources.gits import Site, Upstream


@pytest.fixture
def upstream(tmp_path):
    found = Upstream(tmp_path / "srv" / "repo")
    found.commit({"domains/a.xml": "A"})
    return found


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)
