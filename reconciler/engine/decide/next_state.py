"""What the transitions share: changing the record, reporting, what a recreate may go back to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.domain.difference import differences
from reconciler.domain.model import Impact
from reconciler.domain.policy import DesiredState
from reconciler.engine.decide import attempts
from reconciler.engine.decide.events import Effect, Report

if TYPE_CHECKING:
    from reconciler.engine.decide.inputs import Exit, Now
    from reconciler.engine.decide.state import DomainState

Next = tuple["DomainState", tuple[Effect, ...]]


def with_record(state: DomainState, **values: Any) -> DomainState:
    """The state with another record, which belongs to this boot."""
    return replace(state, record=replace(state.record, boot_id=state.config.boot_id, **values))


def report(state: DomainState, event: str, *, durable: bool = False, **values: Any) -> Report:
    """An event of the journal, with the domain that it is about."""
    values.setdefault("pid", state.vm.pid)
    return Report(event, {"domain": state.name, "uuid": state.uuid,
                          "generation": state.record.generation, **values}, durable)


def can_roll_back(state: DomainState) -> bool:
    """Whether another definition came up before, and the file allows to go back to it."""
    domain, good = state.domain, state.last_known_good
    return good is not None and domain is not None and domain.policy.rollback and any(
        change.impact is not Impact.NONE for change in differences(good, domain))


def progressing(state: DomainState) -> bool:
    """Whether what a recreate started must still be found healthy."""
    domain = state.domain
    return domain is not None and domain.policy.health is not None and (
        domain.policy.state is DesiredState.RUNNING
        and state.attempts.recreating_generation == state.record.generation)


def roll_back(state: DomainState, message: str) -> Next:
    """The newest definition is given up: the last known good one is started again (rule 7)."""
    state = with_record(state, attempts=attempts.rolled_back(
        state.attempts, state.record.generation, message))
    return state, (report(state, "domain.rolledback", severity="error", reason="RolledBack",
                          error=message),)


def count_exit(state: DomainState, end: Exit, now: Now, *, reported: bool = True) -> Next:
    """An exit that was not asked for is counted, by the policy of what ran."""
    counts = state.running.domain if state.running is not None else state.domain
    if counts is not None:
        state = with_record(state, attempts=attempts.exited(
            state.attempts, end, counts.policy, jitter=now.jitter))
    if not reported:
        return state, ()
    return state, (report(state, "domain.exited", severity="warning", reason=end.kind,
                          cause="exit", code=end.code, signal=end.signal, message=end.message),)
