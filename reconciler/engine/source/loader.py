"""From a listing to definitions: read what changed, and check all files against each other.

Pure except for its cache: the same listing gives the same result. A file may define several
domains, and is accepted or rejected as a whole; where only one of them conflicts with another file,
the others are accepted. A rejected file belongs to the domains that it defined last. If it never
defined one, it is matched by the name or uuid that its markup still shows; without these it may
define any domain, and no absence is certain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.domain.admission import admit
from reconciler.domain.assigned import (
    Assigned,
    another_uuid,
    is_derived,
    keep,
    mac_addresses,
)
from reconciler.domain.chosen import assigned_in, numbers_in, texts
from reconciler.domain.cross_file_checks import conflicts
from reconciler.domain.expand import Expansion
from reconciler.domain.model import Domain, InvalidDomain, Problem
from reconciler.domain.numbers import chosen, complete, numbers_of
from reconciler.engine.decide.identity import owners
from reconciler.engine.source.file_reader import Budget, FileReader
from reconciler.sources.listing import DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from reconciler.domain.admission import Admission
    from reconciler.domain.expand import Definition, Given
    from reconciler.domain.numbers import Numbers
    from reconciler.engine.decide.state import DomainState
    from reconciler.sources.listing import Listing


MOST_SHOWN = 10  # problems of a file in the status and in events


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rejected file, and the domain that it may define.

    `only_this_domain`: of several domains in the file, only this one is rejected.
    """

    file: str
    problems: tuple[Problem, ...]
    name: str | None = None
    uuid: str | None = None
    only_this_domain: bool = False

    @property
    def reason(self) -> str:
        """The first problem's."""
        return self.problems[0].reason

    @property
    def message(self) -> str:
        """The first problems, a line each, and how many more there are."""
        lines = [str(problem) for problem in self.problems[:MOST_SHOWN]]
        more = len(self.problems) - len(lines)
        return "\n".join([*lines, *([f"and {more} more; `reconciler validate` shows them"]
                                    if more else [])])


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a listing means, by key: the file's name, or web.xml#1 where it is several domains.

    `elsewhere`: files that another host keeps; `sources`: the text of each, and how it was made.
    """

    accepted: dict[str, Domain] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()
    elsewhere: tuple[str, ...] = ()
    chosen: dict[str, dict[str, str]] = field(default_factory=dict)  # domain/chosen.py
    sources: dict[str, Definition] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InForce:
    """A domain that is known: its name, the file and meaning of its definition, what was chosen.

    Without a `domain`, today's code cannot read the definition.
    """

    name: str
    file: str = ""
    domain: Domain | None = None
    chosen: Mapping[str, str] = field(default_factory=dict)


def in_force(state: DomainState) -> InForce:
    """What is known of a domain; where no definition was accepted, what its VM was started with."""
    stored, running = state.record.definition, state.running
    kept = stored or (running.stored if running is not None else None)
    return InForce(state.name, stored.file if stored is not None else "",
                   state.domain or (running.domain if running is not None else None),
                   kept.read_with if kept is not None else {})


class Loader:
    """Reads listings. `hostname` is compared with `placement/@host`; `free` asks the host."""

    def __init__(self, reader: FileReader, admission: Admission, hostname: str,
                 free: Callable[[str, int], bool] = lambda claim, number: True) -> None:
        self.reader = reader
        self.admission = admission
        self.hostname = hostname
        self.free = free

    def read_ahead(self, listing: Listing, in_force: Collection[str]) -> None:
        """Read what has changed (blocking), so that `definitions` only looks it up.

        `in_force`: the files of domains that are known.
        """
        given = self.reader.given(listing)
        read = {} if isinstance(given, InvalidDomain) else self._read(listing, given, in_force)
        for file in listing.domain_files:
            if not isinstance(read.get(file), Expansion):
                self.reader.identity(file, listing.files[file])

    def definitions(self, listing: Listing, known: Mapping[str, InForce]) -> Definitions:
        """What a listing means, where these domains are `known`, by uuid.

        What a domain has in force stays its own until its file is proven gone and its VM has ended:
        whether the file cannot be read, is being written, is wrong, or was not delivered.
        """
        reader = self.reader
        rejected = [Rejected(file, (Problem(file, 1, "", f"{why}; accepted: a readable file"),))
                    for file, why in listing.unreadable.items()]
        given = reader.given(listing)
        if isinstance(given, InvalidDomain):
            return Definitions(rejected=(*rejected, *self._without_defaults(listing, given)))
        sources: dict[str, Definition] = {}
        parsed: dict[str, tuple[Definition, ...]] = {}
        elsewhere: list[str] = []
        read = self._read(listing, given, {kept.file for kept in known.values()})
        for file in listing.domain_files:
            value = read[file]
            if isinstance(value, InvalidDomain):
                rejected.append(self._of_bytes(file, listing, value.problems))
                continue
            parsed[file] = value.definitions
            own = _by_key(file, value.definitions)
            clash = sorted((own.keys() - {file}) & listing.files.keys())
            if clash:
                rejected.append(self._of_bytes(file, listing, (Problem(
                    file, 1, "", f"one of its domains would be told as {clash[0]}, which is a file "
                    "of its own; accepted: another name of either", reason="Conflict"),)))
            else:
                sources |= own
        reader.forget_others(listing.domain_files)
        found = {key: source.domain for key, source in sources.items()}
        for key, domain in tuple(found.items()):
            if domain.policy.host not in (None, self.hostname):
                elsewhere.append(key)
                del found[key]
            elif problems := admit(domain, self.admission):
                rejected.append(_of_domain(key, found.pop(key), problems))
        assigned = _assign(found, known)
        numbers = self._number(found, known)
        there = listing.unfinished | listing.unreadable.keys() | listing.files.keys()
        held = {uuid: kept.domain for uuid, kept in known.items() if kept.domain is not None}
        files = {uuid: kept.file for uuid, kept in known.items()}
        keeping = definitions_in_force(found, held, _Files(files, parsed, there))
        for key, problems in conflicts(found, keeping).items():
            rejected.append(_of_domain(key, found.pop(key), problems))
        return Definitions(found, tuple(rejected), tuple(elsewhere),
                           {key: texts(numbers.get(key, {}), assigned[key]) for key in found},
                           {key: sources[key] for key in found})

    def _read(self, listing: Listing, given: Given,
              in_force: Collection[str]) -> dict[str, Expansion | InvalidDomain]:
        """Each file's meaning; those of domains that exist come first, if there is not room."""
        budget = Budget(self.admission.max_domains)
        found: dict[str, Expansion | InvalidDomain] = {}
        for file in sorted(listing.domain_files, key=lambda name: name not in in_force):
            found[file] = budget.refused(file) if budget.spent else budget.take(
                file, self.reader.definitions(file, listing.files[file], given))
        return found

    def _of_bytes(self, file: str, listing: Listing, problems: tuple[Problem, ...]) -> Rejected:
        return Rejected(file, problems, *self.reader.identity(file, listing.files[file]))

    def _without_defaults(self, listing: Listing, error: InvalidDomain) -> Iterator[Rejected]:
        """The errors of the defaults once, and for each file whose definition waits for them."""
        if DEFAULTS not in listing.unreadable:
            yield Rejected(DEFAULTS, error.problems)
        first = error.problems[0]
        for file in listing.domain_files:
            problem = Problem(file, 1, "", f"not read, since {DEFAULTS} beside it has errors, such "
                              f"as that of line {first.line}: {first.message}",
                              reason=first.reason)
            yield self._of_bytes(file, listing, (problem,))

    def _number(self, found: dict[str, Domain], known: Mapping[str, InForce],
                ) -> dict[str, Numbers]:
        """Complete each domain that leaves a number to us; what others have or had is not free."""
        given: dict[str, Numbers] = {}
        if all(device.automatic() is None for d in found.values() for device in d.devices):
            return given
        has = {uuid: _numbers_of(kept) for uuid, kept in known.items()}
        written = {number for domain in found.values()
                   for number in numbers_of(domain.exclusive_resources())}
        for key, domain in found.items():
            taken = written | {item for uuid, own in has.items() if uuid != domain.uuid
                               for item in own.items()}
            after = complete(domain, has.get(domain.uuid, {}), taken, self.free)
            if after is not domain:
                found[key], given[key] = after, chosen(domain, after)
                has[domain.uuid] = given[key]
        return given


def _assign(found: dict[str, Domain], known: Mapping[str, InForce]) -> dict[str, Assigned]:
    """Give each domain the uuid, MAC addresses and taps that it has; what was chosen, by its key.

    A definition without a uuid is of the domain with its name, unless that was given another name.
    """
    claimed = {domain.uuid for domain in found.values() if not is_derived(domain, "uuid")}
    by_name = {kept.name: uuid for uuid, kept in known.items() if uuid not in claimed}
    taken = mac_addresses(found.values(), written=True) | mac_addresses(
        kept.domain for kept in known.values() if kept.domain is not None)
    chosen: dict[str, Assigned] = {}
    for key, domain in found.items():
        uuid, named = domain.uuid, by_name.get(domain.name)
        if is_derived(domain, "uuid"):
            uuid = named or (another_uuid(uuid) if uuid in claimed else uuid)
        kept = known.get(uuid) or known.get(named or "") or InForce("")
        found[key], chosen[key] = keep(domain, kept.domain, assigned_in(kept.chosen), uuid, taken)
        taken |= mac_addresses([found[key]])
    return chosen


@dataclass(frozen=True, slots=True)
class _Files:
    """Where the definitions in force are from, by uuid; what the files of this listing define."""

    in_force: Mapping[str, str]
    parsed: Mapping[str, tuple[Definition, ...]]
    listed: Collection[str]

    def may_define(self, domain: Domain) -> bool:
        """Whether the file of this definition is there, and may still be the domain's."""
        file = self.in_force.get(domain.uuid, "")
        if file not in self.listed:
            return False
        return file not in self.parsed or any(
            domain.uuid == other.domain.uuid or domain.name == other.domain.name
            for other in self.parsed[file])


def definitions_in_force(found: Mapping[str, Domain], held: Mapping[str, Domain],
                         files: _Files) -> dict[str, Domain]:
    """What is in use, for conflicts(): under the key of the new definition of the same domain.

    A definition of another file than before is the domain's only if the old file cannot be: it was
    renamed. Otherwise it is a copy, which has to give way.
    """
    new_of: dict[str, list[str]] = {}
    for key, uuid in owners(found, {uuid: d.name for uuid, d in held.items()}).items():
        if uuid is not None:
            new_of.setdefault(uuid, []).append(key)
    in_force: dict[str, Domain] = {}
    left: list[Domain] = []
    for uuid, domain in held.items():
        keys = new_of.get(uuid, [])
        same = [key for key in keys if found[key].file == files.in_force.get(uuid)]
        if same:
            in_force[same[0]] = domain
        elif len(keys) == 1 and not files.may_define(domain):
            in_force[keys[0]] = domain
        else:
            left.append(domain)
    for domain in left:
        name = domain.file or domain.name
        in_force[name if name not in found.keys() | in_force.keys() else
                 f"{name}#{domain.name}"] = domain
    return in_force


def _numbers_of(kept: InForce) -> Numbers:
    given = kept.domain.exclusive_resources() if kept.domain is not None else ()
    return {**dict(numbers_of(given)), **numbers_in(kept.chosen)}


def _by_key(file: str, definitions: tuple[Definition, ...]) -> dict[str, Definition]:
    """Each of a file's domains under a name of its own."""
    if len(definitions) == 1:
        return {file: definitions[0]}
    return {f"{file}#{index}": definition for index, definition in enumerate(definitions)}


def _of_domain(key: str, domain: Domain, problems: tuple[Problem, ...]) -> Rejected:
    return Rejected(domain.file, problems, domain.name, domain.uuid,
                    only_this_domain=key != domain.file)
