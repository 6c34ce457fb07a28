"""Order across files: dependencies, cycles, turns of a rollout, memory."""

import json
import time
from datetime import datetime

import pytest

from tests.simulated.site import REAL, Site, condition, ready, reason

NEEDS = "<r:depends-on domain='{}'/>"


def order(site, *names):
    """Domains and events, in the order in which they were reported."""
    return [(e["domain"], e["event"].removeprefix("domain.")) for e in site.events(*names)]


def test_pain_14_what_others_depend_on_starts_before_and_stops_after(site):
    site.drop("web", inner=NEEDS.format("app"))
    site.drop("app", inner=NEEDS.format("db"))
    waiting = site.domain(lambda d: reason(d) == "WaitingForDependency", "app")
    assert "no domain has this name" in waiting["conditions"][0]["message"]
    assert waiting["dependsOn"] == [{"domain": "db", "condition": "started", "met": False}]
    site.drop("db")
    for name in ("web", "app", "db"):
        site.settled("running", name)
    assert order(site, "domain.starting", "domain.started") == [
        (name, what) for name in ("db", "app", "web") for what in ("starting", "started")]
    site.domain(lambda d: d["dependsOn"][0]["met"], "app")
    assert "depends on db (started): met" in site.verb("status", "app").stdout
    assert site.verb("hold", "--all").returncode == 0  # all three files come before any stop
    for name in ("db", "app", "web"):
        site.drop(name, "stopped", inner=NEEDS.format({"web": "app", "app": "db"}[name])
                  if name != "db" else "")
    for name in ("db", "app", "web"):
        site.domain(lambda d: d["desired"]["state"] == "stopped", name)
    assert site.verb("release", "--all").returncode == 0
    for name in ("web", "app", "db"):
        site.settled("absent", name)
    assert [d for d, _ in order(site, "domain.stopped")] == ["web", "app", "db"]


def test_files_that_go_together_stop_in_the_reverse_order_too(site):
    site.drop("db")
    site.drop("web", inner=NEEDS.format("db"))
    site.settled("running", "web")
    site.file("db").unlink()
    site.file("web").unlink()
    site.gone("db")
    site.gone("web")
    assert [d for d, _ in order(site, "domain.destroyed")] == ["web", "db"]


def test_a_dependency_alone_may_stop_without_those_that_depend_on_it(site):
    site.drop("db")
    site.drop("web", inner=NEEDS.format("db"))
    site.settled("running", "web")
    site.drop("db", "stopped")
    site.settled("absent", "db")
    assert site.settled("running", "web")


def test_a_cycle_is_refused_with_its_path_and_stops_nothing(site):
    site.drop("a")
    pid = site.settled("running")["observed"]["pid"]
    site.drop("b", inner=NEEDS.format("a"))
    site.settled("running", "b")
    site.drop("a", inner=NEEDS.format("b"))
    found = site.domain(lambda d: condition(d, "Valid")["status"] == "False")
    assert "a → b → a is a cycle" in condition(found, "Valid")["message"]
    assert site.processes() == [pid]
    site.drop("a")
    assert site.settled("running")["observed"]["pid"] == pid


@pytest.mark.skipif(bool(REAL), reason="how long a start takes is the simulator's to say")
def test_all_of_a_chain_comes_up_in_the_time_of_the_chain(tmp_path):
    """Two chains of three side by side: each link waits for its own only."""
    site = Site(tmp_path, reconcile=", concurrency: 8",
                env={"STRATOVIRT_SIMULATOR": '{"*": {"start_delay": 0.5}}'})
    try:
        for chain in "xyz":
            site.drop(f"{chain}1")
            site.drop(f"{chain}2", inner=NEEDS.format(f"{chain}1"))
            site.drop(f"{chain}3", inner=NEEDS.format(f"{chain}2"))
        site.start()
        for chain in "xyz":
            site.settled("running", f"{chain}3")
        begun = {e["domain"]: e["seq"] for e in site.events("domain.starting")}
        over = {e["domain"]: e["seq"] for e in site.events("domain.started")}
        for level in "123":  # all of a level are on their way at once
            names = [f"{chain}{level}" for chain in "xyz"]
            assert max(begun[n] for n in names) < min(over[n] for n in names)
    finally:
        site.close()


def test_only_so_many_are_recreated_at_once_and_a_broken_rollout_stops(tmp_path):
    site = Site(tmp_path, reconcile=", max_unavailable: 1, start_timeout: 2s",
                more="defaults: {update: auto}")
    site.start()
    try:
        names = ("a", "b", "c")
        for name in names:
            site.drop(name)
        for name in names:
            site.settled("running", name)
        for name in names:
            site.drop(name, memory=256)
        for name in names:
            site.domain(lambda d: ready(d) and d["observed"]["memoryBytes"] == 256 << 20, name)
        found = order(site, "domain.recreating", "domain.started")[3:]
        assert [what for _, what in found] == ["recreating", "started"] * 3
        assert all(one[0] == two[0] for one, two in zip(found[::2], found[1::2], strict=True))
    finally:
        site.close()


def test_pain_14_never_more_vms_than_memory(tmp_path):
    site = Site(tmp_path, more="admission: {total_memory: 300MiB}")
    site.start()
    try:
        site.drop("a")
        site.settled("running", "a")
        site.drop("b")
        site.settled("running", "b")
        site.drop("c")
        waiting = site.domain(lambda d: reason(d) == "WaitingForMemory", "c")
        assert "needs 128 MiB of memory, and 44 MiB of 300 MiB are free" in (
            waiting["conditions"][0]["message"])
        # A recreate that would not fit either leaves what runs as it is.
        pid = site.settled("running", "a")["observed"]["pid"]
        site.drop("a", memory=256)
        site.domain(lambda d: reason(d) == "WaitingForMemory", "a")
        assert site.processes("a") == [pid]
        site.drop("a")  # or it might be the one that gets the memory of b
        site.settled("running", "a")
        site.drop("b", "stopped")
        site.settled("absent", "b")
        site.domain(lambda d: ready(d) and d["observed"]["state"] == "running", "c")
        site.drop("a", memory=256)
        site.domain(lambda d: reason(d) == "WaitingForMemory", "a")
        assert site.processes("a") == [pid]
    finally:
        site.close()


def test_pain_14_many_at_once_are_promised_no_more_than_there_is(tmp_path):
    site = Site(tmp_path, more="admission: {total_memory: 640MiB}")
    try:
        for number in range(12):
            site.drop(f"vm{number}")
        site.start()
        value = site.until(lambda v: v["summary"]["running"] == 5 and len(v["domains"]) == 12
                           and all(ready(d) or reason(d) == "WaitingForMemory"
                                   for d in v["domains"]))
        assert value["summary"]["ready"] == 5
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:  # and it stays so
            assert sum(bool(site.processes(f"vm{n}")) for n in range(12)) == 5
    finally:
        site.close()


def test_pain_14_many_stop_side_by_side(tmp_path):
    site = Site(tmp_path, reconcile=", concurrency: 8",
                env={"STRATOVIRT_SIMULATOR": '{"*": {"quit_delay": 1}}'})
    try:
        names = [f"vm{number}" for number in range(8)]
        for name in names:
            site.drop(name)
        site.start()
        site.until(lambda v: v["summary"]["running"] == len(names))
        for name in names:
            site.drop(name, "stopped")
        site.until(lambda v: v["summary"]["running"] == 0 and v["summary"]["ready"] == len(names))
        found = [event for _, event in order(site, "domain.stopping", "domain.stopped")]
        assert found == ["stopping"] * len(names) + ["stopped"] * len(names)
    finally:
        site.close()


@pytest.mark.skipif(bool(REAL), reason="how long a start takes is the simulator's to say")
def test_rule_8_vms_that_never_come_up_delay_no_other_start(tmp_path):
    site = Site(tmp_path, reconcile=", concurrency: 2, start_timeout: 60s",
                env={"STRATOVIRT_SIMULATOR": json.dumps(
                    {name: {"never_greets": True} for name in ("slow1", "slow2")})})
    try:
        site.start()
        for name in ("slow1", "slow2"):
            site.drop(name)
            site.waits(lambda name=name: site.processes(name))
        with site.quickly():
            site.drop("ok")
            site.settled("running", "ok")
    finally:
        site.close()


@pytest.mark.skipif(bool(REAL), reason="how long a start takes is the simulator's to say")
def test_pain_14_only_so_many_start_at_once(tmp_path):
    """A start has its slot for 0.1 s after the process was made, or until the VM is up."""
    site = Site(tmp_path, reconcile=", concurrency: 2",
                env={"STRATOVIRT_SIMULATOR": '{"*": {"start_delay": 0.2}}'})
    try:
        for number in range(8):
            site.drop(f"vm{number}")
        site.start()
        site.until(lambda v: v["summary"]["running"] == v["summary"]["ready"] == 8)
        begun = [datetime.fromisoformat(event["time"]).timestamp()
                 for event in site.events("domain.starting")]
        assert len(begun) == 8
        assert all(third - first > 0.09 for first, third in zip(begun, begun[2:], strict=False))
    finally:
        site.close()
