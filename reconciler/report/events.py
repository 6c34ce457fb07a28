"""Events: each is appended to the journal events.jsonl and passed to the log.

The event of an action is on disk (fdatasync, about 0.1 ms) before the action is taken. Identical
consecutive warnings of a domain are folded into one event with a count.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from reconciler.failpoints import Point, nothing
from reconciler.units import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.failpoints import Reached

ROTATE_AT = 16 << 20
_TAIL = 8192  # bytes; the last event is almost always within these
KEPT = 3  # rotated journals, besides the current one


__all__ = ["KEPT", "ROTATE_AT", "Journal", "timestamp"]


class Journal:
    """Appends events. `show` is called with each event: the log."""

    def __init__(self, path: Path, show: Callable[[dict[str, Any]], None],
                 rotate_at: int = ROTATE_AT, reached: Reached = nothing) -> None:
        self._reached = reached
        self._path = path
        self._show = show
        self._rotate_at = rotate_at
        self._mark = _mark(path)
        self._sequence = max(_last_sequence(path), _marked(self._mark))
        self._file = self._open()
        if _torn(path):
            self._file.write("\n")
        self._last: dict[str, tuple[dict[str, Any], int]] = {}
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self.full = ""  # the error while the journal cannot be written

    def write(self, event: str, *, severity: str = "info", durable: bool = False,
              **values: object) -> None:
        """Write one event. `durable`: it is on disk when this returns.

        Never fails: on a full disk the log still gets the event, and `full` has the error.
        """
        content = {"event": event, "severity": severity,
                   **{key: value for key, value in values.items() if value not in (None, "")}}
        count = self._folds(content)
        if count and count & (count - 1):
            return  # only the 2nd, 4th, 8th … repetition is written, with the count
        if count:
            content["count"] = count
        self._sequence += 1
        line = {"time": timestamp(), "seq": self._sequence, **content}
        try:
            self._reached(Point.JOURNAL)
            self._append(json.dumps(line, default=str) + "\n", durable=durable)
            self.full = ""
        except OSError as error:
            self._failed(error)
        self._show(line)
        for listener in self._listeners:
            listener(line)

    def retry(self) -> None:
        """Write what a full disk did not take, if there is room by now; `full` says whether."""
        try:
            if self._file.closed:
                self._file = self._open()
            self._file.flush()
            os.fdatasync(self._file.fileno())
            self.full = ""
        except OSError as error:
            self._failed(error)

    def subscribe(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Call this with each event from now on, as it is written."""
        self._listeners.append(listener)

    def close(self) -> None:
        """Close the journal."""
        with suppress(OSError):  # a full disk, reported by `full` before
            self._file.close()

    def _failed(self, error: OSError) -> None:
        """Keep the number that was given out: after a kill the journal does not have it."""
        self.full = f"{self._path}: {error.strerror}"
        # Overwritten in place, which needs no room on most file systems.
        with suppress(OSError), open(self._mark, "r+b") as file:
            file.write(_number(self._sequence))

    def _folds(self, content: dict[str, Any]) -> int:
        """How often the same warning came in a row; 0 for the first one and for any other event."""
        key = str(content.get("domain", ""))
        if content["severity"] == "info":
            self._last.pop(key, None)
            return 0
        same = {k: v for k, v in content.items() if k not in ("attempt", "durationMs")}
        last, count = self._last.get(key, ({}, 0))
        count = count + 1 if last == same else 1
        self._last[key] = (same, count)
        return 0 if count == 1 else count

    def _append(self, text: str, *, durable: bool) -> None:
        if self._file.closed:  # a rotation was interrupted by an error
            self._file = self._open()
        self._file.write(text)
        self._file.flush()
        if durable:
            os.fdatasync(self._file.fileno())
        if self._file.tell() > self._rotate_at:
            self._file.close()
            for number in range(KEPT, 0, -1):
                older = self._path.with_suffix(f".jsonl.{number}")
                newer = self._path.with_suffix(f".jsonl.{number - 1}") if number > 1 else self._path
                if newer.exists():
                    newer.replace(older)
            self._file = self._open()

    def _open(self) -> TextIO:
        return open(self._path, "a", encoding="utf-8", opener=lambda path, flags: os.open(
            path, flags, 0o600))


def _mark(path: Path) -> Path:
    """The file for the last number that was given out while the journal could not be written.

    It gets its block now: there may be none when it is needed.
    """
    mark = path.with_suffix(".seq")
    with suppress(OSError):  # the journal itself reports a disk that is full already
        if not mark.exists() or not mark.stat().st_size:
            mark.write_bytes(_number(0))
    return mark


def _number(number: int) -> bytes:
    return b"%020d\n" % number


def _marked(mark: Path) -> int:
    try:
        return int(mark.read_bytes())
    except (OSError, ValueError):
        return 0


def _torn(path: Path) -> bool:
    """Whether the file ends in an incomplete line, from a crash."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
    except OSError:
        return False


def _last_sequence(path: Path) -> int:
    """The number of the last event: numbers continue across restarts and rotations."""
    for file, most in ((path, _TAIL), (path, ROTATE_AT), (path.with_suffix(".jsonl.1"), _TAIL)):
        try:
            with open(file, "rb") as journal:
                journal.seek(max(0, os.fstat(journal.fileno()).st_size - most))
                lines = journal.read(most).splitlines()
        except OSError:
            continue
        for line in reversed(lines):
            try:
                return int(json.loads(line)["seq"])
            except (ValueError, KeyError, TypeError):
                continue  # an incomplete line, from a crash or from the middle of a block
    return 0
