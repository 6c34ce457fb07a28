"""Ends that nobody here asked for: seen, told apart, counted by kind, told in the journal.

The keeper calls `ended` when the process of its VM ends and `rebooted` when only its guest does;
adoption.py tells of what ended while no reconciler ran, wellness.py counts a guest that is not
well. What an end leads to is the ledger's and the plan's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.engine.decide import attempts as ledgers
from reconciler.engine.decide.inputs import Exit, ExitKind
from reconciler.stratovirt.observation import ExitEvidence, classify

if TYPE_CHECKING:
    from reconciler.engine.control.controller import DomainController


def ended(keeper: DomainController, traces: ExitEvidence) -> None:
    """Its process has ended, just now or while nobody watched."""
    now = keeper.context.now()
    _count(keeper, classify(traces, now.clock, now.wall))


def rebooted(keeper: DomainController) -> None:
    """Its guest boots again: an end only where its file says so, and the plan then stops it."""
    got = keeper.applied
    if got is not None and got.policy.destroy_on_reboot and not keeper.ledger.down:
        now = keeper.context.now()
        _count(keeper, Exit(ExitKind.RESET, now.clock, message="the guest rebooted",
                            wall=now.wall))


def went_with_the_host(keeper: DomainController) -> None:
    """The host was started anew, and it is not there any more."""
    now = keeper.context.now()
    _count(keeper, Exit(ExitKind.REBOOT, now.clock, message="the host was started anew",
                        wall=now.wall))


def _count(keeper: DomainController, end: Exit) -> None:
    policy = keeper.applied or keeper.domain
    if policy is not None:
        keeper.remember(ledger=ledgers.exited(keeper.ledger, end, policy.policy,
                                              jitter=keeper.context.jitter()))
    keeper.tell("domain.exited", severity="warning", reason=end.kind, cause="exit", code=end.code,
                signal=end.signal, message=end.message)
