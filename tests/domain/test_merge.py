"""The defaults of a directory: what a file takes from them, and what stays its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from reconciler.domain.merge import DefaultsMerge, read_defaults
from reconciler.domain.metadata import URN
from reconciler.domain.model import InvalidDomain
from reconciler.domain.substitute import Variables
from tests.examples import examples

GOLDEN = [file.read_bytes() for file in sorted(
    (Path(__file__).parents[1] / "golden").glob("*.xml")) if file.name != "typos.xml"]
US = f"<metadata><r:reconcile xmlns:r='{URN}' {{}}>{{}}</r:reconcile></metadata>"
NONE = Variables()


def defaults(inside: str, variables: Variables = NONE):
    return read_defaults(f"<domain>{inside}</domain>".encode(), "defaults.xml", variables,
                         lenient=False)


def merged(own: str, theirs: str) -> str:
    root = etree.fromstring(f"<domain>{own}</domain>")
    DefaultsMerge(defaults(theirs)).merge(root)
    return etree.tostring(root, encoding="unicode").removeprefix("<domain>").removesuffix(
        "</domain>").replace('"', "'")


@pytest.mark.parametrize(("own", "theirs", "found"), [
    ("", "<vcpu>2</vcpu>", "<vcpu>2</vcpu>"),
    ("<vcpu>1</vcpu>", "<vcpu>2</vcpu>", "<vcpu>1</vcpu>"),
    # A text and its attributes are one value.
    ("<vcpu>1</vcpu>", "<vcpu current='1'>2</vcpu>", "<vcpu>1</vcpu>"),
    ("<memory>9</memory>", "<memory unit='GiB'>2</memory>", "<memory>9</memory>"),
    ("<memory unit='GiB'/>", "<memory unit='MiB'>256</memory>", "<memory unit='GiB'/>"),
    ("<vcpu current='1'/>", "<vcpu current='2'>2</vcpu>", "<vcpu current='1'>2</vcpu>"),
    # What may occur once is merged.
    ("<os><kernel>/k</kernel></os>", "<os><type>hvm</type><kernel>/z</kernel></os>",
     "<os><kernel>/k</kernel><type>hvm</type></os>"),
    ("<os><type machine='microvm'/></os>", "<os><type machine='q35' arch='x86_64'>hvm</type></os>",
     "<os><type machine='microvm' arch='x86_64'>hvm</type></os>"),
    # What may be repeated is the file's, where it has any.
    ("<os><boot dev='hd'/></os>", "<os><boot dev='cdrom'/></os>", "<os><boot dev='hd'/></os>"),
    ("<os/>", "<os><boot dev='cdrom'/><boot dev='hd'/></os>",
     "<os><boot dev='cdrom'/><boot dev='hd'/></os>"),
    ("<devices><rng model='virtio'/></devices>", "<devices><rng/><rng/><input/></devices>",
     "<devices><rng model='virtio'/><input/></devices>"),
    # Ours.
    (US.format("", ""), US.format("state='paused'", "<r:stop mode='force'/>"),
     US.format("state='paused'", "<r:stop mode='force'/>")),
    (US.format("state='running'", "<r:stop timeout='1s'/><r:label name='a'/>"),
     US.format("state='paused'", "<r:stop mode='force' timeout='2s'/><r:label name='b'/>"),
     US.format("state='running'", "<r:stop timeout='1s' mode='force'/><r:label name='a'/>")),
    (US.format("", "<r:health><r:agent/></r:health>"),
     US.format("", "<r:health interval='1s'><r:tcp address='a:1'/></r:health>"),
     US.format("", "<r:health><r:agent/></r:health>")),
    ("<metadata><x xmlns='y'>1</x></metadata>", US.format("hold='yes'", ""),
     "<metadata><x xmlns='y'>1</x>" + US.format("hold='yes'", "").replace(
         "></r:reconcile>", "/>").removeprefix("<metadata>")),
], ids=str)
def test_what_becomes_of_both(own, theirs, found):
    def canonical(inside: str) -> str:
        return etree.tostring(etree.fromstring(f"<domain>{inside}</domain>"), method="c14n2",
                              strip_text=True).decode()
    assert canonical(merged(own, theirs)) == canonical(found)


def test_what_came_from_the_defaults_is_known_with_all_that_is_in_it():
    root = etree.fromstring("<domain><os/></domain>")
    merging = DefaultsMerge(defaults("<os>\n<type>hvm</type></os><devices>\n\n<rng/></devices>"))
    merging.merge(root)
    assert merging.taken
    assert {(raw.tag, raw.sourceline) for raw in merging.origins} == {
        ("type", 2), ("devices", 2), ("rng", 4)}
    assert set(merging.origins.values()) == {"defaults.xml"}


def valid(data: bytes) -> bool:
    try:
        read_defaults(data, "d", Variables(), lenient=True)
    except InvalidDomain:
        return False
    return True


def nameless(data: bytes) -> bytes:
    root = etree.fromstring(data)
    for raw in [*root.iterfind("name"), *root.iterfind("uuid")]:
        root.remove(raw)
    return etree.tostring(root)


THEIRS = [data for data in map(nameless, GOLDEN) if valid(data)]


@examples(50)
@given(st.sampled_from(GOLDEN), st.sampled_from(THEIRS))
def test_merging_twice_is_the_same_as_once(own, theirs):
    found = read_defaults(theirs, "defaults.xml", Variables(), lenient=True)
    root = etree.fromstring(own)
    DefaultsMerge(found).merge(root)
    once = etree.tostring(root)
    again = DefaultsMerge(found)
    again.merge(root)
    assert etree.tostring(root) == once
    assert not again.taken


@examples(50)
@given(st.sampled_from(GOLDEN))
def test_a_file_needs_nothing_of_itself(data):
    assert len(THEIRS) > 8
    root = etree.fromstring(data)
    if not valid(nameless(data)):
        return
    merging = DefaultsMerge(read_defaults(nameless(data), "defaults.xml", Variables(),
                                          lenient=True))
    merging.merge(root)
    assert not merging.taken


@pytest.mark.parametrize(("inside", "said"), [
    ("\n<name>a</name>", "defaults.xml:2: error: domain/name: <name> in defaults; accepted: only"),
    ("<uuid>x</uuid>", "domain/uuid: <uuid> in defaults"),
    ("\n\n<vcpuu/>", "defaults.xml:3: error: domain/vcpuu[1]: unknown element <vcpuu>; did"),
    ("<vcpu>0</vcpu>", "a number from 1 to 254"),
    (US.format("stat='running'", ""), "unknown attribute 'stat'; did you mean 'state'"),
    (US.format("count='0'", ""), "reconcile/@count"),
    ("<vcpu>${N}</vcpu>", "no variable 'N'; accepted: those of source.variables: M ("),
    ("<vcpu>", "not well-formed"), ("<devices><disk/></devices>", None),
    ("<vcpu>${M}</vcpu>", None),
    ("<devices><interface><mac address='52:54:00:00:00:0{index}'/></interface></devices>", None)])
def test_they_are_checked_by_themselves(inside, said):
    variables = Variables((("M", "2"),))
    if said is None:
        defaults(inside, variables)
        return
    with pytest.raises(InvalidDomain) as caught:
        defaults(inside, variables)
    assert said in str(caught.value)


def test_every_error_of_the_defaults_is_reported():
    with pytest.raises(InvalidDomain) as caught:
        defaults("<name>a</name>\n<vcpu>0</vcpu>\n<memory>x</memory>")
    assert [p.line for p in caught.value.problems] == [1, 2, 3]
    with pytest.raises(InvalidDomain, match="one <domain>"):
        read_defaults(b"<defaults/>", "defaults.xml", Variables(), lenient=False)
