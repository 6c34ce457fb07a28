"""<memballoon>: the balloon; one is added where the file has none, as libvirt does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Device
from reconciler.domain.read_context import ADDRESS, ALIAS_RULE, at, driver, place
from reconciler.domain.rules import ON_OFF, Attribute, choice, element, ignore, warn
from reconciler.domain.xml_builder import XmlElement, address, alias, build

if TYPE_CHECKING:
    from reconciler.domain.options import Options
    from reconciler.domain.place import Place
    from reconciler.domain.read_context import ReadContext
    from reconciler.domain.xml import Node

BALLOON = element(
    "memballoon",
    Attribute("model", choice("virtio", "none", "virtio-transitional",
                              "virtio-non-transitional")),
    Attribute("autodeflate", ON_OFF), Attribute("freePageReporting", ON_OFF),
    ADDRESS, ALIAS_RULE, *ignore("driver", "acpi"), warn("stats", "StratoVirt collects none"))
RULES = (BALLOON,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balloon(Device):
    """The one balloon of a VM."""

    KIND: ClassVar[str] = "memballoon"
    RANK: ClassVar[int] = 50
    SINGLE: ClassVar[bool] = True
    PATHS: ClassVar[dict[str, str]] = {
        **Device.PATHS, "deflate_on_oom": "@autodeflate",
        "free_page_reporting": "@freePageReporting"}
    WORDS: ClassVar[dict[str, tuple[str, str]]] = {
        "deflate_on_oom": ("on", "off"), "free_page_reporting": ("on", "off")}

    deflate_on_oom: bool = False
    free_page_reporting: bool = False

    @property
    def key(self) -> str:
        """Constant: a domain has one at most."""
        return "0"

    def to_xml(self) -> XmlElement:
        """Its <memballoon>."""
        def switch(value: object) -> str | None:
            return "on" if value else None

        return build("memballoon", alias(self.alias), address(self.place), model="virtio",
                     autodeflate=switch(self.deflate_on_oom),
                     freePageReporting=switch(self.free_page_reporting))

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """StratoVirt accepts true, and rejects libvirt's on."""
        options = (",deflate-on-oom=true" if self.deflate_on_oom else "") + (
            ",free-page-reporting=true" if self.free_page_reporting else "")
        return ("-device", f"{driver('virtio-balloon', place)},id={self.alias}{at(place)}{options}")


def read_all(devices: Node, context: ReadContext) -> list[Balloon]:
    """The balloon of the file, or the default one where the file has none."""
    nodes = list(devices.children("memballoon"))[:1]
    if not nodes:
        return [Balloon(alias="balloon0")]
    return [_read(node) for node in nodes if node.text("@model") != "none"]


def _read(node: Node) -> Balloon:
    return Balloon(alias=node.text("alias/@name") or "balloon0",
                   deflate_on_oom=node.flag("@autodeflate") or False,
                   free_page_reporting=node.flag("@freePageReporting") or False,
                   place=place(node), line=node.line)


def recognise(options: Options) -> list[Balloon]:
    """From the command line; without one the written file says model='none'."""
    return [Balloon(alias=options.alias(option, "balloon0"), place=options.place(option),
                    deflate_on_oom=option.truth("deflate-on-oom") or False,
                    free_page_reporting=option.truth("free-page-reporting") or False)
            for option in options.take("-device", "virtio-balloon-pci", "virtio-balloon-device")]
