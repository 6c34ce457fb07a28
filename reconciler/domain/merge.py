"""The defaults of a directory: one file with values that all other files share.

It does not define a domain itself. It is merged into each parsed file before variables are
replaced, by the reader's tables, so that new elements need no code here. The file takes precedence:

- an attribute or element that the file does not have is taken from the defaults;
- an element that may occur once and is in both is merged in the same way, unless the file gives it
  a text: a text and its attributes (2 and unit='GiB') are one value;
- an element that may be repeated is taken only if the file has none of that name below the same
  parent: a file with a <disk> gets no disks from the defaults;
- <reconcile> in <metadata> likewise, but its <health> (one probe with its times) is never merged.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lxml import etree

from reconciler.domain.metadata import RULE, URN, reconcile_element
from reconciler.domain.model import InvalidDomain
from reconciler.domain.rules import Element, RowVerdict
from reconciler.domain.substitute import Substitution, set_index
from reconciler.domain.table import DOMAIN
from reconciler.domain.xml import Node, Report, parse, walk

if TYPE_CHECKING:
    from reconciler.domain.substitute import Variables

_IDENTITY = ("name", "uuid")
_ALONE = f"{{{URN}}}health"
_METADATA = Element("metadata", children=(RULE,))  # the table ignores it
_UNIT = "unit"  # it belongs to its number, and must not be combined with another one
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Defaults:
    """The checked defaults of a directory."""

    file: str
    data: bytes
    root: etree._Element = field(compare=False, repr=False)


@dataclass(slots=True)
class DefaultsMerge:
    """Merges into one file. `origins`: elements from the defaults; `taken`: if there are any."""

    defaults: Defaults
    origins: dict[etree._Element, str] = field(default_factory=dict)
    taken: bool = False

    def merge(self, root: etree._Element) -> None:
        """Add the defaults to the tree of a file."""
        self._merge(root, self.defaults.root, DOMAIN)

    def _merge(self, own: etree._Element, theirs: etree._Element, rule: Element) -> None:
        if rule.text is not None and (_text(own) or _UNIT in own.attrib):
            return
        for name, value in theirs.attrib.items():
            if name not in own.attrib:
                own.set(name, value)
                self.taken = True
        if rule.text is not None and _text(theirs) and not len(own):
            own.text, self.taken = theirs.text, True
            return
        there = {child.tag: child for child in reversed(own)}  # the first of each name
        for child in theirs.iterchildren(etree.Element):
            if child.tag not in there:
                self._take(own, child)
            elif child.tag != _ALONE:
                row = _row(rule, str(child.tag))
                if row is not None:
                    self._merge(there[child.tag], child, row)

    def _take(self, parent: etree._Element, child: etree._Element) -> None:
        copy = deepcopy(child)
        copy.tail = None
        parent.append(copy)
        self.origins.update(dict.fromkeys(copy.iter(etree.Element), self.defaults.file))
        self.taken = True


def _row(rule: Element, tag: str) -> Element | None:
    """The row of two elements that are merged; None if they are not."""
    row = _METADATA if rule is DOMAIN and tag == _METADATA.name else rule.by_name.get(tag)
    return row if row is not None and not row.many and row.verdict is RowVerdict.ACCEPT else None


def _text(raw: etree._Element) -> str:
    return (raw.text or "").strip(_SPACE)


def read_defaults(data: bytes, file: str, variables: Variables, *, lenient: bool) -> Defaults:
    """Read and check the file of defaults; raises InvalidDomain with every error."""
    root = parse(data, file)
    report = Report(file, lenient)
    checked = deepcopy(root)
    Substitution(variables, report).fill(checked)
    set_index(checked, 0, report)
    domain = Node(checked, DOMAIN, report, "domain")
    for child in checked.iterchildren(*_IDENTITY):
        report.add(report.line_of(child), f"domain/{child.tag}",
                   f"<{child.tag}> in defaults; accepted: only in the file of each domain")
    walk(domain)
    ours = reconcile_element(domain)
    if ours is not None:
        walk(ours)
    errors = tuple(sorted((problem for problem in dict.fromkeys(report.problems)
                           if not problem.warning), key=lambda problem: problem.line))
    if errors:
        raise InvalidDomain(errors)
    return Defaults(file, data, root)
