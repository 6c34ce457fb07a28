"""A hold of all domains, and the post-sync command that reports a revision's result."""

import json
import sys

import pytest

from tests.simulated.site import Site, condition, ready, reason


def test_all_are_held_also_those_to_come_and_across_our_restart(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    assert site.verb("hold", "--all", "--reason", "storage moves").returncode == 0
    found = site.domain(lambda d: condition(d, "Held"))
    assert "storage moves" in condition(found, "Held")["message"]
    site.drop(state="stopped")
    site.domain(lambda d: reason(d) == "HoldRequested")
    site.drop("b")
    site.domain(lambda d: reason(d) == "HoldRequested", "b")
    site.kill()
    site.start()
    site.domain(lambda d: reason(d) == "HoldRequested", "b")
    assert site.processes() == [pid]
    refused = site.verb("release", "a")
    assert refused.returncode == 1
    assert "release --all" in refused.stderr
    assert site.verb("release", "--all").returncode == 0
    site.settled("running", "b")
    site.settled("absent", "a")
    assert site.verb("release", "--all").returncode == 1


def test_a_hold_names_one_or_all_and_not_by_accident(site):
    site.drop()
    site.settled("running")
    for words in (["hold"], ["hold", "a", "--all"], ["release"]):
        found = site.verb(*words)
        assert (found.returncode, "NAME or --all is required" in found.stderr) == (1, True)
    assert site.verb("hold", "--all", "--for", "300ms").returncode == 0
    site.domain(lambda d: condition(d, "Held"))
    site.domain(lambda d: not condition(d, "Held") and ready(d))
    assert site.verb("release", "a").returncode == 0  # the hold of all has ended
    assert "there is no hold of all domains" in site.verb("release", "--all").stderr


@pytest.fixture
def telling(tmp_path):
    """A site whose post-sync command records its input."""
    script, out = tmp_path / "told.py", tmp_path / "told"
    script.write_text(f"import sys\nopen({str(out)!r}, 'a').write(sys.stdin.read())\n")
    (tmp_path / "config").mkdir()
    found = Site(tmp_path, more="source: {post_sync: {command: "
                                f"[{sys.executable}, {script}]}}}}")
    found.reported = lambda: [json.loads(line) for line in out.read_text().splitlines()
                          ] if out.exists() else []
    found.start()
    yield found
    found.close()


def until_reported(site, result):
    site.waits(lambda: any(report["result"] == result for report in site.reported()),
               f"the command to be called with the result {result}")


def results(site):
    """What was reported of each revision; an interrupted report is repeated, so at least once."""
    found = {}
    for report in site.reported():
        seen = found.setdefault(report["revision"], [])
        seen += [report["result"]] if seen[-1:] != [report["result"]] else []
    return found


def test_the_result_of_a_revision_is_reported_once(telling):
    site = telling
    site.drop()
    site.settled("running")
    revision = site.until(lambda v: v["source"]["history"]
                          and v["source"]["history"][-1]["result"] == "success")["source"]
    assert site.verb("sync", "--wait").returncode == 0
    site.drop("b")
    site.disk("b").unlink()
    site.until(lambda v: v["source"]["history"][-1]["result"] == "failure")
    until_reported(site, "failure")  # otherwise the newer result replaces it
    site.disk("b")
    site.until(lambda v: v["source"]["history"][-1]["result"] == "success")
    site.kill(15)
    site.start()
    site.settled("running", "b")
    site.drop("c", "stopped")
    newest = site.until(lambda v: len(v["domains"]) == 3
                        and v["source"]["history"][-1]["result"] == "success"
                        )["source"]["history"][-1]["revision"]
    site.waits(lambda: results(site).get(newest, [])[-1:] == ["success"],
               "the result of the newest revision to be reported")
    assert results(site)[revision["revision"]][-1] == "success"
    middle = [r for r in results(site).values() if "failure" in r]
    assert [r[-2:] for r in middle] == [["failure", "success"]]


def test_a_post_sync_command_that_fails_is_reported_and_stops_nothing(tmp_path):
    site = Site(tmp_path, more="source: {post_sync: {command: [/nowhere/tell]}}")
    site.start()
    try:
        site.drop()
        site.settled("running")
        site.until(lambda v: v["source"]["history"][-1]["result"] == "success")
        site.drop("b", "stopped")
        site.until(lambda v: len(v["source"]["history"]) > 1)
        failed = site.events("notification.failed")
        assert "/nowhere/tell" in failed[0]["error"]
    finally:
        site.close()
