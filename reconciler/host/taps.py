"""Taps: made, attached to their bridge and put up before a start; taken away after it if ours.

StratoVirt makes a missing tap itself, but attaches it to nothing; libvirt ignores the bridge of an
interface of type ethernet. A tap that was there before us is used as it is and never removed.
Plain ioctls: a start must not wait for a program (linux/if_tun.h, linux/sockios.h).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from contextlib import closing
from pathlib import Path

from reconciler.errors import HostError

_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCBRADDIF = 0x8913, 0x8914, 0x89A2
_IFF_UP = 1
_SYSTEM = Path("/sys/class/net")


def exists(name: str) -> bool:
    """Whether the host has an interface of this name."""
    return (_SYSTEM / name).exists()


def master(name: str) -> str | None:
    """The bridge that an interface is attached to."""
    link = _SYSTEM / name / "master"
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None


def make(name: str, bridge: str | None, *, queues: int) -> bool:
    """Make the tap if it is missing, attach it and put it up; whether it was made here."""
    if bridge is not None and not (_SYSTEM / bridge / "bridge").is_dir():
        message = f"bridge {bridge} of tap {name}: this host has no such bridge"
        raise HostError(message,
                        hint=f"make it (ip link add {bridge} type bridge), or name another")
    made = not exists(name)
    if not made and bridge is None:
        return False  # somebody else's, and all that it needs is theirs to say
    try:
        if made:
            _persist(name, multi=queues > 1, keep=True)
        if bridge is not None and master(name) != bridge:
            _attach(name, bridge)
        _put_up(name)
    except OSError as error:
        if made:
            remove(name)
        message = f"tap {name}: {error.strerror}"
        raise HostError(message, hint="taps need root, or network: {manage_taps: false} and taps "
                                      "that somebody else made") from error
    return made


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
    index = socket.if_nametoindex(name)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as control:
        fcntl.ioctl(control, _SIOCBRADDIF, struct.pack("16si20x", bridge.encode(), index))


def _put_up(name: str) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as control:
        request = struct.pack("16sH22x", name.encode(), 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(control, _SIOCGIFFLAGS, request), 16)
        if not flags & _IFF_UP:
            fcntl.ioctl(control, _SIOCSIFFLAGS,
                        struct.pack("16sH22x", name.encode(), flags | _IFF_UP))
