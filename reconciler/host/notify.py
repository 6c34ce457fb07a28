"""Notifications for single files, by inotify: the QMP socket of a starting VM, a missing image.

One inotify descriptor for all (asyncinotify). watchdog, which watches the source, uses two threads
for each directory: too many for hundreds of VMs.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from asyncinotify import Inotify, Mask, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MASK = (Mask.CREATE | Mask.MOVED_TO | Mask.CLOSE_WRITE | Mask.DELETE | Mask.MOVED_FROM
         | Mask.ATTRIB | Mask.ONLYDIR)


class Notifier:
    """Calls back on changes in a directory; a directory may have several callbacks."""

    def __init__(self) -> None:
        self._inotify = Inotify()
        self._watches: dict[Path, Watch] = {}
        self._callbacks: dict[Path, list[Callable[[str], None]]] = {}

    async def run(self) -> None:
        """Deliver events until cancelled. An error is raised to the owner of the task."""
        with self._inotify:
            async for event in self._inotify:
                if event.mask & Mask.Q_OVERFLOW:
                    self._overflowed()
                if event.watch is None:
                    continue
                path = Path(str(event.watch.path))
                if event.mask & Mask.IGNORED:  # the directory was deleted
                    self._watches.pop(path, None)
                for callback in tuple(self._callbacks.get(path, ())):
                    callback(str(event.name) if event.name else "")

    def close(self) -> None:
        """Stop all watches, even if `run` was never started."""
        self._inotify.close()

    def _overflowed(self) -> None:
        """The kernel dropped events: any file may have changed."""
        for callback in [one for several in self._callbacks.values() for one in several]:
            callback("")

    def watch(self, directory: Path, callback: Callable[[str], None]) -> Callable[[], None]:
        """Watch a directory; returns a function that stops it. Raises OSError.

        The callback gets the name of the file, or an empty string if the directory itself changed
        or events were dropped.
        """
        if directory not in self._watches:
            self._watches[directory] = self._inotify.add_watch(directory, _MASK)
        self._callbacks.setdefault(directory, []).append(callback)
        return lambda: self._stop(directory, callback)

    def _stop(self, directory: Path, callback: Callable[[str], None]) -> None:
        callbacks = self._callbacks.get(directory, [])
        if callback in callbacks:
            callbacks.remove(callback)
        if not callbacks:
            self._callbacks.pop(directory, None)
            watch = self._watches.pop(directory, None)
            if watch is not None:
                try:
                    self._inotify.rm_watch(watch)
                except (OSError, ValueError):
                    return  # the kernel removed it with its directory, or at shutdown

    @contextmanager
    def appearing(self, path: Path) -> Iterator[asyncio.Event]:
        """An event that is set when `path` is created. Raises OSError without its directory."""
        created = asyncio.Event()

        def changed(name: str) -> None:
            if name == path.name or (not name and path.exists()):
                created.set()

        stop = self.watch(path.parent, changed)
        try:
            yield created
        finally:
            stop()

    def watch_files(self, paths: Iterable[str],
                    callback: Callable[[], None]) -> list[Callable[[], None]]:
        """Call back when one of these files may have changed; they need not exist yet."""
        stops = []
        for directory in {_nearest(Path(path).parent) for path in paths}:
            try:
                stops.append(self.watch(directory, lambda _name: callback()))
            except OSError:
                continue  # deleted in the meantime; the next resync checks the files
        return stops


def _nearest(directory: Path) -> Path:
    while not directory.is_dir():
        directory = directory.parent
    return directory
