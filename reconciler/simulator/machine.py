"""The machine: buses, devices, disk files and their locks; running or paused."""

import fcntl
import os
from collections.abc import Callable

from . import devices
from .config import Config
from .consoles import Console, Temporary
from .device import Device, Place
from .drive import Drive
from .faults import Faults
from .fields import Fields
from .logs import Log
from .loop import Loop
from .refusal import Refusal, operating_system
from .taps import Taps

# Offsets of the bytes of a file that StratoVirt locks.
LOCKED_BYTES = (101, 102, 202)
PFLASH_LEAST = 0x20000


class DiskFile:
    """One open disk file and its lock."""

    def __init__(self, path: str, readonly: bool, direct: bool) -> None:
        self.path = path
        self.readonly = readonly
        self.count = 1
        self.locked = False
        flags = (os.O_RDONLY if readonly else os.O_RDWR) | os.O_CLOEXEC
        try:
            self.handle = os.open(path, flags | (os.O_DIRECT if direct else 0))
        except OSError as error:
            reason = operating_system(error)
            raise Refusal(
                f"failed to open the file for block {path}. Error: {reason}", reason
            ) from None

    def lock(self) -> None:
        """Lock it against other machines: a shared lock if it is read-only."""
        if self.locked:
            return
        kind = fcntl.LOCK_SH if self.readonly else fcntl.LOCK_EX
        try:
            for byte in LOCKED_BYTES:
                fcntl.lockf(self.handle, kind | fcntl.LOCK_NB, 1, byte)
        except OSError as error:
            name = "read" if self.readonly else "write"
            raise Refusal(
                f"Failed to get {name} lock on file: {self.path}. Is it used more than once or "
                f"another process using the same file? Error: {error.errno}"
            ) from None
        self.locked = True


class Machine:
    """The state built from the command line and changed by hot plug."""

    def __init__(
        self, config: Config, loop: Loop, log: Log, faults: Faults, temporary: Temporary
    ) -> None:
        self.config = config
        self.loop = loop
        self.log = log
        self.faults = faults
        self.temporary = temporary
        self.taps = Taps(log)
        self.running = False
        self.started = False
        self.files: dict[str, DiskFile] = {}
        # q35 and virt have built-in devices in the first and the last slot.
        self.buses: dict[str, dict[Place, Device]] = {"pcie.0": {}}
        for name, place in (("mch", (0, 0)), ("lpc", (31, 0))):
            self.buses["pcie.0"][place] = Device(
                f"\0{name}", "builtin", "pcie.0", place, multi=False
            )
        self.serial: Console | None = None
        self.serial_bus: tuple[str, int] | None = None
        self.ports: dict[int, tuple[str, Console]] = {}
        self.ptys: list[Console] = []
        self.networks: dict[str, Device] = {}
        self.balloon = False
        self.bootindexes: dict[int, str] = {}
        self.processors = {number: f"cpu{number}" for number in range(config.cpus)}
        self.balloon_size = config.memory
        self.migration = "setup"
        self.request_unplug: Callable[[Device], None] = lambda _device: None

    def open_disks(self) -> None:
        """Open all disk files; a writable one may be used only once."""
        for drive in self.config.drives.values():
            self.open_disk(drive)
        for flash in self.config.flashes.values():
            flash.direct = False
            self.open_disk(flash)

    def open_disk(self, drive: Drive) -> None:
        """Open one disk file; read-only files are shared."""
        known = self.files.get(drive.path)
        if known is None:
            self.files[drive.path] = DiskFile(drive.path, drive.readonly, drive.direct)
        elif known.readonly and drive.readonly:
            known.count += 1
        else:
            raise Refusal(
                f"Failed to add drive {drive.path}, file can only be shared with read_only. "
                "Is it used more than once or another process using the same file?"
            )

    def close_disk(self, path: str) -> None:
        """Release one use of a disk file."""
        known = self.files.get(path)
        if known:
            known.count -= 1
            if not known.count:
                os.close(self.files.pop(path).handle)

    def realize(self) -> None:
        """Build all devices, in StratoVirt's order."""
        if self.config.serial:
            try:
                self.serial = self.open_console(self.config.serial)
            except Refusal as refusal:
                raise refusal.within(
                    "Failed to add serial device.", "Failed to realize serial device."
                ) from None
        for flash in [flash for _, flash in sorted(self.config.flashes.items())]:
            try:
                self._add_flash(flash)
            except Refusal as refusal:
                raise refusal.within("Failed to add pflash device.") from None
        for given in self.config.devices:
            devices.add(self, given)
        self._boot()

    def open_console(self, given: Fields) -> Console:
        """Open a character device for the serial port or a console."""
        try:
            console = Console(given, self.loop, self.temporary)
        except Refusal as refusal:
            raise refusal.within("Failed to realize chardev") from None
        if console.pty:
            self.log.write_info(f'Pty path is: "{console.pty}"')
            self.ptys.append(console)
        return console

    def _add_flash(self, flash: Drive) -> None:
        if not self.config.standard:
            raise Refusal("Pflash device is not supported!")
        size = os.fstat(self.files[flash.path].handle).st_size
        if size < PFLASH_LEAST and self.config.arch == "x86_64":
            raise Refusal("pflash file size less than rom size")
        if size % 4096:
            raise Refusal(
                "Failed to init pflash device.",
                f"Invalid flash file: Region size {size:#x}, file size {size:#x}; "
                f"read_only {'true' if flash.readonly else 'false'}",
            )

    def _boot(self) -> None:
        """Check that there is something to boot."""
        if not self.config.standard:
            return
        if not self.config.flashes and self.config.kernel is None:
            raise Refusal("Failed to load kernel.", "Kernel is required for direct-boot mode.")
        if self.config.flashes and self.config.kernel is not None:
            with open(self.config.kernel, "rb") as file:
                head = file.read(0x206)
            boots = head[0x202:0x206] == b"HdrS" or head[:4] == b"\x7fELF"
            if not boots and self.config.arch == "x86_64":
                raise Refusal(
                    "Failed to load kernel.",
                    "ELF header is invalid",
                    "Invalid magic in ELF header",
                )

    def start(self, paused: bool) -> None:
        """Run, or wait with the vCPUs stopped; the disks are locked when they run."""
        if not paused:
            self.lock_disks()
        self.running = not paused
        self.started = True

    def lock_disks(self) -> None:
        """Lock all disks."""
        for file in self.files.values():
            file.lock()

    def find(self, identity: str) -> Device | None:
        """The device or root port with this id."""
        for bus in self.buses.values():
            for device in bus.values():
                if device.id == identity:
                    return device
        return None

    def check_id(self, identity: str) -> None:
        """Refuse an id that is in use."""
        if self.config.standard:
            if not identity:
                raise Refusal("Device id is empty")
            if self.find(identity):
                raise Refusal(f"Device id {identity} existed")

    def bus(self, name: str) -> dict[Place, Device]:
        """The bus of this name; refuses an unknown one."""
        if not self.config.standard:
            raise Refusal("No pci host found")
        if name not in self.buses:
            raise Refusal(f"Parent bus :{name} not found")
        return self.buses[name]

    def put(self, device: Device) -> None:
        """Put a device in its place."""
        bus = self.bus(device.bus)
        slot, function = device.place
        first = bus.get((slot, 0))
        if function and first and not first.multi:
            raise Refusal(
                "PCI: single function device can't be populated in bus "
                f"{device.bus} function {slot}.{function}"
            )
        if not function and not device.multi:
            for other in range(1, 8):
                if (slot, other) in bus:
                    raise Refusal(
                        f"PCI: {slot}.0 indicates single function, but {slot}.{other} is already "
                        "populated"
                    )
        if device.place in bus:
            raise Refusal(
                f"Location of the device {device.id} is same as one of the bus {device.bus}"
            )
        bus[device.place] = device

    def take_out(self, device: Device) -> None:
        """Remove a device from its place."""
        self.buses[device.bus].pop(device.place, None)
        self.networks.pop(device.id, None)
        for index in [i for i, owner in self.bootindexes.items() if owner == device.id]:
            del self.bootindexes[index]
