"""Wakes us when something in the watched directory is finished: watchdog on inotify.

It only wakes; the listing is the truth. Watched are the directory, its parent (it may be replaced)
and the parent of every symbolic link on the way to it (links are swapped); in a git work tree also
the directory with git's lock, which tells when a pull is over. watchdog calls from a thread of its
own.
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
from watchdog.observers.inotify import InotifyObserver
from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper

from reconciler.sources.directory import Directory, Signature
from reconciler.sources.work_tree import git_directory, is_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchdog.observers.api import BaseObserver

# Reading and half a write are nobody's news.
_EVENTS: list[type[FileSystemEvent]] = [
    FileClosedEvent, FileMovedEvent, FileDeletedEvent, FileCreatedEvent,
    DirCreatedEvent, DirDeletedEvent, DirMovedEvent]
_LONGEST_CHAIN = 40  # of symbolic links, as the kernel has it


class _Handler(FileSystemEventHandler):
    """Notes finished files, and wakes for what can matter."""

    def __init__(self, directory: Directory, wake: Callable[[float], None], settle: float) -> None:
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
    """Calls `wake(seconds)`, from a thread, whenever the directory deserves a look."""

    def __init__(self, directory: Directory, wake: Callable[[float], None],
                 settle: float) -> None:
        self._path = directory.path
        self._handler = _Handler(directory, wake, settle)
        self._points: frozenset[tuple[str, int]] = frozenset()
        # watchdog holds a rename back for half a second, and all that follows it, to pair both
        # ends of it. We need no pairs: every end is looked at anyway.
        InotifyMoveEventGrouper.delay = 0.0
        # Full events: what is renamed into place from elsewhere is a move, not a creation.
        self._observer: BaseObserver = InotifyObserver(generate_full_events=True)
        self._observer.start()
        self.follow()

    @property
    def alive(self) -> bool:
        """Whether its thread runs: a watcher that died must not go unseen."""
        return self._observer.is_alive()

    def follow(self) -> bool:
        """Watch what the path leads through now, unless it is the same; whether it was not."""
        try:
            points, links = _points(self._path)
            git = git_directory(self._path)
            lock_place = frozenset({(str(git), os.stat(git).st_ino)} if git is not None else ())
        except FileNotFoundError:
            return True  # it is being replaced just now
        # A directory that is made anew may get the inode of the old one, whose watch has ended.
        watching = all(emitter.should_keep_running() for emitter in self._observer.emitters)
        if points | lock_place == self._points and watching:
            return False
        self._observer.unschedule_all()
        for place, _ in points | lock_place:
            with suppress(OSError):  # it went in between; the resync follows again
                self._observer.schedule(self._handler, place, event_filter=_EVENTS)
        self._points = points | lock_place
        self._handler.git = str(git or "")
        self._handler.steps = links | {
            self._path.name, *(os.path.basename(place) for place, _ in points)}
        self._handler.insides = frozenset({os.path.realpath(self._path)})
        return True

    def stop(self) -> None:
        """End the thread."""
        self._observer.stop()
        self._observer.join(1)


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
