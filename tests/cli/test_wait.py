"""`wait`: what is missing, on values; and the verb on a real reconciler."""

import copy
import subprocess
import sys

import pytest

from reconciler.cli.wait import missing
from tests.simulated.site import ROOT

SHA = "9a1c0000000000000000000000000000000000ff"
OLD = "4507000000000000000000000000000000000000"


def domain(name="a", status="True", reason="InSync", word="Current", state="running"):
    return {"name": name, "uuid": f"u-{name}", "generation": 2, "observedGeneration": 2,
            "status": word, "observed": {"state": state},
            "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "m"}]}


STATUS = {"sequence": 1, "source": {
    "revision": f"main@sha1:{SHA}", "invalid": [], "settling": [],
    "history": [{"revision": f"main@sha1:{OLD}"}, {"revision": f"main@sha1:{SHA}"}],
    "conditions": [{"status": "True", "reason": "Succeeded", "message": ""}]},
    "domains": [domain("a"), domain("b")]}


def of(change=None, name=None, revision=None, wanted="Ready"):
    value = copy.deepcopy(STATUS)
    if change:
        change(value)
    return missing(value, name, revision, wanted)


@pytest.mark.parametrize("revision", [None, SHA, SHA[:7], f"main@sha1:{SHA}", OLD])
def test_all_that_is_ready_is_reached(revision):
    assert of(revision=revision) == []


@pytest.mark.parametrize("revision", ["1" * 40, SHA[:6], "main"])
def test_another_revision_is_waited_for(revision):
    (why, final), = of(revision=revision)
    assert f"the source is at main@sha1:{SHA}" in why
    assert not final


def test_why_the_source_does_not_come_is_said():
    def trouble(value):
        value["source"]["conditions"] = [
            {"status": "False", "reason": "VerificationFailed", "message": "unsigned"}]

    (why, _), = of(trouble, revision="1" * 40)
    assert "VerificationFailed: unsigned" in why
    assert of(trouble, revision=SHA) == []


def test_a_source_that_cannot_be_read_is_not_all_ready():
    def trouble(value):
        value["source"]["conditions"] = [
            {"status": "False", "reason": "FetchFailed", "message": "refused"}]

    assert of(trouble) == [("source: FetchFailed: refused", False)]
    assert of(trouble, name="a") == []

    def new(value):
        value["source"]["revision"] = ""

    assert of(new) == [("the source has not been read yet", False)]


def test_a_domain_that_is_not_ready_is_named_and_a_stalled_one_is_not_waited_for():
    def change(value):
        value["domains"] = [domain("a", "Unknown", "Starting", "InProgress"), domain("b")]

    assert of(change) == [("a: Starting: m", False)]
    assert of(change, name="b") == []

    def stalled(value):
        value["domains"] = [domain("a", "False", "StartFailed", "Failed")]

    assert of(stalled) == [("a: StartFailed: m", True)]
    # While the revision is not there yet, it may be the one that mends it.
    assert of(stalled, revision="1" * 40)[1] == ("a: StartFailed: m", False)


def test_a_newer_generation_has_to_settle():
    def change(value):
        value["domains"][0]["observedGeneration"] = 1

    assert len(of(change)) == 1


def test_what_is_invalid_or_about_to_go_is_missing_too():
    def change(value):
        value["source"]["settling"] = ["old"]
        value["source"]["invalid"] = [{"errors": ["x.xml:1: error"]}]

    assert [final for _, final in of(change)] == [False, True]


def test_a_state_of_one_domain():
    assert of(name="a", wanted="state=running") == []
    (why, _), = of(name="a", wanted="state=stopped")
    assert why.startswith("a: running")
    assert of(name="c")[0][0] == "c: no such domain"


def test_it_ends_when_it_is_reached_and_says_what_is_not(site):
    site.until(lambda value: True)
    waiting = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "-c", str(site.config), "wait", "a", "--for",
         "state=paused", "--timeout", "1m"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        site.drop("a", "paused")
        out, _ = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
    assert waiting.returncode == 0
    assert out.startswith("a: state=paused")
    found = site.verb("wait", "--timeout", "300ms", "--revision", "1" * 40)
    assert found.returncode == 1
    assert "has not arrived; the source is at sha256:" in found.stderr
    site.drop("b")
    site.disk("b").unlink()
    site.domain(lambda d: d["status"] == "Failed", "b")
    found = site.verb("wait", "--timeout", "10m")  # a stalled domain is not waited for
    assert found.returncode == 1
    assert "b: MissingFile" in found.stderr
    assert site.verb("wait", "--for", "ready").returncode == 1
    found = site.verb("sync", "--wait", "--timeout", "1m")
    assert found.returncode == 1
    assert "b: MissingFile" in found.stderr
