"""The plan for a domain whose file is gone, on positive evidence (rule 6). Pure."""

from __future__ import annotations

from reconciler.domain.model import PrunePolicy
from reconciler.engine.decide.blockers import Blocker, backing_off, for_window
from reconciler.engine.decide.inputs import (
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

STOP = Step(Verb.STOP)
REMOVAL = (STOP, Step(Verb.FORGET))
_KEPT = "its file is gone; prune policy: keep"
_CONFIRM = "its file is gone; `reconciler approve` removes it, or the file comes back"


def removal_of_held(case: Inputs) -> Plan:
    """Somebody works on it: it goes once they are done."""
    hold = case.hold
    assert hold is not None
    message = f"its file is gone; {hold.told}; `reconciler release` removes it"
    return Plan(conditions=(Condition("Ready", Truth.FALSE, "HoldRequested", message),
                            Condition("Held", Truth.TRUE, "HoldRequested", message)),
                blocked=REMOVAL)


def removal(case: Inputs, now: Now) -> Plan:
    """Stop it gracefully, by its last policy, then forget it, unless the policy says otherwise."""
    domain = case.domain or case.applied
    policy = domain.policy if domain else None
    alive = case.vm.state is not VmState.ABSENT
    if policy and policy.prune is PrunePolicy.KEEP and alive:
        return Plan(conditions=(Condition("Ready", Truth.TRUE, "Orphaned", _KEPT),
                                Condition("Orphaned", Truth.TRUE, "Orphaned", _KEPT)))
    if policy and policy.prune is PrunePolicy.CONFIRM and case.removal is not Removal.APPROVED:
        return Plan(conditions=(
            Condition("Ready", Truth.FALSE, "ConfirmRequired", _CONFIRM),
            Condition("PruneHeld", Truth.TRUE, "ConfirmRequired", _CONFIRM)), blocked=REMOVAL)
    forget_at = case.removal_since + (policy.prune_after if policy else 0.0)
    steps = ((STOP,) if alive else ()) + (
        (Step(Verb.FORGET),) if now.clock >= forget_at else ())
    cause = Cause.APPROVAL if case.removal is Removal.APPROVED else Cause.FILE
    wait = _wait(case, steps, now)
    if wait is not None:
        return Plan((), cause, _conditions(wait), (), wait.until, blocked=steps)
    again = forget_at if now.clock < forget_at else None
    return Plan(steps, cause, _conditions(None), look_again_at=None if steps else again)


def _wait(case: Inputs, steps: tuple[Step, ...], now: Now) -> Blocker | None:
    failures = case.ledger.failures
    if steps and now.clock < failures.retry_at:
        return backing_off(failures, "try", now)
    if STOP not in steps:
        return None
    if case.around.dependents:
        return Blocker("WaitingForDependency", f"first stops {', '.join(case.around.dependents)}",
                    None)
    return for_window(case.opening, now)


def _conditions(wait: Blocker | None) -> tuple[Condition, ...]:
    reason = wait.reason if wait else "Stopping"
    message = f"its file is gone; {wait.message}" if wait else "its file is gone"
    found = (Condition("Ready", Truth.UNKNOWN, reason, message),
             Condition("Terminating", Truth.TRUE, reason, message))
    stalled = (Condition("Stalled", Truth.TRUE, reason, message),)
    return (*found, *(stalled if wait and wait.stalled else ()))
