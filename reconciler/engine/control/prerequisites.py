"""While a domain's actions fail, a change of a file that it needs is worth a try at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.domain.model import Domain
    from reconciler.engine.control.environment import Environment


class NeedsWatch:
    """Watches the files of one domain, while told to."""

    def __init__(self, context: Environment, changed: Callable[[], None]) -> None:
        self._context = context
        self._changed = changed
        self._ends: list[Callable[[], None]] = []
        self._seen: tuple[object, ...] = ()

    def watch(self, domain: Domain | None, *, wanted: bool) -> None:
        """Begin, or end; nothing is done while that is the same."""
        if not wanted or domain is None:
            self.close()
        elif not self._ends:
            paths = {path for need in domain.required_files()
                     for path in (need.path, need.template) if path}
            paths |= {word for word in self._context.program_of(domain) if word.startswith("/")}
            self._seen = self._context.signature(domain)
            self._ends = self._context.watch_files(paths, self._changed)

    def differ(self, domain: Domain) -> bool:
        """Whether the files are others than when the watch began, or when this was last asked."""
        before, self._seen = self._seen, self._context.signature(domain)
        return before != self._seen

    def close(self) -> None:
        """Watch no more."""
        while self._ends:
            self._ends.pop()()
