"""A domain's record as JSON, and back. The keys on disk are a format of their own.

They do not change when a field of the code is renamed, and older versions of the reconciler read
what this one wrote. The oldest ignore keys that they do not know at the top level, and only there,
so new ones are added there; this version ignores them everywhere.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from reconciler.domain.place import Place
from reconciler.engine.decide.attempts import Attempts, RetryState
from reconciler.engine.decide.inputs import Exit, ExitKind, Hold
from reconciler.engine.decide.state import DomainRecord, StoredDefinition
from reconciler.stored import from_stored


def encode(record: DomainRecord) -> dict[str, Any]:
    """For json.dumps."""
    return {
        "uuid": record.uuid, "name": record.name, "generation": record.generation,
        "definition": _plain(record.definition), "good": _plain(record.last_known_good),
        "ledger": _attempts(record.attempts), "boot_id": record.boot_id,
        "places": {key: asdict(place) for key, place in record.places.items()},
        "accepted_at": record.accepted_at, "prune_held": record.prune_held,
        "hold": _plain(record.hold), "well": record.last_healthy,
        "history": list(record.history), "silence": asdict(record.attempts.silence)}


def decode(value: dict[str, Any]) -> DomainRecord:
    """Raises KeyError, TypeError, ValueError or AttributeError for what is not a record."""
    return DomainRecord(
        uuid=value["uuid"], name=value["name"], generation=value["generation"],
        definition=_definition(value["definition"]), last_known_good=_definition(value["good"]),
        attempts=_attempts_of(value["ledger"], value.get("silence")), boot_id=value["boot_id"],
        places={key: from_stored(Place, place) for key, place in value["places"].items()},
        accepted_at=value.get("accepted_at", 0.0), prune_held=value.get("prune_held", False),
        hold=from_stored(Hold, value["hold"]) if value["hold"] else None,
        last_healthy=value.get("well", ""), history=tuple(value.get("history", ())))


def _plain(value: StoredDefinition | Hold | None) -> dict[str, Any] | None:
    return None if value is None else asdict(value)


def _definition(value: dict[str, Any] | None) -> StoredDefinition | None:
    return from_stored(StoredDefinition, value) if value else None


def _attempts(attempts: Attempts) -> dict[str, Any]:
    return {
        "failures": asdict(attempts.failures), "crashes": asdict(attempts.crashes),
        "drift": asdict(attempts.drift), "down": attempts.down_reason,
        "refused": attempts.rolled_back_generation,
        "refused_because": attempts.rolled_back_because,
        "not_live": attempts.needs_restart_generation,
        "recreating": attempts.recreating_generation, "replaced": attempts.replaced_pid,
        "settled": attempts.observed_generation, "in_force": attempts.last_settled_state,
        "restarts": attempts.restarts,
        "last_exit": None if attempts.last_exit is None else asdict(attempts.last_exit),
        "exits": attempts.exits}


def _attempts_of(value: dict[str, Any], silence: dict[str, Any] | None) -> Attempts:
    end = value["last_exit"]
    failures = _retry_state(value["failures"])
    if silence is None and failures.reason == "QmpTimeout":  # of a version that kept them in one
        silence, failures = value["failures"], RetryState()
    return Attempts(
        failures=failures, crashes=_retry_state(value["crashes"]),
        drift=_retry_state(value["drift"]),
        silence=_retry_state(silence) if silence else RetryState(),
        down_reason=value["down"], rolled_back_generation=value["refused"],
        rolled_back_because=value["refused_because"],
        needs_restart_generation=value["not_live"], recreating_generation=value["recreating"],
        replaced_pid=value.get("replaced", 0), observed_generation=value["settled"],
        last_settled_state=value["in_force"], restarts=value["restarts"],
        last_exit=_exit(end) if end else None,
        exits=dict(value.get("exits", {})))


def _retry_state(value: dict[str, Any]) -> RetryState:
    return from_stored(RetryState, {**value, "times": tuple(value["times"])})


def _exit(value: dict[str, Any]) -> Exit | None:
    if value["kind"] not in set(ExitKind):
        return None  # a newer version distinguishes more kinds
    return from_stored(Exit, {**value, "kind": ExitKind(value["kind"])})
