"""The schema of the domain file in RELAX NG's compact syntax, which Emacs needs.

    python -m reconciler.domain.compact > contrib/domain.rnc

It is written from the tree of the XML syntax, and supports only what that tree contains.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler.domain.schema import DATATYPES, NOTES, RELAXNG, grammar

if TYPE_CHECKING:
    from lxml import etree

_HEAD = """# Made from the reader's tables by `python -m reconciler.domain.compact`; do not edit.
"""
_WIDTH = 80
_JOINED = {"interleave": " & ", "choice": " | "}
_TIMES = {"optional": "?", "zeroOrMore": "*"}


def text() -> str:
    """The whole file."""
    root = grammar()
    spaces = {prefix: uri for prefix, uri in root.nsmap.items() if prefix and uri != NOTES}
    lines = [_HEAD, f"datatypes xsd = {_quoted(DATATYPES)}", 'namespace local = ""']
    lines += [f"namespace {prefix} = {_quoted(uri)}" for prefix, uri in spaces.items()]
    prefixes = {"": "", **{uri: f"{prefix}:" for prefix, uri in spaces.items()}}
    writer = _Writer(prefixes)
    return "\n".join(lines) + "\n\n" + "".join(
        f"{child.get('name', 'start')} =\n{writer.inside(child, 1)}\n"
        for child in root.iterchildren(f"{{{RELAXNG}}}*"))


class _Writer:
    """Writes patterns as text, one per line, indented by their depth."""

    def __init__(self, prefixes: dict[str, str]) -> None:
        self.prefixes = prefixes  # by namespace

    def inside(self, parent: etree._Element, depth: int, between: str = ", ") -> str:
        """The patterns inside an element."""
        found = [self.pattern(child, depth) for child in parent.iterchildren(f"{{{RELAXNG}}}*")
                 if _tag(child) not in ("anyName", "param")]
        return f"{between.rstrip()}\n".join(found)

    def pattern(self, node: etree._Element, depth: int) -> str:
        """One pattern."""
        tag, pad = _tag(node), "  " * depth
        if tag in ("element", "attribute"):
            inner = self.inside(node, depth + 1) or f"{pad}  text"
            return f"{_note(node, pad)}{pad}{tag} {self.name(node)} {{\n{inner}\n{pad}}}"
        if tag in _JOINED:
            return _bracketed(self.inside(node, depth + 1, _JOINED[tag]), pad)
        if tag in _TIMES:
            return _bracketed(self.inside(node, depth + 1), pad) + _TIMES[tag]
        if tag == "data":
            facets = " ".join(f"{param.get('name')} = {_quoted(param.text or '')}"
                              for param in node)
            return f"{pad}xsd:{node.get('type')} {{ {facets} }}"
        leaf = {"ref": node.get("name"), "value": _quoted(node.text or ""), "text": "text",
                "empty": "empty"}
        return f"{pad}{leaf[tag]}"

    def name(self, node: etree._Element) -> str:
        """The name of an element or attribute, or the class of names."""
        any_name = node.find(f"{{{RELAXNG}}}anyName")
        if any_name is None:
            return self.prefixes[node.get("ns", "")] + node.get("name", "")
        but = [self.prefixes[space.get("ns", "")] or "local:"
               for space in any_name.iter(f"{{{RELAXNG}}}nsName")]
        return f"* - ({' | '.join(f'{prefix}*' for prefix in but)})" if but else "*"


def _bracketed(inner: str, pad: str) -> str:
    """In brackets, on one line if it fits."""
    line = " ".join(word.strip() for word in inner.splitlines())
    if "{" in inner or len(line) > _WIDTH:
        return f"{pad}(\n{inner}\n{pad})"
    return f"{pad}({line})" if " " in line else f"{pad}{line}"


def _note(node: etree._Element, pad: str) -> str:
    found = node.findtext(f"{{{NOTES}}}documentation")
    return f"{pad}## {found}\n" if found else ""


def _quoted(words: str) -> str:
    """A literal, in which backslashes need no escape."""
    quote = "'" if '"' in words else '"'
    return quote + words.replace("\x7f", r"\x{7F}") + quote


def _tag(node: etree._Element) -> str:
    return str(node.tag).rpartition("}")[2]


if __name__ == "__main__":
    sys.stdout.write(text())
