"""What is noted after each decision: what changed, and that a generation ended Ready or Stalled."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.engine.decide import attempts as ledgers
from reconciler.engine.decide.inputs import Truth, VmState
from reconciler.engine.records.history import noted
from reconciler.report.events import timestamp

if TYPE_CHECKING:
    from reconciler.engine.control.controller import DomainController
    from reconciler.engine.decide.inputs import Attempts, Condition, Now


def settle(keeper: DomainController, now: Now) -> None:
    """Tell what changed, and note that this generation ended Ready or Stalled."""
    for news in keeper.transitions.update(keeper.plan.conditions, timestamp()):
        keeper.tell(news.event, severity=news.severity, reason=news.reason, message=news.message)
    stalled = keeper.plan.condition("Stalled")
    ready = keeper.plan.ready.status is Truth.TRUE
    if not (ready or stalled) or keeper.domain is None:
        return
    state = keeper.domain.policy.state if ready else keeper.ledger.in_force
    fresh = ledgers.settled(keeper.ledger, keeper.memory.generation, state)
    if ready:
        fresh = ledgers.quiet(fresh, keeper.domain.policy, keeper.context.patience, now=now.clock)
    if fresh.settled != keeper.ledger.settled:
        _note_applied(keeper, fresh, keeper.plan.ready if ready else stalled)
    elif fresh != keeper.ledger or keeper.memory.boot_id == "":
        keeper.remember(ledger=fresh)


def _note_applied(keeper: DomainController, ledger: Attempts, ended: Condition | None) -> None:
    """This generation ended: into the history with it."""
    text, context = keeper.memory.definition, keeper.context
    if text is None or ended is None or keeper.invalid:
        keeper.remember(ledger=ledger)
        return
    good = text if _runs_so(keeper) else keeper.memory.good
    if good is text:
        keeper.good = keeper.domain
    history = noted(keeper.memory.history, text, ended.reason, timestamp(),
                    context.settings.history.keep)
    with suppress(OSError):  # a full disk, of which `remember` tells
        context.archive.keep(keeper.uuid, text, history)
    keeper.remember(ledger=ledger, history=history, good=good)


def _runs_so(keeper: DomainController) -> bool:
    """Whether this very definition is what runs, and well: also where a process came before it."""
    return keeper.plan.ready.reason == "InSync" and keeper.vm.state in (
        VmState.RUNNING, VmState.PAUSED)
