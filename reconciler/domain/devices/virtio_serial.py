"""The virtio-serial controller that consoles and channels plug into; one a VM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Device, Place
from reconciler.domain.reading import at, driver, place
from reconciler.domain.xml_builder import Tag, address, alias, tag

if TYPE_CHECKING:
    from reconciler.domain.options import Options
    from reconciler.domain.xml import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtioSerial(Device):
    """`ports`: how many it may have, StratoVirt's default where None."""

    KIND: ClassVar[str] = "virtio-serial"
    RANK: ClassVar[int] = 20

    ports: int | None = None

    @property
    def key(self) -> str:
        """There is one."""
        return "0"

    def tag(self) -> Tag:
        """As <controller>."""
        return tag("controller", alias(self.alias), address(self.place), type="virtio-serial",
                   index=0, ports=self.ports)

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """`max-ports` with a dash: the documents' underscore is refused."""
        ports = f",max-ports={self.ports}" if self.ports is not None else ""
        return ("-device", f"{driver('virtio-serial', place)},id={self.alias}{at(place)}{ports}")


def read(node: Node) -> VirtioSerial:
    """From <controller type='virtio-serial'>."""
    return VirtioSerial(alias=node.text("alias/@name") or "virtio-serial0",
                        ports=node.number("@ports"), place=place(node), line=node.line)


def recognise(options: Options) -> list[VirtioSerial]:
    """From the command line."""
    return [VirtioSerial(alias=options.alias(option, "virtio-serial0"),
                         ports=option.number("max-ports"), place=options.place(option))
            for option in options.take("-device", "virtio-serial-pci", "virtio-serial-device")]
