"""What transitions start from: a known domain; all is well where a test names no other value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reconciler.engine.decide.events import Report
from reconciler.engine.decide.inputs import Attempts, Cause, Condition, Plan, Truth, Vm, VmState
from reconciler.engine.decide.state import (
    DecisionConfig,
    DomainRecord,
    DomainState,
    Running,
    StoredDefinition,
)
from tests.values import NOW, domain

BOOT = "this boot"
CONFIG = DecisionConfig(boot_id=BOOT, began=900.0)
NO_ATTEMPTS = Attempts()
ABSENT, RUNS = Vm(VmState.ABSENT), Vm(VmState.RUNNING, 42, generation=1)
PAUSED = replace(RUNS, state=VmState.PAUSED)
UNKNOWN = replace(RUNS, state=VmState.UNKNOWN, problem="it does not answer")
IN_SYNC = Condition("Ready", Truth.TRUE, "InSync")
READY = Plan(conditions=(IN_SYNC,))


def stored(name: str = "new", revision: str = "main@2") -> StoredDefinition:
    """A definition as text; the text says which one it is."""
    return StoredDefinition(f"<{name}/>", "a.xml", revision)


NEW, OLD = stored(), stored("old", "main@1")


def running(what=None, text: StoredDefinition | None = OLD) -> Running:
    what = domain() if what is None else what
    return Running(what, text, what)


def known(wanted=None, vm: Vm = ABSENT, attempts: Attempts = NO_ATTEMPTS, *, good=None,
          record: dict[str, Any] | None = None, **values: Any) -> DomainState:
    """Generation 1 of a domain; `good`: its last known good definition."""
    wanted = domain() if wanted is None else wanted
    kept = DomainRecord(wanted.uuid, wanted.name, 1, NEW, None if good is None else OLD, attempts,
                        BOOT, accepted_at=5.0)
    values = {"home": wanted.name, **values}
    return DomainState(replace(kept, **(record or {})), CONFIG, wanted, good, vm=vm, **values)


def with_record(state: DomainState, **values: Any) -> DomainState:
    return replace(state, record=replace(state.record, **values))


def with_attempts(state: DomainState, **values: Any) -> DomainState:
    return with_record(state, attempts=replace(state.attempts, **values))


def report(event: str, state: DomainState, *, durable: bool = False, **values: Any) -> Report:
    """The event that the journal gets of a domain in this state."""
    about = {"domain": state.record.name, "uuid": state.record.uuid,
             "generation": state.record.generation, "pid": state.vm.pid}
    return Report(event, {**about, **values}, durable)


def planned(*steps, cause: Cause = Cause.FILE, reason: str = "Starting", message: str = "",
            **values: Any) -> Plan:
    """A plan with steps."""
    return Plan(tuple(steps), cause, (Condition("Ready", Truth.UNKNOWN, reason, message),),
                **values)


LATER = replace(NOW, clock=NOW.clock + 100, wall=NOW.wall + 100)
