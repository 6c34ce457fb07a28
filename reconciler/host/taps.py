"""Taps: made, attached to their bridge and put up before a start; taken away after it if ours.

StratoVirt makes a missing tap itself, but attaches it to nothing; libvirt ignores the bridge of an
interface of type ethernet. A tap that was there before us is used as it is and never removed.
Ours bear the name of their owner, so that one whose VM is gone is found whatever was lost since.
Plain ioctls: a start must not wait for a program (linux/if_tun.h, linux/sockios.h); only VLANs take
one, iproute2's `bridge`.
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
_OWNER = "stratovirt-reconciler "  # what the alias of a tap of ours begins with
_PATIENCE = 5.0  # seconds for iproute2
_IFF_UP = 1
_SYSTEM = Path("/sys/class/net")


def exists(name: str) -> bool:
    """Whether the host has an interface of this name."""
    return (_SYSTEM / name).exists()


def bridge_of(name: str) -> str | None:
    """The bridge that an interface is attached to."""
    link = _SYSTEM / name / "master"
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None


def make(name: str, bridge: str | None, *, queues: int = 1, mtu: int | None = None,
         vlans: Sequence[Vlan] = (), owner: str = "") -> bool:
    """Make the tap if it is missing, attach it and put it up; whether it was made here."""
    if bridge is not None and not (_SYSTEM / bridge / "bridge").is_dir():
        message = f"bridge {bridge} of tap {name}: this host has no such bridge"
        raise HostError(message,
                        hint=f"make it (ip link add {bridge} type bridge), or name another")
    made = not exists(name)
    if not made and bridge is None and mtu is None:
        return False  # somebody else's, and all that it needs is theirs to say
    try:
        if made:
            _persist(name, multi=queues > 1, keep=True)
            with suppress(OSError):  # then only the VM's record knows that it is ours
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
        raise HostError(message, hint="taps need root, or network: {manage_taps: false} and taps "
                                      "that somebody else made") from error
    return made


def _configure(name: str, bridge: str | None, mtu: int | None, vlans: Sequence[Vlan]) -> None:
    """Give a tap all that it is to have; what it has already is not touched."""
    if mtu is not None:
        _set_mtu(name, mtu)
    if bridge is not None and bridge_of(name) != bridge:
        _attach(name, bridge)
    if bridge is not None:
        _set_vlans(name, bridge, vlans)
    _put_up(name)


def owned_by(owner: str) -> dict[str, str]:
    """Every tap whose owner begins with this, and the rest of its owner's name."""
    found: dict[str, str] = {}
    for place in _SYSTEM.iterdir():
        with suppress(OSError):
            alias = (place / "ifalias").read_text().strip()
            if alias.startswith(_OWNER + owner):
                found[place.name] = alias.removeprefix(_OWNER + owner)
    return found


def remove(name: str) -> None:
    """Take a tap of ours away; no error when it has gone already."""
    if exists(name):
        for multi in (False, True):
            try:
                _persist(name, multi=multi, keep=False)
            except OSError:
                continue  # made the other way, or somebody holds it: the kernel says which
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
    """Give the tap's port exactly these; without any, the bridge's own default stays."""
    filters = False
    with suppress(FileNotFoundError):  # a kernel that is built without it
        filters = (_SYSTEM / bridge / "bridge" / "vlan_filtering").read_text().strip() == "1"
    if not filters and not vlans:
        return
    if not filters:
        message = f"tap {name}: bridge {bridge} does not filter VLANs"
        raise HostError(message, hint=f"ip link set {bridge} type bridge vlan_filtering 1")
    if not vlans:
        return
    _bridge("vlan", "del", "dev", name, "vid", "1-4094")
    for vlan in vlans:
        more = ("pvid", "untagged") if vlan.untagged else ()
        _bridge("vlan", "add", "dev", name, "vid", str(vlan.tag), *more)


def _bridge(*words: str) -> None:
    try:
        subprocess.run(["bridge", *words], check=True, capture_output=True, text=True,  # noqa: S603, S607  # a list of checked words; PATH is the operator's
                       timeout=_PATIENCE)
    except subprocess.SubprocessError as error:
        told = getattr(error, "stderr", None) or str(error)
        message = f"bridge {' '.join(words)}: {told.strip()}"
        raise HostError(message) from error
