"""From a file to its definitions: defaults, variables, count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from reconciler.domain import expand as module
from reconciler.domain.expand import Given, expand
from reconciler.domain.merge import read_defaults
from reconciler.domain.model import InvalidDomain
from reconciler.domain.reader import read_domain
from reconciler.domain.substitute import Variables, literal
from reconciler.domain.xml import LONGEST
from tests.domain.making import DISK, HOST, OS, disk, policy, text
from tests.examples import examples

CARD = "<interface type='ethernet'>\n<source bridge='${BRIDGE}'/></interface>"
NAMES = Variables((("BRIDGE", "br0"), ("SIZE", "300")))
EACH = disk("vda", "{index}.img")


def read(data: bytes, variables: Variables = NAMES, defaults: str | None = None):
    found = None if defaults is None else read_defaults(
        f"<domain>{defaults}</domain>".encode(), "defaults.xml", variables, lenient=False)
    return expand(data, "a.xml", HOST, Given(variables, found)).definitions


def errors(data: bytes, variables: Variables = NAMES, defaults: str | None = None) -> list[str]:
    with pytest.raises(InvalidDomain) as caught:
        read(data, variables, defaults)
    return [str(problem) for problem in caught.value.problems]


# A file that uses nothing

@pytest.mark.parametrize("data", [text(), text("<title>a $ b {index} {{index}} $5</title>"),
                                  text(head="<?xml version='1.0'?><!-- ${A} -->\n"),
                                  text("<metadata><x xmlns='y'>${A}</x></metadata>")])
def test_rule_4_a_file_that_uses_nothing_is_its_own_text(data):
    found, = read(data)
    assert (found.data, found.note) == (data, "")
    assert found.domain == read_domain(data, "a.xml", HOST)
    assert found.domain.lines == read_domain(data, "a.xml", HOST).lines


def test_rule_4_defaults_that_say_nothing_new_leave_a_file_its_own_text():
    data = text(policy("state='paused'"))
    found, = read(data, defaults="<memory unit='GiB'>9</memory><devices><disk type='file'>"
                                 "<source file='/z'/><target dev='vdz' bus='virtio'/></disk>"
                                 "</devices>")
    assert (found.data, found.note) == (data, "")


# Variables

def test_a_variable_stands_in_attributes_and_in_texts():
    found, = read(text(name="a", memory="<memory unit='MiB'>${SIZE}</memory>",
                       devices=DISK + CARD))
    assert found.domain.memory == 300 << 20
    assert [d.bridge for d in found.domain.devices if d.KIND == "interface"] == ["br0"]
    assert found.note == "SIZE=300, BRIDGE=br0"
    assert read_domain(found.data, "a.xml", HOST) == found.domain


def test_a_reference_by_number_is_the_same_letters():
    found, = read(text(memory="<memory unit='MiB'>&#36;{SIZE}</memory>"))
    assert found.domain.memory == 300 << 20


def test_what_is_put_in_is_never_markup_and_never_looked_at_again():
    values = Variables((("A", "</title><title>x"), ("B", "${A}"), ("C", "<!ENTITY & ]]>")))
    found, = read(text("<title>${A}</title><description>${B} ${C}</description>"), values)
    assert found.domain.title == "</title><title>x"
    assert found.domain.description == "${A} <!ENTITY & ]]>"
    assert read_domain(found.data, "a.xml", HOST) == found.domain


def test_rule_11_what_is_put_in_is_checked_as_if_it_were_written():
    values = Variables((("P", "/x,readonly=off"),))
    assert "found '/x,readonly=off'; accepted: no ','" in errors(
        text(devices=disk(file="${P}")), values)[0]


@pytest.mark.parametrize(("written", "meant"), [
    ("$${SIZE}", "${SIZE}"), ("$${", "${"), ("$$${SIZE}", "$${SIZE}"), ("$$ $x {SIZE}", None),
    ("$${index}", "${index}"), ("$${SIZE", "${SIZE")])
def test_two_dollars_are_one_that_means_nothing(written, meant):
    found, = read(text(f"<title>{written}</title>"))
    assert found.domain.title == (meant or written)
    assert found.note == ("$${" if meant else "")


@pytest.mark.parametrize(("written", "said"), [
    ("${BRIGE}", "no variable 'BRIGE'; did you mean 'BRIDGE'?; accepted: those of source.variabl"),
    ("${BRIDG}", ": those of source.variables: BRIDGE, SIZE ($${NAME} for a literal ${NAME}"),
    ("${index}", "no variable 'index'; did you mean '{index}'?"),
    ("${BRIDGE", "found '${BRIDGE', which is not ${NAME}; accepted: ${NAME}, or $${"),
    ("${}", "found '${}'"), ("${1}", "found '${1}'"), ("a ${A B}", "found '${A B}'")])
def test_an_invalid_variable_is_an_error_with_its_line(written, said):
    found, = errors(text("\n", f"<title>{written}</title>"))
    assert found.startswith("a.xml:2: error: domain/title: ")
    assert said in found
    loose, = read(text(f"<title>{written}</title>"), Variables(NAMES.values, strict=False))
    assert loose.domain.title == written


def test_every_wrong_variable_is_reported_with_its_position():
    found = errors(text("<title>${A}</title>", devices=DISK + disk("vdb", "${B}")))
    assert [line.split(": ")[2] for line in found] == [
        "domain/title", "domain/devices/disk[2]/source/@file"]


def test_a_value_that_xml_cannot_hold_is_an_error():
    for value in ("\x01", "\udcff"):
        assert "control characters" in errors(text("<title>${A}</title>"),
                                              Variables((("A", value),)))[0]


# Count

def several(count: object = 3, name: str = "a-{index}", devices: str = EACH, inner: str = ""):
    return text(policy(f"count='{count}'", inner), name=name, devices=devices)


def test_a_count_makes_as_many_each_with_its_number():
    found = read(several())
    assert [d.domain.name for d in found] == ["a-0", "a-1", "a-2"]
    assert [d.domain.devices[0].path for d in found] == [f"/images/{n}.img" for n in range(3)]
    assert len({d.domain.uuid for d in found}) == 3
    assert [d.note for d in found] == ["index 0", "index 1", "index 2"]
    for one in found:
        assert b"count" not in one.data
        assert b"{" not in one.data
        assert read_domain(one.data, "a.xml", HOST) == one.domain


def test_rule_4_another_count_leaves_the_texts_of_the_others():
    assert [d.data for d in read(several(3))][:2] == [d.data for d in read(several(2))]
    assert [d.data for d in read(several(1, name="a-{index}"))] == [read(several(2))[0].data]


def test_one_of_one_needs_no_index_in_its_name():
    found, = read(several(1, name="a"))
    assert (found.domain.name, found.note) == ("a", "index 0")


def test_a_count_may_be_the_hosts():
    assert len(read(several("${N}"), Variables((("N", "4"),)))) == 4


@pytest.mark.parametrize("count", [0, 1001, -1, "x", "", 10**30])
def test_a_wrong_count_is_the_readers_error(count):
    found = errors(several(count, name="a"))
    assert "domain/metadata/reconcile/@count" in found[0] or "{index}" in found[0]
    assert "a number from 1 to 1000" in found[0]


@pytest.mark.parametrize("name", ["a", "a-{{index}}", "a-index", "$${index}"])
def test_a_name_that_would_be_the_same_for_all_is_an_error(name):
    found, = errors(several(name=name))
    assert "domain/name" in found
    assert "with count='3'; accepted: a name with {index}" in found


def test_without_a_count_nothing_is_an_index():
    found, = read(text("<title>{index} {{index}}</title>"))
    assert found.domain.title == "{index} {{index}}"
    one = read(text(policy("count='2'"), "<title>{index} {{index}} {INDEX}</title>",
                    name="a{index}", devices=EACH))[1]
    assert one.domain.title == "1 {index} {INDEX}"


def test_an_error_of_one_says_which():
    found, = errors(several(12, devices=EACH + "<interface type='ethernet'>\n"
                            "<mac address='52:54:00:00:00:0{index}'/></interface>"))
    assert found.startswith("a.xml:2: error:")
    assert "52:54:00:00:00:010" in found
    assert found.endswith("(index 10)")


def test_more_than_can_be_looked_at_in_time_is_refused_at_once():
    data = several(1000, devices="".join(disk(f"vd{c}", f"{{index}}{c}") for c in "abcdefghijkl"))
    found, = errors(data)
    assert "count='1000' with 5" in found
    assert f"up to {module.MOST_TOGETHER} elements in total" in found


# Defaults

MACHINE = f"\n{OS}\n<memory unit='MiB'>64</memory>"


def test_rule_4_lines_are_those_of_the_file_and_of_the_defaults():
    data = b"<domain>\n\n<name>a</name>\n<devices>\n" + DISK.encode() + b"</devices></domain>"
    found, = errors(data, defaults=MACHINE)
    assert found.startswith("defaults.xml:3: error: domain/memory: ")
    one, = read(data, defaults=f"\n{OS}<memory unit='MiB'>256</memory>\n<devices>{CARD}</devices>")
    assert {d.KIND: str(d.line) for d in one.domain.devices} == {
        "disk": "5", "interface": "3 of defaults.xml", "memballoon": "0"}
    assert dict(one.domain.lines)["name"] == 3
    assert one.note == "defaults.xml, BRIDGE=br0"
    assert read_domain(one.data, "a.xml", HOST) == one.domain


def test_a_warning_of_the_defaults_names_them():
    one, = read(text(), defaults="<devices>\n<sound model='ich9'/></devices>")
    assert [(w.file, w.line) for w in one.domain.warnings] == [("defaults.xml", 2)]


def test_all_three_together():
    found = read(b"<domain><name>a-{index}</name><devices>" + EACH.encode() + b"</devices>"
                 + policy("count='2'").encode() + b"</domain>",
                 defaults=f"{OS}<memory unit='MiB'>${{SIZE}}</memory><devices>"
                          "<interface type='ethernet'><target dev='tap-{index}'/></interface>"
                          "</devices>")
    assert [d.domain.memory >> 20 for d in found] == [300, 300]
    assert [d.domain.devices[0].tap for d in found] == ["tap-0", "tap-1"]
    assert [d.note for d in found] == [f"defaults.xml, SIZE=300, index {n}" for n in range(2)]


# Limits, and what anybody may write

def test_a_file_that_grows_too_long_is_refused():
    long = Variables((("A", "x" * 1000),))
    found = errors(text("<title>" + "${A}" * 2000 + "</title>"), long)
    assert "1048576 characters after substitution" in found[0]
    half = "y" * (LONGEST // 2)
    found = errors(text(f"<title>{half}</title>"), defaults=f"<description>{half}</description>")
    assert f"accepted: up to {LONGEST}" in found[0]
    many = "<boot dev='hd'/>" * 3000
    found = errors(text(os=f"<os><type>hvm</type>{many}</os>"),
                   defaults="<devices>" + "<input type='mouse'/>" * 3000 + "</devices>")
    assert "more than 5000 elements" in found[0]


def test_an_entity_stays_refused():
    assert "entities are not allowed" in errors(text("<title>${SIZE}&x;</title>"))[-1] or (
        "not well-formed" in errors(text("<title>${SIZE}&x;</title>"))[0])


VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)


def shape(data: bytes):
    root = etree.fromstring(data)
    return [(raw.tag, sorted(raw.attrib), len(raw)) for raw in root.iter()]


@examples(60)
@given(VALUES, VALUES, st.integers(1, 3))
def test_rule_11_variables_never_change_the_shape_and_a_text_read_again_is_the_same(one, two, n):
    data = text(policy(f"count='{n}'", "<r:label name='x' value='${B}'/>"),
                "<title>${A}</title>", name="a{index}", devices=EACH)
    try:
        found = read(data, Variables((("A", one), ("B", two))))
    except InvalidDomain:
        return
    plain = text(policy("", "<r:label name='x' value=''/>"), "<title>t</title>", devices=EACH)
    for definition in found:
        assert shape(definition.data) == shape(plain)
        assert read_domain(definition.data, "a.xml", HOST) == definition.domain
        assert definition.domain.title == (one.strip(" \t\r\n") or None)


@examples(60)
@given(st.text("${}INDEXindex{ ", max_size=30))
def test_a_literal_text_means_itself(words):
    plain = text(f"<title>{words}</title>")
    found, = read(literal(plain.decode()).encode())
    assert found.domain == read_domain(plain, "a.xml", HOST)
