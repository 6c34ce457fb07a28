"""<controller>: root ports and virtio-serial; others that libvirt adds by itself are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.devices import root_port, virtio_serial
from reconciler.domain.read_context import ADDRESS, ALIAS_RULE
from reconciler.domain.rules import Attribute, choice, element, ignore, number

if TYPE_CHECKING:
    from reconciler.domain.model import Device
    from reconciler.domain.options import Options
    from reconciler.domain.read_context import ReadContext
    from reconciler.domain.xml import Node

CONTROLLER = element(
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
    Attribute("ports", number(1, 31)), *ignore("@vectors", "@maxGrantFrames", "@maxEventChannels"),
    ADDRESS, ALIAS_RULE, *ignore("model", "target", "master", "acpi", "pcihole64"),
    element("driver", Attribute("queues", number(1, 32)), Attribute("iothread", number(1, 255)),
            *ignore("@name", "@cmd_per_lun", "@max_sectors", "@ioeventfd", "@iommu", "@ats",
                    "@packed", "@event_idx", "@page_per_vq")),
    many=True)
RULES = (CONTROLLER,)
# Controllers that libvirt adds by itself and that no supported device uses.
_ADDED_BY_LIBVIRT = ("usb", "sata", "ide", "fdc", "ccid")


def read_all(devices: Node, context: ReadContext) -> list[Device]:
    """All root ports and the virtio-serial controller; scsi.py reads scsi controllers."""
    found = [d for node in devices.children("controller") if (d := _read(node)) is not None]
    ports = [device for device in found if isinstance(device, root_port.RootPort)]
    return [*(device for device in found if device not in ports), *root_port.numbered(ports)]


def _read(node: Node) -> Device | None:
    kind = node.text("@type")
    if kind == "virtio-serial":
        return virtio_serial.read(node)
    if kind == "pci":
        return _pci(node)
    if kind is not None and kind not in (*_ADDED_BY_LIBVIRT, "scsi"):
        node.error(f"type='{kind}'; accepted: pci, virtio-serial, scsi")
    elif kind is None and node.raw.get("type") is None:
        node.error("no type; accepted: type='pci', 'virtio-serial', 'scsi'")
    return None


def _pci(node: Node) -> Device | None:
    model = node.text("@model")
    if model == "pcie-root-port":
        return root_port.read(node)
    if model not in (None, "pcie-root"):
        node.error(f"model='{model}'; accepted: pcie-root, pcie-root-port")
    elif node.number("@index") not in (None, 0):
        node.error("found another index than 0 for model='pcie-root'; accepted: index='0'")
    return None


def recognise(options: Options) -> list[Device]:
    """From the command line: root ports first, because other devices name them as their bus."""
    return [*root_port.recognise(options), *virtio_serial.recognise(options)]
