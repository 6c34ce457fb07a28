"""While a domain's actions fail, what it waits for is watched, and worth an attempt at once.

A change of a file that it needs, or the end of a process that runs its VM elsewhere. inotify
reports such a change of a local file system. Files of others are looked at now and then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.errors import HostError
from reconciler.host.mounts import Mounts
from reconciler.host.notify import nearest
from reconciler.host.start_time import start_time
from reconciler.host.workers import Call
from reconciler.stratovirt.process import Process, ended

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from reconciler.domain.model import Domain
    from reconciler.engine.control.environment import Environment
    from reconciler.host.workers import Worker

POLL = 10.0  # seconds between looks at files on a remote file system


class PrerequisiteWatch:
    """Watches the files that one domain needs, while its actions fail.

    `domain` is its newest definition; `changed`: a file differs from when it was looked at last.
    """

    def __init__(self, environment: Environment, worker: Worker,
                 domain: Callable[[], Domain | None], changed: Callable[[], None]) -> None:
        self._environment = environment
        self._worker = worker
        self._domain = domain
        self._changed = changed
        self._looking: asyncio.Task[None] | None = None
        self._again = False  # look once more after the look that is under way
        self._remounted = False
        self._ends: list[Callable[[], None]] = []
        self._poll: asyncio.TimerHandle | None = None
        self._seen: tuple[object, ...] | None = None  # None: nothing failed, nothing is compared
        self._awaited: asyncio.Task[None] | None = None  # the end of another process

    def await_end_of(self, pid: int | None) -> None:
        """The VM cannot be started while this process lives."""
        started = None if pid is None else start_time(pid)
        if pid is not None and started is not None and self._awaited is None:
            self._awaited = self._environment.spawn(
                self._until_ended(Process(pid, started)), f"end of process {pid}")

    async def _until_ended(self, other: Process) -> None:
        await ended(other)
        self._awaited = None
        self._changed()

    def look(self, *, remounted: bool = False) -> None:
        """Look at the files soon, if something failed.

        `remounted`: something was mounted or unmounted, so that their directories may be others.
        """
        if self._seen is None:
            return
        self._again, self._remounted = True, self._remounted or remounted
        if self._looking is None or self._looking.done():
            self._looking = self._environment.spawn(self._look(), "a look at files")

    async def looked(self) -> None:
        """Wait for the look that is under way, if there is one."""
        if self._looking is not None:
            await asyncio.wait({self._looking})

    async def _look(self) -> None:
        while self._again and (domain := self._domain()) is not None:
            self._again, remounted, self._remounted = False, self._remounted, False
            if remounted and self._seen is not None:
                await self._watch(domain)
            now = await self._signature(domain)
            if self._seen is None or now is None:
                continue
            before, self._seen = self._seen, now
            if before != now:
                self._changed()

    async def watch(self, *, wanted: bool) -> None:
        """Begin, or end; nothing is done while that is the same."""
        domain = self._domain()
        if not wanted or domain is None:
            self.close()
        elif self._seen is None:
            self._seen = ()
            self._seen = await self._signature(domain) or ()
            await self._watch(domain)

    async def _watch(self, domain: Domain) -> None:
        paths = {path for need in (*domain.required_files(), *domain.made_files())
                 for path in (need.path, need.template) if path}
        paths |= {word for word in self._environment.program_of(domain) if word.startswith("/")}
        try:
            (directories, some_remote), = await self._worker.run(
                [Call(watchable, (sorted(paths),))])
        except (HostError, OSError):  # a path does not answer, and is looked at when it does
            return
        if self._seen is None:
            return
        self._end()
        self._ends = self._environment.watch_directories(directories, self.look)
        if some_remote:
            self._look_later()

    def _look_later(self) -> None:
        self._poll = asyncio.get_running_loop().call_later(POLL, self._look_now)

    def _look_now(self) -> None:
        self._look_later()
        self.look()

    async def _signature(self, domain: Domain) -> tuple[object, ...] | None:
        try:
            return await self._environment.signature(self._worker, domain)
        except (HostError, OSError):
            return None

    def close(self) -> None:
        """End the watch."""
        self._seen = None
        if self._awaited is not None:
            self._awaited.cancel()
            self._awaited = None
        self._end()

    def _end(self) -> None:
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        while self._ends:
            self._ends.pop()()


def watchable(paths: Collection[str]) -> tuple[frozenset[Path], bool]:
    """The directories of local paths that exist (blocking), and whether there are other paths."""
    mounts = Mounts.now()
    local = [path for path in paths if not mounts.remote_kind(path)]
    return frozenset(map(nearest, local)), len(local) < len(paths)
