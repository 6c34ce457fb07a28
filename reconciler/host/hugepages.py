"""Huge pages: the hugetlbfs mount for a page size, and the number of free pages."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from reconciler.errors import HostError
from reconciler.units import show_bytes, unit_bytes

_MOUNTS, _MEMORY = Path("/proc/self/mounts"), Path("/proc/meminfo")
_PAGES = Path("/sys/kernel/mm/hugepages")
_DEFAULT = re.compile(r"^Hugepagesize:\s+(\d+) kB", re.MULTILINE)
_SIZE = re.compile(r"pagesize=(\d+)([KMG])")
_ESCAPED = re.compile(r"\\([0-7]{3})")  # /proc/mounts escapes spaces in paths


def mount_of(size: int, mounts: Path = _MOUNTS, memory: Path = _MEMORY) -> str:
    """The hugetlbfs mount for pages of `size` bytes (0: the default size); raises HostError."""
    default = default_size(memory)
    wanted = size or default
    found = {page: place for place, page in _mounted(mounts, default)}
    if wanted not in found:
        there = ", ".join(show_bytes(page) for page in sorted(found)) or "none"
        message = (f"huge pages of {show_bytes(wanted)}: no hugetlbfs with this page size is "
                   f"mounted (mounted: {there})")
        raise HostError(message, hint=f"mount -t hugetlbfs -o pagesize={wanted >> 10}K none "
                                      "/dev/hugepages")
    return found[wanted]


def check_room(size: int, memory: int, *, free: bool, pages: Path = _PAGES) -> None:
    """Raise HostError without enough pages; StratoVirt would be killed without an error message.

    `size` and `memory` in bytes. `free`: count free pages only; else all, as before a recreate,
    which frees some.
    """
    wanted = size or default_size()
    place = pages / f"hugepages-{wanted >> 10}kB" / ("free_hugepages" if free else "nr_hugepages")
    with suppress(OSError, ValueError):
        there = int(place.read_text())
        if there * wanted < memory:
            message = (f"{memory // wanted} huge pages of {show_bytes(wanted)} are required, "
                       f"{there} {'are free' if free else 'exist'}")
            raise HostError(message, reason="NoRoom",
                            hint=f"echo N > {place.with_name('nr_hugepages')}")


def default_size(memory: Path = _MEMORY) -> int:
    """The kernel's default huge page size in bytes; 2 MiB if it has none."""
    found = _DEFAULT.search(memory.read_text())
    return int(found[1]) << 10 if found else 2 << 20


def page_of(path: str, mounts: Path = _MOUNTS, memory: Path = _MEMORY) -> int | None:
    """The page size in bytes of the hugetlbfs that contains a path; None if it is in none."""
    found = [(place, page) for place, page in _mounted(mounts, default_size(memory))
             if path == place or path.startswith(f"{place}/")]
    return max(found, key=lambda mount: len(mount[0]))[1] if found else None


def _mounted(mounts: Path, default: int) -> list[tuple[str, int]]:
    """Each hugetlbfs with its page size, in reverse: in a dict by size, the first one wins."""
    found: list[tuple[str, int]] = []
    for line in mounts.read_text().splitlines():
        _, place, kind, options, *_ = line.split(" ")
        if kind == "hugetlbfs":
            size = _SIZE.search(options)
            page = int(size[1]) * unit_bytes(size[2]) if size else default
            found.append((_ESCAPED.sub(lambda m: chr(int(m[1], 8)), place), page))
    return found[::-1]
