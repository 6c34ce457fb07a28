"""<hostdev>: PCI passthrough of a host device. An optional feature of StratoVirt's build."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Device, ExclusiveResource
from reconciler.domain.read_context import ADDRESS, ALIAS_RULE, at, place
from reconciler.domain.rules import (
    YES_NO,
    Attribute,
    choice,
    element,
    hexadecimal,
    ignore,
    reject,
    warn,
)
from reconciler.domain.xml_builder import XmlElement, address, alias, build

if TYPE_CHECKING:
    from reconciler.domain.options import Option, Options
    from reconciler.domain.place import Place
    from reconciler.domain.read_context import ReadContext
    from reconciler.domain.xml import Node

HOSTDEV = element(
    "hostdev", Attribute("mode", choice("subsystem", "capabilities")),
    Attribute("type", choice("pci", "usb", "scsi", "scsi_host", "mdev", "storage", "misc", "net")),
    Attribute("managed", YES_NO), *ignore("@sgio", "@rawio", "@model", "@display"),
    element("source", *ignore("@startupPolicy", "@writeFiltering", "@protocol"), element(
        "address", Attribute("domain", hexadecimal(0xFFFF)), Attribute("bus", hexadecimal(0xFF)),
        Attribute("slot", hexadecimal(0x1F)), Attribute("function", hexadecimal(7)),
        *ignore("@type", "@device", "@uuid", "@port", "@target", "@unit")),
            *ignore("vendor", "product", "adapter", "block", "char", "interface")),
    element("driver", Attribute("name", choice("vfio", "kvm", "xen")),
            *ignore("@model", "@iommufd")),
    ADDRESS, ALIAS_RULE, *ignore("acpi", "teaming"), warn("rom", "StratoVirt loads no option ROMs"),
    reject("boot", "StratoVirt boots from disks only; remove it"),
    reject("readonly", "it is for type='scsi'; remove it"),
    reject("shareable", "it is for type='scsi'; remove it"), many=True)
RULES = (HOSTDEV,)
_HOST = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostdev(Device):
    """`host` is its address on the host, as the kernel writes it: 0000:03:00.0.

    `managed`: the reconciler binds it to vfio-pci before the start, and back afterwards.
    """

    KIND: ClassVar[str] = "hostdev"
    RANK: ClassVar[int] = 40
    MICROVM: ClassVar[bool] = False
    FEATURE: ClassVar[str] = "vfio-pci"
    PATHS: ClassVar[dict[str, str]] = {
        **Device.PATHS, "host": "source/address", "managed": "@managed"}

    host: str
    managed: bool = False

    @property
    def key(self) -> str:
        """Its address on the host."""
        return self.host

    def exclusive_resources(self) -> tuple[ExclusiveResource, ...]:
        """The host device, which only one VM can use."""
        return (ExclusiveResource("host device", self.host, self.line),)

    def to_xml(self) -> XmlElement:
        """Its <hostdev>."""
        domain, bus, rest = self.host.split(":")
        slot, function = rest.split(".")
        source = build("source", build("address", domain=f"0x{domain}", bus=f"0x{bus}",
                                       slot=f"0x{slot}", function=f"0x{function}"))
        return build("hostdev", source, alias(self.alias), address(self.place), mode="subsystem",
                     type="pci", managed="yes" if self.managed else "no")

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The device by its address on the host."""
        return ("-device", f"vfio-pci,id={self.alias},host={self.host}{at(place)}")


def read_all(devices: Node, context: ReadContext) -> list[Hostdev]:
    """Read every <hostdev>; default aliases are numbered by the address on the host."""
    found = sorted((h for node in devices.children("hostdev") if (h := _read(node)) is not None),
                   key=lambda h: h.host)
    taken = {h.alias for h in found}
    free = (name for n in range(2 * len(found)) if (name := f"hostdev{n}") not in taken)
    return [h if h.alias else Hostdev(alias=next(free), host=h.host, managed=h.managed,
                                      place=h.place, line=h.line) for h in found]


def _read(node: Node) -> Hostdev | None:
    mode, kind = node.text("@mode") or "subsystem", node.text("@type")
    if mode != "subsystem" or kind != "pci":
        node.error(f"mode='{mode}' type='{kind or ''}'; accepted: mode='subsystem' type='pci'")
        return None
    if node.text("driver/@name") not in (None, "vfio"):
        node.at("driver").error(f"name='{node.text('driver/@name')}'; accepted: vfio")
    address = node.child("source/address")
    if address is None:
        node.error("no address; accepted: <source><address domain='0x0000' bus='0x03' slot='0x00' "
                   "function='0x0'/></source>")
        return None
    parts = [address.number(f"@{name}") for name in ("domain", "bus", "slot", "function")]
    domain, bus, slot, function = (part or 0 for part in parts)
    return Hostdev(alias=node.text("alias/@name") or "",
                   host=f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}",
                   managed=node.flag("@managed") or False, place=place(node), line=node.line)


def recognise(options: Options) -> list[Hostdev]:
    """From the command line, which does not say whether the device is managed."""
    found = (_recognised(option, options, f"hostdev{number}") for number, option in enumerate(
        options.take("-device", "vfio-pci")))
    return [device for device in found if device is not None]


def _recognised(option: Option, options: Options, name: str) -> Hostdev | None:
    match = _HOST.fullmatch((option.text("host") or "").lower())
    if match is None:
        option.note("host: not a PCI address such as 0000:03:00.0")
        return None
    option.note("managed='no': bind it to vfio-pci yourself before the next start, or set "
                "managed='yes'")
    return Hostdev(alias=options.alias(option, name), host=f"{match[1] or '0000'}:{match[2]}",
                   place=options.place(option))
