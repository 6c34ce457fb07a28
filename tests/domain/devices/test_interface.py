"""Network cards."""

import pytest

from reconciler.domain.devices.interface import Vlan
from reconciler.domain.model import Impact
from reconciler.domain.place import Place
from tests.domain.making import DISK, device, error, problems, read, warnings


def card(inner: str = "", kind: str = "ethernet") -> str:
    return f"<interface type='{kind}'>{inner}</interface>"


def first(inner: str = "", kind: str = "ethernet"):
    return device(read(devices=DISK + card(inner, kind)), "interface")


def test_the_command_line_of_stratovirt_s_own_example():
    found = first("<mac address='de:ad:be:ef:00:01'/><source bridge='qbr0'/><target dev='tap0'/>"
                  "<model type='virtio'/>")
    assert found.arguments(Place(2, 0)) == (
        "-netdev", "tap,id=hostnet0,ifname=tap0", "-device",
        "virtio-net-pci,netdev=hostnet0,id=net0,mac=de:ad:be:ef:00:01,bus=pcie.2,addr=0x0")
    assert found.bridge == "qbr0"
    assert found.arguments(None)[3] == (
        "virtio-net-device,netdev=hostnet0,id=net0,mac=de:ad:be:ef:00:01")


def test_queues_and_vhost():
    found = first("<target dev='t'/><driver name='vhost' queues='4'/>").arguments(Place(2, 0))
    assert found[1] == "tap,id=hostnet0,ifname=t,queues=4,vhost=on"
    assert found[3].endswith(",mq=on")
    assert "mq" not in first("<driver queues='1'/>").arguments(Place(2, 0))[3]
    assert problems(devices=DISK + card("<driver queues='17'/>"))


def test_a_card_of_type_bridge_needs_its_bridge():
    assert first("<source bridge='br0'/>", "bridge").bridge == "br0"
    assert error(devices=DISK + card("", "bridge"))


def test_what_is_not_given_is_derived_short_and_never_changes():
    found = first()
    assert found.mac.startswith("52:54:00:")
    assert len(found.tap) <= 15
    again = device(read("\n", devices=card() + DISK), "interface")
    assert (again.mac, again.tap) == (found.mac, found.tap)
    other = device(read(devices=DISK + card(), name="b"), "interface")
    assert other.mac != found.mac
    assert other.tap != found.tap


def test_libvirt_s_own_tap_names_are_replaced_as_libvirt_does():
    found = first("<mac address='52:54:00:00:00:01'/><target dev='vnet0'/>")
    assert found.tap != "vnet0"


def test_adding_a_card_changes_nothing_about_another():
    plain = card("<source bridge='br0'/>", "bridge")
    alone = device(read(devices=DISK + plain), "interface")
    for more in (card("<target dev='t1'/>"), card("<mac address='52:54:00:00:00:01'/>")):
        for devices in (more + plain, plain + more):
            both = [d for d in read(devices=DISK + devices).devices if d.KIND == "interface"]
            assert (alone.mac, alone.tap) in [(d.mac, d.tap) for d in both]


def test_rule_4_the_order_of_cards_means_nothing_even_without_mac_and_tap():
    one, two = card("<source bridge='br0'/>", "bridge"), card("<source bridge='br1'/>", "bridge")
    assert read(devices=DISK + one + two) == read(devices=DISK + two + one)


def test_a_card_is_recognised_when_something_else_of_it_changes():
    one = first("<mac address='52:54:00:00:00:01'/><source bridge='br0'/>")
    two = first("<mac address='52:54:00:00:00:01'/><source bridge='br1'/>")
    assert one.key == two.key
    assert one.IMPACT["bridge"] is Impact.HOST


@pytest.mark.parametrize("inner", [
    "<mac address='01:00:5e:00:00:01'/>", "<mac address='52:54:00'/>", "<mac address='x'/>",
    "<target dev='a234567890123456'/>", "<target dev='a,b'/>", "<target dev='-a'/>",
    "<source bridge='a/b'/>", "<model type='e1000'/>", "<boot order='1'/>",
    "<vlan><tag id='5'/></vlan>", "<bandwidth/>", "<filterref filter='clean'/>",
    "<virtualport type='openvswitch'/>", "<port isolated='yes'/>"])
def test_what_is_refused(inner):
    assert problems(devices=DISK + card(inner))


@pytest.mark.parametrize("kind", ["network", "direct", "user", "hostdev", "vhostuser", "x"])
def test_kinds_that_are_refused(kind):
    assert "bridge" in error(devices=DISK + card("", kind)).message


def test_a_link_that_is_down_is_never_silently_up():
    assert not first("<link state='down'/>").up
    assert first("<link state='up'/>").up


def test_the_tap_s_mtu_and_vlans():
    found = first("<source bridge='br0'/><mtu size='9000'/><vlan trunk='yes'><tag id='42'/>"
                      "<tag id='7' nativeMode='untagged'/></vlan>", "bridge")
    assert found.mtu == 9000
    assert found.vlans == (Vlan(7, untagged=True), Vlan(42))
    access = first("<source bridge='br0'/><vlan><tag id='42'/></vlan>", "bridge")
    assert access.vlans == (Vlan(42, untagged=True),)


@pytest.mark.parametrize("inner", [
    "<mtu size='9'/>", "<vlan/>", "<vlan><tag id='4095'/></vlan>",
    "<vlan trunk='no'><tag id='1'/><tag id='2'/></vlan>",
    "<vlan trunk='yes'><tag id='1'/><tag id='1' nativeMode='untagged'/></vlan>",
    ("<vlan trunk='yes'><tag id='1' nativeMode='untagged'/><tag id='2' nativeMode='untagged'/>"
    "</vlan>")])
def test_invalid_mtus_and_vlans(inner):
    assert problems(devices=DISK + card("<source bridge='br0'/>" + inner, "bridge"))


def test_a_vlan_needs_a_bridge():
    assert "bridge" in error(devices=DISK + "<interface type='ethernet'><vlan><tag id='4'/></vlan>"
                             "</interface>").message


@pytest.mark.parametrize("inner", ["<rom bar='off'/>", "<coalesce/>"])
def test_what_is_ignored_with_a_warning(inner):
    assert len(warnings(devices=DISK + card(inner))) == 1


def test_aliases_follow_a_stable_order():
    macs = [f"<mac address='52:54:00:00:00:0{n}'/>" for n in (2, 1)]
    found = {d.alias: d.mac for d in read(devices=DISK + card(macs[0]) + card(macs[1])).devices
             if d.KIND == "interface"}
    assert found == {"net0": "52:54:00:00:00:01", "net1": "52:54:00:00:00:02"}


def test_it_claims_its_mac_and_its_tap():
    assert {(c.kind, c.value) for c in first("<mac address='52:54:00:AA:00:01'/>"
                                             "<target dev='t'/>").exclusive_resources()} == {
        ("MAC address", "52:54:00:aa:00:01"), ("tap", "t")}
