"""<serial>, <console>, <channel>: character devices of the guest and their backends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from reconciler.domain.devices.virtio_serial import VirtioSerial
from reconciler.domain.model import Device, ExclusiveResource, RequiredFile
from reconciler.domain.read_context import ADDRESS, ALIAS_RULE, path
from reconciler.domain.rules import (
    ANY,
    OPTION,
    PATH,
    Attribute,
    choice,
    element,
    ignore,
    number,
    reject,
    warn,
)
from reconciler.domain.xml_builder import XmlElement, alias, build, build_if_set

if TYPE_CHECKING:
    from reconciler.domain.options import Option, Options
    from reconciler.domain.place import Place
    from reconciler.domain.read_context import ReadContext
    from reconciler.domain.rules import Element
    from reconciler.domain.xml import Node

AGENT = "org.qemu.guest_agent.0"
LAST_PORT = 29  # of 31 ports; the guest agent has one
LONGEST_SOCKET = 107  # bytes of a path: the kernel's limit
AGENT_PORT = 1
_ANY_PORT = -1
_TYPES = choice("pty", "file", "unix", "stdio", "null", "tcp", "udp", "vc", "dev", "pipe", "nmdm",
                "spicevmc", "spiceport", "dbus", "qemu-vdagent")


def _rule(name: str, target: Element) -> Element:
    return element(
        name, Attribute("type", _TYPES), *ignore("@tty"),
        element("source", Attribute("path", PATH), Attribute("mode", choice("bind", "connect")),
                reject("@append", "StratoVirt overwrites the file; remove it"),
                *ignore("@channel", "@host", "@service", "@tls", "@master", "@slave"),
                *ignore("seclabel", "reconnect", "clipboard", "mouse")),
        target, ADDRESS, ALIAS_RULE, *ignore("protocol", "acpi"),
        warn("log", "StratoVirt writes no log"), many=True)


SERIAL = _rule("serial", element("target", Attribute("type", ANY), *ignore("@port"),
                                 *ignore("model")))
CONSOLE = _rule("console", element("target", Attribute("type", choice("virtio", "serial")),
                                   Attribute("port", number(0, LAST_PORT)), *ignore("model")))
CHANNEL = _rule("channel", element("target", Attribute("type", ANY), Attribute("name", OPTION),
                                   *ignore("@state", "@address", "@port")))
RULES = (SERIAL, CONSOLE, CHANNEL)


def _backend(node: Node, context: ReadContext) -> tuple[str, str | None] | None:
    """The backend (pty, file, unix) and its path; None if it is wrong."""
    kind = node.text("@type") or "pty"
    if kind not in ("pty", "file", "unix"):
        node.error(f"type='{kind}'; accepted: pty, file, unix")
        return None
    if kind == "pty":
        return kind, None
    found = path(context, node.text("source/@path"))
    if found is None and node.at("source").raw.get("path") is None:
        node.error("no path; accepted: <source path='…'/>")
    if kind == "unix" and node.text("source/@mode") == "connect":
        node.at("source").error("mode='connect'; accepted: bind (StratoVirt listens)")
    if kind == "unix" and found is not None and len(found.encode()) > LONGEST_SOCKET:
        node.at("source").error(f"found a path of {len(found.encode())} bytes; accepted: up to "
                                f"{LONGEST_SOCKET} (the kernel's limit for sockets)")
    return (kind, found) if found is not None else None


def _ends(kind: str, file: str | None) -> str:
    """The options of a backend that follow its id."""
    if kind == "pty":
        return ""
    return f",path={file}" + (",server,nowait" if kind == "unix" else "")


def _claims(device: Serial | Console | Channel) -> tuple[ExclusiveResource, ...]:
    if device.path is None:
        return ()
    return (ExclusiveResource("socket or log file", device.path, device.line),)


def _made(device: Serial | Console | Channel) -> tuple[RequiredFile, ...]:
    if device.path is None:
        return ()
    kind = "socket" if device.backend == "unix" else "log"
    return (RequiredFile(device.path, kind, writable=True, line=device.line),)


def _source(device: Serial | Console | Channel) -> XmlElement | None:
    mode = "bind" if device.backend == "unix" and device.path else None
    return build_if_set("source", mode=mode, path=device.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serial(Device):
    """The serial port."""

    KIND: ClassVar[str] = "serial"
    RANK: ClassVar[int] = 60
    SINGLE: ClassVar[bool] = True
    PLUGGED: ClassVar[bool] = False
    PATHS: ClassVar[dict[str, str]] = {
        **Device.PATHS, "backend": "@type", "path": "source/@path"}

    backend: str
    path: str | None = None

    def exclusive_resources(self) -> tuple[ExclusiveResource, ...]:
        """A file or socket of the host is one VM's."""
        return _claims(self)

    def made_files(self) -> tuple[RequiredFile, ...]:
        """That file or socket."""
        return _made(self)

    def to_xml(self) -> XmlElement:
        """Its <serial>."""
        return build("serial", _source(self), alias(self.alias), type=self.backend)

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The short form, because `-serial chardev:ID` always fails in StratoVirt 2.5.0."""
        name = "socket" if self.backend == "unix" else self.backend
        return ("-serial", f"{name}{_ends(self.backend, self.path)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Console(Device):
    """A virtio console: hvc0, hvc1, … in the guest."""

    KIND: ClassVar[str] = "console"
    RANK: ClassVar[int] = 70
    PLUGGED: ClassVar[bool] = False
    PATHS: ClassVar[dict[str, str]] = {
        **Device.PATHS, "backend": "@type", "number": "target/@port", "path": "source/@path"}

    backend: str
    number: int
    path: str | None = None

    @property
    def key(self) -> str:
        """Its number, padded so that it sorts as one."""
        return f"{self.number:02}"

    @property
    def label(self) -> str:
        """Its number."""
        return str(self.number)

    @property
    def port(self) -> int:
        """Its port of the controller; StratoVirt's default for the second is the agent's port."""
        return self.number + AGENT_PORT if self.number else 0

    def exclusive_resources(self) -> tuple[ExclusiveResource, ...]:
        """A file or socket of the host is one VM's."""
        return _claims(self)

    def made_files(self) -> tuple[RequiredFile, ...]:
        """That file or socket."""
        return _made(self)

    def to_xml(self) -> XmlElement:
        """Its <console>."""
        return build("console", _source(self), build("target", type="virtio", port=self.number),
                     alias(self.alias), type=self.backend)

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The backend, then the console."""
        name = "socket" if self.backend == "unix" else self.backend
        port = f",nr={self.port}" if self.port else ""
        return ("-chardev", f"{name},id=char{self.alias}{_ends(self.backend, self.path)}",
                "-device", f"virtconsole,chardev=char{self.alias},id={self.alias}{port}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel(Device):
    """A virtio-serial port. `path` None: a pty, or a socket in the VM's own directory.

    StratoVirt cannot name ports: the guest must use /dev/vport0pN, where N is `number`.
    """

    KIND: ClassVar[str] = "channel"
    RANK: ClassVar[int] = 80
    PLUGGED: ClassVar[bool] = False
    PATHS: ClassVar[dict[str, str]] = {
        **Device.PATHS, "name": "target/@name", "number": "address/@port", "backend": "@type",
        "path": "source/@path"}

    name: str
    number: int
    backend: str = "unix"
    path: str | None = None

    @property
    def key(self) -> str:
        """Its name."""
        return self.name

    @property
    def socket(self) -> str:
        """The file name of its socket in the VM's own directory, where the file gives no path."""
        return "agent.sock" if self.name == AGENT else f"port{self.number}.sock"

    def exclusive_resources(self) -> tuple[ExclusiveResource, ...]:
        """A file or socket of the host is one VM's."""
        return _claims(self)

    def made_files(self) -> tuple[RequiredFile, ...]:
        """That file or socket."""
        return _made(self)

    def to_xml(self) -> XmlElement:
        """Its <channel>."""
        where = None if self.name == AGENT else build(
            "address", type="virtio-serial", controller=0, bus=0, port=self.number)
        return build("channel", _source(self), build("target", type="virtio", name=self.name),
                     alias(self.alias), where, type=self.backend)

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """The backend, then the port; the command line sets the path of sockets without one."""
        name = "socket" if self.backend == "unix" else self.backend
        return ("-chardev", f"{name},id=char{self.alias}{_ends(self.backend, self.path)}",
                "-device", (f"virtserialport,chardev=char{self.alias},id={self.alias},"
                           f"nr={self.number}"))


def read_all(devices: Node, context: ReadContext) -> list[Device]:
    """The serial port, virtio consoles, channels, and the controller that these need."""
    serials = [_serial(child, context) for child in devices.children("serial")]
    consoles: list[Console] = []
    for child in devices.children("console"):
        read = _console(child, context)
        if isinstance(read, Serial):
            serials = serials or [read]  # libvirt writes the serial port as a console, too
        elif read is not None:
            consoles.append(read)
    if len(serials) > 1:
        list(devices.children("serial"))[1].error("a second serial port; accepted: one")
    channels = [c for child in devices.children("channel")
                if (c := _channel(child, context)) is not None]
    found: list[Device] = [*(s for s in serials[:1] if s is not None), *_numbered(consoles),
                           *_ported(channels)]
    given = any(c.text("@type") == "virtio-serial" for c in devices.children("controller"))
    if (consoles or channels) and not given:
        found.append(VirtioSerial(alias="virtio-serial0"))
    return found


def _serial(node: Node, context: ReadContext) -> Serial | None:
    backend = _backend(node, context)
    if backend is None:
        return None
    return Serial(backend=backend[0], path=backend[1],
                  alias=node.text("alias/@name") or "serial0", line=node.line)


def _numbered(consoles: list[Console]) -> list[Console]:
    """Give consoles without a port the lowest free ones, whatever the order of the file."""
    taken = {console.number for console in consoles}
    free = (number for number in range(len(consoles) + len(taken)) if number not in taken)
    found = []
    for console in sorted(consoles, key=lambda c: (c.number, c.alias, c.backend, c.path or "")):
        number_ = next(free) if console.number == _ANY_PORT else console.number
        found.append(replace(console, number=number_, alias=console.alias or f"console{number_}"))
    return found


def _ported(channels: list[Channel]) -> list[Channel]:
    """Number the ports: the agent has 1; others the file's, or the last free one, by name."""
    taken = {channel.number for channel in channels} | {AGENT_PORT}
    free = (port for port in range(LAST_PORT + 1, 0, -1) if port not in taken)
    found = []
    for channel in sorted(channels, key=lambda c: c.name):
        number_ = AGENT_PORT if channel.name == AGENT else (
            next(free, LAST_PORT + 2) if channel.number == _ANY_PORT else channel.number)
        found.append(replace(channel, number=number_))
    aliases = {channel.alias for channel in found}
    names = (n for i in range(2 * len(found)) if (n := f"channel{i}") not in aliases)
    return [c if c.alias else replace(c, alias=next(names)) for c in found]


def _console(node: Node, context: ReadContext) -> Console | Serial | None:
    """Read a <console>; without a virtio target it means the serial port."""
    if node.text("target/@type") != "virtio":
        return _serial(node, context)
    backend = _backend(node, context)
    if backend is None:
        return None
    port = node.number("target/@port")
    return Console(backend=backend[0], path=backend[1],
                   number=_ANY_PORT if port is None else port,
                   alias=node.text("alias/@name") or "", line=node.line)


def _channel(node: Node, context: ReadContext) -> Channel | None:
    """Read a <channel>; desktop channels are ignored with a warning."""
    kind, name = node.text("@type") or "unix", node.text("target/@name")
    if kind in ("spicevmc", "spiceport", "dbus", "qemu-vdagent"):
        node.warn(f"type='{kind}' is ignored: StratoVirt does not support SPICE")
        return None
    if node.text("target/@type") not in (None, "virtio"):
        node.at("target").error(f"type='{node.text('target/@type')}'; accepted: virtio")
    if name is None:
        if node.at("target").raw.get("name") is None:
            node.error(f"no name; accepted: <target type='virtio' name='{AGENT}'/>")
        return None
    given = node.text("source/@path") or ""
    own = kind == "unix" and (not given or "/libvirt/" in given)  # libvirt's own default path
    backend = ("unix", None) if own else _backend(node, context)
    if backend is None:
        return None
    port = node.number("address/@port") if node.text("address/@type") == "virtio-serial" else None
    if name == AGENT:
        port = AGENT_PORT
        node.warn("the guest sees a port without a name: configure its agent to use /dev/vport0p1")
    else:
        node.warn("the guest sees a port without a name: /dev/vport0pN, where N is the nr on the "
                  "command line; <address type='virtio-serial' port='N'/> sets it")
    if port in (0, AGENT_PORT) and name != AGENT:
        node.at("address").error(f"port='{port}'; accepted: 2 to {LAST_PORT + 1} (0 is "
                                 "for a console, 1 for the guest agent)")
    return Channel(name=name, number=_ANY_PORT if port is None else port, backend=backend[0],
                   path=backend[1], alias=node.text("alias/@name") or "", line=node.line)


def recognise(options: Options) -> list[Device]:
    """From the command line: the serial port, and every port of the virtio-serial controller."""
    found: list[Device] = []
    for option in options.take("-serial"):
        name = option.kind.removeprefix("chardev:")
        chardev = option if name == option.kind else options.named(option, "-chardev", name)
        end = _end(chardev, options)
        if end is not None:
            found.append(Serial(alias="serial0", backend=end[0], path=end[1]))
    taken: set[int] = set()
    for option in options.take("-device", "virtconsole", "virtserialport"):
        port = option.number("nr")
        console = option.kind == "virtconsole"
        if port is None:  # StratoVirt's own choice
            port = 0 if console and 0 not in taken else max(taken, default=0) + 1
        taken.add(port)
        end = _end(options.backend(option, "-chardev", "chardev"), options)
        if end is not None:
            make = _console_at if console else _channel_at
            found.append(make(option, options, port, end))
    return found


def _end(option: Option | None, options: Options) -> tuple[str, str | None] | None:
    """The backend and its path; None, with a note, where a domain file cannot express it."""
    if option is None:
        return None
    if option.kind == "pty":
        return "pty", None
    file = options.path(option.text("path"))
    listens = option.text("server") is not None
    option.skip("nowait")
    if option.kind == "file" and file is not None:
        return "file", file
    if option.kind == "socket" and file is not None and listens:
        return "unix", file
    option.note("not a pty, a file, or a socket with a path, server and nowait; its device is left "
                "out")
    return None


def _console_at(option: Option, options: Options, port: int,
                end: tuple[str, str | None]) -> Console:
    """The console of a port; port 1 is reserved for the guest agent here."""
    number_ = port - AGENT_PORT if port > AGENT_PORT else 0
    if port == AGENT_PORT:
        number_ = LAST_PORT
        option.note("port 1 is reserved for the guest agent: the console moves to port "
                    f"{LAST_PORT + AGENT_PORT}")
    return Console(alias=options.alias(option, f"console{number_}"), number=number_,
                   backend=end[0], path=end[1])


def _channel_at(option: Option, options: Options, port: int,
                end: tuple[str, str | None]) -> Channel:
    """The channel of a port; command lines do not contain its name."""
    found = Channel(name=AGENT if port == AGENT_PORT else f"port.{port}", number=port,
                    alias=options.alias(option, f"channel{port}"), backend=end[0], path=end[1])
    own = options.context.own
    if own is not None and found.path == f"{own}/{found.socket}":
        return replace(found, path=None)
    return found
