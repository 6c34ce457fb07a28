"""The source `directory`: a directory of this host, watched, and known again after our restart."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.host.files import write_whole
from reconciler.sources.directory import Directory, Root
from reconciler.sources.watch import Watch
from reconciler.sources.work_tree import WorkTree

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing

_LOCK_LOOK = 1.0  # seconds between two looks at git's lock, should the kernel not tell
_LOCK_PAUSE = 0.05  # the same where nothing is watched
_PROBE = ".watched"  # touched to see whether the watcher hears of it


class Local:
    """See sources/source.py."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root_file = settings.state / "source.json"
        self._watch: Watch | None = None
        self._wake: Callable[[float], None] = lambda _delay: None
        self.directory = Directory(settings.domains, settings.source.include,
                                   settings.source.settle, self._known_root())
        self._work_tree = WorkTree(settings.domains)
        self._last: Listing | None = None  # from when no git was at work
        self._waiting = False

    @property
    def busy(self) -> bool:
        """Whether git was at work at the last look; else a look is always the newest."""
        return self._waiting

    rewind = None  # a directory has no history

    def allow(self, revision: str) -> None:
        """Nothing waits for it."""

    @property
    def where(self) -> str:
        """The directory."""
        return str(self.directory.path)

    def answers(self) -> bool:
        """Whether the watcher hears what happens."""
        return self._watch is None or self._watch.answers()

    def start(self, wake: Callable[[float], None]) -> None:
        """Watch the directory."""
        self._wake = wake
        self._watch = Watch(self.directory, wake, self._settings.source.settle,
                            self._settings.runtime / _PROBE)

    async def run(self) -> None:
        """Nothing: the kernel wakes us."""
        await asyncio.Event().wait()

    async def refresh(self) -> None:
        """Wait until no git is at work there; it waits no longer than for a stale lock."""
        while self._work_tree.look().locked:  # noqa: ASYNC110  # nothing is watched here
            await asyncio.sleep(_LOCK_PAUSE)

    def ask(self) -> None:
        """Nothing: a look is always the newest."""

    def look(self) -> Listing | None:
        """All files that are finished; while git changes them, what there was before."""
        checkout = self._work_tree.look()
        try:
            found = None if checkout.locked else self.directory.look()
        finally:
            if self._watch is not None and self._watch.follow():
                self._wake(0.0)  # what came before it was watched was seen by nobody
        if found is None or self._work_tree.look() != checkout:
            return self._postponed()
        self._keep_root()
        self._waiting = False
        self._last = replace(found, remark=checkout.remark)
        return self._last

    def _postponed(self) -> Listing | None:
        self._waiting = True
        if self._last is None:
            self._wake(_LOCK_LOOK)  # the net: the lock is watched, too
            return None
        # What it does not have may be there by now: no evidence of a removal (rule 6).
        return replace(self._last, complete=False, again_in=_LOCK_LOOK)

    def describe(self) -> dict[str, Any]:
        """Where it is."""
        return {"kind": "directory", "path": str(self.directory.path)}

    def stop(self) -> None:
        """Watch no more."""
        if self._watch is not None:
            self._watch.stop()

    def _keep_root(self) -> None:
        root = self.directory.root
        if root is not None and root != self._known_root():
            value = {"path": str(self.directory.path), "device": root.device, "inode": root.inode}
            with suppress(OSError):  # a full disk: the next look writes it
                write_whole(self._root_file, json.dumps(value).encode())

    def _known_root(self) -> Root | None:
        """Which directory it was the last time, also before our restart."""
        try:
            value = json.loads(self._root_file.read_bytes())
            if value["path"] == str(self._settings.domains):
                return Root(value["device"], value["inode"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None
