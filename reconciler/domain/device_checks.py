"""Checks across the devices of one domain: addresses, names, references."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domain.claims import READERS
from reconciler.domain.devices import (
    Balloon,
    Channel,
    Console,
    Disk,
    Hostdev,
    Interface,
    RootPort,
    ScsiController,
    ScsiDisk,
    Serial,
    VirtioSerial,
)
from reconciler.domain.devices.character import AGENT
from reconciler.domain.model import Device, Domain, ExclusiveResource, MachineType
from reconciler.domain.place import Place
from reconciler.domain.policy import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from reconciler.domain.xml import Node

_PORTS = 31  # of a virtio-serial controller without ports='…'
_OPEN_SLOTS = 30  # of pcie.0 for root ports: all but the host bridge's and the LPC bridge's
_LPC = Place(0, 0x1F)  # the LPC bridge of every q35


def check(node: Node, domain: Domain) -> Domain:
    """Report every conflict within the domain; returns it with `multifunction` set."""
    devices = domain.devices
    where = f"{node.path}/devices"

    def report(device: Device, message: str) -> None:
        node.report.add(device.line or node.line, f"{where}/{device.element}", message)

    disks = [d for d in devices if isinstance(d, Disk)]
    ports = [d for d in devices if isinstance(d, RootPort)]
    # The alias follows from target and index: report a device for one of the two only.
    reported = [*_unique(disks, lambda d: d.target, "target", report),
                *_unique(ports, lambda d: d.index, "index", report)]
    reported += _unique([d for d in disks if isinstance(d, ScsiDisk) and d not in reported],
                        lambda d: f"{d.bus} {d.scsi_target}:{d.unit}", "drive address", report)
    _unique([d for d in devices if d not in reported], lambda d: d.alias, "alias", report)
    _unique(disks, lambda d: d.boot, "boot order", report)
    _unique([d for d in devices if isinstance(d, Interface)], lambda d: d.mac, "MAC address",
            report)
    _unique([d for d in devices if isinstance(d, Interface)], lambda d: d.tap, "tap", report)
    _unique([d for d in devices if isinstance(d, Console)], lambda d: d.number, "port", report)
    _unique([d for d in devices if isinstance(d, Channel)], lambda d: d.name, "name", report)
    _unique([d for d in devices if isinstance(d, VirtioSerial)], lambda d: d.KIND, "kind", report)
    _unique([d for d in devices if isinstance(d, Channel)], lambda d: d.number, "port", report)
    _unique([d for d in devices if isinstance(d, Hostdev)], lambda d: d.host, "host device", report)
    if domain.current_memory is not None and not any(isinstance(d, Balloon) for d in devices):
        node.at("currentMemory").error("less than <memory> without a balloon; accepted: with "
                                       "<memballoon model='virtio'/>")
    for d in devices:
        if not isinstance(d, Disk | ScsiController):
            continue
        if d.iothread is not None and d.iothread not in domain.iothreads:
            accepted = ", ".join(map(str, domain.iothreads)) or "none is defined: <iothreads>1</…>"
            report(d, f"iothread='{d.iothread}'; accepted: {accepted}")
    _ports(domain, report)
    _shared(node, domain)
    _places(domain, report)
    _room(node, domain)
    _starts(node, domain, disks)
    _health(node, domain)
    return replace(domain, devices=tuple(_marked(devices)))


def _health(node: Node, domain: Domain) -> None:
    """A probe needs a device to talk to."""
    health = domain.policy.health
    if health is None:
        return
    path = f"{node.path}/metadata/reconcile/health/{health.probe}"
    line = dict(domain.lines).get("policy", node.line)
    devices = domain.devices
    if health.probe is Probe.AGENT and not any(
            isinstance(d, Channel) and d.name == AGENT and d.backend == "unix" for d in devices):
        node.report.add(line, path, f"no channel of the guest agent; accepted: with <channel "
                                    f"type='unix'><target name='{AGENT}'/></channel>")
    if health.probe is Probe.CONSOLE and not any(
            isinstance(d, Console | Serial) and d.backend == "pty" for d in devices):
        node.report.add(line, path, "no console on a pty; accepted: with <console type='pty'/>")


def _unique(devices: Iterable[Device], key: Callable[..., object], what: str,
            report: Callable[[Device, str], None]) -> list[Device]:
    """Report values that an earlier line has, too; returns the reported devices."""
    seen: dict[object, Device] = {}
    reported: list[Device] = []
    for device in sorted(devices, key=lambda d: d.line):
        value = key(device)
        if value is None:
            continue
        if value in seen:
            report(device, f"{what} '{value}' is also that of line {seen[value].line}; accepted: "
                   "one device each")
            reported.append(device)
        seen.setdefault(value, device)
    return reported


def _shared(node: Node, domain: Domain) -> None:
    """A file has one writer: otherwise StratoVirt does not start, or two devices write it."""
    seen: dict[str, ExclusiveResource] = {}
    files = [found for found in domain.exclusive_resources() if found.value.startswith("/")]
    for found in sorted(files, key=lambda found: found.line):
        other = seen.setdefault(found.value, found)
        if other is not found and not {found.kind, other.kind} <= {*READERS}:
            node.report.add(found.line, node.path, f"{found.kind} {found.value} is also the "
                            f"{other.kind} of line {other.line}; accepted: twice only if both are "
                            "<readonly/>")


def _ports(domain: Domain, report: Callable[[Device, str], None]) -> None:
    """Consoles and channels need a port of the virtio-serial controller."""
    given = next((d.ports for d in domain.devices if isinstance(d, VirtioSerial)), None)
    micro = domain.machine is MachineType.MICROVM
    count = 1 if micro else given or _PORTS
    for device in domain.devices:
        port = (device.port if isinstance(device, Console) else
                device.number if isinstance(device, Channel) else -1)
        if port >= count:
            report(device, "microvm supports one console, with port 0, and no channels" if micro
                   else f"port {port}, but the controller has ports='{count}'; accepted: "
                   f"ports='{port + 1}' or more")


def _marked(devices: Iterable[Device]) -> Iterator[Device]:
    """Function 0 of a slot must announce the others, or StratoVirt rejects these."""
    devices = list(devices)
    slots = {(d.place.bus, d.place.slot) for d in devices if d.place and d.place.function}
    for device in devices:
        place = device.place
        if place and not place.function and (place.bus, place.slot) in slots:
            yield replace(device, place=replace(place, multifunction=True))
        else:
            yield device


def _places(domain: Domain, report: Callable[[Device, str], None]) -> None:
    placed = sorted(((d.place, d) for d in domain.devices if d.place is not None),
                    key=lambda pair: pair[1].line)
    if domain.machine is MachineType.MICROVM:
        for _, device in placed:
            report(device, "an address; accepted: none (microvm has no PCI)")
        _without_pci(domain, report)
        return
    seen: dict[Place, Device] = {}
    for place, device in placed:
        if place in seen:
            report(device, f"PCI address {place} is also that of line {seen[place].line}; "
                   "accepted: one device each")
            continue
        seen[place] = device
        _one_place(place, device, report)
    for place, device in seen.items():
        if place.function and Place(place.bus, place.slot) not in seen:
            report(device, f"function {place.function:#x} without a function 0 in slot "
                        f"{place.slot:#x}: the guest would not see it")


def _room(node: Node, domain: Domain) -> None:
    """Every device needs a root port of its own, and pcie.0 has eight functions per slot."""
    if domain.machine is MachineType.MICROVM:
        return
    ports = {d.index: d for d in domain.devices if isinstance(d, RootPort)}
    used = {d.place for d in domain.devices if d.place is not None}
    bare = sum(d.PLUGGED and d.place is None for d in domain.devices)
    # A device without an address takes an unused root port of the file, else a new one.
    idle = len(ports.keys() - {place.bus for place in used})
    needed = len(ports.keys() | {place.bus for place in used if place.bus}) + max(bare - idle, 0)
    placed = sum(port.place is not None for port in ports.values())
    most = placed + 8 * (_OPEN_SLOTS - len({place.slot for place in used if not place.bus}))
    if needed > most:
        node.at("devices").error(f"{needed} PCI root ports are needed; accepted: up to {most}")


def _without_pci(domain: Domain, report: Callable[[Device, str], None]) -> None:
    """Devices and values that microvm does not support."""
    for device in domain.devices:
        if isinstance(device, RootPort):
            report(device, "a root port; accepted: none (microvm has no PCI)")
        elif isinstance(device, Interface) and not device.up:
            report(device, "a link that is down; accepted: up (microvm cannot change it)")
        elif not device.MICROVM:
            report(device, "not supported by microvm; accepted: none")


def _one_place(place: Place, device: Device, report: Callable[[Device, str], None]) -> None:
    if isinstance(device, RootPort) and place.bus:
        report(device, f"a root port on bus {place.bus:#x}; accepted: bus='0x00'")
    elif place.bus and (place.slot or place.function):
        report(device, f"slot {place.slot:#x} function {place.function:#x} behind a root port; "
                    "accepted: slot='0x00' function='0x0' (the guest sees no other)")
    elif place.bus == 0 and place.slot == 0:
        report(device, "slot 0 of bus 0 is the host bridge's; accepted: slot='0x01' to '0x1e'")
    elif place.bus == 0 and place.slot == _LPC.slot:
        report(device, "slot 0x1f of bus 0 is the LPC bridge's; accepted: slot='0x01' to '0x1e'")


def _starts(node: Node, domain: Domain, disks: list[Disk]) -> None:
    """What StratoVirt needs to start."""
    if domain.machine is MachineType.MICROVM:
        if domain.boot.kernel is None:
            node.at("os").error("microvm needs a kernel; accepted: <kernel>FILE</kernel>")
        if domain.boot.loader or domain.boot.nvram:
            node.at("os").error("microvm has no firmware; accepted: a <kernel> alone")
    elif domain.boot.initrd is None and not disks and all(
            problem.warning for problem in node.report.problems):
        node.at("devices").error("nothing to boot from; accepted: a <disk>, or an <initrd>")
