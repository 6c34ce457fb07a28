"""<controller>: root ports and virtio-serial are devices; the rest is libvirt's own habit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.devices import root_port, virtio_serial
from reconciler.domain.reading import ADDRESS, ALIAS_RULE
from reconciler.domain.rules import Attribute, choice, element, number, quiet, silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.domain.model import Device
    from reconciler.domain.reading import Reading
    from reconciler.domain.xml import Node

RULE = element(
    "controller",
    Attribute("type", choice("pci", "virtio-serial", "usb", "sata", "ide", "scsi", "fdc",
                             "ccid", "xenbus")),
    Attribute("index", number(0, 254)), Attribute("model", choice(
        "pcie-root", "pcie-root-port", "pcie-to-pci-bridge", "pci-bridge",
        "pcie-switch-upstream-port",
        "pcie-switch-downstream-port", "pcie-expander-bus", "pci-root", "dmi-to-pci-bridge", "none",
        "qemu-xhci", "nec-xhci", "piix3-uhci", "piix4-uhci", "ehci", "ich9-ehci1", "ich9-uhci1",
        "ich9-uhci2", "ich9-uhci3", "vt82c686b-uhci", "pci-ohci", "virtio-scsi", "lsilogic",
        "piix3", "piix4", "ich6", "qusb1", "qusb2",
        "auto", "virtio-transitional", "virtio-non-transitional")),
    Attribute("ports", number(1, 31)), *quiet("vectors", "maxGrantFrames", "maxEventChannels"),
    ADDRESS, ALIAS_RULE, *silent("model", "target", "master", "driver", "acpi", "pcihole64"),
    many=True)


def read_all(nodes: Iterable[Node], reading: Reading) -> list[Device]:
    """From all <controller>s, with the root ports numbered."""
    found = [device for node in nodes if (device := read(node, reading)) is not None]
    ports = [device for device in found if isinstance(device, root_port.RootPort)]
    return [*(device for device in found if device not in ports), *root_port.numbered(ports)]


# What libvirt adds by itself, and no device of ours sits on.
_HABITS = ("usb", "sata", "ide", "fdc", "ccid")


def read(node: Node, reading: Reading) -> Device | None:
    """A device, or nothing."""
    kind = node.text("@type")
    if kind == "virtio-serial":
        return virtio_serial.read(node)
    if kind == "pci":
        return _pci(node)
    if kind in _HABITS:
        return None
    if kind == "scsi":
        node.error("scsi controllers are not built yet", reason="Unsupported")
    elif kind is not None:
        node.error(f"type='{kind}'; accepted: pci, virtio-serial")
    elif node.raw.get("type") is None:
        node.error("a controller without type; accepted: type='pci', 'virtio-serial'")
    return None


def _pci(node: Node) -> Device | None:
    model = node.text("@model")
    if model == "pcie-root-port":
        return root_port.read(node)
    if model not in (None, "pcie-root"):
        node.error(f"model='{model}'; accepted: pcie-root, pcie-root-port")
    elif node.number("@index") not in (None, 0):
        node.error("the pcie-root has index='0'")
    return None
