"""Lists StratoVirt processes on this host that are not managed here; they are never touched."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from reconciler.host.start_time import start_time
from reconciler.stratovirt import binary, process, record
from reconciler.stratovirt.recognition import (
    executable_of,
    home_of,
    lock_holders,
    pids,
    reconciler_of,
    user_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from reconciler.stratovirt.recognition import Programs


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


@dataclass(frozen=True, slots=True)
class Search:
    """Where the VMs of this reconciler are, and which programs count as StratoVirt."""

    vms: Path
    names: Sequence[str]
    programs: Programs

    def run(self, ours: Collection[int]) -> tuple[UnmanagedProcess, ...]:
        """All of them by pid, without the pids in `ours`. Reads /proc (blocking)."""
        known = {*ours, *_recorded(self.vms)}
        holders = lock_holders()
        found: list[UnmanagedProcess] = []
        for pid in pids():
            argv = process.command_line(pid) if pid not in known else []
            arguments = binary.arguments_of(argv, self.names) if argv else None
            if home_of(argv, self.vms) is not None or (
                    arguments is not None and _is_vm(arguments)):
                found.append(UnmanagedProcess(pid, _name(argv), self._reason(pid, argv, holders)))
        return tuple(found)

    def _reason(self, pid: int, argv: list[str], holders: dict[int, int]) -> str:
        home = home_of(argv, self.vms)
        user = user_of(pid)
        if home is not None and user != os.geteuid():
            return f"it names the VM socket of '{home.name}', but is a process of {user_name(user)}"
        if home is not None and not self.programs.runs_in(pid, argv):
            return f"it names the VM socket of '{home.name}', but executes {executable_of(pid)}"
        if home is not None:
            return "it uses a VM socket of this reconciler but does not hold the lock"
        owner = reconciler_of(pid, argv, holders)
        if owner is not None:
            return f"it belongs to the reconciler of {owner}"
        if user != os.geteuid():
            return f"not ours: a process of {user_name(user)}"
        if not self.programs.configured(pid, argv):
            return f"not ours: it executes {executable_of(pid)}, which is not in hypervisor.allowed"
        return "not ours: no lock, no record; `reconciler adopt PID` makes it a domain"


def user_name(uid: int | None) -> str:
    """A user for a message."""
    if uid is None:
        return "an unknown user"
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _recorded(vms: Path) -> set[int]:
    """The processes that a record beside a lock names: ours, though not looked at yet."""
    kept = (record.load(home) for home in (vms.iterdir() if vms.is_dir() else ()))
    return {one.pid for one in kept if one is not None and one.pid is not None
            and start_time(one.pid) == one.started}


def _is_vm(arguments: list[str]) -> bool:
    """Whether it runs a VM, unlike a trial start or -version."""
    return "-machine" in arguments and ("-qmp" in arguments or "-mon" in arguments)


def _name(arguments: list[str]) -> str:
    given = next((value for flag, value in pairwise(arguments) if flag == "-name"), "")
    return given.removeprefix("guest=").partition(",")[0]
