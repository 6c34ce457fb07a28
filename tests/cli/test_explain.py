"""explain: why a domain is as it is, and all that was filled in."""

from __future__ import annotations

import json

from reconciler.stratovirt import process
from tests.values import xml


def test_the_command_line_is_the_one_that_runs(shared):
    done = shared.verb("explain", "a", "-o", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["commandLine"] == process.command_line(shared.processes("a")[0])


def test_people_read_the_story_the_definition_and_the_places(shared):
    done = shared.verb("explain", "a")
    assert done.returncode == 0
    for said in ("a from a.xml (sha256:", "wanted    running", "decision  nothing to do now",
                 "Definition, with every default", "free for hot plug: pcie.", "Command line",
                 "  -m 128m \\\n"):
        assert said in done.stdout


def test_without_a_reconciler_a_file_is_explained(idle):
    idle.put("a.xml", xml("a"))
    done = idle.verb("explain", "a")
    assert done.returncode == 0
    assert "Definition, with every default" in done.stdout
    value = json.loads(idle.verb("explain", "a", "-o", "json").stdout)
    assert value["definition"]["name"] == "a"
    assert value["commandLine"][-1] == "chardev=people,id=people,mode=control"


def test_an_unknown_domain_is_1(shared, idle):
    assert "no domain 'b'; did you mean 'a'?" in shared.verb("explain", "b").stderr or (
        "no domain 'b'" in shared.verb("explain", "b").stderr)
    for where in (shared, idle):
        done = where.verb("explain", "b")
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
