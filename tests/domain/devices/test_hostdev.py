"""<hostdev>: exclusive use of one device of the host."""

import pytest

from reconciler.domain.cross_file_checks import conflicts
from reconciler.domain.place import Place
from tests.domain.making import DISK, device, error, problems, read


def hostdev(bus="0x03", more="managed='yes'", inner="", function="0x0"):
    return (f"<hostdev mode='subsystem' type='pci' {more}><source><address domain='0x0000' "
            f"bus='{bus}' slot='0x00' function='{function}'/></source>{inner}</hostdev>")


def test_its_argument():
    found = device(read(devices=DISK + hostdev()), "hostdev")
    assert found.managed
    assert found.arguments(Place(7, 0)) == (
        "-device", "vfio-pci,id=hostdev0,host=0000:03:00.0,bus=pcie.7,addr=0x0")
    assert not device(read(devices=DISK + hostdev(more="managed='no'")), "hostdev").managed


def test_rule_4_their_order_means_nothing():
    one = read(devices=DISK + hostdev("0x03") + hostdev("0x04"))
    assert one == read(devices=DISK + hostdev("0x04") + hostdev("0x03"))


@pytest.mark.parametrize("text", [
    "<hostdev mode='subsystem' type='usb'/>", "<hostdev mode='subsystem' type='pci'/>",
    "<hostdev type='mdev'/>", hostdev(bus="0x100"), hostdev(function="0x8"),
    hostdev(inner="<driver name='xen'/>"), hostdev(inner="<boot order='1'/>"),
    hostdev() + hostdev()])
def test_what_stratovirt_cannot_pass(text):
    assert problems(devices=DISK + text)


def test_two_domains_cannot_have_one():
    other = "<disk type='file'><source file='b.img'/><target dev='vda' bus='virtio'/></disk>"
    first = read(devices=DISK + hostdev(), name="a")
    found = conflicts({"a.xml": first, "b.xml": read(devices=other + hostdev(), name="b")},
                      {"a.xml": first})
    assert "host device '0000:03:00.0'" in found["b.xml"][0].message


def test_microvm_has_none():
    os = "<os><type machine='microvm'>hvm</type><kernel>/k</kernel></os>"
    assert "microvm" in error(os=os, devices=DISK + hostdev()).message
