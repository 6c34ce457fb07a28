"""One step on one VM: its outcome as an event, and what it leaves where it fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from reconciler.domain.model import MachineType
from reconciler.engine.control import executor as executor_module
from reconciler.engine.control.executor import Executor, failure, launch_begun, since
from reconciler.engine.control.work_queue import PrioritySemaphore
from reconciler.engine.decide.events import (
    ActionDone,
    ActionFailed,
    CameUp,
    Excuse,
    LaunchBegun,
    Launched,
    Priority,
)
from reconciler.engine.decide.inputs import Now, Step, Verb
from reconciler.errors import (
    GuestUnwilling,
    HostError,
    LockTaken,
    NameTaken,
    QmpRefused,
    QmpTimedOut,
    StartFailed,
    StopFailed,
)
from reconciler.stratovirt.observation import EndedBy
from tests.values import NOW

START, PAUSED = Step(Verb.START), Step(Verb.START_PAUSED)
BACK = Step(Verb.START, rollback=True)


@pytest.mark.parametrize(("verb", "error", "reason"), [
    (Verb.CHECK, HostError("x"), "MissingFile"),
    (Verb.START, HostError("x", reason="Unsupported"), "Unsupported"),
    (Verb.START, StartFailed("x"), "StartFailed"), (Verb.STOP, StopFailed("x"), "StopFailed"),
    (Verb.START, LockTaken("x"), "Conflict"), (Verb.START, NameTaken("x"), "Conflict"),
    (Verb.PAUSE, QmpTimedOut("x"), "PauseFailed"), (Verb.RESUME, QmpRefused("x"), "StartFailed"),
    (Verb.STOP, QmpTimedOut("x"), "QmpTimeout"), (Verb.UPDATE, GuestUnwilling("x"),
                                                   "GuestUnwilling"),
    (Verb.CHECK, OSError("x"), "MissingFile"), (Verb.UPDATE, OSError("x"), "MissingFile"),
    (Verb.STOP, OSError("x"), "StopFailed"), (Verb.PAUSE, OSError("x"), "PauseFailed"),
    (Verb.START, OSError("x"), "StartFailed"), (Verb.FORGET, OSError("x"), "StartFailed")])
def test_the_reason_is_that_of_the_error_or_that_of_the_action(verb, error, reason):
    excuse = {LockTaken: Excuse.LOCK_TAKEN, NameTaken: Excuse.NAME_TAKEN}.get(type(error))
    assert failure(verb, error, NOW) == ActionFailed(NOW, verb, reason, "x", "", excuse)


def test_a_failure_has_the_hint_of_its_error_and_always_a_message():
    assert failure(Verb.START, HostError("x", hint="do this"), NOW).hint == "do this"
    assert failure(Verb.START, OSError(), NOW).message == "OSError"


def test_durations_are_in_milliseconds(monkeypatch):
    monkeypatch.setattr(executor_module.time, "monotonic", lambda: 12.34567)
    assert since(10.0) == 2345.7


@pytest.fixture
def released(monkeypatch):
    """The host devices that were given back to their drivers."""
    found = []
    monkeypatch.setattr("reconciler.host.vfio.unbind", found.append)
    return found


async def prepared(site, controller, step=START):
    state = controller.state
    found = await Executor(site.environment).prepare(
        controller.machine, state.domain, state.record.definition, step, state)
    found.turn.end()  # as its launch does
    return found


@pytest.mark.simulated_time
async def test_a_start_is_prepared_with_what_it_is_asked_for(site, tmp_path):
    controller = site.domain()
    found = await prepared(site, controller)
    request, domain = found.request, controller.state.domain
    assert (request.domain, request.generation, request.paused) == (domain, 1, False)
    assert request.text == controller.state.record.definition.data
    assert (request.manage_taps, request.simulated, request.program) == (False, True, ["sim"])
    assert (found.running.definition, found.running.stored) == (
        domain, controller.state.record.definition)
    assert found.running.domain.devices[-1].place is not None
    assert (await prepared(site, controller, PAUSED)).request.paused
    now = Now(1.0, 2.0)
    assert launch_begun(found, "a", now) == LaunchBegun(
        now, found.running, dict(request.layout.places), "a")


@pytest.mark.simulated_time
async def test_what_a_rollback_starts_is_not_of_the_newest_generation(site, tmp_path):
    controller = site.domain()
    site.accept(controller, memory=256)
    assert (await prepared(site, controller, BACK)).request.generation == 1
    assert (await prepared(site, controller)).request.generation == 2


@pytest.mark.simulated_time
async def test_a_launch_that_fails_gives_back_what_was_made_for_it(site, tmp_path, released):
    controller = site.domain()
    site.hypervisor.faults["launch-paused"] = StartFailed("no luck")
    found = await prepared(site, controller, PAUSED)
    event = Executor(site.environment).launch(controller.machine, found)
    assert (event.verb, event.message) == (Verb.START_PAUSED, "no luck")
    assert released == ["0000:00:1f.7"]
    site.hypervisor.faults.clear()
    assert isinstance(Executor(site.environment).launch(controller.machine, found), Launched)
    assert len(released) == 1
    found.release()
    assert len(released) == 2


async def test_what_a_thread_makes_for_a_start_that_is_cancelled_is_given_back(
        site, tmp_path, released):
    controller = site.domain()
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    go_on = asyncio.Event()

    def wait():
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)

    site.hypervisor.during["prepare"] = wait
    preparing = asyncio.create_task(prepared(site, controller))
    await begun.wait()
    preparing.cancel()
    await asyncio.gather(preparing, return_exceptions=True)
    assert released == []
    go_on.set()
    async with asyncio.timeout(10):
        while not released:
            await asyncio.sleep(0)


@pytest.mark.simulated_time
async def test_actions_have_their_outcome_as_an_event(site, tmp_path):
    controller = await site.up()
    found, machine = Executor(site.environment), controller.machine
    now = site.environment.now()
    event = await found.pause_or_resume(machine, Verb.PAUSE)
    assert event == ActionDone(now, Verb.PAUSE, event.duration)
    event = await found.pause_or_resume(machine, Verb.RESUME)
    assert event == ActionDone(now, Verb.RESUME, event.duration)
    assert site.acts == ["pause", "resume"]
    event = await found.wait_until_up(machine, Verb.START, None)
    assert event == CameUp(now, Verb.START, 100)
    event = await found.wait_until_up(machine, Verb.START, 0.0)
    assert event.duration > 0
    site.hypervisor.faults["wait"] = StartFailed("no luck")
    assert (await found.wait_until_up(machine, Verb.START, None)).message == "no luck"
    event = await found.stop(machine, controller.state)
    assert event == ActionDone(
        now, Verb.STOP, event.duration, 100, EndedBy.QUIT,
        "without a clean shutdown: it has no guest agent channel and no power button")


@pytest.mark.simulated_time
async def test_a_vm_is_stopped_by_its_newest_policy_or_by_that_of_what_runs(site, tmp_path):
    controller = await site.up(inner="<r:stop mode='force'/>")
    found = Executor(site.environment)
    site.accept(controller, inner="<r:stop timeout='7s'/>")
    await found.stop(controller.machine, controller.state)
    await found.stop(controller.machine, replace(controller.state, domain=None))
    await found.stop(controller.machine, replace(controller.state, domain=None, running=None))
    assert [act for act in site.acts if act.startswith("stop")] == [
        "stop graceful 7", "stop force 30", "stop graceful 30"]


@pytest.mark.simulated_time
async def test_a_guest_is_asked_by_its_agent_and_by_its_power_button(site):
    controller = await site.up(devices=(
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"))
    state = controller.state
    site.environment.settings = replace(site.settings, arch="aarch64")
    await Executor(site.environment).stop(controller.machine, replace(
        state, domain=replace(state.domain, machine=MachineType.VIRT)))
    assert site.acts[-1] == "stop graceful 30 by agent.sock by the button"


@pytest.mark.simulated_time
async def test_a_domain_is_forgotten_and_its_definition_is_kept_for_a_while(site, tmp_path):
    controller = site.domain()
    found = Executor(site.environment)
    site.hypervisor.faults["forget"] = OSError(28, "No space left on device")
    event = found.forget(controller.machine, controller.state)
    assert (event.verb, event.reason) == (Verb.FORGET, "StartFailed")
    assert len(site.store.all("")) == 1
    site.hypervisor.faults.clear()
    (tmp_path / "state" / "removed").touch()  # nothing can be kept in it
    assert isinstance(found.forget(controller.machine, controller.state), ActionDone)
    assert site.store.all("") == []
    event, = site.told("state.unwritable")
    assert (event["severity"], event["domain"], event["reason"]) == (
        "error", "a", "StateUnwritable")


@pytest.mark.simulated_time
async def test_a_slot_is_given_back_and_the_wait_for_one_ends_with_an_interruption(site):
    site.environment.starts = PrioritySemaphore(1)
    one, two = Executor(site.environment), Executor(site.environment)
    async with one.slot(Verb.START, Priority.FILE) as free:
        assert free
        async with two.slot(Verb.STOP, Priority.FILE) as other:
            assert other  # a stop takes no slot of starts
        asyncio.get_running_loop().call_later(0.5, two.interrupted.set)
        async with two.slot(Verb.START, Priority.FILE) as other:
            assert not other
        assert asyncio.get_running_loop().time() == 0.5
    two.interrupted.clear()
    async with two.slot(Verb.START, Priority.FILE) as free:
        assert free
    two.interrupted.set()  # there is a slot, and it is not wanted any more
    async with two.slot(Verb.START, Priority.FILE) as free:
        assert not free
    async with one.slot(Verb.START, Priority.FILE) as free:
        assert free


@pytest.mark.simulated_time
async def test_a_wait_that_ends_is_not_interrupted_and_raises_what_it_raises(site, tmp_path):
    found = Executor(site.environment)
    assert await found.unless_interrupted(asyncio.sleep(1))

    async def fails():
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        await found.unless_interrupted(fails())
    found.interrupted.set()
    cancelled = []

    async def waits():
        try:
            await asyncio.sleep(100)
        finally:
            cancelled.append(True)

    assert not await found.unless_interrupted(waits()) or cancelled
