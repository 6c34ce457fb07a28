"""Wake-ups from the kernel for single files: the socket of a VM that starts, a missing image.

One inotify descriptor for all (asyncinotify); watchdog, which watches the source, has two threads a
directory, too many for hundreds of VMs.
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
    """Calls back when something happens in a directory; several may watch one directory."""

    def __init__(self) -> None:
        self._inotify = Inotify()
        self._watches: dict[Path, Watch] = {}
        self._callbacks: dict[Path, list[Callable[[str], None]]] = {}

    async def run(self) -> None:
        """Deliver until cancelled; the owner of this task sees its exception."""
        with self._inotify:
            async for event in self._inotify:
                if event.mask & Mask.Q_OVERFLOW:
                    self._lost()
                if event.watch is None:
                    continue
                path = Path(str(event.watch.path))
                if event.mask & Mask.IGNORED:  # the directory has gone
                    self._watches.pop(path, None)
                for callback in tuple(self._callbacks.get(path, ())):
                    callback(str(event.name) if event.name else "")

    def close(self) -> None:
        """End all watches, also where `run` was never started."""
        self._inotify.close()

    def _lost(self) -> None:
        """The kernel dropped events: anything may have happened anywhere."""
        for callback in [one for several in self._callbacks.values() for one in several]:
            callback("")

    def watch(self, directory: Path, callback: Callable[[str], None]) -> Callable[[], None]:
        """Begin; returns what ends it. A directory that is not there raises OSError.

        The callback gets the name of a file, or none: the directory itself, or events were lost.
        """
        if directory not in self._watches:
            self._watches[directory] = self._inotify.add_watch(directory, _MASK)
        self._callbacks.setdefault(directory, []).append(callback)
        return lambda: self._end(directory, callback)

    def _end(self, directory: Path, callback: Callable[[str], None]) -> None:
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
                    return  # it went with its directory, or all of them at our own end

    @contextmanager
    def appearing(self, path: Path) -> Iterator[asyncio.Event]:
        """An event that is set when `path` is made."""
        made = asyncio.Event()

        def heard(name: str) -> None:
            if name == path.name or (not name and path.exists()):
                made.set()

        end = self.watch(path.parent, heard)
        try:
            yield made
        finally:
            end()

    def watch_files(self, paths: Iterable[str],
                    callback: Callable[[], None]) -> list[Callable[[], None]]:
        """Call back when any of these files may have changed, also ones that are not there yet."""
        ends = []
        for directory in {_nearest(Path(path).parent) for path in paths}:
            try:
                ends.append(self.watch(directory, lambda _name: callback()))
            except OSError:
                continue  # it went in between; the resync looks again
        return ends


def _nearest(directory: Path) -> Path:
    while not directory.is_dir():
        directory = directory.parent
    return directory
