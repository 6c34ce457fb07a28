"""Reads the machine configuration from the command line, with StratoVirt's error messages."""

import os

from . import fields
from .drive import DRIVE, Drive
from .fields import Fields
from .options import Arguments
from .refusal import Refusal

MIB = 1 << 20
NETDEV = {
    "type": fields.one_of("tap", "vhost-user"),
    "id": fields.identity,
    "fd": fields.text,
    "fds": fields.text,
    "vhost": fields.switch,
    "vhostfd": fields.text,
    "vhostfds": fields.text,
    "ifname": fields.identity,
    "queues": fields.number(1, 16),
    "chardev": fields.text,
    "macnat": fields.switch,
}
CHARDEVS = {
    "stdio": ("id", ""),
    "pty": ("id", ""),
    "file": ("id path", ""),
    "socket": ("id", "server nowait"),
    "redirect-to-log": ("id", ""),
}
CHARDEV = {"id": fields.identity, "path": fields.path, "host": fields.text, "port": fields.number()}


class Config:
    """The machine as described by the command line."""

    def __init__(self, arch: str) -> None:
        self.arch = arch
        self.name = ""
        self.machine = "microvm"
        self.shared_memory = False
        self.memory = 256 * MIB
        self.cpus = self.max_cpus = 1
        self.topology = (1, 1, 1, 1, 1)
        self.kernel: str | None = None
        self.initrd: str | None = None
        self.drives: dict[str, Drive] = {}
        self.flashes: dict[int, Drive] = {}
        self.netdevs: dict[str, Fields] = {}
        self.chardevs: dict[str, Fields] = {}
        self.serial: Fields | None = None
        self.iothreads: list[str] = []
        self.randoms: dict[str, Fields] = {}
        self.devices: list[str] = []
        self.incoming: tuple[str, str] | None = None

    @property
    def standard(self) -> bool:
        """Whether it is a standard machine, q35 or virt."""
        return self.machine in ("q35", "virt")

    def add_machine(self, given: str) -> None:
        """`-machine`."""
        known = {
            "type": fields.text,
            "dump-guest-core": fields.switch,
            "mem-share": fields.switch,
            "accel": _accelerator,
            "usb": fields.one_of("off"),
        }
        standard = "q35"
        if self.arch == "aarch64":
            standard = "virt"
            known["gic-version"] = fields.number(3, 3)
        possible = ("none", "microvm", standard)

        def machine(value: str) -> str:
            if value.lower() not in possible:
                raise Refusal("Invalid machine type.")
            return value.lower()

        known["type"] = machine
        named = any(part.startswith("type=") for part in given.split(","))
        found = fields.parse(given, known, "type", first="" if named else "type")
        self.machine = str(found["type"])
        self.shared_memory = bool(found.get("mem-share"))

    def add_memory(self, given: str) -> None:
        """`-m`."""
        named = any(part.startswith("size=") for part in given.split(","))
        known = {"size": fields.size, "maxmem": fields.size}
        found = fields.parse(given, known, "size", first="" if named else "size")
        size = _whole(found["size"])
        most = _whole(found.get("maxmem", size))
        if most < size:
            raise Refusal(
                f"maxmem ({most} bytes) must bigger than current memory size ({size} bytes)"
            )
        if size < 128 * MIB or most > 512 * 1024 * MIB:
            raise Refusal(
                f"current memory size ({size} bytes) and maxmem ({most} bytes) should in range "
                "of [134217728, 549755813888] bytes."
            )
        self.memory = size

    def add_processors(self, given: str) -> None:
        """`-smp`; omitted parts of the topology are computed."""
        part, positive = fields.number(0, 254, "0..255"), fields.number(1, 254, "1..255")
        known = {
            "cpus": fields.number(1, 254),
            "maxcpus": fields.number(0, 255),
            "sockets": part,
            "dies": positive,
            "clusters": positive,
            "cores": part,
            "threads": part,
        }
        named = given.startswith("cpus=")
        found = fields.parse(given, known, "cpus", first="" if named else "cpus")
        names = ("cpus", "maxcpus", "sockets", "dies", "clusters", "cores", "threads")
        defaults = (0, 0, 0, 1, 1, 0, 0)
        cpus, most, sockets, dies, clusters, cores, threads = (
            _whole(found.get(name, default)) for name, default in zip(names, defaults, strict=True)
        )
        most = most or sockets * dies * clusters * cores * threads or cpus
        if not cores:
            sockets, threads = sockets or 1, threads or 1
            cores = most // (sockets * dies * clusters * threads)
        elif not sockets:
            threads = threads or 1
            sockets = most // (dies * clusters * cores * threads)
        threads = threads or most // max(1, sockets * dies * clusters * cores)
        if not cpus <= most <= 254:
            raise Refusal(f"MAX CPU number must >= {cpus} and <= 254.")
        if sockets * dies * clusters * cores * threads != most:
            raise Refusal("sockets * dies * clusters * cores * threads must be equal to max_cpus")
        self.cpus, self.max_cpus = cpus, most
        self.topology = (sockets, dies, clusters, cores, threads)

    def add_serial(self, given: str) -> None:
        """`-serial`."""
        if given.startswith("chardev:"):
            wanted = given.removeprefix("chardev:")
        else:
            wanted = "serial_chardev"
            try:
                self.add_chardev(given + ",id=serial_chardev")
            except Refusal as refusal:
                raise refusal.within("Failed to add chardev") from None
        if wanted not in self.chardevs:
            raise Refusal(f'Chardev "{wanted}" not found or is in use')
        self.serial = self.chardevs.pop(wanted)

    def add_chardev(self, given: str) -> None:
        """`-chardev`."""
        kind, _, rest = given.partition(",")
        if kind not in CHARDEVS:
            raise Refusal("error: unrecognized subcommand\n")
        required, flags = CHARDEVS[kind]
        known = {"id": CHARDEV["id"]}
        if kind == "file":
            known["path"] = CHARDEV["path"]
        elif kind == "socket":
            known = CHARDEV
        if not rest:
            raise Refusal(fields.MISSING)
        found = fields.parse(rest, known, required, flags)
        if kind == "socket" and ("path" in found) == ("port" in found):
            raise Refusal("Not socket type or invalid socket type")
        found["type"] = kind
        if found["id"] in self.chardevs:
            raise Refusal(f'Chardev "{found["id"]}" has been added')
        self.chardevs[str(found["id"])] = found

    def add_incoming(self, given: str) -> None:
        """`-incoming`."""
        mode, colon, uri = given.split(",", maxsplit=1)[0].partition(":")
        if not colon:
            raise Refusal(f"Invalid incoming config {given}")
        if mode.lower() not in ("file", "unix", "tcp"):
            raise Refusal("Unsupported incoming unix path type")
        self.incoming = (mode.lower(), uri)

    def add_drive(self, given: str) -> None:
        """`-drive`."""
        found = fields.parse(given, DRIVE, "file")
        path = str(found["file"])
        drive = Drive(
            str(found.get("id", "")),
            path,
            bool(found.get("readonly")),
            bool(found.get("direct", True)),
        )
        form = str(found.get("format", "raw"))
        if form not in ("raw", "qcow2"):
            raise Refusal(fields.INVALID, "Unknown format type")
        drive.qcow2 = form == "qcow2"
        if found.get("if") == "pflash":
            self._add_flash(drive, found)
            return
        if not drive.id:
            raise Refusal("'id' is missing for 'blk' device.")
        fields.identity(drive.id)
        plain = any(part in ("direct=off", "direct=false") for part in given.split(","))
        drive.check(str(found.get("aio", "off" if plain else "native")))
        self.keep_drive(drive)

    def _add_flash(self, drive: Drive, found: Fields) -> None:
        """A `-drive` with `if=pflash`."""
        if "unit" not in found:
            raise Refusal("'unit' is missing for 'pflash' device.")
        if drive.qcow2:
            raise Refusal("Only 'raw' type of pflash is supported")
        drive.check_path()
        unit = _whole(found["unit"])
        if unit in self.flashes:
            raise Refusal(f"Input id 'pflash' for {unit} repeat.")
        self.flashes[unit] = drive

    def keep_drive(self, drive: Drive) -> None:
        """Store a drive until a device uses it."""
        if drive.id in self.drives:
            raise Refusal(f"Drive {drive.id} has been added")
        self.drives[drive.id] = drive

    def add_object(self, given: str) -> None:
        """`-object`."""
        kind = given.split(",", maxsplit=1)[0]
        if kind == "iothread":
            try:
                self._add_iothread(given)
            except Refusal as refusal:
                raise refusal.within("Failed to add iothread") from None
        elif kind == "rng-random":
            known = {"type": fields.text, "id": fields.identity, "filename": fields.path}
            found = fields.parse(given, known, "id filename", first="type")
            if found["id"] in self.randoms:
                raise Refusal(f"Object: {found['id']} has been added")
            self.randoms[str(found["id"])] = found
        elif not kind.startswith("memory-backend-"):
            raise Refusal(f'Unknown object type: "{kind}"')

    def _add_iothread(self, given: str) -> None:
        known = {"type": fields.text, "id": fields.identity}
        name = str(fields.parse(given, known, "id", first="type")["id"])
        if len(self.iothreads) >= 8:
            raise Refusal("Iothread number must >= 0 and <= 8.")
        if name in self.iothreads:
            raise Refusal(f"Input id 'iothread' for {name} repeat.")
        self.iothreads.append(name)

    def add_netdev(self, given: str) -> None:
        """`-netdev`."""
        found = fields.parse(given, NETDEV, "id", first="type")
        self.keep_netdev(found)

    def keep_netdev(self, found: Fields) -> None:
        """Store a network backend until a device uses it."""
        tap = found.get("type") != "vhost-user"
        if tap and not any(found.get(key) for key in ("fd", "fds", "ifname")):
            raise Refusal("Tap device is missing, use 'ifname' or 'fd' to configure a tap device")
        if found["id"] in self.netdevs:
            raise Refusal(f'Netdev "{found["id"]}" has been added')
        self.netdevs[str(found["id"])] = found

    def check(self, daemon: bool) -> None:
        """Checks of the complete configuration."""
        for name, path in (("kernel_file", self.kernel), ("initrd_file", self.initrd)):
            if path is not None and not os.path.isfile(path):
                raise Refusal(f"Input {name} is not a regular File.")
        if len(self.name.encode()) > 255:
            raise Refusal("Input name string's length must be no more than 255.")
        if self.kernel is None and self.machine == "microvm":
            raise Refusal("kernel file is required for microvm machine type, which is not provided")
        if self.initrd is None and not self.drives and not self.chardevs:
            raise Refusal("Before Vm start, set a initrd or drive_file or vhost-user blk as rootfs")
        every = [*self.chardevs.values(), *([self.serial] if self.serial else [])]
        terminals = sum(chardev["type"] == "stdio" for chardev in every)
        if terminals and daemon:
            raise Refusal("Device redirected to stdio and daemonize can't be set together")
        if terminals > 1:
            raise Refusal("Can't set multiple devices redirected to stdio")


def _whole(value: object) -> int:
    """An integer, as ensured by the field's check."""
    assert isinstance(value, int)
    return value


def _accelerator(value: str) -> str:
    if value.lower() not in ("kvm", "kvm:tcg"):
        raise Refusal(f"Not supported or invalid hypervisor type {value}.")
    return value


def _processor_model(given: str) -> None:
    switch = fields.one_of("on", "off")
    known = {"family": fields.one_of("host"), "pmu": switch, "sve": switch}
    fields.parse(given, {**known, "kvm-steal-time": switch}, first="family")


def _smbios(given: str, seen: set[str]) -> None:
    kind = fields.lookup("type", given)
    if kind not in ("0", "1", "2", "3", "4", "17"):
        raise Refusal(f'Unknown smbios type: "{kind}"')
    if kind in seen:
        raise Refusal(f"smbios type{kind} has been added")
    seen.add(kind)
    for part in given.split(","):
        name, _, value = part.partition("=")
        if name == "uuid" and (len(value) != 36 or value.strip("0123456789abcdefABCDEF-")):
            raise Refusal(fields.INVALID, f"Invalid uuid {value}")


def read(arguments: Arguments, arch: str) -> Config:
    """Read all options in StratoVirt's order, which decides on the first error."""
    config = Config(arch)
    config.name = arguments.one("name") or ""
    config.kernel, config.initrd = arguments.one("kernel"), arguments.one("initrd")
    smbios: set[str] = set()
    steps = (
        ("machine", config.add_machine),
        ("accel", _accelerator_option),
        ("m", config.add_memory),
        ("smp", config.add_processors),
        ("cpu", _processor_model),
        ("serial", config.add_serial),
        ("incoming", config.add_incoming),
        ("drive", config.add_drive),
        ("object", config.add_object),
        ("netdev", config.add_netdev),
        ("chardev", config.add_chardev),
        ("device", config.devices.append),
        ("global", _global),
        ("smbios", lambda given: _smbios(given, smbios)),
    )
    for name, step in steps:
        for given in arguments.many(name):
            try:
                step(given)
            except Refusal as refusal:
                raise refusal.within(f'Add args "{given}" error.') from None
    _trace(arguments.one("trace") or "")
    if config.machine != "none":
        try:
            config.check("daemonize" in arguments)
        except Refusal as refusal:
            precheck = "Precheck failed, VmConfig is unhealthy, stop running"
            raise refusal.within(precheck) from None
    return config


def _global(given: str) -> None:
    fields.parse(given, {"pcie-root-port.fast-unplug": fields.one_of("0", "1")})


def _trace(given: str) -> None:
    kind = given.partition("type=")[2].split(",")[0]
    if kind not in ("", "all", "events", "scopes"):
        raise Refusal(f"Unknown trace type {kind}")


def _accelerator_option(given: str) -> None:
    fields.parse(given, {"hypervisor": _accelerator}, first="hypervisor")
