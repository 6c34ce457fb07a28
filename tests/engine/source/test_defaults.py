"""The defaults beside the files: what they change, and that no file is judged without them."""

from __future__ import annotations

import pytest

from reconciler.engine.decide.inputs import Removal
from tests.engine.making import look, looking, state_of, states
from tests.engine.source.places import DEFAULTS, missing, names
from tests.values import xml

pytestmark = pytest.mark.simulated_time
INVALID = b"<domain><vcpuu/></domain>"


async def test_the_defaults_change_only_the_domains_that_use_them(place):
    place.drop("a")
    place.file("b").write_bytes(xml("b", "stopped").replace(b"<os>", b"<title>own</title><os>"))
    async with looking(place) as daemon:
        await look(daemon)
        place.file("defaults").write_bytes(DEFAULTS)
        await look(daemon)
        assert {name: (state.record.generation, state.domain.title)
                for name, state in states(daemon).items()} == {"a": (2, "t"), "b": (1, "own")}
        assert daemon.source.state.files == 2
        assert state_of(daemon).record.definition.read_with["expanded"] == "defaults.xml"


async def test_rule_3_defaults_that_are_missing_for_a_moment_change_no_domain(place):
    place.drop("a")
    place.file("defaults").write_bytes(DEFAULTS)
    async with looking(place) as daemon:
        await look(daemon)
        place.file("defaults").unlink()
        place.drop("b")
        assert await look(daemon) <= 2.1
        assert (state_of(daemon).domain.title, list(states(daemon))) == ("t", ["a"])
        assert missing(daemon) == []
        place.file("defaults").write_bytes(DEFAULTS)
        await look(daemon)
        assert state_of(daemon).record.generation == 1
        assert state_of(daemon, "b").domain.title == "t"
        place.file("defaults").unlink()
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)  # they were removed on purpose
        assert (state_of(daemon).domain.title, state_of(daemon).record.generation) == (None, 2)


async def test_rule_6_no_removal_is_believed_while_the_defaults_are_missing(place):
    place.drop("a")
    place.drop("b")
    place.file("defaults").write_bytes(DEFAULTS)
    async with looking(place) as daemon:
        await look(daemon)
        place.file("b").unlink()
        await look(daemon)
        daemon.passed += 1.5
        place.file("defaults").unlink()
        await look(daemon)
        daemon.passed += 1.0
        await look(daemon)
        assert state_of(daemon, "b").removal is Removal.NONE
        daemon.passed += 2.1
        await look(daemon)
        assert (names(daemon), state_of(daemon).domain.title) == (["a"], None)


async def test_rule_6_invalid_defaults_hide_no_removal(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as daemon:
        await look(daemon)
        place.file("b").unlink()
        place.file("defaults").write_bytes(INVALID)
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert names(daemon) == ["a"]


async def test_rule_3_while_the_defaults_are_written_nothing_is_judged(place):
    place.drop("a")
    place.drop("b")
    place.file("defaults").write_bytes(DEFAULTS)
    async with looking(place) as daemon:
        await look(daemon)
        place.file("b").unlink()
        place.drop("a", memory=256)
        with place.file("defaults").open("r+b") as writing:
            writing.write(b"<domain>")
            writing.flush()
            for _ in range(2):
                assert await look(daemon) < 1
                daemon.passed += 3
            assert (state_of(daemon).domain.memory >> 20, state_of(daemon).invalid) == (128, "")
            assert state_of(daemon, "b").removal is Removal.NONE
        place.file("defaults").write_bytes(DEFAULTS)
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert state_of(daemon).domain.memory >> 20 == 256
        assert names(daemon) == ["a"]


async def test_rule_3_invalid_defaults_keep_every_last_definition(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as daemon:
        await look(daemon)
        place.file("defaults").write_bytes(INVALID)
        for _ in range(2):
            await look(daemon)
        assert all("defaults.xml" in state_of(daemon, name).invalid for name in "ab")
        assert len([event for event in place.reported("domain.invalid")
                    if event["file"] == "defaults.xml"]) == 1
        assert names(daemon) == ["a", "b"]
        place.file("b").unlink()  # its absence is certain, though the other files are invalid
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert names(daemon) == ["a"]
        place.file("defaults").unlink()
        await look(daemon)
        assert not state_of(daemon).invalid


async def test_rule_3_defaults_that_are_not_a_file_keep_all_and_prove_no_absence(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as daemon:
        await look(daemon)
        place.file("defaults").mkdir()
        place.file("b").unlink()
        await look(daemon)
        daemon.passed += 2.1
        await look(daemon)
        assert "defaults.xml" in state_of(daemon).invalid
        assert names(daemon) == ["a", "b"]
