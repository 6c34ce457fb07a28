"""Whether the newest revision of the source has its result by now; looked at with each status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.engine.decide.inputs import Removal, Truth

if TYPE_CHECKING:
    from reconciler.engine.control.controller import DomainController
    from reconciler.engine.daemon import Daemon


def judge_revision(owner: Daemon) -> None:
    """Note the result, once nobody's end is open any more."""
    sync, revisions, keepers = owner.sync, owner.revisions, owner.keepers.values()
    if revisions.open and sync.complete and not sync.unfinished and not sync.source.busy:
        failing = [k.name for k in keepers if k.uuid in sync.held or (
                   k.plan.conditions and _fails(k))]
        revisions.judge([k.name for k in unsettled(owner)], [*failing, *sync.rejecting],
                        len(keepers))
    revisions.save()


def unsettled(owner: Daemon) -> list[DomainController]:
    """Those of which it is not known yet how they end with the newest files.

    What is held ends as it is, until somebody lets it go on.
    """
    absent = owner.sync.absent
    return [k for k in owner.keepers.values() if k.plan.condition("Held") is None and (
            k.uuid in absent or _is_open(k))]


def _fails(keeper: DomainController) -> bool:
    """Whether it is not as it should be; what only waits until it may go is on its way."""
    goes = keeper.removal in (Removal.PROVEN, Removal.APPROVED)
    status = keeper.plan.ready.status
    return status is Truth.FALSE or (status is Truth.UNKNOWN and not (
        goes and keeper.plan.condition("Stalled") is None))


def _is_open(keeper: DomainController) -> bool:
    """Whether its newest definition has not ended Ready or Stalled; one that goes needs neither."""
    if not keeper.plan.conditions or keeper.decided_on is not keeper.removal:
        return True
    if keeper.removal in (Removal.PROVEN, Removal.APPROVED):
        return False
    unknown = keeper.plan.ready.status is Truth.UNKNOWN and (
        keeper.plan.condition("Stalled") is None)
    # Whether its guest is ill is known; whether it gets well is nobody's to wait for.
    ill = keeper.plan.ready.reason == "HealthCheckFailed" and not keeper.plan.steps
    return unknown or (keeper.ledger.settled != keeper.memory.generation and not ill)
