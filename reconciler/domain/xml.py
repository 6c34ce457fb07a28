"""From bytes to checked nodes: the safe parse, and an element together with its row of the table.

One walk over the whole tree reports every unknown name and every wrong value, all at once; whoever
reads values afterwards gets only right ones, and reports only what takes several values to see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from lxml import etree

from reconciler.domain.lines import Line, located
from reconciler.domain.model import InvalidDomain, Problem
from reconciler.domain.rules import Attribute, Element, RowVerdict
from reconciler.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LONGEST = 1 << 20
DEEPEST = 64
MOST_ELEMENTS = 5_000  # a full pcie.0 has 3,000; what is over it would only cost time
MOST_ATTRIBUTES = 100  # of one element; lxml looks each up among all of them
MOST_ERRORS = 100
_LONGEST_MESSAGE = 800
_LONGEST_NAME = 40  # looking for what is near a longer one takes too long
_METADATA = "metadata"
_LATER = "is not built yet"
_SPACE = " \t\r\n"  # XML's: what Python strips more is part of a value, as in the schema
_CONFLICT = re.compile(rb"^<<<<<<<(?= |\r?$)", re.MULTILINE)  # as git writes it into a work tree
_USEFUL = (RowVerdict.READ, RowVerdict.LATER)  # what is worth a hint: that which means something
# An instruction counts wherever it stands, before the root, too.
_HARMFUL = ((etree.XPath("/*" * (DEEPEST + 1)), f"nested over {DEEPEST} deep"),
            (etree.XPath(f"(//*)[{MOST_ELEMENTS + 1}]"), f"over {MOST_ELEMENTS} elements"),
            (etree.XPath(f"//*[@*[{MOST_ATTRIBUTES + 1}]]"), f"over {MOST_ATTRIBUTES} attributes"),
            (etree.XPath("//processing-instruction()"),
             "a processing instruction is refused always"))


@dataclass(slots=True)
class Report:
    """Where the problems of one file are gathered."""

    file: str
    lenient: bool = False
    problems: list[Problem] = field(default_factory=list)
    errors: int = 0
    # Elements that came from another file, which is named. Held here, each stays the same object.
    origins: Mapping[etree._Element, str] = field(default_factory=dict)

    def add(self, line: int, path: str, message: str, *, warning: bool = False,
            reason: str = "InvalidDefinition") -> None:
        """Note one problem; after a hundred errors nobody reads on, and neither do we."""
        if len(message) > _LONGEST_MESSAGE:  # what was found and what is accepted stand at the ends
            message = f"{message[:200]} … {message[-300:]}"
        self.problems.append(Problem(*located(self.file, line), path, message, warning, reason))
        self.errors += not warning
        if self.errors > MOST_ERRORS:
            found = tuple(problem for problem in self.problems if not problem.warning)
            last = Problem(*located(self.file, line), "", f"more than {MOST_ERRORS} errors; the "
                           "rest was not looked at")
            raise InvalidDomain((*found[:MOST_ERRORS], last))

    def line_of(self, raw: etree._Element) -> int:
        """Where an element stands, in whichever file."""
        file = self.origins.get(raw) if self.origins else None
        return line_of(raw) if file is None else Line(line_of(raw), file)


class Node:
    """An element with its row, its place in the file, and the report."""

    __slots__ = ("path", "raw", "report", "rule")

    def __init__(self, raw: etree._Element, rule: Element, report: Report, path: str) -> None:
        self.raw = raw
        self.rule = rule
        self.report = report
        self.path = path

    @property
    def line(self) -> int:
        """Where it stands in the file."""
        return self.report.line_of(self.raw)

    def error(self, message: str, reason: str = "InvalidDefinition") -> None:
        """Report an error here; reading goes on."""
        self.report.add(self.line, self.path, message, reason=reason)

    def warn(self, message: str) -> None:
        """Report something that a guest can do without."""
        self.report.add(self.line, self.path, message, warning=True)

    def children(self, name: str) -> Iterator[Node]:
        """The child elements of a name."""
        rule = self.rule.by_name[name]
        for index, raw in enumerate(self.raw.iterchildren(name), 1):
            place = f"[{index}]" if rule.many else ""
            yield Node(raw, rule, self.report, f"{self.path}/{_local(name)}{place}")

    def child(self, path: str) -> Node | None:
        """The one child element at a path."""
        node: Node | None = self
        for step in path.split("/"):
            node = next(node.children(step), None) if node is not None else None
        return node

    def at(self, path: str) -> Node:
        """The child at a path, or where it would stand: for an error's line."""
        return self.child(path) or self

    def value(self, path: str) -> object:
        """A right value, or None: `driver/@type` an attribute, `name` an element's text."""
        steps, _, attribute = path.partition("@")
        node = self.child(steps.rstrip("/")) if steps.rstrip("/") else self
        if node is None:
            return None
        if attribute:
            found = node.raw.get(attribute)
            return None if found is None else _parsed(node.rule.by_attribute[attribute], str(found))
        text = (node.raw.text or "").strip(_SPACE)
        if node.rule.text is None or not text:
            return None
        try:
            return node.rule.text.parse(text)
        except ValueError:
            return None  # the walk has reported it

    def text(self, path: str) -> str | None:
        """A text value."""
        found = self.value(path)
        return found if isinstance(found, str) else None

    def number(self, path: str) -> int | None:
        """A number."""
        found = self.value(path)
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def seconds(self, path: str) -> float | None:
        """A duration."""
        found = self.value(path)
        return found if isinstance(found, float) else None

    def flag(self, path: str) -> bool | None:
        """A truth."""
        found = self.value(path)
        return found if isinstance(found, bool) else None


def _parsed(rule: Attribute, text: str) -> object:
    try:
        return rule.type.parse(text.strip(_SPACE))
    except ValueError:
        return None  # the walk has reported it


def line_of(raw: Any) -> int:
    """The line an element stands on."""
    return raw.sourceline or 1


def parse(data: bytes, file: str) -> etree._Element:
    """The root of a well-formed, harmless file; raises InvalidDomain."""

    def refuse(line: int, message: str) -> NoReturn:
        raise InvalidDomain((Problem(file, line, "", message),))

    if spoilt := _unreadable(data):
        refuse(*spoilt)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False,
                             huge_tree=False, remove_comments=True, remove_pis=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        refuse(int(error.lineno or 1), f"not well-formed XML: {error.msg}")
    except (ValueError, LookupError) as error:
        refuse(1, f"not XML: {error}")
    info = root.getroottree().docinfo
    if info.internalDTD is not None or info.externalDTD is not None or info.doctype:
        refuse(1, "a DTD is refused always; accepted: a file without <!DOCTYPE …>")
    for line, problem in harm(root):
        refuse(line, problem)
    if root.tag != "domain":
        refuse(line_of(root), f"found <{root.tag}>; accepted: one <domain>")
    return root


def _unreadable(data: bytes) -> tuple[int, str] | None:
    """What speaks against reading it at all, and on which line."""
    if len(data) > LONGEST:
        return 1, f"found {len(data)} bytes; accepted: up to {LONGEST}"
    if not data.strip():
        return 1, "found an empty file; accepted: one <domain>"
    conflict = _CONFLICT.search(data)
    if conflict is not None:
        return (data.count(b"\n", 0, conflict.start()) + 1,
                "an unresolved merge conflict; accepted: one of its two sides")
    return None


def harm(root: etree._Element) -> Iterator[tuple[int, str]]:
    """What is refused in any tree, whatever its names: the line, and why."""
    for search, problem in _HARMFUL:
        found: Any = search(root)  # the stubs know no result of ours
        if found:
            yield line_of(found[0]), problem


def walk(node: Node) -> None:
    """Report everything in this element that its row does not have."""
    _attributes(node)
    seen: dict[str, int] = {}
    for raw in node.raw.iterchildren():
        tag: object = raw.tag
        if not isinstance(tag, str):
            continue  # an entity reference, which the parser left alone
        seen[tag] = seen.get(tag, 0) + 1
        rule = node.rule.by_name.get(tag)
        line = node.report.line_of(raw)
        path = f"{node.path}/{_local(tag)}{f'[{seen[tag]}]' if rule is None or rule.many else ''}"
        if rule is None:
            _unknown_element(node, tag, line, path)
            continue
        if seen[tag] > 1 and not rule.many:
            node.report.add(line, path, f"a second <{_local(tag)}>; accepted: one")
            continue
        child = Node(raw, rule, node.report, path)
        if _judged(child, rule.verdict, f"<{_local(tag)}>", rule.message):
            walk(child)
    _content(node)


def _attributes(node: Node) -> None:
    for name, value in [(str(k), str(v)) for k, v in node.raw.attrib.items()]:
        rule = node.rule.by_attribute.get(name)
        if rule is None:
            near = nearest(name[:_LONGEST_NAME], node.rule.by_attribute)
            accepted = ", ".join(name for name, row in node.rule.by_attribute.items()
                                 if row.verdict in _USEFUL) or "none"
            node.report.add(
                node.line, f"{node.path}/@{name}",
                f"unknown attribute '{name}'{near}; accepted: {accepted}",
                warning=node.report.lenient and not _ours(node))
        elif _judged(node, rule.verdict, f"{name}='{value}'", rule.message):
            try:
                rule.type.parse(value.strip(_SPACE))
            except ValueError as error:
                node.report.add(node.line, f"{node.path}/@{name}", str(error))


def _content(node: Node) -> None:
    text = (node.raw.text or "").strip(_SPACE)
    stray = text if node.rule.text is None else ""
    stray += "".join((child.tail or "").strip(_SPACE) for child in node.raw.iterchildren())
    if any(not isinstance(child.tag, str) for child in node.raw.iterchildren()):
        node.error("an entity is refused always; accepted: plain text")
    elif stray:
        node.error(f"found text '{stray[:40]}'; accepted: no text here")
    elif text and node.rule.children and len(node.raw):
        node.error(f"found text '{text[:40]}' beside elements; accepted: one of the two")
    if node.rule.text is not None:
        try:
            if text or not node.rule.empty:
                node.rule.text.parse(text)
        except ValueError as error:
            node.error(str(error))


def _unknown_element(node: Node, tag: str, line: int, path: str) -> None:
    name, ours = _local(tag), _ours(node)
    if tag.startswith("{") and not ours:
        node.report.add(line, path, f"an element of another namespace, '{tag}'; accepted: only in "
                                    f"<{_METADATA}>")
        return
    rows = {_local(row): rule for row, rule in node.rule.by_name.items()}
    if ours and name in rows:
        node.report.add(line, path, f"<{name}> in another namespace; accepted: in that of its "
                                    f"parent, {str(node.raw.tag)[1:].partition('}')[0]}")
        return
    accepted = [row for row, rule in rows.items() if rule.verdict in _USEFUL]
    node.report.add(line, path, f"unknown element <{name}>{nearest(name[:_LONGEST_NAME], rows)}; "
                                f"accepted: {', '.join(accepted) or 'none'}",
                    warning=node.report.lenient and not ours)


def _local(tag: str) -> str:
    """A name without its namespace."""
    return tag.rpartition("}")[2]


def _ours(node: Node) -> bool:
    """A typo in `prune` must not mean `destroy`: in our own namespace nothing is lenient."""
    return str(node.raw.tag).startswith("{urn:stratovirt-reconciler:")


def _judged(node: Node, verdict: RowVerdict, what: str, message: str) -> bool:
    """Report by the verdict; whether it is to be read."""
    if verdict is RowVerdict.WARNED:
        node.warn(f"{what} is ignored: {message}")
    elif verdict is RowVerdict.REFUSED:
        node.error(f"{what}: {message}")
    elif verdict is RowVerdict.LATER:
        node.error(f"{what} {_LATER}", reason="Unsupported")
    return verdict is RowVerdict.READ
