"""status.json and heartbeat.json: summaries of the status, and how both files are written.

The engine builds the status; its schema is status.schema.json beside this file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reconciler.host.files import Sync, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

STATUS = "status.json"
HEARTBEAT = "heartbeat.json"
STALE_AFTER = 3  # missed heartbeats after which the status is stale


def word(conditions: Iterable[Mapping[str, Any]]) -> str:
    """The summary of the conditions in one word, as in kstatus."""
    truths = {c["type"]: c["status"] for c in conditions}
    if truths.get("Terminating") == "True":
        return "Terminating"
    if truths.get("Stalled") == "True":
        return "Failed"
    if truths.get("Ready") == "True":
        return "Current"
    return "InProgress" if truths.get("Reconciling") == "True" else "Unknown"


def summary(domains: list[dict[str, Any]]) -> dict[str, Any]:
    """How many domains are in which state."""
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
    """Replace status.json atomically."""
    write_whole(directory / STATUS, _text(value).encode(), Sync.NONE)


def _text(value: Mapping[str, Any]) -> str:
    """JSON with one line for each key and each domain: json.dumps(indent=) is ten times slower."""
    lines = (f"{json.dumps(key)}: {_list(item) if key == 'domains' else json.dumps(item)}"
             for key, item in value.items())
    return "{" + ",\n".join(lines) + "}\n"


def _list(items: Iterable[Any]) -> str:
    return "[" + ",\n".join(json.dumps(item) for item in items) + "]"


def beat(directory: Path, at: str, pid: int, every: float) -> None:
    """Write the heartbeat: the reconciler is alive and the last status still current."""
    write_whole(directory / HEARTBEAT, json.dumps(
        {"at": at, "pid": pid, "heartbeatEvery": f"{every:g}s"}).encode() + b"\n",
                Sync.NONE)
