"""Domains that run are ended with their test."""

from __future__ import annotations

import pytest

from tests.engine.control.host import Host


@pytest.fixture
def host(tmp_path):
    found = Host(tmp_path)
    yield found
    found.close()
