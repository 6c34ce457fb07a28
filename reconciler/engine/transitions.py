"""When conditions changed: what appeared, what went, and since when each is as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.engine.case import Condition


@dataclass(slots=True)
class Transitions:
    """`since`: by condition type, its status and the time of day that it has it from."""

    since: dict[str, tuple[str, str]] = field(default_factory=dict)

    def update(self, conditions: Iterable[Condition],
               at: str) -> tuple[list[Condition], list[str]]:
        """Take the conditions of a pass; those that appeared, and the types that went."""
        before, self.since = self.since, {}
        appeared = []
        for condition in conditions:
            old = before.get(condition.type)
            if old is None:
                appeared.append(condition)
            # The time moves only with the status: a new reason alone is no transition.
            same = old is not None and old[0] == condition.status
            self.since[condition.type] = old if old and same else (condition.status, at)
        return appeared, [kind for kind in before if kind not in self.since]
