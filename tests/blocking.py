"""What the thread of an event loop asks of file systems, name servers and locks."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

_BY_PATH = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir",
            "os.link", "os.symlink", "os.chmod", "os.chown", "os.utime", "os.truncate"}
_PATCHED = ("open", "stat", "lstat", "readlink", "access", "statvfs", "mknod", "mkfifo")
_WAITS = {"socket.getaddrinfo", "socket.gethostbyname", "os.system"}
_LOCKS = {"fcntl.flock", "fcntl.lockf"}
_AT_ONCE = fcntl.LOCK_NB | fcntl.LOCK_UN
_seers = []  # a hook cannot be removed


class Blocking:
    """What was seen.

    `paths`: those that were touched; `programs`: the command lines of processes that were made;
    `other`: names of other calls that may wait.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.paths: set[str] = set()
        self.programs: list[tuple[str, ...]] = []
        self.other: set[str] = set()

    def see(self, event: str, arguments: tuple) -> None:
        if threading.get_ident() != self.thread:
            return
        if event in _BY_PATH:
            self.touched(arguments[0])
            if event in ("os.rename", "os.link"):
                self.touched(arguments[1])
        elif event == "subprocess.Popen":
            self.programs.append(tuple(map(os.fsdecode, arguments[1])))
        elif event in _WAITS or (event in _LOCKS and not arguments[1] & _AT_ONCE):
            self.other.add(event)

    def touched(self, path: object, directory: int | None = None) -> None:
        if isinstance(path, int) or path is None:  # what is open already
            return
        place = "" if directory is None else os.readlink(f"/proc/self/fd/{directory}")
        path = os.path.join(place, os.fsdecode(path))
        if os.path.isabs(path):  # else the event of a call that was seen with its directory
            self.paths.add(os.path.normpath(path))

    def below(self, *places: object) -> set[str]:
        """The paths in one of these directories."""
        return {path for path in self.paths
                if any(Path(path).is_relative_to(str(place)) for place in places)}


@contextmanager
def blocking(monkeypatch):
    """Record what this thread, which runs the loop, does in the block."""
    found = Blocking()
    if not _seers:
        sys.addaudithook(lambda event, arguments: [s.see(event, arguments) for s in _seers[1:]])
        _seers.append(None)
    _seers.append(found)
    with monkeypatch.context() as patch:
        for name in _PATCHED:
            patch.setattr(os, name, _seen(getattr(os, name), found))
        try:
            yield found
        finally:
            _seers.remove(found)


def _seen(function, found):
    def call(path, *words, **more):
        if threading.get_ident() == found.thread:
            found.touched(path, more.get("dir_fd"))
        return function(path, *words, **more)

    return call
