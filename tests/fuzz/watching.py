"""What reading a file must never do: open files, make sockets, start processes.

Python reports these to an audit hook. libxml2 opens files itself, without the hook: the generated
files name a bait file and a bait port, and access to either is detected.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WATCHED = ("open", "socket.", "subprocess.", "os.system", "os.exec", "os.spawn", "os.posix_spawn",
            "os.fork", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.mkdir", "os.chmod",
            "ctypes.dlopen", "shutil.", "urllib.", "ftplib.", "exec", "compile", "pty.")
_IN_OPEN = 0x20
SECRET = "the-content-of-the-bait"


class Watch:
    """One a process: an audit hook cannot be taken away again, so it is armed while reading."""

    def __init__(self) -> None:
        self.armed = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.armed and event.startswith(_WATCHED):
            self.seen.append(f"{event} {arguments!r}"[:200])

    @contextmanager
    def looking(self) -> Iterator[None]:
        self.seen.clear()
        self.armed = True
        try:
            yield
        finally:
            self.armed = False
        assert not self.seen, self.seen


class Bait:
    """A file and a port that files name as something outside of them."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "bait"
        self.file.write_text(SECRET)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(os.O_NONBLOCK)
        self._libc.inotify_add_watch(self._inotify, bytes(self.file), _IN_OPEN)
        self._port = socket.create_server(("127.0.0.1", 0))
        self._port.setblocking(False)

    @property
    def addresses(self) -> tuple[str, ...]:
        number = self._port.getsockname()[1]
        return (f"http://127.0.0.1:{number}/", f"ftp://127.0.0.1:{number}/a", f"file://{self.file}",
                str(self.file), "file:///etc/passwd", "http://127.0.0.1:1/", "/dev/stdin")

    def touched(self) -> bool:
        """Whether the file or the port was opened since the last call."""
        for look in (lambda: os.read(self._inotify, 4096), self._port.accept):
            try:
                look()
            except BlockingIOError:
                continue
            return True
        return False

    def close(self) -> None:
        os.close(self._inotify)
        self._port.close()
