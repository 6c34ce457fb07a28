"""The engine against a model: files change, processes die, commands fail, the reconciler is killed.

From every state that is reached so, it converges to what the files say, never runs two processes
of a domain, never stops one without evidence, and then does nothing more.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reconciler.domain.devices import Interface
from reconciler.domain.difference import differences
from reconciler.domain.model import Impact, InvalidDomain
from reconciler.domain.reader import read_domain
from reconciler.engine.composition import reading_host
from reconciler.engine.decide.events import HoldSet, RestartAsked
from reconciler.engine.decide.inputs import Hold
from reconciler.report.events import Journal
from reconciler.settings import load
from reconciler.stratovirt.binary import Binary
from reconciler.stratovirt.observation import ExitEvidence
from tests.clock import SimulatedLoop
from tests.property.world import MOST_MEMORY, ModelDaemon, World
from tests.values import of_a_newer_version, xml

ALL = "abc"
NAMES = st.sampled_from(ALL)
PAUSES = st.sampled_from([0.0, 0.005, 0.04, 0.2, 1.0, 5.0])
STATES = st.sampled_from(["running", "paused", "stopped"])
MEMORY = st.sampled_from([128, 256])
INNER = st.sampled_from(["", "<r:update policy='manual'/>", "<r:prune policy='keep'/>",
                         "<r:restart policy='never'/>", "<r:update rollback='none'/>",
                         "<r:depends-on domain='a'/>", "<r:start wave='1'/>"])
FAULTS = st.sampled_from(["start", "never-up", "stop", "hang", "plug", "host"])
CARD = ("<interface type='ethernet'><mac address='52:54:00:00:00:0{name}'/><target dev='t-{name}'/>"
        "<link state='{link}'/></interface>")
SECOND = ("<disk type='file'><source file='{name}2.img'/><target dev='vdb' bus='virtio'/></disk>")
DEVICES = st.sampled_from(["", "", CARD.replace("{link}", "up"), CARD.replace("{link}", "down"),
                           SECOND, SECOND + CARD.replace("{link}", "down")])
# More by RECONCILER_EXAMPLES=2000.
EXAMPLES = int(os.environ.get("RECONCILER_EXAMPLES", "80"))
MOVED = "moved-"
LATER = ("silence", "accepted_at", "prune_held", "well", "history")  # keys that were added
CONFIG = """
source: {settle: 0s}
paths: {runtime: run, state: state, images: images}
hypervisor: {path: simulator}
reconcile: {max_unavailable: 1}
admission: {total_memory: 600MiB}
"""


def differs(process, wanted):
    """Whether the process lacks anything that this definition wants of one."""
    return any(change.impact is not Impact.NONE
               for change in differences(process.domain, wanted))


def of_an_older_version(path):
    """Without the keys that were added to records later."""
    value = json.loads(path.read_bytes())
    path.write_text(json.dumps({key: part for key, part in value.items() if key not in LATER}))


class Engine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp(prefix="model-"))
        (self.path / "domains").mkdir()
        (self.path / "images").mkdir()
        disks = [f"{name}{more}.img" for name in ALL for more in ("", "2")]
        for file in ("fw.fd", *disks):
            (self.path / "images" / file).write_bytes(b"x")
        (self.path / "config.yaml").write_text(CONFIG)
        self.settings = load(self.path / "config.yaml", {})
        self.world = World(judge=self.judge)
        self.runner = asyncio.Runner(loop_factory=SimulatedLoop)
        self.violations: list[AssertionError] = []
        self.faults_of_ours: list[dict] = []
        self.absent_since: dict[str, float] = {}
        self.restart_asked: set[str] = set()
        self.engine: ModelDaemon | None = None

    # What the model does

    @initialize(files=st.lists(st.tuples(STATES, MEMORY, INNER), min_size=3, max_size=3))
    def begin(self, files):
        for name, (state, memory, inner) in zip(ALL, files, strict=True):
            (self.path / "domains" / f"{name}.xml").write_bytes(xml(name, state, memory, inner))
        self.boot()
        self.note_files()
        self.let(0.1)

    def boot(self):
        random.seed(0)  # jitter shall be the same when an example is run again

        async def begin():
            ModelDaemon.world = self.world
            self.world.listeners.clear()
            self.journal = Journal(self.path / "state-events.jsonl", self.heard)
            self.engine = ModelDaemon(
                self.settings, Binary(("sim",), simulated=True), self.journal,
                reading_host(self.settings), read_domain)
            await self.engine.begin()
            self.looking = asyncio.create_task(self.engine.source.run())
            await asyncio.sleep(0.001)

        self.runner.run(begin())

    def heard(self, event):
        if event.get("reason") == "InternalError":
            self.faults_of_ours.append(event)

    def let(self, seconds: float) -> None:
        """Time passes."""
        self.runner.run(asyncio.sleep(seconds))

    def wake(self) -> None:
        self.engine.source.wake()
        self.let(0.001)

    def write(self, file: str, data: bytes) -> None:
        (self.path / "domains" / file).write_bytes(data)
        self.note_files()
        self.wake()

    def note_files(self) -> None:
        now = self.runner.get_loop().time()
        there = {domain.name for domain in self.valid().values()} | self.unclear()
        for name in ALL:
            if name in there:
                self.absent_since.pop(name, None)
            else:
                self.absent_since.setdefault(name, now)

    def valid(self):
        found = {}
        for path in sorted((self.path / "domains").glob("*.xml")):
            try:
                found[path.name] = read_domain(path.read_bytes(), path.name,
                                               reading_host(self.settings))
            except InvalidDomain:
                continue
        return found

    def unclear(self) -> set[str]:
        """Names that a file which cannot be read may stand for."""
        valid = self.valid()
        return {path.stem.removeprefix(MOVED) for path in (self.path / "domains").glob("*.xml")
                if path.name not in valid}

    def file(self, name: str) -> Path:
        """Where the file of a domain is now."""
        moved = self.path / "domains" / f"{MOVED}{name}.xml"
        return moved if moved.exists() else self.path / "domains" / f"{name}.xml"

    # What happens

    @rule(name=NAMES, state=STATES, memory=MEMORY, inner=INNER, devices=DEVICES, pause=PAUSES)
    def a_file_is_written(self, name, state, memory, inner, devices, pause):
        self.write(self.file(name).name, xml(name, state, memory, inner, devices.format(name=name)))
        self.let(pause)

    @rule(name=NAMES, state=STATES, pause=PAUSES)
    def a_state_is_edited(self, name, state, pause):
        path = self.file(name)
        if path.exists():
            self.write(path.name, re.sub(rb"state='\w+'", b"state='%s'" % state.encode(),
                                         path.read_bytes()))
            self.let(pause)

    @rule(name=NAMES, devices=DEVICES, pause=PAUSES)
    def devices_are_edited(self, name, devices, pause):
        path = self.file(name)
        text = path.read_text() if path.exists() else ""
        if "</disk>" in text:
            head, tail = text.partition("</disk>")[0], text.partition("</devices>")[2]
            inside = devices.format(name=name)
            self.write(path.name, f"{head}</disk>{inside}</devices>{tail}".encode())
            self.let(pause)

    @rule(name=NAMES)
    def a_file_is_broken(self, name):
        self.write(self.file(name).name, b"<domain><name>" + name.encode())

    @rule(name=NAMES, pause=PAUSES)
    def a_file_gets_another_name(self, name, pause):
        path = self.file(name)
        if path.exists():
            path.rename(path.with_name(path.name.removeprefix(MOVED) if MOVED in path.name
                                       else f"{MOVED}{path.name}"))
            self.note_files()
            self.wake()
            self.let(pause)

    @rule(name=NAMES)
    def a_file_goes(self, name):
        self.file(name).unlink(missing_ok=True)
        self.note_files()
        self.wake()

    @rule(name=NAMES, fault=FAULTS)
    def a_fault_begins(self, name, fault):
        self.world.faults.setdefault(name, set()).add(fault)

    @rule(name=NAMES)
    def faults_end(self, name):
        self.world.faults.pop(name, None)

    @rule(name=NAMES,
          how=st.sampled_from([ExitEvidence(signal=9), ExitEvidence(code=0), ExitEvidence(code=1)]))
    def a_process_ends(self, name, how):
        if name in self.world.processes:
            async def end():
                self.world.end(name, how)
            self.runner.run(end())

    @rule(name=NAMES, running=st.booleans())
    def somebody_meddles(self, name, running):
        found = self.world.processes.get(name)
        if found is not None and found.running is not running:
            found.running = running
            machine = self.world.listeners.get(name)
            if machine is not None:
                async def tell():
                    machine.listener.on_event("STOP", {})
                self.runner.run(tell())

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.5, 3.0, 40.0, 400.0]))
    def time_passes(self, seconds):
        self.let(seconds)

    @rule(name=NAMES)
    def somebody_asks_for_a_restart(self, name):
        async def ask():
            controller = self.engine.domains.named(name)
            if controller is not None and controller.state.domain is not None:
                self.restart_asked.add(name)
                controller.apply(RestartAsked(self.engine.environment.now()))
        self.runner.run(ask())

    @rule(name=NAMES, pause=PAUSES)
    def a_domain_is_held(self, name, pause):
        self.hold(name, Hold("", "me"))
        self.let(pause)

    @rule(name=NAMES)
    def a_domain_is_released(self, name):
        self.hold(name, None)

    def hold(self, name, hold):
        """From the moment of the answer on, nothing is started or stopped."""
        async def ask():
            controller = self.engine.domains.named(name)
            if controller is not None:
                controller.apply(HoldSet(self.engine.environment.now(), hold))
                (self.world.held.add if hold else self.world.held.discard)(name)
        self.runner.run(ask())

    @rule(version=st.sampled_from(["same", "same", "newer", "older"]))
    def the_reconciler_is_killed_and_comes_back(self, version):
        """The records may be those of another version of the reconciler."""
        self.kill()
        for path in self.settings.state.glob("domains/*.json"):
            if version == "newer":
                of_a_newer_version(path)
            elif version == "older":
                of_an_older_version(path)
        self.boot()

    def kill(self):
        async def die():
            self.looking.cancel()
            await self.engine.end(patience=0.0)  # a pass that runs may still begin its next step
            self.engine = None
            self.journal.close()
            self.world.listeners.clear()
            await asyncio.gather(self.looking, return_exceptions=True)

        self.runner.run(die())

    # What always holds

    def judge(self, name, process):
        """Called before each stop: is there evidence for it? What is not right is kept."""
        try:
            self.evidence(name, process)
        except AssertionError as error:
            self.violations.append(error)
            raise

    def evidence(self, name, process):
        if self.world.records[name].uncertain:
            return  # what it has is not known: only a new process helps
        now = self.runner.get_loop().time()
        files = {d.name: d for d in self.valid().values()}
        wanted = files.get(name)
        if wanted is not None:
            recreate = differs(process, wanted)
            assert (wanted.policy.state == "stopped" or recreate or name in self.restart_asked), (
                f"{name} stopped although its file wants it as it is")
            return
        in_force = self.engine.domains.named(name).state.domain
        if name in self.unclear():
            # An unreadable file: the last good definition decides.
            assert in_force is not None
            assert (in_force.policy.state == "stopped" or name in self.restart_asked
                    or differs(process, in_force)), (
                f"{name} stopped although its file is only broken")
            return
        assert (in_force.policy.state == "stopped" or name in self.restart_asked
                or differs(process, in_force)
                or now - self.absent_since[name] >= self.settings.prune.settle - 0.01), (
            f"{name} stopped too soon after its file went")

    @invariant()
    def nothing_went_wrong(self):
        assert not self.violations, self.violations
        assert not self.faults_of_ours, self.faults_of_ours

    @invariant()
    def every_process_is_of_a_known_domain(self):
        if self.engine is None:
            return
        names = {controller.name for controller in self.engine.domains}
        assert set(self.world.processes) <= names

    def teardown(self):
        try:
            self.converges()
        finally:
            self.kill()
            self.runner.close()
            shutil.rmtree(self.path)

    def waits(self, state, wanted):
        """Whether it waits for others, and with good reason."""
        reason, processes = state.plan.ready.reason, self.world.processes
        if reason == "WaitingForMemory":
            others = sum(p.domain.memory for n, p in processes.items() if n != wanted.name)
            return others + wanted.memory > MOST_MEMORY
        if reason == "WaitingForDependency":
            return any(d.domain not in processes or not processes[d.domain].running
                       for d in wanted.policy.depends_on)
        return False

    def converges(self):
        if self.engine is None:
            self.boot()
        self.world.faults.clear()
        for name in ALL:
            self.hold(name, None)
        self.wake()
        self.let(7200.0)
        for name, wanted in {d.name: d for d in self.valid().values()}.items():
            state = self.engine.domains.named(name).state
            found = self.world.processes.get(name)
            if wanted.policy.state == "stopped":
                assert found is None, f"{name} runs"
            elif found is None:
                assert state.attempts.down_reason or self.waits(state, wanted), (
                    f"{name} does not run: {state.plan}")
            elif self.waits(state, wanted):
                continue
            else:
                assert found.running is (wanted.policy.state == "running"), state.plan
                if wanted.policy.update == "manual" or (
                        state.newest_rolled_back):
                    continue
                waits = wanted.policy.state == "paused" and all(
                    p.waits_for_guest for p in state.plan.pending)
                assert waits or not differs(found, wanted), state.plan
                here = [d for d in found.domain.devices if d.HOTPLUG]
                assert {d.alias for d in here} == found.plugged
                assert {d.alias: d.up for d in here if isinstance(d, Interface)} == found.links
        acts = list(self.world.acts)
        self.let(7200.0)
        self.nothing_went_wrong()
        assert self.world.acts == acts, "it does something though nothing changed"


Engine.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=30, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
TestEngine = pytest.mark.filterwarnings("ignore::ResourceWarning")(Engine.TestCase)
