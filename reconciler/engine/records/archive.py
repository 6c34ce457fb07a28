"""The texts of definitions that were applied, so that a user can go back; and of removed domains.

`history/UUID/HASH.xml`, and `removed/NAME-TIME.xml`. What is known of each is in the domain's
record (decide/definition_history.py); its text is a file of its own, since most records are written
far more often than definitions change.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reconciler.engine.decide.definition_history import Entry, digest
from reconciler.host.files import Sync, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.engine.decide.state import StoredDefinition

_SAFE = re.compile(r"[^A-Za-z0-9_.+-]")


class Archive:
    """The two directories."""

    def __init__(self, state: Path) -> None:
        self._history = state / "history"
        self._removed = state / "removed"

    def keep(self, uuid: str, definition: StoredDefinition,
             history: tuple[dict[str, Any], ...]) -> None:
        """Store a text, and delete those that the history has no more; raises OSError."""
        home = self._history / uuid
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = home / _file(digest(definition.data))
        if self.read(uuid, Entry.of(history[-1])) != definition.data:  # also after a crash
            write_whole(path, definition.data, Sync.NONE)
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

    def bury(self, uuid: str, name: str, definition: StoredDefinition | None,
             after: float) -> None:
        """The domain is removed: keep its last definition for `after` seconds; raises OSError."""
        home = self._history / uuid
        for old in home.iterdir() if home.is_dir() else ():
            old.unlink(missing_ok=True)
        with suppress(OSError):
            home.rmdir()
        if definition is not None and after > 0:
            self._removed.mkdir(parents=True, exist_ok=True, mode=0o700)
            moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            write_whole(self._removed / f"{_SAFE.sub('_', name)}-{moment}.xml", definition.data)
        self.sweep(after)

    def sweep(self, after: float) -> None:
        """Delete the definitions of domains that were removed more than `after` seconds ago."""
        for path in self._removed.glob("*.xml"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > after:
                    path.unlink()


def _file(name: str) -> str:
    return f"{name.partition(':')[2]}.xml"
