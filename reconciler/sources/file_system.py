"""File systems of which inotify reports only the changes that are made on this host."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_SHARED = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "ceph", "afs",
                     "gfs2", "ocfs2", "lustre", "glusterfs", "vboxsf", "beegfs", "fuse"})


def shared_kind(path: Path) -> str:
    """The kind of the file system of a path, if others may change it unseen; else empty.

    From proc_pid_mountinfo(5): the innermost mount point above the path counts, of several mounts
    on it the last one.
    """
    real = os.path.realpath(path)
    found, longest = "", -1
    with suppress(OSError):
        for line in _MOUNTS.read_text(errors="surrogateescape").splitlines():
            fields, _, rest = line.partition(" - ")
            point = _unescaped(fields.split()[4])
            inside = real == point or real.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= longest:
                found, longest = rest.split()[0], len(point)
    return found if found in _SHARED or found.startswith("fuse.") else ""


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
