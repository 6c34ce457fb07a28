"""What was decided is right when it is done: holds, locks, dependencies; reads change nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from reconciler.cli.client import ask
from reconciler.report.requests import Request
from tests.simulated.site import LIMIT, REAL, Site, condition, ready, reason
from tests.simulated.test_gitops import Deployment, text
from tests.sources.gits import git

pytestmark = pytest.mark.skipif(bool(REAL), reason="faults are the simulator's")
RNG = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
NEVER = "<r:restart policy='never'/>"
SLOW = 3.0  # seconds that a start takes
SLOW_STARTS = {f"w{number}": {"start_delay": SLOW} for number in range(30)}


@pytest.fixture
def make(tmp_path):
    made = []

    def site(faults, cls=Site, **values):
        found = cls(tmp_path, env={"STRATOVIRT_SIMULATOR": json.dumps(faults)}, **values) if (
            cls is Site) else cls(tmp_path, **values)
        made.append(found)
        found.start()
        return found

    yield site
    for one in made:
        one.close()


def until_event(site, event, name, count=1):
    """Wait for the journal, which is written before the act."""
    deadline = time.monotonic() + LIMIT
    journal = site.path / "state" / "events.jsonl"
    while not journal.exists() or len(
            [e for e in site.events(event) if e.get("domain") == name]) < count:
        assert time.monotonic() < deadline, site.log()
        time.sleep(0.01)


def events_of(site, name):
    return [e["event"] for e in site.events() if e.get("domain") == name]


def queue_up(site):
    """Domains whose starts take the only slot in turn, for a tenth of a second each."""
    for name in SLOW_STARTS:
        site.drop(name)
    until_event(site, "domain.starting", next(iter(SLOW_STARTS)))


# Holds


@pytest.mark.parametrize("words", [["b"], ["--all"]], ids=["one", "all"])
def test_a_hold_ends_the_wait_for_a_slot(make, words):
    site = make(SLOW_STARTS, reconcile=", concurrency: 1")
    queue_up(site)
    site.drop("b")
    site.domain(lambda d: reason(d) == "Starting", "b")
    assert site.verb("hold", *words, "--reason", "disk repair").returncode == 0
    found = site.domain(lambda d: condition(d, "Held"), "b")
    assert (reason(found), found["observed"]["state"]) == ("HoldRequested", "absent")
    assert site.verb("release", *words).returncode == 0
    until_event(site, "domain.started", "b")
    site.settled("running", "b")
    assert events_of(site, "b") == ["domain.accepted", "domain.held", "domain.released",
                                    "domain.starting", "domain.started"]


@pytest.mark.parametrize("words", [["b"], ["--all"]], ids=["one", "all"])
def test_a_hold_stops_a_start_that_is_being_prepared(make, words):
    """What the program supports is found out before the first start, which takes a while here."""
    site = make({"*": {"start_delay": SLOW, "features": ["virtio_rng"]}})
    site.drop("b", devices=RNG)
    site.domain(lambda d: reason(d) == "Starting", "b")
    assert site.verb("hold", *words, "--reason", "disk repair").returncode == 0
    found = site.domain(lambda d: condition(d, "Held"), "b")
    assert found["observed"]["state"] == "absent"
    assert site.processes("b") == []
    assert events_of(site, "b") == ["domain.accepted", "domain.held"]
    site.verb("release", *words)
    site.settled("running", "b")
    assert events_of(site, "b").count("domain.started") == 1


# Locks


def test_a_lock_that_is_held_for_a_moment_condemns_no_definition(make):
    site = make({})
    site.drop()
    site.settled("running")
    lock = site.settings.runtime / "vms" / "a" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", (
        "import fcntl, sys, time\n"
        f"file = open({str(lock)!r}, 'rb')\n"
        "print('waits', flush=True)\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "time.sleep(2)\n")], stdout=subprocess.PIPE)
    with holder.stdout as output:  # the kernel gives it the lock as soon as the VM ends
        assert output.readline() == b"waits\n"
    site.drop(memory=256)
    found = site.domain(lambda d: d["observed"].get("memoryBytes") == 256 << 20 and ready(d))
    assert holder.wait() == 0
    assert condition(found, "Stalled") is None
    assert site.events("domain.rolledback") == []
    assert [e.get("reason") for e in site.events("action.failed")][:1] == ["Conflict"]
    assert len(site.events("domain.started")) == 2
    assert len(site.processes()) == 1


# Dependencies


def test_a_dependency_that_ends_while_a_start_waits_is_waited_for(make):
    site = make(SLOW_STARTS, reconcile=", concurrency: 1")
    site.drop("a", inner=NEVER)
    pid = site.settled("running")["observed"]["pid"]
    queue_up(site)
    site.drop("b", inner="<r:depends-on domain='a'/>")
    site.domain(lambda d: reason(d) == "Starting", "b")
    os.kill(pid, signal.SIGKILL)
    found = site.domain(lambda d: reason(d) == "WaitingForDependency", "b")
    assert found["observed"]["state"] == "absent"
    assert events_of(site, "b") == ["domain.accepted"]
    site.verb("start", "a")
    site.settled("running", "b")
    assert events_of(site, "b") == ["domain.accepted", "domain.starting", "domain.started"]


def test_a_dependency_that_ends_while_a_start_is_prepared_is_waited_for(make):
    site = make({"*": {"features": ["virtio_rng"]}, "": {"start_delay": SLOW}})
    site.drop("a", inner=NEVER)
    pid = site.settled("running")["observed"]["pid"]
    site.drop("b", inner="<r:depends-on domain='a'/>", devices=RNG)
    site.domain(lambda d: reason(d) == "Starting", "b")
    os.kill(pid, signal.SIGKILL)
    site.domain(lambda d: reason(d) == "WaitingForDependency", "b")
    assert site.processes("b") == []
    assert events_of(site, "b") == ["domain.accepted"]


# Reads


def untouched(site):
    """Every file below state/ and run/ but the heartbeat: a write replaces it."""
    found = {}
    for top in (site.settings.state, site.settings.runtime):
        for path in top.rglob("*"):
            if path.name != "heartbeat.json":
                status = path.lstat()
                found[str(path)] = (status.st_ino, status.st_mtime_ns, status.st_size)
    return found


def test_plan_explain_and_status_change_nothing_and_ask_no_vm(make):
    site = make({})
    site.drop()
    site.drop("b", "stopped")
    site.settled("absent", "b")
    pid = site.settled("running")["observed"]["pid"]
    site.verb("sync", "--wait")
    site.until(lambda value: value["source"]["history"][-1]["result"] == "success")
    before = untouched(site)
    os.kill(pid, signal.SIGSTOP)  # a VM that is asked for something would not answer
    try:
        begun = time.monotonic()
        for _ in range(3):
            plans = ask(site.settings, Request.PLAN)
            explained = ask(site.settings, Request.EXPLAIN, "a")
            status = ask(site.settings, Request.STATUS)
        assert time.monotonic() - begun < 3.0
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [plan["steps"] for plan in plans["plans"]] == [[], []]
    assert explained["status"]["observed"]["state"] == "running"
    assert all(ready(d) for d in status["domains"])
    assert untouched(site) == before


def at_rest(site) -> dict:
    """The status once the looks that follow a start are over."""
    value = ask(site.settings, Request.STATUS)
    deadline = time.monotonic() + LIMIT
    while (later := ask(site.settings, Request.STATUS, query={
            "wait": str(value["sequence"]), "limit": "2"})) and (
            later["sequence"] != value["sequence"]):
        assert time.monotonic() < deadline
        value = later
    return later


def test_the_first_sync_with_nothing_changed_does_nothing(make):
    site = make({}, reconcile=", resync: 1h")
    for name in "abcde":
        site.drop(name)
    for name in "abcde":
        site.settled("running", name)
    site.until(lambda value: value["source"]["history"][-1]["result"] == "success")

    def records():
        return {name: seen for name, seen in untouched(site).items() if "/domains/" in name}

    before = at_rest(site)
    kept = records()
    assert site.verb("sync", "--wait").returncode == 0
    assert site.verb("sync", "--wait").returncode == 0
    after = ask(site.settings, Request.STATUS)
    assert records() == kept
    # `observed.at` would say that the VM was looked at.
    assert after["domains"] == before["domains"]


# Messages


def test_a_recreate_is_reported_once_though_the_reconciler_is_killed_in_it(make):
    site = make({"a": {"quit_delay": 2.0}})
    site.drop()
    site.settled("running")
    site.drop(memory=256)
    until_event(site, "domain.stopping", "a")
    site.kill()
    site.start()
    site.domain(lambda d: d["observed"].get("memoryBytes") == 256 << 20 and ready(d))
    assert len(site.events("domain.recreating")) == 1
    assert len(site.events("domain.started")) == 2


def test_a_symbolic_link_in_a_commit_has_one_message(make):
    site = make({}, Deployment)
    site.disk("a")
    site.push({"a": text()})
    os.symlink("a.xml", site.upstream.path / "domains" / "link.xml")
    site.push({})
    assert git(site.upstream.path, "ls-files", "-s", "domains/link.xml").startswith("120000")
    site.verb("sync", "--wait")
    shown = site.until(lambda value: value["source"]["invalid"])["source"]["invalid"]
    site.settled("running")
    site.kill(signal.SIGTERM)
    offline = json.loads(site.verb("plan", "-o", "json").stdout)["invalid"]
    assert [one["errors"] for one in shown] == [one["errors"] for one in offline]
    assert "a symbolic link, which is not followed" in shown[0]["errors"][0]
