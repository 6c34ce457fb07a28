"""Gathers what the keepers know into the status, and writes it: soon, and not too often.

A domain's part is made anew only when that domain changed, so that a thousand that rest cost
nothing.
"""

from __future__ import annotations

import asyncio
import os
import platform
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler import __version__
from reconciler.engine.case import VmState
from reconciler.report import status
from reconciler.report.events import timestamp
from reconciler.stratovirt.process import command_line

if TYPE_CHECKING:
    from reconciler.domain.model import Domain, Problem
    from reconciler.engine.keeper import Keeper
    from reconciler.engine.loop import Reconciler

# Writing may take a twentieth of the time at most: a few domains are written at once, a thousand
# every second or so.
SHARE = 20
# Once steps begin, their processes come first: nothing slow between an event and an exec.
AFTER_BEGUN = 0.003


class Publisher:
    """Owns status.json and heartbeat.json."""

    def __init__(self, owner: Reconciler) -> None:
        self._owner = owner
        self._directory = owner.settings.state
        self._started = timestamp()
        self._parts: dict[str, dict[str, Any]] = {}
        self._dirty: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0  # the loop's time from which on it may be written again
        self.sequence = 0
        self.problem = ""
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
        self.sequence += 1
        try:
            status.write(self._directory, self.value())
            self.problem = ""
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
        """A small file, touched while the loop lives and the watcher does."""
        every = self._owner.settings.reconcile.heartbeat
        while True:
            if self._owner.sync.source.alive:
                try:
                    status.beat(self._directory, timestamp(), os.getpid(), every)
                except OSError as error:
                    self.problem = str(error)
            await asyncio.sleep(every)

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
                                    "simulated": binary.simulated}},
            "source": self._source(), "summary": status.summary(domains),
            "approvals": owner.sync.approvals(), "domains": domains,
        }

    def _source(self) -> dict[str, Any]:
        sync, error = self._owner.sync, self._owner.sync.error
        ready = {"type": "Ready", "status": "True" if error is None else "False",
                 "reason": "Succeeded" if error is None else error.reason,
                 "message": "" if error is None else str(error)}
        return {"files": sync.files, "revision": sync.revision, "lastAttempt": sync.last_attempt,
                "lastSync": sync.last_success, "lastSuccess": sync.last_success,
                **sync.source.describe(), "conditions": [ready], "elsewhere": list(sync.elsewhere),
                "invalid": [{"file": r.file, "domain": r.name, "reason": r.reason,
                             "errors": [str(p) for p in r.problems]} for r in sync.rejected]}


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii").strip() or None
    except OSError:
        return None


def domain_status(keeper: Keeper) -> dict[str, Any]:
    """One domain's part of the status."""
    memory, domain, ledger = keeper.memory, keeper.domain, keeper.ledger
    generation = memory.generation
    conditions = [
        {"type": c.type, "status": str(c.status), "reason": c.reason, "message": c.message,
         "observedGeneration": generation,
         "lastTransitionTime": keeper.transitions.since.get(c.type, ("", timestamp()))[1]}
        for c in keeper.plan.conditions] or [
        {"type": "Ready", "status": "Unknown", "reason": "Adopting", "message": "not looked at yet",
         "observedGeneration": generation, "lastTransitionTime": timestamp()}]
    definition = memory.definition
    end = ledger.last_exit
    return {
        "name": keeper.name, "uuid": keeper.uuid,
        "labels": dict(domain.policy.labels) if domain else {},
        "file": definition.file if definition else None,
        "revision": definition.revision if definition else None,
        "appliedRevision": memory.good.revision if memory.good else None,
        "generation": generation, "observedGeneration": ledger.settled,
        "desired": {"state": str(domain.policy.state) if domain else None,
                    "memoryBytes": (domain.current_memory or domain.memory) if domain else None,
                    "vcpus": (domain.current_vcpus or domain.vcpus) if domain else None},
        "observed": _observed(keeper), "status": status.word(conditions),
        "conditions": conditions,
        "pending": [{"path": p.change.path, "from": p.change.old, "to": p.change.new,
                     "class": str(p.change.impact), "blockedBy": p.blocked_by,
                     "line": p.change.line} for p in keeper.plan.pending],
        "warnings": [{"line": w.line, "message": f"{_other_file(w, domain)}{w.path}: {w.message}"}
                     for w in domain.warnings]
        if domain else [],
        "restarts": {"total": ledger.restarts, "inWindow": len(ledger.crashes.times),
                     "lastExit": {"kind": str(end.kind), "code": end.code, "signal": end.signal,
                                  "message": end.message} if end else None},
        "ignored": list(domain.policy.ignore) if domain else [],
        "attempt": ledger.failures.count, "nextAttemptAt": _next_attempt(keeper),
        "lastAction": keeper.last_action,
    }


def _other_file(warning: Problem, domain: Domain) -> str:
    return "" if warning.file == domain.file else f"in {warning.file}: "


def _next_attempt(keeper: Keeper) -> str | None:
    """When what is held back is tried again, as a time of day."""
    again = keeper.plan.look_again_at
    if again is None or not keeper.plan.blocked:
        return None
    now = keeper.context.now()
    return timestamp(now.wall + max(0.0, again - now.clock))


def _observed(keeper: Keeper) -> dict[str, Any]:
    """What was really seen: memory and processors as of the process' own command line, or since.

    What was changed live stands in no command line; it is what StratoVirt was told and agreed to.
    """
    vm, record = keeper.vm, keeper.machine.record
    found: dict[str, Any] = {"at": timestamp(), "state": str(vm.state), "pid": vm.pid}
    if vm.pid is None or vm.state is VmState.ABSENT:
        return found
    if not keeper.words or keeper.words[0] != str(vm.pid):
        keeper.words = (str(vm.pid), *command_line(vm.pid))
    words = keeper.words
    values = dict(pairwise(words))
    memory, cpus = values.get("-m", ""), values.get("-smp", "").partition(",")[0]
    found["since"] = found["startedAt"] = record.started_at if record else None
    found["bootId"] = record.boot_id if record else None
    found["memoryBytes"] = int(memory[:-1]) << 20 if memory[:-1].isdigit() else None
    found["vcpus"] = int(cpus) if cpus.isdigit() else None
    got = keeper.applied
    if got is not None and record is not None and record.updated:
        found["memoryBytes"] = got.current_memory or got.memory
        found["vcpus"] = got.current_vcpus or got.vcpus
    found["console"] = next((path for label, path in keeper.consoles.items()
                             if label != "serial_chardev"), keeper.consoles.get("serial_chardev"))
    found["qmp"] = "ok" if vm.state is not VmState.UNKNOWN else vm.problem
    found["socket"] = str(Path(keeper.machine.home) / "monitor.sock")
    return found
