"""What ought to be done about a domain, were nothing in the way. Pure; a part of the plan."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.domain.difference import differences
from reconciler.domain.live import as_started
from reconciler.domain.model import DesiredState, Domain, Impact
from reconciler.engine.case import (
    Case,
    Cause,
    ExitKind,
    Pending,
    Step,
    Verb,
    Verdict,
    VmState,
)
from reconciler.engine.pending import needs_new_process

STOP = Step(Verb.STOP)
RECREATE_FIRST = (Step(Verb.CHECK), STOP)


@dataclass(frozen=True, slots=True)
class Intent:
    """What ought to be done, and under which name."""

    steps: tuple[Step, ...] = ()
    reason: str = "InSync"
    cause: Cause = Cause.FILE
    message: str = ""


def intent_of(case: Case, domain: Domain, pending: tuple[Pending, ...]) -> Intent:
    """The steps that make it what it should be."""
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
    if _is_refused_one(case):
        return Intent((STOP, Step(start.verb, rollback=True)), "Recreating", Cause.ROLLBACK,
                      case.ledger.refused_because)
    open_ = [p for p in pending if not p.blocked_by]
    if needs_new_process(open_, domain.policy.update):
        return Intent((*RECREATE_FIRST, start), "Recreating", Cause.FILE, changes(pending))
    if state is VmState.STARTING:
        return Intent(reason="Starting")
    if wanted is DesiredState.RUNNING and state is VmState.PAUSED:
        return Intent((Step(Verb.RESUME),), "Resuming", _cause(case, wanted))
    if wanted is DesiredState.PAUSED and state is VmState.RUNNING:
        return Intent((Step(Verb.PAUSE),), "Pausing", _cause(case, wanted))
    if open_:
        return Intent((Step(Verb.UPDATE),), "Updating", Cause.FILE, changes(tuple(open_)))
    return _for_its_health(case)


def _for_its_health(case: Case) -> Intent:
    """All is as the file says; whether the guest is well."""
    health = case.health
    if health is None or case.vm.state is not VmState.RUNNING or (
            case.pulse.verdict is not Verdict.UNHEALTHY):
        return Intent()
    if health.restart:
        anew = Step(Verb.START, rollback=case.refused)
        return Intent((STOP, anew), "Recreating", Cause.EXIT,
                      f"its guest is not well: {case.pulse.message}")
    return Intent(reason="HealthCheckFailed", message=case.pulse.message)


def _is_refused_one(case: Case) -> bool:
    """Whether what runs is the new definition that came up, was not well, and goes back."""
    if not case.refused or case.good is None or case.applied is None or (
            case.vm.generation != case.generation):
        return False
    late = {change.path for change in differences(as_started(case.good), case.good)}
    return any(change.impact is not Impact.NONE and change.path not in late
               for change in differences(case.applied, case.good))


def _to_start(case: Case, domain: Domain) -> Intent:
    ledger, verb = case.ledger, _start_verb(domain.policy.state)
    if ledger.down and not case.restart_asked:
        return Intent(reason=ledger.down)
    if case.refused:
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


def changes(pending: tuple[Pending, ...]) -> str:
    """For a message."""
    return ", ".join(f"{p.change.path}: {p.change.old} → {p.change.new}" for p in pending)
