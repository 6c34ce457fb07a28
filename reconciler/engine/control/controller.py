"""One domain's keeper: observes, asks the plan, acts, observes again, until nothing is to be done.

It holds what is known of the domain, and survives its VM. All of its decisions are the plan's.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.model import DesiredState
from reconciler.domain.numbers import of_text
from reconciler.domain.writer import write
from reconciler.engine.control import exits, recovery, running_definition
from reconciler.engine.control.act import Actor
from reconciler.engine.control.executor import await_start, carry_out
from reconciler.engine.control.prerequisites import NeedsWatch
from reconciler.engine.control.prober import Prober
from reconciler.engine.control.settling import settle
from reconciler.engine.control.wellness import judge
from reconciler.engine.control.work_queue import Priority
from reconciler.engine.decide import attempts as ledgers
from reconciler.engine.decide.condition_events import ConditionTimes
from reconciler.engine.decide.inputs import (
    Attempts,
    DeferredChange,
    ExitKind,
    Hold,
    Inputs,
    Now,
    Plan,
    Removal,
    RetryState,
    Vm,
    VmState,
    health_in_force,
)
from reconciler.engine.decide.plan import plan
from reconciler.errors import QmpError

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.domain.model import Domain, Health
    from reconciler.domain.numbers import Numbers
    from reconciler.engine.control.environment import Environment
    from reconciler.engine.records.store import DomainRecord, StoredDefinition
    from reconciler.stratovirt.observation import ExitEvidence

MOST_ROUNDS = 20  # passes without rest; more is a fault of ours, and is told as one


@dataclass(frozen=True, slots=True)
class Fresh:
    """A definition that was just accepted."""

    domain: Domain
    text: StoredDefinition


class DomainController:
    """Keeps one VM as its file says. `wake` asks for a pass; `changed` tells of a new status."""

    def __init__(self, memory: DomainRecord, context: Environment,
                 wake: Callable[[Priority], None]) -> None:
        self.context = context
        self.memory = memory
        self.domain: Domain | None = context.read(memory.definition)
        self.good: Domain | None = context.read(memory.good)
        self.applied: Domain | None = None
        self.applied_text: StoredDefinition | None = None
        self.unwilling: dict[str,
                             DeferredChange] = {}  # live changes that the guest cannot make yet
        self.invalid = ""
        self.invalid_reason = "InvalidDefinition"
        self.removal = Removal.NONE
        self.removal_since = 0.0
        self.decided_on = Removal.NONE  # what was believed of its file when the plan was made
        self.planned: StoredDefinition | None = None  # the definition that the plan was made for
        self.restart_asked = False
        self.vm = Vm()
        self.plan = Plan(conditions=())
        self.transitions = ConditionTimes()
        self.last_action: dict[str, Any] | None = None
        self.consoles: dict[str, str] = {}
        self._consoles_of: int | None = None
        self.words: tuple[str, ...] = ()  # pid and command line of the process, read once
        self.forgotten = False
        self.wake = wake
        self.actor = Actor(self)
        self.prober = Prober(self)
        self.machine = context.machine(memory.name, self)
        self._newer = asyncio.Event()
        self._single = asyncio.Lock()  # its key in the queue may change under a running pass
        self._needs = NeedsWatch(context, self.retry)
        recovery.load(self)

    # What it is told

    @property
    def name(self) -> str:
        """The domain's name; the newest accepted one."""
        return self.memory.name

    @property
    def uuid(self) -> str:
        """The identity."""
        return self.memory.uuid

    @property
    def numbers(self) -> Numbers:
        """Those that were chosen for its definition, and stay."""
        kept = self.memory.definition or self.machine.record
        return of_text(kept.read_with.get("numbers", "")) if kept is not None else {}

    @property
    def ledger(self) -> Attempts:
        """The counters."""
        return self.memory.ledger

    @property
    def health(self) -> Health | None:
        """The probe that counts."""
        return health_in_force(self.domain, self.good,
                               refused=self.ledger.refused == self.memory.generation
                               and self.good is not None)

    def define(self, fresh: Fresh) -> None:
        """A valid file. What means the same changes nothing (rule 4)."""
        was_invalid, self.invalid = bool(self.invalid), ""
        if was_invalid:
            self.tell("domain.recovered", file=fresh.text.file, revision=fresh.text.revision)
        self._file_is_there()
        same = self.domain == fresh.domain
        kept = self.memory.definition
        if same and kept is not None and kept.text == fresh.text.text and (
                kept.file == fresh.text.file) and not was_invalid:
            return
        self._newer.set()
        self.domain = fresh.domain
        self.memory = replace(self.memory, definition=fresh.text, name=fresh.domain.name,
                              uuid=fresh.domain.uuid)
        if not same:
            self.unwilling = {}
            self.memory = replace(self.memory, generation=self.memory.generation + 1,
                                  accepted_at=self.context.now().wall,
                                  ledger=ledgers.changed(self.ledger))
            self.tell("domain.accepted", file=fresh.text.file, revision=fresh.text.revision)
        self.wake(Priority.FILE)

    def reject(self, reason: str, message: str, file: str) -> None:
        """Its newest file is invalid: the last good definition stays in force (rule 3)."""
        self._file_is_there()
        if (self.invalid, self.invalid_reason) == (message, reason):
            return
        self.invalid, self.invalid_reason = message, reason
        self.tell("domain.invalid", severity="error", reason=reason, file=file, error=message)
        self.wake(Priority.FILE)

    def _file_is_there(self) -> None:
        if self.removal is not Removal.NONE:
            self.removal = Removal.NONE
            self._newer.set()
            self.wake(Priority.FILE)

    def judge(self, removal: Removal, since: float) -> None:
        """What is believed of its file's absence."""
        if self.removal is not removal:
            self.removal, self.removal_since = removal, since
            self._newer.set()
            if removal is not Removal.NONE:
                self.remember(ledger=ledgers.changed(self.ledger))
            self.wake(Priority.FILE)

    def prune_held(self, *, held: bool) -> None:
        """Whether the breaker has it; kept, since our restart says nothing about its file."""
        if self.memory.prune_held is not held:
            self.remember(prune_held=held)

    def ask_restart(self) -> None:
        """Somebody wants it started, or started anew, now: every patience begins anew."""
        self.restart_asked = True
        self.remember(ledger=ledgers.changed(self.ledger))
        self._newer.set()
        self.wake(Priority.COMMAND)

    def hold(self, hold: Hold | None) -> None:
        """Leave it alone, or no longer."""
        self.remember(hold=hold)
        self.wake(Priority.COMMAND)

    def retry(self) -> None:
        """A file that it needs changed: the waits of failed actions are over."""
        if self.domain is not None and self._needs.differ(self.domain):
            self.remember(ledger=replace(self.ledger, failures=RetryState()))
            self.wake(Priority.FILE)

    # What StratoVirt tells (stratovirt.machine.Listener)

    def on_event(self, name: str, data: dict[str, Any]) -> None:
        """A QMP event: look, whatever it was."""
        if name == "RESET":
            exits.rebooted(self)
        gone = str(data.get("device")) if name == "DEVICE_DELETED" else ""
        left = running_definition.without(self.applied, gone) if self.applied and gone else None
        if left is not None:
            self.applied = left
            self.machine.keep(write(left).encode())
        self.wake(Priority.DRIFT)

    def on_disconnect(self) -> None:
        """The connection closed: look, the process may be ending."""
        if self.vm.state is not VmState.UNKNOWN:  # else it is known, and looked at by patience
            self.wake(Priority.DRIFT)

    def on_end(self, traces: ExitEvidence, *, asked: bool) -> None:
        """The process ended."""
        self.vm = Vm(VmState.ABSENT)
        self.consoles, self.unwilling = {}, {}
        if not asked and not self.actor.starting:
            exits.ended(self, traces)
        self.wake(Priority.EXIT)

    # The pass

    async def reconcile(self, urgency: Priority) -> float | None:
        """Converge; returns seconds until it should be looked at again, if ever."""
        async with self._single:
            return await self._converge(urgency)

    async def _converge(self, urgency: Priority) -> float | None:
        rounds = 0
        while rounds < MOST_ROUNDS:
            rounds = 0 if self._newer.is_set() else rounds + 1
            self._newer.clear()
            self.vm = await self.machine.observe()
            self.actor.launching = None
            now = self.context.now()
            if not self.plan.conditions:
                recovery.note(self)
            self._count_silence(now)
            self._follow_health()
            self.plan, self.decided_on = self.decide(now), self.removal
            self.planned = self.memory.definition
            settle(self, now)
            self.context.changed(self.uuid)
            if not self.plan.steps and self.vm.state is VmState.STARTING:
                await await_start(self)
                continue
            if not self.plan.steps:
                await self._learn_consoles()
                return self._rest(now)
            await carry_out(self, self.plan, urgency)
            if self.forgotten:
                return None
        message = f"{self.name}: {MOST_ROUNDS} rounds without rest, last {self.plan.steps}"
        raise RuntimeError(message)

    def decide(self, now: Now) -> Plan:
        """The plan; others matter only where something is to be done, which they can hold up."""
        case = self.case()
        decided = plan(case, now)
        if not decided.steps:
            return decided
        return plan(replace(case, around=self.context.around(self)), now)

    def _follow_health(self) -> None:
        """Probe what runs, as its file says, and note what its verdict means."""
        policy = self.domain.policy if self.domain is not None else None
        asked = self.vm.state is VmState.RUNNING and policy is not None and (
            policy.state is DesiredState.RUNNING)
        self.prober.follow(self.vm.pid if asked else None, self.health)
        judge(self)

    def _count_silence(self, now: Now) -> None:
        """A VM that does not answer is asked again with growing pauses, until it does."""
        failures = self.ledger.failures
        if self.vm.state is not VmState.UNKNOWN:
            if failures.reason == "QmpTimeout":
                self.remember(ledger=replace(self.ledger, failures=RetryState()))
        elif now.clock >= failures.retry_at:
            self.remember(ledger=ledgers.failed(
                self.ledger, "QmpTimeout", self.vm.problem, self.context.patience,
                now=now.clock, jitter=self.context.jitter()))

    async def _learn_consoles(self) -> None:
        """Where the ptys are: asked once a process, when all else is done."""
        if self.vm.pid is None or self.vm.pid == self._consoles_of or (
                self.vm.state is VmState.UNKNOWN):
            return
        with suppress(QmpError):
            self.consoles = await self.machine.consoles()
            self._consoles_of = self.vm.pid
            self.context.changed(self.uuid)

    def case(self) -> Inputs:
        """What the plan decides on."""
        got = self.applied if self.vm.state is not VmState.ABSENT else None
        return Inputs(domain=self.domain, vm=self.vm, generation=self.memory.generation,
                    applied=got, good=self.good, ledger=self.ledger, invalid=self.invalid,
                    invalid_reason=self.invalid_reason, removal=self.removal,
                    removal_since=self.removal_since, hold=self._hold(),
                    restart_asked=self.restart_asked, start_after=self._start_after(),
                    opening=self.context.opening(self.domain), pulse=self.prober.pulse,
                    unwilling=tuple(self.unwilling.values()))

    def _start_after(self) -> float:
        """start/@delay counts after a boot of the host alone, from our own beginning."""
        end, domain = self.ledger.last_exit, self.domain
        if domain is None or end is None or end.kind is not ExitKind.REBOOT:
            return 0.0
        return self.context.began + domain.policy.start_delay

    @property
    def at_rest(self) -> bool:
        """Whether nobody has to wait for it: it is as it should be, or it fails."""
        if not self.plan.conditions:
            return False
        on_its_way = bool(self.plan.steps) or self.plan.ready.reason in (
            "Starting", "Recreating", "Resuming", "Pausing", "WaitingForSlot")
        return not on_its_way or self.ledger.failures.count > 0

    def _hold(self) -> Hold | None:
        now = self.context.now().wall
        if self.memory.hold is not None:
            if self.memory.hold.until is None or now < self.memory.hold.until:
                return self.memory.hold
            self.remember(hold=None)  # it is over
        everything = self.context.hold_of_all()
        if everything is not None:
            return everything
        policy = self.domain.policy if self.domain else None
        if policy is None or not policy.hold or self.removal is not Removal.NONE:
            return None
        until = self.context.moment(policy.hold_until, self.memory.accepted_at) if (
            policy.hold_until) else None
        return Hold(policy.hold_reason or "", "its file", until)

    # Between passes

    def _rest(self, now: Now) -> float | None:
        """Seconds until it should be looked at again, though nothing happens."""
        self._needs.watch(self.domain, wanted=self.ledger.failures.count > 0)
        resync = self.context.resync()
        again = self.plan.look_again_at
        hold = self._hold()
        if hold is not None and hold.until is not None:
            resync = min(resync, max(hold.until - now.wall, 0.0) + 0.05)
        if again is None:
            return resync
        return min(max(again - self.context.now().clock, 0.0) + 0.005, resync)

    def adopt_home(self) -> None:
        """Its process lives in another directory than its name says: it was renamed."""
        recovery.load(self)

    def remember(self, **values: Any) -> None:
        """Change what is kept, and keep it; a full disk stops nothing."""
        self.memory = replace(self.memory, boot_id=self.context.boot_id, **values)
        if not self.forgotten:
            self.context.save(self.memory)

    def tell(self, event: str, **values: Any) -> None:
        """Into the journal, with who and which generation."""
        values.setdefault("pid", self.vm.pid)
        self.context.journal.write(event, domain=self.name, uuid=self.uuid,
                                   generation=self.memory.generation, **values)

    def newer(self) -> asyncio.Event:
        """Set when a newer definition makes waiting pointless."""
        return self._newer

    @property
    def revision(self) -> str:
        """A name for the contents of its newest accepted file."""
        return self.memory.definition.revision if self.memory.definition else ""

    def close(self) -> None:
        """Let go; the VM lives on."""
        self._needs.close()
        self.prober.close()
        self.machine.close()
