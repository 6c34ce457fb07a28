"""VMs of the whole host by uuid: a domain is not started while a VM of its uuid runs elsewhere.

The lock in a VM's directory keeps two starts in one runtime directory apart. This finds the VMs of
other directories: of a reconciler with another `paths.runtime`, or of one whose directory was
deleted. Two reconcilers may have domains of one name, and so of one uuid that was derived from it:
the same VM is what has the same uuid and a common disk. Only processes of this user count: a
command line alone, which any user may forge, keeps no VM from being started.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

FRESH = 0.5  # seconds that a look counts for other starts: the starts of a wave share one


class Twins:
    """The processes of this user that were started with `-uuid`, looked at in /proc (blocking)."""

    def __init__(self) -> None:
        self._found: dict[str, list[int]] = {}
        self._at = float("-inf")
        self._one_look = threading.Lock()

    def pid_of(self, uuid: str, files: Collection[str]) -> int | None:
        """The process of a VM with this uuid and one of these disks (any, if there are none)."""
        return next((pid for pid in self._pids(uuid) if _is_twin(pid, uuid, files)), None)

    def home_of(self, uuid: str, vms: Path) -> Path | None:
        """The directory below `vms` that a VM with this uuid runs in."""
        homes = (Path(socket_of(pid)) for pid in self._pids(uuid))
        return next((home for home in homes if home.parent == vms), None)

    def _pids(self, uuid: str) -> list[int]:
        with self._one_look:
            if time.monotonic() - self._at > FRESH:
                self._found, self._at = _look(), time.monotonic()
            return self._found.get(uuid, [])


def socket_of(pid: int) -> str:
    """The directory of the VM's QMP socket, by its command line; empty if it names none."""
    words = _words(pid)
    for flag, value in pairwise(words):
        if flag == "-qmp":
            return os.path.dirname(value.removeprefix("unix:").partition(",")[0])
    return ""


def _is_twin(pid: int, uuid: str, files: Collection[str]) -> bool:
    if _uuid_of(pid) != uuid:
        return False
    options = {option for word in _words(pid) for option in word.split(",")}
    return not files or any(f"file={file}" in options for file in files)


def _look() -> dict[str, list[int]]:
    user = os.geteuid()
    found: dict[str, list[int]] = {}
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                uuid = _uuid_of(int(entry.name))
                with suppress(OSError):
                    if uuid and entry.stat().st_uid == user:
                        found.setdefault(uuid, []).append(int(entry.name))
    return found


def _uuid_of(pid: int) -> str:
    words = _words(pid)
    if "-uuid" not in words[:-1] or not {"-qmp", "-mon"} & set(words):
        return ""
    return words[words.index("-uuid") + 1].lower()


def _words(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            data = file.read(1 << 16)
    except OSError:
        return []
    return os.fsdecode(data).split("\0") if b"-uuid" in data else []
