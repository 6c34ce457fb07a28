"""Host resources of a start: all or none, and released."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from reconciler.errors import HostError
from reconciler.host import links, taps
from reconciler.host.taps import Tap
from reconciler.stratovirt.addresses import lay_out
from reconciler.stratovirt.prepare import StartRequest, check, prepare, release, remove_stale_taps
from tests.domain.making import DISK, HOST, read
from tests.host.test_taps import apart

CARD = ("<interface type='bridge'><mac address='52:54:00:00:00:0{n}'/><source bridge='{bridge}'/>"
        "<target dev='tap-{n}'/></interface>")


def order(devices, *, simulated=False, manage_taps=True):
    domain = read(devices=DISK + devices)
    return StartRequest(domain, b"", lay_out(domain, {}, 0), ["x"], paused=False, generation=1,
                 read_with=HOST.keep(), manage_taps=manage_taps, simulated=simulated)


def test_taps_are_made_and_given_back():
    def test():
        made = prepare(order(CARD.format(n=1, bridge="br0")), "/run/r/vms/a")
        assert made.taps == ("tap-1",)
        assert links.bridge_of("tap-1") == "br0"
        release(made)
        assert not links.exists("tap-1")

    apart(test)


def test_pain_16_what_was_made_before_a_failure_is_taken_away_again():
    def test():
        devices = CARD.format(n=1, bridge="br0") + CARD.format(n=2, bridge="br9")
        with pytest.raises(HostError, match="does not exist on this host"):
            prepare(order(devices), "/run/r/vms/a")
        assert not links.exists("tap-1")

    apart(test)


def test_rule_5_only_our_own_taps_whose_vm_is_gone_are_removed(tmp_path):
    def test():
        for name in ("gone", "lives"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "lock").touch()
            taps.take(Tap(f"tap-{name}", "br0", owner=str(tmp_path / name)))
        taps.take(Tap("tap-other", "br0", owner="/run/another/vms/gone"))
        with (tmp_path / "lives" / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert remove_stale_taps(tmp_path) == ["tap-gone"]
        assert not links.exists("tap-gone")
        assert links.exists("tap-lives")
        assert links.exists("tap-other")

    apart(test)


def test_simulated_vms_use_nothing_of_the_host():
    devices = ("<vsock/><hostdev mode='subsystem' type='pci'><source><address bus='0xff'/></source>"
               "</hostdev>" + CARD.format(n=1, bridge="no-such"))
    assert prepare(order(devices, simulated=True), "/x").taps == ()


def test_pain_16_missing_files_are_reported_before_anything_is_created(tmp_path):
    disk = f"<disk type='file'><source file='{tmp_path}/a'/><target dev='vda' bus='virtio'/></disk>"
    Path(tmp_path / "a").touch()
    passed = ("<hostdev mode='subsystem' type='pci'><source><address bus='0xff' slot='0x1f' "
              "function='7'/></source></hostdev>")
    with pytest.raises(HostError, match="does not exist on this host"):
        check(read(devices=disk + passed), simulated=False)
    check(read(devices=disk + passed), simulated=True)
