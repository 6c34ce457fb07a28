"""Real taps on a real bridge, each test in a network namespace of its own."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import struct
import subprocess
import traceback
from contextlib import closing

import pytest

from reconciler.domain.devices.interface import Vlan
from reconciler.errors import HostError
from reconciler.host import taps

_CLONE_NEWNET, _CLONE_NEWNS = 0x40000000, 0x00020000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
WHY = "taps need root and /dev/net/tun"


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def apart(test) -> None:
    """Run it in a child with its own network and its own /sys, with bridge br0."""
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        assert os.environ.get("CI") != "true", WHY
        pytest.skip(WHY)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS):
                raise OSError(ctypes.get_errno(), "unshare")
            libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
            if libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None):
                raise OSError(ctypes.get_errno(), "mount /sys")
            ip("link", "add", "br0", "type", "bridge")
            test()
        except BaseException:
            os.write(writer, traceback.format_exc().encode()[-60000:])
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as told:
        said = told.read().decode()
    os.waitpid(child, 0)
    assert not said, said


def flags(name: str) -> str:
    return ip("-o", "link", "show", name)


def test_a_tap_is_made_attached_and_put_up():
    def test():
        assert not taps.exists("tap-a")
        assert taps.make("tap-a", "br0", queues=1)
        assert taps.exists("tap-a")
        assert taps.bridge_of("tap-a") == "br0"
        assert ",UP" in flags("tap-a")
        assert "multi_queue" not in ip("-d", "link", "show", "tap-a")
        # It is persistent and outlives its creator.
        assert not taps.make("tap-a", "br0", queues=1)

    apart(test)


def test_a_tap_of_several_queues_and_without_a_bridge():
    def test():
        assert taps.make("tap-a", None, queues=4)
        assert taps.bridge_of("tap-a") is None
        assert "multi_queue" in ip("-d", "link", "show", "tap-a")
        taps.remove("tap-a")
        assert not taps.exists("tap-a")

    apart(test)


def test_an_existing_tap_is_attached_and_not_owned():
    def test():
        ip("tuntap", "add", "tap-b", "mode", "tap")
        ip("link", "add", "br1", "type", "bridge")
        ip("link", "set", "tap-b", "master", "br1")
        assert not taps.make("tap-b", "br1", queues=1)
        assert taps.bridge_of("tap-b") == "br1"
        assert ",UP" in flags("tap-b")

    apart(test)


def test_a_removed_tap_is_gone_and_a_second_removal_does_nothing():
    def test():
        taps.make("tap-a", "br0", queues=1)
        taps.remove("tap-a")
        assert not taps.exists("tap-a")
        taps.remove("tap-a")

    apart(test)


def test_an_interface_that_is_not_a_tap_is_never_removed_rule_5():
    def test():
        taps.remove("br0")
        assert taps.exists("br0")
        ip("link", "add", "veth0", "type", "veth", "peer", "veth1")
        taps.remove("veth0")
        assert taps.exists("veth0")

    apart(test)


def test_a_missing_bridge_is_named_and_no_tap_is_left():
    def test():
        with pytest.raises(HostError, match="tap tap-a: bridge br9 does not exist") as caught:
            taps.make("tap-a", "br9", queues=1)
        assert "ip link add br9" in caught.value.hint
        ip("link", "add", "veth0", "type", "veth", "peer", "veth1")
        with pytest.raises(HostError, match="does not exist on this host"):
            taps.make("tap-a", "veth0", queues=1)
        assert not taps.exists("tap-a")

    apart(test)


def test_a_tap_that_a_vm_holds_stays_without_an_error():
    def test():
        taps.make("tap-a", "br0", queues=1)
        with closing(os.fdopen(os.open("/dev/net/tun", os.O_RDWR), "rb", buffering=0)) as vm:
            fcntl.ioctl(vm, 0x400454CA, struct.pack("16sH22x", b"tap-a", 0x0002 | 0x1000 | 0x4000))
            taps.remove("tap-a")
            assert taps.exists("tap-a")
            assert not taps.make("tap-a", "br0", queues=1)
        assert taps.exists("tap-a")

    apart(test)


def test_a_name_that_the_kernel_refuses_is_reported_and_leaves_nothing():
    def test():
        with pytest.raises(HostError, match="tap a/b"):
            taps.make("a/b", "br0", queues=1)
        assert sorted(os.listdir("/sys/class/net")) == ["br0", "lo"] or (
            "a" not in os.listdir("/sys/class/net"))

    apart(test)


def test_rule_5_our_own_tap_is_recognised_by_its_owner():
    def test():
        taps.make("tap-a", None, owner="/run/r web1")
        taps.make("tap-b", None, owner="/run/other web1")
        ip("tuntap", "add", "tap-c", "mode", "tap")
        assert taps.owned_by("/run/r ") == {"tap-a": "web1"}

    apart(test)


def test_a_tap_s_mtu_and_another_bridge():
    def test():
        ip("link", "add", "br1", "type", "bridge")
        taps.make("tap-a", "br0", mtu=9000)
        assert "mtu 9000" in flags("tap-a")
        taps.make("tap-a", "br1", mtu=1400)
        assert taps.bridge_of("tap-a") == "br1"
        assert "mtu 1400" in flags("tap-a")

    apart(test)


def test_the_vlans_of_a_tap_s_port():
    def test():
        with pytest.raises(HostError, match="VLAN filtering is off on bridge"):
            taps.make("tap-a", "br0", vlans=[Vlan(42, untagged=True)])
        assert not taps.exists("tap-a")
        if not os.path.exists("/sys/class/net/br0/bridge/vlan_filtering"):
            return  # this kernel has none: the refusal is all that there is
        ip("link", "set", "br0", "type", "bridge", "vlan_filtering", "1")
        taps.make("tap-a", "br0", vlans=[Vlan(7), Vlan(42, untagged=True)])
        told = subprocess.run(["bridge", "-j", "vlan", "show", "dev", "tap-a"], check=True,
                              capture_output=True, text=True).stdout
        found, = json.loads(told)
        assert found["vlans"] == [{"vlan": 7},
                                  {"vlan": 42, "flags": ["PVID", "Egress Untagged"]}]
        taps.make("tap-a", "br0", vlans=[Vlan(9, untagged=True)])
        told = subprocess.run(["bridge", "-j", "vlan", "show", "dev", "tap-a"], check=True,
                              capture_output=True, text=True).stdout
        assert [vlan["vlan"] for vlan in json.loads(told)[0]["vlans"]] == [9]

    apart(test)
