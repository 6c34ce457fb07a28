"""Carries out one step of a plan on one VM, and returns its outcome as an event.

It decides nothing, and changes no state.

Launching and signalling are whole. Only waits (for a slot, for the VM to answer) end early when the
decision is no longer the right one, and then the next look sees what is there.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.engine.control.running_definition import of_layout
from reconciler.engine.decide.disruption import stopping, why_not_clean
from reconciler.engine.decide.events import (
    ActionDone,
    ActionFailed,
    CameUp,
    Excuse,
    LaunchBegun,
    Launched,
)
from reconciler.engine.decide.inputs import Verb, VmState
from reconciler.engine.decide.state import Running
from reconciler.errors import HostError, HypervisorError, LockTaken, NameTaken, QmpError
from reconciler.failpoints import Point
from reconciler.host.files import make_variables, paths_of
from reconciler.host.variables import SUFFIX, follow
from reconciler.host.workers import Call
from reconciler.stratovirt.addresses import lay_out
from reconciler.stratovirt.observation import EndedBy
from reconciler.stratovirt.prepare import (
    StartRequest,
    reconnect,
    release,
    released_on_failure,
)
from reconciler.stratovirt.twins import Turn
from reconciler.units import timestamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from reconciler.domain.model import Domain, RequiredFile
    from reconciler.engine.control.environment import Environment
    from reconciler.engine.control.work_queue import PrioritySemaphore
    from reconciler.engine.decide.events import Event, Priority
    from reconciler.engine.decide.inputs import Now, Step
    from reconciler.engine.decide.state import DomainState, StoredDefinition
    from reconciler.stratovirt.prepare import HostResources
    from reconciler.stratovirt.vm import VirtualMachine

# The reason when the host itself refuses, as a full disk does.
_REASONS = {Verb.CHECK: "MissingFile", Verb.UPDATE: "MissingFile",
            Verb.RECONNECT: "MissingFile", Verb.STOP: "StopFailed",
            Verb.PAUSE: "PauseFailed"}
# After a start with -S, which takes no disk locks, it is `cont` that is refused for a disk in use.
_REASONS_OF_QMP = {Verb.PAUSE: "PauseFailed", Verb.RESUME: "StartFailed"}

FAILURES = (HypervisorError, HostError, OSError)
# Seconds until a slot is given to another action although this one goes on. A VM that comes up does
# so in 30 ms: longer than that, it waits for something, and needs no slot.
SLOT_PATIENCE = 1.0
COMING_UP = 0.1


@dataclass(frozen=True, slots=True)
class Preparation:
    """A start that is prepared: everything that it needs is there."""

    request: StartRequest
    resources: HostResources
    running: Running
    turn: Turn

    def release(self) -> None:
        """Give back what was made for a start that is not launched."""
        release(self.resources)
        self.turn.end()


class Slot:
    """One of the places for actions. It is left at the latest after a while: nobody waits long."""

    def __init__(self, slots: PrioritySemaphore) -> None:
        self._slots = slots
        self._timer: asyncio.TimerHandle | None = None
        self._held = True

    def leave_in(self, seconds: float) -> None:
        """Leave it then, if it was not left before."""
        if self._timer is not None:
            self._timer.cancel()
        if self._held:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.leave)

    def leave(self) -> None:
        """Another action may have it."""
        if self._timer is not None:
            self._timer.cancel()
        if self._held:
            self._held = False
            self._slots.leave()


class Executor:
    """The actions on one VM. `interrupted` is set by the controller, to end waits early.

    `answered`: a file of the domain answers again, after it had not.
    """

    def __init__(self, environment: Environment,
                 answered: Callable[[], None] = lambda: None) -> None:
        self._environment = environment
        self.worker = environment.worker(answered)
        self.interrupted = asyncio.Event()

    @asynccontextmanager
    async def slot(self, verb: Verb, priority: Priority) -> AsyncIterator[Slot | None]:
        """A slot for a start or a stop; None if the wait for it was interrupted."""
        slots = self._environment.stops if verb is Verb.STOP else self._environment.starts
        if not await self.unless_interrupted(slots.enter(priority)):
            yield None
            return
        slot = Slot(slots)
        slot.leave_in(SLOT_PATIENCE)
        try:
            yield None if self.interrupted.is_set() else slot
        finally:
            slot.leave()

    async def check(self, domain: Domain, state: DomainState) -> None:
        """All that the definition needs is there; raises HostError."""
        await self._environment.check(self.worker, domain, made_before(state))

    async def prepare(self, machine: VirtualMachine, domain: Domain, stored: StoredDefinition,
                      step: Step, state: DomainState) -> Preparation:
        """Check what a start needs and create its host resources; raises HostError, OSError.

        A caller that does not launch it releases the resources.
        """
        environment = self._environment
        layout = lay_out(domain, state.record.places, environment.settings.defaults.spare_ports)
        # What a rollback starts must not be taken for the newest definition that came up.
        generation = state.record.generation - step.rollback
        request = StartRequest(
            domain, stored.data, layout, environment.program_of(domain),
            step.verb is Verb.START_PAUSED, generation, stored.read_with,
            environment.manage_taps, environment.simulated, environment.settings.admission.bridges)
        running = Running(of_layout(domain, layout), stored, domain)
        before = state.last_known_good or (
            state.running.domain if state.running is not None else None)
        turn = Turn(domain.uuid)
        calls = [Call(environment.check_alone, (domain,)),  # before anything is changed
                 *self._variables(domain, before),
                 Call(_prepare_alone, (machine, request, environment, turn))]
        with ExitStack() as undo:
            undo.callback(turn.end)
            *_, resources = await self.worker.run(calls, lambda results: release(results[-1]))
            undo.pop_all()
        return Preparation(request, resources, running, turn)

    def _variables(self, domain: Domain, before: Domain | None) -> Iterator[Call]:
        """The file of the firmware's variables is that of this domain, and is there."""
        file, reached = self._own_variables(domain), self._environment.reached
        if file is not None:
            yield Call(follow, (domain.uuid, file, self._own_variables(before), reached),
                       (str(file),))
        for need in domain.required_files():
            if need.template is not None:
                yield Call(make_variables, ((need,), reached), paths_of(need))
        if file is not None:  # it may have been made just now
            yield Call(follow, (domain.uuid, file, None, reached), (str(file),))

    def _own_variables(self, domain: Domain | None) -> Path | None:
        """The nvram file that the reconciler named, in its own directory."""
        if domain is None or domain.boot.nvram is None:
            return None
        file = self._environment.host.nvram / f"{domain.name}{SUFFIX}"
        return file if domain.boot.nvram == str(file) else None

    def launch(self, machine: VirtualMachine, prepared: Preparation) -> Event:
        """Make the process: Launched, or ActionFailed with its resources released."""
        verb = Verb.START_PAUSED if prepared.request.paused else Verb.START
        try:
            with released_on_failure(prepared.resources):
                machine.launch(prepared.request, prepared.resources, timestamp())
        except FAILURES as error:
            return failure(verb, error, self._environment.now())
        finally:
            prepared.turn.end()
        return Launched(self._environment.now())

    async def wait_until_up(self, machine: VirtualMachine, verb: Verb,
                            launched_at: float | None) -> Event | None:
        """CameUp or ActionFailed; None if the wait was interrupted."""
        try:
            if not await self.unless_interrupted(machine.wait_until_up()):
                return None
        except FAILURES as error:
            return failure(verb, error, self._environment.now())
        process = machine.process
        return CameUp(self._environment.now(), verb, None if process is None else process.pid,
                      None if launched_at is None else since(launched_at))

    async def stop(self, machine: VirtualMachine, state: DomainState) -> Event:
        """End the VM by its newest policy."""
        running = state.running.domain if state.running is not None else None
        how = stopping(state.domain or running, running, self._environment.settings.arch)
        pid, ended_by = state.vm.pid, EndedBy.NOTHING

        async def end() -> None:
            nonlocal ended_by
            ended_by = await machine.stop(how.mode, how.patience, agent_socket=how.agent,
                                          power_button=how.button)

        done = await self.timed(Verb.STOP, end(), pid)
        return replace(done, ended_by=ended_by, message=why_not_clean(how, ended_by)) if isinstance(
            done, ActionDone) else done

    async def pause_or_resume(self, machine: VirtualMachine, verb: Verb) -> Event:
        """QMP stop or cont."""
        return await self.timed(verb, machine.pause() if verb is Verb.PAUSE else machine.resume())

    async def reconnect(self, machine: VirtualMachine, running: Domain) -> Event:
        """Attach the taps of the VM again."""
        attached = machine.record.attached if machine.record is not None else ()
        return await self.timed(Verb.RECONNECT, self.worker.call(
            reconnect, running, str(machine.home), attached, self._environment.reached))

    def forget(self, machine: VirtualMachine, state: DomainState) -> Event:
        """Remove what is kept of the domain; its last definition is archived."""
        environment, record, begun = self._environment, state.record, time.monotonic()
        try:
            machine.forget()
            environment.reached(Point.FORGET_RECORD)
            environment.store.remove(record.uuid)
        except OSError as error:
            return failure(Verb.FORGET, error, environment.now())
        try:
            environment.reached(Point.ARCHIVE)
            environment.archive.bury(record.uuid, record.name, record.definition,
                                     environment.settings.prune.keep_definitions)
        except OSError as error:  # a full disk keeps no VM
            environment.journal.write("state.unwritable", severity="error", domain=record.name,
                                      reason="StateUnwritable", error=str(error))
        return ActionDone(environment.now(), Verb.FORGET, since(begun))

    async def timed(self, verb: Verb, action: Awaitable[None], pid: int | None = None) -> Event:
        """ActionDone or ActionFailed."""
        begun = time.monotonic()
        try:
            await action
        except FAILURES as error:
            return failure(verb, error, self._environment.now())
        return ActionDone(self._environment.now(), verb, since(begun), pid)

    async def unless_interrupted(self, wait: Awaitable[None]) -> bool:
        """Wait, unless `interrupted` is set before; whether the wait ended."""
        waiting = asyncio.ensure_future(wait)
        interrupted = asyncio.ensure_future(self.interrupted.wait())
        try:
            await asyncio.wait({waiting, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            interrupted.cancel()
            if not waiting.done():
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
        if waiting.cancelled():
            return False
        waiting.result()
        return True


def _prepare_alone(machine: VirtualMachine, request: StartRequest,
                   environment: Environment, turn: Turn) -> HostResources:
    """Make what the start needs, which takes its time; then look for a twin once more."""
    resources = machine.prepare(request)
    with released_on_failure(resources):
        turn.take()
        environment.check_alone(request.domain)
    return resources


def made_before(state: DomainState) -> frozenset[RequiredFile]:
    """What a VM of this domain made: its sockets while it runs, its logs since it came up once."""
    running = state.running.domain.made_files() if state.running is not None else ()
    logs = state.last_known_good.made_files() if state.last_known_good is not None else ()
    up = running if state.vm.state is not VmState.ABSENT else ()
    return frozenset((*up, *(made for made in (*running, *logs) if made.kind == "log")))


def launch_begun(prepared: Preparation, home: str, now: Now) -> LaunchBegun:
    """The event just before `launch`."""
    return LaunchBegun(now, prepared.running, dict(prepared.request.layout.places), home)


def failure(verb: Verb, error: Exception, now: Now) -> ActionFailed:
    """The event of a step that raised one of FAILURES."""
    reason = getattr(error, "reason", _REASONS.get(verb, "StartFailed"))
    if isinstance(error, QmpError):
        reason = _REASONS_OF_QMP.get(verb, reason)
    return ActionFailed(now, verb, reason, str(error) or type(error).__name__,
                        getattr(error, "hint", ""), _excuse(error))


def _excuse(error: Exception) -> Excuse | None:
    if isinstance(error, NameTaken):
        return Excuse.NAME_TAKEN
    return Excuse.LOCK_TAKEN if isinstance(error, LockTaken) else None


def since(begun: float) -> float:
    """Milliseconds since `begun`, which is of time.monotonic()."""
    return round((time.monotonic() - begun) * 1000, 1)


