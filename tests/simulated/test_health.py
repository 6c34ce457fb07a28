"""Health probes by TCP, console and agent: readiness, rollback and restart."""

import fcntl
import os
import signal
import socket

import pytest

from tests.simulated.site import REAL, Site, condition, ready, reason
from tests.simulated.test_drift import monitor

PROBE = "<r:health interval='100ms' timeout='1s' failures='2' start-period='{}'{}>{}</r:health>"
PTY = "<console type='pty'><target type='virtio'/></console>"
CHANNEL = ("<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>")


def probe(inner, start="10s", more=""):
    return PROBE.format(start, more, inner)


@pytest.fixture
def port():
    """A port without a listener until the test calls `listen`."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        yield found


def tcp(port):
    return f"<r:tcp address='127.0.0.1:{port.getsockname()[1]}'/>"


def health(domain):
    return (condition(domain, "Healthy") or {}).get("status")


def test_by_tcp_it_is_ready_once_something_listens(site, port):
    site.drop(inner=probe(tcp(port)))
    found = site.domain(lambda d: d["observed"]["state"] == "running" and health(d) == "Unknown")
    assert (found["conditions"][0]["status"], reason(found)) == ("Unknown", "Starting")
    assert condition(found, "Reconciling")["reason"] == "Starting"
    port.listen()
    found = site.settled("running")
    assert health(found) == "True"
    assert site.events("domain.healthy")
    port.close()
    found = site.domain(lambda d: reason(d) == "HealthCheckFailed")
    assert (health(found), ready(found)) == ("False", False)
    assert "127.0.0.1" in condition(found, "Healthy")["message"]
    assert len(site.processes()) == 1
    assert not site.events("domain.stopping")


def test_what_depends_on_its_health_waits_for_that(site, port):
    site.drop("db", inner=probe(tcp(port)))
    site.drop("web", inner="<r:depends-on domain='db' condition='healthy'/>")
    waiting = site.domain(lambda d: reason(d) == "WaitingForDependency"
                          and "not healthy" in d["conditions"][0]["message"], "web")
    assert waiting["observed"]["state"] == "absent"
    port.listen()
    site.settled("running", "web")
    assert [e["domain"] for e in site.events("domain.started")] == ["db", "web"]


@pytest.mark.skipif(bool(REAL), reason="the sample guest of the real one says nothing")
def test_by_a_text_on_its_console_also_after_our_restart(site):
    inner = probe("<r:console match='web* login:'/>")
    site.drop(inner=inner, devices=PTY)
    found = site.domain(lambda d: health(d) == "Unknown" and d["observed"]["console"]
                        and "has not appeared" in condition(d, "Healthy")["message"])
    with open(found["observed"]["console"], "wb", buffering=0) as console:
        console.write(b"web1 login: ")  # the simulated guest echoes its input
        site.settled("running")
    pid, = site.processes()
    site.kill()
    site.start()
    found = site.domain(lambda d: d["observed"]["pid"] == pid and ready(d))
    assert health(found) == "True"
    assert not site.events("domain.unhealthy")


@pytest.mark.skipif(bool(REAL), reason="the sample guest of the real one has no agent")
def test_by_the_guest_agent(site):
    site.drop(inner=probe("<r:agent/>"), devices=CHANNEL)
    assert health(site.settled("running")) == "True"


def test_rule_7_a_recreate_that_comes_up_unhealthy_is_rolled_back_and_a_fix_is_applied(site, port):
    port.listen()
    site.drop(inner=probe(tcp(port)))
    site.settled("running")
    bad = probe("<r:tcp address='127.0.0.1:1'/>", start="300ms")
    site.drop(inner=bad, memory=256)
    found = site.domain(lambda d: condition(d, "Stalled") is not None
                        and d["observed"]["state"] == "running"
                        and d["observed"].get("memoryBytes") == 128 << 20)
    assert condition(found, "Stalled")["reason"] == "RolledBack"
    assert "not healthy" in condition(found, "Stalled")["message"]
    assert len(site.events("domain.rolledback")) == 1
    assert len(site.processes()) == 1
    starts = len(site.events("domain.starting"))
    site.verb("sync")  # it does not try again by itself
    assert len(site.events("domain.starting")) == starts == 3
    site.drop(inner=probe(tcp(port)), memory=192)
    found = site.domain(lambda d: ready(d) and d["observed"].get("memoryBytes") == 192 << 20)
    assert health(found) == "True"
    assert condition(found, "Stalled") is None


def test_pain_11_a_new_commit_interrupts_the_wait_for_health(site, port):
    site.drop(inner=probe("<r:tcp address='127.0.0.1:1'/>", start="10m"))
    site.domain(lambda d: health(d) == "Unknown" and d["observed"]["state"] == "running")
    port.listen()
    site.drop(inner=probe(tcp(port)))
    site.settled("running")
    assert len(site.events("domain.starting")) == 1  # a policy alone costs no process


def test_an_unhealthy_guest_is_restarted_if_configured_until_the_limit(site, port):
    site.drop(inner=probe("<r:tcp address='127.0.0.1:1'/>", "0s", " on-failure='restart'")
              + "<r:restart limit='2' delay='100ms' max-delay='1h'/>")
    found = site.domain(lambda d: reason(d) == "CrashLoop")
    assert found["restarts"]["lastExit"]["kind"] == "unhealthy"
    assert len(site.events("domain.starting")) == 3
    assert len(site.processes()) == 1
    assert {e["cause"] for e in site.events("domain.restarting")} == {"exit"}


def test_a_changed_health_probe_takes_effect_at_once(site, port):
    site.drop(inner=probe("<r:tcp address='127.0.0.1:1'/>", "0s"))
    site.domain(lambda d: reason(d) == "HealthCheckFailed")
    site.drop()
    found = site.settled("running")
    assert health(found) is None


def test_a_paused_guest_is_not_probed(site, port):
    site.drop(state="paused", inner=probe(tcp(port), "0s"))
    found = site.settled("paused")
    assert health(found) is None
    site.drop(inner=probe(tcp(port), "0s"))
    site.domain(lambda d: health(d) == "False")


def test_a_guest_that_hangs_during_a_probe_delays_no_other_domain(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)  # never accepts: connections stay pending
        full = [socket.socket() for _ in range(8)]
        for one in full:
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        site = Site(tmp_path)
        site.start()
        try:
            site.drop("a", inner=PROBE.format("1m", "", tcp(silent)).replace("'1s'", "'1m'"))
            site.drop("b")
            site.settled("running", "b")
            site.drop("b", "stopped")
            site.settled("absent", "b")
            os.kill(site.processes("a")[0], signal.SIGKILL)
            site.domain(lambda d: d["restarts"]["total"] == 1
                        and d["observed"]["state"] == "running")
        finally:
            site.close()
            for one in full:
                one.close()


def test_rule_7_after_a_rollback_the_probe_of_the_running_definition_counts(site, port):
    port.listen()
    site.drop(inner=probe(tcp(port), more=" on-failure='restart'"))
    site.settled("running")
    wrong = probe("<r:tcp address='127.0.0.1:1'/>", "0s", " on-failure='restart'")
    site.drop(inner=wrong, memory=256)
    found = site.domain(lambda d: reason(d) == "RolledBack" and health(d) == "True"
                        and d["observed"].get("memoryBytes") == 128 << 20)
    pid = found["observed"]["pid"]
    # It becomes unhealthy itself: it restarts with its own definition, not the refused one.
    port.close()
    found = site.domain(lambda d: d["observed"]["pid"] not in (None, pid))
    assert found["observed"]["memoryBytes"] == 128 << 20
    sizes = {e.get("revision") for e in site.events("domain.starting")[2:]}
    assert sizes == {site.events("domain.starting")[0]["revision"]}


def test_rule_7_a_failed_restart_does_not_prove_health(site, port):
    """The old definition runs: the refused one must not become the target of a rollback."""
    port.listen()
    site.drop(inner=probe(tcp(port)))
    site.settled("running")
    bad = probe("<r:tcp address='127.0.0.1:1'/>", "0s")
    site.drop(inner=bad, memory=256)
    site.domain(lambda d: reason(d) == "RolledBack" and d["observed"]["state"] == "running")
    site.disk("a").unlink()
    assert site.verb("restart", "a").returncode == 0
    site.domain(lambda d: "a.img" in d["conditions"][0]["message"] and d["attempt"] > 0)
    site.disk("a")
    site.domain(lambda d: reason(d) == "RolledBack" and d["observed"]["state"] == "running")
    assert len(site.events("domain.rolledback")) == 2
    assert site.domain(lambda d: d["observed"]["pid"])["observed"]["memoryBytes"] == 128 << 20


def test_rule_7_a_rollback_restores_a_definition_whose_probe_was_fixed_late(site, port):
    port.listen()
    site.drop(inner=probe(tcp(port)))
    site.settled("running")
    wrong = probe("<r:tcp address='127.0.0.1:1'/>", "10m")
    site.drop(inner=wrong, memory=192)
    site.domain(lambda d: health(d) == "Unknown" and d["observed"].get("memoryBytes") == 192 << 20)
    site.drop(inner=probe(tcp(port)), memory=192)
    site.settled("running")
    site.drop(inner=probe("<r:tcp address='127.0.0.1:1'/>", "0s"), memory=256)
    found = site.domain(lambda d: reason(d) == "RolledBack" and d["observed"]["state"] == "running"
                        and d["observed"].get("memoryBytes") != 256 << 20)
    assert found["observed"]["memoryBytes"] == 192 << 20


def test_rule_7_a_pause_from_outside_does_not_prove_health(site, port):
    port.listen()
    site.drop(inner=probe(tcp(port)))
    site.settled("running")
    site.drop(inner=probe("<r:tcp address='127.0.0.1:1'/>", "3s"), memory=256)
    site.domain(lambda d: health(d) == "Unknown" and d["observed"].get("memoryBytes") == 256 << 20)
    monitor(site, "stop")
    site.until(lambda _: site.events("domain.resumed"))
    found = site.domain(lambda d: reason(d) == "RolledBack" and d["observed"]["state"] == "running")
    assert found["observed"]["memoryBytes"] == 128 << 20


def test_rule_7_a_change_applied_after_a_crash_is_rolled_back_too(site, port):
    port.listen()
    manual = "<r:update policy='manual'/>"
    site.drop(inner=manual + probe(tcp(port)))
    pid = site.settled("running")["observed"]["pid"]
    wrong = probe("<r:tcp address='127.0.0.1:1'/>", "0s")
    site.drop(inner=manual + wrong, memory=256)
    site.domain(lambda d: d["pending"] and condition(d, "RestartRequired"))
    os.kill(pid, signal.SIGKILL)
    site.domain(lambda d: reason(d) == "RolledBack" and d["observed"]["state"] == "running"
                and d["observed"].get("memoryBytes") == 128 << 20)
    assert len(site.events("domain.rolledback")) == 1


@pytest.mark.skipif(bool(REAL), reason="the sample guest of the real one says nothing")
def test_a_user_on_the_console_does_not_make_the_guest_unhealthy(site):
    ill = probe("<r:console match='never'/>", "2s", " on-failure='restart'")
    site.drop(inner=ill, devices=PTY)
    found = site.domain(lambda d: health(d) == "Unknown" and d["observed"]["console"])
    with open(found["observed"]["console"], "rb", buffering=0) as person:
        fcntl.flock(person, fcntl.LOCK_EX)
        site.domain(lambda d: "console is in use" in condition(d, "Healthy")["message"])
        site.drop("b", inner=ill, devices=PTY)
        site.domain(lambda d: d["restarts"]["total"], "b")
        assert len(site.processes()) == 1
        assert site.domain(lambda d: True)["restarts"]["total"] == 0
    site.domain(lambda d: d["restarts"]["total"])


def test_a_revision_with_an_unhealthy_guest_is_a_failure_until_the_guest_is_healthy(site, port):
    def results(value):
        return [entry["result"] for entry in value["source"]["history"]]

    site.drop(inner=probe(tcp(port), "0s"))
    site.until(lambda value: results(value) == ["failure"])
    port.listen()
    site.until(lambda value: results(value) == ["success"])
