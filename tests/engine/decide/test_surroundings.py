"""What the other domains have to do with one: each text, each number, each direction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.policy import Dependency, DependencyCondition, DesiredState
from reconciler.engine.decide.constraints import DomainSummary, Limits, dependencies, surroundings
from reconciler.engine.decide.inputs import Surroundings, VmState
from tests.values import domain

PLENTY = Limits(1, None)
PAUSED, STOPPED = DesiredState.PAUSED, DesiredState.STOPPED


def on(*names, condition=DependencyCondition.STARTED, **policy):
    """A domain that depends on others."""
    return domain(depends_on=tuple(Dependency(name, condition) for name in names), **policy)


def other(wanted=None, state=VmState.RUNNING, **values):
    wanted = domain() if wanted is None else wanted
    found = DomainSummary(wanted, state, ready=True, at_rest=True, waits=False, failing=False,
                          leaving=False, recreating=False, wants_recreate=False, memory=0)
    return replace(found, **values)


def around(wanted=None, limits=PLENTY, *, needed=0, allowed=True, home="a", **others):
    wanted = domain() if wanted is None else wanted
    return surroundings("a", wanted, others, limits, needed=needed, start_allowed=allowed,
                        home=home)


def test_alone_a_domain_waits_for_nothing():
    assert around() == Surroundings() == around(b=other())
    assert around(allowed=False) == Surroundings(start_allowed=False)


def test_itself_is_not_one_of_the_others():
    itself = other(on("a"), VmState.ABSENT, recreating=True, at_rest=False, memory=1 << 40,
                   home="a")
    assert around(domain(start_wave=1), Limits(1, 1 << 30), a=itself) == Surroundings()


def test_a_domain_without_a_definition_waits_for_its_dependents_and_the_source_alone():
    leaves = other(on("a"), leaving=True)
    found = surroundings("a", None, {"web": leaves}, Limits(0, 0), needed=1, start_allowed=False,
                         home="a")
    assert found == Surroundings(start_allowed=False, dependents=("web",))


# Names


def test_a_name_is_taken_by_a_vm_that_runs_in_its_directory():
    assert around(b=other(home="a")).name_taken_by == "b"
    assert around(b=other(state=VmState.ABSENT, home="a")).name_taken_by == ""
    assert around(b=other(home="b")).name_taken_by == ""


# Waves


@pytest.mark.parametrize(("earlier", "ready"), [
    (other(at_rest=False), False), (other(), True),
    (other(domain(start_wave=1), at_rest=False), True),
    (other(domain(STOPPED), at_rest=False), True), (other(None, at_rest=True), True),
    (replace(other(at_rest=False), domain=None), True),
    # It is at rest, and waits for something that is on its way, or for something that is not.
    (other(on("c"), waits=True), True),
    (other(on("d"), waits=True), False)])
def test_a_wave_waits_for_what_is_still_on_its_way_up(earlier, ready):
    c = other(state=VmState.ABSENT)  # at rest, and not coming
    d = other(domain(start_wave=1), VmState.ABSENT, at_rest=False)
    assert around(domain(start_wave=1), b=earlier, c=c, d=d).wave_ready is ready
    assert around(domain(), b=earlier).wave_ready


@pytest.mark.parametrize(("chain", "ready"), [
    ({"c": other(on("d", start_wave=1), VmState.ABSENT, waits=True), "d": other(
        domain(start_wave=1), VmState.ABSENT, at_rest=False)}, False),
    ({"c": other(on("d"), VmState.ABSENT, waits=True), "d": other(state=VmState.ABSENT)}, True),
    ({"c": other(on("b"), VmState.ABSENT, waits=True)}, True),  # a cycle of older definitions
    ({}, True), ({"c": replace(other(), domain=None)}, True), ({"c": other()}, False),
    ({"c": replace(other(at_rest=False), domain=None)}, True)])
def test_what_waits_counts_while_all_that_it_depends_on_comes(chain, ready):
    waits = other(on("c"), VmState.ABSENT, waits=True)
    assert around(domain(start_wave=1), b=waits, **chain).wave_ready is ready


# Dependencies


@pytest.mark.parametrize(("db", "condition", "unmet"), [
    (None, DependencyCondition.STARTED, "depends on 'db', and no domain has this name"),
    (replace(other(), domain=None), DependencyCondition.STARTED,
     "depends on 'db', and no domain has this name"),
    (other(domain(STOPPED)), DependencyCondition.STARTED,
     "depends on 'db', whose file says state='stopped'"),
    (other(state=VmState.ABSENT), DependencyCondition.STARTED, "depends on 'db', which is absent"),
    (other(state=VmState.PAUSED), DependencyCondition.STARTED, "depends on 'db', which is paused"),
    (other(domain(PAUSED), VmState.PAUSED), DependencyCondition.STARTED, ""),
    (other(domain(PAUSED), VmState.ABSENT), DependencyCondition.STARTED,
     "depends on 'db', which is absent"),
    (other(domain(PAUSED)), DependencyCondition.STARTED, ""), (other(ready=False),
                                                               DependencyCondition.STARTED, ""),
    (other(ready=False), DependencyCondition.HEALTHY, "depends on 'db', which is not healthy yet"),
    (other(), DependencyCondition.HEALTHY, "")])
def test_a_dependency_that_is_not_met_says_why(db, condition, unmet):
    wanted = on("db", condition=condition)
    others = {} if db is None else {"db": db}
    assert around(wanted, **others).unmet == ((unmet,) if unmet else ())
    assert dependencies(wanted, others) == [
        {"domain": "db", "condition": str(condition), "met": not unmet}]


def test_dependents_that_leave_are_stopped_first_in_their_order():
    leaves = other(on("a"), leaving=True)
    assert around(web=leaves, app=leaves).dependents == ("app", "web")
    assert around(z=replace(leaves, state=VmState.PAUSED)).dependents == ("z",)


@pytest.mark.parametrize("values", [
    {"leaving": False}, {"state": VmState.ABSENT}, {"failing": True}, {"domain": None},
    {"domain": on("b")}])
def test_no_other_dependent_is_waited_for(values):
    assert around(web=replace(other(on("a"), leaving=True), **values)).dependents == ()


def test_in_a_cycle_of_older_definitions_no_domain_is_stopped_first():
    itself, leaves = other(on("web")), other(on("a"), leaving=True)
    assert around(a=itself, web=leaves).dependents == ()
    longer = {"a": other(on("b", "x")), "b": other(on("c", "b")), "c": other(on("web")),
              "web": leaves}
    assert around(**longer).dependents == ()
    assert around(**{**longer, "c": replace(other(), domain=None)}).dependents == ("web",)


# Turns


def test_as_many_are_recreated_at_once_as_configured():
    busy = other(recreating=True)
    assert around(b=busy).recreate_blocked_by == (
        "b is being recreated (reconcile.max_unavailable: 1)")
    assert around(c=busy, b=busy, limits=Limits(2, None)).recreate_blocked_by == (
        "b, c are being recreated (reconcile.max_unavailable: 2)")
    assert around(b=busy, limits=Limits(2, None)).recreate_blocked_by == ""


def test_a_recreate_that_waits_for_the_name_of_this_vm_takes_no_turn():
    waits = other(state=VmState.ABSENT, recreating=True)
    assert around(home="b", b=waits).recreate_blocked_by == ""
    assert around(home="c", b=waits).recreate_blocked_by
    assert around(home="b", b=replace(waits, state=VmState.RUNNING)).recreate_blocked_by


@pytest.mark.parametrize(("db", "blocked"), [
    (other(recreating=True), True), (other(wants_recreate=True), True),
    (other(wants_recreate=True, failing=True), False), (other(), False),
    (other(recreating=True, failing=True), True),
    (other(on("a"), wants_recreate=True), False)])  # a cycle of older definitions
def test_a_dependency_is_recreated_first(db, blocked):
    found = around(on("db"), Limits(5, None), db=db, a=other(on("db"))).recreate_blocked_by
    assert found == ("waiting for its dependency db to be recreated" if blocked else "")


def test_several_dependencies_are_named_in_their_order():
    wants = other(wants_recreate=True)
    assert around(on("b", "c", "unknown"), c=wants, b=wants, d=wants).recreate_blocked_by == (
        "waiting for its dependency b, c to be recreated")


# Memory


@pytest.mark.parametrize(("needed", "shortage"), [
    (256, ""), (257, ("needs 257 MiB of memory, and 256 MiB of 1 GiB are free "
                      "(admission.total_memory)"))])
def test_memory_is_that_of_all_others_together(needed, shortage):
    others = {"b": other(memory=512 << 20), "c": other(memory=256 << 20)}
    found = around(limits=Limits(1, 1 << 30), needed=needed << 20, **others)
    assert found.memory_shortage == shortage
    assert around(needed=1 << 40, **others).memory_shortage == ""


def test_no_less_than_nothing_is_free():
    found = around(limits=Limits(1, 1 << 30), needed=1 << 20, b=other(memory=2 << 30))
    assert found.memory_shortage.startswith("needs 1 MiB of memory, and 0 bytes of 1 GiB are free")
