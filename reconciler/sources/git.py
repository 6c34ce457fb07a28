"""The source `git`: a branch, tag or commit of a repository, read only.

Its task polls the server at each interval, at once when asked to, and with backoff after failures.
A look returns the listing accepted last, with the current error if there is one.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.backoff import Backoff
from reconciler.errors import SourceError
from reconciler.sources.git_remote import read_remote
from reconciler.sources.git_repository import Repository, accepted_listing
from reconciler.sources.source import Source
from reconciler.units import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing

FIRST_RETRY, LONGEST_RETRY = 1.0, 300.0  # seconds after a failure
STALE_INTERVALS = 3  # intervals without a success


class Git(Source):
    """See sources/source.py."""

    def __init__(self, settings: Settings) -> None:
        self._interval = settings.source.interval
        self._timeout = settings.source.timeout
        self._jitter = settings.reconcile.jitter
        self._backoff = Backoff(FIRST_RETRY, min(LONGEST_RETRY, self._interval))
        self._repository = Repository(settings)
        self._wake: Callable[[float], None] = lambda _delay: None
        self._loaded = False
        self._asked = 0  # calls of `ask`
        self._answered = 0  # those whose outcome is known
        self._delivered = 0  # those whose outcome a look has delivered
        self._call = asyncio.Event()
        self._shown: Listing | None = None  # what a look returns
        self._trouble: SourceError | None = None
        self._last_attempt = ""
        self._last_success = ""

    @classmethod
    def configured(cls, settings: Settings) -> str:
        """The urls and the ref."""
        source = settings.source
        urls = ", ".join(read_remote(url, settings.base).shown for url in source.url)
        return f"git ({urls or 'no url'}, {source.ref})"

    @classmethod
    async def offline(cls, settings: Settings) -> Listing:
        """What was accepted last; the server is not asked."""
        return await accepted_listing(settings)

    @classmethod
    async def at_revision(cls, settings: Settings, ref: str) -> Listing:
        """Another ref, fetched from the server into a temporary clone."""
        with tempfile.TemporaryDirectory(prefix="reconciler-plan-") as place:
            source = cls(replace(settings, paths=replace(settings.paths, state=place),
                                 source=replace(settings.source, ref=ref)))
            await source.refresh()
            found = await source.look()
            if found is None:
                raise SourceError(f"{source.where}: the server delivered nothing")
            return found

    @property
    def where(self) -> str:
        """The url that answered last, the ref and the directory."""
        place = f"{self._repository.answered.shown} {self._repository.ref}"
        return f"{place}, in {self._repository.path}" if self._repository.path else place

    @property
    def busy(self) -> bool:
        """Whether no look has delivered the outcome of an `ask` yet."""
        return self._delivered < self._asked

    @property
    def rewind(self) -> str | None:
        """The commit to which the branch was rewound, until `allow` accepts it."""
        return self._repository.rewind

    def allow(self, commit: str) -> None:
        """Accept this commit although it does not descend from the accepted one."""
        self._repository.allow(commit)
        self.ask()

    def start(self, wake: Callable[[float], None]) -> None:
        """Keep `wake` for `run`."""
        self._wake = wake

    async def run(self) -> None:
        """Poll the server until cancelled."""
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
            # A persisting error is reported at each attempt: its duration is news.
            if news or asked > self._answered or self._trouble is not None:
                self._wake(0.0)
            self._answered = asked
            await self._repository.compact()
            failures = failures + 1 if self._trouble is not None else 0
            with suppress(TimeoutError):
                async with asyncio.timeout(self.pause(failures)):
                    await self._call.wait()

    async def refresh(self) -> None:
        """One attempt."""
        await self._load()
        await self._attempt()

    def ask(self) -> None:
        """Poll now."""
        self._asked += 1
        self._repository.try_again()
        self._call.set()

    async def look(self) -> Listing | None:
        """The listing accepted last."""
        self._delivered = self._answered
        if self._shown is None and self._trouble is not None:
            raise self._trouble
        return self._shown

    def describe(self) -> dict[str, Any]:
        """Where it is, who signed the commit, and when the last attempts were."""
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

    @property
    def stale_after(self) -> float:
        """Some intervals without a success."""
        return STALE_INTERVALS * self._interval

    def pause(self, failures: int) -> float:
        """Seconds until the next attempt."""
        jitter = random.uniform(1 - self._jitter, 1 + self._jitter)  # noqa: S311  # spreads load, keeps no secret
        return self._backoff.delay(failures, jitter) if failures else self._interval * jitter

    async def _load(self) -> None:
        """Read once what was in force before a restart."""
        try:
            if not self._loaded:
                await self._repository.load()
                self._loaded = True
        except (SourceError, OSError) as error:
            self._trouble = _as_trouble(error)
        self._show()

    async def _attempt(self) -> None:
        """Poll the server once; errors are kept for the next look, and not raised."""
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
                f"{self.where}: timed out after {self._timeout:g} s", reason="FetchFailed",
                hint="source.timeout is the limit")
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
