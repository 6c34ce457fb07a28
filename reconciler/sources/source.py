"""The interface of every kind of source; kinds.py has the list of kinds.

`look` returns what is known now, and waits for no more than a read of local files. Whatever takes
time, such as a git server that answers slowly, goes on in `run`, which wakes the engine when a look
has news.
docs/how-to/add-a-source.md says how to add a kind.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from reconciler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.settings import Settings
    from reconciler.sources.listing import Listing


class Source(Protocol):
    """Delivers complete listings. A kind derives from it, and keeps the methods that suit it.

    Instances are used on the engine's event loop alone.
    """

    # Whether the files are in `Settings.domains`, where commands such as `create` may write them.
    writable: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, settings: Settings) -> None:
        """Check the configuration, without contacting anything; raises ConfigError."""

    # For commands that run without the engine

    @classmethod
    @abstractmethod
    def configured(cls, settings: Settings) -> str:
        """Where the configuration says the files are, for messages, without secrets."""

    @classmethod
    @abstractmethod
    async def offline(cls, settings: Settings) -> Listing:
        """What is known on this host, for a `plan` without the engine; raises SourceError."""

    @classmethod
    async def at_revision(cls, settings: Settings, ref: str) -> Listing:
        """The files of another branch, tag or commit, for `plan --ref`; raises SourceError."""
        raise UsageError(f"{cls.configured(settings)} has no revisions to plan")

    # For the engine

    @property
    @abstractmethod
    def where(self) -> str:
        """Where the files come from now, for messages, without secrets."""

    @abstractmethod
    async def look(self) -> Listing | None:
        """All files as of now, or None while nothing is known yet; raises SourceError."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Its fields of the status: `kind`, and those that only this kind has."""

    def start(self, wake: Callable[[float], None]) -> None:
        """Begin to watch. `wake(seconds)` asks for a look; it may be called from any thread."""

    async def run(self) -> None:
        """The source's own task, until cancelled."""
        await asyncio.Event().wait()

    async def refresh(self) -> None:
        """Make the next look the newest there is, for `run --once`; raises nothing."""

    def ask(self) -> None:
        """Get the newest now, and not when it is due: a user or a webhook asked for it."""

    @property
    def busy(self) -> bool:
        """Whether the outcome of an `ask` has not been delivered by a look yet."""
        return False

    def answers(self) -> bool:
        """Whether changes still reach the source; called at each heartbeat."""
        return True

    @property
    def stale_after(self) -> float | None:
        """Seconds after the last success when the status calls the source stale; None: never."""
        return None

    @property
    def rewind(self) -> str | None:
        """A revision that does not descend from the accepted one, and waits for `allow`."""
        return None

    def allow(self, revision: str) -> None:
        """Accept this revision although it does not descend from the accepted one."""

    polling: bool = False  # whether changes are found by looking every few seconds, not reported

    def accept_root(self) -> None:
        """A `replaced` listing is meant; see sources/listing.py."""

    def stop(self) -> None:
        """End threads and watches."""
