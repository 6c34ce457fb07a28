"""How a controller carries out a plan, on the model of a host in tests/property/world.py."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from reconciler.engine.decide.events import RestartAsked
from reconciler.engine.decide.inputs import VmState
from reconciler.stratovirt.binary import Binary
from reconciler.stratovirt.observation import ExitEvidence
from tests.engine.making import Place, until
from tests.property.world import ModelDaemon, World

pytestmark = pytest.mark.simulated_time
DISK = "<disk type='file'><source file='more.img'/><target dev='vdb' bus='virtio'/></disk>"
DEPENDS = "<r:depends-on domain='a'/>"


class ModelPlace(Place):
    kind = ModelDaemon

    def __init__(self, path) -> None:
        super().__init__(path, "source: {settle: 0s}\nprune: {settle: 0s}\n")
        (path / "images" / "more.img").touch()
        self.world = World(judge=lambda name, process: None)

    def make(self) -> ModelDaemon:
        ModelDaemon.world = self.world
        return super().make()

    def binary(self) -> Binary:
        return Binary(("sim",), simulated=True)

    async def look(self, daemon) -> None:
        await daemon.source.look()
        await daemon.queue.rest()


@asynccontextmanager
async def looking(place):
    """A daemon whose looks at the source are made by hand."""
    daemon = place.make()
    await daemon.begin()
    try:
        await place.look(daemon)
        yield daemon
    finally:
        await daemon.end()
        daemon.environment.journal.close()


async def test_a_restart_is_one_plan_from_the_stop_until_the_vm_is_up(tmp_path):
    """That the request is fulfilled by the launch does not interrupt the wait for the VM."""
    place = ModelPlace(tmp_path)
    place.drop("a", "running")
    async with looking(place) as daemon:
        controller, = daemon.domains
        before = controller.state.vm.pid
        controller.apply(RestartAsked(daemon.environment.now()))
        await until(daemon, lambda: controller.state.vm.pid not in (before, None)
                    and controller.state.plan.is_ready)
        started = place.reported("domain.started")[-1]
        assert started["cause"] == "command"
        assert "durationMs" in started
        assert controller.state.last_action.cause == "command"
        names = [e["event"] for e in place.events if e.get("domain") == "a"]
        assert names[-5:] == ["domain.restarting", "domain.stopping", "domain.stopped",
                              "domain.starting", "domain.started"]


async def test_a_live_change_that_the_host_refuses_fails_and_is_attempted_again(tmp_path):
    place = ModelPlace(tmp_path)
    place.drop("a", "running")
    async with looking(place) as daemon:
        controller, = daemon.domains
        place.world.faults = {"a": {"host"}}
        place.drop("a", "running", devices=DISK)
        await place.look(daemon)
        failed, = place.reported("action.failed")
        assert (failed["error"], failed["action"], failed["reason"]) == (
            "the model's host has no such bridge", "update", "MissingFile")
        assert controller.state.plan.ready.reason == "BackOff"
        place.world.faults = {}
        await until(daemon, lambda: controller.state.plan.is_ready)
        assert controller.state.plan.pending == ()
        assert controller.state.vm.pid == place.world.processes["a"].pid == 100


async def test_a_recreate_does_not_stop_a_vm_and_then_wait_for_a_dependency(tmp_path):
    """A dependency that is down keeps a domain from its first start, not from a recreate."""
    place = ModelPlace(tmp_path)
    place.drop("a", "running", inner="<r:restart policy='never'/>")
    place.drop("b", "running", inner=DEPENDS)
    async with looking(place) as daemon:
        place.world.end("a", ExitEvidence(code=0))
        await daemon.queue.rest()
        assert daemon.domains.named("a").state.attempts.down_reason
        place.drop("b", "running", memory=256, inner=DEPENDS)
        await place.look(daemon)
        state = daemon.domains.named("b").state
        assert (state.vm.state, state.plan.is_ready) == (VmState.RUNNING, True), state.plan
        assert place.world.processes["b"].domain.memory == 256 << 20


NEW = "22222222-2222-4222-8222-222222222222"


def with_uuid(place) -> None:
    data = place.file("a").read_bytes().replace(
        b"<name>a</name>", f"<name>a</name><uuid>{NEW}</uuid>".encode())
    place.file("a").write_bytes(data)


async def test_a_domain_that_gets_another_uuid_is_kept_once_at_every_moment(tmp_path):
    """Also if the reconciler is killed just then: a second record would be one without a file."""
    place, records = ModelPlace(tmp_path), tmp_path / "state" / "domains"
    place.drop("a", "running")
    seen = []

    class Events(list):
        def append(self, event):
            if event["event"] == "domain.accepted":
                seen.append([path.name for path in records.glob("*.json")])
            super().append(event)

    place.events = Events()
    async with looking(place) as daemon:
        with_uuid(place)
        await place.look(daemon)
        assert seen[1:] == [[f"{NEW}.json"]]
        assert [path.name for path in records.glob("*.json")] == [f"{NEW}.json"]
