"""<disk>: a virtio-blk device on a file or a block device."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Claim, Command, Device, Need, Place
from reconciler.domain.reading import ADDRESS, ALIAS_RULE, at, driver, path, place
from reconciler.domain.rules import (
    OPTION,
    PATH,
    Attribute,
    choice,
    denied,
    dropped,
    element,
    matching,
    number,
    quiet,
    refused,
    silent,
    warned,
)
from reconciler.domain.xml_builder import Tag, address, alias, having, maybe, tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.domain.options import Option, Options
    from reconciler.domain.reading import Reading
    from reconciler.domain.rules import Element
    from reconciler.domain.xml import Node

_ONLY_TOTAL = "StratoVirt limits only total_iops_sec"
_LIMITS = [f"{when}_{what}_sec{more}" for when in ("total", "read", "write")
           for what in ("bytes", "iops") for more in ("", "_max", "_max_length")]
# Of a source that is no file; its type is the error, not each of its parts.
_ELSEWHERE: tuple[Attribute | Element, ...] = (
    *quiet("protocol", "name", "pool", "volume", "dir", "query", "tls", "tlsHostname", "namespace",
           "managed", "mode", "type", "path"),
    *silent("host", "auth", "config", "cookies", "identity", "initiator", "readahead", "reconnect",
            "ssl", "timeout", "address", "privateData"))
DISK = element(
    "disk",
    Attribute("type", choice("file", "block", "network", "volume", "nvme", "dir", "vhostuser")),
    Attribute("device", choice("disk", "cdrom", "floppy", "lun")),
    *quiet("snapshot", "model", "sgio"),
    denied("rawio", "raw SCSI commands are not passed; take it out"),
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
            *quiet("iommu", "ats", "packed", "copy_on_read", "discard_no_unref",
                   "page_per_vq"),
            dropped("error_policy", "StratoVirt has its own"),
            dropped("rerror_policy", "StratoVirt has its own"),
            dropped("ioeventfd", "StratoVirt decides"), dropped("event_idx", "StratoVirt decides"),
            *silent("metadata_cache", "iothreads", "statistics")),
    element("source", Attribute("file", PATH), Attribute("dev", PATH),
            *quiet("index", "startupPolicy"), *silent("seclabel"),
            *_ELSEWHERE, denied("fdgroup", "StratoVirt opens files by their paths; take it out"),
            refused("slices", "StratoVirt shows a whole file"),
            refused("dataStore", "StratoVirt reads one file"),
            refused("snapshot", "StratoVirt reads a file's newest state"),
            refused("encryption", "StratoVirt cannot decrypt"),
            refused("reservations", "StratoVirt has no persistent reservations")),
    element("target", Attribute("dev", matching(r"(vd|hd|sd|fd|xvd)[a-z]{1,3}",
                                                "a name such as vda")),
            Attribute("bus", choice("virtio", "scsi", "sata", "ide", "usb", "fdc", "sd")),
            *quiet("removable", "tray", "rotation_rate")),
    element("readonly"),
    element("shareable"), element("serial", text=OPTION),
    element("boot", Attribute("order", number(1, 255)), *quiet("loadparm")),
    element("iotune", element("total_iops_sec", text=number(0, 1_000_000)),
            *(refused(name, _ONLY_TOTAL) for name in _LIMITS if name != "total_iops_sec"),
            refused("size_iops_sec", _ONLY_TOTAL), refused("group_name", _ONLY_TOTAL)),
    ADDRESS, ALIAS_RULE,
    *silent("backingStore", "geometry", "blockio", "acpi", "backenddomain", "privateData"),
    warned("wwn", "StratoVirt shows none"), warned("vendor", "StratoVirt shows none"),
    warned("product", "StratoVirt shows none"), refused("throttlefilters", _ONLY_TOTAL),
    refused("encryption", "StratoVirt cannot decrypt"),
    refused("transient", "changes would stay; take it out"),
    refused("mirror", "a running copy cannot be taken over"),
    refused("auth", "StratoVirt has no network disks"), many=True)
RULES = (DISK,)
_BUSES = {"sd": "scsi", "hd": "ide", "fd": "fdc"}  # libvirt's guess where none is written
_DIRECT = {"none": True, "directsync": True, "writeback": False, "writethrough": False,
           "unsafe": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk(Device):
    """`direct` and `aio` None leave StratoVirt's own default: direct=on, aio=native."""

    KIND: ClassVar[str] = "disk"
    RANK: ClassVar[int] = 30
    HOTPLUG: ClassVar[bool] = True

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
        """The target."""
        return self.target

    def needs(self) -> tuple[Need, ...]:
        """Its file; StratoVirt takes a block device as a file, too."""
        return (Need(self.path, "block" if self.block else "file-or-block",
                     writable=not self.readonly, line=self.line),)

    def claims(self) -> tuple[Claim, ...]:
        """Written by one VM only; read by many, as long as nobody writes."""
        return (Claim("read-only disk" if self.readonly else "writable disk", self.path,
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
        """The drive, then the device that shows it."""
        device = (f"{driver('virtio-blk', place)},drive=drive-{self.alias},id={self.alias}"
                  f"{at(place)}")
        for name, value in (("iothread", f"iothread{self.iothread}" if self.iothread else None),
                            ("serial", self.serial), ("bootindex", self.boot),
                            ("num-queues", self.queues), ("queue-size", self.queue_size)):
            if value is not None:
                device += f",{name}={value}"
        return ("-drive", self.drive(), "-device", device)


    def tag(self) -> Tag:
        """As <disk>."""
        return self._tag("virtio", address(self.place))

    def _tag(self, bus: str, where: Tag | None, device: str = "disk") -> Tag:
        cache = {None: None, True: "none", False: "writeback"}[self.direct]
        source: dict[str, object] = {"dev" if self.block else "file": self.path}
        return tag(
            "disk",
            tag("driver", name="qemu", type=self.format, cache=cache,
                io=None if self.aio == "off" else self.aio, discard=self.discard,
                detect_zeroes=self.detect_zeroes, iothread=self.iothread, queues=self.queues,
                queue_size=self.queue_size),
            Tag("source", source), tag("target", dev=self.target, bus=bus),
            tag("readonly") if self.readonly else None, maybe("serial", self.serial),
            having("boot", order=self.boot),
            tag("iotune", maybe("total_iops_sec", self.iops)) if self.iops else None,
            alias(self.alias), where, type="block" if self.block else "file", device=device)

    def plug(self, place: Place) -> tuple[Command, ...]:
        """The file, then the device; what an earlier one left under its name goes first."""
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
        """The device, once the guest agrees; then its file."""
        return (Command("device_del", {"id": self.alias}, until="DEVICE_DELETED"),
                Command("blockdev-del", {"node-name": f"drive-{self.alias}"}, anyway=True))


def read_all(devices: Node, reading: Reading) -> list[Disk]:
    """Every virtio <disk>; those of another bus are of scsi.py, or errors."""
    return [found for node in devices.children("disk") if _accepted(node)
            if (found := read(node, reading)) is not None]


def read(node: Node, reading: Reading) -> Disk | None:
    """What all buses have of a <disk>; None where it is wrong."""
    kind = node.text("@type") or "file"
    attribute = "dev" if kind == "block" else "file"
    source = path(reading, node.text(f"source/@{attribute}"))
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
    """The bus that is written, else libvirt's guess from the target."""
    return node.text("target/@bus") or _BUSES.get((node.text("target/@dev") or "vd")[:2], "virtio")


def _accepted(node: Node) -> bool:
    device, bus = node.text("@device") or "disk", bus_of(node)
    if device in ("cdrom", "floppy"):
        if node.child("source") is None:
            node.warn(f"an empty {device} is ignored: StratoVirt has no drive without a medium")
        elif bus != "scsi" or device == "floppy":
            node.error(f"device='{device}' on bus {bus}; accepted: disk (an image can be a "
                       "read-only one: <readonly/>), or a cdrom on bus='scsi'")
        return False
    return acceptable(node) and bus == "virtio"


def acceptable(node: Node) -> bool:
    """Whether StratoVirt has such a disk at all; the error if not."""
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
        node.at("shareable").error("StratoVirt shares only read-only disks; accepted: with "
                                   "<readonly/>")
    return True


def _cache(node: Node) -> tuple[bool | None, str | None]:
    """Turn libvirt's cache and io into StratoVirt's direct and aio."""
    cache, io = node.text("driver/@cache"), node.text("driver/@io")
    direct = _DIRECT.get(cache or "")
    if cache in ("writethrough", "unsafe", "directsync"):
        node.at("driver").warn(f"cache='{cache}' becomes direct={'on' if direct else 'off'}: "
                               "StratoVirt has no other flush behaviour")
    if io == "native" and direct is False:
        node.at("driver").error(f"io='native' with cache='{cache}'; accepted: with cache='none' "
                                "or 'directsync'")
    return direct, io or ("off" if direct is False else None)


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def index_of(target: str) -> int:
    """Count a target as libvirt does: vda and hda are 0, vdaa is 26."""
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
    """What all buses have of a disk; its target is still to be given."""
    drive = options.backend(option, "-drive", "drive")
    file = options.path(drive.text("file")) if drive is not None else None
    if drive is None or file is None:
        return None
    drive.skip("if", "media")
    direct, discard = drive.truth("direct"), drive.truth("discard")
    aio = drive.text("aio") or ("off" if direct is False else None)
    return Disk(
        target="", path=file, block=options.around.is_block(file), alias=options.alias(option, ""),
        format=drive.text("format") or "raw", direct=direct, aio=aio,
        discard=None if discard is None else "unmap" if discard else "ignore",
        detect_zeroes=drive.text("detect-zeroes"), readonly=drive.truth("readonly") or False,
        iops=drive.number("throttling.iops-total") or None, serial=option.text("serial"),
        boot=option.number("bootindex"), iothread=options.iothread(option),
        queues=option.number("num-queues"), queue_size=option.number("queue-size"))


def targets(prefix: str, count: int) -> list[str]:
    """Names that sort as they are counted."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    if count <= len(letters):
        return [f"{prefix}{letter}" for letter in letters[:count]]
    return [f"{prefix}{one}{other}" for one in letters for other in letters][:count]


def _targeted(disks: list[Disk]) -> list[Disk]:
    """Their names: those of libvirt's aliases where that keeps the order, which microvm shows."""
    named = [f"vd{_letters(int(d.alias[11:]))}" if re.fullmatch(r"virtio-disk\d{1,3}", d.alias)
             else "" for d in disks]
    if "" in named or named != sorted(set(named)):
        named = targets("vd", len(disks))
    return [replace(d, target=name, alias=d.alias or f"virtio-disk{index_of(name)}")
            for d, name in zip(disks, named, strict=True)]


def _letters(number: int) -> str:
    """The other way round than index_of."""
    found, number = "", number + 1
    while number:
        number, letter = divmod(number - 1, 26)
        found = chr(ord("a") + letter) + found
    return found
