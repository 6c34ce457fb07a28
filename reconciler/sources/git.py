"""The source `git`: a branch, a tag or a commit of a repository that is only read.

Its task asks the server at each interval, sooner when asked to, and later after failures; a look
gives what was accepted last, with the trouble there is, and waits for nothing.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError
from reconciler.sources.git_repository import Repository
from reconciler.units import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing

PATIENCE, LONGEST_PATIENCE = 1.0, 300.0  # seconds after a failure: at first, and at most


class Git:
    """See sources/source.py."""

    def __init__(self, settings: Settings) -> None:
        self._interval = settings.source.interval
        self._timeout = settings.source.timeout
        self._jitter = settings.reconcile.jitter
        self._repository = Repository(settings)
        self._wake: Callable[[float], None] = lambda _delay: None
        self._loaded = False
        self._asked = 0  # how often somebody did; the outcomes that are known, and delivered
        self._answered = 0
        self._delivered = 0
        self._call = asyncio.Event()
        self._shown: Listing | None = None  # what a look gives
        self._trouble: SourceError | None = None
        self._last_attempt = ""
        self._last_success = ""

    @property
    def where(self) -> str:
        """The repository that answered last, and the ref."""
        place = f"{self._repository.answered.shown} {self._repository.ref}"
        return f"{place}, in {self._repository.path}" if self._repository.path else place

    @property
    def busy(self) -> bool:
        """Whether what was asked for is not delivered yet."""
        return self._delivered < self._asked

    @property
    def rewind(self) -> str | None:
        """The commit to which the branch was rewound, and which waits for `allow`."""
        return self._repository.rewind

    def allow(self, commit: str) -> None:
        """Accept this one commit although it does not descend from the accepted one."""
        self._repository.allow(commit)
        self.ask()

    def start(self, wake: Callable[[float], None]) -> None:
        """Nothing is watched: `run` asks the server."""
        self._wake = wake

    async def run(self) -> None:
        """Ask the server again and again."""
        await self._load()
        if self._shown is not None:
            self._wake(0.0)
        failures = 0
        while True:
            self._call.clear()
            asked, before = self._asked, self._shown
            troubled = str(self._trouble)
            await self._attempt()
            news = self._shown is not before or str(self._trouble) != troubled
            # Trouble is told anew each time: how long it has lasted is news.
            if news or asked > self._answered or self._trouble is not None:
                self._wake(0.0)
            self._answered = asked
            await self._repository.make_small()
            failures = failures + 1 if self._trouble is not None else 0
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause(failures)):
                    await self._call.wait()

    async def refresh(self) -> None:
        """One attempt, here and now."""
        await self._load()
        await self._attempt()

    def answers(self) -> bool:
        """The kernel wakes nobody here, and the end of the task is seen by its owner."""
        return True

    def ask(self) -> None:
        """Attempt at once."""
        self._asked += 1
        self._repository.try_again()
        self._call.set()

    def look(self) -> Listing | None:
        """What was accepted last."""
        self._delivered = self._answered
        if self._shown is None and self._trouble is not None:
            raise self._trouble
        return self._shown

    def describe(self) -> dict[str, Any]:
        """Where it is, who signed it, and how the looks went."""
        repository, accepted = self._repository, self._repository.accepted
        found: dict[str, Any] = {
            "kind": "git", "url": repository.answered.shown, "ref": repository.ref,
            "path": repository.path, "lastAttempt": self._last_attempt,
            "lastSuccess": self._last_success, "fetches": repository.fetches}
        if accepted is not None and accepted.by:
            found["verified"] = {"by": accepted.by, "name": accepted.name}
        if repository.rewind is not None:
            found["rewind"] = repository.rewind
        return found

    def stop(self) -> None:
        """Nothing is held."""

    def _pause(self, failures: int) -> float:
        pause = self._interval
        if failures:
            longest = min(LONGEST_PATIENCE, self._interval)
            pause = min(PATIENCE * 2.0 ** min(failures - 1, 20), longest)
        return pause * random.uniform(1 - self._jitter, 1 + self._jitter)  # noqa: S311  # spreads load, keeps no secret

    async def _load(self) -> None:
        """What is in force since before our restart, once."""
        try:
            if not self._loaded:
                await self._repository.load()
                self._loaded = True
        except (SourceError, OSError) as error:
            self._trouble = _as_trouble(error)
        self._show()

    async def _attempt(self) -> None:
        """Ask the server once; nothing is raised, all of it is shown."""
        self._last_attempt = timestamp()
        try:
            async with asyncio.timeout(self._timeout):
                if not self._loaded:
                    await self._repository.load()
                    self._loaded = True
                await self._repository.look()
            self._trouble = None
            self._last_success = timestamp()
        except TimeoutError:
            self._trouble = SourceError(
                f"{self.where}: not done within {self._timeout:g} s", reason="FetchFailed",
                hint="source.timeout gives it longer")
        except (SourceError, OSError) as error:
            self._trouble = _as_trouble(error)
        self._show()

    def _show(self) -> None:
        found = self._repository.listing
        if found is None or self._trouble is None:
            self._shown = found
        elif self._shown is None or self._shown.commit != found.commit or (
                str(self._shown.trouble) != str(self._trouble)):
            self._shown = replace(found, trouble=self._trouble)


def _as_trouble(error: SourceError | OSError) -> SourceError:
    if isinstance(error, SourceError):
        return error
    where = f"{error.filename}: " if error.filename else ""
    return SourceError(f"{where}{error.strerror or error}", reason="FetchFailed")
