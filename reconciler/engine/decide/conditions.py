"""What is true of a domain, as conditions. Pure; a part of the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.model import DesiredState
from reconciler.engine.decide.blockers import opens
from reconciler.engine.decide.changes import WINDOW
from reconciler.engine.decide.inputs import (
    Condition,
    HealthStatus,
    Inputs,
    Pending,
    Plan,
    ProbeResult,
    Removal,
    Truth,
    VmState,
)
from reconciler.engine.decide.steps import Decision, changes

if TYPE_CHECKING:
    from reconciler.domain.model import Domain
    from reconciler.engine.decide.blockers import Blocker


def conditions_of(case: Inputs, domain: Domain, intent: Decision, wait: Blocker | None,
                  pending: tuple[Pending, ...]) -> tuple[Condition, ...]:
    """All of them; Ready is the first."""
    found = [_ready(case, domain, intent, wait, pending)]
    if intent.steps or intent.reason in ("Starting", "Stopping"):
        reason, message = (wait.reason, wait.message) if wait else (intent.reason, intent.message)
        if not (wait and wait.stalled):
            found.append(Condition("Reconciling", Truth.TRUE, reason, message))
    elif _proving(case, domain):
        found.append(Condition("Reconciling", Truth.TRUE, "Starting", _unwell(case.pulse)))
    found += _stalled(case, wait)
    drift = case.ledger.drift
    if drift.message and drift.count:
        found.append(Condition("Contested", Truth.TRUE, "DriftFight", drift.message))
    return (*found, *_restart_required(case, pending), *_healthy(case), valid(case),
            *removal_held(case))


def _stalled(case: Inputs, wait: Blocker | None) -> tuple[Condition, ...]:
    if wait and wait.stalled:
        return (Condition("Stalled", Truth.TRUE, wait.reason, wait.message),)
    if case.invalid:
        return (Condition("Stalled", Truth.TRUE, case.invalid_reason, case.invalid),)
    if case.ledger.refused == case.generation:
        return (Condition("Stalled", Truth.TRUE, "RolledBack", case.ledger.refused_because),)
    return ()


def _restart_required(case: Inputs, pending: tuple[Pending, ...]) -> tuple[Condition, ...]:
    """What waits for a policy or a window; recomputed each pass, and gone when reverted."""
    if any(p.blocked_by.startswith(WINDOW) for p in pending):
        assert case.opening is not None
        return (Condition("RestartRequired", Truth.TRUE, "WaitingForWindow",
                          f"{changes(pending)}; {opens(case.opening)}"),)
    if any(p.blocked_by.startswith("update-policy") for p in pending):
        return (Condition("RestartRequired", Truth.TRUE, "ChangesDeferred", changes(pending)),)
    return ()


def _ready(case: Inputs, domain: Domain, intent: Decision, wait: Blocker | None,
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
    if intent.reason == "HealthCheckFailed":
        return Condition("Ready", Truth.FALSE, intent.reason, intent.message)
    if intent.reason != "InSync":
        meant = intent.reason == "PoweredOff"
        return Condition("Ready", Truth.TRUE if meant else Truth.FALSE, intent.reason,
                         "it stays down until its file changes or `reconciler start "
                         f"{domain.name}`")
    if _proving(case, domain):
        return Condition("Ready", Truth.UNKNOWN, "Starting", _unwell(case.pulse))
    return _in_sync(case, domain, pending)


def _in_sync(case: Inputs, domain: Domain, pending: tuple[Pending, ...]) -> Condition:
    """It is as it should be, but for what waits for somebody else."""
    if pending and all(p.waits_for_guest for p in pending):
        return Condition("Ready", Truth.TRUE, "ChangesDeferred",
                         f"{case.vm.state}; the guest has still to make: {changes(pending)}")
    if pending:
        number = f"{len(pending)} changes wait" if len(pending) > 1 else "1 change waits"
        until = f"; {opens(case.opening)}" if case.opening is not None and any(
            p.blocked_by.startswith(WINDOW) for p in pending) else ""
        return Condition("Ready", Truth.TRUE, "ChangesDeferred",
                         f"{case.vm.state}; {number}{until}; `reconciler restart {domain.name}` "
                         "makes it now" if until else
                         f"{case.vm.state}; {number} for `reconciler restart {domain.name}`")
    return Condition("Ready", Truth.TRUE, "InSync")


def _trying(case: Inputs, intent: Decision) -> str:
    """What is being done, and what became of it the last time."""
    failures = case.ledger.failures
    if not failures.count:
        return intent.message
    return f"try {failures.count + 1}; before: {failures.message}"


# Its health


def _proving(case: Inputs, domain: Domain) -> bool:
    """Whether it runs as it should, and has still to say that it is well."""
    policy = domain.policy
    return case.health is not None and case.vm.state is VmState.RUNNING and (
        policy.state is DesiredState.RUNNING and case.pulse.verdict is HealthStatus.UNKNOWN)


def _unwell(pulse: ProbeResult) -> str:
    return f"not well yet: {pulse.message}"


def _healthy(case: Inputs) -> tuple[Condition, ...]:
    """Healthy, where there is a probe and a guest to ask."""
    if case.health is None or case.vm.state is not VmState.RUNNING:
        return ()
    truth, reason = {
        HealthStatus.HEALTHY: (Truth.TRUE, "Succeeded"),
        HealthStatus.UNHEALTHY: (Truth.FALSE, "HealthCheckFailed"),
        HealthStatus.UNKNOWN: (Truth.UNKNOWN, "Starting")}[case.pulse.verdict]
    return (Condition("Healthy", truth, reason, case.pulse.message),)


# What does not depend on an intent


def valid(case: Inputs) -> Condition:
    """Whether its newest file is."""
    if case.invalid:
        return Condition("Valid", Truth.FALSE, case.invalid_reason, case.invalid)
    return Condition("Valid", Truth.TRUE, "Accepted")


def removal_held(case: Inputs) -> tuple[Condition, ...]:
    """What the breaker has."""
    if case.removal is not Removal.HELD:
        return ()
    return (Condition("PruneHeld", Truth.TRUE, "MassRemoval",
                      "its file is gone together with many others; `reconciler approve` removes "
                      "them, or the files come back"),)


def held(case: Inputs, intent: Decision, pending: tuple[Pending, ...]) -> Plan:
    """Left alone: only told what differs."""
    hold = case.hold
    assert hold is not None
    differs = bool(intent.steps or pending or case.vm.state is VmState.UNKNOWN)
    message = hold.told
    ready = Condition("Ready", Truth.FALSE if differs else Truth.TRUE,
                      "HoldRequested" if differs else "InSync", message)
    drifted = (Condition("Drifted", Truth.TRUE, "Drifted",
                         ", ".join(step.verb for step in intent.steps) or "changes wait"),)
    return Plan((), intent.cause,
                (ready, Condition("Held", Truth.TRUE, "HoldRequested", message),
                 *(drifted if differs else ()), valid(case), *removal_held(case)),
                pending, blocked=intent.steps)


def nothing_in_force(case: Inputs) -> Plan:
    """No file of this domain was ever valid: what runs, if anything, is left as it is."""
    message = case.invalid or "no definition was accepted yet"
    reason = case.invalid_reason if case.invalid else "Adopting"
    stalled = (Condition("Stalled", Truth.TRUE, reason, message),) if case.invalid else ()
    return Plan(conditions=(Condition("Ready", Truth.FALSE if case.invalid else Truth.UNKNOWN,
                                      reason, message), *stalled, valid(case)))
