"""The source `directory`: a watched directory of this host, recognised again after a restart."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from reconciler.errors import HostError, SourceError
from reconciler.host.files import write_whole
from reconciler.host.helper import Helper
from reconciler.host.workers import Call, Worker
from reconciler.sources.directory import Directory, Root, Scan, ScanRequest, scan
from reconciler.sources.source import Source
from reconciler.sources.survey import Survey, remote_links, survey
from reconciler.sources.work_tree import Identities, WorkTree, identities

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing
    from reconciler.sources.watch import Watch

POLL = 2.0  # seconds between looks at a directory whose changes are not reported
_LOCK_LOOK = 1.0  # seconds until git's lock is looked at again if no event comes first
_LOCK_PAUSE = 0.05  # the same while nothing is watched
_PROBE = ".watched"  # touched to test whether events still arrive


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that a look sees. If git's identities are equal, no git command ran in between."""

    before: Identities
    found: Scan | SourceError
    after: Identities
    survey: Survey | None


def inspect(request: ScanRequest, surveyed: tuple[Path, Path] | None) -> Inspection:
    """Read the directory (blocking), and what is to be watched if that is `surveyed`."""
    before = identities(request.path)
    found: Scan | SourceError
    try:
        found = scan(request)
    except SourceError as error:
        found = error
    return Inspection(before, found, identities(request.path),
                      None if surveyed is None else survey(*surveyed))


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
        self._helper = Helper()
        self._worker = Worker(self._helper, self._answered)

    def _answered(self) -> None:
        self._wake(0.0)

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
        with suppress(SourceError):  # the look raises it again
            while self._work_tree.judge(await self._ask(  # noqa: ASYNC110  # nothing is watched here
                    Call(identities, (self.directory.path,)), self.where)).locked:
                await asyncio.sleep(_LOCK_PAUSE)

    async def look(self) -> Listing | None:
        """All finished files; while a git command changes them, the last listing."""
        if self._watch is not None and not self._watch.begun:  # before the first read
            found = await self._ask(Call(survey, self._surveyed()), self.where)
            await self._ask(Call(self._watch.follow, (found,)))
        links = await self._ask(Call(remote_links, (self.directory.path,)), self.where)
        seen: Inspection = await self._ask(Call(inspect, (
            self.directory.request(), None if self._watch is None else self._surveyed())),
            self.where, *links)
        await self._follow(seen.survey)
        checkout = self._work_tree.judge(seen.before)
        if checkout.locked or self._work_tree.judge(seen.after) != checkout:
            return self._postponed()
        if isinstance(seen.found, SourceError):
            raise seen.found
        found = self.directory.take(seen.found)
        self._keep_root()
        self._waiting = False
        polled = self._polled(seen.survey)
        self._last = replace(found, remark="; ".join(filter(None, (checkout.remark, polled))))
        if not polled:
            return self._last
        soon = min(found.again_in or POLL, POLL)
        return replace(self._last, again_in=soon)

    async def _ask(self, call: Call, *touches: str) -> Any:
        """Look at the directory; raises SourceError if it does not answer."""
        try:
            found, = await self._worker.run([replace(call, touches=touches)])
        except HostError as error:
            raise SourceError(str(error), reason=error.reason,
                              hint="the VMs stay as they are until it answers") from error
        except OSError as error:
            raise SourceError(f"{self.where}: {error.strerror}") from error
        return found

    def _surveyed(self) -> tuple[Path, Path]:
        return self.directory.path, self._settings.runtime

    async def _follow(self, found: Survey | None) -> None:
        """Watch what was found; all of it is local."""
        if self._watch is not None and await self._ask(Call(self._watch.follow, (found,))):
            self._wake(0.0)  # events from before the new watches were missed

    def _polled(self, found: Survey | None) -> str:
        """Why the directory is read every few seconds; empty if its changes are reported."""
        if self._watch is None or found is None:
            return ""
        lacking, kind = self._watch.lacking, found.remote
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
        self._helper.close()
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
