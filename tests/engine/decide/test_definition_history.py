"""Which definitions were applied to a domain, one entry for each, in their order."""

from __future__ import annotations

from dataclasses import replace

from reconciler.engine.decide.definition_history import Entry, applied, digest
from reconciler.engine.decide.state import StoredDefinition
from tests.engine.decide.states import NEW, OLD

ONE = Entry(1, digest(OLD.data), "main@1", "a.xml", "t1", "t1", "InSync")
VALUE = {"number": 1, "hash": digest(OLD.data), "revision": "main@1", "file": "a.xml",
         "firstApplied": "t1", "lastApplied": "t1", "result": "InSync", "count": 1}


def test_the_first_definition_has_the_number_1():
    assert applied((), OLD, "InSync", "t1", 20) == (VALUE,)


def test_an_entry_is_what_its_record_says():
    assert ONE.value == VALUE
    other = replace(ONE, number=3, last="t2", result="RolledBack", count=2)
    assert Entry.of(other.value) == other


def test_another_definition_is_another_entry():
    assert applied((VALUE,), NEW, "RolledBack", "t2", 20) == (VALUE, Entry(
        2, digest(NEW.data), "main@2", "a.xml", "t2", "t2", "RolledBack").value)


def test_a_definition_that_is_applied_again_is_counted_with_its_newest_result():
    again = StoredDefinition(OLD.text, "moved.xml", "main@3")
    before = Entry(7, "sha256:x", "main@0", "a.xml", "t0", "t0", "InSync").value
    assert applied((before, VALUE), again, "CrashLoop", "t2", 1) == (before, Entry(
        1, digest(OLD.data), "main@3", "moved.xml", "t1", "t2", "CrashLoop", 2).value)


def test_going_back_to_an_older_definition_is_an_entry_of_its_own():
    history = applied(applied((VALUE,), NEW, "InSync", "t2", 20), OLD, "InSync", "t3", 20)
    assert [(e["number"], e["hash"]) for e in history] == [
        (1, digest(OLD.data)), (2, digest(NEW.data)), (3, digest(OLD.data))]


def test_of_more_entries_than_are_kept_the_oldest_go_and_numbers_go_on():
    history = (VALUE,)
    for number in range(5):
        history = applied(history, StoredDefinition(str(number)), "InSync", "t", 3)
    assert [e["number"] for e in history] == [4, 5, 6]


def test_a_definition_is_named_by_its_bytes():
    assert digest(b"<domain/>") == "sha256:060eb14b1cfb"
    odd = StoredDefinition(b"\xff".decode(errors="surrogateescape"))
    assert odd.data == b"\xff"
