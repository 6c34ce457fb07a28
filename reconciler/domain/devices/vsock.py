"""<vsock>: sockets between host and guest. An optional feature of StratoVirt's build."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from reconciler.domain.model import Claim, Device, Need, Number, Place
from reconciler.domain.reading import ADDRESS, ALIAS_RULE, at, place
from reconciler.domain.rules import YES_NO, Attribute, choice, element, number, silent
from reconciler.domain.xml_builder import Tag, address, alias, tag

if TYPE_CHECKING:
    from reconciler.domain.options import Options
    from reconciler.domain.reading import Reading
    from reconciler.domain.xml import Node

LOWEST, HIGHEST = 3, 4294967294  # 0 to 2 are reserved, the highest means any
VSOCK = element(
    "vsock", Attribute("model", choice("virtio", "virtio-transitional",
                                       "virtio-non-transitional")),
    element("cid", Attribute("auto", YES_NO), Attribute("address", number(LOWEST, HIGHEST))),
    ADDRESS, ALIAS_RULE, *silent("driver", "acpi"))
RULES = (VSOCK,)
CID = "vsock CID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vsock(Device):
    """The one vsock of a VM; `cid` None until one is chosen."""

    KIND: ClassVar[str] = "vsock"
    RANK: ClassVar[int] = 90
    FEATURE: ClassVar[str] = "vhost-vsock-pci"

    cid: int | None = None

    @property
    def key(self) -> str:
        """There is one."""
        return "0"

    def needs(self) -> tuple[Need, ...]:
        """The kernel's half of it."""
        return (Need("/dev/vhost-vsock", "character", line=self.line),)

    def claims(self) -> tuple[Claim, ...]:
        """Its address, among all of the host."""
        return () if self.cid is None else (Claim(CID, str(self.cid), self.line),)

    def tag(self) -> Tag:
        """As <vsock>."""
        auto = "yes" if self.cid is None else "no"
        return tag("vsock", tag("cid", auto=auto, address=self.cid), alias(self.alias),
                   address(self.place), model="virtio")

    def automatic(self) -> Number | None:
        """The lowest free one, kept for ever."""
        return None if self.cid is not None else Number(CID, LOWEST, HIGHEST)

    def numbered(self, number: int) -> Self:
        """With its CID."""
        return replace(self, cid=number)

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The device; on microvm its other form."""
        name = "vhost-vsock-device" if place is None else "vhost-vsock-pci"
        return ("-device", f"{name},id={self.alias},guest-cid={self.cid}{at(place)}")


def read_all(devices: Node, reading: Reading) -> list[Vsock]:
    """From <vsock>; without auto='no' the CID is left to us, unless one is written."""
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
