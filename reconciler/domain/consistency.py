"""What takes several devices of one domain to see: places, names, what they refer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.devices import Channel, Console, Disk, Interface, RootPort, Serial
from reconciler.domain.model import Device, Domain, MachineType, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.domain.xml import Node

_LPC = Place(0, 0x1F)  # the bridge that every q35 has


def check(node: Node, domain: Domain) -> Domain:
    """Report every clash within the domain; the domain as it is."""
    report = node.report
    devices = domain.devices
    where = f"{node.path}/devices"

    def say(device: Device, message: str) -> None:
        report.add(device.line or node.line, f"{where}/{device.KIND}", message)

    disks = [d for d in devices if isinstance(d, Disk)]
    _unique(devices, lambda d: d.alias, "alias", say)
    _unique(disks, lambda d: d.target, "target", say)
    _unique(disks, lambda d: d.boot, "boot order", say)
    _unique([d for d in devices if isinstance(d, Interface)], lambda d: d.mac, "MAC address", say)
    _unique([d for d in devices if isinstance(d, Interface)], lambda d: d.tap, "tap", say)
    _unique([d for d in devices if isinstance(d, RootPort)], lambda d: d.index, "index", say)
    _unique([d for d in devices if isinstance(d, Console)], lambda d: d.number, "port", say)
    _unique([d for d in devices if isinstance(d, Channel)], lambda d: d.name, "name", say)
    for d in disks:
        if d.iothread is not None and d.iothread not in domain.iothreads:
            accepted = ", ".join(map(str, domain.iothreads)) or "none is defined: <iothreads>1</…>"
            say(d, f"iothread='{d.iothread}'; accepted: {accepted}")
    _shared(disks, say)
    _places(domain, say)
    _starts(node, domain, disks)
    return domain


def _unique(devices: Iterable[Device], key: Callable[..., object], what: str,
            say: Callable[[Device, str], None]) -> None:
    seen: dict[object, Device] = {}
    for device in sorted(devices, key=lambda d: d.line):
        value = key(device)
        if value is None:
            continue
        if value in seen:
            say(device, f"{what} '{value}' is also that of line {seen[value].line}; accepted: "
                        "each once")
        seen.setdefault(value, device)


def _shared(disks: list[Disk], say: Callable[[Device, str], None]) -> None:
    seen: dict[str, Disk] = {}
    for disk in sorted(disks, key=lambda d: d.line):
        other = seen.setdefault(disk.path, disk)
        if other is not disk and not (disk.readonly and other.readonly):
            say(disk, f"{disk.path} is also on line {other.line}; accepted: twice only if both "
                      "are <readonly/>")


def _places(domain: Domain, say: Callable[[Device, str], None]) -> None:
    placed = sorted(((d.place, d) for d in domain.devices if d.place is not None),
                    key=lambda pair: pair[1].line)
    if domain.machine is MachineType.MICROVM:
        for _, device in placed:
            say(device, "an address; accepted: none (microvm has no PCI)")
        for device in domain.devices:
            if isinstance(device, RootPort):
                say(device, "a root port; accepted: none (microvm has no PCI)")
            elif isinstance(device, Serial) and device.backend == "unknown":
                say(device, "accepted: pty")
        return
    seen: dict[Place, Device] = {}
    for place, device in placed:
        if place in seen:
            say(device, f"PCI address {place} is also that of line {seen[place].line}; accepted: "
                        "each once")
            continue
        seen[place] = device
        _one_place(place, device, say)
    for place, device in seen.items():
        if place.function and Place(place.bus, place.slot) not in seen:
            say(device, f"function {place.function:#x} without a function 0 in slot "
                        f"{place.slot:#x}: the guest would not see it")


def _one_place(place: Place, device: Device, say: Callable[[Device, str], None]) -> None:
    if isinstance(device, RootPort) and place.bus:
        say(device, f"a root port on bus {place.bus:#x}; accepted: bus='0x00'")
    elif place.bus and (place.slot or place.function):
        say(device, f"slot {place.slot:#x} function {place.function:#x} behind a root port; "
                    "accepted: slot='0x00' function='0x0' (the guest would not see another)")
    elif place.bus == 0 and place.slot == 0:
        say(device, "slot 0 of bus 0 is the host bridge's; accepted: slot='0x01' to '0x1e'")
    elif place.bus == 0 and place.slot == _LPC.slot:
        say(device, "slot 0x1f of bus 0 is the LPC bridge's; accepted: slot='0x01' to '0x1e'")


def _starts(node: Node, domain: Domain, disks: list[Disk]) -> None:
    """What StratoVirt refuses to start without."""
    if domain.machine is MachineType.MICROVM:
        if domain.boot.kernel is None:
            node.at("os").error("microvm needs a kernel; accepted: <kernel>FILE</kernel>")
    elif domain.boot.initrd is None and not disks and not node.report.problems:
        node.at("devices").error("nothing to start from; accepted: a <disk>, or an <initrd>")
