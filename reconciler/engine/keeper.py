"""One domain's keeper: observes, asks the plan, acts, observes again, until nothing is to be done.

It holds what is known of the domain, and survives its VM. All of its decisions are the plan's.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reconciler.engine import ledger as ledgers
from reconciler.engine.act import Actor
from reconciler.engine.case import (
    Case,
    Cause,
    Exit,
    ExitKind,
    Hold,
    Ledger,
    Limiter,
    Now,
    Plan,
    Removal,
    Truth,
    Verb,
    Vm,
    VmState,
)
from reconciler.engine.plan import plan
from reconciler.engine.queue import Urgency
from reconciler.engine.store import Memory, Text
from reconciler.errors import HostError, HypervisorError, QmpError
from reconciler.report.events import timestamp
from reconciler.stratovirt.observation import Traces, classify

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.domain.model import Domain
    from reconciler.engine.context import Context

MOST_ROUNDS = 20  # passes without rest; more is a fault of ours, and is told as one


@dataclass(frozen=True, slots=True)
class Fresh:
    """A definition that was just accepted."""

    domain: Domain
    text: Text


class Keeper:
    """Keeps one VM as its file says. `wake` asks for a pass; `changed` tells of a new status."""

    def __init__(self, memory: Memory, context: Context,
                 wake: Callable[[Urgency], None]) -> None:
        self.context = context
        self.memory = memory
        self.domain: Domain | None = context.read(memory.definition)
        self.good: Domain | None = context.read(memory.good)
        self.applied: Domain | None = None
        self.invalid = ""
        self.invalid_reason = "InvalidDefinition"
        self.removal = Removal.NONE
        self.removal_since = 0.0
        self.restart_asked = False
        self.vm = Vm()
        self.plan = Plan(conditions=())
        self.since: dict[str, tuple[str, str]] = {}  # condition type -> its status, since when
        self.last_action: dict[str, Any] | None = None
        self.consoles: dict[str, str] = {}
        self._consoles_of: int | None = None
        self.words: tuple[str, ...] = ()  # pid and command line of the process, read once
        self.forgotten = False
        self.wake = wake
        self.actor = Actor(self)
        self.machine = context.machine(memory.name, self)
        self._newer = asyncio.Event()
        self._ends: list[Callable[[], None]] = []
        self._needs: tuple[object, ...] = ()
        self._load_applied()

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
    def ledger(self) -> Ledger:
        """The counters."""
        return self.memory.ledger

    def define(self, fresh: Fresh) -> None:
        """A valid file. What means the same changes nothing (rule 4)."""
        was_invalid, self.invalid = bool(self.invalid), ""
        if was_invalid:
            self.tell("domain.recovered", file=fresh.text.file, revision=fresh.text.revision)
        if self.removal is not Removal.NONE:
            self.removal = Removal.NONE
            self._newer.set()
            self.wake(Urgency.FILE)
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
            self.memory = replace(self.memory, generation=self.memory.generation + 1,
                                  ledger=ledgers.changed(self.ledger))
            self.tell("domain.accepted", file=fresh.text.file, revision=fresh.text.revision)
        self.wake(Urgency.FILE)

    def reject(self, reason: str, message: str, file: str) -> None:
        """Its newest file is invalid: the last good definition stays in force (rule 3)."""
        if self.removal is not Removal.NONE:
            self.removal = Removal.NONE
            self._newer.set()
            self.wake(Urgency.FILE)
        if (self.invalid, self.invalid_reason) == (message, reason):
            return
        self.invalid, self.invalid_reason = message, reason
        self.tell("domain.invalid", severity="error", reason=reason, file=file, error=message)
        self.wake(Urgency.FILE)

    def judge(self, removal: Removal, since: float) -> None:
        """What is believed of its file's absence."""
        if self.removal is not removal:
            self.removal, self.removal_since = removal, since
            self._newer.set()
            if removal is not Removal.NONE:
                self.remember(ledger=ledgers.changed(self.ledger))
            self.wake(Urgency.FILE)

    def ask_restart(self) -> None:
        """Somebody wants it started, or started anew, now: every patience begins anew."""
        self.restart_asked = True
        self.remember(ledger=ledgers.changed(self.ledger))
        self._newer.set()
        self.wake(Urgency.COMMAND)

    def hold(self, hold: Hold | None) -> None:
        """Leave it alone, or no longer."""
        self.remember(hold=hold)
        self.wake(Urgency.COMMAND)

    def retry(self) -> None:
        """A file that it needs changed: the waits of failed actions are over."""
        if self.domain is not None and self.context.signature(self.domain) != self._needs:
            self.remember(ledger=replace(self.ledger, failures=Limiter()))
            self.wake(Urgency.FILE)

    # What StratoVirt tells (stratovirt.machine.Listener)

    def on_event(self, name: str, data: dict[str, Any]) -> None:
        """A QMP event: look, whatever it was."""
        if name == "RESET" and self.applied is not None and self.applied.policy.destroy_on_reboot:
            self.remember(ledger=replace(self.ledger, down="PoweredOff"))
        self.wake(Urgency.DRIFT)

    def on_disconnect(self) -> None:
        """The connection closed: look, the process may be ending."""
        self.wake(Urgency.DRIFT)

    def on_end(self, traces: Traces, *, asked: bool) -> None:
        """The process ended."""
        self.vm = Vm(VmState.ABSENT)
        self.consoles = {}
        if not asked and not self.actor.starting:
            self.count_exit(classify(traces, self.context.now().clock))
        self.wake(Urgency.EXIT)

    def count_exit(self, end: Exit) -> None:
        """An exit that nobody here asked for: classified, counted, told."""
        policy = (self.applied or self.domain)
        if policy is not None:
            self.remember(ledger=ledgers.exited(self.ledger, end, policy.policy,
                                                jitter=self.context.jitter()))
        self.tell("domain.exited", severity="warning", reason=end.kind, cause="exit",
                  code=end.code, signal=end.signal, message=end.message)

    # The pass

    async def reconcile(self, urgency: Urgency) -> float | None:
        """Converge; returns seconds until it should be looked at again, if ever."""
        for _ in range(MOST_ROUNDS):
            self._newer.clear()
            self.vm = await self.machine.observe()
            now = self.context.now()
            self._note_adoption()
            self.plan = plan(self.case(), now)
            self._settle(now)
            self.context.changed(self.uuid)
            if not self.plan.steps:
                await self._learn_consoles()
                return self._rest(now)
            await self._carry_out(self.plan, urgency)
            if self.forgotten:
                return None
        message = f"{self.name}: {MOST_ROUNDS} rounds without rest, last {self.plan.steps}"
        raise RuntimeError(message)

    async def _learn_consoles(self) -> None:
        """Where the ptys are: asked once a process, when all else is done."""
        if self.vm.pid is None or self.vm.pid == self._consoles_of or (
                self.vm.state is VmState.UNKNOWN):
            return
        with suppress(QmpError):
            self.consoles = await self.machine.consoles()
            self._consoles_of = self.vm.pid
            self.context.changed(self.uuid)

    def case(self) -> Case:
        """What the plan decides on."""
        applied = self.applied if self.vm.state is not VmState.ABSENT else None
        return Case(domain=self.domain, vm=self.vm, generation=self.memory.generation,
                    applied=applied, good=self.good, ledger=self.ledger, invalid=self.invalid,
                    invalid_reason=self.invalid_reason, removal=self.removal,
                    removal_since=self.removal_since, hold=self._hold(),
                    restart_asked=self.restart_asked,
                    wave_open=self.context.wave_open(self.domain), start_after=self._start_after())

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
        if self.memory.hold is not None:
            return self.memory.hold
        policy = self.domain.policy if self.domain else None
        if policy is None or not policy.hold:
            return None
        until = self.context.moment(policy.hold_until) if policy.hold_until else None
        return Hold(policy.hold_reason or "", "its file", until)

    async def _carry_out(self, decided: Plan, urgency: Urgency) -> None:
        """Every step of a plan, journalled before it is taken (rule 10)."""
        self._announce(decided)
        steps = decided.steps
        asked, self.restart_asked = self.restart_asked, False
        for step in steps:
            begun = time.monotonic()
            try:
                done = await self.actor.act(step, decided, urgency)
            except (HypervisorError, HostError, OSError) as error:
                self._failed(step.verb, error, decided)
                return
            if not done:
                self.restart_asked = asked
                return  # a newer definition came while it waited
            self.last_action = {
                "name": step.verb, "at": timestamp(), "cause": decided.cause, "result": "ok",
                "revision": self._revision(),
                "durationMs": round((time.monotonic() - begun) * 1000, 1)}
        if not self.forgotten:
            self.remember(ledger=ledgers.succeeded(self.ledger))

    def _announce(self, decided: Plan) -> None:
        verbs = [step.verb for step in decided.steps]
        now = self.context.now()
        if Verb.CHECK in verbs:
            self.remember(ledger=replace(self.ledger, recreating=self.memory.generation))
            event = "domain.restarting" if self.restart_asked else "domain.recreating"
            self.tell(event, cause=decided.cause, message=decided.ready.message)
        if decided.cause is Cause.DRIFT:
            what = "state"
            self.tell("domain.drifted", severity="warning", cause=Cause.DRIFT, reason="Drifted",
                      message=f"{what} is {self.vm.state}")
            if Verb.STOP not in verbs:
                self.remember(ledger=ledgers.drifted(
                    self.ledger, what, self.context.patience, now=now.clock,
                    jitter=self.context.jitter()))
                if self.ledger.drift.count:
                    self.tell("domain.contested", severity="warning", reason="DriftFight",
                              message=self.ledger.drift.message)

    def _failed(self, verb: Verb, error: Exception, decided: Plan) -> None:
        reason = getattr(error, "reason", "MissingFile")
        message = str(error) or type(error).__name__
        if isinstance(error, QmpError) and verb is Verb.PAUSE:
            reason = "PauseFailed"
        recreating = self.ledger.recreating == self.memory.generation and verb in (
            Verb.START, Verb.START_PAUSED)
        now = self.context.now()
        if recreating and self._can_roll_back():
            self.remember(ledger=ledgers.refused(self.ledger, self.memory.generation,
                                                 f"the new definition did not come up: {message}"))
            self.tell("domain.rolledback", severity="error", reason="RolledBack", error=message)
        else:
            self.remember(ledger=ledgers.failed(self.ledger, reason, message,
                                                self.context.patience, now=now.clock,
                                                jitter=self.context.jitter()))
        self.last_action = {"name": verb, "at": timestamp(), "cause": decided.cause,
                            "result": "failed", "error": message}
        self.tell("action.failed", severity="error", action=verb, reason=reason, error=message,
                  attempt=self.ledger.failures.count, cause=decided.cause,
                  hint=getattr(error, "hint", ""))

    def _can_roll_back(self) -> bool:
        domain = self.domain
        return self.good is not None and domain is not None and domain.policy.rollback and (
            replace(self.good, policy=domain.policy) != domain)

    # Between passes

    def _settle(self, now: Now) -> None:
        """Note when conditions changed, and that this generation ended Ready or Stalled."""
        stalled = self.plan.condition("Stalled")
        before = self.since
        self.since = {}
        for condition in self.plan.conditions:
            old = before.get(condition.type)
            same = old is not None and old[0] == condition.status
            self.since[condition.type] = old if old and same else (condition.status, timestamp())
        if stalled is not None and "Stalled" not in before:
            self.tell("domain.stalled", severity="error", reason=stalled.reason,
                      message=stalled.message)
        ready = self.plan.ready.status is Truth.TRUE
        if (ready or stalled) and self.domain is not None:
            state = self.domain.policy.state if ready else self.ledger.in_force
            fresh = ledgers.settled(self.ledger, self.memory.generation, state)
            if ready:
                fresh = ledgers.quiet(fresh, self.domain.policy, self.context.patience,
                                      now=now.clock)
            if fresh != self.ledger:
                self.remember(ledger=fresh)
            elif self.memory.boot_id == "":
                self.remember()

    def _rest(self, now: Now) -> float | None:
        self._watch_needs()
        resync = self.context.resync()
        again = self.plan.look_again_at
        hold = self._hold()
        if hold is not None and hold.until is not None:
            resync = min(resync, max(hold.until - now.wall, 0.0) + 0.05)
        if again is None:
            return resync
        return min(max(again - self.context.now().clock, 0.0) + 0.005, resync)

    def _watch_needs(self) -> None:
        """While an action fails, a change of a file that the domain needs is worth a try."""
        waiting = self.domain is not None and self.ledger.failures.count > 0
        if waiting and not self._ends and self.domain is not None:
            paths = {path for need in self.domain.needs()
                     for path in (need.path, need.template) if path}
            self._needs = self.context.signature(self.domain)
            self._ends = self.context.watch_files(paths, self.retry)
        elif not waiting:
            while self._ends:
                self._ends.pop()()

    def _note_adoption(self) -> None:
        """The first look at what ran before us (rule 2): adopted, or gone while we were away."""
        if self.plan.conditions:
            return
        record = self.machine.record
        if self.vm.pid is not None:
            self.tell("domain.adopted")
        elif record is not None and record.pid is not None:
            if record.boot_id != self.context.boot_id:
                self.count_exit(Exit(ExitKind.REBOOT, self.context.now().clock,
                                     message="the host was started anew"))
            elif not record.intent:
                self.count_exit(classify(self.machine.traces(), self.context.now().clock))
            self.machine.note_gone()

    def _load_applied(self) -> None:
        """What the process that runs was started with, read by today's code (rule 4)."""
        record = self.machine.record
        if record is None:
            return
        with suppress(OSError):
            text = (self.machine.home / "definition.xml").read_text(encoding="utf-8")
            self.applied = self.context.read(Text(text, record.file, "", record.read_with))
        if record.places and not self.memory.places:
            self.memory = replace(self.memory, places=record.places)
        if record.generation > self.memory.generation:
            self.memory = replace(self.memory, generation=record.generation)

    def adopt_home(self) -> None:
        """Its process lives in another directory than its name says: it was renamed."""
        self._load_applied()

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

    def _revision(self) -> str:
        return self.memory.definition.revision if self.memory.definition else ""

    def close(self) -> None:
        """Let go; the VM lives on."""
        for end in self._ends:
            end()
        self.machine.close()
