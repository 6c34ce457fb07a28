"""What domains of one host cannot all have. Pure; what somebody has already stays theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.lines import Line, located
from reconciler.domain.model import ExclusiveResource, Domain, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_IDENTITY = ("name", "uuid")
# One file has one writer, whatever it is to it; readers are many, as long as nobody writes.
READ = "read-only disk"
WRITTEN = ("writable disk", "nvram file", "writable loader", "socket or log file")


def conflicts(domains: Mapping[str, Domain],
              in_force: Collection[str]) -> dict[str, tuple[Problem, ...]]:
    """Problems by key: the newcomer's, with both files and lines.

    A key is a file's name, and of a file of several domains each domain's own. `in_force` are the
    keys whose definitions are kept now. Of two of one identity of which neither is, both are
    wrong: nobody can say which one is meant.
    """
    held: dict[tuple[str, str], tuple[str, ExclusiveResource]] = {}
    found: dict[str, list[Problem]] = {}
    for file in sorted(domains, key=lambda name: (name not in in_force, name)):
        clashes = [(claim, held[key]) for claim in domains[file].exclusive_resources() for key in _against(claim)
                   if key in held]
        for claim, (other, theirs) in clashes:
            found.setdefault(file, []).append(_problem(domains, (file, claim), (other, theirs)))
            if claim.kind in _IDENTITY and other not in in_force:
                found.setdefault(other, []).append(
                    _problem(domains, (other, theirs), (file, claim)))
        if not clashes:
            held |= {(claim.kind, claim.value): (file, claim) for claim in domains[file].exclusive_resources()}
    for file, problem in _cycles({f: d for f, d in domains.items() if f not in found}):
        found.setdefault(file, []).append(problem)
    return {file: tuple(dict.fromkeys(problems)) for file, problems in found.items()}


def _cycles(domains: Mapping[str, Domain]) -> Iterator[tuple[str, Problem]]:
    """Every domain that would wait for itself, with the way that leads back to it."""
    wanted = {d.name: [w.domain for w in d.policy.depends_on] for d in domains.values()}
    left = _without_an_end(wanted)
    for file, domain in domains.items():
        way = _way_back(domain.name, left) if domain.name in left else ()
        if way:
            line = dict(domain.lines).get("policy", 1)
            yield file, Problem(file, line, "domain/metadata/reconcile/depends-on",
                                f"{' → '.join(way)} is a cycle, and each would wait for the next; "
                                "accepted: no cycle")


def _without_an_end(wanted: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """What is left when all goes whose dependencies end somewhere: cycles, and what leads there.

    Each dependency is looked at once: a thousand domains are checked at every look.
    """
    waits = {name: sum(step in wanted for step in steps) for name, steps in wanted.items()}
    whose: dict[str, list[str]] = {}
    for name, steps in wanted.items():
        for step in steps:
            whose.setdefault(step, []).append(name)
    ends = [name for name, number in waits.items() if not number]
    while ends:
        for name in whose.get(ends.pop(), ()):
            waits[name] -= 1
            if not waits[name]:
                ends.append(name)
    return {name: steps for name, steps in wanted.items() if waits[name]}


def _way_back(name: str, wanted: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The shortest way from a domain over its dependencies back to it; nothing if there is none."""
    ways: list[tuple[str, ...]] = [(name,)]
    seen = {name}
    while ways:
        longer: list[tuple[str, ...]] = []
        for way in ways:
            for step in wanted.get(way[-1], ()):
                if step == name:
                    return (*way, name)
                if step not in seen:
                    seen.add(step)
                    longer.append((*way, step))
        ways = longer
    return ()


def _against(claim: ExclusiveResource) -> tuple[tuple[str, str], ...]:
    """List the claims that this one cannot stand beside."""
    kinds: tuple[str, ...] = (claim.kind,)
    if claim.kind == READ:
        kinds = WRITTEN
    elif claim.kind in WRITTEN:
        kinds = (*WRITTEN, READ)
    return tuple((kind, claim.value) for kind in kinds)


def _problem(domains: Mapping[str, Domain], ours: tuple[str, ExclusiveResource],
             theirs: tuple[str, ExclusiveResource]) -> Problem:
    (key, claim), (other, its) = ours, theirs
    file = domains[key].file or key
    whose = "" if key == file and not isinstance(claim.line, Line) else f" of {key}"
    twins = bool(file) and file == domains[other].file
    accepted = "each once on a host" + (", so write {index} into it" if twins else "")
    return Problem(*located(file, claim.line or 1), "domain",
                   f"{claim.kind} '{claim.value}'{whose} is also the {its.kind} of "
                   f"{_place(other, its.line or 1)}; accepted: {accepted}", reason="Conflict")


def _place(key: str, line: int) -> str:
    """A domain's key and the line; in brackets where that is another file's."""
    return f"{key} ({':'.join(map(str, located(key, line)))})" if isinstance(line, Line) else (
        f"{key}:{line}")
