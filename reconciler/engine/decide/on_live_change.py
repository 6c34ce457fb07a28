"""Transitions: changes of a VM that runs. Pure.

A change that the guest does not take part in yet is asked for again; one that fails otherwise needs
a restart of the VM, and the plan decides about that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.backoff import Backoff
from reconciler.engine.decide.events import (
    ChangeBegun,
    ChangeDeferred,
    ChangeFailed,
    ChangeMade,
    ChangesEnded,
    Event,
)
from reconciler.engine.decide.inputs import DeferredChange, Verb
from reconciler.engine.decide.next_state import Next, report, with_record
from reconciler.engine.decide.state import DomainState, LastAction
from reconciler.units import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

_ASK_AGAIN = Backoff(1.0, 300.0)


def _begun(state: DomainState, event: ChangeBegun) -> Next:
    return state, (report(state, "action.started", durable=True, action=Verb.UPDATE,
                          cause=state.plan.cause, message=event.shown),)


def _made(state: DomainState, event: ChangeMade) -> Next:
    if state.running is None:
        return state, ()
    state = replace(
        state, running=replace(state.running, domain=event.domain),
        deferred_changes=tuple(d for d in state.deferred_changes if d.path != event.path))
    if dict(event.places) == dict(state.record.places):
        return state, ()
    return with_record(state, places=event.places), ()


def _deferred(state: DomainState, event: ChangeDeferred) -> Next:
    others = tuple(d for d in state.deferred_changes if d.path != event.path)
    count = 1 + sum(d.count for d in state.deferred_changes if d.path == event.path)
    retry_at = event.now.clock + _ASK_AGAIN.delay(count, event.now.jitter)
    state = replace(state, deferred_changes=(*others, DeferredChange(
        event.path, event.message, retry_at, count)))
    return state, (report(state, "action.failed", action=Verb.UPDATE, cause=state.plan.cause,
                          reason=event.reason, error=f"{event.shown}: {event.message}"),)


def _failed(state: DomainState, event: ChangeFailed) -> Next:
    state = with_record(state, attempts=replace(
        state.attempts, needs_restart_generation=state.record.generation))
    state = replace(state, last_action=LastAction(
        Verb.UPDATE, timestamp(event.now.wall), state.plan.cause, "failed", error=event.message))
    return state, (report(
        state, "action.failed", severity="error", action=Verb.UPDATE, cause=state.plan.cause,
        reason=event.reason, error=f"{event.shown}: {event.message}",
        hint="needs a restart of the VM; whether that happens is up to update/@policy"),)


def _ended(state: DomainState, event: ChangesEnded) -> Next:
    if event.whole and event.generation == state.record.generation and (
            state.record.definition is not None):
        state = with_record(replace(state, last_known_good=state.domain),
                            last_known_good=state.record.definition)
    if not event.made:
        return state, ()
    state = replace(state, last_action=LastAction(
        Verb.UPDATE, timestamp(event.now.wall), state.plan.cause, "ok", state.revision,
        event.duration))
    return state, (report(state, "domain.updated", action=Verb.UPDATE, cause=state.plan.cause,
                          message=", ".join(event.made), revision=state.revision,
                          durationMs=event.duration),)


HANDLERS: dict[type[Event], Callable[[DomainState, Any], Next]] = {
    ChangeBegun: _begun, ChangeMade: _made, ChangeDeferred: _deferred, ChangeFailed: _failed,
    ChangesEnded: _ended,
}
