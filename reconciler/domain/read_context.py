"""Shared by the readers of devices: the host that a file is read for, paths, PCI addresses."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.domain.model import Origin
from reconciler.domain.place import Place
from reconciler.domain.rules import ALIAS, Attribute, choice, element, hexadecimal, ignore, number

if TYPE_CHECKING:
    from reconciler.domain.model import MachineType, ReadingHost
    from reconciler.domain.xml import Node

_UNIT = number(0, 16383)
ALIAS_RULE = element("alias", Attribute("name", ALIAS))
ADDRESS = element(
    "address", Attribute("type", choice("pci", "virtio-serial", "drive", "isa", "usb", "ccid")),
    Attribute("domain", hexadecimal(0)), Attribute("bus", hexadecimal(0xFF)),
    Attribute("slot", hexadecimal(0x1F)), Attribute("function", hexadecimal(7)),
    *(Attribute(name, _UNIT) for name in ("controller", "target", "unit", "port")),
    *ignore("@multifunction"),
    *ignore("@base", "@cssid", "@ssid", "@devno", "@reg"),  # of other types, which are errors
    Attribute("iobase", choice("0x3f8")), Attribute("irq", choice("4", "0x4")),  # COM1
    *ignore("zpci"))


@dataclass(frozen=True, slots=True)
class ReadContext:
    """The domain that is being read, and the host that it is read for."""

    host: ReadingHost
    uuid: str
    machine: MachineType
    scope: str = ""  # the id of the host or the repository that derived values depend on
    origin: Origin = Origin.NAME  # of the scope


def path(context: ReadContext, text: str | None) -> str | None:
    """A path from the file as an absolute one, relative to the configured paths.images."""
    if not text:
        return None
    return os.path.normpath(os.path.join(context.host.images, text))


def place(node: Node) -> Place | None:
    """The PCI address that a device's element gives."""
    if node.text("address/@type") != "pci":
        return None
    bus, slot = node.number("address/@bus"), node.number("address/@slot")
    function = node.number("address/@function")
    return Place(bus or 0, slot or 0, function or 0)


def digest(context: ReadContext, key: str) -> str:
    """Hexadecimal digits that depend on the domain's uuid, the scope and the key only."""
    scope = f"{context.scope}/" if context.scope else ""
    return hashlib.sha256(f"{scope}{context.uuid}/{key}".encode()).hexdigest()


def at(place_: Place | None) -> str:
    """A PCI address as StratoVirt's options; empty on a machine without PCI."""
    if place_ is None:
        return ""
    function = f".{place_.function:#x}" if place_.function else ""
    more = ",multifunction=on" if place_.multifunction else ""
    return f",bus=pcie.{place_.bus},addr={place_.slot:#x}{function}{more}"


def driver(name: str, place_: Place | None) -> str:
    """A virtio device's driver: -pci at a PCI address, else -device for microvm."""
    return f"{name}-{'device' if place_ is None else 'pci'}"
