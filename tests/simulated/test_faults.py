"""VMs that misbehave: each fault is reported, delays no other domain and loses no state."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from reconciler.stratovirt import process
from tests.simulated.site import REAL, Site, condition, ready, reason

pytestmark = pytest.mark.skipif(bool(REAL), reason="faults are the simulator's")
QUICK = ", start_timeout: 1s"


class Faulty(Site):
    """Its simulators read their faults again at each start."""

    def __init__(self, path, **values):
        self.table = path / "faults.json"
        super().__init__(path, env={"STRATOVIRT_SIMULATOR": f"@{self.table}"}, **values)

    def faults(self, **by_name):
        fresh = self.path / "faults.new"
        fresh.write_text(json.dumps(by_name))
        fresh.replace(self.table)

    def busy(self):
        """Processor seconds that the reconciler has used."""
        with open(f"/proc/{self.reconciler.pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def healthy(self, name="z"):
        """Another domain, dropped now, is up at once (rule 8)."""
        with self.quickly():
            self.drop(name)
            self.settled("running", name)


@pytest.fixture
def make(tmp_path):
    made = []

    def site(start=True, **values):
        found = Faulty(tmp_path, **values)
        made.append(found)
        if start:
            found.start()
        return found

    yield site
    for found in made:
        found.close()


def launched(site, name="a"):
    """Its process exists, though no event reports it yet."""
    site.waits(lambda: site.processes(name), f"a process of {name}")
    return site.processes(name)[0]


def comes_up_with(site, memory):
    return site.domain(lambda d: ready(d) and d["observed"]["state"] == "running"
                       and d["observed"]["memoryBytes"] == memory << 20)


# Starts


def test_pain_10_a_start_that_fails_is_stalled_with_stratovirts_own_reason(make):
    site = make()
    site.faults(a={"fail": "Failed to open the moon\nNo such moon"})
    site.drop()
    found = site.domain(lambda d: condition(d, "Stalled"))
    stalled = condition(found, "Stalled")
    assert stalled["reason"] == "StartFailed"
    assert stalled["message"].startswith("Failed to open the moon; No such moon;")
    assert "backtrace" not in stalled["message"].lower()
    assert found["attempt"] == 3
    assert reason(found) == "StartFailed"
    assert not ready(found)
    site.healthy()
    site.faults()
    assert site.settled("running")["attempt"] == 0


def test_pain_8_a_start_that_fails_once_is_tried_again_by_itself(make):
    site = make()
    site.faults(a={"fail": "no luck", "fail_starts": 1, "counter": str(site.path / "count")})
    site.drop()
    site.settled("running")
    failed, = site.events("action.failed")
    assert (failed["reason"], failed["error"], failed["attempt"]) == ("StartFailed", "no luck", 1)
    assert not site.events("domain.exited")


def test_pain_11_a_newer_definition_ends_the_wait_for_a_slow_start(make):
    site = make()
    site.faults(a={"start_delay": 30})
    site.drop()
    launched(site)
    site.faults()
    with site.quickly():
        site.drop(memory=256)
        found = comes_up_with(site, 256)
    assert found["restarts"]["total"] == 0


def test_pain_11_a_removal_ends_the_wait_for_a_slow_start(make):
    site = make()
    site.faults(a={"start_delay": 30})
    site.drop()
    launched(site)
    # Not the 30 s of the start: a simulator that waits so hears SIGKILL only, after 5 s.
    with site.quickly(8):
        site.file().unlink()
        site.gone()
    assert site.processes() == []


def test_a_comment_during_a_slow_start_changes_nothing(make):
    site = make()
    site.faults(a={"start_delay": 1})
    site.drop()
    pid = launched(site)
    site.put("a.xml", site.file().read_bytes() + b"<!-- more -->")
    assert site.settled("running")["observed"]["pid"] == pid
    assert len(site.events("domain.started")) == 1
    # It counts as one that came up: what fails next is rolled back to it.
    site.faults(a={"fail": "no luck"})
    site.drop(memory=256)
    site.until(lambda _: site.events("domain.rolledback"))


def test_a_start_that_outlives_the_reconciler_counts_as_come_up(make):
    site = make()
    site.faults(a={"start_delay": 1})
    site.drop()
    pid = launched(site)
    site.kill()
    site.start()
    assert site.settled("running")["observed"]["pid"] == pid
    site.faults(a={"fail": "no luck", "fail_starts": 1, "counter": str(site.path / "count")})
    site.drop(memory=256)
    site.until(lambda _: site.events("domain.rolledback"))
    found = site.domain(lambda d: d["observed"]["state"] == "running"
                        and condition(d, "Stalled"))
    assert found["observed"]["memoryBytes"] == 128 << 20


def test_pain_10_a_vm_without_a_qmp_greeting_is_ended_and_reported(make):
    site = make(reconcile=QUICK)
    site.faults(a={"never_greets": True})
    site.drop()
    site.healthy()
    found = site.domain(lambda d: d["attempt"] >= 1)
    assert "1 s" in found["lastAction"]["error"]
    site.faults()
    site.settled("running")
    assert len(site.processes()) == 1


# QMP


@pytest.mark.long
@pytest.mark.parametrize("fault", [{"hang_after": 0}, {"garbage": True},
                                   {"close_after_greeting": True}])
def test_pain_10_a_vm_with_broken_qmp_is_unknown_and_delays_no_other_domain(make, fault):
    site = make(reconcile=", resync: 1h")  # QMP's time is longer than `quickly` allows
    site.faults(a=fault)
    site.drop()
    found = site.domain(lambda d: d["observed"]["state"] == "unknown" and d["observed"]["pid"])
    assert found["conditions"][0]["status"] == "Unknown"
    pid = found["observed"]["pid"]
    for name in ("x", "y", "z"):
        site.healthy(name)
    before = site.busy()
    site.rest(1)
    assert site.busy() - before < 0.3, "it asks and asks"
    assert site.processes() == [pid]
    # It can be ended nevertheless.
    site.drop(state="stopped")
    site.settled("absent")
    assert site.processes() == []


@pytest.mark.long
def test_a_vm_that_hangs_later_is_unknown_and_its_new_definition_is_applied(make):
    site = make(reconcile=", resync: 1s", qmp_timeout="1s")
    site.faults(a={"hang_after": 3})
    site.drop()
    site.domain(lambda d: d["observed"]["state"] == "running" and ready(d))
    site.domain(lambda d: d["observed"]["state"] == "unknown" and not ready(d))
    site.faults()
    site.drop(memory=256)
    comes_up_with(site, 256)
    assert site.domain(ready)["restarts"]["total"] == 0


def test_a_stop_that_fails_is_pause_failed(make):
    site = make()
    site.faults(a={"stop_fails": 0.2})
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    site.drop(state="paused")
    found = site.domain(lambda d: condition(d, "Stalled"))
    assert condition(found, "Stalled")["reason"] == "PauseFailed"
    assert "Failed to pause VM" in condition(found, "Stalled")["message"]
    assert (found["observed"]["state"], found["observed"]["pid"]) == ("running", pid)
    site.drop(state="running")
    assert site.settled("running")["observed"]["pid"] == pid


# Ends


@pytest.mark.long
def test_pain_19_one_that_ignores_quit_and_sigterm_is_killed(make):
    site = make()
    site.faults(a={"ignore_quit": True, "ignore_sigterm": True})
    site.drop()
    site.settled("running")
    site.file().unlink()
    site.healthy()
    site.gone()
    assert site.processes() == []


def test_a_crashed_vm_is_restarted_and_a_crash_loop_is_reported(make):
    site = make()
    site.faults(a={"die_after": 0.1, "die_code": 3})
    site.drop(inner="<r:restart policy='on-failure' limit='2' delay='100ms' max-delay='1m'/>")
    found = site.domain(lambda d: condition(d, "Stalled"))
    assert condition(found, "Stalled")["reason"] == "CrashLoop"
    assert found["restarts"]["total"] == 3
    assert (found["restarts"]["lastExit"]["kind"], found["restarts"]["lastExit"]["code"]) == (
        "crashed", 3)
    # Killing the reconciler does not reset the restart limit.
    starts = len(site.events("domain.starting"))
    site.kill()
    site.start()
    again = site.domain(lambda d: condition(d, "Stalled"))
    assert condition(again, "Stalled")["reason"] == "CrashLoop"
    assert again["restarts"]["total"] == 3
    assert len(site.events("domain.starting")) == starts
    # A restart requested by the user does.
    site.faults()
    assert site.verb("restart", "a").returncode == 0
    site.settled("running")


def test_an_end_by_a_signal_is_classified_as_such(make):
    site = make()
    site.faults(a={"die_after": 0.1, "die_signal": 11, "die_starts": 1,
                   "counter": str(site.path / "count")})
    site.drop()
    found = site.domain(lambda d: d["restarts"]["total"] == 1 and ready(d))
    assert (found["restarts"]["lastExit"]["kind"], found["restarts"]["lastExit"]["signal"]) == (
        "killed", 11)


def test_pain_8_a_guest_that_powers_off_stays_off(make):
    site = make()
    site.faults(a={"die_after": 0.1})
    site.drop(file=".a")
    site.put("a.xml", (site.path / "domains" / ".a").read_bytes().replace(
        b"<devices>", b"<on_poweroff>destroy</on_poweroff><devices>"))
    found = site.domain(lambda d: reason(d) == "PoweredOff")
    assert ready(found)
    assert found["observed"]["state"] == "absent"
    site.kill()
    site.start()
    site.domain(lambda d: reason(d) == "PoweredOff")
    assert len(site.events("domain.starting")) == 1
    site.faults()
    assert site.verb("start", "a").returncode == 0
    site.settled("running")


def test_what_ended_while_we_were_away_is_counted_once(make):
    site = make()
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    site.kill()
    os.kill(pid, signal.SIGKILL)
    site.start()
    found = site.domain(lambda d: ready(d) and d["observed"]["pid"] not in (None, pid))
    assert found["restarts"]["total"] == 1
    assert found["restarts"]["lastExit"]["kind"] == "killed"
    site.kill()
    site.start()
    assert site.settled("running")["restarts"]["total"] == 1


# Rule 7


def test_rule_7_what_does_not_come_up_is_rolled_back(make):
    site = make()
    site.drop()
    site.settled("running")
    site.faults(a={"fail": "too much memory", "fail_starts": 1,
                   "counter": str(site.path / "count")})
    site.drop(memory=256)
    found = site.domain(lambda d: d["observed"]["state"] == "running"
                        and condition(d, "Stalled"))
    assert condition(found, "Stalled")["reason"] == "RolledBack"
    assert "too much memory" in condition(found, "Stalled")["message"]
    assert found["observed"]["memoryBytes"] == 128 << 20
    assert not ready(found)
    assert found["pending"][0]["blockedBy"] == "rolled-back"
    pid = found["observed"]["pid"]
    site.kill()
    site.start()
    again = site.domain(lambda d: condition(d, "Stalled"))
    assert condition(again, "Stalled")["reason"] == "RolledBack"
    assert again["observed"]["pid"] == pid
    # The fix is taken at once.
    site.drop(memory=384)
    comes_up_with(site, 384)


def test_rule_7_without_rollback_in_the_file_nothing_is_rolled_back(make):
    site = make()
    site.drop(inner="<r:update rollback='none'/>")
    site.settled("running")
    site.faults(a={"fail": "too much memory"})
    site.drop(memory=256, inner="<r:update rollback='none'/>")
    found = site.domain(lambda d: condition(d, "Stalled"))
    assert condition(found, "Stalled")["reason"] == "StartFailed"
    assert found["observed"]["state"] == "absent"


# What is kept


LOCK_NEXT = """import fcntl, sys
file = open(sys.argv[1], 'r+')
print('waiting', flush=True)
fcntl.flock(file, fcntl.LOCK_EX)
print('locked', flush=True)
sys.stdin.read()
"""


def test_a_lock_that_is_held_for_a_moment_does_not_reject_the_new_definition(make):
    site = make()
    site.drop()
    site.settled("running")
    lock = site.settings.runtime / "vms" / "a" / "lock"
    with subprocess.Popen([sys.executable, "-c", LOCK_NEXT, str(lock)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "waiting\n"
        site.drop(memory=256)
        assert other.stdout.readline() == "locked\n"  # as soon as the old VM has ended
        found = site.domain(lambda d: f"pid {other.pid}" in d["conditions"][0]["message"])
        assert "another process holds the lock" in found["conditions"][0]["message"]
        assert site.processes() == []
        other.stdin.close()
    assert site.settled("running")["observed"]["memoryBytes"] == 256 << 20
    assert not site.events("domain.rolledback")


def test_a_vm_whose_lock_another_process_holds_is_unknown_and_nothing_is_started(make):
    site = make()
    home = site.settings.runtime / "vms" / "a"
    home.mkdir(parents=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        site.drop()
        found = site.domain(lambda d: d["observed"]["state"] == "unknown" and "lock" in
                            d["conditions"][0]["message"])
        assert found["observed"]["pid"] is None
        site.healthy()
        assert site.processes() == []
        assert not site.events("domain.exited")
    site.settled("running")


@pytest.mark.parametrize("junk", [b"", b"\x00\xff{", b"null", b"[[]]", b'{"pid": "x"}', None])
def test_garbage_in_the_kept_state_loses_no_vm(make, junk):
    site = make()
    site.drop()
    before = site.settled("running")
    site.kill()
    kept = [site.settings.runtime / "vms" / "a" / "record.json",
            site.settings.state / "domains" / f"{before['uuid']}.json",
            site.settings.state / "source.json", site.settings.state / "status.json"]
    for synced in (site.settings.state / "domains").glob(".*.synced"):
        synced.unlink()  # with this one, the damaged record is not lost
    for path in kept:
        if junk is None:
            path.unlink()
        else:
            path.write_bytes(junk)
    site.start()
    if junk is not None:  # it may have been held: that is not lost
        held = site.domain(lambda d: condition(d, "Held") and (
            d["observed"]["pid"] == before["observed"]["pid"]))
        assert "could not be read" in condition(held, "Held")["message"]
        assert kept[1].with_name(f"{kept[1].name}.unreadable").read_bytes() == junk
        assert site.verb("release", "a").returncode == 0
    assert site.settled("running")["observed"]["pid"] == before["observed"]["pid"]
    assert not site.events("domain.exited")
    # It is kept as its file says from now on.
    site.drop(memory=256)
    comes_up_with(site, 256)
    assert len(site.processes()) == 1


@pytest.mark.parametrize("lost", ["record.json", "definition.xml"])
def test_an_edit_while_away_is_applied_though_a_record_is_lost(make, lost):
    site = make()
    site.drop()
    site.settled("running")
    site.kill()
    (site.settings.runtime / "vms" / "a" / lost).unlink()
    site.drop(memory=256)
    site.start()
    comes_up_with(site, 256)
    assert len(site.processes()) == 1


def test_pain_9_rule_1_holds_though_its_runtime_directory_was_deleted(make):
    site = make()
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    shutil.rmtree(site.settings.runtime / "vms" / "a")
    site.kill()
    site.start()
    site.domain(lambda d: d["observed"]["pid"] == pid)
    assert site.processes() == [pid]
    site.drop(memory=256)
    site.domain(lambda d: ready(d) and d["observed"]["pid"] not in (None, pid))
    assert len(site.processes()) == 1
    assert len(site.events("domain.starting")) == 2


def test_a_deleted_runtime_directory_does_not_keep_it_from_being_stopped(make):
    site = make()
    site.drop()
    site.settled("running")
    shutil.rmtree(site.settings.runtime / "vms" / "a")
    site.drop(memory=256)
    comes_up_with(site, 256)
    assert len(site.processes()) == 1
    site.file().unlink()
    site.gone()
    assert site.processes() == []


# A full disk


@pytest.fixture
def small(tmp_path):
    """Mounts tiny file systems; what may not be mounted is not tested, and said."""
    mounted = []

    def mount(name):
        place = tmp_path / name
        place.mkdir()
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", place],
                              check=False, capture_output=True)
        if made.returncode:
            pytest.skip("mounting needs root")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", place], check=True)


def fill(place):
    with suppress(OSError), (place / "ballast").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    with suppress(OSError), (place / "ballast").open("ab", buffering=0) as file:
        while file.write(b"x"):
            pass


@pytest.mark.parametrize("where", ["state", "run"])
def test_a_full_disk_stops_nothing_and_is_over_when_it_is_over(small, make, where):
    place = small(where)
    site = make()
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    fill(place)
    site.drop(state="paused")
    assert site.settled("paused")["observed"]["pid"] == pid
    site.drop("b")
    site.domain(lambda d: ready(d) or d["attempt"] > 0, "b")
    site.kill()
    site.start()
    assert site.domain(lambda d: d["observed"]["state"] == "paused")["observed"]["pid"] == pid
    site.drop(state="stopped")
    site.domain(lambda d: d["observed"]["state"] == "absent")
    (place / "ballast").unlink()
    site.drop(state="running")
    site.settled("running")
    site.settled("running", "b")
    assert len(site.processes()) == len(site.processes("b")) == 1
    assert site.kill(signal.SIGTERM) == 0


def test_rule_9_on_a_full_disk_the_status_is_asked_of_who_knows_and_all_is_kept_later(small, make):
    place = small("state")
    site = make()
    site.drop()
    uuid = site.settled("running")["uuid"]
    fill(place)
    site.drop(state="paused")
    site.settled("paused")
    shown = site.verb("status", "-o", "json")
    assert json.loads(shown.stdout)["domains"][0]["observed"]["state"] == "paused"
    site.until(lambda v: "No space left" in (v["reconciler"]["stateError"] or ""))
    shown = site.verb("status")
    assert shown.returncode == 1
    assert "state: StateUnwritable: " in shown.stdout
    (place / "ballast").unlink()
    site.until(lambda v: v["reconciler"]["stateError"] is None)
    assert site.verb("status").returncode == 0

    def kept():  # without another word from anybody
        value = json.loads((place / "domains" / f"{uuid}.json").read_bytes())
        return "state='paused'" in value["definition"]["text"]

    site.waits(kept, "the paused definition on disk")


def test_a_source_replaced_while_the_disk_is_full_does_not_end_the_reconciler(small, make):
    place = small("state")
    site = make()
    site.drop()
    site.settled("running")
    fill(place)
    fresh = site.path / "fresh-domains"
    shutil.copytree(site.path / "domains", fresh)
    (site.path / "domains").rename(site.path / "old-domains")
    fresh.rename(site.path / "domains")
    site.drop(state="paused")
    site.domain(lambda d: d["observed"]["state"] == "paused")
    site.lives()


def test_a_definition_that_is_not_utf_8_survives_a_restart_of_the_reconciler(make):
    site = make()
    site.drop()
    site.settled("running")
    text = site.file().read_text().replace("<name>a</name>",
                                           "<name>a</name><title>\u00e9t\u00e9</title>")
    site.put("a.xml", ("<?xml version='1.0' encoding='ISO-8859-1'?>" + text).encode("latin-1"))
    before = site.domain(lambda d: d["generation"] == 2 and ready(d))
    pid = before["observed"]["pid"]
    site.kill()
    site.start()
    after = site.domain(lambda d: d["generation"] == d["observedGeneration"] == 2 and ready(d))
    assert after["observed"]["pid"] == pid
    assert process.start_time(pid)
    assert not site.events("domain.invalid")
