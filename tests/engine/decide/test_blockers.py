"""What keeps a decision from being carried out, which comes first, and until when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.engine.decide.blockers import Blocker, blocker_of, for_window
from reconciler.engine.decide.inputs import (
    STOP,
    Attempts,
    BlockedOn,
    Cause,
    RetryState,
    Step,
    Surroundings,
    Verb,
    Vm,
    VmState,
    WindowState,
)
from reconciler.engine.decide.steps import Decision
from tests.values import NOW, domain, inputs

START, PAUSE = Step(Verb.START), Step(Verb.PAUSE)
RECREATE = (Step(Verb.CHECK), STOP, START)
AGAIN = (STOP, START)  # without a check: of an unhealthy guest, or of a rollback
LATER = NOW.clock + 4
FAILED = RetryState((1.0,), 2, LATER, "StartFailed", "no luck")
LONELY = Surroundings()


def blocker(*steps, cause=Cause.FILE, vm=None, wanted=None, attempts=None, **values):
    vm = vm or Vm(VmState.ABSENT)
    found = inputs(wanted, vm=vm, attempts=attempts or Attempts(), **values)
    return blocker_of(found, found.domain, Decision(steps, cause=cause), NOW)


def test_nothing_is_in_the_way_where_nothing_is_to_be_done():
    around = Surroundings(start_allowed=False, wave_ready=False, unmet=("db",), dependents=("web",),
                          recreate_blocked_by="b", memory_shortage="no", name_taken_by="c")
    worn = Attempts(failures=FAILED, crashes=FAILED, drift=FAILED)
    assert blocker(surroundings=around, attempts=worn) is None
    for steps in ((), (START,), (STOP,), RECREATE, (PAUSE,)):
        assert blocker(*steps) is None


# Delays


@pytest.mark.parametrize("steps", [(START,), (STOP,), RECREATE, (PAUSE,)])
def test_failed_actions_are_attempted_again_after_their_delay(steps):
    assert blocker(*steps, attempts=Attempts(failures=FAILED)) == Blocker(
        BlockedOn.BACKOFF, "BackOff", "no luck; retrying in 4 s (attempt 3)", LATER)
    over = replace(FAILED, retry_at=NOW.clock)
    assert blocker(*steps, attempts=Attempts(failures=over)) is None


def test_the_third_failure_is_stalled_with_its_own_reason():
    third = replace(FAILED, count=3)
    assert blocker(START, attempts=Attempts(failures=third)) == Blocker(
        BlockedOn.BACKOFF, "StartFailed", "no luck; retrying in 4 s (attempt 4)", LATER, True)


@pytest.mark.parametrize("steps", [(START,), (Step(Verb.START_PAUSED),), RECREATE, AGAIN])
def test_a_start_waits_for_the_delay_of_exits(steps):
    assert blocker(*steps, attempts=Attempts(crashes=FAILED)) == Blocker(
        BlockedOn.BACKOFF, "BackOff", "no luck; retrying in 4 s (attempt 3)", LATER)
    over = replace(FAILED, retry_at=NOW.clock)
    assert blocker(*steps, attempts=Attempts(crashes=over)) is None


def test_what_starts_nothing_does_not_wait_for_the_delay_of_exits():
    for steps in ((STOP,), (PAUSE,)):
        assert blocker(*steps, attempts=Attempts(crashes=FAILED)) is None


def test_more_exits_than_the_limit_within_the_window_are_a_crash_loop_which_is_stalled():
    wanted = domain(restart_limit=2, restart_window=60.0)
    crashes = replace(FAILED, times=(NOW.clock - 59, NOW.clock - 1, NOW.clock), count=3)
    found = blocker(START, wanted=wanted, attempts=Attempts(crashes=crashes))
    assert (found.on, found.reason, found.stalled) == (BlockedOn.BACKOFF, "CrashLoop", True)
    older = replace(crashes, times=(NOW.clock - 60, NOW.clock - 1, NOW.clock))
    found = blocker(START, wanted=wanted, attempts=Attempts(crashes=older))
    assert (found.reason, found.stalled) == ("BackOff", False)


def test_corrections_of_drift_wait_and_nothing_else_does():
    fight = Attempts(drift=FAILED)
    assert blocker(PAUSE, cause=Cause.DRIFT, attempts=fight) == Blocker(
        BlockedOn.DRIFT, "DriftFight", "no luck; retrying in 4 s (attempt 3)", LATER)
    assert blocker(PAUSE, cause=Cause.FILE, attempts=fight) is None
    over = Attempts(drift=replace(FAILED, retry_at=NOW.clock))
    assert blocker(PAUSE, cause=Cause.DRIFT, attempts=over) is None


def test_the_delay_of_failures_comes_first_then_that_of_exits_then_other_domains_then_drift():
    around = Surroundings(unmet=("db",))
    worn = Attempts(failures=FAILED, crashes=replace(FAILED, message="exits"),
                    drift=replace(FAILED, message="drift"))
    values = {"cause": Cause.DRIFT, "surroundings": around}
    assert blocker(START, attempts=worn, **values).message.startswith("no luck")
    worn = replace(worn, failures=RetryState())
    assert blocker(START, attempts=worn, **values).message.startswith("exits")
    worn = replace(worn, crashes=RetryState())
    assert blocker(START, attempts=worn, **values).on is BlockedOn.DEPENDENCY
    assert blocker(START, attempts=worn, cause=Cause.DRIFT).message.startswith("drift")


# VMs that do not answer

SILENT = Vm(VmState.UNKNOWN, 42, "it does not answer", reason="Odd")


@pytest.mark.parametrize("steps", [(), (START,), (PAUSE,)])
def test_a_vm_that_does_not_answer_is_asked_again_whatever_is_to_be_done(steps):
    found = blocker(*steps, vm=SILENT)
    assert found == Blocker(BlockedOn.ANSWER, "Odd", "it does not answer", NOW.clock + 1)
    third = Attempts(silence=replace(FAILED, count=3))
    assert blocker(*steps, vm=SILENT, attempts=third) == Blocker(
        BlockedOn.ANSWER, "Odd", "it does not answer", LATER, True)
    second = Attempts(silence=replace(FAILED, retry_at=NOW.clock + 0.5))
    assert blocker(*steps, vm=SILENT, attempts=second).until == NOW.clock + 1


def test_a_vm_that_was_not_observed_yet_is_not_known():
    assert blocker(vm=Vm()).message == "not observed yet"


def test_a_vm_that_does_not_answer_can_be_stopped_but_not_a_process_that_is_not_known():
    assert blocker(STOP, vm=SILENT) is None
    assert blocker(*RECREATE, vm=SILENT) is None
    locked = replace(SILENT, pid=None)
    assert blocker(STOP, vm=locked).on is BlockedOn.ANSWER


# Other domains


@pytest.mark.parametrize(("around", "found"), [
    (Surroundings(start_allowed=False), Blocker(
        BlockedOn.SOURCE, "WaitingForSlot", "waiting for a complete read of the source")),
    (Surroundings(name_taken_by="b"), Blocker(
        BlockedOn.NAME, "WaitingForSlot",
        "waiting for the VM of b to stop, which still runs under this name")),
    (Surroundings(wave_ready=False), Blocker(
        BlockedOn.WAVE, "WaitingForSlot", "waiting for domains in earlier start waves")),
    (Surroundings(unmet=("db", "mq")), Blocker(
        BlockedOn.DEPENDENCY, "WaitingForDependency", "db, mq")),
    (Surroundings(memory_shortage="no memory"), Blocker(
        BlockedOn.MEMORY, "WaitingForMemory", "no memory")),
    (Surroundings(recreate_blocked_by="b"), None), (Surroundings(dependents=("web",)), None)])
def test_what_a_start_waits_for(around, found):
    assert blocker(START, surroundings=around) == found
    assert blocker(Step(Verb.START_PAUSED), surroundings=around) == found


ALL = Surroundings(start_allowed=False, wave_ready=False, unmet=("db",), dependents=("web",),
                   recreate_blocked_by="b is", memory_shortage="no", name_taken_by="c")


def test_the_order_of_what_a_start_waits_for():
    order, around, free = [], ALL, {
        BlockedOn.MEMORY: {"memory_shortage": ""}, BlockedOn.SOURCE: {"start_allowed": True},
        BlockedOn.NAME: {"name_taken_by": ""}, BlockedOn.WAVE: {"wave_ready": True},
        BlockedOn.DELAY: {}, BlockedOn.DEPENDENCY: {"unmet": ()}}
    start_after = LATER
    while (found := blocker(START, surroundings=around, start_after=start_after)) is not None:
        order.append(found.on)
        around = replace(around, **free[found.on])
        start_after = 0.0 if found.on is BlockedOn.DELAY else start_after
    assert order == list(free)


def test_a_start_delay_ends_by_itself():
    assert blocker(START, start_after=LATER) == Blocker(
        BlockedOn.DELAY, "WaitingForSlot", "start delay has not elapsed", LATER)
    assert blocker(START, start_after=NOW.clock) is None


def test_a_recreate_that_has_stopped_its_vm_waits_for_no_order_of_a_boot_and_no_dependency():
    boot = {"surroundings": Surroundings(wave_ready=False, unmet=("db",)), "start_after": LATER}
    assert blocker(START, recreating=True, **boot) is None
    for around in (Surroundings(start_allowed=False), Surroundings(name_taken_by="b"),
                   Surroundings(memory_shortage="no")):
        assert blocker(START, recreating=True, surroundings=around) is not None


def test_a_recreate_waits_for_its_turn_unless_a_user_asked_for_it():
    turn = Surroundings(recreate_blocked_by="b is being recreated")
    assert blocker(*RECREATE, surroundings=turn) == Blocker(
        BlockedOn.TURN, "WaitingForSlot", "b is being recreated")
    assert blocker(*RECREATE, surroundings=turn, cause=Cause.COMMAND) is None
    assert blocker(*AGAIN, surroundings=turn) is None


def test_a_recreate_stops_no_vm_that_could_not_be_started_under_its_new_name():
    kept = Surroundings(name_kept_by="b")
    for cause in (Cause.FILE, Cause.COMMAND):
        assert blocker(*RECREATE, surroundings=kept, cause=cause) == Blocker(
            BlockedOn.NAME, "WaitingForSlot", "waiting for the VM of b to be recreated or stopped: "
            "the name that it runs under is needed")
    assert blocker(*AGAIN, surroundings=kept) is None


def test_a_replacement_waits_for_memory_and_its_turn_alone():
    rest = replace(ALL, recreate_blocked_by="", memory_shortage="")
    assert blocker(*RECREATE, surroundings=rest, start_after=LATER) is None
    assert blocker(*AGAIN, surroundings=rest, start_after=LATER) is None
    assert blocker(*AGAIN, surroundings=ALL).on is BlockedOn.MEMORY


def test_a_stop_waits_for_its_dependents_unless_a_user_asked_for_it():
    around = replace(ALL, dependents=("web", "worker"))
    assert blocker(STOP, surroundings=around) == Blocker(
        BlockedOn.DEPENDENTS, "WaitingForDependency", "waiting for web, worker to stop first")
    assert blocker(STOP, surroundings=around, cause=Cause.COMMAND) is None
    assert blocker(STOP, surroundings=replace(around, dependents=())) is None
    assert blocker(PAUSE, surroundings=around) is None


# Windows


@pytest.mark.parametrize(("window", "found"), [
    (None, None), (WindowState("nights", open=True), None),
    (WindowState("nights", open=False), Blocker(
        BlockedOn.WINDOW, "WaitingForWindow", "window nights never opens")),
    (WindowState("nights", open=False, opens_at=NOW.wall + 60, shown="22:00"), Blocker(
        BlockedOn.WINDOW, "WaitingForWindow", "window nights opens 22:00", NOW.clock + 60)),
    (WindowState("nights", open=False, opens_at=NOW.wall - 60, shown="22:00"), Blocker(
        BlockedOn.WINDOW, "WaitingForWindow", "window nights opens 22:00", NOW.clock))])
def test_a_window_opens_on_the_clock_that_delays_are_counted_on(window, found):
    assert for_window(window, NOW) == found
