"""<vsock>: sockets between host and guest. An optional feature of StratoVirt's build."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from reconciler.domain.model import AutomaticNumber, Device, ExclusiveResource, RequiredFile
from reconciler.domain.read_context import ADDRESS, ALIAS_RULE, at, place
from reconciler.domain.rules import YES_NO, Attribute, choice, element, ignore, number
from reconciler.domain.xml_builder import XmlElement, address, alias, build

if TYPE_CHECKING:
    from reconciler.domain.options import Options
    from reconciler.domain.place import Place
    from reconciler.domain.read_context import ReadContext
    from reconciler.domain.xml import Node

LOWEST, HIGHEST = 3, 4294967294  # 0 to 2 are reserved, 2^32 - 1 means any
VSOCK = element(
    "vsock", Attribute("model", choice("virtio", "virtio-transitional",
                                       "virtio-non-transitional")),
    element("cid", Attribute("auto", YES_NO), Attribute("address", number(LOWEST, HIGHEST))),
    ADDRESS, ALIAS_RULE, *ignore("driver", "acpi"))
RULES = (VSOCK,)
CID = "vsock CID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vsock(Device):
    """The vsock of a VM; `cid` is None until one is chosen."""

    KIND: ClassVar[str] = "vsock"
    RANK: ClassVar[int] = 90
    SINGLE: ClassVar[bool] = True
    FEATURE: ClassVar[str] = "vhost-vsock-pci"
    PATHS: ClassVar[dict[str, str]] = {**Device.PATHS, "cid": "cid/@address"}

    cid: int | None = None

    @property
    def key(self) -> str:
        """Constant: a domain has one at most."""
        return "0"

    def required_files(self) -> tuple[RequiredFile, ...]:
        """The kernel's vhost device."""
        return (RequiredFile("/dev/vhost-vsock", "character", line=self.line),)

    def exclusive_resources(self) -> tuple[ExclusiveResource, ...]:
        """Its CID, which is unique on a host."""
        return () if self.cid is None else (ExclusiveResource(CID, str(self.cid), self.line),)

    def to_xml(self) -> XmlElement:
        """Its <vsock>."""
        auto = "yes" if self.cid is None else "no"
        return build("vsock", build("cid", auto=auto, address=self.cid), alias(self.alias),
                     address(self.place), model="virtio")

    def automatic(self) -> AutomaticNumber | None:
        """The lowest free CID; it is kept from then on."""
        return None if self.cid is not None else AutomaticNumber(CID, LOWEST, HIGHEST)

    def numbered(self, number: int) -> Self:
        """With its CID."""
        return replace(self, cid=number)

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The device; microvm uses the -device variant."""
        name = "vhost-vsock-device" if place is None else "vhost-vsock-pci"
        return ("-device", f"{name},id={self.alias},guest-cid={self.cid}{at(place)}")


def read_all(devices: Node, context: ReadContext) -> list[Vsock]:
    """Read <vsock>; the CID is chosen unless the file gives one without auto='yes'."""
    return [_read(node) for node in devices.children("vsock")][:1]


def _read(node: Node) -> Vsock:
    cid, automatic = node.number("cid/@address"), node.flag("cid/@auto")
    if automatic is False and cid is None and node.at("cid").raw.get("address") is None:
        node.at("cid").error(f"no address; accepted: address='{LOWEST}' to '{HIGHEST}'")
    return Vsock(alias=node.text("alias/@name") or "vsock0", cid=None if automatic else cid,
                 place=place(node), line=node.line)


def recognise(options: Options) -> list[Vsock]:
    """From the command line."""
    return [Vsock(alias=options.alias(option, "vsock0"), cid=option.number("guest-cid"),
                  place=options.place(option))
            for option in options.take("-device", "vhost-vsock-pci", "vhost-vsock-device")]
