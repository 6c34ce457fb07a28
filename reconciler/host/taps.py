"""Tap devices: created, attached to a bridge and set up before a start, removed after the end.

StratoVirt creates a missing tap itself, but attaches it to no bridge; libvirt ignores the bridge of
an interface of type ethernet. A tap that existed before is never removed. The alias of a tap that
was created here names its VM, so that it can be removed even if the VM's record was lost.
Uses ioctls (linux/if_tun.h, linux/sockios.h), so that a start does not wait for another program;
only VLANs need one, iproute2's `bridge`.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.domain.devices.interface import Vlan

_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCBRADDIF, _SIOCBRDELIF = 0x8913, 0x8914, 0x89A2, 0x89A3
_SIOCSIFMTU = 0x8922
_OWNER = "stratovirt-reconciler "  # prefix of the alias of a tap that was created here
_PATIENCE = 5.0  # seconds for iproute2
_IFF_UP = 1
_SYSTEM = Path("/sys/class/net")


def exists(name: str) -> bool:
    """Whether the host has a network interface of this name."""
    return (_SYSTEM / name).exists()


def bridge_of(name: str) -> str | None:
    """The bridge that an interface is attached to; None if to none."""
    link = _SYSTEM / name / "master"
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None


def make(name: str, bridge: str | None, *, queues: int = 1, mtu: int | None = None,
         vlans: Sequence[Vlan] = (), owner: str = "") -> bool:
    """Create the tap if it is missing, attach it, set it up; whether it was created.

    Raises HostError, and then removes a tap that it created.
    """
    if bridge is not None and not (_SYSTEM / bridge / "bridge").is_dir():
        message = f"tap {name}: bridge {bridge} does not exist on this host"
        raise HostError(message,
                        hint=f"create it (ip link add {bridge} type bridge) or use another")
    made = not exists(name)
    if not made and bridge is None and mtu is None:
        return False  # created and configured by another tool
    try:
        if made:
            _persist(name, multi=queues > 1, keep=True)
            with suppress(OSError):  # then only the VM's record says that it was created here
                (_SYSTEM / name / "ifalias").write_text(f"{_OWNER}{owner}")
        _configure(name, bridge, mtu, vlans)
    except HostError:
        if made:
            remove(name)
        raise
    except OSError as error:
        if made:
            remove(name)
        message = f"tap {name}: {error.strerror}"
        raise HostError(message, hint="creating taps needs root; without it, set network: "
                                      "{manage_taps: false} and create them beforehand") from error
    return made


def _configure(name: str, bridge: str | None, mtu: int | None, vlans: Sequence[Vlan]) -> None:
    """Apply MTU, bridge and VLANs; the bridge only if it differs."""
    if mtu is not None:
        _set_mtu(name, mtu)
    if bridge is not None and bridge_of(name) != bridge:
        _attach(name, bridge)
    if bridge is not None:
        _set_vlans(name, bridge, vlans)
    _put_up(name)


def owned_by(owner: str) -> dict[str, str]:
    """Taps created here whose owner starts with `owner`, and the rest of the owner's name."""
    found: dict[str, str] = {}
    for place in _SYSTEM.iterdir():
        with suppress(OSError):
            alias = (place / "ifalias").read_text().strip()
            if alias.startswith(_OWNER + owner):
                found[place.name] = alias.removeprefix(_OWNER + owner)
    return found


def remove(name: str) -> None:
    """Remove a tap; no error if it does not exist."""
    if exists(name):
        for multi in (False, True):
            try:
                _persist(name, multi=multi, keep=False)
            except OSError:
                continue  # created with the other flag, or in use
            return


def _persist(name: str, *, multi: bool, keep: bool) -> None:
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | (_IFF_MULTI_QUEUE if multi else 0)
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        fcntl.ioctl(handle, _TUNSETPERSIST, int(keep))
    finally:
        os.close(handle)


def _attach(name: str, bridge: str) -> None:
    index, before = socket.if_nametoindex(name), bridge_of(name)
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
        filters = (_SYSTEM / bridge / "bridge" / "vlan_filtering").read_text().strip() == "1"
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
