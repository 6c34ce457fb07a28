"""Each kind of exit is distinguished, counted and shown with its time, also after a restart."""

import os
import signal

import pytest

from tests.simulated.site import REAL, Site, ready, reason
from tests.simulated.test_drift import monitor

pytestmark = pytest.mark.skipif(bool(REAL), reason="who gets an event is the simulator's to say")


@pytest.fixture
def site(tmp_path):
    """Its VMs send their events to every client: another QMP client takes none away."""
    found = Site(tmp_path, env={"STRATOVIRT_SIMULATOR": '{"*": {"events": "all"}}'})
    found.start()
    yield found
    found.close()


def send(site, command):
    """Send a QMP command by another client, whose event the reconciler does not miss.

    Awake, the reconciler may be making a new QMP connection, because of the other client, just when
    the event is sent.
    """
    with site.frozen():
        monitor(site, command)


def back(site, pid):
    return site.domain(lambda d: ready(d) and d["observed"]["pid"] not in (None, pid))


def test_pain_8_each_kind_of_exit_is_distinguished_counted_and_shown(site):
    site.drop(inner="<r:restart limit='20' delay='100ms' max-delay='1s'/>")
    pid = site.settled("running")["observed"]["pid"]
    for kind, command, number in (("quit-from-outside", "quit", None),
                                  ("terminated", None, signal.SIGTERM),
                                  ("guest-poweroff", "system_powerdown", None),
                                  ("killed", None, signal.SIGKILL)):
        if command:
            send(site, command)
        else:
            os.kill(pid, number)
        found = back(site, pid)
        assert found["restarts"]["lastExit"]["kind"] == kind
        pid = found["observed"]["pid"]
    site.kill()
    os.kill(pid, signal.SIGKILL)
    site.start()
    counts = {"guest-poweroff": 1, "killed": 2, "quit-from-outside": 1, "terminated": 1}
    found = back(site, pid)
    assert found["restarts"]["byKind"] == counts
    assert found["restarts"]["total"] == 5
    wanted = ", ".join(f"{kind} {count}" for kind, count in counts.items())
    at = found["restarts"]["lastExit"]["at"]
    for words in (("status", "a"), ("explain", "a")):
        shown = site.verb(*words).stdout
        assert wanted in shown
        assert f"killed at {at}: was killed or crashed" in shown


def test_pain_8_a_reboot_counts_as_an_exit_with_on_reboot_destroy(site):
    site.drop(file=".a")
    data = (site.path / "domains" / ".a").read_bytes()
    site.put("a.xml", data.replace(b"<devices>", b"<on_reboot>destroy</on_reboot><devices>"))
    site.settled("running")
    send(site, "system_reset")
    found = site.domain(lambda d: reason(d) == "PoweredOff" and d["observed"]["state"] == "absent")
    assert found["restarts"]["byKind"] == {"guest-reset": 1}
    assert found["restarts"]["lastExit"]["kind"] == "guest-reset"
    assert len(site.events("domain.starting")) == 1


def test_pain_8_otherwise_a_reboot_is_not_an_exit(site):
    site.drop()
    pid = site.settled("running")["observed"]["pid"]
    send(site, "system_reset")
    site.drop("b")
    site.settled("running", "b")
    found = site.settled("running")
    assert found["observed"]["pid"] == pid
    assert found["restarts"] == {"total": 0, "inWindow": 0, "byKind": {}, "lastExit": None}
