"""Carries out the live changes of a plan, one after the other; after each, what the VM has got.

A change that the guest does not go along with yet waits for it; one that fails otherwise needs a
new process, and the plan says what becomes of that.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.domain.difference import Change, differences
from reconciler.domain.hot_change import adjustment
from reconciler.domain.model import Impact
from reconciler.domain.numbers import identity
from reconciler.domain.writer import write
from reconciler.engine.decide.inputs import DeferredChange, Plan, Verb
from reconciler.errors import HypervisorError, QmpInactive
from reconciler.report.events import timestamp

if TYPE_CHECKING:
    from reconciler.domain.model import Domain
    from reconciler.domain.place import Place
    from reconciler.engine.control.controller import DomainController

FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0  # seconds until an unwilling guest is asked again


async def update(keeper: DomainController, decided: Plan) -> bool:
    """Make every change that may be made now; False when a newer definition came in between."""
    begun, domain = time.monotonic(), keeper.domain
    done: list[str] = []
    if domain is None:
        return True
    for pending in decided.pending:
        change = pending.change
        if pending.blocked_by or change.impact is Impact.RECREATE:
            continue
        if keeper.newer().is_set():
            return False
        shown = f"{change.path}: {change.old} → {change.new}"
        keeper.tell("action.started", durable=True, action=Verb.UPDATE, cause=decided.cause,
                    message=shown)
        try:
            await _make(keeper, change, domain)
        except HypervisorError as error:
            # What no start has would not be helped by another one.
            if not pending.late and not isinstance(error, QmpInactive):
                _needs_new_process(keeper, decided, shown, error)
                return True
            _wait_for_guest(keeper, change, str(error))
            keeper.tell("action.failed", action=Verb.UPDATE, cause=decided.cause,
                        reason=error.reason, error=f"{shown}: {error}")
        else:
            keeper.unwilling.pop(change.path, None)
            done.append(shown)
    if len(done) == len(decided.pending) and keeper.memory.definition is not None and (
            keeper.domain is domain):
        keeper.good = domain
        keeper.remember(good=keeper.memory.definition)
    if done:
        keeper.tell("domain.updated", action=Verb.UPDATE, cause=decided.cause,
                    message=", ".join(done), revision=keeper.revision,
                    durationMs=round((time.monotonic() - begun) * 1000, 1))
    return True


async def _make(keeper: DomainController, change: Change, domain: Domain) -> None:
    """All of one change; processors come and go one by one.

    `domain` is what was decided on: by now there may be a newer one, which may want the opposite.
    """
    while keeper.applied is not None:
        left = {c.path: c for c in differences(keeper.applied, domain)}
        if change.path not in left:
            return
        step = adjustment(left[change.path], keeper.applied, domain, keeper.memory.places)
        await keeper.machine.adjust(step, write(step.after).encode(),
                                    manage_taps=keeper.context.manage_taps)
        keeper.applied = step.after
        places = {**keeper.memory.places, **_places(step.after, domain)}
        if places != keeper.memory.places:
            keeper.remember(places=places)


def _places(applied: Domain, domain: Domain) -> dict[str, Place]:
    """Where the devices of the file sit by now: also at the next start."""
    known = {identity(device) for device in domain.devices if device.PLUGGED}
    return {identity(d): d.place for d in applied.devices
            if d.place is not None and identity(d) in known}


def _wait_for_guest(keeper: DomainController, change: Change, message: str) -> None:
    before = keeper.unwilling.get(change.path)
    count = before.count + 1 if before else 1
    wait = min(FIRST_WAIT * 2.0 ** (count - 1), LONGEST_WAIT) * keeper.context.jitter()
    keeper.unwilling[change.path] = DeferredChange(
        change.path, message, keeper.context.now().clock + wait, count)


def _needs_new_process(keeper: DomainController, decided: Plan, shown: str,
                       error: HypervisorError) -> None:
    keeper.remember(ledger=replace(keeper.ledger, not_live=keeper.memory.generation))
    keeper.last_action = {"name": Verb.UPDATE, "at": timestamp(), "cause": decided.cause,
                          "result": "failed", "error": str(error)}
    keeper.tell("action.failed", severity="error", action=Verb.UPDATE, cause=decided.cause,
                reason=error.reason, error=f"{shown}: {error}",
                hint="it takes a new process; the update policy says whether it gets one")
