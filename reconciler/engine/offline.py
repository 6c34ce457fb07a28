"""Plans and explanations without a running reconciler: the same functions on the same facts."""

from __future__ import annotations

import asyncio
import platform
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.expand import expand
from reconciler.domain.model import Domain, InvalidDomain
from reconciler.domain.numbers import complete, of_text
from reconciler.domain.reader import read_domain
from reconciler.engine.applied import of_record
from reconciler.engine.case import Case, Removal, Vm, VmState
from reconciler.engine.context import clocks
from reconciler.engine.intake import Definitions, Intake
from reconciler.engine.ledger import changed
from reconciler.engine.plan import plan
from reconciler.engine.show import expanded_from, explain_domain, plan_value
from reconciler.engine.site import admission, reading_host, variables
from reconciler.engine.store import Memory, Store
from reconciler.errors import QmpError, SourceError
from reconciler.sources.directory import Directory
from reconciler.sources.listing import DEFAULTS
from reconciler.stratovirt import binary, process
from reconciler.stratovirt.command_line import MONITOR_SOCKET
from reconciler.stratovirt.qmp import Qmp
from reconciler.stratovirt.record import DEFINITION, boot_id, load

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.settings import Settings


async def plans(settings: Settings, name: str | None) -> dict[str, Any]:
    """What a reconciler would do if it were started now."""
    memories = {m.uuid: m for m in Store(settings.state / "domains").all(boot_id())}
    try:
        found, error = _definitions(settings, memories), ""
    except SourceError as problem:
        found, error = Definitions(), str(problem)
    chosen: list[dict[str, Any]] = []
    keys: set[str] = set()
    for domain in sorted(found.accepted.values(), key=lambda domain: domain.name):
        memory = memories.get(domain.uuid, Memory(domain.uuid, domain.name))
        keys.add(domain.uuid)
        case = await _case(settings, memory, domain)
        chosen.append(plan_value(domain.name, domain.uuid, domain.file,
                                 plan(case, clocks())))
    for uuid, memory in memories.items():
        gone = uuid not in keys and not error and not found.rejected
        if gone:
            case = await _case(settings, memory, None)
            chosen.append(plan_value(memory.name, uuid, None, plan(case, clocks())))
    invalid = [{"file": r.file, "domain": r.name, "reason": r.reason,
                "errors": [str(p) for p in r.problems]} for r in found.rejected]
    return {"plans": [p for p in chosen if name in (None, p["name"], p["uuid"])],
            "invalid": invalid if name is None else [], "sourceError": error,
            "elsewhere": list(found.elsewhere) if name is None else []}


def explain(settings: Settings, name: str) -> dict[str, Any] | None:
    """Everything filled in, for a domain that no reconciler keeps now."""
    memories = {m.uuid: m for m in Store(settings.state / "domains").all(boot_id())}
    found = _definitions(settings, memories)
    for key, domain in found.accepted.items():
        if name in (domain.name, domain.uuid):
            source = found.sources[key]
            places = memories[domain.uuid].places if domain.uuid in memories else {}
            program = [*binary.find(settings).program, *settings.hypervisor.arguments]
            host = reading_host(settings)
            own = complete(read_domain(source.data, domain.file, host), found.numbers.get(key, {}))
            return explain_domain(own, source.data, places, settings.defaults.spare_ports, program,
                                  settings.runtime / "vms" / domain.name, host.defaults) | (
                expanded_from(domain.file, source.note))
    return None


def _definitions(settings: Settings, memories: dict[str, Memory]) -> Definitions:
    listing = Directory(settings.domains, settings.source.include, 0.0).look()
    if DEFAULTS in listing.unfinished:
        raise SourceError(f"{settings.domains / DEFAULTS}: somebody writes it just now")
    intake = Intake(reading_host(settings), admission(settings), platform.node(), expand,
                    variables=variables(settings))
    known = {uuid: memory.definition for uuid, memory in memories.items() if memory.definition}
    return intake.definitions(
        listing, {uuid: text.file for uuid, text in known.items()},
        {uuid: of_text(text.read_with.get("numbers", "")) for uuid, text in known.items()})


async def _case(settings: Settings, memory: Memory, domain: Domain | None) -> Case:
    home = settings.runtime / "vms" / memory.name
    vm = await _observe(home, settings.reconcile.qmp_timeout)
    record = load(home)
    applied = None
    if record is not None and vm.state is not VmState.ABSENT:
        try:
            found = complete(read_domain((home / DEFINITION).read_bytes(), record.file,
                                         reading_host(settings).as_of(record.read_with)),
                             of_text(record.read_with.get("numbers", "")))
            applied = of_record(found, record)
            vm = replace(vm, least_vcpus=record.vcpus, uncertain=record.uncertain,
                         foreign=record.foreign, generation=record.generation)
        except (OSError, InvalidDomain):
            applied = None
    kept = _kept(settings, memory)
    newer = domain is not None and domain != kept
    generation = memory.generation + (1 if newer else 0)
    return Case(domain=domain or kept, vm=vm, generation=generation, applied=applied,
                ledger=changed(memory.ledger) if newer else memory.ledger, hold=memory.hold,
                removal=Removal.NONE if domain is not None else Removal.PROVEN)


def _kept(settings: Settings, memory: Memory) -> Domain | None:
    text = memory.definition
    if text is None:
        return None
    try:
        return complete(read_domain(text.data, text.file,
                                    reading_host(settings).as_of(text.read_with)),
                        of_text(text.read_with.get("numbers", "")))
    except InvalidDomain:
        return None


async def _observe(home: Path, limit: float) -> Vm:
    """By the monitor for people: the reconciler that comes next shall find its own one free."""
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
