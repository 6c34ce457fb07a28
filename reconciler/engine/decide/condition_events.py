"""When conditions changed: what appeared, what went, and since when each is as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.engine.decide.inputs import Condition

# Conditions whose appearance is news, with the event's name and severity.
_APPEARED = {"Stalled": ("domain.stalled", "error"), "Held": ("domain.held", "info"),
             "Orphaned": ("domain.orphaned", "warning")}


@dataclass(frozen=True, slots=True)
class News:
    """An event that a changed condition is."""

    event: str
    reason: str
    severity: str = "info"
    message: str = ""


@dataclass(slots=True)
class ConditionTimes:
    """`since`: by condition type, its status and the time of day that it has it from."""

    since: dict[str, tuple[str, str]] = field(default_factory=dict)

    def update(self, conditions: Iterable[Condition],
               at: str) -> list[News]:
        """Take the conditions of a pass; what is to be told of those that appeared or went."""
        before, self.since = self.since, {}
        appeared = []
        for condition in conditions:
            old = before.get(condition.type)
            if old is None:
                appeared.append(condition)
            # The time moves only with the status: a new reason alone is no transition.
            same = old is not None and old[0] == condition.status
            self.since[condition.type] = old if old and same else (condition.status, at)
        told = [News(event, c.reason, severity, c.message) for c in appeared
                if c.type in _APPEARED for event, severity in (_APPEARED[c.type],)]
        if "Held" in before and "Held" not in self.since:
            told.append(News("domain.released", "HoldRequested"))
        return told
