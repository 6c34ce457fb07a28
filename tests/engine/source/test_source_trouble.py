"""A source that cannot be read, or is another directory than before, stops no VM (rule 3)."""

from __future__ import annotations

import json

import pytest

from reconciler.engine.decide.inputs import Removal
from tests.engine.making import look, looking, state_of

pytestmark = pytest.mark.simulated_time


async def test_rule_3_a_source_that_is_gone_is_asked_less_and_less_often(place):
    place.drop("a")
    async with looking(place) as daemon:
        await look(daemon)
        (place.path / "domains").rename(place.path / "away")
        waits = [await look(daemon) for _ in range(12)]
        assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
        assert waits[-1] == 300.0
        assert state_of(daemon).removal is Removal.NONE
        assert len(place.reported("source.failed")) == 1
        (place.path / "away").rename(place.path / "domains")
        await look(daemon)
        assert daemon.source.state.error is None
        assert len(place.reported("source.synced")) == 2
        (place.path / "domains").rename(place.path / "away")
        assert await look(daemon) == 1.0  # the delays begin again


async def test_pain_1_rule_3_which_directory_it_was_is_kept_for_the_next_reconciler(place):
    place.drop("a")
    async with looking(place) as daemon:
        await look(daemon)
    kept = json.loads((place.path / "state" / "source.json").read_text())
    assert kept["inode"] == (place.path / "domains").stat().st_ino
    (place.path / "domains").rename(place.path / "away")
    (place.path / "domains").mkdir()
    async with looking(place) as daemon:
        await look(daemon)
        assert daemon.source.state.error.reason == "SourceChanged"
    (place.path / "state" / "source.json").write_text("garbage")
    async with looking(place) as daemon:
        await look(daemon)
        assert daemon.source.state.error is None
