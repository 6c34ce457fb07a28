"""A VM whose taps were taken from their bridge is connected again; a wait ends when it can."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
from dataclasses import replace

import pytest

from reconciler.host import links
from reconciler.samples import firmware
from tests.engine.making import Place, running, settled, state_of, until
from tests.host.test_taps import apart, ip

CARD = ("<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
        "<target dev='tap-a'/><mtu size='1400'/></interface>")
# Retries take minutes: what ends a wait in time was woken.
SLOW = "reconcile: {backoff: {initial: 5m, maximum: 10m}}\n"


class Runs(Place):
    """Its VMs can run."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        (self.path / "images" / "fw.fd").write_bytes(firmware())


class OnHost(Runs):
    """Its hypervisor is the simulator, but uses what the host has."""

    def binary(self):
        return replace(super().binary(), simulated=False)


def is_ready(daemon):
    return state_of(daemon).plan.is_ready


def ends_its_vms(test, path):
    """Run it; the VMs that it leaves are ended."""
    try:
        asyncio.run(test())
    finally:
        for record in (path / "run" / "vms").glob("*/record.json"):
            pid = json.loads(record.read_text())["pid"]
            if pid is not None:
                os.kill(pid, signal.SIGKILL)


def bridge_made_again():
    ip("link", "del", "br0")
    ip("link", "add", "br0", "type", "bridge")


def taken_from_it():
    ip("link", "set", "tap-a", "nomaster")


def put_down():
    ip("link", "set", "tap-a", "down")


def other_mtu():
    ip("link", "set", "tap-a", "mtu", "1300")


@pytest.mark.parametrize(("change", "said"), [
    (bridge_made_again, "a port of no bridge; wanted: br0"),
    (taken_from_it, "a port of no bridge; wanted: br0"), (put_down, "is down"),
    (other_mtu, "has the MTU 1300; wanted: 1400")])
def test_rule_9_a_tap_off_its_network_is_drift_and_is_corrected_at_once(tmp_path, change, said):
    place = OnHost(tmp_path, SLOW)
    place.drop("a", "running", devices=CARD)

    def test():
        async def loses_its_network():
            async with running(place) as daemon:
                await until(daemon, lambda: settled(daemon, 1)() and is_ready(daemon))
                pid = state_of(daemon).vm.pid
                await asyncio.to_thread(change)
                drifted = await place.until_reported("domain.drifted")
                await until(daemon, lambda: is_ready(daemon) and place.reported("domain.updated"))
                assert said in drifted["message"] or "a port of no bridge" in drifted["message"]
                assert links.look("tap-a") == links.Link("br0", up=True, mtu=1400)
                assert state_of(daemon).vm.pid == pid
                assert not place.reported("domain.recreating", "domain.restarting")

        ends_its_vms(loses_its_network, tmp_path)

    apart(test)


def test_rule_9_a_vm_whose_bridge_is_gone_is_not_ready_and_is_connected_when_it_is_back(tmp_path):
    place = OnHost(tmp_path, SLOW)
    place.drop("a", "running", devices=CARD)

    def test():
        async def loses_its_bridge():
            async with running(place) as daemon:
                await until(daemon, lambda: settled(daemon, 1)() and is_ready(daemon))
                await asyncio.to_thread(ip, "link", "del", "br0")
                await until(daemon, lambda: place.reported("action.failed"))
                assert not is_ready(daemon)
                assert "bridge br0 does not exist" in state_of(daemon).plan.ready.message
                await asyncio.to_thread(ip, "link", "add", "br0", "type", "bridge")
                await until(daemon, lambda: is_ready(daemon))
                assert links.bridge_of("tap-a") == "br0"

        ends_its_vms(loses_its_bridge, tmp_path)

    apart(test)


def test_what_changed_while_no_reconciler_ran_is_corrected_by_the_next_one(tmp_path):
    place = OnHost(tmp_path, SLOW)
    place.drop("a", "running", devices=CARD)

    def test():
        async def twice():
            async with running(place) as daemon:
                await until(daemon, lambda: settled(daemon, 1)() and is_ready(daemon))
                pid = state_of(daemon).vm.pid
            await asyncio.to_thread(bridge_made_again)
            async with running(place) as daemon:
                await until(daemon, lambda: is_ready(daemon) and place.reported("domain.updated"))
                assert links.bridge_of("tap-a") == "br0"
                assert state_of(daemon).vm.pid == pid

        ends_its_vms(twice, tmp_path)

    apart(test)


def test_a_start_that_waits_for_a_bridge_goes_on_when_it_appears(tmp_path):
    place = OnHost(tmp_path, SLOW)
    place.drop("a", "running", devices=CARD)

    def test():
        async def waits():
            ip("link", "del", "br0")
            async with running(place) as daemon:
                await until(daemon, lambda: place.reported("action.failed"))
                await asyncio.to_thread(ip, "link", "add", "br0", "type", "bridge")
                await until(daemon, lambda: settled(daemon, 1)() and is_ready(daemon))

        ends_its_vms(waits, tmp_path)

    apart(test)


def test_a_start_that_waits_for_a_disk_goes_on_when_its_file_system_is_mounted(tmp_path):
    place, mounted = Runs(tmp_path, SLOW), tmp_path / "mnt"
    mounted.mkdir()
    disk = (f"<disk type='file'><source file='{mounted}/web1.img'/>"
            "<target dev='vdb' bus='virtio'/></disk>")
    place.drop("a", "running", devices=disk)

    def test():
        libc = ctypes.CDLL(None, use_errno=True)

        def mount():
            assert libc.mount(b"none", os.fsencode(mounted), b"tmpfs", 0, None) == 0
            (mounted / "web1.img").touch()

        async def waits():
            async with running(place) as daemon:
                await until(daemon, lambda: place.reported("action.failed"))
                await asyncio.to_thread(mount)
                await until(daemon, lambda: settled(daemon, 1)() and is_ready(daemon))

        ends_its_vms(waits, tmp_path)

    apart(test)


@pytest.mark.parametrize("name", ["eth0", "br1"])
def test_rule_5_a_card_of_the_host_is_refused_before_the_old_vm_is_stopped(tmp_path, name):
    place = OnHost(tmp_path, SLOW)
    place.drop("a", "running", devices=CARD)

    def test():
        async def refused():
            ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
            ip("link", "add", "br1", "type", "bridge")
            async with running(place) as daemon:
                await until(daemon, lambda: settled(daemon, 1)() and is_ready(daemon))
                pid = state_of(daemon).vm.pid
                place.drop("a", "running", devices=CARD.replace("tap-a", name))
                failed = await place.until_reported("action.failed")
                await daemon.queue.rest()
                assert "not a tap" in failed["error"]
                assert failed["action"] == "check"
                assert state_of(daemon).vm.pid == pid
                assert links.bridge_of(name) is None
                assert links.bridge_of("tap-a") == "br0"

        ends_its_vms(refused, tmp_path)

    apart(test)
