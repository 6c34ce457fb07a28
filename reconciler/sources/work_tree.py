"""Whether a git command, such as a pull, is changing the watched directory right now.

git holds index.lock from before its first change to a work tree until after its last. A listing
read in between would mix two commits, so it has to wait. A lock that a killed git command left
behind is ignored after LONGEST_LOCK.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

LONGEST_LOCK = 60.0  # seconds; a checkout of domain files takes far less
_LOCK = "index.lock"
_LONGEST_POINTER = 4096
_POINTER = b"gitdir: "


def git_directory(path: Path) -> Path | None:
    """The git directory with the index of the work tree around `path`, if there is one."""
    real = Path(os.path.realpath(path))
    for place in (real, *real.parents):
        found = place / ".git"
        if found.is_dir():
            return found
        if found.is_file():  # a worktree's, or a submodule's
            return _pointed_at(found)
    return None


def _pointed_at(file: Path) -> Path | None:
    try:
        with open(file, "rb") as handle:
            text = handle.read(_LONGEST_POINTER)
    except OSError:
        return None
    if not text.startswith(_POINTER):
        return None
    found = file.parent / os.fsdecode(text.removeprefix(_POINTER).rstrip(b"\r\n"))
    return found if found.is_dir() else None


@dataclass(frozen=True, slots=True)
class Checkout:
    """The state of the work tree: if it is equal before and after, no git command ran between."""

    locked: bool = False
    stale: str = ""  # a lock that is ignored because of its age
    index: tuple[int, int] | None = None  # its inode and modification time

    @property
    def remark(self) -> str:
        """A warning for the status, or nothing."""
        return (f"{self.stale} is older than {LONGEST_LOCK:g} s and is ignored; "
                "if no git command is running there, delete it") if self.stale else ""


@dataclass(frozen=True, slots=True)
class Identities:
    """Git's index and its lock, each by inode and modification time."""

    directory: Path | None = None
    index: tuple[int, int] | None = None
    lock: tuple[int, int] | None = None


def identities(path: Path) -> Identities:
    """Of the work tree around a path (blocking)."""
    directory = git_directory(path)
    if directory is None:
        return Identities()
    return Identities(directory, _identity(directory / "index"), _identity(directory / _LOCK))


class WorkTree:
    """Looks at git's lock, and keeps how long the same lock has existed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: tuple[int, int] | None = None
        self._since = 0.0

    def look(self) -> Checkout:
        """The state now."""
        return self.judge(identities(self._path))

    def judge(self, found: Identities) -> Checkout:
        """The state, of what was found just now."""
        directory, index, lock = found.directory, found.index, found.lock
        if directory is None:
            return Checkout()
        if lock is None or lock != self._lock:
            self._lock, self._since = lock, time.monotonic()
        if lock is None:
            return Checkout(index=index)
        age = max(time.time() - lock[1] / 1e9, time.monotonic() - self._since)
        if age > LONGEST_LOCK:
            return Checkout(stale=str(directory / _LOCK), index=index)
        return Checkout(locked=True, index=index)


def is_lock(name: str) -> bool:
    """Whether a file name in the git directory is that of the lock."""
    return name == _LOCK


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
