"""The plan for a domain whose file is gone: what is done, when, and what the status shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.policy import PrunePolicy
from reconciler.engine.decide.inputs import (
    STOP,
    Attempts,
    BlockedOn,
    Cause,
    Condition,
    Hold,
    Plan,
    Removal,
    RetryState,
    Step,
    Surroundings,
    Truth,
    Verb,
    Vm,
    VmState,
    WindowState,
)
from reconciler.engine.decide.plan import plan
from tests.values import NOW, domain, inputs

FORGET = Step(Verb.FORGET)
KEPT = "its file is gone; prune policy: keep"
CONFIRM = "its file is gone; `reconciler approve` removes it, or the file comes back"
SHUT = WindowState("nights", open=False, opens_at=NOW.wall + 60, shown="22:00")


def gone(wanted=None, state=VmState.RUNNING, removal=Removal.PROVEN, **values):
    return plan(inputs(wanted, state, removal=removal, **values), NOW)


def conditions(reason="Stopping", message="its file is gone", *, stalled=False):
    found = (Condition("Ready", Truth.UNKNOWN, reason, message),
             Condition("Terminating", Truth.TRUE, reason, message))
    return (*found, Condition("Stalled", Truth.TRUE, reason, message)) if stalled else found


@pytest.mark.parametrize(("state", "steps"), [
    (VmState.RUNNING, (STOP, FORGET)), (VmState.UNKNOWN, (STOP, FORGET)),
    (VmState.ABSENT, (FORGET,))])
@pytest.mark.parametrize(("removal", "cause"), [
    (Removal.PROVEN, Cause.FILE), (Removal.APPROVED, Cause.APPROVAL)])
def test_it_is_stopped_and_forgotten(state, steps, removal, cause):
    assert gone(state=state, removal=removal) == Plan(steps, cause, conditions())


def test_the_newest_policy_decides_or_that_of_what_runs_or_none():
    keep = domain(prune=PrunePolicy.KEEP)
    assert gone(keep, running=domain()).blocked_on is BlockedOn.KEPT
    found = plan(replace(inputs(None, VmState.RUNNING), domain=None, running=keep,
                         removal=Removal.PROVEN), NOW)
    assert found.blocked_on is BlockedOn.KEPT
    found = plan(replace(inputs(None, VmState.RUNNING), domain=None, running=None,
                         removal=Removal.PROVEN, removal_since=NOW.clock), NOW)
    assert found == Plan((STOP, FORGET), conditions=conditions())


def test_policy_keep_leaves_a_vm_that_runs_and_forgets_one_that_does_not():
    assert gone(domain(prune=PrunePolicy.KEEP)) == Plan(
        conditions=(Condition("Ready", Truth.TRUE, "Orphaned", KEPT),
                    Condition("Orphaned", Truth.TRUE, "Orphaned", KEPT)),
        blocked_on=BlockedOn.KEPT)
    assert gone(domain(prune=PrunePolicy.KEEP), VmState.ABSENT).steps == (FORGET,)


def test_policy_confirm_waits_for_an_approval():
    wanted = domain(prune=PrunePolicy.CONFIRM)
    waits = Plan(
        conditions=(Condition("Ready", Truth.FALSE, "ConfirmRequired", CONFIRM),
                    Condition("PruneHeld", Truth.TRUE, "ConfirmRequired", CONFIRM)),
        blocked=(STOP, FORGET), blocked_on=BlockedOn.CONFIRMATION)
    assert gone(wanted) == waits == gone(wanted, VmState.ABSENT)
    assert gone(wanted, removal=Removal.APPROVED).steps == (STOP, FORGET)


def test_policy_after_stops_at_once_and_forgets_later():
    wanted = domain(prune_after=60.0)
    since = {"removal_since": NOW.clock - 59}
    assert gone(wanted, **since) == Plan((STOP,), conditions=conditions())
    assert gone(wanted, VmState.ABSENT, **since) == Plan(
        conditions=conditions(), look_again_at=NOW.clock + 1)
    over = {"removal_since": NOW.clock - 60}
    assert gone(wanted, VmState.ABSENT, **over) == Plan((FORGET,), conditions=conditions())


def test_a_removal_that_failed_is_attempted_again_and_is_stalled_after_three():
    failures = RetryState((1.0,), 2, NOW.clock + 4, "StopFailed", "it does not end")
    message = "its file is gone; it does not end; retrying in 4 s (attempt 3)"
    for state, steps in ((VmState.RUNNING, (STOP, FORGET)), (VmState.ABSENT, (FORGET,))):
        assert gone(state=state, attempts=Attempts(failures=failures)) == Plan(
            (), Cause.FILE, conditions("BackOff", message), (), NOW.clock + 4, blocked=steps,
            blocked_on=BlockedOn.BACKOFF)
    third = replace(failures, count=3)
    message = "its file is gone; it does not end; retrying in 4 s (attempt 4)"
    assert gone(attempts=Attempts(failures=third)).conditions == conditions(
        "StopFailed", message, stalled=True)
    over = replace(failures, retry_at=NOW.clock)
    assert gone(attempts=Attempts(failures=over)).steps == (STOP, FORGET)


def test_failures_delay_nothing_that_only_waits_for_its_time():
    failures = RetryState((1.0,), 2, NOW.clock + 4, "StopFailed", "it does not end")
    found = gone(domain(prune_after=60.0), VmState.ABSENT, removal_since=NOW.clock,
                 attempts=Attempts(failures=failures))
    assert (found.blocked_on, found.look_again_at) == (None, NOW.clock + 60)


def test_it_is_stopped_after_its_dependents_and_within_its_window():
    around = Surroundings(dependents=("web", "worker"))
    message = "its file is gone; waiting for web, worker to stop first"
    assert gone(surroundings=around, window=SHUT) == Plan(
        (), Cause.FILE, conditions("WaitingForDependency", message), blocked=(STOP, FORGET),
        blocked_on=BlockedOn.DEPENDENTS)
    message = "its file is gone; window nights opens 22:00"
    assert gone(window=SHUT, removal=Removal.APPROVED) == Plan(
        (), Cause.APPROVAL, conditions("WaitingForWindow", message), (), NOW.clock + 60,
        blocked=(STOP, FORGET), blocked_on=BlockedOn.WINDOW)
    assert gone(state=VmState.ABSENT, surroundings=around, window=SHUT).steps == (FORGET,)


def test_a_hold_keeps_it_until_it_is_released():
    message = "its file is gone; held by me: repair; `reconciler release` removes it"
    held = gone(hold=Hold("repair", "me"))
    assert held == Plan(
        conditions=(Condition("Ready", Truth.FALSE, "HoldRequested", message),
                    Condition("Held", Truth.TRUE, "HoldRequested", message)),
        blocked=(STOP, FORGET), blocked_on=BlockedOn.HOLD)
    assert gone(hold=Hold("repair", "me", NOW.wall)).steps == (STOP, FORGET)


def test_what_is_held_together_with_others_stays_as_it_is_and_says_what_would_be_done():
    found = gone(removal=Removal.HELD)
    assert (found.steps, found.blocked, found.blocked_on) == ((), (STOP, FORGET), None)
    assert found.condition("PruneHeld") == Condition(
        "PruneHeld", Truth.TRUE, "MassRemoval",
        "many domain files disappeared at once; removal is on hold. `reconciler approve` confirms "
        "it, or the files come back")
    starts = plan(inputs(vm=Vm(VmState.ABSENT), removal=Removal.HELD), NOW)
    assert (starts.steps, starts.blocked) == ((Step(Verb.START),), ())
