"""What readers share: the host a file is read against, paths, PCI addresses, aliases."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.domain.model import MachineType, Place, ReadingHost
from reconciler.domain.rules import (
    ALIAS,
    Attribute,
    choice,
    dropped,
    element,
    hexadecimal,
    number,
    quiet,
    silent,
)

if TYPE_CHECKING:
    from reconciler.domain.xml import Node

_UNIT = number(0, 16383)
ALIAS_RULE = element("alias", Attribute("name", ALIAS))
ADDRESS = element(
    "address", Attribute("type", choice("pci", "virtio-serial", "drive", "isa", "usb", "ccid")),
    Attribute("domain", hexadecimal(0)), Attribute("bus", hexadecimal(0xFF)),
    Attribute("slot", hexadecimal(0x1F)), Attribute("function", hexadecimal(7)),
    *(Attribute(name, _UNIT) for name in ("controller", "target", "unit", "port")),
    *quiet("multifunction"),
    *quiet("base", "cssid", "ssid", "devno", "reg"),  # of other buses, whose type is an error
    *(dropped(name, "StratoVirt has its own places on ISA") for name in ("iobase", "irq")),
    *silent("zpci"))


@dataclass(frozen=True, slots=True)
class Reading:
    """One file's reading: who the domain is and what it is read against."""

    host: ReadingHost
    uuid: str
    machine: MachineType


def path(reading: Reading, text: str | None) -> str | None:
    """A path of the file's, absolute: relative ones are below the configured images."""
    if not text:
        return None
    return os.path.normpath(os.path.join(reading.host.images, text))


def place(node: Node) -> Place | None:
    """The PCI place that a device gives."""
    if node.text("address/@type") != "pci":
        return None
    bus, slot = node.number("address/@bus"), node.number("address/@slot")
    function = node.number("address/@function")
    return Place(bus or 0, slot or 0, function or 0)


def digest(reading: Reading, key: str) -> str:
    """Hex digits that are always the same for this domain and key."""
    return hashlib.sha256(f"{reading.uuid}/{key}".encode()).hexdigest()


def at(place_: Place | None) -> str:
    """A place as StratoVirt's options; nothing on a machine without PCI."""
    if place_ is None:
        return ""
    function = f".{place_.function:#x}" if place_.function else ""
    more = ",multifunction=on" if place_.multifunction else ""
    return f",bus=pcie.{place_.bus},addr={place_.slot:#x}{function}{more}"


def driver(name: str, place_: Place | None) -> str:
    """A virtio device's driver: -pci at a place, else microvm's -device form."""
    return f"{name}-{'device' if place_ is None else 'pci'}"
