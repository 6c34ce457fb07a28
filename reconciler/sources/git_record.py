"""What was accepted last, on disk: in force again after our restart, before any server answers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from reconciler.host.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Accepted:
    """A commit that is in force, and by which configuration it came to be."""

    url: tuple[str, ...]  # all that could have delivered it, without secrets
    ref: str
    path: str
    commit: str
    when: str
    mode: str = "none"  # what of it was verified
    by: str = ""  # whose signature it has
    name: str = ""
    changes: int = 0  # accepted since our copy was last made small

    def of(self, url: tuple[str, ...], ref: str, path: str) -> bool:
        """Whether it is of this configuration; with another, all begins anew."""
        return (self.ref, self.path) == (ref, path) and bool(set(self.url) & set(url))


def load(file: Path) -> Accepted | None:
    """The record, or None when there is none that can be read."""
    try:
        value = json.loads(file.read_bytes())
        return Accepted(**{**value, "url": tuple(value["url"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def save(file: Path, accepted: Accepted) -> None:
    """Keep it; raises OSError."""
    write_whole(file, json.dumps(asdict(accepted), indent=1).encode())
