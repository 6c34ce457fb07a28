"""What ought to be done about a domain, were nothing in the way. Pure; a part of the plan."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.domain.difference import differences
from reconciler.domain.hot_change import as_started
from reconciler.domain.model import DesiredState, Domain, Impact
from reconciler.engine.decide.changes import needs_new_process
from reconciler.engine.decide.inputs import (
    Cause,
    ExitKind,
    HealthStatus,
    Inputs,
    Pending,
    Step,
    Verb,
    VmState,
)

STOP = Step(Verb.STOP)
RECREATE_FIRST = (Step(Verb.CHECK), STOP)


@dataclass(frozen=True, slots=True)
class Decision:
    """What ought to be done, and under which name."""

    steps: tuple[Step, ...] = ()
    reason: str = "InSync"
    cause: Cause = Cause.FILE
    message: str = ""


def intent_of(case: Inputs, domain: Domain, pending: tuple[Pending, ...]) -> Decision:
    """The steps that make it what it should be."""
    wanted, state = domain.policy.state, case.vm.state
    if state is VmState.STOPPING:
        return Decision(reason="Stopping")
    if wanted is DesiredState.STOPPED:
        if state is VmState.ABSENT:
            return Decision()
        return Decision((STOP,), "Stopping", _cause(case, wanted))
    if state is VmState.ABSENT:
        return _to_start(case, domain)
    return _to_what_is_there(case, domain, pending)


def _to_what_is_there(case: Inputs, domain: Domain, pending: tuple[Pending, ...]) -> Decision:
    """What a living VM needs, to be as it is wanted."""
    wanted, state = domain.policy.state, case.vm.state
    if case.ledger.down and domain.policy.destroy_on_reboot and not case.restart_asked:
        return Decision((STOP,), "Stopping", Cause.EXIT, "its guest rebooted; on_reboot: destroy")
    start = Step(_start_verb(wanted))
    if case.restart_asked:
        return Decision((*RECREATE_FIRST, start), "Recreating", Cause.COMMAND)
    if _is_refused_one(case):
        return Decision((STOP, Step(start.verb, rollback=True)), "Recreating", Cause.ROLLBACK,
                      case.ledger.refused_because)
    open_ = [p for p in pending if not p.blocked_by]
    if needs_new_process(open_, domain.policy.update):
        return Decision((*RECREATE_FIRST, start), "Recreating", Cause.FILE, changes(pending))
    if state is VmState.STARTING:
        return Decision(reason="Starting")
    if wanted is DesiredState.RUNNING and state is VmState.PAUSED:
        return Decision((Step(Verb.RESUME),), "Resuming", _cause(case, wanted))
    if wanted is DesiredState.PAUSED and state is VmState.RUNNING:
        return Decision((Step(Verb.PAUSE),), "Pausing", _cause(case, wanted))
    if open_:
        return Decision((Step(Verb.UPDATE),), "Updating", Cause.FILE, changes(tuple(open_)))
    return _for_its_health(case)


def _for_its_health(case: Inputs) -> Decision:
    """All is as the file says; whether the guest is well."""
    health = case.health
    if health is None or case.vm.state is not VmState.RUNNING or (
            case.pulse.verdict is not HealthStatus.UNHEALTHY):
        return Decision()
    if health.restart:
        anew = Step(Verb.START, rollback=case.refused)
        return Decision((STOP, anew), "Recreating", Cause.EXIT,
                      f"its guest is not well: {case.pulse.message}")
    return Decision(reason="HealthCheckFailed", message=case.pulse.message)


def _is_refused_one(case: Inputs) -> bool:
    """Whether what runs is the new definition that came up, was not well, and goes back."""
    if not case.refused or case.good is None or case.applied is None or (
            case.vm.generation != case.generation):
        return False
    late = {change.path for change in differences(as_started(case.good), case.good)}
    return any(change.impact is not Impact.NONE and change.path not in late
               for change in differences(case.applied, case.good))


def _to_start(case: Inputs, domain: Domain) -> Decision:
    ledger, verb = case.ledger, _start_verb(domain.policy.state)
    if ledger.down and not case.restart_asked:
        return Decision(reason=ledger.down)
    if case.refused:
        return Decision((Step(verb, rollback=True),), "Starting", Cause.ROLLBACK)
    return Decision((Step(verb),), "Starting", _cause(case, domain.policy.state))


def _start_verb(wanted: DesiredState) -> Verb:
    return Verb.START_PAUSED if wanted is DesiredState.PAUSED else Verb.START


def _cause(case: Inputs, wanted: DesiredState) -> Cause:
    """Why: the file changed since all was well, or something else did."""
    ledger = case.ledger
    if case.restart_asked:
        return Cause.COMMAND
    if ledger.settled != case.generation or ledger.in_force != wanted:
        return Cause.FILE
    if case.vm.state is VmState.ABSENT and ledger.last_exit is not None:
        return Cause.BOOT if ledger.last_exit.kind is ExitKind.REBOOT else Cause.EXIT
    return Cause.DRIFT


def changes(pending: tuple[Pending, ...]) -> str:
    """For a message."""
    return ", ".join(f"{p.change.path}: {p.change.old} → {p.change.new}" for p in pending)
