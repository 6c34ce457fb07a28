"""The safe parse of one file, and the place where its problems are gathered."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from reconciler.domain.model import InvalidDomain, Problem

MAX_BYTES = 1 << 20


def line_of(node: Any) -> int:
    # Any: the stubs know nothing of sourceline.
    return node.sourceline or 1


@dataclass(slots=True)
class Reading:
    """One pass over one file: the place where its problems are gathered."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def error(self, node: etree._Element, message: str, reason: str = "InvalidDefinition") -> None:
        """Note an error at a node; reading goes on, so that all are reported at once."""
        parents = reversed(list(node.iterancestors()))
        path = "/".join(str(step.tag) for step in (*parents, node))
        self.problems.append(
            Problem(self.file, line_of(node), path, message, reason=reason)
        )

    def warn(self, node: etree._Element, message: str) -> None:
        """Note something that the guest can do without."""
        path = str(node.tag)
        self.problems.append(
            Problem(self.file, line_of(node), path, message, warning=True)
        )

    def known(self, node: etree._Element, children: str = "", attributes: str = "") -> None:
        """Report what a node has beyond these blank-separated names."""
        for kind, found, accepted in (
            ("attribute", [str(a) for a in node.attrib], attributes.split()),
            ("element", [str(c.tag) for c in node if isinstance(c.tag, str)], children.split()),
        ):
            for name in found:
                if name in accepted:
                    continue
                near = difflib.get_close_matches(name, accepted, 1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                accepts = ", ".join(accepted) or "none"
                self.error(node, f"unknown {kind} '{name}'{hint} (accepted: {accepts})")

    def number(self, node: etree._Element, text: str | None, low: int, high: int) -> int:
        """A decimal number in a range; the lowest one when it is not."""
        if text is None or not re.fullmatch(r"[0-9]{1,20}", text.strip()):
            self.error(node, f"found '{text}', accepted: a number from {low} to {high}")
            return low
        value = int(text)
        if not low <= value <= high:
            self.error(node, f"found {value}, accepted: {low} to {high}")
            return low
        return value

    def choice(self, node: etree._Element, name: str, accepted: str, default: str) -> str:
        """An attribute with a fixed set of values."""
        value = str(node.get(name, default))
        if value not in accepted.split():
            self.error(node, f"{name}='{value}', accepted: {', '.join(accepted.split())}")
            return default
        return value

    def option(self, node: etree._Element, value: str | None) -> str:
        """A value that will stand inside an option list: StratoVirt has no escape for , and =."""
        value = value or ""
        bad = [c for c in value if c in ",=" or ord(c) < 32 or ord(c) == 127]
        if not value:
            self.error(node, "found nothing, accepted: a value")
        elif bad or value.startswith("-"):
            self.error(node, f"found {value!r}; ',' and '=', control characters and a leading '-' "
                             "cannot be passed to StratoVirt")
        return value


def parse(data: bytes, file: str) -> etree._Element:
    def refuse(line: int, message: str) -> InvalidDomain:
        return InvalidDomain((Problem(file, line, "", message),))

    if len(data) > MAX_BYTES:
        raise refuse(1, f"{len(data)} bytes, accepted: up to {MAX_BYTES}")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise refuse(1, "a DTD or an entity is refused always")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False,
                             remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise refuse(int(error.lineno or 1), f"not well-formed XML: {error.msg}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise refuse(1, "a DTD is refused always")
    if root.tag != "domain":
        raise refuse(line_of(root), f"found <{root.tag}>, accepted: <domain>")
    if sum(1 for _ in root.iter()) and max(_depth(root), 1) > 64:
        raise refuse(1, "nested over 64 deep")
    return root


def _depth(root: etree._Element) -> int:
    depth = deepest = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest
