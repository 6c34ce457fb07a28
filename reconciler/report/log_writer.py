"""Writes the lines of the log, in a thread: a log that is full, hung or gone stops no VM.

The journal is the truth; the log shows it. So the loop never waits for the log, and no error of it
is raised: lines that cannot be written are counted, and the count is written as soon as one can be.
The descriptor is used directly: a thread that hangs in it must not keep the reconciler from ending.
"""

from __future__ import annotations

import os
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

WAITING = 4096  # lines; more are dropped
_END_LIMIT = 1.0  # seconds that lines may still take at the end


class LogWriter:
    """A file-like object for the log's lines: of `descriptor`, or of the file `path`.

    Raises OSError if the file cannot be opened.
    """

    def __init__(self, descriptor: int, path: Path | None = None) -> None:
        self._path = path
        self._descriptor = descriptor if path is None else _opened(path)
        self._lines: queue.Queue[bytes | None] = queue.Queue(WAITING)
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def isatty(self) -> bool:
        """Whether a person reads along."""
        with suppress(OSError):
            return os.isatty(self._descriptor)
        return False

    def write(self, text: str) -> int:
        """Write it soon; never waits, and never fails."""
        try:
            self._lines.put_nowait(text.encode("utf-8", "backslashreplace"))
        except queue.Full:
            self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Each line is written at once."""

    def lost(self) -> int:
        """How many lines were lost since the last call, if there is room for more by now."""
        if not self._lost or self._lines.full():
            return 0
        found, self._lost = self._lost, 0
        return found

    def reopen(self) -> None:
        """Write to a new file of the same name: the old one was moved away (logrotate)."""
        if self._path is not None:
            with suppress(OSError):
                before, self._descriptor = self._descriptor, _opened(self._path)
                os.close(before)

    def close(self) -> None:
        """Write what waits, for a moment, and end."""
        with suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(_END_LIMIT)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                while line:
                    line = line[os.write(self._descriptor, line):]
            except OSError:  # a full disk, a reader that is gone
                self._lost += 1


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
