"""The decision: one pure function from a Case to a Plan. No I/O, no clock, no randomness.

All decisions about a VM are made here and nowhere else. The engine executes the Plan, the command
`plan` prints it, the status shows its conditions: the three cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.domain.model import DesiredState, Domain, PrunePolicy
from reconciler.engine.case import (
    Case,
    Cause,
    Condition,
    ExitKind,
    Limiter,
    Now,
    Pending,
    Plan,
    Removal,
    Step,
    Truth,
    Verb,
    VmState,
)
from reconciler.engine.ledger import STALLED_AFTER, crash_loop
from reconciler.engine.pending import needs_new_process, pending_changes, without_effect
from reconciler.units import show_seconds

STOP = Step(Verb.STOP)
REMOVAL = (STOP, Step(Verb.FORGET))
RECREATE_FIRST = (Step(Verb.CHECK), STOP)
UNKNOWN_AGAIN = 1.0  # seconds until a VM that does not answer is asked again, at least


@dataclass(frozen=True, slots=True)
class Intent:
    """What ought to be done, and under which name."""

    steps: tuple[Step, ...] = ()
    reason: str = "InSync"
    cause: Cause = Cause.FILE
    message: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """What keeps an intent from being carried out now."""

    reason: str
    message: str
    until: float | None
    stalled: bool = False


def plan(case: Case, now: Now) -> Plan:
    """Decide about one domain."""
    found = _plan(case, now)
    quiet = without_effect(case, case.domain) if case.domain is not None else ()
    return replace(found, no_effect=quiet) if quiet else found


def _plan(case: Case, now: Now) -> Plan:
    domain = case.domain
    held = case.hold is not None and (case.hold.until is None or now.wall < case.hold.until)
    if case.removal in (Removal.PROVEN, Removal.APPROVED):
        return _removal_of_held(case) if held else _removal(case, now)
    if domain is None:
        return _nothing_in_force(case)
    pending = pending_changes(case, domain, now)
    intent = _intent(case, domain, pending)
    if held:
        return _held(case, intent, pending)
    wait = _wait(case, domain, intent, now)
    conditions = _conditions(case, domain, intent, wait, pending)
    if wait is not None:
        return Plan((), intent.cause, conditions, pending, wait.until, blocked=intent.steps)
    blocked = () if intent.steps or case.removal is not Removal.HELD else REMOVAL
    waits = {p.change.path for p in pending if p.waits_for_guest}
    again = None if intent.steps else min(
        (u.retry_at for u in case.unwilling if u.path in waits and u.retry_at > now.clock),
        default=None)
    return Plan(intent.steps, intent.cause, conditions, pending, again, blocked=blocked)


# What ought to be done


def _intent(case: Case, domain: Domain, pending: tuple[Pending, ...]) -> Intent:
    wanted, state = domain.policy.state, case.vm.state
    if state is VmState.STOPPING:
        return Intent(reason="Stopping")
    if wanted is DesiredState.STOPPED:
        if state is VmState.ABSENT:
            return Intent()
        return Intent((STOP,), "Stopping", _cause(case, wanted))
    if state is VmState.ABSENT:
        return _to_start(case, domain)
    return _to_what_is_there(case, domain, pending)


def _to_what_is_there(case: Case, domain: Domain, pending: tuple[Pending, ...]) -> Intent:
    """What a living VM needs, to be as it is wanted."""
    wanted, state = domain.policy.state, case.vm.state
    if case.ledger.down and domain.policy.destroy_on_reboot and not case.restart_asked:
        return Intent((STOP,), "Stopping", Cause.EXIT, "its guest rebooted; on_reboot: destroy")
    start = Step(_start_verb(wanted))
    if case.restart_asked:
        return Intent((*RECREATE_FIRST, start), "Recreating", Cause.COMMAND)
    open_ = [p for p in pending if not p.blocked_by]
    if needs_new_process(open_, domain.policy.update):
        return Intent((*RECREATE_FIRST, start), "Recreating", Cause.FILE, _changes(pending))
    if state is VmState.STARTING:
        return Intent(reason="Starting")
    if wanted is DesiredState.RUNNING and state is VmState.PAUSED:
        return Intent((Step(Verb.RESUME),), "Resuming", _cause(case, wanted))
    if wanted is DesiredState.PAUSED and state is VmState.RUNNING:
        return Intent((Step(Verb.PAUSE),), "Pausing", _cause(case, wanted))
    if open_:
        return Intent((Step(Verb.UPDATE),), "Updating", Cause.FILE, _changes(tuple(open_)))
    return Intent()


def _to_start(case: Case, domain: Domain) -> Intent:
    ledger, verb = case.ledger, _start_verb(domain.policy.state)
    if ledger.down and not case.restart_asked:
        return Intent(reason=ledger.down)
    if ledger.refused == case.generation and case.good is not None:
        return Intent((Step(verb, rollback=True),), "Starting", Cause.ROLLBACK)
    return Intent((Step(verb),), "Starting", _cause(case, domain.policy.state))


def _start_verb(wanted: DesiredState) -> Verb:
    return Verb.START_PAUSED if wanted is DesiredState.PAUSED else Verb.START


def _cause(case: Case, wanted: DesiredState) -> Cause:
    """Why: the file changed since all was well, or something else did."""
    ledger = case.ledger
    if case.restart_asked:
        return Cause.COMMAND
    if ledger.settled != case.generation or ledger.in_force != wanted:
        return Cause.FILE
    if case.vm.state is VmState.ABSENT and ledger.last_exit is not None:
        return Cause.BOOT if ledger.last_exit.kind is ExitKind.REBOOT else Cause.EXIT
    return Cause.DRIFT


def _changes(pending: tuple[Pending, ...]) -> str:
    return ", ".join(f"{p.change.path}: {p.change.old} → {p.change.new}" for p in pending)


# What keeps it from being done


def _wait(case: Case, domain: Domain, intent: Intent, now: Now) -> Wait | None:
    if case.vm.state is VmState.UNKNOWN and STOP not in intent.steps:
        return _unanswering(case, now)
    if not intent.steps:
        return None
    ledger = case.ledger
    silent = case.vm.state is VmState.UNKNOWN and ledger.failures.reason == "QmpTimeout"
    if now.clock < ledger.failures.retry_at and not silent:  # silence is no reason not to stop it
        return _backing_off(ledger.failures, "try", now)
    verbs = {step.verb for step in intent.steps}
    if verbs & {Verb.START, Verb.START_PAUSED} and now.clock < ledger.crashes.retry_at:
        looping = crash_loop(ledger, domain.policy, now.clock)
        wait = _backing_off(ledger.crashes, "start", now)
        return replace(wait, reason="CrashLoop" if looping else "BackOff", stalled=looping)
    if verbs & {Verb.START, Verb.START_PAUSED} and STOP not in intent.steps:
        if not case.wave_open:
            return Wait("WaitingForSlot", "domains of a lower start wave are not at rest yet", None)
        if now.clock < case.start_after:
            return Wait("WaitingForSlot", "its start delay is not over", case.start_after)
    if intent.cause is Cause.DRIFT and now.clock < ledger.drift.retry_at:
        wait = _backing_off(ledger.drift, "correction", now)
        return replace(wait, reason="DriftFight", stalled=False)
    return None


def _backing_off(limiter: Limiter, what: str, now: Now) -> Wait:
    stalled = limiter.count >= STALLED_AFTER
    message = (f"{limiter.message}; {what} {limiter.count + 1} follows in "
               f"{show_seconds(limiter.retry_at - now.clock)}")
    return Wait(limiter.reason if stalled else "BackOff", message, limiter.retry_at, stalled)


def _unanswering(case: Case, now: Now) -> Wait:
    failures = case.ledger.failures
    return Wait("QmpTimeout", case.vm.problem or "not observed yet",
                max(failures.retry_at, now.clock + UNKNOWN_AGAIN),
                stalled=failures.count >= STALLED_AFTER)


# What is true of it


def _conditions(case: Case, domain: Domain, intent: Intent, wait: Wait | None,
                pending: tuple[Pending, ...]) -> tuple[Condition, ...]:
    found = [_ready(case, domain, intent, wait, pending)]
    if intent.steps or intent.reason in ("Starting", "Stopping"):
        reason, message = (wait.reason, wait.message) if wait else (intent.reason, intent.message)
        if not (wait and wait.stalled):
            found.append(Condition("Reconciling", Truth.TRUE, reason, message))
    if wait and wait.stalled:
        found.append(Condition("Stalled", Truth.TRUE, wait.reason, wait.message))
    elif case.invalid:
        found.append(Condition("Stalled", Truth.TRUE, case.invalid_reason, case.invalid))
    elif case.ledger.refused == case.generation:
        found.append(Condition("Stalled", Truth.TRUE, "RolledBack", case.ledger.refused_because))
    drift = case.ledger.drift
    if drift.message and drift.count:
        found.append(Condition("Contested", Truth.TRUE, "DriftFight", drift.message))
    if any(p.blocked_by.startswith("update-policy") for p in pending):
        found.append(Condition("RestartRequired", Truth.TRUE, "ChangesDeferred", _changes(pending)))
    return (*found, _valid(case), *_removal_held(case))


def _ready(case: Case, domain: Domain, intent: Intent, wait: Wait | None,
           pending: tuple[Pending, ...]) -> Condition:
    if case.invalid:
        return Condition("Ready", Truth.FALSE, case.invalid_reason, case.invalid)
    if wait is not None:
        unknown = case.vm.state is VmState.UNKNOWN
        return Condition("Ready", Truth.UNKNOWN if unknown else Truth.FALSE, wait.reason,
                         wait.message)
    if intent.steps or intent.reason in ("Starting", "Stopping"):
        return Condition("Ready", Truth.UNKNOWN, intent.reason, _trying(case, intent))
    if case.ledger.refused == case.generation:
        return Condition("Ready", Truth.FALSE, "RolledBack", case.ledger.refused_because)
    if intent.reason != "InSync":
        meant = intent.reason == "PoweredOff"
        return Condition("Ready", Truth.TRUE if meant else Truth.FALSE, intent.reason,
                         "it stays down until its file changes or `reconciler start "
                         f"{domain.name}`")
    if pending and all(p.waits_for_guest for p in pending):
        return Condition("Ready", Truth.TRUE, "ChangesDeferred",
                         f"{case.vm.state}; the guest has still to make: {_changes(pending)}")
    if pending:
        return Condition("Ready", Truth.TRUE, "ChangesDeferred",
                         f"{case.vm.state}; {len(pending)} changes wait for `reconciler restart "
                         f"{domain.name}`")
    return Condition("Ready", Truth.TRUE, "InSync")


def _trying(case: Case, intent: Intent) -> str:
    """What is being done, and what became of it the last time."""
    failures = case.ledger.failures
    if not failures.count:
        return intent.message
    return f"try {failures.count + 1}; before: {failures.message}"


def _valid(case: Case) -> Condition:
    if case.invalid:
        return Condition("Valid", Truth.FALSE, case.invalid_reason, case.invalid)
    return Condition("Valid", Truth.TRUE, "Accepted")


def _removal_held(case: Case) -> tuple[Condition, ...]:
    if case.removal is not Removal.HELD:
        return ()
    return (Condition("PruneHeld", Truth.TRUE, "MassRemoval",
                      "its file is gone together with many others; `reconciler approve` removes "
                      "them, or the files come back"),)


def _held(case: Case, intent: Intent, pending: tuple[Pending, ...]) -> Plan:
    """Left alone: only told what differs."""
    hold = case.hold
    assert hold is not None
    differs = bool(intent.steps or pending or case.vm.state is VmState.UNKNOWN)
    message = f"held by {hold.by}{f': {hold.reason}' if hold.reason else ''}"
    ready = Condition("Ready", Truth.FALSE if differs else Truth.TRUE,
                      "HoldRequested" if differs else "InSync", message)
    drifted = (Condition("Drifted", Truth.TRUE, "Drifted",
                         ", ".join(step.verb for step in intent.steps) or "changes wait"),)
    return Plan((), intent.cause,
                (ready, Condition("Held", Truth.TRUE, "HoldRequested", message),
                 *(drifted if differs else ()), _valid(case), *_removal_held(case)),
                pending, blocked=intent.steps)


def _nothing_in_force(case: Case) -> Plan:
    """No file of this domain was ever valid: what runs, if anything, is left as it is."""
    message = case.invalid or "no definition was accepted yet"
    reason = case.invalid_reason if case.invalid else "Adopting"
    stalled = (Condition("Stalled", Truth.TRUE, reason, message),) if case.invalid else ()
    return Plan(conditions=(Condition("Ready", Truth.FALSE if case.invalid else Truth.UNKNOWN,
                                      reason, message), *stalled, _valid(case)))


# When the file is gone


def _removal_of_held(case: Case) -> Plan:
    """Somebody works on it: it goes once they are done."""
    hold = case.hold
    assert hold is not None
    message = (f"its file is gone; held by {hold.by}{f': {hold.reason}' if hold.reason else ''}; "
               "`reconciler release` removes it")
    return Plan(conditions=(Condition("Ready", Truth.FALSE, "HoldRequested", message),
                            Condition("Held", Truth.TRUE, "HoldRequested", message)),
                blocked=REMOVAL)


def _removal(case: Case, now: Now) -> Plan:
    domain = case.domain or case.applied
    policy = domain.policy if domain else None
    alive = case.vm.state is not VmState.ABSENT
    if policy and policy.prune is PrunePolicy.KEEP and alive:
        return Plan(conditions=(
            Condition("Ready", Truth.TRUE, "Orphaned", "its file is gone; prune policy: keep"),
            Condition("Orphaned", Truth.TRUE, "Orphaned", "its file is gone; prune policy: keep")))
    if policy and policy.prune is PrunePolicy.CONFIRM and case.removal is not Removal.APPROVED:
        message = "its file is gone; `reconciler approve` removes it, or the file comes back"
        return Plan(conditions=(
            Condition("Ready", Truth.FALSE, "ConfirmRequired", message),
            Condition("PruneHeld", Truth.TRUE, "ConfirmRequired", message)), blocked=REMOVAL)
    forget_at = case.removal_since + (policy.prune_after if policy else 0.0)
    steps = ((STOP,) if alive else ()) + (
        (Step(Verb.FORGET),) if now.clock >= forget_at else ())
    cause = Cause.APPROVAL if case.removal is Removal.APPROVED else Cause.FILE
    conditions: tuple[Condition, ...] = (
        Condition("Ready", Truth.UNKNOWN, "Stopping", "its file is gone"),
        Condition("Terminating", Truth.TRUE, "Stopping", "its file is gone"))
    failures = case.ledger.failures
    if steps and now.clock < failures.retry_at:
        wait = _backing_off(failures, "try", now)
        stalled = (Condition("Stalled", Truth.TRUE, wait.reason, wait.message),)
        return Plan((), cause, (*conditions, *(stalled if wait.stalled else ())), (),
                    failures.retry_at, blocked=steps)
    again = forget_at if now.clock < forget_at else None
    return Plan(steps, cause, conditions, look_again_at=None if steps else again)
