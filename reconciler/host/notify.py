"""Notifications for single files, by inotify: the QMP socket of a starting VM, a missing image.

One inotify descriptor for all (asyncinotify). watchdog, which watches the source, uses two threads
for each directory: too many for hundreds of VMs. Where the kernel gives no more descriptors or
watches, which other programs may use up, the files are looked at several times a second instead: no
VM depends on inotify.
"""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from asyncinotify import Inotify, Mask, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MASK = (Mask.CREATE | Mask.MOVED_TO | Mask.CLOSE_WRITE | Mask.DELETE | Mask.MOVED_FROM
         | Mask.ATTRIB | Mask.ONLYDIR)
_POLL = 0.1  # seconds between looks at a directory that cannot be watched


def shortage(error: OSError) -> str:
    """What there is not enough of for inotify, and how to get more; empty for another error."""
    if error.errno == errno.ENOSPC:
        return ("the inotify watches of this user are used up; "
                "raise them: sysctl fs.inotify.max_user_watches")
    if error.errno not in (errno.EMFILE, errno.ENFILE):
        return ""
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError:
        return "the open files of the reconciler are used up; raise them: ulimit -n, LimitNOFILE="
    return ("the inotify instances of this user are used up; "
            "raise them: sysctl fs.inotify.max_user_instances")


class Notifier:
    """Calls back on changes in a directory; a directory may have several callbacks.

    `limited` hears once what there is not enough of, when directories have to be polled.
    """

    def __init__(self, limited: Callable[[str], None] = lambda _text: None) -> None:
        self._limited = limited
        self._inotify: Inotify | None = None
        self._watches: dict[Path, Watch] = {}
        self._callbacks: dict[Path, list[Callable[[str], None]]] = {}
        self._polled: set[Path] = set()
        self._made = asyncio.Event()  # there is an inotify descriptor
        self._polling = asyncio.Event()  # a directory is polled
        self._open()

    def _open(self) -> None:
        """Make the descriptor; raises no error for a shortage."""
        try:
            self._inotify = Inotify()
        except OSError as error:
            if not shortage(error):
                raise
            self._limited(shortage(error))
        else:
            self._made.set()

    async def run(self) -> None:
        """Deliver events until cancelled. An error is raised to the owner of the task."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._poll())

    async def _read(self) -> None:
        await self._made.wait()
        assert self._inotify is not None
        with self._inotify as inotify:
            async for event in inotify:
                if event.mask & Mask.Q_OVERFLOW:
                    self._overflowed()
                if event.watch is None:
                    continue
                path = Path(str(event.watch.path))
                if event.mask & Mask.IGNORED:  # the directory was deleted
                    self._watches.pop(path, None)
                for callback in tuple(self._callbacks.get(path, ())):
                    callback(str(event.name) if event.name else "")

    async def _poll(self) -> None:
        """Look at what cannot be watched, and try to watch it."""
        while True:
            await self._polling.wait()
            await asyncio.sleep(_POLL)
            for directory in tuple(self._polled):
                if self._can_watch(directory):
                    self._polled.discard(directory)
                for callback in tuple(self._callbacks.get(directory, ())):
                    callback("")
            if not self._polled:
                self._polling.clear()

    def _can_watch(self, directory: Path) -> bool:
        """Whether it is watched from now on; a directory that is gone needs no more looks."""
        if directory not in self._callbacks:
            return True
        if self._inotify is None:
            with suppress(OSError):
                self._inotify = Inotify()
                self._made.set()
        if self._inotify is None:
            return False
        try:
            self._watches[directory] = self._inotify.add_watch(directory, _MASK)
        except OSError as error:
            return not shortage(error)
        return True

    def close(self) -> None:
        """Stop all watches, even if `run` was never started."""
        if self._inotify is not None:
            self._inotify.close()

    def _overflowed(self) -> None:
        """The kernel dropped events: any file may have changed."""
        for callback in [one for several in self._callbacks.values() for one in several]:
            callback("")

    def watch(self, directory: Path, callback: Callable[[str], None]) -> Callable[[], None]:
        """Watch a directory; returns a function that stops it.

        Raises OSError if it cannot be watched for another reason than a shortage.

        The callback gets the name of the file, or an empty string if the directory itself changed
        or events were dropped.
        """
        if directory not in self._watches and directory not in self._polled:
            self._add(directory)
        self._callbacks.setdefault(directory, []).append(callback)
        return lambda: self._stop(directory, callback)

    def _add(self, directory: Path) -> None:
        if self._inotify is None:
            self._open()
        if self._inotify is not None:
            try:
                self._watches[directory] = self._inotify.add_watch(directory, _MASK)
            except OSError as error:
                if not shortage(error):
                    raise
                self._limited(shortage(error))
            else:
                return
        self._polled.add(directory)
        self._polling.set()

    def _stop(self, directory: Path, callback: Callable[[str], None]) -> None:
        callbacks = self._callbacks.get(directory, [])
        if callback in callbacks:
            callbacks.remove(callback)
        if not callbacks:
            self._callbacks.pop(directory, None)
            watch = self._watches.pop(directory, None)
            self._polled.discard(directory)
            if watch is not None and self._inotify is not None:
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

    def watch_directories(self, directories: Iterable[Path],
                          callback: Callable[[], None]) -> list[Callable[[], None]]:
        """Call back when something in one of these may have changed."""
        stops = []
        for directory in directories:
            try:
                stops.append(self.watch(directory, lambda _name: callback()))
            except OSError:
                continue  # deleted in the meantime; the next resync checks the files
        return stops


def nearest(path: str) -> Path:
    """The directory of a file, or the nearest one above it that exists (blocking)."""
    directory = Path(path).parent
    while not directory.is_dir():
        directory = directory.parent
    return directory
