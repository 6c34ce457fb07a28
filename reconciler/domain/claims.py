"""Which domain has what only one of a host may have: names, disks, taps. Pure.

For cross_file_checks.py. Definitions in force have priority, in any order of files: what a domain
has in force and keeps is its own before anything new is looked at. If its new definition is
rejected, all that the old one has stays its own, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.domain.model import Domain, ExclusiveResource

_IDENTITY = ("name", "uuid")
# A file has one writer of any of these kinds, or any number of readers.
READ = "read-only disk"
READERS = (READ, "boot file")
WRITTEN = ("writable disk", "nvram file", "writable loader", "socket or log file")


@dataclass(frozen=True, slots=True)
class Clash:
    """`key` may not have `resource`, since `other` has `theirs`."""

    key: str
    resource: ExclusiveResource
    other: str
    theirs: ExclusiveResource


@dataclass(slots=True)
class Claims:
    """Who has what, of definitions by key. `in_force` are those in use.

    The key of a definition in force is that of the new one, if that is accepted so far.
    """

    domains: Mapping[str, Domain]
    in_force: Mapping[str, Domain]
    clashes: list[Clash] = field(default_factory=list)
    _holders: dict[tuple[str, str], dict[str, ExclusiveResource]] = field(default_factory=dict)
    _restored: set[str] = field(default_factory=set)

    def check(self) -> None:
        """Find every clash."""
        for key, held in self.in_force.items():
            wanted = self.domains.get(key)
            kept = held.exclusive_resources()
            if wanted is not None:
                before = set(kept)
                kept = tuple(r for r in wanted.exclusive_resources() if r in before)
            for resource in kept:
                self._add(key, resource)
        for key in sorted(self.in_force.keys() & self.domains.keys()):
            self._extend(key)
        for key in sorted(self.domains.keys() - self.in_force.keys()):
            self._enter(key)

    def restore(self, rejected: str) -> None:
        """The new definition of a domain is rejected: all of the one in force is its own again.

        A new definition that has taken something of it is rejected, too.
        """
        waiting = [rejected]
        while waiting:
            key = waiting.pop()
            if key in self._restored or key not in self.in_force:
                continue
            self._restored.add(key)
            self._drop(key)
            for resource in self.in_force[key].exclusive_resources():
                for other, theirs in tuple(self._against(key, resource)):
                    if other in self.domains and not self._had(other, theirs):
                        self.clashes.append(Clash(other, theirs, key, resource))
                        waiting.append(other)
                self._add(key, resource)

    def _extend(self, key: str) -> None:
        """What a domain in force has besides what it had."""
        if key in self._restored:
            return
        new = [r for r in self.domains[key].exclusive_resources() if not self._had(key, r)]
        clashes = [Clash(key, resource, *against) for resource in new
                   for against in self._against(key, resource)]
        if clashes:
            self.clashes += clashes
            self.restore(key)
            return
        for resource in new:
            self._add(key, resource)

    def _enter(self, key: str) -> None:
        """All that a new domain has. Two new ones of one identity are both wrong."""
        resources = self.domains[key].exclusive_resources()
        clashes = [Clash(key, resource, *against) for resource in resources
                   for against in self._against(key, resource)]
        self.clashes += clashes
        self.clashes += [Clash(c.other, c.theirs, key, c.resource) for c in clashes
                         if c.resource.kind in _IDENTITY and c.other not in self.in_force]
        if not clashes:
            for resource in resources:
                self._add(key, resource)

    def _had(self, key: str, resource: ExclusiveResource) -> bool:
        held = self.in_force.get(key)
        return held is not None and resource in held.exclusive_resources()

    def _against(self, key: str,
                 resource: ExclusiveResource) -> Iterator[tuple[str, ExclusiveResource]]:
        """Who else has what excludes it."""
        kinds: tuple[str, ...] = (resource.kind,)
        if resource.kind in READERS:
            kinds = WRITTEN
        elif resource.kind in WRITTEN:
            kinds = (*WRITTEN, *READERS)
        for kind in kinds:
            for other, theirs in self._holders.get((kind, resource.value), {}).items():
                if other != key:
                    yield other, theirs

    def _add(self, key: str, resource: ExclusiveResource) -> None:
        self._holders.setdefault((resource.kind, resource.value), {})[key] = resource

    def _drop(self, key: str) -> None:
        for domain in (self.domains.get(key), self.in_force.get(key)):
            for resource in domain.exclusive_resources() if domain is not None else ():
                self._holders.get((resource.kind, resource.value), {}).pop(key, None)
