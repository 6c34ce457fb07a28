"""Reads each file once, for loader.py: what it means, or what is wrong with it, is remembered.

A file is read again only when its text changed, or something that it uses. All files together have
a limit, so that a few short ones with a large `count` cannot keep the reconciler busy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from reconciler.domain.expand import Expansion, Given
from reconciler.domain.merge import Defaults, read_defaults
from reconciler.domain.model import InvalidDomain, Problem
from reconciler.domain.xml import identity_in
from reconciler.sources.listing import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from reconciler.domain.model import ReadingHost
    from reconciler.domain.substitute import Variables
    from reconciler.sources.listing import Listing

MOST_BYTES = 64 << 20  # of the texts of all definitions, each with its defaults filled in
_MOST_REFUSALS = 10  # files that are read although there is no room; each may take a second
Identity: TypeAlias = "tuple[str | None, str | None]"  # name and uuid, as far as they are known
_UNKNOWN: Identity = (None, None)


@dataclass(frozen=True, slots=True)
class _Known:
    """What a file was read as, and with what."""

    data: bytes
    given: Given
    value: Expansion | InvalidDomain

    def still(self, data: bytes, given: Given) -> bool:
        """Whether reading it again would give the same: only what it uses counts."""
        if self.data != data or self.given.defaults != given.defaults:
            return False
        if self.given.variables == given.variables:
            return True
        values = dict(given.variables.values)
        return isinstance(self.value, Expansion) and (
            self.given.variables.strict == given.variables.strict) and all(
            values.get(name) == value for name, value in self.value.used)


@dataclass(slots=True)
class Budget:
    """What the files of one listing may still define."""

    most_domains: int
    domains: int = 0
    bytes: int = 0
    refusals: int = 0

    @property
    def spent(self) -> bool:
        """Whether nothing more is read: reading what is then refused takes time, too."""
        return self.domains >= self.most_domains or self.refusals >= _MOST_REFUSALS

    def take(self, file: str, value: Expansion | InvalidDomain) -> Expansion | InvalidDomain:
        """Count a file; it is refused if there is no room for all of its domains."""
        if isinstance(value, InvalidDomain):
            return value
        domains = self.domains + len(value.definitions)
        size = self.bytes + sum(len(definition.data) for definition in value.definitions)
        if domains > self.most_domains or size > MOST_BYTES:
            self.refusals += 1
            return self.refused(file)
        self.domains, self.bytes = domains, size
        return value

    def refused(self, file: str) -> InvalidDomain:
        """The error of a file for which there is no room."""
        return InvalidDomain((Problem(
            file, 1, "", f"too much for one host: the files together define more than "
            f"{self.most_domains} domains (admission.max_domains), or {MOST_BYTES >> 20} MiB of "
            "text; accepted: fewer or smaller files", reason="NotAllowed"),))


@dataclass(slots=True)
class FileReader:
    """`read` parses a file; `trial` raises InvalidDomain for one that would take too long."""

    host: ReadingHost
    variables: Variables
    read: Callable[[bytes, str, ReadingHost, Given], Expansion]
    trial: Callable[[bytes, str], None]
    _known: dict[str, _Known] = field(default_factory=dict)
    _identities: dict[str, tuple[bytes, Identity]] = field(default_factory=dict)
    _defaults: tuple[bytes, Variables, Defaults | InvalidDomain] | None = None

    def given(self, listing: Listing) -> Given | InvalidDomain:
        """What all of its files are read with."""
        if DEFAULTS in listing.unreadable:
            return InvalidDomain((Problem(DEFAULTS, 1, "", "it cannot be read"),))
        data = listing.files.get(DEFAULTS)
        if data is None:
            self._defaults = None
            return Given(self.variables)
        if self._defaults is None or self._defaults[:2] != (data, self.variables):
            self._defaults = (data, self.variables, self._read_defaults(data))
        found = self._defaults[2]
        return Given(self.variables, found) if isinstance(found, Defaults) else found

    def _read_defaults(self, data: bytes) -> Defaults | InvalidDomain:
        try:
            self.trial(data, DEFAULTS)
            return read_defaults(data, DEFAULTS, self.variables, lenient=self.host.lenient)
        except InvalidDomain as error:
            return error

    def definitions(self, file: str, data: bytes, given: Given) -> Expansion | InvalidDomain:
        """What a file means."""
        known = self._known.get(file)
        if known is not None and known.still(data, given):
            return known.value
        value: Expansion | InvalidDomain
        try:
            self.trial(data, file)
            value = self.read(data, file, self.host, given)
        except InvalidDomain as error:
            value = error
        self._known[file] = _Known(data, given, value)
        return value

    def identity(self, file: str, data: bytes) -> Identity:
        """Name and uuid in a file that is refused."""
        known = self._identities.get(file)
        if known is None or known[0] != data:
            self._identities[file] = known = (data, self._identity_in(file, data))
        return known[1]

    def _identity_in(self, file: str, data: bytes) -> Identity:
        try:
            self.trial(data, file)
        except InvalidDomain:
            return _UNKNOWN
        return identity_in(data)

    def forget_others(self, files: Collection[str]) -> None:
        """Keep only what was read of these files."""
        self._known = {file: self._known[file] for file in files if file in self._known}
        self._identities = {file: self._identities[file] for file in files
                            if file in self._identities}
