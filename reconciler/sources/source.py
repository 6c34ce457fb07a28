"""What every kind of source is to the engine; kinds.py lists them.

A look costs little and never waits: it gives what is known now. Whatever takes time (a git server
that answers slowly) goes on in `run`, which wakes for a look when there is something new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.sources.listing import Listing


class Source(Protocol):
    """Delivers complete listings."""

    @property
    def where(self) -> str:
        """Its place, for people: a directory, or a repository's url and ref, without secrets."""

    def answers(self) -> bool:
        """Whether what wakes us still does, asked now and then: it must not die unseen."""

    @property
    def busy(self) -> bool:
        """Whether something was asked for (`ask`) whose outcome no look has delivered yet."""

    @property
    def rewind(self) -> str | None:
        """A revision that does not come after the accepted one, and waits for `allow`."""

    def allow(self, revision: str) -> None:
        """Take this one all the same."""

    def start(self, wake: Callable[[float], None]) -> None:
        """Begin to watch; `wake(seconds)` may come from any thread."""

    async def run(self) -> None:
        """What it does by itself, as a task of its owner's, until cancelled."""

    async def refresh(self) -> None:
        """Make the next look the newest there is (for `run --once`); raises nothing."""

    def ask(self) -> None:
        """Somebody wants the newest now, and not when it is due."""

    def look(self) -> Listing | None:
        """All of it as of now, or None while nothing is known yet; raises SourceError."""

    def describe(self) -> dict[str, Any]:
        """Its part of the status: kind, place, and what only this kind has."""

    def stop(self) -> None:
        """Let go of threads and watches."""
