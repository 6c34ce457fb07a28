"""Changes of a running VM, one after the other: what is made, deferred, or needs a restart."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.engine.decide.events import HoldSet, Priority
from reconciler.engine.decide.inputs import Hold, WaitsFor
from reconciler.errors import GuestUnwilling, QmpInactive, QmpRefused

pytestmark = pytest.mark.simulated_time
BALLOON = b"</memory><currentMemory unit='MiB'>64</currentMemory>"
SECOND = ("<disk type='file'><source file='{0}.img'/><target dev='{0}' bus='virtio'/>"
          "<serial>{0}</serial></disk>")
REMOVE, INFLATE = "adjust device_del blockdev-del", "adjust balloon"


def disks(tmp_path, *names):
    for name in names:
        (tmp_path / "images" / f"{name}.img").touch()
    return "".join(SECOND.format(name) for name in names)


def balloon(site, controller, **values):
    """The file of the domain with a smaller balloon, and perhaps with more."""
    site.accept_text(controller, site.read(**values)[1].replace(b"</memory>", BALLOON))
    site.forget_calls()


def acts(site):
    return [act for act in site.acts if act.startswith(("adjust", "stop"))]


async def test_each_change_is_reported_before_it_is_made_and_all_at_once_afterwards(site, tmp_path):
    controller = await site.up()
    balloon(site, controller, devices=disks(tmp_path, "vdb"))
    await controller.reconcile(Priority.FILE)
    begun = [e["message"] for e in site.told("action.started")]
    assert [message.rpartition(": ")[2] for message in begun] == [
        "all → 64 MiB", f"none → {tmp_path / 'images' / 'vdb.img'}"]
    event, = site.told("domain.updated")
    assert event["message"] == ", ".join(begun)
    assert "stop graceful 30" not in site.acts
    assert controller.state.last_known_good == controller.state.domain
    assert "disk:vdb" in str(controller.state.record.places)
    assert controller.state.plan.pending == ()


@pytest.mark.parametrize("error", [QmpRefused("no luck"), GuestUnwilling("busy")])
async def test_a_late_change_that_fails_waits_for_the_guest_and_never_for_a_restart(site, error):
    controller = await site.up()
    site.hypervisor.faults[INFLATE] = error
    balloon(site, controller)
    assert await controller.reconcile(Priority.FILE) == pytest.approx(1.005)
    assert acts(site) == [INFLATE]
    event, = site.told("action.failed")
    assert (event["reason"], event["severity"], event["action"]) == (error.reason, "info", "update")
    assert controller.state.plan.ready.reason == "ChangesDeferred"
    assert controller.state.attempts.needs_restart_generation == 0
    site.hypervisor.faults.clear()
    await asyncio.sleep(1.01)
    await controller.reconcile(Priority.FILE)
    assert acts(site) == [INFLATE, INFLATE]
    assert controller.state.plan.is_ready
    assert controller.state.deferred_changes == ()


async def test_a_device_that_the_guest_has_no_driver_for_waits_and_the_others_are_made(
        site, tmp_path):
    controller = await site.up(devices=disks(tmp_path, "vdb"))
    site.hypervisor.faults[REMOVE] = QmpInactive("no driver")
    balloon(site, controller)
    await controller.reconcile(Priority.FILE)
    assert INFLATE in acts(site)
    assert controller.state.attempts.needs_restart_generation == 0
    assert [d.reason for d in controller.state.deferred_changes] == ["no driver"]
    assert len(site.told("domain.updated")) == 1
    assert "stop graceful 30" not in acts(site)


async def test_a_change_that_fails_needs_a_restart_and_ends_the_update(site, tmp_path):
    controller = await site.up(devices=disks(tmp_path, "vdb"))
    site.hypervisor.faults[REMOVE] = QmpRefused("no luck")
    balloon(site, controller)
    await controller.reconcile(Priority.FILE)
    assert acts(site)[:2] == [REMOVE, "stop graceful 30"]
    event, = site.told("action.failed")
    assert event["hint"].startswith("needs a restart of the VM")
    # With its next start the VM has everything but the balloon, which then is made.
    assert acts(site)[2:] == [INFLATE]
    assert controller.state.plan.is_ready


async def test_a_hold_between_two_changes_ends_the_update(site, tmp_path):
    controller = await site.up()
    site.hypervisor.during[INFLATE] = lambda: controller.apply(
        HoldSet(site.environment.now(), Hold("repair", "me")))
    balloon(site, controller, devices=disks(tmp_path, "vdb"))
    await controller.reconcile(Priority.FILE)
    assert acts(site) == [INFLATE]
    assert controller.state.running.domain.current_memory == 64 << 20
    assert controller.state.plan.held
    assert [p.change.path.partition("[")[0] for p in controller.state.plan.pending] == ["disk"]


async def test_processors_come_one_by_one(site):
    def with_vcpus(count):
        return site.read()[1].replace(
            b"<os>", f"<vcpu current='{count}'>4</vcpu><os>".encode())

    controller = site.domain()
    site.accept_text(controller, with_vcpus(1))
    await controller.reconcile(Priority.FILE)
    site.accept_text(controller, with_vcpus(3))
    site.forget_calls()
    await controller.reconcile(Priority.FILE)
    assert acts(site) == ["adjust device_add"] * 2
    assert controller.state.running.domain.current_vcpus == 3
    assert len(site.told("action.started")) == 1


async def test_only_changes_that_wait_for_nothing_are_made(site):
    """The balloon may change now; the memory waits for a user's restart."""
    controller = await site.up(inner="<r:update policy='live'/>")
    good = controller.state.last_known_good
    balloon(site, controller, memory=256, inner="<r:update policy='live'/>")
    await controller.reconcile(Priority.FILE)
    assert acts(site) == [INFLATE]
    assert len(site.told("action.started")) == 1
    assert [p.waits_for for p in controller.state.plan.pending] == [WaitsFor.POLICY]
    assert controller.state.running.domain.memory == 128 << 20
    assert controller.state.last_known_good == good  # it does not have all of the newest one
