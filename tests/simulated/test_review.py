"""A change is planned from its branch, carried out as planned, and refused once the world moved."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess

import pytest

from reconciler.cli.client import ask
from reconciler.errors import UsageError
from reconciler.report.requests import Request

WHO = ("-c", "user.name=a", "-c", "user.email=a@example.org")
MANUAL = "<r:update policy='manual'/>"


def git(path, *words):
    subprocess.run(["git", *WHO, "-C", str(path), *words], check=True, capture_output=True)


def branch(site, change):
    """A branch of the repository that the watched directory is, made elsewhere."""
    git(site.path / "domains", "init", "-q", "-b", "main")
    git(site.path / "domains", "add", "-A")
    git(site.path / "domains", "commit", "-q", "-m", "as it is")
    clone = site.path / "clone"
    git(site.path, "clone", "-q", str(site.path / "domains"), str(clone))
    change(clone)
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "change")
    git(clone, "push", "-q", "origin", "HEAD:change")


def grow(path, name="a"):
    file = path / f"{name}.xml"
    file.write_bytes(file.read_bytes().replace(b"'MiB'>128", b"'MiB'>256"))


def test_a_branch_is_planned_and_applied(site):
    for name in "abc":
        site.drop(name)
    pids = {name: site.settled("running", name)["observed"]["pid"] for name in "abc"}

    def change(clone):
        grow(clone)
        (clone / "b.xml").unlink()
        new = (clone / "c.xml").read_bytes().replace(b">c<", b">d<").replace(b"c.img", b"d.img")
        (clone / "d.xml").write_bytes(new)

    branch(site, change)
    site.disk("d")
    plan = site.path / "plan.json"
    done = site.verb("plan", "--ref", "change", "--out", str(plan))
    assert done.returncode == 1, done.stderr
    assert done.stdout.endswith("1 to start, 1 to recreate (down about 1 s), 1 to destroy, 1 "
                                "unchanged\n")
    assert site.verb("plan").returncode == 0
    assert {name: site.processes(name) for name in "abc"} == {n: [p] for n, p in pids.items()}
    applied = site.verb("apply", "--plan", str(plan))
    assert applied.returncode == 0, applied.stderr
    assert site.settled("running")["observed"]["memoryBytes"] == 256 << 20
    assert site.settled("running", "c")["observed"]["pid"] == pids["c"]
    site.settled("running", "d")
    site.gone("b")
    # The same plan again: all of it has moved.
    again = site.verb("apply", "--plan", str(plan))
    assert again.returncode == 1
    for said in ("a.xml: changed", "b: gone", "d: new",
                 "a: changed: generation, definition, process"):
        assert said in again.stderr


def test_a_plan_is_refused_once_the_world_has_moved(site):
    site.drop("a")
    site.drop("b")
    pid = site.settled("running")["observed"]["pid"]
    other = site.settled("running", "b")["observed"]["pid"]
    branch(site, grow)
    plan = site.path / "plan.json"
    site.verb("plan", "--ref", "change", "--out", str(plan))
    os.kill(other, signal.SIGKILL)
    site.domain(lambda d: d["observed"]["pid"] not in (None, other), "b")
    refused = site.verb("apply", "--plan", str(plan))
    assert refused.returncode == 1
    assert "b: changed: process" in refused.stderr
    site.settled("running", "b")
    site.verb("plan", "--ref", "change", "--out", str(plan))
    clone = site.path / "clone"
    grow(clone, "b")
    git(clone, "commit", "-q", "-a", "-m", "more")
    git(clone, "push", "-q", "origin", "HEAD:change")
    refused = site.verb("apply", "--plan", str(plan))
    assert refused.returncode == 1
    assert "b.xml of the target: changed" in refused.stderr
    assert site.settled("running")["observed"]["pid"] == pid


def test_a_file_that_came_meanwhile_is_never_removed(site):
    site.drop("a")
    site.settled("running")
    other = site.path / "other"
    shutil.copytree(site.path / "domains", other)
    grow(other)
    plan = site.path / "plan.json"
    site.verb("plan", "--dir", str(other), "--out", str(plan))
    site.drop("z", "stopped")
    refused = site.verb("apply", "--plan", str(plan))
    assert refused.returncode == 1
    assert "z.xml: new" in refused.stderr
    assert site.file("z").exists()


def test_a_plan_of_the_source_carries_out_what_waits_for_a_person(site):
    for name in "abcde":
        site.drop(name, inner=MANUAL)
        site.settled("running", name)
    pid = site.processes("d")[0]
    for name in "abc":
        site.file(name).unlink()
    site.drop("d", memory=256, inner=MANUAL)
    site.domain(lambda d: d["pending"], "d")
    site.until(lambda v: v["approvals"])
    plan = site.path / "plan.json"
    done = site.verb("plan", "--out", str(plan))
    assert done.returncode == 1
    assert done.stdout.endswith("1 to recreate (down about 1 s), 3 to destroy, 1 unchanged; 4 of "
                                "them wait\n")
    assert site.processes("d") == [pid]
    assert all(site.processes(name) for name in "abc")
    value = json.loads(plan.read_bytes())
    assert [entry["domain"] for entry in value["restart"]] == ["d"]
    assert [entry["domains"] for entry in value["approve"]] == [["a", "b", "c"]]
    applied = site.verb("apply", "--plan", str(plan))
    assert applied.returncode == 0, applied.stderr
    assert site.settled("running", "d")["observed"]["memoryBytes"] == 256 << 20
    for name in "abc":
        site.gone(name)
    assert site.processes("e")
    assert site.events("prune.approved")


def test_a_restart_is_refused_where_the_definition_is_another_one(site):
    site.drop("a")
    pid = site.settled("running")["observed"]["pid"]
    with pytest.raises(UsageError, match="changed since the plan was made"):
        ask(site.settings, Request.RESTART, "a", query={"generation": "7"})
    assert site.settled("running")["observed"]["pid"] == pid
