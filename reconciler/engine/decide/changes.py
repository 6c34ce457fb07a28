"""Every change that the running process has not got, its class, and what holds it back. Pure.

A part of the plan: the class is the difference's, unless this VM, as it is, cannot be told it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domain.devices import RootPort
from reconciler.domain.difference import Change, differences
from reconciler.domain.hot_change import as_started, free_ports, possible
from reconciler.domain.model import DesiredState, Domain, Impact, UpdatePolicy
from reconciler.domain.xml_paths import CURRENT_MEMORY, CURRENT_VCPUS, STATE
from reconciler.engine.decide.inputs import GUEST, Inputs, Now, Pending, VmState

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW = "window:"  # what the reason begins with, where a change waits for a window
_ALWAYS_LIVE = (CURRENT_MEMORY, CURRENT_VCPUS)  # of which the guest has to know
UNCERTAIN = Change("devices", "unknown", "as in the file", Impact.RECREATE)


def pending_changes(case: Inputs, domain: Domain, now: Now) -> tuple[Pending, ...]:
    """Compare what the process has got with the definition in force."""
    if case.applied is None or case.vm.state is VmState.ABSENT:
        return ()
    changes = [c for c in differences(case.applied, domain) if c.impact is not Impact.NONE]
    if case.vm.uncertain:
        changes.append(UNCERTAIN)
    if not changes:
        return ()
    late = {change.path for change in differences(as_started(domain), domain)}
    ports = [] if case.vm.foreign else free_ports(case.applied)
    found: list[Pending] = []
    for change in sorted(changes, key=lambda c: c.new != "none"):  # what goes frees its root port
        blocked = _blocked_anyway(change, case, domain, now)
        if change.path in late:
            found.append(_late(change, case, domain, blocked))
            continue
        classed = _classed(change, case, domain, [] if blocked else ports)
        found.append(Pending(classed, blocked or _blocked(classed, case, domain)))
    return tuple(found)


def _late(change: Change, case: Inputs, domain: Domain, blocked: str) -> Pending:
    """What every start lacks, and is told: a refusal is not helped by another start."""
    if not blocked and domain.policy.update is UpdatePolicy.MANUAL and (
            case.vm.generation != case.generation):
        blocked = f"update-policy:{domain.policy.update}"
    return Pending(change, blocked, late=True)


def without_effect(case: Inputs, domain: Domain) -> tuple[Change, ...]:
    """What a file that was just accepted changes, and no process has to be told."""
    if case.applied is None or case.ledger.settled == case.generation:
        return ()
    return tuple(change for change in differences(case.applied, domain)
                 if change.impact is Impact.NONE and change.path != STATE
                 and (change.device is None or change.device[0] != RootPort.KIND))


def needs_new_process(changes: Sequence[Pending], policy: UpdatePolicy) -> bool:
    """Whether what may be done now takes a new process."""
    return any(p.change.impact is Impact.RECREATE or (
        policy is UpdatePolicy.RECREATE and not p.late) for p in changes)


def _classed(change: Change, case: Inputs, domain: Domain, ports: list[int]) -> Change:
    """The difference's class, unless this VM cannot be told it."""
    assert case.applied is not None
    live = change.impact is not Impact.LIVE or (
        case.ledger.not_live != case.generation and possible(
            change, case.applied, domain, least_vcpus=case.vm.least_vcpus, ports=ports))
    return change if live else replace(change, impact=Impact.RECREATE)


def _blocked(change: Change, case: Inputs, domain: Domain) -> str:
    """What the update policy holds back, or for a new process a window that is shut."""
    policy = domain.policy.update
    if policy is UpdatePolicy.MANUAL or (
            policy is UpdatePolicy.LIVE and change.impact is Impact.RECREATE):
        return f"update-policy:{policy}"
    disruptive = change.impact is Impact.RECREATE or policy is UpdatePolicy.RECREATE
    if disruptive and case.opening is not None and not case.opening.open:
        return f"{WINDOW}{case.opening.name}"
    return ""


def _blocked_anyway(change: Change, case: Inputs, domain: Domain, now: Now) -> str:
    """What waits whatever the policy: a definition that was rolled back, a guest that cannot."""
    if case.ledger.refused == case.generation:
        return "rolled-back"
    if change.impact is not Impact.LIVE or (
            domain.policy.update in (UpdatePolicy.RECREATE, UpdatePolicy.MANUAL)
            and change.path not in _ALWAYS_LIVE):
        return ""
    paused = domain.policy.state is DesiredState.PAUSED
    if paused and (change.new == "none" or change.path in _ALWAYS_LIVE):
        return f"{GUEST} it is paused"
    return next((f"{GUEST} {u.reason}" for u in case.unwilling
                 if u.path == change.path and now.clock < u.retry_at), "")
