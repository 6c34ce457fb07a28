"""What others do to a VM is seen and undone; fights are damped."""

import json
import socket
from contextlib import closing

from tests.simulated.site import condition, ready, reason


def monitor(site, *commands):
    """As a person: on the second monitor, for as long as it takes to say something."""
    with closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(30)
        client.connect(str(site.settings.runtime / "vms" / "a" / "monitor.sock"))
        file = client.makefile("r")
        assert "QMP" in file.readline()
        for command in commands:
            client.sendall(json.dumps({"execute": command}).encode() + b"\r\n")
            assert "return" in json.loads(file.readline())
        file.close()


def test_a_pause_from_outside_is_undone(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    monitor(site, "stop")
    site.until(lambda _: site.events("domain.resumed"))
    assert site.settled("running")["observed"]["pid"] == pid
    drifted, = site.events("domain.drifted")
    assert drifted["cause"] == "drift"
    assert site.events("domain.resumed")[0]["cause"] == "drift"


def test_a_resume_from_outside_is_undone(site):
    site.drop(state="paused")
    site.settled("paused")
    monitor(site, "cont")
    site.until(lambda _: site.events("domain.paused"))
    site.settled("paused")


def test_pain_7_repeated_changes_from_outside_are_contested_and_slowed_down(site):
    site.drop()
    site.settled("running")
    for times in range(1, 4):
        monitor(site, "stop")
        site.until(lambda _, times=times: len(site.events("domain.resumed")) == times)
        site.settled("running")
    found = site.domain(lambda d: condition(d, "Contested"))
    assert condition(found, "Contested")["reason"] == "DriftFight"
    found, = site.events("domain.contested")
    assert "state was changed from outside 3 times" in found["message"]
    assert [e["message"] for e in site.events("domain.drifted")] == ["state is paused"] * 3
    monitor(site, "stop")
    site.domain(lambda d: reason(d) == "DriftFight")
    site.settled("running")


def test_pain_7_a_held_domain_is_left_alone_and_its_drift_reported(site):
    site.drop()
    site.settled("running")
    assert site.verb("hold", "a", "--reason", "repair").returncode == 0
    monitor(site, "stop")
    held = site.domain(lambda d: condition(d, "Drifted") and d["observed"]["state"] == "paused")
    assert not ready(held)
    assert "repair" in condition(held, "Held")["message"]
    assert site.verb("release", "a").returncode == 0
    site.settled("running")


def test_quit_from_outside_is_an_exit_and_it_comes_back(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    monitor(site, "quit")
    found = site.domain(lambda d: ready(d) and d["observed"]["pid"] not in (None, pid))
    assert found["restarts"]["total"] == 1
