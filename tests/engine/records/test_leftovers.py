"""What a reconciler left when it was killed is removed at the next start, and nothing else."""

from __future__ import annotations

import fcntl
import json

from reconciler.engine.decide.state import DomainRecord
from reconciler.engine.records.leftovers import remove_leftovers
from reconciler.engine.records.store import Store
from reconciler.stratovirt.recognition import Programs


def test_pain_16_files_that_were_being_written_and_directories_of_no_domain_go(tmp_path):
    state, vms = tmp_path / "state", tmp_path / "vms"
    kept = [state / "status.json", state / "domains" / "u.json", state / "history" / "u" / "1.xml",
            vms / "a" / "record.json", vms / "locked" / "lock"]
    left = [state / ".status.json.new", state / "domains" / ".u.json.new",
            state / "history" / "u" / ".2.xml.new", state / "nvram" / ".a_VARS.fd.new",
            vms / "a" / ".record.json.new", vms / "gone" / "stderr"]
    for path in (*kept, *left):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    with (vms / "locked" / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_leftovers(state, vms, {"a"}, Programs())
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in left)
    assert not (vms / "gone").exists()


def test_records_that_were_to_be_synced_are_synced_after_a_restart(tmp_path):
    place = tmp_path / "domains"
    store = Store(place)
    for generation in (1, 2):
        store.save(DomainRecord("u", "a", generation))
    store.sync()
    store.save(DomainRecord("u", "a", 3))  # and killed
    (place / ".other.json.synced").write_text("{}")  # of a domain that got another uuid
    assert (place / ".u.json.synced").exists()
    again = Store(place)
    again.finish()
    assert [record.generation for record in again.all("")] == [3]
    again.sync()
    assert [path.name for path in place.iterdir()] == ["u.json"]


def test_a_record_that_a_power_cut_damaged_is_the_synced_one_again(tmp_path):
    place = tmp_path / "domains"
    store = Store(place)
    store.save(DomainRecord("u", "a", 1))
    store.sync()
    store.save(DomainRecord("u", "a", 2))
    (place / "u.json").write_bytes(b"")
    again = Store(place)
    again.finish()
    again.sync()
    assert json.loads((place / "u.json").read_text())["generation"] == 1
