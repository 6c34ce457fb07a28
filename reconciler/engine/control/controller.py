"""The controller of one domain: observes its VM, decides, acts, until nothing is left to do.

It owns the domain's state. `apply` is the only place that changes it, by decide/transition.py: the
record is on disk before anything is done in its name, what is to be reported is reported, and a
decision that is no longer the right one is interrupted. All decisions are those of decide/plan.py.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.devices import Interface
from reconciler.domain.policy import DesiredState
from reconciler.domain.writer import write
from reconciler.engine.control.executor import COMING_UP, FAILURES, Executor, failure, launch_begun
from reconciler.engine.control.live_update import LiveUpdate
from reconciler.engine.control.prerequisites import PrerequisiteWatch
from reconciler.engine.control.prober import Prober, ProbeTarget
from reconciler.engine.control.process_info import info_of
from reconciler.engine.control.recovery import ended_before, first_look, running_found
from reconciler.engine.control.running_definition import without_device
from reconciler.engine.decide import events
from reconciler.engine.decide.disruption import agent_socket
from reconciler.engine.decide.events import Priority
from reconciler.engine.decide.gather import decide, hold_in_force
from reconciler.engine.decide.inputs import STARTS, Now, Plan, Step, Verb, Vm, VmState
from reconciler.engine.decide.state import DomainRecord, DomainState, Running
from reconciler.engine.decide.transition import transition
from reconciler.errors import LockTaken, NameTaken, QmpError
from reconciler.failpoints import Point
from reconciler.stratovirt.observation import classify

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from reconciler.domain.model import Domain
    from reconciler.engine.control.environment import Environment
    from reconciler.engine.control.executor import Preparation
    from reconciler.engine.decide.events import Event
    from reconciler.engine.decide.inputs import ProbeResult
    from reconciler.stratovirt.observation import ExitEvidence

MOST_ROUNDS = 20  # without rest and without interruption; more is an error of the reconciler


class DomainController:
    """Keeps one VM as its file says. `wake` asks for a pass of `reconcile`."""

    def __init__(self, record: DomainRecord, environment: Environment,
                 wake: Callable[[Priority], None], home: str = "") -> None:
        self._environment = environment
        self._wake = wake
        self._state = DomainState(record, environment.config)
        self._wishes_at: tuple[object, ...] | None = None  # what the plan under way was decided on
        self._single = asyncio.Lock()  # its key in the queue may change while a pass runs
        self._executor = Executor(environment, self._prerequisites_changed)
        self._prober = Prober(environment, self._probed)
        self._prerequisites = PrerequisiteWatch(environment, self._executor.worker,
                                                lambda: self._state.domain,
                                                self._prerequisites_changed)
        self.machine = environment.machine(home or record.name, record.uuid, self)
        now = environment.now()
        self.apply(events.Loaded(now, environment.read(record.definition),
                                 environment.read(record.last_known_good),
                                 self.machine.home.name))
        self.apply(running_found(self._state, self.machine, environment, now))

    @property
    def state(self) -> DomainState:
        """What is known of the domain now."""
        return self._state

    @property
    def name(self) -> str:
        """The domain's name, of the newest accepted file."""
        return self._state.name

    @property
    def uuid(self) -> str:
        """The domain's identity."""
        return self._state.uuid

    def apply(self, event: Event) -> None:
        """Something happened: the only way to change the state."""
        before = self._state
        self._state, effects = transition(before, event)
        if self._state.record != before.record and not self._state.forgotten:
            self._environment.save(self._state.record, before.uuid)
        for effect in effects:
            self._perform(effect)
        if self._state is not before:
            self._environment.changed(self._state)
            self.reconsider()

    def _perform(self, effect: events.Effect) -> None:
        match effect:
            case events.Report(event, values, durable):
                self._environment.journal.write(event, durable=durable, **values)
            case events.Wake(priority):
                self._wake(priority)
            case events.Archive(definition, history):
                with suppress(OSError):  # a full disk, of which saving the record reports
                    self._environment.reached(Point.HISTORY)
                    self._environment.archive.keep(self.uuid, definition, history)

    def reconsider(self) -> None:
        """Interrupt what was decided on other wishes: of the file, its absence, holds, commands."""
        if self._wishes_at is not None and self._wishes_at != self._wishes():
            self._executor.interrupted.set()

    def _wishes(self) -> tuple[object, ...]:
        state = self._state
        hold = hold_in_force(state, self._environment.hold_of_all(), self._environment.clocks())
        return (state.record.generation, state.removal, hold is not None, state.restart_asked)

    def wake(self, priority: Priority) -> None:
        """Look at the domain soon."""
        self._wake(priority)

    def check_prerequisites(self, *, remounted: bool = False) -> None:
        """Attempt failed actions again soon, if a file that the domain needs changed.

        `remounted`: something was mounted or unmounted.
        """
        self._prerequisites.look(remounted=remounted)

    async def prerequisites_checked(self) -> None:
        """The same; returns when it is known whether one changed."""
        self._prerequisites.look()
        await self._prerequisites.looked()

    def _prerequisites_changed(self) -> None:
        self.apply(events.PrerequisitesChanged(self._environment.now()))

    def check_links(self, names: Collection[str] | None) -> None:
        """These network interfaces of the host may have changed; None: any of them."""
        self.check_prerequisites()
        running = self._state.running
        if running is None or self._state.vm.state not in (VmState.RUNNING, VmState.PAUSED):
            return
        concerned = names is None or any(
            isinstance(d, Interface) and d.tap in names for d in running.domain.devices)
        if concerned and self._off_network() != self._state.vm.off_network:
            self._wake(Priority.DRIFT)

    # What the VM reports (stratovirt.vm.Listener)

    def on_event(self, name: str, data: dict[str, Any]) -> None:
        """StratoVirt sent a QMP event: look, whatever it was."""
        if name == "RESET":
            self.apply(events.GuestRebooted(self._environment.now()))
        running = self._state.running
        if name == "DEVICE_DELETED" and running is not None:
            left = without_device(running.domain, str(data.get("device")))
            if left is not None:
                self.machine.save_definition(write(left).encode())
                self.apply(events.DeviceRemoved(self._environment.now(), left))
        self._wake(Priority.DRIFT)

    def on_disconnect(self) -> None:
        """The QMP connection closed: look, the process may be ending."""
        if self._state.vm.state is not VmState.UNKNOWN:  # else its silence is known and counted
            self._wake(Priority.DRIFT)

    def on_end(self, evidence: ExitEvidence, *, requested: bool) -> None:
        """The process ended."""
        now = self._environment.now()
        self.apply(events.ProcessEnded(now, classify(evidence, now.clock, now.wall),
                                       asked=requested))

    def _probed(self, result: ProbeResult, process: str) -> None:
        self.apply(events.Probed(self._environment.now(), result, process))

    # The pass

    async def reconcile(self, priority: Priority) -> float | None:
        """Converge; returns seconds until the next look if nothing happens before, if ever."""
        async with self._single:
            try:
                return await self._converge(priority)
            finally:
                self._wishes_at = None

    async def _converge(self, priority: Priority) -> float | None:
        rounds = 0
        while rounds < MOST_ROUNDS:
            rounds = 0 if self._executor.interrupted.is_set() else rounds + 1
            await self._observe()
            self._wishes_at = None  # what came meanwhile is in the decision
            self._executor.interrupted.clear()
            now = self._environment.now()
            self.apply(events.Planned(now, self._decide(now)))
            self._wishes_at = self._wishes()
            if self._state.plan.steps:
                await self._carry_out(self._state.plan, priority)
                if self._state.forgotten:
                    return None
            elif self._state.vm.state is VmState.STARTING:
                await self._await_start()
            else:
                await self._learn_consoles()
                await self._prerequisites.watch(wanted=self._state.attempts.failures.count > 0)
                return self._rest(now)
        message = f"{self.name}: {MOST_ROUNDS} rounds without rest, last {self._state.plan.steps}"
        raise RuntimeError(message)

    async def _observe(self) -> None:
        vm = await self.machine.observe()
        if vm.state in (VmState.RUNNING, VmState.PAUSED):
            vm = replace(vm, off_network=self._off_network())
        now, before = self._environment.now(), self._state
        if before.record.hold is not None and not before.record.hold.in_force(now.wall):
            self.apply(events.HoldExpired(now))
        if self._prober.follow(self._probe_target(vm), self.machine):
            self.apply(events.ProbingRestarted(now))
        self.apply(events.Observed(now, vm, info_of(vm, self.machine, before.process)))
        if not before.plan.made:
            found = first_look(self._state, self.machine, now)
            if found is not None:
                self.apply(found)
            if ended_before(vm, self.machine):  # only now: what it says of the exit is counted
                self.machine.mark_ended()

    def _off_network(self) -> tuple[str, ...]:
        running = self._state.running
        return self._environment.off_network(running.domain) if running is not None else ()

    def _probe_target(self, vm: Vm) -> ProbeTarget | None:
        """Paused guests are not probed, whether or not the pause is wanted."""
        state, process = self._state, self.machine.process
        health, domain = state.health, state.domain
        if health is None or domain is None or vm.pid is None or process is None or (
                vm.state is not VmState.RUNNING
                or domain.policy.state is not DesiredState.RUNNING):
            return None
        socket = agent_socket(state.running.domain if state.running is not None else domain)
        return ProbeTarget(vm.pid, health, process.started,
                           None if socket is None else self.machine.home / socket,
                           state.record.last_healthy)

    def _decide(self, now: Now) -> Plan:
        return decide(self._state, now, hold_of_all=self._environment.hold_of_all(),
                      surroundings=lambda: self._environment.surroundings(self._state)).plan

    def _still_planned(self, remaining: tuple[Step, ...]) -> bool:
        """Whether the plan of this moment is the rest of the one under way."""
        if self._executor.interrupted.is_set():
            return False
        steps = self._decide(self._environment.now()).steps
        return tuple(step for step in steps if step.verb is not Verb.CHECK) == remaining

    # Carrying out a plan

    async def _carry_out(self, decided: Plan, priority: Priority) -> None:
        """Every step, reported before it is taken (rule 10), until one fails or is not right."""
        self.apply(events.PlanBegun(self._environment.now()))
        done = False
        try:
            for index in range(len(decided.steps)):
                done = await self._take(decided.steps[index:], priority)
                if not done:
                    break
        finally:
            self.apply(events.PlanEnded(self._environment.now(), done))

    async def _take(self, remaining: tuple[Step, ...], priority: Priority) -> bool:
        """The first of these steps; whether it was done, and the next may follow."""
        verb = remaining[0].verb
        if self._executor.interrupted.is_set():
            return False
        if verb in STARTS:
            return await self._start(remaining, priority)
        if verb is Verb.STOP:
            async with self._executor.slot(verb, priority) as slot:
                if slot is None or not self._still_planned(remaining):
                    return False
                self.apply(events.ActionBegun(self._environment.now(), verb))
                return self._outcome(await self._executor.stop(self.machine, self._state))
        if verb is Verb.FORGET:
            if not self._still_planned(remaining):
                return False
            self.apply(events.ActionBegun(self._environment.now(), verb))
            return self._outcome(self._executor.forget(self.machine, self._state))
        if verb is Verb.CHECK:
            return await self._check(verb)
        if verb is Verb.UPDATE:
            return await self._check(verb) and await self._update()
        self.apply(events.ActionBegun(self._environment.now(), verb))
        if verb is Verb.RECONNECT:
            running = self._state.running
            return running is None or self._outcome(
                await self._executor.reconnect(self.machine, running.domain))
        return self._outcome(await self._executor.pause_or_resume(self.machine, verb))

    def _outcome(self, event: Event | None) -> bool:
        """Take note of what became of a step; whether it was done."""
        if event is None:
            return False
        self._wishes_at = None  # its own outcome does not interrupt the plan
        self.apply(event)
        self._wishes_at = self._wishes()
        return not isinstance(event, events.ActionFailed)

    async def _check(self, verb: Verb) -> bool:
        domain = self._state.domain
        if domain is None:
            return True
        outcome = await self._executor.timed(verb, self._executor.check(domain, self._state))
        if verb is Verb.UPDATE and isinstance(outcome, events.ActionDone):
            return True  # the changes themselves are still to be made
        return self._outcome(outcome)

    async def _update(self) -> bool:
        try:
            return await LiveUpdate(self._environment, self.machine, lambda: self._state,
                                    self.apply, self._executor.interrupted.is_set).run()
        except FAILURES as error:  # the host refuses, as it does where a tap cannot be made
            return self._outcome(failure(Verb.UPDATE, error, self._environment.now()))

    async def _start(self, remaining: tuple[Step, ...], priority: Priority) -> bool:
        """Everything is checked first: a file that does not answer takes no slot of others."""
        step = remaining[0]
        if not await self._all_there(step):
            return False
        async with self._executor.slot(step.verb, priority) as slot:
            if slot is None or not self._still_planned(remaining):
                return False
            begun = time.monotonic()
            prepared = await self._prepare(step)
            if prepared is None:
                return False
            if not self._still_planned(remaining):
                prepared.release()
                return False
            self.apply(launch_begun(prepared, self.machine.home.name, self._environment.now()))
            slot.leave_in(COMING_UP)
            return self._outcome(self._executor.launch(self.machine, prepared)) and self._outcome(
                await self._executor.wait_until_up(self.machine, step.verb, begun))

    async def _all_there(self, step: Step) -> bool:
        """Whether the host has what the start needs; if not, the start has failed."""
        wanted = self._to_start(step)
        if wanted is None:
            return False
        try:
            await self._executor.check(wanted.domain, self._state)
        except FAILURES as error:
            self.apply(events.StartBegun(self._environment.now(), step, wanted))
            return self._outcome(failure(step.verb, error, self._environment.now()))
        return True

    def _to_start(self, step: Step) -> Running | None:
        state = self._state
        stored = state.record.last_known_good if step.rollback else state.record.definition
        domain = state.last_known_good if step.rollback else state.domain
        return None if domain is None or stored is None else Running(domain, stored, domain)

    async def _prepare(self, step: Step) -> Preparation | None:
        wanted = self._to_start(step)
        if wanted is None or wanted.stored is None:
            return None
        self.apply(events.StartBegun(self._environment.now(), step, wanted))
        try:
            self._move_home(wanted.domain)
            return await self._executor.prepare(self.machine, wanted.domain, wanted.stored, step,
                                                self._state)
        except FAILURES as error:
            self._outcome(failure(step.verb, error, self._environment.now()))
            if isinstance(error, LockTaken):
                self._prerequisites.await_end_of(error.pid)
            return None

    def _move_home(self, domain: Domain) -> None:
        """A domain that was renamed starts in the directory of its new name, once it is free."""
        if self.machine.home.name == domain.name:
            return
        fresh = self._environment.machine(domain.name, self.uuid, self)
        if fresh.occupied():
            fresh.close()
            raise NameTaken(f"another VM still runs as '{domain.name}'",
                            hint="it is attempted again until that VM has ended")
        self.machine.abandon()
        self.machine.close()
        self.machine = fresh

    async def _await_start(self) -> None:
        """Go on waiting for a start that was interrupted, or that began before this reconciler."""
        self.apply(events.StartAwaited(self._environment.now()))
        outcome = await self._executor.wait_until_up(self.machine, Verb.START, None)
        self.apply(events.PlanEnded(self._environment.now(), done=self._outcome(outcome)))

    # Between passes

    async def _learn_consoles(self) -> None:
        """Where the ptys are: asked once a process, when all else is done."""
        vm = self._state.vm
        if vm.pid is None or vm.pid == self._state.consoles_of or vm.state is VmState.UNKNOWN:
            return
        with suppress(QmpError):
            consoles = await self.machine.consoles()
            self.apply(events.ConsolesFound(self._environment.now(), consoles))

    def _rest(self, now: Now) -> float | None:
        """Seconds until the domain is looked at again, though nothing happens."""
        state = self._state
        rest = self._environment.resync()
        hold = hold_in_force(state, self._environment.hold_of_all(), now)
        if hold is not None and hold.until is not None:
            rest = min(rest, max(hold.until - now.wall, 0.0) + 0.05)
        again = state.plan.look_again_at
        if again is None:
            return rest
        return min(max(again - self._environment.clocks().clock, 0.0) + 0.005, rest)

    def close(self) -> None:
        """Stop following the VM, which keeps running."""
        self._prerequisites.close()
        self._prober.close()
        self.machine.close()
