"""The firmware variables (nvram) of a VM follow its uuid, although their file has its name.

Before a start, for files that the reconciler names itself. A mark for each uuid says which file is
its own: the inode, which a rename keeps, and the name, for a file that was restored from a backup.
So a kill between any two steps loses nothing. Without a mark (an earlier version wrote none), it is
the file of the definition before. What another VM has under the new name is put aside for it, as
when two domains exchange their names.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from reconciler.errors import HostError
from reconciler.failpoints import Point, nothing
from reconciler.host.files import Sync, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.failpoints import Reached

_MARKS = ".of"  # beside the directory of the files: nvram.of
SUFFIX = "_VARS.fd"


def follow(uuid: str, file: Path, before: Path | None, reached: Reached = nothing) -> None:
    """Make `file` that of this uuid; `before`: its file until now, if there is no mark of it.

    Blocking; raises HostError.
    """
    marks = file.parent.with_name(f"{file.parent.name}{_MARKS}")
    try:
        marks.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(marks):
            _follow(marks, uuid, file, before, reached)
    except OSError as error:
        message = f"{file}: its variables cannot be renamed: {error.strerror}"
        raise HostError(message) from error


@contextmanager
def _locked(marks: Path) -> Iterator[None]:
    """Two domains that exchange their names are prepared at the same time, by two threads."""
    handle = os.open(marks, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _follow(marks: Path, uuid: str, file: Path, before: Path | None, reached: Reached) -> None:
    own = _marked(marks, uuid, file.parent) or _unmarked(before)
    if own is not None and own != file and own.exists():
        if file.exists():
            _put_aside(marks, uuid, file, reached)
        reached(Point.MOVE_NVRAM)
        os.replace(own, file)
    reached(Point.MOVE_NVRAM)
    _mark(marks / uuid, file)


def _marked(marks: Path, uuid: str, directory: Path) -> Path | None:
    """The file of this uuid by its mark: by the inode, else by the name."""
    name, inode = _read(marks / uuid)
    found = next((path for path in directory.glob("*") if inode and _inode(path) == inode), None)
    if found is not None or not name:
        return found
    named = _inode(directory / name)
    taken = named and any(_read(mark)[1] == named for mark in marks.glob("[!.]*"))
    return None if taken else directory / name


def _unmarked(before: Path | None) -> Path | None:
    if before is None:
        return None
    aside = _aside(before)
    return aside if aside.exists() else before


def _put_aside(marks: Path, uuid: str, file: Path, reached: Reached) -> None:
    """Keep the file of another VM, which finds it by its mark, or by this name."""
    for mark in marks.glob("[!.]*"):
        if mark.name != uuid and _read(mark) == (file.name, ""):
            reached(Point.MOVE_NVRAM)
            _mark(mark, file)  # until now it had no inode
    reached(Point.MOVE_NVRAM)
    os.replace(file, _aside(file))


def _mark(mark: Path, file: Path) -> None:
    text = f"{file.name} {_inode(file)}".strip()
    if text != " ".join(_read(mark)).strip():
        write_whole(mark, text.encode(), Sync.CONTENT)


def _inode(file: Path) -> str:
    with suppress(OSError):
        return str(file.stat().st_ino)
    return ""


def _aside(file: Path) -> Path:
    return file.with_name(f".{file.name}.aside")


def _read(mark: Path) -> tuple[str, str]:
    """The name, and the inode if the file was there."""
    with suppress(OSError):
        name, _, inode = mark.read_text().strip().partition(" ")
        return name, inode
    return "", ""
