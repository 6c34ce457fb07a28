"""Builds the devices of the command line and of `device_add`: fields, and places on a bus."""

import os
from typing import TYPE_CHECKING

from . import fields
from .device import Device
from .fields import Fields
from .refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from .config import Config
    from .consoles import Console
    from .device import Place
    from .faults import Faults
    from .logs import Log
    from .taps import Taps

    class OpenFile(Protocol):
        """An open disk file."""

        handle: int

    class Machine(Protocol):
        """The part of machine.Machine that building a device uses."""

        config: Config
        faults: Faults
        log: Log
        started: bool
        taps: Taps
        buses: dict[str, dict[Place, Device]]
        serial_bus: tuple[str, int] | None
        ports: dict[int, tuple[str, Console]]
        networks: dict[str, Device]
        balloon: bool
        bootindexes: dict[int, str]

        @property
        def files(self) -> Mapping[str, OpenFile]:
            """The open disk files, by path."""

        def open_console(self, given: Fields) -> Console:
            """Open a character device."""

        def check_id(self, identity: str) -> None:
            """Refuse an id that is in use."""

        def bus(self, name: str) -> dict[Place, Device]:
            """The bus of this name; refuses an unknown one."""

        def put(self, device: Device) -> None:
            """Put a device in its place; refuses an occupied one."""

        def take_out(self, device: Device) -> None:
            """Remove a device from its place."""

# Drivers that a default build lacks, by the build feature that adds them.
FEATURES = {
    "virtio_rng": ("virtio-rng-pci", "virtio-rng-device"),
    "vhost_vsock": ("vhost-vsock-pci", "vhost-vsock-device"),
    "vfio": ("vfio-pci",),
    "virtio_gpu": ("virtio-gpu-pci",),
    "virtio_scsi": ("virtio-scsi-pci", "scsi-hd", "scsi-cd"),
    "vhostuser_block": ("vhost-user-blk-pci", "vhost-user-blk-device"),
    "vhostuser_gpu": ("vhost-user-gpu-pci",),
    "virtio_pmem": ("virtio-pmem-pci", "virtio-pmem-device"),
    "ramfb": ("ramfb",),
    "pvpanic": ("pvpanic",),
    "vnc": (),
}
FEATURE_OF = {driver: feature for feature, drivers in FEATURES.items() for driver in drivers}
_LOOSE = [
    "nec-usb-xhci",
    "usb-kbd",
    "usb-tablet",
    "usb-consumer",
    "usb-camera",
    "usb-host",
    "usb-storage",
    "usb-uas",
    "virtio-mem-pci",
    "virtio-mem-device",
    "virtio-input-pci",
    "virtio-input-device",
    "virtio-multitouch-pci",
    "virtio-multitouch-device",
    "vhost-user-fs-pci",
    "vhost-user-fs-device",
]


def _serial_number(value: str) -> str:
    if len(value.encode()) > 20:
        raise Refusal("Input device serial number string's length must be no more than 20.")
    return value


def _byte(value: str) -> int:
    try:
        return int(value, 16 if value.startswith("0x") else 10)
    except ValueError:
        raise Refusal("invalid digit found in string") from None


_PCI: dict[str, fields.Check] = {
    "type": fields.text,
    "id": fields.identity,
    "bus": fields.text,
    "addr": fields.place,
    "multifunction": fields.switch,
}
_NUMBER = fields.number()
BLOCK = {
    **_PCI,
    "drive": fields.text,
    "bootindex": fields.number(0, 255),
    "num-queues": fields.number(1, 32),
    "iothread": fields.text,
    "queue-size": _NUMBER,
    "serial": _serial_number,
}
NET = {
    **_PCI,
    "netdev": fields.text,
    "mac": fields.mac,
    "iothread": fields.text,
    "rx-iothread": fields.text,
    "tx-iothread": fields.text,
    "mq": fields.switch,
    "queue-size": _NUMBER,
    "vectors": _NUMBER,
}
BALLOON = {
    **_PCI,
    "deflate-on-oom": fields.truth,
    "free-page-reporting": fields.truth,
    "auto-balloon": fields.truth,
    "membuf-percent": _NUMBER,
    "monitor-interval": _NUMBER,
}
SERIAL = {**_PCI, "max-ports": fields.number(1, 31)}
PORT = {"type": fields.text, "id": fields.identity, "chardev": fields.text, "nr": _NUMBER}
ROOT_PORT = {**_PCI, "port": _byte, "chassis": _NUMBER}
RANDOM = {**_PCI, "rng": fields.text, "max-bytes": _NUMBER, "period": _NUMBER}
VSOCK = {**_PCI, "guest-cid": fields.number(3), "vhostfd": fields.text}


def add(machine: "Machine", given: str) -> None:
    """One `-device`."""
    driver = given.split(",", maxsplit=1)[0]
    identity = fields.lookup("id", given)
    try:
        machine.check_id(identity)
    except Refusal as refusal:
        raise refusal.within(f"Failed to check device id: config {given}") from None
    features = machine.faults.names("features")
    feature = FEATURE_OF.get(driver)
    built = feature is None or feature in features or "all" in features
    if not built or not (feature or driver in _BUILDERS or driver in _LOOSE):
        raise Refusal(f'Unsupported device: "{driver}"')
    try:
        build(machine, given)
    except Refusal as refusal:
        raise refusal.within(f"add {driver} fail.") from None


def build(machine: "Machine", given: str) -> None:
    """Build one device from its option list."""
    _BUILDERS.get(given.split(",", maxsplit=1)[0], loose)(machine, given)


def _plug(machine: "Machine", found: Fields, driver: str, outer: str = "") -> Device:
    """Put a device on its bus."""
    for name in ("bus", "addr"):
        if name not in found:
            raise Refusal(f"Should set {name}.")
    place = found["addr"]
    assert isinstance(place, tuple)
    multi = bool(found.get("multifunction"))
    device = Device(str(found.get("id", "")), driver, str(found["bus"]), place, multi)
    message = "Failed to add virtio pci device"
    try:
        machine.bus(device.bus)
        try:
            machine.put(device)
        except Refusal as refusal:
            raise refusal.within(message) from None
    except Refusal as refusal:
        raise (refusal.within(outer) if outer else refusal) from None
    return device


def _on_bus(machine: "Machine", driver: str) -> bool:
    """Whether a driver is on a PCI bus; others are for microvm only."""
    if driver.endswith("-pci"):
        return True
    if machine.config.standard:
        raise Refusal("Virtio mmio devices Not supported!")
    return False


def block(machine: "Machine", given: str) -> None:
    """A disk."""
    found = fields.parse(given, BLOCK, "id drive", first="type")
    driver = str(found["type"])
    device = None
    pci = _on_bus(machine, driver)
    if pci:
        for name in ("bus", "addr"):
            if name not in found:
                raise Refusal(f"Should set {name}.")
    index = found.get("bootindex")
    if index in machine.bootindexes:
        raise Refusal(
            "Fail to add virtio pci blk device for invalid bootindex",
            f"Failed to add duplicated bootindex {index}.",
        )
    drive = machine.config.drives.get(str(found["drive"]))
    if drive is None:
        raise Refusal("No drive configured matched for blk device")
    if pci:
        outer = "Failed to add virtio pci device"
        device = _plug(machine, found, driver, outer)
        device.drive = drive
        iothread = found.get("iothread")
        reason: tuple[str, ...] = ()
        if iothread is not None and iothread not in machine.config.iothreads:
            reason = (f'IOThread Some("{iothread}") of Block is not configured in params.',)
        elif drive.qcow2 and not _is_qcow2(machine, drive.path):
            reason = ("Failed to load metadata", "Failed to load header", "Invalid format 0")
        if reason:
            machine.take_out(device)
            raise Refusal(outer, outer, "Failed to realize virtio device", *reason)
    if not machine.started:
        # A drive of the command line is consumed by its device, one of `blockdev-add` is not.
        del machine.config.drives[drive.id]
    if isinstance(index, int):
        machine.bootindexes[index] = str(found["id"])


def _is_qcow2(machine: "Machine", path: str) -> bool:
    return os.pread(machine.files[path].handle, 4, 0) == b"QFI\xfb"


def net(machine: "Machine", given: str) -> None:
    """A network card."""
    found = fields.parse(given, NET, "netdev", first="type")
    driver = str(found["type"])
    pci = _on_bus(machine, driver)
    if pci:
        for name in ("bus", "addr"):
            if name not in found:
                raise Refusal(f"Should set {name}.")
    name = str(found["netdev"])
    backend = machine.config.netdevs.get(name)
    if backend is None:
        raise Refusal(f'Netdev: "{name}" not found for net device')
    built = machine.faults.names("features")
    if backend.get("vhost") and "vhost_net" not in built and "all" not in built:
        raise Refusal("Unsupported Vhost_net")
    if pci:
        device = _plug(machine, found, driver)
        try:
            machine.taps.take(str(backend.get("ifname", "")))
        except Refusal as refusal:
            machine.take_out(device)
            outer = "Failed to add virtio pci device"
            raise refusal.within(outer, "Failed to realize virtio device") from None
        device.netdev = backend
        machine.networks[device.id] = device
    if not machine.started:
        del machine.config.netdevs[name]


def balloon(machine: "Machine", given: str) -> None:
    """The balloon, one at most."""
    if machine.balloon:
        raise Refusal("Only one balloon device is supported for each vm.")
    found = fields.parse(given, BALLOON, "id", first="type")
    if str(found["type"]).endswith("-pci"):
        _plug(machine, found, str(found["type"]), "Failed to add virtio pci balloon device")
    machine.balloon = True


def serial(machine: "Machine", given: str) -> None:
    """The bus of the consoles, one at most."""
    if machine.serial_bus:
        raise Refusal("Only one virtio serial device is supported")
    found = fields.parse(given, SERIAL, first="type")
    if str(found["type"]).endswith("-pci"):
        _plug(machine, found, str(found["type"]), "Failed to add virtio pci serial device")
        machine.serial_bus = (str(found.get("id", "")), int(str(found.get("max-ports", 31))))
    else:
        machine.serial_bus = (str(found.get("id", "")), 1)


def port(machine: "Machine", given: str) -> None:
    """A console or a channel."""
    if not machine.serial_bus:
        raise Refusal("No virtio serial device specified")
    found = fields.parse(given, PORT, "id chardev", first="type")
    console = found["type"] == "virtconsole"
    free = max(machine.ports, default=0) + 1
    number = int(str(found.get("nr", 0 if console and 0 not in machine.ports else free)))
    if number >= machine.serial_bus[1]:
        raise Refusal(
            f"virtio serial port nr {number} should be less than virtio serial's max_nr_ports "
            f"{machine.serial_bus[1]}"
        )
    if not console and not number:
        raise Refusal("Port number 0 on virtio-serial devices reserved for virtconsole device.")
    if number in machine.ports:
        raise Refusal(f"Repetitive virtio serial port nr {number}.")
    name = str(found["chardev"])
    if name not in machine.config.chardevs:
        raise Refusal(f'Chardev "{name}" not found or is in use')
    opened = machine.open_console(machine.config.chardevs.pop(name))
    machine.ports[number] = (str(found["type"]), opened)


def root_port(machine: "Machine", given: str) -> None:
    """A root port, which is a bus of its own."""
    found = fields.parse(given, ROOT_PORT, "port id bus addr", first="type")
    place = found["addr"]
    assert isinstance(place, tuple)
    identity, multi = str(found["id"]), bool(found.get("multifunction"))
    machine.bus(str(found["bus"]))
    if identity in machine.buses:
        raise Refusal(f"ID {identity} already exists.")
    try:
        machine.put(Device(identity, "pcie-root-port", str(found["bus"]), place, multi))
    except Refusal as refusal:
        raise refusal.within("Failed to add pci root port") from None
    machine.buses[identity] = {}


def random(machine: "Machine", given: str) -> None:
    """The random number generator."""
    found = fields.parse(given, RANDOM, "rng", first="type")
    if machine.config.randoms.pop(str(found["rng"]), None) is None:
        raise Refusal("Object for rng-random device not found")
    if str(found["type"]).endswith("-pci"):
        _plug(machine, found, str(found["type"]), "Failed to add pci rng device")


def vsock(machine: "Machine", given: str) -> None:
    """The vsock device."""
    found = fields.parse(given, VSOCK, "id guest-cid", first="type")
    if str(found["type"]).endswith("-pci"):
        _plug(machine, found, str(found["type"]), "Failed to add virtio pci vsock device")


def loose(machine: "Machine", given: str) -> None:
    """A device of which only the address is checked."""
    found: Fields = {}
    for part in given.split(",")[1:]:
        name, _, value = part.partition("=")
        found[name] = fields.place(value) if name == "addr" else value
    driver = given.split(",", maxsplit=1)[0]
    if driver.startswith("vhost-user-fs") and not machine.config.shared_memory:
        raise Refusal(
            "When configuring the vhost-user-fs-device or vhost-user-fs-pci device, "
            "the memory must be shared."
        )
    if "bus" in found and "addr" in found:
        found["multifunction"] = found.get("multifunction") in ("on", "true")
        _plug(machine, found, driver)
    elif driver.endswith("-pci"):
        raise Refusal("Should set bus.")


_BUILDERS = {
    "virtio-blk-pci": block,
    "virtio-blk-device": block,
    "virtio-net-pci": net,
    "virtio-net-device": net,
    "virtio-balloon-pci": balloon,
    "virtio-balloon-device": balloon,
    "virtio-serial-pci": serial,
    "virtio-serial-device": serial,
    "virtconsole": port,
    "virtserialport": port,
    "pcie-root-port": root_port,
    "virtio-rng-pci": random,
    "virtio-rng-device": random,
    "vhost-vsock-pci": vsock,
    "vhost-vsock-device": vsock,
}
