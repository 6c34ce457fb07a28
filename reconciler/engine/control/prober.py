"""Asks one guest whether it is well, as its file says, for as long as its process runs.

Counts nothing itself (pulse.py) and decides nothing (the plan): it wakes the keeper when the
verdict is another one.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domain.devices import Channel
from reconciler.domain.devices.character import AGENT
from reconciler.domain.model import Probe
from reconciler.engine.control.work_queue import Priority
from reconciler.engine.decide.inputs import HealthStatus, ProbeResult
from reconciler.engine.decide.probe_threshold import beat
from reconciler.errors import QmpError
from reconciler.stratovirt import probes
from reconciler.stratovirt.observation import main_console

if TYPE_CHECKING:
    from reconciler.domain.model import Health
    from reconciler.engine.control.controller import DomainController

# Until it is well it is asked more often than its interval says: who depends on it waits.
FIRST_PAUSE = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


class Prober:
    """Probes for one keeper; `pulse` is what came of it."""

    def __init__(self, keeper: DomainController) -> None:
        self._keeper = keeper
        self._task: asyncio.Task[None] | None = None
        self._of: tuple[int, Health] | None = None
        self.pulse = ProbeResult()
        self.counted = False  # whether this process' being unhealthy was counted as an exit

    def follow(self, pid: int | None, health: Health | None) -> None:
        """Probe this process in this way; nothing is done while both are the same."""
        wanted = None if pid is None or health is None else (pid, health)
        if wanted == self._of and (self._task is None or not self._task.done()):
            return
        task = self._task
        self.close()
        if task is not None and task.done() and not task.cancelled():
            task.result()  # a fault of ours: the pass that asks sees it
        self._of = wanted
        if wanted is not None:
            self._task = asyncio.create_task(self._probe(*wanted),
                                             name=f"health of {self._keeper.name}")
            self._task.add_done_callback(self._ended)

    def close(self) -> None:
        """Ask no more; what was known is not known any more."""
        if self._task is not None:
            self._task.cancel()
        self._task, self._of, self.pulse, self.counted = None, None, ProbeResult(), False

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._keeper.wake(Priority.DRIFT)

    async def _probe(self, pid: int, health: Health) -> None:
        keeper, pause = self._keeper, FIRST_PAUSE
        process = keeper.machine.process
        started = process.started if process is not None else 0
        who = f"{pid}:{started}"
        console = probes.Console(health.target) if health.probe is Probe.CONSOLE else None
        if console is not None:
            console.found = keeper.memory.well == who  # its text may have come before us
        try:
            while True:
                problem = await self._ask(health, console)
                age = keeper.context.now().clock - started / _TICKS
                if console is not None and console.in_use and not console.found:
                    # Their reading is no failure of the guest's: it must not be ended for that.
                    self._note(replace(self.pulse, message=problem), who)
                else:
                    self._note(beat(self.pulse, problem, health, age), who)
                unknown = self.pulse.verdict is HealthStatus.UNKNOWN
                pause = min(2 * pause, health.interval) if unknown else health.interval
                await asyncio.sleep(pause)
        finally:
            if console is not None:
                console.close()

    def _note(self, pulse: ProbeResult, who: str) -> None:
        keeper, before, self.pulse = self._keeper, self.pulse, pulse
        if before.verdict is pulse.verdict:
            if before.message != pulse.message:
                keeper.wake(Priority.DRIFT)  # what the status says is another thing now
            return
        if pulse.verdict is HealthStatus.HEALTHY:
            keeper.remember(well=who)
            keeper.tell("domain.healthy", reason="Succeeded")
        else:
            keeper.tell("domain.unhealthy", severity="warning", reason="HealthCheckFailed",
                        message=pulse.message)
        keeper.wake(Priority.EXIT)

    async def _ask(self, health: Health, console: probes.Console | None) -> str:
        if console is not None:
            return await self._look(console)
        if health.probe is Probe.TCP:
            return await probes.tcp(health.target, health.timeout)
        domain = self._keeper.applied or self._keeper.domain
        socket = next((d.path or d.socket for d in domain.devices
                       if isinstance(d, Channel) and d.name == AGENT), None) if domain else None
        if socket is None:
            return "it has no channel of the guest agent"
        return await probes.agent(self._keeper.machine.home / socket, health.timeout)

    async def _look(self, console: probes.Console) -> str:
        path: str | None = None
        if not console.found:
            try:
                path = main_console(await self._keeper.machine.consoles())
            except QmpError as error:
                return str(error)
        return console.check(path)
