"""Root ports and the balloon."""

import pytest

from reconciler.domain.place import Place
from tests.domain.making import DISK, at, device, error, problems, read


def port(index: str = "1", inner: str = "") -> str:
    return f"<controller type='pci' index='{index}' model='pcie-root-port'>{inner}</controller>"


def test_root_ports():
    found = device(read(devices=DISK + port("3", at(0, 1, 0))), "root-port")
    assert (found.index, found.place, found.PLUGGED) == (3, Place(0, 1), False)
    assert found.arguments(Place(0, 1)) == (
        "-device", "pcie-root-port,id=pcie.3,port=0x8,bus=pcie.0,addr=0x1,multifunction=on")
    assert found.arguments(Place(0, 2, 1)) == (
        "-device", "pcie-root-port,id=pcie.3,port=0x11,bus=pcie.0,addr=0x2.0x1")


def test_libvirt_s_alias_of_a_root_port_does_not_rename_its_bus():
    found = device(read(devices=DISK + port("1", "<alias name='pci.1'/>")), "root-port")
    assert "id=pcie.1," in found.arguments(Place(0, 1))[1]


@pytest.mark.parametrize("devices", [
    port("0"), port("255"), port("x"),
    port("1") + port("1"), port("1", at(1, 0)),
    "<controller type='pci' model='pcie-root' index='1'/>", "<controller/>",
    "<controller type='pcie'/>"])
def test_root_ports_that_are_refused(devices):
    assert problems(devices=DISK + devices)


def test_the_balloon_is_there_unless_it_is_taken_away():
    assert device(read(), "memballoon").arguments(Place(4, 0)) == (
        "-device", "virtio-balloon-pci,id=balloon0,bus=pcie.4,addr=0x0")
    assert read(devices=DISK + "<memballoon model='virtio'/>") == read()
    without = read(devices=DISK + "<memballoon model='none'/>")
    assert not [d for d in without.devices if d.KIND == "memballoon"]
    assert device(read(), "memballoon").arguments(None)[1] == "virtio-balloon-device,id=balloon0"


def test_the_balloon_s_switches_are_true_not_on():
    found = device(read(devices=DISK + "<memballoon model='virtio' autodeflate='on' "
                                       "freePageReporting='on'/>"), "memballoon")
    assert found.arguments(None)[1].endswith(",deflate-on-oom=true,free-page-reporting=true")


def test_there_is_one_balloon():
    assert error(devices=DISK + "<memballoon model='virtio'/><memballoon model='virtio'/>")
