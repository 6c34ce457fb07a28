"""A source that cannot be read, or is another directory than before, stops no VM (rule 3)."""

from __future__ import annotations

import json

import pytest

from reconciler.engine.decide.inputs import Removal
from tests.engine.making import look, looking, state_of, states

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
        daemon.domains.recover(daemon.vms)
        await look(daemon)
        assert daemon.source.state.error.reason == "SourceChanged"
        found = state_of(daemon).plan.condition("PruneHeld")
        assert found.reason == "SourceChanged"
        assert "is a disk not mounted?" in found.message
        assert not state_of(daemon).plan.is_ready
        approval, = daemon.source.approvals()
        assert (approval.kind, set(approval.domains.values())) == ("SourceChanged", {"a"})
        # Another domain below the mount point changes nothing, nor does an old copy.
        place.drop("b")
        await look(daemon)
        assert set(states(daemon)) == {"a"}
        (place.path / "domains").rename(place.path / "below")
        (place.path / "away").rename(place.path / "domains")
        await look(daemon)
        assert daemon.source.state.error is None
        assert state_of(daemon).plan.is_ready
        (place.path / "domains").rename(place.path / "away")
        (place.path / "below").rename(place.path / "domains")
        await look(daemon)
        approval, = daemon.source.approvals()
        assert daemon.source.approve(approval.token) == ["a"]
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert set(states(daemon)) == {"b"}
    (place.path / "state" / "source.json").write_text("garbage")
    async with looking(place) as daemon:
        await look(daemon)
        assert daemon.source.state.error is None
