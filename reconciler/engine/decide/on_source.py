"""Transitions: the domain's file, and a user's commands. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.engine.decide import attempts
from reconciler.engine.decide.attempts import RetryState
from reconciler.engine.decide.events import (
    AbsenceJudged,
    DefinitionAccepted,
    DefinitionRejected,
    Event,
    HoldExpired,
    HoldOfAllEnded,
    HoldSet,
    Loaded,
    PrerequisitesChanged,
    Priority,
    PruneHeld,
    RestartAsked,
    Wake,
)
from reconciler.engine.decide.inputs import Removal
from reconciler.engine.decide.next_state import Next, report, with_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.engine.decide.state import DomainState


def _loaded(state: DomainState, event: Loaded) -> Next:
    return replace(state, domain=event.domain, last_known_good=event.last_known_good,
                   home=event.home), ()


def _accepted(state: DomainState, event: DefinitionAccepted) -> Next:
    """A valid file. What means the same starts nothing (rule 4)."""
    definition, kept = event.definition, state.record.definition
    same = state.domain == event.domain
    same_text = kept is not None and (kept.text, kept.file) == (definition.text, definition.file)
    if same and same_text and not state.invalid and state.removal is Removal.NONE:
        if state.domain is not None and state.domain.lines == event.domain.lines:
            return state, ()
        return replace(state, domain=event.domain), ()  # with the file's line numbers
    recovered = (report(state, "domain.recovered", file=definition.file,
                        revision=definition.revision),) if state.invalid else ()
    state = replace(_file_is_there(state), invalid="", domain=event.domain)
    state = with_record(state, definition=definition, name=event.domain.name,
                        uuid=event.domain.uuid)
    if same:
        return state, (*recovered, Wake(Priority.FILE))
    state = replace(with_record(
        state, generation=state.record.generation + 1, accepted_at=event.now.wall,
        attempts=attempts.changed(state.attempts)), deferred_changes=())
    return state, (*recovered, report(state, "domain.accepted", file=definition.file,
                                      revision=definition.revision), Wake(Priority.FILE))


def _rejected(state: DomainState, event: DefinitionRejected) -> Next:
    """The newest file is invalid: the last valid definition stays in force (rule 3)."""
    woken = (Wake(Priority.FILE),) if state.removal is not Removal.NONE else ()
    state = _file_is_there(state)
    if (state.invalid, state.invalid_reason) == (event.message, event.reason):
        return state, woken
    state = replace(state, invalid=event.message, invalid_reason=event.reason)
    return state, (report(state, "domain.invalid", severity="error", reason=event.reason,
                          file=event.file, error=event.message), Wake(Priority.FILE))


def _file_is_there(state: DomainState) -> DomainState:
    if state.removal is Removal.NONE:
        return state
    if state.removal.believed:  # what was stopped for its removal is not drift
        state = with_record(state, attempts=replace(state.attempts, last_settled_state=""))
    return replace(state, removal=Removal.NONE, removal_reason="", removal_message="")


def _absence_judged(state: DomainState, event: AbsenceJudged) -> Next:
    if (state.removal, state.removal_message) == (event.removal, event.message):
        return state, ()
    since = state.removal_since if state.removal is event.removal else event.now.clock
    state = replace(state, removal=event.removal, removal_since=since,
                    removal_reason=event.reason, removal_message=event.message)
    if event.removal.believed:
        state = with_record(state, attempts=attempts.changed(state.attempts))
    return state, (Wake(Priority.FILE),)


def _prune_held(state: DomainState, event: PruneHeld) -> Next:
    """Kept on disk: a restart of the reconciler says nothing about the file."""
    if state.record.prune_held is event.held:
        return state, ()
    return with_record(state, prune_held=event.held), ()


def _hold_set(state: DomainState, event: HoldSet) -> Next:
    state = with_record(state, hold=event.hold)
    return state if event.hold is not None else _not_held(state), (Wake(Priority.COMMAND),)


def _hold_of_all_ended(state: DomainState, _: HoldOfAllEnded) -> Next:
    return _not_held(state), (Wake(Priority.COMMAND),)


def _not_held(state: DomainState) -> DomainState:
    """What was planned under a hold is not held any more, also before the next plan.

    Others that are released with it would take it for one that stays as it is.
    """
    if not state.plan.held:
        return state
    return replace(state, plan=replace(state.plan, blocked_on=None))


def _hold_expired(state: DomainState, _: HoldExpired) -> Next:
    return with_record(state, hold=None), ()


def _restart_asked(state: DomainState, _: RestartAsked) -> Next:
    state = replace(state, restart_asked=True)
    return with_record(state, attempts=attempts.changed(state.attempts)), (
        Wake(Priority.COMMAND),)


def _prerequisites_changed(state: DomainState, _: PrerequisitesChanged) -> Next:
    return with_record(state, attempts=replace(state.attempts, failures=RetryState())), (
        Wake(Priority.FILE),)


HANDLERS: dict[type[Event], Callable[[DomainState, Any], Next]] = {
    Loaded: _loaded, DefinitionAccepted: _accepted, DefinitionRejected: _rejected,
    AbsenceJudged: _absence_judged, PruneHeld: _prune_held, HoldSet: _hold_set,
    HoldOfAllEnded: _hold_of_all_ended,
    HoldExpired: _hold_expired, RestartAsked: _restart_asked,
    PrerequisitesChanged: _prerequisites_changed,
}
