"""status.json: the last known truth as plain values, and its file, replaced atomically.

Pure functions from values to dictionaries; who gathers them is the engine's business. The shape is
described in contrib/status.schema.json.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reconciler.host.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

STATUS = "status.json"
HEARTBEAT = "heartbeat.json"
STALE_AFTER = 3  # heartbeats that may be missing until a reader must not believe it


def word(conditions: Iterable[Mapping[str, Any]]) -> str:
    """The one word for a table, as kstatus has it."""
    truths = {c["type"]: c["status"] for c in conditions}
    if truths.get("Terminating") == "True":
        return "Terminating"
    if truths.get("Stalled") == "True":
        return "Failed"
    if truths.get("Ready") == "True":
        return "Current"
    return "InProgress" if truths.get("Reconciling") == "True" else "Unknown"


def summary(domains: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts of all domains."""
    states: dict[str, int] = {}
    for domain in domains:
        state = domain["observed"]["state"]
        states[state] = states.get(state, 0) + 1

    def having(kind: str) -> int:
        return sum(any(c["type"] == kind and c["status"] == "True" for c in d["conditions"])
                   for d in domains)

    return {"domains": len(domains), "ready": having("Ready"),
            "running": states.get("running", 0), "paused": states.get("paused", 0),
            "stopped": states.get("absent", 0), "reconciling": having("Reconciling"),
            "stalled": having("Stalled"), "held": having("Held"), "drifted": having("Drifted"),
            "pruneHeld": having("PruneHeld"), "byState": states}


def write(directory: Path, value: Mapping[str, Any]) -> None:
    """A reader sees the old one or the new one, never half of one."""
    write_whole(directory / STATUS, _text(value).encode(), durable=False)


def _text(value: Mapping[str, Any]) -> str:
    """JSON with a line for each key and each domain: an indent would take ten times as long."""
    lines = (f"{json.dumps(key)}: {_list(item) if key == 'domains' else json.dumps(item)}"
             for key, item in value.items())
    return "{" + ",\n".join(lines) + "}\n"


def _list(items: Iterable[Any]) -> str:
    return "[" + ",\n".join(json.dumps(item) for item in items) + "]"


def beat(directory: Path, at: str, pid: int, every: float) -> None:
    """Say that we live, without writing the whole status anew."""
    write_whole(directory / HEARTBEAT, json.dumps(
        {"at": at, "pid": pid, "heartbeatEvery": f"{every:g}s"}).encode() + b"\n",
                durable=False)
