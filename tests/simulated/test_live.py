"""Changes to a running VM: its process keeps them, and a restarted reconciler knows them."""

import json
import signal

import pytest

from reconciler.stratovirt.process import command_line
from tests.simulated.site import REAL, Site, condition, ready
from tests.simulator.support import Client

SECOND = ("<disk type='file'><source file='second.img'/>"
          "<target dev='vdb' bus='virtio'/></disk>")
HALF = "<currentMemory unit='MiB'>64</currentMemory>"


class Live(Site):
    def write(self, *, devices="", head="", state="running", inner="", vcpu=""):
        self.disk("second")
        self.drop(devices=devices, state=state, inner=inner, head=head + vcpu)

    def done(self, generation):
        """This generation is applied, and nothing of it waits."""
        return self.domain(lambda d: d["observedGeneration"] == d["generation"] >= generation
                           and ready(d) and not d["pending"])

    def times(self, event):
        return len(self.events(event))


@pytest.fixture
def live(tmp_path):
    made = []

    def site(**faults):
        env = {"STRATOVIRT_SIMULATOR": json.dumps({"*": faults})} if faults else {}
        found = Live(tmp_path, env=env)
        made.append(found)
        found.start()
        return found

    yield site
    for found in made:
        found.close()


def test_pain_5_a_disk_comes_and_goes_in_the_same_process(live):
    site = live()
    site.write()
    pid = site.settled("running")["observed"]["pid"]
    site.write(devices=SECOND)
    site.until(lambda _: site.times("domain.updated") == 1)
    assert site.done(1)["observed"]["pid"] == pid
    assert "disk[vdb]: none → " in site.events("domain.updated")[0]["message"]
    # The next reconciler knows it and does nothing.
    site.kill()
    site.start()
    assert site.settled("running")["observed"]["pid"] == pid
    assert site.verb("plan").returncode == 0
    assert site.times("domain.updated") == 1
    if REAL:
        return  # its guest never lets a device go
    site.write()
    site.until(lambda _: site.times("domain.updated") == 2)
    assert site.done(1)["observed"]["pid"] == pid
    # After a recreate it is on the command line.
    site.write(devices=SECOND)
    site.until(lambda _: site.times("domain.updated") == 3)
    assert site.verb("restart", "a").returncode == 0
    site.domain(lambda d: d["observed"]["pid"] not in (pid, None) and ready(d))
    words = command_line(site.processes("a")[0])
    assert any("second.img" in word for word in words)


@pytest.mark.skipif(bool(REAL), reason="the real one's guest never lets a device go")
def test_the_place_of_a_disk_stays_over_a_recreate(live):
    site = live()
    site.write()
    site.settled("running")
    site.write(devices=SECOND)
    site.until(lambda _: site.times("domain.updated") == 1)
    where = json.loads(site.verb("explain", "a", "-o", "json").stdout)["addresses"]
    site.verb("restart", "a")
    site.until(lambda _: site.times("domain.started") == 2)
    site.settled("running")
    assert json.loads(site.verb("explain", "a", "-o", "json").stdout)["addresses"] == where


@pytest.mark.skipif(bool(REAL), reason="the main loop of StratoVirt 2.5.0 hangs on it here")
def test_processors_come_live(live):
    site = live()
    site.write(vcpu="<vcpu current='1'>3</vcpu>")
    pid = site.settled("running")["observed"]["pid"]
    site.write(vcpu="<vcpu>3</vcpu>")
    site.until(lambda _: site.times("domain.updated") == 1)
    assert site.done(2)["observed"]["pid"] == pid
    assert site.domain(ready)["observed"]["vcpus"] == 3


@pytest.mark.skipif(bool(REAL), reason="no guest here has a balloon")
def test_memory_goes_through_the_balloon(live):
    site = live(balloon=True)
    site.write(head=HALF)
    pid = site.settled("running")["observed"]["pid"]
    site.until(lambda _: site.times("domain.updated") == 1)
    site.done(1)
    site.write()
    site.until(lambda _: site.times("domain.updated") == 2)
    assert site.done(2)["observed"]["pid"] == pid


def test_a_guest_without_a_balloon_driver_is_waited_for(live):
    site = live()
    site.write(head=HALF)
    found = site.domain(lambda d: d["pending"] and ready(d))
    assert found["pending"][0]["path"] == "currentMemory"
    assert found["pending"][0]["blockedBy"].startswith("guest:")
    assert not condition(found, "RestartRequired")
    assert site.verb("plan").returncode == 0
    assert "balloon" in found["pending"][0]["blockedBy"]


@pytest.mark.long
@pytest.mark.skipif(bool(REAL), reason="faults are the simulator's")
def test_a_guest_that_keeps_a_device_gets_a_new_process(live):
    site = live(guest_ignores_unplug=True)
    site.write(devices=SECOND)
    pid = site.settled("running")["observed"]["pid"]
    site.write()
    site.domain(lambda d: d["observed"]["pid"] not in (pid, None) and ready(d))
    failed, = site.events("action.failed")
    assert failed["reason"] == "GuestUnwilling"
    assert not any("second.img" in word for word in command_line(site.processes("a")[0]))


@pytest.mark.long
@pytest.mark.skipif(bool(REAL), reason="faults are the simulator's")
def test_with_the_policy_live_a_failed_hot_change_waits_for_a_restart(live):
    site = live(guest_ignores_unplug=True)
    policy = "<r:update policy='live'/>"
    site.write(devices=SECOND, inner=policy)
    pid = site.settled("running")["observed"]["pid"]
    site.write(inner=policy)
    found = site.domain(lambda d: bool(condition(d, "RestartRequired")))
    assert found["observed"]["pid"] == pid
    assert found["pending"][0]["class"] == "recreate"


def test_what_was_paused_is_given_a_disk_and_never_runs(live):
    site = live()
    site.write(state="paused")
    pid = site.settled("paused")["observed"]["pid"]
    site.write(state="paused", devices=SECOND)
    site.until(lambda _: site.times("domain.updated") == 1)
    assert site.settled("paused")["observed"]["pid"] == pid


def test_a_disk_whose_image_comes_later_comes_without_a_new_process(live):
    site = live()
    site.write()
    pid = site.settled("running")["observed"]["pid"]
    site.disk("second").unlink()
    site.drop(devices=SECOND)
    waits = site.domain(lambda d: d["attempt"] and "second.img" in d["conditions"][0]["message"])
    assert waits["observed"]["pid"] == pid
    site.disk("second")
    assert site.done(2)["observed"]["pid"] == pid
    assert site.times("domain.updated") == 1


@pytest.mark.skipif(bool(REAL), reason="faults are the simulator's")
def test_rule_2_the_reconciler_may_end_while_a_guest_releases_a_device(live):
    site = live(guest_ignores_unplug=True)
    site.write(devices=SECOND)
    pid = site.settled("running")["observed"]["pid"]
    site.write()
    site.until(lambda _: site.times("action.started") == 1)
    site.kill(signal.SIGTERM)
    site.write(devices=SECOND)
    site.start()
    assert site.settled("running")["observed"]["pid"] == pid
    assert site.times("domain.started") == 1


@pytest.mark.long
@pytest.mark.skipif(bool(REAL), reason="the real one's guest never lets a device go")
def test_an_event_delivered_to_another_qmp_client_is_not_waited_for(live):
    site = live()
    site.write(devices=SECOND)
    pid = site.settled("running")["observed"]["pid"]
    visitor = Client(str(site.settings.runtime / "vms" / "a" / "monitor.sock"))
    site.write()
    site.until(lambda _: site.times("domain.updated") == 1)
    visitor.close()
    assert site.done(2)["observed"]["pid"] == pid


@pytest.mark.skipif(bool(REAL), reason="no guest here has a balloon")
@pytest.mark.parametrize("policy", ["recreate", "auto", "manual"])
def test_rule_4_a_guest_that_cannot_follow_a_change_is_not_restarted_repeatedly(live, policy):
    site = live()
    site.write(head=HALF, inner=f"<r:update policy='{policy}'/>")
    site.domain(lambda d: d["pending"] and ready(d))
    begun = site.times("domain.started")
    site.verb("sync", "--wait", "--timeout", "5s")
    assert site.times("domain.started") == begun == 1
