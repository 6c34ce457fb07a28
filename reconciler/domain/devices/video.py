"""<video>: a virtio graphics card. An optional feature of StratoVirt's build."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Device
from reconciler.domain.read_context import ADDRESS, ALIAS_RULE, at, place
from reconciler.domain.rules import ANY, Attribute, element, ignore
from reconciler.domain.xml_builder import XmlElement, address, alias, build

if TYPE_CHECKING:
    from reconciler.domain.options import Options
    from reconciler.domain.place import Place
    from reconciler.domain.read_context import ReadContext
    from reconciler.domain.xml import Node

VIDEO = element(
    "video", element("model", Attribute("type", ANY), *ignore(
        "@heads", "@primary", "@ram", "@vram", "@vgamem", "@vram64", "@blob", "@edid"),
                     *ignore("acceleration", "resolution")),
    ADDRESS, ALIAS_RULE, *ignore("driver", "acpi"), many=True)
RULES = (VIDEO,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Video(Device):
    """The graphics card of a VM."""

    KIND: ClassVar[str] = "video"
    RANK: ClassVar[int] = 52
    SINGLE: ClassVar[bool] = True
    MICROVM: ClassVar[bool] = False
    FEATURE: ClassVar[str] = "virtio-gpu-pci"

    @property
    def key(self) -> str:
        """Constant: a domain has one at most."""
        return "0"

    def to_xml(self) -> XmlElement:
        """Its <video>."""
        return build("video", build("model", type="virtio"), alias(self.alias), address(self.place))

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The card, with StratoVirt's own defaults."""
        return ("-device", f"virtio-gpu-pci,id={self.alias}{at(place)}")


def read_all(devices: Node, context: ReadContext) -> list[Video]:
    """The virtio card; other models are ignored with a warning."""
    found: list[Video] = []
    for node in devices.children("video"):
        model = node.text("model/@type")
        if model != "virtio":
            node.warn(f"model '{model or ''}' is ignored: StratoVirt supports virtio only")
        elif found:
            node.error("a second virtio card; accepted: one")
        else:
            found.append(Video(alias=node.text("alias/@name") or "video0", place=place(node),
                               line=node.line))
    return found


def recognise(options: Options) -> list[Video]:
    """From the command line."""
    return [Video(alias=options.alias(option, "video0"), place=options.place(option))
            for option in options.take("-device", "virtio-gpu-pci")]
