"""The process of a VM: started with an inherited lock, known again by it, signalled safely.

The lock (rule 1) is an flock on an open file that the VM inherits: the kernel holds it for exactly
as long as the VM lives, whatever becomes of us. A process is ours if it holds that lock and its
command line has our socket; a pid alone is never trusted, since pids are used again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import LockTaken, StartFailed
from reconciler.stratovirt.command_line import MONITOR_SOCKET, QMP_SOCKET, qmp_argument

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK = "lock"
STDERR = "stderr"
HOLDER = Path(__file__).with_name("lock_holder.py")
TAKEN = "a process already holds this VM's lock"
FREE_PAUSE = 0.001  # seconds; a holder takes less to see the end of its VM
_BACKTRACE = "Stack backtrace:"
_ENDED_BY = re.compile(r"Received kill signal, signal number: (\d+)\s*$")
_TAIL = 64 << 10  # StratoVirt's reason for a failed start stands in the last few kB


@dataclass(frozen=True, slots=True)
class Process:
    """A living VM process; `started` is the kernel's start time in clock ticks since boot."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: an exit code, a signal, or neither where only its parent could know."""

    code: int | None = None
    signal: int | None = None


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None when there is no such process, or only a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def command_line(pid: int) -> list[str]:
    """The words of its command line, from the kernel; none when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsdecode(file.read()).split("\0")[:-1]
    except OSError:
        return []


def locked(home: Path) -> bool:
    """Whether some process holds the lock of this VM's directory."""
    try:
        handle = os.open(home / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def launch(program: Sequence[str], home: Path) -> Process:
    """Take the lock and start; raises StartFailed, also when somebody already holds the lock."""
    handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in (QMP_SOCKET, MONITOR_SOCKET):
            (home / name).unlink(missing_ok=True)
        with open(home / STDERR, "wb") as errors:
            child = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=errors,  # noqa: S603  # a list, never a shell
                                     stderr=errors, pass_fds=(handle,), start_new_session=True,
                                     cwd="/")
    except BlockingIOError:
        raise LockTaken(TAKEN) from None
    except OSError as error:
        message = f"{program[0]}: {error.strerror}"
        raise StartFailed(message) from error
    finally:
        os.close(handle)
    child.returncode = 0  # it is reaped through its pidfd, not by this object
    return Process(child.pid, start_time(child.pid) or 0)


def start_lock_holder(vm: Process, home: Path) -> Process:
    """Let a process of its own hold the lock for as long as this VM lives; raises LockTaken."""
    handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder = subprocess.Popen(  # noqa: S603  # a list, never a shell
            [sys.executable, "-I", "-S", str(HOLDER), str(vm.pid), str(vm.started)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            pass_fds=(handle,), start_new_session=True, cwd="/")
        assert holder.stdout is not None
        with holder.stdout as told:
            held = told.read() == b"held"
    except BlockingIOError:
        raise LockTaken(TAKEN) from None
    finally:
        os.close(handle)
    holder.returncode = 0  # it lives on without us; nobody waits for it here
    if not held:
        message = f"process {vm.pid} has ended"
        raise StartFailed(message)
    return Process(holder.pid, start_time(holder.pid) or 0)


def restore_lock_holder(pid: int | None, started: int | None, home: Path) -> Process | None:
    """An adopted VM that lives though somebody ended its holder: its lock is taken again."""
    if pid is None or started is None or start_time(pid) != started:
        return None
    vm = Process(pid, started)
    with suppress(StartFailed):
        start_lock_holder(vm, home)
    return vm


def find(home: Path, pid: int | None, started: int | None, *,
         foreign: bool = False) -> Process | None:
    """The process that is this VM: the recorded one if it still is, else by command line.

    A `foreign` one, which was adopted by hand, is known by its record alone.
    """
    wanted = qmp_argument(home)
    if pid is not None and start_time(pid) == started is not None:
        words = command_line(pid)
        # Just after its exec the kernel has no words of it yet.
        if foreign or not words or wanted in words:
            return Process(pid, started)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and wanted in command_line(int(entry)):
            found = start_time(int(entry))
            if found is not None:
                return Process(int(entry), found)
    return None


def find_unlocked(vms: Path) -> dict[str, Process]:
    """VMs below this directory, by name, that live though their lock file was deleted."""
    found: dict[str, Process] = {}
    for entry in os.listdir("/proc"):
        words = command_line(int(entry)) if entry.isdigit() else []
        home = home_of(words, vms)
        started = start_time(int(entry)) if home is not None else None
        if home is not None and started is not None and not locked(home):
            found[home.name] = Process(int(entry), started)
    return found


def home_of(words: list[str], vms: Path) -> Path | None:
    """The directory of the VM that has this command line, if it is one of these."""
    for flag, value in pairwise(words):
        if flag == "-qmp" and value.startswith(f"unix:{vms}/"):
            home = Path(value.removeprefix("unix:").partition(",")[0]).parent
            return home if home.parent == vms and value == qmp_argument(home) else None
    return None


async def wait_until_unlocked(home: Path, limit: float) -> None:
    """Wait for the end of a holder, which comes just after that of its VM."""
    with suppress(TimeoutError):
        async with asyncio.timeout(limit):
            while locked(home):  # noqa: ASYNC110  # nobody tells that an flock was let go
                await asyncio.sleep(FREE_PAUSE)


async def ended(process: Process) -> Ended:
    """Wait for the end, whether it is our child or not; the kernel wakes us by its pidfd."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return Ended()
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    try:
        if start_time(process.pid) not in (process.started, None):
            return Ended()  # the pid is somebody else's already
        loop.add_reader(handle, over.set)
        await over.wait()
        loop.remove_reader(handle)
        with suppress(ChildProcessError):  # not our child: how it ended, only its parent knows
            result = os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222  # WNOHANG
            if result is not None:
                if result.si_code == os.CLD_EXITED:
                    return Ended(code=result.si_status)
                return Ended(signal=result.si_status)
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return Ended()


def send_signal(process: Process, number: signal.Signals) -> None:
    """Signal exactly this process, never one that took its pid."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process.pid)
        try:
            if start_time(process.pid) == process.started:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def exit_reason(home: Path) -> str:
    """Why StratoVirt says that it ended: its `Caused by:` lines, else its last line."""
    lines = _last_lines(home)
    causes: list[str] = []
    for number, line in enumerate(lines):
        if line.strip() == "Caused by:":
            causes += _block(lines[number + 1:])
    if causes:
        return "; ".join(dict.fromkeys(causes))  # StratoVirt tells it more than once
    end = next((n for n, line in enumerate(lines) if line.startswith(_BACKTRACE)), len(lines))
    plain = [line.strip() for line in lines[:end] if line.strip()]
    return plain[-1] if plain else "it left no message"


def logged_signal(home: Path) -> int | None:
    """The signal that StratoVirt says it ended by, of those that it ends cleanly at."""
    found = [_ENDED_BY.match(line) for line in _last_lines(home)]
    return next((int(match[1]) for match in found if match), None)


def _last_lines(home: Path) -> list[str]:
    try:
        with open(home / STDERR, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def _block(lines: list[str]) -> list[str]:
    """The causes below a `Caused by:`, without numbers, up to the backtrace."""
    found: list[str] = []
    for line in lines:
        text = line.strip()
        if not text or text.startswith(_BACKTRACE):
            break
        number, _, rest = text.partition(": ")
        found.append(rest if number.isdigit() else text)
    return found
