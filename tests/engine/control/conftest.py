"""Hosts on which tests keep domains: with real processes, or with a model of them."""

from __future__ import annotations

import pytest

from tests.engine.control.host import Host
from tests.engine.control.machines import Site


@pytest.fixture
def host(tmp_path):
    """Real simulator processes; those that run are ended with their test."""
    found = Host(tmp_path)
    yield found
    found.close()


@pytest.fixture
def site(tmp_path):
    """A model of a host, in simulated time."""
    found = Site(tmp_path)
    yield found
    found.close()
