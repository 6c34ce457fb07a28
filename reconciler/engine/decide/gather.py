"""From a domain's state to the inputs of its plan, and to what others must know of it. Pure.

The one place where `Inputs` are made: for the engine, and for every dry run (plan, plan --dir,
--ref, apply, explain), so that these cannot disagree.
"""

from __future__ import annotations

import datetime
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.engine.decide.constraints import DomainSummary
from reconciler.engine.decide.inputs import (
    STARTS,
    BlockedOn,
    ExitKind,
    Hold,
    Inputs,
    Now,
    Plan,
    Removal,
    Surroundings,
    Verb,
    VmState,
    WindowState,
)
from reconciler.engine.decide.plan import plan
from reconciler.units import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.domain.model import Domain
    from reconciler.engine.decide.state import DomainState
    from reconciler.windows import Window


@dataclass(frozen=True, slots=True)
class Decided:
    """A plan, and what it rests on."""

    inputs: Inputs
    plan: Plan


def decide(state: DomainState, now: Now, *, hold_of_all: Hold | None,
           surroundings: Callable[[], Surroundings]) -> Decided:
    """The plan of a domain. Its surroundings are asked for only where something is to be done."""
    inputs = gather(state, now, hold_of_all=hold_of_all)
    decided = plan(inputs, now)
    if not decided.steps:
        return Decided(inputs, decided)
    inputs = replace(inputs, surroundings=surroundings())
    return Decided(inputs, plan(inputs, now))


def gather(state: DomainState, now: Now, *, hold_of_all: Hold | None) -> Inputs:
    """Everything that the plan rests on, of what is known now, except for its surroundings."""
    alive = state.vm.state is not VmState.ABSENT
    return Inputs(
        domain=state.domain, vm=state.vm, generation=state.record.generation,
        running=state.running.domain if alive and state.running is not None else None,
        last_known_good=state.last_known_good, attempts=state.attempts, invalid=state.invalid,
        invalid_reason=state.invalid_reason, removal=state.removal,
        removal_since=state.removal_since, removal_reason=state.removal_reason,
        removal_message=state.removal_message, hold=hold_in_force(state, hold_of_all, now),
        restart_asked=state.restart_asked, recreating=state.recreating and not alive,
        start_after=_start_after(state),
        window=window_state(state.config.windows, state.domain, now.wall), probe=state.probe,
        deferred_changes=state.deferred_changes)


def hold_in_force(state: DomainState, hold_of_all: Hold | None, now: Now) -> Hold | None:
    """The hold of this domain, or of all of them, or of its file; the first that is not over."""
    for hold in (state.record.hold, hold_of_all):
        if hold is not None and hold.in_force(now.wall):
            return hold
    policy = state.domain.policy if state.domain is not None else None
    if policy is None or not policy.hold or (
            state.removal not in (Removal.NONE, Removal.UNPROVEN)):
        return None
    until = _moment(policy.hold_until, state.record.accepted_at) if policy.hold_until else None
    return Hold(policy.hold_reason or "", "its file", until)


def _moment(text: str, accepted: float) -> float | None:
    """RFC 3339, or a duration from when the file was accepted, as seconds since 1970."""
    with suppress(ValueError):
        return accepted + seconds(text)
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _start_after(state: DomainState) -> float:
    """start/@delay counts after a boot of the host alone, from when the reconciler began."""
    end, domain = state.attempts.last_exit, state.domain
    if domain is None or end is None or end.kind is not ExitKind.REBOOT:
        return 0.0
    return state.config.began + domain.policy.start_delay


def window_state(windows: Mapping[str, Window], domain: Domain | None,
                 wall: float) -> WindowState | None:
    """The window that the file names, as of `wall`; None where it names none."""
    name = domain.policy.window if domain is not None else None
    window = windows.get(name) if name else None
    if window is None or name is None:
        return None
    if window.open_at(wall):
        return WindowState(name, open=True)
    at = window.opens(wall)
    return WindowState(name, open=False, opens_at=at, shown=window.show(at) if at else "")


def summarise(state: DomainState) -> DomainSummary:
    """What other domains have to know of this one."""
    decided, vm = state.plan, state.vm
    alive = vm.state is not VmState.ABSENT
    failing = state.attempts.failures.count > 0 or state.attempts.silence.count > 0
    # A domain that is held, or stays down, keeps no other waiting for its new VM.
    comes = not decided.held and (alive or bool(decided.steps or decided.blocked))
    verbs = {step.verb for step in decided.steps}
    return DomainSummary(
        state.domain, vm.state, ready=decided.is_ready or (
            decided.made and not verbs and state.is_healthy),
        at_rest=decided.made and (not decided.on_its_way or failing),
        waits=decided.blocked_on in (BlockedOn.DEPENDENCY, BlockedOn.DEPENDENTS),
        failing=failing, leaving=_leaving(state),
        recreating=Verb.CHECK in verbs or (comes and _recreate_under_way(state)),
        wants_recreate=not decided.held and any(
            step.verb is Verb.CHECK for step in decided.blocked),
        memory=_memory(state), home=state.home)


def _recreate_under_way(state: DomainState) -> bool:
    """Whether a recreate or rollback began, and the new VM is not up (and healthy) yet."""
    attempts, vm, generation = state.attempts, state.vm, state.record.generation
    begun = attempts.recreating_generation == generation and (
        vm.generation in (0, generation) and (vm.pid is None or vm.pid != attempts.replaced_pid))
    return begun or (state.newest_rolled_back and vm.state is VmState.ABSENT)


def _leaving(state: DomainState) -> bool:
    """Whether it is to be stopped or removed, as soon as that is possible."""
    if state.plan.blocked_on in (BlockedOn.WINDOW, BlockedOn.KEPT, BlockedOn.CONFIRMATION,
                                 BlockedOn.HOLD):
        return False
    if state.removal.believed:
        return True
    return state.domain is not None and state.domain.policy.state == "stopped"


def _memory(state: DomainState) -> int:
    """Bytes that its VM takes, or is about to take.

    What is being launched counts as it is, though its file may say something else by now.
    """
    alive = state.vm.state is not VmState.ABSENT
    running = state.running.domain if state.running is not None else None
    launching = state.launching.domain if state.launching is not None else None
    rollback = any(step.rollback for step in state.plan.steps)
    starts = any(step.verb in STARTS for step in state.plan.steps)
    found = [domain.memory for domain, counts in (
        (running, alive), (launching, True), (state.last_known_good, rollback),
        (state.domain, starts or (alive and running is None)))
        if domain is not None and counts]
    return max(found, default=0)


def memory_needed(state: DomainState) -> int:
    """Bytes that its start takes: after a rollback those of the definition it goes back to."""
    good = state.last_known_good
    domain = good if state.newest_rolled_back and good is not None else state.domain
    return domain.memory if domain is not None else 0
