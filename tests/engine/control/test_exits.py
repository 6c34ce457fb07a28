"""Ends of a VM's process: told apart, counted by kind, shown with when; also across our restart."""

from __future__ import annotations

import datetime
import json
import os
import signal
from contextlib import asynccontextmanager

import pytest

from reconciler.cli.terminal import exits
from reconciler.engine.daemon import Daemon
from reconciler.host.cgroup import OomKills, group_of
from reconciler.samples import firmware
from reconciler.stratovirt import process
from tests.engine.making import Place, running, until


class Snapshot(Place):
    """With a tree of control groups of its own."""

    def __init__(self, path):
        super().__init__(path)
        self.vms = path / "run" / "vms"
        self.counts = path / "tree" / group_of(os.getpid()).lstrip("/") / "memory.events"
        self.counts.parent.mkdir(parents=True)
        self.killed_for_memory(0)
        (path / "images" / "fw.fd").write_bytes(firmware())

    def make(self) -> Daemon:
        found = super().make()
        found.oom_kills = OomKills(self.path / "tree")
        return found

    def killed_for_memory(self, count):
        self.counts.write_text(f"oom_kill {count}\n")

    def drop(self, name, state="running", **values):
        super().drop(name, state, **values)
        (self.path / "images" / f"{name}.img").write_bytes(bytes(1 << 20))
        data = self.file(name).read_bytes().replace(b"<disk type='file'>", b"<disk type='file'>"
                                                    b"<driver name='qemu' cache='writeback'/>")
        (self.path / "fresh").write_bytes(data)
        (self.path / "fresh").replace(self.file(name))

    def close(self):
        for home in self.vms.iterdir() if self.vms.exists() else ():
            found = process.find(home, None, None)
            if found is not None:
                process.send_signal(found, signal.SIGKILL)


@pytest.fixture
def world(tmp_path):
    found = Snapshot(tmp_path)
    yield found
    found.close()


@asynccontextmanager
async def up(world):
    """A reconciler, and its domain a, which runs."""
    async with running(world) as reconciler:
        await until(reconciler, lambda: is_up(reconciler))
        yield reconciler


def keeper(reconciler):
    return next(iter(reconciler.keepers.values()), None)


def is_up(reconciler, restarts=0):
    found = keeper(reconciler)
    return found is not None and bool(found.plan.conditions) and (
        found.plan.ready.reason == "InSync" and found.vm.pid is not None
        and found.ledger.restarts >= restarts)


def shown(reconciler):
    return json.loads(json.dumps(reconciler.publisher.value()))["domains"][0]["restarts"]


async def test_pain_8_a_kill_for_want_of_memory_is_no_other_kill(world):
    world.drop("a")
    async with up(world) as reconciler:
        for count, kill in enumerate((True, False), 1):
            if kill:
                world.killed_for_memory(1)
            os.kill(keeper(reconciler).vm.pid, signal.SIGKILL)
            await until(reconciler, lambda count=count: is_up(reconciler, count))
        found = shown(reconciler)
    assert found["byKind"] == {"oom-killed": 1, "killed": 1}
    assert (found["total"], found["lastExit"]["kind"], found["lastExit"]["signal"]) == (
        2, "killed", 9)
    assert [e["reason"] for e in world.told("domain.exited")] == ["oom-killed", "killed"]


async def test_out_of_memory_is_the_reason_where_it_stays_down(world):
    world.drop("a", inner="<r:restart policy='never'/>")
    async with up(world) as reconciler:
        world.killed_for_memory(1)
        os.kill(keeper(reconciler).vm.pid, signal.SIGKILL)
        await until(reconciler, lambda: keeper(reconciler).ledger.down)
        assert keeper(reconciler).plan.ready.reason == "OutOfMemory"
        assert shown(reconciler)["byKind"] == {"oom-killed": 1}


async def test_also_while_no_reconciler_ran(world):
    world.drop("a")
    world.killed_for_memory(3)
    async with up(world) as reconciler:
        first = keeper(reconciler).vm.pid
    world.killed_for_memory(4)  # of somebody else in its group, as it lives
    async with up(world) as reconciler:
        assert keeper(reconciler).vm.pid == first
        assert shown(reconciler) == {"total": 0, "inWindow": 0, "byKind": {}, "lastExit": None}
    os.kill(first, signal.SIGKILL)
    async with running(world) as reconciler:
        await until(reconciler, lambda: is_up(reconciler, 1))
        assert shown(reconciler)["byKind"] == {"killed": 1}
        second = keeper(reconciler).vm.pid
    world.killed_for_memory(5)
    os.kill(second, signal.SIGKILL)
    async with running(world) as reconciler:
        await until(reconciler, lambda: is_up(reconciler, 2))
        assert shown(reconciler)["byKind"] == {"killed": 1, "oom-killed": 1}


async def test_the_time_is_when_it_was_seen_and_survives_our_restart(world):
    world.drop("a")
    begun = datetime.datetime.now(datetime.UTC)
    async with up(world) as reconciler:
        os.kill(keeper(reconciler).vm.pid, signal.SIGKILL)
        await until(reconciler, lambda: is_up(reconciler, 1))
        before = shown(reconciler)
    ended = datetime.datetime.now(datetime.UTC)
    assert begun < datetime.datetime.fromisoformat(before["lastExit"]["at"]) < ended
    assert before["lastExit"]["at"].endswith("Z")
    async with up(world) as reconciler:
        assert shown(reconciler) == before


async def test_pain_8_a_reboot_of_the_host_is_counted_once_for_what_was_up(world):
    world.drop("a")
    async with up(world) as reconciler:
        memory = world.path / "state" / "domains" / f"{keeper(reconciler).uuid}.json"
    world.close()
    value = json.loads(memory.read_text())
    value["boot_id"] = "an earlier one"
    memory.write_text(json.dumps(value))
    for file in (world.vms / "a").iterdir():  # the run-time directory is in memory
        file.unlink()
    (world.vms / "a").rmdir()
    for _ in range(2):
        async with up(world) as reconciler:
            found = shown(reconciler)
            assert (found["byKind"], found["total"]) == ({"host-reboot": 1}, 0)
            assert found["lastExit"]["at"] is not None
    assert [e["reason"] for e in world.told("domain.exited")] == ["host-reboot"]


def test_people_read_the_counts_and_the_last_one():
    end = {"at": "2026-01-02T03:04:05.678Z", "kind": "oom-killed", "code": None, "signal": 9,
           "message": "killed by the kernel (out of memory)"}
    value = {"total": 3, "inWindow": 1, "byKind": {"killed": 2, "oom-killed": 1}, "lastExit": end}
    assert exits(value) == [
        ("exits", "killed 2, oom-killed 1; restarts 3, 1 within the window"),
        ("last exit", f"oom-killed at {end['at']}: {end['message']}")]
    assert exits({"total": 0, "inWindow": 0, "byKind": {}, "lastExit": None}) == []
    # From before ends were counted by kind, and their time kept.
    assert exits({**value, "byKind": {}, "lastExit": {**end, "at": None}}) == [
        ("last exit", f"oom-killed: {end['message']}")]
