"""plan: the engine's own value, with a reconciler that runs or without one."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

from reconciler.engine.dryrun.snapshot import take
from reconciler.errors import HostError
from tests.simulated.site import reason
from tests.values import xml


def plans(site, *words):
    done = site.verb("plan", *words, "-o", "json")
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_nothing_to_do_is_0_and_the_same_without_a_reconciler(site):
    site.drop("a")
    site.drop("s", "stopped")
    site.settled("running")
    site.settled("absent", "s")
    code, running = plans(site)
    assert code == 0
    assert [(p["name"], p["steps"]) for p in running["plans"]] == [("a", []), ("s", [])]
    assert site.verb("plan").stdout == "2 domains: nothing to do\n"
    site.kill(signal.SIGTERM)
    assert plans(site) == (0, running)


def test_pain_5_changes_are_1_and_the_same_without_a_reconciler(site):
    manual = "<r:update policy='manual'/>"
    site.drop("a", inner=manual)
    site.settled("running")
    site.drop("a", inner=manual, memory=256)
    site.domain(lambda d: d["pending"])
    code, running = plans(site)
    assert code == 1
    change, = running["plans"][0]["changes"]
    assert (change["path"], change["from"], change["to"], change["class"]) == (
        "memory", "128 MiB", "256 MiB", "recreate")
    shown = site.verb("plan", "a").stdout
    assert shown == (
        "! a (a.xml): recreate, down about 1 s, without a clean shutdown (no agent, no ACPI)\n"
        "    waits: running; 1 change waits for `reconciler restart a`\n"
        "    a.xml:1  memory: 128 MiB → 256 MiB  recreate, down about 1 s, without a clean "
        "shutdown (no agent, no ACPI), waits for update-policy:manual\n"
        "1 to recreate (down about 1 s); 1 of them waits\n")
    assert site.verb("diff", "a").stdout == (
        "--- a (current)\n+++ a (a.xml)\n"
        "@@ a.xml:1 recreate, down about 1 s, without a clean shutdown (no agent, no ACPI), "
        "waits for update-policy:manual @@\n-memory: 128 MiB\n+memory: 256 MiB\n")
    for words, code in (((), 1), (("--disruptive-only",), 1), (("--exit-code=terraform",), 2)):
        assert site.verb("plan", *words).returncode == code
    site.kill(signal.SIGTERM)
    assert plans(site) == (1, running)
    assert plans(site, "a") == (1, running)


def test_what_a_reconciler_would_do_first_is_shown_without_one(idle):
    idle.drop("a")
    idle.drop("p", "paused")
    idle.drop("s", "stopped")
    code, value = plans(idle)
    assert code == 1
    assert {p["name"]: [s["verb"] for s in p["steps"]] for p in value["plans"]} == {
        "a": ["start"], "p": ["start-paused"], "s": []}
    shown = idle.verb("plan").stdout
    assert shown == ("+ a (a.xml): start (cause: file)\n+ p (p.xml): start (cause: file)\n"
                     "2 to start, 1 unchanged\n")
    assert idle.verb("diff", "p").stdout == (
        "--- p (current)\n+++ p (p.xml)\n@@ start @@\n+state: paused\n")
    assert idle.verb("plan", "--disruptive-only").returncode == 0
    assert not (idle.settings.runtime / "vms" / "a").exists()  # nothing was done


def test_an_invalid_file_exits_2_and_the_same_without_a_reconciler(site):
    site.drop("a")
    site.settled("running")
    site.put("a.xml", b"<domain>")
    site.domain(lambda d: reason(d) == "InvalidDefinition")
    code, running = plans(site)
    assert code == 2
    assert running["invalid"][0]["file"] == "a.xml"
    assert "a.xml:1: error:" in site.verb("plan").stdout
    assert site.verb("plan", "--exit-code", "terraform").returncode == 1
    site.kill(signal.SIGTERM)
    code, offline = plans(site)
    assert (code, offline) == (2, running)


def test_a_missing_source_exits_2(idle):
    (idle.path / "domains").rmdir()
    code, value = plans(idle)
    assert code == 2
    assert "No such file" in value["sourceError"]
    assert value["plans"] == []


def test_another_directory_is_planned_as_if_it_were_the_source(site):
    for name in "abc":
        site.drop(name)
        site.settled("running", name)
    other = site.path / "other"
    other.mkdir()
    (other / "new-name.xml").write_bytes(site.file("a").read_bytes())
    (other / "b.xml").write_bytes(site.file("b").read_bytes().replace(b"'MiB'>128", b"'MiB'>256"))
    (other / "d.xml").write_bytes(site.file("c").read_bytes().replace(b">c<", b">d<").replace(
        b"c.img", b"d.img"))
    code, value = plans(site, "--dir", str(other))
    assert code == 1
    assert {p["name"]: (p["action"], p["file"], p["downSeconds"]) for p in value["plans"]} == {
        "a": ("none", "new-name.xml", 0.0), "b": ("recreate", "b.xml", 1.0),
        "c": ("destroy", None, None), "d": ("start", "d.xml", 0.0)}
    assert value["target"] == {"kind": "directory", "name": str(other), "commit": ""}
    assert value["summary"] == {"start": 1, "recreate": 1, "destroy": 1, "unchanged": 1,
                                "update": 0, "pause": 0, "resume": 0, "stop": 0, "waiting": 0}
    words = ("plan", "--dir", str(other), "-o", "markdown")
    assert site.verb(*words).stdout == site.verb(*words).stdout
    assert site.events("domain.stopping") == []
    assert site.verb("plan", "--dir", str(site.path / "none")).returncode == 2


def test_a_usage_error_exits_2(idle):
    for words, said in ((("a", "--out", "x"), "of all domains"), (("missing",), "no domain"),
                        (("--ref", "main"), "not a git repository"),
                        (("--dir", "x", "--ref", "y"), "not allowed with")):
        done = idle.verb("plan", *words)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_an_unreadable_directory_is_reported_and_not_taken_for_empty(idle, monkeypatch):
    (idle.settings.state / "domains").mkdir(parents=True)
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(HostError, match="permission denied"):
        asyncio.run(take(idle.settings))


def test_no_domains(idle):
    assert idle.verb("plan").stdout == "no domains\n"


def test_expanded_files_are_planned_the_same_without_a_reconciler(idle):
    idle.put("defaults.xml", b"<domain>\n\n<vcpu>2</vcpu></domain>")
    for index in range(2):
        idle.disk(f"a-{index}")
    idle.put("a.xml", xml("a-{index}").replace(b"fw.fd", b"sample-firmware.fd").replace(
        b"state='running'", b"state='stopped' count='2'"))
    idle.put("b.xml", xml("b", inner="<r:placement host='there'/>"))
    code, value = plans(idle)
    assert (code, [p["name"] for p in value["plans"]]) == (0, ["a-0", "a-1"])
    assert {p["file"] for p in value["plans"]} == {"a.xml"}
    assert value["elsewhere"] == ["b.xml"]
    assert "b.xml: assigned to another host (placement/@host)" in idle.verb("plan").stdout
    offline = json.loads(idle.verb("explain", "a-1", "-o", "json").stdout)
    assert offline["expandedFrom"] == "a.xml: defaults.xml, index 1"
    idle.start()
    idle.until(lambda v: v["summary"]["ready"] == 2)
    running = json.loads(idle.verb("explain", "a-1", "-o", "json").stdout)
    for name in ("expandedFrom", "definition", "filledIn", "commandLine", "xml"):
        assert running[name] == offline[name]
    assert "disk[vda]/alias/@name" in [f["what"] for f in running["filledIn"]]
    assert plans(idle) == (code, value)
    assert "b.xml: assigned to another host (placement/@host)" in idle.verb("status").stdout
    # A change that comes from the defaults is shown with their line.
    idle.put("defaults.xml", b"<domain>\n\n<vcpu>3</vcpu></domain>")
    idle.put("a.xml", idle.file().read_bytes().replace(b"stopped", b"running"))
    idle.until(lambda v: v["summary"]["running"] == 2)
    idle.put("defaults.xml", b"<domain>\n\n\n<vcpu>4</vcpu><metadata><r:reconcile xmlns:r="
                             b"'urn:stratovirt-reconciler:1'><r:update policy='manual'/>"
                             b"</r:reconcile></metadata></domain>")
    idle.until(lambda v: any(d["pending"] for d in v["domains"]))
    assert "defaults.xml:4  vcpu: 3 → 4" in idle.verb("plan", "a-0").stdout


def test_while_the_defaults_are_being_written_no_plan_is_made(idle):
    idle.put("a.xml", xml("a"))
    idle.put("defaults.xml", b"<domain/>")
    with idle.file("defaults").open("r+b"):
        code, value = plans(idle)
    assert (code, value["plans"]) == (2, [])
    assert "defaults.xml: it is being written right now" in value["sourceError"]
