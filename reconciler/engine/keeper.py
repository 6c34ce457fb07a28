"""One domain's keeper: observes, asks the plan, acts, and does so again whenever it is woken.

One task a domain, so that a slow or hung VM delays nobody else (rule 8). Waking carries no
message: the pass looks at everything anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.model import Domain, StopMode, Wanted
from reconciler.engine.plan import (
    Facts,
    Ledger,
    Plan,
    Step,
    VmState,
    after_exit,
    after_failure,
    make_plan,
)
from reconciler.report.events import Journal, timestamp
from reconciler.report.status import condition
from reconciler.stratovirt import process
from reconciler.stratovirt.command_line import arguments
from reconciler.stratovirt.qmp import Qmp, QmpError

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.settings import Settings

START_TIMEOUT = 30.0


def now() -> float:
    """Seconds since boot, suspended time included: right across our own restarts."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Keeper:
    """Keeps one VM as its file says."""

    def __init__(self, name: str, settings: Settings, journal: Journal,
                 read: Callable[[bytes, str], Domain], changed: Callable[[], None]) -> None:
        self.name = name
        self.settings = settings
        self.directory = settings.vm(name)
        self.journal = journal
        self.changed = changed
        self.domain: Domain | None = None
        self.text = b""
        self.applied: Domain | None = None
        self.invalid = ""
        self.gone = False
        self.restart_asked = False
        self.ledger = Ledger()
        self.generation = 0
        self.vm = VmState.UNKNOWN
        self.process: process.Process | None = None
        self.qmp: Qmp | None = None
        self.plan = Plan(reason="Adopting", ready=False)
        self.since = timestamp()
        self.forgotten = False
        self._wake = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self._load(read)

    def _load(self, read: Callable[[bytes, str], Domain]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(OSError, ValueError, KeyError):
            record = json.loads((self.directory / "record.json").read_text())
            self.generation = record["generation"]
            if record["boot"] == _boot_id():
                saved = record["ledger"]
                self.ledger = Ledger(**{**saved, "crashes": tuple(saved["crashes"]),
                                        "fights": tuple(saved["fights"])})
        with contextlib.suppress(Exception):  # an unreadable record is no reason to lose a VM
            self.applied = read((self.directory / "definition.xml").read_bytes(), "applied")

    def _save(self) -> None:
        if self.forgotten:
            return
        record = {"generation": self.generation, "boot": _boot_id(), "ledger": asdict(self.ledger),
                  "pid": self.process.pid if self.process else 0,
                  "started": self.process.started if self.process else 0}
        fresh = self.directory / "record.new"
        fresh.write_text(json.dumps(record))
        fresh.replace(self.directory / "record.json")

    def wake(self) -> None:
        """Look again soon."""
        self._wake.set()

    def define(self, domain: Domain, text: bytes) -> None:
        """A valid file; the same meaning changes nothing (rule 4)."""
        known = self.domain or self.applied
        same = known == domain
        self.gone, self.invalid = False, ""
        if same and self.domain is not None:
            self.domain = domain
            return
        if not same:
            self.generation += 1
            self.ledger = Ledger()
            self.journal.write("domain.accepted", domain=self.name, uuid=domain.uuid,
                               file=domain.file, generation=self.generation)
        self.domain, self.text = domain, text
        self.wake()

    async def run(self) -> None:
        """Until forgotten or cancelled."""
        try:
            while not self.forgotten:
                self._wake.clear()
                await self._pass()
                if self.plan.steps and self.plan.reason != "HoldRequested":
                    continue
                until = self.plan.look_again_at
                wait = self.settings.resync if until is None else max(0.01, until - now())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
        finally:
            if self._watch:
                self._watch.cancel()
            if self.qmp:
                self.qmp.close()

    async def _pass(self) -> None:
        await self._observe()
        plan = make_plan(self.facts(), now())
        if plan.ready != self.plan.ready or plan.reason != self.plan.reason:
            self.since = timestamp()
            if plan.stalled:
                self.journal.write("domain.stalled", severity="error", domain=self.name,
                                   reason=plan.reason, message=plan.message)
        self.plan = plan
        self.changed()
        if plan.reason == "HoldRequested":
            return
        self.restart_asked = False
        recreate = plan.reason == "Recreating"
        for step in plan.steps:
            begun = time.monotonic()
            self.journal.write("action.started", durable=True, domain=self.name, action=step,
                               reason=plan.reason, generation=self.generation)
            try:
                if recreate and step is Step.STOP and self.domain:
                    await asyncio.to_thread(_check_files, self.domain)
                await self._act(step)
            except (QmpError, process.StartFailed, OSError) as error:
                self.ledger = after_failure(self.ledger, str(error), now(),
                                            random.uniform(0.9, 1.1))
                self._save()
                self.journal.write("action.failed", severity="error", domain=self.name,
                                   action=step, attempt=self.ledger.failures, error=str(error))
                return
            self.journal.write("action.finished", domain=self.name, action=step,
                               pid=self.process.pid if self.process else None,
                               durationMs=round((time.monotonic() - begun) * 1000, 1))
            self.ledger = replace(self.ledger, failures=0, retry_at=0.0)
            self._save()

    def facts(self) -> Facts:
        """What the plan decides on."""
        return Facts(self.domain or (self.applied if self.invalid else None), self.applied, self.vm,
                     self.gone, self.invalid, self.ledger, self.restart_asked)

    async def _observe(self) -> None:
        if self.process is None:
            self.process = process.find(self.directory, self.name)
            if self.process:
                self.journal.write("domain.adopted", domain=self.name, pid=self.process.pid)
                self._follow(self.process)
            else:
                self.vm = VmState.UNKNOWN if process.locked(self.directory) else VmState.ABSENT
                return
        try:
            if self.qmp is None:
                self.qmp = await Qmp.connect(self.directory / "qmp.sock", self._event,
                                             self.settings.qmp_timeout)
            answer = await self.qmp.execute("query-status", self.settings.qmp_timeout)
            self.vm = VmState.RUNNING if answer["running"] else VmState.PAUSED
        except QmpError as error:
            self.qmp = None
            self.vm = VmState.UNKNOWN if self.process else VmState.ABSENT
            self.ledger = replace(self.ledger, error=str(error))

    def _event(self, name: str) -> None:
        if name == "":
            self.qmp = None
        self.wake()

    def _follow(self, vm: process.Process) -> None:
        self._watch = asyncio.create_task(self._until_end(vm))

    async def _until_end(self, vm: process.Process) -> None:
        code = await process.ended(vm)
        self.process, self.vm = None, VmState.ABSENT
        if not self._stopping and self.applied is not None:
            self.ledger = after_exit(self.applied, self.ledger, code, now())
            self._save()
            self.journal.write("domain.exited", severity="warning", domain=self.name, pid=vm.pid,
                               code=code, cause="exit")
        self.wake()

    async def _act(self, step: Step) -> None:
        if step in (Step.START, Step.START_PAUSED):
            await self._start(paused=step is Step.START_PAUSED)
        elif step is Step.STOP:
            await self._stop()
        elif step is Step.FORGET:
            self.forgotten = True
            shutil.rmtree(self.directory, ignore_errors=True)
            self.journal.write("domain.destroyed", domain=self.name)
        elif self.qmp is None:
            raise QmpError("no QMP connection")
        else:
            await self.qmp.execute("stop" if step is Step.PAUSE else "cont",
                                   self.settings.qmp_timeout)
            self.journal.write("domain.paused" if step is Step.PAUSE else "domain.resumed",
                               domain=self.name)

    async def _start(self, *, paused: bool) -> None:
        domain = self.domain or self.applied
        if domain is None:
            raise process.StartFailed("no definition")
        boot = domain.machine.boot
        if boot.nvram and boot.nvram_template:
            await asyncio.to_thread(_copy_once, boot.nvram_template, boot.nvram)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        program = [*self.settings.hypervisor,
                   *arguments(domain.machine, self.directory, paused=paused)]
        if self.domain is not None and self.text:
            (self.directory / "definition.xml").write_bytes(self.text)
        self.applied = domain
        self._stopping = True  # until it is up, an end is a failed start, not an exit
        try:
            vm = self.process = process.launch(program, self.directory)
            self._save()
            self._follow(vm)
            deadline = time.monotonic() + START_TIMEOUT
            while self.qmp is None:
                if self.process is None:
                    raise process.StartFailed(process.reason(self.directory))
                with contextlib.suppress(QmpError):
                    self.qmp = await Qmp.connect(self.directory / "qmp.sock", self._event,
                                                 self.settings.qmp_timeout)
                    break
                if time.monotonic() > deadline:
                    await self._stop()
                    raise process.StartFailed("no QMP socket in time")
                await asyncio.sleep(0.002)
        finally:
            self._stopping = False
        self.vm = VmState.PAUSED if paused else VmState.RUNNING
        self.ledger = replace(self.ledger, error="")
        self.journal.write("domain.started", domain=self.name, pid=vm.pid, paused=paused)

    async def _stop(self) -> None:
        vm, watch = self.process, self._watch
        if vm is None or watch is None:
            if process.locked(self.directory):
                raise QmpError("a process holds the lock and cannot be recognised")
            return
        policy = (self.applied.policy if self.applied else None)
        patience = policy.stop_timeout if policy and policy.stop is StopMode.GRACEFUL else 1.0
        self._stopping = True
        try:
            if self.qmp:
                with contextlib.suppress(QmpError):
                    await self.qmp.execute("quit", min(patience, self.settings.qmp_timeout))
            for number in (signal.SIGTERM, signal.SIGKILL, None):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await asyncio.shield(watch)
                    break
                if number:
                    process.send(vm, number)
        finally:
            self._stopping = False
        if self.process is not None:
            raise QmpError("the process does not end, not even by SIGKILL")
        self.journal.write("domain.stopped", domain=self.name, pid=vm.pid)

    def status(self) -> dict[str, Any]:
        """This domain's part of status.json."""
        domain, plan = self.domain or self.applied, self.plan
        ready = "True" if plan.ready else "Unknown" if plan.steps else "False"
        conditions = [condition("Ready", ready, plan.reason, plan.message, self.since)]
        if plan.stalled:
            conditions.append(condition("Stalled", "True", plan.reason, plan.message, self.since))
        if self.invalid:
            conditions.append(condition("Valid", "False", "InvalidDefinition", self.invalid,
                                        self.since))
        return {"name": self.name, "uuid": domain.uuid if domain else None,
                "file": domain.file if domain else None, "generation": self.generation,
                "desired": {"state": domain.policy.state if domain else Wanted.STOPPED},
                "observed": {"state": self.vm, "pid": self.process.pid if self.process else None},
                "conditions": conditions, "pending": list(plan.pending),
                "warnings": [str(w) for w in domain.warnings] if domain else [],
                "restarts": len(self.ledger.crashes)}


def _check_files(domain: Domain) -> None:
    """Before a VM is stopped for a new definition: all that this one needs is there (rule 7)."""
    boot = domain.machine.boot
    nvram = boot.nvram_template if boot.nvram and not os.path.exists(boot.nvram) else boot.nvram
    paths = (boot.kernel, boot.initrd, boot.loader, nvram, *(d.path for d in domain.machine.disks))
    for path in paths:
        if path and not os.path.exists(path):
            raise process.StartFailed(f"the new definition needs {path}, which is not there; "
                                      "the VM runs on as before")


def _copy_once(template: str, target: str) -> None:
    """Make the VM's own variables from their template; whole or not at all."""
    if not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(template, target + ".new")
        os.replace(target + ".new", target)


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
