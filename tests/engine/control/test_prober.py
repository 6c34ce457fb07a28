"""One guest is probed as its file says, and each result is reported with the process it is of."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tty
from dataclasses import replace

import pytest

from reconciler.domain.policy import Health, Probe
from reconciler.engine.control.prober import Prober, ProbeTarget
from reconciler.engine.decide.inputs import HealthStatus, ProbeResult
from reconciler.errors import QmpTimedOut

pytestmark = pytest.mark.simulated_time
CONSOLE = Health(Probe.CONSOLE, "ready", interval=2.0, failures=2, start_period=5.0)
AGENT = Health(Probe.AGENT, interval=2.0, failures=1, start_period=0.0)
UNKNOWN, HEALTHY, UNHEALTHY = HealthStatus.UNKNOWN, HealthStatus.HEALTHY, HealthStatus.UNHEALTHY
TICKS = os.sysconf("SC_CLK_TCK")


class Followed:
    """A prober of a VM, and its results with their times."""

    def __init__(self, site):
        self.site, self.results = site, []
        self.machine = site.machine("a", "u", None)
        self.prober = Prober(site.environment, self.report)

    def report(self, result, process):
        self.results.append((asyncio.get_running_loop().time(), result, process))

    def follow(self, health, **values):
        values = {"started": int(1000 * TICKS), **values}
        target = None if health is None else ProbeTarget(42, health, **values)
        return self.prober.follow(target, self.machine)

    @property
    def statuses(self):
        return [result.status for _, result, _ in self.results]


@pytest.fixture
def followed(site):
    return Followed(site)


@pytest.fixture
def console(site):
    """The guest's end of a console, and the path of the other end."""
    guest, ours = os.openpty()
    tty.setraw(ours)
    site.hypervisor.consoles = {"serial_chardev": os.ttyname(ours)}
    yield guest, os.ttyname(ours)
    os.close(guest)
    os.close(ours)


async def test_probes_come_more_and_more_seldom_until_the_guest_is_healthy(followed, console):
    followed.follow(CONSOLE)
    await asyncio.sleep(5)
    assert [round(at, 1) for at, _, _ in followed.results] == [0.0, 0.2, 0.6, 1.4, 3.0]
    assert set(followed.statuses) == {UNKNOWN}
    assert {process for _, _, process in followed.results} == {f"42:{1000 * TICKS}"}
    await asyncio.sleep(4.1)  # the start period is over
    assert followed.statuses[5:] == [UNKNOWN, UNHEALTHY, UNHEALTHY]
    assert [round(at, 1) for at, _, _ in followed.results][5:] == [5.0, 7.0, 9.0]
    os.write(console[0], b"ready")
    await asyncio.sleep(2)
    assert followed.results[-1][1] == ProbeResult(HEALTHY, 0, "")
    followed.prober.close()


async def test_the_age_is_that_of_the_process(followed, console):
    followed.follow(replace(CONSOLE, failures=1), started=int(994 * TICKS))
    await asyncio.sleep(0.01)
    assert followed.statuses == [UNHEALTHY]
    followed.prober.close()


async def test_a_console_that_a_user_reads_is_not_a_failure_of_the_guest(followed, console):
    user = os.open(console[1], os.O_RDWR | os.O_NOCTTY)
    fcntl.flock(user, fcntl.LOCK_EX)
    followed.follow(replace(CONSOLE, failures=1, start_period=0.0))
    await asyncio.sleep(0.01)
    assert followed.statuses == [UNKNOWN]
    assert "console" in followed.results[0][1].message
    os.close(user)
    await asyncio.sleep(1)
    assert followed.statuses[1] is UNHEALTHY
    followed.prober.close()


async def test_a_text_that_came_before_this_reconciler_is_not_asked_for_again(followed):
    process = f"42:{1000 * TICKS}"
    followed.follow(CONSOLE, last_healthy=process)
    await asyncio.sleep(0.01)
    assert followed.statuses == [HEALTHY]
    followed.follow(None)
    followed.follow(CONSOLE, last_healthy="41:7")
    await asyncio.sleep(0.01)
    assert followed.results[-1][1] == ProbeResult(UNKNOWN, 0, "the VM has no pty console")
    followed.prober.close()


async def test_a_console_whose_path_cannot_be_asked_for_is_a_failure(followed, site):
    site.hypervisor.faults["consoles"] = QmpTimedOut("no answer")
    followed.follow(CONSOLE)
    await asyncio.sleep(0.01)
    assert followed.results[0][1].message == "no answer"
    followed.prober.close()


async def test_an_agent_is_asked_where_there_is_a_channel(followed, tmp_path):
    followed.follow(AGENT)
    await asyncio.sleep(0.01)
    assert followed.results[0][1].message == "the domain has no guest agent channel"
    followed.follow(replace(AGENT, interval=3.0), agent=tmp_path / "agent.sock")
    await asyncio.sleep(0.01)
    assert followed.results[1][1].message.startswith("the guest agent does not answer")
    followed.prober.close()


async def test_a_tcp_probe_asks_the_address(followed):
    followed.follow(replace(AGENT, probe=Probe.TCP, target="127.0.0.1:1"))
    await asyncio.sleep(0.01)
    assert followed.results[0][1].message.startswith("127.0.0.1:1: ")
    followed.prober.close()


async def test_probing_starts_again_for_another_process_or_another_probe_alone(followed, site):
    assert not followed.follow(None)
    assert followed.follow(AGENT)
    assert not followed.follow(AGENT, last_healthy="other", started=7)
    assert len(site.tasks) == 1
    assert followed.follow(replace(AGENT, interval=9.0))
    await asyncio.sleep(0)
    assert site.tasks[0].cancelled()
    assert site.tasks[1].get_name() == "health of a"
    assert followed.follow(None)
    assert not followed.follow(None)
    await asyncio.sleep(0)
    assert site.tasks[1].cancelled()


async def test_probing_that_ended_by_an_error_starts_again(followed, site):
    def fails(*_):
        raise ValueError("no luck")

    site.environment.clocks = fails
    assert followed.follow(AGENT)
    await asyncio.sleep(0.01)
    assert isinstance(site.tasks[0].exception(), ValueError)
    site.environment.clocks = site.clocks
    assert followed.follow(AGENT)
    await asyncio.sleep(0.01)
    assert followed.statuses == [UNHEALTHY]
    followed.prober.close()
