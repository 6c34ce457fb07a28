"""What is known of each domain and what runs of it, for commands that decide nothing: only read.

Works with a reconciler or beside one: memories and records are files, the lock is the kernel's, and
the VM is asked by the monitor for people, so that the reconciler keeps its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.model import InvalidDomain
from reconciler.domain.numbers import complete, of_text
from reconciler.domain.reader import read_domain
from reconciler.engine.composition import reading_host
from reconciler.engine.control.running_definition import of_record
from reconciler.engine.decide.inputs import Hold, Vm, VmState
from reconciler.engine.records.store import DomainRecord, Store
from reconciler.errors import HostError, QmpError
from reconciler.stratovirt import process
from reconciler.stratovirt.command_line import MONITOR_SOCKET
from reconciler.stratovirt.qmp import Qmp
from reconciler.stratovirt.record import DEFINITION, boot_id, load

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.domain.model import Domain
    from reconciler.domain.numbers import Numbers
    from reconciler.engine.records.store import StoredDefinition
    from reconciler.settings import Settings
    from reconciler.stratovirt.record import Record

AT_ONCE = 32  # VMs that are asked at the same time


@dataclass(frozen=True, slots=True)
class KnownDomain:
    """One domain as it is kept, and as it runs."""

    memory: DomainRecord
    kept: Domain | None = None  # the definition that was accepted last
    good: Domain | None = None  # the one that came up last
    vm: Vm = Vm(VmState.ABSENT)
    applied: Domain | None = None
    record: Record | None = None
    text: bytes = b""  # the definition that its process was started with

    def token(self) -> dict[str, Any]:
        """What must be the same for a plan to hold: no counters, no times of day."""
        alive = self.record is not None and self.vm.state is not VmState.ABSENT
        kept = self.memory.definition
        return {"domain": self.memory.name, "generation": self.memory.generation,
                "definition": digest(kept.data) if kept is not None else "",
                "state": str(self.vm.state),
                "process": f"{self.record.pid}/{self.record.started}" if (
                    alive and self.record is not None) else "",
                "applied": digest(self.text) if alive else ""}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of them, by uuid; and the hold of all domains, if there is one."""

    domains: dict[str, KnownDomain] = field(default_factory=dict)
    hold: Hold | None = None

    @property
    def files(self) -> dict[str, str]:
        """In which file each definition in force was."""
        return {uuid: known.memory.definition.file for uuid, known in self.domains.items()
                if known.memory.definition is not None}

    @property
    def numbers(self) -> dict[str, Numbers]:
        """Those that were chosen for each, and stay."""
        return {uuid: of_text(known.memory.definition.read_with.get("numbers", ""))
                for uuid, known in self.domains.items() if known.memory.definition is not None}

    @property
    def definitions(self) -> dict[str, Domain]:
        """What each holds."""
        return {uuid: known.kept for uuid, known in self.domains.items() if known.kept is not None}

    def of(self, domain: Domain) -> KnownDomain:
        """By uuid, else by name; a new one otherwise."""
        found = self.domains.get(domain.uuid) or next(
            (k for k in self.domains.values() if k.memory.name == domain.name), None)
        return found or KnownDomain(DomainRecord(domain.uuid, domain.name))


def digest(data: bytes) -> str:
    """A name for contents."""
    return hashlib.sha256(data).hexdigest()


async def look(settings: Settings) -> Snapshot:
    """Everything, as it is now; raises HostError where we may not look."""
    for place in (settings.state / "domains", settings.runtime / "vms"):
        if place.exists() and not os.access(place, os.R_OK | os.X_OK):
            raise HostError(f"{place}: permission denied",
                            hint="ask as the user that runs the reconciler")
    store = Store(settings.state / "domains")
    homes = _homes(settings.runtime / "vms")
    lane = asyncio.Semaphore(AT_ONCE)

    async def known(memory: DomainRecord) -> tuple[str, KnownDomain]:
        async with lane:
            home = homes.get(memory.uuid, settings.runtime / "vms" / memory.name)
            return memory.uuid, await _known(settings, memory, home)

    return Snapshot(dict(await asyncio.gather(*map(known, store.all(boot_id())))), store.hold)


def _homes(vms: Path) -> dict[str, Path]:
    """Where each lives: one that was renamed, and not recreated yet, still under its old name."""
    if not vms.is_dir():
        return {}
    records = ((home, load(home)) for home in sorted(vms.iterdir()))
    return {record.uuid: home for home, record in records if record is not None}


async def _known(settings: Settings, memory: DomainRecord, home: Path) -> KnownDomain:
    vm = await _observe(home, settings.reconcile.qmp_timeout)
    found = KnownDomain(memory, _read(settings, memory.definition), _read(settings, memory.good),
                        vm,
                  record=load(home))
    record = found.record
    if record is None or vm.state is VmState.ABSENT:
        return found
    vm = replace(vm, pid=record.pid, least_vcpus=record.vcpus, uncertain=record.uncertain,
                 foreign=record.foreign, generation=record.generation)
    try:
        text = (home / DEFINITION).read_bytes()
        applied = complete(
            read_domain(text, record.file, reading_host(settings).as_of(record.read_with)),
            of_text(record.read_with.get("numbers", "")))
    except (OSError, InvalidDomain):
        return replace(found, vm=vm, applied=found.good)  # as the reconciler takes it to be
    return replace(found, vm=vm, applied=of_record(applied, record), text=text)


def _read(settings: Settings, text: StoredDefinition | None) -> Domain | None:
    if text is None:
        return None
    try:
        return complete(read_domain(text.data, text.file,
                                    reading_host(settings).as_of(text.read_with)),
                        of_text(text.read_with.get("numbers", "")))
    except InvalidDomain:
        return None


async def _observe(home: Path, limit: float) -> Vm:
    """By the monitor for people: the reconciler shall find its own one free."""
    if not await asyncio.to_thread(process.locked, home):
        return Vm(VmState.ABSENT)
    try:
        qmp = await Qmp.connect(home / MONITOR_SOCKET, lambda _n, _d: None, lambda: None, limit)
        try:
            answer = await qmp.execute("query-status", limit)
        finally:
            qmp.close()
    except QmpError as error:
        return Vm(VmState.UNKNOWN, problem=str(error))
    return Vm(VmState.RUNNING if answer["running"] else VmState.PAUSED)
