"""Keeps what each domain is to the others, and wakes those that wait for another.

Only changes cost anything: a domain that is as it should be asks for nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.engine.decide.blockers import FOR_OTHERS
from reconciler.engine.decide.constraints import DomainSummary, Limits, around, dependencies
from reconciler.engine.decide.inputs import HealthStatus, Removal, Truth, Verb, VmState

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.engine.control.controller import DomainController
    from reconciler.engine.decide.inputs import Surroundings


class Coordinator:
    """All domains of this reconciler, as they are to each other."""

    def __init__(self, limits: Limits, wake: Callable[[str], None],
                 listed: Callable[[str], bool], touched: Callable[[str], None]) -> None:
        self.limits = limits
        self._touched = touched  # this one's status says something of another, which changed
        self._wake = wake  # this one waits for others, and something changed
        self._listed = listed
        self._known: dict[str, DomainSummary] = {}  # by name
        self._names: dict[str, str] = {}  # by uuid
        self._waiting: set[str] = set()  # uuids
        self._needs: dict[str, set[str]] = {}  # by name, the uuids of those that depend on it

    def around(self, keeper: DomainController) -> Surroundings:
        """What the others have to do with it, now."""
        return around(keeper.name, keeper.domain, self._known, self.limits,
                      needed=_needed(keeper), listed=self._listed(keeper.uuid))

    def dependencies(self, keeper: DomainController) -> list[dict[str, object]]:
        """Those of its file, each with whether it is met now."""
        return dependencies(keeper.domain, self._known) if keeper.domain is not None else []

    @property
    def memory(self) -> int:
        """Bytes that all VMs take, or are about to take."""
        return sum(other.memory for other in self._known.values())

    def update(self, uuid: str, keeper: DomainController | None) -> None:
        """It may be another one to the others; None when it is no more."""
        name = self._names.pop(uuid, None)
        before = self._known.pop(name, None) if name is not None else None
        now = None
        if keeper is not None:
            now = self._known[keeper.name] = neighbour(keeper)
            self._names[uuid] = keeper.name
        if keeper is not None and any(c.reason in FOR_OTHERS for c in keeper.plan.conditions):
            self._waiting.add(uuid)
        else:
            self._waiting.discard(uuid)
        if now != before:
            self._note_needs(uuid, before, now)
            self.wake_all(uuid)
            for known in {name, self._names.get(uuid)} - {None}:
                for other in self._needs.get(str(known), ()):
                    self._touched(other)

    def _note_needs(self, uuid: str, before: DomainSummary | None,
                    now: DomainSummary | None) -> None:
        for neighbour_, add in ((before, False), (now, True)):
            domain = neighbour_.domain if neighbour_ is not None else None
            for wanted in domain.policy.depends_on if domain is not None else ():
                known = self._needs.setdefault(wanted.domain, set())
                (known.add if add else known.discard)(uuid)

    def wake_all(self, but: str = "") -> None:
        """Something changed that they may wait for."""
        for other in tuple(self._waiting):
            if other != but:
                self._wake(other)


def neighbour(keeper: DomainController) -> DomainSummary:
    """What others have to know of it."""
    decided, vm, ledger = keeper.plan, keeper.vm, keeper.ledger
    generation, domain = keeper.memory.generation, keeper.domain
    verbs = {step.verb for step in decided.steps}
    ready = decided.ready if decided.conditions else None
    # One that is held, or stays down by its own wish, keeps nobody waiting for its new VM.
    held = decided.condition("Held") is not None
    comes = not held and (vm.state is not VmState.ABSENT or bool(verbs or decided.blocked))
    begun = ledger.recreating == generation and (
        vm.generation in (0, generation) and (vm.pid is None or vm.pid != ledger.replaced))
    back = ledger.refused == generation and vm.state is VmState.ABSENT
    return DomainSummary(
        domain, vm.state, ready is not None and (
            ready.status is Truth.TRUE or (not verbs and _is_well(keeper))), keeper.at_rest,
        waits=ready is not None and ready.reason == "WaitingForDependency",
        failing=ledger.failures.count > 0,
        goes=_goes(keeper), recreating=Verb.CHECK in verbs or (comes and (begun or back)),
        wants_recreate=not held and any(step.verb is Verb.CHECK for step in decided.blocked),
        memory=_memory(keeper, starts=bool(verbs & {Verb.START, Verb.START_PAUSED})))


def _is_well(keeper: DomainController) -> bool:
    """Whether its guest is, though its file may be wrong, gone back on, or held (rule 8)."""
    return keeper.vm.state is VmState.RUNNING and (
        keeper.health is None or keeper.prober.pulse.verdict is HealthStatus.HEALTHY)


def _goes(keeper: DomainController) -> bool:
    """Whether it is to be stopped or removed, as soon as that can be."""
    if keeper.plan.conditions and keeper.plan.ready.reason in (
            "WaitingForWindow", "Orphaned", "ConfirmRequired", "HoldRequested"):
        return False
    if keeper.removal in (Removal.PROVEN, Removal.APPROVED):
        return True
    return keeper.domain is not None and keeper.domain.policy.state == "stopped"


def _memory(keeper: DomainController, *, starts: bool) -> int:
    """Bytes that its VM takes, or is about to take.

    What is being launched counts as it is, though its file may say something else by now.
    """
    alive = keeper.vm.state is not VmState.ABSENT
    back = any(step.rollback for step in keeper.plan.steps)
    found = [domain.memory for domain, counts in (
        (keeper.applied, alive), (keeper.actor.launching, True), (keeper.good, back),
        (keeper.domain, starts or (alive and keeper.applied is None)))
        if domain is not None and counts]
    return max(found, default=0)


def _needed(keeper: DomainController) -> int:
    """Bytes that a start of it takes: after a rollback those of the definition it goes back to."""
    refused = keeper.ledger.refused == keeper.memory.generation
    domain = keeper.good if refused and keeper.good is not None else keeper.domain
    return domain.memory if domain is not None else 0
