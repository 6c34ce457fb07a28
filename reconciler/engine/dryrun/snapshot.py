"""What is known of each domain and what runs of it, for commands that decide nothing: only read.

Works with a reconciler or beside one: records are files, the lock is the kernel's, and the VM is
asked by the second monitor, so that the reconciler keeps its own. The states are made by the same
transitions as the engine's.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.chosen import restored
from reconciler.domain.model import InvalidDomain
from reconciler.domain.reader import read_domain
from reconciler.engine.composition import decision_config, reading_host
from reconciler.engine.control.environment import clocks
from reconciler.engine.control.running_definition import load as load_running
from reconciler.engine.decide.events import Loaded, Observed, Probed, RunningFound
from reconciler.engine.decide.inputs import HealthStatus, Hold, ProbeResult, Vm, VmState
from reconciler.engine.decide.state import DomainState
from reconciler.engine.decide.transition import transition
from reconciler.engine.records.store import Store
from reconciler.engine.source.loader import InForce, in_force
from reconciler.errors import HostError, QmpError
from reconciler.stratovirt import process
from reconciler.stratovirt.command_line import MONITOR_SOCKET
from reconciler.stratovirt.qmp import Qmp
from reconciler.stratovirt.record import boot_id, load

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.domain.model import Domain
    from reconciler.engine.decide.events import Event
    from reconciler.engine.decide.inputs import Now
    from reconciler.engine.decide.state import DecisionConfig, DomainRecord, StoredDefinition
    from reconciler.settings import Settings
    from reconciler.stratovirt.record import Record

AT_ONCE = 32  # VMs that are asked at the same time


@dataclass(frozen=True, slots=True)
class KnownDomain:
    """One domain as it is kept, and as it runs."""

    state: DomainState
    process: Record | None = None  # the record beside its VM's lock

    def token(self) -> dict[str, Any]:
        """What must be the same for a plan to hold: no counters, no times of day."""
        record, alive = self.state.record, self.process if (
            self.state.vm.state is not VmState.ABSENT) else None
        kept = record.definition
        running = self.state.running.stored if self.state.running is not None else None
        return {"domain": record.name, "generation": record.generation,
                "definition": digest(kept.data) if kept is not None else "",
                "state": str(self.state.vm.state),
                "process": f"{alive.pid}/{alive.started}" if alive is not None else "",
                "applied": digest(running.data) if alive is not None and running else ""}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of them, by uuid; and the hold of all domains, if there is one."""

    domains: dict[str, KnownDomain] = field(default_factory=dict)
    hold: Hold | None = None

    @property
    def names(self) -> dict[str, str]:
        """By uuid."""
        return {uuid: known.state.name for uuid, known in self.domains.items()}

    @property
    def files(self) -> dict[str, str]:
        """The file of each definition in force, by uuid."""
        return {uuid: known.state.record.definition.file for uuid, known in self.domains.items()
                if known.state.record.definition is not None}

    @property
    def in_force(self) -> dict[str, InForce]:
        """What new definitions are compared with, by uuid."""
        return {uuid: in_force(known.state) for uuid, known in self.domains.items()}


def digest(data: bytes) -> str:
    """A name for contents."""
    return hashlib.sha256(data).hexdigest()


async def take(settings: Settings) -> Snapshot:
    """Everything, as it is now; raises HostError where it may not be read."""
    for place in (settings.state / "domains", settings.runtime / "vms"):
        if place.exists() and not os.access(place, os.R_OK | os.X_OK):
            raise HostError(f"{place}: permission denied",
                            hint="run the command as the user that runs the reconciler")
    store, now = Store(settings.state / "domains"), clocks()
    config = decision_config(settings, boot_id(), now.clock)
    homes = _homes(settings.runtime / "vms")
    lane = asyncio.Semaphore(AT_ONCE)

    async def known(record: DomainRecord) -> tuple[str, KnownDomain]:
        async with lane:
            home = homes.get(record.uuid, settings.runtime / "vms" / record.name)
            return record.uuid, await _known(settings, config, record, home, now)

    found = await asyncio.gather(*map(known, store.all(config.boot_id)))
    return Snapshot(dict(found), store.hold)


def after(state: DomainState, *events: Event) -> DomainState:
    """The state after these events; what would follow for the outside is dropped."""
    for event in events:
        state, _ = transition(state, event)
    return state


def _homes(vms: Path) -> dict[str, Path]:
    """Where each VM runs: one that was renamed, and not recreated yet, under its old name."""
    if not vms.is_dir():
        return {}
    records = ((home, load(home)) for home in sorted(vms.iterdir()))
    return {record.uuid: home for home, record in records if record is not None}


async def _known(settings: Settings, config: DecisionConfig, record: DomainRecord, home: Path,
                 now: Now) -> KnownDomain:
    def read(stored: StoredDefinition | None) -> Domain | None:
        if stored is None:
            return None
        host = reading_host(settings).as_of(stored.read_with)
        try:
            return restored(read_domain(stored.data, stored.file, host), stored.read_with)
        except InvalidDomain:
            return None

    vm, process_record = await _observe(home, settings.reconcile.qmp_timeout), load(home)
    if process_record is not None and vm.state is not VmState.ABSENT:
        vm = replace(vm, pid=process_record.pid, least_vcpus=process_record.vcpus,
                     uncertain=process_record.uncertain, foreign=process_record.foreign,
                     generation=process_record.generation)
    running = load_running(home, process_record, record.definition, read)
    state = after(
        DomainState(record, config),
        Loaded(now, read(record.definition), read(record.last_known_good), home.name),
        RunningFound(now, running), Observed(now, vm))
    if process_record is not None and state.record.last_healthy == (
            f"{process_record.pid}:{process_record.started}"):
        # The guest is not probed here: what was seen of this process counts.
        state = after(state, Probed(now, ProbeResult(HealthStatus.HEALTHY, message=""),
                                    state.record.last_healthy))
    return KnownDomain(state, process_record)


async def _observe(home: Path, limit: float) -> Vm:
    """By the second monitor: the reconciler must find its own one free."""
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
