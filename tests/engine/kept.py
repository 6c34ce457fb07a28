"""Domains on a model of the hypervisor, as the daemon wires them."""

from __future__ import annotations

from dataclasses import replace

from reconciler.engine.control.coordinator import Coordinator
from reconciler.engine.control.work_queue import WorkQueue
from reconciler.engine.decide.constraints import Limits
from reconciler.engine.decide.events import DefinitionAccepted
from reconciler.engine.decide.state import StoredDefinition
from reconciler.engine.domains import Domains
from tests.engine.control.machines import Site


class Kept:
    def __init__(self, site: Site) -> None:
        self.site, self.removed, self.passes = site, [], []
        self.coordinator = Coordinator(Limits(1, None), lambda uuid: None, lambda uuid: None,
                                       lambda uuid: True)
        site.environment.changed = self.coordinator.update
        site.environment.surroundings = self.coordinator.surroundings
        self.queue = WorkQueue(self.work, lambda key, error: 30.0, site.spawn)
        self.domains = Domains(site.environment, self.coordinator, self.queue, self.removed.append)

    async def work(self, uuid, priority):
        self.passes.append((uuid, priority))
        return await self.domains.run_pass(uuid, priority)

    def accept(self, *files):
        """One look at the source: each file as name, uuid and memory."""
        accepted = {}
        for name, uuid, memory in files:
            domain, text = self.site.read(name, memory=memory)
            accepted[name] = replace(domain, uuid=uuid)
        for name, controller in self.domains.owners_of(accepted).items():
            self.domains.accept(controller, DefinitionAccepted(
                self.site.environment.now(), accepted[name],
                StoredDefinition(
                    self.site.read(name)[1].decode(), f"{name}.xml",
                    self.site.host.keep())))

    def names(self):
        return {c.uuid: c.name for c in self.domains}
