"""A stand-in for StratoVirt: a real process with its arguments, sockets, signals and QMP.

It does what the reconciler and its users need where no hypervisor is: the life cycle over QMP, two
monitors, the write lock on disks, the limits of -m and -smp, and StratoVirt's way to report why it
does not start. No guest runs in it. Only the standard library, and little of that: it starts fast.
"""

import fcntl
import json
import os
import selectors
import signal
import socket
import sys

FLAGS = {"-S", "-daemonize", "-disable-seccomp", "-nodefaults", "-no-user-config", "-no-shutdown",
         "-nographic", "-usb", "-mem-prealloc"}
VALUES = {"-name", "-uuid", "-machine", "-cpu", "-smp", "-m", "-smbios", "-kernel", "-initrd",
          "-append", "-drive", "-object", "-device", "-netdev", "-chardev", "-mon", "-qmp",
          "-serial", "-D", "-mem-path", "-sandbox", "-msg", "-rtc", "-overcommit", "-boot"}
ONCE = {"-machine", "-smp", "-m", "-kernel"}
MIB = 1 << 20
GREETING = {"QMP": {"version": {"qemu": {"micro": 1, "minor": 0, "major": 5},
                                "package": "StratoVirt-2.5.0"}, "capabilities": []}}


class Refused(Exception):
    """Why the machine does not start."""


def parse(words: list[str]) -> dict[str, list[str]]:
    """Options by name, in their order."""
    options: dict[str, list[str]] = {}
    position = 0
    while position < len(words):
        name = words[position]
        if name in FLAGS:
            options.setdefault(name, []).append("")
        elif name in VALUES and position + 1 < len(words):
            position += 1
            options.setdefault(name, []).append(words[position])
        else:
            raise Refused(f"Found argument '{name}' which wasn't expected")
        if name in ONCE and len(options[name]) > 1:
            raise Refused(f"The argument '{name}' was provided more than once")
        position += 1
    return options


def pairs(text: str) -> dict[str, str]:
    """An option list: split at every comma and equals sign."""
    parts = [part.partition("=") for part in text.split(",")]
    return {key: value for key, _, value in parts}


def check(options: dict[str, list[str]]) -> list[int]:
    """What StratoVirt checks before a start; returns the handles that hold the disks' locks."""
    size = options.get("-m", ["256m"])[0]
    scale = {"k": 1024, "m": MIB, "g": 1 << 30}.get(size[-1].lower())
    memory = int(size[:-1]) * scale if scale else int(size) * MIB
    if not 128 * MIB <= memory <= 524288 * MIB:
        raise Refused(f"current memory size ({memory} bytes) and maxmem ({memory} bytes) should in "
                      "range of [134217728, 549755813888] bytes")
    drives = [pairs(text) for text in options.get("-drive", [])]
    if "-initrd" not in options and all(d.get("if") == "pflash" for d in drives):
        raise Refused("Before Vm start, set a initrd or drive_file or vhost-user blk as rootfs")
    handles = []
    for drive in drives:
        path = drive["file"]
        writable = drive.get("readonly") not in ("on", "true")
        try:
            handle = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        except OSError as error:
            raise Refused(f"Failed to open file: {path}. {error.strerror}") from None
        if drive.get("if") == "pflash" and os.fstat(handle).st_size < 128 << 10:
            raise Refused(f"the firmware {path} is too small")
        try:
            fcntl.flock(handle, (fcntl.LOCK_EX if writable else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"Failed to get write lock on file: {path}. Is it used more than once or "
                          "another process using the same file? Error: 11") from None
        handles.append(handle)
    places: set[tuple[str, str]] = set()
    buses = {"pcie.0"}
    for text in options.get("-device", []):
        device = pairs(text)
        bus, place = device.get("bus"), device.get("addr")
        if bus is None or place is None:
            continue
        if bus not in buses:
            raise Refused(f"Parent bus :{bus} not found")
        if (bus, place) in places:
            raise Refused(f"Location of the device {device.get('id')} is same as one of the bus "
                          f"{bus}")
        places.add((bus, place))
        if text.startswith("pcie-root-port"):
            buses.add(device["id"])
    return handles


class Machine:
    """The running thing: its state and the monitors that look at it."""

    def __init__(self, options: dict[str, list[str]]) -> None:
        self.selector = selectors.DefaultSelector()
        self.running = "-S" not in options
        self.clients: list[socket.socket] = []
        self.waiting: dict[socket.socket, bool] = {}
        self.paths: list[str] = []
        self.ptys: list[tuple[str, str, int]] = []
        self.over = False
        monitors = [text.split(",")[0].removeprefix("unix:") for text in options.get("-qmp", [])]
        for text in options.get("-chardev", []):
            kind, _, rest = text.partition(",")
            values = pairs(rest)
            if kind == "pty":
                self.pty(values["id"])
            elif kind == "socket":
                monitors.append(values["path"])
        if options.get("-serial", [""])[0] == "pty":
            self.pty("serial_chardev")
        for path in monitors:
            if len(path.encode()) > 107:
                raise Refused(f"socket path too long: {path}")
            if os.path.exists(path):
                os.unlink(path)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen(1)
            self.paths.append(path)
            self.selector.register(listener, selectors.EVENT_READ, "listener")

    def pty(self, label: str) -> None:
        """A console of the guest's."""
        ours, theirs = os.openpty()
        self.ptys.append((label, os.ttyname(theirs), ours))

    def event(self, name: str, **data: object) -> None:
        """To every monitor that is connected."""
        for client in self.clients:
            self.send(client, {"event": name, "data": data,
                               "timestamp": {"seconds": 0, "microseconds": 0}})

    def send(self, client: socket.socket, message: object) -> None:
        """One message, ended by CR LF."""
        try:
            client.sendall(json.dumps(message).encode() + b"\r\n")
        except OSError:
            self.over = self.over  # a client that has gone misses nothing

    def execute(self, name: str) -> object:
        """One command; raises Refused."""
        if name in ("stop", "cont"):
            self.running = name == "cont"
            self.event("RESUME" if self.running else "STOP")
            return {}
        if name in ("quit", "system_powerdown"):
            if name == "quit":
                self.event("SHUTDOWN", guest=False, reason="host-qmp-quit")
            self.over = True
            return {}
        answers: dict[str, object] = {
            "qmp_capabilities": {}, "query-block": [], "query-blockstats": [],
            "query-status": {"running": self.running, "singlestep": False,
                             "status": "running" if self.running else "paused"},
            "query-chardev": [{"filename": f"pty:{path}", "frontend-open": True, "label": label}
                              for label, path, _ in self.ptys],
        }
        if name not in answers:
            raise Refused(f"unknown variant `{name}`")
        return answers[name]

    def receive(self, client: socket.socket, listener: socket.socket) -> None:
        """One read is one command, as StratoVirt has it."""
        data = client.recv(65536)
        if not data:
            self.selector.unregister(client)
            self.clients.remove(client)
            client.close()
            self.selector.register(listener, selectors.EVENT_READ, "listener")
            return
        if not data.strip():
            return
        answer: dict[str, object] = {}
        try:
            message = json.loads(data)
            if "id" in message:
                answer["id"] = message["id"]
            answer["return"] = self.execute(message["execute"])
        except (ValueError, KeyError, Refused) as error:
            answer["error"] = {"class": "GenericError", "desc": str(error)}
        self.send(client, answer)

    def serve(self) -> None:
        """Until quit or a signal. One client a monitor: the listener rests while it has one."""
        while not self.over:
            for key, _ in self.selector.select():
                if key.data == "listener":
                    listener = key.fileobj
                    assert isinstance(listener, socket.socket)
                    client, _ = listener.accept()
                    self.selector.unregister(listener)
                    self.selector.register(client, selectors.EVENT_READ, listener)
                    self.clients.append(client)
                    self.send(client, GREETING)
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self.receive(key.fileobj, key.data)

    def clean(self) -> None:
        """Sockets go at every end but SIGKILL."""
        for path in self.paths:
            if os.path.exists(path):
                os.unlink(path)


def _end(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run a machine."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    machine = None
    try:
        options = parse(sys.argv[1:])
        handles = check(options)
        machine = Machine(options)
        machine.serve()
        del handles
    except Refused as error:
        sys.stderr.write(f"Error: failed to start the machine\n\nCaused by:\n    {error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        if machine:
            machine.clean()
    return 0


if __name__ == "__main__":
    sys.exit(main())
