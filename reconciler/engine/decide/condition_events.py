"""When conditions changed: since when each has its status, and which changes are events. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.engine.decide.inputs import Condition

# Conditions whose appearance is an event, with its name and severity.
_APPEARED = {"Stalled": ("domain.stalled", "error"), "Held": ("domain.held", "info"),
             "Orphaned": ("domain.orphaned", "warning")}

Since = dict[str, tuple[str, str]]  # condition type -> its status, and since when (RFC 3339)


@dataclass(frozen=True, slots=True)
class ConditionEvent:
    """An event that a changed condition is."""

    event: str
    reason: str
    severity: str = "info"
    message: str = ""


def since_of(before: Mapping[str, tuple[str, str]], conditions: Iterable[Condition],
             at: str) -> Since:
    """Since when each condition has its status; a new reason alone moves no time."""
    found: Since = {}
    for condition in conditions:
        old = before.get(condition.type)
        found[condition.type] = old if old and old[0] == condition.status else (
            str(condition.status), at)
    return found


def events_of(before: Mapping[str, tuple[str, str]],
              conditions: Iterable[Condition]) -> list[ConditionEvent]:
    """The events of conditions that appeared or went."""
    now = {condition.type: condition for condition in conditions}
    found = [ConditionEvent(event, now[kind].reason, severity, now[kind].message)
             for kind, (event, severity) in _APPEARED.items()
             if kind in now and kind not in before]
    if "Held" in before and "Held" not in now:
        found.append(ConditionEvent("domain.released", "HoldRequested"))
    return found
