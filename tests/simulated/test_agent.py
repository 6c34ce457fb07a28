"""A graceful stop asks the guest agent first, where the domain has its channel."""

import shutil

from tests.simulated.site import REAL, Site

CHANNEL = """<channel type='unix'><source mode='bind'/>
<target type='virtio' name='org.qemu.guest_agent.0'/></channel>"""


def test_a_shutdown_through_the_agent_is_not_a_crash(site):
    if REAL:
        return  # the sample guest of the real one has no agent; the next test is its
    site.drop(devices=CHANNEL)
    site.settled("running")
    site.drop(state="stopped", devices=CHANNEL)
    site.settled("absent")
    assert not site.events("domain.exited")
    stopped, = site.events("domain.stopped")
    assert stopped["durationMs"] < 3000
    assert (stopped["endedBy"], stopped.get("message")) == ("guest", None)
    log = (site.settings.runtime / "vms" / "a" / "stderr").read_text()
    assert "quit" not in log


def test_a_guest_without_an_agent_is_ended_all_the_same(site):
    if REAL:
        site.drop(devices=CHANNEL)
    else:
        site.kill()
        site.env["STRATOVIRT_SIMULATOR"] = '{"a": {"guest_ignores_shutdown": true}}'
        site.start()
        site.drop(devices=CHANNEL, inner="<r:stop timeout='1s'/>")
    site.settled("running")
    site.file().unlink()
    site.gone()
    assert site.processes() == []


def test_a_stop_that_is_a_power_cut_says_so(site):
    site.drop()
    site.settled("running")
    assert "stops by  power cut (it has no guest agent" in site.verb("explain", "a").stdout
    done = site.verb("stop", "a")
    assert done.returncode == 0
    assert "a was stopped without a clean shutdown: it has no guest agent" in done.stderr
    stopped, = site.events("domain.stopped")
    assert (stopped["endedBy"], stopped["message"].split(":")[0]) == (
        "quit", "without a clean shutdown")
    assert "a was stopped" not in site.verb("start", "a").stderr


def test_pain_9_a_vm_without_any_record_is_adopted_and_shut_down(tmp_path):
    """By its lock and its command line, which name its directory, and so its monitor."""
    if REAL:
        return  # that nothing else but quit ends it is the simulator's
    site = Site(tmp_path, env={"STRATOVIRT_SIMULATOR": '{"a": {"ignore_sigterm": true}}'})
    try:
        site.start()
        site.drop()
        pid = site.settled("running")["observed"]["pid"]
        home = site.settings.runtime / "vms" / "a"
        site.kill()
        (home / "record.json").unlink()
        (home / "definition.xml").unlink()
        shutil.rmtree(site.path / "state")
        site.start()
        assert site.settled("running")["observed"]["pid"] == pid
        assert not site.events("domain.starting", "domain.exited")
        site.drop(state="stopped")
        site.settled("absent")
        assert not (home / "qmp.sock").exists()  # SIGKILL would have left it
        assert not site.events("domain.exited")
    finally:
        site.close()
