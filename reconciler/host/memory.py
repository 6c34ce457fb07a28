"""How much memory the host has."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def total(meminfo: Path = MEMINFO) -> int | None:
    """Bytes of all memory, as the kernel says; None where it does not."""
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "MemTotal":
                return int(value.split()[0]) << 10
    except (OSError, ValueError, IndexError):
        return None
    return None
