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
from reconciler.host import links, taps
from reconciler.host.taps import Taken, Tap

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


def take(name, bridge, owner="/run/r/vms/web1", **more) -> Taken:
    return taps.take(Tap(name, bridge, owner=owner, **more))


def busy(name: str, *, multi: bool = False):
    """A process has the tap open, as a VM does."""
    handle = os.fdopen(os.open("/dev/net/tun", os.O_RDWR), "rb", buffering=0)
    fcntl.ioctl(handle, 0x400454CA, struct.pack(
        "16sH22x", name.encode(), 0x0002 | 0x1000 | 0x4000 | (0x0100 if multi else 0)))
    return closing(handle)


def flags(name: str) -> str:
    return ip("-o", "link", "show", name)


def test_a_tap_is_made_attached_and_put_up():
    def test():
        assert not links.exists("tap-a")
        assert take("tap-a", "br0") is Taken.CREATED
        assert links.exists("tap-a")
        assert links.bridge_of("tap-a") == "br0"
        assert ",UP" in flags("tap-a")
        assert "multi_queue" not in ip("-d", "link", "show", "tap-a")
        # It is persistent and outlives its creator.
        assert take("tap-a", "br0") is Taken.NOTHING

    apart(test)


def test_a_tap_of_several_queues_and_without_a_bridge():
    def test():
        assert take("tap-a", None, queues=4) is Taken.CREATED
        assert links.bridge_of("tap-a") is None
        assert "multi_queue" in ip("-d", "link", "show", "tap-a")
        taps.remove("tap-a")
        assert not links.exists("tap-a")

    apart(test)


def test_an_existing_tap_is_attached_and_not_owned():
    def test():
        ip("tuntap", "add", "tap-b", "mode", "tap")
        ip("link", "add", "br1", "type", "bridge")
        ip("link", "set", "tap-b", "master", "br1")
        assert take("tap-b", "br1") is Taken.NOTHING
        assert links.bridge_of("tap-b") == "br1"

    apart(test)


def test_a_removed_tap_is_gone_and_a_second_removal_does_nothing():
    def test():
        take("tap-a", "br0")
        taps.remove("tap-a")
        assert not links.exists("tap-a")
        taps.remove("tap-a")

    apart(test)


def test_an_interface_that_is_not_a_tap_is_never_removed_rule_5():
    def test():
        taps.remove("br0")
        assert links.exists("br0")
        ip("link", "add", "veth0", "type", "veth", "peer", "veth1")
        taps.remove("veth0")
        assert links.exists("veth0")

    apart(test)


def test_a_missing_bridge_is_named_and_no_tap_is_left():
    def test():
        with pytest.raises(HostError, match="tap tap-a: bridge br9 does not exist") as caught:
            take("tap-a", "br9")
        assert "ip link add br9" in caught.value.hint
        ip("link", "add", "veth0", "type", "veth", "peer", "veth1")
        with pytest.raises(HostError, match="does not exist on this host"):
            take("tap-a", "veth0")
        assert not links.exists("tap-a")

    apart(test)


def test_a_tap_that_a_vm_holds_stays_without_an_error():
    def test():
        take("tap-a", "br0")
        with busy("tap-a"):
            taps.remove("tap-a")
            assert links.exists("tap-a")
            assert take("tap-a", "br0") is Taken.NOTHING
        assert links.exists("tap-a")

    apart(test)


def test_rule_5_what_is_not_a_tap_is_refused_before_anything_is_changed():
    def test():
        ip("link", "add", "eth0", "type", "veth", "peer", "name", "peer0")
        ip("link", "set", "eth0", "up")
        ip("link", "add", "other", "type", "bridge")
        ip("link", "add", "br1", "type", "bridge")
        ip("tuntap", "add", "tun0", "mode", "tun")
        for name in ("eth0", "other", "lo", "tun0"):
            before = flags(name)
            for bridge in ("br0", None):
                wanted = Tap(name, bridge, mtu=1000, owner="/run/r/vms/web1")
                for attempt in (taps.check, taps.take):
                    with pytest.raises(HostError, match="not a tap") as caught:
                        attempt(wanted)
                    assert caught.value.reason == "Conflict"
            assert flags(name) == before

    apart(test)


@pytest.mark.parametrize("multi", [False, True])
def test_rule_5_a_tap_that_another_process_has_open_is_refused_and_not_changed(multi):
    def test():
        ip("tuntap", "add", "tap-b", "mode", "tap", *(("multi_queue",) if multi else ()))
        if multi:  # only then the kernel tells whether a queue of it is open
            ip("link", "set", "tap-b", "up")
        with busy("tap-b", multi=multi):
            before = flags("tap-b")
            for bridge in ("br0", None):
                with pytest.raises(HostError, match="another process has it open"):
                    take("tap-b", bridge, queues=2 if multi else 1)
            assert flags("tap-b") == before
            taps.check(Tap("tap-b", "br0"))  # it may be open by the VM that is to be recreated
        assert take("tap-b", "br0", queues=2 if multi else 1) is Taken.ATTACHED

    apart(test)


def test_rule_5_a_tap_of_another_program_on_another_bridge_is_refused_with_both_names():
    def test():
        ip("link", "add", "br1", "type", "bridge")
        ip("tuntap", "add", "tap-b", "mode", "tap")
        ip("link", "set", "tap-b", "master", "br1")
        for attempt in (taps.check, taps.take):
            with pytest.raises(HostError, match="tap-b: it is a port of bridge br1.*wanted: br0"):
                attempt(Tap("tap-b", "br0", owner="/run/r/vms/web1"))
        assert links.bridge_of("tap-b") == "br1"

    apart(test)


def test_rule_5_a_free_tap_is_attached_and_can_be_given_back():
    def test():
        ip("tuntap", "add", "tap-b", "mode", "tap")
        assert take("tap-b", "br0") is Taken.ATTACHED
        assert links.bridge_of("tap-b") == "br0"
        assert ",UP" in flags("tap-b")
        taps.detach("tap-b")
        assert links.bridge_of("tap-b") is None
        taps.detach("tap-b")
        assert links.exists("tap-b")

    apart(test)


def test_rule_5_the_mtu_of_a_tap_of_another_program_is_not_changed():
    def test():
        ip("tuntap", "add", "tap-b", "mode", "tap")
        with pytest.raises(HostError, match="its MTU is 1500.*wanted: 9000"):
            take("tap-b", "br0", mtu=9000)
        assert links.bridge_of("tap-b") is None
        assert take("tap-b", "br0", mtu=1500) is Taken.ATTACHED

    apart(test)


def test_rule_5_the_tap_of_another_vm_is_refused():
    def test():
        take("tap-a", "br0", owner="/run/r/vms/web1")
        with pytest.raises(HostError, match="it is that of the VM in /run/r/vms/web1"):
            take("tap-a", "br0", owner="/run/r/vms/web2")

    apart(test)


def test_a_tap_on_a_bridge_that_the_configuration_does_not_allow_is_refused():
    def test():
        ip("tuntap", "add", "tap-b", "mode", "tap")
        ip("link", "set", "tap-b", "master", "br0")
        with pytest.raises(HostError, match="admission.bridges") as caught:
            take("tap-b", None, bridges=("br7",))
        assert caught.value.reason == "NotAllowed"
        assert take("tap-b", None, bridges=("br0",)) is Taken.NOTHING

    apart(test)


def test_nothing_is_left_of_an_attempt_that_fails():
    def test():
        ip("tuntap", "add", "tap-b", "mode", "tap")
        for name in ("tap-b", "tap-new"):
            with pytest.raises(HostError, match="VLAN filtering is off"):
                take(name, "br0", vlans=[Vlan(42)])
        assert links.bridge_of("tap-b") is None
        assert not links.exists("tap-new")

    apart(test)


def test_how_a_tap_differs_from_what_its_vm_was_given():
    def test():
        wanted = Tap("tap-a", "br0", mtu=9000, owner="/run/r/vms/web1")
        assert taps.difference(wanted) == "tap tap-a was deleted"
        taps.take(wanted)
        assert taps.difference(wanted) == ""
        ip("link", "set", "tap-a", "down")
        assert taps.difference(wanted) == "tap tap-a is down"
        ip("link", "set", "tap-a", "mtu", "1400")
        assert "has the MTU 1400; wanted: 9000" in taps.difference(wanted)
        ip("link", "del", "br0")
        assert "is a port of no bridge; wanted: br0" in taps.difference(wanted)
        with pytest.raises(HostError, match="bridge br0 does not exist"):
            taps.change(wanted, attached=False)
        ip("link", "add", "br0", "type", "bridge")
        with busy("tap-a"):
            taps.change(wanted, attached=False)
        assert taps.difference(wanted) == ""
        taps.remove("tap-a")
        with pytest.raises(HostError, match="it was deleted"):
            taps.change(wanted, attached=False)
        assert not links.exists("tap-a")

    apart(test)


def test_rule_5_the_tap_of_a_running_vm_is_taken_from_no_other_bridge():
    def test():
        ip("link", "add", "br1", "type", "bridge")
        ip("tuntap", "add", "tap-b", "mode", "tap")
        ip("link", "set", "tap-b", "master", "br0")
        wanted = Tap("tap-b", "br1", owner="/run/r/vms/web1")
        with pytest.raises(HostError, match="it is a port of bridge br0"):
            taps.change(wanted, attached=False)
        taps.change(wanted, attached=True)
        assert links.bridge_of("tap-b") == "br1"

    apart(test)


def test_a_name_that_the_kernel_refuses_is_reported_and_leaves_nothing():
    def test():
        with pytest.raises(HostError, match="tap a/b"):
            take("a/b", "br0")
        assert sorted(os.listdir("/sys/class/net")) == ["br0", "lo"] or (
            "a" not in os.listdir("/sys/class/net"))

    apart(test)


def test_rule_5_our_own_tap_is_recognised_by_its_owner():
    def test():
        take("tap-a", None, owner="/run/r web1")
        take("tap-b", None, owner="/run/other web1")
        ip("tuntap", "add", "tap-c", "mode", "tap")
        assert taps.owned_by("/run/r ") == {"tap-a": "web1"}

    apart(test)


def test_a_tap_s_mtu_and_another_bridge():
    def test():
        ip("link", "add", "br1", "type", "bridge")
        take("tap-a", "br0", mtu=9000)
        assert "mtu 9000" in flags("tap-a")
        taps.change(Tap("tap-a", "br1", mtu=1400, owner="/run/r/vms/web1"), attached=False)
        assert links.bridge_of("tap-a") == "br1"
        assert "mtu 1400" in flags("tap-a")

    apart(test)


def test_the_vlans_of_a_tap_s_port():
    def test():
        with pytest.raises(HostError, match="VLAN filtering is off on bridge"):
            take("tap-a", "br0", vlans=[Vlan(42, untagged=True)])
        assert not links.exists("tap-a")
        if not os.path.exists("/sys/class/net/br0/bridge/vlan_filtering"):
            return  # this kernel has none: the refusal is all that there is
        ip("link", "set", "br0", "type", "bridge", "vlan_filtering", "1")
        take("tap-a", "br0", vlans=[Vlan(7), Vlan(42, untagged=True)])
        told = subprocess.run(["bridge", "-j", "vlan", "show", "dev", "tap-a"], check=True,
                              capture_output=True, text=True).stdout
        found, = json.loads(told)
        assert found["vlans"] == [{"vlan": 7},
                                  {"vlan": 42, "flags": ["PVID", "Egress Untagged"]}]
        take("tap-a", "br0", vlans=[Vlan(9, untagged=True)])
        told = subprocess.run(["bridge", "-j", "vlan", "show", "dev", "tap-a"], check=True,
                              capture_output=True, text=True).stdout
        assert [vlan["vlan"] for vlan in json.loads(told)[0]["vlans"]] == [9]

    apart(test)
