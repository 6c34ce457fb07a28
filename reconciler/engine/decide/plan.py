"""The decision: one pure function from a Inputs to a Plan. No I/O, no clock, no randomness.

All decisions about a VM are made here and nowhere else. The engine executes the Plan, the command
`plan` prints it, the status shows its conditions: the three cannot disagree. Its parts: what ought
to be done (intent.py), what keeps it from being done now (waits.py), what is true (conditions.py),
and what becomes of a domain whose file is gone (pruning.py).
"""

from __future__ import annotations

from dataclasses import replace

from reconciler.engine.decide.blockers import for_window, wait_of
from reconciler.engine.decide.changes import WINDOW, pending_changes, without_effect
from reconciler.engine.decide.conditions import conditions_of, held, nothing_in_force
from reconciler.engine.decide.inputs import Inputs, Now, Pending, Plan, Removal
from reconciler.engine.decide.prune_plan import REMOVAL, removal, removal_of_held
from reconciler.engine.decide.steps import intent_of


def plan(case: Inputs, now: Now) -> Plan:
    """Decide about one domain."""
    found = _plan(case, now)
    quiet = without_effect(case, case.domain) if case.domain is not None else ()
    return replace(found, no_effect=quiet) if quiet else found


def _plan(case: Inputs, now: Now) -> Plan:
    domain = case.domain
    on_hold = case.hold is not None and (case.hold.until is None or now.wall < case.hold.until)
    if case.removal in (Removal.PROVEN, Removal.APPROVED):
        return removal_of_held(case) if on_hold else removal(case, now)
    if domain is None:
        return nothing_in_force(case)
    pending = pending_changes(case, domain, now)
    intent = intent_of(case, domain, pending)
    if on_hold:
        return held(case, intent, pending)
    wait = wait_of(case, domain, intent, now)
    conditions = conditions_of(case, domain, intent, wait, pending)
    if wait is not None:
        return Plan((), intent.cause, conditions, pending, wait.until, blocked=intent.steps)
    blocked = () if intent.steps or case.removal is not Removal.HELD else REMOVAL
    again = None if intent.steps else _again(case, pending, now)
    return Plan(intent.steps, intent.cause, conditions, pending, again, blocked=blocked)


def _again(case: Inputs, pending: tuple[Pending, ...], now: Now) -> float | None:
    """When something that waits may go on by itself: the guest is asked again, a window opens."""
    waits = {p.change.path for p in pending if p.waits_for_guest}
    times = [u.retry_at for u in case.unwilling if u.path in waits and u.retry_at > now.clock]
    if any(p.blocked_by.startswith(WINDOW) for p in pending):
        window = for_window(case.opening, now)
        times += [window.until] if window is not None and window.until is not None else []
    return min(times, default=None)
