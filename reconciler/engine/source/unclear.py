"""Files that do not show which domain they are of, and since when.

While such a file may be what the file of a domain was renamed to, or broken into, that domain is
not removed (absences.py). One that was there before the domain's file went missing is not: that is
kept in the state directory, as the hash of what was in it, so that it holds over a restart.
"""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.host.files import Sync, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class UnclearFiles:
    """Those of the last look. `since` has their first times, of the monotonic clock."""

    def __init__(self, path: Path) -> None:
        self.since: Mapping[str, float] = {}
        self._path = path
        self._hashes = self._load()
        self._read: Mapping[str, bytes | None] = {}  # of the last look
        self._looked = False

    def note(self, files: Mapping[str, bytes | None], clock: float) -> None:
        """One look: the files that are unclear, with what is in them; None is not known."""
        hashes = {file: self._hash(file, data) for file, data in files.items() if data is not None}
        self._read = files
        if self._looked:
            self.since = {file: self.since.get(file, clock) for file in files}
        else:  # with other contents, it may have become unclear while the reconciler did not run
            self.since = {file: -math.inf if file in hashes
                          and hashes[file] == self._hashes.get(file) else clock for file in files}
        self._looked = True
        if hashes != self._hashes:
            with suppress(OSError):  # such as a full disk; the worst is a removal that waits
                write_whole(self._path, json.dumps(hashes).encode(), Sync.NONE)
                self._hashes = hashes

    def _hash(self, file: str, data: bytes) -> str:
        if self._read.get(file) is data and file in self._hashes:  # not read again
            return self._hashes[file]
        return hashlib.sha256(data).hexdigest()

    def _load(self) -> dict[str, str]:
        try:
            value = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}
