"""From the source to the keepers: each look is complete, and forgets nothing."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager

import pytest

from reconciler.engine.case import Now, Removal
from reconciler.engine.sync import LONGEST_PATIENCE
from tests.engine.making import Place

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


async def test_rule_4_a_renamed_file_is_the_same_domain(place):
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


async def test_rule_6_a_removal_is_believed_after_a_second_look(place):
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


async def test_rule_6_a_failed_look_between_begins_the_wait_anew(place):
    place.drop("a")
    place.drop("b")
    async with looking(place) as sync:
        await sync.now()
        place.file("a").unlink()
        await sync.now()
        (place.path / "domains").rename(place.path / "away")
        await sync.now()
        assert sync.absent == frozenset()


async def test_rule_3_which_directory_it_was_is_kept_for_the_next_reconciler(place):
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


async def test_rule_4_a_number_that_was_chosen_is_kept_over_a_restart(place):
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
