"""What happens on the host outside the VMs.

Some of it the kernel does not report by itself, so that it is looked at now and then:
clients that take QMP events away (stratovirt/monitors.py), and StratoVirt processes that are not
managed. And what the kernel reports of the whole host: its network interfaces, and its mounts.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.engine.decide.events import Priority
from reconciler.host.netlink import LinkMonitor, MountMonitor
from reconciler.stratovirt import monitors
from reconciler.stratovirt.stderr_log import shorten_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from reconciler.engine.domains import Domains
    from reconciler.stratovirt.unmanaged import Search, UnmanagedProcess

BETWEEN_LOGS = 5.0  # seconds between looks at what VMs wrote to stderr: an event for each line
# of a VM that writes without end would cost more
FIRST_LOOK = 60.0  # seconds that a VM may take which does not answer at first


async def shorten_logs(logs: Path) -> None:
    """Keep what VMs write to stderr short; until cancelled."""
    while True:
        with suppress(OSError):  # there is no room for a thread
            await asyncio.to_thread(shorten_all, logs)
        await asyncio.sleep(BETWEEN_LOGS)


async def watch_monitors(domains: Domains, runtime: Path) -> None:
    """Take QMP events back from another client, and look at its VM; until cancelled."""
    times = monitors.access_times_work(runtime)
    while True:
        await asyncio.sleep(monitors.POLL_INTERVAL if times else monitors.FALLBACK_INTERVAL)
        for controller in domains:
            if not times and controller.state.vm.pid is not None:
                controller.wake(Priority.DRIFT)
            elif controller.machine.foreign_client_seen():
                controller.machine.reconnect()
                controller.wake(Priority.DRIFT)


class HostWatch:
    """Wakes the domains that a change of the host's network interfaces or mounts concerns.

    `mounted` hears of each change of the mounts, too. Where the kernel gives no such messages, the
    resync finds what changed.
    """

    def __init__(self, domains: Domains, mounted: Callable[[], None], *, links: bool) -> None:
        self._domains = domains
        self._also = mounted
        self._links = links
        self._ends: list[Callable[[], None]] = []

    def start(self) -> None:
        """Listen from now on."""
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            mounts = MountMonitor(self._mounted)
            mounts.start(loop)
            self._ends.append(lambda: mounts.close(loop))
        with suppress(OSError):
            if self._links:
                monitor = LinkMonitor(self._changed)
                monitor.start(loop)
                self._ends.append(lambda: monitor.close(loop))

    def close(self) -> None:
        """Stop listening."""
        while self._ends:
            self._ends.pop()()

    def _mounted(self) -> None:
        self._also()
        for controller in self._domains:
            controller.check_prerequisites(remounted=True)

    def _changed(self, names: frozenset[str] | None) -> None:
        for controller in self._domains:
            controller.check_links(names)


class UnmanagedWatch:
    """StratoVirt processes that no domain has; `found` are those of the last look."""

    def __init__(self, domains: Domains, search: Search) -> None:
        self._domains = domains
        self._search = search
        self.found: tuple[UnmanagedProcess, ...] = ()

    async def run(self, changed: Callable[[], None], interval: Callable[[], float],
                  next_status: Callable[[], Awaitable[None]]) -> None:
        """Look every `interval()` seconds, once every domain has found its VM; until cancelled."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK):
                while not all(c.state.plan.made for c in self._domains):
                    await next_status()
        while True:
            with suppress(OSError):  # there is no room for a thread
                await self._look(changed)
            await asyncio.sleep(interval())

    async def _look(self, changed: Callable[[], None]) -> None:
        known = self._pids()
        found = await asyncio.to_thread(self._search.run, known)
        now = self._pids()  # one may have been started meanwhile
        found = tuple(one for one in found if one.pid not in now)
        if found != self.found:
            self.found = found
            changed()

    def _pids(self) -> set[int]:
        return {c.machine.process.pid for c in self._domains if c.machine.process is not None}
