"""Gathers what the keepers know into the status, and writes it: soon, and not too often.

A domain's part is made anew only when that domain changed, so that a thousand that rest cost
nothing.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler import __version__
from reconciler.engine.decide.condition_events import ConditionTimes
from reconciler.engine.rollout.revision_status import judge_revision
from reconciler.engine.status.builder import domain_status, source_status
from reconciler.host import memory
from reconciler.host.systemd import Watchdog
from reconciler.report import status
from reconciler.report.events import timestamp

if TYPE_CHECKING:
    from reconciler.engine.daemon import Daemon

# Writing may take a twentieth of the time at most: a few domains are written at once, a thousand
# every second or so.
SHARE = 20
# Once steps begin, their processes come first: nothing slow between an event and an exec.
AFTER_BEGUN = 0.003


class Publisher:
    """Owns status.json and heartbeat.json."""

    def __init__(self, owner: Daemon) -> None:
        self._owner = owner
        self._directory = owner.settings.state
        self._started = timestamp()
        self._parts: dict[str, dict[str, Any]] = {}
        self._dirty: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0  # the loop's time from which on it may be written again
        self.sequence = 0
        self.problem = ""
        self._total = memory.total()
        self._source_since = ConditionTimes()
        self._machine_id = _read("/etc/machine-id")
        self.waiters: list[asyncio.Future[None]] = []

    def changed(self, uuid: str) -> None:
        """A domain's status is another (or the source's, with no uuid): write soon."""
        self._dirty.add(uuid)
        loop, keeper = asyncio.get_running_loop(), self._owner.keepers.get(uuid)
        begun = keeper is None or bool(keeper.plan.steps)
        at = max(loop.time() + (AFTER_BEGUN if begun else 0.0), self._next)
        if self._timer is not None and self._timer.when() > at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(at, self.write)

    def write(self) -> None:
        """Write it now; a full disk is told in the log and tried again."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        begun = time.perf_counter()
        judge_revision(self._owner)
        self.sequence += 1
        try:
            status.write(self._directory, self.value())
            self.problem = ""
            self._owner.save_again()
        except OSError as error:
            if not self.problem:
                self._owner.journal.write("state.unwritable", severity="error",
                                          reason="StateUnwritable", error=str(error))
            self.problem = str(error)
            self._timer = loop.call_later(1.0, self.write)
        self._next = loop.time() + SHARE * (time.perf_counter() - begun)
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()

    async def heartbeat(self) -> None:
        """A small file, touched while the loop lives and the watcher does; systemd hears it too."""
        every, deaf = self._owner.settings.reconcile.heartbeat, False
        watchdog = Watchdog.of(os.environ)
        while True:
            if self._owner.sync.source.answers():
                deaf = False
                watchdog.feed()
                try:
                    status.beat(self._directory, timestamp(), os.getpid(), every)
                except OSError as error:
                    self.problem = str(error)
            elif not deaf:
                deaf = True
                self._owner.journal.write("source.failed", severity="error", reason="WatcherDied",
                                          error="nothing is heard of changes to the source",
                                          hint="restart the reconciler; until then it looks at "
                                               "every reconcile.resync")
            await asyncio.sleep(min(every, watchdog.interval or every))

    def value(self) -> dict[str, Any]:
        """The whole status."""
        owner, keepers = self._owner, self._owner.keepers
        for uuid in self._dirty:
            keeper = keepers.get(uuid)
            if keeper is not None:
                self._parts[uuid] = domain_status(keeper)
        self._dirty.clear()
        self._parts = {u: self._parts.get(u) or domain_status(k) for u, k in keepers.items()}
        domains = sorted(self._parts.values(), key=lambda part: str(part["name"]))
        settings, binary = owner.settings, owner.binary
        return {
            "apiVersion": "reconciler/v1", "kind": "Status", "generatedAt": timestamp(),
            "sequence": self.sequence,
            "reconciler": {"version": __version__, "pid": os.getpid(),
                           "startedAt": self._started, "watcher": "inotify",
                           "heartbeatEvery": f"{settings.reconcile.heartbeat:g}s"},
            "host": {"name": platform.node(), "machineId": self._machine_id, "arch": settings.arch,
                     "kvm": os.path.exists("/dev/kvm"),
                     "hypervisor": {"path": binary.path, "version": binary.version,
                                    "simulated": binary.simulated},
                     "memoryBytes": self._memory()},
            "source": source_status(owner, self._source_since), "summary": status.summary(domains),
            "approvals": owner.sync.approvals(), "domains": domains,
            "unmanaged": [one.value for one in owner.unmanaged],
        }

    def _memory(self) -> dict[str, int | None]:
        """The host's, what VMs have of it, and what is left for more by the configuration."""
        limit, taken = self._owner.neighbours.limits.memory, self._owner.neighbours.memory
        return {"total": self._total, "reserved": taken,
                "available": None if limit is None else max(0, limit - taken)}


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii").strip() or None
    except OSError:
        return None
