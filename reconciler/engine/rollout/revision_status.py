"""Whether the newest revision of the source has its result by now. Pure; asked with each status.

Which domains have not settled with it, and which are not what they should be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.engine.decide.inputs import Truth

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from reconciler.engine.decide.state import DomainState


def unsettled(states: Iterable[DomainState], leaving: Collection[str]) -> list[str]:
    """The names of domains that have not ended Ready or Stalled with the newest files.

    `leaving`: uuids of domains without a file of which something comes by itself. What is held ends
    as it is, until a user releases it.
    """
    return [s.name for s in states if not s.plan.held and (s.uuid in leaving or _is_open(s))]


def failing(states: Iterable[DomainState], held: Collection[str],
            rejected: Iterable[tuple[str, str | None]] = ()) -> list[str]:
    """The names of domains that are not what they should be, and files that no domain is of.

    `held`: uuids of held removals. `rejected`: files, each with the name of its domain if it is
    known.
    """
    found = [s for s in states if s.uuid in held or (s.plan.made and _fails(s))]
    names = {s.name for s in found}
    files = {s.record.definition.file for s in found if s.record.definition is not None}
    return [*sorted(names), *sorted({file for file, name in rejected
                                     if file not in files and name not in names})]


def _fails(state: DomainState) -> bool:
    """A removal that only waits until it may begin is on its way."""
    status = state.plan.ready.status
    return status is Truth.FALSE or (status is Truth.UNKNOWN and not (
        state.removal.believed and not state.plan.stalled))


def _is_open(state: DomainState) -> bool:
    """Whether it has not ended; a domain that is removed needs neither Ready nor Stalled."""
    decided = state.plan
    if not decided.made or (state.planned_for, state.planned_invalid) != (
            state.removal, state.invalid):
        return True  # its file was read after the plan was made
    if state.removal.believed:
        return False
    unknown = decided.ready.status is Truth.UNKNOWN and not decided.stalled
    # That a guest is not healthy is a result; a revision does not wait until it recovers.
    return unknown or (state.attempts.observed_generation != state.record.generation
                       and not decided.unhealthy)
