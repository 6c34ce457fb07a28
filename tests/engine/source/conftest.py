"""The place that most tests of the source begin with."""

from __future__ import annotations

import pytest

from tests.engine.source.places import FILES_SETTLE_AT_ONCE, SourcePlace


@pytest.fixture
def place(tmp_path):
    return SourcePlace(tmp_path, f"{FILES_SETTLE_AT_ONCE}reconcile: {{jitter: 0%}}\n"
                                 "prune: {settle: 2s, hold_minimum: 100}\n")
