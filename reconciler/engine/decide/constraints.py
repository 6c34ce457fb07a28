"""What the other domains have to do with one: dependencies, waves, turns, memory. Pure.

The coordinator keeps a DomainSummary of each domain; a plan's Surroundings come from these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.domain.model import DependencyCondition, DesiredState, Domain
from reconciler.engine.decide.inputs import Surroundings, VmState
from reconciler.units import show_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

UP = (VmState.RUNNING, VmState.PAUSED)


@dataclass(frozen=True, slots=True)
class DomainSummary:
    """What others have to know of a domain. `memory` is what its VM takes, or is about to."""

    domain: Domain | None
    state: VmState
    ready: bool  # as it should be, and well if that is asked
    at_rest: bool  # nobody has to wait for it: it is as it should be, or it fails
    waits: bool  # for what it depends on
    failing: bool
    goes: bool  # it is to be stopped, or removed
    recreating: bool  # its old VM is being exchanged, and the new one not up (and well) yet
    wants_recreate: bool
    memory: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The configuration's part. `memory` in bytes, None for no limit."""

    max_unavailable: int
    memory: int | None


def around(name: str, domain: Domain | None, others: Mapping[str, DomainSummary], limits: Limits,
           *, needed: int, listed: bool) -> Surroundings:
    """What `others`, by name, have to do with it; it may be among them itself."""
    everybody, others = others, {key: other for key, other in others.items() if key != name}
    dependents = _dependents(name, everybody)
    if domain is None:
        return Surroundings(listed=listed, dependents=dependents)
    return Surroundings(listed=listed, wave_open=_wave_open(domain, others),
                  unmet=_unmet(domain, others), dependents=dependents,
                  turn=_turn(name, domain, others, limits), room=_room(needed, others, limits))


def _wave_open(domain: Domain, others: Mapping[str, DomainSummary]) -> bool:
    """Whether nothing of a lower wave is still on its way up (it may also have failed)."""
    wave = domain.policy.start_wave
    return wave == 0 or not any(
        other.domain is not None and other.domain.policy.start_wave < wave
        and other.domain.policy.state is not DesiredState.STOPPED
        and (not other.at_rest or (other.waits and _hopes(other.domain, others, {})))
        for other in others.values())


def _hopes(domain: Domain, others: Mapping[str, DomainSummary], known: dict[str, bool]) -> bool:
    """Whether all that it depends on is there or on its way: it will be started by itself.

    `known`: what was found out already, each once; who is being asked has no hope through itself,
    since older definitions, of files that are wrong by now, may be in a cycle.
    """
    for wanted in domain.policy.depends_on:
        other = others.get(wanted.domain)
        if other is None or other.domain is None:
            return False
        if not other.at_rest or not _why_unmet(wanted.domain, wanted.condition, other):
            continue
        if wanted.domain not in known:
            known[wanted.domain] = False
            known[wanted.domain] = other.waits and _hopes(other.domain, others, known)
        if not known[wanted.domain]:
            return False
    return True


def _unmet(domain: Domain, others: Mapping[str, DomainSummary]) -> tuple[str, ...]:
    found = ((wanted, others.get(wanted.domain)) for wanted in domain.policy.depends_on)
    return tuple(why for wanted, other in found
                 if (why := _why_unmet(wanted.domain, wanted.condition, other)))


def _why_unmet(name: str, condition: DependencyCondition, other: DomainSummary | None) -> str:
    if other is None or other.domain is None:
        return f"it depends on '{name}', and there is no such domain"
    if other.domain.policy.state is DesiredState.STOPPED:
        return f"it depends on '{name}', which is wanted stopped"
    paused = other.domain.policy.state is DesiredState.PAUSED
    if other.state is not VmState.RUNNING and not (paused and other.state is VmState.PAUSED):
        return f"it depends on '{name}', which is {other.state}"
    if condition is DependencyCondition.HEALTHY and not other.ready:
        return f"it depends on '{name}', which is not healthy yet"
    return ""


def dependencies(domain: Domain, others: Mapping[str, DomainSummary]) -> list[dict[str, object]]:
    """Each with whether it is met, as the status has it."""
    return [{"domain": wanted.domain, "condition": str(wanted.condition),
             "met": not _why_unmet(wanted.domain, wanted.condition, others.get(wanted.domain))}
            for wanted in domain.policy.depends_on]


def _dependents(name: str, others: Mapping[str, DomainSummary]) -> tuple[str, ...]:
    """Who depends on it and goes, too; one that cannot be stopped holds up nobody."""
    return tuple(sorted(
        key for key, other in others.items()
        if other.goes and other.state is not VmState.ABSENT and not other.failing
        and other.domain is not None
        and any(wanted.domain == name for wanted in other.domain.policy.depends_on)
        and not _leads_to(name, key, others)))


def _leads_to(name: str, wanted: str, others: Mapping[str, DomainSummary]) -> bool:
    """Whether a domain depends on another, in however many steps: then neither can be first.

    Older definitions, of files that are wrong by now, may be in a cycle.
    """
    seen, ways = set[str](), [name]
    while ways:
        other = others.get(ways.pop())
        for step in other.domain.policy.depends_on if other and other.domain else ():
            if step.domain == wanted:
                return True
            if step.domain not in seen:
                seen.add(step.domain)
                ways.append(step.domain)
    return False


def _turn(name: str, domain: Domain, others: Mapping[str, DomainSummary], limits: Limits) -> str:
    """Why it must not be recreated now: too many are, or what it depends on goes first."""
    running = sorted(name for name, other in others.items() if other.recreating)
    if len(running) >= limits.max_unavailable:
        return (f"{', '.join(running)} {'are' if len(running) > 1 else 'is'} being recreated "
                f"(reconcile.max_unavailable: {limits.max_unavailable})")
    before = sorted(wanted.domain for wanted in domain.policy.depends_on
                    if (other := others.get(wanted.domain)) is not None
                    and (other.recreating or (other.wants_recreate and not other.failing))
                    and not _leads_to(wanted.domain, name, others))
    return f"{', '.join(before)} goes first, which it depends on" if before else ""


def _room(needed: int, others: Mapping[str, DomainSummary], limits: Limits) -> str:
    if limits.memory is None:
        return ""
    free = limits.memory - sum(other.memory for other in others.values())
    if needed <= free:
        return ""
    return (f"it needs {show_bytes(needed)} of memory, and {show_bytes(max(free, 0))} of "
            f"{show_bytes(limits.memory)} are free (admission.total_memory)")
