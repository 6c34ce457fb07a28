"""Whose file is gone goes, once, and comes back only with its file."""

import os
import signal
import sys
from contextlib import closing

import pytest

from tests import processes
from tests.simulated.site import Site, condition, reason
from tests.simulated.terminal import Terminal


@pytest.fixture
def site(tmp_path):
    found = Site(tmp_path, reconcile=", resync: 1s", prune="settle: 1s", qmp_timeout="1s")
    found.start()
    yield found
    found.close()


def removed_later(site):
    """A VM that was stopped because its file is gone; its record is removed only in an hour."""
    site.drop(inner="<r:prune after='1h'/>")
    site.drop("b")
    site.settled("running")
    site.settled("running", "b")
    site.file().unlink()
    site.domain(lambda d: condition(d, "Terminating") and d["observed"]["state"] == "absent")


def test_rule_6_our_restart_does_not_start_what_was_removed(site):
    removed_later(site)
    site.kill()
    site.start()
    site.domain(lambda d: condition(d, "Terminating") and d["observed"]["state"] == "absent")
    assert [e["domain"] for e in site.events("domain.starting")].count("a") == 1
    site.drop()  # and its file brings it back at once
    site.settled("running")


def test_rule_3_what_has_no_file_is_kept_running_where_that_proves_nothing(site):
    """A file that cannot be read may be anybody's: what ends meanwhile is started again."""
    site.drop()
    site.drop("b")
    site.settled("running", "b")
    pid = site.settled("running")["observed"]["pid"]
    with site.frozen():  # one look sees both: an older x.xml could not be what a.xml was renamed to
        site.put("x.xml", b"<domain>")
        site.file().unlink()
        os.kill(pid, signal.SIGKILL)
    site.domain(lambda d: d["observed"]["state"] == "running" and d["observed"]["pid"] != pid
                and reason(d) == "Incomplete")  # rule 9: it says why the removal is not believed
    assert "x.xml does not show which domain it is of" in site.verb("status").stdout
    assert "x.xml does not show" in site.verb("explain", "a").stdout
    assert "it is not removed while x.xml" in site.verb("plan").stdout


def test_rule_6_another_file_that_is_written_brings_nothing_back(site):
    removed_later(site)
    with site.file("c").open("wb") as writing:
        writing.write(b"<domain>")
        writing.flush()
        site.until(lambda value: "c.xml" in value["source"]["settling"])
    site.until(lambda value: value["source"]["invalid"])
    site.domain(lambda d: condition(d, "Terminating") and d["observed"]["state"] == "absent")
    assert [e["domain"] for e in site.events("domain.starting")].count("a") == 1


def noted(site):
    """Two VMs, and a file that is no domain's; the reconciler does not run."""
    site.put("notes.xml", b"<notes/>")
    site.drop()
    site.drop("b")
    site.settled("running")
    site.settled("running", "b")
    site.until(lambda value: value["source"]["invalid"])
    site.kill()


def test_a_file_of_no_domain_that_was_there_before_keeps_no_removal_over_a_restart(site):
    noted(site)
    site.file("b").unlink()
    site.start()
    site.gone("b")
    assert site.processes("b") == []
    assert len(site.processes()) == 1


def test_rule_6_one_that_was_changed_while_no_reconciler_ran_may_be_what_the_file_became(site):
    noted(site)
    site.put("notes.xml", b"<domain")
    site.file("b").unlink()
    pid, = site.processes("b")
    site.start()
    found = site.domain(lambda d: reason(d) == "Incomplete", "b")
    assert "notes.xml does not show which domain it is of" in found["conditions"][0]["message"]
    assert site.processes("b") == [pid]


def result(value):
    """The result of the newest revision, or "" before the source reports that revision."""
    newest = value["source"]["history"][-1]
    return newest["result"] if newest["revision"] == value["source"]["revision"] else ""


def begun(site, inner=""):
    site.drop(inner=inner)
    site.drop("b", "stopped")
    site.settled("running")
    site.settled("absent", "b")
    site.file().unlink()


def is_over(site, *wanted):
    """The revision has its result, and `sync --wait` returns without pending work."""
    site.until(lambda value: value["source"]["files"] == 1 and result(value) in wanted)
    asked = site.verb("sync", "--wait", "--timeout", "20s")
    assert "waiting" not in asked.stderr, asked
    value = site.until(lambda value: result(value) in wanted)
    assert value["source"]["settling"] == []
    assert len(site.processes()) == 1


def test_a_vm_kept_without_its_file_does_not_delay_the_revision(site):
    begun(site, "<r:prune policy='keep'/>")
    is_over(site, "success")
    assert reason(site.domain(lambda d: True)) == "Orphaned"


def test_a_removal_that_waits_for_approval_fails_the_revision_without_delay(site):
    begun(site, "<r:prune policy='confirm'/>")
    is_over(site, "failure")
    assert site.approve() == 0
    site.gone()
    site.until(lambda value: result(value) == "success")


def test_a_scheduled_removal_does_not_delay_the_revision(site):
    removed_later(site)
    site.until(lambda value: result(value) == "success")
    assert site.verb("sync", "--wait", "--timeout", "20s").returncode == 0


def test_without_pruning_a_removal_does_not_delay_the_revision(tmp_path):
    found = Site(tmp_path, reconcile=", resync: 1s", prune="enabled: false")
    found.start()
    try:
        begun(found)
        is_over(found, "success")
    finally:
        found.close()


def test_rule_6_a_held_removal_of_many_is_not_a_success(site):
    names = ("a", "b", "c")
    for name in names:
        site.drop(name, "stopped")
    for name in names:
        site.settled("absent", name)
    for name in names:
        site.file(name).unlink()
    site.until(lambda value: value["approvals"] and result(value) == "failure")
    assert site.approve() == 0
    site.until(lambda value: not value["domains"] and result(value) == "success")


def test_approve_without_a_token_asks_at_a_terminal(site):
    for name in "abc":
        site.drop(name, "stopped")
    for name in "abc":
        site.settled("absent", name)
    for name in "abc":
        site.file(name).unlink()
    site.until(lambda value: value["approvals"])
    words = [sys.executable, "-m", "reconciler", "-c", str(site.config), "approve"]
    for answer, left in (("n", 3), ("y", 0)):
        with closing(Terminal(words, processes.ROOT, site.path)) as terminal:
            terminal.shows("3 domains would be destroyed: a, b, c")
            terminal.shows("[y/N]")
            terminal.type(f"{answer}\n")
            terminal.ends()
        site.until(lambda value, left=left: len(value["domains"]) == left)


def test_rule_8_a_vm_that_does_not_answer_delays_a_revision_only_for_a_limited_time(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        site.domain(lambda d: condition(d, "Stalled"))
        site.drop("b", "stopped")
        site.until(lambda value: value["source"]["files"] == 2 and result(value) == "failure")
    finally:
        os.kill(pid, signal.SIGCONT)
    site.until(lambda value: result(value) == "success")
