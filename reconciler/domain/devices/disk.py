"""<disk>: a virtio-blk device backed by a file or a block device."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Command, Device, ExclusiveResource, RequiredFile
from reconciler.domain.read_context import ADDRESS, ALIAS_RULE, at, driver, path, place
from reconciler.domain.rules import (
    OPTION,
    PATH,
    Attribute,
    choice,
    element,
    ignore,
    matching,
    number,
    reject,
    warn,
)
from reconciler.domain.xml_builder import (
    XmlElement,
    address,
    alias,
    build,
    build_if_set,
    build_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.domain.options import Option, Options
    from reconciler.domain.place import Place
    from reconciler.domain.read_context import ReadContext
    from reconciler.domain.rules import Element
    from reconciler.domain.xml import Node

_ONLY_TOTAL = "StratoVirt supports total_iops_sec only; remove it"
_LIMITS = [f"{when}_{what}_sec{more}" for when in ("total", "read", "write")
           for what in ("bytes", "iops") for more in ("", "_max", "_max_length")]
# Parts of sources of other types: the type is one error, and its parts need none of their own.
_ELSEWHERE: tuple[Attribute | Element, ...] = (
    *ignore("@protocol", "@name", "@pool", "@volume", "@dir", "@query", "@tls", "@tlsHostname",
            "@namespace", "@managed", "@mode", "@type", "@path"),
    *ignore("host", "auth", "config", "cookies", "identity", "initiator", "readahead", "reconnect",
            "ssl", "timeout", "address", "privateData"))
DISK = element(
    "disk",
    Attribute("type", choice("file", "block", "network", "volume", "nvme", "dir", "vhostuser")),
    Attribute("device", choice("disk", "cdrom", "floppy", "lun")),
    *ignore("@snapshot", "@model", "@sgio"),
    reject("@rawio", "raw SCSI commands are not passed through; remove it"),
    element("driver",
            Attribute("name", OPTION), Attribute("type", choice("raw", "qcow2")),
            Attribute("cache", choice("default", "none", "directsync", "writeback",
                                      "writethrough", "unsafe")),
            Attribute("io", choice("native", "io_uring", "threads")),
            Attribute("discard", choice("unmap", "ignore")),
            Attribute("detect_zeroes", choice("off", "on", "unmap")),
            Attribute("iothread", number(1, 255)), Attribute("queues", number(1, 32)),
            Attribute("queue_size", choice("4", "8", "16", "32", "64", "128", "256", "512",
                                           "1024")),
            *ignore("@iommu", "@ats", "@packed", "@copy_on_read", "@discard_no_unref",
                    "@page_per_vq"),
            warn("@error_policy", "StratoVirt has a fixed policy"),
            warn("@rerror_policy", "StratoVirt has a fixed policy"),
            warn("@ioeventfd", "StratoVirt decides"), warn("@event_idx", "StratoVirt decides"),
            *ignore("metadata_cache", "iothreads", "statistics")),
    element("source", Attribute("file", PATH), Attribute("dev", PATH),
            *ignore("@index", "@startupPolicy"), *ignore("seclabel"),
            *_ELSEWHERE, reject("@fdgroup", "StratoVirt opens files by path; remove it"),
            reject("slices", "StratoVirt attaches whole files; remove it"),
            reject("dataStore", "StratoVirt uses a single file; remove it"),
            reject("snapshot", "StratoVirt uses the current state of the file; remove it"),
            reject("encryption", "StratoVirt cannot decrypt images"),
            reject("reservations", "StratoVirt has no persistent reservations; remove it")),
    element("target", Attribute("dev", matching(r"(vd|hd|sd|fd|xvd)[a-z]{1,3}",
                                                "a name such as vda")),
            Attribute("bus", choice("virtio", "scsi", "sata", "ide", "usb", "fdc", "sd")),
            *ignore("@removable", "@tray", "@rotation_rate")),
    element("readonly"),
    element("shareable"), element("serial", text=OPTION),
    element("boot", Attribute("order", number(1, 255)), *ignore("@loadparm")),
    element("iotune", element("total_iops_sec", text=number(0, 1_000_000)),
            *(reject(name, _ONLY_TOTAL) for name in _LIMITS if name != "total_iops_sec"),
            reject("size_iops_sec", _ONLY_TOTAL), reject("group_name", _ONLY_TOTAL)),
    ADDRESS, ALIAS_RULE,
    *ignore("backingStore", "geometry", "blockio", "acpi", "backenddomain", "privateData"),
    warn("wwn", "StratoVirt does not support it"),
    warn("vendor", "StratoVirt does not support it"),
    warn("product", "StratoVirt does not support it"), reject("throttlefilters", _ONLY_TOTAL),
    reject("encryption", "StratoVirt cannot decrypt images"),
    reject("transient", "changes to the disk would persist; remove it"),
    reject("mirror", "a running block copy cannot be taken over; remove it"),
    reject("auth", "StratoVirt has no network disks; remove it"), many=True)
RULES = (DISK,)
_BUSES = {"sd": "scsi", "hd": "ide", "fd": "fdc"}  # libvirt's default where the file gives none
_DIRECT = {"none": True, "directsync": True, "writeback": False, "writethrough": False,
           "unsafe": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk(Device):
    """`direct` and `aio` None mean StratoVirt's defaults: direct=on, aio=native."""

    KIND: ClassVar[str] = "disk"
    RANK: ClassVar[int] = 30
    HOTPLUG: ClassVar[bool] = True
    BUS: ClassVar[str] = "virtio"
    PATHS: ClassVar[dict[str, str]] = {
        **Device.PATHS, "target": "target/@dev", "path": "source", "block": "@type",
        "format": "driver/@type", "direct": "driver/@cache", "aio": "driver/@io",
        "discard": "driver/@discard", "detect_zeroes": "driver/@detect_zeroes",
        "readonly": "readonly", "serial": "serial", "boot": "boot/@order",
        "iothread": "driver/@iothread", "queues": "driver/@queues",
        "queue_size": "driver/@queue_size", "iops": "iotune/total_iops_sec"}
    WORDS: ClassVar[dict[str, tuple[str, str]]] = {
        "block": ("block", "file"), "direct": ("none", "writeback")}

    target: str
    path: str
    block: bool = False
    format: str = "raw"
    direct: bool | None = None
    aio: str | None = None
    discard: str | None = None
    detect_zeroes: str | None = None
    readonly: bool = False
    serial: str | None = None
    boot: int | None = None
    iothread: int | None = None
    queues: int | None = None
    queue_size: int | None = None
    iops: int | None = None

    @property
    def key(self) -> str:
        """The target device."""
        return self.target

    def required_files(self) -> tuple[RequiredFile, ...]:
        """Its image; type='file' may name a block device, too."""
        return (RequiredFile(self.path, "block" if self.block else "file-or-block",
                             writable=not self.readonly, line=self.line),)

    def exclusive_resources(self) -> tuple[ExclusiveResource, ...]:
        """Its image: one VM may write to it, or any number may read it."""
        return (ExclusiveResource("read-only disk" if self.readonly else "writable disk", self.path,
                                  self.line),)

    def drive(self) -> str:
        """The value of -drive."""
        drive = [f"file={self.path}", f"id=drive-{self.alias}",
                 f"readonly={'on' if self.readonly else 'off'}"]
        if self.direct is not None:
            drive.append(f"direct={'on' if self.direct else 'off'}")
        if self.format != "raw":
            drive.append(f"format={self.format}")
        for name, value in (("aio", self.aio), ("discard", self.discard),
                            ("detect-zeroes", self.detect_zeroes),
                            ("throttling.iops-total", self.iops)):
            if value is not None:
                drive.append(f"{name}={value}")
        return ",".join(drive)

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The drive, then the device that presents it."""
        device = (f"{driver('virtio-blk', place)},drive=drive-{self.alias},id={self.alias}"
                  f"{at(place)}")
        for name, value in (("iothread", f"iothread{self.iothread}" if self.iothread else None),
                            ("serial", self.serial), ("bootindex", self.boot),
                            ("num-queues", self.queues), ("queue-size", self.queue_size)):
            if value is not None:
                device += f",{name}={value}"
        return ("-drive", self.drive(), "-device", device)

    def to_xml(self) -> XmlElement:
        """Its <disk>."""
        return self._xml(address(self.place))

    def _xml(self, where: XmlElement | None, device: str = "disk") -> XmlElement:
        cache = {None: None, True: "none", False: "writeback"}[self.direct]
        source: dict[str, object] = {"dev" if self.block else "file": self.path}
        return build(
            "disk",
            build("driver", name="qemu", type=self.format, cache=cache,
                  io=None if self.aio == "off" else self.aio, discard=self.discard,
                  detect_zeroes=self.detect_zeroes, iothread=self.iothread, queues=self.queues,
                  queue_size=self.queue_size),
            XmlElement("source", source), build("target", dev=self.target, bus=self.BUS),
            build("readonly") if self.readonly else None, build_text("serial", self.serial),
            build_if_set("boot", order=self.boot),
            build("iotune", build_text("total_iops_sec", self.iops)) if self.iops else None,
            alias(self.alias), where, type="block" if self.block else "file", device=device)

    def plug(self, place: Place) -> tuple[Command, ...]:
        """The image, then the device; a node that an earlier attempt left is removed first."""
        drive = f"drive-{self.alias}"
        file = {"driver": "file", "filename": self.path,
                "aio": self.aio or ("off" if self.direct is False else "native")}
        block: dict[str, object] = {
            "node-name": drive, "driver": self.format, "file": file, "read-only": self.readonly,
            "cache": {"direct": self.direct is not False}}
        more = {"discard": self.discard, "detect-zeroes": self.detect_zeroes,
                "throttling.iops-total": self.iops}
        device: dict[str, object] = {"id": self.alias, "driver": "virtio-blk-pci", "drive": drive,
                                     "bus": f"pcie.{place.bus}", "addr": f"{place.slot:#x}"}
        shown = {"iothread": f"iothread{self.iothread}" if self.iothread else None,
                 "serial": self.serial, "boot_index": str(self.boot) if self.boot else None,
                 "num-queues": self.queues, "queue-size": self.queue_size}
        return (Command("blockdev-del", {"node-name": drive}, anyway=True),
                Command("blockdev-add", {**block, **_given(more)}),
                Command("device_add", {**device, **_given(shown)}))

    def unplug(self) -> tuple[Command, ...]:
        """The device, once the guest has released it; then its image."""
        return (Command("device_del", {"id": self.alias}, until="DEVICE_DELETED"),
                Command("blockdev-del", {"node-name": f"drive-{self.alias}"}, anyway=True))


def read_all(devices: Node, context: ReadContext) -> list[Disk]:
    """Read every virtio <disk>; scsi.py reads those on a SCSI bus, others are errors."""
    return [found for node in devices.children("disk") if _accepted(node)
            if (found := read(node, context)) is not None]


def read(node: Node, context: ReadContext) -> Disk | None:
    """Read what disks of all buses have in common; None if it is wrong."""
    kind = node.text("@type") or "file"
    attribute = "dev" if kind == "block" else "file"
    source = path(context, node.text(f"source/@{attribute}"))
    if source is None and node.at("source").raw.get(attribute) is None:
        node.error(f"no source; accepted: <source {attribute}='…'/>")
    target = node.text("target/@dev")
    if node.child("target") is None or node.at("target").raw.get("dev") is None:
        node.error("no target; accepted: <target dev='vda' bus='virtio'/>")
    direct, aio = _cache(node)
    serial = node.text("serial")
    if serial is not None and len(serial.encode()) > 20:
        node.at("serial").error(f"found {len(serial.encode())} bytes; accepted: up to 20")
    size = node.text("driver/@queue_size")
    if source is None or target is None:
        return None
    return Disk(
        target=target, path=source, block=kind == "block",
        format=node.text("driver/@type") or "raw", direct=direct, aio=aio,
        discard=node.text("driver/@discard"), detect_zeroes=node.text("driver/@detect_zeroes"),
        readonly=node.child("readonly") is not None, serial=serial,
        boot=node.number("boot/@order"), iothread=node.number("driver/@iothread"),
        queues=node.number("driver/@queues"), queue_size=int(size) if size else None,
        iops=node.number("iotune/total_iops_sec") or None,
        alias=node.text("alias/@name") or f"virtio-disk{index_of(target)}", place=place(node),
        line=node.line)


def bus_of(node: Node) -> str:
    """The bus that the file gives, else libvirt's default for the target."""
    return node.text("target/@bus") or _BUSES.get((node.text("target/@dev") or "vd")[:2], "virtio")


def _accepted(node: Node) -> bool:
    device, bus = node.text("@device") or "disk", bus_of(node)
    if device in ("cdrom", "floppy"):
        if node.child("source") is None:
            node.warn(f"an empty {device} is ignored: StratoVirt has no drives without a medium")
        elif bus != "scsi" or device == "floppy":
            node.error(f"device='{device}' on bus {bus}; accepted: disk (with "
                       "<readonly/> for an image), or a cdrom on bus='scsi'")
        return False
    return acceptable(node) and bus == "virtio"


def acceptable(node: Node) -> bool:
    """Whether StratoVirt supports such a disk; reports the error if not."""
    kind, device, bus = node.text("@type") or "file", node.text("@device"), bus_of(node)
    if device == "lun":
        node.error("device='lun'; accepted: disk")
        return False
    if kind not in ("file", "block"):
        node.error(f"type='{kind}'; accepted: file, block", reason="Unsupported")
        return False
    if bus not in ("virtio", "scsi"):
        node.at("target").error(f"bus='{bus}'; accepted: virtio (the guest sees /dev/vda), scsi")
        return False
    if node.child("shareable") is not None and node.child("readonly") is None:
        node.at("shareable").error("StratoVirt shares read-only disks only; accepted: with "
                                   "<readonly/>")
    return True


def _cache(node: Node) -> tuple[bool | None, str | None]:
    """Translate libvirt's cache and io into StratoVirt's direct and aio."""
    cache, io = node.text("driver/@cache"), node.text("driver/@io")
    direct = _DIRECT.get(cache or "")
    if cache in ("writethrough", "unsafe", "directsync"):
        node.at("driver").warn(f"cache='{cache}' becomes direct={'on' if direct else 'off'}: "
                               "StratoVirt has no other flush modes")
    if io == "native" and direct is False:
        node.at("driver").error(f"io='native' with cache='{cache}'; accepted: with cache='none' "
                                "or 'directsync'")
    return direct, io or ("off" if direct is False else None)


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def index_of(target: str) -> int:
    """The index of a target as libvirt counts: vda and hda are 0, vdaa is 26."""
    number = 0
    for letter in target[2 if target[0] != "x" else 3:]:
        number = number * 26 + ord(letter) - ord("a") + 1
    return max(number - 1, 0)


def recognise(options: Options) -> list[Disk]:
    """From the command line."""
    return _targeted([
        replace(disk, place=options.place(option))
        for option in options.take("-device", "virtio-blk-pci", "virtio-blk-device")
        if (disk := recognised(option, options)) is not None])


def recognised(option: Option, options: Options) -> Disk | None:
    """Recognise what disks of all buses have in common; the target is set later."""
    drive = options.backend(option, "-drive", "drive")
    file = options.path(drive.text("file")) if drive is not None else None
    if drive is None or file is None:
        return None
    drive.skip("if", "media")
    direct, discard = drive.truth("direct"), drive.truth("discard")
    aio = drive.text("aio") or ("off" if direct is False else None)
    return Disk(
        target="", path=file, block=options.context.is_block(file), alias=options.alias(option, ""),
        format=drive.text("format") or "raw", direct=direct, aio=aio,
        discard=None if discard is None else "unmap" if discard else "ignore",
        detect_zeroes=drive.text("detect-zeroes"), readonly=drive.truth("readonly") or False,
        iops=drive.number("throttling.iops-total") or None, serial=option.text("serial"),
        boot=option.number("bootindex"), iothread=options.iothread(option),
        queues=option.number("num-queues"), queue_size=option.number("queue-size"))


def targets(prefix: str, count: int) -> list[str]:
    """Target names whose alphabetical order is their numerical order."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    if count <= len(letters):
        return [f"{prefix}{letter}" for letter in letters[:count]]
    return [f"{prefix}{one}{other}" for one in letters for other in letters][:count]


def _targeted(disks: list[Disk]) -> list[Disk]:
    """Set the targets: from libvirt's aliases where this keeps the order, which microvm shows."""
    named = [f"vd{_letters(int(d.alias[11:]))}" if re.fullmatch(r"virtio-disk\d{1,3}", d.alias)
             else "" for d in disks]
    if "" in named or named != sorted(set(named)):
        named = targets("vd", len(disks))
    return [replace(d, target=name, alias=d.alias or f"virtio-disk{index_of(name)}")
            for d, name in zip(disks, named, strict=True)]


def _letters(number: int) -> str:
    """The inverse of index_of."""
    found, number = "", number + 1
    while number:
        number, letter = divmod(number - 1, 26)
        found = chr(ord("a") + letter) + found
    return found
