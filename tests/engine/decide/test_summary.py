"""What other domains have to know of one, by its state (gather.summarise)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.policy import Health, Probe, PrunePolicy
from reconciler.engine.decide.events import Observed
from reconciler.engine.decide.gather import decide, summarise
from reconciler.engine.decide.inputs import (
    Attempts,
    Exit,
    ExitKind,
    HealthStatus,
    Hold,
    ProbeResult,
    Removal,
    RetryState,
    Surroundings,
    Vm,
    VmState,
)
from reconciler.engine.decide.state import DomainRecord, DomainState, Running
from reconciler.engine.decide.transition import transition
from tests.values import NOW, domain

ABSENT = Vm(VmState.ABSENT)
RUNS = Vm(VmState.RUNNING, 42, generation=1)
HEALTH = Health(Probe.TCP, "a:1")
HELD = Hold("repair", "me")


def state(vm=ABSENT, wanted=None, *, probe=HealthStatus.UNKNOWN, attempts=None, hold=None,
          **values):
    """The first generation of a domain that is to run, with the plan that follows."""
    wanted = domain() if wanted is None else wanted
    record = DomainRecord("u", "a", 1, attempts=attempts or Attempts(), hold=hold)
    known = DomainState(record, domain=wanted, vm=vm, running=Running(wanted),
                        probe=ProbeResult(probe))
    return planned(replace(known, **values))


def planned(known):
    return replace(known, plan=decide(known, NOW, hold_of_all=None,
                                      surroundings=Surroundings).plan)


def test_a_recreate_lasts_until_the_new_vm_is_up_and_healthy():
    wanted = domain(health=HEALTH)
    for vm in (ABSENT, RUNS):
        assert summarise(state(vm, wanted, attempts=Attempts(recreating_generation=1))).recreating
    back = Attempts(rolled_back_generation=1)
    assert summarise(state(wanted=wanted, attempts=back)).recreating
    assert not summarise(state(RUNS, wanted, attempts=back)).recreating


@pytest.mark.parametrize("attempts", [Attempts(recreating_generation=1),
                                      Attempts(rolled_back_generation=1)])
def test_rule_8_a_domain_that_stays_down_or_is_held_keeps_no_other_waiting(attempts):
    down = replace(attempts, down_reason="PoweredOff", last_exit=Exit(ExitKind.POWEROFF, 1.0))
    assert summarise(state(attempts=attempts)).recreating
    assert not summarise(state(attempts=down)).recreating
    assert not summarise(state(attempts=attempts, hold=HELD)).recreating


def test_rule_8_no_domain_waits_for_the_recreate_of_one_that_is_held():
    found = state(RUNS, domain(memory=256), running=Running(domain()), hold=HELD)
    assert found.plan.blocked
    assert not summarise(found).wants_recreate


def test_rule_8_an_invalid_file_does_not_make_a_dependency_unhealthy():
    wanted, invalid = domain(health=HEALTH), "a.xml:3: wrong"
    assert summarise(state(RUNS, wanted, probe=HealthStatus.HEALTHY, invalid=invalid)).ready
    for probe in (HealthStatus.UNKNOWN, HealthStatus.UNHEALTHY):
        assert not summarise(state(RUNS, wanted, probe=probe, invalid=invalid)).ready
    assert not summarise(state(wanted=wanted, invalid=invalid)).ready


def test_rule_8_a_domain_that_is_not_removed_yet_delays_no_other():
    assert summarise(state(RUNS, removal=Removal.PROVEN)).leaving
    confirm = domain(prune=PrunePolicy.CONFIRM)
    assert not summarise(state(RUNS, confirm, removal=Removal.PROVEN)).leaving
    assert not summarise(state(RUNS, removal=Removal.PROVEN, hold=HELD)).leaving


def test_pain_14_memory_is_that_of_the_definition_that_is_started():
    small, big = domain(memory=128), domain(memory=512)
    found = state(wanted=small, running=None)
    assert summarise(found).memory == 128 << 20
    # A newer file came while the start was prepared.
    assert summarise(replace(found, launching=Running(big))).memory == 512 << 20
    back = state(wanted=small, running=None, last_known_good=big,
                 attempts=Attempts(rolled_back_generation=1))
    assert summarise(back).memory == 512 << 20


def test_the_old_process_is_no_proof_that_its_replacement_came_up():
    """Both may be of one generation: it is not known how far a change of the old one came."""
    begun = Attempts(failures=RetryState(count=2, retry_at=1e9), recreating_generation=1,
                     replaced_pid=42)
    found, _ = transition(state(RUNS, attempts=begun), Observed(NOW, RUNS))
    assert found.attempts.failures.count == 2
    assert not summarise(planned(found)).recreating
    found, _ = transition(state(RUNS, attempts=begun), Observed(NOW, replace(RUNS, pid=43)))
    assert (found.attempts.failures.count, found.attempts.recreating_generation) == (0, 0)
