"""The daemon as a whole: an error of the reconciler in a domain's pass."""

from __future__ import annotations

from reconciler.engine.daemon import Daemon
from tests.engine.making import Place, running, settled, state_of, until


class FaultyVm:
    """A VM whose observation raises an error that the reconciler does not expect, if it is set."""

    def __init__(self, vm, daemon):
        self._vm = vm
        self._daemon = daemon

    def __getattr__(self, name):
        return getattr(self._vm, name)

    async def observe(self):
        if self._daemon.error is not None:
            raise self._daemon.error
        return await self._vm.observe()


class FaultyDaemon(Daemon):
    error: Exception | None = None

    def machine(self, name, uuid, listener):
        return FaultyVm(super().machine(name, uuid, listener), self)


class FaultyPlace(Place):
    kind = FaultyDaemon


async def test_rule_9_after_an_internal_error_nothing_is_known_of_the_domain(tmp_path):
    place = FaultyPlace(tmp_path)
    place.drop("a")
    async with running(place) as daemon:
        await until(daemon, settled(daemon, 1))
        assert state_of(daemon).plan.ready.status == "True"
        daemon.error = AttributeError("no such thing")
        place.drop("a", memory=256)
        event = await place.until_reported("domain.stalled")
        ready = daemon.publisher.value()["domains"][0]["conditions"][0]
        assert (ready["status"], ready["reason"]) == ("Unknown", "InternalError")
        assert "no such thing" in ready["message"]
        assert (event["domain"], event["reason"]) == ("a", "InternalError")
        assert "no such thing" in event["traceback"]
