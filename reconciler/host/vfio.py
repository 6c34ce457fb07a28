"""Host PCI devices: bound to vfio-pci before a VM starts, rebound to their driver after it ends.

Which sysfs files to write is computed on plain values (`bind_writes`, `unbind_writes`); the rest
reads and writes sysfs, which does not block.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.domain.devices.hostdev import Hostdev

DRIVER = "vfio-pci"
SYSTEM = Path("/sys/bus/pci")
_BRIDGE = "0x0604"  # the class of a PCI bridge, which may share a group with what is behind it


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A device as the host has it. `group` are all devices of its IOMMU group, with drivers."""

    address: str
    driver: str | None
    group: tuple[tuple[str, str | None], ...] | None  # None without an IOMMU


def inspect(address: str, system: Path = SYSTEM) -> HostDevice:
    """What the kernel says of a device; raises HostError when there is none."""
    place = system / "devices" / address
    if not place.exists():
        message = f"host device {address}: this host has no such device"
        raise HostError(message, hint="`lspci -D` lists those that there are")
    members = place / "iommu_group" / "devices"
    group = tuple((name, _driver(system / "devices" / name)) for name in sorted(os.listdir(members))
                  if not _is_bridge(system / "devices" / name)) if members.exists() else None
    return HostDevice(address, _driver(place), group)


def problem(device: HostDevice, *, managed: bool, mine: Sequence[str]) -> str:
    """Why it cannot be given to a guest; empty when it can. `mine`: all that the VM takes."""
    if device.group is None:
        return f"host device {device.address} is in no IOMMU group: switch the IOMMU on"
    if not managed and device.driver != DRIVER:
        return (f"host device {device.address} is {device.driver or 'nobody'}'s: bind it to "
                f"{DRIVER}, or write managed='yes'")
    others = [f"{name} ({driver})" for name, driver in device.group
              if name not in mine and driver not in (None, DRIVER)]
    if others:
        return (f"host device {device.address} shares its IOMMU group with {', '.join(others)}: "
                "they must be free, or the guest's, too")
    return ""


def bind_writes(device: HostDevice) -> tuple[tuple[str, str], ...]:
    """What binds it: files below /sys/bus/pci, and what is written there."""
    if device.driver == DRIVER:
        return ()
    override = f"devices/{device.address}/driver_override"
    away = ((f"devices/{device.address}/driver/unbind", device.address),) if device.driver else ()
    return ((override, DRIVER), *away, ("drivers_probe", device.address))


def unbind_writes(address: str) -> tuple[tuple[str, str], ...]:
    """What gives it back to the driver that would have it by itself."""
    return ((f"devices/{address}/driver_override", "\n"),
            (f"drivers/{DRIVER}/unbind", address), ("drivers_probe", address))


def bind(devices: Sequence[Hostdev], system: Path = SYSTEM) -> tuple[str, ...]:
    """Bind all that are managed; those that were bound here. All or none; raises HostError."""
    check(devices, system)
    taken: list[str] = []
    try:
        for device in devices:
            writes = bind_writes(inspect(device.host, system)) if device.managed else ()
            if writes:
                taken.append(device.host)
                _bind(device.host, writes, system)
    except HostError:
        for address in taken:
            unbind(address, system)
        raise
    return tuple(taken)


def check(devices: Sequence[Hostdev], system: Path = SYSTEM) -> None:
    """Whether all of them can be given; raises HostError with every reason."""
    mine = [device.host for device in devices]
    found = [problem(inspect(device.host, system), managed=device.managed, mine=mine)
             for device in devices]
    if any(found):
        raise HostError("; ".join(filter(None, found)))


def unbind(address: str, system: Path = SYSTEM) -> None:
    """To its own driver; what cannot be given back stays with vfio-pci."""
    for write in unbind_writes(address):
        with suppress(OSError):  # each may be done already
            _write((write,), system)


def _bind(address: str, writes: Sequence[tuple[str, str]], system: Path) -> None:
    try:
        _write(writes, system)
    except OSError as error:
        message = f"host device {address}: {error.filename}: {error.strerror}"
        raise HostError(message) from error
    if inspect(address, system).driver != DRIVER:
        message = f"host device {address}: {DRIVER} did not take it"
        raise HostError(message, hint=f"modprobe {DRIVER}; dmesg tells more")


def _write(writes: Sequence[tuple[str, str]], system: Path) -> None:
    for file, text in writes:
        with open(system / file, "w", encoding="ascii") as handle:
            handle.write(text)


def _driver(place: Path) -> str | None:
    link = place / "driver"
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None


def _is_bridge(place: Path) -> bool:
    with suppress(OSError):
        return (place / "class").read_text().startswith(_BRIDGE)
    return False
