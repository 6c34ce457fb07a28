"""From the source to the keepers: each look is complete, and forgets nothing."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from reconciler.engine.records.history import Entry

from reconciler.domain.model import Policy
from reconciler.engine.control.work_queue import Priority
from reconciler.engine.decide.inputs import Now, Removal
from reconciler.engine.source.source_sync import LONGEST_PATIENCE
from tests.engine.making import Place
from tests.values import xml

pytestmark = pytest.mark.simulated_time


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, "source: {settle: 0s}\nprune: {settle: 2s, hold_minimum: 100}\n"
                           "reconcile: {jitter: 0%}\n")


@asynccontextmanager
async def looking(place):
    """Only the looks of a reconciler, each when it is asked for; keepers pass after each."""
    reconciler = place.make()
    sync = reconciler.sync

    async def look():
        due = sync.look()
        await reconciler.queue.rest()
        return due

    sync.now = look
    try:
        yield sync
    finally:
        await reconciler._end()
        reconciler.journal.close()


def keeper(sync, name="a"):
    return next((k for k in sync._owner.keepers.values() if k.name == name), None)


async def test_a_file_becomes_a_keeper_with_its_definition(place):
    place.drop("a")
    async with looking(place) as sync:
        await sync.now()
        found = keeper(sync)
        assert (found.domain.name, found.memory.generation) == ("a", 1)
        assert found.memory.definition.file == "a.xml"
        assert found.memory.definition.revision.startswith("sha256:")
        assert (sync.files, sync.complete, sync.error) == (1, True, None)


async def test_rule_4_looks_at_the_same_do_nothing(place):
    place.drop("a")
    async with looking(place) as sync:
        await sync.now()
        passes, told = sync._owner.queue.passes, len(place.events)
        for _ in range(3):
            await sync.now()
        os.utime(place.file("a"))
        await sync.now()
        assert sync._owner.queue.passes == passes
        assert len(place.events) == told
        assert sync.intake.parses == 1


async def test_pain_2_rule_4_a_renamed_file_is_the_same_domain(place):
    place.drop("a")
    async with looking(place) as sync:
        await sync.now()
        place.file("a").rename(place.file("z"))
        await sync.now()
        assert keeper(sync).memory.definition.file == "z.xml"
        assert keeper(sync).memory.generation == 1
        assert len(place.told("domain.accepted")) == 1


async def test_rule_3_a_broken_file_keeps_the_last_good_definition(place):
    place.drop("a")
    async with looking(place) as sync:
        await sync.now()
        before = keeper(sync).domain
        place.file("a").write_bytes(b"<domain>")
        for _ in range(2):
            await sync.now()
        assert keeper(sync).domain is before
        assert keeper(sync).invalid
        assert keeper(sync).removal is Removal.NONE
        assert len(place.told("domain.invalid")) == 1
        place.drop("a")
        await sync.now()
        assert not keeper(sync).invalid
        assert keeper(sync).memory.generation == 1


async def test_a_broken_file_of_nobody_is_told_once(place):
    place.file("x").write_bytes(b"<domain>")
    async with looking(place) as sync:
        for _ in range(3):
            await sync.now()
        assert len(place.told("domain.invalid")) == 1
        assert sync.rejected[0].file == "x.xml"


async def test_rule_3_a_source_that_is_gone_is_asked_less_and_less_often(place):
    place.drop("a")
    async with looking(place) as sync:
        await sync.now()
        (place.path / "domains").rename(place.path / "away")
        waits = [await sync.now() for _ in range(12)]
        assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
        assert waits[-1] == LONGEST_PATIENCE
        assert keeper(sync).removal is Removal.NONE
        assert len(place.told("source.failed")) == 1
        (place.path / "away").rename(place.path / "domains")
        await sync.now()
        assert (sync.error, sync.failures) == (None, 0)
        assert len(place.told("source.synced")) == 2


async def test_pain_3_rule_6_a_removal_is_believed_after_a_second_look(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as sync:
        await sync.now()
        place.file("a").unlink()
        assert await sync.now() <= 2.1
        assert keeper(sync).removal is Removal.NONE
        assert sync.absent == {keeper(sync).uuid}
        place.drop("a")
        await sync.now()  # it is back: a tool that writes by removing first
        assert sync.absent == frozenset()
        assert keeper(sync).memory.generation == 1


async def test_pain_1_rule_6_a_failed_look_between_begins_the_wait_anew(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as sync:
        await sync.now()
        place.file("a").unlink()
        await sync.now()
        (place.path / "domains").rename(place.path / "away")
        await sync.now()
        assert sync.absent == frozenset()


async def test_pain_1_rule_3_which_directory_it_was_is_kept_for_the_next_reconciler(place):
    place.drop("a")
    async with looking(place) as sync:
        await sync.now()
    kept = json.loads((place.path / "state" / "source.json").read_text())
    assert kept["inode"] == (place.path / "domains").stat().st_ino
    (place.path / "domains").rename(place.path / "away")
    (place.path / "domains").mkdir()
    async with looking(place) as sync:
        await sync.now()
        assert sync.error.reason == "SourceChanged"
    (place.path / "state" / "source.json").write_text("garbage")
    async with looking(place) as sync:
        await sync.now()
        assert sync.error is None


async def test_nothing_waits_under_an_unknown_token(place):
    async with looking(place) as sync:
        await sync.now()
        assert sync.approve("p-000000") == []
        assert sync.approvals() == []


async def test_rule_6_what_ripens_while_the_journal_is_written_is_not_forgotten(tmp_path):
    place = Place(tmp_path, "source: {settle: 0s}\nprune: {settle: 2s, hold_minimum: 3}\n")
    for name in "abcd":
        place.drop(name)
    async with looking(place) as sync:
        passed = 100.0
        sync._owner.context.now = lambda: Now(passed, passed)

        def slow_disk(event):
            nonlocal passed
            passed += 0.1 if event["event"] == "prune.held" else 0.0

        sync._owner.journal._show = slow_disk
        await sync.now()
        for name in "abc":
            place.file(name).unlink()
        await sync.now()
        passed += 0.01
        place.file("d").unlink()
        await sync.now()
        passed += 1.995
        due = await sync.now()
        assert sorted(sync.held.values()) == ["a", "b", "c"]
        assert due < 1
        passed += due
        await sync.now()
        assert sorted(sync.held.values()) == ["a", "b", "c", "d"]


async def test_pain_4_rule_4_a_number_that_was_chosen_is_kept_over_a_restart(place):
    vsock = "<vsock model='virtio'><cid auto='yes'/></vsock>"
    place.drop("b", devices=vsock)
    async with looking(place) as sync:
        await sync.now()
        assert keeper(sync, "b").numbers == {"vsock CID": 3}
    place.drop("a", devices=vsock)  # sorts before it
    async with looking(place) as sync:
        sync._owner._remember_all()
        await sync.now()
        assert keeper(sync, "b").numbers == {"vsock CID": 3}
        assert keeper(sync, "a").numbers == {"vsock CID": 4}
        assert keeper(sync, "b").memory.generation == 1


async def test_rule_6_what_was_believed_stays_so_while_a_look_is_uncertain(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as sync:
        await sync.now()
        keeper(sync).domain = replace(keeper(sync).domain, policy=Policy(prune_after=3600.0))
        place.file("a").unlink()
        await sync.now()
        later(sync)
        await sync.now()
        assert keeper(sync).removal is Removal.PROVEN
        with place.file("c").open("wb") as writing:  # somebody writes another file
            writing.write(b"<domain>")
            writing.flush()
            await sync.now()
            assert keeper(sync).removal is Removal.PROVEN
        (place.path / "domains").rename(place.path / "away")
        await sync.now()
        (place.path / "away").rename(place.path / "domains")
        await sync.now()
        assert keeper(sync).removal is Removal.PROVEN
        place.drop("a")
        await sync.now()
        assert keeper(sync).removal is Removal.NONE


async def test_rule_6_a_file_that_is_being_written_is_there_already(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as sync:
        await sync.now()
        keeper(sync).domain = replace(keeper(sync).domain, policy=Policy(prune_after=3600.0))
        place.file("a").unlink()
        await sync.now()
        later(sync)
        await sync.now()
        assert keeper(sync).removal is Removal.PROVEN
        with place.file("a").open("wb") as writing:
            writing.write(b"<domain>")
            writing.flush()
            await sync.now()
            assert keeper(sync).removal is Removal.NONE


async def test_before_the_first_look_nothing_is_said_of_a_revision(place):
    """We were ended between a revision and its definitions: what was kept is of the one before."""
    place.drop("a")
    async with looking(place) as sync:
        await sync.now()
        sync._owner.publisher.write()
        assert sync._owner.revisions.newest.result == "success"
    sync._owner.revisions.accept("main@sha1:newer")
    sync._owner.revisions.save()
    async with looking(place) as sync:
        sync._owner._remember_all()
        sync._owner.queue.wake(keeper(sync).uuid, Priority.RESYNC)
        await sync._owner.queue.rest()
        assert keeper(sync).plan.ready.reason == "InSync"
        sync._owner.publisher.write()
        assert sync._owner.revisions.newest.result == "pending"


async def test_a_domain_that_gets_another_uuid_keeps_its_history(place):
    place.drop("a")
    async with looking(place) as sync:
        await sync.now()
        place.file("a").write_bytes(place.file("a").read_bytes().replace(
            b"</name>", b"</name><uuid>11111111-2222-4333-8444-555555555555</uuid>"))
        await sync.now()
        found = keeper(sync)
        entries = [Entry.of(value) for value in found.memory.history]
        assert [sync._owner.context.archive.read(found.uuid, e) is None for e in entries] == [
            False, False]
        assert len(list((place.path / "state" / "history").iterdir())) == 1


# Several domains of a file, and the defaults of the directory

DEFAULTS = b"<domain><title>t</title></domain>"


def count(place, number, **values):
    for index in range(number):
        (place.path / "images" / f"a-{index}.img").touch()
    place.file("a").write_bytes(xml("a-{index}", "stopped", **values).replace(
        b"state='stopped'", f"state='stopped' count='{number}'".encode()))


def later(sync, seconds=2.1):
    """So much time goes by, for the reconciler."""
    context, before = sync._owner.context, sync._owner.context.now()
    context.now = lambda: Now(before.clock + seconds, before.wall + seconds)


def names(sync):
    return sorted(k.name for k in sync._owner.keepers.values() if k.removal is Removal.NONE)


async def test_a_counted_file_is_several_keepers_of_one_file(place):
    count(place, 3)
    async with looking(place) as sync:
        await sync.now()
        assert names(sync) == ["a-0", "a-1", "a-2"]
        found = keeper(sync, "a-1").memory.definition
        assert (found.file, found.read_with["expanded"]) == ("a.xml", "index 1")
        assert b"count" not in found.data
        assert sync.files == 1
        assert len({k.memory.definition.revision for k in sync._owner.keepers.values()}) == 3
    async with looking(place) as sync:  # and after our restart: nothing is new
        for known in sync._owner.context.store.all(""):
            sync._owner.keep(known)
        told = len(place.told("domain.accepted"))
        await sync.now()
        assert len(place.told("domain.accepted")) == told == 3


async def test_rule_4_a_renamed_counted_file_is_the_same_domains(place):
    count(place, 2)
    async with looking(place) as sync:
        await sync.now()
        place.file("a").rename(place.file("z"))
        await sync.now()
        assert {k.memory.definition.file for k in sync._owner.keepers.values()} == {"z.xml"}
        assert (len(place.told("domain.accepted")), sync.absent) == (2, frozenset())


async def test_rule_3_what_is_wrong_with_a_file_is_the_business_of_all_its_domains(place):
    count(place, 3)
    async with looking(place) as sync:
        await sync.now()
        for broken in (b"<domain>", b"", xml("b").replace(b"state='running'", b"count='0'")):
            place.file("a").write_bytes(broken)
            await sync.now()
            assert all(k.invalid for k in sync._owner.keepers.values())
            assert (names(sync), sync.absent) == (["a-0", "a-1", "a-2"], frozenset())
        count(place, 3)
        await sync.now()
        assert not any(k.invalid for k in sync._owner.keepers.values())
        assert len(place.told("domain.accepted")) == 3


async def test_rule_6_a_lower_count_is_a_removal_by_the_usual_evidence(place):
    count(place, 3)
    async with looking(place) as sync:
        await sync.now()
        count(place, 2)
        assert await sync.now() <= 2.1
        assert sync.absent == {keeper(sync, "a-2").uuid}
        assert keeper(sync, "a-2").removal is Removal.NONE
        count(place, 3)
        await sync.now()
        assert (sync.absent, len(place.told("domain.accepted"))) == (frozenset(), 3)
        count(place, 1)
        await sync.now()
        later(sync)
        await sync.now()
        assert names(sync) == ["a-0"]


async def test_rule_6_many_of_one_file_at_once_are_held(place):
    place = Place(place.path, "source: {settle: 0s}\nprune: {settle: 2s}\n")
    count(place, 5)
    async with looking(place) as sync:
        await sync.now()
        count(place, 1)
        await sync.now()
        later(sync)
        await sync.now()
        assert sorted(sync.held.values()) == ["a-1", "a-2", "a-3", "a-4"]


async def test_rule_3_one_that_clashes_keeps_its_last_definition_alone(place):
    count(place, 3)
    place.drop("0")
    async with looking(place) as sync:
        await sync.now()
        count(place, 3, memory=256)
        place.file("a").write_bytes(place.file("a").read_bytes().replace(
            b"<source file='a-{index}.img'/>", b"<source file='{index}.img'/>"))
        place.file("0").write_bytes(xml("0", "stopped").replace(b"0.img", b"1.img"))
        await sync.now()
        kept = keeper(sync, "a-1")
        assert "of a.xml#1 is also the writable disk of 0.xml" in kept.invalid
        assert (kept.domain.memory >> 20, keeper(sync, "a-2").domain.memory >> 20) == (128, 256)
        assert (sync.absent, keeper(sync, "a-2").invalid) == (frozenset(), "")
        place.file("a").write_bytes(place.file("a").read_bytes().replace(b"count='3'",
                                                                         b"count='2'"))
        await sync.now()
        assert sync.absent == {keeper(sync, "a-2").uuid}
        assert kept.invalid


async def test_the_defaults_change_what_they_are_in_and_nothing_else(place):
    place.drop("a")
    place.file("b").write_bytes(xml("b", "stopped").replace(b"<os>", b"<title>own</title><os>"))
    async with looking(place) as sync:
        await sync.now()
        place.file("defaults").write_bytes(DEFAULTS)
        await sync.now()
        assert {n: (keeper(sync, n).memory.generation, keeper(sync, n).domain.title)
                for n in "ab"} == {"a": (2, "t"), "b": (1, "own")}
        assert sync.files == 2
        assert keeper(sync).memory.definition.read_with["expanded"] == "defaults.xml"


async def test_rule_3_without_its_defaults_for_a_moment_no_file_is_another_one(place):
    place.drop("a")
    place.file("defaults").write_bytes(DEFAULTS)
    async with looking(place) as sync:
        await sync.now()
        place.file("defaults").unlink()
        place.drop("b")
        assert await sync.now() <= 2.1
        assert (keeper(sync).domain.title, keeper(sync, "b")) == ("t", None)
        assert sync.absent == frozenset()
        place.file("defaults").write_bytes(DEFAULTS)
        await sync.now()
        assert keeper(sync).memory.generation == 1
        assert keeper(sync, "b").domain.title == "t"
        place.file("defaults").unlink()
        await sync.now()
        later(sync)
        await sync.now()  # it is meant
        assert (keeper(sync).domain.title, keeper(sync).memory.generation) == (None, 2)


async def test_rule_6_no_removal_is_believed_while_the_defaults_are_missing(place):
    place.drop("a")
    place.drop("b")
    place.file("defaults").write_bytes(DEFAULTS)
    async with looking(place) as sync:
        await sync.now()
        place.file("b").unlink()
        await sync.now()
        later(sync, 1.5)
        place.file("defaults").unlink()
        await sync.now()
        later(sync, 1.0)
        await sync.now()
        assert sync.absent == {keeper(sync, "b").uuid}
        assert keeper(sync, "b").removal is Removal.NONE
        later(sync)
        await sync.now()
        assert (names(sync), keeper(sync).domain.title) == (["a"], None)


async def test_rule_6_wrong_defaults_hide_no_domain(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as sync:
        await sync.now()
        place.file("b").unlink()
        place.file("defaults").write_bytes(b"<domain><vcpuu/></domain>")
        await sync.now()
        later(sync)
        await sync.now()
        assert names(sync) == ["a"]


async def test_rule_3_while_the_defaults_are_written_nothing_is_judged(place):
    place.drop("a")
    place.drop("b")
    place.file("defaults").write_bytes(DEFAULTS)
    async with looking(place) as sync:
        await sync.now()
        place.file("b").unlink()
        place.drop("a", memory=256)
        with place.file("defaults").open("r+b") as writing:
            writing.write(b"<domain>")
            writing.flush()
            for _ in range(2):
                assert await sync.now() < 1
                later(sync, 3)
            assert (keeper(sync).domain.memory >> 20, keeper(sync).invalid) == (128, "")
            assert keeper(sync, "b").removal is Removal.NONE
        place.file("defaults").write_bytes(DEFAULTS)
        await sync.now()
        assert keeper(sync).domain.memory >> 20 == 256
        assert names(sync) == ["a"]


async def test_rule_3_wrong_defaults_keep_every_last_definition(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as sync:
        await sync.now()
        place.file("defaults").write_bytes(b"<domain><vcpuu/></domain>")
        for _ in range(2):
            await sync.now()
        assert all("defaults.xml" in keeper(sync, n).invalid for n in "ab")
        told = [event for event in place.told("domain.invalid")
                if event["file"] == "defaults.xml"]
        assert len(told) == 1
        assert names(sync) == ["a", "b"]
        place.file("b").unlink()  # a file that goes is evidence, whatever is in the others
        await sync.now()
        later(sync)
        await sync.now()
        assert names(sync) == ["a"]
        place.file("defaults").unlink()
        await sync.now()
        assert not keeper(sync).invalid


async def test_rule_3_defaults_that_are_no_file_keep_all_and_prove_nothing(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as sync:
        await sync.now()
        place.file("defaults").mkdir()
        place.file("b").unlink()
        await sync.now()
        later(sync)
        await sync.now()
        assert "defaults.xml" in keeper(sync).invalid
        assert names(sync) == ["a", "b"]


async def test_the_lines_are_those_of_the_file_also_after_our_restart(place):
    place.file("a").write_bytes(b"<!-- -->\n\n" + xml("a", "stopped", devices="\n<sound/>"))
    place.file("defaults").write_bytes(DEFAULTS)
    async with looking(place) as sync:
        await sync.now()
        kept = keeper(sync).memory
        before = [w.line for w in keeper(sync).domain.warnings]
    async with looking(place) as sync:
        sync._owner.keep(kept)
        await sync.now()
        assert [w.line for w in keeper(sync).domain.warnings] == before


async def test_rule_3_a_file_that_is_renamed_and_broken_at_once_may_still_be_its_domains(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as sync:
        await sync.now()
        place.file("a").unlink()
        place.file("x").write_bytes(b"<domain>")
        await sync.now()
        later(sync)
        await sync.now()
        assert keeper(sync).removal is Removal.NONE
