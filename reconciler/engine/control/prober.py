"""Probes the health of one guest, as its file says, for as long as its process runs.

Decides nothing: decide/probe_threshold.py counts, and each result is reported to the controller.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.domain.policy import Probe
from reconciler.engine.decide.inputs import HealthStatus, ProbeResult
from reconciler.engine.decide.probe_threshold import count_probe
from reconciler.errors import QmpError
from reconciler.stratovirt import probes
from reconciler.stratovirt.observation import main_console

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.domain.policy import Health
    from reconciler.engine.control.environment import Environment
    from reconciler.stratovirt.vm import VirtualMachine

# Until a guest is healthy it is probed more often than its interval says: dependents wait for it.
FIRST_PAUSE = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Which process is probed, and how; only these two decide whether probing starts again."""

    pid: int
    health: Health
    started: int = field(default=0, compare=False)  # clock ticks since boot
    agent: Path | None = field(default=None, compare=False)  # the guest agent's socket
    last_healthy: str = field(default="", compare=False)  # the process that was healthy last

    @property
    def process(self) -> str:
        """Identifies the process also after its pid was used again."""
        return f"{self.pid}:{self.started}"


class Prober:
    """Probes for one domain; `report` gets each result, and the process that it is of."""

    def __init__(self, environment: Environment,
                 report: Callable[[ProbeResult, str], None]) -> None:
        self._environment = environment
        self._report = report
        self._task: asyncio.Task[None] | None = None
        self._target: ProbeTarget | None = None

    def follow(self, target: ProbeTarget | None, machine: VirtualMachine) -> bool:
        """Probe this from now on; whether what was known before means nothing any more."""
        if target == self._target and (self._task is None or not self._task.done()):
            return False
        known = self._target is not None
        self.close()
        self._target = target
        if target is not None:
            self._task = self._environment.spawn(self._probe(target, machine),
                                                 f"health of {machine.home.name}")
        return known or target is not None

    def close(self) -> None:
        """Stop probing."""
        if self._task is not None:
            self._task.cancel()
        self._task, self._target = None, None

    async def _probe(self, target: ProbeTarget, machine: VirtualMachine) -> None:
        health, pause, result = target.health, FIRST_PAUSE, ProbeResult()
        console = probes.Console(health.target) if health.probe is Probe.CONSOLE else None
        if console is not None:  # its text may have come before this reconciler
            console.found = target.last_healthy == target.process
        try:
            while True:
                problem = await self._ask(target, machine, console)
                age = self._environment.clocks().clock - target.started / _TICKS
                if console is not None and console.in_use and not console.found:
                    # A user who reads the console is not a failure of the guest.
                    result = replace(result, message=problem)
                else:
                    result = count_probe(result, problem, health, age)
                self._report(result, target.process)
                unknown = result.status is HealthStatus.UNKNOWN
                pause = min(2 * pause, health.interval) if unknown else health.interval
                await asyncio.sleep(pause)
        finally:
            if console is not None:
                console.close()

    async def _ask(self, target: ProbeTarget, machine: VirtualMachine,
                   console: probes.Console | None) -> str:
        """Why the probe fails; empty if it does not."""
        health = target.health
        if console is not None:
            return await _look(machine, console)
        if health.probe is Probe.TCP:
            return await probes.tcp(health.target, health.timeout, self._environment.names)
        if target.agent is None:
            return "the domain has no guest agent channel"
        return await probes.agent(target.agent, health.timeout)


async def _look(machine: VirtualMachine, console: probes.Console) -> str:
    path: str | None = None
    if not console.found:
        try:
            path = main_console(await machine.consoles())
        except QmpError as error:
            return str(error)
    return console.check(path)
