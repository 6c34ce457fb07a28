"""A VM that ends is told apart by how it ended, counted by kind, and shown in the status."""

from __future__ import annotations

import datetime
import os
import signal

from tests.engine.control.host import is_up, shown, up
from tests.engine.making import state_of, until


async def test_pain_8_an_out_of_memory_kill_is_a_kind_of_its_own(host):
    host.drop("a")
    async with up(host) as daemon:
        for count, for_memory in enumerate((True, False), 1):
            if for_memory:
                host.killed_for_memory(1)
            os.kill(state_of(daemon).vm.pid, signal.SIGKILL)
            await until(daemon, lambda count=count: is_up(daemon, count))
        found = shown(daemon)
    assert found["byKind"] == {"oom-killed": 1, "killed": 1}
    assert (found["total"], found["lastExit"]["kind"], found["lastExit"]["signal"]) == (
        2, "killed", 9)
    assert [e["reason"] for e in host.reported("domain.exited")] == ["oom-killed", "killed"]


async def test_out_of_memory_is_the_reason_where_the_domain_stays_down(host):
    host.drop("a", inner="<r:restart policy='never'/>")
    async with up(host) as daemon:
        host.killed_for_memory(1)
        os.kill(state_of(daemon).vm.pid, signal.SIGKILL)
        await until(daemon, lambda: state_of(daemon).attempts.down_reason)
        assert state_of(daemon).plan.ready.reason == "OutOfMemory"
        assert shown(daemon)["byKind"] == {"oom-killed": 1}


async def test_the_time_of_an_exit_is_when_it_was_seen_and_survives_a_restart(host):
    host.drop("a")
    begun = datetime.datetime.now(datetime.UTC)
    async with up(host) as daemon:
        os.kill(state_of(daemon).vm.pid, signal.SIGKILL)
        await until(daemon, lambda: is_up(daemon, 1))
        before = shown(daemon)
    ended = datetime.datetime.now(datetime.UTC)
    assert begun < datetime.datetime.fromisoformat(before["lastExit"]["at"]) < ended
    assert before["lastExit"]["at"].endswith("Z")
    async with up(host) as daemon:
        assert shown(daemon) == before
