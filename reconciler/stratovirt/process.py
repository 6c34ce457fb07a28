"""The process of a VM: started with an inherited lock, signalled by pidfd, waited for.

The lock is an flock on an open file description that the VM inherits: the kernel holds it for
exactly as long as the VM lives, even if the reconciler is killed. recognition.py finds the process
of a VM again.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.backoff import Backoff
from reconciler.errors import LockTaken, StartFailed
from reconciler.failpoints import Point, nothing
from reconciler.host.start_time import start_time
from reconciler.stratovirt.command_line import MONITOR_SOCKET, QMP_SOCKET
from reconciler.stratovirt.stderr_log import STDERR, open_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.failpoints import Reached

LOCK = "lock"
LOCK_HOLDER = Path(__file__).with_name("lock_holder.py")
UNLOCK_POLL = 0.001  # seconds; a lock holder exits within less than that after its VM
# Seconds between attempts to open a pidfd while the process has no free file descriptor.
_DESCRIPTORS = Backoff(0.05, 1.0)
_BACKTRACE = "Stack backtrace:"
_LOGGED_SIGNAL = re.compile(r"Received kill signal, signal number: (\d+)\s*$")
_TAIL = 64 << 10  # bytes; the reason of a failed start is in the last few kB


@dataclass(frozen=True, slots=True)
class Process:
    """A living VM process; `started` is the kernel's start time in clock ticks since boot."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: an exit code, a signal, or neither if it was not our child."""

    code: int | None = None
    signal: int | None = None


def command_line(pid: int) -> list[str]:
    """The arguments of a process, from the kernel; empty if it has ended."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsdecode(file.read()).split("\0")[:-1]
    except OSError:
        return []


def locked(home: Path) -> bool:
    """Whether any process holds the lock of this VM."""
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


def lock_taken(home: Path) -> LockTaken:
    """The error for a lock that another process holds, with its pid if it can be found."""
    pid = _lock_owner(home)
    known = f" (pid {pid})" if pid is not None else ""
    return LockTaken(f"another process holds the lock of this VM{known}", pid=pid)


def _lock_owner(home: Path) -> int | None:
    """The lowest pid that has the lock file open and locked; other users' need root to be seen."""
    path = os.path.realpath(home / LOCK)
    for pid in sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        with suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{number}") == path and "FLOCK" in Path(
                        f"/proc/{pid}/fdinfo/{number}").read_text(encoding="ascii"):
                    return pid
    return None


def launch(program: Sequence[str], home: Path, reached: Reached = nothing,
           log: Path | None = None) -> Process:
    """Take the lock and start the program with it. `log`: the directory of its stderr.

    Raises LockTaken if another process holds the lock, StartFailed if the start fails.
    """
    try:
        reached(Point.LOCK)
        handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        message = f"{home / LOCK}: {error.strerror}"
        raise StartFailed(message) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in (QMP_SOCKET, MONITOR_SOCKET):
            (home / name).unlink(missing_ok=True)
        with open(open_log(log, home), "ab") as errors:
            reached(Point.LAUNCH)
            child = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=errors,  # noqa: S603  # a list, never a shell
                                     stderr=errors, pass_fds=(handle,), start_new_session=True,
                                     cwd="/")
    except BlockingIOError:
        raise lock_taken(home) from None
    except OSError as error:
        message = f"{error.filename or program[0]}: {error.strerror}"
        raise StartFailed(message) from error
    finally:
        os.close(handle)
    child.returncode = 0  # it is reaped through its pidfd, not by this object
    return Process(child.pid, start_time(child.pid) or 0)


def start_lock_holder(vm: Process, home: Path) -> Process:
    """Start a process that holds the lock for as long as this VM lives.

    Raises LockTaken if another process holds the lock, StartFailed if the VM has ended.
    """
    handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder = subprocess.Popen(  # noqa: S603  # a list, never a shell
            [sys.executable, "-I", "-S", str(LOCK_HOLDER), str(vm.pid), str(vm.started)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            pass_fds=(handle,), start_new_session=True, cwd="/")
        assert holder.stdout is not None
        with holder.stdout as output:
            held = output.read() == b"held"
    except BlockingIOError:
        raise lock_taken(home) from None
    finally:
        os.close(handle)
    holder.returncode = 0  # it outlives this reconciler and is not waited for
    if not held:
        message = f"process {vm.pid} has ended"
        raise StartFailed(message)
    return Process(holder.pid, start_time(holder.pid) or 0)


def restore_lock_holder(pid: int | None, started: int | None, home: Path) -> Process | None:
    """The adopted VM of a record, if it still lives; its lock holder was killed and is replaced."""
    if pid is None or started is None or start_time(pid) != started:
        return None
    vm = Process(pid, started)
    with suppress(StartFailed):
        start_lock_holder(vm, home)
    return vm


async def wait_until_unlocked(home: Path, limit: float) -> None:
    """Wait at most `limit` seconds until a lock holder has exited, just after its VM."""
    with suppress(TimeoutError):
        async with asyncio.timeout(limit):
            while locked(home):  # noqa: ASYNC110  # the kernel does not notify of an unlock
                await asyncio.sleep(UNLOCK_POLL)


async def ended(process: Process) -> Ended:
    """Wait until a process ends, child or not; the kernel makes its pidfd readable then."""
    handle = await _pidfd(process)
    if handle is None:
        return Ended()
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(handle, readable.set)
        await readable.wait()
        loop.remove_reader(handle)
        with suppress(ChildProcessError):  # not our child: the kernel tells only its parent how
            result = os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222  # WNOHANG
            if result is not None:
                if result.si_code == os.CLD_EXITED:
                    return Ended(code=result.si_status)
                return Ended(signal=result.si_status)
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return Ended()


async def _pidfd(process: Process) -> int | None:
    """A pidfd of exactly this process, None if it has ended; waits for a free file descriptor."""
    attempt = 0
    while True:
        try:
            return _open_pidfd(process)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
        attempt += 1
        await asyncio.sleep(_DESCRIPTORS.delay(attempt))


def _open_pidfd(process: Process) -> int | None:
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    same = False
    try:
        same = start_time(process.pid) in (process.started, None)  # None: a zombie to be reaped
    finally:
        if not same:
            os.close(handle)
    return handle if same else None


def send_signal(process: Process, number: signal.Signals) -> None:
    """Signal exactly this process, never one that reuses its pid."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process.pid)
        try:
            if start_time(process.pid) == process.started:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def exit_reason(home: Path) -> str:
    """The error that StratoVirt printed: its `Caused by:` lines, else its last line."""
    lines = _last_lines(home)
    causes: list[str] = []
    for number, line in enumerate(lines):
        if line.strip() == "Caused by:":
            causes += _block(lines[number + 1:])
    if causes:
        return "; ".join(dict.fromkeys(causes))  # StratoVirt prints some of them twice
    end = next((n for n, line in enumerate(lines) if line.startswith(_BACKTRACE)), len(lines))
    plain = [line.strip() for line in lines[:end] if line.strip()]
    return plain[-1] if plain else "it exited without an error message"


def logged_signal(home: Path) -> int | None:
    """The signal at which StratoVirt ended cleanly, from its own log line; None without one."""
    found = [_LOGGED_SIGNAL.match(line) for line in _last_lines(home)]
    return next((int(match[1]) for match in found if match), None)


def _last_lines(home: Path) -> list[str]:
    try:
        with open(home / STDERR, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []


def _block(lines: list[str]) -> list[str]:
    """The lines below a `Caused by:`, without their numbers, up to the backtrace."""
    found: list[str] = []
    for line in lines:
        text = line.strip()
        if not text or text.startswith(_BACKTRACE):
            break
        number, _, rest = text.partition(": ")
        found.append(rest if number.isdigit() else text)
    return found
