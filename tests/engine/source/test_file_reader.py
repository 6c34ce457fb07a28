"""All files together have a limit, and a file that is wrong is read once."""

from __future__ import annotations

import pytest

from reconciler.domain.admission import Admission
from reconciler.domain.expand import expand
from reconciler.domain.model import InvalidDomain, Problem
from reconciler.domain.substitute import Variables
from reconciler.engine.source.file_reader import FileReader
from reconciler.engine.source.loader import MOST_SHOWN, InForce, Loader
from reconciler.engine.source.source_sync import SourceState
from reconciler.engine.status.builder import MOST_ERRORS, MOST_FILES, source_status
from reconciler.sources.listing import DEFAULTS, Listing
from tests.values import HOST, xml

BAD = b"<domain>" + b"<a/>" * 99 + b"</domain>"


class Site:
    """A loader that counts: the files that were read, and those that a trial was made of."""

    def __init__(self, most=4096):
        self.read, self.tried = [], []
        self.slow = set()
        self.loader = Loader(FileReader(HOST, Variables(), self.parse, self.trial),
                             Admission(max_domains=most), "here")

    def parse(self, data, file, host, given):
        self.read.append(file)
        return expand(data, file, host, given)

    def trial(self, data, file):
        self.tried.append(file)
        if file in self.slow:
            raise InvalidDomain((Problem(file, 1, "", "takes more than 5 s to parse"),))

    def take(self, files, in_force=()):
        return self.loader.definitions(Listing(files), {
            uuid: InForce("a", "a.xml") for uuid in in_force})


@pytest.fixture
def site():
    return Site()


def test_rule_8_a_file_that_took_too_long_is_not_tried_again(site):
    site.slow = {"a.xml", DEFAULTS}
    for _ in range(3):
        assert [r.file for r in site.take({"a.xml": b"<x>", "b.xml": xml("b")}).rejected] == [
            "a.xml"]
    assert site.read == ["b.xml"]
    assert site.tried.count("a.xml") == 2  # for what it means, and for whose it is
    files = {DEFAULTS: b"<domain/>", "b.xml": xml("b"), "c.xml": xml("c")}
    for _ in range(3):
        assert len(site.take(files).rejected) == 3
    assert (site.read, site.tried.count(DEFAULTS)) == (["b.xml"], 1)


def many(name, count):
    return xml(name + "{index}", "stopped").replace(
        b"state='stopped'", b"state='stopped' count='%d'" % count)


def test_rule_8_the_files_together_define_no_more_domains_than_one_host_may_have():
    site = Site(most=10)
    found = site.take({"a.xml": many("a", 4), "b.xml": many("b", 7), "c.xml": many("c", 6),
                       "d.xml": xml("d")})
    assert sorted({d.file for d in found.accepted.values()}) == ["a.xml", "c.xml"]
    assert [(r.file, r.reason) for r in found.rejected] == [
        ("b.xml", "NotAllowed"), ("d.xml", "NotAllowed")]
    assert "10 domains (admission.max_domains)" in found.rejected[0].message
    assert site.read == ["a.xml", "b.xml", "c.xml"]


def test_rule_3_those_that_exist_have_their_room_before_new_ones():
    site = Site(most=5)
    found = site.loader.definitions(Listing({"a.xml": many("a", 4), "z.xml": many("z", 4)}),
                                    {"a uuid": InForce("z0", "z.xml")})
    assert {d.file for d in found.accepted.values()} == {"z.xml"}


def test_rule_8_not_every_file_is_read_just_to_be_refused():
    site = Site(most=1)
    found = site.take({f"d{number:03}.xml": many(f"d{number}-", 2) for number in range(100)})
    assert len(found.rejected) == 100
    assert len(site.read) <= 10


def test_a_file_full_of_errors_shows_the_first_of_them(site):
    rejected, = site.take({"a.xml": BAD}).rejected
    lines = rejected.message.splitlines()
    assert len(lines) == MOST_SHOWN + 1
    assert lines[-1] == (f"and {len(rejected.problems) - MOST_SHOWN} more; "
                         "`reconciler validate` shows them")


def test_the_status_stays_small_whatever_the_files_hold(site):
    files = {f"{number:04}.xml": BAD for number in range(MOST_FILES + 50)}
    invalid = source_status(SourceState(rejected=site.take(files).rejected), {}, (), {},
                            history=[], settling=[])["invalid"]
    assert len(invalid) == MOST_FILES + 1
    assert invalid[-1]["errors"] == ["and 50 more files"]
    assert sum(len(one["errors"]) for one in invalid) <= MOST_ERRORS + MOST_FILES + 1
    assert invalid[100]["errors"] == ["`reconciler validate` shows its errors"]


def test_a_path_of_a_message_does_not_hold_a_whole_file(site):
    rejected, = site.take({"a.xml": b"<domain><" + b"a" * 49_000 + b"/></domain>"}).rejected
    assert len(rejected.message) < 2_000
