"""Transitions: a plan is made, begun and ended; its actions begin, succeed and fail. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.engine.decide import attempts
from reconciler.engine.decide.condition_events import events_of, since_of
from reconciler.engine.decide.definition_history import applied
from reconciler.engine.decide.events import (
    ActionBegun,
    ActionDone,
    ActionFailed,
    Archive,
    CameUp,
    Event,
    Excuse,
    Faulted,
    LaunchBegun,
    Launched,
    PlanBegun,
    PlanEnded,
    Planned,
    StartAwaited,
    StartBegun,
)
from reconciler.engine.decide.inputs import (
    STARTS,
    STOP,
    Cause,
    Condition,
    Plan,
    Step,
    Truth,
    Verb,
    Vm,
    VmState,
)
from reconciler.engine.decide.next_state import (
    Next,
    can_roll_back,
    progressing,
    report,
    roll_back,
    with_record,
)
from reconciler.engine.decide.state import DomainState, LastAction
from reconciler.units import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.engine.decide.attempts import Attempts
    from reconciler.engine.decide.events import Effect
    from reconciler.engine.decide.inputs import Now

_UP = ("running", "paused")
# The event that says that an action begins or is done.
_BEGUN = {Verb.PAUSE: "domain.pausing", Verb.STOP: "domain.stopping"}
_DONE = {Verb.PAUSE: "domain.paused", Verb.RESUME: "domain.resumed", Verb.STOP: "domain.stopped",
         Verb.FORGET: "domain.destroyed", Verb.RECONNECT: "domain.updated"}


# The plan


def _planned(state: DomainState, event: Planned) -> Next:
    """Report the conditions that changed, and note a generation that ended Ready or Stalled."""
    decided, at = event.plan, timestamp(event.now.wall)
    news = tuple(report(state, e.event, severity=e.severity, reason=e.reason, message=e.message)
                 for e in events_of(state.condition_since, decided.conditions))
    state = replace(state, plan=decided, planned_for=state.removal,
                    planned_invalid=state.invalid, planned_definition=state.record.definition,
                    condition_since=since_of(state.condition_since, decided.conditions, at))
    if state.domain is None or not (decided.is_ready or decided.stalled):
        return state, news
    before = state.attempts
    reached = state.domain.policy.state if decided.is_ready else before.last_settled_state
    after = attempts.settled(before, state.record.generation, reached)
    if decided.is_ready:
        after = attempts.quiet(after, state.domain.policy, state.config.backoff,
                               now=event.now.clock)
    if after.observed_generation != before.observed_generation:
        state, effects = _record_observed_generation(state, after, at)
        return state, (*news, *effects)
    if after != before or not state.record.boot_id:
        state = with_record(state, attempts=after)
    return state, news


def _record_observed_generation(state: DomainState, after: Attempts, at: str) -> Next:
    """This generation ended: its definition and its result go into the history."""
    definition, decided = state.record.definition, state.plan
    ended = decided.ready if decided.is_ready else decided.condition("Stalled")
    if definition is None or ended is None or state.invalid:
        return with_record(state, attempts=after), ()
    history = applied(state.record.history, definition, ended.reason, at, state.config.history)
    state = with_record(state, attempts=after, history=history)
    if _runs_exactly_this(state):  # also where its process came before it
        state = with_record(replace(state, last_known_good=state.domain),
                            last_known_good=definition)
    return state, (Archive(definition, history),)


def _runs_exactly_this(state: DomainState) -> bool:
    """Whether the newest definition is what runs, with nothing pending, and healthy."""
    return state.plan.is_ready and not state.plan.pending and (
        state.vm.state in (VmState.RUNNING, VmState.PAUSED) and not state.removal.believed)


def _plan_begun(state: DomainState, _: PlanBegun) -> Next:
    decided, before = state.plan, state.attempts
    verbs = [step.verb for step in decided.steps]
    state = replace(state, executing=decided.steps)
    # A VM that ended before a change was applied is started with it, as if it were recreated
    # (rule 7): if the new definition does not come up, the old one is started again.
    starts_changed = before.last_settled_state in _UP and can_roll_back(state) and any(
        step.verb in STARTS and not step.rollback for step in decided.steps)
    announced = False
    if Verb.CHECK in verbs or starts_changed:
        mark = (state.record.generation, state.vm.pid or 0)
        announced = mark == (before.recreating_generation, before.replaced_pid)
        state = with_record(state, attempts=replace(
            before, recreating_generation=mark[0], replaced_pid=mark[1]))
    effects: list[Effect] = []
    if STOP in decided.steps and len(verbs) > 1 and Verb.FORGET not in verbs and not announced:
        recreates = decided.cause in (Cause.FILE, Cause.ROLLBACK)
        effects.append(report(state, "domain.recreating" if recreates else "domain.restarting",
                              cause=decided.cause, message=decided.ready.message))
    if decided.cause is Cause.DRIFT:
        effects.append(report(state, "domain.drifted", severity="warning", cause=Cause.DRIFT,
                              reason="Drifted", message=_drift(state)))
    return state, tuple(effects)


def _drift(state: DomainState) -> str:
    """What differs from what the file says, and was not changed by it."""
    if Step(Verb.RECONNECT) in state.plan.steps:
        return "; ".join(state.vm.off_network)
    return f"state is {state.vm.state}"


def _plan_ended(state: DomainState, event: PlanEnded) -> Next:
    """A recreate goes on until the new guest has been found healthy."""
    state = replace(state, executing=(), starting=False)
    if not event.done or state.forgotten:
        return state, ()
    before = state.attempts
    after = attempts.succeeded(before)
    if progressing(state):
        after = replace(after, recreating_generation=before.recreating_generation)
    return (with_record(state, attempts=after) if after != before else state), ()


# Its actions


def _start_begun(state: DomainState, event: StartBegun) -> Next:
    stored = event.running.stored
    state = replace(state, launching=event.running)
    return state, (report(
        state, "domain.starting", durable=True, action=event.step.verb, cause=state.plan.cause,
        pid=None, file=stored and stored.file, revision=stored and stored.revision,
        attempt=state.attempts.failures.count + 1),)


def _launch_begun(state: DomainState, event: LaunchBegun) -> Next:
    state = replace(state, launching=event.running, home=event.home, starting=True)
    if state.record.places == event.places:
        return state, ()
    return with_record(state, places=event.places), ()


def _launched(state: DomainState, event: Launched) -> Next:
    return _count_drift(replace(state, running=state.launching, restart_asked=False), event.now)


def _start_awaited(state: DomainState, _: StartAwaited) -> Next:
    return replace(state, starting=True), ()


def _came_up(state: DomainState, event: CameUp) -> Next:
    state, running = replace(state, starting=False), state.running
    stored = running.stored if running is not None else None
    if running is not None and stored is not None and not progressing(state):
        state = with_record(replace(state, last_known_good=running.definition),
                            last_known_good=stored)
    done = LastAction(event.verb, timestamp(event.now.wall), state.plan.cause, "ok",
                      state.revision, event.duration)
    return replace(state, last_action=done), (report(
        state, "domain.started", action=event.verb, cause=state.plan.cause, pid=event.pid,
        revision=stored and stored.revision, paused=event.verb is Verb.START_PAUSED or None,
        durationMs=event.duration),)


def _action_begun(state: DomainState, event: ActionBegun) -> Next:
    return state, (report(state, _BEGUN.get(event.verb, "action.started"), durable=True,
                          action=event.verb, cause=state.plan.cause),)


def _action_done(state: DomainState, event: ActionDone) -> Next:
    cause = state.plan.cause
    state = replace(state, last_action=LastAction(
        event.verb, timestamp(event.now.wall), cause, "ok", state.revision, event.duration,
        ended_by=event.ended_by or None, message=event.message or None))
    effects: tuple[Effect, ...] = ()
    if event.verb is Verb.STOP:
        state = replace(state, vm=Vm(VmState.ABSENT))
    if event.verb is Verb.FORGET:
        state = replace(state, forgotten=True)
    if event.verb is Verb.RECONNECT:
        state = replace(state, vm=replace(state.vm, off_network=()))
    if event.verb in (Verb.PAUSE, Verb.RESUME, Verb.RECONNECT):
        state, effects = _count_drift(state, event.now)
    if event.verb in _DONE:
        duration = None if event.verb is Verb.FORGET else event.duration
        how: dict[str, Any] = {"endedBy": event.ended_by, "message": event.message}
        how = {key: value for key, value in how.items() if value}
        effects = (*effects, report(state, _DONE[event.verb], action=event.verb, cause=cause,
                                    durationMs=duration, pid=event.pid or state.vm.pid, **how))
    return state, effects


def _count_drift(state: DomainState, now: Now) -> Next:
    """A correction was made; too many of them wait before the next."""
    if state.plan.cause is not Cause.DRIFT or STOP in state.executing:
        return state, ()
    what = "network" if Step(Verb.RECONNECT) in state.executing else "state"
    state = with_record(state, attempts=attempts.drifted(
        state.attempts, what, state.config.backoff, now=now.clock, jitter=now.jitter))
    if not state.attempts.drift.count:
        return state, ()
    return state, (report(state, "domain.contested", severity="warning", reason="DriftFight",
                          message=state.attempts.drift.message),)


def _action_failed(state: DomainState, event: ActionFailed) -> Next:
    """Count it; a recreate whose new VM does not come up goes back to the old one (rule 7)."""
    message, generation, cause = event.message, state.record.generation, state.plan.cause
    state = replace(
        state, starting=False, launching=None, restart_asked=False,
        last_action=LastAction(event.verb, timestamp(event.now.wall), cause, "failed",
                               error=message))
    effects: tuple[Effect, ...] = ()
    if event.verb in STARTS and event.excuse is None and can_roll_back(state) and (
            state.attempts.recreating_generation == generation):
        state, effects = roll_back(state, f"the new definition did not come up: {message}")
    else:
        if event.excuse is Excuse.NAME_TAKEN:  # the name of what was gone back to may be taken, too
            state = with_record(state, attempts=replace(
                state.attempts, rolled_back_generation=0, rolled_back_because=""))
        state = with_record(state, attempts=attempts.failed(
            state.attempts, event.reason, f"{message} ({event.hint})" if event.hint else message,
            state.config.backoff, now=event.now.clock, jitter=event.now.jitter))
    return state, (*effects, report(
        state, "action.failed", severity="error", action=event.verb, reason=event.reason,
        error=message, attempt=state.attempts.failures.count, cause=cause, hint=event.hint))


def _faulted(state: DomainState, event: Faulted) -> Next:
    """What was true before the error is not known to be true any more (rule 9)."""
    return replace(state, executing=(), starting=False, plan=Plan(conditions=(
        Condition("Ready", Truth.UNKNOWN, "InternalError", event.message),
        Condition("Stalled", Truth.TRUE, "InternalError", event.message)))), ()


HANDLERS: dict[type[Event], Callable[[DomainState, Any], Next]] = {
    Planned: _planned, PlanBegun: _plan_begun, PlanEnded: _plan_ended, StartBegun: _start_begun,
    LaunchBegun: _launch_begun, Launched: _launched, StartAwaited: _start_awaited,
    CameUp: _came_up, ActionBegun: _action_begun, ActionDone: _action_done,
    ActionFailed: _action_failed, Faulted: _faulted,
}
