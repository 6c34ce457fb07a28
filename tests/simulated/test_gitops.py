"""The whole chain: a push to a repository, a hook or the interval, VMs changed, status, wait."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from reconciler.report.webhook import signature
from tests.simulated.site import REAL, ROOT, Site, condition, ready, reason
from tests.sources.gits import Upstream, git
from tests.values import xml


def text(name="a", state="running", **values):
    return xml(name, state, **values).replace(b"fw.fd", b"sample-firmware.fd").replace(
        b"<disk type='file'>", b"<disk type='file'><driver name='qemu' cache='writeback'/>")


class Deployment(Site):
    """A bare repository that people push to, and a reconciler that reads it."""

    def __init__(self, path, source="", more=""):
        self.bare = path / "forge.git"
        self.bare.mkdir()
        git(self.bare, "init", "-q", "--bare", "-b", "main")
        super().__init__(path, more="source: {kind: git, interval: 1h, url: "
                                    f"'file://{self.bare}', {source}}}\n{more}")
        self.upstream = Upstream(path / "work")
        self.upstream.git("remote", "add", "origin", str(self.bare))

    def push(self, files, *words, force=False):
        """Commit and push; the commit."""
        for name in files:
            self.disk(name.removeprefix("domains/").removesuffix(".xml"))
        commit = self.upstream.commit({f"domains/{name}.xml" if "/" not in name else name: data
                                       for name, data in files.items()}, *words)
        self.upstream.git("push", "-q", *(["--force"] if force else []), "origin", "main")
        return commit


@pytest.fixture
def site(tmp_path):
    found = Deployment(tmp_path)
    found.push({"a": text()})
    found.start()
    yield found
    found.close()


def sync(site, *words):
    return site.verb("sync", "--wait", "--timeout", "1m", *words)


def test_from_a_push_to_running_vms_and_back(site):
    first = site.settled("running")
    commit = site.push({"b": text("b", "paused"), "a": text(memory=256)})
    assert sync(site).returncode == 0
    a, b = site.settled("running"), site.settled("paused", "b")
    revision = f"main@sha1:{commit}"
    assert (a["revision"], a["appliedRevision"], b["appliedRevision"]) == (revision,) * 3
    assert a["observed"]["memoryBytes"] == 256 << 20
    assert a["observed"]["pid"] != first["observed"]["pid"]
    assert site.verb("wait", "--revision", commit, "--timeout", "1m").returncode == 0
    assert site.verb("wait", "--revision", first["revision"][-40:]).returncode == 0  # it went on
    source = site.until(lambda v: True)["source"]
    assert (source["kind"], source["ref"], source["revision"]) == ("git", "main", revision)
    assert source["history"][-1]["result"] == "success"
    assert [e["revision"] for e in site.events("source.synced")][-1] == revision
    # What did not change is not touched, and keeps the revision that it came with.
    other = site.push({"a": text(memory=256, state="paused")})
    assert sync(site).returncode == 0
    assert site.settled("paused")["appliedRevision"] == f"main@sha1:{other}"
    assert site.settled("paused", "b")["revision"] == revision
    site.push({"b": None})
    assert sync(site).returncode == 0
    site.gone("b")
    assert site.verb("status").returncode == 0


def test_a_hook_brings_a_commit_within_a_second(tmp_path):
    site = Deployment(tmp_path, "webhook_secret_file: secret",
                      "http: {listen: '127.0.0.1:0'}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site.config.write_text(site.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    (tmp_path / "secret").write_text("s3cret\n")
    site.push({"a": text()})
    site.start()
    try:
        site.settled("running")
        hook(port, b"{}", b"wrong", expected=401)
        site.push({"b": text("b")})
        begun = time.monotonic()
        hook(port, b'{"ref": "refs/heads/main"}', b"s3cret", expected=200)
        site.settled("running", "b")
        assert time.monotonic() - begun < 20  # 0.2 s on a machine that is not shared
        assert len(site.events("hook.received")) == 1
    finally:
        site.close()


def hook(port, body, secret, *, expected):
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
    connection.request("POST", "/hooks/git", body,
                       {"X-Hub-Signature-256": signature(body, secret)})
    assert connection.getresponse().status == expected
    connection.close()


def test_the_interval_brings_it_too(tmp_path):
    site = Deployment(tmp_path)
    site.config.write_text(site.config.read_text().replace("interval: 1h", "interval: 200ms"))
    site.push({"a": text()})
    site.start()
    try:
        site.settled("running")
        site.push({"a": text(state="paused")})
        site.settled("paused")
        site.push({"a": text(state="stopped")})
        site.settled("absent")
        site.bare.rename(site.bare.with_suffix(".away"))
        value = site.until(lambda v: len(v["source"]["conditions"]) > 1)
        assert [(c["type"], c["reason"]) for c in value["source"]["conditions"]] == [
            ("Ready", "FetchFailed"), ("Stale", "Stale")]
    finally:
        site.close()


def test_rule_3_without_the_git_server_nothing_stops_and_a_host_reboot_is_survived(site):
    pid = site.settled("running")["observed"]["pid"]
    gone = site.bare.rename(site.bare.with_suffix(".away"))
    found = sync(site)
    assert (found.returncode, "cannot be read" in found.stderr) == (1, True)
    value = site.until(lambda v: v["source"]["conditions"][0]["status"] == "False")
    assert value["source"]["conditions"][0]["reason"] == "FetchFailed"
    assert site.processes() == [pid]
    # The host goes down, and comes up while the server is still away.
    site.kill()
    os.kill(pid, signal.SIGKILL)
    site.start()
    assert site.settled("running")["observed"]["pid"] != pid
    assert site.until(lambda v: v["source"]["revision"])["source"]["files"] == 1
    gone.rename(site.bare)
    assert sync(site).returncode == 0
    site.until(lambda v: v["source"]["conditions"][0]["status"] == "True")
    assert not site.events("domain.stopping")


def test_pain_1_a_rewind_is_refused_until_it_is_approved(site):
    pid = site.settled("running")["observed"]["pid"]
    before = site.upstream.git("rev-parse", "HEAD")
    site.push({"b": text("b")})
    sync(site)
    site.settled("running", "b")
    site.upstream.git("reset", "-q", "--hard", before)
    wanted = site.push({"c": text("c")}, force=True)
    assert sync(site).returncode == 1
    value = site.until(lambda v: v["approvals"])
    assert value["source"]["conditions"][0]["reason"] == "NotFastForward"
    assert "`reconciler approve` accepts this one" in value["source"]["conditions"][0]["message"]
    approval, = value["approvals"]
    assert (approval["kind"], approval["revision"]) == ("NotFastForward", wanted)
    assert "reconciler approve r-" in site.verb("status").stdout
    assert site.events("source.rejected")
    assert site.processes("b")
    assert site.verb("approve", "p-000000").returncode == 1
    assert site.verb("approve", approval["token"]).returncode == 0
    site.settled("running", "c")
    site.gone("b")
    assert site.processes() == [pid]


def test_pain_1_rule_6_a_wrong_branch_stops_no_vm(tmp_path):
    site = Deployment(tmp_path)
    try:
        site.push({name: text(name) for name in "abcd"})
        site.upstream.git("checkout", "-q", "-b", "other")
        site.push(dict.fromkeys("abc") | {"d": text("d", "paused")})
        site.upstream.git("push", "-q", "origin", "other")
        site.start()
        pids = {n: site.settled("running", n)["observed"]["pid"] for n in "abcd"}
        site.kill(signal.SIGTERM)
        site.config.write_text(site.config.read_text().replace("kind: git,",
                                                               "kind: git, ref: other,"))
        site.start()
        assert site.settled("paused", "d")["observed"]["pid"] == pids["d"]
        held = site.until(lambda v: v["approvals"])
        assert held["approvals"][0]["domains"] == ["a", "b", "c"]
        assert {name: site.processes(name) for name in "abcd"} == {n: [p] for n, p in pids.items()}
        assert not site.events("domain.stopping")
    finally:
        site.close()


def test_pain_17_nothing_is_written_into_the_repository_and_verbs_say_what_to_commit(site):
    site.settled("running")
    before = git(site.bare, "for-each-ref")
    for words, says in ((["suspend", "a"], "state='paused'"), (["stop", "a"], "state='stopped'"),
                        (["destroy", "a"], "remove the file"), (["create", "x.xml"], "commit"),
                        (["rollback", "a"], "definition"), (["adopt", "1"], "import")):
        found = site.verb(*words)
        assert found.returncode == 1, words
        assert says in found.stderr, (words, found.stderr)
    assert "hold a" in site.verb("suspend", "a").stderr
    assert site.verb("hold", "a", "--reason", "disk repair").returncode == 0
    site.push({"a": text(state="stopped")})
    sync(site)
    site.domain(lambda d: reason(d) == "HoldRequested")
    assert site.verb("release", "a").returncode == 0
    site.settled("absent")
    assert git(site.bare, "for-each-ref") != before  # by our own push alone
    assert git(site.bare, "log", "--format=%an").splitlines() == ["Anna", "Anna"]


def test_pain_12_an_invalid_commit_keeps_what_runs_and_wait_says_why(site):
    pid = site.settled("running")["observed"]["pid"]
    commit = site.push({"a": text(memory=1)})
    sync(site)
    found = site.verb("wait", "--revision", commit, "--timeout", "1m")
    assert found.returncode == 1
    assert "a.xml" in found.stderr
    value = site.until(lambda v: v["source"]["history"][-1]["result"] == "failure")
    assert value["source"]["revision"] == f"main@sha1:{commit}"
    assert condition(value["domains"][0], "Valid")["status"] == "False"
    assert value["domains"][0]["appliedRevision"] != value["source"]["revision"]
    assert site.processes() == [pid]
    fixed = site.push({"a": text(memory=192)})
    assert sync(site).returncode == 0
    assert site.verb("wait", "--revision", fixed[:8], "--timeout", "1m").returncode == 0
    assert site.settled("running")["observed"]["memoryBytes"] == 192 << 20


def test_a_plan_of_a_branch_before_it_is_merged(site):
    site.settled("running")
    site.upstream.git("checkout", "-q", "-b", "next")
    site.upstream.commit({"domains/a.xml": text(memory=256)})
    site.upstream.git("push", "-q", "origin", "next")
    found = site.verb("plan", "--ref", "next", "-o", "json")
    assert found.returncode == 1, found.stderr
    plan, = json.loads(found.stdout)["plans"]
    assert [(c["path"], c["class"]) for c in plan["changes"]] == [("memory", "recreate")]
    assert site.verb("plan").returncode == 0


def test_pain_12_no_revision_is_reported_before_its_files_are_in_force(site):
    """Whatever moment is looked at: a revision and its content come together."""
    commits = {}
    for number in range(5):
        commit = site.push({"a": text(memory=128 + 4 * number)})
        commits[f"main@sha1:{commit}"] = (128 + 4 * number) << 20
        asked = subprocess.Popen([sys.executable, "-m", "reconciler", "-c", str(site.config),
                                  "sync"], cwd=ROOT)
        found = site.domain(lambda d, r=f"main@sha1:{commit}": d["revision"] == r)
        asked.wait(60)
        assert found["desired"]["memoryBytes"] == commits[found["revision"]]
        if found["appliedRevision"] in commits and ready(found):
            assert found["observed"]["memoryBytes"] == commits[found["appliedRevision"]]
    assert sync(site).returncode == 0
    found = site.settled("running")
    assert found["observed"]["memoryBytes"] == commits[found["appliedRevision"]]


def test_a_vm_that_powered_off_is_started_though_its_file_is_in_git(tmp_path):
    if REAL:
        return  # the simulator's guest powers off
    found, table = Deployment(tmp_path), tmp_path / "faults.json"
    found.env["STRATOVIRT_SIMULATOR"] = f"@{table}"
    table.write_text('{"a": {"die_after": 0.1}}')
    try:
        found.push({"b": text("b", "stopped"), "a": text().replace(
            b"<devices>", b"<on_poweroff>destroy</on_poweroff><devices>")})
        found.start()
        down = found.domain(lambda d: reason(d) == "PoweredOff")
        assert "`reconciler start a`" in down["conditions"][0]["message"]
        table.write_text("{}")
        assert found.verb("start", "a").returncode == 0
        found.settled("running")
        refused = found.verb("start", "b")
        assert (refused.returncode, "commit state='running'" in refused.stderr) == (1, True)
    finally:
        found.close()
