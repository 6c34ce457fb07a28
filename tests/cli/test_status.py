"""status: the last known truth, and whether it may be believed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import yaml

from tests.simulated.site import REAL, ROOT, ready


def test_the_table(shared):
    done = shared.verb("status")
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    if not REAL:
        assert lines.pop(0).startswith("SIMULATED: ")
    assert lines[0].split() == ["NAME", "STATE", "WANTED", "READY", "REASON", "AGE"]
    assert [line.split()[:5] for line in lines[1:]] == [
        ["a", "running", "running", "True", "InSync"], ["p", "paused", "paused", "True", "InSync"],
        ["s", "shut", "off", "stopped", "True"]]
    assert "\033" not in done.stdout  # no colours in a pipe
    assert len({line.index("True") for line in lines[1:]}) == 1  # columns


def test_restarts_are_in_the_table_as_soon_as_there_are_any(site):
    site.drop()
    site.drop("b", "stopped")
    pid = site.settled("running")["observed"]["pid"]
    os.kill(pid, signal.SIGKILL)
    site.domain(lambda d: d["restarts"]["total"] == 1 and ready(d))
    head, *rows = [line.split() for line in site.verb("status").stdout.splitlines()
                   if line.startswith(("NAME", "a ", "b "))]
    assert head[-2:] == ["AGE", "RESTARTS"]
    assert [row[-1] for row in rows] == ["1", "0"]


def test_the_wide_table_has_more(shared):
    head, row = [line for line in shared.verb("status", "-o", "wide").stdout.splitlines()
                 if line.startswith(("NAME", "a "))]
    assert head.split()[6:] == ["PID", "MEMORY", "CPUS", "CONSOLE", "RESTARTS", "FILE"]
    assert str(shared.processes("a")[0]) in row
    assert "128 MiB" in row
    assert "/dev/pts/" in row
    assert row.endswith("a.xml")
    files = next(line for line in shared.verb("status", "-o", "wide").stdout.splitlines()
                 if line.startswith("files: "))
    assert f"{shared.settings.domains} at sha256:" in files
    assert ", last read " in files


def test_json_and_yaml_are_the_same_value(shared):
    value = json.loads(shared.verb("status", "-o", "json").stdout)
    assert [d["name"] for d in value["domains"]] == ["a", "p", "s"]
    assert value["stale"] is False
    other = yaml.safe_load(shared.verb("status", "-o", "yaml").stdout)
    assert {**other, "generatedAt": value["generatedAt"]} == value
    one = json.loads(shared.verb("status", "p", "-o", "json").stdout)
    assert one == value["domains"][1]
    assert json.loads(shared.verb("status", one["uuid"], "-o", "json").stdout) == one


def test_names_alone(shared):
    assert shared.verb("status", "-o", "name").stdout == "a\np\ns\n"


def test_one_domain_has_its_details(shared):
    found = shared.verb("status", "s").stdout
    assert "generation 1, observed 1; revision sha256:" in found
    assert "\na " not in found


def test_quiet_says_it_by_the_exit_status_alone(shared):
    done = shared.verb("status", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_unknown_domain_exits_1(shared):
    done = shared.verb("status", "missing")
    assert done.returncode == 1
    assert "no domain 'missing'" in done.stderr


def test_watch_shows_it_again_when_it_changes(site):
    site.drop("a", "stopped")
    site.settled("absent")
    with subprocess.Popen([sys.executable, "-u", "-m", "reconciler", "-c", str(site.config),
                           "status", "--watch", "-o", "name"], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE) as watch:
        try:
            assert watch.stdout.readline() == "a\n"
            site.drop("b", "stopped")
            assert [watch.stdout.readline() for _ in range(2)] == ["a\n", "b\n"]
            watch.send_signal(signal.SIGINT)
            assert watch.wait(10) == 130
        finally:
            watch.kill()  # else leaving the block would wait for it


def test_without_any_run_it_exits_2(idle):
    done = idle.verb("status")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the reconciler has never run here" in done.stderr
    (idle.path / "state").mkdir()
    (idle.path / "state" / "status.json").write_text("{")
    assert idle.verb("status").returncode == 2


def test_not_ready_exits_1_with_the_reason(site):
    site.drop("a")
    (site.path / "images" / "a.img").unlink()
    site.domain(lambda d: d["attempt"])
    site.put("x.xml", b"<domain>")
    site.until(lambda v: v["source"]["invalid"])
    done = site.verb("status")
    assert done.returncode == 1
    assert "a.img" in done.stdout
    assert "x.xml:1: error" in done.stdout


def test_a_domain_that_waits_is_described_as_not_ready(site):
    site.drop("b", "stopped")
    site.drop("a", inner="<r:depends-on domain='b'/>")
    site.domain(lambda d: d["conditions"][0]["reason"] == "WaitingForDependency")
    assert "a: not Ready WaitingForDependency: " in site.verb("status").stdout


def test_a_held_domain_is_described_once_and_as_not_ready(site):
    site.drop("a")
    site.settled("running")
    site.verb("hold", "a", "--reason", "disk repair")
    site.drop("a", "stopped")
    site.domain(lambda d: d["conditions"][0]["reason"] == "HoldRequested")
    done = site.verb("status")
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if "disk repair" in line] == [
        line for line in done.stdout.splitlines() if line.startswith("a: Held HoldRequested: ")]
    assert "a: Ready " not in done.stdout


def test_pain_13_rule_9_without_a_living_reconciler_it_is_stale_and_3(site):
    site.drop("a", "stopped")
    site.settled("absent")
    site.kill(signal.SIGKILL)
    done = site.verb("status")
    assert done.returncode == 3
    assert "STALE: the reconciler (process" in done.stdout
    assert "VMs do not depend on it" in done.stdout
    assert json.loads(site.verb("status", "-o", "json").stdout)["stale"] is True
    assert site.verb("status", "-q").returncode == 3


@pytest.mark.parametrize("every", ["500ms", "15s", "20m"])
def test_pain_13_rule_9_a_reconciler_that_hangs_is_stale(idle, every):
    site = idle
    site.config.write_text(site.config.read_text().replace(
        "reconcile: {", f"reconcile: {{heartbeat: {every}, "))
    site.start()
    site.until(lambda value: True)
    assert site.verb("status").returncode == 0
    if every == "500ms":
        site.reconciler.send_signal(signal.SIGSTOP)
        for file in ("status.json", "heartbeat.json"):
            path = site.settings.state / file
            value = json.loads(path.read_text())
            for key in ("generatedAt", "at"):
                if key in value:
                    value[key] = "2020-01-01T00:00:00.000Z"
            path.write_text(json.dumps(value))
        done = site.verb("status")
        site.reconciler.send_signal(signal.SIGCONT)
        assert done.returncode == 3
        assert ": the reconciler may be hung" in done.stdout
        assert f"cannot write to {site.settings.state}" in done.stdout


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"null", b"\xff",
                                     b'{"apiVersion": "reconciler/v9", "domains": {}}'])
def test_a_status_of_another_shape_is_reported_in_a_sentence(site, content):
    site.settings.state.mkdir(parents=True, exist_ok=True)
    site.kill()
    (site.settings.state / "status.json").write_bytes(content)
    done = site.verb("status")
    assert done.returncode == 2
    assert "is damaged, or of another version" in done.stderr
    assert "Traceback" not in done.stderr


def test_rule_9_a_reconciler_that_was_not_reaped_does_not_run(site):
    site.drop()
    site.settled("running")
    site.kill()
    file = site.settings.state / "status.json"
    value = json.loads(file.read_bytes())
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as ended:
        ended.stdout.read()  # it has ended, and is a zombie until it is waited for
        value["reconciler"]["pid"] = ended.pid
        file.write_text(json.dumps(value))
        site_status = site.verb("status")
    assert site_status.returncode == 3
    assert "is not running" in site_status.stdout
