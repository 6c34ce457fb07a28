"""One file that defines several domains."""

from __future__ import annotations

import pytest

from reconciler.engine.decide.inputs import Removal
from tests.engine.making import look, looking, state_of, states
from tests.engine.source.places import FILES_SETTLE_AT_ONCE, SourcePlace, missing, names
from tests.values import xml

pytestmark = pytest.mark.simulated_time


async def test_a_counted_file_defines_several_domains(place):
    place.drop_several(3)
    async with looking(place) as daemon:
        await look(daemon)
        assert names(daemon) == ["a-0", "a-1", "a-2"]
        found = state_of(daemon, "a-1").record.definition
        assert (found.file, found.read_with["expanded"]) == ("a.xml", "index 1")
        assert b"count" not in found.data
        assert daemon.source.state.files == 1
        assert len({s.revision for s in states(daemon).values()}) == 3
    async with looking(place) as daemon:  # and after a restart nothing is new
        daemon.domains.recover(daemon.vms)
        assert names(daemon) == ["a-0", "a-1", "a-2"]
        await look(daemon)
        assert len(place.reported("domain.accepted")) == 3


async def test_rule_4_a_renamed_counted_file_defines_the_same_domains(place):
    place.drop_several(2)
    async with looking(place) as daemon:
        await look(daemon)
        place.file("a").rename(place.file("z"))
        await look(daemon)
        assert {s.record.definition.file for s in states(daemon).values()} == {"z.xml"}
        assert (len(place.reported("domain.accepted")), missing(daemon)) == (2, [])


async def test_rule_3_an_error_of_a_file_concerns_all_of_its_domains(place):
    place.drop_several(3)
    async with looking(place) as daemon:
        await look(daemon)
        for broken in (b"<domain>", b"", xml("b").replace(b"state='running'", b"count='0'")):
            place.file("a").write_bytes(broken)
            await look(daemon)
            assert all(state.invalid for state in states(daemon).values())
            assert (names(daemon), missing(daemon)) == (["a-0", "a-1", "a-2"], [])
        place.drop_several(3)
        await look(daemon)
        assert not any(state.invalid for state in states(daemon).values())
        assert len(place.reported("domain.accepted")) == 3


async def test_rule_6_a_lower_count_is_a_removal_by_the_usual_evidence(place):
    place.drop_several(3)
    async with looking(place) as daemon:
        await look(daemon)
        place.drop_several(2)
        assert await look(daemon) <= 2.1
        assert missing(daemon) == ["a-2"]
        assert state_of(daemon, "a-2").removal is Removal.NONE
        place.drop_several(3)
        await look(daemon)
        assert (missing(daemon), len(place.reported("domain.accepted"))) == ([], 3)
        place.drop_several(1)
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert names(daemon) == ["a-0"]


async def test_rule_6_many_removals_from_one_file_at_once_are_held(tmp_path):
    place = SourcePlace(tmp_path, f"{FILES_SETTLE_AT_ONCE}prune: {{settle: 2s}}\n")
    place.drop_several(5)
    async with looking(place) as daemon:
        await look(daemon)
        place.drop_several(1)
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert sorted(daemon.source.held.values()) == ["a-1", "a-2", "a-3", "a-4"]


async def test_rule_3_one_domain_that_conflicts_keeps_its_last_definition_alone(place):
    place.drop_several(3)
    place.drop("0")
    async with looking(place) as daemon:
        await look(daemon)
        place.drop_several(3, memory=256)
        place.file("a").write_bytes(place.file("a").read_bytes().replace(
            b"<source file='a-{index}.img'/>", b"<source file='{index}.img'/>"))
        place.file("0").write_bytes(xml("0", "stopped").replace(b"0.img", b"1.img"))
        await look(daemon)
        kept, taken = state_of(daemon, "a-1"), state_of(daemon, "a-2")
        assert "of a.xml#1 is also the writable disk of 0.xml" in kept.invalid
        assert (kept.domain.memory >> 20, taken.domain.memory >> 20) == (128, 256)
        assert (missing(daemon), taken.invalid) == ([], "")
        place.file("a").write_bytes(place.file("a").read_bytes().replace(b"count='3'",
                                                                         b"count='2'"))
        await look(daemon)
        assert missing(daemon) == ["a-2"]
        assert state_of(daemon, "a-1").invalid
