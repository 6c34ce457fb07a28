"""<controller type='scsi'> and the disks on its bus. An optional feature of StratoVirt's build."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.devices import disk
from reconciler.domain.devices.disk import Disk, targets
from reconciler.domain.model import Device
from reconciler.domain.read_context import at, place
from reconciler.domain.xml_builder import XmlElement, address, alias, build, build_if_set

if TYPE_CHECKING:
    from reconciler.domain.options import Option, Options
    from reconciler.domain.place import Place
    from reconciler.domain.read_context import ReadContext
    from reconciler.domain.xml import Node

RULES = ()  # controller.py and disk.py have the rows
_FEATURE = "virtio-scsi-pci"
_UNITS = 15  # units of a controller as libvirt counts: 16 without the controller's own, 7
_OWN_UNIT = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ScsiController(Device):
    """A virtio-scsi controller."""

    KIND: ClassVar[str] = "scsi"
    ELEMENT: ClassVar[str] = "controller"
    RANK: ClassVar[int] = 25
    MICROVM: ClassVar[bool] = False
    FEATURE: ClassVar[str] = _FEATURE
    PATHS: ClassVar[dict[str, str]] = {
        **Device.PATHS, "index": "@index", "queues": "driver/@queues",
        "iothread": "driver/@iothread"}

    index: int
    queues: int | None = None
    iothread: int | None = None

    @property
    def key(self) -> str:
        """Its index, padded so that it sorts as a number."""
        return f"{self.index:03}"

    @property
    def label(self) -> str:
        """As libvirt names the controller of this type and index."""
        return f"scsi{self.index}"

    def to_xml(self) -> XmlElement:
        """Its <controller>."""
        driver = build_if_set("driver", queues=self.queues, iothread=self.iothread)
        return build("controller", driver, alias(self.alias), address(self.place), type="scsi",
                     index=self.index, model="virtio-scsi")

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The controller; the disks follow."""
        more = (f",num-queues={self.queues}" if self.queues else "") + (
            f",iothread=iothread{self.iothread}" if self.iothread else "")
        return ("-device", f"{_FEATURE},id={self.alias}{at(place)}{more}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScsiDisk(Disk):
    """A disk, or an optical drive with its medium, on a virtio-scsi bus."""

    RANK: ClassVar[int] = 32
    PLUGGED: ClassVar[bool] = False
    HOTPLUG: ClassVar[bool] = False
    MICROVM: ClassVar[bool] = False
    FEATURE: ClassVar[str] = _FEATURE
    BUS: ClassVar[str] = "scsi"
    PATHS: ClassVar[dict[str, str]] = {
        **Disk.PATHS, "controller": "address/@controller", "scsi_target": "address/@target",
        "unit": "address/@unit", "bus": "target/@bus", "optical": "@device"}
    WORDS: ClassVar[dict[str, tuple[str, str]]] = {**Disk.WORDS, "optical": ("cdrom", "disk")}

    controller: int
    scsi_target: int
    unit: int
    bus: str  # the controller's alias
    optical: bool = False

    def to_xml(self) -> XmlElement:
        """Its <disk>."""
        where = build("address", type="drive", controller=self.controller, bus=0,
                      target=self.scsi_target, unit=self.unit)
        return self._xml(where, "cdrom" if self.optical else "disk")

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The drive, then the device at its address on the bus."""
        media = ",media=cdrom" if self.optical else ""
        device = (f"scsi-{'cd' if self.optical else 'hd'},bus={self.bus}.0,channel=0,"
                  f"scsi-id={self.scsi_target},lun={self.unit},drive=drive-{self.alias},"
                  f"id={self.alias}")
        for name, value in (("serial", self.serial), ("bootindex", self.boot)):
            if value is not None:
                device += f",{name}={value}"
        return ("-drive", self.drive() + media, "-device", device)


def read_all(devices: Node, context: ReadContext) -> list[Device]:
    """Read every scsi controller and disk; controllers that only disks name are added."""
    controllers = {c.index: c for node in devices.children("controller")
                   if node.text("@type") == "scsi" and (c := _controller(node)) is not None}
    disks: list[ScsiDisk] = []
    for node in devices.children("disk"):
        optical = node.text("@device") == "cdrom"
        if disk.bus_of(node) != "scsi" or node.text("@device") == "floppy" or (
                optical and node.child("source") is None) or not disk.acceptable(node):
            continue
        found = disk.read(node, context)
        if found is not None:
            disks.append(_disk(node, found, controllers, optical=optical))
    return [*controllers.values(), *disks]


def _controller(node: Node) -> ScsiController | None:
    model = node.text("@model")
    if model not in (None, "virtio-scsi", "auto"):
        node.error(f"model='{model}'; accepted: virtio-scsi")
        return None
    index = node.number("@index") or 0
    return ScsiController(alias=node.text("alias/@name") or f"scsi{index}", index=index,
                          queues=node.number("driver/@queues"),
                          iothread=node.number("driver/@iothread"), place=place(node),
                          line=node.line)


def _disk(node: Node, found: Disk, controllers: dict[int, ScsiController], *,
          optical: bool) -> ScsiDisk:
    """Its address on a bus: from the file, else by its target, as libvirt counts."""
    for name in ("iothread", "queues", "queue_size"):
        if getattr(found, name) is not None:
            node.at("driver").error(f"{name} on a scsi disk; accepted: on its <controller>")
    count = disk.index_of(found.target)
    index, unit = divmod(count, _UNITS)
    unit, target = unit + (unit >= _OWN_UNIT), 0
    if node.text("address/@type") == "drive":
        index = node.number("address/@controller") or 0
        target, unit = node.number("address/@target") or 0, node.number("address/@unit") or 0
    bus = controllers.setdefault(index, ScsiController(alias=f"scsi{index}", index=index))
    values = {f.name: getattr(found, f.name) for f in fields(Disk)}
    given = node.text("alias/@name")
    return ScsiDisk(**{**values, "alias": given or f"scsi{index}-0-{target}-{unit}", "place": None,
                       "readonly": found.readonly or optical},
                    controller=index, scsi_target=target, unit=unit, bus=bus.alias, optical=optical)


def recognise(options: Options) -> list[Device]:
    """From the command line: controllers, then the disks that name them as their bus."""
    controllers: dict[str, ScsiController] = {}
    for option in options.take("-device", _FEATURE):
        index = len(controllers)
        name = options.alias(option, f"scsi{index}")
        controllers[f"{option.text('id')}.0"] = ScsiController(
            alias=name, index=index, queues=option.number("num-queues"),
            iothread=options.iothread(option), place=options.place(option))
    disks = [disk for option in options.take("-device", "scsi-hd", "scsi-cd")
             if (disk := _recognised(option, options, controllers)) is not None]
    names = targets("sd", len(disks))
    return [*controllers.values(),
            *(replace(d, target=name) for d, name in zip(disks, names, strict=True))]


def _recognised(option: Option, options: Options,
                controllers: dict[str, ScsiController]) -> ScsiDisk | None:
    bus = controllers.get(option.text("bus") or "")
    found = disk.recognised(option, options)
    option.skip("channel")
    target, unit = option.number("scsi-id") or 0, option.number("lun") or 0
    if bus is None or found is None:
        option.note("its scsi bus or its drive does not exist")
        return None
    values = {f.name: getattr(found, f.name) for f in fields(Disk)}
    optical = option.kind == "scsi-cd"
    return ScsiDisk(**{**values, "readonly": found.readonly or optical,
                       "alias": found.alias or f"scsi{bus.index}-0-{target}-{unit}"},
                    controller=bus.index, scsi_target=target, unit=unit, bus=bus.alias,
                    optical=optical)
