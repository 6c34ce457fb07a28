"""The decision, where other domains, windows and the guest's health matter."""

from dataclasses import replace

import pytest

from reconciler.domain.hot_change import as_started
from reconciler.domain.policy import DesiredState, Health, Probe, PrunePolicy, UpdatePolicy
from reconciler.engine.decide.inputs import (
    Attempts,
    Cause,
    HealthStatus,
    Now,
    ProbeResult,
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

RECREATE = [Verb.CHECK, Verb.STOP, Verb.START]
SHUT = WindowState("nights", open=False, opens_at=NOW.wall + 3600, shown="Wed 22:00 CET")
OPEN = replace(SHUT, open=True)
HEALTH = Health(Probe.TCP, "a:1")
ILL = ProbeResult(HealthStatus.UNHEALTHY, 3, "nothing answers")


def verbs(decided):
    return [step.verb for step in decided.steps]


def changed(**values):
    """A VM that runs with less memory than its file says."""
    return inputs(domain(memory=256), VmState.RUNNING, running=domain(), **values)


# Other domains


@pytest.mark.parametrize(("around", "reason"), [
    (Surroundings(start_allowed=False), "WaitingForSlot"), (Surroundings(wave_ready=False),
                                                     "WaitingForSlot"),
    (Surroundings(unmet=("it depends on 'db'",)), "WaitingForDependency"),
    (Surroundings(memory_shortage="it needs 1 GiB"), "WaitingForMemory")])
def test_a_start_waits_for_others_and_says_for_what(around, reason):
    decided = plan(inputs(surroundings=around), NOW)
    assert verbs(decided) == []
    assert [step.verb for step in decided.blocked] == [Verb.START]
    assert (decided.ready.status, decided.ready.reason) == (Truth.FALSE, reason)
    assert decided.condition("Reconciling").reason == reason
    assert decided.changes_anything


@pytest.mark.parametrize("around", [
    Surroundings(start_allowed=False), Surroundings(wave_ready=False), Surroundings(unmet=("x",)),
    Surroundings(recreate_blocked_by="x"),
    Surroundings(memory_shortage="x"), Surroundings(dependents=("x",))])
def test_rule_4_nothing_waits_where_nothing_is_to_be_done(around):
    assert plan(inputs(state=VmState.RUNNING, surroundings=around), NOW) == plan(
        inputs(state=VmState.RUNNING), NOW)


def test_a_recreate_waits_for_its_turn_and_for_memory_but_not_for_what_a_start_waits_for():
    def decided(**around):
        return plan(changed(surroundings=Surroundings(**around)), NOW)

    assert decided(recreate_blocked_by="b is").ready.reason == "WaitingForSlot"
    assert decided(memory_shortage="no").ready.reason == "WaitingForMemory"
    assert verbs(decided(start_allowed=False, wave_ready=False, unmet=("db",),
                         dependents=("web",))) == RECREATE


def test_a_restart_by_hand_does_not_wait_for_its_turn():
    around = Surroundings(recreate_blocked_by="b is")
    decided = plan(changed(surroundings=around, restart_asked=True), NOW)
    assert verbs(decided) == RECREATE


def test_a_stop_waits_for_those_that_depend_on_it():
    around = Surroundings(dependents=("web", "worker"))
    for found in (inputs(domain(DesiredState.STOPPED), VmState.RUNNING, surroundings=around),
                  inputs(state=VmState.RUNNING, surroundings=around, removal=Removal.PROVEN)):
        decided = plan(found, NOW)
        assert verbs(decided) == []
        assert decided.ready.reason == "WaitingForDependency"
        assert "waiting for web, worker to stop first" in decided.ready.message
    # Nothing is to be stopped any more: it goes.
    assert verbs(plan(inputs(state=VmState.ABSENT, surroundings=around, removal=Removal.PROVEN),
                      NOW)) == [Verb.FORGET]


# Windows


def test_a_window_that_is_shut_holds_back_a_recreate_and_names_its_opening():
    decided = plan(changed(window=SHUT), NOW)
    assert verbs(decided) == []
    assert [p.blocked_by for p in decided.pending] == ["window:nights"]
    assert (decided.ready.status, decided.ready.reason) == (Truth.TRUE, "ChangesDeferred")
    held = decided.condition("RestartRequired")
    assert held.reason == "WaitingForWindow"
    assert held.message == "memory: 128 MiB → 256 MiB; window nights opens Wed 22:00 CET"
    assert decided.look_again_at == NOW.clock + 3600
    assert verbs(plan(changed(window=OPEN), NOW)) == RECREATE
    assert verbs(plan(changed(window=SHUT, restart_asked=True), NOW)) == RECREATE


def test_a_window_holds_back_nothing_that_disrupts_nobody():
    assert verbs(plan(inputs(window=SHUT), NOW)) == [Verb.START]
    assert verbs(plan(inputs(domain(DesiredState.PAUSED), VmState.RUNNING, window=SHUT),
                      NOW)) == [Verb.PAUSE]
    live = inputs(replace(domain(), current_memory=64 << 20), VmState.RUNNING, running=domain(),
                window=SHUT)
    assert verbs(plan(live, NOW)) == [Verb.UPDATE]
    alone = domain(update=UpdatePolicy.RECREATE)
    assert verbs(plan(replace(live, domain=replace(alone, title="x"), window=SHUT), NOW)) == []


def test_a_window_holds_back_the_end_of_a_vm_whose_file_is_gone():
    gone = inputs(state=VmState.RUNNING, removal=Removal.PROVEN, window=SHUT)
    decided = plan(gone, NOW)
    assert verbs(decided) == []
    assert decided.ready.reason == "WaitingForWindow"
    assert "opens Wed 22:00 CET" in decided.ready.message
    assert decided.look_again_at == NOW.clock + 3600
    assert verbs(plan(replace(gone, window=OPEN), NOW)) == [Verb.STOP, Verb.FORGET]
    keep = replace(gone, domain=domain(prune=PrunePolicy.KEEP))
    assert plan(keep, NOW).ready.reason == "Orphaned"


def test_a_window_that_never_opens_says_so():
    never = replace(SHUT, opens_at=None)
    decided = plan(changed(window=never), NOW)
    assert "window nights never opens" in decided.condition("RestartRequired").message
    assert decided.look_again_at is None


def test_pain_6_what_is_reverted_is_required_no_more():
    assert plan(changed(window=SHUT), NOW).condition("RestartRequired")
    back = replace(changed(window=SHUT), domain=domain())
    assert plan(back, NOW).condition("RestartRequired") is None
    assert plan(back, NOW).pending == ()


def test_pain_6_every_field_is_listed_on_each_pass_and_none_that_was_reverted():
    before = domain()
    old = replace(before, boot=replace(before.boot, kernel="/k"))
    manual = replace(before.policy, update=UpdatePolicy.MANUAL)

    def pending(**values):
        wanted = replace(old, policy=manual, **values)
        decided = plan(inputs(wanted, VmState.RUNNING, running=old), NOW)
        required = decided.condition("RestartRequired")
        paths = [p.change.path for p in decided.pending]
        assert all(path in required.message for path in paths) if paths else required is None
        return paths

    kernel = {"boot": replace(old.boot, kernel="/other")}
    assert pending(memory=256 << 20, vcpus=4, **kernel) == ["memory", "vcpu", "os/kernel"]
    assert pending(vcpus=4, **kernel) == ["vcpu", "os/kernel"]
    assert pending(**kernel) == ["os/kernel"]
    assert pending() == []


# Health


@pytest.mark.parametrize(("pulse", "status", "reason"), [
    (ProbeResult(), Truth.UNKNOWN, "Starting"), (ProbeResult(HealthStatus.HEALTHY), Truth.TRUE,
                                                 "InSync"),
    (ILL, Truth.FALSE, "HealthCheckFailed")])
def test_pain_10_ready_needs_health_where_it_is_asked(pulse, status, reason):
    decided = plan(inputs(domain(health=HEALTH), VmState.RUNNING, probe=pulse), NOW)
    assert (decided.ready.status, decided.ready.reason) == (status, reason)
    assert decided.condition("Healthy").status is {
        Truth.UNKNOWN: Truth.UNKNOWN, Truth.TRUE: Truth.TRUE, Truth.FALSE: Truth.FALSE}[status]
    assert decided.steps == ()


def test_without_a_probe_or_a_guest_to_ask_nothing_is_said_of_health():
    for found in (inputs(state=VmState.RUNNING, probe=ILL),
                  inputs(domain(DesiredState.PAUSED, health=HEALTH), VmState.PAUSED,
                       probe=ProbeResult()),
                  inputs(domain(DesiredState.STOPPED, health=HEALTH), probe=ProbeResult())):
        decided = plan(found, NOW)
        assert decided.condition("Healthy") is None
        assert decided.ready.status is Truth.TRUE


def test_an_unhealthy_guest_is_started_anew_where_its_file_says_so_with_patience():
    ill = inputs(domain(health=replace(HEALTH, restart=True)), VmState.RUNNING, probe=ILL)
    decided = plan(ill, NOW)
    assert (verbs(decided), decided.cause) == ([Verb.STOP, Verb.START], Cause.EXIT)
    patience = RetryState((NOW.clock,) * 6, 6, NOW.clock + 60, "HealthCheckFailed", "not healthy")
    decided = plan(replace(ill, attempts=Attempts(crashes=patience)), NOW)
    assert verbs(decided) == []
    assert decided.ready.reason == "CrashLoop"
    assert verbs(plan(replace(ill, attempts=Attempts(crashes=patience)),
                      Now(NOW.clock + 61, NOW.wall))) == [Verb.STOP, Verb.START]


def refused(new, old, attempts, **values):
    """The new definition still runs, and was gone back on."""
    return inputs(new, running=new, last_known_good=old, attempts=attempts, probe=ILL,
                vm=Vm(VmState.RUNNING, 42, generation=1), **values)


def test_rule_7_a_new_definition_that_is_not_healthy_goes_back():
    attempts = Attempts(rolled_back_generation=1, rolled_back_because="it is not healthy")
    new, old = domain(memory=256, health=HEALTH), domain(health=HEALTH)
    decided = plan(refused(new, old, attempts), NOW)
    assert (verbs(decided), decided.cause) == ([Verb.STOP, Verb.START], Cause.ROLLBACK)
    assert decided.steps[1].rollback
    # Once the old one runs again nothing more is done, and it says why.
    decided = plan(inputs(new, VmState.RUNNING, running=old, last_known_good=old, attempts=attempts,
                        probe=ProbeResult(HealthStatus.HEALTHY)), NOW)
    assert verbs(decided) == []
    assert decided.condition("Stalled").reason == "RolledBack"
    assert decided.condition("Healthy").status is Truth.TRUE
    # And a fix is taken at once.
    fix = inputs(domain(memory=192, health=HEALTH), VmState.RUNNING, running=old,
                 last_known_good=old, generation=2, attempts=attempts)
    assert verbs(plan(fix, NOW)) == RECREATE


def test_rule_7_what_could_have_been_told_live_goes_back_too_and_only_once():
    attempts = Attempts(rolled_back_generation=1, rolled_back_because="it is not healthy")
    old = replace(domain(health=HEALTH), vcpus=4, current_vcpus=2, current_memory=64 << 20)
    new = replace(old, current_vcpus=3)
    decided = plan(refused(new, as_started(old), attempts), NOW)
    assert (decided.cause, decided.steps[-1]) == (Cause.ROLLBACK, Step(Verb.START, rollback=True))
    back = replace(refused(new, old, attempts), running=as_started(old), probe=ProbeResult(),
                   vm=Vm(VmState.RUNNING, 42, generation=0))
    assert verbs(plan(back, NOW)) == []


def test_rule_7_what_was_gone_back_on_is_not_started_for_the_health_of_the_old_one():
    attempts = Attempts(rolled_back_generation=1, rolled_back_because="it is not healthy")
    old = domain(health=replace(HEALTH, restart=True))
    new = domain(memory=256, health=replace(HEALTH, target="a:2", restart=True))
    ill = replace(refused(new, old, attempts), running=old, vm=Vm(VmState.RUNNING, 42))
    assert plan(ill, NOW).steps == (Step(Verb.STOP), Step(Verb.START, rollback=True))
    # And it is the old one's probe that counts: it had none, or another one.
    without = plan(replace(ill, last_known_good=domain()), NOW)
    assert (without.steps, without.condition("Healthy")) == ((), None)
    assert without.condition("Stalled").reason == "RolledBack"
