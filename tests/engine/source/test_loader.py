"""From a listing to definitions."""

from __future__ import annotations

import pytest

from reconciler.domain.admission import Admission
from reconciler.domain.expand import expand
from reconciler.domain.reader import read_domain
from reconciler.domain.substitute import Variables
from reconciler.engine.source.loader import Loader
from reconciler.sources.listing import Listing
from tests.values import HOST, xml

UUID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"


@pytest.fixture
def intake():
    return Loader(HOST, Admission(), "here", expand)


def with_uuid(data: bytes, uuid: str = UUID) -> bytes:
    return data.replace(b"</name>", f"</name><uuid>{uuid}</uuid>".encode())


def take(intake, in_force=(), **files):
    return intake.definitions(Listing({f"{name}.xml": data for name, data in files.items()}),
                              dict(in_force))


def test_every_good_file_is_accepted(intake):
    found = take(intake, a=xml("a"), b=xml("b"))
    assert {file: domain.name for file, domain in found.accepted.items()} == {
        "a.xml": "a", "b.xml": "b"}
    assert (found.rejected, found.elsewhere) == ((), ())


def test_an_unchanged_file_is_never_parsed_again(intake):
    files = {f"d{n}": xml(f"d{n}") for n in range(20)} | {"bad": b"<domain>"}
    take(intake, **files)
    assert intake.parses == 21
    for _ in range(3):
        take(intake, **files)
    assert intake.parses == 21  # the broken one, too
    files["d7"] = xml("d7", "paused")
    found = take(intake, **files)
    assert intake.parses == 22
    assert found.accepted["d7.xml"].policy.state == "paused"


def test_a_file_that_went_is_forgotten(intake):
    take(intake, a=xml("a"))
    take(intake)
    take(intake, a=xml("a"))
    assert intake.parses == 2
    assert set(intake._cache) == {"a.xml"}


def test_every_error_of_a_file_is_kept(intake):
    rejected, = take(intake, a=xml("a").replace(b"q35", b"pc").replace(b"128", b"1")).rejected
    assert rejected.file == "a.xml"
    assert len(rejected.problems) > 1
    assert rejected.message.count("\n") == len(rejected.problems) - 1
    assert rejected.reason == "InvalidDefinition"


def test_rule_3_a_broken_file_shows_whose_it_may_be(intake):
    broken = with_uuid(xml("a"), UUID.upper()) + b"<"
    rejected, = take(intake, a=broken).rejected
    assert (rejected.name, rejected.uuid) == ("a", UUID)
    rejected, = take(intake, a=b"\xff\xfe").rejected
    assert (rejected.name, rejected.uuid) == (None, None)


def test_what_this_host_does_not_allow_is_rejected(intake):
    intake.admission = Admission(max_memory=64 << 20)
    found = take(intake, a=xml("a"))
    assert found.accepted == {}
    assert (found.rejected[0].reason, found.rejected[0].name) == ("NotAllowed", "a")


def test_a_file_for_another_host_is_nobodys_here(intake):
    mine, other = (xml(name, inner=f"<r:placement host='{host}'/>")
                   for name, host in (("a", "here"), ("b", "there")))
    found = take(intake, a=mine, b=other)
    assert set(found.accepted) == {"a.xml"}
    assert found.elsewhere == ("b.xml",)


def test_of_two_with_one_disk_the_one_in_force_is_kept(intake):
    a, b = xml("a"), xml("b").replace(b"b.img", b"a.img")
    uuid = take(intake, b=b).accepted["b.xml"].uuid
    found = take(intake, {uuid: "b.xml"}, a=a, b=b)
    assert set(found.accepted) == {"b.xml"}
    assert (found.rejected[0].file, found.rejected[0].reason) == ("a.xml", "Conflict")
    # With none in force the first file has it.
    assert set(take(intake, a=a, b=b).accepted) == {"a.xml"}


def test_pain_3_of_two_that_are_the_same_domain_neither_is_taken(intake):
    found = take(intake, a=xml("a"), b=xml("a"))
    assert found.accepted == {}
    assert {r.file for r in found.rejected} == {"a.xml", "b.xml"}


def test_a_conflict_ends_with_its_cause_and_nothing_is_parsed_for_it(intake):
    a, b = xml("a"), xml("b").replace(b"b.img", b"a.img")
    assert len(take(intake, a=a, b=b).rejected) == 1
    parses = intake.parses
    assert take(intake, b=b).rejected == ()
    assert intake.parses == parses


VSOCK = "<vsock model='virtio'><cid auto='{}' {}/></vsock>"


def cids(found):
    return {d.name: card.cid for d in found.accepted.values() for card in d.devices
            if card.KIND == "vsock"}


def test_rule_4_each_gets_a_number_of_its_own_and_keeps_it(intake):
    auto = VSOCK.format("yes", "")
    found = take(intake, a=xml("a", devices=auto), b=xml("b", devices=auto))
    assert cids(found) == {"a": 3, "b": 4}
    assert found.numbers == {"a.xml": {"vsock CID": 3}, "b.xml": {"vsock CID": 4}}
    kept = {found.accepted["b.xml"].uuid: found.numbers["b.xml"]}
    again = intake.definitions(Listing({"b.xml": xml("b", devices=auto)}), {}, kept)
    assert cids(again) == {"b": 4}


def test_a_number_that_is_written_is_nobody_else_s(intake):
    auto, given = VSOCK.format("yes", ""), VSOCK.format("no", "address='3'")
    found = take(intake, a=xml("a", devices=auto), b=xml("b", devices=given))
    assert cids(found) == {"a": 4, "b": 3}


def test_of_a_kept_number_and_a_newcomer_s_written_one_the_kept_one_stays(intake):
    auto, given = VSOCK.format("yes", ""), VSOCK.format("no", "address='3'")
    first = take(intake, a=xml("a", devices=auto))
    uuid = first.accepted["a.xml"].uuid
    files = {"a.xml": xml("a", devices=auto), "b.xml": xml("b", devices=given)}
    found = intake.definitions(Listing(files), {uuid: "a.xml"}, {uuid: {"vsock CID": 3}})
    assert cids(found) == {"a": 3}
    rejected, = found.rejected
    assert "vsock CID '3' is also the vsock CID of a.xml" in rejected.message


def test_a_number_that_the_host_uses_is_not_chosen(intake):
    intake.free = lambda claim, number: number > 5
    assert cids(take(intake, a=xml("a", devices=VSOCK.format("yes", "")))) == {"a": 6}


def test_rule_4_a_number_that_was_written_stays_when_it_is_left_to_us(intake):
    before = take(intake, a=xml("a", devices=VSOCK.format("no", "address='9'")))
    domain = before.accepted["a.xml"]
    found = intake.definitions(Listing({"a.xml": xml("a", devices=VSOCK.format("yes", ""))}),
                               {}, {}, {domain.uuid: domain})
    assert cids(found) == {"a": 9}


def test_what_a_domain_has_whose_file_is_broken_now_is_not_free(intake):
    holder = take(intake, a=xml("a", devices=VSOCK.format("no", "address='3'"))).accepted["a.xml"]
    files = {"a.xml": b"<domain>", "b.xml": xml("b", devices=VSOCK.format("yes", ""))}
    found = intake.definitions(Listing(files), {}, {}, {holder.uuid: holder})
    assert cids(found) == {"b": 4}


# Several domains of a file, the defaults of its directory, the host's variables

DEFAULTS = b"<domain><title>t</title></domain>"


def counted(count: int, name: str = "a-{index}", **values) -> bytes:
    return xml(name, **values).replace(b"state='running'", f"state='running' count='{count}'"
                                       .encode())


def test_a_file_may_be_several_domains(intake):
    found = take(intake, a=counted(3), b=xml("b"))
    assert {key: domain.name for key, domain in found.accepted.items()} == {
        "a.xml#0": "a-0", "a.xml#1": "a-1", "a.xml#2": "a-2", "b.xml": "b"}
    assert {domain.file for domain in found.accepted.values()} == {"a.xml", "b.xml"}
    assert intake.parses == 2
    assert found.sources["b.xml"].data == xml("b")
    assert read_domain(found.sources["a.xml#1"].data, "a.xml", HOST) == found.accepted["a.xml#1"]
    take(intake, a=counted(3), b=xml("b"))
    assert intake.parses == 2


def test_where_one_of_a_file_clashes_the_others_are_taken(intake):
    other = xml("b").replace(b"b.img", b"a-1.img")
    uuid = take(intake, b=other).accepted["b.xml"].uuid
    found = take(intake, {uuid: "b.xml"}, a=counted(3), b=other)
    assert sorted(found.accepted) == ["a.xml#0", "a.xml#2", "b.xml"]
    rejected, = found.rejected
    assert (rejected.file, rejected.name, rejected.alone) == ("a.xml", "a-1", True)
    assert "of a.xml#1 is also the writable disk of b.xml:4" in rejected.message


def test_all_of_one_uuid_are_one(intake):
    found = take(intake, a=with_uuid(counted(2)))
    assert found.accepted == {}
    assert "so use {index} in it" in found.rejected[0].message
    found = take(intake, {UUID: "a.xml"}, a=with_uuid(counted(3)))
    assert list(found.accepted) == ["a.xml#0"]


def test_each_of_a_file_gets_a_number_of_its_own(intake):
    found = take(intake, a=counted(11, devices=VSOCK.format("yes", "")))
    assert cids(found) == {f"a-{n}": n + 3 for n in range(11)}


def test_rule_3_an_error_of_one_keeps_the_whole_file(intake):
    found = take(intake, a=counted(3, devices="<serial type='file'><source path='{index}x,'/>"
                                              "</serial>"))
    rejected, = found.rejected
    assert (found.accepted, rejected.alone, rejected.name) == ({}, False, None)


def test_a_key_is_never_another_files(intake):
    files = {"a.xml": counted(2), "a.xml#1": xml("b")}
    found = intake.definitions(Listing(files), {})
    assert list(found.accepted) == ["a.xml#1"]
    assert found.accepted["a.xml#1"].name == "b"
    assert found.rejected[0].file == "a.xml"
    assert "a.xml#1, which is a file of its own" in found.rejected[0].message


def test_the_defaults_are_no_domain_and_in_every_file(intake):
    found = take(intake, a=xml("a"), defaults=DEFAULTS)
    assert {file: domain.title for file, domain in found.accepted.items()} == {"a.xml": "t"}
    assert found.sources["a.xml"].note == "defaults.xml"
    assert intake.parses == 1


def test_new_defaults_are_read_into_every_file_and_old_ones_are_not_read_again(intake):
    files = {f"d{n}": xml(f"d{n}") for n in range(3)}
    take(intake, **files, defaults=DEFAULTS)
    take(intake, **files, defaults=bytes(bytearray(DEFAULTS)))
    assert intake.parses == 3
    found = take(intake, **files, defaults=DEFAULTS.replace(b">t<", b">u<"))
    assert (intake.parses, found.accepted["d0.xml"].title) == (6, "u")
    found = take(intake, **files)
    assert (intake.parses, found.accepted["d0.xml"].title) == (9, None)


def test_another_variable_is_read_into_the_files_that_name_it(intake):
    intake.variables = Variables((("A", "1"), ("B", "1")))
    files = {"a": xml("a", inner="<r:label name='x' value='${A}'/>"), "b": xml("b")}
    files["c"] = files["a"].replace(b">a<", b">c<").replace(b"a.img", b"c.img").replace(
        b"${A}", b"${B}")
    take(intake, **files)
    intake.variables = Variables((("A", "2"), ("B", "1")))
    found = take(intake, **files)
    assert intake.parses == 4
    assert {d.name: d.policy.labels for d in found.accepted.values()} == {
        "a": (("x", "2"),), "b": (), "c": (("x", "1"),)}
    intake.variables = Variables((("B", "1"),))
    assert take(intake, **files).rejected[0].file == "a.xml"
    assert intake.parses == 5


def test_rule_3_wrong_defaults_are_told_once_and_no_file_is_read_with_them(intake):
    take(intake, a=xml("a"), b=xml("b"), defaults=DEFAULTS)
    found = take(intake, a=xml("a"), b=xml("b"), defaults=b"<domain>\n<vcpuu/></domain>")
    assert found.accepted == {}
    first, *others = found.rejected
    assert (first.file, len(first.problems)) == ("defaults.xml", 1)
    assert first.message.startswith("defaults.xml:2: error: domain/vcpuu")
    assert [(r.file, r.name) for r in others] == [("a.xml", "a"), ("b.xml", "b")]
    assert all("not read, since defaults.xml beside it has errors, such as that of line 2: unknown "
               "element <vcpuu>" in r.message for r in others)
    take(intake, a=xml("a"), b=xml("b"), defaults=DEFAULTS)
    assert intake.parses == 2


def test_rule_3_defaults_that_cannot_be_read_hide_every_file(intake):
    found = intake.definitions(Listing({"a.xml": xml("a")},
                                       unreadable={"defaults.xml": "Permission denied"}), {})
    assert found.accepted == {}
    assert [r.file for r in found.rejected] == ["defaults.xml", "a.xml"]
    assert "Permission denied" in found.rejected[0].message
