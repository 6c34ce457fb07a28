"""Which names of a directory are domain files."""

import pytest

from reconciler.sources.listing import is_domain_file

ALL = ("*",)


@pytest.mark.parametrize("name", [
    "web1_BASE_4711.xml", "web1_LOCAL_4711.xml", "web1_REMOTE_4711.xml", "web1_BACKUP_4711.xml",
    "web1.sync-conflict-20260102-030405-ABCDEFG.xml", "~syncthing~web1.xml.tmp",
    ".syncthing.web1.xml.tmp", "web1 (conflicted copy 2026-01-02 030405).xml",
    "web1 (Anna's conflicted copy 2026-01-02).xml", "web1_conflict-20260102-030405.xml",
    "web1.xml.conflict1", "web1.conflict2.xml", "web1.xml.orig", "web1.xml.rej", "web1.xml.bak",
    "web1.xml.partial", "web1.xml.4f3a.partial", ".web1.xml.Xa81fz", "web1.xml~", "#web1.xml#",
    ".#web1.xml", ".web1.xml.swp", "web1.xml.swp", "web1.xml.tmp", "web1.xml.filepart"])
def test_pain_13_what_editors_merge_and_sync_tools_leave_is_no_domain_file(name):
    assert not is_domain_file(name, ALL)


@pytest.mark.parametrize("name", [
    "web1.xml", "web1 (copy).xml", "web1 (1).xml", "Copy of web1.xml", "my_BASE_server.xml",
    "BASE_1.xml", "web_LOCAL.xml", "conflict.xml", "conflicted.xml", "web1.orig.xml", "tmp.xml",
    "web1-bak.xml", "defaults.xml"])
def test_what_a_person_may_have_named_so_is_read(name):
    assert is_domain_file(name, ("*.xml",))
