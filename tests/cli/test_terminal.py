"""What people read of the exits of a domain."""

from __future__ import annotations

from reconciler.cli.terminal import exits


def test_people_read_the_counts_and_the_last_exit():
    end = {"at": "2026-01-02T03:04:05.678Z", "kind": "oom-killed", "code": None, "signal": 9,
           "message": "killed by the kernel (out of memory)"}
    value = {"total": 3, "inWindow": 1, "byKind": {"killed": 2, "oom-killed": 1}, "lastExit": end}
    assert exits(value) == [
        ("exits", "killed 2, oom-killed 1; restarts 3 (towards the crash-loop limit: 1)"),
        ("last exit", f"oom-killed at {end['at']}: {end['message']}")]
    assert exits({"total": 0, "inWindow": 0, "byKind": {}, "lastExit": None}) == []
    # From before exits were counted by kind, and their time kept.
    assert exits({**value, "byKind": {}, "lastExit": {**end, "at": None}}) == [
        ("last exit", f"oom-killed: {end['message']}")]
