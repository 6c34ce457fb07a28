"""The plan: rules 3, 4 and 6 on values."""

from dataclasses import replace

import pytest

from reconciler.domain.model import Domain, Machine, Policy, UpdatePolicy, Wanted
from reconciler.engine.plan import Facts, Ledger, Step, VmState, after_exit, make_plan

DOMAIN = Domain(Machine("a", "u", "q35", 1 << 30, 1))
BIGGER = replace(DOMAIN, machine=replace(DOMAIN.machine, memory=2 << 30))


def wanted(state: Wanted) -> Domain:
    """The domain with this desired state."""
    return replace(DOMAIN, policy=Policy(state=state))


@pytest.mark.parametrize(("state", "vm", "steps"), [
    (Wanted.RUNNING, VmState.ABSENT, (Step.START,)),
    (Wanted.RUNNING, VmState.PAUSED, (Step.RESUME,)),
    (Wanted.RUNNING, VmState.RUNNING, ()),
    (Wanted.PAUSED, VmState.ABSENT, (Step.START_PAUSED,)),
    (Wanted.PAUSED, VmState.RUNNING, (Step.PAUSE,)),
    (Wanted.PAUSED, VmState.PAUSED, ()),
    (Wanted.STOPPED, VmState.ABSENT, ()),
    (Wanted.STOPPED, VmState.RUNNING, (Step.STOP,)),
    (Wanted.STOPPED, VmState.UNKNOWN, ()),
])
def test_every_state(state: Wanted, vm: VmState, steps: tuple[Step, ...]) -> None:
    domain = wanted(state)
    plan = make_plan(Facts(domain, domain, vm), 0.0)
    assert plan.steps == steps
    assert plan.ready == (not steps and vm is not VmState.UNKNOWN)


def test_rule_6_no_destroy_without_evidence() -> None:
    for vm in VmState:
        assert make_plan(Facts(None, DOMAIN, vm), 0.0).steps == ()
    assert make_plan(Facts(DOMAIN, DOMAIN, VmState.RUNNING, gone=True), 0.0).steps == (
        Step.STOP, Step.FORGET)


def test_a_change_is_a_recreate_unless_the_file_defers_it() -> None:
    assert make_plan(Facts(BIGGER, DOMAIN, VmState.RUNNING), 0.0).steps == (Step.STOP, Step.START)
    manual = replace(BIGGER, policy=Policy(update=UpdatePolicy.MANUAL))
    plan = make_plan(Facts(manual, DOMAIN, VmState.RUNNING), 0.0)
    assert (plan.steps, plan.pending, plan.ready) == ((), ("memory",), True)


def test_a_failed_start_waits() -> None:
    plan = make_plan(Facts(DOMAIN, None, VmState.ABSENT, ledger=Ledger(retry_at=5.0)), 1.0)
    assert (plan.steps, plan.reason, plan.look_again_at) == ((), "BackOff", 5.0)


def test_a_failed_removal_waits() -> None:
    ledger = Ledger(failures=1, retry_at=5.0)
    assert not make_plan(Facts(None, DOMAIN, VmState.RUNNING, gone=True, ledger=ledger), 1.0).steps


def test_crashes_end_in_a_slow_loop() -> None:
    ledger = Ledger()
    for second in range(6):
        ledger = after_exit(DOMAIN, ledger, 1, float(second))
    plan = make_plan(Facts(DOMAIN, DOMAIN, VmState.ABSENT, ledger=ledger), 5.0)
    assert (plan.reason, plan.stalled, plan.look_again_at) == ("CrashLoop", True, 305.0)
