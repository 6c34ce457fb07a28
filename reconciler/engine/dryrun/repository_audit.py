"""Problems that only show when all files of a repository are read together, without any host.

For `validate`: conflicts between the files of one host, dependencies that will never be met, and
files beside the domain files that are ignored.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reconciler.domain.cross_file_checks import conflicts
from reconciler.domain.lines import located
from reconciler.domain.model import Problem
from reconciler.domain.policy import DesiredState
from reconciler.sources.directory import Directory
from reconciler.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from reconciler.domain.model import Domain

_BACKUPS = ("~", "#", ".bak", ".orig", ".rej", ".swp", ".old", ".save", ".new", ".tmp")
_FOR_PEOPLE = ("README", "LICENSE", "LICENCE", "COPYING")


def clashes(domains: Mapping[str, Domain]) -> dict[str, tuple[Problem, ...]]:
    """Conflicts between the files of one host; a file without placement/@host is every host's."""
    hosts = {domain.policy.host for domain in domains.values() if domain.policy.host is not None}
    found: dict[str, tuple[Problem, ...]] = {}
    for host in (None, *sorted(hosts)):
        there = {key: domain for key, domain in domains.items()
                 if domain.policy.host in (None, host)}
        for key, problems in conflicts(there, {}).items():
            found[key] = tuple(dict.fromkeys((*found.get(key, ()), *problems)))
    return found


def audit(directory: Path, include: tuple[str, ...],
          domains: Mapping[str, Domain]) -> tuple[Problem, ...]:
    """The warnings that concern several files, or ignored ones; sorted by file."""
    used = {need.path for domain in domains.values() for need in domain.required_files()}
    found = (*_never_met(domains), *_unused(directory, include, used))
    return tuple(sorted(found, key=lambda problem: problem.file))


def _never_met(domains: Mapping[str, Domain]) -> Iterator[Problem]:
    by_name = {domain.name: domain for domain in domains.values()}
    for domain in domains.values():
        file, line = located(domain.file, dict(domain.lines).get("policy", 1))
        for wanted in domain.policy.depends_on:
            why = _why_never(domain, by_name.get(wanted.domain))
            if why:
                near = "" if wanted.domain in by_name else nearest(wanted.domain, by_name)
                yield Problem(file, line, "domain/metadata/reconcile/depends-on",
                              f"depends on '{wanted.domain}', {why}{near}", warning=True,
                              reason="WaitingForDependency")


def _why_never(domain: Domain, other: Domain | None) -> str:
    if other is None:
        return "but no file here defines that domain"
    host = other.policy.host
    if host is not None and host != domain.policy.host:
        return f"which is assigned to host {host} (placement/@host)"
    return "whose file says state='stopped'" if (
        other.policy.state is DesiredState.STOPPED
        and domain.policy.state is not DesiredState.STOPPED) else ""


def _unused(directory: Path, include: tuple[str, ...], used: set[str]) -> Iterator[Problem]:
    known = Directory(directory, include, 0.0)
    for name in sorted(os.listdir(directory)):
        path = directory / name
        if str(path.absolute()) in used:
            continue
        why = _why_unread(path, ", ".join(include), named=known.is_domain_file(name))
        if why:
            yield Problem(str(path), 1, "", f"ignored: {why}", warning=True)


def _why_unread(path: Path, include: str, *, named: bool) -> str:
    name = path.name
    if named:
        return "" if path.is_file() else "not a regular file; accepted: a file"
    if name.startswith("."):
        return "a hidden file; accepted: a name without the dot" if ".xml" in name else ""
    if name.endswith(_BACKUPS) or name.startswith(("#", "~")):
        return "it has the name of a backup file; remove it"
    if path.is_dir():
        return "a directory; subdirectories are not read"
    if name.startswith(_FOR_PEOPLE) or name.endswith(".md"):
        return ""
    return f"its name does not match source.include ({include})"
