"""A disagreement of reader and schema is reported, except where a schema cannot decide."""

from __future__ import annotations

from dataclasses import replace

from lxml import etree

from reconciler.domain.rules import Attribute, Element, Type, element
from reconciler.domain.schema import compiled, grammar
from reconciler.domain.schema_crosscheck import disagreement, faults, inexpressible_error
from reconciler.domain.table import DOMAIN
from reconciler.domain.value_schema import ValueSchema
from reconciler.domain.xml import Node, Report
from tests.domain.making import policy, text

SCHEMA = compiled()
NARROW = etree.RelaxNG(grammar(replace(DOMAIN, children=tuple(
    child for child in DOMAIN.children if child.name != "vcpu"), by_name={})))
WIDE = etree.RelaxNG(grammar(replace(DOMAIN, children=(*DOMAIN.children, element("vcpuu")),
                                     by_name={})))
VCPU, TYPO = text("<vcpu>1</vcpu>"), text("<vcpuu/>")


def test_a_schema_that_refuses_or_accepts_too_much_is_found():
    assert "the schema does not" in disagreement(VCPU, "a.xml", NARROW)
    assert "the reader does not: a.xml:1: error" in disagreement(TYPO, "a.xml", WIDE)
    assert faults({"a.xml": TYPO, "b.xml": text()}, WIDE) == (
        f"a.xml: {disagreement(TYPO, 'a.xml', WIDE)}",)


def test_our_schema_agrees_with_the_reader():
    files = {"valid": VCPU, "typo": TYPO, "no XML": b"<domain", "none": b"",
             "another": b"<network/>", "our typo": text(policy("stat='running'")),
             "ours": text(policy("state='paused'", "<r:stop timeout='1m'/>"))}
    assert faults(files, SCHEMA) == ()


def test_what_takes_several_values_is_the_readers_alone():
    clash = text("<vcpu>4</vcpu><cpu><topology sockets='3' cores='1' threads='1'/></cpu>")
    assert faults({"topology": clash, "nameless": b"<domain/>"}, SCHEMA) == ()


def test_what_no_form_can_tell_is_the_readers_alone():
    def short(words: str) -> str:
        if len(words.encode()) > 3:
            raise ValueError(words)
        return words

    for kind in (Type("up to 3 bytes", short, schemas=(ValueSchema(".*"),), exact=False),
                 Type("up to 3 bytes", short)):
        row = Element("domain", (Attribute("a", kind),), (Element("name", text=kind),))
        schema = etree.RelaxNG(grammar(row))
        for inner, beyond in (("<domain a='äöü'/>", True), ("<domain a='abc'/>", False),
                              ("<domain><name> äöü </name></domain>", True),
                              ("<domain><name> abc </name></domain>", False)):
            root = etree.fromstring(inner)
            assert schema.validate(root)
            assert inexpressible_error(Node(root, row, Report("a.xml"), "")) is beyond


def test_a_namespace_of_a_version_to_come_is_the_readers_alone():
    assert disagreement(text("<metadata><reconcile xmlns='urn:stratovirt-reconciler:2'/></metadata>"
                             ), "a.xml", SCHEMA) is None


def test_a_file_of_many_errors_is_compared_too():
    assert disagreement(text("<vcpuu/>" * 200), "a.xml", SCHEMA) is None
