"""Which paths lead to a file system of another host or of a process, without touching it.

Such a file system (NFS, CIFS, FUSE, …) may stop to answer, and a system call on it then does not
return: not even SIGKILL ends its thread. And inotify reports only those of its changes that are
made on this host.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "ceph", "afs",
                     "gfs2", "ocfs2", "lustre", "glusterfs", "vboxsf", "beegfs", "autofs", "fuse",
                     "fuseblk"})
_MOST_LINKS = 40  # that the kernel follows in one path


@dataclass(frozen=True, slots=True)
class Mounts:
    """The mounted file systems at one moment: kinds by mount point, the newest of several."""

    kinds: dict[str, str]

    @classmethod
    def now(cls) -> Mounts:
        """From proc_pid_mountinfo(5)."""
        kinds: dict[str, str] = {}
        with suppress(OSError):
            for line in _MOUNTS.read_text(errors="surrogateescape").splitlines():
                fields, _, rest = line.partition(" - ")
                kinds[_unescaped(fields.split()[4])] = rest.split()[0]
        return cls(kinds)

    @property
    def any_remote(self) -> bool:
        """Whether there is a remote file system at all."""
        return any(map(_is_remote, self.kinds.values()))

    def remote_kind(self, path: str | os.PathLike[str]) -> str:
        """The kind of the remote file system on the way to a path; empty if all of it is local.

        Symbolic links are followed one by one, and none of them on a remote file system.
        """
        place, links = "/", 0
        steps = os.path.join(os.getcwd(), path).split("/")[::-1]
        if kind := self._remote(place):
            return kind
        while steps:
            step = steps.pop()
            if step in ("", "."):
                continue
            if step == "..":
                place = os.path.dirname(place)
                continue
            there = os.path.join(place, step)
            if kind := self._remote(there):
                return kind
            try:
                target = os.readlink(there)
            except OSError:  # no link, or it does not exist
                place = there
                continue
            links += 1
            if links > _MOST_LINKS:
                break
            place = "/" if target.startswith("/") else place
            steps += target.split("/")[::-1]
        return ""

    def _remote(self, place: str) -> str:
        """The kind of the innermost mount that has this place, if that is remote."""
        while place not in self.kinds and place != "/":
            place = os.path.dirname(place)
        kind = self.kinds.get(place, "")
        return kind if _is_remote(kind) else ""


def _is_remote(kind: str) -> bool:
    return kind in _REMOTE or kind.startswith("fuse.")


def _unescaped(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
