"""plan: the engine's own value, with a reconciler that runs or without one."""

from __future__ import annotations

import json
import signal

from tests.simulated.site import reason


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


def test_changes_are_1_and_the_same_without_a_reconciler(site):
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
    assert "memory: 128 MiB → 256 MiB  recreate" in shown
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
    assert "  + start\n" in shown
    assert "1 domain: nothing to do" in shown
    assert not (idle.settings.runtime / "vms" / "a").exists()  # nothing was done


def test_an_invalid_file_is_2_and_the_same_without_a_reconciler(site):
    site.drop("a")
    site.settled("running")
    site.put("a.xml", b"<domain>")
    site.domain(lambda d: reason(d) == "InvalidDefinition")
    code, running = plans(site)
    assert code == 2
    assert running["invalid"][0]["file"] == "a.xml"
    assert "a.xml:1: error:" in site.verb("plan").stdout
    site.kill(signal.SIGTERM)
    code, offline = plans(site)
    assert (code, offline["invalid"]) == (2, running["invalid"])


def test_a_source_that_is_gone_is_2(idle):
    (idle.path / "domains").rmdir()
    code, value = plans(idle)
    assert code == 2
    assert "No such file" in value["sourceError"]


def test_no_domains(idle):
    assert idle.verb("plan").stdout == "no domains\n"
