"""The schema of the domain file for editors, made from the reader's tables.

    python -m reconciler.domain.schema > contrib/domain.rng

It is RELAX NG, which can express "in any order". It checks what `walk` checks: names, how often
they occur, and each value by itself; only the reader checks values against each other. Tests
compare the file with the tables, and the schema with the reader; `validate` does so on every file.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from lxml import etree

from reconciler.domain.metadata import RULE, URN
from reconciler.domain.rules import Element, RowVerdict
from reconciler.domain.table import DOMAIN

if TYPE_CHECKING:
    from reconciler.domain.rules import Attribute, Type
    from reconciler.domain.value_schema import ValueSchema

RELAXNG = "http://relaxng.org/ns/structure/1.0"
NOTES = "http://relaxng.org/ns/compatibility/annotations/1.0"
DATATYPES = "http://www.w3.org/2001/XMLSchema-datatypes"
_SPACE = r"[ \t\r\n]*"
_METADATA = "metadata"  # ignored by the table, except <reconcile>
_HEAD = " Made from the reader's tables by `python -m reconciler.domain.schema`; do not edit. "
_NOTES = {RowVerdict.IGNORE: "Allowed; it has no effect.", RowVerdict.WARN: "Ignored: {}."}
# One <metadata> may contain <reconcile>; others may come before and after it.
_COMMON = f"""
<grammar xmlns='{RELAXNG}'>
<define name='anything'>
<zeroOrMore><choice><attribute><anyName/></attribute><text/>
<element><anyName/><ref name='anything'/></element></choice></zeroOrMore>
</define>
<define name='others'>
<zeroOrMore><choice><attribute><anyName/></attribute><text/>
<element><anyName><except><nsName ns=''/><nsName ns='{URN}'/></except></anyName>
<ref name='anything'/></element></choice></zeroOrMore>
</define>
<define name='{_METADATA}'>
<zeroOrMore><element name='{_METADATA}'><ref name='others'/></element></zeroOrMore>
<optional>
<element name='{_METADATA}'>
<interleave><ref name='{{ours}}'/><ref name='others'/></interleave></element>
<zeroOrMore><element name='{_METADATA}'><ref name='others'/></element></zeroOrMore>
</optional>
</define>
</grammar>
"""


def text() -> str:
    """The whole file."""
    root = grammar()
    etree.indent(root, " ")
    found = etree.tostring(root, encoding="unicode")
    # DEL is invisible in editors, so it is written as a character reference.
    return ("<?xml version='1.0' encoding='utf-8'?>\n" + found.replace("\x7f", "&#127;") + "\n")


def compiled() -> etree.RelaxNG:
    """The schema, ready to validate with."""
    return etree.RelaxNG(grammar())


def grammar(domain: Element = DOMAIN, ours: Element = RULE) -> etree._Element:
    """The schema as a tree; rows that several elements share are defined once."""
    root = etree.fromstring(f"<grammar xmlns='{RELAXNG}' xmlns:a='{NOTES}' xmlns:r='{URN}' "
                            f"datatypeLibrary='{DATATYPES}'/>")
    root.append(etree.Comment(_HEAD))
    _Writer(root).write(domain, ours)
    return root


class _Writer:
    """Adds definitions to a grammar, one for each accepted row."""

    def __init__(self, root: etree._Element) -> None:
        self.root = root
        self.names: dict[Element, str] = {}

    def write(self, domain: Element, ours: Element) -> None:
        """Write all definitions, in the order of the tables."""
        start = _inside(self.root, "start")
        _inside(start, "ref", name=self.define(domain, ""))
        common = etree.fromstring(_COMMON.format(ours=self.define(ours, _METADATA)).replace(
            "\n", ""))
        self.root.extend(list(common))

    def define(self, rule: Element, parent: str) -> str:
        """The name of a row's definition, which is written the first time."""
        if rule in self.names:
            return self.names[rule]
        local = _local(rule)
        name = self.names[rule] = f"{parent}.{local}" if parent else local
        element = _inside(_inside(self.root, "define", name=name), "element", name=local)
        if rule.name != local:
            element.set("ns", rule.name[1:].partition("}")[0])
        _note(element, rule.verdict, rule.because or (rule.text.name if rule.text else ""))
        self.fill(element, rule, name)
        return name

    def fill(self, element: etree._Element, rule: Element, name: str) -> None:
        """Write the content of an element: attributes, then text or children in any order."""
        children = [child for child in rule.by_name.values() if _is_there(child)]
        assert rule.text is None or rule.empty or not children, f"{name}: text is always needed"
        attributes = [row for row in rule.by_attribute.values() if _is_there(row)]
        for attribute in attributes:
            _attribute(_inside(element, "optional"), attribute)
        inner = _inside(element, "choice") if rule.text is not None and children else element
        if rule.text is not None:
            _value(_inside(inner, "optional") if rule.empty else inner, rule.text)
        if children:
            inner = _inside(inner, "interleave") if len(children) > 1 else inner
            for child in children:
                self.child(inner, child, name)
        elif rule.text is None and not attributes:
            _inside(element, "empty")

    def child(self, parent: etree._Element, rule: Element, name: str) -> None:
        """Write a child, as often as its row allows."""
        if rule.name == _METADATA:
            _inside(parent, "ref", name=_METADATA)
            return
        times = _inside(parent, "zeroOrMore" if rule.many else "optional")
        if rule.verdict is RowVerdict.ACCEPT:
            _inside(times, "ref", name=self.define(rule, name))
            return
        element = _inside(times, "element", name=_local(rule))
        _note(element, rule.verdict, rule.because)
        _inside(element, "ref", name="anything")


def _is_there(row: Element | Attribute) -> bool:
    """Whether a file may have it: rejected rows are not in the schema."""
    return row.verdict in (RowVerdict.ACCEPT, RowVerdict.IGNORE, RowVerdict.WARN)


def _attribute(parent: etree._Element, rule: Attribute) -> None:
    attribute = _inside(parent, "attribute", name=rule.name)
    read = rule.verdict is RowVerdict.ACCEPT
    _note(attribute, rule.verdict, rule.type.name if read else rule.because)
    if read:
        _value(attribute, rule.type)


def _value(parent: etree._Element, kind: Type) -> None:
    """Write the words and patterns of a type; space around values is ignored, as in libvirt."""
    if not kind.words and not kind.schemas:
        _inside(parent, "text")
    if len(kind.words) + len(kind.schemas) > 1:
        parent = _inside(parent, "choice")
    for word in kind.words:
        _inside(parent, "value").text = word  # of the type `token`, which is trimmed
    for schema in kind.schemas:
        _data(parent, schema)


def _data(parent: etree._Element, schema: ValueSchema) -> None:
    data = _inside(parent, "data", type=schema.datatype)
    for name, value in (("minInclusive", schema.low), ("maxInclusive", schema.high)):
        if value is not None:
            _inside(data, "param", name=name).text = str(value)
    # A dash at the end of a character class needs a backslash in XML Schema, in Python it does not.
    pattern = re.sub(r"(?<!\\)-\]", r"\\-]", schema.pattern)
    _inside(data, "param", name="pattern").text = f"{_SPACE}({pattern}){_SPACE}" if pattern else (
        _SPACE)


def _note(parent: etree._Element, verdict: RowVerdict, text_: str) -> None:
    """The documentation that an editor shows."""
    note = _NOTES.get(verdict, "Accepted: {}." if text_ else "").format(text_)
    if note:
        etree.SubElement(parent, f"{{{NOTES}}}documentation").text = re.sub(r"\.\.$", ".", note)


def _inside(parent: etree._Element, tag: str, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{RELAXNG}}}{tag}", attributes)


def _local(rule: Element) -> str:
    return rule.name.rpartition("}")[2]


if __name__ == "__main__":
    sys.stdout.write(text())
