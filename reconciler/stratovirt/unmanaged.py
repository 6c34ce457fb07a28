"""StratoVirt processes on this host that are not ours: listed, and never touched (rule 5)."""

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
    """One of them, and why it is not ours."""

    pid: int
    name: str  # as its command line says; empty where it says none
    reason: str

    @property
    def value(self) -> dict[str, object]:
        """As the status has it."""
        return {"pid": self.pid, "name": self.name, "reason": self.reason}


def find_unmanaged(vms: Path, programs: Sequence[str],
                   ours: Collection[int]) -> tuple[UnmanagedProcess, ...]:
    """Every one that is none of `ours`, by pid; reads /proc, which takes a moment."""
    found: list[UnmanagedProcess] = []
    for entry in sorted(filter(str.isdigit, os.listdir("/proc")), key=int):
        pid = int(entry)
        every = process.command_line(pid) if pid not in ours else []
        words = binary.arguments_of(every, programs) if every else None
        if words is not None and _is_vm(words):
            found.append(UnmanagedProcess(pid, _name(words), _reason(words, vms)))
    return tuple(found)


def _is_vm(words: list[str]) -> bool:
    """A trial start or a question for the version is none."""
    return "-machine" in words and ("-qmp" in words or "-mon" in words)


def _name(words: list[str]) -> str:
    given = next((value for flag, value in pairwise(words) if flag == "-name"), "")
    return given.removeprefix("guest=").partition(",")[0]


def _reason(words: list[str], vms: Path) -> str:
    if process.home_of(words, vms) is not None:
        return "it has a socket of ours and not our lock: it was not started here"
    return "not ours: no lock, no record; `reconciler adopt PID` makes it a domain"
