"""Keeps a summary of each domain, and wakes domains that wait for another.

Only changes cost anything: a domain that is what it should be needs nothing of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.engine.decide.constraints import (
    DomainSummary,
    Limits,
    dependencies,
    surroundings,
)
from reconciler.engine.decide.gather import memory_needed, summarise
from reconciler.engine.decide.inputs import FOR_OTHER_DOMAINS

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.engine.decide.inputs import Surroundings
    from reconciler.engine.decide.state import DomainState


class Coordinator:
    """All domains of this reconciler, as they concern each other.

    `wake`: this domain waits for others, and something changed. `touched`: the status of this
    domain shows something of another that changed. `start_allowed`: whether the source knows its
    file. All three by uuid.
    """

    def __init__(self, limits: Limits, wake: Callable[[str], None],
                 touched: Callable[[str], None], start_allowed: Callable[[str], bool]) -> None:
        self.limits = limits
        self._wake = wake
        self._touched = touched
        self._start_allowed = start_allowed
        # A name is of the domain that got it last. One whose file is gone, and whose VM still runs,
        # may have the same name: it is kept under its name and uuid until then.
        self._summaries: dict[str, DomainSummary] = {}  # by key
        self._keys: dict[str, str] = {}  # by uuid
        self._owners: dict[str, str] = {}  # by key, the uuid
        self._names: dict[str, str] = {}  # by uuid
        self._waiting: set[str] = set()  # uuids
        self._dependents: dict[str, set[str]] = {}  # by name, the uuids that depend on it

    def surroundings(self, state: DomainState) -> Surroundings:
        """What the other domains have to do with this one, now."""
        key = self._keys.get(state.uuid, state.name)
        return surroundings(key, state.domain, self._summaries, self.limits,
                            needed=memory_needed(state), home=state.home,
                            start_allowed=self._start_allowed(state.uuid))

    def dependencies(self, state: DomainState) -> list[dict[str, object]]:
        """Those of its file, each with whether it is met now."""
        if state.domain is None:
            return []
        return dependencies(state.domain, self._summaries)

    @property
    def memory(self) -> int:
        """Bytes that all VMs take, or are about to take."""
        return sum(summary.memory for summary in self._summaries.values())

    def update(self, state: DomainState) -> None:
        """A domain has another state; wake those that its change concerns."""
        uuid, now = state.uuid, summarise(state)
        if state.plan.blocked_on in FOR_OTHER_DOMAINS:
            self._waiting.add(uuid)
        else:
            self._waiting.discard(uuid)
        before = self._summaries.get(self._keys.get(uuid, ""))
        if now != before or self._names.get(uuid) != state.name:
            self._replace(uuid, state.name, now)

    def remove(self, uuid: str) -> None:
        """A domain is not kept any more, or has another uuid now."""
        self._waiting.discard(uuid)
        if uuid in self._names:
            self._replace(uuid, None, None)

    def _replace(self, uuid: str, name: str | None, now: DomainSummary | None) -> None:
        old_name, key = self._names.pop(uuid, None), self._keys.get(uuid, "")
        before = self._take(uuid)
        if name is not None and now is not None:
            if name != old_name:
                key = name
                self._rekey(self._owners.get(name), f"{name} ({self._owners.get(name)})")
            self._put(uuid, key, now)
            self._names[uuid] = name
        if old_name is not None and old_name not in self._summaries:
            self._rekey(next((u for u, n in self._names.items() if n == old_name), None), old_name)
        self._note_dependents(uuid, before, now)
        self.wake_waiting(uuid)
        for known in {old_name, name} - {None}:
            for other in self._dependents.get(str(known), ()):
                self._touched(other)

    def _take(self, uuid: str) -> DomainSummary | None:
        key = self._keys.pop(uuid, "")
        self._owners.pop(key, None)
        return self._summaries.pop(key, None)

    def _put(self, uuid: str, key: str, summary: DomainSummary) -> None:
        self._summaries[key], self._keys[uuid], self._owners[key] = summary, key, uuid

    def _rekey(self, uuid: str | None, key: str) -> None:
        summary = self._take(uuid) if uuid is not None else None
        if uuid is not None and summary is not None:
            self._put(uuid, key, summary)

    def _note_dependents(self, uuid: str, before: DomainSummary | None,
                         now: DomainSummary | None) -> None:
        for summary, add in ((before, False), (now, True)):
            domain = summary.domain if summary is not None else None
            for wanted in domain.policy.depends_on if domain is not None else ():
                known = self._dependents.setdefault(wanted.domain, set())
                (known.add if add else known.discard)(uuid)

    def wake_waiting(self, but: str = "") -> None:
        """Something changed that domains may wait for."""
        for other in tuple(self._waiting):
            if other != but:
                self._wake(other)
