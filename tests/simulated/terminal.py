"""A program on its own terminal, with simulated typing: for editors."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT = 60.0
ROWS, COLUMNS = 40, 200
TICK = 0.05  # poll interval for conditions that the screen does not show


class Terminal:
    """Runs `words` in `directory`. What it shows is read all the time, or it would be held up."""

    def __init__(self, words: list[str], directory: Path, home: Path) -> None:
        self.words = words
        self.shown = b""
        environment = {**os.environ, "HOME": str(home), "TERM": "vt100", "LANG": "C.UTF-8"}
        self.pid, self.master = pty.fork()
        if not self.pid:
            os.chdir(directory)
            os.execvpe(words[0], words, environment)  # noqa: S606  # that is what it is for
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def shows(self, text: str) -> None:
        """Wait until it does; a word, since a screen may be drawn in any order."""
        self.until(lambda: text.encode() in self.shown, text)

    def until(self, so: Callable[[], bool], what: str = "") -> None:
        deadline = time.monotonic() + LIMIT
        while not so():
            assert time.monotonic() < deadline, f"{self.words}: no {what}: {self.shown[-2000:]!r}"
            assert self._read(), f"{self.words}: ended before {what}: {self.shown[-2000:]!r}"

    def ends(self) -> None:
        """Wait until it has; it must be content."""
        deadline = time.monotonic() + LIMIT
        while self._read():
            assert time.monotonic() < deadline, f"{self.words} stays: {self.shown[-2000:]!r}"
        status, self.pid = os.waitpid(self.pid, 0)[1], 0
        assert os.waitstatus_to_exitcode(status) == 0, self.shown[-2000:]

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)

    def _read(self) -> bool:
        """What is there, waiting at most a tick; False at the end."""
        if not select.select([self.master], [], [], TICK)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: the other end of the terminal is closed
            return False
        self.shown += data
        return bool(data)
