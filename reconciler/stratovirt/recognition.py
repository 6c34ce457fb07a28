"""Which processes run VMs of this reconciler: by what the kernel says of them.

The lock in a VM's directory says that a VM runs; this finds its process. A pid alone is never
trusted, since the kernel reuses pids, and neither is a command line, which any user of the host may
copy: a process is a VM of ours if it is the recorded one, by its start time, or if it names our
socket, belongs to our user and runs one of the programs that VMs are started with.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.host.start_time import start_time
from reconciler.stratovirt import record
from reconciler.stratovirt.binary import is_simulator
from reconciler.stratovirt.command_line import qmp_argument
from reconciler.stratovirt.process import LOCK, LOCK_HOLDER, Process, command_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.stratovirt.record import Record

_DELETED = " (deleted)"  # what the kernel appends to the path of a file that was replaced
_HOLDER_ARGUMENTS = 3  # of a lock holder: its script, the VM's pid and start time


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs that VMs are started with. `wrapped`: one is a script, which runs another."""

    executables: frozenset[str] = frozenset()
    wrapped: bool = False

    @staticmethod
    def of(names: Iterable[str]) -> Programs:
        """From their configured paths."""
        paths = [os.path.realpath(name) for name in names]
        return Programs(frozenset(paths), any(map(_is_script, paths)))

    def configured(self, pid: int, argv: list[str]) -> bool:
        """Whether a process runs exactly one of them, as far as the kernel shows it."""
        executable = executable_of(pid)
        if is_simulator(argv):
            return os.path.basename(executable).startswith("python")
        return executable in self.executables

    def runs_in(self, pid: int, argv: list[str], recorded: str = "") -> bool:
        """Whether a process of our user runs one of them; `recorded`: what this VM ran before.

        Where the kernel does not show its executable (it has capabilities that we have not), the
        user has to suffice.
        """
        if user_of(pid) != os.geteuid():
            return False
        executable = executable_of(pid)
        if not executable or executable == recorded:
            return True
        name = os.path.basename(executable)
        if is_simulator(argv):
            return name.startswith("python")
        return executable in self.executables or "stratovirt" in name or self.wrapped


@dataclass(frozen=True, slots=True)
class RunningVm:
    """A VM process that names a socket of ours. `uuid` is that of its command line."""

    home: Path
    uuid: str
    process: Process


def find(home: Path, kept: Record | None, programs: Programs) -> Process | None:
    """The process of this VM: the recorded one if it still lives, else found by command line."""
    wanted = qmp_argument(home)
    recorded = _recorded(kept)
    if recorded is not None and kept is not None:
        argv = command_line(recorded.pid)
        # Just after an exec, the kernel reports an empty command line. That of an adopted process
        # does not name our socket.
        ours = kept.uid is None or user_of(recorded.pid) in (os.geteuid(), kept.uid)
        if (kept.foreign and ours) or not argv or wanted in argv:
            return recorded
    for pid in pids():
        argv = command_line(pid)
        if wanted in argv and programs.runs_in(pid, argv, kept.executable if kept else ""):
            started = start_time(pid)
            if started is not None:
                return Process(pid, started)
    return None


def _recorded(kept: Record | None) -> Process | None:
    if kept is None or kept.pid is None or kept.started is None or (
            kept.boot_id not in ("", record.boot_id())) or start_time(kept.pid) != kept.started:
        return None
    return Process(kept.pid, kept.started)


def running_below(vms: Path, programs: Programs) -> list[RunningVm]:
    """The VM processes that were started in this directory, whatever became of it since."""
    found: list[RunningVm] = []
    for pid in pids():
        argv = command_line(pid)
        home = home_of(argv, vms)
        if home is None or not programs.runs_in(pid, argv, _recorded_program(home)):
            continue
        started = start_time(pid)
        if started is not None:
            found.append(RunningVm(home, uuid_of(argv), Process(pid, started)))
    return found


def _recorded_program(home: Path) -> str:
    kept = record.load(home)
    return kept.executable if kept is not None else ""


def home_of(argv: list[str], vms: Path) -> Path | None:
    """The VM directory below `vms` that this command line names; None if it names none."""
    for flag, value in pairwise(argv):
        if flag == "-qmp" and value.startswith(f"unix:{vms}/"):
            home = Path(value.removeprefix("unix:").partition(",")[0]).parent
            return home if home.parent == vms and value == qmp_argument(home) else None
    return None


def uuid_of(argv: list[str]) -> str:
    """The uuid on a command line of StratoVirt; empty if it names none."""
    return next((value.lower() for flag, value in pairwise(argv) if flag == "-uuid"), "")


def socket_directory(argv: list[str]) -> Path | None:
    """Where the QMP socket of this command line lies."""
    for flag, value in pairwise(argv):
        if flag == "-qmp":
            return Path(value.removeprefix("unix:").partition(",")[0]).parent
    return None


def reconciler_of(pid: int, argv: list[str], holders: dict[int, int]) -> Path | None:
    """The runtime directory of the reconciler that this process is a VM of, if it is one's.

    It has inherited a lock there, or a lock holder has it for the process, or a record names it.
    """
    for owner in (pid, *([holders[pid]] if pid in holders else [])):
        for path in _open_files(owner):
            if path.name == LOCK and path.parent.parent.name == "vms":
                return path.parent.parent.parent
    home = socket_directory(argv)
    kept = record.load(home) if home is not None else None
    if home is not None and kept is not None and kept.pid == pid and _recorded(kept) is not None:
        return home.parent.parent
    return None


def lock_holders() -> dict[int, int]:
    """The processes that hold the lock of an adopted VM, by the VM's pid."""
    found: dict[int, int] = {}
    for pid in pids():
        last = command_line(pid)[-_HOLDER_ARGUMENTS:]
        if len(last) == _HOLDER_ARGUMENTS and os.path.basename(last[0]) == LOCK_HOLDER.name and (
                last[1].isdigit()):
            found[int(last[1])] = pid
    return found


def _open_files(pid: int) -> Iterator[Path]:
    """Where the open files of a process lie, or lay; none if this user may not see that."""
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                yield Path(os.readlink(f"/proc/{pid}/fd/{number}").removesuffix(_DELETED))


def pids() -> list[int]:
    """Every process of the host, in the order of pids."""
    return sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def user_of(pid: int) -> int | None:
    """The effective user id of a process; None if it has ended."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"Uid:"):
                    return int(line.split()[2])
    except OSError:
        pass
    return None


def executable_of(pid: int) -> str:
    """The file that a process executes; empty if it has ended, or this user may not see it."""
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(_DELETED)
    except OSError:
        return ""


def _is_script(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False
