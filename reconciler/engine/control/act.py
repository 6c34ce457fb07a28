"""Carries out one step of a plan on one VM. Decides nothing; waits in lanes and with limits.

Launching and signalling are whole; only waiting (for a place, for the VM to answer) ends early when
a newer definition comes, and then the next pass looks at what is there.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.engine.control.live_update import update
from reconciler.engine.control.running_definition import of_layout
from reconciler.engine.control.wellness import proving
from reconciler.engine.decide.disruption import stopping
from reconciler.engine.decide.inputs import Cause, Plan, Step, Verb
from reconciler.errors import NameTaken
from reconciler.report.events import timestamp
from reconciler.stratovirt.addresses import lay_out
from reconciler.stratovirt.prepare import HostResources, StartRequest, released_on_failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.domain.model import Domain
    from reconciler.engine.control.controller import DomainController
    from reconciler.engine.control.work_queue import Priority, PrioritySemaphore
    from reconciler.engine.records.store import StoredDefinition


class Actor:
    """Acts for one keeper."""

    def __init__(self, keeper: DomainController) -> None:
        self._keeper = keeper
        self.starting = False  # until it is up, an end is a failed start and no exit
        self._begun: float | None = None  # when it was launched here
        self._launched: Domain | None = None  # and with which definition
        self.launching: Domain | None = None  # what is on its way up, until it is observed

    async def act(self, step: Step, decided: Plan, urgency: Priority) -> bool:
        """Do it; False when something newer made it pointless. Raises Hypervisor-, HostError."""
        if self._keeper.newer().is_set():
            return False
        if step.verb is Verb.CHECK:
            await self._check()
            return True
        if step.verb in (Verb.START, Verb.START_PAUSED):
            return await self._in_lane(self._keeper.context.starts, urgency,
                                       lambda: self._start(step, decided.cause))
        if step.verb is Verb.STOP:
            return await self._in_lane(self._keeper.context.stops, urgency,
                                       lambda: self._stop(decided.cause))
        if step.verb is Verb.FORGET:
            self._forget(decided.cause)
            return True
        if step.verb is Verb.UPDATE:
            await self._check()
            return await update(self._keeper, decided)
        await self._pause_or_resume(step.verb, decided.cause)
        return True

    async def _check(self) -> None:
        domain = self._keeper.domain
        if domain is not None:
            await asyncio.to_thread(self._keeper.context.check, domain)

    async def _start(self, step: Step, cause: Cause) -> bool:
        keeper = self._keeper
        text = keeper.memory.good if step.rollback else keeper.memory.definition
        domain = keeper.good if step.rollback else keeper.domain
        if domain is None or text is None:
            return True
        self._begun, self.launching = time.monotonic(), domain
        keeper.tell("domain.starting", durable=True, action=step.verb, cause=cause, pid=None,
                    file=text.file, revision=text.revision,
                    attempt=keeper.ledger.failures.count + 1)
        self._move_home(domain)
        order = self._order(domain, text, step)
        made = await asyncio.to_thread(self._prepare, order)
        self.starting = True
        try:
            with released_on_failure(made):
                keeper.machine.launch(order, made, timestamp())
            keeper.applied, keeper.applied_text = of_layout(domain, order.layout), text
            self._launched = domain
            keeper.remember(places=dict(order.layout.places))
            return await self.see_up(step.verb, cause)
        finally:
            self.starting = False

    def _prepare(self, order: StartRequest) -> HostResources:
        """Look at all that it needs, then make what is ours to make; in a thread."""
        self._keeper.context.check(order.domain)
        return self._keeper.machine.prepare(order)

    async def see_up(self, verb: Verb, cause: Cause) -> bool:
        """Wait until what was launched answers; then its definition is the last that came up."""
        keeper = self._keeper
        self.starting = True
        try:
            if not await self._until_newer(keeper.machine.wait_until_up()):
                return False
        finally:
            self.starting = False
        text = keeper.applied_text
        if text is not None and not proving(keeper):
            keeper.good = self._launched or keeper.context.read(text)
            keeper.remember(good=text)
        process = keeper.machine.process
        keeper.tell("domain.started", action=verb, cause=cause, pid=process and process.pid,
                    revision=text and text.revision, paused=verb is Verb.START_PAUSED or None,
                    durationMs=self._begun and _since(self._begun))
        return True

    def _order(self, domain: Domain, text: StoredDefinition, step: Step) -> StartRequest:
        context, paused = self._keeper.context, step.verb is Verb.START_PAUSED
        # Whatever goes back to an older one must not be taken for the newest that came up.
        generation = self._keeper.memory.generation - step.rollback
        return StartRequest(domain, text.data, lay_out(
            domain, self._keeper.memory.places, context.settings.defaults.spare_ports),
            context.program_of(domain), paused, generation, text.read_with,
            context.manage_taps, context.simulated)

    def _move_home(self, domain: Domain) -> None:
        """A domain that was renamed starts in the directory of its new name, once it is free."""
        keeper = self._keeper
        if keeper.machine.home.name != domain.name:
            fresh = keeper.context.machine(domain.name, keeper)
            if fresh.occupied():
                raise NameTaken(f"another VM still runs as '{domain.name}'",
                                hint="it is tried again until that one has gone")
            keeper.machine.abandon(keeper.uuid)
            keeper.machine.close()
            keeper.machine = fresh

    async def _stop(self, cause: Cause) -> bool:
        keeper = self._keeper
        begun, pid = time.monotonic(), keeper.vm.pid
        keeper.tell("domain.stopping", durable=True, action=Verb.STOP, cause=cause)
        domain = keeper.domain or keeper.applied
        how = stopping(domain, keeper.applied, keeper.context.settings.arch)
        await keeper.machine.stop(how.mode, how.patience, agent_socket=how.agent,
                                  power_button=how.button)
        keeper.tell("domain.stopped", action=Verb.STOP, cause=cause, pid=pid,
                    durationMs=_since(begun))
        return True

    async def _pause_or_resume(self, verb: Verb, cause: Cause) -> None:
        keeper = self._keeper
        begun = time.monotonic()
        if verb is Verb.PAUSE:
            keeper.tell("domain.pausing", durable=True, action=verb, cause=cause)
            await keeper.machine.pause()
        else:
            keeper.tell("action.started", durable=True, action=verb, cause=cause)
            await keeper.machine.resume()
        keeper.tell("domain.paused" if verb is Verb.PAUSE else "domain.resumed", action=verb,
                    cause=cause, durationMs=_since(begun))

    def _forget(self, cause: Cause) -> None:
        keeper = self._keeper
        keeper.tell("action.started", durable=True, action=Verb.FORGET, cause=cause)
        keeper.machine.forget()
        keeper.forgotten = True
        context, memory = keeper.context, keeper.memory
        context.store.remove(keeper.uuid)
        with suppress(OSError):  # a full disk keeps no VM
            context.archive.bury(keeper.uuid, keeper.name, memory.definition,
                                 context.settings.prune.keep_definitions)
        keeper.tell("domain.destroyed", action=Verb.FORGET, cause=cause)

    async def _in_lane(self, lane: PrioritySemaphore, urgency: Priority,
                       act: Callable[[], Awaitable[bool]]) -> bool:
        if not await self._until_newer(lane.enter(urgency)):
            return False
        try:
            return not self._keeper.newer().is_set() and await act()
        finally:
            lane.leave()

    async def _until_newer(self, wait: Awaitable[None]) -> bool:
        """Wait, but not longer than the definition is the newest; whether the wait ended."""
        waiting = asyncio.ensure_future(wait)
        newer = asyncio.ensure_future(self._keeper.newer().wait())
        try:
            await asyncio.wait({waiting, newer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            newer.cancel()
            if not waiting.done():
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
        if waiting.cancelled():
            return False
        waiting.result()
        return True


def _since(begun: float) -> float:
    return round((time.monotonic() - begun) * 1000, 1)
