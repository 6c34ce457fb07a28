"""Every change that the running process has not got, its class, and what holds it back. Pure.

A part of the plan: the class is the difference's, unless this VM, as it is, cannot be told it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domain.difference import Change, differences
from reconciler.domain.live import free_ports, possible
from reconciler.domain.model import DesiredState, Domain, Impact, UpdatePolicy
from reconciler.engine.case import GUEST, Case, Now, Pending, VmState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OURS = "root-port["  # those that nobody wrote are nobody's news
UNCERTAIN = Change("devices", "unknown", "as in the file", Impact.RECREATE)


def pending_changes(case: Case, domain: Domain, now: Now) -> tuple[Pending, ...]:
    """Compare what the process has got with the definition in force."""
    if case.applied is None or case.vm.state is VmState.ABSENT:
        return ()
    changes = [c for c in differences(case.applied, domain) if c.impact is not Impact.NONE]
    if case.vm.uncertain:
        changes.append(UNCERTAIN)
    return tuple(Pending(change, _blocked(change, case, domain, now))
                 for change in _classed(changes, case, case.applied, domain))


def without_effect(case: Case, domain: Domain) -> tuple[Change, ...]:
    """What a file that was just accepted changes, and no process has to be told."""
    if case.applied is None or case.ledger.settled == case.generation:
        return ()
    return tuple(change for change in differences(case.applied, domain)
                 if change.impact is Impact.NONE and change.path != "policy/state"
                 and not change.path.startswith(_OURS))


def needs_new_process(changes: Sequence[Pending], policy: UpdatePolicy) -> bool:
    """Whether what may be done now takes a new process."""
    return bool(changes) and (policy is UpdatePolicy.RECREATE or any(
        p.change.impact is Impact.RECREATE for p in changes))


def _classed(changes: Iterable[Change], case: Case, applied: Domain,
             domain: Domain) -> Iterable[Change]:
    """What goes first: its root port is free for what comes."""
    ports = [] if case.vm.foreign else free_ports(applied)
    for change in sorted(changes, key=lambda c: c.new != "none"):
        live = change.impact is not Impact.LIVE or (
            case.ledger.not_live != case.generation and possible(
                change, applied, domain, least_vcpus=case.vm.least_vcpus, ports=ports))
        yield change if live else replace(change, impact=Impact.RECREATE)


def _blocked(change: Change, case: Case, domain: Domain, now: Now) -> str:
    policy = domain.policy.update
    if case.ledger.refused == case.generation:
        return "rolled-back"
    if policy is UpdatePolicy.MANUAL or (
            policy is UpdatePolicy.LIVE and change.impact is Impact.RECREATE):
        return f"update-policy:{policy}"
    if change.impact is not Impact.LIVE or policy is UpdatePolicy.RECREATE:
        return ""
    paused = domain.policy.state is DesiredState.PAUSED
    if paused and (change.new == "none" or change.path in ("current_memory", "current_vcpus")):
        return f"{GUEST} it is paused"
    return next((f"{GUEST} {u.reason}" for u in case.unwilling
                 if u.path == change.path and now.clock < u.retry_at), "")
