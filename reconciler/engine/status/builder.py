"""The parts of the status: a domain's from its state, the source's from the last looks. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.engine.decide.definition_history import digest
from reconciler.engine.decide.inputs import Condition, Truth, VmState
from reconciler.report import status
from reconciler.stratovirt.observation import main_console
from reconciler.units import show_seconds, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.domain.model import Domain, Problem
    from reconciler.engine.decide.attempts import Attempts
    from reconciler.engine.decide.inputs import Now
    from reconciler.engine.decide.state import DomainState
    from reconciler.engine.source.loader import Rejected
    from reconciler.engine.source.source_sync import SourceState

MOST_ERRORS = 200  # of all files together
MOST_FILES = 500  # that are refused
HISTORY = 5  # entries that the status shows; `history` has them all
_UNKNOWN = Condition("Ready", Truth.UNKNOWN, "Adopting", "not observed yet")


def domain_status(state: DomainState, dependencies: list[dict[str, object]],
                  now: Now) -> dict[str, Any]:
    """One domain's part of the status."""
    record, domain, attempts = state.record, state.domain, state.attempts
    generation, at = record.generation, timestamp(now.wall)
    conditions = [
        {"type": c.type, "status": str(c.status), "reason": c.reason, "message": c.message,
         "observedGeneration": generation,
         "lastTransitionTime": state.condition_since.get(c.type, ("", at))[1]}
        for c in state.plan.conditions or (_UNKNOWN,)]
    definition = record.definition
    return {
        "name": state.name, "uuid": state.uuid,
        "labels": dict(domain.policy.labels) if domain else {},
        "file": definition.file if definition else None,
        "revision": definition.revision if definition else None,
        "appliedRevision": _applied_revision(state),
        "hash": f"{digest(definition.data)}/s1" if definition else None,
        "generation": generation, "observedGeneration": attempts.observed_generation,
        "desired": {"state": str(domain.policy.state) if domain else None,
                    "memoryBytes": (domain.current_memory or domain.memory) if domain else None,
                    "vcpus": (domain.current_vcpus or domain.vcpus) if domain else None},
        "observed": _observed(state, at), "status": status.word(conditions),
        "conditions": conditions,
        "pending": [{"path": p.change.path, "from": p.change.old, "to": p.change.new,
                     "class": str(p.change.impact), "blockedBy": p.blocked_by,
                     "line": p.change.line} for p in state.plan.pending],
        "warnings": [{"line": w.line, "message": f"{_other_file(w, domain)}{w.path}: {w.message}"}
                     for w in domain.warnings] if domain else [],
        "restarts": _restarts(attempts),
        "ignored": list(domain.policy.ignore) if domain else [],
        "attempt": attempts.failures.count or attempts.silence.count,
        "nextAttemptAt": _next_attempt(state, now),
        "lastAction": state.last_action.value() if state.last_action else None,
        "dependsOn": dependencies,
        "history": list(record.history[-HISTORY:]),
    }


def _applied_revision(state: DomainState) -> str | None:
    """What is in force on the host; the source may be further."""
    record, planned = state.record, state.planned_definition
    # Not record.definition: one that was accepted after the plan was made is not in force yet.
    if state.plan.is_ready and not state.plan.pending and not state.invalid and planned is not None:
        return planned.revision
    stored = state.running.stored if state.running is not None else None
    alive = state.vm.state is not VmState.ABSENT
    running = stored.revision if alive and stored is not None else ""
    return running or (record.last_known_good.revision if record.last_known_good else None)


def _other_file(warning: Problem, domain: Domain) -> str:
    return "" if warning.file == domain.file else f"in {warning.file}: "


def _restarts(attempts: Attempts) -> dict[str, Any]:
    end = attempts.last_exit
    return {"total": attempts.restarts, "inWindow": len(attempts.crashes.times),
            "byKind": dict(sorted(attempts.exits.items())),
            "lastExit": {"at": timestamp(end.wall) if end.wall else None, "kind": str(end.kind),
                         "code": end.code, "signal": end.signal,
                         "message": end.message} if end else None}


def _next_attempt(state: DomainState, now: Now) -> str | None:
    """When what is held back is attempted again, as a time of day."""
    again = state.plan.look_again_at
    if again is None or not state.plan.blocked:
        return None
    return timestamp(now.wall + max(0.0, again - now.clock))


def _observed(state: DomainState, at: str) -> dict[str, Any]:
    """What was really seen: memory and processors as of the process's own command line, or since.

    A change of a running VM is not on its command line; it is what StratoVirt accepted since.
    """
    vm, process = state.vm, state.process
    found: dict[str, Any] = {"at": at, "state": str(vm.state), "pid": vm.pid}
    if vm.pid is None or vm.state is VmState.ABSENT or process is None:
        return found
    running = state.running.domain if state.running is not None else None
    memory, vcpus = process.memory, process.vcpus
    if running is not None and process.changed:
        memory = running.current_memory or running.memory
        vcpus = running.current_vcpus or running.vcpus
    return {**found, "since": process.started_at, "startedAt": process.started_at,
            "bootId": process.boot_id, "memoryBytes": memory, "vcpus": vcpus,
            "console": main_console(state.consoles),
            "qmp": "ok" if vm.state is not VmState.UNKNOWN else vm.problem,
            "socket": process.socket}


# The source


def source_conditions(source: SourceState, described: Mapping[str, Any],
                      stale_after: float | None, now: Now) -> tuple[Condition, ...]:
    """Ready, and Stale `stale_after` seconds after the last success of a source that ages."""
    last = str(described.get("lastSuccess", ""))
    return tuple(_source_conditions(source, last, stale_after, now))


def _source_conditions(source: SourceState, last: str, stale_after: float | None,
                       now: Now) -> Iterator[Condition]:
    if source.error is not None:
        yield Condition("Ready", Truth.FALSE, source.error.reason, source.error.advice)
    else:
        yield Condition("Ready", Truth.TRUE, "Succeeded")
    if stale_after is not None and last:
        age = now.wall - datetime.fromisoformat(last).timestamp()
        if age > stale_after:
            yield Condition("Stale", Truth.TRUE, "Stale",
                            f"the last success was {show_seconds(age)} ago")


def source_status(source: SourceState, described: Mapping[str, Any],
                  conditions: tuple[Condition, ...], since: Mapping[str, tuple[str, str]], *,
                  history: list[dict[str, str]], settling: list[str]) -> dict[str, Any]:
    """The source's part. `since`: since when each condition has its status."""
    return {"files": source.files, "revision": source.revision,
            "lastAttempt": source.last_attempt, "lastSync": source.last_success,
            "lastSuccess": source.last_success, **described, "remark": source.remark,
            "history": history, "settling": settling,
            "conditions": [{"type": c.type, "status": str(c.status), "reason": c.reason,
                            "message": c.message, "lastTransitionTime": since[c.type][1]}
                           for c in conditions],
            "elsewhere": list(source.elsewhere),
            "invalid": list(_invalid(source.rejected))}


def _invalid(rejected: Sequence[Rejected]) -> Iterator[dict[str, Any]]:
    """Every file that is refused, and its first errors; with many files, of the first ones only."""
    left = MOST_ERRORS
    for file in rejected[:MOST_FILES]:
        lines = file.message.splitlines()
        shown = lines[:left] or ["`reconciler validate` shows its errors"]
        left = max(0, left - len(lines))
        yield {"file": file.file, "domain": file.name, "reason": file.reason, "errors": shown}
    if len(rejected) > MOST_FILES:
        yield {"file": "…", "domain": None, "reason": "InvalidDefinition",
               "errors": [f"and {len(rejected) - MOST_FILES} more files"]}


