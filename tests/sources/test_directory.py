"""A watched directory: complete listings, or an error; read only where something changed."""

from __future__ import annotations

import os
import time

import pytest

from reconciler.errors import SourceError
from reconciler.sources.directory import Directory, Root, Signature
from reconciler.sources.listing import LONGEST, Listing
from tests.counting import reads

SETTLE = 0.2


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "domains"
    found.mkdir()
    return found


@pytest.fixture
def directory(path):
    return Directory(path, ("*.xml",), SETTLE)


def old(file, data=None, seconds=60.0):
    """A file that was not written to for a while."""
    if data is not None:
        file.write_bytes(data)
    then = time.time() - seconds
    os.utime(file, (then, then))


def failed(directory):
    with pytest.raises(SourceError) as caught:
        directory.listing()
    return caught.value


def test_every_domain_file_is_listed_with_what_is_in_it(directory, path):
    old(path / "a.xml", b"A")
    old(path / "b.xml", b"B")
    found = directory.listing()
    assert found.files == {"a.xml": b"A", "b.xml": b"B"}
    assert (found.unfinished, found.again_in) == (frozenset(), None)
    assert found.revision("a.xml") == "sha256:559aead08264"
    assert found.revision("a.xml") != found.revision("b.xml")


@pytest.mark.parametrize("name", [".a.xml", "#a.xml", "~a.xml", "a.xml~", ".a.xml.swp", "a.xml.new",
                                  "a.txt", "4913", "A.XML"])
def test_pain_3_what_is_not_a_domain_file_is_ignored(directory, path, name):
    old(path / name, b"x")
    with reads() as read:
        assert directory.listing().files == {}
    assert read == []


def test_several_patterns(path):
    for name in ("a.xml", "b.dom", "c.txt"):
        old(path / name, b"")
    assert set(Directory(path, ("*.xml", "b*"), 0).listing().files) == {"a.xml", "b.dom"}


def test_what_is_not_a_regular_file_is_named_and_does_not_block(directory, path):
    (path / "d.xml").mkdir()
    os.mkfifo(path / "f.xml")
    old(path / "a.xml", b"A")
    (path / "l.xml").symlink_to("a.xml")
    found = directory.look()
    assert set(found.files) == {"a.xml", "l.xml"}
    # They cannot hold a domain, so all that can be known is known.
    assert (found.complete, found.unreadable) == (True, {
        "d.xml": "not a regular file", "f.xml": "not a regular file"})


def test_unchanged_files_are_not_read_again(directory, path):
    for n in range(20):
        old(path / f"{n}.xml", b"x")
    with reads() as read:
        directory.listing()
        assert len(read) == 20
        directory.listing()
        assert len(read) == 20
        old(path / "3.xml", b"y", 30)
        assert directory.listing().files["3.xml"] == b"y"
        assert read[20:] == ["3.xml"]


@pytest.mark.parametrize("change", ["size", "time", "inode"])
def test_pain_3_any_sign_of_a_change_is_enough_to_read(directory, path, change):
    old(path / "a.xml", b"old", 60)
    directory.listing()
    stamp = (path / "a.xml").stat().st_mtime_ns
    if change == "size":
        (path / "a.xml").write_bytes(b"newer")
    elif change == "inode":
        (path / "b").write_bytes(b"new")
        (path / "b").replace(path / "a.xml")
    else:
        (path / "a.xml").write_bytes(b"new")
        stamp += 1
    os.utime(path / "a.xml", ns=(stamp, stamp))
    assert directory.listing().files["a.xml"].startswith(b"new")


def test_pain_3_a_file_that_was_just_written_must_rest(directory, path):
    (path / "a.xml").write_bytes(b"half")
    found = directory.listing()
    assert found.files == {}
    assert found.unfinished == {"a.xml"}
    assert 0 < found.again_in <= SETTLE
    # It is still written to; then it is at rest, and judged by what it holds then.
    (path / "a.xml").write_bytes(b"more")
    assert directory.listing().unfinished == {"a.xml"}
    old(path / "a.xml", seconds=SETTLE)
    assert directory.listing().files == {"a.xml": b"more"}


def test_the_rest_is_only_the_rest_of_the_wait(directory, path):
    old(path / "a.xml", b"half", SETTLE * 0.75)
    assert directory.listing().again_in <= SETTLE / 2


def test_a_time_in_the_future_does_not_delay_reading(directory, path):
    old(path / "a.xml", b"A", -3600)
    assert directory.listing().files == {"a.xml": b"A"}


def test_pain_3_a_file_that_its_writer_closed_is_finished_at_once(directory, path):
    (path / "a.xml").write_bytes(b"A")
    directory.finished["a.xml"] = Signature.of((path / "a.xml").stat())
    assert directory.listing().files == {"a.xml": b"A"}
    # It says so of this state of it alone.
    (path / "a.xml").write_bytes(b"half of B")
    assert directory.listing().unfinished == {"a.xml"}


def test_what_was_heard_of_files_that_went_is_forgotten(directory, path):
    (path / "a.xml").write_bytes(b"A")
    directory.finished["a.xml"] = Signature.of((path / "a.xml").stat())
    directory.listing()
    (path / "a.xml").unlink()
    directory.listing()
    assert directory.finished == {}


def test_other_files_are_read_while_one_is_unfinished(directory, path):
    old(path / "a.xml", b"A")
    (path / "b.xml").write_bytes(b"half")
    found = directory.listing()
    assert (set(found.files), found.unfinished) == ({"a.xml"}, {"b.xml"})


def test_the_next_look_is_due_when_the_last_of_the_unfinished_may_be_finished(directory, path):
    old(path / "a.xml", b"half", SETTLE * 0.75)
    old(path / "b.xml", b"half", SETTLE * 0.1)
    found = directory.listing()
    assert found.unfinished == {"a.xml", "b.xml"}
    assert SETTLE / 2 < found.again_in <= SETTLE


def test_a_huge_file_is_read_only_as_far_as_it_takes_to_refuse_it(directory, path):
    with (path / "a.xml").open("wb") as file:
        file.truncate(1 << 30)
    old(path / "a.xml")
    assert len(directory.listing().files["a.xml"]) == LONGEST + 1


def test_pain_1_rule_3_a_directory_that_is_not_there_gives_no_listing(directory, path):
    path.rmdir()
    error = failed(directory)
    assert error.reason == "Incomplete"
    assert str(path) in str(error)
    path.touch()
    assert "Not a directory" in str(failed(directory))


def test_a_link_to_nothing_is_named_and_says_nothing_about_other_files(directory, path):
    old(path / "b.xml", b"B")
    (path / "a.xml").symlink_to("nowhere")
    found = directory.look()
    assert (found.files, found.complete) == ({"b.xml": b"B"}, True)
    assert found.unreadable == {"a.xml": "a link to a file that does not exist"}


def test_pain_1_rule_3_an_entry_that_cannot_be_read_makes_the_listing_incomplete(directory, path):
    old(path / "b.xml", b"B")
    (path / "a.xml").symlink_to("a.xml")
    failed(directory)
    found = directory.look()
    assert (found.files, found.complete, set(found.unreadable)) == (
        {"b.xml": b"B"}, False, {"a.xml"})
    (path / "a.xml").unlink()
    assert directory.listing().files == {"b.xml": b"B"}
    assert directory.look().complete


def test_a_file_that_is_deleted_while_it_is_looked_at_makes_the_look_start_again(
        directory, path, monkeypatch):
    """Then it is gone for certain, and not an entry that cannot be read."""
    old(path / "a.xml", b"A")
    old(path / "b.xml", b"B")
    listdir, looks = os.listdir, []

    def deleting(place):
        found = listdir(place)
        looks.append(found)
        (path / "a.xml").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(os, "listdir", deleting)
    found = directory.look()
    assert (found.files, found.unreadable, found.complete) == ({"b.xml": b"B"}, {}, True)
    assert [len(names) for names in looks] == [2, 1]


def test_an_entry_that_cannot_be_read_is_something_in_another_directory(directory, path):
    old(path / "a.xml", b"A")
    directory.look()
    path.rename(path.with_name("before"))
    path.mkdir()
    (path / "a.xml").mkdir()
    assert directory.look().unreadable == {"a.xml": "not a regular file"}


def test_pain_1_rule_3_a_file_that_may_not_be_read_makes_the_listing_incomplete(path):
    if os.geteuid() == 0:
        # Root may read all but what answers with an error: a page that is not mapped.
        (path / "a.xml").symlink_to("/proc/self/mem")
    else:
        old(path / "a.xml", b"A")
        (path / "a.xml").chmod(0)
    assert failed(Directory(path, ("*.xml",), 0)).reason == "Incomplete"


@pytest.mark.parametrize("name", ["", "b.xml"])
def test_pain_1_rule_3_another_directory_is_named_so_until_it_is_accepted(directory, path, name):
    old(path / "a.xml", b"A")
    assert not directory.listing().replaced
    path.rename(path.with_name("mounted"))
    path.mkdir()
    if name:
        old(path / name, b"B")
    assert directory.listing().replaced
    assert directory.listing().replaced  # however often it is asked
    path.rename(path.with_name("below"))
    path.with_name("mounted").rename(path)
    assert not directory.listing().replaced
    path.rename(path.with_name("mounted"))
    path.with_name("below").rename(path)
    assert directory.listing().replaced
    directory.accept_root()
    assert not directory.listing().replaced


def test_the_same_directory_may_be_empty(directory, path):
    old(path / "a.xml", b"A")
    directory.listing()
    (path / "a.xml").unlink()
    assert directory.listing().files == {}


def test_pain_1_which_directory_it_was_is_known_across_a_restart(path):
    here = path.stat()
    assert Directory(path, ("*.xml",), 0, Root(here.st_dev, here.st_ino)).listing() == Listing()
    other = Directory(path, ("*.xml",), 0, Root(here.st_dev, here.st_ino + 1))
    assert other.listing().replaced


def test_a_symbolic_link_that_is_swapped_leads_elsewhere_at_once(path, tmp_path):
    link = tmp_path / "link"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        old(tmp_path / name / "a.xml", name.encode())
    link.symlink_to("one")
    directory = Directory(link, ("*.xml",), 0)
    assert directory.listing().files == {"a.xml": b"one"}
    (tmp_path / "fresh").symlink_to("two")
    (tmp_path / "fresh").replace(link)
    assert directory.listing().files == {"a.xml": b"two"}


def test_the_defaults_are_always_among_the_files_and_no_domains(path):
    for name in ("a.xml", "web.xml", "defaults.xml"):
        old(path / name, b"x")
    found = Directory(path, ("web*",), SETTLE).listing()
    assert list(found.files) == ["defaults.xml", "web.xml"]
    assert found.domain_files == ["web.xml"]
    assert found.name != Directory(path, ("*",), SETTLE).listing().name
