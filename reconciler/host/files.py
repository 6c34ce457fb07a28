"""Files that a VM requires, checked before any start or stop; and atomic replacement of files."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import HostError
from reconciler.failpoints import Point, nothing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.domain.model import RequiredFile
    from reconciler.failpoints import Reached

LARGEST_TEMPLATE = 64 << 20  # bytes of a file that firmware variables are copied from
_KINDS = {"file": stat.S_ISREG, "block": stat.S_ISBLK, "character": stat.S_ISCHR}
_NAMES = {"file": "regular file", "block": "block device", "character": "character device"}


def check(needs: Iterable[RequiredFile]) -> None:
    """Raise HostError(MissingFile) with every file that is missing or of another kind."""
    refuse(map(problem, needs))


def refuse(problems: Iterable[str]) -> None:
    """Raise HostError(MissingFile) if any of these, of `problem`, is not empty."""
    found = "; ".join(filter(None, problems))
    if found:
        raise HostError(found, hint="retried as soon as that changes")


def paths_of(need: RequiredFile) -> tuple[str, ...]:
    """What is looked at for it."""
    return (need.path,) if need.template is None else (need.path, need.template)


def make_variables(needs: Iterable[RequiredFile], reached: Reached = nothing) -> None:
    """Create each missing file that has a template (nvram), as a copy; raises HostError."""
    for need in needs:
        if need.template is None or os.path.exists(need.path):
            continue
        try:
            _copy_template(need.template, Path(need.path), reached)
        except OSError as error:
            message = f"{need.path}: cannot be created from {need.template}: {error.strerror}"
            raise HostError(message) from error


def _copy_template(template: str, path: Path, reached: Reached) -> None:
    """Never through a link that another user put where the copy is written."""
    fresh = _fresh(path)
    with open(template, "rb") as source:
        found = os.fstat(source.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_TEMPLATE:
            message = f"{template}: not a regular file of up to {LARGEST_TEMPLATE >> 20} MiB"
            raise HostError(message)
        fresh.unlink(missing_ok=True)
        with open(fresh, "wb", opener=_private) as copy:
            shutil.copyfileobj(source, copy)
    reached(Point.MAKE_NVRAM)
    os.replace(fresh, path)


def made_problem(need: RequiredFile) -> str:
    """Why StratoVirt must not make a socket or a log file there: it would replace what is there."""
    directory = os.path.dirname(need.path)
    try:
        found = os.lstat(need.path)
    except FileNotFoundError:
        return "" if os.path.isdir(directory) else f"{directory}: no such directory"
    except OSError as error:
        return f"{need.path}: {(error.strerror or 'not accessible').lower()}"
    if need.kind == "log":
        if need.path == os.devnull:
            return ""
        if stat.S_ISREG(found.st_mode) and found.st_size == 0:
            return ""
        what = "a file with contents" if stat.S_ISREG(found.st_mode) else "another kind of file"
        return (f"{need.path}: {what} is there, which StratoVirt would overwrite; remove it, or "
                "name another path")
    if not stat.S_ISSOCK(found.st_mode):
        return (f"{need.path}: something other than a socket is there, which StratoVirt would "
                "delete; remove it, or name another path")
    return f"{need.path}: another process listens there" if _is_listening(need.path) else ""


def _is_listening(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as client:
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return False  # what a process that ended left
        except OSError as error:
            return error.errno != errno.EPROTOTYPE or _is_bound(path)
    return True


def _is_bound(path: str) -> bool:
    """Of a datagram socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True


def signature(needs: Iterable[RequiredFile]) -> tuple[tuple[object, ...], ...]:
    """A value that changes when one of these files is created, deleted, replaced or modified."""
    needed = tuple(needs)
    directories = ((need.path, os.path.isdir(os.path.dirname(need.path)))
                   for need in needed if need.template)
    return (*(_seen(path) for need in needed for path in (need.path, need.template) if path),
            *directories)


def _seen(path: str) -> tuple[object, ...]:
    try:
        found = os.stat(path)
    except OSError as error:
        return (path, error.errno)
    return (path, found.st_ino, found.st_mtime_ns, found.st_mode)


def problem(need: RequiredFile) -> str:
    """Why the file is not as it is needed: missing, or of another kind; empty if it is."""
    path = need.path
    if need.template is not None and not os.path.exists(path):
        directory = os.path.dirname(path)
        if not os.path.isdir(directory):  # it is not made: its file system may not be mounted yet
            return f"{directory}: no such directory"
        path = need.template
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return f"{path}: {(error.strerror or 'not accessible').lower()}"
    accepted = need.kind.split("-or-")
    if not any(_KINDS[kind](mode) for kind in accepted):
        return f"{path}: not a {' or '.join(_NAMES[kind] for kind in accepted)}"
    if not os.access(path, os.R_OK | (os.W_OK if need.writable and path == need.path else 0)):
        return f"{path}: permission denied"
    return ""


class Sync(Enum):
    """What a crash of the host, such as a power cut, leaves of a file that was just replaced."""

    NONE = auto()  # the old content, the new, or an empty file: for files that are rewritten anyway
    CONTENT = auto()  # the old content or the new
    PROMISE = auto()  # the new content: it is on disk when the call returns


def write_whole(path: Path, data: bytes, sync: Sync = Sync.PROMISE) -> None:
    """Replace a file: a reader sees the old content or the new, never a part. Raises OSError.

    CONTENT costs one fsync, PROMISE two.
    """
    fresh = _fresh(path)
    with open(fresh, "wb", opener=_private) as file:
        file.write(data)
        if sync is not Sync.NONE:
            file.flush()
            os.fsync(file.fileno())
    os.replace(fresh, path)
    if sync is Sync.PROMISE:
        sync_directory(path.parent)


def _fresh(path: Path) -> Path:
    """Where a file is written before it is renamed into place."""
    return path.with_name(f".{path.name}.new")


def remove_unfinished(directories: Iterable[Path]) -> None:
    """Delete what a process that was killed left of files that it was writing."""
    for directory in directories:
        for path in directory.glob(".*.new"):
            with suppress(OSError):
                path.unlink()


def sync_directory(directory: Path) -> None:
    """What was created, replaced and removed in it is on disk when this returns; raises OSError."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
