"""Definitions that were applied, and those of removed domains."""

import os
import time

import pytest
from reconciler.engine.records.history import Archive, Entry, digest, noted

from reconciler.engine.records.store import StoredDefinition
from tests.engine.making import Place, running

A, B = StoredDefinition("<a/>", "a.xml", "r1"), StoredDefinition("<b/>", "a.xml", "r2")


def entries(*texts, keep=20):
    history = ()
    for number, text in enumerate(texts):
        history = noted(history, text, "InSync", f"t{number}", keep)
    return [Entry.of(value) for value in history]


def test_each_definition_is_an_entry_and_the_same_in_a_row_counts():
    first, second, third = entries(A, A, B, A)
    assert (first.number, first.count, first.first, first.last) == (1, 2, "t0", "t1")
    assert (second.number, second.revision, second.hash) == (2, "r2", digest(b"<b/>"))
    assert (third.number, third.hash) == (3, first.hash)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_only_the_newest_are_kept_and_numbers_go_on(keep):
    assert [e.number for e in entries(A, B, A, B, A, keep=keep)] == list(range(6 - keep, 6))


def test_texts_are_kept_as_long_as_their_entries(tmp_path):
    archive, history = Archive(tmp_path), ()
    for text in (A, B, A):
        history = noted(history, text, "InSync", "t", 2)
        archive.keep("u", text, history)
    assert [archive.read("u", Entry.of(value)) for value in history] == [b"<b/>", b"<a/>"]
    history = noted(history, StoredDefinition("<c/>"), "InSync", "t", 1)
    archive.keep("u", StoredDefinition("<c/>"), history)
    assert len(list((tmp_path / "history" / "u").iterdir())) == 1
    assert archive.read("u", entries(A)[0]) is None


def test_the_last_definition_of_a_removed_domain_is_kept_for_a_while(tmp_path):
    archive = Archive(tmp_path)
    archive.keep("u", A, noted((), A, "InSync", "t", 2))
    archive.bury("u", "web1", A, 3600.0)
    kept, = (tmp_path / "removed").iterdir()
    assert kept.name.startswith("web1-")
    assert kept.read_bytes() == b"<a/>"
    assert not (tmp_path / "history" / "u").exists()
    os.utime(kept, (time.time() - 3601,) * 2)
    archive.bury("v", "../x", None, 3600.0)
    assert list((tmp_path / "removed").iterdir()) == []


def test_nothing_is_kept_where_that_is_switched_off(tmp_path):
    Archive(tmp_path).bury("u", "web1", A, 0.0)
    assert not (tmp_path / "removed").exists()


async def test_what_was_removed_long_ago_goes_also_where_nothing_else_is_removed(tmp_path):
    place = Place(tmp_path, "prune: {keep_definitions: 1h}\n")
    removed = tmp_path / "state" / "removed"
    removed.mkdir()
    for name in ("old", "new"):
        (removed / f"{name}.xml").write_bytes(b"<domain/>")
    os.utime(removed / "old.xml", (0, 0))
    async with running(place):
        assert [path.name for path in removed.iterdir()] == ["new.xml"]
