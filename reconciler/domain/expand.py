"""From a file to its definitions: applies defaults, variables and `count`. Pure.

In this order: the directory's defaults, the host's variables, the index of a `count`. Each
definition has a complete text of its own, which is stored and read again as long as it is in use;
the text of a file that uses none of the three is the file, byte for byte (rule 4).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lxml import etree

from reconciler.domain.merge import Defaults, DefaultsMerge
from reconciler.domain.metadata import RULE
from reconciler.domain.model import Domain, InvalidDomain, Problem
from reconciler.domain.reader import read_tree
from reconciler.domain.substitute import Substitution, Variables, has_index, path_of, set_index
from reconciler.domain.xml import LONGEST, Report, harm, line_of, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.domain.model import ReadingHost

MOST_TOGETHER = 50_000  # elements of all domains of a file, which take about a second
_COUNT = RULE.by_attribute["count"]
_LONGEST_SHOWN = 40  # of a variable's value in messages


@dataclass(frozen=True, slots=True)
class Given:
    """The inputs of a file besides the host."""

    variables: Variables = Variables()
    defaults: Defaults | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """One domain of a file, its own text, and a note on how the text was made."""

    domain: Domain
    data: bytes
    note: str = ""  # empty where the text is the file itself


@dataclass(frozen=True, slots=True)
class Expansion:
    """All domains of a file, and the variables that it uses, with their values."""

    definitions: tuple[Definition, ...]
    used: tuple[tuple[str, str | None], ...] = ()


@dataclass(slots=True)
class _Document:
    """A file's tree with defaults and variables applied, but not `count`."""

    root: etree._Element
    report: Report
    origins: Mapping[etree._Element, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    used: tuple[tuple[str, str | None], ...] = ()


def expand(data: bytes, file: str, host: ReadingHost, given: Given) -> Expansion:
    """Read a file; raises InvalidDomain with every problem of its first domain that has any."""
    document = _completed(parse(data, file), file, given)
    count = _count(document.root)
    if count is None and not document.notes:
        domain = read_tree(document.root, file, host, {})
        return Expansion((Definition(domain, data),), document.used)
    definitions = tuple(_definition(document, file, host, index, count or 1)
                        for index in _indices(document, count))
    return Expansion(definitions, document.used)


def _completed(root: etree._Element, file: str, given: Given) -> _Document:
    """Apply the defaults and the variables."""
    origins: Mapping[etree._Element, str] = {}
    notes: tuple[str, ...] = ()
    if given.defaults is not None:
        merging = DefaultsMerge(given.defaults)
        merging.merge(root)
        origins = merging.origins
        notes = (given.defaults.file,) if merging.taken else ()
    report = Report(file, origins=origins)
    filling = Substitution(given.variables, report)
    filling.fill(root)
    _raise_errors(report)
    if filling.changed:
        notes += tuple(f"{name}={_shown(value)}" for name, value in filling.used.items()
                       if value is not None) or ("$${",)
    if notes:
        for line, problem in harm(root):
            report.add(line, "", f"after expansion, {problem}")
    _raise_errors(report)
    return _Document(root, report, origins, notes, tuple(sorted(filling.used.items())))


def _count(root: etree._Element) -> int | None:
    """How many domains the file defines; None without a count, or with a wrong one.

    The reader reports a wrong count.
    """
    ours = root.find(f"metadata/{RULE.name}")
    written = None if ours is None else ours.get(_COUNT.name)
    try:
        return None if written is None else int(str(_COUNT.type.parse(written.strip())))
    except ValueError:
        return None


def _indices(found: _Document, count: int | None) -> Iterator[int | None]:
    """The index of each domain, or a single None; raises InvalidDomain for too many."""
    if count is None:
        return iter((None,))
    root, report = found.root, found.report
    size = sum(1 for _ in root.iter(etree.Element))
    name = root.find("name")
    if size * count > MOST_TOGETHER:
        ours = root.find(f"metadata/{RULE.name}")
        assert ours is not None
        report.add(report.line_of(ours), path_of(ours, _COUNT.name),
                   f"count='{count}' with {size} elements each; accepted: up to {MOST_TOGETHER} "
                   "elements in total")
    elif count > 1 and name is not None and not has_index(name.text or ""):
        report.add(report.line_of(name), "domain/name",
                   f"found '{(name.text or '')[:_LONGEST_SHOWN]}' with count='{count}'; accepted: "
                   "a name with {index}, the number of each domain from 0")
    _raise_errors(report)
    return iter(range(count))


def _definition(found: _Document, file: str, host: ReadingHost, index: int | None,
                count: int) -> Definition:
    root, origins, notes = found.root, found.origins, found.notes
    if index is not None:
        root = deepcopy(root)
        origins = {new: origins[old] for old, new in zip(
            found.root.iter(etree.Element), root.iter(etree.Element), strict=True)
            if old in origins}
        report = Report(file, origins=origins)
        ours = root.find(f"metadata/{RULE.name}")
        assert ours is not None
        del ours.attrib[_COUNT.name]
        set_index(root, index, report)
        _raise_errors(report)
        notes += (f"index {index}",)
    text = etree.tostring(root, encoding="unicode").encode()
    if len(text) > LONGEST:
        raise InvalidDomain((Problem(file, line_of(root), "", f"found {len(text)} bytes after "
                                     f"expansion; accepted: up to {LONGEST}"),))
    try:
        domain = read_tree(root, file, host, origins)
    except InvalidDomain as error:
        raise (_of_index(error, index) if index is not None and count > 1 else error) from None
    return Definition(domain, text, ", ".join(notes))


def _of_index(error: InvalidDomain, index: int) -> InvalidDomain:
    return InvalidDomain(tuple(replace(problem, message=f"{problem.message} (index {index})")
                               for problem in error.problems))


def _raise_errors(report: Report) -> None:
    if report.problems:
        raise InvalidDomain(tuple(dict.fromkeys(report.problems)))


def _shown(value: str) -> str:
    """A variable's value, on one line."""
    short = value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…"
    return short if short.isprintable() else repr(short)
