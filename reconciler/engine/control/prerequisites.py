"""While a domain's actions fail, a change of a file that it needs is worth an attempt at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.domain.model import Domain
    from reconciler.engine.control.environment import Environment


class PrerequisiteWatch:
    """Watches the files that one domain needs, while its actions fail."""

    def __init__(self, environment: Environment, changed: Callable[[], None]) -> None:
        self._environment = environment
        self._changed = changed
        self._ends: list[Callable[[], None]] = []
        self._seen: tuple[object, ...] | None = None  # None: nothing failed, nothing is compared

    def watch(self, domain: Domain | None, *, wanted: bool) -> None:
        """Begin, or end; nothing is done while that is the same."""
        if not wanted or domain is None:
            self.close()
        elif self._seen is None:
            self._seen = self._environment.signature(domain)
            self._watch(domain)

    def _watch(self, domain: Domain) -> None:
        paths = {path for need in domain.required_files()
                 for path in (need.path, need.template) if path}
        paths |= {word for word in self._environment.program_of(domain) if word.startswith("/")}
        self._ends = self._environment.watch_files(paths, self._changed)

    def renew(self, domain: Domain) -> None:
        """Something was mounted: the directories of the files may be others by now."""
        if self._seen is not None:
            self._end()
            self._watch(domain)

    def changed(self, domain: Domain) -> bool:
        """Whether the files differ from when the watch began, or from when this was last asked."""
        if self._seen is None:
            return False
        before, self._seen = self._seen, self._environment.signature(domain)
        return before != self._seen

    def close(self) -> None:
        """End the watch."""
        self._seen = None
        self._end()

    def _end(self) -> None:
        while self._ends:
            self._ends.pop()()
