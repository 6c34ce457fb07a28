"""Which changes wait, of which class, and what the plan makes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.devices import Disk, Interface, RootPort, ScsiDisk
from reconciler.domain.devices.interface import Vlan
from reconciler.domain.model import Impact
from reconciler.domain.place import Place
from reconciler.domain.policy import DesiredState, UpdatePolicy
from reconciler.engine.decide.inputs import Attempts, DeferredChange, Truth, Verb, Vm, VmState
from reconciler.engine.decide.plan import plan
from tests.values import NOW, domain, inputs

PORTS = tuple(RootPort(alias=f"pcie.{n}", index=n, place=Place(0, 1, n - 1)) for n in (1, 2))
DISK = Disk(alias="virtio-disk1", target="vdb", path="/images/b.img")


def with_disk(update=UpdatePolicy.AUTO, **policy):
    wanted = domain(**policy, update=update)
    return replace(wanted, devices=(DISK,))


def decided(wanted, *, running=None, state=VmState.RUNNING, vm=None, **values):
    got = replace(domain(), devices=PORTS) if running is None else running
    return plan(inputs(wanted, state, running=got, generation=2,
                     **({"vm": vm} if vm else {}), **values), NOW)


def verbs(plan_):
    return [step.verb for step in plan_.steps]


def test_what_the_vm_can_be_told_it_is_told():
    found = decided(with_disk())
    assert verbs(found) == [Verb.UPDATE]
    assert [p.change.impact for p in found.pending] == [Impact.LIVE]
    assert found.ready.reason == "Updating"


def test_without_a_free_root_port_it_takes_a_new_process():
    found = decided(with_disk(), running=domain())
    assert verbs(found) == [Verb.CHECK, Verb.STOP, Verb.START]
    assert [p.change.impact for p in found.pending] == [Impact.RECREATE]


def test_one_change_that_takes_a_new_process_takes_all_the_others_along():
    assert verbs(decided(replace(with_disk(), memory=256 << 20))) == [
        Verb.CHECK, Verb.STOP, Verb.START]


@pytest.mark.parametrize(("policy", "memory", "expected", "blocked"), [
    (UpdatePolicy.LIVE, 128, [Verb.UPDATE], []),
    (UpdatePolicy.LIVE, 256, [Verb.UPDATE], ["memory"]),
    (UpdatePolicy.MANUAL, 128, [], ["disk[vdb]"]),
    (UpdatePolicy.RECREATE, 128, [Verb.CHECK, Verb.STOP, Verb.START], [])])
def test_the_update_policy_decides_what_waits(policy, memory, expected, blocked):
    found = decided(replace(with_disk(policy), memory=memory << 20))
    assert verbs(found) == expected
    assert [p.change.path for p in found.pending if p.blocked_by] == blocked


def test_a_live_change_that_failed_takes_a_new_process():
    assert verbs(decided(with_disk(), attempts=Attempts(needs_restart_generation=2))) == [
        Verb.CHECK, Verb.STOP, Verb.START]
    waiting = decided(with_disk(UpdatePolicy.LIVE), attempts=Attempts(needs_restart_generation=2))
    assert verbs(waiting) == []
    assert waiting.condition("RestartRequired") is not None
    older = Attempts(needs_restart_generation=1)
    assert verbs(decided(with_disk(), attempts=older)) == [Verb.UPDATE]


def test_rule_9_a_change_whose_end_nobody_saw_takes_a_new_process():
    found = decided(domain(), vm=Vm(VmState.RUNNING, 42, uncertain=True))
    assert verbs(found) == [Verb.CHECK, Verb.STOP, Verb.START]


def test_a_guest_that_cannot_yet_is_asked_later_and_is_ready_meanwhile():
    wanted = replace(domain(), current_memory=64 << 20)
    waits = (DeferredChange("currentMemory", "no driver", NOW.clock + 5),)
    found = decided(wanted, deferred_changes=waits)
    assert found.steps == ()
    assert found.pending[0].blocked_by == "guest: no driver"
    assert found.ready.status is Truth.TRUE
    assert found.look_again_at == NOW.clock + 5
    assert not found.changes_anything
    over = (replace(waits[0], retry_at=NOW.clock - 1),)
    assert verbs(decided(wanted, deferred_changes=over)) == [Verb.UPDATE]


def test_a_paused_guest_cannot_let_go_but_can_be_given():
    paused = {"state": VmState.PAUSED}
    assert verbs(decided(with_disk(state=DesiredState.PAUSED), **paused)) == [Verb.UPDATE]
    got = replace(domain(), devices=(*PORTS, replace(DISK, place=Place(1, 0))))
    found = decided(domain(DesiredState.PAUSED), running=got, **paused)
    assert found.steps == ()
    assert found.pending[0].blocked_by == "guest: it is paused"


def test_it_is_resumed_before_it_is_changed():
    assert verbs(decided(with_disk(), state=VmState.PAUSED)) == [Verb.RESUME]


def test_a_port_that_becomes_free_is_free_for_what_comes():
    got = replace(domain(), devices=(PORTS[0], replace(DISK, place=Place(1, 0))))
    other = replace(domain(), devices=(replace(DISK, target="vdc", alias="virtio-disk2"),))
    assert [p.change.path for p in decided(other, running=got).pending] == [
        "disk[vdb]", "disk[vdc]"]
    assert verbs(decided(other, running=got)) == [Verb.UPDATE]


def test_processors_of_the_start_take_a_new_process():
    wanted = replace(domain(), vcpus=4, current_vcpus=2)
    got = replace(domain(), vcpus=4, current_vcpus=3)
    assert verbs(decided(wanted, running=got, vm=Vm(VmState.RUNNING, 42, least_vcpus=2))) == [
        Verb.UPDATE]
    assert verbs(decided(wanted, running=got, vm=Vm(VmState.RUNNING, 42, least_vcpus=3))) == [
        Verb.CHECK, Verb.STOP, Verb.START]


def test_what_costs_nothing_is_told_until_it_is_in_force():
    wanted = replace(domain(), title="new", policy=replace(domain().policy, stop_timeout=5.0))
    found = decided(wanted)
    assert {c.path for c in found.no_effect} == {"title", "reconcile/stop/@timeout"}
    assert found.steps == ()
    assert not found.changes_anything
    assert decided(wanted, attempts=Attempts(observed_generation=2)).no_effect == ()


def test_a_vm_that_was_adopted_by_hand_has_ports_of_names_that_nobody_knows():
    found = decided(with_disk(), vm=Vm(VmState.RUNNING, 42, foreign=True))
    assert verbs(found) == [Verb.CHECK, Verb.STOP, Verb.START]


HALF = 64 << 20


@pytest.mark.parametrize("policy", list(UpdatePolicy))
def test_rule_4_what_no_start_has_is_never_a_reason_for_another_start(policy):
    """All of the memory is there at first: a recreate would come back to the same."""
    wanted = replace(domain(update=policy), current_memory=HALF)
    fresh = Vm(VmState.RUNNING, 42, generation=2)
    assert verbs(decided(wanted, vm=fresh)) == [Verb.UPDATE]
    refused = decided(wanted, vm=fresh, deferred_changes=(
        DeferredChange("currentMemory", "it was refused", NOW.clock + 5),))
    assert refused.steps == ()
    assert refused.pending[0].waits_for_guest
    assert refused.look_again_at == NOW.clock + 5  # it is asked again, and again
    failed = Attempts(needs_restart_generation=2)
    assert verbs(decided(wanted, vm=fresh, attempts=failed)) == [Verb.UPDATE]


def test_with_the_policy_manual_it_waits_for_the_restart_that_brings_it():
    wanted = replace(domain(update=UpdatePolicy.MANUAL), current_memory=HALF)
    older = decided(wanted, vm=Vm(VmState.RUNNING, 42, generation=1))
    assert older.steps == ()
    assert older.condition("RestartRequired") is not None


def test_a_port_whose_device_cannot_go_yet_is_not_free():
    got = replace(domain(), devices=(PORTS[0], replace(DISK, place=Place(1, 0))))
    other = replace(domain(DesiredState.PAUSED), devices=(
        replace(DISK, target="vdc", alias="virtio-disk2", place=Place(1, 0)),))
    found = decided(other, running=got, state=VmState.PAUSED)
    assert [str(p.change.impact) for p in found.pending if p.change.new != "none"] == ["recreate"]


def test_a_disk_on_another_bus_is_another_device():
    scsi = ScsiDisk(alias="scsi0-0-0-1", target="vdb", path="/images/b.img", controller=0,
                    scsi_target=0, unit=1, bus="scsi0")
    got = replace(domain(), devices=(*PORTS, replace(DISK, place=Place(1, 0))))
    for one, other in ((got, replace(domain(), devices=(scsi,))),
                       (replace(domain(), devices=(*PORTS, scsi)), with_disk())):
        found = decided(other, running=one)
        assert verbs(found) == [Verb.CHECK, Verb.STOP, Verb.START]


def test_an_isolation_that_is_taken_away_takes_a_new_process():
    card = Interface(alias="net0", mac="52:54:00:00:00:01", tap="t", bridge="br0",
                     vlans=(Vlan(42, untagged=True),))
    got = replace(domain(), devices=(*PORTS, replace(card, place=Place(1, 0))))
    found = decided(replace(domain(), devices=(replace(card, vlans=()),)), running=got)
    assert verbs(found) == [Verb.CHECK, Verb.STOP, Verb.START]
    other = replace(card, vlans=(Vlan(43, untagged=True),))
    assert verbs(decided(replace(domain(), devices=(other,)), running=got)) == [Verb.UPDATE]


def test_a_refused_change_makes_nobody_look_all_the_time():
    waits = (DeferredChange("currentMemory", "no driver", NOW.clock - 5),)
    wanted = replace(domain(), current_memory=HALF)
    found = decided(wanted, deferred_changes=waits, attempts=Attempts(needs_restart_generation=2))
    assert found.look_again_at is None
