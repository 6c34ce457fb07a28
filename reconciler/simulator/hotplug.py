"""Hot plug over QMP: disks, networks and processors."""

from . import devices, fields
from .device import Device
from .drive import Drive
from .machine import Machine
from .qmp import Channel, Failed
from .refusal import Refusal
from .schema import Arguments

# The `device_add` arguments that become fields of a device.
_PASSED = [
    "id",
    "drive",
    "bus",
    "addr",
    "mac",
    "netdev",
    "chardev",
    "mq",
    "vectors",
    "serial",
    "iothread",
    "num-queues",
    "queue-size",
    "host",
]
_PLUGGABLE = {
    "virtio-blk-pci": "Failed to add virtio pci blk: ",
    "virtio-net-pci": "Failed to add virtio pci net: ",
    "virtio-scsi-pci": "Failed to add virtio scsi controller: ",
    "vhost-user-blk-pci": "Failed to add vhost user blk pci: ",
    "vfio-pci": "",
}


class HotPlug:
    """Adds and removes devices."""

    def __init__(self, machine: Machine, channel: Channel) -> None:
        self.machine = machine
        self.channel = channel

    def device_add(self, given: Arguments) -> object:
        """Add a device below a free root port, or a processor."""
        identity, driver = str(given["id"]), str(given["driver"])
        self._refusing(lambda: self.machine.check_id(identity))
        if driver == "generic-x86-cpu":
            return self._add_processor(identity, given.get("cpu-id"))
        features = self.machine.faults.names("features")
        feature = devices.FEATURE_OF.get(driver)
        built = feature is None or feature in features or "all" in features
        if driver not in _PLUGGABLE or not built:
            raise Failed(f"Failed to add device: Driver {driver} is not support")
        parts = [driver, *(f"{key}={given[key]}" for key in _PASSED if given.get(key) is not None)]
        try:
            devices.build(self.machine, ",".join(parts))
        except Refusal as refusal:
            self.machine.log.write_error(refusal.report())
            raise Failed(_PLUGGABLE[driver] + refusal.headline) from None
        device = self.machine.find(identity)
        if device is None:
            raise Failed("Failed to add device: Bus not found")
        reason = ""
        if device.bus == "pcie.0":
            reason = "No hot plug controller found for bus pcie.0 when plug"
        elif device.place != (0, 0):
            devfn = device.place[0] * 8 + device.place[1]
            reason = f"HotPlug is not supported for device with devfn {devfn}"
        if reason:
            self._gone(device)
            raise Failed(f"Failed to plug device: {reason}")
        return {}

    def _add_processor(self, identity: str, number: object) -> object:
        machine = self.machine
        if not isinstance(number, int):
            raise Failed("Argument cpu-id is required.")
        if machine.config.cpus == machine.config.max_cpus:
            raise Failed("There is no hotpluggable cpu-id for this VM.")
        if number < machine.config.cpus:
            raise Failed(f"Cpu-id {number} already exist.")
        if number >= machine.config.max_cpus:
            raise Failed(f"Max cpu-id is {machine.config.max_cpus - 1}")
        if identity in machine.processors.values():
            raise Failed(f"Device id {identity} already existed.")
        if number in machine.processors:
            raise Failed(f"Cpu-id {number} already running.")
        machine.processors[number] = identity
        self.channel.emit("CPU_RESIZE", {})
        return {}

    def device_del(self, given: Arguments) -> object:
        """Ask the guest to release a device, which is removed when it does."""
        identity = str(given["id"])
        device = self.machine.find(identity)
        if device:
            if device.bus == "pcie.0":
                raise Failed("No hot plug controller found for bus pcie.0 when unplug request")
            if not device.leaving and not self.machine.faults.yes("guest_ignores_unplug"):
                device.leaving = True
                self.machine.request_unplug(device)
            return {}
        for number, name in self.machine.processors.items():
            if name == identity and number >= self.machine.config.cpus:
                del self.machine.processors[number]
                self.channel.emit("CPU_RESIZE", {})
                return {}
        raise Failed("Can not find parent device from pci bus")

    def _gone(self, device: Device) -> None:
        """Remove a device and release its tap."""
        self.machine.take_out(device)
        if device.netdev:
            self.machine.taps.release(str(device.netdev.get("ifname", "")))

    def unplugged(self, device: Device) -> None:
        """The guest has released a device."""
        self._gone(device)
        data: dict[str, object] = {"device": device.id, "path": f"/machine/peripheral/{device.id}"}
        self.channel.emit("DEVICE_DELETED", data)
        self.channel.flush()

    def blockdev_add(self, given: Arguments) -> object:
        """Open a disk file for a device that is added later."""
        file, cache = given["file"], given.get("cache")
        assert isinstance(file, dict)
        for key in ("driver", "filename"):
            if key not in file:
                raise Failed(f"missing field `{key}`")
        direct, aio = True, str(file.get("aio", "off"))
        if isinstance(cache, dict) and cache.get("direct") is False:
            direct, aio = False, "off"
        drive = Drive(
            str(given["node-name"]), str(file["filename"]), bool(given.get("read-only")), direct
        )
        form = given.get("driver") or "raw"
        if form not in ("raw", "qcow2"):
            raise Failed("Unknown format type")
        drive.qcow2 = form == "qcow2"

        def keep() -> None:
            drive.check(aio)
            self.machine.open_disk(drive)
            try:
                if self.machine.running:
                    self.machine.files[drive.path].lock()
                self.machine.config.keep_drive(drive)
            except Refusal:
                self.machine.close_disk(drive.path)
                raise

        self._refusing(keep)
        return {}

    def blockdev_del(self, given: Arguments) -> object:
        """Close a disk file."""
        name = str(given["node-name"])
        drive = self.machine.config.drives.pop(name, None)
        if drive is None:
            raise Failed(f"Drive {name} not found")
        self.machine.close_disk(drive.path)
        return {}

    def netdev_add(self, given: Arguments) -> object:
        """Add a network backend for a device that is added later."""
        found: fields.Fields = {
            key: value for key, value in given.items() if isinstance(value, str | int)
        }
        self._refusing(lambda: self.machine.config.keep_netdev(found))
        return {}

    def netdev_del(self, given: Arguments) -> object:
        """Remove a network backend."""
        if self.machine.config.netdevs.pop(str(given["id"]), None) is None:
            raise Failed(f"Netdev {given['id']} not found")
        return {}

    def network(self, given: Arguments) -> object:
        """`netlink_set` and `netdev_replace`: the network device must exist."""
        device = self.machine.networks.get(str(given["id"]))
        if device is None:
            raise Failed(f"no net dev {given['id']}", "DeviceNotFound")
        if given.get("ifname") and device.netdev:
            old, new = str(device.netdev.get("ifname", "")), str(given["ifname"])
            self._refusing(lambda: self.machine.taps.take(new))
            self.machine.taps.release(old)
            device.netdev["ifname"] = new
        return {}

    def chardev_remove(self, given: Arguments) -> object:
        """Remove an unused character device."""
        if self.machine.config.chardevs.pop(str(given["id"]), None) is None:
            raise Failed(f"Chardev {given['id']} not found")
        return {}

    def _refusing(self, action: object) -> None:
        """Run an action; answer a refusal with its outermost reason."""
        assert callable(action)
        try:
            action()
        except Refusal as refusal:
            self.machine.log.write_error(refusal.report())
            raise Failed(refusal.headline) from None
