"""The virtio-serial controller of consoles and channels; one per VM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Device
from reconciler.domain.read_context import at, driver, place
from reconciler.domain.xml_builder import XmlElement, address, alias, build

if TYPE_CHECKING:
    from reconciler.domain.options import Options
    from reconciler.domain.place import Place
    from reconciler.domain.xml import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtioSerial(Device):
    """`ports`: the maximum number of ports; None for StratoVirt's default."""

    KIND: ClassVar[str] = "virtio-serial"
    ELEMENT: ClassVar[str] = "controller"
    RANK: ClassVar[int] = 20
    PATHS: ClassVar[dict[str, str]] = {**Device.PATHS, "ports": "@ports"}

    ports: int | None = None

    @property
    def key(self) -> str:
        """Constant: a domain has one at most."""
        return "0"

    @property
    def label(self) -> str:
        """As libvirt names the controller of this type and index."""
        return "virtio-serial0"

    def to_xml(self) -> XmlElement:
        """Its <controller>."""
        return build("controller", alias(self.alias), address(self.place), type="virtio-serial",
                     index=0, ports=self.ports)

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """`max-ports`: StratoVirt rejects `max_ports`, which its documentation gives."""
        ports = f",max-ports={self.ports}" if self.ports is not None else ""
        return ("-device", f"{driver('virtio-serial', place)},id={self.alias}{at(place)}{ports}")


def read(node: Node) -> VirtioSerial:
    """Read <controller type='virtio-serial'>."""
    return VirtioSerial(alias=node.text("alias/@name") or "virtio-serial0",
                        ports=node.number("@ports"), place=place(node), line=node.line)


def recognise(options: Options) -> list[VirtioSerial]:
    """From the command line."""
    return [VirtioSerial(alias=options.alias(option, "virtio-serial0"),
                         ports=option.number("max-ports"), place=options.place(option))
            for option in options.take("-device", "virtio-serial-pci", "virtio-serial-device")]
