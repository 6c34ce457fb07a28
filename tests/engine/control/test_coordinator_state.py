"""Who is woken when a domain changes, and what others see of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.policy import Dependency
from reconciler.engine.control.coordinator import Coordinator
from reconciler.engine.decide.constraints import Limits
from reconciler.engine.decide.inputs import BlockedOn, Condition, Plan, Removal, Truth
from tests.engine.decide.states import READY, RUNS, known, running
from tests.values import domain


class Watched:
    """A coordinator, and whom it woke or touched."""

    def __init__(self):
        self.woken, self.touched, self.allowed = [], [], {"1", "2", "3"}
        self.coordinator = Coordinator(Limits(1, 1 << 30), self.woken.append, self.touched.append,
                                       lambda uuid: uuid in self.allowed)

    def update(self, *states):
        for state in states:
            self.coordinator.update(state)

    def events(self):
        found = self.woken[:], self.touched[:]
        self.woken.clear()
        self.touched.clear()
        return found


@pytest.fixture
def watched():
    return Watched()


def one(uuid="1", name="a", *, on=(), **values):
    wanted = replace(domain(depends_on=tuple(Dependency(other) for other in on)), name=name,
                     uuid=uuid)
    return known(wanted, **values)


def waits(on):
    return Plan(conditions=(Condition("Ready", Truth.FALSE, "x"),), blocked_on=on)


def up(uuid="1", name="a", **values):
    return one(uuid, name, vm=RUNS, running=running(), plan=READY, **values)


@pytest.mark.parametrize(("on", "woken"), [
    (BlockedOn.DEPENDENCY, True), (BlockedOn.MEMORY, True), (BlockedOn.NAME, True),
    (BlockedOn.WAVE, True), (BlockedOn.BACKOFF, False), (BlockedOn.HOLD, False), (None, False)])
def test_only_domains_that_wait_for_others_are_woken_by_their_changes(watched, on, woken):
    watched.update(one("2", "b", plan=waits(on)))
    watched.events()
    watched.update(up())
    assert watched.events() == (["2"] if woken else [], [])
    watched.update(up())  # the same again
    assert watched.events() == ([], [])


def test_a_domain_that_waits_no_more_is_woken_no_more(watched):
    watched.update(one("2", "b", plan=waits(BlockedOn.WAVE)), up("2", "b"))
    watched.events()
    watched.update(up())
    assert watched.events() == ([], [])


def test_a_domain_does_not_wake_itself(watched):
    watched.update(one("1", plan=waits(BlockedOn.WAVE)))
    watched.update(one("1", plan=waits(BlockedOn.MEMORY)), one("1", plan=waits(BlockedOn.NAME)))
    assert watched.events() == ([], [])
    watched.coordinator.wake_waiting()
    assert watched.events() == (["1"], [])


def test_the_status_of_dependents_is_touched(watched):
    watched.update(one("2", "web", on=["a"]), one("3", "other", on=["b"]))
    watched.events()
    watched.update(up())
    assert watched.events() == ([], ["2"])
    watched.update(one("2", "web"))  # it does not depend on it any more
    watched.update(one())
    assert watched.events() == ([], [])


def test_a_rename_touches_the_dependents_of_both_names(watched):
    watched.update(one("2", "x", on=["a"]), one("3", "y", on=["b"]), up())
    watched.events()
    watched.update(up(name="b"))
    assert sorted(watched.events()[1]) == ["2", "3"]
    state = one("2", "x", on=["a"])
    assert watched.coordinator.surroundings(state).unmet == (
        "depends on 'a', and no domain has this name",)
    assert watched.coordinator.surroundings(one("3", "y", on=["b"])).unmet == ()


def test_an_exchange_of_names_leaves_each_domain_under_its_own(watched):
    watched.update(up("1", "a"), up("2", "b"))
    watched.update(up("1", "b"))
    watched.update(one("2", "a"))
    assert watched.coordinator.surroundings(one("3", "c", on=["b"])).unmet == ()
    assert watched.coordinator.surroundings(one("3", "c", on=["a"])).unmet == (
        "depends on 'a', which is absent",)
    watched.coordinator.remove("1")
    assert watched.coordinator.surroundings(one("3", "c", on=["b"])).unmet == (
        "depends on 'b', and no domain has this name",)


def test_a_domain_that_is_removed_is_no_longer_there_and_is_not_woken(watched):
    watched.update(up(), one("2", "web", on=["a"], plan=waits(BlockedOn.DEPENDENCY)))
    watched.events()
    watched.coordinator.remove("1")
    assert watched.events() == (["2"], ["2"])
    watched.coordinator.remove("1")
    watched.coordinator.remove("unknown")
    assert watched.events() == ([], [])
    watched.coordinator.remove("2")
    watched.events()
    watched.update(up())
    assert watched.events() == ([], [])


def test_memory_is_that_of_all_and_a_start_needs_its_own(watched):
    watched.update(up("1", "a"), up("2", "b"))
    assert watched.coordinator.memory == 256 << 20
    big = one("3", "c")
    big = replace(big, domain=replace(big.domain, memory=1 << 30))
    assert watched.coordinator.surroundings(big).memory_shortage
    small = replace(big, domain=replace(big.domain, memory=768 << 20))
    assert watched.coordinator.surroundings(small).memory_shortage == ""


def test_surroundings_know_the_source_the_home_and_dependencies_are_shown(watched):
    watched.update(up("1", "a", home="b"), replace(one("2", "web", on=["a"]), removal=Removal.NONE))
    assert watched.coordinator.surroundings(one("3", "b")).name_taken_by == "a"
    assert watched.coordinator.surroundings(one("3", "b")).start_allowed
    watched.allowed.clear()
    assert not watched.coordinator.surroundings(one("3", "b")).start_allowed
    assert watched.coordinator.dependencies(one("2", "web", on=["a"])) == [
        {"domain": "a", "condition": "started", "met": True}]
    assert watched.coordinator.dependencies(replace(one(), domain=None)) == []
