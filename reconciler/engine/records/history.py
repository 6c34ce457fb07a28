"""Definitions that were applied to a domain, so that one can go back; and those of removed ones.

What is known of each is in the domain's memory; its text is a file of its own in the state
directory, since most memories are written far more often than definitions change.
"""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.host.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.engine.records.store import StoredDefinition

_SAFE = re.compile(r"[^A-Za-z0-9_.+-]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One definition, each time it was applied in a row counted once. Times are RFC 3339."""

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
        """From a memory."""
        return cls(value["number"], value["hash"], value["revision"], value["file"],
                   value["firstApplied"], value["lastApplied"], value["result"], value["count"])

    @property
    def value(self) -> dict[str, Any]:
        """As memory and status have it."""
        return {"number": self.number, "hash": self.hash, "revision": self.revision,
                "file": self.file, "firstApplied": self.first, "lastApplied": self.last,
                "result": self.result, "count": self.count}


def digest(data: bytes) -> str:
    """A name for a definition's text."""
    return f"sha256:{hashlib.sha256(data).hexdigest()[:12]}"


def noted(history: tuple[dict[str, Any], ...], text: StoredDefinition, result: str, at: str,
          keep: int) -> tuple[dict[str, Any], ...]:
    """The history with one more application; the oldest entries go."""
    last = Entry.of(history[-1]) if history else None
    name = digest(text.data)
    if last is not None and last.hash == name:
        fresh = Entry(last.number, name, text.revision, text.file, last.first, at, result,
                      last.count + 1)
        return (*history[:-1], fresh.value)
    number = last.number + 1 if last is not None else 1
    fresh = Entry(number, name, text.revision, text.file, at, at, result)
    return (*history, fresh.value)[-keep:]


class Archive:
    """The texts: `history/UUID/HASH.xml`, and `removed/NAME-TIME.xml` of domains that are gone."""

    def __init__(self, state: Path) -> None:
        self._history = state / "history"
        self._removed = state / "removed"

    def keep(self, uuid: str, text: StoredDefinition, history: tuple[dict[str, Any], ...]) -> None:
        """Store a text, and let go of those that the history has no more; raises OSError."""
        home = self._history / uuid
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = home / _file(digest(text.data))
        if not path.exists():
            write_whole(path, text.data)
        wanted = {_file(entry["hash"]) for entry in history}
        for old in home.iterdir():
            if old.name not in wanted:
                old.unlink(missing_ok=True)

    def read(self, uuid: str, entry: Entry) -> bytes | None:
        """A text, if it is still there."""
        try:
            return (self._history / uuid / _file(entry.hash)).read_bytes()
        except OSError:
            return None

    def move(self, old: str, new: str) -> None:
        """A domain got another uuid; raises OSError."""
        if (self._history / old).is_dir():
            (self._history / old).replace(self._history / new)

    def bury(self, uuid: str, name: str, text: StoredDefinition | None, after: float) -> None:
        """The domain is gone: its last definition is kept for `after` seconds; raises OSError."""
        home = self._history / uuid
        for old in home.iterdir() if home.is_dir() else ():
            old.unlink(missing_ok=True)
        with suppress(OSError):
            home.rmdir()
        if text is not None and after > 0:
            self._removed.mkdir(parents=True, exist_ok=True, mode=0o700)
            moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            write_whole(self._removed / f"{_SAFE.sub('_', name)}-{moment}.xml", text.data)
        self.sweep(after)

    def sweep(self, after: float) -> None:
        """Let go of what was removed long enough ago."""
        for path in self._removed.glob("*.xml"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > after:
                    path.unlink()


def _file(name: str) -> str:
    return f"{name.partition(':')[2]}.xml"
