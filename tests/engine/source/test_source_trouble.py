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
        place.drop("b")  # what is in it is meant
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert set(states(daemon)) == {"a", "b"}
        found = state_of(daemon).plan.condition("PruneHeld")
        assert found.reason == "SourceChanged"
        assert "the directory is another one than before" in found.message
        assert not state_of(daemon).plan.is_ready
        assert state_of(daemon, "b").plan.is_ready
        approval, = daemon.source.approvals()
        assert (approval.kind, set(approval.domains.values())) == ("SourceChanged", {"a"})
        assert daemon.source.approve(approval.token) == ["a"]
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert set(states(daemon)) == {"b"}
        assert json.loads((place.path / "state" / "source.json").read_text())["inode"] == (
            (place.path / "domains").stat().st_ino)


async def test_rule_3_nothing_of_what_lies_below_a_mount_point_is_accepted(place):
    place.drop("a")
    async with looking(place) as daemon:
        await look(daemon)
    kept = place.path / "state" / "source.json"
    mounted = json.loads(kept.read_text())
    kept.write_text(json.dumps({**mounted, "device": mounted["device"] + 1}))
    place.drop("b", memory=256)
    old = place.file("a").read_bytes()
    place.file("a").unlink()
    async with looking(place) as daemon:
        daemon.domains.recover(daemon.vms)
        for _ in range(2):
            await look(daemon)
            daemon.passed += 10
        assert daemon.source.state.error.reason == "SourceChanged"
        assert set(states(daemon)) == {"a"}
        found = state_of(daemon).plan.condition("PruneHeld")
        assert found.reason == "SourceChanged"
        assert "is a disk not mounted?" in found.message
        assert len(daemon.source.approvals()) == 1
        place.file("a").write_bytes(old)  # the other file system has all files
        daemon.passed += 10
        await look(daemon)
        assert daemon.source.state.error is None
        assert daemon.source.approvals() == []
        assert state_of(daemon).plan.is_ready
        assert set(states(daemon)) == {"a", "b"}


async def test_which_directory_it_was_may_be_lost(place):
    place.drop("a")
    (place.path / "state").mkdir(exist_ok=True)
    (place.path / "state" / "source.json").write_text("garbage")
    async with looking(place) as daemon:
        await look(daemon)
        assert daemon.source.state.error is None
