"""What is true of a domain: each condition with its status, reason and message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.difference import Change
from reconciler.domain.model import Impact
from reconciler.domain.policy import DesiredState, Health, Probe
from reconciler.engine.decide.blockers import Blocker
from reconciler.engine.decide.conditions import awaits_health, conditions_of, held, nothing_in_force
from reconciler.engine.decide.inputs import (
    STOP,
    Attempts,
    BlockedOn,
    Cause,
    Condition,
    HealthStatus,
    Hold,
    Pending,
    Plan,
    ProbeResult,
    Removal,
    RetryState,
    Step,
    Truth,
    Verb,
    Vm,
    VmState,
    WaitsFor,
    WindowState,
)
from reconciler.engine.decide.steps import Decision
from tests.values import domain, inputs

START = Step(Verb.START)
VALID = Condition("Valid", Truth.TRUE, "Accepted")
MEMORY = Pending(Change("memory", "1", "2", Impact.RECREATE))
BALLOON = Pending(Change("current_memory", "3", "4", Impact.LIVE), waits_for=WaitsFor.GUEST)
NIGHTS = WindowState("nights", open=False, opens_at=1.0, shown="22:00")
HEALTH = Health(Probe.TCP, "a:1")
PROBED = domain(health=HEALTH)
NOTHING = Decision()
STARTING = Decision((START,), "Starting", message="why")
WAITS = Blocker(BlockedOn.DEPENDENCY, "WaitingForDependency", "db")


def conditions(decision=NOTHING, blocker=None, pending=(), *, wanted=None,
               state=VmState.RUNNING, **values):
    found = inputs(wanted, state, **values)
    return conditions_of(found, found.domain, decision, blocker, pending)


def true(kind, reason, message=""):
    return Condition(kind, Truth.TRUE, reason, message)


def ready(status, reason, message=""):
    return Condition("Ready", status, reason, message)


def test_a_domain_that_is_what_it_should_be_is_ready_and_valid_and_nothing_else():
    assert conditions() == (ready(Truth.TRUE, "InSync"), VALID)


def test_what_is_under_way_is_reconciling_and_not_known_to_be_ready():
    for decision in (STARTING, Decision(reason="Starting", message="why", changing=True)):
        assert conditions(decision) == (
            ready(Truth.UNKNOWN, "Starting", "why"), true("Reconciling", "Starting", "why"), VALID)


def test_another_attempt_names_the_error_of_the_one_before():
    failed = Attempts(failures=RetryState((1.0,), 2, 0.0, "StartFailed", "no luck"))
    assert conditions(STARTING, attempts=failed)[:2] == (
        ready(Truth.UNKNOWN, "Starting", "attempt 3; last error: no luck"),
        true("Reconciling", "Starting", "why"))


def test_what_waits_is_reconciling_with_the_reason_of_its_wait_and_not_ready():
    assert conditions(STARTING, WAITS) == (
        ready(Truth.FALSE, "WaitingForDependency", "db"),
        true("Reconciling", "WaitingForDependency", "db"), VALID)


def test_a_vm_that_does_not_answer_is_neither_ready_nor_not():
    silent = Blocker(BlockedOn.ANSWER, "QmpTimeout", "it does not answer")
    assert conditions(Decision(), silent, state=VmState.UNKNOWN) == (
        ready(Truth.UNKNOWN, "QmpTimeout", "it does not answer"), VALID)


def test_stalled_and_reconciling_are_never_true_at_once():
    stalled = replace(WAITS, reason="CrashLoop", stalled=True)
    for decision in (STARTING, Decision(reason="Starting", changing=True)):
        assert conditions(decision, stalled) == (
            ready(Truth.FALSE, "CrashLoop", "db"), true("Stalled", "CrashLoop", "db"), VALID)


def test_an_invalid_file_is_stalled_and_neither_valid_nor_ready():
    wrong = {"invalid": "a.xml:3: wrong", "invalid_reason": "Conflict"}
    assert conditions(**wrong) == (
        ready(Truth.FALSE, "Conflict", "a.xml:3: wrong"),
        true("Stalled", "Conflict", "a.xml:3: wrong"),
        Condition("Valid", Truth.FALSE, "Conflict", "a.xml:3: wrong"))


ROLLED = {"attempts": Attempts(rolled_back_generation=1, rolled_back_because="no luck")}


def test_a_definition_that_was_rolled_back_is_stalled():
    assert conditions(**ROLLED) == (ready(Truth.FALSE, "RolledBack", "no luck"),
                                    true("Stalled", "RolledBack", "no luck"), VALID)


def test_of_several_reasons_the_first_is_shown_once():
    stalled = replace(WAITS, reason="CrashLoop", stalled=True)
    found = conditions(STARTING, stalled, invalid="wrong", **ROLLED)
    assert [(c.type, c.reason) for c in found] == [
        ("Ready", "InvalidDefinition"), ("Stalled", "CrashLoop"), ("Valid", "InvalidDefinition")]
    found = conditions(invalid="wrong", **ROLLED)
    assert [c.reason for c in found] == ["InvalidDefinition"] * 3
    assert conditions(STARTING, WAITS, **ROLLED)[0].reason == "WaitingForDependency"
    assert conditions(STARTING, **ROLLED)[0].reason == "Starting"


def test_a_fight_over_the_state_is_contested():
    fight = Attempts(drift=RetryState((1.0,), 1, 2.0, "DriftFight", "changed 3 times"))
    assert conditions(attempts=fight) == (
        ready(Truth.TRUE, "InSync"), true("Contested", "DriftFight", "changed 3 times"), VALID)
    none = Attempts(drift=replace(fight.drift, count=0))
    assert conditions(attempts=none) == conditions()
    assert conditions(attempts=Attempts(drift=replace(fight.drift, message=""))) == conditions()


@pytest.mark.parametrize(("as_wanted", "status"), [(True, Truth.TRUE), (False, Truth.FALSE)])
def test_a_domain_that_stays_down_says_what_starts_it(as_wanted, status):
    down = Decision(reason="PoweredOff", down=True, as_wanted=as_wanted)
    assert conditions(down, state=VmState.ABSENT) == (
        ready(status, "PoweredOff", "stopped; will not be restarted until its file changes or "
                                    "`reconciler start a` is run"), VALID)


# Health


def test_a_guest_that_was_not_found_healthy_yet_is_still_starting():
    probe = ProbeResult(message="connection refused")
    message = "not healthy yet: connection refused"
    assert conditions(wanted=PROBED, probe=probe) == (
        ready(Truth.UNKNOWN, "Starting", message), true("Reconciling", "Starting", message),
        Condition("Healthy", Truth.UNKNOWN, "Starting", "connection refused"), VALID)


def test_a_healthy_guest_is_ready_and_an_unhealthy_one_is_not():
    probe = ProbeResult(HealthStatus.HEALTHY, 0, "")
    assert conditions(wanted=PROBED, probe=probe) == (
        ready(Truth.TRUE, "InSync"), true("Healthy", "Succeeded"), VALID)
    probe = ProbeResult(HealthStatus.UNHEALTHY, 3, "refused")
    ill = Decision(reason="HealthCheckFailed", message="refused", unhealthy=True)
    assert conditions(ill, wanted=PROBED, probe=probe) == (
        ready(Truth.FALSE, "HealthCheckFailed", "refused"),
        Condition("Healthy", Truth.FALSE, "HealthCheckFailed", "refused"), VALID)


@pytest.mark.parametrize(("wanted", "state", "probe", "awaits"), [
    (PROBED, VmState.RUNNING, ProbeResult(), True),
    (domain(), VmState.RUNNING, ProbeResult(), False),
    (PROBED, VmState.PAUSED, ProbeResult(), False),
    (PROBED, VmState.ABSENT, ProbeResult(), False),
    (domain(DesiredState.PAUSED, health=HEALTH), VmState.RUNNING, ProbeResult(), False),
    (PROBED, VmState.RUNNING, ProbeResult(HealthStatus.HEALTHY), False),
    (PROBED, VmState.RUNNING, ProbeResult(HealthStatus.UNHEALTHY), False)])
def test_only_a_running_guest_with_a_probe_is_waited_for(wanted, state, probe, awaits):
    found = inputs(wanted, state, probe=probe)
    assert awaits_health(found, wanted) is awaits
    shown = {c.type for c in conditions(wanted=wanted, state=state, probe=probe)}
    assert ("Reconciling" in shown) is awaits
    assert ("Healthy" in shown) is (wanted.policy.health is not None and state is VmState.RUNNING)


# Changes that wait


def test_a_change_that_waits_for_the_guest_leaves_the_domain_ready():
    assert conditions(pending=(BALLOON,)) == (
        ready(Truth.TRUE, "ChangesDeferred",
              "running; waiting for the guest to apply: current_memory: 3 → 4"), VALID)


def test_changes_that_wait_for_a_window_say_when_it_opens_and_what_applies_them_now():
    waits = replace(MEMORY, waits_for=WaitsFor.WINDOW)
    required = true("RestartRequired", "WaitingForWindow",
                    "memory: 1 → 2; window nights opens 22:00")
    assert conditions(pending=(waits,), window=NIGHTS) == (
        ready(Truth.TRUE, "ChangesDeferred", "running; 1 change waits; window nights opens 22:00; "
              "`reconciler restart a` applies it now"), required, VALID)
    found = conditions(pending=(waits, BALLOON), window=NIGHTS)
    assert found[0].message == ("running; 2 changes wait; window nights opens 22:00; "
                                "`reconciler restart a` applies them now")


def test_changes_that_wait_for_a_user_name_the_command():
    waits = replace(MEMORY, waits_for=WaitsFor.POLICY)
    assert conditions(pending=(waits,), window=NIGHTS) == (
        ready(Truth.TRUE, "ChangesDeferred", "running; 1 change waits for `reconciler restart a`"),
        true("RestartRequired", "ChangesDeferred", "memory: 1 → 2"), VALID)
    found = conditions(pending=(waits, waits))
    assert found[0].message == "running; 2 changes wait for `reconciler restart a`"
    assert found[1].message == "memory: 1 → 2, memory: 1 → 2"


def test_changes_that_wait_for_the_guest_or_for_a_new_file_require_no_restart():
    for waits_for in (WaitsFor.GUEST, WaitsFor.ROLLBACK, None):
        kinds = {c.type for c in conditions(pending=(replace(MEMORY, waits_for=waits_for),))}
        assert "RestartRequired" not in kinds
    window = replace(MEMORY, waits_for=WaitsFor.WINDOW)
    assert conditions(pending=(window,))[0].message == (
        "running; 1 change waits for `reconciler restart a`")


# Holds, removals, no definition

HOLD = Hold("repair", "me")
IS_HELD = true("Held", "HoldRequested", "held by me: repair")


def of_held(decision=NOTHING, pending=(), state=VmState.RUNNING, **values):
    return held(inputs(state=state, hold=HOLD, **values), decision, pending)


def test_a_held_domain_that_is_what_it_should_be_is_ready():
    assert of_held() == Plan((), Cause.FILE, (
        ready(Truth.TRUE, "InSync", "held by me: repair"), IS_HELD, VALID),
        blocked_on=BlockedOn.HOLD)


@pytest.mark.parametrize(("values", "drifted"), [
    ({"decision": Decision((STOP, START), cause=Cause.COMMAND)}, "stop, start"),
    ({"pending": (MEMORY,)}, "changes wait"), ({"state": VmState.UNKNOWN}, "changes wait")])
def test_a_held_domain_that_differs_says_what_would_be_done(values, drifted):
    decision = values.get("decision", Decision())
    assert of_held(**values) == Plan((), decision.cause, (
        ready(Truth.FALSE, "HoldRequested", "held by me: repair"), IS_HELD,
        true("Drifted", "Drifted", drifted), VALID), values.get("pending", ()),
        blocked=decision.steps, blocked_on=BlockedOn.HOLD)


def test_a_held_domain_shows_its_invalid_file_and_a_removal_that_is_held():
    found = of_held(invalid="wrong", removal=Removal.HELD)
    assert [c.type for c in found.conditions] == ["Ready", "Held", "Valid", "PruneHeld"]
    assert found.conditions[2].status is Truth.FALSE


def test_a_removal_that_is_held_is_the_last_condition():
    assert [c.type for c in conditions(removal=Removal.HELD)] == ["Ready", "Valid", "PruneHeld"]
    assert conditions(removal=Removal.PROVEN) == conditions()


def test_without_any_definition_what_runs_is_left_as_it_is():
    none = replace(inputs(vm=Vm(VmState.RUNNING, 42)), domain=None)
    assert nothing_in_force(none) == Plan(conditions=(
        ready(Truth.UNKNOWN, "Adopting", "no definition was accepted yet"), VALID))
    wrong = replace(none, invalid="wrong", invalid_reason="Denied")
    assert nothing_in_force(wrong) == Plan(conditions=(
        ready(Truth.FALSE, "Denied", "wrong"), true("Stalled", "Denied", "wrong"),
        Condition("Valid", Truth.FALSE, "Denied", "wrong")))
