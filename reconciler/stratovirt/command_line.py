"""Builds StratoVirt's arguments from a Domain: a pure function.

StratoVirt creates devices in the order of its command line, so a device follows the bus it is on:
root ports first, then by kind as in libvirt. Each device's arguments are in domain/devices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.domain.devices import Channel, RootPort
from reconciler.domain.model import Boot, Domain, MachineType

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.stratovirt.addresses import Layout

QMP_SOCKET = "qmp.sock"
MONITOR_SOCKET = "monitor.sock"


@dataclass(frozen=True, slots=True)
class Start:
    """Inputs of a command line besides the domain. `directory`: of the VM's sockets.

    `hugepages`: the hugetlbfs mount with pages of the requested size.
    """

    directory: Path
    layout: Layout
    paused: bool = False
    hugepages: str = "/dev/hugepages"


def arguments(domain: Domain, start: Start) -> list[str]:
    """All arguments, without the program."""
    return [*_machine(domain, start.hugepages), *_boot(domain.boot), *_iothreads(domain),
            *_devices(domain, start), *_monitors(start.directory),
            *(("-S",) if start.paused else ())]


def qmp_argument(directory: Path) -> str:
    """The value of -qmp, by which the process of this directory's VM is recognised."""
    return f"unix:{directory / QMP_SOCKET},server,nowait"


def _machine(domain: Domain, mount: str) -> list[str]:
    options = (",gic-version=3" if domain.gic else "") + (
        ",mem-share=on" if domain.backing.shared else "")
    found = ["-name", domain.name, "-uuid", domain.uuid, "-machine", f"{domain.machine}{options}",
             "-cpu", "host", "-smp", _smp(domain), "-m", f"{domain.memory >> 20}m"]
    huge = domain.backing.hugepages is not None
    if domain.backing.prealloc or huge:
        found.append("-mem-prealloc")
    if huge:
        found += ["-mem-path", mount]
    if domain.machine is not MachineType.MICROVM:
        found += ["-smbios", f"type=1,uuid={domain.uuid}"]  # shows the uuid to the guest
    return found


def _smp(domain: Domain) -> str:
    """The value of -smp; dies and clusters only if there are several."""
    shape, now = domain.topology, domain.current_vcpus
    counts = str(domain.vcpus) if now is None else f"{now},maxcpus={domain.vcpus}"
    if shape is None:
        return counts
    levels = [("sockets", shape.sockets), ("cores", shape.cores), ("threads", shape.threads)]
    levels += [(name, value) for name, value in (("dies", shape.dies),
                                                 ("clusters", shape.clusters)) if value > 1]
    return ",".join([counts, *(f"{name}={value}" for name, value in levels)])


def _boot(boot: Boot) -> list[str]:
    found: list[str] = []
    for flag, value in (("-kernel", boot.kernel), ("-initrd", boot.initrd),
                        ("-append", boot.cmdline)):
        if value:
            found += [flag, value]
    if boot.loader:
        readonly = ",readonly=true" if boot.loader_readonly else ""
        found += ["-drive", f"file={boot.loader},if=pflash,unit=0{readonly}"]
    if boot.nvram:
        found += ["-drive", f"file={boot.nvram},if=pflash,unit=1"]
    return found


def _iothreads(domain: Domain) -> list[str]:
    return [argument for number in domain.iothreads
            for argument in ("-object", f"iothread,id=iothread{number}")]


def _devices(domain: Domain, start: Start) -> list[str]:
    ports = start.layout.ports
    found = [argument for port in sorted(ports, key=lambda port: (port.place, port.index))
             for argument in port.arguments(port.place)]
    for device in domain.devices:
        if isinstance(device, Channel) and device.backend == "unix" and device.path is None:
            device = replace(device, path=str(start.directory / device.socket))  # noqa: PLW2901  # with its path
        if not isinstance(device, RootPort):
            found += device.arguments(start.layout.place(device))
    return found


def _monitors(directory: Path) -> list[str]:
    """The reconciler's monitor, and a second one for users: each serves one client at a time."""
    return ["-qmp", qmp_argument(directory),
            "-chardev", f"socket,id=people,path={directory / MONITOR_SOCKET},server,nowait",
            "-mon", "chardev=people,id=people,mode=control"]
