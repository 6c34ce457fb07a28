"""<memballoon>: the balloon; libvirt adds one where none is written, and so do we."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Device, Place
from reconciler.domain.reading import ADDRESS, ALIAS_RULE, at, driver, place
from reconciler.domain.rules import ON_OFF, Attribute, choice, element, silent, warned

if TYPE_CHECKING:
    from reconciler.domain.reading import Reading
    from reconciler.domain.xml import Node

RULE = element(
    "memballoon",
    Attribute("model", choice("virtio", "none", "virtio-transitional",
                              "virtio-non-transitional")),
    Attribute("autodeflate", ON_OFF), Attribute("freePageReporting", ON_OFF),
    ADDRESS, ALIAS_RULE, *silent("driver", "acpi"), warned("stats", "StratoVirt collects none"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Balloon(Device):
    """The one balloon of a VM."""

    KIND: ClassVar[str] = "memballoon"
    RANK: ClassVar[int] = 50

    deflate_on_oom: bool = False
    free_page_reporting: bool = False

    @property
    def key(self) -> str:
        """There is one."""
        return "0"

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """StratoVirt wants true, and refuses libvirt's on."""
        options = (",deflate-on-oom=true" if self.deflate_on_oom else "") + (
            ",free-page-reporting=true" if self.free_page_reporting else "")
        return ("-device", f"{driver('virtio-balloon', place)},id={self.alias}{at(place)}{options}")


def default() -> Balloon:
    """The one that nobody wrote."""
    return Balloon(alias="balloon0")


def read(node: Node, reading: Reading) -> Balloon | None:
    """From <memballoon>."""
    if node.text("@model") == "none":
        return None
    return Balloon(alias=node.text("alias/@name") or "balloon0",
                   deflate_on_oom=node.flag("@autodeflate") or False,
                   free_page_reporting=node.flag("@freePageReporting") or False,
                   place=place(node), line=node.line)
