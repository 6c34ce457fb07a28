"""From a domain's state to what its plan rests on, and to what other domains must know of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.policy import DesiredState, Health, Probe
from reconciler.engine.decide.constraints import DomainSummary
from reconciler.engine.decide.events import ActionFailed, Observed, StartBegun
from reconciler.engine.decide.gather import (
    decide,
    gather,
    hold_in_force,
    memory_needed,
    summarise,
    window_state,
)
from reconciler.engine.decide.inputs import (
    STOP,
    Attempts,
    BlockedOn,
    Condition,
    DeferredChange,
    Exit,
    ExitKind,
    HealthStatus,
    Hold,
    Inputs,
    Plan,
    ProbeResult,
    Removal,
    RetryState,
    Step,
    Surroundings,
    Truth,
    Verb,
    VmState,
    WindowState,
)
from reconciler.engine.decide.state import DecisionConfig, Running
from reconciler.engine.decide.transition import transition
from reconciler.windows import read_window
from tests.engine.decide.states import (
    ABSENT,
    OLD,
    PAUSED,
    READY,
    RUNS,
    UNKNOWN,
    known,
    planned,
    running,
)
from tests.values import NOW, domain

START, CHECK, FORGET = Step(Verb.START), Step(Verb.CHECK), Step(Verb.FORGET)
BIG = domain(memory=512)
FAILED = RetryState((1.0,), 1, 2.0, "StartFailed", "no luck")
ME = Hold("repair", "me")
NONE_AROUND = Surroundings()


# Inputs


def inputs_of(state, hold_of_all=None):
    return gather(state, NOW, hold_of_all=hold_of_all)


def test_everything_that_is_known_is_in_the_inputs():
    attempts, probe = Attempts(restarts=3), ProbeResult(HealthStatus.HEALTHY, 0, "")
    deferred = (DeferredChange("x", "busy", 2.0),)
    state = known(vm=RUNS, attempts=attempts, good=BIG, running=running(BIG), invalid="wrong",
                  invalid_reason="Conflict", removal=Removal.HELD, removal_since=7.0,
                  removal_reason="MassRemoval", removal_message="many", restart_asked=True,
                  probe=probe, deferred_changes=deferred,
                  record={"hold": ME, "generation": 5})
    assert inputs_of(state) == Inputs(
        state.domain, RUNS, 5, BIG, BIG, attempts, "wrong", "Conflict", Removal.HELD, 7.0,
        "MassRemoval", "many", ME,
        restart_asked=True, probe=probe, deferred_changes=deferred)


def test_what_ran_is_not_what_runs():
    assert inputs_of(known(vm=ABSENT, running=running(BIG))).running is None
    assert inputs_of(known(vm=UNKNOWN, running=running(BIG))).running == BIG
    assert inputs_of(known(vm=RUNS)).running is None


@pytest.mark.parametrize(("executing", "vm", "expected"), [
    ((CHECK, STOP, START), ABSENT, True), ((STOP, Step(Verb.START_PAUSED)), ABSENT, True),
    ((CHECK, STOP, START), RUNS, False), ((START,), ABSENT, False), ((STOP,), ABSENT, False),
    ((STOP, FORGET), ABSENT, False), ((), ABSENT, False)])
def test_a_recreate_that_has_stopped_its_vm_is_between_the_two(executing, vm, expected):
    assert inputs_of(known(vm=vm, executing=executing)).recreating is expected


@pytest.mark.parametrize(("kind", "expected"), [(ExitKind.REBOOT, 907.0), (ExitKind.KILLED, 0.0)])
def test_the_start_delay_counts_after_a_boot_from_when_the_reconciler_began(kind, expected):
    ended = Attempts(last_exit=Exit(kind, 1.0))
    assert inputs_of(known(domain(start_delay=7.0), attempts=ended)).start_after == expected
    assert inputs_of(known(domain(start_delay=7.0))).start_after == 0.0
    unread = replace(known(attempts=ended), domain=None)
    assert inputs_of(unread).start_after == 0.0


# Holds


def test_the_hold_of_the_domain_counts_before_that_of_all_and_before_that_of_its_file():
    mine, every = Hold("mine", "me", NOW.wall + 1), Hold("all", "me")
    state = known(domain(hold=True, hold_reason="file"), record={"hold": mine})
    assert hold_in_force(state, every, NOW) == mine
    over = replace(state, record=replace(state.record, hold=replace(mine, until=NOW.wall)))
    assert hold_in_force(over, every, NOW) == every
    assert hold_in_force(over, replace(every, until=NOW.wall - 1), NOW) == Hold(
        "file", "its file", None)
    assert hold_in_force(known(), None, NOW) is None


def test_the_hold_of_a_file_counts_from_when_it_was_accepted():
    def until(text):
        state = known(domain(hold=True, hold_until=text), record={"accepted_at": 100.0})
        return hold_in_force(state, None, NOW)

    assert until(None) == Hold("", "its file", None)
    assert until("5m") == Hold("", "its file", 400.0)
    assert until("2027-01-15T08:00:00Z") == Hold("", "its file", 1_800_000_000.0)
    assert until("next week") == Hold("", "its file", None)
    assert hold_in_force(known(domain(hold_reason="not held")), None, NOW) is None
    unread = replace(known(), domain=None)
    assert hold_in_force(unread, None, NOW) is None


@pytest.mark.parametrize("removal", [Removal.HELD, Removal.PROVEN])
def test_a_file_that_is_gone_holds_nothing(removal):
    assert hold_in_force(known(domain(hold=True), removal=removal), None, NOW) is None
    assert inputs_of(known(domain(hold=True), removal=removal)).hold is None


def test_a_file_of_which_it_is_not_known_whether_it_is_gone_holds_its_domain():
    assert hold_in_force(known(domain(hold=True), removal=Removal.UNPROVEN), None, NOW) is not None


# Windows

NIGHTS = read_window(("22:00-05:00",), (), "UTC")  # at NOW it is 08:00
WINDOWS = {"nights": NIGHTS, "days": read_window(("06:00-20:00",), (), "UTC"),
           "never": read_window(("2020-01-01",), (), "UTC")}


@pytest.mark.parametrize(("name", "expected"), [
    ("days", WindowState("days", open=True)),
    ("nights", WindowState("nights", open=False, opens_at=NOW.wall + 14 * 3600,
                           shown="Fri 2027-01-15 22:00 UTC")),
    ("never", WindowState("never", open=False)), ("unknown", None), (None, None)])
def test_the_window_that_a_file_names_as_of_now(name, expected):
    assert window_state(WINDOWS, domain(window=name), NOW.wall) == expected
    state = replace(known(domain(window=name)), config=DecisionConfig(windows=WINDOWS))
    assert inputs_of(state).window == expected
    assert window_state(WINDOWS, None, NOW.wall) is None


# The plan


def planner(around=NONE_AROUND):
    asked = []

    def surroundings():
        asked.append(True)
        return around

    return surroundings, asked


def test_surroundings_are_asked_for_only_where_something_is_to_be_done():
    surroundings, asked = planner()
    found = decide(known(vm=RUNS, running=running()), NOW, hold_of_all=None,
                   surroundings=surroundings)
    assert (found.plan.steps, asked) == ((), [])
    surroundings, asked = planner(Surroundings(unmet=("db",)))
    found = decide(known(), NOW, hold_of_all=None, surroundings=surroundings)
    assert (found.plan.blocked, found.plan.blocked_on) == ((START,), BlockedOn.DEPENDENCY)
    assert (found.inputs.surroundings.unmet, asked) == (("db",), [True])
    found = decide(known(), NOW, hold_of_all=ME, surroundings=surroundings)
    assert (found.plan.blocked_on, asked) == (BlockedOn.HOLD, [True])


# What other domains must know


def blocked(on, *steps):
    return Plan(conditions=(Condition("Ready", Truth.FALSE, "x"),), blocked=steps, blocked_on=on)


SUMMARY = DomainSummary(
    domain(), VmState.RUNNING, ready=True, at_rest=True, waits=False, failing=False, leaving=False,
    recreating=False, wants_recreate=False, memory=domain().memory, home="a")


def test_a_domain_that_is_what_it_should_be():
    assert summarise(known(vm=RUNS, running=running(), plan=READY)) == SUMMARY


def test_a_domain_that_was_not_observed_yet_is_not_at_rest():
    assert summarise(known()) == replace(
        SUMMARY, state=VmState.ABSENT, ready=False, at_rest=False, memory=0)


FALSE = Plan(conditions=(Condition("Ready", Truth.FALSE, "InvalidDefinition"),))
PROBED = domain(health=Health(Probe.TCP, "a:1"))


@pytest.mark.parametrize(("state", "expected"), [
    (known(vm=RUNS, plan=FALSE), True),  # its newest file is invalid, and it runs
    (known(vm=RUNS, plan=planned(CHECK, STOP, START)), False),  # it is about to end
    (known(vm=PAUSED, plan=FALSE), False), (known(vm=ABSENT, plan=FALSE), False),
    (known(PROBED, RUNS, plan=FALSE), False),
    (known(PROBED, RUNS, plan=FALSE, probe=ProbeResult(HealthStatus.HEALTHY)), True),
    (known(domain(DesiredState.PAUSED), PAUSED, plan=READY), True),
    (known(vm=RUNS), False)])
def test_a_guest_that_runs_and_is_healthy_is_ready_for_its_dependents(state, expected):
    assert summarise(state).ready is expected


@pytest.mark.parametrize(("plan", "attempts", "expected"), [
    (planned(START), Attempts(), False), (planned(START), Attempts(failures=FAILED), True),
    (planned(START), Attempts(silence=FAILED), True), (READY, Attempts(), True),
    (replace(FALSE, coming_up=True), Attempts(), False),
    (blocked(BlockedOn.WAVE, START), Attempts(), False),
    (blocked(BlockedOn.DEPENDENCY, START), Attempts(), True),
    (Plan(), Attempts(failures=FAILED), False)])
def test_a_domain_on_its_way_is_at_rest_only_if_it_fails(plan, attempts, expected):
    found = summarise(known(attempts=attempts, plan=plan))
    assert found.at_rest is expected
    assert found.failing is (attempts != Attempts())


@pytest.mark.parametrize(("on", "waits"), [
    (BlockedOn.DEPENDENCY, True), (BlockedOn.DEPENDENTS, True), (BlockedOn.WAVE, False),
    (BlockedOn.BACKOFF, False)])
def test_waiting_is_for_dependencies_alone(on, waits):
    assert summarise(known(plan=blocked(on, START))).waits is waits


@pytest.mark.parametrize(("state", "leaving"), [
    (known(vm=RUNS, removal=Removal.PROVEN, plan=READY), True),
    (known(vm=RUNS, removal=Removal.APPROVED, plan=READY), True),
    (known(vm=RUNS, removal=Removal.HELD, plan=READY), False),
    (known(domain(DesiredState.STOPPED), RUNS, plan=READY), True),
    (known(domain(DesiredState.PAUSED), RUNS, plan=READY), False),
    (replace(known(vm=RUNS), domain=None), False),
    *((known(domain(DesiredState.STOPPED), RUNS, removal=Removal.PROVEN, plan=blocked(on)), False)
      for on in (BlockedOn.WINDOW, BlockedOn.KEPT, BlockedOn.CONFIRMATION, BlockedOn.HOLD)),
    (known(vm=RUNS, removal=Removal.PROVEN, plan=blocked(BlockedOn.BACKOFF)), True)])
def test_what_leaves_is_what_is_stopped_or_removed_as_soon_as_that_is_possible(state, leaving):
    assert summarise(state).leaving is leaving


BEGUN = Attempts(recreating_generation=1, replaced_pid=41)


@pytest.mark.parametrize(("state", "recreating"), [
    (known(vm=RUNS, plan=planned(CHECK, STOP, START)), True),
    (known(vm=RUNS, plan=planned(STOP, START)), False),
    # It began, and the new VM is not up and healthy yet.
    (known(vm=RUNS, attempts=BEGUN, plan=READY), True),
    (known(vm=replace(RUNS, generation=0), attempts=BEGUN, plan=READY), True),
    (known(vm=ABSENT, attempts=BEGUN, plan=planned(START)), True),
    (known(vm=ABSENT, attempts=BEGUN, plan=blocked(BlockedOn.BACKOFF, START)), True),
    # The old VM still runs, or one of an older generation, or the recreate is that of an older one.
    (known(vm=replace(RUNS, pid=41), attempts=BEGUN, plan=READY), False),
    (known(vm=replace(RUNS, generation=2), attempts=BEGUN, plan=READY,
           record={"generation": 3}), False),
    (known(vm=replace(RUNS, generation=3), attempts=BEGUN, plan=READY), False),
    (known(vm=RUNS, attempts=BEGUN, plan=READY, record={"generation": 2}), False),
    # It was rolled back, and the old definition is not up yet.
    (known(vm=ABSENT, attempts=Attempts(rolled_back_generation=1), plan=planned(START)), True),
    (known(vm=RUNS, attempts=Attempts(rolled_back_generation=1), plan=READY), False),
    (known(vm=ABSENT, plan=planned(START)), False),
    # It is held, or stays down.
    (known(vm=RUNS, attempts=BEGUN, plan=blocked(BlockedOn.HOLD, START)), False),
    (known(vm=ABSENT, attempts=BEGUN, plan=READY), False)])
def test_a_recreate_lasts_until_the_new_vm_is_up_and_healthy(state, recreating):
    assert summarise(state).recreating is recreating


@pytest.mark.parametrize(("plan", "expected"), [
    (blocked(BlockedOn.TURN, CHECK, STOP, START), True), (blocked(BlockedOn.TURN, START), False),
    (blocked(BlockedOn.HOLD, CHECK, STOP, START), False),
    (planned(CHECK, STOP, START), False)])
def test_a_recreate_is_wanted_while_something_is_in_its_way(plan, expected):
    assert summarise(known(vm=RUNS, plan=plan)).wants_recreate is expected


LITTLE = domain(memory=64)


@pytest.mark.parametrize(("state", "mib"), [
    (known(vm=RUNS, running=running(BIG)), 512),  # and not what its file says by now
    (known(vm=ABSENT, running=running(BIG)), 0),
    (known(vm=RUNS), 128),  # it is not known what it has
    (known(vm=ABSENT, plan=planned(START)), 128),
    (known(vm=ABSENT, plan=planned(Step(Verb.START_PAUSED))), 128),
    (known(BIG, RUNS, running=running(LITTLE), plan=planned(CHECK, STOP, START)), 512),
    (known(LITTLE, RUNS, running=running(BIG), plan=planned(CHECK, STOP, START)), 512),
    (known(vm=ABSENT, launching=running(BIG)), 512),  # its file may say something else by now
    (known(vm=ABSENT, good=BIG, plan=planned(Step(Verb.START, rollback=True))), 512),
    (known(vm=RUNS, running=running(LITTLE), good=BIG, plan=planned(
        STOP, Step(Verb.START, rollback=True))), 512),
    (known(vm=ABSENT, good=BIG, plan=planned(START)), 128),
    (known(BIG, RUNS, running=running(LITTLE), plan=planned(Step(Verb.PAUSE))), 64),
    (replace(known(vm=RUNS), domain=None), 0)])
def test_memory_is_that_of_what_runs_or_is_about_to_run(state, mib):
    assert summarise(state).memory == mib << 20


def test_a_start_after_a_rollback_takes_the_memory_of_what_is_started():
    assert memory_needed(known(LITTLE, good=BIG)) == 64 << 20
    back = Attempts(rolled_back_generation=1)
    assert memory_needed(known(LITTLE, attempts=back, good=BIG)) == 512 << 20
    assert memory_needed(known(LITTLE, attempts=back)) == 64 << 20
    assert memory_needed(replace(known(), domain=None)) == 0


def test_what_is_launched_counts_until_it_is_observed():
    state = known(BIG, plan=planned(START))
    state, _ = transition(state, StartBegun(NOW, START, Running(BIG, OLD, BIG)))
    assert summarise(replace(state, plan=READY)).memory == 512 << 20
    failed, _ = transition(state, ActionFailed(NOW, Verb.START, "StartFailed", "no luck"))
    assert summarise(replace(failed, plan=READY)).memory == 0
    seen, _ = transition(state, Observed(NOW, ABSENT))
    assert summarise(replace(seen, plan=READY)).memory == 0
