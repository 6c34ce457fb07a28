"""From bytes to checked nodes: safe parsing, and elements together with their rows of the table.

The walk over the tree reports every unknown name and every wrong value at once. Readers that run
afterwards get valid values only, and report errors that concern several values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from lxml import etree

from reconciler.domain.lines import Line, located
from reconciler.domain.model import InvalidDomain, Problem
from reconciler.domain.prolog import problem_of
from reconciler.domain.rules import Attribute, Element, RowVerdict
from reconciler.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LONGEST = 1 << 20
DEEPEST = 64
MOST_ELEMENTS = 5_000  # a file that fills pcie.0 has about 3,000
MOST_ATTRIBUTES = 100  # of one element; lxml takes quadratic time for them
MOST_ERRORS = 100
_LONGEST_MESSAGE = 800
_LONGEST_PATH = 300
_LONGEST_NAME = 40  # of names that suggestions are computed for, because of the time
_METADATA = "metadata"
_NOT_YET = "is not implemented yet"
_SPACE = " \t\r\n"  # XML's; other characters that str.strip() removes belong to the value
_CONFLICT = re.compile(rb"^<<<<<<<(?= |\r?$)", re.MULTILINE)  # git's marker of a merge conflict
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,64}")
_UUID = re.compile(r"[0-9a-fA-F-]{32,36}")
_SUGGESTED = (RowVerdict.ACCEPT, RowVerdict.NOT_YET)  # listed as accepted in messages
_HARMFUL = ((etree.XPath("/*" * (DEEPEST + 1)), f"elements nested more than {DEEPEST} levels deep"),
            (etree.XPath(f"(//*)[{MOST_ELEMENTS + 1}]"), f"more than {MOST_ELEMENTS} elements"),
            (etree.XPath(f"//*[@*[{MOST_ATTRIBUTES + 1}]]"),
             f"an element with more than {MOST_ATTRIBUTES} attributes"))


@dataclass(slots=True)
class Report:
    """Collects the problems of one file."""

    file: str
    lenient: bool = False
    problems: list[Problem] = field(default_factory=list)
    errors: int = 0
    # The file of elements from another one. lxml keeps their identity while they are referenced.
    origins: Mapping[etree._Element, str] = field(default_factory=dict)

    def add(self, line: int, path: str, message: str, *, warning: bool = False,
            reason: str = "InvalidDefinition") -> None:
        """Add a problem; raises InvalidDomain after MOST_ERRORS errors."""
        if len(message) > _LONGEST_MESSAGE:  # keep both ends: what was found, what is accepted
            message = f"{message[:200]} … {message[-300:]}"
        if len(path) > _LONGEST_PATH:
            path = f"{path[:100]} … {path[-100:]}"
        self.problems.append(Problem(*located(self.file, line), path, message, warning, reason))
        self.errors += not warning
        if self.errors > MOST_ERRORS:
            found = tuple(problem for problem in self.problems if not problem.warning)
            last = Problem(*located(self.file, line), "", f"more than {MOST_ERRORS} errors; the "
                           "rest of the file was not checked")
            raise InvalidDomain((*found[:MOST_ERRORS], last))

    def line_of(self, raw: etree._Element) -> int:
        """The line of an element, in whichever file it is from."""
        file = self.origins.get(raw) if self.origins else None
        return line_of(raw) if file is None else Line(line_of(raw), file)


class Node:
    """An element with its row, its path in the file, and the report."""

    __slots__ = ("path", "raw", "report", "rule")

    def __init__(self, raw: etree._Element, rule: Element, report: Report, path: str) -> None:
        self.raw = raw
        self.rule = rule
        self.report = report
        self.path = path

    @property
    def line(self) -> int:
        """Its line in the file."""
        return self.report.line_of(self.raw)

    def error(self, message: str, reason: str = "InvalidDefinition") -> None:
        """Report an error at this element; reading continues."""
        self.report.add(self.line, self.path, message, reason=reason)

    def warn(self, message: str) -> None:
        """Report a warning at this element."""
        self.report.add(self.line, self.path, message, warning=True)

    def children(self, name: str) -> Iterator[Node]:
        """The child elements with this name."""
        rule = self.rule.by_name[name]
        for index, raw in enumerate(self.raw.iterchildren(name), 1):
            place = f"[{index}]" if rule.many else ""
            yield Node(raw, rule, self.report, f"{self.path}/{_local(name)}{place}")

    def child(self, path: str) -> Node | None:
        """The first child element at a path, if any."""
        node: Node | None = self
        for step in path.split("/"):
            node = next(node.children(step), None) if node is not None else None
        return node

    def at(self, path: str) -> Node:
        """The child at a path, or this element if it is missing: for the line of a message."""
        return self.child(path) or self

    def value(self, path: str) -> object:
        """A valid value or None. `driver/@type` is an attribute, `name` the text of an element."""
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
        """A string, or None."""
        found = self.value(path)
        return found if isinstance(found, str) else None

    def number(self, path: str) -> int | None:
        """A number, or None."""
        found = self.value(path)
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def seconds(self, path: str) -> float | None:
        """A duration in seconds, or None."""
        found = self.value(path)
        return found if isinstance(found, float) else None

    def flag(self, path: str) -> bool | None:
        """A bool, or None."""
        found = self.value(path)
        return found if isinstance(found, bool) else None


def _parsed(rule: Attribute, text: str) -> object:
    try:
        return rule.type.parse(text.strip(_SPACE))
    except ValueError:
        return None  # the walk has reported it


def line_of(raw: Any) -> int:
    """The line of an element in its own file."""
    return raw.sourceline or 1


def parse(data: bytes, file: str) -> etree._Element:
    """The root of a well-formed file within the limits; raises InvalidDomain."""

    def refuse(line: int, message: str) -> NoReturn:
        raise InvalidDomain((Problem(file, line, "", message),))

    if problem := _unreadable(data):
        refuse(*problem)
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
        refuse(1, "a DTD is not allowed; accepted: a file without <!DOCTYPE …>")
    for line, message in harm(root):
        refuse(line, message)
    if root.tag != "domain":
        refuse(line_of(root), f"found <{root.tag}>; accepted: one <domain>")
    return root


def identity_in(data: bytes) -> tuple[str | None, str | None]:
    """Name and uuid of the domain in a file that is refused, as far as its markup shows them.

    Only elements count that are where a domain has them: not what a comment or a text looks like.
    """
    if _unreadable(data):
        return None, None
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False,
                             huge_tree=False, remove_comments=True, recover=True)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError, LookupError):
        return None, None
    if root is None or root.tag != "domain":
        return None, None
    name, uuid = ((root.findtext(part) or "").strip() for part in ("name", "uuid"))
    return (name if _NAME.fullmatch(name) else None,
            uuid.lower() if _UUID.fullmatch(uuid) else None)


def _unreadable(data: bytes) -> tuple[int, str] | None:
    """The line and the reason why the file is not parsed at all, or None."""
    if len(data) > LONGEST:
        return 1, f"found {len(data)} bytes; accepted: up to {LONGEST}"
    if not data.strip():
        return 1, "found an empty file; accepted: one <domain>"
    if problem := problem_of(data):
        return 1, problem
    conflict = _CONFLICT.search(data)
    if conflict is not None:
        return (data.count(b"\n", 0, conflict.start()) + 1,
                "an unresolved merge conflict; accepted: one of its two sides")
    return None


def harm(root: etree._Element) -> Iterator[tuple[int, str]]:
    """Violations of the limits that hold for any tree: line and message."""
    for search, problem in _HARMFUL:
        found: Any = search(root)  # lxml's stubs have no type for results
        if found:
            yield line_of(found[0]), problem
    instruction = next(_instructions(root), None)
    if instruction is not None:
        yield line_of(instruction), "processing instructions are not allowed"


def _instructions(root: etree._Element) -> Iterator[Any]:
    """Also those around the root element. Not by XPath, which takes quadratic time for them."""
    yield from root.itersiblings(etree.PI, preceding=True)
    yield from root.iter(etree.PI)
    yield from root.itersiblings(etree.PI)


def walk(node: Node) -> None:
    """Report everything in this element that its row does not allow."""
    _attributes(node)
    seen: dict[str, int] = {}
    for raw in node.raw.iterchildren():
        tag: object = raw.tag
        if not isinstance(tag, str):
            continue  # an entity reference, which the parser does not resolve
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
        if _judged(child, rule.verdict, f"<{_local(tag)}>", rule.because):
            walk(child)
    _content(node)


def _attributes(node: Node) -> None:
    for name, value in [(str(k), str(v)) for k, v in node.raw.attrib.items()]:
        rule = node.rule.by_attribute.get(name)
        if rule is None:
            near = nearest(name[:_LONGEST_NAME], node.rule.by_attribute)
            accepted = ", ".join(name for name, row in node.rule.by_attribute.items()
                                 if row.verdict in _SUGGESTED) or "none"
            node.report.add(
                node.line, f"{node.path}/@{name}",
                f"unknown attribute '{name}'{near}; accepted: {accepted}",
                warning=node.report.lenient and not _strict(node))
        elif _judged(node, rule.verdict, f"{name}='{value}'", rule.because):
            try:
                rule.type.parse(value.strip(_SPACE))
            except ValueError as error:
                node.report.add(node.line, f"{node.path}/@{name}", str(error))


def _content(node: Node) -> None:
    text = (node.raw.text or "").strip(_SPACE)
    stray = text if node.rule.text is None else ""
    stray += "".join((child.tail or "").strip(_SPACE) for child in node.raw.iterchildren())
    if any(not isinstance(child.tag, str) for child in node.raw.iterchildren()):
        node.error("entities are not allowed; accepted: plain text")
    elif stray:
        node.error(f"found text '{stray[:40]}'; accepted: no text here")
    elif text and node.rule.children and len(node.raw):
        node.error(f"found text '{text[:40]}' beside elements; accepted: text or elements")
    if node.rule.text is not None:
        try:
            if text or not node.rule.empty:
                node.rule.text.parse(text)
        except ValueError as error:
            node.error(str(error))


def _unknown_element(node: Node, tag: str, line: int, path: str) -> None:
    name, strict = _local(tag), _strict(node)
    if tag.startswith("{") and not strict:
        node.report.add(line, path, f"an element of another namespace, '{tag}'; accepted: only "
                        f"below <{_METADATA}>")
        return
    rows = {_local(row): rule for row, rule in node.rule.by_name.items()}
    if strict and name in rows:
        node.report.add(line, path, f"<{name}> in another namespace; accepted: in that of its "
                                    f"parent, {str(node.raw.tag)[1:].partition('}')[0]}")
        return
    accepted = [row for row, rule in rows.items() if rule.verdict in _SUGGESTED]
    node.report.add(line, path, f"unknown element <{name}>{nearest(name[:_LONGEST_NAME], rows)}; "
                                f"accepted: {', '.join(accepted) or 'none'}",
                    warning=node.report.lenient and not strict)


def _local(tag: str) -> str:
    """A name without its namespace."""
    return tag.rpartition("}")[2]


def _strict(node: Node) -> bool:
    """Whether it is <reconcile> or below, where lenience could turn a typo into a destroyed VM."""
    return str(node.raw.tag).startswith("{urn:stratovirt-reconciler:")


def _judged(node: Node, verdict: RowVerdict, what: str, message: str) -> bool:
    """Report what the verdict says; returns whether to read it."""
    if verdict is RowVerdict.WARN:
        node.warn(f"{what} is ignored: {message}")
    elif verdict is RowVerdict.REJECT:
        node.error(f"{what}: {message}")
    elif verdict is RowVerdict.NOT_YET:
        node.error(f"{what} {_NOT_YET}", reason="Unsupported")
    return verdict is RowVerdict.ACCEPT
