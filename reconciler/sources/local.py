"""The source `directory`: a watched directory of this host, recognised again after a restart."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from reconciler.host.files import write_whole
from reconciler.sources.directory import Directory, Root
from reconciler.sources.file_system import shared_kind
from reconciler.sources.source import Source
from reconciler.sources.work_tree import WorkTree

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing
    from reconciler.sources.watch import Watch

POLL = 2.0  # seconds between looks at a directory whose changes are not reported
_LOCK_LOOK = 1.0  # seconds until git's lock is looked at again if no event comes first
_LOCK_PAUSE = 0.05  # the same while nothing is watched
_PROBE = ".watched"  # touched to test whether events still arrive


class Local(Source):
    """See sources/source.py."""

    writable: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root_file = settings.state / "source.json"
        self._watch: Watch | None = None
        self._wake: Callable[[float], None] = lambda _delay: None
        self.directory = Directory(settings.domains, settings.source.include,
                                   settings.source.settle, self._known_root())
        self._work_tree = WorkTree(settings.domains)
        self._last: Listing | None = None  # read while no git command was running
        self._waiting = False

    @classmethod
    def configured(cls, settings: Settings) -> str:
        """The directory."""
        return str(settings.domains)

    @classmethod
    async def offline(cls, settings: Settings) -> Listing:
        """The directory as it is now."""
        return Directory(settings.domains, settings.source.include, 0.0).look()

    @classmethod
    async def at_revision(cls, settings: Settings, ref: str) -> Listing:
        """The directory in a commit of the git repository that it lies in."""
        from reconciler.sources.revision import files_of  # noqa: PLC0415  # git is rarely needed

        return await files_of(settings.domains, ref, settings.source.include)

    @property
    def busy(self) -> bool:
        """Whether the last look had to wait for a git command; otherwise a look is the newest."""
        return self._waiting

    @property
    def where(self) -> str:
        """The directory."""
        return str(self.directory.path)

    def answers(self) -> bool:
        """Whether events still arrive."""
        return self._watch is None or self._watch.answers()

    def start(self, wake: Callable[[float], None]) -> None:
        """Watch the directory."""
        from reconciler.sources.watch import Watch  # noqa: PLC0415  # `create` needs no watchdog

        self._wake = wake
        self._watch = Watch(self.directory, wake, self._settings.source.settle,
                            self._settings.runtime / _PROBE)

    async def refresh(self) -> None:
        """Wait until no git command changes the directory, or its lock counts as stale."""
        while self._work_tree.look().locked:  # noqa: ASYNC110  # nothing is watched here
            await asyncio.sleep(_LOCK_PAUSE)

    def look(self) -> Listing | None:
        """All finished files; while a git command changes them, the last listing."""
        checkout = self._work_tree.look()
        try:
            found = None if checkout.locked else self.directory.look()
        finally:
            if self._watch is not None and self._watch.follow():
                self._wake(0.0)  # events from before the new watches were missed
        if found is None or self._work_tree.look() != checkout:
            return self._postponed()
        self._keep_root()
        self._waiting = False
        polled = self._polled()
        self._last = replace(found, remark="; ".join(filter(None, (checkout.remark, polled))))
        if not polled:
            return self._last
        soon = min(found.again_in or POLL, POLL)
        return replace(self._last, again_in=soon)

    def _polled(self) -> str:
        """Why the directory is read every few seconds; empty if its changes are reported."""
        if self._watch is None:
            return ""
        lacking, kind = self._watch.lacking, shared_kind(self.directory.path)
        self.polling = bool(lacking or kind)
        if lacking:
            return f"{lacking}; until then, the directory is read every {POLL:g} s"
        return (f"the directory is on a file system ({kind}) that other hosts may change unseen; "
                f"it is read every {POLL:g} s") if kind else ""

    def _postponed(self) -> Listing | None:
        self._waiting = True
        if self._last is None:
            self._wake(_LOCK_LOOK)  # a safety net: the lock is watched as well
            return None
        # Files that it lacks may exist by now, so it is not evidence of a removal (rule 6).
        return replace(self._last, complete=False, again_in=_LOCK_LOOK)

    def accept_root(self) -> None:
        """Remember the directory as it is now."""
        self.directory.accept_root()
        self._keep_root()

    def describe(self) -> dict[str, Any]:
        """Its path."""
        return {"kind": "directory", "path": str(self.directory.path)}

    def stop(self) -> None:
        """End the watch."""
        if self._watch is not None:
            self._watch.stop()

    def _keep_root(self) -> None:
        root = self.directory.root
        if root is not None and root != self._known_root():
            value = {"path": str(self.directory.path), "device": root.device, "inode": root.inode}
            with suppress(OSError):  # such as a full disk: the next look tries again
                write_whole(self._root_file, json.dumps(value).encode())

    def _known_root(self) -> Root | None:
        """The directory's identity at the last look, also before a restart."""
        try:
            value = json.loads(self._root_file.read_bytes())
            if value["path"] == str(self._settings.domains):
                return Root(value["device"], value["inode"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None
