"""apply: exactly what a plan says, or nothing."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def file(idle):
    return idle.path / "plan.json"


def test_a_file_that_is_not_a_plan_is_refused(idle, file):
    for text, said, code in ((None, "No such file", 2), ("{", "not JSON", 2),
                             ("[]", "not a plan file", 1), ("{}", "plan", 1),
                             ('{"kind": "Plan"}', "plan", 1)):
        if text is not None:
            file.write_text(text)
        done = idle.verb("apply", "--plan", str(file))
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr


def test_a_plan_with_an_invalid_file_is_not_kept(idle, file):
    idle.put("a.xml", b"<domain>")
    done = idle.verb("plan", "--out", str(file))
    assert done.returncode == 2
    assert "was not written" in done.stderr
    assert not file.exists()


def test_without_a_reconciler_files_are_written_and_commands_cannot_be_given(idle, file):
    other = idle.path / "other"
    other.mkdir()
    idle.drop("gone", "stopped")
    idle.drop("a", "stopped", inner="<r:prune policy='keep'/>")
    idle.file("a").rename(other / "a.xml")
    assert idle.verb("plan", "--dir", str(other), "--out", str(file)).returncode == 0
    done = idle.verb("apply", "--plan", str(file))
    assert done.returncode == 0, done.stderr
    assert "takes effect when it runs" in done.stderr
    assert sorted(p.name for p in (idle.path / "domains").iterdir()) == ["a.xml"]
    assert idle.file("a").read_bytes() == (other / "a.xml").read_bytes()
    idle.verb("plan", "--out", str(file))
    done = idle.verb("apply", "--plan", str(file))
    assert (done.returncode, done.stdout) == (
        0, "nothing in this plan needs a confirmation; the reconciler does the rest by itself\n")


def test_a_plan_that_was_changed_by_hand_is_refused(idle, file):
    idle.drop("a", "stopped")
    other = idle.path / "other"
    other.mkdir()
    idle.verb("plan", "--dir", str(other), "--out", str(file))
    value = json.loads(file.read_bytes())
    assert value["remove"] == ["a.xml"]
    file.write_text(json.dumps({**value, "remove": ["../config.yaml"]}))
    assert idle.verb("apply", "--plan", str(file)).returncode == 1
    assert idle.config.exists()
    assert idle.file("a").exists()


def test_a_git_source_is_never_written_to(idle, file):
    other = idle.path / "other"
    other.mkdir()
    idle.verb("plan", "--dir", str(other), "--out", str(file))
    idle.env["RECONCILER_SOURCE__KIND"] = "git"
    idle.env["RECONCILER_SOURCE__URL"] = "file:///nonexistent"
    done = idle.verb("apply", "--plan", str(file))
    assert done.returncode == 1
    assert "merge the change" in done.stderr
    assert idle.verb("plan", "--ref", "main").returncode == 2
