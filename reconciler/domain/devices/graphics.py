"""<graphics type='vnc'>: StratoVirt's VNC server. An optional feature of StratoVirt's build."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from reconciler.domain.model import Claim, Device, Number, Place
from reconciler.domain.rules import (
    ANY,
    YES_NO,
    Attribute,
    Type,
    choice,
    denied,
    dropped,
    element,
    number,
    quiet,
    silent,
)
from reconciler.domain.value_schema import Form
from reconciler.domain.xml_builder import Tag, tag

if TYPE_CHECKING:
    from reconciler.domain.options import Options
    from reconciler.domain.reading import Reading
    from reconciler.domain.xml import Node

LOWEST, HIGHEST = 5900, 65535  # VNC's display 0, and the last port
PORT = "VNC port"
_PORT = number(LOWEST, HIGHEST)
_ACCEPTED = f"{LOWEST} to {HIGHEST}, or -1 for a free one"


def _port(text: str) -> int:
    """A port; 0 and -1 leave it to us, as in libvirt."""
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
        raise ValueError(f"found '{text}'; accepted: an IPv4 address (StratoVirt listens on no "
                         "other)") from None


GRAPHICS = element(
    "graphics", Attribute("type", choice("vnc", "spice", "sdl", "rdp", "desktop", "egl-headless",
                                         "dbus")),
    Attribute("port", Type(_ACCEPTED, _port, forms=(Form("0|-1"), *_PORT.forms))),
    Attribute("autoport", YES_NO), Attribute("listen", ANY),
    denied("passwd", "a password in a file that everybody reads; take it out, and let VNC listen "
                     "on 127.0.0.1"),
    denied("socket", "StratoVirt's VNC listens on a port"),
    dropped("websocket", "StratoVirt has none"),
    *quiet("keymap", "sharePolicy", "tlsPort", "defaultMode", "passwdValidTo", "connected",
           "powerControl", "display", "xauth", "fullscreen", "p2p", "address", "multiUser",
           "replaceUser", "username"),
    element("listen", Attribute("type", choice("address", "none", "network", "socket")),
            Attribute("address", ANY), *quiet("network", "socket"), many=True),
    *silent("image", "gl", "mouse", "clipboard", "channel", "jpeg", "zlib", "playback",
            "streaming", "filetransfer", "audio"), many=True)
RULES = (GRAPHICS,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphics(Device):
    """A VNC server; `port` None until one is chosen."""

    KIND: ClassVar[str] = "graphics"
    RANK: ClassVar[int] = 95
    PLUGGED: ClassVar[bool] = False
    MICROVM: ClassVar[bool] = False
    FEATURE: ClassVar[str] = "vnc"

    listen: str = "127.0.0.1"
    port: int | None = None

    @property
    def key(self) -> str:
        """There is one."""
        return "0"

    def claims(self) -> tuple[Claim, ...]:
        """Its port, whatever the address."""
        return () if self.port is None else (Claim(PORT, str(self.port), self.line),)

    def tag(self) -> Tag:
        """As <graphics>."""
        return tag("graphics", tag("listen", type="address", address=self.listen), type="vnc",
                   port=-1 if self.port is None else self.port,
                   autoport="yes" if self.port is None else "no")

    def automatic(self) -> Number | None:
        """The lowest free port."""
        return None if self.port is not None else Number(PORT, LOWEST, HIGHEST)

    def numbered(self, number: int) -> Self:
        """With its port."""
        return replace(self, port=number)

    def arguments(self, place: Place | None) -> tuple[str, ...]:
        """VNC counts displays from port 5900."""
        return ("-vnc", f"{self.listen}:{(self.port or LOWEST) - LOWEST}")


def read_all(devices: Node, reading: Reading) -> list[Graphics]:
    """The one VNC server; desktops are ignored."""
    found = [g for node in devices.children("graphics") if (g := _read(node)) is not None]
    for node in list(devices.children("graphics")):
        if node.line in [more.line for more in found[1:]]:
            node.error("a second VNC server; accepted: one")
    return found[:1]


def _read(node: Node) -> Graphics | None:
    kind = node.text("@type")
    if kind != "vnc":
        node.warn(f"type='{kind or ''}' is ignored: StratoVirt has VNC only")
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
