"""The plan for a domain whose file is gone, on positive evidence (rule 6). Pure."""

from __future__ import annotations

from reconciler.domain.policy import PrunePolicy
from reconciler.engine.decide.blockers import Blocker, backing_off, for_window, stops_after
from reconciler.engine.decide.inputs import (
    STOP,
    BlockedOn,
    Cause,
    Condition,
    Inputs,
    Now,
    Plan,
    Removal,
    Step,
    Truth,
    Verb,
    VmState,
)

REMOVAL = (STOP, Step(Verb.FORGET))
_KEPT = "its file is gone; prune policy: keep"
_CONFIRM = "its file is gone; `reconciler approve` removes it, or the file comes back"


def removal_of_held(inputs: Inputs) -> Plan:
    """It is removed once the hold is released."""
    hold = inputs.hold
    assert hold is not None
    message = f"its file is gone; {hold.description}; `reconciler release` removes it"
    return Plan(conditions=(Condition("Ready", Truth.FALSE, "HoldRequested", message),
                            Condition("Held", Truth.TRUE, "HoldRequested", message)),
                blocked=REMOVAL, blocked_on=BlockedOn.HOLD)


def removal(inputs: Inputs, now: Now) -> Plan:
    """Stop it gracefully, by its last policy, then forget it, unless the policy says otherwise."""
    domain = inputs.domain or inputs.running
    policy = domain.policy if domain else None
    alive = inputs.vm.state is not VmState.ABSENT
    if policy and policy.prune is PrunePolicy.KEEP and alive:
        return Plan(conditions=(Condition("Ready", Truth.TRUE, "Orphaned", _KEPT),
                                Condition("Orphaned", Truth.TRUE, "Orphaned", _KEPT)),
                    blocked_on=BlockedOn.KEPT)
    if policy and policy.prune is PrunePolicy.CONFIRM and inputs.removal is not Removal.APPROVED:
        return Plan(conditions=(
            Condition("Ready", Truth.FALSE, "ConfirmRequired", _CONFIRM),
            Condition("PruneHeld", Truth.TRUE, "ConfirmRequired", _CONFIRM)), blocked=REMOVAL,
            blocked_on=BlockedOn.CONFIRMATION)
    forget_at = inputs.removal_since + (policy.prune_after if policy else 0.0)
    steps = ((STOP,) if alive else ()) + (
        (Step(Verb.FORGET),) if now.clock >= forget_at else ())
    cause = Cause.APPROVAL if inputs.removal is Removal.APPROVED else Cause.FILE
    blocker = _blocker(inputs, steps, now)
    if blocker is not None:
        return Plan((), cause, _conditions(blocker), (), blocker.until, blocked=steps,
                    blocked_on=blocker.on)
    again = forget_at if now.clock < forget_at else None
    return Plan(steps, cause, _conditions(None), look_again_at=None if steps else again)


def _blocker(inputs: Inputs, steps: tuple[Step, ...], now: Now) -> Blocker | None:
    failures = inputs.attempts.failures
    if steps and now.clock < failures.retry_at:
        return backing_off(failures, now)
    if STOP not in steps:
        return None
    if inputs.surroundings.dependents:
        return stops_after(inputs.surroundings.dependents)
    return for_window(inputs.window, now)


def _conditions(blocker: Blocker | None) -> tuple[Condition, ...]:
    reason = blocker.reason if blocker else "Stopping"
    message = f"its file is gone; {blocker.message}" if blocker else "its file is gone"
    found = (Condition("Ready", Truth.UNKNOWN, reason, message),
             Condition("Terminating", Truth.TRUE, reason, message))
    stalled = (Condition("Stalled", Truth.TRUE, reason, message),)
    return (*found, *(stalled if blocker and blocker.stalled else ()))
