"""A model of the hypervisor, and a site on which controllers keep its VMs in simulated time.

`ModelMachine` stands where stratovirt.vm.VirtualMachine stands. A test says what goes wrong
(`Hypervisor.faults`), what happens while an action is under way (`Hypervisor.during`), and reads
what was asked of the hypervisor, in its order (`Hypervisor.calls`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.domain.model import Domain
from reconciler.domain.reader import read_domain
from reconciler.engine.composition import decision_config, reading_host
from reconciler.engine.control.controller import DomainController
from reconciler.engine.control.environment import Environment
from reconciler.engine.decide.events import DefinitionAccepted, Priority
from reconciler.engine.decide.inputs import Now, Surroundings, Vm, VmState
from reconciler.engine.decide.state import DomainRecord, StoredDefinition
from reconciler.engine.records.archive import Archive
from reconciler.engine.records.store import Store
from reconciler.report.events import Journal
from reconciler.settings import load
from reconciler.stratovirt.observation import EndedBy, ExitEvidence
from reconciler.stratovirt.prepare import HostResources
from reconciler.stratovirt.record import Record
from tests.values import xml

BOOT = "this boot"
CONFIG = """
paths: {{runtime: run, state: state, images: images}}
hypervisor: {{path: simulator}}
reconcile: {{jitter: 0%, resync: 100s, concurrency: {concurrency}}}
"""


@dataclass
class Process:
    pid: int
    state: VmState
    started: int = 0


@dataclass
class Hypervisor:
    """Processes and records, by the name of their directory."""

    processes: dict[str, Process] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    faults: dict[str, Exception] = field(default_factory=dict)
    during: dict[str, Callable[[], object]] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)  # seconds that an action takes
    consoles: dict[str, str] = field(default_factory=dict)
    pids: itertools.count = field(default_factory=lambda: itertools.count(100))

    def act(self, name: str) -> None:
        self.calls.append(name)
        if name in self.during:
            self.during[name]()
        if name in self.faults:
            raise self.faults[name]

    async def take(self, name: str) -> None:
        self.act(name)
        await asyncio.sleep(self.waits.get(name, 0.0))


class ModelMachine:
    def __init__(self, hypervisor: Hypervisor, home: Path, uuid: str, listener) -> None:
        self._hypervisor, self.home, self.uuid, self._listener = hypervisor, home, uuid, listener
        found = hypervisor.records.get(home.name)
        self.record = found if found is not None and found.uuid == uuid else None
        self._stop_requested = False
        self.closed = False

    @property
    def process(self) -> Process | None:
        return self._hypervisor.processes.get(self.home.name)

    def _keep(self, record: Record) -> None:
        self.record = self._hypervisor.records[self.home.name] = record

    async def observe(self) -> Vm:
        await self._hypervisor.take("observe")
        found = self.process
        if found is None:
            return Vm(VmState.ABSENT)
        starting = self.record is not None and self.record.pending_action == "start"
        state = VmState.STARTING if starting else found.state
        problem = "it does not answer" if state is VmState.UNKNOWN else ""
        return Vm(state, found.pid, problem,
                  generation=self.record.generation if self.record is not None else 0)

    async def consoles(self) -> dict[str, str]:
        await self._hypervisor.take("consoles")
        return self._hypervisor.consoles

    def exit_evidence(self) -> ExitEvidence:
        return ExitEvidence(signal=9)

    def mark_ended(self) -> None:
        self._hypervisor.act("mark-ended")
        self._keep(replace(self.record, pid=None, started=None, pending_action=""))

    def prepare(self, request) -> HostResources:
        self._hypervisor.act("prepare")
        return HostResources(host_devices=("0000:00:1f.7",))

    def launch(self, request, made, started_at) -> int:
        self._keep(Record(request.domain.name, request.domain.uuid, request.generation, BOOT,
                          pending_action="start", places=dict(request.layout.places),
                          read_with=request.read_with, file=request.domain.file,
                          ports={port.index: port.place for port in request.layout.ports}))
        self._hypervisor.act("launch-paused" if request.paused else "launch")
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "definition.xml").write_bytes(request.text)
        state = VmState.PAUSED if request.paused else VmState.RUNNING
        pid = next(self._hypervisor.pids)
        self._hypervisor.processes[self.home.name] = Process(pid, state)
        self._keep(replace(self.record, pid=pid, started=0))
        return pid

    async def wait_until_up(self) -> None:
        await self._hypervisor.take("wait")
        self._keep(replace(self.record, pending_action=""))

    async def pause(self) -> None:
        await self._hypervisor.take("pause")
        self.process.state = VmState.PAUSED

    async def resume(self) -> None:
        await self._hypervisor.take("resume")
        self.process.state = VmState.RUNNING

    async def adjust(self, change, text, *, manage_taps) -> None:
        await self._hypervisor.take(" ".join(["adjust", *(c.name for c in change.commands)]))
        self.save_definition(text)

    def save_definition(self, text) -> None:
        (self.home / "definition.xml").write_bytes(text)
        self._keep(replace(self.record, updated=True))

    async def stop(self, mode, patience, *, agent_socket=None, power_button=False) -> EndedBy:
        self._stop_requested = True
        asked = [f" by {agent_socket}"] if agent_socket else []
        await self._hypervisor.take("".join([
            f"stop {mode} {patience:g}", *asked, *([" by the button"] if power_button else [])]))
        self.end(ExitEvidence(code=0))
        return EndedBy.GUEST if asked and mode == "graceful" else EndedBy.QUIT

    def end(self, evidence: ExitEvidence) -> None:
        """The process ends, requested or not."""
        self._hypervisor.processes.pop(self.home.name, None)
        requested, self._stop_requested = self._stop_requested, False
        if self.record is not None:
            self._keep(replace(self.record, pid=None, started=None, pending_action=""))
        self._listener.on_end(evidence, requested=requested)

    def forget(self) -> None:
        self._hypervisor.act("forget")
        self._hypervisor.records.pop(self.home.name, None)
        self.record = None

    def occupied(self) -> bool:
        return self.process is not None

    def change_uuid(self, uuid: str) -> None:
        self._hypervisor.calls.append(f"uuid {uuid}")
        self.uuid = uuid

    def abandon(self) -> None:
        self._hypervisor.calls.append(f"abandon {self.home.name}")

    def close(self) -> None:
        self.closed = True


class Site:
    """One environment; domains are added by `domain`."""

    def __init__(self, path: Path, concurrency: int = 4) -> None:
        for name in ("images", "state", "run/vms"):
            (path / name).mkdir(parents=True)
        (path / "images" / "fw.fd").write_bytes(b"x")
        (path / "config.yaml").write_text(CONFIG.format(concurrency=concurrency))
        self.path = path
        self.hypervisor = Hypervisor()
        self.events: list[dict] = []
        self.around = Surroundings()
        self.wakes: list[Priority] = []
        self.changes: list = []
        self.watched: dict[Path, Callable[[], None]] = {}
        self.tasks: list[asyncio.Task] = []
        self.machines: list[ModelMachine] = []
        settings = load(path / "config.yaml", {})
        self.settings = settings
        self.host = reading_host(settings)
        self.store = Store(settings.state / "domains")
        self.environment = Environment(
            settings=settings, journal=Journal(settings.state / "events.jsonl", self.heard),
            store=self.store, archive=Archive(settings.state), host=self.host, program=["sim"],
            simulated=True, config=decision_config(settings, BOOT, 1000.0), machine=self.machine,
            parse=read_domain, changed=self.changes.append,
            surroundings=lambda state: self.around, watch_directories=self.watch, spawn=self.spawn,
            clocks=self.clocks)

    def clocks(self) -> Now:
        time = asyncio.get_running_loop().time()
        return Now(1000.0 + time, 1_800_000_000.0 + time)

    def heard(self, event: dict) -> None:
        self.events.append(event)
        self.hypervisor.calls.append(event["event"])

    def machine(self, name: str, uuid: str, listener) -> ModelMachine:
        found = ModelMachine(self.hypervisor, self.path / "run" / "vms" / name, uuid, listener)
        self.machines.append(found)
        return found

    def watch(self, directories, changed) -> list[Callable[[], None]]:
        for directory in directories:
            self.watched[directory] = changed
        return [self.watched.clear]

    def spawn(self, work, name: str) -> asyncio.Task:
        task = asyncio.create_task(work, name=name)
        self.tasks.append(task)
        return task

    def read(self, name: str = "a", state: str = "running", **values) -> tuple[Domain, bytes]:
        (self.path / "images" / f"{name}.img").touch()
        text = xml(name, state, **values)
        return read_domain(text, f"{name}.xml", self.host), text

    def accept(self, controller: DomainController, name: str = "a", state: str = "running",
               **values) -> None:
        """A definition comes; the identity of the domain stays."""
        self.accept_text(controller, self.read(name, state, **values)[1], f"{name}.xml")

    def accept_text(self, controller: DomainController, text: bytes, file: str = "a.xml") -> None:
        domain = replace(read_domain(text, file, self.host), uuid=controller.uuid)
        controller.apply(DefinitionAccepted(
            self.environment.now(), domain, StoredDefinition(
                text.decode(), file, "main@1", self.host.keep())))

    def load(self, record: DomainRecord, home: str = "") -> DomainController:
        return DomainController(record, self.environment, self.wakes.append, home)

    def domain(self, name: str = "a", state: str = "running", **values) -> DomainController:
        """A domain with its first definition, which was not looked at yet."""
        domain, _ = self.read(name, state, **values)
        controller = self.load(DomainRecord(domain.uuid, name))
        self.accept(controller, name, state, **values)
        self.forget_calls()
        return controller

    async def up(self, name: str = "a", state: str = "running", **values) -> DomainController:
        """A domain that runs as its file says."""
        controller = self.domain(name, state, **values)
        await controller.reconcile(Priority.FILE)
        assert controller.state.plan.is_ready
        self.forget_calls()
        return controller

    def forget_calls(self) -> None:
        self.hypervisor.calls.clear()
        self.events.clear()
        self.wakes.clear()

    @property
    def acts(self) -> list[str]:
        """What was asked of the hypervisor, and what was reported, without mere looks."""
        return [call for call in self.hypervisor.calls if call not in ("observe", "consoles")]

    def told(self, name: str) -> list[dict]:
        return [event for event in self.events if event["event"] == name]

    def close(self) -> None:
        self.environment.journal.close()
