"""The journal: one line of JSON an event, on disk before the act (rule 10), and on the log."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 16 << 20


def timestamp() -> str:
    """Now, in UTC, as the status and the journal write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """Appends to events.jsonl, rotated once it has 16 MiB."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a", encoding="utf-8")
        renderer: Any = (structlog.dev.ConsoleRenderer() if sys.stderr.isatty()
                         else structlog.processors.JSONRenderer())
        self._log = structlog.wrap_logger(
            structlog.PrintLogger(sys.stderr),
            processors=[structlog.processors.TimeStamper(fmt="iso"), renderer])

    def write(self, event: str, *, severity: str = "info", durable: bool = False,
              **values: Any) -> None:
        """One event; `durable` waits until it is on disk, for what is about to be done."""
        line = {"time": timestamp(), "event": event, "severity": severity,
                **{k: v for k, v in values.items() if v not in (None, "")}}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if durable:
            os.fdatasync(self._file.fileno())
        if self._file.tell() > LIMIT:
            self._file.close()
            self._path.replace(self._path.with_suffix(".jsonl.1"))
            self._file = self._path.open("a", encoding="utf-8")
        self._log.msg(**line)
