"""status.json: the last known truth, replaced atomically."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, value: dict[str, Any]) -> None:
    """A reader sees the old one or the new one, never half of one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value, indent=1))
    fresh.replace(path)


def condition(kind: str, status: str, reason: str, message: str, since: str) -> dict[str, str]:
    """One condition as in Kubernetes."""
    return {"type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since}
