"""The parts of the status: a domain's, from what its keeper knows, and the source's."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.engine.decide.inputs import Condition, Truth, VmState
from reconciler.engine.records.history import digest
from reconciler.report import status
from reconciler.report.events import timestamp
from reconciler.stratovirt.observation import main_console
from reconciler.stratovirt.process import command_line
from reconciler.units import show_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.domain.model import Domain, Problem
    from reconciler.engine.control.controller import DomainController
    from reconciler.engine.daemon import Daemon
    from reconciler.engine.decide.condition_events import ConditionTimes
    from reconciler.engine.decide.inputs import Attempts

STALE_AFTER = 3  # intervals without a success of a git source
HISTORY = 5  # entries that the status shows; `history` has them all


def source_status(owner: Daemon, since: ConditionTimes) -> dict[str, Any]:
    """The source's part; `since` keeps when its conditions last changed."""
    sync, now = owner.sync, timestamp()
    conditions = tuple(_of_source(owner))
    since.update(conditions, now)
    return {"files": sync.files, "revision": sync.revision, "lastAttempt": sync.last_attempt,
            "lastSync": sync.last_success, "lastSuccess": sync.last_success,
            **sync.source.describe(), "remark": sync.remark,
            "history": owner.revisions.value,
            "settling": sorted({k.name for k in owner.keepers.values()
                                if k.uuid in sync.absent} | set(sync.unfinished)),
            "conditions": [{"type": c.type, "status": str(c.status), "reason": c.reason,
                            "message": c.message, "lastTransitionTime": since.since[c.type][1]}
                           for c in conditions],
            "elsewhere": list(sync.elsewhere),
            "invalid": [{"file": r.file, "domain": r.name, "reason": r.reason,
                         "errors": [str(p) for p in r.problems]} for r in sync.rejected]}


def _of_source(owner: Daemon) -> Iterator[Condition]:
    sync, error, source = owner.sync, owner.sync.error, owner.settings.source
    if error is not None:
        yield Condition("Ready", Truth.FALSE, error.reason, error.advice)
    else:
        yield Condition("Ready", Truth.TRUE, "Succeeded")
    last = str(sync.source.describe().get("lastSuccess", ""))
    if source.kind == "git" and last:
        age = time.time() - datetime.fromisoformat(last).timestamp()
        if age > STALE_AFTER * source.interval:
            yield Condition("Stale", Truth.TRUE, "Stale",
                            f"the last success was {show_seconds(age)} ago")


def domain_status(keeper: DomainController) -> dict[str, Any]:
    """One domain's part of the status."""
    memory, domain, ledger = keeper.memory, keeper.domain, keeper.ledger
    generation = memory.generation
    conditions = [
        {"type": c.type, "status": str(c.status), "reason": c.reason, "message": c.message,
         "observedGeneration": generation,
         "lastTransitionTime": keeper.transitions.since.get(c.type, ("", timestamp()))[1]}
        for c in keeper.plan.conditions] or [
        {"type": "Ready", "status": "Unknown", "reason": "Adopting", "message": "not looked at yet",
         "observedGeneration": generation, "lastTransitionTime": timestamp()}]
    definition = memory.definition
    return {
        "name": keeper.name, "uuid": keeper.uuid,
        "labels": dict(domain.policy.labels) if domain else {},
        "file": definition.file if definition else None,
        "revision": definition.revision if definition else None,
        "appliedRevision": _applied_revision(keeper),
        "hash": f"{digest(definition.data)}/s1" if definition else None,
        "generation": generation, "observedGeneration": ledger.settled,
        "desired": {"state": str(domain.policy.state) if domain else None,
                    "memoryBytes": (domain.current_memory or domain.memory) if domain else None,
                    "vcpus": (domain.current_vcpus or domain.vcpus) if domain else None},
        "observed": _observed(keeper), "status": status.word(conditions),
        "conditions": conditions,
        "pending": [{"path": p.change.path, "from": p.change.old, "to": p.change.new,
                     "class": str(p.change.impact), "blockedBy": p.blocked_by,
                     "line": p.change.line} for p in keeper.plan.pending],
        "warnings": [{"line": w.line, "message": f"{_other_file(w, domain)}{w.path}: {w.message}"}
                     for w in domain.warnings]
        if domain else [],
        "restarts": _restarts(ledger),
        "ignored": list(domain.policy.ignore) if domain else [],
        "attempt": ledger.failures.count, "nextAttemptAt": _next_attempt(keeper),
        "lastAction": keeper.last_action,
        "dependsOn": keeper.context.dependencies(keeper),
        "history": list(memory.history[-HISTORY:]),
    }


def _applied_revision(keeper: DomainController) -> str | None:
    """What is in force on the host; the source may be further."""
    memory, decided = keeper.memory, keeper.plan
    ready = bool(decided.conditions) and decided.ready.status is Truth.TRUE
    # Not `memory.definition`: one that was accepted since is not in force yet.
    if ready and not decided.pending and keeper.planned is not None and not keeper.invalid:
        return keeper.planned.revision
    alive = keeper.vm.state is not VmState.ABSENT
    running = keeper.applied_text.revision if alive and keeper.applied_text is not None else ""
    return running or (memory.good.revision if memory.good else None)


def _other_file(warning: Problem, domain: Domain) -> str:
    return "" if warning.file == domain.file else f"in {warning.file}: "


def _restarts(ledger: Attempts) -> dict[str, Any]:
    end = ledger.last_exit
    return {"total": ledger.restarts, "inWindow": len(ledger.crashes.times),
            "byKind": dict(sorted(ledger.exits.items())),
            "lastExit": {"at": timestamp(end.wall) if end.wall else None, "kind": str(end.kind),
                         "code": end.code, "signal": end.signal,
                         "message": end.message} if end else None}


def _next_attempt(keeper: DomainController) -> str | None:
    """When what is held back is tried again, as a time of day."""
    again = keeper.plan.look_again_at
    if again is None or not keeper.plan.blocked:
        return None
    now = keeper.context.now()
    return timestamp(now.wall + max(0.0, again - now.clock))


def _observed(keeper: DomainController) -> dict[str, Any]:
    """What was really seen: memory and processors as of the process' own command line, or since.

    What was changed live stands in no command line; it is what StratoVirt was told and agreed to.
    """
    vm, record = keeper.vm, keeper.machine.record
    found: dict[str, Any] = {"at": timestamp(), "state": str(vm.state), "pid": vm.pid}
    if vm.pid is None or vm.state is VmState.ABSENT:
        return found
    if not keeper.words or keeper.words[0] != str(vm.pid):
        keeper.words = (str(vm.pid), *command_line(vm.pid))
    words = keeper.words
    values = dict(pairwise(words))
    memory, cpus = values.get("-m", ""), values.get("-smp", "").partition(",")[0]
    found["since"] = found["startedAt"] = record.started_at if record else None
    found["bootId"] = record.boot_id if record else None
    found["memoryBytes"] = int(memory[:-1]) << 20 if memory[:-1].isdigit() else None
    found["vcpus"] = int(cpus) if cpus.isdigit() else None
    got = keeper.applied
    if got is not None and record is not None and record.updated:
        found["memoryBytes"] = got.current_memory or got.memory
        found["vcpus"] = got.current_vcpus or got.vcpus
    found["console"] = main_console(keeper.consoles)
    found["qmp"] = "ok" if vm.state is not VmState.UNKNOWN else vm.problem
    found["socket"] = str(Path(keeper.machine.home) / "monitor.sock")
    return found
