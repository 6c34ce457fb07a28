"""The record of the commit accepted last: in force after a restart before any server answers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from reconciler.host.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Accepted:
    """The commit in force, and the configuration under which it was accepted."""

    url: tuple[str, ...]  # every configured url, without secrets
    ref: str
    path: str
    commit: str
    when: str
    mode: str = "none"  # source.verify.mode when it was accepted
    by: str = ""  # fingerprint of the key that signed it
    name: str = ""  # the signer's name
    changes: int = 0  # commits accepted since the clone was last compacted

    def matches(self, url: tuple[str, ...], ref: str, path: str) -> bool:
        """Whether it was accepted under this configuration; otherwise it says nothing."""
        return (self.ref, self.path) == (ref, path) and bool(set(self.url) & set(url))


def load(file: Path) -> Accepted | None:
    """The record, or None if there is none or it cannot be read."""
    try:
        value = json.loads(file.read_bytes())
        return Accepted(**{**value, "url": tuple(value["url"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def save(file: Path, accepted: Accepted) -> None:
    """Write it; raises OSError."""
    write_whole(file, json.dumps(asdict(accepted), indent=1).encode())
