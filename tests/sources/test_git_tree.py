"""The domain files of a commit, read from a real repository's objects."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.errors import SourceError
from reconciler.sources import listing
from reconciler.sources.git_program import LOCAL_LIMIT, Programs
from reconciler.sources.git_tree import Broken, TreeReader, revision_name
from tests.sources.gits import git

ALL = ("*.xml",)


@pytest.fixture
def reader(upstream):
    return TreeReader(Programs(None, LOCAL_LIMIT), ("-C", str(upstream.path)), "the repository",
                      "clone it again")


@pytest.fixture
def processes(monkeypatch):
    """The command line of each process that is started."""
    found, start = [], asyncio.create_subprocess_exec

    async def spy(*words, **more):
        found.append(words)
        return await start(*words, **more)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spy)
    return found


async def test_regular_files_of_every_mode_are_read(upstream, reader):
    blob = git(upstream.path, "hash-object", "-w", "--stdin", feed=b"x")
    entries = "".join(f"{mode} blob {blob}\t{mode}.xml\n" for mode in
                      ("100644", "100664", "100755", "120000"))
    tree = git(upstream.path, "mktree", feed=entries.encode())
    found = await reader.read(tree, "", ALL, "main@sha1:1")
    assert found.listing.files == dict.fromkeys(
        ("100644.xml", "100664.xml", "100755.xml"), b"x")
    assert found.listing.unreadable == {"120000.xml": "a symbolic link, which is not followed"}
    assert (found.listing.commit, found.listing.complete) == ("main@sha1:1", True)


async def test_known_contents_are_not_read_again(upstream, reader, processes):
    before = await reader.read(upstream.tip, "domains", ALL, "1")
    tip = upstream.commit({"domains/same.xml": "A", "README": "x"})
    processes.clear()
    after = await reader.read(tip, "domains", ALL, "2", before.blobs)
    assert after.listing.files == {"a.xml": b"A", "same.xml": b"A"}
    assert [words[3] for words in processes] == ["ls-tree"]
    tip = upstream.commit({"domains/b.xml": "B", "domains/a.xml": None})
    after = await reader.read(tip, "domains", ALL, "3", after.blobs)
    assert after.listing.files == {"b.xml": b"B", "same.xml": b"A"}
    assert sorted(after.blobs.values()) == [b"A", b"B"]


async def test_empty_contents_are_known_as_well(upstream, reader, processes):
    tip = upstream.commit({"domains/a.xml": ""})
    before = await reader.read(tip, "domains", ALL, "1")
    processes.clear()
    assert (await reader.read(tip, "domains", ALL, "1", before.blobs)).listing.files == {
        "a.xml": b""}
    assert len(processes) == 1


async def test_a_directory_without_domain_files_is_empty_and_a_missing_one_is_none(
        upstream, reader):
    tip = upstream.commit({"docs/README": "x"})
    found = await reader.read(tip, "docs", ALL, "1")
    assert (found.listing.files, found.listing.complete) == ({}, True)
    assert await reader.read(tip, "nowhere", ALL, "1") is None
    assert (await reader.read(tip, "", ALL, "1")).listing.files == {}


async def test_a_missing_object_is_an_error_and_not_an_empty_file(upstream, reader):
    blob = upstream.git("rev-parse", "HEAD:domains/a.xml")
    (upstream.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(Broken, match="the repository: ") as caught:
        await reader.read(upstream.tip, "domains", ALL, "1")
    assert caught.value.hint == "clone it again"
    with pytest.raises(Broken):
        await reader.read("0" * 40, "domains", ALL, "1")


async def test_all_files_together_have_a_limit(upstream, reader, monkeypatch):
    tip = upstream.commit({"domains/a.xml": "12345", "domains/b.xml": "67890"})
    monkeypatch.setattr(listing, "MOST_BYTES", 10)
    assert len((await reader.read(tip, "domains", ALL, "1")).listing.files) == 2
    monkeypatch.setattr(listing, "MOST_BYTES", 9)
    with pytest.raises(SourceError, match="10 bytes of domain files; accepted: up to 9"):
        await reader.read(tip, "domains", ALL, "1")


@pytest.mark.parametrize(("ref", "name"), [
    ("main", "main@sha1:" + "a" * 40), ("a" * 40, "sha1:" + "a" * 40)])
def test_how_a_revision_is_written(ref, name):
    assert revision_name(ref, "a" * 40) == name
