"""Makes the changes of a plan that a running VM can be given, one after the other.

Changes no state: the outcome of each change is reported as an event, and what the VM has after it
is read from the state that follows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.domain.difference import differences
from reconciler.domain.hot_change import adjustment
from reconciler.domain.model import Impact
from reconciler.domain.numbers import identity
from reconciler.domain.writer import write
from reconciler.engine.control.executor import since
from reconciler.engine.decide.events import (
    ChangeBegun,
    ChangeDeferred,
    ChangeFailed,
    ChangeMade,
    ChangesEnded,
)
from reconciler.errors import HypervisorError, QmpInactive

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.domain.model import Domain
    from reconciler.domain.place import Place
    from reconciler.engine.control.environment import Environment
    from reconciler.engine.decide.events import Event
    from reconciler.engine.decide.inputs import Pending
    from reconciler.engine.decide.state import DomainState
    from reconciler.stratovirt.vm import VirtualMachine


@dataclass(frozen=True, slots=True)
class LiveUpdate:
    """The changes of one plan. `state` is the newest state, `apply` the only way to change it."""

    environment: Environment
    machine: VirtualMachine
    state: Callable[[], DomainState]
    apply: Callable[[Event], None]
    interrupted: Callable[[], bool]

    async def run(self) -> bool:
        """Make every change that may be made now; False if something newer came in between."""
        begun, before = time.monotonic(), self.state()
        domain, decided = before.domain, before.plan
        made: list[str] = []
        if domain is None:
            return True
        for pending in decided.pending:
            if pending.waits_for is not None or pending.change.impact is Impact.RECREATE:
                continue
            if self.interrupted():
                return False
            shown = f"{pending.change.path}: {pending.change.old} → {pending.change.new}"
            self.apply(ChangeBegun(self.environment.now(), shown))
            try:
                await self._make(pending.change.path, domain)
            except HypervisorError as error:
                if not self._failed(pending, shown, error):
                    return True
            else:
                made.append(shown)
        self.apply(ChangesEnded(self.environment.now(), tuple(made),
                                len(made) == len(decided.pending), before.record.generation,
                                since(begun)))
        return True

    def _failed(self, pending: Pending, shown: str, error: HypervisorError) -> bool:
        """Whether the others are still made: a change that needs a restart ends the update."""
        now, path = self.environment.now(), pending.change.path
        # No start has a late change, so that a restart would not help.
        if pending.late or isinstance(error, QmpInactive):
            self.apply(ChangeDeferred(now, path, shown, error.reason, str(error)))
            return True
        self.apply(ChangeFailed(now, shown, error.reason, str(error)))
        return False

    async def _make(self, path: str, domain: Domain) -> None:
        """All of one change; processors come and go one by one.

        `domain` is what was decided on: by now there may be a newer one that wants the opposite.
        """
        while (running := self.state().running) is not None:
            left = {change.path: change for change in differences(running.domain, domain)}
            if path not in left:
                return
            places = self.state().record.places
            step = adjustment(left[path], running.domain, domain, places)
            await self.machine.adjust(step, write(step.after).encode(),
                                      manage_taps=self.environment.manage_taps)
            self.apply(ChangeMade(self.environment.now(), path, step.after,
                                  {**places, **_places(step.after, domain)}))


def _places(running: Domain, domain: Domain) -> dict[str, Place]:
    """Where the devices of the file sit by now: also at the next start."""
    known = {identity(device) for device in domain.devices if device.PLUGGED}
    return {identity(d): d.place for d in running.devices
            if d.place is not None and identity(d) in known}
