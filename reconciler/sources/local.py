"""The source `directory`: a directory of this host, watched, and known again after our restart."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reconciler.host.files import write_whole
from reconciler.sources.directory import Directory, Root
from reconciler.sources.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing


class Local:
    """See sources/source.py."""

    busy = False  # a look is always the newest

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root_file = settings.state / "source.json"
        self._watch: Watch | None = None
        self._wake: Callable[[float], None] = lambda _delay: None
        self.directory = Directory(settings.domains, settings.source.include,
                                   settings.source.settle, self._known_root())

    @property
    def where(self) -> str:
        """The directory."""
        return str(self.directory.path)

    @property
    def alive(self) -> bool:
        """Whether the watcher's thread runs."""
        return self._watch is None or self._watch.alive

    def start(self, wake: Callable[[float], None]) -> None:
        """Watch the directory."""
        self._wake = wake
        self._watch = Watch(self.directory, wake, self._settings.source.settle)

    async def run(self) -> None:
        """Nothing: the kernel wakes us."""
        await asyncio.Event().wait()

    async def refresh(self) -> None:
        """Nothing: a look is always the newest."""

    def ask(self) -> None:
        """Nothing: a look is always the newest."""

    def look(self) -> Listing:
        """All files that are finished."""
        try:
            found = self.directory.look()
        finally:
            if self._watch is not None and self._watch.follow():
                self._wake(0.0)  # what came before it was watched was seen by nobody
        self._keep_root()
        return found

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
