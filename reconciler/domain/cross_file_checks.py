"""Conflicts between the domains of one host. Pure; definitions in force win over new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.claims import Claims
from reconciler.domain.cycles import cycles
from reconciler.domain.lines import Line, located
from reconciler.domain.model import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.domain.claims import Clash
    from reconciler.domain.model import Domain

def conflicts(domains: Mapping[str, Domain],
              in_force: Mapping[str, Domain]) -> dict[str, tuple[Problem, ...]]:
    """The problems of new definitions, by key, with both files and lines.

    A key is a file's name; the domains of a file with a count have a key each. `in_force` has the
    definitions in use: under the key of the new definition, or, where there is none that is
    accepted so far, under another. If two new definitions have one identity, both are wrong,
    because it is unknown which one is meant. In linear time, because all domains of a host are
    checked after each change.
    """
    claims = Claims(domains, in_force)
    claims.check()
    clashing = {clash.key for clash in claims.clashes}
    waiting = dict(_cycles({k: d for k, d in domains.items() if k not in clashing}))
    for key in waiting:
        claims.restore(key)
    found: dict[str, list[Problem]] = {}
    known = {**domains, **{k: d for k, d in in_force.items() if k not in domains}}
    for clash in claims.clashes:
        found.setdefault(clash.key, []).append(_problem(known, clash))
    for key, problem in waiting.items():
        found.setdefault(key, []).append(problem)
    return {key: tuple(dict.fromkeys(problems)) for key, problems in found.items()
            if key in domains}


def _cycles(domains: Mapping[str, Domain]) -> Iterator[tuple[str, Problem]]:
    """Every domain that would wait for itself, with the path back to it."""
    paths = cycles({d.name: [w.domain for w in d.policy.depends_on] for d in domains.values()})
    for key, domain in domains.items():
        path = paths.get(domain.name)
        if path is not None:
            line = dict(domain.lines).get("policy", 1)
            yield key, Problem(domain.file or key, line, "domain/metadata/reconcile/depends-on",
                               f"{' → '.join(path)} is a cycle; accepted: dependencies without "
                               "cycles")


def _problem(domains: Mapping[str, Domain], clash: Clash) -> Problem:
    key, resource, other, its = clash.key, clash.resource, clash.other, clash.theirs
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
