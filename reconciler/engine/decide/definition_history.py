"""Which definitions were applied to a domain, so that a user can go back to one. Pure.

The entries are in the domain's record; records/archive.py keeps the texts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.engine.decide.state import StoredDefinition


@dataclass(frozen=True, slots=True)
class Entry:
    """One definition; applied several times in a row, it is counted. Times are RFC 3339."""

    number: int
    hash: str
    revision: str
    file: str
    first: str
    last: str
    result: str  # the reason it ended with: InSync, RolledBack, …
    count: int = 1

    @classmethod
    def of(cls, value: dict[str, Any]) -> Entry:
        """From a record."""
        return cls(value["number"], value["hash"], value["revision"], value["file"],
                   value["firstApplied"], value["lastApplied"], value["result"], value["count"])

    @property
    def value(self) -> dict[str, Any]:
        """As record and status have it."""
        return {"number": self.number, "hash": self.hash, "revision": self.revision,
                "file": self.file, "firstApplied": self.first, "lastApplied": self.last,
                "result": self.result, "count": self.count}


def digest(data: bytes) -> str:
    """A name for a definition's text."""
    return f"sha256:{hashlib.sha256(data).hexdigest()[:12]}"


def applied(history: tuple[dict[str, Any], ...], definition: StoredDefinition, result: str,
            at: str, keep: int) -> tuple[dict[str, Any], ...]:
    """The history with one more application; of more than `keep` entries the oldest go."""
    last = Entry.of(history[-1]) if history else None
    name = digest(definition.data)
    if last is not None and last.hash == name:
        fresh = Entry(last.number, name, definition.revision, definition.file, last.first, at,
                      result, last.count + 1)
        return (*history[:-1], fresh.value)
    number = last.number + 1 if last is not None else 1
    fresh = Entry(number, name, definition.revision, definition.file, at, at, result)
    return (*history, fresh.value)[-keep:]
