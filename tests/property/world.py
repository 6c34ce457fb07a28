"""A model of a host: VM processes that can be started, hang, fail and die, in simulated time.

It stands where stratovirt.machine.VirtualMachine stands, and knows its promises: one process a
lock, intents kept across a kill of the reconciler, ends told to every listener.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.domain.devices import Interface
from reconciler.domain.model import Domain
from reconciler.engine.control.running_definition import of_layout
from reconciler.engine.daemon import Daemon
from reconciler.engine.decide.inputs import Now
from reconciler.errors import (
    GuestUnwilling,
    HostError,
    HypervisorError,
    QmpRefused,
    QmpTimedOut,
    StartFailed,
    StopFailed,
)
from reconciler.stratovirt.observation import ExitEvidence, Vm, VmState
from reconciler.stratovirt.prepare import HostResources
from reconciler.stratovirt.record import Record

MOST_MEMORY = 600 << 20  # for all VMs together


@dataclass
class Process:
    pid: int
    domain: Domain  # what it has got, complete
    running: bool
    plugged: set[str] = field(default_factory=set)  # the ids of devices that come and go
    links: dict[str, bool] = field(default_factory=dict)


@dataclass
class World:
    """What outlives the reconciler: processes, records, and the faults that are wished for."""

    processes: dict[str, Process] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    definitions: dict[str, tuple[bytes, dict]] = field(default_factory=dict)
    listeners: dict[str, ModelMachine] = field(default_factory=dict)
    faults: dict[str, set[str]] = field(default_factory=dict)
    acts: list[tuple[str, str]] = field(default_factory=list)
    held: set[str] = field(default_factory=set)  # domains that are held
    judge: object = None  # called before every stop
    pids: itertools.count = field(default_factory=lambda: itertools.count(100))

    def faulty(self, name: str, what: str) -> bool:
        return what in self.faults.get(name, set())

    def end(self, name: str, evidence: ExitEvidence) -> None:
        """A process ends, requested or not."""
        del self.processes[name]
        machine = self.listeners.get(name)
        if machine is not None:
            machine.ended(evidence)


class ModelMachine:
    def __init__(self, world: World, home: Path, uuid: str, listener) -> None:
        self.world, self.home, self.uuid, self.listener = world, home, uuid, listener
        kept = world.records.get(home.name)
        self.record = kept if kept is not None and kept.uuid == uuid else None
        self.stop_requested = self.record is not None and self.record.pending_action == "stop"
        world.listeners[home.name] = self

    @property
    def name(self) -> str:
        return self.home.name

    @property
    def process(self) -> Process | None:
        return self.world.processes.get(self.name)

    def _keep(self, record: Record | None) -> None:
        self.record = record
        if record is not None:
            self.world.records[self.name] = record

    async def observe(self) -> Vm:
        await asyncio.sleep(0)
        found = self.process
        if found is None:
            return Vm(VmState.ABSENT)
        if self.world.faulty(self.name, "hang"):
            await asyncio.sleep(10)
            return Vm(VmState.UNKNOWN, found.pid, "it does not answer")
        return Vm(VmState.RUNNING if found.running else VmState.PAUSED, found.pid,
                  uncertain=self.record.uncertain, generation=self.record.generation)

    async def consoles(self) -> dict[str, str]:
        return {}

    def exit_evidence(self) -> ExitEvidence:
        return ExitEvidence(socket_left=True)

    def mark_ended(self) -> None:
        if self.record is not None:
            self._keep(replace(self.record, pid=None, started=None, pending_action="",
                               updated=False, uncertain=False))

    def prepare(self, order) -> HostResources:
        return HostResources()

    def _may(self, domain) -> None:
        """Never more VMs than memory; no start of a held domain, none before its dependencies."""
        processes = self.world.processes
        assert self.name not in self.world.held, f"{self.name} is started although it is held"
        taken = sum(p.domain.memory for p in processes.values())
        assert taken + domain.memory <= MOST_MEMORY, f"{self.name}: no memory is left for it"
        before = [act for name, act in self.world.acts if name == self.name]
        if before[-1:] != ["stop"]:  # a recreate waits for no other domain
            for wanted in domain.policy.depends_on:
                assert wanted.domain in processes, f"{self.name} before {wanted.domain}"

    def launch(self, order, made, started_at) -> int:
        assert self.name not in self.world.processes, "two processes of one domain"
        self._may(order.domain)
        self.world.acts.append((self.name, "start"))
        kept = Record(order.domain.name, order.domain.uuid, order.generation, "boot",
                      pending_action="start", places=dict(order.layout.places),
                      read_with=order.read_with, file=order.domain.file,
                      ports={port.index: port.place for port in order.layout.ports})
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "definition.xml").write_bytes(order.text)
        if self.world.faulty(self.name, "start"):
            self.mark_ended()
            raise StartFailed("the model says no")
        pid = next(self.world.pids)
        plugged = {d.alias for d in order.domain.devices if d.HOTPLUG}
        self.world.processes[self.name] = Process(
            pid, of_layout(order.domain, order.layout), not order.paused, plugged,
            {d.alias: True for d in order.domain.devices if isinstance(d, Interface)})
        self.stop_requested = False
        self._keep(replace(kept, pid=pid, started=pid))
        return pid

    async def wait_until_up(self) -> None:
        await asyncio.sleep(0.03)
        if self.process is None:
            raise StartFailed("it died while it started")
        if self.world.faulty(self.name, "never-up"):
            await asyncio.sleep(30)
            if self.process is not None:
                self.stop_requested = True
                self.world.end(self.name, ExitEvidence(code=0))
            raise StartFailed("it was not up in time")
        self._keep(replace(self.record, pending_action=""))

    async def _command(self, running: bool) -> None:
        await asyncio.sleep(0.01)
        if self.world.faulty(self.name, "hang"):
            raise QmpTimedOut("it does not answer")
        if self.process is None:
            raise HypervisorError("it is not there")
        self.world.acts.append((self.name, "resume" if running else "pause"))
        self.process.running = running
        self.listener.on_event("RESUME" if running else "STOP", {})

    async def pause(self) -> None:
        await self._command(running=False)

    async def resume(self) -> None:
        await self._command(running=True)

    async def adjust(self, change, text, *, manage_taps) -> None:
        """Each command does what StratoVirt's does, and nothing that StratoVirt would refuse."""
        if self.world.faulty(self.name, "host"):
            raise HostError("the model's host has no such bridge")
        self._keep(replace(self.record, uncertain=True))
        for command in change.commands:
            await asyncio.sleep(0.01)
            if self.world.faulty(self.name, "hang"):
                raise QmpTimedOut("it does not answer")
            if self.process is None:
                raise HypervisorError("it is not there")
            if command.name in ("device_add", "device_del"):
                self.world.acts.append((self.name, command.name))
                await self._plug(command)
            elif command.name == "netlink_set":
                self.world.acts.append((self.name, command.name))
                self.process.links[command.arguments["id"]] = command.arguments["up"]
        self.process.domain = change.after
        self.save_definition(text)

    async def _plug(self, command) -> None:
        name, plugged = command.arguments["id"], self.process.plugged
        if self.world.faulty(self.name, "plug"):
            self._keep(replace(self.record, uncertain=False))
            if command.name == "device_add":
                raise QmpRefused("the model says no")
            await asyncio.sleep(10)
            raise GuestUnwilling("the model's guest keeps it")
        if command.name == "device_add":
            assert name not in plugged, f"{name} twice"
            plugged.add(name)
            if "netdev" in command.arguments:
                self.process.links[name] = True
        else:
            assert name in plugged, f"{name} is not there"
            assert self.process.running, "a paused guest cannot agree"
            plugged.remove(name)
            self.process.links.pop(name, None)

    def save_definition(self, text) -> None:
        (self.home / "definition.xml").write_bytes(text)
        self._keep(replace(self.record, uncertain=False, updated=True))

    async def stop(self, mode, patience, **_) -> None:
        if self.process is None:
            return
        assert self.name not in self.world.held, f"{self.name} is stopped although it is held"
        self.world.judge(self.name, self.process)
        self.world.acts.append((self.name, "stop"))
        self.stop_requested = True
        self._keep(replace(self.record, pending_action="stop"))
        await asyncio.sleep(0.02)
        if self.world.faulty(self.name, "stop"):
            await asyncio.sleep(15)
            raise StopFailed("it does not end")
        if self.process is not None:
            self.world.end(self.name, ExitEvidence(code=0))

    def ended(self, evidence: ExitEvidence) -> None:
        requested, self.stop_requested = self.stop_requested, False
        self.mark_ended()
        self.listener.on_end(evidence, requested=requested)

    def forget(self) -> None:
        if self.process is None:
            self.world.records.pop(self.name, None)
            self.record = None
            for file in self.home.glob("*"):
                file.unlink()
            if self.home.exists():
                self.home.rmdir()

    def occupied(self) -> bool:
        return self.process is not None

    def change_uuid(self, uuid: str) -> None:
        self.uuid = uuid
        if self.record is not None:
            self._keep(replace(self.record, uuid=uuid))

    def abandon(self) -> None:
        if self.process is None and self.record is not None:
            self.forget()

    def close(self) -> None:
        if self.world.listeners.get(self.name) is self:
            del self.world.listeners[self.name]


class ModelDaemon(Daemon):
    """The engine as it is, in that world."""

    world: World

    def machine(self, name, uuid, listener):
        return ModelMachine(self.world, self.vms / name, uuid, listener)

    def now(self) -> Now:
        time = asyncio.get_running_loop().time()
        return Now(1000.0 + time, 1_800_000_000.0 + time)
