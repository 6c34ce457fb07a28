"""One controller on a model of the hypervisor: what it does, in which order, and what stops it."""

from __future__ import annotations

import asyncio
import os
import tty
from dataclasses import replace

import pytest

from reconciler.engine.control.work_queue import PrioritySemaphore
from reconciler.engine.decide.events import (
    AbsenceJudged,
    HoldSet,
    Priority,
    RestartAsked,
)
from reconciler.engine.decide.inputs import Hold, Removal, Surroundings, VmState
from reconciler.errors import HostError, LockTaken, QmpTimedOut, StartFailed, StopFailed
from reconciler.stratovirt.observation import ExitEvidence

pytestmark = pytest.mark.simulated_time
ME = Hold("repair", "me")
STARTED = ["domain.starting", "prepare", "launch", "wait", "domain.started"]
STOPPED = ["domain.stopping", "stop graceful 30", "domain.stopped"]
RECREATED = ["domain.recreating", *STOPPED, *STARTED]


async def passed(controller, priority=Priority.FILE):
    return await controller.reconcile(priority)


# Convergence


async def test_a_new_domain_is_started_each_step_reported_before_it_is_taken(site):
    controller = site.domain()
    assert await passed(controller) == 100.0
    assert site.acts == STARTED
    assert controller.state.plan.is_ready
    event, = site.told("domain.started")
    assert (event["pid"], event["action"], event["cause"]) == (100, "start", "file")


async def test_a_start_is_on_disk_in_the_journal_and_in_the_record_before_the_launch(
        site, monkeypatch):
    synced = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: (
        site.hypervisor.calls.append("fdatasync"), synced(descriptor)))
    controller = site.domain()
    places = []
    site.hypervisor.during["launch"] = lambda: places.append(
        site.store.all(controller.state.config.boot_id)[0].places)
    await passed(controller)
    assert places[0] == controller.state.record.places != {}
    assert site.acts[:2] == ["fdatasync", "domain.starting"]
    assert site.acts.count("fdatasync") == 1


async def test_what_is_as_it_should_be_is_only_looked_at_and_its_consoles_are_asked_for_once(site):
    site.hypervisor.consoles = {"serial_chardev": "/dev/pts/1"}
    controller = await site.up()
    assert controller.state.consoles == {"serial_chardev": "/dev/pts/1"}
    for _ in range(2):
        await passed(controller)
    assert site.hypervisor.calls == ["observe", "observe"]


async def test_consoles_that_cannot_be_asked_for_are_asked_for_again(site):
    site.hypervisor.faults["consoles"] = QmpTimedOut("no answer")
    controller = await site.up()
    await passed(controller)
    assert site.hypervisor.calls == ["observe", "consoles"]


@pytest.mark.parametrize(("state", "launch"), [("running", "launch"), ("paused", "launch-paused")])
async def test_a_change_is_one_recreate_in_this_order(site, state, launch):
    controller = await site.up(state=state)
    site.accept(controller, state=state, memory=256)
    site.forget_calls()
    await passed(controller)
    assert site.acts == [launch if act == "launch" else act for act in RECREATED]
    assert controller.state.record.last_known_good.text == (
        controller.state.record.definition.text)
    assert [e["cause"] for e in site.events] == ["file"] * 5


async def test_what_a_new_definition_lacks_is_found_before_the_old_vm_is_stopped(site, tmp_path):
    controller = await site.up()
    site.accept(controller, memory=256)
    site.forget_calls()
    (tmp_path / "images" / "a.img").unlink()
    assert await passed(controller) == pytest.approx(1.005)
    assert site.acts == ["domain.recreating", "action.failed"]
    assert (site.events[1]["action"], site.events[1]["reason"]) == ("check", "MissingFile")
    assert controller.state.vm.state is VmState.RUNNING


async def test_what_a_live_change_lacks_on_the_host_is_a_failure_that_is_attempted_again(
        site, tmp_path):
    controller = await site.up()
    site.accept_text(controller, site.read()[1].replace(
        b"</memory>", b"</memory><currentMemory unit='MiB'>64</currentMemory>"))
    (tmp_path / "images" / "a.img").unlink()
    site.forget_calls()
    assert await passed(controller) == pytest.approx(1.005)
    assert site.acts == ["action.failed"]
    assert (site.events[0]["action"], site.events[0]["reason"]) == ("update", "MissingFile")


async def test_pause_and_resume_are_reported_before_and_after(site):
    controller = await site.up()
    site.accept(controller, state="paused")
    site.forget_calls()
    await passed(controller)
    assert site.acts == ["domain.pausing", "pause", "domain.paused"]
    site.accept(controller, state="running")
    site.forget_calls()
    await passed(controller)
    assert site.acts == ["action.started", "resume", "domain.resumed"]


async def test_a_live_change_is_checked_made_and_reported_and_nothing_restarts(site):
    controller = await site.up()
    site.accept_text(controller, site.read()[1].replace(
        b"</memory>", b"</memory><currentMemory unit='MiB'>64</currentMemory>"))
    site.forget_calls()
    await passed(controller)
    assert site.acts == ["action.started", "adjust balloon", "domain.updated"]
    assert controller.state.running.domain.current_memory == 64 << 20
    assert controller.state.last_known_good.current_memory == 64 << 20


async def test_a_removal_stops_forgets_and_archives_and_ends_the_pass(site, tmp_path):
    controller = await site.up()
    controller.apply(AbsenceJudged(site.environment.now(), Removal.PROVEN))
    site.forget_calls()
    assert await passed(controller) is None
    assert site.acts == [*STOPPED, "action.started", "forget", "domain.destroyed"]
    assert controller.state.forgotten
    assert site.store.all("") == []  # and nothing writes the record again
    archived, = (tmp_path / "state" / "removed").iterdir()
    assert archived.read_bytes() == site.read()[1]


async def test_an_exit_is_counted_and_the_vm_is_started_again_after_its_delay(site):
    controller = await site.up()
    controller.machine.end(ExitEvidence(signal=9))
    assert site.wakes == [Priority.EXIT]
    await passed(controller)
    assert site.acts == ["domain.exited", *STARTED]  # a lone exit has no delay
    assert site.told("domain.started")[0]["cause"] == "exit"
    site.forget_calls()
    controller.machine.end(ExitEvidence(signal=9))
    assert await passed(controller) == pytest.approx(1.005)
    assert site.acts == ["domain.exited"]
    await asyncio.sleep(1.1)
    site.forget_calls()
    await passed(controller)
    assert site.acts == STARTED


# What a decision rests on changes while it is carried out


async def test_a_hold_while_a_start_waits_for_its_slot_prevents_it(site):
    site.environment.starts = PrioritySemaphore(1)
    controller = site.domain()
    await site.environment.starts.enter(Priority.COMMAND)
    pass_ = asyncio.create_task(passed(controller))
    await asyncio.sleep(5)
    controller.apply(HoldSet(site.environment.now(), ME))
    await asyncio.sleep(0.01)
    assert pass_.done()  # the wait ends with the hold, and not with the slot
    site.environment.starts.leave()
    assert "launch" not in site.hypervisor.calls
    assert controller.state.plan.held
    assert [e["event"] for e in site.events] == ["domain.held"]


async def test_a_hold_of_all_domains_prevents_a_start_that_is_being_prepared(site):
    controller = site.domain()

    def hold():
        site.store.keep_hold(ME)
        controller.reconsider()

    site.hypervisor.during["prepare"] = hold
    await passed(controller)
    assert site.acts == ["domain.starting", "prepare", "domain.held"]
    assert controller.state.launching is None


async def test_what_was_made_for_a_start_that_is_not_launched_is_given_back(site, monkeypatch):
    released = []
    monkeypatch.setattr("reconciler.host.vfio.unbind", released.append)
    controller = site.domain()
    site.hypervisor.during["prepare"] = lambda: controller.apply(
        HoldSet(site.environment.now(), ME))
    await passed(controller)
    assert released == ["0000:00:1f.7"]


@pytest.mark.parametrize("wishes", [
    lambda site, controller: RestartAsked(site.environment.now()),
    lambda site, controller: AbsenceJudged(site.environment.now(), Removal.HELD)])
async def test_another_wish_interrupts_the_wait_for_a_slot_and_is_decided_on(site, wishes):
    site.environment.starts = PrioritySemaphore(1)
    controller = site.domain()
    await site.environment.starts.enter(Priority.COMMAND)
    pass_ = asyncio.create_task(passed(controller))
    await asyncio.sleep(5)
    site.forget_calls()
    controller.apply(wishes(site, controller))
    await asyncio.sleep(0.01)
    assert site.hypervisor.calls == ["observe"]  # a new decision, which waits for the slot again
    site.environment.starts.leave()
    await pass_
    assert site.acts == STARTED


async def test_a_dependency_that_ends_while_a_start_waits_for_its_slot_prevents_it(site):
    site.environment.starts = PrioritySemaphore(1)
    controller = site.domain()
    await site.environment.starts.enter(Priority.COMMAND)
    pass_ = asyncio.create_task(passed(controller))
    await asyncio.sleep(5)
    site.around = Surroundings(unmet=("depends on 'db', which is absent",))
    site.environment.starts.leave()
    await pass_
    assert site.acts == []  # nothing was reported, prepared or launched
    await site.environment.starts.enter(Priority.COMMAND)  # and its slot is free again


async def test_a_stop_waits_for_its_slot_and_what_it_rests_on_is_decided_again(site):
    controller = await site.up()
    site.accept(controller, state="stopped")
    for _ in range(64):
        await site.environment.stops.enter(Priority.COMMAND)
    pass_ = asyncio.create_task(passed(controller))
    await asyncio.sleep(1)
    site.around = Surroundings(dependents=("web",))
    site.forget_calls()
    site.environment.stops.leave()
    await pass_
    assert site.acts == []
    assert controller.state.plan.ready.reason == "WaitingForDependency"
    assert controller.state.executing == ()


async def test_a_dependency_that_ends_while_a_start_is_prepared_prevents_it(site):
    controller = site.domain()
    site.hypervisor.during["prepare"] = lambda: setattr(
        site, "around", Surroundings(unmet=("depends on 'db', which is absent",)))
    await passed(controller)
    assert site.acts == ["domain.starting", "prepare"]
    assert controller.state.plan.ready.reason == "WaitingForDependency"


async def test_a_newer_definition_while_a_vm_is_prepared_is_the_one_that_is_started(site):
    controller = site.domain()

    def newer():
        site.hypervisor.during.clear()
        site.accept(controller, memory=256)

    site.hypervisor.during["prepare"] = newer
    await passed(controller)
    assert site.acts == ["domain.starting", "prepare", "domain.accepted", *STARTED]
    assert controller.state.running.domain.memory == 256 << 20


async def test_a_file_that_is_gone_before_the_stop_of_its_recreate_is_no_recreate(site):
    controller = await site.up()
    site.accept(controller, memory=256)
    for _ in range(64):
        await site.environment.stops.enter(Priority.COMMAND)
    pass_ = asyncio.create_task(passed(controller))
    await asyncio.sleep(1)
    controller.apply(AbsenceJudged(site.environment.now(), Removal.PROVEN))
    site.forget_calls()
    await asyncio.sleep(0.01)
    for _ in range(64):
        site.environment.stops.leave()
    await pass_
    assert site.acts == [*STOPPED, "action.started", "forget", "domain.destroyed"]


async def test_dependents_that_appear_before_a_stop_are_waited_for(site):
    controller = await site.up()
    site.accept(controller, state="stopped")
    site.hypervisor.during["observe"] = lambda: setattr(
        site, "around", Surroundings(dependents=("web",)))
    site.forget_calls()
    await passed(controller)
    assert site.acts == []
    assert controller.state.plan.ready.reason == "WaitingForDependency"


async def test_a_file_that_is_back_while_its_vm_is_stopped_keeps_its_domain(site):
    controller = await site.up()
    controller.apply(AbsenceJudged(site.environment.now(), Removal.PROVEN))
    site.hypervisor.during["stop graceful 30"] = lambda: site.accept(controller)
    site.forget_calls()
    await passed(controller)
    assert [act for act in site.acts if act != "domain.drifted"] == [*STOPPED, *STARTED]
    assert not controller.state.forgotten


async def test_a_restart_of_an_interrupted_start_is_not_forgotten(site):
    controller = await site.up()
    controller.apply(RestartAsked(site.environment.now()))
    site.hypervisor.during["stop graceful 30"] = lambda: site.accept(controller, memory=256)
    site.forget_calls()
    await passed(controller)
    assert site.acts == ["domain.restarting", STOPPED[0], STOPPED[1], "domain.accepted",
                          STOPPED[2], *STARTED]
    assert not controller.state.restart_asked
    assert site.told("domain.started")[0]["cause"] == "command"


async def test_a_wait_for_a_vm_ends_with_a_newer_definition_which_then_replaces_it(site):
    controller = site.domain()
    site.hypervisor.waits["wait"] = 20.0
    pass_ = asyncio.create_task(passed(controller))
    await asyncio.sleep(5)
    site.hypervisor.waits.clear()
    site.accept(controller, memory=256)
    await pass_
    assert site.acts == ["domain.starting", "prepare", "launch", "wait", "domain.accepted",
                          *RECREATED]
    assert asyncio.get_running_loop().time() < 6


async def test_any_number_of_edits_is_not_an_error_of_the_reconciler(site):
    controller = site.domain()
    sizes = iter(range(129, 160))

    def newer():
        memory = next(sizes, None)
        if memory is not None:
            site.accept(controller, memory=memory)

    site.hypervisor.during["prepare"] = newer
    await passed(controller)
    assert controller.state.running.domain.memory == 159 << 20
    assert site.acts.count("launch") == 1


async def test_a_decision_that_never_rests_is_an_error_of_the_reconciler(site):
    controller = await site.up()
    site.accept(controller, state="paused")
    site.forget_calls()

    async def without_effect():
        site.hypervisor.calls.append("pause")

    controller.machine.pause = without_effect
    with pytest.raises(RuntimeError, match="a: 20 rounds without rest, last .*PAUSE"):
        await passed(controller)
    assert site.acts.count("pause") == 20


async def test_passes_of_one_domain_run_one_after_the_other(site):
    controller = site.domain()
    site.hypervisor.waits["wait"] = 3.0
    await asyncio.gather(passed(controller), passed(controller))
    assert site.acts == STARTED


# Failures


async def test_a_start_that_fails_is_attempted_again_after_its_delay(site, tmp_path):
    site.hypervisor.faults["launch"] = StartFailed("no luck")
    controller = site.domain()
    assert await passed(controller) == pytest.approx(1.005)
    assert site.acts == ["domain.starting", "prepare", "launch", "action.failed"]
    assert (site.events[1]["action"], site.events[1]["reason"],
            site.events[1]["error"]) == ("start", "StartFailed", "no luck")
    assert site.watched.keys() == {tmp_path / "images"}
    site.hypervisor.faults.clear()
    await asyncio.sleep(1.01)
    await passed(controller)
    assert controller.state.plan.is_ready
    assert site.watched == {}


async def test_a_new_definition_that_does_not_come_up_is_rolled_back_at_once(site):
    controller = await site.up()
    site.accept(controller, memory=256)
    site.forget_calls()

    def ends():
        site.hypervisor.faults.clear()
        if controller.state.running.domain.memory == 256 << 20:
            site.hypervisor.processes.clear()
            site.hypervisor.faults["wait"] = StartFailed("no luck")

    site.hypervisor.during["wait"] = ends
    await passed(controller)
    assert site.acts == [
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


async def test_a_lock_that_another_process_holds_does_not_condemn_the_definition(site):
    controller = await site.up()
    site.accept(controller, memory=256)
    site.hypervisor.faults["launch"] = LockTaken("another process holds the lock")
    await passed(controller)
    assert site.told("domain.rolledback") == []
    assert controller.state.plan.ready.reason == "BackOff"
    site.hypervisor.faults.clear()
    await asyncio.sleep(2)
    await passed(controller)
    assert controller.state.running.domain.memory == 256 << 20


@pytest.mark.parametrize(("fault", "error", "reason"), [
    ("stop graceful 30", StopFailed("it does not end"), "StopFailed"),
    ("prepare", HostError("no such bridge"), "MissingFile"),
    ("prepare", OSError(28, "No space left on device"), "StartFailed")])
async def test_a_step_that_fails_ends_the_plan(site, fault, error, reason):
    controller = await site.up()
    site.accept(controller, state="running", memory=256, inner="<r:update rollback='none'/>")
    site.hypervisor.faults[fault] = error
    site.forget_calls()
    await passed(controller)
    event, = site.told("action.failed")
    assert event["reason"] == reason
    assert "launch" not in site.acts
    assert controller.state.executing == ()


# Starts that were launched before


async def test_a_vm_that_still_starts_is_waited_for(site):
    controller = site.domain()
    site.hypervisor.waits["wait"] = 9.0
    pass_ = asyncio.create_task(passed(controller))
    await asyncio.sleep(1)
    pass_.cancel()
    await asyncio.gather(pass_, return_exceptions=True)
    again = site.load(controller.state.record)
    site.forget_calls()
    await passed(again)
    assert site.acts == ["domain.adopted", "wait", "domain.started"]
    assert again.state.plan.is_ready
    assert "durationMs" not in site.told("domain.started")[0]


async def test_a_vm_that_still_starts_and_ends_is_a_start_that_failed(site):
    controller = site.domain()
    site.hypervisor.waits["wait"] = 9.0
    pass_ = asyncio.create_task(passed(controller))
    await asyncio.sleep(1)
    pass_.cancel()
    await asyncio.gather(pass_, return_exceptions=True)
    again = site.load(controller.state.record)

    def ends():
        again.machine.end(ExitEvidence(code=1))

    site.hypervisor.during["wait"] = ends
    site.hypervisor.faults["wait"] = StartFailed("it died")
    site.forget_calls()
    await passed(again)
    assert site.told("domain.exited") == []
    assert [e["error"] for e in site.told("action.failed")] == ["it died"]
    assert again.state.attempts.failures.count == 1


# Renames


async def test_a_renamed_domain_keeps_its_directory_until_it_is_recreated(site):
    controller = await site.up()
    old = controller.machine
    site.accept(controller, name="b")
    site.forget_calls()
    await passed(controller)
    assert site.acts == [*RECREATED[:5], "abandon a", *STARTED[1:]]
    assert (old.closed, controller.machine.home.name) == (True, "b")
    assert (controller.name, controller.state.home) == ("b", "b")


async def test_a_name_that_another_vm_has_is_waited_for_and_condemns_nothing(site):
    await site.up("b")
    controller = await site.up("a")
    site.accept(controller, name="b", memory=256)
    site.forget_calls()
    await passed(controller)
    event, = site.told("action.failed")
    assert (event["reason"], event["error"], event["hint"]) == (
        "Conflict", "another VM still runs as 'b'",
        "it is attempted again until that VM has ended")
    assert controller.machine.home.name == "a"
    assert [m.closed for m in site.machines if m.home.name == "b"][-1]
    assert site.told("domain.rolledback") == []
    site.hypervisor.processes.pop("b")
    await asyncio.sleep(2)
    await passed(controller)
    assert controller.state.home == "b"


# What the VM reports


async def test_every_qmp_event_is_a_reason_to_look(site):
    controller = await site.up()
    controller.on_event("STOP", {})
    assert site.wakes == [Priority.DRIFT]
    assert site.acts == []


async def test_a_reboot_of_the_guest_counts_where_its_file_says_so(site):
    controller = await site.up()
    controller.on_event("RESET", {})
    assert site.told("domain.exited") == []
    site.accept_text(controller, site.read()[1].replace(
        b"<devices>", b"<on_reboot>destroy</on_reboot><devices>"))
    controller.on_event("RESET", {})  # the process was started with the older policy
    assert site.told("domain.exited") == []
    site.hypervisor.processes.clear()
    await passed(controller)
    controller.on_event("RESET", {})
    assert [e["reason"] for e in site.told("domain.exited")] == ["guest-reset"]


SECOND = ("<disk type='file'><source file='a2.img'/><target dev='vdb' bus='virtio'/>"
          "<alias name='ua-second'/></disk>")


async def test_a_device_that_the_guest_released_is_missing_from_what_runs(site, tmp_path):
    (tmp_path / "images" / "a2.img").touch()
    controller = await site.up(devices=SECOND)
    disk = next(d for d in controller.state.running.domain.devices if d.alias == "ua-second")
    before = controller.state.running.domain
    controller.on_event("DEVICE_DELETED", {"device": "unknown"})
    controller.on_event("DEVICE_DELETED", {})
    assert controller.state.running.domain == before
    controller.on_event("DEVICE_DELETED", {"device": disk.alias})
    assert disk not in controller.state.running.domain.devices
    assert b"a2.img" not in (controller.machine.home / "definition.xml").read_bytes()
    assert site.wakes == [Priority.DRIFT] * 3


async def test_a_connection_that_closes_is_a_reason_to_look_unless_the_vm_is_silent(site):
    controller = await site.up()
    controller.on_disconnect()
    assert site.wakes == [Priority.DRIFT]
    site.hypervisor.processes["a"].state = VmState.UNKNOWN
    assert await passed(controller) == pytest.approx(1.005)
    controller.on_disconnect()
    assert site.wakes == [Priority.DRIFT]


async def test_an_end_of_a_stop_that_was_asked_for_is_not_an_exit(site):
    controller = await site.up()
    controller.on_end(ExitEvidence(code=0), requested=True)
    assert (site.wakes, site.told("domain.exited")) == ([Priority.EXIT], [])
    controller.on_end(ExitEvidence(signal=9), requested=False)
    event, = site.told("domain.exited")
    assert (event["reason"], event["signal"]) == ("killed", 9)
    last = controller.state.attempts.last_exit
    assert (last.at, last.wall) == (1000.0, 1_800_000_000.0)


# Prerequisites, holds, saving


async def test_a_file_that_a_failed_start_needs_is_worth_an_attempt_at_once(site, tmp_path):
    controller = site.domain()
    image = tmp_path / "images" / "a.img"
    image.unlink()
    await passed(controller)
    assert controller.state.plan.ready.reason == "BackOff"
    await controller.prerequisites_checked()
    assert site.wakes == []
    image.write_bytes(b"x")
    site.watched[image.parent]()
    await controller.prerequisites_checked()
    assert site.wakes == [Priority.FILE]
    await passed(controller)
    assert controller.state.plan.is_ready


async def test_a_hold_ends_by_itself_and_is_looked_at_then(site):
    controller = site.domain()
    until = site.environment.now().wall + 60
    controller.apply(HoldSet(site.environment.now(), replace(ME, until=until)))
    assert await passed(controller) == pytest.approx(60.05)
    assert controller.state.record.hold is not None
    await asyncio.sleep(60.05)
    site.forget_calls()
    await passed(controller)
    assert site.acts == ["domain.released", *STARTED]
    assert controller.state.record.hold is None
    assert site.store.all("")[0].hold is None


async def test_a_hold_that_ends_later_than_the_next_full_look_does_not_delay_it(site):
    controller = site.domain()
    until = site.environment.now().wall + 500
    controller.apply(HoldSet(site.environment.now(), replace(ME, until=until)))
    assert await passed(controller) == 100.0
    controller.apply(HoldSet(site.environment.now(), ME))
    assert await passed(controller) == 100.0


async def test_what_is_accepted_while_a_domain_is_held_is_on_disk(site):
    controller = await site.up()
    controller.apply(HoldSet(site.environment.now(), ME))
    site.accept(controller, memory=256)
    kept, = site.store.all(controller.state.config.boot_id)
    assert kept == controller.state.record
    assert kept.generation == 2


async def test_only_a_changed_record_is_written(site, tmp_path):
    controller = await site.up()
    file, = (tmp_path / "state" / "domains").iterdir()
    before = file.stat().st_mtime_ns, file.stat().st_ino
    await passed(controller)
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before
    count = len(site.changes)
    controller.apply(HoldSet(site.environment.now(), ME))
    assert len(site.changes) == count + 1
    assert site.changes[-1] is controller.state


async def test_a_definition_that_was_applied_is_archived_and_a_full_disk_stops_nothing(
        site, tmp_path):
    controller = await site.up()
    text, = (tmp_path / "state" / "history" / controller.uuid).iterdir()
    assert text.read_bytes() == site.read()[1]
    (tmp_path / "state" / "history").rename(tmp_path / "away")
    (tmp_path / "state" / "history").touch()
    site.accept(controller, memory=256)
    await passed(controller)
    assert controller.state.plan.is_ready


async def test_a_controller_that_is_closed_follows_nothing(site):
    site.hypervisor.faults["launch"] = StartFailed("no luck")
    controller = site.domain()
    await passed(controller)
    assert site.watched
    controller.close()
    assert (site.watched, controller.machine.closed) == ({}, True)


# Health

PROBED = {"devices": "<console type='pty'/>", "inner": (
    "<r:health interval='2s' start-period='10s' failures='1' on-failure='restart'>"
    "<r:console match='ready'/></r:health>")}


@pytest.fixture
def pty():
    """The two ends of a console."""
    guest, ours = os.openpty()
    tty.setraw(ours)
    yield guest, os.ttyname(ours)
    os.close(guest)
    os.close(ours)


async def test_a_guest_is_probed_until_it_is_healthy_and_its_dependents_may_start(site, pty):
    guest, console = pty
    site.hypervisor.consoles = {"serial_chardev": console}
    controller = site.domain(**PROBED)
    await passed(controller)
    assert controller.state.plan.ready.reason == "Starting"
    await asyncio.sleep(1)
    os.write(guest, b"ready")
    site.wakes.clear()
    await asyncio.sleep(2)
    assert site.wakes == [Priority.EXIT]
    assert [e["event"] for e in site.events][-1] == "domain.healthy"
    await passed(controller)
    assert controller.state.plan.is_ready
    assert controller.state.record.last_healthy == "100:0"


async def test_a_guest_that_is_not_healthy_in_time_is_replaced_and_probed_from_the_beginning(
        site, pty):
    site.hypervisor.consoles = {"serial_chardev": pty[1]}
    controller = site.domain(**PROBED)
    await passed(controller)
    site.environment.clocks = lambda: replace(type(site).clocks(site), clock=20.0)
    await asyncio.sleep(3)
    assert [e["event"] for e in site.events][-1] == "domain.unhealthy"
    site.environment.clocks = site.clocks
    site.forget_calls()
    await passed(controller)
    assert controller.state.attempts.exits == {"unhealthy": 1}
    assert site.acts == ["domain.restarting", *STOPPED, *STARTED]
    assert controller.state.plan.ready.reason == "Starting"
    assert controller.state.attempts.restarts == 1


@pytest.mark.parametrize("state", ["paused", "stopped"])
async def test_no_other_guest_is_probed(site, state):
    controller = await site.up(state=state, **PROBED)
    assert site.tasks == []
    assert controller.state.plan.condition("Healthy") is None


async def test_probing_ends_with_the_process(site, pty):
    site.hypervisor.consoles = {"serial_chardev": pty[1]}
    controller = site.domain(**PROBED)
    await passed(controller)
    task, = site.tasks
    controller.machine.end(ExitEvidence(signal=9))
    await passed(controller)
    await asyncio.sleep(0)
    assert task.cancelled()
    controller.close()
