"""A domain gets the name of one whose file is gone and whose VM still runs: both are kept."""

from __future__ import annotations

from dataclasses import replace

from reconciler.engine.control.coordinator import Coordinator
from reconciler.engine.decide.constraints import Limits
from reconciler.engine.decide.inputs import BlockedOn, Condition, Plan, Removal, Truth, Vm, VmState
from reconciler.engine.decide.state import DomainRecord, DomainState
from tests.values import domain

WAITS = Plan(conditions=(Condition("Ready", Truth.FALSE, "Waits"),), blocked_on=BlockedOn.NAME)
LIMIT = 1 << 30


def state(uuid: str, name: str, vm: VmState, **values) -> DomainState:
    return DomainState(DomainRecord(uuid, name), domain=replace(domain(), name=name, uuid=uuid),
                       vm=Vm(vm, None if vm is VmState.ABSENT else 7), plan=WAITS, **values)


def make(woken: list[str]) -> Coordinator:
    return Coordinator(Limits(1, LIMIT), woken.append, lambda uuid: None, lambda uuid: True)


LEAVING = state("2", "b", VmState.RUNNING, home="b", removal=Removal.PROVEN)
RENAMED = state("1", "b", VmState.ABSENT, home="a")


def test_two_of_one_name_that_wait_do_not_wake_each_other_for_ever():
    woken: list[str] = []
    coordinator = make(woken)
    coordinator.update(LEAVING)
    coordinator.update(RENAMED)
    woken.clear()
    for _ in range(3):  # as passes do that change nothing
        coordinator.update(LEAVING)
        coordinator.update(RENAMED)
    assert woken == []


def test_its_vm_keeps_the_name_and_its_memory_counts():
    coordinator = make([])
    coordinator.update(LEAVING)
    coordinator.update(RENAMED)
    found = coordinator.surroundings(RENAMED)
    assert found.name_taken_by == "b (2)"
    assert coordinator.memory == LEAVING.domain.memory


def test_the_name_is_of_the_one_that_has_a_file_and_of_it_alone_in_the_end():
    woken: list[str] = []
    coordinator = make(woken)
    dependent = state("3", "c", VmState.ABSENT, home="c")
    for one in (LEAVING, RENAMED, dependent):
        coordinator.update(one)
    woken.clear()
    coordinator.remove("2")
    assert set(woken) == {"1", "3"}
    assert coordinator.surroundings(RENAMED).name_taken_by == ""
    assert coordinator.memory == 0


def test_after_an_exchange_of_names_each_has_its_own():
    coordinator = make([])
    one, two = state("1", "a", VmState.RUNNING, home="a"), state("2", "b", VmState.RUNNING,
                                                                 home="b")
    for known in (one, two):
        coordinator.update(known)
    one, two = (replace(one, record=replace(one.record, name="b")),
                replace(two, record=replace(two.record, name="a")))
    for known in (one, two):
        coordinator.update(known)
    assert coordinator.memory == 2 * one.domain.memory
    assert (coordinator.surroundings(one).name_taken_by,
            coordinator.surroundings(two).name_taken_by) == ("", "")
    coordinator.remove("1")
    assert coordinator.memory == one.domain.memory
