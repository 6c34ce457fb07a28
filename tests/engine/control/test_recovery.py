"""What a controller finds of a process that ran before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.domain.place import Place
from reconciler.engine.control.recovery import ended_before, first_look, running_found
from reconciler.engine.decide.events import Adopted, ExitFound
from reconciler.engine.decide.inputs import Exit, ExitKind, VmState
from reconciler.stratovirt.record import Record
from tests.engine.control.machines import BOOT
from tests.engine.decide.states import ABSENT, RUNS, with_attempts
from tests.values import NOW

pytestmark = pytest.mark.simulated_time
KILLED = Exit(ExitKind.KILLED, NOW.clock, None, 9, "the process was killed by signal 9", NOW.wall)
REBOOTED = Exit(ExitKind.REBOOT, NOW.clock, message="the host was rebooted", wall=NOW.wall)


async def found(site, vm, record, **attempts):
    """What the first look says, and whether the VM is to be cleaned up after."""
    controller = site.domain()
    if record is not None:
        site.hypervisor.records["a"] = replace(record, uuid=controller.uuid)
    machine = site.machine("a", controller.uuid, controller)
    state = replace(with_attempts(controller.state, **attempts), vm=vm)
    event = first_look(state, machine, NOW)
    assert "mark-ended" not in site.hypervisor.calls  # the event is counted first
    return event, ended_before(vm, machine)


RECORD = Record("a", "", 1, BOOT, pid=42)


async def test_a_process_that_runs_is_adopted_whatever_its_state(site):
    assert await found(site, RUNS, RECORD) == (Adopted(NOW), False)
    unknown = replace(RUNS, state=VmState.UNKNOWN)
    assert await found(site, unknown, None) == (Adopted(NOW), False)


async def test_a_lock_of_an_unknown_process_says_nothing_and_nothing_is_cleaned_up(site):
    locked = replace(RUNS, state=VmState.UNKNOWN, pid=None)
    assert await found(site, locked, RECORD) == (None, False)


async def test_a_process_that_ended_meanwhile_is_an_exit_and_is_cleaned_up_after(site):
    assert await found(site, ABSENT, RECORD) == (ExitFound(NOW, KILLED), True)


@pytest.mark.parametrize("action", ["start", "stop"])
async def test_a_process_that_was_being_started_or_stopped_is_not_an_exit(site, action):
    assert await found(site, ABSENT, replace(RECORD, pending_action=action)) == (None, True)


@pytest.mark.parametrize("action", ["", "stop"])
async def test_a_process_of_another_boot_ended_with_the_host(site, action):
    other = replace(RECORD, boot_id="another", pending_action=action)
    assert await found(site, ABSENT, other) == (ExitFound(NOW, REBOOTED), True)


async def test_a_record_of_a_process_that_was_cleaned_up_after_says_nothing(site):
    ended = {"last_exit": Exit(ExitKind.REBOOT, 0.0), "last_settled_state": "running"}
    assert await found(site, ABSENT, replace(RECORD, pid=None), **ended) == (None, False)


async def test_where_the_record_went_with_the_host_what_was_up_ended_with_it(site):
    ended = {"last_exit": Exit(ExitKind.REBOOT, 0.0), "last_settled_state": "running"}
    assert await found(site, ABSENT, None, **ended) == (ExitFound(NOW, REBOOTED), False)
    assert await found(site, ABSENT, None) == (None, False)


async def test_the_record_beside_the_lock_says_which_places_and_which_generation(site, tmp_path):
    controller = site.domain()
    places = {"disk:vda": Place(1, 0)}
    event = running_found(controller.state, controller.machine, site.environment, NOW)
    assert (event.now, event.running, event.places, event.generation) == (NOW, None, {}, 0)
    site.hypervisor.records["a"] = replace(
        RECORD, uuid=controller.uuid, places=places, generation=7)
    machine = site.machine("a", controller.uuid, controller)
    event = running_found(controller.state, machine, site.environment, NOW)
    assert (event.running, event.places, event.generation) == (None, places, 7)


async def test_a_launch_that_was_not_kept_is_known_again_after_a_kill(site, tmp_path):
    """The reconciler was killed after the launch, before its record was on disk."""
    controller = await site.up()
    state = controller.state
    old = replace(state.record, generation=0, places={})
    again = site.load(old)
    assert again.state.record.generation == 1
    assert again.state.record.places == state.record.places
    assert again.state.running == state.running
