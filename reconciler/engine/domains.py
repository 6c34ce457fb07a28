"""All domains: a controller for each, by uuid.

Between the source, which says what the domains should be, and control/, which keeps one of them.
The identity of a domain is its uuid; a file with another uuid but the name of a known domain gives
that domain another uuid, unless a file of the same look claims the known one (docs/decisions/0006).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.engine.control.controller import DomainController
from reconciler.engine.decide.events import DefinitionAccepted, Faulted, Priority
from reconciler.engine.decide.identity import owners
from reconciler.engine.decide.state import DomainRecord
from reconciler.failpoints import Point
from reconciler.stratovirt.record import load, save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from reconciler.domain.model import Domain
    from reconciler.engine.control.coordinator import Coordinator
    from reconciler.engine.control.environment import Environment
    from reconciler.engine.control.work_queue import WorkQueue
    from reconciler.stratovirt.recognition import RunningVm


class Domains:
    """`removed` hears of each domain that is not kept any more, by uuid."""

    def __init__(self, environment: Environment, coordinator: Coordinator, queue: WorkQueue,
                 removed: Callable[[str], None]) -> None:
        self._environment = environment
        self._coordinator = coordinator
        self._queue = queue
        self._removed = removed
        self._controllers: dict[str, DomainController] = {}

    def __iter__(self) -> Iterator[DomainController]:
        """A copy: domains may come and go meanwhile."""
        return iter(tuple(self._controllers.values()))

    def __len__(self) -> int:
        return len(self._controllers)

    def get(self, uuid: str) -> DomainController | None:
        """By identity."""
        return self._controllers.get(uuid)

    def known(self, uuid: str) -> DomainController:
        """By identity; raises KeyError for one that is not known."""
        return self._controllers[uuid]

    def named(self, name: str) -> DomainController | None:
        """By name or uuid, as a user writes it."""
        return next((c for c in self._controllers.values() if name in (c.name, c.uuid)), None)

    def add(self, record: DomainRecord, home: str = "") -> DomainController:
        """A domain that was not known; `home`: the name that its VM runs under, if another."""
        controller = DomainController(record, self._environment,
                                      lambda priority: self._wake(controller, priority), home)
        self._controllers[record.uuid] = controller
        self._coordinator.update(controller.state)
        return controller

    def recover(self, vms: Path, running: Iterable[RunningVm] = ()) -> list[str]:
        """A controller for each domain that was kept, or whose VM is in its directory.

        `running`: the processes of these VMs, which may run without a directory or a record.
        Returns a sentence for each damaged file, which is kept aside.
        """
        self._environment.store.finish()
        self._environment.saved.set()
        records = {r.uuid: r for r in self._environment.store.all(self._environment.config.boot_id)}
        damaged = self._environment.store.put_aside()
        names = {record.name: record for record in records.values()}
        homes: dict[str, str] = {}
        for home in sorted(vms.iterdir()):
            found = load(home)
            if found is None:
                continue
            if found.uuid not in records and home.name in names:
                # Its file got another uuid, and the reconciler ended before that was noted here.
                found = replace(found, uuid=names[home.name].uuid)
                with suppress(OSError):
                    save(home, found)
            if found.uuid not in records:
                records[found.uuid] = DomainRecord(found.uuid, found.name, found.generation,
                                                   places=found.places)
            # A domain that was renamed runs under its old name until it is recreated.
            if found.uuid not in homes or found.pid is not None:
                homes[found.uuid] = home.name
        taken = set(homes.values())
        for vm in running:  # its record is damaged, or was deleted
            if vm.uuid in records and vm.uuid not in homes and vm.home.name not in taken:
                homes[vm.uuid] = vm.home.name
        for uuid, record in records.items():
            named = record.name != uuid  # a damaged record has no name
            self.add(record if named else replace(record, name=homes.get(uuid, uuid)),
                     homes.get(uuid, ""))
        return damaged

    def owners_of(self, accepted: Mapping[str, Domain]) -> dict[str, DomainController]:
        """The controller of each of these domains, by their key; new domains get one."""
        known = {c.uuid: c.name for c in self._controllers.values()}
        return {key: self.add(DomainRecord(accepted[key].uuid, accepted[key].name))
                if uuid is None else self._controllers[uuid]
                for key, uuid in owners(accepted, known).items()}

    def accept(self, controller: DomainController, event: DefinitionAccepted) -> None:
        """Give a domain its definition, which may change its name and its uuid."""
        old = controller.uuid
        self._environment.reached(Point.ACCEPT)
        controller.apply(event)
        if controller.uuid == old:
            return
        del self._controllers[old]
        self._controllers[controller.uuid] = controller
        self._coordinator.remove(old)
        self._coordinator.update(controller.state)
        self._queue.forget(old)
        self._removed(old)
        controller.machine.change_uuid(controller.uuid)
        with suppress(OSError):  # a full disk: the history is not listed any more
            self._environment.reached(Point.MOVE_HISTORY)
            self._environment.archive.move(old, controller.uuid)
        self._queue.wake(controller.uuid, Priority.FILE)  # what woke it before had another key

    async def run_pass(self, uuid: str, priority: Priority) -> float | None:
        """One pass of a domain; seconds until the next look."""
        controller = self._controllers.get(uuid)
        if controller is None:
            return None
        delay = await controller.reconcile(priority)
        if controller.state.forgotten:
            del self._controllers[controller.uuid]
            controller.close()
            self._queue.forget(controller.uuid)
            self._coordinator.remove(controller.uuid)
            self._removed(controller.uuid)
        return delay

    def fault(self, uuid: str, message: str) -> str:
        """An error of the reconciler in a domain's pass: nothing is known of it; its name."""
        controller = self._controllers.get(uuid)
        if controller is None:
            return uuid
        controller.apply(Faulted(self._environment.now(), message))
        return controller.name

    def save_again(self) -> None:
        """Keep what a full disk did not take, now that there may be room."""
        for uuid in tuple(self._environment.unsaved):
            controller = self._controllers.get(uuid)
            if controller is not None and not controller.state.forgotten:
                self._environment.save(controller.state.record)
            else:
                del self._environment.unsaved[uuid]

    def close(self) -> None:
        """Stop following the VMs, which keep running."""
        for controller in self._controllers.values():
            controller.close()

    def _wake(self, controller: DomainController, priority: Priority) -> None:
        if self._controllers.get(controller.uuid) is controller:
            self._queue.wake(controller.uuid, priority)
