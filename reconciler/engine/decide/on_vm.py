"""Transitions: what is observed of the VM, its exits, its health. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.policy import DesiredState
from reconciler.engine.decide import attempts
from reconciler.engine.decide.events import (
    Adopted,
    ConsolesFound,
    DeviceRemoved,
    Event,
    ExitFound,
    GuestRebooted,
    Observed,
    Priority,
    Probed,
    ProbingRestarted,
    ProcessEnded,
    RunningFound,
    Wake,
)
from reconciler.engine.decide.inputs import Exit, ExitKind, HealthStatus, ProbeResult, Vm, VmState
from reconciler.engine.decide.next_state import (
    Next,
    can_roll_back,
    count_exit,
    report,
    roll_back,
    with_record,
)
from reconciler.engine.decide.state import DomainState, Running

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.domain.policy import Health
    from reconciler.engine.decide.events import Effect
    from reconciler.engine.decide.inputs import Now


def _running_found(state: DomainState, event: RunningFound) -> Next:
    """The record beside the lock may be newer than what was kept when the reconciler was killed."""
    good = state.last_known_good
    running = event.running
    if running is None and good is not None:  # its record is lost: what came up last is what runs
        running = Running(good, state.record.last_known_good, good)
    record = state.record
    return replace(state, running=running, record=replace(
        record, places=record.places or event.places,
        generation=max(record.generation, event.generation))), ()


def _adopted(state: DomainState, _: Adopted) -> Next:
    return state, (report(state, "domain.adopted"),)


def _observed(state: DomainState, event: Observed) -> Next:
    state = replace(state, vm=event.vm, process=event.process, launching=None)
    return _check_health(_count_silence(state, event.now), event.now)


def _count_silence(state: DomainState, now: Now) -> DomainState:
    """A VM that does not answer is asked again with growing delays, until it does."""
    before = state.attempts
    after = before
    if state.vm.state is not VmState.UNKNOWN:
        after = attempts.answered(before)
    elif now.clock >= before.silence.retry_at:
        after = attempts.silent(before, state.vm.problem, state.config.backoff, now=now.clock,
                                jitter=now.jitter)
    return state if after is before else with_record(state, attempts=after)


def _check_health(state: DomainState, now: Now) -> Next:
    """What the guest's health means for a recreate, and for restarts."""
    domain, vm = state.domain, state.vm
    if domain is None or vm.state not in (VmState.RUNNING, VmState.PAUSED):
        return state, ()
    # Paused guests are not probed, whether or not the pause is wanted.
    health = state.health if domain.policy.state is DesiredState.RUNNING else None
    generation = state.record.generation
    # The old process says nothing about its replacement, even where both are of one generation.
    if state.attempts.recreating_generation == generation == vm.generation and (
            vm.pid != state.attempts.replaced_pid):
        if health is None or state.probe.status is HealthStatus.HEALTHY:
            state = _mark_available(state)
        elif state.probe.status is HealthStatus.UNHEALTHY:
            return _new_one_unhealthy(state)
    return _count_unhealthy(state, health, now) if health is not None else (state, ())


def _mark_available(state: DomainState) -> DomainState:
    """The new VM of a recreate is up, and healthy where that is asked."""
    return with_record(
        replace(state, last_known_good=state.domain), last_known_good=state.record.definition,
        attempts=attempts.succeeded(state.attempts))


def _new_one_unhealthy(state: DomainState) -> Next:
    """The new VM came up and is not healthy: back to the old definition, if there is one."""
    if not can_roll_back(state):
        return with_record(state, attempts=attempts.succeeded(state.attempts)), ()
    return roll_back(state, f"the new definition is not healthy: {state.probe.message}")


def _count_unhealthy(state: DomainState, health: Health, now: Now) -> Next:
    """An unhealthy guest that is to be restarted counts as an exit, once a process."""
    if not health.restart or state.unhealthy_counted or (
            state.probe.status is not HealthStatus.UNHEALTHY):
        return state, ()
    end = Exit(ExitKind.UNHEALTHY, now.clock, wall=now.wall,
               message=f"its guest was not healthy: {state.probe.message}")
    return count_exit(replace(state, unhealthy_counted=True), end, now, reported=False)


def _process_ended(state: DomainState, event: ProcessEnded) -> Next:
    state = replace(state, vm=Vm(VmState.ABSENT), process=None, consoles={}, deferred_changes=())
    effects: tuple[Effect, ...] = ()
    if not event.asked and not state.starting:
        state, effects = count_exit(state, event.exit, event.now)
    return state, (*effects, Wake(Priority.EXIT))


def _exit_found(state: DomainState, event: ExitFound) -> Next:
    return count_exit(state, event.exit, event.now)


def _guest_rebooted(state: DomainState, event: GuestRebooted) -> Next:
    """An exit only where the file says on_reboot='destroy'; the plan then stops the VM."""
    running = state.running
    if running is None or not running.domain.policy.destroy_on_reboot or (
            state.attempts.down_reason):
        return state, ()
    end = Exit(ExitKind.RESET, event.now.clock, message="the guest rebooted", wall=event.now.wall)
    return count_exit(state, end, event.now)


def _device_removed(state: DomainState, event: DeviceRemoved) -> Next:
    if state.running is None:
        return state, ()
    return replace(state, running=replace(state.running, domain=event.domain)), ()


def _probing_restarted(state: DomainState, _: ProbingRestarted) -> Next:
    return replace(state, probe=ProbeResult(), unhealthy_counted=False), ()


def _probed(state: DomainState, event: Probed) -> Next:
    before, after = state.probe, event.result
    state = replace(state, probe=after)
    if before.status is after.status:
        return state, (Wake(Priority.DRIFT),) if before.message != after.message else ()
    if after.status is HealthStatus.HEALTHY:
        state = with_record(state, last_healthy=event.process)
        found = report(state, "domain.healthy", reason="Succeeded")
    else:
        found = report(state, "domain.unhealthy", severity="warning", reason="HealthCheckFailed",
                       message=after.message)
    return state, (found, Wake(Priority.EXIT))


def _consoles_found(state: DomainState, event: ConsolesFound) -> Next:
    return replace(state, consoles=event.consoles, consoles_of=state.vm.pid), ()


HANDLERS: dict[type[Event], Callable[[DomainState, Any], Next]] = {
    RunningFound: _running_found, Adopted: _adopted, Observed: _observed,
    ProcessEnded: _process_ended, ExitFound: _exit_found, GuestRebooted: _guest_rebooted,
    DeviceRemoved: _device_removed, ProbingRestarted: _probing_restarted, Probed: _probed,
    ConsolesFound: _consoles_found,
}
