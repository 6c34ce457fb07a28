"""The files that a VM needs: looked at before anything is started or stopped (rule 7)."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

from reconciler.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reconciler.domain.model import RequiredFile

_KINDS = {"file": stat.S_ISREG, "block": stat.S_ISBLK, "character": stat.S_ISCHR}


def check(needs: Iterable[RequiredFile]) -> None:
    """Raise HostError(MissingFile) that names every file which is not there or of another kind."""
    problems = [problem for need in needs if (problem := _problem(need))]
    if problems:
        raise HostError("; ".join(problems), hint="tried again as soon as it changes")


def make_variables(needs: Iterable[RequiredFile]) -> None:
    """Copy each missing file that has a template, once: whole, or not at all."""
    for need in needs:
        if need.template is None or os.path.exists(need.path):
            continue
        fresh = f"{need.path}.new"
        try:
            os.makedirs(os.path.dirname(need.path), mode=0o700, exist_ok=True)
            shutil.copyfile(need.template, fresh)
            os.replace(fresh, need.path)
        except OSError as error:
            message = f"{need.path} cannot be made from {need.template}: {error.strerror}"
            raise HostError(message) from error


def signature(needs: Iterable[RequiredFile]) -> tuple[tuple[object, ...], ...]:
    """Changes whenever one of these files appears, goes or is replaced."""
    return tuple(_seen(path) for need in needs for path in (need.path, need.template) if path)


def _seen(path: str) -> tuple[object, ...]:
    try:
        found = os.stat(path)
    except OSError as error:
        return (path, error.errno)
    return (path, found.st_ino, found.st_mtime_ns, found.st_mode)


def _problem(need: RequiredFile) -> str:
    path = need.path
    if need.template is not None and not os.path.exists(path):
        path = need.template
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return f"{path}: {(error.strerror or 'cannot be looked at').lower()}"
    accepted = need.kind.split("-or-")
    if not any(_KINDS[kind](mode) for kind in accepted):
        return f"{path}: accepted: a {' or '.join(accepted)} (device)"
    if not os.access(path, os.R_OK | (os.W_OK if need.writable and path == need.path else 0)):
        return f"{path}: permission denied"
    return ""


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file: a reader, or a crash, sees the old one or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    with open(fresh, "wb", opener=_private) as file:
        file.write(data)
    os.replace(fresh, path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
