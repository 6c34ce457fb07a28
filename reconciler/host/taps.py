"""Tap devices: created, attached to a bridge and set up before a start, undone after the end.

StratoVirt creates a missing tap itself, but attaches it to no bridge; libvirt ignores the bridge of
an interface of type ethernet. The host's network is not ours (rule 5): an interface that is not a
tap, a tap that another process has open, and one that is a port of another bridge are refused
before anything is changed. A free tap of another program is attached, and detached after the end.
The alias of a tap that was created here names its VM, so that it can be removed even if the VM's
record was lost.
Uses ioctls (linux/if_tun.h, linux/sockios.h), so that a start does not wait for another program;
only VLANs need one, iproute2's `bridge`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import subprocess
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from reconciler.errors import HostError
from reconciler.failpoints import Point, nothing
from reconciler.host import links

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from reconciler.domain.devices.interface import Vlan
    from reconciler.failpoints import Reached

_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCBRADDIF, _SIOCBRDELIF = 0x8913, 0x8914, 0x89A2, 0x89A3
_SIOCSIFMTU = 0x8922
_OWNER = "stratovirt-reconciler "  # prefix of the alias of a tap that was created here
_PATIENCE = 5.0  # seconds for iproute2
_IFF_UP = 1


@dataclass(frozen=True, slots=True)
class Tap:
    """What a network card needs of the host. `owner`: the VM, as the alias of the tap names it.

    `bridges`: those that the configuration allows; empty: all of them.
    """

    name: str
    bridge: str | None = None
    queues: int = 1
    mtu: int | None = None
    vlans: Sequence[Vlan] = ()
    owner: str = ""
    bridges: Collection[str] = ()


class Taken(Enum):
    """What was done to a tap, and is undone after the end."""

    NOTHING = auto()  # it is used as it is
    ATTACHED = auto()  # it was there, and became a port of the bridge
    CREATED = auto()


def check(tap: Tap) -> None:
    """Raise HostError if the interface cannot be used by any VM; changes nothing.

    A tap that was created here, or that a process has open, may be that of the VM itself.
    """
    if not links.exists(tap.name):
        return
    if not links.is_tap(tap.name):
        message = f"{tap.name} is a network interface of the host, and not a tap"
        raise HostError(message, reason="Conflict", hint="it is not touched; choose another name "
                                                         "in <target dev='…'/>")
    if not _owner(tap.name) and not _is_open(tap.name):
        _check_free_tap(tap)


def take(tap: Tap, reached: Reached = nothing) -> Taken:
    """Create the tap if it is missing, attach it, set it up.

    Raises HostError, and has then changed nothing.
    """
    _check_bridge(tap)
    check(tap)
    if not links.exists(tap.name):
        return _create(tap, reached)
    if _is_own(tap):  # left by an earlier start
        _attempt(tap, lambda: _configure(tap, reached))
        return Taken.NOTHING
    _check_free_tap(tap)
    if _is_open(tap.name):
        message = f"tap {tap.name}: another process has it open"
        raise HostError(message, reason="Conflict",
                        hint="choose another name in <target dev='…'/>, or end that process")
    before = links.bridge_of(tap.name)
    if tap.bridge is None or before == tap.bridge:
        return Taken.NOTHING
    try:
        _attempt(tap, lambda: _attach_and_put_up(tap, reached))
    except HostError:
        with suppress(OSError):
            detach(tap.name)
        raise
    return Taken.ATTACHED


def difference(tap: Tap) -> str:
    """How the tap of a running VM differs from what the VM was given; empty if it does not."""
    found = links.look(tap.name)
    if found is None or not links.is_tap(tap.name):
        return f"tap {tap.name} was deleted"
    if tap.bridge is not None and found.bridge != tap.bridge:
        where = f"a port of bridge {found.bridge}" if found.bridge else "a port of no bridge"
        return f"tap {tap.name} is {where}; wanted: {tap.bridge}"
    if tap.mtu is not None and found.mtu != tap.mtu:
        return f"tap {tap.name} has the MTU {found.mtu}; wanted: {tap.mtu}"
    return "" if found.up else f"tap {tap.name} is down"


def change(tap: Tap, reached: Reached = nothing, *, attached: bool) -> None:
    """Attach the tap of a running VM as the definition says; raises HostError.

    `attached`: it is one of another program, which was attached for this VM.
    """
    _check_bridge(tap)
    if not links.is_tap(tap.name):
        message = f"tap {tap.name}: it was deleted; the VM has lost its network card's connection"
        raise HostError(message, hint="restart the domain")
    if not _is_own(tap):
        if not attached:
            _check_free_tap(tap)
        _attempt(tap, lambda: _attach_and_put_up(tap, reached))
        return
    _attempt(tap, lambda: _configure(tap, reached))


def _check_bridge(tap: Tap) -> None:
    if tap.bridge is not None and not links.is_bridge(tap.bridge):
        message = f"tap {tap.name}: bridge {tap.bridge} does not exist on this host"
        raise HostError(message,
                        hint=f"create it (ip link add {tap.bridge} type bridge) or use another")


def _check_free_tap(tap: Tap) -> None:
    """Raise HostError unless a tap of another program is as the definition wants it."""
    before = links.bridge_of(tap.name)
    if before is not None and tap.bridge is not None and before != tap.bridge:
        message = (f"tap {tap.name}: it is a port of bridge {before}, and was not created by the "
                   f"reconciler; wanted: {tap.bridge}")
        raise HostError(message, reason="Conflict",
                        hint=f"detach it (ip link set {tap.name} nomaster), or choose another name "
                             "in <target dev='…'/>")
    if before is not None and tap.bridges and before not in tap.bridges:
        message = f"tap {tap.name}: it is a port of bridge {before}; accepted: " + (
            ", ".join(sorted(tap.bridges)) + " (admission.bridges)")
        raise HostError(message, reason="NotAllowed")
    found = links.look(tap.name)
    if tap.mtu is not None and found is not None and found.mtu != tap.mtu:
        message = (f"tap {tap.name}: its MTU is {found.mtu}, and it was not created by the "
                   f"reconciler; wanted: {tap.mtu}")
        raise HostError(message, reason="Conflict",
                        hint=f"ip link set {tap.name} mtu {tap.mtu}, or delete the tap")
    owner = _owner(tap.name)
    if owner:
        message = f"tap {tap.name}: it is that of the VM in {owner}"
        raise HostError(message, reason="Conflict",
                        hint="choose another name in <target dev='…'/>")


def _create(tap: Tap, reached: Reached) -> Taken:
    try:
        _attempt(tap, lambda: reached(Point.CREATE_TAP))
        _attempt(tap, lambda: _persist(tap.name, multi=tap.queues > 1, keep=True))
        with suppress(OSError):  # then only the VM's record says that it was created here
            (links.SYSTEM / tap.name / "ifalias").write_text(f"{_OWNER}{tap.owner}")
        _attempt(tap, lambda: _configure(tap, reached))
    except HostError:
        remove(tap.name)
        raise
    return Taken.CREATED


def _attempt(tap: Tap, action: Callable[[], None]) -> None:
    """Run it; raises HostError in place of OSError."""
    try:
        action()
    except OSError as error:
        _check_bridge(tap)  # it may be gone by now
        message = f"tap {tap.name}: {error.strerror}"
        raise HostError(message, hint="creating taps needs root; without it, set network: "
                                      "{manage_taps: false} and create them beforehand") from error


def _configure(tap: Tap, reached: Reached) -> None:
    """Apply MTU, bridge and VLANs; the bridge only if it differs."""
    if tap.mtu is not None:
        _set_mtu(tap.name, tap.mtu)
    _attach_and_put_up(tap, reached)


def _attach_and_put_up(tap: Tap, reached: Reached) -> None:
    if tap.bridge is not None:
        if links.bridge_of(tap.name) != tap.bridge:
            reached(Point.ATTACH_TAP)
            _attach(tap.name, tap.bridge)
        reached(Point.SET_UP_TAP)
        _set_vlans(tap.name, tap.bridge, tap.vlans)
    _put_up(tap.name)


def _owner(name: str) -> str:
    """The VM that a tap was created for, by its alias; empty if it was not created here."""
    with suppress(OSError):
        alias = (links.SYSTEM / name / "ifalias").read_text().strip()
        if alias.startswith(_OWNER.strip()):
            return alias.removeprefix(_OWNER.strip()).strip()
    return ""


def _is_own(tap: Tap) -> bool:
    return _owner(tap.name) == tap.owner.strip() != ""


def _is_open(name: str) -> bool:
    """Whether a process has the tap open: while it is up, it has a carrier just then."""
    found, multi = links.look(name), links.is_multi_queue(name)
    if found is not None and found.up:
        return links.has_carrier(name)
    try:
        os.close(_opened(name, multi=multi))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def owned_by(owner: str) -> dict[str, str]:
    """Taps created here whose owner starts with `owner`, and the rest of the owner's name."""
    found: dict[str, str] = {}
    for place in links.SYSTEM.iterdir():
        with suppress(OSError):
            alias = (place / "ifalias").read_text().strip()
            if alias.startswith(_OWNER + owner):
                found[place.name] = alias.removeprefix(_OWNER + owner)
    return found


def remove(name: str) -> None:
    """Remove a tap; no error if it does not exist."""
    if links.exists(name):
        for multi in (False, True):
            try:
                _persist(name, multi=multi, keep=False)
            except OSError:
                continue  # created with the other flag, or in use
            return


def detach(name: str) -> None:
    """Take a tap from its bridge; no error if it is a port of none. Raises OSError."""
    bridge = links.bridge_of(name)
    if bridge is not None:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as control:
            fcntl.ioctl(control, _SIOCBRDELIF, struct.pack(
                "16si20x", bridge.encode(), socket.if_nametoindex(name)))


def _opened(name: str, *, multi: bool) -> int:
    """A descriptor of the tap, which is created if it is missing; raises OSError."""
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | (_IFF_MULTI_QUEUE if multi else 0)
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    except OSError:
        os.close(handle)
        raise
    return handle


def _persist(name: str, *, multi: bool, keep: bool) -> None:
    handle = _opened(name, multi=multi)
    try:
        fcntl.ioctl(handle, _TUNSETPERSIST, int(keep))
    finally:
        os.close(handle)


def _attach(name: str, bridge: str) -> None:
    index, before = socket.if_nametoindex(name), links.bridge_of(name)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as control:
        if before is not None:
            fcntl.ioctl(control, _SIOCBRDELIF, struct.pack("16si20x", before.encode(), index))
        fcntl.ioctl(control, _SIOCBRADDIF, struct.pack("16si20x", bridge.encode(), index))


def _put_up(name: str) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as control:
        request = struct.pack("16sH22x", name.encode(), 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(control, _SIOCGIFFLAGS, request), 16)
        if not flags & _IFF_UP:
            fcntl.ioctl(control, _SIOCSIFFLAGS,
                        struct.pack("16sH22x", name.encode(), flags | _IFF_UP))


def _set_mtu(name: str, mtu: int) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as control:
        fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si20x", name.encode(), mtu))


def _set_vlans(name: str, bridge: str, vlans: Sequence[Vlan]) -> None:
    """Set the VLANs of the bridge port; without any, the default of the bridge applies."""
    filters = False
    with suppress(FileNotFoundError):  # a kernel without VLAN filtering
        filters = (links.SYSTEM / bridge / "bridge" / "vlan_filtering").read_text().strip() == "1"
    if not filters and not vlans:
        return
    if not filters:
        message = f"tap {name}: VLAN filtering is off on bridge {bridge}"
        raise HostError(message, hint=f"ip link set {bridge} type bridge vlan_filtering 1")
    if not vlans:
        return
    _bridge("vlan", "del", "dev", name, "vid", "1-4094")
    for vlan in vlans:
        more = ("pvid", "untagged") if vlan.untagged else ()
        _bridge("vlan", "add", "dev", name, "vid", str(vlan.tag), *more)


def _bridge(*arguments: str) -> None:
    try:
        subprocess.run(["bridge", *arguments], check=True, capture_output=True, text=True,  # noqa: S603, S607  # checked arguments, no shell; PATH is set by the administrator
                       timeout=_PATIENCE)
    except subprocess.SubprocessError as error:
        output = getattr(error, "stderr", None) or str(error)
        message = f"bridge {' '.join(arguments)}: {output.strip()}"
        raise HostError(message) from error
