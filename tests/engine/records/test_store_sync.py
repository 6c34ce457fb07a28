"""What a crash of the host leaves of a record that was saved and not synced yet."""

from __future__ import annotations

import os

import pytest

from reconciler.engine.decide.state import DomainRecord
from reconciler.engine.records.store import Store

OLD, NEW = DomainRecord("u", "old"), DomainRecord("u", "new")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "domains")


def names(store, tmp_path):
    """As a reconciler finds them that is started after the crash."""
    return [record.name for record in Store(tmp_path / "domains").all("")]


def lose(tmp_path):
    """The file's new name survived the crash, its contents did not."""
    (tmp_path / "domains" / "u.json").write_bytes(b"")


def test_a_saved_record_is_read_at_once(store, tmp_path):
    store.save(OLD)
    store.save(NEW)
    assert names(store, tmp_path) == ["new"]


def test_until_it_is_synced_the_record_before_it_survives_a_crash(store, tmp_path):
    store.save(OLD)
    store.sync()
    store.save(DomainRecord("u", "between"))
    store.save(NEW)
    lose(tmp_path)
    assert names(store, tmp_path) == ["old"]


def test_a_synced_record_leaves_nothing_beside_it(store, tmp_path):
    store.save(OLD)
    store.sync()
    store.save(NEW)
    store.sync()
    assert os.listdir(tmp_path / "domains") == ["u.json"]
    assert names(store, tmp_path) == ["new"]


def test_a_record_that_is_removed_does_not_come_back(store, tmp_path):
    store.save(OLD)
    store.sync()
    store.save(NEW)
    store.remove("u")
    store.sync()
    assert os.listdir(tmp_path / "domains") == []


def test_a_save_during_a_sync_keeps_what_was_synced_before(store, tmp_path, monkeypatch):
    store.save(OLD)
    store.sync()
    store.save(DomainRecord("u", "between"))
    fsync = os.fsync

    def meanwhile(handle):
        monkeypatch.setattr(os, "fsync", fsync)
        store.save(NEW)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", meanwhile)
    store.sync()
    lose(tmp_path)
    assert names(store, tmp_path) == ["old"]
    store.save(NEW)
    store.sync()
    assert os.listdir(tmp_path / "domains") == ["u.json"]


def test_where_a_file_system_has_no_links_a_save_is_synced_itself(store, tmp_path, monkeypatch):
    store.save(OLD)
    store.sync()
    synced = []
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
    monkeypatch.setattr(os, "fsync", synced.append)
    store.save(NEW)
    assert len(synced) == 1
