"""The texts of definitions that were applied, and those of removed domains."""

import os
import time

from reconciler.engine.decide.definition_history import Entry, applied
from reconciler.engine.decide.state import StoredDefinition
from reconciler.engine.records.archive import Archive
from tests.engine.making import Place, running

A, B = StoredDefinition("<a/>", "a.xml", "r1"), StoredDefinition("<b/>", "a.xml", "r2")


def test_texts_are_kept_as_long_as_their_entries(tmp_path):
    archive, history = Archive(tmp_path), ()
    first = Entry.of(applied((), A, "InSync", "t", 2)[0])
    for text in (A, B, A):
        history = applied(history, text, "InSync", "t", 2)
        archive.keep("u", text, history)
    assert [archive.read("u", Entry.of(value)) for value in history] == [b"<b/>", b"<a/>"]
    history = applied(history, StoredDefinition("<c/>"), "InSync", "t", 1)
    archive.keep("u", StoredDefinition("<c/>"), history)
    assert len(list((tmp_path / "history" / "u").iterdir())) == 1
    assert archive.read("u", first) is None


def test_the_last_definition_of_a_removed_domain_is_kept_for_a_while(tmp_path):
    archive = Archive(tmp_path)
    archive.keep("u", A, applied((), A, "InSync", "t", 2))
    archive.bury("u", "web1", A, 3600.0)
    kept, = (tmp_path / "removed").iterdir()
    assert kept.name.startswith("web1-")
    assert kept.read_bytes() == b"<a/>"
    assert not (tmp_path / "history" / "u").exists()
    os.utime(kept, (time.time() - 3601,) * 2)
    archive.bury("v", "../x", None, 3600.0)
    assert list((tmp_path / "removed").iterdir()) == []


def test_no_definition_of_a_removed_domain_is_kept_where_that_is_switched_off(tmp_path):
    Archive(tmp_path).bury("u", "web1", A, 0.0)
    assert not (tmp_path / "removed").exists()


async def test_old_definitions_are_deleted_at_each_start(tmp_path):
    place = Place(tmp_path, "prune: {keep_definitions: 1h}\n")
    removed = tmp_path / "state" / "removed"
    removed.mkdir()
    for name in ("old", "new"):
        (removed / f"{name}.xml").write_bytes(b"<domain/>")
    os.utime(removed / "old.xml", (0, 0))
    async with running(place):
        assert [path.name for path in removed.iterdir()] == ["new.xml"]
