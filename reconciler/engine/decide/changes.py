"""Every change that the running VM does not have, its class, and what holds it back. Pure.

A part of the plan: the class is that of the difference, unless this VM, as it is, cannot be given
the change while it runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domain.devices import RootPort
from reconciler.domain.difference import Change, differences
from reconciler.domain.hot_change import as_started, free_ports, possible
from reconciler.domain.model import Domain, Impact
from reconciler.domain.policy import DesiredState, UpdatePolicy
from reconciler.domain.xml_paths import CURRENT_MEMORY, CURRENT_VCPUS, STATE
from reconciler.engine.decide.inputs import Inputs, Now, Pending, VmState, WaitsFor

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALWAYS_LIVE = (CURRENT_MEMORY, CURRENT_VCPUS)  # the guest has to take part in these
UNCERTAIN = Change("devices", "unknown", "as in the file", Impact.RECREATE)


def pending_changes(inputs: Inputs, domain: Domain, now: Now) -> tuple[Pending, ...]:
    """Compare what the running VM has with the definition in force."""
    if inputs.running is None or inputs.vm.state is VmState.ABSENT:
        return ()
    changes = [c for c in differences(inputs.running, domain) if c.impact is not Impact.NONE]
    if inputs.vm.uncertain:
        changes.append(UNCERTAIN)
    if not changes:
        return ()
    late = {change.path for change in differences(as_started(domain), domain)}
    ports = [] if inputs.vm.foreign else free_ports(inputs.running)
    found: list[Pending] = []
    # What is removed comes first: it frees its root port for what is added.
    for change in sorted(changes, key=lambda c: c.new != "none"):
        waiting = _whatever_the_policy(change, inputs, domain, now)
        if change.path in late:
            found.append(waiting or _late(change, inputs, domain))
            continue
        classed = _classed(change, inputs, domain, [] if waiting else ports)
        found.append(replace(waiting, change=classed) if waiting else _allowed(
            classed, inputs, domain))
    return tuple(replace(p, late=p.change.path in late) for p in found)


def _late(change: Change, inputs: Inputs, domain: Domain) -> Pending:
    """No start has this change, and it is made afterwards: another start would not help."""
    if domain.policy.update is UpdatePolicy.MANUAL and inputs.vm.generation != inputs.generation:
        return _for_policy(change, domain.policy.update)
    return Pending(change)


def without_effect(inputs: Inputs, domain: Domain) -> tuple[Change, ...]:
    """What a file that was just accepted changes, and no running VM notices."""
    if inputs.running is None or inputs.attempts.observed_generation == inputs.generation:
        return ()
    return tuple(change for change in differences(inputs.running, domain)
                 if change.impact is Impact.NONE and change.path != STATE
                 # Root ports without an element in the file are not reported.
                 and (change.device is None or change.device[0] != RootPort.KIND))


def needs_new_process(changes: Sequence[Pending], policy: UpdatePolicy) -> bool:
    """Whether these changes take a new process."""
    return any(p.change.impact is Impact.RECREATE or (
        policy is UpdatePolicy.RECREATE and not p.late) for p in changes)


def _classed(change: Change, inputs: Inputs, domain: Domain, ports: list[int]) -> Change:
    """The difference's class, unless this VM cannot be given the change while it runs."""
    assert inputs.running is not None
    live = change.impact is not Impact.LIVE or (
        inputs.attempts.needs_restart_generation != inputs.generation and possible(
            change, inputs.running, domain, least_vcpus=inputs.vm.least_vcpus, ports=ports))
    return change if live else replace(change, impact=Impact.RECREATE)


def _allowed(change: Change, inputs: Inputs, domain: Domain) -> Pending:
    """Held back by the update policy, by a closed window where the VM is recreated, or not."""
    policy = domain.policy.update
    if policy is UpdatePolicy.MANUAL or (
            policy is UpdatePolicy.LIVE and change.impact is Impact.RECREATE):
        return _for_policy(change, policy)
    disruptive = change.impact is Impact.RECREATE or policy is UpdatePolicy.RECREATE
    if disruptive and inputs.window is not None and not inputs.window.open:
        return Pending(change, f"window:{inputs.window.name}", WaitsFor.WINDOW)
    return Pending(change)


def _for_policy(change: Change, policy: UpdatePolicy) -> Pending:
    return Pending(change, f"update-policy:{policy}", WaitsFor.POLICY)


def _whatever_the_policy(change: Change, inputs: Inputs, domain: Domain,
                         now: Now) -> Pending | None:
    """A definition that was rolled back waits for a new file; some changes for the guest."""
    if inputs.newest_rolled_back:
        return Pending(change, "rolled-back", WaitsFor.ROLLBACK)
    if change.impact is not Impact.LIVE or (
            domain.policy.update in (UpdatePolicy.RECREATE, UpdatePolicy.MANUAL)
            and change.path not in _ALWAYS_LIVE):
        return None
    paused = domain.policy.state is DesiredState.PAUSED
    if paused and (change.new == "none" or change.path in _ALWAYS_LIVE):
        return Pending(change, "guest: it is paused", WaitsFor.GUEST)
    return next((Pending(change, f"guest: {deferred.reason}", WaitsFor.GUEST)
                 for deferred in inputs.deferred_changes
                 if deferred.path == change.path and now.clock < deferred.retry_at), None)
