"""What is true of a domain, as conditions. Pure; a part of the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.policy import DesiredState
from reconciler.engine.decide.blockers import Blocker, opens
from reconciler.engine.decide.inputs import (
    BlockedOn,
    Condition,
    HealthStatus,
    Inputs,
    Pending,
    Plan,
    ProbeResult,
    Removal,
    Truth,
    VmState,
    WaitsFor,
)
from reconciler.engine.decide.steps import Decision, changes

if TYPE_CHECKING:
    from reconciler.domain.model import Domain


def conditions_of(inputs: Inputs, domain: Domain, decision: Decision, blocker: Blocker | None,
                  pending: tuple[Pending, ...]) -> tuple[Condition, ...]:
    """All of them; Ready is the first."""
    found = [_ready(inputs, domain, decision, blocker, pending)]
    if decision.steps or decision.changing:
        reason, message = (blocker.reason, blocker.message) if blocker else (
            decision.reason, decision.message)
        if not (blocker and blocker.stalled):
            found.append(Condition("Reconciling", Truth.TRUE, reason, message))
    elif awaits_health(inputs, domain):
        found.append(Condition("Reconciling", Truth.TRUE, "Starting", _not_healthy(inputs.probe)))
    found += _stalled(inputs, blocker)
    drift = inputs.attempts.drift
    if drift.message and drift.count:
        found.append(Condition("Contested", Truth.TRUE, "DriftFight", drift.message))
    return (*found, *_restart_required(inputs, pending), *_healthy(inputs), valid(inputs),
            *removal_held(inputs))


def _stalled(inputs: Inputs, blocker: Blocker | None) -> tuple[Condition, ...]:
    if blocker and blocker.stalled:
        return (Condition("Stalled", Truth.TRUE, blocker.reason, blocker.message),)
    if inputs.invalid:
        return (Condition("Stalled", Truth.TRUE, inputs.invalid_reason, inputs.invalid),)
    if inputs.newest_rolled_back:
        return (Condition("Stalled", Truth.TRUE, "RolledBack",
                          inputs.attempts.rolled_back_because),)
    return ()


def _restart_required(inputs: Inputs, pending: tuple[Pending, ...]) -> tuple[Condition, ...]:
    """Changes that wait for a window or a user; gone when the file is reverted."""
    waits = {p.waits_for for p in pending}
    if WaitsFor.WINDOW in waits and inputs.window is not None:
        return (Condition("RestartRequired", Truth.TRUE, "WaitingForWindow",
                          f"{changes(pending)}; {opens(inputs.window)}"),)
    if WaitsFor.POLICY in waits:
        return (Condition("RestartRequired", Truth.TRUE, "ChangesDeferred", changes(pending)),)
    return ()


def _ready(inputs: Inputs, domain: Domain, decision: Decision, blocker: Blocker | None,
           pending: tuple[Pending, ...]) -> Condition:
    if inputs.invalid:
        return Condition("Ready", Truth.FALSE, inputs.invalid_reason, inputs.invalid)
    if blocker is not None:
        unknown = inputs.vm.state is VmState.UNKNOWN
        return Condition("Ready", Truth.UNKNOWN if unknown else Truth.FALSE, blocker.reason,
                         blocker.message)
    if decision.steps or decision.changing:
        return Condition("Ready", Truth.UNKNOWN, decision.reason, _attempt(inputs, decision))
    if inputs.newest_rolled_back:
        return Condition("Ready", Truth.FALSE, "RolledBack", inputs.attempts.rolled_back_because)
    if decision.unhealthy:
        return Condition("Ready", Truth.FALSE, decision.reason, decision.message)
    if decision.down:
        return Condition("Ready", Truth.TRUE if decision.as_wanted else Truth.FALSE,
                         decision.reason, "stopped; will not be restarted until its file changes "
                         f"or `reconciler start {domain.name}` is run")
    if awaits_health(inputs, domain):
        return Condition("Ready", Truth.UNKNOWN, "Starting", _not_healthy(inputs.probe))
    return _in_sync(inputs, domain, pending)


def _in_sync(inputs: Inputs, domain: Domain, pending: tuple[Pending, ...]) -> Condition:
    """The domain is what it should be, except for changes that wait for the guest or a user."""
    if inputs.removal in (Removal.HELD, Removal.UNPROVEN):
        return Condition("Ready", Truth.FALSE, *_why_not_removed(inputs))
    if not pending:
        return Condition("Ready", Truth.TRUE, "InSync")
    state = inputs.vm.state
    if all(p.waits_for_guest for p in pending):
        return Condition("Ready", Truth.TRUE, "ChangesDeferred",
                         f"{state}; waiting for the guest to apply: {changes(pending)}")
    count = len(pending)
    number = f"{count} changes wait" if count > 1 else "1 change waits"
    restart = f"`reconciler restart {domain.name}`"
    if inputs.window is not None and any(p.waits_for is WaitsFor.WINDOW for p in pending):
        return Condition("Ready", Truth.TRUE, "ChangesDeferred",
                         f"{state}; {number}; {opens(inputs.window)}; {restart} applies "
                         f"{'them' if count > 1 else 'it'} now")
    return Condition("Ready", Truth.TRUE, "ChangesDeferred", f"{state}; {number} for {restart}")


def _attempt(inputs: Inputs, decision: Decision) -> str:
    """What is being done, and how the attempt before failed."""
    failures = inputs.attempts.failures
    if not failures.count:
        return decision.message
    return f"attempt {failures.count + 1}; last error: {failures.message}"


# Health


def awaits_health(inputs: Inputs, domain: Domain) -> bool:
    """Whether the VM runs as it should, and its guest has not been found healthy yet."""
    return inputs.health is not None and inputs.vm.state is VmState.RUNNING and (
        domain.policy.state is DesiredState.RUNNING
        and inputs.probe.status is HealthStatus.UNKNOWN)


def _not_healthy(probe: ProbeResult) -> str:
    return f"not healthy yet: {probe.message}"


def _healthy(inputs: Inputs) -> tuple[Condition, ...]:
    """Healthy, where there is a probe and a running guest."""
    if inputs.health is None or inputs.vm.state is not VmState.RUNNING:
        return ()
    truth, reason = {
        HealthStatus.HEALTHY: (Truth.TRUE, "Succeeded"),
        HealthStatus.UNHEALTHY: (Truth.FALSE, "HealthCheckFailed"),
        HealthStatus.UNKNOWN: (Truth.UNKNOWN, "Starting")}[inputs.probe.status]
    return (Condition("Healthy", truth, reason, inputs.probe.message),)


# What does not depend on the decision


def valid(inputs: Inputs) -> Condition:
    """The Valid condition of the newest file."""
    if inputs.invalid:
        return Condition("Valid", Truth.FALSE, inputs.invalid_reason, inputs.invalid)
    return Condition("Valid", Truth.TRUE, "Accepted")


def removal_held(inputs: Inputs) -> tuple[Condition, ...]:
    """PruneHeld, where its file is missing and that is not believed, or needs an approval."""
    if inputs.removal not in (Removal.HELD, Removal.UNPROVEN):
        return ()
    return (Condition("PruneHeld", Truth.TRUE, *_why_not_removed(inputs)),)


def _why_not_removed(inputs: Inputs) -> tuple[str, str]:
    """Reason and message."""
    if inputs.removal is Removal.UNPROVEN:
        return inputs.removal_reason, inputs.removal_message
    return "MassRemoval", ("many domain files disappeared at once; removal is on hold. "
                           "`reconciler approve` confirms it, or the files come back")


def held(inputs: Inputs, decision: Decision, pending: tuple[Pending, ...]) -> Plan:
    """Nothing is done; what differs is reported."""
    hold = inputs.hold
    assert hold is not None
    differs = bool(decision.steps or pending or inputs.vm.state is VmState.UNKNOWN)
    message = hold.description
    ready = Condition("Ready", Truth.FALSE if differs else Truth.TRUE,
                      "HoldRequested" if differs else "InSync", message)
    drifted = (Condition("Drifted", Truth.TRUE, "Drifted",
                         ", ".join(step.verb for step in decision.steps) or "changes wait"),)
    return Plan((), decision.cause,
                (ready, Condition("Held", Truth.TRUE, "HoldRequested", message),
                 *(drifted if differs else ()), valid(inputs), *removal_held(inputs)),
                pending, blocked=decision.steps, blocked_on=BlockedOn.HOLD)


def nothing_in_force(inputs: Inputs) -> Plan:
    """No file of this domain was ever valid: what runs, if anything, is left as it is."""
    message = inputs.invalid or "no definition was accepted yet"
    reason = inputs.invalid_reason if inputs.invalid else "Adopting"
    stalled = (Condition("Stalled", Truth.TRUE, reason, message),) if inputs.invalid else ()
    return Plan(conditions=(Condition("Ready", Truth.FALSE if inputs.invalid else Truth.UNKNOWN,
                                      reason, message), *stalled, valid(inputs)))
