"""A watched directory: complete listings of its domain files, or an error; never a part of them.

Editors' temporary files are no domain files. watchdog only wakes; the listing is the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Incomplete(Exception):
    """The listing could not be completed: no evidence of anything (rule 3)."""


def is_domain_file(name: str) -> bool:
    """Only *.xml that is no hidden, backup or temporary file."""
    return name.endswith(".xml") and name[0] not in ".#~"


def listing(path: Path) -> dict[str, bytes]:
    """Every domain file with its bytes; raises Incomplete when any of it cannot be read."""
    try:
        return {file.name: file.read_bytes() for file in sorted(path.iterdir())
                if is_domain_file(file.name)}
    except OSError as error:
        message = f"{path} cannot be read completely: {error.strerror}"
        raise Incomplete(message) from error


class _Wake(FileSystemEventHandler):
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        # A write that is not closed yet is half a file; opening and reading are nobody's news.
        if event.event_type in ("closed", "moved", "deleted"):
            self._wake()


class Watch:
    """Calls `wake`, from a thread of watchdog's, whenever something was finished in `path`."""

    def __init__(self, path: Path, wake: Callable[[], None]) -> None:
        self._observer = Observer()
        self._observer.schedule(_Wake(wake), str(path.parent), recursive=True)
        self._observer.start()

    def stop(self) -> None:
        """End the thread."""
        self._observer.stop()
        self._observer.join(2)
