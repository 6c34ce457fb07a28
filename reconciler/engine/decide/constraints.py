"""What the other domains have to do with one: dependencies, waves, turns, names, memory. Pure.

control/coordinator.py keeps a `DomainSummary` of each domain; a dry run makes them of what is to
come. From these come the `Surroundings` that a plan with steps is made with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.domain.policy import DependencyCondition, DesiredState
from reconciler.engine.decide.inputs import Surroundings, VmState
from reconciler.units import show_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.domain.model import Domain



@dataclass(frozen=True, slots=True)
class DomainSummary:
    """What other domains have to know of one. `memory`: bytes that its VM takes, or is about to."""

    domain: Domain | None
    state: VmState
    ready: bool  # what it should be, and healthy if it has a probe
    at_rest: bool  # nothing more comes by itself: it is what it should be, or it fails
    waits: bool  # for a dependency
    failing: bool
    leaving: bool  # it is to be stopped, or removed, as soon as that is possible
    recreating: bool  # its old VM is being replaced, and the new one is not up (and healthy) yet
    wants_recreate: bool
    memory: int
    home: str = ""  # the name that its VM runs under: an older one of a domain that was renamed


@dataclass(frozen=True, slots=True)
class Limits:
    """The configuration's part. `memory` in bytes, None for no limit."""

    max_unavailable: int
    memory: int | None


def surroundings(name: str, domain: Domain | None, summaries: Mapping[str, DomainSummary],
                 limits: Limits, *, needed: int, start_allowed: bool, home: str) -> Surroundings:
    """What the others, by name, have to do with a domain; it may be among them itself.

    `needed`: bytes that its start takes. `home`: the name that its own VM runs under.
    """
    others = {key: other for key, other in summaries.items() if key != name}
    dependents = _dependents(name, summaries)
    if domain is None:
        return Surroundings(start_allowed=start_allowed, dependents=dependents)
    return Surroundings(
        start_allowed=start_allowed, wave_ready=_wave_ready(domain, others),
        unmet=_unmet(domain, others), dependents=dependents,
        recreate_blocked_by=_recreate_blocked_by(name, home, domain, others, limits),
        memory_shortage=_memory_shortage(needed, others, limits),
        name_taken_by=next((key for key, other in others.items()
                            if other.home == domain.name and other.state is not VmState.ABSENT),
                           ""),
        name_kept_by=_name_kept_by(domain.name, home, others))


def _wave_ready(domain: Domain, others: Mapping[str, DomainSummary]) -> bool:
    """Whether no domain of an earlier wave is still on its way up (one may also have failed)."""
    wave = domain.policy.start_wave
    return wave == 0 or not any(
        other.domain is not None and other.domain.policy.start_wave < wave
        and other.domain.policy.state is not DesiredState.STOPPED
        and (not other.at_rest or (other.waits and _will_start(other.domain, others, {})))
        for other in others.values())


def _will_start(domain: Domain, others: Mapping[str, DomainSummary],
                known: dict[str, bool]) -> bool:
    """Whether all that it depends on is up or on its way: then it is started by itself.

    `known` has the answers so far, each found once. A domain whose answer is being looked for
    counts as one that does not come: older definitions, whose files are invalid by now, may form a
    cycle.
    """
    for wanted in domain.policy.depends_on:
        other = others.get(wanted.domain)
        if other is None or other.domain is None:
            return False
        if not other.at_rest or not _why_unmet(wanted.domain, wanted.condition, other):
            continue
        if wanted.domain not in known:
            known[wanted.domain] = False
            known[wanted.domain] = other.waits and _will_start(other.domain, others, known)
        if not known[wanted.domain]:
            return False
    return True


def _unmet(domain: Domain, others: Mapping[str, DomainSummary]) -> tuple[str, ...]:
    found = ((wanted, others.get(wanted.domain)) for wanted in domain.policy.depends_on)
    return tuple(why for wanted, other in found
                 if (why := _why_unmet(wanted.domain, wanted.condition, other)))


def _why_unmet(name: str, condition: DependencyCondition, other: DomainSummary | None) -> str:
    if other is None or other.domain is None:
        return f"depends on '{name}', and no domain has this name"
    if other.domain.policy.state is DesiredState.STOPPED:
        return f"depends on '{name}', whose file says state='stopped'"
    paused = other.domain.policy.state is DesiredState.PAUSED
    if other.state is not VmState.RUNNING and not (paused and other.state is VmState.PAUSED):
        return f"depends on '{name}', which is {other.state}"
    if condition is DependencyCondition.HEALTHY and not other.ready:
        return f"depends on '{name}', which is not healthy yet"
    return ""


def dependencies(domain: Domain, others: Mapping[str, DomainSummary]) -> list[dict[str, object]]:
    """Each dependency with whether it is met, as the status has it."""
    return [{"domain": wanted.domain, "condition": str(wanted.condition),
             "met": not _why_unmet(wanted.domain, wanted.condition, others.get(wanted.domain))}
            for wanted in domain.policy.depends_on]


def _dependents(name: str, others: Mapping[str, DomainSummary]) -> tuple[str, ...]:
    """Domains that depend on it and leave, too; one that cannot be stopped delays no other."""
    return tuple(sorted(
        key for key, other in others.items()
        if other.leaving and other.state is not VmState.ABSENT and not other.failing
        and other.domain is not None
        and any(wanted.domain == name for wanted in other.domain.policy.depends_on)
        and not _depends_on(name, key, others)))


def _depends_on(name: str, wanted: str, others: Mapping[str, DomainSummary]) -> bool:
    """Whether a domain depends on another, through any number of others: a cycle has no first.

    Older definitions, whose files are invalid by now, may form one.
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


def _recreate_blocked_by(name: str, home: str, domain: Domain, others: Mapping[str, DomainSummary],
                         limits: Limits) -> str:
    """Why it must not be recreated now: too many are, or a dependency is recreated first.

    A recreate that waits for this very VM to free its name does not count: names that are
    exchanged would wait for each other for ever.
    """
    running = sorted(key for key, other in others.items()
                     if other.recreating and not (key == home and other.state is VmState.ABSENT))
    if len(running) >= limits.max_unavailable:
        return (f"{', '.join(running)} {'are' if len(running) > 1 else 'is'} being recreated "
                f"(reconcile.max_unavailable: {limits.max_unavailable})")
    before = sorted(wanted.domain for wanted in domain.policy.depends_on
                    if (other := others.get(wanted.domain)) is not None
                    and (other.recreating or (other.wants_recreate and not other.failing))
                    and not _depends_on(wanted.domain, name, others))
    if not before:
        return ""
    return f"waiting for its dependency {', '.join(before)} to be recreated"


def _name_kept_by(name: str, home: str, others: Mapping[str, DomainSummary]) -> str:
    """The domain whose VM runs under a name that is needed, and is not about to move or to stop.

    It may be further on, where each VM waits for the name of the next. VMs that exchange their
    names, two or more of them, all move.
    """
    seen = {home}
    while name not in seen:
        seen.add(name)
        found = next(((key, other) for key, other in others.items()
                      if other.home == name and other.state is not VmState.ABSENT), None)
        if found is None or found[1].domain is None or found[1].leaving:
            return ""
        if found[1].failing or not (found[1].recreating or found[1].wants_recreate):
            return found[0]
        name = found[1].domain.name
    return ""


def _memory_shortage(needed: int, others: Mapping[str, DomainSummary], limits: Limits) -> str:
    if limits.memory is None:
        return ""
    free = limits.memory - sum(other.memory for other in others.values())
    if needed <= free:
        return ""
    return (f"needs {show_bytes(needed)} of memory, and {show_bytes(max(free, 0))} of "
            f"{show_bytes(limits.memory)} are free (admission.total_memory)")
