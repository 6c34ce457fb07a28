"""Carries out a whole plan: what is told before, each step in turn, what a failure leads to."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domain.model import DesiredState
from reconciler.engine.control.wellness import can_roll_back, proving
from reconciler.engine.decide import attempts as ledgers
from reconciler.engine.decide.inputs import Cause, Plan, Verb
from reconciler.errors import HostError, HypervisorError, LockTaken, NameTaken, QmpError
from reconciler.report.events import timestamp

if TYPE_CHECKING:
    from reconciler.engine.control.controller import DomainController
    from reconciler.engine.control.work_queue import Priority

UP = (DesiredState.RUNNING, DesiredState.PAUSED)
STARTS = (Verb.START, Verb.START_PAUSED)
# What it is called when the host itself refuses, as a full disk does.
# After a start with -S, which takes no disk locks, it is `cont` that is refused for a disk in use.
_REASONS_OF_QMP = {Verb.PAUSE: "PauseFailed", Verb.RESUME: "StartFailed"}
_REASONS = {Verb.CHECK: "MissingFile", Verb.UPDATE: "MissingFile", Verb.STOP: "StopFailed",
            Verb.PAUSE: "PauseFailed"}


async def carry_out(keeper: DomainController, decided: Plan, urgency: Priority) -> None:
    """Every step of a plan, journalled before it is taken (rule 10), until one fails.

    A newer definition ends it between steps, and while it only waits.
    """
    _announce(keeper, decided)
    asked, keeper.restart_asked = keeper.restart_asked, False
    for step in decided.steps:
        begun = time.monotonic()
        try:
            done = await keeper.actor.act(step, decided, urgency)
        except (HypervisorError, HostError, OSError) as error:
            _failed(keeper, step.verb, error, decided)
            return
        if not done:
            keeper.restart_asked = asked
            return
        keeper.last_action = {
            "name": step.verb, "at": timestamp(), "cause": decided.cause, "result": "ok",
            "revision": keeper.revision,
            "durationMs": round((time.monotonic() - begun) * 1000, 1)}
    if not keeper.forgotten:
        _succeeded(keeper)


def _succeeded(keeper: DomainController) -> None:
    """All was done; a recreate goes on until the new guest has said that it is well."""
    recreating = keeper.ledger.recreating if proving(keeper) else 0
    keeper.remember(ledger=replace(ledgers.succeeded(keeper.ledger), recreating=recreating))


async def await_start(keeper: DomainController) -> None:
    """Go on with a start that something newer interrupted, or that began before we did."""
    try:
        up = await keeper.actor.see_up(Verb.START, keeper.plan.cause)
    except (HypervisorError, HostError, OSError) as error:
        _failed(keeper, Verb.START, error, keeper.plan)
        return
    if up:
        _succeeded(keeper)


def _announce(keeper: DomainController, decided: Plan) -> None:
    verbs = [step.verb for step in decided.steps]
    # What ended with a change still to come is started with it, as if it were recreated (rule 7).
    comes_late = keeper.ledger.in_force in UP and can_roll_back(keeper) and any(
        step.verb in STARTS and not step.rollback for step in decided.steps)
    if Verb.CHECK in verbs or comes_late:
        keeper.remember(ledger=replace(
            keeper.ledger, recreating=keeper.memory.generation, replaced=keeper.vm.pid or 0))
    if Verb.STOP in verbs and len(verbs) > 1 and Verb.FORGET not in verbs:
        event = "domain.recreating" if decided.cause in (
            Cause.FILE, Cause.ROLLBACK) else "domain.restarting"
        keeper.tell(event, cause=decided.cause, message=decided.ready.message)
    if decided.cause is not Cause.DRIFT:
        return
    keeper.tell("domain.drifted", severity="warning", cause=Cause.DRIFT, reason="Drifted",
                message=f"state is {keeper.vm.state}")
    if Verb.STOP not in verbs:
        context = keeper.context
        keeper.remember(ledger=ledgers.drifted(
            keeper.ledger, "state", context.patience, now=context.now().clock,
            jitter=context.jitter()))
        if keeper.ledger.drift.count:
            keeper.tell("domain.contested", severity="warning", reason="DriftFight",
                        message=keeper.ledger.drift.message)


def _failed(keeper: DomainController, verb: Verb, error: Exception, decided: Plan) -> None:
    """Count it; a recreate whose new VM does not come up goes back to the old one (rule 7)."""
    message = str(error) or type(error).__name__
    reason = getattr(error, "reason", _REASONS.get(verb, "StartFailed"))
    if isinstance(error, QmpError):
        reason = _REASONS_OF_QMP.get(verb, reason)
    context, generation = keeper.context, keeper.memory.generation
    hint = getattr(error, "hint", "")
    new_one_failed = verb in STARTS and not isinstance(
        error, NameTaken | LockTaken)
    if new_one_failed and keeper.ledger.recreating == generation and can_roll_back(keeper):
        keeper.remember(ledger=ledgers.refused(
            keeper.ledger, generation, f"the new definition did not come up: {message}"))
        keeper.tell("domain.rolledback", severity="error", reason="RolledBack", error=message)
    else:
        keeper.remember(ledger=ledgers.failed(
            keeper.ledger, reason, f"{message} ({hint})" if hint else message, context.patience,
            now=context.now().clock, jitter=context.jitter()))
        if isinstance(error, NameTaken):  # also the old name, of what was rolled back, may be taken
            keeper.remember(ledger=replace(keeper.ledger, refused=0, refused_because=""))
    keeper.last_action = {"name": verb, "at": timestamp(), "cause": decided.cause,
                          "result": "failed", "error": message}
    keeper.tell("action.failed", severity="error", action=verb, reason=reason, error=message,
                attempt=keeper.ledger.failures.count, cause=decided.cause,
                hint=hint)
