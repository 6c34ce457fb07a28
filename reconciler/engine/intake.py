"""From a listing to definitions: read what changed, check all against each other, tell whose.

Pure but for its cache: the same listing gives the same answer. A file that cannot be read stays the
business of the domain that it last was; one that never was anybody's is matched by the name or uuid
that its bytes still show, else it makes absences uncertain, since it may hold any of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.domain.admission import Admission, admit
from reconciler.domain.checks import conflicts
from reconciler.domain.model import Domain, InvalidDomain, Problem, ReadingHost
from reconciler.domain.numbers import chosen, complete, numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.domain.numbers import Numbers
    from reconciler.sources.listing import Listing

_NAME = re.compile(rb"<name>\s*([A-Za-z0-9_.+-]{1,64})\s*</name>")
_UUID = re.compile(rb"<uuid>\s*([0-9a-fA-F-]{32,36})\s*</uuid>")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that is not accepted, and the identities that it may belong to."""

    file: str
    problems: tuple[Problem, ...]
    name: str | None = None
    uuid: str | None = None

    @property
    def reason(self) -> str:
        """The first problem's."""
        return self.problems[0].reason

    @property
    def message(self) -> str:
        """All problems, a line each."""
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a listing means. `elsewhere`: files that another host keeps."""

    accepted: dict[str, Domain] = field(default_factory=dict)  # by file
    rejected: tuple[Rejected, ...] = ()
    elsewhere: tuple[str, ...] = ()
    numbers: dict[str, Numbers] = field(default_factory=dict)  # chosen for a file's domain


@dataclass(slots=True)
class Intake:
    """Reads listings. `hostname` is compared with `placement/@host`; `free` asks the host."""

    host: ReadingHost
    admission: Admission
    hostname: str
    read: Callable[[bytes, str, ReadingHost], Domain]
    free: Callable[[str, int], bool] = lambda claim, number: True
    parses: int = 0  # how many files were parsed at all; tests hold it down
    _cache: dict[str, tuple[bytes, Domain | InvalidDomain]] = field(default_factory=dict)

    def definitions(self, listing: Listing, in_force: Mapping[str, str],
                    kept: Mapping[str, Numbers] | None = None,
                    held: Mapping[str, Domain] | None = None) -> Definitions:
        """What is kept now, by uuid: the file `in_force`, its `kept` numbers, the `held` domain.

        What a domain holds counts while its file cannot be read, too.
        """
        found: dict[str, Domain] = {}
        rejected = [Rejected(file, (Problem(file, 1, "", f"{why}; accepted: a readable file"),))
                    for file, why in listing.unreadable.items()]
        elsewhere: list[str] = []
        for file, data in listing.files.items():
            value = self._parsed(file, data)
            if isinstance(value, InvalidDomain):
                rejected.append(_of_bytes(file, data, value.problems))
                continue
            if value.policy.host not in (None, self.hostname):
                elsewhere.append(file)
                continue
            problems = admit(value, self.admission)
            if problems:
                rejected.append(Rejected(file, problems, value.name, value.uuid))
            else:
                found[file] = value
        self._cache = {file: self._cache[file] for file in listing.files}
        given = self._number(found, kept or {}, held or {})
        keeping = {file for file, domain in found.items() if in_force.get(domain.uuid) == file}
        for file, problems in conflicts(found, keeping).items():
            domain = found.pop(file)
            rejected.append(Rejected(file, problems, domain.name, domain.uuid))
        return Definitions(found, tuple(rejected), tuple(elsewhere),
                           {file: own for file, own in given.items() if file in found})

    def _number(self, found: dict[str, Domain], kept: Mapping[str, Numbers],
                held: Mapping[str, Domain]) -> dict[str, Numbers]:
        """Complete each domain that leaves a number to us; what others have or had is not free."""
        given: dict[str, Numbers] = {}
        if all(device.automatic() is None for d in found.values() for device in d.devices):
            return given
        has = {uuid: {**dict(numbers_of(domain.claims())), **kept.get(uuid, {})}
               for uuid, domain in held.items()}
        has |= {uuid: dict(own) for uuid, own in kept.items() if uuid not in has}
        written = {number for domain in found.values() for number in numbers_of(domain.claims())}
        for file, domain in sorted(found.items()):
            taken = written | {item for uuid, own in has.items() if uuid != domain.uuid
                               for item in own.items()}
            after = complete(domain, has.get(domain.uuid, {}), taken, self.free)
            if after is not domain:
                found[file], given[file] = after, chosen(domain, after)
                has[domain.uuid] = given[file]
        return given

    def _parsed(self, file: str, data: bytes) -> Domain | InvalidDomain:
        known = self._cache.get(file)
        if known is not None and known[0] == data:
            return known[1]
        self.parses += 1
        value: Domain | InvalidDomain
        try:
            value = self.read(data, file, self.host)
        except InvalidDomain as error:
            value = error
        self._cache[file] = (data, value)
        return value


def _of_bytes(file: str, data: bytes, problems: tuple[Problem, ...]) -> Rejected:
    name, uuid = _NAME.search(data), _UUID.search(data)
    return Rejected(file, problems, name[1].decode() if name else None,
                    uuid[1].decode().lower() if uuid else None)
