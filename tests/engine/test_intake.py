"""From a listing to definitions."""

from __future__ import annotations

import pytest

from reconciler.domain.admission import Admission
from reconciler.domain.expand import expand
from reconciler.engine.intake import Intake
from reconciler.sources.listing import Listing
from tests.values import HOST, xml

UUID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"


@pytest.fixture
def intake():
    return Intake(HOST, Admission(), "here", expand)


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


def test_of_two_that_are_the_same_domain_neither_is_taken(intake):
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
