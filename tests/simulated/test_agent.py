"""A graceful stop asks the guest agent first, where the domain has its channel."""

from tests.simulated.site import REAL

CHANNEL = """<channel type='unix'><source mode='bind'/>
<target type='virtio' name='org.qemu.guest_agent.0'/></channel>"""


def test_the_guest_is_asked_and_its_end_is_no_crash(site):
    if REAL:
        return  # the sample guest of the real one has no agent; the next test is its
    site.drop(devices=CHANNEL)
    site.settled("running")
    site.drop(state="stopped", devices=CHANNEL)
    site.settled("absent")
    assert not site.events("domain.exited")
    stopped, = site.events("domain.stopped")
    assert stopped["durationMs"] < 3000
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
