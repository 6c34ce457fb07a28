"""What StratoVirt writes to stderr: in the state directory, bounded, the last few files kept.

The VM appends to a regular file, which never blocks it and outlives both it and the reconciler; the
reconciler shortens a file that grew too long (daemon.py). `stderr` in the VM's runtime directory is
a link to the file. See docs/decisions/0022-stderr.md.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOGS = "logs"  # in the state directory: a directory of each VM, by uuid
STDERR = "stderr"
KEPT = 3  # files of earlier processes: stderr.1 is the newest
LIMIT = 256 << 10  # bytes of a file; half of them are left when it is shortened
_MODE = 0o600


def open_log(log: Path | None, home: Path) -> int:
    """A file for a new process to append to; raises OSError. `log`: the directory of the VM.

    A state directory that cannot be written to keeps no VM from starting.
    """
    place = home / STDERR
    with suppress(FileNotFoundError):
        place.unlink()
    if log is not None:
        with suppress(OSError):
            handle = _next(log)
            with suppress(OSError):
                place.symlink_to(log / STDERR)
            return handle
    return _open(place)


def _next(log: Path) -> int:
    log.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(KEPT, 0, -1):
        newer = log / (STDERR if number == 1 else f"{STDERR}.{number - 1}")
        with suppress(FileNotFoundError):
            newer.replace(log / f"{STDERR}.{number}")
    return _open(log / STDERR)


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW
                   | os.O_CLOEXEC, _MODE)


def move(before: Path, after: Path, home: Path) -> None:
    """The VM in `home` has another uuid, and with it another directory, while it runs."""
    with suppress(OSError):
        before.rename(after)
        (home / STDERR).unlink()
        (home / STDERR).symlink_to(after / STDERR)


def remove_others(logs: Path, uuids: set[str]) -> None:
    """Remove those of domains that are gone (blocking)."""
    for log in logs.iterdir() if logs.is_dir() else ():
        if log.name not in uuids:
            shutil.rmtree(log, ignore_errors=True)


def shorten_all(logs: Path) -> None:
    """Shorten the files that processes still append to (blocking)."""
    for path in logs.glob(f"*/{STDERR}*"):
        with suppress(OSError):
            _shorten(path)


def _shorten(path: Path) -> None:
    if path.stat().st_size <= LIMIT:
        return
    with path.open("r+b", buffering=0) as file:
        file.seek(-LIMIT // 2, os.SEEK_END)
        kept = file.read(LIMIT // 2)
        file.truncate(0)  # the VM, which appends, goes on at the new end
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        file.write(kept[kept.find(b"\n") + 1:])
