"""One controller on a model of the hypervisor: what it does, in which order, and what stops it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from reconciler.engine.decide.events import (
    AbsenceJudged,
    HoldSet,
    Priority,
    RestartAsked,
)
from reconciler.engine.decide.inputs import Hold, Removal, Surroundings, VmState
from reconciler.errors import HostError, LockTaken, QmpTimedOut, StartFailed, StopFailed
from reconciler.stratovirt.observation import ExitEvidence
from tests.engine.control.machines import Site

pytestmark = pytest.mark.simulated_time
ME = Hold("repair", "me")
STARTED = ["domain.starting", "prepare", "launch", "wait", "domain.started"]
STOPPED = ["domain.stopping", "stop graceful 30", "domain.stopped"]
RECREATED = ["domain.recreating", *STOPPED, *STARTED]


@asynccontextmanager
async def site(path, concurrency=4):
    found = Site(path, concurrency)
    try:
        yield found
    finally:
        await found.close()


async def passed(controller, priority=Priority.FILE):
    return await controller.reconcile(priority)


# Convergence


async def test_a_new_domain_is_started_each_step_reported_before_it_is_taken(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()
        assert await passed(controller) == 100.0
        assert found.acts == STARTED
        assert controller.state.plan.is_ready
        event, = found.told("domain.started")
        assert (event["pid"], event["action"], event["cause"]) == (100, "start", "file")


async def test_a_start_is_on_disk_in_the_journal_and_in_the_record_before_the_launch(
        tmp_path, monkeypatch):
    async with site(tmp_path) as found:
        synced = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", lambda descriptor: (
            found.hypervisor.calls.append("fdatasync"), synced(descriptor)))
        controller = found.domain()
        places = []
        found.hypervisor.during["launch"] = lambda: places.append(
            found.store.all(controller.state.config.boot_id)[0].places)
        await passed(controller)
        assert places[0] == controller.state.record.places != {}
        assert found.acts[:2] == ["fdatasync", "domain.starting"]
        assert found.acts.count("fdatasync") == 1


async def test_what_is_as_it_should_be_is_only_looked_at_and_its_consoles_are_asked_for_once(
        tmp_path):
    async with site(tmp_path) as found:
        found.hypervisor.consoles = {"serial_chardev": "/dev/pts/1"}
        controller = await found.up()
        assert controller.state.consoles == {"serial_chardev": "/dev/pts/1"}
        for _ in range(2):
            await passed(controller)
        assert found.hypervisor.calls == ["observe", "observe"]


async def test_consoles_that_cannot_be_asked_for_are_asked_for_again(tmp_path):
    async with site(tmp_path) as found:
        found.hypervisor.faults["consoles"] = QmpTimedOut("no answer")
        controller = await found.up()
        await passed(controller)
        assert found.hypervisor.calls == ["observe", "consoles"]


@pytest.mark.parametrize(("state", "launch"), [("running", "launch"), ("paused", "launch-paused")])
async def test_a_change_is_one_recreate_in_this_order(tmp_path, state, launch):
    async with site(tmp_path) as found:
        controller = await found.up(state=state)
        found.accept(controller, state=state, memory=256)
        found.forget_calls()
        await passed(controller)
        assert found.acts == [launch if act == "launch" else act for act in RECREATED]
        assert controller.state.record.last_known_good.text == (
            controller.state.record.definition.text)
        assert [e["cause"] for e in found.events] == ["file"] * 5


async def test_what_a_new_definition_lacks_is_found_before_the_old_vm_is_stopped(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        found.accept(controller, memory=256)
        found.forget_calls()
        (tmp_path / "images" / "a.img").unlink()
        assert await passed(controller) == pytest.approx(1.005)
        assert found.acts == ["domain.recreating", "action.failed"]
        assert (found.events[1]["action"], found.events[1]["reason"]) == ("check", "MissingFile")
        assert controller.state.vm.state is VmState.RUNNING


async def test_pause_and_resume_are_reported_before_and_after(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        found.accept(controller, state="paused")
        found.forget_calls()
        await passed(controller)
        assert found.acts == ["domain.pausing", "pause", "domain.paused"]
        found.accept(controller, state="running")
        found.forget_calls()
        await passed(controller)
        assert found.acts == ["action.started", "resume", "domain.resumed"]


async def test_a_live_change_is_checked_made_and_reported_and_nothing_restarts(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        found.accept_text(controller, found.read()[1].replace(
            b"</memory>", b"</memory><currentMemory unit='MiB'>64</currentMemory>"))
        found.forget_calls()
        await passed(controller)
        assert found.acts == ["action.started", "adjust balloon", "domain.updated"]
        assert controller.state.running.domain.current_memory == 64 << 20
        assert controller.state.last_known_good.current_memory == 64 << 20


async def test_a_removal_stops_forgets_and_archives_and_ends_the_pass(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        controller.apply(AbsenceJudged(found.environment.now(), Removal.PROVEN))
        found.forget_calls()
        assert await passed(controller) is None
        assert found.acts == [*STOPPED, "action.started", "forget", "domain.destroyed"]
        assert controller.state.forgotten
        assert found.store.all("") == []  # and nothing writes the record again
        archived, = (tmp_path / "state" / "removed").iterdir()
        assert archived.read_bytes() == found.read()[1]


async def test_an_exit_is_counted_and_the_vm_is_started_again_after_its_delay(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        controller.machine.end(ExitEvidence(signal=9))
        assert found.wakes == [Priority.EXIT]
        assert await passed(controller) == pytest.approx(0.105)
        assert found.acts == ["domain.exited"]
        await asyncio.sleep(0.2)
        found.forget_calls()
        await passed(controller)
        assert found.acts == STARTED
        assert found.told("domain.started")[0]["cause"] == "exit"


# What a decision rests on changes while it is carried out


async def test_a_hold_while_a_start_waits_for_its_slot_prevents_it(tmp_path):
    async with site(tmp_path, concurrency=1) as found:
        controller = found.domain()
        await found.environment.starts.enter(Priority.COMMAND)
        pass_ = asyncio.create_task(passed(controller))
        await asyncio.sleep(5)
        controller.apply(HoldSet(found.environment.now(), ME))
        await asyncio.sleep(0.01)
        assert pass_.done()  # the wait ends with the hold, and not with the slot
        found.environment.starts.leave()
        assert "launch" not in found.hypervisor.calls
        assert controller.state.plan.held
        assert [e["event"] for e in found.events] == ["domain.held"]


async def test_a_hold_of_all_domains_prevents_a_start_that_is_being_prepared(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()

        def hold():
            found.store.keep_hold(ME)
            controller.reconsider()

        found.hypervisor.during["prepare"] = hold
        await passed(controller)
        assert found.acts == ["domain.starting", "prepare", "domain.held"]
        assert controller.state.launching is None


async def test_a_dependency_that_ends_while_a_start_is_prepared_prevents_it(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()
        found.hypervisor.during["prepare"] = lambda: setattr(
            found, "around", Surroundings(unmet=("depends on 'db', which is absent",)))
        await passed(controller)
        assert found.acts == ["domain.starting", "prepare"]
        assert controller.state.plan.ready.reason == "WaitingForDependency"


async def test_a_newer_definition_while_a_vm_is_prepared_is_the_one_that_is_started(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()

        def newer():
            found.hypervisor.during.clear()
            found.accept(controller, memory=256)

        found.hypervisor.during["prepare"] = newer
        await passed(controller)
        assert found.acts == ["domain.starting", "prepare", "domain.accepted", *STARTED]
        assert controller.state.running.domain.memory == 256 << 20


async def test_a_file_that_is_gone_before_the_stop_of_its_recreate_is_no_recreate(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        found.accept(controller, memory=256)
        for _ in range(64):
            await found.environment.stops.enter(Priority.COMMAND)
        pass_ = asyncio.create_task(passed(controller))
        await asyncio.sleep(1)
        controller.apply(AbsenceJudged(found.environment.now(), Removal.PROVEN))
        found.forget_calls()
        await asyncio.sleep(0.01)
        for _ in range(64):
            found.environment.stops.leave()
        await pass_
        assert found.acts == [*STOPPED, "action.started", "forget", "domain.destroyed"]


async def test_dependents_that_appear_before_a_stop_are_waited_for(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        found.accept(controller, state="stopped")
        found.hypervisor.during["observe"] = lambda: setattr(
            found, "around", Surroundings(dependents=("web",)))
        found.forget_calls()
        await passed(controller)
        assert found.acts == []
        assert controller.state.plan.ready.reason == "WaitingForDependency"


async def test_a_file_that_is_back_while_its_vm_is_stopped_keeps_its_domain(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        controller.apply(AbsenceJudged(found.environment.now(), Removal.PROVEN))
        found.hypervisor.during["stop graceful 30"] = lambda: found.accept(controller)
        found.forget_calls()
        await passed(controller)
        assert [act for act in found.acts if act != "domain.drifted"] == [*STOPPED, *STARTED]
        assert not controller.state.forgotten


async def test_a_restart_of_an_interrupted_start_is_not_forgotten(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        controller.apply(RestartAsked(found.environment.now()))
        found.hypervisor.during["stop graceful 30"] = lambda: found.accept(controller, memory=256)
        found.forget_calls()
        await passed(controller)
        assert found.acts == ["domain.restarting", STOPPED[0], STOPPED[1], "domain.accepted",
                              STOPPED[2], *STARTED]
        assert not controller.state.restart_asked
        assert found.told("domain.started")[0]["cause"] == "command"


async def test_a_wait_for_a_vm_ends_with_a_newer_definition_which_then_replaces_it(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()
        found.hypervisor.waits["wait"] = 20.0
        pass_ = asyncio.create_task(passed(controller))
        await asyncio.sleep(5)
        found.hypervisor.waits.clear()
        found.accept(controller, memory=256)
        await pass_
        assert found.acts == ["domain.starting", "prepare", "launch", "wait", "domain.accepted",
                              *RECREATED]
        assert asyncio.get_running_loop().time() < 6


async def test_any_number_of_edits_is_not_an_error_of_the_reconciler(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()
        sizes = iter(range(129, 160))

        def newer():
            memory = next(sizes, None)
            if memory is not None:
                found.accept(controller, memory=memory)

        found.hypervisor.during["prepare"] = newer
        await passed(controller)
        assert controller.state.running.domain.memory == 159 << 20
        assert found.acts.count("launch") == 1


async def test_a_decision_that_never_rests_is_an_error_of_the_reconciler(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        found.accept(controller, state="paused")
        found.forget_calls()

        async def without_effect():
            found.hypervisor.calls.append("pause")

        controller.machine.pause = without_effect
        with pytest.raises(RuntimeError, match="a: 20 rounds without rest, last .*PAUSE"):
            await passed(controller)
        assert found.acts.count("pause") == 20


async def test_passes_of_one_domain_run_one_after_the_other(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()
        found.hypervisor.waits["wait"] = 3.0
        await asyncio.gather(passed(controller), passed(controller))
        assert found.acts == STARTED


# Failures


async def test_a_start_that_fails_is_attempted_again_after_its_delay(tmp_path):
    async with site(tmp_path) as found:
        found.hypervisor.faults["launch"] = StartFailed("no luck")
        controller = found.domain()
        assert await passed(controller) == pytest.approx(1.005)
        assert found.acts == ["domain.starting", "prepare", "launch", "action.failed"]
        assert (found.events[1]["action"], found.events[1]["reason"],
                found.events[1]["error"]) == ("start", "StartFailed", "no luck")
        assert found.watched.keys() >= {str(tmp_path / "images" / "a.img")}
        found.hypervisor.faults.clear()
        await asyncio.sleep(1.01)
        await passed(controller)
        assert controller.state.plan.is_ready
        assert found.watched == {}


async def test_a_new_definition_that_does_not_come_up_is_rolled_back_at_once(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        found.accept(controller, memory=256)
        found.forget_calls()

        def ends():
            found.hypervisor.faults.clear()
            if controller.state.running.domain.memory == 256 << 20:
                found.hypervisor.processes.clear()
                found.hypervisor.faults["wait"] = StartFailed("no luck")

        found.hypervisor.during["wait"] = ends
        await passed(controller)
        assert found.acts == [
            "domain.recreating", *STOPPED, *STARTED[:-1], "domain.rolledback", "action.failed",
            "domain.stalled", *STARTED]
        state = controller.state
        assert (state.running.domain.memory, state.vm.generation) == (128 << 20, 1)
        assert state.record.generation == 2
        assert state.plan.condition("Stalled").reason == "RolledBack"
        # What was rolled back to is not taken for the newest definition.
        await passed(controller)
        assert controller.state.plan.steps == ()
        assert controller.state.attempts.rolled_back_generation == 2


async def test_a_lock_that_another_process_holds_does_not_condemn_the_definition(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        found.accept(controller, memory=256)
        found.hypervisor.faults["launch"] = LockTaken("another process holds the lock")
        await passed(controller)
        assert found.told("domain.rolledback") == []
        assert controller.state.plan.ready.reason == "BackOff"
        found.hypervisor.faults.clear()
        await asyncio.sleep(2)
        await passed(controller)
        assert controller.state.running.domain.memory == 256 << 20


@pytest.mark.parametrize(("fault", "error", "reason"), [
    ("stop graceful 30", StopFailed("it does not end"), "StopFailed"),
    ("prepare", HostError("no such bridge"), "MissingFile"),
    ("prepare", OSError(28, "No space left on device"), "StartFailed")])
async def test_a_step_that_fails_ends_the_plan(tmp_path, fault, error, reason):
    async with site(tmp_path) as found:
        controller = await found.up()
        found.accept(controller, state="running", memory=256, inner="<r:update rollback='none'/>")
        found.hypervisor.faults[fault] = error
        found.forget_calls()
        await passed(controller)
        event, = found.told("action.failed")
        assert event["reason"] == reason
        assert "launch" not in found.acts
        assert controller.state.executing == ()


# Starts that were launched before


async def test_a_vm_that_still_starts_is_waited_for(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()
        found.hypervisor.waits["wait"] = 9.0
        pass_ = asyncio.create_task(passed(controller))
        await asyncio.sleep(1)
        pass_.cancel()
        await asyncio.gather(pass_, return_exceptions=True)
        again = found.load(controller.state.record)
        found.forget_calls()
        await passed(again)
        assert found.acts == ["domain.adopted", "wait", "domain.started"]
        assert again.state.plan.is_ready
        assert "durationMs" not in found.told("domain.started")[0]


async def test_a_vm_that_still_starts_and_ends_is_a_start_that_failed(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()
        found.hypervisor.waits["wait"] = 9.0
        pass_ = asyncio.create_task(passed(controller))
        await asyncio.sleep(1)
        pass_.cancel()
        await asyncio.gather(pass_, return_exceptions=True)
        again = found.load(controller.state.record)

        def ends():
            again.machine.end(ExitEvidence(code=1))

        found.hypervisor.during["wait"] = ends
        found.hypervisor.faults["wait"] = StartFailed("it died")
        found.forget_calls()
        await passed(again)
        assert found.told("domain.exited") == []
        assert [e["error"] for e in found.told("action.failed")] == ["it died"]
        assert again.state.attempts.failures.count == 1


# Renames


async def test_a_renamed_domain_keeps_its_directory_until_it_is_recreated(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        old = controller.machine
        found.accept(controller, name="b")
        found.forget_calls()
        await passed(controller)
        assert found.acts == [*RECREATED[:5], "abandon a", *STARTED[1:]]
        assert (old.closed, controller.machine.home.name) == (True, "b")
        assert (controller.name, controller.state.home) == ("b", "b")


async def test_a_name_that_another_vm_has_is_waited_for_and_condemns_nothing(tmp_path):
    async with site(tmp_path) as found:
        await found.up("b")
        controller = await found.up("a")
        found.accept(controller, name="b", memory=256)
        found.forget_calls()
        await passed(controller)
        event, = found.told("action.failed")
        assert (event["reason"], event["error"], event["hint"]) == (
            "Conflict", "another VM still runs as 'b'",
            "it is attempted again until that VM has ended")
        assert controller.machine.home.name == "a"
        assert found.told("domain.rolledback") == []
        found.hypervisor.processes.pop("b")
        await asyncio.sleep(2)
        await passed(controller)
        assert controller.state.home == "b"


# What the VM reports


async def test_every_qmp_event_is_a_reason_to_look(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        controller.on_event("STOP", {})
        assert found.wakes == [Priority.DRIFT]
        assert found.acts == []


async def test_a_reboot_of_the_guest_counts_where_its_file_says_so(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        controller.on_event("RESET", {})
        assert found.told("domain.exited") == []
        found.accept_text(controller, found.read()[1].replace(
            b"<devices>", b"<on_reboot>destroy</on_reboot><devices>"))
        controller.on_event("RESET", {})  # the process was started with the older policy
        assert found.told("domain.exited") == []
        found.hypervisor.processes.clear()
        await passed(controller)
        controller.on_event("RESET", {})
        assert [e["reason"] for e in found.told("domain.exited")] == ["guest-reset"]


SECOND = ("<disk type='file'><source file='a2.img'/><target dev='vdb' bus='virtio'/>"
          "<alias name='ua-second'/></disk>")


async def test_a_device_that_the_guest_released_is_missing_from_what_runs(tmp_path):
    async with site(tmp_path) as found:
        (tmp_path / "images" / "a2.img").touch()
        controller = await found.up(devices=SECOND)
        disk = next(d for d in controller.state.running.domain.devices if d.alias == "ua-second")
        before = controller.state.running.domain
        controller.on_event("DEVICE_DELETED", {"device": "unknown"})
        controller.on_event("DEVICE_DELETED", {})
        assert controller.state.running.domain == before
        controller.on_event("DEVICE_DELETED", {"device": disk.alias})
        assert disk not in controller.state.running.domain.devices
        assert b"a2.img" not in (controller.machine.home / "definition.xml").read_bytes()
        assert found.wakes == [Priority.DRIFT] * 3


async def test_a_connection_that_closes_is_a_reason_to_look_unless_the_vm_is_silent(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        controller.on_disconnect()
        assert found.wakes == [Priority.DRIFT]
        found.hypervisor.processes["a"].state = VmState.UNKNOWN
        assert await passed(controller) == pytest.approx(1.005)
        controller.on_disconnect()
        assert found.wakes == [Priority.DRIFT]


async def test_an_end_of_a_stop_that_was_asked_for_is_not_an_exit(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        controller.on_end(ExitEvidence(code=0), requested=True)
        assert (found.wakes, found.told("domain.exited")) == ([Priority.EXIT], [])
        controller.on_end(ExitEvidence(signal=9), requested=False)
        event, = found.told("domain.exited")
        assert (event["reason"], event["signal"]) == ("killed", 9)
        last = controller.state.attempts.last_exit
        assert (last.at, last.wall) == (1000.0, 1_800_000_000.0)


# Prerequisites, holds, saving


async def test_a_file_that_a_failed_start_needs_is_worth_an_attempt_at_once(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()
        image = tmp_path / "images" / "a.img"
        image.unlink()
        await passed(controller)
        assert controller.state.plan.ready.reason == "BackOff"
        controller.check_prerequisites()
        assert found.wakes == []
        image.write_bytes(b"x")
        found.watched[str(image)]()
        assert found.wakes == [Priority.FILE]
        await passed(controller)
        assert controller.state.plan.is_ready


async def test_a_hold_ends_by_itself_and_is_looked_at_then(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()
        until = found.environment.now().wall + 60
        controller.apply(HoldSet(found.environment.now(), replace(ME, until=until)))
        assert await passed(controller) == pytest.approx(60.05)
        assert controller.state.record.hold is not None
        await asyncio.sleep(60.05)
        found.forget_calls()
        await passed(controller)
        assert found.acts == ["domain.released", *STARTED]
        assert controller.state.record.hold is None
        assert found.store.all("")[0].hold is None


async def test_a_hold_that_ends_later_than_the_next_full_look_does_not_delay_it(tmp_path):
    async with site(tmp_path) as found:
        controller = found.domain()
        until = found.environment.now().wall + 500
        controller.apply(HoldSet(found.environment.now(), replace(ME, until=until)))
        assert await passed(controller) == 100.0
        controller.apply(HoldSet(found.environment.now(), ME))
        assert await passed(controller) == 100.0


async def test_what_is_accepted_while_a_domain_is_held_is_on_disk(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        controller.apply(HoldSet(found.environment.now(), ME))
        found.accept(controller, memory=256)
        kept, = found.store.all(controller.state.config.boot_id)
        assert kept == controller.state.record
        assert kept.generation == 2


async def test_only_a_changed_record_is_written(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        file, = (tmp_path / "state" / "domains").iterdir()
        before = file.stat().st_mtime_ns, file.stat().st_ino
        await passed(controller)
        assert (file.stat().st_mtime_ns, file.stat().st_ino) == before
        count = len(found.changes)
        controller.apply(HoldSet(found.environment.now(), ME))
        assert len(found.changes) == count + 1
        assert found.changes[-1] is controller.state


async def test_a_definition_that_was_applied_is_archived_and_a_full_disk_stops_nothing(tmp_path):
    async with site(tmp_path) as found:
        controller = await found.up()
        text, = (tmp_path / "state" / "history" / controller.uuid).iterdir()
        assert text.read_bytes() == found.read()[1]
        (tmp_path / "state" / "history").rename(tmp_path / "away")
        (tmp_path / "state" / "history").touch()
        found.accept(controller, memory=256)
        await passed(controller)
        assert controller.state.plan.is_ready


async def test_a_controller_that_is_closed_follows_nothing(tmp_path):
    async with site(tmp_path) as found:
        found.hypervisor.faults["launch"] = StartFailed("no luck")
        controller = found.domain()
        await passed(controller)
        assert found.watched
        controller.close()
        assert (found.watched, controller.machine.closed) == ({}, True)


# Health

HEALTH = {"inner": "<r:health agent='yes' interval='2s' start-period='1s' failures='1'/>"}
