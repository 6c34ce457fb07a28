"""The firmware variables (nvram) of a VM follow its uuid, although their file has its name.

Before a start, for files that the reconciler names itself. A mark for each uuid says which file is
its own; without one (an earlier version wrote none), it is that of the definition before. What
another VM has under the new name is put aside for it, as when two domains exchange their names.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

_MARKS = ".of"  # beside the directory of the files: nvram.of
SUFFIX = "_VARS.fd"


def follow(uuid: str, file: Path, before: Path | None) -> None:
    """Make `file` that of this uuid; `before`: its file until now, if there is no mark of it.

    Blocking; raises HostError.
    """
    try:
        _follow(uuid, file, before)
    except OSError as error:
        message = f"{file}: its variables cannot be renamed: {error.strerror}"
        raise HostError(message) from error


def _follow(uuid: str, file: Path, before: Path | None) -> None:
    marks = file.parent.with_name(f"{file.parent.name}{_MARKS}")
    marked = _read(marks / uuid)
    own = file.parent / marked if marked else _unmarked(before)
    if marked == file.name:
        return
    marks.mkdir(parents=True, exist_ok=True, mode=0o700)
    if own is not None and own != file and own.exists():
        if file.exists():
            _put_aside(marks, uuid, file)
        os.replace(own, file)
    fresh = marks / f".{uuid}.new"
    fresh.write_text(file.name)
    os.replace(fresh, marks / uuid)


def _unmarked(before: Path | None) -> Path | None:
    if before is None:
        return None
    aside = _aside(before)
    return aside if aside.exists() else before


def _put_aside(marks: Path, uuid: str, file: Path) -> None:
    """Keep the file of another VM, which finds it by its mark, or by this name."""
    os.replace(file, _aside(file))
    for mark in marks.iterdir():
        if mark.name != uuid and _read(mark) == file.name:
            mark.write_text(_aside(file).name)


def _aside(file: Path) -> Path:
    return file.with_name(f".{file.name}.aside")


def _read(mark: Path) -> str:
    with suppress(OSError):
        return mark.read_text().strip()
    return ""
