"""The process of a VM: started with an inherited lock, known again by it, ended with patience.

The lock (rule 1) is an flock on an open file that the VM inherits: the kernel holds it exactly as
long as the VM lives, whatever becomes of us.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class StartFailed(Exception):
    """StratoVirt ended before it was up, with its own reason."""


@dataclass(frozen=True, slots=True)
class Process:
    """A living VM process; `started` is the kernel's start time in clock ticks since boot."""

    pid: int
    started: int


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, or None when there is no such process (or a zombie)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] == b"Z" else int(fields[19])


def locked(directory: Path) -> bool:
    """Whether a VM holds the lock of this directory."""
    try:
        handle = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def launch(program: list[str], directory: Path) -> Process:
    """Take the lock and start; raises BlockingIOError when a VM already holds it."""
    handle = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in ("qmp.sock", "monitor.sock"):
            (directory / name).unlink(missing_ok=True)
        with open(directory / "stderr", "wb") as errors:
            child = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=errors,
                                     stderr=errors, pass_fds=(handle,), start_new_session=True)
    finally:
        os.close(handle)
    child.returncode = 0  # reaped through the pidfd, not by the Popen object
    return Process(child.pid, start_time(child.pid) or 0)


def find(directory: Path, name: str) -> Process | None:
    """The VM that holds the lock: by its record, else by its command line (rule 2)."""
    if not locked(directory):
        return None
    with suppress(OSError, ValueError, KeyError):
        record = json.loads((directory / "record.json").read_text())
        if start_time(record["pid"]) == record["started"]:
            return Process(record["pid"], record["started"])
    wanted = f"unix:{directory / 'qmp.sock'},server,nowait".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
                started = start_time(int(entry))
                if wanted in words and name.encode() in words and started is not None:
                    return Process(int(entry), started)
    return None


async def ended(process: Process) -> int | None:
    """Wait for the end, of a child or not; the exit code where it can be known."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        if not over.done():
            over.set_result(None)

    loop.add_reader(handle, readable)
    try:
        await over
        with suppress(ChildProcessError):
            result = os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222  # WNOHANG never blocks
            if result:
                return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
    finally:
        loop.remove_reader(handle)
        os.close(handle)
    return None


def send(process: Process, number: signal.Signals) -> None:
    """Signal exactly this process, never one that took its pid."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process.pid)
        try:
            if start_time(process.pid) == process.started:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def reason(directory: Path) -> str:
    """StratoVirt's own words: its `Caused by:` lines, else its last line."""
    with suppress(OSError):
        lines = (directory / "stderr").read_text(errors="replace").splitlines()
        causes: list[str] = []
        for number, line in enumerate(lines):
            if line.strip() == "Caused by:":
                for cause in lines[number + 1:]:
                    if not cause.strip() or "backtrace" in cause.lower():
                        break
                    causes.append(cause.strip())
        if causes:
            return "; ".join(dict.fromkeys(causes))  # StratoVirt repeats itself
        plain = [line.strip() for line in lines if line.strip()]
        return plain[-1] if plain else "no message"
    return "no message"
