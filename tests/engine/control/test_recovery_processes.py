"""VMs that ended while the reconciler was not running, or with the host."""

from __future__ import annotations

import json
import os
import signal

from tests.engine.control.host import is_up, shown, up
from tests.engine.making import running, state_of, until


async def test_exits_while_no_reconciler_ran_are_told_apart_too(host):
    host.drop("a")
    host.killed_for_memory(3)
    async with up(host) as daemon:
        first = state_of(daemon).vm.pid
    host.killed_for_memory(4)  # of another process in its group: the VM lives
    async with up(host) as daemon:
        assert state_of(daemon).vm.pid == first
        assert shown(daemon) == {"total": 0, "inWindow": 0, "byKind": {}, "lastExit": None}
    os.kill(first, signal.SIGKILL)
    async with running(host) as daemon:
        await until(daemon, lambda: is_up(daemon, 1))
        assert shown(daemon)["byKind"] == {"killed": 1}
        second = state_of(daemon).vm.pid
    host.killed_for_memory(5)
    os.kill(second, signal.SIGKILL)
    async with running(host) as daemon:
        await until(daemon, lambda: is_up(daemon, 2))
        assert shown(daemon)["byKind"] == {"killed": 1, "oom-killed": 1}


async def test_pain_8_a_reboot_of_the_host_is_counted_once_for_a_vm_that_was_up(host):
    host.drop("a")
    async with up(host) as daemon:
        record = host.path / "state" / "domains" / f"{state_of(daemon).uuid}.json"
    host.close()
    value = json.loads(record.read_text())
    value["boot_id"] = "an earlier one"
    record.write_text(json.dumps(value))
    for file in (host.vms / "a").iterdir():  # the run-time directory is in memory
        file.unlink()
    (host.vms / "a").rmdir()
    for _ in range(2):
        async with up(host) as daemon:
            found = shown(daemon)
            assert (found["byKind"], found["total"]) == ({"host-reboot": 1}, 0)
            assert found["lastExit"]["at"] is not None
    assert [e["reason"] for e in host.reported("domain.exited")] == ["host-reboot"]
