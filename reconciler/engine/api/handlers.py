"""Answers the API requests: one handler for each row of report/requests.py.

They read what is published, or report an event to a domain; nothing is decided here.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from reconciler.engine.decide.disruption import stopping, stops_by, weigh
from reconciler.engine.decide.events import HoldOfAllEnded, HoldSet, Priority, RestartAsked
from reconciler.engine.decide.gather import decide
from reconciler.engine.decide.inputs import Hold, Removal
from reconciler.engine.decide.state import EXPANDED
from reconciler.engine.dryrun.plan_view import expanded_from, explain_domain, plan_value, summary
from reconciler.engine.rollout.revision_status import unsettled
from reconciler.engine.status.gauges import gauges
from reconciler.errors import ReconcilerError, UsageError
from reconciler.report.metrics import CONTENT_TYPE
from reconciler.report.requests import PlainText, Request
from reconciler.stratovirt.process import command_line
from reconciler.units import nearest, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from reconciler.engine.control.environment import Environment
    from reconciler.engine.control.work_queue import WorkQueue
    from reconciler.engine.decide.state import DomainState
    from reconciler.engine.domains import Domains
    from reconciler.engine.source.source_sync import SourceSync
    from reconciler.engine.status.publisher import StatusPublisher
    from reconciler.report.metrics import Metrics
    from reconciler.report.requests import Call

LONGEST_WAIT = 600.0  # seconds
LONG_POLL = 25.0  # seconds
FILES_WAIT = 1.0  # seconds that `sync` waits for looks at files of domains that failed
FIRST_PLAN = 15.0  # seconds that a domain may take until it is observed for the first time

_Handler: TypeAlias = "Callable[[Handlers, Call], Coroutine[Any, Any, object]]"
_Method = TypeVar("_Method", bound=_Handler)
HANDLERS: dict[Request, _Handler] = {}


def _handles(*requests: Request) -> Callable[[_Method], _Method]:
    """Make the method below the handler of these requests; a request has one."""
    def bind(method: _Method) -> _Method:
        for request in requests:
            if HANDLERS.setdefault(request, method) is not method:
                raise TypeError(f"two handlers for {request.name}")
        return method
    return bind


@dataclass(frozen=True, slots=True)
class Handlers:
    """Answers for the command socket and HTTP."""

    environment: Environment
    domains: Domains
    source: SourceSync
    publisher: StatusPublisher
    queue: WorkQueue
    metrics: Metrics

    async def handle(self, call: Call) -> object:
        """One request; raises ReconcilerError."""
        return await HANDLERS[call.request](self, call)

    @_handles(Request.LIVE)
    async def _live(self, _call: Call) -> object:
        return {"live": True}

    @_handles(Request.READY)
    async def _ready(self, _call: Call) -> object:
        if not self.source.state.complete:
            raise UsageError("the source has not been read completely yet", reason="NotReady")
        return {"ready": True}

    def _state(self, call: Call) -> DomainState:
        return self._named(call.arguments["name"])

    def _named(self, name: str) -> DomainState:
        found = self.domains.named(name)
        if found is None:
            near = nearest(name, [c.name for c in self.domains])
            raise UsageError(f"no domain '{name}'{near}", reason="NotFound",
                             hint="`reconciler status` lists the domains")
        return found.state

    # What is known

    @_handles(Request.CONSOLES)
    async def _consoles(self, call: Call) -> object:
        controller = self.domains.known(self._state(call).uuid)
        return {"consoles": await controller.machine.consoles()}

    @_handles(Request.METRICS)
    async def _metrics(self, _call: Call) -> object:
        samples = gauges((c.state for c in self.domains), self.queue.depth, self.source.state)
        return PlainText(CONTENT_TYPE, self.metrics.page(samples))

    @_handles(Request.STATUS)
    async def _status(self, call: Call) -> dict[str, Any]:
        """The status; with `wait`, once it is a later one than that sequence (long poll).

        `limit` is how many seconds the client waits at most.
        """
        query, wait = call.query, call.query.get("wait", "")
        if wait.isdecimal():
            limit = min(LONG_POLL, _seconds(query.get("limit", str(LONG_POLL))))
            with suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    while self.publisher.sequence <= int(wait):
                        await self.publisher.next()
        return self.publisher.value()

    @_handles(Request.PLAN)
    async def _plans(self, call: Call) -> dict[str, Any]:
        name, source = call.query.get("name"), self.source.state
        chosen = [self._named(name)] if name else sorted(
            (c.state for c in self.domains), key=lambda state: state.name)
        plans = [await self._plan(state) for state in chosen]
        invalid = [{"file": r.file, "domain": r.name, "reason": r.reason,
                    "errors": [str(p) for p in r.problems]} for r in source.rejected]
        return {"plans": plans, "invalid": [] if name else invalid,
                "sourceError": str(source.error or ""),
                "elsewhere": [] if name else list(source.elsewhere),
                "summary": summary(plans)}

    async def _plan(self, asked: DomainState) -> dict[str, Any]:
        """The plan of what is known now; nothing is changed by asking for it."""
        controller = self.domains.known(asked.uuid)
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_PLAN):
                while not controller.state.plan.made:
                    await self.publisher.next()
        environment, state = self.environment, controller.state
        decided = decide(state, environment.clocks(), hold_of_all=environment.hold_of_all(),
                         surroundings=lambda: environment.surroundings(state))
        definition = state.record.definition
        there = definition is not None and state.removal is Removal.NONE
        return plan_value(state.name, state.uuid,
                          definition.file if there and definition else None, decided.plan,
                          weigh(decided.inputs, decided.plan, environment.settings.arch))

    @_handles(Request.EXPLAIN)
    async def _explain(self, call: Call) -> dict[str, Any]:
        environment, asked = self.environment, self._state(call)
        plan = await self._plan(asked)
        controller = self.domains.known(asked.uuid)
        state = controller.state
        domain, stored, again = state.domain, state.record.definition, state.plan.look_again_at
        running = state.running
        parts = self.publisher.value()["domains"]
        value = {"status": next(d for d in parts if d["uuid"] == state.uuid), "plan": plan,
                 "stopsBy": stops_by(stopping(
                     domain, running.domain if running else None, environment.settings.arch)),
                 "nextLook": again and round(max(0.0, again - environment.clocks().clock), 3)}
        if state.vm.pid is not None:
            value["runningCommandLine"] = command_line(state.vm.pid) or None
        if domain is not None and stored is not None:
            # With the lines of its own text, which tells what was written from what was filled in.
            own = environment.read(stored) or domain
            value |= explain_domain(
                own, stored.data, dict(state.record.places),
                environment.settings.defaults.spare_ports, environment.program_of(domain),
                controller.machine.home, environment.host.defaults)
            value |= expanded_from(stored.file, stored.read_with.get(EXPANDED, ""))
        return value

    # The source

    @_handles(Request.WEBHOOK)
    async def _webhook(self, _call: Call) -> object:
        self.environment.journal.write("hook.received", message="the source is read next")
        self.source.ask()
        return {"accepted": True}

    @_handles(Request.SYNC)
    async def _sync(self, call: Call) -> dict[str, Any]:
        """Read the source now; with `wait`, until all (or this one) is Ready or Stalled."""
        wait, name = _seconds(call.query.get("wait", "0")), call.query.get("name")
        before = self.source.begun  # one that is under way may have read the files already
        self.source.ask()
        with suppress(TimeoutError):  # a file that does not answer; the look at it goes on
            async with asyncio.timeout(FILES_WAIT):
                await asyncio.gather(*(c.prerequisites_checked() for c in self.domains))
        if wait <= 0:
            return {"handled": self.source.state.handled}
        with suppress(TimeoutError):
            async with asyncio.timeout(min(wait, LONGEST_WAIT)):
                while self._looking(before) or (
                        self.source.state.unfinished or self._unsettled(name)):
                    if self.source.state.error is not None and not self._looking(before):
                        break
                    await self.publisher.next()
        error = self.source.state.error
        return {"handled": self.source.state.handled, "error": error.advice if error else "",
                "waitingFor": sorted(self._unsettled(name))}

    def _looking(self, before: int) -> bool:
        return self.source.state.looks <= before or self.source.source.busy

    def _unsettled(self, name: str | None) -> list[str]:
        states = [c.state for c in self.domains]
        return [n for n in unsettled(states, self.source.leaving) if name in (None, n)]

    @_handles(Request.APPROVE, Request.APPROVE_ALL)
    async def _approve(self, call: Call) -> dict[str, Any]:
        token = call.arguments.get("token")
        names = self.source.approve(token)
        if not names:
            waiting = ", ".join(a.token for a in self.source.approvals())
            raise UsageError(f"nothing waits for approval under '{token}'" if token
                             else "nothing waits for approval", reason="Refused",
                             hint=f"waiting: {waiting}" if waiting else "`reconciler status` "
                                  "shows what waits for approval")
        return {"approved": names}

    # One domain

    @_handles(Request.START, Request.RESTART)
    async def _restart(self, call: Call) -> dict[str, Any]:
        """Now; with `generation`, only if that is still the one in force."""
        state, generation = self._state(call), call.query.get("generation")
        name = state.name
        verb = "start" if call.request is Request.START else "restart"
        if generation not in (None, str(state.record.generation)):
            raise UsageError(f"the definition of '{name}' changed since the plan was made",
                             reason="Refused", hint="make a new plan")
        if state.domain is None:
            raise UsageError(f"'{name}' has no valid definition to start", reason="Refused",
                             hint="`reconciler status` shows what is wrong with its file")
        if verb == "start" and state.vm.pid is not None:
            return {"domain": name, "asked": "nothing: already running"}
        if state.plan.held:
            raise UsageError(f"'{name}' is held", reason="Refused",
                             hint=f"`reconciler release {name}` first")
        if state.domain.policy.state == "stopped" and verb == "restart":
            raise UsageError(f"'{name}' is stopped by its file (state='stopped')",
                             reason="Refused",
                             hint=f"`reconciler start {name}` sets state='running' in the file")
        self.domains.known(state.uuid).apply(RestartAsked(self.environment.now()))
        return {"domain": name, "asked": verb}

    @_handles(Request.HOLD)
    async def _hold(self, call: Call) -> dict[str, Any]:
        state = self._state(call)
        await self._set_hold(state, self._asked_hold(call.query))
        return {"domain": state.name, "held": True}

    @_handles(Request.RELEASE)
    async def _release(self, call: Call) -> dict[str, Any]:
        state = self._state(call)
        name = state.name
        if state.record.hold is None:
            if state.domain is not None and state.domain.policy.hold:
                raise UsageError(f"'{name}' is held by its file", reason="Refused",
                                 hint="take hold='yes' out of the file")
            if self.environment.hold_of_all() is not None:
                raise UsageError(f"'{name}' is held with all others", reason="Refused",
                                 hint="`reconciler release --all` ends that")
        await self._set_hold(state, None)
        return {"domain": name, "held": False}

    async def _set_hold(self, state: DomainState, hold: Hold | None) -> None:
        """Raises ReconcilerError where it is not on disk."""
        self.domains.known(state.uuid).apply(HoldSet(self.environment.now(), hold))
        if state.uuid in self.environment.unsaved or not await self._synced():
            raise ReconcilerError(
                f"'{state.name}': done, but not on disk: a restart of the reconciler would "
                "forget it", reason="StateUnwritable", hint="make room in paths.state")

    async def _synced(self) -> bool:
        try:
            await asyncio.to_thread(self.environment.store.sync)
        except OSError:
            return False
        return True

    def _asked_hold(self, query: Mapping[str, str]) -> Hold:
        try:
            until = self.environment.clocks().wall + seconds(query["for"]) if (
                "for" in query) else None
        except ValueError as error:
            raise UsageError(str(error)) from None
        return Hold(query.get("reason", ""), query.get("by", "an unnamed client"), until)

    # All domains

    @_handles(Request.HOLD_ALL)
    async def _hold_all(self, call: Call) -> dict[str, Any]:
        """Every domain, also those that are added later; VMs that run keep running."""
        await self._keep_hold_of_all(self._asked_hold(call.query))
        return {"held": True}

    @_handles(Request.RELEASE_ALL)
    async def _release_all(self, _call: Call) -> dict[str, Any]:
        if self.environment.hold_of_all() is None:
            raise UsageError("there is no hold of all domains", reason="Refused",
                             hint="`reconciler status` shows which domains are held, `reconciler "
                                  "release NAME` releases one")
        await self._keep_hold_of_all(None)
        return {"held": False}

    async def _keep_hold_of_all(self, hold: Hold | None) -> None:
        try:
            await asyncio.to_thread(self.environment.store.keep_hold, hold)
        except OSError as error:
            raise ReconcilerError(f"nothing was changed: {error}", reason="StateUnwritable",
                                  hint="make room in paths.state") from error
        if hold is None:  # of all, before the first of them is looked at
            for controller in self.domains:
                controller.apply(HoldOfAllEnded(self.environment.now()))
        for controller in self.domains:
            controller.reconsider()
            controller.wake(Priority.COMMAND)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"wait='{text}'; accepted: seconds")
    return value
