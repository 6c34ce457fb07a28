"""What others have to know of a domain, by what its keeper knows."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from reconciler.engine.control.wellness import judge

from reconciler.domain.model import DesiredState, Health, Probe, PrunePolicy
from reconciler.engine.control.coordinator import neighbour
from reconciler.engine.decide.inputs import (
    Attempts,
    Exit,
    ExitKind,
    HealthStatus,
    Hold,
    ProbeResult,
    Removal,
    RetryState,
    Vm,
    VmState,
)
from tests.engine.making import Place

pytestmark = pytest.mark.simulated_time
DOWN = Exit(ExitKind.POWEROFF, 1.0)
RUNS = Vm(VmState.RUNNING, 42, generation=1)


@asynccontextmanager
async def keeping(tmp_path):
    """A keeper of a VM that shall run, and a way to let it decide on what it is told."""
    place = Place(tmp_path, "source: {settle: 0s}\n")
    place.drop("a")
    reconciler = place.make()
    try:
        reconciler.sync.look()
        await reconciler.queue.rest()
        keeper, = reconciler.keepers.values()
        keeper.domain = replace(keeper.domain, policy=replace(
            keeper.domain.policy, state=DesiredState.RUNNING))

        def decide(vm=None, *, verdict=HealthStatus.UNKNOWN, **values):
            keeper.vm = vm or Vm(VmState.ABSENT)
            keeper.prober.pulse = ProbeResult(verdict)
            keeper.applied = keeper.domain
            keeper.memory = replace(keeper.memory, **values)
            keeper.plan = keeper.decide(keeper.context.now())
            return neighbour(keeper)

        yield keeper, decide
    finally:
        await reconciler._end()
        reconciler.journal.close()


def well(keeper):
    keeper.domain = replace(keeper.domain, policy=replace(
        keeper.domain.policy, health=Health(Probe.TCP, "a:1")))


async def test_a_place_is_taken_until_the_new_vm_is_up_and_well(tmp_path):
    async with keeping(tmp_path) as (keeper, decide):
        well(keeper)
        for vm in (Vm(VmState.ABSENT), RUNS):
            assert decide(vm, ledger=Attempts(recreating=1)).recreating
        assert decide(ledger=Attempts(refused=1)).recreating
        assert not decide(RUNS, ledger=Attempts(refused=1)).recreating


@pytest.mark.parametrize("ledger", [Attempts(recreating=1), Attempts(refused=1)])
async def test_rule_8_who_stays_down_or_is_held_takes_nobody_s_place(tmp_path, ledger):
    async with keeping(tmp_path) as (_, decide):
        down = replace(ledger, down="PoweredOff", last_exit=DOWN)
        assert not decide(ledger=down).recreating
        assert not decide(ledger=ledger, hold=Hold("repair", "me")).recreating


async def test_rule_8_nobody_waits_for_a_recreate_of_what_is_held(tmp_path):
    async with keeping(tmp_path) as (keeper, decide):
        keeper.domain = replace(keeper.domain, memory=256 << 20)
        applied = replace(keeper.domain, memory=128 << 20)
        decide(RUNS, hold=Hold("repair", "me"))
        keeper.applied = applied
        keeper.plan = keeper.decide(keeper.context.now())
        assert keeper.plan.blocked
        assert not neighbour(keeper).wants_recreate


async def test_rule_8_a_wrong_file_makes_nobody_s_dependency_unwell(tmp_path):
    async with keeping(tmp_path) as (keeper, decide):
        well(keeper)
        keeper.invalid = "a.xml:3: wrong"
        assert decide(RUNS, verdict=HealthStatus.HEALTHY).ready
        for verdict in (HealthStatus.UNKNOWN, HealthStatus.UNHEALTHY):
            assert not decide(RUNS, verdict=verdict).ready
        assert not decide().ready


@pytest.mark.parametrize("inner", ["confirm", "hold"])
async def test_rule_8_who_does_not_go_yet_holds_up_nobody(tmp_path, inner):
    async with keeping(tmp_path) as (keeper, decide):
        keeper.removal = Removal.PROVEN
        assert decide(RUNS).goes
        if inner == "confirm":
            keeper.domain = replace(keeper.domain, policy=replace(
                keeper.domain.policy, prune=PrunePolicy.CONFIRM))
        assert not decide(RUNS, hold=Hold("", "me") if inner == "hold" else None).goes


async def test_pain_14_memory_is_counted_of_what_is_started_and_not_of_what_its_file_says_by_now(
        tmp_path):
    async with keeping(tmp_path) as (keeper, decide):
        keeper.domain = replace(keeper.domain, memory=128 << 20)
        big = replace(keeper.domain, memory=512 << 20)
        decide()
        keeper.applied = None
        assert neighbour(keeper).memory == 128 << 20
        keeper.actor.launching = big  # a newer file came while it was made ready
        assert neighbour(keeper).memory == 512 << 20
        keeper.actor.launching = None
        keeper.good = big  # and so is what is gone back to
        decide(ledger=Attempts(refused=keeper.memory.generation))
        keeper.applied = None
        assert neighbour(keeper).memory == 512 << 20


async def test_what_still_runs_is_no_proof_of_what_was_to_replace_it(tmp_path):
    """A process of the same generation, of which nobody knows how far a change came."""
    async with keeping(tmp_path) as (keeper, decide):
        generation = keeper.memory.generation
        begun = Attempts(failures=RetryState(count=2, retry_at=1e9), recreating=generation,
                         replaced=42)
        decide(replace(RUNS, generation=generation), ledger=begun)
        judge(keeper)
        assert keeper.ledger.failures.count == 2
        assert not neighbour(keeper).recreating
        decide(replace(RUNS, generation=generation, pid=43), ledger=begun)
        judge(keeper)
        assert (keeper.ledger.failures.count, keeper.ledger.recreating) == (0, 0)
