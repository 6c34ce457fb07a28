"""The decision: one pure function from `Inputs` to a `Plan`. No I/O, no clock, no randomness.

All decisions about a VM are made here and nowhere else. The engine executes the Plan, the command
`plan` prints it, the status shows its conditions: the three cannot disagree. Its parts: what should
be done (steps.py), what keeps it from being done now (blockers.py), what is true (conditions.py),
and what becomes of a domain whose file is gone (prune_plan.py).
"""

from __future__ import annotations

from dataclasses import replace

from reconciler.engine.decide.blockers import blocker_of, for_window
from reconciler.engine.decide.changes import pending_changes, without_effect
from reconciler.engine.decide.conditions import (
    awaits_health,
    conditions_of,
    held,
    nothing_in_force,
)
from reconciler.engine.decide.inputs import Inputs, Now, Pending, Plan, Removal, VmState, WaitsFor
from reconciler.engine.decide.prune_plan import REMOVAL, removal, removal_of_held
from reconciler.engine.decide.steps import decision_of


def plan(inputs: Inputs, now: Now) -> Plan:
    """Decide about one domain."""
    found = _plan(inputs, now)
    quiet = without_effect(inputs, inputs.domain) if inputs.domain is not None else ()
    return replace(found, no_effect=quiet) if quiet else found


def _plan(inputs: Inputs, now: Now) -> Plan:
    domain = inputs.domain
    on_hold = inputs.hold is not None and inputs.hold.in_force(now.wall)
    if inputs.removal.believed:
        return removal_of_held(inputs) if on_hold else removal(inputs, now)
    if domain is None:
        return nothing_in_force(inputs)
    pending = pending_changes(inputs, domain, now)
    decision = decision_of(inputs, domain, pending)
    if on_hold:
        return held(inputs, decision, pending)
    blocker = blocker_of(inputs, domain, decision, now)
    conditions = conditions_of(inputs, domain, decision, blocker, pending)
    coming_up = awaits_health(inputs, domain) or (
        decision.changing and inputs.vm.state is VmState.STARTING)
    if blocker is not None:
        return Plan((), decision.cause, conditions, pending, blocker.until,
                    blocked=decision.steps, blocked_on=blocker.on, coming_up=coming_up)
    unwanted = inputs.removal in (Removal.HELD, Removal.UNPROVEN)
    blocked = REMOVAL if unwanted and not decision.steps else ()
    again = None if decision.steps else _again(inputs, pending, now)
    return Plan(decision.steps, decision.cause, conditions, pending, again, blocked=blocked,
                coming_up=coming_up, unhealthy=decision.unhealthy)


def _again(inputs: Inputs, pending: tuple[Pending, ...], now: Now) -> float | None:
    """When a pending change may go on by itself: the guest is asked again, a window opens."""
    waiting = {p.change.path for p in pending if p.waits_for_guest}
    times = [deferred.retry_at for deferred in inputs.deferred_changes
             if deferred.path in waiting and deferred.retry_at > now.clock]
    if any(p.waits_for is WaitsFor.WINDOW for p in pending):
        window = for_window(inputs.window, now)
        times += [window.until] if window is not None and window.until is not None else []
    return min(times, default=None)
