"""Conflicts between the domains of one host. Pure; definitions in force win over new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.lines import Line, located
from reconciler.domain.model import Domain, ExclusiveResource, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_IDENTITY = ("name", "uuid")
# A file has one writer of any of these kinds, or any number of readers.
READ = "read-only disk"
WRITTEN = ("writable disk", "nvram file", "writable loader", "socket or log file")


def conflicts(domains: Mapping[str, Domain],
              in_force: Collection[str]) -> dict[str, tuple[Problem, ...]]:
    """The problems of new definitions, by key, with both files and lines.

    A key is a file's name; the domains of a file with a count have a key each. `in_force`: the keys
    whose definitions are in use. If two new definitions have one identity, both are wrong, because
    it is unknown which one is meant.
    """
    held: dict[tuple[str, str], tuple[str, ExclusiveResource]] = {}
    found: dict[str, list[Problem]] = {}
    for file in sorted(domains, key=lambda name: (name not in in_force, name)):
        resources = domains[file].exclusive_resources()
        clashes = [(resource, held[key]) for resource in resources for key in _against(resource)
                   if key in held]
        for resource, (other, theirs) in clashes:
            found.setdefault(file, []).append(_problem(domains, (file, resource), (other, theirs)))
            if resource.kind in _IDENTITY and other not in in_force:
                found.setdefault(other, []).append(
                    _problem(domains, (other, theirs), (file, resource)))
        if not clashes:
            held |= {(resource.kind, resource.value): (file, resource) for resource in resources}
    for file, problem in _cycles({f: d for f, d in domains.items() if f not in found}):
        found.setdefault(file, []).append(problem)
    return {file: tuple(dict.fromkeys(problems)) for file, problems in found.items()}


def _cycles(domains: Mapping[str, Domain]) -> Iterator[tuple[str, Problem]]:
    """Every domain that would wait for itself, with the path back to it."""
    wanted = {d.name: [w.domain for w in d.policy.depends_on] for d in domains.values()}
    left = _unordered(wanted)
    for file, domain in domains.items():
        cycle = _cycle_of(domain.name, left) if domain.name in left else ()
        if cycle:
            line = dict(domain.lines).get("policy", 1)
            yield file, Problem(file, line, "domain/metadata/reconcile/depends-on",
                                f"{' → '.join(cycle)} is a cycle; accepted: dependencies without "
                                "cycles")


def _unordered(wanted: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """The domains without a start order: cycles, and the domains that depend on them.

    In linear time, because all domains of a host are checked after each change.
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


def _cycle_of(name: str, wanted: Mapping[str, list[str]]) -> tuple[str, ...]:
    """The shortest path from a domain along dependencies back to it; empty if there is none."""
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


def _against(resource: ExclusiveResource) -> tuple[tuple[str, str], ...]:
    """Kind and value of the resources that exclude this one."""
    kinds: tuple[str, ...] = (resource.kind,)
    if resource.kind == READ:
        kinds = WRITTEN
    elif resource.kind in WRITTEN:
        kinds = (*WRITTEN, READ)
    return tuple((kind, resource.value) for kind in kinds)


def _problem(domains: Mapping[str, Domain], ours: tuple[str, ExclusiveResource],
             theirs: tuple[str, ExclusiveResource]) -> Problem:
    (key, resource), (other, its) = ours, theirs
    file = domains[key].file or key
    whose = "" if key == file and not isinstance(resource.line, Line) else f" of {key}"
    twins = bool(file) and file == domains[other].file
    accepted = "one domain per host" + (", so use {index} in it" if twins else "")
    return Problem(*located(file, resource.line or 1), "domain",
                   f"{resource.kind} '{resource.value}'{whose} is also the {its.kind} of "
                   f"{_place(other, its.line or 1)}; accepted: {accepted}", reason="Conflict")


def _place(key: str, line: int) -> str:
    """A domain's key and the line, with the file in brackets if that is another one."""
    return f"{key} ({':'.join(map(str, located(key, line)))})" if isinstance(line, Line) else (
        f"{key}:{line}")
