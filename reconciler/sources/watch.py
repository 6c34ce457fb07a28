"""Wakes the engine when a change in the watched directory is complete.

An event only causes a look; what is true is in the listing. Watched are the directory, its parent
(the directory may be replaced) and the parent of every symbolic link on the path (links may be
swapped); in a git work tree also the directory with git's lock, whose removal ends a pull. A file
of ours is touched at each heartbeat, to test that events still arrive.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from watchdog.events import FileSystemEvent, FileSystemEventHandler

from reconciler.host.notify import shortage
from reconciler.sources.directory import Directory, Signature
from reconciler.sources.observer import EventsLost, Observer
from reconciler.sources.work_tree import is_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.sources.survey import Survey


class _Handler(FileSystemEventHandler):
    """Records finished files, and wakes the engine for what may be a change."""

    def __init__(self, directory: Directory, wake: Callable[[float], None], settle: float,
                 probe: Path, lost: Callable[[], None]) -> None:
        self.heard = True  # an event for the probe has arrived since it was touched
        self._lost = lost
        self._probe = (os.path.realpath(probe.parent), probe.name)
        self.steps: frozenset[str] = frozenset()  # names on the path to the directory
        self.insides: frozenset[str] = frozenset()  # the real path of the directory
        self.git = ""  # the directory of git's lock, if there is one
        self._directory = directory
        self._wake = wake
        self._settle = settle

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by the observer's thread for every event."""
        if isinstance(event, EventsLost):
            self._lost()
            return
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
                    # Not what a link points at: that may be on a file system that hangs.
                    found = os.stat(self._directory.path / file, follow_symlinks=False)
                    self._directory.finished[file] = Signature.of(found)
        if names & self.steps or self._unlocked(event, paths):
            self._wake(0.0)
        elif files:
            # A created file gets the time to be written.
            self._wake(self._settle if event.event_type == "created" else 0.0)
        elif self._inside(event) and event.event_type in ("moved", "deleted"):
            self._wake(self._settle)  # possibly the target of links, as in a ConfigMap

    def _unlocked(self, event: FileSystemEvent, paths: list[tuple[str, str]]) -> bool:
        return event.event_type in ("moved", "deleted") and any(
            place == self.git and is_lock(name) for place, name in paths)

    def _inside(self, event: FileSystemEvent) -> bool:
        return any(os.path.dirname(os.fsdecode(path)) in self.insides
                   for path in (event.src_path, event.dest_path) if path)


class Watch:
    """Calls `wake(seconds)`, from another thread, when the directory should be looked at.

    `probe` is a file that nothing else uses.
    """

    def __init__(self, directory: Directory, wake: Callable[[float], None], settle: float,
                 probe: Path) -> None:
        self._path = directory.path
        self._directory = directory
        self._wake = wake
        self._probe = probe
        self._again = False  # watch again even if the directories are the same
        self.lacking = ""  # what there is not enough of to watch everything
        self._handler = _Handler(directory, wake, settle, probe, self._lost)
        self._points: frozenset[tuple[str, int]] = frozenset()
        self._observer = Observer()
        self._observer.start()

    @property
    def alive(self) -> bool:
        """Whether its threads run."""
        return self._observer.sound

    def answers(self) -> bool:
        """Whether an event for the probe arrived since the last call; touches it again.

        Where the kernel gives no watches, the directory is polled, which is as good; before the
        first look, or while the directory does not answer, there is nothing to hear.
        """
        if self.lacking or not self.begun:
            self._handler.heard = True
            return self.alive
        heard, self._handler.heard = self._handler.heard, False
        try:
            os.close(os.open(self._probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError:
            self._handler.heard = heard = True  # no probe, so nothing is known: not a failure
        if not heard and self.alive:
            self._again = True
            self._wake(0.0)
        return heard and self.alive

    def _lost(self) -> None:
        """The kernel dropped events: files and watched directories may have changed."""
        self._directory.doubt()
        self._again = True
        self._wake(0.0)

    @property
    def begun(self) -> bool:
        """Whether anything was watched so far."""
        return bool(self._points)

    def follow(self, found: Survey | None) -> bool:
        """Watch what was found; whether that has changed, so that events were missed."""
        if found is None:
            return True
        # A new directory may have the inode of a deleted one, whose watch has ended.
        if found.places == self._points and self._observer.watching and not (
                self._again or self.lacking):
            return False
        self._again, before, self.lacking = False, self.lacking, ""
        self._observer.unschedule_all()
        for place, _ in found.places:
            try:
                self._observer.schedule(self._handler, place)
            except OSError as error:  # deleted meanwhile: the next look follows again
                self.lacking = self.lacking or shortage(error)
        self._points = found.places
        self._handler.git = found.git
        self._handler.steps = found.steps
        self._handler.insides = frozenset({found.inside})
        return not self.lacking or self.lacking != before  # else nothing new is watched

    def stop(self) -> None:
        """End the threads."""
        self._observer.stop()
        self._observer.join(1)
