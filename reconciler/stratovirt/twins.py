"""VMs of the whole host by uuid: a domain is not started while a VM of its uuid runs elsewhere.

The lock in a VM's directory keeps two starts in one runtime directory apart. This finds the VMs of
other directories: of a reconciler with another `paths.runtime`, or of one whose directory was
deleted. Two reconcilers may have domains of one uuid, as one that was derived from the same name:
these are the same VM only if they have a common disk, or one of them has none.

A command line may be forged by any user: a process of another user counts only if it has opened one
of the VM's files. Two reconcilers that look at the same moment take turns (`Turn`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from reconciler.errors import LockTaken
from reconciler.host.start_time import start_time
from reconciler.stratovirt import record
from reconciler.stratovirt.process import Process
from reconciler.stratovirt.recognition import (
    lock_holders,
    reconciler_of,
    socket_directory,
    user_of,
    uuid_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

FRESH = 0.5  # seconds that a look at every process counts: the starts of a wave share one
PATIENCE = 2.0  # seconds for a reconciler that starts a VM of the same uuid
_POLL = 0.005
_LONGEST = 1 << 16  # bytes of a command line that are read


@dataclass(frozen=True, slots=True)
class Twin:
    """A process that runs the same VM. `directory`: where its QMP socket lies."""

    process: Process
    directory: Path | None
    command_line: tuple[str, ...]


class Twins:
    """The processes of the host that were started with `-uuid`, looked at in /proc (blocking)."""

    def __init__(self) -> None:
        self._uuids: dict[int, str] = {}  # by pid, of the last look at every process
        self._settled: frozenset[int] = frozenset()  # pids that were there at the look before, too
        self._at = float("-inf")
        self._one_look = threading.Lock()

    def of(self, uuid: str, files: Collection[str]) -> Twin | None:
        """A process that runs the VM with this uuid and one of these disks."""
        for pid in self._pids(uuid):
            words = _words(pid)
            if uuid_of(words) != uuid or not _same_disks(words, files):
                continue
            ours = user_of(pid) == os.geteuid()
            if (ours and not _of_another_domain(pid, words, uuid)) or (
                    not ours and _has_opened(pid, files)):
                started = start_time(pid)
                if started is not None:
                    return Twin(Process(pid, started), socket_directory(words), tuple(words))
        return None

    def _pids(self, uuid: str) -> list[int]:
        """With this uuid, now: of most processes it is known since the last look at all of them."""
        with self._one_look:
            present = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
            if time.monotonic() - self._at > FRESH:
                self._settled = frozenset(self._uuids).intersection(present)
                self._uuids = {pid: _uuid(pid) for pid in present}
                self._at = time.monotonic()
            else:  # a young process may have executed another program since it was looked at
                young = [pid for pid in present if pid not in self._settled]
                self._uuids |= {pid: _uuid(pid) for pid in young}
            return sorted(pid for pid in present if self._uuids.get(pid) == uuid)


def taken_by(twin: Twin, runtime: Path) -> LockTaken:
    """The error of a start in this runtime directory, while the VM runs already."""
    pid, where = twin.process.pid, "" if twin.directory is None else f" in {twin.directory}"
    owner = reconciler_of(pid, list(twin.command_line), lock_holders())
    if owner is None:
        hint = f"end that process first: `kill {pid}`"
    elif os.path.realpath(owner) == os.path.realpath(runtime):
        hint = (f"it was started here, and cannot be recognised: end it with `kill {pid}`, or name "
                "its program in hypervisor.allowed")
    else:
        hint = (f"it belongs to the reconciler of {owner}: stop or remove the domain there, or set "
                "paths.runtime to that directory")
    return LockTaken(f"process {pid} runs a VM with this uuid{where}", pid=pid, hint=hint)


class Turn:
    """The right to start the VM of one uuid: one reconciler of a user at a time has it.

    It lasts from the last look at other processes until the process is there.

    A byte of a file of the user is locked; without such a file, only the look protects.
    """

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid
        self._handle: int | None = None
        self._over = False
        self._changing = threading.Lock()  # it may be given back while a thread waits for it

    def take(self) -> None:
        """Wait for it (blocking); raises LockTaken."""
        handle = _lock_file()
        if handle is None:
            return
        end = time.monotonic() + PATIENCE
        while not _lock_byte(handle, self._uuid):
            if time.monotonic() > end:
                os.close(handle)
                message = "another reconciler is starting a VM with this uuid"
                raise LockTaken(message, hint="it is attempted again")
            time.sleep(_POLL)
        with self._changing:
            if self._over:
                os.close(handle)
            else:
                self._handle = handle

    def end(self) -> None:
        """Give it back; once is enough."""
        with self._changing:
            self._over = True
            handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def _lock_file() -> int | None:
    """In a directory that is the same for all reconcilers of a user, whatever they are given."""
    user = os.geteuid()
    path = "/run/stratovirt-reconciler.starts" if user == 0 else (
        f"/dev/shm/stratovirt-reconciler-{user}.starts")  # noqa: S108  # its owner is checked
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    found = os.fstat(handle)
    if found.st_uid == user and stat.S_ISREG(found.st_mode):
        return handle
    os.close(handle)
    return None


def _lock_byte(handle: int, uuid: str) -> bool:
    """Lock the byte of this uuid, for the open file description; whether it was free."""
    place = int.from_bytes(hashlib.sha256(uuid.encode()).digest()[:7])
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, wanted)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a file system without such locks
    return True


def _same_disks(words: Iterable[str], files: Collection[str]) -> bool:
    """Whether a command line has one of these disks, by whichever path; or one of them has none."""
    theirs = {option.removeprefix("file=") for flag, value in pairwise(words) if flag == "-drive"
              and "if=pflash" not in value.split(",")
              for option in value.split(",") if option.startswith("file=")}
    if not files or not theirs or not theirs.isdisjoint(files):
        return True
    return not set(map(os.path.realpath, theirs)).isdisjoint(map(os.path.realpath, files))


def _of_another_domain(pid: int, words: list[str], uuid: str) -> bool:
    """Whether its record says so: a domain that got another uuid keeps its process."""
    home = socket_directory(words)
    kept = record.load(home) if home is not None else None
    return kept is not None and kept.pid == pid and kept.uuid != uuid


def _has_opened(pid: int, files: Collection[str]) -> bool:
    """Whether a process has one of these files open, as far as this user may see that."""
    wanted = set()
    for file in files:
        with suppress(OSError):
            found = os.stat(file)
            wanted.add((found.st_dev, found.st_ino))
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found = os.stat(f"/proc/{pid}/fd/{number}")
                if (found.st_dev, found.st_ino) in wanted:
                    return True
    return False


def _uuid(pid: int) -> str:
    words = _words(pid)
    return uuid_of(words) if "-qmp" in words or "-mon" in words else ""


def _words(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            data = file.read(_LONGEST)
    except OSError:
        return []
    return os.fsdecode(data).split("\0") if b"-uuid" in data else []
