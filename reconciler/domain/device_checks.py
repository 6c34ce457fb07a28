"""What takes several devices of one domain to see: places, names, what they refer to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domain.cross_file_checks import READ
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
from reconciler.domain.model import ExclusiveResource, Device, Domain, MachineType, Probe
from reconciler.domain.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from reconciler.domain.xml import Node

_PORTS = 31  # of a virtio-serial controller, where the file does not say
_OPEN_SLOTS = 30  # of pcie.0, where root ports go: all but the host bridge's and the LPC bridge's
_LPC = Place(0, 0x1F)  # the bridge that every q35 has


def check(node: Node, domain: Domain) -> Domain:
    """Report every clash within the domain, which is returned with its functions 0 marked."""
    report = node.report
    devices = domain.devices
    where = f"{node.path}/devices"

    def say(device: Device, message: str) -> None:
        report.add(device.line or node.line, f"{where}/{device.KIND}", message)

    disks = [d for d in devices if isinstance(d, Disk)]
    ports = [d for d in devices if isinstance(d, RootPort)]
    told = [*_unique(disks, lambda d: d.target, "target", say),  # these give the alias, too
            *_unique(ports, lambda d: d.index, "index", say)]
    told += _unique([d for d in disks if isinstance(d, ScsiDisk) and d not in told],
                    lambda d: f"{d.bus} {d.scsi_target}:{d.unit}", "drive address", say)
    _unique([d for d in devices if d not in told], lambda d: d.alias, "alias", say)
    _unique(disks, lambda d: d.boot, "boot order", say)
    _unique([d for d in devices if isinstance(d, Interface)], lambda d: d.mac, "MAC address", say)
    _unique([d for d in devices if isinstance(d, Interface)], lambda d: d.tap, "tap", say)
    _unique([d for d in devices if isinstance(d, Console)], lambda d: d.number, "port", say)
    _unique([d for d in devices if isinstance(d, Channel)], lambda d: d.name, "name", say)
    _unique([d for d in devices if isinstance(d, VirtioSerial)], lambda d: d.KIND, "kind", say)
    _unique([d for d in devices if isinstance(d, Channel)], lambda d: d.number, "port", say)
    _unique([d for d in devices if isinstance(d, Hostdev)], lambda d: d.host, "host device", say)
    if domain.current_memory is not None and not any(isinstance(d, Balloon) for d in devices):
        node.at("currentMemory").error("less than <memory> without a balloon; accepted: with "
                                       "<memballoon model='virtio'/>")
    for d in devices:
        if not isinstance(d, Disk | ScsiController):
            continue
        if d.iothread is not None and d.iothread not in domain.iothreads:
            accepted = ", ".join(map(str, domain.iothreads)) or "none is defined: <iothreads>1</…>"
            say(d, f"iothread='{d.iothread}'; accepted: {accepted}")
    _ports(domain, say)
    _shared(node, domain)
    _places(domain, say)
    _room(node, domain)
    _starts(node, domain, disks)
    _health(node, domain)
    return replace(domain, devices=tuple(_marked(devices)))


def _health(node: Node, domain: Domain) -> None:
    """A probe needs what it asks by."""
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
            say: Callable[[Device, str], None]) -> list[Device]:
    """Report what a line before has, too; the devices that were reported."""
    seen: dict[object, Device] = {}
    told: list[Device] = []
    for device in sorted(devices, key=lambda d: d.line):
        value = key(device)
        if value is None:
            continue
        if value in seen:
            say(device, f"{what} '{value}' is also that of line {seen[value].line}; accepted: "
                        "each once")
            told.append(device)
        seen.setdefault(value, device)
    return told


def _shared(node: Node, domain: Domain) -> None:
    """One file has one writer: StratoVirt would refuse to start, or two would write one file."""
    seen: dict[str, ExclusiveResource] = {}
    files = [claim for claim in domain.exclusive_resources() if claim.value.startswith("/")]
    for claim in sorted(files, key=lambda claim: claim.line):
        other = seen.setdefault(claim.value, claim)
        if other is not claim and {claim.kind, other.kind} != {READ}:
            node.report.add(claim.line, node.path, f"{claim.kind} {claim.value} is also the "
                            f"{other.kind} of line {other.line}; accepted: twice only where both "
                            "are <readonly/>")


def _ports(domain: Domain, say: Callable[[Device, str], None]) -> None:
    """What plugs into the virtio-serial controller finds a port there."""
    given = next((d.ports for d in domain.devices if isinstance(d, VirtioSerial)), None)
    micro = domain.machine is MachineType.MICROVM
    count = 1 if micro else given or _PORTS
    for device in domain.devices:
        port = (device.port if isinstance(device, Console) else
                device.number if isinstance(device, Channel) else -1)
        if port >= count:
            say(device, "microvm has room for one console, of port 0, and no channel" if micro else
                f"port {port} of a controller with ports='{count}'; accepted: ports='{port + 1}' "
                "or more")


def _marked(devices: Iterable[Device]) -> Iterator[Device]:
    """Function 0 of a slot must say that there are more, or StratoVirt refuses the others."""
    devices = list(devices)
    slots = {(d.place.bus, d.place.slot) for d in devices if d.place and d.place.function}
    for device in devices:
        place = device.place
        if place and not place.function and (place.bus, place.slot) in slots:
            yield replace(device, place=replace(place, multifunction=True))
        else:
            yield device


def _places(domain: Domain, say: Callable[[Device, str], None]) -> None:
    placed = sorted(((d.place, d) for d in domain.devices if d.place is not None),
                    key=lambda pair: pair[1].line)
    if domain.machine is MachineType.MICROVM:
        for _, device in placed:
            say(device, "an address; accepted: none (microvm has no PCI)")
        _without_pci(domain, say)
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


def _room(node: Node, domain: Domain) -> None:
    """Every device sits behind a root port of its own, and pcie.0 has eight of those a slot."""
    if domain.machine is MachineType.MICROVM:
        return
    ports = {d.index: d for d in domain.devices if isinstance(d, RootPort)}
    used = {d.place for d in domain.devices if d.place is not None}
    bare = sum(d.PLUGGED and d.place is None for d in domain.devices)
    # A device without a place takes a port that the file has and nobody uses, else a new one.
    idle = len(ports.keys() - {place.bus for place in used})
    needed = len(ports.keys() | {place.bus for place in used if place.bus}) + max(bare - idle, 0)
    placed = sum(port.place is not None for port in ports.values())
    most = placed + 8 * (_OPEN_SLOTS - len({place.slot for place in used if not place.bus}))
    if needed > most:
        node.at("devices").error(f"{needed} PCI root ports are needed; accepted: up to {most}")


def _without_pci(domain: Domain, say: Callable[[Device, str], None]) -> None:
    """What microvm has not."""
    for device in domain.devices:
        if isinstance(device, RootPort):
            say(device, "a root port; accepted: none (microvm has no PCI)")
        elif isinstance(device, Interface) and not device.up:
            say(device, "a link that is down; accepted: up (microvm cannot be told)")
        elif not device.MICROVM:
            say(device, "accepted: none (microvm has no such device)")


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
        if domain.boot.loader or domain.boot.nvram:
            node.at("os").error("microvm has no firmware; accepted: a <kernel> alone")
    elif domain.boot.initrd is None and not disks and all(
            problem.warning for problem in node.report.problems):
        node.at("devices").error("nothing to start from; accepted: a <disk>, or an <initrd>")
