"""From the bytes of a file to a Domain, or to all of its errors at once.

First the walk over the tables checks every name and every single value, then the readers check
what concerns several values. Nothing in a file is dropped without a message.
"""

from __future__ import annotations

import re
import uuid as uuids
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domain.device_checks import check
from reconciler.domain.devices import KINDS, Balloon, Disk
from reconciler.domain.metadata import is_placed, read_policy
from reconciler.domain.model import (
    Boot,
    Device,
    Domain,
    InvalidDomain,
    MachineType,
    Origin,
    Problem,
    ReadingHost,
)
from reconciler.domain.read_context import ReadContext, path
from reconciler.domain.resources import (
    backing,
    current_memory,
    current_vcpus,
    iothreads,
    memory,
    topology,
    vcpus,
)
from reconciler.domain.table import DOMAIN
from reconciler.domain.xml import Node, Report, parse, walk
from reconciler.domain.xml_paths import current_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lxml import etree

NAMESPACE = uuids.UUID("5d5f1d1e-4f0b-5b62-9b0e-7f5c2d0d4a10")  # of uuids that a file does not give
_LONGEST_CMDLINE = 2047  # bytes; the limit of Linux on x86_64 and aarch64
_LONGEST_ARGUMENT = 255  # bytes; of the kernel's command line
_VERSIONED = re.compile(r"(?:pc-(?=q35-))?(q35|virt)(?:-[A-Za-z0-9.-]+)?")
_MACHINES = {"x86_64": (MachineType.Q35, MachineType.MICROVM),
             "aarch64": (MachineType.VIRT, MachineType.MICROVM)}
_LINES = ("name", "uuid", "memory", "vcpu", "iothreads", "title", "description")
_BOOT_LINES = ("kernel", "initrd", "cmdline", "loader", "nvram")


def read_domain(data: bytes, file: str, host: ReadingHost) -> Domain:
    """Read one file; raises InvalidDomain with every problem in it."""
    return read_tree(parse(data, file), file, host, {})


def read_tree(root: etree._Element, file: str, host: ReadingHost,
              origins: Mapping[etree._Element, str]) -> Domain:
    """Read a parsed or expanded file. `origins`: the file of elements that are from another one."""
    report = Report(file, host.lenient, origins=origins)
    node = Node(root, DOMAIN, report, "domain")
    walk(node)
    domain = _domain(node, host)
    problems = tuple(sorted(dict.fromkeys(report.problems),
                            key=lambda problem: (problem.file != file, problem.line)))
    if host.strict:
        problems = tuple(replace(problem, warning=False) for problem in problems)
    errors = tuple(problem for problem in problems if not problem.warning)
    if errors or domain is None:
        raise InvalidDomain(errors or (Problem(file, 1, "domain", "cannot be read"),))
    return replace(domain, warnings=problems)


def _domain(node: Node, host: ReadingHost) -> Domain | None:
    kind = node.text("@type")
    if kind not in (None, "kvm"):
        node.error(f"type='{kind}'; accepted: kvm (StratoVirt needs it)")
    name = node.text("name") or ""
    if node.child("name") is None:
        node.error("no <name>; accepted: <name>…</name>")
    scope, origin = _scope(node, host)
    given = node.text("uuid")
    uuid = str(uuids.UUID(given)) if given else derived_uuid(name, scope)
    machine, count, size = _machine(node, host), vcpus(node), memory(node)
    context = ReadContext(host, uuid, machine, scope, origin)
    devices = tuple(sorted(_devices(node, context), key=Device.sort_key))
    domain = Domain(
        name=name, uuid=uuid, machine=machine, memory=size, vcpus=count,
        current_memory=current_memory(node, size), current_vcpus=current_vcpus(node, count),
        topology=topology(node, count), backing=backing(node, size),
        boot=_boot(node, context, name), gic=_gic(node, host), emulator=_emulator(node, host),
        iothreads=iothreads(node), devices=devices, title=node.text("title"),
        description=node.text("description"),
        policy=read_policy(node, host.defaults, lambda path: current_path(path, devices)),
        file=node.report.file, lines=tuple(_lines(node)),
        origins=() if given else (("uuid", origin),))
    _warn_of_values(node)
    return check(node, domain)


def derived_uuid(name: str, scope: str = "") -> str:
    """The uuid of a domain whose file gives none: version 5, of the scope and the name."""
    return str(uuids.uuid5(NAMESPACE, f"{scope}/{name}" if scope else name))


def _scope(node: Node, host: ReadingHost) -> tuple[str, Origin]:
    """What derived values depend on besides the file: a domain that moves takes them along."""
    if is_placed(node.raw):
        return host.repository, Origin.REPOSITORY if host.repository else Origin.NAME
    return host.machine, Origin.MACHINE if host.machine else Origin.NAME


def _lines(node: Node) -> Iterator[tuple[str, int]]:
    for name in _LINES:
        child = node.child(name)
        if child is not None:
            yield ("vcpus" if name == "vcpu" else name), child.line
    for name in _BOOT_LINES:
        child = node.child(f"os/{name}")
        if child is not None:
            yield name, child.line
    metadata = node.raw.find("metadata")
    if metadata is not None:
        yield "policy", node.report.line_of(metadata)


# The machine and its boot files


def _machine(node: Node, host: ReadingHost) -> MachineType:
    accepted = _MACHINES.get(host.arch, _MACHINES["x86_64"])
    kind = node.child("os/type")
    if kind is None:
        node.at("os").error("no <os><type>; accepted: <type arch='x86_64' machine='q35'>hvm</type>")
        return accepted[0]
    if not (kind.raw.text or "").strip():
        kind.error("found nothing; accepted: hvm")
    arch, machine = kind.text("@arch"), kind.text("@machine")
    if arch not in (None, host.arch):
        kind.error(f"arch='{arch}'; accepted: {host.arch} (this host's)")
        return accepted[0]
    if machine is None:
        return accepted[0]
    versioned = _VERSIONED.fullmatch(machine)
    name = versioned[1] if versioned else machine
    if name not in accepted:
        kind.error(f"machine='{machine}'; accepted: {', '.join(accepted)}")
        return accepted[0]
    return MachineType(name)


def _gic(node: Node, host: ReadingHost) -> bool:
    gic = node.child("features/gic")
    if gic is None:
        return False
    if host.arch != "aarch64":
        gic.error("a GIC exists on aarch64 only; accepted: no <gic> on x86_64")
    elif gic.text("@version") not in (None, "3"):
        gic.error(f"version='{gic.text('@version')}'; accepted: 3")
    return True


def _emulator(node: Node, host: ReadingHost) -> str | None:
    child = node.child("devices/emulator")
    text = child.text("") if child is not None else None
    if child is None or text is None:
        return None
    program = text.rpartition("/")[2]
    if "qemu" in program or program in ("kvm", "kvm-spice"):
        child.warn("QEMU is ignored: the configured StratoVirt is used instead")
        return None
    if text not in host.emulators:
        accepted = ", ".join(host.emulators) or (
            "none; without <emulator> the configured StratoVirt is used")
        child.error(f"found '{text}'; accepted: {accepted} (hypervisor.allowed)", "NotAllowed")
    return text


def _boot(node: Node, context: ReadContext, name: str) -> Boot:
    os_ = node.child("os")
    if os_ is None:
        return Boot()
    cmdline, loader, nvram = os_.text("cmdline"), os_.child("loader"), os_.child("nvram")
    _check_boot(os_, loader, cmdline)
    variables = _variables(nvram, context, name) if nvram is not None else None
    return Boot(
        kernel=path(context, os_.text("kernel")), initrd=path(context, os_.text("initrd")),
        cmdline=cmdline, loader=path(context, os_.text("loader")),
        loader_readonly=loader is None or loader.flag("@readonly") is not False,
        nvram=variables,
        nvram_template=path(context, nvram.text("@template")) if nvram is not None else None)


def _variables(nvram: Node, context: ReadContext, name: str) -> str:
    """The file of <nvram>: its text or, in newer files, its <source>."""
    given = nvram.text("") or nvram.text("source/@file")
    written = (nvram.raw.text or "").strip() or nvram.at("source").raw.get("file")
    if nvram.text("@type") not in (None, "file"):
        nvram.error(f"type='{nvram.text('@type')}'; accepted: file")
    elif nvram.raw.get("template") is None and not written:
        nvram.error("no file and no template; accepted: <nvram template='FILE'/>")
    return path(context, given) or str(context.host.nvram / f"{name}_VARS.fd")


def _check_boot(os_: Node, loader: Node | None, cmdline: str | None) -> None:
    """Report what StratoVirt cannot boot from."""
    if cmdline:
        _check_cmdline(os_.at("cmdline"), cmdline)
    if os_.text("@firmware") is not None and (loader is None or not loader.text("")):
        os_.error("firmware='…' without files; accepted: <loader type='pflash' readonly='yes'>FILE"
                  "</loader> and <nvram template='FILE'/>")
    if loader is not None:
        if loader.text("@type") == "rom":
            loader.error("type='rom'; accepted: pflash")
        if loader.flag("@secure"):
            loader.error("secure='yes'; accepted: no (StratoVirt has no SMM)")
    firmware = os_.child("firmware")
    for feature in firmware.children("feature") if firmware is not None else ():
        if feature.text("@name") == "secure-boot" and feature.flag("@enabled"):
            feature.error("secure-boot enabled='yes'; accepted: no (StratoVirt has no SMM)")
    for boot in os_.children("boot"):
        if boot.text("@dev") in ("cdrom", "network", "fd"):
            boot.error(f"dev='{boot.text('@dev')}'; accepted: hd (StratoVirt boots from disks)")


def _check_cmdline(node: Node, cmdline: str) -> None:
    if any(len(part.encode()) > _LONGEST_ARGUMENT for part in cmdline.split()):
        node.error(f"an argument has over {_LONGEST_ARGUMENT} bytes; accepted: up to "
                   f"{_LONGEST_ARGUMENT}")
    if len(cmdline.encode()) > _LONGEST_CMDLINE:
        node.error(f"found {len(cmdline.encode())} bytes; accepted: up to {_LONGEST_CMDLINE} "
                   "(Linux ignores the rest)")


# Devices


def _devices(node: Node, context: ReadContext) -> list[Device]:
    parent = node.child("devices")
    if parent is None:
        return [Balloon(alias="balloon0")]
    found = [device for kind in KINDS for device in kind.read_all(parent, context)]
    return _boot_first(node, found)


def _boot_first(node: Node, devices: list[Device]) -> list[Device]:
    """<boot dev='hd'/> means the first disk by target, unless disks have a boot order."""
    wanted = any(boot.text("@dev") == "hd" for os_ in node.children("os")
                 for boot in os_.children("boot"))
    disks = [device for device in devices if isinstance(device, Disk)]
    if not wanted or not disks or any(d.boot is not None for d in disks):
        return devices
    first = min(disks, key=lambda d: d.target)
    return [replace(first, boot=1) if d is first else d for d in devices]


def _warn_of_values(node: Node) -> None:
    """Warn of elements of which only some values can be ignored silently."""
    offset = node.text("clock/@offset")
    if offset not in (None, "utc"):
        node.at("clock").warn(f"offset='{offset}' is ignored: the guest's clock is UTC")
    for label in node.children("seclabel"):
        if label.text("@type") not in (None, "none"):
            label.warn("is ignored: security labels are configured on the host")
    devices = node.child("devices")
    if devices is not None:
        _desktop(devices)


def _desktop(devices: Node) -> None:
    """Warn of desktop devices, except those that libvirt adds by itself."""
    for child in devices.children("input"):
        if child.raw.get("bus") not in (None, "ps2"):  # libvirt always adds these two
            child.warn("is ignored: StratoVirt has no desktop devices")
    for child in devices.children("audio"):
        if child.raw.get("type") != "none":
            child.warn("is ignored: StratoVirt has no desktop devices")
