"""Files that go: what is believed of it, look by look (rule 6)."""

from __future__ import annotations

import pytest

from reconciler.engine.decide.inputs import Removal
from tests.engine.making import look, looking, state_of
from tests.engine.source.places import FILES_SETTLE_AT_ONCE, SourcePlace

pytestmark = pytest.mark.simulated_time
KEPT_AN_HOUR = "<r:prune after='1h'/>"


async def test_pain_3_rule_6_a_removal_is_believed_after_a_second_look(place):
    place.drop("a", inner=KEPT_AN_HOUR)
    place.drop("b")
    async with looking(place) as daemon:
        await look(daemon)
        place.file("a").unlink()
        assert await look(daemon) <= 2.1
        assert state_of(daemon).removal is Removal.NONE
        assert not daemon.source.start_allowed(state_of(daemon).uuid)
        assert daemon.source.start_allowed(state_of(daemon, "b").uuid)
        place.drop("a", inner=KEPT_AN_HOUR)
        await look(daemon)  # it is back: a tool that writes by removing first
        assert daemon.source.start_allowed(state_of(daemon).uuid)
        assert state_of(daemon).record.generation == 1
        place.file("a").unlink()
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert state_of(daemon).removal is Removal.PROVEN


async def test_pain_1_rule_6_after_a_look_that_failed_the_wait_begins_again(place):
    place.drop("a", inner=KEPT_AN_HOUR)
    place.drop("b")
    async with looking(place) as daemon:
        await look(daemon)
        place.file("a").unlink()
        await look(daemon)
        (place.path / "domains").rename(place.path / "away")
        await look(daemon)
        (place.path / "away").rename(place.path / "domains")
        daemon.passed += 2.1
        await look(daemon)
        assert state_of(daemon).removal is Removal.NONE
        daemon.passed += 2.1
        await look(daemon)
        assert state_of(daemon).removal is Removal.PROVEN


async def test_rule_6_a_removal_stays_believed_while_a_look_is_uncertain(place):
    place.drop("a", inner=KEPT_AN_HOUR)
    place.drop("b")
    async with looking(place) as daemon:
        await look(daemon)
        place.file("a").unlink()
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert state_of(daemon).removal is Removal.PROVEN
        with place.file("c").open("wb") as writing:  # another process writes another file
            writing.write(b"<domain>")
            writing.flush()
            await look(daemon)
            assert state_of(daemon).removal is Removal.PROVEN
        (place.path / "domains").rename(place.path / "away")
        await look(daemon)
        (place.path / "away").rename(place.path / "domains")
        await look(daemon)
        assert state_of(daemon).removal is Removal.PROVEN
        place.drop("a", inner=KEPT_AN_HOUR)
        await look(daemon)
        assert state_of(daemon).removal is Removal.NONE


async def test_rule_6_a_file_that_is_being_written_is_there_already(place):
    place.drop("a", inner=KEPT_AN_HOUR)
    place.drop("b")
    async with looking(place) as daemon:
        await look(daemon)
        place.file("a").unlink()
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert state_of(daemon).removal is Removal.PROVEN
        with place.file("a").open("wb") as writing:
            writing.write(b"<domain>")
            writing.flush()
            await look(daemon)
            assert state_of(daemon).removal is Removal.NONE


async def test_rule_3_a_file_renamed_and_made_invalid_at_once_may_still_be_its_domains(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as daemon:
        await look(daemon)
        place.file("a").unlink()
        place.file("x").write_bytes(b"<domain>")
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert state_of(daemon).removal is Removal.NONE


# Approvals


async def test_no_approval_is_pending_under_an_unknown_token(place):
    async with looking(place) as daemon:
        await look(daemon)
        assert daemon.source.approve("p-000000") == []
        assert daemon.source.approvals() == []


async def test_rule_6_an_absence_that_settles_while_the_journal_is_written_is_judged(tmp_path):
    class SlowDisk(SourcePlace):
        """Writing an event takes a tenth of a second."""

        def show(self, event):
            super().show(event)
            if event["event"] == "prune.held":
                daemon.passed += 0.1

    place = SlowDisk(tmp_path, f"{FILES_SETTLE_AT_ONCE}prune: {{settle: 2s, hold_minimum: 3}}\n")
    for name in "abcd":
        place.drop(name)
    async with looking(place) as daemon:
        await look(daemon)
        for name in "abc":
            place.file(name).unlink()
        await look(daemon)
        daemon.passed += 0.01
        place.file("d").unlink()
        await look(daemon)
        daemon.passed += 1.995
        due = await look(daemon)
        assert sorted(daemon.source.held.values()) == ["a", "b", "c"]
        assert due < 1
        daemon.passed += due
        await look(daemon)
        assert sorted(daemon.source.held.values()) == ["a", "b", "c", "d"]
