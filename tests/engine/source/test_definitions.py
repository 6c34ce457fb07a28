"""From the files of the source to the definitions of domains: each look is complete."""

from __future__ import annotations

import asyncio
import os

import pytest

from reconciler.domain.expand import expand
from reconciler.engine.decide.definition_history import Entry
from reconciler.engine.decide.events import Priority
from reconciler.engine.decide.gather import decide
from reconciler.engine.decide.inputs import Removal
from tests.counting import calls
from tests.engine.making import look, looking, state_of
from tests.engine.source.places import DEFAULTS
from tests.values import xml

pytestmark = pytest.mark.simulated_time


async def test_a_file_becomes_a_domain_with_its_definition(place):
    place.drop("a")
    async with looking(place) as daemon:
        await look(daemon)
        found = state_of(daemon)
        assert (found.domain.name, found.record.generation) == ("a", 1)
        assert found.record.definition.file == "a.xml"
        assert found.record.definition.revision.startswith("sha256:")
        source = daemon.source.state
        assert (source.files, source.complete, source.error) == (1, True, None)


async def test_rule_4_looks_at_unchanged_files_do_nothing(place):
    place.drop("a")
    async with looking(place) as daemon:
        with calls(expand, decide) as called:
            await look(daemon)
            assert called["expand"] == 1
            before, events = called.copy(), len(place.events)
            for _ in range(3):
                await look(daemon)
            os.utime(place.file("a"))
            await look(daemon)
            assert called == before
        assert len(place.events) == events


async def test_pain_2_rule_4_a_renamed_file_is_the_same_domain(place):
    place.drop("a")
    async with looking(place) as daemon:
        await look(daemon)
        place.file("a").rename(place.file("z"))
        await look(daemon)
        assert state_of(daemon).record.definition.file == "z.xml"
        assert state_of(daemon).record.generation == 1
        assert len(place.reported("domain.accepted")) == 1


async def test_rule_3_an_invalid_file_keeps_the_last_valid_definition(place):
    place.drop("a")
    async with looking(place) as daemon:
        await look(daemon)
        before = state_of(daemon).domain
        place.file("a").write_bytes(b"<domain>")
        for _ in range(2):
            await look(daemon)
        assert state_of(daemon).domain is before
        assert state_of(daemon).invalid
        assert state_of(daemon).removal is Removal.NONE
        assert len(place.reported("domain.invalid")) == 1
        place.drop("a")
        await look(daemon)
        assert not state_of(daemon).invalid
        assert state_of(daemon).record.generation == 1


async def test_an_invalid_file_of_no_domain_is_reported_once(place):
    place.file("x").write_bytes(b"<domain>")
    async with looking(place) as daemon:
        for _ in range(3):
            await look(daemon)
        assert len(place.reported("domain.invalid")) == 1
        assert daemon.source.state.rejected[0].file == "x.xml"


async def test_pain_4_rule_4_a_number_that_was_chosen_is_kept_over_a_restart(place):
    vsock = "<vsock model='virtio'><cid auto='yes'/></vsock>"

    def cid(daemon, name):
        return next(d.cid for d in state_of(daemon, name).domain.devices if d.KIND == "vsock")

    place.drop("b", devices=vsock)
    async with looking(place) as daemon:
        await look(daemon)
        assert cid(daemon, "b") == 3
    place.drop("a", devices=vsock)  # sorts before it
    async with looking(place) as daemon:
        daemon.domains.recover(daemon.vms)
        await look(daemon)
        assert (cid(daemon, "a"), cid(daemon, "b")) == (4, 3)
        assert state_of(daemon, "b").record.generation == 1


async def test_before_the_first_look_no_revision_gets_a_result(place):
    """The reconciler was killed between a revision and its definitions."""
    place.drop("a")
    async with looking(place) as daemon:
        await look(daemon)
        daemon.publisher.write()
        assert daemon.revisions.newest.result == "success"
    daemon.revisions.accept("main@sha1:newer")
    daemon.revisions.save()
    async with looking(place) as daemon:
        daemon.domains.recover(daemon.vms)
        daemon.queue.wake(state_of(daemon).uuid, Priority.RESYNC)
        await daemon.queue.rest()
        assert state_of(daemon).plan.ready.reason == "InSync"
        daemon.publisher.write()
        assert daemon.revisions.newest.result == "pending"


async def test_a_domain_that_gets_another_uuid_keeps_its_history(place):
    place.drop("a")
    async with looking(place) as daemon:
        await look(daemon)
        place.file("a").write_bytes(place.file("a").read_bytes().replace(
            b"</name>", b"</name><uuid>11111111-2222-4333-8444-555555555555</uuid>"))
        await look(daemon)
        found = state_of(daemon)
        assert found.uuid == "11111111-2222-4333-8444-555555555555"
        entries = [Entry.of(value) for value in found.record.history]
        archive = daemon.environment.archive
        assert [archive.read(found.uuid, e) is None for e in entries] == [False, False]
        assert len(list((place.path / "state" / "history").iterdir())) == 1


async def test_line_numbers_are_those_of_the_file_also_after_a_restart(place):
    place.file("a").write_bytes(b"<!-- -->\n\n" + xml("a", "stopped", devices="\n<sound/>"))
    place.file("defaults").write_bytes(DEFAULTS)
    async with looking(place) as daemon:
        await look(daemon)
        kept = state_of(daemon).record
        before = [w.line for w in state_of(daemon).domain.warnings]
    async with looking(place) as daemon:
        daemon.domains.add(kept)
        await look(daemon)
        assert [w.line for w in state_of(daemon).domain.warnings] == before


async def test_a_look_that_was_under_way_is_not_the_one_that_a_user_asks_for(place):
    """`git push && reconciler sync --wait`: the look must have begun after the push."""
    place.drop("a")
    async with looking(place) as daemon:
        source = daemon.source
        real, go_on = source.source, asyncio.Event()

        class Slow:
            def __getattr__(self, name):
                return getattr(real, name)

            async def look(self):
                listing = await real.look()
                await go_on.wait()
                return listing

        source.source = Slow()
        under_way = asyncio.create_task(source.look())
        while source.begun == source.state.looks:
            await asyncio.sleep(0)
        asked = source.begun
        go_on.set()
        await under_way
        assert source.state.looks <= asked
        await source.look()
        assert source.state.looks > asked
