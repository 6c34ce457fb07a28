"""Answers the API requests: one handler for each row of report/requests.py.

They only read what is known, or wake a look and wait for it; nothing is done here that the plan
did not decide.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from reconciler.engine.control.work_queue import Priority
from reconciler.engine.decide.disruption import weigh
from reconciler.engine.decide.inputs import Hold, Removal
from reconciler.engine.dryrun.plan_view import expanded_from, explain_domain, plan_value, summary
from reconciler.engine.records.store import EXPANDED
from reconciler.engine.rollout.revision_status import unsettled
from reconciler.errors import UsageError
from reconciler.report.requests import Request
from reconciler.units import nearest, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from reconciler.engine.control.controller import DomainController
    from reconciler.engine.daemon import Daemon
    from reconciler.report.requests import Call

LONGEST_WAIT = 600.0
LONG_POLL = 25.0

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


class Handlers:
    """Answers for the command socket."""

    def __init__(self, owner: Daemon) -> None:
        self._owner = owner

    async def handle(self, call: Call) -> object:
        """One request; raises UsageError."""
        return await HANDLERS[call.request](self, call)

    @_handles(Request.LIVE)
    async def _live(self, _call: Call) -> object:
        return {"live": True}

    @_handles(Request.READY)
    async def _ready(self, _call: Call) -> object:
        if not self._owner.sync.complete:
            raise UsageError("no complete look at the source yet", reason="NotReady")
        return {"ready": True}

    @_handles(Request.CONSOLES)
    async def _consoles(self, call: Call) -> object:
        return {"consoles": await self._keeper(call).machine.consoles()}

    @_handles(Request.WEBHOOK)
    async def _webhook(self, _call: Call) -> object:
        self._owner.journal.write("hook.received", message="a look at the source follows")
        self._owner.sync.ask()
        return {"accepted": True}

    def _keeper(self, call: Call) -> DomainController:
        return self._named(call.arguments["name"])

    def _named(self, name: str) -> DomainController:
        keepers = self._owner.keepers.values()
        found = next((k for k in keepers if name in (k.name, k.uuid)), None)
        if found is None:
            near = nearest(name, [k.name for k in keepers])
            raise UsageError(f"no domain '{name}'{near}", reason="NotFound",
                             hint="`reconciler status` lists the domains")
        return found

    @_handles(Request.STATUS)
    async def _status(self, call: Call) -> dict[str, Any]:
        """The status; with `wait`, once it is a later one than that sequence (long poll).

        `limit` is how many seconds the asker waits at most.
        """
        query = call.query
        publisher, wait = self._owner.publisher, query.get("wait", "")
        if wait.isdecimal():
            limit = min(LONG_POLL, _seconds(query.get("limit", str(LONG_POLL))))
            with suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    while publisher.sequence <= int(wait):
                        await self._next_status()
        return publisher.value()

    @_handles(Request.PLAN)
    async def _plans(self, call: Call) -> dict[str, Any]:
        name = call.query.get("name")
        chosen = [self._named(name)] if name else sorted(
            self._owner.keepers.values(), key=lambda keeper: keeper.name)
        plans = await asyncio.gather(*(self._plan(keeper) for keeper in chosen))
        invalid = [{"file": r.file, "domain": r.name, "reason": r.reason,
                    "errors": [str(p) for p in r.problems]} for r in self._owner.sync.rejected]
        return {"plans": plans, "invalid": [] if name else invalid,
                "sourceError": str(self._owner.sync.error or ""),
                "elsewhere": [] if name else list(self._owner.sync.elsewhere),
                "summary": summary(plans)}

    async def _plan(self, keeper: DomainController) -> dict[str, Any]:
        keeper.vm = await keeper.machine.observe()
        decided = keeper.decide(self._owner.context.now())
        definition = keeper.memory.definition
        there = definition is not None and keeper.removal is Removal.NONE
        return plan_value(keeper.name, keeper.uuid,
                          definition.file if there and definition else None, decided,
                          weigh(keeper.case(), decided, self._owner.context.settings.arch))

    @_handles(Request.EXPLAIN)
    async def _explain(self, call: Call) -> dict[str, Any]:
        keeper = self._keeper(call)
        context, domain, memory = self._owner.context, keeper.domain, keeper.memory
        parts = self._owner.publisher.value()["domains"]
        value = {"status": next(d for d in parts if d["uuid"] == keeper.uuid),
                 "plan": await self._plan(keeper),
                 "nextLook": keeper.plan.look_again_at and round(
                     max(0.0, keeper.plan.look_again_at - context.now().clock), 3)}
        if domain is not None and memory.definition is not None:
            # With the lines of its own text, which tells what was written and what filled in.
            own = context.read(memory.definition) or domain
            value |= explain_domain(
                own, memory.definition.data, memory.places,
                context.settings.defaults.spare_ports, context.program_of(domain),
                keeper.machine.home, context.host.defaults)
            value |= expanded_from(memory.definition.file,
                                   memory.definition.read_with.get(EXPANDED, ""))
        return value

    @_handles(Request.SYNC)
    async def _sync(self, call: Call) -> dict[str, Any]:
        """Look at the source now; with `wait`, until all (or this one) is Ready or Stalled."""
        wait, name = _seconds(call.query.get("wait", "0")), call.query.get("name")
        sync, before = self._owner.sync, self._owner.sync.looks
        sync.ask()
        for keeper in tuple(self._owner.keepers.values()):
            keeper.retry()
        if wait <= 0:
            return {"handled": sync.handled}
        try:
            async with asyncio.timeout(min(wait, LONGEST_WAIT)):
                await self._owner.queue.rest()  # a retry is judged by its outcome
                while (looking := sync.looks == before or sync.source.busy) or (
                        sync.unfinished or self._unsettled(name)):
                    if sync.error is not None and not looking:
                        break
                    await self._next_status()
        except TimeoutError:
            pass
        return {"handled": sync.handled, "error": sync.error.advice if sync.error else "",
                "waitingFor": sorted(self._unsettled(name))}

    def _unsettled(self, name: str | None) -> list[str]:
        return [k.name for k in unsettled(self._owner) if name in (None, k.name)]

    async def _next_status(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner.publisher.waiters.append(waiter)
        await waiter

    @_handles(Request.START, Request.RESTART)
    async def _restart(self, call: Call) -> dict[str, Any]:
        """Now; with `generation`, only if that is still the one in force."""
        keeper, generation = self._keeper(call), call.query.get("generation")
        verb = "start" if call.request is Request.START else "restart"
        if generation not in (None, str(keeper.memory.generation)):
            raise UsageError(f"'{keeper.name}' is not as it was planned any more: its definition "
                             "is another one", reason="Refused", hint="plan anew")
        if keeper.domain is None:
            raise UsageError(f"'{keeper.name}' has no valid definition to start", reason="Refused",
                             hint="`reconciler status` shows what is wrong with its file")
        if verb == "start" and keeper.vm.pid is not None:
            return {"domain": keeper.name, "asked": "nothing: it is there"}
        if keeper.plan.condition("Held") is not None:
            raise UsageError(f"'{keeper.name}' is held", reason="Refused",
                             hint=f"`reconciler release {keeper.name}` first")
        if keeper.domain.policy.state == "stopped" and verb == "restart":
            raise UsageError(f"the file of '{keeper.name}' wants it stopped", reason="Refused",
                             hint=f"`reconciler start {keeper.name}` writes running into it")
        keeper.ask_restart()
        return {"domain": keeper.name, "asked": verb}

    @_handles(Request.HOLD)
    async def _hold(self, call: Call) -> dict[str, Any]:
        keeper = self._keeper(call)
        keeper.hold(self._asked_hold(call.query))
        return {"domain": keeper.name, "held": True}

    def _asked_hold(self, query: Mapping[str, str]) -> Hold:
        now = self._owner.context.now()
        try:
            until = now.wall + seconds(query["for"]) if "for" in query else None
        except ValueError as error:
            raise UsageError(str(error)) from None
        return Hold(query.get("reason", ""), query.get("by", "somebody"), until)

    @_handles(Request.HOLD_ALL)
    async def _hold_all(self, call: Call) -> dict[str, Any]:
        """Every domain, also those that come later; VMs that run go on."""
        self._owner.context.store.keep_hold(self._asked_hold(call.query))
        self._look_at_all()
        return {"held": True}

    @_handles(Request.RELEASE_ALL)
    async def _release_all(self, _call: Call) -> dict[str, Any]:
        if self._owner.context.hold_of_all() is None:
            raise UsageError("not all are held", reason="Refused",
                             hint="`reconciler status` shows what is, `reconciler release NAME` "
                                  "ends one")
        self._owner.context.store.keep_hold(None)
        self._look_at_all()
        return {"held": False}

    def _look_at_all(self) -> None:
        for keeper in tuple(self._owner.keepers.values()):
            keeper.wake(Priority.COMMAND)

    @_handles(Request.RELEASE)
    async def _release(self, call: Call) -> dict[str, Any]:
        keeper = self._keeper(call)
        if keeper.domain is not None and keeper.domain.policy.hold and keeper.memory.hold is None:
            raise UsageError(f"'{keeper.name}' is held by its file", reason="Refused",
                             hint="take hold='yes' out of the file")
        if keeper.memory.hold is None and self._owner.context.hold_of_all() is not None:
            raise UsageError(f"'{keeper.name}' is held with all others", reason="Refused",
                             hint="`reconciler release --all` ends that")
        keeper.hold(None)
        return {"domain": keeper.name, "held": False}

    @_handles(Request.APPROVE, Request.APPROVE_ALL)
    async def _approve(self, call: Call) -> dict[str, Any]:
        token = call.arguments.get("token")
        names = self._owner.sync.approve(token)
        if not names:
            waiting = ", ".join(str(a["token"]) for a in self._owner.sync.approvals())
            raise UsageError(f"nothing waits under '{token}'" if token else "nothing waits",
                             reason="Refused",
                             hint=f"waiting: {waiting}" if waiting else "`reconciler status` "
                                  "shows what waits for an approval")
        return {"approved": names}


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"wait='{text}'; accepted: seconds")
    return value
