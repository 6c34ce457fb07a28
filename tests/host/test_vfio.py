"""Devices of the host, on a tree like the kernel's; what is written is decided on values."""

from __future__ import annotations

import pytest

from reconciler.domain.devices import Hostdev
from reconciler.errors import HostError
from reconciler.host import vfio
from reconciler.host.vfio import HostDevice

CARD, OTHER, BRIDGE = "0000:03:00.0", "0000:03:00.1", "0000:02:00.0"


def hostdev(address=CARD, *, managed=True):
    return Hostdev(alias="hostdev0", host=address, managed=managed)


@pytest.fixture
def system(tmp_path):
    """A card with two functions behind a bridge, all in one group; e1000 has both functions."""
    for driver in ("e1000", "vfio-pci", "pcieport"):
        (tmp_path / "drivers" / driver).mkdir(parents=True)
    (tmp_path / "drivers_probe").touch()
    group = tmp_path / "groups" / "7" / "devices"
    group.mkdir(parents=True)
    for address, driver, kind in ((CARD, "e1000", "0x020000"), (OTHER, "e1000", "0x020000"),
                                  (BRIDGE, "pcieport", "0x060400")):
        place = tmp_path / "devices" / address
        place.mkdir(parents=True)
        (place / "class").write_text(kind + "\n")
        (place / "driver_override").touch()
        (place / "iommu_group").symlink_to(group.parent)
        (place / "driver").symlink_to(tmp_path / "drivers" / driver)
        (group / address).symlink_to(place)
    return tmp_path


def test_what_the_kernel_says(system):
    assert vfio.inspect(CARD, system) == HostDevice(
        CARD, "e1000", ((CARD, "e1000"), (OTHER, "e1000")))
    with pytest.raises(HostError, match="does not exist on this host"):
        vfio.inspect("0000:09:00.0", system)


def test_rule_5_a_group_that_another_process_uses_is_not_taken(system):
    with pytest.raises(HostError, match="shares its IOMMU group with 0000:03:00.1"):
        vfio.bind([hostdev()], system)
    assert (system / "devices" / CARD / "driver_override").read_text() == ""
    assert (system / "drivers_probe").read_text() == ""
    vfio.check([hostdev(), hostdev(OTHER)], system)


def test_without_an_iommu_nothing_is_taken(system):
    (system / "devices" / CARD / "iommu_group").unlink()
    with pytest.raises(HostError, match="IOMMU"):
        vfio.check([hostdev()], system)


def test_what_is_not_managed_must_be_bound_already(system):
    with pytest.raises(HostError, match="managed='yes'"):
        vfio.check([hostdev(managed=False), hostdev(OTHER)], system)


def test_what_is_written_to_take_and_to_give_back():
    device = HostDevice(CARD, "e1000", ())
    assert vfio.bind_writes(device) == (
        (f"devices/{CARD}/driver_override", "vfio-pci"),
        (f"devices/{CARD}/driver/unbind", CARD), ("drivers_probe", CARD))
    assert vfio.bind_writes(HostDevice(CARD, None, ())) == (
        (f"devices/{CARD}/driver_override", "vfio-pci"), ("drivers_probe", CARD))
    assert vfio.bind_writes(HostDevice(CARD, "vfio-pci", ())) == ()
    assert [file for file, _ in vfio.unbind_writes(CARD)] == [
        f"devices/{CARD}/driver_override", "drivers/vfio-pci/unbind", "drivers_probe"]


def test_a_driver_that_does_not_take_it_gives_all_back(system):
    with pytest.raises(HostError, match="did not bind to it"):
        vfio.bind([hostdev(), hostdev(OTHER)], system)
    assert (system / "devices" / CARD / "driver_override").read_text() == "\n"
    assert (system / "drivers" / "e1000" / "unbind").read_text() == CARD
    assert (system / "drivers" / "vfio-pci" / "unbind").read_text() == CARD


def test_what_is_bound_already_is_not_ours_to_give_back(system):
    for address in (CARD, OTHER):
        link = system / "devices" / address / "driver"
        link.unlink()
        link.symlink_to(system / "drivers" / "vfio-pci")
    assert vfio.bind([hostdev(), hostdev(OTHER)], system) == ()
