"""What is kept of a domain across restarts and reboots."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from reconciler.domain.place import Place
from reconciler.engine.decide.inputs import Attempts, Exit, ExitKind, Hold, RetryState
from reconciler.engine.decide.state import DomainRecord, StoredDefinition
from reconciler.engine.records.store import Store

BOOT = "boot-1"
FULL = DomainRecord(
    "u-1", "a", 7, StoredDefinition("<domain/>", "a.xml", "sha256:1", {"arch": "x86_64"}),
    StoredDefinition("<domain>ä</domain>"),
    Attempts(RetryState((1.5, 2.0), 2, 9.0, "StartFailed", "no luck"), RetryState((1.0,), 1),
           RetryState((), 0, 3.0), RetryState((4.0,), 1, 5.0, "QmpTimeout", "no answer"),
           down_reason="PoweredOff", rolled_back_generation=6, rolled_back_because="x",
           recreating_generation=7, replaced_pid=41, needs_restart_generation=3,
           observed_generation=5, last_settled_state="running", restarts=4,
           last_exit=Exit(ExitKind.CRASHED, 3.5, 1, None, "m", 1.8e9),
           exits={"crashed": 3, "oom-killed": 1}),
    BOOT, {"disk:vda": Place(1, 0), "interface:m": Place(0, 3, 2, True)},
    prune_held=True, hold=Hold("why", "who", 1e9), last_healthy="7:8", history=({"generation": 1},))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "domains")


def test_a_record_comes_back_as_it_was(store):
    assert all(getattr(FULL, f.name) != f.default for f in fields(DomainRecord)
               if f.name != "accepted_at")  # nothing is left out here
    store.save(FULL)
    assert store.all(BOOT) == [FULL]
    store.save(replace(FULL, generation=8))
    assert [m.generation for m in store.all(BOOT)] == [8]


def test_an_empty_record_comes_back_as_it_was(store):
    store.save(DomainRecord("u", "a", boot_id=BOOT))
    assert store.all(BOOT) == [DomainRecord("u", "a", boot_id=BOOT)]


NUMBERS = some.floats(allow_nan=False, allow_infinity=False)
RETRIES = some.builds(RetryState, some.lists(NUMBERS, max_size=3).map(tuple), some.integers(0, 9),
                      NUMBERS, some.text(max_size=5), some.text(max_size=5))


@given(some.builds(
    DomainRecord, uuid=some.just("u"), name=some.text(max_size=5), generation=some.integers(0),
    definition=some.none() | some.builds(StoredDefinition, some.text()),
    last_known_good=some.none() | some.builds(StoredDefinition, some.text()),
    attempts=some.builds(Attempts, RETRIES, RETRIES, RETRIES, RETRIES,
                         last_exit=some.none() | some.builds(Exit, some.sampled_from(ExitKind),
                                                             NUMBERS),
                         exits=some.dictionaries(some.sampled_from(list(map(str, ExitKind))),
                                                 some.integers(1, 9))),
    boot_id=some.just(BOOT), accepted_at=NUMBERS,
    places=some.dictionaries(some.text(max_size=4), some.builds(Place)),
    hold=some.none() | some.builds(Hold, some.text(max_size=3), some.text(max_size=3),
                                   some.none() | NUMBERS)))
def test_any_record_comes_back_as_it_was(tmp_path_factory, record):
    store = Store(tmp_path_factory.getbasetemp() / "records")
    store.save(record)
    assert store.all(BOOT) == [record]


@pytest.mark.parametrize("garbage", [
    b"", b"{", b"[]", b"null", b'"x"', b"{}", b"\xff", json.dumps({"uuid": "u"}).encode()])
def test_a_record_that_cannot_be_read_holds_its_domain_and_the_others_come(store, tmp_path,
                                                                          garbage):
    store.save(FULL)
    bad = tmp_path / "domains" / "bad.json"
    bad.write_bytes(garbage)
    damaged, full = store.all(BOOT)
    assert full == FULL
    assert (damaged.uuid, damaged.hold.by) == ("bad", "the reconciler")
    assert bad.read_bytes() == garbage  # reading changes nothing
    said, = store.put_aside()
    assert str(bad) in said
    assert bad.with_name("bad.json.unreadable").read_bytes() == garbage
    assert store.put_aside() == []
    assert store.all(BOOT) == [FULL]


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"null", b'{"until": 1}'])
def test_a_hold_of_all_that_cannot_be_read_holds_all(tmp_path, garbage):
    (tmp_path / "hold.json").write_bytes(garbage)
    store = Store(tmp_path / "domains")
    assert "could not be read" in store.hold.reason
    assert store.hold.until is None
    assert (tmp_path / "hold.json").exists()
    assert "hold.json" in store.put_aside()[0]
    assert (tmp_path / "hold.json.unreadable").read_bytes() == garbage
    store.keep_hold(None)
    assert Store(tmp_path / "domains").hold is None


def test_the_hold_of_all_of_a_newer_version_is_understood(tmp_path):
    (tmp_path / "hold.json").write_text(
        '{"reason": "r", "by": "b", "until": 5.0, "scope": "x"}')
    assert Store(tmp_path / "domains").hold == Hold("r", "b", 5.0)


@pytest.mark.parametrize("key", ["ledger", "places", "hold", "definition"])
@pytest.mark.parametrize("value", [1, "x", [1], {"x": 1}])
def test_a_record_with_an_invalid_part_holds_its_domain(store, tmp_path, key, value):
    store.save(FULL)
    file = tmp_path / "domains" / "u-1.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    found, = store.all(BOOT)
    assert (found.uuid, found.definition, found.hold.by) == ("u-1", None, "the reconciler")


def test_a_write_that_a_crash_interrupted_is_skipped(store, tmp_path):
    store.save(FULL)
    (tmp_path / "domains" / ".u-1.json.new").write_text("{")
    assert store.all(BOOT) == [FULL]


def test_after_a_reboot_times_on_the_old_clock_are_dropped(store):
    store.save(FULL)
    record, = store.all("boot-2")
    attempts = record.attempts
    assert record.boot_id == "boot-2"
    assert {attempts.failures, attempts.crashes, attempts.drift, attempts.silence} == {
        RetryState()}
    assert attempts.last_exit.kind is ExitKind.REBOOT
    # What has nothing to do with the clock stays.
    assert replace(record, attempts=FULL.attempts, boot_id=BOOT,
                   last_healthy=FULL.last_healthy) == FULL
    assert record.last_healthy == ""  # a process id means another process now
    assert (attempts.restarts, attempts.rolled_back_generation, attempts.observed_generation,
            attempts.down_reason, attempts.exits) == (4, 6, 5, "PoweredOff", FULL.attempts.exits)


def test_a_record_from_before_exits_were_counted_by_kind_still_comes(store, tmp_path):
    store.save(FULL)
    file = tmp_path / "domains" / "u-1.json"
    older = json.loads(file.read_text())
    del older["ledger"]["exits"], older["ledger"]["last_exit"]["wall"]
    file.write_text(json.dumps(older))
    record, = store.all(BOOT)
    assert record == replace(FULL, attempts=replace(
        FULL.attempts, exits={}, last_exit=replace(FULL.attempts.last_exit, wall=0.0)))


def test_a_record_that_counted_silence_among_the_failures_still_comes(store, tmp_path):
    store.save(FULL)
    file = tmp_path / "domains" / "u-1.json"
    older = json.loads(file.read_text())
    older["ledger"]["failures"] = older.pop("silence")
    file.write_text(json.dumps(older))
    record, = store.all(BOOT)
    assert record == replace(FULL, attempts=replace(FULL.attempts, failures=RetryState()))


@pytest.mark.parametrize("garbage", [1, "killed", ["killed"]])
def test_a_record_with_invalid_counts_holds_its_domain(store, tmp_path, garbage):
    store.save(FULL)
    file = tmp_path / "domains" / "u-1.json"
    value = json.loads(file.read_text())
    value["ledger"]["exits"] = garbage
    file.write_text(json.dumps(value))
    assert [r.hold.by for r in store.all(BOOT)] == ["the reconciler"]


def test_a_removed_record_is_gone_and_a_second_removal_does_nothing(store):
    store.save(FULL)
    store.remove("u-1")
    store.remove("u-1")
    assert store.all(BOOT) == []
