"""Network interfaces of the host, as the kernel shows them in /sys/class/net. Only reads.

sysfs is memory of the kernel: reading it does not wait for a disk or another host.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

SYSTEM = Path("/sys/class/net")
_IFF_UP = 1
_IFF_TAP = 0x0002
_IFF_MULTI_QUEUE = 0x0100


@dataclass(frozen=True, slots=True)
class Link:
    """One network interface. `bridge`: the one that it is a port of, if any."""

    bridge: str | None
    up: bool
    mtu: int


def exists(name: str) -> bool:
    """Whether the host has a network interface of this name."""
    return (SYSTEM / name).exists()


def is_bridge(name: str) -> bool:
    """Whether it is a Linux bridge."""
    return (SYSTEM / name / "bridge").is_dir()


def is_tap(name: str) -> bool:
    """Whether it is a tap; not a physical card, a bridge, a tun, or anything else."""
    flags = _tun_flags(name)
    return flags is not None and bool(flags & _IFF_TAP)


def is_multi_queue(name: str) -> bool:
    """Whether it is a tap that was made for several queues."""
    return bool((_tun_flags(name) or 0) & _IFF_MULTI_QUEUE)


def has_carrier(name: str) -> bool:
    """Whether the interface is up, and a process has it open if it is a tap."""
    return _text(name, "carrier") == "1"


def bridge_of(name: str) -> str | None:
    """The bridge that an interface is attached to; None if to none."""
    link = SYSTEM / name / "master"
    with suppress(OSError):
        return os.path.basename(os.readlink(link))
    return None


def look(name: str) -> Link | None:
    """What the interface has now; None if there is none of this name."""
    flags, mtu = _text(name, "flags"), _text(name, "mtu")
    if not flags or not mtu:
        return None
    return Link(bridge_of(name), bool(int(flags, 16) & _IFF_UP), int(mtu))


def _tun_flags(name: str) -> int | None:
    text = _text(name, "tun_flags")
    return int(text, 16) if text else None


def _text(name: str, attribute: str) -> str:
    """A sysfs attribute; empty where the interface is gone, or is down and has no value."""
    with suppress(OSError):
        return (SYSTEM / name / attribute).read_text().strip()
    return ""
