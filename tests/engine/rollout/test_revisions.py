"""What became of each revision."""

import pytest

from reconciler.engine.rollout.revisions import KEPT, Outcome, Result, Revisions, judged

PENDING = Outcome("main@sha1:1", "2026-11-25T00:00:00Z")
FAILED = Outcome("main@sha1:1", "2026-11-25T00:00:00Z", Result.FAILURE, "not ready: a")
DONE = Outcome("main@sha1:1", "2026-11-25T00:00:00Z", Result.SUCCESS, "2 domains are ready")


@pytest.mark.parametrize(("outcome", "waiting", "failing", "result"), [
    (PENDING, ["a"], [], "pending"), (PENDING, ["a"], ["b"], "pending"),
    (PENDING, [], ["b", "a"], "failure"), (PENDING, [], [], "success"),
    (FAILED, ["a"], [], "failure"), (FAILED, [], ["a"], "failure"), (FAILED, [], [], "success"),
    (DONE, ["a"], [], "success"), (DONE, [], ["a"], "success")])
def test_the_result_is_announced_once_and_a_corrected_failure_once_more(outcome, waiting, failing,
                                                                        result):
    assert judged(outcome, waiting, failing, 2).result == result


def test_a_failure_names_the_domains_that_are_not_ready():
    assert judged(PENDING, [], ["b", "a"], 2).message == "not ready: a, b"
    assert judged(PENDING, [], [], 2) == DONE


@pytest.fixture
def announced():
    return []


def test_each_change_is_announced_and_kept(tmp_path, announced):
    found = Revisions(tmp_path, announced.append)
    found.judge([], [], 0)
    assert announced == []
    found.accept("main@sha1:1")
    found.accept("main@sha1:1")
    found.judge(["a"], [], 1)
    found.judge([], ["a"], 1)
    found.judge([], ["a"], 1)
    found.judge([], [], 1)
    found.judge([], ["a"], 1)
    assert [o.result for o in announced] == ["pending", "failure", "success"]
    assert not found.open
    found.save()
    again = Revisions(tmp_path, announced.append)
    again.accept("main@sha1:1")  # after a restart nothing is announced again
    assert again.value == found.value
    assert len(announced) == 3


def test_what_was_not_announced_before_the_end_is_announced_at_the_next_start(tmp_path, announced):
    found = Revisions(tmp_path, announced.append)
    found.accept("r1")
    found.note_announced(announced[-1])
    found.judge([], [], 1)
    found.save()
    again = []
    Revisions(tmp_path, again.append).announce_again()
    assert [o.result for o in again] == ["success"]
    found.note_announced(announced[-1])
    Revisions(tmp_path, again.append).announce_again()
    assert len(again) == 1


def test_each_revision_that_was_not_announced_is_announced_at_the_next_start(tmp_path, announced):
    found = Revisions(tmp_path, announced.append)
    for revision in ("r1", "r2", "r3"):
        found.accept(revision)
        found.judge([], [], 1)
    found.save()
    again = []
    Revisions(tmp_path, again.append).announce_again()
    assert [o.revision for o in again] == ["r3"]  # post_sync is new: the past stays the past
    found.note_announced(found.newest)
    found.accept("r4")
    found.judge([], [], 1)
    found.accept("r5")
    found.save()
    again = []
    Revisions(tmp_path, again.append).announce_again()
    assert [(o.revision, o.result) for o in again] == [("r4", "success"), ("r5", "pending")]


def test_only_so_many_are_kept_and_an_unreadable_file_counts_as_none(tmp_path, announced):
    found = Revisions(tmp_path, announced.append)
    for number in range(KEPT + 5):
        found.accept(f"r{number}")
    assert [v["revision"] for v in found.value] == [f"r{n}" for n in range(5, KEPT + 5)]
    found.save()
    assert Revisions(tmp_path, announced.append).newest.revision == f"r{KEPT + 4}"
    for broken in ("", "{", "[1]", '[{"revision": 1}]', "{}"):
        (tmp_path / "revisions.json").write_text(broken)
        assert Revisions(tmp_path, announced.append).newest is None


def test_a_revision_that_is_superseded_is_announced_as_such(tmp_path, announced):
    found = Revisions(tmp_path, announced.append)
    found.accept("r1")
    found.accept("r2")
    found.judge([], [], 1)
    found.accept("r3")
    assert [(o.revision, o.result) for o in announced] == [
        ("r1", "pending"), ("r1", "superseded"), ("r2", "pending"), ("r2", "success"),
        ("r3", "pending")]
