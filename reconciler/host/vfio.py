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
_BRIDGE = "0x0604"  # class of PCI bridges, which may share a group with the devices behind them


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A PCI device of the host. `group`: all devices of its IOMMU group, with their drivers."""

    address: str
    driver: str | None
    group: tuple[tuple[str, str | None], ...] | None  # None without an IOMMU


def inspect(address: str, system: Path = SYSTEM) -> HostDevice:
    """Read a device from sysfs; raises HostError if it does not exist."""
    place = system / "devices" / address
    if not place.exists():
        message = f"host device {address}: does not exist on this host"
        raise HostError(message, hint="`lspci -D` lists all PCI devices")
    members = place / "iommu_group" / "devices"
    group = tuple((name, _driver(system / "devices" / name)) for name in sorted(os.listdir(members))
                  if not _is_bridge(system / "devices" / name)) if members.exists() else None
    return HostDevice(address, _driver(place), group)


def problem(device: HostDevice, *, managed: bool, mine: Sequence[str]) -> str:
    """Why the device cannot be passed to a guest; empty if it can. `mine`: all of that VM."""
    if device.group is None:
        return f"host device {device.address} is not in an IOMMU group: enable the IOMMU"
    if not managed and device.driver != DRIVER:
        return (f"host device {device.address} is bound to {device.driver or 'no driver'}: "
                f"bind it to {DRIVER}, or set managed='yes'")
    others = [f"{name} ({driver})" for name, driver in device.group
              if name not in mine and driver not in (None, DRIVER)]
    if others:
        return (f"host device {device.address} shares its IOMMU group with {', '.join(others)}: "
                f"bind them to {DRIVER}, or pass them to the same guest")
    return ""


def bind_writes(device: HostDevice) -> tuple[tuple[str, str], ...]:
    """The writes that bind it to vfio-pci: paths below /sys/bus/pci, and data."""
    if device.driver == DRIVER:
        return ()
    override = f"devices/{device.address}/driver_override"
    away = ((f"devices/{device.address}/driver/unbind", device.address),) if device.driver else ()
    return ((override, DRIVER), *away, ("drivers_probe", device.address))


def unbind_writes(address: str) -> tuple[tuple[str, str], ...]:
    """The writes that unbind a device from vfio-pci and let the kernel choose its driver."""
    return ((f"devices/{address}/driver_override", "\n"),
            (f"drivers/{DRIVER}/unbind", address), ("drivers_probe", address))


def bind(devices: Sequence[Hostdev], system: Path = SYSTEM) -> tuple[str, ...]:
    """Bind the managed devices, all or none; returns those bound now. Raises HostError."""
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
    """Raise HostError with all reasons if any of them cannot be passed to a guest."""
    mine = [device.host for device in devices]
    found = [problem(inspect(device.host, system), managed=device.managed, mine=mine)
             for device in devices]
    if any(found):
        raise HostError("; ".join(filter(None, found)))


def unbind(address: str, system: Path = SYSTEM) -> None:
    """Rebind a device to its own driver; on errors it stays with vfio-pci."""
    for write in unbind_writes(address):
        with suppress(OSError):  # for example not bound any more
            _write((write,), system)


def _bind(address: str, writes: Sequence[tuple[str, str]], system: Path) -> None:
    try:
        _write(writes, system)
    except OSError as error:
        message = f"host device {address}: {error.filename}: {error.strerror}"
        raise HostError(message) from error
    if inspect(address, system).driver != DRIVER:
        message = f"host device {address}: {DRIVER} did not bind to it"
        raise HostError(message, hint=f"run `modprobe {DRIVER}`; the kernel log has the cause")


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
