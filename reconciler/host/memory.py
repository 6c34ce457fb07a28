"""The memory of the host."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def total(meminfo: Path = MEMINFO) -> int | None:
    """Total memory in bytes, from /proc/meminfo; None if it cannot be read."""
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "MemTotal":
                return int(value.split()[0]) << 10
    except (OSError, ValueError, IndexError):
        return None
    return None
