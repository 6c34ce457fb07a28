"""What should be done about a domain if nothing were in the way, and under which reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.devices import Interface, RootPort
from reconciler.domain.difference import Change
from reconciler.domain.model import Impact
from reconciler.domain.place import Place
from reconciler.domain.policy import DesiredState, Health, Probe, UpdatePolicy
from reconciler.engine.decide.inputs import (
    STOP,
    Attempts,
    Cause,
    Exit,
    ExitKind,
    HealthStatus,
    Pending,
    ProbeResult,
    Step,
    Verb,
    Vm,
    VmState,
    WaitsFor,
)
from reconciler.engine.decide.plan import plan
from reconciler.engine.decide.steps import Decision, changes, decision_of
from tests.values import NOW, domain, inputs

RUNNING, PAUSED, STOPPED = DesiredState.RUNNING, DesiredState.PAUSED, DesiredState.STOPPED
CHECK, START, UPDATE = Step(Verb.CHECK), Step(Verb.START), Step(Verb.UPDATE)
START_PAUSED, BACK = Step(Verb.START_PAUSED), Step(Verb.START, rollback=True)
MEMORY = Pending(Change("memory", "128 MiB", "256 MiB", Impact.RECREATE))
BALLOON = Pending(Change("current_memory", "all", "64 MiB", Impact.LIVE))
SETTLED = Attempts(observed_generation=1, last_settled_state="running")


def decided(wanted=None, state=VmState.ABSENT, pending=(), attempts=SETTLED, **values):
    found = inputs(wanted, state, attempts=attempts, **values)
    return decision_of(found, found.domain, pending)


@pytest.mark.parametrize(("wanted", "state", "expected"), [
    (RUNNING, VmState.RUNNING, Decision()),
    (PAUSED, VmState.PAUSED, Decision()),
    (STOPPED, VmState.ABSENT, Decision()),
    (RUNNING, VmState.STOPPING, Decision(reason="Stopping", changing=True)),
    (STOPPED, VmState.STOPPING, Decision(reason="Stopping", changing=True)),
    (RUNNING, VmState.STARTING, Decision(reason="Starting", changing=True)),
    (PAUSED, VmState.STARTING, Decision(reason="Starting", changing=True)),
    (STOPPED, VmState.STARTING, Decision((STOP,), "Stopping", Cause.FILE)),
    (STOPPED, VmState.RUNNING, Decision((STOP,), "Stopping", Cause.FILE)),
    (RUNNING, VmState.ABSENT, Decision((START,), "Starting", Cause.DRIFT)),
    (PAUSED, VmState.ABSENT, Decision((START_PAUSED,), "Starting", Cause.FILE)),
    (RUNNING, VmState.PAUSED, Decision((Step(Verb.RESUME),), "Resuming", Cause.DRIFT)),
    (PAUSED, VmState.RUNNING, Decision((Step(Verb.PAUSE),), "Pausing", Cause.FILE))])
def test_every_wanted_state_from_every_observed_one_with_its_reason(wanted, state, expected):
    assert decided(domain(wanted), state) == expected


@pytest.mark.parametrize(("attempts", "asked", "cause"), [
    (SETTLED, False, Cause.DRIFT), (SETTLED, True, Cause.COMMAND),
    (Attempts(last_settled_state="running"), False, Cause.FILE),
    (Attempts(observed_generation=1), False, Cause.FILE),
    (replace(SETTLED, last_exit=Exit(ExitKind.KILLED, 1.0)), False, Cause.EXIT),
    (replace(SETTLED, last_exit=Exit(ExitKind.REBOOT, 1.0)), False, Cause.BOOT)])
def test_why_a_vm_is_started(attempts, asked, cause):
    assert decided(attempts=attempts, restart_asked=asked) == Decision((START,), "Starting", cause)


def test_an_exit_that_is_over_is_not_why_a_vm_is_resumed():
    ended = replace(SETTLED, last_exit=Exit(ExitKind.KILLED, 1.0))
    assert decided(state=VmState.PAUSED, attempts=ended).cause is Cause.DRIFT


# Restarts and reboots

STAYS = domain(destroy_on_reboot=True)
DOWN = replace(SETTLED, down_reason="PoweredOff")


@pytest.mark.parametrize("wanted", [domain(), STAYS])
@pytest.mark.parametrize("attempts", [SETTLED, DOWN])
def test_a_restart_that_is_asked_for_recreates_whatever_the_guest_did(wanted, attempts):
    assert decided(wanted, VmState.RUNNING, attempts=attempts, restart_asked=True) == Decision(
        (CHECK, STOP, START), "Recreating", Cause.COMMAND)


def test_a_guest_that_rebooted_is_stopped_only_where_its_file_says_so():
    assert decided(STAYS, VmState.RUNNING, attempts=DOWN) == Decision(
        (STOP,), "Stopping", Cause.EXIT, "its guest rebooted; on_reboot: destroy")
    assert decided(STAYS, VmState.RUNNING) == decided(state=VmState.RUNNING, attempts=DOWN) == (
        Decision())


@pytest.mark.parametrize(("reason", "as_wanted"), [("PoweredOff", True), ("Killed", False)])
def test_a_domain_that_an_exit_left_down_stays_down_until_it_is_started(reason, as_wanted):
    down = replace(SETTLED, down_reason=reason)
    assert decided(attempts=down) == Decision(reason=reason, down=True, as_wanted=as_wanted)
    assert decided(attempts=down, restart_asked=True) == Decision(
        (START,), "Starting", Cause.COMMAND)


# Changes


@pytest.mark.parametrize(("wanted", "start"), [(RUNNING, START), (PAUSED, START_PAUSED)])
def test_a_change_that_needs_a_new_process_recreates_and_names_all_changes(wanted, start):
    state = VmState.RUNNING if wanted is RUNNING else VmState.PAUSED
    assert decided(domain(wanted), state, (MEMORY, BALLOON)) == Decision(
        (CHECK, STOP, start), "Recreating", Cause.FILE,
        "memory: 128 MiB → 256 MiB, current_memory: all → 64 MiB")
    assert changes(()) == ""


def test_a_vm_that_is_starting_is_recreated_and_not_updated():
    assert decided(state=VmState.STARTING, pending=(MEMORY,)).reason == "Recreating"
    assert decided(state=VmState.STARTING, pending=(BALLOON,)).reason == "Starting"


def test_only_changes_that_wait_for_nothing_are_made_and_named():
    waits = replace(MEMORY, waits_for=WaitsFor.WINDOW)
    assert decided(state=VmState.RUNNING, pending=(waits, BALLOON)) == Decision(
        (UPDATE,), "Updating", Cause.FILE, "current_memory: all → 64 MiB")
    assert decided(state=VmState.RUNNING, pending=(waits,)) == Decision()


def test_the_state_comes_before_live_changes():
    assert decided(state=VmState.PAUSED, pending=(BALLOON,)).reason == "Resuming"
    assert decided(domain(PAUSED), VmState.RUNNING, (BALLOON,)).reason == "Pausing"


def test_under_policy_recreate_a_live_change_recreates_unless_it_is_made_after_each_start():
    wanted = domain(update=UpdatePolicy.RECREATE)
    assert decided(wanted, VmState.RUNNING, (BALLOON,)).reason == "Recreating"
    late = replace(BALLOON, late=True)
    assert decided(wanted, VmState.RUNNING, (late,)).reason == "Updating"


# Rollback

ROLLED = replace(SETTLED, rolled_back_generation=1, rolled_back_because="not healthy")
BIGGER = domain(memory=256)
OF_NEWEST = Vm(VmState.RUNNING, 42, generation=1)


def rolled(wanted=BIGGER, running=BIGGER, good=None, **values):
    good = domain() if good is None else good
    return decided(wanted, attempts=ROLLED, **{
        "vm": OF_NEWEST, "running": running, "last_known_good": good, **values})


@pytest.mark.parametrize("state", [RUNNING, PAUSED])
def test_a_definition_that_came_up_and_was_rolled_back_is_replaced(state):
    start = Verb.START if state is RUNNING else Verb.START_PAUSED
    assert rolled(domain(state, memory=256)) == Decision(
        (STOP, Step(start, rollback=True)), "Recreating", Cause.ROLLBACK, "not healthy")


def test_a_domain_that_is_rolled_back_and_down_starts_the_last_known_good_definition():
    assert rolled(vm=Vm(VmState.ABSENT), running=None) == Decision(
        (BACK,), "Starting", Cause.ROLLBACK)
    asked = rolled(vm=Vm(VmState.ABSENT), running=None, restart_asked=True)
    assert asked.steps == (BACK,)


def test_only_what_was_rolled_back_and_has_something_to_go_back_to_starts_that():
    absent = {"vm": Vm(VmState.ABSENT), "running": None}
    assert rolled(generation=2, **absent).steps == (START,)
    found = inputs(BIGGER, attempts=ROLLED)
    assert decision_of(found, BIGGER, ()).steps == (START,)


@pytest.mark.parametrize("values", [
    {"running": domain()},  # the old one runs already
    {"vm": Vm(VmState.RUNNING, 42, generation=0)},  # by its generation
    {"running": None}, {"generation": 2, "vm": Vm(VmState.RUNNING, 42, generation=2)}])
def test_nothing_else_is_replaced_by_the_last_known_good_definition(values):
    assert rolled(**values) == Decision()


def test_without_a_last_known_good_definition_nothing_is_replaced():
    found = inputs(BIGGER, vm=OF_NEWEST, running=BIGGER, attempts=ROLLED)
    assert decision_of(found, BIGGER, ()) == Decision()


CARD = Interface(alias="net0", tap="tap-a", mac="52:54:00:00:00:01")


@pytest.mark.parametrize("late", [
    {"current_memory": 64 << 20}, {"devices": (replace(CARD, up=False),)}])
def test_a_definition_with_changes_that_each_start_lacks_is_gone_back_to_once(late):
    """What every start lacks, and is made later, does not show that the new definition runs."""
    good = replace(domain(), devices=(CARD,))
    good = replace(good, **late)
    started = replace(domain(), devices=(CARD,))
    new = replace(good, memory=256 << 20)
    assert rolled(new, started, good) == Decision()
    assert rolled(new, replace(started, memory=256 << 20), good).cause is Cause.ROLLBACK


def test_a_difference_that_changes_nothing_on_the_host_is_no_reason_to_go_back():
    good = replace(domain(), title="old")
    assert rolled(domain(), domain(), good) == Decision()


# Health

HEALTH = Health(Probe.TCP, "a:1")
ILL = ProbeResult(HealthStatus.UNHEALTHY, 3, "connection refused")


def test_an_unhealthy_guest_is_reported_or_replaced_as_its_file_says():
    assert decided(domain(health=HEALTH), VmState.RUNNING, probe=ILL) == Decision(
        reason="HealthCheckFailed", message="connection refused", unhealthy=True)
    again = domain(health=replace(HEALTH, restart=True))
    assert decided(again, VmState.RUNNING, probe=ILL) == Decision(
        (STOP, START), "Recreating", Cause.EXIT, "its guest is not healthy: connection refused")


@pytest.mark.parametrize(("wanted", "state", "probe"), [
    (domain(health=HEALTH), VmState.RUNNING, ProbeResult(HealthStatus.HEALTHY)),
    (domain(health=HEALTH), VmState.RUNNING, ProbeResult()),
    (domain(), VmState.RUNNING, ILL), (domain(PAUSED, health=HEALTH), VmState.PAUSED, ILL)])
def test_no_other_guest_is_unhealthy(wanted, state, probe):
    assert decided(wanted, state, probe=probe) == Decision()


def test_an_unhealthy_guest_after_a_rollback_is_replaced_by_the_same_definition():
    good = domain(health=replace(HEALTH, restart=True))
    found = rolled(running=good, good=good, probe=ILL, vm=Vm(VmState.RUNNING, 42))
    assert (found.steps, found.cause) == ((STOP, BACK), Cause.EXIT)


# Removal comes before addition


def test_a_card_is_removed_before_the_one_that_needs_its_port_is_added():
    """Whatever the order of their names: there is one root port, and the old card frees it."""
    port = RootPort(alias="pcie.1", index=1, place=Place(0, 1))
    old = replace(CARD, mac="52:54:00:00:00:02", place=Place(1, 0))
    running = replace(domain(), devices=(port, old))
    wanted = replace(domain(), devices=(replace(CARD, mac="52:54:00:00:00:01"),))
    found = plan(inputs(wanted, VmState.RUNNING, running=running), NOW)
    assert found.steps == (UPDATE,)
    assert [(p.change.new == "none", p.change.impact) for p in found.pending] == [
        (True, Impact.LIVE), (False, Impact.LIVE)]


@pytest.mark.parametrize(("wanted", "state"), [(RUNNING, VmState.RUNNING),
                                               (PAUSED, VmState.PAUSED)])
@pytest.mark.parametrize("update", list(UpdatePolicy))
def test_rule_9_taps_off_their_network_are_drift_whatever_the_update_policy(wanted, state, update):
    said = ("tap a is down", "tap b was deleted")
    found = inputs(domain(state=wanted, update=update), state, attempts=SETTLED)
    found = replace(found, vm=replace(found.vm, off_network=said))
    decided_on = plan(found, NOW)
    assert decided_on.steps == (Step(Verb.RECONNECT),)
    assert decided_on.cause is Cause.DRIFT
    assert decided_on.ready.message == "tap a is down; tap b was deleted"
    assert not decided_on.is_ready
