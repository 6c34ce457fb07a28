"""pcie-root-port: a PCI bus with room for one device, also for one that is hot-plugged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.model import Device
from reconciler.domain.place import Place
from reconciler.domain.read_context import at, place
from reconciler.domain.xml_builder import XmlElement, address, build

if TYPE_CHECKING:
    from reconciler.domain.options import Options
    from reconciler.domain.xml import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class RootPort(Device):
    """The root port that provides the bus pcie.INDEX."""

    KIND: ClassVar[str] = "root-port"
    RANK: ClassVar[int] = 0
    ELEMENT: ClassVar[str] = "controller"
    PLUGGED: ClassVar[bool] = False
    PATHS: ClassVar[dict[str, str]] = {**Device.PATHS, "index": "@index"}

    index: int

    @property
    def key(self) -> str:
        """Its index, padded so that it sorts as a number."""
        return f"{self.index:03}"

    @property
    def label(self) -> str:
        """As libvirt names the controller of this type and index."""
        return f"pci.{self.index}"

    def to_xml(self) -> XmlElement:
        """Its <controller>."""
        return build("controller", address(self.place), type="pci", index=self.index,
                     model="pcie-root-port")

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """`port` is the slot number that the guest shows; counted as libvirt does."""
        assert place is not None
        port = place.slot * 8 + place.function
        multi = ",multifunction=on" if not (place.function or place.multifunction) else ""
        return ("-device", f"pcie-root-port,id=pcie.{self.index},port={port:#x}{at(place)}{multi}")


def read(node: Node) -> RootPort | None:
    """Read <controller type='pci' model='pcie-root-port'>; index 0 where the file gives none."""
    index = node.number("@index")
    if index == 0:
        node.error("index='0' is the pcie-root's; accepted: 1 to 254")
    if index == 0 or (index is None and node.raw.get("index") is not None):
        return None
    return RootPort(alias=f"pcie.{index or 0}", index=index or 0, place=place(node),
                    line=node.line)


def numbered(ports: list[RootPort]) -> list[RootPort]:
    """Give ports without index, as virt-install writes them, the lowest free ones."""
    taken = {port.index for port in ports}
    free = (number for number in range(1, len(ports) + len(taken) + 1) if number not in taken)
    bare = sorted((port for port in ports if not port.index),
                  key=lambda port: (port.place is None, port.place or Place(0, 0)))
    found = [replace(port, index=(number := next(free)), alias=f"pcie.{number}") for port in bare]
    return [*(port for port in ports if port.index), *found]


def recognise(options: Options) -> list[RootPort]:
    """From the command line, before all other devices: these name their port by its id."""
    found: list[RootPort] = []
    for option in options.take("-device", "pcie-root-port"):
        option.skip("chassis")  # StratoVirt parses it and does not use it
        name, port, where = option.text("id") or "", option.number("port"), options.place(option)
        index = _index(name, set(options.buses.values()))
        options.buses[name] = index
        if where is not None and port is not None and port != where.slot * 8 + where.function:
            option.note(f"port={port:#x}: the guest will see slot number "
                        f"{where.slot * 8 + where.function:#x}")
        found.append(RootPort(alias=f"pcie.{index}", index=index, place=where))
    return found


def _index(name: str, taken: set[int]) -> int:
    """The number at the end of the id, else the lowest free one."""
    digits = name[len(name.rstrip("0123456789")):]
    if digits and len(digits) < 4 and 0 < int(digits) < 255 and int(digits) not in taken:
        return int(digits)
    return next(number for number in range(1, 255) if number not in taken)
