"""From the bytes of a domain file to a Domain, or to all of its errors at once.

Every element and attribute that is read is taken out of a list of accepted names; what is left
over is an error that names the nearest known one, because libvirt would silently drop it.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import uuid as uuids
from pathlib import Path

from lxml import etree

from reconciler.domain.metadata import read_policy
from reconciler.domain.model import (
    Balloon,
    Boot,
    Disk,
    Domain,
    Interface,
    InvalidDomain,
    Machine,
    Policy,
    Port,
    VirtioSerial,
)
from reconciler.domain.reading import Reading, line_of, parse

MIB = 1 << 20
NAMESPACE = uuids.UUID("5d5f1d1e-4f0b-5b62-9b0e-7f5c2d0d4a10")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
_POWERS = {"": 1, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
_NOT_BUILT = {"vsock", "rng", "hostdev", "graphics", "video"}
_QUIET = {"input", "audio", "watchdog", "sound"}


def read_domain(data: bytes, file: str, images: Path, state: Path, arch: str,
                defaults: Policy) -> Domain:
    """Read one file; raises InvalidDomain with every problem in it."""
    reading = Reading(file)
    root = parse(data, file)
    domain = _Builder(reading, images, state, arch).build(root, defaults)
    errors = tuple(p for p in reading.problems if not p.warning)
    if errors:
        raise InvalidDomain(errors)
    return domain


def _text(node: etree._Element | None) -> str | None:
    return None if node is None or node.text is None else node.text.strip()


class _Builder:
    """Reads one tree; each method reads one system."""

    def __init__(self, reading: Reading, images: Path, state: Path, arch: str) -> None:
        self.r = reading
        self.images = images
        self.state = state
        self.arch = arch

    def build(self, root: etree._Element, defaults: Policy) -> Domain:
        r = self.r
        r.known(root, "name uuid title description metadata memory currentMemory vcpu os features "
                      "cpu clock pm on_poweroff on_reboot on_crash devices iothreads memoryBacking",
                "type id")
        for tag in ("memoryBacking",):
            for node in root.findall(tag):
                r.error(node, f"<{tag}> is not built yet", "Unsupported")
        if root.get("type", "kvm") != "kvm":
            r.error(root, f"type='{root.get('type')}'; StratoVirt needs type='kvm'")
        name = _text(root.find("name")) or ""
        if not _NAME.fullmatch(name):
            r.error(root, f"<name> is {name!r}, accepted: [A-Za-z0-9][A-Za-z0-9_.+-]*, up to 64")
        uuid = self.uuid(root, name)
        policy = read_policy(r, root, defaults)
        machine_type, boot, gic = self.boot(root, name)
        devices = root.find("devices")
        disks: list[Disk] = []
        interfaces: list[Interface] = []
        ports: list[Port] = []
        serial: VirtioSerial | None = None
        balloon: Balloon | None = Balloon()
        emulator = None
        for node in () if devices is None else devices:
            tag = str(node.tag)
            if tag == "disk":
                disks.append(self.disk(node))
            elif tag == "interface":
                interfaces.append(self.interface(node, name, uuid, len(interfaces)))
            elif tag in ("serial", "console"):
                ports.append(self.port(node, sum(p.kind == "console" for p in ports)))
            elif tag == "controller":
                serial = self.controller(node) or serial
            elif tag == "memballoon":
                balloon = self.balloon(node)
            elif tag == "emulator":
                emulator = self.emulator(node)
            elif tag in _NOT_BUILT or tag == "channel":
                r.error(node, f"<{tag}> is not built yet", "Unsupported")
            elif tag in _QUIET:
                r.warn(node, f"<{tag}> is ignored: StratoVirt has no such device")
            else:
                near = difflib.get_close_matches(tag, ["disk", "interface", "console", "serial",
                                                       "controller", "memballoon", "emulator"], 1)
                r.error(node, f"unknown device <{tag}>"
                        + (f"; did you mean <{near[0]}>?" if near else ""))
        if serial is None and any(p.kind == "console" for p in ports):
            serial = VirtioSerial()
        self.unique(devices, "disk target", [(d.target, d.line) for d in disks])
        self.unique(devices, "disk file", [(d.path, d.line) for d in disks if not d.readonly])
        self.unique(devices, "tap", [(i.tap, i.line) for i in interfaces])
        if machine_type == "q35" and not disks and not boot.initrd:
            r.error(root, "StratoVirt starts nothing without an <initrd> or a <disk>")
        machine = Machine(
            name=name, uuid=uuid, type=machine_type, memory=self.memory(root),
            vcpus=self.vcpus(root), boot=boot, gic=gic, emulator=emulator,
            iothreads=self.iothreads(root),
            disks=tuple(sorted(disks, key=lambda d: d.key)),
            interfaces=tuple(sorted(interfaces, key=lambda i: i.key)),
            virtio_serial=serial, ports=tuple(ports), balloon=balloon,
        )
        warnings = tuple(p for p in r.problems if p.warning)
        return Domain(machine, policy, r.file, warnings)

    def unique(self, node: etree._Element | None, what: str, found: list[tuple[str, int]]) -> None:
        seen: dict[str, int] = {}
        for value, line in found:
            if value in seen and node is not None:
                self.r.error(node, f"{what} '{value}' twice, lines {seen[value]} and {line}")
            seen[value] = line

    def uuid(self, root: etree._Element, name: str) -> str:
        text = _text(root.find("uuid"))
        if not text:
            return str(uuids.uuid5(NAMESPACE, name))
        try:
            return str(uuids.UUID(text))
        except ValueError:
            self.r.error(root, f"<uuid> is {text!r}, accepted: 32 hexadecimal digits")
            return text

    def memory(self, root: etree._Element) -> int:
        node = root.find("memory")
        if node is None:
            self.r.error(root, "<memory> is missing")
            return 128 * MIB
        self.r.known(node, "", "unit dumpCore")
        unit = str(node.get("unit", "KiB")).lower()
        if unit in ("b", "byte", "bytes"):
            scale = 1
        else:
            match = re.fullmatch(r"([kmgtpe])(ib|b)?", unit)
            if match is None:
                self.r.error(node, f"unit='{unit}', accepted: b, K to E, KiB to EiB, KB to EB")
                return 128 * MIB
            scale = (1000 if match[2] == "b" else 1024) ** _POWERS[match[1]]
        size = self.r.number(node, node.text, 0, 1 << 62) * scale
        size = -(-size // MIB) * MIB
        if not 128 * MIB <= size <= 524288 * MIB:
            self.r.error(node, f"found {size // MIB} MiB, accepted: 128 MiB to 512 GiB")
        return size

    def vcpus(self, root: etree._Element) -> int:
        node = root.find("vcpu")
        if node is None:
            return 1
        self.r.known(node, "", "placement")
        return self.r.number(node, node.text, 1, 254)

    def iothreads(self, root: etree._Element) -> tuple[int, ...]:
        node = root.find("iothreads")
        if node is None:
            return ()
        return tuple(range(1, self.r.number(node, node.text, 0, 8) + 1))

    def boot(self, root: etree._Element, name: str) -> tuple[str, Boot, bool]:
        node = root.find("os")
        if node is None:
            self.r.error(root, "<os> is missing")
            return "q35", Boot(), False
        self.r.known(node, "type kernel initrd cmdline loader nvram boot")
        kind = node.find("type")
        default = "q35" if self.arch == "x86_64" else "virt"
        machine = default
        if kind is not None:
            self.r.known(kind, "", "arch machine")
            if kind.get("arch", self.arch) != self.arch:
                self.r.error(kind, f"arch='{kind.get('arch')}', this host is {self.arch}")
            machine = re.sub(r"^(pc-)?(q35|virt)(-[0-9.]+)?$", r"\2", kind.get("machine", default))
        if machine != default:
            self.r.error(kind if kind is not None else node,
                         f"machine='{machine}', accepted now: {default}")
        cmdline = _text(node.find("cmdline"))
        if cmdline and (cmdline.startswith("-") or any(len(w) > 255 for w in cmdline.split())):
            self.r.error(node, "<cmdline> starts with '-' or has a word over 255 bytes")
        loader, nvram = node.find("loader"), node.find("nvram")
        nvram_path = template = None
        if nvram is not None:
            self.r.known(nvram, "", "template")
            template = self.path(nvram, nvram.get("template")) if nvram.get("template") else None
            nvram_path = (self.path(nvram, nvram.text) if _text(nvram)
                          else str(self.state / "nvram" / f"{name}_VARS.fd"))
        if loader is not None:
            self.r.known(loader, "", "readonly type secure")
            self.r.choice(loader, "type", "pflash", "pflash")
            self.r.choice(loader, "secure", "no", "no")
        gic = root.find("features/gic") is not None
        return machine, Boot(
            kernel=self.optional(node, "kernel"), initrd=self.optional(node, "initrd"),
            cmdline=cmdline, loader=self.optional(node, "loader"),
            loader_readonly=loader is None or loader.get("readonly", "yes") == "yes",
            nvram=nvram_path, nvram_template=template,
        ), gic

    def optional(self, node: etree._Element, tag: str) -> str | None:
        child = node.find(tag)
        return None if child is None else self.path(child, child.text)

    def path(self, node: etree._Element, text: str | None) -> str:
        value = self.r.option(node, text.strip() if text else None)
        return str(self.images / value) if value else ""

    def emulator(self, node: etree._Element) -> str | None:
        text = _text(node) or ""
        if "qemu" in Path(text).name:
            self.r.warn(node, "<emulator> of QEMU is ignored; the configured StratoVirt is used")
            return None
        self.r.warn(node, "<emulator> is not used yet: the configured StratoVirt is")
        return None

    def disk(self, node: etree._Element) -> Disk:
        r = self.r
        r.known(node, "driver source target readonly serial boot iotune alias address",
                "type device")
        kind = r.choice(node, "type", "file block", "file")
        r.choice(node, "device", "disk", "disk")
        source, target = node.find("source"), node.find("target")
        path = "" if source is None else self.path(source, source.get(
            "file" if kind == "file" else "dev"))
        if source is None:
            r.error(node, "<source> is missing")
        name = "" if target is None else r.option(target, target.get("dev"))
        if target is None:
            r.error(node, "<target> is missing")
        elif target.get("bus", "virtio") != "virtio":
            r.error(target, f"bus='{target.get('bus')}', accepted: virtio")
        direct, aio, iothread = None, None, None
        driver = node.find("driver")
        if driver is not None:
            r.known(driver, "", "name type cache io discard iothread")
            r.choice(driver, "type", "raw", "raw")
            cache = driver.get("cache")
            if cache in ("none", "directsync"):
                direct = True
            elif cache in ("writeback", "writethrough", "unsafe"):
                direct, aio = False, "off"
            elif cache not in (None, "default"):
                r.error(driver, f"cache='{cache}', accepted: none, directsync, writeback, "
                                "writethrough, unsafe")
            aio = driver.get("io", aio)
            if aio == "native" and direct is False:
                r.error(driver, "io='native' needs cache='none' or 'directsync'")
            if driver.get("iothread"):
                iothread = r.number(driver, driver.get("iothread"), 1, 8)
        iops = None
        for limit in node.iterfind("iotune/*"):
            if limit.tag != "total_iops_sec":
                r.error(limit, f"StratoVirt has no {limit.tag}, accepted: total_iops_sec")
            else:
                iops = r.number(limit, limit.text, 0, 1_000_000)
        self.place(node)
        serial = node.find("serial")
        index = ord(name[-1]) - ord("a") if name and name[-1].isalpha() else 0
        return Disk(target=name, path=path, direct=direct, aio=aio, iothread=iothread, iops=iops,
                    readonly=node.find("readonly") is not None,
                    serial=None if serial is None else r.option(serial, _text(serial)),
                    alias=f"virtio-disk{index}", line=line_of(node))

    def interface(self, node: etree._Element, name: str, uuid: str, index: int) -> Interface:
        r = self.r
        r.known(node, "source target mac model alias address", "type")
        if node.get("type") not in ("ethernet", "bridge"):
            r.error(node, f"type='{node.get('type')}', accepted: ethernet, bridge")
        source, target, mac = node.find("source"), node.find("target"), node.find("mac")
        tap = target.get("dev") if target is not None else f"sv-{uuid[:8]}{index}"
        r.option(node if target is None else target, tap)
        if tap and len(tap) > 15:
            r.error(node, f"tap name {tap!r} is over 15 bytes")
        self.place(node)
        if source is not None and source.get("bridge"):
            r.warn(source, f"the tap is not attached to bridge '{source.get('bridge')}' yet")
        digest = hashlib.sha256(f"{uuid}:{tap}".encode()).hexdigest()
        address = str(mac.get("address", "")) if mac is not None else (
            f"52:54:00:{digest[:2]}:{digest[2:4]}:{digest[4:6]}")
        address = address.lower()
        if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", address) or int(address[:2], 16) & 1:
            r.error(node, f"mac {address!r}, accepted: six bytes, not multicast")
        return Interface(tap=tap or "", mac=address, alias=f"net{index}",
                         bridge=source.get("bridge") if source is not None else None,
                         line=line_of(node))

    def place(self, node: etree._Element) -> None:
        address = node.find("address")
        if address is not None:
            self.r.warn(address, "<address> is not read yet: places are assigned automatically")

    def port(self, node: etree._Element, consoles: int) -> Port:
        self.r.known(node, "target source alias address protocol", "type tty")
        backend = self.r.choice(node, "type", "pty file", "pty")
        source, target = node.find("source"), node.find("target")
        path = None
        if backend != "pty":
            path = self.path(node if source is None else source,
                             None if source is None else source.get("path"))
        virtio = node.tag == "console" and target is not None and target.get("type") == "virtio"
        kind = "console" if virtio else "serial"
        return Port(kind, backend, path, consoles if virtio else 0,
                    f"{kind}{consoles}" if virtio else "serial0", line_of(node))

    def controller(self, node: etree._Element) -> VirtioSerial | None:
        kind = node.get("type")
        if kind == "virtio-serial":
            return VirtioSerial(line=line_of(node))
        if kind == "pci" and node.get("model") in ("pcie-root", "pcie-root-port"):
            if node.get("model") == "pcie-root-port":
                self.r.warn(node, "root ports are placed automatically")
            return None
        if kind == "usb" and node.get("model") == "none":
            return None
        self.r.error(node, f"controller type='{kind}', accepted: pci, virtio-serial", "Unsupported")
        return None

    def balloon(self, node: etree._Element) -> Balloon | None:
        self.r.known(node, "alias address stats", "model autodeflate freePageReporting")
        if self.r.choice(node, "model", "virtio none", "virtio") == "none":
            return None
        return Balloon(deflate_on_oom=node.get("autodeflate") == "on",
                       free_page_reporting=node.get("freePageReporting") == "on")
