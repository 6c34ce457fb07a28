"""The journal: numbered, durable, rotated, folded, and harmless when the disk is full."""

from __future__ import annotations

import json
import os
import resource
from contextlib import contextmanager

import pytest

from reconciler.report.events import KEPT, Journal, timestamp


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


@contextmanager
def journal(path, **more):
    shown = []
    found = Journal(path, shown.append, **more)
    found.shown = shown
    try:
        yield found
    finally:
        found.close()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_a_line_of_json_and_goes_to_the_log_too(path):
    with journal(path) as it:
        it.write("domain.started", domain="a", pid=7, cause="file", error="", paused=None)
        found, = lines(path)
        assert it.shown == [found]
    assert list(found)[:4] == ["time", "seq", "event", "severity"]
    assert {k: v for k, v in found.items() if k != "time"} == {
        "seq": 1, "event": "domain.started", "severity": "info", "domain": "a", "pid": 7,
        "cause": "file"}  # what is empty is left out
    assert path.stat().st_mode & 0o777 == 0o600


def test_numbers_go_on_across_a_restart(path):
    for _ in range(3):
        with journal(path) as it:
            it.write("a")
            it.write("b")
    assert [e["seq"] for e in lines(path)] == [1, 2, 3, 4, 5, 6]


def test_numbers_go_on_behind_half_a_line_of_a_crash(path):
    with journal(path) as it:
        it.write("a")
        it.write("b", text="x" * 10_000)
    with path.open("a") as file:
        file.write('{"time": "2026", "seq": 3, "ev')
    with journal(path) as it:
        it.write("c")
    # The half line stays alone: the next event begins a line of its own.
    last = json.loads(path.read_text().splitlines()[-1])
    assert (last["event"], last["seq"]) == ("c", 3)


@pytest.mark.parametrize("garbage", [
    b"", b"\n\n", b"\xff\xfe\n", b"[]\n1\nnull\n", b'{"seq": "x"}\n'])
def test_an_unreadable_journal_is_started_again(path, garbage):
    path.write_bytes(garbage)
    with journal(path) as it:
        it.write("a")
        assert it.shown[0]["seq"] == 1


def test_numbers_go_on_across_a_rotation_and_so_many_are_kept(path):
    with journal(path, rotate_at=300) as it:
        for _ in range(40):
            it.write("domain.started", domain="a")
        sequence = it.shown[-1]["seq"]
    assert sequence == 40
    kept = sorted(os.listdir(path.parent))
    assert kept == ["events.jsonl", *(f"events.jsonl.{n}" for n in range(1, KEPT + 1)),
                        "events.seq"]
    files = [path, *(path.with_suffix(f".jsonl.{n}") for n in range(1, KEPT + 1))]
    numbers = [e["seq"] for file in reversed(files) for e in lines(file)]
    assert numbers == list(range(numbers[0], 41)[:len(numbers)])
    assert max(file.stat().st_size for file in files) < 300 + 200


def test_numbers_go_on_after_a_restart_just_behind_a_rotation(path):
    with journal(path, rotate_at=10) as it:
        it.write("a")
    assert path.read_text() == ""
    with journal(path) as it:
        it.write("b")
        assert it.shown[0]["seq"] == 2


def test_a_rotation_that_fails_loses_no_event(path):
    for number in (2, 3):
        (path.parent / f"events.jsonl.{number}").mkdir()
        (path.parent / f"events.jsonl.{number}" / "x").touch()
    with journal(path, rotate_at=10) as it:
        it.write("a")
        it.write("b")
        assert it.full
    assert [e["event"] for e in lines(path)] == ["a", "b"]


def test_a_repeated_warning_is_logged_at_growing_intervals(path):
    with journal(path) as it:
        for attempt in range(1, 21):
            it.write("action.failed", severity="error", domain="a", error="no", attempt=attempt,
                     durationMs=attempt)
    assert [(e.get("count"), e["attempt"]) for e in lines(path)] == [
        (None, 1), (2, 2), (4, 4), (8, 8), (16, 16)]
    assert [e["seq"] for e in lines(path)] == [1, 2, 3, 4, 5]


def test_another_message_another_domain_or_a_normal_event_ends_a_series(path):
    with journal(path) as it:
        for _ in range(3):
            it.write("action.failed", severity="error", domain="a", error="no")
            it.write("action.failed", severity="error", domain="b", error="no")
        it.write("action.failed", severity="error", domain="a", error="other")
        it.write("action.failed", severity="error", domain="a", error="no")
        it.write("domain.started", domain="a")
        it.write("action.failed", severity="error", domain="a", error="no")
    assert [(e["domain"], e.get("count")) for e in lines(path)] == [
        ("a", None), ("b", None), ("a", 2), ("b", 2), ("a", None), ("a", None), ("a", None),
        ("a", None)]


def test_normal_events_are_never_suppressed(path):
    with journal(path) as it:
        for _ in range(5):
            it.write("domain.started", domain="a")
    assert len(lines(path)) == 5


def test_pain_16_rule_10_an_intent_is_on_disk_before_its_act(path, monkeypatch):
    synced = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda handle: (
        synced.append(path.read_text().count("\n")), real(handle)))
    with journal(path) as it:
        it.write("domain.started", domain="a")
        assert synced == []
        it.write("domain.starting", domain="a", durable=True)
        assert synced == [2]  # with the whole line in it


@contextmanager
def full_disk(path):
    """No file of this process may grow beyond what the journal has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_stops_nothing_and_nothing_is_lost_when_there_is_room(path):
    with journal(path) as it:
        it.write("a")
        assert it.full == ""
        with full_disk(path):
            it.write("b", durable=True)
            it.write("c")
            assert it.full.startswith(str(path))
            assert [e["event"] for e in it.shown] == ["a", "b", "c"]
        it.write("d")
        assert it.full == ""
    assert [(e["seq"], e["event"]) for e in lines(path)] == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]


def test_no_number_is_given_out_twice_after_a_kill_on_a_full_disk(path):
    with journal(path) as it:
        it.write("a")
        with full_disk(path):
            for _ in range(5):
                it.write("b", severity="info")
            on_disk = path.read_bytes()  # all that a process that is killed now leaves
    path.write_bytes(on_disk)
    with journal(path) as again:
        again.write("c")
        assert again.shown[0]["seq"] == it.shown[-1]["seq"] + 1 == 7


def test_what_a_full_disk_did_not_take_is_written_by_a_retry(path):
    with journal(path) as it:
        it.write("a")
        with full_disk(path):
            it.write("b")
            it.retry()
            assert it.full
        it.retry()
        assert it.full == ""
        assert [e["event"] for e in lines(path)] == ["a", "b"]


def test_a_full_disk_at_shutdown_does_not_raise(path):
    with journal(path) as it:
        it.write("a")
        with full_disk(path):
            it.write("b")
            it.close()
    assert path.read_text().startswith(json.dumps(it.shown[0]) + "\n")


def test_times_are_utc_with_milliseconds():
    assert timestamp(0.5) == "1970-01-01T00:00:00.500Z"
    assert timestamp().endswith("Z")
    assert len(timestamp()) == len(timestamp(0))
