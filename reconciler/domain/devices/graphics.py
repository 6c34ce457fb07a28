"""<graphics type='vnc'>: StratoVirt's VNC server. An optional feature of StratoVirt's build."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from reconciler.domain.model import AutomaticNumber, Device, ExclusiveResource
from reconciler.domain.rules import (
    ANY,
    YES_NO,
    Attribute,
    Type,
    choice,
    element,
    ignore,
    number,
    reject,
    warn,
)
from reconciler.domain.value_schema import ValueSchema
from reconciler.domain.xml_builder import XmlElement, build

if TYPE_CHECKING:
    from reconciler.domain.options import Options
    from reconciler.domain.place import Place
    from reconciler.domain.read_context import ReadContext
    from reconciler.domain.xml import Node

LOWEST, HIGHEST = 5900, 65535  # VNC's display 0, and the last port
PORT = "VNC port"
_PORT = number(LOWEST, HIGHEST)
_ACCEPTED = f"{LOWEST} to {HIGHEST}, or -1 for a free one"


def _port(text: str) -> int:
    """A port; 0 and -1 mean a free one, as in libvirt."""
    if text in ("0", "-1"):
        return 0
    try:
        return int(str(_PORT.parse(text)))
    except ValueError:
        raise ValueError(f"found '{text}'; accepted: {_ACCEPTED}") from None


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"found '{text}'; accepted: an IPv4 address (StratoVirt supports no "
                         "other)") from None


GRAPHICS = element(
    "graphics", Attribute("type", choice("vnc", "spice", "sdl", "rdp", "desktop", "egl-headless",
                                         "dbus")),
    Attribute("port", Type(_ACCEPTED, _port, schemas=(ValueSchema("0|-1"), *_PORT.schemas))),
    Attribute("autoport", YES_NO), Attribute("listen", ANY),
    reject("@passwd", "everyone who can read the file would know the password; remove it and let "
           "VNC listen on 127.0.0.1"),
    reject("@socket", "StratoVirt's VNC server listens on a TCP port"),
    warn("@websocket", "StratoVirt does not support it"),
    *ignore("@keymap", "@sharePolicy", "@tlsPort", "@defaultMode", "@passwdValidTo", "@connected",
            "@powerControl", "@display", "@xauth", "@fullscreen", "@p2p", "@address", "@multiUser",
            "@replaceUser", "@username"),
    element("listen", Attribute("type", choice("address", "none", "network", "socket")),
            Attribute("address", ANY), *ignore("@network", "@socket"), many=True),
    *ignore("image", "gl", "mouse", "clipboard", "channel", "jpeg", "zlib", "playback",
            "streaming", "filetransfer", "audio"), many=True)
RULES = (GRAPHICS,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphics(Device):
    """A VNC server; `port` is None until one is chosen."""

    KIND: ClassVar[str] = "graphics"
    RANK: ClassVar[int] = 95
    SINGLE: ClassVar[bool] = True
    PLUGGED: ClassVar[bool] = False
    MICROVM: ClassVar[bool] = False
    FEATURE: ClassVar[str] = "vnc"
    PATHS: ClassVar[dict[str, str]] = {
        **Device.PATHS, "listen": "listen/@address", "port": "@port"}

    listen: str = "127.0.0.1"
    port: int | None = None

    @property
    def key(self) -> str:
        """Constant: a domain has one at most."""
        return "0"

    def exclusive_resources(self) -> tuple[ExclusiveResource, ...]:
        """Its port, on whichever address it listens."""
        return () if self.port is None else (ExclusiveResource(PORT, str(self.port), self.line),)

    def to_xml(self) -> XmlElement:
        """Its <graphics>."""
        return build("graphics", build("listen", type="address", address=self.listen), type="vnc",
                     port=-1 if self.port is None else self.port,
                     autoport="yes" if self.port is None else "no")

    def automatic(self) -> AutomaticNumber | None:
        """The lowest free port."""
        return None if self.port is not None else AutomaticNumber(PORT, LOWEST, HIGHEST)

    def numbered(self, number: int) -> Self:
        """With its port."""
        return replace(self, port=number)

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """VNC counts displays from port 5900."""
        return ("-vnc", f"{self.listen}:{(self.port or LOWEST) - LOWEST}")


def read_all(devices: Node, context: ReadContext) -> list[Graphics]:
    """The VNC server; other types are ignored with a warning."""
    found = [g for node in devices.children("graphics") if (g := _read(node)) is not None]
    for node in list(devices.children("graphics")):
        if node.line in [more.line for more in found[1:]]:
            node.error("a second VNC server; accepted: one")
    return found[:1]


def _read(node: Node) -> Graphics | None:
    kind = node.text("@type")
    if kind != "vnc":
        node.warn(f"type='{kind or ''}' is ignored: StratoVirt supports VNC only")
        return None
    port = node.value("@port") or None
    if port is None and node.flag("@autoport") is False and node.raw.get("port") != "0":
        node.error("neither port nor autoport; accepted: port='5900' or autoport='yes'")
    listen = node.child("listen")
    if listen is not None and listen.text("@type") not in (None, "address", "none"):
        listen.error(f"type='{listen.text('@type')}'; accepted: address")
    text = (listen.text("@address") if listen is not None else None) or node.text("@listen")
    address = "127.0.0.1"
    if text:
        try:
            address = _address(text)
        except ValueError as error:
            (listen or node).error(f"listen: {error}")
    return Graphics(alias="vnc0", listen=address, line=node.line,
                    port=port if isinstance(port, int) else None)


def recognise(options: Options) -> list[Graphics]:
    """From the command line; VNC counts displays from port 5900."""
    found: list[Graphics] = []
    for option in options.take("-vnc"):
        listen, _, display = option.kind.rpartition(":")
        if listen and display.isdecimal():
            found.append(Graphics(alias="vnc0", listen=listen, port=LOWEST + int(display)))
        else:
            option.note("accepted: ADDRESS:DISPLAY")
    return found
