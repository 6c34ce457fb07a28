"""<hostdev>: a PCI device of the host, given to the guest. An optional feature of the build."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Claim, Device, Place
from reconciler.domain.reading import ADDRESS, ALIAS_RULE, at, place
from reconciler.domain.rules import (
    YES_NO,
    Attribute,
    choice,
    element,
    hexadecimal,
    quiet,
    refused,
    silent,
    warned,
)
from reconciler.domain.xml_builder import Tag, address, alias, tag

if TYPE_CHECKING:
    from reconciler.domain.options import Option, Options
    from reconciler.domain.reading import Reading
    from reconciler.domain.xml import Node

HOSTDEV = element(
    "hostdev", Attribute("mode", choice("subsystem", "capabilities")),
    Attribute("type", choice("pci", "usb", "scsi", "scsi_host", "mdev", "storage", "misc", "net")),
    Attribute("managed", YES_NO), *quiet("sgio", "rawio", "model", "display"),
    element("source", *quiet("startupPolicy", "writeFiltering", "protocol"), element(
        "address", Attribute("domain", hexadecimal(0xFFFF)), Attribute("bus", hexadecimal(0xFF)),
        Attribute("slot", hexadecimal(0x1F)), Attribute("function", hexadecimal(7)),
        *quiet("type", "device", "uuid", "port", "target", "unit")),
        *silent("vendor", "product", "adapter", "block", "char", "interface")),
    element("driver", Attribute("name", choice("vfio", "kvm", "xen")), *quiet("model", "iommufd")),
    ADDRESS, ALIAS_RULE, *silent("acpi", "teaming"), warned("rom", "StratoVirt loads none"),
    refused("boot", "StratoVirt boots from disks"), refused("readonly", "that is for scsi"),
    refused("shareable", "that is for scsi"), many=True)
RULES = (HOSTDEV,)
_HOST = re.compile(r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}:[01][0-9a-f]\.[0-7])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostdev(Device):
    """`host` is its place on the host, as the kernel writes it: 0000:03:00.0.

    `managed`: we bind it to vfio-pci before the start, and give it back afterwards.
    """

    KIND: ClassVar[str] = "hostdev"
    RANK: ClassVar[int] = 40
    MICROVM: ClassVar[bool] = False
    FEATURE: ClassVar[str] = "vfio-pci"

    host: str
    managed: bool = False

    @property
    def key(self) -> str:
        """What the host knows it by."""
        return self.host

    def claims(self) -> tuple[Claim, ...]:
        """One device, one VM."""
        return (Claim("host device", self.host, self.line),)

    def tag(self) -> Tag:
        """As <hostdev>."""
        domain, bus, rest = self.host.split(":")
        slot, function = rest.split(".")
        source = tag("source", tag("address", domain=f"0x{domain}", bus=f"0x{bus}",
                                   slot=f"0x{slot}", function=f"0x{function}"))
        return tag("hostdev", source, alias(self.alias), address(self.place), mode="subsystem",
                   type="pci", managed="yes" if self.managed else "no")

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The device by its place on the host."""
        return ("-device", f"vfio-pci,id={self.alias},host={self.host}{at(place)}")


def read_all(devices: Node, reading: Reading) -> list[Hostdev]:
    """From every <hostdev>; those without alias are counted by their place on the host."""
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
    """From the command line, which does not say who binds it: a file says so with managed='yes'."""
    found = (_recognised(option, options, f"hostdev{number}") for number, option in enumerate(
        options.take("-device", "vfio-pci")))
    return [device for device in found if device is not None]


def _recognised(option: Option, options: Options, name: str) -> Hostdev | None:
    match = _HOST.fullmatch((option.text("host") or "").lower())
    if match is None:
        option.note("host: accepted: 0000:03:00.0")
        return None
    option.note("managed='no': whoever bound it to vfio-pci is to bind it again")
    return Hostdev(alias=options.alias(option, name), host=f"{match[1] or '0000'}:{match[2]}",
                   place=options.place(option))
