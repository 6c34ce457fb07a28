"""What commands ask of the running reconciler: each a path of the command socket.

They only read what is known, or wake a look and wait for it; nothing is done here that the plan
did not decide.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reconciler.engine.control.work_queue import Priority
from reconciler.engine.decide.disruption import weigh
from reconciler.engine.decide.inputs import Hold, Removal
from reconciler.engine.dryrun.plan_view import expanded_from, explain_domain, plan_value, summary
from reconciler.engine.records.store import EXPANDED
from reconciler.engine.rollout.revision_status import unsettled
from reconciler.errors import UsageError
from reconciler.units import nearest, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.engine.control.controller import DomainController
    from reconciler.engine.daemon import Daemon

LONGEST_WAIT = 600.0
LONG_POLL = 25.0


class Handlers:
    """Answers for the command socket."""

    def __init__(self, owner: Daemon) -> None:
        self._owner = owner

    async def handle(self, method: str, path: tuple[str, ...],
                     query: Mapping[str, str]) -> object:
        """One request; raises UsageError."""
        answer = {"GET": self._get, "POST": self._post}.get(method)
        value = await answer(path, query) if answer is not None else None
        if value is None:
            raise UsageError(f"no such request: {method} /{'/'.join(path)}", reason="NotFound")
        return value

    async def _get(self, path: tuple[str, ...], query: Mapping[str, str]) -> object:
        match path:
            case ("livez",):
                return {"live": True}
            case ("readyz",):
                if not self._owner.sync.complete:
                    raise UsageError("no complete look at the source yet", reason="NotReady")
                return {"ready": True}
            case ("api", "v1", "status"):
                return await self._status(query)
            case ("api", "v1", "plan"):
                return await self._plans(query.get("name"))
            case ("api", "v1", "domains", name, "explain"):
                return await self._explain(self._keeper(name))
            case ("api", "v1", "domains", name, "console"):
                return {"consoles": await self._keeper(name).machine.consoles()}
        return None

    async def _post(self, path: tuple[str, ...], query: Mapping[str, str]) -> object:
        match path:
            case ("api", "v1", "sync"):
                return await self._sync(_seconds(query.get("wait", "0")), query.get("name"))
            case ("api", "v1", "domains", name, ("restart" | "start") as verb):
                return self._restart(self._keeper(name), verb, query.get("generation"))
            case ("hooks", "git"):
                self._owner.journal.write("hook.received", message="a look at the source follows")
                self._owner.sync.ask()
                return {"accepted": True}
            case ("api", "v1", "hold"):
                return self._hold_all(query)
            case ("api", "v1", "release"):
                return self._release_all()
            case ("api", "v1", "domains", name, "hold"):
                return self._hold(self._keeper(name), query)
            case ("api", "v1", "domains", name, "release"):
                return self._release(self._keeper(name))
            case ("api", "v1", "approvals", *token):
                return {"approved": self._approve(token[0] if token else None)}
        return None

    def _keeper(self, name: str) -> DomainController:
        keepers = self._owner.keepers.values()
        found = next((k for k in keepers if name in (k.name, k.uuid)), None)
        if found is None:
            near = nearest(name, [k.name for k in keepers])
            raise UsageError(f"no domain '{name}'{near}", reason="NotFound",
                             hint="`reconciler status` lists the domains")
        return found

    async def _status(self, query: Mapping[str, str]) -> dict[str, Any]:
        """The status; with `wait`, once it is a later one than that sequence (long poll).

        `limit` is how many seconds the asker waits at most.
        """
        publisher, wait = self._owner.publisher, query.get("wait", "")
        if wait.isdecimal():
            limit = min(LONG_POLL, _seconds(query.get("limit", str(LONG_POLL))))
            with suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    while publisher.sequence <= int(wait):
                        await self._next_status()
        return publisher.value()

    async def _plans(self, name: str | None) -> dict[str, Any]:
        chosen = [self._keeper(name)] if name else sorted(
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

    async def _explain(self, keeper: DomainController) -> dict[str, Any]:
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

    async def _sync(self, wait: float, name: str | None) -> dict[str, Any]:
        """Look at the source now; with `wait`, until all (or this one) is Ready or Stalled."""
        sync, before = self._owner.sync, self._owner.sync.looks
        sync.ask()
        for keeper in tuple(self._owner.keepers.values()):
            keeper.retry()
        if wait <= 0:
            return {"handled": sync.handled}
        try:
            async with asyncio.timeout(min(wait, LONGEST_WAIT)):
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

    def _restart(self, keeper: DomainController, verb: str, generation: str | None) -> dict[str,
                                                                                            Any]:
        """Now; with `generation`, only if that is still the one in force."""
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

    def _hold(self, keeper: DomainController, query: Mapping[str, str]) -> dict[str, Any]:
        keeper.hold(self._asked_hold(query))
        return {"domain": keeper.name, "held": True}

    def _asked_hold(self, query: Mapping[str, str]) -> Hold:
        now = self._owner.context.now()
        try:
            until = now.wall + seconds(query["for"]) if "for" in query else None
        except ValueError as error:
            raise UsageError(str(error)) from None
        return Hold(query.get("reason", ""), query.get("by", "somebody"), until)

    def _hold_all(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Every domain, also those that come later; VMs that run go on."""
        self._owner.context.store.keep_hold(self._asked_hold(query))
        self._look_at_all()
        return {"held": True}

    def _release_all(self) -> dict[str, Any]:
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

    def _release(self, keeper: DomainController) -> dict[str, Any]:
        if keeper.domain is not None and keeper.domain.policy.hold and keeper.memory.hold is None:
            raise UsageError(f"'{keeper.name}' is held by its file", reason="Refused",
                             hint="take hold='yes' out of the file")
        if keeper.memory.hold is None and self._owner.context.hold_of_all() is not None:
            raise UsageError(f"'{keeper.name}' is held with all others", reason="Refused",
                             hint="`reconciler release --all` ends that")
        keeper.hold(None)
        return {"domain": keeper.name, "held": False}

    def _approve(self, token: str | None) -> list[str]:
        names = self._owner.sync.approve(token)
        if not names:
            waiting = ", ".join(str(a["token"]) for a in self._owner.sync.approvals())
            raise UsageError(f"nothing waits under '{token}'" if token else "nothing waits",
                             reason="Refused",
                             hint=f"waiting: {waiting}" if waiting else "`reconciler status` "
                                  "shows what waits for an approval")
        return names


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"wait='{text}'; accepted: seconds")
    return value
