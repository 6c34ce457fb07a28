"""Which host this is: an id that another host does not have by accident.

For composition.py, which derives from it what files do not give. systemd's machine-id(5) asks that
the id itself is kept confidential, so that only a value derived from it is used.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from reconciler.host.files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

_APPLICATION = uuid.UUID("0a8f2c57-6a0e-5d3c-9a5b-3a0a6d1c4f8e")


def identity(machine_id: Path, own: Path) -> str:
    """The id of this host, or the one that `ensure` made; empty if there is neither."""
    for place in (machine_id, own):
        with suppress(OSError, ValueError):  # ValueError: empty, or "uninitialized" in an image
            return str(uuid.uuid5(_APPLICATION, uuid.UUID(place.read_text("ascii").strip()).hex))
    return ""


def ensure(machine_id: Path, own: Path) -> None:
    """Make an id of our own where the host has none; raises OSError."""
    if not identity(machine_id, own):
        write_whole(own, f"{uuid.uuid4().hex}\n".encode())
