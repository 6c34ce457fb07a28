"""Wakes us when something in the watched directory is finished: watchdog on inotify.

It only wakes; the listing is the truth. Watched are the directory, its parent (it may be replaced)
and the parent of every symbolic link on the way to it (links are swapped); in a git work tree also
the directory with git's lock, which tells when a pull is over. watchdog calls from a thread of its
own. Whether it still does is proved by a file of ours that is touched now and then.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper

from reconciler.sources.directory import Directory, Signature
from reconciler.sources.observer import Observer
from reconciler.sources.work_tree import git_directory, is_lock

if TYPE_CHECKING:
    from collections.abc import Callable

# Reading and half a write are nobody's news.
_EVENTS: list[type[FileSystemEvent]] = [
    FileClosedEvent, FileMovedEvent, FileDeletedEvent, FileCreatedEvent,
    DirCreatedEvent, DirDeletedEvent, DirMovedEvent]
_LONGEST_CHAIN = 40  # of symbolic links, as the kernel has it


class _Handler(FileSystemEventHandler):
    """Notes finished files, and wakes for what can matter."""

    def __init__(self, directory: Directory, wake: Callable[[float], None], settle: float,
                 probe: Path) -> None:
        self.heard = True  # of the probe, since it was touched
        self._probe = (os.path.realpath(probe.parent), probe.name)
        self.steps: frozenset[str] = frozenset()  # names on the way to the directory
        self.insides: frozenset[str] = frozenset()  # the directory itself, by its real name
        self.git = ""  # where git's lock is, of a work tree
        self._directory = directory
        self._wake = wake
        self._settle = settle

    def on_any_event(self, event: FileSystemEvent) -> None:
        """In watchdog's thread."""
        paths = [os.path.split(os.fsdecode(path))
                 for path in (event.src_path, event.dest_path) if path]
        if self._probe in paths:
            self.heard = True
            return
        names = {name for _, name in paths}
        files = [name for place, name in paths
                 if name and place in self.insides and self._directory.is_domain_file(name)]
        if event.event_type in ("closed", "moved"):
            for file in files:
                self._directory.touched.add(file)
                with suppress(OSError):
                    found = os.stat(self._directory.path / file)
                    self._directory.finished[file] = Signature.of(found)
        if names & self.steps or self._unlocked(event, paths):
            self._wake(0.0)
        elif files:
            # A file that was just made is looked at once there was time to write it.
            self._wake(self._settle if event.event_type == "created" else 0.0)
        elif self._inside(event) and event.event_type in ("moved", "deleted"):
            self._wake(self._settle)  # what domain files are links to, as in a ConfigMap

    def _unlocked(self, event: FileSystemEvent, paths: list[tuple[str, str]]) -> bool:
        return event.event_type in ("moved", "deleted") and any(
            place == self.git and is_lock(name) for place, name in paths)

    def _inside(self, event: FileSystemEvent) -> bool:
        return any(os.path.dirname(os.fsdecode(path)) in self.insides
                   for path in (event.src_path, event.dest_path) if path)


class Watch:
    """Calls `wake(seconds)`, from a thread, whenever the directory deserves a look.

    `probe` is a file for us alone.
    """

    def __init__(self, directory: Directory, wake: Callable[[float], None], settle: float,
                 probe: Path) -> None:
        self._path = directory.path
        self._directory = directory
        self._wake = wake
        self._probe = probe
        self._anew = False  # whether nobody knows any more what is watched
        self._handler = _Handler(directory, wake, settle, probe)
        self._points: frozenset[tuple[str, int]] = frozenset()
        # watchdog holds a rename back for half a second, and all that follows it, to pair both
        # ends of it. We need no pairs: every end is looked at anyway.
        InotifyMoveEventGrouper.delay = 0.0
        self._observer = Observer(self._lost)
        self._observer.start()
        self.follow()

    @property
    def alive(self) -> bool:
        """Whether its threads run: a watcher that died must not go unseen."""
        return self._observer.sound

    def answers(self) -> bool:
        """Whether it heard of the probe since the last question; then touches it anew."""
        heard, self._handler.heard = self._handler.heard, False
        try:
            os.close(os.open(self._probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError:
            self._handler.heard = heard = True  # it cannot be asked, which proves nothing
        if not heard and self.alive:
            self._anew = True
            self.follow()
        return heard and self.alive

    def _lost(self) -> None:
        """The kernel dropped events: anything may have changed, also what there is to watch."""
        self._directory.doubt()
        self._anew = True
        self._wake(0.0)

    def follow(self) -> bool:
        """Watch what the path leads through now, unless it is the same; whether it was not."""
        try:
            points, links = _points(self._path)
            git = git_directory(self._path)
            beside = _place(git) | _place(Path(os.path.realpath(self._probe.parent)))
        except FileNotFoundError:
            return True  # it is being replaced just now
        # A directory that is made anew may get the inode of the old one, whose watch has ended.
        watching = all(emitter.should_keep_running() for emitter in self._observer.emitters)
        if points | beside == self._points and watching and not self._anew:
            return False
        self._anew = False
        self._observer.unschedule_all()
        for place, _ in points | beside:
            with suppress(OSError):  # it went in between; the resync follows again
                self._observer.schedule(self._handler, place, event_filter=_EVENTS)
        self._points = points | beside
        self._handler.git = str(git or "")
        self._handler.steps = links | {
            self._path.name, *(os.path.basename(place) for place, _ in points)}
        self._handler.insides = frozenset({os.path.realpath(self._path)})
        return True

    def stop(self) -> None:
        """End the thread."""
        self._observer.stop()
        self._observer.join(1)


def _place(directory: Path | None) -> frozenset[tuple[str, int]]:
    """A directory to watch, if it is there."""
    if directory is None or not directory.is_dir():
        return frozenset()
    return frozenset({(str(directory), os.stat(directory).st_ino)})


def _points(path: Path) -> tuple[frozenset[tuple[str, int]], frozenset[str]]:
    """The directories to watch, each with its inode, so that a replaced one is seen; the links."""
    found: list[str] = []
    links: set[str] = set()
    here = Path(os.path.abspath(path))
    for _ in range(_LONGEST_CHAIN):
        link = next((step for step in (*reversed(here.parents), here) if step.is_symlink()), None)
        if link is None:
            break
        found.append(str(link.parent))
        links.add(link.name)
        here = Path(os.path.normpath(link.parent / os.readlink(link) / here.relative_to(link)))
    parent = here.parent
    while not parent.is_dir():
        parent = parent.parent
    found += [str(parent), *([str(here)] if here.is_dir() else [])]
    return frozenset((place, os.stat(place).st_ino) for place in found), frozenset(links)
