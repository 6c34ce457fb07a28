"""Huge pages: where those of a size are mounted (hugetlbfs). Looked up at each start."""

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
_ESCAPED = re.compile(r"\\([0-7]{3})")  # how the kernel writes a space in a path


def mount_of(size: int, mounts: Path = _MOUNTS, memory: Path = _MEMORY) -> str:
    """The directory of pages of `size` bytes, 0 for the default size; raises HostError."""
    default = default_size(memory)
    wanted = size or default
    found = {page: place for place, page in _mounted(mounts, default)}
    if wanted not in found:
        there = ", ".join(show_bytes(page) for page in sorted(found)) or "none"
        message = (f"huge pages of {show_bytes(wanted)}: no hugetlbfs of this size is mounted "
                   f"(mounted: {there})")
        raise HostError(message, hint=f"mount -t hugetlbfs -o pagesize={wanted >> 10}K none "
                                      "/dev/hugepages")
    return found[wanted]


def check_room(size: int, memory: int, *, free: bool, pages: Path = _PAGES) -> None:
    """Raise HostError where there are not enough pages; StratoVirt would die without a word.

    `free`: those that nobody uses now; else all, since a VM that is to go has some of them.
    """
    wanted = size or default_size()
    place = pages / f"hugepages-{wanted >> 10}kB" / ("free_hugepages" if free else "nr_hugepages")
    with suppress(OSError, ValueError):
        there = int(place.read_text())
        if there * wanted < memory:
            message = (f"{memory // wanted} huge pages of {show_bytes(wanted)} are needed, "
                       f"{there} are {'free' if free else 'there'}")
            raise HostError(message, reason="NoRoom",
                            hint=f"echo N > {place.with_name('nr_hugepages')}")


def default_size(memory: Path = _MEMORY) -> int:
    """Bytes of a huge page where none is written; 2 MiB where the kernel has none at all."""
    found = _DEFAULT.search(memory.read_text())
    return int(found[1]) << 10 if found else 2 << 20


def page_of(path: str, mounts: Path = _MOUNTS, memory: Path = _MEMORY) -> int | None:
    """Bytes of the pages of the hugetlbfs that a path is in; None where it is in none."""
    found = [(place, page) for place, page in _mounted(mounts, default_size(memory))
             if path == place or path.startswith(f"{place}/")]
    return max(found, key=lambda mount: len(mount[0]))[1] if found else None


def _mounted(mounts: Path, default: int) -> list[tuple[str, int]]:
    """Every hugetlbfs and its page size; the first of a size comes last, so that it wins."""
    found: list[tuple[str, int]] = []
    for line in mounts.read_text().splitlines():
        _, place, kind, options, *_ = line.split(" ")
        if kind == "hugetlbfs":
            size = _SIZE.search(options)
            page = int(size[1]) * unit_bytes(size[2]) if size else default
            found.append((_ESCAPED.sub(lambda m: chr(int(m[1], 8)), place), page))
    return found[::-1]
