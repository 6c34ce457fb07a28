"""What the others have to do with a domain."""

from dataclasses import replace

import pytest

from reconciler.domain.policy import Dependency, DependencyCondition, DesiredState
from reconciler.engine.decide.constraints import DomainSummary, Limits, surroundings
from reconciler.engine.decide.inputs import Surroundings, VmState
from tests.values import domain

FREE = Limits(2, None)
STOPPED, PAUSED = DesiredState.STOPPED, DesiredState.PAUSED


def needs(*names, condition=DependencyCondition.STARTED, **more):
    return domain(depends_on=tuple(Dependency(name, condition) for name in names), **more)


def other(wanted=None, state=VmState.RUNNING, **values):
    found = DomainSummary(wanted or domain(), state, ready=True, at_rest=True, waits=False,
                          failing=False, leaving=False, recreating=False, wants_recreate=False,
                          memory=128 << 20)
    return replace(found, **values)


def of(wanted, limits=FREE, **others):
    return surroundings("a", wanted, others, limits, start_allowed=True, home="a",
                        needed=wanted.memory if wanted is not None else 0)


def test_alone_nothing_is_in_the_way():
    assert of(domain()) == Surroundings()
    assert of(None) == Surroundings()
    assert of(needs("a"), a=other(state=VmState.ABSENT)).dependents == ()


@pytest.mark.parametrize(("db", "says"), [
    (other(), ""), (other(ready=False), ""),
    (None, "no domain has this name"),
    (other(None, domain=None), "no domain has this name"),
    (other(state=VmState.ABSENT), "which is absent"),
    (other(state=VmState.UNKNOWN), "which is unknown"),
    (other(state=VmState.PAUSED), "which is paused"),
    (other(domain(PAUSED), state=VmState.PAUSED), ""),
    (other(domain(STOPPED), state=VmState.ABSENT), "whose file says state='stopped'")])
def test_a_dependency_is_met_when_it_runs(db, says):
    found = of(needs("db"), **({"db": db} if db else {})).unmet
    assert (says in found[0]) if says else found == ()


def test_a_dependency_on_its_health_waits_for_ready():
    assert of(needs("db", condition=DependencyCondition.HEALTHY), db=other()).unmet == ()
    found, = of(needs("db", condition=DependencyCondition.HEALTHY), db=other(ready=False)).unmet
    assert "not healthy yet" in found


def test_those_that_depend_on_it_stop_before():
    web = other(needs("a"), leaving=True)
    assert of(domain(), web=web).dependents == ("web",)
    assert of(None, web=web).dependents == ("web",)  # its own file is gone, too
    for done in (replace(web, leaving=False), replace(web, state=VmState.ABSENT),
                 replace(web, failing=True), replace(web, domain=domain())):
        assert of(domain(), web=done).dependents == ()


def test_only_so_many_are_recreated_at_once():
    b, c = other(recreating=True), other(recreating=True)
    assert of(domain(), b=b, c=other()).recreate_blocked_by == ""
    assert of(domain(), b=b, c=c).recreate_blocked_by == (
        "b, c are being recreated (reconcile.max_unavailable: 2)")
    assert "b is being" in of(domain(), Limits(1, None), b=b).recreate_blocked_by


def test_what_it_depends_on_is_recreated_first():
    waits = "waiting for its dependency db to be recreated"
    assert of(needs("db"), db=other(wants_recreate=True)).recreate_blocked_by == waits
    assert of(needs("db"), db=other(recreating=True)).recreate_blocked_by == waits
    assert of(needs("db"), db=other(wants_recreate=True, failing=True)).recreate_blocked_by == ""
    assert of(domain(), db=other(wants_recreate=True)).recreate_blocked_by == ""


def test_pain_14_waves_wait_for_lower_ones_that_are_on_their_way():
    upper = domain(start_wave=2)
    lower = other(domain(start_wave=1), at_rest=False)
    assert not of(upper, b=lower).wave_ready
    for done in (replace(lower, at_rest=True), replace(lower, domain=upper),
                 replace(lower, domain=domain(STOPPED, start_wave=1))):
        assert of(upper, b=done).wave_ready
    assert of(domain(), b=other(at_rest=False)).wave_ready


def test_a_wave_waits_for_a_chain_of_a_lower_one_unless_that_will_never_be():
    upper, absent = domain(start_wave=1), VmState.ABSENT
    web = other(needs("app"), state=absent, waits=True)
    app = other(needs("db"), state=absent, waits=True)
    assert not of(upper, web=web, app=app, db=other(state=absent, at_rest=False)).wave_ready
    assert not of(upper, web=web, app=app, db=other()).wave_ready  # app is about to be started
    for hopeless in ({"app": app}, {"app": app, "db": other(state=absent)}, {}):
        assert of(upper, web=web, **hopeless).wave_ready
    one, two = (other(needs(name), state=absent, waits=True) for name in ("two", "one"))
    assert of(upper, one=one, two=two).wave_ready


def test_rule_8_many_ways_to_a_dependency_are_gone_once():
    """Thirty storeys of two, each on both of the one below: a thousand million ways."""
    absent = VmState.ABSENT
    tower = {f"{side}{floor}": other(needs(*(f"{s}{floor - 1}" for s in "xy")), state=absent,
                                     waits=True) for floor in range(29, 0, -1) for side in "xy"}
    below = {f"{side}0": other(state=absent, at_rest=False) for side in "xy"}
    assert not of(domain(start_wave=1), **tower, **below).wave_ready
    assert of(domain(start_wave=1), **tower, x0=other(state=absent)).wave_ready


def test_pain_14_memory_is_never_promised_twice():
    limits = Limits(2, 300 << 20)
    assert of(domain(memory=128), limits, b=other()).memory_shortage == ""
    assert of(domain(memory=172), limits, b=other()).memory_shortage == ""
    found = of(domain(memory=173), limits, b=other()).memory_shortage
    assert found == ("needs 173 MiB of memory, and 172 MiB of 300 MiB are free "
                     "(admission.total_memory)")
    # Its own, of the VM that it replaces, does not count.
    assert of(domain(memory=300), limits, a=other(memory=300 << 20)).memory_shortage == ""
    assert "0 bytes of" in of(domain(), limits, b=other(memory=1 << 40)).memory_shortage


def test_older_definitions_in_a_cycle_wait_for_each_other_no_more():
    others = {"a": other(needs("b"), leaving=True, wants_recreate=True),
              "b": other(needs("c"), leaving=True, wants_recreate=True),
              "c": other(needs("a"), leaving=True, wants_recreate=True)}
    for name, one in others.items():
        found = surroundings(name, one.domain, others, FREE, needed=0, start_allowed=True,
                             home=name)
        assert (found.dependents, found.recreate_blocked_by) == ((), "")


def named(name, home, **values):
    return other(replace(domain(), name=name), home=home, **values)


@pytest.mark.parametrize(("others", "kept_by"), [
    ({}, ""),
    ({"x": named("x", "b")}, "x"),  # held, or it waits for a window or a user
    ({"x": named("x", "b", state=VmState.UNKNOWN)}, "x"),
    ({"x": named("x", "b", state=VmState.ABSENT)}, ""),
    ({"x": named("x", "b", leaving=True)}, ""),
    ({"x": named("x", "b", wants_recreate=True)}, ""),
    ({"x": named("x", "b", wants_recreate=True, failing=True)}, "x"),
    ({"x": named("a", "b", recreating=True)}, ""),  # the two exchange their names
    ({"x": named("c", "b", wants_recreate=True), "y": named("y", "c")}, "y"),
    ({"x": named("c", "b", wants_recreate=True), "y": named("a", "c", wants_recreate=True)}, ""),
    ({"x": named("c", "b", wants_recreate=True), "y": named("b", "c", wants_recreate=True)}, ""),
])
def test_a_vm_that_is_not_to_move_keeps_its_name(others, kept_by):
    """The domain runs as a, and its file says b."""
    found = surroundings("b", replace(domain(), name="b"), others, FREE, needed=0, home="a",
                         start_allowed=True)
    assert found.name_kept_by == kept_by
