"""Which changes a running VM lacks, what each waits for, and when it is looked at again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.devices import Interface, RootPort
from reconciler.domain.model import Impact
from reconciler.domain.place import Place
from reconciler.domain.policy import DesiredState, Health, Probe, UpdatePolicy
from reconciler.engine.decide.changes import (
    UNCERTAIN,
    needs_new_process,
    pending_changes,
    without_effect,
)
from reconciler.engine.decide.inputs import (
    Attempts,
    BlockedOn,
    Condition,
    DeferredChange,
    HealthStatus,
    Pending,
    Plan,
    ProbeResult,
    Truth,
    Vm,
    VmState,
    WaitsFor,
    WindowState,
)
from reconciler.engine.decide.plan import plan
from tests.values import NOW, domain, inputs

SHUT = WindowState("nights", open=False, opens_at=NOW.wall + 60, shown="22:00")
CARD = Interface(alias="net0", tap="tap-a", mac="52:54:00:00:00:01")
PORT = RootPort(alias="pcie.1", index=1, place=Place(0, 1))
AUTO, LIVE, RECREATE, MANUAL = UpdatePolicy


def pending(wanted, running=None, state=VmState.RUNNING, **values):
    running = domain() if running is None else running
    found = inputs(wanted, state, **{"running": running, **values})
    return [(p.change.path.partition("[")[0], str(p.change.impact), p.blocked_by, p.waits_for,
             p.late) for p in pending_changes(found, wanted, NOW)]


def by(policy, memory=128, **values):
    """A file with an update policy, and perhaps with a smaller balloon."""
    return replace(domain(memory=memory, update=policy), **values)


SMALL = {"current_memory": 64 << 20}


def test_nothing_is_lacking_where_nothing_runs_or_it_is_not_known_what():
    assert pending(domain(memory=256), state=VmState.ABSENT) == []
    found = inputs(domain(memory=256), VmState.RUNNING, running=None)
    assert pending_changes(replace(found, running=None), found.domain, NOW) == ()
    assert pending(domain()) == []
    assert pending(replace(domain(), title="x")) == []


@pytest.mark.parametrize(("policy", "blocked", "waits"), [
    (AUTO, "", None), (RECREATE, "", None), (LIVE, "update-policy:live", WaitsFor.POLICY),
    (MANUAL, "update-policy:manual", WaitsFor.POLICY)])
def test_a_change_that_needs_a_new_process_waits_as_the_policy_says(policy, blocked, waits):
    assert pending(by(policy, 256)) == [("memory", "recreate", blocked, waits, False)]


@pytest.mark.parametrize(("policy", "blocked", "waits"), [
    (AUTO, "", None), (LIVE, "", None), (RECREATE, "", None),
    (MANUAL, "update-policy:manual", WaitsFor.POLICY)])
def test_a_live_change_waits_as_the_policy_says(policy, blocked, waits):
    running = replace(domain(), devices=(PORT, CARD))
    wanted = replace(by(policy), devices=(CARD, replace(CARD, mac="52:54:00:00:00:02")))
    port = replace(PORT, index=2, alias="pcie.2")
    assert pending(wanted, replace(running, devices=(PORT, port, replace(CARD, place=Place(1, 0))))
                   ) == [("interface", "live", blocked, waits, False)]


@pytest.mark.parametrize(("policy", "impact", "waits"), [
    (AUTO, Impact.RECREATE, WaitsFor.WINDOW), (RECREATE, Impact.RECREATE, WaitsFor.WINDOW),
    (LIVE, Impact.RECREATE, WaitsFor.POLICY)])
def test_a_disruptive_change_waits_for_its_window(policy, impact, waits):
    found = pending(by(policy, 256), window=SHUT)
    assert found[0][3] is waits
    assert pending(by(policy, 256), window=replace(SHUT, open=True))[0][3] in (
        None, WaitsFor.POLICY)


def test_a_live_change_waits_for_a_window_only_where_it_recreates():
    card = replace(CARD, place=Place(1, 0))
    running = replace(domain(), devices=(PORT, card))
    for policy, waits in ((AUTO, None), (LIVE, None), (RECREATE, WaitsFor.WINDOW)):
        found = pending(replace(by(policy), devices=(replace(CARD, bridge="br0"),)), running,
                        window=SHUT)
        assert [(p[1], p[3]) for p in found] == [("host", waits)]
    found = pending(by(AUTO, 256), window=SHUT)
    assert found == [("memory", "recreate", "window:nights", WaitsFor.WINDOW, False)]


@pytest.mark.parametrize(("values", "waits"), [({}, None), ({"vm": Vm(
    VmState.RUNNING, 42, generation=1)}, None)])
@pytest.mark.parametrize("policy", [AUTO, LIVE, RECREATE])
def test_a_change_that_each_start_lacks_is_late_and_waits_for_no_window(policy, values, waits):
    found = pending(by(policy, **SMALL), window=SHUT, **values)
    assert found == [("currentMemory", "live", "", waits, True)]


def test_under_policy_manual_a_late_change_is_made_only_for_a_vm_of_this_generation():
    """A user restarted the VM with this definition: what each start lacks comes with it."""
    old = pending(by(MANUAL, **SMALL), generation=2, vm=Vm(VmState.RUNNING, 42, generation=1))
    assert old == [("currentMemory", "live", "update-policy:manual", WaitsFor.POLICY, True)]
    new = pending(by(MANUAL, **SMALL), generation=2, vm=Vm(VmState.RUNNING, 42, generation=2))
    assert new == [("currentMemory", "live", "", None, True)]
    auto = pending(by(AUTO, **SMALL), generation=2, vm=Vm(VmState.RUNNING, 42, generation=1))
    assert auto == [("currentMemory", "live", "", None, True)]


def test_a_definition_that_was_rolled_back_waits_for_another_file():
    rolled = Attempts(rolled_back_generation=1)
    assert pending(replace(by(AUTO, 256), **SMALL), attempts=rolled) == [
        ("memory", "recreate", "rolled-back", WaitsFor.ROLLBACK, False),
        ("currentMemory", "live", "rolled-back", WaitsFor.ROLLBACK, True)]


# The guest

LATER = DeferredChange("currentMemory", "no driver", NOW.clock + 1)


def test_a_change_that_the_guest_did_not_make_waits_until_it_is_asked_again():
    assert pending(by(AUTO, **SMALL), deferred_changes=(LATER,)) == [
        ("currentMemory", "live", "guest: no driver", WaitsFor.GUEST, True)]
    for other in (replace(LATER, retry_at=NOW.clock), replace(LATER, path="vcpu/@current")):
        assert pending(by(AUTO, **SMALL), deferred_changes=(other,))[0][3] is None
    assert pending(by(AUTO, 256), deferred_changes=(replace(LATER, path="memory"),))[0][3] is None


@pytest.mark.parametrize(("policy", "waits"), [
    (AUTO, WaitsFor.GUEST), (LIVE, WaitsFor.GUEST), (RECREATE, None), (MANUAL, WaitsFor.POLICY)])
def test_only_policies_that_update_live_ask_the_guest_for_a_device(policy, waits):
    running = replace(domain(), devices=(PORT, replace(CARD, place=Place(1, 0))))
    deferred = DeferredChange(f"interface[{CARD.mac}]", "it is in use", NOW.clock + 1)
    found = pending(by(policy), running, deferred_changes=(deferred,))
    assert [p[3] for p in found if p[0] == "interface"] == [waits]


@pytest.mark.parametrize("policy", [RECREATE, MANUAL])
def test_the_balloon_is_the_guest_s_whatever_the_policy(policy):
    assert pending(by(policy, **SMALL), deferred_changes=(LATER,))[0][3] is WaitsFor.GUEST


def test_a_paused_guest_takes_part_in_nothing_that_needs_it():
    paused = replace(domain(DesiredState.PAUSED), **SMALL)
    assert pending(paused, state=VmState.PAUSED) == [
        ("currentMemory", "live", "guest: it is paused", WaitsFor.GUEST, True)]
    running = replace(domain(), devices=(PORT, replace(CARD, place=Place(1, 0))))
    found = pending(domain(DesiredState.PAUSED), running, VmState.PAUSED)
    assert [p[3] for p in found if p[0] == "interface"] == [WaitsFor.GUEST]
    added = replace(domain(DesiredState.PAUSED), devices=(CARD,))
    found = pending(added, replace(domain(), devices=(PORT,)), VmState.PAUSED)
    assert [p[3] for p in found if p[0] == "interface"] == [None]


def test_what_waits_for_the_guest_keeps_its_own_class_and_takes_no_port():
    card = replace(CARD, place=Place(1, 0))
    running = replace(domain(), devices=(PORT, card))
    wanted = replace(domain(), devices=(replace(CARD, mac="52:54:00:00:00:02"),))
    deferred = DeferredChange(f"interface[{CARD.mac}]", "it is in use", NOW.clock + 1)
    found = pending(wanted, running, deferred_changes=(deferred,))
    # The old card keeps its port while it is in use: the new one finds none.
    assert [(p[1], p[3]) for p in found if p[0] == "interface"] == [
        ("live", WaitsFor.GUEST), ("recreate", None)]
    rolled = pending(wanted, running, attempts=Attempts(rolled_back_generation=1))
    assert [p[1] for p in rolled if p[0] == "interface"] == ["live", "recreate"]


# What this VM cannot be given


def test_a_live_change_that_failed_needs_a_new_process_until_there_is_another_definition():
    running = replace(domain(), devices=(PORT,))
    wanted = replace(domain(), devices=(CARD,))
    failed = Attempts(needs_restart_generation=1)
    assert pending(wanted, running)[0][1] == "live"
    assert pending(wanted, running, attempts=failed)[0][1] == "recreate"
    assert pending(wanted, running, attempts=failed, generation=2)[0][1] == "live"
    bridge = replace(domain(), devices=(replace(CARD, bridge="br0"),))
    had = replace(domain(), devices=(PORT, replace(CARD, place=Place(1, 0))))
    assert pending(bridge, had, attempts=failed)[0][1] == "host"


def test_a_process_whose_ports_are_not_known_gets_no_device():
    running = replace(domain(), devices=(PORT,))
    foreign = Vm(VmState.RUNNING, 42, foreign=True)
    assert pending(replace(domain(), devices=(CARD,)), running, vm=foreign)[0][1] == "recreate"


def test_a_change_with_an_unknown_outcome_needs_a_new_process():
    unsure = Vm(VmState.RUNNING, 42, uncertain=True)
    found = inputs(vm=unsure, running=domain())
    assert pending_changes(found, found.domain, NOW) == (Pending(UNCERTAIN),)


def test_processors_that_were_there_at_the_start_stay():
    running = replace(domain(), vcpus=4, current_vcpus=3)
    wanted = replace(running, current_vcpus=1)
    for least, impact in ((1, "live"), (2, "recreate")):
        vm = Vm(VmState.RUNNING, 42, least_vcpus=least)
        assert pending(wanted, running, vm=vm)[0][1] == impact


# A new process

BIG = Pending(replace(UNCERTAIN, impact=Impact.RECREATE))
LITTLE = Pending(replace(UNCERTAIN, impact=Impact.LIVE))


@pytest.mark.parametrize(("changes", "policy", "needs"), [
    ([], RECREATE, False), ([BIG], AUTO, True), ([LITTLE], AUTO, False),
    ([LITTLE, BIG], LIVE, True), ([LITTLE], RECREATE, True), ([replace(LITTLE, late=True)],
                                                              RECREATE, False),
    ([replace(BIG, late=True)], AUTO, True)])
def test_whether_changes_take_a_new_process(changes, policy, needs):
    assert needs_new_process(changes, policy) is needs


# Without effect


def quiet(wanted, running=None, **values):
    found = inputs(wanted, VmState.RUNNING, **{"running": running or domain(), **values})
    return [change.path for change in without_effect(found, wanted)]


def test_what_a_new_file_changes_without_effect_is_named_until_it_has_settled():
    wanted = replace(domain(DesiredState.PAUSED, 256, stop_timeout=9.0), title="x")
    assert quiet(wanted) == ["title", "reconcile/stop/@timeout"]
    assert quiet(wanted, attempts=Attempts(observed_generation=1)) == []
    assert quiet(wanted, replace(domain(), devices=(PORT,))) == ["title", "reconcile/stop/@timeout"]
    had, renamed = (replace(domain(), devices=(replace(CARD, alias=name),)) for name in "xy")
    assert quiet(renamed, had) == [f"interface[{CARD.mac}]/alias/@name"]
    nothing = replace(inputs(wanted), running=None)
    assert without_effect(nothing, wanted) == ()
    assert [c.path for c in plan(inputs(wanted, VmState.RUNNING, running=domain()), NOW).no_effect
            ] == ["title", "reconcile/stop/@timeout"]


# When it is looked at again


def again(wanted, **values):
    return plan(inputs(wanted, VmState.RUNNING, running=domain(), **values), NOW).look_again_at


def test_a_deferred_change_is_asked_for_again_at_its_time():
    other = DeferredChange("vcpu/@current", "x", NOW.clock + 0.5)
    over = DeferredChange("currentMemory", "x", NOW.clock)
    assert again(by(AUTO, **SMALL), deferred_changes=(LATER, other)) == NOW.clock + 1
    assert again(by(AUTO, **SMALL), deferred_changes=(LATER, over)) == NOW.clock + 1
    assert again(domain(), deferred_changes=(LATER,)) is None


def test_a_window_is_looked_at_when_it_opens_and_the_first_of_all_times_counts():
    both = replace(by(AUTO, 256), **SMALL)
    assert again(by(AUTO, 256), window=SHUT) == NOW.clock + 60
    assert again(both, window=SHUT, deferred_changes=(LATER,)) == NOW.clock + 1
    soon = replace(SHUT, opens_at=NOW.wall + 0.5)
    assert again(both, window=soon, deferred_changes=(LATER,)) == NOW.clock + 0.5
    assert again(by(AUTO, 256), window=replace(SHUT, opens_at=None)) is None
    assert again(domain(), window=SHUT) is None
    never = replace(SHUT, opens_at=None)
    assert again(both, window=never, deferred_changes=(LATER,)) == NOW.clock + 1


# The whole plan


def test_a_plan_without_any_definition_does_nothing():
    found = plan(replace(inputs(vm=Vm(VmState.RUNNING, 42)), domain=None), NOW)
    assert (found.steps, found.ready.reason, found.no_effect) == ((), "Adopting", ())


HEALTH = Health(Probe.TCP, "a:1")


@pytest.mark.parametrize(("found", "coming_up"), [
    (inputs(state=VmState.STARTING), True), (inputs(state=VmState.STOPPING), False),
    (inputs(domain(health=HEALTH), VmState.RUNNING), True), (inputs(state=VmState.RUNNING), False),
    (inputs(domain(health=HEALTH), VmState.RUNNING, probe=ProbeResult(HealthStatus.HEALTHY)),
     False),
    (inputs(domain(DesiredState.STOPPED), VmState.STARTING), False)])
def test_a_vm_comes_up_until_it_runs_and_is_healthy(found, coming_up):
    assert plan(found, NOW).coming_up is coming_up


def test_a_vm_that_comes_up_does_so_while_something_is_in_its_way():
    waits = Attempts(failures=replace(Attempts().failures, count=1, retry_at=NOW.clock + 1))
    found = plan(inputs(domain(memory=256, health=HEALTH), VmState.RUNNING, running=domain(
        health=HEALTH), attempts=waits), NOW)
    assert (found.blocked_on, found.coming_up) == (BlockedOn.BACKOFF, True)


def test_an_unhealthy_guest_is_part_of_the_plan():
    ill = ProbeResult(HealthStatus.UNHEALTHY, 3, "x")
    assert plan(inputs(domain(health=HEALTH), VmState.RUNNING, probe=ill), NOW).unhealthy
    assert not plan(inputs(state=VmState.RUNNING), NOW).unhealthy


@pytest.mark.parametrize(("plan_", "on_its_way", "changes"), [
    (Plan(), False, False), (Plan(coming_up=True), True, False),
    (Plan(blocked_on=BlockedOn.WAVE), True, False),
    (Plan(blocked_on=BlockedOn.DEPENDENCY), False, False),
    (Plan((UNCERTAIN,)), True, True), (Plan(blocked=(UNCERTAIN,)), False, True),
    (Plan(pending=(BIG,)), False, True),
    (Plan(pending=(replace(BIG, waits_for=WaitsFor.GUEST),)), False, False)])
def test_what_a_plan_says_of_itself(plan_, on_its_way, changes):
    assert plan_.on_its_way is on_its_way
    assert plan_.changes_anything is changes
    assert not plan_.made
    assert not plan_.is_ready
    assert replace(plan_, conditions=(Condition("Ready", Truth.TRUE, "x"),)).is_ready
