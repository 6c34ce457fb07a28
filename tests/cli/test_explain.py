"""explain: why a domain is as it is, and all that was filled in."""

from __future__ import annotations

import json
from pathlib import Path

from lxml import etree

from reconciler.domain.policy import Policy
from reconciler.engine.dryrun.plan_view import explain_domain
from reconciler.stratovirt import process
from tests.domain.making import DISK, MICROVM, at, disk, read, text
from tests.values import xml


def test_the_command_line_is_the_one_that_runs(shared):
    done = shared.verb("explain", "a", "-o", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["commandLine"] == process.command_line(shared.processes("a")[0])


def test_the_running_command_line_is_shown_where_it_differs(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    assert "running process" not in site.verb("explain", "a").stdout
    site.drop(memory=256, inner="<r:update policy='manual'/>")
    site.domain(lambda d: d["pending"])
    value = json.loads(site.verb("explain", "a", "-o", "json").stdout)
    assert value["runningCommandLine"] == process.command_line(pid)
    said = site.verb("explain", "a").stdout
    assert said.index("Command line of the running process") < said.index("-m 128m") < (
        said.index("Command line of the next start")) < said.index("-m 256m")


def test_people_read_the_story_the_definition_and_the_places(shared):
    done = shared.verb("explain", "a")
    assert done.returncode == 0
    for said in ("a from a.xml (sha256:", "wanted    running", "decision  nothing to do now",
                 "Definition, with all defaults", "free for hot plug: pcie.",
                 "Command line of the next start",
                 "  -m 128m \\\n"):
        assert said in done.stdout


def test_the_places_are_a_tree(shared):
    lines = shared.verb("explain", "a").stdout.splitlines()
    at = lines.index("  pcie.0")
    assert lines[at + 1:at + 3] == ["    slot 0x01",
                                    "      0x0  pcie.1 → controller[virtio-serial0]"]
    assert any(line.endswith("→ empty") for line in lines[at:])


def test_the_completed_file_is_the_same_with_and_without_a_reconciler(shared, idle):
    done = shared.verb("explain", "a", "--xml")
    assert (done.returncode, done.stderr) == (0, "")
    tree = etree.fromstring(done.stdout)
    assert tree.find("uuid") is not None
    assert all(port.find("address") is not None for port in tree.iter("controller"))
    assert len(list(tree.iter("controller"))) > 4
    idle.disk("a")
    idle.put("a.xml", shared.file("a").read_bytes())
    alone = idle.verb("explain", "a", "--xml").stdout
    assert alone == done.stdout.replace(str(shared.path), str(idle.path))


def test_a_place_of_its_own_on_pcie_0_is_in_the_tree():
    devices = DISK + disk(inner=at(0, 9))
    found = explain_domain(read(devices=devices), text(devices=devices), {}, 1, ["stratovirt"],
                           Path("/run/a"), Policy())
    assert found["tree"]["0x09"] == {"0x0": {"device": "disk[vdb]"}}
    assert found["tree"]["0x01"]["0x0"] == {"rootPort": "pcie.1", "device": "disk[vda]"}
    micro = explain_domain(read(os=MICROVM), text(os=MICROVM), {}, 1, ["stratovirt"],
                           Path("/run/a"), Policy())
    assert micro["tree"] == {}


def test_without_a_reconciler_a_file_is_explained(idle):
    idle.put("a.xml", xml("a"))
    done = idle.verb("explain", "a")
    assert done.returncode == 0
    assert "Definition, with all defaults" in done.stdout
    value = json.loads(idle.verb("explain", "a", "-o", "json").stdout)
    assert value["definition"]["name"] == "a"
    assert value["definition"]["disk[vda]/target/@dev"] == "vda"
    assert value["definition"]["reconcile/@state"] == "running"
    assert value["commandLine"][-1] == "chardev=people,id=people,mode=control"


def test_an_unknown_domain_exits_1(shared, idle):
    assert "no domain 'b'; did you mean 'a'?" in shared.verb("explain", "b").stderr or (
        "no domain 'b'" in shared.verb("explain", "b").stderr)
    for where in (shared, idle):
        done = where.verb("explain", "b")
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
