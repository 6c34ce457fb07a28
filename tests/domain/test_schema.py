"""The schema is what the reader does, as far as a schema can say it."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from lxml import etree

from reconciler.domain import compact, value_schema
from reconciler.domain.metadata import RULE
from reconciler.domain.model import InvalidDomain
from reconciler.domain.reader import read_domain
from reconciler.domain.rules import Element, RowVerdict, Type, choice, element, hexadecimal
from reconciler.domain.schema import NOTES, RELAXNG, compiled, grammar, text
from reconciler.domain.schema_crosscheck import disagreement
from reconciler.domain.table import DOMAIN
from reconciler.domain.xml import Node, Report, walk
from tests.domain.making import ARM, HOST, URN

ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "tests/golden").glob("*.xml")), *sorted((ROOT / "domains").glob("*.xml"))]
SCHEMA = compiled()
OURS = f"<r:reconcile xmlns:r='{URN}'/>"


def accepts(inner: str) -> bool:
    return SCHEMA.validate(etree.fromstring(f"<domain>{inner}</domain>"))


def rows(rule: Element):
    yield rule
    for child in rule.children:
        yield from rows(child)


def types() -> list[Type]:
    found = [rule for root in (DOMAIN, RULE) for rule in rows(root)]
    return [*dict.fromkeys([rule.text for rule in found if rule.text is not None] + [
        a.type for rule in found for a in rule.attributes if a.verdict is RowVerdict.ACCEPT])]


def test_the_file_is_made_from_the_tables():
    assert (ROOT / "contrib/domain.rng").read_text() == text(), (
        "python -m reconciler.domain.schema > contrib/domain.rng")


def test_the_compact_file_is_made_from_the_same():
    assert (ROOT / "contrib/domain.rnc").read_text() == compact.text(), (
        "python -m reconciler.domain.compact > contrib/domain.rnc")


def test_the_compact_file_has_every_definition_and_literal():
    """Whether it means the same only jing and trang can say; see docs/how-to."""
    found = compact.text()
    root = etree.fromstring(text().encode())
    for node in root.iter(f"{{{RELAXNG}}}define"):
        assert f"\n{node.get('name')} =\n" in found
    for tag, head in (("element", "element {} {{"), ("attribute", "attribute {} {{"),
                      ("value", '"{}"')):
        for node in root.iter(f"{{{RELAXNG}}}{tag}"):
            name = node.text if tag == "value" else node.get("name")
            if name is not None:  # else it is a class of names
                ours = f"r:{name}" if node.get("ns") else name
                assert head.format(ours) in found, ours


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_what_the_reader_accepts_the_schema_accepts(file):
    assert disagreement(file.read_bytes(), file.name, SCHEMA) is None
    with contextlib.suppress(InvalidDomain):
        read_domain(file.read_bytes(), file.name, ARM if "aarch64" in file.stem else HOST)
        assert SCHEMA.validate(etree.fromstring(file.read_bytes())), SCHEMA.error_log


@pytest.mark.parametrize("inner", [
    "", "<name>a</name><vcpu>1</vcpu>", "<vcpu>1</vcpu><name>a</name>",  # any order
    "<name>\n  a\n</name>", "<vcpu> 2 </vcpu>", "<memory unit=' MiB '>\t1\n</memory>",
    "<name>a<!-- of many -->b</name>", "<os>\n <!-- none -->\n</os>",
    "<pm a='1'>b<c><d/></c></pm><pm/>",  # changes nothing: whatever is inside
    "<perf><event name='cmt'/></perf>", "<devices><disk/><serial/><disk/></devices>",
    "<os><nvram/></os>", "<os><nvram>\n</nvram></os>", "<title/>",
    "<metadata a='1'>text<b xmlns='urn:b'><c/></b></metadata>",
    f"<metadata>{OURS}</metadata>", f"<metadata/><metadata>{OURS}<b xmlns='u'/></metadata>",
    "<devices><disk><address bus='0x1F' slot='31' function='7'/></disk></devices>"])
def test_accepted(inner):
    assert accepts(inner), SCHEMA.error_log


@pytest.mark.parametrize("inner", [
    "<vcpuu>1</vcpuu>", "<name>a</name><name>a</name>", "<name/>", "<name>-a</name>", "text",
    "<vcpu>0</vcpu>", "<vcpu>255</vcpu>", "<vcpu>+1</vcpu>", "<vcpu>1 2</vcpu>", "<vcpu>1</vcpu>a",
    "<vcpu cpuset='1'>1</vcpu>", "<vcpu a='1'>1</vcpu>", "<name xml:lang='en'>a</name>",
    "<numatune/>", "<devices><filesystem/></devices>",
    "<memory unit='Kib b'>1</memory>", "<os><kernel>/a,b</kernel></os>", "<os>a</os>",
    "<os><kernel>-a</kernel></os>", "<name xmlns='urn:other'>a</name>", "<b xmlns='urn:b'/>",
    "<metadata><b/></metadata>", f"<metadata>{OURS}{OURS}</metadata>",
    f"<metadata>{OURS}</metadata><metadata>{OURS}</metadata>", OURS,
    f"<metadata><reconciler xmlns='{URN}'/></metadata>",
    f"<metadata><r:reconcile xmlns:r='{URN}' sate='paused'/></metadata>",
    f"<metadata><r:reconcile xmlns:r='{URN}'><health/></r:reconcile></metadata>",
    "<devices><disk><address bus='256'/></disk></devices>",
    "<devices><disk><address bus='1000000'/></disk></devices>",  # libxml2 miscounts 0{0,6}
    "<devices><disk><address slot='0x20'/></disk></devices>"])
def test_refused(inner):
    assert not accepts(inner)


def test_editors_show_why_something_is_ignored():
    root = etree.fromstring(text().encode())
    notes = {element.get("name"): element.findtext(f"{{{NOTES}}}documentation")
             for element in root.iter(f"{{{RELAXNG}}}element", f"{{{RELAXNG}}}attribute")}
    assert notes["watchdog"] == "Ignored: StratoVirt has no watchdog device."
    assert notes["error_policy"] == "Ignored: StratoVirt has a fixed policy."
    assert notes["vcpu"] == "Accepted: a number from 1 to 254."
    assert notes["pae"] == "Allowed; it has no effect."


def test_every_type_of_the_tables_has_a_schema_form():
    assert [kind.name for kind in types() if not kind.words and not kind.schemas] == []
    assert len(types()) > 20


def test_text_or_children_where_a_row_has_both():
    row = element("domain", element("source", many=True), text=choice("a"), empty=True)
    both = etree.RelaxNG(grammar(row))
    for inner, fits in (("a", True), ("", True), (" ", True), ("<source/>\n<source/>", True),
                        ("b", False), ("a<source/>", False), ("<source/>a", False)):
        root, report = etree.fromstring(f"<domain>{inner}</domain>"), Report("a.xml")
        walk(Node(root, row, report, "domain"))
        assert both.validate(root) is fits, inner
        assert bool(report.errors) is not fits, inner


def test_patterns_are_of_the_part_that_python_and_xml_schema_share():
    for kind in types():
        for schema in kind.schemas:
            assert not re.search(r"\(\?|[*+?}][?+]|\\[A-Zsdwb]|[\^$](?![^\[]*\])", re.sub(
                r"\[\^", "[", schema.pattern)), schema.pattern


@pytest.mark.parametrize("high", [0, 7, 0x1F, 0x2A, 0xFF, 0x345])
def test_the_pattern_of_addresses_is_the_readers(high):
    kind = hexadecimal(high)
    for value in (*range(high + 20), 0x99999999):
        for word in (f"{head}{value:{shape}}" for head in ("", "0x", "0X")
                     for shape in ("x", "X", "d", "03x", "08X", "09d")):
            fits = any(re.fullmatch(schema.pattern, word) for schema in kind.schemas)
            try:
                kind.parse(word)
            except ValueError:
                assert not fits, word
            else:
                assert fits, word


def test_no_text_takes_the_validator_long():
    """A pattern that could take a space twice took minutes for this; the size is a guard."""
    spaces = " " * 3000
    for tail in ("a\x7f", "", "a,", "-"):
        for path in ("title", "name", "os/kernel", "os/cmdline"):
            first, _, second = path.partition("/")
            inner = f"<{second}>{spaces}{tail}{spaces}</{second}>" if second else (
                f"{spaces}{tail}{spaces}")
            accepts(f"<{first}>{inner}</{first}>")
    assert value_schema.FREE.pattern.count("*") == 1
