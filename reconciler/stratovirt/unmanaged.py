"""Lists StratoVirt processes on this host that are not managed here; they are never touched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from reconciler.stratovirt import binary, process

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class UnmanagedProcess:
    """One of them. `reason`: why it is not managed."""

    pid: int
    name: str  # from its command line; empty if that has none
    reason: str

    @property
    def value(self) -> dict[str, object]:
        """Its entry in status.json."""
        return {"pid": self.pid, "name": self.name, "reason": self.reason}


def find_unmanaged(vms: Path, programs: Sequence[str],
                   ours: Collection[int]) -> tuple[UnmanagedProcess, ...]:
    """All of them by pid, without the pids in `ours`. Reads /proc (blocking)."""
    found: list[UnmanagedProcess] = []
    for entry in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        pid = int(entry)
        argv = process.command_line(pid) if pid not in ours else []
        arguments = binary.arguments_of(argv, programs) if argv else None
        if arguments is not None and _is_vm(arguments):
            found.append(UnmanagedProcess(pid, _name(arguments), _reason(arguments, vms)))
    return tuple(found)


def _is_vm(arguments: list[str]) -> bool:
    """Whether it runs a VM, unlike a trial start or -version."""
    return "-machine" in arguments and ("-qmp" in arguments or "-mon" in arguments)


def _name(arguments: list[str]) -> str:
    given = next((value for flag, value in pairwise(arguments) if flag == "-name"), "")
    return given.removeprefix("guest=").partition(",")[0]


def _reason(arguments: list[str], vms: Path) -> str:
    if process.home_of(arguments, vms) is not None:
        return "it uses a VM socket of this reconciler but does not hold the lock"
    return "not ours: no lock, no record; `reconciler adopt PID` makes it a domain"
