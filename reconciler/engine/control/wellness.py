"""What a verdict on a guest's health leads to: a definition proven or gone back on, a new start.

A recreate ends when the new VM is up and, where its file has a probe, well (rule 7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.domain.difference import differences
from reconciler.domain.model import Impact
from reconciler.engine.decide import attempts as ledgers
from reconciler.engine.decide.inputs import Exit, ExitKind, HealthStatus, VmState

if TYPE_CHECKING:
    from reconciler.domain.model import Health
    from reconciler.engine.control.controller import DomainController


def judge(keeper: DomainController) -> None:
    """Note what follows from what was observed; the plan decides what is done about it."""
    domain, vm = keeper.domain, keeper.vm
    if domain is None or vm.state not in (VmState.RUNNING, VmState.PAUSED):
        return
    # One that is paused though it shall run can say nothing; one that shall be has nothing to say.
    health = keeper.health if domain.policy.state == "running" else None
    generation = keeper.memory.generation
    # What still runs is no proof of what was to replace it, also where both are of one generation.
    if keeper.ledger.recreating == generation == vm.generation and (
            vm.pid != keeper.ledger.replaced):
        if health is None or keeper.prober.pulse.verdict is HealthStatus.HEALTHY:
            _prove(keeper)
        elif keeper.prober.pulse.verdict is HealthStatus.UNHEALTHY:
            _refuse(keeper)
            return
    if health is not None:
        _count(keeper, health)


def proving(keeper: DomainController) -> bool:
    """Whether what was just started has still to prove that it is better than the old one."""
    domain = keeper.domain
    return domain is not None and domain.policy.health is not None and (
        domain.policy.state == "running"
        and keeper.ledger.recreating == keeper.memory.generation)


def can_roll_back(keeper: DomainController) -> bool:
    """Whether there is another definition that came up, and the file allows to go back to it."""
    domain, good = keeper.domain, keeper.good
    return good is not None and domain is not None and domain.policy.rollback and any(
        change.impact is not Impact.NONE for change in differences(good, domain))


def _prove(keeper: DomainController) -> None:
    keeper.good = keeper.domain
    keeper.remember(good=keeper.memory.definition, ledger=ledgers.succeeded(keeper.ledger))


def _refuse(keeper: DomainController) -> None:
    """It came up and is not well: back to the old one, if there is one to go back to."""
    message = f"the new definition is not healthy: {keeper.prober.pulse.message}"
    if not can_roll_back(keeper):
        keeper.remember(ledger=ledgers.succeeded(keeper.ledger))
        return
    keeper.remember(ledger=ledgers.refused(keeper.ledger, keeper.memory.generation, message))
    keeper.tell("domain.rolledback", severity="error", reason="RolledBack", error=message)


def _count(keeper: DomainController, health: Health) -> None:
    """An unhealthy guest that is to be started anew counts as an exit, once a process."""
    prober = keeper.prober
    if not health.restart or prober.counted or prober.pulse.verdict is not HealthStatus.UNHEALTHY:
        return
    prober.counted = True
    policy = (keeper.applied or keeper.domain)
    assert policy is not None
    now = keeper.context.now()
    end = Exit(ExitKind.UNHEALTHY, now.clock, wall=now.wall,
               message=f"its guest was not healthy: {prober.pulse.message}")
    keeper.remember(ledger=ledgers.exited(keeper.ledger, end, policy.policy,
                                          jitter=keeper.context.jitter()))
