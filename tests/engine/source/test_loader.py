"""From a listing to definitions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.admission import Admission
from reconciler.domain.expand import expand
from reconciler.domain.reader import derived_uuid, read_domain
from reconciler.domain.substitute import Variables
from reconciler.engine.source.file_reader import FileReader
from reconciler.engine.source.loader import InForce, Loader
from reconciler.sources.listing import Listing
from tests.values import HOST, xml

UUID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"


@pytest.fixture
def parsed():
    """The files that were parsed, in their order."""
    return []


@pytest.fixture
def loader(parsed):
    def read(data, file, host, given):
        parsed.append(file)
        return expand(data, file, host, given)

    return Loader(FileReader(HOST, Variables(), read, lambda data, file: None), Admission(), "here")


def with_uuid(data: bytes, uuid: str = UUID) -> bytes:
    return data.replace(b"</name>", f"</name><uuid>{uuid}</uuid>".encode())


def take(loader, in_force=(), **files):
    """The files as a listing; `in_force` are domains that have a definition already."""
    return loader.definitions(Listing({f"{name}.xml": data for name, data in files.items()}),
                              known(*in_force))


def known(*domains, **chosen):
    """These domains in force; `chosen`: texts beside their definitions."""
    return {domain.uuid: InForce(domain.name, domain.file, domain, chosen) for domain in domains}


def test_every_valid_file_is_accepted(loader):
    found = take(loader, a=xml("a"), b=xml("b"))
    assert {file: domain.name for file, domain in found.accepted.items()} == {
        "a.xml": "a", "b.xml": "b"}
    assert (found.rejected, found.elsewhere) == ((), ())


def test_an_unchanged_file_is_never_parsed_again(loader, parsed):
    files = {f"d{n}": xml(f"d{n}") for n in range(20)} | {"bad": b"<domain>"}
    take(loader, **files)
    assert len(parsed) == 21
    for _ in range(3):
        take(loader, **files)
    assert len(parsed) == 21  # the invalid one is not, either
    files["d7"] = xml("d7", "paused")
    found = take(loader, **files)
    assert parsed[21:] == ["d7.xml"]
    assert found.accepted["d7.xml"].policy.state == "paused"


def test_a_file_that_is_gone_is_forgotten(loader, parsed):
    take(loader, a=xml("a"))
    take(loader)
    take(loader, a=xml("a"))
    assert parsed == ["a.xml", "a.xml"]


def test_every_error_of_a_file_is_kept(loader):
    rejected, = take(loader, a=xml("a").replace(b"q35", b"pc").replace(b"128", b"1")).rejected
    assert rejected.file == "a.xml"
    assert len(rejected.problems) > 1
    assert rejected.message.count("\n") == len(rejected.problems) - 1
    assert rejected.reason == "InvalidDefinition"


def test_rule_3_an_invalid_file_shows_the_domain_that_it_may_define(loader):
    broken = with_uuid(xml("a"), UUID.upper()) + b"<"
    rejected, = take(loader, a=broken).rejected
    assert (rejected.name, rejected.uuid) == ("a", UUID)
    rejected, = take(loader, a=b"\xff\xfe").rejected
    assert (rejected.name, rejected.uuid) == (None, None)


def test_what_this_host_does_not_allow_is_rejected(loader):
    loader.admission = Admission(max_memory=64 << 20)
    found = take(loader, a=xml("a"))
    assert found.accepted == {}
    assert (found.rejected[0].reason, found.rejected[0].name) == ("NotAllowed", "a")


def test_a_file_for_another_host_defines_no_domain_here(loader):
    mine, other = (xml(name, inner=f"<r:placement host='{host}'/>")
                   for name, host in (("a", "here"), ("b", "there")))
    found = take(loader, a=mine, b=other)
    assert set(found.accepted) == {"a.xml"}
    assert found.elsewhere == ("b.xml",)


def test_of_two_files_with_one_disk_the_one_in_force_is_kept(loader):
    a, b = xml("a"), xml("b").replace(b"b.img", b"a.img")
    first = take(loader, b=b).accepted["b.xml"]
    found = take(loader, [first], a=a, b=b)
    assert set(found.accepted) == {"b.xml"}
    assert (found.rejected[0].file, found.rejected[0].reason) == ("a.xml", "Conflict")
    # With none in force the first file has it.
    assert set(take(loader, a=a, b=b).accepted) == {"a.xml"}


def test_pain_3_of_two_files_of_the_same_domain_neither_is_accepted(loader):
    found = take(loader, a=xml("a"), b=xml("a"))
    assert found.accepted == {}
    assert {r.file for r in found.rejected} == {"a.xml", "b.xml"}


def test_a_conflict_ends_with_its_cause_and_nothing_is_parsed_for_it(loader, parsed):
    a, b = xml("a"), xml("b").replace(b"b.img", b"a.img")
    assert len(take(loader, a=a, b=b).rejected) == 1
    assert take(loader, b=b).rejected == ()
    assert parsed == ["a.xml", "b.xml"]


VSOCK = "<vsock model='virtio'><cid auto='{}' {}/></vsock>"


def cids(found):
    return {d.name: card.cid for d in found.accepted.values() for card in d.devices
            if card.KIND == "vsock"}


def test_rule_4_each_domain_gets_a_number_of_its_own_and_keeps_it(loader):
    auto = VSOCK.format("yes", "")
    found = take(loader, a=xml("a", devices=auto), b=xml("b", devices=auto))
    assert cids(found) == {"a": 3, "b": 4}
    assert found.chosen == {"a.xml": {"numbers": '{"vsock CID": 3}'},
                            "b.xml": {"numbers": '{"vsock CID": 4}'}}
    kept = {found.accepted["b.xml"].uuid: InForce("b", chosen=found.chosen["b.xml"])}
    again = loader.definitions(Listing({"b.xml": xml("b", devices=auto)}), kept)
    assert cids(again) == {"b": 4}


def test_a_number_that_is_written_is_given_to_no_other_domain(loader):
    auto, given = VSOCK.format("yes", ""), VSOCK.format("no", "address='3'")
    found = take(loader, a=xml("a", devices=auto), b=xml("b", devices=given))
    assert cids(found) == {"a": 4, "b": 3}


def test_a_number_that_was_chosen_stays_though_a_new_file_writes_it(loader):
    auto, given = VSOCK.format("yes", ""), VSOCK.format("no", "address='3'")
    first = take(loader, a=xml("a", devices=auto))
    files = {"a.xml": xml("a", devices=auto), "b.xml": xml("b", devices=given)}
    found = loader.definitions(Listing(files), known(first.accepted["a.xml"],
                                                       **first.chosen["a.xml"]))
    assert cids(found) == {"a": 3}
    rejected, = found.rejected
    assert "vsock CID '3' is also the vsock CID of a.xml" in rejected.message


def test_a_number_that_the_host_uses_is_not_chosen(loader):
    loader.free = lambda claim, number: number > 5
    assert cids(take(loader, a=xml("a", devices=VSOCK.format("yes", "")))) == {"a": 6}


def test_rule_4_a_number_that_was_written_stays_when_it_becomes_automatic(loader):
    before = take(loader, a=xml("a", devices=VSOCK.format("no", "address='9'")))
    domain = before.accepted["a.xml"]
    found = loader.definitions(Listing({"a.xml": xml("a", devices=VSOCK.format("yes", ""))}),
                               known(domain))
    assert cids(found) == {"a": 9}


def test_the_number_of_a_domain_whose_file_is_invalid_now_is_not_free(loader):
    holder = take(loader, a=xml("a", devices=VSOCK.format("no", "address='3'"))).accepted["a.xml"]
    files = {"a.xml": b"<domain>", "b.xml": xml("b", devices=VSOCK.format("yes", ""))}
    found = loader.definitions(Listing(files), known(holder))
    assert cids(found) == {"b": 4}


# Several domains in a file, the defaults of its directory, the variables of the host

DEFAULTS = b"<domain><title>t</title></domain>"


def counted(count: int, name: str = "a-{index}", **values) -> bytes:
    return xml(name, **values).replace(b"state='running'", f"state='running' count='{count}'"
                                       .encode())


def test_a_file_may_define_several_domains(loader, parsed):
    found = take(loader, a=counted(3), b=xml("b"))
    assert {key: domain.name for key, domain in found.accepted.items()} == {
        "a.xml#0": "a-0", "a.xml#1": "a-1", "a.xml#2": "a-2", "b.xml": "b"}
    assert {domain.file for domain in found.accepted.values()} == {"a.xml", "b.xml"}
    assert parsed == ["a.xml", "b.xml"]
    assert found.sources["b.xml"].data == xml("b")
    assert read_domain(found.sources["a.xml#1"].data, "a.xml", HOST) == found.accepted["a.xml#1"]
    take(loader, a=counted(3), b=xml("b"))
    assert len(parsed) == 2


def test_where_one_domain_of_a_file_conflicts_the_others_are_accepted(loader):
    other = xml("b").replace(b"b.img", b"a-1.img")
    first = take(loader, b=other).accepted["b.xml"]
    found = take(loader, [first], a=counted(3), b=other)
    assert sorted(found.accepted) == ["a.xml#0", "a.xml#2", "b.xml"]
    rejected, = found.rejected
    assert (rejected.file, rejected.name, rejected.only_this_domain) == ("a.xml", "a-1", True)
    assert "of a.xml#1 is also the writable disk of b.xml:4" in rejected.message


def test_several_domains_cannot_share_one_uuid(loader):
    found = take(loader, a=with_uuid(counted(2)))
    assert found.accepted == {}
    assert "so use {index} in it" in found.rejected[0].message
    first = take(loader, a=with_uuid(counted(1))).accepted["a.xml"]
    found = take(loader, [first], a=with_uuid(counted(3)))
    assert list(found.accepted) == ["a.xml#0"]


def test_each_domain_of_a_file_gets_a_number_of_its_own(loader):
    found = take(loader, a=counted(11, devices=VSOCK.format("yes", "")))
    assert cids(found) == {f"a-{n}": n + 3 for n in range(11)}


def test_rule_3_an_error_of_one_domain_rejects_the_whole_file(loader):
    found = take(loader, a=counted(3, devices="<serial type='file'><source path='{index}x,'/>"
                                              "</serial>"))
    rejected, = found.rejected
    assert (found.accepted, rejected.only_this_domain, rejected.name) == ({}, False, None)


def test_a_key_is_never_the_name_of_another_file(loader):
    files = {"a.xml": counted(2), "a.xml#1": xml("b")}
    found = loader.definitions(Listing(files), {})
    assert list(found.accepted) == ["a.xml#1"]
    assert found.accepted["a.xml#1"].name == "b"
    assert found.rejected[0].file == "a.xml"
    assert "a.xml#1, which is a file of its own" in found.rejected[0].message


def test_the_defaults_are_not_a_domain_and_count_for_every_file(loader, parsed):
    found = take(loader, a=xml("a"), defaults=DEFAULTS)
    assert {file: domain.title for file, domain in found.accepted.items()} == {"a.xml": "t"}
    assert found.sources["a.xml"].note == "defaults.xml"
    assert parsed == ["a.xml"]


def test_new_defaults_are_read_into_every_file_and_the_same_ones_into_none(loader, parsed):
    files = {f"d{n}": xml(f"d{n}") for n in range(3)}
    take(loader, **files, defaults=DEFAULTS)
    take(loader, **files, defaults=bytes(bytearray(DEFAULTS)))
    assert len(parsed) == 3
    found = take(loader, **files, defaults=DEFAULTS.replace(b">t<", b">u<"))
    assert (len(parsed), found.accepted["d0.xml"].title) == (6, "u")
    found = take(loader, **files)
    assert (len(parsed), found.accepted["d0.xml"].title) == (9, None)


def test_a_variable_that_changes_is_read_into_the_files_that_name_it(loader, parsed):
    loader.reader.variables = Variables((("A", "1"), ("B", "1")))
    files = {"a": xml("a", inner="<r:label name='x' value='${A}'/>"), "b": xml("b")}
    files["c"] = files["a"].replace(b">a<", b">c<").replace(b"a.img", b"c.img").replace(
        b"${A}", b"${B}")
    take(loader, **files)
    loader.reader.variables = Variables((("A", "2"), ("B", "1")))
    found = take(loader, **files)
    assert parsed[3:] == ["a.xml"]
    assert {d.name: d.policy.labels for d in found.accepted.values()} == {
        "a": (("x", "2"),), "b": (), "c": (("x", "1"),)}
    loader.reader.variables = Variables((("B", "1"),))
    assert take(loader, **files).rejected[0].file == "a.xml"
    assert parsed[4:] == ["a.xml"]


def test_rule_3_invalid_defaults_are_reported_once_and_no_file_is_read_with_them(loader, parsed):
    take(loader, a=xml("a"), b=xml("b"), defaults=DEFAULTS)
    found = take(loader, a=xml("a"), b=xml("b"), defaults=b"<domain>\n<vcpuu/></domain>")
    assert found.accepted == {}
    first, *others = found.rejected
    assert (first.file, len(first.problems)) == ("defaults.xml", 1)
    assert first.message.startswith("defaults.xml:2: error: domain/vcpuu")
    assert [(r.file, r.name) for r in others] == [("a.xml", "a"), ("b.xml", "b")]
    assert all("not read, since defaults.xml beside it has errors, such as that of line 2: unknown "
               "element <vcpuu>" in r.message for r in others)
    take(loader, a=xml("a"), b=xml("b"), defaults=DEFAULTS)
    assert parsed == ["a.xml", "b.xml"]


def test_rule_3_defaults_that_cannot_be_read_reject_every_file(loader):
    found = loader.definitions(Listing({"a.xml": xml("a")},
                                       unreadable={"defaults.xml": "Permission denied"}), {})
    assert found.accepted == {}
    assert [r.file for r in found.rejected] == ["defaults.xml", "a.xml"]
    assert "Permission denied" in found.rejected[0].message


def in_force_of(loader, **files):
    """The domains of these files, all of which were accepted."""
    found = take(loader, **files)
    assert not found.rejected
    return list(found.accepted.values())


BROKEN = b"<domain><name>web1</name><vcpuu/>"


@pytest.mark.parametrize("damaged", ["broken", "unfinished", "unreadable"])
@pytest.mark.parametrize(("copy", "what"), [
    (xml("web1"), "name"), (with_uuid(xml("web2"), "5ee5b4d5-0000-4000-8000-000000000001"), "uuid"),
    (xml("web2").replace(b"web2.img", b"web1.img"), "disk")])
@pytest.mark.parametrize("name", ["a", "z"])
def test_rule_3_a_copy_never_takes_the_place_of_a_file_that_is_broken(loader, damaged, copy, what,
                                                                       name):
    good = with_uuid(xml("web1"), "5ee5b4d5-0000-4000-8000-000000000001") if what == "uuid" else (
        xml("web1"))
    kept = in_force_of(loader, web1=good)
    files = {f"{name}.xml": copy}
    listing = {"broken": Listing({**files, "web1.xml": BROKEN}),
               "unfinished": Listing(files, unfinished=frozenset({"web1.xml"})),
               "unreadable": Listing(files, unreadable={"web1.xml": "permission denied"},
                                     complete=False)}[damaged]
    found = loader.definitions(listing, known(kept[0]))
    assert found.accepted == {}
    problem = next(r for r in found.rejected if r.file == f"{name}.xml")
    assert problem.reason == "Conflict"
    assert "web1.xml" in problem.message


def test_rule_4_a_file_that_was_renamed_is_still_the_domain_s(loader):
    kept = in_force_of(loader, web1=xml("web1"))
    assert set(take(loader, kept, other=xml("web1")).accepted) == {"other.xml"}


def test_rule_3_of_two_copies_of_a_file_that_is_gone_neither_is_accepted(loader):
    kept = in_force_of(loader, web1=xml("web1"))
    assert take(loader, kept, one=xml("web1"), two=xml("web1")).accepted == {}


def test_rule_3_what_runs_until_its_removal_is_done_keeps_its_disk(loader):
    kept = in_force_of(loader, web1=xml("web1"))
    new = xml("web2").replace(b"web2.img", b"web1.img")
    found = take(loader, kept, web2=new)
    assert found.accepted == {}
    assert "is also the writable disk of web1.xml" in found.rejected[0].message


def test_rule_3_names_and_disks_may_be_exchanged_in_one_look(loader):
    one, two = (with_uuid(xml(name), f"5ee5b4d5-0000-4000-8000-00000000000{name[-1]}")
                for name in ("web1", "web2"))
    kept = in_force_of(loader, web1=one, web2=two)
    swapped = {"web1": one.replace(b"<name>web1<", b"<name>web2<"),
               "web2": two.replace(b"<name>web2<", b"<name>web1<")}
    assert set(take(loader, kept, **swapped).accepted) == {"web1.xml", "web2.xml"}
    disks = {"web1": one.replace(b"web1.img", b"web2.img"),
             "web2": two.replace(b"web2.img", b"web1.img")}
    assert set(take(loader, kept, **disks).accepted) == {"web1.xml", "web2.xml"}
    disks["web1"] = BROKEN  # then the other one cannot have its disk
    assert take(loader, kept, **disks).accepted == {}


HERE = replace(HOST, machine="m1")


def on(loader, host):
    loader.reader.host = host
    return loader


def test_rule_4_a_domain_keeps_its_uuid_whatever_it_would_be_derived_from_now(loader):
    old = take(loader, a=xml("a")).accepted["a.xml"]
    new = take(on(loader, HERE), [old], a=xml("a", memory=256), b=xml("b"))
    assert new.accepted["a.xml"].uuid == old.uuid
    assert new.accepted["b.xml"].uuid == derived_uuid("b", "m1") != derived_uuid("b")
    assert list(new.chosen["a.xml"]) == ["assigned"]
    assert new.chosen["b.xml"] == {}


def test_rule_4_a_uuid_that_is_no_longer_written_stays(loader):
    written = take(loader, a=with_uuid(xml("a"))).accepted["a.xml"]
    assert take(loader, [written], a=xml("a")).accepted["a.xml"].uuid == UUID


def test_a_name_that_another_domain_had_gives_no_uuid_that_it_has(loader):
    """It was renamed, and its uuid, which was derived from its old name, is in its file now."""
    old = take(loader, a=xml("a")).accepted["a.xml"]
    found = take(loader, [old], a=with_uuid(xml("b"), old.uuid), new=xml("a"))
    assert not found.rejected
    assert found.accepted["a.xml"].uuid == old.uuid
    assert found.accepted["new.xml"].uuid != old.uuid
    again = take(loader, list(found.accepted.values()), a=with_uuid(xml("b"), old.uuid),
                 new=xml("a"))
    assert again == found


def test_a_written_uuid_that_changes_changes_no_mac(loader):
    cards = "<interface type='ethernet'/>"
    old = take(loader, a=xml("a", devices=cards)).accepted["a.xml"]
    new = take(loader, [old], a=with_uuid(xml("a", devices=cards))).accepted["a.xml"]
    assert new.uuid == UUID
    assert new.devices == old.devices
